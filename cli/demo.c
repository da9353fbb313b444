/* SPDX-License-Identifier: MIT
 *
 * `keyedpool demo`: a guided tour on real SQLite files in a temporary folder. This file is its
 * stage: it opens the pool, plays the chapters, shows the table and removes the folder.
 */
#include "demo.h"

#include "cli.h"
#include "term.h"

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { DEMO_PRIMARY_READERS = 4, DEMO_READERS = 2, DEMO_MAX_LIVE = 12 };

static int run(int argc, char **argv);

static const struct args_option options[] = { { 0, NULL, NULL, NULL } };

const struct command demo_command = {
    { "demo", "a guided tour on SQLite files in a temporary folder", "",
      "Regions are keys, connections are resources. Lines with '>' are what the program\n"
      "does, '=' what it found, and dots are events of the pool as they happen. Takes a\n"
      "few seconds and leaves nothing behind.",
      "NO_COLOR=1 turns the colours off.", options },
    run
};

/* ---- the stage ------------------------------------------------------------------------------- */

static void remove_folder(const struct demo *d)
{
    struct dirent *entry;

    rewinddir(d->opened);
    while ((entry = readdir(d->opened)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            (void)unlinkat(dirfd(d->opened), entry->d_name, 0);
    }
    (void)rmdir(d->folder);
}

_Noreturn void demo_fail(const struct demo *d, const char *what, const char *why)
{
    (void)fflush(stdout);
    term_complain("keyedpool demo: %s: %s", what, why);
    if (d->opened)
        remove_folder(d);
    exit(EXIT_UNREACHABLE);
}

kp_sqlite_key demo_key(const struct demo *d, enum demo_region region, kp_sqlite_role role)
{
    kp_sqlite_key key = { d->file[region], (int32_t)role };

    return key;
}

kp_lease demo_get(struct demo *d, enum demo_region region, kp_sqlite_role role)
{
    kp_sqlite_key key = demo_key(d, region, role);
    kp_why why = { 0 };
    kp_lease lease;
    int rc = kp_get(d->pool, KP_KEY(&key), KP_ASK(.within_ms = 5000, .why = &why, .tag = "tour"),
                    &lease);

    if (rc)
        demo_fail(d, key.file, why.text[0] ? why.text : kp_strerror(rc));
    return lease;
}

/* More connections for the primary; the adapter's own rules come last. */
static void limits_for(kp_key key, kp_limits *limits, void *demo)
{
    const kp_sqlite_key *k = key.data;
    const struct demo *d = demo;

    limits->max_live = strcmp(k->file, d->file[EU_WEST]) == 0 ? DEMO_PRIMARY_READERS : DEMO_READERS;
    kp_sqlite_limits_for(key, limits, NULL);
}

static void open_pool(struct demo *d)
{
    kp_sqlite_options sqlite = { .on_leftover = demo_on_leftover, .ctx = d, .counts = &d->counts };
    kp_why why = { 0 };
    kp_options more = { .name = "demo", .limits_for = limits_for, .on_event = demo_on_event,
                        .ctx = d, .why = &why };
    int rc;

    more.budget.max_live = DEMO_MAX_LIVE;
    rc = kp_sqlite_open(&sqlite, &more, &d->pool);
    if (rc)
        demo_fail(d, "cannot open the pool", why.text[0] ? why.text : kp_strerror(rc));
}

static void set_stage(struct demo *d)
{
    static const char *const names[DEMO_REGIONS] = { "eu-west", "eu-north", "us-east", "sa-east",
                                                     "ap-south" };
    const char *tmp = getenv("TMPDIR");
    pthread_condattr_t attr;
    char why[200];

    if (!tmp || !*tmp)
        tmp = "/tmp";
    errno = ENAMETOOLONG;
    if ((size_t)snprintf(d->folder, sizeof d->folder, "%s/keyedpool-demo-XXXXXX", tmp) >=
            sizeof d->folder || !mkdtemp(d->folder)) {
        (void)snprintf(why, sizeof why, "cannot make a folder in it: %s", strerror(errno));
        demo_fail(d, tmp, why);
    }
    if (!(d->opened = opendir(d->folder))) {
        (void)rmdir(d->folder);
        demo_fail(d, d->folder, "cannot be opened");
    }
    for (int i = 0; i < DEMO_REGIONS; i++)
        (void)snprintf(d->file[i], sizeof d->file[i], "%s/%s.db", d->folder, names[i]);
    (void)pthread_mutex_init(&d->lock, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&d->happened, &attr);
    (void)pthread_condattr_destroy(&attr);
    open_pool(d);
}

/* ---- the tour -------------------------------------------------------------------------------- */

static bool interrupted(const sigset_t *signals)
{
    struct timespec no_wait = { 0, 0 };

    return sigtimedwait(signals, NULL, &no_wait) > 0;
}

/* To the end, or until nobody reads it any more. True if it was interrupted. */
static bool play(struct demo *d, const sigset_t *signals)
{
    int number = 1;

    for (const struct demo_chapter *c = demo_chapters; c->title; c++) {
        printf("\n%s%d. %s%s\n%s   %s%s\n", term_colour(TERM_BOLD), number++, c->title,
               term_colour(TERM_PLAIN), term_colour(TERM_DIM), c->about, term_colour(TERM_PLAIN));
        c->play(d);
        if (interrupted(signals))
            return true;
        if (fflush(stdout) != 0)
            return false;
    }
    return false;
}

static int run(int argc, char **argv)
{
    static struct demo stage;           /* outlives every thread that may still report an event */
    struct demo *d = &stage;
    kp_sqlite_counts counts;
    sigset_t signals;
    const char *value;
    bool early;

    term_init();
    while (args_next(&demo_command.page, argc, argv, &value) != ARGS_END)
        ;
    if (optind < argc)
        args_fail(&demo_command.page, "'%s' is one argument too many", args_shown(argv[optind]));
    (void)sigemptyset(&signals);
    term_take(&signals, SIGINT);
    term_take(&signals, SIGTERM);
    term_take(&signals, SIGHUP);
    (void)pthread_sigmask(SIG_BLOCK, &signals, NULL);   /* taken between chapters */
    (void)signal(SIGPIPE, SIG_IGN);                     /* the folder must be removed */
    (void)signal(SIGXFSZ, SIG_IGN);

    set_stage(d);
    printf("keyedpool %d.%d.%d on SQLite %s, files in %s\n", KP_VERSION_MAJOR, KP_VERSION_MINOR,
           KP_VERSION_PATCH, sqlite3_libversion(), d->folder);
    early = play(d, &signals);
    if (kp_is_pool(d->pool)) {
        demo_table_fill(d);
        (void)kp_pool_close(d->pool, KP_CLOSE_WAIT, KP_SECONDS(5));
    }
    demo_table_print(d);
    counts = kp_sqlite_counts_read(&d->counts);
    printf("\n  %llu connections were opened, %llu were closed%s\n",
           (unsigned long long)counts.opened, (unsigned long long)counts.closed,
           early ? "; interrupted" : "");
    remove_folder(d);
    if (early)
        return EXIT_INTERRUPTED;
    return counts.opened == counts.closed ? EXIT_FINE : EXIT_FAILED;
}
