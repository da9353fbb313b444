/* SPDX-License-Identifier: MIT
 *
 * A resource that turns out to be bad: discard it and take another one, in the same scope, with
 * room for only one. And another way: code that has nothing but the resource says that nobody may
 * borrow it again.
 */
#include <keyedpool.h>
#include <stdio.h>
#include <stdlib.h>

struct endpoint {
    int  number;
    bool healthy;
};

static int make_endpoint(kp_job *job, void **out)
{
    struct endpoint *e = malloc(sizeof *e);

    if (!e)
        return kp_job_fail(job, 12, "no memory for an endpoint");
    e->number = (int)job->serial;
    e->healthy = job->serial > 1;       /* the first one is ill */
    *out = e;
    return 0;
}

static int drop_endpoint(kp_job *job, void *endpoint)
{
    (void)job;
    printf("dropped endpoint %d\n", ((struct endpoint *)endpoint)->number);
    free(endpoint);
    return 0;
}

/* Returns the number of the endpoint that was used, or a negative error. */
static int use_a_healthy_one(kp_pool *pool)
{
    kp_scope scope = { 0 };
    kp_lease it;
    int      rc = kp_scope_get(&scope, pool, kp_str("endpoint"), KP_IN_S(2), &it);

    if (rc == 0 && !((struct endpoint *)it.resource)->healthy) {
        /* the lease ends now, and its place is free before the next line */
        kp_discard(&it);
        rc = kp_scope_get(&scope, pool, kp_str("endpoint"), KP_IN_S(2), &it);
    }
    if (rc == 0)
        rc = ((struct endpoint *)it.resource)->number;
    kp_scope_close(&scope);             /* gives back what is still held */
    return rc;
}

/* Has no lease, only the resource. It is lent now, so it is destroyed when it comes back. */
static bool report_as_broken(kp_pool *pool, const struct endpoint *endpoint)
{
    return kp_invalidate(pool, endpoint) == 1;
}

static bool invalidate_while_lent(kp_pool *pool)
{
    kp_scope scope = { 0 };
    kp_lease it;
    bool     done = kp_scope_get(&scope, pool, kp_str("endpoint"), KP_IN_S(2), &it) == 0
                 && report_as_broken(pool, it.resource);

    kp_scope_close(&scope);
    return done;
}

int main(void)
{
    kp_options options = {
        .driver = { .create = make_endpoint, .destroy = drop_endpoint },
        .limits = { .min_live = 1, .max_live = 1 },
    };
    kp_pool *pool;
    int      first, second;
    bool     invalidated;

    if (kp_pool_open(&options, &pool) < 0)
        return 1;
    first = use_a_healthy_one(pool);
    invalidated = invalidate_while_lent(pool);
    second = use_a_healthy_one(pool);
    printf("used endpoint %d, then %d\n", first, second);
    if (kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(5)) != 0)
        return 1;
    return !(first == 2 && invalidated && second == 3);
}
