/* SPDX-License-Identifier: MIT
 *
 * SQLite connections in a pool (libkeyedpool-sqlite). A key is a database file and a role: the
 * readers of a file share it, its writer is alone, so that SQLITE_BUSY inside a process becomes a
 * fair queue.
 *
 *     kp_pool *pool;
 *     kp_lease lease;
 *     if (kp_sqlite_open(NULL, NULL, &pool) == 0 &&
 *         kp_get(pool, KP_SQLITE_KEY("app.db", KP_SQLITE_WRITER), KP_IN_S(5), &lease) == 0) {
 *         sqlite3_exec(kp_sqlite_db(&lease), "INSERT ...", NULL, NULL, NULL);
 *         kp_release(&lease);
 *     }
 *
 * A connection that comes back is made ready for the next borrower: running statements are reset,
 * an open transaction is rolled back, and statements left open are finalised and reported. Nothing
 * else is undone, because it cannot be told from what on_open set up: pragmas, attached files,
 * temporary tables, hooks, functions, collations, limits and settings (sqlite3_db_config). A
 * borrower that changes those must discard (kp_discard). A backup from or into a connection ends
 * (sqlite3_backup_finish) before that is given back; one into it that is found under way (with
 * SQLite 3.34 or later) costs the connection, which must not be closed then; one from it is not
 * found. An idle connection to a file that was moved or deleted is KP_EGONE: the others of its key
 * are tested, too (limits.on_gone).
 *
 * A connection to a file in WAL mode has up to three descriptors open. A program with more files
 * than that allows sets budget.max_live: then the connection that was idle the longest is closed
 * for the next one. But SQLite keeps one descriptor of it, for the next connection to its file,
 * until the process has none to that file: count one for each that a key may have at a time
 * (limits.max_live), as keyedpool doctor does. A file that cannot be opened for want of descriptors
 * is KP_ECREATE, and closes no other.
 *
 * A child of fork must not use a file that was open at the fork: SQLite keeps its locks once for
 * each process, so the child would have none, and could lose what it commits. Its gets of such a
 * file, of whichever pool, are answered KP_EREFUSED; other files can be used. So fork before a file
 * is opened, or exec. Unchecked: files that another thread was opening at that moment, that were
 * not opened by a pool, or that borrowers have attached. If another thread was inside SQLite at
 * that moment, SQLite's own locks stay taken in the child, which may wait for them for ever. (Each
 * connection has a collation "keyedpool", by which the adapter hears that it was closed.)
 */
#ifndef KEYEDPOOL_SQLITE_H
#define KEYEDPOOL_SQLITE_H

#include "keyedpool.h"

#include <sqlite3.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the key --------------------------------------------------------------------------------- */

typedef enum kp_sqlite_role {
    KP_SQLITE_READER = 1,       /* opened read-only; as many at once as limits.max_live says. Of a
                                   file that is not there it is KP_ECREATE, and the next one waits
                                   for a pause (limits.retry_first_ms), or is told at once
                                   (limits.fail_fast). That ends when the writer has made the file;
                                   if another process made it, call kp_retry_now */
    KP_SQLITE_WRITER            /* creates the file, sets its journal mode; one at a time, and none
                                   of a file that this process may not write */
} kp_sqlite_role;

/* Compared by the text of `file`: "a.db" and "./a.db" are two keys, and would have two writers. A
 * pipe is refused at once, because to open it would wait for whoever is at its other end;
 * unchecked: one that is named by a URI.
 * ":memory:" is a new database for each connection, so a reader of it sees nothing. */
typedef struct kp_sqlite_key {
    const char *file;
    int32_t     role;                   /* kp_sqlite_role */
} kp_sqlite_key;

#ifndef __cplusplus
#  define KP_SQLITE_KEY(file, role) KP_KEY((&(const kp_sqlite_key){ (file), (role) }))
#endif

/* ---- options --------------------------------------------------------------------------------- */

typedef enum kp_sqlite_tidy {
    KP_SQLITE_FINALIZE = 1,     /* statements left open are finalised: nobody may keep one (only
                                   reset where the schema has virtual tables: some then belong
                                   to the tables, and it cannot be told which; and where the file
                                   is locked for longer than busy_timeout_ms, so that the schema
                                   cannot be read. Whoever prepared them finalises them: else
                                   their connection cannot be closed, KP_EVENT_DESTROY_FAILED) */
    KP_SQLITE_KEEP,             /* they are reset and stay, for programs that cache statements per
                                   connection; finalise them in on_close */
    KP_SQLITE_CLOSE             /* their connection is bad and is closed; who kept a statement may
                                   still finalise it */
} kp_sqlite_tidy;

/* A borrower left something open. Made by the adapter, valid during the call; grows at the end
 * only. */
typedef struct kp_sqlite_leftover {
    const kp_sqlite_key *key;
    sqlite3    *db;
    const char *tag;            /* of the request that borrowed it, or NULL */
    const char *sql;            /* of a statement left open; NULL: only a transaction was */
    int64_t     statements, running;    /* left open; of these, in the middle of their rows (with
                                           those that a virtual table runs for them) */
    bool        transaction;    /* one was open, and was rolled back */
    bool        closed;         /* the connection is not used again */
} kp_sqlite_leftover;

/* Yours, until driver.drop_ctx is called (kp_sqlite_open). Until then only kp_sqlite_counts_read
 * may read it. */
typedef struct kp_sqlite_counts {
    uint64_t opened, closed;            /* connections */
    uint64_t statements, transactions;  /* left open by borrowers */
} kp_sqlite_counts;

/* {0} and NULL are valid (R2). The strings and the struct are copied. */
typedef struct kp_sqlite_options {
    int64_t     readers;        /* [4] connections per file that read: max_live of their key */
    int64_t     busy_timeout_ms;    /* [5 s] for locks of other processes; NONE: do not wait. What
                                       pragmas or on_open set instead stays */
    const char *journal_mode;   /* ["wal"] set by the writer; "": leave the file as it is */
    const char *pragmas;        /* SQL run on every new connection: "PRAGMA foreign_keys = on" */
    const char *vfs;            /* of sqlite3_open_v2 */
    int32_t     open_flags;     /* more flags for it: SQLITE_OPEN_URI, ... */
    int32_t     tidy;           /* [FINALIZE] what becomes of statements left open */
    /* Last step of opening. If it is not SQLITE_OK, the create fails with that code. */
    int       (*on_open)(sqlite3 *db, const kp_sqlite_key *key, void *ctx);
    /* First step of closing; the hooks and the busy handler are taken out before. */
    void      (*on_close)(sqlite3 *db, const kp_sqlite_key *key, void *ctx);
    void      (*on_leftover)(const kp_sqlite_leftover *what, void *ctx);
    void       *ctx;            /* of these three; they may run on several threads at once */
    kp_sqlite_counts *counts;
    int64_t     reserved[6];
} kp_sqlite_options;

/* ---- opening --------------------------------------------------------------------------------- */

/* Open a pool of SQLite connections. `more`: all other options of a pool (budget, on_event, ...),
 * or NULL; its driver, key_type and limits_for are set as kp_sqlite_fill does.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: copies both options; keeps `sqlite->ctx`,
 * `sqlite->counts` and `more->ctx` until it calls more->driver.drop_ctx with more->driver.ctx (set
 * just these two of that driver): that is the last call of a closed pool to any of your functions,
 * and may come after kp_pool_close has returned. Errors: KP_ECONFIG (more->why->field names the
 * option), KP_ENOMEM, KP_EMISUSE (`out` is NULL). Order: none. Since: 0.1 */
KP_API int kp_sqlite_open(const kp_sqlite_options *sqlite, const kp_options *more,
                          kp_pool **out) KP_NODISCARD;

/* Set driver, key_type, limits.max_live (unless it is set already) and limits_for (unless there is
 * one: it should call kp_sqlite_limits_for), for callers that open the pool themselves, with
 * kp_pool_open. `sqlite` may be NULL.
 * Threads: one at a time per options. Blocks: no. Calls: nothing. Owns: on 0, driver.ctx is memory
 * that driver.drop_ctx frees when the pool is gone; then it calls your driver.drop_ctx with your
 * driver.ctx, if you had set them, and no driver.create. If kp_pool_open fails, or is never called,
 * call options->driver.drop_ctx(options->driver.ctx). Errors: KP_ECONFIG (options->why->field names
 * the option), KP_ENOMEM; then options is as it was. KP_EMISUSE (`options` is NULL). Order: none.
 * Since: 0.1 */
KP_API int kp_sqlite_fill(const kp_sqlite_options *sqlite, kp_options *options) KP_NODISCARD;

/* The limits_for of pools of connections: the writer is alone, and no connection is shared. `ctx`
 * is not used.
 * kp_limits_set does not ask it again: max_live, reserve, surplus or sharing that are set there for
 * KP_EVERY_KEY hold for the writers that exist, too. Set those of readers by their keys.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: nothing. Errors: none; without limits it
 * does nothing. Order: none; in a limits_for of your own, call it last. Since: 0.1 */
KP_API void kp_sqlite_limits_for(kp_key key, kp_limits *limits, void *ctx);

/* ---- using ----------------------------------------------------------------------------------- */

/* The connection of a lease; NULL once it has ended, and of NULL. Threads, Blocks, Calls, Owns,
 * Errors, Order, Since: as reading lease->resource. One thread at a time may use it (it is opened
 * with SQLITE_OPEN_NOMUTEX). */
static inline sqlite3 *kp_sqlite_db(const kp_lease *lease)
{
    return lease ? (sqlite3 *)lease->resource : NULL;
}

/* Read the counters of kp_sqlite_options.counts.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: nothing. Errors: none; of NULL, zeros.
 * Order: each counter is exact, but they are not read at one instant. Since: 0.1 */
KP_API kp_sqlite_counts kp_sqlite_counts_read(const kp_sqlite_counts *counts);

#ifdef __cplusplus
}
#endif
#endif
