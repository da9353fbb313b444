/* SPDX-License-Identifier: MIT
 *
 * What the tests of core/home.c share: cells with homes, and a look at the state between the end of
 * a home and the change of its word. Only the test itself changes words here, so it does not matter
 * whether it runs on the home's processor.
 */
#ifndef KP_TESTS_CORE_HOMES_H
#define KP_TESTS_CORE_HOMES_H

#include "core_lanes.h"
#include "home_pin.h"

/* ---- what the end of all sequences finds ----------------------------------------------------- */

static int ends;               /* calls of kp__sequences_end since end_none */
static int leaving;            /* watched cells that were marked, with no home, at the last call */
static struct kp__slot *watched[64];
static int watches;

static inline void end_none(void)
{
    ends = leaving = 0;
}

/* Replaces the library's, which is not needed as there is no other thread: by the linker, or
 * because it is found first (tools/mutate.py). */
#ifdef KP_TESTS_COME_FIRST
#define sequences_end kp__sequences_end
#else
void __wrap_kp__sequences_end(void);

#define sequences_end __wrap_kp__sequences_end
#endif

void sequences_end(void)
{
    ends++;
    leaving = 0;
    for (int i = 0; i < watches; i++) {
        const struct kp__cell *cell = KP__CELL_OF(watched[i]);
        bool is_marked = atomic_load(&cell->word) & KP__HOMED;
        leaving += is_marked && atomic_load(&cell->home) == KP__NO_HOME;
    }
}

enum { SAVED = 16, MAY_BE_TAKEN = SAVED * KP__HOME_PRICE }; /* leases in a row; times the price */

#if KP__SEQUENCES
/* ---- steps ----------------------------------------------------------------------------------- */

/* A stage whose cells may have homes, and count their leases from 0. No home was taken away so far,
 * and that may happen often. */
static inline void home_stage(struct stage *s)
{
    pin_or_skip();
    for (uint32_t at = kp__cells.free; at; at = *lines_next(&kp__cells, at))
        atomic_store(&((struct kp__cell *)kp__line(&kp__cells, at))->word, 0);
    s->core.homes = true;
    s->core.home_credit = MAY_BE_TAKEN;
    watches = 0;
    end_none();
}

static inline uint16_t home_of(const struct kp__slot *slot)
{
    return atomic_load(&KP__CELL_OF(slot)->home);
}

static inline uint64_t generation_of(const struct kp__slot *slot)
{
    return lane_word(slot) >> KP__WORD_BITS;
}

/* Uses the slot until it is lent for the g-th time. */
static inline uint64_t lend(struct kp__slot *slot, uint64_t g)
{
    lane_use(slot, (int)(g - generation_of(slot)) - 1);
    assert_true(lane_take(slot, "lent", slot));
    assert_int_equal(generation_of(slot), g);
    return lane_word(slot);
}

static inline bool seek(struct stage *s, struct kp__slot *slot, uint64_t lease)
{
    bool ended = kp__home_seek(&s->core, slot, lease);

    stage_check(s);
    return ended;
}

/* The g-th lease ends with the lock. Has its cell a home then? */
static inline bool gets_home(struct stage *s, struct kp__slot *slot, uint64_t g)
{
    assert_true(seek(s, slot, lend(slot, g)));
    bool has = lane_word(slot) & KP__HOMED;
    LANE_SAYS(slot, g, has ? KP__WORD_IDLE | KP__HOMED : KP__WORD_IDLE);
    return has;
}

/* One slot, idle on an open lane, that got a home at the end of the g-th lease. */
static inline struct kp__slot *at_home(struct stage *s, struct kp__subpool *sub, uint64_t g)
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

static inline struct kp__slot *one_at_home(struct stage *s)
{
    home_stage(s);
    return at_home(s, stage_key(s), KP__SEEKS);
}

static inline void take(struct stage *s, struct kp__slot *slot)
{
    kp__home_take(&s->core, slot);
    stage_check(s);
}
#endif

#endif
