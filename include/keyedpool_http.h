/* SPDX-License-Identifier: MIT
 *
 * HTTP clients in a pool (libkeyedpool-http, on libcurl). A key is an origin: "http://host:port" or
 * "https://host". A resource is an easy handle with one connection to it; names and TLS sessions
 * are shared by all handles of a pool, connections never are: libcurl cannot do that safely.
 *
 *     kp_pool *pool;
 *     kp_lease lease;
 *     if (kp_http_open(NULL, NULL, &pool) == 0 &&
 *         kp_get(pool, kp_str("https://api.example.org"), KP_IN_S(5), &lease) == 0) {
 *         curl_easy_setopt(kp_http(&lease), CURLOPT_URL, "https://api.example.org/users/1");
 *         CURLcode rc = curl_easy_perform(kp_http(&lease));
 *         kp_release(&lease);
 *     }
 *
 * A handle that comes back is restored: curl_easy_reset, cookies are forgotten, and the options
 * below apply again. The connection stays, unless the last transfer ended in the middle of an
 * answer: then libcurl has closed it. If the server ended the connection, libcurl connects again
 * during the next transfer. A handle is closed if its last request had no answer and may not have
 * been sent, since libcurl would still have what it did not send (a password, say), and send that
 * for the next borrower; if several connections are open, as after CURLOPT_CONNECT_ONLY; if its
 * connection was made after a curl_easy_reset of the borrower, so that the pool does not know it;
 * and if there are unread bytes after an answer of HTTP/1, since the next borrower would read them
 * as his. (With TLS a server's goodbye is among these, but not what came in one TLS record with the
 * end of the answer: nobody can see that before the next transfer reads it.) Those that come later
 * are seen only where an idle handle is checked (limits.validate_after_ms). Do not put a handle
 * into a multi handle, nor into a share of your own that shares connections: connections made there
 * belong to those, and would outlive the handle. After a share of your own without TLS sessions
 * discard (kp_discard): libcurl loses some memory whenever such a handle goes back to the share of
 * the pool. CURLOPT_RESOLVE of one borrower affects all, since names are shared, and so do for a
 * minute the addresses that were found as he wanted (CURLOPT_IPRESOLVE, CURLOPT_DOH_URL); libcurl
 * keeps what CURLOPT_ALTSVC learnt, the header of CURLOPT_TRANSFER_ENCODING, and, until the next
 * transfer begins, what curl_easy_header tells of the last answer.
 * CURLOPT_OPENSOCKETFUNCTION and CURLOPT_CLOSESOCKETFUNCTION are the pool's: a connection keeps the
 * functions with which it was made, past the lease of whoever set them. It also keeps what
 * CURLOPT_SSL_CTX_FUNCTION (whom to trust, a client's certificate) and CURLOPT_SOCKOPTFUNCTION did
 * to it, the address of CURLOPT_INTERFACE, what CURLOPT_HAPROXYPROTOCOL told the server of whom it
 * is for, and the tunnel that a CURLOPT_PROXYHEADER opened (with a password, say), and libcurl uses
 * it for those who said nothing of the kind: set these in prepare, for all, or discard
 * (kp_discard). With the first, switch CURLOPT_SSL_SESSIONID_CACHE off as well: else another
 * connection of the pool may take up the TLS session, and be let in by that certificate.
 *
 * An idle connection that turns out to have ended, or a server that no longer accepts the
 * borrower's calls, is KP_EGONE; limits.on_gone says what happens to the others. On Linux a handle
 * is dropped before anybody borrows it if the server ended its first connection while it was idle
 * (kp_options.watch_every_ms); unread bytes do not count as an end, and later connections of a
 * handle are not watched.
 *
 * On an event loop (kp_http_options.watcher) handles are made and transfers run without blocking:
 *
 *     curl_easy_setopt(kp_http(&lease), CURLOPT_URL, "https://api.example.org/users/1");
 *     rc = kp_http_start(&lease, on_answer, me);          // and on_answer gives it back
 *
 * Do not call curl_easy_perform on such a handle: it would block the loop, and open a connection of
 * its own. A libcurl that looks names up without blocking is needed (CURL_VERSION_ASYNCHDNS, as
 * most are); one before 7.87 waits for a lookup that is given up, and one before 7.66 does not go
 * on by itself after curl_easy_pause.
 *
 * CURLOPT_NOSIGNAL is set, so libcurl lets SIGPIPE through where TLS raises it: ignore that signal.
 * Connections are closed on exec; two descriptors of each handle, by which libcurl wakes itself,
 * may not be.
 */
#ifndef KEYEDPOOL_HTTP_H
#define KEYEDPOOL_HTTP_H

#include "keyedpool.h"
#include "keyedpool_watch.h"

#include <curl/curl.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- options --------------------------------------------------------------------------------- */

/* Yours, until driver.drop_ctx is called (kp_http_open). Until then only kp_http_counts_read may
 * read it. */
typedef struct kp_http_counts {
    uint64_t opened, closed;            /* handles */
    uint64_t sockets;                   /* opened by them: how many connections it took */
    uint64_t ended;                     /* idle ones that were checked, and whose connection had
                                           ended, or had bytes that nobody had asked for */
} kp_http_counts;

/* {0} and NULL are valid (R2). The strings and the struct are copied. */
typedef struct kp_http_options {
    const char *probe;              /* ["/"] a path that is asked for with HEAD when a handle is
                                       made, so that it is connected, TLS and all, and kp_why has
                                       the reason if it cannot be; any answer will do, but a body,
                                       which must not follow it, would be read as the answer to the
                                       first transfer. "": nothing is asked, and the first transfer
                                       connects */
    const char *ca_file;            /* [libcurl's] CURLOPT_CAINFO */
    const char *user_agent;         /* [none] */
    int64_t     connect_timeout_ms; /* [OFF] of making a handle, at most until the job's deadline.
                                       OFF: until that; if there is none, as in the background,
                                       30 s */
    int64_t     timeout_ms;         /* [OFF] of a borrower's transfer: CURLOPT_TIMEOUT_MS */
    /* Options of your own, after those above and each curl_easy_reset. If the answer is not
     * CURLE_OK, the handle is not lent. */
    CURLcode  (*prepare)(CURL *curl, kp_key origin, void *ctx);
    void       *ctx;                /* of prepare; it may run on several threads at once */
    kp_http_counts *counts;
    kp_watcher *watcher;            /* NULL: a driver that blocks. Else one that never does, for a
                                       pool with kp_options.loop; libcurl's descriptors and times
                                       are this one's to watch, and transfers begin with
                                       kp_http_start */
    int64_t     reserved[5];
} kp_http_options;

/* ---- opening --------------------------------------------------------------------------------- */

/* Open a pool of HTTP clients. `more`: all other options of a pool (limits, budget, ...), or NULL;
 * its driver is set as kp_http_fill does. Why a create failed is in kp_why, in libcurl's words;
 * vendor_code is the CURLcode. A key that is not an origin is KP_EREFUSED. The first call runs
 * curl_global_init. Unchecked: a handle of your own given to it (kp_add), which it cannot use.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: copies both options; keeps `http->ctx`,
 * `http->counts`, `http->watcher` and `more->ctx` until it calls more->driver.drop_ctx with
 * more->driver.ctx (set just these two of that driver): that is the last call of a closed pool to
 * any of your functions, and may come after kp_pool_close has returned. Errors: KP_ECONFIG
 * (more->why->field names the option), KP_ENOMEM, KP_EMISUSE (`out` is NULL). Order: none. Since:
 * 0.1 */
KP_API int kp_http_open(const kp_http_options *http, const kp_options *more,
                        kp_pool **out) KP_NODISCARD;

/* Set driver, for callers that open the pool themselves, with kp_pool_open. `http` may be NULL.
 * Threads: one at a time per options. Blocks: no. Calls: nothing. Owns: on 0, driver.ctx is memory
 * that driver.drop_ctx frees when the pool is gone; then it calls your driver.drop_ctx with your
 * driver.ctx, if you had set them, and no driver.create. If kp_pool_open fails, or is never called,
 * call options->driver.drop_ctx(options->driver.ctx). Errors: KP_ECONFIG (options->why->field names
 * the option), KP_ENOMEM; then options is as it was. KP_EMISUSE (`options` is NULL). Order: after
 * options->loop is set, if there is a watcher. Since: 0.1 */
KP_API int kp_http_fill(const kp_http_options *http, kp_options *options) KP_NODISCARD;

/* ---- using ----------------------------------------------------------------------------------- */

/* The handle of a lease; NULL once it has ended, and of NULL. It is the pool's: no
 * curl_easy_cleanup. What curl_easy_duphandle makes of it has the pool's functions, which want the
 * lease: clean that up before the lease ends.
 * Threads, Blocks, Calls, Owns, Errors, Order, Since: as reading lease->resource. One thread at a
 * time may use it. */
static inline CURL *kp_http(const kp_lease *lease)
{
    return lease && lease->resource ? *(CURL *const *)lease->resource : NULL;
}

/* How a transfer ended, as curl_easy_perform would have said it. In here the handle may be asked
 * (curl_easy_getinfo), started again, or given back. */
typedef void (*kp_http_done_fn)(CURL *curl, CURLcode result, void *arg);

/* curl_easy_perform without waiting, in a pool with a watcher: run the transfer that was set up on
 * the handle of a lease, on the connection of that lease. After a 0, either done runs once, from
 * the loop (never from in here), or you stop it, or you end the lease. After a failure done never
 * runs. Until then libcurl calls, from the loop, the functions that were set up, and what they were
 * given must stay where it is.
 * Threads: the pool's loop's. Blocks: no. Calls: nothing. Owns: nothing; the lease stays yours.
 * Errors: KP_EMISUSE (no lease any more, or not of a pool with a watcher; NULL; another thread; a
 * transfer is under way; from a function that libcurl calls for this handle), KP_ENOMEM. A copy of
 * a lease that has ended is unchecked, as in kp_http. Order: none. Since: 0.1 */
KP_API int kp_http_start(const kp_lease *lease, kp_http_done_fn done, void *arg) KP_NODISCARD;

/* Give a transfer up, as kp_release and kp_discard do: done does not run, nor any other function of
 * yours (CURLOPT_NOPROGRESS and CURLOPT_VERBOSE are as in a new handle then). A connection that was
 * in the middle of an answer is closed. Within a function that libcurl calls for this handle, all
 * that is so when libcurl has returned to the loop; a lease that is ended there costs its handle.
 * With nothing under way: nothing.
 * Threads: the pool's loop's; a lease that another thread ends stops its transfer when the loop
 * hears of it. Blocks: no. Calls: nothing. Owns: nothing; the lease stays yours. Errors: none;
 * NULL does nothing. Order: none. Since: 0.1 */
KP_API void kp_http_stop(const kp_lease *lease);

/* Read the counters of kp_http_options.counts.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: nothing. Errors: none; of NULL, zeros.
 * Order: each counter is exact, but they are not read at one instant. Since: 0.1 */
KP_API kp_http_counts kp_http_counts_read(const kp_http_counts *counts);

#ifdef __cplusplus
}
#endif
#endif
