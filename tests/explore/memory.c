/* SPDX-License-Identifier: MIT
 *
 * C11 memory by views. Each atomic keeps the history of its stores. A thread's view says, for each
 * atomic, which is the oldest store that the thread may still read, and which releases of other
 * threads happened before. A load with acquire joins the view that the store published. With
 * `weak`, the search decides which store a load reads; without, it reads the newest.
 *
 * A store is always added at the end of the history (so there is no load buffering, and no
 * reordering of stores to one atomic), and a seq_cst load reads nothing older than the newest
 * seq_cst store. That is a little stronger than C11, as RC11 is, too, for programs that access an
 * atomic either always or never with seq_cst.
 */
#include "engine.h"

#include <string.h>

enum { RELAXED, CONSUME, ACQUIRE, RELEASE, ACQ_REL, SEQ_CST };

static bool acquires(int order)
{
    return order == CONSUME || order == ACQUIRE || order >= ACQ_REL;
}

static bool releases(int order)
{
    return order >= RELEASE;
}

void ex_view_join(struct ex_view *into, const struct ex_view *from)
{
    for (int t = 0; t < EX_THREADS; t++)
        into->clock[t] = from->clock[t] > into->clock[t] ? from->clock[t] : into->clock[t];
    for (int a = 0; a < EX_ATOMICS; a++)
        into->seen[a] = from->seen[a] > into->seen[a] ? from->seen[a] : into->seen[a];
}

void ex_release(struct ex_view *into)
{
    struct ex_view *mine = &ex.thread[ex.cur].view;

    *into = *mine;
    mine->clock[ex.cur]++;
}

/* ---- histories ------------------------------------------------------------------------------- */

static void push(struct ex_place *place, uint64_t value, int order, bool rmw)
{
    struct ex_history *h = place->history;
    struct ex_view *mine = &ex.thread[ex.cur].view;
    bool keep = ex.weak;
    struct ex_view before;

    if (keep && h->stores >= EX_STORES) ex_fail("livelock: too many stores to one atomic");
    if (rmw) before = h->store[h->stores - 1].view;
    if (!keep) h->stores = 0;
    struct ex_store *s = &h->store[h->stores];
    s->value = value;
    s->sequential = order == SEQ_CST;
    if (order == SEQ_CST) h->last_sequential = h->stores;
    mine->seen[h->number] = (uint8_t)h->stores++;
    if (releases(order)) ex_release(&s->view);
    else memset(&s->view, 0, sizeof s->view);
    if (rmw) ex_view_join(&s->view, &before); /* it continues the release sequence */
    ex_raw_write((void *)place->address, h->size, value);
}

static uint64_t read_store(struct ex_history *h, int which, int order)
{
    struct ex_view *mine = &ex.thread[ex.cur].view;
    const struct ex_store *s = &h->store[which];

    mine->seen[h->number] = (uint8_t)which;
    if (acquires(order)) ex_view_join(mine, &s->view);
    return s->value;
}

static int oldest_readable(const struct ex_history *h, int order)
{
    int oldest = ex.thread[ex.cur].view.seen[h->number];

    if (!ex.weak) return h->stores - 1;
    return order == SEQ_CST && h->last_sequential > oldest ? h->last_sequential : oldest;
}

uint64_t ex_atomic_load(void *p, unsigned size, int order, void *pc)
{
    if (!ex.live) return ex_raw_read(p, size);
    ex_point(EX_LOAD, p);
    if (ex.plain) ex_atomic_touch(p, false, pc);
    struct ex_place *place = ex_place(p);
    struct ex_history *h = ex_history(place, size);
    int newest = h->stores - 1;
    unsigned older = ex_choose((unsigned)(newest - oldest_readable(h, order)) + 1, 64);
    uint64_t value = read_store(h, newest - (int)older, order);

    if (ex.tracing) ex_traced(EX_LOAD, p, value, pc);
    return value;
}

void ex_atomic_store(void *p, unsigned size, uint64_t value, int order, void *pc)
{
    if (!ex.live) {
        ex_raw_write(p, size, value);
        ex_wrote_alone(p);
        return;
    }
    ex_point(EX_STORE, p);
    if (ex.plain) ex_atomic_touch(p, true, pc);
    struct ex_place *place = ex_place(p);
    (void)ex_history(place, size);
    push(place, value, order, false);
    if (ex.tracing) ex_traced(EX_STORE, p, value, pc);
}

static uint64_t compute(enum ex_rmw what, uint64_t old, uint64_t v)
{
    switch (what) {
    case EX_EXCHANGE: return v;
    case EX_ADD: return old + v;
    case EX_SUB: return old - v;
    case EX_AND: return old & v;
    case EX_OR: return old | v;
    case EX_XOR: return old ^ v;
    default: return ~(old & v);
    }
}

static uint64_t cut(uint64_t value, unsigned size)
{
    return size >= 8 ? value : value & ((UINT64_C(1) << size * 8) - 1);
}

uint64_t ex_atomic_rmw(void *p, unsigned size, enum ex_rmw what, uint64_t value, int order,
                       void *pc)
{
    uint64_t old;

    if (!ex.live) {
        old = ex_raw_read(p, size);
        ex_raw_write(p, size, compute(what, old, value));
        ex_wrote_alone(p);
        return old;
    }
    ex_point(EX_STORE, p);
    if (ex.plain) ex_atomic_touch(p, true, pc);
    struct ex_place *place = ex_place(p);
    struct ex_history *h = ex_history(place, size);
    old = read_store(h, h->stores - 1, order);
    push(place, cut(compute(what, old, value), size), order, true);
    if (ex.tracing) ex_traced(EX_STORE, p, h->store[h->stores - 1].value, pc);
    return old;
}

/* A compare-exchange that fails may read an old store, except one that holds `expected`: with that
 * it would not have failed. */
static int cas_reads(const struct ex_history *h, uint64_t expected)
{
    int stale[EX_STORES], n = 0;

    if (ex.weak)
        for (int i = oldest_readable(h, RELAXED); i < h->stores - 1; i++)
            if (h->store[i].value != expected) stale[n++] = i;
    unsigned pick = ex_choose((unsigned)n + 1, 32);
    return pick == 0 ? h->stores - 1 : stale[n - (int)pick];
}

bool ex_atomic_cas(void *p, unsigned size, uint64_t *expected, uint64_t value, int order,
                   int order_failed, void *pc)
{
    if (!ex.live) {
        uint64_t old = ex_raw_read(p, size);
        bool same = old == *expected;
        if (same) ex_raw_write(p, size, value);
        ex_wrote_alone(p);
        *expected = old;
        return same;
    }
    ex_point(EX_STORE, p);
    if (ex.plain) ex_atomic_touch(p, true, pc);
    struct ex_place *place = ex_place(p);
    struct ex_history *h = ex_history(place, size);
    int which = cas_reads(h, *expected);
    bool same = h->store[which].value == *expected;
    uint64_t old = read_store(h, which, same ? order : order_failed);

    if (same) push(place, value, order, true);
    if (ex.tracing) ex_traced(same ? EX_STORE : EX_LOAD, p, same ? value : old, pc);
    *expected = old;
    return same;
}
