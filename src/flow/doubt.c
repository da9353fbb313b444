/* SPDX-License-Identifier: MIT
 *
 * Doubts and tests: if the peer of one resource is gone (KP_EGONE), the others of its key are in
 * doubt; and the keeper runs driver.validate on idle ones. core/doubt.c decides.
 */
#include "base/cancel.h"
#include "core/calendar.h"
#include "core/doubt.h"
#include "flow/door.h"
#include "flow/event.h"
#include "flow/job.h"
#include "flow/peers.h"

void kp__doubt_others(struct kp__pool *pool, struct kp__slot *slot, struct kp__todo *todo)
{
    struct kp__subpool *sub = slot->sub;
    const void *resource = slot->resource;

    if (!kp__peer_gone(&pool->core, slot, kp__time(pool), todo)) return;
    kp__event_within(pool, KP_EVENT_SUSPECT, sub, resource, KP_EGONE, NULL, todo);
}

/* ---- tests ----------------------------------------------------------------------------------- */

/* With the lock. The resource may be gone afterwards. */
static void finish(struct kp__job *job, struct kp__todo *todo)
{
    struct kp__pool *pool = job->pool;
    struct kp__slot *slot = job->slot;
    bool good = kp__job_is_good(job);

    kp__heed_answer(job, todo);
    kp__job_put(job);
    kp__tested(&pool->core, slot, good, kp__time(pool), todo);
    kp__tell_news(pool, todo);
}

void kp__test_finish(struct kp__job *job)
{
    struct kp__pool *pool = job->pool;
    struct kp__todo todo;

    kp__come_in(pool, &todo);
    finish(job, &todo);
    kp__leave(pool, &todo);
}

/* Run the test on this thread, which does not wait for an answer that is pending. */
static void run_here(struct kp__job *job, struct kp__todo *todo)
{
    struct kp__pool *pool = job->pool;
    int cancel = kp__cancel_hold(), status = pool->driver.validate(&job->face, job->face.resource);

    if (status != KP_PENDING) kp__job_returned(job, status, NULL);
    else if (kp__job_detach(job)) job = NULL;
    else kp__job_await(job);
    kp__cancel_free(cancel);
    kp__step_in(pool);
    if (job) finish(job, todo);
}

bool kp__test(struct kp__pool *pool, struct kp__slot *slot, struct kp__todo *todo)
{
    struct kp__job *job = kp__job_take(pool, slot);
    uint64_t now = kp__time(pool);
    uint64_t until = kp__later(now, slot->sub->rules->validate_timeout);

    if (!job) { /* test it another time, with the memory made now */
        (void)kp__make_room(pool);
        return false;
    }
    kp__test_begin(&pool->core, slot, now, until);
    kp__job_init(job, pool, KP_JOB_VALIDATE, slot, NULL, now, until);
    job->when = KP_CHECK_KEEPER;
    bool sent = pool->crew || !kp__stands_by(pool);
    if (sent) kp__job_post(job);
    kp__step_out(pool, todo);
    if (sent) {
        kp__job_send(job);
        kp__step_in(pool);
    } else {
        run_here(job, todo);
    }
    return true;
}

void kp__test_doubts(struct kp__pool *pool, struct kp__subpool *sub, struct kp__todo *todo)
{
    struct kp__slot *slot;

    while ((slot = kp__test_next(&pool->core, sub)) != NULL && kp__test(pool, slot, todo))
        kp__do(pool, todo);
    if (slot) /* there was no memory for its test */
        kp__file_sub(&pool->core, sub, kp__time(pool) + KP__LOOK_AGAIN);
}
