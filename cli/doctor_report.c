/* SPDX-License-Identifier: MIT
 *
 * What a doctor found, for people and for machines. Names in the JSON stay, new ones may be added;
 * "schema" counts the changes that break readers.
 */
#include "doctor.h"
#include "json.h"
#include "term.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const marks[] = { "ok", "warn", "fail" };

static int count(const struct doctor *d, enum mark mark)
{
    int n = 0;

    for (size_t i = 0; i < d->findings; i++)
        n += d->finding[i].mark == mark;
    return n;
}

static enum mark worst(const struct doctor *d)
{
    return count(d, MARK_FAIL) ? MARK_FAIL : count(d, MARK_WARN) ? MARK_WARN : MARK_OK;
}

void doctor_report(const struct doctor *d)
{
    static const enum term_colour colour[] = { TERM_GREEN, TERM_YELLOW, TERM_RED };
    const char *about = NULL;
    int warned = count(d, MARK_WARN), failed = count(d, MARK_FAIL);

    for (size_t i = 0; i < d->findings; i++) {
        const struct finding *f = &d->finding[i];

        if (f->about != about)
            printf("%s%s%s%s\n", about ? "\n" : "", term_colour(TERM_BOLD), f->about,
                   term_colour(TERM_PLAIN));
        about = f->about;
        printf("  %s%-6s%s%s\n", term_colour(colour[f->mark]), marks[f->mark],
               term_colour(TERM_PLAIN), f->text);
    }
    if (warned || failed)
        printf("\n%d warning%s, %d failure%s\n", warned, warned == 1 ? "" : "s", failed,
               failed == 1 ? "" : "s");
    else
        printf("\nall is well\n");
}

/* ---- JSON ------------------------------------------------------------------------------------ */

/* Running out of memory here ends the program: a finding that is missing would seem to be fine. */
static void put(json_t *to, const char *name, json_t *value)
{
    if (json_object_set_new(to, name, value) == 0)
        return;
    (void)fprintf(stderr, "keyedpool doctor: out of memory while reporting\n");
    exit(1);
}

static json_t *plan_json(const struct doctor *d)
{
    json_t *o = json_object();

    put(o, "keys", json_integer(d->keys));
    put(o, "size", json_integer(d->size));
    put(o, "max_live", d->max_live > 0 ? json_integer(d->max_live) : json_null());
    put(o, "processes", json_integer(d->processes));
    put(o, "clients", json_integer(d->clients));
    put(o, "connections", json_integer(d->need));
    put(o, "idle_ms", json_integer(d->idle_ms));
    put(o, "timeout_ms", json_integer(d->timeout_ms));
    return o;
}

static json_t *finding_json(const struct finding *f)
{
    json_t *o = json_object();

    put(o, "about", json_of(f->about));
    put(o, "check", json_of(f->check));
    put(o, "mark", json_of(marks[f->mark]));
    put(o, "text", json_of(f->text));
    for (int i = 0; i < 3 && f->number[i].name; i++)
        put(o, f->number[i].name, json_integer(f->number[i].value));
    return o;
}

void doctor_report_json(const struct doctor *d)
{
    json_t *o = json_object(), *findings = json_array();

    put(o, "schema", json_string("keyedpool-doctor-1"));
    put(o, "version",
        json_sprintf("%d.%d.%d", KP_VERSION_MAJOR, KP_VERSION_MINOR, KP_VERSION_PATCH));
    put(o, "mark", json_of(marks[worst(d)]));
    put(o, "plan", plan_json(d));
    for (size_t i = 0; i < d->findings; i++)
        (void)json_array_append_new(findings, finding_json(&d->finding[i]));
    put(o, "findings", findings);
    (void)json_dumpf(o, stdout, JSON_INDENT(2));
    (void)putchar('\n');
    json_decref(o);
}
