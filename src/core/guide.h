/* SPDX-License-Identifier: MIT
 *
 * Guides: from the hash of a key to its lane or its cell, without a lock. A guess: a key may be
 * missing, and what is found may be another's by now; a claim makes it true (flow/hit.c), and who
 * finds nothing takes the lock and the table (table.c). So an entry is one word, a bucket is one
 * line, and what does not fit pushes another out.
 *
 * The low bits of the hash name a place, and the other places of its line come after it. Guides are
 * sparse, so that most keys are at their own: a processor foresees that, and goes on to what it
 * leads to, and to the next get, while lines are still under way.
 *
 * The memory of a guide is never given back while the process lives, but used for other guides.
 */
#ifndef KP__CORE_GUIDE_H
#define KP__CORE_GUIDE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { KP__BUCKET = 8 }; /* entries */

struct kp__guide {
    size_t mask;   /* one less than there are places; constant for ever */
    uint32_t bits; /* 2^bits buckets; likewise */
    struct kp__guide *next;
    _Alignas(64) _Atomic uint64_t entry[]; /* upper half of the hash, where it leads; or 0 */
};

/* One for so many keys; NULL: out of memory. And give it up. Threads: any. */
struct kp__guide *kp__guide_make(uint64_t keys);
void kp__guide_drop(struct kp__guide *guide); /* NULL is fine */
uint64_t kp__guide_room(const struct kp__guide *guide); /* for how many keys; NULL: 0 */

/* With the pool's lock. An entry leads to a cell, or with this mark to a lane, by number; the line
 * was made before. */
#define KP__TO_LANE UINT32_C(0x80000000)
void kp__guide_enter(struct kp__guide *guide, uint64_t hash, uint32_t to);
void kp__guide_leave(struct kp__guide *guide, uint64_t hash);

void kp__guides_in_child(void);

/* Is it an entry of this hash? As far as it tells. */
static inline bool kp__guide_is(uint64_t entry, uint64_t hash)
{
    return (entry ^ hash) >> 32 == 0;
}

/* At its own place, or at another of its line; 0: neither. */
static inline uint32_t kp__guide_find(const struct kp__guide *guide, uint64_t hash)
{
    const _Atomic uint64_t *own = &guide->entry[(size_t)hash & guide->mask];
    /* acquire, here and below: pairs with the release in kp__guide_enter */
    uint64_t entry = atomic_load_explicit(own, memory_order_acquire);

    if (kp__guide_is(entry, hash)) return (uint32_t)entry;
    for (size_t i = 1; i < KP__BUCKET; i++) {
        entry = atomic_load_explicit(&guide->entry[((size_t)hash & guide->mask) ^ i],
                                     memory_order_acquire);
        if (kp__guide_is(entry, hash)) return (uint32_t)entry;
    }
    return 0;
}

#endif
