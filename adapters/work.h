/* SPDX-License-Identifier: MIT
 *
 * Jobs that wait for a server, as the adapters for PostgreSQL and for Redis do them.
 *
 * What is said to the server is the adapter's: its step() goes as far as it can without waiting,
 * and says what is to be waited for. Waiting is done here. A driver that may block does it with
 * poll(), inside its function. One that never blocks has a watcher: its function answers KP_PENDING
 * and the loop goes on with it. To step() and finish() that is the same:
 *
 *     begin -> run -> wait -> step -> wait -> step -> ... -> finish
 *
 * A wait ends in one of four ways:
 *
 *     something is ready      step(ready), which says what to wait for next
 *     its time is over        step(0), which may have something else to try
 *     it cannot be watched    the end, with no_memory() as its status
 *     it is cancelled         the end, with unwanted() as its status (only a watcher's can be)
 *
 * What has come is used, however late. But where no time is left nobody waits, so that one who
 * never stops talking comes to an end, too.
 */
#ifndef KP_ADAPTERS_WORK_H
#define KP_ADAPTERS_WORK_H

#include "keyedpool_watch.h"

struct kp__work;

/* A descriptor, and until when: all of the job's time, or that of one attempt. */
struct kp__wait {
    int     fd;
    int64_t until_ns;
};

/* What an adapter says of its jobs. */
struct kp__work_kind {
    size_t size;                        /* of its struct, which begins with a struct kp__work */

    /* Go on with what is ready of what was waited for; 0: nothing, and the time is over. Returns
     * what to wait for (POLLIN, POLLOUT); 0: it is over, w->status says how. */
    int  (*step)(struct kp__work *w, int ready);

    /* Where, and until when. Asked after each step that wants to wait. */
    struct kp__wait (*wait)(const struct kp__work *w);

    /* Once, at the end: the job's answer, of w->status and of what is to be done yet. */
    int  (*finish)(struct kp__work *w, void **resource);

    /* Reasons: each returns a status. */
    int  (*no_memory)(kp_job *job);
    int  (*unwanted)(kp_job *job);
};

/* One job under way. */
struct kp__work {
    const struct kp__work_kind *kind;
    kp_job     *job;
    kp_watcher *watcher;                /* NULL: poll */
    int64_t     until_ns;               /* of the whole job */
    int         status;                 /* the adapter's: negative if it went wrong */
    int         wanted;                 /* this one and the next are work.c's */
    kp_watch    watch;
};

/* All of the adapter's struct is zero but for this. The job has most_ms at most (0: what its
 * request has). */
void kp__work_begin(struct kp__work *w, const struct kp__work_kind *kind, kp_job *job,
                    kp_watcher *watcher, int64_t most_ms);

/* What is left of the whole job's time: 0 if nothing is, else at least 1. */
int kp__work_left_ms(const struct kp__work *w);

/* Go on from what a first step wants (or 0) to the end. Returns the answer of the driver's
 * function. `w` may lie on the stack: what is to be watched is copied. */
int kp__work_run(struct kp__work *w, int wanted, void **resource);

/* For driver.cancel. */
void kp__work_cancel(kp_job *job);

#endif
