/* SPDX-License-Identifier: MIT
 *
 * What the background may make: minima and what is to be kept ready (refill), what kp_warm asks
 * for, and replacements (renew.c). Upkeep looks at a key that wants some (flow/keeper.c) and takes
 * the permits here.
 */
#include "core/background.h"

#include "core/calendar.h"
#include "core/circuit.h"
#include "core/permit.h"
#include "core/renew.h"

/* ---- how much is wanted ---------------------------------------------------------------------- */

static int64_t at_least(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

int64_t kp__ready_wanted(const struct kp__subpool *sub, bool warm)
{
    const struct kp__rules *r = sub->rules;
    int64_t target, share;

    target = at_least(r->min_live, warm ? 1 : 0);
    target = at_least(target, (int64_t)sub->count[KP__LENT] + r->min_idle);
    share = r->utilization_pct * r->sharing;
    if (r->utilization_pct < 100) /* more may share one than its limits, if new, let share it */
        target = at_least(target, ((int64_t)sub->leases * 100 + share - 1) / share);
    if (target > r->max_live) target = r->max_live;
    if (target > r->lasting) target = r->lasting; /* else it would be made again without end */
    if (r->max_idle < target - sub->count[KP__LENT]) target = sub->count[KP__LENT] + r->max_idle;
    return target;
}

static bool may_grow(const struct kp__core *core, const struct kp__subpool *sub)
{
    return sub->rules && core->can_create && core->phase == KP__OPEN && !sub->leaving;
}

/* What is made now would not be kept, because of budget.max_idle. Is that so because others keep
 * more than their minimum? Then a minimum that is refilled after losses is looked at again until
 * there is room. If the minima of all keys do not fit, they would take turns in vain. */
static bool room_will_come(const struct kp__core *core, const struct kp__subpool *sub, int64_t have)
{
    return sub->rules->eager && have < sub->rules->min_live && core->minima <= core->max_idle;
}

int64_t kp__refill_wanted(struct kp__core *core, const struct kp__subpool *sub, bool warm)
{
    int64_t target, have;

    if (!may_grow(core, sub)) return 0;
    target = kp__ready_wanted(sub, warm);
    have = kp__sub_live(sub) + sub->contest->promised + sub->rare->health.kept_count;
    if (target <= have) return 0;
    if (kp__may_idle(core, 1)) return target - have;
    return room_will_come(core, sub, have) ? sub->rules->min_live - have : 0;
}

void kp__want_more(struct kp__core *core, struct kp__subpool *sub, uint64_t now)
{
    if (sub->refill || kp__refill_wanted(core, sub, false) == 0) return;
    sub->refill = true;
    kp__file_sub(core, sub, now);
}

void kp__make_up_for(struct kp__core *core, struct kp__subpool *sub, uint64_t now)
{
    if (sub->rules->eager && kp__refill_wanted(core, sub, false) > 0) sub->refill = true;
    if (sub->refill || kp__renewal_wanted(sub)) kp__file_sub(core, sub, now);
}

/* ---- what may be made now -------------------------------------------------------------------- */

uint64_t kp__rests_until(const struct kp__subpool *sub)
{
    const struct kp__health *h = &sub->rare->health;

    return h->tripped && h->circuit->until > h->back_off ? h->circuit->until : h->back_off;
}

bool kp__may_create(struct kp__core *core, struct kp__subpool *sub, uint64_t now)
{
    const struct kp__health *h = &sub->rare->health;

    if (h->refused || now < kp__rests_until(sub)) return false;
    if (h->tripped && kp__circuit_bars(sub, now)) return false;
    /* after a failure one goes first, even where there is no pause (unlike in decide_create.c,
     * what_bars): in the background nobody needs an attempt of his own */
    if (kp__sub_creating(sub) >= (h->failures ? 1 : sub->rules->max_creating)) return false;
    if (!kp__budget_may_take(core, &core->creating, sub) || !kp__budgets_have_room(core, sub))
        return false;
    return !kp__token_lacks(&core->rate, now) &&
           !kp__budget_outranked(core, &core->rate.budget, sub);
}

/* Does anybody wait who may create? */
static bool creators_wait(const struct kp__subpool *sub)
{
    return kp__queue_first(sub, KP__EITHER) || kp__queue_first(sub, KP__FRESH);
}

/* Take a permit to create in the background. The caller has looked whether the key has room. */
static bool take_permit(struct kp__core *core, struct kp__subpool *sub, uint64_t now)
{
    if (!kp__may_create(core, sub, now)) return false;
    kp__pace(core, sub, now);
    kp__permit_take(core, sub);
    kp__hold_up_end(core, sub);
    return true;
}

bool kp__refill_permit(struct kp__core *core, struct kp__subpool *sub, bool warm, uint64_t now)
{
    kp__note_time(core, now);
    if (kp__refill_wanted(core, sub, warm) == 0) return false;
    if (!kp__may_idle(core, 1)) return false; /* it would not be kept */
    if (creators_wait(sub)) return false; /* they come first */
    return take_permit(core, sub, now);
}

bool kp__renew_permit(struct kp__core *core, struct kp__subpool *sub, uint64_t now)
{
    int64_t live = kp__sub_live(sub) + sub->contest->promised, max = sub->rules->max_live;
    int64_t own = live - kp__sub_extra(sub);

    kp__note_time(core, now);
    if (!may_grow(core, sub)) return false;
    if (live - sub->rules->surplus >= max || own > max) return false;
    /* a request that could create comes first; one that waits because the key is full may get what
     * is made here */
    if (own < max && creators_wait(sub)) return false;
    if (!take_permit(core, sub, now)) return false;
    kp__rare(core, sub)->renewal.making++;
    return true;
}

/* The order is that of kp__refill_permit and kp__may_create. A key that may keep nothing ready was
 * refused before (flow/warm.c). */
enum kp__limit kp__refill_bound(struct kp__core *core, const struct kp__subpool *sub, uint64_t now)
{
    if (!sub->rules) return KP__BY_LIMITS_FOR;
    if (!core->can_create) return KP__BY_DRIVER_CREATE;
    if (sub->count[KP__CREATING] > 0) return KP__BY_CREATION;
    if (sub->count[KP__CLOSING] > 0) return KP__BY_DESTRUCTION;
    if (sub->rules->max_live <= kp__sub_live(sub)) return KP__BY_MAX_LIVE;
    if (!kp__may_idle(core, 1)) return KP__BY_POOL_IDLE;
    if (creators_wait(sub)) return KP__BY_WAIT_ORDER;
    if (now < kp__rests_until(sub)) return KP__BY_RETRY;
    if (sub->rare->health.tripped && kp__circuit_bars(sub, now))
        return sub->rare->health.circuit->limit;
    if (kp__budget_is_full(&core->creating)) return KP__BY_POOL_CREATING;
    for (int g = 0; g < KP__GROUPS; g++)
        if (kp__group_budget(sub, g) && kp__budget_is_full(kp__group_budget(sub, g)))
            return KP__BY_GROUP;
    if (kp__budget_is_full(&core->live)) return KP__BY_POOL_LIVE;
    return kp__token_lacks(&core->rate, now) ? KP__BY_CREATE_RATE : KP__BY_WAIT_ORDER;
}

/* ---- held up --------------------------------------------------------------------------------- */

void kp__hold_up(struct kp__core *core, struct kp__subpool *sub)
{
    if (!kp__budget_is_full(&core->creating)) return;
    struct kp__contest *contest = kp__contest(core, sub);
    if (!kp__list_linked(&contest->held_up))
        kp__list_push_back(&core->held_up, &contest->held_up);
}

void kp__hold_up_end(struct kp__core *core, struct kp__subpool *sub)
{
    if (sub->contest != &kp__no_contest) kp__list_remove(&kp__contest(core, sub)->held_up);
}

void kp__let_on(struct kp__core *core, uint64_t now)
{
    struct kp__list *first = kp__list_first(&core->held_up);

    if (!first || kp__budget_is_full(&core->creating)) return;
    kp__file_sub(core, KP__OF(first, struct kp__contest, held_up)->sub, now);
}

void kp__let_next_on(struct kp__core *core, struct kp__subpool *sub, uint64_t now)
{
    if (kp__budget_is_full(&core->creating)) return;
    kp__hold_up_end(core, sub);
    kp__let_on(core, now);
}
