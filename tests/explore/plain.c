/* SPDX-License-Identifier: MIT
 *
 * Plain memory: finds data races by vector clocks, and accesses to memory that must not be touched.
 * Checked are the threads' stacks, all that the pool allocates, the library's own variables, and
 * what is passed to ex_use. Four bytes share a cell, which records which of them were accessed.
 * Where its bytes are accessed one by one it remembers only the last access; so it may miss a race
 * there, but never reports one that does not exist. A plain access that races with an atomic one is
 * found if the atomic one wrote.
 */
#include "engine.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* The size of one thread's arena. The arenas and stacks of all threads are one piece of memory,
 * always at the same address, so that a replay sees the same addresses. */
enum { ARENA = 1 << 21, LASTING = 1 << 16, GRAIN = 4, POISON_GRAIN = 16 };

#define ROOM ((size_t)(EX_THREADS + 1) * (EX_STACK + ARENA) + LASTING)
#define FIXED_AT ((void *)(sizeof(void *) > 4 ? (uintptr_t)0x10000000000 : (uintptr_t)0x60000000))

struct cell {
    uint32_t run, pc; /* pc: of the last write */
    uint16_t write;
    uint8_t writer;
    bool atomic; /* the last write was */
    uint16_t reads[EX_THREADS];
    uint8_t write_bytes, read_bytes[EX_THREADS];
};

struct region {
    char *base;
    size_t size;
    struct cell *cells;
};

static struct region room, library;
static uint8_t *poison;
static size_t lasting;

/* The library's variables (build.sh puts them there). */
extern char __start_kp_bss[] __attribute__((weak)), __stop_kp_bss[] __attribute__((weak));

static void *map(void *at, size_t size)
{
    void *p = mmap(at, size, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (at ? MAP_FIXED_NOREPLACE : 0),
                   -1, 0);

    if (p == MAP_FAILED || (at && p != at)) abort();
    return p;
}

static void watch(struct region *r, char *base, size_t size)
{
    r->base = base;
    r->size = size;
    r->cells = map(NULL, (size / GRAIN + 1) * sizeof *r->cells);
}

void ex_memory_init(void)
{
    watch(&room, map(FIXED_AT, ROOM), ROOM);
    watch(&library, __start_kp_bss, (size_t)(__stop_kp_bss - __start_kp_bss));
    poison = map(NULL, ROOM / POISON_GRAIN + 1);
    for (int t = 0; t <= EX_THREADS; t++) {
        size_t size;
        void *arena = ex_arena_of(t, &size);
        ex_poison(arena, size, true);
    }
}

char *ex_stack_of(int t)
{
    return room.base + (size_t)t * EX_STACK;
}

void *ex_arena_of(int t, size_t *size)
{
    *size = ARENA;
    return room.base + (size_t)(EX_THREADS + 1) * EX_STACK + (size_t)t * ARENA;
}

void *ex_room(size_t size)
{
    char *p = room.base + ROOM - LASTING + lasting;

    lasting += (size + 63) & ~(size_t)63;
    if (lasting > LASTING) abort();
    return p;
}

void *ex_lasting(size_t *size)
{
    *size = lasting;
    return room.base + ROOM - LASTING;
}

void ex_lasting_cut(size_t size)
{
    lasting = size;
}

uint8_t *ex_poison_of(const void *p)
{
    return poison + (size_t)((const char *)p - room.base) / POISON_GRAIN;
}

/* ---- poison ---------------------------------------------------------------------------------- */

void ex_poison(const void *p, size_t size, bool poisoned)
{
    size_t from = (size_t)((const char *)p - room.base) / POISON_GRAIN;

    memset(poison + from, poisoned, (size + POISON_GRAIN - 1) / POISON_GRAIN);
}

/* ---- races ----------------------------------------------------------------------------------- */

static const char *access_name(bool write)
{
    return write ? "writes" : "reads";
}

static _Noreturn void race(const struct cell *c, int other, bool write, bool other_wrote, void *pc)
{
    if (ex.tracing) ex_traced(write ? EX_STORE : EX_LOAD, NULL, 0, pc);
    ex_fail("data race: T%d %s (pc %p) what T%d %s (pc %#x), and nothing orders the two", ex.cur,
            access_name(write), pc, other, other_wrote ? "wrote" : "read",
            other_wrote ? c->pc : 0u);
}

static void look(struct cell *c, unsigned bytes, bool write, void *pc)
{
    const uint16_t *before = ex.thread[ex.cur].view.clock;

    if (c->run != ex.run) *c = (struct cell){ .run = ex.run };
    if ((c->write_bytes & bytes) && c->write > before[c->writer] && c->writer != ex.cur)
        race(c, c->writer, write, true, pc);
    if (!write) {
        if (c->reads[ex.cur] != before[ex.cur]) c->read_bytes[ex.cur] = 0;
        c->reads[ex.cur] = before[ex.cur];
        c->read_bytes[ex.cur] |= (uint8_t)bytes;
        return;
    }
    for (int t = 0; t < ex.threads; t++)
        if ((c->read_bytes[t] & bytes) && c->reads[t] > before[t] && t != ex.cur)
            race(c, t, true, false, pc);
    if (c->write != before[ex.cur] || c->writer != ex.cur) c->write_bytes = 0;
    c->write = before[ex.cur];
    c->writer = (uint8_t)ex.cur;
    c->write_bytes |= (uint8_t)bytes;
    c->pc = (uint32_t)(uintptr_t)pc;
}

/* The running thread accessed it before, and released nothing since. Then nothing needs checking
 * again: an access by another thread in between was checked against ours. */
static inline bool known(const struct cell *c, unsigned bytes, bool write)
{
    uint16_t now = ex.thread[ex.cur].view.clock[ex.cur];

    if (c->run != ex.run) return false;
    if (write)
        return c->write == now && c->writer == ex.cur && !c->atomic && !(bytes & ~c->write_bytes);
    return c->reads[ex.cur] == now && !(bytes & ~(unsigned)c->read_bytes[ex.cur]);
}

/* A mask of the i-th cell's bytes that are among the `size` bytes from `offset`. */
static inline unsigned bytes_in(size_t i, size_t offset, size_t size)
{
    size_t from = i * GRAIN < offset ? offset % GRAIN : 0;
    size_t to = offset + size - i * GRAIN < GRAIN ? offset + size - i * GRAIN : GRAIN;

    return (1u << to) - (1u << from);
}

/* The memory of an atomic was written plainly: its history ends. */
static void renewed(uintptr_t at)
{
    struct ex_place *place = ex_place((void *)at);

    if (place->history) place->history->spoilt = true;
}

bool ex_is_looked_after(const void *p)
{
    return (size_t)((const char *)p - room.base) < ROOM ||
           (size_t)((const char *)p - library.base) < library.size;
}

void ex_plain(const void *p, size_t size, bool write, void *pc)
{
    size_t offset = (size_t)((const char *)p - room.base);
    struct region *r = &room;

    if (offset >= ROOM) {
        r = &library;
        offset = (size_t)((const char *)p - r->base);
        if (offset >= r->size) return;
    } else if (poison[offset / POISON_GRAIN] || poison[(offset + size - 1) / POISON_GRAIN]) {
        ex_fail("T%d %s memory that is not, or no longer, allocated: %p (pc %p)", ex.cur,
                access_name(write), p, pc);
    }
    if (!ex.live) return;
    for (size_t i = offset / GRAIN; i <= (offset + size - 1) / GRAIN; i++) {
        struct cell *c = &r->cells[i];
        unsigned bytes = bytes_in(i, offset, size);
        if (known(c, bytes, write)) continue;
        bool was_atomic = c->run == ex.run && c->atomic;
        look(c, bytes, write, pc);
        if (write && was_atomic) {
            c->atomic = false;
            renewed((uintptr_t)r->base + i * GRAIN);
        }
    }
}

/* The same for an atomic access, which races only with plain ones. */
void ex_atomic_touch(const void *p, bool write, void *pc)
{
    size_t offset = (size_t)((const char *)p - room.base);
    struct region *r = &room;

    if (offset >= ROOM) {
        r = &library;
        offset = (size_t)((const char *)p - r->base);
        if (offset >= r->size) return;
    } else if (poison[offset / POISON_GRAIN]) {
        ex_fail("T%d %s an atomic in memory that is not, or no longer, allocated: %p (pc %p)",
                ex.cur, access_name(write), p, pc);
    }
    struct cell *c = &r->cells[offset / GRAIN];
    if (!ex.live) return;
    if (c->run != ex.run) *c = (struct cell){ .run = ex.run };
    if (c->atomic && !write) return;
    unsigned bytes = bytes_in(offset / GRAIN, offset, GRAIN - offset % GRAIN);
    if (c->atomic) {
        c->write_bytes = (uint8_t)bytes;
        c->write = ex.thread[ex.cur].view.clock[ex.cur];
        c->writer = (uint8_t)ex.cur;
        return;
    }
    if (write) {
        look(c, bytes, true, pc);
        c->atomic = true;
    } else {
        struct cell before = *c;
        look(c, bytes, false, pc);
        *c = before;
    }
}
