/* SPDX-License-Identifier: MIT
 *
 * Limits over all keys (budget.max_lent, budget.max_idle) with hits that take no lock: they hold
 * exactly, and no request waits or is refused while one is left.
 */
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "hit_stage.h"

#define A kp_str("a")
#define B kp_str("b")

static void budget_open(int64_t max_lent, int64_t max_idle, int64_t max_live)
{
    hit_open((kp_options){ .budget = { .max_lent = max_lent, .max_idle = max_idle },
                           .limits = { .max_live = max_live } });
}

static kp_lease short_take(kp_key key)
{
    kp_lease lease;

    HIT_SHORT(lease = hit_take(key));
    return lease;
}

/* ---- one thread ------------------------------------------------------------------------------ */

static void hits_must_need_no_lock_away_from_the_limits(void)
{
    budget_open(100, 100, 8);
    hit_stock(A, 8);
    hit_stock(B, 3);
    for (int i = 0; i < 20; i++) {
        kp_lease a = short_take(A), other = short_take(A), b = short_take(B);
        HIT_SHORT(hit_give(&other));
        HIT_SHORT(hit_give(&b));
        HIT_SHORT(hit_give(&a));
    }
    kp_stats all = hit_stats(KP_EVERY_KEY);
    assert_int_equal(all.idle, 11);
    assert_int_equal(all.gets, hit.gets);
}

static void hits_must_need_no_lock_where_there_are_more_than_may_be_lent(void)
{
    budget_open(8, 0, 8);
    hit_stock(A, 8);
    hit_stock(B, 8);
    hit_warm(A);
    hit_warm(B);
    for (int i = 0; i < 20; i++) {
        kp_lease a = short_take(A), b = short_take(B);
        HIT_SHORT(hit_give(&a));
        HIT_SHORT(hit_give(&b));
    }
}

static void what_a_lane_might_lend_must_be_there_for_another_key(void)
{
    kp_lease a, b, none;
    kp_why why;

    budget_open(2, 0, 2);
    hit_stock(A, 2);
    assert_true(hit_is_open());
    assert_int_equal(kp_try_get(hit.pool, B, &b), KP_EAGAIN); /* nothing idle, and it makes none */
    hit_warm(A);
    b = hit_take(B);
    assert_int_equal(hit_stats(KP_EVERY_KEY).leases, 1);
    a = hit_take(A);
    assert_int_equal(kp_get(hit.pool, A, &(kp_ask){ .within_ms = 1, .why = &why }, &none),
                     KP_ETIMEDOUT);
    assert_string_equal(why.limit, "budget.max_lent");
    hit_give(&a);
    hit_give(&b);
    hit_warm(A);
    b = hit_take(B); /* idle this time */
    hit_give(&b);
}

static void a_try_must_have_what_any_of_the_lanes_does_not_lend(void)
{
    kp_lease a, b, d;

    budget_open(3, 0, 1);
    hit_stock(kp_str("d"), 1);
    hit_stock(A, 1);
    hit_stock(B, 1);
    hit_stock(kp_str("c"), 1); /* what the lane of d held is with this one now */
    a = short_take(A);
    b = short_take(B);
    assert_int_equal(kp_try_get(hit.pool, kp_str("d"), &d), 0);
    assert_int_equal(kp_try_get(hit.pool, kp_str("c"), &(kp_lease){ .resource = NULL }), KP_EAGAIN);
    kp_release(&d);
    hit_give(&a);
    hit_give(&b);
}

static void what_is_lent_without_the_lock_must_count(void)
{
    kp_lease a[2], none;
    kp_why why;

    budget_open(2, 0, 2);
    hit_stock(A, 2);
    for (int i = 0; i < 2; i++) a[i] = short_take(A);
    assert_int_equal(kp_get(hit.pool, B, &(kp_ask){ .within_ms = 1, .why = &why }, &none),
                     KP_ETIMEDOUT);
    assert_string_equal(why.limit, "budget.max_lent");
    hit_give(&a[0]);
    kp_lease b = hit_take(B);
    assert_int_equal(kp_try_get(hit.pool, A, &none), KP_EAGAIN);
    hit_give(&b);
    hit_give(&a[1]);
}

static void no_more_must_stay_idle_than_may_whichever_way_they_come_back(void)
{
    kp_lease a[2];

    budget_open(0, 2, 2);
    hit_stock(A, 2);
    for (int i = 0; i < 2; i++) a[i] = short_take(A);
    kp_lease b = hit_take(B);
    hit_give(&a[0]); /* without the lock, or with it */
    hit_give(&b);
    assert_int_equal(hit.gone, 0); /* two are idle */
    hit_give(&a[1]);
    assert_int_equal(hit.gone, 1);
    assert_int_equal(hit_stats(KP_EVERY_KEY).idle, 2);
}

static void what_is_taken_without_the_lock_must_leave_its_place_among_the_idle(void)
{
    budget_open(0, 1, 1);
    hit_stock(A, 1);
    kp_lease a = short_take(A), b = hit_take(B);
    hit_give(&b);
    assert_int_equal(hit.gone, 0);
    hit_give(&a);
    assert_int_equal(hit.gone, 1);
}

/* ---- many threads ---------------------------------------------------------------------------- */

enum { THREADS = 6, TURNS = 4000, KEYS = 3 };

static struct {
    int64_t most;
    atomic_int lent, over, late;
    atomic_bool over_now;
} crowd;

static kp_key crowd_key(unsigned i)
{
    static const char *const name[KEYS] = { "a", "b", "c" };

    return kp_str(name[i % KEYS]);
}

static void *borrow(void *arg)
{
    unsigned dice = *(unsigned *)arg;

    for (int i = 0; i < TURNS; i++) {
        kp_lease lease;
        dice = dice * 1103515245u + 12345u;
        if (kp_get(hit.pool, crowd_key(dice >> 16), KP_IN_S(30), &lease) != 0) {
            crowd.late++;
            return NULL;
        }
        if (atomic_fetch_add(&crowd.lent, 1) >= crowd.most) crowd.over++;
        if (dice >> 20 & 1) sched_yield();
        atomic_fetch_sub(&crowd.lent, 1);
        kp_release(&lease);
    }
    return NULL;
}

/* Looks at all books again and again, which shuts all lanes. */
static void *watch(void *arg)
{
    (void)arg;
    while (!crowd.over_now) {
        kp_stats all;
        if (kp_stats_read(hit.pool, KP_EVERY_KEY, &all) != 0) crowd.late++;
        if (crowd.most && all.leases > (uint64_t)crowd.most) crowd.over++;
        if (all.idle > 4) crowd.over++;
        for (int i = 0; i < 50; i++) sched_yield();
    }
    return NULL;
}

/* As many as are wanted: more than hit.h has room to note. */
static int make_any(kp_job *job, void **out)
{
    static char thing[KEYS];

    *out = &thing[*(const char *)job->key.data - 'a'];
    return 0;
}

static int forget_it(kp_job *job, void *resource)
{
    return (void)job, (void)resource, 0;
}

static void play(int64_t max_lent, int64_t max_idle, bool watched)
{
    pthread_t thread[THREADS], watcher;
    unsigned seed[THREADS];

    hit_open((kp_options){ .driver = { .create = make_any, .destroy = forget_it },
                           .budget = { .max_lent = max_lent, .max_idle = max_idle },
                           .limits = { .max_live = 2 } });
    memset(&crowd, 0, sizeof crowd);
    crowd.most = max_lent;
    for (unsigned i = 0; i < THREADS; i++) {
        seed[i] = 77 + i;
        assert_int_equal(pthread_create(&thread[i], NULL, borrow, &seed[i]), 0);
    }
    if (watched) assert_int_equal(pthread_create(&watcher, NULL, watch, NULL), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
    crowd.over_now = true;
    if (watched) pthread_join(watcher, NULL);
    assert_int_equal(crowd.late, 0);
    assert_int_equal(crowd.over, 0);
    kp_stats all = hit_stats(KP_EVERY_KEY);
    assert_int_equal(all.gets, THREADS * TURNS);
    assert_int_equal(all.leases, 0);
    assert_int_equal(all.waiting, 0);
}

static void never_more_must_be_lent_than_may_at_once(void)
{
    for (int64_t most = 1; most <= THREADS + 1; most += 2) {
        play(most, 0, false);
        assert_int_equal(kp_pool_close(hit.pool, KP_CLOSE_NOW, KP_SECONDS(30)), 0);
        hit.pool = NULL;
    }
}

static void limits_over_all_keys_must_hold_while_somebody_looks_at_the_books(void)
{
    play(4, 4, true);
    assert_true(hit_stats(KP_EVERY_KEY).idle <= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HIT_TEST(hits_must_need_no_lock_away_from_the_limits),
        HIT_TEST(hits_must_need_no_lock_where_there_are_more_than_may_be_lent),
        HIT_TEST(what_a_lane_might_lend_must_be_there_for_another_key),
        HIT_TEST(a_try_must_have_what_any_of_the_lanes_does_not_lend),
        HIT_TEST(what_is_lent_without_the_lock_must_count),
        HIT_TEST(no_more_must_stay_idle_than_may_whichever_way_they_come_back),
        HIT_TEST(what_is_taken_without_the_lock_must_leave_its_place_among_the_idle),
        HIT_TEST(never_more_must_be_lent_than_may_at_once),
        HIT_TEST(limits_over_all_keys_must_hold_while_somebody_looks_at_the_books),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
