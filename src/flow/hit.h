/* SPDX-License-Identifier: MIT
 *
 * The hit path: a get that finds an idle resource, and the release that nobody waits for, on a key
 * whose lane is open (core/lane.h). No lock, no allocation, no clock, no system call (L9). What is
 * not so simple goes the whole way, which tells the story; this one is a short cut through it.
 */
#ifndef KP__FLOW_HIT_H
#define KP__FLOW_HIT_H

#include "core/lane.h"
#include "flow/flow.h"
#include "flow/here.h"

/* Of all leases of cells, in this process: with the number of the cell, their last number. */
extern KP__INSIDE _Atomic uint64_t kp__cell_leases;

static KP__PART uint64_t kp__lease_of_cell(uint64_t number)
{
    /* relaxed: the child's own, or as it always was */
    return atomic_load_explicit(&kp__cell_leases, memory_order_relaxed) | number;
}

/* Swing a cell's word to a new lease, if it is idle, and its home, if it has one, is here. */
static KP__PART bool kp__swing_out(struct kp__cell *cell, uint64_t *lent)
{
    /* acquire: pairs with the releases of who gave it back, opened the lane, or gave it its home */
    uint64_t word = atomic_load_explicit(&cell->word, memory_order_acquire);

    *lent = word + KP__WORD_NEXT + (KP__GONE - KP__HERE);
    if (!(word & KP__HERE)) return false;
    if (word & KP__HOMED) return kp__swing_at_home(&cell->home, &cell->word, word, *lent);
    /* relaxed: it was loaded by an acquire, and no word comes back */
    return atomic_compare_exchange_strong_explicit(&cell->word, &word, *lent, memory_order_relaxed,
                                                   memory_order_relaxed);
}

/* The same of one that has no home. */
static KP__PART bool kp__swing_out_anywhere(struct kp__cell *cell, uint64_t *lent)
{
    /* relaxed: the swing vouches for it */
    uint64_t word = atomic_load_explicit(&cell->word, memory_order_relaxed);

    *lent = word + KP__WORD_NEXT + (KP__GONE - KP__HERE);
    /* acquire: pairs with the release of who gave it back, or opened the lane */
    return (word & (KP__HERE | KP__HOMED)) == KP__HERE &&
           atomic_compare_exchange_strong_explicit(&cell->word, &word, *lent, memory_order_acquire,
                                                   memory_order_relaxed);
}

/* What was swung out is lent. */
static KP__PART void kp__lend(struct kp__cell *cell, uint64_t number, uint64_t word,
                              const char *tag, const void *site, kp_lease *out)
{
    out->resource = cell->resource;
    /* relaxed, all: nobody else writes them while it is lent */
    out->opaque[0] = atomic_load_explicit(&cell->id, memory_order_relaxed);
    out->opaque[1] = word;
    out->opaque[2] = kp__lease_of_cell(number);
    atomic_store_explicit(&cell->tag, tag, memory_order_relaxed);
    atomic_store_explicit(&cell->site, site, memory_order_relaxed);
}

/* A cell of a lane with so many, swung out; NULL: none was idle, or the lane is shut. */
struct kp__cell *kp__claim_of_many(const struct kp__lane *lane, uint32_t shape, uint32_t *number,
                                   uint64_t *lent);

/* Is this cell, which is lent by this lease, of such a brief key of this pool? */
static KP__PART bool kp__cell_is_of(const struct kp__cell *cell, const kp_lease *lease,
                                    const kp_pool *door, kp_key key)
{
    struct kp__brief brief = kp__brief_of(key.data, key.size);

    return lease->opaque[0] >> 32 == door->id && cell->key_size == key.size &&
           cell->key.first == brief.first && cell->key.last == brief.last;
}

/* Does it ask for nothing that a hit could not give, and is it in order? */
static inline bool kp__is_plain(const kp_ask *ask)
{
    return !(ask->flags & ~(uint32_t)(KP_DONT_WAIT | KP_DONT_CREATE)) && ask->until.ns == 0 &&
           (ask->within_ms >= 0 || ask->within_ms == KP_NONE || ask->within_ms == KP_OFF) &&
           !(ask->reserved0 | ask->reserved[0] | ask->reserved[1] | ask->reserved[2]);
}

/* kp_get, on behalf of who called from there (scope.c, use.c). */
int kp__get_from(kp_pool *door, kp_key key, const kp_ask *ask, const void *site, kp_lease *out);

/* By any key that is not pinned, in any way (hit_key.c). */
int kp__get_by_key(kp_pool *door, kp_key key, const kp_ask *ask, const void *site, kp_lease *out);

/* Give back what was claimed by mistake, and then the long way. */
int kp__get_after_all(kp_pool *door, kp_key key, const kp_ask *ask, const void *site,
                      kp_lease *out);

/* How a lease comes to its end. The library keeps some for its users: one of those that has ended
 * already is passed over. */
enum kp__ending {
    KP__RELEASED,
    KP__DISCARDED,
    KP__OF_SCOPE, /* kept by scope.c */
    KP__OF_USE    /* by use.c, and its use went well: where that is to be reported, it goes on */
};

/* Does any circuit of this pool count uses, or has one ever? Asked without the lock: whoever uses
 * something while limits are set may do so before or after. */
static inline bool kp__uses_count(const kp_pool *door)
{
    return atomic_load_explicit(&door->uses_count, memory_order_relaxed);
}

/* A key is about to have these rules. With the lock. */
static inline void kp__note_rules(struct kp__pool *pool, const struct kp__rules *rules)
{
    /* relaxed: as above */
    if (kp__breaks(rules, KP_BREAK_USE))
        atomic_store_explicit(&pool->door->uses_count, true, memory_order_relaxed);
}

/* As kp_release does. False: it is to be reported first. */
bool kp__end_lease(kp_lease *lease, enum kp__ending how);

/* The whole story (get.c, release.c). */
int kp__get(kp_pool *door, kp_key key, const kp_ask *ask, const void *site, kp_lease *out);
bool kp__release(kp_lease *lease, enum kp__ending how);

/* With the lock: the lane may have opened while we waited for it. If so, it need not be shut by all
 * those who came too early, one after the other. Who guessed wrong did not come too early. False:
 * nothing was done, the long way goes on. */
bool kp__hit_late(struct kp__pool *pool, kp_key key, const kp_ask *ask, const void *site,
                  kp_lease *out);
bool kp__release_late(struct kp__pool *pool, const struct kp__slot *slot, kp_lease *lease);

/* Where a give-back asks first whether it is clean (driver.is_clean). */
enum kp__asked {
    KP__UNASKED, /* not on an open lane, or it is no lease: nothing was done */
    KP__UNUSED,  /* claimed by mistake: nobody had it, so there is nothing to ask (kp__unlend) */
    KP__BACK,    /* it was clean, and is given back */
    KP__CLEAN,   /* the lane was shut meanwhile */
    KP__UNCLEAN
};
/* After CLEAN and UNCLEAN the lease has ended for everybody else, and its resource counts as lent
 * until whoever asked has gone the long way. */
enum kp__asked kp__ask(const kp_lease *lease);

/* Call driver.is_clean. Without the lock. */
bool kp__is_clean(const struct kp__pool *pool, void *resource);

/* Give back what was claimed by mistake, as if it had never been lent (release.c). */
void kp__unlend(kp_lease *lease);

/* The numbers of a lease that has begun (release.c). With the lock. */
void kp__lease_write(const struct kp__pool *pool, const struct kp__slot *slot, uint32_t seat,
                     kp_lease *out);

#endif
