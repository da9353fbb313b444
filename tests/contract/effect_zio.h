/* SPDX-License-Identifier: MIT
 *
 * What Effect's Pool and ZIO's ZPool promise in the same words: one suite for both presets
 * (effect.c and zio.c run it, each with its own `peer` as the test's state). This part: sizing and
 * get. effect_zio_wait.h has waiting and failing creates, effect_zio_life.h the life of a resource.
 *
 * Two meanings differ on purpose. "Preallocated when constructed" (D2): here nothing is made when
 * the pool opens; the first get of a key, or kp_warm, brings that key to its minimum, in the
 * background or waited for. "Interrupted": here the deadline of a get has passed; the tests of
 * cancelled requests are in loop*.c.
 */
#ifndef CONTRACT_EFFECT_ZIO_H
#define CONTRACT_EFFECT_ZIO_H

#include "scripts.h"

/* Which presets the suite runs with, and how many tasks the peer's own tests start. */
typedef struct peer {
    const char *fixed, *range; /* printf formats: size; min, max, ttl */
    int tasks;
} peer;

static const peer *peer_of(void **state)
{
    return *state;
}

/* ---- sizing ---------------------------------------------------------------------------------- */

/* B-CFG-09, D2, B-ASYNC-03 */
static void a_fixed_pool_of_10_must_be_preallocated_in_the_background_of_its_first_get(void **state)
{
    contract c;
    kp_lease lease;
    contract_begin(&c, peer_of(state)->fixed, 10);
    contract_open(&c);
    contract_rest(&c);
    assert_int_equal(kp_cast_read(c.cast).creates, 0);
    assert_int_equal(contract_take(&c, EU, &lease), 1);
    contract_rest(&c);
    assert_int_equal(kp_cast_read(c.cast).creates, 10);
    assert_int_equal(contract_stats(&c, EU).idle, 9);
    contract_give(&c, &lease);
    assert_int_equal(contract_stats(&c, EU).idle, 10);
    contract_end(&c);
}

/* B-CFG-09, B-GET-05 */
static void the_first_get_of_10_preallocated_must_give_item_1_and_create_none(void **state)
{
    contract c;
    kp_lease lease;
    contract_begin(&c, peer_of(state)->fixed, 10);
    contract_open(&c);
    contract_warm(&c, EU);
    assert_int_equal(kp_cast_read(c.cast).creates, 10);
    assert_int_equal(contract_stats(&c, EU).idle, 10);
    assert_int_equal(contract_take(&c, EU, &lease), 1);
    contract_rest(&c);
    assert_int_equal(kp_cast_read(c.cast).creates, 10);
    contract_give(&c, &lease);
    contract_end(&c);
}

/* B-CFG-10 */
static void a_pool_of_10_to_15_must_preallocate_10_and_create_the_rest_on_demand(void **state)
{
    contract c;
    kp_lease leases[15];
    contract_begin(&c, peer_of(state)->range, 10, 15, "60s");
    contract_open(&c);
    contract_warm(&c, EU);
    assert_int_equal(kp_cast_read(c.cast).creates, 10);
    contract_take_all(&c, EU, leases, 10);
    contract_rest(&c);
    assert_int_equal(kp_cast_read(c.cast).creates, 10);
    for (int i = 10; i < 15; i++) {
        assert_int_equal(contract_take(&c, EU, &leases[i]), i + 1);
        contract_rest(&c);
        assert_int_equal(kp_cast_read(c.cast).creates, i + 1);
    }
    assert_string_equal(contract_refused(&c, EU, 10, KP_ETIMEDOUT).limit, "max_live");
    assert_int_equal(kp_cast_read(c.cast).creates, 15);
    contract_give_all(&c, leases, 15);
    contract_end(&c);
}

/* B-CFG-12, B-FAIL-01 */
static void opening_a_pool_whose_creates_fail_must_succeed_and_the_get_must_fail(void **state)
{
    contract c;
    kp_why why;
    contract_begin(&c, peer_of(state)->fixed, 3);
    c.script.create = always_failing;
    contract_open(&c);
    why = contract_refused(&c, EU, 0, KP_ECREATE);
    assert_int_equal(why.vendor_code, 61);
    assert_non_null(strstr(why.text, "nope"));
    contract_rest(&c);
    contract_end(&c);
}

/* B-LIM-05, B-LIM-06, B-CFG-03, D1 */
static void more_gets_than_max_live_must_wait_on_their_own_key_only(void **state)
{
    contract c;
    kp_gate gate = { 0 };
    getter eu[7], us[7];
    contract_begin(&c, peer_of(state)->range, 0, 4, "60s");
    contract_open(&c);
    contract_start(&c, eu, 7, EU, &gate);
    assert_int_equal(contract_stats(&c, EU).live, 4);
    assert_int_equal(contract_stats(&c, EU).waiting, 3);
    contract_start(&c, us, 7, US, &gate);
    assert_int_equal(contract_stats(&c, US).live, 4);
    assert_int_equal(contract_stats(&c, US).waiting, 3);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).live, 8);
    kp_gate_open(c.sim, &gate);
    kp_sim_join(c.sim, 0);
    assert_int_equal(contract_answered(eu, 7) + contract_answered(us, 7), 14);
    assert_int_equal(kp_cast_read(c.cast).creates, 8);
    contract_end(&c);
}

/* ---- get ------------------------------------------------------------------------------------- */

/* B-GET-01 */
static void a_hundred_gets_one_after_the_other_on_size_10_must_create_10(void **state)
{
    contract c;
    kp_lease lease;
    contract_begin(&c, peer_of(state)->fixed, 10);
    contract_open(&c);
    for (int i = 0; i < 100; i++) {
        (void)contract_take(&c, EU, &lease);
        contract_give(&c, &lease);
        contract_rest(&c);
    }
    assert_int_equal(kp_cast_read(c.cast).creates, 10);
    contract_end(&c);
}

/* B-GET-11, D5: insertion order; what comes back goes to the end */
static void two_items_must_take_turns_over_ten_uses(void **state)
{
    contract c;
    kp_lease lease;
    contract_begin(&c, peer_of(state)->fixed, 2);
    contract_open(&c);
    contract_warm(&c, EU);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(contract_take(&c, EU, &lease), i % 2 + 1);
        contract_give(&c, &lease);
    }
    contract_end(&c);
}

/* B-GET-02 */
static void a_get_that_finds_all_lent_below_the_limit_must_create_one(void **state)
{
    contract c;
    kp_lease leases[3];
    contract_begin(&c, peer_of(state)->range, 0, 3, "60s");
    contract_open(&c);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(contract_take(&c, EU, &leases[i]), i + 1);
        assert_int_equal(kp_cast_read(c.cast).creates, i + 1);
    }
    contract_give_all(&c, leases, 3);
    contract_end(&c);
}

/* B-GET-03 */
static void the_11th_get_of_10_must_be_pending_until_one_comes_back(void **state)
{
    contract c;
    kp_lease leases[10];
    getter eleventh;
    contract_begin(&c, peer_of(state)->fixed, 10);
    contract_open(&c);
    contract_take_all(&c, EU, leases, 10);
    contract_start(&c, &eleventh, 1, EU, NULL);
    kp_sim_pass_ms(c.sim, 10);
    contract_rest(&c);
    assert_false(kp_sim_ended(c.sim, eleventh.task));
    assert_int_equal(contract_stats(&c, EU).waiting, 1);
    contract_give(&c, &leases[4]);
    kp_sim_join(c.sim, eleventh.task);
    assert_int_equal(eleventh.rc, 0);
    assert_int_equal(eleventh.number, 5);
    assert_int_equal(eleventh.answered_ms, 10);
    leases[4] = leases[9];
    contract_give_all(&c, leases, 9);
    contract_end(&c);
}

/* B-GET-09: 400 tasks in ZIO's own test, 10 in Effect's */
static void gets_of_another_key_must_all_finish_while_one_key_is_exhausted(void **state)
{
    contract c;
    kp_lease held[4];
    getter others[400];
    int tasks = peer_of(state)->tasks;
    getter like = { .key = kp_str("key2"), .hold_ms = 10 };
    contract_begin(&c, peer_of(state)->fixed, 4);
    contract_open(&c);
    contract_take_all(&c, kp_str("key1"), held, 4);
    contract_start_as(&c, others, tasks, like);
    contract_rest(&c);
    for (int i = 0; i < tasks; i++) {
        kp_sim_join(c.sim, others[i].task);
    }
    contract_rest(&c);
    assert_int_equal(contract_answered(others, tasks), tasks);
    assert_int_equal(kp_sim_now_ms(c.sim), (tasks + 3) / 4 * 10);
    assert_int_equal(kp_cast_read(c.cast).creates, 8);
    contract_give_all(&c, held, 4);
    contract_end(&c);
}

/* B-ASYNC-02 */
static void creates_for_several_getters_must_run_at_the_same_time(void **state)
{
    contract c;
    getter getters[5];
    kp_gate gate = { 0 };
    contract_begin(&c, peer_of(state)->range, 0, 5, "60s");
    c.script.create = create_blocks_100_ms;
    contract_open(&c);
    contract_start(&c, getters, 5, EU, &gate);
    assert_int_equal(contract_stats(&c, EU).creating, 5);
    kp_sim_pass_ms(c.sim, 100);
    contract_rest(&c);
    assert_int_equal(contract_answered(getters, 5), 5);
    assert_int_equal(getters[4].answered_ms, 100);
    kp_gate_open(c.sim, &gate);
    kp_sim_join(c.sim, 0);
    contract_end(&c);
}

#define BOTH(f, peer) cmocka_unit_test_prestate(f, peer)

#define EFFECT_ZIO_GET_TESTS(p)                                                                    \
    BOTH(a_fixed_pool_of_10_must_be_preallocated_in_the_background_of_its_first_get, p),           \
    BOTH(the_first_get_of_10_preallocated_must_give_item_1_and_create_none, p),                    \
    BOTH(a_pool_of_10_to_15_must_preallocate_10_and_create_the_rest_on_demand, p),                 \
    BOTH(opening_a_pool_whose_creates_fail_must_succeed_and_the_get_must_fail, p),                 \
    BOTH(more_gets_than_max_live_must_wait_on_their_own_key_only, p),                              \
    BOTH(a_hundred_gets_one_after_the_other_on_size_10_must_create_10, p),                         \
    BOTH(two_items_must_take_turns_over_ten_uses, p),                                              \
    BOTH(a_get_that_finds_all_lent_below_the_limit_must_create_one, p),                            \
    BOTH(the_11th_get_of_10_must_be_pending_until_one_comes_back, p),                              \
    BOTH(gets_of_another_key_must_all_finish_while_one_key_is_exhausted, p),                       \
    BOTH(creates_for_several_getters_must_run_at_the_same_time, p)

#endif
