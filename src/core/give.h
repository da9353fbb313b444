/* SPDX-License-Identifier: MIT
 *
 * The way back (give.c): leases that end, resources that go. Each changes the books and then
 * settles (serve.h), so that what became free goes to whoever is next.
 */
#ifndef KP__CORE_GIVE_H
#define KP__CORE_GIVE_H

#include "core/core.h"

/* ---- leases ---------------------------------------------------------------------------------- */

/* A lease ends: its resource serves whoever is next, becomes idle, or joins the to-do's list of
 * those to destroy. `bad`: why the resource is not to be kept, as far as is known (KP_CAUSE_NONE:
 * nothing is); kp__end_cause may find another reason. */
void kp__give(struct kp__core *core, struct kp__slot *slot, uint32_t seat, kp_cause bad,
              uint64_t now, struct kp__todo *todo);

/* The same for a lease that its borrower never heard of: the resource counts as idle since before
 * it was taken, and is in as much doubt as it was then. */
void kp__give_unused(struct kp__core *core, struct kp__slot *slot, uint32_t seat, uint64_t now,
                     struct kp__todo *todo);

/* A check that nobody stood by has ended. If the resource is good (KP_CAUSE_NONE) and the sponsor
 * still waits, the sponsor gets the lease; else the lease ends, and if it is bad, the resource. */
void kp__checked(struct kp__core *core, struct kp__slot *slot, uint32_t seat, kp_cause bad,
                 uint64_t now, struct kp__todo *todo);

/* It will not be lent again, whatever a reset or a check says of it. */
bool kp__is_going(const struct kp__core *core, const struct kp__slot *slot);

/* Why a resource that came back, or was tested, may not stay: because it is bad (as in kp__give),
 * or by any rule; KP_CAUSE_NONE: it may. */
kp_cause kp__end_cause(struct kp__core *core, const struct kp__slot *slot, kp_cause bad,
                       uint64_t now);

/* After settling: if the key has too many idle ones, close this one, which was kept only for a
 * request that did not take it, or the oldest, which it pushes out. */
void kp__drop_surplus(struct kp__core *core, struct kp__slot *slot, struct kp__todo *todo);

/* One of this key is to be destroyed, which may take long, and its requests need not wait until it
 * is: with limits.fail_fast they wait only for what may come back; and if what is left is no more
 * than the key is to keep, one that was left to drain (decide.c) is owed to nobody any more. */
void kp__stays_no_more(struct kp__core *core, struct kp__subpool *sub, uint64_t now,
                       struct kp__todo *todo);

/* ---- resources that go ----------------------------------------------------------------------- */

/* Never lend it again: an idle one closes now, a lent one when it comes back. False: it was doomed
 * already, or is only being made, or on its way out. */
bool kp__doom(struct kp__core *core, struct kp__slot *slot, kp_cause cause,
              struct kp__todo *todo);

/* Close a slot: it joins the to-do's list. The first is for any, the second for an idle one. */
void kp__close_slot(struct kp__core *core, struct kp__slot *slot, kp_cause cause,
                    struct kp__todo *todo);
void kp__close_idle(struct kp__core *core, struct kp__slot *slot, kp_cause cause,
                    struct kp__todo *todo);

/* Close idle slots of a key that has some, `most` at most, the latest first. Returns how many; they
 * are in `slots`, for the caller to destroy. */
uint32_t kp__close_many(struct kp__core *core, struct kp__subpool *sub, kp_cause cause,
                        struct kp__slot **slots, uint32_t most);

/* A slot in CLOSING has been destroyed: its room goes to whoever is next. */
void kp__gone(struct kp__core *core, struct kp__slot *slot, uint64_t now, struct kp__todo *todo);

/* The same for many, none of which was promised to anybody. */
void kp__gone_many(struct kp__core *core, struct kp__slot *const *slots, uint32_t many,
                   uint64_t now, struct kp__todo *todo);

/* A victim has been destroyed: its place is now a permit of `sub`, for which it was evicted. The
 * first function leaves the permit with the caller. The second, where nobody stood by, answers
 * the sponsor with it; if there is none (kp__waive), the place goes to whoever is next. */
void kp__victim_gone(struct kp__core *core, struct kp__subpool *sub, struct kp__slot *victim,
                     uint64_t now, struct kp__todo *todo);
void kp__victim_gone_late(struct kp__core *core, struct kp__slot *victim, uint64_t now,
                          struct kp__todo *todo);

#endif
