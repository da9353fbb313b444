/* SPDX-License-Identifier: MIT
 *
 * Closing a pool: no new gets; waiting requests are served first (DRAIN) or refused; idle resources
 * are destroyed; leases are waited for (WAIT, DRAIN) or not (NOW). Nothing that is in use is freed:
 * the last call or answer to leave the pool frees it; its door stays.
 */
#include "base/cancel.h"
#include "base/check.h"
#include "base/watch.h"
#include "core/give.h"
#include "core/guide.h"
#include "core/table.h"
#include "flow/door.h"
#include "flow/event.h"
#include "flow/find.h"
#include "flow/fork.h"
#include "flow/here.h"
#include "flow/job.h"
#include "flow/loop.h"
#include "flow/resource.h"
#include "flow/settings.h"
#include "flow/upkeep.h"

bool kp__is_empty(const struct kp__pool *pool)
{
    const struct kp__core *core = &pool->core;
    uint32_t live = core->revoked;

    for (int s = KP__CREATING; s < KP__STATES; s++) live += core->count[s];
    /* cover: never, because kp_pool_close answers all waiting requests before it leaves the pool */
    return pool->inside == 0 && core->waiting == 0 && live == 0;
}

static int64_t still_out(const struct kp__core *core)
{
    return (int64_t)core->count[KP__CREATING] + core->count[KP__LENT] + core->count[KP__CLOSING] +
           core->revoked;
}

/* ---- what is idle ---------------------------------------------------------------------------- */

#define SLOW UINT64_C(1000000) /* 1 ms */

/* Idle slots, to be destroyed together, since nobody waits for their places any more. While that is
 * quick, each batch is larger than the one before. If it is slow they go one at a time, so that
 * another thread that closes the pool can help, and each is soon counted as gone. */
struct batch {
    struct kp__slot *slots[KP__MANY];
    uint32_t many, most;
    uint64_t began;
};

static void end_batch(struct kp__pool *pool, struct batch *b, struct kp__todo *todo)
{
    kp__destroy_many(pool, b->slots, b->many, todo);
    uint64_t now = kp__time(pool);
    b->most = now - b->began >= SLOW ? 1 : b->most < KP__MANY ? 2 * b->most : KP__MANY;
    b->began = now;
    b->many = 0;
}

static void end_key(struct kp__pool *pool, struct kp__subpool *sub, struct batch *b,
                    struct kp__todo *todo)
{
    while (sub->count[KP__IDLE] > 0) {
        b->many += kp__close_many(&pool->core, sub, KP_CAUSE_CLOSED, &b->slots[b->many],
                                  b->most - b->many);
        if (b->many == b->most) end_batch(pool, b, todo);
    }
}

static void free_array(void *array, size_t bytes, void *world)
{
    kp__free(world, array, bytes);
}

/* If nothing is lent, in the making or promised to be made, nobody can ask for a resource any more.
 * Then they need not be taken out of the map one by one, each of which would be a cache miss. */
static void forget_idents(struct kp__pool *pool)
{
    struct kp__core *core = &pool->core;

    if (core->count[KP__CREATING] + core->promised + core->count[KP__LENT] + core->revoked == 0)
        kp__map_fini(&core->idents, free_array, &pool->door->world);
}

/* ---- what is under way ----------------------------------------------------------------------- */

/* What is made would be destroyed at once, and so is what is being checked or reset, whatever comes
 * of that. The lock is given back meanwhile; what begins then is for a request that had its grant
 * before. */
static void call_off_jobs(struct kp__pool *pool, struct kp__todo *todo)
{
    for (uint32_t i = 0; pool->driver.cancel && i < pool->jobs.made; i++) {
        struct kp__job *job = kp__slab_at(&pool->jobs, i);
        /* relaxed: it may be answered this moment; it is not over before the lock is taken */
        uint32_t state = atomic_load_explicit(&job->state, memory_order_relaxed);
        if (state != KP__JOB_POSTED && state != KP__JOB_DETACHED) continue;
        if ((job = kp__job_call_off(job)) != NULL) kp__job_hurry(pool, job, todo);
    }
}

/* ---- the end of a key ------------------------------------------------------------------------ */

/* First all requests are refused, then what is idle is destroyed. Our interest keeps the key at
 * which the walk is while the lock is given back. */
static void end_keys(struct kp__pool *pool, struct kp__todo *todo)
{
    struct batch b = { .many = 0, .most = 1, .began = kp__time(pool) };
    struct kp__subpool *sub = NULL;

    forget_idents(pool);
    while ((sub = kp__next_sub(&pool->core, sub)) != NULL) {
        kp__refuse_all(&pool->core, sub, KP_ECLOSED, todo);
        kp__note_lack(&pool->core, sub, NULL);
    }
    call_off_jobs(pool, todo);
    while ((sub = kp__next_sub(&pool->core, sub)) != NULL) {
        sub->interest++;
        end_key(pool, sub, &b, todo);
        sub->interest--;
    }
    if (b.many > 0) end_batch(pool, &b, todo);
}

/* ---- the call -------------------------------------------------------------------------------- */

/* What is wrong with the arguments, or NULL. The pool is closed all the same. */
static const char *wrong_close(kp_close_mode mode, int64_t within_ms)
{
    if (mode < KP_CLOSE_NOW || mode > KP_CLOSE_DRAIN)
        return "kp_pool_close: there is no such mode; KP_CLOSE_WAIT is used";
    if (!kp__is_finite(within_ms))
        return "kp_pool_close: within_ms must be a finite time, or KP_NONE; 30 s is used";
    return NULL;
}

int64_t kp_pool_close(kp_pool *door, kp_close_mode mode, int64_t within_ms)
{
    struct kp__todo todo;
    int code = KP_EMISUSE;
    struct kp__pool *pool = kp__is_door(door) ? kp__enter(door, &todo, &code) : NULL;

    if (!pool && code == KP_EMISUSE)
        return kp__misuse(NULL, NULL, "kp_pool_close: this is not a pool; did kp_pool_open fail?");
    if (!pool) return code == KP_ECLOSED ? 0 : code;
    const char *wrong = wrong_close(mode, within_ms);
    if (wrong) (void)kp__misuse_within(pool, &todo, NULL, wrong);
    if (!kp__is_finite(within_ms)) within_ms = 0;
    uint64_t until = kp__end_of(kp__time(pool), within_ms);
    /* the thread of an event loop must not wait: it has others to serve, and would await itself */
    bool waits = mode != KP_CLOSE_NOW && kp__here.loops == 0;
    if (mode == KP_CLOSE_DRAIN && pool->core.phase == KP__OPEN) pool->core.phase = KP__DRAINING;
    kp__shut_all(pool);
    kp__tell_news(pool, &todo); /* a kp_warm need not go on */
    while (waits && mode == KP_CLOSE_DRAIN && pool->core.phase == KP__DRAINING &&
           pool->getting > 0 && kp__time(pool) < until)
        kp__await_news(pool, &todo, until);
    pool->core.phase = KP__CLOSED;
    kp__tell_news(pool, &todo);
    end_keys(pool, &todo);
    kp__do(pool, &todo);
    while (waits && still_out(&pool->core) > 0 && kp__time(pool) < until)
        kp__await_news(pool, &todo, until);
    if (mode != KP_CLOSE_NOW && pool->driver.revoke && kp__time(pool) >= until)
        kp__revoke_all(pool, &todo);
    int64_t out = still_out(&pool->core);
    kp__leave(pool, &todo);
    return out;
}

/* ---- nothing and nobody is left -------------------------------------------------------------- */

static void free_keys(struct kp__pool *pool)
{
    struct kp__subpool *sub = NULL;

    while ((sub = kp__next_sub(&pool->core, sub)) != NULL) {
        kp__lane_drop(&pool->core, sub);
        kp__key_free(pool, sub, kp__rules_unref(sub->rules));
    }
}

static void free_groups(struct kp__list *groups, const struct kp__world *world)
{
    struct kp__list *node;

    while ((node = kp__list_first(groups)) != NULL) {
        kp__list_remove(node);
        kp__free(world, KP__OF(node, struct kp__group, link), sizeof(struct kp__group));
    }
}

void kp__teardown(struct kp__pool *pool)
{
    struct kp__world world = *pool->world;
    void (*drop_ctx)(void *) = pool->driver.drop_ctx;
    void *ctx = pool->driver.ctx;

    kp__crew_end(pool->crew);
    kp__watch_close(pool->watch);
    kp__loop_part(pool->loop);
    kp__guide_drop(pool->core.guide);
    pool->core.guide = NULL; /* so that no key has to be taken out of it */
    free_keys(pool);
    free_groups(&pool->core.used_groups, &world);
    free_groups(&pool->core.spare_groups, &world);
    for (uint32_t i = 0; pool->seated && i < pool->core.errands.made; i++) {
        struct kp__errand *errand = kp__slab_at(&pool->core.errands, i);
        kp__free(&world, errand->more, errand->more_room * sizeof *errand->more);
        kp__free(&world, errand->traces, errand->trace_room * sizeof *errand->traces);
    }
    kp__rules_drop(&world, pool->core.rules); /* the keys that used them are gone */
    kp__slab_fini(&pool->core.slots, free_array, &world);
    kp__slab_fini(&pool->core.errands, free_array, &world);
    kp__slab_fini(&pool->core.subpools, free_array, &world);
    kp__slab_fini(&pool->jobs, free_array, &world);
    kp__map_fini(&pool->core.keys, free_array, &world);
    kp__map_fini(&pool->core.idents, free_array, &world);
    kp__map_fini(&pool->core.groups, free_array, &world);
    kp__reopen_drop(&world, pool->reopen);
    kp__free(&world, pool->name, pool->name_size);
    kp__free(&world, pool, sizeof *pool);
    if (!drop_ctx) return;
    int cancel = kp__cancel_hold();
    drop_ctx(ctx);
    kp__cancel_free(cancel);
}
