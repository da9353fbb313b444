/* SPDX-License-Identifier: MIT
 *
 * Tests of core/give.c: leases that end, resources that go, invalidation.
 */
#include "core_stage.h"

/* ---- leases that end ------------------------------------------------------------------------- */

static void a_returned_resource_must_go_idle_with_its_time(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.rules.idle_check = KP_CHECK_KEEPER;
    s.rules.idle_ttl = 50;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slot = stage_lend(&s, sub);
    s.now += 5;
    stage_give(&s, slot, 0, true);
    assert_int_equal(slot->state, KP__IDLE);
    assert_int_equal(slot->since, s.now);
    assert_int_equal(slot->due.at, s.now + 50);
    assert_int_equal(sub->used_at, s.now);
    assert_int_equal(s.core.lent.used, 0);
    stage_close(&s);
}

static void one_that_is_not_kept_must_hold_its_room_until_it_is_destroyed(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.core.lent.cap = 1;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slot = stage_lend(&s, sub);
    stage_ask(&s, sub, &r, 0);
    assert_int_equal(r.grant.kind, KP__GRANT_WAIT);
    stage_give(&s, slot, 0, false);
    assert_int_equal(slot->state, KP__CLOSING);
    assert_int_equal(slot->cause, KP_CAUSE_DISCARDED);
    assert_true(slot->errand->owes_lent);
    assert_int_equal(r.grant.kind, KP__GRANT_WAIT);
    assert_int_equal(stage_destroy(&s), 1);
    assert_int_equal(r.grant.kind, KP__GRANT_PERMIT);
    assert_int_equal(sub->rare->seldom.invalidated, 1);
    assert_int_equal(s.core.seldom.invalidated, 1);
    stage_close(&s);
}

static void the_last_borrower_must_close_a_shared_one_that_is_not_kept(void **state)
{
    struct stage s;
    struct kp__request r, waiting;

    (void)state;
    stage_open(&s);
    s.rules.sharing = 2;
    s.rules.max_lent = 2;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slot = stage_lend(&s, sub);
    stage_ask(&s, sub, &r, 0);
    stage_ask(&s, sub, &waiting, 0);
    assert_string_equal(kp__limit_name[waiting.limit], "max_lent");
    kp__give(&s.core, slot, 0, KP_CAUSE_INVALID, s.now, &s.todo);
    stage_check(&s);
    assert_true(slot->errand->doomed);
    assert_int_equal(slot->state, KP__LENT);
    assert_int_equal(waiting.grant.kind, KP__GRANT_PERMIT); /* the lent permit came back */
    stage_give(&s, slot, 1, true);
    assert_int_equal(slot->state, KP__CLOSING);
    assert_int_equal(slot->cause, KP_CAUSE_INVALID);
    stage_destroy(&s);
    assert_int_equal(sub->rare->seldom.invalid, 1);
    stage_close(&s);
}

static void one_past_its_age_must_not_be_kept(void **state)
{
    static const struct {
        uint32_t check, respects;
        uint64_t held;
        int64_t min_live;
        bool kept;
    } cases[] = {
        { KP_CHECK_RETURN, 0, 9, 0, true },   { KP_CHECK_RETURN, 0, 10, 0, false },
        { KP_CHECK_GET, 0, 10, 0, false },    { KP_CHECK_KEEPER, 0, 10, 0, true },
        { KP_CHECK_RETURN, KP_KIND_AGE, 10, 1, true },
        { KP_CHECK_RETURN, KP_KIND_AGE, 10, 0, false },
        { KP_CHECK_RETURN, KP_KIND_IDLE, 10, 1, false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct stage s;
        stage_open(&s);
        s.rules.max_age = 10;
        s.rules.age_check = cases[i].check;
        s.rules.respects_min = cases[i].respects;
        s.rules.min_live = cases[i].min_live;
        struct kp__slot *slot = stage_lend(&s, stage_key(&s));
        s.now += cases[i].held;
        stage_give(&s, slot, 0, true);
        if ((slot->state == KP__IDLE) != cases[i].kept) fail_msg("case %zu", i);
        if (!cases[i].kept) assert_int_equal(slot->cause, KP_CAUSE_AGE);
        stage_close(&s);
    }
}

static void one_over_the_keys_limit_must_not_be_kept_unless_somebody_waits(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.rules.max_live = 2;
    s.rules.reserve = 1;
    s.rules.reserve_after = 0;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slots[3];
    for (int i = 0; i < 3; i++) slots[i] = stage_lend(&s, sub); /* one of the reserve */
    stage_ask(&s, sub, &r, 0);
    assert_int_equal(r.grant.kind, KP__GRANT_WAIT);
    stage_give(&s, slots[0], 0, true);
    assert_ptr_equal(r.slot, slots[0]); /* kept for it */
    stage_give(&s, slots[0], 0, true);
    assert_int_equal(slots[0]->state, KP__CLOSING);
    assert_int_equal(slots[0]->cause, KP_CAUSE_SURPLUS);
    stage_destroy(&s);
    stage_give(&s, slots[1], 0, true);
    assert_int_equal(slots[1]->state, KP__IDLE);
    /* over the reserve, too (the limits were lowered): not even for a waiter */
    stage_lend(&s, sub);
    s.rules.max_live = 0;
    stage_ask(&s, sub, &r, 0);
    stage_give(&s, slots[1], 0, true);
    assert_int_equal(slots[1]->state, KP__CLOSING);
    assert_int_equal(r.grant.kind, KP__GRANT_WAIT);
    stage_close(&s);
}

static void idle_ones_over_the_keys_or_the_pools_number_must_not_be_kept(void **state)
{
    struct stage s;

    (void)state;
    for (int pools = 0; pools < 2; pools++) {
        stage_open(&s);
        if (pools) s.core.max_idle = 1;
        else s.rules.max_idle = 1;
        struct kp__subpool *sub = stage_key(&s);
        struct kp__slot *a = stage_lend(&s, sub), *b = stage_lend(&s, sub);
        stage_give(&s, a, 0, true);
        assert_int_equal(a->state, KP__IDLE);
        stage_give(&s, b, 0, true);
        assert_int_equal(b->state, KP__CLOSING);
        assert_int_equal(b->cause, KP_CAUSE_SURPLUS);
        stage_destroy(&s);
        assert_int_equal(s.core.tally.destroys, 1);
        assert_int_equal(s.core.seldom.evicted + s.core.seldom.expired + s.core.seldom.invalid +
                         s.core.seldom.invalidated, 0);
        stage_close(&s);
    }
}

static void with_drop_oldest_the_oldest_must_go_instead(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.rules.max_idle = 1;
    s.rules.drop_oldest = true;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *a = stage_lend(&s, sub), *b = stage_lend(&s, sub);
    stage_give(&s, a, 0, true);
    assert_int_equal(a->state, KP__IDLE);
    stage_give(&s, b, 0, true);
    assert_int_equal(b->state, KP__IDLE);
    assert_int_equal(a->state, KP__CLOSING);
    assert_int_equal(a->cause, KP_CAUSE_SURPLUS);
    stage_close(&s);
}

/* It was kept because a request waited, which could not take it: then it is looked at again. */
static void one_kept_for_a_waiter_who_did_not_take_it_must_be_surplus(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.rules.max_idle = 0;
    s.rules.max_live = 1;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slot = stage_lend(&s, sub);
    s.core.can_create = false;
    stage_ask(&s, sub, &r, KP_FRESH);
    stage_give(&s, slot, 0, true);
    assert_int_equal(slot->state, KP__CLOSING);
    assert_int_equal(slot->cause, KP_CAUSE_SURPLUS);
    stage_close(&s);
}

static void the_excess_must_be_looked_for_at_each_return_where_it_is_checked(void **state)
{
    struct stage s;

    (void)state;
    for (uint32_t check = KP_CHECK_RETURN;; check = KP_CHECK_KEEPER) {
        stage_open(&s);
        s.rules.excess_check = check;
        s.rules.excess_ttl = 10;
        struct kp__subpool *sub = stage_key(&s);
        struct kp__slot *a = stage_idle(&s, sub), *b = stage_idle(&s, sub);
        s.now += 9;
        assert_ptr_equal(stage_lend(&s, sub), b);
        stage_give(&s, b, 0, true);
        assert_int_equal(a->state, KP__IDLE);
        assert_ptr_equal(stage_lend(&s, sub), b);
        s.now += 1;
        stage_give(&s, b, 0, true);
        assert_int_equal(b->state, KP__IDLE);
        assert_int_equal(a->state, check == KP_CHECK_RETURN ? KP__CLOSING : KP__IDLE);
        if (check == KP_CHECK_KEEPER) break;
        assert_int_equal(a->cause, KP_CAUSE_EXCESS);
        stage_close(&s);
    }
    stage_close(&s);
}

/* A waiter took it: then nothing of the key is idle. */
static void no_excess_must_be_looked_for_where_a_waiter_took_the_returned_one(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.rules.max_live = 1;
    s.rules.excess_check = KP_CHECK_RETURN;
    s.rules.excess_ttl = 0;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slot = stage_lend(&s, sub);
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_WAIT);
    stage_give(&s, slot, 0, true);
    assert_int_equal(r.grant.kind, KP__GRANT_SLOT);
    assert_int_equal(slot->state, KP__LENT);
    assert_int_equal(stage_destroy(&s), 0);
    stage_close(&s);
}

/* The oldest may be the returned one itself: closed once, as expired. */
static void a_returned_one_that_is_excess_at_once_must_close_once(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.rules.excess_check = KP_CHECK_RETURN;
    s.rules.excess_ttl = 0;
    s.rules.max_idle = 0;
    s.rules.drop_oldest = true;
    struct kp__slot *slot = stage_lend(&s, stage_key(&s));
    stage_give(&s, slot, 0, true);
    assert_int_equal(slot->state, KP__CLOSING);
    assert_int_equal(slot->cause, KP_CAUSE_EXCESS);
    assert_int_equal(stage_destroy(&s), 1);
    stage_close(&s);
}

static void one_that_comes_back_after_the_close_must_be_destroyed(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    struct kp__slot *slot = stage_lend(&s, stage_key(&s));
    s.core.phase = KP__CLOSED;
    stage_give(&s, slot, 0, true);
    assert_int_equal(slot->state, KP__CLOSING);
    assert_int_equal(slot->cause, KP_CAUSE_CLOSED);
    stage_close(&s);

    stage_open(&s);
    slot = stage_lend(&s, stage_key(&s));
    s.core.phase = KP__DRAINING;
    stage_give(&s, slot, 0, true);
    assert_int_equal(slot->state, KP__IDLE);
    stage_close(&s);
}

static void a_key_down_to_its_minimum_must_be_filed_to_be_forgotten(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.core.forget_after = 100;
    s.rules.min_live = 1;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *a = stage_lend(&s, sub), *b = stage_lend(&s, sub);
    s.now += 5;
    stage_give(&s, a, 0, true);
    assert_int_equal(stage_due_at(&s, sub), 0); /* two are more than one */
    stage_give(&s, b, 0, false);
    stage_destroy(&s);
    assert_int_equal(stage_due_at(&s, sub), s.now + 100);
    kp__unfile_sub(&s.core, sub);
    assert_ptr_equal(stage_lend(&s, sub), a);
    s.now += 5;
    stage_give(&s, a, 0, true);
    assert_int_equal(stage_due_at(&s, sub), s.now + 100);
    kp__unfile_sub(&s.core, sub);
    stage_lend(&s, sub);
    s.now = 0; /* no clock: nothing can be filed */
    stage_give(&s, a, 0, true);
    assert_int_equal(stage_due_at(&s, sub), 0);
    stage_close(&s);
}

/* ---- resources that go ----------------------------------------------------------------------- */

static void an_eager_key_must_refill_what_it_lost_and_no_other(void **state)
{
    struct stage s;

    (void)state;
    for (int eager = 0; eager < 2; eager++) {
        stage_open(&s);
        s.rules.min_live = 2;
        s.rules.eager = eager;
        struct kp__subpool *sub = stage_key(&s);
        stage_idle(&s, sub);
        stage_idle(&s, sub);
        struct kp__slot *third = stage_idle(&s, sub);
        kp__doom(&s.core, third, KP_CAUSE_INVALIDATED, &s.todo);
        stage_destroy(&s);
        assert_false(sub->refill); /* two are left */
        kp__doom(&s.core, kp__oldest_idle(sub), KP_CAUSE_INVALIDATED, &s.todo);
        s.now += 4;
        stage_destroy(&s);
        assert_int_equal(sub->refill, eager);
        assert_int_equal(stage_due_at(&s, sub) != 0, eager);
        if (eager) assert_int_equal(stage_due_at(&s, sub), s.now);
        stage_close(&s);
    }
}

static void what_is_destroyed_must_not_count_as_a_use_of_its_key(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.core.forget_after = 100;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slots[3];
    for (int i = 0; i < 3; i++) slots[i] = stage_idle(&s, sub);
    sub->used_at = 7;
    s.now = 0;
    kp__doom(&s.core, slots[0], KP_CAUSE_INVALIDATED, &s.todo);
    stage_destroy(&s);
    assert_int_equal(sub->used_at, 7);
    assert_int_equal(stage_due_at(&s, sub), 0); /* not the last one */
    s.now = 2000;
    kp__doom(&s.core, slots[1], KP_CAUSE_AGE, &s.todo);
    kp__doom(&s.core, slots[2], KP_CAUSE_AGE, &s.todo);
    stage_destroy(&s);
    assert_int_equal(sub->used_at, 7);
    assert_int_equal(stage_due_at(&s, sub), 107);
    stage_close(&s);
}

/* ---- marks ----------------------------------------------------------------------------------- */

static void the_place_of_a_destroyed_one_must_be_used_again(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = stage_key(&s);
    for (int i = 0; i < 3; i++) {
        stage_give(&s, stage_lend(&s, sub), 0, false);
        stage_destroy(&s);
        assert_int_equal(s.core.slots.made, 1);
    }
    stage_close(&s);
}

static void doom_must_close_idle_ones_now_and_lent_ones_later_once(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *idle = stage_idle(&s, sub);
    struct kp__request r;
    assert_int_equal(stage_ask(&s, sub, &r, KP_FRESH), KP__GRANT_PERMIT);
    struct kp__slot *lent = stage_take(&s, &r);
    kp__permit_take(&s.core, sub);
    struct kp__slot *creating = stage_spend(&s, sub);
    assert_false(kp__doom(&s.core, creating, KP_CAUSE_INVALIDATED, &s.todo));
    assert_false(creating->errand->doomed);
    assert_true(kp__doom(&s.core, idle, KP_CAUSE_AGE, &s.todo));
    assert_int_equal(idle->state, KP__CLOSING);
    assert_int_equal(idle->cause, KP_CAUSE_AGE);
    assert_false(kp__doom(&s.core, idle, KP_CAUSE_INVALID, &s.todo));
    assert_true(kp__doom(&s.core, lent, KP_CAUSE_AGE, &s.todo));
    assert_int_equal(lent->state, KP__LENT);
    assert_false(kp__doom(&s.core, lent, KP_CAUSE_INVALID, &s.todo));
    assert_int_equal(lent->cause, KP_CAUSE_AGE);
    stage_give(&s, lent, 0, true);
    assert_int_equal(lent->state, KP__CLOSING);
    assert_int_equal(lent->cause, KP_CAUSE_AGE);
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_returned_resource_must_go_idle_with_its_time),
        cmocka_unit_test(one_that_is_not_kept_must_hold_its_room_until_it_is_destroyed),
        cmocka_unit_test(the_last_borrower_must_close_a_shared_one_that_is_not_kept),
        cmocka_unit_test(one_past_its_age_must_not_be_kept),
        cmocka_unit_test(one_over_the_keys_limit_must_not_be_kept_unless_somebody_waits),
        cmocka_unit_test(idle_ones_over_the_keys_or_the_pools_number_must_not_be_kept),
        cmocka_unit_test(with_drop_oldest_the_oldest_must_go_instead),
        cmocka_unit_test(one_kept_for_a_waiter_who_did_not_take_it_must_be_surplus),
        cmocka_unit_test(the_excess_must_be_looked_for_at_each_return_where_it_is_checked),
        cmocka_unit_test(no_excess_must_be_looked_for_where_a_waiter_took_the_returned_one),
        cmocka_unit_test(a_returned_one_that_is_excess_at_once_must_close_once),
        cmocka_unit_test(one_that_comes_back_after_the_close_must_be_destroyed),
        cmocka_unit_test(a_key_down_to_its_minimum_must_be_filed_to_be_forgotten),
        cmocka_unit_test(an_eager_key_must_refill_what_it_lost_and_no_other),
        cmocka_unit_test(what_is_destroyed_must_not_count_as_a_use_of_its_key),
        cmocka_unit_test(the_place_of_a_destroyed_one_must_be_used_again),
        cmocka_unit_test(doom_must_close_idle_ones_now_and_lent_ones_later_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
