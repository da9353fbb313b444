/* SPDX-License-Identifier: MIT
 *
 * Budgets that change while in use (kp_budget_set, resize.c); and whether a key, or the pool, has
 * more resources by now than it may keep.
 */
#ifndef KP__CORE_RESIZE_H
#define KP__CORE_RESIZE_H

#include "core/core.h"

/* kp_budget in numbers: KP__UNBOUND where there is no limit. */
struct kp__allowance {
    int64_t live, lent, idle, creating, waiting, keys, group[KP__GROUPS];
    int64_t rate, burst;
    bool evicts, by_arrival;
};

/* Set the budgets. What is idle and too much joins the to-do's list; those who wait are served. */
void kp__budgets_set(struct kp__core *core, const struct kp__allowance *may, uint64_t now,
                     struct kp__todo *todo);

/* The groups of this key, which has just joined one of them: what is idle there and too much joins
 * the to-do's list, whichever keys have it. */
void kp__groups_trim(struct kp__core *core, const struct kp__subpool *sub, uint64_t now,
                     struct kp__todo *todo);

/* How many more stay in the pool than its budget allows, since that was lowered; 0 or less: none.
 * What is being destroyed does not stay, unless its place is promised. */
int64_t kp__surplus(const struct kp__core *core);

/* The same for the groups of a key, the larger of the two; or 0. */
int64_t kp__group_surplus(const struct kp__subpool *sub);

/* Are there too many by either? Asked before one of this key is kept. */
bool kp__exceeds(const struct kp__core *core, const struct kp__subpool *sub);

/* May one more of this key stay, by all of them? */
bool kp__may_stay(const struct kp__core *core, const struct kp__subpool *sub);

/* Has the key more live ones than it may? `reserve`: it may have those of its reserve, too. */
static inline bool kp__over_live(const struct kp__core *core, const struct kp__subpool *sub,
                                 bool reserve)
{
    int64_t most = sub->rules->max_live + (reserve ? sub->rules->reserve : 0);

    return (core->shrunk && kp__exceeds(core, sub)) || kp__sub_exceeds(sub, most);
}

/* Would it have more idle ones than it may, with so many more than it has now? */
static inline bool kp__over_idle(struct kp__core *core, const struct kp__subpool *sub,
                                 uint32_t more)
{
    return sub->leaving == KP__DROPPED ||
           (int64_t)sub->count[KP__IDLE] + more > sub->rules->max_idle ||
           !kp__may_idle(core, more);
}

/* Is one of its idle ones too many, whoever waits? */
static inline bool kp__is_surplus(struct kp__core *core, const struct kp__subpool *sub)
{
    return kp__over_live(core, sub, true) || kp__over_idle(core, sub, 0);
}

#endif
