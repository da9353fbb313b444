/* SPDX-License-Identifier: MIT
 *
 * The hit path: a get that finds an idle resource, and the release that nobody waits for, on a key
 * whose lane is open (core/lane.h). No lock, no allocation, no clock, no system call (L9). This is
 * a short cut; whatever is not so simple goes the long way, through get.c and release.c.
 */
#ifndef KP__FLOW_HIT_H
#define KP__FLOW_HIT_H

#include "core/lane.h"
#include "flow/flow.h"
#include "flow/here.h"

/* ---- the word of a cell ---------------------------------------------------------------------- */

/* The marks of every lease of a cell in this process. Its last number (kp_lease.opaque[2]) is these
 * and the number of the cell. */
extern KP__INSIDE _Atomic uint64_t kp__cell_leases;

static KP__PART uint64_t kp__lease_of_cell(uint64_t number)
{
    /* relaxed: written only in a child of fork, before that has a second thread */
    return atomic_load_explicit(&kp__cell_leases, memory_order_relaxed) | number;
}

/* Swing a cell's word to a new lease, if it is idle and its home, if any, is this processor. */
static KP__PART bool kp__swing_out(struct kp__cell *cell, uint64_t *lent)
{
    /* acquire: for a word that is marked, pairs with the release that marked it, after its home was
     * stored (core/home.c) */
    uint64_t word = atomic_load_explicit(&cell->word, memory_order_acquire);

    *lent = word + KP__WORD_NEXT + (KP__WORD_LENT - KP__WORD_IDLE);
    if (!(word & KP__WORD_IDLE)) return false;
    if (KP__MOSTLY(word & KP__HOMED))
        return kp__swing_at_home(&cell->home, &cell->word, word, *lent);
    /* acquire: pairs with the release that made it idle: the end of a lease, the opening of its
     * lane (core/lane.c), or the taking of its home (core/home.c). The load above is not enough: a
     * lane that shuts and opens again without a hit gives an idle word its old value back, and
     * meanwhile the keeper may have tested the resource, or the cell become another one's */
    return atomic_compare_exchange_strong_explicit(&cell->word, &word, *lent, memory_order_acquire,
                                                   memory_order_relaxed);
}

/* The same, but false if the cell has a home. */
static KP__PART bool kp__swing_out_anywhere(struct kp__cell *cell, uint64_t *lent)
{
    /* relaxed: a guess, which the swing below checks */
    uint64_t word = atomic_load_explicit(&cell->word, memory_order_relaxed);

    *lent = word + KP__WORD_NEXT + (KP__WORD_LENT - KP__WORD_IDLE);
    /* acquire: pairs with the release that made it idle, as above */
    return (word & (KP__WORD_IDLE | KP__HOMED)) == KP__WORD_IDLE &&
           /* cover: never, because it takes two threads in one instant (tests/unit/hit_race.c) */
           atomic_compare_exchange_strong_explicit(&cell->word, &word, *lent, memory_order_acquire,
                                                   memory_order_relaxed);
}

/* Write the lease of a cell that was swung out to `word`, and note its tag and site in the cell.
 * `last`: its last number (kp__lease_of_cell). */
static KP__PART void kp__lend(struct kp__cell *cell, uint64_t last, uint64_t word,
                              const char *tag, const void *site, kp_lease *out)
{
    out->resource = cell->resource;
    /* relaxed, all: nobody else writes them while it is lent */
    out->opaque[0] = atomic_load_explicit(&cell->id, memory_order_relaxed);
    out->opaque[1] = word;
    out->opaque[2] = last;
    atomic_store_explicit(&cell->tag, tag, memory_order_relaxed);
    atomic_store_explicit(&cell->site, site, memory_order_relaxed);
}

/* A lease with this word has ended, and its variable says so, as its cell does: IDLE. Copies of the
 * variable are told by their numbers. */
static KP__PART void kp__mark_ended(kp_lease *lease, uint64_t word)
{
    lease->resource = NULL;
    lease->opaque[1] = word - (KP__WORD_LENT - KP__WORD_IDLE);
}

static inline bool kp__has_ended(const kp_lease *lease)
{
    return (lease->opaque[1] & (KP__WORD_IDLE | KP__WORD_LENT)) == KP__WORD_IDLE;
}

/* ---- a get ----------------------------------------------------------------------------------- */

/* Swing out a cell of a lane of this shape. NULL: none could be taken here, or the lane is shut. */
struct kp__cell *kp__claim_of_many(const struct kp__lane *lane, uint32_t shape, uint32_t *number,
                                   uint64_t *lent);

/* Does this cell, which this lease has, belong to this brief key of this pool? */
static KP__PART bool kp__cell_is_of(const struct kp__cell *cell, const kp_lease *lease,
                                    const kp_pool *door, kp_key key)
{
    struct kp__brief brief = kp__brief_of(key.data, key.size);

    return lease->opaque[0] >> 32 == door->id && cell->key_size == key.size &&
           cell->key.first == brief.first && cell->key.last == brief.last;
}

/* Is the ask valid, and can a hit give all that it asks for? If not, the long way does that, or
 * says what is wrong with it (ask.c). */
static inline bool kp__is_plain(const kp_ask *ask)
{
    return !(ask->flags & ~(uint32_t)(KP_DONT_WAIT | KP_DONT_CREATE)) && ask->until.ns == 0 &&
           (ask->within_ms >= 0 || ask->within_ms == KP_NONE || ask->within_ms == KP_OFF) &&
           !(ask->reserved0 | ask->reserved[0] | ask->reserved[1] | ask->reserved[2]);
}

/* kp_get, on behalf of who called from there (scope.c, use.c). */
int kp__get_from(kp_pool *door, kp_key key, const kp_ask *ask, const void *site, kp_lease *out);

/* kp_get by a key that is not pinned, all ways but the shortest (hit_key.c). */
int kp__get_by_key(kp_pool *door, kp_key key, const kp_ask *ask, const void *site, kp_lease *out);

/* The long way (get.c). */
int kp__get(kp_pool *door, kp_key key, const kp_ask *ask, const void *site, kp_lease *out);

/* ---- the end of a lease ---------------------------------------------------------------------- */

/* How a lease ends. Some are kept by the library for its user: if one of those has ended already,
 * that is no misuse, and nothing is told. */
enum kp__lease_end {
    KP__RELEASED,
    KP__DISCARDED,
    KP__END_OF_SCOPE, /* kept by scope.c */
    KP__END_OF_USE    /* kept by use.c; its use went well. If that is to be reported first, the
                         lease does not end yet */
};

/* End a lease as kp_release does. False: its use is to be reported first, and it has not ended. */
bool kp__end_lease(kp_lease *lease, enum kp__lease_end how);

/* The long way (release.c). */
bool kp__release(kp_lease *lease, enum kp__lease_end how);

/* Give back what was claimed by mistake, as if it had never been lent (release.c). */
void kp__unlend(kp_lease *lease);

/* What came of asking whether a resource that comes back is clean (driver.is_clean). */
enum kp__asked {
    KP__UNASKED,  /* not on an open lane, or it is no lease: nothing was done */
    KP__MISTAKEN, /* claimed by mistake: nobody had it, so there is nothing to ask (kp__unlend) */
    KP__BACK,     /* it was clean, and is given back */
    KP__CLEAN,    /* it was clean, but the lane was shut meanwhile */
    KP__UNCLEAN
};
/* After CLEAN and UNCLEAN nobody but the caller can end the lease, and its resource counts as lent
 * until the caller has gone the long way. */
enum kp__asked kp__back_if_clean(const kp_lease *lease);

/* Call driver.is_clean. Without the lock. */
bool kp__is_clean(const struct kp__pool *pool, void *resource);

/* ---- at the start of the long way ------------------------------------------------------------ */

/* With the lock: the lane may have opened while the caller waited for it. Then the get, or the end
 * of the lease, is done by a swing after all; otherwise each caller that came a moment too early
 * would shut the lane again. A caller whose guess was wrong did not come too early, and is not
 * served here. False: nothing was done, go on the long way. */
bool kp__hit_locked(struct kp__pool *pool, kp_key key, const kp_ask *ask, const void *site,
                    kp_lease *out);
bool kp__swing_back_locked(struct kp__pool *pool, const struct kp__slot *slot, kp_lease *lease);

#endif
