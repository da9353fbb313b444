/* SPDX-License-Identifier: MIT
 *
 * kp_budget_set: an impossible budget is refused as a whole, with the name of its field; also from
 * where the function is called, and when.
 */
#include "budgets.h"

static void what_cannot_be_must_be_refused_whole(void **state)
{
    const kp_limits two = { .min_live = 2, .floor = 3 };
    contract c;
    (void)state;
    begin(&c);
    contract_open(&c);
    stock(&c, A, 2);
    stock(&c, B, 2);
    assert_int_equal(kp_limits_set(c.pool, A, &two, NULL), 0);
    refused(&c, (kp_budget){ .max_live = -5 }, "budget.max_live");
    refused(&c, (kp_budget){ .max_creating = KP_NONE }, "budget.max_creating");
    refused(&c, (kp_budget){ .create_burst = 2 }, "budget.create_burst");
    refused(&c, (kp_budget){ .across = 9 }, "budget.across");
    refused(&c, (kp_budget){ .evict_other_keys = 9 }, "budget.evict_other_keys");
    refused(&c, (kp_budget){ .reserved = { 0, 0, 0, 0, 0, 1 } }, "budget.reserved");
    refused(&c, (kp_budget){ .max_idle = 1, .max_live = 1 }, "budget.max_live");
    refused(&c, (kp_budget){ .max_live = 2 }, "budget.max_live"); /* the floor */
    refused(&c, (kp_budget){ .max_lent = 2 }, "budget.max_lent");
    assert_int_equal(kp_limits_set(c.pool, B, &two, NULL), 0);
    refused(&c, (kp_budget){ .max_live = 5 }, "budget.max_live"); /* together */
    set(&c, (kp_budget){ .max_live = 6 });
    contract_end(&c);
}

static void what_keys_are_to_keep_together_must_be_left_to_them(void **state)
{
    const kp_limits two = { .min_live = 2 };
    const kp_budget three = { .max_live = 3 };
    contract c;
    kp_why why;
    (void)state;
    begin(&c);
    contract_open(&c);
    stock(&c, A, 2);
    stock(&c, B, 2);
    assert_int_equal(kp_limits_set(c.pool, A, &two, NULL), 0);
    assert_int_equal(kp_limits_set(c.pool, B, &two, NULL), 0);
    refused(&c, three, "budget.max_live");
    assert_int_equal(kp_budget_set(c.pool, &three, &why), KP_ECONFIG);
    assert_non_null(strstr(why.text, "is below limits.min_live of all keys together"));
    set(&c, (kp_budget){ .max_live = 4 });
    contract_end(&c);
}

static void keys_to_come_must_have_what_they_are_to_keep(void **state)
{
    contract c;
    (void)state;
    begin(&c);
    c.options.limits.min_live = 2;
    c.options.limits.group[1] = 3;
    c.options.budget.group_max_live[1] = 9;
    c.options.budget.max_keys = KP_NONE;
    contract_open(&c);
    (void)contract_refused(&c, A, 10, KP_EFULL);
    refused(&c, (kp_budget){ .max_live = 1 }, "budget.max_live");
    refused(&c, (kp_budget){ .max_live = 5, .max_keys = 3 }, "budget.max_live");
    refused(&c, (kp_budget){ .group_max_live = { 0, 1 } }, "budget.group_max_live[1]");
    set(&c, (kp_budget){ .max_live = 6, .max_keys = 3 });
    contract_end(&c);
}

/* Two keys were promised more than there is; that is old, and no reason to refuse more. */
static void what_was_too_much_before_must_not_be_refused(void **state)
{
    contract c;
    (void)state;
    begin(&c);
    c.misuses = 1;
    c.options.limits.min_live = 2;
    c.options.limits.floor = 2;
    c.options.budget.max_live = 3;
    contract_open(&c);
    stock(&c, A, 1);
    stock(&c, B, 1);
    refused(&c, (kp_budget){ .max_live = 2 }, "budget.max_live");
    set(&c, (kp_budget){ .max_idle = 2, .max_live = 3 });
    set(&c, (kp_budget){ .max_live = 5 });
    contract_end(&c);
}

/* Existing keys are in no group: to count them now, each would have to join one. A program that may
 * need a limit later sets a large one at open. */
static void groups_that_were_unlimited_must_stay_so_and_be_told_why(void **state)
{
    const kp_budget two = { .group_max_live = { 2 } };
    contract c;
    kp_why why;

    (void)state;
    for (int large = 0; large < 2; large++) {
        begin(&c);
        c.options.limits.group[0] = 7;
        if (large) c.options.budget.group_max_live[0] = 1000000;
        contract_open(&c);
        stock(&c, A, 2);
        stock(&c, B, 2);
        if (large) {
            set(&c, two);
            assert_int_equal(contract_stats(&c, KP_EVERY_KEY).live, 2);
        } else {
            refused(&c, two, "budget.group_max_live[0]");
            assert_int_equal(kp_budget_set(c.pool, &two, &why), KP_ECONFIG);
            assert_non_null(strstr(why.text, "unlimited at open"));
            assert_non_null(strstr(why.text, "open the pool with a large limit"));
            assert_int_equal(contract_stats(&c, KP_EVERY_KEY).live, 4);
        }
        contract_end(&c);
    }
}

static void a_burst_must_go_with_its_rate(void **state)
{
    contract c;
    (void)state;
    begin(&c);
    c.options.budget.create_rate = 10;
    c.options.budget.create_burst = 2;
    contract_open(&c);
    refused(&c, (kp_budget){ .create_rate = KP_UNLIMITED, .create_burst = 3 },
            "budget.create_burst");
    set(&c, (kp_budget){ .create_rate = KP_UNLIMITED });
    refused(&c, (kp_budget){ .create_burst = 3 }, "budget.create_burst");
    contract_end(&c);
}

static int64_t burst_with(contract *c, kp_budget budget)
{
    kp_budget now;

    set(c, budget);
    assert_int_equal(kp_budget_read(c->pool, &now), 0);
    return now.create_burst;
}

/* It is as the rate where nothing else is said; what was said stays, though the rate reach it. */
static void a_burst_must_follow_the_rate_unless_it_was_another(void **state)
{
    contract c;
    (void)state;
    begin(&c);
    c.options.budget.create_rate = 10;
    contract_open(&c);
    assert_int_equal(burst_with(&c, (kp_budget){ .create_rate = 20 }), 20);
    assert_int_equal(burst_with(&c, (kp_budget){ .create_burst = 20 }), 20);
    assert_int_equal(burst_with(&c, (kp_budget){ .create_rate = 30 }), 30);
    assert_int_equal(burst_with(&c, (kp_budget){ .create_burst = 40 }), 40);
    assert_int_equal(burst_with(&c, (kp_budget){ .create_rate = 40 }), 40);
    assert_int_equal(burst_with(&c, (kp_budget){ .create_rate = 50 }), 40);
    contract_end(&c);
}

/* limits_for calls back: the key that it is asked for has no limits so far. */
static void call_back(kp_key key, kp_limits *limits, void *arg)
{
    contract *c = arg;
    const kp_budget more = { .max_live = 50 };

    (void)limits;
    assert_int_equal(kp_budget_set(c->pool, &more, NULL), 0);
    assert_int_equal(kp_evict(c->pool, key, 0), 0);
    assert_int_equal(kp_drop(c->pool, key, KP_NONE), 0);
    assert_int_equal(kp_drop(c->pool, KP_EVERY_KEY, KP_NONE), 0);
}

static void a_key_that_is_just_being_made_must_be_left_alone(void **state)
{
    contract c;
    (void)state;
    begin(&c);
    c.options.limits_for = call_back;
    contract_open(&c);
    stock(&c, A, 2);
    assert_int_equal(contract_stats(&c, A).idle, 2);
    stock(&c, B, 1); /* and drops the other one */
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).keys, 1);
    contract_end(&c);
}

static void a_pool_that_is_not_there_must_be_told(void **state)
{
    const kp_budget budget = { .max_live = 3 };
    contract c;
    kp_why why;
    (void)state;
    begin(&c);
    contract_open(&c);
    kp_lease lease;
    (void)contract_take(&c, A, &lease);
    assert_int_equal(contract_close(&c, KP_CLOSE_NOW, KP_NONE), 1);
    assert_int_equal(kp_budget_set(c.pool, &budget, &why), KP_ECLOSED);
    assert_int_equal(why.code, KP_ECLOSED);
    kp_release(&lease);
    assert_int_equal(kp_budget_set(c.pool, &budget, NULL), KP_ECLOSED);
    kp_cast_close(c.cast);
    assert_int_equal(kp_sim_close(c.sim), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cannot_be_must_be_refused_whole),
        cmocka_unit_test(what_keys_are_to_keep_together_must_be_left_to_them),
        cmocka_unit_test(keys_to_come_must_have_what_they_are_to_keep),
        cmocka_unit_test(what_was_too_much_before_must_not_be_refused),
        cmocka_unit_test(groups_that_were_unlimited_must_stay_so_and_be_told_why),
        cmocka_unit_test(a_burst_must_go_with_its_rate),
        cmocka_unit_test(a_burst_must_follow_the_rate_unless_it_was_another),
        cmocka_unit_test(a_key_that_is_just_being_made_must_be_left_alone),
        cmocka_unit_test(a_pool_that_is_not_there_must_be_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
