/* SPDX-License-Identifier: MIT
 *
 * Rules: the limits of a key in the form that decisions use. Times are nanoseconds, KP__NEVER for
 * KP_OFF; counts are numbers, KP__UNBOUND for KP_UNLIMITED. Made by flow/limits.c, constant
 * afterwards, shared by the keys they apply to.
 */
#ifndef KP__CORE_RULES_H
#define KP__CORE_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "keyedpool/options.h"

#define KP__NEVER UINT64_MAX
#define KP__UNBOUND INT64_MAX

/* In so many groups of keys may a key be (limits.group). */
enum { KP__GROUPS = 2 };

struct kp__rules {
    uint32_t refs; /* Guard: the pool's lock. Held by keys, and by the pool itself */

    int64_t min_live, max_live, max_lent, max_idle, min_idle;
    int64_t max_creating, max_waiting, sharing, utilization_pct, excess_over;
    int64_t breaker_failures, reserve, weight, floor, age_spread_pct, max_uses, surplus;
    int64_t lasting;  /* if more are live, an idle one ends before it is lent: a ttl of nothing */
    const char *lasting_by; /* the option that says so, or NULL */
    int64_t group[KP__GROUPS]; /* 0: none */
    int64_t on_gone;  /* kp_gone, or KP_OFF */

    uint64_t idle_ttl, excess_ttl, max_age;
    uint64_t create_timeout, validate_timeout, validate_after;
    uint64_t validate_every; /* by the keeper; KP__NEVER: it does not */
    uint64_t retry_first, retry_max, cache_failure;
    uint64_t breaker_rate, breaker_calls, breaker_probes; /* rate: per cent; 0: OFF */
    uint64_t breaker_open, breaker_window;
    uint64_t shed_target, shed_interval, reserve_after, revoke_after;
    uint64_t renew_ahead; /* 0: off */

    bool prefill, eager, wait_lifo, wait_eventual, idle_lifo;
    bool retry_requests, reuse, drop_oldest, cache_once, fail_fast, refuse_late;
    bool clocked; /* something here needs the time at every get and release */
    uint32_t idle_check, excess_check, age_check, validate_on, respects_min, breaker_counts;

    kp_limits said; /* the same as the user would write it; kp_limits_set starts from it */
};

/* One reference less: returns the rules if nobody has any more, for the caller to free; else NULL.
 * NULL is fine. */
static inline struct kp__rules *kp__rules_unref(struct kp__rules *rules)
{
    return rules && --rules->refs == 0 ? rules : NULL;
}

#endif
