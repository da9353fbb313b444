/* SPDX-License-Identifier: MIT
 *
 * More lanes than are shut together at a time (KP__TOGETHER): all are shut, each once, whether most
 * keys have a lane or only few, whatever happened on them, with a home or without.
 */
#include "core_homes.h"

enum { LANES = 2 * KP__TOGETHER + 88, ROUNDS = 3, PLACES = 9 * LANES };

enum kind { UNTOUCHED, LENT, LENT_BEFORE, AT_HOME, LENT_AT_HOME, KINDS };

static struct lane {
    struct kp__subpool *sub;
    struct kp__slot *slot;
    enum kind kind;
    bool at_home;
    uint64_t word, lends, served, hits; /* as the lane has it; as it must be in the books */
} lanes[LANES];

static bool is_lent(const struct lane *l)
{
    return l->kind == LENT || l->kind == LENT_BEFORE || l->kind == LENT_AT_HOME;
}

/* ---- before ---------------------------------------------------------------------------------- */

/* It has a home, where there are any. */
static bool gets_home_here(struct stage *s, struct kp__slot *slot)
{
#if KP__SEQUENCES
    return s->core.homes && gets_home(s, slot, KP__SEEKS);
#else
    (void)s, (void)slot;
    return false;
#endif
}

static void play_on(struct stage *s, struct lane *l, int uses)
{
    struct kp__slot *slot = l->slot;

    l->at_home = l->kind >= AT_HOME && gets_home_here(s, slot);
    assert_int_equal(l->at_home, l->kind >= AT_HOME && s->core.homes);
    if (l->kind == LENT || l->kind == AT_HOME) lane_use(slot, uses);
    if (l->kind == LENT || l->kind == LENT_AT_HOME) assert_true(lane_take(slot, "lent", l));
    l->word = lane_word(slot);
    l->served = (l->word >> KP__WORD_BITS) - slot->generation;
    l->lends = slot->lends + l->served;
    l->hits = l->sub->tally.hits + l->served;
}

static void open_one(struct stage *s, struct lane *l, int i)
{
    l->kind = (enum kind)(i % KINDS);
    l->sub = stage_key(s);
    l->slot = l->kind == LENT_BEFORE ? lane_lend(s, l->sub) : stage_idle(s, l->sub);
    if (l->kind == LENT_BEFORE) stage_idle(s, l->sub); /* so that the lane may open */
    assert_true(lane_open_again(s, l->sub));
    play_on(s, l, 1 + i % 7);
}

/* The books, when they are worth the time. */
static void count(struct stage *s)
{
    s->uncounted = false;
    stage_check(s);
    s->uncounted = true;
}

/* Their lanes are open, in a pool with so many places for keys. */
static void open_all(struct stage *s, uint32_t places)
{
    s->uncounted = true;
    for (int i = 0; i < LANES; i++) open_one(s, &lanes[i], i);
    while (s->core.subpools.made < places) {
        stage_room(s);
        assert_non_null(kp__table_make(&s->core, ++s->next_hash * 0x9e3779b97f4a7c15u));
    }
    s->core.least_term = 1; /* a lane that is shut for nothing pauses */
    assert_int_equal(s->core.open_lanes.count, LANES);
    end_none();
    count(s);
}

/* ---- afterwards ------------------------------------------------------------------------------ */

static void assert_shut(const struct lane *l)
{
    assert_false(l->sub->open);
    assert_false(kp__heap_holds(&l->sub->lane_books->node));
    assert_int_equal(lane_shape(l->sub), 0);
    assert_int_equal(l->sub->lane_books->homes, 0);
    /* when it was shut, which it was once */
    assert_int_equal(l->sub->lane_books->served, l->served);
    assert_int_equal(l->sub->shut_for, l->served > 0 ? 0 : 4);
}

static void assert_true_books(const struct lane *l)
{
    const struct kp__slot *slot = l->slot;

    assert_int_equal(slot->state, is_lent(l) ? KP__LENT : KP__IDLE);
    assert_int_equal(slot->lends, l->lends);
    assert_int_equal(l->sub->tally.hits, l->hits);
    LANE_SAYS(slot, l->word >> KP__WORD_BITS, KP__SHUT);
    assert_int_equal(slot->generation, l->word >> KP__WORD_BITS);
    if (is_lent(l)) assert_int_equal(kp__seat_word(kp__seat_at(slot, 0), false), l->word);
    if (l->at_home) assert_int_equal(atomic_load(&KP__CELL_OF(slot)->home), KP__NO_HOME);
}

/* All come back, and lanes may open again. */
static void all_come_back(struct stage *s)
{
    for (int i = 0; i < LANES; i++)
        if (is_lent(&lanes[i])) stage_give(s, lanes[i].slot, 0, true);
    assert_int_equal(s->core.leases, 0);
    for (int i = 0; i < LANES; i++) assert_int_equal(lanes[i].slot->state, KP__IDLE);
    for (int i = 0; i < LANES; i++) assert_true(lane_open_again(s, lanes[i].sub));
    count(s);
}

static void shut_all(struct stage *s)
{
    uint64_t hits = 0;
    uint32_t lent = 0;

    kp__lane_shut_all(&s->core, s->now);
    count(s);
    assert_null(kp__heap_top(&s->core.open_lanes));
    assert_int_equal(s->core.open_lanes.count, 0);
    for (int i = 0; i < LANES; i++) {
        assert_shut(&lanes[i]);
        assert_true_books(&lanes[i]);
        hits += lanes[i].hits;
        lent += is_lent(&lanes[i]);
    }
    assert_int_equal(s->core.leases, lent);
    assert_int_equal(s->core.tally.hits, hits);
    assert_int_equal(s->core.returning, 0);
    assert_int_equal(ends, s->core.homes ? ROUNDS : 0);
    all_come_back(s);
}

static void all_must_be_shut_where_most_keys_have_one(struct stage *s)
{
    open_all(s, LANES);
    shut_all(s);
}

static void all_must_be_shut_where_few_keys_have_one(struct stage *s)
{
    open_all(s, PLACES);
    shut_all(s);
}

#if KP__SEQUENCES
static void all_homes_must_be_taken_where_most_keys_have_one(struct stage *s)
{
    home_stage(s);
    open_all(s, LANES);
    shut_all(s);
    assert_int_equal(s->core.home_credit, MAY_BE_TAKEN - ROUNDS * KP__HOME_PRICE);
}

static void all_homes_must_be_taken_where_few_keys_have_one(struct stage *s)
{
    home_stage(s);
    open_all(s, PLACES);
    shut_all(s);
    assert_int_equal(s->core.home_credit, MAY_BE_TAKEN - ROUNDS * KP__HOME_PRICE);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        LANE_TEST(all_must_be_shut_where_most_keys_have_one),
        LANE_TEST(all_must_be_shut_where_few_keys_have_one),
#if KP__SEQUENCES
        LANE_TEST(all_homes_must_be_taken_where_most_keys_have_one),
        LANE_TEST(all_homes_must_be_taken_where_few_keys_have_one),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
