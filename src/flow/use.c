/* SPDX-License-Identifier: MIT
 *
 * kp_use: get, run, give back, by a plan. Keys are tried in order; each gets a part of the time to
 * the one deadline, and within it the attempts of the schedule.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "flow/door.h"
#include "flow/event.h"
#include "flow/get.h"
#include "flow/hit.h"
#include "flow/settings.h"

struct use {
    kp_pool   *pool;
    kp_plan    plan;
    kp_use_fn  fn;
    void      *arg;
    const void *site;                   /* where it was called from */
    uint64_t   deadline_ns;             /* of all; KP__NEVER: none */
    bool       single;                  /* one attempt, whose deadline is that of its get */
};

/* One key's attempts. */
struct series {
    const struct use *use;
    kp_key    key;
    uint64_t  began_ns, until_ns;       /* until: of this key; KP__NEVER: none */
    int64_t   retry;                    /* 1, 2, ...: the one after this attempt */
    uint64_t  next_ns;                  /* when that begins; 0: never */
    bool      helps;                    /* may another attempt help, of this key or another? */
};

/* ---- is there a next attempt? --------------------------------------------------------------- */

static bool helps(const struct use *use, int status)
{
    return use->plan.retry_if ? use->plan.retry_if(status, use->arg)
                              : kp_retry_helps(status, use->arg);
}

/* When the next attempt begins. 0: there is none, after a success or a failure that another attempt
 * would not help, or for want of time. */
static uint64_t next_at(struct series *s, int status)
{
    const struct use *use = s->use;
    s->helps = status < 0 && helps(use, status);
    if (!s->helps) return 0;
    uint64_t now = kp_now_ns(use->pool);
    if (now == 0 || now >= s->until_ns) return 0;       /* gone, or too late */
    const struct kp__world *world = &use->pool->world;
    int64_t pause = kp_schedule_pause_ms(&use->plan.schedule, s->retry,
                                         kp__ms_up(now - s->began_ns), world->random(world->ctx));
    if (pause < 0) return 0;
    uint64_t then = kp__after(now, pause);
    return then < s->until_ns ? then : 0;       /* else too late, or never */
}

/* ---- one attempt ---------------------------------------------------------------------------- */

/* Fill the ask's why if it was fn that failed, and not the get. */
static void fill_why(const struct use *use, int status)
{
    kp_why *why = use->plan.ask.why;
    if (!why) return;
    why->code = status;
    (void)snprintf(why->text, sizeof why->text, "the function given to kp_use returned %d", status);
}

/* The thread ends inside fn: the state in which that left the resource is unknown. */
static void cancelled(void *lease)
{
    kp_lease_about about;
    if (kp_lease_read(lease, &about)) kp_discard(lease);
}

/* Whether another attempt follows is decided before the lease ends: if it does, the resource is
 * destroyed, unless on_error says otherwise, so that the next attempt is not lent it again. */
static int run(struct series *s, kp_lease *lease)
{
    const struct use *use = s->use;
    kp_lease_about about;
    int status;
    pthread_cleanup_push(cancelled, lease);
    status = use->fn(lease, use->arg);
    s->next_ns = next_at(s, status);
    pthread_cleanup_pop(0); /* cover: never, because 0 takes the handler off without running it */
    bool ended = status >= 0 && !kp__uses_count(use->pool) && kp__end_lease(lease, KP__END_OF_USE);
    if (!ended && kp_lease_read(lease, &about)) {       /* else fn has ended it */
        int64_t on_error = use->plan.on_error;
        if (on_error == 0) on_error = s->next_ns ? KP_DESTROY : KP_REUSE;
        kp_lease_report(lease, status);
        if (status < 0 && on_error == KP_DESTROY) kp_discard(lease);
        else kp_release(lease);
    }
    if (status < 0) fill_why(use, status);
    return status;
}

static int get(const struct use *use, kp_key key, uint64_t until_ns, kp_lease *lease)
{
    kp_ask ask = use->plan.ask;
    if (!use->single) {
        if (ask.within_ms != KP_NONE) ask.within_ms = KP_OFF;
        ask.until.ns = until_ns == KP__NEVER ? 0 : until_ns;
        if (ask.why) memset(ask.why, 0, sizeof *ask.why);
    }
    return kp__get_from(use->pool, key, &ask, use->site, lease);
}

static int attempt(struct series *s)
{
    kp_lease lease;
    int status = get(s->use, s->key, s->until_ns, &lease);
    if (status == 0) return run(s, &lease);
    s->next_ns = next_at(s, status);
    return status;
}

/* Is another key to be tried, although another attempt would not help? */
static bool falls_back(int status)
{
    return status == KP_ETIMEDOUT || status == KP_EBREAKER || status == KP_EREFUSED ||
           status == KP_EFULL;
}

/* Sleep by the pool's clock. Apart, so that an attempt that goes well sets up nothing for it. */
static KP__APART void sleep_until(const struct kp__world *world, uint64_t until_ns)
{
    uint32_t word = 0;
    while (kp__now(world) < until_ns) world->park(&word, 0, until_ns, world->ctx);
}

/* `next`: whether another key is to be tried after the last attempt. */
static int try_key(const struct use *use, kp_key key, uint64_t until_ns, bool *next)
{
    struct series s = { use, key, kp_now_ns(use->pool), until_ns, 1, 0, false };
    int status;
    for (;; s.retry++) {
        status = attempt(&s);
        if (!s.next_ns) break;
        sleep_until(&use->pool->world, s.next_ns);
    }
    *next = s.helps || falls_back(status);
    return status;
}

/* ---- the plan ------------------------------------------------------------------------------- */

static bool is_single(const kp_plan *plan)
{
    return (plan->schedule.times == 0 || plan->schedule.times == KP_NONE) && plan->fallbacks == 0 &&
           (plan->each_ms == 0 || plan->each_ms == KP_OFF);
}

/* Work out the one deadline of all gets, as each does its own. A pool that was closed meanwhile
 * leaves it 0: then the get says so. */
static void fix_deadline(struct use *use)
{
    kp_ask *ask = &use->plan.ask;
    struct kp__todo todo;
    int code;
    struct kp__pool *pool = kp__enter(use->pool, &todo, &code);
    if (!pool) return; /* cover: never, because it takes two threads in one instant */
    use->deadline_ns = kp__ask_deadline(pool, ask, kp__time(pool));
    if (kp__ask_is_at_once(pool, ask)) ask->within_ms = KP_NONE; /* said by the pool, too */
    kp__leave(pool, &todo);
}

/* Until when one key may be tried, if so many are left. */
static uint64_t share_of(const struct use *use, size_t keys_left)
{
    uint64_t now = kp_now_ns(use->pool);
    uint64_t left = use->deadline_ns > now ? use->deadline_ns - now : 0;
    int64_t each_ms = use->plan.each_ms;
    if (each_ms == KP_OFF || left == 0) return use->deadline_ns;
    if (each_ms == KP_NONE) return now;
    if (each_ms > 0) return kp__sooner(use->deadline_ns, kp__after(now, each_ms));
    return use->deadline_ns == KP__NEVER ? KP__NEVER : now + left / keys_left;
}

/* Is there time for another key? A get that does not wait needs none. */
static bool time_left(const struct use *use)
{
    if (use->plan.ask.within_ms == KP_NONE) return true;
    return kp_now_ns(use->pool) < use->deadline_ns;
}

int kp_use(kp_pool *pool, kp_key key, const kp_plan *plan, kp_use_fn fn, void *arg)
{
    struct use use = { pool, { .schedule = { 0 } }, fn, arg, KP__SITE, 0, false };
    int status;
    if (plan) use.plan = *plan;
    if (!fn) return kp__misuse_by(pool, use.plan.ask.why, "kp_use: fn is NULL; nothing to run");
    status = kp__plan_check(&use.plan);
    if (status != 0) return status;
    use.single = is_single(&use.plan) || !kp_is_pool(pool); /* if it is none, the get says why */
    if (use.single) return attempt(&(struct series){ &use, key, 0, KP__NEVER, 1, 0, false });
    fix_deadline(&use);
    size_t fallbacks = use.plan.fallbacks;
    bool next;
    status = try_key(&use, key, share_of(&use, fallbacks + 1), &next);
    for (size_t i = 0; i < fallbacks && next && time_left(&use); i++)
        status = try_key(&use, use.plan.fallback[i], share_of(&use, fallbacks - i), &next);
    return status;
}
