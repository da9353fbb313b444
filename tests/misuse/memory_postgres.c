/* SPDX-License-Identifier: MIT
 *
 * libpq has no memory for a conninfo: that is no fault of the conninfo, and passes.
 */
#include <keyedpool_postgres.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

static bool starved;

PQconninfoOption *__real_PQconninfoParse(const char *text, char **message);
PQconninfoOption *__wrap_PQconninfoParse(const char *text, char **message);

/* As libpq: malloc sets errno, and there may be no message. */
PQconninfoOption *__wrap_PQconninfoParse(const char *text, char **message)
{
    if (!starved)
        return __real_PQconninfoParse(text, message);
    errno = ENOMEM;
    *message = NULL;
    return NULL;
}

static void options_without_memory_must_not_be_wrong_ones(void **state)
{
    const kp_pg_options pg = { .conninfo = "host=127.0.0.1 port=1" };
    kp_options options = { 0 }, none = { 0 };

    (void)state;
    starved = true;
    assert_int_equal(kp_pg_fill(&pg, &options), KP_ENOMEM);
    assert_memory_equal(&options, &none, sizeof options);
    starved = false;
    assert_int_equal(kp_pg_fill(&pg, &options), 0);
    options.driver.drop_ctx(options.driver.ctx);
}

/* It would be: for a key that is refused nothing is created until kp_retry_now. */
static void a_key_without_memory_must_not_be_refused(void **state)
{
    const kp_pg_options pg = { .conninfo = "host=127.0.0.1 port=1" };
    const int no_memory = KP_PG_SQLSTATE('5', '3', '2', '0', '0');
    const int no_connection = KP_PG_SQLSTATE('0', '8', '0', '0', '1');
    kp_lease lease;
    kp_pool *pool;
    kp_why why;

    (void)state;
    starved = false;
    assert_int_equal(kp_pg_open(&pg, NULL, &pool), 0);
    starved = true;
    assert_int_equal(kp_get(pool, kp_str("db"), KP_ASK(.within_ms = 5000, .why = &why), &lease),
                     KP_ECREATE);
    assert_int_equal(why.vendor_code, no_memory);
    starved = false;
    assert_int_equal(kp_get(pool, kp_str("db"), KP_ASK(.within_ms = 5000, .why = &why), &lease),
                     KP_ECREATE);
    assert_int_equal(why.vendor_code, no_connection);
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_NOW, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_without_memory_must_not_be_wrong_ones),
        cmocka_unit_test(a_key_without_memory_must_not_be_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
