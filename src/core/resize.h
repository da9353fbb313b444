/* SPDX-License-Identifier: MIT
 *
 * Budgets that change while in use (kp_budget_set, resize.c).
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

/* Set the budgets. What is surplus (over.h) joins the to-do's list; those who wait are served. */
void kp__budgets_set(struct kp__core *core, const struct kp__allowance *may, uint64_t now,
                     struct kp__todo *todo);

/* The groups of this key, which has just joined one of them: what is surplus there joins the
 * to-do's list, whichever keys have it. */
void kp__groups_trim(struct kp__core *core, const struct kp__subpool *sub, uint64_t now,
                     struct kp__todo *todo);

#endif
