/* SPDX-License-Identifier: MIT
 *
 * Request 39, Vincit/tarn#55, epgsql/pooler#38, pgbouncer PRs #707, #709,
 * mperham/connection_pool#20: limits that change at run time, per user, and the surplus goes. Here
 * kp_limits_set does so for one key or for all, kp_budget_set for what they share: who waits is
 * served at once where it gives room; what is idle and too much ends at once, what is lent when it
 * comes back; nothing is taken from a borrower; and what contradicts itself is refused whole.
 */
#include "contract/house.h"

static void set(struct house *h, const char *key, kp_limits limits)
{
    assert_int_equal(kp_limits_set(h->pool, key ? kp_str(key) : KP_EVERY_KEY, &limits, NULL), 0);
}

static void a_raised_limit_must_serve_who_waits_at_once(void **state)
{
    struct visitor v[4] = { { 0 } };
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    o.limits.max_live = 1;
    o.limits.max_creating = KP_UNLIMITED;
    house_open(&h, &o);
    kp_lease lease = house_get(&h, "user");
    kp_lease other = house_get(&h, "other");
    for (int i = 0; i < 4; i++) visitor_send(&h, &v[i], "user", KP_SECONDS(30));
    set(&h, "user", (kp_limits){ .max_live = 4 });
    h.plan.limits.max_live = 4;
    house_settle(&h);
    for (int i = 0; i < 4; i++) HOUSE_IS(&h, v[i].answered, i < 3);
    house_release(&h, &lease);
    house_settle(&h);
    for (int i = 0; i < 4; i++) {
        HOUSE_IS(&h, v[i].answered_ms, 0);
        house_release(&h, &v[i].lease);
    }
    HOUSE_IS(&h, house_fails(&h, "other", 10), KP_ETIMEDOUT); /* of this key, nothing changed */
    house_release(&h, &other);
    house_close(&h);
}

static void a_lowered_limit_must_retire_the_surplus_and_take_nothing_away(void **state)
{
    struct house h;
    kp_lease lease[4];
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    house_open(&h, &o);
    house_stock(&h, "user", 8);
    house_stock(&h, "other", 8);
    for (int i = 0; i < 4; i++) lease[i] = house_get(&h, "user");
    set(&h, "user", (kp_limits){ .max_live = 2 });
    HOUSE_IS(&h, house_stats(&h, "user").live, 4); /* the idle ones are gone */
    for (int i = 0; i < 4; i++) {
        HOUSE_IS(&h, ((const kp_prop *)lease[i].resource)->alive, 1);
        house_release(&h, &lease[i]);
    }
    HOUSE_IS(&h, house_stats(&h, "user").idle, 2);
    HOUSE_IS(&h, house_stats(&h, "other").idle, 8);
    HOUSE_IS(&h, house_cast(&h).destroys, 6);
    house_close(&h);
}

static void for_all_keys_it_must_reach_those_to_come(void **state)
{
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    house_open(&h, &o);
    house_stock(&h, "a", 5);
    house_stock(&h, "b", 5);
    set(&h, NULL, (kp_limits){ .max_live = 3 });
    HOUSE_IS(&h, house_stats(&h, NULL).idle, 6);
    kp_lease lease[3];
    for (int i = 0; i < 3; i++) lease[i] = house_get(&h, "c");
    HOUSE_IS(&h, house_fails(&h, "c", 10), KP_ETIMEDOUT);
    for (int i = 0; i < 3; i++) house_release(&h, &lease[i]);
    house_close(&h);
}

/* All users together: the budget changes in the same way. */
static void what_all_keys_share_must_change_too(void **state)
{
    struct visitor v = { .stay_ms = KP_NONE };
    struct house h;
    kp_lease lease[4];
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    o.budget.max_live = 4;
    house_open(&h, &o);
    for (int i = 0; i < 4; i++) lease[i] = house_get(&h, i % 2 ? "a" : "b");
    visitor_send(&h, &v, "c", KP_SECONDS(30));
    assert_int_equal(kp_budget_set(h.pool, &(kp_budget){ .max_live = 5 }, NULL), 0);
    h.plan.budget.max_live = 5;
    visitor_end(&v);
    HOUSE_IS(&h, v.answered_ms, 0);
    assert_int_equal(kp_budget_set(h.pool, &(kp_budget){ .max_live = 2 }, NULL), 0);
    HOUSE_IS(&h, house_stats(&h, NULL).live, 4); /* the idle one is gone, no borrower lost one */
    for (int i = 0; i < 4; i++) {
        HOUSE_IS(&h, ((const kp_prop *)lease[i].resource)->alive, 1);
        house_release(&h, &lease[i]);
    }
    HOUSE_IS(&h, house_stats(&h, NULL).idle, 2);
    house_close(&h);
}

static void what_contradicts_itself_must_be_refused_whole(void **state)
{
    const kp_limits wrong = { .max_live = 2, .min_live = 3 };
    kp_why why = { 0 };
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    house_open(&h, &o);
    house_stock(&h, "user", 5);
    assert_int_equal(kp_limits_set(h.pool, kp_str("user"), &wrong, &why), KP_ECONFIG);
    HOUSE_HAS(&h, why.field[0] != 0);
    HOUSE_IS(&h, house_stats(&h, "user").idle, 5);
    assert_int_equal(kp_limits_set(h.pool, kp_str("nobody"), &wrong, &why), KP_ENOTFOUND);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_raised_limit_must_serve_who_waits_at_once),
        cmocka_unit_test(a_lowered_limit_must_retire_the_surplus_and_take_nothing_away),
        cmocka_unit_test(for_all_keys_it_must_reach_those_to_come),
        cmocka_unit_test(what_all_keys_share_must_change_too),
        cmocka_unit_test(what_contradicts_itself_must_be_refused_whole),
    };
    return cmocka_run_group_tests_name("request 39", tests, NULL, NULL);
}
