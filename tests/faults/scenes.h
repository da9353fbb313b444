/* SPDX-License-Identifier: MIT
 *
 * Small scenes in which memory runs out. Each is played again and again, and each time a later
 * allocation fails, alone or with all that follow, until it reaches its end without a refusal. A
 * scene has options for its pool, what happens before, and what is done without memory. Afterwards
 * there is memory again, and the pool must work, have lost nothing, and free all that it took.
 *
 * Both the allocations of the world and those that the library makes itself fail: posix_memalign,
 * which it uses for the latter, is replaced here.
 */
#ifndef SCENES_H
#define SCENES_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "keyedpool_test.h"

/* ---- memory ---------------------------------------------------------------------------------- */

static struct {
    int64_t held, asked, nth; /* nth: the allocation to refuse, from 1; 0: none */
    bool after;               /* refuse all after it, too */
    int64_t refused;
} memory;

static bool refuse_this_one(void)
{
    if (memory.nth == 0) return false;
    memory.asked++;
    bool refused = memory.asked == memory.nth || (memory.after && memory.asked > memory.nth);
    memory.refused += refused;
    return refused;
}

int posix_memalign(void **out, size_t align, size_t size)
{
    *out = refuse_this_one() ? NULL : aligned_alloc(align, (size + align - 1) / align * align);
    return *out ? 0 : ENOMEM;
}

static void *scene_alloc(size_t size, size_t align, void *ctx)
{
    (void)ctx, (void)align; /* at most 64, which chunks need */
    void *p = refuse_this_one() ? NULL : aligned_alloc(64, (size + 63) / 64 * 64);
    memory.held += p != NULL;
    return p;
}

static void scene_free(void *p, size_t size, void *ctx)
{
    (void)size, (void)ctx;
    memory.held--;
    free(p);
}

/* ---- the scene ------------------------------------------------------------------------------- */

typedef struct scene {
    const char *name;
    void (*set)(kp_options *options); /* NULL: the usual options, below */
    void (*before)(void);             /* NULL: nothing */
    void (*act)(void);
    bool opens; /* the act opens the pool itself */
} scene;

enum later { AT_ONCE, CREATE, VALIDATE, RESET, DESTROY };

static struct {
    kp_sim *sim;
    kp_world world;
    kp_options options;
    kp_pool *pool;
    kp_loop *loop;
    kp_lease lease[8];
    kp_key pinned;
    kp_scope scope;
    kp_request request;
    int made, unmade, ran, misuses, answered, status;
    int fail_creates, fail_validates, fail_resets, fail_destroys; /* so many */
    enum later later; /* the function that answers later, once */
    kp_job *job;
    int enomems; /* calls that answered KP_ENOMEM */
    const char *name;
} s;

#define MUST(cond) ((cond) ? (void)0 : broken(__LINE__, #cond))

static void broken(int line, const char *what)
{
    fail_msg("%s, allocation %d%s: line %d: %s", s.name, (int)memory.nth,
             memory.after ? " and all after" : "", line, what);
}

/* A call may succeed, or be refused for lack of memory; true if it succeeded. */
#define MAY(call) may((call), __LINE__)

static bool may(int64_t rc, int line)
{
    if (rc != 0 && rc != KP_ENOMEM) broken(line, kp_strerror((int)rc));
    s.enomems += rc == KP_ENOMEM;
    return rc == 0;
}

static KP_MAYBE_UNUSED int made_here[256];

static bool answers_later(enum later what, kp_job *job)
{
    if (s.later != what) return false;
    s.later = AT_ONCE;
    s.job = job;
    return true;
}

static int create(kp_job *job, void **out)
{
    if (answers_later(CREATE, job)) return KP_PENDING;
    if (s.fail_creates > 0) return s.fail_creates--, kp_job_fail(job, 5, "refused");
    *out = &made_here[s.made++ % 256];
    return 0;
}

static KP_MAYBE_UNUSED int validate(kp_job *job, void *resource)
{
    (void)resource;
    if (answers_later(VALIDATE, job)) return KP_PENDING;
    return s.fail_validates > 0 ? (s.fail_validates--, -6) : 0;
}

static KP_MAYBE_UNUSED int reset(kp_job *job, void *resource)
{
    (void)resource;
    if (answers_later(RESET, job)) return KP_PENDING;
    return s.fail_resets > 0 ? (s.fail_resets--, -7) : 0;
}

static int destroy(kp_job *job, void *resource)
{
    (void)resource;
    s.unmade++;
    if (answers_later(DESTROY, job)) return KP_PENDING;
    return s.fail_destroys > 0 ? (s.fail_destroys--, -8) : 0;
}

static void on_event(const kp_event *event, void *ctx)
{
    (void)ctx;
    s.misuses += event->kind == KP_EVENT_MISUSE;
}

static void answer(int status)
{
    kp_job *job = s.job;
    void *made = NULL;

    if (!job) return;
    s.job = NULL;
    if (job->kind == KP_JOB_CREATE && status == 0) made = &made_here[s.made++ % 256];
    kp_job_done(job, status, made);
}

/* ---- steps ----------------------------------------------------------------------------------- */

static KP_MAYBE_UNUSED int get(int i, const char *key)
{
    int rc = kp_get(s.pool, kp_str(key), KP_IN_MS(100), &s.lease[i]);

    MUST(rc == 0 || (s.lease[i].resource == NULL && s.lease[i].opaque[0] == 0));
    return rc;
}

static KP_MAYBE_UNUSED void give(int i)
{
    kp_release(&s.lease[i]);
}

static KP_MAYBE_UNUSED void stock(const char *key, int n)
{
    for (int i = 0; i < n; i++) MUST(get(i, key) == 0);
    for (int i = 0; i < n; i++) give(i);
}

static KP_MAYBE_UNUSED void pass(int64_t ms)
{
    kp_sim_pass_ms(s.sim, ms);
}

static kp_stats numbers(void)
{
    kp_stats n;

    MUST(kp_stats_read(s.pool, KP_EVERY_KEY, &n) == 0);
    return n;
}

static int open_it(void)
{
    int rc = kp_pool_open(&s.options, &s.pool);

    MUST((rc == 0) == (s.pool != NULL));
    return rc;
}

static void plain(kp_options *o)
{
    o->driver = (kp_driver){ .create = create, .destroy = destroy, .flags = KP_NEVER_BLOCKS };
    o->limits.max_live = 2;
    o->limits.retry_first_ms = KP_NONE;
    o->limits.validate_after_ms = KP_NONE;
    o->on_event = on_event;
}

/* ---- playing --------------------------------------------------------------------------------- */

static void had_it(kp_request *request, int status, kp_lease lease)
{
    *(int *)request->arg = status;
    kp_release(&lease);
}

/* A get of an unused key. On the thread of the pool's own loop it must not block: there, it is a
 * request of the loop. */
static int get_and_release(void)
{
    kp_request request = { .loop = s.loop, .done = had_it };
    int status = 1, rc;

    if (!s.options.loop) {
        rc = kp_get(s.pool, kp_str("after"), KP_IN_S(1), &s.lease[0]);
        kp_release(&s.lease[0]);
        return rc;
    }
    request.arg = &status;
    rc = kp_get_start(s.pool, kp_str("after"), NULL, &request);
    for (int i = 0; rc == 0 && status == 1 && i < 100; i++)
        if (kp_loop_dispatch(s.loop) < -1) rc = -1;
    return rc ? rc : status;
}

static void works_again(void)
{
    kp_stats n;

    if (!s.pool || !kp_is_pool(s.pool)) return;
    for (int i = 0; i < 8; i++)
        if (s.lease[i].resource) kp_release(&s.lease[i]);
    kp_scope_close(&s.scope);
    pass(2000);
    MUST(get_and_release() == 0);
    n = numbers();
    MUST(n.live == n.creating + n.idle + n.lent + n.closing && n.idle == n.live && n.waiting == 0);
    MUST(n.creates - n.destroys == n.live);
}

/* True if no allocation was refused any more. */
static bool play(const scene *sc, int64_t nth, bool after)
{
    memset(&s, 0, sizeof s);
    memset(&memory, 0, sizeof memory);
    s.name = sc->name;
    MUST(kp_sim_open(1, &s.sim) == 0);
    s.world = *kp_sim_world(s.sim);
    s.world.alloc = scene_alloc;
    s.world.free = scene_free;
    plain(&s.options);
    s.options.world = &s.world;
    if (sc->set) sc->set(&s.options);
    if (!sc->opens) MUST(open_it() == 0);
    if (sc->before) sc->before();
    memory.nth = nth;
    memory.after = after;
    sc->act();
    bool whole = memory.refused == 0;
    memory.nth = 0;
    if (s.job) answer(0);
    if (s.loop) (void)kp_loop_dispatch(s.loop);
    works_again();
    if (s.loop)
        while (kp_loop_dispatch(s.loop) == 0) continue;
    if (s.pool) MUST(kp_pool_close(s.pool, KP_CLOSE_WAIT, 1000) == 0);
    if (s.loop) MUST(kp_loop_close(s.loop) == 0);
    kp_sim_join(s.sim, 0);
    MUST(s.made == s.unmade && s.misuses == 0);
    MUST(memory.held == 0);
    MUST(kp_sim_close(s.sim) == 0);
    MUST(!whole || s.enomems == 0);
    return whole;
}

static int64_t play_out(const scene *sc, bool after)
{
    int64_t nth = 1;

    while (!play(sc, nth, after)) {
        nth++;
        assert_true(nth < 2000);
    }
    return nth - 1;
}

static int64_t play_all(const scene *scenes, size_t count, bool after)
{
    int64_t failed = 0;

    for (size_t i = 0; i < count; i++) failed += play_out(&scenes[i], after);
    print_message("%d scenes, %d allocations failed in turn\n", (int)count, (int)failed);
    return failed;
}

#endif
