/* SPDX-License-Identifier: MIT
 *
 * Request 34, envoy#8702, #15052, nginx#1436, ingress-nginx#8617: a pool per worker multiplies the
 * connections by the cores, each worker warming its own and unable to use another's. Here all
 * threads share one pool and one budget, and what one gave back the next takes, also where the hit
 * needs no lock and a thread remembers what it had last.
 */
#include "contract/house.h"

#include <pthread.h>

enum { WORKERS = 16, CAP = 8 };

static const char *const upstream[] = { "upstream" };

static void connections_must_not_grow_with_the_workers(void **state)
{
    static struct worker w[WORKERS];
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    o.budget.max_live = CAP;
    o.limits.max_live = KP_UNLIMITED;
    house_open(&h, &o);
    w[0] = (struct worker){ .keys = upstream, .key_count = 1, .rounds = 100, .hold_ms = 1 };
    workers_work(&h, w, WORKERS);
    for (int i = 0; i < WORKERS; i++) HOUSE_IS(&h, w[i].got, 100);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), WORKERS * 100 / CAP); /* all of them, all the time */
    HOUSE_IS(&h, house_cast(&h).creates, CAP);
    house_close(&h);
}

/* Threads, one after the other: the test joins each before the next begins. */
struct turn {
    kp_pool *pool;
    kp_key key;
    bool ok;
};

static void *borrows_all(void *arg)
{
    struct turn *t = arg;
    kp_lease lease[CAP];
    int got = 0;

    for (int round = 0; round < 100; round++) {
        for (got = 0; got < CAP; got++)
            if (kp_get(t->pool, t->key, KP_IN_S(30), &lease[got]) != 0) break;
        for (int i = 0; i < got; i++) kp_release(&lease[i]);
        if (got < CAP) return NULL;
        if (kp_get(t->pool, t->key, KP_IN_S(30), &lease[0]) != 0) return NULL;
        kp_release(&lease[0]); /* the one it remembers */
    }
    t->ok = true;
    return NULL;
}

static void what_one_thread_gave_back_must_be_there_for_the_next(void **state)
{
    const kp_script script = { NULL, NULL, NULL, NULL, NULL, NULL };
    kp_options o = { .budget.max_live = CAP };
    kp_cast *cast;
    kp_pool *pool;
    kp_key pinned;
    kp_stats s;

    (void)state;
    assert_int_equal(kp_cast_open(&script, &cast), 0);
    o.driver = kp_cast_driver(cast);
    o.driver.validate = NULL;
    o.driver.reset = NULL;
    assert_int_equal(kp_pool_open(&o, &pool), 0);
    assert_int_equal(kp_pin(pool, kp_str("upstream"), &pinned), 0);
    for (int i = 0; i < WORKERS; i++) {
        struct turn t = { pool, i % 2 ? pinned : kp_str("upstream"), false };
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, borrows_all, &t), 0);
        pthread_join(thread, NULL);
        assert_true(t.ok);
    }
    assert_int_equal(kp_cast_read(cast).creates, CAP);
    assert_int_equal(kp_stats_read(pool, KP_EVERY_KEY, &s), 0);
    assert_int_equal(s.hits, WORKERS * 100 * (CAP + 1) - CAP);
    assert_int_equal(s.idle, CAP);
    kp_unpin(pool, &pinned);
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(30)), 0);
    assert_int_equal(kp_cast_read(cast).live, 0);
    kp_cast_close(cast);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections_must_not_grow_with_the_workers),
        cmocka_unit_test(what_one_thread_gave_back_must_be_there_for_the_next),
    };
    return cmocka_run_group_tests_name("request 34", tests, NULL, NULL);
}
