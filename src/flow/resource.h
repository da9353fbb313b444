/* SPDX-License-Identifier: MIT
 *
 * Resources come and go: driver.create with a permit (create.c), or kp_add (add.c); driver.revoke
 * (revoke.c), driver.destroy (destroy.c). Each is called without the lock; then the books follow.
 */
#ifndef KP__FLOW_RESOURCE_H
#define KP__FLOW_RESOURCE_H

#include "flow/flow.h"

/* Spend a permit: create. With the lock, which is given back meanwhile. For `request` (or NULL: the
 * background) the outcome is in request->grant: SLOT, WAIT (pending: it is in the queue) or NO.
 * False: out of memory, nothing was begun. */
bool kp__create(struct kp__pool *pool, struct kp__subpool *sub, struct kp__request *request,
                uint64_t now);

/* The same for a replacement (core/renew.c), with the permit that kp__renew_permit gave. */
void kp__renew(struct kp__pool *pool, struct kp__subpool *sub, uint64_t now);

/* A slot for which a permit was spent has this resource now; `fd`: its descriptor, or -1. Then it
 * is brought in: it is lent to `request`, or goes to whoever is next, and on_event is told, for
 * which the lock is given back if anybody listens. Both with the lock. */
void kp__slot_fill(struct kp__pool *pool, struct kp__slot *slot, void *resource, int fd,
                   uint64_t now);
void kp__bring_in(struct kp__pool *pool, struct kp__slot *slot, struct kp__request *request,
                  uint64_t now, struct kp__todo *todo);

/* Have the driver take a resource back from its borrower, if that is due. With the lock, which is
 * given back meanwhile. */
void kp__revoke_due(struct kp__pool *pool, struct kp__slot *slot, uint64_t now,
                    struct kp__todo *todo);

/* The same for all that may be taken back, at the end of the pool. */
void kp__revoke_all(struct kp__pool *pool, struct kp__todo *todo);

/* Destroy the resource of a slot in CLOSING, and free the slot. Its place goes to `heir`, for which
 * it was evicted, and whose request is the caller's; NULL: to whoever is next. With the lock, which
 * is given back meanwhile. */
void kp__destroy_victim(struct kp__pool *pool, struct kp__slot *slot, struct kp__subpool *heir,
                        struct kp__todo *todo);
static inline void kp__destroy(struct kp__pool *pool, struct kp__slot *slot, struct kp__todo *todo)
{
    kp__destroy_victim(pool, slot, NULL, todo);
}

/* The same where nobody stands by. False: this thread is to stand by (kp__stands_by), or there is
 * nothing to run, or no memory for a job. */
bool kp__destroy_by_job(struct kp__pool *pool, struct kp__slot *slot, struct kp__todo *todo);

/* Destroy many, none of which was promised to anybody, at the end of the pool. Their places
 * are given away when all are gone, so nobody may be waiting for one. With the lock, given back
 * meanwhile. */
enum { KP__MANY = 64 };
void kp__destroy_many(struct kp__pool *pool, struct kp__slot *const *slots, uint32_t many,
                      struct kp__todo *todo);

#endif
