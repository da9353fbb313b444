/* SPDX-License-Identifier: MIT
 *
 * A pool with threads of its own (options.threads), on the real clock: a thread that waits for a
 * warm-up leaves the creates to them; and upkeep goes on while a destroy holds one of them up, and
 * while there is always one more create, but leaves a thread for creates.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include "keyedpool.h"

#include <cmocka.h>

enum { KEYS = 3, GETTERS = 12, PATIENCE_S = 20 };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t all_here;
    pthread_t caller;
    int here, on_the_caller, made;
    kp_pool *pool;
    bool expired, over;
} stage = { .lock = PTHREAD_MUTEX_INITIALIZER, .all_here = PTHREAD_COND_INITIALIZER };

static struct timespec end_of_patience(void)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    return until;
}

/* Ends when this function has begun for all keys. 0, or it took too long. */
static int wait_for_the_others(void)
{
    struct timespec until = end_of_patience();
    int code = 0;

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
                     .threads = KEYS + 1 }; /* one is for creates */
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

static int make_and_tell(kp_job *job, void **resource)
{
    (void)job;
    pthread_mutex_lock(&stage.lock);
    stage.made++;
    pthread_cond_broadcast(&stage.all_here);
    pthread_mutex_unlock(&stage.lock);
    *resource = malloc(1);
    return 0;
}

/* Ends when all that the test will ask for was made. */
static int unmake_when_all_are_made(kp_job *job, void *resource)
{
    struct timespec until = end_of_patience();
    int code = 0;

    (void)job;
    free(resource);
    pthread_mutex_lock(&stage.lock);
    stage.here++;
    pthread_cond_broadcast(&stage.all_here);
    while (stage.made < 2 * KEYS && code == 0)
        code = pthread_cond_timedwait(&stage.all_here, &stage.lock, &until);
    pthread_mutex_unlock(&stage.lock);
    return -code;
}

/* Many expire at once. If all threads destroyed them, gets would have to wait for that. */
static void creates_must_not_wait_for_the_destroys_of_upkeep(void **state)
{
    kp_options o = { .driver = { .create = make_and_tell, .destroy = unmake_when_all_are_made },
                     .limits = { .idle_ttl_ms = 20 },
                     .threads = 2 };
    kp_key old[KEYS] = { kp_str("a"), kp_str("b"), kp_str("c") };
    kp_key new[KEYS] = { kp_str("d"), kp_str("e"), kp_str("f") };
    kp_lease lease[KEYS];
    kp_stats all;
    kp_pool *pool;

    (void)state;
    stage.here = stage.made = 0;
    assert_int_equal(kp_pool_open(&o, &pool), 0);
    for (int i = 0; i < KEYS; i++) assert_int_equal(kp_get(pool, old[i], NULL, &lease[i]), 0);
    for (int i = 0; i < KEYS; i++) kp_release(&lease[i]);
    pthread_mutex_lock(&stage.lock);
    while (stage.here == 0) pthread_cond_wait(&stage.all_here, &stage.lock);
    pthread_mutex_unlock(&stage.lock);
    for (int i = 0; i < KEYS; i++) assert_int_equal(kp_get(pool, new[i], NULL, &lease[i]), 0);
    for (int i = 0; i < KEYS; i++) kp_release(&lease[i]);
    assert_int_equal(kp_drain(pool, KP_EVERY_KEY, KP_SECONDS(2 * PATIENCE_S)), 0);
    assert_int_equal(kp_stats_read(pool, KP_EVERY_KEY, &all), 0);
    assert_int_equal(all.destroy_failures, 0); /* none waited in vain */
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(PATIENCE_S)), 0);
}

static bool is_over(void)
{
    pthread_mutex_lock(&stage.lock);
    bool over = stage.over;
    pthread_mutex_unlock(&stage.lock);
    return over;
}

/* Ends when others wait for the thread that runs it, to create as well. */
static int make_one_of_many(kp_job *job, void **resource)
{
    kp_stats all = { 0 };

    while (job->tag && !is_over() && kp_stats_read(stage.pool, KP_EVERY_KEY, &all) == 0 &&
           all.creating < GETTERS / 2)
        sched_yield();
    *resource = malloc(1);
    return 0;
}

/* The first key is the one that expires. */
static int unmake_and_tell(kp_job *job, void *resource)
{
    free(resource);
    if (*(const char *)job->key.data != 'a') return 0;
    pthread_mutex_lock(&stage.lock);
    stage.expired = true;
    pthread_cond_broadcast(&stage.all_here);
    pthread_mutex_unlock(&stage.lock);
    return 0;
}

static void *get_again_and_again(void *key)
{
    kp_lease lease;

    while (!is_over() &&
           kp_get(stage.pool, kp_bytes(key, 1), KP_ASK(.tag = "busy"), &lease) == 0)
        kp_discard(&lease);
    return NULL;
}

static void upkeep_must_have_its_turn_though_there_is_always_one_more_create(void **state)
{
    static char keys[GETTERS] = "bcdefghijklm";
    kp_options o = { .driver = { .create = make_one_of_many, .destroy = unmake_and_tell },
                     .limits = { .idle_ttl_ms = 20 },
                     .threads = 1 };
    pthread_t getter[GETTERS];
    struct timespec until;
    kp_lease lease;
    int code = 0;

    (void)state;
    assert_int_equal(kp_pool_open(&o, &stage.pool), 0);
    assert_int_equal(kp_get(stage.pool, kp_str("a"), NULL, &lease), 0);
    for (int i = 0; i < GETTERS; i++)
        assert_int_equal(pthread_create(&getter[i], NULL, get_again_and_again, &keys[i]), 0);
    kp_release(&lease);
    until = end_of_patience();
    pthread_mutex_lock(&stage.lock);
    while (!stage.expired && code == 0)
        code = pthread_cond_timedwait(&stage.all_here, &stage.lock, &until);
    stage.over = true;
    pthread_cond_broadcast(&stage.all_here);
    pthread_mutex_unlock(&stage.lock);
    for (int i = 0; i < GETTERS; i++) pthread_join(getter[i], NULL);
    assert_int_equal(code, 0);
    assert_int_equal(kp_pool_close(stage.pool, KP_CLOSE_WAIT, KP_SECONDS(PATIENCE_S)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_waits_for_many_keys_must_have_the_threads_make_all_of_them_at_once),
        cmocka_unit_test(a_destroy_that_hangs_must_not_hold_up_the_upkeep_of_other_threads),
        cmocka_unit_test(creates_must_not_wait_for_the_destroys_of_upkeep),
        cmocka_unit_test(upkeep_must_have_its_turn_though_there_is_always_one_more_create),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
