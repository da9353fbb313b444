/* SPDX-License-Identifier: MIT
 *
 * Bugs of generic-pool (Node.js) and reactor-pool. The table of all peers is in README.md.
 */
#include "contract/house.h"

/* ---- generic-pool ---------------------------------------------------------------------------- */

/* GP-1: clear() destroyed what was idle and left it among what is idle. */
static void generic_pools_clear_that_lends_destroyed_ones(void **state)
{
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, NULL);
    (void)state;
    house_open(&h, &o);
    house_stock(&h, "a", 3);
    HOUSE_IS(&h, kp_invalidate_key(h.pool, KP_EVERY_KEY), 3);
    HOUSE_IS(&h, house_cast(&h).destroys, 3);
    house_stock(&h, "a", 3); /* each get looks whether it is alive */
    HOUSE_IS(&h, house_cast(&h).creates, 6);
    house_close(&h);
}

/* GP-2: a validate that failed late took its item and the room of it along. */
static void generic_pools_validate_that_fails_late_and_takes_the_room_along(void **state)
{
    static const kp_line bad[] = { { .takes_ms = 5, .status = -1, .times = 20 }, { 0 } };
    const kp_script script = { .validate = bad };
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, &script);
    (void)state;
    o.limits.max_live = 1;
    o.limits.validate_after_ms = KP_NONE;
    house_open(&h, &o);
    for (int i = 0; i < 21; i++) {
        kp_lease lease = house_get_within(&h, "a", 100);
        HOUSE_IS(&h, house_number(&lease), i + 1);
        house_release(&h, &lease);
    }
    HOUSE_IS(&h, house_stats(&h, "a").invalid, 20);
    house_close(&h);
}

/* GP-3: a create that failed was tried again at once, 3000 times in 49 ms. */
static void generic_pools_failing_create_that_is_tried_without_a_pause(void **state)
{
    static const kp_line bad[] = { { .status = -1, .times = KP_OFF }, { 0 } };
    const kp_script script = { .create = bad };
    struct visitor v[3] = { { 0 } };
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, &script);
    (void)state;
    o.limits.on_create_failure = KP_FAIL_RETRY;
    house_open(&h, &o);
    h.waits_by_choice = true; /* for the end of a pause */
    for (int i = 0; i < 3; i++) visitor_send(&h, &v[i], "a", KP_SECONDS(10));
    for (int i = 0; i < 3; i++) {
        visitor_end(&v[i]);
        HOUSE_IS(&h, v[i].rc, KP_ETIMEDOUT);
        HOUSE_IS(&h, v[i].answered_ms, 10000);
    }
    HOUSE_HAS(&h, house_cast(&h).create_failures > 3);
    HOUSE_HAS(&h, house_cast(&h).create_failures < 60); /* 0.1 s, doubling, jittered */
    house_close(&h);
}

/* GP-4: a create that threw at once left its request in the queue: what came back later went to
 * nobody. */
static void generic_pools_request_that_stays_queued_after_its_error(void **state)
{
    static const kp_line lines[] = { { .times = 1 }, { .status = -1, .times = 3 }, { 0 } };
    const kp_script script = { .create = lines };
    struct visitor v = { 0 };
    struct house h;
    kp_lease lease;
    kp_options o = house_plan(&h, 1, NULL, &script);
    (void)state;
    o.limits.max_live = 2;
    o.limits.retry_first_ms = KP_NONE;
    house_open(&h, &o);
    lease = house_get(&h, "a");
    for (int i = 0; i < 3; i++) HOUSE_IS(&h, house_fails(&h, "a", 100), KP_ECREATE);
    HOUSE_IS(&h, house_stats(&h, "a").waiting, 0);
    house_release(&h, &lease);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 1);
    visitor_send(&h, &v, "a", KP_NONE);
    HOUSE_IS(&h, v.rc, 0);
    house_release(&h, &v.lease);
    house_close(&h);
}

struct drain {
    struct house *h;
    int64_t out;
};

static void drains(void *arg)
{
    struct drain *d = arg;
    d->out = kp_pool_close(d->h->pool, KP_CLOSE_DRAIN, KP_SECONDS(10));
}

/* GP-5: drain waited for the tail of the queue, which need not be the last to be served. */
static void generic_pools_drain_that_waits_for_the_tail_only(void **state)
{
    struct visitor v[5] = { { 0 } };
    struct house h;
    struct drain d = { &h, -1 };
    kp_lease lease;
    int task;
    kp_options o = house_plan(&h, 1, NULL, NULL);
    (void)state;
    o.limits.max_live = 1;
    o.limits.wait_order = KP_LIFO;
    house_open(&h, &o);
    lease = house_get(&h, "a");
    for (int i = 0; i < 5; i++) {
        v[i].stay_ms = 10;
        visitor_send(&h, &v[i], "a", KP_OFF);
    }
    task = kp_sim_spawn(h.sim, drains, &d);
    (void)kp_sim_settle(h.sim);
    h.ended = true;
    house_release(&h, &lease);
    kp_sim_join(h.sim, task);
    HOUSE_IS(&h, d.out, 0);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 50);
    for (int i = 0; i < 5; i++) {
        HOUSE_IS(&h, v[i].rc, 0);
        HOUSE_IS(&h, v[i].turn, 5 - i); /* the tail is first */
    }
    house_close(&h);
}

/* GP-6: ready() looked every 100 ms whether the minimum was there, and never ended if it could not
 * be. */
static void generic_pools_ready_that_never_ends(void **state)
{
    static const kp_line lines[] = { { .times = 1 }, { .takes_ms = KP_HOURS(1) }, { 0 } };
    const kp_script script = { .create = lines };
    struct house h;
    kp_key keys[2] = { kp_str("a"), kp_str("b") };
    kp_options o = house_plan(&h, 1, NULL, &script);
    (void)state;
    house_open(&h, &o);
    HOUSE_IS(&h, kp_warm(h.pool, keys, 2, KP_IN_MS(250)), 1);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 250);
    HOUSE_IS(&h, kp_pool_close(h.pool, KP_CLOSE_NOW, 100), 1); /* that one is still being made */
    h.ended = true;
    house_pass(&h, KP_HOURS(2));
    house_close(&h);
}

/* ---- reactor-pool ---------------------------------------------------------------------------- */

/* RP-3: when too many waited, the oldest were sent away, though the newest were to be. */
static void reactor_pools_oldest_waiters_that_are_sent_away_for_the_newest(void **state)
{
    struct visitor v[4] = { { 0 } };
    struct house h;
    kp_lease lease;
    kp_options o = house_plan(&h, 1, NULL, NULL);
    (void)state;
    o.limits.max_live = 1;
    o.limits.max_waiting = 2;
    house_open(&h, &o);
    lease = house_get(&h, "a");
    for (int i = 0; i < 4; i++) visitor_send(&h, &v[i], "a", KP_OFF);
    HOUSE_IS(&h, v[2].rc, KP_EFULL);
    HOUSE_IS(&h, v[3].rc, KP_EFULL);
    HOUSE_HAS(&h, !strcmp(v[2].why.limit, "max_waiting"));
    house_release(&h, &lease);
    for (int i = 0; i < 2; i++) {
        visitor_end(&v[i]);
        HOUSE_IS(&h, v[i].rc, 0);
        house_release(&h, &v[i].lease);
    }
    house_close(&h);
}

/* RP-4, HIK-5: the permit was given back before the destroy had run: more were live than may be. */
static void reactor_pools_permit_that_comes_back_before_the_destroy(void **state)
{
    static const kp_line slow[] = { { .blocks_ms = 50, .times = KP_OFF }, { 0 } };
    const kp_script script = { .destroy = slow };
    struct visitor first = { .stay_ms = 10, .discards = true }, v[3] = { { 0 } };
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, &script);
    (void)state;
    o.limits.max_live = 1;
    house_open(&h, &o);
    visitor_send(&h, &first, "a", KP_OFF);
    for (int i = 0; i < 3; i++) {
        v[i].stay_ms = KP_NONE;
        v[i].discards = true;
        visitor_send(&h, &v[i], "a", KP_OFF);
    }
    for (int i = 0; i < 3; i++) {
        visitor_end(&v[i]);
        HOUSE_IS(&h, v[i].rc, 0);
        HOUSE_IS(&h, v[i].answered_ms, 60 + 50 * i);
    }
    HOUSE_IS(&h, house_cast(&h).most_live, 1);
    house_close(&h);
}

/* RP-5: who disposed of the pool second was told that it was done, before the first had done it. */
static void reactor_pools_second_disposer_that_does_not_wait(void **state)
{
    static const kp_line slow[] = { { .blocks_ms = 50, .times = KP_OFF }, { 0 } };
    const kp_script script = { .destroy = slow };
    struct house h;
    struct drain d = { &h, -1 };
    kp_options o = house_plan(&h, 1, NULL, &script);
    (void)state;
    house_open(&h, &o);
    house_stock(&h, "a", 4);
    (void)kp_sim_spawn(h.sim, drains, &d);
    (void)kp_sim_settle(h.sim);
    h.ended = true;
    HOUSE_IS(&h, kp_pool_close(h.pool, KP_CLOSE_WAIT, KP_SECONDS(10)), 0);
    HOUSE_IS(&h, house_cast(&h).destroys, 4);
    kp_sim_join(h.sim, 0);
    HOUSE_IS(&h, d.out, 0);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(generic_pools_clear_that_lends_destroyed_ones),
        cmocka_unit_test(generic_pools_validate_that_fails_late_and_takes_the_room_along),
        cmocka_unit_test(generic_pools_failing_create_that_is_tried_without_a_pause),
        cmocka_unit_test(generic_pools_request_that_stays_queued_after_its_error),
        cmocka_unit_test(generic_pools_drain_that_waits_for_the_tail_only),
        cmocka_unit_test(generic_pools_ready_that_never_ends),
        cmocka_unit_test(reactor_pools_oldest_waiters_that_are_sent_away_for_the_newest),
        cmocka_unit_test(reactor_pools_permit_that_comes_back_before_the_destroy),
        cmocka_unit_test(reactor_pools_second_disposer_that_does_not_wait),
    };
    return cmocka_run_group_tests_name("bugs of generic-pool and reactor-pool", tests, NULL, NULL);
}
