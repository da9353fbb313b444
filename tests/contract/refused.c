/* SPDX-License-Identifier: MIT
 *
 * What requests of a key are told when its creations fail, on the virtual clock: fail_fast, what
 * KP_EREFUSED stops, and kp_retry_now.
 */
#include "governor.h"

/* ---- fail_fast ------------------------------------------------------------------------------- */

static const kp_line down[] = {
    { .status = -1, .vendor_code = 111, .text = "connection refused", .blocks_ms = 5,
      .times = KP_OFF }, { 0 }
};

static void with_fail_fast_a_key_that_is_down_must_tell_its_cause_at_once(void **state)
{
    struct getter g[4], later = { .key = "a", .within_ms = 5000 };
    char text[500];

    (void)state;
    open_stage((kp_options){ .limits = { .fail_fast = 1, .retry_first_ms = 1000,
                                         .retry_max_ms = 1000, .max_creating = 1 } },
               down);
    for (int i = 0; i < 4; i++) start(&g[i], "a", 5000);
    (void)kp_sim_settle(the.sim);
    kp_sim_pass_ms(the.sim, 5);
    for (int i = 0; i < 4; i++) { /* one ran it, three waited */
        assert_int_equal(g[i].rc, KP_ECREATE);
        assert_int_equal(g[i].took_ms, 5);
        assert_int_equal(g[i].why.vendor_code, 111);
        assert_string_equal(g[i].why.text, "connection refused");
        assert_true(g[i].why.retry_after_ms > 0 && g[i].why.retry_after_ms <= 1000);
    }
    assert_int_equal(the.begun, 1);
    assert_int_equal(ask(&later), KP_ECREATE);
    assert_int_equal(later.took_ms, 0);
    assert_string_equal(later.why.limit, "retry_first_ms");
    assert_string_equal(later.why.text, "connection refused");
    int64_t pause = later.why.retry_after_ms;
    (void)kp_explain(the.pool, kp_str("a"), text, sizeof text);
    assert_non_null(strstr(text, "down for "));
    assert_non_null(strstr(text, "connection refused"));
    kp_sim_pass_ms(the.sim, pause);
    (void)kp_explain(the.pool, kp_str("a"), text, sizeof text);
    assert_non_null(strstr(text, "its latest create failed: connection refused"));
    start(&g[0], "a", 5000); /* the probe */
    (void)kp_sim_settle(the.sim);
    assert_int_equal(ask(&later), KP_ECREATE);
    assert_int_equal(later.took_ms, 0);
    assert_string_equal(later.why.limit, "max_creating");
    close_stage();
}

static void while_one_is_lent_requests_must_wait_for_it(void **state)
{
    static const kp_line lines[] = { { .times = 1 },
                                     { .status = -1, .text = "down", .times = KP_OFF }, { 0 } };
    struct getter g[2];

    (void)state;
    open_stage((kp_options){ .limits = { .fail_fast = 1, .retry_first_ms = 60000,
                                         .retry_max_ms = 60000 } },
               lines);
    kp_lease lease = take("a");
    struct getter first = { .key = "a", .within_ms = 5000 };
    assert_int_equal(ask(&first), KP_ECREATE);
    for (int i = 0; i < 2; i++) start(&g[i], "a", 5000);
    kp_sim_pass_ms(the.sim, 100);
    kp_release(&lease);
    kp_sim_pass_ms(the.sim, 1);
    for (int i = 0; i < 2; i++) assert_int_equal(g[i].rc, 0);
    lease = take("a");
    start(&g[0], "a", 5000);
    kp_sim_pass_ms(the.sim, 100);
    assert_int_equal(g[0].rc, 1);
    kp_discard(&lease); /* nothing is left that could come back */
    kp_sim_pass_ms(the.sim, 1);
    assert_int_equal(g[0].rc, KP_ECREATE);
    assert_int_equal(g[0].took_ms, 100);
    assert_string_equal(g[0].why.text, "down");
    close_stage();
}

/* Nothing is left that could come back, though it is lent still. */
static void who_waits_for_what_is_invalidated_must_be_told_at_once(void **state)
{
    static const kp_line lines[] = { { .times = 1 },
                                     { .status = -1, .text = "down", .times = KP_OFF }, { 0 } };
    struct getter g, first = { .key = "a", .within_ms = 5000 };

    (void)state;
    for (int how = 0; how < 4; how++) {
        open_stage((kp_options){ .limits = { .fail_fast = 1, .retry_first_ms = 60000,
                                             .retry_max_ms = 60000 } },
                   lines);
        kp_lease lease = take("a");
        assert_int_equal(ask(&first), KP_ECREATE);
        start(&g, "a", 5000);
        kp_sim_pass_ms(the.sim, 100);
        assert_int_equal(g.rc, 1);
        if (how == 0) assert_int_equal(kp_invalidate(the.pool, lease.resource), 1);
        else if (how == 1) assert_int_equal(kp_invalidate_key(the.pool, kp_str("a")), 1);
        else if (how == 2) kp_lease_report(&lease, KP_EGONE);
        else assert_int_equal(kp_drop(the.pool, kp_str("a"), KP_NONE), 2);
        (void)kp_sim_settle(the.sim);
        assert_int_equal(g.rc, KP_ECREATE);
        assert_int_equal(g.took_ms, 100);
        assert_string_equal(g.why.text, "down");
        kp_release(&lease);
        close_stage();
    }
}

/* ---- refusals -------------------------------------------------------------------------------- */

static const kp_line password[] = {
    { .status = KP_EREFUSED, .vendor_code = 28, .text = "password", .times = 1 },
    { .status = KP_EREFUSED, .vendor_code = 29, .text = "still", .times = 1 }, { 0 }
};

/* The same while what its borrower discarded is being destroyed, however long that takes. */
static int destroy_slowly(kp_job *job, void *resource)
{
    kp_sim_pass_ms(the.sim, 300);
    return the.driver.destroy(job, resource);
}

static void who_waits_for_what_is_discarded_must_be_told_before_it_is_gone(void **state)
{
    static const kp_line once[] = { { .times = 1 },
                                    { .status = -1, .text = "down", .times = KP_OFF }, { 0 } };
    static const kp_line refused[] = { { .times = 1 },
                                       { .status = KP_EREFUSED, .times = KP_OFF }, { 0 } };

    (void)state;
    for (int how = 0; how < 2; how++) {
        struct getter g, first = { .key = "a", .within_ms = 5000 };
        int code = how ? KP_EREFUSED : KP_ECREATE;
        open_stage((kp_options){ .driver.destroy = destroy_slowly,
                                 .limits = { .fail_fast = 1, .retry_first_ms = 60000,
                                             .retry_max_ms = 60000 } },
                   how ? refused : once);
        kp_lease lease = take("a");
        assert_int_equal(ask(&first), code);
        start(&g, "a", 5000);
        kp_sim_pass_ms(the.sim, 100);
        assert_int_equal(g.rc, 1);
        kp_discard(&lease);
        assert_int_equal(g.rc, code);
        assert_int_equal(g.took_ms, 100);
        close_stage();
    }
}

static void a_refusal_must_stop_its_key_until_it_is_told_to_try_again(void **state)
{
    struct getter g = { .key = "a", .within_ms = 5000 };
    kp_key key = kp_str("a");
    char text[500];
    kp_why why;

    (void)state;
    open_stage((kp_options){ .limits = { .min_live = 2, .refill = KP_REFILL_EAGER } }, password);
    assert_int_equal(ask(&g), KP_EREFUSED);
    assert_int_equal(g.why.retry_after_ms, KP_OFF); /* trying again cannot help */
    for (int i = 0; i < 100; i++) {
        kp_sim_pass_ms(the.sim, 600);
        assert_int_equal(ask(&g), KP_EREFUSED);
        assert_int_equal(g.took_ms, 0);
        assert_int_equal(g.why.vendor_code, 28);
        assert_string_equal(g.why.text, "password");
        assert_string_equal(g.why.limit, "driver.create");
    }
    assert_int_equal(kp_warm(the.pool, &key, 1, NULL), 0);
    assert_int_equal(kp_warm(the.pool, &key, 1, KP_ASK(.within_ms = 5000, .why = &why)), 0);
    assert_int_equal(why.code, KP_EREFUSED);
    assert_string_equal(why.text, "a: password");
    kp_sim_pass_ms(the.sim, 60000);
    assert_int_equal(the.begun, 1);
    (void)kp_explain(the.pool, KP_EVERY_KEY, text, sizeof text);
    assert_non_null(strstr(text, "refused until kp_retry_now: password"));
    kp_lease lease = { 0 };
    assert_int_equal(kp_get(the.pool, kp_str("b"), NULL, &lease), KP_EREFUSED); /* its own */
    assert_int_equal(kp_retry_now(the.pool, key), 0);
    kp_sim_pass_ms(the.sim, 1); /* the background, which was asked for it */
    assert_int_equal(ask(&g), 0);
    assert_int_equal(kp_get(the.pool, kp_str("b"), NULL, &lease), KP_EREFUSED);
    assert_int_equal(the.begun, 2 + 2);
    assert_int_equal(kp_limits_set(the.pool, kp_str("b"), &(kp_limits){ .max_live = 5 }, NULL), 0);
    kp_sim_pass_ms(the.sim, 1000);
    lease = take("b");
    kp_release(&lease);
    close_stage();
}

static void who_waits_for_a_return_must_be_served_at_once_by_kp_retry_now(void **state)
{
    static const kp_line lines[] = { { .times = 1 }, { .status = KP_EREFUSED, .times = 1 }, { 0 } };
    struct getter g, refused = { .key = "a", .within_ms = 5000 };

    (void)state;
    open_stage((kp_options){ 0 }, lines);
    kp_lease lease = take("a");
    assert_int_equal(ask(&refused), KP_EREFUSED);
    start(&g, "a", 5000); /* what comes back is lent as ever */
    kp_sim_pass_ms(the.sim, 50);
    assert_int_equal(g.rc, 1);
    assert_int_equal(kp_retry_now(the.pool, KP_EVERY_KEY), 0);
    kp_sim_pass_ms(the.sim, 1);
    assert_int_equal(g.rc, 0);
    assert_int_equal(g.took_ms, 50);
    assert_int_equal(the.begun, 3);
    kp_release(&lease);
    close_stage();
}

static void kp_retry_now_must_end_the_pause_and_close_the_circuit(void **state)
{
    static const kp_line lines[] = { { .status = -1, .times = 2 }, { 0 } };
    struct getter g = { .key = "a", .within_ms = 5000 }, waits;
    char text[500];

    (void)state;
    open_stage((kp_options){ .limits = { .retry_first_ms = 60000, .retry_max_ms = 60000,
                                         .cache_failure_ms = 60000, .breaker_failures = 2 } },
               lines);
    assert_int_equal(ask(&g), KP_ECREATE);
    assert_int_equal(ask(&g), KP_ECREATE); /* told again */
    (void)kp_explain(the.pool, kp_str("a"), text, sizeof text);
    assert_non_null(strstr(text, "failed with -1 and gave no reason"));
    assert_int_equal(the.begun, 1);
    assert_int_equal(kp_retry_now(the.pool, kp_str("a")), 0);
    assert_int_equal(ask(&g), KP_ECREATE);
    assert_int_equal(the.begun, 2);
    assert_int_equal(the.closed_circuits, 0);
    assert_int_equal(kp_limits_set(the.pool, kp_str("a"),
                                   &(kp_limits){ .cache_failure_ms = KP_NONE }, NULL), 0);
    assert_int_equal(kp_retry_now(the.pool, kp_str("a")), 0);
    assert_int_equal(ask(&g), 0);
    /* a pause during which a thread sleeps */
    assert_int_equal(kp_invalidate_key(the.pool, kp_str("a")), 1);
    close_stage();
    static const kp_line fails[] = { { .status = -1, .times = 1 }, { 0 } };
    open_stage((kp_options){ .limits = { .retry_first_ms = 60000, .retry_max_ms = 60000,
                                         .breaker_failures = 1, .breaker_open_ms = 60000 } },
               fails);
    assert_int_equal(ask(&g), KP_ECREATE);
    assert_int_equal(ask(&g), KP_EBREAKER);
    assert_int_equal(kp_retry_now(the.pool, kp_str("a")), 0);
    assert_int_equal(the.closed_circuits, 1);
    assert_int_equal(ask(&g), 0);
    close_stage();
    open_stage((kp_options){ .limits = { .retry_first_ms = 60000, .retry_max_ms = 60000 } }, fails);
    assert_int_equal(ask(&g), KP_ECREATE);
    start(&waits, "a", KP_OFF);
    kp_sim_pass_ms(the.sim, 1);
    assert_int_equal(kp_retry_now(the.pool, kp_str("a")), 0);
    kp_sim_pass_ms(the.sim, 1);
    assert_int_equal(waits.rc, 0);
    close_stage();
}

static void who_is_told_a_kept_failure_must_be_told_until_when(void **state)
{
    static const kp_line lines[] = { { .status = -1, .times = 1 }, { 0 } };
    struct getter g = { .key = "a", .within_ms = 5000 };

    (void)state;
    open_stage((kp_options){ .limits = { .retry_first_ms = 10, .cache_failure_ms = 15000 } },
               lines);
    assert_int_equal(ask(&g), KP_ECREATE);
    assert_int_equal(g.why.retry_after_ms, 15000);
    kp_sim_pass_ms(the.sim, 14999);
    assert_int_equal(ask(&g), KP_ECREATE);
    assert_string_equal(g.why.limit, "cache_failure_ms");
    assert_int_equal(g.why.retry_after_ms, 1);
    kp_sim_pass_ms(the.sim, 1);
    assert_int_equal(ask(&g), 0);
    close_stage();
    open_stage((kp_options){ .limits = { .retry_first_ms = 10, .cache_failure_ms = KP_OFF } },
               lines);
    assert_int_equal(ask(&g), KP_ECREATE);
    assert_int_equal(g.why.retry_after_ms, KP_OFF); /* not before kp_retry_now */
    close_stage();
}

/* Another create begins when its pause is over, and there is a token. */
static void who_is_told_a_failure_must_be_told_when_the_rate_lets_another_begin(void **state)
{
    static const kp_line lines[] = { { .status = -1, .times = 1 }, { 0 } };
    struct getter g = { .key = "a", .within_ms = 5000 };

    (void)state;
    open_stage((kp_options){ .limits = { .retry_first_ms = 100, .retry_max_ms = 100 },
                             .budget = { .create_rate = 2, .create_burst = 1 } },
               lines);
    assert_int_equal(ask(&g), KP_ECREATE);
    assert_int_equal(g.why.retry_after_ms, 500);
    g.within_ms = KP_NONE;
    assert_int_equal(ask(&g), KP_EAGAIN);
    assert_string_equal(g.why.limit, "retry_first_ms");
    assert_int_equal(g.why.retry_after_ms, 500);
    g.within_ms = 5000;
    assert_int_equal(ask(&g), 0);
    assert_int_equal(g.took_ms, 500);
    close_stage();
}

static void kp_retry_now_must_answer_what_it_cannot_find(void **state)
{
    (void)state;
    open_stage((kp_options){ 0 }, NULL);
    assert_int_equal(kp_retry_now(the.pool, kp_str("nobody's")), KP_ENOTFOUND);
    assert_int_equal(kp_retry_now(the.pool, KP_EVERY_KEY), 0);
    assert_int_equal(kp_retry_now(the.pool, KP_KEY(&the.opened)), KP_EMISUSE);
    kp_lease lease = take("a");
    (void)kp_pool_close(the.pool, KP_CLOSE_NOW, KP_NONE);
    assert_int_equal(kp_retry_now(the.pool, kp_str("a")), KP_ECLOSED); /* not gone yet */
    kp_release(&lease);
    assert_int_equal(kp_retry_now(the.pool, kp_str("a")), KP_ECLOSED);
    close_stage();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_fail_fast_a_key_that_is_down_must_tell_its_cause_at_once),
        cmocka_unit_test(while_one_is_lent_requests_must_wait_for_it),
        cmocka_unit_test(who_waits_for_what_is_invalidated_must_be_told_at_once),
        cmocka_unit_test(who_waits_for_what_is_discarded_must_be_told_before_it_is_gone),
        cmocka_unit_test(a_refusal_must_stop_its_key_until_it_is_told_to_try_again),
        cmocka_unit_test(who_waits_for_a_return_must_be_served_at_once_by_kp_retry_now),
        cmocka_unit_test(kp_retry_now_must_end_the_pause_and_close_the_circuit),
        cmocka_unit_test(who_is_told_a_kept_failure_must_be_told_until_when),
        cmocka_unit_test(who_is_told_a_failure_must_be_told_when_the_rate_lets_another_begin),
        cmocka_unit_test(kp_retry_now_must_answer_what_it_cannot_find),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
