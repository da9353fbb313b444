/* SPDX-License-Identifier: MIT
 *
 * The line that creations follow over all keys (budget.create_rate, create_burst): a bucket of
 * tokens, one for each creation that begins. It holds create_burst at most, and create_rate of them
 * come in each second.
 *
 * It is counted in parts, KP__TOKEN to a token; in each nanosecond come as many parts as tokens in
 * a second. All of that are whole numbers, so nothing is rounded and nothing drifts. (The generic
 * cell rate algorithm in its form as a leaky bucket of continuous state, ITU-T I.371; its other
 * form, one theoretical arrival time, would need fractions of a nanosecond. The model has that.)
 *
 * A token is a permit of one budget more, but time is what brings it. Keys that lack nothing else
 * stand in its heap, and one of the first one's requests knows when the next token comes
 * (kp__next_look): who comes then serves whoever is first by that time.
 */
#ifndef KP__CORE_RATE_H
#define KP__CORE_RATE_H

#include "core/budget.h"

#define KP__TOKEN UINT64_C(1000000000)

struct kp__rate {
    struct kp__budget budget; /* who lacks a token; it has no permits of its own */
    uint64_t per_s;           /* 0: there is no rate, and nothing else here means anything */
    uint64_t most;            /* parts in the bucket, at most ... */
    uint64_t parts, at;       /* ... and at that time */
    uint64_t look;            /* when the background looks that will next have to wait for one */
};

/* per_s KP__UNBOUND: no rate. The bucket is full. */
void kp__rate_init(struct kp__rate *rate, int64_t per_s, int64_t burst);

/* Another rate, or none: what is in the bucket stays there, as far as the new one holds it. */
void kp__rate_set(struct kp__rate *rate, int64_t per_s, int64_t burst, uint64_t now);

/* When the next token is there; `now`: it is, as always where there is no rate. */
uint64_t kp__token_at(const struct kp__rate *rate, uint64_t now);

static inline bool kp__token_lacks(const struct kp__rate *rate, uint64_t now)
{
    return rate->per_s && kp__token_at(rate, now) > now;
}

/* One creation begins; there must be a token. Or one that took it never came to the driver. */
void kp__token_take(struct kp__rate *rate, uint64_t now);
void kp__token_back(struct kp__rate *rate);

/* A moment at which nobody else of the background comes for a token: they are one token apart, in
 * the order in which they asked, so that there is one look for each token (L8). */
uint64_t kp__token_look(struct kp__rate *rate, uint64_t now);

#endif
