/* SPDX-License-Identifier: MIT
 *
 * The second part of the suite that Effect and ZIO share (see effect_zio.h): waiting, and creates
 * that fail.
 */
#ifndef CONTRACT_EFFECT_ZIO_WAIT_H
#define CONTRACT_EFFECT_ZIO_WAIT_H

#include "effect_zio.h"

/* ---- waiting --------------------------------------------------------------------------------- */

/* One get beyond the limit times out after exactly 100 ms, and leaves nothing behind. */
static void a_waiter_leaves_nothing_behind(contract *c)
{
    kp_lease leases[10];
    kp_lease lease;
    contract_open(c);
    contract_take_all(c, EU, leases, 10);
    assert_string_equal(contract_refused(c, EU, 100, KP_ETIMEDOUT).limit, "max_live");
    assert_int_equal(kp_sim_now_ms(c->sim), 100);
    assert_int_equal(contract_stats(c, EU).waiting, 0);
    assert_int_equal(contract_stats(c, EU).leases, 10);
    contract_give(c, &leases[0]);
    assert_int_equal(contract_take(c, EU, &lease), 1);
    contract_give(c, &lease);
    contract_give_all(c, leases + 1, 9);
    assert_int_equal(contract_stats(c, EU).leases, 0);
    assert_int_equal(kp_cast_read(c->cast).creates, 10);
    contract_end(c);
}

/* B-WAIT-06: interruption is expressed as a deadline, see above */
static void a_waiting_get_must_end_at_its_deadline_and_leave_nothing_behind(void **state)
{
    contract c;
    contract_begin(&c, peer_of(state)->fixed, 10);
    a_waiter_leaves_nothing_behind(&c);
}

/* B-WAIT-07 */
static void a_waiting_get_of_a_dynamic_pool_must_end_at_its_deadline_too(void **state)
{
    contract c;
    contract_begin(&c, peer_of(state)->range, 0, 10, "60s");
    a_waiter_leaves_nothing_behind(&c);
}

/* B-WAIT-12 */
static void five_waiters_must_be_served_in_the_order_they_came(void **state)
{
    contract c;
    kp_lease leases[2];
    getter waiters[5];
    contract_begin(&c, peer_of(state)->fixed, 2);
    contract_open(&c);
    contract_take_all(&c, EU, leases, 2);
    for (int i = 0; i < 5; i++) {
        contract_start(&c, &waiters[i], 1, EU, NULL);
    }
    assert_int_equal(contract_stats(&c, EU).waiting, 5);
    contract_give(&c, &leases[1]);
    kp_sim_join(c.sim, 0);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(waiters[i].rc, 0);
        assert_int_equal(waiters[i].turn, i + 1);
    }
    contract_give(&c, &leases[0]);
    contract_end(&c);
}

/* B-STRESS-02: "interrupted" many times, with the tasks in random order */
static void gets_that_time_out_many_times_must_never_hang_or_lose_capacity(void **state)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        contract c;
        kp_lease held;
        getter getters[8];
        contract_begin(&c, peer_of(state)->fixed, 1);
        assert_int_equal(kp_sim_close(c.sim), 0);
        assert_int_equal(kp_sim_open(seed, &c.sim), 0);
        c.options.world = kp_sim_world(c.sim);
        contract_open(&c);
        (void)contract_take(&c, EU, &held);
        kp_sim_shuffle(c.sim, true);
        for (int i = 0; i < 8; i++) {
            getter like = { .key = EU, .within_ms = 1 + i % 4 };
            contract_start_as(&c, &getters[i], 1, like);
        }
        kp_sim_pass_ms(c.sim, 2);
        kp_release(&held);
        kp_sim_join(c.sim, 0);
        contract_rest(&c);
        for (int i = 0; i < 8; i++) {
            if (getters[i].rc != (i % 4 >= 2 ? 0 : KP_ETIMEDOUT) &&
                !(i % 4 == 1 && getters[i].rc == 0)) {
                print_error("seed %llu: getter %d got %d\n", (unsigned long long)seed, i,
                            getters[i].rc);
                fail();
            }
        }
        assert_int_equal(contract_stats(&c, EU).leases, 0);
        assert_int_equal(contract_stats(&c, EU).waiting, 0);
        assert_int_equal(contract_stats(&c, EU).idle, 1);
        contract_end(&c);
    }
}

/* ---- failing creates ------------------------------------------------------------------------- */

/* B-FAIL-02 */
static void a_get_after_a_failed_get_must_try_to_create_again(void **state)
{
    contract c;
    kp_lease lease;
    contract_begin(&c, peer_of(state)->range, 0, 2, "60s");
    c.script.create = three_failures;
    contract_open(&c);
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(contract_refused(&c, EU, 0, KP_ECREATE).vendor_code, i);
        contract_rest(&c);
        assert_int_equal(contract_stats(&c, EU).live, 0);
    }
    (void)contract_take(&c, EU, &lease);
    assert_int_equal(kp_cast_read(c.cast).create_failures, 3);
    contract_give(&c, &lease);
    contract_end(&c);
}

/* B-FAIL-03: the peers' published numbers */
static void ten_failing_creates_must_make_ten_gets_fail_with_the_ten_errors_in_order(void **state)
{
    contract c;
    contract_begin(&c, peer_of(state)->fixed, 10);
    c.script.create = thirty_failures;
    contract_open(&c);
    for (int i = 1; i <= 10; i++) {
        assert_int_equal(contract_refused(&c, EU, 0, KP_ECREATE).vendor_code, i);
        contract_rest(&c);
    }
    contract_end(&c);
}

/* B-FAIL-03, D8: the same when all ten have failed in the background before anybody asks */
static void ten_background_failures_must_make_ten_gets_fail_with_them_in_order(void **state)
{
    contract c;
    kp_key key = EU;
    contract_begin(&c, peer_of(state)->fixed, 10);
    c.script.create = thirty_failures;
    contract_open(&c);
    assert_int_equal(kp_warm(c.pool, &key, 1, NULL), 0);
    contract_rest(&c);
    assert_int_equal(kp_cast_read(c.cast).create_failures, 10);
    assert_int_equal(c.events[KP_EVENT_CREATE_FAILED], 10);
    for (int i = 1; i <= 10; i++) {
        assert_int_equal(contract_refused(&c, EU, 0, KP_ECREATE).vendor_code, i);
        contract_rest(&c);
    }
    contract_end(&c);
}

/* B-FAIL-13, D8: cache_failure_ms = KP_ONCE; 3 errors, then success */
static void each_background_failure_must_be_handed_out_once_and_then_creates_succeed(void **state)
{
    contract c;
    kp_lease lease;
    kp_key key = EU;
    contract_begin(&c, peer_of(state)->fixed, 3);
    c.script.create = three_failures;
    contract_open(&c);
    assert_int_equal(kp_warm(c.pool, &key, 1, NULL), 0);
    contract_rest(&c);
    assert_int_equal(kp_cast_read(c.cast).create_failures, 3);
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(contract_refused(&c, EU, 0, KP_ECREATE).vendor_code, i);
    }
    (void)contract_take(&c, EU, &lease);
    assert_int_equal(kp_cast_read(c.cast).create_failures, 3);
    contract_give(&c, &lease);
    contract_end(&c);
}

/* B-FAIL-04 */
static void a_retry_of_a_failed_get_in_one_open_scope_must_not_exhaust_the_pool(void **state)
{
    contract c;
    kp_scope scope = { 0 };
    contract_begin(&c, peer_of(state)->range, 0, 1, "60s");
    c.script.create = always_failing;
    contract_open(&c);
    for (int i = 0; i <= 5; i++) {
        kp_lease lease;
        assert_int_equal(kp_scope_get(&scope, c.pool, EU, KP_IN_S(1), &lease), KP_ECREATE);
        contract_check(&c);
    }
    assert_int_equal(kp_cast_read(c.cast).create_failures, 6);
    assert_int_equal(kp_sim_now_ms(c.sim), 0);
    kp_scope_close(&scope);
    contract_end(&c);
}

static int noted_use(kp_lease *lease, void *arg)
{
    *(uint64_t *)arg = contract_prop(lease)->number;
    return 0;
}

/* B-FAIL-05, B-FAIL-06: kp_use with a schedule is the peers' retry and "eventually" */
static void a_get_that_is_retried_for_ever_must_end_with_the_first_create_that_succeeds(
    void **state)
{
    contract c;
    uint64_t number = 0;
    kp_plan plan = { .ask = { .within_ms = KP_SECONDS(30) },
                     .schedule = { .times = KP_UNLIMITED, .first_ms = KP_NONE } };
    contract_begin(&c, peer_of(state)->range, 0, 1, "60s");
    c.script.create = ten_failures;
    contract_open(&c);
    assert_int_equal(kp_use(c.pool, EU, &plan, noted_use, &number), 0);
    contract_check(&c);
    assert_int_not_equal(number, 0);
    assert_int_equal(kp_cast_read(c.cast).create_failures, 10);
    assert_int_equal(kp_cast_read(c.cast).creates, 1);
    assert_int_equal(contract_stats(&c, EU).leases, 0);
    contract_end(&c);
}

#define EFFECT_ZIO_WAIT_TESTS(p)                                                                   \
    BOTH(a_waiting_get_must_end_at_its_deadline_and_leave_nothing_behind, p),                      \
    BOTH(a_waiting_get_of_a_dynamic_pool_must_end_at_its_deadline_too, p),                         \
    BOTH(five_waiters_must_be_served_in_the_order_they_came, p),                                   \
    BOTH(gets_that_time_out_many_times_must_never_hang_or_lose_capacity, p),                       \
    BOTH(a_get_after_a_failed_get_must_try_to_create_again, p),                                    \
    BOTH(ten_failing_creates_must_make_ten_gets_fail_with_the_ten_errors_in_order, p),             \
    BOTH(ten_background_failures_must_make_ten_gets_fail_with_them_in_order, p),                   \
    BOTH(each_background_failure_must_be_handed_out_once_and_then_creates_succeed, p),             \
    BOTH(a_retry_of_a_failed_get_in_one_open_scope_must_not_exhaust_the_pool, p),                  \
    BOTH(a_get_that_is_retried_for_ever_must_end_with_the_first_create_that_succeeds, p)

#endif
