/* SPDX-License-Identifier: MIT
 *
 * Effect's Pool (presets effect-fixed, effect-range): the suite it shares with ZIO, and the
 * options of Pool. Its KeyedPool is in effect_keys.c, scopes and use in effect_use.c, failures in
 * effect_fail.c, the life of an item in effect_life.c, close and counters in effect_close.c.
 */
#include "effect_zio_life.h"
#include "effect_zio_wait.h"

static peer effect = { "effect-fixed %d", "effect-range %d %d %s", 10 };

/* ---- the options of Pool: concurrency, targetUtilization ------------------------------------- */

/* B-CFG-25 */
static void with_sharing_3_and_45_borrowers_15_must_exist_each_lent_three_times(void **state)
{
    contract c;
    getter getters[46];
    kp_gate gate = { 0 };
    (void)state;
    contract_begin(&c, "effect-range %d %d %s", 10, 15, "60s");
    c.options.limits.sharing = 3;
    contract_open(&c);
    contract_start(&c, getters, 45, EU, &gate);
    assert_int_equal(contract_answered(getters, 45), 45);
    assert_int_equal(kp_cast_read(c.cast).creates, 15);
    assert_int_equal(contract_stats(&c, EU).lent, 15);
    assert_int_equal(contract_stats(&c, EU).leases, 45);
    contract_start(&c, &getters[45], 1, EU, &gate);
    assert_int_equal(contract_stats(&c, EU).waiting, 1);
    kp_gate_open(c.sim, &gate);
    kp_sim_join(c.sim, 0);
    contract_end(&c);
}

/* B-INV-06, L5, with sharing: nobody new comes in, and the last one out has it destroyed */
static void an_invalidated_item_with_several_borrowers_must_take_no_more_and_go_with_the_last(
    void **state)
{
    contract c;
    kp_lease leases[2];
    kp_lease others[2];
    kp_prop *shared;
    (void)state;
    contract_begin(&c, "effect-range %d %d %s", 0, 2, "60s");
    c.options.limits.sharing = 3;
    contract_open(&c);
    contract_take_all(&c, EU, leases, 2);
    shared = contract_prop(&leases[0]);
    if (contract_prop(&leases[1]) != shared) {
        fail_msg("two borrowers of three seats have two resources");
    }
    assert_int_equal(kp_invalidate(c.pool, shared), 1);
    assert_int_equal(contract_take(&c, EU, &others[0]), 2);
    contract_give(&c, &leases[0]);
    assert_int_equal(contract_take(&c, EU, &others[1]), 2);
    contract_rest(&c);
    assert_int_equal(shared->alive, 1);
    contract_give(&c, &leases[1]);
    contract_rest(&c);
    assert_int_equal(shared->alive, 0);
    assert_int_equal(kp_cast_read(c.cast).destroys, 1);
    contract_give_all(&c, others, 2);
    contract_end(&c);
}

/* B-CFG-25: concurrency 1 is the default */
static void without_sharing_a_lease_must_be_exclusive(void **state)
{
    contract c;
    getter getters[30];
    getter like = { .key = EU, .hold_ms = 1, .rounds = 3 };
    (void)state;
    contract_begin(&c, "effect-range %d %d %s", 1, 4, "60s");
    contract_open(&c);
    contract_start_as(&c, getters, 30, like);
    kp_sim_join(c.sim, 0);
    contract_rest(&c);
    for (int i = 0; i < 30; i++) {
        assert_int_equal(getters[i].answers, 3);
    }
    assert_int_equal(kp_cast_read(c.cast).most_live, 4);
    contract_end(&c);
}

/* DESIGN 3, Pool options: at 50 % utilization as many spare ones are made as are used */
static void with_utilization_50_spare_ones_must_be_made_before_they_are_asked_for(void **state)
{
    contract c;
    kp_lease leases[2];
    kp_lease spare;
    (void)state;
    contract_begin(&c, "effect-range %d %d %s", 0, 10, "60s");
    c.options.limits.utilization_pct = 50;
    contract_open(&c);
    contract_take_all(&c, EU, leases, 2);
    contract_rest(&c);
    assert_int_equal(contract_stats(&c, EU).live, 4);
    assert_int_equal(contract_stats(&c, EU).idle, 2);
    assert_int_equal(kp_try_get(c.pool, EU, &spare), 0);
    contract_give(&c, &spare);
    contract_give_all(&c, leases, 2);
    contract_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EFFECT_ZIO_GET_TESTS(&effect),
        EFFECT_ZIO_WAIT_TESTS(&effect),
        EFFECT_ZIO_LIFE_TESTS(&effect),
        cmocka_unit_test(with_sharing_3_and_45_borrowers_15_must_exist_each_lent_three_times),
        cmocka_unit_test(
            an_invalidated_item_with_several_borrowers_must_take_no_more_and_go_with_the_last),
        cmocka_unit_test(without_sharing_a_lease_must_be_exclusive),
        cmocka_unit_test(with_utilization_50_spare_ones_must_be_made_before_they_are_asked_for),
    };
    return cmocka_run_group_tests_name("effect", tests, NULL, NULL);
}
