/* SPDX-License-Identifier: MIT
 *
 * A stage for tests of hits without the lock (src/flow/hit.c): a real pool, with the process's
 * keeper, whose lanes open (src/core/lane.h); a driver that records the key of each resource;
 * reports of misuse and leaks; and a look inside, which tells whether a call did without the lock:
 * then the books did not change.
 */
#ifndef KP_TESTS_HIT_STAGE_H
#define KP_TESTS_HIT_STAGE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <semaphore.h>

#include "core/core.h"
#include "flow/flow.h"
#include "keyedpool.h"

#define K kp_str("k") /* the key of most tests */

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

static sem_t hit_over; /* posted by each pool's very last call */
static int hit_opened;

static bool hit_asks; /* each test is played twice: the second time the driver has is_clean */

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

static inline void hit_drop(void *ctx)
{
    (void)ctx;
    assert_int_equal(sem_post(&hit_over), 0);
}

/* All are clean, so that none is ever reset. */
static inline bool hit_is_clean(void *resource, void *ctx)
{
    (void)resource, (void)ctx;
    return true;
}

static inline int hit_no_reset(kp_job *job, void *resource)
{
    (void)job, (void)resource;
    abort();
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

/* Opens a pool. Where the options say nothing, times to live are off, so that a lane stays open for
 * a minute. */
static inline kp_pool *hit_open(kp_options options)
{
    kp_pool *pool = NULL;
    kp_limits *l = &options.limits;

    if (!options.driver.create && !options.driver.ctx) options.driver.create = item_create;
    if (!options.driver.destroy) options.driver.destroy = item_destroy;
    options.driver.drop_ctx = hit_drop;
    if (hit_asks && !options.driver.reset) {
        options.driver.reset = hit_no_reset;
        options.driver.is_clean = hit_is_clean;
    }
    if (!options.on_event) options.on_event = hit_event;
    if (!l->idle_ttl_ms) l->idle_ttl_ms = KP_OFF;
    if (!l->max_age_ms) l->max_age_ms = KP_OFF;
    assert_int_equal(kp_pool_open(&options, &pool), 0);
    hit_opened++;
    hit.pool = pool;
    return pool;
}

static inline int hit_begin(void **state)
{
    (void)state;
    (void)unsetenv("KP_LANES"); /* as in programs */
    memset(&hit, 0, sizeof hit);
    hit_opened = 0;
    assert_int_equal(sem_init(&hit_over, 0, 0), 0);
    kp_on_misuse(hit_misuse, NULL);
    return 0;
}

/* Closes; nothing may be left. The keeper may still be in hit_event when the close has returned. */
static inline int hit_end(void **state)
{
    (void)state;
    if (hit.pool) assert_int_equal(kp_pool_close(hit.pool, KP_CLOSE_NOW, KP_SECONDS(30)), 0);
    for (; hit_opened > 0; hit_opened--) assert_int_equal(sem_wait(&hit_over), 0);
    assert_int_equal(hit.made, hit.gone);
    for (int i = 0; i < hit.made; i++) assert_int_equal(hit.item[i].destroyed, 1);
    kp_on_misuse(NULL, NULL);
    return 0;
}

/* The same test once more, from the beginning. */
static inline void hit_again(void)
{
    hit_end(NULL);
    hit_begin(NULL);
}

/* A test is `static void sentence(void)`. */
struct hit_test {
    void (*play)(void);
};

static inline void hit_play(void **state)
{
    const struct hit_test *test = *state;

    hit_asks = false;
    test->play();
    hit_again();
    hit_asks = true;
    test->play();
}

#define HIT_TEST(f) { #f, hit_play, hit_begin, hit_end, &(struct hit_test){ f } }

static inline void hit_close(kp_pool *pool)
{
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_NOW, 0), 0);
}

/* ---- steps ----------------------------------------------------------------------------------- */

static inline struct item *hit_item(const kp_lease *lease)
{
    return lease->resource;
}

/* The lease must be for a resource of this key. */
static inline void hit_assert_of(const kp_lease *lease, kp_key key)
{
    assert_int_equal(hit_item(lease)->size, key.size);
    if (key.size) assert_memory_equal(hit_item(lease)->key, key.data, key.size);
}

static inline kp_lease hit_take_asking(kp_key key, const kp_ask *ask)
{
    kp_lease lease;

    assert_int_equal(kp_get(hit.pool, key, ask, &lease), 0);
    assert_int_equal(hit_item(&lease)->users++, 0);
    assert_int_equal(hit_item(&lease)->destroyed, 0);
    hit.gets++;
    return lease;
}

/* With and without an ask in turn: these are two paths of a hit. */
static inline kp_lease hit_take(kp_key key)
{
    return hit_take_asking(key, hit.gets % 2 ? KP_IN_S(30) : NULL);
}

static inline void hit_give(kp_lease *lease)
{
    assert_int_equal(--hit_item(lease)->users, 0);
    kp_release(lease);
    assert_null(lease->resource);
}

static inline void hit_use(kp_key key)
{
    kp_lease lease = hit_take(key);

    hit_give(&lease);
}

static inline void hit_discard(kp_lease *lease)
{
    assert_int_equal(--hit_item(lease)->users, 0);
    kp_discard(lease);
    assert_null(lease->resource);
}

/* Sets these limits, and no others, from now on. */
static inline void hit_set(kp_limits limits)
{
    kp_why why;
    int rc = kp_limits_set(hit.pool, K, &limits, &why);

    if (rc) print_error("%s\n", why.text);
    assert_int_equal(rc, 0);
}

/* The get must be refused, with this code. */
static inline void hit_refused(kp_pool *pool, kp_key key, const kp_ask *ask, int code)
{
    kp_lease lease = { .resource = &lease };

    assert_int_equal(kp_get(pool, key, ask, &lease), code);
    assert_null(lease.resource);
}

/* The same for a get that does not wait. */
static inline void hit_try_refused(int code)
{
    kp_lease lease = { .resource = &lease };

    assert_int_equal(kp_try_get(hit.pool, K, &lease), code);
    assert_null(lease.resource);
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

static inline struct kp__core *hit_core(kp_pool *pool)
{
    return &atomic_load(&pool->pool)->core;
}

/* A number that changes with every claim, return and shutting under the lock, but not with a
 * hit. */
static inline uint64_t hit_moves(void)
{
    const struct kp__core *core = hit_core(hit.pool);

    kp__lock_take(&hit.pool->lock, &kp__life);
    uint64_t moves = core->stamps + core->returns;
    kp__lock_give(&hit.pool->lock, &kp__life);
    return moves;
}

/* Is any lane of the pool open? */
static inline bool hit_is_open(void)
{
    const struct kp__core *core = hit_core(hit.pool);

    kp__lock_take(&hit.pool->lock, &kp__life);
    bool open = kp__heap_top(&core->open_lanes) != NULL;
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

/* Use a key until its lane is open: a lane that was shut to look at it opens only after some
 * releases. */
static inline void hit_warm(kp_key key)
{
    for (int i = 0; i < 5000; i++) {
        uint64_t moves = hit_moves();
        hit_use(key);
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

/* A pin of a key, which leads to its lane. */
static inline kp_key hit_pin(kp_key key)
{
    kp_key pin;

    assert_int_equal(kp_pin(hit.pool, key, &pin), 0);
    hit_warm(pin);
    return pin;
}

/* A pool with n resources, idle on an open lane. */
static inline kp_pool *hit_stand(int n, kp_options options)
{
    kp_pool *pool = hit_open(options);

    hit_stock(K, n);
    return pool;
}

/* Lends so many by hits; the lane stays open. */
static inline void hit_lend(int n, kp_lease *lease)
{
    HIT_SHORT(for (int i = 0; i < n; i++) lease[i] = hit_take(K));
    assert_true(hit_is_open());
}

/* A pool with n resources and no more, some of them lent by hits. */
static inline void hit_some_of(int n, int some, kp_lease *lease)
{
    hit_stand(n, (kp_options){ .limits.max_live = n });
    hit_lend(some, lease);
}

static inline kp_lease hit_one_of(int n)
{
    kp_lease lease;

    hit_some_of(n, 1, &lease);
    return lease;
}

/* A pool with one resource, lent by a hit; there may be max_live. */
static inline kp_lease hit_only(int max_live)
{
    kp_lease lease;

    hit_stand(1, (kp_options){ .limits.max_live = max_live });
    hit_lend(1, &lease);
    return lease;
}

#endif
