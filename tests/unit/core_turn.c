/* SPDX-License-Identifier: MIT
 *
 * Lanes during a turn (KP_EVENTUAL): threads whose turn it is do without the lock while others
 * wait, because the waiters look by themselves. So a lane opens although there are waiters, and
 * whatever has to do with those shuts it.
 */
#include "core_lanes.h"

enum { MOST = 4 };

struct turn {
    struct stage *s;
    struct kp__subpool *sub;
    struct kp__slot *slot[MOST];
    struct kp__request r[MOST];
};

/* A wait, which keeps its key. */
static void queue_up(struct turn *t, int i, uint32_t flags)
{
    assert_int_equal(stage_ask(t->s, t->sub, &t->r[i], flags), KP__GRANT_WAIT);
    t->sub->interest++;
}

/* So many are lent, each with a cell, and so many wait. */
static struct turn *begin(struct stage *s, int live, int waiting)
{
    static struct turn turn; /* for what is left at the end of a test */
    struct turn *t = &turn;

    *t = (struct turn){ .s = s };
    s->rules.wait_eventual = true;
    s->rules.max_live = live;
    t->sub = stage_key(s);
    for (int i = 0; i < live; i++) t->slot[i] = stage_idle(s, t->sub);
    assert_true(lane_open_again(s, t->sub));
    lane_shut(s, t->sub);
    for (int i = live; i-- > 0;) assert_ptr_equal(stage_lend(s, t->sub), t->slot[i]);
    for (int i = 0; i < waiting; i++) queue_up(t, i, 0);
    return t;
}

/* The first one comes back, and the lane opens although requests wait. */
static void open_beside(struct turn *t)
{
    stage_give(t->s, t->slot[0], 0, true);
    assert_true(t->r[0].offered);
    assert_true(lane_open_again(t->s, t->sub));
}

static bool stays_shut(struct turn *t)
{
    t->sub->shut_for = 0;
    kp__lane_open(&t->s->core, t->sub, t->s->now);
    return !t->sub->open;
}

static void come_and_look(struct turn *t, int i)
{
    kp__heed(&t->s->core, &t->r[i], t->s->now, &t->s->todo);
    if (t->r[i].grant.kind != KP__GRANT_WAIT) t->sub->interest--;
    stage_check(t->s);
}

static void end(struct turn *t)
{
    for (int i = 0; i < MOST; i++)
        if (t->r[i].grant.kind == KP__GRANT_WAIT && t->r[i].sub)
            assert_true(kp__withdraw(&t->s->core, &t->r[i], t->s->now, &t->s->todo));
    t->sub->interest = 0;
}

/* ---- it opens -------------------------------------------------------------------------------- */

static void a_lane_must_open_beside_those_who_wait_for_the_end_of_a_turn(struct stage *s)
{
    struct turn *t = begin(s, 2, 2);

    open_beside(t);
    assert_int_equal(t->sub->waiting, 2);
    lane_use(t->slot[0], 3);
    assert_true(lane_take(t->slot[0], "turn", NULL));
    lane_shut(s, t->sub);
    assert_int_equal(t->slot[0]->state, KP__LENT);
    assert_int_equal(t->slot[0]->lends, 5); /* before, those three, and this one */
    end(t);
}

static void words_must_say_that_others_wait(struct stage *s)
{
    struct turn *t = begin(s, 2, 1);

    open_beside(t);
    LANE_SAYS(t->slot[0], t->slot[0]->generation, KP__TURN | KP__WORD_IDLE);
    assert_true(lane_take(t->slot[0], "turn", NULL));
    uint64_t lease = lane_word(t->slot[0]);
    assert_true(lease & KP__TURN);
    lane_shut(s, t->sub);
    /* as the borrower knows it */
    assert_int_equal(kp__seat_word(kp__seat_at(t->slot[0], 0), false), lease);
    LANE_SAYS(t->slot[0], t->slot[0]->generation, KP__SHUT);
    end(t);
}

/* On this lane its word says what the number of its lease does; off it, nothing. */
static void assert_fits(const struct kp__slot *slot, bool on_lane)
{
    assert_int_equal(slot->state, KP__LENT);
    assert_int_equal(slot->on_lane, on_lane);
    if (on_lane) assert_int_equal(lane_word(slot), kp__seat_word(kp__seat_at(slot, 0), false));
    else assert_int_equal(lane_word(slot) & KP__WORD_STATE, KP__SHUT);
}

static void what_is_lent_must_be_on_no_lane_whose_words_say_otherwise(struct stage *s)
{
    struct turn *t = begin(s, 3, 1);

    open_beside(t);
    assert_fits(t->slot[1], false); /* lent before the turn */
    assert_true(lane_take(t->slot[0], "turn", NULL));
    lane_shut(s, t->sub);
    stage_give(s, t->slot[1], 0, true);
    assert_true(lane_open_again(s, t->sub)); /* beside the same one */
    assert_fits(t->slot[0], true);
    assert_fits(t->slot[2], false);
    assert_true(kp__withdraw(&s->core, &t->r[0], s->now, &s->todo));
    t->sub->interest--;
    assert_true(lane_open_again(s, t->sub));
    assert_fits(t->slot[0], false);
    assert_fits(t->slot[2], true);
    end(t);
}

static void it_must_open_only_beside_one_who_was_told_and_comes(struct stage *s)
{
    struct turn *t = begin(s, 2, 1);

    assert_true(stays_shut(t)); /* nothing came back */
    stage_give(s, t->slot[0], 0, true);
    t->r[0].offered = false;
    assert_true(stays_shut(t));
    t->r[0].offered = true;
    t->sub->interest++; /* and another thread is about to look */
    assert_true(stays_shut(t));
    t->sub->interest--;
    assert_true(lane_open_again(s, t->sub));
    end(t);
}

static void it_must_not_open_beside_another_who_was_not_told(struct stage *s)
{
    struct turn *t = begin(s, 2, 1);

    stage_give(s, t->slot[0], 0, true);
    assert_int_equal(stage_ask(s, t->sub, &t->r[2], 0), KP__GRANT_SLOT);
    queue_up(t, 1, KP_DONT_CREATE); /* first of its own queue */
    stage_give(s, t->slot[0], 0, true);
    assert_true(t->r[0].offered && t->r[1].offered);
    t->r[1].offered = false;
    assert_true(stays_shut(t));
    t->r[1].offered = true;
    assert_true(lane_open_again(s, t->sub));
    end(t);
}

static void it_must_not_open_when_the_turn_is_over(struct stage *s)
{
    struct turn *t = begin(s, 2, 2);

    stage_give(s, t->slot[0], 0, true);
    s->now += KP__ROUND;
    assert_true(stays_shut(t));
    end(t);
}

/* ---- it is shut ------------------------------------------------------------------------------ */

static void who_comes_and_looks_must_take_what_is_there(struct stage *s)
{
    struct turn *t = begin(s, 2, 2);

    open_beside(t);
    lane_use(t->slot[0], 1);
    come_and_look(t, 0);
    assert_false(t->sub->open);
    assert_int_equal(t->r[0].grant.kind, KP__GRANT_SLOT);
    assert_ptr_equal(t->r[0].slot, t->slot[0]);
    end(t);
}

static void who_finds_nothing_must_come_again_until_the_turn_is_over(struct stage *s)
{
    struct turn *t = begin(s, 1, 2);

    open_beside(t);
    assert_true(lane_take(t->slot[0], "turn", NULL));
    come_and_look(t, 0);
    assert_false(t->sub->open);
    assert_true(t->r[0].grant.kind == KP__GRANT_WAIT && t->r[0].offered);
    stage_give(s, t->slot[0], 0, true); /* with the lock, for the lane was shut */
    assert_true(lane_open_again(s, t->sub));
    assert_true(lane_take(t->slot[0], "turn", NULL));
    s->now += KP__ROUND;
    come_and_look(t, 0);
    assert_false(t->r[0].offered);
    stage_give(s, t->slot[0], 0, true);
    assert_int_equal(t->r[0].grant.kind, KP__GRANT_SLOT);
    end(t);
}

static void who_leaves_must_leave_the_key_to_the_next(struct stage *s)
{
    struct turn *t = begin(s, 1, 2);

    open_beside(t);
    lane_use(t->slot[0], 2);
    assert_true(kp__withdraw(&s->core, &t->r[0], s->now, &s->todo));
    t->sub->interest--;
    stage_check(s);
    assert_false(t->sub->open);
    assert_int_equal(t->slot[0]->lends, 3);
    assert_true(t->r[1].offered); /* the waiter comes now */
    assert_true(lane_open_again(s, t->sub));
    assert_true(kp__withdraw(&s->core, &t->r[1], s->now, &s->todo));
    t->sub->interest--;
    assert_true(lane_open_again(s, t->sub)); /* and no request waits any more */
    assert_int_equal(lane_word(t->slot[0]), kp__word(t->slot[0]->generation, KP__WORD_IDLE));
    end(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LANE_TEST(a_lane_must_open_beside_those_who_wait_for_the_end_of_a_turn),
        LANE_TEST(words_must_say_that_others_wait),
        LANE_TEST(what_is_lent_must_be_on_no_lane_whose_words_say_otherwise),
        LANE_TEST(it_must_open_only_beside_one_who_was_told_and_comes),
        LANE_TEST(it_must_not_open_beside_another_who_was_not_told),
        LANE_TEST(it_must_not_open_when_the_turn_is_over),
        LANE_TEST(who_comes_and_looks_must_take_what_is_there),
        LANE_TEST(who_finds_nothing_must_come_again_until_the_turn_is_over),
        LANE_TEST(who_leaves_must_leave_the_key_to_the_next),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
