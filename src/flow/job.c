/* SPDX-License-Identifier: MIT
 *
 * Jobs: one run of a driver function, from its start to its one answer, now or later.
 *
 * A job is answered by whoever moves its state from RUNNING or DETACHED to ANSWERING; a second
 * answer finds another state, and is misuse. RUNNING: a thread of ours stands by, and waits for the
 * answer. DETACHED: nobody stands by, and whoever answers does what follows (go_on). Before that it
 * may be POSTED to the thread that is to run it. Where their memory comes from: jobs.c.
 */
#include "flow/job.h"

#include <stdio.h>

#include "base/cancel.h"
#include "base/check.h"
#include "flow/door.h"
#include "flow/event.h"
#include "flow/find.h"
#include "flow/here.h"
#include "flow/loop.h"
#include "flow/upkeep.h"

void kp__job_init(struct kp__job *job, struct kp__pool *pool, kp_job_kind kind,
                  struct kp__slot *slot, const char *tag, uint64_t now, uint64_t until)
{
    job->pool = pool;
    job->seat = 0;
    job->until = until;
    job->when = KP_CHECK_GET;
    job->then_validate = job->own_time = job->hurried = job->called_off = false;
    job->kept = NULL;
    job->face.pool = pool->door;
    job->face.kind = kind;
    job->face.ctx = pool->driver.ctx;
    job->face.deadline.ns = until == KP__NEVER ? 0 : until;
    job->face.left_ms = until == KP__NEVER ? INT64_MAX
                        : until > now      ? kp__ms_up(until - now)
                                           : 1;
    job->face.tag = tag;
    job->face.loop = NULL;
    job->face.attempt = 0;
    job->face.epoch = 0;
    kp__list_init(&job->queue);
    kp__job_aim(job, slot);
}

void kp__job_aim(struct kp__job *job, struct kp__slot *slot)
{
    job->slot = slot;
    job->status = 0;
    job->made = NULL;
    job->failure.code = job->failure.vendor_code = 0;
    job->failure.text[0] = 0;
    job->face.resource = slot->resource;
    job->face.key = kp__key_of(job->pool, slot->sub);
    job->face.serial = slot->serial;
    job->face.scratch = NULL;
    /* relaxed: not shared yet */
    atomic_store_explicit(&job->state, KP__JOB_RUNNING, memory_order_relaxed);
}

void kp__job_post(struct kp__job *job)
{
    /* relaxed: whoever runs it gets it through a lock */
    atomic_store_explicit(&job->state, KP__JOB_POSTED, memory_order_relaxed);
}

/* Wait for the answer of a job that this thread stands by. False: there was none by `until`. */
static bool await(struct kp__job *job, uint64_t until)
{
    const struct kp__world *world = job->pool->world;
    uint32_t state;

    /* acquire: pairs with the release in kp_job_done, after status and resource were written */
    while ((state = atomic_load_explicit(&job->state, memory_order_acquire)) != KP__JOB_ANSWERED) {
        if (until != KP__NEVER && kp__now(world) >= until) return false;
        world->park((uint32_t *)&job->state, state, until, world->ctx);
    }
    return true;
}

void kp__job_await(struct kp__job *job)
{
    (void)await(job, KP__NEVER);
}

/* Nobody stands by any more: whoever answers does what follows. False: the answer was faster. */
bool kp__job_detach(struct kp__job *job)
{
    uint32_t running = KP__JOB_RUNNING;

    /* release: pairs with the acquire in kp_job_done, which goes on with the job; relaxed: if the
     * answer was faster, the caller waits for its end (kp__job_await), with acquire */
    return atomic_compare_exchange_strong_explicit(&job->state, &running, KP__JOB_DETACHED,
                                                   memory_order_release, memory_order_relaxed);
}

int kp_job_fail(kp_job *face, int vendor_code, const char *text)
{
    if (!face) return (void)kp__misuse(NULL, NULL, "kp_job_fail: job is NULL"), KP_ECREATE;
    struct kp__job *job = KP__OF(face, struct kp__job, face);

    job->failure.code = KP_ECREATE;
    job->failure.vendor_code = vendor_code;
    kp__copy_line(job->failure.text, sizeof job->failure.text, text ? text : "");
    return KP_ECREATE;
}

/* A failure without a word. Of a create KP_ECREATE is told, whatever its number was; of the others
 * their number, whose sentence says enough if it is one of ours. */
static void say_no_reason(struct kp__job *job, int status)
{
    static const char *const names[] = {
        [KP_JOB_CREATE] = "create",   [KP_JOB_VALIDATE] = "validate", [KP_JOB_RESET] = "reset",
        [KP_JOB_DESTROY] = "destroy", [KP_JOB_ABANDON] = "abandon",   [KP_JOB_REVOKE] = "revoke",
    };
    int code = job->face.kind == KP_JOB_CREATE ? job->failure.code : status;

    if (code != KP_ECREATE && kp_error_find(code)->code != 0) return;
    snprintf(job->failure.text, sizeof job->failure.text,
             "driver.%s failed with %d and gave no reason (kp_job_fail)", names[job->face.kind],
             job->failure.vendor_code);
}

static void write_answer(struct kp__job *job, int status, void *resource)
{
    job->status = status;
    job->made = resource;
    if (status >= 0) return;
    if (job->failure.code == 0) job->failure.vendor_code = status;
    job->failure.code = status == KP_EREFUSED || status == KP_ENOMEM ? status : KP_ECREATE;
    if (!job->failure.text[0]) say_no_reason(job, status);
}

static const char second_answer[] =
    "kp_job_done: this job was answered already; answer each job exactly once";

void kp__job_returned(struct kp__job *job, int status, void *resource)
{
    uint32_t running = KP__JOB_RUNNING;

    /* relaxed: this thread stands by, and reads the answer; if there was another, it waits for that
     * (kp__job_await), with acquire */
    if (atomic_compare_exchange_strong_explicit(&job->state, &running, KP__JOB_ANSWERED,
                                                memory_order_relaxed, memory_order_relaxed)) {
        write_answer(job, status, resource);
        return;
    }
    kp__misuse(job->pool, NULL, second_answer);
    kp__job_await(job);
}

/* Call the function that it is a run of. `made`: where create puts its resource. */
static int call_driver(struct kp__job *job, void **made)
{
    const kp_driver *driver = &job->pool->driver;
    kp_job *face = &job->face;

    switch (face->kind) {
    case KP_JOB_CREATE: return driver->create(face, made);
    case KP_JOB_VALIDATE: return driver->validate(face, face->resource);
    case KP_JOB_RESET: return driver->reset(face, face->resource);
    case KP_JOB_REVOKE: return driver->revoke(face, face->resource);
    default: return driver->destroy(face, face->resource);
    }
}

/* A job that nobody stood by was answered. */
static void go_on(struct kp__job *job)
{
    switch (job->face.kind) {
    case KP_JOB_CREATE: kp__create_finish(job); break;
    case KP_JOB_DESTROY: kp__destroy_finish(job); break;
    case KP_JOB_REVOKE: kp__revoke_finish(job); break;
    default:
        if (job->when == KP_CHECK_RETURN) kp__return_finish(job);
        else if (job->when == KP_CHECK_KEEPER) kp__test_finish(job);
        else kp__check_finish(job);
    }
}

static void answer(kp_job *face, int status, void *resource)
{
    struct kp__job *job = KP__OF(face, struct kp__job, face);
    const struct kp__world *world = job->pool->world;
    /* relaxed: written only in a child of fork, before that has a second thread */
    if (job->pool->forks != atomic_load_explicit(&kp__forks, memory_order_relaxed)) {
        kp__misuse(NULL, NULL,
                   "kp_job_done: this job began before fork; only the parent can answer it");
        return;
    }
    /* relaxed: the exchange below decides */
    uint32_t state = atomic_load_explicit(&job->state, memory_order_relaxed);

    for (;;) {
        if (state != KP__JOB_RUNNING && state != KP__JOB_DETACHED) {
            kp__misuse(job->pool, NULL, second_answer);
            return;
        }
        /* acquire: pairs with the release in kp__job_detach */
        /* cover: never, because it would take two answers to one job in the same instant */
        if (atomic_compare_exchange_weak_explicit(&job->state, &state, KP__JOB_ANSWERING,
                                                  memory_order_acquire, memory_order_relaxed))
            break;
    }
    write_answer(job, status, resource);
    if (state == KP__JOB_DETACHED) {
        go_on(job);
        return;
    }
    /* release: pairs with the acquire in await; from here on the job may be gone, and only its
     * address is used */
    _Atomic uint32_t *word = &job->state;
    atomic_store_explicit(word, KP__JOB_ANSWERED, memory_order_release);
    world->wake((uint32_t *)word, 1, world->ctx);
}

void kp_job_done(kp_job *face, int status, void *resource)
{
    if (!face) {
        kp__misuse(NULL, NULL, "kp_job_done: job is NULL; nothing was answered");
        return;
    }
    kp__here.answering++;
    answer(face, status, resource);
    kp__here.answering--;
}

/* ---- a thread stands by ---------------------------------------------------------------------- */

bool kp__stands_by(const struct kp__pool *pool)
{
    if (pool->loop || kp__here.answering > 0) return false;
    return kp__here.loops == 0 || !kp__keeps_jobs(pool);
}

/* Stop waiting for the answer. The job is detached under the lock, so that whoever answers it after
 * that has to wait for the lock. False: the answer was faster. */
static bool give_up(struct kp__job *job)
{
    struct kp__pool *pool = job->pool;
    struct kp__todo todo;

    kp__todo_init(&todo, pool->world);
    kp__step_in(pool);
    bool gave_up = kp__job_detach(job);
    struct kp__job *late = gave_up ? kp__job_hurry_begin(job) : NULL;
    if (late) kp__job_hurry(pool, late, &todo);
    kp__step_out(pool, &todo);
    return gave_up;
}

int kp__job_call(struct kp__job *job, uint64_t until)
{
    int status = call_driver(job, NULL);

    if (status != KP_PENDING) {
        kp__job_returned(job, status, NULL);
        return job->status;
    }
    if (!await(job, until)) {
        if (give_up(job)) return KP_PENDING;
        kp__job_await(job); /* it is being answered this moment */
    }
    return job->status < 0 ? job->status : 0; /* a positive answer is not KP_PENDING */
}

/* ---- nobody stands by ------------------------------------------------------------------------ */

static void perform(struct kp__job *job)
{
    void *made = NULL;
    int cancel = kp__cancel_hold(), status = call_driver(job, &made);

    kp__cancel_free(cancel);
    if (status == KP_PENDING) return; /* it may be answered, and gone, already */
    answer(&job->face, status, made);
}

/* If it has begun already, it was posted here to be hurried. */
void kp__job_perform(struct kp__job *job)
{
    struct kp__pool *pool = job->pool;
    /* relaxed: until it has begun, others only mark it as hurried */
    uint32_t state = atomic_load_explicit(&job->state, memory_order_relaxed);
    struct kp__todo todo;

    if (state == KP__JOB_POSTED || state == KP__JOB_HURRIED)
        job->face.loop = pool->loop ? pool->loop : kp__here.loops ? kp__here.loop : NULL;
    state = KP__JOB_POSTED;
    /* release, acquire: pair with kp__job_hurry_begin, which may read the job now, or was faster */
    if (atomic_compare_exchange_strong_explicit(&job->state, &state, KP__JOB_DETACHED,
                                                memory_order_acq_rel, memory_order_acquire)) {
        perform(job);
        return;
    }
    if (state == KP__JOB_HURRIED) {
        /* relaxed: only this thread has it until the driver's function has begun */
        atomic_store_explicit(&job->state, KP__JOB_DETACHED, memory_order_relaxed);
        perform(job);
    }
    /* relaxed: it may be answered this moment, which driver.cancel must expect; its memory stays */
    if (atomic_load_explicit(&job->state, memory_order_relaxed) == KP__JOB_DETACHED)
        kp__job_cancel(job);
    kp__todo_init(&todo, pool->world);
    kp__step_in(pool);
    kp__job_hurry_end(job);
    kp__leave(pool, &todo);
}

void kp__job_send(struct kp__job *job)
{
    struct kp__pool *pool = job->pool;
    bool may_block = !(pool->driver.flags & KP_NEVER_BLOCKS);
    bool create = job->face.kind == KP_JOB_CREATE;
    kp_loop *loop = kp__here.stepping;
    uint32_t running = KP__JOB_RUNNING;
    bool crew = pool->crew && (create || job->when == KP_CHECK_KEEPER ||
                               (may_block && kp__here.loops > 0));

    if (pool->loop && !kp__loop_is_mine(pool->loop)) loop = pool->loop;
    /* relaxed: as in kp__job_post, which most jobs had before: they may be hurried already */
    (void)atomic_compare_exchange_strong_explicit(&job->state, &running, KP__JOB_POSTED,
                                                  memory_order_relaxed, memory_order_relaxed);
    if (crew) kp__crew_post(pool, job);
    else if (loop) kp__loop_post(loop, job);
    else kp__job_perform(job);
}
