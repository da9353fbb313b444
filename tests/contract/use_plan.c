/* SPDX-License-Identifier: MIT
 *
 * Plans of kp_use as values: schedules and how their fields combine, what happens to a resource
 * whose use failed, and plans that are refused.
 */
#include "contract.h"

#define EU kp_str("eu")

/* ---- schedules ------------------------------------------------------------------------------- */

static void a_schedule_must_say_each_pause_and_when_it_gives_up(void **state)
{
    kp_schedule s = { .times = 20 };
    (void)state;
    assert_int_equal(kp_schedule_pause_ms(NULL, 1, 0, 0), -1);
    assert_int_equal(kp_schedule_pause_ms(&(kp_schedule){ 0 }, 1, 0, 0), -1);
    assert_int_equal(kp_schedule_pause_ms(&(kp_schedule){ .times = KP_NONE }, 1, 0, 0), -1);
    assert_int_equal(kp_schedule_pause_ms(&s, 0, 0, 0), -1);
    assert_int_equal(kp_schedule_pause_ms(&s, 1, 0, 9), 100);
    assert_int_equal(kp_schedule_pause_ms(&s, 4, 0, 9), 800);
    assert_int_equal(kp_schedule_pause_ms(&s, 10, 0, 9), 30000);
    assert_int_equal(kp_schedule_pause_ms(&s, 20, 0, 9), 30000);
    assert_int_equal(kp_schedule_pause_ms(&s, 21, 0, 9), -1);
    s = (kp_schedule){ .times = KP_UNLIMITED, .first_ms = 7, .max_ms = 50, .factor_pct = 150 };
    assert_int_equal(kp_schedule_pause_ms(&s, 2, 0, 0), 10);
    assert_int_equal(kp_schedule_pause_ms(&s, 3, 0, 0), 15);
    assert_int_equal(kp_schedule_pause_ms(&s, INT64_MAX, 0, 0), 50);
    s.max_ms = KP_OFF;
    assert_int_equal(kp_schedule_pause_ms(&s, INT64_MAX, 0, 0), INT64_MAX);
    s.factor_pct = 100;
    assert_int_equal(kp_schedule_pause_ms(&s, INT64_MAX, 0, 0), 7);
    s.first_ms = KP_NONE;
    assert_int_equal(kp_schedule_pause_ms(&s, 9, 0, 0), 0);
}

static void jitter_must_only_shorten_a_pause_and_by_no_more_than_its_part(void **state)
{
    kp_schedule half = { .times = 1, .first_ms = 1000, .jitter_pct = 50 };
    kp_schedule full = { .times = 1, .first_ms = 1000, .jitter_pct = 100 };
    (void)state;
    for (uint64_t random = 0; random < 3000; random++) {
        int64_t pause = kp_schedule_pause_ms(&half, 1, 0, random);
        assert_true(pause >= 500 && pause <= 1000);
        pause = kp_schedule_pause_ms(&full, 1, 0, random);
        assert_true(pause >= 0 && pause <= 1000);
    }
    assert_int_equal(kp_schedule_pause_ms(&half, 1, 0, 500), 500);
    assert_int_equal(kp_schedule_pause_ms(&full, 1, 0, 1000), 0);
    assert_int_equal(kp_schedule_pause_ms(&full, 1, 0, 0), 1000);
}

static void no_retry_must_begin_later_than_the_schedule_says(void **state)
{
    kp_schedule s = { .times = KP_UNLIMITED, .for_ms = 1000 };
    (void)state;
    assert_int_equal(kp_schedule_pause_ms(&s, 1, 900, 0), 100);
    assert_int_equal(kp_schedule_pause_ms(&s, 1, 901, 0), -1);
    assert_int_equal(kp_schedule_pause_ms(&s, 4, 100, 0), 800);
    assert_int_equal(kp_schedule_pause_ms(&s, 5, 0, 0), -1);
    assert_int_equal(kp_schedule_pause_ms(&s, 1, -1, 0), -1);
    s.for_ms = KP_NONE;
    assert_int_equal(kp_schedule_pause_ms(&s, 1, 0, 0), -1);
    s.first_ms = KP_NONE;
    assert_int_equal(kp_schedule_pause_ms(&s, 1, 0, 0), 0);
    s.for_ms = KP_OFF;
    assert_int_equal(kp_schedule_pause_ms(&s, 1, INT64_MAX, 0), 0);
    s = (kp_schedule){ .times = 2, .first_ms = INT64_MAX, .max_ms = KP_OFF };
    assert_int_equal(kp_schedule_pause_ms(&s, 1, 0, 0), INT64_MAX);
    assert_int_equal(kp_schedule_pause_ms(&s, 1, 1, 0), -1); /* beyond the end of time */
}

/* ---- what becomes of the resource ------------------------------------------------------------ */

struct work {
    contract *c;
    int statuses[4];
    int runs;
    int64_t takes_ms;
    uint64_t numbers[4]; /* of the resources that it ran with */
};

static int run(kp_lease *lease, void *arg)
{
    struct work *work = arg;

    work->numbers[work->runs] = contract_prop(lease)->number;
    if (work->takes_ms > 0) kp_sim_pass_ms(work->c->sim, work->takes_ms);
    return work->statuses[work->runs++];
}

static void begin(contract *c)
{
    contract_begin(c, NULL);
    c->options.limits.max_live = 2;
    c->options.limits.idle_ttl_ms = KP_OFF;
    c->options.limits.max_age_ms = KP_OFF;
    contract_open(c);
}

static void a_failed_attempts_resource_must_not_be_the_next_attempts(void **state)
{
    contract c;
    kp_plan plan = { .schedule = { .times = 2, .first_ms = KP_NONE }, .retry_if = kp_retry_any };
    (void)state;
    begin(&c);
    struct work work = { .c = &c, .statuses = { -1, -2, 0 } };
    assert_int_equal(kp_use(c.pool, EU, &plan, run, &work), 0);
    contract_rest(&c);
    assert_int_equal(work.numbers[0], 1);
    assert_int_equal(work.numbers[1], 2);
    assert_int_equal(work.numbers[2], 3);
    assert_int_equal(kp_cast_read(c.cast).destroys, 2);
    assert_int_equal(contract_stats(&c, EU).idle, 1);
    contract_end(&c);
}

/* Nothing follows the last attempt, so its resource cannot be lent by mistake. */
static void the_last_attempts_resource_must_be_kept(void **state)
{
    contract c;
    kp_plan plan = { .schedule = { .times = 1, .first_ms = 10 }, .retry_if = kp_retry_any };
    (void)state;
    begin(&c);
    struct work work = { .c = &c, .statuses = { -1, -2 } };
    assert_int_equal(kp_use(c.pool, EU, &plan, run, &work), -2);
    contract_rest(&c);
    assert_int_equal(kp_cast_read(c.cast).destroys, 1);
    assert_int_equal(contract_stats(&c, EU).idle, 1);
    assert_int_equal(kp_sim_now_ms(c.sim), 10);
    contract_end(&c);
}

static int close_and_fail(kp_lease *lease, void *arg)
{
    struct work *work = arg;

    kp_discard(lease);
    work->runs++;
    assert_int_equal(kp_pool_close(work->c->pool, KP_CLOSE_NOW, KP_NONE), 0);
    return -7;
}

/* What fn said is the answer, not KP_ECLOSED. */
static void nothing_must_be_tried_again_once_the_pool_is_gone(void **state)
{
    contract c;
    kp_plan plan = { .schedule = { .times = 3, .first_ms = 10 }, .retry_if = kp_retry_any };
    (void)state;
    begin(&c);
    struct work work = { .c = &c };
    assert_int_equal(kp_use(c.pool, EU, &plan, close_and_fail, &work), -7);
    assert_int_equal(work.runs, 1);
    assert_int_equal(kp_sim_now_ms(c.sim), 0);
    contract_end(&c);
}

static void a_plan_may_say_that_a_failure_is_not_the_resources_fault(void **state)
{
    contract c;
    kp_plan plan = { .schedule = { .times = 1, .first_ms = KP_NONE }, .retry_if = kp_retry_any,
                     .on_error = KP_REUSE };
    (void)state;
    begin(&c);
    struct work work = { .c = &c, .statuses = { -1, 0 } };
    assert_int_equal(kp_use(c.pool, EU, &plan, run, &work), 0);
    contract_rest(&c);
    assert_int_equal(work.numbers[1], 1);
    assert_int_equal(kp_cast_read(c.cast).destroys, 0);
    contract_end(&c);
}

static void runs_count_for_the_schedules_duration(void **state)
{
    contract c;
    kp_plan plan = { .schedule = { .times = KP_UNLIMITED, .first_ms = 100, .factor_pct = 100,
                                   .for_ms = 1000 },
                     .retry_if = kp_retry_any };
    (void)state;
    begin(&c);
    struct work work = { .c = &c, .statuses = { -1, -2, -3, -4 }, .takes_ms = 400 };
    assert_int_equal(kp_use(c.pool, EU, &plan, run, &work), -3); /* began at 0, 500 and 1000 */
    contract_rest(&c);
    assert_int_equal(kp_sim_now_ms(c.sim), 1400);
    contract_end(&c);
}

/* ---- what a plan cannot mean ----------------------------------------------------------------- */

static void what_a_plan_cannot_mean_must_be_refused_with_the_fields_name(void **state)
{
    static const struct {
        kp_plan plan;
        const char *field;
    } cases[] = {
        { { .schedule.times = -1 }, "plan.schedule.times" },
        { { .schedule.times = KP_OFF }, "plan.schedule.times" },
        { { .schedule.first_ms = KP_OFF }, "plan.schedule.first_ms" },
        { { .schedule.max_ms = KP_UNLIMITED }, "plan.schedule.max_ms" },
        { { .schedule.factor_pct = -200 }, "plan.schedule.factor_pct" },
        { { .schedule.jitter_pct = 101 }, "plan.schedule.jitter_pct" },
        { { .schedule.for_ms = KP_UNLIMITED }, "plan.schedule.for_ms" },
        { { .schedule.reserved[0] = 1 }, "plan.schedule.reserved[0]" },
        { { .schedule.reserved[1] = KP_NONE }, "plan.schedule.reserved[1]" },
        { { .each_ms = -7 }, "plan.each_ms" },
        { { .on_error = 3 }, "plan.on_error" },
        { { .on_error = KP_NONE }, "plan.on_error" },
        { { .reserved[0] = 1 }, "plan.reserved[0]" },
        { { .reserved[1] = 1 }, "plan.reserved[1]" },
        { { .reserved[2] = 1 }, "plan.reserved[2]" },
        { { .reserved[3] = 1 }, "plan.reserved[3]" },
        { { .fallbacks = 1 }, "plan.fallback" },
    };
    contract c;
    (void)state;
    begin(&c);
    struct work work = { .c = &c };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        kp_plan plan = cases[i].plan;
        kp_why why = { 0 };
        assert_int_equal(kp_use(c.pool, EU, &plan, run, &work), KP_ECONFIG); /* nobody listens */
        plan.ask.why = &why;
        assert_int_equal(kp_use(c.pool, EU, &plan, run, &work), KP_ECONFIG);
        assert_string_equal(why.field, cases[i].field);
        assert_int_equal(why.code, KP_ECONFIG);
        if (i < 9) assert_int_equal(kp_schedule_pause_ms(&plan.schedule, 1, 0, 0), -1);
    }
    assert_int_equal(work.runs, 0);
    contract_rest(&c);
    contract_end(&c);
}

static void what_a_plan_can_mean_must_be_taken(void **state)
{
    kp_plan plan = { .schedule = { .times = KP_NONE, .first_ms = KP_NONE, .max_ms = KP_NONE,
                                   .factor_pct = KP_NONE, .jitter_pct = KP_NONE,
                                   .for_ms = KP_NONE },
                     .each_ms = KP_OFF, .on_error = KP_DESTROY };
    contract c;
    (void)state;
    begin(&c);
    struct work work = { .c = &c };
    assert_int_equal(kp_use(c.pool, EU, &plan, run, &work), 0);
    plan.schedule = (kp_schedule){ .times = INT64_MAX, .first_ms = INT64_MAX, .max_ms = INT64_MAX,
                                   .factor_pct = INT64_MAX, .jitter_pct = 100,
                                   .for_ms = INT64_MAX };
    plan.each_ms = INT64_MAX;
    assert_int_equal(kp_use(c.pool, EU, &plan, run, &work), 0);
    contract_end(&c);
}

/* ---- its deadline ---------------------------------------------------------------------------- */

/* Said by the plan, or by the pool for all who say nothing. */
static void a_plan_that_does_not_wait_must_try_its_fallback_keys(void **state)
{
    static const kp_ask asks[] = { { .within_ms = KP_NONE }, { .within_ms = 0 } };
    kp_key us = kp_str("us");
    (void)state;
    for (int i = 0; i < 2; i++) {
        kp_plan plan = { .ask = asks[i], .fallback = &us, .fallbacks = 1 };
        contract c;
        kp_lease eu;
        contract_begin(&c, NULL);
        c.options.limits.max_live = 1;
        c.options.deadline_ms = KP_NONE;
        contract_open(&c);
        contract_take(&c, EU, &eu);
        struct work work = { .c = &c };
        assert_int_equal(kp_use(c.pool, EU, &plan, run, &work), 0);
        assert_int_equal(work.runs, 1);
        plan = (kp_plan){ .ask = asks[i], .schedule = { .times = 1 } };
        assert_int_equal(kp_use(c.pool, EU, &plan, run, &work), KP_EAGAIN);
        assert_int_equal(contract_stats(&c, EU).timeouts, 0);
        assert_int_equal(contract_stats(&c, EU).refusals, 2);
        contract_give(&c, &eu);
        contract_end(&c);
    }
}

/* ---- while a circuit is open ----------------------------------------------------------------- */

struct looking {
    struct work work; /* first: what run is given */
    kp_why why;
    int asked;
};

/* It is not waited for, where another key may serve. */
static bool is_soon(int status, void *arg)
{
    struct looking *l = arg;

    l->asked++;
    return status == KP_EBREAKER && l->why.retry_after_ms <= 100;
}

static void a_retry_if_must_be_able_to_see_when_trying_again_may_help(void **state)
{
    static const kp_line fails[] = { { .status = -1 }, { 0 } };
    struct looking l = { .asked = 0 };
    kp_plan plan = { .ask = { .why = &l.why }, .schedule = { .times = 3, .first_ms = 100 },
                     .retry_if = is_soon };
    kp_key us = kp_str("us");
    contract c;
    kp_lease none;
    (void)state;
    contract_begin(&c, NULL);
    c.script.create = fails;
    c.options.limits.breaker_failures = 1;
    c.options.limits.breaker_open_ms = 1000;
    c.options.limits.retry_first_ms = KP_NONE;
    contract_open(&c);
    l.work.c = &c;
    assert_int_equal(kp_get(c.pool, EU, NULL, &none), KP_ECREATE);
    assert_int_equal(kp_use(c.pool, EU, &plan, run, &l), KP_EBREAKER);
    assert_int_equal(l.asked, 1);
    plan.fallback = &us;
    plan.fallbacks = 1;
    assert_int_equal(kp_use(c.pool, EU, &plan, run, &l), 0);
    assert_int_equal(kp_sim_now_ms(c.sim), 0); /* at once */
    kp_sim_pass_ms(c.sim, 900);
    plan.fallbacks = 0;
    assert_int_equal(kp_use(c.pool, EU, &plan, run, &l), 0);
    assert_int_equal(l.work.runs, 2);
    assert_int_equal(kp_sim_now_ms(c.sim), 1000);
    contract_rest(&c);
    contract_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_schedule_must_say_each_pause_and_when_it_gives_up),
        cmocka_unit_test(jitter_must_only_shorten_a_pause_and_by_no_more_than_its_part),
        cmocka_unit_test(no_retry_must_begin_later_than_the_schedule_says),
        cmocka_unit_test(a_failed_attempts_resource_must_not_be_the_next_attempts),
        cmocka_unit_test(the_last_attempts_resource_must_be_kept),
        cmocka_unit_test(nothing_must_be_tried_again_once_the_pool_is_gone),
        cmocka_unit_test(a_plan_may_say_that_a_failure_is_not_the_resources_fault),
        cmocka_unit_test(runs_count_for_the_schedules_duration),
        cmocka_unit_test(what_a_plan_cannot_mean_must_be_refused_with_the_fields_name),
        cmocka_unit_test(what_a_plan_can_mean_must_be_taken),
        cmocka_unit_test(a_plan_that_does_not_wait_must_try_its_fallback_keys),
        cmocka_unit_test(a_retry_if_must_be_able_to_see_when_trying_again_may_help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
