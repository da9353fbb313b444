/* SPDX-License-Identifier: MIT
 *
 * Threads and event loops together, on shared pools: 16 threads that block and 4 loops, with
 * deadlines, cancels, failing creates, driver functions that other threads answer later,
 * invalidations and limits that change. There are three pools: one whose driver never blocks, one
 * whose driver blocks and that has threads of its own, and one that the first loop keeps and runs.
 * At the end the pools' totals must equal those of the driver and of the callers, and nothing may
 * be left.
 *
 * Environment: KP_SECONDS (2), KP_THREADS (16), KP_SEED (from the clock; printed). To be run under
 * TSan and under ASan + UBSan: each holder writes to its resource without any synchronisation of
 * its own, so that a lease given to two, or given on too early, is a data race.
 */
#include "loops_parts.h"

/* ---- what both do with a lease --------------------------------------------------------------- */

static void end_lease(struct house *h, kp_lease *lease)
{
    struct thing *t = lease->resource;

    t->uses++;
    EXPECT(atomic_fetch_sub_explicit(&t->users, 1, memory_order_relaxed) == 1, t->key);
    if (one_in(16)) {
        /* marked by its holder: it must not be lent again */
        atomic_store_explicit(&t->doomed, true, memory_order_relaxed);
        EXPECT(kp_invalidate(h->pool, t) >= 0, 0);
    }
    if (one_in(16)) kp_discard(lease);
    else kp_release(lease);
    EXPECT(lease->resource == NULL, 0);
}

/* Count an answer, and look at what was lent. */
static void answer(struct house *h, uint32_t key, int rc, const kp_lease *lease)
{
    struct thing *t = lease->resource;
    unsigned users;

    if (rc != 0) {
        EXPECT(t == NULL, rc);
        EXPECT(rc == KP_ETIMEDOUT || rc == KP_EAGAIN || rc == KP_ECREATE || rc == KP_EFULL, rc);
        atomic_fetch_add(rc == KP_ETIMEDOUT ? &h->timeouts : &h->refusals, 1);
        return;
    }
    atomic_fetch_add(&h->yes, 1);
    users = atomic_fetch_add_explicit(&t->users, 1, memory_order_relaxed);
    EXPECT(users == 0, users);
    EXPECT(t->key == key, t->key);
    EXPECT(atomic_load_explicit(&t->alive, memory_order_relaxed) == 1, t->key);
    EXPECT(!atomic_load_explicit(&t->doomed, memory_order_relaxed), t->key);
    t->uses++;
}

static kp_ask some_ask(void)
{
    kp_ask ask = { .within_ms = 1 + (int64_t)roll(6), .tag = "loops" };

    switch (roll(24)) {
    case 0: ask.within_ms = KP_NONE; break;
    case 1: ask.flags = KP_DONT_WAIT; break;
    case 2: ask.flags = KP_DONT_CREATE; break;
    case 3: ask.flags = KP_FRESH; break;
    case 4: ask.within_ms = 100; break;
    default: break;
    }
    return ask;
}

/* What any thread may do to a pool at any time. */
static void meddle(struct house *h)
{
    uint32_t number = (uint32_t)roll(KEYS);
    kp_key key = kp_bytes(&number, sizeof number);
    kp_limits limits = { .max_live = 1 + (int64_t)roll(PER_KEY) };
    kp_stats s;
    int rc;

    switch (roll(6)) {
    case 0: EXPECT(kp_invalidate_key(h->pool, key) >= 0, number); break;
    case 1:
        rc = kp_limits_set(h->pool, key, &limits, NULL);
        EXPECT(rc == 0 || rc == KP_ENOTFOUND, rc);
        break;
    case 2: EXPECT(kp_warm(h->pool, &key, 1, NULL) == 0, number); break;
    case 3:
        rc = kp_stats_read(h->pool, key, &s);
        EXPECT(rc == 0 || rc == KP_ENOTFOUND, rc);
        if (rc == 0) EXPECT(s.live <= PER_KEY, (long long)s.live);
        break;
    default:
        EXPECT(kp_stats_read(h->pool, KP_EVERY_KEY, &s) == 0, 0);
        EXPECT(s.live == s.creating + s.idle + s.lent + s.closing, (long long)s.live);
        EXPECT(s.live <= ALL_KEYS, (long long)s.live);
    }
}

/* ---- a thread that blocks -------------------------------------------------------------------- */

enum { HELD = 2 };

static void *work(void *arg)
{
    struct held { kp_lease lease; struct house *house; } held[HELD];
    int holds = 0;

    (void)arg;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        struct house *h = &houses[roll(HOUSES)];
        uint32_t number = (uint32_t)roll(KEYS);
        kp_ask ask = some_ask();
        if (one_in(3)) (void)answer_one();
        if (one_in(200)) meddle(h);
        if (holds == HELD || (holds > 0 && one_in(2))) {
            holds--;
            end_lease(held[holds].house, &held[holds].lease);
            continue;
        }
        int rc = kp_get(h->pool, kp_bytes(&number, sizeof number), &ask, &held[holds].lease);
        answer(h, number, rc, &held[holds].lease);
        held[holds].house = h;
        holds += rc == 0;
    }
    while (holds-- > 0) end_lease(held[holds].house, &held[holds].lease);
    return NULL;
}

/* ---- an event loop --------------------------------------------------------------------------- */

enum { ASKS = 64 };

struct loop;

struct asked {
    kp_request request;
    struct loop *loop;
    struct house *house;
    uint32_t number;
    enum { FREE, UNDER_WAY, LENT } state;
    kp_lease lease;
};

struct loop {
    pthread_t thread;
    kp_loop *loop;
    struct asked ask[ASKS];
    uint32_t under_way;
    uint64_t started, cancelled, done;
};

static void begin(struct asked *a);

static void cancel(struct asked *a)
{
    kp_cancel(&a->request);
    a->state = FREE;
    a->loop->under_way--;
    a->loop->cancelled++;
    atomic_fetch_add(&a->house->refusals, 1);
}

/* Called by a loop's thread: starts or cancels a request, or ends a lease. */
static void something_else(struct loop *l)
{
    struct asked *a = &l->ask[roll(ASKS)];

    if (a->state == UNDER_WAY) {
        if (one_in(4)) cancel(a);
    } else if (a->state == LENT) {
        a->state = FREE;
        end_lease(a->house, &a->lease);
    } else if (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        begin(a);
    }
}

static void done(kp_request *request, int status, kp_lease lease)
{
    struct asked *a = request->arg;

    EXPECT(a->state == UNDER_WAY, (int)a->state);
    a->state = FREE;
    a->loop->under_way--;
    a->loop->done++;
    answer(a->house, a->number, status, &lease);
    if (status == 0 && one_in(2)) {
        a->lease = lease;
        a->state = LENT;
    } else if (status == 0) {
        end_lease(a->house, &lease);
    }
    if (one_in(4)) something_else(a->loop);
}

static void begin(struct asked *a)
{
    kp_ask ask = some_ask();
    int rc;

    a->house = &houses[roll(HOUSES)];
    a->number = (uint32_t)roll(KEYS);
    a->request = (kp_request){ .loop = a->loop->loop, .done = done, .arg = a };
    a->state = UNDER_WAY; /* done may not run before start has returned */
    rc = kp_get_start(a->house->pool, kp_bytes(&a->number, sizeof a->number), &ask, &a->request);
    a->loop->started += rc == 0;
    a->loop->under_way += rc == 0;
    if (rc == 0) return;
    a->state = FREE;
    answer(a->house, a->number, rc, &(kp_lease){ 0 });
}

/* To the very end the loops answer jobs that were put off: threads may be waiting for them. */
static void turn(struct loop *l)
{
    struct pollfd p = { .fd = kp_loop_fd(l->loop), .events = POLLIN };
    int64_t ms = kp_loop_dispatch(l->loop);

    if (one_in(3) || atomic_load_explicit(&stop, memory_order_relaxed)) (void)answer_one();
    EXPECT(ms >= -1, (long long)ms);
    if (ms == 0) return;
    (void)poll(&p, 1, ms < 0 || ms > 2 ? 2 : (int)ms);
}

static void *run_loop(void *arg)
{
    struct loop *l = arg;

    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        for (uint64_t n = roll(8); n > 0; n--) something_else(l);
        if (one_in(200)) meddle(&houses[roll(HOUSES)]);
        turn(l);
    }
    for (int i = 0; i < ASKS; i++) /* cancel half of those left; the others end by themselves */
        if (l->ask[i].state == UNDER_WAY && one_in(2)) cancel(&l->ask[i]);
    while (l->under_way > 0) turn(l);
    for (int i = 0; i < ASKS; i++)
        if (l->ask[i].state == LENT) end_lease(l->ask[i].house, &l->ask[i].lease);
    atomic_fetch_add(&loops_done, 1);
    while (!atomic_load(&closed)) turn(l); /* the first one is still needed */
    EXPECT(kp_loop_close(l->loop) == 0, 0);
    EXPECT(l->started == l->done + l->cancelled, (long long)l->started);
    return NULL;
}

/* ---- the run --------------------------------------------------------------------------------- */

static void add_up(struct house *h)
{
    kp_stats s = { 0 };

    (void)kp_invalidate_key(h->pool, KP_EVERY_KEY);
    /* until nothing is under way in the background */
    for (uint64_t until = now_ns() + 20 * SECOND; now_ns() < until; sched_yield()) {
        EXPECT(kp_stats_read(h->pool, KP_EVERY_KEY, &s) == 0, 0);
        if (s.live > 0) (void)kp_invalidate_key(h->pool, KP_EVERY_KEY);
        else break;
    }
    EXPECT(s.live == 0 && s.leases == 0 && s.waiting == 0, (long long)s.live);
    EXPECT(s.gets == h->yes, (long long)(s.gets - h->yes));
    EXPECT(s.timeouts == h->timeouts, (long long)(s.timeouts - h->timeouts));
    EXPECT(s.refusals == h->refusals, (long long)(s.refusals - h->refusals));
    EXPECT(s.creates == h->creates, (long long)(s.creates - h->creates));
    EXPECT(s.create_failures == h->create_failures, (long long)s.create_failures);
    EXPECT(s.destroys == h->destroys, (long long)(s.destroys - h->destroys));
    EXPECT(s.misuses == 0, (long long)s.misuses);
    printf("%s: %" PRIu64 " gets, %" PRIu64 " timeouts, %" PRIu64 " refusals, %" PRIu64
           " creates, %" PRIu64 " failures, %" PRIu64 " evicted, %" PRIu64 " expired\n",
           h->name, s.gets, s.timeouts, s.refusals, s.creates, s.create_failures, s.evicted,
           s.expired);
    EXPECT(s.gets > 0 && s.timeouts > 0 && s.refusals > 0, 0);
}

static void close_house(struct house *h)
{
    int64_t out = kp_pool_close(h->pool, KP_CLOSE_WAIT, KP_SECONDS(30));

    EXPECT(out == 0, (long long)out);
    EXPECT(h->creates == h->destroys, (long long)(h->creates - h->destroys));
}

static void run(size_t threads, uint64_t seconds)
{
    static struct loop loops[LOOPS];
    pthread_t *thread = calloc(threads, sizeof *thread);
    uint64_t started = 0, cancelled = 0;

    if (!thread) abort();
    for (int i = 0; i < LOOPS; i++) {
        if (kp_loop_open(&loops[i].loop) != 0) abort();
        for (int n = 0; n < ASKS; n++) loops[i].ask[n].loop = &loops[i];
    }
    open_houses(loops[0].loop);
    for (int i = 0; i < LOOPS; i++)
        if (pthread_create(&loops[i].thread, NULL, run_loop, &loops[i])) abort();
    for (size_t i = 0; i < threads; i++)
        if (pthread_create(&thread[i], NULL, work, NULL)) abort();
    nanosleep(&(struct timespec){ .tv_sec = (time_t)seconds }, NULL); /* how long it lasts */
    atomic_store(&stop, true);
    for (size_t i = 0; i < threads; i++) pthread_join(thread[i], NULL);
    while (atomic_load(&loops_done) < LOOPS) sched_yield();
    for (int i = 0; i < HOUSES; i++) add_up(&houses[i]);
    for (int i = 0; i < HOUSES; i++) close_house(&houses[i]);
    atomic_store(&closed, true);
    for (int i = 0; i < LOOPS; i++) {
        pthread_join(loops[i].thread, NULL);
        started += loops[i].started;
        cancelled += loops[i].cancelled;
    }
    printf("%" PRIu64 " requests on loops, %" PRIu64 " of them cancelled; %llu answers came late\n",
           started, cancelled, atomic_load(&late));
    EXPECT(cancelled > 0 && cancelled < started, (long long)started);
    free(thread);
}

int main(void)
{
    uint64_t seconds = setting("KP_SECONDS", 2);
    size_t threads = (size_t)setting("KP_THREADS", 16);

    seed = setting("KP_SEED", (uint64_t)time(NULL));
    printf("KP_SEED=%" PRIu64 " KP_THREADS=%zu KP_SECONDS=%" PRIu64 "\n", seed, threads,
           seconds);
    alarm((unsigned)seconds * 4 + 120); /* a lost wake-up must end as a failure */
    run(threads, seconds);
    printf("%s\n", wrong ? "FAILED" : "ok: nothing lost, counts add up");
    return wrong ? 1 : 0;
}
