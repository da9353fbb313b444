/* SPDX-License-Identifier: MIT
 *
 * The lines of lines.h. Number 0 is left out, so that it can mean none.
 */
#include "lines.h"

#include <errno.h>

#include "check.h"

#if defined __has_include && !defined KP__LINES_OF_HEAP
#if __has_include(<sys/mman.h>)
#include <sys/mman.h>
#endif
#endif

_Alignas(KP__LINE) char kp__no_line[KP__LINE];

#define NEXT(line) ((struct kp__line_end *)(void *)((char *)(line) + KP__LINE) - 1)->next

/* ---- addresses, and memory behind them ------------------------------------------------------- */

#if defined MAP_ANONYMOUS && defined MAP_NORESERVE
enum { LARGE_PAGE = 2 << 20 };

/* So many addresses as there may be lines, or half of that, and so on, where a limit is set to them
 * (ulimit -v, or memory that is locked). There is no memory behind them yet, nor is any promised. */
static bool reserve(struct kp__lines *lines)
{
    for (uint32_t most = KP__LINES_MOST; most >= KP__LINES_FIRST; most /= 2) {
        char *range = mmap(NULL, (size_t)most * KP__LINE + LARGE_PAGE, PROT_NONE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (range == MAP_FAILED) continue;
        lines->most = most;
        /* relaxed: the release of `room` brings it */
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
#else
static bool reserve(struct kp__lines *lines)
{
    char *range = kp__alloc(&kp__life, (size_t)KP__LINES_FIRST * KP__LINE, KP__LINE);

    if (!range) return false;
    lines->most = KP__LINES_FIRST;
    atomic_store_explicit(&lines->base, range, memory_order_relaxed); /* as above */
    return true;
}

static bool provide(char *memory, size_t size)
{
    return memory && size;
}
#endif

/* Memory for as many lines as there are already, so that it may come in large pages; each is
 * touched when its first line is needed. With the lock. */
static bool make_room(struct kp__lines *lines)
{
    /* relaxed, both: written under the lock only */
    size_t room = atomic_load_explicit(&lines->room, memory_order_relaxed);
    size_t more = room ? room : KP__LINES_FIRST;

    if (lines->most == 0 && !reserve(lines)) return false;
    char *base = atomic_load_explicit(&lines->base, memory_order_relaxed);
    if (room == lines->most || !provide(base + room * KP__LINE, more * KP__LINE)) return false;
    /* release: pairs with kp__line_seen; where they are, and that they are zero */
    atomic_store_explicit(&lines->room, room + more, memory_order_release);
    return true;
}

/* ---- lines ----------------------------------------------------------------------------------- */

/* A number that was never used. With the lock. */
static uint32_t make(struct kp__lines *lines)
{
    /* relaxed, both: as above */
    uint32_t number = atomic_load_explicit(&lines->made, memory_order_relaxed);
    if (number == 0) number = 1;
    int saved = errno;

    if (number >= atomic_load_explicit(&lines->room, memory_order_relaxed) && !make_room(lines))
        number = 0;
    errno = saved;
    /* release: pairs with kp__lines_made */
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
