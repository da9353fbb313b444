/* SPDX-License-Identifier: MIT
 *
 * Corner cases of the search for deadlocks: keys that may have nothing, what is not decided yet,
 * pools that are closed or of another world, and threads outside of the circle. Those of shared
 * resources are in deadlock_seats.c.
 */
#include "deadlock.h"

/* A thread that waits for what it holds itself is refused. */
static void looks(contract *c)
{
    kp_lease lease;

    (void)contract_take(c, A, &lease);
    (void)contract_refused(c, A, KP_SECONDS(5), KP_EDEADLK);
    contract_give(c, &lease);
}

/* The key is in two groups, of which only the second one is full. */
static void a_full_group_beside_one_with_room_must_bind(void **state)
{
    contract c;
    kp_lease lease;
    (void)state;
    begin(&c, KP_DEADLOCK_REFUSE);
    c.options.limits.group[0] = 5;
    c.options.limits.group[1] = 7;
    c.options.budget.group_max_live[0] = 2;
    c.options.budget.group_max_live[1] = 1;
    contract_open(&c);
    (void)contract_take(&c, A, &lease);
    kp_why why = contract_refused(&c, B, KP_SECONDS(5), KP_EDEADLK);
    assert_string_equal(why.text, "deadlock: you wait for room for b, lent to you");
    assert_string_equal(why.limit, "budget.group_max_live");
    contract_give(&c, &lease);
    contract_end(&c);
}

static void a_key_that_may_have_nothing_is_no_deadlock(void **state)
{
    const kp_limits none = { .max_live = KP_NONE };
    contract c;
    kp_lease lease;
    (void)state;
    begin(&c, KP_DEADLOCK_REFUSE);
    contract_open(&c);
    (void)contract_take(&c, A, &lease);
    contract_give(&c, &lease);
    assert_int_equal(kp_limits_set(c.pool, A, &none, NULL), 0);
    (void)contract_refused(&c, A, KP_SECONDS(5), KP_ETIMEDOUT);
    contract_end(&c);
}

static void take_a_while(kp_key key, kp_limits *limits, void *ctx)
{
    contract *c = ctx;

    (void)limits;
    if (*(const char *)key.data == 'b') kp_sim_pass_ms(c->sim, 100);
}

static void what_is_not_decided_yet_is_no_deadlock(void **state)
{
    contract c;
    kp_lease lease;
    getter first = { .c = &c, .key = A };
    (void)state;
    begin(&c, KP_DEADLOCK_REFUSE);
    c.options.limits_for = take_a_while;
    contract_open(&c);
    contract_start_as(&c, &first, 1, (getter){ .key = B, .hold_ms = 10 });
    (void)kp_sim_settle(c.sim);
    (void)contract_take(&c, B, &lease); /* while the other one asks */
    contract_give(&c, &lease);
    kp_sim_join(c.sim, 0);
    assert_int_equal(first.rc, 0);
    contract_end(&c);
}

static void a_creation_of_ones_own_is_no_deadlock(void **state)
{
    static const kp_line later[] = { { .takes_ms = 50, .times = KP_OFF }, { 0 } };
    contract c;
    kp_lease lease;
    (void)state;
    begin(&c, KP_DEADLOCK_REFUSE);
    c.script.create = later;
    contract_open(&c);
    (void)contract_take(&c, A, &lease);
    contract_give(&c, &lease);
    contract_end(&c);
}

/* A thread that creates already holds a lent permit, and one that destroys still does: the limit is
 * reached, but more may come back than what is lent. */
static void permits_of_what_is_made_or_goes_are_no_deadlock(void **state)
{
    static const kp_line later[] = { { .takes_ms = 50, .times = KP_OFF }, { 0 } };
    (void)state;
    for (int in_all = 0; in_all < 2; in_all++) {
        contract c;
        kp_lease mine, other;
        getter maker;
        begin(&c, KP_DEADLOCK_REFUSE);
        c.options.limits.max_live = 9;
        contract_set(&c, in_all ? "budget.max_lent" : "limits.max_lent", "2");
        c.script.create = c.script.destroy = later;
        contract_open(&c);
        (void)contract_take(&c, A, &mine);
        contract_start_as(&c, &maker, 1, (getter){ .key = in_all ? B : A, .hold_ms = 10 });
        (void)kp_sim_settle(c.sim);
        assert_int_equal(contract_stats(&c, KP_EVERY_KEY).creating, 1);
        (void)contract_take(&c, A, &other); /* when that was made, used and given back */
        kp_discard(&other);
        (void)contract_take(&c, A, &other); /* when that is gone */
        contract_give(&c, &other);
        contract_give(&c, &mine);
        kp_sim_join(c.sim, 0);
        assert_int_equal(maker.rc, 0);
        assert_int_equal(c.events[KP_EVENT_DEADLOCK], 0);
        contract_end(&c);
    }
}

/* While it is reset it still counts as lent, but nobody has it. */
static void a_reset_is_no_deadlock(void **state)
{
    static const kp_line later[] = { { .blocks_ms = 50, .times = KP_OFF }, { 0 } };
    contract c;
    kp_lease lease;
    getter before;
    (void)state;
    begin(&c, KP_DEADLOCK_REFUSE);
    c.script.reset = later;
    contract_open(&c);
    contract_start_as(&c, &before, 1, (getter){ .key = A, .hold_ms = 10 });
    kp_sim_pass_ms(c.sim, 20);
    assert_int_equal(contract_stats(&c, A).lent, 1);
    (void)contract_take(&c, A, &lease);
    assert_int_equal(kp_sim_now_ms(c.sim), 60);
    contract_give(&c, &lease);
    kp_sim_join(c.sim, 0);
    assert_int_equal(before.rc, 0);
    contract_end(&c);
}

static void evict_b(void *arg)
{
    (void)kp_evict(((contract *)arg)->pool, B, KP_NONE);
}

/* What is being destroyed frees no lease, which shows only when it is gone. */
static void one_that_was_beside_what_was_under_way_must_be_told_when_that_is_over(void **state)
{
    static const kp_line slowly[] = { { .blocks_ms = 700, .times = KP_OFF }, { 0 } };
    contract c;
    kp_lease lease;
    (void)state;
    begin(&c, KP_DEADLOCK_REFUSE);
    contract_set(&c, "budget.max_lent", "1");
    c.script.destroy = slowly;
    contract_open(&c);
    (void)contract_take(&c, B, &lease);
    contract_give(&c, &lease);
    (void)contract_take(&c, A, &lease);
    assert_true(kp_sim_spawn(c.sim, evict_b, &c) > 0);
    (void)kp_sim_settle(c.sim);
    assert_int_equal(contract_stats(&c, B).closing, 1);
    (void)contract_refused(&c, kp_str("c"), KP_SECONDS(10), KP_EDEADLK);
    assert_in_range(kp_sim_now_ms(c.sim), 700, 1400); /* twice as late, at most */
    assert_int_equal(c.events[KP_EVENT_DEADLOCK], 1);
    contract_give(&c, &lease);
    contract_end(&c);
}

/* Comes while nobody has noticed the deadlock of others, and holds nothing. */
static void comes_after_60_ms(void *arg)
{
    getter *g = arg;

    kp_sim_pass_ms(g->c->sim, 60);
    contract__getter(g);
}

/* Its other borrower gives back, but nobody may share it any more: that serves nobody. */
static void one_that_began_with_a_seat_that_nobody_may_take_must_be_told(void **state)
{
    contract c;
    kp_lease lease;
    getter other, outsider = { .c = &c, .key = A, .within_ms = KP_SECONDS(9) };
    (void)state;
    begin(&c, KP_DEADLOCK_REFUSE);
    c.options.limits.sharing = c.options.limits.max_uses = 2;
    contract_open(&c);
    (void)contract_take(&c, A, &lease);
    contract_start_as(&c, &other, 1, (getter){ .key = A, .hold_ms = 50 });
    (void)kp_sim_settle(c.sim);
    assert_int_equal(contract_stats(&c, A).leases, 2);
    assert_true(kp_sim_spawn(c.sim, comes_after_60_ms, &outsider) > 0);
    (void)contract_refused(&c, A, KP_SECONDS(10), KP_EDEADLK);
    assert_in_range(kp_sim_now_ms(c.sim), 50, 100);
    contract_give(&c, &lease);
    kp_sim_join(c.sim, 0);
    assert_int_equal(outsider.rc, 0); /* who was in it made way */
    contract_end(&c);
}

/* ---- which pools ----------------------------------------------------------------------------- */

static void pools_that_are_closed_or_do_not_look_must_be_passed_by(void **state)
{
    contract c, closed, blind;
    kp_driver driver;
    (void)state;
    begin(&c, KP_DEADLOCK_REFUSE);
    contract_open(&c);
    driver = kp_cast_driver(c.cast);
    closed = blind = c;
    closed.cast = blind.cast = NULL;
    contract_open_driver(&closed, &driver);
    blind.options.on_deadlock = 0;
    contract_open_driver(&blind, &driver);
    assert_int_equal(kp_pool_close(closed.pool, KP_CLOSE_NOW, 0), 0);
    looks(&c);
    assert_int_equal(kp_pool_close(blind.pool, KP_CLOSE_NOW, 0), 0);
    contract_end(&c);
}

/* Of one that parks in another way, and of one with another clock. */
static void pools_of_other_worlds_must_be_passed_by(void **state)
{
    kp_options alive = { .driver = { .create = NULL }, .threads = KP_NONE,
                         .on_deadlock = KP_DEADLOCK_REFUSE };
    kp_pool *pool;
    contract c, other;
    (void)state;
    assert_int_equal(kp_pool_open(&alive, &pool), 0);
    begin(&other, KP_DEADLOCK_REFUSE);
    contract_open(&other);
    begin(&c, KP_DEADLOCK_REFUSE);
    contract_open(&c);
    looks(&c);
    contract_end(&c);
    looks(&other);
    contract_end(&other);
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_NOW, 0), 0);
}

/* ---- outside of the circle ------------------------------------------------------------------- */

static void nest(void *arg)
{
    getter *g = arg;
    kp_lease lease;

    if (kp_get(g->c->pool, g->key, NULL, &lease) != 0) contract_broken(g->c, "the first");
    kp_gate_pass(g->c->sim, g->gate);
    contract__getter(g);
    kp_release(&lease);
}

/* It waits for a thread that waits for itself, which was reported. */
static void who_waits_for_a_deadlock_must_be_told_too(void **state)
{
    contract c;
    kp_gate go = { 0 };
    getter stuck = { .c = &c, .key = A, .gate = &go, .within_ms = KP_SECONDS(9) };
    (void)state;
    begin(&c, KP_DEADLOCK_REPORT);
    contract_open(&c);
    assert_true(kp_sim_spawn(c.sim, nest, &stuck) > 0);
    (void)kp_sim_settle(c.sim);
    kp_gate_open(c.sim, &go);
    (void)kp_sim_settle(c.sim);
    assert_string_equal(told, "deadlock: you wait for a, lent to you");
    (void)contract_refused(&c, A, KP_SECONDS(5), KP_ETIMEDOUT);
    assert_string_equal(told,
                        "deadlock: you wait for a, and all who could serve you are waiting too");
    assert_int_equal(c.events[KP_EVENT_DEADLOCK], 2);
    kp_sim_join(c.sim, 0);
    assert_int_equal(stuck.rc, KP_ETIMEDOUT);
    contract_end(&c);
}

/* The first to notice it is not in the circle, which whoever is in it still tells. */
static void who_is_outside_of_the_circle_must_not_tell_it_for_those_inside(void **state)
{
    contract c;
    kp_lease lease;
    getter other, outsider = { .c = &c, .key = A, .within_ms = KP_SECONDS(9) };
    (void)state;
    begin(&c, KP_DEADLOCK_REPORT);
    c.options.limits.sharing = c.options.limits.max_uses = 2;
    contract_open(&c);
    (void)contract_take(&c, A, &lease);
    contract_start_as(&c, &other, 1, (getter){ .key = A, .hold_ms = 50 });
    (void)kp_sim_settle(c.sim);
    assert_true(kp_sim_spawn(c.sim, comes_after_60_ms, &outsider) > 0);
    (void)contract_refused(&c, A, KP_SECONDS(1), KP_ETIMEDOUT);
    assert_string_equal(told, "deadlock: you wait for a, lent to you");
    assert_int_equal(c.events[KP_EVENT_DEADLOCK], 2);
    contract_give(&c, &lease);
    kp_sim_join(c.sim, 0);
    assert_int_equal(outsider.rc, 0);
    contract_end(&c);
}

/* What it waits for is that the pause ends, whoever holds what. */
static void who_waits_for_the_end_of_a_pause_is_in_no_deadlock(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        const kp_limits none = { .max_lent = KP_NONE };
        bool nested = i % 2 == 1;
        contract c;
        kp_lease lease = { 0 };
        begin(&c, nested ? KP_DEADLOCK_REFUSE : KP_DEADLOCK_REPORT);
        contract_open(&c);
        if (nested) (void)contract_take(&c, B, &lease);
        if (i < 2) {
            kp_budget budget;
            assert_int_equal(kp_budget_read(c.pool, &budget), 0);
            budget.max_lent = KP_NONE;
            assert_int_equal(kp_budget_set(c.pool, &budget, NULL), 0);
        } else {
            assert_int_equal(kp_limits_set(c.pool, KP_EVERY_KEY, &none, NULL), 0);
        }
        (void)contract_refused(&c, A, KP_SECONDS(1), KP_ETIMEDOUT);
        assert_int_equal(c.events[KP_EVENT_DEADLOCK], 0);
        if (nested) contract_give(&c, &lease);
        contract_end(&c);
    }
}

static void what_is_to_be_revoked_is_no_deadlock(void **state)
{
    static const kp_line revoke[] = { { .times = 1 }, { .status = -5, .times = KP_OFF }, { 0 } };
    contract c;
    kp_lease lease, other;
    (void)state;
    begin(&c, KP_DEADLOCK_REFUSE);
    c.script.revoke = revoke;
    c.options.limits.revoke_after_ms = 2000;
    contract_open(&c);
    (void)contract_take(&c, A, &lease);
    assert_int_equal(kp_get(c.pool, A, NULL, &other), 0); /* when the first one is revoked */
    assert_int_equal(kp_sim_now_ms(c.sim), 2000);
    kp_release(&lease);
    kp_sim_pass_ms(c.sim, 2000);        /* that fails, and is not tried again */
    assert_int_equal(c.events[KP_EVENT_REVOKE_FAILED], 1);
    (void)contract_refused(&c, A, KP_SECONDS(5), KP_EDEADLK);
    contract_give(&c, &other);
    contract_end(&c);
}

/* Get and give back, while more resources exist than are counted: one was revoked. */
static void visit(void *arg)
{
    getter *g = arg;

    g->rc = kp_get(g->c->pool, g->key, NULL, &g->lease);
    kp_release(&g->lease);
}

static void what_is_being_revoked_is_no_deadlock(void **state)
{
    static const kp_line slow[] = { { .takes_ms = 1000, .times = KP_OFF }, { 0 } };
    contract c;
    kp_lease lost, other;
    getter first = { .c = &c, .key = A };
    (void)state;
    begin(&c, KP_DEADLOCK_REFUSE);
    c.script.revoke = slow;
    c.options.limits.revoke_after_ms = 2000;
    contract_open(&c);
    (void)contract_take(&c, A, &lost);
    assert_true(kp_sim_spawn(c.sim, visit, &first) > 0);
    kp_sim_pass_ms(c.sim, 2500);        /* since 2000, for the first one */
    assert_int_equal(kp_get(c.pool, A, NULL, &other), 0);
    assert_int_equal(kp_sim_now_ms(c.sim), 3000);
    assert_int_equal(first.rc, 0);
    kp_release(&lost);
    contract_give(&c, &other);
    kp_sim_join(c.sim, 0);
    contract_end(&c);
}

static const kp_line revokes[] = { { .times = KP_OFF }, { 0 } };

static void open_revoking(contract *c, bool in_all)
{
    begin(c, KP_DEADLOCK_REFUSE);
    c->script.revoke = revokes;
    c->options.limits.revoke_after_ms = 2000;
    if (in_all) contract_set(c, "budget.max_live", "1");
    contract_open(c);
}

/* As many as may be are out that were revoked: until one of them comes back, no more are. */
static void what_is_not_revoked_before_a_sleeper_gives_back_is_a_deadlock(void **state)
{
    (void)state;
    for (int in_all = 0; in_all < 2; in_all++) {
        contract c;
        kp_lease lost, other, third;
        kp_why why;
        open_revoking(&c, in_all);
        (void)contract_take(&c, A, &lost);
        assert_int_equal(kp_get(c.pool, in_all ? B : A, NULL, &other), 0); /* it was revoked */
        assert_int_equal(kp_sim_now_ms(c.sim), 2000);
        assert_int_equal(kp_get(c.pool, A, KP_ASK(.why = &why), &third), KP_EDEADLK);
        assert_string_equal(why.text, in_all ? "deadlock: you wait for room for a, lent to you"
                                             : "deadlock: you wait for a, lent to you");
        kp_release(&lost);
        assert_int_equal(kp_get(c.pool, A, NULL, &third), 0); /* the other one was revoked */
        kp_release(&other);
        contract_give(&c, &third);
        contract_end(&c);
    }
}

static void what_is_revoked_once_another_is_given_back_is_no_deadlock(void **state)
{
    (void)state;
    for (int in_all = 0; in_all < 2; in_all++) {
        contract c;
        kp_lease lease, other;
        getter slow;
        open_revoking(&c, in_all);
        contract_start_as(&c, &slow, 1, (getter){ .key = in_all ? B : A, .hold_ms = 6000 });
        (void)kp_sim_settle(c.sim);
        assert_int_equal(kp_get(c.pool, A, NULL, &lease), 0); /* that was revoked */
        assert_int_equal(kp_sim_now_ms(c.sim), 2000);
        assert_int_equal(kp_get(c.pool, A, NULL, &other), 0); /* it is back, `lease` revoked */
        assert_int_equal(c.events[KP_EVENT_DEADLOCK], 0);
        kp_release(&lease);
        contract_give(&c, &other);
        kp_sim_join(c.sim, 0);
        contract_end(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_group_beside_one_with_room_must_bind),
        cmocka_unit_test(a_key_that_may_have_nothing_is_no_deadlock),
        cmocka_unit_test(what_is_not_decided_yet_is_no_deadlock),
        cmocka_unit_test(a_creation_of_ones_own_is_no_deadlock),
        cmocka_unit_test(permits_of_what_is_made_or_goes_are_no_deadlock),
        cmocka_unit_test(a_reset_is_no_deadlock),
        cmocka_unit_test(one_that_was_beside_what_was_under_way_must_be_told_when_that_is_over),
        cmocka_unit_test(one_that_began_with_a_seat_that_nobody_may_take_must_be_told),
        cmocka_unit_test(pools_that_are_closed_or_do_not_look_must_be_passed_by),
        cmocka_unit_test(pools_of_other_worlds_must_be_passed_by),
        cmocka_unit_test(who_waits_for_a_deadlock_must_be_told_too),
        cmocka_unit_test(who_is_outside_of_the_circle_must_not_tell_it_for_those_inside),
        cmocka_unit_test(who_waits_for_the_end_of_a_pause_is_in_no_deadlock),
        cmocka_unit_test(what_is_to_be_revoked_is_no_deadlock),
        cmocka_unit_test(what_is_being_revoked_is_no_deadlock),
        cmocka_unit_test(what_is_not_revoked_before_a_sleeper_gives_back_is_a_deadlock),
        cmocka_unit_test(what_is_revoked_once_another_is_given_back_is_no_deadlock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
