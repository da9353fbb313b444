/* SPDX-License-Identifier: MIT
 *
 * Threads that nest gets over a few keys of two pools, in any order, without a deadline: a get that
 * would wait for ever is refused, so that all threads come to their end. KP_ROUNDS nests for each
 * thread.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "keyedpool.h"

enum { THREADS = 6, KEYS = 3, DEEP = 3 };

static kp_pool *pools[2];
static long rounds;
static atomic_long served, refused, others;

static int create(kp_job *job, void **resource)
{
    (void)job;
    *resource = malloc(1);
    return *resource ? 0 : -1;
}

static int destroy(kp_job *job, void *resource)
{
    (void)job;
    free(resource);
    return 0;
}

static void *nest(void *arg)
{
    static const char *const names[KEYS] = { "a", "b", "c" };
    unsigned seed = *(unsigned *)arg;

    for (long i = 0; i < rounds; i++) {
        kp_scope scope = { 0 };
        for (int deep = 0; deep < DEEP; deep++) {
            kp_lease lease;
            kp_key key = kp_str(names[rand_r(&seed) % KEYS]);
            kp_pool *pool = pools[rand_r(&seed) % 2];
            int code = kp_scope_get(&scope, pool, key, KP_ASK(.within_ms = KP_OFF), &lease);
            (void)atomic_fetch_add(code == 0 ? &served : code == KP_EDEADLK ? &refused : &others,
                                   1);
            if (code != 0) break;
        }
        kp_scope_close(&scope);
    }
    return NULL;
}

static void all_who_nest_must_come_to_their_end(void **state)
{
    const kp_options options = {
        .driver = { .create = create, .destroy = destroy },
        .limits = { .max_live = 2, .max_creating = KP_UNLIMITED },
        .budget = { .max_lent = 5 },
        .on_deadlock = KP_DEADLOCK_REFUSE,
    };
    const char *said = getenv("KP_ROUNDS");
    pthread_t threads[THREADS];
    unsigned seeds[THREADS];

    (void)state;
    rounds = said ? strtol(said, NULL, 10) : 2000;
    for (int i = 0; i < 2; i++) assert_int_equal(kp_pool_open(&options, &pools[i]), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        seeds[i] = i + 1;
        assert_int_equal(pthread_create(&threads[i], NULL, nest, &seeds[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    printf("%ld served, %ld refused\n", atomic_load(&served), atomic_load(&refused));
    assert_int_equal(atomic_load(&others), 0);
    assert_true(atomic_load(&served) >= THREADS * rounds);
    for (int i = 0; i < 2; i++) {
        kp_stats stats;
        assert_int_equal(kp_stats_read(pools[i], KP_EVERY_KEY, &stats), 0);
        assert_int_equal(stats.leases + stats.waiting, 0);
        assert_int_equal(kp_pool_close(pools[i], KP_CLOSE_WAIT, KP_SECONDS(30)), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(all_who_nest_must_come_to_their_end) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
