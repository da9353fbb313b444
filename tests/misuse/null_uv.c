/* SPDX-License-Identifier: MIT
 *
 * The glue for libuv, handed NULL (R4).
 */
#include "keyedpool_uv.h"

#include "misuse/null.h"

static void null_must_be_borne(void **state)
{
    kp_uv glue;
    uv_loop_t uv;

    (void)state;
    kp_on_misuse(count_orphan, NULL);
    assert_int_equal(uv_loop_init(&uv), 0);
    MISUSE(kp_uv_open, NULL, &uv);
    MISUSE(kp_uv_open, &glue, NULL);
    ANSWER(0, kp_uv_close, NULL, NULL);
    assert_int_equal(uv_loop_close(&uv), 0);
    assert_int_equal(all_inlines_were_called("keyedpool_uv.h"), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(null_must_be_borne),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
