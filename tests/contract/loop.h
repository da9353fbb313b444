/* SPDX-License-Identifier: MIT
 *
 * One pool, one event loop and a scripted driver in a virtual world, all on the test's own thread;
 * other tasks (pending answers, blocked gets) run while it lets time go by.
 */
#ifndef KP_TESTS_LOOP_H
#define KP_TESTS_LOOP_H

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include "keyedpool.h"
#include "keyedpool_test.h"

#include <cmocka.h>

enum { STAGE_MOST = 64 };

struct stage {
    kp_sim *sim;
    kp_cast *cast;
    kp_loop *loop;
    kp_pool *pool;
    kp_script script;
    kp_options plan;
    int done;        /* callbacks that ran */
    int order[STAGE_MOST]; /* numbers of the asks, in the order of their answers */
};

struct ask {
    kp_request request;
    struct stage *stage;
    int number;
    int status; /* 1: no answer so far */
    int answers;
    int64_t at_ms;
    kp_lease lease;
    kp_why why;
    bool give_back; /* in done */
};

static KP_MAYBE_UNUSED void stage_open(struct stage *s, const kp_script *script,
                                       const kp_options *plan)
{
    memset(s, 0, sizeof *s);
    assert_int_equal(kp_sim_open(1, &s->sim), 0);
    if (script) s->script = *script;
    s->script.sim = s->sim;
    assert_int_equal(kp_cast_open(&s->script, &s->cast), 0);
    assert_int_equal(kp_loop_open(&s->loop), 0);
    s->plan = *plan;
    s->plan.driver = kp_cast_driver(s->cast);
    s->plan.driver.flags = KP_NEVER_BLOCKS;
    s->plan.world = kp_sim_world(s->sim);
    assert_int_equal(kp_pool_open(&s->plan, &s->pool), 0);
}

/* The same, but the loop is also the keeper and runs the driver. */
static KP_MAYBE_UNUSED void stage_open_alone(struct stage *s, const kp_script *script,
                                             const kp_options *plan)
{
    kp_options own = *plan;

    stage_open(s, script, plan);
    (void)kp_pool_close(s->pool, KP_CLOSE_NOW, 0);
    own.loop = s->loop;
    own.driver = s->plan.driver;
    own.world = s->plan.world;
    s->plan = own;
    assert_int_equal(kp_pool_open(&s->plan, &s->pool), 0);
}

static KP_MAYBE_UNUSED bool stage_readable(const struct stage *s)
{
    struct pollfd p = { .fd = kp_loop_fd(s->loop), .events = POLLIN };

    return poll(&p, 1, 0) == 1;
}

/* Dispatch for so many ms of virtual time. */
static KP_MAYBE_UNUSED void stage_pass(struct stage *s, int64_t ms)
{
    int64_t end = kp_sim_now_ms(s->sim) + ms;

    for (;;) {
        int64_t next = kp_loop_dispatch(s->loop);
        assert_true(next >= -1);
        (void)kp_sim_settle(s->sim);
        if (next == 0 || stage_readable(s)) continue;
        if (kp_sim_now_ms(s->sim) >= end) return;
        kp_sim_pass_ms(s->sim, 1);
    }
}

static void stage_done(kp_request *request, int status, kp_lease lease)
{
    struct ask *a = request->arg;

    a->answers++;
    a->status = status;
    a->lease = lease;
    a->at_ms = kp_sim_now_ms(a->stage->sim);
    if (a->stage->done < STAGE_MOST) a->stage->order[a->stage->done] = a->number;
    a->stage->done++;
    if (a->give_back) kp_release(&a->lease);
}

static KP_MAYBE_UNUSED int stage_start_with(struct stage *s, struct ask *a, const char *key,
                                            kp_ask how)
{
    memset(a, 0, sizeof *a);
    a->stage = s;
    a->status = 1;
    a->request = (kp_request){ .loop = s->loop, .done = stage_done, .arg = a };
    how.why = &a->why;
    return kp_get_start(s->pool, kp_str(key), &how, &a->request);
}

static KP_MAYBE_UNUSED void stage_start(struct stage *s, struct ask *a, const char *key,
                                        int64_t within_ms)
{
    assert_int_equal(stage_start_with(s, a, key, (kp_ask){ .within_ms = within_ms }), 0);
}

/* One use of the key "a", which reports `status`. */
static KP_MAYBE_UNUSED void stage_use(struct stage *s, int status)
{
    struct ask ask;

    stage_start(s, &ask, "a", 1000);
    stage_pass(s, 1);
    assert_int_equal(ask.status, 0);
    kp_lease_report(&ask.lease, status);
    kp_release(&ask.lease);
}

static KP_MAYBE_UNUSED kp_stats stage_stats(const struct stage *s)
{
    kp_stats stats;

    assert_int_equal(kp_stats_read(s->pool, KP_EVERY_KEY, &stats), 0);
    assert_int_equal(stats.live, stats.creating + stats.idle + stats.lent + stats.closing);
    return stats;
}

/* Everything must have come back: nothing is lent, no request waits; and nothing leaks. */
static KP_MAYBE_UNUSED void stage_close(struct stage *s)
{
    assert_int_equal(stage_stats(s).waiting, 0);
    assert_int_equal(stage_stats(s).leases, 0);
    (void)kp_pool_close(s->pool, KP_CLOSE_NOW, 0);
    for (int i = 0; i < 100 && kp_cast_read(s->cast).live > 0; i++) stage_pass(s, 1);
    kp_cast_count count = kp_cast_read(s->cast);
    assert_int_equal(count.live, 0);
    assert_int_equal(count.creates, count.destroys);
    assert_int_equal(count.destroyed_twice + count.used_after, 0);
    stage_pass(s, 1);
    assert_int_equal(kp_loop_close(s->loop), 0);
    kp_cast_close(s->cast);
    assert_int_equal(kp_sim_close(s->sim), 0);
}

#endif
