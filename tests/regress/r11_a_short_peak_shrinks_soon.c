/* SPDX-License-Identifier: MIT
 *
 * Request 11, ebean-datasource#97: 6 servers with 2 pools for each of 130 tenants keep 1,560 idle
 * connections, and a short peak at 8 o'clock takes hours to shrink, because the little traffic
 * after it goes round all of them. Here the one returned last is lent first, so the others are idle
 * and end at `idle_ttl_ms`, traffic or not; and `budget.max_idle` bounds what all tenants together
 * keep, from the first release on.
 */
#include "contract/house.h"

enum { TENANTS = 10, PEAK = 10 };

static const char *const tenant[TENANTS] = { "t0", "t1", "t2", "t3", "t4",
                                             "t5", "t6", "t7", "t8", "t9" };

static void eight_o_clock(struct house *h)
{
    for (int i = 0; i < TENANTS; i++) house_stock(h, tenant[i], PEAK);
}

static void traffic_after_a_peak_must_keep_alive_only_what_it_uses(void **state)
{
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    o.limits.idle_ttl_ms = KP_MINUTES(10);
    house_open(&h, &o);
    eight_o_clock(&h);
    HOUSE_IS(&h, house_stats(&h, NULL).idle, TENANTS * PEAK);
    for (int s = 0; s < 10 * 60; s++) {
        for (int i = 0; i < TENANTS; i++) house_stock(&h, tenant[i], 1);
        house_pass(&h, KP_SECONDS(1));
    }
    HOUSE_IS(&h, house_stats(&h, NULL).idle, TENANTS); /* ten minutes, not hours */
    HOUSE_IS(&h, house_stats(&h, NULL).expired, TENANTS * (PEAK - 1));
    HOUSE_IS(&h, house_cast(&h).creates, TENANTS * PEAK);
    house_close(&h);
}

static void all_tenants_together_must_keep_no_more_idle_than_they_may(void **state)
{
    struct house h;
    kp_lease lease[TENANTS];
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    o.budget.max_idle = 20;
    house_open(&h, &o);
    eight_o_clock(&h); /* the house asserts the bound at each step */
    HOUSE_IS(&h, house_stats(&h, NULL).idle, 20);
    for (int i = 0; i < TENANTS; i++) lease[i] = house_get(&h, tenant[i]);
    for (int i = 0; i < TENANTS; i++) house_release(&h, &lease[i]);
    HOUSE_IS(&h, house_stats(&h, NULL).idle, 20);
    HOUSE_IS(&h, house_stats(&h, NULL).lent, 0);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(traffic_after_a_peak_must_keep_alive_only_what_it_uses),
        cmocka_unit_test(all_tenants_together_must_keep_no_more_idle_than_they_may),
    };
    return cmocka_run_group_tests_name("request 11", tests, NULL, NULL);
}
