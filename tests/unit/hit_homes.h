/* SPDX-License-Identifier: MIT
 *
 * What the tests of hits at home share: a resource that is used on one processor until its cell has
 * its home there, and a look inside. The test itself moves from processor to processor.
 */
#ifndef KP_TESTS_HIT_HOMES_H
#define KP_TESTS_HIT_HOMES_H

#include "core/table.h"
#include "flow/hit.h"
#include "hit_stage.h"
#include "home_pin.h"

#if KP__SEQUENCES
/* ---- one look inside ------------------------------------------------------------------------- */

struct view { /* of one cell, and of its lane */
    uint64_t word;
    uint16_t home;
    bool open;
    int homes;
    int64_t home_credit; /* below 0: homes were taken */
};

static inline struct kp__core *lock(void)
{
    kp__lock_take(&hit.pool->lock, &kp__life);
    return hit_core(hit.pool);
}

static inline void unlock(void)
{
    kp__lock_give(&hit.pool->lock, &kp__life);
}

static inline struct view view_of(const void *resource)
{
    struct view v = { .home = KP__NO_HOME };
    const struct kp__slot *slot = kp__slot_of(lock(), resource);

    if (slot && slot->cell) {
        v.word = atomic_load(&KP__CELL_OF(slot)->word);
        v.home = atomic_load(&KP__CELL_OF(slot)->home);
        v.open = slot->on_lane && slot->sub->open;
        v.homes = slot->sub->lane_books->homes;
        v.home_credit = hit_core(hit.pool)->home_credit;
    }
    unlock();
    return v;
}

static inline bool is_at_home(const void *resource, int where)
{
    struct view v = view_of(resource);

    return v.open && v.homes > 0 && (v.word & KP__HOMED) && v.home == pin_number(where);
}

/* It is on an open lane none of whose cells has a home: they were taken away (`taken`), or there
 * was none since the lane opened. */
static inline void assert_no_home(const void *resource, bool taken)
{
    struct view v = view_of(resource);

    assert_true(v.open);
    assert_int_equal(v.home, KP__NO_HOME);
    assert_int_equal(v.homes, 0);
    assert_int_equal(v.home_credit < 0, taken);
}

/* Its lane opens at once, and homes come as early as the first time. */
static inline void open_again(void)
{
    struct kp__core *core = lock();
    struct kp__subpool *sub = kp__next_sub(core, NULL);

    sub->shut_for = 0;
    kp__lane_open(core, sub, kp__now(core->world));
    assert_true(sub->open);
    core->home_credit = 0;
    unlock();
}

/* ---- a home ---------------------------------------------------------------------------------- */

/* Use one of this key on this processor until it has its home here. */
static inline void *bring_home_by(kp_key key, int where)
{
    assert_true(pin_to(where));
    for (int i = 0; i < (KP__HOME_PRICE + 3) * KP__SEEKS; i++) {
        kp_lease lease = hit_take(key);
        void *resource = lease.resource;
        hit_give(&lease);
        if (is_at_home(resource, where)) return resource;
    }
    fail_msg("it gets no home");
    return NULL;
}

static inline void *bring_home(int where)
{
    return bring_home_by(K, where);
}

/* A pool with n resources, one of which has its home on this processor, the first one. */
static inline void *stand(int n)
{
    hit_stand(n, (kp_options){ .limits.max_live = n });
    return bring_home(0);
}

/* The same, and that one is lent there. */
static inline kp_lease lent_at_home(int n)
{
    kp_lease lease;
    void *resource = stand(n);

    HIT_SHORT(lease = hit_take(K));
    assert_ptr_equal(lease.resource, resource);
    assert_true(lease.opaque[1] & KP__HOMED);
    assert_true(is_at_home(resource, 0));
    return lease;
}

/* Everything was given back, and the counters say so. */
static inline void assert_all_back(int n)
{
    kp_stats s = hit_stats(K);

    assert_int_equal(s.gets, hit.gets);
    assert_int_equal(s.hits, hit.gets - (uint64_t)hit.made);
    assert_int_equal(s.idle, n);
    assert_int_equal(s.lent, 0);
}

static inline void home_play(void **state)
{
    pin_two_or_skip();
    hit_asks = false;
    assert_true(pin_to(0));
    ((const struct hit_test *)*state)->play();
    pin_off();
}

#define HOME_TEST(f) { #f, home_play, hit_begin, hit_end, &(struct hit_test){ f } }
#else
static inline void home_play(void **state)
{
    (void)state;
    pin_or_skip();
}

#define HOME_TEST(f) cmocka_unit_test(home_play)
#endif

#endif
