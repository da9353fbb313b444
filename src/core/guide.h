/* SPDX-License-Identifier: MIT
 *
 * Guides: from the hash of a key to its lane, without a lock. A guess: a key may be missing, and
 * what is found may be another's by now; a claim makes it true (flow/hit.c), and who finds nothing
 * takes the lock and the table (table.c). So an entry is one word, a bucket is one line, and what
 * does not fit pushes another out.
 *
 * The memory of a guide is never given back while the process lives, but used for other guides.
 */
#ifndef KP__CORE_GUIDE_H
#define KP__CORE_GUIDE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { KP__BUCKET = 8 }; /* entries */

struct kp__guide {
    uint32_t bits; /* 2^bits buckets; constant for ever */
    struct kp__guide *next;
    _Alignas(64) _Atomic uint64_t entry[]; /* upper half of the hash, number of the lane; or 0 */
};

/* One for so many keys; NULL: out of memory. And give it up. Threads: any. */
struct kp__guide *kp__guide_make(uint64_t keys);
void kp__guide_drop(struct kp__guide *guide); /* NULL is fine */
uint64_t kp__guide_room(const struct kp__guide *guide); /* for how many keys; NULL: 0 */

/* With the pool's lock. */
void kp__guide_enter(struct kp__guide *guide, uint64_t hash, uint32_t lane);
void kp__guide_leave(struct kp__guide *guide, uint64_t hash, uint32_t lane);

void kp__guides_in_child(void);

static inline uint32_t kp__guide_find(const struct kp__guide *guide, uint64_t hash)
{
    size_t bucket = (size_t)(hash & ((UINT64_C(1) << guide->bits) - 1)) * KP__BUCKET;
    uint32_t first = (uint32_t)(hash >> 29) % KP__BUCKET;

    for (uint32_t i = 0; i < KP__BUCKET; i++) {
        /* relaxed: a guess */
        uint64_t entry = atomic_load_explicit(
            &guide->entry[bucket + (first + i) % KP__BUCKET], memory_order_relaxed);
        if (entry >> 32 == hash >> 32) return (uint32_t)entry;
    }
    return 0;
}

#endif
