/* SPDX-License-Identifier: MIT
 *
 * Gets that wait without a thread. A request of an event loop walks the same steps as that of a
 * blocked thread (get.c). Where the thread parks, this one sets an alarm for its next look, and
 * goes on when the loop's thread dispatches (loop.c): because a letter came (it was answered), or
 * because of the alarm, which others may bring forward (kp__nudge).
 */
#include <string.h>

#include "base/check.h"
#include "flow/door.h"
#include "flow/event.h"
#include "flow/find.h"
#include "flow/get.h"
#include "flow/here.h"
#include "flow/job.h"
#include "flow/loop.h"
#include "flow/settings.h"

_Static_assert(sizeof(struct kp__request) <= sizeof ((kp_request *)NULL)->opaque,
               "a request fits");
_Static_assert(offsetof(struct kp_loop, box) == 0, "request.c of the core finds it there");

static struct kp__request *inside(kp_request *request)
{
    return (struct kp__request *)(void *)request->opaque;
}

kp_request *kp__request_of(struct kp__request *r)
{
    return KP__OF((void *)r, kp_request, opaque);
}

/* Its pool, which stays while the request is under way. */
static struct kp__pool *pool_of(const struct kp__request *r)
{
    /* relaxed: this thread found it there when it started the request, and it has stayed since */
    return atomic_load_explicit(&kp__door_of(r->pool)->pool, memory_order_relaxed);
}

/* Set the alarm for the next look; a request that was answered meanwhile has a letter instead. With
 * the pool's lock. True: ring afterwards. */
static bool file(kp_loop *loop, const struct kp__get *g)
{
    struct kp__request *r = g->request;

    if (kp__waits(r)) return kp__mail_set(&loop->box, &r->alarm, kp__get_until(g));
    kp__mail_mute(&loop->box, &r->alarm);
    return false;
}

/* The request is over: nothing of ours points to it any more. If its letter was read already, its
 * alarm was muted then. With the pool's lock. */
static void let_go(kp_loop *loop, struct kp__request *r)
{
    r->pool = 0;
    if (r->posted) kp__mail_forget(&loop->box, &r->link);
}

/* After a step: call what it has left to be called of the user's. Any of that may cancel the
 * request, and free it; so none of it runs within the step, where driver functions are only posted.
 * True: the request is still there. False: a cancel has ended it (it clears `stepping`). With the
 * lock, given back meanwhile. */
static bool survives_user_code(kp_loop *loop, struct kp__get *g, int code, struct kp__job *late,
                               struct kp__todo *todo)
{
    struct kp__pool *pool = g->pool;

    loop->stepping = g->request;
    pool->inside++; /* as of any request under way: a cancel steps in */
    if (g->probing) kp__tell_probing(pool, g->request->sub, todo);
    else if (code == KP_ETIMEDOUT) /* never of a probe: its driver function runs later */
        kp__get_tell(g, todo);
    if (late) kp__job_hurry(pool, late, todo);
    kp__do(pool, todo);
    bool survived = loop->stepping == g->request;
    if (survived) pool->inside--;
    loop->stepping = NULL;
    return survived;
}

void kp__request_step(kp_loop *loop, struct kp__request *r, bool told)
{
    struct kp__pool *pool = pool_of(r);
    struct kp__get g = { .pool = pool, .request = r };
    kp_request *request = kp__request_of(r);
    kp_lease lease = { 0 };
    struct kp__todo todo;

    kp__todo_init(&todo, pool->world);
    kp__step_in(pool);
    if (told) r->posted = false;
    kp__here.stepping = loop;
    struct kp__job *late = kp__get_look(&g, &todo);
    int code = kp__get_run(&g, &todo);
    kp__here.stepping = NULL;
    if (!survives_user_code(loop, &g, code, late, &todo)) {
        kp__leave(pool, &todo);
        return;
    }
    if (code == KP_PENDING) {
        (void)file(loop, &g); /* this is a dispatch, which then says how long to sleep */
        kp__step_out(pool, &todo); /* it stays under way, so the pool stays, too */
        return;
    }
    kp__get_end(&g, code, &lease, &todo);
    let_go(loop, r);
    bool last = code != 0; /* no lease keeps the pool, and drop_ctx must come after done */
    pool->inside += last;
    kp__leave(pool, &todo);
    request->done(request, code, lease);
    if (!last) return;
    kp__step_in(pool);
    kp__leave(pool, &todo);
}

/* Can the driver's functions run without blocking the thread of a loop? 0, or KP_ECONFIG. */
static int check_for_loop(const struct kp__pool *pool, kp_why *why)
{
    const kp_driver *d = &pool->driver;

    if ((d->flags & KP_NEVER_BLOCKS) || pool->crew) return 0;
    if (!d->create && !d->destroy && !d->validate && !d->reset) return 0;
    return kp__refused(why, "driver.flags",
                       "the driver may block, and a loop must not: set KP_NEVER_BLOCKS if it never "
                       "does, or give the pool threads");
}

static int start(kp_loop *loop, struct kp__get *g, kp_key key, const kp_ask *ask,
                 struct kp__todo *todo)
{
    struct kp__pool *pool = g->pool;
    struct kp__request *r = g->request;
    kp_lease none;

    int code = pool->core.phase == KP__OPEN ? check_for_loop(pool, r->why) : 0;
    if (code != 0) pool->core.seldom.refusals++;
    else code = kp__get_begin(g, key, ask, todo);
    if (code == 0 && r->grant.kind == KP__GRANT_NO)
        kp__get_end(g, code = r->grant.code, &none, todo);
    if (code != 0) {
        let_go(loop, r);
        kp__leave(pool, todo);
        return code;
    }
    kp__do(pool, todo);
    if (!r->waited) kp__rouse(todo, r); /* else it was queued, and has its letter or will */
    bool ring = file(loop, g);
    kp__step_out(pool, todo); /* under way: the pool stays until this is over */
    if (ring) kp__mail_ring(&loop->box);
    return 0;
}

static const char *start_refused(const kp_request *request)
{
    if (!request || !request->loop || !request->done)
        return "kp_get_start: request.loop and request.done must be set, and the rest zero";
    if (inside((kp_request *)(uintptr_t)request)->pool)
        return "kp_get_start: this request is under way already, or was not zeroed";
    if (!request->loop->box.open) return "kp_get_start: request.loop is closed";
    if (kp__loop_is_inherited(request->loop)) return NULL;
    if (!kp__loop_own(request->loop))
        return "kp_get_start: another thread dispatches this loop; start requests on that one";
    return request->loop->closing ? "kp_get_start: request.loop is being closed" : NULL;
}

static int get_start(kp_loop *loop, kp_pool *door, kp_key key, const kp_ask *ask,
                     struct kp__request *r)
{
    struct kp__get g = { .request = r };
    struct kp__todo todo;
    kp_why *why = r->why;
    int code;

    if ((g.pool = kp__enter(door, &todo, &code)) == NULL)
        return kp__no_pool(code, why, "kp_get_start: pool is NULL; did kp_pool_open fail?");
    g.request->pool = g.pool->core.id;
    if (kp__loop_keeps_time(loop, g.pool->world)) return start(loop, &g, key, ask, &todo);
    code = kp__misuse_within(g.pool, &todo, why,
                             "kp_get_start: this loop serves pools that use another clock");
    let_go(loop, g.request);
    kp__leave(g.pool, &todo);
    return code;
}

int kp_get_start(kp_pool *door, kp_key key, const kp_ask *ask, kp_request *request)
{
    kp_why *why = ask ? ask->why : NULL;
    const char *sentence = start_refused(request);

    if (why) memset(why, 0, sizeof *why);
    if (sentence) return kp__misuse_by(door, why, sentence);
    kp_loop *loop = request->loop;
    kp__request_init(inside(request), true, NULL, why);
    if (kp__loop_is_inherited(loop)) { /* whatever becomes of the pool */
        kp__say(why, KP_EFORKED, "request.loop was opened before fork: a child opens its own loop");
        return KP_EFORKED;
    }
    loop->starting++; /* user code called in there may not close it */
    int code = get_start(loop, door, key, ask, inside(request));
    loop->starting--;
    return code;
}

void kp_cancel(kp_request *request)
{
    struct kp__request *r = request ? inside(request) : NULL;
    struct kp__todo todo;
    kp_lease none;

    if (!r || !r->pool) return;
    if (kp__loop_is_inherited(request->loop)) { /* the parent's: not ours to end */
        r->pool = 0;
        return;
    }
    struct kp__get g = { .pool = pool_of(r), .request = r };
    struct kp__pool *pool = g.pool;
    struct kp__subpool *sub = r->sub;
    if (!kp__loop_is_mine(request->loop)) {
        (void)kp__misuse(pool, NULL, "kp_cancel: call it on the thread of the request's loop");
        return;
    }
    if (!kp__mail_is_set(&request->loop->box, &r->alarm)) return; /* not yet: within its start */
    if (request->loop->stepping == r) request->loop->stepping = NULL;
    kp__todo_init(&todo, pool->world);
    kp__step_in(pool);
    bool first = r->grant.first; /* a first probe, not told yet */
    struct kp__job *late = kp__get_abandon(&g, &todo);
    sub->interest++; /* until the event is sent */
    kp__get_end(&g, KP_ECANCELED, &none, &todo);
    let_go(request->loop, r);
    if (late) kp__job_hurry(pool, late, &todo);
    if (first) kp__tell_probing(pool, sub, &todo);
    kp__lose_interest(pool, sub, sub->used_at);
    kp__leave(pool, &todo);
}
