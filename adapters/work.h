/* SPDX-License-Identifier: MIT
 *
 * Jobs that wait for a server, as in the adapters for PostgreSQL and for Redis.
 *
 * What is said to the server is the adapter's matter: its step() goes as far as it can without
 * waiting, and says what to wait for. The waiting is done here. A driver that may block waits with
 * poll(), inside its function. One that never blocks has a watcher: its function answers KP_PENDING
 * and the loop carries the job on. For step() and finish() there is no difference:
 *
 *     begin -> run -> wait -> step -> wait -> step -> ... -> finish
 *
 * A wait ends in one of four ways:
 *
 *     something is ready      step(ready), which says what to wait for next
 *     its time is over        step(0), which may have something else to try
 *     it cannot be watched    the end, with unwatched() as its status
 *     it is cancelled         the end, with unwanted() as its status (only a watcher's can be)
 *
 * What has come is used, however late. But without time left nothing is waited for, so that even a
 * server that never stops talking comes to an end.
 */
#ifndef KP_ADAPTERS_WORK_H
#define KP_ADAPTERS_WORK_H

#include "keyedpool_watch.h"

struct kp__work;

/* A descriptor, and until when to wait: to the end of the job's time, or of one attempt. */
struct kp__wait {
    int     fd;
    int64_t until_ns;
};

/* What an adapter says of its jobs. */
struct kp__work_kind {
    size_t size;                        /* of its struct, which begins with a struct kp__work */

    /* Go on with what is ready; 0: nothing is, and the time is over. Returns what to wait for
     * (POLLIN, POLLOUT); 0: the job is over, w->status says how. */
    int  (*step)(struct kp__work *w, int ready);

    /* Where to wait, and until when. Asked after each step that wants to wait. */
    struct kp__wait (*wait)(const struct kp__work *w);

    /* Once, at the end: do what is left to be done, and return the job's answer. */
    int  (*finish)(struct kp__work *w, void **resource);

    /* Reasons: each returns a status. `rc`: what the watcher said, or KP_ENOMEM. */
    int  (*unwatched)(kp_job *job, int rc);
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

/* Sets all of the adapter's struct to zero, but for this. The job may take most_ms, and no longer
 * than job->left_ms (0: just that). */
void kp__work_begin(struct kp__work *w, const struct kp__work_kind *kind, kp_job *job,
                    kp_watcher *watcher, int64_t most_ms);

/* What is left of the whole job's time: 0 if nothing, else at least 1. */
int kp__work_left_ms(const struct kp__work *w);

/* Carry on to the end, given what a first step wants to wait for (or 0). Returns the answer for the
 * driver's function. `w` may lie on the stack: it is copied if it is to be watched. */
int kp__work_run(struct kp__work *w, int wanted, void **resource);

/* For driver.cancel. */
void kp__work_cancel(kp_job *job);

#endif
