/* SPDX-License-Identifier: MIT
 *
 * Request 35, curl#9404, #13347, #13840, #22265, #22529: the C world's best known keyed pool is for
 * one thread; shared between threads its cache of connections crashes, and its limits are ignored.
 * Here threads borrow handles by host from one pool: no handle has two users, no host has more than
 * its limit, and each that was made is destroyed once. On real threads, as that is the question;
 * they begin at one moment and wait for nothing but the pool.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "keyedpool_test.h"

enum { THREADS = 8, HOSTS = 4, PER_HOST = 2, ROUNDS = 1000 };

static const char *const host[HOSTS] = { "a.example", "b.example", "c.example", "d.example" };

static kp_pool *pool;
static pthread_barrier_t start;
static atomic_int users_of_host[HOSTS], wrong;

/* The host it was made for, alive, and nobody else's; no more of the host than allowed. */
static void uses(kp_lease *lease, int i)
{
    kp_prop *prop = lease->resource;

    if (strcmp(prop->key, host[i]) != 0 || !prop->alive) atomic_fetch_add(&wrong, 1);
    if (prop->users++ != 0) atomic_fetch_add(&wrong, 1); /* a race, should there be two */
    if (atomic_fetch_add(&users_of_host[i], 1) >= PER_HOST) atomic_fetch_add(&wrong, 1);
    atomic_fetch_sub(&users_of_host[i], 1);
    prop->users--;
}

static void *transfers(void *arg)
{
    int number = (int)(intptr_t)arg;
    kp_lease lease;

    pthread_barrier_wait(&start);
    for (int round = 0; round < ROUNDS; round++) {
        int i = (number + round * (number + 1)) % HOSTS;
        if (kp_get(pool, kp_str(host[i]), KP_IN_S(50), &lease) != 0) {
            atomic_fetch_add(&wrong, 1);
            continue;
        }
        uses(&lease, i);
        if (round % 50 == 49) kp_discard(&lease);
        else kp_release(&lease);
    }
    return NULL;
}

static kp_cast *opens(void)
{
    const kp_script script = { NULL, NULL, NULL, NULL, NULL, NULL };
    kp_options o = { .limits = { .max_live = PER_HOST } };
    kp_cast *cast;

    assert_int_equal(kp_cast_open(&script, &cast), 0);
    o.driver = kp_cast_driver(cast);
    o.driver.validate = NULL;
    o.driver.reset = NULL;
    assert_int_equal(kp_pool_open(&o, &pool), 0);
    wrong = 0;
    return cast;
}

static void ends(kp_cast *cast)
{
    assert_int_equal(wrong, 0);
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(30)), 0);
    kp_cast_count count = kp_cast_read(cast);
    assert_int_equal(count.creates, count.destroys);
    assert_int_equal(count.destroyed_twice + count.used_after, 0);
    kp_cast_close(cast);
}

static kp_stats stats(void)
{
    kp_stats s;

    assert_int_equal(kp_stats_read(pool, KP_EVERY_KEY, &s), 0);
    return s;
}

static void a_handle_must_have_one_user_at_a_time(void **state)
{
    pthread_t thread[THREADS];
    kp_cast *cast = opens();

    (void)state;
    assert_int_equal(pthread_barrier_init(&start, NULL, THREADS), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, transfers, (void *)(intptr_t)i), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
    pthread_barrier_destroy(&start);
    kp_stats s = stats();
    assert_int_equal(s.gets, THREADS * ROUNDS);
    assert_int_equal(s.leases + s.waiting + s.misuses, 0);
    assert_int_equal(s.creates - s.destroys, s.live);
    ends(cast);
}

static void *borrows_once(void *arg)
{
    kp_lease lease;

    if (kp_get(pool, kp_str(host[0]), KP_IN_S(50), &lease) != 0) {
        atomic_fetch_add(&wrong, 1);
        return arg;
    }
    uses(&lease, 0);
    kp_release(&lease);
    return arg;
}

/* Those of the limit are out; then as many threads as there are must wait for them. */
static void a_host_must_have_no_more_than_its_limit(void **state)
{
    pthread_t thread[THREADS];
    kp_lease lease[PER_HOST];
    kp_cast *cast = opens();
    kp_stats s;

    (void)state;
    for (int i = 0; i < PER_HOST; i++)
        assert_int_equal(kp_get(pool, kp_str(host[0]), KP_IN_S(50), &lease[i]), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, borrows_once, NULL), 0);
    do {
        sched_yield();
        s = stats();
    } while (s.waiting + s.gets < THREADS + PER_HOST);
    assert_int_equal(s.gets, PER_HOST);
    for (int i = 0; i < PER_HOST; i++) kp_release(&lease[i]);
    for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
    assert_int_equal(stats().gets, PER_HOST + THREADS);
    assert_int_equal(kp_cast_read(cast).most_live, PER_HOST);
    ends(cast);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_handle_must_have_one_user_at_a_time),
        cmocka_unit_test(a_host_must_have_no_more_than_its_limit),
    };
    return cmocka_run_group_tests_name("request 35", tests, NULL, NULL);
}
