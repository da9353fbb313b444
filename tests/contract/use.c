/* SPDX-License-Identifier: MIT
 *
 * kp_use: one run, retries by a schedule, fallback keys, all under one deadline.
 */
#include "contract.h"

/* ---- a driver whose keys fail as their first letter says ----------------------------------- */

/* 'f' fails, 'r' refuses, anything else works. What was made is counted, by kind of answer. */
static struct { int made, failed, destroyed; } driven;
static int things[64];

static int create(kp_job *job, void **resource)
{
    const char *key = job->key.data;
    if (key[0] == 'f') return kp_job_fail(job, 100 + ++driven.failed, "connect: refused");
    if (key[0] == 'r') return KP_EREFUSED;
    *resource = &things[driven.made++];
    return 0;
}

static int destroy(kp_job *job, void *resource)
{
    (void)job;
    (void)resource;
    driven.destroyed++;
    return 0;
}

static void begin(contract *c)
{
    kp_driver driver = { .create = create, .destroy = destroy };
    contract_begin(c, NULL);
    memset(&driven, 0, sizeof driven);
    c->options.limits.max_live = 1;
    c->options.limits.max_creating = KP_UNLIMITED;
    c->options.limits.retry_first_ms = KP_NONE;
    c->options.limits.idle_ttl_ms = KP_OFF;
    c->options.limits.max_age_ms = KP_OFF;
    contract_open_driver(c, &driver);
}

static void end(contract *c)
{
    contract_end(c);
    assert_int_equal(driven.made, driven.destroyed);
}

/* ---- what fn does -------------------------------------------------------------------------- */

/* Answers statuses[0], [1], ... and then the last one; may take its time, and may end its lease. */
struct work {
    contract *c;
    int       statuses[8];
    int       runs;
    int64_t   takes_ms;
    enum { LEAVE, RELEASE, DISCARD, RELEASE_A_COPY } end;
    char      keys[8];                  /* the first letter of each run's key */
};

static int run(kp_lease *lease, void *arg)
{
    struct work *work = arg;
    kp_lease_about about;
    kp_lease copy = *lease;
    assert_true(kp_lease_read(lease, &about));
    work->keys[work->runs] = ((const char *)about.key.data)[0];
    if (work->takes_ms > 0) kp_sim_pass_ms(work->c->sim, work->takes_ms);
    if (work->end == RELEASE) kp_release(lease);
    if (work->end == DISCARD) kp_discard(lease);
    if (work->end == RELEASE_A_COPY) kp_release(&copy);
    return work->statuses[work->runs++];
}

static kp_stats all(contract *c)
{
    return contract_stats(c, KP_EVERY_KEY);
}

/* ---- one run ------------------------------------------------------------------------------- */

static void without_a_plan_it_must_get_run_once_and_give_back(void **state)
{
    contract c;
    (void)state;
    begin(&c);
    struct work work = { .c = &c };
    assert_int_equal(kp_use(c.pool, kp_str("a"), NULL, run, &work), 0);
    contract_check(&c);
    assert_int_equal(work.runs, 1);
    assert_int_equal(all(&c).idle, 1);
    assert_int_equal(all(&c).leases, 0);
    end(&c);
}

static void a_code_of_fn_must_be_handed_through_and_the_resource_kept(void **state)
{
    contract c;
    kp_why why = { 0 };
    kp_plan plan = { .ask.why = &why, .schedule.times = 5 };
    (void)state;
    begin(&c);
    struct work work = { .c = &c, .statuses = { -42 } };
    assert_int_equal(kp_use(c.pool, kp_str("a"), &plan, run, &work), -42);
    contract_check(&c);
    assert_int_equal(work.runs, 1);     /* kp_retry_helps never retries fn's own failures */
    assert_int_equal(why.code, -42);
    assert_int_equal(all(&c).idle, 1);
    end(&c);
}

static void a_failure_must_destroy_the_resource_where_the_plan_says_so(void **state)
{
    contract c;
    kp_plan plan = { .on_error = KP_DESTROY };
    (void)state;
    begin(&c);
    struct work work = { .c = &c, .statuses = { 0, -1 } };
    assert_int_equal(kp_use(c.pool, kp_str("a"), &plan, run, &work), 0);
    assert_int_equal(driven.destroyed, 0);
    assert_int_equal(kp_use(c.pool, kp_str("a"), &plan, run, &work), -1);
    contract_check(&c);
    assert_int_equal(driven.destroyed, 1);
    assert_int_equal(all(&c).live, 0);
    end(&c);
}

static void fn_may_end_its_lease_itself(void **state)
{
    contract c;
    (void)state;
    begin(&c);
    struct work work = { .c = &c, .end = RELEASE };
    assert_int_equal(kp_use(c.pool, kp_str("a"), NULL, run, &work), 0);
    work.end = RELEASE_A_COPY;
    assert_int_equal(kp_use(c.pool, kp_str("a"), NULL, run, &work), 0);
    assert_int_equal(all(&c).idle, 1);
    work.end = DISCARD;
    assert_int_equal(kp_use(c.pool, kp_str("a"), NULL, run, &work), 0);
    contract_check(&c);
    assert_int_equal(all(&c).live, 0);
    assert_int_equal(work.runs, 3);
    end(&c);                            /* which finds no misuse */
}

static void what_is_no_pool_and_no_function_must_be_answered_at_once(void **state)
{
    contract c;
    kp_why why = { 0 };
    kp_plan plan = { .ask.why = &why, .schedule = { .times = 9 }, .retry_if = kp_retry_any };
    struct work work = { 0 };
    (void)state;
    begin(&c);
    kp_pool *pool = c.pool;
    end(&c);
    assert_int_equal(kp_use(pool, kp_str("a"), &plan, run, &work), KP_ECLOSED);
    assert_int_equal(why.code, KP_ECLOSED);
    assert_int_equal(kp_use(pool, kp_str("a"), &plan, NULL, &work), KP_EMISUSE);
    assert_non_null(strstr(why.text, "fn is NULL"));
    assert_int_equal(work.runs, 0);
}

/* ---- retries ------------------------------------------------------------------------------- */

static void pauses_must_follow_the_schedule(void **state)
{
    contract c;
    kp_why why = { 0 };
    kp_plan plan = { .ask.why = &why, .schedule = { .times = 3 } };
    (void)state;
    begin(&c);
    struct work work = { .c = &c };
    int64_t start = kp_sim_now_ms(c.sim);
    assert_int_equal(kp_use(c.pool, kp_str("f"), &plan, run, &work), KP_ECREATE);
    assert_int_equal(kp_sim_now_ms(c.sim) - start, 100 + 200 + 400);
    assert_int_equal(driven.failed, 4);
    assert_int_equal(why.vendor_code, 104);     /* the last attempt's */
    assert_int_equal(work.runs, 0);
    contract_check(&c);
    end(&c);
}

static void a_retry_that_succeeds_must_be_the_answer(void **state)
{
    contract c;
    kp_why why = { 0 };
    kp_plan plan = { .ask.why = &why, .schedule = { .times = 5, .first_ms = 10, .factor_pct = 100 },
                     .retry_if = kp_retry_any };
    (void)state;
    begin(&c);
    struct work work = { .c = &c, .statuses = { -1, -2, 7 } };
    int64_t start = kp_sim_now_ms(c.sim);
    assert_int_equal(kp_use(c.pool, kp_str("a"), &plan, run, &work), 7);
    assert_int_equal(work.runs, 3);
    assert_int_equal(kp_sim_now_ms(c.sim) - start, 20);
    assert_int_equal(why.code, 0);
    end(&c);
}

static void a_refusal_must_not_be_retried(void **state)
{
    contract c;
    kp_plan plan = { .schedule = { .times = KP_UNLIMITED } };
    (void)state;
    begin(&c);
    struct work work = { .c = &c };
    int64_t start = kp_sim_now_ms(c.sim);
    assert_int_equal(kp_use(c.pool, kp_str("r"), &plan, run, &work), KP_EREFUSED);
    assert_int_equal(kp_sim_now_ms(c.sim), start);
    end(&c);
}

static void a_pause_that_would_pass_the_deadline_must_end_it_at_once(void **state)
{
    contract c;
    kp_plan plan = { .ask.within_ms = 1000, .schedule = { .times = KP_UNLIMITED } };
    (void)state;
    begin(&c);
    struct work work = { .c = &c };
    int64_t start = kp_sim_now_ms(c.sim);
    assert_int_equal(kp_use(c.pool, kp_str("f"), &plan, run, &work), KP_ECREATE);
    assert_int_equal(kp_sim_now_ms(c.sim) - start, 100 + 200 + 400);
    assert_int_equal(driven.failed, 4);
    end(&c);
}

static void the_deadline_must_cover_runs_too(void **state)
{
    contract c;
    kp_plan plan = { .ask.within_ms = 5000, .retry_if = kp_retry_any,
                     .schedule = { .times = KP_UNLIMITED, .first_ms = KP_NONE } };
    (void)state;
    begin(&c);
    struct work work = { .c = &c, .takes_ms = 2000, .statuses = { -1, -2, -3, -4, -5 } };
    int64_t start = kp_sim_now_ms(c.sim);
    assert_int_equal(kp_use(c.pool, kp_str("a"), &plan, run, &work), -3);
    assert_int_equal(work.runs, 3);
    assert_int_equal(kp_sim_now_ms(c.sim) - start, 6000);   /* fn is not interrupted */
    end(&c);
}

static void without_a_deadline_it_must_go_on_until_the_schedule_ends(void **state)
{
    contract c;
    kp_plan plan = { .ask.within_ms = KP_OFF, .schedule = { .times = 9, .max_ms = KP_OFF } };
    (void)state;
    begin(&c);
    struct work work = { .c = &c };
    int64_t start = kp_sim_now_ms(c.sim);
    assert_int_equal(kp_use(c.pool, kp_str("f"), &plan, run, &work), KP_ECREATE);
    assert_int_equal(driven.failed, 10);
    assert_int_equal(kp_sim_now_ms(c.sim) - start, 100 * (512 - 1));
    end(&c);
}

/* A deadline for several calls to share, which never comes. */
static void until_never_it_must_go_on_until_the_schedule_ends(void **state)
{
    contract c;
    kp_plan plan = { .schedule = { .times = 9, .max_ms = KP_OFF } };
    (void)state;
    begin(&c);
    struct work work = { .c = &c };
    plan.ask.until = kp_deadline_in(c.pool, KP_OFF);
    assert_int_equal(kp_use(c.pool, kp_str("f"), &plan, run, &work), KP_ECREATE);
    assert_int_equal(driven.failed, 10);
    assert_int_equal(kp_sim_now_ms(c.sim), 100 * (512 - 1));
    end(&c);
}

struct holder {
    contract *c;
    kp_lease  lease;
};

static void give_back_after_a_minute(void *arg)
{
    struct holder *holder = arg;
    kp_sim_pass_ms(holder->c->sim, KP_MINUTES(1));
    kp_release(&holder->lease);
}

static void without_a_deadline_it_must_wait_longer_than_the_default(void **state)
{
    contract c;
    struct holder holder = { .c = &c };
    kp_plan plan = { .ask.within_ms = KP_OFF };
    (void)state;
    begin(&c);
    struct work work = { .c = &c };
    assert_int_equal(kp_get(c.pool, kp_str("a"), NULL, &holder.lease), 0);
    assert_true(kp_sim_spawn(c.sim, give_back_after_a_minute, &holder) > 0);
    assert_int_equal(kp_use(c.pool, kp_str("a"), &plan, run, &work), 0);
    assert_int_equal(kp_sim_now_ms(c.sim), KP_MINUTES(1));
    end(&c);
}

/* ---- fallback keys ------------------------------------------------------------------------- */

static void fallback_keys_must_be_tried_in_order_each_by_the_schedule(void **state)
{
    contract c;
    kp_key fallback[] = { kp_str("r"), kp_str("f2"), kp_str("b"), kp_str("c") };
    kp_plan plan = { .schedule = { .times = 1, .first_ms = 10 }, .fallback = fallback,
                     .fallbacks = 4 };
    (void)state;
    begin(&c);
    struct work work = { .c = &c };
    assert_int_equal(kp_use(c.pool, kp_str("f1"), &plan, run, &work), 0);
    contract_check(&c);
    assert_int_equal(driven.failed, 4);
    assert_string_equal(work.keys, "b");
    end(&c);
}

static void a_failure_of_fn_must_not_move_to_another_key_unless_it_is_retried(void **state)
{
    contract c;
    kp_key fallback[] = { kp_str("b") };
    kp_plan plan = { .fallback = fallback, .fallbacks = 1 };
    (void)state;
    begin(&c);
    struct work work = { .c = &c, .statuses = { -1, -2, 0 } };
    assert_int_equal(kp_use(c.pool, kp_str("a"), &plan, run, &work), -1);
    plan.retry_if = kp_retry_any;
    assert_int_equal(kp_use(c.pool, kp_str("a"), &plan, run, &work), 0);
    assert_string_equal(work.keys, "aab");
    end(&c);
}

/* Nobody may wait for a key that begins with n. */
static void limit_waiting(kp_key key, kp_limits *limits, void *ctx)
{
    (void)ctx;
    if (((const char *)key.data)[0] == 'n') limits->max_waiting = KP_NONE;
}

static struct { int statuses[8], asked; } failures;

static bool note_and_give_up(int status, void *arg)
{
    (void)arg;
    failures.statuses[failures.asked++] = status;
    return false;
}

/* A key that has nothing to lend says nothing of the next one, even if nothing is retried. */
static void a_key_that_cannot_lend_must_be_followed_by_another_without_a_retry(void **state)
{
    static const int cannot[] = { KP_ETIMEDOUT, KP_EBREAKER, KP_EFULL, KP_EREFUSED };
    contract c;
    kp_lease held[2];
    kp_key fallback[] = { kp_str("f"), kp_str("n"), kp_str("r"), kp_str("b") };
    kp_plan plan = { .retry_if = note_and_give_up, .fallback = fallback, .fallbacks = 4 };
    kp_driver driver = { .create = create, .destroy = destroy };
    (void)state;
    contract_begin(&c, NULL);
    memset(&driven, 0, sizeof driven);
    memset(&failures, 0, sizeof failures);
    c.options.limits.max_live = 1;
    c.options.limits.breaker_failures = 1;
    c.options.limits_for = limit_waiting;
    contract_open_driver(&c, &driver);
    struct work work = { .c = &c };
    assert_int_equal(kp_get(c.pool, kp_str("t"), NULL, &held[0]), 0);
    assert_int_equal(kp_get(c.pool, kp_str("n"), NULL, &held[1]), 0);
    assert_int_equal(kp_use(c.pool, kp_str("f"), &plan, run, &work), KP_ECREATE);
    assert_int_equal(failures.asked, 1);        /* but after another failure none follows */
    plan.each_ms = 10;
    assert_int_equal(kp_use(c.pool, kp_str("t"), &plan, run, &work), 0);
    assert_string_equal(work.keys, "b");
    assert_int_equal(failures.asked, 5);
    assert_memory_equal(failures.statuses + 1, cannot, sizeof cannot);
    for (int i = 0; i < 2; i++) kp_release(&held[i]);
    end(&c);
}

/* All of a, b, c are lent for good. Returns how long kp_use took, in ms. */
static int64_t time_of(contract *c, const char *first, const kp_plan *plan)
{
    struct work work = { .c = c };
    int64_t start = kp_sim_now_ms(c->sim);
    assert_int_equal(kp_use(c->pool, kp_str(first), plan, run, &work), KP_ETIMEDOUT);
    contract_check(c);
    assert_int_equal(work.runs, 0);
    return kp_sim_now_ms(c->sim) - start;
}

static void time_must_be_split_evenly_over_the_keys_left(void **state)
{
    contract c;
    kp_lease held[3];
    kp_why why = { 0 };
    kp_key fallback[] = { kp_str("b"), kp_str("c") };
    kp_plan plan = { .ask = { .within_ms = 3000, .why = &why }, .fallback = fallback,
                     .fallbacks = 2 };
    (void)state;
    begin(&c);
    assert_int_equal(kp_get(c.pool, kp_str("a"), NULL, &held[0]), 0);
    assert_int_equal(kp_get(c.pool, fallback[0], NULL, &held[1]), 0);
    assert_int_equal(kp_get(c.pool, fallback[1], NULL, &held[2]), 0);
    assert_int_equal(time_of(&c, "a", &plan), 3000);
    assert_int_equal(why.waited_ms, 1000);
    assert_int_equal(time_of(&c, "f", &plan), 3000);        /* fails at once: more for the others */
    assert_int_equal(why.waited_ms, 1500);
    plan.each_ms = 200;
    assert_int_equal(time_of(&c, "a", &plan), 600);
    plan.each_ms = KP_OFF;                                  /* all of it for the first */
    assert_int_equal(time_of(&c, "a", &plan), 3000);
    assert_int_equal(why.waited_ms, 3000);
    for (int i = 0; i < 3; i++) kp_release(&held[i]);
    end(&c);
}

static void without_waiting_every_key_must_be_asked(void **state)
{
    contract c;
    kp_lease held;
    kp_key fallback[] = { kp_str("b") };
    kp_plan plan = { .ask = { .within_ms = KP_NONE, .flags = KP_DONT_WAIT }, .fallback = fallback,
                     .fallbacks = 1 };
    (void)state;
    begin(&c);
    struct work work = { .c = &c };
    int64_t start = kp_sim_now_ms(c.sim);
    assert_int_equal(kp_use(c.pool, kp_str("a"), &plan, run, &work), KP_EAGAIN);
    assert_int_equal(kp_get(c.pool, fallback[0], NULL, &held), 0);
    kp_release(&held);
    assert_int_equal(kp_use(c.pool, kp_str("a"), &plan, run, &work), 0);
    assert_string_equal(work.keys, "b");
    assert_int_equal(kp_sim_now_ms(c.sim), start);
    end(&c);
}

static void failures_of_fn_must_reach_the_breaker(void **state)
{
    contract c;
    kp_driver driver = { .create = create, .destroy = destroy };
    kp_key fallback[] = { kp_str("b") };
    kp_plan plan = { .fallback = fallback, .fallbacks = 1 };
    (void)state;
    contract_begin(&c, NULL);
    memset(&driven, 0, sizeof driven);
    c.options.limits.breaker_failures = 2;
    c.options.limits.breaker_counts = KP_BREAK_USE;
    contract_open_driver(&c, &driver);
    struct work work = { .c = &c, .statuses = { -1, -1, 0 } };
    assert_int_equal(kp_use(c.pool, kp_str("a"), NULL, run, &work), -1);
    assert_int_equal(kp_use(c.pool, kp_str("a"), NULL, run, &work), -1);
    assert_int_equal(kp_use(c.pool, kp_str("a"), NULL, run, &work), KP_EBREAKER);
    assert_int_equal(kp_use(c.pool, kp_str("a"), &plan, run, &work), 0);
    assert_string_equal(work.keys, "aab");
    end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_plan_it_must_get_run_once_and_give_back),
        cmocka_unit_test(a_code_of_fn_must_be_handed_through_and_the_resource_kept),
        cmocka_unit_test(a_failure_must_destroy_the_resource_where_the_plan_says_so),
        cmocka_unit_test(fn_may_end_its_lease_itself),
        cmocka_unit_test(what_is_no_pool_and_no_function_must_be_answered_at_once),
        cmocka_unit_test(pauses_must_follow_the_schedule),
        cmocka_unit_test(a_retry_that_succeeds_must_be_the_answer),
        cmocka_unit_test(a_refusal_must_not_be_retried),
        cmocka_unit_test(a_pause_that_would_pass_the_deadline_must_end_it_at_once),
        cmocka_unit_test(the_deadline_must_cover_runs_too),
        cmocka_unit_test(without_a_deadline_it_must_go_on_until_the_schedule_ends),
        cmocka_unit_test(until_never_it_must_go_on_until_the_schedule_ends),
        cmocka_unit_test(without_a_deadline_it_must_wait_longer_than_the_default),
        cmocka_unit_test(fallback_keys_must_be_tried_in_order_each_by_the_schedule),
        cmocka_unit_test(a_failure_of_fn_must_not_move_to_another_key_unless_it_is_retried),
        cmocka_unit_test(a_key_that_cannot_lend_must_be_followed_by_another_without_a_retry),
        cmocka_unit_test(time_must_be_split_evenly_over_the_keys_left),
        cmocka_unit_test(without_waiting_every_key_must_be_asked),
        cmocka_unit_test(failures_of_fn_must_reach_the_breaker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
