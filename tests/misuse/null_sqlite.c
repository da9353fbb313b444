/* SPDX-License-Identifier: MIT
 *
 * The SQLite adapter, handed NULL (R4).
 */
#include "keyedpool_sqlite.h"

#include "misuse/null_adapter.h"

static void null_must_be_borne(void **state)
{
    static const kp_sqlite_key memory = { ":memory:", KP_SQLITE_WRITER };
    kp_sqlite_key nameless = { NULL, KP_SQLITE_WRITER };
    kp_limits limits = { 0 };
    kp_lease ended = { 0 }, lease;
    kp_pool *pool;

    (void)state;
    MUST_BEAR_NULL(kp_sqlite_fill, kp_sqlite_open, kp_sqlite_counts_read, kp_sqlite_counts);
    NOTHING(kp_sqlite_limits_for, KP_KEY(&memory), NULL, NULL);
    NOTHING(kp_sqlite_limits_for, kp_bytes(NULL, 0), &limits, NULL);
    assert_int_equal(limits.sharing, 1);
    assert_int_equal(limits.max_live, 0);
    begin("kp_sqlite_db");
    assert_null(kp_sqlite_db(NULL));
    assert_null(kp_sqlite_db(&ended));
    assert_int_equal(kp_sqlite_open(NULL, NULL, &pool), 0);
    assert_int_equal(kp_get(pool, KP_KEY(&nameless), KP_IN_MS(10), &lease), KP_EREFUSED);
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_NOW, 0), 0);
    assert_int_equal(all_exports_were_called("keyedpool-sqlite"), 4);
    assert_int_equal(all_inlines_were_called("keyedpool_sqlite.h"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(null_must_be_borne),
    };

    return cmocka_run_group_tests(tests, listen_to_misuse, NULL);
}
