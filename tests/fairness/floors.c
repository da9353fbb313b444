/* SPDX-License-Identifier: MIT
 *
 * Contradictory floors and minima: what could never be kept within the budgets is refused, with the
 * name of the field: at open, by kp_limits_set, and when limits_for wrote it. What becomes
 * impossible only because of many keys together cannot be known before; it is reported once.
 */
#include "contract/corners.h"

static void refused(contract *c, const char *field, const char *because)
{
    assert_int_equal(kp_pool_open(&c->options, &c->pool), KP_ECONFIG);
    assert_null(c->pool);
    assert_string_equal(c->why.field, field);
    assert_non_null(strstr(c->why.text, because));
}

static void accepted(contract *c)
{
    contract_open(c);
    assert_int_equal(contract_close(c, KP_CLOSE_NOW, 0), 0);
    kp_cast_close(c->cast);
    c->cast = NULL;
    c->pool = NULL;
}

static void end_unopened(contract *c)
{
    kp_sim_join(c->sim, 0);
    assert_int_equal(kp_sim_close(c->sim), 0);
}

static void begin_refusal(contract *c, kp_driver *driver)
{
    begin(c);
    assert_int_equal(kp_cast_open(&c->script, &c->cast), 0);
    *driver = kp_cast_driver(c->cast);
    c->options.driver = *driver;
}

static void end_refusal(contract *c)
{
    kp_cast_close(c->cast);
    end_unopened(c);
}

static void a_floor_or_a_minimum_above_a_budget_must_be_refused_at_open(void **state)
{
    kp_driver driver;
    contract c;

    (void)state;
    begin_refusal(&c, &driver);
    c.options.budget.max_live = 4;
    c.options.limits.floor = 5;
    refused(&c, "limits.floor", "is above budget.max_live");
    c.options.limits.floor = 0;
    c.options.limits.min_live = 5;
    refused(&c, "limits.min_live", "is above budget.max_live");
    c.options.limits.min_live = 0;
    c.options.limits.floor = 3;
    c.options.budget.max_lent = 2;
    refused(&c, "limits.floor", "is above budget.max_lent");
    c.options.budget.max_lent = 0;
    c.options.budget.group_max_live[1] = 2;
    c.options.limits.group[1] = 7;
    refused(&c, "limits.floor", "is above budget.group_max_live[1]");
    c.options.budget.group_max_live[0] = 2;
    c.options.limits.group[0] = 7;
    refused(&c, "limits.floor", "is above budget.group_max_live[0]");
    end_refusal(&c);
}

static void floors_and_minima_that_cannot_hold_for_all_keys_must_be_refused_at_open(void **state)
{
    kp_driver driver;
    contract c;

    (void)state;
    begin_refusal(&c, &driver);
    c.options.budget.max_live = 10;
    c.options.budget.max_keys = 4;
    c.options.limits.floor = 3;
    refused(&c, "limits.floor", "multiplied by budget.max_keys is above budget.max_live");
    c.options.limits.floor = 0;
    c.options.limits.min_live = 3;
    refused(&c, "limits.min_live", "multiplied by budget.max_keys is above budget.max_live");
    c.options.limits.min_live = 0;
    c.options.limits.floor = 2;
    c.options.budget.max_lent = 7;
    refused(&c, "limits.floor", "multiplied by budget.max_keys is above budget.max_lent");
    c.options.budget.max_lent = 0;
    c.options.limits.group[0] = 1;
    c.options.budget.group_max_live[0] = 7;
    refused(&c, "limits.floor", "multiplied by budget.max_keys is above budget.group_max_live[0]");
    end_refusal(&c);
}

static void leave(kp_key key, kp_limits *limits, void *ctx)
{
    (void)key, (void)limits, (void)ctx;
}

static void floors_that_just_fit_and_those_that_nobody_can_know_must_be_accepted(void **state)
{
    contract c;

    (void)state;
    begin(&c);
    c.options.budget.max_live = 10;
    c.options.budget.max_keys = 5;
    c.options.limits.floor = c.options.limits.min_live = 2;
    accepted(&c);
    c.options.budget.max_keys = KP_UNLIMITED; /* how many keys there will be is not known */
    accepted(&c);
    c.options.budget.max_keys = 100; /* what they will keep is not known */
    c.options.limits_for = leave;
    accepted(&c);
    c.options.limits_for = NULL;
    c.options.limits.floor = c.options.limits.min_live = 100;
    c.options.limits.max_live = 100;
    c.options.budget.max_live = KP_UNLIMITED;
    accepted(&c);
    end_unopened(&c);
}

/* "big" wants a floor above the budget; every other key four of ten. */
static void four_each(kp_key key, kp_limits *limits, void *ctx)
{
    (void)ctx;
    limits->floor = key.size == 3 && memcmp(key.data, "big", 3) == 0 ? 11 : 4;
    if (limits->max_live < limits->floor) limits->max_live = limits->floor;
}

static void a_floor_that_limits_for_writes_and_that_cannot_hold_must_refuse_the_get(void **state)
{
    contract c;
    kp_lease lease;

    (void)state;
    begin(&c);
    c.options.limits_for = four_each;
    c.options.budget.max_live = 10;
    contract_open(&c);
    assert_int_equal(get_within(&c, "big", 10, &lease), KP_ECONFIG);
    assert_string_equal(c.why.field, "limits.floor");
    assert_int_equal(stats(&c, NULL).keys, 0);
    contract_take(&c, kp_str("fine"), &lease);
    contract_give(&c, &lease);
    contract_end(&c);
}

static void floors_of_keys_that_add_up_to_too_much_must_be_told_once_and_served_all_the_same(
    void **state)
{
    contract c;
    kp_lease lease;

    (void)state;
    begin(&c);
    c.options.limits_for = four_each;
    c.options.budget.max_live = 10;
    contract_open(&c);
    for (int i = 0; i < 4; i++) {
        char key[] = { (char)('a' + i), 0 };
        contract_take(&c, kp_str(key), &lease);
        contract_give(&c, &lease);
        assert_int_equal(c.events[KP_EVENT_MISUSE], i >= 2);
    }
    assert_int_equal(stats(&c, NULL).misuses, 1);
    c.misuses = 1;
    contract_end(&c);
}

/* The same where what is lent is limited; but a pause takes nothing away. */
static void floors_must_add_up_to_no_more_than_may_be_lent(void **state)
{
    const kp_limits more = { .floor = 5 }, most = { .floor = 4 };
    contract c;
    kp_lease lease;
    kp_why why;

    (void)state;
    begin(&c);
    c.options.limits_for = four_each;
    c.options.budget.max_lent = 12;
    contract_open(&c);
    for (int i = 0; i < 3; i++) {
        char key[] = { (char)('a' + i), 0 };
        contract_take(&c, kp_str(key), &lease);
        contract_give(&c, &lease);
    }
    assert_int_equal(kp_limits_set(c.pool, kp_str("a"), &more, &why), KP_ECONFIG); /* 13 */
    assert_string_equal(why.field, "limits.floor");
    assert_non_null(strstr(why.text, "budget.max_lent"));
    assert_int_equal(kp_limits_set(c.pool, KP_EVERY_KEY, &more, &why), KP_ECONFIG);
    assert_non_null(strstr(why.text, "budget.max_lent"));
    assert_int_equal(kp_limits_set(c.pool, KP_EVERY_KEY, &most, &why), 0);
    assert_int_equal(kp_budget_set(c.pool, &(kp_budget){ .max_lent = 11 }, &why), KP_ECONFIG);
    assert_string_equal(why.field, "budget.max_lent");
    assert_int_equal(kp_budget_set(c.pool, &(kp_budget){ .max_lent = KP_NONE }, &why), 0);
    assert_int_equal(kp_budget_set(c.pool, &(kp_budget){ .max_lent = 12 }, &why), 0);
    assert_int_equal(c.events[KP_EVENT_MISUSE], 0);
    contract_take(&c, kp_str("d"), &lease); /* served, and told */
    contract_give(&c, &lease);
    assert_int_equal(c.events[KP_EVENT_MISUSE], 1);
    c.misuses = 1;
    contract_end(&c);
}

static void kp_limits_set_must_refuse_what_cannot_hold_and_change_nothing(void **state)
{
    const kp_limits too_high = { .floor = 7 }, fits = { .floor = 6 }, more = { .floor = 5 };
    const kp_limits minimum = { .min_live = 7 };
    contract c;
    kp_lease lease;
    kp_why why;

    (void)state;
    begin(&c);
    c.options.budget.max_live = 10;
    c.options.budget.max_keys = 3;
    c.options.limits.max_live = 20;
    contract_open(&c);
    contract_take(&c, kp_str("a"), &lease);
    contract_give(&c, &lease);
    contract_take(&c, kp_str("b"), &lease);
    contract_give(&c, &lease);
    assert_int_equal(kp_limits_set(c.pool, kp_str("a"), &(kp_limits){ .floor = 11 }, &why),
                     KP_ECONFIG);
    assert_string_equal(why.field, "limits.floor");
    assert_int_equal(kp_limits_set(c.pool, kp_str("a"), &fits, &why), 0);
    assert_int_equal(kp_limits_set(c.pool, kp_str("b"), &more, &why), KP_ECONFIG); /* 6 + 5 */
    assert_string_equal(why.field, "limits.floor");
    assert_non_null(strstr(why.text, "all keys together"));
    assert_int_equal(kp_limits_set(c.pool, kp_str("a"), &more, &why), 0); /* lower: allowed */
    assert_int_equal(kp_limits_set(c.pool, kp_str("b"), &more, &why), 0);
    assert_int_equal(kp_limits_set(c.pool, kp_str("a"), &minimum, &why), 0);
    assert_int_equal(kp_limits_set(c.pool, kp_str("b"), &minimum, &why), KP_ECONFIG);
    assert_string_equal(why.field, "limits.min_live");
    assert_int_equal(kp_limits_set(c.pool, KP_EVERY_KEY, &too_high, &why), KP_ECONFIG);
    assert_string_equal(why.field, "limits.floor"); /* the two there are */
    assert_int_equal(kp_limits_set(c.pool, KP_EVERY_KEY, &(kp_limits){ .floor = 4 }, &why),
                     KP_ECONFIG);
    assert_string_equal(why.field, "limits.floor"); /* the three there may be */
    assert_int_equal(kp_limits_set(c.pool, KP_EVERY_KEY, &(kp_limits){ .floor = 3 }, &why), 0);
    contract_end(&c);
}

/* What a forgotten key was to keep is free for others. */
static void the_floor_of_a_forgotten_key_must_count_no_more(void **state)
{
    const kp_limits six = { .floor = 6 };
    contract c;
    kp_lease lease;

    (void)state;
    begin(&c);
    c.options.budget.max_live = 10;
    c.options.forget_key_after_ms = 100;
    c.options.limits.idle_ttl_ms = 50;
    contract_open(&c);
    contract_take(&c, kp_str("a"), &lease);
    contract_give(&c, &lease);
    assert_int_equal(kp_limits_set(c.pool, kp_str("a"), &six, NULL), 0);
    kp_sim_pass_ms(c.sim, 1000);
    assert_int_equal(stats(&c, NULL).keys, 0);
    contract_take(&c, kp_str("b"), &lease);
    contract_give(&c, &lease);
    assert_int_equal(kp_limits_set(c.pool, kp_str("b"), &six, NULL), 0);
    contract_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_floor_or_a_minimum_above_a_budget_must_be_refused_at_open),
        cmocka_unit_test(floors_and_minima_that_cannot_hold_for_all_keys_must_be_refused_at_open),
        cmocka_unit_test(floors_that_just_fit_and_those_that_nobody_can_know_must_be_accepted),
        cmocka_unit_test(a_floor_that_limits_for_writes_and_that_cannot_hold_must_refuse_the_get),
        cmocka_unit_test(
            floors_of_keys_that_add_up_to_too_much_must_be_told_once_and_served_all_the_same),
        cmocka_unit_test(floors_must_add_up_to_no_more_than_may_be_lent),
        cmocka_unit_test(kp_limits_set_must_refuse_what_cannot_hold_and_change_nothing),
        cmocka_unit_test(the_floor_of_a_forgotten_key_must_count_no_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
