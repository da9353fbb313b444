/* SPDX-License-Identifier: MIT
 *
 * A house: one pool in a virtual world, with everything that a contract test looks at after each
 * step: the scripted driver, the events, tasks that get a resource, and the two laws that hold at
 * every moment (L1 no idle hands, L2 conservation). Each house_ function that changes something
 * checks both laws before it returns.
 */
#ifndef KP_TESTS_HOUSE_H
#define KP_TESTS_HOUSE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "keyedpool.h"
#include "keyedpool_test.h"

#include <cmocka.h>

#include "contract/causes.h"

enum { HOUSE_LOG = 256 };
#define X(name, sentence) +1
enum { HOUSE_EVENTS = 1 KP_EVENT_MAP(X) };
#undef X

struct house {
    kp_sim *sim;
    kp_cast *cast;
    kp_pool *pool;
    kp_script script;
    kp_options plan; /* what the pool was opened with: the bounds of L1 */
    kp_why why;
    uint64_t seed;
    bool shuffled;                      /* other tasks may run in the middle of a check */
    bool waits_by_choice;               /* there are requests that must not create: L1 is unknown */
    bool ended;                         /* the pool was closed by the test */
    uint64_t foreign;                   /* resources that the cast did not make (kp_add) */
    unsigned overlaps;                  /* resources that two borrowers had at once */
    unsigned turns;                     /* requests answered with a lease so far, in order */
    unsigned seen[HOUSE_EVENTS]; /* events by kind */
    int last_code[HOUSE_EVENTS];
    struct causes causes;
    char last_text[200];
    unsigned destroyed;                   /* entries of: */
    uint64_t destroyed_number[HOUSE_LOG]; /* props, in the order of their destruction */
    void (*also)(struct house *h, const kp_event *event);
};

#define HOUSE_AT(h) (unsigned long long)(h)->seed, (long long)kp_sim_now_ms((h)->sim)

/* On failure, both print what was found, with the seed and the virtual time. */
#define HOUSE_IS(h, found, wanted)                                                                 \
    do {                                                                                           \
        long long found_ = (long long)(found), wanted_ = (long long)(wanted);                      \
        if (found_ != wanted_)                                                                     \
            fail_msg("%s is %lld, not %lld (seed %llu, at %lld ms)", #found, found_, wanted_,      \
                     HOUSE_AT(h));                                                                 \
    } while (0)
#define HOUSE_HAS(h, what)                                                                         \
    do {                                                                                           \
        if (!(what)) fail_msg("not so: %s (seed %llu, at %lld ms)", #what, HOUSE_AT(h));           \
    } while (0)

/* Ready tasks run in a random order, from the seed of the house. */
static KP_MAYBE_UNUSED void house_shuffle(struct house *h, bool on)
{
    h->shuffled = on;
    kp_sim_shuffle(h->sim, on);
}

/* ---- events ---- */

static KP_MAYBE_UNUSED void house_on_event(const kp_event *event, void *ctx)
{
    struct house *h = ctx;
    h->seen[event->kind]++;
    h->last_code[event->kind] = event->code;
    if (event->why) snprintf(h->last_text, sizeof h->last_text, "%s", event->why->text);
    if (event->kind == KP_EVENT_DESTROYED && event->resource && !h->foreign) {
        h->destroyed_number[h->destroyed % HOUSE_LOG] = ((const kp_prop *)event->resource)->number;
        h->destroyed++;
    }
    if (!h->pool || event->pool == h->pool) HOUSE_HAS(h, causes_hear(&h->causes, event));
    if (h->also) h->also(h, event);
}

/* ---- the laws ---- */

/* A limit as a number: rule R2 defines zero, KP_NONE and KP_UNLIMITED. */
static KP_MAYBE_UNUSED uint64_t house_bound(int64_t said, int64_t unsaid)
{
    if (said == 0) said = unsaid;
    if (said == KP_NONE) return 0;
    return said < 0 ? UINT64_MAX : (uint64_t)said;
}

struct house_sum {
    struct house *h;
    kp_stats all, sum;
};

/* No room for one more, and nothing idle anywhere that would have to make room (D19). */
static KP_MAYBE_UNUSED bool house_is_full(const kp_options *o, const kp_stats *all)
{
    if (all->live < house_bound(o->budget.max_live, KP_UNLIMITED)) return false;
    return !all->idle || all->closing || house_bound(o->limits.min_live, 0) ||
           o->budget.evict_other_keys == KP_OFF;
}

static KP_MAYBE_UNUSED bool house_may_wait(struct house *h, const kp_stats *all,
                                           const kp_stats *key)
{
    const kp_options *o = &h->plan;
    if (all->leases + all->creating + all->closing >= house_bound(o->budget.max_lent, KP_UNLIMITED))
        return true;
    if (key->leases + key->creating + key->closing >= house_bound(o->limits.max_lent, KP_UNLIMITED))
        return true;
    if (key->idle) return false;
    return key->creating || o->limits_for || o->limits.retry_first_ms != KP_NONE ||
           key->live >= house_bound(o->limits.max_live, 10) ||
           all->creating >= house_bound(o->budget.max_creating, KP_UNLIMITED) ||
           house_is_full(o, all);
}

static KP_MAYBE_UNUSED int house_check_key(kp_key key, const kp_stats *s, void *arg)
{
    struct house_sum *all = arg;
    struct house *h = all->h;
    (void)key;
    HOUSE_IS(h, s->live, s->creating + s->idle + s->lent + s->closing);
    if (s->waiting && !h->waits_by_choice) HOUSE_HAS(h, house_may_wait(h, &all->all, s));
    all->sum.live += s->live;
    all->sum.creating += s->creating;
    all->sum.idle += s->idle;
    all->sum.lent += s->lent;
    all->sum.closing += s->closing;
    all->sum.leases += s->leases;
    all->sum.waiting += s->waiting;
    all->sum.keys++;
    return 0;
}

/* L2 for each key and for all of them, L1 as far as it can be seen from outside, and the driver's
 * own count. */
static KP_MAYBE_UNUSED void house_check(struct house *h)
{
    struct house_sum sum;
    kp_cast_count cast = kp_cast_read(h->cast);
    if (h->ended) return;
    memset(&sum, 0, sizeof sum);
    sum.h = h;
    HOUSE_IS(h, kp_stats_read(h->pool, KP_EVERY_KEY, &sum.all), 0);
    HOUSE_IS(h, sum.all.live, sum.all.creating + sum.all.idle + sum.all.lent + sum.all.closing);
    HOUSE_HAS(h, sum.all.live <= house_bound(h->plan.budget.max_live, KP_UNLIMITED));
    HOUSE_HAS(h, sum.all.leases <= house_bound(h->plan.budget.max_lent, KP_UNLIMITED));
    HOUSE_HAS(h, sum.all.idle <= house_bound(h->plan.budget.max_idle, KP_UNLIMITED));
    HOUSE_IS(h, cast.destroyed_twice + cast.used_after, 0);
    HOUSE_IS(h, h->overlaps, 0);
    if (h->shuffled) return; /* other tasks may have run between the two readings */
    if (!sum.all.closing && !sum.all.revoked && h->plan.on_event == house_on_event)
        assert_null(causes_differ(&h->causes, &sum.all));
    HOUSE_IS(h, kp_each_key(h->pool, house_check_key, &sum), 0);
    HOUSE_IS(h, sum.sum.keys, sum.all.keys);
    HOUSE_IS(h, sum.sum.live, sum.all.live);
    HOUSE_IS(h, sum.sum.creating, sum.all.creating);
    HOUSE_IS(h, sum.sum.idle, sum.all.idle);
    HOUSE_IS(h, sum.sum.lent, sum.all.lent);
    HOUSE_IS(h, sum.sum.closing, sum.all.closing);
    HOUSE_IS(h, sum.sum.leases, sum.all.leases);
    HOUSE_IS(h, sum.sum.waiting, sum.all.waiting);
    if (!sum.all.creating && !sum.all.closing)
        HOUSE_IS(h, cast.live + h->foreign, sum.all.live + sum.all.revoked);
}

/* The numbers of a key; all zero for one that is not there (B-MET-04). NULL: of every key. */
static KP_MAYBE_UNUSED kp_stats house_stats(struct house *h, const char *key)
{
    kp_stats s;
    int rc = kp_stats_read(h->pool, key ? kp_str(key) : KP_EVERY_KEY, &s);
    if (rc && rc != KP_ENOTFOUND) fail_msg("kp_stats_read: %s", kp_strerror(rc));
    return s;
}

static KP_MAYBE_UNUSED kp_cast_count house_cast(struct house *h) { return kp_cast_read(h->cast); }

/* ---- open and close ---- */

/* A world and a driver, and the options of a preset on top of them. The test edits what it wants,
 * then calls house_open. */
static KP_MAYBE_UNUSED kp_options house_plan(struct house *h, uint64_t seed, const char *preset,
                                             const kp_script *script)
{
    kp_options o;
    memset(h, 0, sizeof *h);
    memset(&o, 0, sizeof o);
    h->seed = seed;
    if (kp_sim_open(seed, &h->sim)) fail_msg("no sim");
    if (script) h->script = *script;
    h->script.sim = h->sim;
    if (kp_cast_open(&h->script, &h->cast)) fail_msg("no cast");
    if (preset && kp_options_set(&o, "preset", preset)) fail_msg("no such preset: %s", preset);
    o.driver = kp_cast_driver(h->cast);
    if (!h->script.validate)
        o.driver.validate = NULL; /* what the script does not have is not configured */
    if (!h->script.reset) o.driver.reset = NULL;
    o.world = kp_sim_world(h->sim);
    o.on_event = house_on_event;
    o.ctx = h;
    o.why = &h->why;
    return o;
}

static KP_MAYBE_UNUSED void house_open(struct house *h, const kp_options *o)
{
    int rc;
    h->plan = *o;
    h->causes = (struct causes){ .last = KP_CAUSE_NONE };
    rc = kp_pool_open(o, &h->pool);
    if (rc) fail_msg("kp_pool_open: %s: %s %s", kp_strerror(rc), h->why.field, h->why.text);
    house_check(h);
}

/* Options that must be refused, and the field that must be named. */
static KP_MAYBE_UNUSED void house_refuses(struct house *h, const kp_options *o, const char *field)
{
    kp_pool *pool = NULL;
    int rc = kp_pool_open(o, &pool);
    if (rc == 0) {
        (void)kp_pool_close(pool, KP_CLOSE_NOW, 1);
        fail_msg("not refused: %s", field);
    }
    assert_int_equal(rc, KP_ECONFIG);
    assert_null(pool);
    assert_string_equal(h->why.field, field);
}

/* What must hold in every world after its pool was closed. */
static KP_MAYBE_UNUSED void house_leave(struct house *h)
{
    kp_cast_count c;
    kp_sim_join(h->sim, 0);
    c = kp_cast_read(h->cast);
    HOUSE_IS(h, c.live, 0);
    HOUSE_IS(h, c.destroys, c.creates + h->foreign);
    HOUSE_IS(h, h->overlaps, 0);
    HOUSE_IS(h, c.destroyed_twice, 0);
    HOUSE_IS(h, c.used_after, 0);
    kp_cast_close(h->cast);
    assert_int_equal(kp_sim_close(h->sim), 0);
}

/* For tests whose leases have all ended: nothing may be out. */
static KP_MAYBE_UNUSED void house_close(struct house *h)
{
    house_check(h);
    if (!h->ended) HOUSE_IS(h, kp_pool_close(h->pool, KP_CLOSE_NOW, 1000), 0);
    h->ended = true;
    HOUSE_HAS(h, !kp_is_pool(h->pool));
    house_leave(h);
}

/* ---- steps ---- */

static KP_MAYBE_UNUSED void house_pass(struct house *h, int64_t ms)
{
    kp_sim_pass_ms(h->sim, ms);
    house_check(h);
}

static KP_MAYBE_UNUSED void house_settle(struct house *h)
{
    (void)kp_sim_settle(h->sim);
    house_check(h);
}

static KP_MAYBE_UNUSED uint64_t house_number(const kp_lease *lease)
{
    return ((const kp_prop *)lease->resource)->number;
}

static KP_MAYBE_UNUSED void house_enter(kp_lease *lease) { ((kp_prop *)lease->resource)->users++; }

static KP_MAYBE_UNUSED void house_exit(kp_lease *lease)
{
    if (lease->resource) ((kp_prop *)lease->resource)->users--;
}

/* A get that must succeed within the given time. */
static KP_MAYBE_UNUSED kp_lease house_get_within(struct house *h, const char *key,
                                                 int64_t within_ms)
{
    kp_lease lease;
    const kp_prop *prop;
    kp_ask ask = { within_ms, { 0 }, "house", &h->why, 0, 0, { 0, 0, 0 } };
    int rc = kp_get(h->pool, kp_str(key), &ask, &lease);
    if (rc)
        fail_msg("kp_get %s: %s: %s (at %lld ms)", key, kp_strerror(rc), h->why.text,
                 (long long)kp_sim_now_ms(h->sim));
    prop = lease.resource;
    HOUSE_IS(h, prop->alive, 1);
    HOUSE_IS(h, prop->users, 0);
    house_enter(&lease);
    house_check(h);
    return lease;
}

static KP_MAYBE_UNUSED kp_lease house_get(struct house *h, const char *key)
{
    kp_lease lease = house_get_within(h, key, 0);
    HOUSE_HAS(h, !strcmp(((const kp_prop *)lease.resource)->key, key));
    return lease;
}

/* A get that must fail; returns the code, and leaves the reason in h->why. */
static KP_MAYBE_UNUSED int house_fails(struct house *h, const char *key, int64_t within_ms)
{
    kp_lease lease;
    kp_ask ask = { within_ms, { 0 }, "house", &h->why, 0, 0, { 0, 0, 0 } };
    int rc = kp_get(h->pool, kp_str(key), &ask, &lease);
    if (rc == 0) fail_msg("kp_get %s gave %llu", key, (unsigned long long)house_number(&lease));
    HOUSE_HAS(h,
              lease.resource == NULL && !lease.opaque[0] && !lease.opaque[1] && !lease.opaque[2]);
    house_check(h);
    return rc;
}

/* What is idle now, or KP_EAGAIN. */
static KP_MAYBE_UNUSED int house_try(struct house *h, const char *key, kp_lease *lease)
{
    int rc = kp_try_get(h->pool, kp_str(key), lease);
    if (rc == 0) house_enter(lease);
    house_check(h);
    return rc;
}

static KP_MAYBE_UNUSED void house_release(struct house *h, kp_lease *lease)
{
    house_exit(lease);
    kp_release(lease);
    house_check(h);
}

static KP_MAYBE_UNUSED void house_discard(struct house *h, kp_lease *lease)
{
    house_exit(lease);
    kp_discard(lease);
    house_check(h);
}

/* `count` gets of one key, all given back, the first first: that leaves so many idle ones. */
static KP_MAYBE_UNUSED void house_stock(struct house *h, const char *key, unsigned count)
{
    kp_lease lease[64];
    unsigned i;
    assert_true(count <= 64);
    for (i = 0; i < count; i++) lease[i] = house_get(h, key);
    for (i = 0; i < count; i++) house_release(h, &lease[i]);
}

static KP_MAYBE_UNUSED bool house_reused(const kp_lease *lease)
{
    kp_lease_about about;
    return kp_lease_read(lease, &about) && about.reused;
}

/* ---- visitors: a task that asks once ---- */

struct visitor {
    struct house *house;
    const char *key;
    int64_t within_ms;
    int64_t stay_ms; /* 0: until the test ends the lease; NONE: gives back at once */
    uint32_t flags;
    bool discards;
    kp_pool *pool; /* NULL: the house's own */
    int task, rc;
    bool answered, reused;
    unsigned turn;   /* the number of its lease among those of the house */
    uint64_t number; /* of the prop it got */
    int64_t asked_ms, answered_ms;
    kp_lease lease;
    kp_why why;
};

static KP_MAYBE_UNUSED void visitor_run(void *arg)
{
    struct visitor *v = arg;
    struct house *h = v->house;
    kp_ask ask = { v->within_ms, { 0 }, "visitor", &v->why, v->flags, 0, { 0, 0, 0 } };
    v->asked_ms = kp_sim_now_ms(h->sim);
    v->rc = kp_get(v->pool ? v->pool : h->pool, kp_str(v->key), &ask, &v->lease);
    v->answered_ms = kp_sim_now_ms(h->sim);
    v->answered = true;
    if (v->rc) return;
    if (((const kp_prop *)v->lease.resource)->users ||
        strcmp(((const kp_prop *)v->lease.resource)->key, v->key))
        h->overlaps++;
    v->turn = ++h->turns;
    v->number = house_number(&v->lease);
    v->reused = house_reused(&v->lease);
    house_enter(&v->lease);
    if (!v->stay_ms) return;
    if (v->stay_ms > 0) kp_sim_pass_ms(h->sim, v->stay_ms);
    house_exit(&v->lease);
    if (v->discards)
        kp_discard(&v->lease);
    else
        kp_release(&v->lease);
}

/* Starts it. When this returns, it has called get, and waits or was answered. */
static KP_MAYBE_UNUSED void visitor_send(struct house *h, struct visitor *v, const char *key,
                                         int64_t within_ms)
{
    v->house = h;
    v->key = key;
    v->within_ms = within_ms;
    v->task = kp_sim_spawn(h->sim, visitor_run, v);
    if (v->task < 0) fail_msg("no task");
    if (!h->shuffled) house_settle(h);
}

static KP_MAYBE_UNUSED void visitor_end(struct visitor *v)
{
    kp_sim_join(v->house->sim, v->task);
    house_check(v->house);
}

/* ---- workers: tasks that go on asking ---- */

struct worker {
    struct house *house;
    const char *const *keys;
    unsigned key_count, rounds;
    unsigned discard_pct;
    int64_t hold_ms; /* 0: gives back without letting time pass */
    int64_t within_ms;
    void (*step)(struct worker *w); /* after each round */
    int task, last_rc;
    unsigned got, failed;
    uint64_t dice;
};

static KP_MAYBE_UNUSED uint64_t worker_throws(struct worker *w)
{
    w->dice = w->dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return w->dice >> 33;
}

static KP_MAYBE_UNUSED void worker_run(void *arg)
{
    struct worker *w = arg;
    struct house *h = w->house;
    unsigned round;
    for (round = 0; round < w->rounds; round++) {
        const char *key = w->keys[worker_throws(w) % w->key_count];
        kp_ask ask = { w->within_ms, { 0 }, "worker", NULL, 0, 0, { 0, 0, 0 } };
        kp_lease lease;
        int rc = kp_get(h->pool, kp_str(key), &ask, &lease);
        if (rc) {
            w->failed++;
            w->last_rc = rc;
        } else {
            kp_prop *prop = lease.resource;
            if (prop->users || !prop->alive || strcmp(prop->key, key)) h->overlaps++;
            w->got++;
            house_enter(&lease);
            if (w->hold_ms) kp_sim_pass_ms(h->sim, w->hold_ms);
            house_exit(&lease);
            if (worker_throws(w) % 100 < w->discard_pct)
                kp_discard(&lease);
            else
                kp_release(&lease);
        }
        if (w->step) w->step(w);
    }
}

/* Start `count` workers like the first one, each with dice of its own, and wait until all have
 * ended. */
static KP_MAYBE_UNUSED void workers_work(struct house *h, struct worker *w, unsigned count)
{
    unsigned i;
    for (i = 0; i < count; i++) {
        w[i] = w[0];
        w[i].house = h;
        w[i].dice = h->seed * 1000 + i + 1;
    }
    for (i = 0; i < count; i++) {
        w[i].task = kp_sim_spawn(h->sim, worker_run, &w[i]);
        if (w[i].task < 0) fail_msg("no task");
    }
    for (i = 0; i < count; i++) kp_sim_join(h->sim, w[i].task);
    house_check(h);
}

#endif
