/* SPDX-License-Identifier: MIT
 *
 * What can be done with a lease while it lasts: say whether its resource is to be reused, report,
 * read; and how it is written (step 6) and found by its resource. How it ends: release.c.
 */
#include "flow/lease.h"

#include <string.h>

#include "core/circuit.h"
#include "core/doubt.h"
#include "core/give.h"
#include "flow/door.h"
#include "flow/event.h"
#include "flow/find.h"
#include "flow/peers.h"

void kp__lease_write(const struct kp__pool *pool, const struct kp__slot *slot, uint32_t seat,
                     kp_lease *out)
{
    out->resource = slot->resource;
    const struct kp__seat *s = kp__seat_at(slot, seat);

    out->opaque[0] = (uint64_t)pool->core.id << 32 | slot->item.index;
    out->opaque[1] = kp__seat_word(s, pool->core.asks);
    out->opaque[2] = kp__lease_marks(pool->forks) |
                     (slot->cell ? KP__LEASE_CELL | slot->cell : seat);
}

void kp_lease_reuse(kp_lease *lease, bool reuse)
{
    struct kp__held h = { .quiet = false };
    struct kp__todo todo;

    if (kp__lease_is_none(lease) || !kp__lease_find(lease, &h, &todo)) return;
    h.seat->decided = true;
    h.seat->reuse = reuse;
    kp__leave(h.pool, &todo);
}

/* A report has opened its key's circuit, or closed it. */
static void tell_circuit(struct kp__pool *pool, struct kp__subpool *sub, bool opened,
                         const kp_why *why, struct kp__todo *todo)
{
    if (opened)
        kp__event_within(pool, KP_EVENT_BREAKER_OPENED, sub, NULL, KP_EBREAKER, why, todo);
    else kp__event_within(pool, KP_EVENT_BREAKER_CLOSED, sub, NULL, 0, NULL, todo);
}

void kp_lease_report(kp_lease *lease, int status)
{
    struct kp__held h = { .quiet = false };
    struct kp__todo todo;
    kp_why why;

    if (kp__lease_is_none(lease) || !kp__lease_find(lease, &h, &todo)) return;
    struct kp__subpool *sub = h.slot->sub;
    uint64_t now = kp__time(h.pool);
    enum kp__change change =
        kp__reported(&h.pool->core, h.slot, h.number, status, now, &todo);
    if (change == KP__OPENED) kp__say_open(sub, now, &why);
    sub->interest++;
    /* before the change is told: a listener may end the lease, and the slot may be lent again */
    if (status >= 0) kp__used_well(&h.pool->core, h.slot, kp__time(h.pool), &todo);
    else if (status == KP_EGONE) kp__doubt_others(h.pool, h.slot, &todo);
    if (change != KP__AS_BEFORE) {
        kp__tell_news(h.pool, &todo); /* kp_warm may go on */
        tell_circuit(h.pool, sub, change == KP__OPENED, &why, &todo);
    }
    kp__lose_interest(h.pool, sub, sub->used_at);
    kp__leave(h.pool, &todo);
}

bool kp_lease_read(const kp_lease *lease, kp_lease_about *out)
{
    struct kp__held h = { .quiet = true };
    struct kp__todo todo;

    if (!out) {
        (void)kp__misuse_by(lease ? kp__lease_door(lease) : NULL, NULL,
                            "kp_lease_read: out is NULL");
        return false;
    }
    memset(out, 0, sizeof *out);
    if (kp__lease_is_none(lease) || !kp__lease_find(lease, &h, &todo)) return false;
    uint64_t now = kp__time(h.pool);
    *out = (kp_lease_about){
        .reused = h.seat->hit,
        .doomed = kp__is_going(&h.pool->core, h.slot) || !kp__is_reused(&h),
        .old = h.slot->old,
        .revoked = h.slot->state == KP__REVOKED,
        .key = kp__key_of(h.pool, h.slot->sub),
        .tag = kp__seat_tag(h.slot, h.seat),
        .serial = h.slot->serial,
        .times_lent = h.slot->lends,
        .age_ms = kp__ms_since(h.slot->born, now),
        .lent_ms = kp__ms_since(h.seat->since, now),
    };
    kp__leave(h.pool, &todo);
    return true;
}

/* Nobody has its lease: the resource is being checked or reset, or its borrower has not been told
 * yet, and may still be told no. */
static bool is_unheard_of(const struct kp__slot *slot)
{
    const struct kp__seat *seat = kp__seat_at(slot, 0);

    return seat->ending || seat->hold == KP__GRANTED;
}

int kp_lease_of(kp_pool *door, const void *resource, kp_lease *out)
{
    struct kp__todo todo;
    int code;

    if (!out) return kp__misuse_by(door, NULL, "kp_lease_of: out is NULL");
    memset(out, 0, sizeof *out);
    struct kp__pool *pool = kp__enter(door, &todo, &code);
    if (!pool) return kp__no_pool(code, NULL, "kp_lease_of: pool is NULL");
    struct kp__slot *slot = kp__slot_of(&pool->core, resource);
    if (slot) kp__shut(pool, slot->sub);
    bool lent = slot && (slot->state == KP__LENT || slot->state == KP__REVOKED);
    code = !lent                          ? KP_ENOTFOUND
           : slot->errand->seats > 1      ? KP_EMISUSE
           : is_unheard_of(slot)          ? KP_ENOTFOUND
                                          : 0;
    if (code == 0) kp__lease_write(pool, slot, 0, out);
    if (code == KP_EMISUSE)
        kp__misuse_within(pool, &todo, NULL,
                          "kp_lease_of: with limits.sharing above 1 it cannot tell whose lease is "
                          "meant");
    kp__leave(pool, &todo);
    return code;
}
