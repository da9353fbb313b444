/* SPDX-License-Identifier: MIT
 *
 * A mutex on one word that sleeps through a world's park and wake, so that a simulated world
 * decides who runs. Not recursive, not fair, four bytes, zero is free. Taking a free lock is one
 * atomic operation, and so is giving it back.
 *
 * lock.c says which memory orders pair. The holder may free the memory of a lock as soon as no
 * other thread can still come to take it: give touches nothing after the step that frees the lock.
 */
#ifndef KP__BASE_LOCK_H
#define KP__BASE_LOCK_H

#include "base/check.h"
#include "base/world.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct kp__lock {
    _Atomic uint32_t word;
};

/* SLEPT_ON means that somebody may be asleep. It can be stale: that causes a wake in vain, but no
 * wake is ever missing. */
enum { KP__LOCK_FREE, KP__LOCK_HELD, KP__LOCK_SLEPT_ON };

/* Short enough to be inlined. The explorer defines its own in their place. */
#ifndef KP__LOCK_INLINE
#define KP__LOCK_INLINE static inline
#endif

static inline bool kp__lock_try(struct kp__lock *l)
{
    uint32_t expected = KP__LOCK_FREE;

    return atomic_compare_exchange_strong_explicit(&l->word, &expected, KP__LOCK_HELD,
                                                   memory_order_acquire, memory_order_relaxed);
}

/* Wait until it is free, and take it. */
void kp__lock_wait(struct kp__lock *l, const struct kp__world *world);

KP__LOCK_INLINE void kp__lock_take(struct kp__lock *l, const struct kp__world *world)
{
    if (!kp__lock_try(l)) kp__lock_wait(l, world);
}

/* Does somebody hold it? A hint. For checks by the holder: false shows that something is wrong, but
 * true does not prove that it is the caller who holds it. */
static inline bool kp__lock_held(const struct kp__lock *l)
{
    /* relaxed: a hint, or the holder's own store */
    return atomic_load_explicit(&l->word, memory_order_relaxed) != 0;
}

KP__LOCK_INLINE void kp__lock_give(struct kp__lock *l, const struct kp__world *world)
{
    /* Read before the exchange: the next holder may free the lock and the world with it. */
    void (*wake)(uint32_t *, int, void *) = world->wake;
    void *ctx = world->ctx;

    KP__DCHECK(kp__lock_held(l));
    if (atomic_exchange_explicit(&l->word, KP__LOCK_FREE, memory_order_release) ==
        KP__LOCK_SLEPT_ON)
        wake((uint32_t *)(void *)&l->word, 1, ctx);
}

#endif
