/* SPDX-License-Identifier: MIT
 *
 * The SQLite adapter: a driver whose resources are connections to (file, role).
 *
 * On statements left open: FTS, R-tree and other virtual tables keep prepared statements of their
 * own, which appear in sqlite3_next_stmt like all others. If one of those is finalised, the table
 * crashes later. So where the schema has a virtual table, or cannot be read, statements are reset
 * instead of finalised, and only running ones count as left open.
 */
#include "keyedpool_sqlite.h"

#include "fill.h"
#include "sqlite_file.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define READERS_DEFAULT 4
#define BUSY_DEFAULT_MS 5000

/* ---- words ----------------------------------------------------------------------------------- */

static const char *role_name(int32_t role)
{
    return role == KP_SQLITE_WRITER ? "writer" : role == KP_SQLITE_READER ? "reader" : "nobody";
}

static size_t key_text(const void *key, char *buf, size_t size, void *ctx)
{
    const kp_sqlite_key *k = key;
    int n = snprintf(buf, size, "%s (%s)", k->file ? k->file : "", role_name(k->role));

    (void)ctx;
    return n < 0 ? 0 : (size_t)n;
}

kp_sqlite_counts kp_sqlite_counts_read(const kp_sqlite_counts *counts)
{
    kp_sqlite_counts out;

    kp__counts_read(counts, &out, sizeof out);
    return out;
}

/* ---- create ---------------------------------------------------------------------------------- */

/* SQLite's own reason first, the file last: kp_why.text is cut at its end. */
static int fail(kp_job *job, sqlite3 *db, int code, const char *hint)
{
    const kp_sqlite_key *key = job->key.data;
    char text[512];

    if (!hint && db)
        hint = kp__sqlite_reason(db, code);
    (void)snprintf(text, sizeof text, "sqlite: %s (%d)%s%s: %s of %s",
                   db && sqlite3_extended_errcode(db) == code ? sqlite3_errmsg(db)
                                                              : sqlite3_errstr(code), code,
                   hint ? ", " : "", hint ? hint : "", role_name(key->role), key->file);
    return kp_job_fail(job, code, text);
}

static int refuse(kp_job *job, const char *text)
{
    (void)kp_job_fail(job, SQLITE_MISUSE, text);
    return KP_EREFUSED;
}

/* The extended code, if it belongs to this error: on_open may have failed without one. */
static int error_code(sqlite3 *db, int rc)
{
    int code = db ? sqlite3_extended_errcode(db) : rc;

    return (code & 0xff) == (rc & 0xff) ? code : rc;
}

/* The result of a pragma, or of any statement with one value: the first column of its last row. */
static int one_value(void *text, int columns, char **values, char **names)
{
    (void)names;
    (void)snprintf(text, 16, "%s", columns > 0 && values[0] ? values[0] : "");
    return 0;
}

/* That the file did not take the journal mode is no error to SQLite: then *hint says so. */
static int set_journal_mode(const kp_sqlite_options *o, sqlite3 *db, const char **hint)
{
    const char *wanted = o->journal_mode ? o->journal_mode : "wal";
    char sql[64], now[16] = "";
    int rc;

    if (!*wanted)
        return SQLITE_OK;
    (void)snprintf(sql, sizeof sql, "PRAGMA journal_mode = %s", wanted);
    rc = sqlite3_exec(db, sql, one_value, now, NULL);
    if (rc || strcasecmp(now, wanted) == 0 || strcasecmp(now, "memory") == 0)
        return rc;
    *hint = "the file cannot have this journal mode";
    return SQLITE_CANTOPEN;
}

static int64_t busy_timeout(const kp_sqlite_options *o)
{
    int64_t ms = o->busy_timeout_ms;

    return ms == 0 ? BUSY_DEFAULT_MS : ms == KP_NONE ? 0 : ms;
}

/* Everything after sqlite3_open_v2, which by itself reads nothing of the file. A file that this
 * process may not write has been opened to be read, and would stay so if it may do so later. */
static int set_up(const kp_sqlite_options *o, const kp_sqlite_key *key, sqlite3 *db,
                  const char **hint)
{
    int rc = SQLITE_OK;

    if (key->role == KP_SQLITE_WRITER && sqlite3_db_readonly(db, "main") == 1) {
        *hint = "this process may not write to it";
        return SQLITE_READONLY;
    }
    if (key->role == KP_SQLITE_WRITER)
        rc = set_journal_mode(o, db, hint);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, "PRAGMA schema_version", NULL, NULL, NULL);
    if (rc == SQLITE_OK && o->pragmas)
        rc = sqlite3_exec(db, o->pragmas, NULL, NULL, NULL);
    if (rc == SQLITE_OK && o->on_open) {
        rc = o->on_open(db, key, o->ctx);
        if (rc != SQLITE_OK)
            *hint = "on_open";
    }
    return rc;
}

/* While it is opened, the request's deadline counts as well. A timeout or a handler that `pragmas`
 * or on_open have set stays: with a handler SQLite says that the timeout is 0. Ours is odd, since a
 * program's own may well be as long as its deadlines, and would be taken for ours. */
static int set_up_in_time(const kp_job *job, sqlite3 *db, const char **hint)
{
    const kp_sqlite_options *o = job->ctx;
    int64_t busy_ms = busy_timeout(o);
    int64_t ms = job->left_ms < busy_ms ? (job->left_ms - 1) | 1 : busy_ms;
    char now[16] = "";
    int rc;

    (void)sqlite3_busy_timeout(db, (int)ms);
    rc = set_up(o, job->key.data, db, hint);
    if (rc == SQLITE_OK && ms != busy_ms &&
        (sqlite3_exec(db, "PRAGMA busy_timeout", one_value, now, NULL) || atoi(now) == ms))
        (void)sqlite3_busy_timeout(db, (int)busy_ms);
    return rc;
}

static int create(kp_job *job, void **resource)
{
    const kp_sqlite_options *o = job->ctx;
    const kp_sqlite_key *key = job->key.data;
    const char *hint = key->file ? kp__sqlite_unfit(key->file) : NULL;
    bool makes = key->role == KP_SQLITE_WRITER && key->file && kp__sqlite_is_missing(key->file);
    sqlite3 *db = NULL;
    int rc, flags = SQLITE_OPEN_NOMUTEX | o->open_flags;

    if (!key->file || !*key->file)
        return refuse(job, "sqlite: the key has no file");
    if (key->role == KP_SQLITE_WRITER)
        flags |= SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    else if (key->role == KP_SQLITE_READER)
        flags |= SQLITE_OPEN_READONLY;
    else
        return refuse(job, "sqlite: the key's role is not KP_SQLITE_READER or KP_SQLITE_WRITER");

    rc = hint ? SQLITE_CANTOPEN : sqlite3_open_v2(key->file, &db, flags, o->vfs);
    if (db)
        (void)sqlite3_extended_result_codes(db, 1);
    if (rc == SQLITE_OK && kp__sqlite_is_inherited(db)) {
        (void)sqlite3_close_v2(db);
        return refuse(job, "sqlite: this file was open at the fork, so the child must not use it:"
                           " fork before a file is opened, or exec");
    }
    if (rc == SQLITE_OK) {
        rc = kp__sqlite_note(db);
        if (rc == SQLITE_OK)
            rc = set_up_in_time(job, db, &hint);
        if (makes)                      /* its readers need not pause longer, even if it fails */
            (void)kp_retry_now(job->pool, KP_SQLITE_KEY(key->file, KP_SQLITE_READER));
    } else if ((rc & 0xff) == SQLITE_CANTOPEN && key->role == KP_SQLITE_READER &&
               sqlite3_system_errno(db) == ENOENT) {
        hint = "the file does not exist yet: get its writer first";
    }
    if (rc != SQLITE_OK) {
        int result = fail(job, db, error_code(db, rc), hint);
        (void)sqlite3_close_v2(db);
        return (rc & 0xff) == SQLITE_NOTADB ? KP_EREFUSED : result;
    }
    if (o->counts)
        kp__count(&o->counts->opened, 1);
    *resource = db;
    return 0;
}

/* ---- giving back ----------------------------------------------------------------------------- */

static void copy_sql(sqlite3_stmt *s, char *sql, size_t size)
{
    const char *text = sqlite3_sql(s);  /* NULL for what is no SQL, an open blob for instance */

    if (text)
        (void)snprintf(sql, size, "%s", text);
}

/* Reset the statements that are in the middle of their rows. The search begins again after each:
 * resetting one may end others, which a virtual table had opened for it. Returns how many. */
static int64_t stop_running(sqlite3 *db, char *sql, size_t size)
{
    int64_t running = 0;
    sqlite3_stmt *s;

    for (;;) {
        s = sqlite3_next_stmt(db, NULL);
        while (s && !sqlite3_stmt_busy(s))
            s = sqlite3_next_stmt(db, s);
        if (!s)
            return running;
        copy_sql(s, sql, size);         /* in the end the oldest's, which began it all */
        (void)sqlite3_reset(s);
        running++;
    }
}

/* Does any schema of this connection have a virtual table? If in doubt, yes. */
static bool has_virtual_tables(sqlite3 *db)
{
    static const char schemas[] = "SELECT name FROM pragma_database_list";
    sqlite3_stmt *names, *one;
    bool found = false;
    int rc;

    if (sqlite3_prepare_v2(db, schemas, -1, &names, NULL) != SQLITE_OK)
        return true;
    while ((rc = sqlite3_step(names)) == SQLITE_ROW && !found) {
        char *sql = sqlite3_mprintf("SELECT 1 FROM \"%w\".sqlite_master"
                                    " WHERE type = 'table' AND rootpage = 0 LIMIT 1",
                                    (const char *)sqlite3_column_text(names, 0));

        if (!sql || sqlite3_prepare_v2(db, sql, -1, &one, NULL) != SQLITE_OK) {
            found = true;
        } else {
            found = sqlite3_step(one) != SQLITE_DONE;
            (void)sqlite3_finalize(one);
        }
        sqlite3_free(sql);
    }
    (void)sqlite3_finalize(names);
    return found || rc != SQLITE_DONE;  /* locked, say */
}

/* Count the borrower's statements, and finalise them where that is wanted and safe. `sql` gets the
 * text of the oldest that is running, or else of the newest. */
static void tidy_statements(const kp_job *job, sqlite3 *db, kp_sqlite_leftover *what, char *sql,
                            size_t size)
{
    int32_t tidy = ((const kp_sqlite_options *)job->ctx)->tidy;
    bool wanted = tidy != KP_SQLITE_KEEP && tidy != KP_SQLITE_CLOSE;
    sqlite3_stmt *s = sqlite3_next_stmt(db, NULL);

    if (!s)
        return;
    copy_sql(s, sql, size);
    what->running = stop_running(db, sql, size);
    what->statements = what->running;
    /* Idle statements count where none may be left: not if they are kept, and not a second time
     * when a connection is destroyed because of them. */
    if ((wanted || (tidy == KP_SQLITE_CLOSE && job->kind == KP_JOB_RESET)) &&
        !has_virtual_tables(db)) {
        what->statements = 0;
        for (s = sqlite3_next_stmt(db, NULL); s; s = sqlite3_next_stmt(db, s))
            what->statements++;
        while (wanted && (s = sqlite3_next_stmt(db, NULL)) != NULL)
            (void)sqlite3_finalize(s);
    }
    if (what->statements)
        what->sql = sql;
}

/* Where nobody began a transaction and nothing runs, only a backup into this connection has one. */
static bool has_backup(sqlite3 *db)
{
#if SQLITE_VERSION_NUMBER >= 3034000
    return sqlite3_get_autocommit(db) && sqlite3_txn_state(db, NULL) != SQLITE_TXN_NONE;
#else
    (void)db;
    return false;
#endif
}

/* Make a connection ready for the next borrower, or for closing. Returns SQLITE_OK or why it is
 * bad. */
static int tidy_up(kp_job *job, sqlite3 *db)
{
    const kp_sqlite_options *o = job->ctx;
    kp_sqlite_leftover what = { .key = job->key.data, .db = db, .tag = job->tag };
    char sql[256] = "";
    int rc = SQLITE_OK;

    tidy_statements(job, db, &what, sql, sizeof sql);
    if (!sqlite3_get_autocommit(db)) {
        rc = sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
        if (sqlite3_get_autocommit(db))
            rc = SQLITE_OK;             /* whatever ended it: it is over */
        /* else it counts when the connection is destroyed, which follows */
        what.transaction = rc == SQLITE_OK || job->kind == KP_JOB_DESTROY;
    }
    if (rc == SQLITE_OK && o->tidy == KP_SQLITE_CLOSE && what.statements > 0)
        rc = SQLITE_MISUSE;
    if (!what.statements && !what.transaction)
        return rc;
    what.closed = job->kind == KP_JOB_DESTROY || rc != SQLITE_OK;
    if (o->counts) {
        kp__count(&o->counts->statements, (uint64_t)what.statements);
        kp__count(&o->counts->transactions, what.transaction);
    }
    if (o->on_leftover)
        o->on_leftover(&what, o->ctx);
    return rc;
}

static int reset(kp_job *job, void *resource)
{
    int rc = tidy_up(job, resource);

    if (rc == SQLITE_MISUSE)
        return fail(job, NULL, rc, "statements were left open");
    if (rc == SQLITE_OK && has_backup(resource))
        return fail(job, NULL, SQLITE_BUSY, "a backup into it is not finished");
    return rc == SQLITE_OK ? 0 : fail(job, resource, rc, "cannot roll back");
}

/* Is there no open transaction, no backup, and no statement but idle ones that may be kept? */
static bool is_clean(void *resource, void *ctx)
{
    bool keeps = ((const kp_sqlite_options *)ctx)->tidy == KP_SQLITE_KEEP;
    sqlite3_stmt *s = sqlite3_next_stmt(resource, NULL);

    while (s && keeps && !sqlite3_stmt_busy(s))
        s = sqlite3_next_stmt(resource, s);
    return !s && sqlite3_get_autocommit(resource) && !has_backup(resource);
}

/* A file that was moved or deleted is the one thing that makes an idle connection useless; asking
 * takes no lock. */
static int validate(kp_job *job, void *resource)
{
    sqlite3 *db = resource;
    int moved = 0, rc;

    if (sqlite3_file_control(db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved) {
        (void)fail(job, NULL, SQLITE_READONLY_DBMOVED, "the file was moved or deleted");
        return KP_EGONE;                /* others that have the file open have lost it, too */
    }
    rc = sqlite3_exec(db, "SELECT 1", NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : fail(job, db, rc, NULL);
}

/* Nobody needs these hooks any more, and what a borrower's hook uses may be gone. */
static void unhook(const kp_sqlite_options *o, sqlite3 *db)
{
    (void)sqlite3_set_authorizer(db, NULL, NULL);
    (void)sqlite3_commit_hook(db, NULL, NULL);
    (void)sqlite3_rollback_hook(db, NULL, NULL);
    (void)sqlite3_update_hook(db, NULL, NULL);
    (void)sqlite3_wal_hook(db, NULL, NULL);
    (void)sqlite3_trace_v2(db, 0, NULL, NULL);
    (void)sqlite3_busy_timeout(db, (int)busy_timeout(o));
    sqlite3_progress_handler(db, 0, NULL, NULL);
}

/* Tidied first: what a borrower left running or open would keep its locks, for sqlite3_close_v2
 * would only wait for it to end. */
static int destroy(kp_job *job, void *resource)
{
    const kp_sqlite_options *o = job->ctx;
    sqlite3 *db = resource;
    int rc;

    unhook(o, db);
    if (o->on_close)
        o->on_close(db, job->key.data, o->ctx);
    (void)tidy_up(job, db);
    if (o->counts)
        kp__count(&o->counts->closed, 1);
    if (has_backup(db))                 /* which its end would find freed */
        return fail(job, NULL, SQLITE_BUSY, "a backup into it is not finished: it is not closed");
    rc = sqlite3_close(db);
    if (rc == SQLITE_OK)
        return 0;
    (void)sqlite3_close_v2(db);         /* the rest is freed when the last statement is finalised */
    if (rc == SQLITE_BUSY && o->tidy == KP_SQLITE_CLOSE)
        return 0;
    return fail(job, NULL, rc, "statements or a backup are open: it is closed when they end");
}

/* ---- opening --------------------------------------------------------------------------------- */

/* The name of the first impossible option, with a sentence; or NULL. */
static const char *impossible(const kp_sqlite_options *o, const char **sentence)
{
    const char *p = o->journal_mode;

    *sentence = "it must be at least 1";
    if (o->readers < 0)
        return "sqlite.readers";
    *sentence = "it must be a time, or KP_NONE";
    if ((o->busy_timeout_ms < 0 && o->busy_timeout_ms != KP_NONE) || o->busy_timeout_ms > INT_MAX)
        return "sqlite.busy_timeout_ms";
    *sentence = "it must be one word, as in PRAGMA journal_mode";
    while (p && isalpha((unsigned char)*p))
        p++;
    if (p && (*p || p - o->journal_mode > 10))
        return "sqlite.journal_mode";
    *sentence = "it must be KP_SQLITE_FINALIZE, KP_SQLITE_KEEP or KP_SQLITE_CLOSE";
    if (o->tidy < 0 || o->tidy > KP_SQLITE_CLOSE)
        return "sqlite.tidy";
    *sentence = "it cannot say how the file is opened: the key's role does";
    if (o->open_flags & (SQLITE_OPEN_READONLY | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
                         SQLITE_OPEN_FULLMUTEX))
        return "sqlite.open_flags";
    *sentence = KP__NEWER;
    if (KP__SAYS_MORE(o))
        return "sqlite.reserved";
    *sentence = "this SQLite was built without support for threads";
    return sqlite3_threadsafe() ? NULL : "sqlite";
}

void kp_sqlite_limits_for(kp_key key, kp_limits *limits, void *ctx)
{
    const kp_sqlite_key *k = key.data;

    (void)ctx;
    if (!limits)
        return;
    limits->sharing = 1;                /* NOMUTEX: one thread at a time */
    if (!k || k->role != KP_SQLITE_WRITER)
        return;
    limits->max_live = 1;
    limits->reserve = KP_NONE;          /* not even a second one in need, ... */
    limits->surplus = KP_NONE;          /* ... or to replace one that is still lent */
    if (limits->min_live > 1)
        limits->min_live = 1;
    if (limits->min_idle > 1)
        limits->min_idle = 1;
    if (limits->excess_over > 1)
        limits->excess_over = 1;
    if (limits->floor > 1)
        limits->floor = 1;
}

int kp_sqlite_fill(const kp_sqlite_options *sqlite, kp_options *options)
{
    static const kp_field fields[] = { KP_STR(kp_sqlite_key, file), KP_INT(kp_sqlite_key, role),
                                       KP_END };
    static const size_t strings[] = { offsetof(kp_sqlite_options, journal_mode),
                                      offsetof(kp_sqlite_options, pragmas),
                                      offsetof(kp_sqlite_options, vfs), KP__NO_STRING };
    static const kp_sqlite_options defaults;
    const char *field, *sentence;
    void *kept;

    if (!options)
        return kp__fill_none();
    if (!sqlite)
        sqlite = &defaults;
    field = impossible(sqlite, &sentence);
    if (field)
        return kp__fill_refused(options, field, sentence);
    kept = kp__keep(sqlite, sizeof *sqlite, strings, &options->driver);
    if (!kept)
        return KP_ENOMEM;
    options->driver = (kp_driver){
        .create = create, .destroy = destroy, .validate = validate, .reset = reset,
        .is_clean = is_clean, .ctx = kept, .drop_ctx = kp__drop_kept,
    };
    options->key_type =
        (kp_key_type){ .size = sizeof(kp_sqlite_key), .fields = fields, .text = key_text };
    if (!options->limits.max_live)
        options->limits.max_live = sqlite->readers ? sqlite->readers : READERS_DEFAULT;
    if (!options->limits_for)
        options->limits_for = kp_sqlite_limits_for;
    return 0;
}

int kp_sqlite_open(const kp_sqlite_options *sqlite, const kp_options *more, kp_pool **out)
{
    kp_options options = kp__options(more);
    int rc = kp_sqlite_fill(sqlite, &options);

    return kp__open_filled(rc, &options, kp__unkeep, out);
}
