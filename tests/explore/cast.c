/* SPDX-License-Identifier: MIT
 *
 * The simulated driver and its ghosts (cast.h). Each resource belongs to the thread that made it,
 * so that its address depends on nothing else.
 */
#include "cast_inside.h"

#include <stdio.h>
#include <string.h>

struct ghosts g;
static const char *const names[KEYS] = { "a", "b", "c" };

kp_key cast_key(int key)
{
    return key < 0 ? KP_EVERY_KEY : kp_str(names[key]);
}

kp_pool *cast_pool(void)
{
    return g.pool;
}

/* ---- the driver ------------------------------------------------------------------------------ */

void cast_unlocked(const char *what)
{
    if (ex_holds_lock()) ex_fail("I6: %s is called under the pool's lock", what);
}

void cast_called(const char *what)
{
    cast_unlocked(what);
    if (g.stage.keeper && ex_is_live() && ex_self() != g.stage.keeper - 1)
        ex_fail("%s is called on another thread than the pool's own loop's", what);
}

void cast_counted(int key, int by)
{
    if (by > 0) ex_up(&g.all);
    else ex_down(&g.all);
    int live = ex_add(&g.live[key], by), all = ex_add(&g.all, by);
    if (live > g.stage.max_live + g.stage.reserve + g.stage.surplus)
        ex_fail("I2: %d of key %s live, and max_live is %d", live, names[key],
                (int)g.stage.max_live);
    if (g.stage.budget && all > g.stage.budget)
        ex_fail("I2: %d live, and budget.max_live is %d", all, (int)g.stage.budget);
    if (g.stage.group && all > g.stage.group)
        ex_fail("I2: %d live in a group, and its limit is %d", all, (int)g.stage.group);
}

struct thing *cast_thing(int key)
{
    int me = ex_self(), i = ex_add(&g.made_by[me], 1) - 1;

    if (i >= EACH) ex_fail("livelock: T%d made %d resources", me, EACH);
    struct thing *t = &g.thing[me][i];
    *t = (struct thing){ .phase = MAKING, .key = key };
    return t;
}

/* Is this one of the first calls, which are to fail? Its number, 1, 2, ..., or 0. */
static int bad(uint32_t *claimed, int first)
{
    for (int i = 0; i < first && ex_self() < EX_THREADS; i++)
        if (ex_claim(&claimed[i])) return i + 1;
    return 0;
}

/* Call the pool from inside create (0), destroy (1) or on_event (2). */
static void call_back(int where)
{
    kp_stats all;

    bool *calling = &g.calling[ex_self()];

    if (ex_self() == EX_THREADS || !(g.stage.calls_back || g.stage.closes_back)) return;
    if (*calling || !ex_claim(&g.called_back[where])) return;
    *calling = true;
    if (g.stage.closes_back) {
        cast_close(KP_CLOSE_NOW);
    } else {
        (void)kp_stats_read(g.pool, KP_EVERY_KEY, &all);
        if (kp_invalidate(g.pool, &g) != 0) ex_fail("an unknown resource is invalidated");
        cast_get(1, KP_OFF, 0);
        cast_release();
    }
    *calling = false;
}

static int drive_create(kp_job *job, void **resource)
{
    int key = ((const char *)job->key.data)[0] - 'a', failure;

    cast_called("create");
    cast_begun();
    call_back(0);
    cast_counted(key, 1);
    if ((failure = bad(g.bad_creates, g.stage.bad_creates)) != 0) {
        cast_counted(key, -1);
        int status = kp_job_fail(job, 10 + failure, "a bad create");
        return g.stage.refuses ? KP_EREFUSED : status;
    }
    if (ex_fault("create")) {
        cast_counted(key, -1);
        return -5;
    }
    struct thing *t = cast_thing(key);
    ex_use(&t->payload, true);
    (void)ex_add(&g.made, 1);
    t->phase = LIVE;
    if ((g.stage.pends || (g.stage.hangs && key == 0)) && ex_is_live() && ex_claim(&g.job_taken)) {
        job->scratch = t;
        __atomic_store_n(&g.job, job, __ATOMIC_RELAXED); /* ex_publish hands it over */
        ex_publish(&g.pending);
        return KP_PENDING;
    }
    *resource = t;
    return 0;
}

static int drive_destroy(kp_job *job, void *resource)
{
    struct thing *t = resource;

    (void)job;
    cast_called("destroy");
    call_back(1);
    if (t->phase != LIVE) ex_fail("I4: a resource is destroyed twice");
    if (ex_add(&t->holders, 0) != 0) ex_fail("I1: a resource is destroyed while it is held");
    t->phase = DYING;
    ex_use(&t->payload, true);
    bool failed = bad(g.bad_destroys, g.stage.bad_destroys) || ex_fault("destroy");
    if (!__atomic_load_n(&t->revoked, __ATOMIC_RELAXED)) cast_counted(t->key, -1);
    t->phase = GONE;
    (void)ex_add(&g.gone, 1);
    return failed ? -6 : 0;
}

static void in_hand(const struct thing *t, const char *what)
{
    cast_called(what);
    if (t->phase != LIVE) ex_fail("I1: %s of a resource that is gone", what);
}

static int drive_validate(kp_job *job, void *resource)
{
    struct thing *t = resource;

    (void)job, t->checks++, t->doubted = 0;
    in_hand(t, "validate");
    ex_use(&t->payload, g.stage.sharing <= 1);
    if (bad(g.bad_checks, g.stage.bad_checks)) return g.stage.fails_over ? KP_EGONE : -9;
    return ex_fault("validate") ? -7 : 0;
}

static int drive_reset(kp_job *job, void *resource)
{
    struct thing *t = resource;

    (void)job;
    in_hand(t, "reset");
    ex_use(&t->payload, true);
    return ex_fault("reset") ? -8 : 0;
}

static bool drive_is_clean(void *resource, void *ctx)
{
    struct thing *t = resource;

    (void)ctx;
    in_hand(t, "is_clean");
    ex_use(&t->payload, true);
    return t->asked++ % 3 != 2; /* one that set-up made idle was asked once already */
}

/* Another thread may be answering the job at this moment. */
static void drive_cancel(kp_job *job)
{
    cast_called("cancel");
    if (job->kind != KP_JOB_CREATE || job->pool != g.pool) ex_fail("cancel: of another job");
    ex_note("driver.cancel");
}

static void on_event(const kp_event *event, void *ctx)
{
    (void)ctx;
    cast_unlocked("on_event");
    if (event->kind == KP_EVENT_SUSPECT) g.suspects[ex_self()]++;
    if (event->kind != KP_EVENT_MISUSE) call_back(2);
    else if (g.stage.may & MAY_MISUSE) (void)ex_add(&g.misuses, 1);
    else ex_fail("misuse: %s", event->why->text);
}

static void size_it(kp_key key, kp_limits *limits, void *ctx)
{
    (void)limits;
    (void)ctx;
    cast_unlocked("limits_for");
    if (((const char *)key.data)[0] == 'a') (void)ex_add(&g.sized, 1);
}

/* ---- opening and closing --------------------------------------------------------------------- */

/* For stages whose driver runs on a loop, which nobody dispatches yet: kp_add creates nothing. */
static void add(const struct stage *stage)
{
    kp_ask now = { .flags = KP_DONT_WAIT, .within_ms = KP_NONE };

    for (int i = 0; i < stage->held + stage->idle; i++) {
        struct thing *t = cast_thing(0);
        t->phase = LIVE;
        t->known = true;
        if (kp_add(g.pool, cast_key(0), t) != 0) ex_fail("set-up failed");
        g.made++;
        cast_counted(0, 1);
    }
    for (int i = 0; i < stage->held; i++) {
        if (kp_get(g.pool, cast_key(0), &now, &g.main[i]) != 0) ex_fail("set-up failed");
        ((struct thing *)g.main[i].resource)->holders++;
        g.lent++;
    }
}

/* Gets what main is to hold and what is to be idle; gives the latter back. */
static void hold(const struct stage *stage)
{
    int held = stage->held_b + stage->held, all = held + stage->idle;

    for (int i = 0; i < all; i++)
        if (kp_get(g.pool, cast_key(i < stage->held_b), KP_IN_S(1), &g.main[i]) != 0)
            ex_fail("set-up failed");
    for (int i = 0; i < all; i++) {
        ((struct thing *)g.main[i].resource)->known = true;
        if (i < held) {
            ((struct thing *)g.main[i].resource)->holders++;
            g.lent++;
        } else {
            kp_release(&g.main[i]);
            g.main[i] = (kp_lease){ .resource = NULL };
        }
    }
}

static kp_driver driver_of(const struct stage *stage)
{
    kp_driver d = { .create = drive_create, .destroy = drive_destroy };

    if (stage->validates || stage->checks_returns) d.validate = drive_validate;
    if (stage->resets || stage->asks) d.reset = drive_reset;
    if (stage->asks) d.is_clean = drive_is_clean;
    if (stage->hurries) d.cancel = drive_cancel;
    if (stage->loops) d.flags = KP_NEVER_BLOCKS;
    return d;
}

void stage_set(const struct stage *stage)
{
    kp_options o = { .name = "explored", .world = ex_world, .on_event = on_event,
                     .deadline_ms = KP_OFF };

    ex_keep(&g, sizeof g);
    memset(&g, 0, sizeof g);
    g.stage = *stage;
    if (g.stage.sharing == 0) g.stage.sharing = 1;
    o.driver = driver_of(stage);
    o.limits = (kp_limits){ .max_live = stage->max_live,
                            .min_live = stage->min_live,
                            .sharing = stage->sharing,
                            .idle_ttl_ms = KP_SECONDS(10),
                            .max_age_ms = KP_OFF,
                            .retry_first_ms = KP_NONE,
                            .validate_after_ms = KP_NONE };
    if (stage->revokes) cast_can_revoke(&o);
    if (stage->eventual) o.limits.wait_order = KP_EVENTUAL;
    if (stage->reserve) o.limits.reserve = 1, o.limits.reserve_after_ms = 5;
    cast_checks(stage, &o.limits);
    if (stage->renewed) o.limits_for = size_it;
    if (stage->probes) cast_circuit(&o.limits);
    if (stage->may & MAY_RESIZE) g.stage.max_live = 2;
    cast_budget(stage, &o);
    o.leak_after_ms = KP_OFF;
    o.forget_key_after_ms = stage->forgets || stage->renewed ? KP_SECONDS(5) : KP_OFF;
    loops_open(stage->loops);
    if (stage->keeper) o.loop = loops_of(stage->keeper - 1);
    if (stage->surplus) o.limits.renew_ahead_ms = KP_SECONDS(2); /* rotated ones end within 1 s */
    o.limits.surplus = stage->surplus;
    if (stage->nests) o.on_deadlock = KP_DEADLOCK_REFUSE;
    g.opened_ms = ex_now_ms();
    ex_processors(stage->homes, stage->moves);
    if (kp_pool_open(&o, &g.pool) != 0) ex_fail("kp_pool_open failed");
    for (int k = 0; k < KEYS && (stage->known || stage->keeper); k++) {
        kp_key pinned;
        if (kp_pin(g.pool, cast_key(k), &pinned) != 0) ex_fail("set-up failed");
        kp_unpin(g.pool, &pinned);
    }
    for (int k = 0; k < KEYS && !stage->fresh && !stage->known && !stage->keeper; k++) {
        if (kp_get(g.pool, cast_key(k), KP_IN_S(1), &g.main[0]) != 0) ex_fail("set-up failed");
        kp_discard(&g.main[0]);
        g.main[0] = (kp_lease){ .resource = NULL };
    }
    if (stage->renewed && !ex_is_real()) { /* on real threads ex_pass_ms does nothing */
        ex_pass_ms(6000);
        (void)kp_keep(g.pool);
        g.sized = 0;
    }
    g.warmed = ex_add(&g.made, 0);
    for (int i = 0; i < stage->uses; i++) cast_use(stage->held + stage->idle);
    if (stage->keeper) add(stage);
    else hold(stage);
}

void cast_books(void)
{
    kp_stats all;

    int code = kp_stats_read(g.pool, KP_EVERY_KEY, &all);
    if (code == KP_ECLOSED) return;
    if (code != 0) ex_fail("kp_stats_read: %s", kp_strerror(code));
    if (all.live != all.creating + all.idle + all.lent + all.closing)
        ex_fail("I3: live is not creating + idle + lent + closing");
    if (all.creates - all.destroys != all.live - all.creating + all.testing + all.revoked)
        ex_fail("I12: created - destroyed is not what is there");
    if (g.stage.max_idle && (int64_t)all.idle > g.stage.max_idle)
        ex_fail("I3: %d are idle, and budget.max_idle is %d", (int)all.idle, (int)g.stage.max_idle);
    if (ex_is_real() && g.stage.min_live) return; /* upkeep may be making one this very moment */
    int known = ex_add(&g.all, 0); /* atomic: the keeper may be changing it (real.c) */
    if (!ex_is_live() && all.creating == 0 && all.closing == 0 && (int)all.live != known)
        ex_fail("I3: the pool says %d live, the driver knows %d", (int)all.live, known);
}

void stage_clear(void (*after)(void))
{
    cast_release_main(false);
    if (g.stage.hangs && g.pending) (void)cast_answer();
    cast_books();
    if (after) after();
    int64_t out = kp_pool_close(g.pool, KP_CLOSE_WAIT, 1000);
    if (out != 0) ex_fail("close: %d still out", (int)out);
    if (g.made != g.gone) ex_fail("I4: %d made, %d destroyed", g.made, g.gone);
    if (kp_get(g.pool, cast_key(0), NULL, &g.main[0]) != KP_ECLOSED)
        ex_fail("a closed pool answers something else than KP_ECLOSED");
    if (ex_is_real()) return;
    if (ex_due() != UINT64_MAX) ex_fail("a closed pool still wants upkeep");
    if (ex_memory_left() != 0) ex_fail("I18: %d blocks of memory are left", ex_memory_left());
}

/* No thread can go on. If main holds something, it gives that back. If not, no request may be
 * waiting while something that could serve it is free (I10). */
bool stage_stuck(void)
{
    for (int i = 0; i < LEASES; i++) {
        if (!g.main[i].opaque[0] || g.main_ended[i]) continue;
        for (int t = 0; t < EX_THREADS && g.helped == 0; t++) g.says_when_helped += g.says[t];
        g.helped++;
        cast_release_main(false);
        return true;
    }
    cast_books();
    kp_stats all;
    if (kp_stats_read(g.pool, KP_EVERY_KEY, &all) != 0) return loops_kick();
    for (int k = 0; k < KEYS; k++) {
        kp_stats s;
        if (kp_stats_read(g.pool, cast_key(k), &s) != 0 || s.waiting == 0) continue;
        if (s.idle > 0) ex_fail("I10: lost wake-up: key %s waits beside an idle one", names[k]);
        bool room = (int64_t)s.live < g.stage.max_live;
        if (g.stage.may & (MAY_RESIZE | MAY_ONLY_TAKE | MAY_CONTROL)) room = false; /* unknown */
        if (g.stage.max_lent || g.stage.rate) room = false; /* unknown; a rate allows it later */
        if (room && (!g.stage.budget || (int64_t)all.live < g.stage.budget))
            ex_fail("I10: lost wake-up: key %s waits, and there is room to create", names[k]);
    }
    return loops_kick();
}

/* ---- borrowing ------------------------------------------------------------------------------- */

void cast_got(kp_lease lease, uint32_t closed, uint32_t invalidations)
{
    struct thing *t = lease.resource;
    int me = ex_self();

    if (t->phase != LIVE) ex_fail("I1: a resource is lent that is gone");
    if (closed) ex_fail("I12: a get that began after close had returned was served");
    cast_may_be_lent(t, invalidations);
    ex_up(&t->holders);
    if (g.stage.max_lent) ex_up(&g.lent);
    int holders = ex_add(&t->holders, 1), lent = ex_add(&g.lent, 1);
    if (holders > g.stage.sharing) ex_fail("I1: %d hold one resource", holders);
    if (g.stage.max_lent && lent > g.stage.max_lent && !g.stage.revokes)
        ex_fail("I3: %d are lent, and budget.max_lent is %d", lent, (int)g.stage.max_lent);
    if (!ex_is_real()) t->known = true;
    ex_use(&t->payload, g.stage.sharing == 1);
    g.lease[me][g.leases[me]++] = lease;
}

void cast_hear(uint32_t *closed, uint32_t *invalidations)
{
    *closed = g.stage.may & MAY_CLOSE ? ex_hear(&g.closed) : 0;
    *invalidations = g.stage.may & MAY_INVALIDATE ? ex_hear(&g.invalidations) : 0;
}

void cast_said(int code, int vendor_code)
{
    int me = ex_self(), i = g.says[me]++;

    ex_result(code);
    if (i >= SAYS) return;
    g.said[me][i] = code;
    g.vendor[me][i] = vendor_code;
}

void cast_get(int key, int64_t within_ms, uint32_t flags)
{
    kp_lease lease;
    kp_why why = { .vendor_code = 0 };
    kp_ask ask = { .within_ms = within_ms,
                   .flags = flags,
                   .why = g.stage.bad_creates ? &why : NULL };
    uint32_t closed, invalid;
    uint64_t until = within_ms > 0 ? ex_now_ms() + (uint64_t)within_ms : UINT64_MAX;

    /* a get without options passes no ask: it takes another path of a hit than one with an ask */
    bool plain = key == 0 && within_ms == KP_OFF && flags == 0 && !ask.why;
    cast_hear(&closed, &invalid);
    ex_note("get %s%s", names[key], flags & KP_DONT_WAIT ? ", do not wait" : "");
    int code = kp_get(g.pool, cast_key(key), plain ? NULL : &ask, &lease);
    ex_note("get %s: %s", names[key], code == 0 ? "a lease" : kp_strerror(code));
    cast_said(code, why.vendor_code);
    if (!cast_explained(code, within_ms, flags)) ex_fail("get: %s; but why?", kp_strerror(code));
    if (code == KP_ETIMEDOUT && ex_now_ms() > until) g.late_ms = ex_now_ms() - until;
    if (code == 0) cast_got(lease, closed, invalid);
}

static void hand_back(kp_lease *lease, bool discard)
{
    struct thing *t = lease->resource;

    ex_use(&t->payload, g.stage.sharing == 1);
    ex_down(&t->holders);
    if (g.stage.max_lent) ex_down(&g.lent);
    (void)ex_add(&t->holders, -1);
    (void)ex_add(&g.lent, -1);
    ex_note("%s", discard ? "discard" : "release");
    if (discard) kp_discard(lease);
    else kp_release(lease);
    ex_note("%s: done", discard ? "discard" : "release");
}

static void give(bool discard)
{
    int me = ex_self();

    if (g.leases[me] > 0) hand_back(&g.lease[me][--g.leases[me]], discard);
}

void cast_release(void)
{
    give(false);
}

void cast_discard(void)
{
    give(true);
}

void cast_release_main(bool discard)
{
    for (int i = 0; i < LEASES; i++)
        if (g.main[i].opaque[0] && ex_claim(&g.main_ended[i])) hand_back(&g.main[i], discard);
}

void cast_release_all(void)
{
    while (g.leases[ex_self()] > 0) give(false);
}

void cast_end_again(bool discard)
{
    int me = ex_self();
    kp_lease lease, copy, other;

    if (g.leases[me] == 0) return;
    lease = copy = other = g.lease[me][--g.leases[me]];
    hand_back(&lease, discard);
    ex_note("once more");
    kp_release(&copy);
    kp_discard(&other);
    (void)ex_add(&g.again, 2);
}

void cast_end(void)
{
    cast_release_all();
    cast_unpin();
    cast_loop_close();
}
