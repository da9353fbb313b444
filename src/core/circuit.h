/* SPDX-License-Identifier: MIT
 *
 * The circuit of a key: closed, open, or half-open, when it lets a few requests through to see how
 * they fare. It opens when so many outcomes in a row were failures (breaker_failures), or too high
 * a percentage of those in the last while (breaker_rate_pct).
 *
 * A request let through while half-open is a probe, and so is a creation in the background, where
 * creates can close the circuit. It has a mark: on the grant of the request, then on the errand of
 * the creation (or of the victim that makes room for it), then on the seat of its lease. `probes`
 * counts the marks. A mark ends with the outcome that it is for, or with whatever bears it; so
 * nobody waits for a probe that is gone. For one that never ends, nobody waits longer than
 * patience_of says (circuit.c).
 */
#ifndef KP__CORE_CIRCUIT_H
#define KP__CORE_CIRCUIT_H

#include "core/limit.h"
#include "core/rules.h"

struct kp__core;
struct kp__failure;
struct kp__subpool;
struct kp__slot;
struct kp__todo;

/* The outcomes of the last while (breaker_window), which is divided into so many parts. The latest
 * part has only begun: so the window covers no less than the other parts, and no more than all. */
enum { KP__WINDOW_PARTS = 8 };

struct kp__window {
    uint64_t width, part; /* of each part, in time; the number of the latest, counted from time 0 */
    struct kp__seen {
        uint64_t all, failed;
    } parts[KP__WINDOW_PARTS];
};

/* It lies apart, and is begun when an outcome of the key first counts. kp__health.tripped says
 * whether it is closed. */
struct kp__circuit {
    bool probing;       /* not closed: half-open */
    bool by_use;        /* not closed: a use opened it, so a create does not close it */
    uint32_t uses;      /* uses that failed, in a row */
    int status;         /* what the latest of those that failed reported; 0: none since it closed */
    uint32_t probes;    /* let through, with no outcome yet */
    uint32_t passed;    /* probes that went well, in a row */
    enum kp__limit limit; /* not closed: the rule that opened it */
    uint64_t until;     /* not closed: nobody is let through before */
    uint64_t probed_at; /* when the latest probe was let through */
    struct kp__window window;
};

/* What a key has before its own is begun. */
extern const struct kp__circuit kp__no_circuit;

/* What an outcome did to the circuit. */
enum kp__change { KP__AS_BEFORE, KP__OPENED, KP__CLOSED_AGAIN };

/* Is there a circuit that counts this kind of outcome (KP_BREAK_CREATE, KP_BREAK_USE)? */
static inline bool kp__breaks(const struct kp__rules *r, uint32_t kind)
{
    return (r->breaker_counts & kind) && (r->breaker_failures != KP__UNBOUND || r->breaker_rate);
}

/* Of a circuit that is not closed: may no further probe be let through now? */
bool kp__circuit_bars(const struct kp__subpool *sub, uint64_t now);

/* The failed create that those who are refused are told; NULL: they are told of uses. */
const struct kp__failure *kp__circuit_cause(const struct kp__subpool *sub);

/* What it tells of uses: the code, the status of the latest that failed, and the sentence. */
void kp__circuit_tell(const struct kp__circuit *circuit, kp_why *why);

/* The latest use that failed, in words; "": uses did not open the circuit. */
struct kp__words {
    char text[120];
};
struct kp__words kp__circuit_use(const struct kp__circuit *circuit);

/* A probe is let through; the caller puts a mark on it. True: it is the first, so the circuit is
 * half-open now. */
bool kp__probe_begin(struct kp__core *core, struct kp__subpool *sub, uint64_t now);

/* The background begins a creation: if creates can close the circuit, it is a probe (*mark). True:
 * it is the first, as above. */
bool kp__probe_unasked(struct kp__core *core, struct kp__subpool *sub, bool *mark, uint64_t now);

/* A mark moves to what bears it next, or ends: then the next probe may be let through. */
static inline void kp__probe_pass(bool *from, bool *to)
{
    *to = *from;
    *from = false;
}
void kp__probe_end_now(struct kp__core *core, struct kp__subpool *sub);
static inline void kp__probe_end(struct kp__core *core, struct kp__subpool *sub, bool *mark)
{
    if (*mark) kp__probe_end_now(core, sub);
    *mark = false;
}

/* Something that may count has ended, well or not. `mark` says whether it was a probe: the mark
 * ends here, unless it is to move on, as from a creation whose lease will say more. */
enum kp__change kp__outcome(struct kp__core *core, struct kp__subpool *sub, uint32_t kind, bool ok,
                            bool *mark, uint64_t now);

/* May this outcome count? Otherwise kp__outcome need not be called. */
static inline bool kp__counts(const struct kp__rules *r, uint32_t kind, bool mark)
{
    return mark || kp__breaks(r, kind);
}

/* A borrower says how its use went (kp_lease_report). Returns what that did to the circuit. */
enum kp__change kp__reported(struct kp__core *core, struct kp__slot *slot, uint32_t seat,
                             int status, uint64_t now, struct kp__todo *todo);

/* Close it, and hold nothing against the key any more. */
void kp__circuit_forgive(struct kp__core *core, struct kp__subpool *sub);

#endif
