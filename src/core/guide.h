/* SPDX-License-Identifier: MIT
 *
 * Guides: from the hash of a key to its lane or its cell, without a lock. A guess: a key may be
 * missing, and what is found may be another's by now; a claim makes it true (flow/hit.c), and who
 * finds nothing takes the lock and the table (table.c). So an entry is one word, a bucket is one
 * line, and what does not fit pushes another out.
 *
 * The low bits of the hash name a pair of places, and the other pairs of its line come after it.
 * Guides are sparse, so that nearly all keys are at their own, both places of which are looked at
 * without a branch: a processor foresees that, and goes on to what is there, and to the next get,
 * while lines are still under way.
 *
 * The addresses of a guide are never given back while the process lives, but used for other guides:
 * who still looks into one that was dropped finds something, or, where its memory is others' for
 * the time being, nothing.
 */
#ifndef KP__CORE_GUIDE_H
#define KP__CORE_GUIDE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { KP__BUCKET = 8 }; /* entries */

struct kp__guide {
    size_t mask;   /* of a hash: the first place of its pair; constant for ever */
    uint32_t bits; /* 2^bits buckets; likewise */
    struct kp__guide *next;
    _Alignas(64) _Atomic uint64_t entry[]; /* hash ^ where it leads; or 0 */
};

/* One for so many keys; NULL: out of memory. And give it up, which takes a while for a large one:
 * without a pool's lock. Threads: any. */
struct kp__guide *kp__guide_make(uint64_t keys);
void kp__guide_drop(struct kp__guide *guide); /* NULL is fine */
uint64_t kp__guide_room(const struct kp__guide *guide); /* for how many keys; NULL: 0 */

/* With the pool's lock. An entry leads to a cell, or with this mark to a lane, by number; the line
 * was made before. */
#define KP__TO_LANE UINT32_C(0x80000000)
void kp__guide_enter(struct kp__guide *guide, uint64_t hash, uint32_t to);
void kp__guide_leave(struct kp__guide *guide, uint64_t hash);

void kp__guides_in_child(void);

/* Where an entry leads who has this hash; more than 32 bits: it is another's. A guess: who believes
 * it makes sure that there is such a line. */
static inline uint64_t kp__guide_to(const _Atomic uint64_t *entry, uint64_t hash)
{
    /* acquire: pairs with the release in kp__guide_enter */
    return atomic_load_explicit(entry, memory_order_acquire) ^ hash;
}

/* Where the pair leads that is so many places from its own. */
static inline uint64_t kp__guide_pair(const struct kp__guide *guide, uint64_t hash, size_t off)
{
    const _Atomic uint64_t *pair = &guide->entry[((size_t)hash & guide->mask) ^ off];
    uint64_t one = kp__guide_to(pair, hash), two = kp__guide_to(pair + 1, hash);

    return one < two ? one : two;
}

/* By all pairs of its line; 0: nowhere. */
static inline uint32_t kp__guide_find(const struct kp__guide *guide, uint64_t hash)
{
    uint64_t to = kp__guide_pair(guide, hash, 0);

    for (size_t off = 2; to > UINT32_MAX && off < KP__BUCKET; off += 2)
        to = kp__guide_pair(guide, hash, off);
    return to > UINT32_MAX ? 0 : (uint32_t)to;
}

#endif
