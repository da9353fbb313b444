/* SPDX-License-Identifier: MIT
 *
 * Request 16, vitess#17662 (PR #17675), POOL-240/303/310/356/424 of commons-pool, and apr_reslist,
 * which hangs for ever: somebody sleeps while a resource, or the room for one, is free, because the
 * wake-up went to one who could not use it. Here whatever frees something (a discard, a failed
 * create, a failed check, a raised limit) looks for the next who waits in the same step.
 */
#include "contract/house.h"

static const kp_line second_fails[] = { { .blocks_ms = 1 },
                                        { .blocks_ms = 5, .status = -1 },
                                        { 0 } };

static kp_options of_one(struct house *h, const kp_script *script)
{
    kp_options o = house_plan(h, 1, NULL, script);

    o.limits.max_live = 1;
    o.limits.retry_first_ms = KP_NONE;
    return o;
}

/* apr_reslist: limit 1, two wait, the holder invalidates, the create of the first fails. */
static void the_failed_create_of_one_must_wake_the_next(void **state)
{
    const kp_script script = { .create = second_fails };
    struct visitor first = { 0 }, second = { 0 };
    struct house h;
    kp_options o = of_one(&h, &script);

    (void)state;
    house_open(&h, &o);
    kp_lease lease = house_get(&h, "db");
    visitor_send(&h, &first, "db", KP_OFF);
    visitor_send(&h, &second, "db", KP_OFF);
    house_discard(&h, &lease);
    kp_sim_join(h.sim, 0);
    HOUSE_IS(&h, first.rc, KP_ECREATE);
    HOUSE_IS(&h, second.rc, 0);
    HOUSE_IS(&h, second.answered_ms, 6);
    house_release(&h, &second.lease);
    house_close(&h);
}

/* The same with the room of a budget, which belongs to no key. */
static void the_failed_create_of_one_key_must_wake_another(void **state)
{
    const kp_script script = { .create = second_fails };
    struct visitor first = { 0 }, second = { 0 };
    struct house h;
    kp_options o = of_one(&h, &script);

    (void)state;
    o.budget.max_live = 1;
    house_open(&h, &o);
    kp_lease lease = house_get(&h, "a");
    visitor_send(&h, &first, "b", KP_OFF);
    visitor_send(&h, &second, "c", KP_OFF);
    house_release(&h, &lease);
    kp_sim_join(h.sim, 0);
    HOUSE_IS(&h, first.rc, KP_ECREATE);
    HOUSE_IS(&h, second.rc, 0);
    HOUSE_IS(&h, second.answered_ms, 6);
    house_release(&h, &second.lease);
    house_close(&h);
}

/* What comes back is bad: whoever it was for makes another, or the next does. */
static void a_failed_check_must_not_leave_its_room_empty(void **state)
{
    static const kp_line bad[] = { { .status = -1, .times = KP_OFF }, { 0 } };
    const kp_script script = { .validate = bad };
    struct visitor v[3] = { { 0 } };
    struct house h;
    kp_options o = of_one(&h, &script);

    (void)state;
    o.limits.validate_after_ms = KP_NONE;
    house_open(&h, &o);
    kp_lease lease = house_get(&h, "db");
    for (int i = 0; i < 3; i++) {
        v[i].stay_ms = KP_NONE;
        visitor_send(&h, &v[i], "db", KP_OFF);
    }
    house_release(&h, &lease);
    kp_sim_join(h.sim, 0);
    for (int i = 0; i < 3; i++) HOUSE_IS(&h, v[i].answered_ms, 0);
    HOUSE_IS(&h, house_stats(&h, "db").gets, 4);
    house_close(&h);
}

static void a_raised_limit_must_wake_as_many_as_it_lets_in(void **state)
{
    const kp_limits three = { .max_live = 3 };
    struct visitor v[3] = { { 0 } };
    struct house h;
    kp_options o = of_one(&h, NULL);

    (void)state;
    house_open(&h, &o);
    kp_lease lease = house_get(&h, "db");
    for (int i = 0; i < 3; i++) visitor_send(&h, &v[i], "db", KP_OFF);
    assert_int_equal(kp_limits_set(h.pool, kp_str("db"), &three, NULL), 0);
    h.plan.limits = three;
    house_settle(&h);
    for (int i = 0; i < 3; i++) HOUSE_IS(&h, v[i].answered, i < 2);
    house_release(&h, &lease);
    house_settle(&h);
    for (int i = 0; i < 3; i++) {
        HOUSE_IS(&h, v[i].answered_ms, 0);
        house_release(&h, &v[i].lease);
    }
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_failed_create_of_one_must_wake_the_next),
        cmocka_unit_test(the_failed_create_of_one_key_must_wake_another),
        cmocka_unit_test(a_failed_check_must_not_leave_its_room_empty),
        cmocka_unit_test(a_raised_limit_must_wake_as_many_as_it_lets_in),
    };
    return cmocka_run_group_tests_name("request 16", tests, NULL, NULL);
}
