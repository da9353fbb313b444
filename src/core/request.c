/* SPDX-License-Identifier: MIT
 *
 * How a request gets into a queue and out of it, and how its owner is told: a parked thread by
 * waking it, an event loop by a letter. decide.c, create.c and give.c have the answers.
 */
#include <stdio.h>

#include "base/check.h"
#include "base/mail.h"
#include "core/give.h"
#include "core/permit.h"
#include "core/serve.h"
#include "core/todo.h"
#include "keyedpool/loop.h"

/* A loop's request lies in a kp_request, and a loop begins with its mailbox (flow/loop.h). */
static struct kp__mailbox *box_of(struct kp__request *request)
{
    return (struct kp__mailbox *)(void *)KP__OF((void *)request, kp_request, opaque)->loop;
}

/* A loop's request borrows for its `done`, so that is its site. */
const void *kp__site_of(const struct kp__request *request)
{
    if (!request->of_loop) return request->site;
    return (const void *)(uintptr_t)KP__OF((const void *)request, const kp_request, opaque)->done;
}

/* ---- in -------------------------------------------------------------------------------------- */

/* Member by member: to clear the whole takes half as long as to read a clock. The other members are
 * written before anybody reads them: when the request comes, is queued, or is filed. */
void kp__request_init(struct kp__request *request, bool of_loop, const void *site, kp_why *why)
{
    if (!of_loop) atomic_init(&request->state, 0);
    request->of_loop = of_loop;
    request->holds_lent = request->waited = request->at_once = request->time_passed = false;
    request->invited = request->offered = request->looking = request->posted = false;
    request->grant = (struct kp__grant){ .kind = KP__GRANT_WAIT };
    request->slot = NULL;
    kp__list_init(&request->link);
    request->arrived = 0;
    if (of_loop) request->alarm = (struct kp__timer){ .at = 0 };
    else request->site = site;
    request->why = why;
}

/* The queue that fits what it asks for and what is under way for it. */
static enum kp__queue queue_for(const struct kp__request *request)
{
    const struct kp__slot *making = request->slot;

    if (making && ((request->flags & KP_FRESH) || making->state == KP__LENT)) return KP__OWN;
    if (making) return KP__SPONSORS;
    if (request->flags & KP_FRESH) return KP__FRESH;
    return request->flags & KP_DONT_CREATE ? KP__TAKERS : KP__EITHER;
}

void kp__enqueue(struct kp__core *core, struct kp__request *request)
{
    request->queue = queue_for(request);
    /* relaxed: under the lock; the owner parks on it afterwards */
    if (!request->of_loop)
        atomic_store_explicit(&request->state, KP__WAITING, memory_order_relaxed);
    if (!request->waited) {
        request->waited = true;
        if (!request->at_once) KP__COUNT_SELDOM(core, request->sub, waits);
    }
    if (request->sub->waiting == 0) {
        struct kp__rare *rare = kp__rare(core, request->sub);
        rare->turn_began = core->latest;
        rare->handed = 0;
        kp__late_begin(core, request->sub, core->latest); /* refuse_late may be set meanwhile */
        /* how slow an earlier queue was says nothing about this one */
        if (core->latest >= rare->shed.interval_end) rare->shed = (struct kp__shed){ 0 };
    }
    kp__queue_insert(core, request);
}

/* It is in its queue again, at its old place; or refused, if nobody is to wait any more. */
static void queue_again(struct kp__core *core, struct kp__request *request, struct kp__slot *making,
                        uint64_t now, struct kp__todo *todo)
{
    kp__note_time(core, now);
    kp__grant(request, KP__GRANT_WAIT, making);
    if (request->posted) kp__mail_remove(box_of(request), &request->link); /* its owner went on */
    request->posted = false;
    if (making) {
        kp__errand(core, making)->sponsor = request;
        if (making->state != KP__LENT) /* lent: it is there, and is being checked */
            request->limit = (uint8_t)kp__making_limit(making);
    }
    kp__enqueue(core, request);
    if (core->phase == KP__CLOSED) kp__refuse(core, request, KP_ECLOSED, todo);
}

void kp__wait_again(struct kp__core *core, struct kp__request *request, struct kp__slot *making,
                    uint64_t now, struct kp__todo *todo)
{
    queue_again(core, request, making, now, todo);
    kp__settle(core, request->sub, now, todo);
    kp__send_away(core, request, todo);
}

void kp__wait_for_another(struct kp__core *core, struct kp__request *request, struct kp__slot *slot,
                          uint32_t seat, kp_cause bad, uint64_t now, struct kp__todo *todo)
{
    queue_again(core, request, NULL, now, todo);
    kp__give(core, slot, seat, bad, now, todo); /* which settles, since it waits */
    kp__send_away(core, request, todo);
}

struct kp__request *kp__sponsor_release(struct kp__core *core, struct kp__slot *slot)
{
    struct kp__request *sponsor = slot->errand->sponsor;

    if (!sponsor) return NULL;
    kp__errand_of(slot)->sponsor = NULL;
    sponsor->slot = NULL;
    kp__queue_remove(core, sponsor);
    sponsor->queue = queue_for(sponsor);
    kp__queue_insert(core, sponsor);
    return sponsor;
}

/* ---- out ------------------------------------------------------------------------------------- */

/* The victim whose place it waits for, or NULL. */
static struct kp__slot *awaited(const struct kp__request *request)
{
    struct kp__slot *slot = kp__under_way(request);

    return slot && slot->state == KP__CLOSING ? slot : NULL;
}

void kp__send_away(struct kp__core *core, struct kp__request *request, struct kp__todo *todo)
{
    if (!(request->flags & KP_DONT_WAIT) || request->grant.kind != KP__GRANT_WAIT ||
        request->slot)
        return;
    kp__grant_no(request, KP_EAGAIN, request->limit);
    kp__answer(core, request, todo);
}

void kp__answer(struct kp__core *core, struct kp__request *request, struct kp__todo *todo)
{
    kp__queue_remove(core, request);
    if (request->grant.kind == KP__GRANT_NO) kp__lent_drop(core, request);
    kp__rouse(todo, request);
}

void kp__answer_slot(struct kp__core *core, struct kp__request *request, struct kp__slot *slot,
                     uint32_t seat, struct kp__todo *todo)
{
    kp__grant_slot(request, slot, seat);
    kp__answer(core, request, todo);
}

void kp__answer_permit(struct kp__core *core, struct kp__request *request, struct kp__todo *todo)
{
    kp__grant(request, KP__GRANT_PERMIT, NULL);
    kp__answer(core, request, todo);
}

bool kp__withdraw(struct kp__core *core, struct kp__request *request, uint64_t now,
                  struct kp__todo *todo)
{
    if (!kp__waits(request)) return false;
    struct kp__slot *victim = awaited(request);
    kp__note_time(core, now);
    kp__grant_no(request, KP_ETIMEDOUT, request->limit);
    kp__answer(core, request, todo);
    if (victim) kp__waive(core, request->sub, victim, now, todo);
    kp__settle(core, request->sub, now, todo);
    return true;
}

void kp__decline(struct kp__core *core, struct kp__request *request, uint64_t now,
                 struct kp__todo *todo)
{
    struct kp__subpool *sub = request->sub;
    struct kp__grant grant = request->grant;
    struct kp__slot *slot = request->slot;
    bool probe = grant.probe;

    kp__note_time(core, now);
    kp__grant_no(request, KP_ECANCELED, KP__NOT_BOUND);
    switch (grant.kind) {
    case KP__GRANT_SLOT:
        slot->lends--; /* nobody had it */
        if (grant.was_idle) kp__give_unused(core, slot, grant.seat, now, todo);
        else kp__give(core, slot, grant.seat, KP_CAUSE_NONE, now, todo);
        break;
    case KP__GRANT_PERMIT:
        kp__probe_end(core, sub, &probe);
        kp__lent_drop(core, request);
        if (slot) kp__waive(core, sub, slot, now, todo);
        else kp__permit_refund(core, sub);
        kp__settle(core, sub, now, todo);
        break;
    default: break;
    }
}

void kp__refuse(struct kp__core *core, struct kp__request *request, int code, struct kp__todo *todo)
{
    struct kp__slot *victim = awaited(request);

    kp__grant_no(request, code, KP__NOT_BOUND);
    kp__answer(core, request, todo);
    if (victim) kp__waive(core, request->sub, victim, core->latest, todo);
}

void kp__refuse_all(struct kp__core *core, struct kp__subpool *sub, int code, struct kp__todo *todo)
{
    for (int q = 0; q < KP__QUEUES; q++) {
        struct kp__request *request;
        while ((request = kp__queue_first(sub, (enum kp__queue)q)) != NULL)
            kp__refuse(core, request, code, todo);
    }
}

/* ---- telling --------------------------------------------------------------------------------- */

void kp__blame(struct kp__request *request, const struct kp__failure *failure)
{
    kp_why *why = request->why;

    if (!why) return;
    why->code = failure->code;
    why->vendor_code = failure->vendor_code;
    snprintf(why->text, sizeof why->text, "%s", kp__failure_text(failure));
}

void kp__rouse(struct kp__todo *todo, struct kp__request *request)
{
    if (request->of_loop) {
        request->posted = true;
        if (kp__mail_answer(box_of(request), &request->link))
            kp__todo_ring(todo, box_of(request));
        return;
    }
    /* relaxed: its owner takes the lock before it reads the grant */
    atomic_store_explicit(&request->state, KP__ANSWERED, memory_order_relaxed);
    kp__todo_wake(todo, &request->state);
}

/* A loop's request looks when its alarm says; if that is not set yet, its owner is about to ask. */
void kp__nudge(struct kp__todo *todo, struct kp__request *request, uint64_t at)
{
    uint32_t waiting = KP__WAITING;

    if (request->of_loop) {
        if (at >= request->alarm.at) return;
        if (kp__mail_hasten(box_of(request), &request->alarm, at))
            kp__todo_ring(todo, box_of(request));
        return;
    }
    /* relaxed: it only says "look again"; the owner takes the lock before it believes anything */
    if (atomic_compare_exchange_strong_explicit(&request->state, &waiting, KP__NUDGED,
                                                memory_order_relaxed, memory_order_relaxed))
        kp__todo_wake(todo, &request->state);
}
