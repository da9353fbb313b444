/* SPDX-License-Identifier: MIT
 *
 * kp_warm: keys get their minimum, and at least one resource, before anybody asks for one. If the
 * caller waits, its thread and the crew make them; else the keeper does.
 */
#include <string.h>

#include "core/calendar.h"
#include "core/permit.h"
#include "flow/door.h"
#include "flow/event.h"
#include "flow/find.h"
#include "flow/get.h"
#include "flow/loop.h"
#include "flow/resource.h"

/* Does this key have its minimum, and at least one? */
static bool is_warm(const struct kp__subpool *sub)
{
    int64_t least = sub->rules && sub->rules->min_live > 1 ? sub->rules->min_live : 1;

    return (int64_t)sub->count[KP__IDLE] + sub->count[KP__LENT] >= least;
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

static int say_cold(const struct kp__subpool *sub, int code, uint64_t now, kp_why *why)
{
    const struct kp__failure *last = sub->rare->health.last;

    if (code == KP_EBREAKER) kp__say_open(sub, now, why);
    else if (last && (code == KP_ECREATE || code == KP_EREFUSED)) kp__say_failure(why, code, last);
    else kp__say(why, code, NULL);
    return code;
}

/* The same for a key that got no rules; `cause` is what was wrong with its limits, if anything. */
static void say_no_rules(kp_why *cause, int code, kp_why *why)
{
    if (cause->code == 0) kp__say(cause, code, NULL);
    if (why) *why = *cause;
}

/* Warm one key, together with whatever else makes resources of it. 0: it is warm; else why not.
 * With the lock. */
static int warm_one(struct kp__pool *pool, struct kp__subpool *sub, uint64_t until, kp_why *why,
                    struct kp__todo *todo)
{
    uint64_t failures = sub->rare->seldom.create_failures;
    kp_why cause = { .code = 0 };
    int code;

    while (!is_warm(sub)) {
        uint64_t now = kp__time(pool);
        if ((code = is_cold(pool, sub, failures, now, until)) != 0)
            return say_cold(sub, code, now, why);
        if ((code = kp__rule(pool, sub, &cause)) != 0) { /* asked again: the first call failed */
            say_no_rules(&cause, code, why);
            return code;
        }
        if (!kp__refill_permit(&pool->core, sub, true, now))
            kp__await_news(pool, todo, next_try(pool, sub, now, until));
        else if (!kp__create(pool, sub, NULL, now))
            return say_cold(sub, KP_ENOMEM, now, why);
    }
    return 0;
}

/* Find a key, and have others begin to make its resources: the keeper if the caller does not wait,
 * else the crew. NULL: there is no such key, and why is in *why. */
static struct kp__subpool *start_warming(struct kp__pool *pool, kp_key key, bool wait, kp_why *why)
{
    kp_why cause = { .code = 0 };
    struct kp__todo todo;
    int code = 0;

    kp__todo_init(&todo, pool->world);
    if (kp__check_key(pool, key, why, &todo) != 0) return NULL;
    struct kp__subpool *sub = kp__find(pool, key, kp__hash(pool, key), true, &cause, &code);
    if (!sub) {
        say_no_rules(&cause, code, why);
        return NULL;
    }
    sub->used_at = kp__time(pool);
    if (!wait && !is_warm(sub)) {
        sub->refill = sub->warm = true;
        kp__file_sub(&pool->core, sub, sub->used_at);
    } else if (wait && pool->crew) {
        while (kp__refill_permit(&pool->core, sub, true, sub->used_at) &&
               kp__create(pool, sub, NULL, sub->used_at))
            continue;
    }
    return sub;
}

static int refuse_warm(struct kp__pool *pool, bool keys, const kp_ask *ask, kp_why *why,
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
    if (!keys) wrong = "kp_warm: keys is NULL, but count is not 0";
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
    if ((code = refuse_warm(pool, keys || count == 0, ask, why, &todo)) != 0) {
        kp__leave(pool, &todo);
        return code;
    }
    uint64_t until = ask ? kp__ask_deadline(pool, ask, kp__time(pool)) : 0;
    for (int round = ask && pool->crew ? 0 : 1; round < 2; round++) {
        for (size_t i = 0; i < count; i++) {
            if (round == 0 && !kp__key_fits(pool, keys[i])) continue; /* told in the next round */
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
