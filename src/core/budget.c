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
    if (a->score != b->score) return a->score < b->score;
    return a->stamp < b->stamp;
}

static bool starved_before(const struct kp__heap_node *a, const struct kp__heap_node *b)
{
    return rank_before(&KP__OF(a, struct kp__subpool, starved)->rank,
                       &KP__OF(b, struct kp__subpool, starved)->rank);
}

/* The place of a subpool among those who lack a permit of this budget: below its floor first, then
 * by the share that it would have with one more, then by arrival. */
static struct kp__rank rank_of(const struct kp__core *core, const struct kp__budget *budget,
                               const struct kp__subpool *sub)
{
    struct kp__rank rank = { 0, 0, UINT64_MAX };
    int64_t held =
        budget->counts_lent ? (int64_t)sub->lent_permits : kp__sub_live(sub) + sub->promised;

    for (int q = 0; q < KP__OWN; q++) {
        const struct kp__request *first = kp__queue_first(sub, (enum kp__queue)q);
        if (!first) continue;
        uint64_t stamp = sub->rules->wait_lifo ? UINT64_MAX - first->stamp : first->stamp;
        if (stamp < rank.stamp) rank.stamp = stamp;
    }
    if (!core->by_arrival) {
        rank.class = held >= sub->rules->floor;
        rank.score = (uint64_t)(held + 1) * 1000000 / (uint64_t)sub->rules->weight;
    }
    return rank;
}

struct kp__subpool *kp__starved_first(const struct kp__budget *budget)
{
    struct kp__heap_node *top = kp__heap_top(&budget->starved);

    return top ? KP__OF(top, struct kp__subpool, starved) : NULL;
}

bool kp__budget_outranked(struct kp__core *core, struct kp__budget *budget, struct kp__subpool *sub)
{
    const struct kp__subpool *first = kp__starved_first(budget);

    if (!first || first == sub) return false;
    struct kp__rank mine = rank_of(core, budget, sub);
    return rank_before(&first->rank, &mine);
}

bool kp__budget_may_take(struct kp__core *core, struct kp__budget *budget, struct kp__subpool *sub)
{
    return budget->used < budget->cap && !kp__budget_outranked(core, budget, sub);
}

bool kp__budgets_have_room(struct kp__core *core, struct kp__subpool *sub)
{
    for (int i = 0; i < 2; i++)
        if (sub->group[i] && !kp__budget_may_take(core, &sub->group[i]->budget, sub)) return false;
    return kp__budget_may_take(core, &core->live, sub);
}

void kp__starve(struct kp__core *core, struct kp__subpool *sub, struct kp__budget *budget)
{
    if (sub->lacks && sub->lacks != budget) {
        kp__heap_remove(&sub->lacks->starved, &sub->starved);
        sub->lacks = NULL;
    }
    if (!budget) return;
    sub->rank = rank_of(core, budget, sub);
    if (sub->lacks) kp__heap_fix(&budget->starved, &sub->starved);
    else kp__heap_insert(&budget->starved, &sub->starved);
    sub->lacks = budget;
}

/* ---- making room ----------------------------------------------------------------------------- */

static bool evict_before(const struct kp__heap_node *a, const struct kp__heap_node *b,
                         enum kp__member m)
{
    return KP__OF(a - m, struct kp__subpool, evict[0])->evict_rank <
           KP__OF(b - m, struct kp__subpool, evict[0])->evict_rank;
}

static bool evict_before_pool(const struct kp__heap_node *a, const struct kp__heap_node *b)
{
    return evict_before(a, b, KP__IN_POOL);
}

static bool evict_before_0(const struct kp__heap_node *a, const struct kp__heap_node *b)
{
    return evict_before(a, b, KP__IN_GROUP_0);
}

static bool evict_before_1(const struct kp__heap_node *a, const struct kp__heap_node *b)
{
    return evict_before(a, b, KP__IN_GROUP_1);
}

void kp__budget_init(struct kp__budget *budget, const char *name, int64_t cap,
                     enum kp__member member)
{
    static bool (*const before[])(const struct kp__heap_node *, const struct kp__heap_node *) = {
        evict_before_pool, evict_before_0, evict_before_1
    };

    *budget = (struct kp__budget){ .name = name, .cap = cap };
    kp__heap_init(&budget->starved, starved_before);
    kp__heap_init(&budget->evictable, before[member]);
}

static struct kp__budget *budget_of(struct kp__core *core, struct kp__subpool *sub, int member)
{
    if (member == KP__IN_POOL) return core->live.cap < KP__UNBOUND ? &core->live : NULL;
    return sub->group[member - 1] ? &sub->group[member - 1]->budget : NULL;
}


void kp__evictable_update(struct kp__core *core, struct kp__subpool *sub)
{
    bool spare = core->evicts && sub->rules && sub->count[KP__IDLE] > 0 &&
                 kp__sub_live(sub) - sub->count[KP__CLOSING] > sub->rules->min_live;

    for (int m = 0; m < KP__MEMBERS; m++) {
        struct kp__budget *budget = budget_of(core, sub, m);
        if (!budget || spare == kp__heap_holds(&sub->evict[m])) continue;
        if (!spare) {
            kp__heap_remove(&budget->evictable, &sub->evict[m]);
            continue;
        }
        if (m == KP__IN_POOL || !kp__heap_holds(&sub->evict[m - 1]))
            sub->evict_rank = kp__oldest_idle(sub)->order;
        kp__heap_insert(&budget->evictable, &sub->evict[m]);
    }
}

struct kp__slot *kp__evict_pick(struct kp__core *core, struct kp__budget *budget,
                                enum kp__member member)
{
    for (;;) {
        struct kp__heap_node *top = kp__heap_top(&budget->evictable);
        if (!top) return NULL;
        struct kp__subpool *sub = KP__OF(top - member, struct kp__subpool, evict[0]);
        struct kp__slot *oldest = kp__oldest_idle(sub);
        if (oldest->order == sub->evict_rank) return oldest;
        /* its oldest was used meanwhile: each refiling is paid for by a use */
        sub->evict_rank = oldest->order;
        for (int m = 0; m < KP__MEMBERS; m++)
            if (kp__heap_holds(&sub->evict[m]))
                kp__heap_fix(&budget_of(core, sub, m)->evictable, &sub->evict[m]);
    }
}
