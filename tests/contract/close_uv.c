/* SPDX-License-Identifier: MIT
 *
 * The glue for libuv is closed twice.
 */
#include <keyedpool_uv.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static int closed;

static void count(kp_uv *glue)
{
    (void)glue;
    closed++;
}

static void closing_it_twice_must_do_nothing(void **state)
{
    uv_loop_t uv;
    kp_uv glue;

    (void)state;
    assert_int_equal(uv_loop_init(&uv), 0);
    assert_int_equal(kp_uv_open(&glue, &uv), 0);
    assert_int_equal(kp_uv_close(&glue, count), 0);
    assert_int_equal(kp_uv_close(&glue, NULL), 0);
    assert_int_equal(uv_run(&uv, UV_RUN_DEFAULT), 0);
    assert_int_equal(kp_uv_close(&glue, NULL), 0);
    assert_int_equal(closed, 1);
    assert_int_equal(uv_loop_close(&uv), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closing_it_twice_must_do_nothing),
    };

    return cmocka_run_group_tests_name("close_uv", tests, NULL, NULL);
}
