/* SPDX-License-Identifier: MIT
 *
 * Step 4: create, only with a permit. The permit is spent into a slot, driver.create runs without
 * the lock, and the core is told its outcome: the resource is lent to the request that ran it, or
 * given to whoever is next (core/create.c). While an answer is pending, its request waits in the
 * queue like any other, so that whatever is ready first serves it.
 */
#include "base/cancel.h"
#include "core/calendar.h"
#include "core/create.h"
#include "core/permit.h"
#include "core/renew.h"
#include "core/serve.h"
#include "flow/door.h"
#include "flow/event.h"
#include "flow/find.h"
#include "flow/get.h"
#include "flow/job.h"
#include "flow/peers.h"
#include "flow/resource.h"

/* ---- the outcome ----------------------------------------------------------------------------- */

void kp__slot_fill(struct kp__pool *pool, struct kp__slot *slot, void *resource, int fd,
                   uint64_t now)
{
    const struct kp__rules *r = slot->sub->rules;
    uint64_t spread = r->max_age == KP__NEVER ? 0 : r->max_age / 100 * (uint64_t)r->age_spread_pct;

    slot->resource = resource;
    slot->born = now;
    slot->age_end = KP__NEVER;
    if (r->max_age < KP__NEVER - now)
        slot->age_end =
            now + r->max_age - (spread ? pool->world->random(pool->world->ctx) % (spread + 1) : 0);
    kp__watch_begin(pool, slot, fd, now);
}

/* What is to be destroyed waits until the event is sent: it may be this resource, whose end must
 * not be told before its creation. */
static void tell_created(struct kp__pool *pool, struct kp__subpool *sub, const void *resource,
                         bool closed, struct kp__todo *todo)
{
    if (!pool->on_event) return;
    kp__step_aside(pool, todo);
    kp__event(pool, KP_EVENT_CREATED, sub, resource, 0, NULL);
    if (closed) kp__event(pool, KP_EVENT_BREAKER_CLOSED, sub, NULL, 0, NULL);
    kp__step_in(pool);
    kp__do(pool, todo);
}

void kp__bring_in(struct kp__pool *pool, struct kp__slot *slot, struct kp__request *request,
                  uint64_t now, struct kp__todo *todo)
{
    struct kp__subpool *sub = slot->sub;
    const void *resource = slot->resource;
    bool closed = kp__created(&pool->core, slot, request, now, todo) == KP__CLOSED_AGAIN;

    kp__tell_news(pool, todo);
    tell_created(pool, sub, resource, closed, todo);
}

/* Count how long it took. Returns what time it is. */
static uint64_t count_time(const struct kp__job *job)
{
    uint64_t now = kp__time(job->pool);

    KP__TALLY(&job->pool->core, job->slot->sub, create_ns += now - job->began);
    return now;
}

static void tell_failed(struct kp__pool *pool, struct kp__subpool *sub,
                        const struct kp__failure *failure, bool opened)
{
    kp_why why;

    kp__say_failure(&why, failure->code, failure);
    kp__event(pool, KP_EVENT_CREATE_FAILED, sub, NULL, failure->vendor_code, &why);
    if (opened) kp__event(pool, KP_EVENT_BREAKER_OPENED, sub, NULL, KP_EBREAKER, &why);
}

/* Was kp_rotate called for its key since it began? */
static bool is_old(const struct kp__job *job)
{
    return job->face.epoch < job->slot->sub->rare->renewal.epoch;
}

/* When its key was last used, as far as this creation tells. One that no request wants is no use:
 * else a key whose minimum is made again and again, or cannot be made, would never be forgotten. */
static uint64_t used_at(const struct kp__slot *slot, const struct kp__request *request,
                        uint64_t now)
{
    return request || slot->errand->sponsor ? now : slot->sub->used_at;
}

/* Change the books and send the event, for which the lock is given back if anybody listens.
 * `request`: the one whose thread ran it and stands by, or NULL. With the lock. */
static void succeed(struct kp__job *job, struct kp__request *request, int fd,
                    struct kp__todo *todo)
{
    struct kp__pool *pool = job->pool;
    struct kp__slot *slot = job->slot;
    struct kp__subpool *sub = slot->sub;
    void *made = job->made;
    uint64_t now = count_time(job), used = used_at(slot, request, now);
    uint64_t epoch = job->face.epoch;

    sub->interest++; /* until the event is sent */
    kp__job_put(job);
    kp__slot_fill(pool, slot, made, fd, now);
    kp__retire_made(&pool->core, slot, epoch, now);
    kp__bring_in(pool, slot, request, now, todo);
    kp__lose_interest(pool, sub, used);
}

/* The same for a failure; `note`: memory to remember it in, or NULL. */
static void fail(struct kp__job *job, struct kp__request *request, struct kp__failure *note,
                 struct kp__todo *todo)
{
    struct kp__pool *pool = job->pool;
    struct kp__slot *slot = job->slot;
    struct kp__subpool *sub = slot->sub;
    struct kp__failure failure = job->failure;
    uint64_t now = count_time(job), used = used_at(slot, request, now);

    if (job->status >= 0)
        failure = (struct kp__failure){ .code = KP_ECREATE, .vendor_code = job->status,
                                        .text = "driver.create returned 0 without a resource, or "
                                                "a positive number; failures are negative" };
    /* what was refused to the old credentials is not refused to the new ones */
    if (failure.code == KP_EREFUSED && is_old(job)) failure.code = KP_ECREATE;
    if (failure.code != KP_EREFUSED && job->called_off) failure.code = KP_ECANCELED;
    sub->interest++;
    kp__job_put(job);
    if (request) kp__blame(request, &failure);
    bool opened = kp__create_failed(&pool->core, slot, request, &failure, &note, now, todo) ==
                  KP__OPENED;
    kp__tell_news(pool, todo);
    kp__step_out(pool, todo);
    kp__free(pool->world, note, sizeof *note);
    if (failure.code != KP_ECANCELED) tell_failed(pool, sub, &failure, opened);
    kp__step_in(pool);
    kp__lose_interest(pool, sub, used);
}

static bool is_made(const struct kp__job *job)
{
    return job->status == 0 && job->made;
}

/* Its descriptor, or -1. Without the lock. */
static int fd_of(const struct kp__job *job)
{
    return is_made(job) ? kp__watch_ask(job->pool, job->made) : -1;
}

/* Memory for what went wrong, if it did. Without the lock. */
static struct kp__failure *make_note(const struct kp__job *job)
{
    return is_made(job) ? NULL : kp__alloc(job->pool->world, sizeof(struct kp__failure), 16);
}

static void finish(struct kp__job *job, struct kp__request *request, int fd,
                   struct kp__failure *note, struct kp__todo *todo)
{
    if (is_made(job)) succeed(job, request, fd, todo);
    else fail(job, request, note, todo);
}

void kp__create_finish(struct kp__job *job)
{
    struct kp__pool *pool = job->pool;
    struct kp__failure *note = make_note(job);
    int fd = fd_of(job);
    struct kp__todo todo;

    kp__come_in(pool, &todo);
    finish(job, NULL, fd, note, &todo);
    kp__leave(pool, &todo);
}

/* ---- the run --------------------------------------------------------------------------------- */

/* Leave the rest to whoever answers the job; the request waits in its queue. With the lock. */
static void leave_pending(struct kp__pool *pool, struct kp__job *job, struct kp__request *request)
{
    struct kp__todo todo;

    /* its request hurries it while it waits; afterwards, or without one, upkeep does (hurry.c) */
    if (pool->driver.cancel) kp__file_slot_at(&pool->core, job->slot, job->until);
    if (!request) return;
    kp__todo_init(&todo, pool->world);
    kp__wait_again(&pool->core, request, job->slot, kp__time(pool), &todo);
    kp__do(pool, &todo);
}

/* Out of memory: the permit goes back unspent. */
static void refund(struct kp__pool *pool, struct kp__subpool *sub, struct kp__request *request,
                   bool renews, bool probe)
{
    struct kp__todo todo;

    kp__todo_init(&todo, pool->world);
    if (request) probe = kp__probe_take(request);
    kp__probe_end(&pool->core, sub, &probe);
    if (request) {
        kp__grant_no(request, KP_ENOMEM, KP__NOT_BOUND);
        kp__lent_drop(&pool->core, request);
    }
    if (renews) kp__renewal_failed(&pool->core, sub, kp__time(pool));
    kp__permit_refund(&pool->core, sub);
    kp__settle(&pool->core, sub, kp__time(pool), &todo);
    kp__tell_news(pool, &todo);
    kp__do(pool, &todo);
}

static void run_here(struct kp__pool *pool, struct kp__job *job, struct kp__request *request)
{
    struct kp__todo todo;
    void *made = NULL;

    kp__slip_out(pool);
    int cancel = kp__cancel_hold(), status = pool->driver.create(&job->face, &made);
    kp__cancel_free(cancel);
    if (status == KP_PENDING) {
        kp__step_in(pool);
        if (kp__job_detach(job)) {
            leave_pending(pool, job, request);
            return;
        }
        kp__slip_out(pool); /* the answer was faster */
        kp__job_await(job);
    } else {
        kp__job_returned(job, status, made);
    }
    struct kp__failure *note = make_note(job);
    int fd = fd_of(job);
    kp__step_in(pool);
    kp__todo_init(&todo, pool->world);
    finish(job, request, fd, note, &todo);
    kp__do(pool, &todo);
}

/* Have it run by a thread that may; nobody stands by. */
static void send(struct kp__pool *pool, struct kp__job *job, struct kp__request *request)
{
    kp__job_post(job);
    leave_pending(pool, job, request);
    kp__slip_out(pool);
    kp__job_send(job);
    kp__step_in(pool);
}

/* Is what the background creates now a probe? Tells on_event, if it is the first one. */
static bool probes(struct kp__pool *pool, struct kp__subpool *sub, uint64_t *now)
{
    struct kp__todo todo;
    bool mark;

    if (!kp__probe_unasked(&pool->core, sub, &mark, *now)) return mark;
    kp__todo_init(&todo, pool->world);
    kp__tell_probing(pool, sub, &todo);
    *now = kp__time(pool);
    return mark;
}

/* When its time is over. Where it holds up no thread of a request it has a time of its own, if that
 * is set: else, where deadlines are shorter than a create takes, each would be called off, and the
 * next begin anew, for ever (docs/decisions/0054-a-time-of-its-own.md). */
static uint64_t time_of(const struct kp__pool *pool, const struct kp__subpool *sub,
                        const struct kp__request *request, uint64_t now, bool *own)
{
    uint64_t most = kp__later(now, sub->rules->create_timeout);

    *own = most != KP__NEVER && (pool->crew || pool->loop);
    return request && !*own ? kp__sooner(request->deadline, most) : most;
}

static bool begin(struct kp__pool *pool, struct kp__subpool *sub, struct kp__request *request,
                  bool renews, uint64_t now)
{
    bool probe = !request && probes(pool, sub, &now); /* that of a request has its mark */
    struct kp__slot *slot = kp__slot_make(pool, sub);
    struct kp__job *job = slot ? kp__job_make(pool, slot) : NULL;
    bool own;

    if (!job) {
        if (slot) kp__slot_put(&pool->core, slot);
        refund(pool, sub, request, renews, probe);
        return false;
    }
    kp__errand_of(slot)->renews = renews;
    kp__permit_spend(sub, slot);
    slot->due_to_key = request != NULL;
    kp__errand_of(slot)->probe = request ? kp__probe_take(request) : probe;
    uint64_t until = time_of(pool, sub, request, now, &own);
    kp__job_init(job, pool, KP_JOB_CREATE, slot, request ? request->tag : NULL, now, until);
    job->own_time = own;
    job->face.attempt = sub->rare->health.failures + 1;
    job->face.epoch = pool->core.epoch;
    job->began = now;
    if (pool->crew || !kp__stands_by(pool)) send(pool, job, request);
    else run_here(pool, job, request);
    return true;
}

bool kp__create(struct kp__pool *pool, struct kp__subpool *sub, struct kp__request *request,
                uint64_t now)
{
    return begin(pool, sub, request, false, now);
}

void kp__renew(struct kp__pool *pool, struct kp__subpool *sub, uint64_t now)
{
    (void)begin(pool, sub, NULL, true, now);
}
