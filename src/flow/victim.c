/* SPDX-License-Identifier: MIT
 *
 * Victims: idle resources that are destroyed to make room for the create of a request, because a
 * budget is full, or because a fresh resource of the same key needs the place.
 *
 * chosen. The core grants the request a permit, and picks as few victims as make room: one, or two
 * if two groups are full (kp__decide). From then on they are CLOSING, and their place is promised
 * to the request's key, their *heir*: nobody else can get it (kp__promise).
 *
 * destroyed. The request's thread destroys them one after the other before it creates. Where nobody
 * stands by, a job does, and the request waits for it in its queue, as their *sponsor*.
 *
 * gone. In one step the promise ends and the heir takes the permit (kp__victim_gone; after a job
 * kp__victim_gone_late, which also answers the sponsor).
 *
 * waived. A request that gives up while it waits for a job lets go of the place: it is free for
 * whoever is next, as soon as the victim is gone (kp__waive). If a request of the heir would evict
 * before that, it takes over the waived victim instead, and becomes its sponsor.
 */
#include "flow/door.h"
#include "flow/get.h"
#include "flow/job.h"
#include "flow/resource.h"

/* Nobody stands by: the request waits until its victims are gone, and comes back with the permit.
 * One that was waived is on its way already. */
static void wait_for_end(struct kp__get *g, struct kp__slot *victim, struct kp__todo *todo)
{
    struct kp__pool *pool = g->pool;
    bool goes = victim->errand->victim.heir != NULL;
    struct kp__todo none;

    kp__errand(&pool->core, victim)->victim.heir = g->request->sub;
    kp__errand(&pool->core, victim)->probe = kp__probe_take(g->request);
    kp__wait_again(&pool->core, g->request, victim, kp__time(pool), todo);
    kp__todo_init(&none, pool->world); /* the caller's waits: it may run user code */
    if (!goes && !kp__destroy_by_job(pool, victim, &none))
        kp__list_push_back(&todo->doomed, &victim->link); /* and so may destroying this one */
}

/* Destroy its victims, and what it passed over. */
static void destroy_all(struct kp__get *g, struct kp__todo *todo)
{
    struct kp__request *r = g->request;
    struct kp__slot *victim = r->slot, *next;

    if (victim) r->time_passed = true;
    for (; victim; victim = next) {
        next = victim->errand->victim.next;
        kp__do(g->pool, todo);
        kp__destroy_victim(g->pool, victim, r->sub, todo);
    }
    if (!r->of_loop && kp__do(g->pool, todo)) r->time_passed = true;
}

/* That took all its time: it may not begin to create any more. The room is for whoever is next. */
static void give_up(struct kp__get *g, struct kp__todo *todo)
{
    struct kp__request *r = g->request;

    r->slot = NULL; /* its victim, which is gone */
    kp__decline(&g->pool->core, r, kp__time(g->pool), todo);
    kp__grant_no(r, KP_ETIMEDOUT, KP__BY_DESTRUCTION);
}

bool kp__victims_destroy(struct kp__get *g, struct kp__todo *todo)
{
    struct kp__pool *pool = g->pool;
    struct kp__request *r = g->request;
    struct kp__slot *victim = r->slot;

    if (victim && (victim->errand->victim.heir || !kp__stands_by(pool))) {
        wait_for_end(g, victim, todo);
        return false;
    }
    bool destroys = victim || !kp__list_empty(&todo->doomed);
    bool in_time = destroys && kp__time(pool) < r->deadline;
    destroy_all(g, todo);
    if (!in_time || kp__time(pool) < r->deadline) return true;
    give_up(g, todo);
    return false;
}
