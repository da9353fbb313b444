/* SPDX-License-Identifier: MIT
 *
 * Coming in and going out (door.c): the doors of all pools, and the lock. And what a call needs in
 * between: room (room.c), and the time (time.c).
 *
 * THE LOCK. kp__enter takes it, kp__leave gives it back and does what the decisions left to do. In
 * between a call may step out (to run a driver function, to sleep) and in again; while it is
 * outside it counts in `inside`, and the pool is not freed. Nothing of the user's is called between
 * stepping in and stepping out (L3), except key equality and the functions of kp_world.
 */
#ifndef KP__FLOW_DOOR_H
#define KP__FLOW_DOOR_H

#include "core/todo.h"
#include "flow/flow.h"

/* A new pool gets a door: 0, or KP_ENOMEM. */
int kp__door_open(struct kp__pool *pool, const struct kp__world *world);

bool kp__is_door(const void *maybe);         /* looked up, not followed */
struct kp_pool *kp__door_of(uint32_t id);    /* 1, 2, 3, ...; NULL: there has never been one */

/* The same of the pool that a lease names. */
static inline struct kp_pool *kp__lease_door(const kp_lease *lease)
{
    return kp__door_of((uint32_t)(lease->opaque[0] >> 32));
}

/* Take the lock of an open or closing pool, and begin a to-do. NULL: that cannot be, and why in
 * *code (KP_EMISUSE, KP_EFORKED, KP_ECLOSED; KP_ENOMEM in a child). */
struct kp__pool *kp__enter(kp_pool *door, struct kp__todo *todo, int *code);

/* Give the lock back, and do what is in the to-do: wake, destroy, free failures that are no longer
 * needed; the last one out frees a closed pool. */
void kp__leave(struct kp__pool *pool, struct kp__todo *todo);

/* Give the lock back to run a function of the user's, or to sleep; and take it again
 * (kp__step_in). Of the to-do, kp__step_out does all; kp__step_aside leaves in it what is to be
 * destroyed, for later; kp__slip_out does nothing. */
void kp__step_out(struct kp__pool *pool, struct kp__todo *todo);
void kp__step_aside(struct kp__pool *pool, struct kp__todo *todo);
void kp__slip_out(struct kp__pool *pool);
void kp__step_in(struct kp__pool *pool);

/* Take the lock for the answer of a job, and begin a to-do. The pool cannot be gone: the slot that
 * the job is about keeps it. */
void kp__come_in(struct kp__pool *pool, struct kp__todo *todo);

/* Do what is to be done, with the lock before and after; it is given back meanwhile. False: there
 * was nothing. */
static inline bool kp__do(struct kp__pool *pool, struct kp__todo *todo)
{
    if (kp__todo_is_empty(todo)) return false;
    kp__step_out(pool, todo);
    kp__step_in(pool);
    return true;
}

/* Something has changed that a call may wait for (a resource was made, went or came back; limits,
 * the phase of the pool): wake the calls that park on `news`. With the lock. */
void kp__wake_for_news(struct kp__pool *pool, struct kp__todo *todo);
static inline void kp__tell_news(struct kp__pool *pool, struct kp__todo *todo)
{
    if (pool->awaiting > 0) kp__wake_for_news(pool, todo);
}

/* Park on `news` until it changes or `until` comes. With the lock, given back meanwhile. */
void kp__await_news(struct kp__pool *pool, struct kp__todo *todo, uint64_t until);

/* ---- memory (room.c) ------------------------------------------------------------------------- */

/* Memory for one more of everything that a new resource or key needs, allocated without the lock.
 * False: out of memory. With the lock, which may be given back meanwhile. */
bool kp__make_room(struct kp__pool *pool);

/* A slot for one more resource of this key, with as many seats as its rules say. NULL: out of
 * memory. With the lock, given back meanwhile. */
struct kp__slot *kp__slot_make(struct kp__pool *pool, struct kp__subpool *sub);

/* ---- time (time.c) --------------------------------------------------------------------------- */

uint64_t kp__after(uint64_t now, int64_t ms);  /* KP_OFF: KP__NEVER, KP_NONE: now */
uint64_t kp__end_of(uint64_t now, int64_t ms); /* the same, where 0 says the default: 30 s */
int64_t kp__ms_up(uint64_t ns);                /* rounded up */
static inline bool kp__is_finite(int64_t ms)   /* is it a time that ends, or 0? */
{
    return ms >= 0 || ms == KP_NONE;
}
static inline int64_t kp__ms_since(uint64_t then, uint64_t now) /* 0 if `then` is 0 */
{
    return then && now > then ? (int64_t)((now - then) / 1000000) : 0;
}

/* ---- the last one out (close.c) -------------------------------------------------------------- */

/* Is nothing and nobody left in it? With the lock. If so, and if it is closed, it is to be freed,
 * without the lock: nobody can come in any more. */
bool kp__is_empty(const struct kp__pool *pool);
void kp__teardown(struct kp__pool *pool);

#endif
