/* SPDX-License-Identifier: MIT
 *
 * Make before break (limits.renew_ahead_ms, kp_rotate). When the end of a slot's age is near, it is
 * decided, once, whether the slot is needed. If not, it is closed then. If it is, it is *ageing*
 * from then on: it is lent as before, and its key wants as many replacements as it has ageing
 * slots. Which replacement is for which old slot does not matter: each one that is there lets one
 * of them go, an idle one at once, else the first to come back. Upkeep begins them (flow/keeper.c),
 * by the rules of all creations, and within max_live plus the surplus.
 *
 * kp_rotate needs no more than that: it brings the end of each age forward.
 */
#include "base/check.h"
#include "core/background.h"
#include "core/calendar.h"
#include "core/give.h"
#include "core/renew.h"

/* ---- the end of an age ----------------------------------------------------------------------- */

/* When its replacement is to be begun: renew_ahead before its age ends it; or KP__NEVER. */
static uint64_t renew_at(const struct kp__slot *slot)
{
    const struct kp__subpool *sub = slot->sub;
    const struct kp__rules *r = sub->rules;

    if (r->renew_ahead == 0 || slot->age_end == KP__NEVER) return KP__NEVER;
    if (!slot->old && (r->age_check == 0 || kp__stops_at_min(sub, KP_KIND_AGE))) return KP__NEVER;
    return slot->age_end > r->renew_ahead ? slot->age_end - r->renew_ahead : 1;
}

void kp__file_age(struct kp__core *core, struct kp__slot *slot)
{
    uint64_t at = slot->ageing ? KP__NEVER : renew_at(slot);

    if (at != KP__NEVER) kp__file_slot_at(core, slot, at);
    if (slot->old) kp__file_slot_at(core, slot, slot->age_end);
}

/* A lent one is needed. An idle one is needed if it was ever lent, and would not expire unused
 * before its age ends; or if without it fewer are left than are lent now, or to be kept ready. */
static bool is_needed(const struct kp__slot *slot)
{
    const struct kp__subpool *sub = slot->sub;
    const struct kp__rules *r = sub->rules;
    uint64_t unused = r->idle_check ? kp__later(slot->since, r->idle_ttl) : KP__NEVER;
    int64_t left = kp__sub_staying(sub) - sub->rare->renewal.ageing - 1;

    if (slot->state == KP__LENT || left < kp__ready_wanted(sub, false)) return true;
    return slot->lends > 0 && unused > slot->age_end;
}

static void begin_ageing(struct kp__core *core, struct kp__slot *slot, uint64_t now)
{
    slot->ageing = true;
    kp__rare(core, slot->sub)->renewal.ageing++;
    kp__file_sub(core, slot->sub, now);
}

bool kp__age(struct kp__core *core, struct kp__slot *slot, uint64_t now, struct kp__todo *todo)
{
    if (slot->old && now >= slot->age_end) {
        (void)kp__doom(core, slot, KP_CAUSE_ROTATED, todo);
        return slot->state == KP__CLOSING;
    }
    if (!slot->ageing && !slot->errand->doomed && now >= renew_at(slot)) {
        if (!is_needed(slot)) {
            (void)kp__doom(core, slot, kp__end_of_age(slot), todo); /* tested: when it comes back */
            return slot->state == KP__CLOSING;
        }
        begin_ageing(core, slot, now);
    }
    if (!slot->errand->doomed) kp__file_age(core, slot);
    return false;
}

void kp__age_all(struct kp__core *core, struct kp__subpool *sub, uint64_t now,
                 struct kp__todo *todo)
{
    for (int state = KP__IDLE; state <= KP__LENT; state++) {
        const struct kp__list *list = KP__SLOTS(sub, state), *node = kp__list_last(list), *before;
        for (; node; node = before) {
            before = kp__list_prev(list, node);
            (void)kp__age(core, KP__OF(node, struct kp__slot, link), now, todo);
        }
    }
}

void kp__aged(struct kp__core *core, struct kp__slot *slot)
{
    struct kp__renewal *n = &kp__rare(core, slot->sub)->renewal;

    slot->ageing = false;
    n->ageing--;
    if (n->spare > 0) n->spare--; /* which of them it was for does not matter */
}

/* ---- replacements ---------------------------------------------------------------------------- */

/* Of the ageing slots in this state that are not doomed, the one whose age ends first; or NULL. */
static struct kp__slot *next_ageing(const struct kp__subpool *sub, enum kp__state state)
{
    struct kp__slot *first = NULL, *slot = NULL;

    while ((slot = kp__next_slot(KP__SLOTS(sub, state), slot)) != NULL)
        if (slot->ageing && !slot->errand->doomed && (!first || slot->age_end < first->age_end))
            first = slot;
    return first;
}

void kp__replaced(struct kp__core *core, struct kp__slot *slot, struct kp__todo *todo)
{
    struct kp__subpool *sub = slot->sub;
    struct kp__renewal *n = &kp__rare(core, sub)->renewal;
    struct kp__slot *goes;

    kp__errand_of(slot)->renews = false;
    n->making--;
    if (n->spare == n->ageing) return; /* the slot to be replaced went by itself */
    n->spare++;
    if ((goes = next_ageing(sub, KP__IDLE)) != NULL)
        kp__close_idle(core, goes, KP_CAUSE_RENEWED, todo);
    else if (sub->rules->sharing > 1 && (goes = next_ageing(sub, KP__LENT)) != NULL)
        /* a shared one might never come back */
        (void)kp__doom(core, goes, KP_CAUSE_RENEWED, todo);
}

bool kp__ageing_may_go(const struct kp__subpool *sub)
{
    return sub->rare->renewal.spare > 0 &&
           (sub->waiting == 0 || kp__sub_staying(sub) > sub->rules->max_live);
}

void kp__renewal_failed(struct kp__core *core, struct kp__subpool *sub, uint64_t now)
{
    kp__rare(core, sub)->renewal.making--;
    kp__file_sub(core, sub, kp__later(now, KP__LOOK_AGAIN)); /* or after the back-off */
}

/* ---- a new epoch ----------------------------------------------------------------------------- */

/* Its age is over and did not end it, so that age means nothing any more. */
static bool outlives(const struct kp__slot *slot, uint64_t now)
{
    uint32_t any = KP_CHECK_GET | KP_CHECK_RETURN | KP_CHECK_KEEPER;

    return !slot->old && now >= slot->age_end && !kp__is_too_old(slot, any, now);
}

void kp__retire(struct kp__core *core, struct kp__slot *slot, uint64_t at, uint64_t now)
{
    if (at < slot->age_end || outlives(slot, now)) slot->age_end = at;
    slot->old = true;
    kp__file_age(core, slot);
}

void kp__retire_made(struct kp__core *core, struct kp__slot *slot, uint64_t epoch, uint64_t now)
{
    const struct kp__renewal *n = &slot->sub->rare->renewal;

    if (epoch < n->epoch) kp__retire(core, slot, epoch < n->overdue ? now : n->retire_by, now);
}

/* What the key has in the making is of an earlier epoch, and is to go by `by`, unless its turn has
 * come already. One that makes nothing needs no such note, nor the room for it. */
static void retire_unmade(struct kp__core *core, struct kp__subpool *sub, uint64_t by,
                          uint64_t now)
{
    if (sub->count[KP__CREATING] == sub->rare->tests) return;
    struct kp__renewal *n = &kp__rare(core, sub)->renewal;
    if (n->retire_by <= now) {
        n->overdue = n->epoch;
        n->retire_by = by;
    }
    if (by < n->retire_by) n->retire_by = by;
    n->epoch = core->epoch;
}

int64_t kp__retire_all(struct kp__core *core, struct kp__subpool *sub, uint64_t by, uint64_t now,
                       struct kp__todo *todo)
{
    uint64_t all = (uint64_t)sub->count[KP__IDLE] + sub->count[KP__LENT] + sub->rare->tests;
    uint64_t many = 0;
    uint64_t step = all > 0 && by != KP__NEVER ? (by - now) / all : 0;

    kp__note_time(core, now);
    retire_unmade(core, sub, by, now);
    core->clocked = true; /* gets and releases must know when their ends have come */
    for (int i = 0; i < KP__HOLDINGS; i++) {
        const struct kp__list *list = kp__holding(sub, i), *node;
        for (node = kp__list_last(list); node; node = kp__list_prev(list, node)) {
            struct kp__slot *slot = KP__OF(node, struct kp__slot, link);
            if (slot->errand->doomed) continue;
            many++;
            kp__retire(core, slot, by == KP__NEVER ? by : now + step * many, now);
        }
    }
    kp__age_all(core, sub, now, todo);
    return (int64_t)many;
}
