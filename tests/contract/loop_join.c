/* SPDX-License-Identifier: MIT
 *
 * A loop is closed by its thread while another one opens a pool that names it. Both have to wait
 * for a third thread, which opens a loop and gets its descriptor only when the two are asleep.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "keyedpool.h"

#include <cmocka.h>

#ifdef __linux__
#include <sys/eventfd.h>

static struct {
    kp_loop *loop;
    kp_pool *pool;
    int code; /* of kp_pool_open */
    _Atomic pid_t opener, closer;
    _Atomic bool holds, held;
} s;

static bool is_asleep(pid_t thread)
{
    char name[64], state = 0;

    if (thread == 0) return false;
    snprintf(name, sizeof name, "/proc/self/task/%d/stat", (int)thread);
    FILE *file = fopen(name, "re");
    if (!file || fscanf(file, "%*d (%*[^)]) %c", &state) != 1) abort();
    (void)fclose(file);
    return state == 'S';
}

/* Instead of the C library's. */
int eventfd(unsigned int count, int flags)
{
    if (s.holds) {
        s.holds = false;
        s.held = true;
        while (!is_asleep(s.opener) || !is_asleep(s.closer)) sched_yield();
    }
    return (int)syscall(SYS_eventfd2, count, flags);
}

static int create(kp_job *job, void **resource)
{
    *resource = job->ctx;
    return 0;
}

static int destroy(kp_job *job, void *resource)
{
    (void)job;
    (void)resource;
    return 0;
}

static int open_pool(void)
{
    kp_options options = { .driver = { .create = create, .destroy = destroy, .ctx = &s,
                                       .flags = KP_NEVER_BLOCKS },
                           .loop = s.loop };

    return kp_pool_open(&options, &s.pool);
}

static void *hold_up(void *arg)
{
    kp_loop *loop;

    (void)arg;
    s.holds = true;
    assert_int_equal(kp_loop_open(&loop), 0);
    assert_int_equal(kp_loop_close(loop), 0);
    return NULL;
}

static void *join_it(void *arg)
{
    (void)arg;
    s.opener = (pid_t)syscall(SYS_gettid);
    s.code = open_pool();
    return NULL;
}

static void hear_nothing(const kp_why *why, void *arg)
{
    (void)why;
    (void)arg;
}

static void either_the_pool_or_the_close_must_be_refused(void **state)
{
    pthread_t holder, opener;

    (void)state;
    kp_on_misuse(hear_nothing, NULL);
    assert_int_equal(kp_loop_open(&s.loop), 0);
    assert_int_equal(open_pool(), 0); /* what the first one of a process starts is there */
    assert_int_equal(kp_pool_close(s.pool, KP_CLOSE_NOW, 0), 0);
    assert_int_equal(pthread_create(&holder, NULL, hold_up, NULL), 0);
    while (!s.held) sched_yield();
    assert_int_equal(pthread_create(&opener, NULL, join_it, NULL), 0);
    while (!is_asleep(s.opener)) sched_yield();
    s.closer = (pid_t)syscall(SYS_gettid);
    int64_t closed = kp_loop_close(s.loop);
    assert_int_equal(pthread_join(holder, NULL), 0);
    assert_int_equal(pthread_join(opener, NULL), 0);
    assert_int_equal(closed, s.code == 0 ? KP_EMISUSE : 0);
    if (closed == 0) return;
    assert_int_equal(kp_pool_close(s.pool, KP_CLOSE_NOW, 0), 0);
    assert_int_equal(kp_loop_close(s.loop), 0);
}
#else
static void either_the_pool_or_the_close_must_be_refused(void **state)
{
    (void)state;
    skip(); /* it looks into /proc */
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(either_the_pool_or_the_close_must_be_refused),
    };

    return cmocka_run_group_tests_name("loop_join", tests, NULL, NULL);
}
