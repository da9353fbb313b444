/* SPDX-License-Identifier: MIT
 *
 * The memory of jobs. They live in a slab of the pool: their memory stays, so that a second answer
 * is found out as long as the pool lives. A pool in which nobody may stand by a job has room for
 * one per resource, which costs no memory until so many are under way at once.
 */
#include <string.h>

#include "base/check.h"
#include "flow/door.h"
#include "flow/job.h"

bool kp__keeps_jobs(const struct kp__pool *pool)
{
    return pool->crew || (pool->driver.flags & KP_NEVER_BLOCKS);
}

struct kp__job *kp__job_take(struct kp__pool *pool, struct kp__slot *slot)
{
    struct kp__job *job = kp__slab_take(&pool->jobs);

    /* one per slot at a time: nobody shares what is being made, checked or reset */
    KP__DCHECK(!slot->errand->job);
    if (job) kp__errand(&pool->core, slot)->job = job;
    return job;
}

struct kp__job *kp__job_make(struct kp__pool *pool, struct kp__slot *slot)
{
    struct kp__job *job = kp__job_take(pool, slot);

    return job || !kp__make_room(pool) ? job : kp__job_take(pool, slot);
}

struct kp__job *kp__job_borrow(struct kp__pool *pool, struct kp__slot *slot, struct kp__job *own)
{
    struct kp__job *job = kp__job_take(pool, slot);

    if (job) return job;
    memset(own, 0, sizeof *own);
    return own;
}

void kp__job_put(struct kp__job *job)
{
    /* relaxed: without the lock, a second answer and kp__job_perform may look at it still, and read
     * nothing else */
    atomic_store_explicit(&job->state, KP__JOB_FREE, memory_order_relaxed);
    KP__DCHECK(job->slot->errand->job == job);
    kp__errand_of(job->slot)->job = NULL;
    if (!job->kept) kp__slab_put(&job->pool->jobs, job); /* else later (kp__job_hurry_end) */
}
