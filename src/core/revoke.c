/* SPDX-License-Identifier: MIT
 *
 * Taking back: a resource that a borrower has had for too long, or still has at the end of the
 * pool, is made useless by driver.revoke (flow/revoke.c), and its place is given to whoever is
 * next. The slot is no longer live, but stays until its leases have ended; then the resource is
 * destroyed, once, like every other. docs/decisions/0037-revoked-is-not-live.md has the reasons.
 *
 * While driver.revoke is under way, the borrower may still end its lease. The lease is over then,
 * but all else waits for the answer; after that the resource is destroyed, whatever the answer was.
 * So a resource that is being revoked never reaches another borrower.
 */
#include "base/check.h"
#include "core/background.h"
#include "core/calendar.h"
#include "core/doubt.h"
#include "core/give.h"
#include "core/permit.h"
#include "core/revoke.h"
#include "core/serve.h"
#include "core/todo.h"

static bool is_out(const struct kp__seat *seat)
{
    return seat->lent && !seat->ending;
}

bool kp__may_revoke(const struct kp__slot *slot)
{
    const struct kp__errand *errand = slot->errand;

    if (slot->state != KP__LENT || errand->job) return false;
    for (uint32_t i = 0; i < errand->seats; i++) {
        const struct kp__seat *seat = kp__seat_at(slot, i);
        if (seat->lent && (seat->ending || seat->hold != KP__HELD)) return false;
    }
    return true;
}

bool kp__revoke_is_due(const struct kp__core *core, const struct kp__slot *slot, uint64_t now)
{
    const struct kp__subpool *sub = slot->sub;
    const struct kp__rare *rare = sub->rare;

    if (!kp__may_revoke(slot) || slot->errand->seats > 1) return false;
    uint64_t since = slot->errand->first.since;
    if (!since || now < kp__later(since, sub->rules->revoke_after)) return false;
    return (int64_t)rare->revoked + rare->revoking < sub->rules->max_live &&
           (int64_t)core->revoked + core->revoking < core->live.cap;
}

void kp__revoke_begin(struct kp__core *core, struct kp__slot *slot)
{
    for (uint32_t i = 0; i < slot->errand->seats; i++)
        if (is_out(kp__seat_at(slot, i))) kp__seat_at(slot, i)->hold = KP__REVOKING;
    kp__rare(core, slot->sub)->revoking++;
    core->revoking++;
}

/* ---- how it went ----------------------------------------------------------------------------- */

/* End the leases that were given back meanwhile. */
static void give_ended(struct kp__core *core, struct kp__slot *slot, uint64_t now,
                       struct kp__todo *todo)
{
    uint32_t seats = slot->errand->seats;

    for (uint32_t i = 0; i < seats; i++) {
        const struct kp__seat *seat = kp__seat_at(slot, i);
        if (seat->lent && seat->ending)
            kp__give(core, slot, i, (kp_cause)slot->cause, now, todo);
    }
}

/* Take the leases of a slot out of the books, and free what they held. */
static void release_all(struct kp__core *core, struct kp__slot *slot, uint64_t now)
{
    struct kp__subpool *sub = slot->sub;

    for (uint32_t i = 0; i < slot->errand->seats; i++) {
        struct kp__seat *seat = kp__seat_at(slot, i);
        if (!seat->lent) continue;
        kp__probe_end(core, sub, &seat->probe);
        sub->leases--;
        core->leases--;
        kp__lent_refund(core, sub);
        if (seat->since) KP__TALLY(core, sub, held_ns += now - seat->since);
    }
}

static void revoked(struct kp__core *core, struct kp__slot *slot, uint64_t now,
                    struct kp__todo *todo)
{
    struct kp__subpool *sub = slot->sub;
    struct kp__errand *errand = kp__errand_of(slot);

    release_all(core, slot, now);
    kp__slot_revoke(core, slot);
    KP__COUNT_SELDOM(core, sub, revokes);
    if (!errand->doomed) slot->cause = KP_CAUSE_REVOKED;
    errand->doomed = true;
    kp__doubt_end(core, slot);
    sub->used_at = now;
    kp__make_up_for(core, sub, now);
    kp__settle(core, sub, now, todo);
}

const struct kp__seat *kp__revoke_end(struct kp__core *core, struct kp__slot *slot, bool done,
                                      uint64_t now, struct kp__todo *todo)
{
    struct kp__subpool *sub = slot->sub;
    struct kp__seat *out = NULL;

    kp__note_time(core, now);
    if (sub->open) kp__lane_shut(core, sub, now); /* this slot was not on the lane */
    kp__rare(core, sub)->revoking--;
    core->revoking--;
    for (uint32_t i = 0; i < slot->errand->seats; i++) {
        if (!is_out(kp__seat_at(slot, i))) continue;
        out = kp__seat_at(slot, i);
        out->hold = KP__REVOKE_TRIED;
    }
    give_ended(core, slot, now, todo);
    if (!out) return NULL;
    if (done) revoked(core, slot, now, todo);
    else KP__COUNT_SELDOM(core, sub, revoke_failures);
    return out;
}

/* ---- the way back ---------------------------------------------------------------------------- */

void kp__give_revoked(struct kp__core *core, struct kp__slot *slot, uint32_t seat,
                      kp_cause cause, struct kp__todo *todo)
{
    struct kp__errand *errand = kp__errand_of(slot);

    if (slot->state == KP__LENT) {
        kp__seat_at(slot, seat)->ending = true;
        (void)kp__doom(core, slot, cause, todo);
        return;
    }
    KP__DCHECK(kp__seat_at(slot, seat)->lent && errand->borrowers > 0);
    kp__seat_at(slot, seat)->lent = false;
    if (slot->cause == KP_CAUSE_REVOKED && cause == KP_CAUSE_DISCARDED)
        slot->cause = KP_CAUSE_DISCARDED;
    if (--errand->borrowers > 0) return;
    kp__slot_reclaim(core, slot);
    kp__list_push_back(&todo->doomed, &slot->link);
}

void kp__reclaimed(struct kp__core *core, struct kp__slot *slot)
{
    struct kp__subpool *sub = slot->sub;

    KP__DCHECK(slot->state == KP__RECLAIMED);
    KP__TALLY(core, sub, destroys++);
    kp__count_cause(core, sub, (kp_cause)slot->cause);
    kp__rare(core, sub)->revoked--;
    core->revoked--;
    slot->state = KP__FREE;
    slot->resource = NULL;
    kp__cell_drop(core, slot);
    kp__slot_put(core, slot);
    kp__file_forget(core, sub);
}
