/* SPDX-License-Identifier: MIT
 *
 * Homes: a cell that is used much is swung on one processor only, without an atomic operation
 * (base/home.h). Under the pool's lock they are given and taken; a lane that is shut has none.
 */
#include "core/lane.h"

#include "core/core.h"

/* The cell of a slot, if it is marked: it has a home, or was lent when it had one. Or NULL. */
static struct kp__cell *marked(const struct kp__slot *slot)
{
    struct kp__cell *cell = slot->on_lane ? KP__CELL_OF(slot) : NULL;

    /* relaxed: only who has the lock marks words */
    return cell && (atomic_load_explicit(&cell->word, memory_order_relaxed) & KP__HOMED) ? cell
                                                                                         : NULL;
}

/* ---- given ----------------------------------------------------------------------------------- */

/* To take homes costs a system call, while others may want the lock. So over the whole pool they
 * are taken once for each KP__HOME_PRICE leases that settle at most, in the long run; and SAVED
 * times in a row, after a time in which none were. */
enum { SAVED = 16 };

/* This lease's number says that its cell settles: may it have a home? Not a lease of a home before:
 * by a copy it could still be ended at the new one. Nor a stale one, whose cell may be marked;
 * what is not marked now, stays so while we have the lock. */
static bool may_settle(struct kp__core *core, const struct kp__cell *cell, uint64_t word)
{
    /* relaxed: as above */
    if (!core->homes || (word & (KP__WORD_STATE | KP__NOT_SETTLING)) != KP__GONE ||
        atomic_load_explicit(&cell->word, memory_order_relaxed) != word)
        return false;
    if (core->settled < SAVED * KP__HOME_PRICE) core->settled++;
    return core->settled > 0;
}

bool kp__home_settle(struct kp__core *core, const struct kp__slot *slot, uint64_t word)
{
    struct kp__cell *cell = KP__CELL_OF(slot);
    uint64_t idle = (word & ~(uint64_t)KP__HOMED) - (KP__GONE - KP__HERE);
    uint16_t here = may_settle(core, cell, word) ? kp__home_here() : KP__NOBODYS;

    if (here != KP__NOBODYS) {
        /* release: pairs with the comparison of a sequence there, which then finds no word from
         * before in the cell, of another home; none that is under way knows this one */
        atomic_store_explicit(&cell->home, here, memory_order_release);
        idle |= KP__HOMED;
    }
    /* release: pairs with the acquire of who takes it next, or shuts the lane */
    if (!atomic_compare_exchange_strong_explicit(&cell->word, &word, idle, memory_order_release,
                                                 memory_order_relaxed))
        return false;
    if (here != KP__NOBODYS) slot->sub->term->homes++;
    return true;
}

/* ---- taken ----------------------------------------------------------------------------------- */

static void evict(struct kp__cell *cell)
{
    /* relaxed: kp__sequences_end brings it to all */
    atomic_store_explicit(&cell->home, KP__NOBODYS, memory_order_relaxed);
}

/* No sequence will change it any more. What was lent there stays marked, as its lease is. */
static void unmark(struct kp__cell *cell)
{
    /* acquire: pairs with the releases at home, before kp__sequences_end; from here on it is the
     * lock's holder's */
    uint64_t word = atomic_load_explicit(&cell->word, memory_order_acquire);

    /* release: pairs with the acquire of who takes it next */
    if (word & KP__HERE)
        atomic_store_explicit(&cell->word, word & ~(uint64_t)KP__HOMED, memory_order_release);
}

/* Of all cells of an open lane that are marked. For those without a home, there is nothing to it.
 */
static void each_marked(const struct kp__subpool *sub, void (*what)(struct kp__cell *))
{
    for (int state = KP__IDLE; state <= KP__LENT; state++) {
        const struct kp__list *list = KP__SLOTS(sub, state), *node;
        for (node = kp__list_first(list); node; node = kp__list_next(list, node)) {
            struct kp__cell *cell = marked(KP__OF(node, const struct kp__slot, link));
            if (cell) what(cell);
        }
    }
}

static void end_sequences(struct kp__core *core)
{
    kp__sequences_end();
    core->settled -= KP__HOME_PRICE;
}

void kp__home_take(struct kp__core *core, const struct kp__slot *slot)
{
    struct kp__cell *cell = marked(slot);

    /* relaxed: only who has the lock gives and takes homes */
    if (!cell || atomic_load_explicit(&cell->home, memory_order_relaxed) == KP__NOBODYS) return;
    evict(cell);
    end_sequences(core);
    unmark(cell);
    slot->sub->term->homes--;
}

bool kp__homes_take(struct kp__core *core, struct kp__subpool *const *subs, uint32_t many)
{
    bool any = false;

    for (uint32_t i = 0; i < many; i++) {
        if (subs[i]->term->homes == 0) continue;
        each_marked(subs[i], evict);
        any = true;
    }
    if (!any) return false;
    end_sequences(core);
    for (uint32_t i = 0; i < many; i++) {
        if (subs[i]->term->homes > 0) each_marked(subs[i], unmark);
        subs[i]->term->homes = 0;
    }
    return true;
}
