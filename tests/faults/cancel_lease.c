/* SPDX-License-Identifier: MIT
 *
 * Threads that end while they hold a lease: cancelled in a function that kp_use calls, or with a
 * scope that their cleanup handler ends. Also: a call restores the cancel state that it found.
 */
#include <pthread.h>

#include "faults/child.h"

static kp_pool *pool;

static int end_here(kp_lease *lease, void *arg)
{
    (void)lease;
    ++*(int *)arg;
    pthread_cancel(pthread_self());
    pthread_testcancel();
    return 0;
}

static void *use_it(void *arg)
{
    return kp_use(pool, kp_str("k"), NULL, end_here, arg) == 0 ? arg : NULL;
}

static int give_back_and_end(kp_lease *lease, void *arg)
{
    kp_release(lease);
    return end_here(lease, arg);
}

static void *use_it_up(void *arg)
{
    return kp_use(pool, kp_str("k"), NULL, give_back_and_end, arg) == 0 ? arg : NULL;
}

static int fail_once(kp_lease *lease, void *arg)
{
    (void)lease;
    ++*(int *)arg;
    return -1;
}

static bool decide_and_end(int status, void *arg)
{
    (void)status, (void)arg;
    pthread_cancel(pthread_self());
    pthread_testcancel();
    return true;
}

static void *use_it_again(void *arg)
{
    const kp_plan plan = { .schedule.times = 1, .retry_if = decide_and_end };

    return kp_use(pool, kp_str("k"), &plan, fail_once, arg) == 0 ? arg : NULL;
}

/* The lease has ended in any case: it was discarded, or given back before. */
static void a_thread_that_ends_within_kp_use_must_leave_no_lease(void **state)
{
    void *(*const uses[])(void *) = { use_it, use_it_up, use_it_again };

    (void)state;
    for (int i = 0; i < 3; i++) {
        pthread_t thread;
        kp_stats stats;
        void *ended;
        int ran = 0;

        pool = pool_of_things((kp_options){ 0 });
        assert_int_equal(pthread_create(&thread, NULL, uses[i], &ran), 0);
        assert_int_equal(pthread_join(thread, &ended), 0);
        assert_ptr_equal(ended, PTHREAD_CANCELED);
        assert_int_equal(ran, 1);
        assert_int_equal(kp_stats_read(pool, KP_EVERY_KEY, &stats), 0);
        assert_int_equal(stats.lent, 0);
        assert_int_equal(stats.idle, i == 1);
        assert_int_equal(kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(30)), 0);
    }
}

static void close_scope(void *scope)
{
    kp_scope_close(scope);
}

static void *borrow_and_end(void *arg)
{
    kp_scope scope = { 0 };
    kp_lease lease;

    pthread_cleanup_push(close_scope, &scope);
    if (kp_scope_get(&scope, pool, kp_str("k"), NULL, &lease) == 0) ++*(int *)arg;
    pthread_cancel(pthread_self());
    pthread_testcancel();
    pthread_cleanup_pop(1);
    return NULL;
}

static void a_scope_as_a_cleanup_handler_must_give_back_what_the_thread_had(void **state)
{
    pthread_t thread;
    kp_stats stats;
    void *ended;
    int got = 0;

    (void)state;
    pool = pool_of_things((kp_options){ 0 });
    assert_int_equal(pthread_create(&thread, NULL, borrow_and_end, &got), 0);
    assert_int_equal(pthread_join(thread, &ended), 0);
    assert_ptr_equal(ended, PTHREAD_CANCELED);
    assert_int_equal(got, 1);
    assert_int_equal(kp_stats_read(pool, KP_EVERY_KEY, &stats), 0);
    assert_int_equal(stats.lent, 0);
    assert_int_equal(stats.idle, 1);
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(30)), 0);
}

static int state_seen;

static int look_at_the_state(kp_job *job, void **out)
{
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state_seen);
    pthread_setcancelstate(state_seen, NULL);
    return thing_create(job, out);
}

static void a_thread_that_had_turned_cancellation_off_must_find_it_off(void **state)
{
    kp_options options = { .driver = thing_driver, .threads = KP_NONE };
    kp_lease lease;
    int before;

    (void)state;
    options.driver.create = look_at_the_state;
    pool = pool_of_things(options);
    for (int i = 0; i < 2; i++) {
        int wanted = i ? PTHREAD_CANCEL_DISABLE : PTHREAD_CANCEL_ENABLE;

        pthread_setcancelstate(wanted, &before);
        assert_int_equal(kp_get(pool, kp_str("k"), NULL, &lease), 0);
        kp_discard(&lease);
        pthread_setcancelstate(before, &before);
        assert_int_equal(before, wanted);
        assert_int_equal(state_seen, PTHREAD_CANCEL_DISABLE);
    }
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &before);
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(30)), 0);
}

#define T(test) cmocka_unit_test_setup(test, things_begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_thread_that_ends_within_kp_use_must_leave_no_lease),
        T(a_scope_as_a_cleanup_handler_must_give_back_what_the_thread_had),
        T(a_thread_that_had_turned_cancellation_off_must_find_it_off),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
