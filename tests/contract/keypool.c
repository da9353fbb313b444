/* SPDX-License-Identifier: MIT
 *
 * typelevel keypool by configuration alone: maxTotal is a fair semaphore of takes over all keys
 * (budget.max_lent), maxIdle and maxPerKey cap what is kept (budget.max_idle, limits.max_idle). The
 * preset "keypool", then other numbers. keypool_2.c has the reaper, the hooks, state and close.
 */
#include "house.h"

static kp_options keypool(struct house *h, const kp_script *script)
{
    return house_plan(h, 1, "keypool", script);
}

/* ---- configuration ---- */

/* B-CFG-14 */
static void the_preset_must_have_the_defaults_of_its_builder(void **state)
{
    struct house h;
    kp_options o = keypool(&h, NULL);
    (void)state;
    HOUSE_IS(&h, o.budget.max_lent, 100);
    HOUSE_IS(&h, o.budget.max_idle, 100);
    HOUSE_IS(&h, o.limits.max_idle, 100);
    HOUSE_IS(&h, o.limits.idle_ttl_ms, 30000);
    HOUSE_IS(&h, o.keep_every_ms, 5000);
    HOUSE_HAS(&h, o.limits.on_return == 0 || o.limits.on_return == KP_REUSE);
    HOUSE_HAS(&h, o.limits.wait_order == 0 || o.limits.wait_order == KP_FIFO);
    house_open(&h, &o);
    house_close(&h);
}

static void keeps_more_for_big_ones(kp_key key, kp_limits *limits, void *ctx)
{
    (void)ctx;
    limits->max_idle = key.size && ((const char *)key.data)[0] == 'B' ? 3 : 1;
}

/* B-CFG-15 */
static void caps_on_idle_ones_must_hold_per_key_by_a_function_and_over_all_keys(void **state)
{
    struct house h;
    kp_options o = keypool(&h, NULL);
    (void)state;
    o.limits_for = keeps_more_for_big_ones;
    o.budget.max_idle = 5;
    o.budget.max_lent = 4;
    house_open(&h, &o);
    house_stock(&h, "Big", 4);
    HOUSE_IS(&h, house_stats(&h, "Big").idle, 3);
    house_stock(&h, "small", 4);
    HOUSE_IS(&h, house_stats(&h, "small").idle, 1);
    house_stock(&h, "Bigger", 4);
    HOUSE_IS(&h, house_stats(&h, "Bigger").idle, 1);
    HOUSE_IS(&h, house_stats(&h, NULL).idle, 5);
    HOUSE_IS(&h, house_cast(&h).destroys, 7);
    house_close(&h);
}

/* B-CFG-16: throw if permits is negative */
static void a_negative_number_of_permits_must_be_refused_by_name(void **state)
{
    struct house h;
    const kp_options good = keypool(&h, NULL);
    kp_options o = good;
    (void)state;
    o.budget.max_lent = -1;
    house_refuses(&h, &o, "budget.max_lent");
    o = good;
    o.limits.max_idle = -1;
    house_refuses(&h, &o, "limits.max_idle");
    house_leave(&h);
}

/* B-CFG-16: zero is accepted. Zero is KP_NONE here, for 0 is "not said" (D17). */
static void no_permits_must_mean_that_nothing_can_be_got(void **state)
{
    struct house h;
    kp_options o = keypool(&h, NULL);
    (void)state;
    o.budget.max_lent = KP_NONE;
    house_open(&h, &o);
    HOUSE_IS(&h, house_fails(&h, "a", 100), KP_ETIMEDOUT);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 100);
    assert_string_equal(h.why.limit, "budget.max_lent");
    HOUSE_IS(&h, house_cast(&h).creates, 0);
    house_close(&h);
}

/* B-CFG-17: PoolSpec */
static void a_pool_of_one_key_must_keep_as_many_as_may_be_taken(void **state)
{
    struct house h;
    kp_options o = keypool(&h, NULL);
    (void)state;
    o.budget.max_lent = 7;
    o.limits.max_idle = 7;
    house_open(&h, &o);
    house_stock(&h, "", 7);
    HOUSE_IS(&h, house_stats(&h, NULL).idle, 7);
    HOUSE_IS(&h, house_stats(&h, "").idle, 7);
    HOUSE_IS(&h, house_stats(&h, NULL).keys, 1);
    house_close(&h);
}

/* ---- take ---- */

/* B-CFG-11, B-GET-07: Managed.isReused */
static void a_lease_must_say_whether_it_was_made_for_it_or_taken_from_the_pool(void **state)
{
    struct house h;
    kp_lease first, second;
    kp_options o = keypool(&h, NULL);
    (void)state;
    house_open(&h, &o);
    HOUSE_IS(&h, house_cast(&h).creates, 0);
    first = house_get(&h, "a");
    HOUSE_HAS(&h, !house_reused(&first));
    second = house_get(&h, "a");
    HOUSE_HAS(&h, !house_reused(&second));
    house_release(&h, &first);
    first = house_get(&h, "a");
    HOUSE_HAS(&h, house_reused(&first));
    house_release(&h, &first);
    house_release(&h, &second);
    house_close(&h);
}

/* B-GET-11 */
static void the_last_returned_must_be_the_first_taken_again(void **state)
{
    struct house h;
    kp_lease lease[3];
    kp_options o = keypool(&h, NULL);
    int i;
    (void)state;
    house_open(&h, &o);
    for (i = 0; i < 3; i++) lease[i] = house_get(&h, "a");
    house_release(&h, &lease[1]);
    house_release(&h, &lease[2]);
    house_release(&h, &lease[0]);
    for (i = 0; i < 3; i++) lease[i] = house_get(&h, "a");
    HOUSE_IS(&h, house_number(&lease[0]), 1);
    HOUSE_IS(&h, house_number(&lease[1]), 3);
    HOUSE_IS(&h, house_number(&lease[2]), 2);
    for (i = 0; i < 3; i++) house_release(&h, &lease[i]);
    house_close(&h);
}

/* B-LIM-02; TK-8: idle ones of another key are not counted */
static void what_is_taken_over_all_keys_must_not_exceed_the_total(void **state)
{
    struct house h;
    kp_lease lease[10];
    kp_options o = keypool(&h, NULL);
    int i;
    (void)state;
    o.budget.max_lent = 10;
    house_open(&h, &o);
    house_stock(&h, "idle", 10);
    for (i = 0; i < 10; i++) lease[i] = house_get(&h, i % 2 ? "a" : "b");
    HOUSE_IS(&h, house_fails(&h, "c", 100), KP_ETIMEDOUT);
    HOUSE_IS(&h, house_fails(&h, "idle", 100), KP_ETIMEDOUT);
    assert_string_equal(h.why.limit, "budget.max_lent");
    HOUSE_IS(&h, house_stats(&h, NULL).live, 20);
    for (i = 0; i < 10; i++) house_release(&h, &lease[i]);
    house_close(&h);
}

/* B-LIM-03 */
static void the_cap_of_a_key_must_not_limit_how_many_of_it_are_taken(void **state)
{
    struct house h;
    kp_lease lease[20];
    kp_options o = keypool(&h, NULL);
    int i;
    (void)state;
    o.limits.max_idle = 2;
    house_open(&h, &o);
    for (i = 0; i < 20; i++) lease[i] = house_get(&h, "a");
    HOUSE_IS(&h, house_stats(&h, "a").lent, 20);
    for (i = 0; i < 20; i++) house_release(&h, &lease[i]);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 2);
    house_close(&h);
}

/* ---- waiting ---- */

static void served_in_order(kp_order order, const unsigned *turns)
{
    static const char *const key[4] = { "a", "b", "a", "c" };
    struct visitor v[4] = { { 0 } };
    struct house h;
    kp_options o = keypool(&h, NULL);
    int i;
    o.budget.max_lent = 1;
    o.limits.wait_order = (int32_t)order;
    house_open(&h, &o);
    for (i = 0; i < 4; i++) {
        v[i].stay_ms = 10;
        visitor_send(&h, &v[i], key[i], 0);
        house_pass(&h, 1);
    }
    HOUSE_IS(&h, house_stats(&h, NULL).waiting, 3);
    kp_sim_join(h.sim, 0);
    for (i = 0; i < 4; i++) HOUSE_IS(&h, v[i].turn, turns[i]);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 40);
    house_close(&h);
}

/* B-WAIT-01: requests served in FIFO order by default */
static void takers_must_be_served_in_the_order_of_arrival_over_all_keys(void **state)
{
    static const unsigned turns[4] = { 1, 2, 3, 4 };
    (void)state;
    served_in_order(KP_FIFO, turns);
}

/* B-WAIT-02: requests served in LIFO order if fairness is false */
static void takers_must_be_served_last_come_first_if_asked(void **state)
{
    static const unsigned turns[4] = { 1, 4, 3, 2 };
    (void)state;
    served_in_order(KP_LIFO, turns);
}

/* B-WAIT-03: block if no permits are available */
static void an_action_that_holds_the_only_permit_must_hold_up_the_next(void **state)
{
    struct visitor first = { .stay_ms = 3000 }, second = { .stay_ms = KP_NONE };
    struct house h;
    kp_options o = keypool(&h, NULL);
    (void)state;
    o.budget.max_lent = 1;
    house_open(&h, &o);
    visitor_send(&h, &first, "a", 0);
    visitor_send(&h, &second, "b", 0);
    visitor_end(&second);
    HOUSE_IS(&h, second.rc, 0);
    HOUSE_IS(&h, second.answered_ms, 3000);
    house_close(&h);
}

/* B-WAIT-04: do not allocate more resources than the maxTotal; B-WAIT-06, with a deadline in place
 * of a cancel */
static void a_take_that_times_out_must_leave_nothing_behind(void **state)
{
    struct visitor v[3] = { { 0 } };
    struct house h;
    kp_lease lease[10];
    kp_options o = keypool(&h, NULL);
    int i;
    (void)state;
    o.budget.max_lent = 10;
    house_open(&h, &o);
    for (i = 0; i < 10; i++) lease[i] = house_get(&h, "a");
    for (i = 0; i < 3; i++) visitor_send(&h, &v[i], "a", 100);
    house_pass(&h, 200);
    for (i = 0; i < 3; i++) {
        HOUSE_IS(&h, v[i].rc, KP_ETIMEDOUT);
        HOUSE_IS(&h, v[i].answered_ms, 100);
    }
    HOUSE_IS(&h, house_stats(&h, NULL).waiting, 0);
    HOUSE_IS(&h, house_stats(&h, NULL).timeouts, 3);
    house_release(&h, &lease[0]);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 1);
    lease[0] = house_get(&h, "a");
    HOUSE_IS(&h, house_fails(&h, "a", 10), KP_ETIMEDOUT); /* ten permits: none lost, none gained */
    for (i = 0; i < 10; i++) house_release(&h, &lease[i]);
    HOUSE_IS(&h, house_cast(&h).creates, 10);
    house_close(&h);
}

/* B-WAIT-08: acquiring from pool is cancelable; a deadline in place of the cancel */
static void a_take_whose_create_does_not_end_must_end_at_its_deadline_and_free_its_permit(
    void **state)
{
    static kp_gate gate;
    static const kp_line stuck[] = { { .takes_ms = 1, .gate = &gate }, { 0 } };
    const kp_script script = { .create = stuck };
    struct house h;
    kp_lease lease;
    kp_options o = keypool(&h, &script);
    (void)state;
    gate = (kp_gate){ 0 };
    o.budget.max_lent = 1;
    house_open(&h, &o);
    HOUSE_IS(&h, house_fails(&h, "a", 1000), KP_ETIMEDOUT);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 1000);
    assert_string_equal(h.why.limit, "create");
    HOUSE_IS(&h, house_stats(&h, "a").creating, 1);
    lease = house_get_within(&h, "b", 1000); /* the permit went with the request */
    kp_gate_open(h.sim, &gate);
    house_pass(&h, 10);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 1); /* what outlives its request is kept (D12) */
    house_release(&h, &lease);
    house_close(&h);
}

/* ---- give back ---- */

static void kept_after(kp_end by_default, int asks, unsigned idle)
{
    struct house h;
    kp_lease lease;
    kp_options o = keypool(&h, NULL);
    o.limits.on_return = (int32_t)by_default;
    house_open(&h, &o);
    lease = house_get(&h, "a");
    if (asks >= 0) kp_lease_reuse(&lease, asks);
    house_release(&h, &lease);
    HOUSE_IS(&h, house_stats(&h, "a").idle, idle);
    HOUSE_IS(&h, house_cast(&h).destroys, 1 - idle);
    house_close(&h);
}

/* B-REL-02 */
static void what_is_to_be_reused_by_default_must_be_kept(void **state)
{
    (void)state;
    kept_after(KP_REUSE, -1, 1);
}

/* B-REL-02 */
static void what_is_not_to_be_reused_by_default_must_be_destroyed(void **state)
{
    (void)state;
    kept_after(KP_DESTROY, -1, 0);
}

/* B-REL-03: canBeReused := DontReuse */
static void a_lease_must_override_a_default_to_reuse(void **state)
{
    (void)state;
    kept_after(KP_REUSE, 0, 0);
}

/* B-REL-03: canBeReused := Reuse */
static void a_lease_must_override_a_default_to_destroy(void **state)
{
    (void)state;
    kept_after(KP_DESTROY, 1, 1);
}

static void cap_holds(int64_t per_key, int64_t total, unsigned stock, unsigned idle)
{
    struct house h;
    kp_options o = keypool(&h, NULL);
    o.limits.max_idle = per_key;
    o.budget.max_idle = total;
    house_open(&h, &o);
    house_stock(&h, "a", stock);
    HOUSE_IS(&h, house_stats(&h, "a").idle, idle);
    HOUSE_IS(&h, house_cast(&h).destroys, stock - idle);
    house_close(&h);
}

/* B-REL-04: delete resource when pool is full */
static void beyond_the_cap_of_a_key_what_comes_back_must_be_destroyed(void **state)
{
    (void)state;
    cap_holds(1, 100, 2, 1);
}

/* B-LIM-04; TK-1: the peer keeps one too many */
static void beyond_the_cap_of_all_keys_what_comes_back_must_be_destroyed(void **state)
{
    (void)state;
    cap_holds(100, 10, 12, 10);
}

/* TK-1, TK-2: the peer keeps one although the cap says none */
static void a_cap_of_none_must_keep_none(void **state)
{
    (void)state;
    cap_holds(KP_NONE, 100, 3, 0);
    cap_holds(100, KP_NONE, 3, 0);
}

/* D15: the returned one goes, not one that is idle */
static void the_one_that_is_too_many_must_be_the_one_that_came_back(void **state)
{
    struct house h;
    kp_lease lease[2];
    kp_options o = keypool(&h, NULL);
    (void)state;
    o.limits.max_idle = 1;
    house_open(&h, &o);
    lease[0] = house_get(&h, "a");
    lease[1] = house_get(&h, "a");
    house_release(&h, &lease[1]);
    house_release(&h, &lease[0]);
    HOUSE_IS(&h, h.destroyed, 1);
    HOUSE_IS(&h, h.destroyed_number[0], 1);
    house_close(&h);
}

static int boom(kp_lease *lease, void *arg)
{
    (void)lease;
    ++*(int *)arg;
    return -42;
}

/* B-REL-05: release the permit if action errors; B-REL-06: in C an action is cancelled by failing
 */
static void an_action_that_fails_must_release_its_permit(void **state)
{
    struct house h;
    kp_options o = keypool(&h, NULL);
    int ran = 0;
    (void)state;
    o.budget.max_lent = 1;
    house_open(&h, &o);
    HOUSE_IS(&h, kp_use(h.pool, kp_str("a"), NULL, boom, &ran), -42);
    house_check(&h);
    HOUSE_IS(&h, kp_use(h.pool, kp_str("b"), NULL, boom, &ran), -42);
    HOUSE_IS(&h, ran, 2);
    HOUSE_IS(&h, house_stats(&h, NULL).lent, 0);
    HOUSE_IS(&h, house_stats(&h, NULL).idle,
             2); /* D14: a failing use gives back, it does not destroy */
    house_close(&h);
}

/* B-REL-13; D13 */
static void a_permit_must_not_be_free_before_its_resource_is_destroyed(void **state)
{
    static kp_gate gate;
    static const kp_line slow[] = { { .gate = &gate }, { 0 } };
    const kp_script script = { .destroy = slow };
    struct visitor ends = { .stay_ms = 10, .discards = true }, waits = { .stay_ms = KP_NONE };
    struct house h;
    kp_options o = keypool(&h, &script);
    (void)state;
    gate = (kp_gate){ 0 };
    o.budget.max_lent = 1;
    house_open(&h, &o);
    visitor_send(&h, &ends, "a", 0);
    visitor_send(&h, &waits, "b", 0);
    house_pass(&h, 50);
    HOUSE_IS(&h, gate.entered, 1);
    HOUSE_IS(&h, house_stats(&h, "a").closing, 1);
    HOUSE_HAS(&h, !waits.answered);
    HOUSE_IS(&h, house_fails(&h, "c", 10), KP_ETIMEDOUT); /* nor for a newcomer */
    kp_gate_open(h.sim, &gate);
    visitor_end(&waits);
    HOUSE_IS(&h, waits.rc, 0);
    HOUSE_IS(&h, waits.answered_ms, 60);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_preset_must_have_the_defaults_of_its_builder),
        cmocka_unit_test(caps_on_idle_ones_must_hold_per_key_by_a_function_and_over_all_keys),
        cmocka_unit_test(a_negative_number_of_permits_must_be_refused_by_name),
        cmocka_unit_test(no_permits_must_mean_that_nothing_can_be_got),
        cmocka_unit_test(a_pool_of_one_key_must_keep_as_many_as_may_be_taken),
        cmocka_unit_test(a_lease_must_say_whether_it_was_made_for_it_or_taken_from_the_pool),
        cmocka_unit_test(the_last_returned_must_be_the_first_taken_again),
        cmocka_unit_test(what_is_taken_over_all_keys_must_not_exceed_the_total),
        cmocka_unit_test(the_cap_of_a_key_must_not_limit_how_many_of_it_are_taken),
        cmocka_unit_test(takers_must_be_served_in_the_order_of_arrival_over_all_keys),
        cmocka_unit_test(takers_must_be_served_last_come_first_if_asked),
        cmocka_unit_test(an_action_that_holds_the_only_permit_must_hold_up_the_next),
        cmocka_unit_test(a_take_that_times_out_must_leave_nothing_behind),
        cmocka_unit_test(
            a_take_whose_create_does_not_end_must_end_at_its_deadline_and_free_its_permit),
        cmocka_unit_test(what_is_to_be_reused_by_default_must_be_kept),
        cmocka_unit_test(what_is_not_to_be_reused_by_default_must_be_destroyed),
        cmocka_unit_test(a_lease_must_override_a_default_to_reuse),
        cmocka_unit_test(a_lease_must_override_a_default_to_destroy),
        cmocka_unit_test(beyond_the_cap_of_a_key_what_comes_back_must_be_destroyed),
        cmocka_unit_test(beyond_the_cap_of_all_keys_what_comes_back_must_be_destroyed),
        cmocka_unit_test(a_cap_of_none_must_keep_none),
        cmocka_unit_test(the_one_that_is_too_many_must_be_the_one_that_came_back),
        cmocka_unit_test(an_action_that_fails_must_release_its_permit),
        cmocka_unit_test(a_permit_must_not_be_free_before_its_resource_is_destroyed),
    };
    return cmocka_run_group_tests_name("typelevel keypool", tests, NULL, NULL);
}
