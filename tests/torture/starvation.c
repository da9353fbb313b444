/* SPDX-License-Identifier: MIT
 *
 * commons-pool's starvation case on real threads: 4 resources over all keys, key A with 8 threads,
 * key B with 1, all of which borrow without a pause. In commons-pool A's threads pass the resources
 * on among themselves, and B waits for ever. Here B must have its share, which is all that one
 * thread can use: one resource of the four, with weights 1:1 and 3:1, and also with a budget of
 * leases. The test measures for how much of its time (asking or holding) B holds: it must be at
 * least 98 % over 10 s, and half in the short run, where one late wake-up on a busy machine counts
 * for much. tests/fairness/crowd.c has the same in virtual time, where it is exact. A hold is a
 * sleep of 5 ms, so that nine threads need little of a processor. Each case runs for KP_SECONDS
 * (2); if that is less than 10, the cases share it.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "keyedpool.h"

enum { PERMITS = 4, OF_A = 8, HOLD_NS = 5000000 };

static const struct scene {
    const char *what;
    int64_t weight_of_a;
    bool lent;
} scenes[] = {
    { "4 live, weights 1:1", 1, false },
    { "4 live, weights 3:1", 3, false },
    { "4 lent, weights 1:1", 1, true },
    { "4 lent, weights 3:1", 3, true },
};
enum { SCENES = sizeof scenes / sizeof scenes[0] };

static kp_pool *pool;
static atomic_bool over;
static atomic_int made, broken;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int create(kp_job *job, void **out)
{
    (void)job;
    atomic_fetch_add(&made, 1);
    *out = malloc(1);
    return *out ? 0 : -1;
}

static int destroy(kp_job *job, void *resource)
{
    (void)job;
    free(resource);
    return 0;
}

static void weigh(kp_key key, kp_limits *limits, void *ctx)
{
    if (*(const char *)key.data == 'A') limits->weight = *(const int64_t *)ctx;
}

struct borrower {
    pthread_t thread;
    const char *key;
    uint64_t held_ns, waited_ns, gets, longest_ns;
};

static void *borrow(void *arg)
{
    const struct timespec hold = { 0, HOLD_NS };
    struct borrower *b = arg;
    kp_lease lease;

    while (!atomic_load(&over)) {
        uint64_t asked = now_ns();
        if (kp_get(pool, kp_str(b->key), KP_IN_S(60), &lease) != 0) {
            atomic_fetch_add(&broken, 1);
            return NULL;
        }
        uint64_t began = now_ns();
        b->waited_ns += began - asked;
        if (began - asked > b->longest_ns) b->longest_ns = began - asked;
        nanosleep(&hold, NULL);
        b->held_ns += now_ns() - began;
        b->gets++;
        kp_release(&lease);
    }
    return NULL;
}

static bool run(const struct scene *s, double seconds)
{
    struct borrower b[OF_A + 1] = { { 0 } };
    kp_options o = { .driver = { .create = create, .destroy = destroy } };
    int64_t weight = s->weight_of_a;
    uint64_t began = now_ns(), of_a = 0;

    o.limits.max_live = KP_UNLIMITED;
    o.limits.max_creating = KP_UNLIMITED;
    o.limits_for = weigh;
    o.ctx = &weight;
    if (s->lent) o.budget.max_lent = PERMITS;
    else o.budget.max_live = PERMITS;
    if (kp_pool_open(&o, &pool) != 0) return false;
    atomic_store(&over, false);
    atomic_store(&made, 0);
    for (int i = 0; i <= OF_A; i++) {
        b[i].key = i < OF_A ? "A" : "B";
        if (pthread_create(&b[i].thread, NULL, borrow, &b[i]) != 0) abort();
    }
    struct timespec length = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };
    nanosleep(&length, NULL);
    atomic_store(&over, true);
    for (int i = 0; i <= OF_A; i++) pthread_join(b[i].thread, NULL);
    uint64_t took = now_ns() - began;
    kp_pool_close(pool, KP_CLOSE_NOW, KP_SECONDS(1));
    for (int i = 0; i < OF_A; i++) of_a += b[i].held_ns;
    double share = (double)b[OF_A].held_ns / (double)(b[OF_A].held_ns + b[OF_A].waited_ns);
    bool fair = share > (seconds < 10 ? 0.5 : 0.98);
    printf("%s: %s: A held %.3f, B %.3f of its 1; B waited %.1f ms at most; %llu leases, %d made\n",
           fair ? "ok" : "NOT FAIR", s->what, (double)of_a / (double)took, share,
           (double)b[OF_A].longest_ns / 1e6, (unsigned long long)b[OF_A].gets, atomic_load(&made));
    return fair;
}

int main(void)
{
    const char *said = getenv("KP_SECONDS");
    double seconds = said ? atof(said) : 2;
    bool fair = true;

    for (int i = 0; i < SCENES; i++)
        fair = run(&scenes[i], seconds < 10 ? seconds / (double)SCENES : seconds) && fair;
    if (atomic_load(&broken)) printf("%d gets failed\n", atomic_load(&broken));
    return fair && !atomic_load(&broken) ? 0 : 1;
}
