/* SPDX-License-Identifier: MIT
 *
 * A storm: tasks that do at random what can be done with a pool, in a world that runs them in
 * random order, with a driver that fails, blocks and answers late; then the pool is closed in one
 * of its modes. What must hold whatever happens: nothing is lent to more than may share it, nobody
 * waits past its deadline, the counters add up, and in the end everything made was destroyed once
 * and no memory is left.
 *
 * KP_SEEDS (200) is the number of seeds; KP_SEED runs one of them alone.
 */
#include "contract.h"

#include <stdlib.h>

enum { TASKS = 8, STEPS = 30, HELD = 3, LINES = 24 };

struct storm {
    contract c;
    uint64_t seed, dice;
    kp_line create[LINES + 1], validate[LINES + 1], reset[LINES + 1], destroy[LINES + 1];
    int64_t slowest_ms; /* sum of what the driver may keep a get for */
    bool closing;
};

static uint64_t roll(uint64_t *dice, uint64_t sides)
{
    *dice = *dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (*dice >> 33) % sides;
}

/* ---- the driver's script --------------------------------------------------------------------- */

/* Seven of ten succeed at once; the others fail, block or answer late, also together. */
static void write_script(struct storm *s, kp_line *lines, bool late, unsigned fail_pct)
{
    for (int i = 0; i < LINES; i++) {
        kp_line *line = &lines[i];
        *line = (kp_line){ .times = 1 + (int64_t)roll(&s->dice, 6) };
        if (roll(&s->dice, 100) < fail_pct) line->status = -(int)(1 + roll(&s->dice, 9));
        if (roll(&s->dice, 100) < 15) line->blocks_ms = 1 + (int64_t)roll(&s->dice, 20);
        if (late && roll(&s->dice, 100) < 25) line->takes_ms = 1 + (int64_t)roll(&s->dice, 30);
    }
    lines[LINES] = (kp_line){ 0 };
}

/* ---- options --------------------------------------------------------------------------------- */

static int64_t one_of(struct storm *s, const int64_t *numbers, uint64_t count)
{
    return numbers[roll(&s->dice, count)];
}
#define ONE_OF(s, ...)                                                                             \
    one_of(s, (const int64_t[]){ __VA_ARGS__ }, sizeof((const int64_t[]){ __VA_ARGS__ }) / 8)

static void choose_limits(struct storm *s, kp_limits *l)
{
    l->max_live = ONE_OF(s, 1, 2, 3, 5);
    l->min_live = ONE_OF(s, KP_NONE, KP_NONE, 1);
    l->max_lent = ONE_OF(s, KP_UNLIMITED, KP_UNLIMITED, 2, 4);
    l->max_idle = ONE_OF(s, KP_UNLIMITED, KP_UNLIMITED, 1, KP_NONE);
    l->max_creating = ONE_OF(s, KP_UNLIMITED, 1, 2);
    l->max_waiting = ONE_OF(s, KP_UNLIMITED, 2);
    l->sharing = ONE_OF(s, 1, 1, 3);
    l->idle_ttl_ms = ONE_OF(s, KP_OFF, 20, 200);
    l->max_age_ms = ONE_OF(s, KP_OFF, 50, 500);
    l->validate_after_ms = ONE_OF(s, KP_NONE, 10);
    l->retry_first_ms = ONE_OF(s, KP_NONE, 5);
    l->cache_failure_ms = ONE_OF(s, KP_NONE, KP_NONE, 20, KP_ONCE);
    l->breaker_failures = ONE_OF(s, KP_OFF, KP_OFF, 2);
    l->breaker_open_ms = 20;
    l->breaker_counts = (int32_t)ONE_OF(s, 1, 2, 3);
    l->reserve = ONE_OF(s, KP_NONE, KP_NONE, 1);
    l->reserve_after_ms = 15;
    l->refill = (int32_t)ONE_OF(s, KP_REFILL_LAZY, KP_REFILL_EAGER);
    l->wait_order = (int32_t)ONE_OF(s, KP_FIFO, KP_FIFO, KP_LIFO);
    l->idle_order = (int32_t)ONE_OF(s, KP_FIFO, KP_LIFO);
    l->on_create_failure = (int32_t)ONE_OF(s, KP_FAIL_REQUEST, KP_FAIL_RETRY);
    l->over_idle = (int32_t)ONE_OF(s, KP_DROP_RETURNED, KP_DROP_OLDEST);
    l->group[0] = ONE_OF(s, KP_NONE, 1);
    l->group[1] = ONE_OF(s, KP_NONE, KP_NONE, 2);
}

static void choose_options(struct storm *s)
{
    kp_options *o = &s->c.options;
    choose_limits(s, &o->limits);
    if (o->limits.max_idle != KP_UNLIMITED) o->limits.min_live = KP_NONE;
    o->budget.max_live = ONE_OF(s, KP_UNLIMITED, 2, 4);
    o->budget.max_lent = ONE_OF(s, KP_UNLIMITED, 3, 6);
    o->budget.max_idle = o->limits.min_live == KP_NONE ? ONE_OF(s, KP_UNLIMITED, 2) : KP_UNLIMITED;
    o->budget.max_creating = ONE_OF(s, KP_UNLIMITED, 1);
    o->budget.max_keys = ONE_OF(s, KP_UNLIMITED, 3);
    o->budget.group_max_live[0] = ONE_OF(s, KP_UNLIMITED, 2);
    o->budget.group_max_live[1] = ONE_OF(s, KP_UNLIMITED, 1);
    o->budget.evict_other_keys = ONE_OF(s, 1, 1, KP_OFF);
    o->budget.across = ONE_OF(s, KP_ACROSS_SHARE, KP_ACROSS_ARRIVAL);
    /* what all keys are to keep must fit, whichever group they are in */
    if (o->budget.max_live == 2 ||
        (o->budget.max_keys == 3 &&
         (o->budget.group_max_live[0] == 2 || o->budget.group_max_live[1] == 1)))
        o->limits.min_live = KP_NONE;
    o->forget_key_after_ms = ONE_OF(s, KP_NONE, 30, KP_MINUTES(5));
    o->keep_every_ms = ONE_OF(s, KP_OFF, KP_OFF, 7);
    o->leak_after_ms = ONE_OF(s, KP_OFF, 25);
}

/* ---- one task -------------------------------------------------------------------------------- */

struct sailor {
    struct storm *s;
    uint64_t dice;
    kp_lease held[HELD];
    kp_key pinned;
    int64_t on_board; /* how many of ours it has now */
};

static kp_key a_key(struct sailor *w)
{
    static const char *const names[] = { "a", "b", "c", "d" };
    return w->pinned.size && roll(&w->dice, 3) == 0 ? w->pinned
                                                    : kp_str(names[roll(&w->dice, 4)]);
}

static void use(struct sailor *w, const kp_lease *lease, int by)
{
    kp_prop *prop = lease->resource;
    int64_t most = w->s->c.sharing;
    prop->users = (uint32_t)((int64_t)prop->users + by);
    if (by > 0 && (!prop->alive || (int64_t)prop->users > most))
        contract_broken(&w->s->c, "resource %llu: %u users, alive %u",
                        (unsigned long long)prop->number, prop->users, prop->alive);
}

static void end(struct sailor *w, kp_lease *lease)
{
    if (!lease->resource) return;
    use(w, lease, -1);
    if (roll(&w->dice, 8) == 0) kp_lease_report(lease, -(int)roll(&w->dice, 2));
    if (roll(&w->dice, 4) == 0) kp_discard(lease);
    else kp_release(lease);
}

/* The longest that driver functions which have begun in time may still take. */
enum { DRIVER_MS = 51 * 4 };

static void get(struct sailor *w, kp_lease *lease)
{
    static const uint32_t flags[] = { 0, 0, 0, 0, KP_DONT_CREATE, KP_FRESH, KP_DONT_WAIT };
    contract *c = &w->s->c;
    int64_t within = roll(&w->dice, 5) == 0 ? KP_NONE : 1 + (int64_t)roll(&w->dice, 60);
    kp_why why;
    kp_ask ask = { .within_ms = within, .tag = "storm", .why = &why };
    int64_t began = kp_sim_now_ms(c->sim);
    ask.flags = flags[roll(&w->dice, sizeof flags / sizeof *flags)];
    int rc = kp_get(c->pool, a_key(w), &ask, lease);
    int64_t took = kp_sim_now_ms(c->sim) - began;
    if (took > (within == KP_NONE ? 0 : within) + DRIVER_MS)
        contract_broken(c, "a get within %lld ms took %lld ms", (long long)within, (long long)took);
    if (rc == 0) use(w, lease, 1);
    else if (lease->resource || rc == KP_EMISUSE || rc == KP_ENOMEM || rc != why.code)
        contract_broken(c, "a get was answered %d, why %d", rc, why.code);
}

static void change_limits(struct sailor *w)
{
    contract *c = &w->s->c;
    struct storm own = { .dice = w->dice };
    kp_limits l = { 0 };
    l.max_live = ONE_OF(&own, 0, 1, 3, 6);
    l.max_idle = c->options.limits.min_live == KP_NONE ? ONE_OF(&own, 0, KP_UNLIMITED, 1) : 0;
    l.max_lent = ONE_OF(&own, 0, KP_UNLIMITED, 2);
    l.idle_ttl_ms = ONE_OF(&own, 0, KP_OFF, 30);
    l.group[0] = ONE_OF(&own, 0, KP_NONE, 1, 3);
    w->dice = own.dice;
    int rc = kp_limits_set(c->pool, roll(&w->dice, 4) ? a_key(w) : KP_EVERY_KEY, &l, NULL);
    if (rc == KP_ECONFIG || rc == KP_ENOMEM) contract_broken(c, "kp_limits_set: %d", rc);
}

static void pin(struct sailor *w)
{
    if (w->pinned.size) kp_unpin(w->s->c.pool, &w->pinned);
    else if (kp_pin(w->s->c.pool, a_key(w), &w->pinned) != 0) w->pinned = (kp_key){ 0 };
}

static void step(struct sailor *w)
{
    contract *c = &w->s->c;
    kp_lease *lease = &w->held[roll(&w->dice, HELD)];
    uint64_t what = roll(&w->dice, 100);
    if (what < 60) {
        if (lease->resource) end(w, lease);
        else get(w, lease);
    } else if (what < 66) {
        if (lease->resource) (void)kp_invalidate(c->pool, lease->resource);
    } else if (what < 69) {
        (void)kp_invalidate_key(c->pool, roll(&w->dice, 4) ? a_key(w) : KP_EVERY_KEY);
    } else if (what < 75) {
        change_limits(w);
    } else if (what < 80) {
        kp_key keys[2] = { kp_str("a"), kp_str("d") };
        kp_ask ask = { .within_ms = 1 + (int64_t)roll(&w->dice, 40) };
        (void)kp_warm(c->pool, keys, 2, roll(&w->dice, 2) ? &ask : NULL);
    } else if (what < 85) {
        pin(w);
    } else if (what < 88) {
        (void)kp_keep(c->pool);
    } else {
        kp_sim_pass_ms(c->sim, (int64_t)roll(&w->dice, 40));
    }
}

static void sail(void *arg)
{
    struct sailor *w = arg;
    contract *c = &w->s->c;
    for (int i = 0; i < STEPS; i++) step(w);
    for (int i = 0; i < HELD; i++) {
        if (roll(&w->dice, 2)) kp_sim_pass_ms(c->sim, (int64_t)roll(&w->dice, 20));
        end(w, &w->held[i]);
    }
    if (w->pinned.size) kp_unpin(c->pool, &w->pinned);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void watch(struct storm *s)
{
    kp_stats all;
    if (kp_stats_read(s->c.pool, KP_EVERY_KEY, &all) != 0) return;
    if (all.live != all.creating + all.idle + all.lent + all.closing ||
        all.leases > all.lent * (uint64_t)s->c.sharing || all.leases < all.lent)
        contract_broken(&s->c, "L2: live %llu", (unsigned long long)all.live);
    if (s->c.options.budget.max_live > 0 && all.live > (uint64_t)s->c.options.budget.max_live)
        contract_broken(&s->c, "budget.max_live exceeded: %llu", (unsigned long long)all.live);
    if (s->c.options.budget.max_creating > 0 &&
        all.creating > (uint64_t)s->c.options.budget.max_creating)
        contract_broken(&s->c, "budget.max_creating exceeded: %llu",
                        (unsigned long long)all.creating);
}

static void begin(struct storm *s, uint64_t seed)
{
    memset(s, 0, sizeof *s);
    s->seed = seed;
    s->dice = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    contract_begin(&s->c, NULL);
    assert_int_equal(kp_sim_close(s->c.sim), 0);
    assert_int_equal(kp_sim_open(seed, &s->c.sim), 0);
    s->c.options.world = kp_sim_world(s->c.sim);
    write_script(s, s->create, true, 25);
    write_script(s, s->validate, true, 15);
    write_script(s, s->reset, true, 10);
    write_script(s, s->destroy, true, 10);
    s->c.script = (kp_script){ s->create, s->validate, s->reset, s->destroy, NULL, NULL };
    choose_options(s);
    contract_open(&s->c);
}

static void end_storm(struct storm *s)
{
    kp_cast_count count;
    kp_sim_shuffle(s->c.sim, false);
    kp_sim_join(s->c.sim, 0);
    kp_sim_pass_ms(s->c.sim, KP_MINUTES(1)); /* answers that are still to come */
    count = kp_cast_read(s->c.cast);
    if (s->c.broken[0] || count.creates != count.destroys || count.live ||
        count.destroyed_twice || count.used_after || kp_is_pool(s->c.pool) ||
        s->c.events[KP_EVENT_MISUSE])
        print_error("seed %llu: %s\n", (unsigned long long)s->seed, s->c.broken);
    assert_string_equal(s->c.broken, "");
    assert_int_equal(s->c.events[KP_EVENT_MISUSE], 0);
    assert_int_equal(count.creates, count.destroys);
    assert_int_equal(count.live, 0);
    assert_int_equal(count.destroyed_twice, 0);
    assert_int_equal(count.used_after, 0);
    kp_cast_close(s->c.cast);
    uint64_t blocks = kp_sim_close(s->c.sim);
    if (blocks) print_error("seed %llu: memory\n", (unsigned long long)s->seed);
    assert_int_equal(blocks, 0);
}

static void one_storm(uint64_t seed)
{
    static const kp_close_mode modes[] = { KP_CLOSE_NOW, KP_CLOSE_WAIT, KP_CLOSE_DRAIN };
    struct storm s;
    struct sailor crew[TASKS];
    begin(&s, seed);
    kp_sim_shuffle(s.c.sim, true);
    for (int i = 0; i < TASKS; i++) {
        crew[i] = (struct sailor){ .s = &s, .dice = roll(&s.dice, UINT32_MAX) };
        assert_true(kp_sim_spawn(s.c.sim, sail, &crew[i]) > 0);
    }
    int64_t lasts = (int64_t)roll(&s.dice, 1500);
    for (int64_t ms = 0; ms < lasts; ms += 10) {
        kp_sim_pass_ms(s.c.sim, 10);
        watch(&s);
    }
    int64_t began = kp_sim_now_ms(s.c.sim), within = 1 + (int64_t)roll(&s.dice, 3000);
    int64_t out = kp_pool_close(s.c.pool, modes[roll(&s.dice, 3)], within);
    if (out < 0 || kp_sim_now_ms(s.c.sim) - began > within + 60 * 30)
        contract_broken(&s.c, "close within %lld ms returned %lld after %lld ms",
                        (long long)within, (long long)out,
                        (long long)(kp_sim_now_ms(s.c.sim) - began));
    end_storm(&s);
}

static void whatever_happens_in_whatever_order_nothing_must_be_lost(void **state)
{
    const char *seeds = getenv("KP_SEEDS"), *only = getenv("KP_SEED");
    uint64_t last = seeds ? strtoull(seeds, NULL, 10) : 200;
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
        cmocka_unit_test(whatever_happens_in_whatever_order_nothing_must_be_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
