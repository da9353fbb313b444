/* SPDX-License-Identifier: MIT
 *
 * Every numeric field of the options, in the order of the header, for tests of options as text.
 */
#ifndef KP_TESTS_OPTIONS_H
#define KP_TESTS_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

#include "keyedpool.h"

/* name, where, a value as text, and as a number */
#define LIMITS_64(X)                                                                    \
    X(min_live, "3", 3) X(max_live, "20", 20) X(max_lent, "4k", 4000)                   \
    X(max_idle, "2M", 2000000) X(min_idle, "1", 1) X(max_creating, "unlimited", KP_UNLIMITED) \
    X(max_waiting, "none", KP_NONE) X(sharing, "3", 3) X(utilization_pct, "80%", 80)    \
    X(idle_ttl_ms, "30s", 30000) X(excess_ttl_ms, "60min", 3600000)                     \
    X(max_age_ms, "off", KP_OFF) X(age_spread_pct, "5", 5) X(excess_over, "7", 7)       \
    X(create_timeout_ms, "2s", 2000) X(validate_timeout_ms, "250", 250)                 \
    X(validate_after_ms, "none", KP_NONE) X(retry_first_ms, "10ms", 10)                 \
    X(retry_max_ms, "1h", 3600000) X(cache_failure_ms, "once", KP_ONCE)                 \
    X(breaker_failures, "5", 5) X(breaker_open_ms, "10s", 10000)                        \
    X(shed_target_ms, "50", 50) X(shed_interval_ms, "2000ms", 2000) X(reserve, "2", 2)  \
    X(reserve_after_ms, "5s", 5000) X(weight, "10", 10) X(floor, "1", 1)                \
    X(max_uses, "50k", 50000) X(renew_ahead_ms, "30s", 30000) X(surplus, "3", 3)        \
    X(breaker_rate_pct, "50%", 50) X(breaker_window_ms, "1min", 60000)                  \
    X(breaker_calls, "100", 100) X(breaker_probes, "3", 3) X(refuse_late, "on", 1)      \
    X(validate_every_ms, "1min", 60000) X(on_gone, "replace", KP_GONE_REPLACE)          \
    X(revoke_after_ms, "2min", 120000) X(group[0], "9000000000", 9000000000) X(group[1], "12", 12)

#define LIMITS_32(X)                                                                    \
    X(prefill, "first_get", KP_PREFILL_FIRST_GET) X(refill, "eager", KP_REFILL_EAGER)   \
    X(wait_order, "eventual", KP_EVENTUAL) X(idle_order, "fifo", KP_FIFO)               \
    X(on_create_failure, "fail_retry", KP_FAIL_RETRY) X(on_return, "destroy", KP_DESTROY) \
    X(over_idle, "drop_oldest", KP_DROP_OLDEST) X(idle_check, "keeper", KP_CHECK_KEEPER) \
    X(excess_check, "get,return", KP_CHECK_GET | KP_CHECK_RETURN)                       \
    X(age_check, "get|keeper", KP_CHECK_GET | KP_CHECK_KEEPER)                          \
    X(validate_on, "keeper", KP_CHECK_KEEPER) X(respects_min, "none", KP_KIND_NONE)     \
    X(breaker_counts, "create,use", KP_BREAK_CREATE | KP_BREAK_USE) X(fail_fast, "on", 1)

#define BUDGETS(X)                                                                      \
    X(max_live, "100", 100) X(max_lent, "1k", 1000) X(max_idle, "none", KP_NONE)        \
    X(max_creating, "8", 8) X(max_waiting, "unlimited", KP_UNLIMITED) X(max_keys, "1M", 1000000) \
    X(group_max_live[0], "5", 5) X(group_max_live[1], "6", 6)                           \
    X(evict_other_keys, "off", KP_OFF) X(across, "arrival", KP_ACROSS_ARRIVAL)          \
    X(create_rate, "50", 50) X(create_burst, "1k", 1000)

#define WHOLE_64(X)                                                                     \
    X(threads, "none", KP_NONE) X(deadline_ms, "5s", 5000) X(keep_every_ms, "1s", 1000) \
    X(forget_key_after_ms, "1h", 3600000) X(leak_after_ms, "off", KP_OFF)

#define WHOLE_32(X) X(on_fork, "fresh", KP_FORK_FRESH) X(on_misuse_abort, "on", 1)

#define WHOLE_LATER(X) /* behind the pointers */                                        \
    X(hits, "locked", KP_HITS_LOCKED) X(on_deadlock, "refuse", KP_DEADLOCK_REFUSE)      \
    X(watch_every_ms, "2s", 2000)

struct field {
    const char *name, *text;
    size_t      offset, size;
    int64_t     value;
};

#define FIELD(prefix, name, where, text, value) \
    { prefix #name, text, offsetof(kp_options, where), sizeof(((kp_options *)0)->where), value },

static const struct field fields[] = {
#define X(name, text, value) FIELD("limits.", name, limits.name, text, value)
    LIMITS_64(X) LIMITS_32(X)
#undef X
#define X(name, text, value) FIELD("budget.", name, budget.name, text, value)
    BUDGETS(X)
#undef X
#define X(name, text, value) FIELD("", name, name, text, value)
    WHOLE_64(X) WHOLE_32(X) WHOLE_LATER(X)
#undef X
};

/* A field that is added to a struct and not to these lists does not compile. */
#define X(name, text, value) +sizeof(((kp_limits *)0)->name)
_Static_assert(LIMITS_64(X) LIMITS_32(X) +sizeof(((kp_limits *)0)->reserved) == sizeof(kp_limits),
               "all of kp_limits");
#undef X
#define X(name, text, value) +sizeof(((kp_budget *)0)->name)
_Static_assert(BUDGETS(X) +sizeof(((kp_budget *)0)->reserved) == sizeof(kp_budget),
               "all of kp_budget");
#undef X
#define X(name, text, value) +sizeof(((kp_options *)0)->name)
_Static_assert(offsetof(kp_options, world) - offsetof(kp_options, threads) ==
                   0 WHOLE_64(X) WHOLE_32(X), "all numbers of kp_options");
_Static_assert(offsetof(kp_options, stack) - offsetof(kp_options, hits) ==
                   0 WHOLE_LATER(X), "and those behind");
#undef X

enum { FIELDS = sizeof fields / sizeof *fields };

#endif
