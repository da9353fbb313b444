/* SPDX-License-Identifier: MIT
 *
 * May this request have something now, and if not, what is in its way? serve.c asks, for whoever is
 * next.
 *
 * The order of the questions lets all presets compose: is it refused at once (shedding, the
 * circuit), lent permits, a resource that is there, and the right to create one, of which
 * decide_create.c says more. All permits or none: a request never holds one kind while it waits for
 * another, except that a sponsor keeps its lent permit.
 */
#include "core/decide.h"

#include "base/check.h"
#include "core/background.h"
#include "core/calendar.h"
#include "core/doubt.h"
#include "core/give.h"
#include "core/permit.h"
#include "core/serve.h"

/* ---- told at once ---------------------------------------------------------------------------- */

/* CoDel: a queue is slow when for a whole interval everybody in it has waited longer than the
 * target. Then it refuses requests that have waited twice the target; but not one that waits alone,
 * whose place is of use to nobody else. */
static enum kp__verdict shed(struct kp__look *l)
{
    const struct kp__rules *r = l->sub->rules;

    if (r->shed_target == KP__NEVER || !l->request->waited || l->sub->waiting == 1 ||
        !l->sub->rare->shed.slow || kp__waited(l->request, l->now) <= 2 * r->shed_target)
        return KP__GO_ON;
    return kp__says_no(l, KP_EFULL, KP__BY_SHED_TARGET);
}

/* With KP_BREAK_USE an open circuit refuses leases too; but not probes, nor a request for which
 * something is under way already. */
static enum kp__verdict circuit(struct kp__look *l)
{
    if (!l->sub->rare->health.tripped || l->request->holds_lent) return KP__GO_ON;
    if (!kp__breaks(l->sub->rules, KP_BREAK_USE) || !kp__circuit_bars(l->sub, l->now))
        return KP__GO_ON;
    return kp__circuit_says_no(l);
}

/* ---- the right to one more lease ------------------------------------------------------------- */

static enum kp__verdict want_lent(struct kp__look *l)
{
    if (l->request->holds_lent) return KP__GO_ON;
    if ((int64_t)l->sub->lent_permits >= l->sub->rules->max_lent)
        return kp__lacks(l, KP__BY_MAX_LENT, NULL, KP__NEVER);
    if (kp__budget_is_full(&l->core->lent)) kp__lanes_yield_lent(l->core);
    if (!kp__budget_may_take(l->core, &l->core->lent, l->sub))
        return kp__lacks_permit(l, &l->core->lent);
    return KP__GO_ON;
}

/* ---- a resource that is there ---------------------------------------------------------------- */

/* The idle one that is next; one in doubt only if there is no other. */
static struct kp__slot *next_idle(const struct kp__subpool *sub)
{
    const struct kp__list *idle = KP__SLOTS(sub, KP__IDLE);
    bool lifo = sub->rules->idle_lifo;
    struct kp__list *first = lifo ? kp__list_first(idle) : kp__list_last(idle), *node = first;

    if (sub->rare->doubts > 0)
        while (node && KP__OF(node, struct kp__slot, link)->doubted)
            node = lifo ? kp__list_next(idle, node) : kp__list_prev(idle, node);
    return KP__OF(node ? node : first, struct kp__slot, link);
}

/* The lent slot with a seat left, or else the idle one, that is next; NULL: none. Those past their
 * age end here; but not one that has just been made for a request, even if it may not be idle at
 * all, unless kp_rotate retired it meanwhile. */
static struct kp__slot *ready_slot(struct kp__core *core, struct kp__subpool *sub, uint64_t now,
                                   struct kp__todo *todo)
{
    struct kp__list *node;

    while ((node = kp__list_first(&sub->rare->open_seats)) != NULL) {
        struct kp__slot *slot = KP__OF(node, struct kp__errand, open_seat)->slot;
        if (!kp__is_too_old(slot, KP_CHECK_GET, now)) return slot;
        (void)kp__doom(core, slot, kp__end_of_age(slot), todo); /* its borrowers go on */
    }
    while (sub->count[KP__IDLE] > 0) {
        struct kp__slot *slot = next_idle(sub);
        bool new = slot->due_to_key && !slot->old;
        bool young = new || now < kp__expires_at(slot, KP_CHECK_GET);
        if (young && !kp__is_used_up(slot)) return slot;
        kp__close_idle(core, slot,
                       kp__is_used_up(slot) ? KP_CAUSE_USES : kp__expired(slot, KP_CHECK_GET),
                       todo);
    }
    return NULL;
}

/* A budget that is short, in which this slot's room is owed to another key; or NULL. */
static struct kp__budget *owed_elsewhere(struct kp__core *core, const struct kp__slot *slot)
{
    struct kp__subpool *sub = slot->sub;

    if (core->starved == 0 || !core->evicts || slot->due_to_key) return NULL;
    if (kp__sub_staying(sub) <= kp__sub_kept(sub)) return NULL;
    for (int p = KP__GROUP_1; p >= KP__POOL; p--) {
        struct kp__budget *b = kp__budget_at(core, sub, p);
        if (b && kp__budget_owed(core, b, sub, slot->state)) return b;
    }
    return NULL;
}

/* This slot, or if its room is owed to another key, what may be taken instead; NULL: nothing. A
 * shared resource never becomes idle while requests of its own key go on taking seats. So where
 * nothing idle could go instead, one is left to drain, no more than one at a time. */
static struct kp__slot *not_owed(struct kp__look *l, struct kp__slot *slot)
{
    struct kp__slot *drains = l->sub->rare->draining;

    if (drains && !owed_elsewhere(l->core, drains)) {
        kp__drain_end(l->core, drains);
        kp__open_seats(l->core, drains);
        return slot ? slot : ready_slot(l->core, l->sub, l->now, l->todo);
    }
    if (!drains && slot && l->sub->count[KP__IDLE] == 0 && owed_elsewhere(l->core, slot)) {
        kp__drain_begin(l->core, slot);
        return ready_slot(l->core, l->sub, l->now, l->todo);
    }
    return slot;
}

/* All idle ones are in doubt. May a new one be made at once, without anything having to go, or is
 * one being made for this request already? Then it need not wait for one of them to be validated:
 * the keeper tests what is in doubt meanwhile, and whatever is ready first serves the request. */
static bool is_raced(const struct kp__look *l)
{
    const struct kp__health *h = &l->sub->rare->health;

    if (l->request->slot) return true;
    if (l->request->flags & (KP_DONT_CREATE | KP_DONT_WAIT)) return false;
    return l->core->can_create && h->failures == 0 && !h->tripped && kp__list_empty(&h->kept) &&
           l->sub->contest->promised == 0 && kp__sub_live(l->sub) < l->sub->rules->max_live &&
           kp__may_create(l->core, l->sub, l->now);
}

/* Is a lease that begins now a probe? Even if the circuit is not closed, it need not be one: a
 * request for which something was under way before it opened may be served all the same. */
static bool probes_by_use(const struct kp__look *l)
{
    return l->sub->rare->health.tripped && kp__breaks(l->sub->rules, KP_BREAK_USE) &&
           !kp__circuit_bars(l->sub, l->now);
}

/* The request gets this one: its lease begins. */
static enum kp__verdict take(struct kp__look *l, struct kp__slot *slot)
{
    bool idle = slot->state == KP__IDLE;
    uint64_t idle_ns = idle ? l->now - kp__proven_at(l->core, slot) : 0;
    bool made_for_it = l->request->holds_lent && slot->lends == 0; /* its own creation */
    if (!l->request->holds_lent) kp__lent_take(l->core, l->sub);
    bool probes = probes_by_use(l);
    uint32_t seat = kp__seat_take(l->core, slot, l->request, l->now);
    struct kp__seat *s = kp__seat_at(slot, seat);
    s->hit = !made_for_it;
    /* nobody shares it before it is known to be good (flow/check.c) */
    if (idle && s->hit && kp__is_stale(l->core, l->sub, idle_ns)) kp__close_seats(slot);
    kp__grant_slot(l->request, slot, seat);
    l->request->grant.was_idle = idle_ns > 0;
    if (probes) {
        s->probe = true;
        l->request->grant.first = kp__probe_begin(l->core, l->sub, l->now);
    }
    return KP__DECIDED;
}

static enum kp__verdict take_ready(struct kp__look *l)
{
    struct kp__budget *owed;

    if (l->request->flags & KP_FRESH) return KP__GO_ON;
    struct kp__slot *slot = NULL;
    if (kp__any_ready(l->sub)) slot = ready_slot(l->core, l->sub, l->now, l->todo);
    if (l->core->starved > 0 || l->sub->rare->draining) {
        slot = not_owed(l, slot);
        /* one is left to drain: no seat for this request, and no reason to make another */
        if (!slot) slot = l->sub->rare->draining;
        if (slot && (slot->state == KP__IDLE || slot->errand->draining) &&
            (owed = owed_elsewhere(l->core, slot)) != NULL)
            return kp__lacks_permit(l, owed);
    }
    if (!slot) return KP__GO_ON;
    if (slot->doubted && is_raced(l)) return KP__GO_ON;
    if (l->sub->rules->wait_eventual && kp__is_left(l->core, l->request, l->now)) {
        kp__offer(l->request, l->todo);
        return kp__lacks(l, KP__BY_WAIT_ORDER, NULL, KP__NEVER);
    }
    return take(l, slot);
}

/* ---- the decision ---------------------------------------------------------------------------- */

bool kp__decide(struct kp__core *core, struct kp__request *request, uint64_t now,
                struct kp__todo *todo, struct kp__lack *lack)
{
    struct kp__look l = { core, request, request->sub, now, todo, lack };
    enum kp__verdict v;

    v = l.sub->rules ? shed(&l) : kp__lacks(&l, KP__BY_LIMITS_FOR, NULL, KP__NEVER);
    if (v == KP__GO_ON) v = circuit(&l);
    if (v == KP__GO_ON) v = want_lent(&l);
    if (v == KP__GO_ON) v = take_ready(&l);
    if (v == KP__GO_ON) v = kp__decide_create(core, request, now, todo, lack);
    if (v == KP__DECIDED) return true;
    if (request->flags & KP_DONT_WAIT) /* also after a check that failed */
        return kp__says_no(&l, KP_EAGAIN, request->limit) == KP__DECIDED;
    return kp__refuses_late(request->sub) && kp__is_too_late(core, request, now);
}
