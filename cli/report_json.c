/* SPDX-License-Identifier: MIT
 *
 * What came out of a bench, for machines. Names stay, new ones may be added; "schema" counts the
 * changes that break readers.
 */
#include "bench.h"
#include "json.h"

#include <stdio.h>
#include <stdlib.h>

/* Add to an object; running out of memory here ends the program, the numbers would be incomplete.
 * */
static void put(json_t *to, const char *name, json_t *value)
{
    if (json_object_set_new(to, name, value) == 0)
        return;
    (void)fprintf(stderr, "keyedpool bench: out of memory while reporting\n");
    exit(1);
}

static json_t *number(uint64_t n)
{
    return json_integer((json_int_t)n);
}

/* null for none. */
static json_t *text(const char *s)
{
    return s && *s ? json_of(s) : json_null();
}

static json_t *plan_json(const struct bench_plan *p)
{
    json_t *o = json_object();

    put(o, "url", text(p->target.shown));
    put(o, "operation", text(p->target.backend->operation));
    put(o, "clients", json_integer(p->clients));
    put(o, "keys", json_integer(p->keys));
    put(o, "zipf", json_real(p->zipf));
    put(o, "size", json_integer(p->size));
    put(o, "max_live", p->max_live > 0 ? json_integer(p->max_live) : json_null());
    put(o, "write_pct", json_integer(p->write_pct));
    put(o, "rate", p->rate > 0 ? json_real(p->rate) : json_null());
    put(o, "run_s", json_real((double)p->run_ns / 1e9));
    put(o, "timeout_ms", json_integer(p->timeout_ms));
    put(o, "seed", number(p->seed));
    return o;
}

/* Percentiles, and the buckets that are not empty: from 0, each up to and without "below_ns". */
static json_t *histogram_json(const struct histogram *h)
{
    json_t *o = json_object(), *buckets = json_array();
    uint64_t seen = 0;

    put(o, "count", number(h->count));
    put(o, "mean_ns", json_real(histogram_mean(h)));
    put(o, "p50_ns", number(histogram_percentile(h, 0.5)));
    put(o, "p90_ns", number(histogram_percentile(h, 0.9)));
    put(o, "p99_ns", number(histogram_percentile(h, 0.99)));
    put(o, "p999_ns", number(histogram_percentile(h, 0.999)));
    put(o, "max_ns", number(h->max));
    for (uint64_t edge = 128; seen < h->count && edge; edge *= 2) {
        uint64_t below = edge > h->max ? h->count : histogram_below(h, edge);
        json_t *bucket;

        if (below == seen)
            continue;
        bucket = json_object();
        put(bucket, "below_ns", number(edge));
        put(bucket, "count", number(below - seen));
        (void)json_array_append_new(buckets, bucket);
        seen = below;
    }
    put(o, "histogram", buckets);
    return o;
}

static json_t *result_json(const struct bench *b, const struct bench_result *r)
{
    json_t *o = json_object();
    uint64_t done = r->reads + r->writes;

    put(o, "seconds", json_real(r->seconds));
    put(o, "interrupted", json_boolean(r->interrupted));
    put(o, "operations", number(done));
    put(o, "per_second", json_real((double)done / r->seconds));
    put(o, "reads", number(r->reads));
    put(o, "writes", number(r->writes));
    put(o, "timeouts", number(r->timeouts));
    put(o, "errors", number(r->errors));
    put(o, "first_error", text(b->first_error));
    put(o, "unserved", number(r->unserved));
    put(o, "hit_rate",
        json_real(r->stats.gets ? (double)r->stats.hits / (double)r->stats.gets : 0));
    return o;
}

static json_t *shares_json(const struct bench_result *r)
{
    json_t *o = json_object();

    put(o, "wait", json_real(r->get_share));
    put(o, "wait_in_queue", json_real(r->queue_share));
    put(o, "wait_creating", json_real(r->create_share));
    put(o, "hold", json_real(r->hold_share));
    put(o, "give_back", json_real(r->release_share));
    return o;
}

static json_t *fairness_json(const struct bench_result *r)
{
    json_t *o = json_object();

    put(o, "jain_clients", json_real(r->fair_clients));
    put(o, "jain_keys_served", json_real(r->fair_keys));
    put(o, "jain_keys_wait", json_real(r->fair_waits));
    put(o, "longest_wait_ns", number(r->longest_ns));
    put(o, "longest_wait_key", text(r->longest_key));
    return o;
}

static json_t *stats_json(const kp_stats *stats)
{
    json_t *o = json_object();

#define X(name, kind, sentence) put(o, #name, number(stats->name));
    KP_STATS_MAP(X)
#undef X
    return o;
}

void bench_report_json(const struct bench *b, const struct bench_result *r)
{
    json_t *o = json_object();

    put(o, "schema", json_string("keyedpool-bench-1"));
    put(o, "version",
        json_sprintf("%d.%d.%d", KP_VERSION_MAJOR, KP_VERSION_MINOR, KP_VERSION_PATCH));
    put(o, "backend", json_string(b->plan->target.name));
    put(o, "library", json_sprintf("%s %s", b->plan->target.backend->library,
                                   b->plan->target.backend->version()));
    put(o, "plan", plan_json(b->plan));
    put(o, "result", result_json(b, r));
    put(o, "client_time", shares_json(r));
    put(o, "fairness", fairness_json(r));
    put(o, "wait", histogram_json(&r->wait));
    put(o, "hold", histogram_json(&r->hold));
    put(o, "stats", stats_json(&r->stats));
    (void)json_dumpf(o, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    (void)putchar('\n');
    json_decref(o);
}
