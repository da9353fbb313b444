/* SPDX-License-Identifier: MIT
 *
 * Tests of src/flow/loop.c: contradictory loops and requests, several clocks, several pools, and
 * what is left when a loop closes.
 */
#include "flow_stage.h"

#include <keyedpool/loop.h>
#include <pthread.h>
#include <string.h>

static int told, told_code;

static void done(kp_request *request, int code, kp_lease lease)
{
    (void)request;
    told++;
    told_code = code;
    kp_release(&lease);
}

static kp_why misuse;

static void on_misuse(const kp_why *why, void *arg)
{
    (void)arg;
    misuse = *why;
}

static int setup(void **state)
{
    (void)state;
    kp_on_misuse(on_misuse, NULL);
    return 0;
}

#define MISUSE(call, part)                                                           \
    do {                                                                             \
        memset(&misuse, 0, sizeof misuse);                                           \
        assert_int_equal(call, KP_EMISUSE);                                          \
        if (!strstr(misuse.text, part)) fail_msg("\"%s\": %s", part, misuse.text);   \
    } while (0)

static void set_bare(struct stage *s)
{
    stage_set(s);
    s->options.on_event = NULL; /* misuse goes to the listener */
    s->options.driver.flags = KP_NEVER_BLOCKS;
}

/* ---- what is refused ------------------------------------------------------------------------- */

static void a_request_without_loop_or_done_must_be_misuse(void **state)
{
    struct stage s;
    kp_loop *loop;
    kp_why why;

    (void)state;
    set_bare(&s);
    stage_open(&s);
    assert_int_equal(kp_loop_open(&loop), 0);
    kp_request request = { .done = done };
    MISUSE(kp_get_start(s.pool, kp_str("a"), NULL, NULL), "must be set");
    MISUSE(kp_get_start(s.pool, kp_str("a"), NULL, &request), "must be set");
    request = (kp_request){ .loop = loop };
    MISUSE(kp_get_start(s.pool, kp_str("a"), KP_ASK(.why = &why), &request), "must be set");
    assert_int_equal(why.code, KP_EMISUSE);
    kp_cancel(NULL);
    kp_cancel(&request);
    assert_int_equal(kp_loop_close(loop), 0);
    request = (kp_request){ .loop = loop, .done = done };
    MISUSE(kp_get_start(s.pool, kp_str("a"), NULL, &request), "closed");
    MISUSE(kp_loop_dispatch(loop), "closed");
    MISUSE(kp_loop_dispatch(NULL), "closed");
    MISUSE(kp_loop_close(loop), "closed already");
    assert_int_equal(kp_loop_close(NULL), 0);
    assert_int_equal(kp_loop_fd(NULL), -1);
    stage_fall(&s);
}

/* A driver that may block, and nobody to run it. */
static void a_request_whose_driver_may_block_must_count_as_refused_or_be_told_closed(void **state)
{
    struct stage s;
    kp_loop *loop;
    kp_stats stats;

    (void)state;
    stage_raise(&s);
    kp_lease lease = stage_get(&s, "a");
    assert_int_equal(kp_loop_open(&loop), 0);
    kp_request request = { .loop = loop, .done = done };
    assert_int_equal(kp_get_start(s.pool, kp_str("a"), NULL, &request), KP_ECONFIG);
    assert_int_equal(kp_stats_read(s.pool, KP_EVERY_KEY, &stats), 0);
    assert_int_equal(stats.refusals, 1);
    assert_int_equal(kp_pool_close(s.pool, KP_CLOSE_NOW, KP_NONE), 1);
    assert_int_equal(kp_get_start(s.pool, kp_str("a"), NULL, &request), KP_ECLOSED);
    assert_int_equal(kp_stats_read(s.pool, KP_EVERY_KEY, &stats), 0);
    assert_int_equal(stats.refusals, 2);
    assert_int_equal(kp_loop_close(loop), 0);
    kp_release(&lease);
}

static void a_loop_must_serve_pools_of_one_clock_only(void **state)
{
    struct stage s, other;
    kp_loop *loop;

    (void)state;
    set_bare(&s);
    stage_open(&s);
    set_bare(&other); /* the same functions, another clock behind them */
    stage_open(&other);
    assert_int_equal(kp_loop_open(&loop), 0);
    kp_request request = { .loop = loop, .done = done }, second = request;
    assert_int_equal(kp_get_start(s.pool, kp_str("a"), NULL, &request), 0);
    MISUSE(kp_get_start(other.pool, kp_str("a"), NULL, &second), "another clock");
    kp_options options = s.options;
    options.world = NULL; /* and life's */
    kp_pool *living;
    assert_int_equal(kp_pool_open(&options, &living), 0);
    MISUSE(kp_get_start(living, kp_str("a"), NULL, &second), "another clock");
    options = other.options;
    options.loop = loop;
    options.threads = 0;
    assert_int_equal(kp_pool_open(&options, &other.pool), KP_ECONFIG);
    assert_string_equal(other.why.field, "loop");
    other.pool = NULL;
    kp_cancel(&request);
    assert_int_equal(kp_loop_close(loop), 0);
    (void)kp_pool_close(living, KP_CLOSE_NOW, KP_NONE);
    stage_fall(&s);
}

static bool world_is_gone;

static uint64_t now_while_there_is_a_world(void *ctx)
{
    assert_false(world_is_gone);
    return ((struct stage *)ctx)->now;
}

/* A world must stay until the last call into its pool has returned, not until its loop is closed.
 */
static void a_loop_must_not_ask_the_clock_of_a_pool_that_is_gone(void **state)
{
    struct stage s;
    kp_loop *loop;

    (void)state;
    set_bare(&s);
    s.world.now_ns = now_while_there_is_a_world;
    stage_open(&s);
    assert_int_equal(kp_loop_open(&loop), 0);
    kp_request request = { .loop = loop, .done = done };
    assert_int_equal(kp_get_start(s.pool, kp_str("a"), NULL, &request), 0);
    for (told = 0; told == 0;) assert_true(kp_loop_dispatch(loop) >= -1);
    assert_int_equal(told_code, 0);
    stage_fall(&s);
    world_is_gone = true;
    assert_int_equal(kp_loop_dispatch(loop), -1);
    world_is_gone = false;
    assert_int_equal(kp_loop_close(loop), 0);
}

static void a_pool_must_name_an_open_loop_and_no_threads_beside(void **state)
{
    struct stage s;
    kp_loop *loop;
    int no_loop = 0;

    (void)state;
    assert_int_equal(kp_loop_open(&loop), 0);
    set_bare(&s);
    s.options.loop = loop;
    s.options.threads = 2;
    s.options.world = NULL;
    assert_int_equal(kp_pool_open(&s.options, &s.pool), KP_ECONFIG);
    assert_string_equal(s.why.field, "threads");
    set_bare(&s);
    s.options.threads = 0;
    s.options.loop = (kp_loop *)(void *)&no_loop;
    assert_int_equal(kp_pool_open(&s.options, &s.pool), KP_ECONFIG);
    assert_string_equal(s.why.field, "loop");
    s.options.loop = loop;
    assert_int_equal(kp_loop_close(loop), 0);
    assert_int_equal(kp_pool_open(&s.options, &s.pool), KP_ECONFIG);
    assert_string_equal(s.why.field, "loop");
}

/* Any function of the driver may block, if it does not say otherwise. */
static void a_driver_that_may_block_must_not_run_on_a_loop(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        struct stage s;
        kp_loop *loop;
        kp_why why;
        stage_set(&s);
        kp_driver *d = &s.options.driver;
        *d = (kp_driver){ .ctx = &s };
        if (i == 1) d->destroy = stage_destroy;
        if (i == 2) d->validate = stage_validate;
        if (i == 3) d->reset = stage_reset;
        if (i == 4) d->create = stage_create, d->destroy = stage_destroy;
        stage_open(&s);
        assert_int_equal(kp_loop_open(&loop), 0);
        kp_request request = { .loop = loop, .done = done };
        int code = kp_get_start(s.pool, kp_str("a"), KP_ASK(.why = &why), &request);
        assert_int_equal(code, i == 0 ? 0 : KP_ECONFIG);
        if (i > 0) assert_string_equal(why.field, "driver.flags");
        else kp_cancel(&request);
        assert_int_equal(kp_loop_close(loop), 0);
        stage_fall(&s);
    }
}

/* ---- another thread's loop ------------------------------------------------------------------- */

static kp_loop *theirs;
static pthread_barrier_t barrier;

static void *own_a_loop(void *arg)
{
    (void)arg;
    assert_int_equal(kp_loop_open(&theirs), 0);
    assert_int_equal(kp_loop_dispatch(theirs), -1);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    assert_int_equal(kp_loop_close(theirs), 0);
    return NULL;
}

static void another_threads_loop_must_be_left_to_it(void **state)
{
    struct stage s;
    pthread_t thread;

    (void)state;
    set_bare(&s);
    stage_open(&s);
    pthread_barrier_init(&barrier, NULL, 2);
    assert_int_equal(pthread_create(&thread, NULL, own_a_loop, NULL), 0);
    pthread_barrier_wait(&barrier);
    kp_request request = { .loop = theirs, .done = done };
    MISUSE(kp_get_start(s.pool, kp_str("a"), NULL, &request), "another thread");
    MISUSE(kp_loop_dispatch(theirs), "another thread");
    MISUSE(kp_loop_close(theirs), "another thread");
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&barrier);
    stage_fall(&s);
}

/* ---- several pools, many requests ------------------------------------------------------------ */

static void a_loop_must_keep_all_of_its_pools_each_in_time(void **state)
{
    enum { POOLS = 40 };
    struct stage s;
    kp_loop *loop;
    kp_pool *pools[POOLS];

    (void)state;
    set_bare(&s);
    s.options.threads = 0;
    assert_int_equal(kp_loop_open(&loop), 0);
    s.options.loop = loop;
    for (int i = 0; i < POOLS; i++) {
        s.options.limits.idle_ttl_ms = 10 * (POOLS - i);
        assert_int_equal(kp_pool_open(&s.options, &pools[i]), 0);
        assert_int_equal(kp_add(pools[i], kp_str("a"), &s.resources[i]), 0);
    }
    assert_int_equal(s.destroyed, 0);
    assert_int_equal(kp_loop_dispatch(loop), 10); /* the last pool is due first */
    s.now += 10000000;
    (void)kp_loop_dispatch(loop);
    assert_int_equal(s.destroyed, 1);
    s.now += UINT64_C(10000000) * POOLS;
    while (kp_loop_dispatch(loop) == 0) continue; /* no more than so many at once */
    assert_int_equal(s.destroyed, POOLS);
    memset(&misuse, 0, sizeof misuse);
    assert_int_equal(kp_loop_close(loop), KP_EMISUSE); /* its pools are open */
    for (int i = 0; i < POOLS; i++)
        assert_int_equal(kp_pool_close(pools[i], KP_CLOSE_NOW, KP_NONE), 0);
    assert_int_equal(kp_loop_close(loop), 0);
}

static void many_requests_must_run_out_of_time_each_once(void **state)
{
    enum { MANY = 1000 };
    static kp_request requests[MANY];
    struct stage s;
    kp_loop *loop;

    (void)state;
    set_bare(&s);
    s.options.limits.max_live = 1;
    s.options.limits.max_waiting = KP_UNLIMITED;
    stage_open(&s);
    kp_lease lease = stage_get(&s, "a");
    assert_int_equal(kp_loop_open(&loop), 0);
    told = 0;
    for (int i = 0; i < MANY; i++) {
        requests[i] = (kp_request){ .loop = loop, .done = done };
        assert_int_equal(kp_get_start(s.pool, kp_str("a"), KP_IN_MS(5 + i % 3), &requests[i]), 0);
    }
    assert_int_equal(kp_loop_dispatch(loop), 5);
    s.now += 7000000;
    while (kp_loop_dispatch(loop) == 0) continue;
    assert_int_equal(told, MANY);
    assert_int_equal(told_code, KP_ETIMEDOUT);
    kp_release(&lease);
    assert_int_equal(kp_loop_close(loop), 0);
    stage_fall(&s);
}

static void closing_a_loop_must_cancel_what_is_under_way(void **state)
{
    struct stage s;
    kp_loop *loop;

    (void)state;
    set_bare(&s);
    s.options.limits.max_live = 1;
    stage_open(&s);
    kp_lease lease = stage_get(&s, "a");
    assert_int_equal(kp_loop_open(&loop), 0);
    kp_request requests[3];
    told = 0;
    for (int i = 0; i < 3; i++) {
        requests[i] = (kp_request){ .loop = loop, .done = done };
        assert_int_equal(kp_get_start(s.pool, kp_str("a"), NULL, &requests[i]), 0);
    }
    assert_int_equal(kp_loop_close(loop), 3);
    assert_int_equal(told, 0);
    kp_release(&lease);
    stage_fall(&s);
}

/* A timer that is due may post a job, which the next dispatch would run. */
static void closing_a_loop_must_run_the_jobs_that_lie_there(void **state)
{
    struct stage s;
    kp_loop *loop;
    kp_stats stats;

    (void)state;
    set_bare(&s);
    s.options.limits.on_create_failure = KP_FAIL_RETRY;
    stage_open(&s);
    assert_int_equal(kp_loop_open(&loop), 0);
    kp_request request = { .loop = loop, .done = done };
    told = 0;
    s.create = -1;
    assert_int_equal(kp_get_start(s.pool, kp_str("a"), NULL, &request), 0);
    int64_t ms;
    while ((ms = kp_loop_dispatch(loop)) == 0) continue;
    assert_true(ms > 0); /* it is to be tried again */
    s.create = 0;
    s.now += (uint64_t)ms * 1000000;
    assert_int_equal(kp_loop_dispatch(loop), 0);
    assert_int_equal(s.made, 0);
    assert_int_equal(kp_loop_close(loop), 1);
    assert_int_equal(told, 0);
    assert_int_equal(s.made, 1);
    assert_int_equal(kp_stats_read(s.pool, kp_str("a"), &stats), 0);
    assert_int_equal(stats.idle, 1);
    stage_fall(&s);
}

static pthread_t destroyed_by;

static int see_who_destroys(kp_job *job, void *resource)
{
    destroyed_by = pthread_self();
    return stage_destroy(job, resource);
}

static void a_driver_that_never_blocks_must_destroy_on_the_loops_thread(void **state)
{
    struct stage s;
    kp_loop *loop;

    (void)state;
    set_bare(&s);
    s.options.driver.destroy = see_who_destroys;
    s.options.world = NULL;
    s.options.threads = 1; /* for what creates */
    stage_open(&s);
    assert_int_equal(kp_loop_open(&loop), 0);
    assert_int_equal(kp_loop_dispatch(loop), -1); /* this thread's */
    assert_int_equal(kp_add(s.pool, kp_str("a"), &s.resources[0]), 0);
    stage_fall(&s);
    assert_int_equal(s.destroyed, 1);
    assert_true(pthread_equal(destroyed_by, pthread_self()));
    assert_int_equal(kp_loop_close(loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_without_loop_or_done_must_be_misuse),
        cmocka_unit_test(
            a_request_whose_driver_may_block_must_count_as_refused_or_be_told_closed),
        cmocka_unit_test(a_loop_must_serve_pools_of_one_clock_only),
        cmocka_unit_test(a_loop_must_not_ask_the_clock_of_a_pool_that_is_gone),
        cmocka_unit_test(a_pool_must_name_an_open_loop_and_no_threads_beside),
        cmocka_unit_test(a_driver_that_may_block_must_not_run_on_a_loop),
        cmocka_unit_test(another_threads_loop_must_be_left_to_it),
        cmocka_unit_test(a_loop_must_keep_all_of_its_pools_each_in_time),
        cmocka_unit_test(many_requests_must_run_out_of_time_each_once),
        cmocka_unit_test(closing_a_loop_must_cancel_what_is_under_way),
        cmocka_unit_test(closing_a_loop_must_run_the_jobs_that_lie_there),
        cmocka_unit_test(a_driver_that_never_blocks_must_destroy_on_the_loops_thread),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
