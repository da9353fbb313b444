/* SPDX-License-Identifier: MIT
 *
 * servers [--quick | --blink]: 64 threads that share 8 connections to PostgreSQL, in each of the
 * ways of ways.c, compared with 8 threads that have one each. Prints a line of JSON for each
 * question and way (docs/SERVERS.md). Before anything is measured each way has to fetch numbers:
 * none may be lost, or given to two threads.
 */
#include "load.h"

enum { QUESTIONS = 2 };

static const struct question numbers = { .name = "numbers", .sql = "SELECT nextval('turns')",
                                         .numbered = true };

static const struct question questions[QUESTIONS] = {
    { .name = "select_1", .sql = "SELECT 1", .value = 1 },
    { .name = "sleep_1ms", .sql = "SELECT pg_sleep(0.001)", .least_ns = 1000000 },
};

static const char *const figures[] = {
#define X(name, text) text,
    LOAD_FIGURES(X)
#undef X
};

static struct way ways[WAYS_MOST];
static struct load loads[QUESTIONS][WAYS_MOST];
static struct bench_subject subjects[QUESTIONS][WAYS_MOST];

/* Asks the server how many connections there are. PgBouncer makes only as many as it needs. */
static void check_connections(const struct way *way)
{
    char sql[128];
    long seen;

    (void)snprintf(sql, sizeof sql,
                   "SELECT count(*) FROM pg_stat_activity WHERE application_name = '%s'",
                   way->name);
    seen = stage_ask(sql);
    if (seen > CONNECTIONS || seen < (way->by_bouncer ? 1 : CONNECTIONS))
        bench_fail(way->name, "the server sees another number of connections");
}

static void prove(int count)
{
    static struct load load;

    if (stage_ask("CREATE SEQUENCE turns; GRANT USAGE ON SEQUENCE turns TO app") != 0)
        bench_fail("CREATE SEQUENCE", "refused");
    for (int i = 0; i < count; i++) {
        load.way = &ways[i];
        load.question = &numbers;
        (void)load_sample(&load, 0.1);
        check_connections(&ways[i]);
    }
}

static void measure(const struct bench *b, int count)
{
    for (int q = 0; q < QUESTIONS; q++) {
        for (int i = 0; i < count; i++) {
            loads[q][i].way = &ways[i];
            loads[q][i].question = &questions[q];
            subjects[q][i] = (struct bench_subject){ .name = ways[i].name, .self = &loads[q][i],
                                                     .sample = load_sample };
        }
        bench_rounds(b, subjects[q], count);
    }
}

/* The throughput as a ratio to that of dedicated connections, in the same round. */
static struct bench_subject ratios(const struct bench *b, int q, int way)
{
    struct bench_subject of = { .name = "ratio" };

    for (int k = 0; k < b->rounds; k++)
        of.got[k] = subjects[q][0].got[k] / subjects[q][way].got[k];
    return of;
}

static double figure(const struct bench *b, int q, int way, enum load_figure which)
{
    double copy[BENCH_ROUNDS];

    memcpy(copy, loads[q][way].figure[which], sizeof copy);
    return bench_part(copy, (size_t)b->rounds, 0.5);
}

/* The CPU time of what is between a thread and its connection, and its part of the whole. */
static void print_share(const struct bench *b, int q, int way)
{
    double pool = ways[way].by_bouncer ? figure(b, q, way, LOAD_BOUNCER)
                                       : figure(b, q, way, LOAD_POOL) - figure(b, q, 0, LOAD_POOL);
    double all = figure(b, q, way, LOAD_CLIENT) + figure(b, q, way, LOAD_SERVER) +
                 figure(b, q, way, LOAD_BOUNCER);

    pool = pool > 0 ? pool : 0;
    bench_number("pool_cpu_us", pool);
    bench_number("share", all > 0 ? pool / all : 0);
}

static void print(const struct bench *b, int q, int way)
{
    struct bench_subject ratio = ratios(b, q, way);

    printf("{\"case\": \"postgres.%s\", \"variant\": \"%s\"", questions[q].name, ways[way].name);
    bench_number("ops", 1e9 / bench_median(b, &subjects[q][way], 0.5));
    bench_median_of(b, "ratio", &ratio);
    for (int f = 0; f < LOAD_FIGURE_COUNT; f++) {
        if (f == LOAD_POOL) continue;
        if (f == LOAD_GAP && ways[way].by_bouncer) continue; /* its waits cannot be seen */
        bench_number(figures[f], figure(b, q, way, (enum load_figure)f));
    }
    print_share(b, q, way);
    bench_number("threads", ways[way].threads);
    bench_number("connections", CONNECTIONS);
    bench_close(b);
}

int main(int argc, char **argv)
{
    struct bench b = bench_begin(argc, argv);
    int count;

    b.seconds *= 10;                    /* so that each thread has many turns */
    if (b.rounds > 9) b.rounds = 9;
    stage_open();
    count = ways_open(ways);
    prove(count);
    measure(&b, count);
    ways_close(ways, count);
    stage_close();                      /* so that the servers' CPU time counts as ours */
    for (int q = 0; q < QUESTIONS; q++)
        for (int i = 0; i < count; i++) print(&b, q, i);
    return 0;
}
