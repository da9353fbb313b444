/* SPDX-License-Identifier: MIT
 *
 * Claim and give back on an open lane: one swing of a word each. lane.h says why nothing is lost.
 */
#include "flow/hit.h"

#include "base/mix.h"

#include <string.h>

/* Does it ask for nothing that a hit could not give, and is it in order? */
static bool is_plain(const kp_ask *ask, const char **tag)
{
    *tag = ask->tag;
    return !(ask->flags & ~(uint32_t)(KP_DONT_WAIT | KP_DONT_CREATE)) && ask->until.ns == 0 &&
           (ask->within_ms >= 0 || ask->within_ms == KP_NONE || ask->within_ms == KP_OFF) &&
           !(ask->reserved0 | ask->reserved[0] | ask->reserved[1] | ask->reserved[2]);
}

/* Where this thread looks first: where it was lucky last, so that threads keep out of each other's
 * way. Else by the golden ratio, which spreads consecutive numbers evenly over any range (Knuth,
 * TAOCP 3, 6.4). */
static KP__PART uint32_t first_of(uint32_t count)
{
    if (kp__here.cell < count) return kp__here.cell;
    return (uint32_t)((uint64_t)(kp__here.thread * UINT32_C(2654435769)) * count >> 32);
}

/* A cell of this lane, swung to a new lease; NULL: none was idle, or the lane is shut. */
static KP__PART struct kp__cell *claim(const struct kp__lane *lane, uint32_t *number,
                                       uint64_t *lent)
{
    /* acquire: pairs with the release of who opened it; a guess all the same */
    uint32_t shape = atomic_load_explicit(&lane->shape, memory_order_acquire);
    uint32_t count = shape & KP__SHAPE_CELLS, k = count > 1 ? first_of(count) : 0;

    for (uint32_t i = 0; i < count; i++, k = k + 1 < count ? k + 1 : 0) {
        *number = kp__lane_cell(lane, shape, k);
        struct kp__cell *cell = (struct kp__cell *)kp__line(&kp__cells, *number);
        /* relaxed: the swing vouches for it */
        uint64_t word = atomic_load_explicit(&cell->word, memory_order_relaxed);
        if ((word & KP__WORD_STATE) != KP__HERE) continue;
        *lent = word + KP__WORD_NEXT + (KP__GONE - KP__HERE);
        /* acquire: pairs with the release of who gave it back, or opened the lane */
        if (atomic_compare_exchange_strong_explicit(&cell->word, &word, *lent,
                                                    memory_order_acquire, memory_order_relaxed)) {
            if (count > 1 && kp__here.cell != k) kp__here.cell = k;
            return cell;
        }
    }
    return NULL;
}

static KP__PART void lend(struct kp__cell *cell, uint32_t number, uint64_t word, const char *tag,
                        const void *site, kp_lease *out)
{
    out->resource = cell->resource;
    /* relaxed, all: nobody else writes them while it is lent */
    out->opaque[0] = atomic_load_explicit(&cell->id, memory_order_relaxed);
    out->opaque[1] = word;
    out->opaque[2] = kp__lease_marks(atomic_load_explicit(&kp__forks, memory_order_relaxed)) |
                     KP__LEASE_CELL | number;
    atomic_store_explicit(&cell->tag, tag, memory_order_relaxed);
    atomic_store_explicit(&cell->site, site, memory_order_relaxed);
}

/* Somebody else's cell, whose number was read a moment too late: it goes back. */
static KP__APART bool undo(kp_lease *lease)
{
    kp__unlend(lease);
    return false;
}

/* By a key that was pinned. What is lent keeps its key, its lane and its pool, so that afterwards
 * they can be compared. */
static KP__PART bool hit_pinned(const kp_pool *door, kp_key key, const char *tag,
                                const void *site, kp_lease *out)
{
    uint32_t number = (uint32_t)(uintptr_t)key.data, at;
    const struct kp__lane *lane = kp__lane_at(number);
    uint64_t word;

    /* relaxed: a guess */
    if (!lane || atomic_load_explicit(&lane->pin, memory_order_relaxed) != key.size ||
        !kp__pin_is_of(door->index + 1, key.size) || (uintptr_t)key.data > UINT32_MAX)
        return false;
    struct kp__cell *cell = claim(lane, &at, &word);
    if (!cell) return false;
    lend(cell, at, word, tag, site, out);
    if (cell->lane != number) return undo(out);
    size_t pin = atomic_load_explicit(&lane->pin, memory_order_relaxed);
    /* cover: never, because it takes another thread to let the pin go in between */
    return pin == key.size ? true : undo(out);
}

static inline bool same_key(const struct kp__lane *lane, kp_key key)
{
    const char *stored = lane->key;

    if (lane->key_size != key.size) return false;
    if (key.size > KP__LANE_KEY) memcpy(&stored, lane->key, sizeof stored);
    return key.size == 0 || kp__same_bytes(stored, key.data, key.size);
}

static KP__PART bool hit_by_bytes(const kp_pool *door, kp_key key, const char *tag,
                                  const void *site, kp_lease *out)
{
    /* acquire: pairs with the release in kp__make_room */
    const struct kp__guide *guide = atomic_load_explicit(&door->guide, memory_order_acquire);
    uint64_t word;
    uint32_t at;

    if (!guide || key.size > KP__GUIDED_MOST || (!key.data && key.size)) return false;
    /* relaxed: a guess */
    uint64_t seed = atomic_load_explicit(&door->quick_seed, memory_order_relaxed);
    uint64_t hash = kp__quick_hash(seed, key.data ? key.data : "", key.size);
    uint32_t number = kp__guide_find(guide, hash);
    const struct kp__lane *lane = kp__lane_at(number);
    if (!lane || atomic_load_explicit(&lane->hash, memory_order_relaxed) != (uint32_t)hash)
        return false;
    struct kp__cell *cell = claim(lane, &at, &word);
    if (!cell) return false;
    lend(cell, at, word, tag, site, out);
    if (cell->lane == number && out->opaque[0] >> 32 == (uint64_t)door->index + 1 &&
        same_key(lane, key))
        return true;
    return undo(out);
}

int kp_get(kp_pool *door, kp_key key, const kp_ask *ask, kp_lease *out)
{
    const void *site = KP__SITE;
    const char *tag = NULL;

    if (kp__here.thread == 0) kp__number_thread();
    if (!door || (ask && !is_plain(ask, &tag))) return kp__get(door, key, ask, site, out);
    if (kp__is_pinned(key) ? hit_pinned(door, key, tag, site, out)
                           : hit_by_bytes(door, key, tag, site, out)) {
        if (ask && ask->why) memset(ask->why, 0, sizeof *ask->why);
        return 0;
    }
    return kp__get(door, key, ask, site, out);
}

void kp_release(kp_lease *lease)
{
    uint64_t last, word;

    if (!lease) return;
    last = lease->opaque[2];
    word = lease->opaque[1];
    struct kp__cell *cell = kp__cell_at((uint32_t)last);
    /* relaxed, both: the child's own, or of a cell that the swing vouches for */
    uint32_t forks = atomic_load_explicit(&kp__forks, memory_order_relaxed);
    if (!cell || last != (kp__lease_marks(forks) | KP__LEASE_CELL | (uint32_t)last) ||
        atomic_load_explicit(&cell->id, memory_order_relaxed) != lease->opaque[0] ||
        (word & KP__WORD_STATE) != KP__GONE ||
        /* release: pairs with the acquire of who takes it next, or shuts the lane */
        !atomic_compare_exchange_strong_explicit(&cell->word, &word,
                                                 word - (KP__GONE - KP__HERE),
                                                 memory_order_release, memory_order_relaxed)) {
        kp__release(lease);
        return;
    }
    lease->resource = NULL;
    lease->opaque[2] = last | KP__LEASE_ENDED;
}
