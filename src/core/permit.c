/* SPDX-License-Identifier: MIT
 *
 * Permits: the right to make or lend one more. They are taken for requests (decide.c) and for the
 * background (background.c); each is then spent into a slot (flow/create.c) or refunded, so that
 * what a budget has handed out is what is held (L2, I3).
 */
#include "base/check.h"
#include "core/background.h"
#include "core/circuit.h"
#include "core/permit.h"
#include "core/todo.h"

static void recount(struct kp__core *core, struct kp__subpool *sub)
{
    kp__evictable_update(core, sub);
    kp__rank_anew(core, sub);
}

/* Count one permit more, or one less (-1), wherever it counts. */
static void count_permit(struct kp__core *core, struct kp__subpool *sub, int one)
{
    sub->count[KP__CREATING] += (uint32_t)one;
    core->count[KP__CREATING] += (uint32_t)one;
    core->creating.used += one;
    core->live.used += one;
    for (int g = 0; g < KP__GROUPS; g++)
        if (kp__group_budget(sub, g)) kp__group_budget(sub, g)->used += one;
}

void kp__permit_take(struct kp__core *core, struct kp__subpool *sub)
{
    kp__about_to_be_served(core, sub, KP__IN_USE);
    kp__about_to_be_served(core, sub, KP__BEING_MADE);
    count_permit(core, sub, 1);
    recount(core, sub);
}

void kp__permit_refund(struct kp__core *core, struct kp__subpool *sub)
{
    KP__DCHECK(sub->count[KP__CREATING] > 0);
    kp__account(core, sub);
    count_permit(core, sub, -1);
    kp__pace_undo(core, sub);
    recount(core, sub);
    kp__let_on(core, core->latest);
}

void kp__pace(struct kp__core *core, struct kp__subpool *sub, uint64_t now)
{
    if (!core->rate.per_s) return;
    kp__about_to_be_served(core, sub, KP__BEGUN);
    kp__token_take(&core->rate, now);
}

void kp__pace_undo(struct kp__core *core, struct kp__subpool *sub)
{
    struct kp__budget *budget = &core->rate.budget;

    kp__token_back(&core->rate);
    if (kp__heap_top(&budget->starved)) kp__share_refunded(core, budget, sub);
}

void kp__lent_drop(struct kp__core *core, struct kp__request *request)
{
    if (!request->holds_lent) return;
    request->holds_lent = false;
    kp__lent_refund(core, request->sub);
}

void kp__permit_spend(struct kp__subpool *sub, struct kp__slot *slot)
{
    slot->state = KP__CREATING;
    slot->sub = sub;
}

/* A promise counts in each group of its heir, as a permit does. But where one of its victims is in
 * the group, that one's place does for it: it stays taken until the heir has it. */
static void count_promise(struct kp__slot *victim, int one)
{
    const struct kp__subpool *heir = victim->errand->victim.promised_to;

    for (int g = 0; g < KP__GROUPS; g++) {
        struct kp__budget *budget = kp__group_budget(heir, g);
        const struct kp__slot *v = victim;
        while (budget && v && kp__group_budget(v->sub, g) != budget) v = v->errand->victim.next;
        if (budget && v) budget->closing -= one;
        else if (budget) budget->used += one;
    }
}

static bool concerns(const struct kp__slot *victim, const struct kp__subpool *sub)
{
    if (victim->errand->victim.promised_to == sub) return true;
    while (victim && victim->sub != sub) victim = victim->errand->victim.next;
    return victim != NULL;
}

void kp__promises_count(struct kp__core *core, const struct kp__subpool *sub, int one)
{
    const struct kp__list *list = &core->promises;

    /* or each new key would look at the promises of all (L8) */
    if (sub->contest->promised + sub->contest->ceded == 0) return;
    for (struct kp__list *n = kp__list_first(list); n; n = kp__list_next(list, n)) {
        struct kp__slot *victim = KP__OF(n, struct kp__errand, victims)->slot;
        if (concerns(victim, sub)) count_promise(victim, one);
    }
}

static void begin_promise(struct kp__core *core, struct kp__slot *victim, struct kp__subpool *heir)
{
    struct kp__errand *errand = kp__errand_of(victim);

    errand->victim.promised_to = heir;
    kp__list_init(&errand->victims);
    kp__list_push_back(&core->promises, &errand->victims);
    count_promise(victim, 1);
}

/* Returns the heir. */
static struct kp__subpool *end_promise(struct kp__slot *victim)
{
    struct kp__errand *errand = kp__errand_of(victim);
    struct kp__subpool *heir = errand->victim.promised_to;

    count_promise(victim, -1);
    kp__list_remove(&errand->victims);
    errand->victim.promised_to = NULL;
    return heir;
}

static void cede(struct kp__core *core, struct kp__slot *victim)
{
    kp__account(core, victim->sub);
    kp__contest(core, victim->sub)->ceded++;
    kp__errand(core, victim);
    recount(core, victim->sub);
}

static void cede_end(struct kp__core *core, struct kp__slot *victim)
{
    kp__account(core, victim->sub);
    KP__DCHECK(victim->sub->contest->ceded > 0);
    kp__contest(core, victim->sub)->ceded--;
    recount(core, victim->sub);
}

void kp__promise(struct kp__core *core, struct kp__subpool *sub, struct kp__slot *victim)
{
    struct kp__errand *errand = kp__errand(core, victim);

    if (errand->victim.heir) kp__list_remove(&errand->victims); /* it was waived */
    kp__about_to_be_served(core, sub, KP__IN_USE);
    kp__about_to_be_served(core, sub, KP__BEING_MADE);
    kp__contest(core, sub)->promised++;
    core->promised++;
    core->creating.used++;
    for (struct kp__slot *v = victim; v; v = v->errand->victim.next) cede(core, v);
    begin_promise(core, victim, sub);
}

void kp__promise_pass(struct kp__core *core, struct kp__slot *victim)
{
    struct kp__subpool *heir = end_promise(victim);

    cede_end(core, victim);
    begin_promise(core, victim->errand->victim.next, heir);
}

void kp__promise_end(struct kp__core *core, struct kp__slot *victim)
{
    struct kp__subpool *sub = end_promise(victim);

    KP__DCHECK(sub->contest->promised > 0);
    kp__account(core, sub);
    kp__contest(core, sub)->promised--;
    core->promised--;
    core->creating.used--;
    for (; victim; victim = victim->errand->victim.next) cede_end(core, victim);
}

static void waive_one(struct kp__core *core, struct kp__subpool *sub, struct kp__slot *victim,
                      struct kp__todo *todo)
{
    struct kp__errand *errand = kp__errand_of(victim);

    if (!errand->victim.heir) kp__list_push_back(&todo->doomed, &victim->link); /* not begun yet */
    errand->victim.heir = sub;
    errand->victim.next = NULL;
    errand->sponsor = NULL;
    kp__list_init(&errand->victims);
    kp__list_push_back(&kp__rare(core, sub)->waived, &errand->victims);
}

void kp__waive(struct kp__core *core, struct kp__subpool *sub, struct kp__slot *victim,
               uint64_t now, struct kp__todo *todo)
{
    struct kp__slot *next;

    kp__probe_end(core, sub, &kp__errand_of(victim)->probe);
    kp__promise_end(core, victim);
    kp__pace_undo(core, sub);
    for (; victim; victim = next) {
        next = victim->errand->victim.next;
        waive_one(core, sub, victim, todo);
    }
    kp__let_on(core, now);
}
