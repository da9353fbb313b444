/* SPDX-License-Identifier: MIT
 *
 * The glue for libevent, handed NULL (R4).
 */
#include "keyedpool_event.h"

#include "misuse/null.h"

static void null_must_be_borne(void **state)
{
    struct event_base *base = event_base_new();
    kp_event_loop glue;

    (void)state;
    kp_on_misuse(count_orphan, NULL);
    assert_non_null(base);
    MISUSE(kp_event_loop_open, NULL, base);
    MISUSE(kp_event_loop_open, &glue, NULL);
    ANSWER(0, kp_event_loop_close, NULL);
    event_base_free(base);
    assert_int_equal(all_inlines_were_called("keyedpool_event.h"), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(null_must_be_borne),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
