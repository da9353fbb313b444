/* SPDX-License-Identifier: MIT
 *
 * Opening a pool of the HTTP adapter: its options and its counters; and what a key is.
 */
#include "http_parts.h"

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

kp_http_counts kp_http_counts_read(const kp_http_counts *counts)
{
    kp_http_counts out;

    kp__counts_read(counts, &out, sizeof out);
    return out;
}

/* ---- keys ------------------------------------------------------------------------------------ */

/* Has it a user, a password (which would show in reports), a query or a fragment? */
static CURLUcode has_more(CURLU *url, bool *more)
{
    static const CURLUPart parts[] = { CURLUPART_USER, CURLUPART_PASSWORD, CURLUPART_QUERY,
                                       CURLUPART_FRAGMENT };
    CURLUcode rc = CURLUE_OK;

    for (int i = 0; i < 4 && rc != CURLUE_OUT_OF_MEMORY; i++) {
        char *part = NULL;

        rc = curl_url_get(url, parts[i], &part, 0);
        *more = *more || rc == CURLUE_OK;
        curl_free(part);
    }
    return rc == CURLUE_OUT_OF_MEMORY ? rc : CURLUE_OK;
}

CURLUcode kp__http_read_origin(kp_key key, bool *good)
{
    const char *text = key.data;
    char *path = NULL;
    bool more = false;
    CURLUcode rc;
    CURLU *url;

    *good = key.size > 0 && !memchr(text, '\0', key.size) &&
            (strncmp(text, "http://", 7) == 0 || strncmp(text, "https://", 8) == 0) &&
            !strpbrk(strstr(text, "://") + 3, "/?#");
    if (!*good)
        return CURLUE_OK;
    url = curl_url();
    rc = url ? curl_url_set(url, CURLUPART_URL, text, 0) : CURLUE_OUT_OF_MEMORY;
    if (rc == CURLUE_OK)
        rc = curl_url_get(url, CURLUPART_PATH, &path, 0);
    if (rc == CURLUE_OK)
        rc = has_more(url, &more);
    *good = rc == CURLUE_OK && strcmp(path, "/") == 0 && !more;
    curl_free(path);
    curl_url_cleanup(url);
    return rc;
}

/* ---- opening --------------------------------------------------------------------------------- */

static void unkeep(void *ctx)
{
    kp__share_drop(((struct kp__http_context *)ctx)->share);
    kp__unkeep(ctx);
}

static void drop(void *ctx)
{
    kp__share_drop(((struct kp__http_context *)ctx)->share);
    kp__drop_kept(ctx);
}

/* Copied, with a share; or NULL: no memory. */
static struct kp__http_context *keep(const kp_http_options *http, const kp_driver *before)
{
    static const size_t strings[] = { offsetof(struct kp__http_context, options.probe),
                                      offsetof(struct kp__http_context, options.ca_file),
                                      offsetof(struct kp__http_context, options.user_agent),
                                      KP__NO_STRING };
    struct kp__http_context own = { *http, kp__share_make() }, *kept = NULL;

    if (own.share)
        kept = kp__keep(&own, sizeof own, strings, before);
    if (!kept)
        kp__share_drop(own.share);
    return kept;
}

/* The name of the first impossible option, with a sentence; or NULL. */
static const char *impossible(const kp_http_options *o, const kp_options *options,
                              const char **sentence)
{
    *sentence = "it must be a time, or KP_OFF";
    if (!kp__is_time(o->connect_timeout_ms))
        return "http.connect_timeout_ms";
    if (!kp__is_time(o->timeout_ms) || o->timeout_ms > INT_MAX)
        return "http.timeout_ms";
    *sentence = "it must be a path, or \"\"";
    if (o->probe && *o->probe && *o->probe != '/')
        return "http.probe";
    *sentence = KP__NEWER;
    if (KP__SAYS_MORE(o))
        return "http.reserved";
    *sentence = "it is for a pool of an event loop: set options.loop first";
    if (o->watcher && !options->loop)
        return "http.watcher";
    *sentence = "it has no start or no stop: was its glue opened?";
    if (o->watcher && !(o->watcher->start && o->watcher->stop))
        return "http.watcher";
    *sentence = "a pool of an event loop may not block, so it needs one";
    return options->loop && !o->watcher ? "http.watcher" : NULL;
}

/* It has cancellation points, and a thread that ended there would leave libcurl's lock taken. */
static void start_curl(void)
{
    int before;

    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
    (void)pthread_setcancelstate(before, NULL);
}

int kp_http_fill(const kp_http_options *http, kp_options *options)
{
    static const kp_http_options defaults;
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const char *field, *sentence;
    struct kp__http_context *kept;

    if (!options)
        return kp__fill_none();
    if (!http)
        http = &defaults;
    field = impossible(http, options, &sentence);
    if (field)
        return kp__fill_refused(options, field, sentence);
    (void)pthread_once(&once, start_curl);
    kept = keep(http, &options->driver);
    if (!kept)
        return KP_ENOMEM;
    options->driver = kp__http_driver(kept);
    options->driver.drop_ctx = drop;
    return 0;
}

int kp_http_open(const kp_http_options *http, const kp_options *more, kp_pool **out)
{
    kp_options options = kp__options(more);
    int rc = kp_http_fill(http, &options);

    return kp__open_filled(rc, &options, unkeep, out);
}
