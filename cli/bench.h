/* SPDX-License-Identifier: MIT
 *
 * A load on a pool: what was asked for (plan), the clients that make it (load.c), the keys that it
 * is on (keys.c), and what came out (report.c).
 */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include "backend.h"
#include "histogram.h"

#include <pthread.h>

struct bench_plan {             /* the command line */
    struct target target;       /* what is loaded */
    int64_t  clients, keys, size, write_pct, timeout_ms;
    int64_t  max_live;          /* of all keys; KP_UNLIMITED */
    double   zipf, rate;        /* 0: uniform; 0: a closed loop */
    int64_t  run_ns, progress_ns;   /* progress_ns 0: no progress lines */
    uint64_t seed;
    bool     json;
};

struct bench_client {
    struct histogram wait, hold;
    /* Written by this client alone; read by the thread that reports progress. */
    _Atomic uint64_t reads, writes, timeouts, errors;
    uint64_t get_ns, hold_ns, release_ns;   /* read after the join */
    uint64_t random;
    struct bench *bench;
    pthread_t thread;
};

struct bench_key {              /* the counters are written by all clients */
    char *name;
    _Atomic uint64_t asked, served, wait_ns, longest_ns;
};

struct bench {
    const struct bench_plan *plan;
    kp_pool *pool;
    struct bench_client *client;    /* plan->clients of them */
    struct bench_key *key;          /* plan->keys of them, the most wanted first */
    double *share;                  /* of the demand, added up to and including each key */
    _Atomic bool stop;
    pthread_mutex_t lock;           /* guards what follows */
    pthread_cond_t  stopped;
    double   next_ns;               /* open loop: when the next request should start */
    uint64_t ended_ns;              /* when the clients were told to stop */
    uint64_t random;                /* for the arrivals */
    char     first_error[300];
};

struct bench_result {
    struct histogram wait, hold;
    uint64_t reads, writes, timeouts, errors, unserved;
    double   seconds, get_share, hold_share, release_share;     /* of the time of all clients */
    double   queue_share, create_share;                         /* parts of get_share */
    double   fair_clients, fair_keys, fair_waits;               /* Jain's index, 0..1 */
    uint64_t longest_ns;
    const char *longest_key;
    kp_stats stats;
    bool     interrupted;
};

/* load.c: start all clients; stop them and wait for them. */
uint64_t bench_now_ns(void);
double bench_random(uint64_t *state);   /* 0 <= x < 1 */
void bench_load_start(struct bench *b);
void bench_load_stop(struct bench *b);

/* sum.c: what came out. The run was `from`..`until`, on the clock of bench_now_ns. */
void bench_sum(struct bench *b, uint64_t from, uint64_t until, struct bench_result *out);

struct bench_progress {         /* the totals when the last line of progress was printed */
    struct histogram wait, hold;
    uint64_t at_ns, failed;
};

/* One line to standard error about what happened since the last one. */
void bench_progress(const struct bench *b, struct bench_progress *last, uint64_t from,
                    uint64_t now);

/* report.c, report_json.c: to standard output. */
void bench_report(const struct bench *b, const struct bench_result *r);
void bench_report_json(const struct bench *b, const struct bench_result *r);

#endif
