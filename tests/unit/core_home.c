/* SPDX-License-Identifier: MIT
 *
 * Homes of cells (src/core/home.c), one at a time: when a cell gets a home, and which one; how it
 * is taken away; and what the books then keep of it.
 */
#include "core_homes.h"

#if KP__SEQUENCES
/* ---- given ----------------------------------------------------------------------------------- */

static void a_cell_must_get_its_first_home_after_so_many_leases(struct stage *s)
{
    home_stage(s);
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = stage_idle(s, sub);
    assert_true(lane_open(s, sub));
    for (uint64_t g = generation_of(slot) + 1; g < KP__SEEKS; g++) {
        assert_false(gets_home(s, slot, g));
        assert_int_equal(sub->lane_books->homes, 0);
    }
    assert_true(gets_home(s, slot, KP__SEEKS));
    assert_int_equal(sub->lane_books->homes, 1);
    assert_int_not_equal(home_of(slot), KP__NO_HOME);
    lane_shut(s, sub);
    assert_int_equal(slot->lends, KP__SEEKS);
    assert_int_equal(slot->generation, KP__SEEKS);
}

/* Where its borrower is at that moment. */
static void it_must_be_where_the_lease_ends(struct stage *s)
{
    home_stage(s);
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = stage_idle(s, sub);
    assert_true(lane_open(s, sub));
    uint64_t lease = lend(slot, KP__SEEKS);
    for (int i = 0; i < pin_count(); i++) assert_true(pin_to(i));
    assert_true(seek(s, slot, lease));
    pin_off();
    assert_int_equal(home_of(slot), pin_number(pin_count() - 1));
}

/* Homes are taken away once for a number of leases that seek a home, counted over the whole
 * pool. */
static void the_price_of_taking_must_be_settled_first(struct stage *s)
{
    struct kp__slot *slot = one_at_home(s), *other;
    uint64_t g = KP__SEEKS;

    s->core.home_credit = 1; /* as if it had been the first */
    take(s, slot);
    assert_int_equal(s->core.home_credit, 1 - KP__HOME_PRICE);
    other = stage_idle(s, stage_key(s));
    assert_true(lane_open(s, other->sub));
    for (int i = 1; i < KP__HOME_PRICE; i++) {
        assert_false(gets_home(s, i % 2 ? other : slot, g += KP__SEEKS));
        assert_int_equal(s->core.home_credit, 1 - KP__HOME_PRICE + i);
    }
    assert_true(gets_home(s, other, g += KP__SEEKS));
    assert_true(gets_home(s, slot, g + KP__SEEKS));
    assert_int_equal(s->core.home_credit, 2);
}

/* And so often in a row, when they had not been taken for long. */
static void what_was_saved_must_have_an_end(struct stage *s)
{
    struct kp__slot *slot = one_at_home(s);
    uint64_t g = KP__SEEKS;

    assert_int_equal(s->core.home_credit, MAY_BE_TAKEN);
    s->core.home_credit--;
    for (int i = 0; i < 3; i++) {
        take(s, slot);
        s->core.home_credit = MAY_BE_TAKEN - 1;
        assert_true(gets_home(s, slot, g += KP__SEEKS));
        assert_int_equal(s->core.home_credit, MAY_BE_TAKEN);
    }
    for (int i = 0; i <= SAVED; i++) {
        take(s, slot);
        g += KP__SEEKS;
        assert_int_equal(gets_home(s, slot, g), i < SAVED);
    }
}

/* Each word of before, that ends as one that may get no home. */
static void ends_without(struct stage *s, struct kp__slot *slot, uint64_t marks)
{
    uint64_t lease = kp__word(generation_of(slot), KP__WORD_LENT | marks);

    atomic_store(&KP__CELL_OF(slot)->word, lease);
    atomic_store(&KP__CELL_OF(slot)->home, KP__NO_HOME);
    assert_true(kp__home_seek(&s->core, slot, lease));
    LANE_SAYS(slot, lease >> KP__WORD_BITS, KP__WORD_IDLE | (marks & ~(uint64_t)KP__HOMED));
    assert_int_equal(home_of(slot), KP__NO_HOME);
    assert_int_equal(slot->sub->lane_books->homes, 0);
    stage_check(s);
}

static void only_what_is_lent_and_nothing_else_must_get_one(struct stage *s)
{
    home_stage(s);
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = stage_idle(s, sub);
    assert_true(lane_open(s, sub));
    (void)lend(slot, KP__SEEKS);
    ends_without(s, slot, KP__TURN);
    ends_without(s, slot, KP__ASKS);
    ends_without(s, slot, KP__TURN | KP__ASKS);
    ends_without(s, slot, KP__HOMED); /* of a home before */
    s->core.homes = false;
    ends_without(s, slot, 0);
    s->core.homes = true;
    assert_true(gets_home(s, slot, 2 * KP__SEEKS)); /* the same otherwise */
}

/* A lease that has ended changes nothing, even where its number would give a home: least of all
 * where what it was is lent again, and marked. */
static void a_stale_lease_must_give_no_home(struct stage *s)
{
    struct kp__slot *slot = one_at_home(s);
    uint64_t lease = lend(slot, 2 * KP__SEEKS), now;

    assert_true(lease & KP__HOMED);
    take(s, slot); /* its borrower is elsewhere */
    assert_true(seek(s, slot, lease));
    uint64_t stale = lend(slot, 4 * KP__SEEKS);
    assert_true(seek(s, slot, stale));
    assert_true(lane_word(slot) & KP__HOMED);
    assert_false(seek(s, slot, stale)); /* idle, at home */
    assert_int_equal(slot->sub->lane_books->homes, 1);
    now = lend(slot, 4 * KP__SEEKS + 1);
    take(s, slot);
    s->core.home_credit = MAY_BE_TAKEN; /* so that the stale one would give one */
    assert_false(seek(s, slot, stale)); /* lent there, and marked */
    assert_int_equal(home_of(slot), KP__NO_HOME);
    assert_int_equal(slot->sub->lane_books->homes, 0);
    assert_int_equal(lane_word(slot), now);
    assert_true(seek(s, slot, now));
    LANE_SAYS(slot, 4 * KP__SEEKS + 1, KP__WORD_IDLE);
    assert_false(seek(s, slot, now));
    assert_false(seek(s, slot, stale)); /* idle */
    assert_int_equal(home_of(slot), KP__NO_HOME);
    LANE_SAYS(slot, 4 * KP__SEEKS + 1, KP__WORD_IDLE);
}

/* ---- taken from one -------------------------------------------------------------------------- */

static void what_is_idle_must_lose_its_mark_with_its_home(struct stage *s)
{
    struct kp__slot *slot = one_at_home(s);

    assert_int_equal(ends, 0);
    take(s, slot);
    assert_int_equal(ends, 1);
    assert_int_equal(leaving, 1); /* until no thread is in the middle of one */
    LANE_SAYS(slot, KP__SEEKS, KP__WORD_IDLE);
    assert_int_equal(home_of(slot), KP__NO_HOME);
    assert_int_equal(slot->sub->lane_books->homes, 0);
    take(s, slot); /* it has none */
    assert_int_equal(ends, 1);
    assert_int_equal(slot->sub->lane_books->homes, 0);
    assert_true(slot->sub->open);
}

static void what_is_lent_must_keep_its_mark_until_it_is_back(struct stage *s)
{
    struct kp__slot *slot = one_at_home(s);
    uint64_t lease = lend(slot, 2 * KP__SEEKS);

    take(s, slot);
    assert_int_equal(lane_word(slot), lease);
    LANE_SAYS(slot, 2 * KP__SEEKS, KP__WORD_LENT | KP__HOMED);
    assert_int_equal(home_of(slot), KP__NO_HOME);
    assert_int_equal(slot->sub->lane_books->homes, 0);
    take(s, slot); /* marked, but nowhere at home */
    assert_int_equal(ends, 1);
    assert_false(kp__homes_take(&s->core, &slot->sub, 1));
    assert_int_equal(ends, 1);
    assert_true(seek(s, slot, lease)); /* it gets none */
    LANE_SAYS(slot, 2 * KP__SEEKS, KP__WORD_IDLE);
    assert_int_equal(slot->sub->lane_books->homes, 0);
    assert_true(gets_home(s, slot, 4 * KP__SEEKS));
}

static void what_is_on_no_lane_must_be_left_alone(struct stage *s)
{
    struct kp__slot *slot = one_at_home(s), *bare;
    struct kp__subpool *sub = slot->sub;

    lane_shut(s, sub);
    take(s, slot); /* it has a cell */
    bare = stage_idle(s, stage_key(s));
    take(s, bare); /* it has no home, and its key no lane */
    assert_int_equal(ends, 1);
    assert_int_equal(sub->lane_books->homes, 0);
    assert_true(lane_open_again(s, sub));
    take(s, slot); /* no home */
    assert_int_equal(ends, 1);
    LANE_SAYS(slot, KP__SEEKS, KP__WORD_IDLE);
}

/* ---- what the books remember ----------------------------------------------------------------- */

static void a_seat_must_know_whether_it_was_lent_at_home(struct stage *s)
{
    struct kp__slot *slot = one_at_home(s);
    struct kp__subpool *sub = slot->sub;
    uint64_t lease = lend(slot, KP__SEEKS + 5);

    lane_shut(s, sub);
    assert_true(kp__seat_at(slot, 0)->homed);
    assert_int_equal(kp__seat_word(kp__seat_at(slot, 0), false), lease);
    stage_give(s, slot, 0, true);
    assert_ptr_equal(stage_lend(s, sub), slot);
    assert_false(kp__seat_at(slot, 0)->homed);
    stage_give(s, slot, 0, true);
    assert_true(lane_open_again(s, sub));
    lease = lend(slot, KP__SEEKS + 9);
    lane_shut(s, sub);
    assert_false(kp__seat_at(slot, 0)->homed);
    assert_int_equal(kp__seat_word(kp__seat_at(slot, 0), false), lease);
}

/* Its lease, and no other number, ends it, on whatever lane. */
static void a_lane_that_opens_again_must_know_it_too(struct stage *s)
{
    struct kp__slot *slot = one_at_home(s);
    struct kp__subpool *sub = slot->sub;
    uint64_t lease = lend(slot, 3 * KP__SEEKS);

    lane_shut(s, sub);
    struct kp__slot *other = stage_idle(s, sub);
    for (int i = 0; i < 3; i++) {
        if (sub->open) lane_shut(s, sub);
        assert_true(lane_open_again(s, sub));
        assert_true(slot->on_lane);
        assert_int_equal(lane_word(slot), lease);
        assert_int_equal(home_of(slot), KP__NO_HOME);
        LANE_SAYS(other, other->generation, KP__WORD_IDLE);
    }
    s->core.home_credit = MAY_BE_TAKEN;
    assert_false(seek(s, slot, lease & ~(uint64_t)KP__HOMED));
    assert_int_equal(lane_word(slot), lease);
    assert_true(seek(s, slot, lease));
    LANE_SAYS(slot, 3 * KP__SEEKS, KP__WORD_IDLE);
    lane_shut(s, sub);
    assert_int_equal(slot->state, KP__IDLE);
    assert_int_equal(sub->count[KP__LENT], 0);
}
#else
static void where_there_are_no_sequences_no_cell_must_get_a_home(struct stage *s)
{
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = stage_idle(s, sub);

    s->core.homes = true;
    assert_true(lane_open(s, sub));
    lane_use(slot, KP__SEEKS - 1 - (int)(lane_word(slot) >> KP__WORD_BITS));
    assert_true(lane_take(slot, "lent", slot));
    assert_true(kp__home_seek(&s->core, slot, lane_word(slot)));
    LANE_SAYS(slot, KP__SEEKS, KP__WORD_IDLE);
    assert_int_equal(sub->lane_books->homes, 0);
    assert_false(kp__homes_take(&s->core, &sub, 1));
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#if KP__SEQUENCES
        LANE_TEST(a_cell_must_get_its_first_home_after_so_many_leases),
        LANE_TEST(it_must_be_where_the_lease_ends),
        LANE_TEST(the_price_of_taking_must_be_settled_first),
        LANE_TEST(what_was_saved_must_have_an_end),
        LANE_TEST(only_what_is_lent_and_nothing_else_must_get_one),
        LANE_TEST(a_stale_lease_must_give_no_home),
        LANE_TEST(what_is_idle_must_lose_its_mark_with_its_home),
        LANE_TEST(what_is_lent_must_keep_its_mark_until_it_is_back),
        LANE_TEST(what_is_on_no_lane_must_be_left_alone),
        LANE_TEST(a_seat_must_know_whether_it_was_lent_at_home),
        LANE_TEST(a_lane_that_opens_again_must_know_it_too),
#else
        LANE_TEST(where_there_are_no_sequences_no_cell_must_get_a_home),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
