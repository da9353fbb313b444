/* SPDX-License-Identifier: MIT
 *
 * Items of one type, addressed by a 32-bit index, in chunks that double in size. An item never
 * moves and its memory stays until fini, so a stale pointer or index still finds an item of the
 * same type (what it finds there must tell that it is stale: a generation, for instance).
 *
 * Not synchronised. Every operation is O(1). The slab neither allocates nor frees. Its owner offers
 * memory; to allocate it, the owner may give up its lock in between:
 *
 *     if ((bytes = kp__slab_wants(&slab)) != 0)
 *         p = allocate bytes, aligned to 64
 *         p = kp__slab_extend(&slab, p, bytes)         free p if it comes back: others were faster
 *     item = kp__slab_take(&slab)                      NULL: none is free
 *
 * An item is zeroed when it is taken for the first time. So the part of a chunk that was never used
 * is not touched, and the system need not find memory for it. For the same reason an item may have
 * parts that lie apart from it, next to the same part of other items, for what few items need: a
 * part costs no memory until it, or one of its neighbours, is written to.
 */
#ifndef KP__BASE_SLAB_H
#define KP__BASE_SLAB_H

#include "base/check.h"

#include <stddef.h>
#include <stdint.h>

/* Chunk k holds KP__SLAB_FIRST << k items: 2^32 - 64 in all. */
enum { KP__SLAB_CHUNKS = 26, KP__SLAB_FIRST = 64, KP__SLAB_PARTS = 5 };

#define KP__SLAB_NONE UINT32_MAX

struct kp__slab_item {                  /* the first member of every item; only for the slab */
    uint32_t index;
    uint32_t next_free;                 /* meaningful on the free list only */
};

struct kp__slab {
    size_t item_size;
    size_t part_size[KP__SLAB_PARTS];   /* set by the owner before the first chunk; or 0 */
    void *chunk[KP__SLAB_CHUNKS];
    uint32_t chunks, room;              /* how many items these hold, taken or free */
    uint32_t made;                      /* items ever taken; those beyond are untouched memory */
    uint32_t free_head;                 /* the item put back last, or KP__SLAB_NONE */
    uint32_t least;                     /* set by the owner: have room for so many, used or not */
};

void kp__slab_init(struct kp__slab *s, size_t item_size);

/* Chunk k holds the indexes [64 * (2^k - 1), 64 * (2^(k+1) - 1)), so the highest bit of
 * index / 64 + 1 names the chunk. The end of the last one, 2^32 - 64, still fits in 32 bits. */
static inline uint32_t kp__slab_begin(uint32_t chunk)
{
    return KP__SLAB_FIRST * (((uint32_t)1 << chunk) - 1);
}

static inline uint32_t kp__slab_chunk_of(uint32_t index)
{
    return 31 - (uint32_t)__builtin_clz(index / KP__SLAB_FIRST + 1);
}

/* Where it is, or will be: there is memory for it. */
static inline void *kp__slab_place(const struct kp__slab *s, uint32_t index)
{
    if (KP__MOSTLY(index < KP__SLAB_FIRST))
        return (char *)s->chunk[0] + (size_t)index * s->item_size;
    uint32_t chunk = kp__slab_chunk_of(index);
    return (char *)s->chunk[chunk] + (size_t)(index - kp__slab_begin(chunk)) * s->item_size;
}

/* The item with this index, taken or free; NULL if there has never been one. */
static inline void *kp__slab_at(const struct kp__slab *s, uint32_t index)
{
    return index < s->made ? kp__slab_place(s, index) : NULL;
}

/* A part of this item, not initialised: whoever needs it first writes it. */
void *kp__slab_part(const struct kp__slab *s, uint32_t index, int part);

/* The bytes of the next chunk; 0: there can be no more. */
size_t kp__slab_next(const struct kp__slab *s);

/* The same if no item is free, or there is room for fewer than `least`; else 0. */
static inline size_t kp__slab_wants(const struct kp__slab *s)
{
    if ((s->free_head != KP__SLAB_NONE || s->made < s->room) && s->room >= s->least) return 0;
    return kp__slab_next(s);
}

/* How many bytes of that chunk are its items, which are taken one after the other; the parts lie
 * behind them. */
size_t kp__slab_dense(const struct kp__slab *s);

/* Offer a chunk of so many bytes. Returns it if it is not what the slab wants (any more:
 * another one may have been added and used up meanwhile, and the next is larger), else NULL. */
void *kp__slab_extend(struct kp__slab *s, void *chunk, size_t bytes);

/* A free item: zero except for its header if new, else as it was when put. NULL: none is free. */
void *kp__slab_take_new(struct kp__slab *s);
static inline void *kp__slab_take(struct kp__slab *s)
{
    if (s->free_head == KP__SLAB_NONE) return kp__slab_take_new(s);
    struct kp__slab_item *item = kp__slab_place(s, s->free_head);
    s->free_head = item->next_free;
    item->next_free = KP__SLAB_NONE;
    return item;
}

static inline void kp__slab_put(struct kp__slab *s, void *item)
{
    struct kp__slab_item *header = item;

    KP__DCHECK(kp__slab_at(s, header->index) == item);
    header->next_free = s->free_head;
    s->free_head = header->index;
}

/* Give back every chunk; the slab is as before the first. */
void kp__slab_fini(struct kp__slab *s, void (*free_chunk)(void *chunk, size_t bytes, void *ctx),
                   void *ctx);

#endif
