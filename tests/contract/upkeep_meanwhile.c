/* SPDX-License-Identifier: MIT
 *
 * What else happens while upkeep is at work: a request takes what was made in the background, or
 * comes while upkeep still has the time at which its round began; what is idle is to go while it is
 * validated.
 */
#include "corners.h"

/* What upkeep makes goes to a request that may not create. The key still lacks what it is to keep
 * ready, and nothing is in the way of that. */
static void a_refill_must_go_on_at_once_when_a_request_took_what_was_made(void **state)
{
    struct visit taker = { .key = "a", .within_ms = 5000, .flags = KP_DONT_CREATE, .keep = true };
    kp_key a = kp_str("a");
    contract c;

    (void)state;
    begin(&c);
    c.options.limits.min_idle = 2;
    c.options.limits.max_live = 10;
    contract_open(&c);
    send(&c, &taker);
    kp_sim_settle(c.sim);
    (void)kp_warm(c.pool, &a, 1, NULL);
    kp_sim_settle(c.sim);
    assert_int_equal(taker.rc, 0);
    assert_int_equal(stats(&c, "a").idle, 2);
    kp_release(&taker.lease);
    contract_end(&c);
}

/* What `b` keeps idle above its minimum leaves no room for what `a` has lost. */
static void a_minimum_must_be_refilled_when_there_is_room_for_it(void **state)
{
    kp_lease lease[4];
    contract c;

    (void)state;
    begin(&c);
    c.options.limits.min_live = 1;
    c.options.limits.max_live = 10;
    c.options.limits.refill = KP_REFILL_EAGER;
    c.options.budget.max_idle = 3;
    contract_open(&c);
    contract_take(&c, kp_str("a"), &lease[0]);
    for (int i = 1; i < 4; i++) contract_take(&c, kp_str("b"), &lease[i]);
    for (int i = 1; i < 4; i++) kp_release(&lease[i]);
    kp_discard(&lease[0]);
    kp_sim_pass_ms(c.sim, 5000);
    assert_int_equal(stats(&c, "a").live, 0);
    assert_int_equal(kp_evict(c.pool, kp_str("b"), 1), 2);
    kp_sim_pass_ms(c.sim, 1000);
    assert_int_equal(stats(&c, "a").idle, 1);
    contract_end(&c);
}

/* `b` is due for a replacement, and only the creation for a request of `a` is in its way. */
static void a_replacement_must_begin_when_more_may_be_made(void **state)
{
    static const kp_line lines[] = { { .times = 1 }, { .takes_ms = 3000 }, { .times = KP_OFF } };
    const kp_budget more = { .max_creating = 2 };
    struct visit taker = { .key = "a", .within_ms = 5000, .keep = true };
    kp_key b = kp_str("b");
    contract c;

    (void)state;
    begin(&c);
    c.options.limits.min_live = 1;
    c.options.limits.prefill = KP_PREFILL_NONE;
    c.options.limits.max_age_ms = 10000;
    c.options.limits.age_spread_pct = KP_NONE;
    c.options.limits.renew_ahead_ms = 2000;
    c.options.budget.max_creating = 1;
    c.script.create = lines;
    contract_open(&c);
    assert_int_equal(kp_warm(c.pool, &b, 1, KP_IN_S(1)), 1);
    kp_sim_pass_ms(c.sim, 7000);
    send(&c, &taker);
    kp_sim_pass_ms(c.sim, 1100);
    assert_int_equal(stats(&c, "b").creates, 1);
    assert_int_equal(kp_budget_set(c.pool, &more, NULL), 0);
    kp_sim_settle(c.sim);
    assert_int_equal(stats(&c, "b").creates, 2);
    kp_sim_pass_ms(c.sim, 3000);
    kp_release(&taker.lease);
    contract_end(&c);
}

/* A failure that is kept for a request stands for a resource. Once a request was told, nothing
 * does: a minimum that is refilled at once is made up for then. */
static void a_failure_that_was_told_must_be_made_up_for(void **state)
{
    static const kp_line lines[] = { { .times = 2 }, { .status = -1, .times = 2 }, { 0 } };
    kp_key a = kp_str("a");
    kp_lease lease;
    contract c;

    (void)state;
    begin(&c);
    c.options.limits.min_live = 2;
    c.options.limits.refill = KP_REFILL_EAGER;
    c.options.limits.cache_failure_ms = KP_ONCE;
    c.options.limits.retry_first_ms = KP_NONE;
    c.script.create = lines;
    contract_open(&c);
    assert_int_equal(kp_warm(c.pool, &a, 1, KP_IN_S(1)), 1);
    assert_int_equal(kp_evict(c.pool, a, KP_NONE), 2);
    kp_sim_pass_ms(c.sim, 1000);
    assert_int_equal(kp_cast_read(c.cast).create_failures, 2);
    assert_int_equal(get_within(&c, "a", 1000, &lease), KP_ECREATE);
    assert_int_equal(get_within(&c, "a", 1000, &lease), KP_ECREATE);
    kp_sim_pass_ms(c.sim, 1000);
    assert_int_equal(stats(&c, "a").idle, 2);
    contract_end(&c);
}

/* Without a pause between tries, a refill that fails ends, until the next get: also where the
 * answers come later, and more is to be made than may be made at once. */
static void a_refill_without_a_pause_must_end_when_it_fails(void **state)
{
    static const kp_line lines[] = { { .takes_ms = 1, .times = 3 },
                                     { .takes_ms = 1, .status = -1, .times = KP_OFF }, { 0 } };
    kp_lease lease;
    contract c;

    (void)state;
    begin(&c);
    c.options.limits.min_live = 3;
    c.options.limits.max_creating = 2;
    c.options.limits.prefill = KP_PREFILL_FIRST_GET;
    c.options.limits.refill = KP_REFILL_EAGER;
    c.options.limits.retry_first_ms = KP_NONE;
    c.script.create = lines;
    contract_open(&c);
    assert_int_equal(get_within(&c, "a", 1000, &lease), 0);
    kp_release(&lease);
    kp_sim_pass_ms(c.sim, 10);
    assert_int_equal(stats(&c, "a").idle, 3);
    assert_int_equal(kp_evict(c.pool, kp_str("a"), KP_NONE), 3);
    kp_sim_pass_ms(c.sim, 1000);
    assert_in_range(kp_cast_read(c.cast).create_failures, 1, 3);
    contract_end(&c);
}

/* Upkeep makes one for `a`, which takes until 250 ms; then it looks at `b`, whose failure was to be
 * told until about 200 ms. A request for `b` that came meanwhile, and waits for room, is not told
 * that failure by a look with the time at which upkeep began. */
static void a_look_of_upkeep_must_not_tell_a_failure_that_is_over(void **state)
{
    static const kp_line lines[] = {
        { .status = -1, .text = "down", .times = 1 }, { .blocks_ms = 150, .times = 1 }, { 0 }
    };
    struct visit late = { .key = "b", .at_ms = 220, .within_ms = 5000, .keep = true };
    kp_key a = kp_str("a");
    kp_lease lease;
    contract c;

    (void)state;
    begin(&c);
    c.options.threads = KP_NONE;
    c.options.budget.max_live = 1;
    c.options.budget.evict_other_keys = KP_OFF;
    c.options.limits.retry_first_ms = 10;
    c.options.limits.cache_failure_ms = 200;
    c.script.create = lines;
    contract_open(&c);
    send(&c, &late);
    (void)kp_warm(c.pool, &a, 1, NULL);
    assert_int_equal(get_within(&c, "b", 1, &lease), KP_ECREATE);
    kp_sim_pass_ms(c.sim, 100);
    (void)kp_keep(c.pool);
    assert_int_equal(kp_sim_now_ms(c.sim), 250);
    kp_sim_settle(c.sim);
    assert_int_equal(late.rc, KP_PENDING);
    assert_int_equal(kp_evict(c.pool, a, KP_NONE), 1);
    kp_sim_join(c.sim, late.task);
    assert_int_equal(late.rc, 0);
    kp_release(&late.lease);
    contract_end(&c);
}

/* ---- while one is validated ------------------------------------------------------------------ */

static const kp_line slow_check[] = { { .blocks_ms = 1000, .times = KP_OFF }, { 0 } };

/* So many idle ones, one of which is being validated, for a second. */
static void until_one_is_tested(contract *c, int idle)
{
    kp_lease leases[4];

    begin(c);
    c->options.limits.validate_on = KP_CHECK_KEEPER;
    c->options.limits.validate_every_ms = 30000;
    c->script.validate = slow_check;
    contract_open(c);
    contract_take_all(c, kp_str("a"), leases, idle);
    contract_give_all(c, leases, idle);
    while (stats(c, "a").testing == 0) kp_sim_pass_ms(c->sim, 1);
}

static void what_is_to_go_while_it_is_validated_must_go_afterwards(void **state)
{
    contract c;

    (void)state;
    until_one_is_tested(&c, 1);
    assert_int_equal(kp_evict(c.pool, kp_str("a"), KP_NONE), 1);
    assert_int_equal(kp_evict(c.pool, kp_str("a"), KP_NONE), 0); /* once is enough */
    kp_sim_pass_ms(c.sim, 1000);
    assert_int_equal(stats(&c, "a").live, 0);
    assert_int_equal(stats(&c, "a").surplus, 1);
    contract_end(&c);
}

static void so_many_must_be_kept_of_those_idle_and_validated_together(void **state)
{
    contract c;

    (void)state;
    until_one_is_tested(&c, 3);
    assert_int_equal(kp_evict(c.pool, kp_str("a"), 2), 1);
    kp_sim_pass_ms(c.sim, 1000);
    assert_int_equal(stats(&c, "a").live, 2);
    contract_end(&c);
}

static void what_is_validated_must_be_told_as_old_too(void **state)
{
    char text[1000];
    contract c;

    (void)state;
    until_one_is_tested(&c, 2);
    assert_int_equal(kp_rotate(c.pool, kp_str("a"), KP_SECONDS(100)), 2);
    (void)kp_explain(c.pool, kp_str("a"), text, sizeof text);
    if (!strstr(text, "2 from before kp_rotate")) fail_msg("%s", text);
    kp_sim_pass_ms(c.sim, 1000);
    contract_end(&c);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refill_must_go_on_at_once_when_a_request_took_what_was_made),
        cmocka_unit_test(a_minimum_must_be_refilled_when_there_is_room_for_it),
        cmocka_unit_test(a_replacement_must_begin_when_more_may_be_made),
        cmocka_unit_test(a_failure_that_was_told_must_be_made_up_for),
        cmocka_unit_test(a_refill_without_a_pause_must_end_when_it_fails),
        cmocka_unit_test(a_look_of_upkeep_must_not_tell_a_failure_that_is_over),
        cmocka_unit_test(what_is_to_go_while_it_is_validated_must_go_afterwards),
        cmocka_unit_test(so_many_must_be_kept_of_those_idle_and_validated_together),
        cmocka_unit_test(what_is_validated_must_be_told_as_old_too),
    };
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
