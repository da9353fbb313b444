/* SPDX-License-Identifier: MIT
 *
 * The third part of the suite that Effect and ZIO share (see effect_zio.h): invalidation, time to
 * live, close, keys.
 */
#ifndef CONTRACT_EFFECT_ZIO_LIFE_H
#define CONTRACT_EFFECT_ZIO_LIFE_H

#include "effect_zio.h"

/* Two resources of a key, idle, as pointers. */
static void two_idle(contract *c, void *resources[2])
{
    kp_lease leases[2];
    contract_warm(c, EU);
    contract_take_all(c, EU, leases, 2);
    for (int i = 0; i < 2; i++) {
        resources[i] = leases[i].resource;
    }
    contract_give_all(c, leases, 2);
}

/* ---- invalidate ------------------------------------------------------------------------------ */

/* B-INV-02, B-INV-03 */
static void after_item_1_of_10_is_invalidated_the_next_get_must_give_2_and_10_live_again(
    void **state)
{
    contract c;
    kp_lease lease;
    void *one;
    contract_begin(&c, peer_of(state)->fixed, 10);
    contract_open(&c);
    contract_warm(&c, EU);
    assert_int_equal(contract_take(&c, EU, &lease), 1);
    one = lease.resource;
    assert_int_equal(kp_invalidate(c.pool, one), 1);
    contract_give(&c, &lease);
    assert_int_equal(((kp_prop *)one)->alive, 0);
    assert_int_equal(contract_take(&c, EU, &lease), 2);
    contract_rest(&c);
    assert_int_equal(contract_stats(&c, EU).live, 10);
    assert_int_equal(kp_cast_read(c.cast).live, 10);
    contract_give(&c, &lease);
    contract_end(&c);
}

/* B-INV-04: the peers' published numbers */
static void after_both_of_two_are_invalidated_a_get_must_give_3_with_4_created_and_2_destroyed(
    void **state)
{
    contract c;
    kp_lease lease;
    void *both[2];
    contract_begin(&c, peer_of(state)->fixed, 2);
    contract_open(&c);
    two_idle(&c, both);
    assert_int_equal(kp_invalidate(c.pool, both[0]), 1);
    assert_int_equal(kp_invalidate(c.pool, both[1]), 1);
    contract_check(&c);
    assert_int_equal(contract_take(&c, EU, &lease), 3);
    contract_rest(&c);
    assert_int_equal(kp_cast_read(c.cast).creates, 4);
    assert_int_equal(kp_cast_read(c.cast).destroys, 2);
    contract_give(&c, &lease);
    contract_end(&c);
}

/* B-INV-01, B-INV-06, B-INV-11, L5 */
static void an_item_invalidated_twice_while_lent_must_be_destroyed_once_when_it_comes_back(
    void **state)
{
    contract c;
    kp_lease lease;
    kp_prop *prop;
    contract_begin(&c, peer_of(state)->range, 0, 5, "60s");
    contract_open(&c);
    assert_int_equal(contract_take(&c, EU, &lease), 1);
    prop = contract_prop(&lease);
    assert_int_equal(kp_invalidate(c.pool, prop), 1);
    (void)kp_invalidate(c.pool, prop);
    contract_rest(&c);
    assert_int_equal(prop->alive, 1);
    assert_int_equal(kp_cast_read(c.cast).destroys, 0);
    contract_give(&c, &lease);
    contract_rest(&c);
    assert_int_equal(prop->alive, 0);
    assert_int_equal(kp_cast_read(c.cast).destroys, 1);
    assert_int_equal(contract_take(&c, EU, &lease), 2);
    contract_give(&c, &lease);
    contract_end(&c);
}

/* B-INV-10, D9: our meaning: "not found", and no residue */
static void an_unknown_item_must_be_not_found_and_leave_no_residue(void **state)
{
    contract c;
    kp_lease lease;
    int strangers[1000];
    uint64_t bytes;
    contract_begin(&c, peer_of(state)->fixed, 2);
    contract_open(&c);
    (void)contract_take(&c, EU, &lease);
    contract_give(&c, &lease);
    contract_rest(&c);
    bytes = kp_sim_memory_read(c.sim).bytes;
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(kp_invalidate(c.pool, &strangers[i]), 0);
    }
    contract_rest(&c);
    assert_int_equal(kp_sim_memory_read(c.sim).bytes, bytes);
    assert_int_equal(contract_stats(&c, EU).live, 2);
    contract_end(&c);
}

/* B-INV-08, B-GET-06: every other task marks its item; holding takes 0 to 15 ms */
static void acquire_release_many_with_invalidates_must_let_all_finish(void **state)
{
    contract c;
    getter getters[400];
    int tasks = peer_of(state)->tasks;
    uint64_t draw = CONTRACT_SEED;
    contract_begin(&c, peer_of(state)->fixed, 4);
    contract_open(&c);
    for (int i = 0; i < tasks; i++) {
        getter like = { .key = EU };
        draw = draw * 6364136223846793005u + 1442695040888963407u;
        like.hold_ms = (int64_t)(draw >> 33) % 16;
        like.invalidate = (draw >> 60) & 1;
        contract_start_as(&c, &getters[i], 1, like);
    }
    kp_sim_join(c.sim, 0);
    contract_rest(&c);
    print_message("seed %d\n", CONTRACT_SEED);
    assert_int_equal(contract_answered(getters, tasks), tasks);
    assert_int_equal(contract_stats(&c, EU).live, 4);
    assert_int_equal(contract_stats(&c, EU).leases, 0);
    contract_end(&c);
}

/* ---- time to live ---------------------------------------------------------------------------- */

/* `users` getters hold at once, all give back; then the pool has `before`, and `after` 60 s
 * later. */
static void shrink(contract *c, int users, uint64_t before, uint64_t after)
{
    getter getters[45];
    kp_gate gate = { 0 };
    contract_open(c);
    contract_start(c, getters, users, EU, &gate);
    assert_int_equal(contract_answered(getters, users), users);
    assert_int_equal(contract_stats(c, EU).live, before);
    assert_int_equal(contract_stats(c, EU).leases, users);
    kp_gate_open(c->sim, &gate);
    kp_sim_join(c->sim, 0);
    contract_rest(c);
    assert_int_equal(contract_stats(c, EU).live, before);
    kp_sim_pass_ms(c->sim, KP_SECONDS(59));
    contract_rest(c);
    assert_int_equal(contract_stats(c, EU).live, before);
    kp_sim_pass_ms(c->sim, KP_SECONDS(1));
    contract_rest(c);
    assert_int_equal(contract_stats(c, EU).live, after);
    assert_int_equal(kp_cast_read(c->cast).destroys, before - after);
    contract_end(c);
}

/* B-TTL-11: the peers' published numbers */
static void fifteen_of_10_to_15_must_shrink_to_10_after_60_s(void **state)
{
    contract c;
    contract_begin(&c, peer_of(state)->range, 10, 15, "60s");
    shrink(&c, 15, 15, 10);
}

/* B-TTL-11, B-CFG-25 */
static void with_sharing_3_and_45_users_15_must_shrink_to_10_after_60_s(void **state)
{
    contract c;
    contract_begin(&c, peer_of(state)->range, 10, 15, "60s");
    c.options.limits.sharing = 3;
    shrink(&c, 45, 15, 10);
}

/* B-TTL-12 */
static void with_minimum_0_ten_must_scale_to_zero_after_60_s(void **state)
{
    contract c;
    contract_begin(&c, peer_of(state)->range, 0, 10, "60s");
    c.options.limits.sharing = 3;
    shrink(&c, 30, 10, 0);
}

/* B-TTL-15, E3-6: an item is excess by its last use, not by its creation; and never below the
 * minimum */
static void what_is_used_within_the_ttl_must_stay_and_the_minimum_must_never_be_undercut(
    void **state)
{
    contract c;
    kp_lease leases[5];
    kp_lease lease;
    contract_begin(&c, peer_of(state)->range, 2, 5, "60s");
    contract_open(&c);
    contract_take_all(&c, EU, leases, 5);
    contract_give_all(&c, leases, 5);
    kp_sim_pass_ms(c.sim, KP_SECONDS(30));
    assert_int_equal(contract_take(&c, EU, &lease), 1);
    contract_give(&c, &lease);
    kp_sim_pass_ms(c.sim, KP_SECONDS(30));
    contract_rest(&c);
    assert_int_equal(contract_stats(&c, EU).live, 2);
    kp_sim_pass_ms(c.sim, KP_HOURS(1));
    contract_rest(&c);
    assert_int_equal(contract_stats(&c, EU).live, 2);
    contract_take_all(&c, EU, leases, 2);
    assert_true(contract_prop(&leases[0])->number == 1 || contract_prop(&leases[1])->number == 1);
    contract_give_all(&c, leases, 2);
    contract_end(&c);
}

/* ---- close ----------------------------------------------------------------------------------- */

/* B-SHUT-01, B-SHUT-02, B-SHUT-03, B-CB-05 */
static void closing_must_destroy_the_idle_items_of_all_keys_before_it_returns(void **state)
{
    contract c;
    contract_begin(&c, peer_of(state)->fixed, 10);
    contract_open(&c);
    contract_warm(&c, EU);
    contract_warm(&c, US);
    assert_int_equal(kp_cast_read(c.cast).live, 20);
    assert_int_equal(contract_close(&c, KP_CLOSE_WAIT, KP_SECONDS(5)), 0);
    assert_int_equal(kp_cast_read(c.cast).live, 0);
    assert_int_equal(kp_cast_read(c.cast).destroys, 20);
    contract_end(&c);
}

/* B-SHUT-05: the peers' published numbers */
static void when_a_pool_of_10_with_100_users_closes_all_is_destroyed_and_nobody_hangs(void **state)
{
    contract c;
    getter users[100];
    getter like = { .key = EU, .hold_ms = 3, .rounds = 50 };
    contract_begin(&c, peer_of(state)->fixed, 10);
    contract_open(&c);
    contract_start_as(&c, users, 100, like);
    kp_sim_pass_ms(c.sim, 7);
    contract_rest(&c);
    assert_int_equal(contract_stats(&c, EU).leases, 10);
    assert_int_equal(contract_close(&c, KP_CLOSE_WAIT, KP_SECONDS(5)), 0);
    assert_int_equal(kp_cast_read(c.cast).live, 0);
    kp_sim_join(c.sim, 0);
    assert_int_equal(kp_sim_now_ms(c.sim), 9);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(users[i].rc, KP_ECLOSED);
    }
    contract_end(&c);
}

/* B-SHUT-12 */
static void an_item_whose_create_ends_after_the_close_must_be_destroyed(void **state)
{
    contract c;
    getter late;
    contract_begin(&c, peer_of(state)->range, 0, 1, "60s");
    c.script.create = create_blocks_100_ms;
    contract_open(&c);
    contract_start(&c, &late, 1, EU, NULL);
    assert_int_equal(contract_close(&c, KP_CLOSE_NOW, 0), 1);
    kp_sim_join(c.sim, 0);
    assert_int_equal(late.rc, KP_ECLOSED);
    assert_int_equal(kp_cast_read(c.cast).creates, 1);
    assert_int_equal(kp_cast_read(c.cast).destroys, 1);
    contract_end(&c);
}

/* B-ASYNC-03, B-SHUT-12: the background's own creates end with the pool */
static void closing_while_the_background_preallocates_must_leave_nothing_behind(void **state)
{
    contract c;
    kp_key key = EU;
    contract_begin(&c, peer_of(state)->fixed, 10);
    c.script.create = create_blocks_100_ms;
    contract_open(&c);
    assert_int_equal(kp_warm(c.pool, &key, 1, NULL), 0);
    kp_sim_pass_ms(c.sim, 150);
    contract_check(&c);
    assert_true(contract_stats(&c, EU).creating > 0 || contract_stats(&c, EU).idle == 10);
    (void)contract_close(&c, KP_CLOSE_NOW, 0);
    kp_sim_pass_ms(c.sim, 100);
    assert_int_equal(kp_cast_read(c.cast).live, 0);
    assert_int_equal(contract_close(&c, KP_CLOSE_NOW, 0), 0);
    kp_sim_pass_ms(c.sim, KP_MINUTES(1));
    assert_true(kp_cast_read(c.cast).creates <= 10);
    contract_end(&c);
}

static void closer(void *arg)
{
    contract *c = arg;
    if (kp_pool_close(c->pool, KP_CLOSE_WAIT, KP_SECONDS(10)) != 0) {
        contract_broken(c, "the second close returned before the end");
    }
}

/* B-SHUT-13 */
static void closing_twice_at_once_must_destroy_each_item_once_and_both_must_see_the_end(
    void **state)
{
    contract c;
    getter holder;
    getter like = { .key = EU, .hold_ms = 50 };
    contract_begin(&c, peer_of(state)->fixed, 3);
    contract_open(&c);
    contract_start_as(&c, &holder, 1, like);
    contract_rest(&c);
    assert_true(kp_sim_spawn(c.sim, closer, &c) > 0);
    assert_int_equal(contract_close(&c, KP_CLOSE_WAIT, KP_SECONDS(10)), 0);
    assert_int_equal(kp_sim_now_ms(c.sim), 50);
    kp_sim_join(c.sim, 0);
    assert_int_equal(kp_cast_read(c.cast).destroys, 3);
    assert_int_equal(contract_close(&c, KP_CLOSE_NOW, 0), 0);
    contract_end(&c);
}

/* B-CB-03, L11 */
static void destroys_that_fail_must_not_keep_close_from_destroying_all_ten(void **state)
{
    contract c;
    contract_begin(&c, peer_of(state)->fixed, 10);
    c.script.destroy = destroy_always_fails;
    contract_open(&c);
    contract_warm(&c, EU);
    assert_int_equal(contract_close(&c, KP_CLOSE_WAIT, KP_SECONDS(5)), 0);
    assert_int_equal(kp_cast_read(c.cast).live, 0);
    assert_int_equal(c.events[KP_EVENT_DESTROY_FAILED], 10);
    contract_end(&c);
}

/* ---- keys ------------------------------------------------------------------------------------ */

/* 200 keys are used once, and an hour passes; how many are there then? */
static uint64_t keys_after_an_hour(contract *c)
{
    contract_open(c);
    for (int i = 0; i < 200; i++) {
        kp_lease lease;
        char name[16];
        (void)snprintf(name, sizeof name, "tenant-%d", i);
        (void)contract_take(c, kp_str(name), &lease);
        contract_give(c, &lease);
    }
    contract_rest(c);
    assert_int_equal(contract_stats(c, KP_EVERY_KEY).keys, 200);
    kp_sim_pass_ms(c->sim, KP_HOURS(1));
    contract_rest(c);
    assert_int_equal(contract_stats(c, KP_EVERY_KEY).keys_made, 200);
    return contract_stats(c, KP_EVERY_KEY).keys;
}

/* B-KEY-02, D19: the peers keep every key for ever */
static void two_hundred_keys_used_once_must_stay_when_keys_are_never_forgotten(void **state)
{
    contract c;
    contract_begin(&c, peer_of(state)->fixed, 1);
    c.options.forget_key_after_ms = KP_OFF;
    assert_int_equal(keys_after_an_hour(&c), 200);
    assert_int_equal(kp_cast_read(c.cast).live, 200);
    contract_end(&c);
}

/* B-KEY-02, D19, L8: our meaning: an unused key is forgotten, its minimum with it; its totals
 * are kept */
static void two_hundred_keys_used_once_must_be_forgotten_when_that_is_asked_for(void **state)
{
    contract c;
    contract_begin(&c, peer_of(state)->fixed, 1);
    c.options.forget_key_after_ms = KP_MINUTES(5);
    assert_int_equal(keys_after_an_hour(&c), 0);
    assert_int_equal(kp_cast_read(c.cast).live, 0);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).keys_forgotten, 200);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).gets, 200);
    contract_end(&c);
}

#define EFFECT_ZIO_LIFE_TESTS(p)                                                                   \
    BOTH(after_item_1_of_10_is_invalidated_the_next_get_must_give_2_and_10_live_again, p),         \
    BOTH(after_both_of_two_are_invalidated_a_get_must_give_3_with_4_created_and_2_destroyed, p),   \
    BOTH(an_item_invalidated_twice_while_lent_must_be_destroyed_once_when_it_comes_back, p),       \
    BOTH(an_unknown_item_must_be_not_found_and_leave_no_residue, p),                               \
    BOTH(acquire_release_many_with_invalidates_must_let_all_finish, p),                            \
    BOTH(fifteen_of_10_to_15_must_shrink_to_10_after_60_s, p),                                     \
    BOTH(with_sharing_3_and_45_users_15_must_shrink_to_10_after_60_s, p),                          \
    BOTH(with_minimum_0_ten_must_scale_to_zero_after_60_s, p),                                     \
    BOTH(what_is_used_within_the_ttl_must_stay_and_the_minimum_must_never_be_undercut, p),         \
    BOTH(closing_must_destroy_the_idle_items_of_all_keys_before_it_returns, p),                    \
    BOTH(when_a_pool_of_10_with_100_users_closes_all_is_destroyed_and_nobody_hangs, p),            \
    BOTH(an_item_whose_create_ends_after_the_close_must_be_destroyed, p),                          \
    BOTH(closing_while_the_background_preallocates_must_leave_nothing_behind, p),                  \
    BOTH(closing_twice_at_once_must_destroy_each_item_once_and_both_must_see_the_end, p),          \
    BOTH(destroys_that_fail_must_not_keep_close_from_destroying_all_ten, p),                       \
    BOTH(two_hundred_keys_used_once_must_stay_when_keys_are_never_forgotten, p),                   \
    BOTH(two_hundred_keys_used_once_must_be_forgotten_when_that_is_asked_for, p)

#endif
