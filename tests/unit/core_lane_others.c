/* SPDX-License-Identifier: MIT
 *
 * Tests of what else looks at a key whose lane is open: the calendar, eviction for other keys, and
 * the shares of starved keys.
 */
#include "core_lanes.h"

/* ---- leaks ----------------------------------------------------------------------------------- */

static void what_is_found_lent_must_be_told_when_it_leaks(struct stage *s)
{
    s->core.leak_after = 100;
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = stage_idle(s, sub);
    assert_true(lane_open(s, sub));
    lane_take(slot, "t", NULL);
    s->now += 50;
    lane_shut(s, sub);
    uint64_t due = s->now + 100;
    assert_int_equal(slot->due.at, due);
    assert_null(kp__look_at_slot(&s->core, slot, due - 1, &s->todo));
    assert_ptr_equal(kp__look_at_slot(&s->core, slot, due, &s->todo), kp__seat_at(slot, 0));
    assert_int_equal(sub->rare->seldom.leaks, 1);
}

static void what_leaks_must_be_told_once_over_any_number_of_terms(struct stage *s)
{
    s->core.leak_after = 100;
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = stage_idle(s, sub);
    stage_idle(s, sub);
    assert_true(lane_open(s, sub));
    lane_take(slot, "t", NULL);
    for (int i = 0; i < 10; i++) {
        s->now += 99;
        lane_shut(s, sub);
        kp__look_at_slot(&s->core, slot, s->now, &s->todo);
        assert_int_equal(sub->rare->seldom.leaks, i >= 2); /* found at 99, 99 long at 198 */
        assert_true(lane_open(s, sub));
    }
}

/* ---- the calendar ---------------------------------------------------------------------------- */

static void what_came_back_over_a_lane_must_be_looked_at_when_its_idle_time_ends(struct stage *s)
{
    s->rules.idle_ttl = UINT64_C(64000000000);
    s->rules.idle_check = KP_CHECK_KEEPER;
    s->now = s->rules.idle_ttl;
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *lent = lane_lend(s, sub);
    stage_idle(s, sub);
    kp__unfile_slot(&s->core, lent); /* as a look does that came while it was lent */
    s->now += 5;
    uint64_t opened = s->now;
    assert_true(lane_open(s, sub));
    lane_give(lent);
    s->now += 5;
    lane_shut(s, sub);
    assert_int_equal(lent->state, KP__IDLE);
    assert_true(kp__timer_is_filed(&lent->due));
    assert_int_equal(lent->due.at, opened + s->rules.idle_ttl);
}

/* ---- eviction -------------------------------------------------------------------------------- */

/* Two keys with an open lane and one idle resource each, at a budget that is used up. */
static void two_at_the_limit(struct stage *s, struct kp__subpool *subs[3],
                             struct kp__slot *slots[2])
{
    s->core.live.cap = 2;
    for (int i = 0; i < 3; i++) subs[i] = stage_key(s);
    for (int i = 0; i < 2; i++) {
        slots[i] = stage_idle(s, subs[i]);
        assert_true(lane_open(s, subs[i]));
    }
}

static void eviction_must_take_what_was_used_least_recently_over_open_lanes(struct stage *s)
{
    struct kp__subpool *subs[3];
    struct kp__slot *slots[2];
    struct kp__request r;

    two_at_the_limit(s, subs, slots);
    lane_use(slots[0], 1); /* or it would be the one */
    assert_int_equal(stage_ask(s, subs[2], &r, 0), KP__GRANT_PERMIT);
    assert_ptr_equal(r.slot, slots[1]);
    assert_false(subs[0]->open || subs[1]->open);
    assert_int_equal(slots[0]->state, KP__IDLE);
    stage_take(s, &r);
}

static void eviction_must_not_take_what_was_taken_meanwhile(struct stage *s)
{
    struct kp__subpool *subs[3];
    struct kp__slot *slots[2];
    struct kp__request r, q;

    two_at_the_limit(s, subs, slots);
    lane_take(slots[0], "t", NULL);
    assert_int_equal(stage_ask(s, subs[2], &r, 0), KP__GRANT_PERMIT);
    assert_ptr_equal(r.slot, slots[1]);
    assert_int_equal(slots[0]->state, KP__LENT);
    stage_take(s, &r);
    assert_int_equal(stage_ask(s, subs[1], &q, 0), KP__GRANT_WAIT);
    assert_ptr_equal(subs[1]->contest->lacks, &s->core.live);
    /* the request that waits for room gets it then */
    stage_give(s, slots[0], 0, true);
    assert_int_equal(q.grant.kind, KP__GRANT_PERMIT);
    assert_ptr_equal(q.slot, slots[0]);
    stage_take(s, &q);
}

static void eviction_must_find_what_came_back_over_an_open_lane(struct stage *s)
{
    struct kp__request r;

    s->core.live.cap = 2;
    struct kp__subpool *a = stage_key(s), *b = stage_key(s);
    struct kp__slot *lent = lane_lend(s, a), *idle = stage_idle(s, a);
    assert_true(lane_open(s, a));
    lane_take(idle, "t", NULL);
    lane_give(lent);
    assert_int_equal(stage_ask(s, b, &r, 0), KP__GRANT_PERMIT);
    assert_ptr_equal(r.slot, lent);
    assert_int_equal(idle->state, KP__LENT);
    stage_take(s, &r);
}

static void a_key_whose_idle_ones_are_all_taken_must_not_be_asked_for_room(struct stage *s)
{
    struct kp__subpool *subs[3];
    struct kp__slot *slots[2];
    struct kp__request r;

    two_at_the_limit(s, subs, slots);
    for (int i = 0; i < 2; i++) lane_take(slots[i], "t", NULL);
    assert_int_equal(stage_ask(s, subs[2], &r, 0), KP__GRANT_WAIT);
    assert_int_equal(s->core.live.evictable.count, 0);
    assert_false(lane_open(s, subs[0]));
    stage_give(s, slots[1], 0, true);
    assert_int_equal(r.grant.kind, KP__GRANT_PERMIT);
    stage_take(s, &r);
}

/* ---- starvation ------------------------------------------------------------------------------ */

static void what_a_key_held_must_be_counted_as_its_books_were_until_it_is_shut(struct stage *s)
{
    struct kp__request r;

    s->core.live.cap = 2;
    s->core.evicts = false;
    struct kp__subpool *a = stage_key(s), *b = stage_key(s);
    stage_lend(s, a);
    struct kp__slot *idle = stage_idle(s, a);
    assert_true(lane_open(s, a));
    assert_int_equal(stage_ask(s, b, &r, 0), KP__GRANT_WAIT);
    assert_int_equal(s->core.starved, 1);
    assert_true(a->open);
    lane_take(idle, "t", NULL);
    uint64_t spent = s->core.usual[KP__IN_USE].spent, leased = s->core.usual[KP__LEASED].spent;
    s->core.latest = s->now += 10;
    lane_shut(s, a);
    assert_int_equal(s->core.usual[KP__IN_USE].spent - spent, 10);
    assert_int_equal(s->core.usual[KP__LEASED].spent - leased, 10);
    assert_int_equal(a->contest->share.at, kp__contention(&s->core));
    s->core.phase = KP__CLOSED;
    kp__refuse_all(&s->core, b, KP_ECLOSED, &s->todo);
    kp__note_lack(&s->core, b, NULL);
}

static void a_lane_must_open_again_when_nobody_is_starved_any_more(struct stage *s)
{
    struct kp__request r;

    s->core.live.cap = 1;
    struct kp__subpool *a = stage_key(s), *b = stage_key(s);
    struct kp__slot *slot = stage_lend(s, a);
    assert_int_equal(stage_ask(s, b, &r, 0), KP__GRANT_WAIT);
    stage_give(s, slot, 0, true);
    assert_int_equal(r.grant.kind, KP__GRANT_PERMIT);
    assert_false(lane_open(s, a));
    struct kp__slot *made = stage_take(s, &r);
    stage_give(s, made, 0, true);
    assert_true(lane_open(s, b));
}

/* ---- a check --------------------------------------------------------------------------------- */

static void a_check_that_ends_after_the_lane_opened_must_shut_it(struct stage *s)
{
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *checked = stage_idle(s, sub), *other = stage_idle(s, sub);

    assert_true(lane_open(s, sub));
    lane_shut(s, sub);
    assert_ptr_equal(stage_lend(s, sub), other);
    assert_ptr_equal(stage_lend(s, sub), checked);
    kp__seat_at(checked, 0)->ending = true; /* the request that it was for has left */
    stage_give(s, other, 0, true);
    assert_true(lane_open_again(s, sub));
    assert_false(checked->on_lane);
    assert_true(lane_take(other, "t", NULL));
    stage_give(s, checked, 0, true);
    assert_false(sub->open);
    assert_int_equal(checked->state, KP__IDLE);
    assert_int_equal(other->state, KP__LENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LANE_TEST(what_is_found_lent_must_be_told_when_it_leaks),
        LANE_TEST(what_leaks_must_be_told_once_over_any_number_of_terms),
        LANE_TEST(what_came_back_over_a_lane_must_be_looked_at_when_its_idle_time_ends),
        LANE_TEST(eviction_must_take_what_was_used_least_recently_over_open_lanes),
        LANE_TEST(eviction_must_not_take_what_was_taken_meanwhile),
        LANE_TEST(eviction_must_find_what_came_back_over_an_open_lane),
        LANE_TEST(a_key_whose_idle_ones_are_all_taken_must_not_be_asked_for_room),
        LANE_TEST(what_a_key_held_must_be_counted_as_its_books_were_until_it_is_shut),
        LANE_TEST(a_lane_must_open_again_when_nobody_is_starved_any_more),
        LANE_TEST(a_check_that_ends_after_the_lane_opened_must_shut_it),
    };

    return cmocka_run_group_tests_name("core/lane others", tests, NULL, NULL);
}
