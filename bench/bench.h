/* SPDX-License-Identifier: MIT
 *
 * How the cases measure. Everything that is compared runs in one process, in rounds: each round
 * takes one sample of every subject, each time beginning with another one, so that other work on
 * the machine disturbs all of them alike. A sample is the median of many short batches, so that an
 * interrupted one does not count; a figure is the median of the samples, with their quartiles. The
 * unit is P, an uncontended pair of compare-and-swaps, sampled in the same rounds.
 *
 * A case prints one line of JSON for each variant of the library (docs/PERFORMANCE.md).
 */
#ifndef BENCH_H
#define BENCH_H

#include <pthread.h>
#include <sched.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BENCH_LINE = 128, BENCH_ROUNDS = 64, BENCH_BATCHES = 20000 };

static inline _Noreturn void bench_fail(const char *what, const char *why)
{
    fprintf(stderr, "bench: %s: %s\n", what, why);
    exit(1);
}

/* ---- how long and how often ------------------------------------------------------------------ */

/* --quick gives rough figures, --blink only shows that the case works. */
struct bench {
    double   seconds;                   /* for each sample */
    int      rounds;
    uint32_t million;                   /* fewer with --quick and --blink */
    uint64_t began_busy, began_own;     /* ticks of all processors, us of our own */
    uint64_t began;
};

static inline uint64_t bench_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* The busy time of all processors so far, in ticks; 0 if it cannot be read. */
static inline uint64_t bench_busy(void)
{
    unsigned long long user = 0, nice = 0, system = 0, idle, wait, irq = 0, soft = 0, steal = 0;
    FILE *f = fopen("/proc/stat", "r");

    if (!f) return 0;
    if (fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle,
               &wait, &irq, &soft, &steal) != 8)
        user = 0;
    fclose(f);
    return user + nice + system + irq + soft + steal;
}

static inline uint64_t bench_own_us(void)
{
    struct rusage all = { 0 }, children = { 0 };
    uint64_t sum = 0;

    getrusage(RUSAGE_SELF, &all);
    getrusage(RUSAGE_CHILDREN, &children);
    const struct timeval each[] = { all.ru_utime, all.ru_stime, children.ru_utime,
                                    children.ru_stime };
    for (int i = 0; i < 4; i++)
        sum += (uint64_t)each[i].tv_sec * 1000000 + (uint64_t)each[i].tv_usec;
    return sum;
}

/* How many processors other processes used meanwhile: above 0.15 the figures are noisy. */
static inline double bench_foreign(const struct bench *b)
{
    double wall = (double)(bench_now() - b->began) / 1e9;
    double busy = (double)(bench_busy() - b->began_busy) / (double)sysconf(_SC_CLK_TCK);
    double own = (double)(bench_own_us() - b->began_own) / 1e6;

    return wall > 0 && busy > own ? (busy - own) / wall : 0;
}

static inline struct bench bench_begin(int argc, char **argv)
{
    struct bench b = { .seconds = 0.1, .rounds = 21, .million = 1000000 };

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--quick") == 0) {
            b.seconds = 0.03;
            b.rounds = 5;
            b.million = 100000;
        } else if (strcmp(argv[i], "--blink") == 0) {
            b.seconds = 0.001;
            b.rounds = 2;
            b.million = 1000;
        } else {
            fprintf(stderr, "usage: %s [--quick | --blink]\n", argv[0]);
            exit(2);
        }
    }
    b.began = bench_now();
    b.began_busy = bench_busy();
    b.began_own = bench_own_us();
    return b;
}

/* ---- processors ------------------------------------------------------------------------------ */

/* The k-th processor that we may use, counted from the last: the first has most interrupts. */
static inline int bench_cpu(int k)
{
    static cpu_set_t all;
    static bool known;
    int left;

    if (!known) known = sched_getaffinity(0, sizeof all, &all) == 0;
    if (!known || CPU_COUNT(&all) == 0) return -1;
    left = k % CPU_COUNT(&all);
    for (size_t cpu = CPU_SETSIZE; cpu-- > 0;)
        if (CPU_ISSET(cpu, &all) && left-- == 0) return (int)cpu;
    return -1;
}

static inline void bench_pin(int k)
{
    cpu_set_t one;
    int cpu = bench_cpu(k);

    if (cpu < 0) return;
    CPU_ZERO(&one);
    CPU_SET((size_t)cpu, &one);
    pthread_setaffinity_np(pthread_self(), sizeof one, &one);
}

/* A thread that does nothing: while a process has only one thread, glibc's mutex takes a shorter
 * path, which no user of a pool has. */
static inline void *bench_parked(void *unused)
{
    for (;;) pause();
    return unused;
}

static inline void bench_park_one(void)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, bench_parked, NULL) != 0) bench_fail("thread", "none");
    pthread_detach(thread);
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* xorshift64* (Vigna, 2014), always with the same seeds. */
static inline uint64_t bench_random(uint64_t *state)
{
    uint64_t x = *state;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * UINT64_C(2685821657736338717);
}

static inline uint32_t bench_below(uint64_t *state, uint32_t n)
{
    return (uint32_t)((bench_random(state) >> 32) * (uint64_t)n >> 32);
}

static inline int bench_by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The value below which this part of the values lies: 0.5 is the median. Sorts them. */
static inline double bench_part(double *values, size_t n, double part)
{
    if (n == 0) return 0;
    qsort(values, n, sizeof *values, bench_by_size);
    double at = part * (double)(n - 1);
    size_t below = (size_t)at;
    size_t above = below + 1 < n ? below + 1 : below;
    return values[below] + (values[above] - values[below]) * (at - (double)below);
}

/* Bytes of memory that this process has, as the system sees it. */
static inline uint64_t bench_memory(void)
{
    unsigned long long size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    if (!f) return 0;
    if (fscanf(f, "%llu %llu", &size, &resident) != 2) resident = 0;
    fclose(f);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* By how much `fill` grows a process that has done nothing else, in bytes. To be called before the
 * first thread is started. */
static inline uint64_t bench_memory_of(void (*fill)(void *), void *arg)
{
    int ends[2];
    uint64_t before, after, grown = 0;

    if (pipe(ends) != 0) bench_fail("pipe", "none");
    pid_t child = fork();
    if (child < 0) bench_fail("fork", "refused");
    if (child == 0) {
        before = bench_memory();
        fill(arg);
        after = bench_memory();
        grown = after > before ? after - before : 0;
        _exit(write(ends[1], &grown, sizeof grown) != sizeof grown);
    }
    close(ends[1]);
    bool ok = read(ends[0], &grown, sizeof grown) == sizeof grown;
    close(ends[0]);
    waitpid(child, NULL, 0);
    if (!ok) bench_fail("child", "no answer");
    return grown;
}

/* Does `work` end within so many seconds? Tried in a child process, before the first thread is
 * started. */
static inline bool bench_possible(void (*work)(void *), void *arg, unsigned seconds)
{
    int status = 0;
    pid_t child = fork();

    if (child < 0) bench_fail("fork", "refused");
    if (child == 0) {
        alarm(seconds);
        work(arg);
        _exit(0);
    }
    waitpid(child, &status, 0);
    if (WIFEXITED(status)) return WEXITSTATUS(status) == 0;
    return false;
}

/* ---- samples --------------------------------------------------------------------------------- */

/* What is compared. Either `times` does the thing so many times in a row, or `sample` measures it
 * in its own way and returns ns for each. */
struct bench_subject {
    const char *name;
    void *self;
    void (*times)(void *self, uint32_t n);
    double (*sample)(void *self, double seconds);
    uint32_t batch;                     /* how many times in a row are timed together */
    double got[BENCH_ROUNDS];           /* one for each round */
};

/* Chooses batch so that it takes 30 us: the time to read the clock does not matter then, and most
 * batches end before the next interrupt. */
static inline void bench_calibrate(struct bench_subject *s)
{
    for (s->batch = 16; s->batch < 1u << 20; s->batch *= 2) {
        uint64_t least = UINT64_MAX;
        for (int i = 0; i < 4; i++) {   /* one that was interrupted says nothing */
            uint64_t before = bench_now(), took;
            s->times(s->self, s->batch);
            took = bench_now() - before;
            least = took < least ? took : least;
        }
        if (least >= 30000) return;
    }
}

static inline double bench_sample(struct bench_subject *s, double seconds)
{
    static double batches[BENCH_BATCHES];
    uint64_t before, now = bench_now(), end = now + (uint64_t)(seconds * 1e9);
    size_t n = 0;

    if (s->sample) return s->sample(s->self, seconds);
    if (s->batch == 0) bench_calibrate(s);
    s->times(s->self, s->batch);        /* fills the caches again after the other subjects */
    do {
        before = bench_now();
        s->times(s->self, s->batch);
        now = bench_now();
        batches[n++] = (double)(now - before) / s->batch;
    } while (now < end && n < BENCH_BATCHES);
    return bench_part(batches, n, 0.5);
}

/* All of them, in rounds. */
static inline void bench_rounds(const struct bench *b, struct bench_subject *subjects, int count)
{
    if (b->rounds > BENCH_ROUNDS) bench_fail("rounds", "too many");
    for (int round = 0; round < b->rounds; round++)
        for (int i = 0; i < count; i++) {
            struct bench_subject *s = &subjects[(i + round) % count];
            s->got[round] = bench_sample(s, b->seconds);
        }
}

/* P: two compare-and-swaps on a cache line that no other thread uses. */
static inline void bench_cas_pairs(void *self, uint32_t n)
{
    _Atomic uint64_t *line = self;

    for (uint32_t i = 0; i < n; i++) {
        uint64_t expected = 0;
        atomic_compare_exchange_strong(line, &expected, 1);
        expected = 1;
        atomic_compare_exchange_strong(line, &expected, 0);
    }
}

static inline struct bench_subject bench_limit(void)
{
    static alignas(BENCH_LINE) _Atomic uint64_t line[BENCH_LINE / 8];

    return (struct bench_subject){ "P", line, bench_cas_pairs, NULL, 0, { 0 } };
}

/* ---- one line of JSON ------------------------------------------------------------------------ */

static inline double bench_median(const struct bench *b, const struct bench_subject *s, double part)
{
    double copy[BENCH_ROUNDS];

    memcpy(copy, s->got, sizeof copy);
    return bench_part(copy, (size_t)b->rounds, part);
}

static inline void bench_number(const char *name, double value)
{
    printf(", \"%s\": %.6g", name, value);
}

/* Prints the median, and the quartiles beside it. */
static inline void bench_median_of(const struct bench *b, const char *name,
                                   const struct bench_subject *s)
{
    printf(", \"%s\": %.6g, \"%s_quartiles\": [%.6g, %.6g]", name, bench_median(b, s, 0.5), name,
           bench_median(b, s, 0.25), bench_median(b, s, 0.75));
}

/* Prints what every case has: ours, the limit and the peer (or NULL), in ns. More fields may
 * follow, then bench_close. */
static inline void bench_open(const struct bench *b, const char *name,
                              const struct bench_subject *ours, const struct bench_subject *limit,
                              const struct bench_subject *peer)
{
    printf("{\"case\": \"%s\", \"variant\": \"%s\"", name, ours->name);
    bench_median_of(b, "ns", ours);
    bench_median_of(b, "limit_ns", limit);
    bench_number("ratio", bench_median(b, ours, 0.5) / bench_median(b, limit, 0.5));
    printf(", \"peer\": {");
    if (peer)
        printf("\"%s\": %.6g, \"%s_quartiles\": [%.6g, %.6g]", peer->name,
               bench_median(b, peer, 0.5), peer->name, bench_median(b, peer, 0.25),
               bench_median(b, peer, 0.75));
    printf("}");
}

static inline void bench_close(const struct bench *b)
{
    bench_number("rounds", b->rounds);
    bench_number("foreign_cpus", bench_foreign(b));
    printf("}\n");
    fflush(stdout);
}

#endif
