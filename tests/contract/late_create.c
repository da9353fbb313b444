/* SPDX-License-Identifier: MIT
 *
 * driver.cancel for a creation whose time is over and for which no request waits: one that was
 * begun in the background, or whose request was served by something else. And what the driver may
 * read meanwhile.
 */
#include "contract.h"

enum { MOST = 8 };

static contract c;
static char things[MOST];
static int makes, cancels;
static kp_job *jobs[MOST];
static kp_gate gate;
static bool waits;
static char seen[128];

static int make_later(kp_job *job, void **resource)
{
    (void)resource;
    jobs[makes++] = job;
    return KP_PENDING;
}

static int drop(kp_job *job, void *resource)
{
    (void)job;
    (void)resource;
    return 0;
}

static void hurry(kp_job *job)
{
    cancels++;
    if (!waits) {
        kp_job_done(job, -1, NULL);
        return;
    }
    kp_gate_pass(c.sim, &gate);         /* another thread answers it meanwhile */
    (void)snprintf(seen, sizeof seen, "%.*s", (int)job->key.size, (const char *)job->key.data);
}

static void open_with(void (*cancel)(kp_job *job))
{
    makes = cancels = 0;
    gate = (kp_gate){ 0, 0 };
    waits = false;
    seen[0] = '\0';
    contract_begin(&c, NULL);
    c.options.limits.create_timeout_ms = 500;
    c.options.limits.max_live = 2;
    c.options.limits.retry_first_ms = c.options.limits.retry_max_ms = 60000;
    contract_open_driver(&c, &(kp_driver){ .create = make_later, .destroy = drop,
                                           .cancel = cancel });
}

static void warm(const char *key)
{
    kp_key keys[] = { kp_str(key) };

    assert_int_equal(kp_warm(c.pool, keys, 1, NULL), 0);
    (void)kp_sim_settle(c.sim);
}

static void in_the_background_it_must_be_hurried_at_its_timeout(void **state)
{
    (void)state;
    open_with(hurry);
    warm("a");
    assert_int_equal(makes, 1);
    kp_sim_pass_ms(c.sim, 499);
    assert_int_equal(cancels, 0);
    kp_sim_pass_ms(c.sim, 1);
    assert_int_equal(cancels, 1);
    assert_int_equal(contract_stats(&c, kp_str("a")).creating, 0);
    contract_end(&c);
}

static void get_and_hold(void *arg)
{
    kp_lease *lease = arg;
    int rc = kp_get(c.pool, kp_str("a"), NULL, lease);

    if (rc != 0) contract_broken(&c, "the get was answered %d", rc);
}

static void whose_request_was_served_otherwise_must_be_hurried_at_its_timeout(void **state)
{
    kp_lease lease[2] = { { 0 } };

    (void)state;
    open_with(hurry);
    for (int i = 0; i < 2; i++) {
        assert_true(kp_sim_spawn(c.sim, get_and_hold, &lease[i]) > 0);
        (void)kp_sim_settle(c.sim);
        if (i == 0) kp_job_done(jobs[0], 0, &things[0]);
    }
    assert_int_equal(makes, 2);
    kp_release(&lease[0]);              /* which serves the second */
    kp_sim_join(c.sim, 0);
    assert_ptr_equal(lease[1].resource, &things[0]);
    kp_sim_pass_ms(c.sim, 499);
    assert_int_equal(cancels, 0);
    kp_sim_pass_ms(c.sim, 1);
    assert_int_equal(cancels, 1);
    assert_int_equal(contract_stats(&c, kp_str("a")).live, 1);
    kp_release(&lease[1]);
    contract_end(&c);
}

static void that_is_answered_in_time_must_not_be_hurried(void **state)
{
    (void)state;
    open_with(hurry);
    warm("a");
    kp_sim_pass_ms(c.sim, 499);
    kp_job_done(jobs[0], 0, &things[0]);
    kp_sim_pass_ms(c.sim, 1000);
    assert_int_equal(cancels, 0);
    assert_int_equal(contract_stats(&c, kp_str("a")).idle, 1);
    contract_end(&c);
}

static void without_driver_cancel_it_must_be_waited_for(void **state)
{
    (void)state;
    open_with(NULL);
    warm("a");
    kp_sim_pass_ms(c.sim, 1000);
    assert_int_equal(contract_stats(&c, kp_str("a")).creating, 1);
    kp_job_done(jobs[0], 0, &things[0]);
    assert_int_equal(contract_stats(&c, kp_str("a")).idle, 1);
    contract_end(&c);
}

static void its_key_must_stay_while_driver_cancel_reads_it(void **state)
{
    static const char key[] = "a key that is too long to lie within its subpool: it has memory of "
                              "its own";

    (void)state;
    open_with(hurry);
    waits = true;
    warm(key);
    kp_sim_pass_ms(c.sim, 500);
    assert_int_equal(cancels, 1);
    kp_job_done(jobs[0], -1, NULL);
    assert_int_equal(kp_drop(c.pool, kp_str(key), KP_NONE), 0);
    kp_gate_open(c.sim, &gate);
    (void)kp_sim_settle(c.sim);
    assert_string_equal(seen, key);
    contract_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_the_background_it_must_be_hurried_at_its_timeout),
        cmocka_unit_test(whose_request_was_served_otherwise_must_be_hurried_at_its_timeout),
        cmocka_unit_test(that_is_answered_in_time_must_not_be_hurried),
        cmocka_unit_test(without_driver_cancel_it_must_be_waited_for),
        cmocka_unit_test(its_key_must_stay_while_driver_cancel_reads_it),
    };
    return cmocka_run_group_tests_name("creations that are late", tests, NULL, NULL);
}
