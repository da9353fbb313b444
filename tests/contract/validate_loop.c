/* SPDX-License-Identifier: MIT
 *
 * The keeper's checks where an event loop is the keeper, or threads of the pool are: a check is a
 * job like any other, and no thread waits for it. A request that waits gets the first resource that
 * is found to be good.
 */
#include "loop.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

enum { EVERY = 30000 };

static const kp_line takes_a_second[] = { { .takes_ms = 1000, .times = KP_OFF }, { 0 } };
static const kp_line gone_after_a_second[] = { { .takes_ms = 1000, .status = KP_EGONE }, { 0 } };
static const kp_line gone_at_once[] = { { .status = KP_EGONE }, { 0 } };

static kp_options plan(int64_t max_live)
{
    return (kp_options){ .limits = { .max_live = max_live, .idle_ttl_ms = KP_OFF,
                                     .max_age_ms = KP_OFF, .validate_after_ms = KP_OFF,
                                     .validate_on = KP_CHECK_KEEPER,
                                     .validate_every_ms = EVERY },
                         .leak_after_ms = KP_OFF };
}

/* So many idle ones, from the loop. */
static void stock(struct stage *s, int many)
{
    struct ask a[4];

    for (int i = 0; i < many; i++) stage_start(s, &a[i], "a", 0);
    stage_pass(s, 1);
    for (int i = 0; i < many; i++) {
        assert_int_equal(a[i].status, 0);
        kp_release(&a[i].lease);
    }
    stage_pass(s, 1);
    assert_int_equal(stage_stats(s).idle, many);
}

static void until_one_is_tested(struct stage *s)
{
    for (int i = 0; i < EVERY && stage_stats(s).testing == 0; i++) stage_pass(s, 1);
    assert_int_equal(stage_stats(s).testing, 1);
}

static void a_loop_must_test_what_is_idle_and_go_on_meanwhile(void **state)
{
    struct stage s;
    struct ask other, same;
    kp_script script = { .validate = takes_a_second };
    kp_options o = plan(1);

    (void)state;
    stage_open_alone(&s, &script, &o);
    stock(&s, 1);
    until_one_is_tested(&s);
    stage_start(&s, &other, "b", 0);
    stage_start(&s, &same, "a", 0);
    stage_pass(&s, 1);
    assert_int_equal(other.status, 0);
    assert_int_equal(same.status, 1);
    kp_release(&other.lease);
    stage_pass(&s, 1000);
    assert_int_equal(same.status, 0);
    kp_release(&same.lease);
    stage_pass(&s, 1);
    assert_int_equal(stage_stats(&s).live, 2);
    stage_close(&s);
}

static void what_is_gone_must_make_its_key_suspect(void **state)
{
    struct stage s;
    kp_script script = { .validate = gone_after_a_second };
    kp_options o = plan(3);

    (void)state;
    stage_open_alone(&s, &script, &o);
    stock(&s, 3);
    until_one_is_tested(&s);
    stage_pass(&s, 1001); /* it is gone; the others are tested at once, and good */
    assert_int_equal(stage_stats(&s).idle, 2);
    assert_int_equal(stage_stats(&s).invalid, 1);
    assert_int_equal(kp_cast_read(s.cast).validates, 3);
    stage_close(&s);
}

/* Whoever checks: the loop, for a request, when the key was not used for so long. */
static void a_check_of_a_request_must_be_able_to_say_it(void **state)
{
    struct stage s;
    struct ask a;
    kp_script script = { .validate = gone_after_a_second };
    kp_options o = plan(2);

    (void)state;
    o.limits.validate_on = KP_CHECK_GET;
    o.limits.validate_after_ms = KP_NONE;
    stage_open_alone(&s, &script, &o);
    stock(&s, 2);
    stage_start(&s, &a, "a", 0);
    stage_pass(&s, 1002);
    assert_int_equal(a.status, 0);
    assert_int_equal(stage_stats(&s).invalid, 1);
    kp_release(&a.lease);
    stage_pass(&s, 1);
    stage_close(&s);
}

/* It was granted, but the loop has not come to it yet. */
static void no_check_must_begin_once_its_pool_is_closed(void **state)
{
    struct stage s;
    struct ask a;
    kp_script script = { .validate = takes_a_second };
    kp_options o = plan(1);

    (void)state;
    o.limits.validate_on = KP_CHECK_GET;
    o.limits.validate_after_ms = KP_NONE;
    stage_open(&s, &script, &o);
    stock(&s, 1);
    stage_start(&s, &a, "a", 0);
    assert_int_equal(kp_pool_close(s.pool, KP_CLOSE_NOW, 0), 1);
    stage_pass(&s, 0);
    assert_int_equal(a.status, KP_ECLOSED);
    assert_int_equal(kp_cast_read(s.cast).validates, 0);
    assert_int_equal(kp_cast_read(s.cast).live, 0);
    assert_int_equal(kp_loop_close(s.loop), 0);
    kp_cast_close(s.cast);
    assert_int_equal(kp_sim_close(s.sim), 0);
}

static void a_way_back_must_be_able_to_say_it(void **state)
{
    struct stage s;
    struct ask a[2];
    kp_script script = { .reset = gone_at_once };
    kp_options o = plan(2);

    (void)state;
    o.limits.on_gone = KP_GONE_REPLACE;
    stage_open_alone(&s, &script, &o);
    for (int i = 0; i < 2; i++) stage_start(&s, &a[i], "a", 0);
    stage_pass(&s, 1);
    kp_release(&a[0].lease);
    stage_pass(&s, 1);
    kp_release(&a[1].lease);
    stage_pass(&s, 1);
    assert_int_equal(stage_stats(&s).live, 0);
    assert_int_equal(stage_stats(&s).invalid, 2);
    stage_close(&s);
}

static void a_loop_that_closes_its_pool_must_see_the_end_of_a_test(void **state)
{
    struct stage s;
    kp_script script = { .validate = takes_a_second };
    kp_options o = plan(1);

    (void)state;
    stage_open_alone(&s, &script, &o);
    stock(&s, 1);
    until_one_is_tested(&s);
    assert_int_equal(kp_pool_close(s.pool, KP_CLOSE_NOW, 0), 1);
    stage_pass(&s, 1001);
    kp_cast_count count = kp_cast_read(s.cast);
    assert_int_equal(count.destroys, count.creates);
    assert_int_equal(kp_loop_close(s.loop), 0);
    kp_cast_close(s.cast);
    assert_int_equal(kp_sim_close(s.sim), 0);
}

/* ---- threads of the pool's own, on the real clock -------------------------------------------- */

static pthread_t self;
static atomic_int checks, by_others;
static char made[2];
static atomic_int next;

static int create(kp_job *job, void **resource)
{
    (void)job;
    *resource = &made[next++];
    return 0;
}

static int destroy(kp_job *job, void *resource)
{
    return (void)job, (void)resource, 0;
}

static int validate(kp_job *job, void *resource)
{
    (void)job;
    (void)resource;
    if (!pthread_equal(pthread_self(), self)) by_others++;
    checks++;
    return 0;
}

static void threads_of_the_pool_must_run_the_tests(void **state)
{
    kp_options o = plan(2);
    kp_pool *pool;
    kp_lease lease;
    kp_stats stats;

    (void)state;
    self = pthread_self();
    o.driver = (kp_driver){ .create = create, .destroy = destroy, .validate = validate };
    o.limits.validate_every_ms = 1;
    o.threads = 2;
    assert_int_equal(kp_pool_open(&o, &pool), 0);
    assert_int_equal(kp_get(pool, kp_str("a"), NULL, &lease), 0);
    kp_release(&lease);
    while (checks < 3)
        assert_int_equal(kp_stats_read(pool, KP_EVERY_KEY, &stats), 0);
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(10)), 0);
    assert_int_equal(by_others, checks);
}

/* Nobody is ahead of it, and there is one for it. A thread's get is told the same. */
static void who_is_given_up_while_its_own_is_validated_must_be_told_the_deadline(void **state)
{
    struct stage s;
    struct ask a;
    kp_script script = { .validate = takes_a_second };
    kp_options o = { .limits = { .validate_after_ms = KP_NONE } };

    (void)state;
    stage_open(&s, &script, &o);
    stock(&s, 1);
    stage_start(&s, &a, "a", 100);
    stage_pass(&s, 200);
    assert_int_equal(a.status, KP_ETIMEDOUT);
    assert_string_equal(a.why.limit, "deadline");
    stage_pass(&s, 1000);
    stage_start(&s, &a, "a", KP_NONE);
    stage_pass(&s, 1);
    assert_int_equal(a.status, KP_EAGAIN);
    assert_string_equal(a.why.limit, "deadline");
    stage_pass(&s, 1000);
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loop_must_test_what_is_idle_and_go_on_meanwhile),
        cmocka_unit_test(what_is_gone_must_make_its_key_suspect),
        cmocka_unit_test(a_check_of_a_request_must_be_able_to_say_it),
        cmocka_unit_test(no_check_must_begin_once_its_pool_is_closed),
        cmocka_unit_test(a_way_back_must_be_able_to_say_it),
        cmocka_unit_test(a_loop_that_closes_its_pool_must_see_the_end_of_a_test),
        cmocka_unit_test(threads_of_the_pool_must_run_the_tests),
        cmocka_unit_test(
            who_is_given_up_while_its_own_is_validated_must_be_told_the_deadline),
    };
    return cmocka_run_group_tests_name("tests by loops and threads", tests, NULL, NULL);
}
