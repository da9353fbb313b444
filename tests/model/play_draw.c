/* SPDX-License-Identifier: MIT
 *
 * What a seed draws: the options, the mix of operations, and each operation.
 */
#include <string.h>

#include "play.h"

uint64_t draw(uint64_t *state) /* splitmix64, Steele, Lea and Flood 2014 */
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t draw_below(uint64_t *state, uint64_t n)
{
    return draw(state) % n;
}

static int64_t pick(uint64_t *state, const int64_t *from, size_t n)
{
    return from[draw_below(state, n)];
}

#define PICK(state, ...)                                                                           \
    pick(state, (const int64_t[]){ __VA_ARGS__ },                                                  \
         sizeof((const int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t))

#define TIME_MOST (INT64_MAX / 2000000) /* that an option may have, in ms */

/* Each with a chance of its own; zero is "not said". `live`: what max_live is or will be. */
static void limits_draw(uint64_t *s, kp_limits *l, int64_t live)
{
    uint64_t said = draw(s);

#define MAYBE(bit) if (said >> (bit)&1)
    MAYBE(0) l->max_live = live;
    MAYBE(1) l->min_live = PICK(s, KP_NONE, 1, 2);
    MAYBE(2) l->max_lent = PICK(s, KP_NONE, 1, 1, 2, 2, 3, 3, KP_UNLIMITED);
    MAYBE(3) l->max_idle = PICK(s, KP_NONE, 1, 2, KP_UNLIMITED);
    MAYBE(4) l->max_creating = PICK(s, 1, 2, 3, KP_UNLIMITED);
    MAYBE(5) l->max_waiting = PICK(s, KP_NONE, 1, 3, 5, 8, KP_UNLIMITED, KP_UNLIMITED);
    MAYBE(6) l->idle_ttl_ms = PICK(s, KP_NONE, 1, 40, 700, TIME_MOST, KP_OFF);
    MAYBE(7) l->max_age_ms = PICK(s, KP_NONE, 30, 30, 900, 900, TIME_MOST, KP_OFF);
    MAYBE(8) l->excess_ttl_ms = PICK(s, KP_NONE, 10, 10, 300, 300, KP_OFF);
    MAYBE(9) l->age_spread_pct = PICK(s, KP_NONE, 50, 100);
    MAYBE(10) l->idle_order = (int32_t)PICK(s, KP_LIFO, KP_FIFO);
    MAYBE(11) l->wait_order = (int32_t)PICK(s, KP_LIFO, KP_FIFO);
    MAYBE(12) l->refill = (int32_t)PICK(s, KP_REFILL_LAZY, KP_REFILL_EAGER);
    MAYBE(13) l->on_return = (int32_t)PICK(s, KP_REUSE, KP_REUSE, KP_DESTROY);
    MAYBE(14) l->over_idle = (int32_t)PICK(s, KP_DROP_RETURNED, KP_DROP_OLDEST);
    MAYBE(15) l->validate_after_ms = PICK(s, KP_NONE, 5);
    MAYBE(16) l->retry_first_ms = PICK(s, KP_NONE, 1, 20);
    MAYBE(17) l->on_create_failure = (int32_t)PICK(s, KP_FAIL_REQUEST, KP_FAIL_RETRY);
    MAYBE(18) l->weight = PICK(s, 1, 2, 3);
    MAYBE(19) l->floor = PICK(s, KP_NONE, 1);
    MAYBE(20) l->respects_min = (int32_t)PICK(s, KP_NONE, 1, 2, 4, 7, 8);
    MAYBE(21) l->min_idle = PICK(s, KP_NONE, 1);
    MAYBE(22) l->prefill = (int32_t)PICK(s, KP_PREFILL_NONE, KP_PREFILL_FIRST_GET);
    MAYBE(23) l->utilization_pct = PICK(s, 50, 100);
    MAYBE(24) l->cache_failure_ms = PICK(s, KP_NONE, KP_NONE, 30, KP_ONCE, KP_OFF);
    MAYBE(25) l->breaker_failures = PICK(s, 1, 2, KP_OFF, KP_OFF);
    MAYBE(26) l->breaker_open_ms = PICK(s, 10, 1000, KP_OFF);
    MAYBE(27) l->breaker_counts = (int32_t)PICK(s, KP_NONE, 1, 1, 2, 2, 3, 3);
    MAYBE(28) l->reserve = PICK(s, KP_NONE, 1);
    MAYBE(29) l->reserve_after_ms = PICK(s, KP_NONE, 5, KP_OFF);
    MAYBE(30) l->shed_target_ms = PICK(s, 1, 10, KP_OFF, KP_OFF);
    MAYBE(31) l->shed_interval_ms = PICK(s, 1, 50);
    MAYBE(32) MAYBE(33) l->fail_fast = (int32_t)PICK(s, 1, 1, 1, KP_OFF);
    MAYBE(35) l->breaker_rate_pct = PICK(s, 1, 34, 50, 100, KP_OFF);
    MAYBE(36) l->breaker_window_ms = PICK(s, 1, 8, 300);
    MAYBE(37) l->breaker_calls = PICK(s, 1, 2, 3, 5);
    MAYBE(38) l->breaker_probes = PICK(s, 1, 2, 3);
    MAYBE(39) l->refuse_late = PICK(s, 1, KP_OFF);
    MAYBE(34) l->max_uses = PICK(s, 1, 2, 5, KP_UNLIMITED);
    MAYBE(35) l->renew_ahead_ms = PICK(s, 10, 100, KP_OFF);
    MAYBE(36) l->surplus = PICK(s, KP_NONE, 1, 2);
    MAYBE(37) l->revoke_after_ms = PICK(s, 1, 1, 3, 20, KP_OFF);
    MAYBE(40) MAYBE(41) l->idle_check = (int32_t)PICK(s, KP_NONE, 1, 2, 3, 4, 5, 6, 7);
    MAYBE(42) MAYBE(43) l->excess_check = (int32_t)PICK(s, KP_NONE, 1, 2, 3, 4, 5, 6, 7);
    MAYBE(44) MAYBE(45) l->age_check = (int32_t)PICK(s, KP_NONE, 1, 2, 3, 4, 5, 6, 7);
    MAYBE(46) MAYBE(47) l->excess_over = PICK(s, KP_NONE, 1, 2, 3, KP_UNLIMITED);
    MAYBE(50) MAYBE(51) l->create_timeout_ms = PICK(s, 1, 7, 50, TIME_MOST, KP_OFF);
    MAYBE(52) MAYBE(53) l->validate_timeout_ms = PICK(s, 1, 7, 50, TIME_MOST, KP_OFF);
    MAYBE(48) MAYBE(49) l->retry_max_ms = PICK(s, KP_NONE, 1, 15, 200, TIME_MOST, KP_OFF);
#undef MAYBE
    if (l->fail_fast == 1 && draw_below(s, 8)) {
        l->retry_first_ms = PICK(s, 1, 20);
        l->on_create_failure = KP_FAIL_REQUEST;
    }
    if (l->wait_order == KP_LIFO) l->shed_target_ms = 0;
    if (l->max_idle == KP_NONE && l->min_idle == 1) l->min_idle = KP_NONE;
}

/* Who has how large a share by when is arithmetic (core/share.h), and not in the model. Nor is
 * draining what is shared. */
static void budget_draw(const struct setup *setup, uint64_t *s, kp_budget *b)
{
    uint64_t said = draw(s);

#define MAYBE(bit) if (said >> (bit)&1)
    MAYBE(0) b->max_live = PICK(s, 1, 2, 3, 4, 5, KP_UNLIMITED);
    MAYBE(1) b->max_lent = PICK(s, KP_NONE, 1, 2, 3, 4, KP_UNLIMITED, KP_UNLIMITED);
    MAYBE(2) b->max_idle = PICK(s, KP_NONE, 1, 2, 3, KP_UNLIMITED);
    MAYBE(3) b->max_creating = PICK(s, 1, 2, KP_UNLIMITED);
    MAYBE(4) b->create_rate = PICK(s, 1, 3, 7, 60, 999, 300000, 70000000, KP_UNLIMITED);
    MAYBE(5) b->create_burst = PICK(s, 1, 1, 2, 5);
    MAYBE(6) b->max_waiting = PICK(s, KP_NONE, 1, 2, 8, KP_UNLIMITED);
    MAYBE(7) b->max_keys = PICK(s, 1, 2, KP_UNLIMITED);
    MAYBE(8) b->evict_other_keys = PICK(s, 1, KP_OFF);
#undef MAYBE
    if (setup->options.limits.sharing > 1) b->evict_other_keys = 0;
}

/* Groups of keys. What they are drawn from is their own, so that other draws stay as they are. */
static void group_draw(uint64_t *s, kp_limits *l)
{
    l->group[0] = PICK(s, 0, KP_NONE, 1, 1, 2);
    l->group[1] = PICK(s, 0, KP_NONE, 1, 1, 2);
}

static void group_limits_draw(uint64_t *s, kp_budget *b)
{
    b->group_max_live[0] = PICK(s, 0, KP_UNLIMITED, 1, 2, 3, 4);
    b->group_max_live[1] = PICK(s, 0, KP_UNLIMITED, 1, 2, 3, 4);
}

/* What limits_for says of one key. */
static void own_draw(uint64_t *s, kp_limits *l)
{
    group_draw(s, l);
    if (draw_below(s, 2) == 0) return;
    l->max_live = PICK(s, 0, 0, 1, 2, 3);
    l->min_live = PICK(s, 0, KP_NONE, KP_NONE, 1);
    l->max_idle = PICK(s, 0, 0, KP_UNLIMITED, 1);
    l->floor = PICK(s, 0, KP_NONE, KP_NONE, 1);
}

/* Little else limits anything, and little goes wrong: so groups do. */
static void calm_draw(struct setup *setup, uint64_t *s)
{
    kp_options *o = &setup->options;

    o->limits = (kp_limits){ .max_live = 3, .on_gone = o->limits.on_gone,
                             .validate_on = o->limits.validate_on };
    o->budget = (kp_budget){ .max_live = PICK(s, 0, 0, 3, 5) };
    setup->keys = MODEL_KEYS;
    setup->bad_pct = 0;
    setup->weight[OP_LIMITS] = setup->weight[OP_LIMITS_ALL] = setup->weight[OP_DROP] = 0;
    if (draw_below(s, 2) == 0) setup->weight[OP_LIMITS] = 3;
}

static void groups_draw(struct setup *setup)
{
    uint64_t s = setup->seed ^ UINT64_C(0x9e0095);
    kp_options *o = &setup->options;

    setup->groups = true;
    if (draw_below(&s, 2) == 0) calm_draw(setup, &s);
    group_draw(&s, &o->limits);
    group_limits_draw(&s, &o->budget);
    setup->by_key = draw_below(&s, 4) > 0;
    for (int k = 0; k < MODEL_KEYS && setup->by_key; k++) own_draw(&s, &setup->own[k]);
    o->budget.across = KP_ACROSS_ARRIVAL;
}

/* Resources stay, idle or lent, so that there are some to come into doubt. */
static void quiet_draw(struct setup *setup, uint64_t *s)
{
    static const enum op_kind ends[] = { OP_DISCARD, OP_INVALIDATE, OP_INVALIDATE_KEY, OP_ROTATE,
                                         OP_DROP,    OP_LIMITS,     OP_LIMITS_ALL };
    kp_options *o = &setup->options;

    o->limits = (kp_limits){ .max_live = PICK(s, 2, 3, 4), .max_creating = PICK(s, 0, 0, 1, 3),
                             .sharing = PICK(s, 0, 0, 0, 2), .min_live = PICK(s, 0, 0, 1, 2),
                             .idle_order = (int32_t)PICK(s, 0, KP_FIFO) };
    o->budget = (kp_budget){ .max_live = PICK(s, 0, 0, 3, 5), .across = KP_ACROSS_ARRIVAL };
    o->forget_key_after_ms = 0;
    if (o->limits.sharing > 1) o->budget.evict_other_keys = KP_OFF;
    if (o->limits.sharing > 1) setup->close_mode = KP_CLOSE_NOW;
    setup->keys = 1 + (int)draw_below(s, 2);
    setup->bad_pct = (uint32_t)PICK(s, 0, 5, 20);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        setup->weight[ends[i]] = (uint32_t)PICK(s, 0, 0, 1);
    setup->weight[OP_GET] += 4;
}

/* Tests by the keeper, and peers that are gone. */
static void tests_draw(struct setup *setup)
{
    uint64_t s = setup->seed ^ UINT64_C(0x7e57);
    kp_limits *l = &setup->options.limits;

    setup->tests = true;
    if (!setup->groups && draw_below(&s, 4) > 0) quiet_draw(setup, &s);
    l->validate_on = (int32_t)PICK(&s, 1, 3, 4, 5, 5, 7);
    l->validate_every_ms = PICK(&s, 0, 1, 3, 20, 300);
    l->on_gone = PICK(&s, 0, KP_GONE_TEST, KP_GONE_TEST, KP_GONE_REPLACE, KP_OFF);
    setup->weight[OP_KEEP] += 6;
    setup->weight[OP_PASS] += 2;
    setup->weight[OP_REPORT] += (uint32_t)PICK(&s, 0, 2, 4);
}

/* Circuits that open, and close again. */
static void trouble_draw(struct setup *setup, uint64_t *s)
{
    kp_options *o = &setup->options;

    o->limits.breaker_failures = 1;
    o->limits.breaker_open_ms = PICK(s, 1, 10);
    o->limits.breaker_probes = PICK(s, 1, 1, 2);
    o->limits.breaker_rate_pct = PICK(s, KP_OFF, 40);
    o->limits.breaker_calls = PICK(s, 2, 4);
    if (o->limits.breaker_rate_pct == 40) o->limits.breaker_failures = PICK(s, 1, 3, KP_OFF);
    o->limits.retry_first_ms = KP_NONE;
    o->budget.max_live = 2;
    o->budget.evict_other_keys = 0;
    setup->keys = 2;
    setup->bad_pct = 40;
}

void setup_draw(uint64_t seed, struct setup *setup)
{
    uint64_t s = seed;
    kp_options *o = &setup->options;

    memset(setup, 0, sizeof *setup);
    setup->seed = seed;
    setup->keys = 1 + (int)draw_below(&s, 4);
    limits_draw(&s, &o->limits, 2 + (int64_t)draw_below(&s, 3));
    if (!o->limits.breaker_failures) o->limits.breaker_failures = KP_OFF; /* as it is: said */
    if (!o->limits.breaker_rate_pct) o->limits.breaker_rate_pct = KP_OFF;
    if (!o->limits.max_live) o->limits.max_live = 2 + (int64_t)draw_below(&s, 3);
    if (draw_below(&s, 3) == 0) o->limits.sharing = 2 + (int64_t)draw_below(&s, 2);
    if (draw_below(&s, 3) == 0) o->limits.validate_on = 1 + (int32_t)draw_below(&s, 3);
    /* testing the others first: tests_draw */
    o->limits.on_gone = o->limits.validate_on ? PICK(&s, KP_GONE_REPLACE, KP_OFF, KP_OFF)
                                              : PICK(&s, 0, KP_GONE_REPLACE, KP_OFF, KP_OFF);
    if (draw_below(&s, 2) == 0) o->budget.max_live = 2 + (int64_t)draw_below(&s, 4);
    if (draw_below(&s, 3) == 0) o->budget.max_lent = 1 + (int64_t)draw_below(&s, 4);
    if (draw_below(&s, 4) == 0) o->budget.max_idle = 1 + (int64_t)draw_below(&s, 3);
    if (draw_below(&s, 4) == 0) o->budget.max_creating = 1 + (int64_t)draw_below(&s, 2);
    if (draw_below(&s, 4) == 0) {
        o->budget.create_rate = PICK(&s, 1, 3, 7, 60, 999, 300000, 70000000);
        o->budget.create_burst = PICK(&s, 1, 1, 2, 5);
    }
    if (draw_below(&s, 6) == 0) o->budget.max_waiting = PICK(&s, KP_NONE, 1, 2, 4, 8);
    if (draw_below(&s, 8) == 0) o->budget.max_keys = 1 + (int64_t)draw_below(&s, 2);
    if (draw_below(&s, 3) == 0) o->budget.evict_other_keys = KP_OFF;
    if (draw_below(&s, 3) == 0) o->budget.across = KP_ACROSS_ARRIVAL;
    if (draw_below(&s, 8) == 0) trouble_draw(setup, &s);
    for (int i = 0; i < OPS; i++) setup->weight[i] = (uint32_t)PICK(&s, 0, 1, 2, 6);
    setup->weight[OP_BUDGET] = (uint32_t)PICK(&s, 0, 0, 0, 1, 2);
    setup->weight[OP_DROP] = (uint32_t)PICK(&s, 0, 0, 1);
    /* shares: see budget_draw */
    if (setup->keys > 1 && (setup->weight[OP_BUDGET] || o->budget.max_live || o->budget.max_lent ||
                            o->budget.max_creating || o->budget.create_rate))
        o->budget.across = KP_ACROSS_ARRIVAL;
    if (o->limits.sharing > 1) o->budget.evict_other_keys = KP_OFF; /* nor is draining */
    if (o->limits.sharing > 1) o->limits.revoke_after_ms = 0;
    o->forget_key_after_ms = PICK(&s, 0, KP_NONE, 50, 2000, KP_OFF);
    o->leak_after_ms = PICK(&s, 0, 0, 100); /* off, not all leases need the clock: held_ns */
    o->deadline_ms = PICK(&s, 0, 200, TIME_MOST);
    o->hits = (int32_t)PICK(&s, 0, 0, KP_HITS_PORTABLE, KP_HITS_LOCKED);
    setup->weight[OP_GET] += 12;
    setup->weight[OP_RELEASE] += 18;
    setup->weight[OP_GO_ON] += 8;
    setup->weight[OP_CLOSE] = 0;
    if (o->limits.revoke_after_ms > 0) setup->weight[OP_KEEP] += 8;
    setup->on_loop = draw_below(&s, 2) == 0;
    setup->weight[OP_START] = setup->on_loop ? 10 : 0;
    setup->weight[OP_DISPATCH] = setup->on_loop ? 6 + setup->weight[OP_GO_ON] : 0;
    setup->weight[OP_CANCEL] = setup->on_loop ? (uint32_t)PICK(&s, 0, 1, 3) : 0;
    setup->seldom = draw_below(&s, 3) == 0;
    setup->close_mode = (kp_close_mode)PICK(&s, KP_CLOSE_NOW, KP_CLOSE_WAIT, KP_CLOSE_DRAIN);
    if (o->limits.sharing > 1) setup->close_mode = KP_CLOSE_NOW; /* nor is revoking */
    if (!setup->bad_pct) setup->bad_pct = (uint32_t)PICK(&s, 0, 0, 10, 40);
    setup->pending_pct = (uint32_t)PICK(&s, 0, 0, 20, 70);
    if (setup->keys > 1 && seed % 4 == 1) groups_draw(setup);
    if (seed % 4 == 3 || seed % 16 == 9) tests_draw(setup);
}

void op_draw(const struct setup *setup, uint64_t *s, struct op *op)
{
    uint32_t sum = 0, at;

    memset(op, 0, sizeof *op);
    for (int i = 0; i < OPS; i++) sum += setup->weight[i];
    at = (uint32_t)draw_below(s, sum);
    while (at >= setup->weight[op->kind]) at -= setup->weight[op->kind++];
    op->key = (int)draw_below(s, (uint64_t)setup->keys);
    op->which = (uint32_t)draw(s);
    op->fate = draw(s);
    uint64_t other = op->fate ^ UINT64_C(0x9e0095);
    if (op->kind == OP_GET || op->kind == OP_START) {
        op->ms = PICK(s, KP_NONE, 0, 0, 5, 100, KP_OFF, INT64_MAX);
        op->flags = (uint32_t)PICK(s, 0, 0, 0, 0, 0, 0, KP_DONT_WAIT, KP_DONT_CREATE, KP_FRESH);
        if (op->flags & KP_DONT_WAIT) op->ms = KP_NONE;
    }
    if (op->kind == OP_ROTATE)
        op->ms = PICK(s, 0, KP_NONE, 5, 50, 50, 400, 1100, KP_OFF, INT64_MAX);
    if (op->kind == OP_PASS) op->ms = PICK(s, 0, 1, 3, 20, 60, 400, 1100, 70000);
    if (op->kind == OP_LIMITS || op->kind == OP_LIMITS_ALL) {
        limits_draw(s, &op->limits, 1 + (int64_t)draw_below(s, 4));
        if (draw_below(s, 4) == 0) op->limits.validate_on = (int32_t)PICK(s, KP_NONE, 1, 2, 3);
        op->limits.on_gone = PICK(s, 0, 0, 0, KP_GONE_REPLACE, KP_OFF);
        if (setup->options.limits.sharing > 1) op->limits.sharing = PICK(s, 0, 0, 1, 2, 3);
        if (setup->groups && other % 2) op->limits = (kp_limits){ .max_live = 0 };
        if (setup->groups) group_draw(&other, &op->limits);
        if (setup->tests && other % 3 > 0) {
            op->limits.validate_on = (int32_t)PICK(&other, 0, 0, 1, 4, 5);
            op->limits.validate_every_ms = PICK(&other, 0, 0, 1, 20);
            op->limits.on_gone = PICK(&other, 0, 0, KP_GONE_TEST, KP_GONE_REPLACE, KP_OFF);
        }
    }
    if (op->kind == OP_BUDGET) budget_draw(setup, s, &op->budget);
    if (op->kind == OP_BUDGET && setup->groups) group_limits_draw(&other, &op->budget);
    if (op->kind == OP_EVICT) op->ms = PICK(s, 0, KP_NONE, 1, 2);
}
