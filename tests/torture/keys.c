/* SPDX-License-Identifier: MIT
 *
 * Many keys, many threads, everything at once: random gets, releases, discards, invalidations and
 * closed keys, with a driver that fails now and then, expiry and forgetting in the background. At
 * the end the pool's totals must equal those of the driver and of the threads, and nothing may be
 * left. Then small pools are closed again and again while all threads use them.
 *
 * Environment: KP_SECONDS (2), KP_KEYS (100000), KP_THREADS (8), KP_SEED (from the clock; printed).
 * To be run under TSan and under ASan + UBSan: each holder writes to its resource without any
 * synchronisation of its own, so that a lease given to two, or given on too early, is a data race.
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

enum { HELD_MAX = 3, HOT_KEYS = 8, THREADS_MAX = 64, PER_KEY = 4 };

/* ---- what is lent ---- */

struct thing {
    uint32_t    key;
    atomic_uint users, alive;
    atomic_bool doomed;                 /* its holder had it invalidated: never to be lent again */
    uint64_t    uses;                   /* plain on purpose: see above */
};

struct counts {
    atomic_ullong creates, create_failures, destroys, wrong, misuses;
};

static struct counts counts;
static kp_pool      *pool;
static atomic_bool   stop, closing;
static uint32_t      keys = 100000;
static uint64_t      seed;

#define EXPECT(cond, ...) ((cond) ? (void)0 : went_wrong(__LINE__, #cond, __VA_ARGS__))

static void went_wrong(int line, const char *what, long long got)
{
    if (atomic_fetch_add(&counts.wrong, 1) < 20)
        fprintf(stderr, "keys.c:%d: %s does not hold (%lld)\n", line, what, got);
}

/* While the pool is being closed, any call of a thread may return KP_ECLOSED. */
static bool over(int rc)
{
    return rc == KP_ECLOSED && atomic_load(&closing);
}

static uint64_t next_random(uint64_t *state)    /* splitmix64 */
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static bool one_in(uint64_t n)
{
    static _Thread_local uint64_t state;
    static atomic_ullong          threads;

    if (!state)
        state = seed ^ (atomic_fetch_add(&threads, 1) + 1) * UINT64_C(0x51ed2701);
    return next_random(&state) % n == 0;
}

static int create(kp_job *job, void **out)
{
    struct thing *t;

    if (one_in(50)) {
        atomic_fetch_add(&counts.create_failures, 1);
        return kp_job_fail(job, 111, "one in fifty");
    }
    t = calloc(1, sizeof *t);
    if (!t)
        abort();
    EXPECT(job->key.size == sizeof t->key, (long long)job->key.size);
    memcpy(&t->key, job->key.data, sizeof t->key);
    atomic_init(&t->alive, 1);
    atomic_fetch_add(&counts.creates, 1);
    *out = t;
    return 0;
}

static int destroy(kp_job *job, void *resource)
{
    struct thing *t = resource;
    unsigned      users = atomic_load_explicit(&t->users, memory_order_relaxed);

    (void)job;
    EXPECT(users == 0, users);
    EXPECT(atomic_exchange_explicit(&t->alive, 0, memory_order_relaxed) == 1, t->key);
    t->uses++;
    atomic_fetch_add(&counts.destroys, 1);
    free(t);
    return 0;
}

static int validate(kp_job *job, void *resource)
{
    struct thing *t = resource;

    (void)job;
    t->uses++;
    return one_in(100) ? -1 : 0;
}

static void count_misuse(const kp_event *event, void *ctx)
{
    (void)ctx;
    if (event->kind == KP_EVENT_MISUSE) {
        atomic_fetch_add(&counts.misuses, 1);
        fprintf(stderr, "misuse: %s\n", event->why ? event->why->text : "?");
    }
}

/* ---- one thread ---- */

struct worker {
    pthread_t thread;
    uint64_t  random;
    kp_key    hot[HOT_KEYS];            /* pinned; {0} if not */
    struct held { kp_lease lease; struct thing *thing; } held[HELD_MAX];
    int       holds;
    uint64_t  yes, timeouts, refusals, gets_tried, closed_keys;
};

static void let_go(struct worker *w, int i, bool discard)
{
    struct held h = w->held[i];

    w->held[i] = w->held[--w->holds];
    h.thing->uses++;
    if (discard || one_in(64)) {
        if (one_in(2)) {                /* discard by kp_invalidate and kp_release */
            kp_lease_about about;
            int64_t        marked;

            atomic_store_explicit(&h.thing->doomed, true, memory_order_relaxed);
            marked = kp_invalidate(pool, h.thing);
            /* 0: its key was invalidated just before */
            EXPECT(marked == 0 || marked == 1, (long long)marked);
            EXPECT((kp_lease_read(&h.lease, &about) && about.doomed) || over(KP_ECLOSED), 0);
            discard = false;
        } else {
            discard = true;
        }
    }
    EXPECT(atomic_fetch_sub_explicit(&h.thing->users, 1, memory_order_relaxed) == 1, h.thing->key);
    if (discard)
        kp_discard(&h.lease);
    else
        kp_release(&h.lease);
    EXPECT(h.lease.resource == NULL, i);
}

static void took(struct worker *w, kp_lease lease, uint32_t number)
{
    struct thing *t = lease.resource;
    unsigned      users = atomic_fetch_add_explicit(&t->users, 1, memory_order_relaxed);

    w->yes++;
    EXPECT(users == 0, users);
    EXPECT(t->key == number, t->key);
    EXPECT(atomic_load_explicit(&t->alive, memory_order_relaxed) == 1, t->key);
    EXPECT(!atomic_load_explicit(&t->doomed, memory_order_relaxed), t->key);
    t->uses++;
    w->held[w->holds++] = (struct held){ lease, t };
}

static void get_one(struct worker *w, uint32_t number, kp_key key)
{
    uint64_t dice = next_random(&w->random);
    kp_ask   ask = { .within_ms = (int64_t)(dice % 4) + 1, .tag = "torture" };
    kp_lease lease;
    int      rc;

    if (dice >> 58 == 0)
        ask.within_ms = KP_NONE;
    if (dice >> 58 == 1)
        ask.flags = KP_DONT_WAIT;
    if (dice >> 58 == 2)
        ask.flags = KP_DONT_CREATE;
    if (dice >> 58 == 3)
        ask.flags = KP_FRESH;
    rc = kp_get(pool, key, &ask, &lease);
    if (rc == 0) {
        took(w, lease, number);
        return;
    }
    EXPECT(lease.resource == NULL, rc);
    if (rc == KP_ETIMEDOUT) {
        w->timeouts++;
    } else {
        w->refusals++;
        EXPECT(rc == KP_EAGAIN || rc == KP_ECREATE || rc == KP_EFULL || over(rc), rc);
    }
}

/* Close one key: its limit becomes zero and all its resources go; then open it again. */
static void close_key(struct worker *w, kp_key key)
{
    kp_limits shut = { .max_live = KP_NONE }, open = { .max_live = PER_KEY };
    int       rc = kp_limits_set(pool, key, &shut, NULL);
    int64_t   n;

    EXPECT(rc == 0 || rc == KP_ENOTFOUND || over(rc), rc);
    n = kp_invalidate_key(pool, key);
    EXPECT(n >= 0, (long long)n);
    sched_yield();
    rc = kp_limits_set(pool, key, &open, NULL);
    EXPECT(rc == 0 || rc == KP_ENOTFOUND || over(rc), rc);
    w->closed_keys++;
}

static void look(struct worker *w, kp_key key)
{
    kp_stats s;
    int      rc = kp_stats_read(pool, key, &s);

    EXPECT(rc == 0 || rc == KP_ENOTFOUND || over(rc), rc);
    if (rc == 0) {
        EXPECT(s.live == s.creating + s.idle + s.lent + s.closing, (long long)s.live);
        EXPECT(s.live <= PER_KEY + 1, (long long)s.live);
    }
    if (w->holds > 0) {
        kp_lease_about about;
        kp_lease       same = { 0 };

        EXPECT(kp_lease_read(&w->held[0].lease, &about), 0);
        rc = kp_lease_of(pool, w->held[0].thing, &same);
        EXPECT(rc == 0 || over(rc), rc);
        EXPECT(rc < 0 || memcmp(&same, &w->held[0].lease, sizeof same) == 0, 0);
    }
}

static void pin(struct worker *w, uint32_t number)
{
    int rc = kp_pin(pool, kp_bytes(&number, sizeof number), &w->hot[number]);

    EXPECT(rc == 0 || over(rc), rc);
}

static void *work(void *arg)
{
    struct worker *w = arg;

    for (uint32_t i = 0; i < HOT_KEYS && i < keys; i++)
        if (i % 2 == 0)
            pin(w, i);
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        uint64_t dice = next_random(&w->random);
        uint32_t among = dice & 1 || keys < HOT_KEYS ? keys : HOT_KEYS;
        uint32_t number = (uint32_t)(dice >> 32) % among;
        kp_key   key = kp_bytes(&number, sizeof number);

        if (number < HOT_KEYS && w->hot[number].size)
            key = w->hot[number];
        dice = dice >> 1 & 0xfff;
        if (w->holds == HELD_MAX || (w->holds > 0 && dice % 2))
            let_go(w, (int)(dice >> 4) % w->holds, dice % 64 == 1);
        else
            get_one(w, number, key);
        if (dice == 0)
            close_key(w, key);
        else if (dice < 8)
            look(w, key);
        else if (dice < 12)
            EXPECT(kp_invalidate_key(pool, key) >= 0, number);
        else if (dice < 16) {
            int64_t n = kp_rotate(pool, key, 10);
            EXPECT(n >= 0 || over((int)n), (long long)n);
        }
    }
    while (w->holds > 0)
        let_go(w, 0, false);
    for (int i = 0; i < HOT_KEYS; i++)
        if (w->hot[i].size)
            kp_unpin(pool, &w->hot[i]);
    return NULL;
}

/* ---- the run ---- */

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *value = getenv(name);

    return value && *value ? strtoull(value, NULL, 0) : otherwise;
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
}

/* Everything idle goes; in the end the pool must be empty, and forget its keys. */
static kp_stats drain(void)
{
    kp_stats s = { 0 };

    kp_invalidate_key(pool, KP_EVERY_KEY);
    for (int i = 0; i < 20000; i++) {
        EXPECT(kp_stats_read(pool, KP_EVERY_KEY, &s) == 0, 0);
        if (s.live == 0 && s.keys == 0)
            break;
        pause_ms(1);
    }
    return s;
}

static void add_up(const kp_stats *s, const struct worker *w, size_t threads)
{
    uint64_t yes = 0, timeouts = 0, refusals = 0, closed = 0;

    for (size_t i = 0; i < threads; i++) {
        yes += w[i].yes;
        timeouts += w[i].timeouts;
        refusals += w[i].refusals;
        closed += w[i].closed_keys;
    }
    EXPECT(s->gets == yes, (long long)(s->gets - yes));
    EXPECT(s->timeouts == timeouts, (long long)(s->timeouts - timeouts));
    EXPECT(s->refusals == refusals, (long long)(s->refusals - refusals));
    EXPECT(s->creates == counts.creates, (long long)(s->creates - counts.creates));
    EXPECT(s->create_failures == counts.create_failures, (long long)s->create_failures);
    EXPECT(s->destroys == counts.destroys, (long long)(s->destroys - counts.destroys));
    EXPECT(s->live == 0 && s->lent == 0 && s->leases == 0 && s->waiting == 0, (long long)s->live);
    EXPECT(s->keys == 0 && s->keys_made == s->keys_forgotten, (long long)s->keys);
    EXPECT(s->misuses == 0 && counts.misuses == 0, (long long)s->misuses);
    printf("%" PRIu64 " gets (%" PRIu64 " hits), %" PRIu64 " timeouts, %" PRIu64 " refusals, ",
           s->gets, s->hits, s->timeouts, s->refusals);
    printf("%" PRIu64 " creates, %" PRIu64 " expired, %" PRIu64 " evicted, ", s->creates,
           s->expired, s->evicted);
    printf("%" PRIu64 " keys made, %" PRIu64 " forgotten, %" PRIu64 " closed\n", s->keys_made,
           s->keys_forgotten, closed);
    EXPECT(yes > 0, 0);
}

static struct worker *start(size_t threads)
{
    struct worker *w = calloc(threads, sizeof *w);

    if (!w)
        abort();
    atomic_store(&stop, false);
    for (size_t i = 0; i < threads; i++) {
        w[i].random = seed + i * UINT64_C(0x1000003);
        if (pthread_create(&w[i].thread, NULL, work, &w[i]) != 0)
            abort();
    }
    return w;
}

static void join(struct worker *w, size_t threads)
{
    atomic_store(&stop, true);
    for (size_t i = 0; i < threads; i++)
        pthread_join(w[i].thread, NULL);
}

static void run(size_t threads, uint64_t seconds)
{
    struct worker *w = start(threads);
    kp_stats       s;

    pause_ms((long)seconds * 1000);
    join(w, threads);
    s = drain();
    add_up(&s, w, threads);
    free(w);
}

static void open_pool(void)
{
    kp_options options = {
        .name = "torture",
        .driver = { .create = create, .destroy = destroy, .validate = validate },
        .on_event = count_misuse,
        .forget_key_after_ms = 200,
        .limits = {
            .max_live = PER_KEY, .idle_ttl_ms = 20, .max_age_ms = 40,
            .validate_after_ms = KP_NONE, .retry_first_ms = KP_NONE, .max_creating = KP_UNLIMITED,
            .renew_ahead_ms = 8, .surplus = 1,
        },
        .budget = { .max_live = keys < 4000 ? keys / 8 + 16 : 500 },    /* so that some evict */
    };

    if (kp_pool_open(&options, &pool) < 0)
        abort();
}

static void close_pool(void)
{
    int64_t out = kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(30));

    EXPECT(out == 0, (long long)out);
    EXPECT(counts.creates == counts.destroys, (long long)(counts.creates - counts.destroys));
}

/* Close a pool while all threads use it, in each mode, with and without time to wait. */
static void close_under_fire(size_t threads, int round)
{
    static const kp_close_mode modes[] = { KP_CLOSE_NOW, KP_CLOSE_WAIT, KP_CLOSE_DRAIN };
    struct worker             *w;
    int64_t                    out;

    open_pool();
    atomic_store(&closing, true);
    w = start(threads);
    pause_ms(5);
    out = kp_pool_close(pool, modes[round % 3], round % 2 ? 3 : KP_NONE);
    EXPECT(out >= 0, (long long)out);
    join(w, threads);
    free(w);
    close_pool();
    atomic_store(&closing, false);
}

int main(void)
{
    uint64_t   seconds = setting("KP_SECONDS", 2);
    size_t     threads = (size_t)setting("KP_THREADS", 8);

    seed = setting("KP_SEED", (uint64_t)time(NULL));
    keys = (uint32_t)setting("KP_KEYS", keys);
    if (keys == 0 || threads == 0 || threads > THREADS_MAX)
        return 2;
    printf("KP_SEED=%" PRIu64 " KP_KEYS=%" PRIu32, seed, keys);
    printf(" KP_THREADS=%zu KP_SECONDS=%" PRIu64 "\n", threads, seconds);
    alarm((unsigned)seconds * 10 + 120);        /* a lost wake-up must end as a failure */
    open_pool();
    run(threads, seconds);
    close_pool();
    for (int round = 0; round < 60; round++)
        close_under_fire(threads, round);
    EXPECT(counts.misuses == 0, (long long)counts.misuses);
    printf("%s\n", counts.wrong ? "FAILED" : "ok: nothing lost, counts add up");
    return counts.wrong ? 1 : 0;
}
