/* SPDX-License-Identifier: MIT
 *
 * What the tests of core/lane.c share: a stage whose keys may open lanes; a get and a release
 * without the lock, reduced to the few steps of flow/hit.c that matter; and how many lines are in
 * use.
 */
#ifndef KP_TESTS_CORE_LANES_H
#define KP_TESTS_CORE_LANES_H

#include "core_stage.h"

/* ---- lines ----------------------------------------------------------------------------------- */

static inline uint32_t lines_made(const struct kp__lines *kind)
{
    uint32_t made = atomic_load(&kind->made);

    return made ? made - 1 : 0;
}

static inline uint32_t *lines_next(struct kp__lines *kind, uint32_t number)
{
    char *line = kp__line(kind, number);

    return (uint32_t *)(void *)(line + KP__LINE - sizeof(uint32_t));
}

static inline uint32_t lines_free(struct kp__lines *kind)
{
    uint32_t n = 0;

    for (uint32_t at = kind->free; at; at = *lines_next(kind, at)) n++;
    return n;
}

/* How many lines of this kind are in use. */
static inline uint32_t lines_used(struct kp__lines *kind)
{
    return lines_made(kind) - lines_free(kind);
}

/* Only so many more lines of this kind can be had, until lines_unbound. */
struct lines_bound {
    struct kp__lines *kind;
    uint32_t made, free, most;
};

static inline struct lines_bound lines_bind(struct kp__lines *kind, int more)
{
    uint32_t number[64];

    assert_true(more < 64);
    for (int i = 0; i < more; i++) number[i] = kp__lines_take(kind);
    struct lines_bound bound = { kind, atomic_load(&kind->made), kind->free, kind->most };
    kind->free = 0;
    while (more > 0) kp__lines_give(kind, number[--more]);
    atomic_store(&kind->made, KP__LINES_MOST);
    kind->most = KP__LINES_MOST;
    return bound;
}

static inline void lines_unbound(struct lines_bound bound)
{
    uint32_t at = bound.kind->free, next;

    atomic_store(&bound.kind->made, bound.made);
    bound.kind->most = bound.most;
    bound.kind->free = bound.free;
    for (; at; at = next) {
        next = *lines_next(bound.kind, at);
        kp__lines_give(bound.kind, at);
    }
}

static struct kp__lines *const lines_kinds[] = { &kp__cells, &kp__lanes, &kp__lists, &kp__tops };
static uint32_t lines_before[4];

/* ---- one lane -------------------------------------------------------------------------------- */

/* A stage whose keys may open lanes. */
static inline void lane_stage(struct stage *s)
{
    for (int i = 0; i < 4; i++) lines_before[i] = lines_used(lines_kinds[i]);
    stage_open(s);
    s->core.lanes = true;
}

/* Open it now, and say whether it is open. */
static inline bool lane_open(struct stage *s, struct kp__subpool *sub)
{
    kp__lane_open(&s->core, sub, s->now);
    stage_check(s);
    assert_true(s->core.lent.used <= s->core.lent.cap);
    return sub->open;
}

static inline void lane_shut(struct stage *s, struct kp__subpool *sub)
{
    kp__lane_shut(&s->core, sub, s->now);
    assert_false(sub->open);
    stage_check(s);
}

/* One that is lent and has a cell, because it was once idle on an open lane. */
static inline struct kp__slot *lane_lend(struct stage *s, struct kp__subpool *sub)
{
    struct kp__slot *slot = stage_idle(s, sub);

    assert_true(lane_open(s, sub));
    lane_shut(s, sub);
    assert_ptr_equal(stage_lend(s, sub), slot);
    return slot;
}

static inline uint32_t lane_shape(const struct kp__subpool *sub)
{
    return atomic_load(&KP__LANE_OF(sub)->shape);
}

static inline uint64_t lane_word(const struct kp__slot *slot)
{
    return atomic_load(&KP__CELL_OF(slot)->word);
}

/* The slot's cell says this. */
#define LANE_SAYS(slot, generation, what) \
    assert_int_equal(lane_word(slot), kp__word(generation, what))

/* Takes this one, as a get does that has found its cell. */
static inline bool lane_take(struct kp__slot *slot, const char *tag, const void *site)
{
    struct kp__cell *cell = KP__CELL_OF(slot);
    uint64_t word = atomic_load(&cell->word);

    if (!(word & KP__WORD_IDLE)) return false;
    atomic_store(&cell->word, word + KP__WORD_NEXT + (KP__WORD_LENT - KP__WORD_IDLE));
    atomic_store(&cell->tag, tag);
    atomic_store(&cell->site, site);
    return true;
}

/* Gives it back, as the release of its latest lease does. */
static inline bool lane_give(struct kp__slot *slot)
{
    uint64_t word = atomic_load(&KP__CELL_OF(slot)->word);

    if (!(word & KP__WORD_LENT)) return false;
    atomic_store(&KP__CELL_OF(slot)->word, word - (KP__WORD_LENT - KP__WORD_IDLE));
    return true;
}

/* Lends it and gives it back so many times, without the lock. */
static inline void lane_use(struct kp__slot *slot, int times)
{
    while (times-- > 0) {
        assert_true(lane_take(slot, "used", slot));
        assert_true(lane_give(slot));
    }
}

/* ---- several slots --------------------------------------------------------------------------- */

/* The lane names exactly the cells of the slots that are on it, each once. */
static inline void lane_assert(const struct kp__subpool *sub, uint32_t cells, uint32_t levels)
{
    static bool seen[1 << 12];
    uint32_t shape = lane_shape(sub), on = 0;

    assert_int_equal(shape, KP__SHAPE(cells, levels));
    assert_int_equal(sub->lane_books->cells, cells);
    memset(seen, 0, sizeof seen);
    for (uint32_t k = 0; k < cells; k++) {
        uint32_t number = kp__lane_cell(KP__LANE_OF(sub), shape, k);
        assert_in_range(number, 1, sizeof seen - 1);
        assert_false(seen[number]);
        seen[number] = true;
    }
    for (int state = KP__IDLE; state <= KP__LENT; state++) {
        for STAGE_EACH (l, KP__SLOTS(sub, state)) {
            const struct kp__slot *slot = KP__OF(l, const struct kp__slot, link);
            if (!slot->on_lane) continue;
            assert_true(seen[slot->cell]);
            LANE_SAYS(slot, slot->generation, state == KP__IDLE ? KP__WORD_IDLE : KP__WORD_LENT);
            on++;
        }
    }
    assert_int_equal(on, cells);
}

/* A key with so many slots, so many of them lent. */
static inline struct kp__subpool *lane_key(struct stage *s, int slots, int lent)
{
    struct kp__subpool *sub = stage_key(s);

    for (int i = 0; i < lent; i++) lane_lend(s, sub);
    for (int i = lent; i < slots; i++) stage_idle(s, sub);
    return sub;
}

static inline bool lane_open_again(struct stage *s, struct kp__subpool *sub)
{
    sub->shut_for = 0;
    return lane_open(s, sub);
}

/* ---- the end --------------------------------------------------------------------------------- */

/* Destroys all resources of a key, and the key: its lines are given back. */
static inline void lane_bury(struct stage *s, struct kp__subpool *sub)
{
    struct kp__list *first;

    if (sub->open) lane_shut(s, sub);
    while ((first = kp__list_first(KP__SLOTS(sub, KP__LENT))) != NULL)
        stage_give(s, KP__OF(first, struct kp__slot, link), 0, true);
    while ((first = kp__list_first(KP__SLOTS(sub, KP__IDLE))) != NULL)
        kp__close_idle(&s->core, KP__OF(first, struct kp__slot, link), KP_CAUSE_SURPLUS, &s->todo);
    stage_destroy(s);
    kp__table_drop(&s->core, sub);
}

/* The end of a stage: all keys go, and all lines must have been given back. */
static inline void lane_close(struct stage *s)
{
    struct kp__subpool *sub = NULL;

    while ((sub = kp__next_sub(&s->core, sub)) != NULL) lane_bury(s, sub);
    for (int i = 0; i < 4; i++) assert_int_equal(lines_used(lines_kinds[i]), lines_before[i]);
    stage_close(s);
}

static inline void lane_play(void **state)
{
    struct stage s;

    lane_stage(&s);
    ((const struct stage_test *)*state)->play(&s);
    lane_close(&s);
}

#define LANE_TEST(f) { #f, lane_play, NULL, NULL, &(struct stage_test){ f } }

#endif
