/* SPDX-License-Identifier: MIT
 *
 * The lines of lines.h. Number 0 is left out, so that it can mean none.
 */
#include "lines.h"

#include "check.h"

#define CHUNK ((size_t)KP__LINES_EACH * KP__LINE)
#define NEXT(line) ((struct kp__line_end *)(void *)((char *)(line) + KP__LINE) - 1)->next

/* Chunk k, if there is memory. It comes for as many chunks as there are already, so that it may be
 * of large pages; each is touched when its first line is needed. With the lock. */
static bool make_chunk(struct kp__lines *lines, uint32_t k)
{
    /* relaxed: written under the lock only */
    char *chunk = atomic_load_explicit(&lines->chunk[k - 1], memory_order_relaxed);

    if (k & (k - 1)) chunk += CHUNK;
    else chunk = kp__alloc_raw(&kp__life, k * CHUNK, KP__LINE, k * CHUNK);
    if (!chunk) return false;
    memset(chunk, 0, CHUNK);
    /* release: pairs with kp__line and kp__line_seen; the lines are zero */
    atomic_store_explicit(&lines->chunk[k], chunk, memory_order_release);
    return true;
}

/* A number that was never used. With the lock. */
static uint32_t make(struct kp__lines *lines)
{
    /* relaxed: written under the lock only */
    uint32_t number = atomic_load_explicit(&lines->made, memory_order_relaxed);
    if (number == 0) number = 1;
    uint32_t k = number / KP__LINES_EACH;

    if (k == KP__LINE_CHUNKS) return 0;
    if (k > 0 && number % KP__LINES_EACH == 0 && !make_chunk(lines, k)) return 0;
    /* release: pairs with kp__lines_made */
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
