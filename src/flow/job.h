/* SPDX-License-Identifier: MIT
 *
 * One run of a driver function as the pool keeps it; job.c has the story.
 */
#ifndef KP__FLOW_JOB_H
#define KP__FLOW_JOB_H

#include <stdatomic.h>

#include "flow/flow.h"

enum {
    KP__JOB_FREE,
    KP__JOB_POSTED,  /* to another thread, which has not begun it */
    KP__JOB_HURRIED, /* the same, and nobody waits for it any more */
    KP__JOB_RUNNING,
    KP__JOB_DETACHED,
    KP__JOB_ANSWERING,
    KP__JOB_ANSWERED
};

struct kp__job {
    struct kp__slab_item item; /* first: base/slab.h */
    kp_job face;               /* what the driver sees */
    _Atomic uint32_t state;
    struct kp__pool *pool;
    struct kp__slot *slot;
    uint32_t seat;              /* validate: whose */
    int status;                 /* the answer */
    void *made;                 /* the answer: create's resource */
    uint64_t began, until;      /* its time ends; who waits for it gives up then */
    struct kp__failure failure; /* what kp_job_fail said */
    bool returning;             /* reset or validate: on the way back ... */
    bool then_validate;         /* ... and after the reset, validate */
    bool testing;               /* validate: an idle one, by the keeper */
    bool called_off;            /* create: hurried, because who began it was cancelled */
    bool hurried;               /* Guard: the pool's lock. Once: driver.cancel was called, or is */
    bool held, spent;           /* Guard: the pool's lock. Kept for driver.cancel; put after it */
    struct kp__list queue;      /* of those that somebody else shall run. Guard: the crew's lock, or
                                   the mailbox's */
};

void kp__job_init(struct kp__job *job, struct kp__pool *pool, kp_job_kind kind,
                  struct kp__slot *slot, const char *tag, uint64_t now, uint64_t until);
void kp__job_aim(struct kp__job *job, struct kp__slot *slot); /* the same run, of another slot */
void kp__job_answered(struct kp__job *job, int status, void *resource);
void kp__job_await(struct kp__job *job);  /* for its answer */
bool kp__job_detach(struct kp__job *job); /* stand by no more. False: the answer was faster */

/* Its memory: a job for this slot (NULL: out of memory), and back. A pool whose jobs nobody stands
 * by has room for one for each resource, so that ending it needs no memory. With the lock. */
struct kp__job *kp__job_take(struct kp__pool *pool, struct kp__slot *slot);
void kp__job_put(struct kp__job *job);
bool kp__keeps_jobs(const struct kp__pool *pool);

/* The same; there is one, unless one that was hurried is kept until driver.cancel has returned, and
 * all others are under way. With the lock, which may be given back then. */
struct kp__job *kp__job_find(struct kp__pool *pool, struct kp__slot *slot);

/* The same for a thread that stands by: one of the pool's if there is one, since that can tell a
 * second answer; else the caller's own. With the lock. */
struct kp__job *kp__job_borrow(struct kp__pool *pool, struct kp__slot *slot, struct kp__job *own);

/* Call validate, reset or destroy of a slot, and stand by: as kp__job_run. Without the lock, and
 * held against pthread_cancel. */
int kp__job_call(struct kp__job *job, int (*fn)(kp_job *, void *), uint64_t until);

/* Nobody stands by: run it here if this thread may, else have it run where it may. Its answer goes
 * on with the story. Without the lock; the job may be gone afterwards. */
void kp__job_send(struct kp__job *job);

/* Nobody waits for this job any more: if there is a driver.cancel, have it called where the driver
 * runs, once the job has begun. With the lock. Not NULL: it is to be called here, by kp__job_cancel
 * without the lock; then let_go, with it. The job's memory is kept meanwhile. kp__job_hurry does
 * both, with the lock, given back meanwhile. */
struct kp__job *kp__job_not_needed(struct kp__job *job);
void kp__job_cancel(struct kp__job *job);
void kp__job_let_go(struct kp__job *job);
void kp__job_hurry(struct kp__pool *pool, struct kp__job *job, struct kp__todo *todo);

/* The same: who began it was cancelled. A creation goes on if others wait, who may have what it
 * makes, and is hurried when its time is over. If nobody does, and it fails then, that says nothing
 * about the server. */
struct kp__job *kp__job_call_off(struct kp__job *job);

/* And: the time of what is made or tested is over. With the lock, given back meanwhile. */
void kp__job_late(struct kp__pool *pool, struct kp__slot *slot, struct kp__todo *todo);

/* The end of a creation, of a resource, or of what was to be taken back, for which nobody of ours
 * stands by. Without the lock. */
void kp__create_finish(struct kp__job *job);
void kp__destroy_finish(struct kp__job *job);
void kp__revoke_finish(struct kp__job *job);

/* ---- doubts (doubt.c) ------------------------------------------------------------------------ */

/* What the answer to a validate or reset says of its resource, and of others of its key: none are
 * in doubt any more, or all are. With the lock, given back meanwhile. */
void kp__take_note(const struct kp__job *job, struct kp__todo *todo);
void kp__tell_invalid(const struct kp__job *job); /* without the lock (job.c) */

void kp__test_finish(struct kp__job *job); /* as those above: of a test by the keeper */

#endif
