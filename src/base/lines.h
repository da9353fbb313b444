/* SPDX-License-Identifier: MIT
 *
 * Cache lines that stay: items of 64 bytes, named by a number from 1 on, in chunks that never move
 * and are never given back while the process lives. So whoever has a number may look, without a
 * lock, at any time; the line may be another's by then, but is always a line of the same kind. What
 * it finds there has to tell.
 */
#ifndef KP__BASE_LINES_H
#define KP__BASE_LINES_H

#include "lock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef KP__LINES_EACH
#define KP__LINES_EACH 4096             /* lines of a chunk, a power of two */
#endif
enum { KP__LINE = 64, KP__LINE_CHUNKS = 16 * KP__LINES_EACH }; /* at most */

struct kp__line_end {                   /* the last member of every item; the free list's */
    uint32_t next;
};

struct kp__lines {
    /* Both are only addresses at first: the system finds memory for what is used. */
    _Atomic(char *) chunk[KP__LINE_CHUNKS]; /* zeros from the start; NULL: not made, or `first` */
    _Alignas(64) char first[KP__LINES_EACH * KP__LINE]; /* chunk 0: there without a look */
    _Atomic uint32_t made; /* numbers below are lines; 0 is none */
    uint32_t floor;        /* up to this they are of a process before (fork) */

    _Alignas(64) struct kp__lock lock;      /* of those who take and give; apart from what is read
                                               at every hit */
    uint32_t free;
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

/* The line with this number, which there is. */
static inline void *kp__line(struct kp__lines *lines, uint32_t number)
{
    if (__builtin_expect(number < KP__LINES_EACH, 1))
        return lines->first + (size_t)number * KP__LINE;
    /* acquire: pairs with the release in kp__lines_take */
    return atomic_load_explicit(&lines->chunk[number / KP__LINES_EACH], memory_order_acquire) +
           (size_t)(number % KP__LINES_EACH) * KP__LINE;
}

/* A line to look at, by any number: as long as its chunk is there, also one that was not made yet,
 * and 0. NULL: there is no such chunk. */
static inline void *kp__line_seen(struct kp__lines *lines, uint64_t number)
{
    if (__builtin_expect(number < KP__LINES_EACH, 1))
        return lines->first + (size_t)number * KP__LINE;
    if (number >= (uint64_t)KP__LINES_EACH * KP__LINE_CHUNKS) return NULL;
    /* acquire: as above */
    char *chunk = atomic_load_explicit(&lines->chunk[number / KP__LINES_EACH],
                                       memory_order_acquire);
    return chunk ? chunk + (size_t)(number % KP__LINES_EACH) * KP__LINE : NULL;
}

/* The line with this number; NULL: there is none, or it is of a process before. */
static inline void *kp__line_at(struct kp__lines *lines, uint64_t number)
{
    return number > lines->floor && number < kp__lines_made(lines)
               ? kp__line(lines, (uint32_t)number)
               : NULL;
}

#endif
