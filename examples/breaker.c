/* SPDX-License-Identifier: MIT
 *
 * A circuit breaker for each key: after five failures in a row the key answers at once, without
 * asking the backend, until a pause is over; then one probe decides. In this
 * example the backend comes back while the circuit is open.
 */
#define _POSIX_C_SOURCE 200809L
#include <keyedpool.h>
#include <stdio.h>
#include <time.h>

static int  attempts;
static bool backend_up;

static int create(kp_job *job, void **out)
{
    static char thing;

    attempts++;
    if (!backend_up)
        return kp_job_fail(job, 111, "connection refused");
    *out = &thing;
    return 0;
}

static int destroy(kp_job *job, void *thing)
{
    (void)job;
    (void)thing;
    return 0;
}

static int call_backend(kp_pool *pool, kp_why *why)
{
    kp_ask   ask = { .within_ms = KP_SECONDS(5), .why = why };
    kp_lease lease;
    int      rc = kp_get(pool, kp_str("backend"), &ask, &lease);

    if (rc == 0) {
        /* how the use went, which only the borrower knows; kp_use would report it */
        kp_lease_report(&lease, 0);
        kp_release(&lease);
    }
    return rc;
}

static void pause_ms(int64_t ms)
{
    struct timespec t = { .tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000 };

    nanosleep(&t, NULL);
}

int main(void)
{
    kp_options options = {
        .driver = { .create = create, .destroy = destroy },
        .limits = {
            .breaker_failures = 5,
            .breaker_open_ms = 200,     /* 30 s if you do not say */
            .breaker_counts = KP_BREAK_CREATE | KP_BREAK_USE,
            .retry_first_ms = KP_NONE,  /* the breaker's pause is the only one wanted here */
        },
    };
    kp_why   why = { 0 };
    kp_pool *pool;
    int      rc = 0, asked, refused = 0;

    if (kp_pool_open(&options, &pool) < 0)
        return 1;
    for (int i = 0; i < 7; i++) {
        rc = call_backend(pool, &why);
        refused += rc == KP_EBREAKER;
    }
    asked = attempts;
    printf("7 calls, the backend was asked %d times; now: %s; try again in %d ms\n", asked,
           kp_strerror(rc), (int)why.retry_after_ms);

    backend_up = true;
    while ((rc = call_backend(pool, &why)) == KP_EBREAKER)
        pause_ms(why.retry_after_ms > 0 ? why.retry_after_ms : 1);
    printf("the probe: %s\n", rc == 0 ? "the backend is back" : kp_strerror(rc));
    if (kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(5)) != 0)
        return 1;
    return !(asked == 5 && refused == 2 && rc == 0 && attempts == 6);
}
