/* SPDX-License-Identifier: MIT
 *
 * The glue for epoll is closed by somebody whom it has just told, and is closed twice.
 */
#include <keyedpool_epoll.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static kp_epoll loop;
static int told, misuses;

static void count_misuse(const kp_why *why, void *arg)
{
    (void)why;
    (void)arg;
    misuses++;
}

static void close_it(kp_watch *watch, int events)
{
    (void)watch;
    (void)events;
    told++;
    assert_int_equal(kp_epoll_close(&loop), 0);
}

static void whoever_is_told_may_close_it(void **state)
{
    kp_watch one = { .told = close_it }, other = { .told = close_it };
    kp_watcher *watcher;
    int ends[2];

    (void)state;
    kp_on_misuse(count_misuse, NULL);
    assert_int_equal(pipe(ends), 0);
    for (int timed = 0; timed < 2; timed++) {
        told = misuses = 0;
        assert_int_equal(kp_epoll_open(&loop), 0);
        watcher = &loop.watcher;
        assert_int_equal(timed ? watcher->start(watcher, &one, -1, 0, 0)
                               : watcher->start(watcher, &one, ends[1], KP_WATCH_WRITE, KP_OFF), 0);
        assert_int_equal(watcher->start(watcher, &other, -1, 0, 0), 0);
        assert_int_equal(kp_epoll_turn(&loop, KP_OFF), 0);
        assert_int_equal(told, 1);      /* the other one ended with the loop */
        assert_null(other.next);
        assert_int_equal(misuses, 0);
        assert_int_equal(kp_epoll_turn(&loop, KP_OFF), KP_EMISUSE);
        assert_int_equal(misuses, 1);
    }
    (void)close(ends[0]);
    (void)close(ends[1]);
}

/* The memory of a loop is used again, by the next one that is opened. */
static void closing_it_twice_must_leave_the_next_one_open(void **state)
{
    kp_epoll next;

    (void)state;
    assert_int_equal(kp_epoll_open(&loop), 0);
    assert_int_equal(kp_epoll_close(&loop), 0);
    assert_int_equal(kp_epoll_open(&next), 0);
    assert_int_equal(kp_epoll_close(&loop), 0);
    assert_int_equal(kp_epoll_turn(&next, 0), 0);
    assert_int_equal(kp_epoll_close(&next), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whoever_is_told_may_close_it),
        cmocka_unit_test(closing_it_twice_must_leave_the_next_one_open),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
