/* SPDX-License-Identifier: MIT
 *
 * Databases by region: more connections for the primary, three retries for each region, and another
 * region when the primary stays dead, as it does here.
 */
#include <keyedpool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PRIMARY  "us-east-1"
#define FALLBACK "us-west-2"

struct connection { char region[32]; };
struct lookup { char found_in[32]; };

static int attempts_on_primary;

static bool is_primary(kp_key key)
{
    return key.size == strlen(PRIMARY) && memcmp(key.data, PRIMARY, key.size) == 0;
}

static int connect_to_region(kp_job *job, void **out)
{
    bool               primary = is_primary(job->key);
    struct connection *c = primary ? NULL : calloc(1, sizeof *c);

    attempts_on_primary += primary;
    if (!c)
        return kp_job_fail(job, 111, "connection refused");
    snprintf(c->region, sizeof c->region, "%s", (const char *)job->key.data);
    *out = c;
    return 0;
}

static int disconnect(kp_job *job, void *connection)
{
    free(connection);
    return (void)job, 0;
}

/* Called once for each key, when it appears: a fixed size, larger for the primary. */
static void size_by_region(kp_key key, kp_limits *limits, void *ctx)
{
    (void)ctx;
    limits->min_live = limits->max_live = is_primary(key) ? 20 : 10;
}

static int find_user(kp_lease *lease, void *arg)
{
    const struct connection *c = lease->resource;

    memcpy(((struct lookup *)arg)->found_in, c->region, sizeof c->region);
    return 0;
}

static int find_user_anywhere(kp_pool *pool, struct lookup *lookup)
{
    kp_key  fallback = kp_str(FALLBACK);
    kp_why  why;
    kp_plan plan = {
        .ask = { .within_ms = KP_SECONDS(60), .tag = "find_user_anywhere", .why = &why },
        .each_ms = KP_SECONDS(30),      /* a primary that hangs must leave time for the fallback */
        .schedule = { .times = 3, .first_ms = KP_NONE },
        .retry_if = kp_retry_any,       /* a read may be repeated */
        .fallback = &fallback, .fallbacks = 1,
    };
    int rc = kp_use(pool, kp_str(PRIMARY), &plan, find_user, lookup);

    return rc < 0 ? fprintf(stderr, "no region answered: %s\n", why.text), rc : 0;
}

int main(void)
{
    kp_options options = {
        .driver = { .create = connect_to_region, .destroy = disconnect },
        /* The plan decides when to try again, so the pool need not pause as well; kp_warm fills
         * when we say so. */
        .limits = { .retry_first_ms = KP_NONE, .prefill = KP_PREFILL_NONE },
        .limits_for = size_by_region,
    };
    struct lookup lookup = { 0 };
    kp_key        fallback = kp_str(FALLBACK);
    kp_stats      stats = { 0 };
    kp_pool      *pool;
    bool          ok;

    if (kp_pool_open(&options, &pool) < 0)
        return 1;
    ok = find_user_anywhere(pool, &lookup) == 0;
    ok = kp_warm(pool, &fallback, 1, KP_IN_S(10)) == 1 && ok;
    kp_stats_read(pool, fallback, &stats);
    printf("%d attempts on the primary, then %s, which has %d connections now\n",
           attempts_on_primary, lookup.found_in, (int)stats.live);
    ok = kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(5)) == 0 && ok;
    ok = strcmp(lookup.found_in, FALLBACK) == 0 && ok;
    return !(ok && attempts_on_primary == 4 && stats.live == 10);
}
