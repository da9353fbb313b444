/* SPDX-License-Identifier: MIT
 *
 * The HTTP adapter and a host whose name is not resolved in time: this program has a getaddrinfo of
 * its own.
 */
#include <keyedpool_http.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <netdb.h>
#include <semaphore.h>
#include <stdlib.h>

static sem_t go_on, gone;               /* the resolver may answer; it has */

int getaddrinfo(const char *restrict host, const char *restrict port,
                const struct addrinfo *restrict hints, struct addrinfo **restrict found)
{
    (void)host;
    (void)port;
    (void)hints;
    (void)found;
    while (sem_wait(&go_on) != 0)
        continue;
    (void)sem_post(&gone);
    return EAI_AGAIN;
}

/* The resolver answers only when the get has ended, and the pool is closed. */
static void a_name_that_takes_its_time_must_not_take_ours(void **state)
{
    kp_http_options how[] = { { 0 }, { .connect_timeout_ms = 50 } };
    int64_t within_ms[] = { 50, KP_OFF };

    (void)state;
    for (int i = 0; i < 2; i++) {
        kp_options more = { .limits.retry_first_ms = KP_NONE };
        kp_why why = { 0 };
        kp_lease lease;
        kp_pool *pool;

        assert_int_equal(kp_http_open(&how[i], &more, &pool), 0);
        assert_int_equal(kp_get(pool, kp_str("http://slow.test:80"),
                                KP_ASK(.within_ms = within_ms[i], .why = &why), &lease),
                         KP_ECREATE);
        assert_int_equal(why.vendor_code, CURLE_OPERATION_TIMEDOUT);
        assert_int_equal(kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(20)), 0);
        (void)sem_post(&go_on);
        while (sem_wait(&gone) != 0)
            continue;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_that_takes_its_time_must_not_take_ours),
    };

    (void)setenv("no_proxy", "*", 1);
    if (LIBCURL_VERSION_NUM < 0x075700)
        return 0;                       /* it waits for its resolver, whatever is said */
    if (sem_init(&go_on, 0, 0) != 0 || sem_init(&gone, 0, 0) != 0)
        return 1;
    return cmocka_run_group_tests_name("http_names", tests, NULL, NULL);
}
