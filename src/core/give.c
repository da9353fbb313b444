/* SPDX-License-Identifier: MIT
 *
 * The way back: leases that end (step 9 of docs/PATH.md), resources that go. Each changes the
 * books, then settles (serve.c): what became free goes to whoever is next.
 */
#include "base/check.h"
#include "core/background.h"
#include "core/calendar.h"
#include "core/doubt.h"
#include "core/give.h"
#include "core/over.h"
#include "core/permit.h"
#include "core/renew.h"
#include "core/serve.h"
#include "core/todo.h"

/* ---- 9. give --------------------------------------------------------------------------------- */

void kp__close_slot(struct kp__core *core, struct kp__slot *slot, kp_cause cause,
                    struct kp__todo *todo)
{
    slot->cause = (uint8_t)cause;
    kp__slot_move(core, slot, KP__CLOSING);
    kp__list_push_back(&todo->doomed, &slot->link);
}

void kp__close_idle(struct kp__core *core, struct kp__slot *slot, kp_cause cause,
                    struct kp__todo *todo)
{
    KP__DCHECK(slot->state == KP__IDLE);
    kp__close_slot(core, slot, cause, todo);
}

uint32_t kp__close_many(struct kp__core *core, struct kp__subpool *sub, kp_cause cause,
                        struct kp__slot **slots, uint32_t most)
{
    struct kp__slot *slot = NULL;
    uint32_t many = 0;

    while (many < most && (slot = kp__next_slot(KP__SLOTS(sub, KP__IDLE), slot)) != NULL) {
        /* the list leads to them only one after the other: prefetch all of each meanwhile */
        for (size_t at = 0; at < sizeof *slot; at += 64) __builtin_prefetch((char *)slot + at);
        slot->cause = (uint8_t)cause;
        slots[many++] = slot;
    }
    kp__slots_move(core, slots, many, KP__CLOSING);
    return many;
}

/* The cause of its end: as given, unless a failed check of it has found its peer gone (doubt.c). */
static kp_cause bad_or_gone(const struct kp__slot *slot, kp_cause bad)
{
    bool gone = slot->errand->doomed && slot->cause == KP_CAUSE_GONE;

    return gone && (bad == KP_CAUSE_INVALID || bad == KP_CAUSE_RESET) ? KP_CAUSE_GONE : bad;
}

bool kp__is_going(const struct kp__core *core, const struct kp__slot *slot)
{
    return slot->errand->doomed || core->phase == KP__CLOSED || kp__is_used_up(slot);
}

kp_cause kp__end_cause(struct kp__core *core, const struct kp__slot *slot, kp_cause bad,
                       uint64_t now)
{
    const struct kp__rules *r = slot->sub->rules;
    int64_t most = r->max_live + (slot->sub->waiting > 0 ? r->reserve : 0);

    if (bad) return bad_or_gone(slot, bad);
    if (slot->errand->doomed) return (kp_cause)slot->cause;
    if (core->phase == KP__CLOSED) return KP_CAUSE_CLOSED; /* I12 */
    if (kp__is_used_up(slot)) return KP_CAUSE_USES;
    if (kp__is_too_old(slot, KP_CHECK_RETURN | KP_CHECK_GET, now)) return kp__end_of_age(slot);
    if (slot->ageing && kp__ageing_may_go(slot->sub)) return KP_CAUSE_RENEWED;
    if (kp__over_live(core, slot->sub, most)) return KP_CAUSE_SURPLUS;
    if (slot->sub->waiting || r->drop_oldest) return KP_CAUSE_NONE;
    return kp__over_idle(core, slot->sub, 1) ? KP_CAUSE_SURPLUS : KP_CAUSE_NONE;
}

/* idle_check or excess_check with return: one came back, and the one idle longest may have expired.
 * One that was just made, or validated, has not come back: what is made to be kept ready could end
 * at once, and be made again without end. */
static void drop_expired(struct kp__core *core, struct kp__subpool *sub, uint64_t now,
                         struct kp__todo *todo)
{
    if (!((sub->rules->idle_check | sub->rules->excess_check) & KP_CHECK_RETURN)) return;
    struct kp__slot *oldest = kp__oldest_idle(sub);
    if (now >= kp__unused_until(oldest, KP_CHECK_RETURN))
        kp__close_idle(core, oldest, kp__expired(oldest, KP_CHECK_RETURN), todo);
}

void kp__drop_surplus(struct kp__core *core, struct kp__slot *slot, struct kp__todo *todo)
{
    struct kp__subpool *sub = slot->sub;

    if (slot->state != KP__IDLE || !kp__has_surplus(core, sub)) return;
    if (sub->rules->drop_oldest) slot = kp__oldest_idle(sub);
    kp__close_idle(core, slot, KP_CAUSE_SURPLUS, todo);
}

void kp__stays_no_more(struct kp__core *core, struct kp__subpool *sub, uint64_t now,
                       struct kp__todo *todo)
{
    if (sub->waiting > 0) kp__settle(core, sub, now, todo);
}

/* It came back, and nobody wants it. */
static void came_to_rest(struct kp__core *core, struct kp__slot *slot, uint64_t now,
                         struct kp__todo *todo)
{
    drop_expired(core, slot->sub, now, todo);
    kp__drop_surplus(core, slot, todo);
    if (slot->state == KP__IDLE) kp__file_slot(core, slot);
}

static void end_lease(struct kp__core *core, struct kp__slot *slot, uint32_t seat, kp_cause bad,
                      bool used, uint64_t now, struct kp__todo *todo)
{
    struct kp__subpool *sub = slot->sub;

    kp__note_time(core, now);
    if (sub->open) kp__lane_shut(core, sub, core->latest); /* this slot was not on it */
    kp__seat_leave(core, slot, seat, now);
    if (now) sub->used_at = now;
    kp__probe_end(core, sub, &kp__seat_at(slot, seat)->probe);
    if (slot->errand->borrowers > 0) { /* the last one out closes it */
        if (bad) (void)kp__doom(core, slot, bad, todo);
        kp__lent_refund(core, sub);
        kp__settle(core, sub, now, todo);
        return;
    }
    kp_cause why = kp__end_cause(core, slot, bad, now);
    if (why) { /* its lent permit goes back when it is destroyed, not before */
        kp__errand_of(slot)->owes_lent = true;
        kp__close_slot(core, slot, why, todo);
        kp__stays_no_more(core, sub, now, todo);
        return;
    }
    if (used) slot->since = now;
    kp__slot_move(core, slot, KP__IDLE);
    kp__lent_refund(core, sub);
    kp__settle(core, sub, now, todo);
    if (slot->state == KP__IDLE) came_to_rest(core, slot, now, todo); /* else it was handed on */
    if (slot->doubted) kp__file_sub(core, sub, now); /* to be tested */
    if (now && kp__sub_live(sub) <= sub->rules->min_live) kp__file_forget(core, sub);
}

void kp__give(struct kp__core *core, struct kp__slot *slot, uint32_t seat, kp_cause bad,
              uint64_t now, struct kp__todo *todo)
{
    end_lease(core, slot, seat, bad, true, now, todo);
}

void kp__give_unused(struct kp__core *core, struct kp__slot *slot, uint32_t seat, uint64_t now,
                     struct kp__todo *todo)
{
    end_lease(core, slot, seat, KP_CAUSE_NONE, false, now, todo);
}

void kp__checked(struct kp__core *core, struct kp__slot *slot, uint32_t seat, kp_cause bad,
                 uint64_t now, struct kp__todo *todo)
{
    struct kp__request *sponsor = slot->errand->sponsor;
    struct kp__subpool *sub = slot->sub;

    if (!sponsor || bad || slot->errand->doomed) {
        (void)kp__sponsor_release(core, slot);
        slot->lends--; /* nobody had it */
        kp__give(core, slot, seat, bad, now, todo); /* its sponsor may take something else now */
        if (sponsor) kp__send_away(core, sponsor, todo);
        return;
    }
    kp__doubt_end(core, slot);
    kp__seat_at(slot, seat)->ending = false;
    kp__file_slot(core, slot); /* now somebody has the lease */
    kp__answer_slot(core, sponsor, slot, seat, todo);
    sponsor->grant.good = true; /* not too late: its owner reads it under the lock */
    kp__open_seats(core, slot);
    kp__settle(core, sub, now, todo); /* others may share it */
}

/* ---- resources that go ----------------------------------------------------------------------- */

/* Slots of one key become free. The key makes up for them (refill), or may be forgotten in time. */
static void vacate(struct kp__core *core, struct kp__slot *const *slots, uint32_t many,
                   uint64_t now)
{
    struct kp__subpool *sub = slots[0]->sub;

    KP__TALLY(core, sub, destroys += many);
    kp__slots_move(core, slots, many, KP__FREE);
    for (uint32_t i = 0; i < many; i++) {
        struct kp__slot *slot = slots[i];
        kp__count_cause(core, sub, slot->cause);
        slot->resource = NULL;
        kp__cell_drop(core, slot);
        if (slot->errand->owes_lent) kp__lent_refund(core, sub);
        kp__slot_put(core, slot);
    }
    kp__make_up_for(core, sub, now);
    if (kp__sub_live(sub) <= sub->rules->min_live) kp__file_forget(core, sub);
}

void kp__gone(struct kp__core *core, struct kp__slot *slot, uint64_t now, struct kp__todo *todo)
{
    struct kp__subpool *sub = slot->sub;

    kp__note_time(core, now);
    vacate(core, &slot, 1, now);
    kp__settle(core, sub, now, todo);
}

void kp__gone_many(struct kp__core *core, struct kp__slot *const *slots, uint32_t many,
                   uint64_t now, struct kp__todo *todo)
{
    kp__note_time(core, now);
    for (uint32_t first = 0, end; first < many; first = end) {
        struct kp__subpool *sub = slots[first]->sub;
        for (end = first + 1; end < many && slots[end]->sub == sub;) end++;
        vacate(core, &slots[first], end - first, now);
        kp__settle(core, sub, now, todo);
    }
}

/* The end of a victim brings its heir, `sub`, closer to a permit. Returns the other victim that has
 * to go, too; NULL: there is none, and the permit is taken. */
static struct kp__slot *bequeath(struct kp__core *core, struct kp__subpool *sub,
                                 struct kp__slot *victim, uint64_t now)
{
    struct kp__slot *next = victim->errand->victim.next;

    kp__note_time(core, now);
    if (next) kp__promise_pass(core, victim);
    else kp__promise_end(core, victim);
    vacate(core, &victim, 1, now);
    if (!next) kp__permit_take(core, sub);
    return next;
}

static void settle_both(struct kp__core *core, struct kp__subpool *sub, struct kp__subpool *loser,
                        uint64_t now, struct kp__todo *todo)
{
    kp__settle(core, sub, now, todo); /* with one more live, it may have an idle one to spare */
    kp__settle(core, loser, now, todo); /* its groups, or its own limit, may have room now */
}

void kp__victim_gone(struct kp__core *core, struct kp__subpool *sub, struct kp__slot *victim,
                     uint64_t now, struct kp__todo *todo)
{
    struct kp__subpool *loser = victim->sub;

    (void)bequeath(core, sub, victim, now); /* the caller knows what is next */
    settle_both(core, sub, loser, now, todo);
}

void kp__victim_gone_late(struct kp__core *core, struct kp__slot *victim, uint64_t now,
                          struct kp__todo *todo)
{
    struct kp__subpool *loser = victim->sub, *sub = victim->errand->victim.heir;
    struct kp__request *sponsor = victim->errand->sponsor;
    bool probe = false;

    if (!sponsor) { /* it was waived */
        kp__list_remove(&kp__errand_of(victim)->victims);
        kp__gone(core, victim, now, todo);
        return;
    }
    kp__probe_pass(&kp__errand_of(victim)->probe, &probe);
    struct kp__slot *next = bequeath(core, sub, victim, now);
    sponsor->slot = next;
    if (next) {
        kp__errand(core, next)->victim.heir = sub;
        kp__errand(core, next)->sponsor = sponsor;
        kp__probe_pass(&probe, &kp__errand_of(next)->probe);
        kp__list_push_back(&todo->doomed, &next->link);
    } else {
        /* else it was granted what was waived, and has not gone on yet */
        if (kp__waits(sponsor)) kp__answer_permit(core, sponsor, todo);
        sponsor->grant.probe |= probe;
    }
    settle_both(core, sub, loser, now, todo);
}

/* ---- marks ----------------------------------------------------------------------------------- */

bool kp__doom(struct kp__core *core, struct kp__slot *slot, kp_cause cause,
              struct kp__todo *todo)
{
    if (slot->state == KP__IDLE) {
        kp__close_idle(core, slot, cause, todo);
        return true;
    }
    bool there = slot->state == KP__LENT || slot->state == KP__TESTED;
    if (!there || slot->errand->doomed) return false;
    kp__errand(core, slot)->doomed = true;
    slot->cause = (uint8_t)cause;
    kp__close_seats(slot);
    kp__doubt_end(core, slot);
    /* those who wait for it, and would not be created for, are to be told (kp__needs_creation) */
    if (slot->sub->waiting > 0) kp__file_sub(core, slot->sub, core->latest);
    return true;
}
