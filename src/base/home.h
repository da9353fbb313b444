/* SPDX-License-Identifier: MIT
 *
 * Swings without an atomic operation. A word may have a home, which is a processor. It is then
 * swung only there, and only by a restartable sequence (rseq): compare, and store. If a thread is
 * interrupted within its sequence, by another thread, a signal or a move to another processor, the
 * kernel makes it begin the sequence again. So at home a sequence is one indivisible step, and
 * elsewhere nobody writes the word.
 *
 * A home is taken away in this order: set it to KP__NO_HOME; call kp__sequences_end; from then on
 * only the caller changes the word, until it lets others at it again. Homes are given and taken
 * under a lock.
 *
 * Available on Linux, on x86-64 and aarch64, with glibc 2.35 or later, if kernel and C library both
 * support it at run time (under valgrind, for one, they do not). Elsewhere no word ever has a home.
 */
#ifndef KP__BASE_HOME_H
#define KP__BASE_HOME_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/world.h"

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

enum { KP__HOMES = 1024 };              /* processors 0 to 1023 may be homes */
#define KP__NO_HOME UINT16_C(0xf000)    /* no processor; nor the low half of rseq's -1, -2 */

typedef _Atomic uint16_t kp__home;

/* May words have homes in this process? To be called before any word gets one. Threads: any. */
bool kp__sequences_begin(void);

/* The processor that this thread runs on, unless it has been moved since; or KP__NO_HOME. */
uint16_t kp__home_here(void);

/* When this returns, every sequence that was under way has ended, or begins again and then sees
 * all that the caller did before this call. A system call that interrupts the process's other
 * threads. */
void kp__sequences_end(void);

#if defined KP__SEQUENCES_PLAYED        /* by the explorer */
bool kp__swing_at_home(const kp__home *home, _Atomic uint64_t *word, uint64_t expected,
                       uint64_t to);
#elif KP__SEQUENCES
#include <sys/rseq.h>

/* __rseq_offset, from before main on: another library's variable takes two loads. */
extern KP__INSIDE ptrdiff_t kp__rseq_offset;

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

/* True: this thread runs on the word's home, and the word was `expected` and is `to` now. The home
 * is loaded first, then the word, both with acquire; the store is a release. So the caller sees
 * what was done before by whoever wrote the word, and whoever reads it next sees what the caller
 * did. `expected` is from a lease, or was loaded with acquire by the caller: so a caller that read
 * a marked word finds the home that was stored before the mark. */
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
