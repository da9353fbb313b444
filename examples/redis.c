/* SPDX-License-Identifier: MIT
 *
 * Redis clients by cluster and database: sizes and time to live by key, pipelines that are
 * discarded when they are out of step, and another cluster when the first fails. The eastern
 * cluster breaks off in the middle of a pipeline here.
 */
#include <keyedpool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct redis_key { char cluster[35]; int database; };   /* padding is harmless: see the fields */
static const kp_field redis_fields[] = {
    KP_TEXT(struct redis_key, cluster), KP_INT(struct redis_key, database), KP_END,
};

struct redis { int unread; bool breaks; };              /* stands for redisContext */

static int connect_redis(kp_job *job, void **out)
{
    const struct redis_key *key = job->key.data;
    struct redis           *r = calloc(1, sizeof *r);

    if (!r)
        return kp_job_fail(job, 12, "no memory for a client");
    r->breaks = strstr(key->cluster, "east") != NULL;
    *out = r;
    return 0;
}

static int disconnect_redis(kp_job *job, void *r)
{
    free(r);
    return (void)job, 0;
}

/* On give-back: unread replies would reach the next borrower. Negative: destroy the client. */
static int nothing_unread(kp_job *job, void *r)
{
    return (void)job, ((struct redis *)r)->unread == 0 ? 0 : -1;
}

static void limits_for(kp_key key, kp_limits *limits, void *ctx)
{
    const struct redis_key *k = key.data;
    bool                    prod = strstr(k->cluster, "prod") != NULL;

    (void)ctx;
    limits->min_live = prod ? 5 : 2;
    limits->max_live = prod ? 25 : 10;
    limits->excess_ttl_ms = prod ? KP_MINUTES(30) : KP_MINUTES(10);
}

/* Ask for n values at once. Returns how many came, or -1. */
static int get_many(kp_pool *pool, const char *cluster, int n)
{
    struct redis_key key = { .database = 0 };
    struct redis    *r;
    kp_lease         lease;

    snprintf(key.cluster, sizeof key.cluster, "%s", cluster);
    if (kp_get(pool, KP_KEY(&key), KP_ASK(.within_ms = 2000, .tag = "get_many"), &lease) < 0)
        return -1;
    r = lease.resource;
    r->unread += n;
    for (int i = 0; i < n; i++) {
        if (r->breaks && i > 0) {
            kp_discard(&lease);         /* out of step: nobody may have it */
            return -1;
        }
        r->unread--;
    }
    kp_release(&lease);
    return n;
}

int main(void)
{
    kp_options options = {
        .name = "redis",
        .driver = { .create = connect_redis, .destroy = disconnect_redis, .reset = nothing_unread },
        .key_type = { .size = sizeof(struct redis_key), .fields = redis_fields },
        .limits_for = limits_for,
        .budget = { .max_live = 100 },
    };
    kp_stats stats = { 0 };
    kp_pool *pool;
    int      east, west;

    if (kp_pool_open(&options, &pool) < 0)
        return 1;
    east = get_many(pool, "prod-us-east", 3);
    west = east < 0 ? get_many(pool, "prod-us-west", 3) : 0;
    kp_stats_read(pool, KP_EVERY_KEY, &stats);
    printf("east: %d, west: %d values; %d client discarded\n", east, west, (int)stats.invalidated);
    if (kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(5)) != 0)
        return 1;
    return !(east == -1 && west == 3 && stats.invalidated == 1);
}
