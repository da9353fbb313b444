/* SPDX-License-Identifier: MIT
 *
 * limits.max_uses: a resource has so many leases and no more, shared or not, also if the limit is
 * set when it has had them already; then it goes, and the next one is made.
 */
#include "contract.h"

#define A kp_str("a")

static void begin(contract *c, int64_t max_uses)
{
    contract_begin(c, NULL);
    c->options.limits.max_live = 1;
    c->options.limits.max_uses = max_uses;
    c->options.limits.max_age_ms = KP_OFF;
}

static uint64_t use(contract *c)
{
    kp_lease lease;
    uint64_t number = contract_take(c, A, &lease);

    contract_give(c, &lease);
    return number;
}

static void after_so_many_leases_a_new_one_must_be_made(void **state)
{
    contract c;
    (void)state;
    begin(&c, 3);
    contract_open(&c);
    for (uint64_t i = 0; i < 9; i++) assert_int_equal(use(&c), 1 + i / 3);
    kp_stats stats = contract_stats(&c, A);
    assert_int_equal(stats.expired, 3);
    assert_int_equal(stats.live, 0);
    contract_end(&c);
}

static void the_next_in_the_queue_must_get_a_new_one(void **state)
{
    contract c;
    kp_lease lease;
    getter waiting;
    (void)state;
    begin(&c, 1);
    contract_open(&c);
    (void)contract_take(&c, A, &lease);
    contract_start_as(&c, &waiting, 1, (getter){ .key = A, .hold_ms = 1 });
    (void)kp_sim_settle(c.sim);
    contract_give(&c, &lease);
    kp_sim_join(c.sim, 0);
    assert_int_equal(waiting.rc, 0);
    assert_int_equal(waiting.number, 2);
    contract_end(&c);
}

static void leases_that_share_it_must_count_one_by_one(void **state)
{
    contract c;
    kp_lease lease[3], other;
    (void)state;
    begin(&c, 4);
    c.options.limits.max_live = 2;
    c.options.limits.sharing = 3;
    contract_open(&c);
    contract_take_all(&c, A, lease, 3);
    assert_int_equal(contract_prop(&lease[2])->number, 1);
    contract_give(&c, &lease[0]);
    assert_int_equal(contract_take(&c, A, &lease[0]), 1); /* its fourth */
    contract_give(&c, &lease[1]);
    assert_int_equal(contract_take(&c, A, &other), 2); /* there is a seat, but not for another */
    contract_give(&c, &lease[0]);
    contract_give(&c, &lease[2]);
    assert_int_equal(contract_stats(&c, A).expired, 1);
    contract_give(&c, &other);
    contract_end(&c);
}

static void a_check_before_the_last_use_must_not_count(void **state)
{
    contract c;
    (void)state;
    begin(&c, 2);
    c.options.limits.validate_after_ms = KP_NONE;
    static const kp_line good[] = { { .times = KP_OFF }, { 0 } };
    c.script.validate = good;
    contract_open(&c);
    assert_int_equal(use(&c), 1);
    assert_int_equal(use(&c), 1);
    assert_int_equal(use(&c), 2);
    contract_end(&c);
}

static void what_is_used_up_must_not_be_reset_before_it_goes(void **state)
{
    static const kp_line good[] = { { .times = KP_OFF }, { 0 } };
    contract c;
    (void)state;
    begin(&c, 3);
    c.script.reset = good;
    contract_open(&c);
    for (int i = 0; i < 3; i++) assert_int_equal(use(&c), 1);
    assert_int_equal(kp_cast_read(c.cast).resets, 2);
    assert_int_equal(kp_cast_read(c.cast).destroys, 1);
    contract_end(&c);
}

static void what_is_used_up_when_the_limit_comes_must_not_be_lent_again(void **state)
{
    const kp_limits two = { .max_uses = 2 }, many = { .max_uses = KP_UNLIMITED };
    contract c;
    (void)state;
    begin(&c, 0);
    contract_open(&c);
    for (int i = 0; i < 5; i++) assert_int_equal(use(&c), 1);
    assert_int_equal(kp_limits_set(c.pool, A, &two, NULL), 0);
    assert_int_equal(use(&c), 2);
    assert_int_equal(kp_limits_set(c.pool, A, &many, NULL), 0);
    for (int i = 0; i < 5; i++) assert_int_equal(use(&c), 2);
    contract_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_so_many_leases_a_new_one_must_be_made),
        cmocka_unit_test(the_next_in_the_queue_must_get_a_new_one),
        cmocka_unit_test(leases_that_share_it_must_count_one_by_one),
        cmocka_unit_test(a_check_before_the_last_use_must_not_count),
        cmocka_unit_test(what_is_used_up_must_not_be_reset_before_it_goes),
        cmocka_unit_test(what_is_used_up_when_the_limit_comes_must_not_be_lent_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
