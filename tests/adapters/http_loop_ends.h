/* SPDX-License-Identifier: MIT
 *
 * How transfers of the HTTP adapter end on an event loop: by themselves, given up, with their
 * lease, and from within the functions that libcurl calls.
 */
#ifndef TESTS_ADAPTERS_HTTP_LOOP_ENDS_H
#define TESTS_ADAPTERS_HTTP_LOOP_ENDS_H

#include "adapters/http_loop_stage.h"

#include <pthread.h>

#define ENDS                                                                                       \
    cmocka_unit_test(a_transfer_that_is_given_up_must_not_be_told_of),                             \
        cmocka_unit_test(a_lease_must_take_its_transfer_with_it),                                  \
        cmocka_unit_test(half_an_answer_must_never_reach_the_next),                                \
        cmocka_unit_test(a_connection_that_the_pool_does_not_know_must_not_be_the_nexts),          \
        cmocka_unit_test(a_transfer_must_end_at_the_timeout_of_the_options),                       \
        cmocka_unit_test(whoever_is_told_may_start_again_or_give_back),                            \
        cmocka_unit_test(a_transfer_that_pauses_must_go_on),                                       \
        cmocka_unit_test(functions_that_libcurl_calls_may_end_the_transfer),                       \
        cmocka_unit_test(whoever_listens_to_libcurl_may_end_the_lease),                            \
        cmocka_unit_test(what_is_ended_while_it_goes_on_after_a_pause_must_end),                   \
        cmocka_unit_test(an_idle_connection_that_ended_must_be_replaced),                          \
        cmocka_unit_test(a_start_that_cannot_be_must_be_refused)

static int progress;

static int count_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)arg;
    (void)a;
    (void)b;
    (void)c;
    (void)d;
    progress++;
    return 0;
}

static int hear_of(CURL *curl, curl_infotype kind, char *text, size_t size, void *heard)
{
    (void)curl;
    (void)kind;
    (void)text;
    (void)size;
    ++*(int *)heard;
    return 0;
}

static void a_transfer_that_is_given_up_must_not_be_told_of(void **state)
{
    int seen, heard = 0, heard_before;
    CURL *curl;

    (void)state;
    open_pool((kp_http_options){ 0 });
    curl = kp_http(lease_of(0, origin));
    (void)begin_transfer(0, "/silent");
    kp_http_stop(&stage.ask[0].lease);          /* it has not begun */
    (void)curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, count_progress);
    (void)curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    (void)curl_easy_setopt(curl, CURLOPT_DEBUGFUNCTION, hear_of);
    (void)curl_easy_setopt(curl, CURLOPT_DEBUGDATA, &heard);
    (void)curl_easy_setopt(curl, CURLOPT_VERBOSE, 1L);
    (void)begin_transfer(0, "/silent");
    await_sent(0);
    seen = progress;
    heard_before = heard;
    kp_http_stop(&stage.ask[0].lease);
    kp_http_stop(&stage.ask[0].lease);
    assert_true(seen > 0);
    assert_int_equal(progress, seen);
    assert_true(heard_before > 0);
    assert_int_equal(heard, heard_before);
    assert_false(glue_watching(&stage.loop));
    assert_int_equal(transfers[0].ends, 0);
    must_answer(0, "/one", "GET /one HTTP/1.1");
    kp_http_stop(&stage.ask[0].lease);          /* it is over, and the connection stays */
    (void)socket_of(0);
    must_answer(0, "/two", "GET /two HTTP/1.1");
    assert_int_equal(counted.sockets, 2);
    give_back(0);
    close_pool();
}

static void a_lease_must_take_its_transfer_with_it(void **state)
{
    (void)state;
    for (int discard = 0; discard < 2; discard++) {
        open_pool((kp_http_options){ 0 });
        (void)lease_of(0, origin);
        (void)begin_transfer(0, "/silent");
        await_sent(0);
        if (discard)
            kp_discard(&stage.ask[0].lease);
        else
            give_back(0);
        assert_false(glue_watching(&stage.loop));
        (void)lease_of(1, origin);
        must_answer(1, "/one", "GET /one HTTP/1.1");
        assert_int_equal(transfers[0].ends, 0);
        assert_int_equal(counted.opened, 2);
        assert_int_equal(counted.closed, 1);
        give_back(1);
        close_pool();
    }
}

/* The handle is the same, and its connection is another one. */
static void half_an_answer_must_never_reach_the_next(void **state)
{
    CURL *first;

    (void)state;
    open_pool((kp_http_options){ 0 });
    first = kp_http(lease_of(0, origin));
    (void)begin_transfer(0, "/half");
    while (!transfers[0].body[0])
        turn();
    give_back(0);
    assert_ptr_equal(kp_http(lease_of(1, origin)), first);
    must_answer(1, "/one", "GET /one HTTP/1.1");
    assert_int_equal(transfers[0].ends, 0);
    assert_int_equal(counted.sockets, 2);
    give_back(1);
    close_pool();
}

/* A borrower's curl_easy_reset takes the functions away by which the pool hears of connections. */
static void a_connection_that_the_pool_does_not_know_must_not_be_the_nexts(void **state)
{
    (void)state;
    open_pool((kp_http_options){ .probe = "" });
    curl_easy_reset(kp_http(lease_of(0, origin)));
    must_answer(0, "/one", "GET /one HTTP/1.1");
    give_back(0);
    assert_int_equal(counted.closed, 1);
    (void)lease_of(1, origin);
    must_answer(1, "/two", "GET /two HTTP/1.1");
    curl_easy_reset(kp_http(&stage.ask[1].lease));
    must_answer(1, "/three", "GET /three HTTP/1.1");
    give_back(1);                                       /* it was known, and is used on */
    assert_int_equal(counted.closed, 1);
    assert_int_equal(counted.sockets, 1);
    close_pool();
}

static void a_transfer_must_end_at_the_timeout_of_the_options(void **state)
{
    (void)state;
    open_pool((kp_http_options){ .timeout_ms = 50 });
    (void)lease_of(0, origin);
    assert_int_equal(await_end(begin_transfer(0, "/half")), CURLE_OPERATION_TIMEDOUT);
    (void)curl_easy_setopt(kp_http(&stage.ask[0].lease), CURLOPT_TIMEOUT_MS, 20000L);
    must_answer(0, "/one", "GET /one HTTP/1.1");
    give_back(0);
    close_pool();
}

/* ---- who is told ----------------------------------------------------------------------------- */

static int rounds;

static void start_again(CURL *curl, CURLcode result, void *arg)
{
    long status = 0;

    assert_int_equal(result, CURLE_OK);
    assert_ptr_equal(curl, kp_http(&stage.ask[0].lease));
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    assert_int_equal(status, 200);
    if (++rounds < 5)
        assert_int_equal(kp_http_start(&stage.ask[0].lease, start_again, arg), 0);
    else if (rounds == 5)
        give_back(0);
    else
        kp_discard(&stage.ask[0].lease);
}

static void whoever_is_told_may_start_again_or_give_back(void **state)
{
    (void)state;
    open_pool((kp_http_options){ 0 });
    rounds = 0;
    for (int last = 5; last <= 6; last++) {
        (void)lease_of(0, origin);
        (void)set_up(transfers, &stage.ask[0].lease, "/one");
        assert_int_equal(kp_http_start(&stage.ask[0].lease, start_again, NULL), 0);
        while (stage.ask[0].lease.resource)
            turn();
        assert_int_equal(rounds, last);
        assert_int_equal(counted.sockets, 1);
    }
    close_pool();
}

/* ---- functions that libcurl calls ------------------------------------------------------------ */

static int pauses;

static size_t pause_once(char *data, size_t one, size_t size, void *into)
{
    return pauses++ == 0 ? CURL_WRITEFUNC_PAUSE : keep(data, one, size, into);
}

static void a_transfer_that_pauses_must_go_on(void **state)
{
    CURL *curl;

    (void)state;
    if (LIBCURL_VERSION_NUM < 0x074200)
        return;                         /* it has to be told of the time by hand */
    open_pool((kp_http_options){ 0 });
    (void)lease_of(0, origin);
    curl = set_up(transfers, &stage.ask[0].lease, "/one");
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, pause_once);
    pauses = 0;
    assert_int_equal(kp_http_start(&stage.ask[0].lease, on_end, transfers), 0);
    while (pauses == 0)
        turn();
    assert_int_equal(transfers[0].ends, 0);
    assert_int_equal(curl_easy_pause(curl, CURLPAUSE_CONT), CURLE_OK);
    assert_int_equal(await_end(transfers), CURLE_OK);
    assert_string_equal(transfers[0].body, "GET /one HTTP/1.1");
    give_back(0);
    close_pool();
}

static void (*end_it)(kp_lease *lease);
static int calls;

static void stop_it(kp_lease *lease)
{
    kp_http_stop(lease);
    assert_int_equal(kp_http_start(lease, on_end, transfers), KP_EMISUSE);
}

static size_t end_in_the_middle(char *data, size_t one, size_t size, void *into)
{
    (void)data;
    (void)one;
    (void)into;
    if (calls++ == 0)
        end_it(&stage.ask[0].lease);
    return size;
}

/* In the middle of an answer, and with the last of it. */
static void functions_that_libcurl_calls_may_end_the_transfer(void **state)
{
    static void (*const ways[])(kp_lease *) = { stop_it, kp_release, kp_discard };

    (void)state;
    for (int i = 0; i < 6; i++) {
        open_pool((kp_http_options){ 0 });
        (void)lease_of(0, origin);
        (void)curl_easy_setopt(set_up(transfers, &stage.ask[0].lease, i < 3 ? "/half" : "/one"),
                               CURLOPT_WRITEFUNCTION, end_in_the_middle);
        end_it = ways[i % 3];
        calls = 0;
        assert_int_equal(kp_http_start(&stage.ask[0].lease, on_end, transfers), 0);
        while (calls == 0)
            turn();
        assert_false(glue_watching(&stage.loop));
        assert_int_equal(counted.closed, end_it == stop_it ? 0 : 1);
        if (end_it == stop_it) {
            must_answer(0, "/two", "GET /two HTTP/1.1");
            give_back(0);
        }
        (void)lease_of(1, origin);
        must_answer(1, "/one", "GET /one HTTP/1.1");
        give_back(1);
        assert_int_equal(stage.invalid, end_it == kp_release ? 1 : 0);
        close_pool();
    }
}

static int end_while_told(CURL *curl, curl_infotype kind, char *data, size_t size, void *arg)
{
    (void)curl;
    (void)kind;
    (void)data;
    (void)size;
    (void)arg;
    if (calls++ == 0)
        end_it(&stage.ask[0].lease);
    return 0;
}

/* libcurl itself does not notice what is done in here. */
static void whoever_listens_to_libcurl_may_end_the_lease(void **state)
{
    CURL *curl;

    (void)state;
    open_pool((kp_http_options){ 0 });
    (void)lease_of(0, origin);
    curl = set_up(transfers, &stage.ask[0].lease, "/one");
    (void)curl_easy_setopt(curl, CURLOPT_DEBUGFUNCTION, end_while_told);
    (void)curl_easy_setopt(curl, CURLOPT_VERBOSE, 1L);
    end_it = kp_release;
    calls = 0;
    if (kp_http_start(&stage.ask[0].lease, on_end, transfers) != 0)
        assert_int_equal(calls, 1);     /* libcurl 7.64.0 speaks in there */
    while (calls == 0)
        turn();
    assert_int_equal(counted.closed, 1);
    assert_int_equal(transfers[0].ends, 0);
    close_pool();
}

static size_t pause_then_end(char *data, size_t one, size_t size, void *into)
{
    (void)data;
    (void)one;
    (void)size;
    (void)into;
    if (pauses++ == 0)
        return CURL_WRITEFUNC_PAUSE;
    end_it(&stage.ask[0].lease);
    return 0;
}

/* curl_easy_pause calls the function that ends it, and then nobody else calls libcurl. */
static void what_is_ended_while_it_goes_on_after_a_pause_must_end(void **state)
{
    static void (*const ways[])(kp_lease *) = { stop_it, kp_release, kp_discard };
    CURL *curl;

    (void)state;
    if (LIBCURL_VERSION_NUM < 0x074200)
        return;
    for (int i = 0; i < 3; i++) {
        open_pool((kp_http_options){ 0 });
        (void)lease_of(0, origin);
        curl = set_up(transfers, &stage.ask[0].lease, "/one");
        (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, pause_then_end);
        end_it = ways[i];
        pauses = 0;
        assert_int_equal(kp_http_start(&stage.ask[0].lease, on_end, transfers), 0);
        while (pauses == 0)
            turn();
        (void)curl_easy_pause(curl, CURLPAUSE_CONT);
        while (pauses == 1 || glue_watching(&stage.loop))
            turn();
        assert_int_equal(transfers[0].ends, 0);
        if (end_it == stop_it) {
            must_answer(0, "/two", "GET /two HTTP/1.1");
            give_back(0);
        }
        close_pool();
    }
}

/* ---- what is not there ----------------------------------------------------------------------- */

static void an_idle_connection_that_ended_must_be_replaced(void **state)
{
    struct ask *a;
    int fd;

    (void)state;
    open_pool((kp_http_options){ 0 });
    (void)lease_of(0, origin);
    must_answer(0, "/one", "GET /one HTTP/1.1");
    fd = socket_of(0);
    give_back(0);
    web_kill();
    assert_int_equal(poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 10000), 1);
    a = begin(0, origin, 20000);
    assert_int_equal(await(a), KP_ECREATE);
    assert_int_equal(a->why.vendor_code, CURLE_COULDNT_CONNECT);
    assert_int_equal(counted.ended, 1);
    assert_int_equal(web_restart(), 0);
    (void)lease_of(0, origin);
    must_answer(0, "/one", "GET /one HTTP/1.1");
    give_back(0);
    close_pool();
}

static void *start_elsewhere(void *refused)
{
    *(bool *)refused = kp_http_start(&stage.ask[0].lease, on_end, transfers) == KP_EMISUSE;
    return NULL;
}

static void a_start_that_cannot_be_must_be_refused(void **state)
{
    const kp_lease *lease;
    kp_lease other;
    bool refused = false;
    pthread_t thread;
    kp_pool *blocks;

    (void)state;
    open_pool((kp_http_options){ 0 });
    lease = lease_of(0, origin);
    assert_int_equal(kp_http_start(lease, NULL, NULL), KP_EMISUSE);
    assert_int_equal(pthread_create(&thread, NULL, start_elsewhere, &refused), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(refused);
    (void)begin_transfer(0, "/one");
    assert_int_equal(kp_http_start(lease, on_end, transfers), KP_EMISUSE);
    assert_int_equal(await_end(transfers), CURLE_OK);
    give_back(0);
    assert_int_equal(kp_http_start(lease, on_end, transfers), KP_EMISUSE);
    kp_http_stop(lease);
    close_pool();
    assert_int_equal(kp_http_open(NULL, NULL, &blocks), 0);
    assert_int_equal(kp_get(blocks, kp_str(origin), KP_IN_S(20), &other), 0);
    assert_int_equal(kp_http_start(&other, on_end, transfers), KP_EMISUSE);
    kp_http_stop(&other);
    kp_release(&other);
    assert_int_equal(kp_pool_close(blocks, KP_CLOSE_WAIT, 20000), 0);
}

#endif
