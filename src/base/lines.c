/* SPDX-License-Identifier: MIT
 *
 * The lines of lines.h. Number 0 is left out, so that it can mean none.
 */
#include "lines.h"

#include "check.h"

#define CHUNK ((size_t)KP__LINES_EACH * KP__LINE)
#define NEXT(line) ((struct kp__line_end *)(void *)((char *)(line) + KP__LINE) - 1)->next

#include <sys/mman.h>
static uint32_t make(struct kp__lines *lines)
{
    uint32_t number = atomic_load_explicit(&lines->made, memory_order_relaxed);
    if (number == 0) {
        number = 1;
        char *p = mmap(NULL, (size_t)4 << 30, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        p += (0 - (uintptr_t)p) % (2u << 20);
        atomic_store(&lines->base, p);
    }
    uint64_t room = atomic_load(&lines->room);
    if (number >= room) {
        uint64_t more = room ? room : 4096;
        char *base = atomic_load(&lines->base);
        if (mprotect(base + room * 64, more * 64, PROT_READ | PROT_WRITE)) return 0;
        if (more * 64 >= (8u << 20)) madvise(base + room * 64, more * 64, MADV_HUGEPAGE);
        atomic_store(&lines->room, room + more);
    }
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
