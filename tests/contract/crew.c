/* SPDX-License-Identifier: MIT
 *
 * A pool with threads of its own (options.threads), on the real clock: a thread that waits for a
 * warm-up leaves the creates to them.
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

/* Ends when the creates of all keys have begun. */
static int make_with_the_others(kp_job *job, void **resource)
{
    struct timespec until;
    int code = 0;

    (void)job;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&stage.lock);
    stage.here++;
    stage.on_the_caller += pthread_equal(pthread_self(), stage.caller) != 0;
    pthread_cond_broadcast(&stage.all_here);
    while (stage.here < KEYS && code == 0)
        code = pthread_cond_timedwait(&stage.all_here, &stage.lock, &until);
    pthread_mutex_unlock(&stage.lock);
    if (code != 0) return -code;
    *resource = malloc(1);
    return 0;
}

static int unmake(kp_job *job, void *resource)
{
    (void)job;
    free(resource);
    return 0;
}

static void who_waits_for_many_keys_must_have_the_threads_make_all_of_them_at_once(void **state)
{
    kp_options o = { .driver = { .create = make_with_the_others, .destroy = unmake },
                     .threads = KEYS };
    kp_key keys[KEYS] = { kp_str("a"), kp_str("b"), kp_str("c") };
    kp_stats all;
    kp_pool *pool;

    (void)state;
    stage.caller = pthread_self();
    assert_int_equal(kp_pool_open(&o, &pool), 0);
    assert_int_equal(kp_warm(pool, keys, KEYS, KP_IN_S(2 * PATIENCE_S)), KEYS);
    assert_int_equal(kp_stats_read(pool, KP_EVERY_KEY, &all), 0);
    assert_int_equal(all.creates, KEYS);
    assert_int_equal(all.idle, KEYS);
    assert_int_equal(stage.on_the_caller, 0);
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(PATIENCE_S)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_waits_for_many_keys_must_have_the_threads_make_all_of_them_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
