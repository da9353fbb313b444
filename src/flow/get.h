/* SPDX-License-Identifier: MIT
 *
 * One get under way, for whoever goes on with it: a blocked thread, whose request is on its stack
 * (get.c), or an event loop's, whose request is in a kp_request (start.c). Both walk the same
 * steps.
 */
#ifndef KP__FLOW_GET_H
#define KP__FLOW_GET_H

#include "flow/flow.h"

struct kp__get {
    struct kp__pool *pool;
    struct kp__request *request;
    uint64_t aside; /* it was invited, and steps back for the giver until then; 0: it does not */
    bool probing;   /* a loop's: the first probe of its key's circuit, to be told after the step */
};

/* NULL, or what is wrong with it. */
const char *kp__ask_refused(const struct kp__pool *pool, const kp_ask *ask);

/* Steps 1 and 2: check the ask, find the key, claim. `timed`: the clock is needed in any case. 0:
 * the grant says how to go on; else it is over, and not even begun. With the lock. */
int kp__get_begin(struct kp__get *get, kp_key key, const kp_ask *ask, bool timed,
                  struct kp__todo *todo);

/* Go on until it is over (0 and a grant of a slot, or why not), or KP_PENDING: it waits. With the
 * lock, which is given back meanwhile. */
int kp__get_run(struct kp__get *get, struct kp__todo *todo);

/* When to look again at a request that waits, without being told to. With the lock. */
uint64_t kp__get_until(const struct kp__get *get);

/* That look: it may have been answered, or invited to something, or its time may be over. With the
 * lock. Returns a job that nobody waits for any more, or NULL: it is to be hurried (kp__job_hurry),
 * as soon as driver.cancel may call the pool. */
struct kp__job *kp__get_look(struct kp__get *get, struct kp__todo *todo);

/* Give up, whatever it has. With the lock. Returns a job as above. */
struct kp__job *kp__get_abandon(struct kp__get *get, struct kp__todo *todo);

/* The first probe of its key's circuit. With the lock, which is given back if anybody listens. */
void kp__tell_probing(struct kp__pool *pool, struct kp__subpool *sub, struct kp__todo *todo);

/* A thread that sleeps in a pool that looks for deadlocks. Guard: that pool's lock. */
struct kp__sleeper {
    struct kp__list link; /* pool->sleepers */
    uint32_t thread;      /* its number */
    struct kp__pool *pool;
    const struct kp__request *request;

    /* while somebody looks */
    bool seen;
    struct kp__sleeper *by, *next; /* who waits for it; still to be followed */
    const struct kp__seat *holds;  /* what `by` waits for */
};

/* The thread is about to sleep. If that makes a deadlock, it is told, and may be answered already
 * (KP_EDEADLK). With the lock, which is given back meanwhile. And the end of its sleep, with the
 * lock. In deadlock.c. */
void kp__fall_asleep(struct kp__get *get, struct kp__sleeper *self, struct kp__todo *todo);
void kp__wake_up(struct kp__sleeper *self);

/* Before the end with KP_ETIMEDOUT: fill why, and tell. With the lock, which is given back
 * meanwhile; the user's code may cancel a request of a loop in there, and it is gone then. */
void kp__get_tell(struct kp__get *get, struct kp__todo *todo);

/* Step 6: count, and write the lease or fill why. With the lock. */
void kp__get_end(struct kp__get *get, int code, kp_lease *out, struct kp__todo *todo);

#endif
