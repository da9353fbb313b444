/* SPDX-License-Identifier: MIT
 *
 * The load (load.h). Each turn is: borrow, ask, check the answer, give back.
 */
#include "load.h"

#include <sys/resource.h>

/* Only one turn of TIMED has its processor time measured, because that is a system call. */
enum { TIMED = 8, PARTS = 64, TIMES = 40 * PARTS };

static const double SETTLE = 0.05;      /* seconds, until all threads are running */

struct seat {
    struct load *load;
    uint64_t     turns, sum;            /* sum: of the answers */
    uint64_t     query_ns;
    uint64_t     timed, pool_ns;        /* turns that were timed; time in borrow and give_back */
    uint32_t     times[TIMES];          /* how many turns took so long: see time_index */
};

static struct seat seats[CLIENTS];      /* of the sample that is being taken */

/* ---- times, as if a histogram with 64 bars for each power of two ----------------------------- */

static int time_index(uint64_t ns)
{
    int power = 0;

    if (ns < PARTS) return (int)ns;
    while (ns >> power >= 2 * PARTS) power++;
    if (power + 2 > TIMES / PARTS) return TIMES - 1;
    return (power + 1) * PARTS + (int)((ns >> power) - PARTS);
}

static double time_of(int index)
{
    int power = index / PARTS;

    if (power == 0) return index;
    return (double)(UINT64_C(1) << (power - 1)) * (index % PARTS + PARTS + 0.5);
}

static double time_part(uint64_t turns, double part)
{
    uint64_t wanted = (uint64_t)(part * (double)turns), passed = 0;

    for (int i = 0; i < TIMES; i++) {
        for (int k = 0; k < CLIENTS; k++) passed += seats[k].times[i];
        if (passed > wanted) return time_of(i);
    }
    return time_of(TIMES - 1);
}

/* ---- a turn ---------------------------------------------------------------------------------- */

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;

    (void)clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t cpu_ns(bool timed)
{
    return timed ? clock_ns(CLOCK_THREAD_CPUTIME_ID) : 0;
}

static uint64_t ask(const struct load *load, PGconn *conn)
{
    PGresult *result = PQexec(conn, load->question->sql);
    uint64_t value;

    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
        bench_fail(load->way->name, PQerrorMessage(conn));
    value = strtoull(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    if (!load->question->numbered && value != load->question->value)
        bench_fail(load->way->name, "this answer is not to this question");
    return value;
}

static uint32_t turn(struct member *m)
{
    struct seat *s = m->self;
    struct way *way = s->load->way;
    bool timed = s->turns % TIMED == (uint64_t)m->number % TIMED;
    struct hold hold;
    uint64_t asked = bench_now(), got, answered, cpu[4];

    cpu[0] = cpu_ns(timed);
    way->borrow(way, m->number, &hold);
    cpu[1] = cpu_ns(timed);
    got = bench_now();
    s->sum += ask(s->load, hold.conn);
    answered = bench_now();
    cpu[2] = cpu_ns(timed);
    way->give_back(way, &hold);
    cpu[3] = cpu_ns(timed);

    s->turns++;
    s->timed += timed;
    s->pool_ns += cpu[3] - cpu[2] + cpu[1] - cpu[0];
    s->query_ns += answered - got;
    s->times[time_index(answered - asked)]++;
    if (answered - asked > m->longest_ns) m->longest_ns = answered - asked;
    if (answered - got < s->load->question->least_ns)
        bench_fail(way->name, "this answer came too early");
    return 1;
}

static void leave(struct member *m)
{
    struct way *way = ((struct seat *)m->self)->load->way;

    if (way->leave) way->leave(way, m->number);
}

/* ---- a sample -------------------------------------------------------------------------------- */

struct spent { uint64_t client_ns, server_ns, bouncer_ns, switches; };

static struct spent spent_now(void)
{
    struct rusage own = { 0 };

    (void)getrusage(RUSAGE_SELF, &own);
    return (struct spent){ clock_ns(CLOCK_PROCESS_CPUTIME_ID), stage_server_ns(),
                           stage_bouncer_ns(), (uint64_t)(own.ru_nvcsw + own.ru_nivcsw) };
}

static void sit_down(struct load *load)
{
    memset(seats, 0, sizeof seats);
    load->crowd.threads = load->way->threads;
    load->crowd.turn = turn;
    load->crowd.leave = leave;
    for (int i = 0; i < load->way->threads; i++) {
        seats[i].load = load;
        load->crowd.self[i] = &seats[i];
    }
    if (load->question->numbered && stage_ask("SELECT setval('turns', 1, false)") != 1)
        bench_fail("setval", "refused");
}

/* Each thread got the answer to its own question, and each answer was given once: with numbers, the
 * sum is known. */
static struct seat check_sums(const struct load *load)
{
    struct seat all = { 0 };

    for (int i = 0; i < load->way->threads; i++) {
        all.turns += seats[i].turns;
        all.sum += seats[i].sum;
        all.query_ns += seats[i].query_ns;
        all.timed += seats[i].timed;
        all.pool_ns += seats[i].pool_ns;
    }
    if (all.sum != (load->question->numbered ? all.turns * (all.turns + 1) / 2
                                             : all.turns * load->question->value))
        bench_fail(load->way->name, "the sum of the answers is not right");
    return all;
}

static void take_figures(struct load *load, const struct seat *all, double turns, double ns)
{
    int k = load->samples % BENCH_ROUNDS;
    double longest = 0;

    for (int i = 0; i < load->way->threads; i++)
        if ((double)load->crowd.member[i].longest_ns > longest)
            longest = (double)load->crowd.member[i].longest_ns;
    load->figure[LOAD_P50][k] = time_part(all->turns, 0.5) / 1e3;
    load->figure[LOAD_P99][k] = time_part(all->turns, 0.99) / 1e3;
    load->figure[LOAD_LONGEST][k] = longest / 1e6;
    load->figure[LOAD_GAP][k] = ((double)CONNECTIONS * ns / turns -
                                 (double)all->query_ns / (double)all->turns) / 1e3;
    if (all->timed > 0)
        load->figure[LOAD_POOL][k] = (double)all->pool_ns / (double)all->timed / 1e3;
}

double load_sample(void *self, double seconds)
{
    struct load *load = self;
    int k = load->samples % BENCH_ROUNDS;
    struct crowd_look from, to;
    struct spent before, after;
    struct seat all;
    double turns, ns;

    sit_down(load);
    crowd_start(&load->crowd);
    crowd_sleep(SETTLE);
    before = spent_now();
    from = crowd_look(&load->crowd);
    do {
        crowd_sleep(seconds);
        to = crowd_look(&load->crowd);
        turns = crowd_rate(&load->crowd, &from, &to, &load->figure[LOAD_FAIRNESS][k]) *
                (double)(to.at - from.at);
    } while (!(turns > 0.5));           /* on a busy machine no thread may have run yet */
    after = spent_now();
    crowd_end(&load->crowd);

    all = check_sums(load);
    ns = (double)(to.at - from.at);
    take_figures(load, &all, turns, ns);
    load->figure[LOAD_CLIENT][k] = (double)(after.client_ns - before.client_ns) / turns / 1e3;
    load->figure[LOAD_SERVER][k] = (double)(after.server_ns - before.server_ns) / turns / 1e3;
    load->figure[LOAD_BOUNCER][k] = (double)(after.bouncer_ns - before.bouncer_ns) / turns / 1e3;
    load->figure[LOAD_SWITCHES][k] = (double)(after.switches - before.switches) / turns;
    load->samples++;
    return ns / turns;
}
