/* SPDX-License-Identifier: MIT
 *
 * How keys are cleared: kp_evict destroys what is idle, kp_drop ends a key. Neither makes a get
 * fail, and each returns when it is done.
 */
#include "contract.h"

#include <keyedpool/loop.h>

#define A kp_str("a")
#define B kp_str("b")

static void begin(contract *c)
{
    contract_begin(c, NULL);
    c->options.limits.max_live = 5;
    c->options.limits.max_creating = KP_UNLIMITED;
    c->options.limits.idle_ttl_ms = KP_OFF;
    c->options.limits.max_age_ms = KP_OFF;
    c->options.forget_key_after_ms = KP_OFF;
}

/* So many idle ones, the first returned first. */
static void stock(contract *c, kp_key key, int n)
{
    kp_lease leases[8];

    contract_take_all(c, key, leases, n);
    contract_give_all(c, leases, n);
}

/* Holds one lease of a key for so long. */
static void hold(contract *c, getter *g, kp_key key, int64_t hold_ms)
{
    contract_start_as(c, g, 1, (getter){ .key = key, .hold_ms = hold_ms });
    (void)kp_sim_settle(c->sim);
}

/* ---- evict ----------------------------------------------------------------------------------- */

static void it_must_go_down_to_as_many_as_was_said_and_keep_the_latest(void **state)
{
    contract c;
    kp_lease lease;
    (void)state;
    begin(&c);
    contract_open(&c);
    stock(&c, A, 5);
    stock(&c, B, 2);
    assert_int_equal(kp_evict(c.pool, A, 2), 3);
    contract_rest(&c);
    assert_int_equal(contract_stats(&c, A).idle, 2);
    assert_int_equal(contract_stats(&c, B).idle, 2);
    assert_int_equal(contract_take(&c, A, &lease), 5); /* the last returned */
    assert_int_equal(kp_evict(c.pool, A, 2), 0);       /* what is lent is not concerned */
    assert_int_equal(kp_evict(c.pool, A, KP_NONE), 1);
    contract_give(&c, &lease);
    assert_int_equal(contract_stats(&c, A).idle, 1);
    assert_int_equal(contract_stats(&c, A).evicted, 0); /* no other key had its room */
    assert_int_equal(kp_evict(c.pool, KP_EVERY_KEY, 1), 1);
    assert_int_equal(kp_evict(c.pool, KP_EVERY_KEY, KP_NONE), 2);
    assert_int_equal(kp_evict(c.pool, KP_EVERY_KEY, KP_NONE), 0);
    assert_int_equal(kp_evict(c.pool, kp_str("nobody"), KP_NONE), 0);
    contract_end(&c);
}

static void what_the_limits_keep_must_stay_unless_it_is_said(void **state)
{
    contract c;
    (void)state;
    begin(&c);
    c.options.limits.min_live = 2;
    c.options.limits.min_idle = 3;
    contract_open(&c);
    stock(&c, A, 5);
    assert_int_equal(kp_evict(c.pool, A, 0), 2);
    assert_int_equal(contract_stats(&c, A).idle, 3);
    const kp_limits fewer = { .min_idle = KP_NONE };
    assert_int_equal(kp_limits_set(c.pool, A, &fewer, NULL), 0);
    assert_int_equal(kp_evict(c.pool, A, 0), 1);
    assert_int_equal(kp_evict(c.pool, A, 0), 0);
    contract_rest(&c);
    assert_int_equal(kp_evict(c.pool, A, 1), 1);
    contract_rest(&c);
    assert_int_equal(contract_stats(&c, A).idle, 1); /* refill is lazy */
    contract_end(&c);
}

static void a_minimum_must_be_made_up_where_refill_is_eager(void **state)
{
    contract c;
    (void)state;
    begin(&c);
    c.options.limits.min_live = 2;
    c.options.limits.refill = KP_REFILL_EAGER;
    contract_open(&c);
    contract_warm(&c, A);
    assert_int_equal(kp_evict(c.pool, A, KP_NONE), 2);
    contract_rest(&c);
    assert_int_equal(contract_stats(&c, A).idle, 2);
    assert_int_equal(contract_stats(&c, A).creates, 4);
    contract_end(&c);
}

/* A get that takes one has another made; other losses are made up as limits.refill says. */
static void what_is_kept_ready_must_be_made_up_by_a_get_or_where_refill_is_eager(void **state)
{
    (void)state;
    for (int eager = 0; eager < 2; eager++) {
        kp_lease lease;
        contract c;
        begin(&c);
        c.options.limits.min_idle = 2;
        c.options.limits.prefill = KP_PREFILL_NONE;
        c.options.limits.refill = eager ? KP_REFILL_EAGER : KP_REFILL_LAZY;
        contract_open(&c);
        stock(&c, A, 1);
        kp_sim_pass_ms(c.sim, 10);
        assert_int_equal(contract_stats(&c, A).idle, 2);
        assert_int_equal(kp_evict(c.pool, A, 1), 1);
        kp_sim_pass_ms(c.sim, KP_SECONDS(10));
        assert_int_equal(contract_stats(&c, A).idle, eager ? 2 : 1);
        (void)contract_take(&c, A, &lease);
        kp_sim_pass_ms(c.sim, 10);
        assert_int_equal(contract_stats(&c, A).idle, 2);
        contract_give(&c, &lease);
        contract_end(&c);
    }
}

static void what_it_destroys_must_be_gone_when_it_returns(void **state)
{
    static const kp_line slowly[] = { { .blocks_ms = 300, .times = KP_OFF }, { 0 } };
    contract c;
    (void)state;
    begin(&c);
    c.script.destroy = slowly;
    contract_open(&c);
    stock(&c, A, 2);
    assert_int_equal(kp_evict(c.pool, A, 1), 1);
    assert_int_equal(kp_sim_now_ms(c.sim), 300);
    assert_int_equal(contract_stats(&c, A).live, 1);
    contract_end(&c);
}

/* ---- drop ------------------------------------------------------------------------------------ */

static void a_key_must_be_gone_when_it_returns_and_its_totals_be_kept(void **state)
{
    contract c;
    getter before;
    kp_stats s;
    (void)state;
    begin(&c);
    contract_open(&c);
    stock(&c, A, 3);
    stock(&c, B, 1);
    hold(&c, &before, A, 500);
    assert_int_equal(kp_drop(c.pool, A, KP_SECONDS(5)), 0);
    assert_int_equal(kp_sim_now_ms(c.sim), 500);
    assert_int_equal(kp_stats_read(c.pool, A, &s), KP_ENOTFOUND);
    s = contract_stats(&c, KP_EVERY_KEY);
    assert_int_equal(s.keys, 1);
    assert_int_equal(s.keys_forgotten, 1);
    assert_int_equal(s.creates, 4);
    assert_int_equal(s.destroys, 3);
    assert_int_equal(c.events[KP_EVENT_KEY_FORGOTTEN], 1);
    assert_int_equal(kp_drop(c.pool, A, 0), 0); /* there is no such key */
    assert_int_equal(kp_drop(c.pool, KP_EVERY_KEY, 0), 0);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).keys, 0);
    stock(&c, A, 1);
    assert_int_equal(c.events[KP_EVENT_KEY_MADE], 3);
    contract_end(&c);
}

static void edit(kp_key key, kp_limits *limits, void *arg)
{
    (void)key;
    limits->max_live += ++*(int64_t *)arg;
}

static void a_key_must_be_made_anew_with_limits_for(void **state)
{
    const kp_limits one = { .max_live = 1 };
    contract c;
    kp_lease leases[4];
    int64_t asked = 0;
    (void)state;
    begin(&c);
    c.options.limits.max_live = 2;
    c.options.limits_for = edit;
    c.options.ctx = &asked;
    c.options.on_event = NULL;
    contract_open(&c);
    stock(&c, A, 3);
    assert_int_equal(kp_limits_set(c.pool, A, &one, NULL), 0);
    assert_int_equal(kp_drop(c.pool, A, KP_NONE), 0);
    contract_take_all(&c, A, leases, 4);
    (void)contract_refused(&c, A, 10, KP_ETIMEDOUT);
    contract_give_all(&c, leases, 4);
    assert_int_equal(asked, 2);
    contract_end(&c);
}

static void at_its_deadline_it_must_say_how_many_are_out_and_the_last_take_the_key(void **state)
{
    contract c;
    getter before[2];
    (void)state;
    begin(&c);
    contract_open(&c);
    hold(&c, &before[0], A, 500);
    hold(&c, &before[1], A, 900);
    assert_int_equal(kp_drop(c.pool, A, 300), 2);
    assert_int_equal(kp_drop(c.pool, A, 300), 1);
    assert_int_equal(kp_sim_now_ms(c.sim), 600);
    kp_sim_pass_ms(c.sim, 299);
    assert_int_equal(contract_stats(&c, A).lent, 1);
    kp_sim_pass_ms(c.sim, 1);
    contract_rest(&c);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).keys, 0);
    contract_end(&c);
}

static void who_waits_must_be_served_first(void **state)
{
    contract c;
    getter before[5], waits[3];
    (void)state;
    begin(&c);
    contract_open(&c);
    for (int i = 0; i < 5; i++) hold(&c, &before[i], A, 500);
    for (int i = 0; i < 3; i++) hold(&c, &waits[i], A, 100);
    assert_int_equal(kp_drop(c.pool, A, KP_SECONDS(5)), 0);
    assert_int_equal(kp_sim_now_ms(c.sim), 600);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(waits[i].rc, 0);
        assert_int_equal(waits[i].answered_ms, 500);
        assert_true(waits[i].number > 5); /* nothing of before is lent again */
    }
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).keys, 0);
    contract_end(&c);
}

static void a_get_that_comes_meanwhile_must_be_served_and_keep_the_key(void **state)
{
    contract c;
    getter before, after;
    (void)state;
    begin(&c);
    contract_open(&c);
    hold(&c, &before, A, 500);
    assert_int_equal(kp_drop(c.pool, A, KP_NONE), 1);
    hold(&c, &after, A, 900);
    assert_int_equal(after.rc, 0);
    assert_int_equal(after.answered_ms, 0);
    assert_int_equal(after.number, 2);
    kp_sim_join(c.sim, 0);
    contract_rest(&c);
    assert_int_equal(contract_stats(&c, A).idle, 1);
    assert_int_equal(contract_stats(&c, A).creates, 2);
    contract_end(&c);
}

/* It waits for what was there before, not for gets that came since. */
static void a_drop_must_not_wait_for_who_wants_the_key_again(void **state)
{
    contract c;
    getter before, after;
    (void)state;
    begin(&c);
    contract_open(&c);
    hold(&c, &before, A, 500);
    contract_start_as(&c, &after, 1, (getter){ .key = A, .hold_ms = 10, .rounds = 100 });
    assert_int_equal(kp_drop(c.pool, A, KP_SECONDS(5)), 0);
    assert_int_equal(kp_sim_now_ms(c.sim), 500);
    kp_sim_join(c.sim, 0);
    assert_int_equal(after.answers, 100);
    assert_int_equal(contract_stats(&c, A).idle, 1);
    contract_end(&c);
}

static void what_is_being_made_must_not_stay(void **state)
{
    static const kp_line slowly[] = { { .takes_ms = 300, .times = KP_OFF }, { 0 } };
    contract c;
    kp_key a = A;
    (void)state;
    begin(&c);
    c.script.create = slowly;
    contract_open(&c);
    assert_int_equal(kp_warm(c.pool, &a, 1, NULL), 0);
    kp_sim_pass_ms(c.sim, 100);
    assert_int_equal(contract_stats(&c, A).creating, 1);
    assert_int_equal(kp_drop(c.pool, A, KP_SECONDS(5)), 0);
    assert_int_equal(kp_sim_now_ms(c.sim), 300);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).keys, 0);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).destroys, 1);
    contract_end(&c);
}

static void a_create_that_fails_must_be_its_end_too(void **state)
{
    static const kp_line fails[] = { { .takes_ms = 300, .status = -1, .times = KP_OFF }, { 0 } };
    contract c;
    kp_key a = A;
    (void)state;
    begin(&c);
    c.script.create = fails;
    contract_open(&c);
    assert_int_equal(kp_warm(c.pool, &a, 1, NULL), 0);
    kp_sim_pass_ms(c.sim, 100);
    assert_int_equal(kp_drop(c.pool, A, KP_NONE), 1);
    kp_sim_pass_ms(c.sim, 200);
    contract_rest(&c);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).keys, 0);
    contract_end(&c);
}

static void nothing_must_be_made_in_the_background(void **state)
{
    contract c;
    getter before;
    (void)state;
    begin(&c);
    c.options.limits.min_live = 3;
    c.options.limits.refill = KP_REFILL_EAGER;
    contract_open(&c);
    contract_warm(&c, A);
    hold(&c, &before, A, 500);
    assert_int_equal(kp_drop(c.pool, A, KP_SECONDS(5)), 0);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).creates, 3);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).keys, 0);
    contract_end(&c);
}

static void who_keeps_the_key_must_have_its_minimum_again(void **state)
{
    contract c;
    getter before;
    kp_lease lease;
    (void)state;
    begin(&c);
    c.options.limits.min_live = 3;
    c.options.limits.refill = KP_REFILL_EAGER;
    c.options.limits.prefill = KP_PREFILL_NONE;
    contract_open(&c);
    contract_warm(&c, A);
    hold(&c, &before, A, 500);
    assert_int_equal(kp_drop(c.pool, A, KP_NONE), 1);
    (void)contract_take(&c, A, &lease);
    kp_sim_join(c.sim, 0);
    contract_rest(&c);
    assert_int_equal(contract_stats(&c, A).live, 3);
    contract_give(&c, &lease);
    contract_end(&c);
}

static void a_pinned_key_must_go_when_it_is_unpinned(void **state)
{
    contract c;
    kp_key pin;
    (void)state;
    begin(&c);
    contract_open(&c);
    stock(&c, A, 2);
    assert_int_equal(kp_pin(c.pool, A, &pin), 0);
    assert_int_equal(kp_drop(c.pool, pin, 0), 0);
    assert_int_equal(contract_stats(&c, A).live, 0);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).keys, 1);
    kp_unpin(c.pool, &pin);
    contract_rest(&c);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).keys, 0);
    contract_end(&c);
}

static void all_keys_must_be_dropped_at_once(void **state)
{
    contract c;
    getter before[2];
    (void)state;
    begin(&c);
    contract_open(&c);
    hold(&c, &before[0], A, 500);
    hold(&c, &before[1], B, 400);
    stock(&c, kp_str("c"), 3);
    assert_int_equal(kp_drop(c.pool, KP_EVERY_KEY, KP_SECONDS(5)), 0);
    assert_int_equal(kp_sim_now_ms(c.sim), 500);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).keys, 0);
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
    assert_int_equal(kp_drop(c.pool, A, KP_SECONDS(5)), 1);
    assert_int_equal(kp_sim_now_ms(c.sim), 0);
    assert_int_equal(kp_loop_close(loop), 0);
    kp_sim_join(c.sim, 0);
    contract_rest(&c);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).keys, 0);
    contract_end(&c);
}

static void upkeep_must_not_seem_late_because_of_what_is_marked(void **state)
{
    (void)state;
    for (int rotates = 0; rotates < 2; rotates++) {
        contract c;
        kp_lease lease = { 0 }, other;
        getter waits;
        begin(&c);
        c.options.limits = (kp_limits){ .max_live = 1, .validate_on = KP_CHECK_KEEPER,
                                        .validate_every_ms = 30000 };
        c.script.validate = (const kp_line[]){ { .takes_ms = 60000, .times = 1 }, { 0 } };
        contract_open(&c);
        stock(&c, A, 1);
        if (rotates) contract_take(&c, A, &lease);
        else kp_sim_pass_ms(c.sim, 30000); /* it is being validated */
        contract_start(&c, &waits, 1, A, NULL);
        kp_sim_pass_ms(c.sim, 20000);
        assert_int_equal(rotates ? kp_rotate(c.pool, A, KP_NONE) : kp_evict(c.pool, A, KP_NONE), 1);
        contract_take(&c, B, &other);
        assert_int_equal(c.events[KP_EVENT_KEEPER_LATE], 0);
        kp_release(&other);
        kp_release(&lease);
        kp_sim_join(c.sim, 0);
        contract_end(&c);
    }
}

static void what_is_no_pool_no_key_and_no_count_must_be_told(void **state)
{
    contract c;
    int thing = 0;
    (void)state;
    begin(&c);
    c.misuses = 3;
    contract_open(&c);
    assert_int_equal(kp_drop(c.pool, KP_KEY(&thing), 0), KP_EMISUSE);
    assert_int_equal(kp_evict(c.pool, KP_KEY(&thing), 0), KP_EMISUSE);
    assert_int_equal(kp_evict(c.pool, A, KP_UNLIMITED), KP_EMISUSE);
    kp_pool *pool = c.pool;
    contract_end(&c);
    assert_int_equal(kp_drop(pool, A, 0), KP_ECLOSED);
    assert_int_equal(kp_evict(pool, A, 0), KP_ECLOSED);
}

static void a_pool_that_is_closing_must_say_so(void **state)
{
    contract c;
    getter before;
    (void)state;
    begin(&c);
    contract_open(&c);
    hold(&c, &before, A, 500);
    assert_int_equal(contract_close(&c, KP_CLOSE_NOW, KP_NONE), 1);
    assert_int_equal(kp_drop(c.pool, A, 0), KP_ECLOSED);
    assert_int_equal(kp_evict(c.pool, KP_EVERY_KEY, KP_NONE), KP_ECLOSED);
    kp_sim_join(c.sim, 0);
    c.pool = NULL;
    kp_cast_close(c.cast);
    assert_int_equal(kp_sim_close(c.sim), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_must_go_down_to_as_many_as_was_said_and_keep_the_latest),
        cmocka_unit_test(what_the_limits_keep_must_stay_unless_it_is_said),
        cmocka_unit_test(a_minimum_must_be_made_up_where_refill_is_eager),
        cmocka_unit_test(what_is_kept_ready_must_be_made_up_by_a_get_or_where_refill_is_eager),
        cmocka_unit_test(what_it_destroys_must_be_gone_when_it_returns),
        cmocka_unit_test(a_key_must_be_gone_when_it_returns_and_its_totals_be_kept),
        cmocka_unit_test(a_key_must_be_made_anew_with_limits_for),
        cmocka_unit_test(at_its_deadline_it_must_say_how_many_are_out_and_the_last_take_the_key),
        cmocka_unit_test(who_waits_must_be_served_first),
        cmocka_unit_test(a_get_that_comes_meanwhile_must_be_served_and_keep_the_key),
        cmocka_unit_test(a_drop_must_not_wait_for_who_wants_the_key_again),
        cmocka_unit_test(what_is_being_made_must_not_stay),
        cmocka_unit_test(a_create_that_fails_must_be_its_end_too),
        cmocka_unit_test(nothing_must_be_made_in_the_background),
        cmocka_unit_test(who_keeps_the_key_must_have_its_minimum_again),
        cmocka_unit_test(a_pinned_key_must_go_when_it_is_unpinned),
        cmocka_unit_test(all_keys_must_be_dropped_at_once),
        cmocka_unit_test(on_the_thread_of_a_loop_nothing_must_be_waited_for),
        cmocka_unit_test(upkeep_must_not_seem_late_because_of_what_is_marked),
        cmocka_unit_test(what_is_no_pool_no_key_and_no_count_must_be_told),
        cmocka_unit_test(a_pool_that_is_closing_must_say_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
