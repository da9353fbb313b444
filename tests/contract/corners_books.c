/* SPDX-License-Identifier: MIT
 *
 * Corner cases: sharing, groups and budgets, minimums, forgetting, counters, keys whose limits are
 * refused.
 */
#include "corners.h"

/* ---- sharing --------------------------------------------------------------------------------- */

static void a_shared_resource_must_not_be_lent_while_it_is_reset(void **state)
{
    static const kp_line slow[] = { { .blocks_ms = 100 }, { 0 } };
    contract c;
    (void)state;
    begin(&c);
    c.options.limits.sharing = 2;
    c.options.limits.max_live = 1;
    c.script.reset = slow;
    contract_open(&c);
    struct visit first = { .key = "a", .within_ms = 1000 };
    struct visit second = { .key = "a", .at_ms = 50, .within_ms = 1000 };
    send(&c, &first);
    send(&c, &second);
    kp_sim_join(c.sim, 0);
    assert_int_equal(second.rc, 0);
    assert_true(second.answered_ms >= 100);
    contract_end(&c);
}

static void a_shared_resource_must_be_lent_to_nobody_before_it_was_found_good(void **state)
{
    static const kp_line slow[] = { { .blocks_ms = 100 }, { 0 } };
    contract c;
    kp_lease a;
    (void)state;
    begin(&c);
    c.options.limits.sharing = 2;
    c.options.limits.max_live = 1;
    c.options.limits.validate_after_ms = KP_NONE;
    c.script.validate = slow;
    contract_open(&c);
    contract_take(&c, kp_str("a"), &a);
    contract_give(&c, &a);
    struct visit first = { .key = "a", .within_ms = 1000, .hold_ms = 500 };
    struct visit second = { .key = "a", .at_ms = 50, .within_ms = 1000 };
    send(&c, &first);
    send(&c, &second);
    kp_sim_join(c.sim, 0);
    assert_int_equal(second.rc, 0);
    assert_true(second.answered_ms >= 100);
    contract_end(&c);
}

static void a_shared_resource_past_its_age_must_count_as_expired(void **state)
{
    contract c;
    kp_lease a, b;
    (void)state;
    begin(&c);
    c.options.limits.sharing = 2;
    c.options.limits.max_age_ms = 1000;
    c.options.limits.age_spread_pct = KP_NONE;
    contract_open(&c);
    contract_take(&c, kp_str("a"), &a);
    kp_sim_pass_ms(c.sim, 2000);
    contract_take(&c, kp_str("a"), &b);
    contract_give(&c, &a);
    contract_give(&c, &b);
    assert_int_equal(stats(&c, "a").expired, 1);
    assert_int_equal(stats(&c, "a").invalidated, 0);
    contract_end(&c);
}

/* ---- groups and budgets ---------------------------------------------------------------------- */

/* Keys "z...": no group; "x...": group 9 and 1; "y..." and all others: 1 and 1. */
static void grouped(kp_key key, kp_limits *limits, void *ctx)
{
    char first = key.size ? *(const char *)key.data : 0;
    (void)ctx;
    limits->group[0] = first == 'z' ? KP_NONE : first == 'x' ? 9 : 1;
    limits->group[1] = first == 'z' ? KP_NONE : 1;
}

static void a_group_must_not_exceed_its_limit_while_victims_are_destroyed(void **state)
{
    static const kp_line slow[] = { { .blocks_ms = 100, .times = KP_OFF } };
    contract c;
    kp_lease z[2];
    (void)state;
    begin(&c);
    c.options.limits_for = grouped;
    c.options.budget.max_live = 2;
    c.options.budget.group_max_live[0] = 1;
    c.script.destroy = slow;
    contract_open(&c);
    contract_take_all(&c, kp_str("z"), z, 2);
    contract_give_all(&c, z, 2);
    struct visit a = { .key = "a", .within_ms = 1000, .hold_ms = 500 };
    struct visit b = { .key = "b", .within_ms = 1000, .hold_ms = 500 };
    send(&c, &a);
    send(&c, &b);
    kp_sim_pass_ms(c.sim, 300);
    assert_int_equal(stats(&c, "a").lent + stats(&c, "b").lent, 1);
    kp_sim_join(c.sim, 0);
    contract_end(&c);
}

static void max_creating_must_hold_while_victims_are_destroyed(void **state)
{
    static const kp_line slow[] = { { .blocks_ms = 100, .times = KP_OFF } };
    static const kp_line fast_then_slow[] = { { .times = 2 },
                                              { .blocks_ms = 100, .times = KP_OFF } };
    contract c;
    kp_lease z[2];
    (void)state;
    begin(&c);
    c.options.budget.max_live = 2;
    c.options.budget.max_creating = 1;
    c.script.destroy = slow;
    c.script.create = fast_then_slow;
    contract_open(&c);
    contract_take_all(&c, kp_str("z"), z, 2);
    contract_give_all(&c, z, 2);
    struct visit a = { .key = "a", .within_ms = 1000 }, b = { .key = "b", .within_ms = 1000 };
    send(&c, &a);
    send(&c, &b);
    kp_sim_pass_ms(c.sim, 150);
    assert_true(stats(&c, NULL).creating <= 1);
    kp_sim_join(c.sim, 0);
    assert_int_equal(a.rc, 0);
    assert_int_equal(b.rc, 0);
    contract_end(&c);
}

static void a_fresh_one_must_take_the_room_of_an_idle_one_of_its_key_under_a_budget(void **state)
{
    contract c;
    kp_lease a;
    (void)state;
    begin(&c);
    c.options.budget.max_live = 1;
    c.options.budget.evict_other_keys = KP_OFF;
    contract_open(&c);
    uint64_t number = contract_take(&c, kp_str("a"), &a);
    contract_give(&c, &a);
    kp_ask ask = { .within_ms = 100, .flags = KP_FRESH };
    assert_int_equal(kp_get(c.pool, kp_str("a"), &ask, &a), 0);
    assert_int_equal(contract_prop(&a)->number, number + 1);
    contract_give(&c, &a);
    contract_end(&c);
}

/* ---- minimums and forgetting ----------------------------------------------------------------- */

static void an_unused_key_must_be_forgotten_with_its_minimum(void **state)
{
    contract c;
    kp_lease a;
    (void)state;
    begin(&c);
    c.options.limits.min_live = 1;
    c.options.limits.max_age_ms = KP_OFF;
    contract_open(&c);
    contract_take(&c, kp_str("a"), &a);
    kp_sim_pass_ms(c.sim, 1000);
    contract_give(&c, &a);
    kp_sim_pass_ms(c.sim, KP_MINUTES(6));
    assert_int_equal(stats(&c, NULL).keys, 0);
    assert_int_equal(kp_cast_read(c.cast).live, 0);
    contract_end(&c);
}

static void an_unpinned_key_must_be_forgotten_with_its_minimum(void **state)
{
    contract c;
    kp_key pinned;
    kp_lease a;
    (void)state;
    begin(&c);
    c.options.limits.min_live = 1;
    c.options.limits.max_age_ms = KP_OFF;
    contract_open(&c);
    assert_int_equal(kp_pin(c.pool, kp_str("a"), &pinned), 0);
    contract_take(&c, pinned, &a);
    contract_give(&c, &a);
    kp_sim_pass_ms(c.sim, KP_MINUTES(10));
    assert_int_equal(stats(&c, NULL).keys, 1);
    kp_unpin(c.pool, &pinned);
    kp_sim_pass_ms(c.sim, KP_MINUTES(6));
    assert_int_equal(stats(&c, NULL).keys, 0);
    contract_end(&c);
}

static void a_key_in_use_without_a_clock_must_not_be_forgotten_early(void **state)
{
    static const kp_limits same = { .max_live = 9 };
    contract c;
    kp_driver driver;
    kp_lease a;
    (void)state;
    begin(&c);
    c.options.leak_after_ms = KP_OFF;
    c.options.limits.idle_ttl_ms = KP_OFF;
    c.options.limits.max_age_ms = KP_OFF;
    c.options.limits.min_live = 1;
    c.script.sim = c.sim;
    assert_int_equal(kp_cast_open(&c.script, &c.cast), 0);
    driver = kp_cast_driver(c.cast);
    driver.validate = driver.reset = NULL;
    contract_open_driver(&c, &driver);
    kp_sim_pass_ms(c.sim, KP_MINUTES(20));
    for (int i = 0; i < 2; i++) {
        contract_take(&c, kp_str("a"), &a);
        contract_give(&c, &a);
    }
    assert_int_equal(kp_limits_set(c.pool, kp_str("a"), &same, NULL), 0);
    kp_sim_pass_ms(c.sim, 1000);
    assert_int_equal(stats(&c, NULL).keys, 1);
    contract_end(&c);
}

/* For as long as a request waits, the key is in use, though nothing comes of it. */
static void a_key_must_not_be_forgotten_as_soon_as_a_request_has_waited_in_vain(void **state)
{
    contract c;
    kp_lease lease, none;
    kp_stats s;

    (void)state;
    begin(&c);
    c.options.forget_key_after_ms = 1000;
    c.options.budget.max_lent = 1;
    open_short(&c);
    contract_take(&c, kp_str("a"), &lease);
    assert_int_equal(get_within(&c, "b", 15000, &none), KP_ETIMEDOUT);
    assert_int_equal(get_within(&c, "c", 900, &none), KP_ETIMEDOUT);
    assert_int_equal(c.events[KP_EVENT_KEEPER_LATE], 0);
    assert_int_equal(kp_stats_read(c.pool, kp_str("b"), &s), 0);
    kp_sim_pass_ms(c.sim, 200);
    assert_int_equal(kp_stats_read(c.pool, kp_str("b"), &s), KP_ENOTFOUND);
    contract_give(&c, &lease);
    contract_end(&c);
}

static void two_that_expire_together_must_not_take_the_minimum_with_them(void **state)
{
    contract c;
    kp_lease leases[2];
    (void)state;
    begin(&c);
    c.options.threads = KP_NONE;
    c.options.limits.min_live = 1;
    c.options.limits.idle_ttl_ms = 1000;
    contract_open(&c);
    contract_take_all(&c, kp_str("a"), leases, 2);
    contract_give_all(&c, leases, 2);
    kp_sim_pass_ms(c.sim, 2000);
    contract_take(&c, kp_str("a"), &leases[0]);
    assert_int_equal(kp_cast_read(c.cast).creates, 2); /* the minimum was there */
    contract_give(&c, &leases[0]);
    contract_end(&c);
}

static void a_minimum_above_max_idle_must_not_be_made_over_and_over(void **state)
{
    static const kp_line slow[] = { { .blocks_ms = 10, .times = KP_OFF } };
    contract c;
    kp_lease a;
    (void)state;
    begin(&c);
    c.options.limits.min_live = 2;
    c.options.limits.max_idle = 1;
    c.options.limits.prefill = KP_PREFILL_FIRST_GET;
    c.script.create = slow;
    contract_open(&c);
    contract_take(&c, kp_str("a"), &a);
    contract_give(&c, &a);
    kp_sim_pass_ms(c.sim, 2000);
    assert_true(kp_cast_read(c.cast).creates <= 4);
    contract_end(&c);
}

static void the_minimum_must_be_made_in_one_turn_of_upkeep(void **state)
{
    static const kp_line slow[] = { { .blocks_ms = 10, .times = KP_OFF } };
    contract c;
    kp_lease a;
    (void)state;
    begin(&c);
    c.options.keep_every_ms = 1000;
    c.options.limits.min_live = 8;
    c.options.limits.prefill = KP_PREFILL_FIRST_GET;
    c.script.create = slow;
    contract_open(&c);
    contract_take(&c, kp_str("a"), &a);
    contract_give(&c, &a);
    kp_sim_pass_ms(c.sim, 1500);
    assert_int_equal(stats(&c, "a").live, 8);
    contract_end(&c);
}

static void a_create_that_takes_too_long_must_be_tried_again_if_failures_are(void **state)
{
    static const kp_line script[] = { { .takes_ms = 5000 }, { 0 } };
    contract c;
    kp_lease a;
    (void)state;
    begin(&c);
    c.options.limits.on_create_failure = KP_FAIL_RETRY;
    c.options.limits.create_timeout_ms = 100;
    c.script.create = script;
    contract_open(&c);
    assert_int_equal(get_within(&c, "a", 2000, &a), 0);
    assert_true(kp_sim_now_ms(c.sim) < 1000);
    contract_give(&c, &a);
    kp_sim_pass_ms(c.sim, 10000);
    contract_end(&c);
}

/* ---- keys whose limits are refused ----------------------------------------------------------- */

static kp_sim *limits_sim;
static int limits_asked, limits_wrong;

/* The first answers take 10 ms each, and are none. */
static void wrong_at_first(kp_key key, kp_limits *limits, void *ctx)
{
    (void)key;
    (void)ctx;
    if (limits_asked++ >= limits_wrong) return;
    kp_sim_pass_ms(limits_sim, 10);
    limits->min_live = 50;
}

static void a_key_pinned_while_its_limits_are_refused_must_not_stay_without(void **state)
{
    contract c;
    kp_lease a;
    (void)state;
    begin(&c);
    limits_sim = c.sim;
    limits_asked = 0;
    limits_wrong = 1;
    c.options.limits_for = wrong_at_first;
    contract_open(&c);
    struct visit first = { .key = "a", .within_ms = 1000 };
    struct visit pin = { .key = "a", .at_ms = 5, .pin = true };
    send(&c, &first);
    send(&c, &pin);
    kp_sim_join(c.sim, 0);
    assert_int_equal(first.rc, KP_ECONFIG);
    int rc = get_within(&c, "a", 100, &a);
    assert_int_not_equal(rc, KP_ETIMEDOUT);
    if (rc == 0) kp_release(&a);
    if (pin.rc == 0) kp_unpin(c.pool, &pin.pinned);
    contract_end(&c);
}

static void who_warms_a_key_whose_limits_are_refused_must_ask_for_them(void **state)
{
    contract c;
    (void)state;
    for (limits_wrong = 1; limits_wrong <= 2; limits_wrong++) {
        begin(&c);
        limits_sim = c.sim;
        limits_asked = 0;
        c.options.limits_for = wrong_at_first;
        contract_open(&c);
        struct visit first = { .key = "a", .within_ms = 1000 };
        struct warmer w = { .c = &c, .key = "a", .at_ms = 5 };
        int64_t began_ms = kp_sim_now_ms(c.sim);
        send(&c, &first);
        assert_true(kp_sim_spawn(c.sim, warm_key, &w) > 0);
        kp_sim_join(c.sim, 0);
        assert_int_equal(first.rc, KP_ECONFIG);
        assert_int_equal(limits_asked, 2);
        assert_int_equal(w.got, limits_wrong == 1);
        assert_in_range(w.answered_ms - began_ms, 10, 100);
        if (limits_wrong == 2) assert_string_equal(w.why.field, "limits.min_live");
        contract_end(&c);
    }
}

/* ---- counters -------------------------------------------------------------------------------- */

static void a_release_that_destroys_must_not_count_as_invalidated(void **state)
{
    contract c;
    kp_lease a;
    (void)state;
    begin(&c);
    c.options.limits.on_return = KP_DESTROY;
    contract_open(&c);
    contract_take(&c, kp_str("a"), &a);
    contract_give(&c, &a);
    assert_int_equal(stats(&c, "a").destroys, 1);
    assert_int_equal(stats(&c, "a").invalidated, 0);
    contract_end(&c);
}

static void what_was_made_for_a_request_must_not_count_as_reused(void **state)
{
    static const kp_line slow[] = { { .takes_ms = 10, .times = KP_OFF } };
    contract c;
    kp_lease_about about;
    kp_lease a;
    (void)state;
    begin(&c);
    c.script.create = slow;
    contract_open(&c);
    contract_take(&c, kp_str("a"), &a);
    assert_true(kp_lease_read(&a, &about));
    assert_false(about.reused);
    assert_int_equal(stats(&c, "a").hits, 0);
    contract_give(&c, &a);
    contract_end(&c);
}

static void one_invalidated_while_it_is_validated_must_not_be_lent(void **state)
{
    static const kp_line slow[] = { { .blocks_ms = 100 }, { 0 } };
    contract c;
    kp_lease a;
    (void)state;
    begin(&c);
    c.options.limits.validate_after_ms = KP_NONE;
    c.script.validate = slow;
    contract_open(&c);
    contract_take(&c, kp_str("a"), &a);
    const void *resource = a.resource;
    contract_give(&c, &a);
    struct visit v = { .key = "a", .within_ms = 1000, .hold_ms = 100 };
    send(&c, &v);
    kp_sim_pass_ms(c.sim, 50);
    assert_int_equal(kp_invalidate(c.pool, resource), 1);
    kp_sim_pass_ms(c.sim, 100);
    assert_int_equal(v.rc, 0);
    assert_ptr_not_equal(v.lease.resource, resource);
    kp_sim_join(c.sim, 0);
    contract_end(&c);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shared_resource_must_not_be_lent_while_it_is_reset),
        cmocka_unit_test(a_shared_resource_must_be_lent_to_nobody_before_it_was_found_good),
        cmocka_unit_test(a_shared_resource_past_its_age_must_count_as_expired),
        cmocka_unit_test(a_group_must_not_exceed_its_limit_while_victims_are_destroyed),
        cmocka_unit_test(max_creating_must_hold_while_victims_are_destroyed),
        cmocka_unit_test(a_fresh_one_must_take_the_room_of_an_idle_one_of_its_key_under_a_budget),
        cmocka_unit_test(an_unused_key_must_be_forgotten_with_its_minimum),
        cmocka_unit_test(an_unpinned_key_must_be_forgotten_with_its_minimum),
        cmocka_unit_test(a_key_in_use_without_a_clock_must_not_be_forgotten_early),
        cmocka_unit_test(
            a_key_must_not_be_forgotten_as_soon_as_a_request_has_waited_in_vain),
        cmocka_unit_test(two_that_expire_together_must_not_take_the_minimum_with_them),
        cmocka_unit_test(a_minimum_above_max_idle_must_not_be_made_over_and_over),
        cmocka_unit_test(the_minimum_must_be_made_in_one_turn_of_upkeep),
        cmocka_unit_test(a_create_that_takes_too_long_must_be_tried_again_if_failures_are),
        cmocka_unit_test(a_key_pinned_while_its_limits_are_refused_must_not_stay_without),
        cmocka_unit_test(who_warms_a_key_whose_limits_are_refused_must_ask_for_them),
        cmocka_unit_test(a_release_that_destroys_must_not_count_as_invalidated),
        cmocka_unit_test(what_was_made_for_a_request_must_not_count_as_reused),
        cmocka_unit_test(one_invalidated_while_it_is_validated_must_not_be_lent),
    };
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
