/* SPDX-License-Identifier: MIT
 *
 * Pools, keys and lines that end while leases are out that began without the lock.
 */
#include "hit_stage.h"

#include <pthread.h>

#include "flow/upkeep.h"

/* ---- close ----------------------------------------------------------------------------------- */

static void close_at_once(kp_close_mode mode)
{
    kp_lease lease[3];

    hit_some_of(5, 3, lease);
    assert_int_equal(kp_pool_close(hit.pool, mode, KP_NONE), 3);
    assert_int_equal(hit.gone, 2);
    hit_refused(hit.pool, K, NULL, KP_ECLOSED);
    hit_try_refused(KP_ECLOSED);
    for (int i = 0; i < 3; i++) {
        struct item *item = lease[i].resource;
        assert_int_equal(item->destroyed, 0);
        hit_give(&lease[i]);
        assert_int_equal(item->destroyed, 1);
    }
    assert_int_equal(hit.gone, 5);
    assert_int_equal(kp_pool_close(hit.pool, KP_CLOSE_WAIT, 0), 0);
    assert_int_equal(hit.misuses, 0);
}

static void close_now_must_find_what_no_lock_saw(void)
{
    close_at_once(KP_CLOSE_NOW);
}

static void close_that_waits_no_longer_must_find_what_no_lock_saw(void)
{
    close_at_once(KP_CLOSE_WAIT);
}

static void close_that_drains_must_find_what_no_lock_saw(void)
{
    close_at_once(KP_CLOSE_DRAIN);
}

static void *give_all(void *arg)
{
    kp_lease *lease = arg;
    kp_stats s;

    while (kp_stats_read(hit.pool, K, &s) == 0) /* until the close has begun */
        if (kp_try_get(hit.pool, K, &lease[3]) == 0) kp_release(&lease[3]);
        else break;
    for (int i = 0; i < 3; i++) kp_release(&lease[i]);
    return NULL;
}

static void close_on_while_another_gives_back(kp_close_mode mode)
{
    kp_lease lease[4];
    pthread_t thread;

    hit_some_of(4, 3, lease);
    assert_int_equal(pthread_create(&thread, NULL, give_all, lease), 0);
    assert_int_equal(kp_pool_close(hit.pool, mode, KP_SECONDS(30)), 0);
    pthread_join(thread, NULL);
    assert_int_equal(hit.gone, 4);
    assert_int_equal(hit.misuses, 0);
}

static void close_must_wait_for_what_no_lock_saw(void)
{
    close_on_while_another_gives_back(KP_CLOSE_WAIT);
}

static void close_must_drain_and_wait_for_what_no_lock_saw(void)
{
    close_on_while_another_gives_back(KP_CLOSE_DRAIN);
}

static void who_comes_to_shut_lanes_of_a_pool_that_is_gone_must_do_nothing(void)
{
    hit_stand(1, (kp_options){ 0 });
    kp__terms_end(hit.pool); /* nothing is due */
    assert_true(hit_is_open());
    hit_close(hit.pool);
    kp__terms_end(hit.pool);
    hit.pool = NULL;
}

/* ---- nothing stays behind -------------------------------------------------------------------- */

/* Its lane, cells and lists are used for the next key; nothing of the old key is found there. */
static void a_key_that_is_forgotten_must_leave_nothing_behind(void)
{
    hit_open((kp_options){ .forget_key_after_ms = KP_NONE });
    for (uint32_t i = 0; i < 100; i++) {
        kp_key key = kp_bytes(&i, sizeof i);
        int n = 1 + (int)(i % 5) * 8;
        kp_limits limits = { .max_live = n };
        kp_lease lease = hit_take(key);
        assert_int_equal(kp_limits_set(hit.pool, key, &limits, NULL), 0);
        hit_give(&lease);
        hit_stock(key, n);
        kp_key pin = hit_pin(key), stale = pin;
        assert_int_equal(kp_invalidate_key(hit.pool, key), n);
        kp_unpin(hit.pool, &pin);
        while (hit_stats(KP_EVERY_KEY).keys > 0) (void)kp_keep(hit.pool);
        hit_refused(hit.pool, stale, NULL, KP_EMISUSE);
        if (hit.made > ITEMS - 64) break;
    }
    kp_stats s = hit_stats(KP_EVERY_KEY);
    assert_int_equal(s.gets, hit.gets);
    assert_int_equal(s.keys_forgotten, s.keys_made);
    assert_int_equal(s.live, 0);
}

static uint32_t lines(void)
{
    return atomic_load(&kp__cells.made) + atomic_load(&kp__lanes.made) +
           atomic_load(&kp__lists.made) + atomic_load(&kp__tops.made);
}

/* Resources, keys and pools come and go: their lines are used for the next ones. */
static void lines_must_be_used_again(void)
{
    uint32_t before = 0;

    for (int i = 0; i < 10; i++) {
        hit.gets = 0;
        hit_open((kp_options){ .limits.max_live = 20, .forget_key_after_ms = KP_NONE });
        for (uint32_t j = 0; j < 3; j++) {
            hit_stock(kp_bytes(&j, sizeof j), 20);
            (void)kp_invalidate_key(hit.pool, KP_EVERY_KEY);
            while (hit_stats(KP_EVERY_KEY).keys > 0) (void)kp_keep(hit.pool);
        }
        assert_int_equal(kp_pool_close(hit.pool, KP_CLOSE_WAIT, 0), 0);
        if (i == 0) before = lines();
    }
    assert_int_equal(lines(), before);
    hit.pool = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HIT_TEST(close_now_must_find_what_no_lock_saw),
        HIT_TEST(close_that_waits_no_longer_must_find_what_no_lock_saw),
        HIT_TEST(close_that_drains_must_find_what_no_lock_saw),
        HIT_TEST(close_must_wait_for_what_no_lock_saw),
        HIT_TEST(close_must_drain_and_wait_for_what_no_lock_saw),
        HIT_TEST(who_comes_to_shut_lanes_of_a_pool_that_is_gone_must_do_nothing),
        HIT_TEST(a_key_that_is_forgotten_must_leave_nothing_behind),
        HIT_TEST(lines_must_be_used_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
