/* SPDX-License-Identifier: MIT
 *
 * The SQLite adapter, held to what every adapter must hold to.
 */
#include <keyedpool_sqlite.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "adapters/conform.h"

static char folder[64], file[96], other[96], text[96];

static kp_sqlite_key names[] = {
    { file, KP_SQLITE_WRITER }, { file, KP_SQLITE_READER }, { other, KP_SQLITE_WRITER },
    { text, KP_SQLITE_READER }, { "/nonexistent/a.db", KP_SQLITE_WRITER },
};

#define NAME(i) { &names[i], sizeof names[i] | KP_STRUCT_KEY }

/* Some cases hold two of the first key at once: of a writer there is only one. */
static const kp_key keys[] = { NAME(1), NAME(2) };

static int exec(void *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

static int start(void)
{
    FILE *f;
    sqlite3 *db;
    int rc;

    (void)snprintf(folder, sizeof folder, "/tmp/keyedpool-test-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    (void)snprintf(file, sizeof file, "%s/a.db", folder);
    (void)snprintf(other, sizeof other, "%s/b.db", folder);
    (void)snprintf(text, sizeof text, "%s/text", folder);
    f = fopen(text, "w");
    if (!f)
        return -1;
    for (int i = 0; i < 200; i++)
        (void)fputs("this is no database ", f);
    (void)fclose(f);
    rc = sqlite3_open(file, &db);
    if (rc == SQLITE_OK)
        rc = exec(db, "PRAGMA journal_mode = wal; CREATE TABLE t (x); INSERT INTO t VALUES (1)");
    (void)sqlite3_close(db);
    return rc;
}

static void stop(void)
{
    static const char *const ends[] = { "a.db", "a.db-wal", "a.db-shm", "b.db", "b.db-wal",
                                        "b.db-shm", "text" };
    char path[128];

    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, ends[i]);
        (void)unlink(path);
    }
    (void)rmdir(folder);
}

static int fill(kp_options *options)
{
    return kp_sqlite_fill(NULL, options);
}

static const char *use(void *resource)
{
    return exec(resource, "SELECT count(*) FROM sqlite_master") == SQLITE_OK
               ? NULL : sqlite3_errmsg(resource);
}

/* ---- what is left open ----------------------------------------------------------------------- */

static void leave_transaction(void *resource)
{
    (void)exec(resource, "BEGIN; SELECT * FROM t");
}

static bool in_transaction(void *resource)
{
    return !sqlite3_get_autocommit(resource);
}

static void leave_rows(void *resource)
{
    sqlite3_stmt *s;

    if (sqlite3_prepare_v2(resource, "SELECT x FROM t", -1, &s, NULL) == SQLITE_OK)
        (void)sqlite3_step(s);
}

static bool has_statements(void *resource)
{
    return sqlite3_next_stmt(resource, NULL) != NULL;
}

int main(void)
{
    static const struct conform_left left[] = {
        { "a transaction", leave_transaction, in_transaction },
        { "rows that were not read", leave_rows, has_statements },
        { 0 },
    };
    static const struct conform_wrong wrong[] = {
        { "a file that is no database", NAME(3), KP_EREFUSED, SQLITE_NOTADB,
          { "file is not a database" }, NULL, NULL },
        { "a folder that is not there", NAME(4), KP_ECREATE, 0,
          { "unable to open", "/nonexistent/a.db" }, NULL, NULL },
        { 0 },
    };
    static const struct conform subject = {
        .name = "sqlite", .start = start, .stop = stop, .fill = fill, .keys = keys,
        .keys_count = 2, .use = use, .left = left, .wrong = wrong, .in_a_child = KP_EREFUSED,
    };

    return conform_run(&subject);
}
