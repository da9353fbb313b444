/* SPDX-License-Identifier: MIT
 *
 * Takes one path through the library many times, so that instructions.py can count its
 * instructions: only those inside of measured() count (L9). `paths NAME TIMES`.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keyedpool.h"

static kp_pool *pool;
static kp_loop *loop;
static kp_key key, pinned;
static int32_t hits = KP_HITS_QUICK;
static kp_budget budget;

static int create(kp_job *job, void **out)
{
    static char thing;

    (void)job;
    *out = &thing;
    return 0;
}

static int destroy(kp_job *job, void *resource)
{
    return (void)job, (void)resource, 0;
}

static void must(int rc, const char *what)
{
    if (rc >= 0) return;
    fprintf(stderr, "paths: %s: %s\n", what, kp_strerror(rc));
    exit(1);
}

static void open_pool(int64_t max_live)
{
    kp_options options = { .driver = { .create = create, .destroy = destroy,
                                       .flags = KP_NEVER_BLOCKS },
                           .limits = { .max_live = max_live }, .budget = budget,
                           .loop = loop, .hits = hits };

    must(kp_pool_open(&options, &pool), "kp_pool_open");
    key = kp_str("sixteen bytes...");
    must(kp_pin(pool, key, &pinned), "kp_pin");
}

static kp_lease get(kp_key which)
{
    kp_lease lease;

    must(kp_get(pool, which, NULL, &lease), "kp_get");
    return lease;
}

/* ---- what is counted ------------------------------------------------------------------------- */

static kp_key asked;                    /* the key that `pair` asks for */
static kp_lease held;

static void pair(void)
{
    kp_lease lease = get(asked);

    kp_release(&lease);
}

static void scoped(void)
{
    kp_scope scope = { { 0 } };
    kp_lease lease;

    must(kp_scope_get(&scope, pool, asked, NULL, &lease), "kp_scope_get");
    kp_scope_close(&scope);
}

static int nothing(kp_lease *lease, void *arg)
{
    return (void)lease, (void)arg, 0;
}

static void use(void)
{
    must(kp_use(pool, asked, NULL, nothing, NULL), "kp_use");
}

static void churn(void)
{
    kp_lease lease = get(asked);

    kp_discard(&lease);
}

static void end_held(void)
{
    kp_release(&held);
}

enum { LONG_LINE = 16 };

static kp_request requests[LONG_LINE];  /* one is served while the others wait */
static int in_line;                     /* how many of them take part */

static void served(kp_request *request, int status, kp_lease lease)
{
    must(status, "a request");
    (void)request;
    held = lease;
}

static void ask(kp_request *request)
{
    *request = (kp_request){ .loop = loop, .done = served };
    must(kp_get_start(pool, pinned, NULL, request), "kp_get_start");
}

/* What is held goes to the request that waits; the one that was served before it waits again. */
static void hand_off(void)
{
    static int turn;

    kp_release(&held);
    while (!held.resource)
        if (kp_loop_dispatch(loop) < -1) exit(1);
    ask(&requests[turn]);
    turn = (turn + 1) % in_line;
}

/* instructions.py finds it by its name, to which a compiler may add a suffix. */
__attribute__((noinline)) static void measured(void (*what)(void), int times)
{
    for (int i = 0; i < times; i++) what();
    __asm__ volatile("" ::: "memory");  /* prevents a tail call: it must return from here */
}

/* ---- the ways -------------------------------------------------------------------------------- */

static void pairs_of(kp_key which, void (*what)(void), int times)
{
    open_pool(8);
    asked = which.size ? which : pinned;
    for (int i = 0; i < 100; i++) what();
    measured(what, times);
}

static void by_pin(int times)
{
    pairs_of(kp_bytes(NULL, 0), pair, times);
}

static void by_key(int times)
{
    pairs_of(kp_str("sixteen bytes..."), pair, times);
}

/* By one of many keys: so many that its line is not among the first (base/lines.h). */
static void by_far_key(int times)
{
    static uint32_t bytes[4];

    open_pool(8);
    asked = kp_bytes(bytes, sizeof bytes);
    for (int i = 0; i < 3 * 5000; i++) {
        bytes[0] = (uint32_t)i % 5000;
        pair();
    }
    for (int i = 0; i < 100; i++) pair();
    measured(pair, times);
}

static void in_scope(int times)
{
    pairs_of(kp_bytes(NULL, 0), scoped, times);
}

static void by_use(int times)
{
    pairs_of(kp_bytes(NULL, 0), use, times);
}

/* With limits over all keys, which are not reached. */
static void bounded(int times)
{
    budget = (kp_budget){ .max_lent = 100, .max_idle = 100 };
    by_pin(times);
}

static void by_lock(int times)
{
    hits = KP_HITS_LOCKED;
    by_pin(times);
}

static void used_once(int times)
{
    pairs_of(kp_bytes(NULL, 0), churn, times);
}

/* A get and release by a key that the pool does not have yet. */
static void pair_of_new(void)
{
    static uint32_t next;

    asked = kp_bytes(&next, sizeof next);
    pair();
    next++;
}

/* With so many keys before that no table or slab has to grow, or grows, while it is counted. */
static void by_new_key(int times)
{
    open_pool(8);
    for (int i = 0; i < 7000; i++) pair_of_new();
    measured(pair_of_new, times);
}

/* A release alone, with so many keys in the pool. */
static void releases(uint32_t keys, int times)
{
    open_pool(8);
    for (uint32_t i = 0; i < keys; i++) {
        kp_lease lease = get(kp_bytes(&i, sizeof i));
        kp_release(&lease);
    }
    for (int i = 0; i < 100 + times; i++) {
        held = get(pinned);
        if (i < 100) end_held();
        else measured(end_held, 1);
    }
}

static void of_1(int times)
{
    releases(0, times);
}

static void of_2000(int times)
{
    releases(2000, times);
}

static void of_8000(int times)
{
    releases(8000, times);
}

static void in_turn(int requests_in_line, int times)
{
    in_line = requests_in_line;
    must(kp_loop_open(&loop), "kp_loop_open");
    open_pool(1);
    ask(&requests[in_line - 1]);
    while (!held.resource) kp_loop_dispatch(loop);
    for (int i = 0; i < in_line - 1; i++) ask(&requests[i]);
    for (int i = 0; i < 100; i++) hand_off();
    measured(hand_off, times);
}

static void to_loop(int times)
{
    in_turn(2, times);
}

static void behind_others(int times)
{
    in_turn(LONG_LINE, times);
}

static pthread_barrier_t begin;
static int hand_overs;

static void *wait_for_it(void *unused)
{
    for (int i = 0; i < hand_overs; i++) {
        pthread_barrier_wait(&begin);
        kp_lease lease = get(pinned);
        kp_release(&lease);
        pthread_barrier_wait(&begin);
    }
    return unused;
}

static bool somebody_waits(void)
{
    kp_stats stats;

    must(kp_stats_read(pool, KP_EVERY_KEY, &stats), "kp_stats_read");
    return stats.waiting > 0;
}

/* Only the release, which hands over to a parked thread. */
static void to_thread(int times)
{
    pthread_t thread;

    open_pool(1);
    hand_overs = 20 + times;
    if (pthread_barrier_init(&begin, NULL, 2) != 0 ||
        pthread_create(&thread, NULL, wait_for_it, NULL) != 0)
        exit(1);
    for (int i = 0; i < hand_overs; i++) {
        held = get(pinned);
        pthread_barrier_wait(&begin);
        while (!somebody_waits()) sched_yield();
        if (i < 20) end_held();
        else measured(end_held, 1);
        pthread_barrier_wait(&begin);
    }
    pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
    static const struct { const char *name; void (*go)(int times); } ways[] = {
        { "pin", by_pin },           { "key", by_key },           { "release", of_1 },
        { "release-2000", of_2000 }, { "release-8000", of_8000 }, { "loop", to_loop },
        { "line", behind_others },   { "thread", to_thread },     { "locked", by_lock },
        { "churn", used_once },      { "bounded", bounded },      { "far", by_far_key },
        { "scope", in_scope },       { "use", by_use },           { "new", by_new_key },
    };

    for (size_t i = 0; argc == 3 && i < sizeof ways / sizeof *ways; i++)
        if (strcmp(argv[1], ways[i].name) == 0) {
            ways[i].go(atoi(argv[2]));
            return 0;
        }
    fprintf(stderr, "usage: paths WAY TIMES; ways:");
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) fprintf(stderr, " %s", ways[i].name);
    fprintf(stderr, "\n");
    return 2;
}
