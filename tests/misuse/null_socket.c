/* SPDX-License-Identifier: MIT
 *
 * The socket adapter, handed NULL (R4).
 */
#include "keyedpool_socket.h"

#include "misuse/null_adapter.h"

static void null_must_be_borne(void **state)
{
    kp_lease ended = { 0 }, lease;
    kp_pool *pool;

    (void)state;
    MUST_BEAR_NULL(kp_socket_fill, kp_socket_open, kp_socket_counts_read, kp_socket_counts);
    ANSWER(-1, kp_socket_fd, NULL);
    ANSWER(-1, kp_socket_fd, &ended);
    assert_int_equal(kp_socket_open(NULL, NULL, &pool), 0);
    assert_int_equal(kp_get(pool, (kp_key){ 0 }, KP_IN_MS(10), &lease), KP_EREFUSED);
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_NOW, 0), 0);
    assert_int_equal(all_exports_were_called("keyedpool-socket"), 3);
    assert_int_equal(all_inlines_were_called("keyedpool_socket.h"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(null_must_be_borne),
    };

    return cmocka_run_group_tests(tests, listen_to_misuse, NULL);
}
