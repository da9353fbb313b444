/* SPDX-License-Identifier: MIT
 *
 * Which key gets what when keys compete: floors and weights (L7), groups, shedding; and the
 * counters of time.
 */
#include "corners.h"

#include <stdlib.h>

/* "heavy" weighs three times as much as any other key; "floored" has one lease that comes first. */
static void by_name(kp_key key, kp_limits *limits, void *ctx)
{
    (void)ctx;
    if (key.size == 5 && memcmp(key.data, "heavy", 5) == 0) limits->weight = 3;
    if (key.size == 7 && memcmp(key.data, "floored", 7) == 0) limits->floor = 1;
}

static void a_key_below_its_floor_must_come_before_who_came_first(void **state)
{
    contract c;
    kp_lease lease[2];

    (void)state;
    begin(&c);
    c.options.limits_for = by_name;
    c.options.budget.max_lent = 2;
    contract_open(&c);
    contract_take(&c, kp_str("a"), &lease[0]);
    contract_take(&c, kp_str("a"), &lease[1]);
    struct visit first = { .key = "a", .within_ms = 1000, .keep = true };
    struct visit second = { .key = "floored", .within_ms = 1000, .keep = true };
    send(&c, &first);
    kp_sim_settle(c.sim);
    send(&c, &second);
    kp_sim_settle(c.sim);
    contract_give(&c, &lease[0]);
    kp_sim_settle(c.sim);
    assert_int_equal(second.rc, 0);
    assert_int_equal(first.rc, KP_PENDING);
    contract_give(&c, &lease[1]);
    kp_sim_join(c.sim, 0);
    assert_int_equal(first.rc, 0);
    kp_release(&first.lease);
    kp_release(&second.lease);
    contract_end(&c);
}

/* Four leases at 3:1. The heavy key holds all; the light one gets one back, and then no second. */
static void a_budget_that_is_short_must_be_shared_by_weight(void **state)
{
    contract c;
    kp_lease lease[4];

    (void)state;
    begin(&c);
    c.options.limits_for = by_name;
    c.options.budget.max_lent = 4;
    contract_open(&c);
    for (int i = 0; i < 4; i++) contract_take(&c, kp_str("heavy"), &lease[i]);
    struct visit heavy = { .key = "heavy", .within_ms = 1000, .keep = true };
    struct visit light = { .key = "light", .within_ms = 1000, .keep = true };
    struct visit again = { .key = "light", .within_ms = 1000, .keep = true };
    struct visit *in_order[] = { &heavy, &light, &again };
    for (int i = 0; i < 3; i++) {
        send(&c, in_order[i]);
        kp_sim_settle(c.sim);
    }
    contract_give(&c, &lease[0]);
    kp_sim_settle(c.sim);
    assert_int_equal(light.rc, 0);          /* 1 of 1 before 4 of 3 */
    assert_int_equal(heavy.rc, KP_PENDING);
    contract_give(&c, &lease[1]);
    kp_sim_settle(c.sim);
    assert_int_equal(heavy.rc, 0);          /* 3 of 3 before 2 of 1 */
    assert_int_equal(again.rc, KP_PENDING);
    contract_give(&c, &lease[2]);
    contract_give(&c, &lease[3]);
    kp_sim_join(c.sim, 0);
    assert_int_equal(again.rc, 0);
    for (int i = 0; i < 3; i++) kp_release(&in_order[i]->lease);
    contract_end(&c);
}

/* Borrows for 10 ms at a time; the longest wait for a lease since the other came back. */
struct regular {
    contract *c;
    const char *key;
    int64_t from_ms, to_ms, longest_ms;
};

enum { BACK_MS = 8000 };

/* Creates, discards and begins again. */
static void churn(void *arg)
{
    struct regular *r = arg;
    kp_lease lease;

    while (kp_sim_now_ms(r->c->sim) < r->to_ms) {
        if (get_within(r->c, r->key, KP_SECONDS(60), &lease) != 0)
            contract_broken(r->c, "%s: not served", r->key);
        kp_discard(&lease);
    }
}

/* Creations are what these lack. How much else a key has is no reason for others to go first each
 * time. */
static void a_key_that_holds_many_must_have_its_turn_to_create(void **state)
{
    enum { HELD = 5 };
    static const kp_line create[] = { { .takes_ms = 10, .times = KP_OFF }, { 0 } };

    (void)state;
    for (int paced = 0; paced < 2; paced++) {
        contract c;
        kp_lease held[HELD];
        struct regular other[] = { { &c, "b", 0, 2000, 0 }, { &c, "c", 0, 2000, 0 } };
        begin(&c);
        c.script.create = create;
        if (paced) c.options.budget = (kp_budget){ .create_rate = 50, .create_burst = 1 };
        else c.options.budget.max_creating = 1;
        contract_open(&c);
        contract_take_all(&c, kp_str("a"), held, HELD);
        for (int i = 0; i < 2; i++) assert_true(kp_sim_spawn(c.sim, churn, &other[i]) > 0);
        struct visit one_more = { .key = "a", .at_ms = 1000, .within_ms = 1000 };
        send(&c, &one_more);
        kp_sim_join(c.sim, 0);
        assert_int_equal(one_more.rc, 0);
        assert_true(one_more.answered_ms < 1200);
        contract_give_all(&c, held, HELD);
        contract_end(&c);
    }
}

/* To connect takes no time, but to "far" as long as many a token. */
static int create_near_or_far(kp_job *job, void **resource)
{
    contract *c = job->ctx;

    if (job->key.size == 3) kp_sim_pass_ms(c->sim, 90);
    *resource = malloc(1);
    return *resource ? 0 : KP_ENOMEM;
}

static int destroy_freed(kp_job *job, void *resource)
{
    (void)job;
    free(resource);
    return 0;
}

/* Each creation costs one token, however long it takes. */
static void tokens_must_be_shared_whatever_a_creation_takes(void **state)
{
    enum { EACH = 20 };
    contract c;
    struct regular near[EACH], far[EACH];
    kp_driver driver = { .create = create_near_or_far, .destroy = destroy_freed, .ctx = &c };

    (void)state;
    begin(&c);
    c.options.limits.max_live = EACH;
    c.options.budget = (kp_budget){ .create_rate = 100, .create_burst = 1 };
    contract_open_driver(&c, &driver);
    for (int i = 0; i < EACH; i++) {
        near[i] = (struct regular){ &c, "near", 0, 5000, 0 };
        far[i] = (struct regular){ &c, "far", 0, 5000, 0 };
        assert_true(kp_sim_spawn(c.sim, churn, &near[i]) > 0);
        assert_true(kp_sim_spawn(c.sim, churn, &far[i]) > 0);
    }
    kp_sim_join(c.sim, 0);
    int64_t more = (int64_t)stats(&c, "near").creates - (int64_t)stats(&c, "far").creates;
    assert_in_range(more + EACH, 0, 2 * EACH);
    contract_end(&c);
}

static void two_hundred_to_one(kp_key key, kp_limits *limits, void *ctx)
{
    (void)ctx;
    limits->weight = key.size == 5 && memcmp(key.data, "light", 5) == 0 ? 1 : 200;
}

static void borrow(void *arg)
{
    struct regular *r = arg;
    kp_lease lease;

    if (r->from_ms) kp_sim_pass_ms(r->c->sim, r->from_ms);
    for (int64_t now; (now = kp_sim_now_ms(r->c->sim)) < r->to_ms;) {
        int rc = get_within(r->c, r->key, KP_SECONDS(60), &lease);
        int64_t waited = kp_sim_now_ms(r->c->sim) - now;
        if (rc != 0) contract_broken(r->c, "%s: %s", r->key, kp_strerror(rc));
        if (now + waited > BACK_MS && waited > r->longest_ms) r->longest_ms = waited;
        kp_sim_pass_ms(r->c->sim, 10);
        kp_release(&lease);
    }
}

/* A light key has competed before, and one of two heavy ones has paused. When it comes back, it may
 * be behind by as much as it could hold, but not by what the light one would hold. */
static void a_heavy_key_that_comes_back_must_not_take_all_for_long(void **state)
{
    contract c;
    struct regular stays[3], leaves[3], back[3], light = { &c, "light", 20, 30, 0 };

    (void)state;
    begin(&c);
    c.options.limits_for = two_hundred_to_one;
    c.options.budget.max_lent = 2;
    contract_open(&c);
    for (int i = 0; i < 3; i++) {
        stays[i] = (struct regular){ &c, "stays", 0, BACK_MS + 2000, 0 };
        leaves[i] = (struct regular){ &c, "back", 0, 200, 0 };
        back[i] = (struct regular){ &c, "back", BACK_MS, BACK_MS + 2000, 0 };
        assert_true(kp_sim_spawn(c.sim, borrow, &stays[i]) > 0);
        assert_true(kp_sim_spawn(c.sim, borrow, &leaves[i]) > 0);
        assert_true(kp_sim_spawn(c.sim, borrow, &back[i]) > 0);
    }
    assert_true(kp_sim_spawn(c.sim, borrow, &light) > 0);
    kp_sim_join(c.sim, 0);
    for (int i = 0; i < 3; i++) assert_true(stays[i].longest_ms < 300);
    contract_end(&c);
}

static void with_arrival_order_weights_must_not_matter(void **state)
{
    contract c;
    kp_lease lease[2];

    (void)state;
    begin(&c);
    c.options.limits_for = by_name;
    c.options.budget.max_lent = 2;
    c.options.budget.across = KP_ACROSS_ARRIVAL;
    contract_open(&c);
    for (int i = 0; i < 2; i++) contract_take(&c, kp_str("a"), &lease[i]);
    struct visit first = { .key = "a", .within_ms = 1000, .keep = true };
    struct visit second = { .key = "floored", .within_ms = 1000, .keep = true };
    send(&c, &first);
    kp_sim_settle(c.sim);
    send(&c, &second);
    kp_sim_settle(c.sim);
    contract_give(&c, &lease[0]);
    kp_sim_settle(c.sim);
    assert_int_equal(first.rc, 0);
    assert_int_equal(second.rc, KP_PENDING);
    contract_give(&c, &lease[1]);
    kp_sim_join(c.sim, 0);
    kp_release(&first.lease);
    kp_release(&second.lease);
    contract_end(&c);
}

static void keys_of_a_group_must_share_its_limit_and_others_must_not_feel_it(void **state)
{
    kp_limits outside = { .group = { KP_NONE, KP_NONE } };
    contract c;
    kp_lease a, b, d;

    (void)state;
    begin(&c);
    c.options.limits.group[0] = 7;
    c.options.budget.group_max_live[0] = 2;
    contract_open(&c);
    contract_take(&c, kp_str("d"), &d);
    assert_int_equal(kp_limits_set(c.pool, kp_str("d"), &outside, NULL), 0);
    contract_take(&c, kp_str("a"), &a);
    contract_take(&c, kp_str("b"), &b);
    kp_lease none;
    assert_int_equal(get_within(&c, "e", 10, &none), KP_ETIMEDOUT);
    assert_string_equal(c.why.limit, "budget.group_max_live");
    contract_give(&c, &a);              /* idle now, and makes room for another key of the group */
    assert_int_equal(get_within(&c, "e", 10, &none), 0);
    assert_int_equal(stats(&c, "a").evicted, 1);
    kp_release(&none);
    contract_give(&c, &b);
    contract_give(&c, &d);
    contract_end(&c);
}

/* One resource, held 200 ms by each; the second served shows that a whole interval was slow. */
static void a_queue_that_stays_slow_must_refuse_those_who_waited_too_long(void **state)
{
    struct visit v[5];
    contract c;
    kp_lease lease;

    (void)state;
    begin(&c);
    c.options.limits.max_live = 1;
    c.options.limits.shed_target_ms = 50;
    c.options.limits.shed_interval_ms = 100;
    contract_open(&c);
    contract_take(&c, kp_str("a"), &lease);
    for (int i = 0; i < 5; i++) {
        v[i] = (struct visit){ .key = "a", .within_ms = 5000, .hold_ms = 200 };
        send(&c, &v[i]);
        kp_sim_settle(c.sim);
    }
    kp_sim_pass_ms(c.sim, 200);
    contract_give(&c, &lease);
    kp_sim_join(c.sim, 0);
    for (int i = 0; i < 5; i++) /* nor the last, as no other request gains by it */
        assert_int_equal(v[i].rc, i == 2 || i == 3 ? KP_EFULL : 0);
    assert_int_equal(get_within(&c, "a", 0, &lease), 0);       /* nobody waits: nothing is shed */
    kp_release(&lease);
    assert_int_equal(stats(&c, "a").refusals, 2);
    contract_end(&c);
}

static void the_sums_of_time_must_be_exact(void **state)
{
    static const kp_line create[] = { { .blocks_ms = 100 }, { 0 } };
    contract c;
    kp_lease lease;

    (void)state;
    begin(&c);
    c.options.limits.max_live = 1;
    c.script.create = create;
    contract_open(&c);
    contract_take(&c, kp_str("a"), &lease);
    struct visit v = { .key = "a", .within_ms = 1000, .hold_ms = 30 };
    send(&c, &v);
    kp_sim_pass_ms(c.sim, 50);
    contract_give(&c, &lease);
    kp_sim_join(c.sim, 0);
    assert_int_equal(stats(&c, "a").create_ns, 100 * 1000000);
    assert_int_equal(stats(&c, "a").wait_ns, 50 * 1000000);
    assert_int_equal(stats(&c, "a").held_ns, 80 * 1000000);
    assert_int_equal(stats(&c, NULL).held_ns, 80 * 1000000);
    contract_end(&c);
}

/* A shared resource drains for another key until its own key is down to its floor: here, when one
 * that a request had is found bad. That request came first, and is not overtaken by those that wait
 * for a seat. */
static void who_found_its_resource_bad_must_have_the_first_seat_that_is_free_again(void **state)
{
    static const kp_line bad[] = { { .blocks_ms = 100, .status = -5, .times = 1 }, { 0 } };
    static const kp_line slowly[] = { { .blocks_ms = 1000, .times = KP_OFF }, { 0 } };
    contract c;
    kp_lease shared, idle;
    getter leaves, finds_bad, poor, later;

    (void)state;
    begin(&c);
    c.script.validate = bad;
    c.script.destroy = slowly;
    c.options.budget.max_live = 2;
    c.options.limits.floor = 1;
    c.options.limits.sharing = 2;
    c.options.limits.validate_on = KP_CHECK_GET;
    c.options.limits.validate_after_ms = KP_NONE;
    contract_open(&c);
    contract_take(&c, kp_str("a"), &shared);
    contract_start_as(&c, &leaves, 1, (getter){ .key = kp_str("a"), .hold_ms = 50 });
    contract_rest(&c);
    contract_take(&c, kp_str("a"), &idle);
    contract_give(&c, &idle);
    contract_start_as(&c, &finds_bad, 1, (getter){ .key = kp_str("a") });
    contract_start_as(&c, &poor, 1, (getter){ .key = kp_str("b") });
    kp_sim_pass_ms(c.sim, 60);
    contract_start_as(&c, &later, 1, (getter){ .key = kp_str("a"), .hold_ms = 5000 });
    kp_sim_join(c.sim, 0);
    assert_int_equal(finds_bad.rc, 0);
    assert_true(finds_bad.turn < later.turn);
    contract_give(&c, &shared);
    contract_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_below_its_floor_must_come_before_who_came_first),
        cmocka_unit_test(a_budget_that_is_short_must_be_shared_by_weight),
        cmocka_unit_test(a_key_that_holds_many_must_have_its_turn_to_create),
        cmocka_unit_test(tokens_must_be_shared_whatever_a_creation_takes),
        cmocka_unit_test(a_heavy_key_that_comes_back_must_not_take_all_for_long),
        cmocka_unit_test(with_arrival_order_weights_must_not_matter),
        cmocka_unit_test(who_found_its_resource_bad_must_have_the_first_seat_that_is_free_again),
        cmocka_unit_test(keys_of_a_group_must_share_its_limit_and_others_must_not_feel_it),
        cmocka_unit_test(a_queue_that_stays_slow_must_refuse_those_who_waited_too_long),
        cmocka_unit_test(the_sums_of_time_must_be_exact),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
