/* SPDX-License-Identifier: MIT
 *
 * What the tests of races and corner cases share: a pool without pauses, and a visitor: a task that
 * borrows (or changes limits, or pins) at a given time.
 */
#ifndef TESTS_CONTRACT_CORNERS_H
#define TESTS_CONTRACT_CORNERS_H

#include "contract.h"

/* A pool without pauses; options that are not what a test is about are off. */
static inline void begin(contract *c)
{
    contract_begin(c, NULL);
    c->options.limits.retry_first_ms = KP_NONE;
    c->options.limits.max_creating = KP_UNLIMITED;
    c->options.limits.prefill = KP_PREFILL_NONE;
}

/* No option that needs the clock, so that a hit and its release do not read it. */
static inline void begin_bare(contract *c)
{
    begin(c);
    c->options.leak_after_ms = KP_OFF;
    c->options.limits.idle_ttl_ms = KP_OFF;
    c->options.limits.max_age_ms = KP_OFF;
}

/* The scripted driver without validate and reset, which would need the clock. */
static inline void open_short(contract *c)
{
    kp_driver driver;
    c->script.sim = c->sim;
    assert_int_equal(kp_cast_open(&c->script, &c->cast), 0);
    driver = kp_cast_driver(c->cast);
    if (!c->script.validate) driver.validate = NULL;
    if (!c->script.reset) driver.reset = NULL;
    contract_open_driver(c, &driver);
}

static inline int get_within(contract *c, const char *key, int64_t ms, kp_lease *lease)
{
    kp_ask ask = { .within_ms = ms, .why = &c->why };
    return kp_get(c->pool, kp_str(key), &ask, lease);
}

static inline kp_stats stats(contract *c, const char *key)
{
    return contract_stats(c, key ? kp_str(key) : KP_EVERY_KEY);
}

/* ---- a task that does one thing at a time of its own ----------------------------------------- */

struct visit {
    contract *c;
    const char *key;
    int64_t at_ms, within_ms, hold_ms;
    uint32_t flags;
    bool pin; /* kp_pin instead of a get */
    kp_key pinned;
    const kp_limits *limits; /* kp_limits_set instead of a get */
    bool keep;               /* the lease is the test's to end */
    int task, rc;
    int64_t answered_ms;
    kp_lease lease;
};

static inline void visit_run(void *arg)
{
    struct visit *v = arg;
    kp_ask ask = { .within_ms = v->within_ms, .flags = v->flags };
    if (v->at_ms) kp_sim_pass_ms(v->c->sim, v->at_ms);
    if (v->limits)
        v->rc = kp_limits_set(v->c->pool, v->key ? kp_str(v->key) : KP_EVERY_KEY, v->limits, NULL);
    else if (v->pin)
        v->rc = kp_pin(v->c->pool, kp_str(v->key), &v->pinned);
    else
        v->rc = kp_get(v->c->pool, kp_str(v->key), &ask, &v->lease);
    v->answered_ms = kp_sim_now_ms(v->c->sim);
    if (v->limits || v->pin || v->rc != 0 || v->keep) return;
    if (v->hold_ms) kp_sim_pass_ms(v->c->sim, v->hold_ms);
    kp_release(&v->lease);
}

static inline void send(contract *c, struct visit *v)
{
    v->c = c;
    v->rc = KP_PENDING;
    v->task = kp_sim_spawn(c->sim, visit_run, v);
    assert_true(v->task > 0);
}

/* ---- the same of a warming ------------------------------------------------------------------- */

struct warmer {
    contract *c;
    const char *key;
    int64_t at_ms, got, answered_ms;
    kp_why why;
};

static inline void warm_key(void *arg)
{
    struct warmer *w = arg;
    kp_key key = kp_str(w->key);
    kp_ask ask = { .within_ms = KP_SECONDS(10), .why = &w->why };
    if (w->at_ms) kp_sim_pass_ms(w->c->sim, w->at_ms);
    w->got = kp_warm(w->c->pool, &key, 1, &ask);
    w->answered_ms = kp_sim_now_ms(w->c->sim);
}

#endif
