/* SPDX-License-Identifier: MIT
 *
 * The guides of guide.h: made, used again, written.
 */
#include "core/guide.h"

#include "base/lock.h"

#ifndef KP__GUIDE_LEAST
#define KP__GUIDE_LEAST 4 /* bits */
#endif
enum {
    SIZES = sizeof(size_t) > 4 ? 28 : 24, /* the bytes of the largest still fit a size_t */
    DENSE = 12                            /* bits: from here on, 256 KiB, memory matters */
};

static struct kp__lock lock;
static struct kp__guide *spare[SIZES]; /* Guard: lock. By bits; guides that were dropped */

void kp__guides_in_child(void)
{
    atomic_store(&lock.word, 0);
    for (int i = 0; i < SIZES; i++) spare[i] = NULL;
}

/* One key for each bucket: then 1 in 100 is not at its own pair. In large guides two: 3 in 100. */
static uint64_t room(uint32_t bits)
{
    return (uint64_t)(bits < DENSE ? 1 : 2) << bits;
}

uint64_t kp__guide_room(const struct kp__guide *guide)
{
    return guide ? room(guide->bits) : 0;
}

/* Its entries are not needed, or are all 0: the system may have the memory back meanwhile. */
static void hollow(struct kp__guide *guide)
{
    kp__hollow(&kp__life, guide->entry, ((size_t)KP__BUCKET << guide->bits) * sizeof *guide->entry);
}

struct kp__guide *kp__guide_make(uint64_t keys)
{
    uint32_t bits = KP__GUIDE_LEAST;

    while (bits < SIZES - 1 && room(bits) < keys) bits++;
    size_t entries = (size_t)KP__BUCKET << bits, bytes = sizeof(struct kp__guide) + entries * 8;
    kp__lock_take(&lock, &kp__life);
    struct kp__guide *guide = spare[bits];
    if (guide) spare[bits] = guide->next;
    kp__lock_give(&lock, &kp__life);
    for (size_t i = 0; guide && i < entries; i++)
        /* relaxed: whoever still looks there only misses its key */
        atomic_store_explicit(&guide->entry[i], 0, memory_order_relaxed);
    if (!guide && (guide = kp__alloc(&kp__life, bytes, 64)) != NULL) {
        guide->bits = bits;
        guide->mask = entries - 2;
    }
    if (guide) hollow(guide); /* until keys enter */
    return guide;
}

void kp__guide_drop(struct kp__guide *guide)
{
    if (!guide) return;
    hollow(guide);
    kp__lock_take(&lock, &kp__life);
    guide->next = spare[guide->bits];
    spare[guide->bits] = guide;
    kp__lock_give(&lock, &kp__life);
}

/* Where in its bucket an entry with this hash is or belongs: at an entry with the same upper half
 * of the hash, which no search would get past; else at the first free place from its own on; else
 * at its own, from which it pushes another out. */
static _Atomic uint64_t *place(struct kp__guide *guide, uint64_t hash)
{
    size_t own = (size_t)hash & (guide->mask | 1);
    _Atomic uint64_t *free = NULL;

    for (size_t i = 0; i < KP__BUCKET; i++) {
        _Atomic uint64_t *at = &guide->entry[own ^ i];
        if (kp__guide_find_at(at, hash) <= UINT32_MAX) return at;
        /* relaxed: written under the pool's lock only */
        if (!free && atomic_load_explicit(at, memory_order_relaxed) == 0) free = at;
    }
    return free ? free : &guide->entry[own];
}

void kp__guide_enter(struct kp__guide *guide, uint64_t hash, uint32_t to)
{
    /* release: pairs with the acquire in kp__guide_find_at; the line it leads to was made before */
    atomic_store_explicit(place(guide, hash), hash ^ to, memory_order_release);
}

void kp__guide_leave(struct kp__guide *guide, uint64_t hash)
{
    _Atomic uint64_t *at = place(guide, hash);

    /* relaxed: as above; whoever still finds the entry compares what it leads to */
    if (kp__guide_find_at(at, hash) <= UINT32_MAX)
        atomic_store_explicit(at, 0, memory_order_relaxed);
}
