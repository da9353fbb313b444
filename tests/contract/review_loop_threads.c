/* SPDX-License-Identifier: MIT
 *
 * Event loops and other threads, on real threads: upkeep that becomes due while a loop stops
 * looking, pools that are opened while it dispatches, and drivers that must not run on its thread.
 */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "keyedpool.h"

#include <cmocka.h>

/* Poll as a program does, for as long as the last dispatch said, then dispatch. False: so many ms
 * of patience went by with nothing to do. */
static bool turn(kp_loop *loop, int64_t *next, int patience_ms)
{
    struct pollfd p = { .fd = kp_loop_fd(loop), .events = POLLIN };
    bool sleeps = *next < 0 || *next > patience_ms;
    bool woken = poll(&p, 1, sleeps ? patience_ms : (int)*next) > 0 || !sleeps;

    *next = kp_loop_dispatch(loop);
    assert_true(*next >= -1);
    return woken;
}

static int make(kp_job *job, void **resource)
{
    (void)job;
    *resource = malloc(1);
    return 0;
}

static int unmake(kp_job *job, void *resource)
{
    (void)job;
    free(resource);
    return 0;
}

/* ---- upkeep ---------------------------------------------------------------------------------- */

enum { ROUNDS = 1000, SECONDS = 4, PATIENCE = 2000 }; /* so many, within so long */

struct lender {
    kp_pool *pool;
    _Atomic int round, back, gone;
};

static void count_ends(const kp_event *event, void *ctx)
{
    struct lender *l = ctx;

    if (event->kind == KP_EVENT_DESTROYED) l->gone++;
}

/* One resource per round, which is idle when it comes back, and expires after a millisecond. */
static void *lend(void *arg)
{
    struct lender *l = arg;
    kp_lease lease;

    for (int i = 1; i <= ROUNDS; i++) {
        while (l->round < i) sched_yield();
        if (l->round > ROUNDS) break;
        assert_int_equal(kp_get(l->pool, kp_str("k"), NULL, &lease), 0);
        kp_release(&lease);
        l->back = i;
    }
    return NULL;
}

static void upkeep_that_becomes_due_while_the_loop_stops_looking_must_be_done(void **state)
{
    struct lender l = { .round = 0 };
    kp_options o = { .driver = { .create = make, .destroy = unmake, .flags = KP_NEVER_BLOCKS },
                     .limits = { .max_live = 1, .idle_ttl_ms = 1 },
                     .on_event = count_ends,
                     .ctx = &l };
    pthread_t thread;
    time_t end = time(NULL) + SECONDS;
    int64_t next = 0;

    (void)state;
    assert_int_equal(kp_loop_open(&o.loop), 0);
    assert_int_equal(kp_pool_open(&o, &l.pool), 0);
    assert_int_equal(pthread_create(&thread, NULL, lend, &l), 0);
    for (int i = 1; i <= ROUNDS && time(NULL) < end; i++) {
        l.round = i;
        do next = kp_loop_dispatch(o.loop); /* the last one had begun before it was back */
        while (l.back < i);
        while (l.gone < i)
            if (!turn(o.loop, &next, PATIENCE)) {
                print_error("round %d: the loop sleeps on\n", i);
                abort(); /* the other thread uses this one's stack */
            }
    }
    l.round = ROUNDS + 1;
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(kp_pool_close(l.pool, KP_CLOSE_NOW, 0), 0);
    assert_int_equal(kp_loop_close(o.loop), 0);
}

/* ---- a pool joins ---------------------------------------------------------------------------- */

struct opener {
    kp_options options;
    kp_pool *pool;
    _Atomic int opened;
};

static void *open_it(void *arg)
{
    struct opener *o = arg;

    assert_int_equal(kp_pool_open(&o->options, &o->pool), 0);
    o->opened = 1;
    return NULL;
}

static void a_pool_may_be_opened_by_another_thread_while_its_loop_dispatches(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        struct opener o = { .options = { .driver = { .create = make,
                                                     .destroy = unmake,
                                                     .flags = KP_NEVER_BLOCKS } } };
        pthread_t thread;
        assert_int_equal(kp_loop_open(&o.options.loop), 0);
        assert_int_equal(kp_loop_dispatch(o.options.loop), -1);
        assert_int_equal(pthread_create(&thread, NULL, open_it, &o), 0);
        while (!o.opened) assert_true(kp_loop_dispatch(o.options.loop) >= -1);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(kp_pool_close(o.pool, KP_CLOSE_NOW, 0), 0);
        assert_int_equal(kp_loop_close(o.options.loop), 0);
    }
}

/* ---- a driver that may block ----------------------------------------------------------------- */

static struct {
    pthread_t loop;
    _Atomic int runs[KP_JOB_DESTROY + 1], on_the_loop;
    _Atomic bool bad;
} seen;

static int watch(kp_job *job)
{
    seen.runs[job->kind]++;
    if (pthread_equal(pthread_self(), seen.loop) || job->loop) seen.on_the_loop++;
    return 0;
}

static int watched_create(kp_job *job, void **resource)
{
    return watch(job) + make(job, resource);
}

static int watched_destroy(kp_job *job, void *resource)
{
    return watch(job) + unmake(job, resource);
}

static int watched_use(kp_job *job, void *resource)
{
    (void)resource;
    (void)watch(job);
    return job->kind == KP_JOB_VALIDATE && seen.bad ? -1 : 0;
}

struct waiter {
    kp_request request;
    kp_lease lease;
    int status;
};

static void note(kp_request *request, int status, kp_lease lease)
{
    struct waiter *w = request->arg;

    w->status = status;
    w->lease = lease;
}

static void ask_for(struct waiter *w, kp_loop *loop, kp_pool *pool, const char *key)
{
    *w = (struct waiter){ .request = { .loop = loop, .done = note, .arg = w }, .status = 1 };
    assert_int_equal(kp_get_start(pool, kp_str(key), NULL, &w->request), 0);
    for (int64_t next = 0; w->status == 1;) (void)turn(loop, &next, 20);
    assert_int_equal(w->status, 0);
}

/* Until everything that was begun has come to its end. */
static void settle(kp_loop *loop, kp_pool *pool, uint64_t live, uint64_t idle)
{
    kp_stats stats;
    int64_t next = 0;

    do {
        (void)turn(loop, &next, 1);
        assert_int_equal(kp_stats_read(pool, KP_EVERY_KEY, &stats), 0);
    } while (stats.live != live || stats.idle != idle);
}

static void all_of_a_blocking_driver_must_run_on_the_pools_threads(void **state)
{
    const kp_options o = { .driver = { .create = watched_create,
                                       .destroy = watched_destroy,
                                       .validate = watched_use,
                                       .reset = watched_use },
                           .limits = { .validate_after_ms = KP_NONE,
                                       .validate_on = KP_CHECK_GET | KP_CHECK_RETURN },
                           .budget = { .max_live = 1 },
                           .threads = 2 };
    struct waiter w;
    kp_loop *loop;
    kp_pool *pool;

    (void)state;
    seen.loop = pthread_self();
    assert_int_equal(kp_loop_open(&loop), 0);
    assert_int_equal(kp_pool_open(&o, &pool), 0);
    ask_for(&w, loop, pool, "a");
    kp_release(&w.lease); /* reset, and validated on return */
    settle(loop, pool, 1, 1);
    ask_for(&w, loop, pool, "b"); /* evicts a's */
    kp_release(&w.lease);
    settle(loop, pool, 1, 1);
    seen.bad = true;
    ask_for(&w, loop, pool, "b"); /* found bad: destroyed, and another made */
    seen.bad = false;
    kp_discard(&w.lease);
    settle(loop, pool, 0, 0);
    ask_for(&w, loop, pool, "b");
    kp_release(&w.lease);
    settle(loop, pool, 1, 1);
    assert_int_equal(kp_invalidate_key(pool, kp_str("b")), 1);
    settle(loop, pool, 0, 0);
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_WAIT, 0), 0);
    assert_int_equal(kp_loop_close(loop), 0);
    assert_int_equal(seen.runs[KP_JOB_CREATE], 4);
    assert_int_equal(seen.runs[KP_JOB_DESTROY], 4);
    assert_int_equal(seen.runs[KP_JOB_RESET], 3);
    assert_int_equal(seen.runs[KP_JOB_VALIDATE], 4);
    assert_int_equal(seen.on_the_loop, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(upkeep_that_becomes_due_while_the_loop_stops_looking_must_be_done),
        cmocka_unit_test(a_pool_may_be_opened_by_another_thread_while_its_loop_dispatches),
        cmocka_unit_test(all_of_a_blocking_driver_must_run_on_the_pools_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
