/* SPDX-License-Identifier: MIT
 *
 * Step 2, claim: may this request have something now, and if not, what is in its way? And settling:
 * whenever something became free, whoever is next gets it, in this key and across keys, before the
 * lock is given back (L1). flow/get.c goes on from here; what became free comes from give.c.
 *
 * The order of the questions lets all presets compose: lent permits, a resource that is there, the
 * key's health, creations, the key's live limit, budgets over keys (where an idle one elsewhere may
 * make room). All permits or none: a request never holds one kind while it waits for another,
 * except a sponsor its lent permit.
 */
#include "base/check.h"
#include "core/core.h"

enum verdict { GO_ON, ANSWERED, LACKS };

/* One look at one request. */
struct look {
    struct kp__core *core;
    struct kp__request *request;
    struct kp__subpool *sub;
    uint64_t now;
    struct kp__todo *todo;
    struct kp__budget *budget; /* LACKS: the budget, if that is all it lacks */
};

static enum verdict lacks(struct look *l, const char *limit, struct kp__budget *budget,
                          uint64_t again)
{
    l->request->limit = limit;
    l->request->again = again;
    l->budget = budget;
    return LACKS;
}

static enum verdict answer_no(struct look *l, int code, const char *limit)
{
    l->request->grant = (struct kp__grant){ .kind = KP__GRANT_NO, .code = code, .limit = limit };
    return ANSWERED;
}

/* ---- the right to one more lease ------------------------------------------------------------- */

static enum verdict want_lent(struct look *l)
{
    if (l->request->holds_lent) return GO_ON;
    if ((int64_t)l->sub->lent_permits >= l->sub->rules->max_lent)
        return lacks(l, "max_lent", NULL, KP__NEVER);
    if (!kp__budget_may_take(l->core, &l->core->lent, l->sub))
        return lacks(l, l->core->lent.name, &l->core->lent, KP__NEVER);
    return GO_ON;
}

/* ---- a resource that is there ---------------------------------------------------------------- */

/* The lent slot with a seat left, or the idle one, that is next. Those past their age end here. */
static struct kp__slot *ready_slot(struct look *l)
{
    struct kp__subpool *sub = l->sub;
    struct kp__list *node;

    while ((node = kp__list_first(&sub->open_seats)) != NULL) {
        struct kp__slot *slot = KP__OF(node, struct kp__slot, open_seat);
        if (!(sub->rules->age_check & KP_CHECK_GET) || l->now < slot->age_end) return slot;
        (void)kp__doom(l->core, slot, KP__EXPIRED, l->todo); /* its borrowers go on */
    }
    while (sub->count[KP__IDLE] > 0) {
        const struct kp__list *idle = &sub->slots[KP__IDLE];
        node = sub->rules->idle_lifo ? kp__list_first(idle) : kp__list_last(idle);
        struct kp__slot *slot = KP__OF(node, struct kp__slot, link);
        if (l->now < kp__expires_at(slot, KP_CHECK_GET)) return slot;
        kp__close_idle(l->core, slot, KP__EXPIRED, l->todo);
    }
    return NULL;
}

/* With a live budget that is short: would this slot's room do more good to a key that ranks before
 * ours? */
static bool owed_elsewhere(struct look *l, const struct kp__slot *slot)
{
    return slot->state == KP__IDLE && kp__heap_holds(&l->sub->evict[KP__IN_POOL]) &&
           kp__budget_outranked(l->core, &l->core->live, l->sub);
}

static enum verdict take_ready(struct look *l)
{
    struct kp__slot *slot;

    if (l->request->flags & KP_FRESH) return GO_ON;
    if ((slot = ready_slot(l)) == NULL) return GO_ON;
    if (owed_elsewhere(l, slot)) return lacks(l, l->core->live.name, &l->core->live, KP__NEVER);
    uint64_t idle_ns = slot->state == KP__IDLE ? l->now - slot->since : 0;
    bool made_for_it = l->request->holds_lent && slot->lends == 0; /* its own creation */
    if (!l->request->holds_lent) kp__lent_take(l->core, l->sub);
    l->request->holds_lent = false; /* the lease has it now */
    if (l->sub->health.tripped && (l->sub->rules->breaker_counts & KP_BREAK_USE))
        l->sub->health.probing = true;
    uint32_t seat = kp__seat_take(l->core, slot, l->now);
    struct kp__seat *s = kp__seat_at(slot, seat);
    s->tag = l->request->tag;
    s->site = l->request->site;
    s->hit = !made_for_it;
    l->sub->tally.hits += s->hit;
    l->core->tally.hits += s->hit;
    l->request->grant = (struct kp__grant){
        .kind = KP__GRANT_SLOT, .slot = slot, .seat = seat, .idle_ns = idle_ns
    };
    return ANSWERED;
}

/* ---- the right to create one: health --------------------------------------------------------- */

static enum verdict told_before(struct look *l)
{
    struct kp__health *h = &l->sub->health;
    struct kp__list *first = kp__list_first(&h->kept);
    struct kp__failure *failure = first ? KP__OF(first, struct kp__failure, link) : NULL;

    if (!failure && h->last && l->now < h->last->until) failure = h->last;
    if (!failure) return GO_ON;
    int code = failure->code;
    kp__blame(l->request, failure);
    if (first) { /* its memory leaves with the to-do */
        kp__list_remove(first);
        kp__list_push_back(&l->todo->spent, first);
        h->kept_count--;
    }
    return answer_no(l, code, "cache_failure_ms");
}

static enum verdict healthy(struct look *l)
{
    const struct kp__rules *r = l->sub->rules;
    struct kp__health *h = &l->sub->health;
    enum verdict v = told_before(l);

    if (v != GO_ON) return v;
    if (h->tripped && (l->now < h->open_until || h->probing)) {
        if (h->last) kp__blame(l->request, h->last);
        return answer_no(l, KP_EBREAKER, "breaker_failures");
    }
    if (!h->tripped && l->now < h->back_off) return lacks(l, "retry_first_ms", NULL, h->back_off);
    if ((int64_t)l->sub->count[KP__CREATING] + l->sub->promised >=
        (h->failures && r->retry_first ? 1 : r->max_creating))
        return lacks(l, "max_creating", NULL, KP__NEVER);
    return GO_ON;
}

/* With KP_BREAK_USE an open circuit refuses leases too, but for one probe. */
static enum verdict circuit(struct look *l)
{
    struct kp__health *h = &l->sub->health;

    if (!h->tripped || !(l->sub->rules->breaker_counts & KP_BREAK_USE)) return GO_ON;
    if (l->request->holds_lent) return GO_ON; /* it is the probe itself */
    if (l->now < h->open_until || h->probing) return answer_no(l, KP_EBREAKER, "breaker_failures");
    return GO_ON;
}

/* ---- the right to create one: room ----------------------------------------------------------- */


static enum verdict room_in_key(struct look *l, struct kp__slot **victim)
{
    const struct kp__rules *r = l->sub->rules;
    int64_t live = kp__sub_live(l->sub) + l->sub->promised;
    uint64_t late = kp__later(l->request->arrived, r->reserve_after);

    *victim = NULL;
    if ((l->request->flags & KP_FRESH) && l->sub->count[KP__IDLE] > 0 && live <= r->max_live &&
        (live == r->max_live || !kp__budgets_have_room(l->core, l->sub))) {
        *victim = kp__oldest_idle(l->sub);
        return GO_ON;
    }
    if (live < r->max_live) return GO_ON;
    if (r->reserve == 0 || live >= r->max_live + r->reserve)
        return lacks(l, "max_live", NULL, KP__NEVER);
    return l->now >= late ? GO_ON : lacks(l, "max_live", NULL, late);
}

static bool is_member(const struct kp__slot *slot, const struct kp__subpool *sub, int member)
{
    return member == KP__IN_POOL || slot->sub->group[member - 1] == sub->group[member - 1];
}

/* Budgets that are used up need a victim; one victim must free all of them. */
static enum verdict room_in_budgets(struct look *l, struct kp__slot **victim)
{
    struct kp__core *core = l->core;

    if (!kp__budget_may_take(core, &core->creating, l->sub))
        return lacks(l, core->creating.name, &core->creating, KP__NEVER);
    if (*victim) return GO_ON;
    /* the narrowest first: its victims free the wider ones too */
    for (int m = KP__MEMBERS - 1; m >= 0; m--) {
        if (m > 0 && !l->sub->group[m - 1]) continue;
        struct kp__budget *b = m ? &l->sub->group[m - 1]->budget : &core->live;
        if (kp__budget_may_take(core, b, l->sub) || (*victim && is_member(*victim, l->sub, m)))
            continue;
        bool outranked = kp__budget_outranked(core, b, l->sub);
        if (*victim || outranked ||
            (*victim = kp__evict_pick(core, b, (enum kp__member)m)) == NULL) {
            *victim = NULL;
            return lacks(l, b->name, b, KP__NEVER);
        }
    }
    return GO_ON;
}

static const char *under_way(const struct kp__slot *making)
{
    return making->state == KP__CREATING ? "create" : "destroy";
}

static enum verdict take_permit(struct look *l)
{
    struct kp__subpool *sub = l->sub;
    struct kp__slot *victim;
    enum verdict v;

    if (!l->core->can_create) return lacks(l, "driver.create", NULL, KP__NEVER);
    if (l->request->making) return lacks(l, under_way(l->request->making), NULL, KP__NEVER);
    if (l->request->flags & (KP_DONT_CREATE | KP_DONT_WAIT))
        return lacks(l, "max_live", NULL, KP__NEVER);
    if ((v = healthy(l)) != GO_ON) return v;
    if ((v = room_in_key(l, &victim)) != GO_ON) return v;
    if ((v = room_in_budgets(l, &victim)) != GO_ON) return v;
    if (!l->request->holds_lent) kp__lent_take(l->core, sub);
    l->request->holds_lent = true;
    if (victim) {
        bool own = victim->sub == sub;
        victim->reason = own ? KP__SURPLUS : KP__EVICTED;
        kp__promise(l->core, sub, victim);
        kp__slot_move(l->core, victim, KP__CLOSING);
    } else {
        kp__permit_take(l->core, sub);
    }
    if (sub->health.tripped) sub->health.probing = true;
    if (sub->rules->prefill) kp__want_more(l->core, sub, l->now);
    l->request->grant = (struct kp__grant){ .kind = KP__GRANT_PERMIT, .victim = victim };
    return ANSWERED;
}

/* ---- the decision ---------------------------------------------------------------------------- */

/* CoDel: a queue in which everybody waited longer than the target for a whole interval is slow, and
 * refuses those who waited twice. */
static enum verdict shed(struct look *l)
{
    const struct kp__rules *r = l->sub->rules;
    uint64_t waited = l->now - l->request->arrived;

    if (r->shed_target == KP__NEVER || !l->request->waited || !l->sub->shed.slow) return GO_ON;
    return waited > 2 * r->shed_target ? answer_no(l, KP_EFULL, "shed_target_ms") : GO_ON;
}

static void shed_learn(struct kp__subpool *sub, uint64_t waited, uint64_t now)
{
    struct kp__shed *s = &sub->shed;

    if (sub->rules->shed_target == KP__NEVER) return;
    if (waited < s->least_wait) s->least_wait = waited;
    if (waited < sub->rules->shed_target) s->slow = false;
    if (now < s->interval_end) return;
    s->slow = s->interval_end != 0 && s->least_wait > sub->rules->shed_target;
    s->interval_end = now + sub->rules->shed_interval;
    s->least_wait = KP__NEVER;
}

static enum verdict decide(struct look *l)
{
    static enum verdict (*const questions[])(struct look *) = { shed, circuit, want_lent,
                                                                take_ready, take_permit };
    enum verdict v = GO_ON;

    l->request->again = KP__NEVER;
    if (!l->sub->rules) return lacks(l, "limits_for", NULL, KP__NEVER);
    for (size_t i = 0; v == GO_ON && i < sizeof questions / sizeof questions[0]; i++)
        v = questions[i](l);
    return v;
}

/* ---- settling -------------------------------------------------------------------------------- */

/* The heads of the queues that want something, in order of arrival. */
static int heads(const struct kp__subpool *sub, struct kp__request *out[KP__QUEUES])
{
    bool lifo = sub->rules && sub->rules->wait_lifo;
    int n = 0;

    for (int q = 0; q < KP__OWN; q++) {
        struct kp__request *first = kp__queue_first(sub, (enum kp__queue)q);
        if (!first) continue;
        int at = n++;
        for (; at > 0 && lifo == (out[at - 1]->stamp < first->stamp); at--) out[at] = out[at - 1];
        out[at] = first;
    }
    return n;
}

/* One who waits for a moment (back-off, reserve) must know when it is. */
static void nudge(struct kp__request *request, struct kp__todo *todo)
{
    uint32_t waiting = KP__WAITING;

    if (request->again == KP__NEVER) return;
    /* relaxed: it only says "look again"; the owner takes the lock before it believes anything */
    if (atomic_compare_exchange_strong_explicit(&request->state, &waiting, KP__NUDGED,
                                                memory_order_relaxed, memory_order_relaxed))
        kp__rouse(todo, request);
}

/* Serve this key until its heads cannot go on; then it stands where it lacks something. Returns how
 * many were answered. */
static int serve(struct kp__core *core, struct kp__subpool *sub, uint64_t now,
                 struct kp__todo *todo)
{
    int served = 0;

    for (;;) {
        struct kp__request *head[KP__QUEUES];
        struct kp__budget *short_of = NULL;
        bool again = false;
        int n = heads(sub, head);
        for (int i = 0; i < n && !again; i++) {
            struct look l = { core, head[i], sub, now, todo, NULL };
            if (decide(&l) == ANSWERED) {
                shed_learn(sub, now - head[i]->arrived, now);
                kp__answer(core, head[i], todo);
                if (sub->lacks) kp__starve(core, sub, sub->lacks); /* by who is first now */
                again = true;
                served++;
            } else {
                if (!short_of) short_of = l.budget;
                nudge(head[i], todo);
            }
        }
        if (again) continue;
        kp__starve(core, sub, short_of);
        return served;
    }
}

void kp__settle_budget(struct kp__core *core, struct kp__budget *budget, uint64_t now,
                       struct kp__todo *todo)
{
    struct kp__subpool *first;

    while ((first = kp__starved_first(budget)) != NULL)
        if (serve(core, first, now, todo) == 0 && first->lacks == budget) return;
}

void kp__settle(struct kp__core *core, struct kp__subpool *sub, uint64_t now, struct kp__todo *todo)
{
    if (sub->waiting) serve(core, sub, now, todo);
    kp__settle_budget(core, &core->lent, now, todo);
    kp__settle_budget(core, &core->creating, now, todo);
    for (int i = 0; i < 2; i++)
        if (sub->group[i]) kp__settle_budget(core, &sub->group[i]->budget, now, todo);
    kp__settle_budget(core, &core->live, now, todo);
}

/* ---- 2. claim -------------------------------------------------------------------------------- */

void kp__claim(struct kp__core *core, struct kp__request *request, uint64_t now,
               struct kp__todo *todo)
{
    struct kp__subpool *sub = request->sub;
    struct look l = { core, request, sub, now, todo, NULL };
    int64_t max_waiting = sub->rules ? sub->rules->max_waiting : KP__UNBOUND;

    if (now) sub->used_at = now;
    kp__list_init(&request->link);
    request->limit = "wait_order"; /* somebody is ahead, until a look says more */
    request->again = KP__NEVER;
    request->stamp = ++core->stamps;
    request->grant.kind = KP__GRANT_WAIT;
    if (core->phase != KP__OPEN) answer_no(&l, KP_ECLOSED, "");
    else if (sub->waiting == 0 && decide(&l) == ANSWERED) return;
    else if (request->flags & KP_DONT_WAIT) answer_no(&l, KP_EAGAIN, request->limit);
    else if ((int64_t)sub->waiting >= max_waiting) answer_no(&l, KP_EFULL, "max_waiting");
    else if ((int64_t)core->waiting >= core->max_waiting)
        answer_no(&l, KP_EFULL, "budget.max_waiting");
    else {
        kp__enqueue(core, request);
        kp__settle(core, sub, now, todo);
    }
}
