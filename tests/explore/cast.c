/* SPDX-License-Identifier: MIT
 *
 * The simulated driver and its ghosts (cast.h). Each resource belongs to the thread that made it,
 * so that its address depends on nothing else.
 */
#include "cast_inside.h"

#include <stdio.h>
#include <string.h>

enum phase { NONE, MAKING, LIVE, DYING, GONE };

struct thing {
    uint32_t payload; /* written by whoever holds it: two at once are a data race */
    enum phase phase;
    int key, holders;
    bool known;       /* somebody was given it */
    uint32_t invalid; /* the number of the invalidation that it has ended by, or 0 */
};

struct ghosts {
    kp_pool *pool;
    struct stage stage;
    int live[KEYS], all, made, gone, failed;
    uint32_t invalidations, closed, pending;
    kp_job *job;
    kp_lease main[LEASES];
    kp_lease lease[EX_THREADS + 1][LEASES];
    int leases[EX_THREADS + 1], made_by[EX_THREADS + 1];
    struct thing thing[EX_THREADS + 1][EACH];
};

static struct ghosts g;
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

static void counted(int key, int by)
{
    if (by > 0) ex_up(&g.all);
    else ex_down(&g.all);
    g.live[key] += by;
    g.all += by;
    if (g.live[key] > g.stage.max_live)
        ex_fail("I2: %d of key %s live, and max_live is %d", g.live[key], names[key],
                (int)g.stage.max_live);
    if (g.stage.budget && g.all > g.stage.budget)
        ex_fail("I2: %d live, and budget.max_live is %d", g.all, (int)g.stage.budget);
}

static struct thing *new_thing(int key)
{
    int me = ex_self();

    if (g.made_by[me] == EACH) ex_fail("livelock: T%d made %d resources", me, EACH);
    struct thing *t = &g.thing[me][g.made_by[me]++];
    *t = (struct thing){ .phase = MAKING, .key = key };
    return t;
}

static int drive_create(kp_job *job, void **resource)
{
    int key = ((const char *)job->key.data)[0] - 'a';

    cast_unlocked("create");
    counted(key, 1);
    if (ex_fault("create")) {
        counted(key, -1);
        g.failed++;
        return -5;
    }
    struct thing *t = new_thing(key);
    ex_use(&t->payload, true);
    g.made++;
    t->phase = LIVE;
    if (g.stage.pends && ex_is_live() && !g.job) {
        job->scratch = t;
        g.job = job;
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
    cast_unlocked("destroy");
    if (t->phase != LIVE) ex_fail("I4: a resource is destroyed twice");
    if (t->holders) ex_fail("I1: a resource is destroyed while it is held");
    t->phase = DYING;
    ex_use(&t->payload, true);
    bool failed = ex_fault("destroy");
    counted(t->key, -1);
    t->phase = GONE;
    g.gone++;
    return failed ? -6 : 0;
}

static void in_hand(const struct thing *t, const char *what)
{
    cast_unlocked(what);
    if (t->phase != LIVE) ex_fail("I1: %s of a resource that is gone", what);
}

static int drive_validate(kp_job *job, void *resource)
{
    struct thing *t = resource;

    (void)job;
    in_hand(t, "validate");
    ex_use(&t->payload, g.stage.sharing <= 1);
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

static void on_event(const kp_event *event, void *ctx)
{
    (void)ctx;
    cast_unlocked("on_event");
    if (event->kind == KP_EVENT_MISUSE) ex_fail("misuse: %s", event->why->text);
}

/* ---- opening and closing --------------------------------------------------------------------- */

void stage_set(const struct stage *stage)
{
    kp_options o = { .name = "explored", .world = ex_world, .on_event = on_event };

    ex_keep(&g, sizeof g);
    memset(&g, 0, sizeof g);
    g.stage = *stage;
    if (g.stage.sharing == 0) g.stage.sharing = 1;
    o.driver = (kp_driver){ .create = drive_create, .destroy = drive_destroy };
    if (stage->validates) o.driver.validate = drive_validate;
    if (stage->resets) o.driver.reset = drive_reset;
    o.limits = (kp_limits){ .max_live = stage->max_live,
                            .min_live = stage->min_live,
                            .sharing = stage->sharing,
                            .idle_ttl_ms = KP_SECONDS(10),
                            .max_age_ms = KP_OFF,
                            .retry_first_ms = KP_NONE,
                            .validate_after_ms = KP_NONE };
    if (stage->may & MAY_RESIZE) g.stage.max_live = 2;
    o.budget.max_live = stage->budget;
    o.leak_after_ms = KP_OFF;
    o.forget_key_after_ms = KP_OFF;
    if (stage->loops) o.driver.flags = KP_NEVER_BLOCKS;
    loops_open(stage->loops);
    if (kp_pool_open(&o, &g.pool) != 0) ex_fail("kp_pool_open failed");
    for (int k = 0; k < KEYS && stage->known; k++) {
        kp_key pinned;
        if (kp_pin(g.pool, cast_key(k), &pinned) != 0) ex_fail("set-up failed");
        kp_unpin(g.pool, &pinned);
    }
    for (int k = 0; k < KEYS && !stage->fresh && !stage->known; k++) {
        if (kp_get(g.pool, cast_key(k), KP_IN_S(1), &g.main[0]) != 0) ex_fail("set-up failed");
        kp_discard(&g.main[0]);
    }
    for (int i = 0; i < stage->held + stage->idle; i++)
        if (kp_get(g.pool, cast_key(0), KP_IN_S(1), &g.main[i]) != 0) ex_fail("set-up failed");
    for (int i = 0; i < stage->held + stage->idle; i++) {
        ((struct thing *)g.main[i].resource)->known = true;
        if (i < stage->held) ((struct thing *)g.main[i].resource)->holders++;
        else kp_release(&g.main[i]);
    }
}

static void books(void)
{
    kp_stats all;

    int code = kp_stats_read(g.pool, KP_EVERY_KEY, &all);
    if (code == KP_ECLOSED) return;
    if (code != 0) ex_fail("kp_stats_read: %s", kp_strerror(code));
    if (all.live != all.creating + all.idle + all.lent + all.closing)
        ex_fail("I3: live is not creating + idle + lent + closing");
    if (all.creates - all.destroys != all.live - all.creating)
        ex_fail("I12: created - destroyed is not what is there");
    if (!ex_is_live() && all.creating == 0 && all.closing == 0 && (int)all.live != g.all)
        ex_fail("I3: the pool says %d live, the driver knows %d", (int)all.live, g.all);
}

void stage_clear(void)
{
    cast_release_main(false);
    books();
    int64_t out = kp_pool_close(g.pool, KP_CLOSE_WAIT, 1000);
    if (out != 0) ex_fail("close: %d still out", (int)out);
    if (g.made != g.gone) ex_fail("I4: %d made, %d destroyed", g.made, g.gone);
    if (kp_get(g.pool, cast_key(0), NULL, &g.main[0]) != KP_ECLOSED)
        ex_fail("a closed pool answers something else than KP_ECLOSED");
    if (ex_is_real()) return;
    if (ex_due() != UINT64_MAX) ex_fail("a closed pool still wants upkeep");
    if (ex_memory_left() != 0) ex_fail("I18: %d blocks of memory are left", ex_memory_left());
}

/* I10: nobody can go on. Then main gives back what it holds; else nobody may wait beside something
 * that they could have. */
bool stage_stuck(void)
{
    for (int i = 0; i < LEASES; i++) {
        if (!g.main[i].resource) continue;
        cast_release_main(false);
        return true;
    }
    books();
    kp_stats all;
    if (kp_stats_read(g.pool, KP_EVERY_KEY, &all) != 0) return false;
    for (int k = 0; k < KEYS; k++) {
        kp_stats s;
        if (kp_stats_read(g.pool, cast_key(k), &s) != 0 || s.waiting == 0) continue;
        if (s.idle > 0) ex_fail("I10: lost wake-up: key %s waits beside an idle one", names[k]);
        bool room = (int64_t)s.live < g.stage.max_live && !(g.stage.may & (MAY_RESIZE | MAY_ONLY_TAKE));
        if (room && (!g.stage.budget || (int64_t)all.live < g.stage.budget))
            ex_fail("I10: lost wake-up: key %s waits, and there is room to create", names[k]);
    }
    return false;
}

/* ---- borrowing ------------------------------------------------------------------------------- */

bool cast_explained(int code, int64_t within_ms, uint32_t flags)
{
    switch (code) {
    case 0: return true;
    case KP_ETIMEDOUT: return within_ms != KP_OFF || (g.stage.may & MAY_TIME_OUT);
    case KP_EAGAIN: return (flags & KP_DONT_WAIT) != 0;
    case KP_ECLOSED: return (g.stage.may & MAY_CLOSE) != 0;
    case KP_ENOMEM:
    case KP_ECREATE: return ex_may_fault();
    default: return false;
    }
}

void cast_got(kp_lease lease, uint32_t closed, uint32_t invalidations)
{
    struct thing *t = lease.resource;
    int me = ex_self();

    if (t->phase != LIVE) ex_fail("I1: a resource is lent that is gone");
    if (closed) ex_fail("I12: a get that began after close had returned was served");
    if (t->invalid && t->invalid <= invalidations)
        ex_fail("I5: a resource is lent after it was invalidated");
    ex_up(&t->holders);
    if (++t->holders > g.stage.sharing) ex_fail("I1: %d hold one resource", t->holders);
    t->known = true;
    ex_use(&t->payload, g.stage.sharing == 1);
    g.lease[me][g.leases[me]++] = lease;
}

void cast_hear(uint32_t *closed, uint32_t *invalidations)
{
    *closed = g.stage.may & MAY_CLOSE ? ex_hear(&g.closed) : 0;
    *invalidations = g.stage.may & MAY_INVALIDATE ? ex_hear(&g.invalidations) : 0;
}

void cast_get(int key, int64_t within_ms, uint32_t flags)
{
    kp_lease lease;
    kp_ask ask = { .within_ms = within_ms, .flags = flags };
    uint32_t closed, invalid;

    cast_hear(&closed, &invalid);
    ex_note("get %s%s", names[key], flags & KP_DONT_WAIT ? ", do not wait" : "");
    int code = kp_get(g.pool, cast_key(key), &ask, &lease);
    ex_note("get %s: %s", names[key], code == 0 ? "a lease" : kp_strerror(code));
    ex_result(code == 0 ? ((struct thing *)lease.resource)->key + 1 : code);
    if (!cast_explained(code, within_ms, flags)) ex_fail("get: %s; but why?", kp_strerror(code));
    if (code == 0) cast_got(lease, closed, invalid);
}

static void hand_back(kp_lease *lease, bool discard)
{
    struct thing *t = lease->resource;

    ex_use(&t->payload, g.stage.sharing == 1);
    ex_down(&t->holders);
    t->holders--;
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

void cast_release_copy(void)
{
    int me = ex_self();
    kp_lease copy = g.lease[me][g.leases[me] - 1];

    kp_release(&copy);
}

void cast_release_main(bool discard)
{
    for (int i = 0; i < LEASES; i++)
        if (g.main[i].resource) hand_back(&g.main[i], discard);
}

void cast_release_all(void)
{
    while (g.leases[ex_self()] > 0) give(false);
}

void cast_end(void)
{
    cast_release_all();
    cast_loop_close();
}

/* ---- everything else ------------------------------------------------------------------------- */

/* Which resources must never be lent to a get that begins after this call. */
static unsigned concerned(int key, struct thing *list[])
{
    unsigned n = 0;

    for (int who = 0; who <= EX_THREADS; who++)
        for (int i = 0; i < g.made_by[who]; i++) {
            struct thing *t = &g.thing[who][i];
            if (t->known && t->phase == LIVE && (key < 0 || t->key == key)) list[n++] = t;
        }
    return n;
}

static void have_ended(struct thing *list[], unsigned n)
{
    uint32_t number = g.invalidations + 1;

    for (unsigned i = 0; i < n; i++)
        if (!list[i]->invalid) list[i]->invalid = number;
    ex_say(&g.invalidations, number);
}

void cast_invalidate(void)
{
    struct thing *first = &g.thing[EX_THREADS][g.stage.fresh ? 0 : KEYS];
    bool live = first->phase == LIVE;

    ex_note("invalidate");
    int64_t n = kp_invalidate(g.pool, first);
    ex_note("invalidate: %d", (int)n);
    ex_result((int)n);
    if (n < 0 || n > 1) ex_fail("kp_invalidate: %d", (int)n);
    if (live) have_ended(&first, 1);
}

void cast_invalidate_key(int key)
{
    struct thing *list[(EX_THREADS + 1) * EACH];
    unsigned n = concerned(key, list);

    ex_note("invalidate key %s", key < 0 ? "*" : names[key]);
    int64_t marked = kp_invalidate_key(g.pool, cast_key(key));
    ex_note("invalidate key: %d", (int)marked);
    ex_result((int)marked);
    if (marked < 0) ex_fail("kp_invalidate_key: %s", kp_strerror((int)marked));
    have_ended(list, n);
}

void cast_expire(void)
{
    ex_note("11 s pass");
    ex_pass_ms(11000);
    cast_keep();
}

void cast_keep(void)
{
    ex_note("keep");
    (void)kp_keep(g.pool);
    ex_note("keep: done");
}

void cast_resize(int64_t max_live)
{
    kp_limits limits = { .max_live = max_live };

    ex_note("max_live %d", (int)max_live);
    int code = kp_limits_set(g.pool, cast_key(0), &limits, NULL);
    ex_note("max_live: %s", kp_strerror(code));
    if (code != 0 && code != KP_ENOTFOUND && !cast_explained(code, KP_OFF, 0))
        ex_fail("kp_limits_set: %s", kp_strerror(code));
}

void cast_close(kp_close_mode mode)
{
    ex_note("close %d", (int)mode);
    int64_t out = kp_pool_close(g.pool, mode, 0);
    ex_note("close: %d still out", (int)out);
    ex_result((int)out);
    if (out < 0) ex_fail("kp_pool_close: %s", kp_strerror((int)out));
    ex_say(&g.closed, 1);
}

void cast_warm(int key)
{
    kp_key keys[] = { cast_key(key) };
    kp_ask ask = { .within_ms = 50 };

    ex_note("warm %s", names[key]);
    int64_t n = kp_warm(g.pool, keys, 1, &ask);
    ex_note("warm: %d", (int)n);
    ex_result((int)n);
    if (n < 0 && !cast_explained((int)n, KP_OFF, 0)) ex_fail("kp_warm: %s", kp_strerror((int)n));
}

void cast_add(int key)
{
    struct thing *t = new_thing(key);

    t->phase = LIVE;
    ex_use(&t->payload, true);
    ex_note("add %s", names[key]);
    int code = kp_add(g.pool, cast_key(key), t);
    ex_note("add: %s", kp_strerror(code));
    ex_result(code);
    if (code == 0) {
        g.made++;
        counted(key, 1);
    } else {
        t->phase = NONE;
    }
    if (code != 0 && code != KP_EFULL && !cast_explained(code, KP_OFF, 0))
        ex_fail("kp_add: %s", kp_strerror(code));
}

void cast_look(void)
{
    char text[800];

    ex_note("stats");
    books();
    (void)kp_explain(g.pool, KP_EVERY_KEY, text, sizeof text);
}

void cast_pin(int key)
{
    kp_key pinned;

    ex_note("pin %s", names[key]);
    int code = kp_pin(g.pool, cast_key(key), &pinned);
    if (code == 0) kp_unpin(g.pool, &pinned);
    else if (!cast_explained(code, KP_OFF, 0)) ex_fail("kp_pin: %s", kp_strerror(code));
}

bool cast_answer(void)
{
    if (!ex_await(&g.pending)) return false;
    kp_job *job = g.job;
    bool bad = ex_fault("pending create");
    struct thing *t = job->scratch;
    ex_say(&g.pending, 0);
    g.job = NULL;
    ex_note("job done%s", bad ? ", failed" : "");
    if (bad) {
        t->phase = GONE;
        g.gone++;
        counted(t->key, -1);
    }
    kp_job_done(job, bad ? -5 : 0, bad ? NULL : t);
    return true;
}
