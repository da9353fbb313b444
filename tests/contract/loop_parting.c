/* SPDX-License-Identifier: MIT
 *
 * A loop and a pool that names it part, or meet, on two threads at once. Each test holds one of
 * them up in the middle until the other has to wait for it, or has got past it.
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
    _Atomic bool holds, held, gone, used;
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

/* Instead of the C library's: it holds up the thread that opens a loop. */
int eventfd(unsigned int count, int flags)
{
    if (s.holds) {
        s.holds = false;
        s.held = true;
        while (!is_asleep(s.opener) || !is_asleep(s.closer)) sched_yield();
    }
    return (int)syscall(SYS_eventfd2, count, flags);
}

static int open_pool(const kp_world *world)
{
    kp_options options = { .driver.flags = KP_NEVER_BLOCKS, .loop = s.loop, .world = world };

    return kp_pool_open(&options, &s.pool);
}

/* ---- a loop is closed while a pool joins ----------------------------------------------------- */

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
    s.code = open_pool(NULL);
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
    assert_int_equal(open_pool(NULL), 0); /* what the first one of a process starts is there */
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

/* ---- a pool is closed while its loop reads the clock ----------------------------------------- */

/* Its memory may be freed once the pool has been closed. */
static uint64_t now(void *ctx)
{
    (void)ctx;
    if (s.holds && (pid_t)syscall(SYS_gettid) == s.opener) {
        s.holds = false;
        s.held = true;
        while (!s.gone && !is_asleep(s.closer)) sched_yield();
        s.used = s.gone;
    }
    return 1;
}

static void *dispatch(void *arg)
{
    kp_lease lease;

    s.opener = (pid_t)syscall(SYS_gettid);
    assert_int_equal(kp_loop_dispatch(s.loop), -1);
    assert_int_equal(open_pool(arg), 0);
    assert_int_equal(kp_add(s.pool, kp_str("key"), &s), 0); /* which expires some time */
    assert_int_equal(kp_try_get(s.pool, kp_str("key"), &lease), 0);
    kp_release(&lease);
    s.holds = true;
    while (!s.gone) assert_true(kp_loop_dispatch(s.loop) >= -1);
    assert_true(kp_loop_dispatch(s.loop) >= -1);
    assert_int_equal(kp_loop_close(s.loop), 0);
    return NULL;
}

static void a_pool_that_is_closed_must_leave_its_clock_alone(void **state)
{
    const kp_world world = { .now_ns = now };
    pthread_t loops;

    (void)state;
    s.holds = s.held = false;
    s.closer = (pid_t)syscall(SYS_gettid);
    assert_int_equal(kp_loop_open(&s.loop), 0);
    assert_int_equal(pthread_create(&loops, NULL, dispatch, (void *)(uintptr_t)&world), 0);
    while (!s.held) sched_yield();
    assert_int_equal(kp_pool_close(s.pool, KP_CLOSE_NOW, 0), 0);
    s.gone = true;
    assert_int_equal(pthread_join(loops, NULL), 0);
    assert_false(s.used);
}
#else
static void either_the_pool_or_the_close_must_be_refused(void **state)
{
    (void)state;
    skip(); /* it looks into /proc */
}

static void a_pool_that_is_closed_must_leave_its_clock_alone(void **state)
{
    (void)state;
    skip();
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(either_the_pool_or_the_close_must_be_refused),
        cmocka_unit_test(a_pool_that_is_closed_must_leave_its_clock_alone),
    };

    return cmocka_run_group_tests_name("loop_parting", tests, NULL, NULL);
}
