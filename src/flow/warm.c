/* SPDX-License-Identifier: MIT
 *
 * kp_warm: keys get their minimum, and at least one resource, before anybody asks for one. If the
 * caller waits, its thread and the crew make them; else the keeper does. A caller goes through the
 * keys twice: first for what can begin at once, then it waits for the others, one after the other.
 * So a key that is down, or that another key's budget keeps waiting, leaves no other one cold.
 */
#include <string.h>

#include "core/background.h"
#include "core/calendar.h"
#include "flow/door.h"
#include "flow/event.h"
#include "flow/find.h"
#include "flow/get.h"
#include "flow/loop.h"
#include "flow/resource.h"
#include "flow/settings.h"

/* Its minimum, and at least one. */
static int64_t least(const struct kp__subpool *sub)
{
    return sub->rules && sub->rules->min_live > 1 ? sub->rules->min_live : 1;
}

static bool is_warm(const struct kp__subpool *sub)
{
    return (int64_t)sub->count[KP__IDLE] + sub->count[KP__LENT] >= least(sub);
}

/* May so many never be kept ready? Then it would be waited for in vain. */
static int never_warm(const struct kp__pool *pool, const struct kp__subpool *sub, kp_why *why)
{
    int64_t idle = least(sub) - sub->count[KP__LENT];

    if (!sub->rules) return 0; /* limits_for is being asked */
    if (sub->rules->lasting < least(sub))
        return kp__refused(why, sub->rules->lasting_by,
                           "what kp_warm makes would end before it is lent");
    if (sub->rules->max_idle < idle)
        return kp__refused(why, "limits.max_idle", "is less than kp_warm is to make");
    if (pool->core.max_idle < idle)
        return kp__refused(why, "budget.max_idle", "is less than kp_warm is to make");
    return 0;
}

/* When to look again without news: when the pause after a failed create is over and there is a
 * token; or while probes of the circuit are under way, which may hang, now and then. */
static uint64_t next_try(const struct kp__pool *pool, const struct kp__subpool *sub, uint64_t now,
                         uint64_t until)
{
    const struct kp__rate *rate = &pool->core.rate;
    uint64_t pause = kp__rests_until(sub);
    uint64_t at = kp__token_lacks(rate, now) ? kp__token_at(rate, now) : now;

    if (pause > at) at = pause;
    if (at <= now && sub->rare->health.tripped) at = kp__later(now, KP__LOOK_AGAIN);
    return at > now && at < until ? at : until;
}

/* Why no more is made for it now, or 0. `failures`: how many there were when it was begun. */
static int is_cold(const struct kp__pool *pool, const struct kp__subpool *sub, uint64_t failures,
                   uint64_t now, uint64_t until)
{
    const struct kp__health *h = &sub->rare->health;

    if (pool->core.phase != KP__OPEN) return KP_ECLOSED;
    if (h->refused) return KP_EREFUSED;
    if (sub->rare->seldom.create_failures > failures) return KP_ECREATE;
    if (h->tripped && now < h->circuit->until) return KP_EBREAKER;
    return now >= until ? KP_ETIMEDOUT : 0;
}

/* How far a call has come with one of its keys. */
struct progress {
    bool begun, over;
    uint64_t failures; /* creates that had failed when it began ... */
    uint64_t since;    /* ... at this time */
};

static int say_cold(struct kp__pool *pool, struct kp__subpool *sub, const struct progress *at,
                    int code, uint64_t now, kp_why *why)
{
    const struct kp__health *h = &sub->rare->health;

    if (!why) return code;
    if (code == KP_EBREAKER) kp__say_open(sub, now, why);
    else if (code == KP_ETIMEDOUT) kp__say_cold(pool, sub, at->since, now, why);
    else if (h->last && (code == KP_ECREATE || code == KP_EREFUSED))
        kp__say_failure(why, code, h->last);
    else kp__say(why, code, NULL);
    if (code == KP_ECREATE || code == KP_EBREAKER) kp__say_rest(&pool->core, sub, now, why);
    return code;
}

/* The same for a key that got no rules; `cause` is what was wrong with its limits, if anything. */
static void say_no_rules(kp_why *cause, int code, kp_why *why)
{
    kp__say_no_key(cause, code);
    if (why) *why = *cause;
}

/* Warm one key, together with whatever else makes resources of it. 0: it is warm; KP_PENDING: it
 * has to be waited for, and the caller does not; else why it is not warm. With the lock. */
static int warm_one(struct kp__pool *pool, struct kp__subpool *sub, struct progress *at, bool waits,
                    uint64_t until, kp_why *why, struct kp__todo *todo)
{
    kp_why cause = { .code = 0 };
    int code;

    if (!at->begun)
        *at = (struct progress){ true, false, sub->rare->seldom.create_failures, kp__time(pool) };
    while (!is_warm(sub)) {
        uint64_t now = kp__time(pool);
        if ((code = is_cold(pool, sub, at->failures, now, until)) != 0)
            return say_cold(pool, sub, at, code, now, why);
        if ((code = kp__rule(pool, sub, &cause)) != 0) { /* asked again: the first call failed */
            say_no_rules(&cause, code, why);
            return code;
        }
        if ((code = never_warm(pool, sub, why)) != 0) return code;
        if (kp__refill_permit(&pool->core, sub, true, now)) {
            if (!kp__create(pool, sub, NULL, now))
                return say_cold(pool, sub, at, KP_ENOMEM, now, why);
        } else if (waits) {
            kp__await_news(pool, todo, next_try(pool, sub, now, until));
        } else {
            return KP_PENDING;
        }
    }
    return 0;
}

/* Find a key, and if the caller does not wait, have the keeper make its resources. NULL: there is
 * no such key, and why is in *why. */
static struct kp__subpool *start_warming(struct kp__pool *pool, kp_key key, bool background,
                                         kp_why *why)
{
    kp_why cause = { .code = 0 };
    struct kp__todo todo;
    int code = 0;

    kp__todo_init(&todo, pool->world);
    if (kp__check_key(pool, key, why, &todo) != 0) return NULL;
    struct kp__subpool *sub = kp__find_or_make(pool, key, &cause, &code);
    if (!sub) {
        say_no_rules(&cause, code, why);
        return NULL;
    }
    sub->used_at = kp__time(pool);
    if (background && !is_warm(sub)) {
        sub->refill = sub->warm = true;
        kp__file_sub(&pool->core, sub, sub->used_at);
    }
    return sub;
}

/* Which of the keys it is that is not warm. A time-out says so itself, and some codes are not about
 * a key. */
static void say_which(struct kp__pool *pool, kp_key key, kp_why *why)
{
    switch (why ? why->code : 0) {
    case KP_ECREATE:
    case KP_EREFUSED:
    case KP_EBREAKER:
    case KP_EFULL:
    case KP_ENOMEM:
    case KP_ECONFIG: kp__say_whose(why, pool, key); break;
    default: break;
    }
}

/* What one call warms. */
struct call {
    const kp_key *keys;
    size_t count;
    const kp_ask *ask;    /* NULL: in the background */
    uint64_t until;
    struct progress *all; /* of each key; NULL: there is only one round */
};

/* Go through the keys that are not over. Returns how many of them are warm now. */
static int64_t warm_round(struct kp__pool *pool, const struct call *c, bool waits,
                          struct kp__todo *todo)
{
    kp_why *why = c->ask ? c->ask->why : NULL;
    int64_t warm = 0;

    for (size_t i = 0; i < c->count; i++) {
        struct progress one = { .over = false }, *at = c->all ? &c->all[i] : &one;
        if (at->over) continue;
        struct kp__subpool *sub = start_warming(pool, c->keys[i], !c->ask, why);
        int code = KP_ENOTFOUND; /* there is no such key, or nobody waits for it */
        if (sub && c->ask) code = warm_one(pool, sub, at, waits, c->until, why, todo);
        at->over = code != KP_PENDING;
        warm += code == 0;
        if (at->over && code != 0) say_which(pool, sub ? kp__key_of(pool, sub) : c->keys[i], why);
        if (!sub) continue;
        kp__lose_interest(pool, sub, kp__time(pool));
        kp__do(pool, todo);
    }
    return warm;
}

/* Two rounds, if the caller waits and there is memory to know how far each key has come. */
static int64_t warm_all(struct kp__pool *pool, struct call *c, struct kp__todo *todo)
{
    size_t bytes = c->count * sizeof *c->all;
    int64_t warm = 0;

    if (c->ask && c->count > 1) {
        kp__step_out(pool, todo);
        c->all = kp__alloc(pool->world, bytes, 16);
        kp__step_in(pool);
    }
    if (c->all) warm = warm_round(pool, c, false, todo);
    warm += warm_round(pool, c, true, todo);
    kp__step_out(pool, todo);
    kp__free(pool->world, c->all, bytes);
    kp__step_in(pool);
    return warm;
}

static int refuse_warm(struct kp__pool *pool, bool keys, const kp_ask *ask, kp_why *why,
                       struct kp__todo *todo)
{
    const char *wrong = ask ? kp__ask_refused(pool, ask) : NULL;

    if (ask && !kp__may_block(pool))
        wrong = "kp_warm with an ask, on the thread of the pool's own loop, would wait for itself; "
                "warm in the background (ask NULL)";
    if (!keys) wrong = "kp_warm: keys is NULL, but count is not 0";
    if (wrong) return kp__misuse_within(pool, todo, why, wrong);
    return pool->core.phase == KP__OPEN ? 0 : kp__say(why, KP_ECLOSED, NULL);
}

int64_t kp_warm(kp_pool *door, const kp_key *keys, size_t count, const kp_ask *ask)
{
    struct call call = { keys, count, ask, 0, NULL };
    struct kp__todo todo;
    kp_why *why = ask ? ask->why : NULL;
    int64_t warm;
    int code;
    struct kp__pool *pool = kp__enter(door, &todo, &code);

    if (why) memset(why, 0, sizeof *why);
    if (!pool) return kp__no_pool(code, why, "kp_warm: pool is NULL");
    if ((warm = refuse_warm(pool, keys || count == 0, ask, why, &todo)) == 0) {
        if (ask) call.until = kp__ask_deadline(pool, ask, kp__time(pool));
        warm = warm_all(pool, &call, &todo);
    }
    kp__leave(pool, &todo);
    return warm;
}
