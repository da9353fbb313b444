/* SPDX-License-Identifier: MIT
 *
 * What the HTTP adapter tells of libcurl's reason why no client could be made, and what not.
 */
#include <keyedpool_http.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>
#include <sys/resource.h>

/* Why there is none, with an option that `how` sets to its ctx. */
static kp_why must_fail(const char *key, CURLcode (*how)(CURL *, kp_key, void *), const void *ctx)
{
    kp_http_options http = { .prepare = how, .ctx = (void *)ctx };
    kp_options more = { .limits.retry_first_ms = KP_NONE };
    kp_why why = { 0 };
    kp_lease lease;
    kp_pool *pool;

    assert_int_equal(kp_http_open(&http, &more, &pool), 0);
    assert_int_equal(kp_get(pool, kp_str(key), KP_ASK(.within_ms = 10000, .why = &why), &lease),
                     KP_ECREATE);
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(20)), 0);
    assert_non_null(strstr(why.text, key));
    return why;
}

static CURLcode go_through(CURL *curl, kp_key key, void *proxy)
{
    (void)key;
    (void)curl_easy_setopt(curl, CURLOPT_NOPROXY, "");
    return curl_easy_setopt(curl, CURLOPT_PROXY, (const char *)proxy);
}

/* libcurl quotes what it does not understand. */
static void a_proxys_password_must_not_be_told(void **state)
{
    static const char *const bad[] = {
        "http://me:se#cret@localhost:1", "http://me:se@cret@localhost:1", "http://me:se cret@a",
        "http://me:secret@localhost:x", "none://me:se-cret@localhost", "me:sec/ret@localhost",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        kp_why why = must_fail("http://127.0.0.1:1", go_through, bad[i]);

        if (strstr(why.text, "se") || !strstr(why.text, "proxy"))
            fail_msg("%s: %s", bad[i], why.text);
    }
}

static CURLcode look_up(CURL *curl, kp_key key, void *names)
{
    (void)key;
    return curl_easy_setopt(curl, CURLOPT_RESOLVE, (struct curl_slist *)names);
}

/* What libcurl says of it has an apostrophe, and quotes nothing. */
static void a_host_that_is_called_proxy_must_be_told_in_full(void **state)
{
    struct curl_slist *names = curl_slist_append(NULL, "proxy.test:1:127.0.0.1");
    kp_why why = must_fail("http://proxy.test:1", look_up, names);

    (void)state;
    if (strstr(why.text, "..."))
        fail_msg("%s", why.text);
    curl_slist_free_all(names);
}

static CURLcode open_no_more(CURL *curl, kp_key key, void *limit)
{
    const struct rlimit *before = limit, none = { 0, before->rlim_max };

    (void)curl;
    (void)key;
    return setrlimit(RLIMIT_NOFILE, &none) == 0 ? CURLE_OK : CURLE_FAILED_INIT;
}

/* libcurl says that it could not connect, as if it were the server's fault. */
static void a_process_that_may_not_open_more_files_must_be_told_so(void **state)
{
    struct rlimit before;
    kp_why why;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    why = must_fail("http://127.0.0.1:1", open_no_more, &before);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(why.vendor_code, CURLE_COULDNT_CONNECT);
    if (!strstr(why.text, "may not open more files"))
        fail_msg("%s", why.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_proxys_password_must_not_be_told),
        cmocka_unit_test(a_host_that_is_called_proxy_must_be_told_in_full),
        cmocka_unit_test(a_process_that_may_not_open_more_files_must_be_told_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
