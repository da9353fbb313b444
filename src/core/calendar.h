/* SPDX-License-Identifier: MIT
 *
 * Ages, and the calendar of when each slot and key is to be looked at (calendar.c). An entry may be
 * early; it is never late.
 */
#ifndef KP__CORE_CALENDAR_H
#define KP__CORE_CALENDAR_H

#include "core/core.h"

/* When an idle slot must go, by those ages that are looked at on `check` (KP_CHECK_...); KP__NEVER:
 * it may stay. */
uint64_t kp__expires_at(const struct kp__slot *slot, uint32_t check);

/* The same, by idle_ttl and excess_ttl only. */
uint64_t kp__unused_until(const struct kp__slot *slot, uint32_t check);

/* Which of these ages ended it, once that time has come. */
kp_cause kp__expired(const struct kp__slot *slot, uint32_t check);

/* Has a slot, idle or lent, reached its max_age, or the end that kp_rotate set it? */
bool kp__is_too_old(const struct kp__slot *slot, uint32_t check, uint64_t now);

/* The cause of that end. */
static inline kp_cause kp__end_of_age(const struct kp__slot *slot)
{
    return slot->old ? KP_CAUSE_ROTATED : KP_CAUSE_AGE;
}

/* ---- the calendar ---------------------------------------------------------------------------- */

/* Have a slot, or a key, looked at by `at` at the latest. */
void kp__file_slot_at(struct kp__core *core, struct kp__slot *slot, uint64_t at);
void kp__file_sub(struct kp__core *core, struct kp__subpool *sub, uint64_t at);

/* Have a key looked at when the background may find a token for it (core/rate.h). */
void kp__file_for_token(struct kp__core *core, struct kp__subpool *sub, uint64_t now);

/* Have a slot that became idle or lent looked at when its rules first ask for it. */
void kp__file_slot(struct kp__core *core, struct kp__slot *slot);

/* The same for one lease of a lent slot: when it is to be reported as leaked, or to be taken back.
 */
void kp__file_lease(struct kp__core *core, struct kp__slot *slot, const struct kp__seat *seat,
                    uint64_t now);

void kp__unfile_slot(struct kp__core *core, struct kp__slot *slot);
void kp__unfile_sub(struct kp__core *core, struct kp__subpool *sub);

/* A key's entry in the calendar. It means nothing before it is begun (kp__subpool.has_due). */
static inline struct kp__key_due *kp__due_of(const struct kp__core *core,
                                             const struct kp__subpool *sub)
{
    return kp__slab_part(&core->subpools, sub->item.index, KP__PART_DUE);
}

/* Take the earliest entry that is due by now off the calendar; NULL: there is none. */
struct kp__timer *kp__due_pop(struct kp__core *core, uint64_t now, bool *is_slot);

/* When the next one is due; KP__NEVER: nothing is filed. */
static inline uint64_t kp__due_next(const struct kp__core *core)
{
    uint64_t slots = kp__timers_next(&core->slots_due), keys = kp__timers_next(&core->keys_due);

    return slots < keys ? slots : keys;
}

/* A look at a slot that came due: if it has expired, it joins the to-do's list. Returns a seat
 * whose leak is to be reported, or NULL. */
struct kp__seat *kp__look_at_slot(struct kp__core *core, struct kp__slot *slot, uint64_t now,
                                  struct kp__todo *todo);

/* Have a key looked at when it will have been unused for long enough to be forgotten. */
void kp__file_forget(struct kp__core *core, struct kp__subpool *sub);

/* May this key be forgotten now, with what it holds up to its minimum? If it is only too early, the
 * key is filed for when it may. */
bool kp__may_forget(struct kp__core *core, struct kp__subpool *sub, uint64_t now);

/* 1 s: after so long, what was due but could not be begun is looked at again. */
#define KP__LOOK_AGAIN UINT64_C(1000000000)

#endif
