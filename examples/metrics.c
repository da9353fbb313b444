/* SPDX-License-Identifier: MIT
 *
 * Metrics of a pool, in all and by key, in the text format of Prometheus; failures as they happen;
 * and the same as text for people. The counters come from one list (KP_STATS_MAP), so that a new
 * one appears here by itself.
 */
#include <inttypes.h>
#include <keyedpool.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static atomic_int failures_seen;        /* on_event runs on whatever thread the event happens */

static void log_failures(const kp_event *event, void *ctx)
{
    (void)ctx;
    switch (event->kind) {
    case KP_EVENT_CREATE_FAILED:
    case KP_EVENT_LEAK:
    case KP_EVENT_MISUSE:
        atomic_fetch_add(&failures_seen, 1);
        fprintf(stderr, "%s: %s\n", kp_strerror(event->code), event->why ? event->why->text : "");
        break;
    default:
        break;
    }
}

struct report { kp_pool *pool; FILE *to; int keys; };

static int write_key(kp_key key, const kp_stats *stats, void *arg)
{
    struct report *r = arg;
    char           text[80];

    kp_key_text(r->pool, key, text, sizeof text);
    fprintf(r->to, "keyedpool_key_lent{key=\"%s\"} %" PRIu64 "\n", text, stats->lent);
    r->keys++;
    return 0;
}

static int write_metrics(kp_pool *pool, FILE *to)
{
    struct report report = { .pool = pool, .to = to };
    kp_stats      s;

    if (kp_stats_read(pool, KP_EVERY_KEY, &s) < 0)
        return 0;
#define X(name, sentence)                                      \
    fprintf(to, "# HELP keyedpool_" #name " " sentence "\n"    \
                "keyedpool_" #name " %" PRIu64 "\n", s.name);
    KP_STATS_MAP(X)
#undef X
    kp_each_key(pool, write_key, &report);
    return report.keys;
}

static int create(kp_job *job, void **out)
{
    static char thing;

    if (strcmp(job->key.data, "down") == 0)
        return kp_job_fail(job, 111, "connection refused");
    *out = &thing;
    return 0;
}

static int destroy(kp_job *job, void *thing)
{
    return (void)job, (void)thing, 0;
}

int main(void)
{
    kp_options options = {
        .name = "metered",
        .driver = { .create = create, .destroy = destroy },
        .on_event = log_failures,
    };
    char     text[4096];
    kp_lease up, down;
    kp_pool *pool;
    int      keys = 0, refused;

    if (kp_pool_open(&options, &pool) < 0)
        return 1;
    refused = kp_get(pool, kp_str("down"), KP_IN_S(5), &down);
    if (kp_get(pool, kp_str("up"), NULL, &up) == 0) {
        keys = write_metrics(pool, stdout);
        kp_explain(pool, KP_EVERY_KEY, text, sizeof text);
        puts(text);
        kp_release(&up);
    }
    if (kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(5)) != 0)
        return 1;
    return !(refused == KP_ECREATE && keys == 2 && atomic_load(&failures_seen) == 1);
}
