/* SPDX-License-Identifier: MIT
 *
 * The way in: find (1, find.c), claim (2, core/serve.c), wait (3), create (4, create.c), check (5),
 * lend (6). One value flows: the request's grant. Whether the answer is there at once or comes
 * after waiting, it is the same value, and the loop in `run` reads the same. The way back is in
 * release.c.
 */
#include <string.h>

#include "flow/job.h"

struct get {
    struct kp__pool *pool;
    struct kp__subpool *sub;
    struct kp__request request;
    struct kp__failure failure;
    kp_why *why;
    bool at_once;   /* the ask said not to wait */
    uint64_t began; /* 0: the clock was not needed so far */
};

/* ---- the ask --------------------------------------------------------------------------------- */

static const kp_ask no_ask;

static const char *ask_refused(const struct kp__pool *pool, const kp_ask *ask)
{
    if (ask->within_ms < 0 && ask->within_ms != KP_NONE && ask->within_ms != KP_OFF)
        return "kp_ask.within_ms is negative; KP_NONE does not wait, KP_OFF waits for ever";
    if (ask->until.ns && ask->until.ns < pool->opened)
        return "kp_ask.until lies before the pool was opened; make it with kp_deadline_in";
    if (ask->flags & ~(uint32_t)(KP_DONT_WAIT | KP_DONT_CREATE | KP_FRESH))
        return "kp_ask.flags has a bit that this library does not know";
    if ((ask->flags & KP_FRESH) && (ask->flags & (KP_DONT_CREATE | KP_DONT_WAIT)))
        return "kp_ask.flags: KP_FRESH wants a new resource, which the other flags forbid";
    if (ask->reserved0 || ask->reserved[0] || ask->reserved[1] || ask->reserved[2])
        return "kp_ask has reserved words that are not zero; was it zeroed?";
    return NULL;
}

/* L4: one absolute deadline, once. */
static uint64_t deadline_of(const struct kp__pool *pool, const kp_ask *ask, uint64_t now)
{
    uint64_t at = KP__NEVER;

    if (ask->within_ms != 0) at = kp__after(now, ask->within_ms);
    else if (!ask->until.ns) at = kp__later(now, pool->deadline);
    if (ask->until.ns && ask->until.ns < at) at = ask->until.ns;
    return at;
}

/* The clock is read when something needs it, and a bare hit does not (L9). */
static uint64_t start_clock(struct get *g, const kp_ask *ask)
{
    if (g->began) return g->began;
    g->began = kp__time(g->pool);
    g->request.arrived = g->began;
    g->request.deadline = deadline_of(g->pool, ask, g->began);
    return g->began;
}

/* ---- 3. wait --------------------------------------------------------------------------------- */

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Back into the queue, if there is time left. */
static void wait_again(struct get *g, uint64_t now, struct kp__todo *todo)
{
    static const struct kp__grant late = {
        .kind = KP__GRANT_NO, .code = KP_ETIMEDOUT, .limit = "deadline"
    };

    if (now < g->request.deadline) kp__wait_again(&g->pool->core, &g->request, now, todo);
    else g->request.grant = late;
}

/* Nobody waits for its creation any more: the driver may hurry. It is answered all the same. */
static void hurry(struct get *g, struct kp__job *job, struct kp__todo *todo)
{
    if (!job || !g->pool->driver.cancel) return;
    kp__job_hold(job);
    kp__step_out(g->pool, todo);
    kp__job_cancel(job);
    kp__step_in(g->pool);
    kp__job_let_go(job);
}

/* The deadline, or the time that a create may take, has come. */
static void give_up(struct get *g, uint64_t now, struct kp__todo *todo)
{
    struct kp__request *r = &g->request;
    struct kp__job *job = r->making ? r->making->job : NULL;
    bool late = now >= r->deadline;

    if (!kp__withdraw(&g->pool->core, r, now, todo)) return;
    if (!late && g->sub->rules->retry_requests) {
        wait_again(g, now, todo);
    } else if (!late) {
        g->failure.code = r->grant.code = KP_ECREATE;
        r->grant.limit = "create_timeout_ms";
        strcpy(g->failure.text, "the create took longer than create_timeout_ms");
    } else if (g->at_once) {
        r->grant.code = KP_EAGAIN; /* it said not to wait */
    }
    hurry(g, job, todo);
}

/* When it gives up: its deadline, or what its own creation may take. */
static uint64_t end_of(const struct kp__request *r)
{
    return r->making ? sooner(r->deadline, r->create_until) : r->deadline;
}

/* Park until somebody answers, the deadline comes, or there is a moment to look again. With the
 * lock before and after. */
static void wait(struct get *g, struct kp__todo *todo)
{
    struct kp__pool *pool = g->pool;
    struct kp__request *r = &g->request;
    uint64_t until = sooner(end_of(r), r->again); /* if that moves, the request is nudged */

    /* relaxed, all three: under the lock */
    if (atomic_load_explicit(&r->state, memory_order_relaxed) == KP__NUDGED)
        atomic_store_explicit(&r->state, KP__WAITING, memory_order_relaxed);
    kp__step_out(pool, todo);
    pool->world->park((uint32_t *)&r->state, KP__WAITING, until, pool->world->ctx);
    kp__step_in(pool);
    if (atomic_load_explicit(&r->state, memory_order_relaxed) == KP__ANSWERED) return;
    uint64_t now = kp__time(pool);
    if (now >= end_of(r)) {
        give_up(g, now, todo);
        return;
    }
    if (now < r->again) return;
    r->again = KP__NEVER; /* a head is told anew; who is none need not ask */
    kp__settle(&pool->core, g->sub, now, todo);
}

/* ---- 5. check -------------------------------------------------------------------------------- */

static bool must_validate(const struct get *g)
{
    const struct kp__rules *r = g->sub->rules;
    const struct kp__grant *grant = &g->request.grant;

    return g->pool->driver.validate && (r->validate_on & KP_CHECK_GET) &&
           kp__seat_at(grant->slot, grant->seat)->hit && grant->slot->borrowers == 1 &&
           grant->idle_ns >= r->validate_after;
}

/* Is the resource still good? If not, it is destroyed, and the request waits again, at its old
 * place and with its old deadline. */
static bool check(struct get *g, struct kp__todo *todo)
{
    struct kp__pool *pool = g->pool;
    struct kp__slot *slot = g->request.grant.slot;
    uint32_t seat = g->request.grant.seat;

    if (!must_validate(g)) return true;
    uint64_t now = kp__time(pool);
    uint64_t until = sooner(g->request.deadline, kp__later(now, g->sub->rules->validate_timeout));
    kp__list_remove(&slot->open_seat); /* nobody shares it before it is known to be good */
    kp__step_out(pool, todo);
    int status = kp__job_run(pool, KP_JOB_VALIDATE, slot, seat, g->request.tag, until);
    kp__step_in(pool);
    now = kp__time(pool);
    if (status == 0 && !slot->doomed) {
        kp__open_seats(slot);
        if (slot->seats > 1) kp__settle(&pool->core, g->sub, now, todo);
        return true;
    }
    g->sub->tally.hits--;
    pool->core.tally.hits--;
    if (status <= 0) kp__give(&pool->core, slot, seat, status == 0, KP__INVALID, now, todo);
    wait_again(g, now, todo); /* before its room is given away: nobody overtakes it */
    kp__do(pool, todo);
    return false;
}

/* ---- the loop -------------------------------------------------------------------------------- */

/* 4. create, after its victim is destroyed. */
static void create(struct get *g, struct kp__todo *todo)
{
    struct kp__pool *pool = g->pool;
    struct kp__request *r = &g->request;
    struct kp__slot *victim = r->grant.victim;

    if (victim) {
        kp__step_out(pool, todo);
        kp__destroy(pool, victim, g->sub);
        kp__step_in(pool);
    }
    kp__do(pool, todo);
    kp__create(pool, g->sub, r);
    if (r->grant.kind != KP__GRANT_NO || !g->sub->rules->retry_requests ||
        r->grant.code != KP_ECREATE)
        return;
    if (pool->core.phase == KP__OPEN)
        wait_again(g, kp__time(pool), todo); /* KP_FAIL_RETRY */
}

static int run(struct get *g, struct kp__todo *todo)
{
    struct kp__request *r = &g->request;

    for (;;) {
        switch (r->grant.kind) {
        case KP__GRANT_WAIT: wait(g, todo); break;     /* 3 */
        case KP__GRANT_PERMIT: create(g, todo); break; /* 4 */
        case KP__GRANT_SLOT:                           /* 5 */
            if (check(g, todo)) return 0;
            break;
        case KP__GRANT_NO: return r->grant.code;
        }
    }
}

/* ---- 6. lend, or say why not ----------------------------------------------------------------- */

static void count_wait(struct get *g)
{
    struct kp__tally *tally[] = { &g->sub->tally, &g->pool->core.tally };

    if (!g->request.waited) return;
    for (int i = 0; i < 2; i++) tally[i]->wait_ns += kp__time(g->pool) - g->request.arrived;
}

static void refuse(struct get *g, int code, struct kp__todo *todo)
{
    struct kp__tally *tally[] = { &g->sub->tally, &g->pool->core.tally };
    kp_why own, *why = g->why ? g->why : &own;
    bool send = code == KP_ETIMEDOUT && g->pool->on_event;

    for (int i = 0; i < 2; i++) code == KP_ETIMEDOUT ? tally[i]->timeouts++ : tally[i]->refusals++;
    if (!g->why && !send) return;
    kp__explain_no(&g->request, kp__time(g->pool), why);
    if (!send) return;
    kp__step_out(g->pool, todo);
    kp__event(g->pool, KP_EVENT_TIMEOUT, g->sub, NULL, code, why);
    kp__step_in(g->pool);
}

static int finish(struct get *g, int code, kp_lease *out, struct kp__todo *todo)
{
    count_wait(g);
    g->pool->getting--;
    kp__tell(g->pool, todo); /* a closing pool may be waiting for the queue to end */
    if (code == 0) {
        g->sub->tally.gets++;
        g->pool->core.tally.gets++;
        kp__lease_write(g->pool, g->request.grant.slot, g->request.grant.seat, out);
    } else {
        refuse(g, code, todo);
    }
    kp__lose_interest(g->pool, g->sub, g->began);
    return code;
}

/* Not even a subpool: there is nobody to count it for but the pool. */
static int no_subpool(struct get *g, int code)
{
    if (g->why && g->why->code == 0) kp__say(g->why, code, NULL);
    if (g->why && code == KP_EFULL) strcpy(g->why->limit, "budget.max_keys");
    g->pool->core.tally.refusals++;
    return code;
}

/* ---- the door -------------------------------------------------------------------------------- */

/* Refused before anything is looked up? Hashing runs under the lock: it is pure (R3), and shorter
 * than a second locking. */
static int ask_check(struct get *g, kp_key key, const kp_ask *ask, struct kp__todo *todo)
{
    const char *sentence = ask == &no_ask ? NULL : ask_refused(g->pool, ask);
    int code = sentence ? kp__misuse_within(g->pool, todo, g->why, sentence)
                        : kp__check_key(g->pool, key, g->why, todo);

    if (code == 0 && g->pool->core.phase != KP__OPEN) {
        kp__say(g->why, code = KP_ECLOSED, NULL);
        g->pool->core.tally.refusals++;
    }
    return code;
}

/* 2. claim, and all that follows. A hit that no rule times reads no clock (L9). */
static int serve(struct get *g, const kp_ask *ask, kp_lease *out, struct kp__todo *todo)
{
    bool bare = !g->pool->core.clocked && g->sub->count[KP__IDLE] > 0 &&
                g->pool->core.waiting == 0 && !g->sub->health.tripped && g->request.flags == 0;
    uint64_t now = bare ? 0 : start_clock(g, ask);

    g->request.sub = g->sub;
    g->pool->getting++;
    kp__claim(&g->pool->core, &g->request, now, todo);
    if (g->request.grant.kind != KP__GRANT_SLOT)
        kp__look_at_keeper(g->pool, start_clock(g, ask), todo);
    return finish(g, run(g, todo), out, todo);
}

int kp_get(kp_pool *door, kp_key key, const kp_ask *ask, kp_lease *out)
{
    struct get g = { .request = { .deadline = KP__NEVER } };
    struct kp__todo todo;
    int code;

    if (!ask) ask = &no_ask;
    memset(out, 0, sizeof *out);
    g.why = ask->why;
    if (g.why) memset(g.why, 0, sizeof *g.why);
    g.request.tag = ask->tag;
    g.request.flags = ask->flags;
    g.at_once = ask->within_ms == KP_NONE;
    g.request.failure = &g.failure;
#if defined(__GNUC__)
    g.request.site = __builtin_return_address(0);
#endif
    if ((g.pool = kp__enter(door, &code)) == NULL)
        return kp__no_pool(code, g.why, "kp_get: pool is NULL; did kp_pool_open fail?");
    kp__todo_init(&todo, g.pool->world);
    code = ask_check(&g, key, ask, &todo);
    if (code == 0) {
        g.sub = kp__find(g.pool, key, kp__hash(g.pool, key), true, g.why, &code); /* 1 */
        code = g.sub ? serve(&g, ask, out, &todo) : no_subpool(&g, code);
    }
    kp__leave(g.pool, &todo);
    return code;
}
