/* SPDX-License-Identifier: MIT
 *
 * The clients of a bench: each one asks for a key, uses what it gets for one operation, gives it
 * back. Closed loop: again at once. Open loop: the requests have start times of their own, Poisson
 * distributed, and whichever client is free takes the next one. Its wait counts from that start
 * time, so that a pool that stalls cannot hide the requests that came meanwhile.
 */
#include "bench.h"

#include "term.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

uint64_t bench_now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

/* splitmix64 (Steele, Lea, Flood 2014): any seed is a good one. */
static uint64_t random_bits(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

double bench_random(uint64_t *state)
{
    return (double)(random_bits(state) >> 11) * 0x1p-53;
}

/* For counters with one writer: a load and a store, no locked instruction. */
static void bump(_Atomic uint64_t *counter)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static void add(_Atomic uint64_t *counter, uint64_t more)
{
    (void)atomic_fetch_add_explicit(counter, more, memory_order_relaxed);
}

static bool stopped(const struct bench *b)
{
    return atomic_load_explicit(&b->stop, memory_order_relaxed);
}

/* ---- one operation --------------------------------------------------------------------------- */

static struct bench_key *pick(const struct bench *b, uint64_t *random)
{
    double x = bench_random(random);
    int64_t low = 0, high = b->plan->keys - 1;

    while (low < high) {
        int64_t middle = low + (high - low) / 2;

        if (b->share[middle] > x)
            high = middle;
        else
            low = middle + 1;
    }
    return &b->key[low];
}

static void failed(struct bench_client *me, const char *doing, const char *key, const char *why)
{
    struct bench *b = me->bench;

    bump(&me->errors);
    (void)pthread_mutex_lock(&b->lock);
    if (!b->first_error[0]) {
        (void)snprintf(b->first_error, sizeof b->first_error, "%s %s: %s", doing, key, why);
        term_tame(b->first_error);
    }
    (void)pthread_mutex_unlock(&b->lock);
}

static void note_wait(struct bench_key *key, uint64_t wait_ns)
{
    uint64_t longest = atomic_load_explicit(&key->longest_ns, memory_order_relaxed);

    add(&key->served, 1);
    add(&key->wait_ns, wait_ns);
    while (wait_ns > longest &&
           !atomic_compare_exchange_weak_explicit(&key->longest_ns, &longest, wait_ns,
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

/* Use what was got for one operation, and give it back. Returns when it had been used. */
static uint64_t use(struct bench_client *me, const struct bench_key *key, struct task task,
                    kp_lease *lease)
{
    const struct target *t = &me->bench->plan->target;
    char why[300];
    enum outcome outcome = t->backend->operate(lease, t, task, why, sizeof why);
    uint64_t used = bench_now_ns();

    if (outcome == DONE)
        bump(task.write ? &me->writes : &me->reads);
    else
        failed(me, task.write ? t->backend->writing : t->backend->operation, key->name, why);
    if (outcome == BROKEN)
        kp_discard(lease);
    else
        kp_release(lease);
    return used;
}

/* Get, one operation, give back. `due` is when it should have begun. */
static void operate(struct bench_client *me, uint64_t due)
{
    const struct bench_plan *plan = me->bench->plan;
    struct bench_key *key = pick(me->bench, &me->random);
    bool write = bench_random(&me->random) * 100 < (double)plan->write_pct;
    struct task task = { write, (int64_t)(bench_random(&me->random) * 1e6) };
    uint64_t asked = bench_now_ns(), got, used;
    union key_room room;
    kp_lease lease;
    kp_why why;
    int rc;

    add(&key->asked, 1);
    rc = kp_get(me->bench->pool, target_key(&plan->target, key->name, write, &room),
                KP_ASK(.within_ms = plan->timeout_ms, .why = &why, .tag = "bench"), &lease);
    got = bench_now_ns();
    me->get_ns += got - asked;
    if (rc == KP_ETIMEDOUT)
        bump(&me->timeouts);
    else if (rc)
        failed(me, "get", key->name, why.text[0] ? why.text : kp_strerror(rc));
    if (rc)
        return;
    used = use(me, key, task, &lease);
    me->hold_ns += used - got;
    me->release_ns += bench_now_ns() - used;
    histogram_add(&me->wait, got - due);
    histogram_add(&me->hold, used - got);
    note_wait(key, got - due);
}

/* ---- arrivals -------------------------------------------------------------------------------- */

/* Sleep until the next request is due; 0 if the run ends before. */
static uint64_t next_arrival(struct bench *b)
{
    struct timespec until;
    uint64_t due;

    (void)pthread_mutex_lock(&b->lock);
    due = (uint64_t)b->next_ns;
    b->next_ns -= log(1 - bench_random(&b->random)) / b->plan->rate * 1e9;
    until.tv_sec = (time_t)(due / 1000000000);
    until.tv_nsec = (long)(due % 1000000000);
    while (!stopped(b) && bench_now_ns() < due)
        (void)pthread_cond_timedwait(&b->stopped, &b->lock, &until);
    (void)pthread_mutex_unlock(&b->lock);
    return stopped(b) ? 0 : due;
}

static void *client(void *arg)
{
    struct bench_client *me = arg;
    struct bench *b = me->bench;
    uint64_t due;

#ifdef __linux__
    (void)prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);     /* else each start is 50 us late */
#endif
    while (!stopped(b)) {
        due = b->plan->rate > 0 ? next_arrival(b) : bench_now_ns();
        if (due)
            operate(me, due);
    }
    return NULL;
}

/* ---- all of them ----------------------------------------------------------------------------- */

void bench_load_start(struct bench *b)
{
    pthread_condattr_t attr;

    (void)pthread_mutex_init(&b->lock, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&b->stopped, &attr);
    (void)pthread_condattr_destroy(&attr);
    b->random = b->plan->seed;
    b->next_ns = (double)bench_now_ns();
    for (int64_t i = 0; i < b->plan->clients; i++) {
        struct bench_client *c = &b->client[i];
        int rc;

        c->bench = b;
        c->random = b->plan->seed + (uint64_t)(i + 1) * UINT64_C(0xd1342543de82ef95);
        rc = pthread_create(&c->thread, NULL, client, c);
        if (rc) {
            (void)fprintf(stderr, "keyedpool bench: cannot start client %lld: %s\n",
                          (long long)i + 1, strerror(rc));
            exit(3);
        }
    }
}

void bench_load_stop(struct bench *b)
{
    (void)pthread_mutex_lock(&b->lock);
    atomic_store_explicit(&b->stop, true, memory_order_relaxed);
    b->ended_ns = bench_now_ns();
    (void)pthread_cond_broadcast(&b->stopped);
    (void)pthread_mutex_unlock(&b->lock);
    for (int64_t i = 0; i < b->plan->clients; i++)
        (void)pthread_join(b->client[i].thread, NULL);
    (void)pthread_cond_destroy(&b->stopped);
    (void)pthread_mutex_destroy(&b->lock);
}
