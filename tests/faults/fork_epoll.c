/* SPDX-License-Identifier: MIT
 *
 * fork, continued: the glue for epoll. Its descriptor is shared with the parent, so a child that
 * waits with it would take away what is meant for the parent.
 */
#include <keyedpool_epoll.h>

#include "faults/child.h"

static kp_epoll loop;
static int heard, timed;

static void on_ready(kp_watch *watch, int events)
{
    (void)watch;
    heard += events == KP_WATCH_READ;
}

static void on_time(kp_watch *watch, int events)
{
    (void)watch;
    timed += events == 0;
}

static void meet_the_parents_loop(void *arg)
{
    (void)arg;
    MUST(kp_epoll_dispatch(&loop) == KP_EFORKED);
    MUST(kp_epoll_turn(&loop, KP_OFF) == KP_EFORKED);
    MUST(heard == 0 && timed == 0);
    MUST(kp_epoll_close(&loop) == 0);
}

static void what_is_the_parents_must_be_told_to_the_parent(void **state)
{
    kp_watch ready = { .told = on_ready }, late = { .told = on_time };
    kp_watcher *watcher = &loop.watcher;
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(kp_epoll_open(&loop), 0);
    assert_int_equal(watcher->start(watcher, &ready, ends[0], KP_WATCH_READ, KP_OFF), 0);
    assert_int_equal(watcher->start(watcher, &late, -1, 0, 0), 0);
    assert_int_equal(write(ends[1], "", 1), 1);
    child_run(meet_the_parents_loop, NULL);
    assert_int_equal(kp_epoll_turn(&loop, 0), 0);
    assert_int_equal(heard, 1);
    assert_int_equal(timed, 1);
    assert_int_equal(kp_epoll_close(&loop), 0);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static void stop_and_start(void *arg)
{
    kp_watch *ready = arg, own = { .told = on_ready };
    int ends[2];

    MUST(pipe(ends) == 0 && write(ends[1], "", 1) == 1);
    loop.watcher.stop(&loop.watcher, ready);
    MUST(!ready->next);
    MUST(loop.watcher.start(&loop.watcher, &own, ends[0], KP_WATCH_READ, KP_OFF) == KP_EFORKED);
    MUST(!own.next);
    MUST(kp_epoll_close(&loop) == 0);
}

static void what_a_child_stops_must_go_on_in_the_parent(void **state)
{
    kp_watch ready = { .told = on_ready };
    int ends[2];

    (void)state;
    heard = 0;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(kp_epoll_open(&loop), 0);
    assert_int_equal(loop.watcher.start(&loop.watcher, &ready, ends[0], KP_WATCH_READ, KP_OFF), 0);
    child_run(stop_and_start, &ready);
    assert_int_equal(write(ends[1], "", 1), 1);
    assert_int_equal(kp_epoll_turn(&loop, 0), 0);
    assert_int_equal(heard, 1);
    assert_int_equal(kp_epoll_close(&loop), 0);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static pid_t child = -1;

static void fork_it(kp_watch *watch, int events)
{
    (void)watch;
    (void)events;
    child = fork();
}

static void a_child_that_returns_from_told_must_tell_nobody_else(void **state)
{
    kp_watch first = { .told = fork_it }, ready = { .told = on_ready }, late = { .told = on_time };
    kp_watcher *watcher = &loop.watcher;
    int ends[2][2], result;

    (void)state;
    heard = timed = 0;
    assert_int_equal(kp_epoll_open(&loop), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pipe(ends[i]), 0);
        assert_int_equal(write(ends[i][1], "", 1), 1);
        assert_int_equal(watcher->start(watcher, i ? &ready : &first, ends[i][0], KP_WATCH_READ,
                                        KP_OFF), 0);
    }
    assert_int_equal(watcher->start(watcher, &late, -1, 0, 0), 0);
    int64_t rc = kp_epoll_dispatch(&loop);
    if (child == 0)
        _exit(rc == KP_EFORKED && heard == 0 && timed == 0 ? 0 : 1);
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_int_equal(result, 0);
    assert_int_equal(rc, -1);
    assert_int_equal(heard, 1);
    assert_int_equal(timed, 1);
    assert_int_equal(kp_epoll_close(&loop), 0);
    for (int i = 0; i < 4; i++)
        (void)close(ends[i / 2][i % 2]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_the_parents_must_be_told_to_the_parent),
        cmocka_unit_test(what_a_child_stops_must_go_on_in_the_parent),
        cmocka_unit_test(a_child_that_returns_from_told_must_tell_nobody_else),
    };

    return cmocka_run_group_tests_name("fork_epoll", tests, NULL, NULL);
}
