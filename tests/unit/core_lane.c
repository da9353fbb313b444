/* SPDX-License-Identifier: MIT
 *
 * Tests of core/lane.c: when a lane opens, and what it says then.
 */
#include "core_lanes.h"

/* ---- what it says ---------------------------------------------------------------------------- */

static void an_open_lane_must_say_what_its_books_say(struct stage *s)
{
    struct kp__subpool *other = stage_key(s), *sub = stage_key(s);
    struct kp__slot *lent = lane_lend(s, sub), *idle = stage_idle(s, sub);
    s->now += 5;
    (void)other;
    assert_true(lane_open(s, sub));
    assert_int_equal(sub->lane_books->opened, s->now);
    assert_true(kp__heap_holds(&sub->lane_books->node));
    LANE_SAYS(idle, 0, KP__WORD_IDLE);
    LANE_SAYS(lent, 1, KP__WORD_LENT);
    assert_int_equal(lane_shape(sub), KP__SHAPE(2, 1));
    assert_int_equal(sub->lane_books->cells, 2);
    const struct kp__lane *lane = kp__lane_at(kp__lane_number(sub));
    assert_ptr_equal(lane, KP__LANE_OF(sub));
    assert_int_equal(lane->sub, sub->item.index);
    assert_int_equal(atomic_load(&lane->pin), 0);
    for (int i = 0; i < 2; i++) {
        const struct kp__slot *slot = i ? lent : idle;
        const struct kp__cell *cell = KP__CELL_OF(slot);
        assert_ptr_equal(cell, kp__cell_at(kp__lane_cell(lane, lane_shape(sub), (uint32_t)i)));
        assert_int_equal(atomic_load(&cell->id), UINT64_C(7) << 32 | slot->item.index);
        assert_ptr_equal(cell->resource, slot->resource);
        assert_int_equal(cell->lane, kp__lane_number(sub));
        assert_true(slot->on_lane);
    }
}

static void an_open_lane_must_not_be_opened_again(struct stage *s)
{
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = stage_idle(s, sub);
    uint64_t opened = s->now;
    assert_true(lane_open(s, sub));
    assert_true(lane_take(slot, "t", NULL));
    s->now++;
    assert_true(lane_open(s, sub));
    assert_int_equal(sub->lane_books->opened, opened);
    LANE_SAYS(slot, 1, KP__WORD_LENT);
}

static void a_lane_must_stay_shut_where_the_pool_has_none(struct stage *s)
{
    s->core.lanes = false;
    struct kp__subpool *sub = stage_key(s);
    stage_idle(s, sub);
    assert_false(lane_open(s, sub));
    assert_int_equal(kp__lane_number(sub), 0);
}

/* ---- is it calm? ----------------------------------------------------------------------------- */

/* With this changed for a moment it stays shut; before and after it opens. */
#define STAYS_SHUT(s, sub, place, value)               \
    do {                                               \
        __typeof__(place) kept = place;                \
        place = value;                                 \
        kp__lane_open(&(s)->core, sub, (s)->now);      \
        assert_false((sub)->open);                     \
        place = kept;                                  \
        assert_true(lane_open(s, sub));                \
        lane_shut(s, sub);                             \
    } while (0)

static void a_lane_must_stay_shut_while_anything_goes_on(struct stage *s)
{
    struct kp__subpool *sub = stage_key(s);
    stage_idle(s, sub);
    stage_lend(s, sub);
    stage_idle(s, sub);
    STAYS_SHUT(s, sub, s->core.phase, KP__DRAINING);
    STAYS_SHUT(s, sub, s->core.phase, KP__CLOSED);
    STAYS_SHUT(s, sub, s->core.starved, 1);
    STAYS_SHUT(s, sub, sub->rules, NULL);
    STAYS_SHUT(s, sub, sub->waiting, 1);
    STAYS_SHUT(s, sub, sub->interest, 1);
    STAYS_SHUT(s, sub, kp__contest(&s->core, sub)->promised, 1);
    STAYS_SHUT(s, sub, sub->count[KP__CREATING], 1);
    STAYS_SHUT(s, sub, sub->count[KP__CLOSING], 1);
    STAYS_SHUT(s, sub, kp__rare(&s->core, sub)->health.tripped, true);
    for (int bit = 0; bit < 2; bit++) { /* which the macro cannot keep */
        sub->leaving = bit ? KP__LEAVES : KP__STAYS;
        sub->refill = !bit;
        kp__lane_open(&s->core, sub, s->now);
        assert_false(sub->open);
        sub->leaving = KP__STAYS;
        sub->refill = false;
    }
    STAYS_SHUT(s, sub, kp__rare(&s->core, sub)->doubts, 1);
    STAYS_SHUT(s, sub, kp__rare(&s->core, sub)->renewal.ageing, 1);
}

static void a_lane_must_stay_shut_while_none_is_idle(struct stage *s)
{
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = lane_lend(s, sub);
    assert_false(lane_open(s, sub));
    stage_give(s, slot, 0, true);
    assert_true(lane_open(s, sub));
}

/* ---- do the rules allow it? ------------------------------------------------------------------ */

static void a_lane_must_stay_shut_where_a_rule_could_be_broken_on_it(struct stage *s)
{
    struct kp__subpool *sub = stage_key(s);
    struct kp__rules *r = &s->rules;
    stage_idle(s, sub);
    stage_lend(s, sub);
    stage_idle(s, sub);
    STAYS_SHUT(s, sub, r->sharing, 2);
    STAYS_SHUT(s, sub, r->min_idle, 1);
    STAYS_SHUT(s, sub, r->utilization_pct, 99);
    STAYS_SHUT(s, sub, r->idle_lifo, false);
    STAYS_SHUT(s, sub, r->reuse, false);
    STAYS_SHUT(s, sub, r->max_uses, 1000);
    STAYS_SHUT(s, sub, r->idle_check, KP_CHECK_RETURN);
    STAYS_SHUT(s, sub, r->excess_check, KP_CHECK_RETURN);
    STAYS_SHUT(s, sub, r->excess_check, KP_CHECK_RETURN | KP_CHECK_GET);
    STAYS_SHUT(s, sub, r->max_lent, 1);
    STAYS_SHUT(s, sub, r->max_idle, 1);
    STAYS_SHUT(s, sub, r->max_live, 1);
    STAYS_SHUT(s, sub, s->core.lent.cap, 1);
    STAYS_SHUT(s, sub, s->core.resets, true);
}

static void a_lane_must_open_where_limits_are_just_wide_enough(struct stage *s)
{
    struct kp__subpool *sub = stage_key(s);
    struct kp__rules *r = &s->rules;
    stage_idle(s, sub);
    stage_lend(s, sub);
    stage_idle(s, sub);
    assert_int_equal(kp__sub_live(sub), 2);
    r->max_lent = r->max_idle = r->max_live = 2;
    r->excess_check = r->idle_check = KP_CHECK_GET | KP_CHECK_KEEPER;
    assert_true(lane_open(s, sub));
}

static void a_lane_must_stay_shut_where_returns_are_validated(struct stage *s)
{
    struct kp__subpool *sub = stage_key(s);
    stage_idle(s, sub);
    s->core.validates = true;
    STAYS_SHUT(s, sub, s->rules.validate_on, KP_CHECK_RETURN);
    s->core.validates = false; /* there is nothing that could validate */
    s->rules.validate_on = KP_CHECK_RETURN;
    assert_true(lane_open(s, sub));
}

static void a_lane_must_skip_as_many_releases_as_it_is_told(struct stage *s)
{
    struct kp__subpool *sub = stage_key(s);
    stage_idle(s, sub);
    sub->shut_for = 2;
    sub->refill = true; /* what keeps it shut anyway is not counted */
    assert_false(lane_open(s, sub));
    sub->refill = false;
    s->rules.reuse = false;
    assert_false(lane_open(s, sub));
    s->rules.reuse = true;
    assert_int_equal(sub->shut_for, 2);
    assert_false(lane_open(s, sub));
    assert_int_equal(sub->shut_for, 1);
    assert_false(lane_open(s, sub));
    assert_int_equal(sub->shut_for, 0);
    assert_true(lane_open(s, sub));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LANE_TEST(an_open_lane_must_say_what_its_books_say),
        LANE_TEST(an_open_lane_must_not_be_opened_again),
        LANE_TEST(a_lane_must_stay_shut_where_the_pool_has_none),
        LANE_TEST(a_lane_must_stay_shut_while_anything_goes_on),
        LANE_TEST(a_lane_must_stay_shut_while_none_is_idle),
        LANE_TEST(a_lane_must_stay_shut_where_a_rule_could_be_broken_on_it),
        LANE_TEST(a_lane_must_open_where_limits_are_just_wide_enough),
        LANE_TEST(a_lane_must_stay_shut_where_returns_are_validated),
        LANE_TEST(a_lane_must_skip_as_many_releases_as_it_is_told),
    };

    return cmocka_run_group_tests_name("core/lane", tests, NULL, NULL);
}
