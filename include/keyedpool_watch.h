/* SPDX-License-Identifier: MIT
 *
 * Who watches descriptors for a driver that never blocks. The pool's own mailbox (loop.h) says when
 * something is to be done; a connection that is being made, or asked whether it lives, has a
 * descriptor of its own to wait for. An adapter says to a watcher which one and for how long; glue
 * for an event loop is a struct that begins with one (keyedpool_epoll.h).
 *
 * All of it happens on the thread of that loop.
 */
#ifndef KEYEDPOOL_WATCH_H
#define KEYEDPOOL_WATCH_H

#include "keyedpool.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { KP_WATCH_READ = 1, KP_WATCH_WRITE = 2 };

typedef struct kp_watch kp_watch;
typedef struct kp_watcher kp_watcher;

/* One descriptor that is waited for, or a time alone. Memory of whoever waits: {0} but for the
 * first two, and it stays put while it is watched. */
struct kp_watch {
    /* Once per start, from the loop: what came (for an error or the peer's end all that was asked
     * for), or 0: the time is over. It is watched no more, and may be started again in here. */
    void    (*told)(kp_watch *watch, int events);
    void     *arg;                      /* yours */
    kp_watch *next, *prev;              /* from here on the watcher's; next is NULL while it is not
                                           watched */
    kp_watcher *watcher;
    void     *glue;
    uint64_t  due_ns;
    int       fd, events;
};

struct kp_watcher {
    /* Wait for READ, WRITE or both, within_ms at most (KP_OFF: no end); with an fd of -1, and no
     * events, for the time to be over. Never calls told itself. 0, or negative: it is not watched.
     */
    int  (*start)(kp_watcher *watcher, kp_watch *watch, int fd, int events, int64_t within_ms);
    /* Wait no more: told is not called. For one that is watched, and before fd is closed. */
    void (*stop)(kp_watcher *watcher, kp_watch *watch);
};

#ifdef __cplusplus
}
#endif
#endif
