/* SPDX-License-Identifier: MIT
 *
 * Room for what a new resource or key needs: slabs, maps and the guide grow here. The memory is
 * allocated without the lock, so another call may have been faster.
 */
#include "core/guide.h"
#include "flow/door.h"
#include "flow/here.h"
#include "flow/job.h"

/* How many bytes are wanted for the first slab or map that lacks room, and which it is: the other
 * pointer is NULL. 0: none lacks room. */
static size_t wanted(struct kp__pool *pool, struct kp__slab **slab, struct kp__map **map)
{
    struct kp__core *core = &pool->core;
    struct kp__slab *slabs[] = { &core->slots, &core->errands, &core->subpools, &pool->jobs };
    struct kp__map *maps[] = { &core->keys, &core->idents, &core->groups };
    size_t bytes;

    core->errands.least = core->slots.room;
    if (kp__keeps_jobs(pool)) pool->jobs.least = core->errands.least;
    *slab = NULL;
    *map = NULL;
    for (size_t i = 0; i < 4; i++)
        if ((bytes = kp__slab_wants(*slab = slabs[i])) > 0) return bytes;
    *slab = NULL;
    for (size_t i = 0; i < 3; i++)
        if ((bytes = kp__map_wants(*map = maps[i])) > 0) return bytes;
    return 0;
}

static void free_old_arrays(struct kp__pool *pool)
{
    struct kp__map *maps[] = { &pool->core.keys, &pool->core.idents, &pool->core.groups };
    size_t bytes;
    void *old;

    for (size_t i = 0; i < 3; i++)
        while ((old = kp__map_spent(maps[i], &bytes)) != NULL) kp__free(pool->world, old, bytes);
}

static bool is_guide_full(const struct kp__core *core)
{
    bool guided = core->by_bytes || core->by_fields;

    return core->lanes && guided && kp__guide_room(core->guide) <= core->key_count;
}

/* A wider guide begins empty: keys enter it when their lanes open again. If there is no memory for
 * one, the old one stays: hits can do without an entry. */
static void widen_guide(struct kp__pool *pool)
{
    struct kp__core *core = &pool->core;
    uint64_t keys = (uint64_t)core->key_count + 1;

    kp__slip_out(pool);
    struct kp__guide *wide = kp__guide_make(keys);
    kp__step_in(pool);
    if (kp__guide_room(wide) > kp__guide_room(core->guide)) {
        struct kp__guide *old = core->guide;
        core->guide = wide;
        /* relaxed: a hit loads the seed after the guide, which is stored next; release: pairs with
         * the acquires of the guide in hit.c and hit_key.c */
        atomic_store_explicit(&pool->door->quick_seed, core->quick_seed, memory_order_relaxed);
        atomic_store_explicit(&pool->door->guide, wide, memory_order_release);
        wide = old;
    }
    kp__slip_out(pool);
    kp__guide_drop(wide);
    kp__step_in(pool);
}

static KP__APART bool make_more_room(struct kp__pool *pool)
{
    struct kp__slab *slab;
    struct kp__map *map;
    size_t bytes;

    free_old_arrays(pool);
    if (is_guide_full(&pool->core)) widen_guide(pool);
    while ((bytes = wanted(pool, &slab, &map)) > 0) {
        size_t dense = slab ? kp__slab_dense(slab) : bytes;
        kp__slip_out(pool);
        void *memory = slab ? kp__alloc_raw(pool->world, bytes, 64, dense)
                            : kp__alloc(pool->world, bytes, 64), *left;
        kp__step_in(pool);
        if (!memory && slab && kp__slab_wants(slab) > 0) return false;
        if (!memory && slab) continue; /* somebody else extended it meanwhile */
        if (!memory) return kp__map_room(map); /* a map that cannot grow only gets slower */
        left = slab ? kp__slab_extend(slab, memory, bytes) : kp__map_grow(map, memory, bytes);
        kp__free(pool->world, left, bytes);
        free_old_arrays(pool);
    }
    return true;
}

/* Mostly there is room, and this look at it is all that happens. */
bool kp__make_room(struct kp__pool *pool)
{
    const struct kp__core *core = &pool->core;
    size_t wants = kp__slab_wants(&core->slots) | kp__slab_wants(&core->errands) |
                   kp__slab_wants(&core->subpools) | kp__slab_wants(&pool->jobs) |
                   is_guide_full(core);
    int at_rest = kp__map_at_rest(&core->keys) + kp__map_at_rest(&core->idents) +
                  kp__map_at_rest(&core->groups);

    return (wants == 0 && at_rest == 3) || make_more_room(pool);
}

/* ---- a slot ---------------------------------------------------------------------------------- */

static bool seats_for(struct kp__pool *pool, struct kp__slot *slot, uint32_t seats)
{
    struct kp__errand *errand = kp__errand(&pool->core, slot);

    if (errand->more_room < seats - 1) {
        kp__slip_out(pool);
        struct kp__seat *more = kp__alloc(pool->world, (seats - 1) * sizeof *more, 16);
        kp__step_in(pool);
        if (!more) return false;
        kp__free(pool->world, errand->more, errand->more_room * sizeof *more);
        errand->more = more;
        errand->more_room = seats - 1;
        pool->seated = true;
    }
    errand->seats = seats;
    kp__list_init(&errand->open_seat);
    for (uint32_t i = 1; i < seats; i++) *kp__seat_at(slot, i) = (struct kp__seat){ .lent = false };
    return true;
}

struct kp__slot *kp__slot_make(struct kp__pool *pool, struct kp__subpool *sub)
{
    uint32_t seats = (uint32_t)sub->rules->sharing; /* at most 65536 (fields.c) */

    if (!kp__make_room(pool)) return NULL; /* for a slab: the maps have room since the first key */
    struct kp__slot *slot = kp__slot_take(&pool->core);
    if (!slot) return NULL;
    if (seats_for(pool, slot, seats)) {
        slot->serial = ++pool->core.serials;
        return slot;
    }
    kp__slot_put(&pool->core, slot);
    return NULL;
}
