/* SPDX-License-Identifier: MIT
 *
 * Effect: what callbacks may do, counters, close, and the guide's load test.
 */
#include <stdlib.h>

#include "scripts.h"

/* ---- callbacks, counters --------------------------------------------------------------------- */

typedef struct inside {
    contract *c;
    int rc;
    kp_stats stats;
    kp_gate gate;
} inside;

/* Looks into its own pool and waits until the test lets it go on: neither works under a lock of
 * the pool. */
static int create_that_looks_in(kp_job *job, void **resource)
{
    inside *in = job->ctx;
    if (job->key.size == 4) {
        in->rc = kp_stats_read(job->pool, job->key, &in->stats);
        kp_gate_pass(in->c->sim, &in->gate);
    }
    *resource = malloc(1);
    return *resource ? 0 : KP_ENOMEM;
}

static int free_it(kp_job *job, void *resource)
{
    (void)job;
    free(resource);
    return 0;
}

static void get_slow(void *arg)
{
    contract *c = arg;
    kp_lease lease;
    if (kp_get(c->pool, kp_str("slow"), NULL, &lease) == 0) {
        kp_release(&lease);
    } else {
        contract_broken(c, "the slow get failed");
    }
}

/* B-CB-06, L3 */
static void a_create_must_be_able_to_look_into_the_pool_and_hold_up_no_other_key(void **state)
{
    contract c;
    inside in = { .c = &c };
    kp_driver driver = { .create = create_that_looks_in, .destroy = free_it, .ctx = &in };
    (void)state;
    contract_begin(&c, "effect-fixed %d", 1);
    contract_open_driver(&c, &driver);
    assert_true(kp_sim_spawn(c.sim, get_slow, &c) > 0);
    contract_rest(&c);
    assert_int_equal(in.gate.entered, 1);
    assert_int_equal(in.rc, 0);
    assert_int_equal(in.stats.creating, 1);
    for (int i = 0; i < 10; i++) {
        kp_lease lease;
        assert_int_equal(kp_get(c.pool, kp_str("other"), KP_IN_MS(1), &lease), 0);
        contract_give(&c, &lease);
    }
    assert_int_equal(kp_sim_now_ms(c.sim), 0);
    kp_gate_open(c.sim, &in.gate);
    kp_sim_join(c.sim, 0);
    contract_end(&c);
}

/* B-MET-02 */
static void creates_and_destroys_seen_by_the_driver_must_be_what_the_counters_say(void **state)
{
    contract c;
    kp_lease leases[3];
    kp_stats all;
    (void)state;
    contract_begin(&c, "effect-range %d %d %s", 0, 3, "60s");
    c.script.create = three_failures;
    contract_open(&c);
    for (int i = 0; i < 3; i++) {
        (void)contract_refused(&c, EU, 0, KP_ECREATE);
    }
    contract_take_all(&c, EU, leases, 3);
    kp_discard(&leases[0]);
    contract_give(&c, &leases[1]);
    all = contract_stats(&c, KP_EVERY_KEY);
    assert_int_equal(all.creates, kp_cast_read(c.cast).creates);
    assert_int_equal(all.create_failures, kp_cast_read(c.cast).create_failures);
    assert_int_equal(all.create_failures, 3);
    assert_int_equal(all.destroys, kp_cast_read(c.cast).destroys);
    assert_int_equal(all.live, kp_cast_read(c.cast).live);
    assert_int_equal(all.gets, 3);
    assert_int_equal(all.refusals, 3);
    assert_int_equal(all.leases, 1);
    contract_give(&c, &leases[2]);
    contract_end(&c);
}

/* ---- close ----------------------------------------------------------------------------------- */

static void close_of(void *pool)
{
    (void)kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(5));
}

/* B-CFG-24, B-SHUT-04: a pool as a service: one handle for all, closed by the scope of the
 * application */
static void a_pool_owned_by_a_scope_must_serve_all_and_close_when_the_scope_closes(void **state)
{
    contract c;
    kp_scope application = { 0 };
    getter components[10];
    (void)state;
    contract_begin(&c, "effect-fixed %d", 3);
    contract_open(&c);
    assert_int_equal(kp_scope_defer(&application, close_of, c.pool), 0);
    contract_start(&c, components, 10, EU, NULL);
    kp_sim_join(c.sim, 0);
    contract_rest(&c);
    assert_int_equal(contract_answered(components, 10), 10);
    kp_scope_close(&application);
    assert_false(kp_is_pool(c.pool));
    assert_int_equal(kp_cast_read(c.cast).live, 0);
    contract_end(&c);
}

/* B-SHUT-06, D10: 100 getters, 90 of them wait */
static void closing_with_90_waiters_must_fail_them_at_once_and_destroy_the_ten_as_they_come_back(
    void **state)
{
    contract c;
    getter getters[100];
    kp_gate gate = { 0 };
    (void)state;
    contract_begin(&c, "effect-fixed %d", 10);
    contract_open(&c);
    contract_start(&c, getters, 100, EU, &gate);
    assert_int_equal(contract_stats(&c, EU).waiting, 90);
    assert_int_equal(contract_close(&c, KP_CLOSE_NOW, 0), 10);
    (void)kp_sim_settle(c.sim);
    assert_int_equal(contract_answered(getters, 100), 10);
    for (int i = 10; i < 100; i++) {
        assert_int_equal(getters[i].rc, KP_ECLOSED);
        assert_int_equal(getters[i].answered_ms, 0);
    }
    kp_gate_open(c.sim, &gate);
    kp_sim_join(c.sim, 0);
    assert_int_equal(kp_cast_read(c.cast).live, 0);
    contract_end(&c);
}

/* B-SHUT-07, B-SHUT-08, D11 */
static void close_must_fail_waiters_at_once_and_return_when_the_last_borrower_has_given_back(
    void **state)
{
    contract c;
    getter holder;
    getter waiters[3];
    getter like = { .key = EU, .hold_ms = KP_SECONDS(5) };
    kp_lease lease;
    (void)state;
    contract_begin(&c, "effect-fixed %d", 1);
    contract_open(&c);
    contract_start_as(&c, &holder, 1, like);
    contract_rest(&c);
    contract_start(&c, waiters, 3, EU, NULL);
    assert_int_equal(contract_close(&c, KP_CLOSE_WAIT, KP_SECONDS(30)), 0);
    assert_int_equal(kp_sim_now_ms(c.sim), KP_SECONDS(5));
    assert_int_equal(kp_cast_read(c.cast).live, 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(waiters[i].rc, KP_ECLOSED);
        assert_int_equal(waiters[i].answered_ms, 0);
    }
    assert_int_equal(kp_get(c.pool, EU, NULL, &lease), KP_ECLOSED);
    assert_null(lease.resource);
    contract_end(&c);
}

/* DESIGN 3, close: drain serves whoever waits first, then ends */
static void close_with_drain_must_serve_the_queue_first(void **state)
{
    contract c;
    getter getters[5];
    getter like = { .key = EU, .hold_ms = 10 };
    kp_lease lease;
    (void)state;
    contract_begin(&c, "effect-fixed %d", 1);
    contract_open(&c);
    contract_start_as(&c, getters, 5, like);
    contract_rest(&c);
    assert_int_equal(contract_close(&c, KP_CLOSE_DRAIN, KP_SECONDS(5)), 0);
    assert_int_equal(kp_sim_now_ms(c.sim), 50);
    kp_sim_join(c.sim, 0);
    assert_int_equal(contract_answered(getters, 5), 5);
    assert_int_equal(kp_cast_read(c.cast).destroys, 1);
    assert_int_equal(kp_get(c.pool, EU, NULL, &lease), KP_ECLOSED);
    contract_end(&c);
}

/* DESIGN 3, close: each mode has a deadline, after which it is immediate */
static void a_close_that_waits_must_end_at_its_deadline_and_say_how_many_are_out(void **state)
{
    contract c;
    kp_lease leases[2];
    (void)state;
    contract_begin(&c, "effect-fixed %d", 3);
    contract_open(&c);
    contract_take_all(&c, EU, leases, 2);
    contract_rest(&c);
    assert_int_equal(contract_close(&c, KP_CLOSE_WAIT, KP_SECONDS(2)), 2);
    assert_int_equal(kp_sim_now_ms(c.sim), KP_SECONDS(2));
    assert_int_equal(kp_cast_read(c.cast).live, 2);
    kp_release(&leases[0]);
    assert_int_equal(kp_cast_read(c.cast).live, 1);
    kp_discard(&leases[1]);
    assert_int_equal(kp_cast_read(c.cast).live, 0);
    contract_end(&c);
}

/* ---- load ------------------------------------------------------------------------------------ */

/* B-STRESS-01: the guide's load test, with the tasks in random order */
static void a_hundred_requests_over_5_keys_of_size_3_must_all_finish_with_at_most_15_creates(
    void **state)
{
    static const char *const names[5] = { "a", "b", "c", "d", "e" };
    contract c;
    getter getters[100];
    (void)state;
    contract_begin(&c, "effect-fixed %d", 3);
    contract_open(&c);
    kp_sim_shuffle(c.sim, true);
    for (int i = 0; i < 100; i++) {
        getter like = { .key = kp_str(names[i % 5]), .hold_ms = i % 7 };
        contract_start_as(&c, &getters[i], 1, like);
    }
    kp_sim_join(c.sim, 0);
    contract_rest(&c);
    print_message("seed %d\n", CONTRACT_SEED);
    assert_int_equal(contract_answered(getters, 100), 100);
    assert_true(kp_cast_read(c.cast).creates <= 15);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).leases, 0);
    contract_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_create_must_be_able_to_look_into_the_pool_and_hold_up_no_other_key),
        cmocka_unit_test(creates_and_destroys_seen_by_the_driver_must_be_what_the_counters_say),
        cmocka_unit_test(a_pool_owned_by_a_scope_must_serve_all_and_close_when_the_scope_closes),
        cmocka_unit_test(
            closing_with_90_waiters_must_fail_them_at_once_and_destroy_the_ten_as_they_come_back),
        cmocka_unit_test(
            close_must_fail_waiters_at_once_and_return_when_the_last_borrower_has_given_back),
        cmocka_unit_test(close_with_drain_must_serve_the_queue_first),
        cmocka_unit_test(a_close_that_waits_must_end_at_its_deadline_and_say_how_many_are_out),
        cmocka_unit_test(
            a_hundred_requests_over_5_keys_of_size_3_must_all_finish_with_at_most_15_creates),
    };
    return cmocka_run_group_tests_name("effect_close", tests, NULL, NULL);
}
