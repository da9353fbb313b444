/* SPDX-License-Identifier: MIT
 *
 * The cases shortage.*: 16 threads compete for two resources; each holds one for 2 us, busy, gives
 * it back and gets again. How many gets are served, how evenly, and how long does the longest wait?
 */
#ifndef BENCH_SHORTAGE_H
#define BENCH_SHORTAGE_H

#include "crowd.h"
#include "pools.h"

enum { WANTING = 16, THERE = 2, HOLD_NS = 2000 };

static inline uint64_t shortage_hold(struct member *m, uint64_t asked)
{
    uint64_t got = bench_now();

    if (got - asked > m->longest_ns) m->longest_ns = got - asked;
    while (bench_now() - got < HOLD_NS) continue;
    return got;
}

static inline uint32_t shortage_ours(struct member *m)
{
    const struct ours *o = m->self;
    uint64_t asked = bench_now();
    kp_lease lease;

    ours_get(o, o->pinned, &lease);
    thing_use(lease.resource);
    shortage_hold(m, asked);
    kp_release(&lease);
    return 1;
}

static inline uint32_t shortage_peer(struct member *m)
{
    uint64_t asked = bench_now();
    void *thing = peer_get(m->self);

    thing_use(thing);
    shortage_hold(m, asked);
    peer_release(m->self, thing);
    return 1;
}

static inline double shortage_part(const struct bench *b, const double *of_each, double part)
{
    double copy[BENCH_ROUNDS];

    memcpy(copy, of_each, sizeof copy);
    return bench_part(copy, (size_t)b->rounds, part);
}

static inline void shortage_print(const struct bench *b, const struct compare *c, const char *name,
                                  const struct crowd *crowds)
{
    const struct crowd *peer = &crowds[VARIANTS];

    for (int v = 0; v < VARIANTS; v++) {
        compare_open(b, c, name, v);
        bench_number("ops", 1e9 / bench_median(b, &c->all[v], 0.5));
        bench_number("fairness", shortage_part(b, crowds[v].fairness, 0.5));
        bench_number("max_wait_ms", shortage_part(b, crowds[v].longest_ms, 0.5));
        bench_number("max_wait_ms_worst", shortage_part(b, crowds[v].longest_ms, 1));
        if (PEERS) {
            bench_number("peer_ops", 1e9 / bench_median(b, &c->all[PEER], 0.5));
            bench_number("peer_fairness", shortage_part(b, peer->fairness, 0.5));
            bench_number("peer_max_wait_ms", shortage_part(b, peer->longest_ms, 0.5));
        }
        bench_number("threads", WANTING);
        bench_close(b);
    }
}

static inline int shortage(int argc, char **argv, const char *name, int32_t order)
{
    static struct crowd crowds[VARIANTS + 1];
    struct bench b = bench_begin(argc, argv);
    struct compare c = { 0 };
    struct ours ours[VARIANTS];
    kp_options options = ours_options(THERE);
    peer_list *list = PEERS ? peer_open(THERE) : NULL;

    b.seconds *= 10;                    /* so that each thread gets a processor in each sample */
    if (b.rounds > 11) b.rounds = 11;
    options.limits.wait_order = order;
    for (int i = 0; i <= VARIANTS; i++) {
        crowds[i] = (struct crowd){ .threads = WANTING, .turn = shortage_ours };
        if (i < VARIANTS) ours[i] = ours_open(options, &variants[i]);
        else crowds[i].turn = shortage_peer;
        void *self = list;
        if (i < VARIANTS) self = &ours[i];
        for (int k = 0; k < WANTING; k++) crowds[i].self[k] = self;
        compare_sample(&c, i < VARIANTS ? i : PEER, crowd_sample, &crowds[i]);
    }
    if (!PEERS) c.all[PEER] = (struct bench_subject){ 0 };
    compare_run(&b, &c);
    shortage_print(&b, &c, name, crowds);
    for (int v = 0; v < VARIANTS; v++) ours_close(&ours[v]);
    return 0;
}

#endif
