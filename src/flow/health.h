/* SPDX-License-Identifier: MIT
 *
 * The health of what is idle: doubts after a peer was gone, tests by the keeper, and descriptors
 * that are watched.
 */
#ifndef KP__FLOW_HEALTH_H
#define KP__FLOW_HEALTH_H

#include "flow/flow.h"

/* ---- doubts (doubt.c) ------------------------------------------------------------------------ */

/* Have an idle one tested (false: there is no memory for it now). With the lock, given back
 * meanwhile. */
bool kp__test(struct kp__pool *pool, struct kp__slot *slot, struct kp__todo *todo);

/* Have the keeper test what of this key is in doubt. And: the peer of this one, which is lent or
 * tested, is gone. With the lock, which is given back meanwhile. */
void kp__test_doubts(struct kp__pool *pool, struct kp__subpool *sub, struct kp__todo *todo);
void kp__say_gone(struct kp__pool *pool, struct kp__slot *slot, struct kp__todo *todo);

/* ---- descriptors (watch.c) ------------------------------------------------------------------- */

/* The descriptor of a new resource, or -1; without the lock. Then, with it: watch that, before
 * anybody has the resource, and no more, before it is destroyed. */
int kp__watch_fd(const struct kp__pool *pool, void *resource);
static inline int kp__watch_ask(const struct kp__pool *pool, void *resource)
{
    return pool->watch < 0 ? -1 : kp__watch_fd(pool, resource);
}
void kp__watch_begin(struct kp__pool *pool, struct kp__slot *slot, int fd, uint64_t now);
void kp__watch_end(struct kp__pool *pool, struct kp__slot *slot);

/* Upkeep's look, if it is time. With the lock, which is given back meanwhile. */
void kp__watch_keep(struct kp__pool *pool, uint64_t now, struct kp__todo *todo);

#endif
