/* SPDX-License-Identifier: MIT
 *
 * Gets that wait without a thread. A request of an event loop walks the same steps as a blocked
 * thread (get.c), but where that parks, this one files when it wants to look again, and goes on
 * when the loop's thread dispatches (loop.c): because a letter came (it was answered, or nudged),
 * or because the time has come.
 */
#include <string.h>

#include "base/cancel.h"
#include "base/check.h"
#include "flow/job.h"
#include "flow/loop.h"

_Static_assert(sizeof(struct kp__get) <= sizeof ((kp_request *)NULL)->opaque, "a request fits");

static struct kp__get *get_of(kp_request *request)
{
    return (struct kp__get *)(void *)request->opaque;
}

kp_request *kp__request_of(struct kp__get *g)
{
    return KP__OF((void *)g, kp_request, opaque);
}

static void file(kp_loop *loop, struct kp__get *g)
{
    kp__timers_file(&loop->timers, &g->timer, kp__get_until(g));
}

/* It is over: nothing of ours points to it any more. With the pool's lock. */
static void let_go(kp_loop *loop, struct kp__get *g)
{
    g->pool = NULL;
    kp__timers_remove(&loop->timers, &g->timer);
    kp__mail_remove(&loop->box, &g->request.mail);
}

/* The driver's functions and on_event may cancel the request whose step they are called from, and
 * free it. So they run when all has been done with it (what the step wants run is posted), or
 * between two things: then `stepping` tells. False: it is over. With the lock, given back
 * meanwhile. */
static bool still(kp_loop *loop, struct kp__get *g, int code, struct kp__job *late,
                  struct kp__todo *todo)
{
    struct kp__pool *pool = g->pool;

    loop->stepping = g;
    pool->inside++; /* a cancel takes it back */
    if (code == KP_ETIMEDOUT) kp__get_tell(g, todo);
    if (late) kp__get_hurry(pool, late, todo);
    kp__do(pool, todo);
    bool same = loop->stepping == g;
    pool->inside -= same;
    loop->stepping = NULL;
    return same;
}

void kp__request_step(kp_loop *loop, struct kp__get *g)
{
    struct kp__pool *pool = g->pool;
    kp_request *request = kp__request_of(g);
    kp_lease lease = { 0 };
    struct kp__todo todo;

    kp__todo_init(&todo, pool->world);
    kp__step_in(pool);
    kp__here.stepping = loop;
    struct kp__job *late = kp__get_look(g, &todo);
    int code = kp__get_run(g, &todo);
    kp__here.stepping = NULL;
    bool over = !still(loop, g, code, late, &todo);
    if (!over && code == KP_PENDING) {
        file(loop, g);
        kp__step_out(pool, &todo); /* it stays under way, and the pool with it */
        return;
    }
    if (!over) {
        kp__get_end(g, code, &lease, &todo);
        let_go(loop, g);
    }
    kp__leave(pool, &todo);
    if (over) return;
    int cancel = kp__cancel_hold();
    request->done(request, code, lease);
    kp__cancel_free(cancel);
}

/* May its driver's functions run without anybody's thread being blocked who must not be? */
static int has_hands(const struct kp__pool *pool, kp_why *why)
{
    const kp_driver *d = &pool->driver;

    if ((d->flags & KP_NEVER_BLOCKS) || pool->crew) return 0;
    if (!d->create && !d->destroy && !d->validate && !d->reset) return 0;
    return kp__refused(why, "driver.flags",
                       "the driver may block, and a loop must not: say KP_NEVER_BLOCKS if it never "
                       "does, or give the pool threads");
}

static int start(kp_loop *loop, struct kp__get *g, kp_key key, const kp_ask *ask)
{
    struct kp__pool *pool = g->pool;
    struct kp__todo todo;
    kp_lease none;

    kp__todo_init(&todo, g->pool->world);
    int code = has_hands(g->pool, g->request.why);
    if (code == 0) code = kp__get_begin(g, key, ask, true, &todo);
    if (code == 0 && g->request.grant.kind == KP__GRANT_NO)
        kp__get_end(g, code = g->request.grant.code, &none, &todo);
    if (code != 0) {
        let_go(loop, g);
        kp__leave(pool, &todo);
        return code;
    }
    kp__do(pool, &todo);
    if (g->request.grant.kind != KP__GRANT_WAIT) kp__rouse(&todo, &g->request);
    file(loop, g);
    kp__step_out(pool, &todo); /* under way: the pool stays until it is over */
    return 0;
}

static const char *start_refused(const kp_request *request)
{
    if (!request || !request->loop || !request->done)
        return "kp_get_start: request.loop and request.done must be set, and the rest zero";
    if (get_of((kp_request *)(uintptr_t)request)->pool)
        return "kp_get_start: this request is under way already, or was not zeroed";
    if (!request->loop->box.open) return "kp_get_start: request.loop is closed";
    if (!kp__loop_is_inherited(request->loop) && !kp__loop_own(request->loop))
        return "kp_get_start: another thread dispatches this loop; start requests there";
    return NULL;
}

int kp_get_start(kp_pool *door, kp_key key, const kp_ask *ask, kp_request *request)
{
    kp_why *why = ask ? ask->why : NULL;
    const char *sentence = start_refused(request);
    int code;

    if (why) memset(why, 0, sizeof *why);
    if (sentence) return kp__misuse(NULL, why, sentence);
    kp_loop *loop = request->loop;
    struct kp__get *g = get_of(request);
    memset(g, 0, sizeof *g);
    g->request.why = why;
    g->request.box = &loop->box;
    kp__list_init(&g->request.mail);
#if defined(__GNUC__)
    g->request.site = __builtin_return_address(0);
#endif
    if (kp__loop_is_inherited(loop)) return kp__no_pool(KP_EFORKED, why, NULL);
    if ((g->pool = kp__enter(door, &code)) == NULL)
        return kp__no_pool(code, why, "kp_get_start: pool is NULL; did kp_pool_open fail?");
    if (kp__loop_keeps_time(loop, g->pool->world)) return start(loop, g, key, ask);
    struct kp__todo todo;
    kp__todo_init(&todo, g->pool->world);
    code = kp__misuse_within(g->pool, &todo, why,
                             "kp_get_start: this loop serves pools of another clock");
    struct kp__pool *pool = g->pool;
    let_go(loop, g);
    kp__leave(pool, &todo);
    return code;
}

void kp_cancel(kp_request *request)
{
    struct kp__get *g = request ? get_of(request) : NULL;
    struct kp__todo todo;
    kp_lease none;

    if (!g || !g->pool || !kp__timer_is_filed(&g->timer)) return; /* not filed: inside its start */
    if (kp__loop_is_inherited(request->loop)) { /* the parent's: not ours to end */
        g->pool = NULL;
        return;
    }
    if (!kp__loop_is_mine(request->loop)) {
        (void)kp__misuse(g->pool, NULL, "kp_cancel: call it on the thread of the request's loop");
        return;
    }
    struct kp__pool *pool = g->pool;
    if (request->loop->stepping == g) request->loop->stepping = NULL;
    kp__todo_init(&todo, pool->world);
    kp__step_in(pool);
    struct kp__job *late = kp__get_abandon(g, &todo);
    kp__get_end(g, KP_ECANCELED, &none, &todo);
    let_go(request->loop, g);
    if (late) kp__get_hurry(pool, late, &todo);
    kp__leave(pool, &todo);
}
