/* SPDX-License-Identifier: MIT
 *
 * The SQLite adapter on real files: how many connections there may be of each role, whatever the
 * limits of the pool say; how long they wait for a lock, and for their file.
 */
#include "sqlite_stage.h"

/* One reader fewer than the pool's own limits say; the writer stays alone whatever is said here. */
static void frugal(kp_key key, kp_limits *limits, void *ctx)
{
    limits->max_live = 2;
    kp_sqlite_limits_for(key, limits, ctx);
}

static void limits_of_ones_own_must_go_together_with_the_adapters(void **state)
{
    struct stage *s = *state;
    kp_options more = { .why = &s->why, .limits_for = frugal };
    kp_lease writer, a, b, c;

    assert_int_equal(kp_sqlite_open(NULL, &more, &s->pool), 0);
    make_table(s);
    writer = get(s, KP_SQLITE_WRITER);
    a = get(s, KP_SQLITE_READER);
    b = get(s, KP_SQLITE_READER);
    assert_int_equal(kp_try_get(s->pool, KP_SQLITE_KEY(s->file, KP_SQLITE_READER), &c), KP_EAGAIN);
    assert_int_equal(kp_try_get(s->pool, KP_SQLITE_KEY(s->file, KP_SQLITE_WRITER), &c), KP_EAGAIN);
    assert_int_equal(stats(s, KP_SQLITE_READER).live, 2);
    assert_int_equal(stats(s, KP_SQLITE_WRITER).live, 1);
    kp_release(&a);
    kp_release(&b);
    assert_int_equal(run_sql(&writer, "BEGIN"), SQLITE_OK);     /* nobody counts it */
    kp_release(&writer);
    assert_int_equal(kp_pool_close(s->pool, KP_CLOSE_NOW, 0), 0);
}

/* What asks for more than one must ask for one; what asks for less stays. */
static void the_writers_limits_must_not_contradict_that_it_is_alone(void **state)
{
    static const kp_limits said = { .min_live = 2, .max_live = 9, .min_idle = 2, .sharing = 2,
                                    .excess_over = 2, .reserve = 2, .floor = 2, .surplus = 2 };
    static const kp_limits less = { .min_live = KP_NONE, .excess_over = KP_NONE, .floor = 1 };
    kp_limits limits = said;

    (void)state;
    kp_sqlite_limits_for(KP_SQLITE_KEY("a.db", KP_SQLITE_READER), &limits, NULL);
    assert_int_equal(limits.sharing, 1);
    limits.sharing = said.sharing;
    assert_memory_equal(&limits, &said, sizeof said);
    kp_sqlite_limits_for(KP_SQLITE_KEY("a.db", KP_SQLITE_WRITER), &limits, NULL);
    assert_int_equal(limits.sharing, 1);
    assert_int_equal(limits.min_live, 1);
    assert_int_equal(limits.max_live, 1);
    assert_int_equal(limits.min_idle, 1);
    assert_int_equal(limits.excess_over, 1);
    assert_int_equal(limits.floor, 1);
    assert_int_equal(limits.reserve, KP_NONE);
    assert_int_equal(limits.surplus, KP_NONE);
    limits = less;
    kp_sqlite_limits_for(KP_SQLITE_KEY("a.db", KP_SQLITE_WRITER), &limits, NULL);
    assert_int_equal(limits.min_live, KP_NONE);
    assert_int_equal(limits.min_idle, 0);
    assert_int_equal(limits.excess_over, KP_NONE);
    assert_int_equal(limits.floor, 1);
}

/* A replacement that is made ahead would be a second writer while the first one is lent. No keeper:
 * it is called here. */
static void no_writer_must_be_made_beside_one_that_is_lent(void **state)
{
    struct stage *s = *state;
    kp_options more = { .why = &s->why, .threads = KP_NONE };
    kp_lease writer, reader, second;

    more.limits.min_live = 1;           /* so that each is needed */
    more.limits.renew_ahead_ms = KP_MINUTES(1);
    assert_int_equal(kp_sqlite_open(NULL, &more, &s->pool), 0);
    make_table(s);
    writer = get(s, KP_SQLITE_WRITER);
    reader = get(s, KP_SQLITE_READER);
    assert_int_equal(kp_rotate(s->pool, KP_EVERY_KEY, KP_SECONDS(10)), 2);
    (void)kp_keep(s->pool);
    assert_int_equal(stats(s, KP_SQLITE_READER).live, 2);
    assert_int_equal(stats(s, KP_SQLITE_WRITER).live, 1);
    assert_int_equal(kp_try_get(s->pool, KP_SQLITE_KEY(s->file, KP_SQLITE_WRITER), &second),
                     KP_EAGAIN);
    kp_release(&reader);
    kp_release(&writer);
    assert_int_equal(kp_pool_close(s->pool, KP_CLOSE_NOW, 0), 0);
}

static int wait_no_more(void *ctx, int times)
{
    (void)ctx;
    (void)times;
    return 0;
}

static int set_handler(sqlite3 *db, const kp_sqlite_key *key, void *ctx)
{
    (void)key;
    (void)ctx;
    return sqlite3_busy_handler(db, wait_no_more, NULL);
}

/* A handler shows as a timeout of 0. 60 s are more than a get has, and 5 s are not. */
static void a_timeout_or_handler_of_the_programs_own_must_stay(void **state)
{
    struct stage *s = *state;
    kp_sqlite_options how[] = {
        { .busy_timeout_ms = 60000 },
        { .busy_timeout_ms = 60000, .pragmas = "PRAGMA busy_timeout = 123" },
        { .pragmas = "PRAGMA busy_timeout = 123" }, { .on_open = set_handler },
    };
    const int64_t expected[] = { 60000, 123, 123, 0 };
    kp_lease lease;

    for (int i = 0; i < 4; i++) {

        stage_open(s, how[i]);
        lease = get(s, KP_SQLITE_WRITER);
        assert_int_equal(value(&lease, "PRAGMA busy_timeout"), expected[i]);
        kp_release(&lease);
        stage_close(s);
    }
    stage_open(s, (kp_sqlite_options){ .pragmas = "PRAGMA busy_timeout = 2000" });
    assert_int_equal(kp_get(s->pool, KP_SQLITE_KEY(s->file, KP_SQLITE_WRITER), KP_IN_S(2), &lease),
                     0);                /* all that it has left, too */
    assert_int_equal(value(&lease, "PRAGMA busy_timeout"), 2000);
    kp_release(&lease);
    stage_close(s);
}

/* Until the writer makes the file no reader can be created, and they pause for longer and longer:
 * here for many days, if that were all. */
static void readers_must_not_pause_when_their_writer_has_made_the_file(void **state)
{
    struct stage *s = *state;
    kp_options more = { .why = &s->why };
    kp_lease lease;

    more.limits.retry_first_ms = more.limits.retry_max_ms = KP_HOURS(10000);
    assert_int_equal(kp_sqlite_open(NULL, &more, &s->pool), 0);
    assert_int_equal(try_get(s, s->file, KP_SQLITE_READER, &lease), KP_ECREATE);
    make_table(s);
    lease = get(s, KP_SQLITE_READER);
    assert_int_equal(value(&lease, "SELECT count(*) FROM t"), 3);
    kp_release(&lease);
    assert_int_equal(kp_pool_close(s->pool, KP_CLOSE_NOW, 0), 0);
}

static int fail_once(sqlite3 *db, const kp_sqlite_key *key, void *ctx)
{
    int *times = ctx;

    (void)db;
    return key->role == KP_SQLITE_WRITER && (*times)++ == 0 ? SQLITE_ERROR : SQLITE_OK;
}

static void readers_must_not_pause_when_their_writer_failed_after_it_had_made_the_file(void **state)
{
    struct stage *s = *state;
    int times = 0;
    kp_sqlite_options o = { .on_open = fail_once, .ctx = &times };
    kp_options more = { .why = &s->why };
    kp_lease lease;

    more.limits.retry_first_ms = more.limits.retry_max_ms = KP_HOURS(10000);
    assert_int_equal(kp_sqlite_open(&o, &more, &s->pool), 0);
    assert_int_equal(try_get(s, s->file, KP_SQLITE_READER, &lease), KP_ECREATE);
    assert_int_equal(try_get(s, s->file, KP_SQLITE_WRITER, &lease), KP_ECREATE);
    assert_int_equal(try_get(s, s->file, KP_SQLITE_READER, &lease), 0);
    kp_release(&lease);
    assert_int_equal(kp_pool_close(s->pool, KP_CLOSE_NOW, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(limits_of_ones_own_must_go_together_with_the_adapters),
        TEST(the_writers_limits_must_not_contradict_that_it_is_alone),
        TEST(no_writer_must_be_made_beside_one_that_is_lent),
        TEST(a_timeout_or_handler_of_the_programs_own_must_stay),
        TEST(readers_must_not_pause_when_their_writer_has_made_the_file),
        TEST(readers_must_not_pause_when_their_writer_failed_after_it_had_made_the_file),
    };

    return cmocka_run_group_tests_name("sqlite_limits", tests, NULL, NULL);
}
