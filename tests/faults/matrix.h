/* SPDX-License-Identifier: MIT
 *
 * The rows of the matrix (matrix.c): every call that can wait, how it comes to wait, and what ends
 * the wait.
 */
#ifndef MATRIX_H
#define MATRIX_H

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>

#include "faults/child.h"

/* ---- the stage: one pool, one caller --------------------------------------------------------- */

static struct {
    kp_pool *pool;
    kp_lease held;          /* the lease that the caller waits for, if it is one */
    kp_job *_Atomic job;    /* or the job whose answer it waits for */
    pthread_t caller;
    _Atomic pid_t caller_tid;
    atomic_bool back;       /* the call has returned */
    int64_t result;
    int64_t within_ms;
    kp_lease got;
    kp_scope scope;
    atomic_int ran;
} s;

enum pending { NOTHING, CREATE, VALIDATE, RESET, DESTROY };

static _Atomic enum pending later; /* the function that answers later, once */

static bool answers_later(enum pending what, kp_job *job)
{
    if (later != what) return false;
    later = NOTHING;
    atomic_store(&s.job, job);
    return true;
}

static int create(kp_job *job, void **out)
{
    return answers_later(CREATE, job) ? KP_PENDING : thing_create(job, out);
}

static int validate(kp_job *job, void *resource)
{
    (void)resource;
    return answers_later(VALIDATE, job) ? KP_PENDING : 0;
}

static int reset(kp_job *job, void *resource)
{
    (void)resource;
    return answers_later(RESET, job) ? KP_PENDING : 0;
}

static int destroy(kp_job *job, void *resource)
{
    int rc = thing_destroy(job, resource);

    return answers_later(DESTROY, job) ? KP_PENDING : rc;
}

static int fail_once_then_create(kp_job *job, void **out)
{
    return job->attempt == 1 ? -1 : create(job, out);
}

static uint64_t all_of_the_pause(void *ctx)
{
    (void)ctx;
    return UINT64_C(59999999999); /* of 60 s */
}

static const kp_world no_luck = { .random = all_of_the_pause };

static void open_stage(kp_options options)
{
    if (!options.driver.create) options.driver.create = create;
    options.driver.destroy = destroy;
    options.driver.validate = validate;
    options.driver.reset = reset;
    options.driver.abandon = thing_abandon;
    options.limits.validate_after_ms = KP_NONE;
    if (!options.limits.max_live) options.limits.max_live = 1;
    if (!options.budget.max_live) options.budget.max_live = 2;
    options.world = &no_luck;
    options.on_event = hear_event;
    options.threads = NO_THREADS_IN_CHILDREN ? KP_NONE : 0;
    MUST(kp_pool_open(&options, &s.pool) == 0);
}

static kp_lease take_one(const char *key)
{
    kp_lease lease;

    MUST(kp_get(s.pool, kp_str(key), KP_IN_S(30), &lease) == 0);
    return lease;
}

/* ---- the rows: where it waits, and what ends the wait ---------------------------------------- */

static void lend(void)
{
    open_stage((kp_options){ 0 });
    s.held = take_one("k");
}

static void give_it_back(void)
{
    kp_release(&s.held);
}

static void create_later(void)
{
    open_stage((kp_options){ 0 });
    later = CREATE;
}

static void answer_create(void)
{
    void *made;
    kp_job *job = atomic_exchange(&s.job, NULL);

    MUST(thing_create(job, &made) == 0);
    kp_job_done(job, 0, made);
}

static void answer(void)
{
    kp_job_done(atomic_exchange(&s.job, NULL), 0, NULL);
}

static void fail_once(void)
{
    kp_lease none;

    open_stage((kp_options){ .driver = { .create = fail_once_then_create },
                             .limits = { .retry_first_ms = KP_SECONDS(60),
                                         .retry_max_ms = KP_SECONDS(60) } });
    MUST(kp_get(s.pool, kp_str("k"), KP_IN_S(30), &none) == KP_ECREATE);
}

static void add_one(void)
{
    void *made;

    MUST(thing_create(NULL, &made) == 0 && kp_add(s.pool, kp_str("k"), made) == 0);
}

static void validate_later(void)
{
    open_stage((kp_options){ 0 });
    s.held = take_one("k");
    kp_release(&s.held);
    later = VALIDATE;
}

static void victim_later(void)
{
    open_stage((kp_options){ .budget = { .max_live = 1 } });
    s.held = take_one("victim");
    kp_release(&s.held);
    later = DESTROY;
}

static void lend_and_destroy_later(void)
{
    lend();
    later = DESTROY;
}

static void lend_and_reset_later(void)
{
    lend();
    later = RESET;
}

/* ---- the calls ------------------------------------------------------------------------------- */

static int64_t call_get(void)
{
    return kp_get(s.pool, kp_str("k"), KP_ASK(.within_ms = s.within_ms), &s.got);
}

static int64_t call_scope_get(void)
{
    kp_lease lease;

    return kp_scope_get(&s.scope, s.pool, kp_str("k"), KP_ASK(.within_ms = s.within_ms), &lease);
}

static int count_run(kp_lease *lease, void *arg)
{
    (void)arg;
    atomic_fetch_add(&s.ran, 1);
    return lease->resource ? 0 : -1;
}

static int64_t call_use(void)
{
    const kp_plan plan = { .ask = { .within_ms = s.within_ms } };

    return kp_use(s.pool, kp_str("k"), &plan, count_run, NULL);
}

static int64_t call_warm(void)
{
    kp_key key = kp_str("k");

    return kp_warm(s.pool, &key, 1, KP_ASK(.within_ms = s.within_ms));
}

static int64_t call_close(void)
{
    return kp_pool_close(s.pool, KP_CLOSE_WAIT, s.within_ms);
}

/* A thread that waits in the queue, so that a drain has something to wait for. */
static pthread_t queued;

static void *stand_in_the_queue(void *arg)
{
    kp_lease lease;

    (void)arg;
    if (kp_get(s.pool, kp_str("k"), KP_IN_S(50), &lease) == 0) kp_release(&lease);
    return NULL;
}

static void lend_with_a_queue(void)
{
    kp_stats stats = { 0 };

    lend();
    MUST(pthread_create(&queued, NULL, stand_in_the_queue, NULL) == 0);
    while (stats.waiting == 0) {
        sched_yield();
        MUST(kp_stats_read(s.pool, KP_EVERY_KEY, &stats) == 0);
    }
}

static int64_t call_drain(void)
{
    return kp_pool_close(s.pool, KP_CLOSE_DRAIN, s.within_ms);
}

static int64_t call_discard(void)
{
    kp_discard(&s.held);
    return 0;
}

static int64_t call_release(void)
{
    kp_release(&s.held);
    return 0;
}

static const struct row {
    const char *name;
    void (*begin)(void);
    int64_t (*call)(void);
    void (*end)(void);
    int64_t result, late; /* when all goes well; at the deadline (1: it has none) */
    bool lends;           /* it waits for a lease, whose borrower may be a thread that ends */
} rows[] = {
    { "get, at the limit", lend, call_get, give_it_back, 0, KP_ETIMEDOUT, true },
    { "get, its create is pending", create_later, call_get, answer_create, 0, KP_ETIMEDOUT, false },
    { "get, in back-off", fail_once, call_get, add_one, 0, KP_ETIMEDOUT, false },
    { "get, validate is pending", validate_later, call_get, answer, 0, KP_ETIMEDOUT, false },
    { "get, its victim's destroy is pending", victim_later, call_get, answer, 0, 1, false },
    { "scope_get, at the limit", lend, call_scope_get, give_it_back, 0, KP_ETIMEDOUT, true },
    { "use, at the limit", lend, call_use, give_it_back, 0, KP_ETIMEDOUT, true },
    { "warm, a create is pending", create_later, call_warm, answer_create, 1, 1, false },
    { "close WAIT, one is lent", lend, call_close, give_it_back, 0, 1, true },
    { "close DRAIN, one waits", lend_with_a_queue, call_drain, give_it_back, 0, 1, true },
    { "discard, destroy is pending", lend_and_destroy_later, call_discard, answer, 0, 1, false },
    { "release, reset is pending", lend_and_reset_later, call_release, answer, 0, 1, false },
};

enum { ROWS = sizeof rows / sizeof rows[0] };

#endif
