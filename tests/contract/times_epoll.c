/* SPDX-License-Identifier: MIT
 *
 * The glue for epoll: how long it waits.
 */
#include <keyedpool_epoll.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct base { kp_epoll glue; };

static kp_watcher *base_watcher(struct base *b) { return &b->glue.watcher; }
static void base_open(struct base *b) { assert_int_equal(kp_epoll_open(&b->glue), 0); }
static void base_turn(struct base *b) { assert_int_equal(kp_epoll_turn(&b->glue, KP_OFF), 0); }
static void base_close(struct base *b) { assert_int_equal(kp_epoll_close(&b->glue), 0); }

#include "times.h"

static void a_turn_must_not_wait_for_none(void **state)
{
    struct timed late = { .watch = { .told = count_timed, .arg = &late } };
    kp_epoll loop;

    (void)state;
    assert_int_equal(kp_epoll_open(&loop), 0);
    assert_int_equal(loop.watcher.start(&loop.watcher, &late.watch, -1, 0, KP_SECONDS(1)), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(kp_epoll_turn(&loop, KP_NONE), 0);
    assert_int_equal(late.told, 0);
    assert_int_equal(kp_epoll_close(&loop), 0);
}

/* More than one call tells, so that the time of some is over before their turn has come. */
static void what_came_in_time_must_not_be_late_for_all_the_others(void **state)
{
    enum { MANY = 100 };
    struct timed all[MANY];
    int ends[2];
    kp_epoll loop;

    (void)state;
    assert_int_equal(kp_epoll_open(&loop), 0);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    for (int i = 0; i < MANY; i++) {
        int fd = dup(ends[0]);

        assert_true(fd >= 0);
        all[i] = (struct timed){ .watch = { .told = count_timed, .arg = &all[i] } };
        assert_int_equal(loop.watcher.start(&loop.watcher, &all[i].watch, fd, KP_WATCH_READ, 20),
                         0);
    }
    be_busy(50);
    while (all[MANY - 1].told == 0)
        assert_true(kp_epoll_dispatch(&loop) >= -1);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(all[i].told, 1);
        assert_int_equal(all[i].events, KP_WATCH_READ);
        (void)close(all[i].watch.fd);
    }
    assert_int_equal(kp_epoll_close(&loop), 0);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(none_must_be_at_once_and_off_never),
        cmocka_unit_test(what_is_watched_must_not_be_started_again),
        cmocka_unit_test(what_is_ready_must_not_be_late_for_the_work_before_it),
        cmocka_unit_test(what_came_in_time_must_not_be_late_for_the_work_meanwhile),
        cmocka_unit_test(work_that_is_always_due_must_not_keep_descriptors_waiting),
        cmocka_unit_test(what_came_in_time_must_not_be_late_for_all_the_others),
        cmocka_unit_test(a_turn_must_not_wait_for_none),
    };

    return cmocka_run_group_tests_name("times_epoll", tests, NULL, NULL);
}
