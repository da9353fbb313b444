/* SPDX-License-Identifier: MIT
 *
 * kp_drain waits for leases that began before it, and for what is being destroyed, and for nothing
 * else. With it and limits a program pauses a key, or moves to another server. And what kp_drop of
 * a paused key waits for (the rest of it: clear.c).
 */
#include <stdlib.h>

#include "contract.h"

#include <keyedpool/loop.h>

#define A kp_str("a")
#define B kp_str("b")

static void begin(contract *c)
{
    contract_begin(c, NULL);
    c->options.limits.max_live = 3;
    c->options.limits.idle_ttl_ms = KP_OFF;
    c->options.limits.max_age_ms = KP_OFF;
}

/* Holds one lease of a key for so long. */
static void hold(contract *c, getter *g, kp_key key, int64_t hold_ms)
{
    contract_start_as(c, g, 1, (getter){ .key = key, .hold_ms = hold_ms });
    (void)kp_sim_settle(c->sim);
}

static void it_must_wait_for_the_leases_of_before_and_not_for_later_ones(void **state)
{
    contract c;
    getter before[2], later;
    (void)state;
    begin(&c);
    contract_open(&c);
    hold(&c, &before[0], A, 500);
    hold(&c, &before[1], A, 800);
    contract_start_as(&c, &later, 1, (getter){ .key = A, .hold_ms = 400, .rounds = 10 });
    assert_int_equal(kp_drain(c.pool, A, KP_SECONDS(5)), 0);
    assert_int_equal(kp_sim_now_ms(c.sim), 800);
    assert_int_equal(contract_stats(&c, A).lent, 1);
    assert_int_equal(kp_drain(c.pool, B, 0), 0); /* there is no such key */
    kp_sim_join(c.sim, 0);
    contract_end(&c);
}

static void at_its_deadline_it_must_say_how_many_are_out(void **state)
{
    contract c;
    getter before[2];
    (void)state;
    begin(&c);
    contract_open(&c);
    hold(&c, &before[0], A, KP_SECONDS(50));
    hold(&c, &before[1], B, KP_SECONDS(40));
    assert_int_equal(kp_drain(c.pool, A, 700), 1);
    assert_int_equal(kp_sim_now_ms(c.sim), 700);
    assert_int_equal(kp_drain(c.pool, KP_EVERY_KEY, KP_NONE), 2);
    assert_int_equal(kp_sim_now_ms(c.sim), 700);
    assert_int_equal(kp_drain(c.pool, KP_EVERY_KEY, 0), 2);
    assert_int_equal(kp_sim_now_ms(c.sim), 700 + KP_SECONDS(30));
    assert_int_equal(kp_drain(c.pool, KP_EVERY_KEY, KP_MINUTES(1)), 0);
    assert_int_equal(kp_sim_now_ms(c.sim), KP_SECONDS(50));
    contract_end(&c);
}

static void it_must_wait_for_what_is_being_destroyed(void **state)
{
    static const kp_line slowly[] = { { .takes_ms = 300, .times = KP_OFF }, { 0 } };
    contract c;
    getter before;
    (void)state;
    begin(&c);
    c.script.destroy = slowly;
    contract_open(&c);
    hold(&c, &before, A, 500);
    assert_int_equal(kp_invalidate_key(c.pool, A), 1);
    assert_int_equal(kp_drain(c.pool, A, KP_SECONDS(5)), 0);
    assert_int_equal(kp_sim_now_ms(c.sim), 800);
    assert_int_equal(contract_stats(&c, A).live, 0);
    contract_end(&c);
}

static void each_seat_of_a_shared_resource_must_count(void **state)
{
    contract c;
    getter before[2];
    (void)state;
    begin(&c);
    c.options.limits.sharing = 2;
    contract_open(&c);
    hold(&c, &before[0], A, 500);
    hold(&c, &before[1], A, 600);
    assert_int_equal(kp_drain(c.pool, A, KP_NONE), 2);
    assert_int_equal(kp_drain(c.pool, A, KP_SECONDS(5)), 0);
    assert_int_equal(kp_sim_now_ms(c.sim), 600);
    contract_end(&c);
}

/* The failover of a program: nothing is lent, what is out comes back, everything is created
 * again. */
static void a_key_must_be_paused_drained_renewed_and_resumed(void **state)
{
    const kp_limits pause = { .max_lent = KP_NONE }, resume = { .max_lent = KP_UNLIMITED };
    contract c;
    getter before, meanwhile;
    (void)state;
    begin(&c);
    contract_open(&c);
    hold(&c, &before, A, 500);
    assert_int_equal(kp_limits_set(c.pool, A, &pause, NULL), 0);
    hold(&c, &meanwhile, A, 10);
    assert_int_equal(kp_invalidate_key(c.pool, A), 1);
    assert_int_equal(kp_drain(c.pool, A, KP_SECONDS(5)), 0);
    assert_int_equal(kp_sim_now_ms(c.sim), 500);
    contract_check(&c);
    assert_int_equal(contract_stats(&c, A).live, 0);
    assert_int_equal(contract_stats(&c, A).waiting, 1);
    kp_sim_pass_ms(c.sim, 250);
    assert_int_equal(kp_limits_set(c.pool, A, &resume, NULL), 0);
    kp_sim_join(c.sim, 0);
    assert_int_equal(meanwhile.rc, 0);
    assert_int_equal(meanwhile.answered_ms, 750);
    assert_int_equal(meanwhile.number, 2);
    contract_end(&c);
}

static void smaller_limits_must_be_seen_to_have_taken_effect(void **state)
{
    const kp_limits one = { .max_live = 1 };
    contract c;
    getter before[3];
    (void)state;
    begin(&c);
    contract_open(&c);
    for (int i = 0; i < 3; i++) hold(&c, &before[i], A, 100 * (i + 1));
    assert_int_equal(kp_limits_set(c.pool, A, &one, NULL), 0);
    assert_int_equal(kp_drain(c.pool, A, KP_SECONDS(5)), 0);
    assert_int_equal(kp_sim_now_ms(c.sim), 300);
    assert_int_equal(contract_stats(&c, A).live, 1);
    contract_end(&c);
}

static void on_the_thread_of_a_loop_nothing_must_be_waited_for(void **state)
{
    contract c;
    getter before;
    kp_loop *loop;
    (void)state;
    begin(&c);
    contract_open(&c);
    hold(&c, &before, A, 500);
    assert_int_equal(kp_loop_open(&loop), 0);
    (void)kp_loop_dispatch(loop);
    assert_int_equal(kp_drain(c.pool, A, KP_SECONDS(5)), 1);
    assert_int_equal(kp_sim_now_ms(c.sim), 0);
    assert_int_equal(kp_loop_close(loop), 0);
    kp_sim_join(c.sim, 0);
    contract_end(&c);
}

/* Nothing but a request that waits keeps the key from going: no lease that ends tells the drop. */
static void pin_in_200_ms(void *arg)
{
    contract *c = arg;
    kp_key pin;
    kp_sim_pass_ms(c->sim, 200);
    if (kp_pin(c->pool, A, &pin) != 0) contract_broken(c, "the key is not wanted again");
    else kp_unpin(c->pool, &pin);
}

static void a_drop_of_a_paused_key_must_end_when_that_is_wanted_again(void **state)
{
    contract c;
    getter waits;
    (void)state;
    begin(&c);
    c.options.limits.max_lent = KP_NONE;
    contract_open(&c);
    contract_start_as(&c, &waits, 1, (getter){ .key = A, .within_ms = 900 });
    (void)kp_sim_settle(c.sim);
    assert_true(kp_sim_spawn(c.sim, pin_in_200_ms, &c) > 0);
    assert_int_equal(kp_drop(c.pool, A, KP_SECONDS(5)), 0);
    assert_int_equal(kp_sim_now_ms(c.sim), 200);
    kp_sim_join(c.sim, 0);
    assert_int_equal(waits.rc, KP_ETIMEDOUT);
    assert_int_equal(contract_stats(&c, A).keys, 1);
    contract_end(&c);
}

/* While the first key is begun the second one's resource is lent anew, and wanted again. */
static void after_5_ms(void *arg)
{
    getter *g = arg;

    kp_sim_pass_ms(g->c->sim, 5);
    contract__getter(g);
}

static void after_15_ms(void *arg)
{
    kp_sim_pass_ms(((getter *)arg)->c->sim, 10);
    after_5_ms(arg);
}

static void a_drop_of_all_must_wait_for_what_is_lent_while_it_begins(void **state)
{
    static const kp_line slowly[] = { { .blocks_ms = 10, .times = KP_OFF }, { 0 } };
    contract c;
    kp_lease a, b;
    getter old = { .c = &c, .key = kp_str("b"), .hold_ms = 50 };
    getter again = { .c = &c, .key = kp_str("b"), .hold_ms = 1 };
    (void)state;
    begin(&c);
    c.script.destroy = slowly;
    contract_open(&c);
    (void)contract_take(&c, kp_str("a"), &a);
    (void)contract_take(&c, kp_str("b"), &b);
    contract_give(&c, &a);
    contract_give(&c, &b);
    assert_true(kp_sim_spawn(c.sim, after_5_ms, &old) > 0);
    assert_true(kp_sim_spawn(c.sim, after_15_ms, &again) > 0);
    int64_t began = kp_sim_now_ms(c.sim);
    assert_int_equal(kp_drop(c.pool, KP_EVERY_KEY, KP_SECONDS(1)), 0);
    assert_in_range(kp_sim_now_ms(c.sim) - began, 65, 1000);
    kp_sim_join(c.sim, 0);
    assert_int_equal(old.rc + again.rc, 0);
    contract_end(&c);
}

/* Lends a key for so long, and looks at nothing: that would shut its lane. */
struct lend {
    contract *c;
    kp_key key;
    int64_t after_ms, hold_ms;
};

static void lend(void *arg)
{
    const struct lend *l = arg;
    kp_lease lease;

    kp_sim_pass_ms(l->c->sim, l->after_ms);
    if (kp_get(l->c->pool, l->key, NULL, &lease) != 0) {
        contract_broken(l->c, "no lease");
        return;
    }
    kp_sim_pass_ms(l->c->sim, l->hold_ms);
    kp_release(&lease);
}

static void invalidate_b_in_60_ms(void *arg)
{
    contract *c = arg;

    kp_sim_pass_ms(c->sim, 60);
    (void)kp_invalidate_key(c->pool, B);
}

/* The lane of one that was begun opens again before the last is begun, and later lends; what it
 * lends then is not to be lent again either. The first key is waited for meanwhile. */
static void a_drop_of_all_must_not_wait_for_what_a_lane_lends_afterwards(void **state)
{
    static const kp_line slowly[] = { { .blocks_ms = 10, .times = KP_OFF }, { 0 } };
    contract c;
    kp_driver driver;
    kp_lease lease[4];
    (void)state;
    begin(&c);
    c.options.leak_after_ms = KP_OFF; /* no lane would stay open for long */
    c.script.destroy = slowly;
    c.script.sim = c.sim;
    assert_int_equal(kp_cast_open(&c.script, &c.cast), 0);
    driver = kp_cast_driver(c.cast);
    driver.validate = NULL; /* likewise */
    driver.reset = NULL;
    (void)setenv("KP_LANES", "2", 1); /* where the build listens to it */
    contract_open_driver(&c, &driver);
    (void)unsetenv("KP_LANES");
    contract_take_all(&c, A, lease, 2);
    contract_take_all(&c, B, lease + 2, 1);
    contract_take_all(&c, kp_str("c"), lease + 3, 1);
    contract_give_all(&c, lease, 4);
    struct lend all[] = {
        { &c, A, 0, 112 }, { &c, B, 24, 0 }, { &c, B, 26, 0 }, { &c, B, 40, 5000 }
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        assert_true(kp_sim_spawn(c.sim, lend, &all[i]) > 0);
    assert_true(kp_sim_spawn(c.sim, invalidate_b_in_60_ms, &c) > 0);
    (void)kp_sim_settle(c.sim);
    assert_int_equal(kp_drop(c.pool, KP_EVERY_KEY, KP_SECONDS(1)), 0);
    assert_in_range(kp_sim_now_ms(c.sim), 112, 200);
    kp_sim_join(c.sim, 0);
    contract_end(&c);
}

/* Its key is wanted again while later ones are begun; what it has then was not there before. */
static void a_drop_of_all_must_not_wait_for_what_was_made_since(void **state)
{
    static const kp_line slowly[] = { { .blocks_ms = 10, .times = KP_OFF }, { 0 } };
    contract c;
    kp_lease a, b;
    (void)state;
    begin(&c);
    c.script.destroy = slowly;
    contract_open(&c);
    contract_take_all(&c, A, &a, 1);
    contract_take_all(&c, B, &b, 1);
    contract_give(&c, &a);
    contract_give(&c, &b);
    struct lend fresh = { &c, A, 12, 5000 };
    assert_true(kp_sim_spawn(c.sim, lend, &fresh) > 0);
    assert_int_equal(kp_drop(c.pool, KP_EVERY_KEY, KP_SECONDS(1)), 0);
    assert_in_range(kp_sim_now_ms(c.sim), 20, 100);
    assert_int_equal(contract_stats(&c, A).leases, 1);
    kp_sim_join(c.sim, 0);
    contract_end(&c);
}

static void what_is_no_pool_and_no_key_must_be_told(void **state)
{
    contract c;
    int thing = 0;
    (void)state;
    begin(&c);
    c.misuses = 1;
    contract_open(&c);
    assert_int_equal(kp_drain(c.pool, KP_KEY(&thing), 0), KP_EMISUSE);
    kp_pool *pool = c.pool;
    contract_end(&c);
    assert_int_equal(kp_drain(pool, A, 0), KP_ECLOSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_must_wait_for_the_leases_of_before_and_not_for_later_ones),
        cmocka_unit_test(at_its_deadline_it_must_say_how_many_are_out),
        cmocka_unit_test(it_must_wait_for_what_is_being_destroyed),
        cmocka_unit_test(each_seat_of_a_shared_resource_must_count),
        cmocka_unit_test(a_key_must_be_paused_drained_renewed_and_resumed),
        cmocka_unit_test(smaller_limits_must_be_seen_to_have_taken_effect),
        cmocka_unit_test(on_the_thread_of_a_loop_nothing_must_be_waited_for),
        cmocka_unit_test(a_drop_of_a_paused_key_must_end_when_that_is_wanted_again),
        cmocka_unit_test(a_drop_of_all_must_wait_for_what_is_lent_while_it_begins),
        cmocka_unit_test(a_drop_of_all_must_not_wait_for_what_a_lane_lends_afterwards),
        cmocka_unit_test(a_drop_of_all_must_not_wait_for_what_was_made_since),
        cmocka_unit_test(what_is_no_pool_and_no_key_must_be_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
