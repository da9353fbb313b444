/* SPDX-License-Identifier: MIT
 *
 * kp_use: get, run, give back, by a plan. Keys are tried in order; each has a part of the one
 * deadline, and within it the attempts of its schedule.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "flow/flow.h"

#define NO_END KP__NEVER                /* a deadline that never comes */

/* ---- schedules ------------------------------------------------------------------------------ */

/* R2 for a number of a schedule. */
static int64_t said(int64_t value, int64_t unsaid)
{
    if (value == 0) return unsaid;
    if (value == KP_NONE) return 0;
    return value < 0 ? INT64_MAX : value;
}

static int64_t percent_of(int64_t value, int64_t percent)
{
    if (percent > 0 && value > INT64_MAX / percent) return INT64_MAX;
    return value * percent / 100;
}

int64_t kp_schedule_pause_ms(const kp_schedule *schedule, int64_t attempt, uint64_t random)
{
    if (!schedule || attempt < 1 || attempt > said(schedule->times, 0)) return -1;
    int64_t most = said(schedule->max_ms, KP_SECONDS(30));
    int64_t pause = said(schedule->first_ms, 100);
    int64_t factor = said(schedule->factor_pct, 200);
    int64_t jitter = said(schedule->jitter_pct, 0);
    for (int64_t i = 1; i < attempt && pause < most; i++) {
        int64_t next = percent_of(pause, factor);
        if (next == pause) break;
        pause = next;
    }
    if (pause > most) pause = most;
    if (jitter > 100) jitter = 100;
    uint64_t part = (uint64_t)percent_of(pause, jitter);
    return pause - (int64_t)(random % (part + 1));
}

/* ---- one attempt ---------------------------------------------------------------------------- */

struct use {
    kp_pool   *pool;
    kp_plan    plan;
    kp_use_fn  fn;
    void      *arg;
    uint64_t   deadline_ns;             /* of all; NO_END: none */
};

/* What was said of why an attempt failed, if fn failed and not the get. */
static void fill_why(const struct use *use, int status)
{
    kp_why *why = use->plan.ask.why;
    if (!why) return;
    why->code = status;
    (void)snprintf(why->text, sizeof why->text, "the function of kp_use failed with %d", status);
}

/* The thread ends inside fn: nobody knows what state it left the resource in. */
static void cancelled(void *lease)
{
    kp_lease_about about;
    if (kp_lease_read(lease, &about)) kp_discard(lease);
}

static int run(const struct use *use, kp_lease *lease)
{
    kp_lease_about about;
    int status;
    pthread_cleanup_push(cancelled, lease);
    status = use->fn(lease, use->arg);
    pthread_cleanup_pop(0); /* cover: never, because it does not run what it takes off */
    if (kp_lease_read(lease, &about)) {         /* else fn has ended it */
        kp_lease_report(lease, status);
        if (status < 0 && use->plan.on_error == KP_DESTROY)
            kp_discard(lease);
        else
            kp_release(lease);
    }
    if (status < 0) fill_why(use, status);
    return status;
}

static int attempt(const struct use *use, kp_key key, uint64_t until_ns)
{
    kp_lease lease;
    kp_ask ask = use->plan.ask;
    int rc;
    if (ask.within_ms != KP_NONE) ask.within_ms = KP_OFF;
    ask.until.ns = until_ns == NO_END ? 0 : until_ns;
    if (ask.why) memset(ask.why, 0, sizeof *ask.why);
    rc = kp_get(use->pool, key, &ask, &lease);
    return rc == 0 ? run(use, &lease) : rc;
}

/* ---- one key -------------------------------------------------------------------------------- */

static bool helps(const struct use *use, int status)
{
    return use->plan.retry_if ? use->plan.retry_if(status, use->arg)
                              : kp_retry_helps(status, use->arg);
}

/* Pause before the next attempt; false: there is none, or the pause would pass the deadline. */
static bool pause_before(const struct use *use, int64_t retry, uint64_t until_ns)
{
    uint64_t now = kp_now_ns(use->pool);
    if (now == 0 || now >= until_ns) return false;      /* closed, or too late */
    int64_t pause = kp_schedule_pause_ms(&use->plan.schedule, retry, kp__random(use->pool));
    uint64_t then = kp__after(now, pause);
    if (pause < 0 || then >= until_ns) return false; /* or it would never end */
    if (pause > 0) kp__pause_until(use->pool, then);
    return true;
}

static int try_key(const struct use *use, kp_key key, uint64_t until_ns)
{
    int status;
    for (int64_t retry = 1;; retry++) {
        status = attempt(use, key, until_ns);
        if (status >= 0 || !helps(use, status)) return status;
        if (!pause_before(use, retry, until_ns)) return status;
    }
}

/* ---- the plan ------------------------------------------------------------------------------- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* 0 only where the pool has closed meanwhile: then the get says so. */
static uint64_t deadline_of(kp_pool *pool, const kp_ask *ask)
{
    uint64_t until = ask->until.ns ? ask->until.ns : NO_END;
    if (ask->within_ms == KP_OFF) return until;
    if (ask->within_ms == 0 && until != NO_END) return until;
    return earlier(until, kp_deadline_in(pool, ask->within_ms).ns);
}

/* What one of so many keys that are left may take. */
static uint64_t share_of(const struct use *use, size_t keys_left)
{
    uint64_t now = kp_now_ns(use->pool);
    uint64_t left = use->deadline_ns > now ? use->deadline_ns - now : 0;
    int64_t each_ms = use->plan.each_ms;
    if (each_ms == KP_OFF || left == 0) return use->deadline_ns;
    if (each_ms == KP_NONE) return now;
    if (each_ms > 0) return earlier(use->deadline_ns, kp__after(now, each_ms));
    return use->deadline_ns == NO_END ? NO_END : now + left / keys_left;
}

static bool falls_back(const struct use *use, int status)
{
    switch (status) {
    case KP_ETIMEDOUT:
    case KP_EBREAKER:
    case KP_EREFUSED:
    case KP_EFULL:
        return true;
    default:
        return helps(use, status);
    }
}

/* Is there time for another key? One that is asked without waiting needs none. */
static bool time_left(const struct use *use)
{
    if (use->plan.ask.within_ms == KP_NONE) return true;
    return kp_now_ns(use->pool) < use->deadline_ns;
}

int kp_use(kp_pool *pool, kp_key key, const kp_plan *plan, kp_use_fn fn, void *arg)
{
    struct use use = { pool, { .schedule = { 0 } }, fn, arg, 0 };
    int status;
    if (plan) use.plan = *plan;
    if (!fn) return kp__misuse(NULL, use.plan.ask.why, "kp_use: fn is NULL; nothing to run");
    if (!kp_is_pool(pool)) return attempt(&use, key, NO_END);   /* the get says what it is */
    use.deadline_ns = deadline_of(pool, &use.plan.ask);
    size_t fallbacks = use.plan.fallback ? use.plan.fallbacks : 0;
    status = try_key(&use, key, share_of(&use, fallbacks + 1));
    for (size_t i = 0; i < fallbacks; i++) {
        if (status >= 0 || !falls_back(&use, status) || !time_left(&use)) break;
        status = try_key(&use, use.plan.fallback[i], share_of(&use, fallbacks - i));
    }
    return status;
}
