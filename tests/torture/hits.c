/* SPDX-License-Identifier: MIT
 *
 * Hits without the lock (L9), together with everything that shuts a lane: a few keys, many threads
 * that get and give back, now and then discard, invalidate, change limits, read counters, pin and
 * unpin, let keys be forgotten, and close the pool while others use it. Each resource counts its
 * owners, who write to it without any synchronisation of their own, so that a resource that is lent
 * to two, or handed on too early, is a data race. Copies of a lease are given back by two threads
 * at the same moment: one succeeds, the other is told of its misuse. Some calls use keys, pins and
 * leases that are gone, whose lines other keys have by now. Bursts by one thread are long enough
 * for cells to get homes (core/home.c), and threads that move between processors take them away
 * again; some pools are left more alone, so that homes last. At the end the counters must add up,
 * and nothing may be left.
 *
 * Environment: KP_SECONDS (2), KP_THREADS (6), KP_SEED (from the clock; printed), KP_LANES.
 */
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "keyedpool.h"

enum { KEYS = 4, THREADS_MAX = 32, GHOSTS = 8, STRAYS = 64 };
enum { BURST = 3000 }; /* pairs: some seek a home (core/lane.h) */

/* ---- what is lent ---------------------------------------------------------------------------- */

struct thing {
    uint32_t key;
    atomic_uint owners;
    atomic_bool doomed; /* its owner had it invalidated: never to be lent again */
    uint64_t uses;      /* plain on purpose: see above */
};

static struct {
    atomic_ullong made, gone, wrong, told, expected; /* expected: misuses */
} counts;
static uint64_t seed;
#if defined __linux__
static cpu_set_t processors; /* written before there are threads */
#endif

#define EXPECT(cond, ...) ((cond) ? (void)0 : went_wrong(__LINE__, #cond, __VA_ARGS__))

static void went_wrong(int line, const char *what, long long got)
{
    if (atomic_fetch_add(&counts.wrong, 1) < 20)
        fprintf(stderr, "hits.c:%d: %s does not hold (%lld)\n", line, what, got);
}

static uint64_t next_random(uint64_t *state) /* splitmix64 */
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static int create(kp_job *job, void **out)
{
    struct thing *t = calloc(1, sizeof *t);

    if (!t) abort();
    EXPECT(job->key.size == sizeof t->key, (long long)job->key.size);
    memcpy(&t->key, job->key.data, sizeof t->key);
    atomic_fetch_add(&counts.made, 1);
    *out = t;
    return 0;
}

static int destroy(kp_job *job, void *resource)
{
    struct thing *t = resource;

    (void)job;
    EXPECT(atomic_load_explicit(&t->owners, memory_order_relaxed) == 0, t->key);
    t->uses++;
    atomic_fetch_add(&counts.gone, 1);
    free(t);
    return 0;
}

/* Nobody else has the resource while is_clean or reset runs. */
static bool is_clean(void *resource, void *ctx)
{
    struct thing *t = resource;

    (void)ctx;
    EXPECT(atomic_load_explicit(&t->owners, memory_order_relaxed) == 0, t->key);
    return t->uses++ % 8 != 0;
}

static int reset(kp_job *job, void *resource)
{
    struct thing *t = resource;

    (void)job;
    EXPECT(atomic_load_explicit(&t->owners, memory_order_relaxed) == 0, t->key);
    t->uses++;
    return 0;
}

static void hear(const kp_event *event, void *ctx)
{
    (void)ctx;
    if (event->kind == KP_EVENT_MISUSE) atomic_fetch_add(&counts.told, 1);
}

static void hear_of_no_pool(const kp_why *why, void *arg)
{
    (void)why, (void)arg;
    atomic_fetch_add(&counts.told, 1);
}

/* Every second pool has is_clean. */
static kp_pool *open_pool(void)
{
    static unsigned opened;
    kp_options options = {
        .name = "hits",
        .driver = { .create = create, .destroy = destroy },
        .on_event = hear,
        .forget_key_after_ms = 5,
        .leak_after_ms = 30000,
        .limits = { .max_live = 20, .idle_ttl_ms = 300, .max_age_ms = 500,
                    .retry_first_ms = KP_NONE, .max_creating = KP_UNLIMITED },
    };
    kp_pool *pool;

    if (opened++ % 2) {
        options.driver.reset = reset;
        options.driver.is_clean = is_clean;
    }
    if (kp_pool_open(&options, &pool) != 0) abort();
    return pool;
}

/* ---- one thread ------------------------------------------------------------------------------ */

struct round { /* one pool's life */
    kp_pool *pool;
    bool quiet; /* threads do fewer things that shut lanes */
    atomic_bool stop;
    atomic_ullong gets;
};

struct worker {
    pthread_t thread;
    struct round *round;
    uint64_t random;
    kp_key pin[KEYS];        /* {0}: not pinned */
    kp_key ghost[GHOSTS];    /* pins that were let go; of this pool, and of those before */
    kp_lease stray[STRAYS];  /* leases that ended */
    unsigned ghosts, strays;
    kp_lease held[2];
    unsigned holds;
};

static bool closing(int rc)
{
    return rc == KP_ECLOSED;
}

static kp_key key_of(struct worker *w, const uint32_t *number, bool bytes)
{
    return bytes || !w->pin[*number].size ? kp_bytes(number, sizeof *number) : w->pin[*number];
}

static void took(struct worker *w, uint32_t number, kp_lease lease)
{
    struct thing *t = lease.resource;

    atomic_fetch_add_explicit(&w->round->gets, 1, memory_order_relaxed);
    EXPECT(t->key == number, t->key);
    EXPECT(atomic_fetch_add_explicit(&t->owners, 1, memory_order_relaxed) == 0, t->key);
    EXPECT(!atomic_load_explicit(&t->doomed, memory_order_relaxed), t->key);
    t->uses++;
    w->held[w->holds++] = lease;
}

static void take(struct worker *w)
{
    uint64_t dice = next_random(&w->random);
    uint32_t number = (uint32_t)(dice >> 32) % KEYS;
    kp_ask ask = { .within_ms = 1 + (int64_t)(dice % 3), .tag = "torture" };
    kp_lease lease;

    if (dice >> 16 & 1) ask.flags = KP_DONT_WAIT;
    int rc = kp_get(w->round->pool, key_of(w, &number, dice >> 8 & 1),
                    w->holds || dice >> 9 & 1 ? &ask : NULL, &lease);
    if (rc == 0) took(w, number, lease);
    else
        EXPECT(!lease.resource && (rc == KP_EAGAIN || rc == KP_ETIMEDOUT || closing(rc)), rc);
}

/* For two threads that end copies of one lease at the same moment. */
static struct duel {
    atomic_uint state; /* 0: none; 1: being written; 2: offered; 3: taken; 4: over */
    kp_lease copy;
} duel;

static void fight(void)
{
    unsigned offered = 2;

    if (!atomic_compare_exchange_strong(&duel.state, &offered, 3)) return;
    kp_lease copy = duel.copy;
    kp_release(&copy);
    atomic_store(&duel.state, 4);
}

/* End the lease while giving others the time to end its copy. False: two others are in a duel. */
static bool end_in_a_duel(kp_lease *lease, unsigned patience)
{
    unsigned none = 0, offered = 2;

    if (!atomic_compare_exchange_strong(&duel.state, &none, 1)) return false;
    duel.copy = *lease;
    atomic_store(&duel.state, 2);
    while (patience-- > 0 && atomic_load(&duel.state) == 2) continue;
    kp_release(lease);
    if (atomic_compare_exchange_strong(&duel.state, &offered, 0)) return true; /* nobody came */
    while (atomic_load(&duel.state) != 4) sched_yield();
    atomic_fetch_add(&counts.expected, 1);
    atomic_store(&duel.state, 0);
    return true;
}

static void give(struct worker *w)
{
    uint64_t dice = next_random(&w->random);
    kp_lease lease = w->held[--w->holds];
    struct thing *t = lease.resource;

    t->uses++;
    w->stray[w->strays++ % STRAYS] = lease;
    if (dice % 64 == 0) {
        atomic_store_explicit(&t->doomed, true, memory_order_relaxed);
        int64_t found = kp_invalidate(w->round->pool, t);
        EXPECT(found == 0 || found == 1, (long long)found);
    }
    EXPECT(atomic_fetch_sub_explicit(&t->owners, 1, memory_order_relaxed) == 1, t->key);
    if (dice >> 8 & 7 || !end_in_a_duel(&lease, 0))
        (dice >> 16 & 63 ? kp_release : kp_discard)(&lease);
}

/* One key for a while, and hardly anything but gets and releases, so that its cell gets a home.
 * Some leases have a copy, which another thread may end. */
static void burst(struct worker *w)
{
    uint64_t dice = next_random(&w->random);
    uint32_t number = (uint32_t)(dice >> 32) % KEYS;
    kp_lease lease;

    for (unsigned left = BURST * (1 + (unsigned)(dice & 3)); left > 0 && w->holds == 0; left--) {
        if (atomic_load_explicit(&w->round->stop, memory_order_relaxed)) return;
        int rc = kp_try_get(w->round->pool, key_of(w, &number, dice >> 8 & 1), &lease);
        EXPECT(rc == 0 || rc == KP_EAGAIN || closing(rc), rc);
        if (rc != 0) return;
        took(w, number, lease);
        if (left % 512 == 0) {
            give(w);
            continue;
        }
        struct thing *t = lease.resource;
        w->holds--;
        EXPECT(atomic_fetch_sub_explicit(&t->owners, 1, memory_order_relaxed) == 1, t->key);
        if (left % 64 || !end_in_a_duel(&lease, left / 64 % 4 * 100)) kp_release(&lease);
        if (left % 32 == 16) fight();
    }
}

/* Uses what is gone, an ended lease or an old pin. Each time that is reported and does nothing. */
static void guess(struct worker *w)
{
    uint64_t dice = next_random(&w->random);
    kp_lease stray = w->stray[(unsigned)dice % STRAYS], none = { 0 };
    kp_key ghost = w->ghost[(unsigned)(dice >> 32) % GHOSTS];

    if (stray.resource) {
        atomic_fetch_add(&counts.expected, 1);
        (dice >> 62 ? kp_release : kp_discard)(&stray);
    }
    if (!ghost.size) return;
    if (w->holds == 2) return;
    int rc = kp_get(w->round->pool, ghost, KP_ASK(.flags = KP_DONT_WAIT), &none);
    EXPECT(rc == 0 || rc == KP_EMISUSE || rc == KP_EAGAIN || closing(rc), rc);
    if (rc == KP_EMISUSE) atomic_fetch_add(&counts.expected, 1);
    if (rc == 0) took(w, ((struct thing *)none.resource)->key, none); /* pinned again: the same */
    else EXPECT(!none.resource, rc);
}

/* A key is pinned by one thread at a time, so that nobody else has the pin when it is unpinned. */
static atomic_uint pinned[KEYS];

static void pin_or_not(struct worker *w)
{
    uint32_t number = (uint32_t)next_random(&w->random) % KEYS;
    kp_key *pin = &w->pin[number];
    unsigned none = 0;

    if (pin->size) {
        w->ghost[w->ghosts++ % GHOSTS] = *pin;
        kp_unpin(w->round->pool, pin);
        *pin = kp_bytes(NULL, 0);
        atomic_store(&pinned[number], 0);
    } else if (atomic_compare_exchange_strong(&pinned[number], &none, 1)) {
        int rc = kp_pin(w->round->pool, kp_bytes(&number, sizeof number), pin);
        EXPECT(rc == 0 || closing(rc), rc);
        if (rc != 0) *pin = kp_bytes(NULL, 0);
        if (rc != 0) atomic_store(&pinned[number], 0);
    }
}

static int add_up(kp_key key, const kp_stats *s, void *arg)
{
    (void)key, (void)arg;
    EXPECT(s->live == s->creating + s->idle + s->lent + s->closing, (long long)s->live);
    EXPECT(s->leases == s->lent && s->hits <= s->gets, (long long)s->leases);
    return 0;
}

static void look(struct worker *w)
{
    uint64_t dice = next_random(&w->random);
    uint32_t number = (uint32_t)(dice >> 32) % KEYS;
    kp_key key = kp_bytes(&number, sizeof number);
    static const int64_t most[] = { 1, 3, 20, 40 };
    kp_limits limits = { .max_live = most[dice >> 8 & 3], .max_idle = dice & 1 ? 2 : KP_UNLIMITED };
    kp_lease_about about;
    kp_lease same;
    char text[200];
    kp_stats s;
    int rc = 0;

    switch (dice >> 16 & 7) {
    case 0: rc = kp_stats_read(w->round->pool, KP_EVERY_KEY, &s); break;
    case 1: rc = kp_limits_set(w->round->pool, key, &limits, NULL); break;
    case 2: rc = kp_each_key(w->round->pool, add_up, NULL); break;
    case 3: (void)kp_explain(w->round->pool, key, text, sizeof text); break;
    case 4:
        if (dice >> 20 & 1) EXPECT(kp_invalidate_key(w->round->pool, key) >= 0, number);
        break;
    case 5:
        if (w->holds) EXPECT(kp_lease_read(&w->held[0], &about), 0);
        break;
    case 6:
        if (w->holds) rc = kp_lease_of(w->round->pool, w->held[0].resource, &same);
        break;
    default: pin_or_not(w);
    }
    EXPECT(rc == 0 || closing(rc) || rc == KP_ENOTFOUND, rc);
}

/* Moves to one of the processors that the program began with, where the system allows it. */
static void hop(struct worker *w)
{
#if defined __linux__
    size_t to = (size_t)(next_random(&w->random) >> 32) % CPU_SETSIZE;
    cpu_set_t one;

    while (!CPU_ISSET(to, &processors)) to = (to + 1) % CPU_SETSIZE;
    CPU_ZERO(&one);
    CPU_SET(to, &one);
    (void)sched_setaffinity(0, sizeof one, &one);
#else
    (void)w;
#endif
}

static void *work(void *arg)
{
    struct worker *w = arg;
    unsigned looks = w->round->quiet ? 1 : 8, bursts = w->round->quiet ? 8 : 1;

    while (!atomic_load_explicit(&w->round->stop, memory_order_relaxed)) {
        uint64_t dice = next_random(&w->random);
        if (w->holds == 2 || (w->holds && dice & 1)) give(w);
        else take(w);
        if ((dice >> 8 & 1023) < looks) look(w);
        if ((dice >> 32 & 1023) < 4) hop(w);
        if ((dice >> 42 & 1023) < bursts) burst(w);
        if ((dice >> 20 & 255) == 0) guess(w);
        if ((dice >> 28 & 15) == 0) fight();
    }
    while (w->holds) give(w);
    for (int i = 0; i < KEYS; i++) {
        if (!w->pin[i].size) continue;
        w->ghost[w->ghosts++ % GHOSTS] = w->pin[i];
        kp_unpin(w->round->pool, &w->pin[i]);
        w->pin[i] = kp_bytes(NULL, 0);
        atomic_store(&pinned[i], 0);
    }
    return NULL;
}

/* ---- the run --------------------------------------------------------------------------------- */

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *value = getenv(name);

    return value && *value ? strtoull(value, NULL, 0) : otherwise;
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
}

static uint64_t wall(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Everything was given back, and the pool's counters are what the threads counted. */
static void account(struct round *r, uint64_t told, uint64_t expected)
{
    kp_stats s;

    (void)kp_invalidate_key(r->pool, KP_EVERY_KEY);
    EXPECT(kp_stats_read(r->pool, KP_EVERY_KEY, &s) == 0, 0);
    EXPECT(s.gets == r->gets, (long long)(s.gets - r->gets));
    EXPECT(s.lent == 0 && s.leases == 0 && s.idle == 0, (long long)s.leases);
    EXPECT(s.gets == s.hits + s.creates - s.idle || s.gets <= s.hits + s.creates, 0);
    EXPECT(counts.told - told == counts.expected - expected,
           (long long)(counts.told - told - counts.expected + expected));
    EXPECT(kp_pool_close(r->pool, KP_CLOSE_WAIT, KP_SECONDS(30)) == 0, 0);
}

/* A pool's life: threads use it for `ms`; every second time it is closed while they still do. */
static uint64_t live(struct worker *w, size_t threads, long ms, unsigned number)
{
    struct round r = { .pool = open_pool(), .quiet = number / 4 % 2 };
    uint64_t told = counts.told, expected = counts.expected;
    static const kp_close_mode modes[] = { KP_CLOSE_NOW, KP_CLOSE_WAIT, KP_CLOSE_DRAIN };

    for (size_t i = 0; i < threads; i++) {
        w[i].round = &r;
        if (pthread_create(&w[i].thread, NULL, work, &w[i]) != 0) abort();
    }
    pause_ms(ms);
    if (number % 2) EXPECT(kp_pool_close(r.pool, modes[number / 2 % 3], 2) >= 0, 0);
    atomic_store(&r.stop, true);
    for (size_t i = 0; i < threads; i++) pthread_join(w[i].thread, NULL);
    if (number % 2) EXPECT(kp_pool_close(r.pool, KP_CLOSE_WAIT, KP_SECONDS(30)) == 0, 0);
    else account(&r, told, expected);
    EXPECT(counts.made == counts.gone, (long long)(counts.made - counts.gone));
    return r.gets;
}

int main(void)
{
    static struct worker w[THREADS_MAX];
    uint64_t seconds = setting("KP_SECONDS", 2), gets = 0, began = wall();
    size_t threads = (size_t)setting("KP_THREADS", 6);
    unsigned lives = 0;

    seed = setting("KP_SEED", (uint64_t)time(NULL));
    if (threads == 0 || threads > THREADS_MAX) return 2;
    printf("KP_SEED=%" PRIu64 " KP_THREADS=%zu KP_SECONDS=%" PRIu64 "\n", seed, threads, seconds);
#if defined __linux__
    if (sched_getaffinity(0, sizeof processors, &processors) != 0) return 2;
#endif
    alarm((unsigned)seconds * 10 + 120); /* a lost wake-up must end as a failure */
    kp_on_misuse(hear_of_no_pool, NULL);
    for (size_t i = 0; i < threads; i++) w[i].random = seed + i * UINT64_C(0x1000003);
    while (wall() - began < seconds * 1000)
        gets += live(w, threads, lives % 4 == 0 ? 100 : 10, lives), lives++;
    printf("%u pools, %" PRIu64 " gets, %llu resources, %llu misuses told\n", lives, gets,
           atomic_load(&counts.made), atomic_load(&counts.told));
    printf("%s\n", counts.wrong ? "FAILED" : "ok: nothing lost, counts add up");
    return counts.wrong ? 1 : 0;
}
