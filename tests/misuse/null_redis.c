/* SPDX-License-Identifier: MIT
 *
 * The Redis adapter, handed NULL (R4). There is no server here.
 */
#include "keyedpool_redis.h"

#include "misuse/null_adapter.h"

static void null_must_be_borne(void **state)
{
    kp_lease ended = { 0 }, lease;
    kp_pool *pool;

    (void)state;
    MUST_BEAR_NULL(kp_redis_fill, kp_redis_open, kp_redis_counts_read, kp_redis_counts);
    begin("kp_redis");
    assert_null(kp_redis(NULL));
    assert_null(kp_redis(&ended));
    assert_int_equal(kp_redis_open(NULL, NULL, &pool), 0);
    assert_int_equal(kp_get(pool, (kp_key){ 0 }, KP_IN_MS(10), &lease), KP_EREFUSED);
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_NOW, 0), 0);
    begin("kp_redis_fill");
    must_refuse_no_watcher(kp_redis_fill(&(kp_redis_options){ .watcher = &no_watcher }, &on_loop));
    assert_int_equal(all_exports_were_called("keyedpool-redis"), 3);
    assert_int_equal(all_inlines_were_called("keyedpool_redis.h"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(null_must_be_borne),
    };

    return cmocka_run_group_tests(tests, listen_to_misuse, NULL);
}
