/* SPDX-License-Identifier: MIT
 *
 * Where no lane opens: with rules that hits without the lock cannot keep, and where no keeper would
 * shut the lane in time.
 */
#include "hit_stage.h"

/* Lanes must be shut in time: where no thread would do that, none opens. */
static void a_pool_that_may_have_no_thread_must_have_no_open_lane(void)
{
    hit_open((kp_options){ .threads = KP_NONE });
    for (int i = 0; i < 50; i++) {
        hit_use(K);
        assert_false(hit_is_open());
    }
}

static void a_pool_that_said_locked_must_take_the_lock_for_every_hit(void)
{
    kp_lease lease;

    hit_open((kp_options){ .hits = KP_HITS_LOCKED });
    hit_use(K);
    for (int i = 0; i < 50; i++) {
        HIT_LONG(lease = hit_take(K));
        HIT_LONG(hit_give(&lease));
        assert_false(hit_is_open());
    }
    assert_int_equal(hit_stats(K).hits, 50);
}

/* Rules that words cannot keep. */
static void limits_that_need_the_books_must_have_no_open_lane(void)
{
    const kp_limits limits[] = {
        { .min_idle = 1 }, { .sharing = 2 }, { .utilization_pct = 50 }, { .idle_order = KP_FIFO },
        { .on_return = KP_DESTROY },
        { .excess_ttl_ms = 5000, .excess_check = KP_CHECK_RETURN },
        { .idle_ttl_ms = 5000, .idle_check = KP_CHECK_RETURN },
        { .max_live = 2, .max_lent = 1 },
        { .max_live = 2, .max_idle = 1 }
    };

    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        hit_open((kp_options){ .limits = limits[i] });
        for (int j = 0; j < 50; j++) {
            kp_lease one = { 0 }, other = { 0 };
            assert_int_equal(kp_get(hit.pool, K, NULL, &one), 0);
            if (limits[i].max_lent == 0) assert_int_equal(kp_get(hit.pool, K, NULL, &other), 0);
            kp_release(&one);
            if (other.resource && i < 8) assert_false(hit_is_open());
            kp_release(&other);
            if (i < 7) assert_false(hit_is_open());
        }
        assert_int_equal(hit.misuses, 0);
        assert_int_equal(kp_pool_close(hit.pool, KP_CLOSE_WAIT, 0), 0);
    }
    hit.pool = NULL;
}

static int reset(kp_job *job, void *resource)
{
    (void)job;
    ((struct item *)resource)->validated++;
    return 0;
}

static void what_must_be_reset_must_be_so_each_time_it_comes_back(void)
{
    hit_open((kp_options){ .driver.reset = reset });
    for (int i = 1; i <= 50; i++) {
        hit_use(K);
        assert_int_equal(hit.item[0].validated, i);
    }
}

static void what_shall_not_be_reused_must_be_destroyed_each_time_it_comes_back(void)
{
    hit_open((kp_options){ .limits.on_return = KP_DESTROY });
    for (int i = 0; i < 8; i++) assert_int_equal(kp_add(hit.pool, K, &hit.item[hit.made++]), 0);
    for (int i = 1; i <= 8; i++) {
        hit_use(K);
        assert_int_equal(hit.gone, i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HIT_TEST(a_pool_that_may_have_no_thread_must_have_no_open_lane),
        HIT_TEST(a_pool_that_said_locked_must_take_the_lock_for_every_hit),
        HIT_TEST(limits_that_need_the_books_must_have_no_open_lane),
        HIT_TEST(what_must_be_reset_must_be_so_each_time_it_comes_back),
        HIT_TEST(what_shall_not_be_reused_must_be_destroyed_each_time_it_comes_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
