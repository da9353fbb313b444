/* SPDX-License-Identifier: MIT
 *
 * Children of fork: a pool that was opened before the fork starts anew at its first use in the
 * child, behind the same door. decisions/0012-children-start-anew.md has the reasons.
 *
 * The child has one thread and a copy of all memory, and at the fork the parent's other threads may
 * have been in the middle of anything. So the child takes no lock of the parent's, walks none of
 * its lists and frees none of its memory: the parent's pool stays as it lies. What the child reads
 * of it is constant, or a single word: which rules and which budget hold, that were written before;
 * and the state of each slot, which says that there is a resource only from after it was made until
 * before its destroy begins.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "base/cancel.h"
#include "base/watch.h"
#include "flow/door.h"
#include "flow/event.h"
#include "flow/fork.h"
#include "flow/here.h"
#include "flow/hit.h"
#include "flow/job.h"

_Atomic uint64_t kp__cell_leases = KP__LEASE_LIVE | KP__LEASE_CELL;

static struct kp__lock watching;
static struct kp__lock reopening; /* one thread at a time opens a pool again */
static _Atomic(struct kp__pool *) left_here; /* pools of earlier processes: for leak checkers */

static void in_child(void)
{
    uint32_t forks = atomic_fetch_add(&kp__forks, 1) + 1;

    atomic_store(&kp__cell_leases, kp__lease_marks(forks) | KP__LEASE_CELL);
    atomic_store(&watching.word, 0);
    atomic_store(&reopening.word, 0);
    kp__doors_in_child();
    kp__life_in_child();
    kp__listener_in_child();
    kp__here_in_child();
    kp__loops_in_child();
    kp__lanes_in_child();
}

bool kp__fork_watch(void)
{
    static bool done; /* Guard: watching */

    kp__lock_take(&watching, &kp__life);
    if (!done) done = pthread_atfork(NULL, NULL, in_child) == 0;
    bool watched = done;
    kp__lock_give(&watching, &kp__life);
    return watched;
}

/* ---- the parent's resources ------------------------------------------------------------------ */

static void abandon(struct kp__pool *pool, struct kp__pool *old, struct kp__slot *slot)
{
    struct kp__job job = { .item = { 0, 0 } };
    kp_why why;

    kp__job_init(&job, old, KP_JOB_ABANDON, slot, NULL, 0, KP__NEVER);
    int cancel = kp__cancel_hold(), status = old->driver.abandon(&job.face, slot->resource);
    kp__cancel_free(cancel);
    if (status >= 0) return;
    kp__job_returned(&job, status, NULL);
    kp__say_failure(&why, status, &job.failure);
    kp__event(pool, KP_EVENT_DESTROY_FAILED, slot->sub, slot->resource, status, &why);
    kp__step_in(pool);
    pool->core.seldom.destroy_failures++;
    kp__slip_out(pool);
}

/* Each slot is taken once, whichever thread comes: it is counted before it is begun, so that not
 * even a child of the child takes it again. What was being made or destroyed at the fork is left
 * alone: the parent's driver was in the middle of it. */
static void abandon_all(struct kp__pool *pool, struct kp__pool *old)
{
    struct kp__slot *slot;

    for (; old && old->driver.abandon; old = old->before)
        while ((slot = kp__slab_at(&old->core.slots, atomic_fetch_add(&old->abandoned, 1))) != NULL)
            if (slot->state == KP__IDLE || slot->state == KP__LENT || slot->state == KP__TESTED ||
                slot->state == KP__REVOKED)
                abandon(pool, old, slot);
}

/* ---- the first use --------------------------------------------------------------------------- */

/* With `reopening`. The new pool counts the caller in `inside`, so it is not freed meanwhile. */
static int start_anew(kp_pool *door, uint32_t now, struct kp__pool **out)
{
    struct kp__pool *old = atomic_load(&door->pool), *pool = NULL;
    int code = 0;

    /* without rules it was just being opened, by a thread that is not here: nobody got its door */
    /* cover: never, because nobody can use a door that was handed to nobody */
    if (old && old->core.rules && (code = kp__pool_reopen(door, old, &pool)) != 0) return code;
    if (pool) {
        pool->forks = now;
        pool->inside = 1;
        pool->before = old;
        pool->core.key_serials = old->core.key_serials; /* so that the parent's pins stay stale */
        pool->core.epoch = old->core.epoch;
        if (old->core.phase != KP__OPEN) pool->core.phase = KP__CLOSED;
        old->left = atomic_load(&left_here);
        atomic_store(&left_here, old);
    }
    atomic_store(&door->lock.word, 0);
    atomic_store(&door->guide, NULL);
    kp__heap_node_init(&door->upkeep.node);
    kp__heap_node_init(&door->terms.node);
    atomic_store(&door->pool, pool);
    /* release: pairs with the acquires in kp__enter and is_here (deadlock.c) */
    atomic_store_explicit(&door->forks, now, memory_order_release);
    *out = pool;
    return 0;
}

int kp__fork_arrive(kp_pool *door)
{
    uint32_t now = atomic_load(&kp__forks);
    struct kp__pool *pool = NULL;
    struct kp__todo todo;
    int code = 0;

    if (door->on_fork == KP_FORK_REFUSE) return KP_EFORKED;
    kp__lock_take(&reopening, &kp__life);
    if (atomic_load(&door->forks) != now) code = start_anew(door, now, &pool);
    kp__lock_give(&reopening, &kp__life);
    if (!pool) return code;
    abandon_all(pool, pool->before);
    kp__watch_close(pool->before->watch); /* the child's descriptor; the set is the parent's */
    kp__todo_init(&todo, pool->world);
    kp__step_in(pool);
    kp__leave(pool, &todo);
    return 0;
}
