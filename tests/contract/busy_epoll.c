/* SPDX-License-Identifier: MIT
 *
 * The glue for epoll and a program that asks again and again: what else it waits for has its turn.
 */
#include <keyedpool_epoll.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "busy.h"

/* The descriptor is ready before there is mail: a turn finds it first. */
static void who_asks_without_end_must_leave_the_others_their_turn(void **state)
{
    kp_watch watch = { .told = hear };
    kp_request request = { .done = ask_again };
    kp_options options = { .driver = { .create = create, .destroy = destroy, .ctx = &pool,
                                       .flags = KP_NEVER_BLOCKS } };
    kp_epoll loop;
    int ends[2];

    (void)state;
    assert_int_equal(kp_epoll_open(&loop), 0);
    request.loop = options.loop = loop.loop;
    assert_int_equal(kp_pool_open(&options, &pool), 0);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(loop.watcher.start(&loop.watcher, &watch, ends[0], KP_WATCH_READ, KP_OFF), 0);
    assert_int_equal(write(ends[1], "", 1), 1);
    ask(&request);
    while (!heard && answers < MOST)
        assert_int_equal(kp_epoll_turn(&loop, KP_OFF), 0);
    assert_true(heard);
    (void)kp_pool_close(pool, KP_CLOSE_NOW, 0);
    assert_true(kp_epoll_close(&loop) >= 0);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_asks_without_end_must_leave_the_others_their_turn),
    };

    return cmocka_run_group_tests_name("busy_epoll", tests, NULL, NULL);
}
