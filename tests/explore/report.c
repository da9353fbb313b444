/* SPDX-License-Identifier: MIT
 *
 * Failures: replayed, reduced to a small schedule, and printed (report.h).
 */
#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

enum { REPLAYS = 5, TRIES = 3000 };

static uint8_t script[EX_EVENTS];
static int length;

/* ---- schedules as text ----------------------------------------------------------------------- */

static void print_schedule(void)
{
    bool first = true;

    if (ex.every_point) putchar('*');
    for (int i = 0; i < EX_PLACES && !ex.every_point; i++) {
        uintptr_t address = ex_shared_at(i);
        if (!address) continue;
        printf("%s%lx", first ? "" : ",", (unsigned long)address);
        first = false;
    }
    putchar('/');
    first = true;
    for (int i = 0; i < length; i++) {
        if (!script[i]) continue;
        printf("%s%d:%d", first ? "" : ",", i, script[i]);
        first = false;
    }
}

static bool read_places(const char **text)
{
    if (**text == '*') {
        ex.every_point = true;
        ++*text;
    }
    while (**text && **text != '/') {
        char *end;
        unsigned long address = strtoul(*text, &end, 16);
        if (end == *text || (*end != ',' && *end != '/')) return false;
        ex_place((void *)address)->shared = true;
        *text = *end == ',' ? end + 1 : end;
    }
    return *(*text)++ == '/';
}

static bool read_schedule(const char *text)
{
    int used;
    unsigned at, choice;

    ex_places_clear();
    ex.every_point = false;
    memset(script, 0, sizeof script);
    length = 0;
    if (!read_places(&text)) return false;
    while (*text) {
        if (sscanf(text, "%u:%u%n", &at, &choice, &used) != 2 || at >= EX_EVENTS) return false;
        script[at] = (uint8_t)choice;
        length = (int)at + 1;
        text += used;
        if (*text == ',') text++;
    }
    return true;
}

/* ---- again ----------------------------------------------------------------------------------- */

static bool play(const uint8_t *give, int given)
{
    ex.mode = EX_REPLAY;
    ex.give = give;
    ex.given = given;
    return ex_execute() == EX_FAILED;
}

/* The kind of a failure is its text up to the first colon. */
static bool same_kind(const char *a, const char *b)
{
    size_t n = strcspn(a, ":");

    return n == strcspn(b, ":") && strncmp(a, b, n) == 0;
}

static int choices(void)
{
    int n = 0;

    for (int i = 0; i < length; i++) n += script[i] != 0;
    return n;
}

/* Drops one decision from the schedule, if it still fails in the same way. */
static bool without(int at, const char *why)
{
    static uint8_t attempt[EX_EVENTS];

    memcpy(attempt, script, (size_t)length);
    attempt[at] = 0;
    if (!play(attempt, length) || !same_kind(why, ex.why)) return false;
    length = ex.script_length;
    memcpy(script, ex.script, (size_t)length);
    return true;
}

static void minimise(const char *why)
{
    int tries = 0;
    bool smaller = true;

    while (smaller && tries < TRIES) {
        smaller = false;
        for (int i = length - 1; i >= 0 && tries < TRIES; i--) {
            int before = choices();
            if (i >= length || script[i] == 0) continue;
            tries++;
            if (without(i, why) && choices() < before) smaller = true;
        }
    }
    while (length > 0 && script[length - 1] == 0) length--;
}

static void tell(void)
{
    ex.tracing = true;
    (void)play(script, length);
    ex_trace_print();
    ex.tracing = false;
    printf("  %s\n", ex.outcome == EX_FAILED ? ex.why : "passed");
}

bool report_failure(const char *program, const char *options, const char *name)
{
    char why[sizeof ex.why];
    uint64_t hash = ex.hash;
    bool same = true;

    memcpy(why, ex.why, sizeof why);
    length = ex.script_length;
    memcpy(script, ex.script, (size_t)length);
    for (int i = 0; i < REPLAYS; i++)
        same = play(script, length) && ex.hash == hash && strcmp(why, ex.why) == 0 && same;
    printf("FAILED %s\n  %s\n  replayed %d times: %s\n", name, why, REPLAYS,
           same ? "identical" : "DIFFERENT");
    int before = choices();
    if (same) minimise(why);
    printf("  decisions that are not plain: %d, of %d\n  %s --only '%s'%s --replay '", choices(),
           before, program, name, options);
    print_schedule();
    printf("'\n");
    tell();
    return same;
}

bool report_replay(const char *text)
{
    if (!read_schedule(text)) return false;
    tell();
    return true;
}
