/* SPDX-License-Identifier: MIT
 *
 * A pin has a line of its own. If none can be had, the answer is KP_ENOMEM.
 */
#include "core_lanes.h"

#include "keyedpool.h"

static void a_pin_without_a_line_must_be_out_of_memory(void **state)
{
    const kp_options options = { .threads = KP_NONE };
    kp_pool *pool;
    kp_key pinned;

    (void)state;
    assert_int_equal(kp_pool_open(&options, &pool), 0);
    struct lines_bound bound = lines_bind(&kp__lanes, 0);
    assert_int_equal(kp_pin(pool, kp_str("a"), &pinned), KP_ENOMEM);
    assert_null(pinned.data);
    lines_unbound(bound);
    assert_int_equal(kp_pin(pool, kp_str("a"), &pinned), 0);
    kp_unpin(pool, &pinned);
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_NOW, KP_NONE), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pin_without_a_line_must_be_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
