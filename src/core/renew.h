/* SPDX-License-Identifier: MIT
 *
 * Make before break: the ends of ages, and the replacements of what is needed (renew.c, permit.c).
 */
#ifndef KP__CORE_RENEW_H
#define KP__CORE_RENEW_H

#include "core/core.h"

/* A look at a slot's age. Ended: it joins the to-do's list. Near its end: it is to be replaced, or,
 * if it is idle and not needed, goes now. True: it is closed. */
bool kp__age(struct kp__core *core, struct kp__slot *slot, uint64_t now, struct kp__todo *todo);

/* The same of all that a key has, the least recently used first. */
void kp__age_all(struct kp__core *core, struct kp__subpool *sub, uint64_t now,
                 struct kp__todo *todo);

/* Have that looked at in time. */
void kp__file_age(struct kp__core *core, struct kp__slot *slot);

/* Is there one to be replaced, and no replacement under way? */
static inline bool kp__renewal_wanted(const struct kp__subpool *sub)
{
    const struct kp__renewal *n = &sub->rare->renewal;

    return sub->rules->renew_ahead > 0 && n->making + n->spare < n->ageing;
}

/* The permit to create a replacement that is wanted, which is then under way until it is there
 * (kp__replaced, by kp__created) or failed. */
bool kp__renew_permit(struct kp__core *core, struct kp__subpool *sub, uint64_t now);
void kp__replaced(struct kp__core *core, struct kp__slot *slot, struct kp__todo *todo);
void kp__renewal_failed(struct kp__core *core, struct kp__subpool *sub, uint64_t now);

/* One that ages came back, and its replacement is there. While the key has no more than it may
 * have, who waits is served first. */
bool kp__has_spare(const struct kp__subpool *sub);

/* An ageing one closes. */
void kp__aged(struct kp__core *core, struct kp__slot *slot);

/* It was begun in an epoch before: it goes by `at` at the latest. */
void kp__retire(struct kp__core *core, struct kp__slot *slot, uint64_t at, uint64_t now);

/* All that a key has now, spread evenly until `by`, and what it has in the making by then. Returns
 * how many. */
int64_t kp__retire_all(struct kp__core *core, struct kp__subpool *sub, uint64_t by, uint64_t now,
                       struct kp__todo *todo);

#endif
