/* SPDX-License-Identifier: MIT
 *
 * L8: does a release cost the same with 1 key and with 100,000? Each row fills a pool with so many
 * keys, all of them under one budget that is full, and times the release (and the get before it,
 * which hits) of one key that is always the same and of keys drawn at random. The random column
 * also pays for memory that is not in the cache, which no pool can avoid; the other one does not.
 * Built with KP_HAVE_APR (pkg-config apr-util-1), the same for apr_reslist, one list for each key.
 *
 * Usage: release_keys [seconds for each cell, 0.3] [keys of the last row, 100000]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "keyedpool.h"

#ifdef KP_HAVE_APR
#  include <apr_general.h>
#  include <apr_reslist.h>
#endif

enum { BATCH = 64 };

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t next_random(void)       /* splitmix64, always the same run */
{
    static uint64_t state = 42;
    uint64_t        z = state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void die(const char *what, int rc)
{
    fprintf(stderr, "release_keys: %s: %s\n", what, kp_strerror(rc));
    exit(1);
}

/* What is measured: so many keys, each with one thing idle. */
struct subject {
    const char *name;
    void (*fill)(uint32_t keys);
    void (*get)(uint32_t key, int place);
    void (*release)(int place);
    void (*empty)(uint32_t keys);
};

/* ---- keyedpool ---- */

static kp_pool *pool;
static kp_lease leases[BATCH];

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

static void pool_get(uint32_t key, int place)
{
    int rc = kp_get(pool, kp_bytes(&key, sizeof key), NULL, &leases[place]);

    if (rc < 0)
        die("get", rc);
}

static void pool_release(int place)
{
    kp_release(&leases[place]);
}

static void pool_fill(uint32_t keys)
{
    kp_options options = {
        .driver = { .create = create, .destroy = destroy },
        .limits = { .max_live = BATCH, .max_creating = KP_UNLIMITED },
        .budget = { .max_live = keys + BATCH },
    };
    int rc = kp_pool_open(&options, &pool);

    if (rc < 0)
        die("open", rc);
    for (uint32_t key = 0; key < keys; key++) {
        pool_get(key, 0);
        pool_release(0);
    }
    for (int i = 0; i < BATCH; i++)     /* a whole batch may draw the same key */
        pool_get(0, i);
    for (int i = 0; i < BATCH; i++)
        pool_release(i);
}

static void pool_empty(uint32_t keys)
{
    (void)keys;
    kp_pool_close(pool, KP_CLOSE_WAIT, 0);
}

/* ---- apr_reslist ---- */

#ifdef KP_HAVE_APR
static apr_pool_t     *apr;
static apr_reslist_t **lists;
static struct { apr_reslist_t *list; void *resource; } taken[BATCH];

static apr_status_t construct(void **out, void *params, apr_pool_t *p)
{
    static char thing;

    (void)params, (void)p;
    *out = &thing;
    return APR_SUCCESS;
}

static apr_status_t destruct(void *resource, void *params, apr_pool_t *p)
{
    return (void)resource, (void)params, (void)p, APR_SUCCESS;
}

static void apr_get(uint32_t key, int place)
{
    taken[place].list = lists[key];
    if (apr_reslist_acquire(lists[key], &taken[place].resource) != APR_SUCCESS)
        exit(1);
}

static void apr_give(int place)
{
    apr_reslist_release(taken[place].list, taken[place].resource);
}

static void apr_fill(uint32_t keys)
{
    apr_initialize();
    apr_pool_create(&apr, NULL);
    lists = calloc(keys, sizeof *lists);
    for (uint32_t i = 0; lists && i < keys; i++) {
        if (apr_reslist_create(&lists[i], 0, BATCH, BATCH, 0, construct, destruct, NULL, apr)
            != APR_SUCCESS)
            exit(1);
        apr_get(i, 0);
        apr_give(0);
    }
}

static void apr_empty(uint32_t keys)
{
    (void)keys;
    apr_pool_destroy(apr);
    free(lists);
    apr_terminate();
}
#endif

/* ---- the measuring ---- */

struct cell { double get_ns, release_ns; };

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *values, size_t n)
{
    qsort(values, n, sizeof *values, by_size);
    return values[n / 2];
}

/* Batches of gets, then of releases, for so many seconds; the median batch. */
static struct cell measure(const struct subject *s, uint32_t keys, bool at_random, double seconds)
{
    enum { MOST = 200000 };
    static double gets[MOST], releases[MOST];
    uint64_t      end = now_ns() + (uint64_t)(seconds * 1e9);
    size_t        n = 0;

    while (n < MOST && now_ns() < end) {
        uint32_t drawn[BATCH];
        uint64_t t0, t1, t2;

        for (int i = 0; i < BATCH; i++)
            drawn[i] = at_random ? (uint32_t)(next_random() % keys) : keys / 2;
        t0 = now_ns();
        for (int i = 0; i < BATCH; i++)
            s->get(drawn[i], i);
        t1 = now_ns();
        for (int i = 0; i < BATCH; i++)
            s->release(i);
        t2 = now_ns();
        gets[n] = (double)(t1 - t0) / BATCH;
        releases[n++] = (double)(t2 - t1) / BATCH;
    }
    return (struct cell){ median(gets, n), median(releases, n) };
}

static void table(const struct subject *s, double seconds, uint32_t most)
{
    struct cell first_same = { 0 }, first_random = { 0 }, same = { 0 }, random = { 0 };

    printf("%-12s %10s %14s %14s %14s %14s\n", s->name, "keys", "get, same", "release, same",
           "get, random", "release, random");
    for (uint32_t row = 0; row < 4; row++) {
        uint32_t rows[] = { 1, 100, 10000, most }, keys = rows[row] < most ? rows[row] : most;

        s->fill(keys);
        measure(s, keys, true, seconds / 4);            /* warm the caches, fill what is lazy */
        same = measure(s, keys, false, seconds);
        random = measure(s, keys, true, seconds);
        s->empty(keys);
        if (row == 0)
            first_same = same, first_random = random;
        printf("%-12s %10" PRIu32 " %11.1f ns %11.1f ns %11.1f ns %11.1f ns\n", s->name, keys,
               same.get_ns, same.release_ns, random.get_ns, random.release_ns);
    }
    printf("%-12s %10s %13.2fx %13.2fx %13.2fx %13.2fx\n\n", s->name, "last/first",
           same.get_ns / first_same.get_ns, same.release_ns / first_same.release_ns,
           random.get_ns / first_random.get_ns, random.release_ns / first_random.release_ns);
}

int main(int argc, char **argv)
{
    static const struct subject subjects[] = {
        { "keyedpool", pool_fill, pool_get, pool_release, pool_empty },
#ifdef KP_HAVE_APR
        { "apr_reslist", apr_fill, apr_get, apr_give, apr_empty },
#endif
    };
    double   seconds = argc > 1 ? strtod(argv[1], NULL) : 0.3;
    uint32_t most = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 0) : 100000;

    if (seconds <= 0 || most == 0) {
        fprintf(stderr, "usage: release_keys [seconds for each cell] [keys of the last row]\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++)
        table(&subjects[i], seconds, most);
    return 0;
}
