/* SPDX-License-Identifier: MIT
 *
 * Cache lines that stay: items of 64 bytes, named by a number from 1 on, which never move and are
 * never given back while the process lives. So whoever has a number may look, without a lock, at
 * any time; the line may be another's by then, but is always a line of the same kind. What it finds
 * there has to tell.
 *
 * The first are part of the library's variables, the others lie side by side in a range of
 * addresses: where a line is, is a matter of its number alone.
 */
#ifndef KP__BASE_LINES_H
#define KP__BASE_LINES_H

#include "lock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef KP__LINES_FIRST
#define KP__LINES_FIRST 4096            /* a power of two */
#endif
enum {
    KP__LINE = 64,
    KP__LINES_MOST = sizeof(void *) > 4 ? 1 << 24 : 1 << 18 /* 1 GiB of addresses, or 16 MiB */
};

struct kp__line_end {                   /* the last member of every item; the free list's */
    uint32_t next;
};

struct kp__lines {
    _Alignas(64) char first[KP__LINES_FIRST * KP__LINE]; /* zeros from the start; no memory before
                                                            it is used */
    _Atomic(char *) base;  /* where number 0 would be in the range; stays, once there is room */
    _Atomic size_t room;   /* the range has memory for the numbers below this, made or not; or 0 */
    _Atomic uint32_t made; /* numbers below are lines; 0 is none */
    uint32_t floor;        /* up to this they are of a process before (fork) */

    _Alignas(64) struct kp__lock lock;      /* of those who take and give; apart from what is read
                                               at every hit */
    uint32_t free;
    uint32_t most; /* the range has addresses for the numbers below this; 0: there is none yet */
};

/* The number of a line, which is as it was given back, or zero; 0: out of memory. Threads: any. */
uint32_t kp__lines_take(struct kp__lines *lines);
void kp__lines_give(struct kp__lines *lines, uint32_t number);

/* In a child of fork: who held the lock is not there, and no line of before is one. */
void kp__lines_in_child(struct kp__lines *lines);

/* All numbers below this one are lines, but 0. */
static inline uint32_t kp__lines_made(const struct kp__lines *lines)
{
    /* acquire: pairs with the release in kp__lines_take */
    return atomic_load_explicit(&lines->made, memory_order_acquire);
}

/* The line with this number, which there is, or 0. */
static inline void *kp__line(struct kp__lines *lines, uint32_t number)
{
    if (__builtin_expect(number < KP__LINES_FIRST, 1))
        return lines->first + (size_t)number * KP__LINE;
    /* relaxed: who has a number has it from whoever took it, after this was written */
    return atomic_load_explicit(&lines->base, memory_order_relaxed) + (size_t)number * KP__LINE;
}

/* A line to look at, by any number: also one that was not made yet, and 0. NULL: there is none. */
static inline void *kp__line_seen(struct kp__lines *lines, uint64_t number)
{
    if (__builtin_expect(number < KP__LINES_FIRST, 1))
        return lines->first + (size_t)number * KP__LINE;
    /* acquire: pairs with the release in make_room */
    if (number >= atomic_load_explicit(&lines->room, memory_order_acquire)) return NULL;
    /* relaxed: as above */
    char *base = atomic_load_explicit(&lines->base, memory_order_relaxed);
    KP__KNOWN(base != NULL);
    return base + (size_t)number * KP__LINE;
}

/* The line with this number; NULL: there is none, or it is of a process before. */
static inline void *kp__line_at(struct kp__lines *lines, uint64_t number)
{
    return number > lines->floor && number < kp__lines_made(lines)
               ? kp__line(lines, (uint32_t)number)
               : NULL;
}

#endif
