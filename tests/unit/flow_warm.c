/* SPDX-License-Identifier: MIT
 *
 * Tests of src/flow/warm.c: kp_warm where there is no memory for what it would have made, and what
 * it tells.
 */
#include "flow_stage.h"

enum { MANY = 1000 };

static int refused; /* allocations */

/* Out of memory; but after so many refusals there is some again, or the test would not end. */
static void *scarce(size_t size, size_t align, void *ctx)
{
    struct stage *s = ctx;

    if (s->allocations == 0 && ++refused == MANY) s->allocations = -1;
    return stage_alloc(size, align, ctx);
}

/* Warm a key that is there already, where each resource needs memory of its own (seats to share).
 */
static int64_t warm_without_memory(struct stage *s, kp_why *why)
{
    kp_key pin, key = kp_str("a");

    stage_open(s);
    assert_int_equal(kp_pin(s->pool, key, &pin), 0);
    refused = 0;
    s->allocations = 0;
    int64_t warm = kp_warm(s->pool, &key, 1, KP_ASK(.within_ms = 100, .why = why));
    s->allocations = -1;
    return warm;
}

static void a_warm_up_must_end_where_there_is_no_memory(void **state)
{
    struct stage s;
    kp_why why;

    (void)state;
    stage_set(&s);
    s.world.alloc = scarce;
    s.options.limits.sharing = 2;
    assert_int_equal(warm_without_memory(&s, &why), 0);
    assert_int_equal(why.code, KP_ENOMEM);
    assert_true(refused < MANY);
    stage_fall(&s);
}

/* The same where the pool's own threads make them: the caller asks for all at once. */
static void a_warm_up_by_threads_must_end_where_there_is_no_memory(void **state)
{
    static struct stage s; /* a thread of the pool may leave it a moment later */
    kp_why why;

    (void)state;
    stage_set(&s);
    s.world = (kp_world){ .alloc = scarce, .free = stage_free, .ctx = &s };
    s.options.threads = 1;
    s.options.limits.sharing = 2;
    assert_int_equal(warm_without_memory(&s, &why), 0);
    assert_int_equal(why.code, KP_ENOMEM);
    assert_true(refused < MANY);
    stage_fall(&s);
}

/* ---- one key and the others ------------------------------------------------------------------ */

static void a_key_that_is_down_must_not_leave_the_others_cold(void **state)
{
    struct stage s;
    kp_key keys[] = { kp_str("a"), kp_str("b"), kp_str("c") };
    kp_lease lease;
    kp_why why;

    (void)state;
    stage_set(&s);
    s.options.limits.retry_first_ms = s.options.limits.retry_max_ms = KP_HOURS(10000);
    stage_open(&s);
    s.create = -1;
    assert_int_equal(kp_get(s.pool, keys[0], NULL, &lease), KP_ECREATE);
    s.create = 0;
    assert_int_equal(kp_warm(s.pool, keys, 3, KP_ASK(.within_ms = 100, .why = &why)), 2);
    assert_int_equal(why.code, KP_ETIMEDOUT);
    assert_int_equal(why.vendor_code, -1); /* of its last failure */
    assert_non_null(strstr(why.text, "last create failed"));
    assert_int_equal(s.made, 2);
    stage_fall(&s);
}

/* A minimum, or a warm-up, takes nothing from other keys. */
static void a_warm_up_that_is_too_late_must_tell_its_key_and_the_limit(void **state)
{
    static const struct {
        const char *option, *value, *limit;
    } cases[] = {
        { "budget.max_live", "1", "budget.max_live" },
        { "budget.group_max_live[0]", "1", "budget.group_max_live" },
        { "budget.max_idle", "1", "budget.max_idle" },
        { "budget.create_rate", "1", "budget.create_rate" },
    };
    kp_key keys[] = { kp_str("a"), kp_str("b") };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct stage s;
        kp_why why;
        char text[100];
        stage_set(&s);
        s.options.limits.group[0] = 1;
        assert_int_equal(kp_options_set(&s.options, cases[i].option, cases[i].value), 0);
        stage_open(&s);
        assert_int_equal(kp_warm(s.pool, keys, 2, KP_ASK(.within_ms = 100, .why = &why)), 1);
        assert_int_equal(why.code, KP_ETIMEDOUT);
        assert_string_equal(why.limit, cases[i].limit);
        assert_int_equal(why.waited_ms, 100);
        (void)snprintf(text, sizeof text, "b is not warm after 100 ms: limited by %s (live 0)",
                       why.limit);
        assert_string_equal(why.text, text);
        stage_fall(&s);
    }
}

static void limits_of_b(kp_key key, kp_limits *limits, void *ctx)
{
    if (*(const char *)key.data == 'b') limits->min_live = *(const int64_t *)ctx;
}

/* Which of many it was, for every code. */
static void whatever_keeps_a_key_cold_must_be_told_with_its_name(void **state)
{
    static const struct {
        int status, code; /* of the create of b; of the warm-up */
        const char *text;
        int64_t min_live, max_keys;
    } cases[] = {
        { -5, KP_ECREATE, "b: driver.create ", 1, 0 },
        { KP_EREFUSED, KP_EREFUSED, "b: the driver could not", 1, 0 },
        { -5, KP_EBREAKER, "b: the circuit of this key is open", 1, 0 },
        { 0, KP_ECONFIG, "b: limits.min_live: is above limits.max_live", 11, 0 },
        { 0, KP_EFULL, "b: a limit on waiting requests", 1, 1 },
    };
    kp_key keys[] = { kp_str("a"), kp_str("b") };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct stage s;
        int64_t min_live = cases[i].min_live;
        kp_lease lease;
        kp_why why;
        stage_set(&s);
        s.options.limits_for = limits_of_b;
        s.options.ctx = &min_live;
        s.options.limits.breaker_failures = 1;
        s.options.limits.retry_first_ms = KP_NONE;
        s.options.budget.max_keys = cases[i].max_keys;
        stage_open(&s);
        assert_int_equal(kp_warm(s.pool, keys, 1, KP_ASK(.within_ms = 100, .why = &why)), 1);
        s.create = cases[i].status;
        if (cases[i].code == KP_EBREAKER)
            assert_int_equal(kp_get(s.pool, keys[1], NULL, &lease), KP_ECREATE);
        assert_int_equal(kp_warm(s.pool, keys, 2, KP_ASK(.within_ms = 100, .why = &why)), 1);
        assert_int_equal(why.code, cases[i].code);
        assert_memory_equal(why.text, cases[i].text, strlen(cases[i].text));
        assert_null(strstr(why.text, "b: b: "));
        stage_fall(&s);
    }
}

/* L11 is about what may still be in the way. */
static void a_failure_that_is_over_must_not_be_named(void **state)
{
    struct stage s;
    kp_key key = kp_str("a");
    kp_lease lease;
    kp_why why;

    (void)state;
    stage_raise(&s);
    s.create = -1;
    assert_int_equal(kp_get(s.pool, key, NULL, &lease), KP_ECREATE);
    s.create = 0;
    assert_int_equal(kp_get(s.pool, key, NULL, &lease), 0);
    kp_discard(&lease);
    s.create = KP_PENDING;
    assert_int_equal(kp_warm(s.pool, &key, 1, KP_ASK(.within_ms = 100, .why = &why)), 0);
    assert_int_equal(why.code, KP_ETIMEDOUT);
    assert_null(strstr(why.text, "last create failed"));
    kp_job_done(s.jobs[0], 0, &s.resources[1]);
    stage_fall(&s);
}

static void close_now(struct stage *s)
{
    assert_int_equal(kp_pool_close(s->pool, KP_CLOSE_NOW, KP_NONE), 0);
}

/* It waits for the next try when the pool is closed: that is the cause, not the last failure. */
static void the_close_must_be_told_and_not_an_earlier_failure(void **state)
{
    struct stage s;
    kp_key key = kp_str("a");
    kp_lease lease;
    kp_why why;

    (void)state;
    stage_raise(&s);
    s.create = -1;
    assert_int_equal(kp_get(s.pool, key, NULL, &lease), KP_ECREATE);
    s.meanwhile = close_now;
    assert_int_equal(kp_warm(s.pool, &key, 1, KP_ASK(.within_ms = 1000, .why = &why)), 0);
    assert_null(s.meanwhile);
    assert_int_equal(why.code, KP_ECLOSED);
    assert_int_equal(why.vendor_code, 0);
    assert_string_equal(why.text, kp_error_find(KP_ECLOSED)->sentence);
}

/* Each is tried once, and why is that of the last one. */
static void a_key_that_fails_must_not_be_tried_again(void **state)
{
    struct stage s;
    kp_key keys[] = { kp_str("a"), kp_str("b") };
    kp_why why;

    (void)state;
    stage_raise(&s);
    s.create = -1;
    uint64_t began = s.now;
    assert_int_equal(kp_warm(s.pool, keys, 2, KP_ASK(.within_ms = 1000, .why = &why)), 0);
    assert_int_equal(why.code, KP_ECREATE);
    assert_int_equal(why.vendor_code, -1);
    assert_int_equal(stage_heard(&s, KP_EVENT_CREATE_FAILED), 2);
    assert_int_equal(s.now, began);
    stage_fall(&s);
}

static void answer_both(struct stage *s)
{
    for (int i = 0; i < 2; i++) kp_job_done(s->jobs[i], i ? 0 : -1, i ? &s->resources[0] : NULL);
}

/* A driver that answers later: the one that fails meanwhile is not tried again either. */
static void keys_must_be_warmed_together_where_the_driver_answers_later(void **state)
{
    struct stage s;
    kp_key keys[] = { kp_str("a"), kp_str("b") };
    kp_why why;

    (void)state;
    stage_raise(&s);
    s.create = KP_PENDING;
    s.meanwhile = answer_both;
    assert_int_equal(kp_warm(s.pool, keys, 2, KP_ASK(.within_ms = 1000, .why = &why)), 1);
    assert_int_equal(why.code, KP_ECREATE);
    assert_int_equal(s.pending, 2);
    stage_fall(&s);
}

/* The only creation that may run is over; the key that is next goes before upkeep looks at it. */
static void end_and_drop(struct stage *s)
{
    kp_key keys[] = { kp_str("b"), kp_str("c") };

    assert_int_equal(kp_warm(s->pool, keys, 2, NULL), 0);
    (void)kp_keep(s->pool);
    assert_int_equal(s->pending, 1);
    kp_job_done(s->jobs[0], 0, &s->resources[0]);
    assert_int_equal(kp_drop(s->pool, keys[0], KP_NONE), 0);
    (void)kp_keep(s->pool);
    assert_int_equal(s->pending, 2);
    kp_job_done(s->jobs[1], 0, &s->resources[1]);
}

static void a_key_that_is_dropped_must_let_the_next_one_be_warmed(void **state)
{
    struct stage s;

    (void)state;
    stage_set(&s);
    s.options.budget.max_creating = 1;
    stage_open(&s);
    s.create = KP_PENDING;
    s.meanwhile = end_and_drop;
    kp_lease lease = stage_get(&s, "a");
    kp_release(&lease);
    stage_fall(&s);
}

/* It could only wait for somebody to borrow as many at once. */
static void what_is_never_kept_ready_must_be_refused_at_once(void **state)
{
    static const struct {
        kp_limits limits;
        int64_t idle; /* budget.max_idle */
        const char *field;
    } ways[] = {
        { { .idle_ttl_ms = KP_NONE }, 0, "limits.idle_ttl_ms" },
        { { .idle_ttl_ms = KP_NONE, .idle_check = KP_CHECK_GET }, 0, "limits.idle_ttl_ms" },
        { { .max_age_ms = KP_NONE, .min_live = 2 }, 0, "limits.max_age_ms" },
        { { .excess_ttl_ms = KP_NONE }, 0, "limits.excess_ttl_ms" },
        { { .max_age_ms = KP_NONE, .age_check = KP_CHECK_RETURN, .idle_ttl_ms = KP_NONE }, 0,
          "limits.idle_ttl_ms" },
        { { .max_idle = KP_NONE }, 0, "limits.max_idle" },
        { { .max_idle = 1, .min_live = 2 }, 0, "limits.max_idle" },
        { { .max_live = 1 }, KP_NONE, "budget.max_idle" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct stage s;
        kp_key keys[] = { kp_str("a"), kp_str("b") };
        kp_why why;
        stage_set(&s);
        s.options.limits = ways[i].limits;
        s.options.budget.max_idle = ways[i].idle;
        stage_open(&s);
        uint64_t began = s.now;
        assert_int_equal(kp_warm(s.pool, keys, 2, KP_ASK(.within_ms = 1000, .why = &why)), 0);
        assert_int_equal(s.now, began);
        assert_int_equal(why.code, KP_ECONFIG);
        assert_string_equal(why.field, ways[i].field);
        assert_int_equal(s.made, 0);
        stage_fall(&s);
    }
}

/* What is lent counts, and a ttl of nothing spares the minimum. */
static void what_may_be_kept_ready_must_be_warmed_though_no_more_may(void **state)
{
    static const kp_limits ways[] = {
        { .idle_ttl_ms = KP_NONE, .min_live = 2 },
        { .excess_ttl_ms = KP_NONE, .excess_over = 1 },
        { .idle_ttl_ms = KP_NONE, .idle_check = KP_CHECK_RETURN },
        { .max_idle = 1, .min_live = 2 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct stage s;
        kp_key key = kp_str("a");
        stage_set(&s);
        s.options.limits = ways[i];
        stage_open(&s);
        kp_lease lease = stage_get(&s, "a");
        assert_int_equal(kp_warm(s.pool, &key, 1, KP_ASK(.within_ms = 1000)), 1);
        kp_release(&lease);
        stage_fall(&s);
    }
}

/* ---- told once ------------------------------------------------------------------------------- */

static int misuses; /* told by the calling thread only */

static void count_misuse(const kp_event *event, void *ctx)
{
    (void)ctx;
    if (event->kind == KP_EVENT_MISUSE) misuses++;
}

/* Where the pool's own threads make them, the keys are gone through twice. */
static void a_key_that_is_none_must_be_told_once_to_who_warms_it(void **state)
{
    static struct stage s;
    kp_key keys[] = { KP_EVERY_KEY, { "a", 1 } };
    kp_stats stats;
    kp_why why;

    (void)state;
    stage_set(&s);
    s.options.world = NULL;
    s.options.threads = 1;
    s.options.on_event = count_misuse;
    stage_open(&s);
    misuses = 0;
    assert_int_equal(kp_warm(s.pool, keys, 2, KP_ASK(.within_ms = 10000, .why = &why)), 1);
    assert_int_equal(why.code, KP_EMISUSE);
    assert_int_equal(kp_stats_read(s.pool, KP_EVERY_KEY, &stats), 0);
    assert_int_equal(stats.misuses, 1);
    assert_int_equal(misuses, 1);
    stage_fall(&s);
}

/* As by its siblings: misuse is told as long as there is a pool that counts it. */
static void misuse_must_be_told_while_the_pool_closes(void **state)
{
    static const kp_ask bad = { .within_ms = -5 };
    struct stage s;
    kp_key key = kp_str("a");

    (void)state;
    stage_raise(&s);
    kp_lease lease = stage_get(&s, "a");
    assert_int_equal(kp_pool_close(s.pool, KP_CLOSE_NOW, KP_NONE), 1);
    assert_int_equal(kp_warm(s.pool, &key, 1, NULL), KP_ECLOSED);
    assert_int_equal(kp_warm(s.pool, NULL, 1, NULL), KP_EMISUSE);
    assert_int_equal(kp_warm(s.pool, &key, 1, &bad), KP_EMISUSE);
    assert_int_equal(stage_heard(&s, KP_EVENT_MISUSE), 2);
    kp_release(&lease);
    stage_fall(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_that_is_down_must_not_leave_the_others_cold),
        cmocka_unit_test(a_warm_up_that_is_too_late_must_tell_its_key_and_the_limit),
        cmocka_unit_test(whatever_keeps_a_key_cold_must_be_told_with_its_name),
        cmocka_unit_test(a_failure_that_is_over_must_not_be_named),
        cmocka_unit_test(the_close_must_be_told_and_not_an_earlier_failure),
        cmocka_unit_test(a_key_that_fails_must_not_be_tried_again),
        cmocka_unit_test(keys_must_be_warmed_together_where_the_driver_answers_later),
        cmocka_unit_test(a_key_that_is_dropped_must_let_the_next_one_be_warmed),
        cmocka_unit_test(what_is_never_kept_ready_must_be_refused_at_once),
        cmocka_unit_test(what_may_be_kept_ready_must_be_warmed_though_no_more_may),
        cmocka_unit_test(a_key_that_is_none_must_be_told_once_to_who_warms_it),
        cmocka_unit_test(misuse_must_be_told_while_the_pool_closes),
        cmocka_unit_test(a_warm_up_must_end_where_there_is_no_memory),
        cmocka_unit_test(a_warm_up_by_threads_must_end_where_there_is_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
