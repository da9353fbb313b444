/* SPDX-License-Identifier: MIT
 *
 * Glue for libuv: pools on a uv_loop_t, and all that their adapters wait for.
 *
 *     kp_uv glue;
 *     if (kp_uv_open(&glue, uv_default_loop()) == 0) {
 *         ... pools with options.loop = glue.loop and a watcher of &glue.watcher ...
 *         uv_run(uv_default_loop(), UV_RUN_DEFAULT);
 *     }
 *
 * The loop runs until kp_uv_close.
 */
#ifndef KEYEDPOOL_UV_H
#define KEYEDPOOL_UV_H

/* uv.h wants POSIX. */
#if defined(__STRICT_ANSI__) && !defined(_POSIX_C_SOURCE) && !defined(_GNU_SOURCE)
#  define _POSIX_C_SOURCE 200809L
#endif

#include "keyedpool_watch.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifndef CLOCK_MONOTONIC
#  error "keyedpool_uv.h: include it first, or define _POSIX_C_SOURCE 200809L"
#endif

#include <uv.h>

#ifdef __cplusplus
extern "C" {
#endif

/* It must not move until `closed` was called. */
typedef struct kp_uv {
    kp_watcher watcher;                 /* first: for adapters */
    kp_loop   *loop;                    /* for kp_options.loop and kp_request.loop */
    uv_loop_t *uv;
    uv_poll_t  mailbox;
    uv_timer_t upkeep;
    int64_t    watching;                /* how many are waited for */
    void     (*closed)(struct kp_uv *glue);
    int        open_handles;
} kp_uv;

/* libuv releases a handle only after a turn of its loop, so it is kept apart from the watch. */
typedef struct kp__uv_place {
    uv_poll_t  poll;                    /* not for a time alone */
    uv_timer_t timer;
    kp_watch  *watch;
    kp_uv     *glue;
    int        open_handles;
} kp__uv_place;

/* ---- descriptors ----------------------------------------------------------------------------- */

static inline void kp__uv_place_closed(uv_handle_t *handle)
{
    kp__uv_place *place = (kp__uv_place *)handle->data;

    if (--place->open_handles == 0)
        free(place);
}

static inline void kp__uv_stop(kp_watcher *watcher, kp_watch *watch)
{
    kp__uv_place *place = (kp__uv_place *)watch->glue;

    if (!watch->next)
        return;
    (void)watcher;
    place->glue->watching--;
    watch->next = NULL;
    watch->glue = NULL;
    if (watch->fd >= 0) {
        (void)uv_poll_stop(&place->poll);       /* now: whoever is told may close it */
        uv_close((uv_handle_t *)&place->poll, kp__uv_place_closed);
    }
    uv_close((uv_handle_t *)&place->timer, kp__uv_place_closed);
}

static inline void kp__uv_tell(kp__uv_place *place, int events)
{
    kp_watch *watch = place->watch;

    kp__uv_stop(&place->glue->watcher, watch);
    watch->told(watch, events);
}

static inline void kp__uv_ready(uv_poll_t *poll, int status, int events)
{
    kp__uv_place *place = (kp__uv_place *)poll->data;
    int came = (events & UV_READABLE ? KP_WATCH_READ : 0) |
               (events & UV_WRITABLE ? KP_WATCH_WRITE : 0);

    kp__uv_tell(place, status != 0 || came == 0 ? place->watch->events : came);
}

/* libuv may tell times before it looks at descriptors. */
static inline void kp__uv_late(uv_timer_t *timer)
{
    kp__uv_place *place = (kp__uv_place *)timer->data;

    kp__uv_tell(place, kp__watch_look(place->watch->fd, place->watch->events));
}

/* How long the loop's time has stood still: since this turn began. With uv_update_time here, timers
 * that start each other would all belong to this turn, and keep descriptors waiting. */
static inline uint64_t kp__uv_behind_ms(const uv_loop_t *uv)
{
    uint64_t now = uv_hrtime() / 1000000, then = uv_now(uv);

    return now > then ? now - then : 0;
}

static inline int kp__uv_start(kp_watcher *watcher, kp_watch *watch, int fd, int events,
                               int64_t within_ms)
{
    kp_uv *glue = (kp_uv *)watcher;
    kp__uv_place *place;
    int wanted = (events & KP_WATCH_READ ? UV_READABLE | UV_DISCONNECT : 0) |
                 (events & KP_WATCH_WRITE ? UV_WRITABLE : 0);

    if (watch->next)
        return KP_EMISUSE;
    place = (kp__uv_place *)calloc(1, sizeof *place);
    if (!place)
        return KP_ENOMEM;
    if (fd >= 0 && uv_poll_init(glue->uv, &place->poll, fd) != 0) {
        free(place);
        return KP_EMISUSE;
    }
    (void)uv_timer_init(glue->uv, &place->timer);
    place->poll.data = place->timer.data = place;
    place->open_handles = fd >= 0 ? 2 : 1;
    place->watch = watch;
    place->glue = glue;
    watch->watcher = watcher;
    watch->fd = fd;
    watch->events = events;
    watch->glue = place;
    watch->next = watch;
    glue->watching++;
    if (fd >= 0 && uv_poll_start(&place->poll, wanted, kp__uv_ready) != 0) {
        kp__uv_stop(watcher, watch);
        return KP_EMISUSE;
    }
    if (within_ms == KP_NONE)
        within_ms = 0;
    if (within_ms >= 0)
        (void)uv_timer_start(&place->timer, kp__uv_late,
                             (uint64_t)within_ms + kp__uv_behind_ms(glue->uv), 0);
    return 0;
}

/* ---- the mailbox ----------------------------------------------------------------------------- */

static inline void kp__uv_due(uv_timer_t *timer);

/* Never after 0 ms: started by itself, such a timer would run again before libuv looks at any
 * descriptor. While there is mail, the mailbox is readable, and the timer need not come first. */
static inline void kp__uv_dispatch(kp_uv *glue)
{
    int64_t next_ms = kp_loop_dispatch(glue->loop);

    if (next_ms < 0)
        (void)uv_timer_stop(&glue->upkeep);
    else
        (void)uv_timer_start(&glue->upkeep, kp__uv_due, next_ms > 0 ? (uint64_t)next_ms : 1, 0);
}

static inline void kp__uv_due(uv_timer_t *timer)
{
    kp__uv_dispatch((kp_uv *)timer->data);
}

static inline void kp__uv_mail(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    kp__uv_dispatch((kp_uv *)poll->data);
}

static inline void kp__uv_closed(uv_handle_t *handle)
{
    kp_uv *glue = (kp_uv *)handle->data;

    if (--glue->open_handles == 0 && glue->closed)
        glue->closed(glue);
}

/* Put the glue on a loop, with a mailbox of its own (kp_loop_open).
 * Threads: the loop's. Blocks: no. Calls: nothing. Owns: kp_uv_close ends it. Errors: KP_ENOMEM (of
 * descriptors, too), KP_EMISUSE (a NULL). Order: none. Since: 0.1 */
static inline KP_NODISCARD int kp_uv_open(kp_uv *glue, uv_loop_t *uv)
{
    int rc;

    if (!glue || !uv)
        return kp_loop_open(NULL);      /* which tells it */
    memset(glue, 0, sizeof *glue);
    glue->watcher.start = kp__uv_start;
    glue->watcher.stop = kp__uv_stop;
    glue->uv = uv;
    rc = kp_loop_open(&glue->loop);
    if (rc != 0)
        return rc;
    if (uv_poll_init(uv, &glue->mailbox, kp_loop_fd(glue->loop)) != 0) {
        (void)kp_loop_close(glue->loop);
        glue->loop = NULL;
        return KP_ENOMEM;
    }
    (void)uv_timer_init(uv, &glue->upkeep);
    glue->mailbox.data = glue->upkeep.data = glue;
    glue->open_handles = 2;
    (void)uv_poll_start(&glue->mailbox, UV_READABLE, kp__uv_mail);
    return 0;
}

/* Take the glue off, after the pools that name its loop: as kp_loop_close, whose result it returns.
 * Stop watches of your own before: libuv would still tell them. `closed` (or NULL) is called when
 * libuv has let go, and `glue` may be freed. Closing it again does nothing. In a child of fork
 * uv_loop_fork comes first: else the parent's loop loses its mailbox.
 * Threads: the loop's. Blocks: no. Calls: as kp_loop_close; closed, later, from the loop.
 * Owns: takes the mailbox, on 0 or more. Errors: KP_EMISUSE; a `glue` of NULL does nothing.
 * Order: none. Since: 0.1 */
static inline int64_t kp_uv_close(kp_uv *glue, void (*closed)(kp_uv *glue))
{
    int64_t rc;

    if (!glue || !glue->loop)
        return 0;
    (void)uv_poll_stop(&glue->mailbox); /* before its descriptor is closed */
    rc = kp_loop_close(glue->loop);
    if (rc < 0) {
        (void)uv_poll_start(&glue->mailbox, UV_READABLE, kp__uv_mail);
        return rc;
    }
    glue->loop = NULL;
    glue->closed = closed;
    uv_close((uv_handle_t *)&glue->mailbox, kp__uv_closed);
    uv_close((uv_handle_t *)&glue->upkeep, kp__uv_closed);
    return rc;
}

#ifdef __cplusplus
}
#endif
#endif
