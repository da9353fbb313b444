/* SPDX-License-Identifier: MIT
 *
 * Circuits as a program sees them, on the virtual clock: by rate, with several probes, their events
 * and counters; and probes that never report an outcome, each of which must let another begin.
 */
#include "contract.h"

#define A kp_str("a")

static const kp_line down[] = { { .status = -1, .times = KP_OFF }, { 0 } };

static void begin(contract *c, int64_t failures, int32_t counts)
{
    contract_begin(c, NULL);
    c->options.limits.breaker_failures = failures;
    c->options.limits.breaker_open_ms = 5000;
    c->options.limits.breaker_counts = counts;
    c->options.limits.retry_first_ms = KP_NONE;
}

/* One use of the key, that says how it went. */
static void use(contract *c, int status)
{
    kp_lease lease;

    contract_take(c, A, &lease);
    kp_lease_report(&lease, status);
    kp_release(&lease);
}

static int get_at_once(contract *c, kp_lease *lease)
{
    return kp_get(c->pool, A, KP_ASK(.within_ms = KP_NONE), lease);
}

/* A circuit of uses that is open, and whose time is over. */
static void open_and_over(contract *c)
{
    begin(c, 1, KP_BREAK_USE);
    contract_open(c);
    use(c, -1);
    kp_sim_pass_ms(c->sim, 5000);
}

/* Another probe may begin, and it closes the circuit. */
static void must_not_be_wedged(contract *c)
{
    use(c, 0);
    assert_int_equal(c->events[KP_EVENT_BREAKER_CLOSED], 1);
    assert_int_equal(contract_stats(c, A).circuits_open, 0);
    contract_end(c);
}

/* ---- by rate --------------------------------------------------------------------------------- */

static int explains(contract *c, const char *text)
{
    char buf[600];

    (void)kp_explain(c->pool, A, buf, sizeof buf);
    return strstr(buf, text) != NULL;
}

static void half_of_the_last_twenty_must_open_it(void **state)
{
    contract c;
    kp_why why;

    (void)state;
    begin(&c, 0, KP_BREAK_USE);
    c.options.limits.breaker_rate_pct = 50;
    contract_open(&c);
    for (int i = 0; i < 19; i++) use(&c, i % 2 ? -1 : 0); /* 9 of 19 */
    assert_int_equal(contract_stats(&c, A).circuits_open, 0);
    use(&c, -1);
    assert_int_equal(contract_stats(&c, A).circuits_open, 1);
    assert_int_equal(c.events[KP_EVENT_BREAKER_OPENED], 1);
    why = contract_refused(&c, A, 100, KP_EBREAKER);
    assert_string_equal(why.limit, "breaker_rate_pct");
    assert_int_equal(why.retry_after_ms, 5000);
    assert_true(explains(&c, "circuit open for 5000 ms more (breaker_rate_pct)"));
    kp_sim_pass_ms(c.sim, 5000);
    assert_true(explains(&c, "circuit open for 0 ms more"));
    use(&c, 0);
    assert_int_equal(c.events[KP_EVENT_BREAKER_PROBING], 1);
    assert_int_equal(c.events[KP_EVENT_BREAKER_CLOSED], 1);
    for (int i = 0; i < 19; i++) use(&c, -1); /* what was before is forgotten */
    assert_int_equal(contract_stats(&c, A).circuits_open, 0);
    contract_end(&c);
}

static void what_failed_long_ago_must_not_count(void **state)
{
    contract c;

    (void)state;
    begin(&c, 0, KP_BREAK_USE);
    c.options.limits.breaker_rate_pct = 50;
    c.options.limits.breaker_calls = 10;
    contract_open(&c);
    for (int i = 0; i < 9; i++) use(&c, -1);
    kp_sim_pass_ms(c.sim, 10000);
    for (int i = 0; i < 9; i++) use(&c, -1);
    assert_int_equal(contract_stats(&c, A).circuits_open, 0);
    kp_sim_pass_ms(c.sim, 8700);
    use(&c, -1); /* with nine of no more than 7/8 of the window ago, at least */
    assert_int_equal(contract_stats(&c, A).circuits_open, 1);
    contract_end(&c);
}

static void creates_must_count_by_rate_too(void **state)
{
    contract c;

    (void)state;
    begin(&c, 0, KP_BREAK_CREATE);
    c.options.limits.breaker_rate_pct = 100;
    c.options.limits.breaker_calls = 3;
    c.script.create = down;
    contract_open(&c);
    for (int i = 0; i < 3; i++) (void)contract_refused(&c, A, 100, KP_ECREATE);
    (void)contract_refused(&c, A, 100, KP_EBREAKER);
    contract_end(&c);
}

/* ---- several probes -------------------------------------------------------------------------- */

static void three_in_a_row_must_close_it_and_no_more_be_let_through_at_once(void **state)
{
    contract c;
    kp_lease lease[4];

    (void)state;
    begin(&c, 1, KP_BREAK_USE);
    c.options.limits.breaker_probes = 3;
    contract_open(&c);
    use(&c, -1);
    kp_sim_pass_ms(c.sim, 5000);
    for (int i = 0; i < 3; i++) assert_int_equal(get_at_once(&c, &lease[i]), 0);
    assert_int_equal(contract_stats(&c, A).circuits_probing, 1);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).circuits_probing, 1);
    assert_int_equal(get_at_once(&c, &lease[3]), KP_EBREAKER);
    kp_lease_report(&lease[0], 0);
    assert_true(explains(&c, "circuit half-open: 2 probes under way, 1 in a row succeeded"));
    kp_lease_report(&lease[1], 0);
    assert_int_equal(c.events[KP_EVENT_BREAKER_CLOSED], 0);
    kp_lease_report(&lease[2], 0);
    assert_int_equal(c.events[KP_EVENT_BREAKER_CLOSED], 1);
    assert_int_equal(c.events[KP_EVENT_BREAKER_PROBING], 1);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).circuits_open, 0);
    for (int i = 0; i < 3; i++) kp_release(&lease[i]);
    contract_end(&c);
}

static void one_that_fails_must_open_it_again(void **state)
{
    contract c;

    (void)state;
    begin(&c, 1, KP_BREAK_USE);
    c.options.limits.breaker_probes = 2;
    contract_open(&c);
    use(&c, -1);
    kp_sim_pass_ms(c.sim, 5000);
    use(&c, 0);
    use(&c, -1);
    assert_int_equal(c.events[KP_EVENT_BREAKER_OPENED], 2);
    assert_int_equal(contract_refused(&c, A, 100, KP_EBREAKER).retry_after_ms, 5000);
    kp_sim_pass_ms(c.sim, 5000);
    use(&c, 0);
    assert_int_equal(contract_stats(&c, A).circuits_probing, 1); /* they begin anew */
    use(&c, 0);
    assert_int_equal(contract_stats(&c, A).circuits_open, 0);
    contract_end(&c);
}

/* A use that began before the circuit opened says nothing about now. */
static void a_lease_of_before_must_not_close_it(void **state)
{
    contract c;
    kp_lease old;

    (void)state;
    begin(&c, 1, KP_BREAK_USE);
    contract_open(&c);
    contract_take(&c, A, &old);
    use(&c, -1);
    kp_lease_report(&old, 0);
    assert_int_equal(contract_stats(&c, A).circuits_open, 1);
    kp_sim_pass_ms(c.sim, 5000);
    use(&c, -1); /* the probe */
    kp_lease_report(&old, 0);
    assert_int_equal(contract_stats(&c, A).circuits_open, 1);
    kp_release(&old);
    kp_sim_pass_ms(c.sim, 5000);
    must_not_be_wedged(&c);
}

/* ---- probes that say nothing ----------------------------------------------------------------- */

static void a_probe_that_is_discarded_must_let_another_begin(void **state)
{
    contract c;
    kp_lease lease;

    (void)state;
    open_and_over(&c);
    contract_take(&c, A, &lease);
    kp_discard(&lease);
    must_not_be_wedged(&c);
}

static void a_probe_that_is_invalidated_must_let_another_begin(void **state)
{
    contract c;
    kp_lease lease;

    (void)state;
    open_and_over(&c);
    contract_take(&c, A, &lease);
    assert_int_equal(kp_invalidate(c.pool, lease.resource), 1);
    kp_release(&lease);
    must_not_be_wedged(&c);
}

static void a_probe_that_is_leaked_must_let_another_begin_in_time(void **state)
{
    contract c;
    kp_lease lost, other;

    (void)state;
    open_and_over(&c);
    contract_take(&c, A, &lost);
    kp_sim_pass_ms(c.sim, 4999);
    assert_int_equal(get_at_once(&c, &other), KP_EBREAKER);
    kp_sim_pass_ms(c.sim, 1);
    use(&c, 0);
    assert_int_equal(contract_stats(&c, A).circuits_open, 0);
    kp_release(&lost);
    contract_end(&c);
}

static void a_probe_whose_create_times_out_must_let_another_begin(void **state)
{
    static const kp_line slow[] = { { .times = 1 }, { .blocks_ms = 300, .status = -5, .times = 1 },
                                    { .times = KP_OFF }, { 0 } };
    contract c;
    kp_lease lease;

    (void)state;
    begin(&c, 1, KP_BREAK_USE);
    c.script.create = slow;
    contract_open(&c);
    contract_take(&c, A, &lease);
    kp_lease_report(&lease, -1);
    kp_discard(&lease);
    kp_sim_pass_ms(c.sim, 5000);
    (void)contract_refused(&c, A, 100, KP_ECREATE);
    must_not_be_wedged(&c);
}

/* Also where there is a pause after failed creates, in which a probe is the only create. */
static void a_probe_whose_create_hangs_must_let_another_begin_in_time(void **state)
{
    static const kp_line hangs[] = { { .status = -5, .times = 1 }, { .takes_ms = 60000 }, { 0 } };
    contract c;

    (void)state;
    begin(&c, 1, KP_BREAK_CREATE);
    c.options.limits.retry_first_ms = c.options.limits.retry_max_ms = 100;
    c.script.create = hangs;
    contract_open(&c);
    (void)contract_refused(&c, A, 100, KP_ECREATE);
    kp_sim_pass_ms(c.sim, 5000);
    (void)contract_refused(&c, A, 100, KP_ETIMEDOUT); /* the probe */
    kp_sim_pass_ms(c.sim, 4899);
    (void)contract_refused(&c, A, 100, KP_EBREAKER);
    kp_sim_pass_ms(c.sim, 1);
    use(&c, 0);
    assert_int_equal(contract_stats(&c, A).circuits_open, 0);
    kp_sim_pass_ms(c.sim, 60000);
    contract_end(&c);
}

static void who_waits_for_a_return_must_be_no_probe(void **state)
{
    contract c;
    kp_lease lease;

    (void)state;
    begin(&c, 1, KP_BREAK_USE);
    contract_open(&c);
    contract_take(&c, A, &lease);
    kp_lease_report(&lease, -1);
    kp_discard(&lease);
    kp_sim_pass_ms(c.sim, 5000);
    assert_int_equal(kp_get(c.pool, A, KP_ASK(.flags = KP_DONT_CREATE, .within_ms = 1), &lease),
                     KP_ETIMEDOUT);
    must_not_be_wedged(&c);
}

static void a_key_that_is_forgotten_must_begin_anew(void **state)
{
    contract c;
    kp_lease lease;

    (void)state;
    begin(&c, 1, KP_BREAK_CREATE);
    c.options.forget_key_after_ms = 1000;
    c.options.limits.breaker_open_ms = KP_OFF;
    c.script.create = down;
    contract_open(&c);
    (void)contract_refused(&c, A, 100, KP_ECREATE);
    assert_int_equal(get_at_once(&c, &lease), KP_EBREAKER);
    assert_true(explains(&c, "circuit open until kp_retry_now"));
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).circuits_open, 1);
    kp_sim_pass_ms(c.sim, 1001);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).keys, 0);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).circuits_open, 0);
    (void)contract_refused(&c, A, 100, KP_ECREATE);
    contract_end(&c);
}

/* ---- from outside ---------------------------------------------------------------------------- */

static void limits_without_a_circuit_must_close_it(void **state)
{
    const kp_limits off = { .breaker_failures = KP_OFF };
    contract c;

    (void)state;
    open_and_over(&c);
    assert_int_equal(kp_limits_set(c.pool, A, &off, NULL), 0);
    assert_int_equal(c.events[KP_EVENT_BREAKER_CLOSED], 1);
    assert_int_equal(contract_stats(&c, A).circuits_open, 0);
    contract_end(&c);
}

static void retry_now_must_close_it_and_say_so(void **state)
{
    contract c;
    kp_lease lease;

    (void)state;
    begin(&c, 1, KP_BREAK_USE);
    contract_open(&c);
    use(&c, -1);
    assert_int_equal(get_at_once(&c, &lease), KP_EBREAKER);
    assert_int_equal(kp_retry_now(c.pool, A), 0);
    must_not_be_wedged(&c);
}

/* breaker_open_ms = KP_OFF: no time is over by itself. */
static void a_circuit_without_end_must_say_so(void **state)
{
    contract c;
    kp_why why;

    (void)state;
    begin(&c, 1, KP_BREAK_USE);
    c.options.limits.breaker_open_ms = KP_OFF;
    contract_open(&c);
    use(&c, -1);
    why = contract_refused(&c, A, 100, KP_EBREAKER);
    assert_int_equal(why.retry_after_ms, KP_OFF);
    assert_true(explains(&c, "circuit open until kp_retry_now"));
    assert_int_equal(kp_retry_now(c.pool, A), 0);
    must_not_be_wedged(&c);
}

/* What opened it is told with the refusal, as where creates opened it; and to who warms. */
static void the_use_that_failed_must_be_told_with_every_refusal(void **state)
{
    kp_key key = A;
    contract c;
    kp_why why;

    (void)state;
    begin(&c, 2, KP_BREAK_CREATE | KP_BREAK_USE);
    contract_open(&c);
    use(&c, -7);
    use(&c, -5);
    why = contract_refused(&c, A, 100, KP_EBREAKER);
    assert_string_equal(why.text, "the circuit of this key is open after repeated failures; "
                                  "last use failed with -5");
    assert_int_equal(why.vendor_code, -5);
    assert_true(explains(&c, "circuit open for 5000 ms more (breaker_failures); "
                             "last use failed with -5"));
    assert_int_equal(kp_invalidate_key(c.pool, A), 1);
    assert_int_equal(kp_warm(c.pool, &key, 1, KP_ASK(.why = &why)), 0);
    assert_non_null(strstr(why.text, "; last use failed with -5"));
    assert_int_equal(why.vendor_code, -5);
    contract_end(&c);
}

static void a_code_of_the_library_must_be_told_in_words(void **state)
{
    contract c;
    kp_why why;

    (void)state;
    begin(&c, 1, KP_BREAK_USE);
    contract_open(&c);
    use(&c, KP_EGONE);
    why = contract_refused(&c, A, 100, KP_EBREAKER);
    assert_non_null(strstr(why.text, "; last use failed: the peer of this resource is gone"));
    assert_int_equal(why.vendor_code, KP_EGONE);
    contract_end(&c);
}

static int as_told(kp_lease *lease, void *arg)
{
    (void)lease;
    return *(int *)arg;
}

static void kp_use_must_report_its_outcomes(void **state)
{
    int bad = -5, good = 0;
    contract c;

    (void)state;
    begin(&c, 0, KP_BREAK_USE);
    c.options.limits.breaker_rate_pct = 60;
    c.options.limits.breaker_calls = 5;
    contract_open(&c);
    for (int i = 0; i < 5; i++) {
        int *status = i < 2 ? &good : &bad;
        assert_int_equal(kp_use(c.pool, A, NULL, as_told, status), *status);
    }
    assert_int_equal(kp_use(c.pool, A, NULL, as_told, &good), KP_EBREAKER);
    kp_sim_pass_ms(c.sim, 5000);
    assert_int_equal(kp_use(c.pool, A, NULL, as_told, &good), 0);
    must_not_be_wedged(&c);
}

static void what_contradicts_itself_must_be_refused(void **state)
{
    kp_options o = { .limits = { .breaker_rate_pct = 50, .breaker_counts = KP_NONE } };
    kp_why why;
    kp_pool *pool;

    (void)state;
    o.why = &why;
    assert_int_equal(kp_pool_open(&o, &pool), KP_ECONFIG);
    assert_string_equal(why.field, "limits.breaker_rate_pct");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(half_of_the_last_twenty_must_open_it),
        cmocka_unit_test(what_failed_long_ago_must_not_count),
        cmocka_unit_test(creates_must_count_by_rate_too),
        cmocka_unit_test(three_in_a_row_must_close_it_and_no_more_be_let_through_at_once),
        cmocka_unit_test(one_that_fails_must_open_it_again),
        cmocka_unit_test(a_lease_of_before_must_not_close_it),
        cmocka_unit_test(a_probe_that_is_discarded_must_let_another_begin),
        cmocka_unit_test(a_probe_that_is_invalidated_must_let_another_begin),
        cmocka_unit_test(a_probe_that_is_leaked_must_let_another_begin_in_time),
        cmocka_unit_test(a_probe_whose_create_times_out_must_let_another_begin),
        cmocka_unit_test(a_probe_whose_create_hangs_must_let_another_begin_in_time),
        cmocka_unit_test(who_waits_for_a_return_must_be_no_probe),
        cmocka_unit_test(a_key_that_is_forgotten_must_begin_anew),
        cmocka_unit_test(limits_without_a_circuit_must_close_it),
        cmocka_unit_test(retry_now_must_close_it_and_say_so),
        cmocka_unit_test(a_circuit_without_end_must_say_so),
        cmocka_unit_test(the_use_that_failed_must_be_told_with_every_refusal),
        cmocka_unit_test(a_code_of_the_library_must_be_told_in_words),
        cmocka_unit_test(kp_use_must_report_its_outcomes),
        cmocka_unit_test(what_contradicts_itself_must_be_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
