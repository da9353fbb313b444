/* SPDX-License-Identifier: MIT
 *
 * May this request create? decide.c asks, when nothing is there that it could take. The questions,
 * in this order: the key's health (what was told before, pauses, the circuit), creations under way,
 * the key's own room, and budgets over keys, where an idle resource elsewhere may make room: it is
 * chosen here, as the victim of the permit. What the background may create is in background.c.
 */
#include "core/background.h"
#include "core/calendar.h"
#include "core/decide.h"
#include "core/over.h"
#include "core/permit.h"
#include "core/todo.h"

/* ---- health ---------------------------------------------------------------------------------- */

static enum kp__verdict told_before(struct kp__look *l)
{
    const struct kp__health *h = &l->sub->rare->health;
    struct kp__list *first = kp__list_first(&h->kept);
    struct kp__failure *failure = first ? KP__OF(first, struct kp__failure, link) : NULL;

    if (!failure && h->last && l->now < h->last->until) failure = h->last;
    if (!failure) return KP__GO_ON;
    int code = failure->code;
    kp__blame(l->request, failure);
    if (first) { /* its memory leaves with the to-do, unless it is still the latest */
        kp__list_remove(first);
        if (failure != h->last) kp__list_push_back(&l->todo->spent, first);
        kp__rare(l->core, l->sub)->health.kept_count--;
        /* as long as it was kept, it stood for a resource (kp__refill_wanted) */
        if (l->sub->rules->eager) kp__want_more(l->core, l->sub, l->now);
    }
    return kp__says_no(l, code, KP__BY_CACHE_FAILURE);
}

/* No creation may begin now. If there is a code for that, a request that only a creation can help
 * is refused with it, and told the cause. The others wait. */
static enum kp__verdict barred(struct kp__look *l, enum kp__limit limit, uint64_t again)
{
    const struct kp__health *h = &l->sub->rare->health;
    bool down = l->sub->rules->fail_fast && h->failures > 0;
    int code = h->refused ? KP_EREFUSED : down ? KP_ECREATE : 0;

    if (code == 0 || !kp__needs_creation(l->request)) return kp__lacks(l, limit, NULL, again);
    if (h->last) kp__blame(l->request, h->last);
    return kp__says_no(l, code, limit);
}

/* What of the key's health bars creations now, and until when; KP__NOT_BOUND: nothing. */
static enum kp__limit what_bars(const struct kp__subpool *sub, uint64_t now, uint64_t *again)
{
    const struct kp__rules *r = sub->rules;
    const struct kp__health *h = &sub->rare->health;

    *again = KP__NEVER;
    if (h->refused) return KP__BY_DRIVER_CREATE;
    if (!h->tripped && now < h->back_off) {
        *again = h->back_off;
        return KP__BY_RETRY;
    }
    /* after a failure one goes first, to find out. Not where there is no pause: then each request
     * makes its own attempt, and is told its own failure; nor where a circuit knows how many */
    int64_t most = h->failures && r->retry_first && !h->tripped ? 1 : r->max_creating;
    return kp__sub_creating(sub) < most ? KP__NOT_BOUND : KP__BY_MAX_CREATING;
}

static enum kp__verdict healthy(struct kp__look *l)
{
    const struct kp__health *h = &l->sub->rare->health;
    enum kp__verdict v;
    uint64_t again;

    if (!h->refused && (v = told_before(l)) != KP__GO_ON) return v;
    if (!h->refused && h->tripped && kp__circuit_bars(l->sub, l->now))
        return kp__circuit_says_no(l);
    enum kp__limit limit = what_bars(l->sub, l->now, &again);
    return limit ? barred(l, limit, again) : KP__GO_ON;
}

/* ---- room ------------------------------------------------------------------------------------ */

/* How many count against max_live. */
static int64_t counted(const struct kp__subpool *sub)
{
    return kp__sub_live(sub) + sub->contest->promised - kp__sub_extra(sub);
}

static enum kp__verdict room_in_key(struct kp__look *l, struct kp__slot **victim)
{
    const struct kp__rules *r = l->sub->rules;
    int64_t live = counted(l->sub);

    *victim = NULL;
    /* only KP_FRESH comes here past an idle one */
    if (l->sub->count[KP__IDLE] > 0 && live <= r->max_live + r->reserve &&
        (live >= r->max_live || !kp__budgets_have_room(l->core, l->sub))) {
        *victim = kp__oldest_idle(l->sub);
        return KP__GO_ON;
    }
    if (live < r->max_live) return KP__GO_ON;
    if (r->reserve == 0 || live >= r->max_live + r->reserve)
        return kp__lacks(l, KP__BY_MAX_LIVE, NULL, KP__NEVER);
    uint64_t late = kp__later(l->request->arrived, r->reserve_after);
    return l->now >= late ? KP__GO_ON : kp__lacks(l, KP__BY_MAX_LIVE, NULL, late);
}

static struct kp__slot *pick(struct kp__look *l, int place)
{
    return kp__evict_pick(l->core, kp__budget_at(l->core, l->sub, place));
}

/* Does the end of this slot make room in each group of `sub` that is full? */
static bool frees(const struct kp__slot *slot, const struct kp__subpool *sub,
                  const bool full[KP__FILED])
{
    for (int g = 0; g < KP__GROUPS; g++)
        if (full[KP__GROUP_0 + g] && slot->sub->contest->group[g] != sub->contest->group[g])
            return false;
    return true;
}

/* A waived victim of this key whose end makes room in all budgets that are full; NULL: there is
 * none, or they were lowered meanwhile and need that room themselves. */
static struct kp__slot *waived(const struct kp__look *l, const bool full[KP__FILED])
{
    const struct kp__list *list = &l->sub->rare->waived;

    if (kp__over_budgets(l->core, l->sub, 1)) return NULL;
    for (struct kp__list *n = kp__list_first(list); n; n = kp__list_next(list, n)) {
        struct kp__slot *slot = KP__OF(n, struct kp__errand, victims)->slot;
        if (frees(slot, l->sub, full)) return slot;
    }
    return NULL;
}

/* Pick as few idle ones as make room in all budgets that are full. What is in a group is in the
 * pool, too: so one is enough, unless both groups are full and no idle one is in both; then two. */
static enum kp__verdict victims(struct kp__look *l, const bool full[KP__FILED],
                                struct kp__slot **victim)
{
    struct kp__slot *other = NULL;
    int last = full[KP__GROUP_1] ? KP__GROUP_1 : full[KP__GROUP_0] ? KP__GROUP_0 : KP__POOL;

    if ((*victim = waived(l, full)) != NULL) return KP__GO_ON;
    if (full[KP__GROUP_0] && full[KP__GROUP_1]) {
        if ((*victim = pick(l, KP__BOTH_GROUPS)) != NULL) return KP__GO_ON;
        if ((other = pick(l, KP__GROUP_0)) == NULL)
            return kp__lacks_permit(l, kp__budget_at(l->core, l->sub, KP__GROUP_0));
    }
    if ((*victim = pick(l, last)) == NULL)
        return kp__lacks_permit(l, kp__budget_at(l->core, l->sub, last));
    /* that of group 1 goes first: kp__promise_pass */
    kp__errand(l->core, *victim)->victim.next = other;
    return KP__GO_ON;
}

/* The key that is first of those that lack a token is told when the next one comes, and so is
 * upkeep, in case the request is of an event loop that sleeps. Other keys are told when they become
 * first. But a KP_FRESH request is told in any case, since its key may stand in another heap, for
 * what its other requests lack. */
static enum kp__verdict want_token(struct kp__look *l)
{
    struct kp__core *core = l->core;
    struct kp__budget *budget = &core->rate.budget;
    if (l->sub->contest->lacks == budget) kp__note_lack(core, l->sub, budget); /* ranked anew */
    bool first = !kp__budget_outranked(core, budget, l->sub);
    uint64_t at = kp__token_at(&core->rate, l->now);

    if (first && at <= l->now) return KP__GO_ON;
    if (first) kp__file_sub(core, l->sub, at);
    return kp__lacks(l, budget->limit, budget,
                 first || (l->request->flags & KP_FRESH) ? at : KP__NEVER);
}

/* There is a rate; or there was one until now, and keys that still stand in its heap come first. */
static bool is_paced(const struct kp__core *core)
{
    return core->rate.per_s || kp__heap_top(&core->rate.budget.starved);
}

static enum kp__verdict room_in_budgets(struct kp__look *l, struct kp__slot **victim)
{
    struct kp__core *core = l->core;
    bool full[KP__FILED] = { false }, any = false;

    if (!kp__budget_may_take(core, &core->creating, l->sub))
        return kp__lacks_permit(l, &core->creating);
    if (is_paced(core) && want_token(l) != KP__GO_ON) return KP__LACKS;
    if (*victim) return KP__GO_ON;
    for (int p = KP__GROUP_1; p >= KP__POOL; p--) {
        struct kp__budget *b = kp__budget_at(l->core, l->sub, p);
        if (!b || kp__budget_may_take(core, b, l->sub)) continue;
        if (kp__budget_outranked(core, b, l->sub)) return kp__lacks_permit(l, b);
        full[p] = any = true;
    }
    return any ? victims(l, full, victim) : KP__GO_ON;
}

/* ---- the permit ------------------------------------------------------------------------------ */

static void promise(struct kp__look *l, struct kp__slot *victim)
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

/* It may create, once `victim` is gone, if there is one. */
static enum kp__verdict grant_permit(struct kp__look *l, struct kp__slot *victim)
{
    struct kp__subpool *sub = l->sub;

    if (!l->request->holds_lent) kp__lent_take(l->core, sub);
    l->request->holds_lent = true;
    kp__pace(l->core, sub, l->now);
    if (victim) promise(l, victim);
    else kp__permit_take(l->core, sub);
    if (sub->rules->prefill) kp__want_more(l->core, sub, l->now);
    kp__grant(l->request, KP__GRANT_PERMIT, victim);
    if (sub->rare->health.tripped) {
        l->request->grant.probe = true;
        l->request->grant.first = kp__probe_begin(l->core, sub, l->now);
    }
    return KP__DECIDED;
}

enum kp__verdict kp__decide_create(struct kp__core *core, struct kp__request *request, uint64_t now,
                                   struct kp__todo *todo, struct kp__lack *lack)
{
    struct kp__look look = { core, request, request->sub, now, todo, lack }, *l = &look;
    struct kp__slot *victim;
    enum kp__verdict v;

    if (!l->core->can_create) return kp__lacks(l, KP__BY_DRIVER_CREATE, NULL, KP__NEVER);
    if (request->slot) return kp__lacks(l, kp__making_limit(request->slot), NULL, KP__NEVER);
    if (request->flags & (KP_DONT_CREATE | KP_DONT_WAIT)) {
        bool room = counted(l->sub) < l->sub->rules->max_live;
        return kp__lacks(l, room ? KP__BY_FLAGS : KP__BY_MAX_LIVE, NULL, KP__NEVER);
    }
    if ((v = healthy(l)) != KP__GO_ON) return v;
    if ((v = room_in_key(l, &victim)) != KP__GO_ON) return v;
    if ((v = room_in_budgets(l, &victim)) != KP__GO_ON) return v;
    return grant_permit(l, victim);
}
