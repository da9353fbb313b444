/* SPDX-License-Identifier: MIT
 *
 * Over a limit: do more resources stay than it allows? A key can have more than its limits because
 * they were lowered, because it joined a group, or for a while, where a replacement or the reserve
 * is allowed beyond max_live. An idle resource of a key that is over a limit is *surplus*, and is
 * closed (KP_CAUSE_SURPLUS); what is in use is, when it comes back (give.c).
 *
 * What is being destroyed does not stay, unless its place is promised. `more`: as if so many more
 * were there. While more stay than budget.max_live allows, nothing is idle (I3).
 */
#ifndef KP__CORE_OVER_H
#define KP__CORE_OVER_H

#include "core/core.h"

/* ---- limits over keys ------------------------------------------------------------------------ */

/* budget.max_live */
static inline bool kp__over_pool(const struct kp__core *core, int64_t more)
{
    return core->live.used - core->count[KP__CLOSING] + core->promised + more > core->live.cap;
}

static inline bool kp__over_group(const struct kp__budget *group, int64_t more)
{
    return group->used - group->closing + more > group->cap;
}

/* Any group of the key. */
static inline bool kp__over_groups(const struct kp__subpool *sub, int64_t more)
{
    for (int g = 0; g < KP__GROUPS; g++) {
        const struct kp__budget *budget = kp__group_budget(sub, g);
        if (budget && kp__over_group(budget, more)) return true;
    }
    return false;
}

/* Any of these that the key counts in. */
static inline bool kp__over_budgets(const struct kp__core *core, const struct kp__subpool *sub,
                                    int64_t more)
{
    return kp__over_groups(sub, more) || kp__over_pool(core, more);
}

/* ---- limits of a key, and all of them -------------------------------------------------------- */

/* `most`: max_live, or more; replacements do not count. Their number lies apart, so it is read
 * last. */
static inline bool kp__over_key(const struct kp__subpool *sub, int64_t most)
{
    int64_t over = kp__sub_staying(sub) - most;

    return over > 0 && over > kp__sub_extra(sub);
}

/* That, or any of its budgets. */
static inline bool kp__over_live(const struct kp__core *core, const struct kp__subpool *sub,
                                 int64_t most)
{
    return (core->shrunk && kp__over_budgets(core, sub, 0)) || kp__over_key(sub, most);
}

/* max_idle, its own or of all keys; a key that was dropped may have nothing idle. */
static inline bool kp__over_idle(struct kp__core *core, const struct kp__subpool *sub,
                                 uint32_t more)
{
    return sub->leaving == KP__DROPPED ||
           (int64_t)sub->count[KP__IDLE] + more > sub->rules->max_idle ||
           !kp__may_idle(core, more);
}

/* Is one of its idle ones surplus, whoever waits? */
static inline bool kp__has_surplus(struct kp__core *core, const struct kp__subpool *sub)
{
    return kp__over_live(core, sub, sub->rules->max_live + sub->rules->reserve) ||
           kp__over_idle(core, sub, 0);
}

#endif
