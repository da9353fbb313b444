/* SPDX-License-Identifier: MIT
 *
 * The stage of the tests of the governor: a pool on the virtual clock, whose creations are recorded
 * with their times, and getters that record what they were answered, and when.
 */
#ifndef KP_TESTS_GOVERNOR_H
#define KP_TESTS_GOVERNOR_H

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "keyedpool_test.h"

enum { TIMES = 512 };

struct stage {
    kp_sim *sim;
    kp_cast *cast;
    kp_pool *pool;
    kp_driver driver; /* the cast's */
    uint64_t opened, began[TIMES]; /* when it was opened, and when creations began */
    int begun, closed_circuits;
};
static struct stage the;

struct getter {
    const char *key;
    int64_t within_ms, hold_ms, took_ms;
    int rc;
    uint32_t flags;
    kp_why why;
    char name[8];
};

/* ---- the stage ------------------------------------------------------------------------------- */

static inline int create(kp_job *job, void **out)
{
    if (the.begun < TIMES) the.began[the.begun] = kp_now_ns(job->pool);
    the.begun++;
    return the.driver.create(job, out);
}

static inline void hear(const kp_event *event, void *ctx)
{
    (void)ctx;
    the.closed_circuits += event->kind == KP_EVENT_BREAKER_CLOSED;
}

static inline void open_stage(kp_options o, const kp_line *creates)
{
    kp_script script = { .create = creates };

    memset(&the, 0, sizeof the);
    assert_int_equal(kp_sim_open(7, &the.sim), 0);
    script.sim = the.sim;
    assert_int_equal(kp_cast_open(&script, &the.cast), 0);
    the.driver = kp_cast_driver(the.cast);
    int (*destroy)(kp_job *, void *) = o.driver.destroy;
    o.driver = the.driver;
    o.driver.create = create;
    if (destroy) o.driver.destroy = destroy;
    o.on_event = hear;
    o.world = kp_sim_world(the.sim);
    assert_int_equal(kp_pool_open(&o, &the.pool), 0);
    the.opened = kp_now_ns(the.pool);
}

static inline void close_stage(void)
{
    kp_sim_join(the.sim, 0);
    assert_int_equal(kp_pool_close(the.pool, KP_CLOSE_NOW, 0), 0);
    assert_int_equal(kp_cast_read(the.cast).live, 0);
    kp_cast_close(the.cast);
    assert_int_equal(kp_sim_close(the.sim), 0);
}

static inline void get(void *arg)
{
    struct getter *g = arg;
    kp_ask ask = { .within_ms = g->within_ms, .flags = g->flags, .why = &g->why };
    int64_t start = kp_sim_now_ms(the.sim);
    kp_lease lease;

    g->rc = kp_get(the.pool, kp_str(g->key), &ask, &lease);
    g->took_ms = kp_sim_now_ms(the.sim) - start;
    if (g->rc != 0) return;
    if (g->hold_ms) kp_sim_pass_ms(the.sim, g->hold_ms);
    kp_release(&lease);
}

static inline int ask(struct getter *g)
{
    get(g);
    return g->rc;
}

static inline kp_lease take(const char *key)
{
    kp_lease lease;

    assert_int_equal(kp_get(the.pool, kp_str(key), NULL, &lease), 0);
    return lease;
}

static inline void start(struct getter *g, const char *key, int64_t within_ms)
{
    *g = (struct getter){ .key = key, .within_ms = within_ms, .rc = 1 };
    assert_true(kp_sim_spawn(the.sim, get, g) > 0);
}

#endif
