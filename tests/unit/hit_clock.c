/* SPDX-License-Identifier: MIT
 *
 * Times to live with open lanes, to the millisecond, on a virtual clock. There, lanes open only in
 * builds with KP_VERIFY or KP_TEST_LANES, with KP_LANES=1, and for one instant; so ages are exact.
 */
#include <stdlib.h>

#include "contract/corners.h"
#include "flow/flow.h"

static bool is_open(const contract *c)
{
    return kp__heap_top(&atomic_load(&c->pool->pool)->core.open_lanes) != NULL;
}

/* As begin, where lanes open. */
static void begin_hits(contract *c)
{
#if !(defined KP_VERIFY && KP_VERIFY) && !(defined KP_TEST_LANES && KP_TEST_LANES)
    skip();
#endif
    begin(c);
}

static kp_lease take(contract *c, const char *key)
{
    kp_lease lease;

    assert_int_equal(get_within(c, key, 10, &lease), 0);
    return lease;
}

static void use(contract *c, const char *key)
{
    kp_lease lease = take(c, key);

    kp_release(&lease);
}

/* n idle ones. */
static void stock(contract *c, const char *key, int n)
{
    kp_lease lease[2];

    contract_take_all(c, kp_str(key), lease, n);
    contract_give_all(c, lease, n);
}

/* Two idle ones of "a" that have been on a lane. */
static void two_idle(contract *c)
{
    begin_hits(c);
    c->options.limits.max_age_ms = KP_OFF;
    c->options.limits.idle_ttl_ms = 1000;
    open_short(c);
    stock(c, "a", 2);
    for (int i = 0; i < 2; i++) use(c, "a"); /* contract_check looks, which shuts */
    assert_true(is_open(c));
}

/* The keeper saw it lent when its first time was over; it must come again for the next one. */
static void what_was_lent_when_the_lane_opened_must_expire_after_it_came_back(void **state)
{
    contract c;
    kp_lease lease[2];

    (void)state;
    two_idle(&c);
    for (int i = 0; i < 2; i++) lease[i] = take(&c, "a");
    kp_sim_pass_ms(c.sim, 1500);
    kp_release(&lease[0]); /* with the lock: opens, and the other is lent on the lane */
    assert_true(is_open(&c));
    kp_release(&lease[1]);
    assert_true(is_open(&c));
    kp_sim_pass_ms(c.sim, 999);
    assert_int_equal(stats(&c, "a").idle, 2);
    kp_sim_pass_ms(c.sim, 1);
    assert_int_equal(stats(&c, "a").idle, 0);
    assert_int_equal(stats(&c, "a").expired, 2);
    contract_end(&c);
}

static void what_is_used_on_the_lane_must_expire_as_long_after_its_last_use(void **state)
{
    contract c;

    (void)state;
    two_idle(&c);
    for (int i = 0; i < 10; i++) { /* one is used, the other is not */
        kp_sim_pass_ms(c.sim, 90);
        for (int j = 0; j < 3; j++) use(&c, "a");
    }
    assert_int_equal(stats(&c, "a").idle, 2);
    kp_sim_pass_ms(c.sim, 100);
    assert_int_equal(stats(&c, "a").idle, 1);
    kp_sim_pass_ms(c.sim, 899);
    assert_int_equal(stats(&c, "a").idle, 1);
    kp_sim_pass_ms(c.sim, 1);
    assert_int_equal(stats(&c, "a").idle, 0);
    contract_end(&c);
}

static void nothing_must_be_lent_past_its_age_however_much_it_is_used(void **state)
{
    contract c;
    kp_lease_about about;

    (void)state;
    begin_hits(&c);
    c.options.limits.idle_ttl_ms = KP_OFF;
    c.options.limits.max_age_ms = 1000;
    c.options.limits.age_spread_pct = KP_NONE;
    open_short(&c);
    for (int i = 0; i < 300; i++) {
        for (int j = 0; j < 4; j++) {
            kp_lease lease = take(&c, "a");
            if (j == 3) assert_true(kp_lease_read(&lease, &about) && about.age_ms < 1000);
            kp_release(&lease);
        }
        kp_sim_pass_ms(c.sim, 10);
    }
    assert_int_equal(stats(&c, "a").creates, 3);
    assert_int_equal(stats(&c, "a").gets, 1200);
    contract_end(&c);
}

static void what_was_idle_for_long_must_be_validated_and_what_was_not_must_not(void **state)
{
    static const kp_line good[] = { { 0 } };
    contract c;

    (void)state;
    begin_hits(&c);
    c.options.limits.validate_after_ms = 100;
    c.script.validate = good;
    open_short(&c);
    for (int i = 0; i < 20; i++) { /* every second time it was idle for 100 ms */
        for (int j = 0; j < 4; j++) use(&c, "a");
        kp_sim_pass_ms(c.sim, i % 2 ? 99 : 100);
    }
    assert_int_equal(kp_cast_read(c.cast).validates, 10);
    contract_end(&c);
}

static void a_key_must_be_forgotten_as_long_after_its_last_use_as_was_said(void **state)
{
    contract c;

    (void)state;
    begin_hits(&c);
    c.options.limits.idle_ttl_ms = 100;
    c.options.forget_key_after_ms = 500;
    open_short(&c);
    for (int i = 0; i < 20; i++) {
        use(&c, "a");
        kp_sim_pass_ms(c.sim, 50);
    }
    kp_sim_pass_ms(c.sim, 449); /* it expired after 100, which is no use of the key */
    assert_int_equal(stats(&c, NULL).keys, 1);
    kp_sim_pass_ms(c.sim, 1);
    assert_int_equal(stats(&c, NULL).keys, 0);
    contract_end(&c);
}

static void a_lease_that_no_lock_saw_must_be_reported_when_it_is_late(void **state)
{
    contract c;
    kp_lease lease[2];

    (void)state;
    begin_hits(&c);
    c.options.leak_after_ms = 1000;
    c.options.limits.idle_ttl_ms = KP_OFF;
    open_short(&c);
    stock(&c, "a", 2);
    for (int i = 0; i < 2; i++) lease[i] = take(&c, "a");
    kp_sim_pass_ms(c.sim, 999);
    assert_int_equal(c.events[KP_EVENT_LEAK], 0);
    kp_release(&lease[1]); /* opens the lane around the other one */
    kp_sim_pass_ms(c.sim, 1);
    assert_int_equal(c.events[KP_EVENT_LEAK], 1);
    kp_sim_pass_ms(c.sim, 5000);
    assert_int_equal(c.events[KP_EVENT_LEAK], 1);
    kp_release(&lease[0]);
    assert_int_equal(stats(&c, "a").leaks, 1);
    contract_end(&c);
}

/* The second of them has not been lent with the lock for so long that nothing is filed for it. */
static void each_of_two_leases_that_no_lock_saw_must_be_reported(void **state)
{
    contract c;
    kp_lease lease[2];

    (void)state;
    begin_hits(&c);
    c.options.leak_after_ms = 1000;
    c.options.limits.idle_ttl_ms = KP_OFF;
    c.options.limits.max_age_ms = KP_OFF;
    open_short(&c);
    stock(&c, "a", 2);
    use(&c, "a");
    assert_true(is_open(&c));
    kp_sim_pass_ms(c.sim, 3000);
    use(&c, "a");
    assert_true(is_open(&c));
    for (int i = 0; i < 2; i++) lease[i] = take(&c, "a");
    assert_true(is_open(&c));
    kp_sim_pass_ms(c.sim, 1001);
    assert_int_equal(c.events[KP_EVENT_LEAK], 2);
    for (int i = 0; i < 2; i++) kp_release(&lease[i]);
    contract_end(&c);
}

static void drain(void *arg)
{
    contract *c = arg;

    assert_int_equal(kp_pool_close(c->pool, KP_CLOSE_DRAIN, KP_SECONDS(10)), 0);
}

static void what_comes_back_while_a_pool_drains_must_not_be_lent_again(void **state)
{
    contract c;
    kp_lease a, b, none;

    (void)state;
    begin_hits(&c);
    c.options.limits.max_live = 1;
    open_short(&c);
    stock(&c, "b", 1);
    contract_take(&c, kp_str("a"), &a);
    contract_take(&c, kp_str("b"), &b);
    struct visit waits = { .key = "a", .within_ms = 5000 };
    send(&c, &waits);
    contract_rest(&c);
    int closer = kp_sim_spawn(c.sim, drain, &c);
    (void)kp_sim_settle(c.sim);
    kp_release(&b);
    assert_int_equal(get_within(&c, "b", 10, &none), KP_ECLOSED);
    kp_release(&a);
    kp_sim_join(c.sim, closer);
    assert_int_equal(waits.rc, 0);
    contract_end(&c);
}

/* An idle one elsewhere makes room, the one that was used least recently: hits count as uses, from
 * when the lane was looked at. */
static void an_open_lane_elsewhere_must_give_up_an_idle_one_and_keep_a_lent_one(void **state)
{
    contract c;
    kp_lease lease, lent, more;

    (void)state;
    begin_hits(&c);
    c.options.budget.max_live = 3;
    open_short(&c);
    contract_take(&c, kp_str("a"), &lease);
    contract_take(&c, kp_str("b"), &lent);
    contract_take(&c, kp_str("b"), &more);
    kp_release(&lease);
    kp_release(&more);
    kp_release(&lent);
    for (int i = 0; i < 2; i++) { /* now all lanes are open */
        use(&c, "a");
        use(&c, "b");
    }
    lease = take(&c, "a"); /* by a hit: a has no idle one any more */
    lent = take(&c, "b");
    assert_true(is_open(&c));
    contract_take(&c, kp_str("c"), &more); /* there is one idle one, in b */
    assert_int_equal(stats(&c, "b").live, 1);
    assert_int_equal(stats(&c, "b").lent, 1);
    assert_int_equal(stats(&c, "a").lent, 1);
    assert_int_equal(stats(&c, NULL).evicted, 1);
    struct visit late = { .key = "d", .within_ms = 1000 };
    send(&c, &late);
    contract_rest(&c);
    assert_int_equal(stats(&c, "d").waiting, 1);
    kp_release(&lease); /* of another key, whose lane may not open now: it makes room at once */
    contract_rest(&c);
    kp_sim_join(c.sim, late.task);
    assert_int_equal(late.rc, 0);
    assert_int_equal(late.answered_ms, kp_sim_now_ms(c.sim));
    kp_release(&lent);
    kp_release(&more);
    contract_end(&c);
}

static int all_lanes(void **state)
{
    (void)state;
    return setenv("KP_LANES", "1", 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_lent_when_the_lane_opened_must_expire_after_it_came_back),
        cmocka_unit_test(what_is_used_on_the_lane_must_expire_as_long_after_its_last_use),
        cmocka_unit_test(nothing_must_be_lent_past_its_age_however_much_it_is_used),
        cmocka_unit_test(what_was_idle_for_long_must_be_validated_and_what_was_not_must_not),
        cmocka_unit_test(a_key_must_be_forgotten_as_long_after_its_last_use_as_was_said),
        cmocka_unit_test(a_lease_that_no_lock_saw_must_be_reported_when_it_is_late),
        cmocka_unit_test(each_of_two_leases_that_no_lock_saw_must_be_reported),
        cmocka_unit_test(what_comes_back_while_a_pool_drains_must_not_be_lent_again),
        cmocka_unit_test(an_open_lane_elsewhere_must_give_up_an_idle_one_and_keep_a_lent_one),
    };

    return cmocka_run_group_tests(tests, all_lanes, NULL);
}
