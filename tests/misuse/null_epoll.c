/* SPDX-License-Identifier: MIT
 *
 * The glue for epoll, handed NULL (R4).
 */
#include "keyedpool_epoll.h"

#include "misuse/null.h"

static void null_must_be_borne(void **state)
{
    (void)state;
    kp_on_misuse(count_orphan, NULL);
    MISUSE(kp_epoll_open, NULL);
    MISUSE(kp_epoll_dispatch, NULL);
    MISUSE(kp_epoll_turn, NULL, 0);
    ANSWER(0, kp_epoll_close, NULL);
    assert_int_equal(all_inlines_were_called("keyedpool_epoll.h"), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(null_must_be_borne),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
