/* SPDX-License-Identifier: MIT
 *
 * Cache lines that stay: items of 64 bytes, numbered from 1 on, which never move, and whose memory
 * is not freed while the process lives. So a thread that has a number may read that line at any
 * time, without a lock. The line may belong to somebody else by then, but it is always a line of
 * the same kind; what the thread reads there has to tell whose it is.
 *
 * The first lines are part of the library's variables, the others lie side by side in one range of
 * addresses: so where a line lies depends on its number alone.
 */
#ifndef KP__BASE_LINES_H
#define KP__BASE_LINES_H

#include "base/lock.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#ifndef KP__LINES_FIRST
#define KP__LINES_FIRST 4096            /* a power of two */
#endif
enum {
    KP__LINE = 64,
    KP__LINES_MOST = sizeof(void *) > 4 ? 1 << 24 : 1 << 18 /* 1 GiB of addresses, or 16 MiB */
};

struct kp__line_end {                   /* the last member of every item; for the free list */
    uint32_t next;
};

struct kp__lines {
    _Alignas(64) char first[KP__LINES_FIRST * KP__LINE]; /* zero at first; takes no memory before
                                                            it is used */
    _Atomic(char *) base;  /* where number 0 would be in the range; constant once `room` is set */
    _Atomic size_t room;   /* the range has memory for the numbers below this, made or not; or 0 */
    _Atomic uint32_t made; /* numbers below this are lines, except 0 */
    uint32_t floor;        /* numbers up to this were made before a fork, by the parent */

    _Alignas(64) struct kp__lock lock;      /* for taking and giving; on another cache line than
                                               what every hit reads */
    uint32_t free;
    uint32_t most; /* the range has addresses for the numbers below this; 0: there is none yet */
};

/* The number of a line, whose contents are as it was given back, or zero if it is new; 0: out of
 * memory. Threads: any. */
uint32_t kp__lines_take(struct kp__lines *lines);
void kp__lines_give(struct kp__lines *lines, uint32_t number);

/* In a child of fork: the thread that held the lock does not exist here, and lines made before the
 * fork no longer count. */
void kp__lines_in_child(struct kp__lines *lines);

/* All numbers below this one are lines, except 0. */
static inline uint32_t kp__lines_made(const struct kp__lines *lines)
{
    /* acquire: pairs with the release in lines.c, make */
    return atomic_load_explicit(&lines->made, memory_order_acquire);
}

/* The line with this number, which must have been made, or be 0. */
static inline void *kp__line(struct kp__lines *lines, uint32_t number)
{
    if (KP__MOSTLY(number < KP__LINES_FIRST))
        return lines->first + (size_t)number * KP__LINE;
    /* relaxed: written before the line was made; whoever has its number got it by an acquire
     * (kp__lines_made, core/lane.h), from kp__line_seen, or under a lock */
    return atomic_load_explicit(&lines->base, memory_order_relaxed) + (size_t)number * KP__LINE;
}

/* A line to read as a guess, by any number, even 0 or one that was not made yet. NULL: there is no
 * memory for this number. */
static inline void *kp__line_seen(struct kp__lines *lines, uint64_t number)
{
    if (KP__MOSTLY(number < KP__LINES_FIRST))
        return lines->first + (size_t)number * KP__LINE;
    /* acquire: pairs with the release in lines.c, make_room */
    if (number >= atomic_load_explicit(&lines->room, memory_order_acquire)) return NULL;
    /* relaxed: written before `room` was */
    char *base = atomic_load_explicit(&lines->base, memory_order_relaxed);
    KP__KNOWN(base != NULL);
    return base + (size_t)number * KP__LINE;
}

/* The line with this number; NULL: there is none, or it was made before a fork. */
static inline void *kp__line_at(struct kp__lines *lines, uint64_t number)
{
    return number > lines->floor && number < kp__lines_made(lines)
               ? kp__line(lines, (uint32_t)number)
               : NULL;
}

#endif
