/* SPDX-License-Identifier: MIT
 *
 * commons-pool's GenericKeyedObjectPool, continued: creation, invalidation, callbacks.
 */
#include "house.h"

static kp_options commons(struct house *h, const kp_script *script)
{
    return house_plan(h, 1, "commons", script);
}

/* ---- creation ---- */

/* B-GET-15: testMakeConcurrentWithReturn */
static void what_comes_back_must_serve_who_waits_for_a_create_and_the_created_one_go_idle(
    void **state)
{
    static const kp_line lines[] = { { .times = 1 }, { .takes_ms = 100 }, { 0 } };
    const kp_script script = { .create = lines };
    struct visitor v = { 0 };
    struct house h;
    kp_lease first;
    kp_options o = commons(&h, &script);
    (void)state;
    o.limits.max_live = 2;
    house_open(&h, &o);
    first = house_get(&h, "a");
    visitor_send(&h, &v, "a", KP_OFF);
    house_pass(&h, 50);
    HOUSE_IS(&h, house_stats(&h, "a").creating, 1);
    house_release(&h, &first);
    house_settle(&h);
    HOUSE_IS(&h, v.answered_ms, 50);
    HOUSE_IS(&h, v.number, 1);
    house_pass(&h, 50);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 1);
    HOUSE_IS(&h, house_cast(&h).creates, 2);
    house_release(&h, &v.lease);
    house_close(&h);
}

/* B-WAIT-18, D12: the peer's wait does not cover the create; here one deadline covers all (L4) */
static void the_deadline_must_cover_the_create(void **state)
{
    static const kp_line slow[] = { { .takes_ms = 500 }, { 0 } };
    const kp_script script = { .create = slow };
    struct house h;
    kp_lease lease;
    kp_options o = commons(&h, &script);
    (void)state;
    house_open(&h, &o);
    HOUSE_IS(&h, house_fails(&h, "a", 100), KP_ETIMEDOUT);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 100);
    house_pass(&h, 400);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 1);
    HOUSE_IS(&h, house_try(&h, "a", &lease), 0);
    house_release(&h, &lease);
    house_close(&h);
}

/* B-FAIL-15, B-LIM-14: testMakeObjectException (POOL-243) */
static void a_create_that_fails_must_free_its_room_at_once(void **state)
{
    static const kp_line fails[] = { { .status = -1, .text = "down" }, { 0 } };
    const kp_script script = { .create = fails };
    struct house h;
    kp_lease lease;
    kp_options o = commons(&h, &script);
    (void)state;
    o.limits.max_live = 1;
    o.budget.max_live = 1;
    house_open(&h, &o);
    HOUSE_IS(&h, house_fails(&h, "a", KP_OFF), KP_ECREATE);
    HOUSE_IS(&h, house_stats(&h, NULL).live, 0);
    lease = house_get(&h, "a");
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 0);
    house_release(&h, &lease);
    house_close(&h);
}

static int makes_nothing(kp_job *job, void **resource)
{
    (void)job;
    *resource = NULL;
    return 0;
}

/* B-FAIL-22: testBrokenFactoryShouldNotBlockPool */
static void a_create_that_answers_nothing_must_fail_its_get_and_free_its_room(void **state)
{
    struct house h;
    kp_options o = commons(&h, NULL);
    int i;
    (void)state;
    o.limits.max_live = 1;
    o.driver.create = makes_nothing;
    house_open(&h, &o);
    for (i = 0; i < 3; i++) {
        HOUSE_IS(&h, house_fails(&h, "a", KP_OFF), KP_ECREATE);
        HOUSE_IS(&h, house_stats(&h, NULL).live, 0);
    }
    HOUSE_IS(&h, house_cast(&h).destroys, 0);
    house_close(&h);
}

/* B-FAIL-23: testLivenessOnTransientFactoryFailure */
static void one_that_is_added_must_serve_who_waits(void **state)
{
    static kp_prop added;
    struct visitor v = { .flags = KP_DONT_CREATE };
    struct house h;
    kp_options o = commons(&h, NULL);
    (void)state;
    added = (kp_prop){ .number = 77, .key = "a", .alive = 1 };
    house_open(&h, &o);
    h.waits_by_choice = true;
    visitor_send(&h, &v, "a", KP_OFF);
    HOUSE_IS(&h, house_stats(&h, "a").waiting, 1);
    HOUSE_IS(&h, kp_add(h.pool, kp_str("a"), &added), 0);
    h.foreign = 1;
    visitor_end(&v);
    HOUSE_IS(&h, v.number, 77);
    HOUSE_IS(&h, kp_add(h.pool, kp_str("a"), &added), KP_EMISUSE); /* it is in the pool already */
    house_release(&h, &v.lease);
    house_close(&h);
}

/* ---- invalidation ---- */

/* B-INV-14: testInvalidateFreesCapacity, testInvalidateWaiting. The peer's invalidateObject is
 * kp_discard (D18). */
static void a_discard_must_let_who_waits_for_the_same_key_have_a_new_one(void **state)
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
    house_discard(&h, &lease);
    visitor_end(&v);
    HOUSE_IS(&h, v.number, 2);
    HOUSE_IS(&h, house_cast(&h).most_live, 1);
    house_release(&h, &v.lease);
    house_close(&h);
}

/* B-INV-15: testInvalidateFreesCapacityForOtherKeys */
static void a_discard_must_let_who_waits_for_another_key_have_a_new_one(void **state)
{
    struct visitor v = { 0 };
    struct house h;
    kp_lease lease[2];
    kp_options o = commons(&h, NULL);
    (void)state;
    o.budget.max_live = 2;
    house_open(&h, &o);
    lease[0] = house_get(&h, "a");
    lease[1] = house_get(&h, "a");
    visitor_send(&h, &v, "b", KP_OFF);
    house_discard(&h, &lease[0]);
    visitor_end(&v);
    HOUSE_IS(&h, v.rc, 0);
    HOUSE_IS(&h, house_cast(&h).most_live, 2);
    house_release(&h, &lease[1]);
    house_release(&h, &v.lease);
    house_close(&h);
}

/* B-INV-22: testClear. Ours also marks what is lent: it is destroyed as it comes back. */
static void clearing_a_key_must_destroy_its_idle_ones_and_mark_its_lent_ones(void **state)
{
    struct house h;
    kp_lease lease;
    kp_options o = commons(&h, NULL);
    (void)state;
    house_open(&h, &o);
    house_stock(&h, "a", 3);
    house_stock(&h, "b", 2);
    lease = house_get(&h, "a");
    HOUSE_IS(&h, kp_invalidate_key(h.pool, kp_str("a")), 3);
    house_check(&h);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 0);
    HOUSE_IS(&h, house_cast(&h).destroys, 2);
    HOUSE_IS(&h, ((const kp_prop *)lease.resource)->alive, 1);
    house_release(&h, &lease);
    HOUSE_IS(&h, house_stats(&h, "a").live, 0);
    HOUSE_IS(&h, house_stats(&h, "b").idle, 2);
    lease = house_get(&h, "a"); /* what is made later is not concerned */
    house_release(&h, &lease);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 1);
    HOUSE_IS(&h, kp_invalidate_key(h.pool, KP_EVERY_KEY), 3);
    HOUSE_IS(&h, house_stats(&h, NULL).live, 0);
    HOUSE_IS(&h, kp_invalidate_key(h.pool, kp_str("unknown")), 0);
    house_close(&h);
}

/* B-INV-22: testClearUnblocksWaiters */
static void clearing_the_key_that_holds_the_total_must_serve_who_waits_for_another(void **state)
{
    struct visitor v = { .stay_ms = KP_NONE };
    struct house h;
    kp_options o = commons(&h, NULL);
    (void)state;
    o.budget.max_live = 1;
    o.budget.evict_other_keys = KP_OFF; /* otherwise no get would have to wait */
    house_open(&h, &o);
    house_stock(&h, "a", 1);
    visitor_send(&h, &v, "b", KP_OFF);
    HOUSE_HAS(&h, !v.answered);
    HOUSE_IS(&h, kp_invalidate_key(h.pool, kp_str("a")), 1);
    visitor_end(&v);
    HOUSE_IS(&h, v.rc, 0);
    house_close(&h);
}

/* ---- callbacks ---- */

/* B-CB-07: testExceptionOnDestroyDuringBorrow, ...Return */
static void a_destroy_that_fails_must_fail_neither_the_get_nor_the_release_that_ran_it(void **state)
{
    static const kp_line fails[] = { { .status = -6, .times = KP_OFF }, { 0 } };
    const kp_script script = { .destroy = fails };
    struct house h;
    kp_lease lease[2];
    kp_options o = commons(&h, &script);
    (void)state;
    o.limits.max_live = 2;
    o.limits.max_idle = 1;
    o.limits.idle_ttl_ms = 100;
    o.limits.idle_check = KP_CHECK_GET;
    house_open(&h, &o);
    lease[0] = house_get(&h, "a");
    lease[1] = house_get(&h, "a");
    house_release(&h, &lease[0]);
    house_release(&h, &lease[1]); /* too many: destroyed by the release */
    HOUSE_IS(&h, house_stats(&h, "a").destroy_failures, 1);
    house_pass(&h, 200);
    lease[0] = house_get(&h, "a"); /* stale: destroyed by the get */
    HOUSE_IS(&h, house_number(&lease[0]), 3);
    HOUSE_IS(&h, house_stats(&h, "a").destroy_failures, 2);
    HOUSE_IS(&h, h.seen[KP_EVENT_DESTROY_FAILED], 2);
    house_release(&h, &lease[0]);
    house_close(&h);
}

/* B-CHK-02 */
static void an_idle_one_that_fails_its_check_must_go_and_the_next_be_taken(void **state)
{
    static const kp_line one_bad[] = { { .status = -1 }, { 0 } };
    const kp_script script = { .validate = one_bad };
    struct house h;
    kp_lease lease;
    kp_options o = commons(&h, &script);
    (void)state;
    house_open(&h, &o);
    house_stock(&h, "a", 2);
    house_pass(&h, 10);
    HOUSE_IS(&h, house_cast(&h).validates, 0); /* nothing has been lent again yet */
    lease = house_get(&h, "a");
    HOUSE_IS(&h, house_number(&lease), 1); /* the last returned, 2, was the bad one */
    HOUSE_IS(&h, house_cast(&h).destroys, 1);
    HOUSE_IS(&h, h.destroyed_number[0], 2);
    HOUSE_IS(&h, house_stats(&h, "a").invalid, 1);
    HOUSE_IS(&h, h.seen[KP_EVENT_INVALID], 1);
    house_release(&h, &lease);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            what_comes_back_must_serve_who_waits_for_a_create_and_the_created_one_go_idle),
        cmocka_unit_test(the_deadline_must_cover_the_create),
        cmocka_unit_test(a_create_that_fails_must_free_its_room_at_once),
        cmocka_unit_test(a_create_that_answers_nothing_must_fail_its_get_and_free_its_room),
        cmocka_unit_test(one_that_is_added_must_serve_who_waits),
        cmocka_unit_test(a_discard_must_let_who_waits_for_the_same_key_have_a_new_one),
        cmocka_unit_test(a_discard_must_let_who_waits_for_another_key_have_a_new_one),
        cmocka_unit_test(clearing_a_key_must_destroy_its_idle_ones_and_mark_its_lent_ones),
        cmocka_unit_test(clearing_the_key_that_holds_the_total_must_serve_who_waits_for_another),
        cmocka_unit_test(
            a_destroy_that_fails_must_fail_neither_the_get_nor_the_release_that_ran_it),
        cmocka_unit_test(an_idle_one_that_fails_its_check_must_go_and_the_next_be_taken),
    };
    return cmocka_run_group_tests_name("commons-pool, continued", tests, NULL, NULL);
}
