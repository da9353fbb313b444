/* SPDX-License-Identifier: MIT
 *
 * The calendar: for each live slot and each key, a time no later than when it needs a look. An
 * entry that turns out to be too early is filed again, so that returns and hits seldom touch the
 * calendar, and the keeper's work (flow/keeper.c) is proportional to what is due (L8).
 */
#include "core/calendar.h"
#include "core/doubt.h"
#include "core/give.h"
#include "core/renew.h"

static void file(struct kp__timers *calendar, struct kp__timer *due, uint64_t at)
{
    if (at == KP__NEVER || (kp__timer_is_filed(due) && due->at <= at)) return;
    kp__timers_file(calendar, due, at ? at : 1);
}

void kp__unfile_slot(struct kp__core *core, struct kp__slot *slot)
{
    kp__timers_remove(&core->slots_due, &slot->due);
}

void kp__unfile_sub(struct kp__core *core, struct kp__subpool *sub)
{
    if (!sub->has_due) return;
    kp__timers_remove(&core->keys_due, &kp__due_of(core, sub)->due);
    kp__list_remove(&kp__due_of(core, sub)->unused);
}

/* A key's entry in the calendar, begun if it was not. */
static struct kp__key_due *due_entry(struct kp__core *core, struct kp__subpool *sub)
{
    struct kp__key_due *part = kp__due_of(core, sub);

    if (sub->has_due) return part;
    *part = (struct kp__key_due){ .sub = sub };
    kp__list_init(&part->unused);
    sub->has_due = true;
    return part;
}

struct kp__timer *kp__due_pop(struct kp__core *core, uint64_t now, bool *is_slot)
{
    *is_slot = kp__timers_next(&core->slots_due) <= kp__timers_next(&core->keys_due);
    struct kp__timers *calendar = *is_slot ? &core->slots_due : &core->keys_due;
    struct kp__timer *first = calendar->first;

    if (!first || first->at > now) return NULL;
    kp__timers_remove(calendar, first);
    return first;
}

void kp__file_sub(struct kp__core *core, struct kp__subpool *sub, uint64_t at)
{
    if (at != KP__NEVER) file(&core->keys_due, &due_entry(core, sub)->due, at);
}

/* A key that was looked at meanwhile for another reason keeps the time that it has: if each look
 * took one more, the looks of all keys would come later and later. */
void kp__file_for_token(struct kp__core *core, struct kp__subpool *sub, uint64_t now)
{
    struct kp__key_due *part = due_entry(core, sub);
    bool ahead = part->token_look > now && part->token_look < core->rate.next_look;

    if (!ahead) part->token_look = kp__token_look(&core->rate, now);
    kp__file_sub(core, sub, part->token_look);
}

/* ---- ages ------------------------------------------------------------------------------------ */

/* Does the excess not apply now: has the key no more than excess_over? */
static bool no_excess(const struct kp__subpool *sub)
{
    return kp__sub_staying(sub) <= sub->rules->excess_over ||
           kp__stops_at_min(sub, KP_KIND_EXCESS);
}

uint64_t kp__unused_until(const struct kp__slot *slot, uint32_t check)
{
    const struct kp__subpool *sub = slot->sub;
    const struct kp__rules *r = sub->rules;
    uint64_t at = KP__NEVER;

    if ((r->idle_check & check) && !kp__stops_at_min(sub, KP_KIND_IDLE))
        at = kp__later(slot->since, r->idle_ttl);
    if ((r->excess_check & check) && !no_excess(sub))
        at = kp__sooner(at, kp__later(slot->since, r->excess_ttl));
    return at;
}

/* Does its age end it, where that is checked? What kp_rotate has retired goes at its turn, whatever
 * the limits say of ages. */
static bool is_ended_by_age(const struct kp__slot *slot, uint32_t check)
{
    const struct kp__subpool *sub = slot->sub;

    if (slot->old) return true;
    return (sub->rules->age_check & check) && !kp__stops_at_min(sub, KP_KIND_AGE);
}

uint64_t kp__expires_at(const struct kp__slot *slot, uint32_t check)
{
    uint64_t at = kp__unused_until(slot, check);

    return slot->age_end < at && is_ended_by_age(slot, check) ? slot->age_end : at;
}

bool kp__is_too_old(const struct kp__slot *slot, uint32_t check, uint64_t now)
{
    return now >= slot->age_end && is_ended_by_age(slot, check);
}

kp_cause kp__expired(const struct kp__slot *slot, uint32_t check)
{
    const struct kp__rules *r = slot->sub->rules;
    uint64_t at = kp__expires_at(slot, check);

    if (at == slot->age_end && is_ended_by_age(slot, check)) return kp__end_of_age(slot);
    return (r->idle_check & check) && at == kp__later(slot->since, r->idle_ttl) ? KP_CAUSE_IDLE
                                                                                : KP_CAUSE_EXCESS;
}

/* When to look for an age that ends at `at`: then, or now if that has passed; but if the age does
 * not apply now (`stopped`), after another ttl, since the key may have grown by then. That may be
 * short, or nothing: then no sooner than anything else that could not be done. */
static uint64_t look_at(uint64_t at, uint64_t now, bool stopped, uint64_t ttl)
{
    if (at > now) return at;
    return stopped ? kp__later(now, ttl > KP__LOOK_AGAIN ? ttl : KP__LOOK_AGAIN) : now;
}

/* The earliest time from `now` on at which a look at an idle slot may find something to do,
 * whatever becomes of the minimum until then. */
static uint64_t next_look(const struct kp__core *core, const struct kp__slot *slot, uint64_t now)
{
    const struct kp__subpool *sub = slot->sub;
    const struct kp__rules *r = sub->rules;
    uint64_t since = slot->since, at = KP__NEVER;

    if (r->idle_check & KP_CHECK_KEEPER)
        at = look_at(kp__later(since, r->idle_ttl), now, kp__stops_at_min(sub, KP_KIND_IDLE),
                     r->idle_ttl);
    if (r->excess_check & KP_CHECK_KEEPER)
        at = kp__sooner(at, look_at(kp__later(since, r->excess_ttl), now, no_excess(sub),
                                    r->excess_ttl));
    if (r->age_check & KP_CHECK_KEEPER)
        at = kp__sooner(at, look_at(slot->age_end, now, kp__stops_at_min(sub, KP_KIND_AGE),
                                    r->max_age));
    if (r->validate_every != KP__NEVER)
        at = kp__sooner(at, look_at(kp__test_at(core, slot), now, true, r->validate_every));
    return at;
}

/* When the lease that has this seat is to be reported as leaked; KP__NEVER: it is not, or was. */
static uint64_t leaks_at(const struct kp__core *core, const struct kp__seat *seat)
{
    if (!seat->lent || !seat->since || seat->ending || seat->warned) return KP__NEVER;
    return kp__later(seat->since, core->leak_after);
}

void kp__file_lease(struct kp__core *core, struct kp__slot *slot, const struct kp__seat *seat,
                    uint64_t now)
{
    uint64_t revoke_after = slot->sub->rules->revoke_after, at = leaks_at(core, seat);

    if (!seat->lent || !seat->since) return;
    if (revoke_after != KP__NEVER && seat->hold < KP__REVOKING) {
        uint64_t end = kp__later(seat->since, revoke_after);
        at = kp__sooner(at, end > now ? end : now + KP__LOOK_AGAIN);
    }
    file(&core->slots_due, &slot->due, at);
}

static void file_leases(struct kp__core *core, struct kp__slot *slot, uint64_t now)
{
    for (uint32_t i = 0; i < slot->errand->seats; i++)
        kp__file_lease(core, slot, kp__seat_at(slot, i), now);
}

void kp__file_slot(struct kp__core *core, struct kp__slot *slot)
{
    if (slot->state == KP__IDLE)
        file(&core->slots_due, &slot->due, next_look(core, slot, slot->since));
    else if (slot->state == KP__LENT) file_leases(core, slot, 0);
}

void kp__file_slot_at(struct kp__core *core, struct kp__slot *slot, uint64_t at)
{
    file(&core->slots_due, &slot->due, at);
}

/* ---- the keeper's look at what came due ------------------------------------------------------ */

static struct kp__seat *leaked_seat(const struct kp__core *core, struct kp__slot *slot,
                                    uint64_t now)
{
    for (uint32_t i = 0; i < slot->errand->seats; i++) {
        struct kp__seat *seat = kp__seat_at(slot, i);
        if (now >= leaks_at(core, seat)) return seat;
    }
    return NULL;
}

struct kp__seat *kp__look_at_slot(struct kp__core *core, struct kp__slot *slot, uint64_t now,
                                  struct kp__todo *todo)
{
    struct kp__seat *leak = NULL;

    if (slot->state == KP__CREATING) return NULL; /* it has no age yet */
    if (kp__age(core, slot, now, todo)) return NULL;
    if (slot->state == KP__IDLE) {
        if (now >= kp__expires_at(slot, KP_CHECK_KEEPER)) {
            kp__close_idle(core, slot, kp__expired(slot, KP_CHECK_KEEPER), todo);
            return NULL;
        }
        file(&core->slots_due, &slot->due, next_look(core, slot, now));
    } else if (slot->state == KP__LENT) {
        leak = leaked_seat(core, slot, now);
        if (leak) {
            leak->warned = true;
            KP__COUNT_SELDOM(core, slot->sub, leaks);
        }
        file_leases(core, slot, now);
    }
    return leak;
}

/* When a key may be forgotten, counted from its last use. */
static uint64_t forget_at(const struct kp__core *core, const struct kp__subpool *sub)
{
    uint64_t after = sub->leaving == KP__DROPPED ? 0 : core->forget_after;

    return kp__later(sub->used_at, after);
}

/* Nobody uses this key: it goes behind those that are unused already, unless it has been there
 * since the same last use. Using it again does not take it off the list (kp__table_spare). */
static void list_unused(struct kp__core *core, struct kp__subpool *sub)
{
    struct kp__key_due *part = due_entry(core, sub);

    if (kp__list_linked(&part->unused) && part->since == sub->used_at) return;
    part->since = sub->used_at;
    kp__list_remove(&part->unused);
    kp__list_push_back(&core->unused, &part->unused);
}

void kp__file_forget(struct kp__core *core, struct kp__subpool *sub)
{
    /* in use: whoever uses it last files it. Closed: it goes with the pool */
    if (sub->interest || sub->pins || core->phase != KP__OPEN) return;
    kp__file_sub(core, sub, forget_at(core, sub));
    if (core->forget_after != KP__NEVER && kp__subpool_unused(sub)) list_unused(core, sub);
}

bool kp__may_forget(struct kp__core *core, struct kp__subpool *sub, uint64_t now)
{
    int64_t live = kp__sub_live(sub);

    /* in an order in which no two neighbours in memory follow each other: the compiler would load
     * both as one word, which has to wait if one of them was just written */
    if (sub->interest || sub->contest->promised || sub->pins || sub->waiting) return false;
    if (sub->rare->revoked || !sub->rules) return false;
    if (live > sub->rules->min_live || (int64_t)sub->count[KP__IDLE] < live) return false;
    if (now >= forget_at(core, sub)) return true;
    kp__file_forget(core, sub);
    return false;
}
