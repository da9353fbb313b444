/* SPDX-License-Identifier: MIT
 *
 * A pool with threads of its own (options.threads), on the real clock: a thread that waits for a
 * warm-up leaves the creates to them; and upkeep goes on while a destroy holds one of them up.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include "keyedpool.h"

#include <cmocka.h>

enum { KEYS = 3, PATIENCE_S = 20 };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t all_here;
    pthread_t caller;
    int here, on_the_caller;
} stage = { .lock = PTHREAD_MUTEX_INITIALIZER, .all_here = PTHREAD_COND_INITIALIZER };

/* Ends when this function has begun for all keys. 0, or it took too long. */
static int wait_for_the_others(void)
{
    struct timespec until;
    int code = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&stage.lock);
    stage.here++;
    stage.on_the_caller += pthread_equal(pthread_self(), stage.caller) != 0;
    pthread_cond_broadcast(&stage.all_here);
    while (stage.here < KEYS && code == 0)
        code = pthread_cond_timedwait(&stage.all_here, &stage.lock, &until);
    pthread_mutex_unlock(&stage.lock);
    return -code;
}

static int make_with_the_others(kp_job *job, void **resource)
{
    (void)job;
    if (wait_for_the_others() != 0) return -1;
    *resource = malloc(1);
    return 0;
}

static int make(kp_job *job, void **resource)
{
    (void)job;
    *resource = malloc(1);
    return 0;
}

static int unmake(kp_job *job, void *resource)
{
    (void)job;
    free(resource);
    return 0;
}

static int unmake_with_the_others(kp_job *job, void *resource)
{
    (void)job;
    free(resource);
    return wait_for_the_others();
}

static void who_waits_for_many_keys_must_have_the_threads_make_all_of_them_at_once(void **state)
{
    kp_options o = { .driver = { .create = make_with_the_others, .destroy = unmake },
                     .threads = KEYS };
    kp_key keys[KEYS] = { kp_str("a"), kp_str("b"), kp_str("c") };
    kp_stats all;
    kp_pool *pool;

    (void)state;
    stage.here = stage.on_the_caller = 0;
    stage.caller = pthread_self();
    assert_int_equal(kp_pool_open(&o, &pool), 0);
    assert_int_equal(kp_warm(pool, keys, KEYS, KP_IN_S(2 * PATIENCE_S)), KEYS);
    assert_int_equal(kp_stats_read(pool, KP_EVERY_KEY, &all), 0);
    assert_int_equal(all.creates, KEYS);
    assert_int_equal(all.idle, KEYS);
    assert_int_equal(stage.on_the_caller, 0);
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(PATIENCE_S)), 0);
}

/* One thread destroys what has expired, and hangs there until the others do so, too. */
static void a_destroy_that_hangs_must_not_hold_up_the_upkeep_of_other_threads(void **state)
{
    kp_options o = { .driver = { .create = make, .destroy = unmake_with_the_others },
                     .limits = { .idle_ttl_ms = 20 },
                     .threads = KEYS };
    kp_key keys[KEYS] = { kp_str("a"), kp_str("b"), kp_str("c") };
    kp_lease lease[KEYS];
    kp_stats all;
    kp_pool *pool;

    (void)state;
    stage.here = stage.on_the_caller = 0;
    stage.caller = pthread_self();
    assert_int_equal(kp_pool_open(&o, &pool), 0);
    for (int i = 0; i < KEYS; i++) assert_int_equal(kp_get(pool, keys[i], NULL, &lease[i]), 0);
    for (int i = 0; i < KEYS; i++) kp_release(&lease[i]);
    pthread_mutex_lock(&stage.lock);
    while (stage.here < KEYS) pthread_cond_wait(&stage.all_here, &stage.lock);
    pthread_mutex_unlock(&stage.lock);
    assert_int_equal(kp_drain(pool, KP_EVERY_KEY, KP_SECONDS(2 * PATIENCE_S)), 0);
    assert_int_equal(kp_stats_read(pool, KP_EVERY_KEY, &all), 0);
    assert_int_equal(all.expired, KEYS);
    assert_int_equal(all.destroy_failures, 0); /* none waited in vain */
    assert_int_equal(stage.on_the_caller, 0);
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(PATIENCE_S)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_waits_for_many_keys_must_have_the_threads_make_all_of_them_at_once),
        cmocka_unit_test(a_destroy_that_hangs_must_not_hold_up_the_upkeep_of_other_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
