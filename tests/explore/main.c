/* SPDX-License-Identifier: MIT
 *
 * The explorer's command.
 */
#include "engine.h"
#include "report.h"
#include "scenarios.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct how {
    const char *only, *replay;
    enum ex_mode mode;
    bool weak, list, quiet;
    int part, parts, faults, bound;
    uint64_t seed;
    long count;
    double seconds;
};

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

struct result {
    long executions, redundant, restarts;
    bool complete, failed;
    double seconds;
};

static struct result search(const struct scenario *s, const struct how *how)
{
    struct result r = { .executions = 0 };
    double began = now_s();

    ex.program = scenario_play(s);
    ex.mode = how->mode;
    ex.weak = how->weak;
    ex.plain = true;
    ex.reduce = how->mode == EX_EXHAUST;
    ex.every_point = how->mode > EX_BOUND;
    ex.bound = how->bound;
    ex.faults = how->faults;
    ex.pct_depth = 3;
    ex.pct_length = 60;
    ex_places_clear();
    ex_forget_paths();
    for (;;) {
        ex.seed = how->seed + (uint64_t)r.executions;
        switch (ex_execute()) {
        case EX_RESTART:
            ex_forget_paths();
            r.restarts++;
            r.executions = r.redundant = 0;
            continue;
        case EX_FAILED:
            r.executions++;
            r.failed = true;
            r.seconds = now_s() - began;
            report_failure(s->name);
            return r;
        case EX_REDUNDANT: r.redundant++; break;
        case EX_PASSED: r.executions++; break;
        }
        if (how->mode <= EX_BOUND && !ex_next_path()) {
            r.complete = true;
            break;
        }
        if (how->count && r.executions + r.redundant >= how->count) break;
        if (how->seconds > 0 && ((r.executions + r.redundant) & 255) == 0 &&
            now_s() - began > how->seconds)
            break;
    }
    r.seconds = now_s() - began;
    return r;
}

int main(int argc, char **argv)
{
    struct how how = { .parts = 1, .bound = 2, .seed = 1 };
    int failures = 0, complete = 0;
    long executions = 0;
    double seconds = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(a, "--list")) how.list = true;
        else if (!strcmp(a, "--weak")) how.weak = true;
        else if (!strcmp(a, "--quiet")) how.quiet = true;
        else if (!strcmp(a, "--only")) how.only = v, i++;
        else if (!strcmp(a, "--count")) how.count = atol(v), i++;
        else if (!strcmp(a, "--seconds")) how.seconds = atof(v), i++;
        else if (!strcmp(a, "--faults")) how.faults = atoi(v), i++;
        else if (!strcmp(a, "--mode")) {
            how.mode = !strcmp(v, "random") ? EX_RANDOM : !strcmp(v, "pct") ? EX_PCT : !strcmp(v, "bound") ? EX_BOUND : EX_EXHAUST; i++; }
    }
    ex_memory_init();
    for (int i = 0; i < scenario_count(); i++) {
        const struct scenario *s = scenario_at(i);
        if (how.only && !strstr(s->name, how.only)) continue;
        if (how.list) { puts(s->name); continue; }
        struct result r = search(s, &how);
        if (!how.quiet || !r.complete) printf("%s %s: %ld executions, %ld redundant, %ld restarts, %.3f s\n",
               r.failed ? "FAILED" : r.complete ? "COMPLETE" : "ran", s->name, r.executions,
               r.redundant, r.restarts, r.seconds);
        failures += r.failed;
        complete += r.complete;
        executions += r.executions + r.redundant;
        seconds += r.seconds;
    }
    printf("%d complete, %d failed, %ld executions, %llu steps, %.1f s\n", complete, failures, executions, (unsigned long long)ex.steps, seconds);
    return failures ? 1 : 0;
}
