/* SPDX-License-Identifier: MIT
 *
 * One look at one request: may it have something now (decide.c), and the last question of that: may
 * it create (decide_create.c)?
 */
#ifndef KP__CORE_DECIDE_H
#define KP__CORE_DECIDE_H

#include "core/core.h"

/* What a request waits for: a permit of this budget, if that is all it lacks, else NULL. And when
 * it is to look again without being told to, or KP__NEVER. */
struct kp__lack {
    struct kp__budget *budget;
    uint64_t again;
};

/* May a request have something now? True: its grant says what. False: its limit says what binds,
 * and *lack what it waits for. */
bool kp__decide(struct kp__core *core, struct kp__request *request, uint64_t now,
                struct kp__todo *todo, struct kp__lack *lack);

/* ---- between decide.c and decide_create.c ---------------------------------------------------- */

/* What one question of a look comes to: the next one decides; or the grant was written; or the
 * request has to wait. */
enum kp__verdict { KP__GO_ON, KP__DECIDED, KP__LACKS };

struct kp__look {
    struct kp__core *core;
    struct kp__request *request;
    struct kp__subpool *sub;
    uint64_t now;
    struct kp__todo *todo;
    struct kp__lack *lack; /* LACKS: what */
};

static inline enum kp__verdict kp__lacks(struct kp__look *l, enum kp__limit limit,
                                         struct kp__budget *budget, uint64_t again)
{
    l->request->limit = (uint8_t)limit;
    *l->lack = (struct kp__lack){ budget, again };
    return KP__LACKS;
}

static inline enum kp__verdict kp__lacks_permit(struct kp__look *l, struct kp__budget *budget)
{
    return kp__lacks(l, budget->limit, budget, KP__NEVER);
}

static inline enum kp__verdict kp__says_no(struct kp__look *l, int code, enum kp__limit limit)
{
    kp__grant_no(l->request, code, limit);
    return KP__DECIDED;
}

/* The circuit lets nobody through: no, with the cause. */
static inline enum kp__verdict kp__circuit_says_no(struct kp__look *l)
{
    const struct kp__circuit *circuit = l->sub->rare->health.circuit;
    const struct kp__failure *cause = kp__circuit_cause(l->sub);

    if (cause) kp__blame(l->request, cause);
    else if (l->request->why) kp__circuit_tell(circuit, l->request->why);
    return kp__says_no(l, KP_EBREAKER, circuit->limit);
}

/* Nothing is there for the request: may it create, or has it to wait? Never goes on. (It begins a
 * look of its own: one whose address another file has could not stay in registers.) */
enum kp__verdict kp__decide_create(struct kp__core *core, struct kp__request *request, uint64_t now,
                                   struct kp__todo *todo, struct kp__lack *lack);

#endif
