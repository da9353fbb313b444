/* SPDX-License-Identifier: MIT
 *
 * Several threads that all do the same thing in turns, watched by another one: how many turns they
 * do together, how evenly, and how long the longest wait was.
 */
#ifndef BENCH_CROWD_H
#define BENCH_CROWD_H

#include "bench.h"

enum { CROWD_MOST = 64, CROWD_WINDOWS = 4000 };

struct crowd;

struct member {
    alignas(BENCH_LINE) _Atomic uint64_t turns;
    uint64_t       longest_ns;          /* of what `turn` says is a wait */
    struct crowd  *crowd;
    void          *self;
    pthread_t      thread;
    int            number;
};

struct crowd {
    int           threads;
    bool          own_processors;       /* each thread has one: it is pinned there */
    bool          strangers;            /* and shares no memory with the others */
    uint32_t    (*turn)(struct member *m);  /* returns how many it was */
    void        (*leave)(struct member *m); /* at its end; or NULL */
    void         *self[CROWD_MOST];     /* of each member */
    double        fairness[BENCH_ROUNDS], longest_ms[BENCH_ROUNDS]; /* of each sample */
    int           samples;

    atomic_bool       stop;
    pthread_barrier_t start;
    struct member     member[CROWD_MOST];
};

static inline void *crowd_work(void *arg)
{
    struct member *m = arg;
    struct crowd *c = m->crowd;
    uint64_t turns = 0;

    if (c->own_processors) bench_pin(m->number);
    pthread_barrier_wait(&c->start);
    while (!atomic_load_explicit(&c->stop, memory_order_relaxed)) {
        turns += c->turn(m);
        atomic_store_explicit(&m->turns, turns, memory_order_relaxed);
    }
    if (c->leave) c->leave(m);
    return NULL;
}

static inline void crowd_start(struct crowd *c)
{
    atomic_store(&c->stop, false);
    if (pthread_barrier_init(&c->start, NULL, (unsigned)c->threads + 1) != 0)
        bench_fail("barrier", "none");
    for (int i = 0; i < c->threads; i++) {
        struct member *m = &c->member[i];
        atomic_store(&m->turns, 0);
        m->longest_ns = 0;
        m->crowd = c;
        m->self = c->self[i];
        m->number = i;
        if (pthread_create(&m->thread, NULL, crowd_work, m) != 0) bench_fail("thread", "none");
    }
    pthread_barrier_wait(&c->start);
}

static inline void crowd_end(struct crowd *c)
{
    atomic_store(&c->stop, true);
    for (int i = 0; i < c->threads; i++) pthread_join(c->member[i].thread, NULL);
    pthread_barrier_destroy(&c->start);
}

struct crowd_look {
    uint64_t at, turns[CROWD_MOST];
};

static inline struct crowd_look crowd_look(const struct crowd *c)
{
    struct crowd_look look = { .at = bench_now() };

    for (int i = 0; i < c->threads; i++)
        look.turns[i] = atomic_load_explicit(&c->member[i].turns, memory_order_relaxed);
    return look;
}

/* Between two looks: turns per ns, of all together. *fairness: the fewest turns of a thread,
 * divided by the most. */
static inline double crowd_rate(const struct crowd *c, const struct crowd_look *from,
                                const struct crowd_look *to, double *fairness)
{
    uint64_t sum = 0, least = UINT64_MAX, most = 0;

    for (int i = 0; i < c->threads; i++) {
        uint64_t turns = to->turns[i] - from->turns[i];
        sum += turns;
        least = turns < least ? turns : least;
        most = turns > most ? turns : most;
    }
    *fairness = most ? (double)least / (double)most : 0;
    return (double)sum / (double)(to->at - from->at);
}

static inline void crowd_sleep(double seconds)
{
    struct timespec t = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };

    while (nanosleep(&t, &t) != 0) continue;
}

/* Threads that have a processor each are looked at every ms. If one made less than half of
 * another's progress in such a window, another process had its processor; the other thread was
 * alone then, which is not what is measured, so the window does not count. The result is the median
 * of the other windows; of all, if those are too few. Strangers are not faster when they are alone,
 * so for them it is what they reach in the best tenth. */
static inline double crowd_by_windows(struct crowd *c, double seconds)
{
    static double rates[CROWD_WINDOWS];
    struct crowd_look first = crowd_look(c), from = first, to;
    size_t all = 0, good = 0;
    double fairness, whole;

    do {
        crowd_sleep(0.001);
        to = crowd_look(c);
        if (good == CROWD_WINDOWS) break;
        rates[good] = crowd_rate(c, &from, &to, &fairness);
        if (fairness >= 0.5 || c->strangers) good++;
        all++;
        whole = crowd_rate(c, &first, &to, &fairness);
        from = to;
    } while (all < 3 || !(whole > 0) || to.at - first.at < (uint64_t)(seconds * 1e9));
    if (good * 10 < all || good == 0) return whole;
    return bench_part(rates, good, c->strangers ? 0.9 : 0.5);
}

/* A sample: ns for each turn, of all of them together. */
static inline double crowd_sample(void *self, double seconds)
{
    struct crowd *c = self;
    int k = c->samples++ % BENCH_ROUNDS;
    uint64_t longest = 0;
    double rate;

    crowd_start(c);
    if (c->own_processors) {
        rate = crowd_by_windows(c, seconds);
    } else {
        struct crowd_look from = crowd_look(c), to;
        do {                            /* on a busy machine no thread may have run yet */
            crowd_sleep(seconds);
            to = crowd_look(c);
            rate = crowd_rate(c, &from, &to, &c->fairness[k]);
        } while (!(rate > 0));
    }
    crowd_end(c);
    for (int i = 0; i < c->threads; i++)
        if (c->member[i].longest_ns > longest) longest = c->member[i].longest_ns;
    c->longest_ms[k] = (double)longest / 1e6;
    return 1 / rate;
}

#endif
