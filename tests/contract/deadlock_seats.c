/* SPDX-License-Identifier: MIT
 *
 * Deadlocks over resources that several may share: whose end a request waits for, if there are
 * seats that it may not have.
 */
#include "deadlock.h"

static void all_who_share_a_resource_must_count(void **state)
{
    contract c;
    kp_lease lease[3];
    (void)state;
    begin(&c, KP_DEADLOCK_REFUSE);
    c.options.limits.sharing = 3;
    contract_open(&c);
    contract_take_all(&c, A, lease, 3);
    kp_why why = contract_refused(&c, A, KP_SECONDS(5), KP_EDEADLK);
    assert_string_equal(why.text, "deadlock: you wait for a, lent to you");
    contract_give_all(&c, lease, 3);
    contract_end(&c);
}

/* Two seats are free, but the pool may have no more leases. */
static void free_seats_are_nobodys(void **state)
{
    contract c;
    kp_lease lease;
    (void)state;
    begin(&c, KP_DEADLOCK_REFUSE);
    c.options.limits.sharing = 3;
    contract_set(&c, "budget.max_lent", "1");
    contract_open(&c);
    (void)contract_take(&c, A, &lease);
    kp_why why = contract_refused(&c, B, KP_SECONDS(5), KP_EDEADLK);
    assert_string_equal(why.text, "deadlock: you wait for room for b, lent to you");
    contract_give(&c, &lease);
    contract_end(&c);
}

/* What its leases lack is room in the pool, which somebody who is awake makes. */
static void a_seat_for_which_there_is_no_lease_is_no_deadlock(void **state)
{
    contract c;
    kp_lease mine[2];
    getter awake;
    (void)state;
    begin(&c, KP_DEADLOCK_REFUSE);
    c.options.limits.sharing = 2;
    contract_set(&c, "budget.max_lent", "2");
    contract_open(&c);
    (void)contract_take(&c, A, &mine[0]);
    contract_start_as(&c, &awake, 1, (getter){ .key = B, .hold_ms = 50 });
    (void)kp_sim_settle(c.sim);
    (void)contract_take(&c, A, &mine[1]);
    assert_int_equal(kp_sim_now_ms(c.sim), 50);
    contract_give_all(&c, mine, 2);
    kp_sim_join(c.sim, 0);
    assert_int_equal(awake.rc, 0);
    contract_end(&c);
}

/* But nobody makes room for one that is to be new. */
static void a_seat_must_not_help_who_wants_a_fresh_one(void **state)
{
    contract c;
    kp_lease mine;
    kp_ask ask = { .within_ms = KP_SECONDS(5), .flags = KP_FRESH };
    (void)state;
    begin(&c, KP_DEADLOCK_REFUSE);
    c.options.limits.sharing = 2;
    contract_open(&c);
    (void)contract_take(&c, A, &mine);
    kp_lease fresh;
    assert_int_equal(kp_get(c.pool, A, &ask, &fresh), KP_EDEADLK);
    contract_give(&c, &mine);
    contract_end(&c);
}

/* Its own two are all that its key may have. One of them has a seat, which it would get if another
 * key did not wait for the room: that gets it from somebody who is awake. */
static void a_seat_that_is_kept_for_another_key_is_no_deadlock(void **state)
{
    contract c;
    kp_lease mine[4];
    getter awake, other;
    (void)state;
    begin(&c, KP_DEADLOCK_REFUSE);
    c.options.limits.sharing = c.options.limits.max_live = 2;
    c.options.budget.max_live = 3;
    contract_open(&c);
    contract_take_all(&c, A, mine, 3);
    contract_start_as(&c, &awake, 1, (getter){ .key = B, .hold_ms = 50 });
    contract_start_as(&c, &other, 1, (getter){ .key = kp_str("c"), .hold_ms = 10 });
    (void)kp_sim_settle(c.sim);
    (void)contract_take(&c, A, &mine[3]);
    assert_int_equal(kp_sim_now_ms(c.sim), 50);
    contract_give_all(&c, mine, 4);
    kp_sim_join(c.sim, 0);
    assert_int_equal(awake.rc + other.rc, 0);
    contract_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_who_share_a_resource_must_count),
        cmocka_unit_test(free_seats_are_nobodys),
        cmocka_unit_test(a_seat_for_which_there_is_no_lease_is_no_deadlock),
        cmocka_unit_test(a_seat_must_not_help_who_wants_a_fresh_one),
        cmocka_unit_test(a_seat_that_is_kept_for_another_key_is_no_deadlock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
