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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_keys_must_not_take_the_only_place_from_each_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
