/* SPDX-License-Identifier: MIT
 *
 * The backend redis: any number of keys stand for one server, and PING is the operation.
 */
#include "backend.h"

#include <keyedpool_redis.h>

#include <stdio.h>
#include <string.h>

#define TEXT(x) TEXT_(x)
#define TEXT_(x) #x

static const char *version(void)
{
    return TEXT(HIREDIS_MAJOR) "." TEXT(HIREDIS_MINOR) "." TEXT(HIREDIS_PATCH);
}

/* The URL is not the key: it may have a password. */
static int where(kp_key key, char *text, size_t size, void *ctx)
{
    const struct target *t = ctx;

    (void)key;
    return (size_t)snprintf(text, size, "%s", t->url) < size ? 0 : -1;
}

static int open_pool(const struct target *t, int64_t size, const kp_options *more, kp_pool **out)
{
    kp_redis_options redis = { .client_name = "keyedpool", .where = where,
                               .ctx = (void *)(uintptr_t)t };
    kp_options options = *more;

    options.limits.max_live = size;
    return kp_redis_open(&redis, &options, out);
}

static bool operate(kp_lease *lease, const struct target *t, struct task task, char *why,
                    size_t size)
{
    redisContext *c = kp_redis(lease);
    redisReply *reply = redisCommand(c, "PING");
    bool good = reply && reply->type == REDIS_REPLY_STATUS && strcmp(reply->str, "PONG") == 0;

    (void)t;
    (void)task;
    if (!good)
        (void)snprintf(why, size, "%s", reply && reply->str ? reply->str : c->errstr);
    freeReplyObject(reply);
    return good;
}

const struct backend redis_backend = {
    .library = "hiredis", .operation = "PING", .files = 1, .version = version,
    .open = open_pool, .operate = operate,
};
