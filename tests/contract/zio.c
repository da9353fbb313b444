/* SPDX-License-Identifier: MIT
 *
 * ZIO's ZPool and ZKeyedPool (presets zio-fixed, zio-range): the suite that it shares with Effect,
 * and what only ZIO has: a pool of given items, sizes and times to live by key.
 */
#include "effect_zio_life.h"
#include "effect_zio_wait.h"

static peer zio = { "zio-fixed %d", "zio-range %d %d %s", 400 };

/* ---- ZPool.fromIterable ---------------------------------------------------------------------- */

/* B-CFG-13: no create, no destroy: kp_add */
static void given_items_must_be_lent_as_usual_and_nobody_cleans_them_up(void **state)
{
    contract c;
    int items[3] = { 1, 2, 3 };
    kp_lease leases[3];
    kp_driver driver = { 0 };
    (void)state;
    contract_begin(&c, "zio-fixed %d", 3);
    contract_open_driver(&c, &driver);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(kp_add(c.pool, EU, &items[i]), 0);
        contract_check(&c);
    }
    assert_int_equal(kp_add(c.pool, EU, &items[0]), KP_EMISUSE);
    c.misuses = c.events[KP_EVENT_MISUSE];
    for (int i = 0; i < 3; i++) {
        assert_int_equal(kp_get(c.pool, EU, KP_IN_S(1), &leases[i]), 0);
        assert_ptr_equal(leases[i].resource, &items[i]);
        contract_check(&c);
    }
    assert_string_equal(contract_refused(&c, EU, 10, KP_ETIMEDOUT).limit, "driver.create");
    for (int i = 0; i < 3; i++) {
        contract_give(&c, &leases[i]);
    }
    assert_int_equal(kp_get(c.pool, EU, KP_IN_S(1), &leases[0]), 0);
    assert_ptr_equal(leases[0].resource, &items[0]);
    contract_give(&c, &leases[0]);
    contract_end(&c);
}

/* B-CFG-13 */
static void a_given_item_must_serve_the_first_get_that_waits_for_one(void **state)
{
    contract c;
    int item = 1;
    kp_lease lease;
    kp_driver driver = { 0 };
    (void)state;
    contract_begin(&c, "zio-fixed %d", 2);
    contract_open_driver(&c, &driver);
    (void)contract_refused(&c, EU, 10, KP_ETIMEDOUT);
    assert_int_equal(kp_add(c.pool, EU, &item), 0);
    assert_int_equal(kp_get(c.pool, EU, KP_IN_MS(10), &lease), 0);
    assert_ptr_equal(lease.resource, &item);
    kp_discard(&lease);
    contract_check(&c);
    assert_int_equal(contract_stats(&c, EU).live, 0);
    contract_end(&c);
}

/* ---- ZPool: invalidate ----------------------------------------------------------------------- */

/* B-INV-01: a faulty remote resource never reaches the next client */
static void the_get_after_an_invalidated_use_must_give_another_item(void **state)
{
    contract c;
    kp_lease lease;
    kp_prop *faulty;
    (void)state;
    contract_begin(&c, "zio-fixed %d", 1);
    contract_open(&c);
    assert_int_equal(contract_take(&c, EU, &lease), 1);
    faulty = contract_prop(&lease);
    assert_int_equal(kp_invalidate(c.pool, faulty), 1);
    contract_give(&c, &lease);
    assert_int_equal(contract_take(&c, EU, &lease), 2);
    assert_ptr_not_equal(lease.resource, faulty);
    contract_rest(&c);
    assert_int_equal(kp_cast_read(c.cast).creates, 2);
    contract_give(&c, &lease);
    contract_end(&c);
}

/* B-CB-05: invalidated, marked while lent, discarded, expired, closed: five ways out */
static void an_item_must_be_finalized_exactly_once_whichever_way_it_leaves(void **state)
{
    contract c;
    kp_lease leases[6];
    void *idle;
    (void)state;
    contract_begin(&c, "zio-range %d %d %s", 1, 6, "60s");
    contract_open(&c);
    contract_take_all(&c, EU, leases, 6);
    idle = leases[0].resource;
    contract_give(&c, &leases[0]);
    assert_int_equal(kp_invalidate(c.pool, idle), 1);
    assert_int_equal(kp_cast_read(c.cast).destroys, 1);
    assert_int_equal(kp_invalidate(c.pool, leases[1].resource), 1);
    contract_give(&c, &leases[1]);
    assert_int_equal(kp_cast_read(c.cast).destroys, 2);
    kp_discard(&leases[2]);
    assert_int_equal(kp_cast_read(c.cast).destroys, 3);
    contract_give_all(&c, leases + 3, 3);
    kp_sim_pass_ms(c.sim, KP_SECONDS(60));
    contract_rest(&c);
    assert_int_equal(kp_cast_read(c.cast).destroys, 5);
    assert_int_equal(kp_cast_read(c.cast).live, 1);
    assert_int_equal(contract_close(&c, KP_CLOSE_WAIT, KP_SECONDS(1)), 0);
    assert_int_equal(kp_cast_read(c.cast).destroys, 6);
    contract_end(&c);
}

/* ---- failures -------------------------------------------------------------------------------- */

static const kp_line every_other_fails[] = { { .status = -1 }, { .times = 1 },  { .status = -1 },
                                             { .status = -1 }, { .status = -1 }, { 0 } };

static int nothing_to_do(kp_lease *lease, void *arg)
{
    (void)lease;
    ++*(int *)arg;
    return 0;
}

/* B-FAIL-06: .eventually */
static void eventually_must_end_with_an_item_as_soon_as_a_create_succeeds(void **state)
{
    contract c;
    int runs = 0;
    kp_lease held;
    kp_plan eventually = { .schedule = { .times = KP_UNLIMITED, .first_ms = 10, .max_ms = 10 } };
    (void)state;
    contract_begin(&c, "zio-range %d %d %s", 0, 2, "60s");
    c.script.create = every_other_fails;
    contract_open(&c);
    assert_int_equal(kp_use(c.pool, EU, &eventually, nothing_to_do, &runs), 0);
    assert_int_equal(kp_sim_now_ms(c.sim), 10);
    (void)contract_take(&c, EU, &held);
    assert_int_equal(kp_use(c.pool, EU, &eventually, nothing_to_do, &runs), 0);
    contract_check(&c);
    assert_int_equal(kp_sim_now_ms(c.sim), 40);
    assert_int_equal(runs, 2);
    assert_int_equal(kp_cast_read(c.cast).create_failures, 4);
    contract_give(&c, &held);
    contract_end(&c);
}

/* ---- ZKeyedPool ------------------------------------------------------------------------------ */

static void range_by_key(kp_key key, kp_limits *limits, void *ctx)
{
    bool big = key.size == 3 && memcmp(key.data, "big", 3) == 0;
    (void)ctx;
    limits->min_live = big ? 4 : 1;
    limits->max_live = big ? 8 : 2;
    limits->excess_ttl_ms = big ? KP_SECONDS(60) : KP_SECONDS(10);
}

/* B-CFG-04, B-CFG-08, B-TTL-17: ZKeyedPool.make(get, range by key, ttl by key) */
static void a_keyed_pool_must_follow_the_range_and_the_ttl_of_each_key(void **state)
{
    contract c;
    kp_lease big[8];
    kp_lease small[2];
    kp_key b = kp_str("big");
    kp_key s = kp_str("small");
    (void)state;
    contract_begin(&c, "zio-range %d %d %s", 1, 2, "10s");
    c.options.limits_for = range_by_key;
    contract_open(&c);
    contract_warm(&c, b);
    contract_warm(&c, s);
    assert_int_equal(contract_stats(&c, b).live, 4);
    assert_int_equal(contract_stats(&c, s).live, 1);
    contract_take_all(&c, b, big, 8);
    contract_take_all(&c, s, small, 2);
    (void)contract_refused(&c, b, 1, KP_ETIMEDOUT);
    (void)contract_refused(&c, s, 1, KP_ETIMEDOUT);
    contract_give_all(&c, big, 8);
    contract_give_all(&c, small, 2);
    kp_sim_pass_ms(c.sim, KP_SECONDS(10));
    contract_rest(&c);
    assert_int_equal(contract_stats(&c, s).live, 1);
    assert_int_equal(contract_stats(&c, b).live, 8);
    kp_sim_pass_ms(c.sim, KP_SECONDS(50));
    contract_rest(&c);
    assert_int_equal(contract_stats(&c, b).live, 4);
    contract_end(&c);
}

/* DESIGN 3, ZPool.make(get, size): after an invalidation the item may be made again at the next
 * get only */
static void with_lazy_refill_nothing_must_be_made_again_before_somebody_asks(void **state)
{
    contract c;
    kp_lease leases[2];
    void *both[2];
    (void)state;
    contract_begin(&c, "zio-fixed %d", 2);
    c.options.limits.refill = KP_REFILL_LAZY;
    contract_open(&c);
    two_idle(&c, both);
    assert_int_equal(kp_invalidate(c.pool, both[0]), 1);
    assert_int_equal(kp_invalidate(c.pool, both[1]), 1);
    kp_sim_pass_ms(c.sim, KP_SECONDS(10));
    contract_rest(&c);
    assert_int_equal(kp_cast_read(c.cast).creates, 2);
    contract_take_all(&c, EU, leases, 2);
    contract_rest(&c);
    assert_int_equal(kp_cast_read(c.cast).creates, 4);
    contract_give_all(&c, leases, 2);
    contract_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EFFECT_ZIO_GET_TESTS(&zio),
        EFFECT_ZIO_WAIT_TESTS(&zio),
        EFFECT_ZIO_LIFE_TESTS(&zio),
        cmocka_unit_test(given_items_must_be_lent_as_usual_and_nobody_cleans_them_up),
        cmocka_unit_test(a_given_item_must_serve_the_first_get_that_waits_for_one),
        cmocka_unit_test(the_get_after_an_invalidated_use_must_give_another_item),
        cmocka_unit_test(an_item_must_be_finalized_exactly_once_whichever_way_it_leaves),
        cmocka_unit_test(eventually_must_end_with_an_item_as_soon_as_a_create_succeeds),
        cmocka_unit_test(a_keyed_pool_must_follow_the_range_and_the_ttl_of_each_key),
        cmocka_unit_test(with_lazy_refill_nothing_must_be_made_again_before_somebody_asks),
    };
    return cmocka_run_group_tests_name("zio", tests, NULL, NULL);
}
