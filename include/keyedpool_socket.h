/* SPDX-License-Identifier: MIT
 *
 * Stream sockets in a pool (libkeyedpool-socket), for protocols without an adapter of their own. A
 * key is bytes: "host:port", "[v6]:port", or "/path" for a Unix socket.
 *
 *     kp_pool *pool;
 *     kp_lease lease;
 *     if (kp_socket_open(NULL, NULL, &pool) == 0 &&
 *         kp_get(pool, kp_str("cache.local:11211"), KP_IN_S(5), &lease) == 0) {
 *         send(kp_socket_fd(&lease), "version\r\n", 9, MSG_NOSIGNAL);
 *         ...                                     read the whole answer
 *         kp_release(&lease);
 *     }
 *
 * Connecting ends at the job's deadline, whatever takes the time: names are resolved on a thread of
 * their own, because getaddrinfo has no deadline. A thread that is still resolving then is left
 * behind, and ends when the resolver gives up (some seconds, see resolv.conf).
 *
 * A socket that comes back must be between two exchanges. If there are unread bytes, if either side
 * has ended its half, or if there is an error, it is closed, and the next borrower never sees it.
 * An answer that has not arrived yet cannot be seen: a borrower that gives up in the middle of an
 * exchange must discard (kp_discard; in kp_use, kp_plan.on_error = KP_DESTROY). An idle socket is
 * checked in the same way before it is lent (limits.validate_after_ms): the kernel is asked, not
 * the peer. Changed timeouts and O_NONBLOCK are restored when it comes back; other socket options
 * are not.
 *
 * What goes with a socket (an SSL *) can be kept by its descriptor, which is nobody else's from
 * on_open to on_close. With TLS 1.3 let on_open end with a first exchange: until something was
 * read, the session tickets that a server sends after the handshake are unread bytes, too.
 *
 * A socket that the other side has ended is KP_EGONE (and a Unix socket that the borrower has shut
 * down for reading, which looks the same); limits.on_gone says what happens to others of its key.
 * On Linux those that end while they are idle are dropped before anybody borrows them
 * (kp_options.watch_every_ms), and their key is not suspect.
 */
#ifndef KEYEDPOOL_SOCKET_H
#define KEYEDPOOL_SOCKET_H

#include "keyedpool.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- options --------------------------------------------------------------------------------- */

/* Yours, until driver.drop_ctx is called (kp_socket_open). Until then only kp_socket_counts_read
 * may read it. */
typedef struct kp_socket_counts {
    uint64_t opened, closed;            /* connections */
    uint64_t unread;                    /* given back, or idle, with bytes that nobody had read */
    uint64_t ended;                     /* found ended, by the peer, the net or the borrower */
} kp_socket_counts;

/* {0} and NULL are valid (R2). The struct is copied. */
typedef struct kp_socket_options {
    int64_t     connect_timeout_ms; /* [OFF] at most until the job's deadline. OFF: until that; if
                                       there is none, as in the background, 30 s */
    int64_t     io_timeout_ms;      /* [OFF] of each send and recv (SO_SNDTIMEO, SO_RCVTIMEO) */
    int64_t     keepalive_ms;       /* [60 s] of silence, after which the kernel probes a TCP peer;
                                       OFF: it does not */
    int64_t     keepalive_every_ms; /* [10 s] then so often ... */
    int64_t     keepalive_probes;   /* [3] ... so many times; and the connection has failed */
    int32_t     nodelay;            /* [1] TCP_NODELAY; OFF: small writes wait for company */
    int32_t     nonblocking;        /* [OFF] 1: lent with O_NONBLOCK */
    /* Last step of opening: the handshake of your protocol. The socket blocks; each send and each
     * receive fails (EAGAIN) after left_ms at most, so the last one of many may end late: if you
     * read a peer byte by byte, measure the time yourself. Returns 0, or what a create may answer:
     * kp_job_fail(job, code, sentence), KP_EREFUSED. */
    int       (*on_open)(kp_job *job, int fd, int64_t left_ms, void *ctx);
    /* First step of closing. */
    void      (*on_close)(kp_job *job, int fd, void *ctx);
    void       *ctx;                /* of these two; they may run on several threads at once */
    kp_socket_counts *counts;
    int64_t     reserved[6];
} kp_socket_options;

/* ---- opening --------------------------------------------------------------------------------- */

/* Open a pool of sockets. `more`: all other options of a pool (limits, budget, ...), or NULL; its
 * driver is set as kp_socket_fill does. Why a create failed is in kp_why, in one sentence;
 * vendor_code is the errno, or, if a name does not resolve, an EAI_... of getaddrinfo. A key that
 * names no address is KP_EREFUSED. Unchecked: a socket of your own given to it (kp_add), which it
 * cannot use.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: copies both options; keeps `socket->ctx`,
 * `socket->counts` and `more->ctx` until it calls more->driver.drop_ctx with more->driver.ctx (set
 * just these two of that driver): that is the last call of a closed pool to any of your functions,
 * and may come after kp_pool_close has returned. Errors: KP_ECONFIG (more->why->field names the
 * option), KP_ENOMEM, KP_EMISUSE (`out` is NULL). Order: none. Since: 0.1 */
KP_API int kp_socket_open(const kp_socket_options *socket, const kp_options *more,
                          kp_pool **out) KP_NODISCARD;

/* Set driver, for callers that open the pool themselves, with kp_pool_open. `socket` may be NULL.
 * Threads: one at a time per options. Blocks: no. Calls: nothing. Owns: on 0, driver.ctx is memory
 * that driver.drop_ctx frees when the pool is gone; then it calls your driver.drop_ctx with your
 * driver.ctx, if you had set them, and no driver.create. If kp_pool_open fails, or is never called,
 * call options->driver.drop_ctx(options->driver.ctx). Errors: KP_ECONFIG (options->why->field names
 * the option), KP_ENOMEM; then options is as it was. KP_EMISUSE (`options` is NULL). Order: none.
 * Since: 0.1 */
KP_API int kp_socket_fill(const kp_socket_options *socket, kp_options *options) KP_NODISCARD;

/* ---- using ----------------------------------------------------------------------------------- */

/* The descriptor of a lease; -1 once it has ended, and of NULL. It is the pool's: do not close it.
 * Threads, Blocks, Calls, Owns, Errors, Order, Since: as reading lease->resource. */
static inline int kp_socket_fd(const kp_lease *lease)
{
    return lease && lease->resource ? *(const int *)lease->resource : -1;
}

/* Read the counters of kp_socket_options.counts.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: nothing. Errors: none; of NULL, zeros.
 * Order: each counter is exact, but they are not read at one instant. Since: 0.1 */
KP_API kp_socket_counts kp_socket_counts_read(const kp_socket_counts *counts);

#ifdef __cplusplus
}
#endif
#endif
