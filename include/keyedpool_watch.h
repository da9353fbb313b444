/* SPDX-License-Identifier: MIT
 *
 * A watcher waits for descriptors on behalf of a driver that never blocks. The pool's own mailbox
 * (loop.h) says when the pool has something to do; a connection that is being made or checked has a
 * descriptor of its own to wait for. The adapter tells the watcher which descriptor, and for how
 * long. Glue for an event loop is a struct that begins with a watcher: keyedpool_epoll.h (Linux),
 * keyedpool_event.h (libevent), keyedpool_uv.h (libuv). A driver of your own, and a borrower that
 * waits for an answer, use it in the same way:
 *
 *     me->watch = (kp_watch){ .told = on_answer, .arg = me };
 *     glue.watcher.start(&glue.watcher, &me->watch, fd, KP_WATCH_READ, KP_SECONDS(5));
 *
 * All of it happens on the thread of that loop.
 */
#ifndef KEYEDPOOL_WATCH_H
#define KEYEDPOOL_WATCH_H

#include "keyedpool.h"

#include <poll.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { KP_WATCH_READ = 1, KP_WATCH_WRITE = 2 };

typedef struct kp_watch kp_watch;
typedef struct kp_watcher kp_watcher;

/* One descriptor to wait for, or only a time. The memory is the adapter's: zero except for the
 * first two fields, and it must not move while it is watched. */
struct kp_watch {
    /* Called once per start, from the loop: which events came (after an error or the peer's end,
     * all that were asked for), or 0: the time is over. The watch has ended, and may be started
     * again in here. */
    void    (*told)(kp_watch *watch, int events);
    void     *arg;                      /* yours */
    kp_watch *next, *prev;              /* from here on the watcher's; next is NULL while it is not
                                           watched */
    kp_watcher *watcher;
    void     *glue;
    uint64_t  due_ns;
    int       fd, events;
};

/* With both functions: one that lacks any is KP_ECONFIG to an adapter. */
struct kp_watcher {
    /* Wait for READ, WRITE or both, within_ms at most (KP_OFF, or INT64_MAX as in kp_job.left_ms:
     * no end); with an fd of -1, and no events, for the time to be over. Never calls told itself.
     * 0, or negative: nothing has changed (KP_EMISUSE: it is watched already). */
    int  (*start)(kp_watcher *watcher, kp_watch *watch, int fd, int events, int64_t within_ms);
    /* Stop waiting: told is not called. For a watch that has started, before its fd is closed, or
     * given back with a lease. */
    void (*stop)(kp_watcher *watcher, kp_watch *watch);
};

/* For glue that may tell a time before it has looked at the descriptor: which events have come, now
 * that the time is over. What came in time is not late because the loop was. */
static inline int kp__watch_look(int fd, int events)
{
    struct pollfd look;
    int came;

    look.fd = fd;
    look.events = (short)((events & KP_WATCH_READ ? POLLIN : 0) |
                          (events & KP_WATCH_WRITE ? POLLOUT : 0));
    look.revents = 0;
    if (fd < 0 || poll(&look, 1, 0) != 1)
        return 0;
    came = (look.revents & POLLIN ? KP_WATCH_READ : 0) |
           (look.revents & POLLOUT ? KP_WATCH_WRITE : 0);
    return look.revents & (POLLERR | POLLHUP) ? events : came;
}

#ifdef __cplusplus
}
#endif
#endif
