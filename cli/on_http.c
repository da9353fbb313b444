/* SPDX-License-Identifier: MIT
 *
 * The backend http: the origin of the URL is the only key, and to GET the URL is the operation.
 * Whatever is not an answer below 400 has failed.
 */
#include "doctor.h"

#include <keyedpool_http.h>

#include <stdio.h>
#include <string.h>

static const char *version(void)
{
    return curl_version_info(CURLVERSION_NOW)->version;
}

static int open_pool(const struct target *t, int64_t size, const kp_options *more, kp_pool **out)
{
    kp_http_options http = { .user_agent = "keyedpool", .timeout_ms = t->within_ms };
    kp_options options = *more;

    /* libcurl would refuse it, but once it is connected, and with fewer words */
    for (const char *at = t->url; *at; at++) {
        if ((unsigned char)*at <= ' ' || *at == 0x7f) {
            (void)text_of(more->why->text, sizeof more->why->text,
                          "in a URL a blank is written %%20");
            return KP_ECONFIG;
        }
    }
    options.limits.max_live = size;
    return kp_http_open(&http, &options, out);
}

static size_t forget(char *data, size_t size, size_t count, void *arg)
{
    (void)data;
    (void)arg;
    return size * count;
}

/* libcurl takes the user and the password from the URL. */
static enum outcome operate(kp_lease *lease, const struct target *t, struct task task, char *why,
                            size_t size)
{
    char detail[CURL_ERROR_SIZE] = "";
    CURL *curl = kp_http(lease);
    long status = 0;
    CURLcode rc;

    (void)task;
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, forget);
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
    rc = curl_easy_setopt(curl, CURLOPT_URL, t->url);
    if (rc == CURLE_OK)
        rc = curl_easy_perform(curl);
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (rc == CURLE_OK && status < 400)
        return DONE;
    if (rc != CURLE_OK)
        (void)snprintf(why, size, "%s", *detail ? detail : curl_easy_strerror(rc));
    else
        (void)snprintf(why, size, "the server answered %ld%s", status,
                       status == 401 ? ": user or password is missing or wrong" : "");
    return rc == CURLE_OK ? FAILED : BROKEN;
}

/* ---- what a doctor sees ---------------------------------------------------------------------- */

static const char *words_of(long http_version)
{
    return http_version == CURL_HTTP_VERSION_1_0   ? "HTTP/1.0"
           : http_version == CURL_HTTP_VERSION_1_1 ? "HTTP/1.1"
           : http_version == CURL_HTTP_VERSION_2_0 ? "HTTP/2"
                                                   : "HTTP/3";
}

/* One GET has been answered on this handle: does the next one use the same connection? */
static void examine(struct doctor *d, const struct target *t, kp_lease *lease)
{
    long protocol = 0, connections = 0;
    char why[300];

    if (operate(lease, t, (struct task){ false, ANY }, why, sizeof why) != DONE) {
        doctor_say(d, MARK_FAIL, "again", "the second GET failed: %s", why);
        return;
    }
    (void)curl_easy_getinfo(kp_http(lease), CURLINFO_HTTP_VERSION, &protocol);
    (void)curl_easy_getinfo(kp_http(lease), CURLINFO_NUM_CONNECTS, &connections);
    doctor_say(d, MARK_OK, "version", "it speaks %s", words_of(protocol));
    if (connections == 0)
        doctor_say(d, MARK_OK, "reuse", "a second GET used the same connection");
    else
        doctor_say(d, MARK_WARN, "reuse",
                   "a second GET needed a new connection: with such a server a pool gains nothing");
}

const struct backend http_backend = {
    .library = "libcurl", .operation = "GET", .one_key = true,
    .files = 3,                         /* the socket, and two by which libcurl wakes itself */
    .no_place = CURLE_URL_MALFORMAT, .version = version,
    .open = open_pool, .operate = operate, .examine = examine,
};
