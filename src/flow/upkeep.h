/* SPDX-License-Identifier: MIT
 *
 * Upkeep (keeper.c), and the threads that run it: the process's (life.c) and a pool's own (crew.c).
 */
#ifndef KP__FLOW_UPKEEP_H
#define KP__FLOW_UPKEEP_H

#include "core/calendar.h"
#include "flow/flow.h"

struct kp__job;

/* When something is first due: an entry of the calendar, a look at the descriptors, or the end of a
 * lane's term, unless another thread shuts the lanes (life.c). */
static inline uint64_t kp__first_due(const struct kp__pool *pool)
{
    const struct kp__core *core = &pool->core;
    uint64_t at = kp__due_next(core), end = core->shuts ? KP__NEVER : kp__terms_next(core);

    if (pool->watch_at < at) at = pool->watch_at;
    return at < end ? at : end;
}

/* Tell upkeep when it is next wanted, if that is sooner than it was told. With the lock. */
void kp__announce_now(struct kp__pool *pool);
static inline void kp__announce(struct kp__pool *pool)
{
    const struct kp__core *core = &pool->core;

    if (kp__first_due(pool) < pool->announced || (core->shuts && kp__terms_next(core) < pool->term))
        kp__announce_now(pool);
}

/* Step 10: forget a key, if that may be done now. With the lock, which is given back meanwhile. */
void kp__forget(struct kp__pool *pool, struct kp__subpool *sub, uint64_t now,
                struct kp__todo *todo);

/* Shut the lanes whose terms are over. It calls nothing of the user's. */
void kp__terms_end(kp_pool *door);

/* Is upkeep long overdue? Then say so, once: true. With the lock, which is given back meanwhile. */
bool kp__look_at_keeper(struct kp__pool *pool, uint64_t now, struct kp__todo *todo);

/* ---- threads of the process (life.c) --------------------------------------------------------- */

/* Tell the process's keeper, or the thread that shuts lanes, when a pool wants it next; KP__NEVER:
 * no more. Each is started with the first pool that wants it: 0, or KP_ENOMEM. */
void kp__life_upkeep(kp_pool *door, uint64_t due_ns, void *ctx);
void kp__life_terms(kp_pool *door, uint64_t due_ns);
int kp__life_keeper_start(void);
int kp__life_shutter_start(void);

int kp__thread_start(void *(*fn)(void *), void *arg); /* detached, named, all signals blocked */

/* ---- threads of a pool (crew.c) -------------------------------------------------------------- */

/* The pool's own threads (options.threads): start them, 0 or KP_ENOMEM; have them run a job; and
 * end them, with the pool. */
int kp__crew_open(struct kp__pool *pool, int64_t threads);
void kp__crew_post(struct kp__pool *pool, struct kp__job *job);
void kp__crew_end(struct kp__crew *crew); /* NULL is fine */

#endif
