/* SPDX-License-Identifier: MIT
 *
 * Who wants to be looked at when, the earliest first. Most ask for the same patience, so they come
 * in the order of their times: those stand in a list, at the end of which there is always room; and
 * only those who come out of order are in a heap. A million who wait cost the same as one.
 *
 * Not synchronised. O(1) for who comes in order, or for ever; else O(log n). Equal times come out
 * in any order.
 */
#ifndef KP__BASE_TIMERS_H
#define KP__BASE_TIMERS_H

#include "base/heap.h"
#include "base/list.h"

#include <stdint.h>

#define KP__TIMER_NEVER UINT64_MAX

struct kp__timer { /* zeroed: not filed */
    uint64_t at;   /* 0: not filed */
    union {
        struct kp__heap_node node;
        struct {
            struct kp__list link;
            void *listed; /* itself, if it is in a list: no node is its own child */
        };
    };
};

struct kp__timers {
    struct kp__list in_order, never;
    struct kp__heap others;
};

void kp__timers_init(struct kp__timers *timers);

/* From now on it is to be looked at then, which is not 0; it may be filed already. */
void kp__timers_file(struct kp__timers *timers, struct kp__timer *timer, uint64_t at);
void kp__timers_remove(struct kp__timers *timers, struct kp__timer *timer); /* if it is filed */

/* The earliest, or NULL; those for ever come last. */
struct kp__timer *kp__timers_first(const struct kp__timers *timers);

static inline bool kp__timer_is_filed(const struct kp__timer *timer)
{
    return timer->at != 0;
}

#endif
