/* SPDX-License-Identifier: MIT
 *
 * The HTTP adapter where it is not like other adapters: what is kept between two borrowers, and
 * what is not. http_conform.c has what all of them must hold to.
 */
#include <keyedpool_http.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>

#include "adapters/http_server.h"

static struct {
    kp_pool *pool;
    kp_why   why;
    kp_http_counts counts;
    char     origin[48], secure[48], body[4096];
} stage;

/* A failed create is tried again at once, and every idle one is looked at by who gets it. */
static void open_watched(kp_http_options how, int64_t threads, int64_t watch_every_ms)
{
    kp_options more = { .why = &stage.why, .threads = threads, .watch_every_ms = watch_every_ms };

    memset(&stage.counts, 0, sizeof stage.counts);
    more.limits.retry_first_ms = KP_NONE;
    more.limits.validate_after_ms = KP_NONE;
    how.counts = &stage.counts;
    assert_int_equal(kp_http_open(&how, &more, &stage.pool), 0);
}

static void open_pool(kp_http_options how)
{
    open_watched(how, 0, KP_OFF);
}

static void close_pool(void)
{
    kp_http_counts counts;

    assert_int_equal(kp_pool_close(stage.pool, KP_CLOSE_WAIT, KP_SECONDS(20)), 0);
    counts = kp_http_counts_read(&stage.counts);
    assert_int_equal(counts.opened, counts.closed);
}

static int try_get(const char *key, kp_lease *lease)
{
    memset(&stage.why, 0, sizeof stage.why);
    return kp_get(stage.pool, kp_str(key), KP_ASK(.within_ms = 10000, .why = &stage.why), lease);
}

static kp_lease get(const char *key)
{
    kp_lease lease;

    if (try_get(key, &lease) != 0)
        fail_msg("get of %s: %s", key, stage.why.text);
    return lease;
}

static size_t keep(char *data, size_t one, size_t size, void *into)
{
    size_t room = sizeof stage.body - 1 - strlen(stage.body);

    (void)one;
    (void)into;
    (void)strncat(stage.body, data, size < room ? size : room);
    return size;
}

static CURLcode ask(const kp_lease *lease, const char *path)
{
    char url[128];

    (void)snprintf(url, sizeof url, "%s%s", stage.origin, path);
    memset(stage.body, 0, sizeof stage.body);
    if (*path)
        (void)curl_easy_setopt(kp_http(lease), CURLOPT_URL, url);
    (void)curl_easy_setopt(kp_http(lease), CURLOPT_WRITEFUNCTION, keep);
    return curl_easy_perform(kp_http(lease));
}

static void must_answer(const kp_lease *lease, const char *path, const char *expected)
{
    CURLcode rc = ask(lease, path);

    if (rc != CURLE_OK)
        fail_msg("%s: %s", path, curl_easy_strerror(rc));
    assert_string_equal(stage.body, expected);
}

/* ---- connections ----------------------------------------------------------------------------- */

static void many_transfers_of_many_borrowers_must_take_one_connection(void **state)
{
    kp_lease lease;

    (void)state;
    open_pool((kp_http_options){ 0 });
    for (int i = 0; i < 3; i++) {
        lease = get(stage.origin);
        must_answer(&lease, "/one", "GET /one HTTP/1.1");
        must_answer(&lease, "/two", "GET /two HTTP/1.1");
        kp_release(&lease);
        assert_null(kp_http(&lease));
    }
    assert_int_equal(kp_http_counts_read(&stage.counts).sockets, 1);
    close_pool();
}

static void two_leases_must_have_two_connections(void **state)
{
    kp_lease one, two;

    (void)state;
    open_pool((kp_http_options){ 0 });
    one = get(stage.origin);
    two = get(stage.origin);
    must_answer(&one, "/one", "GET /one HTTP/1.1");
    must_answer(&two, "/two", "GET /two HTTP/1.1");
    assert_int_equal(kp_http_counts_read(&stage.counts).sockets, 2);
    kp_release(&one);
    kp_release(&two);
    close_pool();
}

static void a_server_that_closes_after_an_answer_must_not_cost_the_handle(void **state)
{
    kp_lease lease;

    (void)state;
    open_pool((kp_http_options){ 0 });
    lease = get(stage.origin);
    must_answer(&lease, "/close", "bye");
    kp_release(&lease);
    lease = get(stage.origin);
    must_answer(&lease, "/again", "GET /again HTTP/1.1");
    kp_release(&lease);
    assert_int_equal(kp_http_counts_read(&stage.counts).opened, 1);
    assert_int_equal(kp_http_counts_read(&stage.counts).sockets, 2);
    close_pool();
}

static void an_idle_connection_that_ended_must_be_noticed(void **state)
{
    curl_socket_t fd;
    kp_lease lease;

    (void)state;
    open_pool((kp_http_options){ 0 });
    lease = get(stage.origin);
    must_answer(&lease, "/one", "GET /one HTTP/1.1");
    assert_int_equal(curl_easy_getinfo(kp_http(&lease), CURLINFO_ACTIVESOCKET, &fd), CURLE_OK);
    kp_release(&lease);
    web_kill();
    assert_int_equal(poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 10000), 1);
    assert_int_equal(try_get(stage.origin, &lease), KP_ECREATE);
    assert_int_equal(stage.why.vendor_code, CURLE_COULDNT_CONNECT);
    assert_int_equal(kp_http_counts_read(&stage.counts).ended, 1);
    assert_int_equal(web_restart(), 0);
    lease = get(stage.origin);
    kp_release(&lease);
    close_pool();
}

static curl_socket_t socket_of(const kp_lease *lease)
{
    curl_socket_t fd = CURL_SOCKET_BAD;

    assert_int_equal(curl_easy_getinfo(kp_http(lease), CURLINFO_ACTIVESOCKET, &fd), CURLE_OK);
    return fd;
}

static int open_files(void)
{
    int n = 0;

    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* Nothing of the first connection is left, and its number may be another's. Upkeep is this
 * thread's, so that it does not look between the server's end and libcurl's. */
static void a_connection_that_was_replaced_must_not_be_taken_for_a_dead_handle(void **state)
{
    curl_socket_t ended;
    kp_lease lease, other;
    kp_stats s = { 0 };
    CURL *handle;
    int files;

    (void)state;
    open_watched((kp_http_options){ 0 }, KP_NONE, 1);
    lease = get(stage.origin);
    other = get(stage.origin);
    must_answer(&other, "/one", "GET /one HTTP/1.1");
    handle = kp_http(&lease);
    ended = socket_of(&other);
    files = open_files();
    must_answer(&lease, "/close", "bye");
    must_answer(&lease, "/again", "GET /again HTTP/1.1");
    assert_int_equal(open_files(), files);
    kp_release(&lease);
    kp_release(&other);
    (void)shutdown(ended, SHUT_RDWR);
    do {
        (void)kp_keep(stage.pool);
        assert_int_equal(kp_stats_read(stage.pool, KP_EVERY_KEY, &s), 0);
    } while (s.live == 2);
    assert_true(fcntl(ended, F_GETFD) < 0);
    lease = get(stage.origin);
    assert_ptr_equal(kp_http(&lease), handle);
    must_answer(&lease, "/two", "GET /two HTTP/1.1");
    kp_release(&lease);
    close_pool();
}

/* When it is given back: the next borrower may come before an idle one is looked at again. */
static void an_answer_that_nobody_asked_for_must_end_the_connection_at_once(void **state)
{
    kp_lease lease, other;

    (void)state;
    open_pool((kp_http_options){ 0 });
    lease = get(stage.origin);
    other = get(stage.origin);
    must_answer(&lease, "/listen", "GET /listen HTTP/1.1");
    must_answer(&other, "/unasked", "GET /unasked HTTP/1.1");
    assert_int_equal(poll(&(struct pollfd){ .fd = socket_of(&lease), .events = POLLIN }, 1, 10000),
                     1);
    kp_release(&lease);
    assert_int_equal(kp_http_counts_read(&stage.counts).closed, 1);
    kp_release(&other);
    assert_int_equal(kp_http_counts_read(&stage.counts).closed, 1);
    close_pool();
}

/* ---- options --------------------------------------------------------------------------------- */

static int prepared;

static CURLcode add_one(CURL *curl, kp_key origin, void *ctx)
{
    (void)ctx;
    prepared++;
    assert_memory_equal(origin.data, stage.origin, origin.size);
    return curl_easy_setopt(curl, CURLOPT_REFERER, "here");
}

static CURLcode refuse(CURL *curl, kp_key origin, void *ctx)
{
    (void)curl;
    (void)origin;
    (void)ctx;
    return CURLE_NOT_BUILT_IN;
}

static void the_options_must_hold_for_each_borrower(void **state)
{
    kp_lease lease;

    (void)state;
    prepared = 0;
    open_pool((kp_http_options){ .user_agent = "kp/1", .prepare = add_one });
    for (int i = 0; i < 2; i++) {
        lease = get(stage.origin);
        must_answer(&lease, "", "GET / HTTP/1.1");
        must_answer(&lease, "/agent", "kp/1");
        (void)curl_easy_setopt(kp_http(&lease), CURLOPT_USERAGENT, "other");
        kp_release(&lease);
    }
    assert_int_equal(prepared, 4);      /* for the probe, for the first, and at each give-back */
    close_pool();
    open_pool((kp_http_options){ .prepare = refuse });
    assert_int_equal(try_get(stage.origin, &lease), KP_ECREATE);
    assert_int_equal(stage.why.vendor_code, CURLE_NOT_BUILT_IN);
    close_pool();
}

static void a_probe_must_be_asked_or_not_as_the_options_say(void **state)
{
    kp_lease lease;

    (void)state;
    open_pool((kp_http_options){ .probe = "" });
    lease = get(stage.origin);
    assert_int_equal(kp_http_counts_read(&stage.counts).sockets, 0);
    must_answer(&lease, "/one", "GET /one HTTP/1.1");
    kp_release(&lease);
    close_pool();
    open_pool((kp_http_options){ .probe = "/half", .connect_timeout_ms = 5000 });
    lease = get(stage.origin);          /* only its header is asked for, and that comes whole */
    kp_discard(&lease);
    close_pool();
    open_pool((kp_http_options){ .probe = "/silent", .connect_timeout_ms = 50 });
    assert_int_equal(try_get(stage.origin, &lease), KP_ECREATE);
    assert_int_equal(stage.why.vendor_code, CURLE_OPERATION_TIMEDOUT);
    close_pool();
}

static void a_transfer_must_end_at_the_timeout_of_the_options(void **state)
{
    kp_lease lease;

    (void)state;
    open_pool((kp_http_options){ .timeout_ms = 50 });
    lease = get(stage.origin);
    assert_int_equal(ask(&lease, "/half"), CURLE_OPERATION_TIMEDOUT);
    kp_release(&lease);
    lease = get(stage.origin);
    must_answer(&lease, "/whole", "GET /whole HTTP/1.1");
    kp_release(&lease);
    close_pool();
}

/* openssl's server answers nothing but GET, so it is not probed. */
static void a_certificate_must_be_trusted_where_the_options_say_so(void **state)
{
    kp_lease lease;

    (void)state;
    open_pool((kp_http_options){ .ca_file = tls.certificate, .probe = "" });
    for (int i = 0; i < 2; i++) {
        lease = get(stage.secure);
        assert_int_equal(ask(&lease, ""), CURLE_OK);
        assert_non_null(strstr(stage.body, "s_server"));
        kp_release(&lease);
    }
    assert_non_null(strstr(stage.body, "Reused"));      /* the session, on another connection */
    close_pool();
    open_pool((kp_http_options){ .probe = "" });
    lease = get(stage.secure);
    assert_int_equal(ask(&lease, ""), CURLE_PEER_FAILED_VERIFICATION);
    kp_release(&lease);
    close_pool();
}

static void impossible_options_must_be_refused_by_name(void **state)
{
    static const struct { kp_http_options how; const char *field; } bad[] = {
        { { .connect_timeout_ms = -5 }, "http.connect_timeout_ms" },
        { { .timeout_ms = KP_NONE }, "http.timeout_ms" },
        { { .timeout_ms = INT64_MAX }, "http.timeout_ms" },
        { { .probe = "index.html" }, "http.probe" },
        { { .reserved = { 1 } }, "http.reserved" },
        { { .reserved = { [4] = 1 } }, "http.reserved" },
    };
    kp_options more = { .why = &stage.why };
    kp_pool *pool;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(kp_http_open(&bad[i].how, &more, &pool), KP_ECONFIG);
        assert_null(pool);
        assert_string_equal(stage.why.field, bad[i].field);
        assert_non_null(strstr(stage.why.text, bad[i].field));
    }
    more.limits.min_live = 5;           /* this one the pool refuses, not the adapter */
    more.limits.max_live = 3;
    assert_int_equal(kp_http_open(NULL, &more, &pool), KP_ECONFIG);
    assert_null(pool);
}

static void a_key_that_is_more_than_an_origin_must_be_refused(void **state)
{
    static const char *const bad[] = {
        "", "localhost", "ftp://localhost", "http://", "http://localhost/", "http://localhost/a",
        "http://localhost?a", "http://localhost#a", "http://me@localhost", "http://a:b@localhost",
        "http://localhost:x", "http://localhost#", "http://localhost/.", "http://localhost?",
    };
    kp_lease lease;

    (void)state;
    open_pool((kp_http_options){ .probe = "" });
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (try_get(bad[i], &lease) != KP_EREFUSED)
            fail_msg("\"%s\" was not refused", bad[i]);
        assert_int_equal(stage.why.vendor_code, CURLE_URL_MALFORMAT);
    }
    close_pool();
}

/* ---- what is not kept ------------------------------------------------------------------------ */

static int locked;

static void lock(CURL *easy, curl_lock_data what, curl_lock_access access, void *arg)
{
    (void)easy;
    (void)what;
    (void)access;
    (void)arg;
    locked++;
}

static void a_borrowers_share_must_not_be_used_by_the_next(void **state)
{
    CURLSH *share = curl_share_init();
    kp_lease lease;

    (void)state;
    assert_non_null(share);
    (void)curl_share_setopt(share, CURLSHOPT_LOCKFUNC, lock);
    (void)curl_share_setopt(share, CURLSHOPT_SHARE, CURL_LOCK_DATA_COOKIE);
    /* without them libcurl makes sessions of the handle's own, and loses them in another share */
    (void)curl_share_setopt(share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    open_pool((kp_http_options){ 0 });
    lease = get(stage.origin);
    (void)curl_easy_setopt(kp_http(&lease), CURLOPT_SHARE, share);
    must_answer(&lease, "/cookie", "set");
    kp_release(&lease);
    locked = 0;
    lease = get(stage.origin);
    (void)curl_easy_setopt(kp_http(&lease), CURLOPT_COOKIEFILE, "");
    must_answer(&lease, "/who", "");
    assert_int_equal(locked, 0);
    assert_int_equal(curl_share_cleanup(share), CURLSHE_OK);
    kp_release(&lease);
    close_pool();
}

#if LIBCURL_VERSION_NUM >= 0x074a00
/* A host that the first one knows to be https only is http for the second. */
static void a_borrowers_hsts_must_not_hold_for_the_next(void **state)
{
    char file[128], at[64], url[64];
    struct curl_slist *resolved;
    kp_lease lease;
    FILE *f;

    (void)state;
    (void)snprintf(file, sizeof file, "%s/hsts", tls.server.folder);
    (void)snprintf(at, sizeof at, "strict.test:%d:127.0.0.1", web.port);
    (void)snprintf(url, sizeof url, "http://strict.test:%d/x", web.port);
    f = fopen(file, "w");
    assert_non_null(f);
    (void)fputs("strict.test \"29990101 00:00:00\"\n", f);
    assert_int_equal(fclose(f), 0);
    open_pool((kp_http_options){ 0 });
    lease = get(stage.origin);
    (void)curl_easy_setopt(kp_http(&lease), CURLOPT_HSTS_CTRL, (long)CURLHSTS_ENABLE);
    (void)curl_easy_setopt(kp_http(&lease), CURLOPT_HSTS, file);
    must_answer(&lease, "/x", "GET /x HTTP/1.1");
    kp_release(&lease);
    lease = get(stage.origin);
    resolved = curl_slist_append(NULL, at);
    (void)curl_easy_setopt(kp_http(&lease), CURLOPT_RESOLVE, resolved);
    (void)curl_easy_setopt(kp_http(&lease), CURLOPT_URL, url);
    must_answer(&lease, "", "GET /x HTTP/1.1");
    kp_release(&lease);
    curl_slist_free_all(resolved);
    close_pool();
}
#endif

static int start(void **state)
{
    (void)state;
    if (web_start() != 0)
        return -1;
    (void)snprintf(stage.origin, sizeof stage.origin, "http://127.0.0.1:%d", web.port);
    (void)snprintf(stage.secure, sizeof stage.secure, "https://localhost:%d", tls.port);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    web_stop();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_transfers_of_many_borrowers_must_take_one_connection),
        cmocka_unit_test(two_leases_must_have_two_connections),
        cmocka_unit_test(a_server_that_closes_after_an_answer_must_not_cost_the_handle),
        cmocka_unit_test(an_idle_connection_that_ended_must_be_noticed),
        cmocka_unit_test(a_connection_that_was_replaced_must_not_be_taken_for_a_dead_handle),
        cmocka_unit_test(an_answer_that_nobody_asked_for_must_end_the_connection_at_once),
        cmocka_unit_test(the_options_must_hold_for_each_borrower),
        cmocka_unit_test(a_probe_must_be_asked_or_not_as_the_options_say),
        cmocka_unit_test(a_transfer_must_end_at_the_timeout_of_the_options),
        cmocka_unit_test(a_certificate_must_be_trusted_where_the_options_say_so),
        cmocka_unit_test(a_borrowers_share_must_not_be_used_by_the_next),
#if LIBCURL_VERSION_NUM >= 0x074a00
        cmocka_unit_test(a_borrowers_hsts_must_not_hold_for_the_next),
#endif
        cmocka_unit_test(impossible_options_must_be_refused_by_name),
        cmocka_unit_test(a_key_that_is_more_than_an_origin_must_be_refused),
    };

    return cmocka_run_group_tests_name("http", tests, start, stop);
}
