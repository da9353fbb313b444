/* SPDX-License-Identifier: MIT
 *
 * What upkeep and kp_warm do about a circuit: while it is open they make nothing; after that a
 * creation of theirs may be the probe, if no request is.
 */
#include "contract.h"

#define A kp_str("a")

/* The server is down for so many creates. */
static const kp_line for_two[] = { { .status = -1, .times = 2 }, { 0 } },
                     for_three[] = { { .status = -1, .times = 3 }, { 0 } },
                     for_four[] = { { .status = -1, .times = 4 }, { 0 } };

static void begin(contract *c)
{
    contract_begin(c, NULL);
    c->options.limits.breaker_failures = 2;
    c->options.limits.breaker_open_ms = 5000;
    c->options.limits.retry_first_ms = 1;
    c->options.limits.retry_max_ms = 1;
    c->options.deadline_ms = 60000;
}

static int64_t warm(contract *c, int64_t within_ms, kp_why *why)
{
    kp_key key = A;

    return kp_warm(c->pool, &key, 1, KP_ASK(.within_ms = within_ms, .why = why));
}

/* At start-up the server is down: the circuit opens, and the program is told when to come back. */
static void open_at_start(contract *c, const kp_line *down)
{
    kp_why why;

    c->script.create = down;
    contract_open(c);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(warm(c, 1000, &why), 0);
        assert_int_equal(why.code, KP_ECREATE);
    }
    assert_int_equal(c->events[KP_EVENT_BREAKER_OPENED], 1);
}

static void who_warms_must_be_told_of_the_circuit(void **state)
{
    contract c;
    kp_why why;

    (void)state;
    begin(&c);
    open_at_start(&c, for_two);
    int64_t at = kp_sim_now_ms(c.sim);
    assert_int_equal(warm(&c, 60000, &why), 0);
    assert_int_equal(kp_sim_now_ms(c.sim), at);
    assert_int_equal(why.code, KP_EBREAKER);
    assert_string_equal(why.limit, "breaker_failures");
    assert_int_equal(why.retry_after_ms, 5000);
    assert_int_not_equal(why.vendor_code, 0);
    assert_non_null(strstr(why.text, "last create failed"));
    contract_end(&c);
}

static void who_warms_may_be_the_probe(void **state)
{
    contract c;
    kp_why why;

    (void)state;
    begin(&c);
    open_at_start(&c, for_three);
    kp_sim_pass_ms(c.sim, 5000);
    assert_int_equal(warm(&c, 1000, &why), 0); /* a probe that fails opens it again */
    assert_int_equal(why.code, KP_ECREATE);
    assert_int_equal(c.events[KP_EVENT_BREAKER_PROBING], 1);
    assert_int_equal(c.events[KP_EVENT_BREAKER_OPENED], 2);
    assert_int_equal(warm(&c, 1000, &why), 0);
    assert_int_equal(why.code, KP_EBREAKER);
    kp_sim_pass_ms(c.sim, why.retry_after_ms);
    assert_int_equal(warm(&c, 1000, &why), 1);
    assert_int_equal(c.events[KP_EVENT_BREAKER_PROBING], 2);
    assert_int_equal(c.events[KP_EVENT_BREAKER_CLOSED], 1);
    assert_int_equal(contract_stats(&c, A).circuits_open, 0);
    contract_end(&c);
}

static void a_warm_up_in_the_background_must_come_about_when_the_server_is_back(void **state)
{
    kp_key key = A;
    contract c;

    (void)state;
    begin(&c);
    c.options.limits.min_live = 3;
    open_at_start(&c, for_four);
    assert_int_equal(kp_warm(c.pool, &key, 1, NULL), 0);
    kp_sim_pass_ms(c.sim, 4999);
    assert_int_equal(c.events[KP_EVENT_CREATE_FAILED], 2);
    kp_sim_pass_ms(c.sim, 10000); /* one probe each time that its time is over */
    assert_int_equal(c.events[KP_EVENT_CREATE_FAILED], 4);
    kp_sim_pass_ms(c.sim, 5000);
    assert_int_equal(contract_stats(&c, A).idle, 3);
    assert_int_equal(c.events[KP_EVENT_BREAKER_CLOSED], 1);
    contract_end(&c);
}

/* Nobody asks for anything: the key gets back what it lost in the outage. */
static void an_eager_minimum_must_be_filled_without_a_request(void **state)
{
    static const kp_line lines[] = { { .times = 2 }, { .status = -1, .times = 2 }, { 0 } };
    contract c;
    kp_why why;

    (void)state;
    begin(&c);
    c.options.limits.min_live = 2;
    c.options.limits.refill = KP_REFILL_EAGER;
    c.script.create = lines;
    contract_open(&c);
    assert_int_equal(warm(&c, 1000, &why), 1);
    assert_int_equal(kp_invalidate_key(c.pool, A), 2);
    kp_sim_pass_ms(c.sim, 1000);
    assert_int_equal(contract_stats(&c, A).circuits_open, 1);
    kp_sim_pass_ms(c.sim, 5000);
    assert_int_equal(contract_stats(&c, A).idle, 2);
    assert_int_equal(contract_stats(&c, A).circuits_open, 0);
    contract_end(&c);
}

/* Its creation takes as long as it likes; a request is no further probe meanwhile. */
static void there_must_be_no_more_probes_than_the_rule_says(void **state)
{
    static const kp_line slow[] = { { .status = -1, .times = 2 },
                                    { .takes_ms = 800, .times = KP_OFF }, { 0 } };
    kp_key key = A;
    kp_lease lease;
    contract c;

    (void)state;
    begin(&c);
    c.options.limits.min_live = 2;
    open_at_start(&c, slow);
    assert_int_equal(kp_warm(c.pool, &key, 1, NULL), 0);
    kp_sim_pass_ms(c.sim, 5000);
    assert_int_equal(contract_stats(&c, A).creating, 1);
    assert_int_equal(contract_stats(&c, A).circuits_probing, 1);
    assert_int_equal(kp_get(c.pool, A, KP_IN_S(1), &lease), KP_EBREAKER);
    kp_sim_pass_ms(c.sim, 1600);
    assert_int_equal(contract_stats(&c, A).idle, 2);
    contract_end(&c);
}

/* What is made says nothing about uses: the background goes on after breaker_open_ms, and leaves
 * the probe to a request. */
static void a_circuit_of_uses_must_be_left_to_requests(void **state)
{
    kp_lease lease;
    kp_why why;
    contract c;

    (void)state;
    begin(&c);
    c.options.limits.breaker_failures = 1;
    c.options.limits.breaker_counts = KP_BREAK_USE;
    c.options.limits.min_live = 2;
    contract_open(&c);
    contract_take(&c, A, &lease);
    kp_lease_report(&lease, -1);
    kp_discard(&lease);
    assert_int_equal(warm(&c, 1000, &why), 0);
    assert_int_equal(why.code, KP_EBREAKER);
    kp_sim_pass_ms(c.sim, 5000);
    assert_int_equal(warm(&c, 1000, &why), 1);
    assert_int_equal(c.events[KP_EVENT_BREAKER_PROBING], 0);
    assert_int_equal(contract_stats(&c, A).circuits_open, 1);
    contract_take(&c, A, &lease);
    kp_lease_report(&lease, 0);
    kp_release(&lease);
    assert_int_equal(contract_stats(&c, A).circuits_open, 0);
    contract_end(&c);
}

/* The probe's memory is refused: the next one may begin. */
static void a_probe_without_memory_must_let_another_begin(void **state)
{
    kp_key key = A;
    contract c;
    kp_why why;

    (void)state;
    begin(&c);
    c.options.limits.sharing = 2; /* each resource needs memory of its own */
    open_at_start(&c, for_two);
    kp_sim_pass_ms(c.sim, 5000);
    kp_sim_fail_alloc(c.sim, 1, true);
    assert_int_equal(kp_warm(c.pool, &key, 1, KP_ASK(.within_ms = KP_NONE)), 0);
    kp_sim_fail_alloc(c.sim, 0, false);
    assert_int_equal(warm(&c, 1000, &why), 1);
    assert_int_equal(contract_stats(&c, A).circuits_open, 0);
    contract_end(&c);
}

static void who_warms_must_be_told_of_probes_that_are_out(void **state)
{
    contract c;
    kp_lease lease;
    kp_why why;

    (void)state;
    begin(&c);
    c.options.limits.min_live = 2;
    c.options.limits.prefill = KP_PREFILL_NONE;
    c.options.limits.breaker_failures = 1;
    c.options.limits.breaker_counts = KP_BREAK_USE;
    c.options.budget.create_rate = 1;
    contract_open(&c);
    contract_take(&c, A, &lease);
    kp_lease_report(&lease, -1);
    kp_discard(&lease);
    kp_sim_pass_ms(c.sim, 5000);
    contract_take(&c, kp_str("b"), &lease);
    kp_release(&lease);
    assert_int_equal(warm(&c, 100, &why), 0); /* none is out yet */
    assert_string_equal(why.limit, "budget.create_rate");
    kp_sim_pass_ms(c.sim, 1000);
    contract_take(&c, A, &lease); /* the probe */
    assert_int_equal(warm(&c, 100, &why), 0);
    assert_int_equal(why.code, KP_ETIMEDOUT);
    assert_string_equal(why.limit, "breaker_failures");
    kp_release(&lease);
    contract_end(&c);
}

/* Of a pause, a circuit that has just opened, or a token. */
static void who_warms_must_be_told_when_to_try_again(void **state)
{
    contract c;
    kp_lease lease;
    kp_why why;

    (void)state;
    begin(&c);
    c.options.limits.retry_first_ms = c.options.limits.retry_max_ms = 4000;
    c.script.create = for_two;
    contract_open(&c);
    assert_int_equal(warm(&c, 1000, &why), 0);
    assert_int_equal(why.code, KP_ECREATE);
    int64_t pause = why.retry_after_ms;
    assert_true(pause > 10);
    assert_int_equal(warm(&c, 10, &why), 0);
    assert_string_equal(why.limit, "retry_first_ms");
    assert_int_equal(why.retry_after_ms, pause - 10);
    kp_sim_pass_ms(c.sim, pause - 10);
    assert_int_equal(warm(&c, 1000, &why), 0);
    assert_int_equal(why.code, KP_ECREATE);
    assert_int_equal(why.retry_after_ms, 5000);
    contract_end(&c);

    begin(&c);
    c.options.budget.create_rate = 1;
    contract_open(&c);
    contract_take(&c, kp_str("b"), &lease);
    assert_int_equal(warm(&c, 10, &why), 0);
    assert_string_equal(why.limit, "budget.create_rate");
    assert_int_equal(why.retry_after_ms, 990);
    kp_release(&lease);
    contract_end(&c);
}

/* The pause holds for what nobody asked for, however soon the circuit lets probes through. */
static void who_warms_must_be_told_of_a_pause_that_is_longer_than_the_circuit(void **state)
{
    contract c;
    kp_why why;

    (void)state;
    begin(&c);
    c.options.limits.breaker_failures = 1;
    c.options.limits.breaker_open_ms = 100;
    c.options.limits.retry_first_ms = c.options.limits.retry_max_ms = 30000;
    c.script.create = for_two;
    contract_open(&c);
    assert_int_equal(warm(&c, 1000, &why), 0);
    assert_int_equal(why.code, KP_ECREATE);
    int64_t pause = why.retry_after_ms;
    assert_true(pause > 100);
    assert_int_equal(warm(&c, 1000, &why), 0);
    assert_int_equal(why.code, KP_EBREAKER);
    assert_int_equal(why.retry_after_ms, pause);
    contract_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_warms_must_be_told_of_the_circuit),
        cmocka_unit_test(who_warms_may_be_the_probe),
        cmocka_unit_test(a_warm_up_in_the_background_must_come_about_when_the_server_is_back),
        cmocka_unit_test(an_eager_minimum_must_be_filled_without_a_request),
        cmocka_unit_test(there_must_be_no_more_probes_than_the_rule_says),
        cmocka_unit_test(a_circuit_of_uses_must_be_left_to_requests),
        cmocka_unit_test(a_probe_without_memory_must_let_another_begin),
        cmocka_unit_test(who_warms_must_be_told_of_probes_that_are_out),
        cmocka_unit_test(who_warms_must_be_told_when_to_try_again),
        cmocka_unit_test(who_warms_must_be_told_of_a_pause_that_is_longer_than_the_circuit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
