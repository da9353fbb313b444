/* SPDX-License-Identifier: MIT
 *
 * The Redis adapter, held to what every adapter must hold to: once with the driver that blocks and
 * once with the one that does not.
 */
#ifndef TESTS_ADAPTERS_REDIS_CONFORM_H
#define TESTS_ADAPTERS_REDIS_CONFORM_H

#include <keyedpool_redis.h>

#include <errno.h>
#include <sys/socket.h>

#include "adapters/conform.h"
#include "adapters/redis_server.h"

static char closed[32], wrong_password[80], no_database[80];
static kp_key keys[2];
static redisContext *admin;

static void one_client_only(void)
{
    admin = redis_admin();
    if (redis_says(admin, "OK", "CONFIG SET maxclients 1"))
        abort();
}

static void many_clients(void)
{
    if (redis_says(admin, "OK", "CONFIG SET maxclients 1000"))
        abort();
    redisFree(admin);
}

/* Their keys are known once it has started. */
static struct conform_wrong wrong[] = {
    { "a wrong password", { 0 }, KP_EREFUSED, EACCES, { "WRONGPASS", "127.0.0.1" }, NULL, NULL },
    { "a database that is not there", { 0 }, KP_EREFUSED, EACCES, { "DB index" }, NULL, NULL },
    { "a server that is full", { 0 }, KP_ECREATE, EUSERS, { "max number of clients" },
      one_client_only, many_clients },
    { "a full server at a Unix socket", { 0 }, KP_ECREATE, EUSERS, { "max number of clients" },
      one_client_only, many_clients },
    { "a closed port", { 0 }, KP_ECREATE, ECONNREFUSED, { "nobody listens there", closed }, NULL,
      NULL },
    { "a path that is not there", { 0 }, KP_ECREATE, ENOENT, { "path does not exist" }, NULL,
      NULL },
    { "an unknown host", { 0 }, KP_ECREATE, 0, { "the host", "nowhere.invalid" }, NULL, NULL },
    { "TLS", { 0 }, KP_EREFUSED, EINVAL, { "does not support TLS" }, NULL, NULL },
    { 0 },
};

static int start(void)
{
    (void)signal(SIGPIPE, SIG_IGN);     /* hiredis raises it in borrowers of a server that died */
    if (redis_set_up(false) != 0)
        return -1;
    (void)snprintf(closed, sizeof closed, "127.0.0.1:%d", server_free_port());
    (void)snprintf(wrong_password, sizeof wrong_password, "redis://:nonsense@%s", redis.place);
    (void)snprintf(no_database, sizeof no_database, "redis://%s/999", redis.place);
    keys[0] = wrong[2].key = kp_str(redis.place);
    keys[1] = wrong[3].key = kp_str(redis.path);
    wrong[0].key = kp_str(wrong_password);
    wrong[1].key = kp_str(no_database);
    wrong[4].key = kp_str(closed);
    wrong[5].key = kp_str("/nonexistent/redis");
    wrong[6].key = kp_str("nowhere.invalid:6379");
    wrong[7].key = kp_str("rediss://localhost");
    return 0;
}

static redisContext *context_of(void *resource)
{
    kp_lease lease = { .resource = resource };

    return kp_redis(&lease);
}

static const char *use(void *resource)
{
    return redis_says(context_of(resource), "word", "ECHO word");
}

static void ruin(void *resource)
{
    (void)shutdown(context_of(resource)->fd, SHUT_RDWR);
}

static void hang_up(void)
{
    redis_do("", "CLIENT KILL TYPE normal SKIPME yes");
}

/* ---- what is left open ----------------------------------------------------------------------- */

static void leave_transaction(void *resource)
{
    (void)redis_says(context_of(resource), "OK", "MULTI");
    (void)redis_says(context_of(resource), "QUEUED", "SET mine 1");
}

static bool in_transaction(void *resource)
{
    return redis_says(context_of(resource), "ERR EXEC without MULTI", "EXEC") != NULL;
}

static void leave_subscription(void *resource)
{
    (void)redis_says(context_of(resource), "subscribe", "SUBSCRIBE news");
}

static void leave_replies(void *resource)
{
    for (int i = 0; i < 100; i++)
        (void)redisAppendCommand(context_of(resource), "ECHO late");
    (void)redis_reply_is(context_of(resource), redis_command(context_of(resource), "PING"), "late");
}

static void leave_unsent(void *resource)
{
    (void)redisAppendCommand(context_of(resource), "SET mine 1");
}

static bool answers_wrong(void *resource)
{
    return redis_says(context_of(resource), "PONG", "PING") != NULL;
}

static void leave_database(void *resource)
{
    (void)redis_says(context_of(resource), "OK", "SELECT 7");
    (void)redis_says(context_of(resource), "OK", "SET there yes");
}

static bool in_database(void *resource)
{
    return redis_says(context_of(resource), "0", "EXISTS there") != NULL;
}

static int run_conform(const char *name, int (*fill)(kp_options *options))
{
    static const struct conform_left left[] = {
        { "a transaction", leave_transaction, in_transaction },
        { "a subscription", leave_subscription, answers_wrong },
        { "replies that were not read", leave_replies, answers_wrong },
        { "a command that was not sent", leave_unsent, answers_wrong },
        { "another database", leave_database, in_database },
        { 0 },
    };
    const struct conform subject = {
        .name = name, .start = start, .stop = redis_tear_down, .fill = fill, .keys = keys,
        .keys_count = 2, .use = use, .ruin = ruin, .left = left, .wrong = wrong,
        .secret = REDIS_SECRET, .kill = redis_kill, .restart = redis_start,
        .hang_up = hang_up,
    };

    return conform_run(&subject);
}

#endif
