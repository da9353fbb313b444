/* SPDX-License-Identifier: MIT
 *
 * What a hostile review of event loops found: each test is the smallest run in which something was
 * lost, lent unchecked, or used after its end.
 */
#include "loop.h"

static const kp_options one = { .limits = { .max_live = 1, .retry_first_ms = KP_NONE } };

/* A request that was given a resource, and has given it back: it is idle now. */
static void make_one(struct stage *s, const char *key)
{
    struct ask a;

    stage_start(s, &a, key, 1000);
    stage_pass(s, 0);
    assert_int_equal(a.status, 0);
    kp_release(&a.lease);
    stage_pass(s, 0);
}

/* ---- waiting for a check --------------------------------------------------------------------- */

static void who_waits_again_after_a_failed_check_must_not_wait_for_the_bad_ones_end(void **state)
{
    static const kp_line bad[] = { { .takes_ms = 10, .status = -1 }, { 0 } };
    static const kp_line slow[] = { { .takes_ms = 5000 }, { 0 } };
    const kp_script script = { .validate = bad, .destroy = slow };
    const kp_options plan = { .limits = { .max_live = 2, .validate_after_ms = KP_NONE } };
    struct stage s;
    struct ask a;

    (void)state;
    stage_open(&s, &script, &plan);
    make_one(&s, "k");
    stage_start(&s, &a, "k", 1000);
    stage_pass(&s, 10); /* found bad; there is room for another one */
    assert_int_equal(a.status, 0);
    assert_int_equal(stage_stats(&s).creates, 2);
    kp_release(&a.lease);
    stage_pass(&s, 5000);
    stage_close(&s);
}

static void who_waits_again_after_a_failed_check_must_take_what_is_idle(void **state)
{
    static const kp_line bad[] = { { .takes_ms = 10, .status = -1 }, { 0 } };
    const kp_script script = { .validate = bad };
    const kp_options plan = { .limits = { .max_live = 2, .validate_after_ms = 5 } };
    struct stage s;
    struct ask a, b;

    (void)state;
    stage_open(&s, &script, &plan);
    stage_start(&s, &a, "k", 1000);
    stage_start(&s, &b, "k", 1000);
    stage_pass(&s, 0);
    kp_release(&b.lease);
    stage_pass(&s, 5);
    stage_start(&s, &b, "k", 1000); /* is being checked */
    stage_pass(&s, 5);
    kp_release(&a.lease);
    stage_pass(&s, 5);
    assert_int_equal(b.status, 0);
    assert_int_equal(stage_stats(&s).creates, 2);
    kp_release(&b.lease);
    stage_close(&s);
}

static void a_probe_that_was_cancelled_before_it_began_must_not_keep_the_circuit_open(void **state)
{
    static const kp_line fails[] = { { .times = 1 }, { .status = -1 }, { 0 } };
    static const kp_line slow[] = { { .takes_ms = 50, .times = KP_OFF } };
    const kp_script script = { .create = fails, .destroy = slow };
    const kp_options plan = { .limits = { .breaker_failures = 1,
                                          .breaker_open_ms = 20,
                                          .retry_first_ms = KP_NONE },
                              .budget = { .max_live = 1 } };
    struct stage s;
    struct ask a, b;

    (void)state;
    stage_open(&s, &script, &plan);
    make_one(&s, "other");
    stage_start(&s, &a, "k", 1000); /* evicts, which takes 50 ms, and fails */
    stage_pass(&s, 50);
    assert_int_equal(a.status, KP_ECREATE);
    make_one(&s, "other");
    stage_pass(&s, 20);
    stage_start(&s, &a, "k", 1000); /* the probe: evicts first */
    stage_pass(&s, 10);
    assert_int_equal(stage_stats(&s).closing, 1);
    kp_cancel(&a.request);
    stage_pass(&s, 50);
    assert_int_equal(stage_start_with(&s, &b, "k", (kp_ask){ .within_ms = 1000 }), 0);
    stage_pass(&s, 50);
    assert_int_equal(b.status, 0);
    kp_release(&b.lease);
    stage_close(&s);
}

/* ---- ended from inside its own step ---------------------------------------------------------- */

/* Reports about a request come on its loop's thread: an event handler, or the driver, may end the
 * request there and free it. */
struct suicide {
    struct stage stage;
    struct ask *ask;
    kp_event_kind when;
    int ended;
};

static void end_it(struct suicide *w)
{
    if (!w->ask) return;
    kp_cancel(&w->ask->request);
    assert_int_equal(w->ask->answers, 0);
    memset(w->ask, 0xa5, sizeof *w->ask);
    test_free(w->ask);
    w->ask = NULL;
    w->ended++;
}

static void end_it_on(const kp_event *event, void *ctx)
{
    struct suicide *w = ctx;

    if (event->kind == w->when) end_it(w);
}

static void play_suicide(kp_event_kind when, const kp_script *script, const kp_options *plan,
                         const char *before)
{
    struct suicide w = { .when = when };
    kp_options own = *plan;
    kp_lease held = { 0 };

    own.on_event = end_it_on;
    own.ctx = &w;
    stage_open(&w.stage, script, &own);
    if (before) make_one(&w.stage, before);
    w.stage.done = 0;
    if (when == KP_EVENT_TIMEOUT)
        assert_int_equal(kp_get(w.stage.pool, kp_str("k"), NULL, &held), 0);
    w.ask = test_malloc(sizeof *w.ask);
    assert_int_equal(stage_start_with(&w.stage, w.ask, "k", (kp_ask){ .within_ms = 100 }), 0);
    stage_pass(&w.stage, 200);
    assert_int_equal(w.ended, 1);
    assert_int_equal(w.stage.done, 0);
    kp_release(&held);
    stage_pass(&w.stage, 200);
    stage_close(&w.stage);
}

static void a_request_may_be_ended_in_every_event_of_its_own(void **state)
{
    static const kp_line fails[] = { { .status = -1 }, { 0 } };
    const kp_options checks = { .limits = { .max_live = 1, .validate_after_ms = KP_NONE } };
    const kp_options evicts = { .budget = { .max_live = 1 } };

    (void)state;
    play_suicide(KP_EVENT_CREATED, NULL, &one, NULL);
    play_suicide(KP_EVENT_CREATE_FAILED, &(kp_script){ .create = fails }, &one, NULL);
    play_suicide(KP_EVENT_INVALID, &(kp_script){ .validate = fails }, &checks, "k");
    play_suicide(KP_EVENT_DESTROYED, NULL, &evicts, "other");
    play_suicide(KP_EVENT_TIMEOUT, NULL, &one, NULL);
}

static struct suicide *hurried;
static kp_job *pending;

static int never_answers(kp_job *job, void **resource)
{
    (void)resource;
    pending = job;
    return KP_PENDING;
}

static void end_it_on_hurry(kp_job *job)
{
    pending = NULL;
    kp_job_done(job, -1, NULL);
    end_it(hurried);
}

static int destroy_nothing(kp_job *job, void *resource)
{
    (void)job;
    (void)resource;
    return 0;
}

static void a_request_may_be_ended_while_its_creation_is_hurried(void **state)
{
    const kp_driver slow = { .create = never_answers,
                             .destroy = destroy_nothing,
                             .cancel = end_it_on_hurry,
                             .flags = KP_NEVER_BLOCKS };

    (void)state;
    for (int cancel = 0; cancel < 2; cancel++) {
        struct suicide w = { .when = KP_EVENT_NONE };
        struct stage *s = &w.stage;
        stage_open(s, NULL, &one);
        (void)kp_pool_close(s->pool, KP_CLOSE_NOW, 0);
        s->plan.driver = slow;
        assert_int_equal(kp_pool_open(&s->plan, &s->pool), 0);
        hurried = &w;
        w.ask = test_malloc(sizeof *w.ask);
        assert_int_equal(stage_start_with(s, w.ask, "k", (kp_ask){ .within_ms = 100 }), 0);
        stage_pass(s, 10);
        assert_non_null(pending);
        if (cancel) kp_cancel(&w.ask->request);
        stage_pass(s, 100);
        assert_int_equal(w.ended, 1);
        assert_int_equal(s->done, 0);
        stage_close(s);
    }
}

/* ---- inside start ---------------------------------------------------------------------------- */

static struct ask *begins;

static void cancel_what_begins(kp_key key, kp_limits *limits, void *ctx)
{
    (void)key;
    (void)limits;
    (void)ctx;
    kp_cancel(&begins->request); /* it has not begun: nothing */
}

static void a_cancel_inside_its_own_start_must_do_nothing(void **state)
{
    kp_options plan = one;
    struct stage s;
    struct ask a;

    (void)state;
    plan.limits_for = cancel_what_begins;
    stage_open(&s, NULL, &plan);
    begins = &a;
    stage_start(&s, &a, "k", 1000);
    stage_pass(&s, 0);
    assert_int_equal(a.status, 0);
    kp_release(&a.lease);
    stage_close(&s);
}

/* ---- who does not wait ----------------------------------------------------------------------- */

static void a_get_that_does_not_wait_must_take_what_nobody_else_can(void **state)
{
    static const kp_line slow[] = { { .takes_ms = 50 }, { 0 } };
    const kp_script script = { .validate = slow };
    const kp_options plan = {
        .limits = { .max_live = 2, .max_waiting = 1, .validate_after_ms = 5 }
    };
    struct stage s;
    struct ask a, b, c;

    (void)state;
    stage_open(&s, &script, &plan);
    stage_start(&s, &a, "k", 1000);
    stage_start(&s, &b, "k", 1000);
    stage_pass(&s, 0);
    kp_release(&a.lease);
    stage_pass(&s, 5);
    stage_start(&s, &a, "k", 1000); /* waits for its check, and for nothing else */
    stage_pass(&s, 0);
    kp_release(&b.lease); /* idle */
    assert_int_equal(stage_start_with(&s, &b, "k", (kp_ask){ .flags = KP_DONT_WAIT }), 0);
    stage_pass(&s, 0);
    assert_int_equal(b.status, 0);
    kp_release(&b.lease);
    assert_int_equal(stage_start_with(&s, &c, "k", (kp_ask){ .within_ms = 1000 }), 0);
    stage_pass(&s, 0);
    assert_int_equal(c.status, 0);
    kp_release(&c.lease);
    stage_pass(&s, 50);
    assert_int_equal(a.status, 0);
    kp_release(&a.lease);
    stage_close(&s);
}

static void ignore(const kp_why *why, void *arg)
{
    (void)why;
    (void)arg;
}

static void only_a_try_must_be_free_on_the_thread_of_the_pools_own_loop(void **state)
{
    static const kp_line slow[] = { { .takes_ms = 50 }, { 0 } };
    const kp_script script = { .validate = slow };
    const kp_options plan = { .limits = { .max_live = 1, .validate_after_ms = KP_NONE } };
    struct stage s;
    kp_lease lease;

    (void)state;
    kp_on_misuse(ignore, NULL);
    stage_open_alone(&s, &script, &plan);
    make_one(&s, "k");
    assert_int_equal(kp_get(s.pool, kp_str("k"), KP_ASK(.flags = KP_DONT_WAIT), &lease),
                     KP_EMISUSE); /* its check would be waited for, by who should run it */
    assert_int_equal(kp_sim_now_ms(s.sim), 0);
    assert_int_equal(kp_try_get(s.pool, kp_str("k"), &lease), KP_EAGAIN);
    assert_int_equal(kp_sim_now_ms(s.sim), 0);
    stage_pass(&s, 50);
    stage_close(&s);
    kp_on_misuse(NULL, NULL);
}

/* ---- lent unchecked -------------------------------------------------------------------------- */

static void two_who_share_one_must_not_spare_it_the_check(void **state)
{
    const kp_options plan = {
        .limits = { .max_live = 1, .sharing = 2, .validate_after_ms = KP_NONE }
    };
    struct stage s;
    struct ask a, b;

    (void)state;
    stage_open(&s, NULL, &plan);
    make_one(&s, "k");
    stage_start(&s, &a, "k", 1000);
    stage_start(&s, &b, "k", 1000); /* the other seat, before anybody has looked at it */
    stage_pass(&s, 0);
    assert_int_equal(a.status + b.status, 0);
    assert_int_equal(kp_cast_read(s.cast).validates, 1);
    kp_release(&a.lease);
    kp_release(&b.lease);
    stage_close(&s);
}

static void sharers_of_one_that_is_not_checked_must_not_wait_for_each_other(void **state)
{
    const kp_options plan = { .limits = { .max_live = 1, .sharing = 3, .validate_after_ms = 500 } };
    struct stage s;
    struct ask a, b, c;

    (void)state;
    stage_open(&s, NULL, &plan);
    make_one(&s, "k");
    stage_pass(&s, 500);
    stage_start(&s, &a, "k", 1000);
    assert_int_equal(kp_limits_set(s.pool, kp_str("k"),
                                   &(kp_limits){ .validate_after_ms = KP_SECONDS(1) }, NULL), 0);
    stage_start(&s, &b, "k", 1000);
    stage_start(&s, &c, "k", 1000);
    stage_pass(&s, 0);
    assert_int_equal(a.status + b.status + c.status, 0);
    assert_int_equal(kp_cast_read(s.cast).validates, 0);
    kp_release(&a.lease);
    kp_release(&b.lease);
    kp_release(&c.lease);
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_waits_again_after_a_failed_check_must_not_wait_for_the_bad_ones_end),
        cmocka_unit_test(who_waits_again_after_a_failed_check_must_take_what_is_idle),
        cmocka_unit_test(a_probe_that_was_cancelled_before_it_began_must_not_keep_the_circuit_open),
        cmocka_unit_test(a_request_may_be_ended_in_every_event_of_its_own),
        cmocka_unit_test(a_request_may_be_ended_while_its_creation_is_hurried),
        cmocka_unit_test(a_cancel_inside_its_own_start_must_do_nothing),
        cmocka_unit_test(a_get_that_does_not_wait_must_take_what_nobody_else_can),
        cmocka_unit_test(only_a_try_must_be_free_on_the_thread_of_the_pools_own_loop),
        cmocka_unit_test(two_who_share_one_must_not_spare_it_the_check),
        cmocka_unit_test(sharers_of_one_that_is_not_checked_must_not_wait_for_each_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
