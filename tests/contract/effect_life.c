/* SPDX-License-Identifier: MIT
 *
 * Effect: the life of an item (invalidate, health check, time to live) and waiting for one.
 * What Effect shares with ZIO is in effect_zio_life.h.
 */
#include "scripts.h"

/* ---- invalidate ------------------------------------------------------------------------------ */

/* Find the item bad, and get a fresh one in the same scope. */
static void discard_and_get_again(int size)
{
    contract c;
    kp_scope scope = { 0 };
    kp_lease first, second;
    contract_begin(&c, "effect-fixed %d", size);
    contract_open(&c);
    assert_int_equal(kp_scope_get(&scope, c.pool, EU, NULL, &first), 0);
    assert_int_equal(contract_prop(&first)->number, 1);
    kp_discard(&first);
    contract_check(&c);
    assert_int_equal(kp_scope_get(&scope, c.pool, EU, KP_IN_S(1), &second), 0);
    assert_int_equal(contract_prop(&second)->number, 2);
    contract_rest(&c);
    assert_int_equal(kp_cast_read(c.cast).destroys, 1);
    assert_int_equal(contract_stats(&c, EU).live, size);
    kp_scope_close(&scope);
    contract_rest(&c);
    contract_end(&c);
}

/* B-INV-07, B-CHK-01, D18, E3-9: where Effect blocks on itself at size 1, discard ends the lease
 * and frees the room */
static void discard_and_get_again_in_one_scope_must_give_a_fresh_item_also_at_size_1(void **state)
{
    (void)state;
    discard_and_get_again(2);
    discard_and_get_again(1);
}

/* B-INV-05, D2: with refill lazy the replacement waits for the next get */
static void with_lazy_refill_an_invalidated_item_must_be_replaced_at_the_next_get(void **state)
{
    contract c;
    kp_lease lease;
    (void)state;
    contract_begin(&c, "effect-fixed %d", 1);
    c.options.limits.refill = KP_REFILL_LAZY;
    contract_open(&c);
    (void)contract_take(&c, EU, &lease);
    contract_rest(&c);
    kp_discard(&lease);
    kp_sim_pass_ms(c.sim, KP_SECONDS(10));
    contract_rest(&c);
    assert_int_equal(kp_cast_read(c.cast).creates, 1);
    assert_int_equal(contract_take(&c, EU, &lease), 2);
    contract_give(&c, &lease);
    contract_end(&c);
}

/* B-INV-09, D9, E3-3: by identity, not by equality */
static void invalidating_an_item_must_not_touch_an_equal_one_of_another_key(void **state)
{
    contract c;
    kp_lease a, b;
    kp_prop *of_a, *of_b;
    (void)state;
    contract_begin(&c, "effect-fixed %d", 1);
    contract_open(&c);
    (void)contract_take(&c, EU, &a);
    (void)contract_take(&c, US, &b);
    of_a = contract_prop(&a);
    of_b = contract_prop(&b);
    contract_give(&c, &a);
    contract_give(&c, &b);
    assert_int_equal(kp_invalidate(c.pool, of_a), 1);
    contract_check(&c);
    assert_int_equal(of_a->alive, 0);
    assert_int_equal(of_b->alive, 1);
    assert_int_equal(contract_take(&c, US, &b), 2);
    contract_give(&c, &b);
    contract_end(&c);
}

/* B-INV-12 */
static void invalidating_in_a_closed_pool_must_do_nothing(void **state)
{
    contract c;
    kp_lease lease;
    kp_prop *prop;
    (void)state;
    contract_begin(&c, "effect-fixed %d", 1);
    contract_open(&c);
    (void)contract_take(&c, EU, &lease);
    prop = contract_prop(&lease);
    contract_give(&c, &lease);
    assert_int_equal(contract_close(&c, KP_CLOSE_WAIT, KP_SECONDS(1)), 0);
    assert_int_equal(prop->alive, 0);
    assert_int_equal(kp_invalidate(c.pool, prop), 0);
    assert_int_equal(kp_cast_read(c.cast).destroys, 1);
    contract_end(&c);
}

/* B-INV-13, D18: where Effect no longer counts it and may exceed the size, a marked item counts
 * in live until it comes back */
static void an_invalidated_item_that_is_lent_must_count_in_live_until_it_comes_back(void **state)
{
    contract c;
    kp_lease lease;
    getter waiter;
    (void)state;
    contract_begin(&c, "effect-fixed %d", 1);
    contract_open(&c);
    (void)contract_take(&c, EU, &lease);
    assert_int_equal(kp_invalidate(c.pool, lease.resource), 1);
    contract_start(&c, &waiter, 1, EU, NULL);
    kp_sim_pass_ms(c.sim, KP_SECONDS(1));
    contract_rest(&c);
    assert_int_equal(waiter.rc, KP_EAGAIN);
    assert_int_equal(contract_stats(&c, EU).live, 1);
    contract_give(&c, &lease);
    kp_sim_join(c.sim, waiter.task);
    contract_rest(&c);
    assert_int_equal(waiter.number, 2);
    assert_int_equal(kp_cast_read(c.cast).most_live, 1);
    contract_end(&c);
}

/* B-CB-04, L11 */
static void a_destroy_that_fails_must_be_reported_and_not_reach_the_one_who_invalidates(
    void **state)
{
    contract c;
    kp_lease lease;
    void *resource;
    (void)state;
    contract_begin(&c, "effect-fixed %d", 1);
    c.script.destroy = destroy_always_fails;
    contract_open(&c);
    (void)contract_take(&c, EU, &lease);
    resource = lease.resource;
    contract_give(&c, &lease);
    assert_int_equal(kp_invalidate(c.pool, resource), 1);
    contract_check(&c);
    assert_int_equal(c.events[KP_EVENT_DESTROY_FAILED], 1);
    assert_int_equal(contract_stats(&c, EU).destroy_failures, 1);
    assert_int_equal(contract_take(&c, EU, &lease), 2);
    contract_give(&c, &lease);
    contract_end(&c);
}

/* B-SHUT-14 */
static void an_invalidated_item_released_during_close_must_be_destroyed_once(void **state)
{
    contract c;
    getter holder;
    getter like = { .key = EU, .hold_ms = 20 };
    kp_lease lease;
    (void)state;
    contract_begin(&c, "effect-fixed %d", 2);
    contract_open(&c);
    contract_start_as(&c, &holder, 1, like);
    contract_rest(&c);
    (void)contract_take(&c, EU, &lease);
    assert_int_equal(kp_invalidate(c.pool, lease.resource), 1);
    assert_int_equal(kp_invalidate(c.pool, holder.lease.resource), 1);
    contract_check(&c);
    assert_int_equal(contract_close(&c, KP_CLOSE_NOW, 0), 2);
    kp_release(&lease);
    assert_int_equal(contract_close(&c, KP_CLOSE_WAIT, KP_SECONDS(1)), 0);
    assert_int_equal(kp_sim_now_ms(c.sim), 20);
    assert_int_equal(kp_cast_read(c.cast).destroys, 2);
    contract_end(&c);
}

/* ---- time to live ---------------------------------------------------------------------------- */

/* B-TTL-08 */
static void without_a_time_to_live_nothing_must_be_destroyed_in_a_day(void **state)
{
    contract c;
    kp_lease leases[5];
    (void)state;
    contract_begin(&c, "effect-range %d %d %s", 0, 5, "off");
    contract_open(&c);
    contract_take_all(&c, EU, leases, 5);
    contract_give_all(&c, leases, 5);
    kp_sim_pass_ms(c.sim, KP_HOURS(24));
    contract_rest(&c);
    assert_int_equal(contract_stats(&c, EU).live, 5);
    assert_int_equal(kp_cast_read(c.cast).destroys, 0);
    contract_end(&c);
}

/* B-TTL-13: the creation strategy is max_age_ms */
static void with_the_creation_strategy_15_in_use_must_stay_and_be_destroyed_when_they_come_back(
    void **state)
{
    contract c;
    kp_lease leases[15];
    (void)state;
    contract_begin(&c, "effect-range %d %d %s", 10, 15, "off");
    c.options.limits.max_age_ms = KP_SECONDS(60);
    c.options.limits.age_spread_pct = KP_NONE;
    contract_open(&c);
    contract_take_all(&c, EU, leases, 15);
    kp_sim_pass_ms(c.sim, KP_SECONDS(60));
    contract_rest(&c);
    assert_int_equal(kp_cast_read(c.cast).destroys, 0);
    assert_int_equal(contract_stats(&c, EU).live, 15);
    contract_give_all(&c, leases, 15);
    contract_rest(&c);
    assert_int_equal(kp_cast_read(c.cast).destroys, 15);
    contract_end(&c);
}

/* B-TTL-14: nothing that somebody uses is ever excess, so there is nothing to reclaim, and no
 * third is made */
static void an_item_partly_in_use_must_not_be_shrunk_and_serve_new_demand_instead_of_a_third(
    void **state)
{
    contract c;
    kp_lease leases[4];
    int other;
    (void)state;
    contract_begin(&c, "effect-range %d %d %s", 0, 2, "60s");
    c.options.limits.sharing = 2;
    contract_open(&c);
    contract_take_all(&c, EU, leases, 4);
    assert_int_equal(kp_cast_read(c.cast).creates, 2);
    other =
        contract_prop(&leases[3]) == contract_prop(&leases[2]) ? 1 : 2; /* one user less on each */
    contract_give(&c, &leases[other]);
    contract_give(&c, &leases[3]);
    kp_sim_pass_ms(c.sim, KP_MINUTES(5));
    contract_rest(&c);
    (void)contract_take(&c, EU, &leases[other]);
    (void)contract_take(&c, EU, &leases[3]);
    contract_rest(&c);
    assert_int_equal(contract_stats(&c, EU).leases, 4);
    assert_int_equal(kp_cast_read(c.cast).creates, 2);
    assert_int_equal(contract_stats(&c, EU).live, 2);
    contract_give_all(&c, leases, 4);
    contract_end(&c);
}

/* B-TTL-16, D3: "refresh clients periodically" */
static void a_client_older_than_its_maximum_age_must_be_refreshed(void **state)
{
    contract c;
    kp_lease lease;
    (void)state;
    contract_begin(&c, "effect-fixed %d", 1);
    c.options.limits.max_age_ms = KP_MINUTES(15);
    c.options.limits.age_spread_pct = KP_NONE;
    contract_open(&c);
    assert_int_equal(contract_take(&c, EU, &lease), 1);
    contract_give(&c, &lease);
    kp_sim_pass_ms(c.sim, KP_MINUTES(14));
    assert_int_equal(contract_take(&c, EU, &lease), 1);
    contract_give(&c, &lease);
    kp_sim_pass_ms(c.sim, KP_MINUTES(1));
    assert_int_equal(contract_take(&c, EU, &lease), 2);
    assert_int_equal(kp_cast_read(c.cast).destroys, 1);
    contract_give(&c, &lease);
    contract_end(&c);
}

/* ---- waiting for one create ------------------------------------------------------------------ */

/* B-WAIT-09: interrupted: their deadline passes, for all ten at once */
static void ten_waiters_whose_deadline_passes_must_leave_usage_exact(void **state)
{
    contract c;
    kp_lease held;
    getter waiters[10];
    getter like = { .key = EU, .within_ms = 50 };
    (void)state;
    contract_begin(&c, "effect-fixed %d", 1);
    contract_open(&c);
    (void)contract_take(&c, EU, &held);
    contract_start_as(&c, waiters, 10, like);
    contract_rest(&c);
    assert_int_equal(contract_stats(&c, EU).waiting, 10);
    kp_sim_join(c.sim, 0);
    contract_rest(&c);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(waiters[i].rc, KP_ETIMEDOUT);
        assert_int_equal(waiters[i].answered_ms, 50);
    }
    assert_int_equal(contract_stats(&c, EU).waiting, 0);
    assert_int_equal(contract_stats(&c, EU).leases, 1);
    contract_give(&c, &held);
    assert_int_equal(contract_stats(&c, EU).leases, 0);
    contract_end(&c);
}

/* B-WAIT-10, B-MET-03 */
static void ten_getters_on_one_create_in_flight_must_each_get_the_item_in_turn(void **state)
{
    contract c;
    getter getters[10];
    (void)state;
    contract_begin(&c, "effect-range %d %d %s", 0, 1, "60s");
    c.script.create = create_blocks_100_ms;
    contract_open(&c);
    contract_start(&c, getters, 10, EU, NULL);
    assert_int_equal(contract_stats(&c, EU).creating, 1);
    kp_sim_join(c.sim, 0);
    contract_rest(&c);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(getters[i].rc, 0);
        assert_int_equal(getters[i].turn, i + 1);
    }
    assert_int_equal(kp_cast_read(c.cast).creates, 1);
    assert_int_equal(contract_stats(&c, EU).waiting, 0);
    assert_int_equal(contract_stats(&c, EU).leases, 0);
    contract_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(discard_and_get_again_in_one_scope_must_give_a_fresh_item_also_at_size_1),
        cmocka_unit_test(with_lazy_refill_an_invalidated_item_must_be_replaced_at_the_next_get),
        cmocka_unit_test(invalidating_an_item_must_not_touch_an_equal_one_of_another_key),
        cmocka_unit_test(invalidating_in_a_closed_pool_must_do_nothing),
        cmocka_unit_test(an_invalidated_item_that_is_lent_must_count_in_live_until_it_comes_back),
        cmocka_unit_test(
            a_destroy_that_fails_must_be_reported_and_not_reach_the_one_who_invalidates),
        cmocka_unit_test(an_invalidated_item_released_during_close_must_be_destroyed_once),
        cmocka_unit_test(without_a_time_to_live_nothing_must_be_destroyed_in_a_day),
        cmocka_unit_test(
            with_the_creation_strategy_15_in_use_must_stay_and_be_destroyed_when_they_come_back),
        cmocka_unit_test(
            an_item_partly_in_use_must_not_be_shrunk_and_serve_new_demand_instead_of_a_third),
        cmocka_unit_test(a_client_older_than_its_maximum_age_must_be_refreshed),
        cmocka_unit_test(ten_waiters_whose_deadline_passes_must_leave_usage_exact),
        cmocka_unit_test(ten_getters_on_one_create_in_flight_must_each_get_the_item_in_turn),
    };
    return cmocka_run_group_tests_name("effect_life", tests, NULL, NULL);
}
