/* SPDX-License-Identifier: MIT
 *
 * For tests of core/revoke.c: a lease that its borrower has been told of, its revoking, and its
 * end.
 */
#ifndef KP_TESTS_CORE_REVOKES_H
#define KP_TESTS_CORE_REVOKES_H

#include "core_lanes.h"

/* A lent one whose borrower has been told of it. */
static inline struct kp__slot *held(struct stage *s, struct kp__subpool *sub)
{
    struct kp__slot *slot = stage_lend(s, sub);

    for (uint32_t i = 0; i < slot->errand->seats; i++)
        kp__seat_at(slot, i)->hold = KP__HELD;
    return slot;
}

static inline const struct kp__seat *revoke(struct stage *s, struct kp__slot *slot, bool done)
{
    kp__revoke_begin(&s->core, slot);
    const struct kp__seat *out = kp__revoke_end(&s->core, slot, done, s->now, &s->todo);

    stage_check(s);
    return out;
}

static inline void end(struct stage *s, struct kp__slot *slot, uint32_t seat, kp_cause cause)
{
    assert_true(kp__is_revoked(slot, kp__seat_at(slot, seat)));
    kp__give_revoked(&s->core, slot, seat, cause, &s->todo);
}

#endif
