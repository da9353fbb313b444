/* SPDX-License-Identifier: MIT
 *
 * Step 2 (docs/PATH.md), claim: a request comes, and is answered at once or put into a queue. And
 * settling: whenever something became free, whoever is next gets it, in this key and across keys,
 * before the lock is given back (L1). decide.c says who may have what, give.c brings what became
 * free, and flow/get.c goes on with what is answered here.
 */
#include "base/check.h"
#include "core/decide.h"
#include "core/over.h"
#include "core/permit.h"
#include "core/serve.h"

/* In the order in which they are served: of arrival, or, if the key says LIFO, latest first. */
static void put_in_order(const struct kp__subpool *sub, struct kp__request *head[], int n)
{
    bool lifo = sub->rules && sub->rules->wait_lifo;

    for (int i = 1; i < n; i++) {
        struct kp__request *next = head[i];
        int at = i;
        for (; at > 0 && lifo == kp__came_before(head[at - 1], next); at--) head[at] = head[at - 1];
        head[at] = next;
    }
}

/* The heads of all queues but OWN, in the order in which they are served. Returns how many. */
static int heads(const struct kp__subpool *sub, struct kp__request *out[KP__QUEUES])
{
    int n = 0;

    for (int q = 0; q < KP__OWN; q++) {
        struct kp__request *first = kp__queue_first(sub, (enum kp__queue)q);
        if (first) out[n++] = first;
    }
    if (n > 1) put_in_order(sub, out, n);
    return n;
}

const struct kp__request *kp__head(const struct kp__subpool *sub)
{
    struct kp__request *head[KP__QUEUES];

    return heads(sub, head) > 0 ? head[0] : NULL;
}

/* ---- turns (KP_EVENTUAL) --------------------------------------------------------------------- */

/* In one round (KP__ROUND) everybody is to have a turn: those that hold a resource and those that
 * wait. So a turn lasts for the holders' part of a round. */
static bool turn_is_over(const struct kp__subpool *sub, uint64_t now)
{
    uint64_t live = (uint64_t)kp__sub_live(sub);

    return now >= sub->rare->turn_began + KP__ROUND * live / (live + sub->waiting);
}

static bool may_be_passed(const struct kp__request *request, uint64_t now)
{
    return request->sub->rules->wait_eventual && !request->of_loop && !request->holds_lent &&
           now < kp__later(request->arrived, KP__PASSED_MOST) && !turn_is_over(request->sub, now);
}

/* KP_EVENTUAL: what came back is not handed to a request that may be passed, but *offered*: it is
 * left idle for whoever is faster. The request's owner is woken to come for it. If it is gone by
 * then, the owner looks again every KP__LOOKS_AFTER, until it has one or may not be passed any
 * more. So there is one wake-up in a turn, not one for each return. And nobody sleeps beside what
 * is idle: a request that was offered it counts as a call in progress (L1). */
bool kp__is_left(struct kp__core *core, const struct kp__request *request, uint64_t now)
{
    const struct kp__subpool *sub = request->sub;

    if (request->looking || !kp__list_linked(&request->link) || !may_be_passed(request, now))
        return false;
    return !kp__has_surplus(core, sub); /* else it would not stay */
}

void kp__offer(struct kp__request *request, struct kp__todo *todo)
{
    if (!request->offered) kp__nudge(todo, request, 0);
    request->offered = true;
}

/* Was it offered what is idle? Then it comes for it, and there is nothing to decide. */
static bool comes_for_it(struct kp__core *core, const struct kp__request *head, uint64_t now)
{
    return head->offered && head->sub->count[KP__IDLE] > 0 && kp__is_left(core, head, now);
}

bool kp__may_be_passed(const struct kp__subpool *sub, uint64_t now)
{
    struct kp__request *head[KP__QUEUES];
    int n = heads(sub, head);

    for (int i = 0; i < n; i++)
        if (!head[i]->offered || !may_be_passed(head[i], now)) return false;
    return n > 0;
}

/* One resource was handed over in order. After as many as are live, another turn begins. */
static void handed_over(struct kp__core *core, struct kp__subpool *sub, uint64_t now)
{
    struct kp__rare *rare = kp__rare(core, sub);

    if (++rare->handed < kp__sub_live(sub)) return;
    rare->handed = 0;
    rare->turn_began = now;
}

/* ---- serving a key --------------------------------------------------------------------------- */

static void shed_learn(struct kp__core *core, const struct kp__request *request, uint64_t now)
{
    struct kp__subpool *sub = request->sub;

    if (sub->rules->shed_target == KP__NEVER) return;
    struct kp__shed *s = &kp__rare(core, sub)->shed;
    uint64_t waited = kp__waited(request, now);
    if (waited < s->least_wait) s->least_wait = waited;
    if (waited < sub->rules->shed_target) s->slow = false;
    if (now < s->interval_end) return;
    s->slow = s->least_wait > sub->rules->shed_target; /* not at first: it begins as 0 */
    s->interval_end = now + sub->rules->shed_interval;
    s->least_wait = KP__NEVER;
}

/* Whoever waits in other keys came before its next turn (KP_ACROSS_ARRIVAL, budget.c). */
static void had_its_turn(struct kp__core *core, struct kp__subpool *sub)
{
    kp__contest(core, sub)->served =
        (struct kp__rank){ .arrived = core->latest, .stamp = (uint32_t)++core->stamps };
}

/* It was decided: tell its owner, and learn from it. `under_way`: what was, for it, until then, or
 * NULL. True: that was a victim, and what was promised with it is free again. */
static bool answered(struct kp__core *core, struct kp__request *request, struct kp__slot *under_way,
                     uint64_t now, struct kp__todo *todo)
{
    struct kp__subpool *sub = request->sub;
    bool no = request->grant.kind == KP__GRANT_NO;
    bool waives = under_way && under_way->state == KP__CLOSING;

    shed_learn(core, request, now);
    if (kp__refuses_late(sub) && !no)
        kp__late_learn(core, sub, core->latest); /* not older than when it came */
    if (request->grant.kind == KP__GRANT_SLOT && !request->looking) handed_over(core, sub, now);
    if (sub->rules->wait_lifo && !no) had_its_turn(core, sub);
    kp__answer(core, request, todo);
    if (waives) kp__waive(core, sub, under_way, now, todo);
    return waives;
}

/* Serve this key until the heads of its queues cannot go on; then it stands in the heap of the
 * budget that they lack. A head that was invited is not served here, for it comes by itself: if it
 * were served, what it was invited to would go to those behind it before the giver could be back.
 * True: somebody was answered. */
static bool serve(struct kp__core *core, struct kp__subpool *sub, uint64_t now,
                  struct kp__todo *todo)
{
    bool served = false, waived = false;

    for (;;) {
        struct kp__request *head[KP__QUEUES];
        struct kp__budget *short_of = NULL;
        bool again = false;
        int n = heads(sub, head);
        kp__rank_anew(core, sub); /* who was first may have gone */
        for (int i = 0; i < n && !again; i++) {
            struct kp__lack lack;
            struct kp__slot *under_way = head[i]->slot;
            if (head[i]->invited) return served;
            if (comes_for_it(core, head[i], now)) continue;
            if (kp__decide(core, head[i], now, todo, &lack)) {
                waived |= answered(core, head[i], under_way, now, todo);
                again = served = true;
            } else {
                uint64_t knew = kp__next_look(head[i]);
                if (!short_of) short_of = lack.budget;
                /* who waits for a moment (back-off, reserve, a token) must know when that is */
                if (lack.again != knew) kp__next_look_set(core, head[i], lack.again);
                if (lack.again < knew) kp__nudge(todo, head[i], lack.again);
            }
        }
        if (again && sub->waiting > 0) continue;
        kp__note_lack(core, sub, short_of);
        if (waived) kp__settle(core, sub, now, todo); /* what was promised is for others now */
        return served;
    }
}

/* ---- across keys ----------------------------------------------------------------------------- */

/* Has `giver`, the key that gave something back, the better claim to it if it wants it again? With
 * KP_ACROSS_ARRIVAL it never has. */
static bool has_claim(struct kp__core *core, struct kp__budget *budget, struct kp__subpool *giver)
{
    if (!giver || !giver->rules || giver->waiting > 0) return false;
    return !kp__budget_outranked(core, budget, giver);
}

/* What was given back by a key that has less than its share is not handed over at once: the first
 * request that lacks it is *invited*, that is, woken to take it after a moment (kp__courtesy),
 * unless the giver was faster. Mostly the giver's next get follows at once. Handing over instead
 * would cost a key with few threads a part of its share, and each time a destroy and a create. An
 * invited thread counts as a call in progress (L1). */
static void invite(struct kp__budget *budget, struct kp__subpool *sub, struct kp__todo *todo)
{
    struct kp__request *head[KP__QUEUES];
    int n = heads(sub, head);

    for (int i = 0; i < n; i++) {
        if (head[i]->limit != budget->limit) continue;
        if (head[i]->of_loop) return; /* it has no thread that could come */
        if (kp__budget_is_full(budget) && !kp__heap_top(&budget->evictable)) return;
        head[i]->invited = true;
        kp__nudge(todo, head[i], 0);
        return;
    }
}

void kp__heed(struct kp__core *core, struct kp__request *request, uint64_t now,
              struct kp__todo *todo)
{
    /* relaxed, both: under the lock */
    if (!request->of_loop &&
        atomic_load_explicit(&request->state, memory_order_relaxed) == KP__NUDGED)
        atomic_store_explicit(&request->state, KP__WAITING, memory_order_relaxed);
    if (!request->invited && !request->offered) return;
    request->invited = false;
    request->looking = true;
    kp__settle(core, request->sub, now, todo);
    request->looking = false;
    if (request->offered && !may_be_passed(request, now)) request->offered = false;
}

static void settle_budget(struct kp__core *core, struct kp__budget *budget,
                          struct kp__subpool *giver, uint64_t now, struct kp__todo *todo)
{
    struct kp__subpool *first;

    while ((first = kp__starved_first(core, budget)) != NULL) {
        uint32_t idle = first->count[KP__IDLE];
        if (has_claim(core, budget, giver)) invite(budget, first, todo);
        if (serve(core, first, now, todo) || first->contest->lacks != budget) continue;
        /* what it found expired counts as held until it is destroyed: another key may be first */
        if (first->count[KP__IDLE] == idle) return;
    }
}

void kp__settle_budget(struct kp__core *core, struct kp__budget *budget, uint64_t now,
                       struct kp__todo *todo)
{
    kp__note_time(core, now);
    settle_budget(core, budget, NULL, now, todo);
}

/* Once for each key that drains; after a few in vain, the others have to wait for the next time
 * (L8). */
void kp__share_again(struct kp__core *core, uint64_t now, struct kp__todo *todo)
{
    enum { IN_VAIN = 8 };
    int in_vain = 0;

    for (uint32_t left = core->draining; left > 0 && in_vain < IN_VAIN; left--) {
        struct kp__list *node = kp__list_first(&core->drains);
        kp__list_remove(node);
        kp__list_push_back(&core->drains, node);
        in_vain += !serve(core, KP__OF(node, struct kp__rare, drains)->draining->sub, now, todo);
    }
}

void kp__settle(struct kp__core *core, struct kp__subpool *sub, uint64_t now, struct kp__todo *todo)
{
    kp__note_time(core, now);
    if (sub->open) kp__lane_shut(core, sub, now); /* in a turn some may wait though it is open */
    /* lacks: its last request left, but it still stands in a heap */
    if (sub->waiting || sub->contest->lacks) serve(core, sub, now, todo);
    if (core->starved == 0) return;
    settle_budget(core, &core->lent, sub, now, todo);
    settle_budget(core, &core->creating, sub, now, todo);
    settle_budget(core, &core->rate.budget, NULL, now, todo); /* time brings tokens: no giver */
    for (int g = 0; g < KP__GROUPS; g++) {
        struct kp__budget *budget = kp__group_budget(sub, g);
        if (budget) settle_budget(core, budget, sub, now, todo);
    }
    settle_budget(core, &core->live, sub, now, todo);
    kp__share_again(core, now, todo);
}

/* ---- 2. claim -------------------------------------------------------------------------------- */

/* Does anybody wait who could take what comes? Those in OWN could not. */
static bool anybody_ahead(const struct kp__subpool *sub)
{
    if (sub->waiting == 0) return false;
    for (int q = 0; q < KP__OWN; q++)
        if (!kp__list_empty(&sub->rare->queue[q])) return true;
    return false;
}

/* KP_EVENTUAL: may a request that comes now take what is there, though others wait? */
static bool may_pass(const struct kp__subpool *sub, uint64_t now)
{
    struct kp__request *head[KP__QUEUES];

    if (!sub->rules || !kp__any_ready(sub)) return false;
    (void)heads(sub, head); /* one at least */
    return may_be_passed(head[0], now);
}

/* The limit on waiting requests that is reached; KP__NOT_BOUND: one more may wait. */
static enum kp__limit full_queue(const struct kp__core *core, const struct kp__subpool *sub)
{
    if (sub->rules && (int64_t)sub->waiting >= sub->rules->max_waiting) return KP__BY_MAX_WAITING;
    return (int64_t)core->waiting >= core->max_waiting ? KP__BY_POOL_WAITING : KP__NOT_BOUND;
}

/* It came behind a request that waits for one of its key's resources to come back or to go: then
 * nothing has changed for those ahead of it, and whatever does change settles (L1). But where it
 * depends on the time, or on how many wait, whether they wait on, each new one is an occasion to
 * look; so it does where what came back was offered, not handed over. */
static bool changes_nothing(const struct kp__request *newcomer)
{
    const struct kp__subpool *sub = newcomer->sub;
    const struct kp__request *first = kp__queue_first(sub, newcomer->queue);
    const struct kp__rules *r = sub->rules;

    return first != newcomer && first->limit == KP__BY_MAX_LIVE && !first->offered &&
           r->reserve == 0 && r->shed_target == KP__NEVER;
}

void kp__claim(struct kp__core *core, struct kp__request *request, uint64_t now,
               struct kp__todo *todo)
{
    struct kp__subpool *sub = request->sub;
    struct kp__lack lack = { NULL, KP__NEVER };
    enum kp__limit full;

    kp__note_time(core, now);
    if (now) sub->used_at = now;
    kp__list_init(&request->link);
    request->limit = KP__BY_WAIT_ORDER; /* somebody is ahead, until a look says more */
    request->stamp = (uint32_t)++core->stamps;
    bool others = anybody_ahead(sub);
    if (core->phase != KP__OPEN) kp__grant_no(request, KP_ECLOSED, KP__NOT_BOUND);
    else if ((!others || may_pass(sub, now)) && kp__decide(core, request, now, todo, &lack)) return;
    else if (request->flags & KP_DONT_WAIT) kp__grant_no(request, KP_EAGAIN, request->limit);
    else if ((full = full_queue(core, sub)) != KP__NOT_BOUND && request->at_once)
        kp__grant_no(request, KP_EAGAIN, request->limit); /* it would not have waited */
    else if (full) kp__grant_no(request, KP_EFULL, full);
    else if (kp__refuses_late(sub) && others && kp__seems_too_late(core, request, now)) return;
    else {
        kp__enqueue(core, request);
        if (lack.again != KP__NEVER) kp__next_look_set(core, request, lack.again);
        if (!others || !changes_nothing(request)) kp__settle(core, sub, now, todo);
    }
}
