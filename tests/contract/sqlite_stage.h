/* SPDX-License-Identifier: MIT
 *
 * The stage of the SQLite tests: a folder and a pool for each test, and short functions for what
 * they all do.
 */
#ifndef TESTS_SQLITE_STAGE_H
#define TESTS_SQLITE_STAGE_H

#include <keyedpool_sqlite.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct stage {
    char     folder[64], file[96], other[96];
    kp_pool *pool;
    kp_why   why;
    kp_sqlite_counts counts;
    kp_sqlite_leftover left;    /* the last one; its pointers are no longer valid */
    char     left_sql[256], left_tag[32];
    int      reports;
    int      opens, closes, open_code;
    int      invalid_code;      /* of the last one that a get found to be invalid */
    sqlite3_stmt *kept;
};

static inline int set_up(void **state)
{
    struct stage *s = calloc(1, sizeof *s);

    if (!s)
        return -1;
    (void)snprintf(s->folder, sizeof s->folder, "/tmp/keyedpool-test-XXXXXX");
    if (!mkdtemp(s->folder))
        return -1;
    (void)snprintf(s->file, sizeof s->file, "%s/a.db", s->folder);
    (void)snprintf(s->other, sizeof s->other, "%s/b.db", s->folder);
    *state = s;
    return 0;
}

static inline int tear_down(void **state)
{
    struct stage *s = *state;
    DIR *dir = opendir(s->folder);
    struct dirent *entry;

    while (dir && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.')
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
    }
    if (dir)
        (void)closedir(dir);
    (void)rmdir(s->folder);
    free(s);
    return 0;
}

static inline void note_leftover(const kp_sqlite_leftover *what, void *ctx)
{
    struct stage *s = ctx;

    s->left = *what;
    s->reports++;
    (void)snprintf(s->left_sql, sizeof s->left_sql, "%s", what->sql ? what->sql : "");
    (void)snprintf(s->left_tag, sizeof s->left_tag, "%s", what->tag ? what->tag : "");
}

static inline void note_event(const kp_event *event, void *ctx)
{
    struct stage *s = ctx;

    if (event->kind == KP_EVENT_INVALID)
        s->invalid_code = event->code;
}

/* A failed create is retried at once: no test here is about back-off. */
static inline void stage_open(struct stage *s, kp_sqlite_options sqlite)
{
    kp_options more = { .why = &s->why, .on_event = note_event, .ctx = s };

    more.limits.retry_first_ms = KP_NONE;
    more.limits.validate_after_ms = KP_NONE;
    sqlite.on_leftover = note_leftover;
    sqlite.ctx = s;
    sqlite.counts = &s->counts;
    assert_int_equal(kp_sqlite_open(&sqlite, &more, &s->pool), 0);
}

static inline void stage_close(struct stage *s)
{
    kp_sqlite_counts counts;

    assert_int_equal(kp_pool_close(s->pool, KP_CLOSE_NOW, 0), 0);
    counts = kp_sqlite_counts_read(&s->counts);
    assert_int_equal(counts.opened, counts.closed);
}

static inline int try_get(struct stage *s, const char *file, kp_sqlite_role role, kp_lease *lease)
{
    kp_sqlite_key key = { file, (int32_t)role };

    memset(&s->why, 0, sizeof s->why);
    return kp_get(s->pool, KP_KEY(&key), KP_ASK(.within_ms = 10000, .why = &s->why, .tag = "test"),
                  lease);
}

static inline kp_lease get(struct stage *s, kp_sqlite_role role)
{
    kp_lease lease;

    if (try_get(s, s->file, role, &lease) != 0)
        fail_msg("get: %s", s->why.text);
    return lease;
}

static inline kp_stats stats(struct stage *s, kp_sqlite_role role)
{
    kp_sqlite_key key = { s->file, (int32_t)role };
    kp_stats out = { 0 };

    assert_int_equal(kp_stats_read(s->pool, KP_KEY(&key), &out), 0);
    return out;
}

static inline int run_sql(const kp_lease *lease, const char *sql)
{
    return sqlite3_exec(kp_sqlite_db(lease), sql, NULL, NULL, NULL);
}

static inline int64_t value(const kp_lease *lease, const char *sql)
{
    sqlite3_stmt *s;
    int64_t n = -1;

    assert_int_equal(sqlite3_prepare_v2(kp_sqlite_db(lease), sql, -1, &s, NULL), SQLITE_OK);
    if (sqlite3_step(s) == SQLITE_ROW)
        n = sqlite3_column_int64(s, 0);
    assert_int_equal(sqlite3_finalize(s), SQLITE_OK);
    return n;
}

static inline void make_table(struct stage *s)
{
    kp_lease lease = get(s, KP_SQLITE_WRITER);

    assert_int_equal(run_sql(&lease, "CREATE TABLE t (x); INSERT INTO t VALUES (1), (2), (3)"),
                     SQLITE_OK);
    kp_release(&lease);
}

static inline sqlite3_stmt *start_query(const kp_lease *lease)
{
    sqlite3_stmt *s;

    assert_int_equal(sqlite3_prepare_v2(kp_sqlite_db(lease), "SELECT x FROM t", -1, &s, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    return s;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
