/* SPDX-License-Identifier: MIT
 *
 * The rules of keys: worked out when a key is made, with the help of the user's limits_for, and
 * changed while in use (kp_limits_set). What limits mean and which are refused: limits.c.
 */
#include <string.h>

#include "base/cancel.h"
#include "core/calendar.h"
#include "core/give.h"
#include "core/renew.h"
#include "core/over.h"
#include "core/resize.h"
#include "core/serve.h"
#include "core/table.h"
#include "flow/door.h"
#include "flow/event.h"
#include "flow/find.h"
#include "flow/hit.h"
#include "flow/settings.h"

/* ---- rules and their groups ------------------------------------------------------------------ */

/* Make rules from limits, and check that the driver can follow them and they hold within the
 * budgets; `every`: they are for all keys. The caller drops what it does not use, also after an
 * error. With the lock, given back meanwhile. */
static int rules_within(struct kp__pool *pool, const kp_limits *limits, bool every,
                        struct kp__rules **rules, kp_why *why, struct kp__todo *todo)
{
    kp__step_out(pool, todo);
    int code = kp__rules_make(pool->world, limits, rules, why);
    kp__step_in(pool);
    struct kp__bounds bounds = kp__bounds_of(pool, every); /* as they are by now */
    if (code == 0) code = kp__rules_fit_driver(*rules, &pool->driver, why);
    return code ? code : kp__rules_fit(*rules, &bounds, why);
}

/* Make a group, of a spare one or of new memory, unless somebody else was faster. With the lock,
 * given back meanwhile. */
static int make_group(struct kp__pool *pool, int which, int64_t id)
{
    struct kp__core *core = &pool->core;
    struct kp__group *group;
    struct kp__todo todo;

    if (!kp__make_room(pool)) return KP_ENOMEM; /* else the map has an array, which is enough */
    if (kp__list_empty(&core->spare_groups)) {
        kp__todo_init(&todo, pool->world);
        kp__step_out(pool, &todo);
        group = kp__alloc(pool->world, sizeof *group, 16);
        kp__step_in(pool);
        if (!group) return KP_ENOMEM;
        group->serial = 0;
        kp__list_init(&group->spare);
        kp__list_push_back(&core->spare_groups, &group->spare);
    }
    if (kp__group_find(core, which, id)) return 0;
    group = KP__OF(kp__list_first(&core->spare_groups), struct kp__group, spare);
    kp__list_remove(&group->spare);
    kp__group_enter(core, group, which, id);
    return 0;
}

/* One group. KP_EAGAIN: it was not there, and was made. */
static int group_of(struct kp__pool *pool, int which, int64_t id, struct kp__group **out)
{
    if ((*out = kp__group_find(&pool->core, which, id)) != NULL) return 0;
    int code = make_group(pool, which, id);
    return code ? code : KP_EAGAIN;
}

/* The groups that these rules name, and the pair of both. With the lock. KP_EAGAIN: one had to be
 * made, for which the lock was given back, so the caller has to look at all again. */
static int groups_of(struct kp__pool *pool, const struct kp__rules *rules,
                     struct kp__group *group[KP__GROUPS_AND_PAIR])
{
    int code = 0;

    for (int g = 0; g < KP__GROUPS_AND_PAIR; g++) group[g] = NULL;
    for (int g = 0; code == 0 && g < KP__GROUPS; g++)
        if (rules->group[g] != 0 && pool->core.group_max_live[g] != KP__UNBOUND)
            code = group_of(pool, g, rules->group[g], &group[g]);
    if (code == 0 && group[0] && group[1])
        code = group_of(pool, KP__PAIR, kp__pair_id(group[0], group[1]), &group[KP__PAIR]);
    return code;
}

/* ---- of a new key ---------------------------------------------------------------------------- */

/* What limits_for is handed for a new key, and what it left of that. */
struct asked {
    kp_limits given, left;
};

/* Ask the user's limits_for. With the lock, given back meanwhile. */
static void ask_limits(struct kp__pool *pool, struct kp__subpool *sub, struct asked *asked)
{
    struct kp__todo todo;

    asked->left = asked->given = kp__limits_given(&pool->core.rules->said);
    kp__todo_init(&todo, pool->world);
    kp__step_out(pool, &todo);
    int cancel = kp__cancel_hold();
    pool->limits_for(kp__key_of(pool, sub), &asked->left, pool->ctx);
    kp__cancel_free(cancel);
    kp__step_in(pool);
}

/* Its rules, from the pool's. What limits_for did not touch is as in these. */
static int rules_from(struct kp__pool *pool, const struct asked *asked, struct kp__rules **rules,
                      kp_why *why, struct kp__todo *todo)
{
    kp_limits limits = kp__limits_taken(&asked->left, &asked->given, &(*rules)->said);

    return rules_within(pool, &limits, false, rules, why, todo);
}

/* The rules of a new key, and its groups: the pool's own rules, or what limits_for made of them. If
 * the pool's change meanwhile, it begins again with those, as when a group had to be made. With the
 * lock, given back meanwhile. */
static int make_rules(struct kp__pool *pool, struct kp__subpool *sub, struct kp__rules **out,
                      struct kp__group *group[KP__GROUPS_AND_PAIR], kp_why *why)
{
    struct asked asked;
    struct kp__todo todo;
    int code;

    if (pool->limits_for) ask_limits(pool, sub, &asked);
    kp__todo_init(&todo, pool->world);
    do {
        struct kp__rules *base = pool->core.rules, *rules = base;
        code = 0;
        base->refs++; /* kept, so that no other rules can get its address; compared below */
        if (pool->limits_for) code = rules_from(pool, &asked, &rules, why, &todo);
        if (code == 0) code = groups_of(pool, rules, group);
        struct kp__rules *unused = kp__rules_unref(base);
        *out = rules;
        if (code == 0 && base == pool->core.rules) return 0;
        kp__step_out(pool, &todo);
        if (rules != base) kp__rules_drop(pool->world, rules);
        kp__rules_drop(pool->world, unused);
        kp__step_in(pool);
    } while (code == 0 || code == KP_EAGAIN);
    return code;
}

/* New keys are let in even if not all keys can keep what they were promised then; that is reported
 * once. */
static void tell_overpromised(struct kp__pool *pool, struct kp__todo *todo)
{
    const struct kp__core *core = &pool->core;
    const char *sentence = NULL;

    if (core->minima > core->live.cap)
        sentence = "limits.min_live of all keys adds up to more than budget.max_live; not every "
                   "key can have its minimum";
    else if (core->floors > core->live.cap)
        sentence = "limits.floor of all keys adds up to more than budget.max_live; not every key "
                   "can have its floor";
    else if (core->floors > kp__lent_bound(core->lent.cap))
        sentence = "limits.floor of all keys adds up to more than budget.max_lent; not every key "
                   "can have its floor";
    if (!sentence || pool->overpromised) return;
    pool->overpromised = true;
    (void)kp__misuse_within(pool, todo, NULL, sentence);
}

/* No rules could be made: refuse all who wait for them, and tell them why. */
static void refuse(struct kp__pool *pool, struct kp__subpool *sub, int code, const kp_why *cause,
                   struct kp__todo *todo)
{
    for (int q = 0; q < KP__QUEUES; q++) {
        const struct kp__list *queue = &sub->rare->queue[q], *l;
        for (l = kp__list_first(queue); l; l = kp__list_next(queue, l)) {
            const struct kp__request *r = KP__OF(l, const struct kp__request, link);
            if (r->why) *r->why = *cause;
        }
    }
    kp__refuse_all(&pool->core, sub, code, todo);
}

int kp__rule(struct kp__pool *pool, struct kp__subpool *sub, kp_why *why)
{
    struct kp__rules *rules, *old = NULL;
    struct kp__group *group[KP__GROUPS_AND_PAIR];
    struct kp__todo todo;

    if (sub->rules || sub->ruling) return 0;
    kp_why cause = { .code = 0 };
    kp__todo_init(&todo, pool->world);
    sub->ruling = true;
    int code = make_rules(pool, sub, &rules, group, &cause);
    sub->ruling = false;
    if (code == 0) {
        kp__note_rules(pool, rules);
        kp__table_rule(&pool->core, sub, rules, group, &old);
        if (rules->prefill && rules->min_live > 0) sub->refill = true;
        if (sub->refill) kp__file_sub(&pool->core, sub, kp__time(pool)); /* kp_warm sets it, too */
        kp__settle(&pool->core, sub, kp__time(pool), &todo);
        tell_overpromised(pool, &todo);
    } else {
        if (cause.code == 0) kp__say(&cause, code, NULL);
        if (why) *why = cause;
        refuse(pool, sub, code, &cause, &todo);
    }
    kp__tell_news(pool, &todo); /* a kp_warm of it goes on, or asks for rules again */
    kp__step_out(pool, &todo);
    if (code == 0) kp__event(pool, KP_EVENT_KEY_MADE, sub, NULL, 0, NULL);
    kp__step_in(pool);
    return code;
}

/* ---- while in use ---------------------------------------------------------------------------- */

static bool too_many(const struct kp__subpool *sub)
{
    return sub->count[KP__IDLE] > 0 &&
           (kp__over_key(sub, sub->rules->max_live) || kp__over_groups(sub, 0) ||
            (int64_t)sub->count[KP__IDLE] > sub->rules->max_idle);
}

/* After a change of rules: serve the requests that may go on now. */
static void serve(struct kp__pool *pool, struct kp__subpool *sub, struct kp__todo *todo)
{
    const struct kp__list *lent = KP__SLOTS(sub, KP__LENT);
    uint64_t now = kp__time(pool);

    if (sub->used_at == 0) sub->used_at = now;
    if (sub->rare->health.refused) kp__rare(&pool->core, sub)->health.refused = false;
    for (struct kp__list *n = kp__list_first(lent); n; n = kp__list_next(lent, n))
        kp__review_seats(&pool->core, KP__OF(n, struct kp__slot, link)); /* max_uses */
    kp__settle(&pool->core, sub, now, todo);
}

/* After that: destroy what is too much, and have what is missing made. What is destroyed may make
 * room for other keys, so where the rules of all change, all have the new ones before. */
static void trim(struct kp__pool *pool, struct kp__subpool *sub, struct kp__todo *todo)
{
    const struct kp__list *idle = KP__SLOTS(sub, KP__IDLE), *lent = KP__SLOTS(sub, KP__LENT);
    uint64_t now = kp__time(pool);

    while (too_many(sub)) {
        kp__close_idle(&pool->core, kp__oldest_idle(sub), KP_CAUSE_SURPLUS, todo);
        kp__do(pool, todo);
    }
    kp__groups_trim(&pool->core, sub, kp__time(pool), todo);
    kp__do(pool, todo);
    for (struct kp__list *n = kp__list_first(idle); n; n = kp__list_next(idle, n)) {
        struct kp__slot *slot = KP__OF(n, struct kp__slot, link);
        if (slot->since == 0) slot->since = now; /* it came back when no rule needed the clock */
        kp__file_slot(&pool->core, slot);
    }
    for (struct kp__list *n = kp__list_first(lent); n; n = kp__list_next(lent, n)) {
        struct kp__slot *slot = KP__OF(n, struct kp__slot, link);
        struct kp__seat *first = kp__seat_at(slot, 0); /* with more seats it is never due */
        if (first->since == 0) first->since = now; /* likewise */
        kp__file_slot(&pool->core, slot); /* revoke_after_ms */
    }
    kp__age_all(&pool->core, sub, now, todo);
    if (sub->rules->eager) sub->refill = true;
    kp__file_sub(&pool->core, sub, now);
    kp__tell_news(pool, todo); /* a kp_warm may be able to go on */
    kp__do(pool, todo);
}

/* One try: KP_EAGAIN if another call changed this key's limits meanwhile, or a group had to be
 * made. For limits that are refused none is made. */
static int try_set(struct kp__pool *pool, struct kp__subpool *sub, const kp_limits *limits,
                   bool every, kp_why *why, struct kp__todo *todo)
{
    kp_limits merged = kp__limits_merge(limits, &sub->rules->said);
    struct kp__budget *was[KP__GROUPS] = { kp__group_budget(sub, 0), kp__group_budget(sub, 1) };
    struct kp__group *group[KP__GROUPS_AND_PAIR];
    struct kp__rules *rules, *before = sub->rules, *old = NULL;
    bool closed = false;
    int code;

    before->refs++; /* kept, so that no other rules can get its address */
    code = rules_within(pool, &merged, false, &rules, why, todo);
    if (code == 0 && sub->rules != before) code = KP_EAGAIN;
    if (code == 0 && !every) code = kp__rules_add_up(pool, rules, sub->rules, why);
    if (code == 0) code = groups_of(pool, rules, group);
    if (code == 0) {
        closed = sub->rare->health.tripped;
        kp__note_rules(pool, rules);
        kp__table_rule(&pool->core, sub, rules, group, &old);
        closed = closed && !sub->rare->health.tripped;
        rules = NULL;
        for (int g = 0; g < KP__GROUPS; g++) /* a group that the key left has room now */
            if (was[g] && was[g] != kp__group_budget(sub, g))
                kp__settle_budget(&pool->core, was[g], kp__time(pool), todo);
        serve(pool, sub, todo);
        if (!every) trim(pool, sub, todo);
    }
    old = kp__rules_unref(before); /* what was replaced was this */
    kp__step_out(pool, todo);
    if (closed) kp__event(pool, KP_EVENT_BREAKER_CLOSED, sub, NULL, 0, NULL);
    kp__rules_drop(pool->world, old);
    kp__rules_drop(pool->world, rules);
    kp__step_in(pool);
    return code;
}

static int set_one(struct kp__pool *pool, struct kp__subpool *sub, const kp_limits *limits,
                   bool every, kp_why *why, struct kp__todo *todo)
{
    int code = KP_EAGAIN;

    while (sub->rules && code == KP_EAGAIN) code = try_set(pool, sub, limits, every, why, todo);
    if (sub->rules) return code;
    if (every) return 0; /* make_rules will give it the new ones */
    kp__say(why, KP_ENOTFOUND, "this key is being made: try again when limits_for has returned");
    return KP_ENOTFOUND;
}

/* The pool's own rules, for keys to come. One try, as above. */
static int try_default(struct kp__pool *pool, const kp_limits *limits, kp_why *why,
                       struct kp__todo *todo)
{
    struct kp__rules *rules, *before = pool->core.rules, *old;
    kp_limits merged = kp__limits_merge(limits, &before->said);
    int code;

    before->refs++; /* as in try_set */
    code = rules_within(pool, &merged, true, &rules, why, todo);
    if (code == 0 && pool->core.rules != before) code = KP_EAGAIN;
    if (code == 0) {
        before->refs--;
        pool->core.rules = rules;
        rules->refs = 1;
        rules = NULL;
    }
    old = kp__rules_unref(before);
    kp__step_out(pool, todo);
    kp__rules_drop(pool->world, old);
    kp__rules_drop(pool->world, rules);
    kp__step_in(pool);
    return code;
}

/* Checked first, so that a refusal changes nothing. */
static int set_default(struct kp__pool *pool, const kp_limits *limits, kp_why *why,
                       struct kp__todo *todo)
{
    int code;

    do code = try_default(pool, limits, why, todo);
    while (code == KP_EAGAIN);
    return code;
}

/* Would these limits be refused, merged with those that a key has, or that are for keys to come? */
static int refused_beside(struct kp__pool *pool, const kp_limits *limits,
                          const struct kp__rules *has, kp_why *why, struct kp__todo *todo)
{
    kp_limits merged = kp__limits_merge(limits, &has->said);
    struct kp__rules *rules = NULL;
    int code = rules_within(pool, &merged, has == pool->core.rules, &rules, why, todo);

    kp__step_out(pool, todo);
    kp__rules_drop(pool->world, rules);
    kp__step_in(pool);
    return code;
}

/* How many each of all keys may keep: as many as the budget has for each, or as they keep now. */
static int64_t each_may_keep(const struct kp__core *core, int64_t cap, int64_t kept)
{
    return core->key_count ? (cap > kept ? cap : kept) / core->key_count : KP__UNBOUND;
}

/* Would these limits be refused for some key, together with its own numbers, or could not all keys
 * keep so many? Then nothing is changed anywhere. */
static int refused_by_any(struct kp__pool *pool, const kp_limits *limits, kp_why *why,
                          struct kp__todo *todo)
{
    const struct kp__core *core = &pool->core;
    int64_t lent = kp__lent_bound(core->lent.cap);
    int code;

    if (limits->min_live > each_may_keep(core, core->live.cap, core->minima))
        return kp__refused(why, "limits.min_live", "of all keys together is above budget.max_live");
    if (limits->floor > each_may_keep(core, core->live.cap, core->floors))
        return kp__refused(why, "limits.floor", "of all keys together is above budget.max_live");
    if (limits->floor > each_may_keep(core, lent, core->floors))
        return kp__refused(why, "limits.floor", "of all keys together is above budget.max_lent");
    code = refused_beside(pool, limits, core->rules, why, todo);
    for (struct kp__subpool *sub = kp__next_key(pool, NULL); sub; sub = kp__next_key(pool, sub)) {
        if (!sub->rules || code != 0) continue;
        code = refused_beside(pool, limits, sub->rules, why, todo);
        if (code == KP_ECONFIG && why) { /* it has others, which these contradict */
            kp__say_more(why, " (key ");
            kp__say_key(why, pool, sub);
            kp__say_more(why, ")");
        }
    }
    return code;
}

int kp_limits_set(kp_pool *door, kp_key key, const kp_limits *limits, kp_why *why)
{
    struct kp__todo todo;
    struct kp__subpool *sub;
    int code;

    if (why) memset(why, 0, sizeof *why);
    struct kp__pool *pool =
        kp__enter_with(door, key, true, "kp_limits_set: pool is NULL", why, &todo, &code);
    if (!pool) return code;
    if (!limits) {
        code = kp__misuse_within(pool, &todo, why, "kp_limits_set: limits is NULL");
    } else if (pool->core.phase != KP__OPEN) {
        code = KP_ECLOSED;
    } else if (!kp__every_key(key)) {
        if ((sub = kp__find(pool, key, false, why, &code)) != NULL) {
            code = set_one(pool, sub, limits, false, why, &todo);
            kp__lose_interest(pool, sub, sub->used_at);
        }
    } else if ((code = refused_by_any(pool, limits, why, &todo)) == 0 &&
               (code = set_default(pool, limits, why, &todo)) == 0) {
        for (sub = kp__next_key(pool, NULL); sub; sub = kp__next_key(pool, sub)) {
            int one = set_one(pool, sub, limits, true, why, &todo);
            if (one != 0) code = one;
        }
        for (sub = kp__next_key(pool, NULL); sub; sub = kp__next_key(pool, sub))
            if (sub->rules) trim(pool, sub, &todo);
    }
    if (code != 0 && why && why->code == 0) kp__say(why, code, NULL);
    kp__leave(pool, &todo);
    return code;
}

int kp_limits_read(kp_pool *door, kp_key key, kp_limits *out)
{
    static const char none[] = "kp_limits_read: pool is NULL";
    struct kp__todo todo;
    int code;

    if (out) memset(out, 0, sizeof *out);
    struct kp__pool *pool = kp__enter_with(door, key, true, none, NULL, &todo, &code);
    if (!pool) return code;
    const struct kp__subpool *sub = kp__known(pool, key);
    const struct kp__rules *rules = sub ? sub->rules : kp__every_key(key) ? pool->core.rules : NULL;
    if (!out) code = kp__misuse_within(pool, &todo, NULL, "kp_limits_read: out is NULL");
    else if (!rules) code = KP_ENOTFOUND;
    else *out = kp__limits_read(&rules->said);
    kp__leave(pool, &todo);
    return code;
}
