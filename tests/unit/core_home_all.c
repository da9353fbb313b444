/* SPDX-License-Identifier: MIT
 *
 * Homes of cells (src/core/home.c), those of a lane and all there are: a call that is about to look
 * at the cells takes them all away for the price of one.
 */
#include "core_homes.h"

#if KP__SEQUENCES
/* ---- taken from a lane ----------------------------------------------------------------------- */

enum { SLOTS = 4 };

/* Idle at home, lent at home, lent there before it lost its home, and one that never had one. The
 * lane opened while the first was lent. */
static struct kp__subpool *four(struct stage *s, struct kp__slot **slot)
{
    struct kp__subpool *sub = stage_key(s);

    slot[0] = lane_lend(s, sub);
    for (int i = 1; i < SLOTS; i++) slot[i] = stage_idle(s, sub);
    assert_true(lane_open_again(s, sub));
    assert_true(lane_give(slot[0]));
    for (int i = 0; i < 3; i++) assert_true(gets_home(s, slot[i], KP__SEEKS));
    assert_int_equal(sub->lane_books->homes, 3);
    (void)lend(slot[1], KP__SEEKS + 1);
    (void)lend(slot[2], KP__SEEKS + 1);
    take(s, slot[2]);
    assert_int_equal(sub->lane_books->homes, 2);
    (void)lend(slot[3], 7);
    assert_true(seek(s, slot[3], lane_word(slot[3])));
    for (int i = 0; i < SLOTS; i++) watched[watches++] = slot[i];
    end_none();
    return sub;
}

/* At once for all that were marked; some of these had lost their home before. */
static void assert_ended_once(int marked)
{
    assert_int_equal(ends, 1);
    assert_int_equal(leaving, marked);
}

/* All of its lane, which stays open, and no other home than these was there. */
static void assert_taken(const struct kp__subpool *sub, struct kp__slot **slot)
{
    for (int i = 0; i < 3; i++) assert_int_equal(home_of(slot[i]), KP__NO_HOME);
    LANE_SAYS(slot[0], KP__SEEKS, KP__WORD_IDLE);
    LANE_SAYS(slot[1], KP__SEEKS + 1, KP__WORD_LENT | KP__HOMED);
    LANE_SAYS(slot[2], KP__SEEKS + 1, KP__WORD_LENT | KP__HOMED);
    LANE_SAYS(slot[3], 7, KP__WORD_IDLE);
    assert_int_equal(sub->lane_books->homes, 0);
    assert_true(sub->open);
}

static void all_of_a_lane_must_be_taken_at_the_price_of_one(struct stage *s)
{
    struct kp__slot *slot[SLOTS];

    home_stage(s);
    struct kp__subpool *sub = four(s, slot);
    assert_true(kp__homes_take(&s->core, &sub, 1));
    stage_check(s);
    assert_taken(sub, slot);
    assert_false(kp__homes_take(&s->core, &sub, 1));
    assert_taken(sub, slot);
    assert_ended_once(3);
}

static void those_of_many_lanes_must_be_taken_at_the_price_of_one(struct stage *s)
{
    struct kp__slot *slot[SLOTS], *others[SLOTS];
    struct kp__subpool *without[3], *sub[2];

    home_stage(s);
    without[0] = stage_key(s);
    sub[0] = four(s, slot);
    without[1] = stage_key(s);
    struct kp__slot *bare = stage_idle(s, without[1]);
    assert_true(lane_open(s, without[1]));
    sub[1] = four(s, others);
    without[2] = stage_key(s);
    stage_idle(s, without[2]);
    struct kp__subpool *all[] = { sub[0], without[1], sub[1] };
    int64_t home_credit = s->core.home_credit;
    assert_true(kp__homes_take(&s->core, all, 3));
    assert_int_equal(s->core.home_credit, home_credit - KP__HOME_PRICE);
    stage_check(s);
    assert_taken(sub[0], slot);
    assert_taken(sub[1], others);
    assert_true(without[1]->open);
    LANE_SAYS(bare, bare->generation, KP__WORD_IDLE);
    assert_false(kp__homes_take(&s->core, all, 3));
    assert_taken(sub[0], slot);
    assert_taken(sub[1], others);
    assert_ended_once(6);
}

/* What the books say of four() when its lane was shut, and that its cells have no homes. */
static void assert_shut(const struct kp__subpool *sub, struct kp__slot **slot)
{
    assert_false(sub->open);
    assert_int_equal(sub->lane_books->homes, 0);
    for (int i = 0; i < SLOTS; i++) {
        bool lent = i == 1 || i == 2;
        LANE_SAYS(slot[i], slot[i]->generation, KP__SHUT);
        assert_int_equal(slot[i]->state, lent ? KP__LENT : KP__IDLE);
        assert_int_equal(slot[i]->generation, i == 3 ? 7 : KP__SEEKS + lent);
        if (i < 3) assert_int_equal(home_of(slot[i]), KP__NO_HOME);
        if (lent) assert_true(kp__seat_at(slot[i], 0)->homed);
    }
}

static void to_shut_a_lane_must_take_its_homes(struct stage *s)
{
    struct kp__slot *slot[SLOTS];

    home_stage(s);
    struct kp__subpool *sub = four(s, slot);
    lane_shut(s, sub);
    assert_shut(sub, slot);
    assert_ended_once(3);
}

static void to_shut_all_lanes_must_take_all_homes(struct stage *s)
{
    struct kp__slot *slot[SLOTS], *others[SLOTS];

    home_stage(s);
    struct kp__subpool *sub[2] = { four(s, slot), four(s, others) };
    kp__lane_shut_all(&s->core, s->now);
    stage_check(s);
    assert_shut(sub[0], slot);
    assert_shut(sub[1], others);
    assert_ended_once(6);
}

/* As many as a lane can have. */
static void so_many_must_be_counted(struct stage *s)
{
    static struct kp__slot *slot[KP__LANE_MOST];

    home_stage(s);
    struct kp__subpool *sub = stage_key(s);
    for (int i = 0; i < KP__LANE_MOST; i++) slot[i] = stage_idle(s, sub);
    assert_true(lane_open(s, sub));
    for (int i = 0; i < KP__LANE_MOST; i++) {
        lane_use(slot[i], KP__SEEKS - 1 - (int)generation_of(slot[i]));
        assert_true(lane_take(slot[i], "many", NULL));
        assert_true(kp__home_seek(&s->core, slot[i], lane_word(slot[i])));
        assert_int_equal(sub->lane_books->homes, i + 1);
    }
    stage_check(s);
    assert_true(kp__homes_take(&s->core, &sub, 1));
    stage_check(s);
    for (int i = 0; i < KP__LANE_MOST; i++) LANE_SAYS(slot[i], KP__SEEKS, KP__WORD_IDLE);
}
#else
static void no_home(struct stage *s)
{
    (void)s;
    pin_or_skip();
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#if KP__SEQUENCES
        LANE_TEST(all_of_a_lane_must_be_taken_at_the_price_of_one),
        LANE_TEST(those_of_many_lanes_must_be_taken_at_the_price_of_one),
        LANE_TEST(to_shut_a_lane_must_take_its_homes),
        LANE_TEST(to_shut_all_lanes_must_take_all_homes),
        LANE_TEST(so_many_must_be_counted),
#else
        LANE_TEST(no_home),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
