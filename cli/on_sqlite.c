/* SPDX-License-Identifier: MIT
 *
 * The backend sqlite: database files are the keys, one row is read or changed by its number. A
 * folder gets key-000.db, key-001.db, ...; a file is used as it is for one key, and for more it
 * lends its name: app.db becomes app-000.db, app-001.db, ...
 */
#include "doctor.h"
#include "keys.h"

#include <keyedpool_sqlite.h>

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ROWS = 1000 };

static const char *version(void)
{
    return sqlite3_libversion();
}

/* ---- names ----------------------------------------------------------------------------------- */

static bool is_folder(const char *path)
{
    struct stat st;
    size_t n = strlen(path);

    return path[n - 1] == '/' || (stat(path, &st) == 0 && S_ISDIR(st.st_mode));
}

static void make_folder(const char *path)
{
    struct stat st;

    if (mkdir(path, 0777) != 0 && errno != EEXIST)
        bench_give_up(path, strerror(errno));
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        bench_give_up(path, strerror(ENOTDIR));
}

static void name_files(struct bench *b)
{
    const char *path = target_name(&b->plan->target);
    const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
    size_t length = strlen(path);
    char *in_folder = malloc(length + 8);

    if (!in_folder)
        bench_give_up(path, "out of memory");
    if (!dot || (slash && dot < slash))
        dot = path + length;
    if (is_folder(path)) {
        make_folder(path);
        (void)snprintf(in_folder, length + 8, "%s%skey", path, path[length - 1] == '/' ? "" : "/");
        path = in_folder;
        length = strlen(path);
        dot = ".db";
    } else if (b->plan->keys > 1) {
        length = (size_t)(dot - path);
    }
    for (int64_t i = 0; i < b->plan->keys; i++) {
        if (path != in_folder && b->plan->keys == 1)
            b->key[i].name = strdup(path);
        else
            b->key[i].name = bench_numbered(path, length, i, b->plan->keys, dot);
        if (!b->key[i].name)
            bench_give_up(path, "out of memory");
    }
    free(in_folder);
}

/* ---- contents -------------------------------------------------------------------------------- */

static const char no_file[] = "it is in memory: each connection would have a database of its own";

static bool has_file(sqlite3 *db)
{
    const char *file = sqlite3_db_filename(db, "main");

    return file && *file;
}

static int fill(kp_lease *lease, void *arg)
{
    sqlite3 *db = kp_sqlite_db(lease);
    char sql[512];

    if (!has_file(db)) {
        (void)snprintf(arg, 200, "%s", no_file);
        return -1;
    }
    (void)snprintf(sql, sizeof sql,
                   "BEGIN IMMEDIATE;"
                   "CREATE TABLE IF NOT EXISTS keyedpool_bench"
                   " (id INTEGER PRIMARY KEY, value INTEGER NOT NULL, text TEXT NOT NULL);"
                   "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
                   "INSERT OR IGNORE INTO keyedpool_bench SELECT i, 0, 'row ' || i FROM n;"
                   "COMMIT", ROWS);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK)
        return 0;
    (void)snprintf(arg, 200, "%s", sqlite3_errmsg(db));
    return -1;
}

/* With a pool of its own, so that the counters of the one that is measured begin at zero. */
static void fill_files(const struct bench *b)
{
    kp_sqlite_options sqlite = { .pragmas = "PRAGMA synchronous = normal" };
    kp_why open_why = { 0 };
    kp_options more = { .why = &open_why };
    kp_pool *pool;
    int rc = kp_sqlite_open(&sqlite, &more, &pool);

    if (rc)
        bench_give_up("cannot open a pool", open_why.text[0] ? open_why.text : kp_strerror(rc));
    for (int64_t i = 0; i < b->plan->keys; i++) {
        kp_sqlite_key key = { b->key[i].name, KP_SQLITE_WRITER };
        char text[200] = "";
        kp_why why = { 0 };
        kp_plan plan = { .ask.why = &why };

        rc = kp_use(pool, KP_KEY(&key), &plan, fill, text);
        if (rc)
            bench_give_up(key.file, text[0] ? text : why.text[0] ? why.text : kp_strerror(rc));
        (void)kp_invalidate_key(pool, KP_KEY(&key));    /* closed: no more files open than needed */
    }
    (void)kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(5));
}

/* ---- queries --------------------------------------------------------------------------------- */

/* Prepared each time, as programs do that keep no statements. */
static int one_row(sqlite3 *db, const char *sql, int64_t row)
{
    sqlite3_stmt *s;
    int rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);

    if (rc != SQLITE_OK)
        return rc;
    (void)sqlite3_bind_int64(s, 1, row);
    while (sqlite3_step(s) == SQLITE_ROW)
        ;
    return sqlite3_finalize(s);         /* repeats the error of the last step */
}

static int read_row(sqlite3 *db, int64_t row)
{
    return one_row(db, "SELECT value, text FROM keyedpool_bench WHERE id = ?", row);
}

static int write_row(sqlite3 *db, int64_t row)
{
    return one_row(db, "UPDATE keyedpool_bench SET value = value + 1 WHERE id = ?", row);
}

static enum outcome operate(kp_lease *lease, const struct target *t, struct task task, char *why,
                            size_t size)
{
    sqlite3 *db = kp_sqlite_db(lease);
    int64_t row = 1 + task.row % ROWS;
    int rc;

    (void)t;
    if (task.row == ANY)
        rc = one_row(db, "SELECT count(*) FROM sqlite_master WHERE rowid <> ?", 0);
    else
        rc = task.write ? write_row(db, row) : read_row(db, row);
    if (rc == SQLITE_OK)
        return DONE;
    (void)snprintf(why, size, "%s", sqlite3_errmsg(db));
    return BROKEN;
}

/* ---- what a doctor sees ---------------------------------------------------------------------- */

static int ends_in_db(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');

    return dot && strcmp(dot, ".db") == 0;
}

/* Of a folder, look at the first file. */
static bool visit(struct doctor *d, const struct target *t, char *name, size_t size)
{
    const char *path = target_name(t);
    struct dirent **files = NULL;
    int n;

    if (!is_folder(path))
        return true;
    if (access(path, R_OK | W_OK | X_OK) != 0 || (n = scandir(path, &files, ends_in_db,
                                                              alphasort)) < 0) {
        doctor_say(d, MARK_FAIL, "folder", "files cannot be created in it: %s", strerror(errno));
        return false;
    }
    doctor_say(d, MARK_OK, "folder", "files can be created in it; .db files: %d%s%s", n,
               n > 0 ? ", looked at: " : "", n > 0 ? files[0]->d_name : "");
    doctor_number(d, "files", n);
    if (n > 0)
        (void)snprintf(name, size, "%s/%s", path, files[0]->d_name);
    for (int i = 0; i < n; i++)
        free(files[i]);
    free(files);
    return n > 0;
}

static void examine(struct doctor *d, const struct target *t, kp_lease *lease)
{
    sqlite3_stmt *s = NULL;
    const char *mode = NULL;

    (void)t;
    if (sqlite3_prepare_v2(kp_sqlite_db(lease), "PRAGMA journal_mode", -1, &s, NULL) == SQLITE_OK &&
        sqlite3_step(s) == SQLITE_ROW)
        mode = (const char *)sqlite3_column_text(s, 0);
    if (!has_file(kp_sqlite_db(lease)))
        doctor_say(d, MARK_FAIL, "journal", "%s", no_file);
    else if (mode && strcmp(mode, "wal") == 0)
        doctor_say(d, MARK_OK, "journal",
                   "journal mode wal: readers and the writer do not wait for each other");
    else
        doctor_say(d, MARK_WARN, "journal",
                   "journal mode %s: readers wait for the writer, until a pool's writer sets wal",
                   mode ? mode : "unknown");
    (void)sqlite3_finalize(s);
}

/* ---- the backend ----------------------------------------------------------------------------- */

static int open_pool(const struct target *t, int64_t size, const kp_options *more, kp_pool **out)
{
    kp_sqlite_options sqlite = { .readers = size, .pragmas = "PRAGMA synchronous = normal" };

    (void)t;
    return kp_sqlite_open(&sqlite, more, out);
}

static kp_key key(const char *name, bool write, union key_room *room)
{
    kp_sqlite_key *k = (kp_sqlite_key *)room->bytes;

    *k = (kp_sqlite_key){ name, write ? KP_SQLITE_WRITER : KP_SQLITE_READER };
    return KP_KEY(k);
}

static void prepare(struct bench *b)
{
    name_files(b);
    fill_files(b);
}

const struct backend sqlite_backend = {
    .library = "sqlite", .operation = "read", .writing = "write",
    .files = 1, .key_files = 1,         /* -wal; -shm */
    .place_files = 1,                   /* the database: to close it would end others' locks */
    .local = true, .version = version, .open = open_pool, .key = key, .operate = operate,
    .prepare = prepare, .visit = visit, .examine = examine,
};
