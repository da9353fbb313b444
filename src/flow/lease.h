/* SPDX-License-Identifier: MIT
 *
 * Leases as they are looked up (release.c), for whoever ends one (release.c) or asks about one
 * (lease.c).
 *
 * A lease is three numbers: the pool's id and the slot's index; the generation, with marks; the
 * seat, or its cell, with the count of forks (core/lane.h). They are looked up and bounds-checked,
 * never followed, so that a stale, copied or garbage lease is found out for as long as the process
 * lives (L10), and in its children.
 */
#ifndef KP__FLOW_LEASE_H
#define KP__FLOW_LEASE_H

#include "flow/hit.h"

/* What a lease names. */
struct kp__held {
    /* from who looks it up */
    bool quiet;           /* if it is not held, that is fine: no misuse */
    enum kp__asked asked; /* of one that is to end: what came of asking (hit.h) */

    struct kp__pool *pool;
    struct kp__slot *slot;
    struct kp__seat *seat;
    uint32_t number; /* of the seat */
    bool over;       /* it is not held, but it was */
    bool stranded;   /* it was lent by a process that this one was forked from */
};

/* Enter the pool of a lease that is held. False, without the lock: it is not, which was told as
 * misuse (unless quiet). */
bool kp__lease_find(const kp_lease *lease, struct kp__held *h, struct kp__todo *todo);

/* The numbers of a lease that has begun (lease.c). With the lock. */
void kp__lease_write(const struct kp__pool *pool, const struct kp__slot *slot, uint32_t seat,
                     kp_lease *out);

/* Has it no numbers, as {0}, or what was made of a resource by hand? */
static inline bool kp__lease_is_bare(const kp_lease *lease)
{
    return !lease->opaque[0] && !lease->opaque[1] && !lease->opaque[2];
}

/* NULL, or {0}: there is none, and never was. */
static inline bool kp__lease_is_none(const kp_lease *lease)
{
    return !lease || (kp__lease_is_bare(lease) && !lease->resource);
}

/* Is its resource to be kept when it comes back? */
static inline bool kp__is_reused(const struct kp__held *h)
{
    return h->seat->decided ? h->seat->reuse : h->slot->sub->rules->reuse;
}

#endif
