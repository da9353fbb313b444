/* SPDX-License-Identifier: MIT
 *
 * For tests that go on in a child of fork: a failed check of the child comes back through a pipe,
 * and an alarm ends a child that hangs. Also resources ("things") and a driver for them; each
 * process has its own copy of their counters.
 */
#ifndef CHILD_H
#define CHILD_H

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "keyedpool.h"

/* ---- under ThreadSanitizer ------------------------------------------------------------------- */

/* Under ThreadSanitizer: in a child it still knows the parent's threads, and ends the process when
 * a thread of the child has the same handle as one of them. So there pools have no threads, and
 * tests that need a child with threads are skipped. */
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined __SANITIZE_THREAD__ || __has_feature(thread_sanitizer)
#define NO_THREADS_IN_CHILDREN 1
#else
#define NO_THREADS_IN_CHILDREN 0
#endif

const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "die_after_fork=0";
}

/* ---- children -------------------------------------------------------------------------------- */

enum { CHILD_SECONDS = 60 };

static int child_pipe[2] = { -1, -1 }; /* in a child: where its first failure goes */

/* In a child, or in a thread of one: ends the process if cond is false. */
#define MUST(cond) ((cond) ? (void)0 : child_fail(__LINE__, #cond))

static inline void child_fail(int line, const char *what)
{
    char text[300];
    int n = snprintf(text, sizeof text, "line %d, in the child: %s", line, what);

    (void)!write(child_pipe[1], text, (size_t)n);
    _exit(1);
}

/* Fork; 0 in the child, which has to end by _exit. */
static inline pid_t child_fork(void)
{
    pid_t pid;

    if (child_pipe[0] >= 0) close(child_pipe[0]); /* of the previous child */
    if (pipe(child_pipe) != 0) abort();
    fflush(NULL);
    pid = fork();
    if (pid == 0) alarm(CHILD_SECONDS);
    else close(child_pipe[1]);
    return pid;
}

/* Fork; the child runs fn and ends. */
static inline pid_t child_start(void (*fn)(void *arg), void *arg)
{
    pid_t pid = child_fork();

    if (pid == 0) {
        fn(arg);
        _exit(0);
    }
    return pid;
}

/* Waits for the child's end. NULL: all was well; else what failed. A child that stops itself is
 * continued. */
static inline const char *child_end(pid_t pid)
{
    static char text[400];
    int status = 0;

    if (pid < 0) return "no child";
    do {
        if (waitpid(pid, &status, WUNTRACED) != pid) return "no child";
        if (WIFSTOPPED(status)) (void)kill(pid, SIGCONT);
    } while (WIFSTOPPED(status));
    ssize_t n = read(child_pipe[0], text, sizeof text - 1);
    if (n < 0) n = 0;
    text[n] = 0;
    if (n > 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) return n > 0 ? text : NULL;
    snprintf(text, sizeof text, "the child ended with %s %d",
             WIFSIGNALED(status) ? "signal" : "status",
             WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    return text;
}

static inline void child_run(void (*fn)(void *arg), void *arg)
{
    const char *failed = child_end(child_start(fn, arg));

    if (failed) fail_msg("%s", failed);
}

/* ---- things ---------------------------------------------------------------------------------- */

enum { THINGS = 4096 };

static struct thing {
    pid_t made_in;
    atomic_int destroyed, abandoned; /* in this process */
    atomic_bool made, going, held;   /* going: from before its destroy began */
} things[THINGS];

static atomic_int thing_count, all_destroyed, all_abandoned, all_created;

static inline int thing_create(kp_job *job, void **out)
{
    int i = atomic_fetch_add(&thing_count, 1);

    (void)job;
    if (i >= THINGS) return -1;
    things[i].made_in = getpid();
    atomic_fetch_add(&all_created, 1);
    atomic_store(&things[i].made, true);
    *out = &things[i];
    return 0;
}

static inline int thing_destroy(kp_job *job, void *resource)
{
    struct thing *thing = resource;

    (void)job;
    atomic_store(&thing->going, true);
    atomic_fetch_add(&thing->destroyed, 1);
    atomic_fetch_add(&all_destroyed, 1);
    return 0;
}

static inline int thing_abandon(kp_job *job, void *resource)
{
    struct thing *thing = resource;

    if (job->kind != KP_JOB_ABANDON || job->resource != resource) abort();
    atomic_fetch_add(&thing->abandoned, 1);
    atomic_fetch_add(&all_abandoned, 1);
    return 0;
}

static const kp_driver thing_driver = {
    .create = thing_create, .destroy = thing_destroy, .abandon = thing_abandon
};

static inline void things_forget(void)
{
    memset(things, 0, sizeof things);
    thing_count = all_destroyed = all_abandoned = all_created = 0;
}

/* ---- misuse ---------------------------------------------------------------------------------- */

static struct {
    atomic_int count;
    char text[200];
} told;

static inline void hear(const kp_why *why, void *arg)
{
    (void)arg;
    atomic_fetch_add(&told.count, 1);
    snprintf(told.text, sizeof told.text, "%s", why->text);
}

static inline void hear_event(const kp_event *event, void *ctx)
{
    if (event->kind == KP_EVENT_MISUSE) hear(event->why, ctx);
}

/* In a child: the call reports one misuse, in a text with this word. */
#define TOLD(call, word)                                              \
    do {                                                              \
        int before = told.count;                                      \
        call;                                                         \
        MUST(told.count == before + 1 && strstr(told.text, (word)));  \
    } while (0)

/* ---- a pool of things ------------------------------------------------------------------------ */

static inline kp_pool *pool_of_things(kp_options options)
{
    kp_pool *pool = NULL;

    if (!options.driver.create) options.driver = thing_driver;
    if (!options.on_event) options.on_event = hear_event;
    if (NO_THREADS_IN_CHILDREN && !options.threads) options.threads = KP_NONE;
    assert_int_equal(kp_pool_open(&options, &pool), 0);
    return pool;
}

static inline kp_lease take(kp_pool *pool, const char *key)
{
    kp_lease lease;

    assert_int_equal(kp_get(pool, kp_str(key), KP_IN_S(30), &lease), 0);
    return lease;
}

static inline void stock(kp_pool *pool, const char *key, int n)
{
    kp_lease lease[8];

    for (int i = 0; i < n; i++) lease[i] = take(pool, key);
    for (int i = 0; i < n; i++) kp_release(&lease[i]);
}

static inline int things_begin(void **state)
{
    (void)state;
    things_forget();
    told.count = 0;
    return 0;
}

/* What a child does to check that the pool is its own. Returns 0, or the line that failed. */
static inline int use_it_all(kp_pool *pool, const char *key)
{
    kp_lease lease;
    kp_stats s;

    if (kp_get(pool, kp_str(key), KP_IN_S(30), &lease) != 0) return __LINE__;
    struct thing *thing = lease.resource;
    if (thing->made_in != getpid()) return __LINE__;
    if (kp_stats_read(pool, KP_EVERY_KEY, &s) != 0) return __LINE__;
    if (s.lent != 1 || s.waiting != 0 || s.misuses != 0) return __LINE__;
    kp_release(&lease);
    if (kp_try_get(pool, kp_str(key), &lease) != 0 || lease.resource != thing) return __LINE__;
    kp_discard(&lease);
    if (thing->destroyed != 1) return __LINE__;
    return kp_is_pool(pool) ? 0 : __LINE__;
}

#endif
