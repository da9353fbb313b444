/* SPDX-License-Identifier: MIT
 *
 * Tests of the test kit itself: the keeper of a sim. There is no pool here: this file defines
 * kp_keep, and a pool is just an address.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dies.h"
#include "keyedpool_test.h"
#include "no_pools.h"

#define START_NS UINT64_C(1000000000)
#define MS UINT64_C(1000000)

static kp_sim *sim;
static const kp_world *world;
static int a_place, b_place;
static char log_text[1024];
static int64_t again_after_ms, keep_takes_ms;   /* what kp_keep does; of pool a only */
static int again_times;
static kp_gate gate;

#define POOL_A ((kp_pool *)(void *)&a_place)
#define POOL_B ((kp_pool *)(void *)&b_place)

static void due_in(kp_pool *pool, int64_t ms)
{
    world->upkeep(pool, world->now_ns(world->ctx) + (uint64_t)ms * MS, world->ctx);
}

static void forget(kp_pool *pool)
{
    world->upkeep(pool, UINT64_MAX, world->ctx);
}

static uint64_t until_of_keep(void)
{
    return keep_takes_ms == KP_OFF ? UINT64_MAX
                                   : world->now_ns(world->ctx) + (uint64_t)keep_takes_ms * MS;
}

int64_t kp_keep(kp_pool *pool)
{
    size_t used = strlen(log_text);

    snprintf(log_text + used, sizeof log_text - used, "%s@%d ", pool == POOL_A ? "a" : "b",
             (int)kp_sim_now_ms(sim));
    if (pool == POOL_A && again_times != 0) {
        again_times--;
        due_in(pool, again_after_ms);
    }
    if (pool == POOL_A && keep_takes_ms) {
        uint32_t word = 0;

        world->park(&word, 0, until_of_keep(), world->ctx);
    }
    return -1;
}

static void open_sim(void)
{
    log_text[0] = '\0';
    again_after_ms = keep_takes_ms = 0;
    again_times = 0;
    gate = (kp_gate){ 0, 0 };
    assert_int_equal(kp_sim_open(1, &sim), 0);
    world = kp_sim_world(sim);
}

static void close_sim(void)
{
    assert_int_equal(kp_sim_close(sim), 0);
}

static void upkeep_must_run_exactly_when_due_and_once(void **state)
{
    (void)state;
    open_sim();
    due_in(POOL_A, 10);
    kp_sim_pass_ms(sim, 9);
    assert_string_equal(log_text, "");
    kp_sim_pass_ms(sim, 1);
    assert_string_equal(log_text, "a@10 ");
    kp_sim_pass_ms(sim, 1000);
    assert_string_equal(log_text, "a@10 ");
    close_sim();
}

static void a_new_due_time_must_replace_the_last(void **state)
{
    (void)state;
    open_sim();
    due_in(POOL_A, 10);
    due_in(POOL_A, 30);
    kp_sim_pass_ms(sim, 20);
    assert_string_equal(log_text, "");
    due_in(POOL_A, 5);
    kp_sim_pass_ms(sim, 20);
    assert_string_equal(log_text, "a@25 ");
    close_sim();
}

static void a_forgotten_pool_must_not_be_kept(void **state)
{
    (void)state;
    open_sim();
    forget(POOL_B);
    due_in(POOL_A, 10);
    due_in(POOL_B, 10);
    forget(POOL_A);
    kp_sim_pass_ms(sim, 50);
    assert_string_equal(log_text, "b@10 ");
    close_sim();
}

static void the_pool_that_is_due_first_must_be_kept_first(void **state)
{
    (void)state;
    open_sim();
    due_in(POOL_A, 30);
    due_in(POOL_B, 20);
    kp_sim_pass_ms(sim, 50);
    assert_string_equal(log_text, "b@20 a@30 ");
    due_in(POOL_B, 10);
    due_in(POOL_A, 10);
    kp_sim_pass_ms(sim, 10);
    assert_string_equal(log_text, "b@20 a@30 b@60 a@60 ");
    close_sim();
}

static void kp_keep_must_be_able_to_ask_again(void **state)
{
    (void)state;
    open_sim();
    again_after_ms = 10;
    again_times = 3;
    due_in(POOL_A, 5);
    kp_sim_pass_ms(sim, 100);
    assert_string_equal(log_text, "a@5 a@15 a@25 a@35 ");
    close_sim();
}

static void kp_keep_must_be_able_to_wait_while_others_are_late(void **state)
{
    (void)state;
    open_sim();
    keep_takes_ms = 50;
    due_in(POOL_A, 10);
    due_in(POOL_B, 20);
    kp_sim_pass_ms(sim, 40);
    assert_string_equal(log_text, "a@10 ");
    kp_sim_pass_ms(sim, 40);
    assert_string_equal(log_text, "a@10 b@60 ");
    close_sim();
}

static void what_is_due_now_must_be_kept_without_time_going_by(void **state)
{
    (void)state;
    open_sim();
    due_in(POOL_A, 0);
    assert_int_equal(kp_sim_settle(sim), 0);
    assert_string_equal(log_text, "a@0 ");
    close_sim();
}

static void stand_at_the_gate(void *arg)
{
    kp_gate_pass(arg, &gate);
}

static void the_keeper_must_not_be_counted_as_a_task(void **state)
{
    (void)state;
    open_sim();
    keep_takes_ms = 20;
    due_in(POOL_A, 10);
    assert_int_equal(kp_sim_spawn(sim, stand_at_the_gate, sim), 1);
    assert_int_equal(kp_sim_settle(sim), 1);
    kp_sim_pass_ms(sim, 15);                    /* now kp_keep waits */
    assert_int_equal(kp_sim_settle(sim), 1);
    kp_gate_open(sim, &gate);
    kp_sim_join(sim, 0);
    assert_true(kp_sim_ended(sim, 0));
    assert_int_equal(kp_sim_now_ms(sim), 15);
    close_sim();
}

static void due_from_a_task(void *arg)
{
    (void)arg;
    due_in(POOL_B, 3);
    kp_sim_pass_ms(sim, 5);
    forget(POOL_A);
}

static void any_task_must_be_able_to_ask_for_upkeep(void **state)
{
    (void)state;
    open_sim();
    due_in(POOL_A, 8);
    kp_sim_spawn(sim, due_from_a_task, NULL);
    kp_sim_pass_ms(sim, 20);
    assert_string_equal(log_text, "b@3 ");
    close_sim();
}

static void close_must_let_kp_keep_end_and_then_forget_all_pools(void **state)
{
    (void)state;
    open_sim();
    again_after_ms = 10;
    again_times = -1;
    keep_takes_ms = 40;
    due_in(POOL_A, 0);
    due_in(POOL_B, 1000);
    kp_sim_settle(sim);
    keep_takes_ms = 0;
    close_sim();
    assert_string_equal(log_text, "a@0 a@40 ");
}

static void ask_for_ever(void)
{
    open_sim();
    again_after_ms = 0;
    again_times = -1;
    due_in(POOL_A, 0);
    kp_sim_settle(sim);
}

static void upkeep_without_end_must_be_told(void **state)
{
    (void)state;
    must_die(ask_for_ever, "keeps asking for upkeep at a time that has come");
}

static void a_keeper_that_rests_in_between_must_not_be_taken_for_one_without_end(void **state)
{
    (void)state;
    open_sim();
    for (int i = 0; i < 100001; i++) {
        log_text[0] = '\0';
        due_in(POOL_A, 0);
        (void)kp_sim_settle(sim);
    }
    assert_string_equal(log_text, "a@0 ");
    close_sim();
}

static void wait_for_ever_in_upkeep(void)
{
    open_sim();
    keep_takes_ms = KP_OFF;
    due_in(POOL_A, 10);
    kp_sim_spawn(sim, stand_at_the_gate, sim);
    kp_sim_join(sim, 1);
}

static void a_keeper_that_waits_for_ever_must_not_hide_a_deadlock(void **state)
{
    (void)state;
    must_die(wait_for_ever_in_upkeep, "task 1 waits at the shut gate");
}

static void wait_at_the_gate_with_an_idle_keeper(void)
{
    open_sim();
    due_in(POOL_A, 10);
    kp_sim_spawn(sim, stand_at_the_gate, sim);
    kp_sim_join(sim, 1);
}

static void an_idle_keeper_must_not_hide_a_deadlock(void **state)
{
    (void)state;
    must_die(wait_at_the_gate_with_an_idle_keeper, "deadlock at 10 ms");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(upkeep_must_run_exactly_when_due_and_once),
        cmocka_unit_test(a_new_due_time_must_replace_the_last),
        cmocka_unit_test(a_forgotten_pool_must_not_be_kept),
        cmocka_unit_test(the_pool_that_is_due_first_must_be_kept_first),
        cmocka_unit_test(kp_keep_must_be_able_to_ask_again),
        cmocka_unit_test(kp_keep_must_be_able_to_wait_while_others_are_late),
        cmocka_unit_test(what_is_due_now_must_be_kept_without_time_going_by),
        cmocka_unit_test(the_keeper_must_not_be_counted_as_a_task),
        cmocka_unit_test(any_task_must_be_able_to_ask_for_upkeep),
        cmocka_unit_test(close_must_let_kp_keep_end_and_then_forget_all_pools),
        cmocka_unit_test(upkeep_without_end_must_be_told),
        cmocka_unit_test(a_keeper_that_rests_in_between_must_not_be_taken_for_one_without_end),
        cmocka_unit_test(a_keeper_that_waits_for_ever_must_not_hide_a_deadlock),
        cmocka_unit_test(an_idle_keeper_must_not_hide_a_deadlock),
    };

    return cmocka_run_group_tests_name("the keeper of the test kit", tests, NULL, NULL);
}
