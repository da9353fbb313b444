/* SPDX-License-Identifier: MIT
 *
 * Making room: an idle resource of another key is evicted for a key that lacks a permit of one or
 * more budgets of live resources. As few as possible are evicted, the least recently used of those
 * that make room, and never one that its key may keep.
 */
#include "contract/corners.h"

/* "a..." counts in group 1, "b..." in group 2 of the other kind, "x..." in both; a name that ends
 * in "m" has a minimum of one, in "f" a floor of one. */
static void by_letter(kp_key key, kp_limits *limits, void *ctx)
{
    const char *name = key.data;
    (void)ctx;
    if (name[0] == 'a' || name[0] == 'x') limits->group[0] = 1;
    if (name[0] == 'b' || name[0] == 'x') limits->group[1] = 2;
    if (name[key.size - 1] == 'm') limits->min_live = 1;
    if (name[key.size - 1] == 'f') limits->floor = 1;
}

/* One idle resource of each of these keys, the first used least recently. */
static void stock(contract *c, const char *const *keys, int n)
{
    kp_lease lease;
    for (int i = 0; i < n; i++) {
        contract_take(c, kp_str(keys[i]), &lease);
        contract_give(c, &lease);
    }
}

static void open_groups(contract *c, int64_t first, int64_t second, int64_t all,
                        const kp_line *destroy)
{
    begin(c);
    c->script.destroy = destroy;
    c->options.limits_for = by_letter;
    c->options.budget.group_max_live[0] = first;
    c->options.budget.group_max_live[1] = second;
    c->options.budget.max_live = all;
    contract_open(c);
}

static void one_that_is_in_both_full_groups_must_be_found_and_no_other_evicted(void **state)
{
    static const char *const keys[] = { "a1", "b1", "a2", "b2", "x1" };
    contract c;
    kp_lease lease;

    (void)state;
    open_groups(&c, 3, 3, KP_UNLIMITED, NULL);
    stock(&c, keys, 5);
    assert_int_equal(get_within(&c, "x2", 100, &lease), 0);
    assert_int_equal(stats(&c, "x1").evicted, 1);
    assert_int_equal(stats(&c, NULL).evicted, 1);
    contract_give(&c, &lease);
    contract_end(&c);
}

static void one_in_both_groups_must_be_found_where_the_pool_is_full_too(void **state)
{
    static const char *const keys[] = { "c1", "a1", "b1", "x1", "x2" };
    contract c;
    kp_lease lease;

    (void)state;
    open_groups(&c, 3, 3, 5, NULL);
    stock(&c, keys, 5);
    assert_int_equal(get_within(&c, "x3", 100, &lease), 0);
    assert_int_equal(stats(&c, "x1").evicted, 1); /* of the two, the less recently used */
    assert_int_equal(stats(&c, NULL).evicted, 1);
    contract_give(&c, &lease);
    contract_end(&c);
}

static void where_only_one_group_is_full_its_own_least_recently_used_must_go(void **state)
{
    static const char *const keys[] = { "b1", "x1", "a1" };
    contract c;
    kp_lease lease;

    (void)state;
    open_groups(&c, 2, 3, 3, NULL);
    stock(&c, keys, 3);
    assert_int_equal(get_within(&c, "x2", 100, &lease), 0);
    assert_int_equal(stats(&c, "x1").evicted, 1);
    assert_int_equal(stats(&c, NULL).evicted, 1);
    contract_give(&c, &lease);
    contract_end(&c);
}

/* No single one makes room, but two idle ones together do: no request may wait beside them (L1). */
static void where_none_is_in_both_full_groups_one_of_each_must_make_room(void **state)
{
    static const char *const keys[] = { "a1", "b1", "a2", "b2" };
    contract c;
    kp_lease lease;

    (void)state;
    open_groups(&c, 2, 2, KP_UNLIMITED, NULL);
    stock(&c, keys, 4);
    assert_int_equal(get_within(&c, "x1", 100, &lease), 0);
    assert_int_equal(stats(&c, "a1").evicted, 1);
    assert_int_equal(stats(&c, "b1").evicted, 1);
    assert_int_equal(stats(&c, NULL).evicted, 2);
    assert_int_equal(stats(&c, NULL).live, 3);
    contract_give(&c, &lease);
    contract_end(&c);
}

/* Two victims make one place more than is needed; it goes to another request. */
static void one_of_each_must_make_room_where_the_pool_is_full_and_a_third_key_waits(void **state)
{
    static const char *const keys[] = { "a1", "b1" };
    static const kp_line slow[] = { { .blocks_ms = 20, .times = 2 }, { 0 } };
    contract c;

    (void)state;
    open_groups(&c, 1, 1, 2, slow);
    stock(&c, keys, 2);
    struct visit both = { .key = "x1", .within_ms = 1000, .keep = true };
    struct visit third = { .key = "c1", .within_ms = 1000, .keep = true };
    send(&c, &both);
    kp_sim_settle(c.sim);
    send(&c, &third);
    kp_sim_join(c.sim, 0);
    assert_int_equal(both.rc, 0);
    assert_int_equal(third.rc, 0);
    assert_int_equal(stats(&c, NULL).evicted, 2);
    assert_int_equal(stats(&c, NULL).live, 2);
    kp_release(&both.lease);
    kp_release(&third.lease);
    contract_end(&c);
}

static void where_one_group_has_nothing_idle_nothing_must_be_evicted_from_the_other(void **state)
{
    contract c;
    kp_lease a, b, none;

    (void)state;
    open_groups(&c, 1, 1, KP_UNLIMITED, NULL);
    contract_take(&c, kp_str("a1"), &a);
    contract_take(&c, kp_str("b1"), &b);
    contract_give(&c, &b);
    assert_int_equal(get_within(&c, "x1", 50, &none), KP_ETIMEDOUT);
    assert_string_equal(c.why.limit, "budget.group_max_live");
    assert_int_equal(stats(&c, NULL).evicted, 0);
    struct visit v = { .key = "x1", .within_ms = 1000, .keep = true };
    send(&c, &v);
    kp_sim_settle(c.sim);
    contract_give(&c, &a);
    kp_sim_join(c.sim, 0);
    assert_int_equal(v.rc, 0);
    assert_int_equal(stats(&c, NULL).evicted, 2);
    kp_release(&v.lease);
    contract_end(&c);
}

/* Of 50 idle ones of 10 keys, only one is evicted, not 15 % of them. */
static void of_fifty_idle_ones_exactly_one_must_be_evicted_for_one_request(void **state)
{
    contract c;
    kp_lease lease[50], one;
    char key[8];

    (void)state;
    begin(&c);
    c.options.budget.max_live = 50;
    contract_open(&c);
    for (int i = 0; i < 50; i++) {
        snprintf(key, sizeof key, "k%d", i % 10);
        contract_take(&c, kp_str(key), &lease[i]);
    }
    contract_give_all(&c, lease, 50);
    contract_take(&c, kp_str("new"), &one);
    assert_int_equal(stats(&c, NULL).evicted, 1);
    assert_int_equal(stats(&c, "k0").evicted, 1); /* the first that came back */
    assert_int_equal(stats(&c, NULL).live, 50);
    contract_give(&c, &one);
    contract_end(&c);
}

static void nothing_must_be_evicted_below_a_floor_or_a_minimum(void **state)
{
    static const char *const keys[] = { "c-f", "c-m", "c1" };
    contract c;
    kp_lease lease, none;

    (void)state;
    begin(&c);
    c.options.limits_for = by_letter;
    c.options.budget.max_live = 3;
    contract_open(&c);
    stock(&c, keys, 3);
    contract_take(&c, kp_str("c2"), &lease); /* the two less recently used ones are protected */
    assert_int_equal(stats(&c, "c1").evicted, 1);
    assert_int_equal(get_within(&c, "c1", 50, &none), KP_ETIMEDOUT);
    assert_int_equal(stats(&c, NULL).evicted, 1);
    assert_int_equal(stats(&c, "c-f").idle, 1);
    assert_int_equal(stats(&c, "c-m").idle, 1);
    contract_give(&c, &lease);
    contract_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_is_in_both_full_groups_must_be_found_and_no_other_evicted),
        cmocka_unit_test(one_in_both_groups_must_be_found_where_the_pool_is_full_too),
        cmocka_unit_test(where_only_one_group_is_full_its_own_least_recently_used_must_go),
        cmocka_unit_test(where_none_is_in_both_full_groups_one_of_each_must_make_room),
        cmocka_unit_test(one_of_each_must_make_room_where_the_pool_is_full_and_a_third_key_waits),
        cmocka_unit_test(where_one_group_has_nothing_idle_nothing_must_be_evicted_from_the_other),
        cmocka_unit_test(of_fifty_idle_ones_exactly_one_must_be_evicted_for_one_request),
        cmocka_unit_test(nothing_must_be_evicted_below_a_floor_or_a_minimum),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
