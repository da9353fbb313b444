/* SPDX-License-Identifier: MIT
 *
 * How a subpool begins, its parts that lie apart, how it counts why resources went, and its queues
 * of waiting requests.
 */
#include "core/subpool.h"

#include "base/check.h"
#include "core/core.h"

/* ---- parts that lie apart -------------------------------------------------------------------- */

/* What the parts are until they are begun. Lists and heaps write only to what is on them, which
 * nothing here ever is, so nobody writes to these. */
#define EMPTY(list) { (struct kp__list *)&(list), (struct kp__list *)&(list) }
#define IN_NO_HEAP(node) { .next = (struct kp__heap_node *)&(node) }

const struct kp__contest kp__no_contest = {
    .share.at = UINT64_MAX, /* nothing to account for (core.h) */
    .starved = IN_NO_HEAP(kp__no_contest.starved),
    .evict[0].node = IN_NO_HEAP(kp__no_contest.evict[0].node),
    .evict[1].node = IN_NO_HEAP(kp__no_contest.evict[1].node),
    .evict[2].node = IN_NO_HEAP(kp__no_contest.evict[2].node),
    .evict[3].node = IN_NO_HEAP(kp__no_contest.evict[3].node)
};

const struct kp__rare kp__no_rare = {
    .queue = { EMPTY(kp__no_rare.queue[0]), EMPTY(kp__no_rare.queue[1]),
               EMPTY(kp__no_rare.queue[2]), EMPTY(kp__no_rare.queue[3]),
               EMPTY(kp__no_rare.queue[4]) },
    .open_seats = EMPTY(kp__no_rare.open_seats),
    .health.kept = EMPTY(kp__no_rare.health.kept),
    .health.circuit = &kp__no_circuit,
    .tested = EMPTY(kp__no_rare.tested),
    .taken = EMPTY(kp__no_rare.taken),
    .waived = EMPTY(kp__no_rare.waived)
};
_Static_assert(KP__FILED == 4 && KP__QUEUES == 5, "each is there");

void kp__contest_begin(struct kp__core *core, struct kp__subpool *sub)
{
    struct kp__contest *contest =
        kp__slab_part(&core->subpools, sub->item.index, KP__PART_CONTEST);

    *contest = (struct kp__contest){ .sub = sub, .share.at = core->contention };
    kp__heap_node_init(&contest->starved);
    kp__list_init(&contest->held_up);
    for (int p = 0; p < KP__FILED; p++) {
        kp__heap_node_init(&contest->evict[p].node);
        contest->evict[p].contest = contest;
    }
    sub->contest = contest;
}

void kp__rare_begin(struct kp__core *core, struct kp__subpool *sub)
{
    struct kp__rare *rare = kp__slab_part(&core->subpools, sub->item.index, KP__PART_RARE);

    *rare = (struct kp__rare){ .draining = NULL };
    kp__list_init(&rare->drains);
    for (int q = 0; q < KP__QUEUES; q++) kp__list_init(&rare->queue[q]);
    kp__list_init(&rare->open_seats);
    kp__list_init(&rare->health.kept);
    rare->health.circuit = &kp__no_circuit;
    kp__list_init(&rare->tested);
    kp__list_init(&rare->taken);
    kp__list_init(&rare->waived);
    sub->rare = rare;
}

void kp__lane_books_begin(struct kp__core *core, struct kp__subpool *sub, uint32_t line)
{
    sub->lane_books = kp__slab_part(&core->subpools, sub->item.index, KP__PART_LANE_BOOKS);
    *sub->lane_books = (struct kp__lane_books){ .sub = sub, .line = line };
    kp__heap_node_init(&sub->lane_books->node);
}

/* ---- why its resources go ------------------------------------------------------------------- */

static uint64_t *counter_of(struct kp__seldom *s, kp_cause cause)
{
    switch (cause) {
    case KP_CAUSE_DISCARDED:
    case KP_CAUSE_INVALIDATED: return &s->invalidated;
    case KP_CAUSE_INVALID:
    case KP_CAUSE_RESET:
    case KP_CAUSE_GONE: return &s->invalid;
    case KP_CAUSE_IDLE:
    case KP_CAUSE_EXCESS:
    case KP_CAUSE_AGE:
    case KP_CAUSE_USES:
    case KP_CAUSE_ROTATED:
    case KP_CAUSE_FORGOTTEN: return &s->expired;
    case KP_CAUSE_RENEWED: return &s->renewed;
    case KP_CAUSE_EVICTED: return &s->evicted;
    case KP_CAUSE_SURPLUS: return &s->surplus;
    default: return NULL;
    }
}

void kp__count_cause(struct kp__core *core, struct kp__subpool *sub, kp_cause cause)
{
    uint64_t *all = counter_of(&core->seldom, cause);

    if (!all) return;
    ++*all;
    ++*counter_of(&kp__rare(core, sub)->seldom, cause);
}

/* ---- its beginning --------------------------------------------------------------------------- */

void kp__subpool_init(struct kp__core *core, struct kp__subpool *sub, uint64_t hash)
{
    struct kp__slab_item item = sub->item;

    *sub = (struct kp__subpool){
        .item = item, .hash = hash, .serial = ++core->key_serials, .in_use = true
    };
    for (int i = 0; i < KP__LISTED; i++) kp__list_init(&sub->listed[i]);
    sub->contest = &kp__no_contest;
    sub->rare = &kp__no_rare;
    sub->shut_for = core->least_term > 0; /* 1: a key used only once needs no lane; 0 in tests */
}

bool kp__subpool_unused(const struct kp__subpool *sub)
{
    return sub->interest == 0 && sub->pins == 0 && sub->waiting == 0 &&
           sub->contest->promised == 0 && kp__sub_live(sub) == 0 && sub->rare->revoked == 0;
}

/* ---- queues ---------------------------------------------------------------------------------- */

/* Did the other one come before it? */
static bool is_behind(const struct kp__request *request, const struct kp__list *other)
{
    return kp__came_before(KP__OF(other, const struct kp__request, link), request);
}

void kp__next_look_set(struct kp__core *core, const struct kp__request *request, uint64_t at)
{
    kp__rare(core, request->sub)->moment[request->queue] =
        (struct kp__moment){ at == KP__NEVER ? NULL : request, at };
}

/* By arrival. Newcomers go to the end; a request that comes back belongs near the front. Only the
 * first is looked at: another one, unless something is under way for it, is limited by those ahead
 * of it from now on. */
void kp__queue_insert(struct kp__core *core, struct kp__request *request)
{
    struct kp__subpool *sub = request->sub;
    struct kp__list *list = &kp__rare(core, sub)->queue[request->queue], *at = kp__list_last(list);
    struct kp__request *was_first = kp__queue_first(sub, request->queue);

    if (!at || is_behind(request, at)) {
        kp__list_push_back(list, &request->link);
    } else {
        for (at = kp__list_first(list); is_behind(request, at);) at = kp__list_next(list, at);
        kp__list_insert_before(at, &request->link);
    }
    struct kp__request *behind =
        kp__queue_first(sub, request->queue) == request ? was_first : request;
    if (behind && !behind->slot) behind->limit = KP__BY_WAIT_ORDER;
    sub->waiting++;
    core->waiting++;
}

/* In a long queue, requests have gone cold in memory by the time that they are the first. So
 * prefetch each when the last but one before it leaves. */
static void expect_next(const struct kp__request *request)
{
    const char *next = (const char *)KP__OF(request->link.next->next, struct kp__request, link);

    for (size_t at = 0; at < sizeof *request; at += 64) __builtin_prefetch(next + at);
}

void kp__queue_remove(struct kp__core *core, struct kp__request *request)
{
    expect_next(request);
    if (kp__next_look(request) != KP__NEVER) kp__next_look_set(core, request, KP__NEVER);
    kp__list_remove(&request->link);
    request->invited = request->offered = false;
    request->sub->waiting--;
    core->waiting--;
}

/* How many came before it, or after it. The queues are in that order, so no more are looked at. */
static uint32_t count_others(const struct kp__request *request, bool before)
{
    uint32_t many = 0;

    for (int q = 0; q < KP__QUEUES; q++) {
        const struct kp__list *list = &request->sub->rare->queue[q];
        const struct kp__list *l = before ? kp__list_first(list) : kp__list_last(list);
        for (; l && is_behind(request, l) == before; many++)
            l = before ? kp__list_next(list, l) : kp__list_prev(list, l);
    }
    return many;
}

/* Mostly one that waited in vain had come before the others, and one that was refused at once comes
 * after them: so the few on its other side are counted. */
uint32_t kp__queue_ahead(const struct kp__request *request)
{
    const struct kp__subpool *sub = request->sub;
    bool lifo = sub->rules && sub->rules->wait_lifo;
    uint32_t few = count_others(request, request->waited);

    return request->waited == lifo ? sub->waiting - few : few;
}
