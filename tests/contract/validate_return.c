/* SPDX-License-Identifier: MIT
 *
 * Validation when a resource comes back (limits.validate_on with return), which has the time of any
 * validation: limits.validate_timeout_ms.
 */
#include "contract.h"

#include "keyedpool/loop.h"

#define A kp_str("a")

static struct seen {
    int64_t left_ms[2];
    uint64_t deadline[2]; /* since the job began */
    kp_job *pending, *cancelled;
} seen;
static bool pends;

static int validate(kp_job *job, void *resource)
{
    int again = seen.left_ms[0] > 0;

    (void)resource;
    seen.left_ms[again] = job->left_ms;
    seen.deadline[again] = job->deadline.ns - kp_now_ns(job->pool);
    if (!pends) return 0;
    seen.pending = job;
    return KP_PENDING;
}

static void cancel(kp_job *job)
{
    seen.cancelled = job;
}

static void begin(contract *c, bool resets)
{
    kp_driver driver;

    memset(&seen, 0, sizeof seen);
    contract_begin(c, NULL);
    c->options.limits.validate_on = KP_CHECK_RETURN;
    c->options.limits.validate_timeout_ms = 250;
    c->script.sim = c->sim;
    assert_int_equal(kp_cast_open(&c->script, &c->cast), 0);
    driver = kp_cast_driver(c->cast);
    if (!resets) driver.reset = NULL;
    driver.validate = validate;
    driver.cancel = cancel;
    driver.flags = KP_NEVER_BLOCKS;
    contract_open_driver(c, &driver);
}

static void the_driver_must_be_told_its_time(void **state)
{
    contract c;
    kp_lease lease;

    (void)state;
    pends = false;
    begin(&c, true);
    contract_take(&c, A, &lease);
    kp_release(&lease);
    assert_int_equal(seen.left_ms[0], 250);
    assert_int_equal(seen.deadline[0], 250000000);
    contract_end(&c);
}

/* Where nobody stands by: after a reset, and without one. */
static void a_loop_must_tell_the_driver_its_time(void **state)
{
    contract c;
    kp_lease lease;
    kp_loop *loop;

    (void)state;
    pends = false;
    for (int resets = 0; resets < 2; resets++) {
        begin(&c, resets);
        assert_int_equal(kp_loop_open(&loop), 0);
        contract_take(&c, A, &lease);
        (void)kp_loop_dispatch(loop); /* this thread is a loop's from now on */
        kp_release(&lease);
        assert_int_equal(seen.left_ms[0], 250);
        assert_int_equal(seen.deadline[0], 250000000);
        assert_int_equal(kp_loop_close(loop), 0);
        contract_end(&c);
    }
}

/* A late answer gives it back, as on a loop. */
static void who_gives_back_must_wait_no_longer(void **state)
{
    contract c;
    kp_lease lease;

    (void)state;
    pends = true;
    for (int status = 0; status >= -1; status--) {
        begin(&c, true);
        contract_take(&c, A, &lease);
        kp_release(&lease);
        assert_int_equal(kp_sim_now_ms(c.sim), 250);
        assert_ptr_equal(seen.cancelled, seen.pending);
        assert_int_equal(contract_stats(&c, A).lent, 1);
        kp_job_done(seen.pending, status, NULL);
        contract_check(&c);
        assert_int_equal(contract_stats(&c, A).lent, 0);
        assert_int_equal(contract_stats(&c, A).idle, status == 0);
        assert_int_equal(contract_stats(&c, A).invalid, status < 0);
        contract_end(&c);
    }
}

/* As above, with the loop of the thread that gives back, on which nobody stands by. */
static kp_loop *give_back_on_a_loop(contract *c, bool resets)
{
    kp_lease lease;
    kp_loop *loop;

    pends = true;
    begin(c, resets);
    assert_int_equal(kp_loop_open(&loop), 0);
    contract_take(c, A, &lease);
    (void)kp_loop_dispatch(loop);
    kp_release(&lease);
    assert_non_null(seen.pending);
    return loop;
}

static void a_loop_must_hurry_one_whose_time_is_over(void **state)
{
    contract c;

    (void)state;
    for (int resets = 0; resets < 2; resets++) {
        kp_loop *loop = give_back_on_a_loop(&c, resets);
        kp_sim_pass_ms(c.sim, 249);
        (void)kp_sim_settle(c.sim);
        assert_null(seen.cancelled);
        kp_sim_pass_ms(c.sim, 1);
        (void)kp_sim_settle(c.sim);
        assert_ptr_equal(seen.cancelled, seen.pending);
        kp_job_done(seen.pending, -1, NULL);
        contract_check(&c);
        assert_int_equal(contract_stats(&c, A).lent, 0);
        assert_int_equal(kp_loop_close(loop), 0);
        contract_end(&c);
    }
}

/* It is destroyed, whatever its validation would say; and the failure of a driver that was told to
 * end is none. But that its peer is gone, nobody told it to say. */
static void one_must_be_called_off_when_its_pool_closes(void **state)
{
    contract c;

    (void)state;
    for (int gone = 0; gone < 2; gone++) {
        kp_loop *loop = give_back_on_a_loop(&c, true);
        assert_int_equal(kp_pool_close(c.pool, KP_CLOSE_WAIT, 1000), 1);
        assert_ptr_equal(seen.cancelled, seen.pending);
        kp_job_done(seen.pending, gone ? KP_EGONE : -1, NULL);
        assert_int_equal(kp_cast_read(c.cast).destroys, 1);
        assert_int_equal(c.events[KP_EVENT_INVALID], gone);
        assert_int_equal(kp_loop_close(loop), 0);
        contract_end(&c);
    }
}

/* Answers within driver.cancel. */
static void ends_well(kp_job *job)
{
    seen.cancelled = job;
    kp_job_done(job, 0, NULL);
}

static int resets_later(kp_job *job, void *resource)
{
    (void)resource;
    seen.pending = job;
    return KP_PENDING;
}

/* The same for a reset; and no validation follows it, though it ended well. */
static void a_reset_must_be_called_off_when_its_pool_closes(void **state)
{
    contract c;
    kp_lease lease;
    kp_loop *loop;

    (void)state;
    begin(&c, true);
    (void)kp_pool_close(c.pool, KP_CLOSE_NOW, 0);
    c.options.driver.reset = resets_later;
    c.options.driver.cancel = ends_well;
    contract_open_driver(&c, &c.options.driver);
    assert_int_equal(kp_loop_open(&loop), 0);
    contract_take(&c, A, &lease);
    (void)kp_loop_dispatch(loop);
    kp_release(&lease);
    assert_non_null(seen.pending);
    assert_int_equal(kp_pool_close(c.pool, KP_CLOSE_NOW, 0), 0);
    assert_ptr_equal(seen.cancelled, seen.pending);
    assert_int_equal(seen.left_ms[0], 0);
    assert_int_equal(kp_cast_read(c.cast).destroys, 1);
    assert_int_equal(kp_loop_close(loop), 0);
    contract_end(&c);
}

/* The look is for a leak; the second one would be for the end of the validation's time. */
static void without_driver_cancel_nothing_must_be_due_for_one(void **state)
{
    contract c;
    kp_lease lease;
    kp_loop *loop;

    (void)state;
    pends = true;
    begin(&c, false);
    (void)kp_pool_close(c.pool, KP_CLOSE_NOW, 0);
    c.options.driver.cancel = NULL;
    c.options.leak_after_ms = 100;
    contract_open_driver(&c, &c.options.driver);
    assert_int_equal(kp_loop_open(&loop), 0);
    contract_take(&c, A, &lease);
    (void)kp_loop_dispatch(loop);
    kp_release(&lease);
    assert_non_null(seen.pending);
    kp_sim_pass_ms(c.sim, 100);
    (void)kp_sim_settle(c.sim);
    assert_int_equal(kp_keep(c.pool), -1);
    kp_job_done(seen.pending, -1, NULL);
    assert_int_equal(kp_loop_close(loop), 0);
    contract_end(&c);
}

/* At open that is refused, but limits that come later may ask for it. */
static void where_there_is_no_validate_what_comes_back_must_be_kept(void **state)
{
    const kp_limits later = { .validate_on = KP_CHECK_RETURN };
    contract c;
    kp_driver driver;
    kp_lease lease;

    (void)state;
    contract_begin(&c, NULL);
    c.script.sim = c.sim;
    assert_int_equal(kp_cast_open(&c.script, &c.cast), 0);
    driver = kp_cast_driver(c.cast);
    driver.validate = NULL;
    contract_open_driver(&c, &driver);
    assert_int_equal(kp_limits_set(c.pool, KP_EVERY_KEY, &later, NULL), 0);
    (void)contract_take(&c, A, &lease);
    contract_give(&c, &lease);
    assert_int_equal(contract_stats(&c, A).idle, 1);
    contract_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_driver_must_be_told_its_time),
        cmocka_unit_test(a_loop_must_tell_the_driver_its_time),
        cmocka_unit_test(who_gives_back_must_wait_no_longer),
        cmocka_unit_test(a_loop_must_hurry_one_whose_time_is_over),
        cmocka_unit_test(one_must_be_called_off_when_its_pool_closes),
        cmocka_unit_test(a_reset_must_be_called_off_when_its_pool_closes),
        cmocka_unit_test(without_driver_cancel_nothing_must_be_due_for_one),
        cmocka_unit_test(where_there_is_no_validate_what_comes_back_must_be_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
