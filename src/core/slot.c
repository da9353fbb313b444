/* SPDX-License-Identifier: MIT
 *
 * The one mover of slots (I1), the seats of their borrowers, and the index from a resource to its
 * slot. decide.c lends them, give.c takes them back.
 */
#include "core/slot.h"

#include "base/check.h"
#include "core/background.h"
#include "core/calendar.h"
#include "core/doubt.h"
#include "core/renew.h"

/* ---- errands --------------------------------------------------------------------------------- */

const struct kp__errand kp__no_errand = { .seats = 1 };

/* An errand that was put back is as new, except for what the first lease writes anyway. */
void kp__errand_begin(struct kp__core *core, struct kp__slot *slot)
{
    struct kp__errand *errand = kp__slab_take(&core->errands);

    KP__DCHECK(errand && errand->borrowers == 0 && !errand->first.lent);
    errand->slot = slot;
    errand->seats = 1;
    slot->errand = errand;
}

static void end_errand(struct kp__core *core, struct kp__slot *slot)
{
    if (!kp__has_errand(slot)) return;
    KP__DCHECK(!slot->errand->job && !slot->errand->sponsor);
    kp__slab_put(&core->errands, kp__errand_of(slot));
    slot->errand = &kp__no_errand;
}

struct kp__slot *kp__slot_take(struct kp__core *core)
{
    struct kp__slot *slot = kp__slab_take(&core->slots);

    if (!slot) return NULL;
    /* it was put back as new, except for its generation and what is written before it is read */
    KP__DCHECK(!slot->resource && !slot->cell && !slot->on_lane && !slot->doubted &&
               !slot->watched && !kp__timer_is_filed(&slot->due));
    slot->state = KP__FREE;
    slot->lends = 0;
    slot->old = slot->ageing = slot->due_to_key = false;
    slot->errand = &kp__no_errand;
    kp__list_init(&slot->link);
    return slot;
}

void kp__slot_put(struct kp__core *core, struct kp__slot *slot)
{
    if (kp__has_errand(slot)) {
        struct kp__errand *errand = kp__errand_of(slot);
        errand->doomed = errand->draining = errand->owes_lent = errand->renews = false;
        errand->sponsor = NULL;
        errand->victim = (struct kp__victim){ .next = NULL };
        end_errand(core, slot);
    }
    kp__slab_put(&core->slots, slot);
}

/* ---- states ---------------------------------------------------------------------------------- */

static void count_moved(struct kp__core *core, struct kp__subpool *sub, enum kp__state from,
                        enum kp__state to, uint32_t many)
{
    KP__DCHECK(sub->count[from] >= many);
    sub->count[from] -= many;
    core->count[from] -= many;
    if (from == KP__CREATING) core->creating.used -= many;
    for (int g = 0; g < KP__GROUPS; g++) {
        struct kp__budget *budget = kp__group_budget(sub, g);
        if (!budget) continue;
        if (to == KP__CLOSING) budget->closing += many;
        if (from == KP__CLOSING) budget->closing -= many;
        if (to == KP__FREE) budget->used -= many;
    }
    if (to == KP__FREE) {
        core->live.used -= many;
        return;
    }
    sub->count[to] += many;
    core->count[to] += many;
}

/* Take it off the list that its state names, and those of slots that may be shared, or drain. */
static void leave_lists(struct kp__core *core, struct kp__slot *slot)
{
    kp__list_remove(&slot->link);
    kp__close_seats(slot);
    if (slot->errand->draining) kp__drain_end(core, slot);
}

static void change_list(struct kp__core *core, struct kp__slot *slot, enum kp__state to)
{
    if (to == KP__FREE) { /* it was on no list, and nobody's */
        slot->state = KP__FREE;
        return;
    }
    leave_lists(core, slot);
    slot->state = (uint8_t)to;
    if (to == KP__IDLE) { /* the front is the most recently used */
        slot->order = ++core->returns;
        slot->tested = false;
        kp__list_push_front(KP__SLOTS(slot->sub, to), &slot->link);
        if (slot->errand->seats == 1) end_errand(core, slot);
    } else if (to == KP__LENT) {
        kp__list_push_back(KP__SLOTS(slot->sub, to), &slot->link);
        if (!kp__has_errand(slot)) kp__errand_begin(core, slot);
    } else if (to == KP__CLOSING) { /* destroy may free it, and another be made at its address */
        kp__map_remove(&core->idents, &slot->ident);
        kp__unfile_slot(core, slot);
        kp__doubt_end(core, slot);
        if (slot->ageing) kp__aged(core, slot);
    }
}

static inline void move(struct kp__core *core, struct kp__slot *const *slots, uint32_t many,
                        enum kp__state to)
{
    struct kp__subpool *sub = slots[0]->sub;
    enum kp__state from = slots[0]->state;

    KP__DCHECK(from != KP__FREE && from != to && !sub->open);
    kp__account(core, sub);
    if (core->starved && from == KP__IDLE && to == KP__LENT) kp__served(core, sub, KP__IN_USE);
    /* most of what follows would be waiting for the table's memory: prefetch all of it at once */
    if (to == KP__CLOSING)
        for (uint32_t i = 1; i < many; i++) kp__map_expect(&core->idents, &slots[i]->ident);
    count_moved(core, sub, from, to, many);
    for (uint32_t i = 0; i < many; i++) change_list(core, slots[i], to);
    kp__evictable_update(core, sub);
    kp__rank_anew(core, sub);
}

void kp__slots_move(struct kp__core *core, struct kp__slot *const *slots, uint32_t many,
                    enum kp__state to)
{
    move(core, slots, many, to);
}

void kp__slot_move(struct kp__core *core, struct kp__slot *slot, enum kp__state to)
{
    move(core, &slot, 1, to);
}

void kp__slot_record(struct kp__core *core, struct kp__slot *slot, enum kp__state state)
{
    count_moved(core, slot->sub, slot->state, state, 1);
    change_list(core, slot, state);
}

/* ---- tests ----------------------------------------------------------------------------------- */

/* A tested slot counts as one that is being created, but holds no permit to create. */
static void count_tests(struct kp__core *core, struct kp__slot *slot, uint32_t more)
{
    kp__rare(core, slot->sub)->tests += more;
    core->tests += more;
}

void kp__slot_test(struct kp__core *core, struct kp__slot *slot)
{
    kp__account(core, slot->sub);
    count_tests(core, slot, 1); /* before its key is ranked: it makes none */
    kp__slot_move(core, slot, KP__CREATING);
    slot->state = KP__TESTED;
    kp__list_push_back(&kp__rare(core, slot->sub)->tested, &slot->link);
    kp__unfile_slot(core, slot);
}

void kp__slot_tested(struct kp__core *core, struct kp__slot *slot, enum kp__state to)
{
    slot->state = KP__CREATING;
    kp__account(core, slot->sub); /* before it counts as being made, and not as tested */
    core->creating.used++; /* the move below gives it back */
    count_tests(core, slot, UINT32_MAX);
    kp__slot_move(core, slot, to);
}

void kp__slot_back(struct kp__core *core, struct kp__slot *slot)
{
    struct kp__list *idle = KP__SLOTS(slot->sub, KP__IDLE), *before;
    uint64_t order = slot->order;

    kp__slot_tested(core, slot, KP__IDLE);
    slot->order = order;
    kp__list_remove(&slot->link);
    before = idle->prev;
    while (before != idle && KP__OF(before, struct kp__slot, link)->order < order)
        before = before->prev;
    kp__list_insert_before(before->next, &slot->link);
    kp__evictable_back(core, slot);
}

/* ---- taking back ----------------------------------------------------------------------------- */

void kp__slot_revoke(struct kp__core *core, struct kp__slot *slot)
{
    struct kp__subpool *sub = slot->sub;
    struct kp__rare *rare = kp__rare(core, sub);

    KP__DCHECK(slot->state == KP__LENT && !sub->open);
    kp__account(core, sub);
    count_moved(core, sub, KP__LENT, KP__FREE, 1);
    rare->revoked++;
    core->revoked++;
    leave_lists(core, slot);
    if (slot->ageing) kp__aged(core, slot);
    slot->state = KP__REVOKED;
    kp__list_push_back(&rare->taken, &slot->link);
    kp__unfile_slot(core, slot);
    kp__evictable_update(core, sub);
    kp__rank_anew(core, sub);
}

void kp__slot_reclaim(struct kp__core *core, struct kp__slot *slot)
{
    KP__DCHECK(slot->state == KP__REVOKED);
    kp__list_remove(&slot->link);
    kp__map_remove(&core->idents, &slot->ident); /* as above: destroy may free it */
    slot->state = KP__RECLAIMED;
}

/* ---- seats ----------------------------------------------------------------------------------- */

/* The first of its borrowers' seats; there must be one. */
static const struct kp__seat *first_lent(const struct kp__slot *slot)
{
    uint32_t seat = 0;

    while (!kp__seat_at(slot, seat)->lent) seat++;
    return kp__seat_at(slot, seat);
}

/* Is it being reset, or validated before it is lent? Then its one borrower's seat says so. */
static bool is_busy(const struct kp__slot *slot)
{
    return slot->errand->borrowers == 1 && first_lent(slot)->ending;
}

/* Nobody else may share it: it goes when its last lease ends, or is validated then; or it has more
 * seats than may be taken by now (kp_limits_set). */
static bool is_spent(const struct kp__slot *slot)
{
    return slot->errand->doomed || slot->doubted || kp__is_used_up(slot) ||
           slot->errand->borrowers >= slot->sub->rules->sharing;
}

/* Put it on the list of slots with a seat left, if it is not there already. */
static void offer_seats(struct kp__core *core, struct kp__slot *slot)
{
    if (!kp__list_linked(&slot->errand->open_seat))
        kp__list_push_front(&kp__rare(core, slot->sub)->open_seats,
                            &kp__errand_of(slot)->open_seat);
}

void kp__open_seats(struct kp__core *core, struct kp__slot *slot)
{
    const struct kp__errand *errand = slot->errand;

    if (errand->borrowers < errand->seats && !is_spent(slot) && !errand->draining && !is_busy(slot))
        offer_seats(core, slot);
}

void kp__review_seats(struct kp__core *core, struct kp__slot *slot)
{
    if (is_spent(slot)) kp__close_seats(slot);
    /* a borrower that does not know of it yet may have to validate it first (flow/check.c) */
    if (first_lent(slot)->hold != KP__GRANTED) kp__open_seats(core, slot);
}

uint32_t kp__seat_take(struct kp__core *core, struct kp__slot *slot,
                       const struct kp__request *request, uint64_t now)
{
    struct kp__subpool *sub = slot->sub;
    uint32_t seat = 0;

    while (kp__seat_at(slot, seat)->lent) seat++;
    KP__DCHECK(seat < slot->errand->seats);
    if (slot->errand->borrowers == 0) kp__slot_move(core, slot, KP__LENT);
    struct kp__errand *errand = kp__errand_of(slot);
    errand->borrowers++;
    slot->lends++;
    sub->leases++;
    core->leases++;
    struct kp__seat *s = kp__seat_at(slot, seat);
    *s = (struct kp__seat){ .generation = ++slot->generation,
                           .since = now,
                           .tag = request->tag,
                           .site = kp__site_of(request),
                           .era = core->era,
                           .lent = true };
    if (errand->borrowers == errand->seats || is_spent(slot)) kp__close_seats(slot);
    else offer_seats(core, slot);
    kp__file_lease(core, slot, s, 0);
    if (sub->rules->min_idle > 0 || sub->rules->utilization_pct < 100)
        kp__want_more(core, sub, now);
    return seat;
}

void kp__seat_leave(struct kp__core *core, struct kp__slot *slot, uint32_t seat, uint64_t now)
{
    struct kp__subpool *sub = slot->sub;
    struct kp__errand *errand = kp__errand_of(slot);
    struct kp__seat *s = kp__seat_at(slot, seat);

    KP__DCHECK(s->lent && errand->borrowers > 0);
    s->lent = false;
    errand->borrowers--;
    sub->leases--;
    core->leases--;
    if (s->since) KP__TALLY(core, sub, held_ns += now - s->since);
    if (errand->borrowers > 0 && !is_spent(slot) && !errand->draining) offer_seats(core, slot);
}

/* ---- draining -------------------------------------------------------------------------------- */

void kp__drain_begin(struct kp__core *core, struct kp__slot *slot)
{
    struct kp__rare *rare = kp__rare(core, slot->sub);

    kp__errand_of(slot)->draining = true;
    rare->draining = slot;
    kp__list_push_back(&core->drains, &rare->drains);
    core->draining++;
    kp__close_seats(slot);
}

void kp__drain_end(struct kp__core *core, struct kp__slot *slot)
{
    struct kp__rare *rare = kp__rare(core, slot->sub);

    kp__errand_of(slot)->draining = false;
    rare->draining = NULL;
    kp__list_remove(&rare->drains);
    core->draining--;
}

/* ---- the index by resource ------------------------------------------------------------------- */

/* Neighbours in memory are neighbours in the table, 4096 at a time, so that resources made one
 * after the other come and go without cache misses. Nobody outside chooses addresses, so none are
 * chosen to collide. */
static uint64_t hash_of(const void *resource)
{
    uint64_t at = (uint64_t)(uintptr_t)resource, near = at >> 4 & 0xfff;
    uint64_t h = (at ^ near << 4) * UINT64_C(0x9e3779b97f4a7c15);

    return (h ^ h >> 29) + near;
}

uint64_t kp__slot_hash(const struct kp__map_node *node)
{
    return hash_of(KP__OF(node, struct kp__slot, ident)->resource);
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

    /* cover: never, because two addresses would need the same hash, of 64 bits */
    return slot->resource == resource && !slot->errand->doomed;
}

struct kp__slot *kp__slot_of_live(struct kp__core *core, const void *resource)
{
    struct kp__map_node *node = kp__map_find(&core->idents, hash_of(resource), same_live, resource);

    return node ? KP__OF(node, struct kp__slot, ident) : NULL;
}

void kp__slot_enter(struct kp__core *core, struct kp__slot *slot)
{
    kp__map_insert(&core->idents, &slot->ident);
}
