/* SPDX-License-Identifier: MIT
 *
 * What the zoo showed that no test looked at, fourth part: event loops that sleep. Here a loop is
 * dispatched only when its descriptor says so or the last dispatch named the time, as in a real
 * program.
 */
#include "contract/loop.h"

enum { LOOPS = 7 };

static const kp_limits one = { .max_live = 1, .prefill = KP_PREFILL_NONE };

/* Ring, dispatch, as often as it rings; returns what the last dispatch said (-1: none was). */
static int64_t answer_the_bell(struct stage *s)
{
    int64_t next = -1;

    for (int i = 0; i < 100 && stage_readable(s); i++) next = kp_loop_dispatch(s->loop);
    assert_false(stage_readable(s));
    return next;
}

static void what_comes_back_must_ring_a_sleeping_loop_each_time(void **state)
{
    const kp_options plan = { .limits = one };
    struct stage s;
    struct ask holds, waits;

    (void)state;
    stage_open(&s, NULL, &plan);
    stage_start(&s, &holds, "k", KP_OFF);
    answer_the_bell(&s);
    assert_int_equal(holds.status, 0);
    for (int i = 0; i < 3; i++) {
        stage_start(&s, &waits, "k", KP_OFF);
        answer_the_bell(&s);
        assert_int_equal(waits.answers, 0);
        kp_release(&holds.lease);
        assert_true(stage_readable(&s));
        answer_the_bell(&s);
        assert_int_equal(waits.answers, 1);
        holds.lease = waits.lease;
    }
    kp_release(&holds.lease);
    stage_close(&s);
}

/* A request that gives up releases what its program has of another one. */
static kp_lease *to_give_back;

static void give_back_on_timeout(kp_request *request, int status, kp_lease lease)
{
    stage_done(request, status, lease);
    kp_release(to_give_back);
}

static void what_comes_back_while_a_loop_dispatches_must_not_be_slept_over(void **state)
{
    const kp_options plan = { .limits = one };
    struct stage s;
    struct ask holds, late, waits;

    (void)state;
    stage_open(&s, NULL, &plan);
    stage_start(&s, &holds, "k", KP_OFF);
    answer_the_bell(&s);
    stage_start(&s, &late, "k", 10);
    late.request.done = give_back_on_timeout;
    to_give_back = &holds.lease;
    stage_start(&s, &waits, "k", KP_OFF);
    answer_the_bell(&s);
    kp_sim_pass_ms(s.sim, 10);
    (void)kp_loop_dispatch(s.loop); /* its time has come; by then the mail is read */
    assert_int_equal(late.status, KP_ETIMEDOUT);
    answer_the_bell(&s);
    assert_int_equal(waits.answers, 1);
    kp_release(&waits.lease);
    stage_close(&s);
}

static void one_event_that_serves_many_loops_must_ring_them_all(void **state)
{
    static const kp_limits many = { .max_live = LOOPS + 1, .max_creating = LOOPS };
    const kp_options plan = { .limits = one };
    kp_loop *loops[LOOPS], *own;
    struct ask holds, waits[LOOPS];
    struct stage s;

    (void)state;
    stage_open(&s, NULL, &plan);
    own = s.loop;
    stage_start(&s, &holds, "k", KP_OFF);
    answer_the_bell(&s);
    for (int i = 0; i < LOOPS; i++) {
        assert_int_equal(kp_loop_open(&loops[i]), 0);
        s.loop = loops[i];
        stage_start(&s, &waits[i], "k", KP_OFF);
        answer_the_bell(&s);
        assert_int_equal(waits[i].answers, 0);
    }
    assert_int_equal(kp_limits_set(s.pool, kp_str("k"), &many, NULL), 0);
    for (int i = 0; i < LOOPS; i++) {
        s.loop = loops[i];
        assert_true(stage_readable(&s));
        answer_the_bell(&s);
        assert_int_equal(waits[i].answers, 1);
        kp_release(&waits[i].lease);
        answer_the_bell(&s);
        assert_int_equal(kp_loop_close(s.loop), 0);
    }
    s.loop = own;
    kp_release(&holds.lease);
    stage_close(&s);
}

static void a_loop_that_sleeps_must_be_rung_when_something_is_due_sooner(void **state)
{
    const kp_options plan = { .limits = { .max_live = 2, .idle_ttl_ms = 100 } };
    struct stage s;
    kp_lease lease;
    struct ask a;

    (void)state;
    stage_open_alone(&s, NULL, &plan);
    stage_start(&s, &a, "k", KP_OFF);
    stage_pass(&s, 0);
    kp_release(&a.lease);
    stage_pass(&s, 99);
    assert_int_equal(kp_try_get(s.pool, kp_str("k"), &lease), 0);
    stage_pass(&s, 1); /* nothing but the leak report is due, in a minute */
    assert_in_range(kp_loop_dispatch(s.loop), 101, KP_MINUTES(10));
    kp_release(&lease);
    assert_true(stage_readable(&s));
    assert_int_equal(answer_the_bell(&s), 100);
    kp_sim_pass_ms(s.sim, 100);
    (void)kp_loop_dispatch(s.loop);
    assert_int_equal(stage_stats(&s).expired, 1);
    stage_close(&s);
}

static void the_permit_of_a_cancelled_request_must_serve_who_waits_already(void **state)
{
    const kp_options plan = { .limits = one };
    struct stage s;
    struct ask first, second;

    (void)state;
    stage_open(&s, NULL, &plan);
    stage_start(&s, &first, "k", KP_OFF); /* may create, and has not begun to */
    stage_start(&s, &second, "k", KP_OFF);
    kp_cancel(&first.request);
    answer_the_bell(&s);
    assert_int_equal(first.answers, 0);
    assert_int_equal(second.answers, 1);
    assert_int_equal(second.status, 0);
    kp_release(&second.lease);
    stage_close(&s);
}

static void what_is_invalidated_during_its_pending_check_must_not_be_lent(void **state)
{
    static const kp_line checks[] = { { .takes_ms = 30 }, { 0 } };
    const kp_script script = { .validate = checks };
    const kp_options plan = { .limits = { .max_live = 1, .validate_after_ms = KP_NONE } };
    struct stage s;
    struct ask a;

    (void)state;
    stage_open(&s, &script, &plan);
    stage_start(&s, &a, "k", 1000);
    stage_pass(&s, 0);
    kp_prop *first = a.lease.resource;
    kp_release(&a.lease);
    stage_start(&s, &a, "k", 1000);
    stage_pass(&s, 10);
    assert_int_equal(kp_invalidate(s.pool, first), 1);
    stage_pass(&s, 20);
    assert_int_equal(a.status, 0);
    assert_ptr_not_equal(a.lease.resource, first);
    kp_release(&a.lease);
    stage_close(&s);
}

static void cancel_after_the_answer_and_before_its_delivery_must_be_the_end(void **state)
{
    const kp_options plan = { .limits = one };
    struct stage s;
    struct ask holds, waits;

    (void)state;
    stage_open(&s, NULL, &plan);
    stage_start(&s, &holds, "k", KP_OFF);
    answer_the_bell(&s);
    stage_start(&s, &waits, "k", KP_OFF);
    kp_release(&holds.lease); /* it is answered, and has not heard of it */
    kp_cancel(&waits.request);
    answer_the_bell(&s);
    (void)kp_loop_dispatch(s.loop);
    assert_int_equal(waits.answers, 0);
    assert_int_equal(stage_stats(&s).idle, 1);
    assert_int_equal(stage_stats(&s).leases, 0);
    stage_close(&s);
}

struct getter {
    struct stage *stage;
    int rc;
};

static void get_k(void *arg)
{
    struct getter *g = arg;
    kp_lease lease;

    g->rc = kp_get(g->stage->pool, kp_str("k"), NULL, &lease);
}

static void what_a_get_without_memory_gives_back_must_ring_the_loop_that_gets_it(void **state)
{
    static const kp_limits wider = { .sharing = 3 };
    const kp_options plan = { .limits = { .max_live = 1, .sharing = 2 } };
    struct stage s;
    struct getter thread = { &s, 1 };
    struct ask holds, waits;

    (void)state;
    stage_open(&s, NULL, &plan);
    stage_start(&s, &holds, "k", KP_OFF);
    answer_the_bell(&s);
    assert_int_equal(kp_limits_set(s.pool, kp_str("k"), &wider, NULL), 0);
    assert_int_equal(kp_invalidate(s.pool, holds.lease.resource), 1);
    assert_true(kp_sim_spawn(s.sim, get_k, &thread) > 0);
    (void)kp_sim_settle(s.sim);
    stage_start(&s, &waits, "k", KP_OFF);
    answer_the_bell(&s);
    kp_sim_fail_alloc(s.sim, 1, false); /* the seats of three sharers */
    kp_release(&holds.lease);
    kp_sim_join(s.sim, 0);
    assert_int_equal(thread.rc, KP_ENOMEM);
    assert_true(stage_readable(&s));
    answer_the_bell(&s);
    assert_int_equal(waits.status, 0);
    kp_release(&waits.lease);
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_back_must_ring_a_sleeping_loop_each_time),
        cmocka_unit_test(what_comes_back_while_a_loop_dispatches_must_not_be_slept_over),
        cmocka_unit_test(one_event_that_serves_many_loops_must_ring_them_all),
        cmocka_unit_test(a_loop_that_sleeps_must_be_rung_when_something_is_due_sooner),
        cmocka_unit_test(the_permit_of_a_cancelled_request_must_serve_who_waits_already),
        cmocka_unit_test(what_is_invalidated_during_its_pending_check_must_not_be_lent),
        cmocka_unit_test(what_a_get_without_memory_gives_back_must_ring_the_loop_that_gets_it),
        cmocka_unit_test(cancel_after_the_answer_and_before_its_delivery_must_be_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
