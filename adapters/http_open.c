/* SPDX-License-Identifier: MIT
 *
 * Opening a pool of the HTTP adapter: its options and its counters.
 */
#include "http_parts.h"

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>

kp_http_counts kp_http_counts_read(const kp_http_counts *counts)
{
    kp_http_counts out;

    kp__counts_read(counts, &out, sizeof out);
    return out;
}

/* ---- opening --------------------------------------------------------------------------------- */

static void drop_own(void *ctx)
{
    struct kp__http_context *c = ctx;

    kp__share_drop(c->share);
    kp__disown(&c->options.probe);
    kp__disown(&c->options.ca_file);
    kp__disown(&c->options.user_agent);
    free(c);
}

static void drop(void *ctx)
{
    struct kp__last last = ((const struct kp__http_context *)ctx)->last;

    drop_own(ctx);
    kp__last_call(last);
}

static struct kp__http_context *context_make(const kp_http_options *http, struct kp__last last)
{
    struct kp__http_context *c = calloc(1, sizeof *c);
    int rc;

    if (!c)
        return NULL;
    c->options = *http;
    c->last = last;
    c->share = kp__share_make();
    rc = kp__own(&c->options.probe) | kp__own(&c->options.ca_file) |
         kp__own(&c->options.user_agent);
    if (rc || !c->share) {
        drop_own(c);
        return NULL;
    }
    return c;
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
    *sentence = "it is for a pool of an event loop: set options.loop first";
    if (o->watcher && !options->loop)
        return "http.watcher";
    *sentence = "it has no start or no stop: was its glue opened?";
    if (o->watcher && !(o->watcher->start && o->watcher->stop))
        return "http.watcher";
    *sentence = "a pool of an event loop may not block, so it needs one";
    return options->loop && !o->watcher ? "http.watcher" : NULL;
}

static void start_curl(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

int kp_http_fill(const kp_http_options *http, kp_options *options)
{
    static const kp_http_options defaults;
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const char *field, *sentence;
    struct kp__http_context *c;

    if (!options)
        return kp__fill_none();
    if (!http)
        http = &defaults;
    field = impossible(http, options, &sentence);
    if (field)
        return kp__fill_refused(options, field, sentence);
    (void)pthread_once(&once, start_curl);
    c = context_make(http, kp__last_of(&options->driver));
    if (!c)
        return KP_ENOMEM;
    options->driver = kp__http_driver(c);
    options->driver.drop_ctx = drop;
    return 0;
}

int kp_http_open(const kp_http_options *http, const kp_options *more, kp_pool **out)
{
    kp_options options = kp__options(more);
    int rc = kp_http_fill(http, &options);

    return kp__open_filled(rc, &options, drop_own, out);
}
