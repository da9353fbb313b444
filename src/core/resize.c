/* SPDX-License-Identifier: MIT
 *
 * The budget changes while in use (kp_budget_set): idle slots that are surplus are closed, those
 * who wait are served, and the indexes over keys are brought up to date. In one step, so that
 * nobody sees half of it; it looks at each key.
 */
#include "base/check.h"
#include "core/background.h"
#include "core/calendar.h"
#include "core/give.h"
#include "core/over.h"
#include "core/resize.h"
#include "core/serve.h"
#include "core/table.h"

/* ---- surplus goes ---------------------------------------------------------------------------- */

/* Rank the idle ones of all keys anew. */
static void rank_all(struct kp__core *core, enum kp__evictable which)
{
    core->evictable = which;
    for (struct kp__subpool *sub = NULL; (sub = kp__next_sub(core, sub)) != NULL;)
        kp__evictable_file(core, sub);
}

/* As usual a pool without a limit keeps no rank of its own: so first all are taken out. */
static void rank_as_usual(struct kp__core *core)
{
    if (core->live.cap == KP__UNBOUND) rank_all(core, KP__EVICT_NONE);
    rank_all(core, KP__EVICT_USUAL);
}

/* Close the least worthy idle slot that this budget counts; false: there is none. */
static bool close_one(struct kp__core *core, struct kp__budget *budget, struct kp__todo *todo)
{
    struct kp__slot *slot = kp__evict_pick(core, budget);

    if (!slot) return false;
    kp__close_idle(core, slot, KP_CAUSE_SURPLUS, todo);
    kp__evictable_file(core, slot->sub);
    return true;
}

static void trim_group(struct kp__core *core, struct kp__budget *group, struct kp__todo *todo)
{
    while (kp__over_group(group, 0) && close_one(core, group, todo)) continue;
}

/* Is anything surplus? Else nobody needs to be ranked, which takes long with many keys. */
static bool any_surplus(const struct kp__core *core)
{
    const struct kp__group *group = NULL;

    if (core->count[KP__IDLE] == 0) return false;
    if (kp__over_pool(core, 0) || (int64_t)core->count[KP__IDLE] > core->max_idle) return true;
    while ((group = kp__next_group(core, group)) != NULL)
        if (kp__over_group(&group->budget, 0)) return true;
    return false;
}

/* What is closed in which pass: slots above what their keys are to keep; then any. */
enum { PASSES = 2 };
static const enum kp__evictable closed_in[PASSES] = { KP__EVICT_ABOVE, KP__EVICT_ANY };

/* Close what is surplus. */
static void trim(struct kp__core *core, struct kp__todo *todo)
{
    for (int pass = 0; pass < PASSES && any_surplus(core); pass++) {
        struct kp__group *group = NULL;
        rank_all(core, closed_in[pass]);
        while ((group = kp__next_group(core, group)) != NULL)
            trim_group(core, &group->budget, todo);
        while (kp__over_pool(core, 0) && close_one(core, &core->live, todo)) continue;
        while ((int64_t)core->count[KP__IDLE] > core->max_idle &&
               close_one(core, &core->live, todo))
            continue;
    }
}

void kp__groups_trim(struct kp__core *core, const struct kp__subpool *sub, uint64_t now,
                     struct kp__todo *todo)
{
    if (!kp__over_groups(sub, 0)) return;
    kp__lane_shut_all(core, now);
    for (int pass = 0; pass < PASSES && kp__over_groups(sub, 0); pass++) {
        rank_all(core, closed_in[pass]);
        for (int g = 0; g < KP__GROUPS; g++)
            if (kp__group_budget(sub, g)) trim_group(core, kp__group_budget(sub, g), todo);
    }
    rank_as_usual(core);
}

/* ---- the numbers ----------------------------------------------------------------------------- */

static void set_cap(struct kp__core *core, struct kp__budget *budget, int64_t cap)
{
    if (cap < budget->cap) core->shrunk = true;
    budget->cap = cap;
    budget->peak = budget->used;
}

static void set_numbers(struct kp__core *core, const struct kp__allowance *may)
{
    struct kp__group *group = NULL;

    set_cap(core, &core->live, may->live);
    set_cap(core, &core->lent, may->lent);
    set_cap(core, &core->creating, may->creating);
    for (int g = 0; g < KP__GROUPS; g++) core->group_max_live[g] = may->group[g];
    while ((group = kp__next_group(core, group)) != NULL)
        if (group->budget.place != KP__BOTH_GROUPS)
            set_cap(core, &group->budget, may->group[group->budget.place - KP__GROUP_0]);
    core->max_idle = may->idle;
    core->max_waiting = may->waiting;
    core->max_keys = may->keys;
    core->evicts = may->evicts;
    kp__rate_set(&core->rate, may->rate, may->burst, core->latest);
}

/* ---- who waits ------------------------------------------------------------------------------- */

/* The order across keys may have changed: then what keys had before is forgotten, and each starved
 * key is filed anew in the heap it was in. */
static void stand_anew(struct kp__core *core, bool by_arrival)
{
    struct kp__budget *all[] = { &core->lent, &core->creating, &core->rate.budget, &core->live };
    struct kp__group *group = NULL;

    if (core->by_arrival == by_arrival) return;
    core->by_arrival = by_arrival;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) kp__share_anew(all[i]);
    while ((group = kp__next_group(core, group)) != NULL) kp__share_anew(&group->budget);
    for (struct kp__subpool *sub = NULL; (sub = kp__next_sub(core, sub)) != NULL;) {
        struct kp__budget *lacks = sub->contest->lacks;
        kp__note_lack(core, sub, NULL);
        kp__note_lack(core, sub, lacks);
    }
}

/* What the budgets now allow goes to those who wait, then to the background. */
static void serve_all(struct kp__core *core, struct kp__todo *todo)
{
    struct kp__group *group = NULL;

    kp__settle_budget(core, &core->lent, core->latest, todo);
    kp__settle_budget(core, &core->creating, core->latest, todo);
    kp__settle_budget(core, &core->rate.budget, core->latest, todo);
    kp__settle_budget(core, &core->live, core->latest, todo);
    while ((group = kp__next_group(core, group)) != NULL)
        kp__settle_budget(core, &group->budget, core->latest, todo);
    kp__share_again(core, core->latest, todo);
    for (struct kp__subpool *sub = NULL; (sub = kp__next_sub(core, sub)) != NULL;) {
        if (sub->rules && sub->rules->eager) sub->refill = true;
        if (sub->refill) kp__file_sub(core, sub, core->latest);
    }
    kp__let_on(core, core->latest); /* a replacement may have waited for budget.max_creating */
}

void kp__budgets_set(struct kp__core *core, const struct kp__allowance *may, uint64_t now,
                     struct kp__todo *todo)
{
    bool other_ranks = core->evicts != may->evicts || /* what keeps a rank as usual changes */
                       (core->live.cap == KP__UNBOUND) != (may->live == KP__UNBOUND);

    kp__note_time(core, now);
    kp__lane_shut_all(core, now); /* what they reserve is by the old numbers */
    set_numbers(core, may);
    trim(core, todo);
    if (core->evictable != KP__EVICT_USUAL || other_ranks) rank_as_usual(core);
    stand_anew(core, may->by_arrival);
    serve_all(core, todo);
}
