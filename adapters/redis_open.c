/* SPDX-License-Identifier: MIT
 *
 * Opening a pool of the Redis adapter: its options and its counters.
 */
#include "redis_parts.h"

#include "fill.h"

#include <string.h>

kp_redis_counts kp_redis_counts_read(const kp_redis_counts *counts)
{
    kp_redis_counts out;

    kp__counts_read(counts, &out, sizeof out);
    return out;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* driver.ctx. The options come first: the driver reads them. */
struct context {
    kp_redis_options options;           /* with strings of their own */
    struct kp__last  last;
};

static void drop_own(void *ctx)
{
    struct context *c = ctx;

    kp__disown(&c->options.user);
    kp__disown(&c->options.password);
    kp__disown(&c->options.client_name);
    free(c);
}

static void drop(void *ctx)
{
    struct kp__last last = ((const struct context *)ctx)->last;

    drop_own(ctx);
    kp__last_call(last);
}

static struct context *copy(const kp_redis_options *redis, struct kp__last last)
{
    struct context *c = malloc(sizeof *c);
    kp_redis_options *o;

    if (!c)
        return NULL;
    c->options = *redis;
    c->last = last;
    o = &c->options;
    if (kp__own(&o->user) | kp__own(&o->password) | kp__own(&o->client_name)) {
        drop_own(c);
        return NULL;
    }
    return c;
}

/* The name of the first impossible option, with a sentence; or NULL. */
static const char *impossible(const kp_redis_options *o, const kp_options *options,
                              const char **sentence)
{
    *sentence = "it must be a time, or KP_OFF";
    if (!kp__is_time(o->connect_timeout_ms))
        return "redis.connect_timeout_ms";
    if (!kp__is_time(o->command_timeout_ms))
        return "redis.command_timeout_ms";
    *sentence = "it must be a time";
    if (o->check_timeout_ms < 0)
        return "redis.check_timeout_ms";
    *sentence = "it must be the number of a database, 0 or more";
    if (o->db < 0)
        return "redis.db";
    *sentence = "it must be KP_REDIS_RESET or KP_REDIS_LOOK";
    if (o->tidy < 0 || o->tidy > KP_REDIS_LOOK)
        return "redis.tidy";
    *sentence = "a user needs a password";
    if (o->user && *o->user && !(o->password && *o->password))
        return "redis.password";
    *sentence = "it is too long";
    if (o->client_name && strlen(o->client_name) > 128)
        return "redis.client_name";
    if (o->user && strlen(o->user) >= sizeof((struct kp__redis_target *)0)->user)
        return "redis.user";
    if (o->password && strlen(o->password) >= sizeof((struct kp__redis_target *)0)->password)
        return "redis.password";
    *sentence = "it is for a pool of an event loop: set options.loop first";
    if (o->watcher && !options->loop)
        return "redis.watcher";
    *sentence = "it has no start or no stop: was its glue opened?";
    if (o->watcher && !(o->watcher->start && o->watcher->stop))
        return "redis.watcher";
    *sentence = "a pool of an event loop may not block, so it needs one";
    if (options->loop && !o->watcher)
        return "redis.watcher";
    *sentence = "it would block the event loop";
    if (o->watcher && o->on_open)
        return "redis.on_open";
    *sentence = "it has no meaning for a connection that is lent non-blocking";
    return o->watcher && o->command_timeout_ms > 0 ? "redis.command_timeout_ms" : NULL;
}

int kp_redis_fill(const kp_redis_options *redis, kp_options *options)
{
    static const kp_redis_options defaults;
    const char *field, *sentence;
    struct context *c;

    if (!options)
        return kp__fill_none();
    if (!redis)
        redis = &defaults;
    field = impossible(redis, options, &sentence);
    if (field)
        return kp__fill_refused(options, field, sentence);
    c = copy(redis, kp__last_of(&options->driver));
    if (!c)
        return KP_ENOMEM;
    options->driver = kp__redis_driver(&c->options);
    options->driver.drop_ctx = drop;
    return 0;
}

int kp_redis_open(const kp_redis_options *redis, const kp_options *more, kp_pool **out)
{
    kp_options options = kp__options(more);
    int rc = kp_redis_fill(redis, &options);

    return kp__open_filled(rc, &options, drop_own, out);
}
