/* SPDX-License-Identifier: MIT
 *
 * The circuit of a key: closed, open, or half-open, when it lets a few through to see how they
 * fare. It opens when so many outcomes in a row were failures (breaker_failures), or so many of a
 * hundred in the last while (breaker_rate_pct).
 *
 * Who is let through in half-open is a probe, and has a mark: a grant, then the errand of the
 * creation (or of its victim), then the seat of the lease. `probes` counts the marks. A mark ends
 * with the outcome that it is for, or with whatever bears it; so nobody waits for a probe that is
 * gone. For one that never ends, nobody waits longer than patience_of says (circuit.c).
 */
#ifndef KP__CORE_CIRCUIT_H
#define KP__CORE_CIRCUIT_H

#include "core/rules.h"

struct kp__core;
struct kp__subpool;
struct kp__slot;
struct kp__todo;

/* The outcomes of the last while, counted in so many parts of that. The latest part has only begun:
 * so the window looks back on no less than the other parts, and on no more than all of them. */
enum { KP__WINDOW_PARTS = 8 };

struct kp__window {
    uint64_t width, part; /* of each part; the number of the latest, since the clock's 0 */
    struct kp__seen {
        uint64_t all, failed;
    } parts[KP__WINDOW_PARTS];
};

/* It lies apart, and is begun with the first outcome of a key that counts. Whether it is closed,
 * kp__health.tripped says. */
struct kp__circuit {
    bool probing;       /* not closed: half-open */
    bool by_use;        /* not closed: a use opened it, so a create does not close it */
    uint32_t uses;      /* that failed in a row */
    uint32_t probes;    /* let through, and nothing is known of them */
    uint32_t passed;    /* probes that were well, in a row */
    enum kp__limit limit; /* not closed: the rule that opened it */
    uint64_t until;     /* not closed: nobody is let through before */
    uint64_t probed_at; /* when the latest probe was let through */
    struct kp__window window;
};

/* What a key has until then. */
extern const struct kp__circuit kp__no_circuit;

/* What an outcome did to the circuit. */
enum kp__change { KP__AS_BEFORE, KP__OPENED, KP__CLOSED_AGAIN };

/* Is there a circuit that counts this kind of outcome (KP_BREAK_CREATE, KP_BREAK_USE)? */
static inline bool kp__breaks(const struct kp__rules *r, uint32_t kind)
{
    return (r->breaker_counts & kind) && (r->breaker_failures != KP__UNBOUND || r->breaker_rate);
}

/* It is open: may nobody come through now who is no probe already? */
bool kp__circuit_bars(const struct kp__subpool *sub, uint64_t now);

/* One is let through, and gets a mark. True: it is the first, the circuit is half-open now. */
bool kp__probe_begin(struct kp__core *core, struct kp__subpool *sub, uint64_t now);

/* Its mark goes on, or ends: then the next one may be let through. */
static inline void kp__probe_pass(bool *from, bool *to)
{
    *to = *from;
    *from = false;
}
void kp__probe_over(struct kp__core *core, struct kp__subpool *sub);
static inline void kp__probe_end(struct kp__core *core, struct kp__subpool *sub, bool *mark)
{
    if (*mark) kp__probe_over(core, sub);
    *mark = false;
}

/* Something that may count has come to its end, well or not; `mark`: of a probe, which ends, unless
 * it is to go on: a creation whose lease will say more. */
enum kp__change kp__outcome(struct kp__core *core, struct kp__subpool *sub, uint32_t kind, bool ok,
                            bool *mark, uint64_t now);

/* May it count? Else it need not be told. */
static inline bool kp__counts(const struct kp__rules *r, uint32_t kind, bool mark)
{
    return mark || kp__breaks(r, kind);
}

/* How a use went (kp_lease_report), and what that did to the circuit. */
enum kp__change kp__reported(struct kp__core *core, struct kp__slot *slot, uint32_t seat, bool ok,
                             uint64_t now, struct kp__todo *todo);

/* Closed, and nothing is held against the key. */
void kp__circuit_forgive(struct kp__core *core, struct kp__subpool *sub);

#endif
