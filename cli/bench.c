/* SPDX-License-Identifier: MIT
 *
 * `keyedpool bench`: loads a pool of connections and says how it went.
 */
#include "bench.h"

#include "cli.h"
#include "keys.h"
#include "term.h"

#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum {
    OPT_SIZE = ARGS_LONG_ONLY, OPT_ZIPF, OPT_WRITE, OPT_TIMEOUT, OPT_MAX_LIVE, OPT_SEED
};

static const struct args_option options[] = {
    { 'c', "clients", "N", "threads that use the pool [8]" },
    { 'k', "keys", "N", "keys [1]: database files, or names for the server;\n"
                        "HTTP has only one, the origin" },
    { OPT_ZIPF, "zipf", "S", "key i is requested as often as 1/i^S [0: all alike]" },
    { OPT_SIZE, "size", "N", "connections per key [4]; for SQLite these are\n"
                             "readers, and one writer comes on top" },
    { OPT_MAX_LIVE, "max-live", "N", "connections of all keys together [no limit]; idle\n"
                                     "ones of other keys are closed to make room" },
    { OPT_WRITE, "write", "PCT", "percentage of operations that change a row [0];\n"
                                 "SQLite only" },
    { 'r', "rate", "N", "open loop: N requests per second, Poisson arrivals;\n"
                        "waits count from when one was due [closed loop]" },
    { 'z', "time", "TIME", "how long to run [10s]" },
    { 'P', "progress", "TIME", "write a line to standard error every TIME" },
    { OPT_TIMEOUT, "timeout", "TIME", "deadline of each get, and of each operation on a\n"
                                      "server [5s]" },
    { OPT_SEED, "seed", "N", "seed of all random choices [random, and shown]" },
    { 'o', "output", "FORMAT", "text or json [text]" },
    { 0, NULL, NULL, NULL }
};

static int run(int argc, char **argv);

const struct command bench_command = {
    { "bench", "load a resource through a pool and measure it", "[options] URL",
      "URL is one of these; each operation gets a connection, does this with it, and\n"
      "gives it back:\n"
      "  sqlite:PATH                                  read or change a row\n"
      "  postgres://[USER[:PASSWORD]@]HOST[:PORT]/DB  SELECT 1\n"
      "  postgresql://...                             the same\n"
      "  redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]   PING\n"
      "  http://HOST[:PORT][/PATH], https://...       GET; from status 400 on an error\n"
      "That of a PostgreSQL may end in '?' and settings of libpq. A password is never\n"
      "shown. A server is tried once before the run.\n\n"
      "If PATH is a folder (it exists, or ends in '/'), the keys are key-000.db,\n"
      "key-001.db, ... in it. If it is a file, it is the only key; for more keys app.db\n"
      "becomes app-000.db, ... Missing files, and the table keyedpool_bench in them,\n"
      "are created, and stay. The journal mode of a file becomes WAL, and stays, too.",
      "Times are 500ms, 10s, 2min; a bare number is seconds. Counts may be 10k or 1M.\n"
      "Control-C ends the run early and still shows what was measured (status 130).\n"
      "Exit status 1: an operation failed or timed out. 3: a file or server cannot be\n"
      "opened.\n\n"
      "Examples:\n"
      "  keyedpool bench sqlite:/tmp/kp/ -k 100 --zipf 1.1 -c 32 --size 8 -z 10s -P 1s\n"
      "  keyedpool bench postgres://app@127.0.0.1/app -c 64 --size 8 -z 5s",
      options },
    run
};

/* ---- the command line ------------------------------------------------------------------------ */

static void read_option(struct bench_plan *plan, int id, const char *value)
{
    static const char *const formats[] = { "text", "json", NULL };
    const struct args_page *page = &bench_command.page;

    switch (id) {
    case 'c': plan->clients = args_count(page, "-c", value, 1, 4096); break;
    case 'k': plan->keys = args_count(page, "-k", value, 1, 100000); break;
    case 'z': plan->run_ns = args_time_ns(page, "-z", value); break;
    case 'P': plan->progress_ns = args_time_ns(page, "-P", value); break;
    case 'r': plan->rate = args_number(page, "-r", value, 0.01, 1e7); break;
    case 'o': plan->json = args_word(page, "-o", value, formats) == 1; break;
    case OPT_SIZE: plan->size = args_count(page, "--size", value, 1, 10000); break;
    case OPT_ZIPF: plan->zipf = args_number(page, "--zipf", value, 0, 10); break;
    case OPT_WRITE: plan->write_pct = args_count(page, "--write", value, 0, 100); break;
    case OPT_MAX_LIVE: plan->max_live = args_count(page, "--max-live", value, 1, 1000000); break;
    case OPT_TIMEOUT: plan->timeout_ms = args_time_ns(page, "--timeout", value) / 1000000; break;
    default: plan->seed = (uint64_t)args_count(page, "--seed", value, 0, INT64_C(1) << 53); break;
    }
}

static void read_command_line(struct bench_plan *plan, int argc, char **argv)
{
    const struct args_page *page = &bench_command.page;
    const char *value;
    char why[300];
    int id;

    while ((id = args_next(page, argc, argv, &value)) != ARGS_END)
        read_option(plan, id, value);
    if (optind == argc)
        args_fail(page, "a URL is missing: what is to be measured?");
    if (argc - optind > 1)
        args_fail(page, "only one URL can be measured at a time");
    if (!target_read(&plan->target, argv[optind], why, sizeof why))
        args_fail(page, "%s", why);
    plan->target.within_ms = plan->timeout_ms;
    if (plan->write_pct && !plan->target.backend->writing)
        args_fail(page, "--write: %s writes nothing", plan->target.backend->operation);
    if (plan->keys > 1 && plan->target.backend->one_key)
        args_fail(page, "-k: %s has only one key", plan->target.name);
}

/* ---- setting up ------------------------------------------------------------------------------ */

static void *zeroed(size_t count, size_t size, size_t align)
{
    size_t bytes = (count * size + align - 1) / align * align;
    void *p = aligned_alloc(align, bytes);

    if (!p) {
        (void)fprintf(stderr, "keyedpool bench: out of memory\n");
        exit(EXIT_UNREACHABLE);
    }
    memset(p, 0, bytes);
    return p;
}

static void share_demand(struct bench *b)
{
    double sum = 0;

    for (int64_t i = 0; i < b->plan->keys; i++)
        b->share[i] = sum += pow((double)(i + 1), -b->plan->zipf);
    for (int64_t i = 0; i < b->plan->keys; i++)
        b->share[i] /= sum;
}

static void raise_open_files(const struct bench_plan *plan)
{
    int64_t size = plan->size + (plan->write_pct ? 1 : 0), live = plan->keys * size;
    struct rlimit limit;
    rlim_t want;

    if (plan->max_live > 0 && plan->max_live < live)
        live = plan->max_live;
    want = (rlim_t)(target_files(&plan->target, plan->keys, size, live) + 64);
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= want)
        return;
    limit.rlim_cur = limit.rlim_max < want ? limit.rlim_max : want;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < want)
        (void)fprintf(stderr,
                      "keyedpool bench: up to %llu open files may be needed, %llu are allowed "
                      "(ulimit -n); --max-live reduces the need\n",
                      (unsigned long long)want, (unsigned long long)limit.rlim_cur);
}

static void open_pool(struct bench *b)
{
    kp_why why = { 0 };
    kp_options more = { .name = "bench", .why = &why };
    int rc;

    more.limits.max_waiting = KP_UNLIMITED;     /* the clients are the bound */
    more.budget.max_live = b->plan->max_live;
    rc = b->plan->target.backend->open(&b->plan->target, b->plan->size, &more, &b->pool);
    if (rc) {
        (void)fprintf(stderr, "keyedpool bench: cannot open the pool: %s\n",
                      why.text[0] ? why.text : kp_strerror(rc));
        exit(EXIT_UNREACHABLE);
    }
}

/* ---- the run --------------------------------------------------------------------------------- */

static void block_signals(sigset_t *set, int how)
{
    (void)sigemptyset(set);
    term_take(set, SIGINT);
    term_take(set, SIGTERM);
    (void)pthread_sigmask(how, set, NULL);
}

/* Wait for the end of the run, or for a signal: it comes here, for all threads block them. */
static bool wait_for_end(struct bench *b, const sigset_t *signals, uint64_t from)
{
    struct bench_progress *last = zeroed(1, sizeof *last, 64);
    uint64_t end = from + (uint64_t)b->plan->run_ns, now = from;
    uint64_t step = (uint64_t)b->plan->progress_ns, line = step ? from + step : UINT64_MAX;
    bool interrupted = false;

    last->at_ns = from;
    while (now < end && !interrupted) {
        uint64_t next = line < end ? line : end, left = next > now ? next - now : 0;
        struct timespec wait = { (time_t)(left / 1000000000), (long)(left % 1000000000) };

        interrupted = sigtimedwait(signals, NULL, &wait) > 0;
        now = bench_now_ns();
        if (now >= line) {
            bench_progress(b, last, from, now);
            line += (now - line) / step * step + step;  /* those that were missed stay out */
        }
    }
    free(last);
    return interrupted;
}

static int run_plan(const struct bench_plan *plan)
{
    struct bench b = { .plan = plan };
    struct bench_result *result = zeroed(1, sizeof *result, 64);
    sigset_t signals;
    uint64_t from;
    int status;

    b.client = zeroed((size_t)plan->clients, sizeof *b.client, 128);
    b.key = zeroed((size_t)plan->keys, sizeof *b.key, 64);
    b.share = zeroed((size_t)plan->keys, sizeof *b.share, 64);
    share_demand(&b);
    raise_open_files(plan);
    (void)signal(SIGPIPE, SIG_IGN);             /* hiredis and TLS raise it */
    bench_keys_make(&b);

    block_signals(&signals, SIG_BLOCK);         /* before there are threads: they inherit it */
    open_pool(&b);
    from = bench_now_ns();
    bench_load_start(&b);
    result->interrupted = wait_for_end(&b, &signals, from);
    (void)pthread_sigmask(SIG_UNBLOCK, &signals, NULL);     /* a second Control-C is final */
    bench_load_stop(&b);
    bench_sum(&b, from, bench_now_ns(), result);
    if (plan->json)
        bench_report_json(&b, result);
    else
        bench_report(&b, result);
    (void)fflush(stdout);
    (void)kp_pool_close(b.pool, KP_CLOSE_WAIT, KP_SECONDS(5));

    status = result->interrupted ? EXIT_INTERRUPTED
             : result->errors || result->timeouts ? EXIT_FAILED : EXIT_FINE;
    bench_keys_free(&b);
    free(b.client);
    free(b.key);
    free(b.share);
    free(result);
    return status;
}

static int run(int argc, char **argv)
{
    struct bench_plan plan = { .clients = 8, .keys = 1, .size = 4, .timeout_ms = 5000,
                               .max_live = KP_UNLIMITED, .run_ns = INT64_C(10000000000) };

    term_init();
    plan.seed = (bench_now_ns() ^ (uint64_t)time(NULL) << 20) % 1000000007;
    read_command_line(&plan, argc, argv);
    return run_plan(&plan);
}
