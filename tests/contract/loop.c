/* SPDX-License-Identifier: MIT
 *
 * Event loops: a request that no thread waits for stands in the same queue as all others and is
 * answered once, from dispatch. It ends by its answer, its deadline, a cancel, or the close of the
 * loop or of the pool.
 */
#include "loop.h"

static const kp_options one = { .limits = { .max_live = 1, .retry_first_ms = KP_NONE } };

/* ---- the answer ------------------------------------------------------------------------------ */

static void done_must_run_from_dispatch_and_never_inside_start(void **state)
{
    struct stage s;
    struct ask a, b;

    (void)state;
    stage_open(&s, NULL, &one);
    stage_start(&s, &a, "k", 1000);
    assert_int_equal(s.done, 0);
    assert_true(stage_readable(&s));
    stage_pass(&s, 0);
    assert_int_equal(a.status, 0);
    assert_non_null(a.lease.resource);
    assert_false(stage_readable(&s));
    kp_release(&a.lease);
    stage_start(&s, &b, "k", 1000); /* a hit */
    assert_int_equal(b.answers, 0);
    stage_pass(&s, 0);
    assert_int_equal(b.status, 0);
    kp_release(&b.lease);
    assert_int_equal(stage_stats(&s).creates, 1);
    stage_close(&s);
}

static void requests_must_be_served_in_order_of_arrival(void **state)
{
    struct stage s;
    struct ask a[8];

    (void)state;
    stage_open(&s, NULL, &one);
    for (int i = 0; i < 8; i++) {
        stage_start(&s, &a[i], "k", 1000);
        a[i].number = i;
        a[i].give_back = true;
    }
    assert_int_equal(stage_stats(&s).waiting, 7);
    stage_pass(&s, 0);
    assert_int_equal(s.done, 8);
    for (int i = 0; i < 8; i++) assert_int_equal(s.order[i], i);
    assert_int_equal(stage_stats(&s).creates, 1);
    stage_close(&s);
}

struct thread {
    struct stage *s;
    int number;
    int status;
};

static void blocked(void *arg)
{
    struct thread *t = arg;
    kp_lease lease;

    t->status = kp_get(t->s->pool, kp_str("k"), KP_ASK(.within_ms = 1000), &lease);
    if (t->s->done < STAGE_MOST) t->s->order[t->s->done++] = t->number;
    kp_release(&lease);
}

static void threads_and_loops_must_stand_in_one_queue(void **state)
{
    struct stage s;
    struct ask a, c;
    struct thread b = { &s, 2, 1 }, d = { &s, 4, 1 };
    kp_lease first;

    (void)state;
    stage_open(&s, NULL, &one);
    assert_int_equal(kp_get(s.pool, kp_str("k"), NULL, &first), 0);
    stage_start(&s, &a, "k", 1000);
    a.number = 1;
    a.give_back = true;
    assert_true(kp_sim_spawn(s.sim, blocked, &b) > 0);
    (void)kp_sim_settle(s.sim);
    stage_start(&s, &c, "k", 1000);
    c.number = 3;
    c.give_back = true;
    assert_true(kp_sim_spawn(s.sim, blocked, &d) > 0);
    (void)kp_sim_settle(s.sim);
    assert_int_equal(stage_stats(&s).waiting, 4);
    kp_release(&first);
    stage_pass(&s, 10);
    kp_sim_join(s.sim, 0);
    assert_int_equal(s.done, 4);
    for (int i = 0; i < 4; i++) assert_int_equal(s.order[i], i + 1);
    stage_close(&s);
}

/* ---- the deadline ---------------------------------------------------------------------------- */

static void a_request_must_end_at_its_deadline_and_dispatch_must_say_when(void **state)
{
    struct stage s;
    struct ask a;
    kp_lease first;

    (void)state;
    stage_open(&s, NULL, &one);
    assert_int_equal(kp_get(s.pool, kp_str("k"), NULL, &first), 0);
    stage_start(&s, &a, "k", 300);
    assert_int_equal(kp_loop_dispatch(s.loop), 300);
    kp_sim_pass_ms(s.sim, 299);
    assert_int_equal(kp_loop_dispatch(s.loop), 1);
    assert_int_equal(a.answers, 0);
    kp_sim_pass_ms(s.sim, 1);
    assert_int_equal(kp_loop_dispatch(s.loop), -1);
    assert_int_equal(a.status, KP_ETIMEDOUT);
    assert_null(a.lease.resource);
    assert_string_equal(a.why.limit, "max_live");
    assert_int_equal(a.why.waited_ms, 300);
    assert_int_equal(stage_stats(&s).timeouts, 1);
    kp_release(&first);
    stage_close(&s);
}

/* As with the glue for libuv and libevent, which dispatches when it is told to, and not after each
 * callback of the program's. */
static void a_start_outside_dispatch_must_be_told_before_its_deadline(void **state)
{
    struct stage s;
    struct ask a, later, b;

    (void)state;
    stage_open(&s, NULL, &one);
    stage_start(&s, &a, "k", 1000);
    stage_pass(&s, 0);
    assert_int_equal(kp_loop_dispatch(s.loop), -1);
    stage_start(&s, &b, "k", 20);
    assert_true(stage_readable(&s)); /* it was to sleep for ever */
    assert_int_equal(kp_loop_dispatch(s.loop), 20);
    stage_start(&s, &later, "k", 500);
    assert_false(stage_readable(&s)); /* it is awake in time */
    stage_pass(&s, 20);
    assert_int_equal(b.status, KP_ETIMEDOUT);
    assert_int_equal(b.at_ms, 20);
    kp_release(&a.lease);
    stage_pass(&s, 0);
    kp_release(&later.lease);
    stage_close(&s);
}

static void a_grant_that_came_before_the_deadline_must_stand(void **state)
{
    struct stage s;
    struct ask a;
    kp_lease first;

    (void)state;
    stage_open(&s, NULL, &one);
    assert_int_equal(kp_get(s.pool, kp_str("k"), NULL, &first), 0);
    stage_start(&s, &a, "k", 300);
    kp_release(&first); /* granted now, told after the deadline */
    kp_sim_pass_ms(s.sim, 500);
    stage_pass(&s, 0);
    assert_int_equal(a.status, 0);
    kp_release(&a.lease);
    stage_close(&s);
}

static void a_failed_create_must_be_told_whole_and_the_next_must_create(void **state)
{
    static const kp_line fails[] = {
        { .status = -5, .vendor_code = 111, .text = "connection refused", .takes_ms = 20 }, { 0 }
    };
    const kp_script script = { .create = fails };
    struct stage s;
    struct ask a, b;

    (void)state;
    stage_open(&s, &script, &one);
    stage_start(&s, &a, "k", 1000);
    stage_start(&s, &b, "k", 1000);
    stage_pass(&s, 19);
    assert_int_equal(s.done, 0);
    stage_pass(&s, 1);
    assert_int_equal(a.status, KP_ECREATE);
    assert_int_equal(a.why.vendor_code, 111);
    assert_string_equal(a.why.text, "connection refused");
    assert_int_equal(b.status, 0);
    kp_release(&b.lease);
    stage_close(&s);
}

/* ---- what takes time ------------------------------------------------------------------------- */

static void a_pending_create_must_leave_its_request_to_whatever_is_ready_first(void **state)
{
    static const kp_line slow[] = { { 0, .times = 1 }, { .takes_ms = 100 }, { 0 } };
    const kp_script script = { .create = slow };
    const kp_options two = { .limits = { .max_live = 2 } };
    struct stage s;
    struct ask a, b;

    (void)state;
    stage_open(&s, &script, &two);
    stage_start(&s, &a, "k", 1000);
    stage_pass(&s, 0);
    stage_start(&s, &b, "k", 1000); /* creates, slowly */
    stage_pass(&s, 10);
    assert_int_equal(b.answers, 0);
    kp_release(&a.lease);
    stage_pass(&s, 0);
    assert_int_equal(b.status, 0);
    kp_release(&b.lease);
    stage_pass(&s, 100);
    assert_int_equal(stage_stats(&s).idle, 2);
    stage_close(&s);
}

static void a_pending_check_must_decide_before_the_lease_begins(void **state)
{
    static const kp_line checks[] = {
        { .takes_ms = 30, .status = -1 }, { .takes_ms = 30 }, { 0 }
    };
    const kp_script script = { .validate = checks };
    const kp_options plan = { .limits = { .max_live = 1, .validate_after_ms = KP_NONE } };
    struct stage s;
    struct ask a;

    (void)state;
    stage_open(&s, &script, &plan);
    stage_start(&s, &a, "k", 1000);
    stage_pass(&s, 0);
    kp_release(&a.lease);
    stage_start(&s, &a, "k", 1000); /* found bad after 30 ms: a new one */
    stage_pass(&s, 29);
    assert_int_equal(a.answers, 0);
    stage_pass(&s, 1);
    assert_int_equal(a.status, 0);
    assert_int_equal(stage_stats(&s).invalid, 1);
    assert_int_equal(stage_stats(&s).hits, 0);
    kp_release(&a.lease);
    stage_start(&s, &a, "k", 1000); /* found good */
    stage_pass(&s, 30);
    assert_int_equal(a.status, 0);
    assert_int_equal(stage_stats(&s).hits, 1);
    assert_int_equal(stage_stats(&s).creates, 2);
    kp_release(&a.lease);
    stage_close(&s);
}

static void a_check_beyond_the_deadline_must_end_the_request_and_keep_the_resource(void **state)
{
    static const kp_line checks[] = { { .takes_ms = 500 }, { 0 } };
    const kp_script script = { .validate = checks };
    const kp_options plan = { .limits = { .max_live = 1, .validate_after_ms = KP_NONE } };
    struct stage s;
    struct ask a;

    (void)state;
    stage_open(&s, &script, &plan);
    stage_start(&s, &a, "k", 1000);
    stage_pass(&s, 0);
    kp_release(&a.lease);
    stage_start(&s, &a, "k", 100);
    stage_pass(&s, 100);
    assert_int_equal(a.status, KP_ETIMEDOUT);
    assert_int_equal(a.at_ms, 100);
    assert_int_equal(stage_stats(&s).lent, 1);
    stage_pass(&s, 400);
    assert_int_equal(stage_stats(&s).idle, 1);
    stage_close(&s);
}

static void a_check_beyond_its_own_time_must_leave_the_request_waiting(void **state)
{
    static const kp_line checks[] = { { .takes_ms = 500 }, { 0 } };
    const kp_script script = { .validate = checks };
    const kp_options plan = { .limits = {
                                  .max_live = 2, .validate_after_ms = KP_NONE,
                                  .validate_timeout_ms = 50 } };
    struct stage s;
    struct ask a;

    (void)state;
    stage_open(&s, &script, &plan);
    stage_start(&s, &a, "k", 1000);
    stage_pass(&s, 0);
    kp_release(&a.lease);
    stage_start(&s, &a, "k", 1000);
    stage_pass(&s, 50);
    assert_int_equal(a.status, 0); /* another one was made */
    assert_int_equal(stage_stats(&s).creates, 2);
    kp_release(&a.lease);
    stage_pass(&s, 500);
    assert_int_equal(stage_stats(&s).idle, 2);
    stage_close(&s);
}

static void a_pending_reset_must_keep_the_resource_from_the_next_until_it_is_done(void **state)
{
    static const kp_line resets[] = { { .takes_ms = 40 }, { .takes_ms = 40, .status = -1 }, { 0 } };
    const kp_script script = { .reset = resets };
    struct stage s;
    struct ask a, b;

    (void)state;
    stage_open(&s, &script, &one);
    stage_start(&s, &a, "k", 1000);
    stage_pass(&s, 0);
    stage_start(&s, &b, "k", 1000);
    kp_release(&a.lease);
    stage_pass(&s, 39);
    assert_int_equal(b.answers, 0);
    stage_pass(&s, 1);
    assert_int_equal(b.status, 0);
    assert_int_equal(stage_stats(&s).creates, 1);
    stage_start(&s, &a, "k", 1000);
    kp_release(&b.lease); /* this one fails: the next gets a new resource */
    stage_pass(&s, 40);
    assert_int_equal(a.status, 0);
    assert_int_equal(stage_stats(&s).creates, 2);
    assert_int_equal(stage_stats(&s).invalid, 1);
    kp_release(&a.lease);
    stage_close(&s);
}

static void a_pending_end_of_a_victim_must_hand_its_place_to_the_request(void **state)
{
    static const kp_line slow[] = { { .takes_ms = 60 }, { 0 } };
    const kp_script script = { .destroy = slow };
    const kp_options plan = { .budget = { .max_live = 1 } };
    struct stage s;
    struct ask a, b;

    (void)state;
    stage_open(&s, &script, &plan);
    stage_start(&s, &a, "a", 1000);
    stage_pass(&s, 0);
    kp_release(&a.lease);
    stage_start(&s, &b, "b", 1000);
    stage_pass(&s, 59);
    assert_int_equal(b.answers, 0);
    assert_int_equal(stage_stats(&s).closing, 1);
    stage_pass(&s, 1);
    assert_int_equal(b.status, 0);
    assert_int_equal(stage_stats(&s).evicted, 1);
    assert_int_equal(kp_cast_read(s.cast).most_live, 1);
    kp_release(&b.lease);
    stage_close(&s);
}

/* ---- the loop is all there is ---------------------------------------------------------------- */

static void a_loop_must_be_the_keeper_of_the_pools_that_name_it(void **state)
{
    const kp_options plan = { .limits = { .max_live = 4, .idle_ttl_ms = 200 } };
    struct stage s;
    struct ask a;

    (void)state;
    stage_open_alone(&s, NULL, &plan);
    stage_start(&s, &a, "k", 1000);
    stage_pass(&s, 0);
    kp_release(&a.lease);
    assert_int_equal(kp_loop_dispatch(s.loop), 200);
    stage_pass(&s, 199);
    assert_int_equal(stage_stats(&s).idle, 1);
    stage_pass(&s, 1);
    assert_int_equal(stage_stats(&s).expired, 1);
    assert_int_equal(stage_stats(&s).live, 0);
    stage_close(&s);
}

static void keys_must_be_warmed_in_the_background_by_the_loop(void **state)
{
    static const kp_line slow[] = { { .takes_ms = 10, .times = KP_OFF } };
    const kp_script script = { .create = slow };
    const kp_options plan = { .limits = { .min_live = 3, .max_live = 4 } };
    struct stage s;
    const kp_key key = kp_str("k");

    (void)state;
    stage_open_alone(&s, &script, &plan);
    assert_int_equal(kp_warm(s.pool, &key, 1, NULL), 0);
    stage_pass(&s, 100);
    assert_int_equal(stage_stats(&s).idle, 3);
    stage_close(&s);
}

static void a_thread_must_get_what_the_loop_makes(void **state)
{
    static const kp_line slow[] = { { .takes_ms = 10 }, { 0 } };
    const kp_script script = { .create = slow, .reset = slow, .destroy = slow };
    struct stage s;
    struct thread t = { &s, 1, 1 };

    (void)state;
    stage_open_alone(&s, &script, &one);
    assert_true(kp_sim_spawn(s.sim, blocked, &t) > 0);
    stage_pass(&s, 100);
    kp_sim_join(s.sim, 0);
    assert_int_equal(t.status, 0);
    assert_int_equal(stage_stats(&s).idle, 1);
    assert_int_equal(kp_invalidate_key(s.pool, kp_str("k")), 1);
    stage_pass(&s, 10);
    assert_int_equal(stage_stats(&s).live, 0);
    stage_close(&s);
}

static void who_waits_for_its_own_create_must_be_told_so(void **state)
{
    static const kp_line lines[] = { { .times = 1 }, { .takes_ms = 1000 }, { 0 } };
    const kp_script script = { .create = lines };
    struct stage s;
    struct ask idle, fresh;

    (void)state;
    stage_open_alone(&s, &script, &(kp_options){ 0 });
    stage_start(&s, &idle, "k", 100);
    stage_pass(&s, 1);
    kp_release(&idle.lease);
    assert_int_equal(
        stage_start_with(&s, &fresh, "k", (kp_ask){ .within_ms = 50, .flags = KP_FRESH }), 0);
    stage_pass(&s, 60);
    assert_int_equal(fresh.status, KP_ETIMEDOUT);
    assert_string_equal(fresh.why.limit, "create");
    stage_pass(&s, 1000);
    stage_close(&s);
}

enum { LINKS = 100000 };

static void pass_it_on(kp_request *request, int status, kp_lease lease)
{
    struct ask *a = request->arg;
    static const char *bottom;
    char here = 0;

    assert_int_equal(status, 0);
    if (a->stage->done == 0) bottom = &here;
    assert_true(bottom - &here < 4096 && &here - bottom < 4096);
    kp_release(&lease); /* serves the other one, whose done comes after this one has returned */
    if (++a->stage->done < LINKS)
        assert_int_equal(kp_get_start(a->stage->pool, kp_str("k"), NULL, request), 0);
}

static void a_chain_of_a_hundred_thousand_must_not_grow_the_stack(void **state)
{
    struct stage s;
    struct ask a[3];

    (void)state;
    stage_open_alone(&s, NULL, &one);
    for (int i = 0; i < 3; i++) {
        stage_start(&s, &a[i], "k", 1000);
        a[i].request.done = pass_it_on;
    }
    while (s.done < LINKS) assert_true(kp_loop_dispatch(s.loop) >= 0);
    stage_pass(&s, 0);
    assert_int_equal(stage_stats(&s).gets, s.done);
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(done_must_run_from_dispatch_and_never_inside_start),
        cmocka_unit_test(requests_must_be_served_in_order_of_arrival),
        cmocka_unit_test(threads_and_loops_must_stand_in_one_queue),
        cmocka_unit_test(a_request_must_end_at_its_deadline_and_dispatch_must_say_when),
        cmocka_unit_test(a_start_outside_dispatch_must_be_told_before_its_deadline),
        cmocka_unit_test(a_grant_that_came_before_the_deadline_must_stand),
        cmocka_unit_test(a_failed_create_must_be_told_whole_and_the_next_must_create),
        cmocka_unit_test(a_pending_create_must_leave_its_request_to_whatever_is_ready_first),
        cmocka_unit_test(a_pending_check_must_decide_before_the_lease_begins),
        cmocka_unit_test(a_check_beyond_the_deadline_must_end_the_request_and_keep_the_resource),
        cmocka_unit_test(a_check_beyond_its_own_time_must_leave_the_request_waiting),
        cmocka_unit_test(a_pending_reset_must_keep_the_resource_from_the_next_until_it_is_done),
        cmocka_unit_test(a_pending_end_of_a_victim_must_hand_its_place_to_the_request),
        cmocka_unit_test(a_loop_must_be_the_keeper_of_the_pools_that_name_it),
        cmocka_unit_test(keys_must_be_warmed_in_the_background_by_the_loop),
        cmocka_unit_test(a_thread_must_get_what_the_loop_makes),
        cmocka_unit_test(who_waits_for_its_own_create_must_be_told_so),
        cmocka_unit_test(a_chain_of_a_hundred_thousand_must_not_grow_the_stack),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
