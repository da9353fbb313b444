/* SPDX-License-Identifier: MIT
 *
 * A cache in Redis by cluster: sizes and time to live by name, pipelines, and another cluster when
 * the first is down, as the eastern one is here. The western one is REDIS_URL, or 127.0.0.1:6379.
 */
#include <keyedpool_redis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EAST kp_str("prod-us-east")
#define WEST kp_str("prod-us-west")

static bool is(kp_key key, const char *part)
{
    return strstr(key.data, part) != NULL;      /* a NUL follows each key of a pool */
}

/* Where a cluster is, and with which password. */
static int where(kp_key cluster, char *url, size_t size, void *ctx)
{
    const char *west = getenv("REDIS_URL");

    (void)ctx;
    return snprintf(url, size, "%s", is(cluster, "east") ? "redis://127.0.0.1:1"
                                     : west              ? west
                                                         : "redis://127.0.0.1:6379");
}

static void limits_for(kp_key cluster, kp_limits *limits, void *ctx)
{
    bool prod = is(cluster, "prod");

    (void)ctx;
    limits->max_live = prod ? 25 : 10;
    limits->excess_over = prod ? 5 : 2;
    limits->excess_ttl_ms = prod ? KP_MINUTES(30) : KP_MINUTES(10);
}

struct ask { int64_t wanted, found; };

/* Store and ask for so many values, each at once. Negative: the client is broken. */
static int cache_many(kp_lease *lease, void *arg)
{
    redisContext *redis = kp_redis(lease);
    struct ask   *ask = arg;
    redisReply   *reply;

    for (int64_t i = 0; i < ask->wanted; i++)
        redisAppendCommand(redis, "SET kp:%lld value EX 60", (long long)i);
    for (int64_t i = 0; i < ask->wanted; i++)
        redisAppendCommand(redis, "GET kp:%lld", (long long)i);
    ask->found = 0;
    for (int64_t i = 0; i < 2 * ask->wanted; i++) {
        if (redisGetReply(redis, (void **)&reply) != REDIS_OK)
            return -1;                          /* kp_use discards it: it is out of step */
        ask->found += reply->type == REDIS_REPLY_STRING;
        freeReplyObject(reply);
    }
    return 0;
}

/* A borrower who forgets to read, and one that comes after him. */
static bool next_one_sees_nothing(kp_pool *pool)
{
    redisReply *reply;
    kp_lease    lease;
    bool        clean;

    for (int i = 0; i < 2; i++) {
        if (kp_get(pool, WEST, KP_IN_S(2), &lease) < 0)
            return false;
        if (i == 0) {
            redisAppendCommand(kp_redis(&lease), "SUBSCRIBE news");
            redisAppendCommand(kp_redis(&lease), "PING");
            if (redisGetReply(kp_redis(&lease), (void **)&reply) == REDIS_OK)
                freeReplyObject(reply);
            kp_release(&lease);
        }
    }
    reply = redisCommand(kp_redis(&lease), "ECHO clean");
    clean = reply && reply->type == REDIS_REPLY_STRING && strcmp(reply->str, "clean") == 0;
    freeReplyObject(reply);
    kp_release(&lease);
    return clean;
}

int main(void)
{
    kp_redis_counts  counts = { 0 };
    kp_redis_options redis = { .where = where, .client_name = "example", .counts = &counts };
    kp_options       more = { .limits_for = limits_for, .budget = { .max_live = 100 } };
    kp_key           fallback = WEST;
    kp_why           why = { 0 };
    kp_plan          plan = {
        .ask = { .within_ms = 5000, .tag = "cache_many", .why = &why },
        .fallback = &fallback, .fallbacks = 1,
    };
    struct ask ask = { .wanted = 3 };
    kp_pool   *pool;
    bool       clean;

    if (kp_redis_open(&redis, &more, &pool) < 0)
        return 1;
    if (kp_use(pool, EAST, &plan, cache_many, &ask) < 0) {
        fprintf(stderr, "no cluster answers: %s\nA server: apt-get install redis-server; another "
                        "one: REDIS_URL=redis://:password@host:port/db\n", why.text);
        kp_pool_close(pool, KP_CLOSE_NOW, 0);
        return 1;
    }
    clean = next_one_sees_nothing(pool);
    if (kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(5)) != 0)
        return 1;
    counts = kp_redis_counts_read(&counts);
    printf("the other cluster: %lld values; %llu replies thrown away; %llu connections\n",
           (long long)ask.found, (unsigned long long)counts.replies,
           (unsigned long long)counts.opened);
    return !(ask.found == 3 && clean && counts.replies > 0 && counts.opened == 1);
}
