/* SPDX-License-Identifier: MIT
 *
 * A Redis server of a test's own, on a port of 127.0.0.1 and on a Unix socket. Its default user has
 * a password; `guest` may not do everything.
 */
#ifndef TESTS_ADAPTERS_REDIS_SERVER_H
#define TESTS_ADAPTERS_REDIS_SERVER_H

#include <hiredis/hiredis.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/server.h"

#define REDIS_SECRET "open-sesame"

static struct {
    struct server server;
    int  port;
    char place[32], path[96];   /* host:port; of the Unix socket */
    bool old;                   /* without RESET, as before 6.2 */
    bool cluster;               /* of one node */
} redis;

static inline int redis_start(void)
{
    char port[16];
    char *argv[] = { "redis-server", "--port", port, "--bind", "127.0.0.1",
                     "--unixsocket", redis.path, "--unixsocketperm", "777", "--save", "",
                     "--requirepass", REDIS_SECRET,
                     "--user", "guest", "on", ">welcome", "~*", "+@all", "-select",
                     "--rename-command", redis.old ? "RESET" : "DEBUG", "",
                     "--cluster-enabled", redis.cluster ? "yes" : "no", NULL };

    (void)snprintf(port, sizeof port, "%d", redis.port);
    if (server_start(&redis.server, argv) != 0)
        return -1;
    return server_await(&redis.server, "now ready to accept connections at", 30000);
}

static inline int redis_set_up(bool old)
{
    if (server_folder(&redis.server) != 0)
        return -1;
    redis.old = old;
    do {
        redis.port = server_free_port();
    } while (redis.cluster && redis.port > 55535);      /* it takes the port 10,000 above, too */
    (void)snprintf(redis.place, sizeof redis.place, "127.0.0.1:%d", redis.port);
    (void)snprintf(redis.path, sizeof redis.path, "%s/s", redis.server.folder);
    return redis_start();
}

static inline void redis_tear_down(void)
{
    server_end(&redis.server, SIGKILL);
    server_remove(&redis.server);
}

static inline void redis_kill(void)
{
    server_end(&redis.server, SIGKILL);
}

/* ---- talking to it, on a connection of the test's or of the pool's --------------------------- */

/* NULL, or in what the reply differs from `expected`: a status, a text, an integer, "(nil)", the
 * beginning of an error; of an array its first text. */
static inline const char *redis_reply_is(redisContext *c, redisReply *reply, const char *expected)
{
    static _Thread_local char got[160];
    const redisReply *r = reply;

    if (!r) {
        (void)snprintf(got, sizeof got, "%s", c->errstr);
        return got;
    }
    if (r->type == REDIS_REPLY_ARRAY && r->elements > 0)
        r = r->element[0];
    if (r->type == REDIS_REPLY_INTEGER)
        (void)snprintf(got, sizeof got, "%lld", r->integer);
    else
        (void)snprintf(got, sizeof got, "%s", r->str ? r->str : "(nil)");
    freeReplyObject(reply);
    return strncmp(got, expected, strlen(expected)) == 0 ? NULL : got;
}

/* A command of words and its reply; also on a connection that does not block. */
static inline redisReply *redis_command(redisContext *c, const char *words)
{
    struct pollfd p = { .fd = c->fd, .events = POLLIN };
    void *reply = NULL;
    int sent = 0;

    if (c->flags & REDIS_BLOCK)
        return redisCommand(c, words);
    if (redisAppendCommand(c, words) != REDIS_OK)
        return NULL;
    while (!sent && redisBufferWrite(c, &sent) == REDIS_OK)
        continue;
    while (!c->err && redisGetReplyFromReader(c, &reply) == REDIS_OK && !reply) {
        (void)poll(&p, 1, -1);
        (void)redisBufferRead(c);
    }
    return reply;
}

/* Say a command of words, and hear its reply. */
static inline const char *redis_says(redisContext *c, const char *expected, const char *words)
{
    return redis_reply_is(c, redis_command(c, words), expected);
}

/* The server's own view, as its administrator. */
static inline redisContext *redis_admin(void)
{
    redisContext *c = redisConnectUnix(redis.path);

    if (!c || redis_says(c, "OK", "AUTH " REDIS_SECRET)) {
        (void)fprintf(stderr, "admin: %s\n", c ? c->errstr : "no memory");
        abort();
    }
    return c;
}

static inline void redis_do(const char *expected, const char *words)
{
    redisContext *c = redis_admin();
    const char *wrong = redis_says(c, expected, words);

    if (wrong) {
        (void)fprintf(stderr, "%s: %s\n", words, wrong);
        abort();
    }
    redisFree(c);
}

/* How many lines of CLIENT LIST, and so clients, have this text. */
static inline int redis_clients(const char *text)
{
    redisContext *c = redis_admin();
    redisReply *reply = redisCommand(c, "CLIENT LIST");
    int n = 0;

    for (char *line = strtok(reply->str, "\n"); line; line = strtok(NULL, "\n"))
        n += strstr(line, text) != NULL;
    freeReplyObject(reply);
    redisFree(c);
    return n;
}

#endif
