/* SPDX-License-Identifier: MIT
 *
 * The clock of the adapters: moments are in nanoseconds, the time left is in milliseconds, for
 * poll. Only the time left is rounded, and up: so no time ends early, and 0 left means it has
 * ended.
 */
#ifndef KP_ADAPTERS_CLOCK_H
#define KP_ADAPTERS_CLOCK_H

#include <limits.h>
#include <stdint.h>
#include <time.h>

static inline int64_t kp__now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The shorter of a time that is given and one that an option may set (0 or KP_OFF: it does not). If
 * neither is, as for a create in the background, 30 s: the thread that does the upkeep of all pools
 * of the process must not be held up for ever by a server that hangs. */
static inline int64_t kp__at_most_ms(int64_t most_ms, int64_t given_ms)
{
    if (most_ms <= 0)
        return given_ms == INT64_MAX ? 30000 : given_ms;
    return most_ms < given_ms ? most_ms : given_ms;
}

/* The moment that is so many ms away; "no deadline" becomes 24 days. */
static inline int64_t kp__until_ns(int64_t within_ms)
{
    return kp__now_ns() + (within_ms > INT_MAX ? INT_MAX : within_ms) * 1000000;
}

/* What is left until then: 0 if nothing is, else at least 1. */
static inline int kp__left_ms(int64_t until_ns)
{
    int64_t left_ns = until_ns - kp__now_ns(), left_ms = (left_ns + 999999) / 1000000;

    return left_ns <= 0 ? 0 : left_ms > INT_MAX ? INT_MAX : (int)left_ms;
}

#endif
