/* SPDX-License-Identifier: MIT
 *
 * Bugs of the pools of database connections: HikariCP, r2d2, bb8, deadpool, mongo-c-driver,
 * PgBouncer, commons-pool. Those of their bugs that have a test elsewhere are in the table in
 * README.md.
 */
#include "contract/house.h"

/* ---- r2d2, bb8 ------------------------------------------------------------------------------- */

/* R2D2-2: a maximum lifetime was looked at by the reaper only, not when a connection came back. */
static void r2d2s_connection_that_comes_back_past_its_lifetime(void **state)
{
    struct house h;
    kp_lease lease;
    kp_options o = house_plan(&h, 1, "commons", NULL);
    (void)state;
    o.limits.max_age_ms = KP_SECONDS(10);
    o.limits.age_spread_pct = KP_NONE;
    o.keep_every_ms = KP_HOURS(1);
    house_open(&h, &o);
    lease = house_get(&h, "a");
    house_pass(&h, KP_SECONDS(11));
    house_release(&h, &lease);
    HOUSE_IS(&h, house_cast(&h).destroys, 1);
    HOUSE_IS(&h, house_stats(&h, "a").expired, 1);
    house_close(&h);
}

/* BB8-3: why a create had failed went to an error sink; who had asked just timed out. */
static void bb8s_getters_that_time_out_on_an_error_nobody_tells_them(void **state)
{
    static const kp_line lines[] = { { .takes_ms = 20, .status = -1, .vendor_code = 28000,
                                       .text = "no such role" }, { 0 } };
    const kp_script script = { .create = lines };
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, &script);
    (void)state;
    house_open(&h, &o);
    HOUSE_IS(&h, house_fails(&h, "a", KP_SECONDS(30)), KP_ECREATE);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 20);
    HOUSE_IS(&h, h.why.vendor_code, 28000);
    HOUSE_HAS(&h, strstr(h.why.text, "no such role") != NULL);
    house_close(&h);
}

static void gives_back_at_20_40_60(void *arg)
{
    struct house *h = arg;
    kp_lease lease[3];
    for (int i = 0; i < 3; i++) lease[i] = house_get(h, "a");
    for (int i = 0; i < 3; i++) {
        kp_sim_pass_ms(h->sim, 20);
        house_exit(&lease[i]);
        kp_release(&lease[i]);
    }
}

/* BB8-4: the start of the wait was written anew with each wake-up, and the statistics told of the
 * last part of it only. */
static void bb8s_waits_that_are_counted_from_the_last_wake_up(void **state)
{
    static const kp_line bad[] = { { .status = -1, .times = 2 }, { 0 } };
    const kp_script script = { .validate = bad };
    struct visitor v = { .flags = KP_DONT_CREATE };
    struct house h;
    kp_stats s;
    kp_options o = house_plan(&h, 1, "commons", &script);
    (void)state;
    o.limits.max_live = 3;
    o.limits.validate_after_ms = KP_NONE;
    house_open(&h, &o);
    h.waits_by_choice = true;
    (void)kp_sim_spawn(h.sim, gives_back_at_20_40_60, &h);
    house_settle(&h);
    visitor_send(&h, &v, "a", KP_OFF);
    visitor_end(&v);
    HOUSE_IS(&h, v.rc, 0);
    HOUSE_IS(&h, v.answered_ms, 60);
    s = house_stats(&h, "a");
    HOUSE_IS(&h, s.waits, 1);
    HOUSE_IS(&h, s.wait_ns, 60000000);
    house_release(&h, &v.lease);
    house_close(&h);
}

/* BB8-5, RP-6: the reaper took what was idle below the minimum, and made it again, for ever. */
static void bb8s_minimum_that_is_reaped_and_made_again(void **state)
{
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, NULL);
    (void)state;
    o.limits.min_live = 2;
    o.limits.refill = KP_REFILL_EAGER;
    o.limits.idle_ttl_ms = KP_SECONDS(1);
    o.limits.max_age_ms = KP_OFF;
    o.forget_key_after_ms = KP_OFF;
    house_open(&h, &o);
    house_stock(&h, "a", 5);
    house_pass(&h, KP_HOURS(1));
    HOUSE_IS(&h, house_stats(&h, "a").idle, 2);
    HOUSE_IS(&h, house_cast(&h).creates, 5);
    HOUSE_IS(&h, house_cast(&h).destroys, 3);
    house_close(&h);
}

/* ---- deadpool -------------------------------------------------------------------------------- */

static int borrows_meanwhile(kp_key key, const kp_stats *stats, void *arg)
{
    struct house *h = arg;
    kp_lease lease;
    (void)stats;
    HOUSE_IS(h, kp_get(h->pool, key, KP_IN_MS(10), &lease), 0);
    kp_release(&lease);
    return 0;
}

/* DP-2: what the user's function did while it was shown all objects, it did under the lock. */
static void deadpools_retain_that_calls_under_the_lock(void **state)
{
    static const char *const keys[] = { "a", "b", "c" };
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, NULL);
    (void)state;
    house_open(&h, &o);
    for (int i = 0; i < 3; i++) house_stock(&h, keys[i], 2);
    HOUSE_IS(&h, kp_each_key(h.pool, borrows_meanwhile, &h), 0);
    HOUSE_IS(&h, house_stats(&h, NULL).gets, 9);
    house_close(&h);
}

/* ---- mongo-c-driver -------------------------------------------------------------------------- */

/* MON-4: a client that its borrower destroyed went on counting. */
static void mongos_capacity_that_goes_with_each_client_destroyed(void **state)
{
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, NULL);
    (void)state;
    o.limits.max_live = 2;
    house_open(&h, &o);
    for (int i = 0; i < 100; i++) {
        kp_lease lease = house_get_within(&h, "a", KP_NONE);
        house_discard(&h, &lease);
    }
    house_stock(&h, "a", 2);
    house_close(&h);
}

/* ---- PgBouncer ------------------------------------------------------------------------------- */

/* PGB-2: one login at a time per pool, so that a slow one delays all. (Its preset still does.) */
static void pgbouncers_slow_login_that_all_wait_behind(void **state)
{
    static const kp_line lines[] = { { .takes_ms = 1000 }, { .takes_ms = 10 }, { 0 } };
    const kp_script script = { .create = lines };
    struct visitor v[2] = { { 0 } };
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, &script);
    (void)state;
    o.limits.max_live = 2;
    house_open(&h, &o);
    for (int i = 0; i < 2; i++) visitor_send(&h, &v[i], "a", KP_OFF);
    house_pass(&h, 10);
    HOUSE_HAS(&h, v[0].answered && !v[1].answered); /* what is ready first serves the first */
    house_release(&h, &v[0].lease);
    visitor_end(&v[1]);
    HOUSE_IS(&h, v[1].answered_ms, 10);
    house_release(&h, &v[1].lease);
    house_pass(&h, 1000);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 2);
    house_close(&h);
}

/* ---- HikariCP -------------------------------------------------------------------------------- */

static void closes_it(void *arg)
{
    struct house *h = arg;
    HOUSE_IS(h, kp_pool_close(h->pool, KP_CLOSE_WAIT, KP_SECONDS(10)), 0);
}

/* HIK-4: who waited while the pool was shut down was not told, and ran into its time-out. */
static void hikaris_waiters_that_nobody_tells_of_the_shutdown(void **state)
{
    struct visitor v[3] = { { 0 } };
    struct house h;
    kp_lease lease;
    kp_options o = house_plan(&h, 1, "hikari 1", NULL);
    (void)state;
    house_open(&h, &o);
    lease = house_get(&h, "a");
    for (int i = 0; i < 3; i++) visitor_send(&h, &v[i], "a", KP_SECONDS(30));
    house_pass(&h, 5);
    (void)kp_sim_spawn(h.sim, closes_it, &h);
    (void)kp_sim_settle(h.sim);
    h.ended = true;
    for (int i = 0; i < 3; i++) {
        HOUSE_IS(&h, v[i].rc, KP_ECLOSED);
        HOUSE_IS(&h, v[i].answered_ms, 5);
    }
    house_release(&h, &lease);
    house_close(&h);
}

/* ---- commons-pool ---------------------------------------------------------------------------- */

/* ACP-4: an error of the factory that was no Exception kept the room it had been counted for. */
static void commons_pools_room_that_goes_with_an_error(void **state)
{
    static const kp_line lines[] = { { .status = -1, .times = 50 }, { .status = INT32_MIN + 1 },
                                     { .status = KP_EAGAIN }, { .status = KP_EREFUSED }, { 0 } };
    const kp_script script = { .create = lines };
    struct house h;
    kp_lease lease;
    kp_options o = house_plan(&h, 1, "commons", &script);
    (void)state;
    o.limits.max_live = 1;
    o.budget.max_live = 1;
    house_open(&h, &o);
    for (int i = 0; i < 53; i++)
        HOUSE_IS(&h, house_fails(&h, "a", 10), i == 52 ? KP_EREFUSED : KP_ECREATE);
    lease = house_get(&h, "b");
    house_release(&h, &lease);
    house_close(&h);
}

/* ACP-13: room for another key was looked for again and again while the idle one that was to make
 * it could not be destroyed. */
static void commons_pools_search_for_room_that_never_ends(void **state)
{
    static const kp_line bad[] = { { .status = -1, .times = KP_OFF }, { 0 } };
    const kp_script script = { .destroy = bad };
    struct house h;
    kp_lease lease;
    kp_options o = house_plan(&h, 1, "commons", &script);
    (void)state;
    o.budget.max_live = 1;
    house_open(&h, &o);
    house_stock(&h, "a", 1);
    lease = house_get(&h, "b");
    HOUSE_IS(&h, house_stats(&h, NULL).destroy_failures, 1);
    HOUSE_IS(&h, house_stats(&h, NULL).evicted, 1);
    HOUSE_IS(&h, house_fails(&h, "c", 100), KP_ETIMEDOUT); /* that one is lent */
    house_release(&h, &lease);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(r2d2s_connection_that_comes_back_past_its_lifetime),
        cmocka_unit_test(bb8s_getters_that_time_out_on_an_error_nobody_tells_them),
        cmocka_unit_test(bb8s_waits_that_are_counted_from_the_last_wake_up),
        cmocka_unit_test(bb8s_minimum_that_is_reaped_and_made_again),
        cmocka_unit_test(deadpools_retain_that_calls_under_the_lock),
        cmocka_unit_test(mongos_capacity_that_goes_with_each_client_destroyed),
        cmocka_unit_test(pgbouncers_slow_login_that_all_wait_behind),
        cmocka_unit_test(hikaris_waiters_that_nobody_tells_of_the_shutdown),
        cmocka_unit_test(commons_pools_room_that_goes_with_an_error),
        cmocka_unit_test(commons_pools_search_for_room_that_never_ends),
    };
    return cmocka_run_group_tests_name("bugs of pools of database connections", tests, NULL, NULL);
}
