/* SPDX-License-Identifier: MIT
 *
 * The lines of lines.h. Number 0 is left out, so that it can mean none.
 */
#include "base/lines.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/check.h"

#define NEXT(line) ((struct kp__line_end *)(void *)((char *)(line) + KP__LINE) - 1)->next

/* ---- addresses, and memory behind them ------------------------------------------------------- */

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

#ifdef MAP_ANONYMOUS
enum { LARGE_PAGE = 2 << 20 };

/* Addresses for as many lines as there may ever be; if a limit on addresses or on locked memory
 * refuses that, for half as many, and so on. There is no memory behind them yet, nor is any
 * committed. */
static bool reserve(struct kp__lines *lines)
{
    for (uint32_t most = KP__LINES_MOST; most > KP__LINES_FIRST; most /= 2) {
        char *range = mmap(NULL, (size_t)most * KP__LINE + LARGE_PAGE, PROT_NONE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (range == MAP_FAILED) continue;
        lines->most = most;
        /* relaxed: the release of `room` in make_room publishes it */
        atomic_store_explicit(&lines->base, range + (0 - (uintptr_t)range) % LARGE_PAGE,
                              memory_order_relaxed);
        return true;
    }
    return false;
}

static bool provide(char *memory, size_t size)
{
    if (mprotect(memory, size, PROT_READ | PROT_WRITE) != 0) return false;
    kp__dense(&kp__life, memory, size);
    return true;
}

/* Memory for as many more lines as there are already, so that it may come in large pages; a page is
 * touched only when its first line is needed. With the lock. */
static bool make_room(struct kp__lines *lines)
{
    /* relaxed, both: written under the lock only */
    size_t room = atomic_load_explicit(&lines->room, memory_order_relaxed);

    if (lines->most == 0 && !reserve(lines)) return false;
    if (room == 0) room = KP__LINES_FIRST;
    char *base = atomic_load_explicit(&lines->base, memory_order_relaxed);
    if (!provide(base + room * KP__LINE, room * KP__LINE)) return false;
    /* release: pairs with the acquire in kp__line_seen, which then finds `base`, and zeros */
    atomic_store_explicit(&lines->room, 2 * room, memory_order_release);
    return true;
}
#else /* only the first lines, which need no range */
static bool make_room(struct kp__lines *lines)
{
    (void)lines;
    return false;
}
#endif

/* ---- lines ----------------------------------------------------------------------------------- */

/* A number that was never used. With the lock. */
static uint32_t make(struct kp__lines *lines)
{
    /* relaxed, both: as above */
    uint32_t number = atomic_load_explicit(&lines->made, memory_order_relaxed);
    if (number == 0) number = 1;
    bool is_there = number < KP__LINES_FIRST ||
                    number < atomic_load_explicit(&lines->room, memory_order_relaxed);
    int saved = errno;

    if (!is_there && (number == lines->most || !make_room(lines))) number = 0;
    errno = saved;
    /* release: pairs with the acquire in kp__lines_made; the line has its memory by now */
    if (number) atomic_store_explicit(&lines->made, number + 1, memory_order_release);
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
