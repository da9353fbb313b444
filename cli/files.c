/* SPDX-License-Identifier: MIT
 *
 * The database files of a bench. A folder gets key-000.db, key-001.db, ...; a file is used as it is
 * for one key, and for more it lends its name: app.db becomes app-000.db, app-001.db, ...
 */
#include "files.h"

#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static _Noreturn void give_up(const char *what, const char *why)
{
    (void)fprintf(stderr, "keyedpool bench: %s: %s\n", what, why);
    exit(EXIT_UNREACHABLE);
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
        give_up(path, strerror(errno));
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        give_up(path, strerror(ENOTDIR));
}

/* "<head>-<number><tail>" with at least three digits, as many for all of them. */
static char *numbered(const char *head, size_t length, int64_t i, int64_t keys, const char *tail)
{
    int digits = keys > 10000 ? 6 : keys > 1000 ? 4 : 3;
    char *name = malloc(length + strlen(tail) + 32), number[24];

    if (!name)
        give_up(head, "out of memory");
    (void)snprintf(number, sizeof number, "-%0*lld", digits, (long long)i);
    memcpy(name, head, length);
    memcpy(name + length, number, strlen(number));
    memcpy(name + length + strlen(number), tail, strlen(tail) + 1);
    return name;
}

void bench_files_name(struct bench *b)
{
    const char *path = b->plan->path, *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
    size_t length = strlen(path);
    char *in_folder = malloc(length + 8);

    if (!in_folder)
        give_up(path, "out of memory");
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
            b->key[i].file = strdup(path);
        else
            b->key[i].file = numbered(path, length, i, b->plan->keys, dot);
        if (!b->key[i].file)
            give_up(path, "out of memory");
    }
    free(in_folder);
}

void bench_files_free(struct bench *b)
{
    for (int64_t i = 0; i < b->plan->keys; i++)
        free((void *)(uintptr_t)b->key[i].file);
}

/* ---- contents -------------------------------------------------------------------------------- */

static int fill(kp_lease *lease, void *arg)
{
    sqlite3 *db = kp_sqlite_db(lease);
    char sql[512];

    (void)snprintf(sql, sizeof sql,
                   "BEGIN IMMEDIATE;"
                   "CREATE TABLE IF NOT EXISTS keyedpool_bench"
                   " (id INTEGER PRIMARY KEY, value INTEGER NOT NULL, text TEXT NOT NULL);"
                   "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
                   "INSERT OR IGNORE INTO keyedpool_bench SELECT i, 0, 'row ' || i FROM n;"
                   "COMMIT", BENCH_ROWS);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK)
        return 0;
    (void)snprintf(arg, 200, "%s", sqlite3_errmsg(db));
    return -1;
}

/* By a pool of its own, so that the one that is measured begins at zero. */
void bench_files_fill(const struct bench *b)
{
    kp_sqlite_options sqlite = { .pragmas = "PRAGMA synchronous = normal" };
    kp_pool *pool;
    int rc = kp_sqlite_open(&sqlite, NULL, &pool);

    if (rc)
        give_up("cannot open a pool", kp_strerror(rc));
    for (int64_t i = 0; i < b->plan->keys; i++) {
        kp_sqlite_key key = { b->key[i].file, KP_SQLITE_WRITER };
        char text[200] = "";
        kp_why why = { 0 };
        kp_plan plan = { .ask.why = &why };

        rc = kp_use(pool, KP_KEY(&key), &plan, fill, text);
        if (rc)
            give_up(key.file, text[0] ? text : why.text[0] ? why.text : kp_strerror(rc));
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

int bench_read(sqlite3 *db, int64_t row)
{
    return one_row(db, "SELECT value, text FROM keyedpool_bench WHERE id = ?", row);
}

int bench_write(sqlite3 *db, int64_t row)
{
    return one_row(db, "UPDATE keyedpool_bench SET value = value + 1 WHERE id = ?", row);
}
