/* SPDX-License-Identifier: MIT
 *
 * Homes: the word of a cell that is used much is swung on one processor only, without an atomic
 * operation (base/home.h). Homes are given, and taken away, under the pool's lock; while a lane is
 * shut, none of its cells has one (I7).
 */
#include "core/lane.h"

#include "core/core.h"

/* The cell of a slot, if its lane is open and its word is marked KP__HOMED: it has a home, or had
 * one when it was lent. Or NULL. */
static struct kp__cell *marked(const struct kp__slot *slot)
{
    struct kp__cell *cell = slot->on_lane ? KP__CELL_OF(slot) : NULL;

    /* relaxed: a mark is set and removed under the lock only */
    return cell && (atomic_load_explicit(&cell->word, memory_order_relaxed) & KP__HOMED) ? cell
                                                                                         : NULL;
}

/* ---- given ----------------------------------------------------------------------------------- */

/* Taking homes away costs a system call, while others may want the lock. So in the long run, over
 * the whole pool, it happens at most once for each KP__HOME_PRICE leases that seek a home, of which
 * core->home_credit keeps account; and after a time without, at most SAVED times in a row. */
enum { SAVED = 16 };

/* May the end of this lease give its cell a home? Its number must be one that seeks a home. It must
 * not have been lent at an earlier home: a copy of it could still end it at the new one. Nor may it
 * be stale: the cell's word may be marked then. A word that is not marked now stays so while we
 * have the lock. */
static bool may_get_home(struct kp__core *core, const struct kp__cell *cell, uint64_t word)
{
    /* relaxed: as above */
    if (!core->homes || (word & (KP__WORD_STATE | KP__NOT_SEEKING)) != KP__WORD_LENT ||
        atomic_load_explicit(&cell->word, memory_order_relaxed) != word)
        return false;
    if (core->home_credit < SAVED * KP__HOME_PRICE) core->home_credit++;
    return core->home_credit > 0;
}

bool kp__home_seek(struct kp__core *core, const struct kp__slot *slot, uint64_t word)
{
    struct kp__cell *cell = KP__CELL_OF(slot);
    uint64_t idle = (word & ~(uint64_t)KP__HOMED) - (KP__WORD_LENT - KP__WORD_IDLE);
    uint16_t here = may_get_home(core, cell, word) ? kp__home_here() : KP__NO_HOME;

    if (here != KP__NO_HOME) {
        /* release: pairs with the acquire of the home in a sequence (base/home.h). A sequence that
         * finds this home finds no word in the cell that was there at an earlier home; and none
         * can expect the marked word yet, which is stored below */
        atomic_store_explicit(&cell->home, here, memory_order_release);
        idle |= KP__HOMED;
    }
    /* release: pairs with the acquire of whoever claims it next, who then finds the home, too, or
     * shuts the lane */
    if (!atomic_compare_exchange_strong_explicit(&cell->word, &word, idle, memory_order_release,
                                                 memory_order_relaxed))
        return false;
    if (here != KP__NO_HOME) slot->sub->lane_books->homes++;
    return true;
}

/* ---- taken ----------------------------------------------------------------------------------- */

static void clear_home(struct kp__cell *cell)
{
    /* relaxed: kp__sequences_end, called next, makes it known to all threads */
    atomic_store_explicit(&cell->home, KP__NO_HOME, memory_order_relaxed);
}

/* No sequence will change the word any more. If it is lent, it stays marked, as its lease is. */
static void unmark(struct kp__cell *cell)
{
    /* acquire: pairs with the release of the last sequence that swung it. None can any more; so
     * until the store below, nobody but the lock's holder can change a marked word */
    uint64_t word = atomic_load_explicit(&cell->word, memory_order_acquire);

    /* release: pairs with the acquire of whoever claims it next */
    if (word & KP__WORD_IDLE)
        atomic_store_explicit(&cell->word, word & ~(uint64_t)KP__HOMED, memory_order_release);
}

/* Call `what` for each marked cell of an open lane. In those that have no home it changes nothing.
 */
static void each_marked(const struct kp__subpool *sub, void (*what)(struct kp__cell *))
{
    const struct kp__slot *slot = NULL;

    while ((slot = kp__next_idle_or_lent(sub, slot)) != NULL) {
        struct kp__cell *cell = marked(slot);
        if (cell) what(cell);
    }
}

static void end_sequences(struct kp__core *core)
{
    kp__sequences_end();
    core->home_credit -= KP__HOME_PRICE;
}

void kp__home_take(struct kp__core *core, const struct kp__slot *slot)
{
    struct kp__cell *cell = marked(slot);

    /* relaxed: homes are given and taken away under the lock only */
    if (!cell || atomic_load_explicit(&cell->home, memory_order_relaxed) == KP__NO_HOME) return;
    clear_home(cell);
    end_sequences(core);
    unmark(cell);
    slot->sub->lane_books->homes--;
}

bool kp__homes_take(struct kp__core *core, struct kp__subpool *const *subs, uint32_t many)
{
    bool any = false;

    for (uint32_t i = 0; i < many; i++) {
        if (subs[i]->lane_books->homes == 0) continue;
        each_marked(subs[i], clear_home);
        any = true;
    }
    if (!any) return false;
    end_sequences(core);
    for (uint32_t i = 0; i < many; i++) {
        if (subs[i]->lane_books->homes > 0) each_marked(subs[i], unmark);
        subs[i]->lane_books->homes = 0;
    }
    return true;
}
