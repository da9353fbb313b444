/* SPDX-License-Identifier: MIT
 *
 * The first pool of HTTP clients in a process, which starts libcurl.
 */
#include <keyedpool_http.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdbool.h>
#include <unistd.h>

static void *open_it(void *opened)
{
    kp_pool *pool;

    (void)pthread_cancel(pthread_self());
    if (kp_http_open(NULL, NULL, &pool) != 0 || kp_pool_close(pool, KP_CLOSE_WAIT, 0) != 0)
        return NULL;
    *(bool *)opened = true;
    pthread_testcancel();
    return NULL;
}

/* A thread that ended in curl_global_init would leave libcurl's lock taken. */
static void a_thread_that_is_cancelled_must_start_libcurl_and_then_end(void **state)
{
    bool opened = false;
    pthread_t thread;
    kp_pool *pool;
    void *end;

    (void)state;
    (void)alarm(20);
    assert_int_equal(pthread_create(&thread, NULL, open_it, &opened), 0);
    assert_int_equal(pthread_join(thread, &end), 0);
    assert_int_equal(kp_http_open(NULL, NULL, &pool), 0);
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_WAIT, 0), 0);
    assert_true(opened && end == PTHREAD_CANCELED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thread_that_is_cancelled_must_start_libcurl_and_then_end),
    };

    return cmocka_run_group_tests_name("http_first", tests, NULL, NULL);
}
