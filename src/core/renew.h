/* SPDX-License-Identifier: MIT
 *
 * Make before break: slots near the end of their age, and replacements for those that are needed
 * (renew.c).
 */
#ifndef KP__CORE_RENEW_H
#define KP__CORE_RENEW_H

#include "core/core.h"

/* A look at a slot's age. If the end that kp_rotate set has come, the slot is closed, or doomed if
 * it is not idle. If the end is near, it is to be replaced, or, if it is idle and not needed, is
 * closed now. What is closed joins the to-do's list. True: it is closed. */
bool kp__age(struct kp__core *core, struct kp__slot *slot, uint64_t now, struct kp__todo *todo);

/* The same for all slots of a key, the least recently used first. */
void kp__age_all(struct kp__core *core, struct kp__subpool *sub, uint64_t now,
                 struct kp__todo *todo);

/* Have the end of its age looked at in time. */
void kp__file_age(struct kp__core *core, struct kp__slot *slot);

/* Is there an ageing slot without a replacement, there or under way? */
static inline bool kp__renewal_wanted(const struct kp__subpool *sub)
{
    const struct kp__renewal *n = &sub->rare->renewal;

    return sub->rules->renew_ahead > 0 && n->making + n->spare < n->ageing;
}

/* A replacement for which there was a permit (kp__renew_permit, background.h) is there; or its
 * creation failed. */
void kp__replaced(struct kp__core *core, struct kp__slot *slot, struct kp__todo *todo);
void kp__renewal_failed(struct kp__core *core, struct kp__subpool *sub, uint64_t now);

/* An ageing one came back: is its replacement there, so that it may go? While the key has no more
 * than it may have, those who wait are served first. */
bool kp__ageing_may_go(const struct kp__subpool *sub);

/* An ageing slot is being closed, or was revoked. */
void kp__aged(struct kp__core *core, struct kp__slot *slot);

/* A slot was begun in an earlier epoch: it goes by `at` at the latest. */
void kp__retire(struct kp__core *core, struct kp__slot *slot, uint64_t at, uint64_t now);

/* A slot that was begun in this epoch has been made: it is retired if kp_rotate named it
 * meanwhile. */
void kp__retire_made(struct kp__core *core, struct kp__slot *slot, uint64_t epoch, uint64_t now);

/* Retire all that a key has now, spread evenly over the time until `by`, and what it has in the
 * making, which goes by then. Returns how many it has now. */
int64_t kp__retire_all(struct kp__core *core, struct kp__subpool *sub, uint64_t by, uint64_t now,
                       struct kp__todo *todo);

#endif
