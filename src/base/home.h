/* SPDX-License-Identifier: MIT
 *
 * Swings without an atomic operation. A word that has a home, which is a processor, is swung only
 * there, and only by a restartable sequence (rseq): compare, and store. The kernel has a thread
 * begin its sequence again that was held up in it, by another thread, a signal or a move to another
 * processor. So at home a sequence is one step, and elsewhere nobody writes.
 *
 * A word loses its home in this order: its home becomes nobody's; kp__sequences_end; from then on
 * it is the caller's alone, until he says otherwise. Who gives and takes homes has a lock.
 *
 * On Linux, x86-64 and aarch64, with glibc 2.35 or later, where kernel and C library agree on it at
 * run time (under valgrind, say, they do not). Elsewhere no word ever has a home.
 */
#ifndef KP__BASE_HOME_H
#define KP__BASE_HOME_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#if !defined KP__SEQUENCES && defined __linux__ && defined __LP64__ && \
    (defined __x86_64__ || defined __AARCH64EL__) && defined __GNUC__ && defined _GNU_SOURCE && \
    defined __has_include
#if __has_include(<sys/rseq.h>)
#define KP__SEQUENCES 1
#endif
#endif
#ifndef KP__SEQUENCES
#define KP__SEQUENCES 0
#endif

enum { KP__HOMES = 1024 };              /* processors that may be one: 0 to 1023 */
#define KP__NOBODYS UINT16_C(0xf000)    /* no processor's, nor where the kernel knows of none */

typedef _Atomic uint16_t kp__home;

/* May words have homes, in this process? To be asked before any gets one. Threads: any. */
bool kp__sequences_begin(void);

/* The processor that this thread runs on, until it is moved; or KP__NOBODYS. */
uint16_t kp__home_here(void);

/* When this returns, every sequence of before has come to its end or begins again, and sees all
 * that the caller did before. A system call, that interrupts the process's other threads. */
void kp__sequences_end(void);

#if defined KP__SEQUENCES_PLAYED        /* by the explorer */
bool kp__swing_at_home(const kp__home *home, _Atomic uint64_t *word, uint64_t expected,
                       uint64_t to);
#elif KP__SEQUENCES
#include <sys/rseq.h>

#if defined __has_feature
#if __has_feature(thread_sanitizer)
#define KP__SEES_NO_SEQUENCES 1
#endif
#endif
#if defined __SANITIZE_THREAD__
#define KP__SEES_NO_SEQUENCES 1
#endif
#if defined KP__SEES_NO_SEQUENCES       /* ThreadSanitizer is told what the sequence does */
void __tsan_acquire(void *word);
void __tsan_release(void *word);
#define KP__TOLD_ACQUIRE(word) __tsan_acquire((void *)(word))
#define KP__TOLD_RELEASE(word) __tsan_release((void *)(word))
#else
#define KP__TOLD_ACQUIRE(word) ((void)0)
#define KP__TOLD_RELEASE(word) ((void)0)
#endif

/* True: this thread is at home, and the word was `expected` and is `to` now. First the home is
 * loaded, then the word, both as by an acquire, and the store is one of a release: so what others
 * did before is seen, and what the caller did will be. `expected` is a lease's own, or the caller
 * loaded it by an acquire: so who read a marked word finds the home that was named before it. */
static inline bool kp__swing_at_home(const kp__home *home, _Atomic uint64_t *word,
                                     uint64_t expected, uint64_t to);

#if defined __x86_64__
#include "base/home_x86_64.h"
#else
#include "base/home_aarch64.h"
#endif
#else
static inline bool kp__swing_at_home(const kp__home *home, _Atomic uint64_t *word,
                                     uint64_t expected, uint64_t to)
{
    (void)home, (void)word, (void)expected, (void)to;
    return false;
}
#endif

#endif
