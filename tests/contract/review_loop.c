/* SPDX-License-Identifier: MIT
 *
 * What a hostile look at event loops found: each test is the smallest run in which something was
 * lost, lent unchecked, or used after its end.
 */
#include <pthread.h>

#include "loop.h"

static KP_MAYBE_UNUSED const kp_options one = { .limits = { .max_live = 1, .retry_first_ms = KP_NONE } };

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_waits_again_after_a_failed_check_must_not_wait_for_the_bad_ones_end),
        cmocka_unit_test(who_waits_again_after_a_failed_check_must_take_what_is_idle),
        cmocka_unit_test(a_probe_that_was_cancelled_before_it_began_must_not_keep_the_circuit_open),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
