/* SPDX-License-Identifier: MIT
 *
 * The hash table of map.h. At any moment a hash has exactly one chain: in the old array if its
 * bucket there has not been moved yet, else in the new one. Everything follows from map_chain.
 */
#include "base/map.h"

#include "base/check.h"

/* With two moves per insert, the old array is empty long before the next growth is due. */
enum { MAP_FIRST_BUCKETS = 16, MAP_MOVES = 2 };

static struct kp__map_node **map_chain(const struct kp__map *map, uint64_t hash)
{
    if (map->old != NULL) {
        size_t at = (size_t)hash & (map->old_buckets - 1);
        if (at >= map->moved)
            return &map->old[at];
    }
    return &map->bucket[(size_t)hash & (map->buckets - 1)];
}

static void map_move_some(struct kp__map *map)
{
    if (map->old == NULL)
        return;
    for (int i = 0; i < MAP_MOVES && map->moved < map->old_buckets; i++) {
        struct kp__map_node *node = map->old[map->moved++];

        while (node != NULL) {
            struct kp__map_node *next = node->next;
            struct kp__map_node **chain = map_chain(map, map->hash(node));

            node->next = *chain;
            *chain = node;
            node = next;
        }
    }
}

struct kp__map_node *kp__map_find(struct kp__map *map, uint64_t hash,
                                  bool (*same)(const struct kp__map_node *, const void *ctx),
                                  const void *ctx)
{
    struct kp__map_node *node;

    if (!kp__map_room(map))
        return NULL;
    map_move_some(map);
    for (node = *map_chain(map, hash); node != NULL; node = node->next) {
        if (map->hash(node) == hash && same(node, ctx))
            break;
    }
    return node;
}

void kp__map_insert(struct kp__map *map, struct kp__map_node *node)
{
    KP__DCHECK(kp__map_room(map));
    map_move_some(map);

    struct kp__map_node **chain = map_chain(map, map->hash(node));

    node->next = *chain;
    *chain = node;
    map->count++;
}

void kp__map_expect(const struct kp__map *map, const struct kp__map_node *node)
{
    if (kp__map_room(map))
        __builtin_prefetch(map_chain(map, map->hash(node)));
}

bool kp__map_remove(struct kp__map *map, struct kp__map_node *node)
{
    if (!kp__map_room(map))
        return false;
    map_move_some(map);
    struct kp__map_node **link = map_chain(map, map->hash(node));
    for (; *link; link = &(*link)->next) {
        if (*link == node) {
            *link = node->next;
            node->next = NULL;
            map->count--;
            return true;
        }
    }
    return false;
}

size_t kp__map_next(const struct kp__map *map)
{
    if (!kp__map_room(map))
        return MAP_FIRST_BUCKETS * sizeof *map->bucket;
    if (map->buckets > SIZE_MAX / 2 / sizeof *map->bucket)
        return 0;
    return 2 * map->buckets * sizeof *map->bucket;
}

void *kp__map_grow(struct kp__map *map, void *zeroed_array, size_t bytes)
{
    if (bytes == 0 || bytes != kp__map_wants(map))
        return zeroed_array;
    map->old = map->bucket;
    map->old_buckets = map->buckets;
    map->moved = 0;
    map->bucket = zeroed_array;
    map->buckets = bytes / sizeof *map->bucket;
    return NULL;
}

void *kp__map_spent(struct kp__map *map, size_t *bytes)
{
    void *spent = map->old;

    if (spent == NULL || map->moved < map->old_buckets)
        return NULL;
    *bytes = map->old_buckets * sizeof *map->old;
    map->old = NULL;
    map->old_buckets = map->moved = 0;
    return spent;
}

void kp__map_fini(struct kp__map *map, void (*free_array)(void *array, size_t bytes, void *ctx),
                  void *ctx)
{
    if (map->old != NULL)
        free_array(map->old, map->old_buckets * sizeof *map->old, ctx);
    if (map->bucket != NULL)
        free_array(map->bucket, map->buckets * sizeof *map->bucket, ctx);
    *map = (struct kp__map){ .hash = map->hash };
}
