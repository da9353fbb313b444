/* SPDX-License-Identifier: MIT
 *
 * Steps 5 and 8 (docs/PATH.md), check and reset: driver.validate and driver.reset are called for
 * what is lent, on the way in and on the way back. A thread stands by until the answer is there, or
 * whoever answers does what follows (kp__check_finish, kp__return_finish). What the keeper tests
 * while it is idle: doubt.c.
 */
#include "base/cancel.h"
#include "core/calendar.h"
#include "core/circuit.h"
#include "core/doubt.h"
#include "core/give.h"
#include "flow/door.h"
#include "flow/event.h"
#include "flow/get.h"
#include "flow/job.h"
#include "flow/peers.h"

/* ---- the job --------------------------------------------------------------------------------- */

/* Init it to reset or validate what is lent: for `request`, or on the way back (NULL). Only a
 * validate has a time of its own. */
static void init_for(struct kp__job *job, struct kp__pool *pool, kp_job_kind kind,
                     struct kp__slot *slot, uint32_t seat, const struct kp__request *request)
{
    uint64_t most = kind == KP_JOB_VALIDATE ? slot->sub->rules->validate_timeout : KP__NEVER;
    uint64_t until = request ? request->deadline : KP__NEVER;
    uint64_t now = most != KP__NEVER || until != KP__NEVER ? kp__time(pool) : 0;
    const char *tag = request ? request->tag : kp__seat_tag(slot, kp__seat_at(slot, seat));

    kp__job_init(job, pool, kind, slot, tag, now, kp__sooner(until, kp__later(now, most)));
    job->seat = seat;
    job->when = request ? KP_CHECK_GET : KP_CHECK_RETURN;
}

/* The same on the way back, where nobody stands by: upkeep sees to its time (hurry.c). With the
 * lock. */
static void init_return(struct kp__job *job, struct kp__pool *pool, kp_job_kind kind,
                        struct kp__slot *slot, uint32_t seat)
{
    init_for(job, pool, kind, slot, seat, NULL);
    kp__job_post(job);
    if (pool->driver.cancel) kp__file_slot_at(&pool->core, slot, job->until);
}

/* Was it called off? Then its failure says nothing of its resource, unless the peer is gone. */
static bool says_nothing(const struct kp__job *job)
{
    return job->called_off && job->status != KP_EGONE;
}

bool kp__job_is_good(const struct kp__job *job)
{
    return job->status >= 0 || (says_nothing(job) && job->pool->core.phase == KP__CLOSED);
}

static void tell_invalid(const struct kp__job *job, struct kp__todo *todo)
{
    const struct kp__slot *slot = job->slot;
    kp_why why;

    if (job->status >= 0 || says_nothing(job) || !job->pool->on_event) return;
    kp__say_failure(&why, job->status, &job->failure);
    kp__event_within(job->pool, KP_EVENT_INVALID, slot->sub, slot->resource, job->status, &why,
                     todo);
}

void kp__heed_answer(const struct kp__job *job, struct kp__todo *todo)
{
    tell_invalid(job, todo);
    if (job->status == KP_EGONE) kp__doubt_others(job->pool, job->slot, todo);
    else if (job->status >= 0 && job->face.kind == KP_JOB_VALIDATE)
        kp__doubt_end(&job->pool->core, job->slot);
}

/* ---- a thread stands by ---------------------------------------------------------------------- */

/* When its time is over, a pending answer is not waited for any longer (KP_PENDING is the result
 * then). A job of the caller's own is waited for to its end: it would be gone when that comes. */
int kp__lent_call(struct kp__pool *pool, kp_job_kind kind, struct kp__slot *slot, uint32_t seat,
                  const struct kp__request *request, struct kp__todo *todo)
{
    struct kp__job own, *job = kp__job_borrow(pool, slot, &own);

    init_for(job, pool, kind, slot, seat, request);
    kp__step_aside(pool, todo);
    int cancel = kp__cancel_hold();
    int status = kp__job_call(job, job == &own ? KP__NEVER : job->until);
    kp__cancel_free(cancel);
    kp__step_in(pool);
    if (status == KP_PENDING) return status;
    kp__heed_answer(job, todo);
    if (job != &own) kp__job_put(job);
    return status < 0 ? status : 0;
}

/* ---- nobody stands by ------------------------------------------------------------------------ */

/* `request` waits for the outcome. With the lock, which is given back meanwhile. */
static void check_by_job(struct kp__pool *pool, struct kp__slot *slot, uint32_t seat,
                         struct kp__request *request, struct kp__todo *todo)
{
    bool closed = pool->core.phase == KP__CLOSED;
    struct kp__job *job = closed ? NULL : kp__job_make(pool, slot);
    uint64_t now = kp__time(pool);

    if (!job) {
        kp__grant_no(request, closed ? KP_ECLOSED : KP_ENOMEM, KP__NOT_BOUND);
        kp__give(&pool->core, slot, seat, KP_CAUSE_NONE, now, todo);
        return;
    }
    init_for(job, pool, KP_JOB_VALIDATE, slot, seat, request);
    kp__job_post(job);
    kp__wait_again(&pool->core, request, slot, now, todo);
    kp__slip_out(pool); /* the caller's to-do waits: user code run by it may end the request */
    kp__job_send(job);
    kp__step_in(pool);
}

void kp__check_finish(struct kp__job *job)
{
    struct kp__pool *pool = job->pool;
    struct kp__slot *slot = job->slot;
    uint32_t seat = job->seat;
    struct kp__todo todo;

    kp__come_in(pool, &todo);
    kp_cause bad = kp__job_is_good(job) ? KP_CAUSE_NONE
                   : says_nothing(job)  ? KP_CAUSE_DISCARDED /* in whatever state it is now */
                                        : KP_CAUSE_INVALID;
    kp__heed_answer(job, &todo);
    kp__job_put(job);
    kp__checked(&pool->core, slot, seat, bad, kp__time(pool), &todo);
    kp__tell_news(pool, &todo);
    kp__leave(pool, &todo);
}

bool kp__return_by_job(struct kp__pool *pool, struct kp__slot *slot, uint32_t seat, bool reset,
                       bool validate, struct kp__todo *todo)
{
    struct kp__job *job = kp__job_make(pool, slot);

    if (!job) return false;
    init_return(job, pool, reset ? KP_JOB_RESET : KP_JOB_VALIDATE, slot, seat);
    job->then_validate = reset && validate;
    kp__step_out(pool, todo);
    kp__job_send(job);
    kp__step_in(pool);
    return true;
}

void kp__return_finish(struct kp__job *job)
{
    struct kp__pool *pool = job->pool;
    struct kp__slot *slot = job->slot;
    uint32_t seat = job->seat;
    kp_cause cause = job->face.kind == KP_JOB_RESET ? KP_CAUSE_RESET : KP_CAUSE_INVALID;
    struct kp__todo todo;

    kp__come_in(pool, &todo);
    bool good = kp__job_is_good(job);
    if (good && job->then_validate && !kp__is_going(&pool->core, slot)) {
        init_return(job, pool, KP_JOB_VALIDATE, slot, seat);
        kp__leave(pool, &todo); /* which stays: this slot is lent */
        kp__job_send(job);
        return;
    }
    kp__heed_answer(job, &todo);
    kp__job_put(job);
    kp__give(&pool->core, slot, seat, good ? KP_CAUSE_NONE : cause, kp__time(pool), &todo);
    kp__tell_news(pool, &todo);
    kp__leave(pool, &todo);
}

/* ---- 5. check -------------------------------------------------------------------------------- */

void kp__get_check(struct kp__get *g, struct kp__todo *todo)
{
    struct kp__pool *pool = g->pool;
    struct kp__slot *slot = g->request->slot;
    uint32_t seat = g->request->grant.seat;
    bool probe = false;

    kp__close_seats(slot); /* nobody shares it before it is known to be good */
    kp__seat_at(slot, seat)->ending = true; /* and nobody has its lease yet, to end it */
    if (!kp__stands_by(pool)) {
        check_by_job(pool, slot, seat, g->request, todo);
        return;
    }
    kp__do(pool, todo); /* destroy what it passed over */
    kp__probe_pass(&kp__seat_at(slot, seat)->probe, &probe);
    int status = kp__lent_call(pool, KP_JOB_VALIDATE, slot, seat, g->request, todo);
    kp_cause bad = status == 0 ? KP_CAUSE_NONE : KP_CAUSE_INVALID;
    uint64_t now = kp__time(pool);
    if (status == 0 && !slot->errand->doomed) {
        kp__probe_pass(&probe, &kp__seat_at(slot, seat)->probe);
        kp__seat_at(slot, seat)->ending = false;
        kp__file_slot(&pool->core, slot); /* as in kp__checked */
        g->request->grant.good = true;
        return;
    }
    /* it may probe with another one; this one, if its answer is pending, may be gone by now */
    kp__probe_end(&pool->core, g->request->sub, &probe);
    /* one that is not to wait has no time that could be over: it may have another that is there */
    bool late = now >= g->request->deadline && !g->request->at_once;
    if (status == KP_PENDING) { /* the answer, when it comes, ends the lease */
        kp__get_wait_again(g, now, todo);
    } else if (late) {
        kp__give(&pool->core, slot, seat, bad, now, todo);
        kp__grant_no(g->request, KP_ETIMEDOUT, KP__BY_DEADLINE);
    } else {
        kp__wait_for_another(&pool->core, g->request, slot, seat, bad, now, todo);
    }
    kp__do(pool, todo);
}
