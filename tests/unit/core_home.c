/* SPDX-License-Identifier: MIT
 *
 * Homes of cells (src/core/home.c), under the lock: when one is given, to whom, and how all that
 * look at a lane take them away. Nobody swings here but the test: whether he is at home does not
 * matter to it.
 */
#include "core_lanes.h"
#include "home_pin.h"

/* ---- what the end of all sequences finds ----------------------------------------------------- */

static int ends;               /* so many since end_none */
static int leaving;            /* that are marked, and nobody's, at the last one */
static struct kp__slot *watched[64];
static int watches;

static void end_none(void)
{
    ends = leaving = 0;
}

void __real_kp__sequences_end(void);
void __wrap_kp__sequences_end(void);

void __wrap_kp__sequences_end(void)
{
    ends++;
    leaving = 0;
    for (int i = 0; i < watches; i++) {
        const struct kp__cell *cell = KP__CELL_OF(watched[i]);
        leaving += (atomic_load(&cell->word) & KP__HOMED) && atomic_load(&cell->home) == KP__NOBODYS;
    }
    __real_kp__sequences_end();
}

#if KP__SEQUENCES
/* ---- steps ----------------------------------------------------------------------------------- */

/* A stage whose cells may have homes, and count their leases from 0. */
static void home_stage(struct stage *s)
{
    pin_or_skip();
    for (uint32_t at = kp__cells.free; at; at = *lines_next(&kp__cells, at))
        atomic_store(&((struct kp__cell *)kp__line(&kp__cells, at))->word, 0);
    s->core.homes = true;
    watches = 0;
    end_none();
}

static uint16_t home_of(const struct kp__slot *slot)
{
    return atomic_load(&KP__CELL_OF(slot)->home);
}

static uint64_t generation_of(const struct kp__slot *slot)
{
    return lane_word(slot) >> KP__WORD_BITS;
}

/* Lent for the g-th time, which is a later one. */
static uint64_t lend(struct kp__slot *slot, uint64_t g)
{
    lane_use(slot, (int)(g - generation_of(slot)) - 1);
    assert_true(lane_take(slot, "lent", slot));
    assert_int_equal(generation_of(slot), g);
    return lane_word(slot);
}

static bool settle(struct stage *s, struct kp__slot *slot, uint64_t lease)
{
    bool ended = kp__home_settle(&s->core, slot, lease);

    stage_check(s);
    return ended;
}

/* The g-th lease ends with the lock; its cell has a home then, or not. */
static bool gets_home(struct stage *s, struct kp__slot *slot, uint64_t g)
{
    assert_true(settle(s, slot, lend(slot, g)));
    bool has = lane_word(slot) & KP__HOMED;
    LANE_SAYS(slot, g, has ? KP__HERE | KP__HOMED : KP__HERE);
    return has;
}

/* One slot, idle on an open lane, that has a home since the g-th lease. */
static struct kp__slot *at_home(struct stage *s, struct kp__subpool *sub, uint64_t g)
{
    struct kp__slot *slot = stage_idle(s, sub);

    assert_true(lane_open_again(s, sub));
    assert_true(pin_to(0));
    assert_true(gets_home(s, slot, g));
    pin_off();
    assert_int_equal(home_of(slot), pin_number(0));
    watched[watches++] = slot;
    return slot;
}

static struct kp__slot *one_at_home(struct stage *s)
{
    home_stage(s);
    return at_home(s, stage_key(s), KP__SETTLES);
}

static void take(struct stage *s, struct kp__slot *slot)
{
    kp__home_take(slot);
    stage_check(s);
}

/* ---- given ----------------------------------------------------------------------------------- */

static void a_cell_must_get_its_first_home_after_so_many_leases(struct stage *s)
{
    home_stage(s);
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = stage_idle(s, sub);
    assert_true(lane_open(s, sub));
    for (uint64_t g = generation_of(slot) + 1; g < KP__SETTLES; g++) {
        assert_false(gets_home(s, slot, g));
        assert_int_equal(sub->term->homes, 0);
    }
    assert_true(gets_home(s, slot, KP__SETTLES));
    assert_int_equal(sub->term->homes, 1);
    assert_int_equal(sub->term->roams, 0);
    assert_int_not_equal(home_of(slot), KP__NOBODYS);
    lane_shut(s, sub);
    assert_int_equal(slot->lends, KP__SETTLES);
    assert_int_equal(slot->generation, KP__SETTLES);
}

/* Where its borrower is at that moment. */
static void it_must_be_where_the_lease_ends(struct stage *s)
{
    home_stage(s);
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = stage_idle(s, sub);
    assert_true(lane_open(s, sub));
    uint64_t lease = lend(slot, KP__SETTLES);
    for (int i = 0; i < pin_count(); i++) assert_true(pin_to(i));
    assert_true(settle(s, slot, lease));
    pin_off();
    assert_int_equal(home_of(slot), pin_number(pin_count() - 1));
}

/* Each home that is taken makes the next one come later, up to a limit. */
static void who_lost_homes_must_wait_longer_for_the_next(struct stage *s)
{
    static const uint8_t roams[] = { 0, 1, 3, 7, 15, 15, 15 };
    struct kp__slot *slot = one_at_home(s);
    struct kp__term *term = slot->sub->term;
    uint64_t g = KP__SETTLES;

    for (size_t i = 0; i < sizeof roams; i++) {
        assert_int_equal(term->roams, roams[i]);
        take(s, slot);
        assert_int_equal(term->homes, 0);
        uint64_t each = (uint64_t)KP__SETTLES * (term->roams + 1u), next = (g / each + 1) * each;
        while (++g < next) assert_false(gets_home(s, slot, g));
        assert_true(gets_home(s, slot, g));
        assert_int_equal(term->homes, 1);
    }
    assert_int_equal(g % ((uint64_t)16 * KP__SETTLES), 0);
}

/* Each word of before, that ends as one that may get no home. */
static void ends_without(struct stage *s, struct kp__slot *slot, uint64_t marks)
{
    uint64_t lease = kp__word(generation_of(slot), KP__GONE | marks);

    atomic_store(&KP__CELL_OF(slot)->word, lease);
    atomic_store(&KP__CELL_OF(slot)->home, KP__NOBODYS);
    assert_true(kp__home_settle(&s->core, slot, lease));
    LANE_SAYS(slot, lease >> KP__WORD_BITS, KP__HERE | (marks & ~(uint64_t)KP__HOMED));
    assert_int_equal(home_of(slot), KP__NOBODYS);
    assert_int_equal(slot->sub->term->homes, 0);
    stage_check(s);
}

static void only_what_is_lent_and_nothing_else_must_get_one(struct stage *s)
{
    home_stage(s);
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = stage_idle(s, sub);
    assert_true(lane_open(s, sub));
    (void)lend(slot, KP__SETTLES);
    ends_without(s, slot, KP__TURN);
    ends_without(s, slot, KP__ASKS);
    ends_without(s, slot, KP__TURN | KP__ASKS);
    ends_without(s, slot, KP__HOMED); /* of a home before */
    s->core.homes = false;
    ends_without(s, slot, 0);
    s->core.homes = true;
    assert_true(gets_home(s, slot, 2 * KP__SETTLES)); /* the same otherwise */
}

/* A lease that has ended changes nothing, even where its number would give a home: least of all
 * where what it was is lent again, and marked. */
static void a_stale_lease_must_give_no_home(struct stage *s)
{
    struct kp__slot *slot = one_at_home(s);
    uint64_t lease = lend(slot, 2 * KP__SETTLES), now;

    assert_true(lease & KP__HOMED);
    take(s, slot); /* its borrower is elsewhere */
    assert_true(settle(s, slot, lease));
    uint64_t stale = lend(slot, 4 * KP__SETTLES);
    assert_true(settle(s, slot, stale));
    assert_true(lane_word(slot) & KP__HOMED);
    assert_false(settle(s, slot, stale)); /* idle, at home */
    assert_int_equal(slot->sub->term->homes, 1);
    now = lend(slot, 4 * KP__SETTLES + 1);
    take(s, slot);
    slot->sub->term->roams = 3; /* so that the stale one would give one */
    assert_false(settle(s, slot, stale)); /* lent there, and marked */
    assert_int_equal(home_of(slot), KP__NOBODYS);
    assert_int_equal(slot->sub->term->homes, 0);
    assert_int_equal(lane_word(slot), now);
    assert_true(settle(s, slot, now));
    LANE_SAYS(slot, 4 * KP__SETTLES + 1, KP__HERE);
    assert_false(settle(s, slot, now));
    assert_false(settle(s, slot, stale)); /* idle */
    assert_int_equal(home_of(slot), KP__NOBODYS);
    LANE_SAYS(slot, 4 * KP__SETTLES + 1, KP__HERE);
}

/* ---- taken from one -------------------------------------------------------------------------- */

static void what_is_idle_must_lose_its_mark_with_its_home(struct stage *s)
{
    struct kp__slot *slot = one_at_home(s);

    assert_int_equal(ends, 0);
    take(s, slot);
    assert_int_equal(ends, 1);
    assert_int_equal(leaving, 1); /* until nobody is in the middle of it */
    LANE_SAYS(slot, KP__SETTLES, KP__HERE);
    assert_int_equal(home_of(slot), KP__NOBODYS);
    assert_int_equal(slot->sub->term->homes, 0);
    assert_int_equal(slot->sub->term->roams, 1);
    take(s, slot); /* it has none */
    assert_int_equal(ends, 1);
    assert_int_equal(slot->sub->term->homes, 0);
    assert_int_equal(slot->sub->term->roams, 1);
    assert_true(slot->sub->open);
}

static void what_is_lent_must_keep_its_mark_until_it_is_back(struct stage *s)
{
    struct kp__slot *slot = one_at_home(s);
    uint64_t lease = lend(slot, 2 * KP__SETTLES);

    take(s, slot);
    assert_int_equal(lane_word(slot), lease);
    LANE_SAYS(slot, 2 * KP__SETTLES, KP__GONE | KP__HOMED);
    assert_int_equal(home_of(slot), KP__NOBODYS);
    assert_int_equal(slot->sub->term->homes, 0);
    take(s, slot); /* marked, but nowhere at home */
    assert_int_equal(slot->sub->term->roams, 1);
    assert_false(kp__homes_take(slot->sub));
    assert_int_equal(slot->sub->term->roams, 1);
    assert_true(settle(s, slot, lease)); /* it gets none */
    LANE_SAYS(slot, 2 * KP__SETTLES, KP__HERE);
    assert_int_equal(slot->sub->term->homes, 0);
    assert_true(gets_home(s, slot, 4 * KP__SETTLES));
}

static void what_is_on_no_lane_must_be_left_alone(struct stage *s)
{
    struct kp__slot *slot = one_at_home(s), *bare;
    struct kp__subpool *sub = slot->sub;

    lane_shut(s, sub);
    take(s, slot); /* it has a cell */
    bare = stage_idle(s, stage_key(s));
    take(s, bare); /* nor that, and its key no lane */
    assert_int_equal(sub->term->roams, 1);
    assert_int_equal(sub->term->homes, 0);
    assert_true(lane_open_again(s, sub));
    take(s, slot); /* no home */
    assert_int_equal(sub->term->roams, 1);
    LANE_SAYS(slot, KP__SETTLES, KP__HERE);
}

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
    for (int i = 0; i < 3; i++) assert_true(gets_home(s, slot[i], KP__SETTLES));
    assert_int_equal(sub->term->homes, 3);
    (void)lend(slot[1], KP__SETTLES + 1);
    (void)lend(slot[2], KP__SETTLES + 1);
    take(s, slot[2]);
    assert_int_equal(sub->term->homes, 2);
    assert_int_equal(sub->term->roams, 1);
    (void)lend(slot[3], 7);
    assert_true(settle(s, slot[3], lane_word(slot[3])));
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
    for (int i = 0; i < 3; i++) assert_int_equal(home_of(slot[i]), KP__NOBODYS);
    LANE_SAYS(slot[0], KP__SETTLES, KP__HERE);
    LANE_SAYS(slot[1], KP__SETTLES + 1, KP__GONE | KP__HOMED);
    LANE_SAYS(slot[2], KP__SETTLES + 1, KP__GONE | KP__HOMED);
    LANE_SAYS(slot[3], 7, KP__HERE);
    assert_int_equal(sub->term->homes, 0);
    assert_int_equal(sub->term->roams, 3); /* at the price of one */
    assert_true(sub->open);
}

static void all_of_a_lane_must_be_taken_at_the_price_of_one(struct stage *s)
{
    struct kp__slot *slot[SLOTS];

    home_stage(s);
    struct kp__subpool *sub = four(s, slot);
    assert_true(kp__homes_take(sub));
    stage_check(s);
    assert_taken(sub, slot);
    assert_false(kp__homes_take(sub));
    assert_taken(sub, slot);
    assert_ended_once(3);
}

static void all_there_are_must_be_taken_at_the_price_of_one(struct stage *s)
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
    kp__homes_take_all(&s->core);
    stage_check(s);
    assert_taken(sub[0], slot);
    assert_taken(sub[1], others);
    assert_true(without[1]->open);
    assert_int_equal(without[1]->term->roams, 0);
    LANE_SAYS(bare, bare->generation, KP__HERE);
    kp__homes_take_all(&s->core); /* none there are */
    assert_taken(sub[0], slot);
    assert_taken(sub[1], others);
    assert_ended_once(6);
}

/* What the books say of four() when its lane was shut, and that its cells have no homes. */
static void assert_shut(const struct kp__subpool *sub, struct kp__slot **slot)
{
    assert_false(sub->open);
    assert_int_equal(sub->term->homes, 0);
    assert_int_equal(sub->term->roams, 3);
    for (int i = 0; i < SLOTS; i++) {
        bool lent = i == 1 || i == 2;
        LANE_SAYS(slot[i], slot[i]->generation, KP__SHUT);
        assert_int_equal(slot[i]->state, lent ? KP__LENT : KP__IDLE);
        assert_int_equal(slot[i]->generation, i == 3 ? 7 : KP__SETTLES + lent);
        if (i < 3) assert_int_equal(home_of(slot[i]), KP__NOBODYS);
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
        lane_use(slot[i], KP__SETTLES - 1 - (int)generation_of(slot[i]));
        assert_true(lane_take(slot[i], "many", NULL));
        assert_true(kp__home_settle(&s->core, slot[i], lane_word(slot[i])));
        assert_int_equal(sub->term->homes, i + 1);
    }
    stage_check(s);
    assert_true(kp__homes_take(sub));
    stage_check(s);
    for (int i = 0; i < KP__LANE_MOST; i++) LANE_SAYS(slot[i], KP__SETTLES, KP__HERE);
}

/* ---- what the books remember ----------------------------------------------------------------- */

static void a_seat_must_know_whether_it_was_lent_at_home(struct stage *s)
{
    struct kp__slot *slot = one_at_home(s);
    struct kp__subpool *sub = slot->sub;
    uint64_t lease = lend(slot, KP__SETTLES + 5);

    lane_shut(s, sub);
    assert_true(kp__seat_at(slot, 0)->homed);
    assert_int_equal(kp__seat_word(kp__seat_at(slot, 0), false), lease);
    stage_give(s, slot, 0, true);
    assert_ptr_equal(stage_lend(s, sub), slot);
    assert_false(kp__seat_at(slot, 0)->homed);
    stage_give(s, slot, 0, true);
    assert_true(lane_open_again(s, sub));
    lease = lend(slot, KP__SETTLES + 9);
    lane_shut(s, sub);
    assert_false(kp__seat_at(slot, 0)->homed);
    assert_int_equal(kp__seat_word(kp__seat_at(slot, 0), false), lease);
}

/* Its lease, and no other number, ends it, on whatever lane. */
static void a_lane_that_opens_again_must_know_it_too(struct stage *s)
{
    struct kp__slot *slot = one_at_home(s);
    struct kp__subpool *sub = slot->sub;
    uint64_t lease = lend(slot, 3 * KP__SETTLES);

    lane_shut(s, sub);
    struct kp__slot *other = stage_idle(s, sub);
    for (int i = 0; i < 3; i++) {
        if (sub->open) lane_shut(s, sub);
        assert_true(lane_open_again(s, sub));
        assert_true(slot->on_lane);
        assert_int_equal(lane_word(slot), lease);
        assert_int_equal(home_of(slot), KP__NOBODYS);
        LANE_SAYS(other, other->generation, KP__HERE);
    }
    sub->term->roams = 0;
    assert_false(settle(s, slot, lease & ~(uint64_t)KP__HOMED));
    assert_int_equal(lane_word(slot), lease);
    assert_true(settle(s, slot, lease));
    LANE_SAYS(slot, 3 * KP__SETTLES, KP__HERE);
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
    lane_use(slot, KP__SETTLES - 1 - (int)(lane_word(slot) >> KP__WORD_BITS));
    assert_true(lane_take(slot, "lent", slot));
    assert_true(kp__home_settle(&s->core, slot, lane_word(slot)));
    LANE_SAYS(slot, KP__SETTLES, KP__HERE);
    assert_int_equal(sub->term->homes, 0);
    assert_false(kp__homes_take(sub));
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#if KP__SEQUENCES
        LANE_TEST(a_cell_must_get_its_first_home_after_so_many_leases),
        LANE_TEST(it_must_be_where_the_lease_ends),
        LANE_TEST(who_lost_homes_must_wait_longer_for_the_next),
        LANE_TEST(only_what_is_lent_and_nothing_else_must_get_one),
        LANE_TEST(a_stale_lease_must_give_no_home),
        LANE_TEST(what_is_idle_must_lose_its_mark_with_its_home),
        LANE_TEST(what_is_lent_must_keep_its_mark_until_it_is_back),
        LANE_TEST(what_is_on_no_lane_must_be_left_alone),
        LANE_TEST(all_of_a_lane_must_be_taken_at_the_price_of_one),
        LANE_TEST(all_there_are_must_be_taken_at_the_price_of_one),
        LANE_TEST(to_shut_a_lane_must_take_its_homes),
        LANE_TEST(to_shut_all_lanes_must_take_all_homes),
        LANE_TEST(so_many_must_be_counted),
        LANE_TEST(a_seat_must_know_whether_it_was_lent_at_home),
        LANE_TEST(a_lane_that_opens_again_must_know_it_too),
#else
        LANE_TEST(where_there_are_no_sequences_no_cell_must_get_a_home),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
