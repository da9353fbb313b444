/* SPDX-License-Identifier: MIT
 *
 * One get under way: of a blocked thread, whose request is on its stack (get.c), or of an event
 * loop, whose request is in a kp_request (start.c). Both walk the same steps.
 */
#ifndef KP__FLOW_GET_H
#define KP__FLOW_GET_H

#include "flow/flow.h"

struct kp__get {
    struct kp__pool *pool;
    struct kp__request *request;
    uint64_t courtesy_until; /* invited, it lets the giver's key go first until then; 0: it does
                                not */
    bool probing;            /* of a loop: it is a circuit's first probe, to be told after the
                                step */
    bool told;               /* a deadlock of this get was told (deadlock.c) */
};

/* ---- what it says (ask.c) -------------------------------------------------------------------- */

/* NULL, or what is wrong with the ask. */
const char *kp__ask_refused(const struct kp__pool *pool, const kp_ask *ask);

/* L4: one absolute deadline, worked out once, of an ask that is not refused. */
uint64_t kp__ask_deadline(const struct kp__pool *pool, const kp_ask *ask, uint64_t now);

/* Does it say, or else the pool, not to wait? */
static inline bool kp__ask_is_at_once(const struct kp__pool *pool, const kp_ask *ask)
{
    return ask->within_ms ? ask->within_ms == KP_NONE : !ask->until.ns && !pool->deadline;
}

/* ---- its steps (get.c) ----------------------------------------------------------------------- */

/* Steps 1 and 2: check the ask, find the key, claim. 0: the grant says how to go on. Else the get
 * was refused before it began, and kp__get_end must not be called. With the lock. */
int kp__get_begin(struct kp__get *get, kp_key key, const kp_ask *ask, struct kp__todo *todo);

/* Go on until it is over: 0 and a grant of a slot, or the code of why not. KP_PENDING: it waits.
 * With the lock, which is given back meanwhile. */
int kp__get_run(struct kp__get *get, struct kp__todo *todo);

/* Tell that a key's circuit lets its first probe through. With the lock, which is given back if
 * anybody listens. */
void kp__tell_probing(struct kp__pool *pool, struct kp__subpool *sub, struct kp__todo *todo);

/* ---- 3. wait (wait.c) ------------------------------------------------------------------------ */

/* Park until the request is answered, its deadline comes, or it is time to look again; then look.
 * With the lock, which is given back meanwhile. */
void kp__get_wait(struct kp__get *get, struct kp__todo *todo);

/* Back into the queue, if there is time left. With the lock. */
void kp__get_wait_again(struct kp__get *get, uint64_t now, struct kp__todo *todo);

/* When to look again at a request that waits, if its owner is not told to before. With the lock. */
uint64_t kp__get_until(const struct kp__get *get);

/* That look: the request may have been answered, or invited to something, or its time may be over.
 * With the lock. Returns a job that nobody waits for any more, or NULL. The caller hurries it
 * (kp__job_hurry) as soon as user code may run: driver.cancel may call the pool. */
struct kp__job *kp__get_look(struct kp__get *get, struct kp__todo *todo);

/* Give up from outside: take it out of the queue, or give back what it was granted. With the lock.
 * Returns a job as above. */
struct kp__job *kp__get_abandon(struct kp__get *get, struct kp__todo *todo);

/* ---- 4. create: room for it (victim.c) ------------------------------------------------------- */

/* Destroy the victims that a permit to create comes with, if any, and what else the request has
 * passed over. True: it may create. False: it waits until they are gone, or is over. With the lock,
 * which is given back meanwhile. */
bool kp__victims_destroy(struct kp__get *get, struct kp__todo *todo);

/* ---- 5. check (check.c) ---------------------------------------------------------------------- */

/* Is the resource that it was granted still good? Then its grant says so. If not, the resource is
 * destroyed, and the request waits again at its old place and with its old deadline. Or it waits
 * for the answer of a job. With the lock, which is given back meanwhile. */
void kp__get_check(struct kp__get *get, struct kp__todo *todo);

/* ---- 6. lend, or say why not (get.c) --------------------------------------------------------- */

/* Before a get ends with KP_ETIMEDOUT: fill its kp_why, and tell. With the lock, which is given
 * back meanwhile: user code may then cancel a loop's request, which is gone afterwards. */
void kp__get_tell(struct kp__get *get, struct kp__todo *todo);

/* Count, and write the lease or fill the kp_why. With the lock. */
void kp__get_end(struct kp__get *get, int code, kp_lease *out, struct kp__todo *todo);

/* ---- deadlocks (deadlock.c) ------------------------------------------------------------------ */

/* Does this pool look for them? */
static inline bool kp__looks_for_deadlocks(const struct kp__pool *pool)
{
    /* relaxed: constant once the pool is open */
    return atomic_load_explicit(&pool->door->on_deadlock, memory_order_relaxed) != 0;
}

/* A thread that sleeps in a pool that looks for deadlocks. Guard: that pool's lock. */
struct kp__sleeper {
    struct kp__list link; /* pool->sleepers */
    uint32_t thread;      /* its number */
    struct kp__pool *pool;
    const struct kp__request *request;
    bool *told;           /* of its get. Guard: its pool's lock */

    /* while somebody looks */
    bool seen;
    struct kp__sleeper *by, *next; /* the one that waits for it; the next one to be followed */
    const struct kp__seat *holds;  /* the seat of its own that `by` waits for */
};

/* The thread is about to sleep. If that makes a deadlock, the deadlock is told, and the request may
 * have its answer on return (KP_EDEADLK). Returns when to wake up and look again, or KP__NEVER.
 * With the lock, which is given back meanwhile. kp__sleep_end: its sleep is over. With the lock. */
uint64_t kp__sleep_begin(struct kp__get *get, struct kp__sleeper *self, struct kp__todo *todo);
void kp__sleep_end(struct kp__sleeper *self);

#endif
