/* SPDX-License-Identifier: MIT
 *
 * Effect: scopes, Pool.use, the guide's retries and timeouts. Its interruptions are deadlines here;
 * loop_end.c has cancelled requests.
 */
#include "scripts.h"

/* ---- scopes ---------------------------------------------------------------------------------- */

/* B-REL-01, B-GET-08 */
static void all_items_got_in_a_scope_must_come_back_when_it_closes(void **state)
{
    contract c;
    kp_scope scope = { 0 };
    kp_lease leases[4];
    (void)state;
    contract_begin(&c, "effect-range %d %d %s", 0, 3, "60s");
    contract_open(&c);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(kp_scope_get(&scope, c.pool, i < 3 ? EU : US, NULL, &leases[i]), 0);
        contract_check(&c);
    }
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).leases, 4);
    assert_int_equal(kp_invalidate(c.pool, leases[1].resource), 1);
    kp_scope_close(&scope);
    contract_rest(&c);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).leases, 0);
    assert_int_equal(contract_stats(&c, EU).idle, 2);
    assert_int_equal(contract_stats(&c, US).idle, 1);
    assert_int_equal(kp_cast_read(c.cast).destroys, 1);
    contract_end(&c);
}

/* B-REL-08: seen by the idle order, which is first returned, first lent */
static void a_scope_must_end_its_leases_last_first_and_closing_it_twice_must_do_nothing(
    void **state)
{
    contract c;
    kp_scope scope = { 0 };
    kp_lease leases[3];
    (void)state;
    contract_begin(&c, "effect-fixed %d", 3);
    contract_open(&c);
    contract_warm(&c, EU);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(kp_scope_get(&scope, c.pool, EU, NULL, &leases[i]), 0);
    }
    kp_scope_close(&scope);
    kp_scope_close(&scope);
    contract_rest(&c);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(contract_take(&c, EU, &leases[i]), 3 - i);
    }
    contract_give_all(&c, leases, 3);
    contract_end(&c);
}

/* B-REL-11 */
static void closing_an_inner_scope_must_end_only_its_leases(void **state)
{
    contract c;
    kp_scope outer = { 0 }, inner = { 0 };
    kp_lease a, b;
    kp_lease_about about;
    (void)state;
    contract_begin(&c, "effect-fixed %d", 2);
    contract_open(&c);
    assert_int_equal(kp_scope_get(&outer, c.pool, EU, NULL, &a), 0);
    assert_int_equal(kp_scope_defer(&outer, kp_scope_end, &inner), 0);
    assert_int_equal(kp_scope_get(&inner, c.pool, EU, NULL, &b), 0);
    kp_scope_close(&inner);
    contract_rest(&c);
    assert_false(kp_lease_read(&b, &about));
    assert_true(kp_lease_read(&a, &about));
    assert_int_equal(contract_stats(&c, EU).leases, 1);
    assert_int_equal(kp_scope_get(&inner, c.pool, EU, NULL, &b), 0);
    kp_scope_close(&outer);
    contract_rest(&c);
    assert_int_equal(contract_stats(&c, EU).leases, 0);
    contract_end(&c);
}

/* B-REL-10: our meaning: a closed scope is {0}, an open and empty one, so what it gets has an
 * owner again */
static void what_a_closed_scope_gets_must_come_back_when_it_is_closed_again(void **state)
{
    contract c;
    kp_scope scope = { 0 };
    kp_lease lease;
    (void)state;
    contract_begin(&c, "effect-fixed %d", 1);
    contract_open(&c);
    assert_int_equal(kp_scope_get(&scope, c.pool, EU, NULL, &lease), 0);
    kp_scope_close(&scope);
    assert_int_equal(kp_scope_get(&scope, c.pool, EU, NULL, &lease), 0);
    assert_int_equal(contract_stats(&c, EU).leases, 1);
    kp_scope_close(&scope);
    contract_rest(&c);
    assert_int_equal(contract_stats(&c, EU).leases, 0);
    contract_end(&c);
}

/* B-REL-09 */
static void a_waiter_must_find_the_returned_item_and_not_create_another(void **state)
{
    contract c;
    kp_scope scope = { 0 };
    kp_lease lease;
    getter waiter;
    (void)state;
    contract_begin(&c, "effect-range %d %d %s", 0, 1, "60s");
    contract_open(&c);
    assert_int_equal(kp_scope_get(&scope, c.pool, EU, NULL, &lease), 0);
    contract_start(&c, &waiter, 1, EU, NULL);
    kp_scope_close(&scope);
    kp_sim_join(c.sim, waiter.task);
    contract_rest(&c);
    assert_int_equal(waiter.rc, 0);
    assert_int_equal(waiter.number, 1);
    assert_int_equal(kp_cast_read(c.cast).creates, 1);
    contract_end(&c);
}

static void end_lease(void *lease)
{
    kp_release(lease);
}

/* DESIGN 3, scopes: the scope finds the lease ended, which is fine */
static void a_lease_must_be_endable_on_another_thread_than_the_borrowers(void **state)
{
    contract c;
    kp_scope scope = { 0 };
    kp_lease lease;
    kp_lease theirs;
    (void)state;
    contract_begin(&c, "effect-fixed %d", 1);
    contract_open(&c);
    assert_int_equal(kp_scope_get(&scope, c.pool, EU, NULL, &lease), 0);
    theirs = lease;
    assert_true(kp_sim_spawn(c.sim, end_lease, &theirs) > 0);
    kp_sim_join(c.sim, 0);
    contract_rest(&c);
    assert_int_equal(contract_stats(&c, EU).leases, 0);
    assert_int_equal(contract_take(&c, EU, &lease), 1);
    kp_scope_close(&scope);
    contract_rest(&c);
    assert_int_equal(contract_stats(&c, EU).leases, 1);
    contract_give(&c, &lease);
    contract_end(&c);
}

/* B-MIS-01 */
static void a_scope_that_waits_for_itself_must_be_ended_by_its_deadline(void **state)
{
    contract c;
    kp_scope scope = { 0 };
    kp_lease lease;
    kp_why why = { 0 };
    kp_ask ask = { .within_ms = KP_SECONDS(5), .tag = "report", .why = &why };
    (void)state;
    contract_begin(&c, "effect-fixed %d", 2);
    contract_open(&c);
    assert_int_equal(kp_scope_get(&scope, c.pool, EU, &ask, &lease), 0);
    assert_int_equal(kp_scope_get(&scope, c.pool, EU, &ask, &lease), 0);
    assert_int_equal(kp_scope_get(&scope, c.pool, EU, &ask, &lease), KP_ETIMEDOUT);
    assert_int_equal(kp_sim_now_ms(c.sim), KP_SECONDS(5));
    assert_string_equal(why.limit, "max_live");
    assert_string_equal(why.oldest_tag, "report");
    assert_int_equal(why.lent, 2);
    kp_scope_close(&scope);
    contract_rest(&c);
    contract_end(&c);
}

/* ---- use ------------------------------------------------------------------------------------- */

typedef struct use_log {
    contract *c;
    int runs, fail_runs; /* fail with -77 in the first fail_runs */
    uint64_t number;
    int64_t takes_ms;
} use_log;

static int logged_use(kp_lease *lease, void *arg)
{
    use_log *log = arg;
    log->runs++;
    log->number = contract_prop(lease)->number;
    if (log->takes_ms) {
        kp_sim_pass_ms(log->c->sim, log->takes_ms);
    }
    return log->runs <= log->fail_runs ? -77 : 0;
}

/* B-REL-07, D14 */
static void a_use_that_fails_must_hand_its_failure_through_and_give_the_item_back(void **state)
{
    contract c;
    use_log log = { .c = &c, .fail_runs = 1 };
    (void)state;
    contract_begin(&c, "effect-fixed %d", 1);
    contract_open(&c);
    assert_int_equal(kp_use(c.pool, EU, NULL, logged_use, &log), -77);
    contract_check(&c);
    assert_int_equal(log.number, 1);
    assert_int_equal(contract_stats(&c, EU).leases, 0);
    assert_int_equal(kp_use(c.pool, EU, NULL, logged_use, &log), 0);
    assert_int_equal(log.number, 1);
    assert_int_equal(log.runs, 2);
    contract_end(&c);
}

/* B-FAIL-09 */
static void a_use_whose_create_fails_must_fail_with_it_and_never_run_the_body(void **state)
{
    contract c;
    use_log log = { .c = &c };
    kp_why why = { 0 };
    kp_plan plan = { .ask = { .why = &why } };
    (void)state;
    contract_begin(&c, "effect-range %d %d %s", 0, 1, "60s");
    c.script.create = always_failing;
    contract_open(&c);
    assert_int_equal(kp_use(c.pool, EU, &plan, logged_use, &log), KP_ECREATE);
    contract_check(&c);
    assert_int_equal(why.vendor_code, 61);
    assert_non_null(strstr(why.text, "nope"));
    assert_int_equal(log.runs, 0);
    assert_int_equal(contract_stats(&c, EU).leases, 0);
    assert_int_equal(contract_stats(&c, EU).live, 0);
    contract_end(&c);
}

typedef struct user {
    contract *c;
    use_log log;
    int rc;
} user;

static void user_task(void *arg)
{
    user *u = arg;
    u->rc = kp_use(u->c->pool, EU, NULL, logged_use, &u->log);
}

/* B-WAIT-11 */
static void a_use_must_wait_until_the_holders_scope_closes(void **state)
{
    contract c;
    kp_scope scope = { 0 };
    kp_lease lease;
    user u = { &c, { .c = &c }, 1 };
    (void)state;
    contract_begin(&c, "effect-fixed %d", 1);
    contract_open(&c);
    assert_int_equal(kp_scope_get(&scope, c.pool, EU, NULL, &lease), 0);
    assert_true(kp_sim_spawn(c.sim, user_task, &u) > 0);
    kp_sim_pass_ms(c.sim, 20);
    contract_rest(&c);
    assert_int_equal(u.log.runs, 0);
    assert_int_equal(contract_stats(&c, EU).waiting, 1);
    kp_scope_close(&scope);
    kp_sim_join(c.sim, 0);
    contract_rest(&c);
    assert_int_equal(u.rc, 0);
    assert_int_equal(u.log.number, 1);
    assert_int_equal(contract_stats(&c, EU).leases, 0);
    contract_end(&c);
}

/* B-WAIT-05: the wait is ended by the deadline; a body that runs is not interrupted in C, it
 * gives back when it returns */
static void a_timeout_around_get_and_use_must_end_the_wait_and_leave_no_lease(void **state)
{
    contract c;
    kp_lease held;
    use_log log = { .c = &c, .takes_ms = KP_SECONDS(40) };
    kp_plan plan = { .ask = { .within_ms = KP_SECONDS(30) },
                     .schedule = { .times = KP_UNLIMITED } };
    (void)state;
    contract_begin(&c, "effect-fixed %d", 1);
    contract_open(&c);
    (void)contract_take(&c, EU, &held);
    assert_int_equal(kp_use(c.pool, EU, &plan, logged_use, &log), KP_ETIMEDOUT);
    assert_int_equal(kp_sim_now_ms(c.sim), KP_SECONDS(30));
    assert_int_equal(log.runs, 0);
    contract_give(&c, &held);
    log.fail_runs = 100;
    assert_int_equal(kp_use(c.pool, EU, &plan, logged_use, &log), -77);
    assert_int_equal(log.runs, 1);
    assert_int_equal(contract_stats(&c, EU).leases, 0);
    assert_int_equal(contract_stats(&c, EU).idle, 1);
    contract_end(&c);
}

/* B-FAIL-12 */
static void a_use_that_fails_three_times_must_end_in_the_fallback_value_with_all_leases_back(
    void **state)
{
    contract c;
    use_log log = { .c = &c, .fail_runs = 100 };
    kp_plan plan = { .schedule = { .times = 2, .first_ms = KP_NONE }, .retry_if = kp_retry_any };
    const char *result;
    (void)state;
    contract_begin(&c, "effect-fixed %d", 3);
    contract_open(&c);
    result = kp_use(c.pool, EU, &plan, logged_use, &log) == 0 ? "Used" : "Recovered";
    contract_rest(&c);
    assert_string_equal(result, "Recovered");
    assert_int_equal(log.runs, 3);
    assert_int_equal(contract_stats(&c, EU).leases, 0);
    assert_int_equal(contract_stats(&c, EU).live, 3);
    contract_end(&c);
}

/* Items 1 and 2 are unhealthy. */
static int use_if_healthy(kp_lease *lease, void *arg)
{
    use_log *log = arg;
    log->runs++;
    log->number = contract_prop(lease)->number;
    if (log->number <= 2) {
        kp_discard(lease);
        return -77;
    }
    return 0;
}

/* B-CHK-01 */
static void an_unhealthy_item_must_be_replaced_by_a_fresh_one_within_two_retries(void **state)
{
    contract c;
    use_log log = { .c = &c };
    kp_plan plan = { .schedule = { .times = 2, .first_ms = KP_NONE }, .retry_if = kp_retry_any };
    (void)state;
    contract_begin(&c, "effect-range %d %d %s", 0, 1, "60s");
    contract_open(&c);
    assert_int_equal(kp_use(c.pool, EU, &plan, use_if_healthy, &log), 0);
    contract_check(&c);
    assert_int_equal(log.runs, 3);
    assert_int_equal(log.number, 3);
    assert_int_equal(kp_cast_read(c.cast).destroys, 2);
    assert_int_equal(contract_stats(&c, EU).leases, 0);
    contract_end(&c);
}

static const kp_line two_failures[] = { { .status = -1, .times = 2 }, { 0 } };

/* B-FAIL-07 */
static void get_and_use_with_three_retries_must_see_undiminished_capacity_after_failures(
    void **state)
{
    contract c;
    use_log log = { .c = &c };
    kp_plan plan = { .schedule = { .times = 3, .first_ms = KP_SECONDS(1) } };
    (void)state;
    contract_begin(&c, "effect-range %d %d %s", 0, 1, "60s");
    c.script.create = two_failures;
    contract_open(&c);
    assert_int_equal(kp_use(c.pool, EU, &plan, logged_use, &log), 0);
    contract_check(&c);
    assert_int_equal(log.runs, 1);
    assert_int_equal(kp_cast_read(c.cast).create_failures, 2);
    assert_int_equal(kp_sim_now_ms(c.sim), KP_SECONDS(3));
    contract_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_items_got_in_a_scope_must_come_back_when_it_closes),
        cmocka_unit_test(
            a_scope_must_end_its_leases_last_first_and_closing_it_twice_must_do_nothing),
        cmocka_unit_test(closing_an_inner_scope_must_end_only_its_leases),
        cmocka_unit_test(what_a_closed_scope_gets_must_come_back_when_it_is_closed_again),
        cmocka_unit_test(a_waiter_must_find_the_returned_item_and_not_create_another),
        cmocka_unit_test(a_lease_must_be_endable_on_another_thread_than_the_borrowers),
        cmocka_unit_test(a_scope_that_waits_for_itself_must_be_ended_by_its_deadline),
        cmocka_unit_test(a_use_that_fails_must_hand_its_failure_through_and_give_the_item_back),
        cmocka_unit_test(a_use_whose_create_fails_must_fail_with_it_and_never_run_the_body),
        cmocka_unit_test(a_use_must_wait_until_the_holders_scope_closes),
        cmocka_unit_test(a_timeout_around_get_and_use_must_end_the_wait_and_leave_no_lease),
        cmocka_unit_test(
            a_use_that_fails_three_times_must_end_in_the_fallback_value_with_all_leases_back),
        cmocka_unit_test(an_unhealthy_item_must_be_replaced_by_a_fresh_one_within_two_retries),
        cmocka_unit_test(
            get_and_use_with_three_retries_must_see_undiminished_capacity_after_failures),
    };
    return cmocka_run_group_tests_name("effect_use", tests, NULL, NULL);
}
