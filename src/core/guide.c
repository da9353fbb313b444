/* SPDX-License-Identifier: MIT
 *
 * The guides of guide.h: made, used again, written.
 */
#include "core/guide.h"

#include <stdbool.h>

#include "base/lock.h"

#ifndef KP__GUIDE_LEAST
#define KP__GUIDE_LEAST 4 /* bits */
#endif
enum {
    SIZES = sizeof(size_t) > 4 ? 28 : 24, /* the bytes of the largest are a number */
    DENSE = 12                            /* bits: from here on, 256 KiB, memory counts */
};

static struct kp__lock lock;
static struct kp__guide *spare[SIZES]; /* Guard: lock. By bits */

void kp__guides_in_child(void)
{
    atomic_store(&lock.word, 0);
    for (int i = 0; i < SIZES; i++) spare[i] = NULL;
}

/* A key for each line, so that 1 of 100 is not at its own place; two of large ones: 3 of 100. */
static uint64_t room(uint32_t bits)
{
    return (uint64_t)(bits < DENSE ? 1 : 2) << bits;
}

uint64_t kp__guide_room(const struct kp__guide *guide)
{
    return guide ? room(guide->bits) : 0;
}

/* What is in there is not needed, or nothing is. */
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
        /* relaxed: who still looks there finds nothing of his own */
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

/* The place of this entry in its bucket: one with the same half of the hash, which nobody would get
 * past, its own, another free one; or that of whom it pushes out. */
static _Atomic uint64_t *place(struct kp__guide *guide, uint64_t hash)
{
    size_t own = (size_t)hash & (guide->mask | 1);
    _Atomic uint64_t *free = NULL;

    for (size_t i = 0; i < KP__BUCKET; i++) {
        _Atomic uint64_t *at = &guide->entry[own ^ i];
        if (kp__guide_to(at, hash) <= UINT32_MAX) return at;
        /* relaxed: written under the lock only */
        if (!free && atomic_load_explicit(at, memory_order_relaxed) == 0) free = at;
    }
    return free ? free : &guide->entry[own];
}

void kp__guide_enter(struct kp__guide *guide, uint64_t hash, uint32_t to)
{
    /* release: pairs with the acquire of who finds it */
    atomic_store_explicit(place(guide, hash), hash ^ to, memory_order_release);
}

void kp__guide_leave(struct kp__guide *guide, uint64_t hash)
{
    _Atomic uint64_t *at = place(guide, hash);

    /* relaxed: as above; who still finds it finds nothing of his own */
    if (kp__guide_to(at, hash) <= UINT32_MAX) atomic_store_explicit(at, 0, memory_order_relaxed);
}
