/* SPDX-License-Identifier: MIT
 *
 * The three-state mutex of U. Drepper, "Futexes Are Tricky" (2011),
 * https://www.akkadia.org/drepper/futex.pdf, with a brief spin in front.
 *
 * Orders: the exchange that frees the word releases; the compare-exchange or exchange that finds it
 * free acquires. They pair through the word, so all that was done under the lock is seen by whoever
 * takes it next. Every other access here is relaxed: it only decides whether to try again.
 */
#include "base/lock.h"

#include <unistd.h>

/* About as long as a short critical section; a system call costs more. */
enum { LOCK_SPINS = 64 };

_Static_assert(sizeof(_Atomic uint32_t) == sizeof(uint32_t), "a world parks on plain words");

static inline void lock_pause(void)
{
#if defined __x86_64__ || defined __i386__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ volatile("yield");
#endif
}

/* With one core the holder cannot move on while we spin. */
static int lock_spins(void)
{
    static _Atomic int spins = -1;
    int n = atomic_load_explicit(&spins, memory_order_relaxed);

    if (n < 0) {
        n = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? LOCK_SPINS : 0;
        atomic_store_explicit(&spins, n, memory_order_relaxed);
    }
    return n;
}

void kp__lock_wait(struct kp__lock *l, const struct kp__world *world)
{
    for (int i = lock_spins(); i > 0; i--) {
        uint32_t seen = atomic_load_explicit(&l->word, memory_order_relaxed);

        if (seen == KP__LOCK_SLEPT_ON)  /* others have spun in vain: join them */
            break;
        if (seen == KP__LOCK_FREE && kp__lock_try(l))
            return;
        lock_pause();
    }
    while (atomic_exchange_explicit(&l->word, KP__LOCK_SLEPT_ON, memory_order_acquire) !=
           KP__LOCK_FREE)
        world->park((uint32_t *)(void *)&l->word, KP__LOCK_SLEPT_ON, UINT64_MAX, world->ctx);
}
