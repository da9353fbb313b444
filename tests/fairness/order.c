/* SPDX-License-Identifier: MIT
 *
 * The order across keys: the request that came first, or last, where the options say so; and a
 * request that is held back by its own key's limits does not hold back requests of other keys.
 */
#include "contract/corners.h"

enum { KEYS = 4 };

/* The two leases of a budget are out; six requests wait, two for each of three keys. One at a time
 * is given back: in which order are the requests served? */
static void six_are_served(int across, int wait_order, const int expected[6])
{
    static const char *const keys[6] = { "a", "b", "c", "b", "a", "c" };
    struct visit v[6];
    kp_lease lease[2];
    int order[6], served = 0;
    contract c;

    begin(&c);
    c.options.budget.max_lent = 2;
    c.options.budget.across = across;
    c.options.limits.wait_order = wait_order;
    contract_open(&c);
    for (int i = 0; i < 2; i++) contract_take(&c, kp_str("x"), &lease[i]);
    for (int i = 0; i < 6; i++) {
        v[i] = (struct visit){ .key = keys[i], .within_ms = 5000, .keep = true };
        send(&c, &v[i]);
        kp_sim_settle(c.sim);
    }
    kp_lease *next = &lease[0];
    while (served < 6) {
        contract_give(&c, next);
        kp_sim_settle(c.sim);
        int before = served;
        for (int i = 0; i < 6; i++) {
            bool known = false;
            for (int j = 0; j < before; j++) known = known || order[j] == i;
            if (v[i].rc == 0 && !known) order[served++] = i;
        }
        assert_int_equal(served, before + 1); /* one request for each one given back */
        next = &v[order[served - 1]].lease;
    }
    for (int i = 0; i < 6; i++) assert_int_equal(order[i], expected[i]);
    kp_release(next);
    contract_give(&c, &lease[1]);
    kp_sim_join(c.sim, 0);
    contract_end(&c);
}

static void by_arrival_all_keys_must_stand_in_one_queue(void **state)
{
    static const int in_turn[] = { 0, 1, 2, 3, 4, 5 };
    (void)state;
    six_are_served(KP_ACROSS_ARRIVAL, KP_FIFO, in_turn);
}

static void by_arrival_last_come_must_be_first_served_over_all_keys(void **state)
{
    static const int backwards[] = { 5, 4, 3, 2, 1, 0 };
    (void)state;
    six_are_served(KP_ACROSS_ARRIVAL, KP_LIFO, backwards);
}

/* Equal shares: no key holds anything, so arrival decides between keys and within them. */
static void by_share_equal_keys_must_be_served_as_they_came(void **state)
{
    static const int in_turn[] = { 0, 1, 2, 3, 4, 5 };
    (void)state;
    six_are_served(KP_ACROSS_SHARE, KP_FIFO, in_turn);
}

/* What is given back goes to the first waiting request of the key, and a get that follows at once
 * waits behind the others. */
static void handing_on_must_not_be_overtaken_by_who_gave_back(void **state)
{
    struct visit first = { .key = "a", .within_ms = 1000, .keep = true };
    struct visit other = { .key = "b", .within_ms = 1000, .keep = true };
    kp_lease lease, again;
    contract c;

    (void)state;
    begin(&c);
    c.options.budget.max_live = 1;
    contract_open(&c);
    contract_take(&c, kp_str("a"), &lease);
    send(&c, &first);
    kp_sim_settle(c.sim);
    send(&c, &other);
    kp_sim_settle(c.sim);
    kp_release(&lease);
    assert_int_equal(get_within(&c, "a", KP_NONE, &again), KP_EAGAIN);
    kp_sim_settle(c.sim);
    assert_int_equal((first.rc == 0) + (other.rc == 0), 1);
    struct visit *served = first.rc == 0 ? &first : &other;
    struct visit *waits = served == &first ? &other : &first;
    kp_release(&served->lease);
    kp_sim_join(c.sim, 0);
    assert_int_equal(waits->rc, 0);
    kp_release(&waits->lease);
    contract_end(&c);
}

/* Key a has all that its limits allow, and its requests came first. */
static void a_key_at_its_own_limit_holds_back_nobody(int across, bool lent)
{
    struct visit a[3], b = { .key = "b", .within_ms = 1000, .keep = true };
    kp_lease of_a, of_c;
    contract c;

    begin(&c);
    if (lent) c.options.limits.max_lent = 1;
    else c.options.limits.max_live = 1;
    if (lent) c.options.budget.max_lent = 2;
    else c.options.budget.max_live = 2;
    c.options.budget.across = across;
    contract_open(&c);
    contract_take(&c, kp_str("a"), &of_a);
    contract_take(&c, kp_str("c"), &of_c);
    for (int i = 0; i < 3; i++) {
        a[i] = (struct visit){ .key = "a", .within_ms = 1000 };
        send(&c, &a[i]);
        kp_sim_settle(c.sim);
    }
    send(&c, &b);
    kp_sim_settle(c.sim);
    contract_give(&c, &of_c);
    kp_sim_settle(c.sim);
    assert_int_equal(b.rc, 0);
    for (int i = 0; i < 3; i++) assert_int_equal(a[i].rc, KP_PENDING);
    contract_give(&c, &of_a);
    kp_sim_join(c.sim, 0);
    for (int i = 0; i < 3; i++) assert_int_equal(a[i].rc, 0);
    kp_release(&b.lease);
    contract_end(&c);
}

static void a_key_at_its_own_limit_must_hold_back_nobody_behind_it(void **state)
{
    (void)state;
    for (int lent = 0; lent < 2; lent++) {
        a_key_at_its_own_limit_holds_back_nobody(KP_ACROSS_SHARE, lent);
        a_key_at_its_own_limit_holds_back_nobody(KP_ACROSS_ARRIVAL, lent);
    }
}

/* A group that is full holds back its own keys only. */
static void grouped(kp_key key, kp_limits *limits, void *ctx)
{
    (void)ctx;
    if (*(const char *)key.data == 'g') limits->group[0] = 1;
}

static void a_full_group_must_hold_back_no_key_outside_of_it(void **state)
{
    struct visit in = { .key = "g2", .within_ms = 1000 };
    struct visit out = { .key = "b", .within_ms = 1000, .keep = true };
    kp_lease g, of_c;
    contract c;

    (void)state;
    begin(&c);
    c.options.limits_for = grouped;
    c.options.budget.max_live = 2;
    c.options.budget.group_max_live[0] = 1;
    contract_open(&c);
    contract_take(&c, kp_str("g1"), &g);
    contract_take(&c, kp_str("c"), &of_c);
    send(&c, &in);
    kp_sim_settle(c.sim);
    send(&c, &out);
    kp_sim_settle(c.sim);
    contract_give(&c, &of_c);
    kp_sim_settle(c.sim);
    assert_int_equal(out.rc, 0);
    assert_int_equal(in.rc, KP_PENDING);
    contract_give(&c, &g);
    kp_sim_join(c.sim, 0);
    assert_int_equal(in.rc, 0);
    kp_release(&out.lease);
    contract_end(&c);
}

/* The key of the thread that gives back has less than its share, so that a next get would have it
 * again. If none comes, the waiting request has it, without anything else happening. */
static void what_is_offered_must_be_taken_if_the_giver_does_not_come_again(void **state)
{
    struct visit a = { .key = "a", .within_ms = 1000, .keep = true };
    kp_lease of_a[3], of_b;
    contract c;

    (void)state;
    begin(&c);
    c.options.budget.max_live = 4;
    contract_open(&c);
    contract_take_all(&c, kp_str("a"), of_a, 3);
    contract_take(&c, kp_str("b"), &of_b);
    send(&c, &a);
    kp_sim_settle(c.sim);
    contract_give(&c, &of_b);
    contract_take(&c, kp_str("b"), &of_b);
    kp_sim_settle(c.sim);
    assert_int_equal(a.rc, KP_PENDING);
    assert_int_equal(stats(&c, NULL).evicted, 0);
    contract_give(&c, &of_b);
    kp_sim_pass_ms(c.sim, 1);
    assert_int_equal(a.rc, 0);
    assert_int_equal(stats(&c, "b").evicted, 1);
    kp_release(&a.lease);
    contract_give_all(&c, of_a, 3);
    contract_end(&c);
}

/* The request that was offered it times out: the next one has it. */
static void what_is_offered_to_one_who_gives_up_must_go_to_the_next(void **state)
{
    struct visit a = { .key = "a", .within_ms = 20 };
    struct visit next = { .key = "a", .within_ms = 1000, .keep = true };
    kp_lease of_a[3], of_b;
    contract c;

    (void)state;
    begin(&c);
    c.options.budget.max_live = 4;
    contract_open(&c);
    contract_take_all(&c, kp_str("a"), of_a, 3);
    contract_take(&c, kp_str("b"), &of_b);
    send(&c, &a);
    send(&c, &next);
    kp_sim_settle(c.sim);
    assert_int_equal(kp_sim_now_ms(c.sim), 0);
    kp_sim_pass_ms(c.sim, 20); /* the deadline and the give-back at one moment */
    contract_give(&c, &of_b);
    kp_sim_pass_ms(c.sim, 1);
    assert_int_equal((a.rc == 0) + (next.rc == 0), 1);
    if (next.rc == 0) kp_release(&next.lease);
    kp_sim_join(c.sim, 0);
    if (a.rc == 0 && next.lease.resource) kp_release(&next.lease);
    contract_give_all(&c, of_a, 3);
    contract_end(&c);
}

/* One resource for two borrowers. Its second seat is kept free, so that its place becomes free for
 * key b. */
static void a_seat_kept_free_for_another_key_must_be_lent_when_that_gives_up(void **state)
{
    struct visit b = { .key = "b", .within_ms = 20 };
    struct visit a = { .key = "a", .within_ms = 1000, .keep = true };
    kp_lease lease[4];
    contract c;

    (void)state;
    begin(&c);
    c.options.limits.sharing = 2;
    c.options.limits.max_live = 2;
    c.options.budget.max_live = 2;
    contract_open(&c);
    contract_take_all(&c, kp_str("a"), lease, 4);
    send(&c, &b);
    kp_sim_settle(c.sim);
    send(&c, &a);
    kp_sim_settle(c.sim);
    contract_give(&c, &lease[0]);
    kp_sim_settle(c.sim);
    assert_int_equal(a.rc, KP_PENDING);
    kp_sim_pass_ms(c.sim, 20);
    assert_int_equal(b.rc, KP_ETIMEDOUT);
    assert_int_equal(a.rc, 0);
    kp_release(&a.lease);
    contract_give_all(&c, lease + 1, 3);
    contract_end(&c);
}

static void a_shared_resource_must_drain_for_a_key_that_has_none(void **state)
{
    struct visit b = { .key = "b", .within_ms = 1000, .keep = true };
    struct visit a[2];
    kp_lease lease[4];
    contract c;

    (void)state;
    begin(&c);
    c.options.limits.sharing = 2;
    c.options.budget.max_live = 2;
    contract_open(&c);
    contract_take_all(&c, kp_str("a"), lease, 4);
    assert_int_equal(contract_prop(&lease[1])->number, contract_prop(&lease[0])->number);
    send(&c, &b);
    kp_sim_settle(c.sim);
    for (int i = 0; i < 2; i++) {
        a[i] = (struct visit){ .key = "a", .within_ms = 1000, .keep = true };
        send(&c, &a[i]);
        kp_sim_settle(c.sim);
    }
    contract_give(&c, &lease[0]);
    kp_sim_settle(c.sim);
    assert_int_equal(b.rc, KP_PENDING);
    assert_int_equal(a[0].rc, KP_PENDING);
    contract_give(&c, &lease[2]); /* of the other resource, where things go on at once */
    kp_sim_settle(c.sim);
    assert_int_equal(a[0].rc, 0);
    contract_give(&c, &lease[1]); /* the last borrower of the one that drains */
    kp_sim_settle(c.sim);
    assert_int_equal(b.rc, 0);
    assert_int_equal(stats(&c, "a").evicted, 1);
    contract_give(&c, &lease[3]);
    kp_release(&b.lease);
    kp_release(&a[0].lease);
    kp_sim_join(c.sim, 0);
    kp_release(&a[1].lease);
    contract_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_arrival_all_keys_must_stand_in_one_queue),
        cmocka_unit_test(by_arrival_last_come_must_be_first_served_over_all_keys),
        cmocka_unit_test(by_share_equal_keys_must_be_served_as_they_came),
        cmocka_unit_test(handing_on_must_not_be_overtaken_by_who_gave_back),
        cmocka_unit_test(a_key_at_its_own_limit_must_hold_back_nobody_behind_it),
        cmocka_unit_test(a_full_group_must_hold_back_no_key_outside_of_it),
        cmocka_unit_test(what_is_offered_must_be_taken_if_the_giver_does_not_come_again),
        cmocka_unit_test(a_seat_kept_free_for_another_key_must_be_lent_when_that_gives_up),
        cmocka_unit_test(a_shared_resource_must_drain_for_a_key_that_has_none),
        cmocka_unit_test(what_is_offered_to_one_who_gives_up_must_go_to_the_next),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
