/* SPDX-License-Identifier: MIT
 *
 * What was made for a request goes to its key, whoever waits in other keys: its turn was when the
 * creation began.
 */
#include "loop.h"

/* With LIFO a key stands behind the others as soon as one of its requests had its turn. If that
 * counted against what was made in this turn, two keys would destroy it for each other for ever. */
static void two_keys_must_not_take_the_only_place_from_each_other(void **state)
{
    static const kp_line slowly[] = { { .takes_ms = 100, .times = KP_OFF }, { 0 } };
    const kp_script slow = { .create = slowly };
    const kp_options plan = { .limits = { .max_live = 2, .wait_order = KP_LIFO },
                              .budget = { .max_live = 1, .across = KP_ACROSS_ARRIVAL } };
    struct stage s;
    struct ask a, b;

    (void)state;
    stage_open_alone(&s, &slow, &plan);
    stage_start(&s, &a, "a", 5000);
    stage_start(&s, &b, "b", 5000);
    stage_pass(&s, 100);
    assert_int_equal(a.status, 0);
    assert_int_equal(b.status, 1);
    kp_release(&a.lease);
    stage_pass(&s, 100);
    assert_int_equal(b.status, 0);
    assert_int_equal(stage_stats(&s).creates, 2);
    assert_int_equal(stage_stats(&s).evicted, 1); /* it had been lent */
    kp_release(&b.lease);
    stage_close(&s);
}

/* Both keys always have a request that waits, and none that waits as long as a creation takes. */
static void what_was_made_for_a_request_that_has_gone_must_go_to_its_key(void **state)
{
    static const kp_line slowly[] = { { .takes_ms = 300, .times = KP_OFF }, { 0 } };
    const kp_script slow = { .create = slowly };
    const kp_options plan = { .limits = { .max_live = 2 },
                              .budget = { .max_live = 1, .across = KP_ACROSS_ARRIVAL } };
    struct stage s;
    struct ask a, b;

    (void)state;
    stage_open_alone(&s, &slow, &plan);
    stage_start(&s, &a, "a", 200);
    stage_start(&s, &b, "b", 250);
    stage_pass(&s, 250);
    assert_int_equal(a.status, KP_ETIMEDOUT);
    assert_int_equal(b.status, KP_ETIMEDOUT);
    stage_start(&s, &b, "b", 200);
    stage_start(&s, &a, "a", 200);
    stage_pass(&s, 50);
    assert_int_equal(a.status, 0);
    assert_int_equal(b.status, 1);
    kp_release(&a.lease);
    stage_pass(&s, 300);
    assert_int_equal(b.status, KP_ETIMEDOUT);
    assert_int_equal(stage_stats(&s).evicted, 1); /* it had been lent */
    assert_int_equal(stage_stats(&s).idle, 1);
    stage_close(&s);
}

/* It may not be idle for a moment: if it did not go to the next request, it was made in vain. */
static void it_must_go_there_even_if_the_key_keeps_nothing(void **state)
{
    static const kp_line slowly[] = { { .takes_ms = 300, .times = KP_OFF }, { 0 } };
    const kp_script slow = { .create = slowly };
    const kp_options plan = { .limits = { .max_live = 1, .idle_ttl_ms = KP_NONE } };
    struct stage s;
    struct ask a;

    (void)state;
    stage_open_alone(&s, &slow, &plan);
    stage_start(&s, &a, "a", 200);
    stage_pass(&s, 200);
    assert_int_equal(a.status, KP_ETIMEDOUT);
    stage_start(&s, &a, "a", 200);
    stage_pass(&s, 100);
    assert_int_equal(a.status, 0);
    assert_int_equal(stage_stats(&s).creates, 1);
    kp_release(&a.lease);
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_keys_must_not_take_the_only_place_from_each_other),
        cmocka_unit_test(what_was_made_for_a_request_that_has_gone_must_go_to_its_key),
        cmocka_unit_test(it_must_go_there_even_if_the_key_keeps_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
