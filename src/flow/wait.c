/* SPDX-License-Identifier: MIT
 *
 * Step 3 (docs/PATH.md), wait: until the answer, the deadline, or the time for another look. When a
 * thread has slept, or an event loop comes back (start.c), it takes that look (kp__get_look).
 */
#include <string.h>

#include "core/circuit.h"
#include "core/serve.h"
#include "flow/door.h"
#include "flow/get.h"
#include "flow/job.h"

void kp__get_wait_again(struct kp__get *g, uint64_t now, struct kp__todo *todo)
{
    struct kp__request *r = g->request;
    int late = r->at_once ? KP_EAGAIN : KP_ETIMEDOUT;

    if (now < r->deadline) kp__wait_again(&g->pool->core, r, NULL, now, todo);
    else kp__grant_no(r, late, KP__BY_DEADLINE);
}

/* The run of a driver function that is under way for this request, or NULL. */
static struct kp__job *job_for(const struct kp__request *r)
{
    const struct kp__slot *making = kp__under_way(r);

    return making ? making->errand->job : NULL;
}

/* Its own creation, or check, has taken as long as it may. */
static void give_up_making(struct kp__get *g, bool checking, uint64_t now, struct kp__todo *todo)
{
    struct kp__request *r = g->request;

    if (checking || r->sub->rules->retry_requests) {
        kp__get_wait_again(g, now, todo);
        return;
    }
    kp__grant_no(r, KP_ECREATE, KP__BY_CREATE_TIMEOUT);
    if (!r->why) return;
    r->why->code = KP_ECREATE;
    strcpy(r->why->text, "the create took longer than create_timeout_ms");
}

/* It goes on without the resource that is being checked for it: where that was a probe, another may
 * be one, for it or for somebody else. */
static void end_probe(struct kp__get *g)
{
    struct kp__job *job = job_for(g->request);

    if (job && job->slot->state == KP__LENT)
        kp__probe_end(&g->pool->core, g->request->sub, &kp__seat_at(job->slot, job->seat)->probe);
}

/* Take it out of its queue. Those ahead may leave with it: shed, or served by the time it is. Then
 * it was limited by what bound the first of them. */
static void withdraw(struct kp__get *g, uint64_t now, struct kp__todo *todo)
{
    struct kp__request *r = g->request;
    const struct kp__request *first = kp__head(r->sub);
    uint8_t bound = first ? first->limit : r->limit;

    end_probe(g);
    (void)kp__withdraw(&g->pool->core, r, now, todo); /* under this lock it was found waiting */
    if (r->limit == KP__BY_WAIT_ORDER && kp__queue_ahead(r) == 0) r->limit = bound;
}

/* Its deadline has come, or what is under way for it has taken as long as it may. */
static struct kp__job *give_up(struct kp__get *g, uint64_t now, struct kp__todo *todo)
{
    struct kp__request *r = g->request;
    const struct kp__slot *making = kp__under_way(r);
    struct kp__job *job = job_for(r);
    bool checking = making && making->state == KP__LENT, late = now >= r->deadline;

    if (late && checking) r->limit = KP__BY_DEADLINE; /* there is one for it, and nobody ahead */
    withdraw(g, now, todo);
    if (!late) give_up_making(g, checking, now, todo);
    else if (r->at_once) r->grant.code = KP_EAGAIN; /* it is not to wait */
    /* a job that has a time of its own goes on until that is over */
    return job && now >= job->until ? kp__job_hurry_begin(job) : NULL;
}

/* When it gives up: at its deadline, or when what is under way for it has taken too long. */
static uint64_t end_of(const struct kp__request *r)
{
    const struct kp__job *job = job_for(r);

    return job ? kp__sooner(r->deadline, job->until) : r->deadline;
}

uint64_t kp__get_until(const struct kp__get *g)
{
    uint64_t again = g->courtesy_until ? g->courtesy_until : kp__next_look(g->request);

    return kp__sooner(end_of(g->request), again); /* if `again` moves, the owner is nudged */
}

/* Was it invited? Then for a moment it leaves what it came for to the key that gave that back
 * (core/serve.c, invite). */
static bool steps_back(struct kp__get *g, uint64_t now)
{
    struct kp__request *r = g->request;

    if (r->invited && !g->courtesy_until) g->courtesy_until = now + kp__courtesy(&g->pool->core);
    if (!r->invited || now >= kp__sooner(g->courtesy_until, end_of(r))) {
        g->courtesy_until = 0;
        return false;
    }
    /* relaxed: under the lock; the nudge has been noticed */
    atomic_store_explicit(&r->state, KP__WAITING, memory_order_relaxed);
    return true;
}

struct kp__job *kp__get_look(struct kp__get *g, struct kp__todo *todo)
{
    struct kp__request *r = g->request;

    if (!kp__waits(r)) return NULL;
    uint64_t now = kp__time(g->pool);
    bool invited = r->invited;
    if (steps_back(g, now)) return NULL;
    kp__heed(&g->pool->core, r, now, todo);
    if (!kp__waits(r)) return NULL;
    if (now >= end_of(r)) return give_up(g, now, todo);
    if (invited || now < kp__next_look(r)) return NULL;
    kp__next_look_set(&g->pool->core, r, KP__NEVER); /* settling sets it anew */
    kp__settle(&g->pool->core, r->sub, now, todo);
    return NULL;
}

void kp__get_wait(struct kp__get *g, struct kp__todo *todo)
{
    struct kp__pool *pool = g->pool;
    uint64_t until = kp__get_until(g);
    bool looks = kp__looks_for_deadlocks(pool) && !g->request->at_once; /* that does not sleep */
    struct kp__sleeper self;

    if (g->request->offered) until = kp__sooner(until, kp__time(pool) + KP__LOOKS_AFTER);
    if (looks) until = kp__sooner(until, kp__sleep_begin(g, &self, todo));
    kp__step_out(pool, todo);
    pool->world->park((uint32_t *)&g->request->state, KP__WAITING, until, pool->world->ctx);
    kp__step_in(pool);
    if (looks) kp__sleep_end(&self);
    struct kp__job *late = kp__get_look(g, todo);
    if (late) kp__job_hurry(pool, late, todo);
}

struct kp__job *kp__get_abandon(struct kp__get *g, struct kp__todo *todo)
{
    struct kp__request *r = g->request;
    struct kp__job *job = job_for(r);
    uint64_t now = kp__time(g->pool);

    end_probe(g);
    /* cover: never, because whoever waits can be withdrawn */
    if (!kp__waits(r) || !kp__withdraw(&g->pool->core, r, now, todo))
        kp__decline(&g->pool->core, r, now, todo);
    r->grant.code = KP_ECANCELED;
    return job ? kp__job_call_off(job) : NULL;
}
