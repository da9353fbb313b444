/* SPDX-License-Identifier: MIT
 *
 * The slab of slab.h: how it grows, and what is apart from its items.
 */
#include "base/slab.h"

#include <stdatomic.h>
#include <string.h>

#include "base/check.h"

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

/* In a chunk: all items, then all first parts, then all second ones. */
void *kp__slab_part(const struct kp__slab *s, uint32_t index, int part)
{
    uint32_t chunk = kp__slab_chunk_of(index);
    size_t before = s->item_size;

    for (int i = 0; i < part; i++)
        before += s->part_size[i];
    return (char *)s->chunk[chunk] + ((size_t)KP__SLAB_FIRST << chunk) * before +
           (size_t)(index - kp__slab_begin(chunk)) * s->part_size[part];
}

void kp__slab_init(struct kp__slab *s, size_t item_size)
{
    KP__DCHECK(item_size >= sizeof(struct kp__slab_item));
    *s = (struct kp__slab){ .item_size = item_size, .free_head = KP__SLAB_NONE };
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
    s->room = kp__slab_begin(s->chunks);
    return NULL;
}

void *kp__slab_take_new(struct kp__slab *s)
{
    if (s->made == s->room) return NULL;
    struct kp__slab_item *item = kp__slab_place(s, s->made);
    memset(item, 0, s->item_size);
    item->index = s->made;
    item->next_free = KP__SLAB_NONE;
    /* zeroed before it is counted: a child of fork, into which another thread's call was copied
     * half done, may look at all that `made` counts (flow/fork.c) */
    atomic_signal_fence(memory_order_release);
    s->made++;
    return item;
}

void kp__slab_fini(struct kp__slab *s, void (*free_chunk)(void *chunk, size_t bytes, void *ctx),
                   void *ctx)
{
    for (uint32_t k = 0; k < s->chunks; k++)
        free_chunk(s->chunk[k], slab_bytes(s, k), ctx);
    s->chunks = s->room = s->made = 0;
    s->free_head = KP__SLAB_NONE;
}
