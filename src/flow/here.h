/* SPDX-License-Identifier: MIT
 *
 * What the library remembers of the thread that calls it, and the attributes by which the hit path
 * is compiled.
 */
#ifndef KP__FLOW_HERE_H
#define KP__FLOW_HERE_H

#include "base/world.h"
#include "keyedpool.h"

#if defined(__GNUC__)
#define KP__APART __attribute__((noinline)) /* so that its caller needs no stack frame */
#define KP__PART inline __attribute__((always_inline)) /* of a short way without calls */
#define KP__ALIGNED __attribute__((aligned(64))) /* else the hit path is up to 5 % slower */
#define KP__SITE __builtin_return_address(0)
#else
#define KP__APART
#define KP__PART inline
#define KP__ALIGNED
#define KP__SITE NULL
#endif

struct kp__lane;
struct kp__cell;

struct kp__here {
    uint32_t thread;   /* its number; 0: not needed so far */
    uint32_t cell;     /* the place in a lane where it last found an idle one (hit.c) */
    uint32_t loops;    /* how many event loops are its own */
    kp_loop *loop;     /* the one it used last */
    kp_loop *stepping; /* whose request it steps: driver functions are posted there; or NULL */

    /* its last hit by a pinned key (hit.c) */
    const kp_pool *door;
    kp_key key;         /* of size 0, which no pin has: there was none */
    const struct kp__lane *lane;
    struct kp__cell *found;
    uint64_t lease;     /* the last number of the leases of `found` */
    bool claimed_wrong; /* it has just claimed a wrong cell, and goes the long way */

    uint32_t answering; /* how many calls of kp_job_done it is in */
    uint32_t id;        /* the system's; 0: not needed so far */
};
extern KP__INSIDE _Thread_local struct kp__here kp__here KP__TLS;

uint32_t kp__number_thread(void);
static inline uint32_t kp__thread_number(void)
{
    return kp__here.thread ? kp__here.thread : kp__number_thread();
}

uint32_t kp__find_thread_id(void);
static inline uint32_t kp__thread_id(void)
{
    return kp__here.id ? kp__here.id : kp__find_thread_id();
}

/* In a child of fork nothing that was remembered holds any more. */
void kp__here_in_child(void);

#endif
