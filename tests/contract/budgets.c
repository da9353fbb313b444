/* SPDX-License-Identifier: MIT
 *
 * kp_budget_set: the budget changes while in use. The same call serves requests that wait, what is
 * too much goes, and nothing is taken from a borrower. budgets_refused.c has what is refused.
 */
#include "budgets.h"

/* ---- more ------------------------------------------------------------------------------------ */

static void more_may_be_live_or_lent_or_made_and_who_waits_must_be_served_at_once(void **state)
{
    static const kp_budget few[] = { { .max_live = 2 }, { .max_lent = 2 }, { .max_creating = 2 },
                                     { .create_rate = 1, .create_burst = 2 } };
    static const kp_budget more[] = { { .max_live = 3 }, { .max_lent = 3 }, { .max_creating = 3 },
                                      { .create_rate = 1000 } };
    static const kp_budget all[] = { { .max_live = KP_UNLIMITED }, { .max_lent = KP_UNLIMITED },
                                     { .max_creating = KP_UNLIMITED },
                                     { .create_rate = KP_UNLIMITED } };
    static const kp_line slowly[] = { { .blocks_ms = 500, .times = KP_OFF }, { 0 } };
    (void)state;
    for (int i = 0; i < 4; i++) {
        contract c;
        getter g[6];
        begin(&c);
        c.options.budget = few[i];
        c.script.create = slowly;
        contract_open(&c);
        for (int k = 0; k < 6; k++) hold(&c, &g[k], k % 2 ? A : B, 9000);
        assert_int_equal(kp_sim_now_ms(c.sim), 0);
        assert_int_equal(contract_stats(&c, KP_EVERY_KEY).creating, 2);
        set(&c, more[i]);
        kp_sim_pass_ms(c.sim, 1);
        assert_int_equal(contract_stats(&c, KP_EVERY_KEY).creating, 3);
        set(&c, all[i]);
        kp_sim_pass_ms(c.sim, 600);
        for (int k = 0; k < 6; k++) assert_true(g[k].rc == 0 && g[k].answered_ms <= 502);
        kp_sim_join(c.sim, 0);
        contract_end(&c);
    }
}

static void more_keys_and_more_who_wait_must_be_let_in(void **state)
{
    contract c;
    getter holds, waits;
    (void)state;
    begin(&c);
    c.options.limits.max_live = 1;
    c.options.budget.max_keys = 1;
    c.options.budget.max_waiting = KP_NONE;
    contract_open(&c);
    hold(&c, &holds, A, 500);
    kp_why why = contract_refused(&c, B, 10, KP_EFULL);
    assert_non_null(strstr(why.text, "(limit: budget.max_keys)"));
    (void)contract_refused(&c, A, 10, KP_EFULL);
    set(&c, (kp_budget){ .max_keys = 2, .max_waiting = 1 });
    stock(&c, B, 1);
    (void)contract_refused(&c, C, 10, KP_EFULL);
    hold(&c, &waits, A, 10);
    (void)contract_refused(&c, A, 10, KP_EFULL);
    set(&c, (kp_budget){ .max_keys = 1, .max_waiting = KP_NONE }); /* they stay */
    stock(&c, B, 1);
    kp_sim_join(c.sim, 0);
    assert_int_equal(waits.rc, 0);
    contract_end(&c);
}

static void a_refill_that_lacked_room_must_go_on(void **state)
{
    contract c;
    kp_key a = A;
    (void)state;
    begin(&c);
    c.options.limits.min_live = 3;
    c.options.limits.refill = KP_REFILL_EAGER;
    c.options.budget.max_idle = 1;
    contract_open(&c);
    assert_int_equal(kp_warm(c.pool, &a, 1, NULL), 0);
    contract_rest(&c);
    assert_int_equal(contract_stats(&c, A).idle, 1);
    set(&c, (kp_budget){ .max_idle = 5 });
    contract_rest(&c);
    assert_int_equal(contract_stats(&c, A).idle, 3);
    assert_int_equal(kp_sim_now_ms(c.sim), 0);
    contract_end(&c);
}

/* ---- less ------------------------------------------------------------------------------------ */

static void what_is_idle_and_too_much_must_go_the_least_worthy_first(void **state)
{
    static const kp_budget fewer[] = { { .max_live = 3 }, { .max_idle = 3 } };
    (void)state;
    for (int i = 0; i < 2; i++) {
        contract c;
        begin(&c);
        c.options.budget.evict_other_keys = KP_OFF; /* set by name */
        contract_open(&c);
        stock(&c, A, 2);
        stock(&c, B, 3);
        stock(&c, A, 1); /* used since */
        set(&c, fewer[i]);
        assert_int_equal(contract_stats(&c, A).idle, 1);
        assert_int_equal(contract_stats(&c, B).idle, 2);
        assert_int_equal(contract_stats(&c, KP_EVERY_KEY).destroys, 2);
        set(&c, (kp_budget){ .max_live = KP_UNLIMITED, .max_idle = KP_UNLIMITED });
        stock(&c, A, 8);
        assert_int_equal(contract_stats(&c, A).idle, 8);
        contract_end(&c);
    }
}

static void what_a_key_is_to_keep_must_go_last(void **state)
{
    const kp_limits two = { .min_live = 2 };
    contract c;
    (void)state;
    begin(&c);
    contract_open(&c);
    stock(&c, A, 2);
    stock(&c, B, 4);
    assert_int_equal(kp_limits_set(c.pool, A, &two, NULL), 0);
    set(&c, (kp_budget){ .max_live = 3 });
    assert_int_equal(contract_stats(&c, A).idle, 2);
    assert_int_equal(contract_stats(&c, B).idle, 1);
    set(&c, (kp_budget){ .max_idle = 1 });
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).idle, 1);
    assert_int_equal(contract_stats(&c, B).idle, 0);
    contract_end(&c);
}

static void what_is_lent_must_go_as_it_comes_back(void **state)
{
    contract c;
    kp_lease lease[6];
    getter other;
    (void)state;
    begin(&c);
    contract_open(&c);
    contract_take_all(&c, A, lease, 4);
    contract_take_all(&c, B, &lease[4], 2);
    hold(&c, &other, A, 500);
    set(&c, (kp_budget){ .max_live = 3 });
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).live, 7);
    contract_give_all(&c, lease, 4);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).live, 3);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).idle, 0);
    contract_give_all(&c, &lease[4], 2);
    kp_sim_join(c.sim, 0);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).idle, 3);
    contract_end(&c);
}

static void what_is_being_made_and_too_much_must_not_stay(void **state)
{
    static const kp_line slowly[] = { { .times = 1 }, { .takes_ms = 300, .times = KP_OFF }, { 0 } };
    contract c;
    kp_key b = B;
    kp_lease lease;
    (void)state;
    begin(&c);
    c.script.create = slowly;
    contract_open(&c);
    (void)contract_take(&c, A, &lease);
    assert_int_equal(kp_warm(c.pool, &b, 1, NULL), 0);
    kp_sim_pass_ms(c.sim, 100);
    set(&c, (kp_budget){ .max_live = 1 });
    assert_int_equal(contract_stats(&c, B).creating, 1);
    kp_sim_pass_ms(c.sim, 200);
    assert_int_equal(contract_stats(&c, B).live, 0);
    assert_int_equal(contract_stats(&c, B).destroys, 1);
    contract_give(&c, &lease);
    assert_int_equal(contract_stats(&c, A).idle, 1);
    contract_end(&c);
}

static void fewer_leases_must_take_none_away(void **state)
{
    contract c;
    kp_lease lease[3];
    getter waits;
    (void)state;
    begin(&c);
    contract_open(&c);
    contract_take_all(&c, A, lease, 3);
    set(&c, (kp_budget){ .max_lent = 1 });
    hold(&c, &waits, B, 100);
    contract_give_all(&c, lease, 2);
    (void)kp_sim_settle(c.sim);
    assert_int_equal(waits.rc, KP_EAGAIN);
    contract_give(&c, &lease[2]);
    kp_sim_join(c.sim, 0);
    assert_int_equal(waits.rc, 0);
    contract_end(&c);
}

/* ---- the other fields ------------------------------------------------------------------------ */

static void the_limit_of_groups_must_change(void **state)
{
    contract c;
    kp_lease lease[3];
    getter waits;
    (void)state;
    begin(&c);
    c.options.limits.group[0] = 7;
    c.options.budget.group_max_live[0] = 2;
    contract_open(&c);
    contract_take_all(&c, A, lease, 2);
    hold(&c, &waits, B, 100);
    assert_int_equal(waits.rc, KP_EAGAIN);
    set(&c, (kp_budget){ .group_max_live = { KP_UNLIMITED } });
    kp_sim_join(c.sim, 0);
    assert_int_equal(waits.answered_ms, 0);
    contract_take_all(&c, A, &lease[2], 1);
    set(&c, (kp_budget){ .group_max_live = { 2 } }); /* what is idle goes */
    assert_int_equal(contract_stats(&c, B).idle, 0);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).live, 3);
    contract_give_all(&c, lease, 3);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).live, 2);
    refused(&c, (kp_budget){ .group_max_live = { 0, 5 } }, "budget.group_max_live[1]");
    contract_end(&c);
}

/* The limit of the group was not lowered, but it has more than that all the same. */
static void a_key_that_joins_a_full_group_must_leave_it_no_more_than_its_limit(void **state)
{
    const kp_limits join = { .group = { 9 } };
    (void)state;
    for (int lent = 0; lent <= 3; lent++) {
        contract c;
        kp_lease there[3], comes[3];
        begin(&c);
        c.options.limits.group[0] = 7;
        c.options.budget.group_max_live[0] = 4;
        contract_open(&c);
        contract_take_all(&c, A, there, 3);
        assert_int_equal(kp_limits_set(c.pool, A, &join, NULL), 0);
        contract_take_all(&c, B, comes, 3);
        contract_give_all(&c, &comes[lent], 3 - lent);
        assert_int_equal(kp_limits_set(c.pool, B, &join, NULL), 0);
        (void)kp_sim_settle(c.sim);
        memset(&c.options.budget, 0, sizeof c.options.budget);
        assert_int_equal(contract_stats(&c, KP_EVERY_KEY).live, lent > 1 ? 3 + lent : 4);
        contract_give_all(&c, comes, lent);
        contract_give_all(&c, there, 3);
        assert_int_equal(contract_stats(&c, KP_EVERY_KEY).idle, 4);
        contract_end(&c);
    }
}

/* A has three idle ones in a group that may have four, and B joins it with three that are lent. */
static void join_with_too_much(contract *c, kp_lease leases[3])
{
    const kp_limits join = { .group = { 9 } };
    begin(c);
    c->options.limits.group[0] = 7;
    c->options.budget.group_max_live[0] = 4;
    contract_open(c);
    stock(c, A, 3);
    assert_int_equal(kp_limits_set(c->pool, A, &join, NULL), 0);
    contract_take_all(c, B, leases, 3);
    assert_int_equal(kp_limits_set(c->pool, B, &join, NULL), 0);
    (void)kp_sim_settle(c->sim);
}

/* What is idle in other keys of the group goes then, as when the limit is lowered: what is lent may
 * not come back for long. */
static void what_is_idle_in_a_group_that_a_key_joins_must_go_if_it_is_too_much(void **state)
{
    contract c;
    kp_lease leases[3];
    (void)state;
    join_with_too_much(&c, leases);
    memset(&c.options.budget, 0, sizeof c.options.budget);
    assert_int_equal(contract_stats(&c, A).idle, 1);
    assert_int_equal(contract_stats(&c, A).surplus, 2);
    contract_give_all(&c, leases, 3);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).idle, 4);
    contract_end(&c);
}

/* Where the pool itself has no limit, no list of what is idle in it may be left from that, with
 * keys that are forgotten later. */
static void a_limit_for_a_pool_whose_group_was_joined_must_meet_no_key_that_is_gone(void **state)
{
    contract c;
    kp_lease leases[4];
    (void)state;
    join_with_too_much(&c, leases);
    assert_int_equal(kp_drop(c.pool, A, KP_NONE), 0);
    (void)kp_sim_settle(c.sim);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).keys, 1);
    contract_give_all(&c, leases, 3);
    set(&c, (kp_budget){ .max_live = 2 });
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).idle, 2);
    contract_end(&c);
}

/* A key that is in two groups is in their pair too, which has no limit. */
static void a_key_in_two_groups_must_be_held_by_both(void **state)
{
    contract c;
    (void)state;
    begin(&c);
    c.options.limits.group[0] = 7;
    c.options.limits.group[1] = 8;
    c.options.budget.group_max_live[0] = 5;
    c.options.budget.group_max_live[1] = 6;
    contract_open(&c);
    stock(&c, A, 5);
    set(&c, (kp_budget){ .group_max_live = { 4, 3 } });
    assert_int_equal(contract_stats(&c, A).idle, 3);
    contract_end(&c);
}

/* By whichever call the group is looked at: it is not too much, but gone. */
static void what_a_group_destroys_already_must_not_take_another_with_it(void **state)
{
    static const kp_line slowly[] = { { .takes_ms = 500 }, { 0 } };
    const kp_limits same = { .group = { 7 } };
    contract c;
    getter breaks;
    (void)state;
    begin(&c);
    c.options.limits.group[0] = 7;
    c.options.budget.group_max_live[0] = 5;
    c.script.destroy = slowly;
    contract_open(&c);
    stock(&c, A, 5);
    contract_start_as(&c, &breaks, 1, (getter){ .key = A, .invalidate = true });
    (void)kp_sim_settle(c.sim);
    assert_int_equal(contract_stats(&c, A).closing, 1);
    set(&c, (kp_budget){ .group_max_live = { 4 } });
    assert_int_equal(contract_stats(&c, A).idle, 4);
    assert_int_equal(kp_limits_set(c.pool, A, &same, NULL), 0);
    assert_int_equal(contract_stats(&c, A).idle, 4);
    assert_int_equal(contract_stats(&c, A).closing, 1);
    kp_sim_join(c.sim, 0);
    contract_end(&c);
}

static void other_keys_must_make_room_when_that_is_said(void **state)
{
    contract c;
    getter waits;
    (void)state;
    begin(&c);
    c.options.budget.max_live = 2;
    c.options.budget.evict_other_keys = KP_OFF;
    contract_open(&c);
    stock(&c, A, 2);
    hold(&c, &waits, B, 100);
    assert_int_equal(waits.rc, KP_EAGAIN);
    set(&c, (kp_budget){ .evict_other_keys = 1 });
    kp_sim_join(c.sim, 0);
    assert_int_equal(waits.answered_ms, 0);
    assert_int_equal(contract_stats(&c, A).evicted, 1);
    set(&c, (kp_budget){ .evict_other_keys = KP_OFF });
    (void)contract_refused(&c, C, 10, KP_ETIMEDOUT);
    contract_end(&c);
}

/* A holds most; B came first. By shares C is next, by arrival B. */
static void who_is_next_across_keys_must_follow_the_new_order(void **state)
{
    (void)state;
    for (int arrival = 0; arrival < 2; arrival++) {
        contract c;
        kp_lease lease[4], mine;
        getter waits[2];
        begin(&c);
        c.options.budget.max_live = 4;
        c.options.budget.across = arrival ? KP_ACROSS_SHARE : KP_ACROSS_ARRIVAL;
        contract_open(&c);
        contract_take_all(&c, A, lease, 3);
        (void)contract_take(&c, B, &mine);
        hold(&c, &waits[0], A, 500);
        hold(&c, &waits[1], C, 500);
        set(&c, (kp_budget){ .across = arrival ? KP_ACROSS_ARRIVAL : KP_ACROSS_SHARE });
        kp_discard(&mine);
        (void)kp_sim_settle(c.sim);
        assert_int_equal(waits[0].rc, arrival ? 0 : KP_EAGAIN);
        assert_int_equal(waits[1].rc, arrival ? KP_EAGAIN : 0);
        contract_give_all(&c, lease, 3);
        kp_sim_join(c.sim, 0);
        contract_end(&c);
    }
}

static void a_rate_must_be_kept_from_when_it_is_said(void **state)
{
    contract c;
    kp_lease lease[8];
    (void)state;
    begin(&c);
    contract_open(&c);
    set(&c, (kp_budget){ .create_rate = 10, .create_burst = 2 });
    contract_take_all(&c, A, lease, 4); /* two at once, then one each 100 ms */
    assert_int_equal(kp_sim_now_ms(c.sim), 200);
    set(&c, (kp_budget){ .create_rate = 1 });
    contract_take_all(&c, A, &lease[4], 1);
    assert_int_equal(kp_sim_now_ms(c.sim), 1200);
    kp_sim_pass_ms(c.sim, 10000);
    set(&c, (kp_budget){ .create_burst = 1 }); /* what is saved up beyond it is lost */
    contract_take_all(&c, A, &lease[5], 2);
    assert_int_equal(kp_sim_now_ms(c.sim), 12200);
    set(&c, (kp_budget){ .create_rate = KP_UNLIMITED });
    contract_take_all(&c, A, &lease[7], 1);
    assert_int_equal(kp_sim_now_ms(c.sim), 12200);
    contract_give_all(&c, lease, 8);
    contract_end(&c);
}

/* ---- pause and resume ------------------------------------------------------------------------ */

/* The whole pool; each key's own limits stay as they are. */
static void a_pool_must_be_paused_drained_and_resumed(void **state)
{
    contract c;
    kp_lease lease;
    getter before, meanwhile[2], brief;
    (void)state;
    begin(&c);
    c.options.limits.floor = 1; /* which a pause does not contradict */
    contract_open(&c);
    stock(&c, A, 2);
    hold(&c, &before, A, 500);
    set(&c, (kp_budget){ .max_lent = KP_NONE });
    hold(&c, &meanwhile[0], A, 10);
    hold(&c, &meanwhile[1], B, 10);
    contract_start_as(&c, &brief, 1, (getter){ .key = C, .within_ms = 200 });
    assert_int_equal(kp_try_get(c.pool, A, &lease), KP_EAGAIN);
    assert_int_equal(kp_drain(c.pool, KP_EVERY_KEY, KP_SECONDS(5)), 0);
    assert_int_equal(kp_sim_now_ms(c.sim), 500); /* that is when it is done */
    assert_int_equal(brief.rc, KP_ETIMEDOUT);
    assert_string_equal(brief.why.limit, "budget.max_lent");
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).lent, 0);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).waiting, 2);
    set(&c, (kp_budget){ .max_lent = KP_UNLIMITED });
    kp_sim_join(c.sim, 0);
    for (int i = 0; i < 2; i++) assert_int_equal(meanwhile[i].answered_ms, 500);
    contract_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(more_may_be_live_or_lent_or_made_and_who_waits_must_be_served_at_once),
        cmocka_unit_test(more_keys_and_more_who_wait_must_be_let_in),
        cmocka_unit_test(a_refill_that_lacked_room_must_go_on),
        cmocka_unit_test(what_is_idle_and_too_much_must_go_the_least_worthy_first),
        cmocka_unit_test(what_a_key_is_to_keep_must_go_last),
        cmocka_unit_test(what_is_lent_must_go_as_it_comes_back),
        cmocka_unit_test(what_is_being_made_and_too_much_must_not_stay),
        cmocka_unit_test(fewer_leases_must_take_none_away),
        cmocka_unit_test(the_limit_of_groups_must_change),
        cmocka_unit_test(a_key_that_joins_a_full_group_must_leave_it_no_more_than_its_limit),
        cmocka_unit_test(what_is_idle_in_a_group_that_a_key_joins_must_go_if_it_is_too_much),
        cmocka_unit_test(a_limit_for_a_pool_whose_group_was_joined_must_meet_no_key_that_is_gone),
        cmocka_unit_test(a_key_in_two_groups_must_be_held_by_both),
        cmocka_unit_test(what_a_group_destroys_already_must_not_take_another_with_it),
        cmocka_unit_test(other_keys_must_make_room_when_that_is_said),
        cmocka_unit_test(who_is_next_across_keys_must_follow_the_new_order),
        cmocka_unit_test(a_rate_must_be_kept_from_when_it_is_said),
        cmocka_unit_test(a_pool_must_be_paused_drained_and_resumed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
