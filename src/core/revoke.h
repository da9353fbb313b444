/* SPDX-License-Identifier: MIT
 *
 * Leases that are taken back by driver.revoke: which may be, and what that changes. In revoke.c.
 */
#ifndef KP__CORE_REVOKE_H
#define KP__CORE_REVOKE_H

#include "core/core.h"

/* May it be revoked at all? It must be lent, and no driver function be under way for it; its
 * borrowers must know that they have it, and not be giving it back; and driver.revoke must not have
 * been called for it before. */
bool kp__may_revoke(const struct kp__slot *slot);

/* If it may, is it due? Its borrower must have had it for revoke_after (a shared one is never due),
 * and of those that were revoked, fewer must be out still than may be live. */
bool kp__revoke_is_due(const struct kp__core *core, const struct kp__slot *slot, uint64_t now);

/* driver.revoke begins. A borrower that ends its lease meanwhile only marks it as ended: the rest
 * is done when driver.revoke has answered. */
void kp__revoke_begin(struct kp__core *core, struct kp__slot *slot);

/* driver.revoke has answered. If a borrower ended its lease meanwhile, the resource will be
 * destroyed. If `done`, the other borrowers have lost their leases, and the room goes to whoever is
 * next. Returns the seat of one of these others, or NULL: there are none. */
const struct kp__seat *kp__revoke_end(struct kp__core *core, struct kp__slot *slot, bool done,
                                      uint64_t now, struct kp__todo *todo);

/* Is this lease being revoked, or was it? Then it ends by kp__give_revoked. */
static inline bool kp__is_revoked(const struct kp__slot *slot, const struct kp__seat *seat)
{
    return slot->state == KP__REVOKED || seat->hold == KP__REVOKING;
}
void kp__give_revoked(struct kp__core *core, struct kp__slot *slot, uint32_t seat,
                      kp_cause cause, struct kp__todo *todo);

/* A slot in RECLAIMED has been destroyed. Nobody is served: its room was given away before. */
void kp__reclaimed(struct kp__core *core, struct kp__slot *slot);

#endif
