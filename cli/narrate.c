/* SPDX-License-Identifier: MIT
 *
 * What the tour prints: lines of the program, events as they happen, and the table at the end. Each
 * line is one call of printf, so that lines of several threads do not mix.
 */
#include "demo.h"

#include "term.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- lines ----------------------------------------------------------------------------------- */

static void line(enum term_colour colour, const char *mark, const char *format, va_list ap)
{
    char text[400];

    (void)vsnprintf(text, sizeof text, format, ap);
    printf("  %s%s %s%s\n", term_colour(colour), mark, text, term_colour(TERM_PLAIN));
}

void demo_do(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    line(TERM_CYAN, ">", format, ap);
    va_end(ap);
}

void demo_found(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    line(TERM_GREEN, "=", format, ap);
    va_end(ap);
}

void demo_region_name(const char *file, char *buf, size_t size)
{
    const char *slash = strrchr(file, '/'), *name = slash ? slash + 1 : file;

    (void)snprintf(buf, size, "%.*s", (int)strcspn(name, "."), name);
}

static const char *role_of(const kp_sqlite_key *key)
{
    return key->role == KP_SQLITE_WRITER ? "writer" : "reader";
}

/* ---- events ---------------------------------------------------------------------------------- */

static const char *sentence_of(kp_event_kind kind)
{
    switch (kind) {
    case KP_EVENT_NONE: break;
#define X(name, sentence) case KP_EVENT_##name: return sentence;
    KP_EVENT_MAP(X)
#undef X
    }
    return "something happened";
}

static const char *cause_of(const kp_event *event)
{
    switch (event->cause) {
    case KP_CAUSE_NONE: break;
#define X(name, counter, sentence) case KP_CAUSE_##name: return sentence;
    KP_CAUSE_MAP(X)
#undef X
    }
    return "";
}

/* What the event adds to its sentence: the reason of a failure, the limit of a timeout, the cause
 * of an end. */
static const char *detail_of(const kp_event *event)
{
    if (!event->why)
        return cause_of(event);
    if (event->kind == KP_EVENT_TIMEOUT)
        return event->why->limit;
    return event->why->text;
}

void demo_on_event(const kp_event *event, void *demo)
{
    bool bad = event->kind == KP_EVENT_CREATE_FAILED || event->kind == KP_EVENT_INVALID ||
               event->kind == KP_EVENT_TIMEOUT || event->kind == KP_EVENT_MISUSE;
    const char *sentence = sentence_of(event->kind), *detail = detail_of(event);
    const kp_sqlite_key *key = event->key.data;
    struct demo *d = demo;
    char region[32] = "pool";

    if (key)
        demo_region_name(key->file, region, sizeof region);
    printf("      %s%s %s%s%s: %.*s%s%s%s\n", term_colour(bad ? TERM_YELLOW : TERM_DIM),
           term_utf8("·", "."), region, key ? " " : "", key ? role_of(key) : "",
           (int)strcspn(sentence, ";"), sentence, *detail ? ": " : "", detail,
           term_colour(TERM_PLAIN));
    (void)pthread_mutex_lock(&d->lock);
    if ((int)event->kind < DEMO_KINDS)
        d->seen[event->kind]++;
    (void)pthread_cond_broadcast(&d->happened);
    (void)pthread_mutex_unlock(&d->lock);
}

void demo_on_leftover(const kp_sqlite_leftover *what, void *demo)
{
    char region[32];

    (void)demo;
    demo_region_name(what->key->file, region, sizeof region);
    printf("      %s%s %s %s: '%s' left %lld statement%s open%s (%s)%s\n", term_colour(TERM_YELLOW),
           term_utf8("·", "."), region, role_of(what->key), what->tag ? what->tag : "somebody",
           (long long)what->statements, what->statements == 1 ? "" : "s",
           what->transaction ? " and a transaction, which was rolled back" : "",
           what->sql ? what->sql : "", term_colour(TERM_PLAIN));
}

uint64_t demo_seen(struct demo *d, kp_event_kind kind)
{
    uint64_t n;

    (void)pthread_mutex_lock(&d->lock);
    n = d->seen[kind];
    (void)pthread_mutex_unlock(&d->lock);
    return n;
}

bool demo_wait(struct demo *d, kp_event_kind kind, uint64_t times)
{
    struct timespec until;
    bool seen;

    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += 5;
    (void)pthread_mutex_lock(&d->lock);
    while (d->seen[kind] < times &&
           pthread_cond_timedwait(&d->happened, &d->lock, &until) == 0)
        ;
    seen = d->seen[kind] >= times;
    (void)pthread_mutex_unlock(&d->lock);
    return seen;
}

/* ---- the table ------------------------------------------------------------------------------- */

static int fill_row(kp_key key, const kp_stats *stats, void *arg)
{
    const kp_sqlite_key *k = key.data;
    struct demo *d = arg;
    struct demo_row *row = &d->row[d->rows++];

    demo_region_name(k->file, row->name, sizeof row->name);
    (void)snprintf(row->role, sizeof row->role, "%s", role_of(k));
    row->stats = *stats;
    return d->rows == DEMO_ROWS - 1;    /* the last one is for the totals */
}

void demo_table_fill(struct demo *d)
{
    struct demo_row *total;

    d->rows = 0;
    (void)kp_each_key(d->pool, fill_row, d);
    total = &d->row[d->rows++];
    (void)snprintf(total->name, sizeof total->name, "all keys");
    total->role[0] = '\0';
    (void)kp_stats_read(d->pool, KP_EVERY_KEY, &total->stats);
}

void demo_table_print(const struct demo *d)
{
    static const char *const heads[] = { "live", "idle", "lent", "gets", "hits", "waits",
                                         "timeouts", "creates", "failed", "evicted", "destroys" };

    printf("\n  before the close:\n%s  %-10s%-8s", term_colour(TERM_BOLD), "region", "role");
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++)
        printf("%9s", heads[i]);
    printf("%s\n", term_colour(TERM_PLAIN));
    for (int i = 0; i < d->rows; i++) {
        const kp_stats *s = &d->row[i].stats;
        const uint64_t cells[] = { s->live, s->idle, s->lent, s->gets, s->hits, s->waits,
                                   s->timeouts, s->creates, s->create_failures, s->evicted,
                                   s->destroys };

        printf("  %s%-10s%-8s", i == d->rows - 1 ? term_colour(TERM_BOLD) : "", d->row[i].name,
               d->row[i].role);
        for (size_t j = 0; j < sizeof cells / sizeof cells[0]; j++)
            printf("%9llu", (unsigned long long)cells[j]);
        printf("%s\n", term_colour(TERM_PLAIN));
    }
}
