/* SPDX-License-Identifier: MIT
 *
 * A market: keys with tasks that borrow without a pause, in virtual time, from a budget that is too
 * small for all of them. It measures how many permits each key held on average, and how often a
 * resource had to be created.
 */
#ifndef TESTS_FAIRNESS_MARKET_H
#define TESTS_FAIRNESS_MARKET_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "keyedpool_test.h"

enum { MARKET_KEYS = 128, MARKET_TASKS = 1024 };

typedef struct stall {
    /* set by the test */
    char name[8];
    int tasks;
    int64_t weight, floor, hold_ms, group[2], sharing;
    /* measured */
    int64_t used_ms;             /* time that permits were held, between from_ms and to_ms */
    int64_t gets, longest_ms;    /* the longest wait */
    uint64_t most_others;        /* the most gets of other keys during one wait */
} stall;

typedef struct market {
    kp_sim *sim;
    kp_cast *cast;
    kp_pool *pool;
    kp_script script;
    kp_options options;
    kp_why why;
    stall stalls[MARKET_KEYS];
    int count;
    int64_t from_ms, to_ms;
    uint64_t seed, gets;
    int failures;
    uint64_t creates; /* between from_ms and to_ms */
} market;

typedef struct trader {
    market *m;
    stall *s;
    uint64_t seed;
} trader;

static inline uint64_t market_random(uint64_t *seed)
{
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * UINT64_C(2685821657736338717);
}

/* The key's name is the number of its stall. */
static inline void market_limits(kp_key key, kp_limits *limits, void *ctx)
{
    const market *m = ctx;
    char name[8] = { 0 };
    memcpy(name, key.data, key.size < 7 ? key.size : 7);
    const stall *s = &m->stalls[atoi(name)];
    if (s->weight) limits->weight = s->weight;
    if (s->floor) limits->floor = s->floor;
    if (s->sharing) limits->sharing = s->sharing;
    for (int i = 0; i < 2; i++)
        if (s->group[i]) limits->group[i] = s->group[i];
}

static inline int64_t market_within(const market *m, int64_t from, int64_t to)
{
    if (from < m->from_ms) from = m->from_ms;
    if (to > m->to_ms) to = m->to_ms;
    return to > from ? to - from : 0;
}

/* Holds last from half to one and a half times hold_ms. */
static inline void market_trade(void *arg)
{
    trader *t = arg;
    market *m = t->m;
    kp_ask ask = { .within_ms = KP_OFF };
    kp_lease lease;
    while (kp_sim_now_ms(m->sim) < m->to_ms) {
        int64_t asked = kp_sim_now_ms(m->sim), began;
        uint64_t before = m->gets - (uint64_t)t->s->gets;
        if (kp_get(m->pool, kp_str(t->s->name), &ask, &lease) != 0) {
            m->failures++;
            return;
        }
        began = kp_sim_now_ms(m->sim);
        if (began - asked > t->s->longest_ms && asked >= m->from_ms)
            t->s->longest_ms = began - asked;
        if (m->gets - (uint64_t)t->s->gets - before > t->s->most_others && asked >= m->from_ms)
            t->s->most_others = m->gets - (uint64_t)t->s->gets - before;
        t->s->gets++;
        m->gets++;
        int64_t half = t->s->hold_ms / 2;
        int64_t more = (int64_t)(market_random(&t->seed) % (uint64_t)(2 * half + 1));
        kp_sim_pass_ms(m->sim, half + more);
        t->s->used_ms += market_within(m, began, kp_sim_now_ms(m->sim));
        kp_release(&lease);
    }
}

static inline void market_begin(market *m, uint64_t seed)
{
    memset(m, 0, sizeof *m);
    m->seed = seed;
    assert_int_equal(kp_sim_open(seed, &m->sim), 0);
    m->script.sim = m->sim;
    m->options.world = kp_sim_world(m->sim);
    m->options.limits_for = market_limits;
    m->options.ctx = m;
    m->options.why = &m->why;
    m->options.limits.max_live = KP_UNLIMITED;
    m->options.limits.max_creating = KP_UNLIMITED;
    m->options.limits.max_waiting = KP_UNLIMITED;
    m->options.limits.prefill = KP_PREFILL_NONE;
    m->options.limits.max_age_ms = KP_OFF;
}

static inline stall *market_key(market *m, int tasks, int64_t weight, int64_t hold_ms)
{
    stall *s = &m->stalls[m->count];
    *s = (stall){ .tasks = tasks, .weight = weight, .hold_ms = hold_ms };
    snprintf(s->name, sizeof s->name, "%d", m->count++);
    return s;
}

static inline void market_open(market *m)
{
    assert_int_equal(kp_cast_open(&m->script, &m->cast), 0);
    m->options.driver = kp_cast_driver(m->cast);
    int rc = kp_pool_open(&m->options, &m->pool);
    if (rc != 0) print_error("kp_pool_open: %s\n", m->why.text);
    assert_int_equal(rc, 0);
}

/* Trade until to_ms; measure from from_ms on. */
static inline void market_run(market *m, int64_t from_ms, int64_t to_ms)
{
    static trader traders[MARKET_TASKS];
    int n = 0;
    m->from_ms = from_ms;
    m->to_ms = to_ms;
    for (int i = 0, more = 1; more; i++)
        for (int k = more = 0; k < m->count; k++) { /* one of each, then a second of each ... */
            if (i >= m->stalls[k].tasks) continue;
            more = 1;
            assert_true(n < MARKET_TASKS);
            traders[n] = (trader){ m, &m->stalls[k], m->seed * 1000003 + (uint64_t)n + 1 };
            assert_true(kp_sim_spawn(m->sim, market_trade, &traders[n++]) > 0);
        }
    kp_sim_pass_ms(m->sim, from_ms);
    m->creates = kp_cast_read(m->cast).creates;
    kp_sim_pass_ms(m->sim, to_ms - from_ms - 1); /* after that they stop, one by one */
    m->creates = kp_cast_read(m->cast).creates - m->creates;
    kp_sim_join(m->sim, 0);
    assert_int_equal(m->failures, 0);
}

/* Permits that a key held on average. */
static inline double market_share(const market *m, int k)
{
    return (double)m->stalls[k].used_ms / (double)(m->to_ms - m->from_ms);
}

static inline void market_end(market *m)
{
    assert_int_equal(kp_pool_close(m->pool, KP_CLOSE_NOW, KP_SECONDS(1)), 0);
    kp_cast_count count = kp_cast_read(m->cast);
    assert_int_equal(count.creates, count.destroys);
    kp_cast_close(m->cast);
    assert_int_equal(kp_sim_close(m->sim), 0);
}

#endif
