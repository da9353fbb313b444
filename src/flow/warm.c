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
    const struct kp__failure *last = sub->rare->health.last;

    if (last && (code == KP_ECREATE || code == KP_EREFUSED)) kp__say_failure(why, code, last);
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
        if (pool->core.phase != KP__OPEN) return say_cold(sub, KP_ECLOSED, why);
        if (sub->rare->health.refused) return say_cold(sub, KP_EREFUSED, why);
        if (sub->rare->seldom.create_failures > failures) return say_cold(sub, KP_ECREATE, why);
        if (now >= until) return say_cold(sub, KP_ETIMEDOUT, why);
        if ((code = kp__rule(pool, sub, &cause)) != 0) { /* asked again: the first call failed */
            say_no_rules(&cause, code, why);
            return code;
        }
        if (!kp__refill_permit(&pool->core, sub, true, now))
            kp__await_news(pool, todo, next_try(pool, sub, now, until));
        else if (!kp__create(pool, sub, NULL, now))
            return say_cold(sub, KP_ENOMEM, why);
    }
    return 0;
}

/* The subpool of a key, made if need be; NULL: there can be none, and why is in *why. */
static struct kp__subpool *find(struct kp__pool *pool, kp_key key, kp_why *why,
                                struct kp__todo *todo)
{
    kp_why cause = { .code = 0 };
    int code = 0;

    if (kp__check_key(pool, key, why, todo) != 0) return NULL;
    struct kp__subpool *sub = kp__find(pool, key, kp__hash(pool, key), true, &cause, &code);
    if (sub) sub->used_at = kp__time(pool);
    else say_no_rules(&cause, code, why);
    return sub;
}

/* Before the first key is waited for, the crew is to begin with all of them. What is wrong with a
 * key is told when its turn comes. With the lock. */
static void have_crew_begin(struct kp__pool *pool, const kp_key *keys, size_t count,
                            struct kp__todo *todo)
{
    for (size_t i = 0; i < count; i++) {
        if (!kp__key_fits(pool, keys[i])) continue;
        struct kp__subpool *sub = find(pool, keys[i], NULL, todo);
        if (!sub) continue;
        while (kp__refill_permit(&pool->core, sub, true, sub->used_at) &&
               kp__create(pool, sub, NULL, sub->used_at))
            continue;
        kp__lose_interest(pool, sub, kp__time(pool));
        kp__do(pool, todo);
    }
}

static void leave_to_keeper(struct kp__pool *pool, struct kp__subpool *sub)
{
    if (is_warm(sub)) return;
    sub->refill = sub->warm = true;
    kp__file_sub(&pool->core, sub, sub->used_at);
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
    if (ask && pool->crew) have_crew_begin(pool, keys, count, &todo);
    for (size_t i = 0; i < count; i++) {
        struct kp__subpool *sub = find(pool, keys[i], why, &todo);
        if (!sub) continue;
        if (!ask) leave_to_keeper(pool, sub);
        else if (warm_one(pool, sub, until, why, &todo) == 0) warm++;
        kp__lose_interest(pool, sub, kp__time(pool));
        kp__do(pool, &todo);
    }
    kp__leave(pool, &todo);
    return warm;
}
