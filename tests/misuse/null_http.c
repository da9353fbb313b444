/* SPDX-License-Identifier: MIT
 *
 * The HTTP adapter, handed NULL (R4).
 */
#include "keyedpool_http.h"

#include "misuse/null_adapter.h"

static void on_answer(CURL *curl, CURLcode result, void *arg)
{
    (void)curl, (void)result, (void)arg;
}

static void null_must_be_borne(void **state)
{
    kp_lease ended = { 0 }, lease;
    kp_pool *pool;

    (void)state;
    MUST_BEAR_NULL(kp_http_fill, kp_http_open, kp_http_counts_read, kp_http_counts);
    begin("kp_http");
    assert_null(kp_http(NULL));
    assert_null(kp_http(&ended));
    ANSWER(KP_EMISUSE, kp_http_start, NULL, on_answer, NULL);
    ANSWER(KP_EMISUSE, kp_http_start, &ended, on_answer, NULL);
    ANSWER(KP_EMISUSE, kp_http_start, &ended, NULL, NULL);
    NOTHING(kp_http_stop, NULL);
    NOTHING(kp_http_stop, &ended);
    assert_int_equal(kp_http_open(NULL, NULL, &pool), 0);
    assert_int_equal(kp_get(pool, (kp_key){ 0 }, KP_IN_MS(10), &lease), KP_EREFUSED);
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_NOW, 0), 0);
    begin("kp_http_fill");
    must_refuse_no_watcher(kp_http_fill(&(kp_http_options){ .watcher = &no_watcher }, &on_loop));
    assert_int_equal(all_exports_were_called("keyedpool-http"), 5);
    assert_int_equal(all_inlines_were_called("keyedpool_http.h"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(null_must_be_borne),
    };

    return cmocka_run_group_tests(tests, listen_to_misuse, NULL);
}
