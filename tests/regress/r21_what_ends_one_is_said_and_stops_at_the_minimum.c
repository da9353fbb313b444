/* SPDX-License-Identifier: MIT
 *
 * Request 21, bb8#123, r2d2#127, #48, HikariCP#657, #1128: which of `min_idle`, `idle_timeout` and
 * `max_lifetime` wins? There a pool may close and open its minimum all night. Here `respects_min`
 * says which kinds of expiry stop at the minimum (that of idleness does, that of age does not), and
 * each end is told with its cause, and counted under it.
 */
#include "contract/house.h"

static kp_options minimum_of_two(struct house *h)
{
    kp_options o = house_plan(h, 1, NULL, NULL);

    o.limits.min_live = 2;
    o.limits.refill = KP_REFILL_EAGER;
    o.limits.idle_ttl_ms = KP_MINUTES(1);
    o.limits.max_age_ms = KP_OFF;
    return o;
}

static void idleness_must_end_what_is_above_the_minimum_and_no_more(void **state)
{
    struct house h;
    kp_options o = minimum_of_two(&h);

    (void)state;
    o.forget_key_after_ms = KP_OFF;
    house_open(&h, &o);
    house_stock(&h, "db", 5);
    house_pass(&h, KP_HOURS(12));
    HOUSE_IS(&h, house_stats(&h, "db").idle, 2);
    HOUSE_IS(&h, house_cast(&h).creates, 5);
    HOUSE_IS(&h, house_stats(&h, "db").expired, 3);
    HOUSE_IS(&h, h.causes.count[KP_CAUSE_IDLE], 3);
    house_close(&h);
}

static void age_must_end_the_minimum_too_and_have_it_made_again(void **state)
{
    struct house h;
    kp_options o = minimum_of_two(&h);

    (void)state;
    o.forget_key_after_ms = KP_OFF;
    o.limits.max_age_ms = KP_MINUTES(30);
    o.limits.age_spread_pct = KP_NONE;
    house_open(&h, &o);
    house_stock(&h, "db", 2);
    house_pass(&h, KP_MINUTES(29));
    HOUSE_IS(&h, house_cast(&h).creates, 2);
    house_pass(&h, KP_MINUTES(2));
    HOUSE_IS(&h, house_stats(&h, "db").idle, 2);
    HOUSE_IS(&h, house_cast(&h).creates, 4);
    HOUSE_IS(&h, house_stats(&h, "db").expired, 2);
    HOUSE_IS(&h, h.causes.count[KP_CAUSE_AGE], 2);
    house_close(&h);
}

static void idleness_must_end_the_minimum_where_it_was_told_to(void **state)
{
    struct house h;
    kp_options o = minimum_of_two(&h);

    (void)state;
    o.limits.refill = KP_REFILL_LAZY;
    o.limits.respects_min = KP_KIND_NONE;
    house_open(&h, &o);
    house_stock(&h, "db", 5);
    house_pass(&h, KP_MINUTES(2));
    HOUSE_IS(&h, house_stats(&h, "db").live, 0);
    house_close(&h);
}

/* Where both have come, the one that came first has ended it. */
static void which_of_two_came_first_must_be_said(void **state)
{
    struct house h;

    (void)state;
    for (int idle_first = 0; idle_first < 2; idle_first++) {
        kp_options o = minimum_of_two(&h);
        o.limits.min_live = 0;
        o.limits.idle_ttl_ms = idle_first ? KP_MINUTES(2) : KP_MINUTES(4);
        o.limits.max_age_ms = KP_MINUTES(3);
        o.limits.age_spread_pct = KP_NONE;
        o.limits.idle_check = o.limits.age_check = KP_CHECK_GET; /* so that both are over */
        house_open(&h, &o);
        house_stock(&h, "db", 1);
        house_pass(&h, KP_MINUTES(5));
        kp_lease lease = house_get(&h, "db"); /* a new one */
        HOUSE_IS(&h, h.causes.last, idle_first ? KP_CAUSE_IDLE : KP_CAUSE_AGE);
        house_release(&h, &lease);
        house_close(&h);
    }
}

static void each_end_must_be_told_and_counted_under_its_cause(void **state)
{
    struct house h;
    kp_options o = minimum_of_two(&h);

    (void)state;
    o.limits.min_live = 0;
    o.budget.max_live = 4;
    house_open(&h, &o);
    house_stock(&h, "a", 4);
    kp_lease other = house_get(&h, "b");
    kp_lease lease = house_get(&h, "a");
    house_discard(&h, &lease);
    house_pass(&h, KP_MINUTES(2));
    kp_stats s = house_stats(&h, NULL);
    HOUSE_IS(&h, s.evicted, 1);
    HOUSE_IS(&h, s.invalidated, 1);
    HOUSE_IS(&h, s.expired, 2);
    HOUSE_IS(&h, s.destroys, 4);
    HOUSE_IS(&h, h.causes.count[KP_CAUSE_EVICTED], 1);
    HOUSE_IS(&h, h.causes.count[KP_CAUSE_DISCARDED], 1);
    HOUSE_IS(&h, h.causes.count[KP_CAUSE_IDLE], 2);
    house_release(&h, &other);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idleness_must_end_what_is_above_the_minimum_and_no_more),
        cmocka_unit_test(age_must_end_the_minimum_too_and_have_it_made_again),
        cmocka_unit_test(idleness_must_end_the_minimum_where_it_was_told_to),
        cmocka_unit_test(which_of_two_came_first_must_be_said),
        cmocka_unit_test(each_end_must_be_told_and_counted_under_its_cause),
    };
    return cmocka_run_group_tests_name("request 21", tests, NULL, NULL);
}
