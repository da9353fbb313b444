/* SPDX-License-Identifier: MIT
 *
 * typelevel keypool, continued: the reaper, the hooks, state, the life of keys, close.
 */
#include "house.h"

static kp_options keypool(struct house *h, const kp_script *script)
{
    return house_plan(h, 1, "keypool", script);
}

/* ---- the reaper ---- */

/* One idle resource, then so long: is it still there? The reaper looks every keep_ms, and nobody
 * else does. */
static void idle_after(int64_t idle_ttl_ms, int64_t keep_ms, int64_t ms, unsigned idle)
{
    struct house h;
    kp_options o = keypool(&h, NULL);
    o.limits.idle_ttl_ms = idle_ttl_ms;
    o.keep_every_ms = keep_ms;
    house_open(&h, &o);
    house_stock(&h, "a", 1);
    HOUSE_IS(&h, house_stats(&h, NULL).idle, 1);
    house_pass(&h, ms);
    HOUSE_IS(&h, house_stats(&h, NULL).idle, idle);
    HOUSE_IS(&h, house_cast(&h).destroys, 1 - idle);
    HOUSE_IS(&h, house_stats(&h, NULL).expired, 1 - idle);
    house_close(&h);
}

/* B-TTL-04 */
static void a_used_resource_must_be_cleaned_up_by_the_reaper(void **state)
{
    (void)state;
    idle_after(KP_NONE, 5000, 6000, 0);
}

/* B-TTL-05 */
static void a_used_resource_must_stay_while_its_idle_time_has_not_expired(void **state)
{
    (void)state;
    idle_after(30000, 5000, 6000, 1);
}

/* B-TTL-06 */
static void an_expired_one_must_stay_until_the_reaper_runs(void **state)
{
    (void)state;
    idle_after(5000, 7000, 6000, 1);
    idle_after(5000, 7000, 7001, 0);
}

/* B-TTL-08 */
static void an_idle_time_that_never_comes_must_evict_nothing(void **state)
{
    (void)state;
    idle_after(KP_OFF, 5000, KP_HOURS(100), 1);
}

/* B-TTL-07: interval -1 s, eviction is disabled. Here: the keeper is not among those who check. */
static void without_a_reaper_an_expired_one_must_stay_until_it_is_asked_for(void **state)
{
    struct house h;
    kp_lease lease;
    kp_options o = keypool(&h, NULL);
    (void)state;
    o.limits.idle_ttl_ms = 5000;
    o.limits.idle_check = KP_CHECK_GET;
    house_open(&h, &o);
    house_stock(&h, "a", 1);
    house_pass(&h, 6000);
    HOUSE_IS(&h, house_stats(&h, NULL).idle, 1);
    lease = house_get(&h, "a");
    HOUSE_IS(&h, house_number(&lease), 2);
    house_release(&h, &lease);
    house_close(&h);
}

/* TK-7. The peer lends what is stale until the reaper comes by; by default ours looks at check-out,
 * too (D3, L5). */
static void with_check_at_get_a_stale_one_must_not_be_lent_before_the_reaper_comes(void **state)
{
    struct house h;
    kp_lease lease;
    kp_options o = keypool(&h, NULL);
    (void)state;
    o.limits.idle_ttl_ms = 1000;
    o.limits.idle_check = KP_CHECK_GET | KP_CHECK_KEEPER;
    house_open(&h, &o);
    house_stock(&h, "a", 1);
    house_pass(&h, 1500);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 1);
    lease = house_get(&h, "a");
    HOUSE_IS(&h, house_number(&lease), 2);
    house_release(&h, &lease);
    house_close(&h);
}

/* B-TTL-09, TK-15: the peer's reaper runs non-stop; here it is refused (D17) */
static void a_reaper_that_never_rests_must_be_refused_by_name(void **state)
{
    struct house h;
    const kp_options good = keypool(&h, NULL);
    kp_options o = good;
    (void)state;
    o.keep_every_ms = KP_NONE;
    house_refuses(&h, &o, "keep_every_ms");
    o.keep_every_ms = -5;
    house_refuses(&h, &o, "keep_every_ms");
    house_leave(&h);
}

/* DESIGN section 3, durationBetweenEvictionRuns: a bound on lateness, not a heartbeat */
static void the_reaper_must_sleep_until_something_is_due(void **state)
{
    struct house h;
    int64_t due_ms;
    kp_options o = keypool(&h, NULL);
    (void)state;
    house_open(&h, &o);
    HOUSE_IS(&h, kp_keep(h.pool), -1);
    house_stock(&h, "a", 1);
    due_ms = kp_keep(h.pool);
    HOUSE_HAS(&h, due_ms >= 30000 && due_ms <= 35000);
    house_pass(&h, 10000);
    due_ms = kp_keep(h.pool);
    HOUSE_HAS(&h, due_ms >= 20000 && due_ms <= 25000);
    house_close(&h);
}

/* B-TTL-02 */
static void the_idle_time_must_start_when_it_comes_back(void **state)
{
    struct house h;
    kp_lease lease;
    kp_options o = keypool(&h, NULL);
    (void)state;
    house_open(&h, &o);
    lease = house_get(&h, "a");
    house_pass(&h, 60000);
    house_release(&h, &lease);
    house_pass(&h, 29000);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 1);
    house_pass(&h, 6001);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 0);
    house_close(&h);
}

/* TK-6: what is young must stay, whatever is behind or before it in the list */
static void the_reaper_must_take_the_stale_ones_only(void **state)
{
    struct house h;
    kp_lease lease[4];
    kp_options o = keypool(&h, NULL);
    int i;
    (void)state;
    house_open(&h, &o);
    for (i = 0; i < 4; i++) lease[i] = house_get(&h, i < 2 ? "a" : "b");
    house_release(&h, &lease[0]);
    house_release(&h, &lease[2]);
    house_pass(&h, 20000);
    house_release(&h, &lease[1]);
    house_release(&h, &lease[3]);
    house_pass(&h, 15001);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 1);
    HOUSE_IS(&h, house_stats(&h, "b").idle, 1);
    HOUSE_IS(&h, h.destroyed, 2);
    HOUSE_IS(&h, h.destroyed_number[0] + h.destroyed_number[1], 1 + 3);
    house_close(&h);
}

/* B-TTL-10: withOnReaperException; TK-3: the peer loses the rest after the first failure */
static void a_failure_in_the_reaper_must_be_told_and_must_not_stop_it(void **state)
{
    static const kp_line one_fails[] = { { .times = 1 }, { .status = -7, .text = "stuck" }, { 0 } };
    const kp_script script = { .destroy = one_fails };
    struct house h;
    kp_options o = keypool(&h, &script);
    (void)state;
    house_open(&h, &o);
    house_stock(&h, "a", 5);
    house_pass(&h, 36000);
    HOUSE_IS(&h, house_stats(&h, NULL).live, 0);
    HOUSE_IS(&h, house_stats(&h, NULL).destroys, 5);
    HOUSE_IS(&h, house_stats(&h, NULL).destroy_failures, 1);
    HOUSE_IS(&h, h.seen[KP_EVENT_DESTROY_FAILED], 1);
    HOUSE_IS(&h, h.last_code[KP_EVENT_DESTROY_FAILED], -7);
    house_stock(&h, "b", 2); /* and it goes on */
    house_pass(&h, 36000);
    HOUSE_IS(&h, house_stats(&h, NULL).live, 0);
    house_close(&h);
}

/* ---- hooks ---- */

static void looks_in(struct house *h, const kp_event *event)
{
    kp_stats s;
    char text[64];
    if (event->kind != KP_EVENT_CREATED && event->kind != KP_EVENT_DESTROYED) return;
    (void)kp_stats_read(h->pool, KP_EVERY_KEY, &s);
    (void)kp_explain(h->pool, event->key, text, sizeof text);
}

/* B-CB-01: doOnCreate. A hook has no result, so it can't fail; it may call the pool (R3). */
static void the_hook_must_hear_of_each_creation_before_its_taker_has_it(void **state)
{
    struct house h;
    kp_lease lease;
    kp_options o = keypool(&h, NULL);
    (void)state;
    house_open(&h, &o);
    h.also = looks_in;
    lease = house_get(&h, "a");
    HOUSE_IS(&h, h.seen[KP_EVENT_CREATED], 1);
    house_release(&h, &lease);
    lease = house_get(&h, "a");
    HOUSE_IS(&h, h.seen[KP_EVENT_CREATED], 1);
    house_release(&h, &lease);
    house_close(&h);
}

/* B-CB-02, B-CB-05: doOnDestroy. The hook comes after the driver's destroy here: that is where
 * before is. */
static void the_hook_must_hear_of_each_destruction_whatever_its_reason(void **state)
{
    struct house h;
    kp_lease lease[2];
    kp_options o = keypool(&h, NULL);
    (void)state;
    o.limits.max_idle = 1;
    house_open(&h, &o);
    h.also = looks_in;
    lease[0] = house_get(&h, "a");
    house_discard(&h, &lease[0]);
    HOUSE_IS(&h, h.seen[KP_EVENT_DESTROYED], 1); /* not to be reused */
    house_stock(&h, "a", 2);
    HOUSE_IS(&h, h.seen[KP_EVENT_DESTROYED], 2); /* over the cap */
    house_pass(&h, 36000);
    HOUSE_IS(&h, h.seen[KP_EVENT_DESTROYED], 3); /* reaped */
    lease[0] = house_get(&h, "a");
    lease[1] = lease[0];
    house_release(&h, &lease[0]);
    HOUSE_IS(&h, kp_invalidate(h.pool, lease[1].resource), 1);
    HOUSE_IS(&h, h.seen[KP_EVENT_DESTROYED], 4); /* invalidated */
    house_stock(&h, "a", 1);
    house_close(&h);
    assert_int_equal(h.seen[KP_EVENT_DESTROYED], 5); /* closed */
    assert_int_equal(h.destroyed, 5);
}

/* B-CB-04 */
static void a_destroy_that_fails_must_not_be_the_invalidators_failure(void **state)
{
    static const kp_line fails[] = { { .status = -7 }, { 0 } };
    const kp_script script = { .destroy = fails };
    struct house h;
    kp_lease lease, copy;
    kp_options o = keypool(&h, &script);
    (void)state;
    house_open(&h, &o);
    lease = house_get(&h, "a");
    copy = lease;
    house_release(&h, &lease);
    HOUSE_IS(&h, kp_invalidate(h.pool, copy.resource), 1);
    HOUSE_IS(&h, h.seen[KP_EVENT_DESTROY_FAILED], 1);
    HOUSE_IS(&h, h.last_code[KP_EVENT_DESTROY_FAILED], -7);
    HOUSE_IS(&h, house_stats(&h, NULL).live, 0);
    house_close(&h);
}

/* B-CB-06 */
static void a_destroy_that_blocks_must_not_hold_up_other_takers(void **state)
{
    static kp_gate gate;
    static const kp_line slow[] = { { .gate = &gate }, { 0 } };
    const kp_script script = { .destroy = slow };
    struct visitor ends = { .stay_ms = 10, .discards = true };
    struct house h;
    kp_lease lease;
    kp_options o = keypool(&h, &script);
    (void)state;
    gate = (kp_gate){ 0 };
    house_open(&h, &o);
    visitor_send(&h, &ends, "a", 0);
    house_pass(&h, 10);
    HOUSE_IS(&h, gate.entered, 1);
    lease = house_get(&h, "a");
    HOUSE_IS(&h, house_number(&lease), 2);
    house_release(&h, &lease);
    lease = house_get(&h, "b");
    house_release(&h, &lease);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 10);
    kp_gate_open(h.sim, &gate);
    visitor_end(&ends);
    house_close(&h);
}

/* B-REL-12 */
static void a_release_must_not_fail_because_its_destroy_does(void **state)
{
    static const kp_line fails[] = { { .status = -3, .times = KP_OFF }, { 0 } };
    const kp_script script = { .destroy = fails };
    struct house h;
    kp_lease lease;
    kp_options o = keypool(&h, &script);
    (void)state;
    o.budget.max_lent = 1;
    o.limits.on_return = KP_DESTROY;
    house_open(&h, &o);
    lease = house_get(&h, "a");
    house_release(&h, &lease);
    assert_null(lease.resource);
    HOUSE_IS(&h, house_stats(&h, NULL).live, 0);
    HOUSE_IS(&h, house_stats(&h, NULL).destroy_failures, 1);
    HOUSE_IS(&h, h.seen[KP_EVENT_DESTROY_FAILED], 1);
    lease = house_get(&h, "b");
    house_release(&h, &lease);
    house_close(&h);
}

/* ---- state ---- */

/* B-MET-01, B-MET-04 */
static void state_must_tell_what_is_idle_over_all_keys_and_per_key(void **state)
{
    struct house h;
    kp_lease lease;
    kp_stats s;
    kp_options o = keypool(&h, NULL);
    (void)state;
    house_open(&h, &o);
    HOUSE_IS(&h, house_stats(&h, NULL).idle, 0);
    HOUSE_IS(&h, kp_stats_read(h.pool, kp_str("a"), &s), KP_ENOTFOUND);
    HOUSE_IS(&h, s.idle, 0);
    HOUSE_IS(&h, house_stats(&h, NULL).keys, 0); /* asking makes no key */
    house_stock(&h, "a", 2);
    house_stock(&h, "b", 1);
    lease = house_get(&h, "b");
    HOUSE_IS(&h, house_stats(&h, NULL).idle, 2);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 2);
    HOUSE_IS(&h, house_stats(&h, "b").idle, 0);
    HOUSE_IS(&h, house_stats(&h, "b").lent, 1); /* TK-14: what is lent can be seen */
    house_release(&h, &lease);
    house_close(&h);
}

/* B-KEY-01. Ours keeps an unused key for forget_key_after_ms; with NONE it goes with its last idle
 * one. */
static void a_key_must_go_when_its_last_idle_one_is_reaped(void **state)
{
    struct house h;
    kp_options o = keypool(&h, NULL);
    (void)state;
    o.forget_key_after_ms = KP_NONE;
    house_open(&h, &o);
    house_stock(&h, "a", 2);
    house_stock(&h, "b", 1);
    HOUSE_IS(&h, house_stats(&h, NULL).keys, 2);
    house_pass(&h, 36000);
    HOUSE_IS(&h, house_stats(&h, NULL).keys, 0);
    HOUSE_IS(&h, house_stats(&h, NULL).keys_forgotten, 2);
    HOUSE_IS(&h, house_stats(&h, NULL).destroys, 3);
    house_close(&h);
}

/* ---- close ---- */

/* B-SHUT-02 */
static void close_must_destroy_the_idle_ones_of_all_keys(void **state)
{
    struct house h;
    kp_options o = keypool(&h, NULL);
    (void)state;
    house_open(&h, &o);
    house_stock(&h, "a", 3);
    house_stock(&h, "b", 2);
    house_stock(&h, "c", 1);
    HOUSE_IS(&h, kp_pool_close(h.pool, KP_CLOSE_NOW, 1000), 0);
    h.ended = true;
    HOUSE_IS(&h, house_cast(&h).destroys, 6);
    house_close(&h);
}

/* B-SHUT-09, TK-10 */
static void close_must_not_wait_for_what_is_lent_and_destroy_it_as_it_comes_back(void **state)
{
    struct visitor v = { .stay_ms = 500 };
    struct house h;
    kp_lease lease;
    kp_options o = keypool(&h, NULL);
    (void)state;
    house_open(&h, &o);
    house_stock(&h, "a", 2);
    lease = house_get(&h, "a");
    visitor_send(&h, &v, "b", 0);
    HOUSE_IS(&h, kp_pool_close(h.pool, KP_CLOSE_NOW, 1000), 2);
    h.ended = true;
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 0);
    HOUSE_IS(&h, house_cast(&h).destroys, 1);
    house_release(&h, &lease);
    HOUSE_IS(&h, house_cast(&h).destroys, 2);
    kp_sim_join(h.sim, v.task);
    HOUSE_IS(&h, house_cast(&h).destroys, 3);
    house_close(&h);
}

/* B-SHUT-10, B-SHUT-11, D11: the peer takes on, unpooled; here a closed pool says so, always */
static void a_closed_pool_must_lend_nothing_and_know_nothing(void **state)
{
    struct house h;
    kp_lease lease;
    kp_stats s;
    kp_options o = keypool(&h, NULL);
    (void)state;
    house_open(&h, &o);
    house_stock(&h, "a", 2);
    HOUSE_IS(&h, kp_pool_close(h.pool, KP_CLOSE_NOW, 1000), 0);
    h.ended = true;
    HOUSE_IS(&h, kp_get(h.pool, kp_str("a"), NULL, &lease), KP_ECLOSED);
    assert_null(lease.resource);
    HOUSE_IS(&h, kp_try_get(h.pool, kp_str("a"), &lease), KP_ECLOSED);
    HOUSE_IS(&h, kp_stats_read(h.pool, KP_EVERY_KEY, &s), KP_ECLOSED);
    HOUSE_IS(&h, s.idle, 0);
    HOUSE_IS(&h, s.gets, 0);
    HOUSE_IS(&h, house_cast(&h).creates, 2);
    house_close(&h);
}

/* TK-5: the reaper ends with the pool; a world with anything left to do would not come to rest */
static void the_reaper_must_end_with_the_pool(void **state)
{
    struct house h;
    kp_options o = keypool(&h, NULL);
    (void)state;
    house_open(&h, &o);
    house_stock(&h, "a", 1);
    HOUSE_IS(&h, kp_pool_close(h.pool, KP_CLOSE_NOW, 1000), 0);
    h.ended = true;
    house_pass(&h, KP_HOURS(1));
    HOUSE_IS(&h, house_cast(&h).destroys, 1);
    HOUSE_IS(&h, kp_keep(h.pool), -1);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_used_resource_must_be_cleaned_up_by_the_reaper),
        cmocka_unit_test(a_used_resource_must_stay_while_its_idle_time_has_not_expired),
        cmocka_unit_test(an_expired_one_must_stay_until_the_reaper_runs),
        cmocka_unit_test(an_idle_time_that_never_comes_must_evict_nothing),
        cmocka_unit_test(without_a_reaper_an_expired_one_must_stay_until_it_is_asked_for),
        cmocka_unit_test(with_check_at_get_a_stale_one_must_not_be_lent_before_the_reaper_comes),
        cmocka_unit_test(a_reaper_that_never_rests_must_be_refused_by_name),
        cmocka_unit_test(the_reaper_must_sleep_until_something_is_due),
        cmocka_unit_test(the_idle_time_must_start_when_it_comes_back),
        cmocka_unit_test(the_reaper_must_take_the_stale_ones_only),
        cmocka_unit_test(a_failure_in_the_reaper_must_be_told_and_must_not_stop_it),
        cmocka_unit_test(the_hook_must_hear_of_each_creation_before_its_taker_has_it),
        cmocka_unit_test(the_hook_must_hear_of_each_destruction_whatever_its_reason),
        cmocka_unit_test(a_destroy_that_fails_must_not_be_the_invalidators_failure),
        cmocka_unit_test(a_destroy_that_blocks_must_not_hold_up_other_takers),
        cmocka_unit_test(state_must_tell_what_is_idle_over_all_keys_and_per_key),
        cmocka_unit_test(a_key_must_go_when_its_last_idle_one_is_reaped),
        cmocka_unit_test(close_must_destroy_the_idle_ones_of_all_keys),
        cmocka_unit_test(close_must_not_wait_for_what_is_lent_and_destroy_it_as_it_comes_back),
        cmocka_unit_test(a_closed_pool_must_lend_nothing_and_know_nothing),
        cmocka_unit_test(the_reaper_must_end_with_the_pool),
        cmocka_unit_test(a_release_must_not_fail_because_its_destroy_does),
    };
    return cmocka_run_group_tests_name("typelevel keypool, continued", tests, NULL, NULL);
}
