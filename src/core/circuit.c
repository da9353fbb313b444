/* SPDX-License-Identifier: MIT
 *
 * How a circuit opens, whom it lets through, and how it closes. decide.c asks it, for requests;
 * create.c and kp_lease_report tell it the outcomes.
 */
#include "core/circuit.h"

#include <stdio.h>

#include "core/serve.h"

const struct kp__circuit kp__no_circuit = { .limit = KP__BY_BREAKER };

/* The circuit, to write to; begun if it was not. */
static struct kp__circuit *circuit_of(struct kp__core *core, struct kp__subpool *sub)
{
    struct kp__health *h = &kp__rare(core, sub)->health;

    if (h->circuit == &kp__no_circuit) {
        struct kp__circuit *begun =
            kp__slab_part(&core->subpools, sub->item.index, KP__PART_CIRCUIT);
        *begun = kp__no_circuit;
        h->circuit = begun;
    }
    return (struct kp__circuit *)(uintptr_t)h->circuit;
}

enum phase { CLOSED, OPEN, HALF_OPEN };

/* Whatever opens, half-opens or closes a circuit does so here (I13). */
static void set_phase(struct kp__core *core, struct kp__subpool *sub, enum phase phase)
{
    struct kp__circuit *c = circuit_of(core, sub);
    struct kp__health *h = &kp__rare(core, sub)->health;
    bool tripped = phase != CLOSED, probing = phase == HALF_OPEN;

    core->tripped += (uint32_t)tripped - (uint32_t)h->tripped;
    core->probing += (uint32_t)probing - (uint32_t)c->probing;
    h->tripped = tripped;
    c->probing = probing;
    c->passed = 0;
}

static enum kp__change open_it(struct kp__core *core, struct kp__subpool *sub, enum kp__limit limit,
                               bool by_use, uint64_t now)
{
    struct kp__circuit *c = circuit_of(core, sub);

    set_phase(core, sub, OPEN);
    c->limit = limit;
    c->by_use = by_use;
    c->until = kp__later(now, sub->rules->breaker_open);
    return KP__OPENED;
}

static enum kp__change close_it(struct kp__core *core, struct kp__subpool *sub)
{
    struct kp__circuit *c = circuit_of(core, sub);

    set_phase(core, sub, CLOSED);
    c->uses = 0;
    c->status = 0;
    c->window = (struct kp__window){ 0 };
    return KP__CLOSED_AGAIN;
}

/* ---- the window ------------------------------------------------------------------------------ */

/* A call may know an older time than one before it; its outcome counts in the latest part then. */
static void window_count(struct kp__core *core, struct kp__subpool *sub, bool ok, uint64_t now)
{
    struct kp__window *w = &circuit_of(core, sub)->window;
    uint64_t width = sub->rules->breaker_window / KP__WINDOW_PARTS, part = now / width;

    if (w->width != width) *w = (struct kp__window){ .width = width };
    if (part > w->part + KP__WINDOW_PARTS) w->part = part - KP__WINDOW_PARTS; /* all are old */
    while (w->part < part) w->parts[++w->part % KP__WINDOW_PARTS] = (struct kp__seen){ 0 };
    w->parts[w->part % KP__WINDOW_PARTS].all++;
    w->parts[w->part % KP__WINDOW_PARTS].failed += !ok;
}

static bool window_is_bad(const struct kp__window *w, const struct kp__rules *r)
{
    struct kp__seen seen = { 0 };

    for (int i = 0; i < KP__WINDOW_PARTS; i++) {
        seen.all += w->parts[i].all;
        seen.failed += w->parts[i].failed;
    }
    return seen.all >= r->breaker_calls && 100 * seen.failed >= r->breaker_rate * seen.all;
}

/* ---- outcomes -------------------------------------------------------------------------------- */

static enum kp__change while_closed(struct kp__core *core, struct kp__subpool *sub, bool use,
                                    bool ok, uint64_t now)
{
    const struct kp__rules *r = sub->rules;
    uint32_t in_a_row = sub->rare->health.failures;

    if (ok && !r->breaker_rate && sub->rare->health.circuit == &kp__no_circuit)
        return KP__AS_BEFORE;
    if (use) {
        struct kp__circuit *c = circuit_of(core, sub);
        in_a_row = c->uses = ok ? 0 : c->uses + 1;
    }
    if (r->breaker_rate) window_count(core, sub, ok, now);
    if (!ok && (int64_t)in_a_row >= r->breaker_failures)
        return open_it(core, sub, KP__BY_BREAKER, use, now);
    if (r->breaker_rate && window_is_bad(&sub->rare->health.circuit->window, r))
        return open_it(core, sub, KP__BY_BREAKER_RATE, use, now);
    return KP__AS_BEFORE;
}

static enum kp__change of_probe(struct kp__core *core, struct kp__subpool *sub, bool use, bool ok,
                                uint64_t now)
{
    struct kp__circuit *c = circuit_of(core, sub);

    if (!ok) return open_it(core, sub, c->limit, use, now);
    if (!use && c->by_use && kp__breaks(sub->rules, KP_BREAK_USE)) return KP__AS_BEFORE;
    return ++c->passed >= sub->rules->breaker_probes ? close_it(core, sub) : KP__AS_BEFORE;
}

enum kp__change kp__outcome(struct kp__core *core, struct kp__subpool *sub, uint32_t kind, bool ok,
                            bool *mark, uint64_t now)
{
    bool probe = *mark, use = kind == KP_BREAK_USE;

    if (use || !ok || !kp__breaks(sub->rules, KP_BREAK_USE)) kp__probe_end(core, sub, mark);
    if (!kp__breaks(sub->rules, kind)) return KP__AS_BEFORE;
    if (!sub->rare->health.tripped) return while_closed(core, sub, use, ok, now);
    if (!probe || !sub->rare->health.circuit->probing) return KP__AS_BEFORE;
    return of_probe(core, sub, use, ok, now);
}

enum kp__change kp__reported(struct kp__core *core, struct kp__slot *slot, uint32_t seat,
                             int status, uint64_t now, struct kp__todo *todo)
{
    struct kp__subpool *sub = slot->sub;
    bool ok = status >= 0, *mark = &kp__seat_at(slot, seat)->probe;

    if (!ok && kp__breaks(sub->rules, KP_BREAK_USE)) circuit_of(core, sub)->status = status;
    enum kp__change change = kp__outcome(core, sub, KP_BREAK_USE, ok, mark, now);
    if (change != KP__AS_BEFORE) kp__settle(core, sub, now, todo); /* those who wait are told */
    return change;
}

void kp__circuit_forgive(struct kp__core *core, struct kp__subpool *sub)
{
    if (sub->rare->health.circuit != &kp__no_circuit) (void)close_it(core, sub);
}

/* ---- telling --------------------------------------------------------------------------------- */

const struct kp__failure *kp__circuit_cause(const struct kp__subpool *sub)
{
    const struct kp__health *h = &sub->rare->health;

    return h->circuit->by_use && (h->circuit->status || h->failures == 0) ? NULL : h->last;
}

struct kp__words kp__circuit_use(const struct kp__circuit *circuit)
{
    struct kp__words words = { "" };
    int status = circuit->status;

    if (!circuit->by_use || status == 0) return words;
    if (kp_error_find(status)->code == status)
        snprintf(words.text, sizeof words.text, "; last use failed: %s", kp_strerror(status));
    else snprintf(words.text, sizeof words.text, "; last use failed with %d", status);
    return words;
}

void kp__circuit_tell(const struct kp__circuit *circuit, kp_why *why)
{
    why->code = KP_EBREAKER;
    why->vendor_code = circuit->by_use ? circuit->status : 0;
    snprintf(why->text, sizeof why->text, "%s%s", kp_strerror(KP_EBREAKER),
             kp__circuit_use(circuit).text);
}

/* ---- probes ---------------------------------------------------------------------------------- */

#define LEAST_PATIENCE UINT64_C(1000000000) /* 1 s */

/* So long after the latest probe one more is let through, even if as many are out as may be: a
 * lease may be leaked, and a driver may hang. */
static uint64_t patience_of(const struct kp__rules *r)
{
    return r->breaker_open > LEAST_PATIENCE ? r->breaker_open : LEAST_PATIENCE;
}

bool kp__circuit_bars(const struct kp__subpool *sub, uint64_t now)
{
    const struct kp__circuit *c = sub->rare->health.circuit;

    if (now < c->until) return true;
    return c->probes >= sub->rules->breaker_probes &&
           now < kp__later(c->probed_at, patience_of(sub->rules));
}

bool kp__probe_begin(struct kp__core *core, struct kp__subpool *sub, uint64_t now)
{
    struct kp__circuit *c = circuit_of(core, sub);
    bool first = !c->probing;

    c->probes++;
    c->probed_at = now;
    if (first) set_phase(core, sub, HALF_OPEN);
    return first;
}

bool kp__probe_unasked(struct kp__core *core, struct kp__subpool *sub, bool *mark, uint64_t now)
{
    const struct kp__circuit *c = sub->rare->health.circuit;
    bool by_use = c->by_use && kp__breaks(sub->rules, KP_BREAK_USE);

    *mark = sub->rare->health.tripped && kp__breaks(sub->rules, KP_BREAK_CREATE) && !by_use &&
            !kp__circuit_bars(sub, now);
    return *mark && kp__probe_begin(core, sub, now);
}

void kp__probe_end_now(struct kp__core *core, struct kp__subpool *sub)
{
    circuit_of(core, sub)->probes--;
}
