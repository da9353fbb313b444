/* SPDX-License-Identifier: MIT
 *
 * The cases parallel.*: threads get and release from one key (pinned) with 64 resources, all of
 * them made before, and do nothing in between. The limit is what two threads reach with pairs of
 * compare-and-swaps, each on a cache line of its own.
 */
#ifndef BENCH_PARALLEL_H
#define BENCH_PARALLEL_H

#define BENCH_PORTABLE 1
#include "crowd.h"
#include "pools.h"

enum { RESOURCES = 64, TURN = 64 };

static inline uint32_t parallel_ours(struct member *m)
{
    ours_pinned_pairs(m->self, TURN);
    return TURN;
}

static inline uint32_t parallel_peer(struct member *m)
{
    peer_pairs(m->self, TURN);
    return TURN;
}

static inline uint32_t parallel_limit(struct member *m)
{
    bench_cas_pairs(m->self, TURN);
    return TURN;
}

static inline struct crowd *parallel_crowd(int threads, uint32_t (*turn)(struct member *))
{
    struct crowd *c = aligned_alloc(BENCH_LINE, sizeof *c);

    if (!c) bench_fail("parallel", "out of memory");
    memset(c, 0, sizeof *c);
    c->threads = threads;
    c->own_processors = threads <= 2 && bench_cpu(0) != bench_cpu(1);
    c->turn = turn;
    return c;
}

static inline void parallel_print(const struct bench *b, const struct compare *c, const char *name,
                                  int threads)
{
    for (int v = 0; v < VARIANTS; v++) {
        compare_open(b, c, name, v);
        bench_number("ops", 1e9 / bench_median(b, &c->all[v], 0.5));
        bench_number("limit_ops", 1e9 / bench_median(b, &c->all[LIMIT], 0.5));
        if (PEERS) bench_number("peer_ops", 1e9 / bench_median(b, &c->all[PEER], 0.5));
        bench_number("threads", threads);
        bench_close(b);
    }
}

static inline int parallel(int argc, char **argv, const char *name, int threads)
{
    static alignas(BENCH_LINE) _Atomic uint64_t lines[2][BENCH_LINE / 8];
    struct bench b = bench_begin(argc, argv);
    struct compare c = { 0 };
    struct ours ours[VARIANTS];
    struct crowd *crowds[VARIANTS + 2];
    peer_list *list = PEERS ? peer_open(RESOURCES) : NULL;

    for (int v = 0; v < VARIANTS; v++) {
        ours[v] = ours_open(ours_options(RESOURCES), &variants[v]);
        ours_fill(&ours[v], ours[v].pinned, RESOURCES);
        crowds[v] = parallel_crowd(threads, parallel_ours);
    }
    if (PEERS) peer_fill(list, RESOURCES);
    crowds[LIMIT] = parallel_crowd(2, parallel_limit);
    crowds[LIMIT]->strangers = true;
    crowds[PEER] = parallel_crowd(threads, parallel_peer);
    for (int i = 0; i < threads; i++) {
        for (int v = 0; v < VARIANTS; v++) crowds[v]->self[i] = &ours[v];
        crowds[LIMIT]->self[i] = lines[i % 2];
        crowds[PEER]->self[i] = list;
    }
    for (int i = 0; i < VARIANTS + 1 + PEERS; i++) compare_sample(&c, i, crowd_sample, crowds[i]);
    compare_run(&b, &c);
    parallel_print(&b, &c, name, threads);
    for (int v = 0; v < VARIANTS; v++) ours_close(&ours[v]);
    for (int i = 0; i < VARIANTS + 2; i++) free(crowds[i]);
    return 0;
}

#endif
