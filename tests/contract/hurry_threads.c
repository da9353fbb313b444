/* SPDX-License-Identifier: MIT
 *
 * A pool is closed by one thread while another has just begun to create for it: driver.cancel is
 * called meanwhile. Only the pool orders the two: the flags of this test are relaxed, so that
 * ThreadSanitizer sees what is missing.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "keyedpool.h"

#include <cmocka.h>

static struct {
    kp_pool *pool;
    kp_loop *cancelled_for;
    _Atomic bool begun, closed, dropped;
} s;

static bool is_set(_Atomic bool *flag)
{
    return atomic_load_explicit(flag, memory_order_relaxed);
}

static void set(_Atomic bool *flag)
{
    atomic_store_explicit(flag, true, memory_order_relaxed);
}

static int create(kp_job *job, void **resource)
{
    (void)job;
    (void)resource;
    set(&s.begun);
    while (!is_set(&s.closed)) sched_yield();
    return -1;
}

static int destroy(kp_job *job, void *resource)
{
    (void)job;
    (void)resource;
    return 0;
}

static void cancel(kp_job *job)
{
    s.cancelled_for = job->loop;
}

static void drop(void *ctx)
{
    (void)ctx;
    set(&s.dropped);
}

static void *close_it(void *arg)
{
    (void)arg;
    while (!is_set(&s.begun)) sched_yield();
    (void)kp_pool_close(s.pool, KP_CLOSE_NOW, 0);
    set(&s.closed);
    return NULL;
}

struct ask {
    kp_request request;
    kp_lease lease;
    int status; /* 1: no answer so far */
};

static void note(kp_request *request, int status, kp_lease lease)
{
    struct ask *a = request->arg;

    a->status = status;
    a->lease = lease;
}

static void ask(struct ask *a, kp_loop *loop, kp_pool *pool)
{
    *a = (struct ask){ .request = { .loop = loop, .done = note, .arg = a }, .status = 1 };
    assert_int_equal(kp_get_start(pool, kp_str("key"), NULL, &a->request), 0);
}

static void what_has_just_begun_must_be_cancelled_by_another_thread(void **state)
{
    kp_options options = { .driver = { .create = create, .destroy = destroy, .cancel = cancel,
                                       .drop_ctx = drop, .flags = KP_NEVER_BLOCKS } };
    kp_loop *loop;
    pthread_t closer;
    struct ask a;

    (void)state;
    memset(&s, 0, sizeof s);
    assert_int_equal(kp_loop_open(&loop), 0);
    assert_int_equal(kp_pool_open(&options, &s.pool), 0);
    assert_int_equal(pthread_create(&closer, NULL, close_it, NULL), 0);
    ask(&a, loop, s.pool);
    while (!is_set(&s.dropped) || a.status == 1) assert_true(kp_loop_dispatch(loop) >= -1);
    assert_int_equal(pthread_join(closer, NULL), 0);
    assert_int_equal(a.status, KP_ECLOSED);
    assert_ptr_equal(s.cancelled_for, loop);
    assert_int_equal(kp_loop_close(loop), 0);
}

/* A thread has two loops, and the pool names the first, which has to cancel what the second one
 * runs. That is no longer for the request for which it was posted: as one dispatch does only so
 * much, a resource could come back before it began. */
static void what_another_loop_has_just_begun_must_be_handed_to_the_pools_loop(void **state)
{
    enum { SO_MUCH = 1024 }; /* flow/loop.c, AT_ONCE */
    kp_options options = { .driver = { .create = create, .destroy = destroy, .cancel = cancel,
                                       .drop_ctx = drop, .flags = KP_NEVER_BLOCKS } };
    kp_options crowd = { .limits = { .sharing = SO_MUCH } };
    static struct ask others[SO_MUCH - 1];
    kp_loop *loop[2];
    kp_pool *crowded;
    pthread_t closer;
    struct ask a, b;

    (void)state;
    memset(&s, 0, sizeof s);
    for (int i = 0; i < 2; i++) assert_int_equal(kp_loop_open(&loop[i]), 0);
    assert_int_equal(kp_loop_dispatch(loop[0]), -1); /* this thread's, too */
    options.loop = loop[0];
    assert_int_equal(kp_pool_open(&options, &s.pool), 0);
    assert_int_equal(kp_pool_open(&crowd, &crowded), 0);
    assert_int_equal(kp_add(crowded, kp_str("key"), &s), 0);
    assert_int_equal(kp_add(s.pool, kp_str("key"), &s), 0);
    assert_int_equal(pthread_create(&closer, NULL, close_it, NULL), 0);
    ask(&a, loop[1], s.pool);
    while (a.status == 1) assert_true(kp_loop_dispatch(loop[1]) >= -1);
    for (int i = 0; i < SO_MUCH - 1; i++) ask(&others[i], loop[1], crowded);
    ask(&b, loop[1], s.pool);
    assert_int_equal(kp_loop_dispatch(loop[1]), 0);
    assert_int_equal(others[SO_MUCH - 2].status, 0);
    assert_false(is_set(&s.begun));
    kp_release(&a.lease);
    assert_true(kp_loop_dispatch(loop[1]) >= -1);
    assert_int_equal(pthread_join(closer, NULL), 0);
    assert_int_equal(b.status, 0);
    kp_release(&b.lease);
    for (int i = 0; i < SO_MUCH - 1; i++) kp_release(&others[i].lease);
    while (!is_set(&s.dropped)) assert_true(kp_loop_dispatch(loop[0]) >= -1);
    assert_int_equal(kp_pool_close(crowded, KP_CLOSE_NOW, 0), 0);
    for (int i = 0; i < 2; i++) assert_int_equal(kp_loop_close(loop[i]), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_has_just_begun_must_be_cancelled_by_another_thread),
        cmocka_unit_test(what_another_loop_has_just_begun_must_be_handed_to_the_pools_loop),
    };

    return cmocka_run_group_tests_name("hurry_threads", tests, NULL, NULL);
}
