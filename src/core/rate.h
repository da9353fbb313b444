/* SPDX-License-Identifier: MIT
 *
 * The pace of creations over all keys (budget.create_rate, create_burst): a bucket of tokens, of
 * which each creation that begins takes one. It holds create_burst tokens at most, and create_rate
 * of them come in each second.
 *
 * It is counted in parts, KP__TOKEN to a token; each nanosecond brings as many parts as a second
 * brings tokens. All of these are whole numbers, so nothing is rounded and nothing drifts. (This is
 * the generic cell rate algorithm in its form as a leaky bucket of continuous state, ITU-T I.371;
 * its other form, one theoretical arrival time, would need fractions of a nanosecond. The model in
 * tests/model uses that one.)
 *
 * A token is a permit of one more budget, but of one that time fills. Keys that lack nothing else
 * stand in its heap, and a request of the first of them knows when the next token comes
 * (kp__next_look): when it looks then, whichever key is first by that time is served.
 */
#ifndef KP__CORE_RATE_H
#define KP__CORE_RATE_H

#include "core/budget.h"

#define KP__TOKEN UINT64_C(1000000000)

struct kp__rate {
    struct kp__budget budget; /* for the heap of keys that lack a token; it has no permits itself */
    uint64_t per_s;           /* 0: there is no rate, and nothing else here means anything */
    uint64_t most;            /* how many parts the bucket can hold */
    uint64_t parts, at;       /* how many it held at the time `at` */
    uint64_t next_look;       /* the next time that kp__token_look may give out */
};

/* per_s KP__UNBOUND: no rate. The bucket starts full. */
void kp__rate_init(struct kp__rate *rate, int64_t per_s, int64_t burst);

/* Another rate, or none: what is in the bucket stays there, as far as the new one can hold it. */
void kp__rate_set(struct kp__rate *rate, int64_t per_s, int64_t burst, uint64_t now);

/* When the next token is there; `now`: one is there already, as always if there is no rate. */
uint64_t kp__token_at(const struct kp__rate *rate, uint64_t now);

static inline bool kp__token_lacks(const struct kp__rate *rate, uint64_t now)
{
    return rate->per_s && kp__token_at(rate, now) > now;
}

/* How long a token takes to come; 0: there is no rate. */
uint64_t kp__token_period(const struct kp__rate *rate);

/* A creation begins; there must be a token. Or one that took a token never got to the driver. */
void kp__token_take(struct kp__rate *rate, uint64_t now);
void kp__token_back(struct kp__rate *rate);

/* A time at which nobody else in the background comes for a token: the times given out are one
 * token apart, in the order of the calls, so that there is one look for each token (L8). */
uint64_t kp__token_look(struct kp__rate *rate, uint64_t now);

#endif
