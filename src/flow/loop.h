/* SPDX-License-Identifier: MIT
 *
 * Event loops: what pools and jobs ask of them (loop.c), and the inside of one, for loop.c (the
 * mailbox) and start.c (its requests).
 */
#ifndef KP__FLOW_LOOP_H
#define KP__FLOW_LOOP_H

#include <stdatomic.h>

#include "base/mail.h"
#include "flow/flow.h"

struct kp__job;

bool kp__loop_is_mine(const kp_loop *loop);
bool kp__may_block(const struct kp__pool *pool); /* not on the thread of the pool's own loop */

/* kp__loop_join: the loop that a pool names begins to serve it; KP_ECONFIG: it cannot.
 * kp__loop_part: it ends to serve it. kp__loop_post: have the loop's thread run a job. */
int kp__loop_join(kp_loop *loop, struct kp__pool *pool);
void kp__loop_part(kp_loop *loop);
void kp__loop_post(kp_loop *loop, struct kp__job *job);

/* ---- the inside ------------------------------------------------------------------------------ */

enum { KP__REQUESTS, KP__JOBS }; /* trays */

struct kp_loop {
    struct kp__mailbox box; /* first, for core/request.c. Its alarms are those of its requests */
    _Atomic uint32_t owner; /* the thread's number; 0: nobody's yet */
    uint32_t forks;         /* constant while open: kp__forks when it was opened */
    bool dispatching, closing; /* its thread's */
    uint32_t starting;      /* its thread's: calls of kp_get_start under way */
    struct kp__request *stepping; /* its thread's. The request that is being looked at; NULL: none,
                                     or it was cancelled meanwhile */
    struct kp__heap doors;  /* Guard: box.lock. Pools with something due, by upkeep.at */
    uint32_t pools;         /* Guard: box.lock. Those that name it */
    uint64_t (*now_ns)(void *ctx); /* Guard: box.lock. The one clock of its pools; NULL: none yet */
    void *clock;
    const struct kp__world *known; /* its thread's. A world that was found to have this clock */
    kp_loop *next;          /* constant: all loops ever made */
};

/* Enter as the loop's thread; the first thread to do so becomes it. False: another one is. */
bool kp__loop_own(kp_loop *loop);
bool kp__loop_is_inherited(const kp_loop *loop); /* the parent's, in a child of fork */

/* A loop has one clock, that of its first pool: is it that of this world? Asked by its thread. */
bool kp__loop_keeps_time(kp_loop *loop, const struct kp__world *world);

/* Go on with a request: its answer came (`told`), or the time to look again. It may be gone
 * afterwards. The user's done runs in here: cancellation is held. */
void kp__request_step(kp_loop *loop, struct kp__request *r, bool told);
kp_request *kp__request_of(struct kp__request *r);

#endif
