/* SPDX-License-Identifier: MIT
 *
 * The SQLite adapter on real files: nobody's hooks are called when a connection goes.
 */
#include "sqlite_stage.h"

static void rolled_back(void *heard)
{
    ++*(int *)heard;
}

static int authorize(void *heard, int action, const char *a, const char *b, const char *c,
                     const char *d)
{
    (void)action, (void)a, (void)b, (void)c, (void)d;
    ++*(int *)heard;
    return SQLITE_OK;
}

/* A borrower that changed hooks discards. What they use may be gone by then: a scope runs its
 * finalizers first. */
static void hooks_must_not_be_called_when_their_connection_goes(void **state)
{
    struct stage *s = *state;
    kp_lease lease;
    int heard = 0;

    stage_open(s, (kp_sqlite_options){ 0 });
    make_table(s);
    lease = get(s, KP_SQLITE_WRITER);
    assert_int_equal(run_sql(&lease, "BEGIN IMMEDIATE; INSERT INTO t VALUES (4)"), SQLITE_OK);
    (void)start_query(&lease);
    (void)sqlite3_rollback_hook(kp_sqlite_db(&lease), rolled_back, &heard);
    (void)sqlite3_set_authorizer(kp_sqlite_db(&lease), authorize, &heard);
    kp_discard(&lease);
    assert_true(s->left.transaction);
    assert_int_equal(heard, 0);
    stage_close(s);
}

static int logged(void *heard, sqlite3 *db, const char *name, int pages)
{
    (void)db, (void)name, (void)pages;
    ++*(int *)heard;
    return SQLITE_OK;
}

static void say_goodbye(sqlite3 *db, const kp_sqlite_key *key, void *ctx)
{
    (void)key;
    (void)ctx;
    assert_int_equal(sqlite3_exec(db, "DELETE FROM t", NULL, NULL, NULL), SQLITE_OK);
}

/* Not by what on_close does, either: PRAGMA optimize reads, and may write. */
static void hooks_must_not_be_called_by_on_close(void **state)
{
    struct stage *s = *state;
    kp_lease lease;
    int heard = 0;

    stage_open(s, (kp_sqlite_options){ .on_close = say_goodbye });
    make_table(s);
    lease = get(s, KP_SQLITE_WRITER);
    (void)sqlite3_set_authorizer(kp_sqlite_db(&lease), authorize, &heard);
    (void)sqlite3_wal_hook(kp_sqlite_db(&lease), logged, &heard);
    kp_discard(&lease);
    assert_int_equal(heard, 0);
    stage_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(hooks_must_not_be_called_when_their_connection_goes),
        TEST(hooks_must_not_be_called_by_on_close),
    };

    return cmocka_run_group_tests_name("sqlite_hooks", tests, NULL, NULL);
}
