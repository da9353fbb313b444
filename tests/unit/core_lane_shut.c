/* SPDX-License-Identifier: MIT
 *
 * Tests of core/lane.c: the books are right when a lane was shut, whatever happened on it; and how
 * long it stays shut.
 */
#include "core_lanes.h"

/* ---- one slot, whatever happened to it ------------------------------------------------------- */

/* All that shutting may change, of one slot, its key and its pool. */
struct page {
    uint64_t generation, lends, since, order, used_at;
    struct kp__tally key, pool;
    uint32_t idle, lent, leases, permits, pool_idle, pool_lent, pool_leases;
    int64_t pool_permits;
    struct kp__seat seat;
};

static struct page read_page(const struct stage *s, const struct kp__slot *slot)
{
    const struct kp__subpool *sub = slot->sub;

    return (struct page){
        slot->generation, slot->lends, slot->since, slot->order, sub->used_at,
        sub->tally, s->core.tally,
        sub->count[KP__IDLE], sub->count[KP__LENT], sub->leases, sub->lent_permits,
        s->core.count[KP__IDLE], s->core.count[KP__LENT], s->core.leases,
        stage_lent(s), *kp__seat_at(slot, 0),
    };
}

static void assert_counts(const struct page *was, const struct page *is, int lent, uint64_t leases)
{
    assert_int_equal(is->lent, was->lent + (uint32_t)lent);
    assert_int_equal(is->idle, was->idle - (uint32_t)lent);
    assert_int_equal(is->leases, was->leases + (uint32_t)lent);
    assert_int_equal(is->permits, was->permits + (uint32_t)lent);
    assert_int_equal(is->pool_lent, was->pool_lent + (uint32_t)lent);
    assert_int_equal(is->pool_idle, was->pool_idle - (uint32_t)lent);
    assert_int_equal(is->pool_leases, was->pool_leases + (uint32_t)lent);
    assert_int_equal(is->pool_permits, was->pool_permits + lent);
    assert_int_equal(is->generation, was->generation + leases);
    assert_int_equal(is->lends, was->lends + leases);
    struct kp__tally key = was->key, pool = was->pool;
    key.gets += leases;
    key.hits += leases;
    pool.gets += leases;
    pool.hits += leases;
    assert_memory_equal(&is->key, &key, sizeof key);
    assert_memory_equal(&is->pool, &pool, sizeof pool);
}

/* One that was idle or lent when its lane opened, was lent so often since then, and is lent now or
 * is not. */
static void what_became_of(bool was_lent, bool is_lent, uint64_t leases)
{
    struct stage s;

    lane_stage(&s);
    struct kp__subpool *other = stage_key(&s), *sub = stage_key(&s);
    stage_lend(&s, other);
    struct kp__slot *slot = lane_lend(&s, sub);
    kp__seat_at(slot, 0)->tag = "before";
    struct kp__slot *keeps = stage_idle(&s, sub); /* so that the lane may open */
    s.now += 10;
    if (!was_lent) stage_give(&s, slot, 0, true);
    s.now += 10;
    uint64_t opened = s.now;
    assert_true(lane_open(&s, sub));
    struct page was = read_page(&s, slot), kept = read_page(&s, keeps);
    s.now += 10;
    if (was_lent && (leases > 0 || !is_lent)) assert_true(lane_give(slot));
    for (uint64_t i = 0; i < leases; i++) {
        assert_true(lane_take(slot, i + 1 < leases ? "some" : "last", &s));
        if (i + 1 < leases || !is_lent) assert_true(lane_give(slot));
    }
    lane_shut(&s, sub);
    struct page is = read_page(&s, slot);
    assert_counts(&was, &is, (int)is_lent - (int)was_lent, leases);
    assert_int_equal(slot->state, is_lent ? KP__LENT : KP__IDLE);
    assert_int_equal(slot->errand->borrowers, is_lent);
    assert_int_equal(kp__seat_at(slot, 0)->lent, is_lent);
    assert_false(slot->on_lane);
    LANE_SAYS(slot, slot->generation, KP__SHUT);
    assert_int_equal(is.used_at, leases ? s.now : was.used_at);
    bool changed = leases > 0 || was_lent != is_lent;
    if (!changed) { /* not even looked at */
        assert_memory_equal(&is.seat, &was.seat, sizeof is.seat);
        assert_int_equal(is.since, was.since);
        assert_int_equal(is.order, was.order);
    } else if (is_lent) {
        assert_int_equal(is.seat.generation, slot->generation);
        assert_int_equal(is.seat.since, s.now); /* since when is unknown; since now at least */
        assert_string_equal(kp__seat_tag(slot, &is.seat), "last");
        assert_ptr_equal(kp__seat_site(slot, &is.seat), &s);
        assert_true(is.seat.hit);
        assert_false(is.seat.ending || is.seat.decided || is.seat.warned || is.seat.reuse);
    } else {
        assert_int_equal(is.since, opened);
        assert_int_equal(is.order, s.core.returns);
        assert_ptr_equal(kp__list_first(KP__SLOTS(sub, KP__IDLE)), &slot->link);
    }
    assert_int_equal(keeps->state, KP__IDLE);
    assert_int_equal(keeps->generation, kept.generation);
    assert_int_equal(keeps->lends, 0);
    /* and its next lease, with the lock, is one more */
    if (is_lent) stage_give(&s, slot, 0, true);
    assert_int_equal(slot->state, KP__IDLE);
    lane_close(&s);
}

static void what_nobody_touched_must_be_as_it_was(void **state)
{
    (void)state;
    what_became_of(false, false, 0);
    what_became_of(true, true, 0);
}

static void what_was_idle_must_be_lent_to_the_last_who_took_it(void **state)
{
    (void)state;
    for (uint64_t n = 1; n < 5; n++) what_became_of(false, true, n);
}

static void what_was_idle_and_was_used_must_be_idle_since_the_lane_opened(void **state)
{
    (void)state;
    for (uint64_t n = 1; n < 5; n++) what_became_of(false, false, n);
}

static void what_was_lent_and_came_back_must_be_idle(void **state)
{
    (void)state;
    for (uint64_t n = 0; n < 5; n++) what_became_of(true, false, n);
}

static void what_was_lent_may_be_lent_to_another_by_now(void **state)
{
    (void)state;
    for (uint64_t n = 1; n < 5; n++) what_became_of(true, true, n);
}

/* ---- several --------------------------------------------------------------------------------- */

/* The idle ones of a key, most recently used first, as a word. */
static const char *idle_order(const struct kp__subpool *sub, struct kp__slot *const *slots, int n)
{
    static char word[32];
    int k = 0;

    for STAGE_EACH (l, KP__SLOTS(sub, KP__IDLE))
        for (int i = 0; i < n; i++)
            if (&slots[i]->link == l) word[k++] = (char)('a' + i);
    word[k] = 0;
    return word;
}

static void what_was_used_must_come_before_what_was_not_in_the_old_order(struct stage *s)
{
    struct kp__slot *slots[6];

    struct kp__subpool *sub = stage_key(s);
    slots[5] = lane_lend(s, sub);
    for (int i = 0; i < 5; i++) slots[i] = stage_idle(s, sub);
    assert_string_equal(idle_order(sub, slots, 6), "edcba");
    assert_true(lane_open(s, sub));
    lane_use(slots[3], 1);
    lane_use(slots[1], 4);
    lane_take(slots[4], "t", NULL);
    lane_give(slots[5]);
    lane_shut(s, sub);
    /* those that were used, as they stood; then those that were lent */
    assert_string_equal(idle_order(sub, slots, 6), "fdbca");
    assert_true(slots[5]->order > slots[3]->order && slots[3]->order > slots[1]->order &&
                slots[1]->order > slots[2]->order && slots[2]->order > slots[0]->order);
    assert_int_equal(sub->lane_books->served, 6);
}

static void lent_ones_that_come_and_go_must_be_counted_once(struct stage *s)
{
    struct kp__slot *slots[5];

    struct kp__subpool *sub = stage_key(s);
    for (int i = 0; i < 4; i++) slots[i] = lane_lend(s, sub);
    slots[4] = stage_idle(s, sub);
    assert_true(lane_open(s, sub));
    lane_give(slots[1]);
    lane_give(slots[3]);
    lane_take(slots[3], "t", NULL);
    lane_take(slots[4], "t", NULL);
    lane_shut(s, sub);
    assert_int_equal(sub->count[KP__LENT], 4);
    assert_string_equal(idle_order(sub, slots, 5), "b");
}

/* ---- the pause afterwards -------------------------------------------------------------------- */

/* Its lane is opened, used so often, and shut. How many releases until it opens again? */
static uint32_t pause_after(struct stage *s, struct kp__subpool *sub, int uses)
{
    struct kp__slot *slot = kp__oldest_idle(sub);

    sub->shut_for = 0;
    assert_true(lane_open(s, sub));
    lane_use(slot, uses);
    lane_shut(s, sub);
    assert_int_equal(sub->lane_books->served, uses);
    return sub->shut_for;
}

static struct kp__subpool *key_with(struct stage *s, int slots)
{
    struct kp__subpool *sub = stage_key(s);

    while (slots-- > 0) stage_idle(s, sub);
    return sub;
}

static void a_lane_that_was_used_must_pause_for_a_quarter_of_its_size_in_releases(struct stage *s)
{
    static const uint32_t sizes[][3] = { { 1, 0, 1 }, { 3, 0, 1 },  { 4, 1, 1 },  { 7, 1, 1 },
                                         { 8, 2, 1 }, { 15, 3, 1 }, { 16, 4, 2 }, { 32, 8, 3 } };

    s->core.least_term = 1;
    for (int i = 0; i < 8; i++) {
        struct kp__subpool *sub = key_with(s, (int)sizes[i][0]);
        assert_int_equal(pause_after(s, sub, (int)sizes[i][2]), sizes[i][1]);
        assert_int_equal(pause_after(s, sub, (int)sizes[i][2] - 1), sizes[i][1] + 4);
    }
}

static void a_lane_that_was_hardly_used_must_pause_for_longer_each_time(struct stage *s)
{
    uint32_t penalty = 0;

    s->core.least_term = 1;
    struct kp__subpool *sub = key_with(s, 16);
    while (penalty < 1024) {
        penalty = 2 * penalty + 4;
        assert_int_equal(pause_after(s, sub, 1), penalty + 4);
    }
    assert_int_equal(penalty, 2044);
    assert_int_equal(pause_after(s, sub, 0), penalty + 4); /* that is enough */
    assert_int_equal(pause_after(s, sub, 2), 4);
    assert_int_equal(pause_after(s, sub, 1), 4 + 4);
    sub->lane_books->penalty = 1023;
    assert_int_equal(pause_after(s, sub, 0), 2050 + 4);
    sub->lane_books->penalty = 1024;
    assert_int_equal(pause_after(s, sub, 0), 1024 + 4);
}

/* 50 us for each resource, and for the lane. */
static void a_lane_that_was_open_for_long_must_not_pause_because_nobody_came(struct stage *s)
{
    s->core.least_term = 1;
    for (uint64_t slots = 1; slots <= 3; slots++) {
        struct kp__subpool *sub = key_with(s, (int)slots);
        for (uint64_t early = 0; early < 2; early++) {
            sub->shut_for = 0;
            assert_true(lane_open(s, sub));
            s->now += 50000 * (slots + 1) - early;
            lane_shut(s, sub);
            assert_int_equal(sub->shut_for, early ? 4 : 0);
        }
        /* unknown if the clock was not read */
        sub->shut_for = sub->lane_books->penalty = 0;
        kp__lane_open(&s->core, sub, 0);
        assert_true(sub->open);
        lane_shut(s, sub);
        assert_int_equal(sub->shut_for, 4);
    }
}

static void a_lane_must_not_pause_where_terms_are_instants(struct stage *s)
{
    struct kp__subpool *sub = key_with(s, 8);
    assert_int_equal(pause_after(s, sub, 0), 0);
    assert_int_equal(pause_after(s, sub, 12), 0);
}

static void a_key_that_is_used_but_once_must_have_no_lane(struct stage *s)
{
    s->core.least_term = 1;
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = stage_idle(s, sub);
    assert_false(lane_open(s, sub));
    assert_int_equal(kp__lane_number(sub), 0);
    assert_int_equal(slot->cell, 0);
    assert_true(lane_open(s, sub));
    lane_shut(s, sub);
}

/* ---- times ----------------------------------------------------------------------------------- */

static void the_time_of_the_last_use_must_not_go_back(struct stage *s)
{
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = stage_idle(s, sub);
    assert_true(lane_open(s, sub));
    lane_use(slot, 1);
    sub->used_at = s->now + 100;
    lane_shut(s, sub);
    assert_int_equal(sub->used_at, s->now + 100);
}

static void a_shut_lane_must_have_nothing_to_find(struct stage *s)
{
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *lent = lane_lend(s, sub), *idle = stage_idle(s, sub);
    assert_true(lane_open(s, sub));
    lane_shut(s, sub);
    assert_int_equal(lane_shape(sub), 0);
    assert_false(lane_take(idle, "t", NULL));
    assert_false(lane_give(lent));
}

/* ---- all of them ----------------------------------------------------------------------------- */

static void all_lanes_must_shut_together_however_many_are_open(struct stage *s)
{
    enum { KEYS = 24 };
    static const int open[] = { 0, 1, KEYS / 8 - 1, KEYS / 8, KEYS };

    for (size_t c = 0; c < sizeof open / sizeof open[0]; c++) {
            struct kp__subpool *sub[KEYS];
            for (int i = 0; i < KEYS; i++) sub[i] = lane_key(s, 1, 0);
        for (int i = 0; i < KEYS; i++)
            if (sub[i]->open) lane_shut(s, sub[i]);
        for (int i = 0; i < open[c]; i++) assert_true(lane_open_again(s, sub[i * KEYS / open[c]]));
        assert_int_equal(s->core.open_lanes.count, open[c]);
        kp__lane_shut_all(&s->core, s->now);
        assert_int_equal(s->core.open_lanes.count, 0);
        assert_null(kp__heap_top(&s->core.open_lanes));
        for (int i = 0; i < KEYS; i++) {
            assert_false(sub[i]->open);
            assert_false(sub[i]->lane_books && kp__heap_holds(&sub[i]->lane_books->node));
        }
        assert_true(lane_open_again(s, sub[0])); /* and may open again */
        lane_shut(s, sub[0]);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_nobody_touched_must_be_as_it_was),
        cmocka_unit_test(what_was_idle_must_be_lent_to_the_last_who_took_it),
        cmocka_unit_test(what_was_idle_and_was_used_must_be_idle_since_the_lane_opened),
        cmocka_unit_test(what_was_lent_and_came_back_must_be_idle),
        cmocka_unit_test(what_was_lent_may_be_lent_to_another_by_now),
        LANE_TEST(what_was_used_must_come_before_what_was_not_in_the_old_order),
        LANE_TEST(lent_ones_that_come_and_go_must_be_counted_once),
        LANE_TEST(a_lane_that_was_used_must_pause_for_a_quarter_of_its_size_in_releases),
        LANE_TEST(a_lane_that_was_hardly_used_must_pause_for_longer_each_time),
        LANE_TEST(a_lane_that_was_open_for_long_must_not_pause_because_nobody_came),
        LANE_TEST(a_lane_must_not_pause_where_terms_are_instants),
        LANE_TEST(the_time_of_the_last_use_must_not_go_back),
        LANE_TEST(a_shut_lane_must_have_nothing_to_find),
        LANE_TEST(a_key_that_is_used_but_once_must_have_no_lane),
        LANE_TEST(all_lanes_must_shut_together_however_many_are_open),
    };

    return cmocka_run_group_tests_name("core/lane shut", tests, NULL, NULL);
}
