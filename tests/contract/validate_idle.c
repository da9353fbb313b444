/* SPDX-License-Identifier: MIT
 *
 * limits.validate_on with KP_CHECK_KEEPER: idle resources are validated in the background, spread
 * over time, and no request that could be served waits for that.
 */
#include "failover.h"

static struct house *const h = &failover.h;

enum { EVERY = 30000 };

static kp_options plan(int64_t max_live, const kp_script *script)
{
    kp_options o = failover_plan(max_live, script);

    o.limits.validate_on = KP_CHECK_KEEPER;
    o.limits.validate_every_ms = EVERY;
    return o;
}

/* ---- when ------------------------------------------------------------------------------------ */

static void what_is_idle_must_be_validated_once_in_so_long(void **state)
{
    kp_options o = plan(1, NULL);

    (void)state;
    house_open(h, &o);
    house_stock(h, "db", 1);
    house_pass(h, EVERY / 4 * 3 - 1);
    HOUSE_IS(h, failover.checks, 0);
    house_pass(h, EVERY / 4 + 1);
    HOUSE_IS(h, failover.checks, 1);
    for (uint64_t n = 1; n <= 20; n++) {
        house_pass(h, EVERY);
        HOUSE_HAS(h, failover.checks > n && failover.checks <= 1 + (n * 4 + 4) / 3);
    }
    HOUSE_IS(h, house_stats(h, "db").idle, 1);
    house_close(h);
}

static void what_was_used_must_be_left_alone(void **state)
{
    kp_options o = plan(1, NULL);

    (void)state;
    house_open(h, &o);
    for (int i = 0; i < 20; i++) {
        house_stock(h, "db", 1);
        house_pass(h, EVERY / 2);
    }
    HOUSE_IS(h, failover.checks, 0);
    house_close(h);
}

static void those_that_were_made_together_must_be_validated_one_by_one(void **state)
{
    kp_options o = plan(50, NULL);

    (void)state;
    house_open(h, &o);
    house_stock(h, "db", 50);
    uint64_t before = 0, most = 0;
    for (int ms = 0; ms < EVERY; ms += 100) {
        house_pass(h, 100);
        if (failover.checks - before > most) most = failover.checks - before;
        before = failover.checks;
    }
    HOUSE_IS(h, failover.checks, 50);
    HOUSE_HAS(h, most <= 5);
    house_close(h);
}

static void without_the_word_keeper_nothing_must_be_validated_in_the_background(void **state)
{
    kp_options o = plan(1, NULL);

    (void)state;
    o.limits.validate_on = KP_CHECK_GET | KP_CHECK_RETURN;
    house_open(h, &o);
    house_stock(h, "db", 1);
    uint64_t checks = failover.checks;
    house_pass(h, 10 * EVERY);
    HOUSE_IS(h, failover.checks, checks);
    house_close(h);
}

static void without_a_driver_for_it_there_must_be_nothing_to_do(void **state)
{
    const kp_limits keeper = { .validate_on = KP_CHECK_KEEPER };
    kp_options o = plan(1, NULL);

    (void)state;
    o.driver.validate = NULL;
    o.limits.validate_on = 0; /* a pool that could never do it is refused */
    house_open(h, &o);
    HOUSE_IS(h, kp_limits_set(h->pool, KP_EVERY_KEY, &keeper, NULL), 0);
    house_stock(h, "db", 1);
    house_pass(h, 10 * EVERY);
    HOUSE_IS(h, house_stats(h, "db").idle, 1);
    house_close(h);
}

/* ---- how it ends ----------------------------------------------------------------------------- */

static void a_bad_one_must_go_and_be_counted_and_told(void **state)
{
    kp_options o = plan(2, NULL);

    (void)state;
    o.limits.on_gone = KP_OFF;
    house_open(h, &o);
    house_stock(h, "db", 2);
    failover.dead_first = failover.dead_last = 1;
    house_pass(h, EVERY + FAILOVER_TIMEOUT);
    HOUSE_IS(h, house_stats(h, "db").invalid, 1);
    HOUSE_IS(h, h->seen[KP_EVENT_INVALID], 1);
    HOUSE_IS(h, house_stats(h, "db").live, 1);
    house_close(h);
}

static void a_minimum_must_be_made_up_for(void **state)
{
    kp_options o = plan(2, NULL);

    (void)state;
    o.limits.min_live = 2;
    o.limits.refill = KP_REFILL_EAGER;
    house_open(h, &o);
    house_stock(h, "db", 2);
    failover.dead_first = 1;
    failover.dead_last = 2;
    house_pass(h, EVERY + 3 * FAILOVER_TIMEOUT);
    HOUSE_IS(h, house_stats(h, "db").invalid, 2);
    HOUSE_IS(h, house_stats(h, "db").idle, 2);
    house_close(h);
}

static void its_time_to_live_must_go_on(void **state)
{
    kp_options o = plan(1, NULL);

    (void)state;
    o.limits.idle_ttl_ms = 2 * EVERY;
    house_open(h, &o);
    house_stock(h, "db", 1);
    house_pass(h, 2 * EVERY - 1);
    HOUSE_IS(h, house_stats(h, "db").idle, 1);
    HOUSE_HAS(h, failover.checks >= 1);
    house_pass(h, 1);
    HOUSE_IS(h, house_stats(h, "db").live, 0);
    house_close(h);
}

static void its_place_among_the_idle_must_be_the_old_one(void **state)
{
    kp_options o = plan(4, NULL);
    kp_lease lease[4];

    (void)state;
    house_open(h, &o);
    house_stock(h, "db", 4);
    house_pass(h, EVERY);
    HOUSE_IS(h, failover.checks, 4);
    for (int i = 0; i < 4; i++) {
        lease[i] = house_get(h, "db");
        HOUSE_IS(h, house_number(&lease[i]), 4 - i); /* as they came back, the last one first */
    }
    for (int i = 0; i < 4; i++) house_release(h, &lease[i]);
    house_close(h);
}

static void a_get_must_not_validate_again_what_was_just_tested(void **state)
{
    kp_options o = plan(1, NULL);

    (void)state;
    o.limits.validate_on = KP_CHECK_GET | KP_CHECK_KEEPER;
    o.limits.validate_after_ms = EVERY / 2;
    house_open(h, &o);
    house_stock(h, "db", 1);
    house_pass(h, EVERY);
    HOUSE_IS(h, failover.checks, 1);
    house_stock(h, "db", 1);
    HOUSE_IS(h, failover.checks, 1);
    house_pass(h, EVERY / 2);
    house_stock(h, "db", 1);
    HOUSE_IS(h, failover.checks, 2);
    house_close(h);
}

/* ---- meanwhile ------------------------------------------------------------------------------- */

/* Until a test has begun; then it takes a second. */
static void until_one_is_tested(void)
{
    failover.good_takes_ms = 1000;
    while (failover.at_once == 0) house_pass(h, 1);
    HOUSE_IS(h, house_stats(h, "db").creating, 1);
}

static void one_that_is_tested_must_not_count_as_idle(void **state)
{
    kp_options o = plan(1, NULL);
    kp_lease lease;

    (void)state;
    house_open(h, &o);
    house_stock(h, "db", 1);
    until_one_is_tested();
    HOUSE_IS(h, house_stats(h, "db").idle, 0);
    HOUSE_IS(h, house_stats(h, "db").testing, 1);
    HOUSE_IS(h, house_stats(h, NULL).testing, 1);
    HOUSE_IS(h, house_try(h, "db", &lease), KP_EAGAIN);
    int64_t before = kp_sim_now_ms(h->sim);
    lease = house_get(h, "db"); /* no room for another: it waits for the end of the test */
    HOUSE_IS(h, house_number(&lease), 1);
    HOUSE_HAS(h, kp_sim_now_ms(h->sim) - before <= 1000);
    house_release(h, &lease);
    house_close(h);
}

static void who_comes_while_all_are_tested_must_get_a_new_one_where_there_is_room(void **state)
{
    kp_options o = plan(2, NULL);

    (void)state;
    house_open(h, &o);
    house_stock(h, "db", 1);
    until_one_is_tested();
    int64_t before = kp_sim_now_ms(h->sim);
    kp_lease lease = house_get(h, "db");
    HOUSE_IS(h, house_number(&lease), 2);
    HOUSE_IS(h, kp_sim_now_ms(h->sim), before);
    house_release(h, &lease);
    house_pass(h, 1000);
    house_close(h);
}

static void a_test_must_take_no_creation_from_who_waits_for_one(void **state)
{
    kp_options o = plan(4, NULL);

    (void)state;
    o.limits.max_creating = 1;
    o.budget.max_creating = 1;
    house_open(h, &o);
    house_stock(h, "db", 1);
    until_one_is_tested();
    int64_t before = kp_sim_now_ms(h->sim);
    kp_lease lease = house_get(h, "db"), other = house_get(h, "other");
    HOUSE_IS(h, kp_sim_now_ms(h->sim), before);
    house_release(h, &lease);
    house_release(h, &other);
    house_pass(h, 1000);
    house_close(h);
}

/* Answers are pending; no thread waits for them. */
static const kp_line slow_answers[] = { { .takes_ms = 1000, .times = KP_OFF }, { 0 } };
static const kp_script pends = { .validate = slow_answers };

static kp_options pending_plan(int64_t max_live)
{
    kp_options o = plan(max_live, &pends);

    o.driver.validate = kp_cast_driver(h->cast).validate;
    return o;
}

static void until_it_pends(void)
{
    while (house_stats(h, "db").creating == 0) house_pass(h, 1);
}

static void one_of_the_idle_ones_must_be_left_for_who_comes(void **state)
{
    kp_options o = pending_plan(2);
    uint64_t validated;

    (void)state;
    o.limits.max_creating = 2;
    house_open(h, &o);
    house_stock(h, "db", 2);
    for (int ms = 0; ms < 2 * EVERY; ms += 10) {
        house_pass(h, 10);
        HOUSE_HAS(h, house_stats(h, "db").idle >= 1);
    }
    validated = house_cast(h).validates;
    HOUSE_HAS(h, validated >= 2);
    house_close(h);
}

static void a_pending_answer_must_be_waited_for_by_nobody(void **state)
{
    kp_options o = pending_plan(1);

    (void)state;
    house_open(h, &o);
    house_stock(h, "db", 1);
    until_it_pends();
    kp_lease other = house_get(h, "other");
    house_release(h, &other);
    house_pass(h, 1000);
    HOUSE_IS(h, house_stats(h, "db").idle, 1);
    house_close(h);
}

static void what_is_invalidated_meanwhile_must_go_when_it_was_tested(void **state)
{
    (void)state;
    for (int by_key = 0; by_key < 2; by_key++) {
        kp_options o = pending_plan(1);
        house_open(h, &o);
        kp_lease lease = house_get(h, "db");
        const void *resource = lease.resource;
        house_release(h, &lease);
        until_it_pends();
        HOUSE_IS(h, by_key ? kp_invalidate_key(h->pool, kp_str("db"))
                           : kp_invalidate(h->pool, resource), 1);
        HOUSE_IS(h, kp_invalidate(h->pool, resource), 0); /* marked before */
        HOUSE_IS(h, house_stats(h, "db").live, 1);
        house_pass(h, 1000);
        HOUSE_IS(h, house_stats(h, "db").live, 0);
        HOUSE_IS(h, house_stats(h, "db").invalidated, 1);
        house_close(h);
    }
}

static void a_close_must_wait_for_a_test_that_is_under_way(void **state)
{
    kp_options o = pending_plan(1);

    (void)state;
    house_open(h, &o);
    house_stock(h, "db", 1);
    until_it_pends();
    int64_t before = kp_sim_now_ms(h->sim);
    HOUSE_IS(h, kp_pool_close(h->pool, KP_CLOSE_WAIT, KP_SECONDS(5)), 0);
    HOUSE_HAS(h, kp_sim_now_ms(h->sim) > before);
    h->ended = true;
    house_leave(h);
}

static void a_close_that_does_not_wait_must_leave_its_end_to_the_answer(void **state)
{
    kp_options o = pending_plan(1);

    (void)state;
    house_open(h, &o);
    house_stock(h, "db", 1);
    until_it_pends();
    HOUSE_IS(h, kp_pool_close(h->pool, KP_CLOSE_NOW, 1), 1);
    h->ended = true;
    kp_sim_pass_ms(h->sim, 1000);
    house_leave(h);
}

/* What came back meanwhile has its place, if there is only one. */
static void what_is_too_many_after_a_test_must_go(void **state)
{
    kp_options o = pending_plan(2);

    (void)state;
    o.limits.max_idle = 1;
    house_open(h, &o);
    house_stock(h, "db", 1);
    until_it_pends();
    house_stock(h, "db", 1); /* a second one */
    HOUSE_IS(h, house_stats(h, "db").live, 2);
    house_pass(h, 1000);
    HOUSE_IS(h, house_stats(h, "db").idle, 1);
    HOUSE_IS(h, house_stats(h, "db").live, 1);
    house_close(h);
}

static void a_key_must_be_forgotten_all_the_same(void **state)
{
    kp_options o = pending_plan(1);

    (void)state;
    o.limits.min_live = 1;
    o.forget_key_after_ms = 3 * EVERY;
    house_open(h, &o);
    house_stock(h, "db", 1);
    house_pass(h, 3 * EVERY + 2000);
    HOUSE_IS(h, house_stats(h, NULL).keys, 0);
    house_close(h);
}

static int hurried;

static void hurry(kp_job *job)
{
    hurried++;
    kp_job_done(job, -1, NULL);
}

static int never_answers(kp_job *job, void *resource)
{
    (void)job;
    (void)resource;
    return KP_PENDING;
}

static void a_test_that_takes_too_long_must_be_hurried(void **state)
{
    kp_options o = plan(1, NULL);

    (void)state;
    hurried = 0;
    o.driver.validate = never_answers;
    o.driver.cancel = hurry;
    o.limits.validate_timeout_ms = 500;
    house_open(h, &o);
    house_stock(h, "db", 1);
    until_it_pends();
    house_pass(h, 499);
    HOUSE_IS(h, hurried, 0);
    house_pass(h, 2);
    HOUSE_IS(h, hurried, 1);
    HOUSE_IS(h, house_stats(h, "db").live, 0);
    house_close(h);
}

static void one_that_cannot_be_hurried_must_be_waited_for(void **state)
{
    kp_options o = pending_plan(1);
    char text[500];

    (void)state;
    o.limits.validate_timeout_ms = 500;
    house_open(h, &o);
    house_stock(h, "db", 1);
    until_it_pends();
    house_pass(h, 999);
    HOUSE_IS(h, house_stats(h, "db").testing, 1);
    (void)kp_explain(h->pool, kp_str("db"), text, sizeof text);
    HOUSE_HAS(h, strstr(text, "validated by the keeper: 1"));
    house_pass(h, 1);
    HOUSE_IS(h, house_stats(h, "db").idle, 1);
    house_close(h);
}

static int answers_early(kp_job *job, void *resource)
{
    (void)resource;
    failover.checks++;
    kp_job_done(job, 0, NULL);
    return KP_PENDING;
}

static void an_answer_that_comes_before_the_word_that_it_will_must_count(void **state)
{
    kp_options o = plan(1, NULL);

    (void)state;
    o.driver.validate = answers_early;
    house_open(h, &o);
    house_stock(h, "db", 1);
    house_pass(h, EVERY);
    HOUSE_IS(h, failover.checks, 1);
    HOUSE_IS(h, house_stats(h, "db").idle, 1);
    house_close(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_idle_must_be_validated_once_in_so_long),
        cmocka_unit_test(what_was_used_must_be_left_alone),
        cmocka_unit_test(those_that_were_made_together_must_be_validated_one_by_one),
        cmocka_unit_test(without_the_word_keeper_nothing_must_be_validated_in_the_background),
        cmocka_unit_test(without_a_driver_for_it_there_must_be_nothing_to_do),
        cmocka_unit_test(a_bad_one_must_go_and_be_counted_and_told),
        cmocka_unit_test(a_minimum_must_be_made_up_for),
        cmocka_unit_test(its_time_to_live_must_go_on),
        cmocka_unit_test(its_place_among_the_idle_must_be_the_old_one),
        cmocka_unit_test(a_get_must_not_validate_again_what_was_just_tested),
        cmocka_unit_test(one_that_is_tested_must_not_count_as_idle),
        cmocka_unit_test(who_comes_while_all_are_tested_must_get_a_new_one_where_there_is_room),
        cmocka_unit_test(a_test_must_take_no_creation_from_who_waits_for_one),
        cmocka_unit_test(one_of_the_idle_ones_must_be_left_for_who_comes),
        cmocka_unit_test(a_pending_answer_must_be_waited_for_by_nobody),
        cmocka_unit_test(what_is_invalidated_meanwhile_must_go_when_it_was_tested),
        cmocka_unit_test(a_close_must_wait_for_a_test_that_is_under_way),
        cmocka_unit_test(a_close_that_does_not_wait_must_leave_its_end_to_the_answer),
        cmocka_unit_test(what_is_too_many_after_a_test_must_go),
        cmocka_unit_test(a_key_must_be_forgotten_all_the_same),
        cmocka_unit_test(a_test_that_takes_too_long_must_be_hurried),
        cmocka_unit_test(one_that_cannot_be_hurried_must_be_waited_for),
        cmocka_unit_test(an_answer_that_comes_before_the_word_that_it_will_must_count),
    };
    return cmocka_run_group_tests_name("validation while idle", tests, NULL, NULL);
}
