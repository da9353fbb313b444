/* SPDX-License-Identifier: MIT
 *
 * Tests of what src/flow/open.c, limits.c and get.c refuse: every number at the edge of its range,
 * and every contradiction, with the name of the field.
 */
#include "flow_stage.h"

#include <stddef.h>
#include <string.h>

/* ---- numbers of kp_options ------------------------------------------------------------------- */

struct number {
    const char *field;
    size_t offset;
    int64_t value;
    bool taken;
};

#define BUDGET(name, value, taken)                                                         \
    { "budget." #name, offsetof(kp_options, budget) + offsetof(kp_budget, name), value, taken }
#define LIMIT(name, value, taken)                                                          \
    { "limits." #name, offsetof(kp_options, limits) + offsetof(kp_limits, name), value, taken }
#define OPTION(name, value, taken) { #name, offsetof(kp_options, name), value, taken }

static void check_numbers(const struct number *numbers, size_t count, bool narrow)
{
    for (size_t i = 0; i < count; i++) {
        const struct number *n = &numbers[i];
        struct stage s;
        stage_set(&s);
        int32_t value32 = (int32_t)n->value;
        if (narrow) memcpy((char *)&s.options + n->offset, &value32, sizeof value32);
        else memcpy((char *)&s.options + n->offset, &n->value, sizeof n->value);
        int code = kp_pool_open(&s.options, &s.pool);
        if (code != (n->taken ? 0 : KP_ECONFIG))
            fail_msg("%s = %lld: %d", n->field, (long long)n->value, code);
        if (code != 0) assert_string_equal(s.why.field, n->field);
        else stage_fall(&s);
    }
}

static void every_number_must_be_taken_up_to_the_edge_of_its_range(void **state)
{
    static const struct number numbers[] = {
        BUDGET(max_live, KP_NONE, true),       BUDGET(max_live, KP_UNLIMITED, true),
        BUDGET(max_live, -5, false),           BUDGET(max_live, INT32_MAX - 1, true),
        BUDGET(max_live, INT32_MAX, false),    BUDGET(max_lent, -5, false),
        BUDGET(max_idle, -5, false),           BUDGET(max_creating, KP_NONE, false),
        BUDGET(max_creating, 1, true),         BUDGET(max_waiting, -5, false),
        BUDGET(max_keys, -5, false),           BUDGET(group_max_live[0], -5, false),
        BUDGET(group_max_live[1], -5, false),  BUDGET(evict_other_keys, 1, true),
        BUDGET(evict_other_keys, KP_OFF, true), BUDGET(evict_other_keys, 2, false),
        BUDGET(across, KP_ACROSS_SHARE, true), BUDGET(across, KP_ACROSS_ARRIVAL, true),
        BUDGET(across, 3, false),
        LIMIT(max_live, INT32_MAX, false),     LIMIT(max_live, -9, false),
        LIMIT(breaker_failures, KP_OFF, true), LIMIT(max_live, KP_OFF, false),
        LIMIT(min_live, KP_UNLIMITED, false),  LIMIT(sharing, 65536, true),
        LIMIT(sharing, 65537, false),          LIMIT(sharing, KP_NONE, false),
        LIMIT(weight, 65536, true),            LIMIT(weight, 65537, false),
        LIMIT(idle_ttl_ms, KP_OFF, true),      LIMIT(idle_ttl_ms, -9, false),
        LIMIT(idle_ttl_ms, KP_ONCE, false),    LIMIT(cache_failure_ms, KP_ONCE, true),
        LIMIT(idle_ttl_ms, INT64_MAX / 2000000, true),
        LIMIT(idle_ttl_ms, INT64_MAX / 2000000 + 1, false),
        LIMIT(create_timeout_ms, KP_NONE, false),
        LIMIT(shed_interval_ms, KP_OFF, false),
        LIMIT(utilization_pct, 101, false),    LIMIT(utilization_pct, -9, false),
        LIMIT(age_spread_pct, 100, true),      LIMIT(age_spread_pct, 101, false),
        LIMIT(group[0], KP_NONE, true),        LIMIT(group[1], -9, false),
        LIMIT(reserve, KP_UNLIMITED, true),
        LIMIT(renew_ahead_ms, 1, true),        LIMIT(renew_ahead_ms, KP_NONE, false),
        LIMIT(surplus, KP_NONE, true),         LIMIT(surplus, KP_UNLIMITED, false),
        LIMIT(breaker_rate_pct, KP_OFF, true), LIMIT(breaker_rate_pct, 100, true),
        LIMIT(breaker_rate_pct, 101, false),   LIMIT(breaker_rate_pct, KP_NONE, false),
        LIMIT(utilization_pct, KP_OFF, false), LIMIT(breaker_window_ms, KP_OFF, false),
        LIMIT(breaker_calls, KP_NONE, false),  LIMIT(breaker_probes, KP_NONE, false),
        LIMIT(breaker_probes, KP_UNLIMITED, false), LIMIT(refuse_late, 2, false),
        LIMIT(on_gone, KP_OFF, true),          LIMIT(on_gone, 3, false),
        OPTION(threads, KP_NONE, true),        OPTION(threads, -9, false),
        OPTION(threads, 1025, false),          OPTION(keep_every_ms, KP_NONE, false),
        OPTION(keep_every_ms, 1, true),        OPTION(keep_every_ms, -9, false),
        OPTION(deadline_ms, KP_NONE, true),    OPTION(deadline_ms, -9, false),
        OPTION(deadline_ms, INT64_MAX / 2000000, true),
        OPTION(deadline_ms, INT64_MAX / 2000000 + 1, false),
        OPTION(forget_key_after_ms, -9, false), OPTION(leak_after_ms, -9, false),
    };

    (void)state;
    check_numbers(numbers, sizeof numbers / sizeof numbers[0], false);
}

static void every_choice_must_be_one_of_its_values(void **state)
{
    static const struct number numbers[] = {
        OPTION(on_misuse_abort, 1, true),   OPTION(on_misuse_abort, 2, false),
        OPTION(on_fork, KP_FORK_FRESH, true), OPTION(on_fork, KP_FORK_REFUSE, true),
        OPTION(hits, KP_HITS_QUICK, true),  OPTION(hits, KP_HITS_LOCKED, true),
        OPTION(hits, KP_HITS_PORTABLE, true), OPTION(hits, 4, false),
        OPTION(hits, -1, false),            OPTION(hits, KP_NONE, false),
        OPTION(on_misuse_abort, KP_NONE, false), OPTION(on_deadlock, KP_NONE, false),
        OPTION(on_deadlock, KP_DEADLOCK_REPORT, true), OPTION(on_deadlock, 3, false),
        OPTION(on_deadlock, KP_DEADLOCK_REFUSE, true), OPTION(on_fork, KP_NONE, false),
        OPTION(on_fork, 3, false),          LIMIT(prefill, 3, false),
        LIMIT(prefill, -1, false),          LIMIT(respects_min, -1, false),
        LIMIT(respects_min, 16, false),     LIMIT(respects_min, KP_KIND_NONE, true),
        LIMIT(respects_min, KP_KIND_NONE | KP_KIND_AGE, false), LIMIT(idle_check, 7, true),
        LIMIT(idle_check, 8, false),        LIMIT(prefill, KP_OFF, false),
        LIMIT(wait_order, KP_OFF, false),
    };

    (void)state;
    check_numbers(numbers, sizeof numbers / sizeof numbers[0], true);
}

static void a_refusal_must_say_what_to_write_instead(void **state)
{
    static const struct {
        struct number number;
        const char *text;
    } cases[] = {
        { LIMIT(max_live, -1, false),
          "limits.max_live: is not a count; for no bound use KP_UNLIMITED" },
        { LIMIT(sharing, -1, false), "limits.sharing: is not a count" },
        { LIMIT(sharing, INT64_MAX, false), "limits.sharing: must be at most 65536" },
        { LIMIT(max_uses, INT32_MAX, false),
          "limits.max_uses: is too large; for no bound use KP_UNLIMITED" },
        { LIMIT(breaker_calls, INT32_MAX, false), "limits.breaker_calls: is too large" },
        { LIMIT(sharing, KP_UNLIMITED, false),
          "limits.sharing: must be a number, not KP_UNLIMITED" },
        { OPTION(deadline_ms, -1, false),
          "deadline_ms: is not a time in ms; for never use KP_OFF" },
        { LIMIT(shed_interval_ms, KP_OFF, false),
          "limits.shed_interval_ms: must be a time in ms, not KP_OFF" },
        { LIMIT(shed_interval_ms, INT64_MAX, false), "limits.shed_interval_ms: is too long" },
        { LIMIT(breaker_rate_pct, 101, false),
          "limits.breaker_rate_pct: must be from 1 to 100, or KP_OFF" },
        { BUDGET(across, 3, false), "budget.across: must be one of share, arrival" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct stage s;
        stage_set(&s);
        memcpy((char *)&s.options + cases[i].number.offset, &cases[i].number.value,
               sizeof cases[i].number.value);
        assert_int_equal(kp_pool_open(&s.options, &s.pool), KP_ECONFIG);
        assert_string_equal(s.why.text, cases[i].text);
    }
}

/* ---- contradictions -------------------------------------------------------------------------- */

static uint64_t no_time(void *ctx)
{
    (void)ctx;
    return 1;
}

static void refused(kp_options options, const char *field)
{
    kp_pool *pool = (kp_pool *)&options;
    kp_why why;

    options.why = &why;
    int code = kp_pool_open(&options, &pool);
    if (code != KP_ECONFIG || strcmp(why.field, field) != 0)
        fail_msg("%s: %d, %s", field, code, why.field);
    assert_null(pool);
    options.why = NULL; /* without a kp_why */
    assert_int_equal(kp_pool_open(&options, &pool), KP_ECONFIG);
}

static void a_replacement_before_the_resource_must_be_refused(void **state)
{
    struct stage s;

    (void)state;
    stage_set(&s);
    kp_options o = s.options;
    o.limits.max_age_ms = 150; /* at least 120, with its spread */
    o.limits.renew_ahead_ms = 120;
    refused(o, "limits.renew_ahead_ms");
    o.limits.renew_ahead_ms = 119;
    assert_int_equal(kp_pool_open(&o, &s.pool), 0);
    stage_fall(&s);
    o.limits.max_age_ms = KP_OFF;
    o.limits.renew_ahead_ms = KP_HOURS(1);
    assert_int_equal(kp_pool_open(&o, &s.pool), 0);
    stage_fall(&s);
}

static bool is_clean(void *resource, void *ctx)
{
    return resource == ctx;
}

static void options_that_contradict_each_other_must_be_refused(void **state)
{
    struct stage s;
    static kp_world worlds[3] = { { .now_ns = no_time } };

    (void)state;
    stage_set(&s);
    worlds[1].park = stage_park;
    worlds[2].wake = stage_wake;
    for (int i = 0; i < 3; i++) {
        kp_options o = s.options;
        o.threads = 1;
        o.world = &worlds[i];
        refused(o, "threads");
    }
    kp_options o = s.options;
    o.driver.create = NULL;
    o.driver.cancel = stage_cancel;
    refused(o, "driver.cancel");
    o = s.options;
    o.driver.destroy = NULL;
    refused(o, "driver.destroy");
    o = s.options;
    o.driver.is_clean = is_clean;
    refused(o, "driver.is_clean");
    o = s.options;
    o.driver.flags = 2;
    refused(o, "driver.flags");
    o.driver.flags = 0;
    o.driver.reserved0 = 1;
    refused(o, "driver.flags");
    o = s.options;
    o.driver.reserved[2] = (void (*)(void))no_time;
    refused(o, "driver.reserved");
    o = s.options;
    o.limits.min_idle = 9;
    o.limits.max_live = 5;
    refused(o, "limits.min_idle");
    o = s.options;
    o.limits.retry_first_ms = 5;
    o.limits.retry_max_ms = 4;
    refused(o, "limits.retry_first_ms");
    o.limits.retry_max_ms = KP_OFF;
    assert_int_equal(kp_pool_open(&o, &s.pool), 0);
    stage_fall(&s);
    o = s.options;
    o.limits.reserved[8] = 1;
    refused(o, "limits.reserved");
    o = s.options;
    o.budget.reserved[5] = 1;
    refused(o, "budget.reserved");
    o = s.options;
    o.budget.max_live = 4;
    o.limits.min_live = 5;
    refused(o, "limits.min_live");
    o.limits.min_live = 0;
    o.limits.floor = 5;
    refused(o, "limits.floor");
}

/* What one of the two does, only the other of the same world can undo. */
static void half_a_world_must_be_refused(void **state)
{
    struct stage s;

    (void)state;
    stage_set(&s);
    kp_world halves[] = { { .alloc = stage_alloc }, { .free = stage_free }, { .park = stage_park },
                          { .wake = stage_wake }, *s.options.world };
    static const char *const lacks[] = { "world.free", "world.alloc", "world.wake", "world.park",
                                         "world.reserved" };
    halves[4].reserved[3] = (void (*)(void))no_time;
    for (int i = 0; i < 5; i++) {
        kp_options o = s.options;
        o.world = &halves[i];
        refused(o, lacks[i]);
    }
}

static size_t a_stack(const void **frames, size_t most, void *ctx)
{
    (void)frames, (void)most, (void)ctx;
    return 0;
}

/* A hit without the lock, of either kind, records no stack and no borrower. */
static void hits_without_the_lock_must_not_go_with_what_needs_it(void **state)
{
    static const int32_t ways[] = { KP_HITS_QUICK, KP_HITS_PORTABLE };
    struct stage s;

    (void)state;
    stage_set(&s);
    for (int i = 0; i < 2; i++) {
        kp_options o = s.options;
        o.hits = ways[i];
        o.on_deadlock = KP_DEADLOCK_REPORT;
        refused(o, "on_deadlock");
        o.on_deadlock = 0;
        o.stack = a_stack;
        refused(o, "stack");
        o.hits = KP_HITS_LOCKED;
        assert_int_equal(kp_pool_open(&o, &s.pool), 0);
        stage_fall(&s);
    }
}

static void options_of_another_library_must_be_refused(void **state)
{
    struct stage s;
    struct {
        kp_options options;
        char more[8];
    } longer;

    (void)state;
    stage_set(&s);
    memset(&longer, 0, sizeof longer);
    longer.options = s.options;
    assert_int_equal(kp_pool_open_sized(&longer.options, sizeof longer.options - 1, KP_VERSION,
                                        &s.pool), KP_ECONFIG);
    assert_int_equal(kp_pool_open_sized(&longer.options, sizeof longer.options,
                                        KP_VERSION + 1000, &s.pool), KP_ECONFIG);
    assert_int_equal(kp_pool_open_sized(&longer.options, sizeof longer, KP_VERSION, &s.pool), 0);
    stage_fall(&s);
    longer.more[7] = 1; /* something that this library does not know */
    assert_int_equal(kp_pool_open_sized(&longer.options, sizeof longer, KP_VERSION, &s.pool),
                     KP_ECONFIG);
}

static void the_why_of_an_open_must_be_that_of_this_open(void **state)
{
    struct stage s;

    (void)state;
    stage_set(&s);
    s.options.limits.min_live = -9;
    assert_int_equal(kp_pool_open(&s.options, &s.pool), KP_ECONFIG);
    assert_int_equal(s.why.code, KP_ECONFIG);
    assert_int_equal(kp_pool_open(&s.options, NULL), KP_EMISUSE);
    assert_int_equal(s.why.code, KP_EMISUSE);
    s.options.limits.min_live = 0;
    stage_open(&s);
    assert_memory_equal(&s.why, &(kp_why){ .code = 0 }, sizeof s.why);
    stage_fall(&s);
}

/* ---- what an ask may say --------------------------------------------------------------------- */

static void an_ask_that_contradicts_itself_must_be_misuse(void **state)
{
    struct stage s;
    kp_lease lease;
    static const kp_ask asks[] = {
        { .within_ms = -5 },
        { .flags = KP_FRESH | KP_DONT_CREATE },
        { .flags = KP_FRESH | KP_DONT_WAIT },
        { .flags = 8 },
        { .reserved0 = 1 },
        { .reserved = { 1, 0, 0 } },
        { .reserved = { 0, 1, 0 } },
        { .reserved = { 0, 0, 1 } },
    };

    (void)state;
    stage_raise(&s);
    for (size_t i = 0; i < sizeof asks / sizeof asks[0]; i++) {
        if (kp_get(s.pool, kp_str("a"), &asks[i], &lease) != KP_EMISUSE) fail_msg("ask %zu", i);
        assert_int_equal(stage_heard(&s, KP_EVENT_MISUSE), i + 1);
    }
    assert_int_equal(kp_get(s.pool, kp_str("a"), KP_ASK(.within_ms = KP_NONE), &lease), 0);
    kp_release(&lease);
    assert_int_equal(kp_get(s.pool, kp_str("a"), KP_ASK(.within_ms = KP_OFF), &lease), 0);
    kp_release(&lease);
    stage_fall(&s);
}

/* Limits given for a key of their own are held to the same. */
static void limits_given_later_must_be_refused_and_change_nothing(void **state)
{
    struct stage s;
    kp_why why;
    kp_limits bad = { .max_live = -9 };

    (void)state;
    stage_raise(&s);
    kp_lease lease = stage_get(&s, "a");
    assert_int_equal(kp_limits_set(s.pool, kp_str("a"), &bad, &why), KP_ECONFIG);
    assert_string_equal(why.field, "limits.max_live");
    assert_int_equal(kp_limits_set(s.pool, kp_str("a"), &bad, NULL), KP_ECONFIG);
    assert_int_equal(kp_limits_set(s.pool, KP_EVERY_KEY, &bad, &why), KP_ECONFIG);
    kp_release(&lease);
    stage_fall(&s);
}

/* Wherever memory runs out: for the rules, or for the group that they name. */
static void limits_for_which_there_is_no_memory_must_say_so(void **state)
{
    struct stage s;
    int refused = 0, code = KP_ENOMEM;

    (void)state;
    stage_set(&s);
    s.options.budget.group_max_live[0] = 5;
    stage_open(&s);
    kp_lease lease = stage_get(&s, "a");
    kp_limits limits = { .group = { 1, 0 } };
    for (int64_t n = 0; code != 0; n++) {
        s.allocations = n;
        code = kp_limits_set(s.pool, kp_str("a"), &limits, &s.why);
        s.allocations = -1;
        assert_int_equal(s.why.code, code);
        refused += code == KP_ENOMEM;
    }
    assert_int_not_equal(refused, 0);
    kp_release(&lease);
    stage_fall(&s);
}

/* ---- misuse and nothing else ----------------------------------------------------------------- */

static void adding_what_cannot_be_added_must_make_no_key(void **state)
{
    struct stage s;
    static char thing;
    kp_stats stats;

    (void)state;
    stage_raise(&s);
    assert_int_equal(kp_add(s.pool, kp_str("a"), NULL), KP_EMISUSE);
    assert_int_equal(stage_heard(&s, KP_EVENT_KEY_MADE), 0);
    assert_int_equal(kp_add(s.pool, kp_str("a"), &thing), 0);
    assert_int_equal(kp_add(s.pool, kp_str("b"), &thing), KP_EMISUSE);
    assert_int_equal(kp_stats_read(s.pool, KP_EVERY_KEY, &stats), 0);
    assert_int_equal(stats.keys_made, 1);
    assert_int_equal(stats.misuses, 2);
    stage_fall(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits_for_which_there_is_no_memory_must_say_so),
        cmocka_unit_test(the_why_of_an_open_must_be_that_of_this_open),
        cmocka_unit_test(adding_what_cannot_be_added_must_make_no_key),
        cmocka_unit_test(every_number_must_be_taken_up_to_the_edge_of_its_range),
        cmocka_unit_test(every_choice_must_be_one_of_its_values),
        cmocka_unit_test(a_refusal_must_say_what_to_write_instead),
        cmocka_unit_test(a_replacement_before_the_resource_must_be_refused),
        cmocka_unit_test(options_that_contradict_each_other_must_be_refused),
        cmocka_unit_test(half_a_world_must_be_refused),
        cmocka_unit_test(hits_without_the_lock_must_not_go_with_what_needs_it),
        cmocka_unit_test(options_of_another_library_must_be_refused),
        cmocka_unit_test(an_ask_that_contradicts_itself_must_be_misuse),
        cmocka_unit_test(limits_given_later_must_be_refused_and_change_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
