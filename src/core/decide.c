/* SPDX-License-Identifier: MIT
 *
 * May this request have something now, and if not, what is in its way? serve.c asks, for whoever is
 * next.
 *
 * The order of the questions lets all presets compose: is it refused at once (shedding, the
 * circuit), lent permits, a resource that is there, the key's health, creations, the key's live
 * limit, budgets over keys (where an idle one elsewhere may make room). All permits or none: a
 * request never holds one kind while it waits for another, except that a sponsor keeps its lent
 * permit.
 */
#include "base/check.h"
#include "core/calendar.h"
#include "core/doubt.h"
#include "core/give.h"
#include "core/permit.h"
#include "core/resize.h"
#include "core/serve.h"
#include "core/todo.h"

enum verdict { GO_ON, ANSWERED, LACKS };

/* One look at one request. */
struct look {
    struct kp__core *core;
    struct kp__request *request;
    struct kp__subpool *sub;
    uint64_t now;
    struct kp__todo *todo;
    struct kp__lack *lack; /* LACKS: what */
};

static enum verdict lacks(struct look *l, enum kp__limit limit, struct kp__budget *budget,
                          uint64_t again)
{
    l->request->limit = (uint8_t)limit;
    *l->lack = (struct kp__lack){ budget, again };
    return LACKS;
}

static enum verdict lacks_permit(struct look *l, struct kp__budget *budget)
{
    return lacks(l, budget->limit, budget, KP__NEVER);
}

static enum verdict answer_no(struct look *l, int code, enum kp__limit limit)
{
    kp__grant_no(l->request, code, limit);
    return ANSWERED;
}

/* ---- told at once ---------------------------------------------------------------------------- */

/* CoDel: a queue is slow when for a whole interval everybody in it has waited longer than the
 * target. Then it refuses requests that have waited twice the target; but not one that waits alone,
 * whose place is of use to nobody else. */
static enum verdict shed(struct look *l)
{
    const struct kp__rules *r = l->sub->rules;

    if (r->shed_target == KP__NEVER || !l->request->waited || l->sub->waiting == 1 ||
        !l->sub->rare->shed.slow || kp__waited(l->request, l->now) <= 2 * r->shed_target)
        return GO_ON;
    return answer_no(l, KP_EFULL, KP__BY_SHED_TARGET);
}

static enum verdict answer_open(struct look *l)
{
    const struct kp__circuit *circuit = l->sub->rare->health.circuit;
    const struct kp__failure *cause = kp__circuit_cause(l->sub);

    if (cause) kp__blame(l->request, cause);
    else if (l->request->why) kp__circuit_tell(circuit, l->request->why);
    return answer_no(l, KP_EBREAKER, circuit->limit);
}

/* With KP_BREAK_USE an open circuit refuses leases too; but not probes, nor a request for which
 * something is under way already. */
static enum verdict circuit(struct look *l)
{
    if (!l->sub->rare->health.tripped || l->request->holds_lent) return GO_ON;
    if (!kp__breaks(l->sub->rules, KP_BREAK_USE) || !kp__circuit_bars(l->sub, l->now))
        return GO_ON;
    return answer_open(l);
}

/* ---- the right to one more lease ------------------------------------------------------------- */

static enum verdict want_lent(struct look *l)
{
    if (l->request->holds_lent) return GO_ON;
    if ((int64_t)l->sub->lent_permits >= l->sub->rules->max_lent)
        return lacks(l, KP__BY_MAX_LENT, NULL, KP__NEVER);
    if (kp__budget_is_full(&l->core->lent)) kp__lanes_yield_lent(l->core);
    if (!kp__budget_may_take(l->core, &l->core->lent, l->sub))
        return lacks_permit(l, &l->core->lent);
    return GO_ON;
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
static struct kp__slot *ready_slot(struct look *l)
{
    struct kp__subpool *sub = l->sub;
    struct kp__list *node;

    while ((node = kp__list_first(&sub->rare->open_seats)) != NULL) {
        struct kp__slot *slot = KP__OF(node, struct kp__errand, open_seat)->slot;
        if (!kp__is_too_old(slot, KP_CHECK_GET, l->now)) return slot;
        (void)kp__doom(l->core, slot, kp__end_of_age(slot), l->todo); /* its borrowers go on */
    }
    while (sub->count[KP__IDLE] > 0) {
        struct kp__slot *slot = next_idle(sub);
        bool new = slot->due_to_key && !slot->old;
        bool young = new || l->now < kp__expires_at(slot, KP_CHECK_GET);
        if (young && !kp__is_used_up(slot)) return slot;
        kp__close_idle(l->core, slot,
                       kp__is_used_up(slot) ? KP_CAUSE_USES : kp__expired(slot, KP_CHECK_GET),
                       l->todo);
    }
    return NULL;
}

static struct kp__budget *budget_in(struct look *l, int place)
{
    if (place == KP__POOL) return &l->core->live;
    return kp__group_budget(l->sub, place - KP__GROUP_0);
}

/* A budget that is short, in which this slot's room is owed to another key; or NULL. */
static struct kp__budget *owed_elsewhere(struct look *l, const struct kp__slot *slot)
{
    struct kp__subpool *sub = l->sub;
    bool in_use = slot->state != KP__IDLE;

    if (l->core->starved == 0 || !l->core->evicts || slot->due_to_key) return NULL;
    if (kp__sub_staying(sub) <= kp__sub_kept(sub)) return NULL;
    for (int p = KP__GROUP_1; p >= KP__POOL; p--) {
        struct kp__budget *b = budget_in(l, p);
        if (!b) continue;
        if (in_use ? kp__budget_owed_used(l->core, b, sub) : kp__budget_owed(l->core, b, sub))
            return b;
    }
    return NULL;
}

/* This slot, or if its room is owed to another key, what may be taken instead; NULL: nothing. A
 * shared resource never becomes idle while requests of its own key go on taking seats. So where
 * nothing idle could go instead, one is left to drain, no more than one at a time. */
static struct kp__slot *not_owed(struct look *l, struct kp__slot *slot)
{
    struct kp__slot *drains = l->sub->rare->draining;

    if (drains && !owed_elsewhere(l, drains)) {
        kp__drain(l->core, drains, false);
        kp__open_seats(l->core, drains);
        return slot ? slot : ready_slot(l);
    }
    if (!drains && slot && l->sub->count[KP__IDLE] == 0 && owed_elsewhere(l, slot)) {
        kp__drain(l->core, slot, true);
        return ready_slot(l);
    }
    return slot;
}

/* All idle ones are in doubt. May a new one be made at once, without anything having to go, or is
 * one being made for this request already? Then it need not wait for one of them to be validated:
 * the keeper tests what is in doubt meanwhile, and whatever is ready first serves the request. */
static bool is_raced(const struct look *l)
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
static bool probes_by_use(const struct look *l)
{
    return l->sub->rare->health.tripped && kp__breaks(l->sub->rules, KP_BREAK_USE) &&
           !kp__circuit_bars(l->sub, l->now);
}

/* The request gets this one: its lease begins. */
static enum verdict take(struct look *l, struct kp__slot *slot)
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
    return ANSWERED;
}

static enum verdict take_ready(struct look *l)
{
    struct kp__budget *owed;

    if (l->request->flags & KP_FRESH) return GO_ON;
    struct kp__slot *slot = kp__any_ready(l->sub) ? ready_slot(l) : NULL;
    if (l->core->starved > 0 || l->sub->rare->draining) {
        slot = not_owed(l, slot);
        /* one is left to drain: no seat for this request, and no reason to make another */
        if (!slot) slot = l->sub->rare->draining;
        if (slot && (slot->state == KP__IDLE || slot->errand->draining) &&
            (owed = owed_elsewhere(l, slot)) != NULL)
            return lacks_permit(l, owed);
    }
    if (!slot) return GO_ON;
    if (slot->doubted && is_raced(l)) return GO_ON;
    if (l->sub->rules->wait_eventual && kp__is_left(l->core, l->request, l->now)) {
        kp__offer(l->request, l->todo);
        return lacks(l, KP__BY_WAIT_ORDER, NULL, KP__NEVER);
    }
    return take(l, slot);
}

/* ---- the right to create one: health --------------------------------------------------------- */

static enum verdict told_before(struct look *l)
{
    const struct kp__health *h = &l->sub->rare->health;
    struct kp__list *first = kp__list_first(&h->kept);
    struct kp__failure *failure = first ? KP__OF(first, struct kp__failure, link) : NULL;

    if (!failure && h->last && l->now < h->last->until) failure = h->last;
    if (!failure) return GO_ON;
    int code = failure->code;
    kp__blame(l->request, failure);
    if (first) { /* its memory leaves with the to-do */
        kp__list_remove(first);
        kp__list_push_back(&l->todo->spent, first);
        kp__rare(l->core, l->sub)->health.kept_count--;
        /* as long as it was kept, it stood for a resource (kp__refill_wanted) */
        if (l->sub->rules->eager) kp__want_more(l->core, l->sub, l->now);
    }
    return answer_no(l, code, KP__BY_CACHE_FAILURE);
}

/* No creation may begin now. If there is a code for that, a request that only a creation can help
 * is refused with it, and told the cause. The others wait. */
static enum verdict barred(struct look *l, enum kp__limit limit, uint64_t again)
{
    const struct kp__health *h = &l->sub->rare->health;
    bool down = l->sub->rules->fail_fast && h->failures > 0;
    int code = h->refused ? KP_EREFUSED : down ? KP_ECREATE : 0;

    if (code == 0 || !kp__needs_creation(l->request)) return lacks(l, limit, NULL, again);
    if (h->last) kp__blame(l->request, h->last);
    return answer_no(l, code, limit);
}

static enum verdict healthy(struct look *l)
{
    const struct kp__rules *r = l->sub->rules;
    const struct kp__health *h = &l->sub->rare->health;

    if (h->refused) return barred(l, KP__BY_DRIVER_CREATE, KP__NEVER);
    enum verdict v = told_before(l);
    if (v != GO_ON) return v;
    if (h->tripped && kp__circuit_bars(l->sub, l->now)) return answer_open(l);
    if (!h->tripped && l->now < h->back_off) return barred(l, KP__BY_RETRY, h->back_off);
    /* after a failure one goes first, to find out. Not where there is no pause: then each request
     * makes its own attempt, and is told its own failure; nor where a circuit knows how many */
    int64_t most = h->failures && r->retry_first && !h->tripped ? 1 : r->max_creating;
    return kp__sub_creating(l->sub) < most ? GO_ON : barred(l, KP__BY_MAX_CREATING, KP__NEVER);
}

/* ---- the right to create one: room ----------------------------------------------------------- */

/* How many count against max_live. */
static int64_t counted(const struct kp__subpool *sub)
{
    return kp__sub_live(sub) + sub->contest->promised - kp__sub_extra(sub);
}

static enum verdict room_in_key(struct look *l, struct kp__slot **victim)
{
    const struct kp__rules *r = l->sub->rules;
    int64_t live = counted(l->sub);

    *victim = NULL;
    /* only KP_FRESH comes here past an idle one */
    if (l->sub->count[KP__IDLE] > 0 && live <= r->max_live + r->reserve &&
        (live >= r->max_live || !kp__budgets_have_room(l->core, l->sub))) {
        *victim = kp__oldest_idle(l->sub);
        return GO_ON;
    }
    if (live < r->max_live) return GO_ON;
    if (r->reserve == 0 || live >= r->max_live + r->reserve)
        return lacks(l, KP__BY_MAX_LIVE, NULL, KP__NEVER);
    uint64_t late = kp__later(l->request->arrived, r->reserve_after);
    return l->now >= late ? GO_ON : lacks(l, KP__BY_MAX_LIVE, NULL, late);
}

static struct kp__slot *pick(struct look *l, int place)
{
    return kp__evict_pick(l->core, budget_in(l, place));
}

/* A waived victim of this key whose end makes room in all budgets that are full; NULL: there is
 * none, or they were lowered meanwhile and need that room themselves. */
static struct kp__slot *waived(const struct look *l, const bool full[KP__FILED])
{
    const struct kp__list *list = &l->sub->rare->waived;

    if (!kp__may_stay(l->core, l->sub)) return NULL;
    for (struct kp__list *n = kp__list_first(list); n; n = kp__list_next(list, n)) {
        struct kp__slot *slot = KP__OF(n, struct kp__errand, victims)->slot;
        bool fits = true;
        for (int i = 0; i < 2; i++)
            if (full[KP__GROUP_0 + i] &&
                slot->sub->contest->group[i] != l->sub->contest->group[i])
                fits = false;
        if (fits) return slot;
    }
    return NULL;
}

/* Pick as few idle ones as make room in all budgets that are full. What is in a group is in the
 * pool, too: so one is enough, unless both groups are full and no idle one is in both; then two. */
static enum verdict victims(struct look *l, const bool full[KP__FILED], struct kp__slot **victim)
{
    struct kp__slot *other = NULL;
    int last = full[KP__GROUP_1] ? KP__GROUP_1 : full[KP__GROUP_0] ? KP__GROUP_0 : KP__POOL;

    if ((*victim = waived(l, full)) != NULL) return GO_ON;
    if (full[KP__GROUP_0] && full[KP__GROUP_1]) {
        if ((*victim = pick(l, KP__BOTH_GROUPS)) != NULL) return GO_ON;
        if ((other = pick(l, KP__GROUP_0)) == NULL)
            return lacks_permit(l, budget_in(l, KP__GROUP_0));
    }
    if ((*victim = pick(l, last)) == NULL)
        return lacks_permit(l, budget_in(l, last));
    /* that of group 1 goes first: kp__promise_pass */
    kp__errand(l->core, *victim)->victim.next = other;
    return GO_ON;
}

/* The key that is first of those that lack a token is told when the next one comes, and so is
 * upkeep, in case the request is of an event loop that sleeps. Other keys are told when they become
 * first. But a KP_FRESH request is told in any case, since its key may stand in another heap, for
 * what its other requests lack. */
static enum verdict want_token(struct look *l)
{
    struct kp__core *core = l->core;
    struct kp__budget *budget = &core->rate.budget;
    if (l->sub->contest->lacks == budget) kp__starve(core, l->sub, budget); /* ranked anew */
    bool first = !kp__budget_outranked(core, budget, l->sub);
    uint64_t at = kp__token_at(&core->rate, l->now);

    if (first && at <= l->now) return GO_ON;
    if (first) kp__file_sub(core, l->sub, at);
    return lacks(l, budget->limit, budget,
                 first || (l->request->flags & KP_FRESH) ? at : KP__NEVER);
}

/* There is a rate; or there was one until now, and keys that still stand in its heap come first. */
static bool is_paced(const struct kp__core *core)
{
    return core->rate.per_s || kp__heap_top(&core->rate.budget.starved);
}

static enum verdict room_in_budgets(struct look *l, struct kp__slot **victim)
{
    struct kp__core *core = l->core;
    bool full[KP__FILED] = { false }, any = false;

    if (!kp__budget_may_take(core, &core->creating, l->sub))
        return lacks_permit(l, &core->creating);
    if (is_paced(core) && want_token(l) != GO_ON) return LACKS;
    if (*victim) return GO_ON;
    for (int p = KP__GROUP_1; p >= KP__POOL; p--) {
        struct kp__budget *b = budget_in(l, p);
        if (!b || kp__budget_may_take(core, b, l->sub)) continue;
        if (kp__budget_outranked(core, b, l->sub)) return lacks_permit(l, b);
        full[p] = any = true;
    }
    return any ? victims(l, full, victim) : GO_ON;
}

static void promise(struct look *l, struct kp__slot *victim)
{
    bool goes = victim->state == KP__CLOSING; /* it was waived */

    kp__promise(l->core, l->sub, victim);
    if (goes) {
        kp__errand_of(victim)->sponsor = l->request;
        return;
    }
    for (struct kp__slot *s = victim; s; s = s->errand->victim.next) {
        s->cause = s->sub == l->sub ? KP_CAUSE_FRESH : KP_CAUSE_EVICTED;
        kp__slot_move(l->core, s, KP__CLOSING);
    }
}

static enum verdict take_permit(struct look *l)
{
    struct kp__subpool *sub = l->sub;
    struct kp__slot *victim;
    enum verdict v;

    if (!l->core->can_create) return lacks(l, KP__BY_DRIVER_CREATE, NULL, KP__NEVER);
    if (l->request->slot) return lacks(l, kp__making_limit(l->request->slot), NULL, KP__NEVER);
    if (l->request->flags & (KP_DONT_CREATE | KP_DONT_WAIT))
        return lacks(l, counted(sub) < sub->rules->max_live ? KP__BY_FLAGS : KP__BY_MAX_LIVE, NULL,
                     KP__NEVER);
    if ((v = healthy(l)) != GO_ON) return v;
    if ((v = room_in_key(l, &victim)) != GO_ON) return v;
    if ((v = room_in_budgets(l, &victim)) != GO_ON) return v;
    if (!l->request->holds_lent) kp__lent_take(l->core, sub);
    l->request->holds_lent = true;
    if (l->core->rate.per_s) kp__token_take(&l->core->rate, l->now);
    if (victim) promise(l, victim);
    else kp__permit_take(l->core, sub);
    if (sub->rules->prefill) kp__want_more(l->core, sub, l->now);
    kp__grant(l->request, KP__GRANT_PERMIT, victim);
    if (sub->rare->health.tripped) {
        l->request->grant.probe = true;
        l->request->grant.first = kp__probe_begin(l->core, sub, l->now);
    }
    return ANSWERED;
}

/* ---- the decision ---------------------------------------------------------------------------- */

bool kp__decide(struct kp__core *core, struct kp__request *request, uint64_t now,
                struct kp__todo *todo, struct kp__lack *lack)
{
    struct look l = { core, request, request->sub, now, todo, lack };
    enum verdict v;

    *lack = (struct kp__lack){ NULL, KP__NEVER };
    v = l.sub->rules ? shed(&l) : lacks(&l, KP__BY_LIMITS_FOR, NULL, KP__NEVER);
    if (v == GO_ON) v = circuit(&l);
    if (v == GO_ON) v = want_lent(&l);
    if (v == GO_ON) v = take_ready(&l);
    if (v == GO_ON) v = take_permit(&l); /* which never goes on */
    if (v == ANSWERED) return true;
    if (request->flags & KP_DONT_WAIT) /* also after a check that failed */
        return answer_no(&l, KP_EAGAIN, request->limit) == ANSWERED;
    return kp__refuses_late(request->sub) && kp__is_too_late(core, request, now);
}
