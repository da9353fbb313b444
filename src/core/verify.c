/* SPDX-License-Identifier: MIT
 *
 * The invariants of docs/INVARIANTS.md, checked whenever the lock is given back in builds with
 * KP_VERIFY: the books of the pool; and, of the keys in the first 64 places, the books, the lists
 * and L1. A broken one ends the program with its number.
 */
#include "core/lane.h"
#include "core/over.h"

#if defined KP_VERIFY && KP_VERIFY

#include <stdio.h>
#include <stdlib.h>

enum { PLACES_LOOKED_AT = 64 };

/* Goes through the keys that are looked at; NULL asks for the first, and means no more. */
static struct kp__subpool *next_key(const struct kp__core *core, const struct kp__subpool *after)
{
    for (uint32_t i = after ? after->item.index + 1 : 0; i < PLACES_LOOKED_AT; i++) {
        struct kp__subpool *sub = kp__slab_at(&core->subpools, i);
        if (sub && sub->in_use) return sub;
    }
    return NULL;
}

/* Are these all the keys there are? */
static bool are_all(const struct kp__core *core)
{
    return core->subpools.made <= PLACES_LOOKED_AT;
}

static void require(bool holds, const char *what)
{
    if (holds) return;
    fprintf(stderr, "keyedpool: broken invariant: %s\n", what);
    abort();
}

static uint32_t length(const struct kp__list *list)
{
    uint32_t n = 0;

    for (const struct kp__list *l = kp__list_first(list); l; l = kp__list_next(list, l)) n++;
    return n;
}

/* Was one of its requests invited? That is a call in progress: when its thread is here, it looks,
 * and then settles this key and all budgets that count it. */
static bool is_coming(const struct kp__subpool *sub)
{
    for (int q = 0; q < KP__OWN; q++) {
        const struct kp__list *list = &sub->rare->queue[q];
        for (const struct kp__list *l = kp__list_first(list); l; l = kp__list_next(list, l))
            if (KP__OF(l, const struct kp__request, link)->invited) return true;
    }
    return false;
}

/* If subpools are starved, nothing is left to hand out or to evict, or an invited request of a key
 * that this budget counts is on its way. */
static void verify_budget(const struct kp__core *core, const struct kp__budget *budget,
                          const char *what)
{
    bool of_all = budget == &core->live || budget == &core->lent || budget == &core->creating;

    if (!kp__heap_top(&budget->starved) || !are_all(core) ||
        (kp__budget_is_full(budget) && !kp__heap_top(&budget->evictable)))
        return;
    for (const struct kp__subpool *sub = NULL; (sub = next_key(core, sub)) != NULL;) {
        bool counts =
            of_all || kp__group_budget(sub, 0) == budget || kp__group_budget(sub, 1) == budget;
        if (counts && is_coming(sub)) return;
    }
    require(false, what);
}

/* Does one of its requests know when to look again? */
static bool is_told(const struct kp__subpool *sub)
{
    for (int q = 0; q < KP__OWN; q++) {
        const struct kp__request *head = kp__queue_first(sub, (enum kp__queue)q);
        if (head && kp__next_look(head) != KP__NEVER) return true;
    }
    return false;
}

/* Time brings tokens: one request at least that lacks one knows when to look, or an invited one is
 * on its way, and will find that out. */
static void verify_rate(const struct kp__core *core)
{
    const struct kp__subpool *sub = NULL;

    if (!kp__heap_top(&core->rate.budget.starved) || !are_all(core)) return;
    while ((sub = next_key(core, sub)) != NULL)
        if (is_coming(sub) || (sub->contest->lacks == &core->rate.budget && is_told(sub))) return;
    require(false, "I5 somebody lacks a token, and nobody knows when it comes");
}

/* Is there a request that may take what is idle? *comes: was the first of a queue offered it? */
static bool any_taker(const struct kp__subpool *sub, bool *comes)
{
    static const enum kp__queue takers[] = { KP__EITHER, KP__TAKERS, KP__SPONSORS };
    int kinds = sub->rare->doubts > 0 ? 2 : 3; /* sponsors do not take what is in doubt */
    bool any = false;

    *comes = false;
    for (int i = 0; i < kinds; i++) {
        const struct kp__request *head = kp__queue_first(sub, takers[i]);
        any = any || head;
        *comes = *comes || (head && head->offered);
    }
    return any;
}

/* Ageing slots, and their replacements. */
static void verify_renewal(const struct kp__subpool *sub)
{
    const struct kp__renewal *n = &sub->rare->renewal;
    uint32_t ageing = 0;

    for (int i = 0; i < KP__HOLDINGS; i++) {
        const struct kp__slot *slot = NULL;
        while ((slot = kp__next_slot(kp__holding(sub, i), slot)) != NULL) ageing += slot->ageing;
    }
    require(ageing == n->ageing && n->spare <= ageing, "I2 those that age, and their replacements");
    require(n->making <= sub->count[KP__CREATING], "I2 replacements are being made");
}

/* As many cells of its lane as it says have a home; a word on no open lane is not even marked. */
static void verify_homes(const struct kp__subpool *sub)
{
    const struct kp__slot *slot = NULL;
    uint32_t homes = 0;

    while ((slot = kp__next_idle_or_lent(sub, slot)) != NULL) {
        const struct kp__cell *cell = slot->cell ? KP__CELL_OF(slot) : NULL;
        /* relaxed, both: words are marked, and homes given and taken, only under the lock */
        if (!cell || !(atomic_load_explicit(&cell->word, memory_order_relaxed) & KP__HOMED))
            continue;
        require(slot->on_lane, "I7 a word is marked that is on no open lane");
        homes += atomic_load_explicit(&cell->home, memory_order_relaxed) != KP__NO_HOME;
    }
    require(homes == (sub->lane_books ? sub->lane_books->homes : 0),
            "I7 a lane knows how many have a home");
    require(homes == 0 || sub->open, "I7 a lane is shut, and a word of it has a home");
}

/* Slots and requests are on the lists that their states name, and these are as long as counted. */
static void verify_lists(const struct kp__subpool *sub)
{
    uint32_t queued = 0;

    for (int q = 0; q < KP__QUEUES; q++) queued += length(&sub->rare->queue[q]);
    require(queued == sub->waiting, "I10 a request is queued exactly while it waits");
    for (int s = KP__IDLE; s <= KP__LENT; s++)
        require(length(KP__SLOTS(sub, s)) == sub->count[s], "I1 a slot's state names its list");
    require(length(&sub->rare->tested) == sub->rare->tests, "I1 what is tested is on its list");
    require(length(&sub->rare->taken) <= sub->rare->revoked, "I1 what is revoked is on its list");
}

/* What it holds of budgets, and what it lacks. */
static void verify_contest(const struct kp__core *core, const struct kp__subpool *sub)
{
    struct kp__budget *lacks = sub->contest->lacks;

    require(sub->leases <= sub->lent_permits, "I3 every lease has a permit");
    require(sub->contest->ceded <= sub->count[KP__CLOSING], "I3 what is ceded is closing");
    require(kp__heap_holds(&sub->contest->starved) == (lacks != NULL), "I5 starved in one heap");
    require(!lacks || sub->waiting > 0, "I5 who is starved waits");
    if (lacks && sub->rules) verify_budget(core, lacks, "I5 idle permits, or one to evict");
}

/* While its lane is open. */
static void verify_calm(const struct kp__subpool *sub)
{
    require(sub->rare->doubts == 0, "I6 a lane is open, and one is in doubt");
    require(sub->interest == sub->waiting && sub->contest->promised == 0 &&
                sub->count[KP__CREATING] == 0 && sub->count[KP__CLOSING] == 0,
            "I6 a lane is open, and somebody wants something, or something is under way");
}

/* L1, within the key: nobody who may take what is idle waits for it. */
static void verify_idle_hands(const struct kp__core *core, const struct kp__subpool *sub)
{
    if (!sub->rules || sub->waiting == 0 || core->phase != KP__OPEN || sub->count[KP__IDLE] == 0)
        return;
    bool comes, taker = any_taker(sub, &comes);
    bool bound = (int64_t)sub->lent_permits >= sub->rules->max_lent || sub->contest->lacks ||
                 sub->rare->health.tripped || is_coming(sub);
    require(!taker || comes || bound, "I4 idle hands: a request waits beside an idle resource");
}

static void verify_sub(const struct kp__core *core, const struct kp__subpool *sub)
{
    verify_lists(sub);
    verify_renewal(sub);
    verify_homes(sub);
    if (sub->open) verify_calm(sub);
    verify_contest(core, sub);
    verify_idle_hands(core, sub);
}

/* How many of its slots are on its open lane, which reserves something for each. */
static uint32_t on_lane(const struct kp__subpool *sub, enum kp__state state)
{
    const struct kp__slot *slot = NULL;
    uint32_t n = 0;

    while ((slot = kp__next_slot(KP__SLOTS(sub, state), slot)) != NULL) n += slot->on_lane;
    return n;
}

/* Of the keys looked at, which may not be all. */
static void verify_lanes(const struct kp__core *core)
{
    int64_t idle = 0, lent = 0;
    const struct kp__subpool *sub = NULL;
    bool open = kp__heap_top(&core->open_lanes) != NULL;

    while ((sub = next_key(core, sub)) != NULL) {
        idle += on_lane(sub, KP__IDLE);
        lent += on_lane(sub, KP__LENT);
    }
    require(core->leases + idle <= core->lent.used, "I3 an idle one on a lane has a lent permit");
    require(lent <= core->returning && (!are_all(core) || lent == core->returning), "I3 returning");
    require(!open || core->count[KP__IDLE] + core->returning <= core->max_idle,
            "I3 budget.max_idle, whatever comes back over a lane");
    require(!open || !kp__heap_top(&core->lent.starved),
            "I5 a lane is open, and somebody lacks a lent permit");
}

/* Marks of probes on its leases; those of permits and creations are on no list. */
static uint32_t marks(const struct kp__subpool *sub)
{
    const struct kp__slot *slot = NULL;
    uint32_t n = 0;

    while ((slot = kp__next_slot(KP__SLOTS(sub, KP__LENT), slot)) != NULL)
        for (uint32_t i = 0; i < slot->errand->seats; i++)
            n += kp__seat_at(slot, i)->lent && kp__seat_at(slot, i)->probe;
    return n;
}

/* Of the keys looked at, which may not be all. */
static void verify_circuits(const struct kp__core *core)
{
    const struct kp__subpool *sub = NULL;
    uint32_t tripped = 0, probing = 0;

    while ((sub = next_key(core, sub)) != NULL) {
        const struct kp__health *h = &sub->rare->health;
        tripped += h->tripped;
        probing += h->circuit->probing;
        require(marks(sub) <= h->circuit->probes, "I13 every probe is counted");
        require(h->tripped || !h->circuit->probing, "I13 a closed circuit does not probe");
    }
    if (!are_all(core)) return;
    require(tripped == core->tripped, "I13 the total of circuits that are not closed");
    require(probing == core->probing, "I13 the total of circuits that probe");
}

/* If budget.max_creating holds keys up, it is used up; or a look at a key is due, as at one that
 * was let on, or a call is under way, which may be that look: it ends with letting the next one on.
 */
static void verify_held_up(const struct kp__core *core)
{
    const struct kp__list *l = kp__list_first(&core->held_up);
    bool looks = kp__budget_is_full(&core->creating) ||
                 kp__timers_next(&core->keys_due) <= core->latest || !are_all(core);

    if (!l || core->phase != KP__OPEN) return;
    for (; l; l = are_all(core) ? kp__list_next(&core->held_up, l) : NULL)
        require(KP__OF(l, const struct kp__contest, held_up)->sub->in_use,
                "I14 a key is held up that is not in the table");
    for (const struct kp__subpool *sub = NULL; !looks && (sub = next_key(core, sub)) != NULL;)
        looks = sub->interest > sub->waiting;
    require(looks, "I14 keys are held up, and budget.max_creating is not used up");
}

/* Is it within its limit, or, if that was lowered below what was used, has it not grown since? */
static bool is_within(struct kp__budget *budget)
{
    if (budget->peak > budget->used) budget->peak = budget->used;
    return budget->used <= budget->cap || budget->used <= budget->peak;
}

void kp__verify(struct kp__core *core)
{
    const struct kp__subpool *sub = NULL;
    int64_t live = 0;

    for (int s = KP__CREATING; s < KP__STATES; s++) live += core->count[s];
    require(live == core->live.used, "I3 live permits = live resources");
    require(is_within(&core->live), "I3 budget.max_live");
    require(!kp__over_pool(core, 0) || core->count[KP__IDLE] == 0,
            "I3 an idle one, and more stay than budget.max_live");
    require(core->evictable == KP__EVICT_USUAL, "I5 victims as usual");
    require(core->creating.used + core->tests ==
                (int64_t)core->count[KP__CREATING] + core->promised,
            "I3 creating permits = creations");
    require((int64_t)core->leases <= core->lent.used, "I3 every lease has a lent permit");
    require(is_within(&core->lent), "I3 budget.max_lent");
    require(is_within(&core->creating), "I3 budget.max_creating");
    require((int64_t)core->count[KP__IDLE] <= core->max_idle, "I3 budget.max_idle");
    verify_budget(core, &core->lent, "I5 idle lent permits");
    verify_budget(core, &core->creating, "I5 idle creating permits");
    verify_rate(core);
    verify_held_up(core);
    verify_lanes(core);
    verify_circuits(core);
    while ((sub = next_key(core, sub)) != NULL) verify_sub(core, sub);
}

#endif
