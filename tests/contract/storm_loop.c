/* SPDX-License-Identifier: MIT
 *
 * A storm of event loops: one or two of them, and threads that block, do at random what can be done
 * with a pool, in a world that runs them in random order, with a driver that fails and answers
 * late, after short or long times. What must hold whatever happens: each request is answered once,
 * or cancelled and never answered after that; none is answered later than its loop's next dispatch
 * after its deadline; dispatch says that it wants to be called no later than that; and in the end
 * everything made was destroyed once and no memory is left.
 *
 * KP_SEEDS (1000) is the number of seeds; KP_SEED runs one of them alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keyedpool.h"
#include "keyedpool_test.h"

#include <cmocka.h>

enum { LOOPS = 2, SAILORS = 2, ASKS = 10, STEPS = 40, LINES = 16, HELD = 2 };

struct storm {
    kp_sim *sim;
    kp_cast *cast;
    kp_pool *pool;
    uint64_t seed, dice;
    kp_line lines[4][LINES + 1];
    bool closing;
    int out; /* captains whose loops are still open */
    char broken[160];
};

static uint64_t roll(uint64_t *dice, uint64_t sides)
{
    *dice = *dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (*dice >> 33) % sides;
}

static void broken(struct storm *s, const char *what, int64_t number)
{
    if (!s->broken[0])
        snprintf(s->broken, sizeof s->broken, "%s (%lld) at %lld ms", what, (long long)number,
                 (long long)kp_sim_now_ms(s->sim));
}

static void use(struct storm *s, const kp_lease *lease, int by)
{
    kp_prop *prop = lease->resource;

    prop->users = (uint32_t)((int)prop->users + by);
    if (by > 0 && (!prop->alive || prop->users > 2)) broken(s, "lent twice, or dead", prop->users);
}

static void give(struct storm *s, uint64_t *dice, kp_lease *lease)
{
    if (!lease->resource) return;
    use(s, lease, -1);
    if (roll(dice, 5) == 0) kp_discard(lease);
    else kp_release(lease);
}

static const char *const names[] = { "a", "b", "c" };

/* ---- a loop ---------------------------------------------------------------------------------- */

enum phase { FREE, UNDER_WAY, LEASED };

struct captain;

struct ask {
    kp_request request;
    struct captain *of;
    enum phase phase;
    int64_t deadline; /* ms; -1: none */
    kp_lease lease;
    kp_why why;
};

struct captain {
    struct storm *s;
    kp_loop *loop;
    uint64_t dice;
    bool keeper; /* the pool names its loop */
    struct ask ask[ASKS];
};

static void begin(struct captain *c, struct ask *a);

static void cancel(struct ask *a)
{
    if (a->phase != UNDER_WAY) return;
    kp_cancel(&a->request);
    a->phase = FREE;
    if (a->why.code != KP_ECANCELED) broken(a->of->s, "cancelled, but why says", a->why.code);
}

static void done(kp_request *request, int status, kp_lease lease)
{
    struct ask *a = request->arg;
    struct captain *c = a->of;

    if (a->phase != UNDER_WAY) broken(c->s, "heard of in phase", a->phase);
    if (status != 0 && (lease.resource || status != a->why.code))
        broken(c->s, "refused, and why says otherwise", status);
    if (status == KP_EMISUSE || status == KP_ENOMEM || status == KP_ECANCELED)
        broken(c->s, "answered", status);
    a->phase = status == 0 ? LEASED : FREE;
    a->lease = lease;
    if (status == 0) use(c->s, &a->lease, 1);
    uint64_t what = roll(&c->dice, 6);
    if (what < 3 && status == 0) {
        a->phase = FREE;
        give(c->s, &c->dice, &a->lease);
    }
    if (what == 1 && a->phase == FREE) begin(c, a);
    if (what >= 4) cancel(&c->ask[roll(&c->dice, ASKS)]);
}

static void begin(struct captain *c, struct ask *a)
{
    static const uint32_t flags[] = { 0, 0, 0, 0, KP_DONT_CREATE, KP_FRESH, KP_DONT_WAIT };
    int64_t within = roll(&c->dice, 6) == 0 ? KP_NONE : 1 + (int64_t)roll(&c->dice, 60);
    kp_ask how = { .within_ms = within, .tag = "storm", .why = &a->why };

    how.flags = flags[roll(&c->dice, sizeof flags / sizeof *flags)];
    a->of = c;
    a->request = (kp_request){ .loop = c->loop, .done = done, .arg = a };
    a->deadline = kp_sim_now_ms(c->s->sim) + (within == KP_NONE ? 0 : within);
    a->phase = UNDER_WAY;
    int rc = kp_get_start(c->s->pool, kp_str(names[roll(&c->dice, 3)]), &how, &a->request);
    if (rc == 0) return;
    a->phase = FREE;
    if (rc == KP_EMISUSE || rc == KP_ETIMEDOUT || rc != a->why.code) broken(c->s, "start", rc);
}

/* Dispatches until there is nothing to do now. Dispatch must not say so after a deadline has
 * passed, nor want to sleep beyond one. */
static int64_t dispatch(struct captain *c)
{
    int64_t next, idle = 0;

    while ((next = kp_loop_dispatch(c->loop)) == 0)
        if (++idle > 1000) {
            broken(c->s, "a loop that never rests", idle);
            break;
        }
    if (next < -1) broken(c->s, "dispatch", next);
    int64_t now = kp_sim_now_ms(c->s->sim);
    for (int i = 0; i < ASKS; i++) {
        const struct ask *a = &c->ask[i];
        if (a->phase != UNDER_WAY) continue;
        if (a->deadline < now) broken(c->s, "under way beyond its deadline", a->deadline);
        if (next < 0 || next > a->deadline - now + 1) broken(c->s, "would sleep too long", next);
    }
    return next;
}

static void step(struct captain *c)
{
    struct ask *a = &c->ask[roll(&c->dice, ASKS)];
    uint64_t what = roll(&c->dice, 100);

    if (what < 45) {
        if (a->phase == FREE) begin(c, a);
        else if (a->phase == LEASED) {
            a->phase = FREE;
            give(c->s, &c->dice, &a->lease);
        }
    } else if (what < 55) {
        cancel(a);
    } else if (what < 58) {
        if (a->phase == LEASED) (void)kp_invalidate(c->s->pool, a->lease.resource);
    } else if (what < 60) {
        (void)kp_invalidate_key(c->s->pool, kp_str(names[roll(&c->dice, 3)]));
    } else if (what < 62) {
        kp_limits l = { .max_live = 1 + (int64_t)roll(&c->dice, 4) };
        (void)!kp_limits_set(c->s->pool, kp_str(names[roll(&c->dice, 3)]), &l, NULL);
    } else {
        int64_t next = dispatch(c), most = 1 + (int64_t)roll(&c->dice, 20);
        kp_sim_pass_ms(c->s->sim, next >= 0 && next < most ? next : most);
    }
}

/* Go on for a millisecond, or only give everything back. */
static void keep(struct captain *c, bool on)
{
    if (on) (void)dispatch(c);
    for (int i = 0; i < ASKS; i++) {
        if (c->ask[i].phase != LEASED) continue;
        c->ask[i].phase = FREE;
        give(c->s, &c->dice, &c->ask[i].lease);
    }
    if (on) kp_sim_pass_ms(c->s->sim, 1);
}

/* Its own requests end one way or another; a keeper goes on until its pool is gone. */
static void sail_a_loop(void *arg)
{
    struct captain *c = arg;
    struct storm *s = c->s;
    int64_t open = 0;

    (void)dispatch(c);
    for (int i = 0; i < STEPS; i++) step(c);
    if (roll(&c->dice, 2)) {
        for (int i = 0; i < ASKS; i++) cancel(&c->ask[i]);
    }
    while (c->keeper && (!s->closing || kp_pool_close(s->pool, KP_CLOSE_NOW, 0) > 0 || s->out > 1))
        keep(c, true);
    for (int i = 0; c->keeper && i < 50; i++) keep(c, true); /* the others leave the pool */
    keep(c, false);
    for (int i = 0; i < ASKS; i++) open += c->ask[i].phase == UNDER_WAY;
    int64_t closed = kp_loop_close(c->loop);
    if (closed != open) broken(s, "closing the loop cancelled", closed);
    s->out--;
}

/* ---- a blocked thread ------------------------------------------------------------------------ */

struct sailor {
    struct storm *s;
    uint64_t dice;
    kp_lease held[HELD];
};

static void sail(void *arg)
{
    struct sailor *w = arg;
    struct storm *s = w->s;

    for (int i = 0; i < STEPS / 2; i++) {
        kp_lease *lease = &w->held[roll(&w->dice, HELD)];
        kp_ask how = { .within_ms = 1 + (int64_t)roll(&w->dice, 60) };
        if (roll(&w->dice, 4) == 0) kp_sim_pass_ms(s->sim, (int64_t)roll(&w->dice, 20));
        if (roll(&w->dice, 12) == 0) (void)kp_keep(s->pool);
        if (lease->resource) give(s, &w->dice, lease);
        else if (kp_get(s->pool, kp_str(names[roll(&w->dice, 3)]), &how, lease) == 0)
            use(s, lease, 1);
    }
    for (int i = 0; i < HELD; i++) give(s, &w->dice, &w->held[i]);
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* Seven of ten succeed at once; the others fail, or answer late, some very late. */
static void write_script(struct storm *s, kp_line *lines, unsigned fail_pct)
{
    for (int i = 0; i < LINES; i++) {
        lines[i] = (kp_line){ .times = 1 + (int64_t)roll(&s->dice, 5) };
        if (roll(&s->dice, 100) < fail_pct) lines[i].status = -(int)(1 + roll(&s->dice, 9));
        if (roll(&s->dice, 100) < 30) lines[i].takes_ms = 1 + (int64_t)roll(&s->dice, 30);
        if (roll(&s->dice, 100) < 5) lines[i].takes_ms = 300;
    }
}

static int64_t one_of(struct storm *s, const int64_t *numbers, uint64_t count)
{
    return numbers[roll(&s->dice, count)];
}
#define ONE_OF(s, ...)                                                                             \
    one_of(s, (const int64_t[]){ __VA_ARGS__ }, sizeof((const int64_t[]){ __VA_ARGS__ }) / 8)

static void hurry_nobody(kp_job *job)
{
    (void)job->serial;
}

static kp_options choose(struct storm *s)
{
    kp_options o = { .world = kp_sim_world(s->sim), .driver = kp_cast_driver(s->cast) };
    kp_limits *l = &o.limits;

    o.driver.flags = KP_NEVER_BLOCKS;
    if (roll(&s->dice, 2)) o.driver.cancel = hurry_nobody;
    l->max_live = ONE_OF(s, 1, 2, 4);
    l->min_live = ONE_OF(s, KP_NONE, KP_NONE, 1);
    l->max_lent = ONE_OF(s, KP_UNLIMITED, KP_UNLIMITED, 2);
    l->max_idle = l->min_live == 1 ? KP_UNLIMITED : ONE_OF(s, KP_UNLIMITED, 1, KP_NONE);
    l->max_creating = ONE_OF(s, KP_UNLIMITED, 1);
    l->max_waiting = ONE_OF(s, KP_UNLIMITED, 2);
    l->sharing = ONE_OF(s, 1, 1, 2);
    l->idle_ttl_ms = ONE_OF(s, KP_OFF, 20);
    l->max_age_ms = ONE_OF(s, KP_OFF, 50);
    l->create_timeout_ms = ONE_OF(s, KP_OFF, 10);
    l->validate_timeout_ms = ONE_OF(s, KP_OFF, 10);
    l->validate_after_ms = ONE_OF(s, KP_NONE, 10);
    l->validate_on = (int32_t)ONE_OF(s, KP_CHECK_GET, KP_CHECK_GET | KP_CHECK_RETURN);
    l->retry_first_ms = ONE_OF(s, KP_NONE, 5);
    l->cache_failure_ms = ONE_OF(s, KP_NONE, 20, KP_ONCE);
    l->breaker_failures = ONE_OF(s, KP_OFF, KP_OFF, 2);
    l->breaker_open_ms = 20;
    l->breaker_counts = (int32_t)ONE_OF(s, 1, 2, 3);
    l->reserve = ONE_OF(s, KP_NONE, KP_NONE, 1);
    l->reserve_after_ms = 15;
    l->refill = (int32_t)ONE_OF(s, KP_REFILL_LAZY, KP_REFILL_EAGER);
    l->wait_order = (int32_t)ONE_OF(s, KP_FIFO, KP_FIFO, KP_LIFO);
    if (l->wait_order == KP_FIFO) l->shed_target_ms = ONE_OF(s, KP_OFF, KP_OFF, 5);
    l->shed_interval_ms = 10;
    l->on_create_failure = (int32_t)ONE_OF(s, KP_FAIL_REQUEST, KP_FAIL_RETRY);
    o.budget.max_live = ONE_OF(s, KP_UNLIMITED, 1, 3);
    o.budget.max_lent = ONE_OF(s, KP_UNLIMITED, 2);
    o.budget.max_creating = ONE_OF(s, KP_UNLIMITED, 1);
    o.budget.across = ONE_OF(s, KP_ACROSS_SHARE, KP_ACROSS_ARRIVAL);
    o.forget_key_after_ms = ONE_OF(s, KP_NONE, 30, KP_MINUTES(5));
    return o;
}

static void finish(struct storm *s)
{
    kp_cast_count count;

    kp_sim_join(s->sim, 0);
    kp_sim_shuffle(s->sim, false);
    kp_sim_pass_ms(s->sim, KP_MINUTES(1)); /* answers that are still to come */
    count = kp_cast_read(s->cast);
    if (s->broken[0] || count.live || count.creates != count.destroys)
        print_error("seed %llu: %s\n", (unsigned long long)s->seed, s->broken);
    assert_string_equal(s->broken, "");
    assert_int_equal(count.creates, count.destroys);
    assert_int_equal(count.live, 0);
    assert_int_equal(count.destroyed_twice + count.used_after, 0);
    assert_false(kp_is_pool(s->pool));
    kp_cast_close(s->cast);
    uint64_t blocks = kp_sim_close(s->sim);
    if (blocks) print_error("seed %llu: memory\n", (unsigned long long)s->seed);
    assert_int_equal(blocks, 0);
}

static void one_storm(uint64_t seed)
{
    static const kp_close_mode modes[] = { KP_CLOSE_NOW, KP_CLOSE_WAIT, KP_CLOSE_DRAIN };
    struct storm s = { .seed = seed, .dice = seed * UINT64_C(0x9e3779b97f4a7c15) + 1 };
    static struct captain captain[LOOPS];
    struct sailor sailor[SAILORS];

    assert_int_equal(kp_sim_open(seed, &s.sim), 0);
    for (int i = 0; i < 4; i++) write_script(&s, s.lines[i], i == 0 ? 25 : 12);
    kp_script script = { s.lines[0], s.lines[1], s.lines[2], s.lines[3], s.sim, NULL };
    assert_int_equal(kp_cast_open(&script, &s.cast), 0);
    kp_options o = choose(&s);
    s.out = 1 + (int)roll(&s.dice, LOOPS);
    for (int i = 0; i < s.out; i++) {
        memset(&captain[i], 0, sizeof captain[i]);
        captain[i].s = &s;
        captain[i].dice = roll(&s.dice, UINT32_MAX);
        assert_int_equal(kp_loop_open(&captain[i].loop), 0);
    }
    captain[0].keeper = roll(&s.dice, 2) == 0;
    if (captain[0].keeper) o.loop = captain[0].loop;
    assert_int_equal(kp_pool_open(&o, &s.pool), 0);
    kp_sim_shuffle(s.sim, true);
    for (int i = 0, n = s.out; i < n; i++)
        assert_true(kp_sim_spawn(s.sim, sail_a_loop, &captain[i]) > 0);
    for (int i = 0; i < SAILORS; i++) {
        sailor[i] = (struct sailor){ .s = &s, .dice = roll(&s.dice, UINT32_MAX) };
        assert_true(kp_sim_spawn(s.sim, sail, &sailor[i]) > 0);
    }
    kp_sim_pass_ms(s.sim, (int64_t)roll(&s.dice, 500));
    int64_t out = kp_pool_close(s.pool, modes[roll(&s.dice, 3)], 1 + (int64_t)roll(&s.dice, 400));
    if (out < 0) broken(&s, "close", out);
    s.closing = true;
    finish(&s);
}

static void whatever_loops_do_in_whatever_order_nothing_must_be_lost(void **state)
{
    const char *seeds = getenv("KP_SEEDS"), *only = getenv("KP_SEED");
    uint64_t last = seeds ? strtoull(seeds, NULL, 10) : 1000;

    (void)state;
    if (only) {
        one_storm(strtoull(only, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= last; seed++) {
        if (getenv("KP_VERBOSE")) print_message("seed %llu\n", (unsigned long long)seed);
        one_storm(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_loops_do_in_whatever_order_nothing_must_be_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
