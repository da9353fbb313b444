/* SPDX-License-Identifier: MIT
 *
 * Hits by keys that are bytes, in all ways but the shortest (hit.c): by way of a lane, because the
 * key is longer or has more than one resource, or with an ask.
 */
#include "flow/hit.h"

#include <string.h>

int kp__get_after_all(kp_pool *door, kp_key key, const kp_ask *ask, const void *site,
                      kp_lease *out)
{
    kp__unlend(out);
    return kp__get(door, key, ask, site, out);
}

/* What is lent keeps its key, its lane and its pool: so now they can be compared. */
static bool lane_is_of(const struct kp__cell *cell, uint32_t number, const kp_pool *door,
                       kp_key key)
{
    const struct kp__lane *lane = kp__line(&kp__lanes, number);
    const char *stored = lane->key;

    if (cell->lane != number || lane->pool != door->id || lane->key_size != key.size) return false;
    if (key.size > KP__LANE_KEY) memcpy(&stored, lane->key, sizeof stored);
    return key.size == 0 || memcmp(stored, key.data, key.size) == 0;
}

/* A guess: there may be no such line. */
static struct kp__cell *claim(uint32_t to, uint32_t *number, uint64_t *word)
{
    if (!(to & KP__TO_LANE)) {
        struct kp__cell *cell = kp__cell_at(*number = to);
        return cell && kp__swing_out(cell, word) ? cell : NULL;
    }
    const struct kp__lane *lane = kp__lane_at(to & ~KP__TO_LANE);
    if (!lane) return NULL;
    /* acquire: pairs with the release of who opened it; a guess all the same */
    uint32_t shape = atomic_load_explicit(&lane->shape, memory_order_acquire);
    return kp__claim_of_many(lane, shape, number, word);
}

int kp__get_by_bytes(kp_pool *door, kp_key key, const kp_ask *ask, const void *site, kp_lease *out)
{
    struct kp__cell *cell = NULL;
    uint32_t to = 0, number;
    uint64_t word;

    if (!door || (ask && !kp__is_plain(ask))) return kp__get(door, key, ask, site, out);
    /* acquire: pairs with the release in kp__make_room */
    const struct kp__guide *guide = atomic_load_explicit(&door->guide, memory_order_acquire);
    if (guide && key.size <= KP__GUIDED_MOST && (key.data || key.size == 0))
        to = kp__guide_find(guide, kp__quick(door, key));
    if (to) cell = claim(to, &number, &word);
    if (!cell) return kp__get(door, key, ask, site, out);
    kp__lend(cell, number, word, ask ? ask->tag : NULL, site, out);
    bool is_of = to & KP__TO_LANE ? lane_is_of(cell, to & ~KP__TO_LANE, door, key)
                                  : kp__cell_is_of(cell, door, key);
    if (!is_of) return kp__get_after_all(door, key, ask, site, out);
    if (ask && ask->why) memset(ask->why, 0, sizeof *ask->why);
    return 0;
}
