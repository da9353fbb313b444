/* SPDX-License-Identifier: MIT
 *
 * The glue for libevent is closed too early, and is closed twice.
 */
#include <keyedpool_event.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static int destroyed, misuses;

static int create(kp_job *job, void **resource)
{
    *resource = job->ctx;
    return 0;
}

static int destroy(kp_job *job, void *resource)
{
    (void)job;
    (void)resource;
    destroyed++;
    return 0;
}

static void give_back(kp_request *request, int status, kp_lease lease)
{
    assert_int_equal(status, 0);
    kp_release(&lease);
    *(bool *)request->arg = true;
}

static void count_misuse(const kp_why *why, void *arg)
{
    (void)why;
    (void)arg;
    misuses++;
}

static void a_close_that_is_refused_must_not_end_the_upkeep(void **state)
{
    struct event_base *base = event_base_new();
    bool answered = false;
    kp_event_loop glue;
    kp_pool *pool;

    (void)state;
    kp_on_misuse(count_misuse, NULL);
    assert_int_equal(kp_event_loop_open(&glue, base), 0);
    kp_options options = { .driver = { .create = create, .destroy = destroy, .ctx = &pool,
                                       .flags = KP_NEVER_BLOCKS },
                           .limits = { .idle_ttl_ms = 50 }, .loop = glue.loop };
    kp_request request = { .loop = glue.loop, .done = give_back, .arg = &answered };
    assert_int_equal(kp_pool_open(&options, &pool), 0);
    assert_int_equal(kp_get_start(pool, kp_str("key"), NULL, &request), 0);
    while (!answered)
        (void)event_base_loop(base, EVLOOP_ONCE);
    assert_int_equal(kp_event_loop_close(&glue), KP_EMISUSE);
    assert_int_equal(misuses, 1);
    while (destroyed == 0)              /* nothing else wakes it */
        (void)event_base_loop(base, EVLOOP_ONCE);
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_NOW, 0), 0);
    assert_int_equal(kp_event_loop_close(&glue), 0);
    event_base_free(base);
}

static void closing_it_twice_must_do_nothing(void **state)
{
    struct event_base *base = event_base_new();
    kp_event_loop glue;

    (void)state;
    assert_int_equal(kp_event_loop_open(&glue, base), 0);
    assert_int_equal(kp_event_loop_close(&glue), 0);
    assert_int_equal(kp_event_loop_close(&glue), 0);
    event_base_free(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_close_that_is_refused_must_not_end_the_upkeep),
        cmocka_unit_test(closing_it_twice_must_do_nothing),
    };

    return cmocka_run_group_tests_name("close_event", tests, NULL, NULL);
}
