/* SPDX-License-Identifier: MIT
 *
 * limits.refuse_late as a program sees it, on the virtual clock: a request that cannot be served
 * before its deadline is told so at once, and goodput is unchanged.
 */
#include "governor.h"

static const kp_line down[] = {
    { .status = -1, .vendor_code = 111, .text = "connection refused", .times = KP_OFF }, { 0 }
};
static const kp_line up[] = { { .times = KP_OFF }, { 0 } };

/* ---- for certain ----------------------------------------------------------------------------- */

static void who_asks_in_a_pause_that_is_longer_than_he_waits_must_be_told_at_once(void **state)
{
    struct getter g = { .key = "a", .within_ms = 20 };
    int64_t pause;

    (void)state;
    open_stage((kp_options){ .limits = { .refuse_late = 1, .retry_first_ms = 1000,
                                         .retry_max_ms = 1000 } }, down);
    assert_int_equal(ask(&g), KP_ECREATE);
    assert_int_equal(ask(&g), KP_EFULL);
    assert_int_equal(g.took_ms, 0);
    assert_string_equal(g.why.limit, "refuse_late");
    assert_string_equal(g.why.text, "refused at once: it could not be served before its deadline; "
                                    "last create failed: connection refused");
    assert_int_equal(g.why.vendor_code, 111);
    pause = g.why.retry_after_ms;
    assert_true(pause > 20 && pause <= 1000);
    g.within_ms = KP_NONE;
    assert_int_equal(ask(&g), KP_EAGAIN);
    g.within_ms = pause + 1; /* it waits, and is the next to create */
    assert_int_equal(ask(&g), KP_ECREATE);
    assert_true(g.took_ms == pause || g.took_ms == pause - 1); /* it is told in whole ms */
    close_stage();
}

static void who_waits_for_a_return_must_be_told_when_there_will_be_none(void **state)
{
    static const kp_line lines[] = { { .times = 1 }, { .status = -1, .times = KP_OFF }, { 0 } };
    struct getter g = { 0 };

    (void)state;
    open_stage((kp_options){ .limits = { .refuse_late = 1, .max_live = 2, .retry_first_ms = 60000,
                                         .retry_max_ms = 60000 } }, lines);
    kp_lease lease = take("a");
    struct getter fails = { .key = "a", .within_ms = 100 };
    assert_int_equal(ask(&fails), KP_ECREATE);
    start(&g, "a", 500);
    (void)kp_sim_settle(the.sim);
    assert_int_equal(g.rc, 1); /* what is lent may come back in time */
    kp_discard(&lease);
    (void)kp_sim_settle(the.sim);
    assert_int_equal(g.rc, KP_EFULL);
    assert_string_equal(g.why.limit, "refuse_late");
    close_stage();
}

static void without_a_cause_the_refusal_must_say_what_it_is(void **state)
{
    struct getter g = { .key = "b", .within_ms = 999 };

    (void)state;
    open_stage((kp_options){ .limits = { .refuse_late = 1 },
                             .budget = { .create_rate = 1, .create_burst = 1 } }, up);
    kp_lease lease = take("a");
    assert_int_equal(ask(&g), KP_EFULL);
    assert_int_equal(g.took_ms, 0);
    assert_int_equal(g.why.retry_after_ms, 1000);
    assert_non_null(strstr(g.why.text, "could not be served before its deadline"));
    g.within_ms = KP_OFF;
    assert_int_equal(ask(&g), 0);
    assert_int_equal(g.took_ms, 1000);
    kp_release(&lease);
    close_stage();
}

/* ---- overload -------------------------------------------------------------------------------- */

enum { RESOURCES = 4, USE_MS = 100, EVERY_MS = 12, WITHIN_MS = 1000, CROWD = 2500 };

struct run {
    int served, timeouts, refused;
    int64_t told_ms; /* the sum of how long refusals took */
};

/* Twice as many come as can be served, for 30 s. */
static struct run overload(int64_t refuse_late, int64_t within_ms)
{
    static struct getter g[CROWD];
    struct run run = { 0 };

    open_stage((kp_options){ .limits = { .refuse_late = refuse_late, .max_live = RESOURCES,
                                         .max_creating = RESOURCES,
                                         .max_waiting = KP_UNLIMITED } }, up);
    for (int i = 0; i < CROWD; i++) {
        g[i] = (struct getter){ .key = "a", .within_ms = within_ms, .hold_ms = USE_MS, .rc = 1 };
        assert_true(kp_sim_spawn(the.sim, get, &g[i]) > 0);
        kp_sim_pass_ms(the.sim, EVERY_MS);
    }
    kp_sim_join(the.sim, 0);
    for (int i = 0; i < CROWD; i++) {
        run.served += g[i].rc == 0;
        run.timeouts += g[i].rc == KP_ETIMEDOUT;
        run.refused += g[i].rc == KP_EFULL;
        if (g[i].rc != 0) run.told_ms += g[i].took_ms;
    }
    close_stage();
    print_message("refuse_late %s, %d ms: %d served, %d timeouts, %d refused, no after %.1f ms\n",
                  refuse_late == 1 ? "on" : "off", (int)within_ms, run.served, run.timeouts,
                  run.refused, (double)run.told_ms / (run.timeouts + run.refused + 1e-9));
    return run;
}

static void in_overload_goodput_must_be_the_same_and_refusals_quick(void **state)
{
    struct run without = overload(KP_OFF, WITHIN_MS), with = overload(1, WITHIN_MS);

    (void)state;
    assert_int_equal(without.served + without.timeouts, CROWD);
    assert_true(without.timeouts > CROWD / 3);
    assert_int_equal(with.served + with.timeouts + with.refused, CROWD);
    assert_true(with.served >= without.served - RESOURCES);
    assert_true(with.timeouts < without.timeouts / 10);
    assert_true(with.told_ms < without.told_ms / 10);
}

/* One resource, and ten who wait for it, one after the other, for 100 ms each. */
static void queue_up(struct getter *g)
{
    open_stage((kp_options){ .limits = { .refuse_late = 1, .max_live = 1 } }, up);
    for (int i = 0; i < 10; i++) {
        g[i] = (struct getter){ .key = "a", .within_ms = 60000, .hold_ms = USE_MS };
        assert_true(kp_sim_spawn(the.sim, get, &g[i]) > 0);
    }
    (void)kp_sim_settle(the.sim);
}

static void who_has_just_the_time_that_those_ahead_take_must_wait(void **state)
{
    struct getter g[10], fits = { .key = "a", .within_ms = USE_MS };

    (void)state;
    queue_up(g);
    kp_sim_pass_ms(the.sim, 9 * USE_MS - 1); /* one waits */
    assert_int_equal(ask(&fits), KP_ETIMEDOUT); /* it waits for one, and would be the next */
    assert_int_equal(fits.took_ms, USE_MS);
    close_stage();
}

static void a_queue_of_long_ago_must_not_count(void **state)
{
    struct getter g[10], first, second;

    (void)state;
    queue_up(g);
    kp_sim_join(the.sim, 0);
    kp_sim_pass_ms(the.sim, 60000);
    kp_lease lease = take("a");
    start(&first, "a", 10);
    start(&second, "a", 10);
    kp_sim_pass_ms(the.sim, 5);
    assert_int_equal(second.rc, 1); /* it is not refused */
    kp_release(&lease);
    kp_sim_join(the.sim, 0);
    assert_int_equal(second.rc, 0);
    close_stage();
}

static void where_all_can_be_served_nobody_must_be_refused(void **state)
{
    struct run with = overload(1, KP_SECONDS(60));

    (void)state;
    assert_int_equal(with.refused + with.timeouts, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_asks_in_a_pause_that_is_longer_than_he_waits_must_be_told_at_once),
        cmocka_unit_test(who_waits_for_a_return_must_be_told_when_there_will_be_none),
        cmocka_unit_test(without_a_cause_the_refusal_must_say_what_it_is),
        cmocka_unit_test(in_overload_goodput_must_be_the_same_and_refusals_quick),
        cmocka_unit_test(who_has_just_the_time_that_those_ahead_take_must_wait),
        cmocka_unit_test(a_queue_of_long_ago_must_not_count),
        cmocka_unit_test(where_all_can_be_served_nobody_must_be_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
