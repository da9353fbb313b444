/* SPDX-License-Identifier: MIT
 *
 * In a child of fork, the search for deadlocks locks only pools that the child has used again: the
 * lock of another pool may be one that a thread of the parent held.
 */
#include <pthread.h>
#include <sched.h>
#include <time.h>

#include "faults/child.h"

static kp_pool *pools[2];

/* ---- a thread that holds the lock of a pool: it looks at the clock there --------------------- */

static _Thread_local bool stops;
static atomic_bool stopped, let_go;

static uint64_t now_ns(void *ctx)
{
    struct timespec now;

    (void)ctx;
    if (stops) {
        atomic_store(&stopped, true);
        while (!atomic_load(&let_go)) sched_yield();
        stops = false;
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void nobody_keeps(kp_pool *pool, uint64_t due_ns, void *ctx)
{
    (void)pool, (void)due_ns, (void)ctx;
}

static void *stand_in_the_pool(void *arg)
{
    kp_lease lease;

    stops = true;
    if (kp_get(arg, kp_str("other"), NULL, &lease) != 0) abort();
    kp_release(&lease);
    return NULL;
}

/* ---- the child ------------------------------------------------------------------------------- */

static bool told_at_once(kp_pool *pool)
{
    kp_lease lease, none;
    bool is = kp_get(pool, kp_str("k"), KP_IN_S(1), &lease) == 0 &&
              kp_get(pool, kp_str("k"), KP_IN_S(60), &none) == KP_EDEADLK;

    kp_release(&lease);
    return is;
}

static void use_one_of_two(void *arg)
{
    (void)arg;
    MUST(told_at_once(pools[1]));
    MUST(told_at_once(pools[0]));
    MUST(kp_pool_close(pools[0], KP_CLOSE_NOW, 0) == 0);
    MUST(told_at_once(pools[1]));
    MUST(kp_pool_close(pools[1], KP_CLOSE_NOW, 0) == 0);
}

static void a_child_must_look_only_at_what_it_opened_again(void **state)
{
    static const kp_world world = { .now_ns = now_ns, .upkeep = nobody_keeps };
    const kp_options options = { .limits = { .max_live = 1 }, .world = &world,
                                 .on_deadlock = KP_DEADLOCK_REFUSE };
    pthread_t thread;

    (void)state;
    for (int i = 0; i < 2; i++) pools[i] = pool_of_things(options);
    assert_true(told_at_once(pools[0]));
    assert_int_equal(pthread_create(&thread, NULL, stand_in_the_pool, pools[0]), 0);
    while (!atomic_load(&stopped)) sched_yield();
    child_run(use_one_of_two, NULL);
    atomic_store(&let_go, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(told_at_once(pools[1]));
    for (int i = 0; i < 2; i++) assert_int_equal(kp_pool_close(pools[i], KP_CLOSE_NOW, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_child_must_look_only_at_what_it_opened_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
