/* SPDX-License-Identifier: MIT
 *
 * Effect: creates that fail, fallback keys, and circuit breakers per key.
 */
#include <stdlib.h>

#include "scripts.h"

/* ---- fallback keys, breakers ----------------------------------------------------------------- */

/* Creates for "primary" always fail. */
static int create_unless_primary(kp_job *job, void **resource)
{
    int *calls = job->ctx;
    calls[0]++;
    if (job->key.size == 7 && memcmp(job->key.data, "primary", 7) == 0) {
        return kp_job_fail(job, 111, "connection refused");
    }
    *resource = malloc(1);
    return *resource ? 0 : KP_ENOMEM;
}

static int destroy_freed(kp_job *job, void *resource)
{
    (void)job;
    free(resource);
    return 0;
}

static int count_runs(kp_lease *lease, void *arg)
{
    (void)lease;
    ++*(int *)arg;
    return 0;
}

/* B-GET-10, B-FAIL-10 */
static void when_the_primary_key_fails_the_fallback_key_must_serve_and_nothing_is_held(void **state)
{
    contract c;
    int calls = 0, runs = 0;
    kp_driver driver = { .create = create_unless_primary, .destroy = destroy_freed, .ctx = &calls };
    kp_key secondary = kp_str("secondary");
    kp_plan plan = { .fallback = &secondary, .fallbacks = 1 };
    (void)state;
    contract_begin(&c, "effect-range %d %d %s", 0, 2, "60s");
    contract_open_driver(&c, &driver);
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(kp_use(c.pool, kp_str("primary"), &plan, count_runs, &runs), 0);
        contract_check(&c);
        assert_int_equal(runs, i);
        assert_int_equal(contract_stats(&c, kp_str("primary")).live, 0);
        assert_int_equal(contract_stats(&c, kp_str("secondary")).idle, 1);
    }
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).creates, 1);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).leases, 0);
    contract_end(&c);
}

/* The guide's breaker, written by a user inside create: 5 failures open it for 30 s. */
typedef struct breaker {
    contract *c;
    int failures, tries;
    int64_t open_until_ms;
    bool backend_is_up;
} breaker;

static int create_with_breaker(kp_job *job, void **resource)
{
    breaker *b = job->ctx;
    if (kp_sim_now_ms(b->c->sim) < b->open_until_ms) {
        return kp_job_fail(job, 503, "circuit open");
    }
    b->tries++;
    if (!b->backend_is_up) {
        if (++b->failures >= 5) {
            b->open_until_ms = kp_sim_now_ms(b->c->sim) + KP_SECONDS(30);
        }
        return kp_job_fail(job, 111, "connection refused");
    }
    b->failures = 0;
    *resource = malloc(1);
    return *resource ? 0 : KP_ENOMEM;
}

/* B-FAIL-11 */
static void a_breaker_inside_create_must_work_because_create_is_called_after_each_failure(
    void **state)
{
    contract c;
    breaker b = { .c = &c };
    kp_driver driver = { .create = create_with_breaker, .destroy = destroy_freed, .ctx = &b };
    kp_lease lease;
    (void)state;
    contract_begin(&c, "effect-range %d %d %s", 0, 2, "60s");
    contract_open_driver(&c, &driver);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(contract_refused(&c, EU, 0, KP_ECREATE).vendor_code, i < 5 ? 111 : 503);
    }
    assert_int_equal(b.tries, 5);
    kp_sim_pass_ms(c.sim, KP_SECONDS(30));
    b.backend_is_up = true;
    assert_int_equal(kp_get(c.pool, EU, NULL, &lease), 0);
    assert_int_equal(b.tries, 6);
    assert_int_equal(b.failures, 0);
    contract_give(&c, &lease);
    contract_end(&c);
}

/* B-FAIL-11, DESIGN 3: the same as an option, per key, with one probe when it is half open */
static void five_failures_must_open_the_circuit_of_that_key_for_30_s_and_a_probe_closes_it(
    void **state)
{
    static const kp_line five_failures[] = { { .status = -1, .times = 5 }, { 0 } };
    contract c;
    kp_lease lease;
    (void)state;
    contract_begin(&c, "effect-range %d %d %s", 0, 2, "60s");
    c.options.limits.breaker_failures = 5;
    c.options.limits.breaker_open_ms = KP_SECONDS(30);
    c.script.create = five_failures;
    contract_open(&c);
    for (int i = 0; i < 5; i++) {
        (void)contract_refused(&c, EU, 0, KP_ECREATE);
    }
    (void)contract_refused(&c, EU, 0, KP_EBREAKER);
    assert_int_equal(kp_cast_read(c.cast).create_failures, 5);
    assert_int_equal(c.events[KP_EVENT_BREAKER_OPENED], 1);
    (void)contract_take(&c, US, &lease);
    contract_give(&c, &lease);
    kp_sim_pass_ms(c.sim, KP_SECONDS(30));
    (void)contract_take(&c, EU, &lease);
    contract_give(&c, &lease);
    assert_int_equal(c.events[KP_EVENT_BREAKER_CLOSED], 1);
    contract_end(&c);
}

/* ---- creates that fail ----------------------------------------------------------------------- */

static int allocate_then_fail(kp_job *job, void **resource)
{
    int *count = job->ctx;
    void *half = malloc(1);
    count[0] += half != NULL;
    *resource = half; /* does not count: only a create that returns 0 has made something */
    free(half);
    count[1]++;
    return kp_job_fail(job, 1, "handshake failed");
}

static int must_not_destroy(kp_job *job, void *resource)
{
    (void)resource;
    ((int *)job->ctx)[2]++;
    return 0;
}

/* B-FAIL-08: in C the failing create itself cleans up what it had; the pool must not destroy it
 * again */
static void what_a_failing_create_had_acquired_must_be_cleaned_up_exactly_once(void **state)
{
    contract c;
    int count[3] = { 0 };
    kp_driver driver = { .create = allocate_then_fail, .destroy = must_not_destroy, .ctx = count };
    (void)state;
    contract_begin(&c, "effect-range %d %d %s", 0, 10, "60s");
    contract_open_driver(&c, &driver);
    for (int i = 0; i < 10; i++) {
        (void)contract_refused(&c, EU, 0, KP_ECREATE);
    }
    contract_end(&c);
    assert_int_equal(count[0], 10);
    assert_int_equal(count[1], 10);
    assert_int_equal(count[2], 0);
}

/* B-FAIL-14 */
static void three_getters_on_one_failing_create_must_each_end_with_an_error_of_their_own(
    void **state)
{
    static const kp_line slow_failures[] = { { .blocks_ms = 10, .status = -1, .vendor_code = 1 },
                                             { .blocks_ms = 10, .status = -1, .vendor_code = 2 },
                                             { .blocks_ms = 10, .status = -1, .vendor_code = 3 },
                                             { 0 } };
    contract c;
    getter getters[3];
    int seen = 0;
    (void)state;
    contract_begin(&c, "effect-range %d %d %s", 0, 1, "60s");
    c.script.create = slow_failures;
    contract_open(&c);
    contract_start(&c, getters, 3, EU, NULL);
    kp_sim_join(c.sim, 0);
    contract_rest(&c);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(getters[i].rc, KP_ECREATE);
        seen |= 1 << getters[i].why.vendor_code;
    }
    assert_int_equal(seen, 2 + 4 + 8);
    assert_int_equal(kp_cast_read(c.cast).create_failures, 3);
    contract_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            when_the_primary_key_fails_the_fallback_key_must_serve_and_nothing_is_held),
        cmocka_unit_test(
            a_breaker_inside_create_must_work_because_create_is_called_after_each_failure),
        cmocka_unit_test(
            five_failures_must_open_the_circuit_of_that_key_for_30_s_and_a_probe_closes_it),
        cmocka_unit_test(what_a_failing_create_had_acquired_must_be_cleaned_up_exactly_once),
        cmocka_unit_test(
            three_getters_on_one_failing_create_must_each_end_with_an_error_of_their_own),
    };
    return cmocka_run_group_tests_name("effect_fail", tests, NULL, NULL);
}
