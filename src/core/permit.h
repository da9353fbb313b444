/* SPDX-License-Identifier: MIT
 *
 * Permits: the right to make or lend one more (permit.c). Each is taken, or promised until a victim
 * is gone, and then spent into a slot or refunded (L2, I3).
 */
#ifndef KP__CORE_PERMIT_H
#define KP__CORE_PERMIT_H

#include "base/check.h"
#include "core/core.h"

void kp__permit_take(struct kp__core *core, struct kp__subpool *sub);
void kp__permit_refund(struct kp__core *core, struct kp__subpool *sub); /* settle afterwards */

/* The token of budget.create_rate, if there is such a rate, that a creation of this key costs; and
 * back, if that never got to the driver: after the permit. */
void kp__pace(struct kp__core *core, struct kp__subpool *sub, uint64_t now);
void kp__pace_undo(struct kp__core *core, struct kp__subpool *sub);

/* Spend a permit into a slot, which is creating from now on. */
void kp__permit_spend(struct kp__subpool *sub, struct kp__slot *slot);

/* A key is about to be handed a permit with this measure: account for what it held until now. */
static inline void kp__about_to_be_served(struct kp__core *core, struct kp__subpool *sub,
                                          enum kp__measure measure)
{
    kp__account(core, sub);
    if (core->starved) kp__served(core, sub, measure);
}

static inline void kp__lent_take(struct kp__core *core, struct kp__subpool *sub)
{
    kp__about_to_be_served(core, sub, KP__LEASED);
    sub->lent_permits++;
    core->lent.used++;
    kp__rank_anew(core, sub);
}

/* Settle afterwards. */
static inline void kp__lent_refund(struct kp__core *core, struct kp__subpool *sub)
{
    KP__DCHECK(sub->lent_permits > 0);
    kp__account(core, sub);
    if (core->starved) {
        kp__usual_learn(core, KP__LEASED);
        kp__usual_learn(core, KP__IN_USE);
    }
    sub->lent_permits--;
    core->lent.used--;
    kp__rank_anew(core, sub);
}

/* Refund the lent permit of a request, if it holds one. Settle afterwards. */
void kp__lent_drop(struct kp__core *core, struct kp__request *request);

/* ---- promised -------------------------------------------------------------------------------- */

/* Promise a permit whose room comes from a victim that is yet to be destroyed. What it needs of
 * budget.max_creating and of the heir's groups is taken at once; the room in budget.max_live is the
 * victim's until its end, and so is that in a group that both are in. */
void kp__promise(struct kp__core *core, struct kp__subpool *sub, struct kp__slot *victim);

/* The victim is gone, or its place is no longer needed. The caller then takes the permit, or
 * settles. */
void kp__promise_end(struct kp__core *core, struct kp__slot *victim);

/* The first of two victims is gone: what its end freed stays taken, and the other is to free the
 * rest. */
void kp__promise_pass(struct kp__core *core, struct kp__slot *victim);

/* The key is about to leave its groups (-1), or has joined others (1): count there what is promised
 * to it, and what is promised to others with its victims. */
void kp__promises_count(struct kp__core *core, const struct kp__subpool *sub, int one);

/* The request that was to have the permit goes without it, so the promise ends. The victim goes all
 * the same, and until it is gone it is *waived*: a request of its heir that would evict takes it
 * over instead (decide_create.c), so that requests which give up early do not evict one each.
 * Settle afterwards. */
void kp__waive(struct kp__core *core, struct kp__subpool *sub, struct kp__slot *victim,
               uint64_t now, struct kp__todo *todo);

#endif
