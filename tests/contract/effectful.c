/* SPDX-License-Identifier: MIT
 *
 * effectful (id_effect) by configuration alone: a limit on concurrent check-outs over all keys,
 * idle resources kept per key, the oldest idle one first, invalidation by key. The preset
 * "effectful N" and nothing else. effectful_2.c has scopes, time to live, failing factories and
 * close.
 */
#include "house.h"

static void effectful(struct house *h, const char *preset, const kp_script *script)
{
    kp_options o = house_plan(h, 1, preset, script);
    house_open(h, &o);
}

/* ---- creation ---- */

/* B-CFG-01, B-CFG-11 */
static void nothing_must_be_created_before_the_first_get_of_a_key(void **state)
{
    struct house h;
    kp_lease lease;
    (void)state;
    effectful(&h, "effectful 3", NULL);
    house_pass(&h, 60000);
    HOUSE_IS(&h, house_cast(&h).creates, 0);
    HOUSE_IS(&h, house_stats(&h, NULL).keys, 0);
    lease = house_get(&h, "a");
    HOUSE_IS(&h, house_cast(&h).creates, 1);
    HOUSE_IS(&h, house_stats(&h, NULL).keys, 1);
    house_pass(&h, 1000);
    HOUSE_IS(&h, house_cast(&h).creates, 1);
    house_release(&h, &lease);
    house_close(&h);
}

/* B-CFG-02: keyed_pool_isolates_keys_by_factory_calls */
static void idle_ones_must_be_stored_per_key_and_never_cross_to_another(void **state)
{
    struct house h;
    kp_lease a, b, again;
    (void)state;
    effectful(&h, "effectful 4", NULL);
    a = house_get(&h, "a");
    house_release(&h, &a);
    b = house_get(&h, "b");
    house_release(&h, &b);
    HOUSE_IS(&h, house_cast(&h).creates, 2);
    again = house_get(&h, "a");
    HOUSE_IS(&h, house_number(&again), 1);
    HOUSE_IS(&h, house_cast(&h).creates, 2);
    HOUSE_IS(&h, house_stats(&h, "b").idle, 1);
    house_release(&h, &again);
    house_close(&h);
}

/* B-CFG-12 */
static void a_pool_whose_factory_always_fails_must_open_all_the_same(void **state)
{
    static const kp_line fails[] = { { .status = -5, .times = KP_OFF }, { 0 } };
    const kp_script script = { .create = fails };
    struct house h;
    (void)state;
    effectful(&h, "effectful 2", &script);
    house_pass(&h, 1000);
    HOUSE_IS(&h, house_cast(&h).create_failures, 0);
    HOUSE_IS(&h, house_fails(&h, "a", 0), KP_ECREATE);
    HOUSE_IS(&h, h.why.vendor_code, -5);
    house_close(&h);
}

/* B-CFG-17 */
static void a_pool_without_keys_must_be_the_same_pool_with_the_one_empty_key(void **state)
{
    struct house h;
    kp_lease one, two, three;
    const kp_key only = { NULL, 0 };
    (void)state;
    effectful(&h, "effectful 2", NULL);
    assert_int_equal(kp_get(h.pool, only, NULL, &one), 0);
    assert_int_equal(kp_get(h.pool, kp_str(""), NULL, &two), 0);
    HOUSE_IS(&h, house_stats(&h, NULL).keys, 1);
    HOUSE_IS(&h, house_fails(&h, "", 10), KP_ETIMEDOUT);
    kp_release(&one);
    kp_release(&two);
    HOUSE_IS(&h, house_stats(&h, "").idle, 2);
    assert_int_equal(kp_get(h.pool, only, NULL, &three), 0);
    HOUSE_IS(&h, house_cast(&h).creates, 2);
    house_check(&h);
    kp_release(&three);
    house_close(&h);
}

struct place {
    const char *cluster;
    int database;
};
static const kp_field place_fields[] = { KP_STR(struct place, cluster),
                                         KP_INT(struct place, database), KP_END };

/* B-CFG-21: K: Eq + Hash */
static void keys_of_equal_content_in_different_objects_must_be_one_key(void **state)
{
    char eu[] = "eu", too[] = "eu";
    struct place first = { eu, 7 }, second = { too, 7 }, third = { too, 8 };
    struct house h;
    kp_lease lease;
    kp_options o = house_plan(&h, 1, "effectful 2", NULL);
    (void)state;
    o.key_type.size = sizeof(struct place);
    o.key_type.fields = place_fields;
    house_open(&h, &o);
    assert_int_equal(kp_get(h.pool, KP_KEY(&first), NULL, &lease), 0);
    kp_release(&lease);
    eu[0] = 'x'; /* the pool has its own copy (B-KEY-05) */
    assert_int_equal(kp_get(h.pool, KP_KEY(&second), NULL, &lease), 0);
    HOUSE_HAS(&h, house_reused(&lease));
    kp_release(&lease);
    assert_int_equal(kp_get(h.pool, KP_KEY(&third), NULL, &lease), 0);
    HOUSE_HAS(&h, !house_reused(&lease));
    kp_release(&lease);
    HOUSE_IS(&h, house_stats(&h, NULL).keys, 2);
    HOUSE_IS(&h, house_cast(&h).creates, 2);
    house_close(&h);
}

/* B-CFG-24 */
static void one_handle_must_serve_many_tasks_at_once(void **state)
{
    struct visitor v[20] = { { 0 } };
    struct house h;
    char key[20][8];
    int i;
    (void)state;
    effectful(&h, "effectful 3", NULL);
    for (i = 0; i < 20; i++) {
        snprintf(key[i], sizeof key[i], "k%d", i % 4);
        v[i].stay_ms = 10;
        visitor_send(&h, &v[i], key[i], 0);
        HOUSE_HAS(&h, house_stats(&h, NULL).lent <= 3);
    }
    kp_sim_join(h.sim, 0);
    for (i = 0; i < 20; i++) HOUSE_IS(&h, v[i].rc, 0);
    HOUSE_IS(&h, house_stats(&h, NULL).gets, 20);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 70); /* 20 visits of 10 ms, three at a time */
    house_close(&h);
}

/* ---- capacity ---- */

/* B-LIM-01 */
static void capacity_must_count_what_is_lent_over_all_keys_together(void **state)
{
    struct house h;
    kp_lease a, b, c;
    (void)state;
    effectful(&h, "effectful 2", NULL);
    a = house_get(&h, "a");
    b = house_get(&h, "b");
    HOUSE_IS(&h, house_fails(&h, "c", 10), KP_ETIMEDOUT);
    assert_string_equal(h.why.limit, "budget.max_lent");
    HOUSE_IS(&h, house_fails(&h, "a", 10), KP_ETIMEDOUT);
    house_release(&h, &a);
    c = house_get(&h, "c");
    house_release(&h, &b);
    house_release(&h, &c);
    house_close(&h);
}

/* B-LIM-01; EF-5: what is idle is without bound unless max_idle or max_live say so */
static void idle_ones_must_not_count_towards_the_capacity(void **state)
{
    struct house h;
    kp_lease b[2];
    (void)state;
    effectful(&h, "effectful 2", NULL);
    house_stock(&h, "a", 2);
    b[0] = house_get(&h, "b");
    b[1] = house_get(&h, "b");
    HOUSE_IS(&h, house_stats(&h, "a").idle, 2);
    HOUSE_IS(&h, house_stats(&h, "b").lent, 2);
    HOUSE_IS(&h, house_stats(&h, NULL).live, 4);
    house_release(&h, &b[0]);
    house_release(&h, &b[1]);
    house_close(&h);
}

/* B-GET-04: pool_get_blocks_when_exhausted */
static void a_get_beyond_the_capacity_must_wait_until_a_lease_ends(void **state)
{
    struct visitor first = { .stay_ms = 120 }, second = { 0 };
    struct house h;
    (void)state;
    effectful(&h, "effectful 1", NULL);
    visitor_send(&h, &first, "a", 0);
    visitor_send(&h, &second, "a", 0);
    house_pass(&h, 50);
    HOUSE_HAS(&h, !second.answered);
    HOUSE_IS(&h, house_stats(&h, "a").waiting, 1);
    visitor_end(&second);
    HOUSE_IS(&h, second.answered_ms, 120);
    HOUSE_IS(&h, second.number, 1);
    HOUSE_IS(&h, house_cast(&h).creates, 1);
    house_release(&h, &second.lease);
    house_close(&h);
}

/* B-WAIT-13 */
static void a_request_that_waits_for_capacity_must_hold_no_resource(void **state)
{
    struct visitor waits = { 0 };
    struct house h;
    kp_lease b;
    (void)state;
    effectful(&h, "effectful 1", NULL);
    house_stock(&h, "a", 1);
    b = house_get(&h, "b");
    visitor_send(&h, &waits, "a", 0);
    HOUSE_IS(&h, house_stats(&h, "a").waiting, 1);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 1);
    house_release(&h, &b);
    visitor_end(&waits);
    HOUSE_IS(&h, waits.number, 1);
    HOUSE_HAS(&h, waits.reused);
    HOUSE_IS(&h, house_cast(&h).creates, 2);
    house_release(&h, &waits.lease);
    house_close(&h);
}

/* D6: one fair semaphore for all keys */
static void requests_of_different_keys_must_be_served_in_the_order_of_arrival(void **state)
{
    static const char *const key[5] = { "b", "a", "c", "a", "b" };
    struct visitor v[5] = { { 0 } };
    struct house h;
    kp_lease first;
    unsigned i;
    (void)state;
    effectful(&h, "effectful 1", NULL);
    first = house_get(&h, "a");
    for (i = 0; i < 5; i++) {
        v[i].stay_ms = KP_NONE;
        visitor_send(&h, &v[i], key[i], 0);
        house_pass(&h, 1);
    }
    house_release(&h, &first);
    kp_sim_join(h.sim, 0);
    for (i = 0; i < 5; i++) HOUSE_IS(&h, v[i].turn, i + 1);
    house_close(&h);
}

/* ---- reuse ---- */

/* B-GET-01: pool_item_released_on_scope_close */
static void what_was_given_back_must_be_lent_again_instead_of_a_new_one(void **state)
{
    struct house h;
    kp_lease lease;
    int i;
    (void)state;
    effectful(&h, "effectful 10", NULL);
    for (i = 0; i < 100; i++) {
        lease = house_get(&h, "a");
        HOUSE_IS(&h, house_number(&lease), 1);
        HOUSE_IS(&h, house_reused(&lease), i > 0);
        house_release(&h, &lease);
    }
    HOUSE_IS(&h, house_cast(&h).creates, 1);
    house_close(&h);
}

/* B-GET-02 */
static void a_new_one_must_be_made_while_all_are_lent_and_there_is_capacity(void **state)
{
    struct house h;
    kp_lease lease[3];
    int i;
    (void)state;
    effectful(&h, "effectful 3", NULL);
    for (i = 0; i < 3; i++) {
        lease[i] = house_get(&h, "a");
        HOUSE_IS(&h, house_number(&lease[i]), i + 1);
    }
    for (i = 0; i < 3; i++) house_release(&h, &lease[i]);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 3);
    house_close(&h);
}

/* B-GET-11: take_idle takes from the front */
static void the_first_returned_must_be_the_first_lent_again(void **state)
{
    struct house h;
    kp_lease lease[3];
    int i;
    (void)state;
    effectful(&h, "effectful 3", NULL);
    for (i = 0; i < 3; i++) lease[i] = house_get(&h, "a");
    house_release(&h, &lease[1]);
    house_release(&h, &lease[2]);
    house_release(&h, &lease[0]);
    lease[0] = house_get(&h, "a");
    lease[1] = house_get(&h, "a");
    lease[2] = house_get(&h, "a");
    HOUSE_IS(&h, house_number(&lease[0]), 2);
    HOUSE_IS(&h, house_number(&lease[1]), 3);
    HOUSE_IS(&h, house_number(&lease[2]), 1);
    for (i = 0; i < 3; i++) house_release(&h, &lease[i]);
    house_close(&h);
}

/* B-REL-09 */
static void a_resource_must_be_back_before_its_capacity_is_free(void **state)
{
    struct visitor waits = { 0 };
    struct house h;
    kp_lease lease;
    (void)state;
    effectful(&h, "effectful 1", NULL);
    lease = house_get(&h, "a");
    visitor_send(&h, &waits, "a", 0);
    house_release(&h, &lease);
    visitor_end(&waits);
    HOUSE_IS(&h, waits.number, 1);
    HOUSE_IS(&h, house_cast(&h).creates, 1); /* the next one found it: no needless create */
    house_release(&h, &waits.lease);
    house_close(&h);
}

/* ---- invalidate ---- */

/* B-INV-01: pool_invalidate_forces_remake_on_next_get,
 * keyed_pool_invalidate_forces_factory_on_next_get */
static void an_invalidated_one_must_not_come_back_and_the_next_get_must_make_another(void **state)
{
    struct house h;
    kp_lease lease;
    (void)state;
    effectful(&h, "effectful 2", NULL);
    lease = house_get(&h, "a");
    HOUSE_IS(&h, kp_invalidate(h.pool, lease.resource), 1);
    house_release(&h, &lease);
    HOUSE_IS(&h, house_stats(&h, "a").live, 0);
    lease = house_get(&h, "a");
    HOUSE_IS(&h, house_number(&lease), 2);
    HOUSE_IS(&h, house_cast(&h).creates, 2);
    house_release(&h, &lease);
    house_close(&h);
}

/* B-INV-02 */
static void an_idle_one_that_was_invalidated_must_be_gone_when_invalidate_returns(void **state)
{
    struct house h;
    kp_lease lease;
    const void *resource;
    (void)state;
    effectful(&h, "effectful 2", NULL);
    lease = house_get(&h, "a");
    resource = lease.resource;
    house_release(&h, &lease);
    HOUSE_IS(&h, kp_invalidate(h.pool, resource), 1);
    house_check(&h);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 0);
    HOUSE_IS(&h, house_cast(&h).destroys, 1);
    HOUSE_IS(&h, house_try(&h, "a", &lease), KP_EAGAIN);
    house_close(&h);
}

/* B-INV-06 */
static void an_invalidated_one_must_not_be_destroyed_under_its_borrower(void **state)
{
    struct house h;
    kp_lease lease;
    kp_lease_about about;
    (void)state;
    effectful(&h, "effectful 2", NULL);
    lease = house_get(&h, "a");
    HOUSE_IS(&h, kp_invalidate(h.pool, lease.resource), 1);
    house_pass(&h, 1000);
    HOUSE_IS(&h, house_cast(&h).destroys, 0);
    HOUSE_IS(&h, ((const kp_prop *)lease.resource)->alive, 1);
    HOUSE_HAS(&h, kp_lease_read(&lease, &about) && about.doomed);
    house_release(&h, &lease);
    HOUSE_IS(&h, house_cast(&h).destroys, 1);
    house_close(&h);
}

/* B-INV-09 */
static void invalidating_one_of_a_key_must_leave_those_of_other_keys_alone(void **state)
{
    struct house h;
    kp_lease a, b;
    (void)state;
    effectful(&h, "effectful 2", NULL);
    a = house_get(&h, "a");
    b = house_get(&h, "b");
    HOUSE_IS(&h, kp_invalidate(h.pool, a.resource), 1);
    house_release(&h, &a);
    house_release(&h, &b);
    b = house_get(&h, "b");
    HOUSE_IS(&h, house_number(&b), 2);
    house_release(&h, &b);
    HOUSE_IS(&h, house_cast(&h).destroys, 1);
    house_close(&h);
}

/* B-INV-10; EF-2 */
static void invalidating_what_the_pool_does_not_know_must_leave_no_residue(void **state)
{
    struct house h;
    kp_lease lease;
    kp_sim_memory before;
    char unknown[1000];
    int i;
    (void)state;
    effectful(&h, "effectful 2", NULL);
    house_stock(&h, "a", 1);
    before = kp_sim_memory_read(h.sim);
    for (i = 0; i < 1000; i++) HOUSE_IS(&h, kp_invalidate(h.pool, &unknown[i]), 0);
    HOUSE_IS(&h, kp_invalidate(h.pool, NULL), 0);
    HOUSE_IS(&h, kp_sim_memory_read(h.sim).bytes, before.bytes);
    HOUSE_IS(&h, house_stats(&h, NULL).invalidated, 0);
    lease = house_get(&h, "a");
    HOUSE_IS(&h, house_number(&lease), 1);
    house_release(&h, &lease);
    house_close(&h);
}

/* B-INV-11 */
static void invalidating_twice_must_destroy_once(void **state)
{
    struct house h;
    kp_lease lease;
    const void *resource;
    (void)state;
    effectful(&h, "effectful 2", NULL);
    lease = house_get(&h, "a");
    resource = lease.resource;
    (void)kp_invalidate(h.pool, resource);
    (void)kp_invalidate(h.pool, resource);
    house_release(&h, &lease);
    HOUSE_IS(&h, kp_invalidate(h.pool, resource), 0); /* it is gone: unknown */
    HOUSE_IS(&h, house_cast(&h).destroys, 1);
    HOUSE_IS(&h, house_stats(&h, NULL).invalidated, 1);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_must_be_created_before_the_first_get_of_a_key),
        cmocka_unit_test(idle_ones_must_be_stored_per_key_and_never_cross_to_another),
        cmocka_unit_test(a_pool_whose_factory_always_fails_must_open_all_the_same),
        cmocka_unit_test(a_pool_without_keys_must_be_the_same_pool_with_the_one_empty_key),
        cmocka_unit_test(keys_of_equal_content_in_different_objects_must_be_one_key),
        cmocka_unit_test(one_handle_must_serve_many_tasks_at_once),
        cmocka_unit_test(capacity_must_count_what_is_lent_over_all_keys_together),
        cmocka_unit_test(idle_ones_must_not_count_towards_the_capacity),
        cmocka_unit_test(a_get_beyond_the_capacity_must_wait_until_a_lease_ends),
        cmocka_unit_test(a_request_that_waits_for_capacity_must_hold_no_resource),
        cmocka_unit_test(requests_of_different_keys_must_be_served_in_the_order_of_arrival),
        cmocka_unit_test(what_was_given_back_must_be_lent_again_instead_of_a_new_one),
        cmocka_unit_test(a_new_one_must_be_made_while_all_are_lent_and_there_is_capacity),
        cmocka_unit_test(the_first_returned_must_be_the_first_lent_again),
        cmocka_unit_test(a_resource_must_be_back_before_its_capacity_is_free),
        cmocka_unit_test(an_invalidated_one_must_not_come_back_and_the_next_get_must_make_another),
        cmocka_unit_test(an_idle_one_that_was_invalidated_must_be_gone_when_invalidate_returns),
        cmocka_unit_test(an_invalidated_one_must_not_be_destroyed_under_its_borrower),
        cmocka_unit_test(invalidating_one_of_a_key_must_leave_those_of_other_keys_alone),
        cmocka_unit_test(invalidating_what_the_pool_does_not_know_must_leave_no_residue),
        cmocka_unit_test(invalidating_twice_must_destroy_once),
    };
    return cmocka_run_group_tests_name("effectful", tests, NULL, NULL);
}
