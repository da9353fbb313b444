/* SPDX-License-Identifier: MIT
 *
 * The glue for libuv: how long it waits.
 */
#include <keyedpool_uv.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct base { kp_uv glue; uv_loop_t uv; };

static kp_watcher *base_watcher(struct base *b) { return &b->glue.watcher; }
static void base_turn(struct base *b) { (void)uv_run(&b->uv, UV_RUN_ONCE); }

static void base_open(struct base *b)
{
    assert_int_equal(uv_loop_init(&b->uv), 0);
    assert_int_equal(kp_uv_open(&b->glue, &b->uv), 0);
}

static void base_close(struct base *b)
{
    assert_int_equal(kp_uv_close(&b->glue, NULL), 0);
    assert_int_equal(uv_run(&b->uv, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&b->uv), 0);
}

#include "times.h"

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(none_must_be_at_once_and_off_never),
        cmocka_unit_test(what_is_watched_must_not_be_started_again),
        cmocka_unit_test(what_is_ready_must_not_be_late_for_the_work_before_it),
        cmocka_unit_test(what_came_in_time_must_not_be_late_for_the_work_meanwhile),
        cmocka_unit_test(work_that_is_always_due_must_not_keep_descriptors_waiting),
    };

    return cmocka_run_group_tests_name("times_uv", tests, NULL, NULL);
}
