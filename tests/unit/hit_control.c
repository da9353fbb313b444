/* SPDX-License-Identifier: MIT
 *
 * Control while in use (kp_budget_set, kp_evict, kp_drop) where hits take no lock: a change holds
 * for the very next get, lanes open again with the new numbers, and leases that began on a lane
 * count like any other.
 */
#include "hit_stage.h"

static void set(kp_budget budget)
{
    assert_int_equal(kp_budget_set(hit.pool, &budget, NULL), 0);
    assert_false(hit_is_open());
}

static void a_pause_of_the_pool_must_hold_for_the_very_next_get(void)
{
    kp_key pin;

    hit_stand(3, (kp_options){ 0 });
    pin = hit_pin(K);
    set((kp_budget){ .max_lent = KP_NONE });
    hit_try_refused(KP_EAGAIN);
    hit_refused(hit.pool, pin, KP_ASK(.flags = KP_DONT_WAIT), KP_EAGAIN);
    for (int i = 0; i < 100; i++) hit_refused(hit.pool, K, KP_ASK(.within_ms = KP_NONE), KP_EAGAIN);
    set((kp_budget){ .max_lent = KP_UNLIMITED });
    hit_warm(K);
    hit_warm(pin);
    assert_int_equal(hit_stats(K).idle, 3);
    kp_unpin(hit.pool, &pin);
}

static void a_budget_that_comes_must_be_kept_by_lanes(void)
{
    kp_lease lease[3];

    hit_stand(3, (kp_options){ 0 });
    HIT_SHORT(lease[0] = hit_take(K));
    set((kp_budget){ .max_lent = 2, .max_idle = 2 });
    assert_int_equal(hit_stats(K).live, 3);
    lease[1] = hit_take(K);
    hit_try_refused(KP_EAGAIN);
    hit_give(&lease[0]);
    hit_give(&lease[1]);
    assert_int_equal(hit_stats(K).idle, 2);
    for (int i = 0; i < 300; i++) {
        lease[0] = hit_take(K);
        lease[1] = hit_take(K);
        hit_try_refused(KP_EAGAIN);
        hit_give(&lease[i % 2]);
        hit_give(&lease[1 - i % 2]);
    }
    set((kp_budget){ .max_lent = KP_UNLIMITED, .max_idle = KP_UNLIMITED });
    hit_stock(K, 4);
    for (int i = 0; i < 3; i++) HIT_SHORT(lease[i] = hit_take(K));
    for (int i = 0; i < 3; i++) HIT_SHORT(hit_give(&lease[i]));
}

static void what_is_lent_on_a_lane_and_too_much_must_go_when_it_comes_back(void)
{
    kp_lease lease[4];

    hit_stand(4, (kp_options){ 0 });
    for (int i = 0; i < 4; i++) HIT_SHORT(lease[i] = hit_take(K));
    set((kp_budget){ .max_live = 1 });
    for (int i = 0; i < 4; i++) hit_give(&lease[i]);
    assert_int_equal(hit_stats(K).live, 1);
    assert_int_equal(hit.gone, 3);
}

static void idle_ones_on_a_lane_must_be_evicted(void)
{
    kp_lease lease;

    hit_stand(4, (kp_options){ 0 });
    HIT_SHORT(lease = hit_take(K));
    assert_int_equal(kp_evict(hit.pool, K, 1), 2);
    assert_int_equal(hit_stats(K).lent, 1);
    hit_give(&lease);
    assert_int_equal(hit_stats(K).idle, 2);
    assert_int_equal(kp_evict(hit.pool, KP_EVERY_KEY, KP_NONE), 2);
}

static void a_key_with_an_open_lane_must_be_dropped(void)
{
    kp_lease lease;

    hit_stand(3, (kp_options){ 0 });
    HIT_SHORT(lease = hit_take(K));
    assert_int_equal(kp_drop(hit.pool, K, KP_NONE), 1);
    assert_int_equal(hit.gone, 2);
    hit_give(&lease);
    for (int i = 0; i < 2000 && hit_stats(KP_EVERY_KEY).keys; i++) (void)kp_keep(hit.pool);
    assert_int_equal(hit_stats(KP_EVERY_KEY).keys, 0);
    hit_stock(K, 2); /* made anew, with a lane of its own */
    assert_int_equal(hit_stats(K).idle, 2);
    assert_int_equal(hit.gone, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HIT_TEST(a_pause_of_the_pool_must_hold_for_the_very_next_get),
        HIT_TEST(a_budget_that_comes_must_be_kept_by_lanes),
        HIT_TEST(what_is_lent_on_a_lane_and_too_much_must_go_when_it_comes_back),
        HIT_TEST(idle_ones_on_a_lane_must_be_evicted),
        HIT_TEST(a_key_with_an_open_lane_must_be_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
