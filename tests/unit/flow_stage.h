/* SPDX-License-Identifier: MIT
 *
 * A stage for tests of src/flow with a single thread. The clock stands still until the thread
 * parks; it then wakes at its deadline, or at once if what the test does meanwhile has woken it.
 * Memory can run out at any allocation, and the test chooses the driver's answers.
 */
#ifndef KP_TESTS_FLOW_STAGE_H
#define KP_TESTS_FLOW_STAGE_H

#include "base_kit.h"

#include <keyedpool/pool.h>
#include <keyedpool/scope.h>
#include <keyedpool/stats.h>

struct stage {
    kp_world world;
    kp_options options;
    kp_pool *pool;
    kp_why why;
    uint64_t now;                     /* ns */
    int64_t allocations;              /* how many will still succeed; negative: all */
    void (*meanwhile)(struct stage *); /* called once, when the thread parks */
    void *with;                       /* for `meanwhile` */
    int create, validate, reset, destroy; /* what the driver's functions answer */
    kp_job *job, *jobs[8];            /* those that are pending; job is the latest */
    int pending;
    int made, destroyed, cancelled;
    kp_event_kind events[64];
    int heard;
    char resources[256];
};

static inline int stage_leave_pending(struct stage *s, kp_job *job, int answer)
{
    if (answer == KP_PENDING) s->job = s->jobs[s->pending++] = job;
    return answer;
}

static uint64_t stage_now(void *ctx)
{
    return ((struct stage *)ctx)->now;
}

static void *stage_alloc(size_t size, size_t align, void *ctx)
{
    struct stage *s = ctx;

    if (s->allocations == 0) return NULL;
    if (s->allocations > 0) s->allocations--;
    return aligned_alloc(align, (size + align - 1) & ~(align - 1));
}

static void stage_free(void *p, size_t size, void *ctx)
{
    (void)size;
    (void)ctx;
    free(p);
}

static uint64_t stage_random(void *ctx)
{
    (void)ctx;
    return kit_random();
}

static void stage_park(uint32_t *word, uint32_t while_it_is, uint64_t until_ns, void *ctx)
{
    struct stage *s = ctx;
    void (*meanwhile)(struct stage *) = s->meanwhile;

    s->meanwhile = NULL;
    if (meanwhile) meanwhile(s);
    if (__atomic_load_n(word, __ATOMIC_RELAXED) != while_it_is) return;
    assert_true(until_ns != UINT64_MAX); /* it would sleep for ever */
    if (s->now < until_ns) s->now = until_ns;
}

static void stage_wake(uint32_t *word, int how_many, void *ctx)
{
    (void)word;
    (void)how_many;
    (void)ctx;
}

/* ---- the driver ------------------------------------------------------------------------------ */

static inline int stage_create(kp_job *job, void **resource)
{
    struct stage *s = job->ctx;

    if (s->create != 0) return stage_leave_pending(s, job, s->create);
    *resource = &s->resources[s->made++];
    return 0;
}

static inline int stage_validate(kp_job *job, void *resource)
{
    struct stage *s = job->ctx;

    (void)resource;
    return stage_leave_pending(s, job, s->validate);
}

static inline int stage_reset(kp_job *job, void *resource)
{
    struct stage *s = job->ctx;

    (void)resource;
    return stage_leave_pending(s, job, s->reset);
}

static inline int stage_destroy(kp_job *job, void *resource)
{
    struct stage *s = job->ctx;

    (void)resource;
    s->destroyed += s->destroy != KP_PENDING;
    return stage_leave_pending(s, job, s->destroy);
}

static inline void stage_cancel(kp_job *job)
{
    ((struct stage *)job->ctx)->cancelled++;
}

static inline void stage_event(const kp_event *event, void *ctx)
{
    struct stage *s = ctx;

    if (s->heard < (int)(sizeof s->events / sizeof s->events[0]))
        s->events[s->heard++] = event->kind;
}

/* How often this event has come. */
static inline int stage_heard(const struct stage *s, kp_event_kind kind)
{
    int n = 0;

    for (int i = 0; i < s->heard; i++) n += s->events[i] == kind;
    return n;
}

/* ---- curtain --------------------------------------------------------------------------------- */

/* Options that work; the test changes them before stage_open. */
static inline void stage_set(struct stage *s)
{
    *s = (struct stage){ .now = 1000000000, .allocations = -1 };
    s->world = (kp_world){ .now_ns = stage_now, .alloc = stage_alloc, .free = stage_free,
                           .random = stage_random, .park = stage_park, .wake = stage_wake,
                           .ctx = s };
    s->options = (kp_options){
        .driver = { .create = stage_create, .destroy = stage_destroy, .ctx = s },
        .on_event = stage_event, .ctx = s, .threads = KP_NONE, .world = &s->world, .why = &s->why,
    };
}

static inline void stage_open(struct stage *s)
{
    if (kp_pool_open(&s->options, &s->pool) != 0) fail_msg("not opened: %s", s->why.text);
}

static inline void stage_raise(struct stage *s)
{
    stage_set(s);
    stage_open(s);
}

static inline void stage_fall(struct stage *s)
{
    s->allocations = -1;
    s->destroy = 0;
    assert_int_equal(kp_pool_close(s->pool, KP_CLOSE_NOW, KP_NONE), 0);
}

/* Gets one of a key; it must be had at once. */
static inline kp_lease stage_get(struct stage *s, const char *key)
{
    kp_lease lease;

    if (kp_get(s->pool, kp_str(key), KP_ASK(.why = &s->why), &lease) != 0)
        fail_msg("not had: %s", s->why.text);
    return lease;
}

#endif
