/* SPDX-License-Identifier: MIT
 *
 * The lines of lines.h. Number 0 is left out, so that it can mean none.
 */
#include "lines.h"

#include "check.h"

#define NEXT(line) ((struct kp__line_end *)(void *)((char *)(line) + KP__LINE) - 1)->next

static uint32_t chunk_of(uint32_t number)
{
    uint32_t k = 0;

    while (k < KP__LINE_CHUNKS && number >= (uint32_t)KP__LINES_FIRST << (k + 1)) k++;
    return k;
}

/* A number that was never used. With the lock. */
static uint32_t make(struct kp__lines *lines)
{
    /* relaxed, here and below: written under the lock only */
    uint32_t number = atomic_load_explicit(&lines->made, memory_order_relaxed);
    if (number == 0) number = 1;
    uint32_t k = chunk_of(number);

    if (k == KP__LINE_CHUNKS) return 0;
    if (number >= KP__LINES_FIRST) {
        size_t bytes = ((size_t)KP__LINES_FIRST << k) * KP__LINE;
        char *chunk = atomic_load_explicit(&lines->chunk[k], memory_order_relaxed);
        if (!chunk && !(chunk = kp__life.alloc(bytes, KP__LINE, kp__life.ctx))) return 0;
        /* release: pairs with kp__line */
        atomic_store_explicit(&lines->chunk[k], chunk, memory_order_release);
        /* one by one: memory that is never used is never touched */
        memset(kp__line(lines, number), 0, KP__LINE);
    }
    /* release: the same; the line is zero */
    atomic_store_explicit(&lines->made, number + 1, memory_order_release);
    return number;
}

uint32_t kp__lines_take(struct kp__lines *lines)
{
    kp__lock_take(&lines->lock, &kp__life);
    uint32_t number = lines->free;
    if (number) lines->free = NEXT(kp__line(lines, number));
    else number = make(lines);
    kp__lock_give(&lines->lock, &kp__life);
    return number;
}

void kp__lines_give(struct kp__lines *lines, uint32_t number)
{
    KP__DCHECK(kp__line_at(lines, number) != NULL);
    kp__lock_take(&lines->lock, &kp__life);
    NEXT(kp__line(lines, number)) = lines->free;
    lines->free = number;
    kp__lock_give(&lines->lock, &kp__life);
}

void kp__lines_in_child(struct kp__lines *lines)
{
    atomic_store(&lines->lock.word, 0);
    lines->free = 0;
    uint32_t made = atomic_load(&lines->made);
    lines->floor = made ? made - 1 : 0;
}
