/* SPDX-License-Identifier: MIT
 *
 * Request 10, ujeenet/rustango#1527, JasperFx/fisher#59, dashjoin/platform#325: a cache of 64
 * tenants is full, and tenant 65 gets an error for ever; or it is let in and the one it displaces
 * was just in use. Here the one that is idle the longest makes room, one that is lent never does,
 * and if all are lent, tenant 65 waits for the first that comes back.
 */
#include "contract/house.h"

enum { TENANTS = 64 };

static const char *tenant(int i)
{
    static char name[TENANTS][24];

    snprintf(name[i], sizeof name[i], "tenant-%d", i);
    return name[i];
}

static kp_options full_at_64(struct house *h)
{
    kp_options o = house_plan(h, 1, NULL, NULL);

    o.budget.max_live = TENANTS;
    return o;
}

static void it_must_take_the_place_of_the_one_idle_the_longest(void **state)
{
    struct house h;
    kp_options o = full_at_64(&h);

    (void)state;
    house_open(&h, &o);
    for (int i = 0; i < TENANTS; i++) {
        house_stock(&h, tenant(i), 1);
        house_pass(&h, 1);
    }
    kp_lease used = house_get(&h, tenant(0)); /* the oldest is in use, the next is used again */
    house_stock(&h, tenant(1), 1);
    for (int i = 0; i < 10; i++) {
        kp_lease lease = house_get_within(&h, "tenant-65", 1);
        house_release(&h, &lease);
    }
    HOUSE_IS(&h, house_stats(&h, NULL).evicted, 1);
    HOUSE_IS(&h, house_stats(&h, tenant(2)).live, 0);
    HOUSE_IS(&h, house_stats(&h, tenant(1)).idle, 1);
    HOUSE_IS(&h, ((const kp_prop *)used.resource)->alive, 1);
    house_release(&h, &used);
    house_close(&h);
}

static void it_must_wait_for_the_first_that_comes_back_where_all_are_in_use(void **state)
{
    struct visitor v = { 0 };
    struct house h;
    kp_lease lease[TENANTS];
    kp_options o = full_at_64(&h);

    (void)state;
    house_open(&h, &o);
    for (int i = 0; i < TENANTS; i++) lease[i] = house_get(&h, tenant(i));
    visitor_send(&h, &v, "tenant-65", KP_SECONDS(30));
    house_pass(&h, 100);
    HOUSE_HAS(&h, !v.answered);
    for (int i = 0; i < TENANTS; i++)
        HOUSE_IS(&h, ((const kp_prop *)lease[i].resource)->alive, 1);
    house_release(&h, &lease[7]);
    house_settle(&h);
    HOUSE_IS(&h, v.rc, 0);
    HOUSE_IS(&h, v.answered_ms, 100);
    house_release(&h, &v.lease);
    for (int i = 0; i < TENANTS; i++)
        if (i != 7) house_release(&h, &lease[i]);
    HOUSE_IS(&h, house_cast(&h).most_live, TENANTS);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_must_take_the_place_of_the_one_idle_the_longest),
        cmocka_unit_test(it_must_wait_for_the_first_that_comes_back_where_all_are_in_use),
    };
    return cmocka_run_group_tests_name("request 10", tests, NULL, NULL);
}
