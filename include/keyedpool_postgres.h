/* SPDX-License-Identifier: MIT
 *
 * PostgreSQL connections in a pool (libkeyedpool-postgres). A key is the name of a database, or a
 * conninfo string or URI: its settings override those of kp_pg_options.conninfo, so that {0} stands
 * for just the latter.
 *
 *     kp_pool *pool;
 *     kp_lease lease;
 *     kp_pg_options pg = { .conninfo = "postgresql://app@db.example/?sslmode=require" };
 *     if (kp_pg_open(&pg, NULL, &pool) == 0 &&
 *         kp_get(pool, kp_str("orders"), KP_IN_S(5), &lease) == 0) {
 *         PQclear(PQexec(kp_pg_conn(&lease), "SELECT 1"));
 *         kp_release(&lease);
 *     }
 *
 * A connection that comes back is made ready for the next borrower: an open transaction is rolled
 * back, unread results are read, changes of the session are undone; if that cannot be done at once,
 * the connection is closed. If nothing was left, there is no round trip. An event procedure that a
 * borrower registers (PQregisterEventProc) stays, since libpq cannot take it back, and is called
 * for the next ones: discard then (kp_discard).
 *
 * Keys appear in reports, so a key with a password is refused. Passwords belong in
 * options.conninfo, a password file or a service file; or conninfo_for makes a conninfo for a key
 * that is a name. Keys from outside (the name that a tenant chose) need a conninfo_for: a key that
 * is a conninfo may name another host, which is sent the password that all keys share.
 *
 * If a server goes down, crashes or has disappeared, the first connection that notices, before it
 * is lent or when it comes back, is KP_EGONE; limits.on_gone says what happens to the others. A
 * query that takes too long, an idle timeout of the server and SQL errors are not KP_EGONE; but a
 * borrower that waits for notifications has the server's last words as a notice, so the reason is
 * not known, and KP_EGONE is said of an idle timeout, too. On Linux a connection that the server
 * ends while it is idle is dropped before anybody borrows it (kp_options.watch_every_ms); notices
 * and TLS's own messages do no harm. A connection on which the borrower called PQreset is closed
 * when it comes back. A server that a failover has made a standby still answers, and only borrowers
 * hear of it (25006): the one who does should call kp_rotate with KP_NONE, which has all
 * connections of the key made anew; target_session_attrs in the conninfo finds the server that may
 * write. A borrower whose server vanished without a word waits for as long as the conninfo says
 * (keepalives_idle, tcp_user_timeout): by default for hours.
 *
 * libpq looks up host names while it connects, and blocks for that: use hostaddr= or a Unix socket
 * where a deadline must hold, or where nothing may ever block. libpq's connect_timeout has no
 * effect here, options.connect_timeout_ms has: of several hosts, one that refuses leads to the next
 * one, but one that is silent uses up all the time. And a server with SCRAM (PostgreSQL's default)
 * says how often libpq has to hash the password: for some milliseconds of a processor by default
 * (scram_iterations), but a hostile server may let it hash for hours, whatever the deadline.
 */
#ifndef KEYEDPOOL_POSTGRES_H
#define KEYEDPOOL_POSTGRES_H

#include "keyedpool.h"
#include "keyedpool_watch.h"

#include <libpq-fe.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- reasons --------------------------------------------------------------------------------- */

/* kp_why.vendor_code is a SQLSTATE in one number, as PostgreSQL's own headers pack it; kp_why.text
 * has it in letters. Failures that the server did not report have 08001 (no connection), 08006 (it
 * was lost), 57014 (it took too long), 25000 (left in use) or 53200 (memory). 28xxx (not
 * authenticated) and 3D000 (no such database) are KP_EREFUSED: nothing is created for the key until
 * kp_retry_now. */
#define KP_PG_SQLSTATE(a, b, c, d, e)                                                   \
    (KP__PG_SIX(a) + (KP__PG_SIX(b) << 6) + (KP__PG_SIX(c) << 12) + (KP__PG_SIX(d) << 18) + \
     (KP__PG_SIX(e) << 24))
#define KP__PG_SIX(ch) (((ch) - '0') & 0x3f)

/* The five letters of a SQLSTATE that is a number (kp_why.vendor_code); without text it does
 * nothing.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: nothing. Errors: none. Order: none.
 * Since: 0.1 */
static inline void kp_pg_sqlstate(int vendor_code, char text[6])
{
    if (!text)
        return;
    for (int i = 0; i < 5; i++, vendor_code >>= 6)
        text[i] = (char)((vendor_code & 0x3f) + '0');
    text[5] = '\0';
}

/* ---- options --------------------------------------------------------------------------------- */

typedef enum kp_pg_reset {
    KP_PG_TIDY = 1,             /* undo what was left: the transaction; and if the borrower said
                                   SET, RESET, (UN)LISTEN, DECLARE or DISCARD, role and settings
                                   (then set_up runs again), subscriptions and cursors. Told by
                                   the command tags of its results, so what a function did is not
                                   seen (set_config, pg_advisory_lock), and SET LOCAL looks like
                                   SET; prepared statements and temporary tables stay */
    KP_PG_ROLLBACK,             /* transactions and LISTEN alone; settings stay */
    KP_PG_DISCARD_ALL           /* DISCARD ALL and set_up, a round trip each, every time */
} kp_pg_reset;

enum {                                  /* kp_pg_leftover.what */
    KP_PG_LEFT_TRANSACTION = 1,         /* it was rolled back */
    KP_PG_LEFT_RESULT = 2,              /* one not read to its end, or a COPY */
    KP_PG_LEFT_PIPELINE = 4,            /* the mode was on */
    KP_PG_LEFT_LISTEN = 8,
    KP_PG_LEFT_SETTING = 16             /* by itself no reason for a report */
};

/* A borrower left something open. Made by the adapter, valid during the call; grows at the end
 * only. */
typedef struct kp_pg_leftover {
    kp_key      key;
    PGconn     *conn;                   /* only to look at */
    const char *tag;                    /* of the request that borrowed it, or NULL */
    uint32_t    what;
    bool        closed;                 /* the connection is not used again */
} kp_pg_leftover;

/* Yours, until driver.drop_ctx is called (kp_pg_open). Until then only kp_pg_counts_read
 * may read it. */
typedef struct kp_pg_counts {
    uint64_t opened, closed;            /* connections */
    uint64_t transactions, results;     /* left open by borrowers; results with pipelines */
    uint64_t resets;                    /* give-backs that took a round trip */
} kp_pg_counts;

/* {0} and NULL are valid (R2), with libpq's environment variables. Strings are copied. */
typedef struct kp_pg_options {
    const char *conninfo;       /* [""] string or URI, the settings that all keys share */
    /* Writes the conninfo of a key that is a name (a tenant, a region) into buf; it also overrides
     * `conninfo`, and may have a password. Not 0: there is no such key, and the get is answered
     * KP_EREFUSED. */
    int       (*conninfo_for)(kp_key key, char *buf, size_t size, void *ctx);
    const char *set_up;         /* SQL run on every new connection, and again when a reset undid it,
                                   so it must bear that: "SET statement_timeout = '5s'" */
    int32_t     reset;          /* [TIDY] kp_pg_reset */
    int32_t     reserved0;
    const char *reset_sql;      /* instead, on every give-back; after a rollback, without set_up */
    int64_t     connect_timeout_ms;     /* [30 s] the longest that making one takes, */
    int64_t     answer_timeout_ms;      /* [5 s] and a validate or a reset; the deadline of the job
                                           counts as well */
    /* Last step of making one. If it is not 0, the create fails with that code. Call
     * PQsetNoticeProcessor here: libpq's own prints to standard error, and a connection that comes
     * back with another one is closed (libpq does not tell whether the same function has another
     * argument). Whatever a server says earlier, while it lets the connection in (that a database
     * has another collation version than the machine), is printed for each connection. Settings
     * belong in set_up, because a reset undoes them; PQtrace ends with the first borrower. */
    int       (*on_open)(PGconn *conn, kp_key key, void *ctx);
    /* First step of closing. */
    void      (*on_close)(PGconn *conn, kp_key key, void *ctx);
    void      (*on_leftover)(const kp_pg_leftover *what, void *ctx);
    void       *ctx;            /* of these four; they may run on several threads at once */
    kp_pg_counts *counts;
    kp_watcher *watcher;        /* NULL: a driver that blocks. Else one that never does, for a pool
                                   with kp_options.loop, whose descriptors this one watches;
                                   connections are lent non-blocking (PQsetnonblocking) */
    int64_t     reserved[6];
} kp_pg_options;

/* ---- opening --------------------------------------------------------------------------------- */

/* Open a pool of PostgreSQL connections. `more`: all other options of a pool (budget, limits, ...),
 * or NULL; its driver and key_type are set as kp_pg_fill does. Unchecked: a connection of your own
 * given to it (kp_add), which it cannot use.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: copies both options; keeps `pg->ctx`,
 * `pg->counts`, `pg->watcher` and `more->ctx` until it calls more->driver.drop_ctx with
 * more->driver.ctx (set just these two of that driver): that is the last call of a closed pool to
 * any of your functions, and may come after kp_pool_close has returned. Errors: KP_ECONFIG
 * (more->why->field names the option), KP_ENOMEM, KP_EMISUSE (`out` is NULL). Order: none. Since:
 * 0.1 */
KP_API int kp_pg_open(const kp_pg_options *pg, const kp_options *more, kp_pool **out) KP_NODISCARD;

/* Set driver and key_type, for callers that open the pool themselves, with kp_pool_open. `pg` may
 * be NULL.
 * Threads: one at a time per options. Blocks: no. Calls: nothing. Owns: on 0, driver.ctx is memory
 * that driver.drop_ctx frees when the pool is gone; then it calls your driver.drop_ctx with your
 * driver.ctx, if you had set them, and no driver.create. If kp_pool_open fails, or is never called,
 * call options->driver.drop_ctx(options->driver.ctx). Errors: KP_ECONFIG (options->why->field names
 * the option), KP_ENOMEM; then options is as it was. KP_EMISUSE (`options` is NULL). Order: after
 * options->loop is set, if there is a watcher. Since: 0.1 */
KP_API int kp_pg_fill(const kp_pg_options *pg, kp_options *options) KP_NODISCARD;

/* ---- using ----------------------------------------------------------------------------------- */

/* The connection of a lease; NULL once it has ended, and of NULL. Threads, Blocks, Calls, Owns,
 * Errors, Order, Since: as reading lease->resource. One thread at a time may use it; PQfinish is
 * the pool's. */
static inline PGconn *kp_pg_conn(const kp_lease *lease)
{
    return lease ? (PGconn *)lease->resource : NULL;
}

/* Read the counters of kp_pg_options.counts.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: nothing. Errors: none; of NULL, zeros.
 * Order: each counter is exact, but they are not read at one instant. Since: 0.1 */
KP_API kp_pg_counts kp_pg_counts_read(const kp_pg_counts *counts);

#ifdef __cplusplus
}
#endif
#endif
