/* SPDX-License-Identifier: MIT
 *
 * Event loops: a resource that is checked for a request while others come back.
 */
#include "loop.h"

/* The one that it was offered is found bad, and takes its time to go; but another is idle. */
static void who_was_offered_a_bad_one_must_have_the_idle_one_at_once(void **state)
{
    static const kp_line checks[] = { { .takes_ms = 10, .status = -1 }, { 0 } };
    static const kp_line destroys[] = { { .takes_ms = 1000 }, { 0 } };
    static const kp_script script = { .validate = checks, .destroy = destroys };
    const kp_options two = { .limits = { .max_live = 2, .validate_after_ms = KP_NONE } };
    struct stage s;
    struct ask first[2], a;

    (void)state;
    stage_open(&s, &script, &two);
    for (int i = 0; i < 2; i++) stage_start(&s, &first[i], "k", 1000);
    stage_pass(&s, 0);
    kp_release(&first[0].lease);
    stage_start(&s, &a, "k", KP_OFF);
    stage_pass(&s, 5);
    assert_int_equal(stage_stats(&s).idle, 0); /* it is being looked at */
    kp_release(&first[1].lease);
    stage_pass(&s, 20);
    assert_int_equal(a.status, 0);
    assert_int_equal(a.at_ms, 10);
    assert_int_equal(stage_stats(&s).closing, 1);
    kp_release(&a.lease);
    stage_pass(&s, 2000);
    assert_int_equal(stage_stats(&s).invalid, 1);
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_was_offered_a_bad_one_must_have_the_idle_one_at_once),
    };
    return cmocka_run_group_tests_name("checks for event loops", tests, NULL, NULL);
}
