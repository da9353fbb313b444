/* SPDX-License-Identifier: MIT
 *
 * The data that a resource needs only while it is lent is kept apart, for as many as are lent at a
 * time (decisions/0023-errands.md): there is enough of it when all idle resources are borrowed at
 * the same moment, and it keeps nothing of the lease that it was for before.
 */
#include "house.h"

enum { KEYS = 200 };

static const char *name_of(int i)
{
    static char name[16];

    snprintf(name, sizeof name, "key %d", i);
    return name;
}

/* One idle for each key, made one after the other. */
static void stock_all(struct house *h)
{
    for (int i = 0; i < KEYS; i++) house_stock(h, name_of(i), 1);
}

static void all_that_is_idle_must_be_lent_at_once_without_memory(int32_t hits)
{
    static kp_lease lease[KEYS];
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, NULL);

    o.hits = hits;
    house_open(&h, &o);
    stock_all(&h);
    stock_all(&h); /* once more, so that their lanes open */
    kp_sim_fail_alloc(h.sim, 1, true);
    for (int i = 0; i < KEYS; i++) lease[i] = house_get(&h, name_of(i));
    HOUSE_IS(&h, house_stats(&h, NULL).lent, KEYS);
    for (int i = 0; i < KEYS; i++) house_release(&h, &lease[i]);
    kp_sim_fail_alloc(h.sim, 0, false);
    HOUSE_IS(&h, house_stats(&h, NULL).idle, KEYS);
    HOUSE_IS(&h, house_cast(&h).creates, KEYS);
    house_close(&h);
}

static void all_that_is_idle_must_be_lent_at_once_under_the_lock(void **state)
{
    (void)state;
    all_that_is_idle_must_be_lent_at_once_without_memory(KP_HITS_LOCKED);
}

static void all_that_is_idle_must_be_lent_at_once_without_the_lock(void **state)
{
    (void)state;
    all_that_is_idle_must_be_lent_at_once_without_memory(KP_HITS_QUICK);
}

/* A lease that was doomed and decided on ends; the next lease begins with none of that. */
static void a_lease_must_know_nothing_of_the_one_before_it(void **state)
{
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, NULL);
    kp_lease_about about;

    (void)state;
    house_open(&h, &o);
    kp_lease lease = house_get(&h, "a");
    kp_lease_reuse(&lease, false);
    HOUSE_IS(&h, kp_invalidate(h.pool, lease.resource), 1);
    house_release(&h, &lease);
    HOUSE_IS(&h, house_cast(&h).destroys, 1);
    lease = house_get(&h, "b");
    HOUSE_HAS(&h, kp_lease_read(&lease, &about));
    HOUSE_HAS(&h, !about.doomed && !about.reused);
    house_release(&h, &lease);
    HOUSE_IS(&h, house_stats(&h, "b").idle, 1);
    HOUSE_IS(&h, house_cast(&h).destroys, 1);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_is_idle_must_be_lent_at_once_under_the_lock),
        cmocka_unit_test(all_that_is_idle_must_be_lent_at_once_without_the_lock),
        cmocka_unit_test(a_lease_must_know_nothing_of_the_one_before_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
