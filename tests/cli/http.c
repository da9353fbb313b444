/* SPDX-License-Identifier: MIT
 *
 * The command and an HTTP server, with TLS and without.
 */
#include "cli/run.h"

#include "adapters/http_server.h"

#include <sys/resource.h>

static const char *at(const char *user, const char *path)
{
    static char text[200];

    (void)snprintf(text, sizeof text, "http://%s127.0.0.1:%d%s", user, web.port, path);
    return text;
}

/* Like the server's own, but who says nothing of himself does not see /private, /once and /busy are
 * there every second time only, and /first the first time: then there is no answer. */
static bool ask_who(int fd)
{
    char request[4096] = "", value[64];
    static int gone, busy, first;
    bool no = false;

    if (recv(fd, request, sizeof request - 1, MSG_PEEK) <= 0)
        return false;
    if (strstr(request, "GET /first") && first++)
        return recv(fd, request, sizeof request, 0) > 0;
    if (strstr(request, "GET /private"))
        no = strcmp(web_header(request, "Authorization: ", value, sizeof value),
                    "Basic bWU6b3Blbi1zZXNhbWU=") != 0;
    else if (strstr(request, "GET /once"))
        no = gone++ % 2;
    else if (strstr(request, "GET /busy"))
        no = busy++ % 2;
    if (!no)
        return web_answer(fd);
    (void)!recv(fd, request, sizeof request, 0);
    return web_send(fd, !strstr(request, "/private")
                            ? "HTTP/1.1 503 Gone\r\nContent-Length: 0\r\n\r\n"
                            : "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
}

static int start(void **state)
{
    (void)state;
    if (web_start() != 0)
        return -1;
    peer_kill(&web);
    web.answer = ask_who;
    return web_restart();
}

static int stop(void **state)
{
    (void)state;
    web_stop();
    return 0;
}

/* ---- bench ----------------------------------------------------------------------------------- */

static void bench_must_load_a_server_and_report_it(void **state)
{
    (void)state;
    RUN("bench", at("", "/some/path"), "-z", "100ms", "-c", "4", "--size", "2", "-o", "json");
    it_must_have_measured("http", at("", "/some/path"), "GET");
    RUN("bench", at("me:open-sesame@", "/private?token=hush#hush"), "-z", "100ms", "-c", "2");
    assert_int_equal(said.status, 0);
    said_must_have(said.out, at("me@", "/private,"));
    said_must_have(said.out, "libcurl");
    nothing_must_show("open-sesame");
    nothing_must_show("hush");
}

/* 127.0.0.1, in octal and with as many zeros as the longest of names has letters. */
static void a_long_host_must_be_kept_whole(void **state)
{
    char host[254], long_url[300];

    (void)state;
    memset(host, '0', sizeof host - 1);
    memcpy(host + sizeof host - 10, "177.0.0.1", 10);
    (void)snprintf(long_url, sizeof long_url, "http://%s:%d", host, web.port);
    RUN("bench", long_url, "-z", "50ms", "-c", "2");
    if (said.status != 0)
        fail_msg("status %d: %s", said.status, said.err);
}

static void bench_must_say_why_it_gets_no_answer(void **state)
{
    char nobody[64];

    (void)state;
    RUN("bench", at("me:no-such-word@", "/private"), "-z", "100ms");
    it_must_fail(3, "the server answered 401: user or password is missing or wrong");
    nothing_must_show("no-such-word");
    (void)snprintf(nobody, sizeof nobody, "http://127.0.0.1:%d", server_free_port());
    RUN("bench", nobody, "-z", "100ms");
    it_must_fail(3, "Failed to connect");
    (void)snprintf(nobody, sizeof nobody, "https://localhost:%d", tls.port);
    RUN("bench", nobody, "-z", "100ms");
    it_must_fail(3, "certificate");
}

/* They take two seconds to end, and there would be 40 more requests, if it were not over. */
static void requests_after_the_end_must_not_count_as_due(void **state)
{
    json_t *o;

    (void)state;
    RUN("bench", at("", "/first"), "-r", "20", "-c", "16", "--size", "16", "-z", "200ms",
        "--timeout", "2s", "-o", "json");
    assert_int_equal(said.status, 1);
    o = said_object("keyedpool-bench-1");
    assert_in_range(json_integer_value(json_object_get(json_object_get(o, "result"), "unserved")),
                    0, 14);
    json_decref(o);
}

/* HEAD and GET, by which bench tries the server before the run; nobody is answered after that. */
static bool answer_two(int fd)
{
    char request[4096];
    static int answered;

    if (recv(fd, request, sizeof request, 0) <= 0)
        return false;
    return answered++ >= 2 || web_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

/* It is the server that failed, not the connection. */
static void an_answer_that_is_an_error_must_not_cost_a_connection(void **state)
{
    json_t *o, *result, *stats;

    (void)state;
    RUN("bench", at("", "/busy"), "-c", "1", "--size", "1", "-z", "200ms", "-o", "json");
    assert_int_equal(said.status, 1);
    o = said_object("keyedpool-bench-1");
    result = json_object_get(o, "result");
    stats = json_object_get(o, "stats");
    said_must_have(text_at(result, "first_error"), "the server answered 503");
    assert_true(json_integer_value(json_object_get(result, "errors")) > 0);
    assert_true(json_integer_value(json_object_get(result, "operations")) > 0);
    assert_int_equal(json_integer_value(json_object_get(stats, "creates")), 1);
    assert_int_equal(json_integer_value(json_object_get(stats, "live")), 1);
    json_decref(o);
}

static void what_was_not_measured_must_not_look_like_no_time(void **state)
{
    struct peer other = { .port = server_free_port(), .answer = answer_two };
    char nobody[64];

    (void)state;
    assert_int_equal(peer_start(&other), 0);
    (void)snprintf(nobody, sizeof nobody, "http://127.0.0.1:%d", other.port);
    RUN("bench", nobody, "-c", "2", "-z", "300ms", "-P", "100ms", "--timeout", "1s");
    peer_kill(&other);
    assert_int_equal(said.status, 1);
    said_must_have(said.err, "0 gets/s, wait p99 -, hold p99 -, ");
    said_must_have(said.out, "\n  wait                    -         -         -         -");
    said_must_have(said.out, "\n  hold                    -         -         -         -");
    assert_null(strstr(said.out, "0 ns"));
    assert_null(strstr(said.out, "histogram"));
}

static void bench_must_say_that_an_origin_is_one_key(void **state)
{
    (void)state;
    RUN("bench", at("", "/"), "-k", "2");
    it_must_fail(2, "-k: http has only one key");
}

/* ---- doctor ---------------------------------------------------------------------------------- */

static void doctor_must_say_whether_connections_can_be_used_again(void **state)
{
    (void)state;
    RUN("doctor", "--json", at("me:open-sesame@", "/private"));
    it_must_have_found(NULL, "connect", "ok", "GET took");
    it_must_have_found(NULL, "version", "ok", "it speaks HTTP/1.1");
    it_must_have_found(NULL, "reuse", "ok", "a second GET used the same connection");
    nothing_must_show("open-sesame");
    RUN("doctor", "--json", at("", "/close"));
    it_must_have_found(NULL, "reuse", "warn", "a pool gains nothing");
    RUN("doctor", "--json", at("", "/once"));
    it_must_have_found(NULL, "again", "fail", "the second GET failed: the server answered 503");
}

static rlim_t most_files;

static void as_many_files_as_doctor_says(void)
{
    struct rlimit limit = { most_files, most_files };

    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        _exit(126);
}

/* libcurl has two more in each handle. */
static void the_files_that_doctor_says_are_needed_must_do(void **state)
{
    json_t *o;

    (void)state;
    RUN("doctor", "--json", "--size", "40", at("", "/"));
    o = said_object("keyedpool-doctor-1");
    most_files = (rlim_t)found_number(o, "open_files", "need");
    json_decref(o);
    assert_int_equal(most_files, 3 * 40 + 64);
    run_before = as_many_files_as_doctor_says;
    RUN("bench", at("", "/"), "-c", "40", "--size", "40", "-z", "300ms");
    if (said.status != 0)
        fail_msg("status %d: %s%s", said.status, said.out, said.err);
    assert_string_equal(said.err, "");
}

static void doctor_must_say_why_a_server_is_not_reached(void **state)
{
    char url[64];

    (void)state;
    RUN("doctor", "--json", at("", "/private"));
    it_must_have_found(NULL, "connect", "fail", "the server answered 401");
    (void)snprintf(url, sizeof url, "https://localhost:%d", tls.port);
    RUN("doctor", "--json", url);
    it_must_have_found(NULL, "connect", "fail", "certificate");
    RUN("doctor", "--json", at("", "/silent"), "--timeout", "100ms");
    it_must_have_found(NULL, "connect", "fail", "timed out");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bench_must_load_a_server_and_report_it),
        cmocka_unit_test(a_long_host_must_be_kept_whole),
        cmocka_unit_test(bench_must_say_why_it_gets_no_answer),
        cmocka_unit_test(requests_after_the_end_must_not_count_as_due),
        cmocka_unit_test(an_answer_that_is_an_error_must_not_cost_a_connection),
        cmocka_unit_test(what_was_not_measured_must_not_look_like_no_time),
        cmocka_unit_test(bench_must_say_that_an_origin_is_one_key),
        cmocka_unit_test(doctor_must_say_whether_connections_can_be_used_again),
        cmocka_unit_test(the_files_that_doctor_says_are_needed_must_do),
        cmocka_unit_test(doctor_must_say_why_a_server_is_not_reached),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
