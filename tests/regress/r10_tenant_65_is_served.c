/* SPDX-License-Identifier: MIT
 *
 * Request 10, ujeenet/rustango#1527, JasperFx/fisher#59, dashjoin/platform#325: a cache of 64
 * tenants is full, and tenant 65 gets an error for ever; or it is let in and the one it displaces
 * was just in use. Here the one that is idle the longest makes room, one that is lent never does,
 * and if all are lent, tenant 65 waits for the first that comes back. Where the number of tenants
 * itself is limited (`budget.max_keys`), the one that nobody has used for the longest time is
 * forgotten for it, however young it is, if it has nothing and nothing is to be kept for it.
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

/* ---- a full table ---------------------------------------------------------------------------- */

/* All have been used, 1 ms each, and have nothing any more: they are unused, and young. */
static void fill_the_table(struct house *h, kp_options *o)
{
    o->budget.max_live = 0;
    o->budget.max_keys = TENANTS;
    o->limits.on_return = KP_DESTROY;
    house_open(h, o);
    for (int i = 0; i < TENANTS; i++) {
        house_stock(h, tenant(i), 1);
        house_pass(h, 1);
    }
    HOUSE_IS(h, house_stats(h, NULL).keys, TENANTS);
    HOUSE_IS(h, house_stats(h, NULL).live, 0);
}

static bool is_known(struct house *h, const char *key)
{
    kp_stats s;

    return kp_stats_read(h->pool, kp_str(key), &s) == 0;
}

static void the_tenant_unused_the_longest_must_be_forgotten_for_it(void **state)
{
    struct house h;
    kp_options o = full_at_64(&h);

    (void)state;
    fill_the_table(&h, &o);
    house_stock(&h, tenant(0), 1); /* used again: the oldest is tenant 1 now */
    kp_lease lease = house_get_within(&h, "tenant-65", 1);
    HOUSE_IS(&h, h.seen[KP_EVENT_KEY_FORGOTTEN], 1);
    HOUSE_IS(&h, house_stats(&h, NULL).keys, TENANTS);
    HOUSE_HAS(&h, !is_known(&h, tenant(1)));
    HOUSE_HAS(&h, is_known(&h, tenant(0)) && is_known(&h, tenant(2)));
    house_release(&h, &lease);
    for (int i = 0; i < 3 * TENANTS; i++) { /* and so on, for ever */
        char name[40];
        snprintf(name, sizeof name, "a name of more than 24 bytes %d", i);
        lease = house_get_within(&h, name, 1);
        house_release(&h, &lease);
    }
    HOUSE_IS(&h, house_stats(&h, NULL).keys, TENANTS);
    HOUSE_IS(&h, house_stats(&h, NULL).keys_forgotten, 1 + 3 * TENANTS);
    HOUSE_IS(&h, h.seen[KP_EVENT_KEY_FORGOTTEN], 1 + 3 * TENANTS);
    house_close(&h);
}

/* One that has something, or is to have it, or is wanted, stays; if all do, there is no room. */
static void one_that_has_something_to_keep_must_stay(void **state)
{
    const kp_limits minimum = { .min_live = 1 }, floored = { .floor = 1 };
    const kp_limits paused = { .max_lent = KP_NONE }, nothing = { .floor = KP_NONE };
    struct visitor v = { .stay_ms = KP_NONE };
    struct house h;
    kp_key pinned;
    kp_options o = full_at_64(&h);

    (void)state;
    fill_the_table(&h, &o);
    h.waits_by_choice = true;
    kp_lease lent = house_get(&h, tenant(0));
    HOUSE_IS(&h, kp_pin(h.pool, kp_str(tenant(1)), &pinned), 0);
    HOUSE_IS(&h, kp_limits_set(h.pool, kp_str(tenant(2)), &minimum, NULL), 0);
    HOUSE_IS(&h, kp_limits_set(h.pool, kp_str(tenant(3)), &floored, NULL), 0);
    HOUSE_IS(&h, kp_limits_set(h.pool, kp_str(tenant(4)), &paused, NULL), 0);
    visitor_send(&h, &v, tenant(4), KP_SECONDS(30));
    for (int i = 5; i < TENANTS; i++) {
        kp_lease lease = house_get(&h, tenant(i));
        kp_lease_reuse(&lease, true);
        house_release(&h, &lease); /* idle */
    }
    HOUSE_IS(&h, house_fails(&h, "tenant-65", 1), KP_EFULL);
    assert_string_equal(h.why.limit, "budget.max_keys");
    HOUSE_IS(&h, house_stats(&h, NULL).keys, TENANTS);
    HOUSE_IS(&h, kp_limits_set(h.pool, kp_str(tenant(3)), &nothing, NULL), 0);
    house_stock(&h, "tenant-65", 1); /* now there is one */
    HOUSE_HAS(&h, !is_known(&h, tenant(3)));
    house_stock(&h, "tenant-66", 1); /* and it is the next to go */
    HOUSE_HAS(&h, !is_known(&h, "tenant-65"));
    kp_unpin(h.pool, &pinned);
    HOUSE_IS(&h, kp_limits_set(h.pool, kp_str(tenant(4)),
                               &(kp_limits){ .max_lent = KP_UNLIMITED }, NULL), 0);
    visitor_end(&v);
    HOUSE_IS(&h, v.rc, 0);
    house_release(&h, &lent);
    house_close(&h);
}

static void where_nothing_is_ever_forgotten_a_full_table_must_say_so(void **state)
{
    struct house h;
    kp_options o = full_at_64(&h);

    (void)state;
    o.forget_key_after_ms = KP_OFF;
    fill_the_table(&h, &o);
    HOUSE_IS(&h, house_fails(&h, "tenant-65", 1), KP_EFULL);
    house_close(&h);
}

/* A table that was made smaller holds for who is new: as many go as must. */
static void a_smaller_table_must_be_reached_with_the_next_tenant(void **state)
{
    const kp_budget less = { .max_keys = 3 };
    struct house h;
    kp_options o = full_at_64(&h);

    (void)state;
    fill_the_table(&h, &o);
    HOUSE_IS(&h, kp_budget_set(h.pool, &less, NULL), 0);
    HOUSE_IS(&h, house_stats(&h, NULL).keys, TENANTS);
    house_stock(&h, tenant(7), 1); /* who is known stays */
    HOUSE_IS(&h, house_stats(&h, NULL).keys, TENANTS);
    house_stock(&h, "tenant-65", 1);
    HOUSE_IS(&h, house_stats(&h, NULL).keys, 3);
    HOUSE_HAS(&h, is_known(&h, tenant(7)) && is_known(&h, tenant(63)));
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_must_take_the_place_of_the_one_idle_the_longest),
        cmocka_unit_test(it_must_wait_for_the_first_that_comes_back_where_all_are_in_use),
        cmocka_unit_test(the_tenant_unused_the_longest_must_be_forgotten_for_it),
        cmocka_unit_test(one_that_has_something_to_keep_must_stay),
        cmocka_unit_test(where_nothing_is_ever_forgotten_a_full_table_must_say_so),
        cmocka_unit_test(a_smaller_table_must_be_reached_with_the_next_tenant),
    };
    return cmocka_run_group_tests_name("request 10", tests, NULL, NULL);
}
