/* SPDX-License-Identifier: MIT
 *
 * Are the peers of resources still there? Doubts after one was gone, tests by the keeper, and
 * descriptors that are watched.
 */
#ifndef KP__FLOW_PEERS_H
#define KP__FLOW_PEERS_H

#include "flow/flow.h"

/* ---- doubts (doubt.c) ------------------------------------------------------------------------ */

/* Have an idle one tested (false: there is no memory for it now). With the lock, given back
 * meanwhile. */
bool kp__test(struct kp__pool *pool, struct kp__slot *slot, struct kp__todo *todo);

/* kp__test_doubts: the keeper tests those of this key that are in doubt. kp__doubt_others: the peer
 * of this one, which is lent or being tested, is gone. With the lock, given back meanwhile. */
void kp__test_doubts(struct kp__pool *pool, struct kp__subpool *sub, struct kp__todo *todo);
void kp__doubt_others(struct kp__pool *pool, struct kp__slot *slot, struct kp__todo *todo);

/* ---- descriptors (watch.c) ------------------------------------------------------------------- */

/* kp__watch_ask: the descriptor of a new resource, or -1. Without the lock. kp__watch_begin: watch
 * it, from before anybody has the resource; kp__watch_end: what is seen of it is old news, before
 * the resource is destroyed. Both with the lock. */
int kp__watch_fd(const struct kp__pool *pool, void *resource);
static inline int kp__watch_ask(const struct kp__pool *pool, void *resource)
{
    return pool->watch < 0 ? -1 : kp__watch_fd(pool, resource);
}
void kp__watch_begin(struct kp__pool *pool, struct kp__slot *slot, int fd, uint64_t now);
static inline void kp__watch_end(struct kp__slot *slot)
{
    slot->watched = false;
}

/* Upkeep's look, if it is time. With the lock, which is given back meanwhile. */
void kp__watch_keep(struct kp__pool *pool, uint64_t now, struct kp__todo *todo);

#endif
