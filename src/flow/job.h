/* SPDX-License-Identifier: MIT
 *
 * One run of a driver function as the pool keeps it; job.c says how it goes.
 */
#ifndef KP__FLOW_JOB_H
#define KP__FLOW_JOB_H

#include <stdatomic.h>

#include "flow/flow.h"

enum {
    KP__JOB_FREE,
    KP__JOB_POSTED,  /* to a thread that has not begun it yet */
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
    uint64_t began, until;      /* until: when whoever waits for it gives up */
    struct kp__failure failure; /* what kp_job_fail said */
    uint8_t when;               /* validate or reset: KP_CHECK_GET, _RETURN, or _KEEPER (a test) */
    bool then_validate;         /* reset: validate is to follow */
    bool own_time;              /* create: it goes on until `until`, whatever its request does */
    bool hurried;               /* Guard: the pool's lock. driver.cancel was called, or will be */
    bool called_off;            /* the same. Hurried because its request was cancelled, or refused
                                   since the pool closes */
    struct kp__subpool *kept;   /* the same. Until driver.cancel has returned, the subpool, whose
                                   key it may read: that stays, and so does the job's memory */
    struct kp__list queue;      /* while posted: to the thread that is to run it. Guard: the crew's
                                   lock, or the mailbox's */
};

void kp__job_init(struct kp__job *job, struct kp__pool *pool, kp_job_kind kind,
                  struct kp__slot *slot, const char *tag, uint64_t now, uint64_t until);
void kp__job_aim(struct kp__job *job, struct kp__slot *slot); /* used again, for another slot */

/* The driver's function has returned, and not KP_PENDING: that is the answer. If it has called
 * kp_job_done as well, that was the answer, and this is misuse. Without the lock. */
void kp__job_returned(struct kp__job *job, int status, void *resource);

void kp__job_await(struct kp__job *job);  /* wait for its answer */
bool kp__job_detach(struct kp__job *job); /* no longer stand by. False: the answer was faster */

/* ---- their memory (jobs.c) ------------------------------------------------------------------- */

/* Take a job for this slot, to be begun by kp__job_init, of those that the pool has memory for;
 * NULL: all are in use. And give it back. With the lock. */
struct kp__job *kp__job_take(struct kp__pool *pool, struct kp__slot *slot);
void kp__job_put(struct kp__job *job);

/* The same, with more memory if need be; NULL: out of memory. With the lock, which may be given
 * back for that. */
struct kp__job *kp__job_make(struct kp__pool *pool, struct kp__slot *slot);

/* Can this pool have jobs that nobody stands by? Then it keeps memory for one job per resource, so
 * that the end of a resource needs no new memory. */
bool kp__keeps_jobs(const struct kp__pool *pool);

/* For a thread that stands by: a job of the pool's if one is free, since with that a second answer
 * is found out; else the caller's own. With the lock. */
struct kp__job *kp__job_borrow(struct kp__pool *pool, struct kp__slot *slot, struct kp__job *own);

/* ---- of what is lent: check and reset (check.c) ---------------------------------------------- */

/* Run validate or reset on a lent slot, for `request`, or on the way back (NULL), and stand by: 0,
 * or negative; KP_PENDING if no answer came in its time: when it comes, it ends the lease. With the
 * lock, which is given back meanwhile. */
int kp__lent_call(struct kp__pool *pool, kp_job_kind kind, struct kp__slot *slot, uint32_t seat,
                  const struct kp__request *request, struct kp__todo *todo);

/* Reset and then validate on the way back, as far as `reset` and `validate` say, where nobody
 * stands by: the outcome ends the lease. False: out of memory, nothing was begun. */
bool kp__return_by_job(struct kp__pool *pool, struct kp__slot *slot, uint32_t seat, bool reset,
                       bool validate, struct kp__todo *todo);

/* Does the answer to a validate or reset leave the resource as good as it was? One that was called
 * off because its pool closes does: it says nothing, unless that the peer is gone. With the
 * lock. */
bool kp__job_is_good(const struct kp__job *job);

/* Act on that answer: if the resource is bad, and the job was not called off, send the event. After
 * a good validate it is no longer in doubt; if its peer is gone (KP_EGONE), the others of its key
 * are. With the lock, which is given back meanwhile. */
void kp__heed_answer(const struct kp__job *job, struct kp__todo *todo);

/* ---- run ------------------------------------------------------------------------------------- */

/* Is this thread to stand by, waiting for what the driver answers? Not in a pool that names a loop;
 * not if it is in kp_job_done, for it may be the only one that answers; and not if it is the thread
 * of an event loop and the pool can have jobs that nobody stands by (kp__keeps_jobs): then a job is
 * sent. */
bool kp__stands_by(const struct kp__pool *pool);

/* Run one that validates, resets or destroys, and stand by, as kp__lent_call does. Without the
 * lock, and with pthread_cancel held off (base/cancel.h). */
int kp__job_call(struct kp__job *job, uint64_t until);

/* Nobody will stand by: from now on it may be hurried, and called off. With the lock, before that
 * is given back to send it. */
void kp__job_post(struct kp__job *job);

/* Nobody stands by: run it here if this thread may, else have it run by a thread that may. Whoever
 * answers it does what follows (go_on). Without the lock; the job may be gone afterwards. */
void kp__job_send(struct kp__job *job);

/* Run one that was posted to this thread. Without the lock; the job may be gone afterwards. */
void kp__job_perform(struct kp__job *job);

/* ---- hurried (hurry.c) ----------------------------------------------------------------------- */

/* Nobody waits for this job any more: it is *hurried*, that is, driver.cancel, if there is one, is
 * called for it: once, where the driver's functions run, and not before the job has begun.
 * kp__job_hurry_begin, with the lock: NULL: that is arranged, or there is nothing to cancel. Else
 * the caller does it: by kp__job_hurry, with the lock, which is given back meanwhile; or by
 * kp__job_cancel without the lock and then kp__job_hurry_end with it. Until then the job's memory
 * is kept. */
struct kp__job *kp__job_hurry_begin(struct kp__job *job);
void kp__job_cancel(struct kp__job *job);
void kp__job_hurry_end(struct kp__job *job);
void kp__job_hurry(struct kp__pool *pool, struct kp__job *job, struct kp__todo *todo);

/* The same for a job whose request was cancelled, or whose pool closes. But while the pool is open,
 * it goes on if others wait, or if it creates and has a time of its own: what it makes, or finds
 * good, may serve others, unless its resource is doomed; and upkeep hurries it when its time is
 * over. If one that was called off fails, that says nothing about the server. */
struct kp__job *kp__job_call_off(struct kp__job *job);

/* Upkeep looks at a slot with a job. If its time is over, and no request waits that would do it, it
 * is hurried, unless it ends a resource or revokes one. With the lock, given back meanwhile. */
void kp__job_hurry_due(struct kp__pool *pool, struct kp__slot *slot, struct kp__todo *todo);

/* ---- what follows an answer that nobody stood by for ----------------------------------------- */

/* A creation, the end of a resource, a revocation, a test by the keeper; a check, after which its
 * sponsor gets the lease or the lease ends; a reset, or a validate on return, after which the lease
 * ends. Without the lock. */
void kp__create_finish(struct kp__job *job);
void kp__destroy_finish(struct kp__job *job);
void kp__revoke_finish(struct kp__job *job);
void kp__test_finish(struct kp__job *job);
void kp__check_finish(struct kp__job *job);
void kp__return_finish(struct kp__job *job);

#endif
