/* SPDX-License-Identifier: MIT
 *
 * Corner cases of src/core/decide.c and give.c that no other test covered, each found by a change
 * of the code that no test noticed (tools/mutate.py).
 */
#include "core_stage.h"

/* ---- circuits -------------------------------------------------------------------------------- */

static void a_circuit_that_closed_before_its_time_must_refuse_nothing(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.rules.breaker_failures = 1;
    s.rules.breaker_open = 1000;
    s.rules.breaker_counts = KP_BREAK_USE | KP_BREAK_CREATE;
    struct kp__subpool *sub = stage_key(&s);
    assert_int_equal(stage_report(&s, sub, false), KP__OPENED);
    kp__circuit_forgive(&s.core, sub);
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_PERMIT);
    assert_false(r.grant.probe); /* nothing is open */
    stage_take(&s, &r);
    stage_give(&s, r.slot, 0, true);
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_SLOT);
    assert_int_equal(sub->rare->health.circuit->probes, 0);
    stage_close(&s);
}

static void a_return_must_not_end_the_probe_of_a_creation(void **state)
{
    struct stage s;
    struct kp__request r[2];

    (void)state;
    stage_open(&s);
    s.rules.breaker_failures = 1;
    s.rules.breaker_counts = KP_BREAK_CREATE;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slot = stage_lend(&s, sub);
    bool no_probe = false;
    kp__rare(&s.core, sub)->health.failures = 1;
    kp__outcome(&s.core, sub, KP_BREAK_CREATE, false, &no_probe, s.now);
    assert_int_equal(stage_ask(&s, sub, &r[0], KP_FRESH), KP__GRANT_PERMIT);
    stage_give(&s, slot, 0, true);
    assert_int_equal(sub->rare->health.circuit->probes, 1);
    assert_int_equal(stage_ask(&s, sub, &r[1], KP_FRESH), KP__GRANT_NO);
    stage_close(&s);
}

/* Nobody waited for the probe's resource any more, and it went for another key without a use. */
static void a_probe_that_came_to_nothing_must_let_another_begin(void **state)
{
    struct stage s;
    struct kp__request probe, other;
    struct kp__rules plain = stage_rules();

    (void)state;
    stage_open(&s);
    s.core.live.cap = 1;
    s.rules.breaker_failures = 1;
    s.rules.breaker_counts = KP_BREAK_USE;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    stage_rule(&s, b, &plain, -1, -1);
    assert_int_equal(stage_report(&s, a, false), KP__OPENED);
    assert_int_equal(stage_ask(&s, a, &probe, 0), KP__GRANT_PERMIT);
    struct kp__slot *slot = stage_begin(&s, &probe);
    stage_pending(&s, &probe, slot);
    assert_int_equal(stage_ask(&s, b, &other, 0), KP__GRANT_WAIT);
    assert_true(kp__withdraw(&s.core, &probe, s.now, &s.todo));
    stage_made(&s, slot, NULL);
    assert_ptr_equal(other.slot, slot);
    stage_take(&s, &other);
    stage_give(&s, other.slot, 0, false);
    stage_destroy(&s);
    assert_int_equal(stage_ask(&s, a, &probe, 0), KP__GRANT_PERMIT);
    assert_true(probe.grant.probe);
    assert_int_equal(a->rare->health.circuit->probes, 1);
    stage_close(&s);
}

static void a_kept_failure_must_be_told_before_the_latest(void **state)
{
    struct stage s;
    struct kp__request r;
    struct kp__failure last = { .code = -1 }, kept = { .code = -2 };

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = stage_key(&s);
    last.until = s.now + 50;
    kp__rare(&s.core, sub)->health.last = &last;
    kp__list_init(&kept.link);
    kp__list_push_back(&kp__rare(&s.core, sub)->health.kept, &kept.link);
    kp__rare(&s.core, sub)->health.kept_count = 1;
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_NO);
    assert_int_equal(r.grant.code, -2);
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_NO);
    assert_int_equal(r.grant.code, -1);
    stage_close(&s);
}

static void a_failure_in_the_background_must_be_kept_for_its_time_only(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.rules.cache_failure = 20;
    struct kp__subpool *sub = stage_key(&s);
    kp__permit_take(&s.core, sub);
    stage_failed(&s, stage_spend(&s, sub), NULL, -9);
    assert_int_equal(sub->rare->health.kept_count, 0);
    for (int i = 0; i < 2; i++) { /* reported to all */
        assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_NO);
        STAGE_NO(&r, -9, "cache_failure_ms");
    }
    free(sub->rare->health.last);
    stage_close(&s);
}

/* ---- pauses ---------------------------------------------------------------------------------- */

static void a_hundred_failures_must_not_shorten_the_pause(void **state)
{
    struct stage s;
    struct kp__failure what = { .code = -9 };

    (void)state;
    stage_open(&s);
    s.rules.retry_first = 8;
    s.rules.retry_max = 20;
    s.random = UINT64_MAX; /* the remainder by 20 is 15, by 32 or 2^63 another */
    struct kp__subpool *sub = stage_key(&s);
    for (int i = 0; i < 100; i++) {
        struct kp__failure *keep = NULL;
        kp__permit_take(&s.core, sub);
        kp__create_failed(&s.core, stage_spend(&s, sub), NULL, &what, &keep, s.now, &s.todo);
        assert_int_equal(sub->rare->health.back_off, s.now + (i == 0 ? 8 : 16));
    }
    assert_int_equal(s.core.slots.made, 1); /* the slot is free for the next one each time */
    stage_close(&s);
}

static void after_a_failure_one_creation_must_be_tried_not_two(void **state)
{
    struct stage s;
    struct kp__request r[2];

    (void)state;
    stage_open(&s);
    s.rules.max_creating = 3;
    s.rules.retry_first = 50;
    struct kp__subpool *sub = stage_key(&s);
    kp__rare(&s.core, sub)->health.failures = 1;
    assert_int_equal(stage_ask(&s, sub, &r[0], 0), KP__GRANT_PERMIT);
    assert_int_equal(stage_ask(&s, sub, &r[1], 0), KP__GRANT_WAIT);
    assert_string_equal(kp__limit_name[r[1].limit], "max_creating");
    stage_close(&s);
}

static void a_creation_that_waits_for_its_victim_must_count_as_one(void **state)
{
    struct stage s;
    struct kp__request r[2];

    (void)state;
    stage_open(&s);
    s.core.live.cap = 2;
    s.rules.max_creating = 1;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    stage_idle(&s, a);
    stage_idle(&s, a);
    assert_int_equal(stage_ask(&s, b, &r[0], 0), KP__GRANT_PERMIT);
    assert_non_null(r[0].slot);
    assert_int_equal(stage_ask(&s, b, &r[1], 0), KP__GRANT_WAIT);
    assert_string_equal(kp__limit_name[r[1].limit], "max_creating");
    stage_victim_gone(&s, &r[0]);
    stage_close(&s);
}

static void only_a_prefilling_key_must_want_its_minimum_with_its_first_creation(void **state)
{
    (void)state;
    for (int prefill = 0; prefill < 2; prefill++) {
        struct stage s;
        struct kp__request r;
        stage_open(&s);
        s.rules.min_live = 3;
        s.rules.prefill = prefill;
        struct kp__subpool *sub = stage_key(&s);
        assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_PERMIT);
        assert_int_equal(sub->refill, prefill);
        stage_close(&s);
    }
}

/* ---- room ------------------------------------------------------------------------------------ */

static void over_its_limit_a_key_must_not_swap_even_where_a_budget_is_used_up(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.core.live.cap = 2;
    s.core.evicts = false;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *lent = stage_lend(&s, sub);
    assert_int_equal(stage_ask(&s, sub, &r, KP_FRESH), KP__GRANT_PERMIT);
    stage_take(&s, &r);
    stage_give(&s, lent, 0, true);
    s.rules.max_live = 1;
    assert_int_equal(stage_ask(&s, sub, &r, KP_FRESH), KP__GRANT_WAIT);
    assert_string_equal(kp__limit_name[r.limit], "max_live");
    stage_close(&s);
}

/* As between keys of the pool, so between the members of a group, of either kind. */
static void room_in_a_group_must_go_to_the_member_that_ranks_first(void **state)
{
    (void)state;
    for (int which = 0; which < 2; which++) {
        struct stage s;
        struct kp__request r[2];
        stage_open(&s);
        stage_group(&s, 0, which, 2);
        struct kp__subpool *a = stage_key(&s), *c = stage_key(&s);
        stage_rule(&s, a, &s.rules, which ? -1 : 0, which ? 0 : -1);
        stage_rule(&s, c, &s.rules, which ? -1 : 0, which ? 0 : -1);
        struct kp__slot *a1 = stage_lend(&s, a);
        stage_lend(&s, a);
        assert_int_equal(stage_ask(&s, a, &r[0], 0), KP__GRANT_WAIT);
        assert_int_equal(stage_ask(&s, c, &r[1], 0), KP__GRANT_WAIT);
        stage_give(&s, a1, 0, true);
        assert_int_equal(r[0].grant.kind, KP__GRANT_WAIT);
        assert_int_equal(r[1].grant.kind, KP__GRANT_PERMIT);
        assert_ptr_equal(r[1].slot, a1);
        stage_victim_gone(&s, &r[1]);
        stage_close(&s);
    }
}

/* ---- sponsors -------------------------------------------------------------------------------- */

/* Its resource went to a request ahead of it, and it may begin another creation at once, with the
 * lent permit that it already holds. */
static void a_sponsor_must_begin_another_creation_with_the_permit_it_holds(void **state)
{
    struct stage s;
    struct kp__request first, sponsor;

    (void)state;
    stage_open(&s);
    s.rules.max_live = 2;
    struct kp__subpool *sub = stage_key(&s);
    stage_ask(&s, sub, &first, KP_DONT_CREATE);
    stage_ask(&s, sub, &sponsor, 0);
    struct kp__slot *slot = stage_spend(&s, sub);
    stage_pending(&s, &sponsor, slot);
    stage_fill(&s, slot);
    kp__created(&s.core, slot, NULL, s.now, &s.todo);
    assert_int_equal(first.grant.kind, KP__GRANT_SLOT);
    assert_int_equal(sponsor.grant.kind, KP__GRANT_PERMIT);
    assert_true(sponsor.holds_lent);
    assert_int_equal(s.core.lent.used, 2);
    stage_check(&s);
    stage_take(&s, &sponsor);
    stage_close(&s);
}

/* ---- what comes back ------------------------------------------------------------------------- */

static void one_too_many_must_hold_its_lent_permit_until_it_is_destroyed(void **state)
{
    (void)state;
    for (int pool = 0; pool < 2; pool++) {
        struct stage s;
        stage_open(&s);
        *(pool ? &s.core.max_idle : &s.rules.max_idle) = 0;
        struct kp__subpool *sub = stage_key(&s);
        struct kp__slot *slot = stage_lend(&s, sub);
        stage_give(&s, slot, 0, true);
        assert_int_equal(slot->state, KP__CLOSING);
        assert_int_equal(s.core.lent.used, 1);
        stage_destroy(&s);
        assert_int_equal(s.core.lent.used, 0);
        stage_close(&s);
    }
}

static void one_too_many_must_be_kept_for_somebody_who_waits(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.rules.max_idle = 0;
    s.rules.max_live = 1;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slot = stage_lend(&s, sub);
    stage_ask(&s, sub, &r, 0);
    stage_give(&s, slot, 0, true);
    assert_int_equal(r.grant.kind, KP__GRANT_SLOT);
    assert_ptr_equal(r.slot, slot);
    stage_close(&s);
}

static void the_one_idle_longest_must_be_looked_at_on_return(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.rules.idle_check = KP_CHECK_RETURN;
    s.rules.idle_ttl = 10;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *old = stage_idle(&s, sub), *slot = stage_lend(&s, sub);
    assert_ptr_equal(slot, old);
    stage_idle(&s, sub);
    s.now += 20;
    stage_give(&s, slot, 0, true);
    assert_int_equal(sub->count[KP__IDLE], 1);
    stage_close(&s);
}

/* What is made has not come back: its time is not looked at, only how many there are. */
static void what_is_made_and_is_too_many_must_close_as_surplus(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.rules.excess_check = KP_CHECK_RETURN;
    s.rules.excess_ttl = 0;
    struct kp__subpool *sub = stage_key(&s);
    stage_lend(&s, sub);
    kp__permit_take(&s.core, sub);
    struct kp__slot *slot = stage_spend(&s, sub);
    s.rules.max_live = 0;
    stage_made(&s, slot, NULL);
    assert_int_equal(slot->state, KP__CLOSING);
    assert_int_equal(slot->cause, KP_CAUSE_SURPLUS);
    assert_int_equal(stage_destroy(&s), 1);
    stage_close(&s);
}

/* A creation ends in a key whose limit was lowered meanwhile. */
static void a_new_one_over_the_limit_and_its_reserve_must_not_be_kept(void **state)
{
    (void)state;
    for (int reserve = 0; reserve < 2; reserve++) {
        struct stage s;
        stage_open(&s);
        s.rules.reserve = reserve;
        struct kp__subpool *sub = stage_key(&s);
        stage_lend(&s, sub);
        kp__permit_take(&s.core, sub);
        struct kp__slot *slot = stage_spend(&s, sub);
        s.rules.max_live = 1;
        stage_made(&s, slot, NULL);
        assert_int_equal(slot->state, reserve ? KP__IDLE : KP__CLOSING);
        stage_close(&s);
    }
}

/* ---- victims --------------------------------------------------------------------------------- */

static void a_victims_end_must_serve_its_own_key_at_once(void **state)
{
    struct stage s;
    struct kp__request r, next;
    struct kp__rules one = stage_rules();

    (void)state;
    stage_open(&s);
    stage_group(&s, 0, 0, 1);
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    one.max_live = 1;
    stage_rule(&s, a, &one, 0, -1);
    stage_rule(&s, b, &s.rules, 0, -1);
    stage_idle(&s, a);
    assert_int_equal(stage_ask(&s, b, &r, 0), KP__GRANT_PERMIT);
    assert_int_equal(stage_ask(&s, a, &next, 0), KP__GRANT_WAIT);
    assert_string_equal(kp__limit_name[next.limit], "max_live");
    s.groups[0].budget.cap = 2; /* only its own limit is in the way */
    stage_victim_gone(&s, &r);
    assert_int_equal(next.grant.kind, KP__GRANT_PERMIT);
    stage_close(&s);
}

static void a_place_nobody_waits_for_must_go_to_the_next_of_its_key(void **state)
{
    struct stage s;
    struct kp__request r, next;

    (void)state;
    stage_open(&s);
    s.core.live.cap = 2;
    s.rules.max_creating = 1;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    stage_idle(&s, a);
    stage_idle(&s, a);
    assert_int_equal(stage_ask(&s, b, &r, 0), KP__GRANT_PERMIT);
    struct kp__slot *victim = r.slot;
    kp__errand(&s.core, victim)->victim.heir = b;
    stage_sponsor(&s, &r, victim);
    assert_int_equal(stage_ask(&s, b, &next, 0), KP__GRANT_WAIT);
    assert_string_equal(kp__limit_name[next.limit], "max_creating");
    assert_true(kp__withdraw(&s.core, &r, s.now, &s.todo));
    assert_int_equal(next.grant.kind, KP__GRANT_PERMIT);
    assert_ptr_equal(next.slot, victim);
    kp__victim_gone_late(&s.core, victim, s.now, &s.todo);
    stage_check(&s);
    assert_int_equal(next.grant.kind, KP__GRANT_PERMIT);
    assert_null(next.slot);
    stage_close(&s);
}

/* ---- shedding -------------------------------------------------------------------------------- */

static void who_waited_twice_the_target_must_be_shed_and_nobody_earlier(void **state)
{
    struct stage s;
    struct kp__request r[3];

    (void)state;
    stage_open(&s);
    s.rules.max_live = 1;
    s.rules.shed_target = 10;
    s.rules.shed_interval = 1000;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slot = stage_lend(&s, sub);
    kp__rare(&s.core, sub)->shed.slow = true;
    kp__rare(&s.core, sub)->shed.interval_end = KP__NEVER;
    stage_ask(&s, sub, &r[0], 0);
    s.now += 1;
    stage_ask(&s, sub, &r[1], 0);
    stage_ask(&s, sub, &r[2], 0); /* so that it is not the last */
    s.now += 20; /* 21 and 20 */
    stage_give(&s, slot, 0, true);
    STAGE_NO(&r[0], KP_EFULL, "shed_target_ms");
    assert_int_equal(r[1].grant.kind, KP__GRANT_SLOT);
    stage_give(&s, slot, 0, true);
    assert_int_equal(r[2].grant.kind, KP__GRANT_SLOT);
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_circuit_that_closed_before_its_time_must_refuse_nothing),
        cmocka_unit_test(a_return_must_not_end_the_probe_of_a_creation),
        cmocka_unit_test(a_probe_that_came_to_nothing_must_let_another_begin),
        cmocka_unit_test(a_kept_failure_must_be_told_before_the_latest),
        cmocka_unit_test(a_failure_in_the_background_must_be_kept_for_its_time_only),
        cmocka_unit_test(a_hundred_failures_must_not_shorten_the_pause),
        cmocka_unit_test(after_a_failure_one_creation_must_be_tried_not_two),
        cmocka_unit_test(a_creation_that_waits_for_its_victim_must_count_as_one),
        cmocka_unit_test(only_a_prefilling_key_must_want_its_minimum_with_its_first_creation),
        cmocka_unit_test(over_its_limit_a_key_must_not_swap_even_where_a_budget_is_used_up),
        cmocka_unit_test(room_in_a_group_must_go_to_the_member_that_ranks_first),
        cmocka_unit_test(a_sponsor_must_begin_another_creation_with_the_permit_it_holds),
        cmocka_unit_test(one_too_many_must_hold_its_lent_permit_until_it_is_destroyed),
        cmocka_unit_test(one_too_many_must_be_kept_for_somebody_who_waits),
        cmocka_unit_test(the_one_idle_longest_must_be_looked_at_on_return),
        cmocka_unit_test(what_is_made_and_is_too_many_must_close_as_surplus),
        cmocka_unit_test(a_new_one_over_the_limit_and_its_reserve_must_not_be_kept),
        cmocka_unit_test(a_victims_end_must_serve_its_own_key_at_once),
        cmocka_unit_test(a_place_nobody_waits_for_must_go_to_the_next_of_its_key),
        cmocka_unit_test(who_waited_twice_the_target_must_be_shed_and_nobody_earlier),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
