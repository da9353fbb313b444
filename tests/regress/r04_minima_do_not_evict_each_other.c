/* SPDX-License-Identifier: MIT
 *
 * Request 4, pgbouncer#577: several pools whose `min_pool_size` add up to more than the shared cap
 * evict each other for ever, each making up its own minimum. Here a minimum or a floor above a
 * budget is refused when the pool opens; and where only many keys together ask for too much, it is
 * told once, and nobody's minimum is ever evicted for another's.
 */
#include "contract/house.h"

static void a_minimum_above_the_cap_must_be_refused_at_open(void **state)
{
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    o.budget.max_live = 4;
    o.limits.min_live = 5;
    house_refuses(&h, &o, "limits.min_live");
    o.limits.min_live = 0;
    o.limits.floor = 5;
    house_refuses(&h, &o, "limits.floor");
    o.limits.floor = 3;
    o.budget.max_keys = 2;
    house_refuses(&h, &o, "limits.floor");
    house_leave(&h);
}

static kp_options minimum_of_two_each(struct house *h)
{
    kp_options o = house_plan(h, 1, NULL, NULL);

    o.budget.max_live = 4;
    o.limits.min_live = 2;
    o.limits.refill = KP_REFILL_EAGER;
    o.limits.max_age_ms = KP_OFF;
    o.forget_key_after_ms = KP_OFF;
    return o;
}

static void minima_that_fill_the_cap_must_be_left_alone_for_a_day(void **state)
{
    struct house h;
    kp_options o = minimum_of_two_each(&h);

    (void)state;
    house_open(&h, &o);
    house_stock(&h, "a", 1);
    house_stock(&h, "b", 1);
    house_pass(&h, KP_HOURS(24));
    HOUSE_IS(&h, house_stats(&h, "a").idle, 2);
    HOUSE_IS(&h, house_stats(&h, "b").idle, 2);
    HOUSE_IS(&h, house_cast(&h).creates, 4);
    HOUSE_IS(&h, house_cast(&h).destroys, 0);
    house_close(&h);
}

static void one_key_more_must_wait_and_set_off_no_evictions(void **state)
{
    struct house h;
    kp_options o = minimum_of_two_each(&h);

    (void)state;
    house_open(&h, &o);
    house_stock(&h, "a", 1);
    house_stock(&h, "b", 1);
    house_pass(&h, KP_SECONDS(1));
    HOUSE_IS(&h, house_fails(&h, "c", KP_SECONDS(5)), KP_ETIMEDOUT);
    assert_string_equal(h.why.limit, "budget.max_live");
    HOUSE_IS(&h, h.seen[KP_EVENT_MISUSE], 1); /* that all three cannot have their minimum */
    house_pass(&h, KP_HOURS(24));
    HOUSE_IS(&h, house_cast(&h).creates, 4);
    HOUSE_IS(&h, house_cast(&h).destroys, 0);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_minimum_above_the_cap_must_be_refused_at_open),
        cmocka_unit_test(minima_that_fill_the_cap_must_be_left_alone_for_a_day),
        cmocka_unit_test(one_key_more_must_wait_and_set_off_no_evictions),
    };
    return cmocka_run_group_tests_name("request 4", tests, NULL, NULL);
}
