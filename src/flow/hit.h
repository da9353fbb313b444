/* SPDX-License-Identifier: MIT
 *
 * The hit path: a get that finds an idle resource, and the release that nobody waits for, on a key
 * whose lane is open (core/lane.h). No lock, no allocation, no clock, no system call (L9). What is
 * not so simple goes the whole way, which tells the story; this one is a short cut through it.
 */
#ifndef KP__FLOW_HIT_H
#define KP__FLOW_HIT_H

#include "flow/flow.h"

/* The last number of a lease: the count of forks, marks, and its cell or its seat. */
#define KP__LEASE_LIVE (UINT64_C(1) << 32)
#define KP__LEASE_ENDED (UINT64_C(1) << 33)
#define KP__LEASE_CELL (UINT64_C(1) << 34) /* it has seat 0 of a slot with this cell */
#define KP__LEASE_FORKS_AT 35
#define KP__LEASE_FORKS (UINT64_C(0xffffffff) >> (KP__LEASE_FORKS_AT - 32))

static inline uint64_t kp__lease_marks(uint32_t forks)
{
    return ((uint64_t)forks & KP__LEASE_FORKS) << KP__LEASE_FORKS_AT | KP__LEASE_LIVE;
}

/* The whole story (get.c, release.c). */
int kp__get(kp_pool *door, kp_key key, const kp_ask *ask, const void *site, kp_lease *out);
void kp__release(kp_lease *lease);

/* Give back what was claimed by mistake, as if it had never been lent (release.c). */
void kp__unlend(kp_lease *lease);

#endif
