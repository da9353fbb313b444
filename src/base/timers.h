/* SPDX-License-Identifier: MIT
 *
 * Who wants to be looked at when, the earliest first. There are few kinds of patience (a time-out,
 * a time to live), and who has the same comes in the order of the times. So each stands at the end
 * of a line in which nobody is later, of which there are a few; only who fits in none of them is in
 * a heap. A million who wait cost the same as one.
 *
 * Not synchronised. O(1) for who fits in a line, or waits for ever; else O(log n). Equal times come
 * out in any order.
 */
#ifndef KP__BASE_TIMERS_H
#define KP__BASE_TIMERS_H

#include "base/heap.h"
#include "base/list.h"

#include <stdint.h>

#define KP__TIMER_NEVER (UINT64_MAX / 2) /* or whatever is later: in 292 years */

struct kp__timer {       /* zeroed: not filed */
    uint64_t at : 63;    /* 0: not filed */
    uint64_t lined : 1;  /* it stands in a line, by its link; else it is a node of the heap */
    union {
        struct kp__heap_node node;
        struct kp__list link;
    };
};

enum { KP__TIMER_LINES = 4 };

struct kp__timers {
    struct kp__timer *first; /* NULL: none, or only such as wait for ever */
    struct kp__list line[KP__TIMER_LINES], never;
    struct kp__heap others;
};

void kp__timers_init(struct kp__timers *timers);

/* From now on it is to be looked at then, which is not 0; it may be filed already. */
void kp__timers_file(struct kp__timers *timers, struct kp__timer *timer, uint64_t at);
void kp__timers_remove(struct kp__timers *timers, struct kp__timer *timer); /* if it is filed */

/* It stays filed, but nowhere: nobody finds it any more. */
void kp__timers_mute(struct kp__timers *timers, struct kp__timer *timer);

/* Anyone, also of those who wait for ever; or NULL. */
struct kp__timer *kp__timers_any(const struct kp__timers *timers);

/* When the first of them is to be looked at; UINT64_MAX: none is. */
static inline uint64_t kp__timers_next(const struct kp__timers *timers)
{
    return timers->first ? timers->first->at : UINT64_MAX;
}

static inline bool kp__timer_is_filed(const struct kp__timer *timer)
{
    return timer->at != 0;
}

#endif
