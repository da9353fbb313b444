/* SPDX-License-Identifier: MIT
 *
 * Tests of src/flow/stats.c: what is counted, for callers old and new.
 */
#include "flow_stage.h"

#include <keyedpool/stats.h>
#include <string.h>

/* As one who was compiled with a header that knows 64 counters more. */
struct longest {
    kp_stats stats;
    uint64_t later[64];
};

static int see_what_is_later(kp_key key, const kp_stats *stats, void *arg)
{
    const struct longest *seen = (const struct longest *)(const void *)stats;

    (void)key;
    assert_int_equal(seen->stats.lent, 1);
    for (size_t i = 0; i < 64; i++) assert_int_equal(seen->later[i], 0);
    ++*(int *)arg;
    return 0;
}

static void each_keys_statistics_must_fit_callers_old_and_new(void **state)
{
    struct stage s;
    int seen = 0;

    (void)state;
    stage_raise(&s);
    kp_lease lease = stage_get(&s, "a");
    assert_int_equal(kp_each_key_sized(s.pool, see_what_is_later, &seen, sizeof(struct longest)),
                     0);
    assert_int_equal(seen, 1);
    assert_int_equal(kp_each_key_sized(s.pool, see_what_is_later, &seen,
                                       sizeof(struct longest) + 1), KP_EMISUSE);
    assert_int_equal(seen, 1);
    kp_release(&lease);
    stage_fall(&s);
}

static void statistics_must_fit_callers_old_and_new(void **state)
{
    struct stage s;
    struct {
        kp_stats stats;
        char more[8];
    } longer;
    uint64_t first = 7;

    (void)state;
    stage_raise(&s);
    kp_lease lease = stage_get(&s, "a");
    memset(&longer, 0x55, sizeof longer);
    assert_int_equal(kp_stats_read_sized(s.pool, kp_str("a"), &longer.stats, sizeof longer), 0);
    assert_int_equal(longer.stats.lent, 1);
    assert_int_equal(longer.more[7], 0);
    assert_int_equal(kp_stats_read_sized(s.pool, kp_str("a"), (kp_stats *)&first, sizeof first), 0);
    assert_int_not_equal(first, 7);
    kp_release(&lease);
    stage_fall(&s);
}

static void gauges_must_be_0_and_counters_stay_where_nothing_is_left(void **state)
{
    struct stage s;
    kp_stats before, after;

    (void)state;
    stage_raise(&s);
    for (int i = 0; i < 2; i++) {
        kp_lease lease = stage_get(&s, "a");
        if (i == 1) assert_int_equal(kp_stats_read(s.pool, KP_EVERY_KEY, &before), 0);
        kp_release(&lease);
    }
    assert_int_equal(kp_drop(s.pool, kp_str("a"), KP_NONE), 0);
    assert_int_equal(kp_stats_read(s.pool, KP_EVERY_KEY, &after), 0);
#define X(name, kind, sentence)                                                                    \
    if (strcmp(#kind, "gauge") == 0 ? after.name != 0 : after.name < before.name)                  \
        fail_msg(#name " is no " #kind);
    KP_STATS_MAP(X)
#undef X
    assert_int_equal(before.keys + before.live + before.lent + before.leases, 4);
    stage_fall(&s);
}

/* A lease is no hit before it is one: until then the test may find its resource bad. */
static void see_no_hit(struct stage *s)
{
    kp_stats stats;

    assert_int_equal(kp_stats_read(s->pool, kp_str("a"), &stats), 0);
    assert_int_equal(stats.gets, 1);
    assert_int_equal(stats.hits, 0);
    assert_int_equal(kp_stats_read(s->pool, KP_EVERY_KEY, &stats), 0);
    assert_int_equal(stats.hits, 0);
    kp_job_done(s->job, *(int *)s->with, NULL);
}

static void what_is_being_validated_must_be_no_hit_yet(void **state)
{
    kp_stats stats;

    (void)state;
    for (int answer = -1; answer <= 0; answer++) {
        struct stage s;

        stage_set(&s);
        s.options.driver.validate = stage_validate;
        s.options.limits.validate_after_ms = KP_NONE;
        stage_open(&s);
        kp_lease lease = stage_get(&s, "a");
        kp_release(&lease);
        s.now += 1000000;
        s.validate = KP_PENDING;
        s.meanwhile = see_no_hit;
        s.with = &answer;
        lease = stage_get(&s, "a");
        assert_null(s.meanwhile);
        assert_int_equal(kp_stats_read(s.pool, kp_str("a"), &stats), 0);
        assert_int_equal(stats.gets, 2);
        assert_int_equal(stats.hits, answer == 0);
        assert_int_equal(stats.creates, answer == 0 ? 1 : 2);
        kp_release(&lease);
        stage_fall(&s);
    }
}

static void a_key_that_is_none_must_not_be_counted(void **state)
{
    struct stage s;
    int key = 3;
    kp_stats stats;

    (void)state;
    stage_raise(&s);
    assert_int_equal(kp_stats_read(s.pool, KP_KEY(&key), &stats), KP_EMISUSE);
    assert_int_equal(kp_stats_read(s.pool, kp_str("unknown"), &stats), KP_ENOTFOUND);
    assert_int_equal(kp_stats_read(NULL, kp_str("unknown"), &stats), KP_EMISUSE);
    stage_fall(&s);
}

static int count_keys(kp_key key, const kp_stats *stats, void *arg)
{
    (void)key;
    (void)stats;
    return ++*(int *)arg == 2 ? 42 : 0;
}

static void a_walk_over_the_keys_must_end_when_it_is_told_to(void **state)
{
    struct stage s;
    int n = 0;

    (void)state;
    stage_raise(&s);
    for (int i = 0; i < 4; i++) {
        kp_lease lease = stage_get(&s, (const char *[]){ "a", "b", "c", "d" }[i]);
        kp_release(&lease);
    }
    assert_int_equal(kp_each_key(s.pool, count_keys, &n), 42);
    assert_int_equal(n, 2);
    stage_fall(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statistics_must_fit_callers_old_and_new),
        cmocka_unit_test(each_keys_statistics_must_fit_callers_old_and_new),
        cmocka_unit_test(gauges_must_be_0_and_counters_stay_where_nothing_is_left),
        cmocka_unit_test(what_is_being_validated_must_be_no_hit_yet),
        cmocka_unit_test(a_key_that_is_none_must_not_be_counted),
        cmocka_unit_test(a_walk_over_the_keys_must_end_when_it_is_told_to),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
