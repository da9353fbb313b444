/* SPDX-License-Identifier: MIT
 *
 * The backend redis: any number of keys stand for one server, and PING is the operation.
 */
#include "doctor.h"

#include <keyedpool_redis.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT(x) TEXT_(x)
#define TEXT_(x) #x

static const char *version(void)
{
    return TEXT(HIREDIS_MAJOR) "." TEXT(HIREDIS_MINOR) "." TEXT(HIREDIS_PATCH);
}

/* The URL is not the key, since it may have a password. */
static int where(kp_key key, char *text, size_t size, void *ctx)
{
    const struct target *t = ctx;

    (void)key;
    return (size_t)snprintf(text, size, "%s", t->url) < size ? 0 : -1;
}

static int open_pool(const struct target *t, int64_t size, const kp_options *more, kp_pool **out)
{
    kp_redis_options redis = { .client_name = "keyedpool", .where = where,
                               .password = getenv("REDISCLI_AUTH"),     /* as redis-cli */
                               .command_timeout_ms = t->within_ms, .ctx = (void *)(uintptr_t)t };
    kp_options options = *more;

    options.limits.max_live = size;
    return kp_redis_open(&redis, &options, out);
}

/* Why there is no reply. At once: reads errno. */
static const char *fault(const redisContext *c)
{
    bool late = c->err == REDIS_ERR_IO && (errno == EAGAIN || errno == EWOULDBLOCK);

    return late ? "no answer in time" : c->errstr;
}

static enum outcome operate(kp_lease *lease, const struct target *t, struct task task, char *why,
                            size_t size)
{
    redisContext *c = kp_redis(lease);
    redisReply *reply = redisCommand(c, "PING");
    bool good = reply && reply->type == REDIS_REPLY_STATUS && strcmp(reply->str, "PONG") == 0;

    (void)t;
    (void)task;
    if (!good)
        (void)snprintf(why, size, "%s", reply && reply->str ? reply->str : fault(c));
    freeReplyObject(reply);
    return good ? DONE : BROKEN;
}

/* ---- what a doctor sees ---------------------------------------------------------------------- */

/* What follows "name:" in an answer to INFO; or an empty text. */
static const char *field(const redisReply *info, const char *name)
{
    const char *at = info && info->type == REDIS_REPLY_STRING ? strstr(info->str, name) : NULL;

    return at ? at + strlen(name) : "";
}

/* All that count for maxclients: replicas and the other nodes of a cluster are counted apart. */
static int64_t clients_of(const redisReply *info)
{
    static const char *const names[] = { "connected_clients:", "connected_slaves:",
                                         "cluster_connections:" };
    int64_t n = 0;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        n += strtoll(field(info, names[i]), NULL, 10);
    return n;
}

/* A setting; -1 and a finding if it cannot be seen. */
static int64_t setting(struct doctor *d, redisContext *c, const char *name)
{
    redisReply *r = redisCommand(c, "CONFIG GET %s", name);
    int64_t value = -1;

    if (r && r->type == REDIS_REPLY_ARRAY && r->elements == 2 && r->element[1]->str)
        value = strtoll(r->element[1]->str, NULL, 10);
    else
        doctor_say(d, MARK_WARN, name, "%s cannot be read: %s", name,
                   !r ? fault(c) : r->str ? r->str : "CONFIG GET knows no such name");
    freeReplyObject(r);
    return value;
}

static void examine(struct doctor *d, const struct target *t, kp_lease *lease)
{
    redisContext *c = kp_redis(lease);
    redisReply *info = redisCommand(c, "INFO");
    const char *server = field(info, "redis_version:");
    int64_t used = clients_of(info) - 1, most, idle_s;      /* without this one */

    (void)t;
    if (*server)
        doctor_say(d, MARK_OK, "version", "Redis %.*s", (int)strcspn(server, "\r\n"), server);
    else
        doctor_say(d, MARK_WARN, "version", "INFO cannot be read: %s",
                   !info ? fault(c) : info->type == REDIS_REPLY_ERROR ? info->str
                                                                      : "it names no version");
    most = setting(d, c, "maxclients");
    if (most >= 0)
        doctor_room(d, "connections", "maxclients", most, used > 0 ? used : 0);
    idle_s = setting(d, c, "timeout");
    if (idle_s >= 0)
        doctor_idle(d, "timeout", idle_s * 1000);
    freeReplyObject(info);
}

const struct backend redis_backend = {
    .library = "hiredis", .operation = "PING", .files = 1, .no_place = EINVAL, .version = version,
    .open = open_pool, .operate = operate, .examine = examine,
};
