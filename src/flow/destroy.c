/* SPDX-License-Identifier: MIT
 *
 * The end of a resource: driver.destroy without the lock, then the books, with its place given to
 * whoever is next (core/give.c). One at a time, since a request that waits for one place must not
 * wait for others to be destroyed; at the end of the pool no request waits, and many are destroyed
 * together (close.c).
 */
#include "base/cancel.h"
#include "core/give.h"
#include "core/renew.h"
#include "core/revoke.h"
#include "flow/door.h"
#include "flow/event.h"
#include "flow/find.h"
#include "flow/job.h"
#include "flow/peers.h"
#include "flow/resource.h"

static void tell_destroyed(struct kp__pool *pool, const struct kp__slot *slot, int status,
                           const struct kp__job *job)
{
    kp_event event = { .kind = KP_EVENT_DESTROYED, .cause = (kp_cause)slot->cause };
    kp_why why;

    if (!pool->on_event) return;
    event.key = kp__key_of(pool, slot->sub);
    event.resource = slot->resource;
    if (status < 0) {
        kp__say_failure(&why, status, &job->failure);
        event.kind = KP_EVENT_DESTROY_FAILED;
        event.code = status;
        event.why = &why;
    }
    kp__send(pool, &event);
}

/* ---- the books ------------------------------------------------------------------------------- */

/* The time, if anybody may care when its place became free; else the time of the latest decision,
 * which needs no clock. */
static uint64_t time_gone(const struct kp__pool *pool, const struct kp__slot *slot)
{
    const struct kp__core *core = &pool->core;
    const struct kp__subpool *sub = slot->sub;
    bool matters = core->waiting > 0 || slot->errand->victim.heir || sub->refill ||
                   sub->rules->eager || kp__renewal_wanted(sub);

    return matters ? kp__time(pool) : core->latest;
}

/* A resource is gone, and its place is given away: to `heir`, whose thread stands by; or to the
 * heir that the slot names; or to whoever is next. With the lock. */
static void destroyed(struct kp__pool *pool, struct kp__slot *slot, struct kp__subpool *heir,
                      struct kp__todo *todo)
{
    if (slot->state == KP__RECLAIMED) {
        kp__reclaimed(&pool->core, slot);
        kp__tell_news(pool, todo);
        return;
    }
    uint64_t now = heir ? kp__time(pool) : time_gone(pool, slot);
    if (heir) kp__victim_gone(&pool->core, heir, slot, now, todo);
    else if (slot->errand->victim.heir)
        kp__victim_gone_late(&pool->core, slot, now, todo);
    else kp__gone(&pool->core, slot, now, todo);
    kp__tell_news(pool, todo);
}

void kp__destroy_finish(struct kp__job *job)
{
    struct kp__pool *pool = job->pool;
    struct kp__slot *slot = job->slot;
    struct kp__todo todo;

    tell_destroyed(pool, slot, job->status, job);
    kp__come_in(pool, &todo);
    if (job->status < 0) KP__COUNT_SELDOM(&pool->core, slot->sub, destroy_failures);
    kp__job_put(job);
    destroyed(pool, slot, NULL, &todo);
    kp__leave(pool, &todo);
}

/* ---- the run --------------------------------------------------------------------------------- */

/* False: there is no memory for a job. With the lock, given back meanwhile. */
static bool send(struct kp__pool *pool, struct kp__slot *slot, struct kp__todo *todo)
{
    struct kp__job *job = kp__job_make(pool, slot);

    if (!job) return false;
    kp__job_init(job, pool, KP_JOB_DESTROY, slot, NULL, 0, KP__NEVER);
    kp__step_aside(pool, todo);
    kp__job_send(job);
    kp__step_in(pool);
    return true;
}

_Static_assert(KP__MANY <= 64, "run_here has a bit for each that failed");

/* Destroy them one after the other on this thread, with one job: a second answer is found out until
 * the job is used again. With the lock, which is given back meanwhile. */
static void run_here(struct kp__pool *pool, struct kp__slot *const *slots, uint32_t many,
                     struct kp__todo *todo)
{
    struct kp__job own, *job = pool->driver.destroy ? kp__job_borrow(pool, slots[0], &own) : NULL;
    uint64_t failed = 0;

    kp__step_aside(pool, todo);
    int cancel = kp__cancel_hold();
    if (job) kp__job_init(job, pool, KP_JOB_DESTROY, slots[0], NULL, 0, KP__NEVER);
    for (uint32_t i = 0; i < many; i++) {
        int status = 0;
        if (job) {
            if (i > 0) kp__job_aim(job, slots[i]);
            status = kp__job_call(job, KP__NEVER);
        }
        if (status < 0) failed |= (uint64_t)1 << i;
        tell_destroyed(pool, slots[i], status, job);
    }
    kp__cancel_free(cancel);
    kp__step_in(pool);
    if (job && job != &own) {
        job->slot = slots[0]; /* the one it was taken for */
        kp__job_put(job);
    }
    for (; failed; slots++, failed >>= 1)
        if (failed & 1) KP__COUNT_SELDOM(&pool->core, slots[0]->sub, destroy_failures);
}

bool kp__destroy_by_job(struct kp__pool *pool, struct kp__slot *slot, struct kp__todo *todo)
{
    kp__watch_end(slot);
    return pool->driver.destroy && !kp__stands_by(pool) && send(pool, slot, todo);
}

void kp__destroy_victim(struct kp__pool *pool, struct kp__slot *slot, struct kp__subpool *heir,
                        struct kp__todo *todo)
{
    if (kp__destroy_by_job(pool, slot, todo)) return;
    if (pool->driver.destroy || pool->on_event) run_here(pool, &slot, 1, todo);
    destroyed(pool, slot, heir, todo);
}

void kp__destroy_many(struct kp__pool *pool, struct kp__slot *const *slots, uint32_t many,
                      struct kp__todo *todo)
{
    if (pool->driver.destroy && !kp__stands_by(pool)) {
        for (uint32_t i = 0; i < many; i++) kp__destroy(pool, slots[i], todo);
        return;
    }
    for (uint32_t i = 0; i < many; i++) kp__watch_end(slots[i]);
    run_here(pool, slots, many, todo);
    kp__gone_many(&pool->core, slots, many, kp__time(pool), todo);
    kp__tell_news(pool, todo);
}
