/* SPDX-License-Identifier: MIT
 *
 * The reduction: source sets with sleep sets, after P. Abdulla, S. Aronis, B. Jonsson, K. Sagonas,
 * "Optimal Dynamic Partial Order Reduction" (POPL 2014), the version called Source-DPOR.
 *
 * When an event e is about to happen, consider each earlier event f that conflicts with it, and is
 * ordered before it by nothing else. f could have come after e: a race. Then, at the point where f
 * was chosen, some thread that can begin the other order must be tried as well.
 *
 * Locks: taking one races with the previous taking, although the giving back lies between the two
 * (without f, that would not happen either). Whether a sleep times out is chosen when it begins, so
 * that the only event that ever disables another is the taking of a lock.
 */
#include "engine.h"

#include <string.h>

#define BIT(kind) (1u << (kind))

/* For each pair of kinds: does the order of two such events at the same place matter? */
static const uint16_t conflicts[EX_KINDS] = {
    [EX_LOAD] = BIT(EX_STORE) | BIT(EX_ADVANCE),
    [EX_STORE] = BIT(EX_LOAD) | BIT(EX_STORE) | BIT(EX_PARK) | BIT(EX_AWAIT) | BIT(EX_ADVANCE),
    [EX_PARK] = BIT(EX_STORE) | BIT(EX_WAKE),
    [EX_WAKE] = BIT(EX_PARK) | BIT(EX_WAKE),
    [EX_TAKE] = BIT(EX_TAKE),
    [EX_UP] = BIT(EX_DOWN),
    [EX_DOWN] = BIT(EX_UP),
    [EX_ADVANCE] = BIT(EX_LOAD) | BIT(EX_STORE),
    [EX_AWAIT] = BIT(EX_STORE),
};

bool ex_conflict(struct ex_op a, struct ex_op b)
{
    return a.place && a.place == b.place && (conflicts[a.kind] & BIT(b.kind));
}

void ex_join(uint16_t *into, const uint16_t *from)
{
    for (int t = 0; t < EX_THREADS; t++)
        if (from[t] > into[t]) into[t] = from[t];
}

/* The threads that can begin, where f was chosen, an order in which the running thread's next event
 * comes before f. Consider that next event (its causes, except f, are in `clock`) and the events
 * after f that do not depend on f: the result is the threads of those with no cause among them. */
static unsigned initials(const struct ex_event *f, int from, const uint16_t *clock)
{
    uint16_t first[EX_THREADS] = { 0 };
    unsigned seen = 0, initial = 0;

    for (int i = from; i <= ex.events; i++) {
        const struct ex_event *e = &ex.event[i];
        bool last = i == ex.events;
        int p = last ? ex.cur : e->thread;
        const uint16_t *causes = last ? clock : e->clock;
        if (!last && e->clock[f->thread] >= f->clock[f->thread]) continue;
        if (seen >> p & 1) continue;
        bool caused = false;
        for (int t = 0; t < ex.threads; t++)
            if ((seen >> t & 1) && causes[t] >= first[t]) caused = true;
        seen |= 1u << p;
        first[p] = (uint16_t)(last ? clock[p] + 1 : e->clock[p]);
        if (!caused) initial |= 1u << p;
    }
    return initial;
}

static void race(int index, const uint16_t *clock)
{
    const struct ex_event *f = &ex.event[index];
    struct ex_node *n = &ex.node[f->node];
    unsigned can = initials(f, index + 1, clock);

    if (can & (n->backtrack | n->sleep)) return;
    if (can & n->enabled & (1u << ex.cur)) n->backtrack |= (uint8_t)(1u << ex.cur);
    else if (can & n->enabled) n->backtrack |= (uint8_t)(1u << __builtin_ctz(can & n->enabled));
    else n->backtrack |= n->enabled;
}

/* These two have only one order: a flag must be set before a thread can go on that awaits it. */
static bool fixed(enum ex_kind earlier, enum ex_kind later)
{
    return earlier == EX_STORE && later == EX_AWAIT;
}

void ex_happened(struct ex_op op)
{
    struct ex_thread *me = &ex.thread[ex.cur];
    struct ex_place *place = op.place;

    if (ex.events >= EX_EVENTS) ex_fail("livelock: more than %d steps", EX_EVENTS);
    for (int i = place->last; i >= 0; i = ex.event[i].previous) {
        const struct ex_event *f = &ex.event[i];
        if (!ex_conflict(f->op, op)) continue;
        if (f->clock[f->thread] > me->clock[f->thread] && f->thread != ex.cur && ex.reduce &&
            !fixed(f->op.kind, op.kind))
            race(i, me->clock);
        ex_join(me->clock, f->clock);
        if (op.kind == EX_TAKE) break;
    }
    if (op.kind == EX_TAKE) ex_join(me->clock, place->causes);
    me->clock[ex.cur]++;
    struct ex_event *e = &ex.event[ex.events];
    e->op = op;
    e->thread = (uint8_t)ex.cur;
    e->node = ex.at_node;
    e->previous = place->last;
    memcpy(e->clock, me->clock, sizeof e->clock);
    place->last = ex.events++;
    ex.steps++;
}
