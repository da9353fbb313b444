/* SPDX-License-Identifier: MIT
 *
 * Adds up what the clients of a bench measured: at its end, and for each line of progress.
 */
#include "bench.h"
#include "term.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t load(const _Atomic uint64_t *a)
{
    return atomic_load_explicit(a, memory_order_relaxed);
}

/* Jain's fairness index: 1 if all are equal, 1/n if one has everything. */
struct jain { double sum, squares; int64_t n; };

static void jain_add(struct jain *j, double x)
{
    j->sum += x;
    j->squares += x * x;
    j->n++;
}

static double jain_index(const struct jain *j)
{
    return j->squares > 0 ? j->sum * j->sum / ((double)j->n * j->squares) : 1;
}

static void sum_keys(const struct bench *b, struct bench_result *out)
{
    struct jain served = { 0, 0, 0 }, waits = { 0, 0, 0 };

    for (int64_t i = 0; i < b->plan->keys; i++) {
        const struct bench_key *k = &b->key[i];
        uint64_t n = load(&k->served), longest = load(&k->longest_ns);

        if (load(&k->asked) == 0)
            continue;
        jain_add(&served, (double)n / (double)load(&k->asked));
        if (n)
            jain_add(&waits, (double)load(&k->wait_ns) / (double)n);
        if (longest > out->longest_ns) {
            out->longest_ns = longest;
            out->longest_key = k->name;
        }
    }
    out->fair_keys = jain_index(&served);
    out->fair_waits = jain_index(&waits);
}

/* Requests that were due before the end but found no client free; after it none is, while clients
 * end what they have begun. The first million are drawn one by one; the rest, which may be
 * billions, are counted as their average. */
static uint64_t count_unserved(struct bench *b)
{
    double end = (double)b->ended_ns;
    uint64_t n = 0;

    if (b->plan->rate <= 0)
        return 0;
    for (; b->next_ns < end && n < 1000000; n++)
        b->next_ns -= log(1 - bench_random(&b->random)) / b->plan->rate * 1e9;
    return b->next_ns < end ? n + (uint64_t)((end - b->next_ns) / 1e9 * b->plan->rate) : n;
}

void bench_sum(struct bench *b, uint64_t from, uint64_t until, struct bench_result *out)
{
    double all = (double)b->plan->clients * (double)(until - from);
    struct jain clients = { 0, 0, 0 };
    double get_ns = 0, hold_ns = 0, release_ns = 0;

    for (int64_t i = 0; i < b->plan->clients; i++) {
        const struct bench_client *c = &b->client[i];

        histogram_merge(&out->wait, &c->wait);
        histogram_merge(&out->hold, &c->hold);
        out->reads += load(&c->reads);
        out->writes += load(&c->writes);
        out->timeouts += load(&c->timeouts);
        out->errors += load(&c->errors);
        get_ns += (double)c->get_ns;
        hold_ns += (double)c->hold_ns;
        release_ns += (double)c->release_ns;
        jain_add(&clients, (double)(load(&c->reads) + load(&c->writes)));
    }
    out->get_share = get_ns / all;
    out->hold_share = hold_ns / all;
    out->release_share = release_ns / all;
    out->seconds = (double)(until - from) / 1e9;
    out->fair_clients = jain_index(&clients);
    out->unserved = count_unserved(b);
    sum_keys(b, out);
    (void)kp_stats_read(b->pool, KP_EVERY_KEY, &out->stats);
    /* in the pool's figures a get that queued and then created counts in both; here in one */
    out->create_share = fmin(out->get_share, (double)out->stats.create_ns / all);
    out->queue_share = fmin(out->get_share - out->create_share,
                            (double)out->stats.wait_ns / all);
}

static const char *p99(char *buf, size_t size, const struct histogram *h)
{
    return load(&h->count) ? term_time(buf, size, (double)histogram_percentile(h, 0.99)) : "-";
}

void bench_progress(const struct bench *b, struct bench_progress *last, uint64_t from,
                    uint64_t now)
{
    struct histogram *wait = calloc(2, sizeof *wait), *hold = wait ? wait + 1 : NULL;
    uint64_t failed = 0;
    char wait_text[32], hold_text[32], rate[32];

    if (!wait)
        return;
    for (int64_t i = 0; i < b->plan->clients; i++) {
        const struct bench_client *c = &b->client[i];

        histogram_merge(wait, &c->wait);
        histogram_merge(hold, &c->hold);
        failed += load(&c->timeouts) + load(&c->errors);
    }
    histogram_subtract(wait, &last->wait);
    histogram_subtract(hold, &last->hold);
    (void)fprintf(stderr, "progress: %.1f s, %s gets/s, wait p99 %s, hold p99 %s, %llu failed\n",
                  (double)(now - from) / 1e9,
                  term_rate(rate, sizeof rate,
                            (double)load(&wait->count) / ((double)(now - last->at_ns) / 1e9)),
                  p99(wait_text, sizeof wait_text, wait), p99(hold_text, sizeof hold_text, hold),
                  (unsigned long long)(failed - last->failed));
    histogram_merge(&last->wait, wait);
    histogram_merge(&last->hold, hold);
    last->at_ns = now;
    last->failed = failed;
    free(wait);
}
