/* SPDX-License-Identifier: MIT
 *
 * Tests of core/slot.c: seats and their sharing, the states, and the index of resources.
 */
#include "core_stage.h"

static void setup(struct stage *s)
{
    stage_open(s);
}

static void a_shared_resource_must_fill_its_seats_in_order_and_be_closed_to_more(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    setup(&s);
    s.rules.sharing = 3;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slot = stage_lend(&s, sub);
    for (uint32_t i = 1; i < 3; i++) {
        assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_SLOT);
        assert_ptr_equal(r.slot, slot);
        assert_int_equal(r.grant.seat, i);
        assert_int_equal(kp__seat_at(slot, i)->generation, i + 1);
    }
    assert_int_equal(slot->lends, 3);
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_PERMIT);
    stage_take(&s, &r);
    assert_ptr_not_equal(r.slot, slot);
    /* the seat that is free again is the next one */
    s.now += 7;
    stage_give(&s, slot, 1, true);
    assert_int_equal(sub->tally.held_ns, 7);
    assert_int_equal(s.core.tally.held_ns, 7);
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_SLOT);
    assert_ptr_equal(r.slot, slot);
    assert_int_equal(r.grant.seat, 1);
    stage_close(&s);
}

static void the_seat_freed_last_must_be_shared_first(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    setup(&s);
    s.rules.sharing = 2;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slots[2];
    for (int i = 0; i < 2; i++) {
        slots[i] = stage_lend(&s, sub);
        assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_SLOT);
        assert_ptr_equal(r.slot, slots[i]);
    }
    stage_give(&s, slots[0], 0, true);
    stage_give(&s, slots[1], 0, true);
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_SLOT);
    assert_ptr_equal(r.slot, slots[1]);
    /* the last one out makes it idle, and the other stays the only one to share */
    stage_give(&s, slots[0], 1, true);
    assert_int_equal(slots[0]->state, KP__IDLE);
    stage_close(&s);
}

static void seats_must_be_opened_once_and_never_of_a_doomed_or_full_one(void **state)
{
    struct stage s;

    (void)state;
    setup(&s);
    s.rules.sharing = 2;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slot = stage_lend(&s, sub);
    /* taken out while it is validated or reset (flow), then opened again */
    kp__close_seats(slot);
    kp__open_seats(&s.core, slot);
    stage_check(&s);
    kp__open_seats(&s.core, slot);
    stage_check(&s);
    struct kp__slot *same = stage_lend(&s, sub);
    assert_ptr_equal(same, slot);
    kp__open_seats(&s.core, slot);
    stage_check(&s);
    stage_give(&s, slot, 0, true);
    assert_true(kp__doom(&s.core, slot, KP_CAUSE_INVALIDATED, &s.todo));
    kp__open_seats(&s.core, slot);
    stage_check(&s);
    stage_close(&s);
}

static void a_doomed_slot_must_not_open_a_seat_when_a_new_lease_begins_in_it(void **state)
{
    const struct kp__request request = { .tag = NULL };
    struct stage s;

    (void)state;
    setup(&s);
    s.rules.sharing = 3;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slot = stage_lend(&s, sub);
    assert_true(kp__doom(&s.core, slot, KP_CAUSE_INVALIDATED, &s.todo));
    kp__lent_take(&s.core, sub); /* as a get does that validated it while it was doomed */
    assert_int_equal(kp__seat_take(&s.core, slot, &request, s.now), 1);
    stage_check(&s);
    stage_give(&s, slot, 0, true);
    stage_check(&s);
    stage_close(&s);
}

/* What is to be checked is not shared before; anything else may be shared at once. */
static void what_need_not_be_checked_must_be_shared_at_once(void **state)
{
    static const struct {
        bool validates;
        uint32_t on;
        uint64_t after;
        bool fresh, shared; /* shared: it is lent already */
        bool closed;
    } cases[] = {
        { true, KP_CHECK_GET, 30, false, false, true },
        { true, KP_CHECK_GET, 31, false, false, false },
        { true, KP_CHECK_RETURN, 0, false, false, false },
        { false, KP_CHECK_GET, 0, false, false, false },
        { true, KP_CHECK_GET, 0, true, false, false },
        { true, KP_CHECK_GET, 0, false, true, false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct stage s;
        struct kp__request r = { .deadline = KP__NEVER };
        stage_open(&s);
        s.rules.sharing = 3;
        r.sub = stage_key(&s);
        struct kp__slot *slot = cases[i].shared ? stage_lend(&s, r.sub) : stage_idle(&s, r.sub);
        s.rules.validate_on = cases[i].on;
        s.rules.validate_after = cases[i].after;
        s.core.validates = cases[i].validates;
        slot->lends = !cases[i].fresh;
        r.holds_lent = cases[i].fresh; /* it is the sponsor of this creation */
        if (r.holds_lent) kp__lent_take(&s.core, r.sub);
        s.now += 30;
        kp__claim(&s.core, &r, s.now, &s.todo);
        assert_int_equal(r.grant.kind, KP__GRANT_SLOT);
        if (kp__list_linked(&slot->errand->open_seat) == cases[i].closed) fail_msg("case %zu", i);
        stage_close(&s);
    }
}

static void a_resource_must_be_found_until_it_closes(void **state)
{
    struct stage s;

    (void)state;
    setup(&s);
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *a = stage_lend(&s, sub), *b = stage_lend(&s, sub);
    void *resource = a->resource;
    assert_ptr_equal(kp__slot_of(&s.core, resource), a);
    assert_ptr_equal(kp__slot_of_live(&s.core, resource), a);
    assert_ptr_equal(kp__slot_of(&s.core, b->resource), b);
    assert_null(kp__slot_of(&s.core, &s));
    assert_null(kp__slot_of_live(&s.core, &s));
    kp__doom(&s.core, a, KP_CAUSE_INVALIDATED, &s.todo);
    assert_ptr_equal(kp__slot_of(&s.core, resource), a);
    assert_null(kp__slot_of_live(&s.core, resource));
    stage_give(&s, a, 0, true);
    assert_int_equal(a->state, KP__CLOSING);
    assert_null(kp__slot_of(&s.core, resource));
    assert_int_equal(stage_destroy(&s), 1);
    assert_int_equal(a->state, KP__FREE);
    stage_close(&s);
}

static void two_slots_may_hold_one_address_while_the_older_is_doomed(void **state)
{
    struct stage s;

    (void)state;
    setup(&s);
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *old = stage_lend(&s, sub);
    kp__doom(&s.core, old, KP_CAUSE_INVALIDATED, &s.todo);
    s.next_resource = old->resource;
    struct kp__request r;
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_PERMIT);
    struct kp__slot *young = stage_spend(&s, sub);
    stage_fill(&s, young);
    kp__created(&s.core, young, &r, s.now, &s.todo);
    assert_ptr_equal(young->resource, old->resource);
    assert_ptr_equal(kp__slot_of_live(&s.core, old->resource), young);
    kp__give(&s.core, old, 0, KP_CAUSE_NONE, s.now, &s.todo);
    stage_check(&s);
    assert_ptr_equal(kp__slot_of(&s.core, young->resource), young);
    stage_close(&s);
}

static void an_idle_slot_must_carry_the_number_of_its_return(void **state)
{
    struct stage s;

    (void)state;
    setup(&s);
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *a = stage_idle(&s, sub), *b = stage_idle(&s, sub);
    assert_int_equal(a->order, 1);
    assert_int_equal(b->order, 2);
    assert_ptr_equal(kp__oldest_idle(sub), a);
    s.now++;
    assert_ptr_equal(stage_lend(&s, sub), b);
    stage_give(&s, b, 0, true);
    assert_int_equal(b->order, 3);
    assert_int_equal(b->since, s.now);
    stage_close(&s);
}

static void a_minimum_of_idle_ones_must_be_wanted_when_one_is_lent(void **state)
{
    struct stage s;

    (void)state;
    setup(&s);
    s.rules.min_idle = 1;
    struct kp__subpool *sub = stage_key(&s);
    stage_lend(&s, sub);
    assert_true(sub->refill);
    assert_int_equal(stage_due_at(&s, sub), s.now);
    assert_int_equal(kp__refill_wanted(&s.core, sub, false), 1);
    stage_close(&s);

    setup(&s);
    s.rules.utilization_pct = 99;
    s.rules.sharing = 2;
    sub = stage_key(&s);
    stage_lend(&s, sub);
    assert_false(sub->refill);
    stage_lend(&s, sub);
    assert_true(sub->refill); /* 2 leases of 2 seats are more than 99 % */
    stage_close(&s);
}

static void a_lease_must_not_be_timed_where_the_pool_needs_no_clock(void **state)
{
    struct stage s;

    (void)state;
    setup(&s);
    s.now = 0;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slot = stage_lend(&s, sub);
    assert_int_equal(kp__seat_at(slot, 0)->since, 0);
    s.now = 500;
    stage_give(&s, slot, 0, true);
    assert_int_equal(sub->tally.held_ns, 0);
    assert_int_equal(s.core.tally.held_ns, 0);
    stage_close(&s);
}

/* Where no rule needs the clock, a bare hit does not read it. */
static void a_decision_without_the_time_must_not_turn_it_back(void **state)
{
    struct stage s;

    (void)state;
    setup(&s);
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slot = stage_lend(&s, sub);
    assert_int_equal(s.core.latest, 1000);
    s.now = 0;
    stage_give(&s, slot, 0, true);
    assert_int_equal(s.core.latest, 1000);
    assert_ptr_equal(stage_lend(&s, sub), slot);
    assert_int_equal(s.core.latest, 1000);
    stage_close(&s);
}

/* ---- draining -------------------------------------------------------------------------------- */

static void one_left_to_drain_must_be_left_so_whatever_becomes_of_the_keys_others(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    setup(&s);
    s.rules.sharing = 4;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slot = stage_lend(&s, sub);
    for (int i = 1; i < 3; i++) assert_ptr_equal(stage_lend(&s, sub), slot);
    assert_int_equal(stage_ask(&s, sub, &r, KP_FRESH), KP__GRANT_PERMIT);
    struct kp__slot *other = stage_take(&s, &r);
    kp__drain_begin(&s.core, slot);
    kp__open_seats(&s.core, slot); /* one that was being looked at is found good */
    stage_check(&s);
    stage_give(&s, slot, 1, true);
    stage_give(&s, other, 0, true);
    assert_ptr_equal(sub->rare->draining, slot);
    /* its room is not owed to another key, so that the next look lets others share it again */
    assert_ptr_equal(stage_lend(&s, sub), other);
    assert_false(slot->errand->draining);
    stage_check(&s);
    stage_close(&s);
}

/* ---- shares of what somebody lacks ----------------------------------------------------------- */

static void only_lending_must_move_the_time_of_a_budget(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    setup(&s);
    struct kp__subpool *sub = stage_key(&s), *poor = stage_key(&s);
    struct kp__slot *one = stage_idle(&s, sub), *two = stage_idle(&s, sub);
    s.core.evicts = false;
    s.core.live.cap = 2;
    assert_int_equal(stage_ask(&s, poor, &r, 0), KP__GRANT_WAIT);
    s.core.live.cap = 1;
    assert_true(kp__doom(&s.core, one, KP_CAUSE_INVALIDATED, &s.todo));
    assert_int_equal(s.core.live.virtual_time, 0);
    assert_int_equal(stage_destroy(&s), 1);
    assert_int_equal(s.core.live.virtual_time, 0);
    assert_ptr_equal(stage_lend(&s, sub), two);
    assert_true(s.core.live.virtual_time > 0);
    stage_close(&s);
}

static void who_was_served_with_a_permit_must_not_be_served_again_by_its_creation(void **state)
{
    struct stage s;
    struct kp__request r[2];

    (void)state;
    setup(&s);
    s.core.live.cap = 1;
    struct kp__subpool *sub = stage_key(&s), *poor = stage_key(&s);
    assert_int_equal(stage_ask(&s, sub, &r[0], 0), KP__GRANT_PERMIT);
    assert_int_equal(stage_ask(&s, poor, &r[1], 0), KP__GRANT_WAIT);
    assert_ptr_equal(poor->contest->lacks, &s.core.live);
    stage_take(&s, &r[0]);
    assert_int_equal(s.core.live.virtual_time, 0);
    stage_close(&s);
}

/* What is being destroyed counts as in use, from the moment on when it is not idle any more. */
static void a_key_whose_idle_one_ends_must_go_behind_one_that_has_nothing(void **state)
{
    struct stage s;

    (void)state;
    setup(&s);
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    struct kp__slot *idle = stage_idle(&s, a);
    kp__note_lack(&s.core, a, &s.core.live);
    kp__note_lack(&s.core, b, &s.core.live);
    assert_ptr_equal(kp__starved_first(&s.core, &s.core.live), a);
    assert_true(kp__doom(&s.core, idle, KP_CAUSE_INVALIDATED, &s.todo));
    assert_ptr_equal(kp__starved_first(&s.core, &s.core.live), b);
    kp__note_lack(&s.core, a, NULL); /* no request waits for it, as the books expect */
    kp__note_lack(&s.core, b, NULL);
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shared_resource_must_fill_its_seats_in_order_and_be_closed_to_more),
        cmocka_unit_test(the_seat_freed_last_must_be_shared_first),
        cmocka_unit_test(seats_must_be_opened_once_and_never_of_a_doomed_or_full_one),
        cmocka_unit_test(a_doomed_slot_must_not_open_a_seat_when_a_new_lease_begins_in_it),
        cmocka_unit_test(what_need_not_be_checked_must_be_shared_at_once),
        cmocka_unit_test(a_resource_must_be_found_until_it_closes),
        cmocka_unit_test(two_slots_may_hold_one_address_while_the_older_is_doomed),
        cmocka_unit_test(an_idle_slot_must_carry_the_number_of_its_return),
        cmocka_unit_test(a_minimum_of_idle_ones_must_be_wanted_when_one_is_lent),
        cmocka_unit_test(a_lease_must_not_be_timed_where_the_pool_needs_no_clock),
        cmocka_unit_test(a_decision_without_the_time_must_not_turn_it_back),
        cmocka_unit_test(one_left_to_drain_must_be_left_so_whatever_becomes_of_the_keys_others),
        cmocka_unit_test(only_lending_must_move_the_time_of_a_budget),
        cmocka_unit_test(who_was_served_with_a_permit_must_not_be_served_again_by_its_creation),
        cmocka_unit_test(a_key_whose_idle_one_ends_must_go_behind_one_that_has_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
