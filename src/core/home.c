/* SPDX-License-Identifier: MIT
 *
 * Homes: a cell that is used much is swung on one processor only, without an atomic operation
 * (base/home.h). Under the pool's lock they are given and taken; a lane that is shut has none.
 */
#include "core/lane.h"
#include "core/table.h"

/* The cell of a slot, if it is marked: it has a home, or was lent when it had one. Or NULL. */
static struct kp__cell *marked(const struct kp__slot *slot)
{
    struct kp__cell *cell = slot->on_lane ? KP__CELL_OF(slot) : NULL;

    /* relaxed: only who has the lock marks words */
    return cell && (atomic_load_explicit(&cell->word, memory_order_relaxed) & KP__HOMED) ? cell
                                                                                         : NULL;
}

/* ---- given ----------------------------------------------------------------------------------- */

/* Where others came for a cell from elsewhere, or the lane was shut, that cost a system call; so
 * it has to be used for longer before it gets the next home, up to MOST times. */
enum { MOST = 16 };

bool kp__home_settle(const struct kp__core *core, const struct kp__slot *slot, uint64_t word)
{
    struct kp__cell *cell = KP__CELL_OF(slot);
    struct kp__term *term = slot->sub->term;
    uint64_t idle = (word & ~(uint64_t)KP__HOMED) - (KP__GONE - KP__HERE);
    uint16_t here = KP__NOBODYS;

    /* a lease of a home before could still be ended at the new one, by a copy: it gets none; nor
     * does a stale one, whose cell may be lent and marked. relaxed: with such a number nobody else
     * swings it without the lock */
    if (core->homes && (word & KP__WORD_STATE) == KP__GONE &&
        (word >> KP__WORD_BITS & ((uint64_t)KP__SETTLES * (term->roams + 1u) - 1)) == 0 &&
        atomic_load_explicit(&cell->word, memory_order_relaxed) == word)
        here = kp__home_here();
    if (here != KP__NOBODYS) {
        /* relaxed: the release below says that it is written; and no sequence for this word is
         * under way, since it lost its last home */
        atomic_store_explicit(&cell->home, here, memory_order_relaxed);
        idle |= KP__HOMED;
    }
    /* release: pairs with the acquire of who takes it next, or shuts the lane */
    if (!atomic_compare_exchange_strong_explicit(&cell->word, &word, idle, memory_order_release,
                                                 memory_order_relaxed))
        return false;
    if (here != KP__NOBODYS) term->homes++;
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

static void roam(struct kp__term *term, uint8_t homes)
{
    term->homes = (uint8_t)(term->homes - homes);
    if (term->roams < MOST - 1) term->roams = (uint8_t)(2 * term->roams + 1);
}

void kp__home_take(const struct kp__slot *slot)
{
    struct kp__cell *cell = marked(slot);

    /* relaxed: only who has the lock gives and takes homes */
    if (!cell || atomic_load_explicit(&cell->home, memory_order_relaxed) == KP__NOBODYS) return;
    evict(cell);
    kp__sequences_end();
    unmark(cell);
    roam(slot->sub->term, 1);
}

bool kp__homes_take(const struct kp__subpool *sub)
{
    if (sub->term->homes == 0) return false;
    each_marked(sub, evict);
    kp__sequences_end();
    each_marked(sub, unmark);
    roam(sub->term, sub->term->homes);
    return true;
}

/* The next key that has homes, and so an open lane. */
static struct kp__subpool *next_homed(struct kp__core *core, struct kp__subpool *sub)
{
    do sub = kp__next_sub(core, sub);
    while (sub && !(sub->term && sub->term->homes));
    return sub;
}

void kp__homes_take_all(struct kp__core *core)
{
    struct kp__subpool *sub = next_homed(core, NULL);

    if (!sub) return;
    for (; sub; sub = next_homed(core, sub)) each_marked(sub, evict);
    kp__sequences_end();
    while ((sub = next_homed(core, sub)) != NULL) {
        each_marked(sub, unmark);
        roam(sub->term, sub->term->homes);
    }
}
