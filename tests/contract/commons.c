/* SPDX-License-Identifier: MIT
 *
 * commons-pool's GenericKeyedObjectPool by configuration alone: live resources are limited per key
 * and over all keys, idle ones of another key make room. The preset "commons", then other numbers.
 * commons_2.c has creation, invalidation and callbacks; commons_3.c has waiting, close, statistics
 * and misuse.
 */
#include "house.h"

static kp_options commons(struct house *h, const kp_script *script)
{
    return house_plan(h, 1, "commons", script);
}

/* ---- limits ---- */

/* B-CFG-26: testMinIdleMaxTotalPerKey clamps; here a contradiction is refused (D17) */
static void a_minimum_above_its_maximum_must_be_refused_by_name(void **state)
{
    struct house h;
    const kp_options good = commons(&h, NULL);
    kp_options o = good;
    (void)state;
    o.limits.min_idle = 5;
    o.limits.max_idle = 3;
    house_refuses(&h, &o, "limits.min_idle");
    o = good;
    o.limits.min_live = 5;
    o.limits.max_live = 3;
    house_refuses(&h, &o, "limits.min_live");
    house_leave(&h);
}

/* B-CFG-28, B-LIM-12: testMaxTotalZero, testMaxTotalPerKeyZero */
static void a_limit_of_none_must_be_valid_and_let_nothing_be_got(void **state)
{
    struct house h;
    int per_key;
    (void)state;
    for (per_key = 0; per_key < 2; per_key++) {
        kp_options o = commons(&h, NULL);
        if (per_key)
            o.limits.max_live = KP_NONE;
        else
            o.budget.max_live = KP_NONE;
        house_open(&h, &o);
        HOUSE_IS(&h, house_fails(&h, "a", 100), KP_ETIMEDOUT);
        assert_string_equal(h.why.limit, per_key ? "max_live" : "budget.max_live");
        HOUSE_IS(&h, kp_sim_now_ms(h.sim), 100);
        HOUSE_IS(&h, house_cast(&h).creates, 0);
        house_close(&h);
    }
}

/* B-GET-14: testMaxTotalPerKey, testWhenExhaustedFail. "Fail" is: nobody may wait. */
static void when_exhausted_a_get_that_must_not_queue_must_fail_at_once(void **state)
{
    struct house h;
    kp_lease lease[3];
    kp_options o = commons(&h, NULL);
    int i;
    (void)state;
    o.limits.max_live = 3;
    o.limits.max_waiting = KP_NONE;
    house_open(&h, &o);
    for (i = 0; i < 3; i++) lease[i] = house_get(&h, "a");
    HOUSE_IS(&h, house_fails(&h, "a", 1000), KP_EFULL);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 0);
    house_release(&h, &lease[0]);
    lease[0] = house_get(&h, "a");
    for (i = 0; i < 3; i++) house_release(&h, &lease[i]);
    house_close(&h);
}

/* B-LIM-08: testMaxTotal */
static void live_ones_must_be_limited_per_key_and_over_all_keys(void **state)
{
    struct house h;
    kp_lease a[2], b, c;
    kp_options o = commons(&h, NULL);
    (void)state;
    o.limits.max_live = 2;
    o.budget.max_live = 3;
    house_open(&h, &o);
    a[0] = house_get(&h, "a");
    a[1] = house_get(&h, "a");
    HOUSE_IS(&h, house_fails(&h, "a", 10), KP_ETIMEDOUT);
    assert_string_equal(h.why.limit, "max_live");
    b = house_get(&h, "b");
    HOUSE_IS(&h, house_fails(&h, "c", 10), KP_ETIMEDOUT);
    assert_string_equal(h.why.limit, "budget.max_live");
    house_release(&h, &b);
    c = house_get(&h, "c"); /* b's idle one makes room */
    HOUSE_IS(&h, house_stats(&h, NULL).evicted, 1);
    HOUSE_IS(&h, house_stats(&h, "b").live, 0);
    house_release(&h, &a[0]);
    house_release(&h, &a[1]);
    house_release(&h, &c);
    house_close(&h);
}

/* B-LIM-09: testMaxTotalLRU, clearOldest; X-LIM-01: exactly one goes, not 15 % */
static void room_for_another_key_must_be_made_by_the_one_idle_the_longest(void **state)
{
    struct house h;
    kp_lease a, d;
    kp_options o = commons(&h, NULL);
    (void)state;
    o.budget.max_live = 3;
    house_open(&h, &o);
    house_stock(&h, "a", 1);
    house_pass(&h, 10);
    house_stock(&h, "b", 1);
    house_pass(&h, 10);
    house_stock(&h, "c", 1);
    house_pass(&h, 10);
    house_stock(&h, "a", 1); /* used again: now b is the oldest */
    house_pass(&h, 10);
    d = house_get(&h, "d");
    HOUSE_IS(&h, h.destroyed, 1);
    HOUSE_IS(&h, h.destroyed_number[0], 2);
    HOUSE_IS(&h, house_stats(&h, NULL).evicted, 1);
    HOUSE_IS(&h, house_stats(&h, "c").idle, 1);
    a = house_get(&h, "a");
    HOUSE_IS(&h, house_number(&a), 1);
    house_release(&h, &a);
    house_release(&h, &d);
    house_close(&h);
}

/* B-LIM-11: testMaxTotalInvariant */
static void what_is_being_destroyed_must_count_until_it_is_gone(void **state)
{
    static const char *const keys[] = { "one", "two", "three" };
    static const kp_line slow[] = { { .blocks_ms = 100, .times = KP_OFF }, { 0 } };
    const kp_script script = { .destroy = slow };
    struct worker w[20] = { { .keys = keys,
                              .key_count = 3,
                              .rounds = 20,
                              .hold_ms = 10,
                              .discard_pct = 30,
                              .within_ms = KP_OFF } };
    struct house h;
    kp_options o = commons(&h, &script);
    unsigned i;
    (void)state;
    o.budget.max_live = 15;
    house_open(&h, &o);
    workers_work(&h, w, 20);
    for (i = 0; i < 20; i++) HOUSE_IS(&h, w[i].got, 20);
    HOUSE_HAS(&h, house_cast(&h).most_live <= 15);
    HOUSE_IS(&h, house_stats(&h, NULL).lent, 0);
    house_close(&h);
}

/* B-KEY-04, B-STRESS-07 */
static void a_storm_of_keys_used_once_must_neither_exceed_the_limit_nor_pile_up(void **state)
{
    struct house h;
    kp_options o = commons(&h, NULL);
    char key[16];
    int i;
    (void)state;
    o.budget.max_live = 10;
    o.forget_key_after_ms = KP_NONE;
    house_open(&h, &o);
    for (i = 0; i < 500; i++) {
        snprintf(key, sizeof key, "k%d", i);
        house_stock(&h, key, 1);
        HOUSE_HAS(&h, house_stats(&h, NULL).live <= 10);
    }
    house_pass(&h, 1);
    HOUSE_HAS(&h, house_stats(&h, NULL).keys <= 10);
    HOUSE_IS(&h, house_stats(&h, NULL).keys_made, 500);
    HOUSE_IS(&h, house_stats(&h, NULL).evicted, 490);
    HOUSE_HAS(&h, house_cast(&h).most_live <= 10);
    house_close(&h);
}

/* ---- idle ones ---- */

static void lent_in_order(kp_order order, const unsigned *numbers)
{
    struct house h;
    kp_lease lease[4];
    kp_options o = commons(&h, NULL);
    int i;
    o.limits.idle_order = (int32_t)order;
    house_open(&h, &o);
    house_stock(&h, "a", 3);
    for (i = 0; i < 4; i++) {
        lease[i] = house_get(&h, "a");
        HOUSE_IS(&h, house_number(&lease[i]), numbers[i]);
    }
    for (i = 0; i < 4; i++) house_release(&h, &lease[i]);
    house_close(&h);
}

/* B-GET-12: testLIFO */
static void idle_ones_must_be_lent_last_returned_first(void **state)
{
    static const unsigned numbers[4] = { 3, 2, 1, 4 };
    (void)state;
    lent_in_order(KP_LIFO, numbers);
}

/* B-GET-12: testFIFO */
static void idle_ones_must_be_lent_first_returned_first_if_asked(void **state)
{
    static const unsigned numbers[4] = { 1, 2, 3, 4 };
    (void)state;
    lent_in_order(KP_FIFO, numbers);
}

/* B-REL-16: testMaxIdle */
static void no_more_must_be_kept_for_a_key_than_its_cap(void **state)
{
    struct house h;
    kp_lease lease[2][60];
    kp_options o = commons(&h, NULL);
    unsigned i;
    (void)state;
    o.limits.max_live = 100;
    o.limits.max_idle = 8;
    house_open(&h, &o);
    for (i = 0; i < 60; i++) lease[0][i] = house_get(&h, "a");
    for (i = 0; i < 60; i++) lease[1][i] = house_get(&h, "b");
    for (i = 0; i < 60; i++) {
        house_release(&h, &lease[0][i]);
        HOUSE_IS(&h, house_stats(&h, "a").idle, i < 8 ? i + 1 : 8);
        house_release(&h, &lease[1][i]);
        HOUSE_IS(&h, house_stats(&h, "b").idle, i < 8 ? i + 1 : 8);
    }
    HOUSE_IS(&h, house_stats(&h, NULL).live, 16);
    house_close(&h);
}

/* B-REL-17: testMaxIdleZeroUnderLoad */
static void with_nothing_kept_requests_that_wait_must_still_be_served(void **state)
{
    static const char *const keys[] = { "a" };
    struct worker w[50] = {
        { .keys = keys, .key_count = 1, .rounds = 3, .hold_ms = 5, .within_ms = KP_OFF }
    };
    struct house h;
    kp_options o = commons(&h, NULL);
    unsigned i;
    (void)state;
    o.limits.max_live = 10;
    o.limits.max_idle = KP_NONE;
    house_open(&h, &o);
    workers_work(&h, w, 50);
    for (i = 0; i < 50; i++) HOUSE_IS(&h, w[i].got, 3);
    HOUSE_IS(&h, house_stats(&h, NULL).live, 0);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 75); /* 150 visits of 5 ms, ten at a time */
    house_close(&h);
}

/* B-CFG-29: testMinIdleNoPreparePool */
static void the_minimum_of_idle_ones_must_be_made_after_the_first_get_of_a_key(void **state)
{
    struct house h;
    kp_lease lease;
    kp_options o = commons(&h, NULL);
    (void)state;
    o.limits.max_live = 10;
    o.limits.max_idle = 10;
    o.limits.min_idle = 5;
    house_open(&h, &o);
    house_pass(&h, 1000);
    HOUSE_IS(&h, house_cast(&h).creates, 0);
    lease = house_get(&h, "a");
    house_pass(&h, 150);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 5);
    HOUSE_IS(&h, house_stats(&h, "a").lent, 1);
    house_release(&h, &lease);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 6); /* B-CFG-31: a floor, not a cap */
    house_close(&h);
}

/* B-CFG-30: testMinIdleMaxTotalPerKey */
static void idle_ones_kept_ready_must_not_exceed_the_limit_of_the_key(void **state)
{
    struct house h;
    kp_lease lease[10];
    kp_options o = commons(&h, NULL);
    unsigned i;
    (void)state;
    o.limits.max_live = 10;
    o.limits.max_idle = 10;
    o.limits.min_idle = 5;
    house_open(&h, &o);
    for (i = 0; i < 10; i++) {
        lease[i] = house_get(&h, "a");
        house_pass(&h, 150);
        HOUSE_IS(&h, house_stats(&h, "a").idle, i < 5 ? 5 : 9 - i);
    }
    HOUSE_HAS(&h, house_cast(&h).most_live <= 10);
    for (i = 0; i < 10; i++) house_release(&h, &lease[i]);
    house_close(&h);
}

/* B-CFG-30: preparePool */
static void a_key_that_was_prepared_must_have_its_minimum_when_the_call_returns(void **state)
{
    struct house h;
    kp_lease lease;
    kp_ask ask = { 0 };
    kp_options o = commons(&h, NULL);
    const kp_key keys[2] = { kp_str("a"), kp_str("b") };
    (void)state;
    o.limits.max_live = 10;
    o.limits.min_live = 5;
    house_open(&h, &o);
    HOUSE_IS(&h, kp_warm(h.pool, keys, 2, &ask), 2);
    house_check(&h);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 5);
    HOUSE_IS(&h, house_stats(&h, "b").idle, 5);
    lease = house_get(&h, "a");
    HOUSE_HAS(&h, house_reused(&lease));
    HOUSE_IS(&h, house_cast(&h).creates, 10);
    house_release(&h, &lease);
    house_close(&h);
}

/* B-TTL-18: testEvictionSoftMinIdle */
static void the_soft_idle_time_must_leave_the_minimum_and_the_hard_one_nothing(void **state)
{
    struct house h;
    kp_options o = commons(&h, NULL);
    (void)state;
    o.limits.max_live = 5;
    o.limits.max_idle = 5;
    o.limits.excess_over = 2;
    o.limits.excess_ttl_ms = 1000;
    o.limits.idle_ttl_ms = 3000;
    o.limits.idle_check = o.limits.excess_check = KP_CHECK_KEEPER;
    o.keep_every_ms = 100;
    house_open(&h, &o);
    house_stock(&h, "a", 5);
    house_pass(&h, 950);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 5);
    house_pass(&h, 250);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 2);
    house_pass(&h, 1750);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 2);
    house_pass(&h, 250);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 0);
    HOUSE_IS(&h, house_stats(&h, "a").expired, 5);
    house_close(&h);
}

/* B-TTL-19: testEvictionOrder. Ours visits only what is due (L8), oldest first over all keys. */
static void the_evictor_must_go_by_age_over_all_keys(void **state)
{
    static const char *const key[6] = { "b", "a", "c", "a", "b", "c" };
    struct house h;
    kp_lease lease[6];
    kp_options o = commons(&h, NULL);
    unsigned i;
    (void)state;
    o.limits.idle_ttl_ms = 1000;
    o.limits.idle_check = KP_CHECK_KEEPER;
    o.keep_every_ms = 5000;
    house_open(&h, &o);
    for (i = 0; i < 6; i++) lease[i] = house_get(&h, key[i]);
    for (i = 0; i < 6; i++) {
        house_release(&h, &lease[5 - i]);
        house_pass(&h, 10);
    }
    house_pass(&h, 6000);
    HOUSE_IS(&h, h.destroyed, 6);
    for (i = 0; i < 6; i++) HOUSE_IS(&h, h.destroyed_number[i], 6 - i);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_minimum_above_its_maximum_must_be_refused_by_name),
        cmocka_unit_test(a_limit_of_none_must_be_valid_and_let_nothing_be_got),
        cmocka_unit_test(when_exhausted_a_get_that_must_not_queue_must_fail_at_once),
        cmocka_unit_test(live_ones_must_be_limited_per_key_and_over_all_keys),
        cmocka_unit_test(room_for_another_key_must_be_made_by_the_one_idle_the_longest),
        cmocka_unit_test(what_is_being_destroyed_must_count_until_it_is_gone),
        cmocka_unit_test(a_storm_of_keys_used_once_must_neither_exceed_the_limit_nor_pile_up),
        cmocka_unit_test(idle_ones_must_be_lent_last_returned_first),
        cmocka_unit_test(idle_ones_must_be_lent_first_returned_first_if_asked),
        cmocka_unit_test(no_more_must_be_kept_for_a_key_than_its_cap),
        cmocka_unit_test(with_nothing_kept_requests_that_wait_must_still_be_served),
        cmocka_unit_test(the_minimum_of_idle_ones_must_be_made_after_the_first_get_of_a_key),
        cmocka_unit_test(idle_ones_kept_ready_must_not_exceed_the_limit_of_the_key),
        cmocka_unit_test(a_key_that_was_prepared_must_have_its_minimum_when_the_call_returns),
        cmocka_unit_test(the_soft_idle_time_must_leave_the_minimum_and_the_hard_one_nothing),
        cmocka_unit_test(the_evictor_must_go_by_age_over_all_keys),
    };
    return cmocka_run_group_tests_name("commons-pool", tests, NULL, NULL);
}
