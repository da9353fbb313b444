/* SPDX-License-Identifier: MIT
 *
 * The HTTP adapter where libcurl fails half-way, or a server says too much: what the next borrower
 * must not see of it.
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
    char     origin[48], body[256];
} stage;

static void open_pool(const kp_http_options *how)
{
    kp_options more = { .limits = { .max_live = 1, .retry_first_ms = KP_NONE } };

    assert_int_equal(kp_http_open(how, &more, &stage.pool), 0);
}

static void close_pool(void)
{
    assert_int_equal(kp_pool_close(stage.pool, KP_CLOSE_WAIT, KP_SECONDS(20)), 0);
}

static kp_lease get(void)
{
    kp_lease lease;

    assert_int_equal(kp_get(stage.pool, kp_str(stage.origin), KP_IN_S(10), &lease), 0);
    return lease;
}

static size_t keep(char *data, size_t one, size_t size, void *into)
{
    (void)one;
    (void)into;
    (void)snprintf(stage.body, sizeof stage.body, "%.*s", (int)size, data);
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

/* ---- what was to be sent --------------------------------------------------------------------- */

static size_t give_up(char *data, size_t one, size_t size, void *unused)
{
    (void)data;
    (void)one;
    (void)size;
    (void)unused;
    return CURL_READFUNC_ABORT;
}

static int seek(void *unused, curl_off_t to, int from)
{
    (void)unused;
    (void)to;
    (void)from;
    return CURL_SEEKFUNC_OK;
}

/* libcurl has written the header and fails before it is sent. 0: the function that reads what is to
 * be sent gives up. 1: nothing is left to be sent; the connection stays. 2: the server of HTTP/1.0
 * has sent it to another path, and takes nothing whose length is not known. */
static CURLcode fail_to_send(const kp_lease *lease, int how)
{
    CURL *curl = kp_http(lease);

    (void)curl_easy_setopt(curl, CURLOPT_USERPWD, "me:secret");
    (void)curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_RESUME_FROM, how < 2 ? 5L : 0L);
    (void)curl_easy_setopt(curl, CURLOPT_INFILESIZE, how == 1 ? 5L : -1L);
    (void)curl_easy_setopt(curl, CURLOPT_READFUNCTION, give_up);
    (void)curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, how == 0 ? NULL : seek);
    (void)curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    return ask(lease, how == 2 ? "/moved" : "/password");
}

/* On a new connection, on an old one, and on the one of the probe. */
static void a_borrowers_password_must_not_be_sent_for_the_next(void **state)
{
    const CURLcode failed[] = { CURLE_READ_ERROR, CURLE_PARTIAL_FILE, CURLE_UPLOAD_FAILED };
    kp_lease lease;

    (void)state;
    for (int i = 0; i < 9; i++) {
        open_pool(&(kp_http_options){ .probe = i % 3 < 2 ? "" : "/" });
        lease = get();
        if (i % 3 == 1)
            assert_int_equal(ask(&lease, "/password"), CURLE_OK);
        kp_release(&lease);
        lease = get();
        assert_int_equal(fail_to_send(&lease, i / 3), failed[i / 3]);
        kp_release(&lease);
        lease = get();
        assert_int_equal(ask(&lease, "/password"), CURLE_OK);
        assert_string_equal(stage.body, "");
        kp_release(&lease);
        close_pool();
    }
}

/* It went on by itself, with a password or to another path, and had the answer to that, too. */
static void a_request_that_was_denied_must_keep_its_connection(void **state)
{
    static const char *const paths[] = { "/denied", "/gone" };
    kp_http_counts counts;
    kp_lease lease;

    (void)state;
    for (int i = 0; i < 2; i++) {
        counts = (kp_http_counts){ 0 };
        open_pool(&(kp_http_options){ .counts = &counts });
        for (int again = 0; again < 3; again++) {
            lease = get();
            (void)curl_easy_setopt(kp_http(&lease), CURLOPT_FOLLOWLOCATION, 1L);
            (void)curl_easy_setopt(kp_http(&lease), CURLOPT_HTTPAUTH, CURLAUTH_ANY);
            (void)curl_easy_setopt(kp_http(&lease), CURLOPT_USERPWD, i ? NULL : "me:wrong");
            assert_int_equal(ask(&lease, paths[i]), CURLE_OK);
            kp_release(&lease);
        }
        assert_int_equal(kp_http_counts_read(&counts).sockets, 1);
        close_pool();
    }
}

/* ---- what was not asked for ------------------------------------------------------------------ */

/* After a whole answer another one comes, which libcurl does not read before its next request. 0:
 * while the handle is lent. 1: while it is idle. 2: while it is lent, on a connection that the pool
 * does not know, since the borrower's curl_easy_reset has taken the pool's functions away. */
static void an_answer_that_nobody_asked_for_must_not_be_the_nexts(void **state)
{
    kp_options more = { .limits = { .max_live = 2, .retry_first_ms = KP_NONE,
                                    .validate_after_ms = KP_NONE } };

    (void)state;
    for (int when = 0; when < 3; when++) {
        kp_http_options how = { .probe = when == 2 ? "" : "/" };
        struct pollfd p = { .events = POLLIN };
        kp_lease lease, other;

        assert_int_equal(kp_http_open(&how, &more, &stage.pool), 0);
        lease = get();
        other = get();
        if (when == 2)
            curl_easy_reset(kp_http(&lease));
        assert_int_equal(ask(&lease, "/listen"), CURLE_OK);
        assert_int_equal(curl_easy_getinfo(kp_http(&lease), CURLINFO_ACTIVESOCKET, &p.fd),
                         CURLE_OK);
        if (when == 1)
            kp_release(&lease);
        assert_int_equal(ask(&other, "/unasked"), CURLE_OK);
        assert_string_equal(stage.body, "GET /unasked HTTP/1.1");
        assert_int_equal(poll(&p, 1, 10000), 1);
        if (when != 1)
            kp_release(&lease);
        lease = get();                  /* `other` is lent: this is the one that was told */
        assert_int_equal(ask(&lease, "/mine"), CURLE_OK);
        assert_string_equal(stage.body, "GET /mine HTTP/1.1");
        kp_release(&lease);
        kp_release(&other);
        close_pool();
    }
}

/* ---- whether the server is gone -------------------------------------------------------------- */

static int invalid, gone;               /* gone: of the invalid ones, KP_EGONE */

static void note(const kp_event *event, void *ctx)
{
    (void)ctx;
    invalid += event->kind == KP_EVENT_INVALID;
    gone += event->kind == KP_EVENT_INVALID && event->code == KP_EGONE;
}

static CURLcode two_addresses(CURL *curl, kp_key key, void *names)
{
    (void)key;
    return curl_easy_setopt(curl, CURLOPT_RESOLVE, (struct curl_slist *)names);
}

/* Nobody listens at the first address, and the other one takes too long for an answer. */
static void an_address_that_refused_must_not_make_a_late_answer_the_servers_end(void **state)
{
    kp_options more = { .on_event = note, .limits.retry_first_ms = KP_NONE };
    kp_http_options how = { .prepare = two_addresses };
    struct curl_slist *names;
    char origin[48], text[80];
    kp_lease lease;

    (void)state;
    invalid = gone = 0;
    (void)snprintf(text, sizeof text, "two.test:%d:127.0.0.2,127.0.0.1", web.port);
    (void)snprintf(origin, sizeof origin, "http://two.test:%d", web.port);
    how.ctx = names = curl_slist_append(NULL, text);
    assert_int_equal(kp_http_open(&how, &more, &stage.pool), 0);
    assert_int_equal(kp_get(stage.pool, kp_str(origin), KP_IN_S(10), &lease), 0);
    (void)snprintf(text, sizeof text, "%s/silent", origin);
    (void)curl_easy_setopt(kp_http(&lease), CURLOPT_URL, text);
    (void)curl_easy_setopt(kp_http(&lease), CURLOPT_TIMEOUT_MS, 50L);
    assert_int_equal(curl_easy_perform(kp_http(&lease)), CURLE_OPERATION_TIMEDOUT);
    kp_release(&lease);
    assert_int_equal(invalid, 1);
    assert_int_equal(gone, 0);
    close_pool();
    curl_slist_free_all(names);
}

/* ---- connections that libcurl forgets -------------------------------------------------------- */

static int descriptors(void)
{
    int n = 0;

    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* One is made to be used by hand; then there is a transfer, on another one. */
static void connections_that_libcurl_forgets_must_not_add_up(void **state)
{
    int before = descriptors();
    kp_lease lease;

    (void)state;
    open_pool(&(kp_http_options){ 0 });
    for (int i = 0; i < 9; i++) {
        lease = get();
        (void)curl_easy_setopt(kp_http(&lease), CURLOPT_CONNECT_ONLY, 1L);
        assert_int_equal(ask(&lease, "/"), CURLE_OK);
        (void)curl_easy_setopt(kp_http(&lease), CURLOPT_CONNECT_ONLY, 0L);
        assert_int_equal(ask(&lease, "/"), CURLE_OK);
        kp_release(&lease);
        assert_in_range(descriptors(), 0, before + 8);      /* the pool has some itself */
    }
    close_pool();
}

/* ---- memory ---------------------------------------------------------------------------------- */

static const char *missing;             /* libcurl gets no memory for a copy of this */

static char *copy(const char *text)
{
    return missing && strcmp(text, missing) == 0 ? NULL : strdup(text);
}

/* Neither the URL of the key nor the user agent: not when it is made, nor when it comes back. */
static void a_handle_that_lacks_an_option_must_not_be_lent(void **state)
{
    const char *texts[] = { stage.origin, "kp/1" };
    kp_why why = { 0 };
    kp_lease lease;

    (void)state;
    for (int i = 0; i < 4; i++) {
        open_pool(&(kp_http_options){ .probe = "", .user_agent = "kp/1" });
        if (i % 2) {
            lease = get();
            missing = texts[i / 2];
            kp_release(&lease);
        } else {
            missing = texts[i / 2];
            assert_int_equal(kp_get(stage.pool, kp_str(stage.origin),
                                    KP_ASK(.within_ms = 10000, .why = &why), &lease), KP_ECREATE);
            assert_int_equal(why.vendor_code, CURLE_OUT_OF_MEMORY);
        }
        missing = NULL;
        lease = get();
        assert_int_equal(ask(&lease, ""), CURLE_OK);
        assert_int_equal(ask(&lease, "/agent"), CURLE_OK);
        assert_string_equal(stage.body, "kp/1");
        kp_release(&lease);
        close_pool();
    }
}

static int start(void **state)
{
    (void)state;
    if (curl_global_init_mem(CURL_GLOBAL_ALL, malloc, free, realloc, copy, calloc) != CURLE_OK ||
        web_start() != 0)
        return -1;
    (void)snprintf(stage.origin, sizeof stage.origin, "http://127.0.0.1:%d", web.port);
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
        cmocka_unit_test(a_borrowers_password_must_not_be_sent_for_the_next),
        cmocka_unit_test(a_request_that_was_denied_must_keep_its_connection),
        cmocka_unit_test(an_answer_that_nobody_asked_for_must_not_be_the_nexts),
        cmocka_unit_test(an_address_that_refused_must_not_make_a_late_answer_the_servers_end),
        cmocka_unit_test(connections_that_libcurl_forgets_must_not_add_up),
        cmocka_unit_test(a_handle_that_lacks_an_option_must_not_be_lent),
    };

    return cmocka_run_group_tests_name("http_failed", tests, start, stop);
}
