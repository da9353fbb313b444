/* SPDX-License-Identifier: MIT
 *
 * Revoking with an event loop: driver.revoke runs there, a grant that is still in the mailbox is
 * not revoked, and with options.stack a loop's request has no stack.
 */
#include "loop.h"

static const kp_line at_once[] = { { .times = KP_OFF }, { 0 } };

static kp_options plan(void)
{
    return (kp_options){ .limits = { .max_live = 1, .revoke_after_ms = 1000 },
                         .leak_after_ms = KP_OFF };
}

static const kp_script script = { .revoke = at_once };

static void it_must_run_on_the_pools_own_loop_and_serve_who_waits_there(void **state)
{
    struct stage s;
    struct ask first, second;
    kp_options o = plan();

    (void)state;
    stage_open_alone(&s, &script, &o);
    stage_start(&s, &first, "k", 5000);
    stage_pass(&s, 0);
    assert_int_equal(first.status, 0);
    stage_start(&s, &second, "k", 5000);
    stage_pass(&s, 999);
    assert_int_equal(second.status, 1);
    stage_pass(&s, 1);
    assert_int_equal(second.status, 0);
    assert_int_equal(second.at_ms, 1000);
    assert_int_equal(stage_stats(&s).revoked, 1);
    kp_release(&first.lease);
    kp_release(&second.lease);
    stage_pass(&s, 0);
    assert_int_equal(stage_stats(&s).revoked, 0);
    assert_int_equal(stage_stats(&s).destroys, 1);
    stage_close(&s);
}

/* The loop does not dispatch: its borrower does not know of the lease yet, so it did not forget
 * it. */
static void what_its_borrower_has_not_heard_of_must_not_be_taken(void **state)
{
    struct stage s;
    struct ask a;
    kp_lease lease;
    kp_options o = plan();

    (void)state;
    stage_open(&s, &script, &o);
    assert_int_equal(kp_get(s.pool, kp_str("k"), NULL, &lease), 0);
    stage_start(&s, &a, "k", KP_SECONDS(60));
    kp_release(&lease); /* to the loop */
    assert_int_equal(stage_stats(&s).lent, 1);
    kp_sim_pass_ms(s.sim, 10000);
    assert_int_equal(stage_stats(&s).revokes, 0);
    stage_pass(&s, 0);
    assert_int_equal(a.status, 0);
    assert_int_equal(stage_stats(&s).revokes, 0);
    kp_sim_pass_ms(s.sim, 1000); /* it is looked at each second */
    assert_int_equal(stage_stats(&s).revokes, 1);
    kp_release(&a.lease);
    stage_pass(&s, 0);
    stage_close(&s);
}

/* Nor at the close; and a cancel after that gives it back as usual. */
static void nor_must_it_be_taken_at_the_close(void **state)
{
    struct stage s;
    struct ask a;
    kp_lease lease;
    kp_options o = plan();

    (void)state;
    stage_open(&s, &script, &o);
    assert_int_equal(kp_get(s.pool, kp_str("k"), NULL, &lease), 0);
    stage_start(&s, &a, "k", KP_SECONDS(60));
    kp_release(&lease);
    assert_int_equal(kp_pool_close(s.pool, KP_CLOSE_WAIT, KP_NONE), 1);
    assert_int_equal(kp_cast_read(s.cast).revokes, 0);
    kp_cancel(&a.request);
    stage_pass(&s, 0);
    assert_int_equal(kp_now_ns(s.pool), 0);
    assert_int_equal(kp_loop_close(s.loop), 0);
    kp_cast_close(s.cast);
    assert_int_equal(kp_sim_close(s.sim), 0);
}

/* The loop's thread has others to serve: its close does not wait, but ends what it can end. */
static void a_close_on_its_loop_must_revoke_only_if_there_is_no_time(void **state)
{
    struct stage s;
    struct ask a;
    kp_options o = plan();

    (void)state;
    stage_open_alone(&s, &script, &o);
    stage_start(&s, &a, "k", 5000);
    stage_pass(&s, 0);
    assert_int_equal(kp_pool_close(s.pool, KP_CLOSE_WAIT, 500), 1);
    assert_int_equal(kp_cast_read(s.cast).revokes, 0);
    assert_int_equal(kp_pool_close(s.pool, KP_CLOSE_WAIT, KP_NONE), 1);
    stage_pass(&s, 0);
    assert_int_equal(kp_cast_read(s.cast).revokes, 1);
    kp_release(&a.lease);
    stage_pass(&s, 0);
    assert_int_equal(kp_now_ns(s.pool), 0);
    assert_int_equal(kp_loop_close(s.loop), 0);
    kp_cast_close(s.cast);
    assert_int_equal(kp_sim_close(s.sim), 0);
}

static size_t told_frames, leaks;
static uint64_t told_thread;

static void listen(const kp_event *event, void *ctx)
{
    (void)ctx;
    if (event->kind != KP_EVENT_LEAK) return;
    leaks++;
    told_frames = event->stack_count;
    told_thread = event->thread;
}

static size_t somewhere(const void **frames, size_t most, void *ctx)
{
    (void)ctx;
    frames[0] = frames;
    return most > 0;
}

/* Its call stack would only lead to the loop; and the stack of an earlier get is not shown. */
static void a_loops_request_must_have_its_thread_and_no_stack(void **state)
{
    struct stage s;
    struct ask a;
    kp_lease lease;
    kp_options o = { .limits = { .max_live = 1 }, .leak_after_ms = 1000, .stack = somewhere,
                     .on_event = listen };

    (void)state;
    leaks = 0;
    stage_open(&s, NULL, &o);
    assert_int_equal(kp_get(s.pool, kp_str("k"), NULL, &lease), 0);
    stage_pass(&s, 1000);
    assert_int_equal(leaks, 1);
    assert_int_equal(told_frames, 1);
    kp_release(&lease);
    stage_start(&s, &a, "k", 5000);
    stage_pass(&s, 1000);
    assert_int_equal(leaks, 2);
    assert_int_equal(told_frames, 0);
    assert_int_not_equal(told_thread, 0);
    kp_release(&a.lease);
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_must_run_on_the_pools_own_loop_and_serve_who_waits_there),
        cmocka_unit_test(what_its_borrower_has_not_heard_of_must_not_be_taken),
        cmocka_unit_test(nor_must_it_be_taken_at_the_close),
        cmocka_unit_test(a_close_on_its_loop_must_revoke_only_if_there_is_no_time),
        cmocka_unit_test(a_loops_request_must_have_its_thread_and_no_stack),
    };
    return cmocka_run_group_tests_name("revoke, with a loop", tests, NULL, NULL);
}
