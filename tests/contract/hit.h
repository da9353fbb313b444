/* SPDX-License-Identifier: MIT
 *
 * A real pool, with the process's keeper, whose lanes open (src/core/lane.h), for the tests called
 * hit*: a driver that notes whose resource is whose, what was told of misuse and leaks, and one
 * look inside, which says whether a call took the short cut: then the books did not move.
 */
#ifndef TESTS_CONTRACT_HIT_H
#define TESTS_CONTRACT_HIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/core.h"
#include "flow/flow.h"
#include "keyedpool.h"

enum { ITEMS = 1024 };

struct item {
    char key[1024];
    size_t size;
    int number, destroyed, validated;
    int users;
};

static struct {
    kp_pool *pool;
    struct item item[ITEMS];
    atomic_int made, gone;
    uint64_t gets; /* by hit_take */
    atomic_int misuses, events[32];
    char text[200]; /* of the last misuse */
} hit;

/* ---- the driver ------------------------------------------------------------------------------ */

static inline int item_create(kp_job *job, void **out)
{
    int i = atomic_fetch_add(&hit.made, 1);
    size_t size = job->key.size & ~KP_STRUCT_KEY;

    if (i >= ITEMS || size > sizeof hit.item[i].key) abort();
    struct item *item = &hit.item[i];
    memset(item, 0, sizeof *item);
    if (size) memcpy(item->key, job->key.data, size);
    item->size = size;
    item->number = i;
    *out = item;
    return 0;
}

static inline int item_destroy(kp_job *job, void *resource)
{
    struct item *item = resource;

    (void)job;
    item->destroyed++;
    atomic_fetch_add(&hit.gone, 1);
    return 0;
}

static inline void hit_event(const kp_event *event, void *ctx)
{
    (void)ctx;
    hit.events[event->kind]++;
    if (event->kind == KP_EVENT_MISUSE) {
        hit.misuses++;
        snprintf(hit.text, sizeof hit.text, "%s", event->why->text);
    }
}

static inline void hit_misuse(const kp_why *why, void *arg)
{
    (void)arg;
    hit.misuses++;
    snprintf(hit.text, sizeof hit.text, "%s", why->text);
}

/* ---- the pool -------------------------------------------------------------------------------- */

/* What the options leave open: times to live are off, so that a lane stays open for a minute. */
static inline kp_pool *hit_open(kp_options options)
{
    kp_pool *pool = NULL;
    kp_limits *l = &options.limits;

    if (!options.driver.create && !options.driver.ctx) options.driver.create = item_create;
    if (!options.driver.destroy) options.driver.destroy = item_destroy;
    if (!options.on_event) options.on_event = hit_event;
    if (!l->idle_ttl_ms) l->idle_ttl_ms = KP_OFF;
    if (!l->max_age_ms) l->max_age_ms = KP_OFF;
    assert_int_equal(kp_pool_open(&options, &pool), 0);
    hit.pool = pool;
    return pool;
}

static inline int hit_begin(void **state)
{
    (void)state;
    (void)unsetenv("KP_LANES"); /* as programs have it */
    memset(&hit, 0, sizeof hit);
    kp_on_misuse(hit_misuse, NULL);
    return 0;
}

/* Close, and nothing may be left. */
static inline int hit_end(void **state)
{
    (void)state;
    if (hit.pool) assert_int_equal(kp_pool_close(hit.pool, KP_CLOSE_NOW, KP_SECONDS(30)), 0);
    assert_int_equal(hit.made, hit.gone);
    for (int i = 0; i < hit.made; i++) assert_int_equal(hit.item[i].destroyed, 1);
    kp_on_misuse(NULL, NULL);
    return 0;
}

#define HIT_TEST(f) cmocka_unit_test_setup_teardown(f, hit_begin, hit_end)

/* ---- steps ----------------------------------------------------------------------------------- */

static inline kp_lease hit_take_asking(kp_key key, const kp_ask *ask)
{
    kp_lease lease;

    assert_int_equal(kp_get(hit.pool, key, ask, &lease), 0);
    struct item *item = lease.resource;
    assert_int_equal(item->users++, 0);
    assert_int_equal(item->destroyed, 0);
    hit.gets++;
    return lease;
}

/* In two ways in turn, which the short cut tells apart. */
static inline kp_lease hit_take(kp_key key)
{
    return hit_take_asking(key, hit.gets % 2 ? KP_IN_S(30) : NULL);
}

static inline void hit_give(kp_lease *lease)
{
    struct item *item = lease->resource;

    assert_int_equal(--item->users, 0);
    kp_release(lease);
    assert_null(lease->resource);
}

/* The counters of a key, or of all. */
static inline kp_stats hit_stats(kp_key key)
{
    kp_stats s;

    assert_int_equal(kp_stats_read(hit.pool, key, &s), 0);
    assert_int_equal(s.live, s.creating + s.idle + s.lent + s.closing);
    assert_int_equal(s.leases, s.lent);
    return s;
}

static inline void hit_assert_told(int times, const char *words)
{
    assert_int_equal(hit.misuses, times);
    if (!strstr(hit.text, words)) print_error("told: %s\n", hit.text);
    assert_non_null(strstr(hit.text, words));
}

/* ---- one look inside ------------------------------------------------------------------------- */

/* Moves with every claim, return and shutting that takes the lock, and with no hit. */
static inline uint64_t hit_moves(void)
{
    const struct kp__core *core = &atomic_load(&hit.pool->pool)->core;

    kp__lock_take(&hit.pool->lock, &kp__life);
    uint64_t moves = core->stamps + core->returns;
    kp__lock_give(&hit.pool->lock, &kp__life);
    return moves;
}

/* Is any lane of the pool open? */
static inline bool hit_is_open(void)
{
    const struct kp__core *core = &atomic_load(&hit.pool->pool)->core;

    kp__lock_take(&hit.pool->lock, &kp__life);
    bool open = kp__heap_top(&core->open) != NULL;
    kp__lock_give(&hit.pool->lock, &kp__life);
    return open;
}

#define HIT_SHORT(call)                        \
    do {                                       \
        uint64_t moves_ = hit_moves();         \
        call;                                  \
        assert_int_equal(hit_moves(), moves_); \
    } while (0)

#define HIT_LONG(call)                         \
    do {                                       \
        uint64_t moves_ = hit_moves();         \
        call;                                  \
        assert_true(hit_moves() > moves_);     \
    } while (0)

/* Use a key until its lane is open: one that was shut for a look opens only after some releases. */
static inline void hit_warm(kp_key key)
{
    for (int i = 0; i < 5000; i++) {
        uint64_t moves = hit_moves();
        kp_lease lease = hit_take(key);
        hit_give(&lease);
        if (hit_moves() == moves) return;
    }
    fail_msg("the lane of this key does not open");
}

/* n resources of a key, idle, and its lane open. */
static inline void hit_stock(kp_key key, int n)
{
    kp_lease *lease = calloc((size_t)n, sizeof *lease);

    assert_non_null(lease);
    for (int i = 0; i < n; i++) lease[i] = hit_take(key);
    for (int i = 0; i < n; i++) hit_give(&lease[i]);
    free(lease);
    hit_warm(key);
}

/* A pool with n resources of the key "k", one of them lent by a hit; the lane is open. */
static inline kp_lease hit_one_of(int n, kp_options options)
{
    if (!options.limits.max_live) options.limits.max_live = n;
    hit_open(options);
    hit_stock(kp_str("k"), n);
    kp_lease lease;
    HIT_SHORT(lease = hit_take(kp_str("k")));
    assert_true(hit_is_open());
    return lease;
}

#endif
