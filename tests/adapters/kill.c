/* SPDX-License-Identifier: MIT
 *
 * Sixteen threads on eight connections while their server is killed and started again (kill.h).
 * Nobody may get another's answer, no lease may be lost, no request may outlive its deadline, all
 * connections must be back within the longest pause between tries (and some slack for a slow
 * machine), and each must be closed once, also as the server sees it.
 */
#include "adapters/kill.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { THREADS = 16, CONNECTIONS = 8, WITHIN_MS = 1000, PAUSE_MS = 1000, EACH = 2000 };

static const struct kill *subject;

static struct {
    kp_pool *pool;
    int64_t  slack_ms;
    sem_t    served;            /* posted for each good answer while somebody counts them */
    atomic_bool counted, over;
    atomic_ullong good, refused, broken, wrong, late, longest_ns;
} load;

static uint64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* ---- load ------------------------------------------------------------------------------------ */

static void ask_once(void *resource, unsigned long long number)
{
    enum kill_answer answer = subject->ask(resource, number);

    atomic_fetch_add(answer == KILL_GOOD     ? &load.good
                     : answer == KILL_BROKEN ? &load.broken
                                             : &load.wrong, 1);
    if (atomic_load(&load.counted))
        (void)sem_post(&load.served);
}

static void time_it(uint64_t took)
{
    unsigned long long longest = atomic_load(&load.longest_ns);

    while (took > longest && !atomic_compare_exchange_weak(&load.longest_ns, &longest, took))
        continue;
    if (took > (uint64_t)(WITHIN_MS + load.slack_ms) * UINT64_C(1000000))
        atomic_fetch_add(&load.late, 1);
}

/* Some leave something behind. A refusal is an answer as good as any: the next one asks. */
static void *work(void *arg)
{
    unsigned long long number = (unsigned long long)(uintptr_t)arg << 40;

    while (!atomic_load(&load.over)) {
        uint64_t began = now_ns();
        kp_lease lease;
        int rc = kp_get(load.pool, subject->key, KP_IN_MS(WITHIN_MS), &lease);

        time_it(now_ns() - began);
        if (rc != 0) {
            atomic_fetch_add(&load.refused, 1);
            (void)sched_yield();
            continue;
        }
        if (++number % 64 == 0)
            subject->leave(lease.resource);
        else
            ask_once(lease.resource, number);
        kp_release(&lease);
    }
    return NULL;
}

/* ---- watching it ----------------------------------------------------------------------------- */

/* Wait for `count` more answers, at most so long. */
static bool await_answers(int count, int64_t within_ms)
{
    uint64_t until = now_ns() + (uint64_t)within_ms * UINT64_C(1000000);
    struct timespec wall;

    atomic_store(&load.counted, true);
    while (count > 0 && now_ns() < until) {
        (void)clock_gettime(CLOCK_REALTIME, &wall);
        wall.tv_sec++;
        if (sem_timedwait(&load.served, &wall) == 0)
            count--;
    }
    atomic_store(&load.counted, false);
    while (sem_trywait(&load.served) == 0)
        continue;
    return count == 0;
}

/* How long until all connections are there again, and the first one; -1: they are not. */
static int64_t await_full_service(int64_t *first_ms)
{
    uint64_t began = now_ns();
    kp_stats s = { 0 };

    *first_ms = -1;
    while (await_answers(1, 10000)) {
        if (*first_ms < 0)
            *first_ms = (int64_t)((now_ns() - began) / 1000000);
        if (kp_stats_read(load.pool, subject->key, &s) != 0)
            return -1;
        if (s.live == CONNECTIONS && s.creating == 0)
            return (int64_t)((now_ns() - began) / 1000000);
    }
    return -1;
}

/* The time without a server; nothing but time is waited for. */
static void stay_down(int64_t ms)
{
    uint64_t until = now_ns() + (uint64_t)ms * UINT64_C(1000000);
    sem_t never;

    (void)sem_init(&never, 0, 0);
    while (now_ns() < until) {
        struct timespec wall;

        (void)clock_gettime(CLOCK_REALTIME, &wall);
        wall.tv_nsec += 10000000;
        if (wall.tv_nsec >= 1000000000) {
            wall.tv_nsec -= 1000000000;
            wall.tv_sec++;
        }
        (void)sem_timedwait(&never, &wall);
    }
    (void)sem_destroy(&never);
}

/* One that goes may take a moment. */
static bool server_sees(long count)
{
    uint64_t until = now_ns() + UINT64_C(10000000000);
    long seen;

    do {
        seen = subject->seen();
    } while (seen >= 0 && seen != count && now_ns() < until);
    if (seen != count)
        (void)printf("the server sees %ld connections, not %ld\n", seen, count);
    return seen == count;
}

static bool round_of(int number, int64_t down_ms)
{
    int64_t first_ms, back_ms;

    if (!await_answers(EACH, 30000)) {
        (void)printf("round %d: no load\n", number);
        return false;
    }
    subject->kill();
    stay_down(down_ms);
    if (subject->restart() != 0) {
        (void)printf("round %d: the server did not come back\n", number);
        return false;
    }
    back_ms = await_full_service(&first_ms);
    (void)printf("round %d: first answer after %lld ms, full service after %lld ms\n", number,
                 (long long)first_ms, (long long)back_ms);
    return back_ms >= 0 && back_ms <= PAUSE_MS + load.slack_ms;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static int open_pool(void)
{
    kp_options more = { .name = "kill" };

    more.limits.max_live = CONNECTIONS;
    more.limits.max_creating = CONNECTIONS;
    more.limits.retry_max_ms = PAUSE_MS;
    return subject->open(&more, &load.pool);
}

static bool ends_well(void)
{
    kp_stats s = { 0 };
    struct kill_counts counts;
    int64_t out;

    (void)kp_stats_read(load.pool, KP_EVERY_KEY, &s);
    out = kp_pool_close(load.pool, KP_CLOSE_WAIT, 10000);
    counts = subject->counts();
    (void)printf("%llu answers, %llu broken off, %llu wrong; %llu gets refused, %llu late, the "
                 "longest took %llu ms\n%llu connections made, %llu closed; %llu leases lost\n",
                 atomic_load(&load.good), atomic_load(&load.broken), atomic_load(&load.wrong),
                 atomic_load(&load.refused), atomic_load(&load.late),
                 atomic_load(&load.longest_ns) / 1000000, (unsigned long long)counts.opened,
                 (unsigned long long)counts.closed, (unsigned long long)s.leases);
    return out == 0 && s.leases == 0 && counts.opened == counts.closed && server_sees(0) &&
           atomic_load(&load.wrong) == 0 && atomic_load(&load.late) == 0;
}

static long option(int argc, char **argv, const char *name, long otherwise)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return strtol(argv[i + 1], NULL, 10);
    return otherwise;
}

int kill_run(const struct kill *which, int argc, char **argv)
{
    long rounds = option(argc, argv, "--rounds", 20);
    int64_t down_ms = option(argc, argv, "--down-ms", 2000);
    pthread_t thread[THREADS];
    bool well = true;

    subject = which;
    load.slack_ms = option(argc, argv, "--slack-ms", 1000);
    if (sem_init(&load.served, 0, 0) != 0 || subject->start() != 0 || open_pool() != 0)
        return 2;
    for (uintptr_t i = 0; i < THREADS; i++)
        if (pthread_create(&thread[i], NULL, work, (void *)(i + 1)) != 0)
            return 2;
    for (int i = 1; i <= rounds && well; i++)
        well = round_of(i, down_ms);
    atomic_store(&load.over, true);
    for (int i = 0; i < THREADS; i++)
        (void)pthread_join(thread[i], NULL);
    well = ends_well() && well;
    subject->stop();
    return well ? 0 : 1;
}
