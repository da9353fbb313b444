/* SPDX-License-Identifier: MIT
 *
 * Budgets: from what the user said to numbers, at open and while the pool is in use. What makes no
 * sense, or does not leave the keys what they are to keep, is refused with the field's name.
 * core/resize.c carries a change out.
 */
#include <string.h>

#include "core/resize.h"
#include "core/table.h"
#include "flow/door.h"
#include "flow/event.h"
#include "flow/fields.h"
#include "flow/settings.h"

const char *const kp__group_fields[KP__GROUPS] = { "budget.group_max_live[0]",
                                                   "budget.group_max_live[1]" };

/* ---- does it make sense? --------------------------------------------------------------------- */

static int check_rate(const kp_budget *b, kp_why *why)
{
    if (b->create_burst && (b->create_rate == 0 || b->create_rate == KP_UNLIMITED))
        return kp__refused(why, "budget.create_burst", "needs budget.create_rate");
    return 0;
}

int kp__budget_check(const kp_budget *b, kp_why *why)
{
    int code = kp__fields_check(kp__budget_fields, b, why);

    if (code == 0) code = check_rate(b, why);
    if (code == 0)
        code = kp__reserved_check(b->reserved, sizeof b->reserved / sizeof *b->reserved,
                                  "budget.reserved", why);
    return code;
}

static int64_t count_or_all(int64_t said)
{
    return said == 0 ? KP__UNBOUND : kp__count(said);
}

struct kp__allowance kp__allowance_of(const kp_budget *b)
{
    return (struct kp__allowance){
        .live = count_or_all(b->max_live),
        .lent = count_or_all(b->max_lent),
        .idle = count_or_all(b->max_idle),
        .creating = count_or_all(b->max_creating),
        .waiting = count_or_all(b->max_waiting),
        .keys = count_or_all(b->max_keys),
        .group = { count_or_all(b->group_max_live[0]), count_or_all(b->group_max_live[1]) },
        .rate = count_or_all(b->create_rate),
        .burst = b->create_burst ? b->create_burst : b->create_rate,
        .evicts = b->evict_other_keys != KP_OFF,
        .by_arrival = b->across == KP_ACROSS_ARRIVAL
    };
}

/* ---- does it leave the keys what they are to keep? ------------------------------------------- */

static struct kp__bounds bounds_of(const struct kp__allowance *may, bool same)
{
    bool many = same && may->keys != KP__UNBOUND && may->keys > 0;

    return (struct kp__bounds){ .live = may->live,
                                .lent = kp__lent_bound(may->lent),
                                .group = { may->group[0], may->group[1] },
                                .keys = many ? may->keys : 1 };
}

int kp__budget_holds(const kp_budget *budget, const struct kp__rules *rules, bool same,
                     kp_why *why)
{
    const struct kp__allowance may = kp__allowance_of(budget);
    struct kp__bounds bounds = bounds_of(&may, same);

    return kp__rules_fit(rules, &bounds, why);
}

struct kp__bounds kp__bounds_of(const struct kp__pool *pool, bool every)
{
    const struct kp__allowance may = kp__allowance_of(kp__said_budget(pool));

    return bounds_of(&may, every && !pool->limits_for);
}

/* Do the limits still hold: of keys to come, of each key that is there, and of all together? */
static int check_kept(const struct kp__pool *pool, const struct kp__allowance *may, kp_why *why)
{
    const struct kp__core *core = &pool->core;
    struct kp__bounds every = bounds_of(may, !pool->limits_for), one = bounds_of(may, false);
    const struct kp__subpool *sub = NULL;

    if (core->minima > may->live && may->live < core->live.cap)
        return kp__refused(why, "budget.max_live", "is below limits.min_live of all keys together");
    if (core->floors > may->live && may->live < core->live.cap)
        return kp__refused(why, "budget.max_live", "is below limits.floor of all keys together");
    if (core->floors > kp__lent_bound(may->lent) && may->lent < core->lent.cap)
        return kp__refused(why, "budget.max_lent", "is below limits.floor of all keys together");
    every.changing = one.changing = true;
    int code = kp__rules_fit(core->rules, &every, why);
    while (code == 0 && (sub = kp__next_sub(core, sub)) != NULL)
        if (sub->rules) code = kp__rules_fit(sub->rules, &one, why);
    return code;
}

/* ---- while in use ---------------------------------------------------------------------------- */

enum { NUMBERS = sizeof(kp_budget) / sizeof(int64_t) };
_Static_assert(sizeof(kp_budget) == NUMBERS * sizeof(int64_t), "they are all of one type");

/* What is said now replaces what was said before. A rate that is lifted takes its burst with it; a
 * burst that is as the rate, unless it was ever another, goes on following it. */
static kp_budget merged(const kp_budget *said, const kp_budget *before)
{
    int64_t now[NUMBERS], all[NUMBERS];
    kp_budget out;

    memcpy(now, said, sizeof now);
    memcpy(all, before, sizeof all);
    for (size_t i = 0; i < NUMBERS; i++)
        if (now[i] != 0) all[i] = now[i];
    memcpy(&out, all, sizeof out);
    if (said->create_rate == KP_UNLIMITED && said->create_burst == 0) out.create_burst = 0;
    if (before->create_burst == 0 && out.create_burst > 0 && out.create_burst == out.create_rate)
        out.create_burst = 0;
    return out;
}

/* A key joins its groups when it gets its rules, and only groups that have a limit (rules.c). So a
 * group that had a limit at open is counted for good, even while its limit is KP_UNLIMITED. */
static int check_groups(const struct kp__core *core, struct kp__allowance *may, kp_why *why)
{
    for (int g = 0; g < KP__GROUPS; g++) {
        bool counted = core->group_max_live[g] != KP__UNBOUND;
        if (counted && may->group[g] == KP__UNBOUND) may->group[g] = KP__UNBOUND - 1;
        else if (!counted && may->group[g] != KP__UNBOUND)
            return kp__refused(why, kp__group_fields[g],
                               "was unlimited at open, so its groups are not counted; open the "
                               "pool with a large limit");
    }
    return 0;
}

static int change(struct kp__pool *pool, const kp_budget *said, kp_why *why, struct kp__todo *todo)
{
    kp_budget budget = merged(said, kp__said_budget(pool));
    int code = kp__budget_check(&budget, why);

    if (code != 0) return code;
    struct kp__allowance may = kp__allowance_of(&budget);
    if ((code = check_groups(&pool->core, &may, why)) != 0) return code;
    if ((code = check_kept(pool, &may, why)) != 0) return code;
    uint32_t next = 1 - atomic_load(&pool->budget);
    pool->budgets[next] = budget;
    atomic_store(&pool->budget, next);
    kp__budgets_set(&pool->core, &may, kp__time(pool), todo);
    kp__tell_news(pool, todo); /* a kp_warm may be able to go on */
    return 0;
}

int kp_budget_set(kp_pool *door, const kp_budget *budget, kp_why *why)
{
    struct kp__todo todo;
    int code;

    if (why) memset(why, 0, sizeof *why);
    struct kp__pool *pool = kp__enter(door, &todo, &code);
    if (!pool) return kp__no_pool(code, why, "kp_budget_set: pool is NULL");
    if (!budget) code = kp__misuse_within(pool, &todo, why, "kp_budget_set: budget is NULL");
    else if (pool->core.phase != KP__OPEN) code = kp__say(why, KP_ECLOSED, NULL);
    else code = change(pool, budget, why, &todo);
    kp__leave(pool, &todo);
    return code;
}

/* As the user would say it. */
static kp_budget in_force(const kp_budget *said)
{
    kp_budget out = *said;

    kp__fields_fill(kp__budget_fields, &out);
    if (out.create_burst == 0 && out.create_rate != KP_UNLIMITED)
        out.create_burst = out.create_rate;
    return out;
}

int kp_budget_read(kp_pool *door, kp_budget *out)
{
    struct kp__todo todo;
    int code;

    if (out) memset(out, 0, sizeof *out);
    struct kp__pool *pool = kp__enter(door, &todo, &code);
    if (!pool) return kp__no_pool(code, NULL, "kp_budget_read: pool is NULL");
    if (!out) code = kp__misuse_within(pool, &todo, NULL, "kp_budget_read: out is NULL");
    else *out = in_force(kp__said_budget(pool));
    kp__leave(pool, &todo);
    return code;
}
