/* SPDX-License-Identifier: MIT
 *
 * Redis connections in a pool (libkeyedpool-redis, on hiredis 0.14 or 1.x). A key is bytes:
 * "host:port", "/path" of a Unix socket, "redis://[user[:password]@]host[:port][/db]", or a name
 * of yours that `where` turns into one of these.
 *
 *     kp_pool *pool;
 *     kp_lease lease;
 *     if (kp_redis_open(NULL, NULL, &pool) == 0 &&
 *         kp_get(pool, kp_str("127.0.0.1:6379"), KP_IN_S(5), &lease) == 0) {
 *         redisReply *r = redisCommand(kp_redis(&lease), "GET %s", "key");
 *         ...
 *         freeReplyObject(r);
 *         kp_release(&lease);
 *     }
 *
 * hiredis raises SIGPIPE in a borrower that writes after the server has gone: ignore that signal.
 * The adapter itself does not raise it.
 *
 * If a server ended the connection, or cannot be reached, the first connection that notices, before
 * it is lent or when it comes back, is KP_EGONE; limits.on_gone says what happens to the others.
 * Replies that take too long are not KP_EGONE. On Linux a connection that the server ends while it
 * is idle is dropped before anybody borrows it (kp_options.watch_every_ms). After a borrower called
 * redisReconnect, a connection is no longer watched. A server that a failover has made a replica
 * still answers PING, and only borrowers hear of it (READONLY): the one who does should call
 * kp_rotate with KP_NONE, which has all connections of the key made anew. That a server vanished
 * without a word is noticed by the kernel's probes, after 90 s in which nothing was said; a
 * borrower that has sent a command may wait much longer, unless there is a command_timeout_ms.
 *
 * The key's text appears in reports: a password is better placed in the options, or in `where`.
 *
 * A connection that comes back is restored (kp_redis_tidy): MULTI, WATCH, SUBSCRIBE, MONITOR,
 * SELECT, AUTH, CLIENT ... of one borrower do not reach the next one, nor do unread replies. That
 * costs one round trip; programs that need none of it set KP_REDIS_LOOK. A user of the server's ACL
 * needs PING for it, ECHO as well where connections should outlive a time when the server cannot
 * save (MISCONF: it refuses PING), and what the options ask for. What was changed in the context
 * itself, but for its timeout and whether it blocks, stays: a push callback, fields of its reader.
 */
#ifndef KEYEDPOOL_REDIS_H
#define KEYEDPOOL_REDIS_H

#include "keyedpool.h"
#include "keyedpool_watch.h"

#include <hiredis/hiredis.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- options --------------------------------------------------------------------------------- */

typedef enum kp_redis_tidy {
    KP_REDIS_RESET = 1,         /* on give-back RESET, then AUTH, SELECT and CLIENT SETNAME anew, in
                                   one round trip; replies left unread are read and thrown away. A
                                   server before 6.2 gets DISCARD, HELLO 2, UNSUBSCRIBE,
                                   PUNSUBSCRIBE, UNWATCH, CLIENT TRACKING OFF, CLIENT SETNAME "" and
                                   READWRITE instead of RESET. What RESET leaves on stays: SCRIPT
                                   DEBUG, CLIENT SETINFO, Valkey's CLIENT CAPA and IMPORT-SOURCE, on
                                   older servers (7.0) CLIENT NO-EVICT, and before 6.2 who was
                                   logged in, if the pool has no password */
    KP_REDIS_LOOK               /* only look, without the server: unread replies, unsent commands
                                   and errors end a connection, and all else that a borrower
                                   changed stays. A reply that has not arrived yet cannot be seen,
                                   and the next one would take it for its own: who gives up waiting
                                   for one must discard (kp_discard). For programs whose borrowers
                                   only read and write values */
} kp_redis_tidy;

/* A borrower left something. Made by the adapter, valid during the call; grows at the end only. */
typedef struct kp_redis_leftover {
    kp_key      key;
    const char *tag;            /* of the request that borrowed it, or NULL */
    int64_t     replies;        /* read by nobody; messages of a subscription count */
    bool        unsent;         /* commands were appended and never sent */
    bool        closed;         /* the connection is not used again */
} kp_redis_leftover;

/* Yours, until driver.drop_ctx is called (kp_redis_open). Until then only kp_redis_counts_read may
 * read it. */
typedef struct kp_redis_counts {
    uint64_t opened, closed;            /* connections */
    uint64_t replies;                   /* left unread by borrowers, thrown away */
    uint64_t spoiled;                   /* came back broken, or not to be tidied up: closed */
} kp_redis_counts;

/* {0} and NULL are valid (R2). The strings and the struct are copied. */
typedef struct kp_redis_options {
    const char *user, *password;        /* AUTH, unless the key says its own */
    const char *client_name;            /* CLIENT SETNAME, for CLIENT LIST of the server */
    int32_t     db;                     /* [0] SELECT, unless the key says its own */
    int32_t     tidy;                   /* [RESET] */
    int64_t     connect_timeout_ms;     /* [OFF] of connect, AUTH, ... and on_open, at most until
                                           the job's deadline. OFF: until that; if there is
                                           none, as in the background, 30 s */
    int64_t     command_timeout_ms;     /* [OFF] of each command of the borrower (redisSetTimeout);
                                           then the connection has failed */
    int64_t     check_timeout_ms;       /* [1 s] of tidying up, and of the PING before lending what
                                           was idle (limits.validate_after_ms) */
    /* Where a key of yours is: one of the other forms, written to `text`. 0; or negative, and the
     * key is refused. */
    int       (*where)(kp_key key, char *text, size_t size, void *ctx);
    /* Last step of opening, and of each RESET, which undoes it: job->kind says which. Each command
     * in it fails after the time that was left when it began, so the last one of many may end late.
     * 0; or what a create may answer: kp_job_fail(job, code, sentence), KP_EREFUSED. */
    int       (*on_open)(kp_job *job, redisContext *redis, void *ctx);
    void      (*on_leftover)(const kp_redis_leftover *what, void *ctx);
    void       *ctx;                    /* of these three; they may run on several threads at
                                           once */
    kp_redis_counts *counts;
    kp_watcher *watcher;                /* NULL: a driver that blocks. Else one that never does, for
                                           a pool with kp_options.loop, whose descriptors this one
                                           watches; connections are lent non-blocking, as hiredis
                                           has them without REDIS_BLOCK: redisAppendCommand,
                                           redisBufferWrite, redisBufferRead. Not with on_open or
                                           command_timeout_ms */
    int64_t     reserved[6];
} kp_redis_options;

/* ---- opening --------------------------------------------------------------------------------- */

/* Open a pool of Redis connections. `more`: all other options of a pool (limits, budget, ...), or
 * NULL; its driver is set as kp_redis_fill does. Why a create failed is in kp_why, in one sentence
 * with the server's own words; vendor_code is an errno: EACCES where the server rejects this client
 * (NOAUTH, WRONGPASS, NOPERM, DENIED, no such database), which is KP_EREFUSED; EUSERS where it is
 * full; EPROTO for other errors; or, if a host does not resolve, an EAI_... of getaddrinfo. A key
 * that names no address is KP_EREFUSED, too. Unchecked: a connection of your own given to it
 * (kp_add), which it cannot use.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: copies both options; keeps `redis->ctx`,
 * `redis->counts`, `redis->watcher` and `more->ctx` until it calls more->driver.drop_ctx with
 * more->driver.ctx (set just these two of that driver): that is the last call of a closed pool to
 * any of your functions, and may come after kp_pool_close has returned. Errors: KP_ECONFIG
 * (more->why->field names the option), KP_ENOMEM, KP_EMISUSE (`out` is NULL). Order: none. Since:
 * 0.1 */
KP_API int kp_redis_open(const kp_redis_options *redis, const kp_options *more,
                         kp_pool **out) KP_NODISCARD;

/* Set driver, for callers that open the pool themselves, with kp_pool_open. `redis` may be NULL.
 * Threads: one at a time per options. Blocks: no. Calls: nothing. Owns: on 0, driver.ctx is memory
 * that driver.drop_ctx frees when the pool is gone; then it calls your driver.drop_ctx with your
 * driver.ctx, if you had set them, and no driver.create. If kp_pool_open fails, or is never called,
 * call options->driver.drop_ctx(options->driver.ctx). Errors: KP_ECONFIG (options->why->field names
 * the option), KP_ENOMEM; then options is as it was. KP_EMISUSE (`options` is NULL). Order: after
 * options->loop is set, if there is a watcher. Since: 0.1 */
KP_API int kp_redis_fill(const kp_redis_options *redis, kp_options *options) KP_NODISCARD;

/* ---- using ----------------------------------------------------------------------------------- */

/* The connection of a lease; NULL once it has ended, and of NULL. It is the pool's: no redisFree,
 * redisReconnect.
 * Threads, Blocks, Calls, Owns, Errors, Order, Since: as reading lease->resource. One thread at a
 * time may use it. */
static inline redisContext *kp_redis(const kp_lease *lease)
{
    return lease && lease->resource ? *(redisContext *const *)lease->resource : NULL;
}

/* Read the counters of kp_redis_options.counts.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: nothing. Errors: none; of NULL, zeros.
 * Order: each counter is exact, but they are not read at one instant. Since: 0.1 */
KP_API kp_redis_counts kp_redis_counts_read(const kp_redis_counts *counts);

#ifdef __cplusplus
}
#endif
#endif
