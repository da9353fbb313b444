/* SPDX-License-Identifier: MIT
 *
 * Limits that change while others use the pool. Deterministic, except tests named "whatever the
 * order": they run with many seeds.
 */
#include "corners.h"

enum { SEEDS = 60 };

/* ---- limits that change under way ------------------------------------------------------------ */

static void limits_set_twice_at_once_on_a_key_must_not_touch_freed_rules(void **state)
{
    static const kp_line slow[] = { { .blocks_ms = 10, .times = KP_OFF } };
    static const kp_limits one = { .max_idle = 1 }, two = { .max_idle = 2 };
    contract c;
    kp_lease leases[4];
    (void)state;
    begin(&c);
    c.script.destroy = slow;
    contract_open(&c);
    contract_take_all(&c, kp_str("a"), leases, 4);
    contract_give_all(&c, leases, 4);
    struct visit first = { .key = "a", .limits = &one };
    struct visit second = { .key = "a", .at_ms = 5, .limits = &two };
    send(&c, &first);
    send(&c, &second);
    kp_sim_join(c.sim, 0);
    assert_int_equal(first.rc, 0);
    assert_int_equal(second.rc, 0);
    assert_true(stats(&c, "a").idle <= 2);
    contract_end(&c);
}

static void two_limits_set_at_once_must_both_hold_whatever_the_order(void **state)
{
    static const kp_limits live = { .max_live = 1 }, waiting = { .max_waiting = KP_NONE };
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        contract c;
        kp_lease one, two;
        begin(&c);
        assert_int_equal(kp_sim_close(c.sim), 0);
        assert_int_equal(kp_sim_open(seed, &c.sim), 0);
        c.options.world = kp_sim_world(c.sim);
        contract_open(&c);
        contract_take(&c, kp_str("a"), &one);
        kp_sim_shuffle(c.sim, true);
        struct visit a = { .key = "a", .limits = &live }, b = { .key = "a", .limits = &waiting };
        send(&c, &a);
        send(&c, &b);
        kp_sim_join(c.sim, 0);
        kp_sim_shuffle(c.sim, false);
        int rc = get_within(&c, "a", 50, &two);
        if (rc != KP_EFULL)
            print_error("seed %llu: %s\n", (unsigned long long)seed, kp_strerror(rc));
        assert_int_equal(rc, KP_EFULL);
        kp_release(&one);
        contract_end(&c);
    }
}

static void
a_key_made_while_all_limits_change_must_not_use_freed_rules_whatever_the_order(void **state)
{
    static const kp_limits other = { .max_live = 3 };
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        contract c;
        begin(&c);
        assert_int_equal(kp_sim_close(c.sim), 0);
        assert_int_equal(kp_sim_open(seed, &c.sim), 0);
        c.options.world = kp_sim_world(c.sim);
        c.options.limits.group[0] = 7;
        c.options.budget.group_max_live[0] = 5;
        contract_open(&c);
        kp_sim_shuffle(c.sim, true);
        struct visit a = { .key = "a", .within_ms = 100 }, b = { .limits = &other };
        send(&c, &a);
        send(&c, &b);
        kp_sim_join(c.sim, 0);
        kp_sim_shuffle(c.sim, false);
        assert_int_equal(a.rc, 0);
        assert_int_equal(b.rc, 0);
        contract_end(&c);
    }
}

static void demanding_for_b(kp_key key, kp_limits *limits, void *ctx)
{
    (void)ctx;
    if (key.size == 1 && *(const char *)key.data == 'b') limits->min_live = 5;
}

static void limits_that_one_key_must_refuse_must_change_no_key(void **state)
{
    static const kp_limits few = { .max_live = 2 }, typo = { .max_live = -7 };
    contract c;
    kp_lease leases[3], b;
    (void)state;
    begin(&c);
    c.options.limits_for = demanding_for_b;
    contract_open(&c);
    contract_take_all(&c, kp_str("a"), leases, 2);
    contract_take(&c, kp_str("b"), &b);
    assert_int_equal(kp_limits_set(c.pool, KP_EVERY_KEY, &few, &c.why), KP_ECONFIG);
    assert_string_equal(c.why.text, "limits.min_live: is above limits.max_live (key b)");
    assert_int_equal(kp_limits_set(c.pool, KP_EVERY_KEY, &typo, &c.why), KP_ECONFIG);
    assert_null(strstr(c.why.text, "(key")); /* each would refuse it */
    assert_int_equal(get_within(&c, "a", 100, &leases[2]), 0);
    kp_release(&leases[2]);
    kp_release(&b);
    contract_give_all(&c, leases, 2);
    contract_end(&c);
}

static void room_that_a_key_takes_out_of_its_group_must_serve_who_waits_there(void **state)
{
    static const kp_limits away = { .group = { 2 } };
    contract c;
    kp_lease a;
    (void)state;
    begin(&c);
    c.options.limits.group[0] = 1;
    c.options.budget.group_max_live[0] = 1;
    contract_open(&c);
    contract_take(&c, kp_str("a"), &a);
    struct visit b = { .key = "b", .within_ms = 1000 };
    send(&c, &b);
    kp_sim_pass_ms(c.sim, 10);
    assert_int_equal(kp_limits_set(c.pool, kp_str("a"), &away, NULL), 0);
    kp_sim_join(c.sim, 0);
    assert_int_equal(b.rc, 0);
    assert_true(b.answered_ms < 100);
    kp_release(&a);
    contract_end(&c);
}

static void an_idle_time_set_later_must_count_from_the_last_return(void **state)
{
    static const kp_limits ttl = { .idle_ttl_ms = KP_MINUTES(10) };
    contract c;
    kp_lease a;
    (void)state;
    begin_bare(&c);
    open_short(&c);
    kp_sim_pass_ms(c.sim, KP_MINUTES(20));
    contract_take(&c, kp_str("a"), &a);
    contract_give(&c, &a);
    contract_take(&c, kp_str("a"), &a);
    contract_give(&c, &a);
    assert_int_equal(kp_limits_set(c.pool, kp_str("a"), &ttl, NULL), 0);
    kp_sim_pass_ms(c.sim, 100);
    assert_int_equal(stats(&c, "a").idle, 1);
    contract_end(&c);
}

static void an_idle_time_checked_on_return_must_end_the_one_idle_longest(void **state)
{
    contract c;
    kp_lease a[3];
    (void)state;
    begin(&c);
    c.options.limits.idle_ttl_ms = 1000;
    c.options.limits.idle_check = KP_CHECK_RETURN;
    contract_open(&c);
    contract_take_all(&c, kp_str("a"), a, 3);
    contract_give(&c, &a[0]);
    kp_sim_pass_ms(c.sim, 500);
    contract_give(&c, &a[1]);
    kp_sim_pass_ms(c.sim, 500);
    assert_int_equal(stats(&c, "a").idle, 2); /* nobody else looks */
    contract_give(&c, &a[2]);
    assert_int_equal(stats(&c, "a").idle, 2);
    assert_int_equal(stats(&c, "a").expired, 1);
    contract_end(&c);
}

static void sharing_that_is_lowered_must_hold_for_what_is_there(void **state)
{
    static const kp_limits alone = { .sharing = 1 };
    contract c;
    kp_lease a[3], other;
    (void)state;
    begin(&c);
    c.options.limits.max_live = 1;
    c.options.limits.sharing = 3;
    contract_open(&c);
    contract_take_all(&c, kp_str("a"), a, 2);
    assert_int_equal(kp_limits_set(c.pool, kp_str("a"), &alone, NULL), 0);
    assert_int_equal(kp_try_get(c.pool, kp_str("a"), &other), KP_EAGAIN);
    contract_give(&c, &a[0]); /* another borrower is still there */
    assert_int_equal(kp_try_get(c.pool, kp_str("a"), &other), KP_EAGAIN);
    contract_give(&c, &a[1]);
    contract_take(&c, kp_str("a"), &a[0]);
    assert_int_equal(kp_try_get(c.pool, kp_str("a"), &other), KP_EAGAIN);
    contract_give(&c, &a[0]);
    contract_end(&c);
}

static void renewed_ahead(kp_key key, kp_limits *limits, void *ctx)
{
    (void)ctx;
    limits->renew_ahead_ms = 1000;
    assert_int_equal(limits->surplus, 0);
    if (*(const char *)key.data == 'b') limits->surplus = KP_NONE;
}

/* It follows renew_ahead_ms unless it was set: 0 means not set, KP_NONE is a value. */
static void a_surplus_must_follow_what_limits_for_says_unless_it_is_said(void **state)
{
    contract c;
    kp_lease a, b;
    (void)state;
    begin(&c);
    c.options.limits_for = renewed_ahead;
    c.options.limits.max_live = 1;
    c.options.limits.max_age_ms = KP_MINUTES(1);
    c.options.limits.age_spread_pct = KP_NONE;
    c.options.limits.idle_ttl_ms = KP_OFF;
    contract_open(&c);
    contract_take(&c, kp_str("a"), &a);
    contract_take(&c, kp_str("b"), &b);
    kp_sim_pass_ms(c.sim, KP_MINUTES(1) - 500);
    assert_int_equal(stats(&c, "a").live, 2); /* the next one is there */
    assert_int_equal(stats(&c, "b").live, 1);
    contract_give(&c, &a);
    contract_give(&c, &b);
    contract_end(&c);
}

/* What is idle may not be lent any more, so that a get needs a create after all; and it needs the
 * clock, to know that the pause is over. */
static void a_pause_that_is_over_must_be_over_where_nothing_else_needs_the_clock(void **state)
{
    static const kp_line second_fails[] = { { .times = 1 }, { .status = -1, .times = 1 }, { 0 } };
    static const kp_limits once = { .max_uses = 1 };
    contract c;
    kp_lease lease, none;
    (void)state;
    begin_bare(&c);
    c.options.hits = KP_HITS_LOCKED;
    c.options.limits.retry_first_ms = 100;
    c.options.limits.fail_fast = 1;
    c.script.create = second_fails;
    open_short(&c);
    contract_take(&c, kp_str("a"), &lease);
    assert_int_equal(get_within(&c, "a", 50, &none), KP_ECREATE);
    contract_give(&c, &lease);
    kp_sim_pass_ms(c.sim, 1000);
    assert_int_equal(kp_limits_set(c.pool, kp_str("a"), &once, NULL), 0);
    assert_int_equal(get_within(&c, "a", 50, &lease), 0);
    kp_release(&lease);
    assert_int_equal(stats(&c, "a").creates, 2);
    contract_end(&c);
}

/* What is too many goes at once; what is not must not be looked at without end. */
static void a_ttl_of_nothing_must_let_the_keeper_sleep(void **state)
{
    static const kp_limits ways[] = { { .min_live = 1, .idle_ttl_ms = KP_NONE },
                                      { .min_live = 1, .max_age_ms = KP_NONE, .respects_min = 7 },
                                      { .excess_over = 1, .excess_ttl_ms = KP_NONE } };
    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        contract c;
        kp_lease leases[2];
        begin(&c);
        c.options.limits = ways[i];
        c.options.threads = KP_NONE;
        open_short(&c);
        contract_take_all(&c, kp_str("a"), leases, 2);
        contract_give_all(&c, leases, 2);
        while (kp_keep(c.pool) == 0) continue;
        assert_int_equal(stats(&c, "a").idle, 1);
        assert_true(kp_keep(c.pool) >= 1000);
        contract_end(&c);
    }
}

/* It may not be idle at all: it is made for each request, and goes when that is over. */
static void a_ttl_of_nothing_must_not_end_what_a_request_waits_for(void **state)
{
    static const kp_limits ways[] = { { .idle_ttl_ms = KP_NONE },
                                      { .max_age_ms = KP_NONE },
                                      { .excess_ttl_ms = KP_NONE } };
    static const kp_line slow[] = { { .takes_ms = 10, .times = KP_OFF } };
    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        contract c;
        kp_lease lease;
        begin(&c);
        c.options.limits = ways[i];
        c.script.create = slow;
        open_short(&c);
        contract_take(&c, kp_str("a"), &lease);
        contract_give(&c, &lease);
        kp_sim_settle(c.sim);
        assert_int_equal(stats(&c, "a").creates, 1);
        assert_int_equal(stats(&c, "a").idle, 0);
        contract_end(&c);
    }
}

/* It would be destroyed and made again without end. */
static void a_ttl_of_nothing_must_not_end_what_is_kept_ready(void **state)
{
    static const struct {
        kp_limits limits;
        uint32_t idle;
    } ways[] = {
        { { .idle_ttl_ms = KP_NONE, .min_live = 2, .refill = KP_REFILL_EAGER }, 2 },
        { { .idle_ttl_ms = KP_NONE, .min_live = 2, .refill = KP_REFILL_EAGER,
            .respects_min = KP_KIND_NONE }, 0 },
        { { .idle_ttl_ms = KP_NONE, .min_idle = 1, .idle_check = KP_CHECK_GET }, 0 },
        { { .max_age_ms = KP_NONE, .min_live = 1, .min_idle = 1 }, 0 },
        { { .excess_ttl_ms = KP_NONE, .excess_over = 1, .min_idle = 3 }, 1 },
        { { .excess_ttl_ms = KP_NONE, .min_live = 2, .excess_over = 1,
            .respects_min = KP_KIND_EXCESS, .refill = KP_REFILL_EAGER }, 2 },
        /* on return: it is made, and has not come back */
        { { .idle_ttl_ms = KP_NONE, .min_idle = 1, .idle_check = KP_CHECK_RETURN,
            .refill = KP_REFILL_EAGER }, 1 },
        { { .excess_ttl_ms = KP_NONE, .min_idle = 2, .excess_check = KP_CHECK_RETURN,
            .refill = KP_REFILL_EAGER }, 2 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        contract c;
        kp_key key = kp_str("a");
        begin(&c);
        c.options.limits = ways[i].limits;
        open_short(&c);
        assert_int_equal(kp_warm(c.pool, &key, 1, NULL), 0);
        kp_sim_pass_ms(c.sim, 100);
        assert_int_equal(stats(&c, "a").idle, ways[i].idle);
        assert_true(stats(&c, "a").creates <= 3);
        contract_end(&c);
    }
}

/* Nobody asks for more, and utilization_pct does not either. */
static void sharing_that_is_lowered_must_not_make_spare_ones(void **state)
{
    static const kp_limits one = { .sharing = 1, .refill = KP_REFILL_EAGER };
    contract c;
    kp_lease leases[2];
    (void)state;
    begin(&c);
    c.options.limits.sharing = 2;
    c.options.threads = KP_NONE;
    open_short(&c);
    contract_take_all(&c, kp_str("a"), leases, 2);
    assert_int_equal(kp_limits_set(c.pool, kp_str("a"), &one, NULL), 0);
    (void)kp_keep(c.pool);
    assert_int_equal(stats(&c, "a").creates, 1);
    contract_give_all(&c, leases, 2);
    contract_end(&c);
}

static void only_take(void *arg)
{
    contract *c = arg;
    kp_lease lease;

    if (kp_get(c->pool, kp_str("a"), KP_ASK(.within_ms = 1000, .flags = KP_DONT_CREATE),
               &lease) == 0)
        kp_release(&lease);
}

/* Nobody could ever borrow it. A request that may not create would find it too old, each time. */
static void what_is_too_old_for_any_get_must_not_be_made_ahead(void **state)
{
    static const kp_limits ways[] = {
        { .idle_ttl_ms = KP_NONE, .idle_check = KP_CHECK_GET },
        { .max_age_ms = KP_NONE, .age_check = KP_CHECK_GET },
        { .excess_ttl_ms = KP_NONE, .excess_check = KP_CHECK_GET, .excess_over = KP_NONE },
    };
    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        contract c;
        kp_lease lease;
        begin(&c);
        c.options.limits = ways[i];
        c.options.limits.min_idle = 1;
        c.options.limits.refill = KP_REFILL_EAGER;
        open_short(&c);
        contract_take(&c, kp_str("a"), &lease);
        assert_true(kp_sim_spawn(c.sim, only_take, &c) > 0);
        kp_sim_pass_ms(c.sim, 10);
        kp_discard(&lease);
        kp_sim_pass_ms(c.sim, 100);
        assert_true(stats(&c, "a").creates <= 2);
        kp_sim_join(c.sim, 0);
        contract_end(&c);
    }
}

/* Unlike the others, an age is looked at when the resource itself comes back. */
static void what_stayed_idle_must_not_end_by_its_age_when_another_comes_back(void **state)
{
    contract c;
    kp_lease leases[2];
    (void)state;
    begin(&c);
    c.options.limits = (kp_limits){ .max_age_ms = 10, .age_spread_pct = KP_NONE,
                                    .age_check = KP_CHECK_RETURN, .idle_check = KP_CHECK_RETURN };
    c.options.threads = KP_NONE;
    open_short(&c);
    contract_take(&c, kp_str("a"), &leases[0]);
    kp_sim_pass_ms(c.sim, 5);
    contract_take(&c, kp_str("a"), &leases[1]);
    kp_release(&leases[0]);
    kp_sim_pass_ms(c.sim, 6);
    kp_release(&leases[1]);
    assert_int_equal(stats(&c, "a").idle, 2);
    contract_end(&c);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits_set_twice_at_once_on_a_key_must_not_touch_freed_rules),
        cmocka_unit_test(two_limits_set_at_once_must_both_hold_whatever_the_order),
        cmocka_unit_test(
            a_key_made_while_all_limits_change_must_not_use_freed_rules_whatever_the_order),
        cmocka_unit_test(limits_that_one_key_must_refuse_must_change_no_key),
        cmocka_unit_test(room_that_a_key_takes_out_of_its_group_must_serve_who_waits_there),
        cmocka_unit_test(an_idle_time_set_later_must_count_from_the_last_return),
        cmocka_unit_test(an_idle_time_checked_on_return_must_end_the_one_idle_longest),
        cmocka_unit_test(sharing_that_is_lowered_must_hold_for_what_is_there),
        cmocka_unit_test(a_surplus_must_follow_what_limits_for_says_unless_it_is_said),
        cmocka_unit_test(a_pause_that_is_over_must_be_over_where_nothing_else_needs_the_clock),
        cmocka_unit_test(a_ttl_of_nothing_must_let_the_keeper_sleep),
        cmocka_unit_test(sharing_that_is_lowered_must_not_make_spare_ones),
        cmocka_unit_test(what_stayed_idle_must_not_end_by_its_age_when_another_comes_back),
        cmocka_unit_test(a_ttl_of_nothing_must_not_end_what_a_request_waits_for),
        cmocka_unit_test(a_ttl_of_nothing_must_not_end_what_is_kept_ready),
        cmocka_unit_test(what_is_too_old_for_any_get_must_not_be_made_ahead),
    };
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
