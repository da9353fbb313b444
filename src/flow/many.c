/* SPDX-License-Identifier: MIT
 *
 * What a program does to keys besides get and release: warm them, add resources made elsewhere,
 * invalidate, change limits. How they end: retire.c.
 */
#include <string.h>

#include "base/check.h"
#include "core/renew.h"
#include "flow/get.h"
#include "flow/health.h"

struct kp__pool *kp__enter_with(kp_pool *door, kp_key key, bool every, const char *what,
                                kp_why *why, int *code)
{
    struct kp__pool *pool = kp__enter(door, code);
    struct kp__todo todo;

    if (!pool) {
        kp__no_pool(*code, why, what);
        return NULL;
    }
    kp__todo_init(&todo, pool->world);
    if (every && kp__every_key(key)) return pool;
    if ((*code = kp__check_key(pool, key, why, &todo)) == 0) return pool;
    kp__leave(pool, &todo);
    return NULL;
}

struct kp__subpool *kp__next_key(struct kp__pool *pool, struct kp__subpool *sub)
{
    struct kp__subpool *next = kp__next_sub(&pool->core, sub);

    if (next) kp__take_interest(pool, next);
    if (sub) kp__lose_interest(pool, sub, sub->used_at);
    return next;
}

/* ---- warm ------------------------------------------------------------------------------------ */

/* Does this key have its minimum, and at least one? */
static bool is_warm(const struct kp__subpool *sub)
{
    int64_t least = sub->rules && sub->rules->min_live > 1 ? sub->rules->min_live : 1;

    return (int64_t)sub->count[KP__IDLE] + sub->count[KP__LENT] >= least;
}

/* When it is worth another look without news: the pause after a failed create ends, and there is a
 * token. */
static uint64_t next_try(const struct kp__pool *pool, const struct kp__subpool *sub, uint64_t now,
                         uint64_t until)
{
    const struct kp__rate *rate = &pool->core.rate;
    uint64_t pause = sub->rare->health.back_off;
    uint64_t at = kp__token_lacks(rate, now) ? kp__token_at(rate, now) : now;

    if (pause > at) at = pause;
    return at > now && at < until ? at : until;
}

static int say_cold(const struct kp__subpool *sub, int code, kp_why *why)
{
    kp__say(why, code, NULL);
    bool failed = code == KP_ECREATE || code == KP_EREFUSED;
    if (failed && sub->rare->health.last) kp__say_failure(why, sub->rare->health.last);
    return code;
}

/* The same of a key without limits; `cause` is what was wrong with them, if anything was. */
static void say_ruled_out(kp_why *cause, int code, kp_why *why)
{
    if (cause->code == 0) kp__say(cause, code, NULL);
    if (why) *why = *cause;
}

/* One key, by this thread and whoever else works on it. 0: warm; or why not. With the lock. */
static int warm_one(struct kp__pool *pool, struct kp__subpool *sub, uint64_t until, kp_why *why,
                    struct kp__todo *todo)
{
    uint64_t failures = sub->rare->seldom.create_failures;
    kp_why cause = { .code = 0 };
    int code;

    while (!is_warm(sub)) {
        uint64_t now = kp__time(pool);
        if (pool->core.phase != KP__OPEN) return say_cold(sub, KP_ECLOSED, why);
        if (sub->rare->health.refused) return say_cold(sub, KP_EREFUSED, why);
        if (sub->rare->seldom.create_failures > failures) return say_cold(sub, KP_ECREATE, why);
        if (now >= until) return say_cold(sub, KP_ETIMEDOUT, why);
        if ((code = kp__rule(pool, sub, &cause)) != 0) { /* whoever asked for them had none */
            say_ruled_out(&cause, code, why);
            return code;
        }
        if (kp__refill_permit(&pool->core, sub, true, now)) kp__create(pool, sub, NULL, now);
        else kp__await_news(pool, todo, next_try(pool, sub, now, until));
    }
    return 0;
}

/* Find a key, and begin what others can make: the keeper if nobody waits, else the crew. NULL: no
 * such key, and why in *why. */
static struct kp__subpool *start_warming(struct kp__pool *pool, kp_key key, bool wait, kp_why *why)
{
    kp_why cause = { .code = 0 };
    struct kp__todo todo;
    int code = 0;

    kp__todo_init(&todo, pool->world);
    if (kp__check_key(pool, key, why, &todo) != 0) return NULL;
    struct kp__subpool *sub = kp__find(pool, key, kp__hash(pool, key), true, &cause, &code);
    if (!sub) {
        say_ruled_out(&cause, code, why);
        return NULL;
    }
    sub->used_at = kp__time(pool);
    if (!wait && !is_warm(sub)) {
        sub->refill = sub->warm = true;
        kp__file_sub(&pool->core, sub, sub->used_at);
    } else if (wait && pool->crew) {
        while (kp__refill_permit(&pool->core, sub, true, sub->used_at))
            kp__create(pool, sub, NULL, sub->used_at);
    }
    return sub;
}

static int refuse_warm(struct kp__pool *pool, const kp_ask *ask, kp_why *why,
                       struct kp__todo *todo)
{
    const char *wrong = ask ? kp__ask_refused(pool, ask) : NULL;

    if (pool->core.phase != KP__OPEN) {
        kp__say(why, KP_ECLOSED, NULL);
        return KP_ECLOSED;
    }
    if (ask && !kp__may_block(pool))
        wrong = "kp_warm with an ask, on the thread of the pool's own loop, would wait for itself; "
                "warm in the background (ask NULL)";
    return wrong ? kp__misuse_within(pool, todo, why, wrong) : 0;
}

int64_t kp_warm(kp_pool *door, const kp_key *keys, size_t count, const kp_ask *ask)
{
    struct kp__todo todo;
    kp_why *why = ask ? ask->why : NULL;
    int64_t warm = 0;
    int code;
    struct kp__pool *pool = kp__enter(door, &code);

    if (why) memset(why, 0, sizeof *why);
    if (!pool) return kp__no_pool(code, why, "kp_warm: pool is NULL");
    kp__todo_init(&todo, pool->world);
    if ((code = refuse_warm(pool, ask, why, &todo)) != 0) {
        kp__leave(pool, &todo);
        return code;
    }
    uint64_t now = kp__time(pool), until = kp__later(now, pool->deadline);
    if (ask && ask->within_ms) until = kp__after(now, ask->within_ms);
    else if (ask && ask->until.ns) until = KP__NEVER;
    if (ask && ask->until.ns && ask->until.ns < until) until = ask->until.ns;
    for (int round = ask && pool->crew ? 0 : 1; round < 2; round++) {
        for (size_t i = 0; i < count; i++) {
            struct kp__subpool *sub = start_warming(pool, keys[i], ask != NULL, why);
            if (!sub) continue;
            if (ask && round == 1 && warm_one(pool, sub, until, why, &todo) == 0) warm++;
            kp__lose_interest(pool, sub, kp__time(pool));
            kp__do(pool, &todo);
        }
    }
    kp__leave(pool, &todo);
    return warm;
}

/* ---- add ------------------------------------------------------------------------------------- */

/* Room for one more that nobody's permit is needed for; EFULL says there is none. */
static int room_for_one(struct kp__pool *pool, struct kp__subpool *sub)
{
    struct kp__core *core = &pool->core;

    if (core->phase != KP__OPEN) return KP_ECLOSED;
    if (kp__sub_live(sub) + sub->contest->promised >= sub->rules->max_live) return KP_EFULL;
    kp__at(core, kp__time(pool));
    bool kept = (int64_t)sub->count[KP__IDLE] < sub->rules->max_idle && kp__may_idle(core, 1);
    if (!kept && sub->waiting == 0) return KP_EFULL;
    return kp__budgets_have_room(core, sub) ? 0 : KP_EFULL;
}

/* May this one be added? 0, or why not; *sentence: it is misuse. */
static int may_add(struct kp__pool *pool, struct kp__subpool *sub, const void *resource,
                   const char **sentence)
{
    if (!resource) *sentence = "kp_add: the resource is NULL";
    else if (kp__slot_of(&pool->core, resource))
        *sentence = "kp_add: this resource is in the pool already";
    return *sentence ? KP_EMISUSE : room_for_one(pool, sub);
}

static int ask_for_fd(struct kp__pool *pool, void *resource, struct kp__todo *todo)
{
    int fd;

    if (pool->watch < 0) return -1;
    kp__step_out(pool, todo);
    fd = kp__watch_ask(pool, resource);
    kp__step_in(pool);
    return fd;
}

int kp_add(kp_pool *door, kp_key key, void *resource)
{
    struct kp__todo todo;
    int code;
    struct kp__pool *pool = kp__enter_with(door, key, false, "kp_add: pool is NULL", NULL, &code);
    const char *sentence = NULL;
    struct kp__slot *slot = NULL;
    int fd = -1;

    if (!pool) return code;
    kp__todo_init(&todo, pool->world);
    struct kp__subpool *sub = kp__find(pool, key, kp__hash(pool, key), true, NULL, &code);
    if (sub && !sub->rules) code = KP_EFULL; /* its limits are being asked for this very moment */
    else if (sub && (code = may_add(pool, sub, resource, &sentence)) == 0) {
        slot = kp__spare_slot(pool, sub);
        if (slot) fd = ask_for_fd(pool, resource, &todo);
        /* meanwhile others may have been here: look again */
        code = slot ? may_add(pool, sub, resource, &sentence) : KP_ENOMEM;
    }
    if (slot && code == 0) kp__adopt(pool, sub, slot, resource, fd, &todo);
    else if (slot) kp__spare_slot_back(pool, slot);
    if (sub) kp__lose_interest(pool, sub, kp__time(pool));
    if (sentence) code = kp__misuse_within(pool, &todo, NULL, sentence);
    kp__leave(pool, &todo);
    return code;
}

/* ---- invalidate ------------------------------------------------------------------------------ */

static struct kp__slot *live_slot(struct kp__pool *pool, const void *resource)
{
    struct kp__slot *slot = kp__slot_of_live(&pool->core, resource);

    if (slot) kp__shut(pool, slot->sub);
    return slot;
}

int64_t kp_invalidate(kp_pool *door, const void *resource)
{
    struct kp__todo todo;
    struct kp__slot *slot;
    int64_t found = 0;
    int code;
    struct kp__pool *pool = kp__enter(door, &code);

    if (!pool)
        return code == KP_EMISUSE ? kp__misuse(NULL, NULL, "kp_invalidate: pool is NULL") : 0;
    kp__todo_init(&todo, pool->world);
    while (pool->core.phase != KP__CLOSED &&
           (slot = live_slot(pool, resource)) != NULL &&
           /* cover: never, because a live one is idle or lent, and not doomed */
           kp__doom(&pool->core, slot, KP_CAUSE_INVALIDATED, &todo))
        found++;
    kp__leave(pool, &todo);
    return found;
}

int64_t kp__invalidate_sub(struct kp__pool *pool, struct kp__subpool *sub, struct kp__todo *todo)
{
    const struct kp__list *lists[] = { KP__SLOTS(sub, KP__LENT), KP__SLOTS(sub, KP__IDLE),
                                       &sub->rare->tested };
    int64_t found = 0;

    for (int i = 0; i < 3 && pool->core.phase != KP__CLOSED; i++) {
        const struct kp__list *list = lists[i];
        struct kp__list *node = kp__list_first(list), *next;
        for (; node; node = next) {
            next = kp__list_next(list, node);
            found += kp__doom(&pool->core, KP__OF(node, struct kp__slot, link),
                              KP_CAUSE_INVALIDATED, todo);
        }
    }
    kp__do(pool, todo);
    return found;
}

int64_t kp_invalidate_key(kp_pool *door, kp_key key)
{
    struct kp__todo todo;
    struct kp__subpool *sub;
    int64_t found = 0;
    int code;
    struct kp__pool *pool =
        kp__enter_with(door, key, true, "kp_invalidate_key: pool is NULL", NULL, &code);

    if (!pool) return code == KP_EMISUSE ? code : 0;
    kp__todo_init(&todo, pool->world);
    if (kp__every_key(key)) {
        for (sub = kp__next_key(pool, NULL); sub; sub = kp__next_key(pool, sub))
            found += kp__invalidate_sub(pool, sub, &todo);
    } else if ((sub = kp__find(pool, key, kp__hash(pool, key), false, NULL, &code)) != NULL) {
        found = kp__invalidate_sub(pool, sub, &todo);
        kp__lose_interest(pool, sub, sub->used_at);
    }
    kp__leave(pool, &todo);
    return found;
}

/* ---- limits while running -------------------------------------------------------------------- */

static bool too_many(const struct kp__subpool *sub)
{
    return sub->count[KP__IDLE] > 0 &&
           (kp__sub_exceeds(sub, sub->rules->max_live) || kp__group_surplus(sub) > 0 ||
            (int64_t)sub->count[KP__IDLE] > sub->rules->max_idle);
}

/* Destroy what is too many now, refill what is too few, serve who may go on. */
static void apply(struct kp__pool *pool, struct kp__subpool *sub, struct kp__todo *todo)
{
    const struct kp__list *idle = KP__SLOTS(sub, KP__IDLE), *lent = KP__SLOTS(sub, KP__LENT);
    uint64_t now = kp__time(pool);

    if (sub->used_at == 0) sub->used_at = now;
    if (sub->rare->health.refused) kp__rare(&pool->core, sub)->health.refused = false;
    for (struct kp__list *n = kp__list_first(lent); n; n = kp__list_next(lent, n))
        kp__seats_anew(&pool->core, KP__OF(n, struct kp__slot, link)); /* max_uses */
    kp__settle(&pool->core, sub, now, todo);
    while (too_many(sub)) {
        kp__close_idle(&pool->core, kp__oldest_idle(sub), KP_CAUSE_SURPLUS, todo);
        kp__do(pool, todo);
    }
    for (struct kp__list *n = kp__list_first(idle); n; n = kp__list_next(idle, n)) {
        struct kp__slot *slot = KP__OF(n, struct kp__slot, link);
        if (slot->since == 0) slot->since = now; /* nothing needed the clock when it came back */
        kp__file_slot(&pool->core, slot);
    }
    for (struct kp__list *n = kp__list_first(lent); n; n = kp__list_next(lent, n))
        kp__file_slot(&pool->core, KP__OF(n, struct kp__slot, link)); /* revoke_after_ms */
    kp__age_all(&pool->core, sub, now, todo);
    if (sub->rules->eager) sub->refill = true;
    kp__file_sub(&pool->core, sub, now);
    kp__tell_news(pool, todo); /* who warms keys may go on */
    kp__do(pool, todo);
}

/* Rules from limits, and whether they hold within the budgets. The caller drops what he does not
 * use. */
static int rules_within(struct kp__pool *pool, const kp_limits *limits, bool every,
                        struct kp__rules **rules, kp_why *why, struct kp__todo *todo)
{
    kp__step_out(pool, todo);
    int code = kp__rules_make(pool->world, limits, rules, why);
    kp__step_in(pool);
    struct kp__bounds bounds = kp__bounds_of(pool, every); /* as they are by now */
    if (code == 0) code = kp__rules_driven(*rules, &pool->driver, why);
    return code ? code : kp__rules_fit(*rules, &bounds, why);
}

/* One try: KP_EAGAIN if somebody else changed this key's limits meanwhile. */
static int try_set(struct kp__pool *pool, struct kp__subpool *sub, const kp_limits *limits,
                   bool every, kp_why *why, struct kp__todo *todo)
{
    kp_limits merged = kp__limits_merge(limits, &sub->rules->said);
    struct kp__budget *was[2] = { kp__group_budget(sub, 0), kp__group_budget(sub, 1) };
    struct kp__group *group[KP__GROUPS];
    struct kp__rules *rules, *before = sub->rules, *old = NULL;
    bool closed = false;
    int code;

    before->refs++; /* so that no others can lie where it did */
    code = rules_within(pool, &merged, false, &rules, why, todo);
    if (code == 0) code = kp__groups_of(pool, rules, group);
    if (code == 0 && sub->rules != before) code = KP_EAGAIN;
    if (code == 0 && !every) code = kp__rules_add_up(pool, rules, sub->rules, why);
    if (code == 0) {
        closed = sub->rare->health.tripped;
        kp__table_rule(&pool->core, sub, rules, group, &old);
        closed = closed && !sub->rare->health.tripped;
        rules = NULL;
        for (int i = 0; i < 2; i++) /* a group it left has room now */
            if (was[i] && was[i] != kp__group_budget(sub, i))
                kp__settle_budget(&pool->core, was[i], kp__time(pool), todo);
        apply(pool, sub, todo);
    }
    if (--before->refs == 0) old = before;
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
    if (every) return 0; /* it is made by what all have now (find.c) */
    kp__say(why, KP_ENOTFOUND, "this key is just being made: limits_for has the word first");
    return KP_ENOTFOUND;
}

/* Those to come: the pool's own rules. One try, as above. */
static int try_default(struct kp__pool *pool, const kp_limits *limits, kp_why *why,
                       struct kp__todo *todo)
{
    struct kp__rules *rules, *before = pool->core.rules, *old = NULL;
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
    if (--before->refs == 0) old = before;
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

/* Would a key refuse them, with the numbers of its own, or could all keys not keep so many? Then
 * nothing is changed anywhere. */
static int refused_by_any(struct kp__pool *pool, const kp_limits *limits, kp_why *why,
                          struct kp__todo *todo)
{
    int64_t each = pool->core.key_count ? pool->core.live.cap / pool->core.key_count : KP__UNBOUND;
    int code = 0;

    if (limits->min_live > each)
        return kp__refused(why, "limits.min_live", "of all keys is above budget.max_live");
    if (limits->floor > each)
        return kp__refused(why, "limits.floor", "of all keys is above budget.max_live");
    for (struct kp__subpool *sub = kp__next_key(pool, NULL); sub; sub = kp__next_key(pool, sub)) {
        struct kp__rules *rules = NULL;
        if (!sub->rules || code != 0) continue;
        kp_limits merged = kp__limits_merge(limits, &sub->rules->said);
        code = rules_within(pool, &merged, false, &rules, why, todo);
        kp__step_out(pool, todo);
        kp__rules_drop(pool->world, rules);
        kp__step_in(pool);
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
        kp__enter_with(door, key, true, "kp_limits_set: pool is NULL", why, &code);
    if (!pool) return code;
    kp__todo_init(&todo, pool->world);
    if (pool->core.phase != KP__OPEN) {
        kp__say(why, code = KP_ECLOSED, NULL);
    } else if (!kp__every_key(key)) {
        if ((sub = kp__find(pool, key, kp__hash(pool, key), false, why, &code)) != NULL) {
            code = set_one(pool, sub, limits, false, why, &todo);
            kp__lose_interest(pool, sub, sub->used_at);
        } else {
            kp__say(why, code, NULL);
        }
    } else if ((code = refused_by_any(pool, limits, why, &todo)) == 0 &&
               (code = set_default(pool, limits, why, &todo)) == 0) {
        for (sub = kp__next_key(pool, NULL); sub; sub = kp__next_key(pool, sub)) {
            int one = set_one(pool, sub, limits, true, why, &todo);
            if (one != 0) code = one;
        }
    }
    kp__leave(pool, &todo);
    return code;
}
