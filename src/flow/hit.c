/* SPDX-License-Identifier: MIT
 *
 * Claim and give back on an open lane: one swing of a word each. lane.h says why nothing is lost.
 *
 * WHICH WAY A GET GOES (kp_get, kp__get_from), if it has no ask. Each way claims a cell, and then
 * compares whose it is. Where none is to be had, the get goes the long way (kp__get). With an ask
 * (get_asking) it is hit_pinned or kp__get_by_key.
 *
 *   key             way                         what leads to the cell
 *   pinned          get_again                   it is the one found last, by the same pin; else
 *                   get_not_brief, hit_pinned   the pin, which names the key's lane
 *   up to 16 bytes  get_brief                   the guide, if it names a cell ...
 *                   get_brief_at_home           ... and that may have a home; else
 *   any other       kp__get_by_key (hit_key.c)  the guide, which names a lane or a cell
 *
 * WHICH WAY A LEASE ENDS (kp_release, kp__end_lease): swing_back; release, if it seeks a home; then
 * the long way (kp__release), which begins with kp__back_if_clean.
 */
#include "flow/hit.h"

#include <string.h>

#include "base/cancel.h"
#include "base/check.h"
#include "core/guide.h"
#include "flow/door.h"
#include "flow/find.h"

/* Where this thread looks first: at the place where it last found a cell, so that threads keep out
 * of each other's way. If this lane has no such place, at one computed from the thread's number by
 * the golden ratio, which spreads consecutive numbers evenly over any range (Knuth, TAOCP 3, 6.4).
 */
static KP__PART uint32_t first_of(uint32_t count)
{
    uint32_t thread = kp__thread_number(); /* first, as it also sets `cell` */

    if (kp__here.cell < count) return kp__here.cell;
    return (uint32_t)((uint64_t)(thread * UINT32_C(2654435769)) * count >> 32);
}

struct kp__cell *kp__claim_of_many(const struct kp__lane *lane, uint32_t shape, uint32_t *number,
                                   uint64_t *lent)
{
    uint32_t count = shape & KP__SHAPE_CELLS, k = count > 1 ? first_of(count) : 0;

    for (uint32_t i = 0; i < count; i++, k = k + 1 < count ? k + 1 : 0) {
        *number = kp__lane_cell(lane, shape, k);
        struct kp__cell *cell = (struct kp__cell *)kp__line(&kp__cells, *number);
        if (kp__swing_out(cell, lent)) {
            if (count > 1 && kp__here.cell != k) kp__here.cell = k;
            return cell;
        }
    }
    return NULL;
}

/* Swing out a cell of this lane. NULL: none could be taken here, or the lane is shut. */
static KP__PART struct kp__cell *claim(const struct kp__lane *lane, uint32_t *number,
                                       uint64_t *lent)
{
    /* acquire: pairs with the release that opened the lane (core/lane.c), after the lines that the
     * shape leads to were made. The lane may be shut by now: the swing of the word tells */
    uint32_t shape = atomic_load_explicit(&lane->shape, memory_order_acquire);

    if (shape == 0) return NULL;
    if (shape != KP__SHAPE(1, 0)) return kp__claim_of_many(lane, shape, number, lent);
    *number = kp__lane_cell(lane, KP__SHAPE(1, 0), 0);
    struct kp__cell *cell = (struct kp__cell *)kp__line(&kp__cells, *number);
    return kp__swing_out(cell, lent) ? cell : NULL;
}

/* The cell was another key's by the time it was claimed: give it back. */
static KP__APART bool undo(kp_lease *lease)
{
    kp__unlend(lease);
    return false;
}

/* Does the claimed cell belong to the key that was asked for? */
static KP__PART bool is_pinned_to(const struct kp__cell *cell, const struct kp__lane *lane,
                                  kp_key key)
{
    /* relaxed: since the claim was an acquire, this sees no pin from before the lane was opened for
     * its key, which keeps the lane while it lends */
    return cell->lane == (uint32_t)(uintptr_t)key.data &&
           atomic_load_explicit(&lane->pin, memory_order_relaxed) == key.size;
}

/* A hit by a pinned key. A resource that is lent keeps its key, its lane and its pool, so they can
 * be compared after the claim. */
static KP__PART bool hit_pinned(const kp_pool *door, kp_key key, const char *tag,
                                const void *site, kp_lease *out)
{
    uint32_t at;
    const struct kp__lane *lane = kp__lane_at((uintptr_t)key.data);
    uint64_t word;

    /* relaxed: a guess, checked after the claim */
    if (!lane || atomic_load_explicit(&lane->pin, memory_order_relaxed) != key.size ||
        !kp__pin_is_of(door->id, key.size))
        return false;
    struct kp__cell *cell = claim(lane, &at, &word);
    if (!cell) return false;
    kp__lend(cell, kp__lease_of_cell(at), word, tag, site, out);
    if (!is_pinned_to(cell, lane, key)) return undo(out);
    kp__here.door = door;
    kp__here.key = key;
    kp__here.lane = lane;
    kp__here.found = cell;
    kp__here.lease = out->opaque[2];
    return true;
}

/* The cell is not of the key that was asked for, without an ask. */
static KP__APART int undo_and_get(kp_pool *door, kp_key key, const void *site, kp_lease *out)
{
    kp__unlend(out);
    return kp__get(door, key, NULL, site, out);
}

/* A get by a brief key whose only resource may have a home. */
static KP__APART int get_brief_at_home(kp_pool *door, kp_key key, uint32_t to, const void *site,
                                       kp_lease *out)
{
    struct kp__cell *cell = (struct kp__cell *)kp__line(&kp__cells, to);
    uint64_t word;

    if (!kp__swing_out(cell, &word)) return kp__get(door, key, NULL, site, out);
    kp__lend(cell, kp__lease_of_cell(to), word, NULL, site, out);
    return kp__cell_is_of(cell, out, door, key) ? 0 : undo_and_get(door, key, site, out);
}

/* A get by a brief key, if the guide leads to its only resource. */
static KP__PART int get_brief(kp_pool *door, kp_key key, const void *site, kp_lease *out)
{
    /* acquire: pairs with the release in widen_guide (room.c), after the guide was made */
    const struct kp__guide *guide = atomic_load_explicit(&door->guide, memory_order_acquire);
    /* relaxed: it was stored before the guide (room.c, widen_guide), and is only a guess */
    uint64_t seed = atomic_load_explicit(&door->quick_seed, memory_order_relaxed), word;

    if (!guide || !key.data) return kp__get_by_key(door, key, NULL, site, out);
    uint64_t to = kp__guide_find_pair(guide, kp__quick_hash(seed, key.data, key.size), 0);
    struct kp__cell *cell = (struct kp__cell *)kp__line_seen(&kp__cells, to);
    if (!cell) /* the entry is further off, leads to a lane, or is missing */
        return kp__get_by_key(door, key, NULL, site, out);
    if (!kp__swing_out_anywhere(cell, &word))
        return get_brief_at_home(door, key, (uint32_t)to, site, out);
    kp__lend(cell, kp__lease_of_cell(to), word, NULL, site, out);
    return kp__cell_is_of(cell, out, door, key) ? 0 : undo_and_get(door, key, site, out);
}

/* The same for keys of up to 8 bytes and for longer ones. These are functions of their own, so that
 * neither way sets anything up that only another one needs. */
static KP__APART int get_up_to_8(kp_pool *door, kp_key key, const void *site, kp_lease *out)
{
    KP__KNOWN(key.size <= 8);
    return get_brief(door, key, site, out);
}

static KP__APART int get_up_to_16(kp_pool *door, kp_key key, const void *site, kp_lease *out)
{
    KP__KNOWN(key.size > 8 && key.size <= KP__BRIEF);
    return get_brief(door, key, site, out);
}

/* A get with an ask; or without a pool, which the long way refuses. */
static KP__APART int get_asking(kp_pool *door, kp_key key, const kp_ask *ask, const void *site,
                                kp_lease *out)
{
    if (!door) return kp__get(door, key, ask, site, out);
    if (!kp__is_pinned(key)) return kp__get_by_key(door, key, ask, site, out);
    if (!kp__is_plain(ask) || !hit_pinned(door, key, ask->tag, site, out))
        return kp__get(door, key, ask, site, out);
    if (ask->why) memset(ask->why, 0, sizeof *ask->why);
    return 0;
}

/* A get by a key that is not brief: all ways but the shortest. */
static KP__APART int get_not_brief(kp_pool *door, kp_key key, const void *site, kp_lease *out)
{
    if (!kp__is_pinned(key)) return kp__get_by_key(door, key, NULL, site, out);
    return hit_pinned(door, key, NULL, site, out) ? 0 : kp__get(door, key, NULL, site, out);
}

/* The shortest way: a get by the same pinned key as last time tries the cell that was found last
 * time. After the claim it is checked that the cell is still that key's. A thread that has found
 * none yet, or is alone in a child of fork (here.c), remembers a key of size 0, which is brief. */
static KP__APART KP__ALIGNED int get_again(kp_pool *door, kp_key key, const void *site,
                                           kp_lease *out)
{
    const struct kp__here *here = &kp__here;
    struct kp__cell *cell = here->found;
    bool same = key.size == here->key.size && key.data == here->key.data && door == here->door;
    uint64_t word;

    if (!KP__MOSTLY(same && kp__swing_out(cell, &word))) return get_not_brief(door, key, site, out);
    kp__lend(cell, here->lease, word, NULL, site, out);
    return KP__MOSTLY(is_pinned_to(cell, here->lane, key)) ? 0
                                                           : undo_and_get(door, key, site, out);
}

KP__ALIGNED int kp_get(kp_pool *door, kp_key key, const kp_ask *ask, kp_lease *out)
{
    if (ask || !door) return get_asking(door, key, ask, KP__SITE, out);
    if (key.size > KP__BRIEF) return get_again(door, key, KP__SITE, out);
    if (key.size <= 8) return get_up_to_8(door, key, KP__SITE, out);
    return get_up_to_16(door, key, KP__SITE, out);
}

/* kp_get written out again: a part that both share would cost each an instruction. */
int kp__get_from(kp_pool *door, kp_key key, const kp_ask *ask, const void *site, kp_lease *out)
{
    if (ask || !door) return get_asking(door, key, ask, site, out);
    if (key.size > KP__BRIEF) return get_again(door, key, site, out);
    if (key.size <= 8) return get_up_to_8(door, key, site, out);
    return get_up_to_16(door, key, site, out);
}

/* Is this the word of a lease that may end by a swing alone? One lease of KP__LOOKS in a turn may
 * not: its release takes the lock to look at the clock, because others wait. */
static KP__PART bool ends_by_a_swing(uint64_t word)
{
    uint64_t state = word & KP__WORD_STATE;

    return state == KP__WORD_LENT || (state == (KP__WORD_LENT | KP__TURN) && (word & KP__NO_LOOK));
}

/* The cell that a lease names, or NULL. A guess: the swing of the cell's word checks it. */
static KP__PART struct kp__cell *cell_of(const kp_lease *lease)
{
    /* with marks other than those of this process's leases, this is a number that no cell has */
    uint64_t number = lease->opaque[2] ^ kp__lease_of_cell(0);
    struct kp__cell *cell = (struct kp__cell *)kp__line_seen(&kp__cells, number);

    /* relaxed: a guess, as said above */
    return cell && atomic_load_explicit(&cell->id, memory_order_relaxed) == lease->opaque[0] ? cell
                                                                                             : NULL;
}

/* End a lease, which has this word, on an open lane, if its cell has no home. */
static KP__PART bool swing_back_anywhere(struct kp__cell *cell, kp_lease *lease, uint64_t word)
{
    uint64_t expected = word, back = word - (KP__WORD_LENT - KP__WORD_IDLE);

    if (!ends_by_a_swing(word) ||
        /* release: pairs with the acquire that takes it next, or shuts the lane */
        !atomic_compare_exchange_strong_explicit(&cell->word, &expected, back,
                                                 memory_order_release, memory_order_relaxed))
        return false;
    kp__mark_ended(lease, word);
    return true;
}

/* End a lease by a swing, if it has not ended, is on an open lane, and seeks no home (lane.h). */
static KP__PART bool swing_back(kp_lease *lease)
{
    uint64_t word = lease->opaque[1];
    struct kp__cell *cell = cell_of(lease);

    if (!cell) return false;
    if (!KP__MOSTLY((word & KP__WORD_STATE) == (KP__WORD_LENT | KP__HOMED)))
        return (word & KP__NOT_SEEKING) && swing_back_anywhere(cell, lease, word);
    if (!kp__swing_at_home(&cell->home, &cell->word, word, word - (KP__WORD_LENT - KP__WORD_IDLE)))
        return false;
    kp__mark_ended(lease, word);
    return true;
}

/* Is this lease to seek a home now? Only where its pool has homes, and if the lock is free: nobody
 * waits for the lock just to seek one. */
static bool seeks_home(const kp_lease *lease)
{
    const struct kp_pool *door = kp__lease_door(lease);

    /* relaxed: constant since before its first lane opened */
    return door && atomic_load_explicit(&door->homes, memory_order_relaxed) &&
           !kp__lock_held(&door->lock);
}

/* After swing_back, which has failed, or has not tried because this lease seeks a home. If it is
 * not to seek one now, it ends by a swing all the same. */
static KP__APART bool release(kp_lease *lease, enum kp__lease_end how)
{
    uint64_t word = lease->opaque[1];
    struct kp__cell *cell = cell_of(lease);

    if (!cell || (word & KP__NOT_SEEKING) || seeks_home(lease) ||
        !swing_back_anywhere(cell, lease, word))
        return kp__release(lease, how);
    return true;
}

bool kp__is_clean(const struct kp__pool *pool, void *resource)
{
    int cancel = kp__cancel_hold();
    bool clean = pool->driver.is_clean(resource, pool->driver.ctx);

    kp__cancel_free(cancel);
    return clean;
}

/* Two swings: from the first on nobody else can end the lease while is_clean runs; the second makes
 * the resource idle. If the lane is shut between them, the books say that the lease is ending. */
enum kp__asked kp__back_if_clean(const kp_lease *lease)
{
    uint64_t word = lease->opaque[1], ending = word | KP__ENDING;

    if (!(word & KP__ASKS) || !ends_by_a_swing(word - KP__ASKS)) return KP__UNASKED;
    struct kp__cell *cell = cell_of(lease);
    /* relaxed: the first swing only marks the word; the second, or the lock, releases what the
     * borrower did */
    if (!cell ||
        !atomic_compare_exchange_strong_explicit(&cell->word, &word, ending, memory_order_relaxed,
                                                 memory_order_relaxed))
        return KP__UNASKED;
    const struct kp_pool *door = kp__lease_door(lease);
    /* relaxed: a resource that is lent keeps its pool */
    if (!kp__is_clean(atomic_load_explicit(&door->pool, memory_order_relaxed), cell->resource))
        return KP__UNCLEAN;
    /* release: pairs with the acquire that takes it next, or shuts the lane */
    bool back = atomic_compare_exchange_strong_explicit(&cell->word, &ending,
                                                        word - (KP__WORD_LENT - KP__WORD_IDLE),
                                                        memory_order_release, memory_order_relaxed);
    return back ? KP__BACK : KP__CLEAN;
}

KP__ALIGNED void kp_release(kp_lease *lease)
{
    if (lease && !swing_back(lease)) (void)release(lease, KP__RELEASED);
}

bool kp__end_lease(kp_lease *lease, enum kp__lease_end how)
{
    return swing_back(lease) || release(lease, how);
}

/* ---- with the lock --------------------------------------------------------------------------- */

/* Some lane is open: is it that of this key? */
static KP__APART bool hit_open(struct kp__pool *pool, kp_key key, const kp_ask *ask,
                               const void *site, kp_lease *out)
{
    uint64_t word;
    uint32_t at;
    struct kp__subpool *sub = kp__known(pool, key);

    if (!sub || !sub->open) return false;
    if (!kp__is_pinned(key)) kp__lane_guide(&pool->core, sub);
    struct kp__cell *cell = claim(KP__LANE_OF(sub), &at, &word);
    if (!cell && kp__homes_take(&pool->core, &sub, 1)) cell = claim(KP__LANE_OF(sub), &at, &word);
    if (cell) kp__lend(cell, kp__lease_of_cell(at), word, ask ? ask->tag : NULL, site, out);
    return cell != NULL;
}

bool kp__hit_locked(struct kp__pool *pool, kp_key key, const kp_ask *ask, const void *site,
                    kp_lease *out)
{
    bool claimed_wrong = kp__here.claimed_wrong;

    kp__here.claimed_wrong = false;
    return kp__heap_top(&pool->core.open_lanes) && !claimed_wrong && (!ask || kp__is_plain(ask)) &&
           hit_open(pool, key, ask, site, out);
}

bool kp__swing_back_locked(struct kp__pool *pool, const struct kp__slot *slot, kp_lease *lease)
{
    uint64_t word = lease->opaque[1];

    if (!slot || !slot->sub || !slot->sub->open || !slot->on_lane ||
        !ends_by_a_swing(word & ~(uint64_t)KP__HOMED) || cell_of(lease) != KP__CELL_OF(slot))
        return false;
    kp__home_take(&pool->core, slot); /* its home is another processor */
    if (!kp__home_seek(&pool->core, slot, word)) return false;
    kp__mark_ended(lease, word);
    return true;
}
