/* SPDX-License-Identifier: MIT
 *
 * The glue for libuv and a program that asks again and again: all else on the loop has its turn.
 */
#include <keyedpool_uv.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <unistd.h>

#include "busy.h"

static void who_asks_without_end_must_leave_the_others_their_turn(void **state)
{
    kp_watch watch = { .told = hear };
    kp_request request = { .done = ask_again };
    kp_options options = { .driver = { .create = create, .destroy = destroy, .ctx = &pool,
                                       .flags = KP_NEVER_BLOCKS } };
    uv_loop_t uv;
    kp_uv glue;
    int ends[2];

    (void)state;
    assert_int_equal(uv_loop_init(&uv), 0);
    assert_int_equal(kp_uv_open(&glue, &uv), 0);
    request.loop = options.loop = glue.loop;
    assert_int_equal(kp_pool_open(&options, &pool), 0);
    assert_int_equal(pipe(ends), 0);
    ask(&request);
    while (answers == 0)
        (void)uv_run(&uv, UV_RUN_ONCE);
    assert_int_equal(glue.watcher.start(&glue.watcher, &watch, ends[0], KP_WATCH_READ, KP_OFF), 0);
    assert_int_equal(write(ends[1], "", 1), 1);
    while (!heard && answers < MOST)
        (void)uv_run(&uv, UV_RUN_ONCE);
    assert_true(heard);
    (void)uv_run(&uv, UV_RUN_NOWAIT);
    (void)kp_pool_close(pool, KP_CLOSE_NOW, 0);
    assert_true(kp_uv_close(&glue, NULL) >= 0);
    assert_int_equal(uv_run(&uv, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&uv), 0);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_asks_without_end_must_leave_the_others_their_turn),
    };

    return cmocka_run_group_tests_name("busy_uv", tests, NULL, NULL);
}
