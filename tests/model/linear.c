/* SPDX-License-Identifier: MIT
 *
 * Histories from real threads are linearizable: each key of the pool answers as if its calls had
 * come one after the other (wgl.h defines it). Each thread records into a buffer of its own, with
 * times of the monotonic clock, and shares nothing but the pool, so that recording does not order
 * what is recorded. Impossible histories, some written by hand and some made from recorded ones,
 * must be rejected.
 *
 *     test-model-linear [--histories N] [--seed S]
 */
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "keyedpool.h"
#include "wgl.h"

enum { THREADS = 4, CALLS = 64, KEYS = 2, HELD = 2 };

static const uint64_t LOOKS = 20000000; /* per history; beyond that the verdict is "unknown" */

static uint64_t draw(uint64_t *state) /* splitmix64, Steele, Lea and Flood 2014 */
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* ---- the driver: a resource is its serial and its key ---------------------------------------- */

static _Thread_local uint64_t made_here, destroyed_here; /* by this thread's current call */

static int create(kp_job *job, void **out)
{
    uint64_t key = (uint64_t) * (const char *)job->key.data - 'a';

    made_here = job->serial << 4 | key;
    *out = (void *)(uintptr_t)made_here;
    sched_yield(); /* give others a chance to come in between */
    return 0;
}

static int destroy(kp_job *job, void *resource)
{
    (void)job;
    destroyed_here = (uint64_t)(uintptr_t)resource;
    sched_yield();
    return 0;
}

/* ---- threads that record --------------------------------------------------------------------- */

struct history {
    kp_pool *pool;
    int keys, max_live;
    pthread_barrier_t start;
};

struct recorder {
    struct history *history;
    pthread_t thread;
    uint64_t state;
    kp_lease held[HELD];
    uint64_t seen; /* a resource that it once had */
    int n;
    struct wgl_op op[2 * (CALLS + HELD) + KEYS];
    int key[2 * (CALLS + HELD) + KEYS];
};

static kp_key name_of(uint64_t key)
{
    return kp_str(key ? "b" : "a");
}

static struct wgl_op *begin(struct recorder *r, enum wgl_kind kind, uint64_t key)
{
    struct wgl_op *op = &r->op[r->n];

    r->key[r->n++] = (int)key;
    *op = (struct wgl_op){ .kind = kind };
    made_here = destroyed_here = 0;
    op->called = now_ns();
    return op;
}

static void end(struct recorder *r, struct wgl_op *op)
{
    op->returned = now_ns();
    op->destroyed = destroyed_here != 0;
    if (!op->destroyed) return;
    r->op[r->n] = *op;
    r->op[r->n].kind = WGL_GONE;
    r->key[r->n] = r->key[r->n - 1];
    r->n++;
}

static void get(struct recorder *r, kp_lease *lease)
{
    uint64_t bits = draw(&r->state), key = bits % (uint64_t)r->history->keys;
    bool waits = bits >> 8 & 1, try = bits >> 9 & 1;
    kp_ask ask = { .within_ms = KP_NONE, .flags = try ? KP_DONT_WAIT : 0 };

    if (waits) ask = (kp_ask){ .until = { now_ns() + (bits >> 10) % 60000 } };
    struct wgl_op *op = begin(r, try && !waits ? WGL_TRY : WGL_GET, key);
    int code = kp_get(r->history->pool, name_of(key), &ask, lease);
    op->resource = code == 0 ? (uint64_t)(uintptr_t)lease->resource : 0;
    op->made = code == 0 && made_here == op->resource;
    /* a get that times out does so after its deadline, when nothing could serve it (L1) */
    if (code == KP_ETIMEDOUT && ask.until.ns > op->called) op->called = ask.until.ns;
    end(r, op);
    if (code == 0) r->seen = op->resource;
}

static void give_back(struct recorder *r, kp_lease *lease, bool discard)
{
    uint64_t resource = (uint64_t)(uintptr_t)lease->resource;
    struct wgl_op *op = begin(r, discard ? WGL_DISCARD : WGL_RELEASE, resource & 15);

    op->resource = resource;
    if (discard)
        kp_discard(lease);
    else
        kp_release(lease);
    end(r, op);
}

static void invalidate(struct recorder *r)
{
    struct wgl_op *op = begin(r, WGL_INVALIDATE, r->seen & 15);

    op->resource = r->seen;
    op->answer = kp_invalidate(r->history->pool, (void *)(uintptr_t)r->seen);
    end(r, op);
}

static void look(struct recorder *r, uint64_t key)
{
    struct wgl_op *op = begin(r, WGL_STATS, key);
    kp_stats s;

    if (kp_stats_read(r->history->pool, name_of(key), &s) != 0)
        r->n--; /* no such key yet */
    else
        op->answer = (int64_t)(s.live * 100 + s.idle);
    op->returned = now_ns();
}

static void *record(void *arg)
{
    struct recorder *r = arg;

    pthread_barrier_wait(&r->history->start);
    for (int i = 0; i < CALLS; i++) {
        uint64_t bits = draw(&r->state);
        kp_lease *lease = &r->held[bits % HELD];
        uint64_t what = (bits >> 8) % 16;
        if (what == 0 && r->seen)
            invalidate(r);
        else if (what == 1)
            look(r, (bits >> 16) % (uint64_t)r->history->keys);
        else if (!lease->resource)
            get(r, lease);
        else
            give_back(r, lease, what < 4);
    }
    for (int i = 0; i < HELD; i++)
        if (r->held[i].resource) give_back(r, &r->held[i], false);
    return NULL;
}

/* ---- one history ----------------------------------------------------------------------------- */

/* The operations of one key, of all threads. */
static int gather(const struct recorder *r, int threads, int key, struct wgl_op *out)
{
    int n = 0;

    for (int t = 0; t < threads; t++)
        for (int i = 0; i < r[t].n; i++) {
            if (r[t].key[i] != key) continue;
            out[n] = r[t].op[i];
            if (out[n].kind == WGL_GONE) out[n].part_of = n - 1;
            n++;
        }
    return n;
}

static void run(uint64_t seed, int threads, struct history *h, struct recorder *r)
{
    kp_options options = { .driver = { .create = create, .destroy = destroy }, .threads = KP_NONE };
    uint64_t state = seed;

    h->max_live = 1 + (int)(draw(&state) % 3);
    h->keys = 1 + (int)(draw(&state) % KEYS);
    options.limits.max_live = h->max_live;
    options.limits.max_creating = KP_UNLIMITED; /* max_live is to be the only limit */
    options.limits.idle_ttl_ms = KP_OFF;
    options.limits.max_age_ms = KP_OFF;
    if (kp_pool_open(&options, &h->pool) != 0) abort();
    pthread_barrier_init(&h->start, NULL, (unsigned)threads);
    for (int t = 0; t < threads; t++) {
        memset(&r[t], 0, sizeof r[t]);
        r[t].history = h;
        r[t].state = draw(&state);
        if (pthread_create(&r[t].thread, NULL, record, &r[t]) != 0) abort();
    }
    for (int t = 0; t < threads; t++) pthread_join(r[t].thread, NULL);
    for (int key = 0; key < h->keys; key++) look(&r[0], (uint64_t)key); /* last of all */
    pthread_barrier_destroy(&h->start);
    if (kp_pool_close(h->pool, KP_CLOSE_NOW, KP_NONE) != 0) abort();
}

static const char *const kind_name[] = { "get",        "try_get", "release", "discard",
                                         "invalidate", "gone",    "stats" };

static void print(const struct wgl_op *ops, int n)
{
    uint64_t first = UINT64_MAX;

    for (int i = 0; i < n; i++)
        if (ops[i].called < first) first = ops[i].called;
    for (int i = 0; i < n; i++)
        printf("  %8" PRIu64 " %8" PRIu64 " %-10s resource %" PRIu64 "%s%s answer %" PRId64 "\n",
               ops[i].called - first, ops[i].returned - first, kind_name[ops[i].kind],
               ops[i].resource >> 4, ops[i].made ? " made" : "",
               ops[i].destroyed ? " destroyed" : "", ops[i].answer);
}

/* ---- histories that cannot be ---------------------------------------------------------------- */

struct planted {
    const char *what;
    enum wgl_verdict verdict;
    int n;
    struct wgl_op op[5];
};

#define GET(c, r, res)                                                                             \
    {                                                                                              \
        .kind = WGL_GET, .called = c, .returned = r, .resource = res                               \
    }
#define MAKE(c, r, res)                                                                            \
    {                                                                                              \
        .kind = WGL_GET, .called = c, .returned = r, .resource = res, .made = true                 \
    }
#define TRY(c, r, res)                                                                             \
    {                                                                                              \
        .kind = WGL_TRY, .called = c, .returned = r, .resource = res                               \
    }
#define RELEASE(c, r, res)                                                                         \
    {                                                                                              \
        .kind = WGL_RELEASE, .called = c, .returned = r, .resource = res                           \
    }
#define MARK(c, r, res)                                                                            \
    {                                                                                              \
        .kind = WGL_INVALIDATE, .called = c, .returned = r, .resource = res, .answer = 1           \
    }

static const struct planted planted[] = {
    /* max_live is 2 */
    { "two leases at a time, each of its own", WGL_YES, 2, { MAKE(1, 2, 1), MAKE(3, 4, 2) } },
    { "a release that overlaps the get it serves",
      WGL_YES,
      4,
      { MAKE(1, 2, 1), RELEASE(3, 6, 1), GET(4, 5, 1), RELEASE(7, 8, 1) } },
    { "lent twice", WGL_NO, 2, { MAKE(1, 2, 1), GET(3, 4, 1) } },
    { "lent again before it was given back",
      WGL_NO,
      3,
      { MAKE(1, 2, 1), GET(3, 4, 1), RELEASE(5, 6, 1) } },
    { "one too many", WGL_NO, 3, { MAKE(1, 2, 1), MAKE(3, 4, 2), MAKE(5, 6, 3) } },
    { "no, although one was idle", WGL_NO, 3, { MAKE(1, 2, 1), RELEASE(3, 4, 1), TRY(5, 6, 0) } },
    { "no, although there was room", WGL_NO, 2, { MAKE(1, 2, 1), GET(3, 4, 0) } },
    { "one made beside an idle one",
      WGL_NO,
      3,
      { MAKE(1, 2, 1), RELEASE(3, 4, 1), MAKE(5, 6, 2) } },
    { "not the one used last",
      WGL_NO,
      5,
      { MAKE(1, 2, 1), MAKE(1, 2, 2), RELEASE(3, 4, 1), RELEASE(5, 6, 2), GET(7, 8, 1) } },
    { "lent after it was marked",
      WGL_NO,
      4,
      { MAKE(1, 2, 1), MARK(3, 4, 1), RELEASE(5, 6, 1), GET(7, 8, 1) } },
    { "an idle one that nothing counts",
      WGL_NO,
      3,
      { MAKE(1, 2, 1),
        RELEASE(3, 4, 1),
        { .kind = WGL_STATS, .called = 5, .returned = 6, .answer = 100 } } },
};

static int planted_are_told(void)
{
    int wrong = 0;
    uint64_t looked = 0;

    for (size_t i = 0; i < sizeof planted / sizeof planted[0]; i++) {
        const struct planted *p = &planted[i];
        if (wgl_check(p->op, p->n, 2, LOOKS, &looked) == p->verdict) continue;
        printf("planted: \"%s\" is %s\n", p->what, p->verdict == WGL_NO ? "let pass" : "refused");
        wrong++;
    }
    return wrong;
}

/* Breaks a recorded history where that must be noticed: its last statistics say one more idle. */
static int broken_are_told(const struct wgl_op *ops, int n, int max_live)
{
    static struct wgl_op broken[WGL_OPS];
    uint64_t looked = 0;
    int last = -1;

    for (int i = 0; i < n; i++)
        if (ops[i].kind == WGL_STATS && (last < 0 || ops[i].returned > ops[last].returned))
            last = i;
    if (last < 0) return 0;
    memcpy(broken, ops, (size_t)n * sizeof broken[0]);
    broken[last].answer++;
    return wgl_check(broken, n, max_live, LOOKS, &looked) != WGL_NO;
}

/* ---- all ------------------------------------------------------------------------------------- */

struct sums {
    uint64_t histories, calls, looked, most;
    int wrong;
};

static void check_key(const struct history *h, const struct recorder *r, int threads, int key,
                      uint64_t seed, struct sums *sums)
{
    static struct wgl_op ops[WGL_OPS];
    int n = gather(r, threads, key, ops);
    uint64_t looked = 0;
    enum wgl_verdict verdict = wgl_check(ops, n, h->max_live, LOOKS, &looked);

    for (int i = 0; i < n; i++) sums->calls += ops[i].kind != WGL_GONE;
    sums->looked += looked;
    if (looked > sums->most) sums->most = looked;
    if (verdict != WGL_YES) {
        printf("seed %" PRIu64 ", key %c, max_live %d: %s\n", seed, 'a' + key, h->max_live,
               verdict == WGL_NO ? "no order of these calls explains the answers" : "unknown");
        print(ops, n);
        sums->wrong++;
    }
    if (sums->histories % 50 == 0 && broken_are_told(ops, n, h->max_live)) {
        printf("seed %" PRIu64 ": a history broken on purpose was let pass\n", seed);
        sums->wrong++;
    }
}

int main(int argc, char **argv)
{
    static struct recorder recorder[THREADS];
    uint64_t histories = 100, seed = 1;
    struct sums sums = { .wrong = planted_are_told() };
    struct history h;

    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t value = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--histories") == 0)
            histories = value;
        else if (strcmp(argv[i], "--seed") == 0)
            seed = value;
        else
            return fprintf(stderr, "linear: what is %s?\n", argv[i]), 2;
    }
    uint64_t began = now_ns();
    printf("seeds from %" PRIu64 "\n", seed);
    for (; sums.histories < histories && sums.wrong == 0; sums.histories++, seed++) {
        int threads = sums.histories % 10 == 9 ? 1 : THREADS;
        run(seed, threads, &h, recorder);
        for (int key = 0; key < h.keys; key++) check_key(&h, recorder, threads, key, seed, &sums);
    }
    printf("%" PRIu64 " histories, %" PRIu64 " operations, %" PRIu64
           " places looked at (at most %" PRIu64 " for one key), in %.1f s\n",
           sums.histories, sums.calls, sums.looked, sums.most, (double)(now_ns() - began) / 1e9);
    return sums.wrong != 0;
}
