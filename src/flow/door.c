/* SPDX-License-Identifier: MIT
 *
 * Doors: what a kp_pool * points to, for ever; and the pool's lock, which lives in its door. Every
 * call enters and leaves here; what it does in between starts in get.c and release.c.
 */
#include <stdatomic.h>

#include "base/check.h"
#include "core/guide.h"
#include "flow/door.h"
#include "flow/fork.h"
#include "flow/here.h"
#include "flow/job.h"
#include "flow/resource.h"
#include "flow/upkeep.h"

/* ---- the registry of doors: geometric chunks that never move, read without a lock ------------ */

enum { CHUNKS = 26, FIRST = 64 };

static _Atomic(struct kp_pool *) chunk[CHUNKS];
static _Atomic uint32_t made;
static struct kp__lock registry; /* for writers */

static unsigned chunk_of(uint32_t index, uint32_t *first)
{
    unsigned k = 0;

    for (*first = 0; index - *first >= (uint32_t)FIRST << k; k++) *first += (uint32_t)FIRST << k;
    return k;
}

struct kp_pool *kp__door_at(uint32_t index)
{
    uint32_t first;

    /* acquire: pairs with the release in kp__door_open, after the door was written */
    if (index >= atomic_load_explicit(&made, memory_order_acquire)) return NULL;
    unsigned k = chunk_of(index, &first);
    /* acquire: pairs with the release of the chunk in kp__door_open */
    return atomic_load_explicit(&chunk[k], memory_order_acquire) + (index - first);
}

/* The thread that held the registry's lock does not exist here. It may have been writing a door,
 * but none that anybody knows yet. The lines to which guides lead are the parent's. */
void kp__doors_in_child(void)
{
    uint32_t n = atomic_load(&made);

    atomic_store(&registry.word, 0);
    for (uint32_t i = 0; i < n; i++) atomic_store(&kp__door_at(i)->guide, NULL);
}

int kp__door_open(struct kp__pool *pool, const struct kp__world *world)
{
    uint32_t first, index;
    struct kp_pool *door = NULL;

    kp__lock_take(&registry, &kp__life);
    bool watched = kp__fork_watch();
    /* relaxed, here and for the chunk: written under this lock only */
    index = atomic_load_explicit(&made, memory_order_relaxed);
    unsigned k = chunk_of(index, &first);
    if (index == first && !atomic_load_explicit(&chunk[k], memory_order_relaxed)) {
        void *room = kp__alloc(&kp__life, ((size_t)FIRST << k) * sizeof *door, 64);
        /* release: pairs with the acquires in kp__door_at and kp__is_door */
        atomic_store_explicit(&chunk[k], room, memory_order_release);
    }
    if (watched) door = atomic_load_explicit(&chunk[k], memory_order_relaxed);
    if (door) {
        door += index - first;
        door->index = index;
        door->on_fork = pool->reopen ? KP_FORK_FRESH : KP_FORK_REFUSE;
        pool->forks = atomic_load(&kp__forks);
        atomic_store(&door->forks, pool->forks);
        door->world = *world;
        kp__heap_node_init(&door->upkeep.node);
        kp__heap_node_init(&door->terms.node);
        atomic_store(&door->pool, pool);
        pool->door = door;
        pool->core.id = door->id = index + 1;
        pool->world = &door->world;
        /* release: pairs with the acquires of `made` in kp__door_at and kp__is_door; the door was
         * written before */
        atomic_store_explicit(&made, index + 1, memory_order_release);
    }
    kp__lock_give(&registry, &kp__life);
    return door ? 0 : KP_ENOMEM;
}

bool kp__is_door(const void *maybe)
{
    /* acquire, here and for the chunks: pairs with the releases in kp__door_open */
    uint32_t n = atomic_load_explicit(&made, memory_order_acquire), first = 0;

    for (unsigned k = 0; first < n; first += (uint32_t)FIRST << k, k++) {
        const struct kp_pool *door = atomic_load_explicit(&chunk[k], memory_order_acquire);
        uintptr_t from = (uintptr_t)door, at = (uintptr_t)maybe;
        uint32_t here = n - first < (uint32_t)FIRST << k ? n - first : (uint32_t)FIRST << k;
        if (at >= from && at < from + here * sizeof *door) return (at - from) % sizeof *door == 0;
    }
    return false;
}

bool kp_is_pool(const void *maybe)
{
    struct kp__todo todo;
    int code;
    struct kp__pool *pool =
        kp__is_door(maybe) ? kp__enter((kp_pool *)(uintptr_t)maybe, &code) : NULL;

    if (!pool) return false;
    bool open = pool->core.phase == KP__OPEN;
    kp__todo_init(&todo, pool->world);
    kp__leave(pool, &todo);
    return open;
}

/* ---- the lock -------------------------------------------------------------------------------- */

struct kp__pool *kp__enter(kp_pool *door, int *code)
{
    struct kp__pool *pool;

    *code = KP_EMISUSE;
    if (!door) return NULL;
    /* acquire: pairs with the release in start_anew (fork.c); relaxed: kp__forks is written only in
     * a child of fork, before that has a second thread */
    if (atomic_load_explicit(&door->forks, memory_order_acquire) !=
            atomic_load_explicit(&kp__forks, memory_order_relaxed) &&
        (*code = kp__fork_arrive(door)) != 0)
        return NULL;
    *code = KP_ECLOSED;
    /* acquire: pairs with the release in kp__leave. That a pool is gone is told without its lock */
    if (!atomic_load_explicit(&door->pool, memory_order_acquire)) return NULL;
    kp__lock_take(&door->lock, &door->world);
    /* relaxed: written under this lock */
    pool = atomic_load_explicit(&door->pool, memory_order_relaxed);
    if (pool) {
        *code = 0;
        return pool;
    }
    kp__lock_give(&door->lock, &door->world);
    return NULL;
}

static void unlock(struct kp__pool *pool)
{
#if defined KP_VERIFY && KP_VERIFY
    kp__verify(&pool->core);
#endif
    kp__announce(pool);
    kp__lock_give(&pool->door->lock, pool->world);
}

static void free_spent(const struct kp__world *world, struct kp__todo *todo)
{
    struct kp__list *node;

    while ((node = kp__list_first(&todo->spent)) != NULL) {
        kp__list_remove(node);
        kp__free(world, KP__OF(node, struct kp__failure, link), sizeof(struct kp__failure));
    }
}

static void destroy_doomed(struct kp__pool *pool, struct kp__todo *todo)
{
    struct kp__list *node;

    while ((node = kp__list_first(&todo->doomed)) != NULL) {
        kp__list_remove(node);
        kp__destroy(pool, KP__OF(node, struct kp__slot, link), NULL, todo);
    }
}

/* What needs no lock, and no pool. */
static void do_the_rest(const struct kp__world *world, struct kp__todo *todo)
{
    if (kp__todo_is_empty(todo)) return;
    kp__todo_run_wakes(todo);
    free_spent(world, todo);
}

void kp__step_aside(struct kp__pool *pool, struct kp__todo *todo)
{
    pool->inside++;
    unlock(pool);
    do_the_rest(pool->world, todo);
}

void kp__step_out(struct kp__pool *pool, struct kp__todo *todo)
{
    destroy_doomed(pool, todo);
    kp__step_aside(pool, todo);
}

void kp__step_in(struct kp__pool *pool)
{
    kp__lock_take(&pool->door->lock, pool->world);
    KP__DCHECK(pool->inside > 0);
    pool->inside--;
}

void kp__come_in(struct kp__pool *pool, struct kp__todo *todo)
{
    kp__todo_init(todo, pool->world);
    kp__lock_take(&pool->door->lock, pool->world);
}

bool kp__do(struct kp__pool *pool, struct kp__todo *todo)
{
    if (kp__todo_is_empty(todo)) return false;
    kp__step_out(pool, todo);
    kp__step_in(pool);
    return true;
}

void kp__leave(struct kp__pool *pool, struct kp__todo *todo)
{
    struct kp_pool *door = pool->door;

    destroy_doomed(pool, todo);
    if (!kp__is_over(pool)) {
        unlock(pool);
        do_the_rest(&door->world, todo);
        return;
    }
    if (pool->term != KP__NEVER) kp__life_terms(door, KP__NEVER);
    if (pool->upkeep) pool->upkeep(door, KP__NEVER, pool->world->ctx);
    /* relaxed: the guide is only a guess; the claim checks it */
    atomic_store_explicit(&door->guide, NULL, memory_order_relaxed);
    /* release: pairs with the acquires in kp__enter and kp_now_ns */
    atomic_store_explicit(&door->pool, NULL, memory_order_release);
    kp__lock_give(&door->lock, &door->world);
    do_the_rest(&door->world, todo);
    kp__teardown(pool);
}

/* ---- news ------------------------------------------------------------------------------------ */

void kp__tell_news(struct kp__pool *pool, struct kp__todo *todo)
{
    if (pool->awaiting == 0) return;
    /* relaxed: under the lock, under which kp__await_news reads it before it parks */
    atomic_fetch_add_explicit(&pool->news, 1, memory_order_relaxed);
    for (uint32_t i = 0; i < pool->awaiting; i++) kp__todo_wake(todo, &pool->news);
}

void kp__await_news(struct kp__pool *pool, struct kp__todo *todo, uint64_t until)
{
    /* relaxed: under the lock */
    uint32_t seen = atomic_load_explicit(&pool->news, memory_order_relaxed);

    pool->awaiting++;
    kp__step_out(pool, todo);
    pool->world->park((uint32_t *)&pool->news, seen, until, pool->world->ctx);
    kp__step_in(pool);
    pool->awaiting--;
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* How many bytes are wanted for the first slab or map that lacks room, and which it is: the other
 * pointer is NULL. 0: none lacks room. */
static size_t wanted(struct kp__pool *pool, struct kp__slab **slab, struct kp__map **map)
{
    struct kp__core *core = &pool->core;
    struct kp__slab *slabs[] = { &core->slots, &core->errands, &core->subpools, &pool->jobs };
    struct kp__map *maps[] = { &core->keys, &core->idents, &core->groups };
    size_t bytes;

    core->errands.least = kp__slab_room(&core->slots);
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
    struct kp__todo todo;

    kp__todo_init(&todo, pool->world);
    kp__step_out(pool, &todo);
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
    kp__step_out(pool, &todo);
    kp__guide_drop(wide);
    kp__step_in(pool);
}

static KP__APART bool make_more_room(struct kp__pool *pool)
{
    struct kp__slab *slab;
    struct kp__map *map;
    struct kp__todo todo;
    size_t bytes;

    free_old_arrays(pool);
    if (is_guide_full(&pool->core)) widen_guide(pool);
    while ((bytes = wanted(pool, &slab, &map)) > 0) {
        size_t dense = slab ? kp__slab_dense(slab) : bytes;
        kp__todo_init(&todo, pool->world);
        kp__step_out(pool, &todo);
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

/* ---- time ------------------------------------------------------------------------------------ */

uint64_t kp__after(uint64_t now, int64_t ms)
{
    if (ms < 0 && ms != KP_OFF) return now; /* KP_NONE; or what was left of a time that is over */
    if (ms == KP_OFF || (uint64_t)ms > (KP__NEVER - now) / 1000000) return KP__NEVER;
    return now + (uint64_t)ms * 1000000;
}

uint64_t kp__end_of(uint64_t now, int64_t ms)
{
    return kp__after(now, ms ? ms : KP_SECONDS(30));
}

int64_t kp__ms_up(uint64_t ns)
{
    return (int64_t)(ns / 1000000 + (ns % 1000000 != 0));
}

void kp__pause_until(kp_pool *door, uint64_t until_ns)
{
    uint32_t word = 0;

    while (kp__now(&door->world) < until_ns) door->world.park(&word, 0, until_ns, door->world.ctx);
}

uint64_t kp__random(kp_pool *door)
{
    return door->world.random(door->world.ctx);
}

uint64_t kp_now_ns(kp_pool *door)
{
    /* acquire: pairs with the release in kp__leave */
    if (!door || !atomic_load_explicit(&door->pool, memory_order_acquire)) return 0;
    return kp__now(&door->world);
}

kp_deadline kp_deadline_in(kp_pool *door, int64_t within_ms)
{
    kp_deadline deadline = { 0 };
    struct kp__todo todo;
    int code;
    struct kp__pool *pool = kp__enter(door, &code);

    if (!pool) return deadline;
    uint64_t now = kp__time(pool);
    deadline.ns = within_ms == 0 ? kp__later(now, pool->deadline) : kp__after(now, within_ms);
    kp__todo_init(&todo, pool->world);
    kp__leave(pool, &todo);
    return deadline;
}
