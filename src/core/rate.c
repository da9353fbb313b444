/* SPDX-License-Identifier: MIT
 *
 * The bucket of tokens behind budget.create_rate. Arithmetic only; who gets one is decided in
 * decide_create.c, for a request, and in background.c, for the background.
 */
#include "core/rate.h"

#include "base/check.h"
#include "core/rules.h"

void kp__rate_init(struct kp__rate *rate, int64_t per_s, int64_t burst)
{
    *rate = (struct kp__rate){ .per_s = per_s == KP__UNBOUND ? 0 : (uint64_t)per_s };
    kp__budget_init(&rate->budget, KP__BY_CREATE_RATE, 0, KP__TOKENS);
    if (rate->per_s) rate->most = rate->parts = (uint64_t)burst * KP__TOKEN; /* below 2^61 */
}

/* How many parts are in the bucket at `now`, or at rate->at if the call knows an older time. What
 * comes in the very nanosecond in which the bucket becomes full is not lost, because nobody could
 * take it sooner; so the rate is kept even if it is no whole number of nanoseconds per token. */
static uint64_t parts_at(const struct kp__rate *rate, uint64_t now)
{
    uint64_t room = rate->most - rate->parts, span = now > rate->at ? now - rate->at : 0;

    if (span > (room + rate->per_s - 1) / rate->per_s) return rate->most;
    return rate->parts + span * rate->per_s;
}

void kp__rate_set(struct kp__rate *rate, int64_t per_s, int64_t burst, uint64_t now)
{
    uint64_t most = per_s == KP__UNBOUND ? 0 : (uint64_t)burst * KP__TOKEN;

    rate->parts = rate->per_s ? parts_at(rate, now) : most; /* a new one is full */
    if (rate->parts > most) rate->parts = most;
    rate->per_s = per_s == KP__UNBOUND ? 0 : (uint64_t)per_s;
    rate->most = most;
    if (now > rate->at) rate->at = now;
    rate->next_look = 0;
}

uint64_t kp__token_at(const struct kp__rate *rate, uint64_t now)
{
    if (!rate->per_s || parts_at(rate, now) >= KP__TOKEN) return now;
    /* so rate->parts is less than a token, and nothing wraps around */
    return rate->at + (KP__TOKEN - rate->parts + rate->per_s - 1) / rate->per_s;
}

uint64_t kp__token_period(const struct kp__rate *rate)
{
    return rate->per_s ? (KP__TOKEN + rate->per_s - 1) / rate->per_s : 0;
}

void kp__token_take(struct kp__rate *rate, uint64_t now)
{
    if (!rate->per_s) return;
    KP__DCHECK(parts_at(rate, now) >= KP__TOKEN);
    rate->parts = parts_at(rate, now) - KP__TOKEN;
    if (now > rate->at) rate->at = now;
}

void kp__token_back(struct kp__rate *rate)
{
    rate->parts += KP__TOKEN;
    if (rate->parts > rate->most) rate->parts = rate->most; /* 0 without a rate */
}

uint64_t kp__token_look(struct kp__rate *rate, uint64_t now)
{
    uint64_t at = kp__token_at(rate, now);

    if (rate->next_look < at) rate->next_look = at;
    at = rate->next_look;
    rate->next_look += kp__token_period(rate);
    return at;
}
