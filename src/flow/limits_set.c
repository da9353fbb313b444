/* SPDX-License-Identifier: MIT
 *
 * Limits that change while in use (kp_limits_set), of one key or of all: first it is found out that
 * nothing is against it, so that a refusal changes nothing; then the key gets its new rules, and
 * those who wait are served by them; then what is too much is destroyed. And limits that are read.
 */
#include <string.h>

#include "core/calendar.h"
#include "core/give.h"
#include "core/over.h"
#include "core/renew.h"
#include "core/resize.h"
#include "core/serve.h"
#include "core/table.h"
#include "flow/door.h"
#include "flow/event.h"
#include "flow/find.h"
#include "flow/settings.h"

/* One call of kp_limits_set. */
struct change {
    struct kp__pool *pool;
    const kp_limits *limits; /* as they were said */
    bool every;              /* of all keys */
    kp_why *why;
    struct kp__todo *todo;
};

/* ---- is anything against it? ----------------------------------------------------------------- */

/* Rules in place of those that are there: these limits, merged with what was said before. The
 * caller ends the draft, also after an error. */
static int draft(const struct change *c, struct kp__rules *const *place, struct kp__draft *d)
{
    kp_limits merged = kp__limits_merge(c->limits, &(*place)->said);

    kp__draft_begin(d, place);
    return kp__draft_make(c->pool, d, &merged, c->why, c->todo);
}

/* Would these limits be refused beside what was said of a key, or of keys to come? */
static int refused_beside(const struct change *c, struct kp__rules *const *place)
{
    struct kp__draft d;
    int code;

    do {
        code = draft(c, place, &d);
        kp__draft_end(c->pool, &d);
    } while (code == KP_EAGAIN);
    return code;
}

/* How many each of all keys may keep: as many as the budget has for each, or as they keep now. */
static int64_t each_may_keep(const struct kp__core *core, int64_t cap, int64_t kept)
{
    return core->key_count ? (cap > kept ? cap : kept) / core->key_count : KP__UNBOUND;
}

/* Could not all keys keep so many? */
static int refused_together(const struct change *c)
{
    const struct kp__core *core = &c->pool->core;
    int64_t lent = kp__lent_bound(core->lent.cap);

    if (c->limits->min_live > each_may_keep(core, core->live.cap, core->minima))
        return kp__refused(c->why, "limits.min_live",
                           "of all keys together is above budget.max_live");
    if (c->limits->floor > each_may_keep(core, core->live.cap, core->floors))
        return kp__refused(c->why, "limits.floor", "of all keys together is above budget.max_live");
    if (c->limits->floor > each_may_keep(core, lent, core->floors))
        return kp__refused(c->why, "limits.floor", "of all keys together is above budget.max_lent");
    return 0;
}

/* Would they be refused for some key, together with its own numbers? */
static int refused_by_any(const struct change *c)
{
    struct kp__pool *pool = c->pool;
    int code = refused_beside(c, &pool->core.rules);

    for (struct kp__subpool *sub = kp__next_key(pool, NULL); sub; sub = kp__next_key(pool, sub)) {
        if (!sub->rules || code != 0) continue;
        code = refused_beside(c, &sub->rules);
        if (code == KP_ECONFIG && c->why) { /* it has others, which these contradict */
            kp__say_more(c->why, " (key ");
            kp__say_key(c->why, pool, sub);
            kp__say_more(c->why, ")");
        }
    }
    return code;
}

/* ---- a key gets new rules -------------------------------------------------------------------- */

/* Serve the requests that may go on now. */
static void serve(struct kp__pool *pool, struct kp__subpool *sub, struct kp__todo *todo)
{
    struct kp__slot *slot = NULL;
    uint64_t now = kp__time(pool);

    if (sub->used_at == 0) sub->used_at = now;
    if (sub->rare->health.refused) kp__rare(&pool->core, sub)->health.refused = false;
    while ((slot = kp__next_slot(KP__SLOTS(sub, KP__LENT), slot)) != NULL)
        kp__review_seats(&pool->core, slot); /* max_uses */
    kp__settle(&pool->core, sub, now, todo);
}

/* Put a key's new rules in the place of the old ones, which their draft still has. True: that has
 * closed its circuit. */
static bool apply(const struct change *c, struct kp__subpool *sub, struct kp__rules *rules,
                  struct kp__group *group[KP__GROUPS_AND_PAIR])
{
    struct kp__pool *pool = c->pool;
    struct kp__budget *was[KP__GROUPS] = { kp__group_budget(sub, 0), kp__group_budget(sub, 1) };
    bool tripped = sub->rare->health.tripped;

    kp__note_rules(pool, rules);
    kp__table_rule(&pool->core, sub, rules, group);
    bool closed = tripped && !sub->rare->health.tripped;
    for (int g = 0; g < KP__GROUPS; g++) /* a group that the key left has room now */
        if (was[g] && was[g] != kp__group_budget(sub, g))
            kp__settle_budget(&pool->core, was[g], kp__time(pool), c->todo);
    serve(pool, sub, c->todo);
    return closed;
}

static bool too_many(const struct kp__subpool *sub)
{
    return sub->count[KP__IDLE] > 0 &&
           (kp__over_key(sub, sub->rules->max_live) || kp__over_groups(sub, 0) ||
            (int64_t)sub->count[KP__IDLE] > sub->rules->max_idle);
}

/* Then destroy what is too much, and have what is missing made. What is destroyed may make room for
 * other keys, so where the rules of all change, all have the new ones before. */
static void trim(struct kp__pool *pool, struct kp__subpool *sub, struct kp__todo *todo)
{
    struct kp__slot *slot = NULL;
    uint64_t now = kp__time(pool);

    while (too_many(sub)) {
        kp__close_idle(&pool->core, kp__oldest_idle(sub), KP_CAUSE_SURPLUS, todo);
        kp__do(pool, todo);
    }
    kp__groups_trim(&pool->core, sub, kp__time(pool), todo);
    kp__do(pool, todo);
    while ((slot = kp__next_slot(KP__SLOTS(sub, KP__IDLE), slot)) != NULL) {
        if (slot->since == 0) slot->since = now; /* it came back when no rule needed the clock */
        kp__file_slot(&pool->core, slot);
    }
    while ((slot = kp__next_slot(KP__SLOTS(sub, KP__LENT), slot)) != NULL) {
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

/* Begins again if another call has changed this key's limits meanwhile, or a group had to be made;
 * for limits that are refused none is made. */
static int set_one(const struct change *c, struct kp__subpool *sub)
{
    struct kp__pool *pool = c->pool;
    struct kp__group *group[KP__GROUPS_AND_PAIR];
    struct kp__draft d;
    bool closed = false;
    int code;

    do {
        code = draft(c, &sub->rules, &d);
        if (code == 0 && !c->every) code = kp__rules_add_up(pool, d.rules, d.from, c->why);
        if (code == 0) code = kp__groups_of(pool, d.rules, group);
        if (code == 0) {
            closed = apply(c, sub, d.rules, group);
            d.rules = NULL;
        }
        kp__draft_end(pool, &d);
    } while (code == KP_EAGAIN);
    if (code == 0 && !c->every) trim(pool, sub, c->todo);
    kp__do(pool, c->todo);
    if (closed) kp__event_within(pool, KP_EVENT_BREAKER_CLOSED, sub, NULL, 0, NULL, c->todo);
    return code;
}

/* The pool's own rules, for keys to come. */
static int set_default(const struct change *c)
{
    struct kp__rules **place = &c->pool->core.rules;
    struct kp__draft d;
    int code;

    do {
        if ((code = draft(c, place, &d)) == 0) {
            (*place)->refs--; /* the draft has them still */
            *place = d.rules;
            d.rules->refs = 1;
            d.rules = NULL;
        }
        kp__draft_end(c->pool, &d);
    } while (code == KP_EAGAIN);
    return code;
}

/* ---- the call -------------------------------------------------------------------------------- */

static int set_key(const struct change *c, kp_key key)
{
    static const char being_made[] =
        "this key is being made: try again when limits_for has returned";
    struct kp__subpool *sub = kp__find(c->pool, key);

    if (!sub) return KP_ENOTFOUND;
    int code = sub->rules ? set_one(c, sub) : kp__say(c->why, KP_ENOTFOUND, being_made);
    kp__lose_interest(c->pool, sub, sub->used_at);
    return code;
}

static int set_every(const struct change *c)
{
    struct kp__pool *pool = c->pool;
    struct kp__subpool *sub;
    int code = refused_together(c);

    if (code == 0) code = refused_by_any(c);
    if (code == 0) code = set_default(c);
    if (code != 0) return code;
    for (sub = kp__next_key(pool, NULL); sub; sub = kp__next_key(pool, sub)) {
        int one = sub->rules ? set_one(c, sub) : 0; /* else it will get the new ones (rules.c) */
        if (one != 0) code = one;
    }
    for (sub = kp__next_key(pool, NULL); sub; sub = kp__next_key(pool, sub))
        if (sub->rules) trim(pool, sub, c->todo);
    return code;
}

int kp_limits_set(kp_pool *door, kp_key key, const kp_limits *limits, kp_why *why)
{
    static const char none[] = "kp_limits_set: pool is NULL";
    struct kp__todo todo;
    bool every = kp__is_every_key(key);
    struct change c = { .limits = limits, .every = every, .why = why, .todo = &todo };
    int code;

    if (why) memset(why, 0, sizeof *why);
    if ((c.pool = kp__enter_with(door, key, none, why, &todo, &code)) == NULL) return code;
    if (!limits) code = kp__misuse_within(c.pool, &todo, why, "kp_limits_set: limits is NULL");
    else if (c.pool->core.phase != KP__OPEN) code = KP_ECLOSED;
    else code = c.every ? set_every(&c) : set_key(&c, key);
    if (code != 0 && why && why->code == 0) kp__say(why, code, NULL);
    kp__leave(c.pool, &todo);
    return code;
}

int kp_limits_read(kp_pool *door, kp_key key, kp_limits *out)
{
    static const char none[] = "kp_limits_read: pool is NULL";
    struct kp__todo todo;
    int code;

    if (out) memset(out, 0, sizeof *out);
    struct kp__pool *pool = kp__enter_with(door, key, none, NULL, &todo, &code);
    if (!pool) return code;
    const struct kp__subpool *sub = kp__known(pool, key);
    bool every = kp__is_every_key(key);
    const struct kp__rules *rules = sub ? sub->rules : every ? pool->core.rules : NULL;
    if (!out) code = kp__misuse_within(pool, &todo, NULL, "kp_limits_read: out is NULL");
    else if (!rules) code = KP_ENOTFOUND;
    else *out = kp__limits_read(&rules->said);
    kp__leave(pool, &todo);
    return code;
}
