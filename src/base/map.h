/* SPDX-License-Identifier: MIT
 *
 * An intrusive chained hash table that grows a little at a time: while an old array is being
 * emptied, every operation moves a few of its buckets to the new one, so no single operation pays
 * for all nodes. It never shrinks.
 *
 * Not synchronised; find moves buckets too, so it counts as a write. The low bits of a hash choose
 * the bucket: hashes must be well mixed.
 *
 * The map neither allocates nor frees. Its owner offers memory; to allocate it, the owner may give
 * up its lock in between:
 *
 *     if ((p = kp__map_spent(&map, &bytes)) != NULL)
 *         free p                                       until then the map does not grow again
 *     if ((bytes = kp__map_wants(&map)) != 0)
 *         p = allocate bytes, zeroed
 *         p = kp__map_grow(&map, p, bytes)             free p if it comes back: others were faster
 *
 * A zeroed map whose `hash` is set is an empty map. Without an array it can hold nothing
 * (kp__map_room); with one it always works, only slower if growth was refused.
 */
#ifndef KP__BASE_MAP_H
#define KP__BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kp__map_node {
    struct kp__map_node *next;
};

struct kp__map {
    uint64_t (*hash)(const struct kp__map_node *node); /* set by the owner; constant of each node */
    struct kp__map_node **bucket;       /* the array in use */
    struct kp__map_node **old;          /* the one being emptied, or NULL */
    size_t buckets, old_buckets;        /* powers of two, or 0 */
    size_t moved;                       /* the buckets of old below this have been emptied */
    size_t count;                       /* nodes */
};

/* The node with this hash for which same(node, ctx) holds, or NULL. */
struct kp__map_node *kp__map_find(struct kp__map *map, uint64_t hash,
                                  bool (*same)(const struct kp__map_node *, const void *ctx),
                                  const void *ctx);

/* Is there an array, so that insert may be called? */
static inline bool kp__map_room(const struct kp__map *map)
{
    return map->buckets != 0;
}

/* Does not look for an equal one. */
void kp__map_insert(struct kp__map *map, struct kp__map_node *node);

/* This node will soon be taken out: prefetch what that needs. */
void kp__map_expect(const struct kp__map *map, const struct kp__map_node *node);

/* False: it was not there. */
bool kp__map_remove(struct kp__map *map, struct kp__map_node *node);

/* The bytes of the next array; 0: it can't have a larger one. */
size_t kp__map_next(const struct kp__map *map);

/* The bytes of the array it would like to have now, or 0. */
static inline size_t kp__map_wants(const struct kp__map *map)
{
    return map->old != NULL || map->count < map->buckets ? 0 : kp__map_next(map);
}

/* Does it want nothing, and have nothing to give back? */
static inline bool kp__map_at_rest(const struct kp__map *map)
{
    return map->old != NULL ? map->moved < map->old_buckets : map->count < map->buckets;
}

/* Offer a zeroed array. Returns the array if it is not what the map wants (any more), else NULL. */
void *kp__map_grow(struct kp__map *map, void *zeroed_array, size_t bytes);

/* An array that is no longer used and how large it is, or NULL. */
void *kp__map_spent(struct kp__map *map, size_t *bytes);

/* Give back every array. Nodes still in the map are not touched; the map is as new. */
void kp__map_fini(struct kp__map *map, void (*free_array)(void *array, size_t bytes, void *ctx),
                  void *ctx);

#endif
