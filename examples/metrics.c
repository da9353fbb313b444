/* SPDX-License-Identifier: MIT
 *
 * Metrics of a pool of SQLite connections, in total and by key, in the text format of Prometheus;
 * failures as they happen; and the same as text for people. The counters come from one list
 * (KP_STATS_MAP), so a new one appears here without a change.
 */
#define _POSIX_C_SOURCE 200809L
#include <inttypes.h>
#include <keyedpool_sqlite.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_int failures_seen;        /* on_event runs on whatever thread the event happens */

static void log_failures(const kp_event *event, void *ctx)
{
    (void)ctx;
    switch (event->kind) {
    case KP_EVENT_CREATE_FAILED:
    case KP_EVENT_LEAK:
    case KP_EVENT_MISUSE:
        atomic_fetch_add(&failures_seen, 1);
        fprintf(stderr, "%s\n", event->why ? event->why->text : kp_strerror(event->code));
        break;
    default:
        break;
    }
}

struct report { kp_pool *pool; FILE *to; };

/* A key may be any text, and a label may not. All of it, or two keys would look the same. */
static int write_key(kp_key key, const kp_stats *stats, void *arg)
{
    struct report *r = arg;
    size_t         size = kp_key_text(r->pool, key, NULL, 0) + 1;
    char          *text = malloc(size);

    if (!text)
        return KP_ENOMEM;
    kp_key_text(r->pool, key, text, size);
    fputs("keyedpool_key_lent{key=\"", r->to);
    for (const char *p = text; *p; p++) {
        if (*p == '\\' || *p == '"' || *p == '\n')
            fputc('\\', r->to);
        fputc(*p == '\n' ? 'n' : *p, r->to);
    }
    fprintf(r->to, "\"} %" PRIu64 "\n", stats->lent);
    free(text);
    return 0;
}

static void write_metrics(kp_pool *pool, FILE *to)
{
    struct report report = { .pool = pool, .to = to };
    kp_stats      s;

    if (kp_stats_read(pool, KP_EVERY_KEY, &s) < 0)
        return;
#define X(name, kind, sentence)                                \
    fprintf(to, "# HELP keyedpool_" #name " " sentence "\n"    \
                "# TYPE keyedpool_" #name " " #kind "\n"       \
                "keyedpool_" #name " %" PRIu64 "\n", s.name);
    KP_STATS_MAP(X)
#undef X
    kp_each_key(pool, write_key, &report);
}

#define DEEP "/of/them/is/there/and/the/names/of/real/ones/are/at/times/as/long/as/this/one"

/* Three keys: a writer that wrote, a reader that is lent now, and one whose file is not there. */
static int use(kp_pool *pool, kp_lease *reader)
{
    kp_lease writer, lost;
    int      rc = kp_get(pool, KP_SQLITE_KEY("app.db", KP_SQLITE_WRITER), KP_IN_S(5), &writer);

    if (rc == 0) {
        rc = sqlite3_exec(kp_sqlite_db(&writer), "CREATE TABLE visits (at)", NULL, NULL, NULL);
        kp_release(&writer);
    }
    if (kp_get(pool, KP_SQLITE_KEY("\"none\"" DEEP "/app.db", KP_SQLITE_READER), KP_IN_S(5), &lost)
        != KP_ECREATE)
        return -1;
    return rc == 0 ? kp_get(pool, KP_SQLITE_KEY("app.db", KP_SQLITE_READER),
                            KP_ASK(.tag = "list of visits"), reader) : rc;
}

int main(void)
{
    kp_options options = { .name = "metered", .on_event = log_failures };
    kp_sqlite_options sqlite = { .journal_mode = "delete" };   /* leaves one file, to be removed */
    char       folder[] = "/tmp/keyedpool-metrics-XXXXXX", text[4096], *metrics = NULL;
    size_t     size;
    kp_lease   reader;
    kp_pool   *pool;

    if (!mkdtemp(folder) || chdir(folder) != 0 ||
        kp_sqlite_open(&sqlite, &options, &pool) != 0)
        return 1;
    if (use(pool, &reader) == 0) {
        FILE *to = open_memstream(&metrics, &size);

        write_metrics(pool, to);
        fclose(to);
        kp_explain(pool, KP_EVERY_KEY, text, sizeof text);
        printf("%s%s\n", metrics, text);
        kp_release(&reader);
    }
    if (kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(5)) != 0 || !metrics)
        return 1;
    int failed = !strstr(metrics, "\n# TYPE keyedpool_lent gauge\nkeyedpool_lent 1\n")
              || !strstr(metrics, "\n# TYPE keyedpool_creates counter\nkeyedpool_creates 2\n")
              || !strstr(metrics, "\nkeyedpool_create_failures 1\n")
              || !strstr(metrics, "\nkeyedpool_key_lent{key=\"app.db (writer)\"} 0\n"
                                  "keyedpool_key_lent{key=\"\\\"none\\\"" DEEP
                                  "/app.db (reader)\"} 0\n"
                                  "keyedpool_key_lent{key=\"app.db (reader)\"} 1\n")
              || atomic_load(&failures_seen) != 1;
    free(metrics);
    return failed || unlink("app.db") != 0 || rmdir(folder) != 0;
}
