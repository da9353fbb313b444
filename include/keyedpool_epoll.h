/* SPDX-License-Identifier: MIT
 *
 * Glue for Linux: pools on an event loop, and all that their adapters wait for, behind one
 * descriptor. It can be the program's event loop:
 *
 *     kp_epoll loop;
 *     if (kp_epoll_open(&loop) == 0) {
 *         ... pools with options.loop = loop.loop and a watcher of &loop.watcher ...
 *         while (running)
 *             kp_epoll_turn(&loop, KP_OFF);
 *         kp_epoll_close(&loop);
 *     }
 *
 * or a guest in any other one: before each wait call kp_epoll_dispatch, then poll loop.fd for
 * reading, for at most as long as that call said.
 */
#ifndef KEYEDPOOL_EPOLL_H
#define KEYEDPOOL_EPOLL_H

/* Time is POSIX's. */
#if defined(__STRICT_ANSI__) && !defined(_POSIX_C_SOURCE) && !defined(_GNU_SOURCE)
#  define _POSIX_C_SOURCE 200809L
#endif

#include "keyedpool_watch.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#ifndef CLOCK_MONOTONIC
#  error "keyedpool_epoll.h: include it first, or define _POSIX_C_SOURCE 200809L"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* It must not move while it is open. */
typedef struct kp_epoll {
    kp_watcher watcher;                 /* first: for adapters */
    kp_loop   *loop;                    /* for kp_options.loop and kp_request.loop */
    int        fd;                      /* -1: closed */
    pid_t      pid;                     /* of the process that opened it */
    kp_watch   watched;                 /* a ring */
    uint64_t   loop_due_ns;             /* what the mailbox said last */
} kp_epoll;

static inline uint64_t kp__epoll_now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* A child of fork shares the descriptor: the parent would miss what the child took from there, and
 * be told of what it put there. */
static inline bool kp__epoll_is_here(const kp_epoll *e)
{
    return e && e->fd >= 0 && e->pid == getpid();
}

static inline int kp__epoll_start(kp_watcher *watcher, kp_watch *watch, int fd, int events,
                                  int64_t within_ms)
{
    kp_epoll *e = (kp_epoll *)watcher;
    struct epoll_event event;

    if (!kp__epoll_is_here(e))
        return e->fd < 0 ? KP_EMISUSE : KP_EFORKED;
    if (watch->next)
        return KP_EMISUSE;
    memset(&event, 0, sizeof event);
    event.events = (events & KP_WATCH_READ ? (uint32_t)EPOLLIN : 0U) |
                   (events & KP_WATCH_WRITE ? (uint32_t)EPOLLOUT : 0U);
    event.data.ptr = watch;
    if (fd >= 0 && epoll_ctl(e->fd, EPOLL_CTL_ADD, fd, &event) != 0)
        return errno == ENOMEM ? KP_ENOMEM : KP_EMISUSE;
    watch->watcher = watcher;
    watch->fd = fd;
    watch->events = events;
    watch->due_ns = UINT64_MAX;
    if (within_ms == KP_NONE)
        within_ms = 0;
    if (within_ms >= 0 && within_ms < INT64_MAX / 1000000)
        watch->due_ns = kp__epoll_now_ns() + (uint64_t)within_ms * UINT64_C(1000000);
    watch->next = &e->watched;
    watch->prev = e->watched.prev;
    watch->prev->next = watch->next->prev = watch;
    return 0;
}

/* Removed before `told` is called, which may close the descriptor. */
static inline void kp__epoll_stop(kp_watcher *watcher, kp_watch *watch)
{
    kp_epoll *e = (kp_epoll *)watcher;

    if (!watch->next)
        return;
    if (watch->fd >= 0 && kp__epoll_is_here(e))
        (void)epoll_ctl(e->fd, EPOLL_CTL_DEL, watch->fd, NULL);
    watch->prev->next = watch->next;
    watch->next->prev = watch->prev;
    watch->next = watch->prev = NULL;
}

/* Open the glue, with a mailbox of its own (kp_loop_open).
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: kp_epoll_close ends it. Errors: KP_ENOMEM
 * (of descriptors, too), KP_EMISUSE (NULL). Order: none. Since: 0.1 */
static inline KP_NODISCARD int kp_epoll_open(kp_epoll *e)
{
    struct epoll_event event;
    int rc;

    if (!e)
        return kp_loop_open(NULL);      /* which tells it */
    memset(e, 0, sizeof *e);
    e->watcher.start = kp__epoll_start;
    e->watcher.stop = kp__epoll_stop;
    e->watched.next = e->watched.prev = &e->watched;
    e->pid = getpid();
    e->fd = epoll_create1(EPOLL_CLOEXEC);
    if (e->fd < 0)
        return KP_ENOMEM;
    rc = kp_loop_open(&e->loop);
    memset(&event, 0, sizeof event);
    event.events = EPOLLIN;
    if (rc == 0 && epoll_ctl(e->fd, EPOLL_CTL_ADD, kp_loop_fd(e->loop), &event) != 0)
        rc = KP_ENOMEM;
    if (rc == 0)
        return 0;
    if (e->loop)
        (void)kp_loop_close(e->loop);
    (void)close(e->fd);
    e->loop = NULL;
    e->fd = -1;
    return rc;
}

/* Close the glue, after the pools that name its loop: as kp_loop_close, whose result it returns.
 * `told` may do so; what is still watched then is not told any more. Closing it again does nothing.
 * Threads: the loop's. Blocks: no. Calls: as kp_loop_close. Owns: takes the loop, on 0 or more.
 * Errors: KP_EMISUSE; NULL does nothing. Order: none. Since: 0.1 */
static inline int64_t kp_epoll_close(kp_epoll *e)
{
    int64_t rc;

    if (!e || !e->loop)
        return 0;
    rc = kp_loop_close(e->loop);
    if (rc >= 0) {
        (void)close(e->fd);
        e->fd = -1;
        e->loop = NULL;                 /* its memory may be another loop's soon */
        while (e->watched.next != &e->watched)
            kp__epoll_stop(&e->watcher, e->watched.next);
    }
    return rc;
}

/* The one that is due first, or NULL. There are as many as jobs and transfers under way: few. */
static inline kp_watch *kp__epoll_first(kp_epoll *e)
{
    kp_watch *first = NULL;

    for (kp_watch *w = e->watched.next; w != &e->watched; w = w->next)
        if (w->due_ns != UINT64_MAX && (!first || w->due_ns < first->due_ns))
            first = w;
    return first;
}

/* Until something is due; -1: nothing is. */
static inline int64_t kp__epoll_left_ms(kp_epoll *e)
{
    kp_watch *first = kp__epoll_first(e);
    uint64_t now = kp__epoll_now_ns(), due = e->loop_due_ns;

    if (first && first->due_ns < due)
        due = first->due_ns;
    if (due == UINT64_MAX)
        return -1;
    return due <= now ? 0 : (int64_t)((due - now) / 1000000 + 1);
}

/* Wait for one that is ready, and tell it. False: none, for now. One at a time: whoever is told may
 * end others. */
static inline bool kp__epoll_tell(kp_epoll *e, int64_t within_ms)
{
    struct epoll_event event;
    kp_watch *watch;
    int events = 0;

    memset(&event, 0, sizeof event);
    if (!kp__epoll_is_here(e) || epoll_wait(e->fd, &event, 1, (int)within_ms) != 1)
        return false;                   /* whoever was told may have closed it, or forked */
    watch = (kp_watch *)event.data.ptr;
    if (!watch)
        return false;                   /* the mailbox: its turn; others keep theirs */
    events |= event.events & EPOLLIN ? KP_WATCH_READ : 0;
    events |= event.events & EPOLLOUT ? KP_WATCH_WRITE : 0;
    if (event.events & (EPOLLERR | EPOLLHUP))
        events = watch->events;
    kp__epoll_stop(&e->watcher, watch);
    watch->told(watch, events);
    return true;
}

/* Do what there is to do on the loop's thread: tell the watches whose descriptors are ready or
 * whose time is over, and dispatch the mailbox. One call does a bounded part of it. Returns after
 * how many ms to call it again even if the descriptor is not readable (0: at once), or -1 if
 * nothing is due.
 * Threads: the loop's. Blocks: no. Calls: told, and as kp_loop_dispatch. Owns: nothing.
 * Errors: as kp_loop_dispatch. Order: none. Since: 0.1 */
static inline int64_t kp_epoll_dispatch(kp_epoll *e)
{
    uint64_t now = kp__epoll_now_ns();
    kp_watch *first;
    int64_t next_ms;

    if (!kp__epoll_is_here(e))
        return kp_loop_dispatch(e ? e->loop : NULL);    /* which tells it */
    for (int i = 0; i < 64 && kp__epoll_tell(e, 0); i++)
        continue;
    while (kp__epoll_is_here(e) && (first = kp__epoll_first(e)) != NULL && first->due_ns <= now) {
        kp__epoll_stop(&e->watcher, first);
        first->told(first, kp__watch_look(first->fd, first->events));
    }
    if (e->fd < 0)
        return -1;
    next_ms = kp_loop_dispatch(e->loop);
    if (next_ms < -1)
        return next_ms;
    e->loop_due_ns = UINT64_MAX;
    if (next_ms >= 0)
        e->loop_due_ns = kp__epoll_now_ns() + (uint64_t)next_ms * UINT64_C(1000000);
    return kp__epoll_left_ms(e);
}

/* Wait until there is something to do, for at_most_ms at most (KP_OFF: no end), and do it. Returns
 * 0 or the error.
 * Threads: the loop's. Blocks: at_most_ms. Calls: as kp_epoll_dispatch. Owns: nothing. Errors: as
 * kp_loop_dispatch. Order: none. Since: 0.1 */
static inline int kp_epoll_turn(kp_epoll *e, int64_t at_most_ms)
{
    int64_t left_ms;

    if (!kp__epoll_is_here(e))
        return (int)kp_epoll_dispatch(e);
    left_ms = kp__epoll_left_ms(e);
    if (at_most_ms == KP_NONE)
        at_most_ms = 0;
    if (at_most_ms >= 0 && (left_ms < 0 || at_most_ms < left_ms))
        left_ms = at_most_ms;
    if (left_ms > 60000)
        left_ms = 60000;
    if (kp__epoll_tell(e, left_ms) && e->fd < 0)
        return 0;                       /* whoever was told has closed it */
    left_ms = kp_epoll_dispatch(e);
    return left_ms < -1 ? (int)left_ms : 0;
}

#ifdef __cplusplus
}
#endif
#endif
