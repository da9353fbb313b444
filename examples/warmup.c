/* SPDX-License-Identifier: MIT
 *
 * Warm-up at start: many keys at once, on the pool's own threads, in the background or waiting for
 * it. A key that cannot be warmed does not hold up the others.
 */
#include <keyedpool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int create(kp_job *job, void **out)
{
    if (strcmp(job->key.data, "api.broken") == 0)
        return kp_job_fail(job, 111, "connection refused");
    *out = malloc(1);
    return *out ? 0 : kp_job_fail(job, 12, "no memory for a client");
}

static int destroy(kp_job *job, void *client)
{
    (void)job;
    free(client);
    return 0;
}

int main(void)
{
    kp_options options = {
        .driver = { .create = create, .destroy = destroy },
        .limits = { .min_live = 2, .max_live = 5 },
        .threads = 4,                   /* so many creates at once */
    };
    kp_key keys[] = {
        kp_str("api.users"), kp_str("api.orders"), kp_str("api.payments"), kp_str("api.broken"),
    };
    kp_stats stats = { 0 };
    kp_lease lease;
    kp_pool *pool;
    int64_t  warm;
    int      rc;

    if (kp_pool_open(&options, &pool) < 0)
        return 1;
    /* in the background: returns at once, failures go to counters and on_event */
    kp_warm(pool, keys, 4, NULL);
    warm = kp_warm(pool, keys, 3, KP_IN_S(10));     /* and now wait for three of them */
    printf("%d of 3 keys are warm\n", (int)warm);

    /* so this one does not connect: it takes what is idle */
    rc = kp_try_get(pool, kp_str("api.users"), &lease);
    if (rc == 0)
        kp_release(&lease);
    kp_stats_read(pool, kp_str("api.users"), &stats);
    printf("api.users: %d ready, %d hits\n", (int)stats.idle, (int)stats.hits);
    if (kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(5)) != 0)
        return 1;
    return !(warm == 3 && rc == 0 && stats.idle == 2 && stats.hits == 1);
}
