/* SPDX-License-Identifier: MIT
 *
 * libcurl has no memory to read an origin: that is no fault of the origin, and passes.
 */
#include <keyedpool_http.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static int starved_at, calls;           /* the call that fails; 0: none */

CURLU    *__real_curl_url(void);
CURLU    *__wrap_curl_url(void);
CURLUcode __real_curl_url_set(CURLU *url, CURLUPart what, const char *part, unsigned flags);
CURLUcode __wrap_curl_url_set(CURLU *url, CURLUPart what, const char *part, unsigned flags);
CURLUcode __real_curl_url_get(const CURLU *url, CURLUPart what, char **part, unsigned flags);
CURLUcode __wrap_curl_url_get(const CURLU *url, CURLUPart what, char **part, unsigned flags);

static bool starves(void)
{
    return ++calls == starved_at;
}

CURLU *__wrap_curl_url(void)
{
    return starves() ? NULL : __real_curl_url();
}

CURLUcode __wrap_curl_url_set(CURLU *url, CURLUPart what, const char *part, unsigned flags)
{
    return starves() ? CURLUE_OUT_OF_MEMORY : __real_curl_url_set(url, what, part, flags);
}

CURLUcode __wrap_curl_url_get(const CURLU *url, CURLUPart what, char **part, unsigned flags)
{
    return starves() ? CURLUE_OUT_OF_MEMORY : __real_curl_url_get(url, what, part, flags);
}

/* It would be: for a key that is refused nothing is created until kp_retry_now. */
static void an_origin_without_memory_must_not_be_refused(void **state)
{
    const kp_http_options unasked = { .probe = "" };
    const kp_key good = kp_str("http://localhost:1"), bad = kp_str("http://me:hush@localhost:1");
    kp_lease lease;
    kp_pool *pool;
    int n = 0, rc;

    (void)state;
    do {
        assert_int_equal(kp_http_open(&unasked, NULL, &pool), 0);
        calls = 0;
        starved_at = ++n;
        rc = kp_get(pool, good, KP_IN_S(5), &lease);
        assert_int_equal(rc, calls < n ? 0 : KP_ENOMEM);
        kp_discard(&lease);
        starved_at = 0;
        assert_int_equal(kp_get(pool, good, KP_IN_S(5), &lease), 0);
        kp_release(&lease);
        calls = 0;
        starved_at = n;
        rc = kp_get(pool, bad, KP_IN_S(5), &lease);
        assert_int_equal(rc, calls < n ? KP_EREFUSED : KP_ENOMEM);
        assert_int_equal(kp_pool_close(pool, KP_CLOSE_NOW, 0), 0);
    } while (calls >= n);
    assert_int_equal(n, 1 + 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_origin_without_memory_must_not_be_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
