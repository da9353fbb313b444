/* SPDX-License-Identifier: MIT
 *
 * Tests of what open lanes reserve of the limits over all keys (core/lanes.c): the limits hold
 * whatever happens on a lane, and no request is refused, or waits, because of what is only
 * reserved.
 */
#include "core_lanes.h"

/* So many may be lent, and idle, over all keys; 0: no limit. */
static void limit(struct stage *s, int64_t max_lent, int64_t max_idle)
{
    if (max_lent) s->core.lent.cap = max_lent;
    if (max_idle) s->core.max_idle = max_idle;
}

/* A key with so many idle ones, and with its lane open. */
static struct kp__subpool *open_key(struct stage *s, int idle)
{
    struct kp__subpool *sub = lane_key(s, idle, 0);

    assert_true(lane_open(s, sub));
    return sub;
}

static struct kp__slot *idle_of(const struct kp__subpool *sub)
{
    return KP__OF(kp__list_first(KP__SLOTS(sub, KP__IDLE)), struct kp__slot, link);
}

/* ---- max_lent: what is reserved -------------------------------------------------------------- */

static void a_lane_must_hold_a_lent_permit_for_each_idle_one_on_it(struct stage *s)
{
    limit(s, 4, 0);
    struct kp__subpool *sub = lane_key(s, 3, 1);
    assert_int_equal(s->core.lent.used, 1);
    assert_true(lane_open(s, sub));
    assert_int_equal(s->core.lent.used, 3);
    assert_int_equal(s->core.returning, 1);
    assert_true(lane_take(idle_of(sub), "t", NULL));
    assert_int_equal(s->core.lent.used, 3);
    lane_shut(s, sub);
    assert_int_equal(s->core.lent.used, 2);
    assert_int_equal(s->core.returning, 0);
}

static void where_all_may_be_lent_at_once_lanes_must_have_all(struct stage *s)
{
    limit(s, 6, 0);
    struct kp__subpool *a = lane_key(s, 4, 0), *b = lane_key(s, 2, 0);
    assert_true(lane_open(s, a));
    assert_int_equal(a->lane_books->cells, 4);
    assert_true(lane_open(s, b));
    assert_int_equal(b->lane_books->cells, 2);
    assert_int_equal(s->core.lent.used, 6);
}

static void where_not_all_may_be_lent_a_lane_must_have_one_more_than_are_lent(struct stage *s)
{
    limit(s, 12, 0);
    struct kp__subpool *a = lane_key(s, 8, 2), *b = lane_key(s, 5, 0);
    assert_int_equal(s->core.lent.used, 2);
    assert_true(lane_open(s, a));
    lane_assert(a, 3 + 2, 1);
    assert_true(lane_open(s, b));
    lane_assert(b, 1, 1);
    assert_int_equal(s->core.lent.used, 6);
}

static void where_not_all_may_be_lent_lanes_must_leave_a_quarter(struct stage *s)
{
    struct kp__subpool *sub[8];

    limit(s, 9, 0);
    for (int i = 0; i < 8; i++) sub[i] = lane_key(s, 2, 0);
    struct kp__slot *held = stage_lend(s, sub[0]);
    for (int i = 1; i < 7; i++) assert_true(lane_open(s, sub[i]));
    assert_int_equal(s->core.lent.used, 7);
    assert_false(lane_open(s, sub[7]));
    assert_int_equal(kp__lane_number(sub[7]), 0); /* not even a line */
    stage_give(s, held, 0, true);
    assert_true(lane_open(s, sub[7]));
    held = stage_lend(s, sub[0]);
    struct kp__slot *other = stage_lend(s, sub[0]); /* of the quarter */
    assert_int_equal(s->core.open_lanes.count, 7);
    assert_int_equal(s->core.lent.used, 9);
    lane_shut(s, sub[7]);
    assert_false(lane_open(s, sub[7]));
    stage_give(s, held, 0, true);
    stage_give(s, other, 0, true);
}

static void a_lane_with_few_permits_must_have_those_that_were_used_last(struct stage *s)
{
    limit(s, 2, 0);
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *first = stage_idle(s, sub), *second = stage_idle(s, sub),
                    *last = stage_idle(s, sub);
    assert_true(lane_open(s, sub));
    assert_int_equal(sub->lane_books->cells, 1);
    assert_true(last->on_lane && !first->on_lane && !second->on_lane);
    assert_int_equal(s->core.lent.used, 1);
}

static void a_lane_must_stay_shut_where_no_permit_is_left_to_reserve(struct stage *s)
{
    limit(s, 2, 0);
    struct kp__subpool *a = lane_key(s, 2, 0), *b = lane_key(s, 1, 0);
    struct kp__slot *held = stage_lend(s, a), *other = stage_lend(s, a);
    assert_false(lane_open(s, b));
    stage_give(s, held, 0, true);
    assert_true(lane_open(s, b));
    stage_give(s, other, 0, true);
}

/* ---- max_lent: who lacks what is only reserved ----------------------------------------------- */

static void what_is_only_reserved_must_be_left_to_who_lacks_it(struct stage *s)
{
    struct kp__request r;

    limit(s, 2, 0);
    struct kp__subpool *a = open_key(s, 2), *b = stage_key(s);
    assert_int_equal(s->core.lent.used, 2);
    assert_int_equal(stage_ask(s, b, &r, 0), KP__GRANT_PERMIT);
    assert_false(a->open);
    assert_int_equal(s->core.lent.used, 1);
    stage_give(s, stage_take(s, &r), 0, true);
}

static void a_try_must_not_be_refused_for_what_is_only_reserved(struct stage *s)
{
    struct kp__request r;

    limit(s, 2, 0);
    struct kp__subpool *b = lane_key(s, 1, 0), *a = open_key(s, 1);
    assert_true(lane_take(idle_of(a), "t", NULL));
    assert_int_equal(stage_ask(s, b, &r, KP_DONT_WAIT), KP__GRANT_SLOT);
    assert_true(a->open); /* there was another one */
    struct kp__request more;
    struct kp__subpool *c = lane_key(s, 1, 0);
    assert_int_equal(stage_ask(s, c, &more, KP_DONT_WAIT), KP__GRANT_NO);
    STAGE_NO(&more, KP_EAGAIN, "budget.max_lent");
    assert_false(a->open);
    assert_int_equal(s->core.lent.used, 2);
    stage_give(s, r.slot, 0, true);
}

static void no_more_lanes_must_be_shut_than_somebody_lacks(struct stage *s)
{
    struct kp__request r;
    struct kp__subpool *sub[3];

    limit(s, 3, 0);
    for (int i = 0; i < 3; i++) sub[i] = open_key(s, 1);
    assert_true(lane_take(idle_of(sub[0]), "t", NULL)); /* and so it brings nothing */
    sub[0]->lane_books->until = 5;
    sub[1]->lane_books->until = 6;
    kp__heap_fix(&s->core.open_lanes, &sub[0]->lane_books->node);
    kp__heap_fix(&s->core.open_lanes, &sub[1]->lane_books->node);
    struct kp__subpool *other = lane_key(s, 1, 0);
    assert_int_equal(stage_ask(s, other, &r, KP_DONT_WAIT), KP__GRANT_SLOT);
    assert_false(sub[0]->open);
    assert_false(sub[1]->open);
    assert_true(sub[2]->open);
    assert_int_equal(s->core.lent.used, 3);
    stage_give(s, stage_take(s, &r), 0, true);
}

static void what_is_lent_over_lanes_must_count_for_who_comes_then(struct stage *s)
{
    struct kp__request r;

    limit(s, 2, 0);
    struct kp__subpool *a = open_key(s, 2), *b = stage_key(s);
    struct kp__slot *slot = idle_of(a);
    for STAGE_EACH (l, KP__SLOTS(a, KP__IDLE))
        assert_true(lane_take(KP__OF(l, struct kp__slot, link), "t", NULL));
    assert_int_equal(stage_ask(s, b, &r, 0), KP__GRANT_WAIT);
    assert_string_equal(kp__limit_name[r.limit], "budget.max_lent");
    assert_ptr_equal(b->contest->lacks, &s->core.lent);
    assert_null(kp__heap_top(&s->core.open_lanes));
    assert_false(lane_give(slot)); /* so the release takes the lock, and serves the waiter */
    stage_give(s, slot, 0, true);
    assert_int_equal(r.grant.kind, KP__GRANT_PERMIT);
    stage_give(s, stage_take(s, &r), 0, true);
}

static void no_lane_must_open_while_somebody_lacks_a_lent_permit(struct stage *s)
{
    struct kp__request r;

    limit(s, 2, 0);
    struct kp__subpool *a = lane_key(s, 2, 0), *b = stage_key(s), *c = lane_key(s, 1, 0);
    struct kp__slot *one = stage_lend(s, a), *two = stage_lend(s, a);
    assert_int_equal(stage_ask(s, b, &r, 0), KP__GRANT_WAIT);
    assert_false(lane_open(s, c));
    stage_give(s, one, 0, true);
    struct kp__slot *made = stage_take(s, &r);
    stage_give(s, two, 0, true);
    assert_true(lane_open(s, c));
    stage_give(s, made, 0, true);
}

static void a_request_that_waits_for_other_reasons_must_not_keep_what_is_reserved(struct stage *s)
{
    struct kp__request r;

    limit(s, 3, 0);
    struct kp__subpool *a = open_key(s, 2), *b = stage_key(s);
    static struct kp__rules one;
    one = s->rules;
    one.max_live = 1;
    stage_rule(s, b, &one, -1, -1);
    struct kp__slot *held = stage_lend(s, b);
    assert_true(a->open);
    assert_int_equal(stage_ask(s, b, &r, 0), KP__GRANT_WAIT);
    assert_string_equal(kp__limit_name[r.limit], "max_live");
    stage_give(s, held, 0, true);
    assert_int_equal(r.grant.kind, KP__GRANT_SLOT);
    stage_give(s, r.slot, 0, true);
}

/* ---- max_idle -------------------------------------------------------------------------------- */

static void what_is_lent_on_a_lane_must_count_as_idle(struct stage *s)
{
    limit(s, 0, 2);
    struct kp__subpool *a = lane_key(s, 2, 1), *b = stage_key(s);
    assert_true(lane_open(s, a));
    assert_int_equal(s->core.returning, 1);
    struct kp__slot *slot = stage_lend(s, b);
    stage_give(s, slot, 0, true);
    assert_false(a->open); /* it had to be known */
    assert_int_equal(slot->state, KP__IDLE);
    assert_int_equal(s->core.count[KP__IDLE], 2);
}

static void what_came_back_over_a_lane_must_leave_no_room_for_others(struct stage *s)
{
    limit(s, 0, 2);
    struct kp__subpool *a = lane_key(s, 2, 1), *b = stage_key(s);
    struct kp__slot *lent = KP__OF(kp__list_first(KP__SLOTS(a, KP__LENT)), struct kp__slot, link);
    assert_true(lane_open(s, a));
    assert_true(lane_give(lent));
    struct kp__slot *slot = stage_lend(s, b);
    stage_give(s, slot, 0, true);
    assert_int_equal(slot->state, KP__CLOSING);
    assert_int_equal(slot->cause, KP_CAUSE_SURPLUS);
    assert_true(slot->errand->owes_lent); /* as of any that is not kept */
    assert_int_equal(s->core.count[KP__IDLE], 2);
    stage_destroy(s);
}

static void what_was_taken_over_a_lane_must_leave_room_for_others(struct stage *s)
{
    limit(s, 0, 1);
    struct kp__subpool *a = open_key(s, 1), *b = stage_key(s);
    assert_true(lane_take(idle_of(a), "t", NULL));
    struct kp__slot *slot = stage_lend(s, b);
    stage_give(s, slot, 0, true);
    assert_int_equal(slot->state, KP__IDLE);
}

static void what_may_not_all_become_idle_must_be_left_off_the_lane(struct stage *s)
{
    limit(s, 0, 3);
    struct kp__subpool *sub = lane_key(s, 3, 2);
    s->core.max_idle = 2;
    assert_true(lane_open(s, sub));
    assert_int_equal(sub->lane_books->cells, 2);
    assert_int_equal(s->core.returning, 1);
    struct kp__slot *off = KP__OF(kp__list_last(KP__SLOTS(sub, KP__LENT)), struct kp__slot, link);
    assert_false(off->on_lane);
    stage_give(s, off, 0, true);
    assert_false(sub->open);
    assert_int_equal(s->core.count[KP__IDLE], 2);
}

static void a_place_that_one_lane_has_must_not_be_given_to_another(struct stage *s)
{
    struct kp__subpool *a = lane_key(s, 2, 1), *b = lane_key(s, 2, 1);

    limit(s, 0, 3);
    assert_true(lane_open(s, a));
    assert_int_equal(a->lane_books->cells, 2);
    assert_true(lane_open(s, b));
    assert_int_equal(b->lane_books->cells, 1);
    assert_int_equal(s->core.returning, 1);
}

static void a_lane_must_open_where_as_many_are_idle_as_may_be(struct stage *s)
{
    limit(s, 0, 2);
    struct kp__subpool *a = open_key(s, 2);
    lane_use(idle_of(a), 3);
    assert_true(kp__may_idle(&s->core, 0));
    assert_true(a->open);
    assert_false(kp__may_idle(&s->core, 1));
    assert_false(a->open);
}

static void only_as_many_lanes_must_be_shut_as_it_takes_to_know(struct stage *s)
{
    limit(s, 0, 6);
    struct kp__subpool *a = lane_key(s, 2, 1), *b = lane_key(s, 2, 1);
    assert_true(lane_open(s, a));
    assert_true(lane_open(s, b));
    a->lane_books->until = 5;
    kp__heap_fix(&s->core.open_lanes, &a->lane_books->node);
    assert_true(kp__may_idle(&s->core, 2));
    assert_true(a->open && b->open);
    assert_true(kp__may_idle(&s->core, 3));
    assert_true(!a->open && b->open);
}

/* ---- what the background makes --------------------------------------------------------------- */

static void a_refill_must_see_what_lanes_have_room_for(struct stage *s)
{
    static struct kp__rules least;
    struct kp__subpool *a = open_key(s, 2), *b = lane_key(s, 1, 0), *c = stage_key(s);

    least = s->rules;
    least.min_live = 1;
    limit(s, 0, 3);
    stage_rule(s, b, &least, -1, -1);
    stage_rule(s, c, &least, -1, -1);
    assert_int_equal(kp__refill_wanted(&s->core, b, false), 0); /* it has one, and needs nothing */
    assert_true(a->open);
    assert_true(lane_take(idle_of(a), "t", NULL));
    assert_int_equal(kp__refill_wanted(&s->core, c, false), 1);
    assert_false(a->open);
    stage_give(s, KP__OF(kp__list_first(KP__SLOTS(a, KP__LENT)), struct kp__slot, link), 0, true);
    assert_int_equal(kp__refill_wanted(&s->core, c, false), 0);
}

static void what_is_found_must_be_lent_since_the_latest_that_is_known(struct stage *s)
{
    struct kp__request r;

    limit(s, 1, 0);
    struct kp__subpool *a = open_key(s, 1), *b = stage_key(s);
    struct kp__slot *slot = idle_of(a);
    assert_true(lane_take(slot, "t", NULL));
    s->now += 7;
    assert_int_equal(stage_ask(s, b, &r, KP_DONT_WAIT), KP__GRANT_NO);
    assert_int_equal(kp__seat_at(slot, 0)->since, s->now);
    s->now += 7;
    assert_false(kp__refill_permit(&s->core, b, false, s->now));
    assert_int_equal(s->core.latest, s->now);
    s->now += 7;
    kp__lane_shut_due(&s->core, s->now, 1);
    assert_int_equal(s->core.latest, s->now);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LANE_TEST(a_lane_must_hold_a_lent_permit_for_each_idle_one_on_it),
        LANE_TEST(where_all_may_be_lent_at_once_lanes_must_have_all),
        LANE_TEST(where_not_all_may_be_lent_a_lane_must_have_one_more_than_are_lent),
        LANE_TEST(where_not_all_may_be_lent_lanes_must_leave_a_quarter),
        LANE_TEST(a_lane_with_few_permits_must_have_those_that_were_used_last),
        LANE_TEST(a_lane_must_stay_shut_where_no_permit_is_left_to_reserve),
        LANE_TEST(what_is_only_reserved_must_be_left_to_who_lacks_it),
        LANE_TEST(a_try_must_not_be_refused_for_what_is_only_reserved),
        LANE_TEST(no_more_lanes_must_be_shut_than_somebody_lacks),
        LANE_TEST(what_is_lent_over_lanes_must_count_for_who_comes_then),
        LANE_TEST(no_lane_must_open_while_somebody_lacks_a_lent_permit),
        LANE_TEST(a_request_that_waits_for_other_reasons_must_not_keep_what_is_reserved),
        LANE_TEST(what_is_lent_on_a_lane_must_count_as_idle),
        LANE_TEST(what_came_back_over_a_lane_must_leave_no_room_for_others),
        LANE_TEST(what_was_taken_over_a_lane_must_leave_room_for_others),
        LANE_TEST(what_may_not_all_become_idle_must_be_left_off_the_lane),
        LANE_TEST(a_place_that_one_lane_has_must_not_be_given_to_another),
        LANE_TEST(a_lane_must_open_where_as_many_are_idle_as_may_be),
        LANE_TEST(only_as_many_lanes_must_be_shut_as_it_takes_to_know),
        LANE_TEST(a_refill_must_see_what_lanes_have_room_for),
        LANE_TEST(what_is_found_must_be_lent_since_the_latest_that_is_known),
    };

    return cmocka_run_group_tests_name("core/lane budgets", tests, NULL, NULL);
}
