/* SPDX-License-Identifier: MIT
 *
 * Bugs of Effect's Pool and KeyedPool (3.22.4) and of ZIO's ZPool, each as its users meet it. The
 * table of all peers is in README.md.
 */
#include "contract/house.h"

/* ---- E3-9 ------------------------------------------------------------------------------------ */

/* The guide's health check: get one, find it bad, invalidate it, get another, all in one scope. At
 * size 1 Effect waits for itself: the invalidated one keeps its permit. */
static void effects_health_check_at_size_1(void **state)
{
    struct house h;
    kp_scope scope = { 0 };
    kp_lease lease;
    kp_options o = house_plan(&h, 1, "effect-fixed 1", NULL);
    (void)state;
    house_open(&h, &o);
    for (uint64_t number = 1; number <= 3; number++) {
        HOUSE_IS(&h, kp_scope_get(&scope, h.pool, kp_str("a"), KP_IN_MS(200), &lease), 0);
        HOUSE_IS(&h, house_number(&lease), number);
        if (number < 3) kp_discard(&lease); /* it was found bad */
        house_check(&h);
    }
    kp_scope_close(&scope);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 0);
    HOUSE_IS(&h, house_cast(&h).destroys, 2);
    HOUSE_IS(&h, house_stats(&h, "a").live, 1);
    house_close(&h);
}

/* The same check left to the pool: it looks before it lends. */
static void effects_health_check_at_size_1_done_by_the_pool(void **state)
{
    static const kp_line bad[] = { { .status = -1, .times = 2 }, { 0 } };
    const kp_script script = { .validate = bad };
    struct house h;
    kp_scope scope = { 0 };
    kp_lease lease;
    kp_options o = house_plan(&h, 1, "effect-fixed 1", &script);
    (void)state;
    o.limits.validate_after_ms = KP_NONE;
    house_open(&h, &o);
    for (uint64_t number = 1; number <= 4; number++) {
        HOUSE_IS(&h, kp_scope_get(&scope, h.pool, kp_str("a"), KP_IN_MS(200), &lease), 0);
        HOUSE_IS(&h, house_number(&lease), number < 3 ? number : 3); /* two were found bad */
        kp_release(&lease);
        house_check(&h);
    }
    kp_scope_close(&scope);
    HOUSE_IS(&h, house_stats(&h, "a").invalid, 2);
    house_close(&h);
}

/* ---- the others ------------------------------------------------------------------------------ */

/* E3-1: what was invalidated or too old was destroyed only when the pool's owner was. */
static void effects_destroys_that_wait_for_the_owner(void **state)
{
    struct house h;
    kp_lease lease;
    kp_options o = house_plan(&h, 1, "effect-range 0 6 1min", NULL);
    (void)state;
    house_open(&h, &o);
    for (int i = 0; i < 5; i++) {
        lease = house_get(&h, "a");
        HOUSE_IS(&h, kp_invalidate(h.pool, lease.resource), 1);
        house_release(&h, &lease);
        HOUSE_IS(&h, house_cast(&h).destroys, i + 1);
    }
    house_stock(&h, "a", 4);
    house_pass(&h, KP_MINUTES(10));
    HOUSE_IS(&h, house_cast(&h).destroys, 9);
    HOUSE_IS(&h, house_stats(&h, NULL).live, 0);
    house_close(&h);
}

/* E3-5: "no time to live" kept every item that ever was, for ever. */
static void effects_items_that_are_never_forgotten(void **state)
{
    struct house h;
    uint64_t bytes = 0;
    kp_lease lease;
    kp_options o = house_plan(&h, 1, "effect-fixed 3", NULL);
    (void)state;
    house_open(&h, &o);
    for (int i = 0; i < 2000; i++) {
        lease = house_get(&h, "a");
        house_discard(&h, &lease);
        if (i == 10) bytes = kp_sim_memory_read(h.sim).bytes;
    }
    HOUSE_IS(&h, kp_sim_memory_read(h.sim).bytes, bytes);
    house_close(&h);
}

/* E3-8: a failed create was kept as an item, so that a later get was told of an old error though
 * the source had recovered. By Effect's preset they still are (cache_failure_ms = ONCE); without,
 * each is told to whom it concerns. */
static void effects_error_that_is_told_after_the_source_has_recovered(void **state)
{
    static const kp_line lines[] = { { .status = -3, .times = 3 }, { 0 } };
    const kp_script script = { .create = lines };
    struct visitor v[3] = { { 0 } };
    struct house h;
    kp_lease lease;
    kp_options o = house_plan(&h, 1, "effect-fixed 3", &script);
    (void)state;
    o.limits.cache_failure_ms = KP_NONE;
    o.limits.prefill = KP_PREFILL_NONE;
    o.limits.min_live = KP_NONE;
    house_open(&h, &o);
    for (int i = 0; i < 3; i++) visitor_send(&h, &v[i], "a", KP_OFF);
    for (int i = 0; i < 3; i++) HOUSE_IS(&h, v[i].rc, KP_ECREATE);
    lease = house_get(&h, "a");
    house_release(&h, &lease);
    HOUSE_IS(&h, house_cast(&h).creates, 1);
    house_close(&h);
}

/* ZIO-3: one time stamp for the whole pool: a single one in use kept all the excess alive. */
static void zios_excess_that_any_use_keeps_alive(void **state)
{
    struct house h;
    kp_options o = house_plan(&h, 1, "zio-range 1 5 30s", NULL);
    (void)state;
    o.limits.idle_order = KP_LIFO;
    house_open(&h, &o);
    house_stock(&h, "a", 5);
    for (int i = 0; i < 20; i++) { /* it is always the same one that is used */
        kp_lease lease = house_get(&h, "a");
        house_pass(&h, KP_SECONDS(10));
        house_release(&h, &lease);
    }
    HOUSE_IS(&h, house_stats(&h, "a").live, 1);
    HOUSE_IS(&h, house_cast(&h).destroys, 4);
    house_close(&h);
}

/* ZIO-5: a get from a pool of given items, of which there are none, never ended. */
static void zios_pool_of_no_items_whose_get_never_ends(void **state)
{
    struct house h;
    kp_options o = house_plan(&h, 1, "zio-fixed 1", NULL);
    kp_lease lease;
    int thing = 0;
    (void)state;
    o.driver = (kp_driver){ 0 };
    o.limits.min_live = KP_NONE;
    house_open(&h, &o);
    h.waits_by_choice = true;
    HOUSE_IS(&h, house_fails(&h, "a", 500), KP_ETIMEDOUT);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 500);
    h.foreign = 1;
    HOUSE_IS(&h, kp_add(h.pool, kp_str("a"), &thing), 0);
    HOUSE_IS(&h, kp_get(h.pool, kp_str("a"), KP_IN_MS(500), &lease), 0);
    HOUSE_HAS(&h, lease.resource == &thing);
    kp_release(&lease);
    HOUSE_IS(&h, kp_pool_close(h.pool, KP_CLOSE_NOW, 100), 0);
    h.ended = true;
    kp_cast_close(h.cast);
    HOUSE_IS(&h, kp_sim_close(h.sim), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(effects_health_check_at_size_1),
        cmocka_unit_test(effects_health_check_at_size_1_done_by_the_pool),
        cmocka_unit_test(effects_destroys_that_wait_for_the_owner),
        cmocka_unit_test(effects_items_that_are_never_forgotten),
        cmocka_unit_test(effects_error_that_is_told_after_the_source_has_recovered),
        cmocka_unit_test(zios_excess_that_any_use_keeps_alive),
        cmocka_unit_test(zios_pool_of_no_items_whose_get_never_ends),
    };
    return cmocka_run_group_tests_name("bugs of Effect and ZIO", tests, NULL, NULL);
}
