/* SPDX-License-Identifier: MIT
 *
 * The stage of the tests of the HTTP adapter that never blocks: a pool on a loop of its own, which
 * leaves no descriptor behind, and transfers to await.
 */
#ifndef TESTS_ADAPTERS_HTTP_LOOP_STAGE_H
#define TESTS_ADAPTERS_HTTP_LOOP_STAGE_H

#include <keyedpool_http.h>

#include <dirent.h>

#include "adapters/http_server.h"
#include "adapters/loop_cases.h"

enum { MANY = 8 };

static kp_http_counts counted;
static int descriptors;
static char origin[48];

static int open_descriptors(void)
{
    DIR *all = opendir("/proc/self/fd");
    int n = 0;

    assert_non_null(all);
    while (readdir(all))
        n++;
    (void)closedir(all);
    return n;
}

static void open_pool(kp_http_options how)
{
    kp_options more;

    descriptors = open_descriptors();
    more = plan_on_loop();
    more.limits.max_live = MANY;
    memset(&counted, 0, sizeof counted);
    how.watcher = glue_watcher(&stage.loop);
    how.counts = &counted;
    if (kp_http_open(&how, &more, &stage.pool) != 0)
        fail_msg("open: %s", stage.why.text);
}

static void close_pool(void)
{
    kp_http_counts counts;

    end_loop();
    counts = kp_http_counts_read(&counted);
    assert_int_equal(counts.opened, counts.closed);
    assert_int_equal(open_descriptors(), descriptors);
}

/* ---- transfers ------------------------------------------------------------------------------- */

struct transfer {
    int      ends;
    CURLcode result;
    char     url[128], body[2048];
};

static struct transfer transfers[MANY];

static size_t keep(char *data, size_t one, size_t size, void *into)
{
    struct transfer *t = into;
    size_t room = sizeof t->body - 1 - strlen(t->body);

    (void)one;
    (void)strncat(t->body, data, size < room ? size : room);
    return size;
}

static void on_end(CURL *curl, CURLcode result, void *arg)
{
    struct transfer *t = arg;

    (void)curl;
    t->ends++;
    t->result = result;
}

/* Whole URLs are taken as they are. */
static CURL *set_up(struct transfer *t, const kp_lease *lease, const char *path)
{
    CURL *curl = kp_http(lease);

    memset(t, 0, sizeof *t);
    (void)snprintf(t->url, sizeof t->url, "%s%s", *path == '/' ? origin : "", path);
    (void)curl_easy_setopt(curl, CURLOPT_URL, t->url);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
    return curl;
}

static struct transfer *begin_transfer(int number, const char *path)
{
    const kp_lease *lease = &stage.ask[number].lease;
    struct transfer *t = &transfers[number];

    (void)set_up(t, lease, path);
    assert_int_equal(kp_http_start(lease, on_end, t), 0);
    return t;
}

static CURLcode await_end(const struct transfer *t)
{
    while (t->ends == 0)
        turn();
    assert_int_equal(t->ends, 1);
    return t->result;
}

static void must_answer(int number, const char *path, const char *expected)
{
    struct transfer *t = begin_transfer(number, path);
    CURLcode rc = await_end(t);

    if (rc != CURLE_OK)
        fail_msg("%s: %s", path, curl_easy_strerror(rc));
    assert_string_equal(t->body, expected);
}

/* The request is with the server, or on its way. */
static void await_sent(int number)
{
    long size = 0;

    while (size == 0) {
        turn();
        (void)curl_easy_getinfo(kp_http(&stage.ask[number].lease), CURLINFO_REQUEST_SIZE, &size);
    }
}

static curl_socket_t socket_of(int number)
{
    curl_socket_t fd = CURL_SOCKET_BAD;

    (void)curl_easy_getinfo(kp_http(&stage.ask[number].lease), CURLINFO_ACTIVESOCKET, &fd);
    assert_true(fd >= 0);
    return fd;
}

/* ---- for loop_cases.h ------------------------------------------------------------------------ */

static void open_within(int64_t connect_timeout_ms)
{
    open_pool((kp_http_options){ .connect_timeout_ms = connect_timeout_ms });
}

static const char *here(void)
{
    return origin;
}

static void deaf_key(char *key, size_t size, int port)
{
    (void)snprintf(key, size, "http://127.0.0.1:%d", port);
}

/* "timed out after ...", or "timeout after ...". */
static bool is_late(const kp_why *why)
{
    return why->vendor_code == CURLE_OPERATION_TIMEDOUT && strstr(why->text, " after ");
}

static void must_work(const kp_lease *lease)
{
    struct transfer t;

    (void)set_up(&t, lease, "/work");
    assert_int_equal(kp_http_start(lease, on_end, &t), 0);
    assert_int_equal(await_end(&t), CURLE_OK);
    assert_string_equal(t.body, "GET /work HTTP/1.1");
}

#endif
