/* SPDX-License-Identifier: MIT
 *
 * Control while in use: fail over to another server (pause, rotate, drain, resume), for one key
 * and for the whole pool; new budgets; and a tenant that leaves. When a call returns its work is
 * done, or it says what is still out.
 */
#include <keyedpool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *server = "old.example";

static int create(kp_job *job, void **out)
{
    *out = malloc(strlen(server) + 1);
    return *out ? (strcpy(*out, server), 0) : kp_job_fail(job, 12, "no memory");
}

static int destroy(kp_job *job, void *connection)
{
    (void)job;
    free(connection);
    return 0;
}

/* How many may be lent, of a key or of all; 0: there is no such key. */
static int64_t lends(kp_pool *pool, kp_key key)
{
    kp_limits of_key;
    kp_budget of_all;

    if (key.data) return kp_limits_read(pool, key, &of_key) == 0 ? of_key.max_lent : 0;
    return kp_budget_read(pool, &of_all) == 0 ? of_all.max_lent : 0;
}

/* With KP_NONE nobody gets one; requests wait meanwhile, up to their deadlines. */
static int lend(kp_pool *pool, kp_key key, int64_t most)
{
    const kp_limits of_key = { .max_lent = most };
    const kp_budget of_all = { .max_lent = most };

    return key.data ? kp_limits_set(pool, key, &of_key, NULL) : kp_budget_set(pool, &of_all, NULL);
}

/* 0: everything that was lent before is gone. */
static int64_t fail_over(kp_pool *pool, kp_key key, const char *to)
{
    const int64_t before = lends(pool, key);

    if (before == 0 || lend(pool, key, KP_NONE) != 0) return -1;
    server = to;
    (void)kp_rotate(pool, key, KP_NONE); /* what is just being connected to the old one, too */
    int64_t out = kp_drain(pool, key, KP_SECONDS(5)); /* 0: what was lent has come back */
    return lend(pool, key, before) != 0 ? -1 : out;
}

static int is_of(kp_pool *pool, const char *tenant, const char *wanted)
{
    kp_lease lease;

    if (kp_get(pool, kp_str(tenant), KP_IN_S(1), &lease) != 0) return 0;
    int same = strcmp(lease.resource, wanted) == 0;
    printf("%s is served by %s\n", tenant, (const char *)lease.resource);
    kp_release(&lease);
    return same;
}

int main(void)
{
    const kp_options options = { .driver = { .create = create, .destroy = destroy },
                                 .budget = { .max_live = 100 } };
    const kp_budget smaller = { .max_live = 1 };
    kp_stats all = { 0 };
    kp_pool *pool;
    int ok;

    if (kp_pool_open(&options, &pool) != 0) return 1;
    ok = is_of(pool, "a", "old.example") && is_of(pool, "b", "old.example");
    ok = ok && fail_over(pool, kp_str("a"), "new.example") == 0;
    ok = ok && is_of(pool, "a", "new.example") && is_of(pool, "b", "old.example");
    ok = ok && fail_over(pool, KP_EVERY_KEY, "newest.example") == 0;
    ok = ok && is_of(pool, "a", "newest.example") && is_of(pool, "b", "newest.example");

    ok = ok && kp_budget_set(pool, &smaller, NULL) == 0; /* the least worthy idle one is gone */
    ok = ok && kp_evict(pool, KP_EVERY_KEY, KP_NONE) == 1; /* and now the other one */
    ok = ok && kp_drop(pool, kp_str("b"), KP_SECONDS(5)) == 0; /* the tenant leaves */
    ok = ok && kp_stats_read(pool, KP_EVERY_KEY, &all) == 0 && all.keys == 1 && all.live == 0;
    printf("%s: %d key is left, with nothing\n", ok ? "done" : "failed", (int)all.keys);
    return kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(5)) != 0 || !ok;
}
