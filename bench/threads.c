/* SPDX-License-Identifier: MIT
 *
 * What the one lock of a pool costs (docs/decisions/0001): pairs of get and release per second from
 * several threads that hold nothing in between, all of them on one key or each on its own, beside
 * two pairs of lock and unlock of a plain mutex. Each figure is the median of many windows of 1 ms;
 * windows in which a thread made less than a quarter of another's progress are left out, because it
 * did not have a processor for itself.
 *
 * Usage: threads [seconds for each line, 1] [most threads, 2]
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "keyedpool.h"

enum { THREADS_MAX = 64, BATCH = 64, WINDOWS = 100000 };

static kp_pool        *pool;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool     stop;

struct worker {
    pthread_t        thread;
    uint32_t         key;
    bool             plain;             /* only the mutex */
    _Atomic uint64_t pairs;
    char             apart[128];        /* no two counters in one cache line */
};

static int create(kp_job *job, void **out)
{
    static char thing;

    (void)job;
    *out = &thing;
    return 0;
}

static int destroy(kp_job *job, void *resource)
{
    return (void)job, (void)resource, 0;
}

static void one_pair(const struct worker *w)
{
    kp_lease lease;

    if (w->plain) {
        for (int i = 0; i < 2; i++) {
            pthread_mutex_lock(&mutex);
            pthread_mutex_unlock(&mutex);
        }
        return;
    }
    if (kp_get(pool, kp_bytes(&w->key, sizeof w->key), NULL, &lease) != 0)
        exit(1);
    kp_release(&lease);
}

static void *work(void *arg)
{
    struct worker *w = arg;

    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        for (int i = 0; i < BATCH; i++)
            one_pair(w);
        atomic_fetch_add_explicit(&w->pairs, BATCH, memory_order_relaxed);
    }
    return NULL;
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* All threads' progress since the last call; 0 if a thread stood still. */
static uint64_t progress(struct worker *workers, int threads)
{
    uint64_t sum = 0, least = UINT64_MAX, most = 0;

    for (int i = 0; i < threads; i++) {
        uint64_t pairs = atomic_exchange(&workers[i].pairs, 0);

        sum += pairs;
        least = pairs < least ? pairs : least;
        most = pairs > most ? pairs : most;
    }
    return least * 4 >= most ? sum : 0;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The median of all good windows, in pairs per ns. */
static double watch(struct worker *workers, int threads, double seconds)
{
    static double   rates[WINDOWS];
    struct timespec window = { 0, 1000000 };
    uint64_t        end = now_ns() + (uint64_t)(seconds * 1e9);
    size_t          n = 0;

    while (now_ns() < end && n < WINDOWS) {
        uint64_t from, pairs;

        (void)progress(workers, threads);
        from = now_ns();
        nanosleep(&window, NULL);
        pairs = progress(workers, threads);
        if (pairs)
            rates[n++] = (double)pairs / (double)(now_ns() - from);
    }
    qsort(rates, n, sizeof *rates, by_size);
    return n ? rates[n / 2] : 0;
}

static void measure(const char *name, int threads, bool own_key, bool plain, double seconds)
{
    static struct worker workers[THREADS_MAX];
    double               rate;

    atomic_store(&stop, false);
    for (int i = 0; i < threads; i++) {
        workers[i].key = own_key ? (uint32_t)i : 0;
        workers[i].plain = plain;
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
            exit(1);
    }
    rate = watch(workers, threads, seconds);
    atomic_store(&stop, true);
    for (int i = 0; i < threads; i++)
        pthread_join(workers[i].thread, NULL);
    printf("%-28s %2d threads %8.2f M pairs/s\n", name, threads, rate * 1e3);
}

int main(int argc, char **argv)
{
    kp_options options = { .driver = { .create = create, .destroy = destroy },
                           .limits = { .max_live = THREADS_MAX, .max_creating = KP_UNLIMITED } };
    double     seconds = argc > 1 ? strtod(argv[1], NULL) : 1;
    long       most = argc > 2 ? strtol(argv[2], NULL, 10) : 2;

    if (seconds <= 0 || most < 1 || most > THREADS_MAX) {
        fprintf(stderr, "usage: threads [seconds for each line] [most threads, up to 64]\n");
        return 2;
    }
    if (kp_pool_open(&options, &pool) != 0)
        return 1;
    for (int threads = 1; threads <= most; threads *= 2) {
        measure("a mutex, twice", threads, false, true, seconds);
        measure("one key", threads, false, false, seconds);
        measure("a key for each thread", threads, true, false, seconds);
    }
    return kp_pool_close(pool, KP_CLOSE_WAIT, 0) != 0;
}
