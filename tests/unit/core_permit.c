/* SPDX-License-Identifier: MIT
 *
 * Tests of core/background.c and permit.c: what the background is to make and may make, and how
 * permits are taken and given back.
 */
#include "core_stage.h"

static int64_t wanted(struct stage *s, struct kp__subpool *sub)
{
    return kp__refill_wanted(&s->core, sub, false);
}

static void the_minimum_must_be_wanted_less_what_there_is(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.rules.min_live = 5;
    struct kp__subpool *sub = stage_key(&s);
    assert_int_equal(wanted(&s, sub), 5);
    assert_int_equal(kp__refill_wanted(&s.core, sub, true), 5);
    stage_idle(&s, sub);
    assert_int_equal(wanted(&s, sub), 4);
    kp__contest(&s.core, sub)->promised = 1;
    assert_int_equal(wanted(&s, sub), 3);
    /* a failure that is still to be reported counts as one */
    kp__rare(&s.core, sub)->health.kept_count = 1;
    assert_int_equal(wanted(&s, sub), 2);
    kp__rare(&s.core, sub)->health.kept_count = 9;
    assert_int_equal(wanted(&s, sub), 0);
    kp__contest(&s.core, sub)->promised = 0;
    stage_close(&s);
}

static void one_must_be_wanted_by_force_where_there_is_no_minimum(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = stage_key(&s);
    assert_int_equal(wanted(&s, sub), 0);
    assert_int_equal(kp__refill_wanted(&s.core, sub, true), 1);
    stage_idle(&s, sub);
    assert_int_equal(kp__refill_wanted(&s.core, sub, true), 0);
    stage_close(&s);
}

static void nothing_must_be_wanted_where_nothing_can_be_made(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.rules.min_live = 1;
    struct kp__subpool *sub = stage_key(&s);
    assert_int_equal(wanted(&s, sub), 1);
    s.core.can_create = false;
    assert_int_equal(wanted(&s, sub), 0);
    s.core.can_create = true;
    s.core.phase = KP__DRAINING;
    assert_int_equal(wanted(&s, sub), 0);
    s.core.phase = KP__OPEN;
    sub->leaving = true;
    assert_int_equal(wanted(&s, sub), 0);
    sub->leaving = false;
    struct kp__rules *rules = sub->rules;
    sub->rules = NULL;
    assert_int_equal(wanted(&s, sub), 0);
    sub->rules = rules;
    s.core.max_idle = 0; /* it would not be kept */
    assert_int_equal(wanted(&s, sub), 0);
    s.core.max_idle = 1;
    assert_int_equal(wanted(&s, sub), 1);
    stage_close(&s);
}

static void no_more_must_be_wanted_than_the_key_may_hold(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.rules.min_live = 5;
    s.rules.max_live = 3;
    struct kp__subpool *sub = stage_key(&s);
    assert_int_equal(wanted(&s, sub), 3);
    s.rules.max_idle = 2;
    assert_int_equal(wanted(&s, sub), 2);
    stage_lend(&s, sub);
    assert_int_equal(wanted(&s, sub), 2); /* 3 in all: 1 lent, 2 idle */
    s.rules.max_live = 9;
    s.rules.max_idle = 1;
    assert_int_equal(wanted(&s, sub), 1);
    s.rules.max_idle = 4; /* no more than the minimum */
    assert_int_equal(wanted(&s, sub), 4);
    stage_close(&s);
}

static void a_minimum_of_idle_ones_must_be_on_top_of_the_lent_ones(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.rules.min_idle = 2;
    struct kp__subpool *sub = stage_key(&s);
    assert_int_equal(wanted(&s, sub), 2);
    stage_lend(&s, sub);
    assert_int_equal(wanted(&s, sub), 2);
    s.rules.min_live = 9;
    assert_int_equal(wanted(&s, sub), 8);
    stage_close(&s);
}

static void the_utilization_must_be_rounded_up_to_whole_resources(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.rules.utilization_pct = 50;
    struct kp__subpool *sub = stage_key(&s);
    assert_int_equal(wanted(&s, sub), 0);
    stage_lend(&s, sub); /* 1 of 50 %: 2 */
    assert_int_equal(wanted(&s, sub), 1);
    s.rules.utilization_pct = 49; /* 2.04: 3 */
    assert_int_equal(wanted(&s, sub), 2);
    s.rules.utilization_pct = 51; /* 1.96: 2 */
    assert_int_equal(wanted(&s, sub), 1);
    s.rules.utilization_pct = 99;
    assert_int_equal(wanted(&s, sub), 1);
    s.rules.utilization_pct = 100;
    assert_int_equal(wanted(&s, sub), 0);
    s.rules.utilization_pct = 25;
    s.rules.sharing = 4; /* 1 lease of 4 seats is 25 % of one */
    assert_int_equal(wanted(&s, sub), 0);
    s.rules.utilization_pct = 24;
    assert_int_equal(wanted(&s, sub), 1);
    stage_close(&s);
}

static void wanting_must_file_the_key_once(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = stage_key(&s);
    kp__want_more(&s.core, sub, s.now);
    assert_false(sub->refill);
    assert_int_equal(stage_due_at(&s, sub), 0);
    s.rules.min_live = 1;
    kp__want_more(&s.core, sub, s.now);
    assert_true(sub->refill);
    assert_int_equal(stage_due_at(&s, sub), s.now);
    kp__unfile_sub(&s.core, sub);
    kp__want_more(&s.core, sub, s.now); /* it is on its way */
    assert_int_equal(stage_due_at(&s, sub), 0);
    stage_close(&s);
}

/* ---- permits of the background --------------------------------------------------------------- */

static bool permit(struct stage *s, struct kp__subpool *sub)
{
    bool got = kp__refill_permit(&s->core, sub, false, s->now);

    if (got) kp__permit_refund(&s->core, sub);
    stage_check(s);
    return got;
}

static void the_background_must_get_a_permit_only_for_what_is_wanted(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = stage_key(&s);
    assert_false(permit(&s, sub));
    assert_true(kp__refill_permit(&s.core, sub, true, s.now));
    assert_int_equal(sub->count[KP__CREATING], 1);
    assert_int_equal(s.core.creating.used, 1);
    assert_false(kp__refill_permit(&s.core, sub, true, s.now));
    kp__permit_refund(&s.core, sub);
    s.rules.min_live = 1;
    assert_true(permit(&s, sub));
    stage_close(&s);
}

static void waiting_creators_must_come_before_the_background(void **state)
{
    struct stage s;
    struct kp__request r[3];

    (void)state;
    stage_open(&s);
    s.rules.min_live = 2;
    struct kp__subpool *sub = stage_key(&s);
    stage_ask(&s, sub, &r[0], KP_DONT_CREATE); /* no creator: it does not stand in the way */
    assert_int_equal(r[0].grant.kind, KP__GRANT_WAIT);
    assert_true(permit(&s, sub));
    s.core.can_create = false;
    stage_ask(&s, sub, &r[1], KP_FRESH);
    s.core.can_create = true;
    assert_false(kp__refill_permit(&s.core, sub, false, s.now));
    kp__withdraw(&s.core, &r[1], s.now, &s.todo);
    assert_true(permit(&s, sub));
    s.core.can_create = false;
    stage_ask(&s, sub, &r[2], 0);
    s.core.can_create = true;
    assert_false(kp__refill_permit(&s.core, sub, false, s.now));
    stage_close(&s);
}

static void the_background_must_heed_health_and_creations_under_way(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.rules.min_live = 5;
    s.rules.max_creating = 2;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__circuit circuit = { .until = s.now + 1 };
    s.rules.breaker_probes = 1;
    s.core.tripped = 1;
    kp__rare(&s.core, sub)->health.tripped = true;
    kp__rare(&s.core, sub)->health.circuit = &circuit;
    assert_false(permit(&s, sub)); /* it is open */
    circuit.until = s.now;
    assert_true(permit(&s, sub));
    circuit.probes = 1;
    circuit.probed_at = s.now;
    assert_false(permit(&s, sub)); /* there is a probe */
    circuit.probes = 0;
    kp__rare(&s.core, sub)->health.circuit = &kp__no_circuit;
    kp__rare(&s.core, sub)->health.tripped = false;
    s.core.tripped = 0;
    kp__rare(&s.core, sub)->health.back_off = s.now + 1;
    assert_false(permit(&s, sub));
    kp__rare(&s.core, sub)->health.back_off = s.now;
    assert_true(permit(&s, sub));
    assert_true(kp__refill_permit(&s.core, sub, false, s.now));
    assert_true(permit(&s, sub));
    kp__rare(&s.core, sub)->health.failures = 1; /* one at a time, until one succeeds */
    assert_false(permit(&s, sub));
    kp__rare(&s.core, sub)->health.failures = 0;
    assert_true(kp__refill_permit(&s.core, sub, false, s.now));
    assert_false(permit(&s, sub));
    stage_close(&s);
}

static void the_background_must_stay_within_every_budget(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    stage_group(&s, 0, 0, 9);
    stage_group(&s, 1, 1, 9);
    s.rules.min_live = 1;
    struct kp__subpool *sub = stage_key(&s);
    stage_rule(&s, sub, &s.rules, 0, 1);
    struct kp__budget *budgets[] = { &s.core.creating, &s.core.live, &s.groups[0].budget,
                                     &s.groups[1].budget };
    for (size_t i = 0; i < sizeof budgets / sizeof budgets[0]; i++) {
        int64_t cap = budgets[i]->cap;
        assert_true(permit(&s, sub));
        budgets[i]->cap = 0;
        assert_false(permit(&s, sub));
        budgets[i]->cap = cap;
    }
    stage_close(&s);
}

static void a_permit_must_count_in_both_groups_until_it_is_refunded(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    stage_group(&s, 0, 0, 9);
    stage_group(&s, 1, 1, 9);
    struct kp__subpool *sub = stage_key(&s);
    stage_rule(&s, sub, &s.rules, 0, 1);
    kp__permit_take(&s.core, sub);
    stage_check(&s);
    assert_int_equal(s.groups[0].budget.used, 1);
    assert_int_equal(s.groups[1].budget.used, 1);
    kp__permit_refund(&s.core, sub);
    stage_check(&s);
    assert_int_equal(s.core.live.used, 0);
    assert_int_equal(s.groups[0].budget.used, 0);
    assert_int_equal(s.groups[1].budget.used, 0);
    stage_close(&s);
}

/* What is left when a permit comes back may be its minimum, which must not be evicted. */
static void a_refunded_permit_must_leave_the_minimum_alone(void **state)
{
    struct stage s;
    struct kp__request r;
    struct kp__rules minimum = stage_rules();

    (void)state;
    stage_open(&s);
    s.core.live.cap = 2;
    minimum.min_live = 1;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    stage_rule(&s, a, &minimum, -1, -1);
    struct kp__slot *slot = stage_idle(&s, a);
    assert_int_equal(stage_ask(&s, a, &r, KP_FRESH), KP__GRANT_PERMIT);
    kp__decline(&s.core, &r, s.now, &s.todo);
    stage_check(&s);
    stage_lend(&s, b);
    assert_int_equal(stage_ask(&s, b, &r, 0), KP__GRANT_WAIT);
    assert_int_equal(slot->state, KP__IDLE);
    stage_close(&s);
}

/* When no request takes the place of a resource that is being destroyed any more, it counts as its
 * key's own again, and others come before that. */
static void a_promise_that_ends_must_leave_the_victim_to_its_key(void **state)
{
    struct stage s;
    struct kp__request r[3];

    (void)state;
    stage_open(&s);
    s.core.live.cap = 3;
    struct kp__subpool *loser = stage_key(&s), *rich = stage_key(&s), *poor = stage_key(&s);
    struct kp__slot *victim = stage_idle(&s, loser);
    stage_lend(&s, rich);
    stage_lend(&s, rich);
    assert_int_equal(stage_ask(&s, rich, &r[0], 0), KP__GRANT_PERMIT);
    assert_ptr_equal(r[0].slot, victim);
    assert_int_equal(stage_ask(&s, loser, &r[1], 0), KP__GRANT_WAIT);
    assert_int_equal(stage_ask(&s, poor, &r[2], 0), KP__GRANT_WAIT);
    assert_ptr_equal(loser->contest->lacks, &s.core.live);
    kp__decline(&s.core, &r[0], s.now, &s.todo);
    s.core.live.cap++;
    kp__settle_budget(&s.core, &s.core.live, s.now, &s.todo);
    stage_check(&s);
    assert_int_equal(r[1].grant.kind, KP__GRANT_WAIT);
    assert_int_equal(r[2].grant.kind, KP__GRANT_PERMIT);
    stage_close(&s);
}

static void a_lent_permit_must_be_dropped_once(void **state)
{
    struct stage s;
    struct kp__request r = { 0 };

    (void)state;
    stage_open(&s);
    r.sub = stage_key(&s);
    kp__lent_drop(&s.core, &r);
    assert_int_equal(s.core.lent.used, 0);
    kp__lent_take(&s.core, r.sub);
    r.holds_lent = true;
    assert_int_equal(s.core.lent.used, 1);
    kp__lent_drop(&s.core, &r);
    assert_false(r.holds_lent);
    kp__lent_drop(&s.core, &r);
    assert_int_equal(s.core.lent.used, 0);
    assert_int_equal(r.sub->lent_permits, 0);
    stage_close(&s);
}

/* A key that waits for budget.max_lent is asked in the order of what it holds: its rank must follow
 * its permits. */
static void a_starved_keys_rank_must_follow_what_it_holds(void **state)
{
    struct stage s;
    struct kp__request r[2];

    (void)state;
    stage_open(&s);
    s.core.lent.cap = 3;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    struct kp__slot *a1 = stage_lend(&s, a), *a2 = stage_lend(&s, a), *b1 = stage_lend(&s, b);
    stage_ask(&s, a, &r[0], 0);
    stage_ask(&s, b, &r[1], 0);
    assert_ptr_equal(kp__starved_first(&s.core, &s.core.lent), b);
    assert_int_equal(a->contest->rank.score, 3 * KP__SHARE_ONE);
    assert_int_equal(b->contest->rank.score, 2 * KP__SHARE_ONE);
    kp__lent_take(&s.core, b); /* by no decision: only the rank is looked at */
    kp__lent_take(&s.core, b);
    assert_int_equal(b->contest->rank.score, 4 * KP__SHARE_ONE);
    assert_ptr_equal(kp__starved_first(&s.core, &s.core.lent), a);
    kp__lent_refund(&s.core, b);
    kp__lent_refund(&s.core, b);
    assert_ptr_equal(kp__starved_first(&s.core, &s.core.lent), b);
    stage_give(&s, a1, 0, true);
    assert_int_equal(r[0].grant.kind, KP__GRANT_SLOT); /* 1 and 1 now: a came first */
    (void)a2;
    (void)b1;
    stage_close(&s);
}

static void a_promise_must_count_as_creating_and_in_groups_its_victim_is_not_in(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    stage_group(&s, 0, 0, 9);
    stage_group(&s, 1, 1, 9);
    stage_group(&s, 2, 1, 9);
    s.core.live.cap = 1;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    stage_rule(&s, a, &s.rules, 0, 1);
    stage_rule(&s, b, &s.rules, 0, 2);
    struct kp__slot *victim = stage_idle(&s, a);
    assert_int_equal(stage_ask(&s, b, &r, 0), KP__GRANT_PERMIT);
    stage_check(&s);
    assert_ptr_equal(r.slot, victim);
    assert_ptr_equal(victim->errand->victim.promised_to, b);
    assert_int_equal(s.groups[0].budget.used, 1);
    assert_int_equal(s.groups[1].budget.used, 1);
    assert_int_equal(s.groups[2].budget.used, 1);
    assert_int_equal(s.core.creating.used, 1);
    assert_int_equal(b->contest->promised, 1);
    stage_victim_gone(&s, &r);
    assert_int_equal(s.groups[0].budget.used, 1);
    assert_int_equal(s.groups[1].budget.used, 0);
    assert_int_equal(s.groups[2].budget.used, 1);
    assert_int_equal(s.core.seldom.evicted, 1);
    assert_int_equal(a->rare->seldom.evicted, 1);
    stage_take(&s, &r);
    stage_close(&s);
}

/* Its place is in the group, of either kind: no other is taken there meanwhile. */
static void a_promise_must_not_count_in_a_group_its_victim_is_in(void **state)
{
    (void)state;
    for (int which = 0; which < 2; which++) {
        struct stage s;
        struct kp__request r;
        stage_open(&s);
        stage_group(&s, 0, which, 1);
        struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
        stage_rule(&s, a, &s.rules, which ? -1 : 0, which ? 0 : -1);
        stage_rule(&s, b, &s.rules, which ? -1 : 0, which ? 0 : -1);
        struct kp__slot *victim = stage_idle(&s, a);
        assert_int_equal(stage_ask(&s, b, &r, 0), KP__GRANT_PERMIT);
        assert_ptr_equal(r.slot, victim);
        assert_int_equal(s.groups[0].budget.used, 1);
        stage_victim_gone(&s, &r);
        assert_int_equal(s.groups[0].budget.used, 1);
        stage_close(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_minimum_must_be_wanted_less_what_there_is),
        cmocka_unit_test(one_must_be_wanted_by_force_where_there_is_no_minimum),
        cmocka_unit_test(nothing_must_be_wanted_where_nothing_can_be_made),
        cmocka_unit_test(no_more_must_be_wanted_than_the_key_may_hold),
        cmocka_unit_test(a_minimum_of_idle_ones_must_be_on_top_of_the_lent_ones),
        cmocka_unit_test(the_utilization_must_be_rounded_up_to_whole_resources),
        cmocka_unit_test(wanting_must_file_the_key_once),
        cmocka_unit_test(the_background_must_get_a_permit_only_for_what_is_wanted),
        cmocka_unit_test(waiting_creators_must_come_before_the_background),
        cmocka_unit_test(the_background_must_heed_health_and_creations_under_way),
        cmocka_unit_test(the_background_must_stay_within_every_budget),
        cmocka_unit_test(a_permit_must_count_in_both_groups_until_it_is_refunded),
        cmocka_unit_test(a_refunded_permit_must_leave_the_minimum_alone),
        cmocka_unit_test(a_promise_that_ends_must_leave_the_victim_to_its_key),
        cmocka_unit_test(a_lent_permit_must_be_dropped_once),
        cmocka_unit_test(a_starved_keys_rank_must_follow_what_it_holds),
        cmocka_unit_test(a_promise_must_not_count_in_a_group_its_victim_is_in),
        cmocka_unit_test(a_promise_must_count_as_creating_and_in_groups_its_victim_is_not_in),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
