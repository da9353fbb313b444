/* SPDX-License-Identifier: MIT
 *
 * What the zoo showed that no test looked at, second part: limits, ends and counters. Each test
 * here was written for a bug that all others let pass (zoo.txt); it asserts what is right.
 */
#include "contract/corners.h"

/* ---- limits ---------------------------------------------------------------------------------- */

static void a_key_that_waits_for_its_victim_must_not_exceed_its_limit(void **state)
{
    static const kp_line slow[] = { { .blocks_ms = 50, .times = KP_OFF } };
    contract c;
    kp_lease a, b;
    (void)state;
    begin(&c);
    c.options.limits.max_live = 1;
    c.options.budget.max_live = 2;
    c.script.destroy = slow;
    contract_open(&c);
    contract_take(&c, kp_str("a"), &a);
    contract_take(&c, kp_str("b"), &b);
    contract_give(&c, &a);
    contract_give(&c, &b);
    struct visit first = { .key = "x", .hold_ms = 200 }, second = { .key = "x", .at_ms = 1 };
    send(&c, &first); /* evicts until 50, holds until 250 */
    send(&c, &second);
    kp_sim_join(c.sim, 0);
    assert_int_equal(first.answered_ms, 50);
    assert_int_equal(second.answered_ms, 250);
    assert_int_equal(stats(&c, NULL).evicted, 1);
    contract_end(&c);
}

static void no_more_creates_must_run_at_once_than_the_limit_says(void **state)
{
    static const kp_line slow[] = { { .blocks_ms = 50, .times = KP_OFF } };
    struct visit visits[4];
    contract c;
    (void)state;
    begin(&c);
    c.options.limits.max_creating = 2;
    c.script.create = slow;
    contract_open(&c);
    for (int i = 0; i < 4; i++) {
        visits[i] = (struct visit){ .key = "a", .hold_ms = 1000 };
        send(&c, &visits[i]);
    }
    kp_sim_pass_ms(c.sim, 25);
    assert_int_equal(stats(&c, "a").creating, 2);
    kp_sim_join(c.sim, 0);
    for (int i = 0; i < 4; i++) assert_int_equal(visits[i].answered_ms, i < 2 ? 50 : 100);
    contract_end(&c);
}

static void many_gets_must_not_make_many_creates_of_a_dead_backend(void **state)
{
    static const kp_line bad[] = { { .status = -5, .times = KP_OFF } };
    contract c;
    kp_lease lease;
    (void)state;
    begin(&c);
    c.options.limits.retry_first_ms = 100;
    c.options.limits.retry_max_ms = 1000;
    c.script.create = bad;
    contract_open(&c);
    for (int i = 0; i < 50; i++) assert_int_not_equal(get_within(&c, "a", 2, &lease), 0);
    assert_in_range(stats(&c, "a").create_failures, 1, 10);
    contract_end(&c);
}

static void a_minimum_of_one(kp_key key, kp_limits *limits, void *ctx)
{
    (void)ctx;
    if (key.size == 1 && *(const char *)key.data == 'a') limits->min_live = 1;
}

static void room_for_another_key_must_not_be_made_below_the_minimum(void **state)
{
    contract c;
    kp_lease lease;
    (void)state;
    begin(&c);
    c.options.limits_for = a_minimum_of_one;
    c.options.budget.max_live = 1;
    contract_open(&c);
    contract_take(&c, kp_str("a"), &lease);
    contract_give(&c, &lease);
    contract_refused(&c, kp_str("b"), 100, KP_ETIMEDOUT);
    assert_int_equal(stats(&c, "a").idle, 1);
    assert_int_equal(stats(&c, NULL).destroys, 0);
    contract_end(&c);
}

static void a_floor_of_one(kp_key key, kp_limits *limits, void *ctx)
{
    (void)ctx;
    if (key.size == 1 && *(const char *)key.data == 'a') limits->floor = 1;
}

static void room_for_another_key_must_not_be_made_below_the_floor(void **state)
{
    contract c;
    kp_lease lease;
    (void)state;
    begin(&c);
    c.options.limits_for = a_floor_of_one;
    c.options.budget.max_live = 1;
    contract_open(&c);
    contract_take(&c, kp_str("a"), &lease);
    contract_give(&c, &lease);
    contract_refused(&c, kp_str("b"), 100, KP_ETIMEDOUT);
    assert_int_equal(stats(&c, "a").idle, 1);
    assert_int_equal(stats(&c, NULL).destroys, 0);
    contract_end(&c);
}

static void a_floor_of_one_beside_a_heavy_key(kp_key key, kp_limits *limits, void *ctx)
{
    a_floor_of_one(key, limits, ctx);
    if (key.size == 1 && *(const char *)key.data == 'b') limits->weight = 100;
}

static void a_key_below_its_floor_must_be_served_before_a_heavier_one(void **state)
{
    contract c;
    (void)state;
    begin(&c);
    c.options.limits_for = a_floor_of_one_beside_a_heavy_key;
    c.options.budget.max_live = 2;
    contract_open(&c);
    struct visit first = { .key = "b", .hold_ms = 50 }, second = { .key = "b", .hold_ms = 100 },
                 third = { .key = "b", .at_ms = 10 }, below = { .key = "a", .at_ms = 20 };
    send(&c, &first);
    send(&c, &second);
    send(&c, &third);
    send(&c, &below);
    below.hold_ms = 1000;
    kp_sim_join(c.sim, 0);
    assert_int_equal(below.answered_ms, 50);
    assert_int_equal(third.answered_ms, 100);
    contract_end(&c);
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void a_return_past_its_age_must_be_destroyed_by_the_return(void **state)
{
    contract c;
    kp_lease lease;
    (void)state;
    begin(&c);
    c.options.limits.max_age_ms = 100;
    c.options.limits.age_spread_pct = KP_NONE;
    c.options.limits.age_check = KP_CHECK_RETURN;
    contract_open(&c);
    contract_take(&c, kp_str("a"), &lease);
    kp_sim_pass_ms(c.sim, 150);
    contract_give(&c, &lease);
    assert_int_equal(stats(&c, "a").expired, 1);
    assert_int_equal(stats(&c, "a").live, 0);
    contract_end(&c);
}

static void a_destroy_that_fails_must_not_keep_the_others_of_its_key_from_theirs(void **state)
{
    static const kp_line bad[] = { { .status = -7 }, { 0 } };
    contract c;
    kp_lease leases[3];
    (void)state;
    begin(&c);
    c.script.destroy = bad;
    contract_open(&c);
    contract_take_all(&c, kp_str("a"), leases, 3);
    contract_give_all(&c, leases, 3);
    assert_int_equal(kp_invalidate_key(c.pool, kp_str("a")), 3);
    assert_int_equal(stats(&c, "a").destroys, 3);
    assert_int_equal(stats(&c, "a").destroy_failures, 1);
    assert_int_equal(stats(&c, "a").live, 0);
    contract_end(&c);
}

static void a_get_that_gives_up_late_must_have_used_its_key_until_then(void **state)
{
    contract c;
    kp_lease lease;
    (void)state;
    begin(&c);
    c.options.forget_key_after_ms = 100;
    contract_open(&c);
    struct visit late = { .key = "a", .within_ms = 90, .flags = KP_DONT_CREATE };
    send(&c, &late);
    kp_sim_pass_ms(c.sim, 80);
    contract_take(&c, kp_str("a"), &lease);
    kp_discard(&lease);
    kp_sim_pass_ms(c.sim, 109); /* it came at 0, and left at 90 */
    assert_int_equal(late.rc, KP_ETIMEDOUT);
    assert_int_equal(stats(&c, NULL).keys_forgotten, 0);
    kp_sim_pass_ms(c.sim, 1);
    assert_int_equal(stats(&c, NULL).keys_forgotten, 1);
    contract_end(&c);
}

static void a_circuit_without_an_end_must_stay_open(void **state)
{
    static const kp_line bad[] = { { .status = -5 }, { 0 } };
    contract c;
    (void)state;
    begin(&c);
    c.options.limits.breaker_failures = 1;
    c.options.limits.breaker_open_ms = KP_OFF;
    c.script.create = bad;
    contract_open(&c);
    contract_refused(&c, kp_str("a"), 100, KP_ECREATE);
    contract_refused(&c, kp_str("a"), 100, KP_EBREAKER);
    kp_sim_pass_ms(c.sim, KP_MINUTES(1));
    contract_refused(&c, kp_str("a"), 100, KP_EBREAKER);
    contract_end(&c);
}

static kp_gate limits_gate;

static void limits_behind_a_gate(kp_key key, kp_limits *limits, void *ctx)
{
    contract *c = ctx;
    (void)limits;
    if (*(const char *)key.data == 'a') kp_gate_pass(c->sim, &limits_gate);
}

static void a_get_whose_pool_is_closed_as_its_limits_are_asked_for_must_create_nothing(void **state)
{
    contract c;
    (void)state;
    begin(&c);
    limits_gate = (kp_gate){ 0 };
    c.options.limits_for = limits_behind_a_gate;
    contract_open(&c);
    struct visit late = { .key = "a" };
    send(&c, &late);
    kp_sim_pass_ms(c.sim, 10);
    assert_int_equal(limits_gate.entered, 1);
    assert_int_equal(contract_close(&c, KP_CLOSE_NOW, KP_SECONDS(1)), 0);
    kp_gate_open(c.sim, &limits_gate);
    kp_sim_join(c.sim, 0);
    assert_int_equal(late.rc, KP_ECLOSED);
    assert_int_equal(late.answered_ms, 10);
    assert_int_equal(kp_cast_read(c.cast).creates, 0);
    contract_end(&c);
}

static void drain(void *arg)
{
    contract *c = arg;
    assert_int_equal(kp_pool_close(c->pool, KP_CLOSE_DRAIN, KP_SECONDS(5)), 0);
}

static void a_get_whose_pool_drains_as_its_limits_are_asked_for_must_be_refused(void **state)
{
    static const kp_line slow[] = { { .blocks_ms = 100 }, { 0 } };
    contract c;
    (void)state;
    begin(&c);
    limits_gate = (kp_gate){ 0 };
    c.options.limits_for = limits_behind_a_gate;
    c.script.create = slow;
    contract_open(&c);
    struct visit drained = { .key = "b" }, late = { .key = "a" };
    send(&c, &drained);
    send(&c, &late);
    (void)kp_sim_spawn(c.sim, drain, &c);
    kp_sim_pass_ms(c.sim, 10);
    assert_int_equal(limits_gate.entered, 1);
    kp_gate_open(c.sim, &limits_gate);
    kp_sim_join(c.sim, 0);
    assert_int_equal(drained.rc, 0);
    assert_int_equal(late.rc, KP_ECLOSED);
    assert_int_equal(late.answered_ms, 10);
    assert_int_equal(kp_cast_read(c.cast).creates, 1);
    kp_cast_close(c.cast);
    assert_int_equal(kp_sim_close(c.sim), 0);
}

/* ---- counters and memory --------------------------------------------------------------------- */

static void a_wait_must_be_counted_from_its_first_moment_to_its_last(void **state)
{
    static const kp_line bad[] = { { .status = -1 }, { 0 } };
    static const kp_line create[] = { { .times = 1 }, { .blocks_ms = 50 }, { 0 } };
    contract c;
    (void)state;
    begin(&c);
    c.options.limits.max_live = 1;
    c.options.limits.validate_after_ms = KP_NONE;
    c.script.validate = bad;
    c.script.create = create;
    contract_open(&c);
    struct visit holds = { .key = "a", .hold_ms = 100 }, waits = { .key = "a" };
    send(&c, &holds);
    send(&c, &waits); /* is given a bad one at 100, a new one at 150 */
    kp_sim_join(c.sim, 0);
    assert_int_equal(waits.answered_ms, 150);
    assert_int_equal(stats(&c, "a").waits, 1);
    assert_int_equal(stats(&c, "a").wait_ns, 150 * 1000000);
    contract_end(&c);
}

static void one_that_was_found_bad_must_not_count_as_a_hit(void **state)
{
    static const kp_line bad[] = { { .status = -1 }, { 0 } };
    contract c;
    kp_lease lease;
    (void)state;
    begin(&c);
    c.options.limits.validate_after_ms = KP_NONE;
    c.script.validate = bad;
    contract_open(&c);
    contract_take(&c, kp_str("a"), &lease);
    contract_give(&c, &lease);
    contract_take(&c, kp_str("a"), &lease); /* found bad, made anew */
    contract_give(&c, &lease);
    assert_int_equal(stats(&c, "a").hits, 0);
    assert_int_equal(stats(&c, NULL).hits, 0);
    contract_take(&c, kp_str("a"), &lease);
    contract_give(&c, &lease);
    assert_int_equal(stats(&c, "a").hits, 1);
    contract_end(&c);
}

static void what_is_made_and_destroyed_must_not_make_the_pool_grow(void **state)
{
    kp_sim_memory early = { 0 }, late;
    contract c;
    kp_lease lease;
    (void)state;
    begin(&c);
    contract_open(&c);
    for (int i = 0; i < 2000; i++) {
        contract_take(&c, kp_str("a"), &lease);
        kp_discard(&lease);
        if (i == 10) early = kp_sim_memory_read(c.sim);
    }
    late = kp_sim_memory_read(c.sim);
    assert_int_equal(late.bytes, early.bytes);
    contract_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_that_waits_for_its_victim_must_not_exceed_its_limit),
        cmocka_unit_test(no_more_creates_must_run_at_once_than_the_limit_says),
        cmocka_unit_test(many_gets_must_not_make_many_creates_of_a_dead_backend),
        cmocka_unit_test(room_for_another_key_must_not_be_made_below_the_minimum),
        cmocka_unit_test(room_for_another_key_must_not_be_made_below_the_floor),
        cmocka_unit_test(a_key_below_its_floor_must_be_served_before_a_heavier_one),
        cmocka_unit_test(a_circuit_without_an_end_must_stay_open),
        cmocka_unit_test(a_return_past_its_age_must_be_destroyed_by_the_return),
        cmocka_unit_test(a_destroy_that_fails_must_not_keep_the_others_of_its_key_from_theirs),
        cmocka_unit_test(a_get_that_gives_up_late_must_have_used_its_key_until_then),
        cmocka_unit_test(
            a_get_whose_pool_is_closed_as_its_limits_are_asked_for_must_create_nothing),
        cmocka_unit_test(a_get_whose_pool_drains_as_its_limits_are_asked_for_must_be_refused),
        cmocka_unit_test(a_wait_must_be_counted_from_its_first_moment_to_its_last),
        cmocka_unit_test(one_that_was_found_bad_must_not_count_as_a_hit),
        cmocka_unit_test(what_is_made_and_destroyed_must_not_make_the_pool_grow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
