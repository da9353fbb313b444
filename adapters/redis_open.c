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
    *sentence = KP__NEWER;
    if (KP__SAYS_MORE(o))
        return "redis.reserved";
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
    static const size_t strings[] = { offsetof(kp_redis_options, user),
                                      offsetof(kp_redis_options, password),
                                      offsetof(kp_redis_options, client_name), KP__NO_STRING };
    static const kp_redis_options defaults;
    const char *field, *sentence;
    kp_redis_options *kept;

    if (!options)
        return kp__fill_none();
    if (!redis)
        redis = &defaults;
    field = impossible(redis, options, &sentence);
    if (field)
        return kp__fill_refused(options, field, sentence);
    kept = kp__keep(redis, sizeof *redis, strings, &options->driver);
    if (!kept)
        return KP_ENOMEM;
    options->driver = kp__redis_driver(kept);
    options->driver.drop_ctx = kp__drop_kept;
    return 0;
}

int kp_redis_open(const kp_redis_options *redis, const kp_options *more, kp_pool **out)
{
    kp_options options = kp__options(more);
    int rc = kp_redis_fill(redis, &options);

    return kp__open_filled(rc, &options, kp__unkeep, out);
}
