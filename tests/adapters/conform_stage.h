/* SPDX-License-Identifier: MIT
 *
 * The stage of the cases that every adapter must pass: one subject, a pool for each case, and short
 * words for what they all do.
 */
#ifndef TESTS_ADAPTERS_CONFORM_STAGE_H
#define TESTS_ADAPTERS_CONFORM_STAGE_H

#include "adapters/conform.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WITHIN_MS 10000

static const struct conform *subject;

static struct {
    kp_pool *pool;
    kp_why   why;
    sem_t    news;                      /* posted at each event */
    atomic_int made, gone, invalid, suspect;
    atomic_int said_gone;               /* of those that were invalid, KP_EGONE */
    bool     (*is_clean)(void *resource, void *ctx);    /* the driver's, or NULL */
    bool       on_loop;                 /* of another thread: then nobody here is asked */
    atomic_int asked, clean;            /* how often, and how often it was */
} stage;

static inline void note(const kp_event *event, void *ctx)
{
    (void)ctx;
    if (event->kind == KP_EVENT_CREATED)
        atomic_fetch_add(&stage.made, 1);
    if (event->kind == KP_EVENT_DESTROYED || event->kind == KP_EVENT_DESTROY_FAILED)
        atomic_fetch_add(&stage.gone, 1);
    if (event->kind == KP_EVENT_SUSPECT)
        atomic_fetch_add(&stage.suspect, 1);
    if (event->kind == KP_EVENT_INVALID) {
        atomic_fetch_add(&stage.said_gone, event->code == KP_EGONE);
        atomic_fetch_add(&stage.invalid, 1);
    }
    (void)sem_post(&stage.news);
}

/* Wait until events have brought a counter to so many. */
static inline void await(atomic_int *counter, int many)
{
    while (atomic_load(counter) < many) {
        struct timespec until;

        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += WITHIN_MS / 1000;
        if (sem_timedwait(&stage.news, &until) != 0 && atomic_load(counter) < many)
            fail_msg("%d events, not %d", atomic_load(counter), many);
    }
}

static inline bool counted_is_clean(void *resource, void *ctx)
{
    bool clean = stage.is_clean(resource, ctx);

    atomic_fetch_add(&stage.asked, 1);
    atomic_fetch_add(&stage.clean, clean);
    return clean;
}

/* All are validated, and a failed create is tried again at once: no case is about back-off. What
 * the server has ended is left to be found; conform_gone.c has the other way. */
static inline kp_options plan(int64_t max_live)
{
    kp_options options = { .why = &stage.why, .on_event = note, .name = "conform" };

    memset(&stage, 0, sizeof stage);
    assert_int_equal(sem_init(&stage.news, 0, 0), 0);
    assert_int_equal(subject->fill(&options), 0);
    stage.is_clean = options.driver.is_clean;
    stage.on_loop = options.loop != NULL;
    if (stage.is_clean)
        options.driver.is_clean = counted_is_clean;
    options.limits.max_live = max_live;
    options.limits.retry_first_ms = KP_NONE;
    options.limits.validate_after_ms = KP_NONE;
    options.watch_every_ms = KP_OFF;
    return options;
}

static inline void open_pool_as(const kp_options *options)
{
    if (kp_pool_open(options, &stage.pool) != 0)
        fail_msg("open: %s", stage.why.text);
}

static inline void open_pool(int64_t max_live)
{
    kp_options options = plan(max_live);

    open_pool_as(&options);
}

/* Closing is waited for, so that all that was made must have been destroyed once. On a loop the
 * last one may be told of a moment later. */
static inline void close_pool(void)
{
    assert_int_equal(kp_pool_close(stage.pool, KP_CLOSE_WAIT, WITHIN_MS), 0);
    await(&stage.gone, atomic_load(&stage.made));
    assert_int_equal(atomic_load(&stage.made), atomic_load(&stage.gone));
    (void)sem_destroy(&stage.news);
}

static inline int try_get(kp_key key, int64_t within_ms, kp_lease *lease)
{
    memset(&stage.why, 0, sizeof stage.why);
    return kp_get(stage.pool, key, KP_ASK(.within_ms = within_ms, .why = &stage.why,
                                          .tag = "conform"), lease);
}

static inline kp_lease get(size_t key)
{
    kp_lease lease;

    if (try_get(subject->keys[key], WITHIN_MS, &lease) != 0)
        fail_msg("get: %s", stage.why.text);
    return lease;
}

static inline void must_work(const kp_lease *lease)
{
    const char *wrong = subject->use(lease->resource);

    if (wrong)
        fail_msg("%s: %s", subject->name, wrong);
}

/* On a loop what was given back is reset there: until it is where it belongs. */
static inline void all_must_be_back(void)
{
    assert_int_equal(kp_drain(stage.pool, KP_EVERY_KEY, WITHIN_MS), 0);
}

static inline bool reused(const kp_lease *lease)
{
    kp_lease_about about;

    assert_true(kp_lease_read(lease, &about));
    return about.reused;
}

/* The cases about servers that go, as a group of their own. */
int conform_gone(const struct conform *which);

#endif
