/* SPDX-License-Identifier: MIT
 *
 * The backend http: the origin of the URL is the only key, and to GET the URL is the operation.
 * Whatever is not an answer below 400 has failed.
 */
#include "backend.h"

#include <keyedpool_http.h>

#include <stdio.h>
#include <string.h>

static const char *version(void)
{
    return curl_version_info(CURLVERSION_NOW)->version;
}

static int open_pool(const struct target *t, int64_t size, const kp_options *more, kp_pool **out)
{
    kp_http_options http = { .user_agent = "keyedpool" };
    kp_options options = *more;

    (void)t;
    options.limits.max_live = size;
    return kp_http_open(&http, &options, out);
}

static size_t forget(char *data, size_t size, size_t count, void *arg)
{
    (void)data;
    (void)arg;
    return size * count;
}

/* libcurl takes user and password out of the URL. */
static bool operate(kp_lease *lease, const struct target *t, struct task task, char *why,
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
        return true;
    if (rc != CURLE_OK)
        (void)snprintf(why, size, "%s", *detail ? detail : curl_easy_strerror(rc));
    else
        (void)snprintf(why, size, "the server answered %ld%s", status,
                       status == 401 ? ": user or password is missing or wrong" : "");
    return false;
}

const struct backend http_backend = {
    .library = "libcurl", .operation = "GET", .files = 1, .one_key = true, .version = version,
    .open = open_pool, .operate = operate,
};
