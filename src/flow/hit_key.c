/* SPDX-License-Identifier: MIT
 *
 * Hits by keys that are not pinned, in all ways but the shortest (hit.c): through a lane, for keys
 * that are longer, are compared by their fields, or have more than one resource; or with an ask.
 */
#include "flow/hit.h"
#include "flow/key.h"

#include <string.h>

#include "core/guide.h"

/* May it be a key of this pool? If not, the long way says what is wrong with it. */
static bool fits(const kp_pool *door, kp_key key)
{
    if (door->form) return key.data && key.size == (door->form->type.size | KP_STRUCT_KEY);
    return key.size <= KP__GUIDED_MOST && (key.data || key.size == 0);
}

/* Called after the guide was loaded, with acquire: its release comes after the seed was written. */
static uint64_t hash(const kp_pool *door, kp_key key)
{
    /* relaxed: a guess */
    uint64_t seed = atomic_load_explicit(&door->quick_seed, memory_order_relaxed);

    return door->form ? kp__key_quick(door->form->field, seed, key.data)
                      : kp__quick_hash(seed, key.data, key.size);
}

/* The cell is claimed. A resource that is lent keeps its key, its lane and its pool, so they can be
 * compared now. */
static bool lane_is_of(const struct kp__cell *cell, uint32_t number, const kp_pool *door,
                       kp_key key)
{
    const struct kp__lane *lane = kp__line(&kp__lanes, number);
    const char *stored = lane->key;
    size_t size = key.size & ~KP_STRUCT_KEY;

    if (cell->lane != number || lane->pool != door->id || lane->key_size != size) return false;
    if (size > KP__LANE_KEY) memcpy(&stored, lane->key, sizeof stored);
    if (door->form) return kp__key_equal(&door->form->type, stored, size, key);
    return size == 0 || memcmp(stored, key.data, size) == 0;
}

/* Swing out the cell that the guide names, or one of the lane. `to` is a guess: there may be no
 * such line, and there is none for 0. */
static struct kp__cell *claim_at(uint32_t to, uint32_t *number, uint64_t *word)
{
    if (!(to & KP__TO_LANE)) {
        struct kp__cell *cell = kp__cell_at(*number = to);
        return cell && kp__swing_out(cell, word) ? cell : NULL;
    }
    const struct kp__lane *lane = kp__lane_at(to & ~KP__TO_LANE);
    if (!lane) return NULL;
    /* acquire: as in claim (hit.c) */
    uint32_t shape = atomic_load_explicit(&lane->shape, memory_order_acquire);
    return kp__claim_of_many(lane, shape, number, word);
}

int kp__get_by_key(kp_pool *door, kp_key key, const kp_ask *ask, const void *site, kp_lease *out)
{
    struct kp__cell *cell = NULL;
    uint32_t to = 0, number;
    uint64_t word;

    if (ask && !kp__is_plain(ask)) return kp__get(door, key, ask, site, out);
    /* acquire: pairs with the release in widen_guide (room.c), after the guide was made */
    const struct kp__guide *guide = atomic_load_explicit(&door->guide, memory_order_acquire);
    if (guide && fits(door, key)) {
        to = kp__guide_find(guide, hash(door, key));
        cell = claim_at(to, &number, &word);
    }
    if (!cell) return kp__get(door, key, ask, site, out);
    kp__lend(cell, kp__lease_of_cell(number), word, ask ? ask->tag : NULL, site, out);
    bool is_of = to & KP__TO_LANE ? lane_is_of(cell, to & ~KP__TO_LANE, door, key)
                                  : kp__cell_is_of(cell, out, door, key);
    if (!is_of) {
        kp__unlend(out);
        return kp__get(door, key, ask, site, out);
    }
    if (ask && ask->why) memset(ask->why, 0, sizeof *ask->why);
    return 0;
}
