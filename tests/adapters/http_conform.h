/* SPDX-License-Identifier: MIT
 *
 * The HTTP adapter, held to what every adapter must hold to. Who includes this says how a transfer
 * is run (perform), and what else a borrower may leave.
 */
#ifndef TESTS_ADAPTERS_HTTP_CONFORM_H
#define TESTS_ADAPTERS_HTTP_CONFORM_H

#include <keyedpool_http.h>

#include "adapters/conform.h"
#include "adapters/http_server.h"

static char origins[5][48];
static kp_key keys[2];
static int silent;

/* Their keys are known once it has started. */
static struct conform_wrong wrong[] = {
    { "a closed port", { 0 }, KP_ECREATE, CURLE_COULDNT_CONNECT,
      { "connect", "127.0.0.1" }, NULL, NULL },
    { "a certificate that nobody vouches for", { 0 }, KP_ECREATE, CURLE_PEER_FAILED_VERIFICATION,
      { "certificate", "https://localhost" }, NULL, NULL },
    { "a server that says nothing", { 0 }, KP_ECREATE, CURLE_OPERATION_TIMEDOUT,
      { "timed out" }, NULL, NULL },
    { "an unknown host", { 0 }, KP_ECREATE, 0, { "nowhere.invalid" }, NULL, NULL },
    { "a key that is no origin", { 0 }, KP_EREFUSED, CURLE_URL_MALFORMAT, { "a key must be http" },
      NULL, NULL },
    { 0 },
};

static int start(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET };
    socklen_t size = sizeof at;

    if (web_start() != 0)
        return -1;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    silent = peer_listen((struct sockaddr *)&at, sizeof at);
    (void)getsockname(silent, (struct sockaddr *)&at, &size);
    (void)snprintf(origins[0], sizeof *origins, "http://127.0.0.1:%d", web.port);
    (void)snprintf(origins[1], sizeof *origins, "http://localhost:%d", web.port);
    (void)snprintf(origins[2], sizeof *origins, "http://127.0.0.1:%d", server_free_port());
    (void)snprintf(origins[3], sizeof *origins, "https://localhost:%d", tls.port);
    (void)snprintf(origins[4], sizeof *origins, "http://127.0.0.1:%d", ntohs(at.sin_port));
    keys[0] = kp_str(origins[0]);
    keys[1] = kp_str(origins[1]);
    for (int i = 0; i < 3; i++)
        wrong[i].key = kp_str(origins[2 + i]);
    wrong[3].key = kp_str("http://nowhere.invalid");
    wrong[4].key = kp_str("http://user:password@localhost/");
    return 0;
}

static void stop(void)
{
    (void)close(silent);
    web_stop();
}

/* ---- use ------------------------------------------------------------------------------------- */

static char body[256];

static size_t keep(char *data, size_t one, size_t size, void *into)
{
    char *text = into;
    size_t room = sizeof body - 1 - strlen(text);

    (void)one;
    (void)strncat(text, data, size < room ? size : room);
    return size;
}

static void write_to(CURL *e, char *text)
{
    (void)curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, keep);
    (void)curl_easy_setopt(e, CURLOPT_WRITEDATA, (void *)text);
}

static CURLcode perform(void *resource);

static CURL *easy_of(void *resource)
{
    kp_lease lease = { .resource = resource };

    return kp_http(&lease);
}

static const char *use(void *resource)
{
    static _Thread_local char text[sizeof body];
    CURL *e = easy_of(resource);
    CURLcode rc;

    memset(text, 0, sizeof text);
    write_to(e, text);
    rc = perform(resource);
    if (rc != CURLE_OK)
        return curl_easy_strerror(rc);
    return strcmp(text, "GET / HTTP/1.1") == 0 ? NULL : text;
}

static void ruin(void *resource)
{
    curl_socket_t fd = CURL_SOCKET_BAD;

    (void)curl_easy_getinfo(easy_of(resource), CURLINFO_ACTIVESOCKET, &fd);
    (void)shutdown(fd, SHUT_RDWR);
}

/* ---- what is left open ----------------------------------------------------------------------- */

static void get_path(void *resource, const char *path)
{
    char url[128];

    (void)snprintf(url, sizeof url, "%s%s", origins[0], path);
    (void)curl_easy_setopt(easy_of(resource), CURLOPT_URL, url);
    (void)perform(resource);
}

static size_t read_no_more(char *data, size_t one, size_t size, void *into)
{
    (void)data;
    (void)into;
    return one * size - 1;
}

static void leave_half_a_body(void *resource)
{
    (void)curl_easy_setopt(easy_of(resource), CURLOPT_WRITEFUNCTION, read_no_more);
    get_path(resource, "/half");
}

static void leave_a_body_that_never_ends(void *resource)
{
    (void)curl_easy_setopt(easy_of(resource), CURLOPT_TIMEOUT_MS, 50L);
    write_to(easy_of(resource), body);
    get_path(resource, "/half");
}

/* By hand: half of an answer is read, and half is in the kernel or on its way. */
static void leave_a_raw_connection(void *resource)
{
    static const char request[] = "GET /half HTTP/1.1\r\n\r\n";
    CURL *e = easy_of(resource);
    size_t n;

    (void)curl_easy_setopt(e, CURLOPT_CONNECT_ONLY, 1L);
    get_path(resource, "");
    (void)curl_easy_send(e, request, sizeof request - 1, &n);
}

static void leave_a_post(void *resource)
{
    (void)curl_easy_setopt(easy_of(resource), CURLOPT_COPYPOSTFIELDS, "a=b");
    write_to(easy_of(resource), body);
    get_path(resource, "/");
}

static bool answers_wrong(void *resource)
{
    return use(resource) != NULL;
}

static void leave_a_cookie(void *resource)
{
    (void)curl_easy_setopt(easy_of(resource), CURLOPT_COOKIEFILE, "");
    write_to(easy_of(resource), body);
    get_path(resource, "/cookie");
}

static bool has_a_cookie(void *resource)
{
    CURL *e = easy_of(resource);

    memset(body, 0, sizeof body);
    (void)curl_easy_setopt(e, CURLOPT_COOKIEFILE, "");
    write_to(e, body);
    get_path(resource, "/who");
    (void)curl_easy_setopt(e, CURLOPT_URL, origins[0]);
    return body[0] != '\0';
}

static int run_conform(const char *name, int (*fill)(kp_options *options),
                       struct conform_left also)
{
    const struct conform_left left[] = {
        { "a body that was half read", leave_half_a_body, answers_wrong },
        { "a body that never ends", leave_a_body_that_never_ends, answers_wrong },
        { "a raw connection", leave_a_raw_connection, answers_wrong },
        { "a POST", leave_a_post, answers_wrong },
        { "a cookie", leave_a_cookie, has_a_cookie },
        also,
        { 0 },
    };
    const struct conform subject = {
        .name = name, .start = start, .stop = stop, .fill = fill, .keys = keys,
        .keys_count = 2, .use = use, .ruin = ruin, .left = left, .wrong = wrong,
        .secret = "password", .kill = web_kill, .restart = web_restart,
    };

    return conform_run(&subject);
}

#endif
