/* SPDX-License-Identifier: MIT
 *
 * The parts of the rounds on real threads (rounds.h): the one structure that all of them share,
 * chance and time, and a driver and a world that count.
 *
 * Each borrower writes to its resource without any synchronisation of its own. So a resource that
 * is lent to two, or too early, is a data race under ThreadSanitizer, and one that is lent after
 * its destruction is found by AddressSanitizer.
 */
#ifndef KP_TESTS_ROUNDS_CAST_H
#define KP_TESTS_ROUNDS_CAST_H

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "keyedpool.h"

#include <cmocka.h>

enum {
    ROUNDS_CREW = 8,
    ROUNDS_KEYS = 26,               /* keys begin with a small letter */
    ROUNDS_HANG_S = 60,             /* a round that takes so long hangs: SIGALRM ends the program */
    ROUNDS_LONG_MS = 30000,         /* a get that times out after that was lost, not just late */
    ROUNDS_BYTES = 10 << 14         /* what a pool of these cases may take at rest (I9) */
};

struct rounds_item {
    char key;
    atomic_uint users, alive;
    uint64_t uses; /* plain on purpose: see above */
};

/* How many there are, and how many there were at most. */
struct rounds_count { atomic_ullong now, most; };

struct rounds {
    const char *name;
    uint64_t seed;
    unsigned wanted, round; /* how many rounds; the number of this one, from 1 */
    kp_pool *pool;
    kp_options options;
    kp_world world;
    /* since the pool was opened: the driver's counts, the callers', the world's */
    atomic_ullong creates, create_failures, destroys, destroy_failures;
    atomic_ullong yes, timeouts, refusals, misuses;
    struct rounds_count live, live_of[ROUNDS_KEYS]; /* from the begin of create until destroyed */
    atomic_ullong bytes;
    /* what a case does inside the driver's functions; NULL: nothing. The result is the answer. */
    int (*in_create)(struct rounds *r, kp_job *job);
    int (*in_check)(struct rounds *r, kp_job *job, struct rounds_item *item);
    int (*in_destroy)(struct rounds *r, kp_job *job, struct rounds_item *item);
    /* the crew */
    unsigned crew;
    void (*play)(struct rounds *r, unsigned who);
    pthread_t thread[ROUNDS_CREW];
    pthread_barrier_t gate;
    atomic_uint arrived;
    atomic_ullong begin_ns;
    uint64_t apart_ns; /* the longest pause before a thread of the crew begins */
    bool cast;     /* each thread keeps its part; else parts change: a thread may often be first */
    unsigned turn; /* the thread that plays the first part in this round */
    bool over;
    atomic_bool queued; /* of rounds_queued */
    /* how the rounds ended, for people */
    atomic_uint tally[6];
    const char *const *tallies;
    /* the first thing that was wrong */
    atomic_uint wrong;
    char broken[300];
};

/* ---- what went wrong ------------------------------------------------------------------------- */

#define ROUNDS_EXPECT(r, cond, ...)                                                                \
    ((cond) ? (void)0 : rounds_wrong(r, __FILE__, __LINE__, #cond, __VA_ARGS__))

static KP_MAYBE_UNUSED void rounds_wrong(struct rounds *r, const char *file, int line,
                                         const char *what, const char *format, ...)
{
    char said[160];
    va_list args;

    if (atomic_fetch_add(&r->wrong, 1)) return;
    va_start(args, format);
    vsnprintf(said, sizeof said, format, args);
    va_end(args);
    snprintf(r->broken, sizeof r->broken, "%s:%d: not so: %s (%s)", file, line, what, said);
}

static KP_MAYBE_UNUSED void rounds_judge(struct rounds *r)
{
    if (atomic_load(&r->wrong))
        fail_msg("%s, round %u of KP_SEED=%llu: %s", r->name, r->round,
                 (unsigned long long)r->seed, r->broken);
}

/* ---- chance and time ------------------------------------------------------------------------- */

static _Thread_local uint64_t rounds_state;

static KP_MAYBE_UNUSED uint64_t rounds_random(void) /* splitmix64 */
{
    uint64_t z = rounds_state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* 0 .. n-1 */
static KP_MAYBE_UNUSED uint64_t rounds_roll(uint64_t n) { return rounds_random() % n; }

/* The same seed and round give the same choices, to each of the crew and to the judge. */
static KP_MAYBE_UNUSED void rounds_reseed(const struct rounds *r, unsigned who)
{
    rounds_state = r->seed ^ (uint64_t)r->round << 20 ^ (uint64_t)(who + 1) << 50;
    (void)rounds_random();
}

static KP_MAYBE_UNUSED uint64_t rounds_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static KP_MAYBE_UNUSED void rounds_spin_until(uint64_t ns)
{
    while (rounds_ns() < ns) continue;
}

/* A pause of at most so many ns, often none: after short ones, threads collide more often. */
static KP_MAYBE_UNUSED void rounds_pause(uint64_t most_ns)
{
    uint64_t ns = rounds_roll(most_ns + 1) >> rounds_roll(4);

    if (rounds_roll(4)) rounds_spin_until(rounds_ns() + ns);
}

/* Look again until it is so. It yields only after a while: a thread that yields too soon is moved
 * to the processor of another, and then the two run one after the other. */
#define ROUNDS_AWAIT(cond)                                                                         \
    do {                                                                                           \
        uint64_t patient_ = rounds_ns() + 15000;                                                   \
        while (!(cond))                                                                            \
            if (rounds_ns() > patient_) sched_yield();                                             \
    } while (0)

/* ---- the driver and the world ---------------------------------------------------------------- */

static KP_MAYBE_UNUSED void rounds_more(struct rounds_count *c)
{
    unsigned long long n = atomic_fetch_add(&c->now, 1) + 1, most = atomic_load(&c->most);

    while (n > most && !atomic_compare_exchange_weak(&c->most, &most, n)) continue;
}

static KP_MAYBE_UNUSED struct rounds_count *rounds_of(struct rounds *r, char key)
{
    return &r->live_of[(unsigned char)key >= 'a' && key <= 'z' ? key - 'a' : 0];
}

static KP_MAYBE_UNUSED char rounds_key(const kp_job *job)
{
    return *(const char *)job->key.data;
}

/* I7 and I10: the pool can be called from here, and its snapshot adds up. */
static KP_MAYBE_UNUSED void rounds_look(struct rounds *r, kp_pool *pool)
{
    kp_stats s;
    int rc = kp_stats_read(pool, KP_EVERY_KEY, &s);

    ROUNDS_EXPECT(r, rc == 0 || rc == KP_ECLOSED, "stats answer %d", rc);
    if (rc == 0)
        ROUNDS_EXPECT(r, s.live == s.creating + s.idle + s.lent + s.closing, "live is %llu",
                      (unsigned long long)s.live);
}

/* The resource that a create answers with; the caller has counted it as live. */
static KP_MAYBE_UNUSED struct rounds_item *rounds_make(struct rounds *r, char key)
{
    struct rounds_item *item = calloc(1, sizeof *item);

    if (!item) abort();
    item->key = key;
    atomic_init(&item->alive, 1);
    atomic_fetch_add(&r->creates, 1);
    return item;
}

static KP_MAYBE_UNUSED void rounds_unmade(struct rounds *r, char key)
{
    atomic_fetch_add(&r->create_failures, 1);
    atomic_fetch_sub(&rounds_of(r, key)->now, 1);
    atomic_fetch_sub(&r->live.now, 1);
}

static KP_MAYBE_UNUSED int rounds_create(kp_job *job, void **out)
{
    struct rounds *r = job->ctx;
    int status = 0;

    rounds_more(&r->live);
    rounds_more(rounds_of(r, rounds_key(job)));
    if (rounds_roll(8) == 0) rounds_look(r, job->pool);
    if (r->in_create) status = r->in_create(r, job);
    if (status == 0) *out = rounds_make(r, rounds_key(job));
    if (status < 0) rounds_unmade(r, rounds_key(job));
    return status;
}

static KP_MAYBE_UNUSED int rounds_destroy(kp_job *job, void *resource)
{
    struct rounds *r = job->ctx;
    struct rounds_item *item = resource;
    char key = item->key;
    int status = 0;

    /* relaxed: it is the pool that has to order them */
    ROUNDS_EXPECT(r, atomic_load_explicit(&item->users, memory_order_relaxed) == 0, "of key %c",
                  key);
    ROUNDS_EXPECT(r, atomic_exchange_explicit(&item->alive, 0, memory_order_relaxed) == 1,
                  "destroyed twice, of key %c", key);
    item->uses++;
    if (rounds_roll(8) == 0) rounds_look(r, job->pool);
    if (r->in_destroy) status = r->in_destroy(r, job, item);
    if (status < 0) atomic_fetch_add(&r->destroy_failures, 1);
    free(item);
    atomic_fetch_add(&r->destroys, 1);
    atomic_fetch_sub(&rounds_of(r, key)->now, 1);
    atomic_fetch_sub(&r->live.now, 1);
    return status;
}

static KP_MAYBE_UNUSED int rounds_check(kp_job *job, void *resource)
{
    struct rounds *r = job->ctx;
    struct rounds_item *item = resource;

    item->uses++;
    return r->in_check ? r->in_check(r, job, item) : 0;
}

static KP_MAYBE_UNUSED void rounds_on_event(const kp_event *event, void *ctx)
{
    struct rounds *r = ctx;

    if (event->kind == KP_EVENT_MISUSE) atomic_fetch_add(&r->misuses, 1);
}

static KP_MAYBE_UNUSED void *rounds_alloc(size_t size, size_t align, void *ctx)
{
    struct rounds *r = ctx;
    void *p;

    if (posix_memalign(&p, align < sizeof p ? sizeof p : align, size)) return NULL;
    atomic_fetch_add(&r->bytes, size);
    return p;
}

static KP_MAYBE_UNUSED void rounds_free(void *p, size_t size, void *ctx)
{
    struct rounds *r = ctx;

    if (p) atomic_fetch_sub(&r->bytes, size);
    free(p);
}

#endif
