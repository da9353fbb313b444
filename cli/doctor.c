/* SPDX-License-Identifier: MIT
 *
 * `keyedpool doctor`: is all there that a pool needs, here and at its servers?
 */
#include "doctor.h"

#include "cli.h"
#include "term.h"

#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    OPT_SIZE = ARGS_LONG_ONLY, OPT_MAX_LIVE, OPT_PROCESSES, OPT_IDLE, OPT_TIMEOUT, OPT_JSON
};

static const struct args_option options[] = {
    { 'k', "keys", "N", "keys of the pool [1]" },
    { OPT_SIZE, "size", "N", "connections per key, limits.max_live [10]" },
    { OPT_MAX_LIVE, "max-live", "N", "connections of all keys, budget.max_live\n"
                                     "[keys x size]" },
    { OPT_PROCESSES, "processes", "N", "processes with such a pool, on all machines [1]" },
    { 'c', "clients", "N", "threads that use the pool in one process [8]" },
    { OPT_IDLE, "idle", "TIME", "how long the pool keeps idle connections,\n"
                                "limits.idle_ttl_ms [10min]" },
    { OPT_TIMEOUT, "timeout", "TIME", "time to reach a server, and for its answer [5s]" },
    { 'o', "output", "FORMAT", "text or json [text]" },
    { OPT_JSON, "json", NULL, "the same as -o json" },
    { 0, NULL, NULL, NULL }
};

static int run(int argc, char **argv);

const struct command doctor_command = {
    { "doctor", "check that this machine and the servers have what a pool needs",
      "[options] [URL...]",
      "Checks what is installed, the limits of this machine, and each server: can it be\n"
      "reached, how fast, does it accept as many connections as the pools may open,\n"
      "does it close idle ones before the pools do? URLs are those of bench. Nothing is\n"
      "changed anywhere (SQLite itself puts -wal and -shm beside a database in WAL\n"
      "mode). Each line is marked ok, warn or fail; a password is never shown.",
      "Times are 500ms, 10s, 2min; a bare number is seconds. Counts may be 10k or 1M.\n"
      "Exit status 1: something is marked fail.\n\n"
      "Example:\n"
      "  keyedpool doctor postgres://app@127.0.0.1/app -k 20 --max-live 60",
      options },
    run
};

/* ---- findings -------------------------------------------------------------------------------- */

int64_t doctor_budget(const struct doctor *d)
{
    int64_t all = d->keys * d->size;

    return d->max_live > 0 && d->max_live < all ? d->max_live : all;
}

void doctor_say(struct doctor *d, enum mark mark, const char *check, const char *format, ...)
{
    struct finding *more = realloc(d->finding, (d->findings + 1) * sizeof *more), *f;
    va_list ap;

    if (!more) {
        (void)fprintf(stderr, "keyedpool doctor: out of memory\n");
        exit(EXIT_UNREACHABLE);
    }
    d->finding = more;
    f = &more[d->findings++];
    *f = (struct finding){ .mark = mark, .about = d->about, .check = check };
    va_start(ap, format);
    (void)vsnprintf(f->text, sizeof f->text, format, ap);
    va_end(ap);
    term_tame(f->text);
}

void doctor_number(struct doctor *d, const char *name, int64_t value)
{
    struct finding *f = &d->finding[d->findings - 1];
    int i = 0;

    while (i < 2 && f->number[i].name)
        i++;
    f->number[i] = (struct number){ name, value };
}

void doctor_room(struct doctor *d, const char *check, const char *setting, int64_t limit,
                 int64_t used)
{
    long long room = limit > used ? (long long)(limit - used) : 0;
    bool each_one = limit >= d->processes;      /* may have one at least */

    if (d->need > limit)
        doctor_say(d, MARK_FAIL, check,
                   "%s allows %lld, the pools may open %lld: raise it, or %s %lld%s", setting,
                   (long long)limit, (long long)d->need,
                   each_one ? "lower budget.max_live to" : "run at most",
                   (long long)(each_one ? limit / d->processes : limit),
                   each_one ? "" : " processes");
    else if (d->need > room)
        doctor_say(d, MARK_WARN, check,
                   "%s allows %lld, %lld are in use: that leaves %lld, the pools may open %lld",
                   setting, (long long)limit, (long long)used, room, (long long)d->need);
    else
        doctor_say(d, MARK_OK, check, "%s allows %lld, %lld are in use, the pools may open %lld",
                   setting, (long long)limit, (long long)used, (long long)d->need);
    doctor_number(d, "limit", limit);
    doctor_number(d, "in_use", used);
    doctor_number(d, "need", d->need);
}

void doctor_idle(struct doctor *d, const char *setting, int64_t server_ms)
{
    char server[32], pool[32];

    (void)term_time(server, sizeof server, (double)server_ms * 1e6);
    (void)term_time(pool, sizeof pool, (double)d->idle_ms * 1e6);
    if (server_ms == 0)
        doctor_say(d, MARK_OK, "idle", "the server never closes idle connections (%s)", setting);
    else if (server_ms <= d->idle_ms)
        doctor_say(d, MARK_WARN, "idle",
                   "the server closes idle connections after %s (%s), the pool keeps them for %s: "
                   "set limits.idle_ttl_ms below that", server, setting, pool);
    else
        doctor_say(d, MARK_OK, "idle",
                   "the server closes idle connections after %s (%s), the pool after %s", server,
                   setting, pool);
    doctor_number(d, "server_ms", server_ms);
    doctor_number(d, "pool_ms", d->idle_ms);
}

/* ---- a server -------------------------------------------------------------------------------- */

static void look_at(struct doctor *d, const struct target *t)
{
    char connected[32], operated[32], name[4096];
    struct contact c;

    d->about = t->shown;
    (void)snprintf(name, sizeof name, "%s", target_name(t));
    if (t->backend->visit && !t->backend->visit(d, t, name, sizeof name))
        return;
    if (!contact_make(&c, t, name)) {
        if (c.no_place)
            args_fail(&doctor_command.page, "%s: %s", t->shown, c.why);
        doctor_say(d, MARK_FAIL, "connect", "%s", c.why);
        contact_leave(&c);
        return;
    }
    (void)term_time(connected, sizeof connected, (double)c.connect_ns);
    (void)term_time(operated, sizeof operated, (double)c.operate_ns);
    doctor_say(d, MARK_OK, "connect", "connected in %s, %s took %s", connected,
               t->backend->operation, operated);
    doctor_number(d, "connect_ns", (int64_t)c.connect_ns);
    doctor_number(d, "operate_ns", (int64_t)c.operate_ns);
    t->backend->examine(d, t, &c.lease);
    contact_leave(&c);
}

/* ---- the command ----------------------------------------------------------------------------- */

static void read_option(struct doctor *d, int id, const char *value)
{
    static const char *const formats[] = { "text", "json", NULL };
    const struct args_page *page = &doctor_command.page;

    switch (id) {
    case 'k': d->keys = args_count(page, "-k", value, 1, 1000000); break;
    case 'c': d->clients = args_count(page, "-c", value, 1, 100000000); break;
    case 'o': d->json = args_word(page, "-o", value, formats) == 1; break;
    case OPT_JSON: d->json = true; break;
    case OPT_SIZE: d->size = args_count(page, "--size", value, 1, 1000000); break;
    case OPT_MAX_LIVE: d->max_live = args_count(page, "--max-live", value, 1, 100000000); break;
    case OPT_PROCESSES: d->processes = args_count(page, "--processes", value, 1, 100000); break;
    case OPT_IDLE: d->idle_ms = args_time_ns(page, "--idle", value) / 1000000; break;
    default: d->timeout_ms = args_time_ns(page, "--timeout", value) / 1000000; break;
    }
}

/* The URLs of the command line, and after the last one a target without a backend. */
static struct target *read_urls(int count, char **urls, int64_t within_ms)
{
    struct target *t = calloc((size_t)count + 1, sizeof *t);
    char why[300];

    for (int i = 0; t && i < count; i++) {
        if (!target_read(&t[i], urls[i], why, sizeof why))
            args_fail(&doctor_command.page, "%s", why);
        t[i].within_ms = within_ms;
    }
    if (!t)
        args_fail(&doctor_command.page, "out of memory");
    return t;
}

static int run(int argc, char **argv)
{
    struct doctor d = { .keys = 1, .size = 10, .processes = 1, .clients = 8, .idle_ms = 600000,
                        .timeout_ms = 5000 };
    struct target *targets;
    const char *value;
    bool failed = false, servers;
    int64_t files;

    term_init();
    for (int id; (id = args_next(&doctor_command.page, argc, argv, &value)) != ARGS_END;)
        read_option(&d, id, value);
    targets = read_urls(argc - optind, argv + optind, d.timeout_ms);
    d.need = doctor_budget(&d) * d.processes;
    (void)signal(SIGPIPE, SIG_IGN);             /* hiredis and TLS raise it */
    files = doctor_budget(&d);
    servers = !targets->backend;                /* which ones is not said */
    for (struct target *t = targets; t->backend; t++) {
        int64_t all = target_files(t, d.keys, d.size, doctor_budget(&d));

        files = all > files ? all : files;
        servers = servers || !t->backend->local;
    }
    doctor_installed(&d);
    doctor_system(&d, files, servers);
    for (struct target *t = targets; t->backend; t++)
        look_at(&d, t);
    if (d.json)
        doctor_report_json(&d);
    else
        doctor_report(&d);
    for (size_t i = 0; i < d.findings; i++)
        failed = failed || d.finding[i].mark == MARK_FAIL;
    free(d.finding);
    free(targets);
    return failed ? EXIT_FAILED : EXIT_FINE;
}
