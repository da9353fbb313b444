/* SPDX-License-Identifier: MIT
 *
 * An event loop on a thread of its own, which runs the drivers that never block while the cases of
 * conform.h wait for what they make.
 */
#ifndef TESTS_ADAPTERS_CONFORM_LOOP_H
#define TESTS_ADAPTERS_CONFORM_LOOP_H

#include <keyedpool_epoll.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* Something to be run on its thread. */
struct conform_errand {
    void (*run)(void *arg);
    void  *arg;
};

static struct {
    kp_epoll  epoll;
    pthread_t thread;
    int       errands[2];               /* a pipe of them */
    kp_watch  watch;
    bool      over;
} conform_loop;

static inline void conform_loop_must(bool good)
{
    if (good)
        return;
    (void)fprintf(stderr, "the loop of the test\n");
    abort();
}

/* What is written to a pipe at once, and is so short, comes at once. */
static inline void conform_loop_told(kp_watch *watch, int events)
{
    kp_watcher *watcher = &conform_loop.epoll.watcher;
    struct conform_errand errand;

    (void)events;
    conform_loop_must(read(conform_loop.errands[0], &errand, sizeof errand) == sizeof errand);
    errand.run(errand.arg);
    if (!conform_loop.over)
        conform_loop_must(watcher->start(watcher, watch, conform_loop.errands[0], KP_WATCH_READ,
                                         KP_OFF) == 0);
}

static inline void conform_loop_do(void (*run)(void *arg), void *arg)
{
    struct conform_errand errand = { .run = run, .arg = arg };

    conform_loop_must(write(conform_loop.errands[1], &errand, sizeof errand) == sizeof errand);
}

static inline void conform_loop_ends(void *unused)
{
    (void)unused;
    conform_loop.over = true;
}

/* Whoever was last to leave a pool may be on its way out of it still. A case that failed has left
 * its pool open, and then the loop stays, too. */
static inline void *conform_loop_run(void *arg)
{
    kp_epoll *e = &conform_loop.epoll;
    int tries = 0;

    (void)arg;
    while (!conform_loop.over)
        (void)kp_epoll_turn(e, KP_OFF);
    while (kp_epoll_close(e) < 0 && ++tries < 100)
        (void)kp_epoll_turn(e, 10);
    return NULL;
}

static inline void conform_loop_start(void)
{
    kp_epoll *e = &conform_loop.epoll;

    conform_loop_must(kp_epoll_open(e) == 0 && pipe(conform_loop.errands) == 0);
    conform_loop.watch.told = conform_loop_told;
    conform_loop_must(e->watcher.start(&e->watcher, &conform_loop.watch, conform_loop.errands[0],
                                       KP_WATCH_READ, KP_OFF) == 0);
    conform_loop_must(pthread_create(&conform_loop.thread, NULL, conform_loop_run, NULL) == 0);
}

static inline void conform_loop_stop(void)
{
    conform_loop_do(conform_loop_ends, NULL);
    conform_loop_must(pthread_join(conform_loop.thread, NULL) == 0);
    (void)close(conform_loop.errands[0]);
    (void)close(conform_loop.errands[1]);
}

#endif
