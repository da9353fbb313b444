/* SPDX-License-Identifier: MIT
 *
 * Threads that ask a question again and again in one of the ways of ways.h, and what is measured.
 */
#ifndef BENCH_SERVERS_LOAD_H
#define BENCH_SERVERS_LOAD_H

#include "../crowd.h"
#include "ways.h"

/* What is measured of each sample besides its rate; docs/SERVERS.md explains it. POOL includes the
 * time to read the clock: that is all of it for a way that has no pool. */
#define LOAD_FIGURES(X)                                                       \
    X(P50, "p50_us")                                                          \
    X(P99, "p99_us")                                                          \
    X(LONGEST, "longest_ms")                                                  \
    X(FAIRNESS, "fairness")                                                   \
    X(GAP, "gap_us")                                                          \
    X(POOL, "pool")                                                           \
    X(CLIENT, "client_cpu_us")                                                \
    X(SERVER, "server_cpu_us")                                                \
    X(BOUNCER, "bouncer_cpu_us")                                              \
    X(SWITCHES, "client_switches")

enum load_figure {
#define X(name, text) LOAD_##name,
    LOAD_FIGURES(X)
#undef X
    LOAD_FIGURE_COUNT
};

struct question {
    const char *name;
    const char *sql;
    uint64_t    value;                  /* of each answer */
    bool        numbered;               /* instead of `value`, answers are 1, 2, 3, ... */
    uint64_t    least_ns;               /* the least time that it takes */
};

struct load {
    struct way            *way;
    const struct question *question;
    struct crowd           crowd;
    int                    samples;
    double                 figure[LOAD_FIGURE_COUNT][BENCH_ROUNDS];
};

/* A sample: ns for each turn, of all threads together, as bench_subject.sample needs it. A wrong
 * answer ends the program. */
double load_sample(void *load, double seconds);

#endif
