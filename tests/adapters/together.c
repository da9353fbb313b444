/* SPDX-License-Identifier: MIT
 *
 * All adapters that are built, as static libraries in one program: each a library of its own, and
 * none in the way of another.
 */
#include <keyedpool.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#ifdef HAVE_SQLITE
#include <keyedpool_sqlite.h>
#endif
#ifdef HAVE_POSTGRES
#include <keyedpool_postgres.h>
#endif
#ifdef HAVE_SOCKET
#include <keyedpool_socket.h>
#endif
#ifdef HAVE_REDIS
#include <keyedpool_redis.h>
#endif
#ifdef HAVE_HTTP
#include <keyedpool_http.h>
#endif

enum { MOST = 5 };

static kp_pool *pool[MOST];

/* Returns how many. */
static int open_all(void)
{
    int n = 0;

#ifdef HAVE_SQLITE
    assert_int_equal(kp_sqlite_open(NULL, NULL, &pool[n++]), 0);
#endif
#ifdef HAVE_POSTGRES
    assert_int_equal(kp_pg_open(NULL, NULL, &pool[n++]), 0);
#endif
#ifdef HAVE_SOCKET
    assert_int_equal(kp_socket_open(NULL, NULL, &pool[n++]), 0);
#endif
#ifdef HAVE_REDIS
    assert_int_equal(kp_redis_open(NULL, NULL, &pool[n++]), 0);
#endif
#ifdef HAVE_HTTP
    assert_int_equal(kp_http_open(NULL, NULL, &pool[n++]), 0);
#endif
    return n;
}

static void all_adapters_must_have_room_in_one_program(void **state)
{
    int n = open_all();

    (void)state;
    assert_true(n > 0);
    for (int i = 0; i < n; i++)
        assert_int_equal(kp_pool_close(pool[i], KP_CLOSE_NOW, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_adapters_must_have_room_in_one_program),
    };

    return cmocka_run_group_tests_name("together", tests, NULL, NULL);
}
