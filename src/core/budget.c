/* SPDX-License-Identifier: MIT
 *
 * Who is next for a permit of a budget, and whose idle resource makes room for it.
 */
#include "core/budget.h"

#include "base/check.h"
#include "core/core.h"

/* ---- who is next ----------------------------------------------------------------------------- */

static bool rank_before(const struct kp__rank *a, const struct kp__rank *b)
{
    if (a->class != b->class) return a->class < b->class;
    if (a->score != b->score) return (int64_t)(a->score - b->score) < 0; /* they wrap around */
    if (a->arrived != b->arrived) return a->arrived < b->arrived;
    return (int32_t)(a->stamp - b->stamp) < 0;
}

static bool starved_before(const struct kp__heap_node *a, const struct kp__heap_node *b)
{
    return rank_before(&KP__OF(a, struct kp__contest, starved)->rank,
                       &KP__OF(b, struct kp__contest, starved)->rank);
}

/* By arrival: where the first request of a subpool stands among those of all. That is the order of
 * the pool's own limits. A key that is LIFO while the pool is not serves its latest request, which
 * all that came before would overtake for ever; so it stands where its longest waiting request
 * came, or, if it was served since, where it was served last. */
static struct kp__rank came(const struct kp__core *core, const struct kp__subpool *sub)
{
    struct kp__rank rank = { .arrived = UINT64_MAX }, served = sub->contest->served;
    bool last = core->last_first, latest = last && sub->rules->wait_lifo;
    const struct kp__request *first = NULL;

    for (int q = 0; q < KP__OWN; q++) {
        const struct kp__list *list = &sub->rare->queue[q], *at = latest ? list->prev : list->next;
        if (kp__list_empty(list)) continue;
        const struct kp__request *head = KP__OF(at, const struct kp__request, link);
        if (!first || latest != kp__came_before(head, first)) first = head;
    }
    if (!first) return rank;
    rank.arrived = last ? ~first->arrived : first->arrived;
    rank.stamp = last ? ~first->stamp : first->stamp;
    if (!last && sub->rules->wait_lifo && rank_before(&rank, &served)) return served;
    return rank;
}

/* The place of a subpool among those who lack a permit of this budget: below its floor first, then
 * by its score, then by arrival. */
static struct kp__rank rank_of(struct kp__core *core, struct kp__budget *budget,
                               struct kp__subpool *sub)
{
    struct kp__rank rank = came(core, sub);

    if (core->by_arrival) return rank;
    kp__account(core, sub);
    if (sub->contest->lacks != budget) kp__share_begin(core, budget, sub);
    rank.class = !kp__is_below_floor(budget, sub);
    rank.score = kp__share_score(budget, sub);
    return rank;
}

/* The rank of a subpool in the heap is from when it was last looked at. A lag only grows (but for a
 * token that comes back, with which its key is ranked anew), so that rank is a lower bound: a
 * subpool that comes to the top is ranked anew, and stays there or sinks. After a few looks at the
 * same time the order is taken as it is. */
struct kp__subpool *kp__starved_first(struct kp__core *core, struct kp__budget *budget)
{
    enum { LOOKS = 8 };

    if (budget->looked_at != core->latest) {
        budget->looked_at = core->latest;
        budget->looks = 0;
    }
    for (;;) {
        struct kp__heap_node *top = kp__heap_top(&budget->starved);
        if (!top) return NULL;
        struct kp__contest *contest = KP__OF(top, struct kp__contest, starved);
        struct kp__subpool *sub = contest->sub;
        bool known = contest->share.at == kp__contention(core) || budget->looks == LOOKS;
        if (core->by_arrival || known || kp__held(sub, budget->measure) == 0) return sub;
        budget->looks++;
        contest->rank = rank_of(core, budget, sub);
        kp__heap_fix(&budget->starved, top);
    }
}

bool kp__budget_outranked(struct kp__core *core, struct kp__budget *budget, struct kp__subpool *sub)
{
    const struct kp__subpool *first = kp__starved_first(core, budget);

    if (!first || first == sub) return false;
    struct kp__rank mine = rank_of(core, budget, sub);
    return rank_before(&first->contest->rank, &mine);
}

bool kp__budget_owed(struct kp__core *core, struct kp__budget *budget, struct kp__subpool *sub,
                     enum kp__state state)
{
    const struct kp__subpool *first = kp__starved_first(core, budget);
    bool in_use = state != KP__IDLE; /* then it counts as held */

    if (!first || first == sub) return false;
    struct kp__rank mine = rank_of(core, budget, sub);
    int64_t rest = kp__held(sub, budget->measure) - in_use; /* without it */
    if (in_use && !core->by_arrival) {
        mine.class = rest >= sub->rules->floor;
        mine.score -= KP__SHARE_ONE / (uint64_t)sub->rules->weight;
    }
    if (mine.class != first->contest->rank.class || mine.class == 0) /* by arrival it is always 0 */
        return rank_before(&first->contest->rank, &mine);
    int64_t better = (int64_t)(mine.score - first->contest->rank.score);
    int64_t w = sub->rules->weight, v = first->rules->weight;
    int64_t stay = (int64_t)KP__SHARE_ONE / (w < v ? w : v);
    /* with one more it holds no more for its weight than this one with one less */
    bool whole = (kp__held(first, budget->measure) + 1) * w <= rest * v;
    return whole ? better > 0 : better >= stay;
}

bool kp__budgets_have_room(struct kp__core *core, struct kp__subpool *sub)
{
    for (int g = 0; g < KP__GROUPS; g++) {
        struct kp__budget *budget = kp__group_budget(sub, g);
        if (budget && !kp__budget_may_take(core, budget, sub)) return false;
    }
    return kp__budget_may_take(core, &core->live, sub);
}

static void leave(struct kp__core *core, struct kp__contest *contest)
{
    struct kp__budget *budget = contest->lacks;

    kp__heap_remove(&budget->starved, &contest->starved);
    if (!kp__heap_top(&budget->starved)) budget->calm_since = core->latest;
    contest->lacks = NULL;
    if (--core->starved == 0) core->contention += core->latest - core->contended;
}

void kp__note_lack_now(struct kp__core *core, struct kp__subpool *sub, struct kp__budget *budget)
{
    struct kp__contest *contest = kp__contest(core, sub);
    if (contest->lacks && contest->lacks != budget) leave(core, contest);
    if (!budget) return;
    if (contest->lacks) {
        contest->rank = rank_of(core, budget, sub);
        kp__heap_fix(&budget->starved, &contest->starved);
        return;
    }
    if (core->starved++ == 0) core->contended = core->latest;
    if (!kp__heap_top(&budget->starved)) kp__share_contend(core, budget);
    contest->rank = rank_of(core, budget, sub);
    kp__heap_insert(&budget->starved, &contest->starved);
    contest->lacks = budget;
}

void kp__served(struct kp__core *core, struct kp__subpool *sub, enum kp__measure measure)
{
    struct kp__budget *budgets[] = { &core->live, &core->creating, &core->rate.budget,
                                     kp__group_budget(sub, 0), kp__group_budget(sub, 1),
                                     &core->lent };

    for (size_t i = 0; i < sizeof budgets / sizeof *budgets; i++)
        if (budgets[i] && budgets[i]->measure == measure && kp__heap_top(&budgets[i]->starved))
            kp__share_served(core, budgets[i], sub);
}

/* ---- making room ----------------------------------------------------------------------------- */

static struct kp__contest *contest_of(const struct kp__heap_node *evict)
{
    return KP__OF(evict, const struct kp__evict, node)->contest;
}

static bool evict_before(const struct kp__heap_node *a, const struct kp__heap_node *b)
{
    return contest_of(a)->evict_rank < contest_of(b)->evict_rank;
}

void kp__budget_init(struct kp__budget *budget, enum kp__limit limit, int64_t cap,
                     enum kp__place place)
{
    *budget = (struct kp__budget){ .limit = limit,
                                   .cap = cap,
                                   .lightest = KP__UNBOUND,
                                   .place = place,
                                   .measure = place < KP__FILED     ? KP__IN_USE
                                              : place == KP__LENDING ? KP__LEASED
                                              : place == KP__MAKING  ? KP__BEING_MADE
                                                                     : KP__BEGUN };
    kp__heap_init(&budget->starved, starved_before);
    kp__heap_init(&budget->evictable, evict_before);
}

/* The budget in whose heap this key is to be filed, or NULL: as usual, a pool without a limit keeps
 * no rank of its own. */
static struct kp__budget *ranked_in(struct kp__core *core, struct kp__subpool *sub, int place)
{
    if (place == KP__POOL && core->live.cap == KP__UNBOUND && core->evictable == KP__EVICT_USUAL)
        return NULL;
    return kp__budget_at(core, sub, place);
}

/* Is it in one of the heaps already? All of them rank it by the same evict_rank. */
static bool is_filed(const struct kp__contest *contest)
{
    for (int p = 0; p < KP__FILED; p++)
        if (kp__heap_holds(&contest->evict[p].node)) return true;
    return false;
}

/* Has it an idle slot that may be evicted? */
static bool any_evictable(const struct kp__core *core, const struct kp__subpool *sub)
{
    if (core->evictable == KP__EVICT_NONE || (core->evictable == KP__EVICT_USUAL && !core->evicts))
        return false;
    if (!sub->rules || sub->count[KP__IDLE] == 0) return false;
    return core->evictable == KP__EVICT_ANY || kp__sub_staying(sub) > kp__sub_kept(sub);
}

void kp__evictable_file(struct kp__core *core, struct kp__subpool *sub)
{
    bool evictable = any_evictable(core, sub);

    for (int p = 0; p < KP__FILED; p++) {
        struct kp__budget *budget = ranked_in(core, sub, p);
        if (!budget || evictable == kp__heap_holds(&sub->contest->evict[p].node)) continue;
        struct kp__contest *contest = kp__contest(core, sub);
        if (!evictable) {
            kp__heap_remove(&budget->evictable, &contest->evict[p].node);
            continue;
        }
        if (!is_filed(contest)) contest->evict_rank = kp__oldest_idle(sub)->order;
        kp__heap_insert(&budget->evictable, &contest->evict[p].node);
    }
}

static void rank_idle(struct kp__core *core, struct kp__contest *contest, uint64_t rank)
{
    contest->evict_rank = rank;
    for (int p = 0; p < KP__FILED; p++)
        if (kp__heap_holds(&contest->evict[p].node))
            kp__heap_fix(&kp__budget_at(core, contest->sub, p)->evictable, &contest->evict[p].node);
}

void kp__evictable_back(struct kp__core *core, const struct kp__slot *slot)
{
    struct kp__subpool *sub = slot->sub;

    if (!is_filed(sub->contest) || sub->contest->evict_rank <= slot->order) return;
    rank_idle(core, kp__contest(core, sub), slot->order);
}

struct kp__slot *kp__evict_pick(struct kp__core *core, struct kp__budget *budget)
{
    for (;;) {
        struct kp__heap_node *top = kp__heap_top(&budget->evictable);
        if (!top) return NULL;
        struct kp__contest *contest = contest_of(top);
        struct kp__subpool *sub = contest->sub;
        if (sub->open) {
            kp__lane_shut(core, sub, core->latest);
            continue;
        }
        struct kp__slot *oldest = kp__oldest_idle(sub);
        if (oldest->order == contest->evict_rank) return oldest;
        /* its oldest was used meanwhile: each refiling is paid for by a use */
        rank_idle(core, contest, oldest->order);
    }
}
