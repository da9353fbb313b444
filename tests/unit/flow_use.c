/* SPDX-License-Identifier: MIT
 *
 * Tests of src/flow/use.c: when the functions of a plan are called, and how often.
 */
#include "flow_stage.h"

struct attempt {
    kp_lease lease;
    int asked;
};

static int spoil(kp_lease *lease, void *arg)
{
    ((struct attempt *)arg)->lease = *lease;
    return -5;
}

/* It looks at the resource that fn had: that is still lent, and nobody else's. */
static bool look(int status, void *arg)
{
    struct attempt *a = arg;
    kp_lease_about about;

    a->asked++;
    assert_true(status != -5 || kp_lease_read(&a->lease, &about));
    return true;
}

static void whether_to_try_again_must_be_asked_once_and_while_the_resource_is_lent(void **state)
{
    struct stage s;
    struct attempt a = { .asked = 0 };
    kp_key other = kp_str("b");
    kp_plan plan = { .retry_if = look, .fallback = &other, .fallbacks = 1 };

    (void)state;
    stage_raise(&s);
    assert_int_equal(kp_use(s.pool, kp_str("a"), &plan, spoil, &a), -5);
    assert_int_equal(s.made, 2); /* each key had its attempt */
    assert_int_equal(a.asked, 2);
    stage_fall(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whether_to_try_again_must_be_asked_once_and_while_the_resource_is_lent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
