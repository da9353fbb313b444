/* SPDX-License-Identifier: MIT
 *
 * What came out of a bench, for people.
 */
#include "bench.h"
#include "term.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { NAME = 15, CELL = 10, BAR = 30 };

static const char *base_name(const char *path)
{
    const char *slash = strstr(path, "://") ? NULL : strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static void name_row(const char *name)
{
    printf("  %s%-*s%s", term_colour(TERM_BOLD), NAME, name, term_colour(TERM_PLAIN));
}

static void counts(const struct bench_result *r)
{
    uint64_t done = r->reads + r->writes;
    char n[32], rate[32];

    name_row("operations");
    printf("%s   %s/s", term_count(n, sizeof n, done),
           term_rate(rate, sizeof rate, (double)done / r->seconds));
    if (r->writes)
        printf("   (%s writes)", term_count(n, sizeof n, r->writes));
    printf("   timeouts %llu   %serrors %llu%s\n", (unsigned long long)r->timeouts,
           r->errors ? term_colour(TERM_RED) : "", (unsigned long long)r->errors,
           term_colour(TERM_PLAIN));
    name_row("pool");
    printf("hit rate %.2f %%   created %llu   evicted %llu   destroyed %llu   live %llu\n",
           r->stats.gets ? 100 * (double)r->stats.hits / (double)r->stats.gets : 0,
           (unsigned long long)r->stats.creates, (unsigned long long)r->stats.evicted,
           (unsigned long long)r->stats.destroys, (unsigned long long)r->stats.live);
}

/* A part of a whole in percent, to a tenth: the difference of two rounded running sums, and not the
 * part rounded by itself, so that all parts add up to the whole. */
static double between(double from, double to)
{
    return (round(1000 * to) - round(1000 * from)) / 10;
}

/* Which part of its time a client spends where. What is left is sleep until the next arrival, the
 * measuring itself, and waiting for the last one to end. */
static void shares(const struct bench_result *r)
{
    double held = r->get_share + r->hold_share, given = held + r->release_share;
    double creating = r->create_share, queued = creating + r->queue_share;

    name_row("client time");
    printf("wait %.1f %% (in a queue %.1f %%, creating %.1f %%, other %.1f %%)   hold %.1f %%   "
           "give back %.1f %%   rest %.1f %%\n", between(0, r->get_share),
           between(creating, queued), between(0, creating), between(queued, r->get_share),
           between(r->get_share, held), between(held, given), between(given, fmax(given, 1)));
}

static void fairness(const struct bench_result *r)
{
    char t[32], key[4096];

    name_row("fairness");
    printf("Jain %.3f over clients (operations), %.3f over keys (share served), %.3f over keys "
           "(mean wait)\n", r->fair_clients, r->fair_keys, r->fair_waits);
    if (!r->longest_key)
        return;
    (void)snprintf(key, sizeof key, "%s", base_name(r->longest_key));
    term_tame(key);
    name_row("longest wait");
    printf("%s (%s)\n", term_time(t, sizeof t, (double)r->longest_ns), key);
}

/* A time that is told by `h`, which may have none. */
static void cell(const struct histogram *h, double ns)
{
    char t[32];

    term_pad(h->count ? term_time(t, sizeof t, ns) : "-", -CELL);
}

static void percentiles(const char *name, const struct histogram *h)
{
    static const double share[] = { 0.5, 0.9, 0.99, 0.999, 1 };

    name_row(name);
    for (size_t i = 0; i < sizeof share / sizeof share[0]; i++)
        cell(h, (double)histogram_percentile(h, share[i]));
    cell(h, histogram_mean(h));
    printf("\n");
}

static void histogram(const struct histogram *h)
{
    uint64_t all = h->count, seen = 0, below;
    char bar[4 * BAR + 1], t[32], n[32], label[64];

    if (all)
        printf("\n  wait histogram\n");
    for (uint64_t edge = 1000; seen < all; edge *= 10, seen = below) {
        double share;

        below = edge > h->max ? all : histogram_below(h, edge);
        share = (double)(below - seen) / (double)all;
        if (below == seen && seen == 0)
            continue;                   /* nothing is that fast */
        term_bar(bar, sizeof bar, share, BAR);
        (void)snprintf(label, sizeof label, "    < %s", term_time(t, sizeof t, (double)edge));
        term_pad(label, 15);
        printf(" [%11s] ", term_count(n, sizeof n, below - seen));
        term_pad(bar, BAR);
        printf(" %5.1f %%\n", 100 * share);
    }
}

void bench_report(const struct bench *b, const struct bench_result *r)
{
    const struct bench_plan *p = b->plan;

    printf("%sSummary%s  %s, %s %s, %lld key%s", term_colour(TERM_BOLD), term_colour(TERM_PLAIN),
           p->target.shown, p->target.backend->library, p->target.backend->version(),
           (long long)p->keys, p->keys == 1 ? "" : "s");
    if (p->zipf > 0)
        printf(" (zipf %g)", p->zipf);
    printf(", size %lld, %lld client%s, ", (long long)p->size, (long long)p->clients,
           p->clients == 1 ? "" : "s");
    if (p->rate > 0)
        printf("open loop %.12g/s, ", p->rate);
    else
        printf("closed loop, ");
    printf("%.2f s, seed %llu%s\n", r->seconds, (unsigned long long)p->seed,
           r->interrupted ? ", interrupted" : "");
    counts(r);
    shares(r);
    fairness(r);
    printf("\n  %-*s%*s%*s%*s%*s%*s%*s\n", NAME, "", CELL, "p50", CELL, "p90", CELL, "p99", CELL,
           "p99.9", CELL, "max", CELL, "mean");
    percentiles("wait", &r->wait);
    percentiles("hold", &r->hold);
    histogram(&r->wait);
    if (r->unserved)
        printf("\n  %sthe load was not sustained: %llu due requests had no free client%s\n",
               term_colour(TERM_YELLOW), (unsigned long long)r->unserved, term_colour(TERM_PLAIN));
    if (b->first_error[0])
        printf("\n  %sfirst error: %s%s\n", term_colour(TERM_RED), b->first_error,
               term_colour(TERM_PLAIN));
}
