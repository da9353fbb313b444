/* SPDX-License-Identifier: MIT
 *
 * The slab of slab.h. Chunk k holds the indexes [64 * (2^k - 1), 64 * (2^(k+1) - 1)), so the
 * highest bit of index / 64 + 1 names the chunk. The end of the last one, 2^32 - 64, still fits in
 * 32 bits.
 */
#include "slab.h"

#include <stdatomic.h>
#include <string.h>

#include "check.h"

static uint32_t slab_begin(uint32_t chunk)
{
    return KP__SLAB_FIRST * (((uint32_t)1 << chunk) - 1);
}

static uint32_t slab_chunk_of(uint32_t index)
{
    return 31 - (uint32_t)__builtin_clz(index / KP__SLAB_FIRST + 1);
}

/* The bytes of an item and its parts. */
static size_t slab_share(const struct kp__slab *s)
{
    size_t bytes = s->item_size;

    for (int i = 0; i < KP__SLAB_PARTS; i++)
        bytes += s->part_size[i];
    return bytes;
}

static size_t slab_bytes(const struct kp__slab *s, uint32_t chunk)
{
    return ((size_t)KP__SLAB_FIRST << chunk) * slab_share(s);
}

static void *slab_place(const struct kp__slab *s, uint32_t index)
{
    uint32_t chunk = slab_chunk_of(index);

    return (char *)s->chunk[chunk] + (size_t)(index - slab_begin(chunk)) * s->item_size;
}

/* In a chunk: all items, then all first parts, then all second ones. */
void *kp__slab_part(const struct kp__slab *s, uint32_t index, int part)
{
    uint32_t chunk = slab_chunk_of(index);
    size_t before = s->item_size;

    for (int i = 0; i < part; i++)
        before += s->part_size[i];
    return (char *)s->chunk[chunk] + ((size_t)KP__SLAB_FIRST << chunk) * before +
           (size_t)(index - slab_begin(chunk)) * s->part_size[part];
}

void kp__slab_init(struct kp__slab *s, size_t item_size)
{
    KP__DCHECK(item_size >= sizeof(struct kp__slab_item));
    *s = (struct kp__slab){ .item_size = item_size, .free_head = KP__SLAB_NONE };
}

void *kp__slab_at(const struct kp__slab *s, uint32_t index)
{
    return index < s->made ? slab_place(s, index) : NULL;
}

size_t kp__slab_next(const struct kp__slab *s)
{
    if (s->chunks == KP__SLAB_CHUNKS || slab_share(s) > (SIZE_MAX >> s->chunks) / KP__SLAB_FIRST)
        return 0;
    return slab_bytes(s, s->chunks);
}

size_t kp__slab_dense(const struct kp__slab *s)
{
    return ((size_t)KP__SLAB_FIRST << s->chunks) * s->item_size;
}

void *kp__slab_extend(struct kp__slab *s, void *chunk, size_t bytes)
{
    if (bytes == 0 || bytes != kp__slab_wants(s))
        return chunk;
    s->chunk[s->chunks++] = chunk;
    return NULL;
}

void *kp__slab_take(struct kp__slab *s)
{
    struct kp__slab_item *item;

    if (s->free_head != KP__SLAB_NONE) {
        item = slab_place(s, s->free_head);
        s->free_head = item->next_free;
    } else if (s->made < kp__slab_room(s)) {
        item = slab_place(s, s->made);
        memset(item, 0, s->item_size);
        item->index = s->made;
        /* zeroed before it is counted: a child of fork, into which another thread's call was copied
         * half done, may look at all that `made` counts (flow/fork.c) */
        atomic_signal_fence(memory_order_release);
        s->made++;
    } else {
        return NULL;
    }
    item->next_free = KP__SLAB_NONE;
    return item;
}

void kp__slab_put(struct kp__slab *s, void *item)
{
    struct kp__slab_item *header = item;

    KP__DCHECK(kp__slab_at(s, header->index) == item);
    header->next_free = s->free_head;
    s->free_head = header->index;
}

void kp__slab_fini(struct kp__slab *s, void (*free_chunk)(void *chunk, size_t bytes, void *ctx),
                   void *ctx)
{
    for (uint32_t k = 0; k < s->chunks; k++)
        free_chunk(s->chunk[k], slab_bytes(s, k), ctx);
    s->chunks = s->made = 0;
    s->free_head = KP__SLAB_NONE;
}
