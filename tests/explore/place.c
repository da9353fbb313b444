/* SPDX-License-Identifier: MIT
 *
 * Addresses that several threads may access, and the histories of atomics.
 *
 * An access is a point only at a shared place: one that two threads access and at least one of them
 * writes. The search learns which those are: a place counts as private until an execution shows
 * otherwise; from then on it is shared, and the search begins again. When a search ends, there was
 * no execution in which threads met at a private place, so leaving those points out has hidden
 * nothing.
 */
#include "engine.h"

#include <string.h>

static struct ex_place table[EX_PLACES];
static struct ex_history histories[EX_ATOMICS];
static int places, used;

static void begin_run(struct ex_place *p)
{
    p->run = ex.run;
    p->readers = p->writers = 0;
    p->last = p->holder = -1;
    p->history = NULL;
    memset(p->causes, 0, sizeof p->causes);
    memset(&p->view, 0, sizeof p->view);
}

struct ex_place *ex_place(void *address)
{
    uintptr_t key = (uintptr_t)address;
    uint64_t at = (uint64_t)key * UINT64_C(0x9e3779b97f4a7c15) >> 40;

    for (;; at++) {
        struct ex_place *p = &table[at & (EX_PLACES - 1)];
        if (p->address == 0) {
            if (++places > EX_PLACES * 3 / 4) ex_fail("the explorer knows too many places");
            p->address = key;
        }
        if (p->address != key) continue;
        if (p->run != ex.run) begin_run(p);
        return p;
    }
}

void ex_places_clear(void)
{
    memset(table, 0, sizeof table);
    places = 0;
}

uintptr_t ex_shared_at(int i)
{
    return table[i].shared ? table[i].address : 0;
}

void ex_places_begin(void)
{
    used = 0;
}

void ex_always(struct ex_place *place)
{
    if (place->shared || ex.mode > EX_BOUND) return;
    place->shared = true;
    ex.outcome = EX_RESTART;
    fiber_switch(&ex.thread[ex.cur].fiber, &ex.main);
}

bool ex_meet(struct ex_place *place, enum ex_kind kind)
{
    uint8_t me = (uint8_t)(1u << ex.cur);
    bool writes = kind != EX_LOAD;

    if (writes) place->writers |= me;
    else place->readers |= me;
    if (place->shared) return true;
    if ((place->writers & (uint8_t)~me) || (writes && (place->readers & (uint8_t)~me))) {
        ex_always(place);
    }
    return place->shared || ex.every_point;
}

uint64_t ex_raw_read(const void *p, unsigned size)
{
    switch (size) {
    case 1: return *(const volatile uint8_t *)p;
    case 2: return *(const volatile uint16_t *)p;
    case 4: return *(const volatile uint32_t *)p;
    default: return *(const volatile uint64_t *)p;
    }
}

void ex_raw_write(void *p, unsigned size, uint64_t value)
{
    switch (size) {
    case 1: *(volatile uint8_t *)p = (uint8_t)value; break;
    case 2: *(volatile uint16_t *)p = (uint16_t)value; break;
    case 4: *(volatile uint32_t *)p = (uint32_t)value; break;
    default: *(volatile uint64_t *)p = value; break;
    }
}

/* The history begins with the value from before the threads ran, which all of them have seen. */
static void begin_history(struct ex_history *h, const struct ex_place *place, unsigned size)
{
    h->number = used++;
    h->size = (uint8_t)size;
    h->stores = 1;
    h->last_sequential = 0;
    h->spoilt = false;
    h->store[0] = (struct ex_store){
        .value = ex_raw_read((const void *)place->address, size), .sequential = true
    };
}

/* The memory was written outside of the history: no thread may read older stores any more. */
static void renew(struct ex_history *h, const struct ex_place *place)
{
    struct ex_store *s = &h->store[h->stores];

    if (h->stores >= EX_STORES) ex_fail("livelock: too many stores to one atomic");
    memset(s, 0, sizeof *s);
    s->value = ex_raw_read((const void *)place->address, h->size);
    s->sequential = true;
    for (int t = 0; t < ex.threads; t++) ex.thread[t].view.seen[h->number] = (uint8_t)h->stores;
    h->last_sequential = h->stores++;
    h->spoilt = false;
}

/* Written while all threads are stopped: all of them will see this value, and no older one. */
void ex_wrote_alone(void *address)
{
    struct ex_place *place = used ? ex_place(address) : NULL;

    if (place && place->history) place->history->spoilt = true;
}

struct ex_history *ex_history(struct ex_place *place, unsigned size)
{
    struct ex_history *h = place->history;

    if (!h) {
        if (used >= EX_ATOMICS) ex_fail("the explorer knows too many atomics");
        h = place->history = &histories[used];
        begin_history(h, place, size);
    }
    if (h->spoilt) renew(h, place);
    if (!ex.weak) h->store[h->stores - 1].value = ex_raw_read((void *)place->address, size);
    return h;
}
