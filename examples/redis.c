/* SPDX-License-Identifier: MIT
 *
 * A cache in Redis by cluster: minimum, maximum and time to live by name; pipelines, whose unread
 * replies never reach the next borrower; and another cluster when the first one is down.
 *
 *     CACHE_EAST=redis://cache1 CACHE_WEST=redis://cache2 CACHE_EAST_STOP='a command' example-redis
 */
#include <keyedpool_redis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cluster { const char *name, *variable; int least, most, ttl_min; };
static const struct cluster clusters[] = {
    { "prod-us-east", "CACHE_EAST", 5, 25, 30 },
    { "dr-us-west",   "CACHE_WEST", 2, 10, 10 },
};

static const char how[] =
    "Two servers are needed, or one under both names: apt-get install redis-server, again with\n"
    "CACHE_EAST and CACHE_WEST: redis://[:password@]host[:port][/db]; and with CACHE_EAST_STOP,\n"
    "a command that stops the first one, to see the other take over.\n";

static const struct cluster *find(kp_key key)
{
    return strcmp(key.data, clusters[0].name) == 0 ? &clusters[0] : &clusters[1];
}

/* Where a cluster is; it may contain a password, because it appears in no report. */
static int where(kp_key key, char *url, size_t size, void *ctx)
{
    const char *is = getenv(find(key)->variable);

    (void)ctx;
    return is && snprintf(url, size, "%s", is) < (int)size ? 0 : -1;
}

/* Called once for each cluster, when it appears. */
static void limits_for(kp_key key, kp_limits *limits, void *ctx)
{
    const struct cluster *cluster = find(key);

    (void)ctx;
    limits->min_live = cluster->least;
    limits->max_live = cluster->most;
    limits->excess_ttl_ms = KP_MINUTES(cluster->ttl_min);
}

struct ask { int64_t wanted, found; };

/* Store and ask for so many values, in one round trip. */
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
            return KP_EGONE;            /* kp_use destroys it, and has a look at the others */
        ask->found += reply->type == REDIS_REPLY_STRING;
        freeReplyObject(reply);
    }
    return 0;
}

static int cache_anywhere(kp_pool *pool, struct ask *ask)
{
    kp_key  fallback = kp_str(clusters[1].name);
    kp_why  why = { 0 };
    kp_plan plan = {
        .ask = { .within_ms = KP_SECONDS(5), .tag = "cache_anywhere", .why = &why },
        .schedule = { .times = 1, .first_ms = KP_NONE },
        .retry_if = kp_retry_any,       /* to store a value again does no harm */
        .fallback = &fallback, .fallbacks = 1,
    };
    int rc = kp_use(pool, kp_str(clusters[0].name), &plan, cache_many, ask);

    if (rc < 0)
        fprintf(stderr, "no cluster answers: %s %s\n%s", kp_strerror(rc), why.text, how);
    return rc;
}

/* A borrower that does not read all replies, and the next borrower. */
static int forget_to_read(kp_lease *lease, void *arg)
{
    redisReply *reply;

    (void)arg;
    redisAppendCommand(kp_redis(lease), "SUBSCRIBE news");
    redisAppendCommand(kp_redis(lease), "PING");
    if (redisGetReply(kp_redis(lease), (void **)&reply) != REDIS_OK)
        return KP_EGONE;
    freeReplyObject(reply);
    return 0;
}

static int expect_an_echo(kp_lease *lease, void *arg)
{
    redisReply *reply = redisCommand(kp_redis(lease), "ECHO %s", (const char *)arg);
    bool        same = reply && reply->type == REDIS_REPLY_STRING && strcmp(reply->str, arg) == 0;

    freeReplyObject(reply);
    return same ? 0 : -1;
}

static int gets_of(kp_pool *pool, kp_key key)
{
    kp_stats stats = { 0 };

    kp_stats_read(pool, key, &stats);
    return (int)stats.gets;
}

int main(void)
{
    kp_redis_counts  counts = { 0 };
    kp_redis_options redis = { .where = where, .client_name = "example", .counts = &counts };
    kp_options       more = { .limits_for = limits_for, .limits.breaker_failures = 2,
                              .budget.max_live = 30 };
    kp_key           east = kp_str(clusters[0].name), west = kp_str(clusters[1].name);
    const char      *stop = getenv("CACHE_EAST_STOP");
    struct ask       ask = { .wanted = 100 };
    kp_pool         *pool;
    int              rc;

    signal(SIGPIPE, SIG_IGN);           /* hiredis writes to servers that have gone */
    if (kp_redis_open(&redis, &more, &pool) != 0)
        return 1;
    rc = cache_anywhere(pool, &ask);
    if (rc == 0)
        rc = kp_use(pool, east, NULL, forget_to_read, NULL);
    if (rc == 0)
        rc = kp_use(pool, east, NULL, expect_an_echo, "clean");
    if (rc == 0 && stop && system(stop) == 0) {         /* it may answer for a little while */
        do
            rc = cache_anywhere(pool, &ask);
        while (rc == 0 && gets_of(pool, west) == 0);
    }
    printf("%d values; %d gets in the east, %d in the west\n", (int)ask.found,
           gets_of(pool, east), gets_of(pool, west));
    if (kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(5)) != 0)
        return 1;
    counts = kp_redis_counts_read(&counts);
    return rc != 0 || ask.found != ask.wanted || counts.replies == 0;
}
