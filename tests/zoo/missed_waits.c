/* SPDX-License-Identifier: MIT
 *
 * What the zoo showed that no test looked at, first part: who must be served, and when. Each test
 * here was written for a bug that all others let pass (zoo.txt); it asserts what is right.
 */
#include "contract/corners.h"

/* ---- something became free ------------------------------------------------------------------- */

static void who_meets_the_last_one_being_expired_must_be_served_when_it_is_gone(void **state)
{
    static const kp_line slow[] = { { .blocks_ms = 50 }, { 0 } };
    contract c;
    kp_lease lease;
    (void)state;
    begin(&c);
    c.options.limits.max_live = 1;
    c.options.limits.idle_ttl_ms = 100;
    c.script.destroy = slow;
    contract_open(&c);
    contract_take(&c, kp_str("a"), &lease);
    contract_give(&c, &lease);
    struct visit late = { .key = "a", .at_ms = 120 };
    send(&c, &late);
    kp_sim_join(c.sim, 0);
    assert_int_equal(late.rc, 0);
    assert_int_equal(late.answered_ms, 150);
    contract_end(&c);
}

static void a_lent_permit_that_a_late_request_gives_back_must_serve_the_next_at_once(void **state)
{
    static const kp_line slow[] = { { .takes_ms = 1000 }, { 0 } };
    contract c;
    (void)state;
    begin(&c);
    c.options.limits.max_lent = 1;
    c.script.create = slow;
    contract_open(&c);
    struct visit first = { .key = "a", .within_ms = 100 }, second = { .key = "a", .at_ms = 10 };
    send(&c, &first);
    send(&c, &second);
    kp_sim_join(c.sim, second.task);
    assert_int_equal(first.rc, KP_ETIMEDOUT);
    assert_int_equal(second.rc, 0);
    assert_int_equal(second.answered_ms, 100);
    kp_sim_pass_ms(c.sim, 1000);
    contract_end(&c);
}

struct closer {
    contract *c;
    int64_t out, ended_ms;
};

static void close_it(void *arg)
{
    struct closer *closer = arg;
    closer->out = kp_pool_close(closer->c->pool, KP_CLOSE_WAIT, KP_SECONDS(10));
    closer->ended_ms = kp_sim_now_ms(closer->c->sim);
}

static void all_who_close_must_be_woken_by_the_last_return(void **state)
{
    enum { CLOSERS = 5 };
    struct closer closers[CLOSERS];
    contract c;
    kp_lease lease;
    (void)state;
    begin(&c);
    contract_open(&c);
    contract_take(&c, kp_str("a"), &lease);
    for (int i = 0; i < CLOSERS; i++) {
        closers[i] = (struct closer){ &c, -1, -1 };
        assert_true(kp_sim_spawn(c.sim, close_it, &closers[i]) > 0);
    }
    kp_sim_pass_ms(c.sim, 50);
    kp_release(&lease);
    kp_sim_join(c.sim, 0);
    for (int i = 0; i < CLOSERS; i++) {
        assert_int_equal(closers[i].out, 0);
        assert_int_equal(closers[i].ended_ms, 50);
    }
    contract_end(&c);
}

static void who_waits_for_an_evicted_one_of_its_key_must_be_served_by_the_budget_later(void **state)
{
    static const kp_line slow[] = { { .blocks_ms = 50, .times = KP_OFF } };
    contract c;
    kp_lease lease;
    (void)state;
    begin(&c);
    c.options.limits.max_live = 1;
    c.options.budget.max_live = 1;
    c.script.destroy = slow;
    contract_open(&c);
    contract_take(&c, kp_str("a"), &lease);
    contract_give(&c, &lease);
    struct visit heir = { .key = "b", .hold_ms = 100 }, loser = { .key = "a", .at_ms = 10 };
    send(&c, &heir); /* evicts until 50, has it until 150 */
    send(&c, &loser);
    kp_sim_join(c.sim, 0);
    assert_int_equal(heir.answered_ms, 50);
    assert_int_equal(loser.rc, 0);
    assert_int_equal(loser.answered_ms, 200);
    contract_end(&c);
}

static void who_waits_for_its_turn_to_create_must_have_it_when_a_create_ends(void **state)
{
    static const kp_line slow[] = { { .blocks_ms = 50, .times = KP_OFF } };
    contract c;
    (void)state;
    begin(&c);
    c.options.limits.max_creating = 1;
    c.script.create = slow;
    contract_open(&c);
    struct visit first = { .key = "a", .hold_ms = 1000 }, second = { .key = "a", .at_ms = 1 };
    send(&c, &first);
    send(&c, &second);
    kp_sim_join(c.sim, 0);
    assert_int_equal(first.answered_ms, 50);
    assert_int_equal(second.answered_ms, 100);
    contract_end(&c);
}

static void a_seat_that_one_sharer_leaves_must_serve_who_waits(void **state)
{
    contract c;
    (void)state;
    begin(&c);
    c.options.limits.max_live = 1;
    c.options.limits.sharing = 2;
    contract_open(&c);
    struct visit one = { .key = "a", .hold_ms = 100 }, two = { .key = "a", .hold_ms = 1000 },
                 third = { .key = "a", .at_ms = 10 };
    send(&c, &one);
    send(&c, &two);
    send(&c, &third);
    kp_sim_join(c.sim, 0);
    assert_int_equal(third.rc, 0);
    assert_int_equal(third.answered_ms, 100);
    contract_end(&c);
}

static void a_is_heavy(kp_key key, kp_limits *limits, void *ctx)
{
    (void)ctx;
    if (key.size == 1 && *(const char *)key.data == 'a') limits->weight = 100;
}

static void what_a_key_below_its_share_gives_back_must_serve_who_waits_for_it(void **state)
{
    contract c;
    (void)state;
    begin(&c);
    c.options.budget.max_lent = 2;
    c.options.limits_for = a_is_heavy;
    contract_open(&c);
    struct visit poor = { .key = "a", .hold_ms = 50 }, rich = { .key = "b", .hold_ms = 1000 },
                 waits = { .key = "b", .at_ms = 10 };
    send(&c, &poor);
    send(&c, &rich);
    send(&c, &waits);
    kp_sim_join(c.sim, 0);
    assert_int_equal(waits.rc, 0);
    assert_int_equal(waits.answered_ms, 50);
    contract_end(&c);
}

/* ---- what a request must not wait for -------------------------------------------------------- */

static void creates_that_fail_must_not_use_up_the_creations_of_the_pool(void **state)
{
    static const kp_line bad[] = { { .status = -5, .times = 3 }, { 0 } };
    contract c;
    kp_lease lease;
    (void)state;
    begin(&c);
    c.options.budget.max_creating = 1;
    c.script.create = bad;
    contract_open(&c);
    for (int i = 0; i < 3; i++) contract_refused(&c, kp_str("a"), 100, KP_ECREATE);
    assert_int_equal(get_within(&c, "b", 100, &lease), 0);
    kp_release(&lease);
    contract_end(&c);
}

static void a_probe_without_memory_must_leave_the_circuit_to_the_next_probe(void **state)
{
    static const kp_line bad[] = { { .status = -5 }, { 0 } };
    static const kp_limits wider = { .sharing = 3 };
    contract c;
    kp_lease lease;
    (void)state;
    begin(&c);
    c.options.limits.sharing = 2;
    c.options.limits.breaker_failures = 1;
    c.options.limits.breaker_open_ms = 20;
    c.script.create = bad;
    contract_open(&c);
    contract_refused(&c, kp_str("a"), 100, KP_ECREATE);
    contract_refused(&c, kp_str("a"), 100, KP_EBREAKER);
    assert_int_equal(kp_limits_set(c.pool, kp_str("a"), &wider, NULL), 0);
    kp_sim_pass_ms(c.sim, 20);
    kp_sim_fail_alloc(c.sim, 1, false); /* the seats of three sharers */
    contract_refused(&c, kp_str("a"), 100, KP_ENOMEM);
    assert_int_equal(get_within(&c, "a", 100, &lease), 0);
    kp_release(&lease);
    contract_end(&c);
}

static int answer_first(kp_job *job, void **resource)
{
    static int thing;
    (void)resource;
    kp_job_done(job, 0, &thing);
    return KP_PENDING;
}

static int nothing_to_do(kp_job *job, void *resource)
{
    (void)job;
    (void)resource;
    return 0;
}

static void a_create_that_is_answered_before_it_says_pending_must_serve_its_request(void **state)
{
    static const kp_driver driver = { .create = answer_first, .destroy = nothing_to_do };
    contract c;
    kp_lease lease;
    (void)state;
    begin(&c);
    contract_open_driver(&c, &driver);
    assert_int_equal(get_within(&c, "a", 100, &lease), 0);
    assert_int_equal(kp_sim_now_ms(c.sim), 0);
    kp_release(&lease);
    contract_end(&c);
}

static void a_pending_create_that_fails_must_fail_its_own_request(void **state)
{
    static const kp_line bad[] = { { .takes_ms = 10, .status = -5, .vendor_code = 77 }, { 0 } };
    contract c;
    (void)state;
    begin(&c);
    c.script.create = bad;
    contract_open(&c);
    kp_why why = contract_refused(&c, kp_str("a"), 1000, KP_ECREATE);
    assert_int_equal(why.vendor_code, 77);
    assert_int_equal(kp_sim_now_ms(c.sim), 10);
    assert_int_equal(stats(&c, "a").create_failures, 1);
    assert_int_equal(stats(&c, "a").creates, 0);
    contract_end(&c);
}

/* A validation that is answered between the last look at it and the end of the patience: by a clock
 * that answers when it is asked at that time. */
static struct {
    const kp_world *sim;
    kp_job *job;
    uint64_t at;
} clock_that_answers;

static uint64_t now_answering(void *ctx)
{
    uint64_t now = clock_that_answers.sim->now_ns(ctx);
    kp_job *job = clock_that_answers.job;

    if (!job || now < clock_that_answers.at) return now;
    clock_that_answers.job = NULL;
    kp_job_done(job, 0, NULL);
    return now;
}

static int validate_until(kp_job *job, void *resource)
{
    (void)resource;
    clock_that_answers.at = clock_that_answers.sim->now_ns(clock_that_answers.sim->ctx) + 10000000;
    clock_that_answers.job = job;
    return KP_PENDING;
}

static int make_thing(kp_job *job, void **resource)
{
    static int thing;
    (void)job;
    *resource = &thing;
    return 0;
}

static void a_validation_answered_as_its_get_gives_up_must_not_lose_the_lease(void **state)
{
    static const kp_driver driver = { .create = make_thing,
                                      .destroy = nothing_to_do,
                                      .validate = validate_until };
    contract c;
    kp_world world;
    kp_lease lease;
    (void)state;
    begin(&c);
    clock_that_answers.sim = kp_sim_world(c.sim);
    world = *clock_that_answers.sim;
    world.now_ns = now_answering;
    c.options.world = &world;
    c.options.limits.max_live = 1;
    c.options.limits.validate_after_ms = KP_NONE;
    c.options.limits.validate_timeout_ms = 10;
    contract_open_driver(&c, &driver);
    assert_int_equal(get_within(&c, "a", 100, &lease), 0);
    kp_release(&lease);
    assert_int_equal(get_within(&c, "a", 100, &lease), 0);
    kp_release(&lease);
    assert_int_equal(stats(&c, "a").lent, 0);
    contract_end(&c);
}

/* ---- order ----------------------------------------------------------------------------------- */

static void who_comes_as_one_is_given_back_must_not_pass_who_waits(void **state)
{
    contract c;
    kp_lease lease;
    (void)state;
    begin(&c);
    c.options.limits.max_live = 1;
    contract_open(&c);
    contract_take(&c, kp_str("a"), &lease);
    struct visit waits = { .key = "a", .within_ms = 100 };
    send(&c, &waits);
    kp_sim_pass_ms(c.sim, 10);
    kp_release(&lease); /* and back at once, before anybody else has run */
    assert_int_equal(get_within(&c, "a", KP_NONE, &lease), KP_EAGAIN);
    kp_sim_join(c.sim, 0);
    assert_int_equal(waits.rc, 0);
    assert_int_equal(waits.answered_ms, 10);
    contract_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_meets_the_last_one_being_expired_must_be_served_when_it_is_gone),
        cmocka_unit_test(a_lent_permit_that_a_late_request_gives_back_must_serve_the_next_at_once),
        cmocka_unit_test(all_who_close_must_be_woken_by_the_last_return),
        cmocka_unit_test(
            who_waits_for_an_evicted_one_of_its_key_must_be_served_by_the_budget_later),
        cmocka_unit_test(who_waits_for_its_turn_to_create_must_have_it_when_a_create_ends),
        cmocka_unit_test(a_seat_that_one_sharer_leaves_must_serve_who_waits),
        cmocka_unit_test(what_a_key_below_its_share_gives_back_must_serve_who_waits_for_it),
        cmocka_unit_test(creates_that_fail_must_not_use_up_the_creations_of_the_pool),
        cmocka_unit_test(a_probe_without_memory_must_leave_the_circuit_to_the_next_probe),
        cmocka_unit_test(a_create_that_is_answered_before_it_says_pending_must_serve_its_request),
        cmocka_unit_test(a_pending_create_that_fails_must_fail_its_own_request),
        cmocka_unit_test(a_validation_answered_as_its_get_gives_up_must_not_lose_the_lease),
        cmocka_unit_test(who_comes_as_one_is_given_back_must_not_pass_who_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
