/* SPDX-License-Identifier: MIT
 *
 * commons-pool's GenericKeyedObjectPool, continued: waiting, close, statistics, stress, misuse.
 */
#include "house.h"

static kp_options commons(struct house *h, const kp_script *script)
{
    return house_plan(h, 1, "commons", script);
}

/* ---- waiting ---- */

/* B-WAIT-23: testBorrowObjectFairness */
static void borrowers_must_be_served_in_the_order_of_arrival(void **state)
{
    struct visitor v[40] = { { 0 } };
    struct house h;
    kp_lease lease[10];
    kp_options o = commons(&h, NULL);
    unsigned i;
    (void)state;
    o.limits.max_live = 10;
    o.limits.max_idle = 10;
    house_open(&h, &o);
    for (i = 0; i < 10; i++) lease[i] = house_get(&h, "a");
    for (i = 0; i < 40; i++) {
        v[i].stay_ms = 5;
        visitor_send(&h, &v[i], "a", KP_OFF);
    }
    for (i = 0; i < 10; i++) house_release(&h, &lease[i]);
    kp_sim_join(h.sim, 0);
    for (i = 0; i < 40; i++) HOUSE_IS(&h, v[i].turn, i + 1);
    HOUSE_IS(&h, house_cast(&h).creates, 10);
    house_close(&h);
}

/* B-WAIT-21: testBorrowObjectOverrideMaxWaitSmall / Large */
static void what_a_borrower_says_of_its_wait_must_win_over_what_the_pool_says(void **state)
{
    struct house h;
    kp_lease lease;
    kp_options o = commons(&h, NULL);
    (void)state;
    o.limits.max_live = 1;
    o.deadline_ms = 500;
    house_open(&h, &o);
    lease = house_get(&h, "a");
    HOUSE_IS(&h, house_fails(&h, "a", 1), KP_ETIMEDOUT);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 1);
    HOUSE_IS(&h, house_fails(&h, "a", 2000), KP_ETIMEDOUT);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 2001);
    HOUSE_IS(&h, house_fails(&h, "a", 0), KP_ETIMEDOUT);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 2501);
    HOUSE_IS(&h, h.why.waited_ms, 500);
    house_release(&h, &lease);
    house_close(&h);
}

/* B-WAIT-24: testLivenessPerKey, testMaxTotalWithThreads (POOL-310) */
static void at_the_total_a_return_must_serve_the_one_who_waits_for_another_key(void **state)
{
    struct visitor v = { 0 };
    struct house h;
    kp_lease a;
    kp_options o = commons(&h, NULL);
    (void)state;
    o.budget.max_live = 1;
    house_open(&h, &o);
    a = house_get(&h, "a");
    visitor_send(&h, &v, "b", KP_OFF);
    HOUSE_HAS(&h, !v.answered);
    house_release(&h, &a);
    visitor_end(&v);
    HOUSE_IS(&h, v.rc, 0);
    HOUSE_IS(&h, v.number, 2);
    HOUSE_IS(&h, h.destroyed_number[0], 1);
    HOUSE_IS(&h, house_cast(&h).most_live, 1);
    house_release(&h, &v.lease);
    house_close(&h);
}

/* B-GET-09: testBlockedKeyDoesNotBlockPool */
static void an_exhausted_key_must_not_block_another(void **state)
{
    struct visitor waits[4] = { { 0 } }, other[10] = { { 0 } };
    struct house h;
    kp_lease lease[4];
    kp_options o = commons(&h, NULL);
    int i;
    (void)state;
    o.limits.max_live = 4;
    house_open(&h, &o);
    for (i = 0; i < 4; i++) lease[i] = house_get(&h, "one");
    for (i = 0; i < 4; i++) visitor_send(&h, &waits[i], "one", 5000);
    for (i = 0; i < 10; i++) {
        other[i].stay_ms = 10;
        visitor_send(&h, &other[i], "two", 0);
    }
    for (i = 0; i < 10; i++) visitor_end(&other[i]);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 30);
    HOUSE_IS(&h, house_stats(&h, "one").waiting, 4);
    for (i = 0; i < 4; i++) house_release(&h, &lease[i]);
    for (i = 0; i < 4; i++) {
        visitor_end(&waits[i]);
        house_release(&h, &waits[i].lease);
    }
    house_close(&h);
}

/* B-REL-18 */
static void what_comes_back_must_go_to_who_waits_and_no_newcomer_may_take_it(void **state)
{
    struct visitor v = { 0 };
    struct house h;
    kp_lease lease, stolen;
    kp_options o = commons(&h, NULL);
    (void)state;
    o.limits.max_live = 1;
    house_open(&h, &o);
    lease = house_get(&h, "a");
    visitor_send(&h, &v, "a", KP_OFF);
    house_release(&h, &lease); /* the visitor has not run since */
    HOUSE_IS(&h, house_stats(&h, "a").idle, 0);
    HOUSE_IS(&h, house_try(&h, "a", &stolen), KP_EAGAIN);
    visitor_end(&v);
    HOUSE_IS(&h, v.rc, 0);
    house_release(&h, &v.lease);
    house_close(&h);
}

/* ---- close ---- */

/* B-SHUT-15: testClosedPoolBehavior */
static void a_closed_pool_must_refuse_all_but_what_comes_back(void **state)
{
    static kp_prop added;
    struct house h;
    kp_lease lease[2], none;
    kp_key pin;
    kp_limits limits = { .max_live = 3 };
    const void *resource;
    kp_options o = commons(&h, NULL);
    (void)state;
    house_open(&h, &o);
    lease[0] = house_get(&h, "a");
    lease[1] = house_get(&h, "a");
    resource = lease[0].resource;
    HOUSE_IS(&h, kp_pool_close(h.pool, KP_CLOSE_NOW, 1000), 2);
    h.ended = true;
    HOUSE_IS(&h, kp_get(h.pool, kp_str("a"), NULL, &none), KP_ECLOSED);
    HOUSE_IS(&h, kp_add(h.pool, kp_str("a"), &added), KP_ECLOSED);
    HOUSE_IS(&h, kp_pin(h.pool, kp_str("a"), &pin), KP_ECLOSED);
    HOUSE_IS(&h, kp_warm(h.pool, &pin, 1, NULL), KP_ECLOSED);
    HOUSE_IS(&h, kp_limits_set(h.pool, KP_EVERY_KEY, &limits, NULL), KP_ECLOSED);
    HOUSE_IS(&h, kp_invalidate(h.pool, resource), 0);
    HOUSE_IS(&h, house_cast(&h).destroys, 0);
    house_release(&h, &lease[0]);
    HOUSE_IS(&h, house_cast(&h).destroys, 1);
    house_discard(&h, &lease[1]);
    HOUSE_IS(&h, house_cast(&h).destroys, 2);
    house_close(&h);
}

/* B-SHUT-16: testWhenExhaustedBlockClosePool (POOL-189) */
static void who_waits_without_end_must_be_told_at_once_that_the_pool_closes(void **state)
{
    struct visitor v = { 0 };
    struct house h;
    kp_lease lease;
    kp_options o = commons(&h, NULL);
    (void)state;
    o.limits.max_live = 1;
    house_open(&h, &o);
    lease = house_get(&h, "a");
    visitor_send(&h, &v, "a", KP_OFF);
    HOUSE_IS(&h, kp_pool_close(h.pool, KP_CLOSE_NOW, 1000), 1);
    h.ended = true;
    kp_sim_join(h.sim, v.task);
    HOUSE_IS(&h, v.rc, KP_ECLOSED);
    HOUSE_IS(&h, v.answered_ms, 0);
    house_release(&h, &lease);
    house_close(&h);
}

/* B-SHUT-17 (POOL-263), B-CB-03 */
static void close_must_try_to_destroy_every_one_though_each_fails(void **state)
{
    static const kp_line fails[] = { { .status = -6, .times = KP_OFF }, { 0 } };
    const kp_script script = { .destroy = fails };
    struct house h;
    kp_options o = commons(&h, &script);
    (void)state;
    house_open(&h, &o);
    house_stock(&h, "a", 5);
    house_stock(&h, "b", 5);
    HOUSE_IS(&h, kp_pool_close(h.pool, KP_CLOSE_WAIT, 1000), 0);
    h.ended = true;
    HOUSE_IS(&h, house_cast(&h).destroys, 10);
    HOUSE_IS(&h, house_cast(&h).destroy_failures, 10);
    HOUSE_IS(&h, h.seen[KP_EVENT_DESTROY_FAILED], 10);
    house_close(&h);
}

/* ---- statistics ---- */

/* B-MET-05 */
static void counters_must_be_exact(void **state)
{
    struct house h;
    kp_lease lease[3];
    kp_stats s;
    kp_options o = commons(&h, NULL);
    (void)state;
    o.limits.max_live = 2;
    o.limits.idle_ttl_ms = 1000;
    house_open(&h, &o);
    lease[0] = house_get(&h, "a");
    lease[1] = house_get(&h, "a");
    HOUSE_IS(&h, house_fails(&h, "a", 100), KP_ETIMEDOUT);
    house_release(&h, &lease[0]);
    house_discard(&h, &lease[1]);
    lease[2] = house_get(&h, "a");
    house_release(&h, &lease[2]);
    house_pass(&h, 2000);
    s = house_stats(&h, "a");
    HOUSE_IS(&h, s.gets, 3);
    HOUSE_IS(&h, s.hits, 1);
    HOUSE_IS(&h, s.waits, 1);
    HOUSE_IS(&h, s.timeouts, 1);
    HOUSE_IS(&h, s.refusals, 0);
    HOUSE_IS(&h, s.creates, 2);
    HOUSE_IS(&h, s.destroys, 2);
    HOUSE_IS(&h, s.invalidated, 1);
    HOUSE_IS(&h, s.expired, 1);
    HOUSE_IS(&h, s.live, 0);
    HOUSE_IS(&h, s.wait_ns, UINT64_C(100000000));
    house_close(&h);
}

struct listing {
    char text[128];
    unsigned waiting;
};

static int list_key(kp_key key, const kp_stats *stats, void *arg)
{
    struct listing *l = arg;
    strncat(l->text, key.data, key.size);
    strcat(l->text, " ");
    l->waiting += (unsigned)stats->waiting;
    return stats->lent == 3 ? 42 : 0;
}

/* B-MET-06: testGetKeys, getNumWaitersByKey */
static void keys_must_be_listed_in_the_order_they_appeared_with_those_who_wait(void **state)
{
    struct visitor v[3] = { { 0 } };
    struct listing list = { "", 0 };
    struct house h;
    kp_lease lease[2];
    kp_options o = commons(&h, NULL);
    int i;
    (void)state;
    o.limits.max_live = 1;
    house_open(&h, &o);
    lease[0] = house_get(&h, "two");
    lease[1] = house_get(&h, "one");
    for (i = 0; i < 3; i++) visitor_send(&h, &v[i], i ? "one" : "two", 100);
    HOUSE_IS(&h, house_stats(&h, "one").waiting, 2);
    HOUSE_IS(&h, house_stats(&h, "two").waiting, 1);
    HOUSE_IS(&h, kp_each_key(h.pool, list_key, &list), 0);
    assert_string_equal(list.text, "two one ");
    HOUSE_IS(&h, list.waiting, 3);
    kp_sim_join(h.sim, 0);
    house_release(&h, &lease[0]);
    house_release(&h, &lease[1]);
    house_close(&h);
}

/* ---- stress ---- */

static void clears(struct worker *w)
{
    if (worker_throws(w) % 8 == 0) {
        (void)kp_invalidate_key(w->house->pool, kp_str(w->keys[worker_throws(w) % w->key_count]));
    }
}

/* B-STRESS-03 testThreaded1, B-STRESS-05 testMaxTotalUnderLoad, B-STRESS-06
 * testConcurrentBorrowAndClear, B-GET-06 */
static void a_crowd_that_borrows_discards_and_clears_must_all_be_served_and_never_overlap(
    void **state)
{
    static const char *const keys[] = { "zero", "one", "two" };
    unsigned seed, i;
    (void)state;
    print_message("seeds 1 to 5\n");
    for (seed = 1; seed <= 5; seed++) {
        struct worker w[20] = { { .keys = keys,
                                  .key_count = 3,
                                  .rounds = 50,
                                  .hold_ms = 1,
                                  .discard_pct = 5,
                                  .within_ms = KP_OFF,
                                  .step = clears } };
        struct house h;
        kp_options o = house_plan(&h, seed, "commons", NULL);
        o.limits.max_live = 4;
        o.budget.max_live = 10;
        house_open(&h, &o);
        house_shuffle(&h, true);
        workers_work(&h, w, 20);
        house_shuffle(&h, false);
        for (i = 0; i < 20; i++) HOUSE_IS(&h, w[i].got, 50);
        HOUSE_HAS(&h, house_cast(&h).most_live <= 10);
        HOUSE_IS(&h, house_stats(&h, NULL).lent, 0);
        house_close(&h);
    }
}

/* B-STRESS-04: testMaxActivePerKeyExceeded (POOL-180) */
static void nobody_must_starve_when_keys_compete_for_the_total(void **state)
{
    static const char *const keys[] = { "zero", "one", "two" };
    struct worker w[20] = {
        { .keys = keys, .key_count = 3, .rounds = 50, .hold_ms = 10, .within_ms = 200 }
    };
    struct house h;
    kp_options o = commons(&h, NULL);
    unsigned i;
    (void)state;
    o.limits.max_live = 5;
    o.budget.max_live = 8;
    house_open(&h, &o);
    workers_work(&h, w, 20);
    for (i = 0; i < 20; i++) HOUSE_IS(&h, w[i].failed, 0);
    HOUSE_HAS(&h, house_cast(&h).most_live <= 8);
    HOUSE_IS(&h, house_stats(&h, NULL).timeouts, 0);
    house_close(&h);
}

/* ---- misuse ---- */

/* B-MIS-02, B-MIS-05, D16: testMultipleReturn; here the call does nothing, and says so */
static void a_second_return_must_be_told_and_change_nothing(void **state)
{
    static const kp_line fine[] = { { .times = KP_OFF }, { 0 } };
    const kp_script script = { .reset = fine };
    struct house h, other;
    kp_lease lease, copy;
    kp_options o = commons(&h, &script), p;
    (void)state;
    house_open(&h, &o);
    lease = house_get(&h, "a");
    copy = lease;
    house_release(&h, &lease);
    HOUSE_IS(&h, house_cast(&h).resets, 1);
    kp_release(&copy);
    kp_discard(&copy);
    kp_release(&lease); /* this copy says itself that it has ended */
    HOUSE_IS(&h, house_stats(&h, NULL).misuses, 3);
    HOUSE_IS(&h, h.seen[KP_EVENT_MISUSE], 3);
    HOUSE_IS(&h, house_cast(&h).resets, 1);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 1);
    p = commons(&other, NULL);
    house_open(&other, &p);
    house_stock(&other, "a", 1);
    lease = house_get(&h, "a");
    HOUSE_IS(&other, kp_invalidate(other.pool, lease.resource), 0); /* not one of theirs */
    house_check(&other);
    house_release(&h, &lease);
    house_close(&other);
    house_close(&h);
}

static void counts_misuse(const kp_why *why, void *arg)
{
    if (why->code == KP_EMISUSE) ++*(unsigned *)arg;
}

/* B-MIS-07: testConstructorNullFactory and others */
static void nothing_where_something_must_be_must_be_refused(void **state)
{
    struct house h;
    kp_pool *pool = NULL;
    kp_lease lease;
    kp_lease none = { 0 };
    kp_options o = commons(&h, NULL);
    unsigned told = 0;
    (void)state;
    HOUSE_IS(&h, kp_pool_open(NULL, &pool), KP_EMISUSE);
    assert_null(pool);
    house_open(&h, &o);
    HOUSE_IS(&h, kp_add(h.pool, kp_str("a"), NULL), KP_EMISUSE);
    kp_on_misuse(counts_misuse, &told);
    HOUSE_IS(&h, kp_get(NULL, kp_str("a"), NULL, &lease), KP_EMISUSE);
    kp_on_misuse(NULL, NULL);
    HOUSE_IS(&h, told, 1); /* no pool could report it */
    HOUSE_HAS(&h, !kp_is_pool(NULL));
    kp_release(&none); /* {0} is no lease: nothing to end, no misuse */
    HOUSE_IS(&h, house_stats(&h, NULL).misuses, 1);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(borrowers_must_be_served_in_the_order_of_arrival),
        cmocka_unit_test(what_a_borrower_says_of_its_wait_must_win_over_what_the_pool_says),
        cmocka_unit_test(at_the_total_a_return_must_serve_the_one_who_waits_for_another_key),
        cmocka_unit_test(an_exhausted_key_must_not_block_another),
        cmocka_unit_test(what_comes_back_must_go_to_who_waits_and_no_newcomer_may_take_it),
        cmocka_unit_test(a_closed_pool_must_refuse_all_but_what_comes_back),
        cmocka_unit_test(who_waits_without_end_must_be_told_at_once_that_the_pool_closes),
        cmocka_unit_test(close_must_try_to_destroy_every_one_though_each_fails),
        cmocka_unit_test(counters_must_be_exact),
        cmocka_unit_test(keys_must_be_listed_in_the_order_they_appeared_with_those_who_wait),
        cmocka_unit_test(
            a_crowd_that_borrows_discards_and_clears_must_all_be_served_and_never_overlap),
        cmocka_unit_test(nobody_must_starve_when_keys_compete_for_the_total),
        cmocka_unit_test(a_second_return_must_be_told_and_change_nothing),
        cmocka_unit_test(nothing_where_something_must_be_must_be_refused),
    };
    return cmocka_run_group_tests_name("commons-pool, the rest", tests, NULL, NULL);
}
