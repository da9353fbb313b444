/* SPDX-License-Identifier: MIT
 *
 * Event loops: gets that wait without a thread. A request walks the same steps as a blocked thread
 * (get.c), but where that parks, this one files when it wants to look again, and goes on when the
 * loop's thread dispatches: because a letter came (it was answered, or nudged), or because the time
 * has come. A loop with pools of its own is their keeper, too, and runs their driver's functions.
 *
 * Loops live for as long as the process does and are used again: base/mail.h says why.
 *
 * Locks: the pool's, then the mailbox's. `timers` and what it holds belong to the loop's thread.
 */
#include <string.h>

#include "base/cancel.h"
#include "base/check.h"
#include "flow/get.h"
#include "flow/job.h"

enum { AT_ONCE = 1024 }; /* letters, and timers, per dispatch: so that nobody is held up for long */
enum { REQUESTS, JOBS }; /* trays */

struct kp_loop {
    struct kp__mailbox box;
    _Atomic uint32_t owner; /* the thread's number; 0: nobody's yet */
    uint32_t forks;         /* constant while open: kp__forks when it was opened */
    bool dispatching;       /* its thread's */
    struct kp__get *stepping; /* its thread's. The request that is being looked at; NULL: none, or
                                 it was cancelled meanwhile */
    struct kp__heap timers; /* its thread's. All requests that are under way, by `at` */
    struct kp__heap doors;  /* Guard: box.lock. Pools with something due, by keep_at */
    uint32_t pools;         /* Guard: box.lock. Those that named it */
    uint64_t (*now_ns)(void *ctx); /* Guard: box.lock. The one clock of its pools; NULL: none yet */
    void *clock;
    kp_loop *next;          /* constant: all loops ever made */
};

_Static_assert(sizeof(struct kp__get) <= sizeof ((kp_request *)NULL)->opaque, "a request fits");

static struct kp__lock registry;
static kp_loop *all;              /* Guard: registry */
static _Atomic uint32_t threads;  /* numbers given out */

_Thread_local struct kp__here kp__here;

/* ---- whose ----------------------------------------------------------------------------------- */

static struct kp__get *get_of(kp_request *request)
{
    return (struct kp__get *)(void *)request->opaque;
}

static kp_request *request_of(struct kp__get *g)
{
    return KP__OF((void *)g, kp_request, opaque);
}

bool kp__loop_is_mine(const kp_loop *loop)
{
    /* relaxed: nobody but this thread stores its number */
    return kp__here.thread != 0 &&
           atomic_load_explicit(&loop->owner, memory_order_relaxed) == kp__here.thread;
}

bool kp__may_block(const struct kp__pool *pool)
{
    return !pool->loop || !kp__loop_is_mine(pool->loop);
}

/* Enter as the loop's thread; the first one to come becomes it. False: another one is. */
static bool own(kp_loop *loop)
{
    uint32_t nobody = 0;

    if (kp__here.thread == 0)
        /* relaxed: a number, and nothing else */
        kp__here.thread = atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) + 1;
    /* relaxed, both: the number alone says it; who opened the loop handed it over */
    if (!kp__loop_is_mine(loop)) {
        if (!atomic_compare_exchange_strong_explicit(&loop->owner, &nobody, kp__here.thread,
                                                     memory_order_relaxed, memory_order_relaxed))
            return false;
        kp__here.loops++;
    }
    kp__here.loop = loop;
    return true;
}

static bool is_inherited(const kp_loop *loop)
{
    /* relaxed: the child's own store, or none */
    return loop->forks != atomic_load_explicit(&kp__forks, memory_order_relaxed);
}

/* The loops are the parent's, also those of this thread; who held the lock is not there. */
void kp__loops_in_child(void)
{
    atomic_store(&registry.word, 0);
    kp__here = (struct kp__here){ 0 };
}

/* A loop has one clock: that of the first pool. */
static bool keep_time(kp_loop *loop, const struct kp__world *world)
{
    void *clock = world->now_ns == kp__life.now_ns ? NULL : world->ctx;

    kp__lock_take(&loop->box.lock, &kp__life);
    if (!loop->now_ns) {
        loop->now_ns = world->now_ns;
        loop->clock = clock;
    }
    bool same = loop->now_ns == world->now_ns && loop->clock == clock;
    kp__lock_give(&loop->box.lock, &kp__life);
    return same;
}

/* ---- open ------------------------------------------------------------------------------------ */

static bool timer_before(const struct kp__heap_node *a, const struct kp__heap_node *b)
{
    return KP__OF(a, struct kp__get, timer)->at < KP__OF(b, struct kp__get, timer)->at;
}

static bool door_before(const struct kp__heap_node *a, const struct kp__heap_node *b)
{
    return KP__OF(a, struct kp_pool, keep)->keep_at < KP__OF(b, struct kp_pool, keep)->keep_at;
}

/* One that is closed, or a new one. With the registry's lock; NULL: out of memory. */
static kp_loop *spare(void)
{
    kp_loop *loop = all;

    while (loop && (loop->box.open || is_inherited(loop))) loop = loop->next;
    if (!loop && (loop = kp__alloc(&kp__life, sizeof *loop, 64)) != NULL) {
        loop->next = all;
        all = loop;
    }
    return loop;
}

int kp_loop_open(kp_loop **out)
{
    kp__lock_take(&registry, &kp__life);
    kp_loop *loop = spare();
    bool opened = loop && kp__mailbox_open(&loop->box);

    if (opened) {
        loop->forks = atomic_load(&kp__forks);
        loop->dispatching = false;
        loop->stepping = NULL;
        loop->pools = 0;
        loop->now_ns = NULL;
        kp__heap_init(&loop->timers, timer_before);
        kp__heap_init(&loop->doors, door_before);
    }
    kp__lock_give(&registry, &kp__life);
    *out = opened ? loop : NULL;
    return opened ? 0 : KP_ENOMEM;
}

int kp_loop_fd(const kp_loop *loop)
{
    return loop ? loop->box.fd : -1;
}

/* ---- requests -------------------------------------------------------------------------------- */

static void file(kp_loop *loop, struct kp__get *g)
{
    g->at = kp__get_until(g);
    if (kp__heap_holds(&g->timer)) kp__heap_fix(&loop->timers, &g->timer);
    else kp__heap_insert(&loop->timers, &g->timer);
}

/* It is over: nothing of ours points to it any more. With the pool's lock. */
static void let_go(kp_loop *loop, struct kp__get *g)
{
    g->pool = NULL;
    if (kp__heap_holds(&g->timer)) kp__heap_remove(&loop->timers, &g->timer);
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

/* Go on with a request: its answer came, or the time to look again. */
static void step(kp_loop *loop, struct kp__get *g)
{
    struct kp__pool *pool = g->pool;
    kp_request *request = request_of(g);
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
    if (!is_inherited(request->loop) && !own(request->loop))
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
    kp__heap_node_init(&g->timer);
#if defined(__GNUC__)
    g->request.site = __builtin_return_address(0);
#endif
    if (is_inherited(loop)) return kp__no_pool(KP_EFORKED, why, NULL);
    if ((g->pool = kp__enter(door, &code)) == NULL)
        return kp__no_pool(code, why, "kp_get_start: pool is NULL; did kp_pool_open fail?");
    if (keep_time(loop, g->pool->world)) return start(loop, g, key, ask);
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

    if (!g || !g->pool || !kp__heap_holds(&g->timer)) return; /* not filed: inside its start */
    if (is_inherited(request->loop)) { /* the parent's: not ours to end */
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

/* ---- dispatch -------------------------------------------------------------------------------- */

static void read_mail(kp_loop *loop)
{
    struct kp__list *letter;

    for (int n = 0; n < AT_ONCE; n++) {
        if ((letter = kp__mail_take(&loop->box, JOBS)) != NULL)
            kp__job_perform(KP__OF(letter, struct kp__job, queue));
        else if ((letter = kp__mail_take(&loop->box, REQUESTS)) != NULL)
            step(loop, KP__OF(letter, struct kp__get, request.mail));
        else return;
    }
}

static struct kp__get *first_timer(const kp_loop *loop)
{
    struct kp__heap_node *top = kp__heap_top(&loop->timers);

    return top ? KP__OF(top, struct kp__get, timer) : NULL;
}

/* The pool that wants upkeep first, and when (KP__NEVER: none). It is taken out if that is now. */
static kp_pool *first_door(kp_loop *loop, uint64_t now, uint64_t *at)
{
    kp__lock_take(&loop->box.lock, &kp__life);
    struct kp__heap_node *top = kp__heap_top(&loop->doors);
    kp_pool *door = top ? KP__OF(top, struct kp_pool, keep) : NULL;

    *at = door ? door->keep_at : KP__NEVER;
    if (door && *at <= now) kp__heap_remove(&loop->doors, &door->keep);
    else door = NULL;
    kp__lock_give(&loop->box.lock, &kp__life);
    return door;
}

/* The time by the loop's one clock; 0: it has none yet, and so no pool. */
static uint64_t time_of(kp_loop *loop)
{
    kp__lock_take(&loop->box.lock, &kp__life);
    uint64_t (*now_ns)(void *ctx) = loop->now_ns;
    void *clock = loop->clock;
    kp__lock_give(&loop->box.lock, &kp__life);
    return now_ns ? now_ns(clock) : 0;
}

/* What is due by now. Who has a letter in the box is told in its order, which is soon. */
static void keep_appointments(kp_loop *loop, uint64_t now)
{
    struct kp__get *g;
    uint64_t at;
    kp_pool *door;

    for (int n = 0; n < AT_ONCE && (g = first_timer(loop)) != NULL && g->at <= now; n++) {
        if (kp__mail_holds(&loop->box, &g->request.mail)) break;
        step(loop, g);
    }
    for (int n = 0; n < AT_ONCE && (door = first_door(loop, now, &at)) != NULL; n++)
        (void)kp_keep(door); /* says itself when it is due next */
}

/* How many ms it may sleep. Asked when others ring again: what they want before is seen here. */
static int64_t may_sleep(kp_loop *loop)
{
    const struct kp__get *g = first_timer(loop);
    uint64_t at, now;

    (void)first_door(loop, 0, &at);
    if (g && g->at < at) at = g->at;
    if (at == KP__NEVER) return -1;
    now = time_of(loop);
    return at > now ? kp__ms_up(at - now) : 0;
}

int64_t kp_loop_dispatch(kp_loop *loop)
{
    uint64_t now;

    if (!loop || !loop->box.open)
        return kp__misuse(NULL, NULL, "kp_loop_dispatch: this loop is closed, or NULL");
    if (is_inherited(loop)) return KP_EFORKED;
    if (!own(loop))
        return kp__misuse(NULL, NULL, "kp_loop_dispatch: another thread dispatches this loop");
    if (loop->dispatching)
        return kp__misuse(NULL, NULL, "kp_loop_dispatch: called from inside itself; return first");
    loop->dispatching = true;
    kp__mail_begin(&loop->box);
    read_mail(loop);
    if ((now = time_of(loop)) != 0) keep_appointments(loop, now);
    loop->dispatching = false;
    return kp__mail_end(&loop->box) ? 0 : may_sleep(loop);
}

/* ---- pools that name it ---------------------------------------------------------------------- */

static void upkeep(kp_pool *door, uint64_t due_ns, void *ctx)
{
    /* relaxed: under its lock */
    kp_loop *loop = atomic_load_explicit(&door->pool, memory_order_relaxed)->loop;

    (void)ctx;
    kp__lock_take(&loop->box.lock, &kp__life);
    if (kp__heap_holds(&door->keep)) kp__heap_remove(&loop->doors, &door->keep);
    door->keep_at = due_ns;
    if (due_ns != KP__NEVER) kp__heap_insert(&loop->doors, &door->keep);
    bool earlier = kp__heap_top(&loop->doors) == &door->keep;
    kp__lock_give(&loop->box.lock, &kp__life);
    if (earlier) kp__mail_ring(&loop->box); /* it sleeps too long */
}

int kp__loop_join(kp_loop *loop, struct kp__pool *pool)
{
    kp_loop *found;

    kp__lock_take(&registry, &kp__life);
    for (found = all; found && found != loop;) found = found->next;
    bool fits = found && found->box.open && !is_inherited(found) && keep_time(found, pool->world);
    if (fits) {
        kp__lock_take(&found->box.lock, &kp__life);
        found->pools++;
        kp__lock_give(&found->box.lock, &kp__life);
    }
    kp__lock_give(&registry, &kp__life);
    if (!fits) return KP_ECONFIG;
    pool->loop = loop;
    pool->upkeep = upkeep;
    return 0;
}

void kp__loop_part(kp_loop *loop)
{
    if (!loop) return;
    kp__lock_take(&loop->box.lock, &kp__life);
    loop->pools--;
    kp__lock_give(&loop->box.lock, &kp__life);
}

void kp__loop_post(kp_loop *loop, struct kp__job *job)
{
    kp__list_init(&job->queue);
    if (kp__mail_post(&loop->box, JOBS, &job->queue)) kp__mail_ring(&loop->box);
}

/* ---- close ----------------------------------------------------------------------------------- */

static const char *close_refused(kp_loop *loop)
{
    if (!loop->box.open) return "kp_loop_close: this loop is closed already";
    if (!own(loop)) return "kp_loop_close: another thread dispatches this loop; close it there";
    return loop->dispatching ? "kp_loop_close: called from inside kp_loop_dispatch" : NULL;
}

int64_t kp_loop_close(kp_loop *loop)
{
    struct kp__list *letter;
    struct kp__get *g;
    int64_t cancelled = 0;

    if (!loop || is_inherited(loop)) return 0;
    const char *sentence = close_refused(loop);
    if (sentence) return kp__misuse(NULL, NULL, sentence);
    for (; (g = first_timer(loop)) != NULL; cancelled++) kp_cancel(request_of(g));
    while ((letter = kp__mail_take(&loop->box, JOBS)) != NULL)
        kp__job_perform(KP__OF(letter, struct kp__job, queue));
    kp__lock_take(&loop->box.lock, &kp__life);
    bool needed = loop->pools > 0;
    kp__lock_give(&loop->box.lock, &kp__life);
    if (needed)
        return kp__misuse(NULL, NULL,
                          "kp_loop_close: a pool that names this loop is open, or something of it "
                          "is still out; the requests are cancelled, the loop stays");
    kp__lock_take(&registry, &kp__life);
    kp__mailbox_close(&loop->box);
    /* relaxed: as in own */
    atomic_store_explicit(&loop->owner, 0, memory_order_relaxed);
    kp_loop *left = all; /* another one of this thread, or NULL */
    while (left && !kp__loop_is_mine(left)) left = left->next;
    kp__lock_give(&registry, &kp__life);
    kp__here.loops--;
    kp__here.loop = left;
    return cancelled;
}
