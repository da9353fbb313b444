/* SPDX-License-Identifier: MIT
 *
 * Tests of core/lane.c: which slots have a cell, how cells are found, and how many, and what is
 * used again.
 */
#include "core_lanes.h"

#include "base/mix.h"
#include "core/guide.h"

/* Destroy idle ones until so many are left. */
static void shrink(struct stage *s, struct kp__subpool *sub, uint32_t left)
{
    while (sub->count[KP__IDLE] + sub->count[KP__LENT] > left)
        kp__close_idle(&s->core, kp__oldest_idle(sub), KP_CAUSE_SURPLUS, &s->todo);
    stage_destroy(s);
}

/* ---- how many -------------------------------------------------------------------------------- */

static void as_many_as_there_are_must_be_found(struct stage *s)
{
    static const struct { int slots, levels; } sizes[] = {
        { 1, 0 }, { 2, 1 }, { 3, 1 }, { 14, 1 }, { 15, 1 }, { 16, 2 }, { 17, 2 }, { 30, 2 },
        { 31, 2 }, { 224, 2 }, { 225, 2 },
    };

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct kp__subpool *sub = lane_key(s, sizes[i].slots, sizes[i].slots / 2);
        assert_true(lane_open(s, sub));
        lane_assert(sub, (uint32_t)sizes[i].slots, (uint32_t)sizes[i].levels);
        if (sizes[i].levels == 2)
            assert_in_range(sub->lane_books->room, sizes[i].slots, sizes[i].slots + KP__LIST - 1);
        lane_bury(s, sub);
    }
}

static void with_more_than_225_it_must_stay_shut(struct stage *s)
{
    struct kp__subpool *sub = lane_key(s, 225, 75);
    struct kp__slot *more = stage_idle(s, sub);
    assert_false(lane_open(s, sub));
    kp__close_idle(&s->core, more, KP_CAUSE_SURPLUS, &s->todo);
    stage_destroy(s);
    assert_true(lane_open(s, sub));
    lane_assert(sub, 225, 2);
    lane_shut(s, sub);
    assert_int_equal(sub->count[KP__IDLE], 150);
    assert_int_equal(sub->count[KP__LENT], 75);
}

static void a_lane_must_grow_and_shrink_with_its_key(struct stage *s)
{
    static const struct { uint32_t slots, levels; } steps[] = {
        { 1, 0 }, { 2, 1 }, { 15, 1 }, { 16, 2 }, { 40, 2 }, { 225, 2 }, { 100, 2 }, { 15, 2 },
        { 1, 2 }, { 2, 2 }, { 225, 2 },
    };

    struct kp__subpool *sub = stage_key(s);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        while (sub->count[KP__IDLE] < steps[i].slots) stage_idle(s, sub);
        shrink(s, sub, steps[i].slots);
        assert_true(lane_open_again(s, sub));
        lane_assert(sub, steps[i].slots, steps[i].levels);
        lane_shut(s, sub);
        assert_int_equal(lane_shape(sub), 0);
    }
}

static void room_for_cells_must_not_be_made_anew_while_it_is_enough(struct stage *s)
{
    struct kp__subpool *sub = lane_key(s, 16, 0);
    assert_true(lane_open(s, sub));
    assert_int_equal(sub->lane_books->room, 30);
    lane_shut(s, sub);
    uint32_t first = kp__listed(&kp__tops, atomic_load(&KP__LANE_OF(sub)->top), 0);
    struct lines_bound bounds[] = { lines_bind(&kp__tops, 0), lines_bind(&kp__lists, 0) };
    for (uint32_t n = 17; n <= 30; n++) {
        stage_idle(s, sub);
        assert_true(lane_open(s, sub));
        lane_assert(sub, n, 2);
        lane_shut(s, sub);
    }
    assert_int_equal(kp__listed(&kp__tops, atomic_load(&KP__LANE_OF(sub)->top), 0), first);
    lines_unbound(bounds[0]);
    lines_unbound(bounds[1]);
}

/* A thread that read the shape and then slept may find any later list there: what it reads must be
 * the number of a cell that exists, or 0. */
static void an_old_shape_must_lead_to_a_cell_by_any_later_list(struct stage *s)
{
    static const uint32_t sizes[] = { 1, 15, 225, 16 };
    static const uint32_t shapes[] = { KP__SHAPE(1, 0), KP__SHAPE(15, 1), KP__SHAPE(225, 2) };

    for (int i = 0; i < 40; i++) assert_true(lane_open(s, lane_key(s, 2, 1))); /* many lists */
    for (int i = 0; i < 4; i++) {
        struct kp__subpool *sub = lane_key(s, (int)sizes[i], 0);
        assert_true(lane_open(s, sub));
        for (int old = i > 0; old < 3; old++)
            for (uint32_t k = 0; k < (shapes[old] & KP__SHAPE_CELLS); k++) {
                uint32_t number = kp__lane_cell(KP__LANE_OF(sub), shapes[old], k);
                assert_true(number == 0 || kp__cell_at(number) != NULL);
            }
        lane_bury(s, sub); /* the next has its lane */
    }
}

/* ---- which ----------------------------------------------------------------------------------- */

static void what_must_not_end_by_its_word_must_not_be_on_the_lane(struct stage *s)
{
    struct kp__subpool *sub = lane_key(s, 7, 5);
    struct kp__slot *lent[5];
    int n = 0;
    for STAGE_EACH (l, KP__SLOTS(sub, KP__LENT))
        lent[n++] = KP__OF((struct kp__list *)(uintptr_t)l, struct kp__slot, link);
    kp__errand_of(lent[0])->doomed = true;
    kp__seat_at(lent[1], 0)->decided = true;
    kp__seat_at(lent[2], 0)->ending = true;
    (void)kp__probe_begin(&s->core, sub, s->now);
    kp__circuit_forgive(&s->core, sub); /* closed, with one out */
    kp__seat_at(lent[3], 0)->probe = true;
    struct kp__slot *idle = kp__oldest_idle(sub);
    kp__lane_open(&s->core, sub, s->now);
    assert_true(sub->open);
    lane_assert(sub, 3, 1);
    assert_true(lent[4]->on_lane && idle->on_lane);
    for (int i = 0; i < 4; i++) { /* by their words they cannot end */
        assert_false(lent[i]->on_lane);
        assert_false(lane_give(lent[i]) || lane_take(lent[i], "t", NULL));
    }
    lane_shut(s, sub);
    kp__errand_of(lent[0])->doomed = kp__seat_at(lent[2], 0)->ending = false;
    assert_true(lane_open_again(s, sub));
    lane_assert(sub, 5, 1);
    kp__seat_at(lent[2], 0)->ending = false;
}

/* Its key was given other rules since it was made. */
static void what_has_more_than_one_seat_must_not_be_on_the_lane(struct stage *s)
{
    static struct kp__rules one; /* the key keeps them */

    one = stage_rules();
    s->rules.sharing = 3;
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *shared = stage_lend(s, sub);
    assert_ptr_equal(stage_lend(s, sub), shared);
    struct kp__slot *idle = stage_idle(s, sub);
    stage_rule(s, sub, &one, -1, -1);
    assert_false(lane_open(s, sub));
    assert_int_equal(sub->lane_books->cells, 0);
    struct kp__slot *plain = stage_idle(s, sub);
    assert_true(lane_open(s, sub));
    lane_assert(sub, 1, 1);
    assert_true(plain->on_lane && !shared->on_lane && !idle->on_lane);
    assert_int_equal(shared->cell, 0);
    assert_int_equal(*(uint64_t *)kp__line(&kp__cells, 0), 0);
    uint64_t since = s->now += 5;
    assert_true(lane_take(plain, "t", NULL));
    stage_give(s, shared, 0, true); /* to end its lease is to look at the key */
    assert_false(sub->open);
    assert_int_equal(plain->state, KP__LENT);
    assert_int_equal(kp__seat_at(plain, 0)->since, since);
    assert_int_equal(shared->state, KP__LENT);
    stage_give(s, shared, 1, true);
}

/* ---- used again ------------------------------------------------------------------------------ */

static void a_cell_must_be_written_once_and_belong_to_another_slot_afterwards(struct stage *s)
{
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = stage_idle(s, sub);
    assert_true(lane_open(s, sub));
    uint32_t number = slot->cell;
    struct kp__cell *cell = KP__CELL_OF(slot);
    lane_shut(s, sub);
    cell->resource = s; /* as a mark: it is not written again while the slot has the cell */
    assert_true(lane_open(s, sub));
    assert_int_equal(slot->cell, number);
    assert_ptr_equal(cell->resource, s);
    lane_shut(s, sub);
    shrink(s, sub, 0);
    assert_int_equal(slot->cell, 0);
    assert_int_equal(atomic_load(&cell->id), 0);
    kp__cell_drop(&s->core, slot); /* it has none any more */
    struct kp__subpool *other = stage_key(s);
    struct kp__slot *next = stage_idle(s, other);
    assert_true(lane_open(s, other));
    assert_int_equal(next->cell, number);
    assert_ptr_equal(cell->resource, next->resource);
    assert_int_equal(cell->lane, kp__lane_number(other));
    assert_int_equal(atomic_load(&cell->id), UINT64_C(7) << 32 | next->item.index);
    LANE_SAYS(next, next->generation, KP__WORD_IDLE);
}

/* A thread that has an old lease, or is about to change its word, never finds an older word
 * again. */
static void the_word_of_a_cell_must_never_come_back_to_an_old_one(struct stage *s)
{
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = stage_idle(s, sub);
    assert_true(lane_open(s, sub));
    uint32_t number = slot->cell;
    struct kp__cell *cell = KP__CELL_OF(slot);
    uint64_t begin = slot->generation;
    lane_use(slot, 3);
    lane_shut(s, sub);
    for (int i = 0; i < 2; i++) stage_give(s, stage_lend(s, sub), 0, true); /* its word sleeps */
    assert_int_equal(slot->generation, begin + 5);
    assert_int_equal(atomic_load(&cell->word), kp__word(begin + 3, KP__SHUT));
    shrink(s, sub, 0);
    assert_int_equal(atomic_load(&cell->word), kp__word(begin + 5, KP__SHUT));
    /* the next goes on from there, if it was not farther itself */
    for (uint64_t own = begin; own < begin + 10; own += 9) {
        struct kp__subpool *other = stage_key(s);
        struct kp__slot *next = stage_idle(s, other);
        next->generation = own;
        assert_true(lane_open(s, other));
        assert_int_equal(next->cell, number);
        assert_int_equal(next->generation, own == begin ? begin + 5 : own);
        LANE_SAYS(next, next->generation, KP__WORD_IDLE);
        lane_shut(s, other);
        assert_int_equal(next->lends, 0);
        lane_bury(s, other);
    }
}

/* Its lease was written without a cell, so it could not end by one. */
static void what_is_lent_must_get_a_cell_when_it_comes_back_and_not_before(struct stage *s)
{
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *lent = stage_lend(s, sub), *idle = stage_idle(s, sub);
    assert_true(lane_open(s, sub));
    lane_assert(sub, 1, 1);
    assert_true(idle->on_lane && !lent->on_lane);
    assert_int_equal(lent->cell, 0);
    lane_shut(s, sub);
    stage_give(s, lent, 0, true);
    assert_true(lane_open(s, sub));
    lane_assert(sub, 2, 1);
}

static void a_lane_must_be_nobodys_when_its_key_goes_and_be_used_again(struct stage *s)
{
    struct kp__subpool *sub = stage_key(s);
    kp__lane_drop(&s->core, sub); /* it has none yet */
    assert_true(kp__lane_make(&s->core, sub));
    uint32_t number = kp__lane_number(sub);
    struct kp__lane *lane = KP__LANE_OF(sub);
    atomic_store(&lane->pin, 17);
    assert_true(kp__lane_make(&s->core, sub));
    assert_int_equal(kp__lane_number(sub), number);
    assert_int_equal(atomic_load(&lane->pin), 17);
    for (int i = 0; i < 17; i++) stage_idle(s, sub);
    assert_true(lane_open(s, sub));
    assert_int_equal(kp__lane_number(sub), number);
    lane_shut(s, sub);
    shrink(s, sub, 0);
    kp__lane_drop(&s->core, sub);
    assert_int_equal(atomic_load(&lane->pin), 0);
    assert_int_equal(kp__lane_number(sub), 0);
    struct kp__subpool *other = lane_key(s, 1, 0);
    assert_true(lane_open(s, other));
    assert_int_equal(kp__lane_number(other), number);
    lane_assert(other, 1, 0);
    assert_int_equal(lane->sub, other->item.index);
}

/* ---- names ----------------------------------------------------------------------------------- */

/* As flow/find.c does it. */
static void name_key(struct kp__subpool *sub, const char *text, size_t size)
{
    sub->key_size = (uint32_t)size;
    sub->far = size >= KP__NEAR;
    if (!sub->far) memcpy(sub->key.near, text, size);
    else sub->key.far = (void *)(uintptr_t)text;
}

static void a_lane_must_carry_its_pool_and_its_key_or_where_that_is(struct stage *s)
{
    static char text[KP__LANE_KEY + 2] = "any bytes";

    for (size_t size = 0; size < sizeof text; size++) {
        struct kp__subpool *sub = stage_key(s);
        name_key(sub, text, size);
        s->core.by_bytes = true;
        assert_true(kp__lane_make(&s->core, sub));
        const struct kp__lane *lane = KP__LANE_OF(sub);
        const char *at = text;
        assert_int_equal(lane->key_size, size);
        assert_int_equal(lane->pool, s->core.id);
        if (size <= KP__LANE_KEY) assert_memory_equal(lane->key, text, size);
        else assert_memory_equal(lane->key, &at, sizeof at);
        /* keys of another kind, and those that are too long, are not looked into */
        for (int bytes = 0; bytes < 2; bytes++) {
            struct kp__subpool *other = stage_key(s);
            s->core.by_bytes = bytes;
            other->key_size = bytes ? KP__GUIDED_MOST + 1 : 1000;
            assert_true(kp__lane_make(&s->core, other));
            assert_int_not_equal(KP__LANE_OF(other)->key_size, other->key_size);
            lane_bury(s, other);
        }
        lane_bury(s, sub);
    }
}

/* To its only cell if it is brief, else to its lane; 0: it is not guided. */
static uint32_t leads(const struct stage *s, const struct kp__subpool *sub)
{
    const struct kp__list *node = kp__list_first(KP__SLOTS(sub, KP__IDLE));

    if (!s->core.by_bytes || !s->core.guide) return 0;
    if (sub->key_size > KP__BRIEF || sub->lane_books->cells > 1)
        return KP__TO_LANE | kp__lane_number(sub);
    return KP__OF(node, struct kp__slot, link)->cell;
}

static void a_key_of_bytes_must_be_found_by_its_hash_until_it_goes(struct stage *s)
{
    static char text[] = "a key of 22 bytes, say";
    static const size_t sizes[] = { 0, 3, KP__BRIEF, KP__BRIEF + 1, sizeof text - 1 };

    struct kp__guide *guide = kp__guide_make(10);
    for (int i = 0; i < 4 * 5; i++) {
        uint64_t hash = kp__quick_hash(s->core.quick_seed, text, sizes[i / 4]);
        s->core.by_bytes = i & 1;
        s->core.guide = i & 2 ? guide : NULL;
        struct kp__subpool *sub = stage_key(s);
        name_key(sub, text, sizes[i / 4]);
        for (int more = 0; more < 2; more++) {
            stage_idle(s, sub);
            assert_true(lane_open(s, sub));
            assert_int_equal(kp__guide_find(guide, hash), leads(s, sub));
            lane_shut(s, sub); /* it stays there, to be looked at */
            assert_int_equal(kp__guide_find(guide, hash), leads(s, sub));
        }
        bool guided = s->core.by_bytes && s->core.guide;
        if (!guided) kp__guide_enter(guide, hash, 99); /* of another key */
        lane_bury(s, sub);
        assert_int_equal(kp__guide_find(guide, hash), guided ? 0 : 99);
        kp__guide_leave(guide, hash);
    }
    s->core.guide = NULL;
    kp__guide_drop(guide);
}

/* Otherwise gets of this key would claim, again and again, what is another key's now. */
static void no_guide_must_lead_to_a_cell_that_went(struct stage *s)
{
    struct kp__guide *guide = kp__guide_make(10);
    s->core.by_bytes = true;
    s->core.guide = guide;
    for (int closing = 0; closing < 2; closing++) {
        struct kp__subpool *sub = stage_key(s);
        name_key(sub, "key", 3);
        struct kp__slot *slot = stage_idle(s, sub);
        assert_true(lane_open(s, sub));
        lane_shut(s, sub);
        uint64_t hash = kp__quick_hash(s->core.quick_seed, "key", 3);
        assert_int_not_equal(kp__guide_find(guide, hash), 0);
        if (closing) s->core.phase = KP__DRAINING;
        kp__cell_drop(&s->core, slot);
        assert_int_equal(kp__guide_find(guide, hash) != 0, closing);
        s->core.phase = KP__OPEN;
        lane_bury(s, sub);
    }
    s->core.guide = NULL;
    kp__guide_drop(guide);
}

/* A borrower compares it with the key that it asked for. */
static void a_cell_must_carry_a_key_that_is_brief(struct stage *s)
{
    static char text[] = "a key of 22 bytes, say";

    for (int bytes = 0; bytes < 2; bytes++) {
        for (size_t size = 0; size < sizeof text; size++) {
            struct kp__subpool *sub = stage_key(s);
            s->core.by_bytes = bytes;
            name_key(sub, text, size);
            struct kp__slot *slot = stage_idle(s, sub);
            assert_true(lane_open(s, sub));
            const struct kp__cell *cell = KP__CELL_OF(slot);
            bool brief = bytes && size <= KP__BRIEF;
            assert_int_equal(cell->key_size, brief ? size : KP__NOT_BRIEF);
            struct kp__brief key = kp__brief_of(text, size);
            if (brief) assert_memory_equal(&cell->key, &key, sizeof key);
            lane_shut(s, sub);
            lane_bury(s, sub);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LANE_TEST(as_many_as_there_are_must_be_found),
        LANE_TEST(with_more_than_225_it_must_stay_shut),
        LANE_TEST(a_lane_must_grow_and_shrink_with_its_key),
        LANE_TEST(room_for_cells_must_not_be_made_anew_while_it_is_enough),
        LANE_TEST(an_old_shape_must_lead_to_a_cell_by_any_later_list),
        LANE_TEST(what_must_not_end_by_its_word_must_not_be_on_the_lane),
        LANE_TEST(what_has_more_than_one_seat_must_not_be_on_the_lane),
        LANE_TEST(a_cell_must_be_written_once_and_belong_to_another_slot_afterwards),
        LANE_TEST(the_word_of_a_cell_must_never_come_back_to_an_old_one),
        LANE_TEST(what_is_lent_must_get_a_cell_when_it_comes_back_and_not_before),
        LANE_TEST(a_lane_must_be_nobodys_when_its_key_goes_and_be_used_again),
        LANE_TEST(a_lane_must_carry_its_pool_and_its_key_or_where_that_is),
        LANE_TEST(a_key_of_bytes_must_be_found_by_its_hash_until_it_goes),
        LANE_TEST(no_guide_must_lead_to_a_cell_that_went),
        LANE_TEST(a_cell_must_carry_a_key_that_is_brief),
    };

    return cmocka_run_group_tests_name("core/lane lists", tests, NULL, NULL);
}
