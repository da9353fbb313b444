/* SPDX-License-Identifier: MIT
 *
 * Glue for libevent (2.0 and later): pools on an event_base, and all that their adapters wait for.
 *
 *     kp_event_loop glue;
 *     if (kp_event_loop_open(&glue, base) == 0) {
 *         ... pools with options.loop = glue.loop and a watcher of &glue.watcher ...
 *         event_base_dispatch(base);
 *     }
 *
 * The base has something to wait for, so it runs, until kp_event_loop_close. With libevent before
 * 2.1 the time that an adapter waits begins with the turn of the loop, as all times do there: what
 * a callback takes counts against the connects that begin after it.
 */
#ifndef KEYEDPOOL_EVENT_H
#define KEYEDPOOL_EVENT_H

#include "keyedpool_watch.h"

#include <event2/event.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* It must not move while it is open. */
typedef struct kp_event_loop {
    kp_watcher watcher;                 /* first: for adapters */
    kp_loop   *loop;                    /* for kp_options.loop and kp_request.loop */
    struct event_base *base;
    struct event *mailbox;
    int64_t    watching;                /* how many are waited for */
} kp_event_loop;

static inline struct timeval kp__event_time(int64_t ms)
{
    struct timeval time;

    memset(&time, 0, sizeof time);
    time.tv_sec = (long)(ms / 1000 < INT32_MAX ? ms / 1000 : INT32_MAX);
    time.tv_usec = (long)(ms % 1000) * 1000;
    return time;
}

/* ---- descriptors ----------------------------------------------------------------------------- */

static inline void kp__event_stop(kp_watcher *watcher, kp_watch *watch)
{
    if (!watch->next)
        return;
    event_free((struct event *)watch->glue);
    watch->next = NULL;
    watch->glue = NULL;
    ((kp_event_loop *)watcher)->watching--;
}

static inline void kp__event_ready(evutil_socket_t fd, short events, void *arg)
{
    kp_watch *watch = (kp_watch *)arg;
    int came = (events & EV_READ ? KP_WATCH_READ : 0) | (events & EV_WRITE ? KP_WATCH_WRITE : 0);

    if (came == 0)                      /* libevent tells times first */
        came = kp__watch_look((int)fd, watch->events);
    kp__event_stop(watch->watcher, watch);
    watch->told(watch, came);
}

static inline int kp__event_start(kp_watcher *watcher, kp_watch *watch, int fd, int events,
                                  int64_t within_ms)
{
    kp_event_loop *glue = (kp_event_loop *)watcher;
    bool timed = within_ms >= 0 || within_ms == KP_NONE;
    struct timeval time = kp__event_time(within_ms < 0 ? 0 : within_ms);
    short wanted = (short)((events & KP_WATCH_READ ? EV_READ : 0) |
                           (events & KP_WATCH_WRITE ? EV_WRITE : 0));
    struct event *event;

    if (watch->next)
        return KP_EMISUSE;
    event = event_new(glue->base, fd, wanted, kp__event_ready, watch);
    if (!event)
        return KP_ENOMEM;
#if LIBEVENT_VERSION_NUMBER >= 0x02010100
    if (timed)                          /* its time stood still since this turn began */
        (void)event_base_update_cache_time(glue->base);
#endif
    if (event_add(event, timed ? &time : NULL) != 0) {
        event_free(event);
        return KP_EMISUSE;
    }
    watch->watcher = watcher;
    watch->events = events;
    watch->glue = event;
    watch->next = watch;
    glue->watching++;
    return 0;
}

/* ---- the mailbox ----------------------------------------------------------------------------- */

/* It waits for one piece of mail, or until upkeep is due; then again. */
static inline void kp__event_mail(evutil_socket_t fd, short events, void *arg)
{
    kp_event_loop *glue = (kp_event_loop *)arg;
    int64_t next_ms = kp_loop_dispatch(glue->loop);
    struct timeval time = kp__event_time(next_ms < 0 ? 0 : next_ms);

    (void)fd;
    (void)events;
    (void)event_add(glue->mailbox, next_ms < 0 ? NULL : &time);
}

/* Put the glue on a base, with a mailbox of its own (kp_loop_open).
 * Threads: the loop's. Blocks: no. Calls: nothing. Owns: kp_event_loop_close ends it.
 * Errors: KP_ENOMEM (of descriptors, too), KP_EMISUSE (a NULL). Order: none. Since: 0.1 */
static inline KP_NODISCARD int kp_event_loop_open(kp_event_loop *glue, struct event_base *base)
{
    int rc;

    if (!glue || !base)
        return kp_loop_open(NULL);      /* which tells it */
    memset(glue, 0, sizeof *glue);
    glue->watcher.start = kp__event_start;
    glue->watcher.stop = kp__event_stop;
    glue->base = base;
    rc = kp_loop_open(&glue->loop);
    if (rc != 0)
        return rc;
    glue->mailbox = event_new(base, kp_loop_fd(glue->loop), EV_READ, kp__event_mail, glue);
    if (glue->mailbox && event_add(glue->mailbox, NULL) == 0)
        return 0;
    if (glue->mailbox)
        event_free(glue->mailbox);
    (void)kp_loop_close(glue->loop);
    glue->loop = NULL;
    return KP_ENOMEM;
}

/* Take the glue off, after the pools that name its loop: as kp_loop_close, whose result it returns.
 * Stop watches of your own before: libevent would still tell them. Closing it again does nothing.
 * In a child of fork event_reinit comes first: else the parent's base loses its mailbox.
 * Threads: the loop's. Blocks: no. Calls: as kp_loop_close. Owns: takes the mailbox, on 0 or more.
 * Errors: KP_EMISUSE; NULL does nothing. Order: none. Since: 0.1 */
static inline int64_t kp_event_loop_close(kp_event_loop *glue)
{
    const struct timeval at_once = { 0, 0 };
    int64_t rc;

    if (!glue || !glue->loop)
        return 0;
    (void)event_del(glue->mailbox);     /* before its descriptor is closed */
    rc = kp_loop_close(glue->loop);
    if (rc < 0)
        (void)event_add(glue->mailbox, &at_once);       /* it has forgotten what is due */
    else {
        event_free(glue->mailbox);
        glue->loop = NULL;
    }
    return rc;
}

#ifdef __cplusplus
}
#endif
#endif
