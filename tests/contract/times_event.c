/* SPDX-License-Identifier: MIT
 *
 * The glue for libevent: how long it waits.
 */
#include <keyedpool_event.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct base { kp_event_loop glue; };

static kp_watcher *base_watcher(struct base *b) { return &b->glue.watcher; }
static void base_turn(struct base *b) { (void)event_base_loop(b->glue.base, EVLOOP_ONCE); }

static void base_open(struct base *b)
{
    assert_int_equal(kp_event_loop_open(&b->glue, event_base_new()), 0);
}

static void base_close(struct base *b)
{
    assert_int_equal(kp_event_loop_close(&b->glue), 0);
    event_base_free(b->glue.base);
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

    return cmocka_run_group_tests_name("times_event", tests, NULL, NULL);
}
