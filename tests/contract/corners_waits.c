/* SPDX-License-Identifier: MIT
 *
 * Corner cases of circuits, closing, deadlines and turns, where two things happen at once.
 */
#include "corners.h"

/* ---- circuits -------------------------------------------------------------------------------- */

static void a_hit_while_the_circuit_is_open_must_not_keep_it_open(void **state)
{
    static const kp_line script[] = { { .times = 1 }, { .status = -5 }, { 0 } };
    contract c;
    kp_lease a, b;
    (void)state;
    begin(&c);
    c.options.limits.breaker_failures = 1;
    c.options.limits.breaker_open_ms = 1000;
    c.script.create = script;
    contract_open(&c);
    contract_take(&c, kp_str("a"), &a);
    assert_int_equal(get_within(&c, "a", 100, &b), KP_ECREATE);
    contract_give(&c, &a);
    contract_take(&c, kp_str("a"), &a); /* what is idle is lent all the same */
    kp_sim_pass_ms(c.sim, 2000);
    assert_int_equal(get_within(&c, "a", 100, &b), 0); /* the probe */
    kp_release(&b);
    contract_give(&c, &a);
    contract_end(&c);
}

static void an_open_circuit_must_let_a_probe_through_without_any_other_clock(void **state)
{
    contract c;
    kp_lease a;
    (void)state;
    begin_bare(&c);
    c.options.limits.breaker_counts = KP_BREAK_USE;
    c.options.limits.breaker_failures = 1;
    c.options.limits.breaker_open_ms = 1000;
    open_short(&c);
    contract_take(&c, kp_str("a"), &a);
    kp_lease_report(&a, -1);
    contract_give(&c, &a);
    assert_int_equal(get_within(&c, "a", 100, &a), KP_EBREAKER);
    kp_sim_pass_ms(c.sim, 2000);
    assert_int_equal(get_within(&c, "a", 100, &a), 0);
    kp_release(&a);
    contract_end(&c);
}

/* A use has failed and opened the circuit of "a"; the next get is a probe, and creates for 50 ms.
 */
static void begin_before_a_slow_probe(contract *c)
{
    static const kp_line slow[] = { { .takes_ms = 50, .times = KP_OFF } };
    kp_lease lease;

    begin(c);
    c->options.limits.breaker_counts = KP_BREAK_USE;
    c->options.limits.breaker_failures = 1;
    c->options.limits.breaker_open_ms = 1000;
    c->script.create = slow;
    contract_open(c);
    contract_take(c, kp_str("a"), &lease);
    kp_lease_report(&lease, -1);
    kp_discard(&lease);
    kp_sim_pass_ms(c->sim, 2000);
}

static void a_probe_whose_create_is_pending_must_get_what_it_makes(void **state)
{
    contract c;
    kp_lease a;
    (void)state;
    begin_before_a_slow_probe(&c);
    assert_int_equal(get_within(&c, "a", 500, &a), 0);
    kp_release(&a);
    contract_end(&c);
}

static void a_probe_that_times_out_must_not_keep_the_circuit_open(void **state)
{
    contract c;
    kp_lease a;
    (void)state;
    begin_before_a_slow_probe(&c);
    assert_true(get_within(&c, "a", 10, &a) < 0);
    kp_sim_pass_ms(c.sim, 2000);
    assert_int_equal(get_within(&c, "a", 500, &a), 0);
    kp_release(&a);
    contract_end(&c);
}

/* ---- closing --------------------------------------------------------------------------------- */

struct late {
    kp_sim *sim;
    kp_job *job;
    int64_t blocks_ms, takes_ms;
    int resource;
};

static void late_answer(void *arg)
{
    struct late *l = arg;
    kp_sim_pass_ms(l->sim, l->takes_ms);
    kp_job_done(l->job, 0, &l->resource);
}

/* Blocks a while, and is pending then. */
static int late_create(kp_job *job, void **resource)
{
    struct late *l = job->ctx;
    (void)resource;
    kp_sim_pass_ms(l->sim, l->blocks_ms);
    l->job = job;
    (void)kp_sim_spawn(l->sim, late_answer, l);
    return KP_PENDING;
}

static int no_destroy(kp_job *job, void *resource)
{
    (void)job;
    (void)resource;
    return 0;
}

static void a_create_that_becomes_pending_after_close_must_refuse_its_request(void **state)
{
    struct late late = { .blocks_ms = 100, .takes_ms = 200 };
    contract c;
    (void)state;
    begin(&c);
    late.sim = c.sim;
    kp_driver driver = { .create = late_create, .destroy = no_destroy, .ctx = &late };
    contract_open_driver(&c, &driver);
    struct visit v = { .key = "a", .within_ms = 5000 };
    send(&c, &v);
    kp_sim_pass_ms(c.sim, 50);
    (void)kp_pool_close(c.pool, KP_CLOSE_NOW, 1);
    kp_sim_join(c.sim, 0);
    assert_int_equal(v.rc, KP_ECLOSED);
    assert_true(v.answered_ms <= 300);
    assert_int_equal(kp_sim_close(c.sim), 0);
}

static void a_request_whose_resource_is_found_bad_after_close_must_be_refused(void **state)
{
    static const kp_line bad[] = { { .blocks_ms = 100, .status = -1 }, { 0 } };
    contract c;
    kp_lease a;
    (void)state;
    begin(&c);
    c.options.limits.validate_after_ms = KP_NONE;
    c.script.validate = bad;
    contract_open(&c);
    contract_take(&c, kp_str("a"), &a);
    contract_give(&c, &a);
    struct visit v = { .key = "a", .within_ms = 5000 };
    send(&c, &v);
    kp_sim_pass_ms(c.sim, 50);
    (void)kp_pool_close(c.pool, KP_CLOSE_NOW, 1);
    kp_sim_join(c.sim, 0);
    assert_int_equal(v.rc, KP_ECLOSED);
    kp_cast_count count = kp_cast_read(c.cast);
    assert_int_equal(count.creates, 1);
    assert_int_equal(count.destroys, 1);
    kp_cast_close(c.cast);
    assert_int_equal(kp_sim_close(c.sim), 0);
}

static void a_draining_close_must_serve_a_request_whose_create_blocks(void **state)
{
    static const kp_line slow[] = { { .blocks_ms = 100 }, { 0 } };
    contract c;
    (void)state;
    begin(&c);
    c.script.create = slow;
    contract_open(&c);
    struct visit v = { .key = "a", .within_ms = 5000 };
    send(&c, &v);
    kp_sim_pass_ms(c.sim, 50);
    assert_int_equal(kp_pool_close(c.pool, KP_CLOSE_DRAIN, 5000), 0);
    kp_sim_join(c.sim, 0);
    assert_int_equal(v.rc, 0);
    kp_cast_close(c.cast);
    assert_int_equal(kp_sim_close(c.sim), 0);
}

static void close_must_end_a_warming_that_waits(void **state)
{
    contract c;
    kp_lease a;
    (void)state;
    begin(&c);
    c.options.budget.max_live = 1;
    contract_open(&c);
    contract_take(&c, kp_str("a"), &a);
    struct warmer w = { .c = &c, .key = "b" };
    assert_true(kp_sim_spawn(c.sim, warm_key, &w) > 0);
    kp_sim_pass_ms(c.sim, 1000);
    assert_int_equal(kp_pool_close(c.pool, KP_CLOSE_NOW, 1), 1);
    kp_sim_join(c.sim, 0);
    assert_true(w.answered_ms < 1100);
    kp_release(&a);
    kp_cast_close(c.cast);
    assert_int_equal(kp_sim_close(c.sim), 0);
}

static void warming_must_go_on_when_the_pause_after_a_failure_is_over(void **state)
{
    static const kp_line script[] = { { .status = -1 }, { 0 } };
    contract c;
    kp_lease b;
    (void)state;
    begin(&c);
    c.options.limits.retry_first_ms = 100;
    c.script.create = script;
    contract_open(&c);
    assert_int_equal(get_within(&c, "b", 1000, &b), KP_ECREATE);
    struct warmer w = { .c = &c, .key = "b" };
    warm_key(&w);
    assert_int_equal(w.got, 1);
    assert_true(w.answered_ms < 200);
    contract_end(&c);
}

/* ---- deadlines and turns --------------------------------------------------------------------- */

static void a_newer_request_before_it_must_not_make_an_older_one_spin(void **state)
{
    contract c;
    kp_lease a;
    (void)state;
    begin(&c);
    c.options.limits.wait_order = KP_LIFO;
    c.options.limits.max_live = 1;
    c.options.limits.reserve = 1;
    c.options.limits.reserve_after_ms = 5000;
    contract_open(&c);
    contract_take(&c, kp_str("a"), &a);
    struct visit old = { .key = "a", .within_ms = 20000 };
    struct visit new = { .key = "a", .at_ms = 1000, .within_ms = 20000 };
    send(&c, &old);
    send(&c, &new);
    kp_sim_join(c.sim, 0);
    assert_int_equal(old.rc, 0);
    assert_int_equal(new.answered_ms, 6000);
    contract_give(&c, &a);
    contract_end(&c);
}

/* A driver whose create fails in a millisecond, but works in the end: an endless loop shows as a
 * get that was answered late. */
struct failing {
    kp_sim *sim;
    int left;
};

static int failing_create(kp_job *job, void **resource)
{
    struct failing *f = job->ctx;
    kp_sim_pass_ms(f->sim, 1);
    if (--f->left == 0) *resource = f;
    return f->left == 0 ? 0 : -1;
}

static void retrying_without_a_pause_must_still_end_at_the_deadline(void **state)
{
    contract c;
    kp_lease a;
    struct failing failing = { .left = 500 };
    (void)state;
    begin(&c);
    failing.sim = c.sim;
    c.options.limits.on_create_failure = KP_FAIL_RETRY;
    c.options.limits.retry_max_ms = KP_NONE;
    kp_driver driver = { .create = failing_create, .destroy = no_destroy, .ctx = &failing };
    contract_open_driver(&c, &driver);
    assert_int_equal(get_within(&c, "a", 10, &a), KP_ETIMEDOUT);
    contract_end(&c);
}

static void no_driver_function_must_begin_after_the_deadline(void **state)
{
    static const kp_line bad[] = { { .blocks_ms = 100, .status = -1, .times = KP_OFF } };
    static const kp_line slow[] = { { .times = 3 }, { .blocks_ms = 1000, .times = KP_OFF } };
    contract c;
    kp_lease leases[3];
    (void)state;
    begin(&c);
    c.options.limits.validate_after_ms = KP_NONE;
    c.script.create = slow;
    c.script.validate = bad;
    contract_open(&c);
    contract_take_all(&c, kp_str("a"), leases, 3);
    contract_give_all(&c, leases, 3);
    assert_int_equal(get_within(&c, "a", 50, &leases[0]), KP_ETIMEDOUT);
    assert_int_equal(kp_sim_now_ms(c.sim), 100);
    contract_end(&c);
}

/* An idle one is destroyed first: another key's, for its room, or its own, which is too old. That
 * takes longer than the request can wait. The room that is left is whoever's is next. */
static void no_create_must_begin_after_the_deadline(void **state)
{
    static const kp_line slow[] = { { .blocks_ms = 100, .times = 1 }, { 0 } };
    (void)state;
    for (int own = 0; own < 2; own++) {
        contract c;
        kp_lease lease;
        begin(&c);
        c.options.limits.idle_ttl_ms = 10;
        c.options.limits.idle_check = KP_CHECK_GET;
        c.options.budget.max_live = 1 + own;
        c.options.budget.create_rate = 1;
        c.options.budget.create_burst = 2;
        c.script.destroy = slow;
        contract_open(&c);
        contract_take(&c, kp_str("a"), &lease);
        contract_give(&c, &lease);
        kp_sim_pass_ms(c.sim, 20);
        assert_int_equal(get_within(&c, own ? "a" : "b", 50, &lease), KP_ETIMEDOUT);
        assert_string_equal(c.why.limit, "destroy");
        assert_int_equal(kp_sim_now_ms(c.sim), 120);
        assert_int_equal(kp_cast_read(c.cast).creates, 1);
        assert_int_equal(stats(&c, NULL).live, 0);
        assert_int_equal(stats(&c, NULL).timeouts, 1);
        contract_take(&c, kp_str("b"), &lease); /* its token came back, too */
        assert_int_equal(kp_sim_now_ms(c.sim), 120);
        contract_give(&c, &lease);
        contract_end(&c);
    }
}

static void a_request_must_end_at_its_deadline_though_its_validate_is_pending(void **state)
{
    static const kp_line slow[] = { { .takes_ms = 1000, .times = KP_OFF } };
    contract c;
    kp_lease a;
    (void)state;
    begin(&c);
    c.options.limits.validate_after_ms = KP_NONE;
    c.script.validate = slow;
    contract_open(&c);
    contract_take(&c, kp_str("a"), &a);
    contract_give(&c, &a);
    int rc = get_within(&c, "a", 50, &a);
    assert_int_equal(rc, KP_ETIMEDOUT);
    assert_int_equal(kp_sim_now_ms(c.sim), 50);
    kp_sim_pass_ms(c.sim, 2000);
    contract_end(&c);
}

static void a_deadline_that_has_passed_must_be_called_a_time_out(void **state)
{
    contract c;
    kp_lease a, b;
    (void)state;
    begin(&c);
    c.options.limits.max_live = 1;
    contract_open(&c);
    contract_take(&c, kp_str("a"), &a);
    kp_ask ask = { .until = kp_deadline_in(c.pool, 100) };
    kp_sim_pass_ms(c.sim, 200);
    assert_int_equal(kp_get(c.pool, kp_str("a"), &ask, &b), KP_ETIMEDOUT);
    contract_give(&c, &a);
    contract_end(&c);
}

static void who_found_its_resource_bad_must_keep_its_place(void **state)
{
    static const kp_line bad[] = { { .blocks_ms = 50, .status = -1 }, { 0 } };
    contract c;
    kp_lease a;
    (void)state;
    begin(&c);
    c.options.limits.max_live = 1;
    c.options.limits.validate_after_ms = KP_NONE;
    c.script.validate = bad;
    contract_open(&c);
    contract_take(&c, kp_str("a"), &a);
    contract_give(&c, &a);
    struct visit first = { .key = "a", .within_ms = 1000, .keep = true };
    struct visit second = { .key = "a", .at_ms = 10, .within_ms = 1000 };
    send(&c, &first);
    send(&c, &second);
    kp_sim_pass_ms(c.sim, 500);
    assert_int_equal(first.rc, 0);
    assert_int_equal(second.rc, KP_PENDING);
    kp_release(&first.lease);
    kp_sim_join(c.sim, 0);
    contract_end(&c);
}

/* It may take its time to look into what is idle; but there is nothing to wait for afterwards. */
static void who_does_not_wait_must_not_wait_after_a_check_that_failed(void **state)
{
    static const kp_line bad[] = { { .status = -1, .times = KP_OFF }, { 0 } };
    contract c;
    kp_lease lease;
    (void)state;
    begin_bare(&c);
    c.options.limits.validate_after_ms = KP_NONE;
    c.script.validate = bad;
    open_short(&c);
    contract_take(&c, kp_str("a"), &lease);
    contract_give(&c, &lease);
    uint64_t before = kp_now_ns(c.pool);
    assert_int_equal(kp_get(c.pool, kp_str("a"),
                            KP_ASK(.within_ms = KP_OFF, .flags = KP_DONT_WAIT), &lease),
                     KP_EAGAIN);
    assert_int_equal(kp_now_ns(c.pool), before);
    contract_end(&c);
}

/* Of two idle ones the first is bad; the other one is lent, and no time counts as waiting. */
static void who_does_not_wait_must_be_lent_another_one_than_the_bad(void **state)
{
    static const kp_line bad[] = { { .blocks_ms = 10, .status = -1 }, { 0 } };
    static const uint32_t flags[] = { KP_DONT_WAIT, 0 };
    (void)state;
    for (int i = 0; i < 2; i++) {
        contract c;
        kp_lease leases[2], lease;
        begin(&c);
        c.options.limits.validate_after_ms = KP_NONE;
        c.script.validate = bad;
        contract_open(&c);
        contract_take_all(&c, kp_str("a"), leases, 2);
        contract_give_all(&c, leases, 2);
        kp_sim_pass_ms(c.sim, 1);
        kp_ask ask = { .within_ms = KP_NONE, .flags = flags[i] };
        assert_int_equal(kp_get(c.pool, kp_str("a"), &ask, &lease), 0);
        assert_int_equal(kp_cast_read(c.cast).validates, 2);
        assert_int_equal(stats(&c, "a").creates, 2);
        assert_int_equal(stats(&c, "a").waits, 0);
        assert_int_equal(stats(&c, "a").wait_ns, 0);
        contract_give(&c, &lease);
        contract_end(&c);
    }
}

static void who_does_not_wait_must_not_count_as_one_who_waited(void **state)
{
    static const kp_ask asks[] = { { .within_ms = KP_NONE }, { .within_ms = 0 } };
    (void)state;
    for (int i = 0; i < 2; i++) {
        contract c;
        kp_lease a, b;
        begin(&c);
        c.options.limits.max_live = 1;
        c.options.deadline_ms = KP_NONE; /* of who says nothing */
        contract_open(&c);
        contract_take(&c, kp_str("a"), &a);
        assert_int_equal(kp_get(c.pool, kp_str("a"), &asks[i], &b), KP_EAGAIN);
        assert_int_equal(stats(&c, "a").refusals, 1);
        assert_int_equal(stats(&c, "a").timeouts, 0);
        assert_int_equal(stats(&c, "a").waits, 0);
        contract_give(&c, &a);
        contract_end(&c);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hit_while_the_circuit_is_open_must_not_keep_it_open),
        cmocka_unit_test(an_open_circuit_must_let_a_probe_through_without_any_other_clock),
        cmocka_unit_test(a_probe_whose_create_is_pending_must_get_what_it_makes),
        cmocka_unit_test(a_probe_that_times_out_must_not_keep_the_circuit_open),
        cmocka_unit_test(a_create_that_becomes_pending_after_close_must_refuse_its_request),
        cmocka_unit_test(a_request_whose_resource_is_found_bad_after_close_must_be_refused),
        cmocka_unit_test(a_draining_close_must_serve_a_request_whose_create_blocks),
        cmocka_unit_test(close_must_end_a_warming_that_waits),
        cmocka_unit_test(warming_must_go_on_when_the_pause_after_a_failure_is_over),
        cmocka_unit_test(a_newer_request_before_it_must_not_make_an_older_one_spin),
        cmocka_unit_test(retrying_without_a_pause_must_still_end_at_the_deadline),
        cmocka_unit_test(no_driver_function_must_begin_after_the_deadline),
        cmocka_unit_test(no_create_must_begin_after_the_deadline),
        cmocka_unit_test(a_request_must_end_at_its_deadline_though_its_validate_is_pending),
        cmocka_unit_test(a_deadline_that_has_passed_must_be_called_a_time_out),
        cmocka_unit_test(who_found_its_resource_bad_must_keep_its_place),
        cmocka_unit_test(who_does_not_wait_must_not_wait_after_a_check_that_failed),
        cmocka_unit_test(who_does_not_wait_must_be_lent_another_one_than_the_bad),
        cmocka_unit_test(who_does_not_wait_must_not_count_as_one_who_waited),
    };
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
