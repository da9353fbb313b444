/* SPDX-License-Identifier: MIT
 *
 * Hurrying a job for which nobody waits any more, or whose time is over: driver.cancel is called
 * for it, once, and it is answered all the same.
 */
#include "base/cancel.h"
#include "core/calendar.h"
#include "flow/door.h"
#include "flow/find.h"
#include "flow/job.h"
#include "flow/loop.h"

/* The end of a resource is needed, whoever it was evicted for. */
static bool may_hurry(const struct kp__job *job)
{
    kp_job_kind kind = job->face.kind;

    return job->pool->driver.cancel && kind != KP_JOB_DESTROY && kind != KP_JOB_REVOKE;
}

/* Only once: upkeep may look at a test whose time is over again and again, while driver.cancel is
 * being called for it. */
struct kp__job *kp__job_hurry_begin(struct kp__job *job)
{
    struct kp__pool *pool = job->pool;
    uint32_t state = KP__JOB_POSTED;

    if (!may_hurry(job) || job->hurried) return NULL;
    /* release: pairs with the acquire in kp__job_perform; acquire: if it has begun, pairs with the
     * release there, or in kp__job_detach */
    bool posted = atomic_compare_exchange_strong_explicit(
        &job->state, &state, KP__JOB_HURRIED, memory_order_acq_rel, memory_order_acquire);
    job->hurried = posted || state == KP__JOB_DETACHED; /* else it is being answered */
    if (!job->hurried) return NULL;
    job->kept = job->slot->sub;
    job->kept->interest++;
    if (!posted && (!pool->loop || kp__loop_is_mine(pool->loop))) return job;
    pool->inside++; /* whoever runs it steps in */
    if (!posted) kp__loop_post(pool->loop, job);
    return NULL;
}

void kp__job_cancel(struct kp__job *job)
{
    int cancel = kp__cancel_hold();

    job->pool->driver.cancel(&job->face);
    kp__cancel_free(cancel);
}

void kp__job_hurry_end(struct kp__job *job)
{
    struct kp__subpool *sub = job->kept;
    struct kp__pool *pool = job->pool;

    job->kept = NULL;
    /* relaxed: it is put with the lock */
    if (atomic_load_explicit(&job->state, memory_order_relaxed) == KP__JOB_FREE)
        kp__slab_put(&pool->jobs, job);
    kp__lose_interest(pool, sub, sub->used_at);
}

void kp__job_hurry(struct kp__pool *pool, struct kp__job *job, struct kp__todo *todo)
{
    kp__step_out(pool, todo);
    kp__job_cancel(job);
    kp__step_in(pool);
    kp__job_hurry_end(job);
}

struct kp__job *kp__job_call_off(struct kp__job *job)
{
    struct kp__slot *slot = job->slot;
    bool open = job->pool->core.phase != KP__CLOSED;

    if (job->hurried) return NULL; /* since its time is over */
    if (job->own_time && open) return NULL;
    /* it goes on for those who wait; upkeep hurries it when its time is over */
    if (slot->sub->waiting > 0 && !slot->errand->doomed) {
        if (may_hurry(job)) kp__file_slot_at(&job->pool->core, slot, job->until);
        return NULL;
    }
    struct kp__job *here = kp__job_hurry_begin(job);
    job->called_off = job->hurried;
    return here;
}

void kp__job_hurry_due(struct kp__pool *pool, struct kp__slot *slot, struct kp__todo *todo)
{
    struct kp__job *job = slot->errand->job;
    uint64_t now = kp__time(pool);

    if (!may_hurry(job) || (slot->state == KP__LENT && slot->errand->sponsor)) return;
    if (!slot->errand->doomed && now < job->until) { /* the look was for another thing */
        kp__file_slot_at(&pool->core, slot, job->until);
        return;
    }
    if (slot->errand->sponsor) { /* it gives up this moment, and hurries it, or is served */
        kp__file_slot_at(&pool->core, slot, kp__later(now, KP__LOOK_AGAIN));
        return;
    }
    if ((job = kp__job_hurry_begin(job)) != NULL) kp__job_hurry(pool, job, todo);
}
