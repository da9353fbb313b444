/* SPDX-License-Identifier: MIT
 *
 * effectful (id_effect), continued: scopes, make_with_ttl, failing factories, callbacks, the life
 * of keys, close.
 */
#include "house.h"

static void effectful(struct house *h, const char *preset, const kp_script *script)
{
    kp_options o = house_plan(h, 1, preset, script);
    house_open(h, &o);
}

static kp_lease scoped(struct house *h, kp_scope *scope, const char *key)
{
    kp_lease lease;
    int rc = kp_scope_get(scope, h->pool, kp_str(key), NULL, &lease);
    HOUSE_IS(h, rc, 0);
    house_check(h);
    return lease;
}

static void scope_ends(struct house *h, kp_scope *scope)
{
    kp_scope_close(scope);
    house_check(h);
}

/* ---- scopes ---- */

/* B-REL-01 */
static void a_scope_that_closes_must_give_its_lease_back_and_free_its_capacity(void **state)
{
    struct house h;
    kp_scope scope = { { 0 } };
    kp_lease lease;
    (void)state;
    effectful(&h, "effectful 1", NULL);
    (void)scoped(&h, &scope, "a");
    HOUSE_IS(&h, house_fails(&h, "b", 10), KP_ETIMEDOUT);
    scope_ends(&h, &scope);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 1);
    lease = house_get(&h, "b");
    house_release(&h, &lease);
    house_close(&h);
}

/* B-REL-01: "unless invalidated" */
static void a_scope_that_closes_must_destroy_what_was_invalidated_in_it(void **state)
{
    struct house h;
    kp_scope scope = { { 0 } };
    kp_lease lease;
    (void)state;
    effectful(&h, "effectful 1", NULL);
    lease = scoped(&h, &scope, "a");
    HOUSE_IS(&h, kp_invalidate(h.pool, lease.resource), 1);
    scope_ends(&h, &scope);
    HOUSE_IS(&h, house_stats(&h, NULL).live, 0);
    HOUSE_IS(&h, house_cast(&h).destroys, 1);
    house_close(&h);
}

/* B-GET-08: primary and replica */
static void one_scope_must_own_resources_of_several_keys_and_several_of_one_key(void **state)
{
    struct house h;
    kp_scope scope = { { 0 } };
    (void)state;
    effectful(&h, "effectful 9", NULL);
    (void)scoped(&h, &scope, "primary");
    (void)scoped(&h, &scope, "replica");
    (void)scoped(&h, &scope, "replica");
    HOUSE_IS(&h, house_stats(&h, NULL).lent, 3);
    scope_ends(&h, &scope);
    HOUSE_IS(&h, house_stats(&h, "primary").idle, 1);
    HOUSE_IS(&h, house_stats(&h, "replica").idle, 2);
    house_close(&h);
}

/* B-REL-08 */
static void leases_of_a_scope_must_end_in_reverse_order_and_only_once(void **state)
{
    struct house h;
    kp_scope scope = { { 0 } };
    kp_options o = house_plan(&h, 1, "effectful 9", NULL);
    int i;
    (void)state;
    o.limits.on_return = KP_DESTROY; /* so that the order can be seen */
    house_open(&h, &o);
    for (i = 0; i < 8; i++) (void)scoped(&h, &scope, i % 2 ? "a" : "b");
    scope_ends(&h, &scope);
    HOUSE_IS(&h, h.destroyed, 8);
    for (i = 0; i < 8; i++) HOUSE_IS(&h, h.destroyed_number[i], 8 - i);
    scope_ends(&h, &scope); /* closing twice does nothing */
    HOUSE_IS(&h, house_cast(&h).destroys, 8);
    HOUSE_IS(&h, house_stats(&h, NULL).misuses, 0);
    house_close(&h);
}

/* B-REL-11: Scope::fork */
static void an_inner_scope_that_closes_must_end_its_own_leases_only(void **state)
{
    struct house h;
    kp_scope outer = { { 0 } }, inner = { { 0 } };
    kp_lease lease;
    kp_lease_about about;
    (void)state;
    effectful(&h, "effectful 9", NULL);
    lease = scoped(&h, &outer, "a");
    assert_int_equal(kp_scope_defer(&outer, kp_scope_end, &inner), 0);
    (void)scoped(&h, &inner, "a");
    scope_ends(&h, &inner);
    HOUSE_HAS(&h, kp_lease_read(&lease, &about));
    HOUSE_IS(&h, house_stats(&h, "a").lent, 1);
    (void)scoped(&h, &inner, "b");
    scope_ends(&h, &outer); /* and the outer one takes the inner one with it */
    HOUSE_IS(&h, house_stats(&h, NULL).lent, 0);
    HOUSE_IS(&h, house_stats(&h, NULL).idle, 3);
    house_close(&h);
}

/* B-REL-10, EF-4. Ours on purpose: a closed scope is an open, empty one again, so nothing is ever
 * without an owner. */
static void a_get_in_a_closed_scope_must_belong_to_the_scope_again(void **state)
{
    struct house h;
    kp_scope scope = { { 0 } };
    (void)state;
    effectful(&h, "effectful 1", NULL);
    (void)scoped(&h, &scope, "a");
    scope_ends(&h, &scope);
    (void)scoped(&h, &scope, "a");
    HOUSE_IS(&h, house_stats(&h, "a").lent, 1);
    scope_ends(&h, &scope);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 1);
    HOUSE_IS(&h, house_cast(&h).creates, 1);
    house_close(&h);
}

/* DESIGN section 3, Scope.clone: a lease ends on another thread than the borrower's; B-REL-14 */
static void a_lease_must_end_on_any_thread(void **state)
{
    struct visitor v = { 0 };
    struct house h;
    (void)state;
    effectful(&h, "effectful 1", NULL);
    visitor_send(&h, &v, "a", 0);
    HOUSE_IS(&h, v.rc, 0);
    visitor_end(&v);
    house_release(&h, &v.lease); /* its borrower's thread is gone by now */
    HOUSE_IS(&h, house_stats(&h, "a").idle, 1);
    house_close(&h);
}

/* ---- make_with_ttl ---- */

static void with_ttl(struct house *h, const char *preset, int64_t ttl_ms)
{
    kp_options o = house_plan(h, 1, preset, NULL);
    o.limits.idle_ttl_ms = ttl_ms;
    house_open(h, &o);
}

/* B-TTL-01: keyed_pool_make_with_ttl_evicts_stale_idle_slot. The preset looks at check-out only, as
 * the peer does. */
static void a_stale_one_must_be_discarded_at_check_out_and_another_made(void **state)
{
    struct house h;
    kp_lease lease;
    (void)state;
    with_ttl(&h, "effectful 2", 20);
    house_stock(&h, "a", 1);
    house_pass(&h, 50);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 1);
    lease = house_get(&h, "a");
    HOUSE_IS(&h, house_number(&lease), 2);
    HOUSE_IS(&h, house_cast(&h).creates, 2);
    HOUSE_IS(&h, house_cast(&h).destroys, 1);
    HOUSE_IS(&h, house_stats(&h, "a").expired, 1);
    house_release(&h, &lease);
    house_close(&h);
}

/* D3; EF-6: by default ours also looks in the background, so that unused keys do not keep stale
 * ones */
static void by_default_a_stale_one_must_go_without_a_get(void **state)
{
    struct house h;
    kp_options o = house_plan(&h, 1, "effectful 2", NULL);
    (void)state;
    o.limits.idle_ttl_ms = 20;
    o.limits.idle_check = KP_CHECK_GET | KP_CHECK_KEEPER;
    house_open(&h, &o);
    house_stock(&h, "a", 1);
    house_pass(&h, 19);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 1);
    house_pass(&h, 2);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 0);
    HOUSE_IS(&h, house_cast(&h).destroys, 1);
    house_close(&h);
}

/* B-TTL-02 */
static void the_idle_time_must_start_again_at_each_return_and_not_count_the_time_lent(void **state)
{
    struct house h;
    kp_lease lease;
    int i;
    (void)state;
    with_ttl(&h, "effectful 2", 100);
    lease = house_get(&h, "a");
    house_pass(&h, 300);
    house_release(&h, &lease);
    for (i = 0; i < 5; i++) {
        house_pass(&h, 90);
        lease = house_get(&h, "a");
        HOUSE_IS(&h, house_number(&lease), 1);
        house_release(&h, &lease);
    }
    house_close(&h);
}

/* B-TTL-03 */
static void a_get_must_discard_stale_ones_until_it_finds_a_good_one(void **state)
{
    struct house h;
    kp_lease lease[4];
    (void)state;
    with_ttl(&h, "effectful 4", 100);
    lease[0] = house_get(&h, "a");
    lease[1] = house_get(&h, "a");
    lease[2] = house_get(&h, "a");
    house_release(&h, &lease[0]);
    house_release(&h, &lease[1]);
    house_pass(&h, 60);
    house_release(&h, &lease[2]);
    house_pass(&h, 60);
    lease[3] = house_get(&h, "a");
    HOUSE_IS(&h, house_number(&lease[3]), 3);
    HOUSE_IS(&h, house_cast(&h).destroys, 2);
    HOUSE_IS(&h, house_cast(&h).creates, 3);
    house_release(&h, &lease[3]);
    house_close(&h);
}

/* B-TTL-03 */
static void a_get_that_finds_only_stale_ones_must_discard_all_and_make_one(void **state)
{
    struct house h;
    kp_lease lease;
    (void)state;
    with_ttl(&h, "effectful 4", 100);
    house_stock(&h, "a", 4);
    house_pass(&h, 101);
    lease = house_get(&h, "a");
    HOUSE_IS(&h, house_number(&lease), 5);
    HOUSE_IS(&h, house_stats(&h, "a").live, 1);
    HOUSE_IS(&h, house_cast(&h).destroys, 4);
    house_release(&h, &lease);
    house_close(&h);
}

/* ---- failing factories and callbacks ---- */

/* B-FAIL-01, B-FAIL-02 */
static void a_failed_factory_must_fail_its_get_with_its_reason_and_the_next_get_must_try(
    void **state)
{
    static const kp_line fails[] = { { .status = -9, .vendor_code = 111, .text = "refused" },
                                     { 0 } };
    const kp_script script = { .create = fails };
    struct house h;
    kp_lease lease;
    (void)state;
    effectful(&h, "effectful 1", &script);
    HOUSE_IS(&h, house_fails(&h, "a", 0), KP_ECREATE);
    HOUSE_IS(&h, h.why.code, KP_ECREATE);
    HOUSE_IS(&h, h.why.vendor_code, 111);
    assert_non_null(strstr(h.why.text, "refused"));
    HOUSE_IS(&h, house_stats(&h, NULL).live, 0);
    lease = house_get(&h, "a"); /* and at once: the capacity is back */
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 0);
    house_release(&h, &lease);
    house_close(&h);
}

/* B-CB-06 */
static void a_factory_that_blocks_must_not_hold_up_other_keys(void **state)
{
    static kp_gate gate;
    static const kp_line slow[] = { { .gate = &gate }, { 0 } };
    const kp_script script = { .create = slow };
    struct visitor v = { 0 };
    struct house h;
    kp_lease b;
    (void)state;
    gate = (kp_gate){ 0 };
    effectful(&h, "effectful 2", &script);
    visitor_send(&h, &v, "a", 0);
    HOUSE_IS(&h, gate.entered, 1);
    HOUSE_IS(&h, house_stats(&h, "a").creating, 1);
    b = house_get(&h, "b");
    house_release(&h, &b);
    HOUSE_HAS(&h, !v.answered);
    kp_gate_open(h.sim, &gate);
    visitor_end(&v);
    HOUSE_IS(&h, v.rc, 0);
    house_release(&h, &v.lease);
    house_close(&h);
}

static int made, unmade, the_only;

static int same_pointer(kp_job *job, void **resource)
{
    (void)job;
    made++;
    *resource = &the_only;
    return 0;
}

static int unmake(kp_job *job, void *resource)
{
    (void)job;
    assert_ptr_equal(resource, &the_only);
    unmade++;
    return 0;
}

/* EF-3: a file number is used again, and what it names now has nothing to do with what was
 * invalidated */
static void a_new_one_that_looks_like_an_invalidated_one_must_live(void **state)
{
    struct house h;
    kp_lease lease;
    kp_options o = house_plan(&h, 1, "effectful 1", NULL);
    (void)state;
    made = unmade = 0;
    o.driver.create = same_pointer;
    o.driver.destroy = unmake;
    o.driver.ctx = NULL;
    o.on_event = NULL;
    assert_int_equal(kp_pool_open(&o, &h.pool), 0);
    assert_int_equal(kp_get(h.pool, kp_str("a"), NULL, &lease), 0);
    HOUSE_IS(&h, kp_invalidate(h.pool, &the_only), 1);
    kp_release(&lease);
    HOUSE_IS(&h, unmade, 1);
    assert_int_equal(kp_get(h.pool, kp_str("a"), NULL, &lease), 0);
    kp_release(&lease);
    assert_int_equal(kp_get(h.pool, kp_str("a"), NULL, &lease), 0);
    HOUSE_HAS(&h, house_reused(&lease));
    kp_release(&lease);
    HOUSE_IS(&h, made, 2);
    HOUSE_IS(&h, unmade, 1);
    HOUSE_IS(&h, kp_pool_close(h.pool, KP_CLOSE_NOW, 1000), 0);
    HOUSE_IS(&h, unmade, 2);
    house_leave(&h);
}

/* ---- keys and close ---- */

/* B-KEY-01. Ours keeps the entry for forget_key_after_ms; with NONE it goes with its last resource,
 * as the peer's does. */
static void a_key_must_be_forgotten_with_its_last_resource(void **state)
{
    struct house h;
    kp_lease lease;
    kp_options o = house_plan(&h, 1, "effectful 2", NULL);
    (void)state;
    o.forget_key_after_ms = KP_NONE;
    house_open(&h, &o);
    house_stock(&h, "a", 1);
    house_pass(&h, 1000);
    HOUSE_IS(&h, house_stats(&h, NULL).keys, 1); /* an idle one keeps its key */
    lease = house_get(&h, "a");
    house_pass(&h, 1000);
    HOUSE_IS(&h, house_stats(&h, NULL).keys, 1);
    house_discard(&h, &lease);
    house_pass(&h, 1);
    HOUSE_IS(&h, house_stats(&h, NULL).keys, 0);
    HOUSE_IS(&h, house_stats(&h, NULL).keys_forgotten, 1);
    HOUSE_IS(&h, house_stats(&h, NULL).creates, 1); /* its totals stay (L8) */
    house_close(&h);
}

/* B-SHUT-13: Scope::close returns false */
static void closing_twice_must_destroy_each_once(void **state)
{
    struct house h;
    (void)state;
    effectful(&h, "effectful 4", NULL);
    house_stock(&h, "a", 2);
    house_stock(&h, "b", 2);
    HOUSE_IS(&h, kp_pool_close(h.pool, KP_CLOSE_NOW, 1000), 0);
    h.ended = true;
    HOUSE_IS(&h, house_cast(&h).destroys, 4);
    HOUSE_IS(&h, kp_pool_close(h.pool, KP_CLOSE_NOW, 1000), 0);
    HOUSE_IS(&h, kp_pool_close(h.pool, KP_CLOSE_WAIT, 1000), 0);
    HOUSE_IS(&h, house_cast(&h).destroys, 4);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_scope_that_closes_must_give_its_lease_back_and_free_its_capacity),
        cmocka_unit_test(a_scope_that_closes_must_destroy_what_was_invalidated_in_it),
        cmocka_unit_test(one_scope_must_own_resources_of_several_keys_and_several_of_one_key),
        cmocka_unit_test(leases_of_a_scope_must_end_in_reverse_order_and_only_once),
        cmocka_unit_test(an_inner_scope_that_closes_must_end_its_own_leases_only),
        cmocka_unit_test(a_get_in_a_closed_scope_must_belong_to_the_scope_again),
        cmocka_unit_test(a_lease_must_end_on_any_thread),
        cmocka_unit_test(a_stale_one_must_be_discarded_at_check_out_and_another_made),
        cmocka_unit_test(by_default_a_stale_one_must_go_without_a_get),
        cmocka_unit_test(the_idle_time_must_start_again_at_each_return_and_not_count_the_time_lent),
        cmocka_unit_test(a_get_must_discard_stale_ones_until_it_finds_a_good_one),
        cmocka_unit_test(a_get_that_finds_only_stale_ones_must_discard_all_and_make_one),
        cmocka_unit_test(
            a_failed_factory_must_fail_its_get_with_its_reason_and_the_next_get_must_try),
        cmocka_unit_test(a_factory_that_blocks_must_not_hold_up_other_keys),
        cmocka_unit_test(a_new_one_that_looks_like_an_invalidated_one_must_live),
        cmocka_unit_test(a_key_must_be_forgotten_with_its_last_resource),
        cmocka_unit_test(closing_twice_must_destroy_each_once),
    };
    return cmocka_run_group_tests_name("effectful, continued", tests, NULL, NULL);
}
