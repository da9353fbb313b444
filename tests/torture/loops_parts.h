/* SPDX-License-Identifier: MIT
 *
 * For loops.c: the three pools, and a driver whose functions fail now and then, or are answered
 * later by another thread.
 */
#ifndef KP_TESTS_LOOPS_PARTS_H
#define KP_TESTS_LOOPS_PARTS_H

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "keyedpool.h"

enum { KEYS = 6, PER_KEY = 4, ALL_KEYS = 12, LATE = 64, LOOPS = 4, HOUSES = 3 };

#define SECOND UINT64_C(1000000000)

/* ---- what is lent, and where ----------------------------------------------------------------- */

struct thing {
    uint32_t key;
    atomic_uint users, alive;
    atomic_bool doomed; /* its holder had it invalidated: never to be lent again */
    uint64_t uses;      /* plain on purpose: see loops.c */
};

struct house {
    const char *name;
    kp_pool *pool;
    bool may_block;
    atomic_ullong creates, create_failures, destroys; /* the driver's own counts */
    atomic_ullong yes, timeouts, refusals;            /* the callers' */
};

static struct house houses[HOUSES];
static atomic_bool stop, closed;
static atomic_uint loops_done;
static atomic_ullong wrong, late;
static uint64_t seed;

/* ---- what went wrong, chance, time ----------------------------------------------------------- */

#define EXPECT(cond, got) ((cond) ? (void)0 : went_wrong(__FILE__, __LINE__, #cond, got))

static void went_wrong(const char *file, int line, const char *what, long long got)
{
    if (atomic_fetch_add(&wrong, 1) < 20)
        fprintf(stderr, "%s:%d: %s does not hold (%lld)\n", file, line, what, got);
}

static uint64_t roll(uint64_t n) /* splitmix64, one per thread */
{
    static _Thread_local uint64_t state;
    static atomic_ullong threads;

    if (!state) state = seed ^ (atomic_fetch_add(&threads, 1) + 1) * UINT64_C(0x51ed2701);
    uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % n;
}

static bool one_in(uint64_t n) { return roll(n) == 0; }

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *value = getenv(name);

    return value && *value ? strtoull(value, NULL, 0) : otherwise;
}

/* ---- the driver: what each function does, now or later --------------------------------------- */

static int make(kp_job *job, struct house *h, struct thing **out)
{
    struct thing *t;

    if (one_in(12)) {
        atomic_fetch_add(&h->create_failures, 1);
        return kp_job_fail(job, 111, "one in twelve");
    }
    t = calloc(1, sizeof *t);
    if (!t) abort();
    memcpy(&t->key, job->key.data, sizeof t->key);
    atomic_init(&t->alive, 1);
    atomic_fetch_add(&h->creates, 1);
    *out = t;
    return 0;
}

static int check(struct thing *t)
{
    t->uses++;
    return one_in(30) ? -1 : 0;
}

static int unmake(struct house *h, struct thing *t)
{
    unsigned users = atomic_load_explicit(&t->users, memory_order_relaxed);

    EXPECT(users == 0, users);
    EXPECT(atomic_exchange_explicit(&t->alive, 0, memory_order_relaxed) == 1, t->key);
    t->uses++;
    free(t);
    atomic_fetch_add(&h->destroys, 1);
    return 0;
}

/* ---- later ----------------------------------------------------------------------------------- */

static _Atomic(kp_job *) waiting[LATE];

/* Puts a job off. False: there is no place for it; the caller must answer it now. */
static bool put_off(kp_job *job)
{
    kp_job *none = NULL;
    /* release: the thread that answers it reads the job; relaxed on failure: nothing is read */
    return !one_in(3) &&
           atomic_compare_exchange_strong_explicit(&waiting[roll(LATE)], &none, job,
                                                   memory_order_release, memory_order_relaxed);
}

/* Answer the job that was put off at place i, if there is one. */
static bool answer_at(size_t i)
{
    /* acquire: pairs with put_off */
    kp_job *job = atomic_exchange_explicit(&waiting[i], NULL, memory_order_acquire);
    struct thing *t = NULL;
    struct house *h;
    int status = 0;

    if (!job) return false;
    h = job->ctx;
    atomic_fetch_add_explicit(&late, 1, memory_order_relaxed);
    switch (job->kind) {
    case KP_JOB_CREATE: status = make(job, h, &t); break;
    case KP_JOB_DESTROY: status = unmake(h, job->resource); break;
    default: status = check(job->resource);
    }
    kp_job_done(job, status, t);
    return true;
}

static bool answer_one(void)
{
    size_t from = (size_t)roll(LATE);

    for (size_t i = 0; i < LATE; i++)
        if (answer_at((from + i) % LATE)) return true;
    return false;
}

static void block_a_little(const struct house *h)
{
    if (h->may_block && one_in(4)) sched_yield();
}

static int create(kp_job *job, void **out)
{
    struct house *h = job->ctx;
    struct thing *t = NULL;
    int status;

    block_a_little(h);
    if (put_off(job)) return KP_PENDING;
    status = make(job, h, &t);
    *out = t;
    return status;
}

static int validate(kp_job *job, void *resource)
{
    block_a_little(job->ctx);
    return one_in(4) && put_off(job) ? KP_PENDING : check(resource);
}

static int destroy(kp_job *job, void *resource)
{
    struct house *h = job->ctx;

    block_a_little(h);
    return one_in(4) && put_off(job) ? KP_PENDING : unmake(h, resource);
}

static void on_event(const kp_event *event, void *ctx)
{
    (void)ctx;
    if (event->kind == KP_EVENT_MISUSE)
        went_wrong(__FILE__, __LINE__, event->why ? event->why->text : "misuse", event->code);
}

/* ---- the pools ------------------------------------------------------------------------------- */

static void open_house(struct house *h, const char *name, kp_options *o)
{
    kp_why why = { 0 };

    h->name = o->name = name;
    o->driver = (kp_driver){ .create = create, .destroy = destroy, .validate = validate,
                             .reset = validate, .ctx = h,
                             .flags = h->may_block ? 0 : KP_NEVER_BLOCKS };
    o->on_event = on_event;
    o->forget_key_after_ms = 50;
    o->limits = (kp_limits){ .max_live = PER_KEY, .max_creating = 3, .idle_ttl_ms = 5,
                             .max_age_ms = 20, .validate_after_ms = KP_NONE,
                             .retry_first_ms = KP_NONE };
    o->budget = (kp_budget){ .max_live = ALL_KEYS };
    o->why = &why;
    if (kp_pool_open(o, &h->pool) == 0) return;
    fprintf(stderr, "%s: %s %s\n", name, why.field, why.text);
    abort();
}

static void open_houses(kp_loop *keeper)
{
    houses[1].may_block = true;
    open_house(&houses[0], "never blocks", &(kp_options){ 0 });
    open_house(&houses[1], "blocks, has threads", &(kp_options){ .threads = 2 });
    open_house(&houses[2], "kept by a loop", &(kp_options){ .loop = keeper });
}

#endif
