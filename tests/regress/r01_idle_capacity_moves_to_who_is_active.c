/* SPDX-License-Identifier: MIT
 *
 * Request 1, brettwooldridge/HikariCP#1718, #2083: one pool for the databases of many tenants, in
 * which idle connections move to the tenants that are active now. There each tenant has a pool of
 * its own, and what a sleeping one keeps idle is out of reach for the others, while the server's
 * limit counts it. Here keys draw from one budget: an idle one of a quiet key makes room at once,
 * one for one, and never one that is in use.
 */
#include "contract/house.h"

static void the_idle_ones_of_a_sleeping_tenant_must_make_room_at_once(void **state)
{
    struct house h;
    kp_lease lease[3];
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    o.budget.max_live = 4;
    house_open(&h, &o);
    house_stock(&h, "sleeps", 4);
    for (int i = 0; i < 3; i++) lease[i] = house_get_within(&h, "active", 1);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 0);
    HOUSE_IS(&h, house_stats(&h, "active").lent, 3);
    HOUSE_IS(&h, house_stats(&h, "sleeps").idle, 1); /* as many as were asked for, no more */
    HOUSE_IS(&h, house_stats(&h, NULL).evicted, 3);
    HOUSE_IS(&h, house_cast(&h).most_live, 4);
    for (int i = 0; i < 3; i++) house_release(&h, &lease[i]);
    house_close(&h);
}

static void tenants_in_turn_must_each_have_all_of_it(void **state)
{
    static const char *const tenant[] = { "t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7" };
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    o.budget.max_live = 10;
    house_open(&h, &o);
    for (int i = 0; i < 24; i++) house_stock(&h, tenant[i % 8], 10);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 0);
    HOUSE_IS(&h, house_stats(&h, NULL).waits, 0);
    HOUSE_IS(&h, house_cast(&h).most_live, 10);
    HOUSE_IS(&h, house_stats(&h, "t7").idle, 10);
    house_close(&h);
}

static void what_a_tenant_uses_must_not_be_taken_from_it(void **state)
{
    struct visitor v = { 0 };
    struct house h;
    kp_lease lease[2];
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    o.budget.max_live = 2;
    house_open(&h, &o);
    for (int i = 0; i < 2; i++) lease[i] = house_get(&h, "busy");
    visitor_send(&h, &v, "other", 1000);
    house_pass(&h, 500);
    HOUSE_HAS(&h, !v.answered && ((const kp_prop *)lease[0].resource)->alive);
    house_release(&h, &lease[0]); /* its room is the other's, as it has none */
    house_settle(&h);
    HOUSE_IS(&h, v.rc, 0);
    HOUSE_IS(&h, v.answered_ms, 500);
    HOUSE_IS(&h, house_stats(&h, "busy").live, 1);
    house_release(&h, &v.lease);
    house_release(&h, &lease[1]);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_idle_ones_of_a_sleeping_tenant_must_make_room_at_once),
        cmocka_unit_test(tenants_in_turn_must_each_have_all_of_it),
        cmocka_unit_test(what_a_tenant_uses_must_not_be_taken_from_it),
    };
    return cmocka_run_group_tests_name("request 1", tests, NULL, NULL);
}
