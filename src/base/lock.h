/* SPDX-License-Identifier: MIT
 *
 * A mutex on one word that sleeps through a world's park and wake, so that a simulated world
 * decides who runs. Not recursive, not fair, four bytes, zero is free. Taking and giving a free
 * lock is one atomic operation each.
 *
 * The holder may free the memory of a lock as soon as no other thread can still come to take it:
 * give touches nothing after the step that frees the lock.
 */
#ifndef KP__BASE_LOCK_H
#define KP__BASE_LOCK_H

#include "world.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct kp__lock {
    _Atomic uint32_t word;
};

void kp__lock_take(struct kp__lock *l, const struct kp__world *world);
void kp__lock_give(struct kp__lock *l, const struct kp__world *world);

/* Does somebody hold it? For checks: true tells the holder nothing new, false tells it that
 * something is wrong. */
static inline bool kp__lock_held(const struct kp__lock *l)
{
    return atomic_load_explicit(&l->word, memory_order_relaxed) != 0;
}

#endif
