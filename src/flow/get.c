/* SPDX-License-Identifier: MIT
 *
 * The way in: find (1, find.c), claim (2, core/serve.c), wait (3, wait.c), create (4,
 * create.c), check (5, check.c), lend (6). One value says how to go on: the request's grant. It is
 * the same value whether the answer is there at once or comes after waiting, so the loop in
 * kp__get_run serves both a thread that parks and an event loop that comes back (start.c). The way
 * back is in release.c.
 */
#include <string.h>

#include "core/doubt.h"
#include "core/serve.h"
#include "flow/door.h"
#include "flow/event.h"
#include "flow/find.h"
#include "flow/get.h"
#include "flow/hit.h"
#include "flow/lease.h"
#include "flow/loop.h"
#include "flow/resource.h"
#include "flow/upkeep.h"

/* ---- the ask --------------------------------------------------------------------------------- */

static const kp_ask no_ask;

/* Read the clock, once, when something first needs it: a bare hit does not (L9). */
static uint64_t start_clock(struct kp__get *g, const kp_ask *ask)
{
    struct kp__request *r = g->request;

    if (r->arrived) return r->arrived;
    r->arrived = kp__time(g->pool);
    r->deadline = kp__ask_deadline(g->pool, ask, r->arrived);
    return r->arrived;
}

/* ---- 5. check -------------------------------------------------------------------------------- */

/* How long the resource that it was lent had been idle, since its last test if it had one. */
static uint64_t was_idle_for(const struct kp__get *g)
{
    const struct kp__request *r = g->request;

    if (!r->grant.was_idle) return 0;
    return kp__seat_at(r->slot, r->grant.seat)->since - kp__proven_at(&g->pool->core, r->slot);
}

static bool must_validate(const struct kp__get *g)
{
    const struct kp__grant *grant = &g->request->grant;
    const struct kp__slot *slot = g->request->slot;

    if (!g->pool->driver.validate || grant->good || slot->errand->borrowers > 1) return false;
    return slot->doubted || (kp__seat_at(slot, grant->seat)->hit &&
                             kp__is_stale(&g->pool->core, g->request->sub, was_idle_for(g)));
}

/* It is good, as far as is known: others may share it. */
static void open_to_others(struct kp__get *g, struct kp__todo *todo)
{
    struct kp__slot *slot = g->request->slot;

    if (slot->errand->borrowers == slot->errand->seats ||
        kp__list_linked(&slot->errand->open_seat))
        return;
    kp__open_seats(&g->pool->core, slot);
    kp__settle(&g->pool->core, g->request->sub, kp__time(g->pool), todo);
}

/* ---- the loop -------------------------------------------------------------------------------- */

/* KP_FAIL_RETRY: that its create failed is not its answer; it waits for what it waited for before,
 * `limit`, and tries again. */
static void try_again(struct kp__get *g, uint8_t limit, struct kp__todo *todo)
{
    struct kp__request *r = g->request;

    r->limit = limit;
    kp__get_wait_again(g, kp__time(g->pool), todo);
    if (r->grant.kind != KP__GRANT_NO && r->why) memset(r->why, 0, sizeof *r->why);
}

/* 4. create, after its victims are destroyed. */
static void create(struct kp__get *g, struct kp__todo *todo)
{
    struct kp__pool *pool = g->pool;
    struct kp__request *r = g->request;

    if (pool->core.phase == KP__CLOSED) { /* what it makes would be destroyed at once */
        kp__decline(&pool->core, r, kp__time(pool), todo);
        kp__grant_no(r, KP_ECLOSED, KP__NOT_BOUND);
        return;
    }
    if ((r->slot || !kp__todo_is_empty(todo)) && !kp__victims_destroy(g, todo)) return;
    uint64_t now = r->time_passed || r->of_loop || r->waited ? kp__time(pool) : r->arrived;
    uint8_t limit = r->limit;
    (void)kp__create(pool, r->sub, r, now);
    if (r->grant.kind == KP__GRANT_NO && r->grant.code == KP_ECREATE &&
        r->sub->rules->retry_requests && pool->core.phase == KP__OPEN)
        try_again(g, limit, todo);
}

void kp__tell_probing(struct kp__pool *pool, struct kp__subpool *sub, struct kp__todo *todo)
{
    if (!pool->on_event) return;
    kp__event_within(pool, KP_EVENT_BREAKER_PROBING, sub, NULL, 0, NULL, todo);
}

static void begin_probing(struct kp__get *g, struct kp__todo *todo)
{
    g->request->grant.first = false;
    g->probing = g->request->of_loop; /* a listener may cancel it: not within a step */
    if (g->probing) return;
    kp__tell_probing(g->pool, g->request->sub, todo);
    if (g->pool->on_event) g->request->time_passed = true; /* the listener took its time */
}

int kp__get_run(struct kp__get *g, struct kp__todo *todo)
{
    struct kp__request *r = g->request;

    for (;;) {
        if (r->grant.first) begin_probing(g, todo);
        switch (r->grant.kind) { /* cover: never, because an answer is a slot, a permit or a no */
        case KP__GRANT_WAIT:                           /* 3 */
            if (r->of_loop) return KP_PENDING;
            kp__get_wait(g, todo);
            break;
        case KP__GRANT_PERMIT: create(g, todo); break; /* 4 */
        case KP__GRANT_SLOT:                           /* 5 */
            if (!must_validate(g)) {
                open_to_others(g, todo);
                return 0;
            }
            kp__get_check(g, todo);
            break;
        case KP__GRANT_NO: return r->grant.code;
        }
    }
}

/* ---- 6. lend, or say why not ----------------------------------------------------------------- */

/* Waiting ends where the lease begins, which counts as held from then on; without a lease (NULL),
 * now. Returns until when something of its key was wanted. */
static uint64_t count_wait(struct kp__get *g, const struct kp__seat *seat)
{
    struct kp__core *core = &g->pool->core;
    const struct kp__request *r = g->request;

    if (!r->waited || r->at_once) return r->arrived;
    uint64_t until = seat ? seat->since : kp__time(g->pool);
    kp__rare(core, r->sub)->seldom.wait_ns += until - r->arrived;
    core->seldom.wait_ns += until - r->arrived;
    return until;
}

void kp__get_tell(struct kp__get *g, struct kp__todo *todo)
{
    struct kp__pool *pool = g->pool;
    struct kp__request *r = g->request;
    kp_why why = { .code = 0 };

    if (!r->why && !pool->on_event) return;
    kp__explain_no(&pool->core, r, kp__time(pool), &why);
    if (r->why) *r->why = why;
    if (pool->on_event)
        kp__event_of(pool, KP_EVENT_TIMEOUT, r, KP_ETIMEDOUT, &why, todo);
}

static void refuse(struct kp__get *g, int code)
{
    struct kp__core *core = &g->pool->core;

    if (code == KP_ETIMEDOUT) KP__COUNT_SELDOM(core, g->request->sub, timeouts);
    else KP__COUNT_SELDOM(core, g->request->sub, refusals);
    if (g->request->why && code != KP_ETIMEDOUT)
        kp__explain_no(core, g->request, kp__time(g->pool), g->request->why);
}

static void lend(const struct kp__get *g, struct kp__seat *seat, kp_lease *out)
{
    const struct kp__request *r = g->request;

    KP__TALLY(&g->pool->core, r->sub, gets++);
    KP__TALLY(&g->pool->core, r->sub, hits += seat->hit);
    kp__lease_write(g->pool, r->slot, r->grant.seat, out);
    seat->hold = KP__HELD; /* its borrower knows of it */
    seat->thread_id = kp__thread_id();
    if (kp__looks_for_deadlocks(g->pool) && !r->of_loop) seat->thread = kp__thread_number();
}

void kp__get_end(struct kp__get *g, int code, kp_lease *out, struct kp__todo *todo)
{
    struct kp__request *r = g->request;
    struct kp__seat *seat = code == 0 ? kp__seat_at(r->slot, r->grant.seat) : NULL;

    uint64_t wanted = count_wait(g, seat);
    g->pool->getting--;
    kp__tell_news(g->pool, todo); /* a closing pool may wait for the last get to end */
    if (seat) lend(g, seat, out);
    else refuse(g, code);
    kp__lose_interest(g->pool, r->sub, wanted);
}

/* There is no subpool: the refusal is counted for the pool only. */
static int no_subpool(struct kp__get *g, int code)
{
    kp__say_no_key(g->request->why, code);
    g->pool->core.seldom.refusals++;
    return code;
}

/* ---- the door -------------------------------------------------------------------------------- */

/* Is the get refused before its key is looked up? (The key is hashed with the lock held: that is
 * pure (R3), and quicker than to take the lock a second time.) */
static int ask_check(struct kp__get *g, kp_key key, const kp_ask *ask, struct kp__todo *todo)
{
    const char *sentence = ask == &no_ask ? NULL : kp__ask_refused(g->pool, ask);
    int code = sentence ? kp__misuse_within(g->pool, todo, g->request->why, sentence)
                        : kp__check_key(g->pool, key, g->request->why, todo);

    if (code == 0 && g->pool->core.phase != KP__OPEN) {
        code = kp__say(g->request->why, KP_ECLOSED, NULL);
        g->pool->core.seldom.refusals++;
    }
    return code;
}

/* Will it most likely be a bare hit, by rules that need no time? Then no clock is read (L9). */
static bool is_bare(const struct kp__get *g)
{
    const struct kp__core *core = &g->pool->core;
    const struct kp__subpool *sub = g->request->sub;

    return !core->clocked && g->request->flags == 0 && sub->count[KP__IDLE] > 0 &&
           core->waiting == 0 && !kp__budget_is_full(&core->lent) && !sub->rare->health.tripped &&
           sub->rules->max_uses == KP__UNBOUND;
}

int kp__get_begin(struct kp__get *g, kp_key key, const kp_ask *ask, struct kp__todo *todo)
{
    struct kp__request *r = g->request;
    int code;

    if (!ask) ask = &no_ask;
    r->deadline = KP__NEVER;
    r->tag = ask->tag;
    r->flags = (uint8_t)ask->flags; /* unknown bits are refused below */
    r->at_once = kp__ask_is_at_once(g->pool, ask);
    if ((code = ask_check(g, key, ask, todo)) != 0) return code;
    bool is_asked = g->pool->limits_for != NULL; /* which may take long */
    if (is_asked) (void)start_clock(g, ask);
    r->sub = kp__find_or_make(g->pool, key, r->why, &code); /* 1 */
    if (!r->sub) return no_subpool(g, code);
    if (is_asked) r->arrived = kp__time(g->pool);
    g->pool->getting++;
    kp__claim(&g->pool->core, r, is_bare(g) ? 0 : start_clock(g, ask), todo); /* 2 */
    if (r->grant.kind != KP__GRANT_SLOT)
        r->time_passed = kp__look_at_keeper(g->pool, start_clock(g, ask), todo);
    return 0;
}

int kp__get(kp_pool *door, kp_key key, const kp_ask *ask, const void *site, kp_lease *out)
{
    struct kp__request request;
    struct kp__get g = { .request = &request };
    struct kp__todo todo;
    int code;

    memset(out, 0, sizeof *out);
    kp__request_init(&request, false, site, ask ? ask->why : NULL);
    if (request.why) memset(request.why, 0, sizeof *request.why);
    if ((g.pool = kp__enter(door, &todo, &code)) == NULL)
        return kp__no_pool(code, request.why, "kp_get: pool is NULL; did kp_pool_open fail?");
    bool tries = ask && (ask->flags & KP_DONT_WAIT) && ask->within_ms == KP_NONE;
    if (kp__hit_locked(g.pool, key, ask, site, out)) {
        kp__leave(g.pool, &todo);
        return 0;
    }
    if (!tries && !kp__may_block(g.pool))
        code = kp__misuse_within(g.pool, &todo, request.why,
                                 "kp_get on the thread of the pool's own loop would wait for "
                                 "itself; use kp_get_start, or kp_try_get");
    else code = kp__get_begin(&g, key, ask, &todo);
    if (code == 0) {
        if ((code = kp__get_run(&g, &todo)) == KP_ETIMEDOUT) kp__get_tell(&g, &todo);
        kp__get_end(&g, code, out, &todo);
        if (code == 0 && g.pool->stack)
            kp__trace(g.pool, request.slot, request.grant.seat, &todo);
    }
    kp__leave(g.pool, &todo);
    return code;
}
