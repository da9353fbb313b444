/* SPDX-License-Identifier: MIT
 *
 * The explorer's command: chooses scenarios, searches each, and prints the results. The last line
 * has the totals; with --json as JSON.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine.h"
#include "report.h"
#include "scenarios.h"

struct how {
    const char *program, *only, *replay;
    enum ex_mode mode;
    bool weak, plain, list, quiet, json, outcomes;
    int group, part, parts, faults, bound, depth;
    uint64_t seed;
    long count;
    double seconds; /* for one scenario */
};

struct result {
    long executions, redundant, restarts, outcomes;
    uint64_t outcome_sum;
    bool complete, failed;
    double seconds;
};

struct sum {
    long complete, incomplete, failed, executions;
    double seconds;
};

static const char *const modes[] = { "exhaust", "bound", "random", "pct", "starve" };
static const char *const groups[GROUPS] = { "pairs",  "long",  "triples", "eventual", "faults",
                                            "lock",   "litmus", "async",  "loops",    "hard",
                                            "revoke", "mixes",  "homes",   "canary" };

static const char usage[] =
    "usage: explore [option...]\n"
    "  --list                 names of the scenarios\n"
    "  --only TEXT            those whose name is, or else contains, TEXT\n"
    "  --group NAME           pairs, long, triples, eventual, faults, lock, litmus,\n"
    "                         async, loops, hard, revoke, mixes, homes, canary (must fail)\n"
    "  --part I/N             each N-th of them, beginning with the I-th\n"
    "  --mode NAME            exhaust (default), bound, random, pct, starve\n"
    "  --weak                 C11 memory: loads may read old values; and data races\n"
    "  --plain                data races and freed memory, without --weak too\n"
    "  --faults N             up to N failures in each execution\n"
    "  --bound N              preemptions, with --mode bound (2)\n"
    "  --depth N              of --mode pct (3)\n"
    "  --count N, --seconds N at most so much for each scenario\n"
    "  --seed N               of the first execution of a search at random; the others follow\n"
    "  --replay SCHEDULE      play one execution, and tell it\n"
    "  --outcomes             how many different sets of answers there were, and their sum\n"
    "  --quiet                say only what is not complete\n"
    "  --json                 the sum as JSON\n";

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- one scenario ---------------------------------------------------------------------------- */

static void prepare(const struct scenario *s, const struct how *how)
{
    ex.program = scenario_play(s);
    ex.ready = false;
    ex.mode = how->mode;
    ex.weak = how->weak;
    ex.plain = how->weak || how->plain || how->mode > EX_BOUND;
    ex.reduce = how->mode == EX_EXHAUST;
    ex.every_point = how->mode > EX_BOUND;
    ex.real_lock = s->group == LOCK;
    ex.bound = how->bound;
    ex.faults = how->faults ? how->faults : s->faults;
    ex.pct_depth = how->depth;
    ex_places_clear();
    ex_forget_paths();
    if (how->mode != EX_PCT) return;
    ex.mode = EX_REPLAY; /* find the number of events, if all choices are the plain ones */
    ex.given = 0;
    (void)ex_execute();
    ex.pct_length = ex.events;
    ex.mode = EX_PCT;
}

/* The options that a replay needs. */
static const char *options_of(const struct how *how)
{
    static char text[80];

    snprintf(text, sizeof text, "%s%s", how->weak ? " --weak" : ex.plain ? " --plain" : "",
             how->faults ? " --faults " : "");
    if (how->faults) snprintf(text + strlen(text), 8, "%d", how->faults);
    return text;
}

/* The set of different results: two complete searches of a program must have the same. */
enum { OUTCOMES = 1 << 16 };
static uint64_t outcomes[OUTCOMES];

static void note_outcome(struct result *r)
{
    uint64_t sum = 7;

    for (int t = 0; t < ex.threads; t++)
        sum = (sum ^ ex.thread[t].result) * UINT64_C(1099511628211);
    for (uint64_t at = sum; r->outcomes < OUTCOMES / 2; at++) {
        if (outcomes[at % OUTCOMES] == sum) return;
        if (outcomes[at % OUTCOMES]) continue;
        outcomes[at % OUTCOMES] = sum;
        r->outcomes++;
        r->outcome_sum += sum;
        return;
    }
}

static bool enough(const struct result *r, const struct how *how, double began)
{
    long n = r->executions + r->redundant;

    if (how->mode <= EX_BOUND && !ex_next_path()) return true;
    if (how->count && n >= how->count) return true;
    return how->seconds > 0 && n % 64 == 0 && now_s() - began > how->seconds;
}

static struct result search(const struct scenario *s, const struct how *how)
{
    struct result r = { .executions = 0 };
    double began = now_s();
    enum ex_outcome outcome;

    if (how->outcomes) memset(outcomes, 0, sizeof outcomes);
    prepare(s, how);
    do {
        ex.seed = how->seed + (uint64_t)r.executions;
        outcome = ex_execute();
        if (outcome == EX_RESTART) {
            ex_forget_paths();
            r = (struct result){ .restarts = r.restarts + 1 };
            if (how->outcomes) memset(outcomes, 0, sizeof outcomes);
            continue;
        }
        if (outcome == EX_REDUNDANT) r.redundant++;
        else r.executions++;
        if (how->outcomes && outcome == EX_PASSED) note_outcome(&r);
    } while (outcome == EX_RESTART || (outcome != EX_FAILED && !enough(&r, how, began)));
    r.seconds = now_s() - began;
    r.failed = outcome == EX_FAILED;
    r.complete = !r.failed && how->mode <= EX_BOUND && ex.path == 0;
    if (r.failed && s->group != CANARY) {
        if (how->mode > EX_BOUND) printf("seed %llu: ", (unsigned long long)ex.seed);
        (void)report_failure(how->program, options_of(how), s->name);
    }
    return r;
}

static void say(const struct scenario *s, const struct how *how, const struct result *r,
                struct sum *sum)
{
    bool exhaustive = how->mode <= EX_BOUND;
    const char *word = r->failed     ? "FAILED"
                       : r->complete ? "COMPLETE"
                       : exhaustive  ? "PART"
                                     : "ran";

    if (s->group == CANARY) word = r->failed ? "CAUGHT" : "MISSED";
    if (!how->quiet || (exhaustive && !r->complete))
        printf("%s %s: %ld executions, %ld redundant, %.3f s\n", word, s->name, r->executions,
               r->redundant, r->seconds);
    if (how->outcomes)
        printf("  %ld outcomes, sum %016llx\n", r->outcomes, (unsigned long long)r->outcome_sum);
    sum->failed += s->group == CANARY ? !r->failed : r->failed;
    sum->complete += r->complete;
    sum->incomplete += exhaustive && !r->complete && s->group != CANARY;
    sum->executions += r->executions + r->redundant;
    sum->seconds += r->seconds;
}

/* ---- which ----------------------------------------------------------------------------------- */

static bool exact(const struct how *how)
{
    for (int i = 0; how->only && i < scenario_count(); i++)
        if (strcmp(scenario_at(i)->name, how->only) == 0) return true;
    return false;
}

static bool chosen(const struct scenario *s, const struct how *how, bool by_name, int number)
{
    if (how->group >= 0 && (int)s->group != how->group) return false;
    if (how->group < 0 && !how->only && s->group >= MIXES && how->mode <= EX_BOUND) return false;
    if (how->only && by_name && strcmp(s->name, how->only) != 0) return false;
    if (how->only && !strstr(s->name, how->only)) return false;
    return number % how->parts == how->part;
}

static int run(const struct how *how)
{
    struct sum sum = { .complete = 0 };
    bool by_name = exact(how);

    for (int i = 0; i < scenario_count(); i++) {
        const struct scenario *s = scenario_at(i);
        if (!chosen(s, how, by_name, i)) continue;
        if (how->list) {
            puts(s->name);
        } else if (how->replay) {
            prepare(s, how);
            return report_replay(how->replay) ? ex.outcome == EX_FAILED : 2;
        } else {
            struct result r = search(s, how);
            say(s, how, &r, &sum);
        }
    }
    if (how->list) return 0;
    printf(how->json ? "{\"complete\": %ld, \"incomplete\": %ld, \"failed\": %ld, \"schedules\": "
                       "%ld, \"steps\": %llu, \"seconds\": %.1f}\n"
                     : "%ld complete, %ld not, %ld failed; %ld executions, %llu steps, %.1f s\n",
           sum.complete, sum.incomplete, sum.failed, sum.executions, (unsigned long long)ex.steps,
           sum.seconds);
    return sum.failed != 0;
}

/* ---- the command line ------------------------------------------------------------------------ */

static int index_of(const char *word, const char *const *list, int n)
{
    for (int i = 0; i < n; i++)
        if (strcmp(word, list[i]) == 0) return i;
    return -1;
}

static bool flag(struct how *how, const char *name)
{
    const struct {
        const char *name;
        bool *value;
    } flags[] = { { "--list", &how->list },   { "--weak", &how->weak }, { "--plain", &how->plain },
                  { "--quiet", &how->quiet }, { "--json", &how->json },
                  { "--outcomes", &how->outcomes } };

    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (strcmp(name, flags[i].name) == 0) return *flags[i].value = true;
    return false;
}

static bool value(struct how *how, const char *name, const char *v)
{
    int mode = index_of(v, modes, EX_STARVE + 1);

    if (!strcmp(name, "--only")) how->only = v;
    else if (!strcmp(name, "--replay")) how->replay = v;
    else if (!strcmp(name, "--group")) return (how->group = index_of(v, groups, GROUPS)) >= 0;
    else if (!strcmp(name, "--part")) return sscanf(v, "%d/%d", &how->part, &how->parts) == 2;
    else if (!strcmp(name, "--mode")) return mode >= 0 && (how->mode = (enum ex_mode)mode, true);
    else if (!strcmp(name, "--faults")) how->faults = atoi(v);
    else if (!strcmp(name, "--bound")) how->bound = atoi(v);
    else if (!strcmp(name, "--depth")) how->depth = atoi(v);
    else if (!strcmp(name, "--count")) how->count = atol(v);
    else if (!strcmp(name, "--seconds")) how->seconds = atof(v);
    else if (!strcmp(name, "--seed")) how->seed = strtoull(v, NULL, 10);
    else return false;
    return true;
}

int main(int argc, char **argv)
{
    struct how how = {
        .program = argv[0], .group = -1, .parts = 1, .bound = 2, .depth = 3, .seed = 1
    };

    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 1; i < argc; i++) {
        if (flag(&how, argv[i])) continue;
        if (i + 1 < argc && value(&how, argv[i], argv[i + 1])) i++;
        else return fputs(usage, stderr), 2;
    }
    ex_memory_init();
    if (scenario_count() > 0) ex_warm_up(scenario_play(scenario_at(0)));
    return run(&how);
}
