/* SPDX-License-Identifier: MIT
 *
 * Circuits of uses whose probe is lent what has to be validated first, while its thread stands by.
 */
#include "contract.h"

#define A kp_str("a")

static int checks; /* so far; the first is pending until it is called off, or the end of the test */
static kp_job *pending;

static int validate(kp_job *job, void *resource)
{
    (void)resource;
    if (checks++ > 0) return 0;
    pending = job;
    return KP_PENDING;
}

static void bad(kp_job *job)
{
    pending = NULL;
    (void)kp_job_done(job, -1, NULL);
}

/* A circuit that is open after one use, and whose time is over; two are idle, and stale. */
static void begin(contract *c, bool cancels)
{
    kp_driver driver;
    kp_lease lease[2];

    contract_begin(c, NULL);
    c->options.limits.breaker_failures = 1;
    c->options.limits.breaker_open_ms = 5000;
    c->options.limits.breaker_counts = KP_BREAK_USE;
    c->options.limits.validate_after_ms = 1000;
    c->options.limits.validate_timeout_ms = 100;
    c->script.sim = c->sim;
    assert_int_equal(kp_cast_open(&c->script, &c->cast), 0);
    driver = kp_cast_driver(c->cast);
    driver.validate = validate;
    driver.cancel = cancels ? bad : NULL;
    contract_open_driver(c, &driver);
    contract_take_all(c, A, lease, 2);
    kp_lease_report(&lease[0], -1);
    contract_give_all(c, lease, 2);
    kp_sim_pass_ms(c->sim, 5000);
    checks = 0;
}

/* Its own mark is not in its way to another resource: neither while there is no answer, nor if that
 * comes before it goes on, with which the resource is gone. */
static void a_probe_whose_check_takes_too_long_must_go_on_with_another(void **state)
{
    (void)state;
    for (int cancels = 0; cancels < 2; cancels++) {
        contract c;
        kp_lease lease;
        begin(&c, cancels);
        contract_take(&c, A, &lease);
        assert_int_equal(checks, 2);
        assert_int_equal(contract_stats(&c, A).live, 2 - cancels);
        (void)contract_refused(&c, A, 100, KP_EBREAKER); /* one probe at a time */
        kp_lease_report(&lease, 0);
        kp_release(&lease);
        assert_int_equal(c.events[KP_EVENT_BREAKER_CLOSED], 1);
        if (pending) bad(pending);
        contract_end(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_probe_whose_check_takes_too_long_must_go_on_with_another),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
