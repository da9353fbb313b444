/* SPDX-License-Identifier: MIT
 *
 * Timers: what is to be looked at when, the earliest first. A program uses few different spans (a
 * time-out, a time to live), and timers of one span are set in the order in which they go off. So
 * there are a few lines, each in that order, and a new timer goes to the end of a line that holds
 * nothing later; only one that fits into no line goes into a heap. A million cost the same as one.
 *
 * Not synchronised. O(1) for what fits into a line, or never goes off; else O(log n). Equal times
 * come out in any order.
 */
#ifndef KP__BASE_TIMERS_H
#define KP__BASE_TIMERS_H

#include "base/heap.h"
#include "base/list.h"

#include <stdint.h>

#define KP__TIMER_NEVER (UINT64_MAX / 2) /* this or later is never: in 292 years */

struct kp__timer {       /* zeroed: not filed */
    uint64_t at : 63;    /* 0: not filed */
    uint64_t lined : 1;  /* it is in a line, by its link; else it is a node of the heap */
    union {
        struct kp__heap_node node;
        struct kp__list link;
    };
};

enum { KP__TIMER_LINES = 4 };

struct kp__timers {
    struct kp__timer *first; /* NULL: there is none that ever goes off */
    uint64_t next;           /* when that goes off; UINT64_MAX: none does */
    struct kp__list line[KP__TIMER_LINES], never;
    struct kp__heap others;
};

void kp__timers_init(struct kp__timers *timers);

/* From now on it goes off at `at`, which is not 0. It may be filed already. */
void kp__timers_file(struct kp__timers *timers, struct kp__timer *timer, uint64_t at);
void kp__timers_remove(struct kp__timers *timers, struct kp__timer *timer); /* if it is filed */

/* Let it count as filed, but never go off; no function finds it. */
void kp__timers_mute(struct kp__timers *timers, struct kp__timer *timer);

/* Any timer that is not muted, even one that never goes off; or NULL. */
struct kp__timer *kp__timers_any(const struct kp__timers *timers);

/* When the first of them goes off; UINT64_MAX: none does. */
static inline uint64_t kp__timers_next(const struct kp__timers *timers)
{
    return timers->next;
}

static inline bool kp__timer_is_filed(const struct kp__timer *timer)
{
    return timer->at != 0;
}

#endif
