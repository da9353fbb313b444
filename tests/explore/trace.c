/* SPDX-License-Identifier: MIT
 *
 * A readable trace of one execution: which thread did what, and where in the source.
 */
#include "engine.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINES = 4000 };

static struct ex_trace lines[LINES];
static const char *const kinds[EX_KINDS] = { "",     "load", "store", "park", "wake",
                                             "lock", "up",   "down",  "time", "await" };

static struct ex_trace *next_line(void)
{
    ex.trace = lines;
    if (ex.traces == LINES) return NULL;
    struct ex_trace *line = &lines[ex.traces++];
    *line = (struct ex_trace){ .thread = (uint8_t)ex.cur };
    return line;
}

void ex_traced(enum ex_kind kind, const void *address, uint64_t value, const void *pc)
{
    struct ex_trace *line = ex.tracing ? next_line() : NULL;

    if (!line) return;
    line->kind = kind;
    line->address = (uintptr_t)address;
    line->value = value;
    line->pc = (uintptr_t)pc;
}

void ex_note(const char *format, ...)
{
    struct ex_trace *line = ex.tracing ? next_line() : NULL;
    va_list args;

    if (!line) return;
    va_start(args, format);
    vsnprintf(line->note, sizeof line->note, format, args);
    va_end(args);
}

/* Runs addr2line once for all lines of the trace. For each it prints the function, then
 * file:line. */
static FILE *sources(void)
{
    static char command[LINES * 20 + 300];
    char exe[200];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    size_t at;

    if (n <= 0) return NULL;
    exe[n] = 0;
    at = (size_t)snprintf(command, sizeof command, "addr2line -sfe '%s'", exe);
    for (int i = 0; i < ex.traces; i++) /* pc is a return address: the call is before it */
        at += (size_t)snprintf(command + at, sizeof command - at, " %lx",
                               (unsigned long)(lines[i].pc ? lines[i].pc - 1 : 0));
    return popen(command, "r");
}

static void where(FILE *from, char *out, size_t size)
{
    char function[120] = "", line[160] = "";

    out[0] = 0;
    if (!from || !fgets(function, sizeof function, from) || !fgets(line, sizeof line, from))
        return;
    function[strcspn(function, "\n")] = 0;
    line[strcspn(line, "\n ")] = 0;
    if (function[0] != '?') snprintf(out, size, "%s  %s", function, line);
}

void ex_trace_print(void)
{
    FILE *from = sources();
    char place[300], who[12];

    for (int i = 0; i < ex.traces; i++) {
        const struct ex_trace *t = &lines[i];
        where(from, place, sizeof place);
        if (t->thread == EX_THREADS) snprintf(who, sizeof who, "main");
        else snprintf(who, sizeof who, "T%d", t->thread);
        if (t->note[0]) printf("  %-4s %s\n", who, t->note);
        else if (t->kind == EX_TAKE || t->kind == EX_ADVANCE)
            printf("  %-4s   %-5s %-28s %s\n", who, kinds[t->kind], "", place);
        else
            printf("  %-4s   %-5s %#-14lx = %-11llu %s\n", who, kinds[t->kind],
                   (unsigned long)t->address, (unsigned long long)t->value, place);
    }
    if (from) pclose(from);
}
