/* SPDX-License-Identifier: MIT
 *
 * Guides: they lead from the hash of a key to its lane or its cell, without a lock. What they say
 * is a guess: a key may be missing, and what is found may be another key's by now. So a get claims
 * what it found, and then compares (flow/hit.c); if it finds nothing, it takes the lock and looks
 * into the table (table.c). That allows an entry to be one word and a bucket to be one cache line;
 * an entry that does not fit pushes another one out.
 *
 * The low bits of the hash name a pair of places, which is looked at first, then the other pairs of
 * the bucket. Guides are sparse, so that nearly all keys are at their own pair. Its two places are
 * looked at without a branch between them, so that the processor predicts well: it goes on to what
 * they lead to, and to the next get, while cache lines are still being loaded.
 *
 * The addresses of a guide are never given back while the process lives, but used again for other
 * guides. So a thread that still looks into a guide that was dropped reads some entry or, where the
 * system has the memory back for the time being, nothing.
 */
#ifndef KP__CORE_GUIDE_H
#define KP__CORE_GUIDE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { KP__BUCKET = 8 }; /* entries */

struct kp__guide {
    size_t mask;   /* hash & mask is the first place of its pair; constant for ever */
    uint32_t bits; /* there are 2^bits buckets; likewise */
    struct kp__guide *next;
    _Alignas(64) _Atomic uint64_t entry[]; /* a key's hash ^ where it leads; or 0 */
};

/* Make a guide for so many keys (NULL: out of memory), or give one up. For a large one both take a
 * while: call them without a pool's lock. Threads: any. */
struct kp__guide *kp__guide_make(uint64_t keys);
void kp__guide_drop(struct kp__guide *guide); /* NULL is fine */
uint64_t kp__guide_room(const struct kp__guide *guide); /* for how many keys; NULL: 0 */

/* With the pool's lock. An entry leads to the number of a cell or, with this mark, of a lane; that
 * line was made before. */
#define KP__TO_LANE UINT32_C(0x80000000)
void kp__guide_enter(struct kp__guide *guide, uint64_t hash, uint32_t to);
void kp__guide_leave(struct kp__guide *guide, uint64_t hash);

void kp__guides_in_child(void);

/* Where an entry leads a key with this hash; above 32 bits: it is another key's. A guess: whoever
 * follows it must make sure that there is such a line. */
static inline uint64_t kp__guide_find_at(const _Atomic uint64_t *entry, uint64_t hash)
{
    /* acquire: pairs with the release in kp__guide_enter: the line was made before */
    return atomic_load_explicit(entry, memory_order_acquire) ^ hash;
}

/* The same for both places of a pair; `off`: how far it is from the hash's own pair. */
static inline uint64_t kp__guide_find_pair(const struct kp__guide *guide, uint64_t hash, size_t off)
{
    const _Atomic uint64_t *pair = &guide->entry[((size_t)hash & guide->mask) ^ off];
    uint64_t one = kp__guide_find_at(pair, hash), two = kp__guide_find_at(pair + 1, hash);

    return one < two ? one : two;
}

/* The same for all pairs of the bucket; 0: nowhere. */
static inline uint32_t kp__guide_find(const struct kp__guide *guide, uint64_t hash)
{
    uint64_t to = kp__guide_find_pair(guide, hash, 0);

    for (size_t off = 2; to > UINT32_MAX && off < KP__BUCKET; off += 2)
        to = kp__guide_find_pair(guide, hash, off);
    return to > UINT32_MAX ? 0 : (uint32_t)to;
}

#endif
