/* SPDX-License-Identifier: MIT
 *
 * The one mover of slots (I1), the seats of their borrowers, and the index from a resource to its
 * slot. serve.c lends them, give.c takes them back.
 */
#include "core/slot.h"

#include "base/check.h"
#include "core/core.h"

static uint64_t hash_of(const void *resource)
{
    uint64_t h = (uint64_t)(uintptr_t)resource * UINT64_C(0x9e3779b97f4a7c15);

    return h ^ (h >> 29); /* mixed well enough for addresses, which nobody outside chooses */
}

static bool same_resource(const struct kp__map_node *node, const void *resource)
{
    return KP__OF(node, struct kp__slot, ident)->resource == resource;
}

struct kp__slot *kp__slot_of(struct kp__core *core, const void *resource)
{
    struct kp__map_node *node =
        kp__map_find(&core->idents, hash_of(resource), same_resource, resource);

    return node ? KP__OF(node, struct kp__slot, ident) : NULL;
}

static bool same_live(const struct kp__map_node *node, const void *resource)
{
    const struct kp__slot *slot = KP__OF(node, struct kp__slot, ident);

    /* cover: never, because no two addresses have one hash, so the first half is always true */
    return slot->resource == resource && !slot->doomed;
}

struct kp__slot *kp__slot_of_live(struct kp__core *core, const void *resource)
{
    struct kp__map_node *node = kp__map_find(&core->idents, hash_of(resource), same_live, resource);

    return node ? KP__OF(node, struct kp__slot, ident) : NULL;
}

void kp__slot_known(struct kp__core *core, struct kp__slot *slot)
{
    slot->ident.hash = hash_of(slot->resource);
    kp__map_insert(&core->idents, &slot->ident);
}

/* ---- states ---------------------------------------------------------------------------------- */

static void leave_state(struct kp__core *core, struct kp__slot *slot)
{
    struct kp__subpool *sub = slot->sub;

    kp__list_remove(&slot->link);
    kp__list_remove(&slot->open_seat);
    KP__DCHECK(sub->count[slot->state] > 0);
    sub->count[slot->state]--;
    core->count[slot->state]--;
    if (slot->state == KP__CREATING) core->creating.used--;
    if (slot->draining) kp__drain(core, slot, false);
}

static void enter_state(struct kp__core *core, struct kp__slot *slot, enum kp__state to)
{
    struct kp__subpool *sub = slot->sub;

    slot->state = (uint8_t)to;
    sub->count[to]++;
    core->count[to]++;
    if (to == KP__IDLE) { /* the front is the most recently used */
        slot->order = ++core->returns;
        kp__list_push_front(KP__SLOTS(sub, to), &slot->link);
    } else if (to == KP__LENT) {
        kp__list_push_back(KP__SLOTS(sub, to), &slot->link);
    }
}

void kp__slot_move(struct kp__core *core, struct kp__slot *slot, enum kp__state to)
{
    struct kp__subpool *sub = slot->sub;

    KP__DCHECK(slot->state != KP__FREE && slot->state != to && !sub->open);
    if (core->starved) {
        kp__account_now(core, sub);
        if (slot->state == KP__IDLE && to == KP__LENT) kp__served(core, sub, KP__IN_USE);
    }
    leave_state(core, slot);
    if (to == KP__CLOSING) { /* destroy may free its memory for another resource to be made there */
        kp__map_remove(&core->idents, &slot->ident);
        kp__unfile_slot(core, slot);
    }
    if (to == KP__FREE) {
        slot->state = KP__FREE;
        core->live.used--;
        for (int i = 0; i < 2; i++)
            if (kp__group_budget(sub, i)) kp__group_budget(sub, i)->used--;
    } else {
        enter_state(core, slot, to);
    }
    kp__evictable_update(core, sub);
    if (sub->contest->lacks) kp__starve(core, sub, sub->contest->lacks);
}

void kp__slot_found(struct kp__core *core, struct kp__slot *slot, enum kp__state state)
{
    leave_state(core, slot);
    enter_state(core, slot, state);
}

void kp__drain(struct kp__core *core, struct kp__slot *slot, bool on)
{
    slot->draining = on;
    kp__rare(core, slot->sub)->draining = on ? slot : NULL;
    kp__list_remove(&slot->open_seat); /* one that drained is not there */
}

/* ---- seats ----------------------------------------------------------------------------------- */

/* Is it being reset, or looked at? Then it has one borrower, whose lease is ending or in doubt. */
static bool is_busy(struct kp__slot *slot)
{
    uint32_t seat = 0;

    if (slot->borrowers != 1) return false;
    while (!kp__seat_at(slot, seat)->lent) seat++;
    return kp__seat_at(slot, seat)->ending;
}

void kp__open_seats(struct kp__core *core, struct kp__slot *slot)
{
    if (slot->borrowers < slot->seats && !slot->doomed && !slot->draining &&
        !kp__list_linked(&slot->open_seat) && !is_busy(slot))
        kp__list_push_front(&kp__rare(core, slot->sub)->open_seats, &slot->open_seat);
}

uint32_t kp__seat_take(struct kp__core *core, struct kp__slot *slot, uint64_t now)
{
    struct kp__subpool *sub = slot->sub;
    uint32_t seat = 0;

    while (kp__seat_at(slot, seat)->lent) seat++;
    KP__DCHECK(seat < slot->seats);
    if (slot->borrowers == 0) kp__slot_move(core, slot, KP__LENT);
    slot->borrowers++;
    slot->lends++;
    sub->leases++;
    core->leases++;
    *kp__seat_at(slot, seat) =
        (struct kp__seat){ .generation = ++slot->generation, .since = now, .lent = true };
    if (slot->borrowers == slot->seats || slot->doomed) {
        kp__list_remove(&slot->open_seat);
    } else if (!kp__list_linked(&slot->open_seat)) {
        kp__list_push_front(&kp__rare(core, sub)->open_seats, &slot->open_seat);
    }
    kp__file_slot(core, slot);
    if (sub->rules->min_idle > 0 || sub->rules->utilization_pct < 100)
        kp__want_more(core, sub, now);
    return seat;
}

void kp__seat_leave(struct kp__core *core, struct kp__slot *slot, uint32_t seat, uint64_t now)
{
    struct kp__subpool *sub = slot->sub;
    struct kp__seat *s = kp__seat_at(slot, seat);

    KP__DCHECK(s->lent && slot->borrowers > 0);
    s->lent = false;
    slot->borrowers--;
    sub->leases--;
    core->leases--;
    if (s->since) {
        sub->tally.held_ns += now - s->since;
        core->tally.held_ns += now - s->since;
    }
    if (slot->borrowers > 0 && !slot->doomed && !slot->draining &&
        !kp__list_linked(&slot->open_seat))
        kp__list_push_front(&kp__rare(core, sub)->open_seats, &slot->open_seat);
}
