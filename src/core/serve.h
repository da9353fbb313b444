/* SPDX-License-Identifier: MIT
 *
 * Claim (step 2) and settle: a request that comes is answered or queued, and whatever becomes free
 * goes to whoever is next, before the lock is given back (L1). serve.c finds out who is next, and
 * decide.c what that may have.
 */
#ifndef KP__CORE_SERVE_H
#define KP__CORE_SERVE_H

#include "core/core.h"

/* Decide about a request that has just come: it gets a grant or a no at once, or is queued. */
void kp__claim(struct kp__core *core, struct kp__request *request, uint64_t now,
               struct kp__todo *todo);

/* The request of a key that is next, or NULL: nobody waits for what comes. */
const struct kp__request *kp__head(const struct kp__subpool *sub);

/* Give whatever is free to whoever is next: in this key, then wherever a budget has something left.
 * The heart of L1 (I4, I5). */
void kp__settle(struct kp__core *core, struct kp__subpool *sub, uint64_t now,
                struct kp__todo *todo);

/* The same for what one budget has left. */
void kp__settle_budget(struct kp__core *core, struct kp__budget *budget, uint64_t now,
                       struct kp__todo *todo);

/* Slots were left to drain because another key was owed their room: if none is any more, share them
 * again. kp__settle does this, too. */
void kp__share_again(struct kp__core *core, uint64_t now, struct kp__todo *todo);

/* ---- invited, and offered -------------------------------------------------------------------- */

/* The owner of a waiting request takes a look: if the request was invited or offered something, and
 * that is still there, it is answered. */
void kp__heed(struct kp__core *core, struct kp__request *request, uint64_t now,
              struct kp__todo *todo);

/* KP_EVENTUAL: for a turn, the holders of resources may give them back and get them again before
 * the requests that wait. After it, as many resources as the key has go to those requests, in
 * order; then the next turn begins. */
#define KP__ROUND UINT64_C(12000000)       /* 12 ms: in so long, holders and waiters have a turn */
#define KP__PASSED_MOST UINT64_C(20000000) /* 20 ms: no request is overtaken for longer */
#define KP__LOOKS_AFTER UINT64_C(250000)   /* 250 us: a request that was offered one looks again */

/* Is what this request could have to be left to whoever is faster? Then it is only offered: its
 * owner is woken, once, to come for it. */
bool kp__is_left(struct kp__core *core, const struct kp__request *request, uint64_t now);
void kp__offer(struct kp__request *request, struct kp__todo *todo);

/* Were the first requests of all queues of a key offered something, and may all of them be
 * overtaken now? Then its lane may be open although they wait. */
bool kp__may_be_passed(const struct kp__subpool *sub, uint64_t now);

#endif
