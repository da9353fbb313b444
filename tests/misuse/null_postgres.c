/* SPDX-License-Identifier: MIT
 *
 * The PostgreSQL adapter, handed NULL (R4). There is no server here.
 */
#include "keyedpool_postgres.h"

#include "misuse/null_adapter.h"

static void null_must_be_borne(void **state)
{
    kp_lease ended = { 0 }, lease;
    kp_pg_options nowhere = { .conninfo = "host=/nonexistent" };
    kp_pool *pool;

    (void)state;
    MUST_BEAR_NULL(kp_pg_fill, kp_pg_open, kp_pg_counts_read, kp_pg_counts);
    NOTHING(kp_pg_sqlstate, KP_PG_SQLSTATE('0', '8', '0', '0', '1'), NULL);
    begin("kp_pg_conn");
    assert_null(kp_pg_conn(NULL));
    assert_null(kp_pg_conn(&ended));
    assert_int_equal(kp_pg_open(&nowhere, NULL, &pool), 0);
    assert_int_equal(kp_get(pool, (kp_key){ 0 }, KP_IN_MS(10000), &lease), KP_ECREATE);
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_NOW, 0), 0);
    begin("kp_pg_fill");
    must_refuse_no_watcher(kp_pg_fill(&(kp_pg_options){ .watcher = &no_watcher }, &on_loop));
    assert_int_equal(all_exports_were_called("keyedpool-postgres"), 3);
    assert_int_equal(all_inlines_were_called("keyedpool_postgres.h"), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(null_must_be_borne),
    };

    return cmocka_run_group_tests(tests, listen_to_misuse, NULL);
}
