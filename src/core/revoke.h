/* SPDX-License-Identifier: MIT
 *
 * Leases that are taken back by driver.revoke: which may be, and what it changes. In revoke.c.
 */
#ifndef KP__CORE_REVOKE_H
#define KP__CORE_REVOKE_H

#include "core/core.h"

/* May it be revoked at all: is each of its leases known to its borrower, and still his? And is it
 * due by its age? Then no more of them are out than may be live. */
bool kp__may_revoke(const struct kp__slot *slot);
bool kp__revoke_is_due(const struct kp__core *core, const struct kp__slot *slot, uint64_t now);

/* driver.revoke begins: whoever ends a lease of it meanwhile leaves the rest to its answer. */
void kp__revoke_begin(struct kp__core *core, struct kp__slot *slot);

/* Its answer. Those who ended their leases meanwhile have it destroyed; the others have it no more,
 * if it is done, and its room is for whoever is next. Returns one of these, or NULL: there are
 * none. */
const struct kp__seat *kp__revoke_end(struct kp__core *core, struct kp__slot *slot, bool done,
                                      uint64_t now, struct kp__todo *todo);

/* Is this lease being revoked, or was it? Then that is how it ends. */
static inline bool kp__is_revoked(const struct kp__slot *slot, const struct kp__seat *seat)
{
    return slot->state == KP__REVOKED || seat->hold == KP__REVOKING;
}
void kp__give_revoked(struct kp__core *core, struct kp__slot *slot, uint32_t seat,
                      kp_cause cause, struct kp__todo *todo);

/* A slot in RECLAIMED has been destroyed. Nobody waits for its room, which was given away. */
void kp__reclaimed(struct kp__core *core, struct kp__slot *slot);

#endif
