/* SPDX-License-Identifier: MIT
 *
 * The HTTP adapter that never blocks, on an event loop of one thread (loop_cases.h).
 */
#ifndef TESTS_ADAPTERS_HTTP_LOOP_H
#define TESTS_ADAPTERS_HTTP_LOOP_H

#include "adapters/http_loop_ends.h"

/* ---- lending --------------------------------------------------------------------------------- */

static void many_gets_must_share_few_connections_on_one_thread(void **state)
{
    (void)state;
    open_pool((kp_http_options){ 0 });
    all_in_turn(origin, must_work);
    assert_in_range(counted.opened, 1, MANY);
    assert_int_equal(counted.sockets, counted.opened);
    close_pool();
}

static void many_transfers_must_run_at_once_each_on_its_own_connection(void **state)
{
    char path[16], said[40];

    (void)state;
    open_pool((kp_http_options){ 0 });
    for (int i = 0; i < MANY; i++)
        (void)lease_of(i, origin);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < MANY; i++) {
            (void)snprintf(path, sizeof path, "/of/%d", i);
            (void)begin_transfer(i, i == 0 && round == 2 ? "/silent" : path);
        }
        for (int i = round == 2; i < MANY; i++) {
            (void)snprintf(said, sizeof said, "GET /of/%d HTTP/1.1", i);
            assert_int_equal(await_end(&transfers[i]), CURLE_OK);
            assert_string_equal(transfers[i].body, said);
        }
    }
    assert_int_equal(counted.sockets, MANY);
    for (int i = 0; i < MANY; i++)
        give_back(i);
    assert_int_equal(transfers[0].ends, 0);
    close_pool();
}

/* Not probed, so that there is no number to be kept for the pool. */
static void a_handle_must_keep_no_more_than_one_connection(void **state)
{
    char elsewhere[64];
    int open;

    (void)state;
    (void)snprintf(elsewhere, sizeof elsewhere, "http://localhost:%d/one", web.port);
    open_pool((kp_http_options){ .probe = "" });
    (void)lease_of(0, origin);
    must_answer(0, "/one", "GET /one HTTP/1.1");
    open = open_descriptors();
    must_answer(0, elsewhere, "GET /one HTTP/1.1");
    assert_int_equal(open_descriptors(), open);
    give_back(0);
    close_pool();
}

static void a_certificate_must_be_trusted_where_the_options_say_so(void **state)
{
    char secure[48];

    (void)state;
    (void)snprintf(secure, sizeof secure, "https://localhost:%d", tls.port);
    open_pool((kp_http_options){ .ca_file = tls.certificate, .probe = "" });
    (void)lease_of(0, secure);
    assert_int_equal(counted.sockets, 0);
    assert_int_equal(await_end(begin_transfer(0, secure)), CURLE_OK);
    assert_non_null(strstr(transfers[0].body, "s_server"));
    give_back(0);
    close_pool();
}

/* ---- making ---------------------------------------------------------------------------------- */

static void what_cannot_be_made_must_give_its_cause(void **state)
{
    char closed[48], secure[48];
    const struct { const char *key; int code, vendor_code; const char *word; } wrong[] = {
        { closed, KP_ECREATE, CURLE_COULDNT_CONNECT, "connect" },
        { secure, KP_ECREATE, CURLE_PEER_FAILED_VERIFICATION, "certificate" },
        { "http://nowhere.invalid", KP_ECREATE, CURLE_COULDNT_RESOLVE_HOST, "nowhere.invalid" },
        { "http://me:secret@localhost", KP_EREFUSED, CURLE_URL_MALFORMAT, "a key must be" },
    };
    struct ask *a;

    (void)state;
    (void)snprintf(closed, sizeof closed, "http://127.0.0.1:%d", server_free_port());
    (void)snprintf(secure, sizeof secure, "https://localhost:%d", tls.port);
    open_pool((kp_http_options){ 0 });
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        (void)begin((int)i, wrong[i].key, 20000);
    (void)lease_of(MANY, origin);       /* nobody waits for the others */
    give_back(MANY);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        a = &stage.ask[i];
        assert_int_equal(await(a), wrong[i].code);
        assert_int_equal(a->why.vendor_code, wrong[i].vendor_code);
        if (!strstr(a->why.text, wrong[i].word) || strstr(a->why.text, "secret"))
            fail_msg("%s: %s", wrong[i].key, a->why.text);
    }
    assert_int_equal(counted.opened, 1);
    close_pool();
}

static void a_host_may_be_a_name(void **state)
{
    char key[48];

    (void)state;
    (void)snprintf(key, sizeof key, "http://localhost:%d", web.port);
    open_pool((kp_http_options){ 0 });
    (void)lease_of(0, key);
    must_work(&stage.ask[0].lease);
    give_back(0);
    close_pool();
}

static int creating(void)
{
    kp_stats s = { 0 };

    assert_int_equal(kp_stats_read(stage.pool, KP_EVERY_KEY, &s), 0);
    return (int)s.creating;
}

static int cancel_in_the_middle(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)arg;
    (void)a;
    (void)b;
    (void)c;
    (void)d;
    kp_cancel(&stage.ask[0].request);
    return 0;
}

static CURLcode watch_progress(CURL *curl, kp_key key, void *ctx)
{
    (void)key;
    (void)ctx;
    (void)curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    return curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, cancel_in_the_middle);
}

static void a_request_that_is_cancelled_must_end_what_is_made_for_it(void **state)
{
    kp_http_options how[] = { { .probe = "/silent" },
                              { .probe = "/silent", .prepare = watch_progress } };

    (void)state;
    for (int inside = 0; inside < 2; inside++) {
        open_pool(how[inside]);
        (void)begin(0, origin, 20000);
        do {
            turn();
        } while (creating() == (inside ? 1 : 0));
        kp_cancel(&stage.ask[0].request);
        assert_int_equal(creating(), 0);
        assert_int_equal(stage.ask[0].status, KP_PENDING);
        assert_int_equal(counted.opened, 0);
        close_pool();
    }
}

/* ---- the watcher ----------------------------------------------------------------------------- */

static int starts_left;

static int start_while_there_is_memory(kp_watcher *watcher, kp_watch *watch, int fd, int events,
                                       int64_t within_ms)
{
    if (fd >= 0) {                      /* else it would be told again and again */
        assert_true(events != 0 && (events & ~(KP_WATCH_READ | KP_WATCH_WRITE)) == 0);
        assert_true(within_ms == KP_OFF);
    }
    if (starts_left-- == 0)
        return KP_ENOMEM;
    return start_in_time(watcher, watch, fd, events, within_ms);
}

/* Each wait in turn cannot be, of making a handle and of using it. */
static void what_cannot_be_watched_must_end_and_leave_nothing(void **state)
{
    struct transfer *t = transfers;
    kp_watcher *watcher;
    int rc, made = 0, used = 0;

    (void)state;
    open_pool((kp_http_options){ 0 });
    watcher = glue_watcher(&stage.loop);
    start_in_time = watcher->start;
    watcher->start = start_while_there_is_memory;
    for (rc = 1; rc != 0; made++) {
        starts_left = made;
        rc = await(begin(0, origin, 20000));
        assert_true(rc == 0 || rc == KP_ENOMEM ||
                    stage.ask[0].why.vendor_code == CURLE_OUT_OF_MEMORY);
    }
    for (CURLcode end = CURLE_OUT_OF_MEMORY; end != CURLE_OK; used++) {
        (void)set_up(t, &stage.ask[0].lease, "/one");
        starts_left = used;
        rc = kp_http_start(&stage.ask[0].lease, on_end, t);
        assert_true(rc == 0 || rc == KP_ENOMEM);
        end = rc == 0 ? await_end(t) : CURLE_OUT_OF_MEMORY;
        assert_true(end == CURLE_OK || end == CURLE_OUT_OF_MEMORY);
    }
    assert_in_range(made, 2, 20);
    assert_in_range(used, 2, 20);
    watcher->start = start_in_time;
    must_answer(0, "/one", "GET /one HTTP/1.1");
    give_back(0);
    close_pool();
}

static void a_time_alone_must_be_watched(void **state)
{
    kp_watcher *watcher;
    int64_t began = now_ns();
    bool ready = true, never = true;
    kp_watch watch = { .told = told, .arg = &ready }, stopped = { .told = told, .arg = &never };

    (void)state;
    open_pool((kp_http_options){ 0 });
    watcher = glue_watcher(&stage.loop);
    assert_int_equal(watcher->start(watcher, &stopped, -1, 0, 10), 0);
    assert_int_equal(watcher->start(watcher, &watch, -1, 0, 40), 0);
    watcher->stop(watcher, &stopped);
    assert_null(stopped.next);
    while (watch.next)
        turn();
    assert_false(ready);
    assert_true(never);
    assert_true(now_ns() - began >= 20 * 1000000);      /* a loop's clock may be coarse */
    close_pool();
}

static void options_that_a_loop_cannot_keep_must_be_refused_by_name(void **state)
{
    kp_http_options how = { .watcher = &(kp_watcher){ 0 } };
    kp_options more = { .why = &stage.why };
    kp_loop *loop;

    (void)state;
    assert_int_equal(kp_loop_open(&loop), 0);
    assert_int_equal(kp_http_open(&how, &more, &stage.pool), KP_ECONFIG);
    assert_string_equal(stage.why.field, "http.watcher");
    more.loop = loop;
    assert_int_equal(kp_http_open(NULL, &more, &stage.pool), KP_ECONFIG);
    assert_string_equal(stage.why.field, "http.watcher");
    assert_int_equal(kp_loop_close(loop), 0);
}

/* What the loop's library opens once stays open. */
static int start(void **state)
{
    struct glue once;

    (void)state;
    if (web_start() != 0 || glue_open(&once) != 0)
        return -1;
    glue_close(&once);
    (void)snprintf(origin, sizeof origin, "http://127.0.0.1:%d", web.port);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    web_stop();
    return 0;
}

static int run_on(const char *name)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_gets_must_share_few_connections_on_one_thread),
        cmocka_unit_test(many_transfers_must_run_at_once_each_on_its_own_connection),
        cmocka_unit_test(a_handle_must_keep_no_more_than_one_connection),
        cmocka_unit_test(a_certificate_must_be_trusted_where_the_options_say_so),
        cmocka_unit_test(what_cannot_be_made_must_give_its_cause),
        cmocka_unit_test(a_host_may_be_a_name),
        cmocka_unit_test(a_request_that_is_cancelled_must_end_what_is_made_for_it),
        cmocka_unit_test(what_cannot_be_watched_must_end_and_leave_nothing),
        cmocka_unit_test(a_time_alone_must_be_watched),
        cmocka_unit_test(options_that_a_loop_cannot_keep_must_be_refused_by_name),
        ENDS,
        LOOP_CASES,
    };

    return cmocka_run_group_tests_name(name, tests, start, stop);
}

#endif
