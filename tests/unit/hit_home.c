/* SPDX-License-Identifier: MIT
 *
 * Hits at home: a cell that is used much on one processor is changed there without an atomic
 * operation. A thread that comes from another processor takes the home away, and finds everything
 * as if there had never been one.
 */
#include "hit_homes.h"

#if KP__SEQUENCES
#include <pthread.h>

#include "home_forbid.h"

static void a_cell_must_be_at_home_where_it_is_used(void)
{
    kp_key keys[2] = { K };
    void *resource = stand(1);

    keys[1] = hit_pin(K);
    open_again();
    assert_ptr_equal(bring_home_by(keys[1], 0), resource);
    struct view before = view_of(resource);
    assert_int_equal(before.homes, 1);
    for (int i = 0; i < 5000; i++) hit_use(keys[i % 2]);
    struct view after = view_of(resource);
    assert_true(is_at_home(resource, 0)); /* the lock was not taken, or it would not be at home */
    assert_int_equal(after.home_credit, before.home_credit);
    assert_int_equal(after.word >> KP__WORD_BITS, (before.word >> KP__WORD_BITS) + 5000);
    HIT_SHORT(hit_use(K));
    assert_all_back(1);
    kp_unpin(hit.pool, &keys[1]);
}

/* No key of a lane's own kind, and none that is short, is led to it in the same way. */
static void nor_must_it_matter_by_what_key(void)
{
    static char bytes[200];
    kp_key key = kp_bytes(bytes, sizeof bytes);

    hit_open((kp_options){ .limits.max_live = 1 });
    hit_stock(key, 1);
    void *resource = bring_home_by(key, 0);
    for (int i = 0; i < 100; i++) hit_use(key);
    assert_true(is_at_home(resource, 0));
}

/* ---- from elsewhere -------------------------------------------------------------------------- */

static void who_gets_it_elsewhere_must_take_its_home_and_leave_the_lane_open(void)
{
    kp_lease lease;
    void *resource = stand(1);

    assert_true(pin_to(1));
    HIT_SHORT(lease = hit_take(K));
    assert_ptr_equal(lease.resource, resource);
    assert_false(lease.opaque[1] & KP__HOMED);
    assert_no_home(resource, true);
    HIT_SHORT(hit_give(&lease));
    HIT_SHORT(for (int i = 0; i < 100; i++) hit_use(K));
    assert_no_home(resource, true);
    assert_ptr_equal(bring_home(1), resource);
    assert_true(is_at_home(resource, 1));
    assert_all_back(1);
}

static void who_gives_it_back_elsewhere_must_take_its_home_and_leave_the_lane_open(void)
{
    kp_lease lease = lent_at_home(1);
    void *resource = lease.resource;

    assert_true(pin_to(1));
    HIT_SHORT(hit_give(&lease));
    assert_no_home(resource, true);
    assert_int_equal(view_of(resource).word & KP__WORD_STATE, KP__WORD_IDLE);
    kp_release(&lease);
    hit_assert_told(1, "through this variable: released twice");
    assert_all_back(1);
}

static void who_finds_it_lent_elsewhere_must_not_get_it(void)
{
    kp_lease lease = lent_at_home(1), copy = lease;

    assert_true(pin_to(1));
    hit_try_refused(KP_EAGAIN);
    assert_true(pin_to(0));
    hit_give(&lease);
    kp_release(&copy);
    hit_assert_told(1, "ended already");
    assert_all_back(1);
}

static void *wait_elsewhere(void *lease)
{
    if (!pin_to(1) || kp_get(hit.pool, K, KP_IN_S(30), lease) != 0) return NULL;
    return lease;
}

/* The waiter has shut the lane before, so that the release at home sees it (L1). */
static void who_waits_elsewhere_must_get_it_when_it_comes_back(void)
{
    kp_lease lease = lent_at_home(1), theirs = { 0 };
    pthread_t thread;
    uint32_t waiting = 0;
    void *got;

    assert_int_equal(pthread_create(&thread, NULL, wait_elsewhere, &theirs), 0);
    while (waiting == 0) {
        waiting = kp__next_sub(lock(), NULL)->waiting;
        unlock();
        sched_yield();
    }
    hit_give(&lease);
    assert_int_equal(pthread_join(thread, &got), 0);
    assert_ptr_equal(got, &theirs);
    kp_release(&theirs);
    hit.gets++;
    assert_int_equal(hit_stats(K).idle, 1);
}

/* Each processor has its own, and the lock is not taken. */
static void many_of_a_key_must_be_at_home_each_where_it_is_used(void)
{
    void *mine[2];

    mine[0] = stand(2);
    kp_lease lease = hit_take(K);
    assert_true(pin_to(1));
    assert_ptr_equal(lease.resource, mine[0]);
    mine[1] = bring_home(1);
    assert_ptr_not_equal(mine[0], mine[1]);
    assert_true(is_at_home(mine[0], 0)); /* lent all the time */
    assert_true(pin_to(0));
    HIT_SHORT(hit_give(&lease));
    for (int i = 0; i < 400; i++) {
        assert_true(pin_to(i % 2));
        for (int k = 0; k < 5; k++) {
            HIT_SHORT(lease = hit_take(K));
            assert_ptr_equal(lease.resource, mine[i % 2]);
            hit_give(&lease);
        }
    }
    for (int i = 0; i < 2; i++) assert_true(is_at_home(mine[i], i));
    struct view v = view_of(mine[0]);
    assert_int_equal(v.homes, 2);
    assert_true(v.home_credit > 0);
    assert_all_back(2);
}

/* ---- never ----------------------------------------------------------------------------------- */

/* However much it is used, it is a hit, and no cell gets a home. */
static void must_never_get_a_home(kp_options options)
{
    kp_lease lease;

    options.limits.max_live = 1;
    hit_stand(1, options);
    HIT_SHORT(for (int i = 0; i < 4 * KP__SEEKS; i++) hit_use(K));
    HIT_SHORT(lease = hit_take(K));
    assert_false(lease.opaque[1] & KP__HOMED);
    struct view v = view_of(lease.resource);
    assert_int_equal(v.word, lease.opaque[1]);
    assert_int_equal(v.homes, 0);
    assert_true(v.open);
    hit_give(&lease);
    assert_all_back(1);
}

static void portable_hits_must_have_no_homes(void)
{
    kp_options options = { 0 };

    assert_int_equal(kp_options_set(&options, "hits", "portable"), 0);
    assert_int_equal(options.hits, KP_HITS_PORTABLE);
    must_never_get_a_home(options);
}

/* The release changes the word twice, and runs is_clean in between. */
static void nor_where_what_comes_back_is_asked_about(void)
{
    hit_asks = true;
    must_never_get_a_home((kp_options){ 0 });
}
/* ---- a kernel that refuses ------------------------------------------------------------------- */

/* Nothing is asserted in children: that is the parent's. */
static bool use_in_child(int times, bool homed)
{
    kp_lease lease;

    for (; times > 0; times--) {
        if (kp_get(hit.pool, K, NULL, &lease) != 0) return false;
        if (!(lease.opaque[1] & KP__HOMED) == homed) return false;
        kp_release(&lease);
    }
    return true;
}

static int open_where_it_is_refused(void)
{
    forbid(SYS_membarrier, EPERM);
    hit_open((kp_options){ .limits.max_live = 1 });
    return use_in_child(20 * KP__SEEKS, false) ? 0 : 1;
}

static int refuse_it_later(void)
{
    kp_lease lease;
    cpu_set_t mine;

    hit_open((kp_options){ .limits.max_live = 1 });
    for (int i = 0; i < 20 * KP__SEEKS; i++) {
        if (kp_get(hit.pool, K, NULL, &lease) != 0) return 1;
        kp_release(&lease);
        if (is_at_home(&hit.item[0], 0)) break;
    }
    if (!use_in_child(100, true)) return 2;
    forbid(SYS_membarrier, EPERM);
    if (!use_in_child(100, true)) return 3;
    if (!pin_to(1) || !use_in_child(100, false)) return 4;
    if (sched_getaffinity(0, sizeof mine, &mine) != 0) return 5;
    return CPU_COUNT(&mine) == 1 && CPU_ISSET((size_t)pin_number(1), &mine) ? 0 : 6;
}

static void a_pool_must_go_on_where_the_kernel_refuses_membarrier(void)
{
#if defined KP__SEES_NO_SEQUENCES
    print_message("skipped: under ThreadSanitizer a child with threads is none\n");
    skip();
#endif
    child_must_end_well(open_where_it_is_refused);
    child_must_end_well(refuse_it_later);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#if KP__SEQUENCES
        HOME_TEST(a_cell_must_be_at_home_where_it_is_used),
        HOME_TEST(nor_must_it_matter_by_what_key),
        HOME_TEST(who_gets_it_elsewhere_must_take_its_home_and_leave_the_lane_open),
        HOME_TEST(who_gives_it_back_elsewhere_must_take_its_home_and_leave_the_lane_open),
        HOME_TEST(who_finds_it_lent_elsewhere_must_not_get_it),
        HOME_TEST(who_waits_elsewhere_must_get_it_when_it_comes_back),
        HOME_TEST(many_of_a_key_must_be_at_home_each_where_it_is_used),
        HOME_TEST(portable_hits_must_have_no_homes),
        HOME_TEST(nor_where_what_comes_back_is_asked_about),
        HOME_TEST(a_pool_must_go_on_where_the_kernel_refuses_membarrier),
#else
        HOME_TEST(none),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
