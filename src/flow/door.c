/* SPDX-License-Identifier: MIT
 *
 * Doors: what a kp_pool * points to, for ever; and the pool's lock, which lives in its door. Every
 * call enters and leaves here; what it does in between starts in get.c and release.c.
 */
#include <stdatomic.h>

#include "base/check.h"
#include "flow/door.h"
#include "flow/fork.h"
#include "flow/here.h"
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

struct kp_pool *kp__door_of(uint32_t id)
{
    uint32_t first, index = id - 1; /* of 0 beyond all */

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
    for (uint32_t id = 1; id <= n; id++) atomic_store(&kp__door_of(id)->guide, NULL);
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
        /* release: pairs with the acquires in kp__door_of and kp__is_door */
        atomic_store_explicit(&chunk[k], room, memory_order_release);
    }
    if (watched) door = atomic_load_explicit(&chunk[k], memory_order_relaxed);
    if (door) {
        door += index - first;
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
        /* release: pairs with the acquires of `made` in kp__door_of and kp__is_door; the door was
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
        kp__is_door(maybe) ? kp__enter((kp_pool *)(uintptr_t)maybe, &todo, &code) : NULL;

    if (!pool) return false;
    bool open = pool->core.phase == KP__OPEN;
    kp__leave(pool, &todo);
    return open;
}

/* ---- the lock -------------------------------------------------------------------------------- */

struct kp__pool *kp__enter(kp_pool *door, struct kp__todo *todo, int *code)
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
    /* acquire: pairs with the release in leave_last. That a pool is gone is told without its
     * lock */
    if (!atomic_load_explicit(&door->pool, memory_order_acquire)) return NULL;
    kp__lock_take(&door->lock, &door->world);
    /* relaxed: written under this lock */
    pool = atomic_load_explicit(&door->pool, memory_order_relaxed);
    if (pool) {
        kp__todo_init(todo, pool->world);
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

/* Called only if there are any, as is do_the_rest below: mostly there is nothing to do. */
static KP__APART void destroy_doomed(struct kp__pool *pool, struct kp__todo *todo)
{
    struct kp__list *node;

    while ((node = kp__list_first(&todo->doomed)) != NULL) {
        kp__list_remove(node);
        kp__destroy(pool, KP__OF(node, struct kp__slot, link), todo);
    }
}

/* What needs no lock, and no pool. */
static KP__APART void do_the_rest(struct kp__todo *todo)
{
    kp__todo_run_wakes(todo);
    free_spent(todo->world, todo);
}

void kp__slip_out(struct kp__pool *pool)
{
    pool->inside++;
    unlock(pool);
}

void kp__step_aside(struct kp__pool *pool, struct kp__todo *todo)
{
    kp__slip_out(pool);
    if (!kp__todo_is_empty(todo)) do_the_rest(todo);
}

void kp__step_out(struct kp__pool *pool, struct kp__todo *todo)
{
    if (!kp__list_empty(&todo->doomed)) destroy_doomed(pool, todo);
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

/* The last one leaves a closed pool, which is freed. */
static KP__APART void leave_last(struct kp__pool *pool, struct kp__todo *todo)
{
    struct kp_pool *door = pool->door;

    if (pool->term != KP__NEVER) kp__life_terms(door, KP__NEVER);
    if (pool->upkeep) pool->upkeep(door, KP__NEVER, pool->world->ctx);
    /* relaxed: the guide is only a guess; the claim checks it */
    atomic_store_explicit(&door->guide, NULL, memory_order_relaxed);
    /* release: pairs with the acquires in kp__enter and kp_now_ns */
    atomic_store_explicit(&door->pool, NULL, memory_order_release);
    kp__lock_give(&door->lock, &door->world);
    do_the_rest(todo);
    kp__teardown(pool);
}

void kp__leave(struct kp__pool *pool, struct kp__todo *todo)
{
    if (!kp__list_empty(&todo->doomed)) destroy_doomed(pool, todo);
    if (pool->core.phase == KP__CLOSED && kp__is_empty(pool)) {
        leave_last(pool, todo);
        return;
    }
    unlock(pool);
    if (!kp__todo_is_empty(todo)) do_the_rest(todo);
}

/* ---- news ------------------------------------------------------------------------------------ */

void kp__wake_for_news(struct kp__pool *pool, struct kp__todo *todo)
{
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
