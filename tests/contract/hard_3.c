/* SPDX-License-Identifier: MIT
 *
 * The hard cases, H16 to H23 except H19 and H22: eviction races with gets, deadlines behind the
 * create of another request, retries in one scope, deadlines that wake-ups must not restart, stale
 * releases, limits that change under load.
 */
#include "house.h"

/* ---- H16: eviction for another key against a getter of that key ---- */

/* H16, B-LIM-10: "dead man walking" */
static void H16_nobody_must_be_lent_what_is_evicted_and_no_more_must_go_than_needed(void **state)
{
    static const kp_line slow[] = { { .blocks_ms = 50, .times = KP_OFF }, { 0 } };
    const kp_script script = { .destroy = slow };
    struct visitor fresh = { 0 }, old[4] = { { 0 } };
    struct house h;
    kp_options o = house_plan(&h, 1, "commons", &script);
    char key[16];
    int i;
    (void)state;
    o.limits.idle_order = KP_FIFO;
    o.budget.max_live = 50;
    house_open(&h, &o);
    for (i = 0; i < 10; i++) {
        snprintf(key, sizeof key, "k%d", i);
        house_stock(&h, key, 5);
        house_pass(&h, 1);
    }
    visitor_send(&h, &fresh, "new", KP_OFF);
    HOUSE_IS(&h, house_stats(&h, "k0").closing, 1);
    for (i = 0; i < 4; i++) {
        visitor_send(&h, &old[i], "k0", 10);
        HOUSE_IS(&h, old[i].rc, 0);
        HOUSE_IS(&h, old[i].number, i + 2);
    }
    house_pass(&h, 20);
    for (i = 0; i < 4; i++) HOUSE_IS(&h, ((const kp_prop *)old[i].lease.resource)->alive, 1);
    visitor_end(&fresh);
    HOUSE_IS(&h, fresh.rc, 0);
    HOUSE_IS(&h, fresh.answered_ms, 60);
    HOUSE_IS(&h, house_stats(&h, NULL).evicted, 1); /* exactly what was needed, not 15 % */
    HOUSE_IS(&h, house_cast(&h).destroys, 1);
    HOUSE_IS(&h, house_cast(&h).most_live, 50);
    for (i = 0; i < 4; i++) house_release(&h, &old[i].lease);
    house_release(&h, &fresh.lease);
    house_close(&h);
}

/* ---- H17: a deadline while another one's create blocks me ---- */

/* H17 (ACP-2, ACP-3, BB8-2), with deadlines in place of cancels */
static void H17_a_deadline_behind_anothers_create_must_leave_no_room_taken(void **state)
{
    static kp_gate gate;
    static const kp_line lines[] = { { .takes_ms = 1, .gate = &gate }, { 0 } };
    const kp_script script = { .create = lines };
    struct visitor g1 = { 0 }, g2 = { 0 };
    struct house h;
    kp_lease lease[2];
    kp_options o = house_plan(&h, 1, "commons", &script);
    (void)state;
    gate = (kp_gate){ 0 };
    o.limits.max_live = 1;
    o.budget.max_live = 2;
    house_open(&h, &o);
    visitor_send(&h, &g1, "a", 100);
    visitor_send(&h, &g2, "a", 50);
    house_pass(&h, 60);
    HOUSE_IS(&h, g2.rc, KP_ETIMEDOUT);
    lease[0] = house_get_within(&h, "b", 10); /* the second place is free for another key */
    house_release(&h, &lease[0]);
    house_pass(&h, 60);
    HOUSE_IS(&h, g1.rc, KP_ETIMEDOUT);
    HOUSE_IS(&h, g1.answered_ms, 100);
    kp_gate_open(h.sim, &gate);
    house_settle(&h);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 1);
    lease[0] = house_get_within(&h, "a", 10);
    lease[1] = house_get_within(&h, "b", 10);
    HOUSE_IS(&h, house_cast(&h).creates, 2);
    house_release(&h, &lease[0]);
    house_release(&h, &lease[1]);
    house_close(&h);
}

/* ---- H18: five retries of a failing get inside one scope ---- */

static void retries_in_a_scope(bool by_lent)
{
    static const kp_line fails[] = { { .status = -8, .times = 5 }, { 0 } };
    const kp_script script = { .create = fails };
    struct house h;
    kp_scope scope = { { 0 } };
    kp_lease lease;
    kp_options o = house_plan(&h, 1, by_lent ? "effectful 1" : "commons", &script);
    int i;
    if (!by_lent) o.limits.max_live = 1;
    house_open(&h, &o);
    for (i = 0; i < 5; i++) {
        const char *key = by_lent && i % 2 ? "fallback" : "a";
        kp_why why;
        kp_ask ask = { .within_ms = 1000, .why = &why };
        HOUSE_IS(&h, kp_scope_get(&scope, h.pool, kp_str(key), &ask, &lease), KP_ECREATE);
        HOUSE_IS(&h, why.vendor_code, -8);
        house_check(&h);
    }
    HOUSE_IS(&h, kp_scope_get(&scope, h.pool, kp_str("a"), KP_IN_MS(1000), &lease), 0);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 0);
    house_check(&h);
    kp_scope_close(&scope);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 1);
    house_close(&h);
}

/* H18, B-FAIL-04 (EF-1) */
static void H18_retries_of_a_failing_get_in_one_scope_must_not_use_the_pool_up(void **state)
{
    (void)state;
    retries_in_a_scope(false);
    retries_in_a_scope(true);
}

/* ---- H20: a deadline is not restarted by wake-ups ---- */

/* H20 (ACP-7, APR-2): in strict order, threads that get again at once can't even overtake */
static void H20_who_waits_among_those_who_barge_must_be_served_in_turn(void **state)
{
    static const char *const keys[] = { "a" };
    struct worker w[4] = {
        { .keys = keys, .key_count = 1, .rounds = 200, .hold_ms = 1, .within_ms = KP_OFF }
    };
    struct visitor v = { .stay_ms = KP_NONE };
    struct house h;
    kp_lease lease;
    kp_options o = house_plan(&h, 1, "commons", NULL);
    (void)state;
    o.limits.max_live = 1;
    house_open(&h, &o);
    lease = house_get(&h, "a");
    visitor_send(&h, &v, "a", 300);
    house_release(&h, &lease);
    workers_work(&h, w, 4);
    HOUSE_IS(&h, v.rc, 0);
    HOUSE_IS(&h, v.answered_ms, 0);
    house_close(&h);
}

struct trickle {
    struct house *h;
    kp_lease lease[50];
};

static void gives_back_one_by_one(void *arg)
{
    struct trickle *t = arg;
    int i;
    for (i = 0; i < 50; i++) {
        kp_sim_pass_ms(t->h->sim, 10);
        house_exit(&t->lease[i]);
        kp_release(&t->lease[i]);
    }
}

/* H20, B-WAIT-20: each one that comes back is bad; the waiter can't create */
static void H20_useless_ones_that_trickle_past_must_not_restart_the_deadline(void **state)
{
    static const kp_line bad[] = { { .status = -1, .times = KP_OFF }, { 0 } };
    static struct trickle t;
    const kp_script script = { .validate = bad };
    struct visitor v = { .flags = KP_DONT_CREATE };
    struct house h;
    kp_options o = house_plan(&h, 1, "commons", &script);
    int i, task;
    (void)state;
    o.limits.max_live = 50;
    o.limits.max_idle = 50;
    house_open(&h, &o);
    h.waits_by_choice = true;
    t.h = &h;
    for (i = 0; i < 50; i++) t.lease[i] = house_get(&h, "a");
    task = kp_sim_spawn(h.sim, gives_back_one_by_one, &t);
    visitor_send(&h, &v, "a", 55);
    visitor_end(&v);
    HOUSE_IS(&h, v.rc, KP_ETIMEDOUT);
    HOUSE_IS(&h, v.answered_ms, 55);
    kp_sim_join(h.sim, task);
    HOUSE_IS(&h, house_stats(&h, "a").invalid, 5); /* it had a look at each of them */
    house_close(&h);
}

/* ---- H21: a stale second release after the resource was lent again ---- */

/* H21 (ACP-11, STO-1, APR-7), B-MIS-04 */
static void H21_a_stale_lease_must_end_nothing_after_its_resource_was_lent_again(void **state)
{
    struct house h;
    kp_lease b, stale, c;
    kp_lease_about about;
    kp_options o = house_plan(&h, 1, "commons", NULL);
    (void)state;
    house_open(&h, &o);
    b = house_get(&h, "a");
    stale = b;
    house_release(&h, &b);
    c = house_get(&h, "a");
    HOUSE_HAS(&h, c.resource == stale.resource);
    kp_release(&stale);
    house_check(&h);
    kp_discard(&stale);
    house_check(&h);
    HOUSE_HAS(&h, !kp_lease_read(&stale, &about));
    HOUSE_IS(&h, house_stats(&h, NULL).misuses, 2);
    HOUSE_HAS(&h, kp_lease_read(&c, &about) && !about.doomed);
    HOUSE_IS(&h, house_stats(&h, "a").lent, 1);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 0);
    HOUSE_IS(&h, house_cast(&h).destroys, 0);
    house_release(&h, &c);
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
    unmade += resource == &the_only;
    return 0;
}

/* H21: the same after it was destroyed and its file number was used again (EF-3) */
static void H21_a_stale_lease_must_end_nothing_after_its_resource_was_replaced(void **state)
{
    struct house h;
    kp_lease x, stale, y;
    kp_lease_about about;
    kp_options o = house_plan(&h, 1, "commons", NULL);
    (void)state;
    made = unmade = 0;
    o.driver.create = same_pointer;
    o.driver.destroy = unmake;
    assert_int_equal(kp_pool_open(&o, &h.pool), 0);
    assert_int_equal(kp_get(h.pool, kp_str("a"), NULL, &x), 0);
    stale = x;
    h.foreign = 1; /* the resources are no props */
    kp_discard(&x);
    assert_int_equal(kp_get(h.pool, kp_str("a"), NULL, &y), 0);
    kp_release(&stale);
    kp_discard(&stale);
    HOUSE_HAS(&h, kp_lease_read(&y, &about));
    HOUSE_IS(&h, unmade, 1);
    kp_release(&y);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 1);
    HOUSE_IS(&h, house_stats(&h, NULL).misuses, 2);
    HOUSE_IS(&h, kp_pool_close(h.pool, KP_CLOSE_NOW, 1000), 0);
    HOUSE_IS(&h, unmade, 2);
    HOUSE_IS(&h, made, 2);
    h.foreign = 0;
    house_leave(&h);
}

/* ---- H23: limits changed under load ---- */

static void set_max_live(struct house *h, const char *key, int64_t max_live)
{
    kp_limits limits = { .max_live = max_live };
    kp_why why;
    int rc = kp_limits_set(h->pool, key ? kp_str(key) : KP_EVERY_KEY, &limits, &why);
    if (rc) fail_msg("kp_limits_set: %s: %s", kp_strerror(rc), why.text);
    h->plan.limits.max_live = max_live;
    house_check(h);
}

static void with_limit(struct house *h, int64_t max_live, const kp_script *script)
{
    kp_options o = house_plan(h, 1, "commons", script);
    o.limits.max_live = max_live;
    o.limits.max_idle = 100;
    house_open(h, &o);
}

/* H23 (a), B-CFG-32 (MON-3) */
static void H23_raising_a_limit_must_serve_who_waits_at_once(void **state)
{
    struct visitor v[2] = { { 0 } };
    struct house h;
    (void)state;
    with_limit(&h, KP_NONE, NULL);
    visitor_send(&h, &v[0], "a", KP_OFF);
    visitor_send(&h, &v[1], "a", KP_OFF);
    house_pass(&h, 1000);
    HOUSE_IS(&h, house_stats(&h, "a").waiting, 2);
    set_max_live(&h, "a", 1);
    house_settle(&h);
    HOUSE_HAS(&h, v[0].answered && !v[1].answered);
    set_max_live(&h, "a", 2);
    house_settle(&h);
    HOUSE_IS(&h, v[0].rc + v[1].rc, 0);
    HOUSE_IS(&h, v[1].answered_ms, 1000);
    house_release(&h, &v[0].lease);
    house_release(&h, &v[1].lease);
    house_close(&h);
}

static void lowered(int64_t first, int64_t then)
{
    struct house h;
    kp_lease lease[2];
    with_limit(&h, 2, NULL);
    lease[0] = house_get(&h, "a");
    lease[1] = house_get(&h, "a");
    set_max_live(&h, "a", first);
    HOUSE_IS(&h, house_stats(&h, "a").lent, 2); /* nothing is taken from borrowers */
    if (then) set_max_live(&h, "a", then);
    HOUSE_IS(&h, house_stats(&h, "a").live, 2);
    house_release(&h, &lease[0]);
    HOUSE_IS(&h, house_stats(&h, "a").live, 1);
    house_release(&h, &lease[1]);
    HOUSE_IS(&h, house_stats(&h, "a").live, 1);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 1);
    house_close(&h);
}

/* H23 (b) and (c), B-CFG-33, B-CFG-34 (DP-1) */
static void H23_lowering_a_limit_must_take_from_what_comes_back_and_not_underflow(void **state)
{
    (void)state;
    lowered(1, 0);
    lowered(KP_NONE, 1);
}

/* H23 (b), with a waiter: what comes back above the limit is not for it */
static void H23_a_lowered_limit_must_hold_for_who_waits_too(void **state)
{
    struct visitor v = { 0 };
    struct house h;
    kp_lease lease[2];
    (void)state;
    with_limit(&h, 2, NULL);
    lease[0] = house_get(&h, "a");
    lease[1] = house_get(&h, "a");
    visitor_send(&h, &v, "a", KP_OFF);
    set_max_live(&h, "a", 1);
    house_release(&h, &lease[0]);
    house_settle(&h);
    HOUSE_HAS(&h, !v.answered);
    HOUSE_IS(&h, house_stats(&h, "a").live, 1);
    house_release(&h, &lease[1]);
    visitor_end(&v);
    HOUSE_IS(&h, v.number, 2);
    HOUSE_IS(&h, house_stats(&h, "a").live, 1);
    house_release(&h, &v.lease);
    house_close(&h);
}

/* H23 (d) */
static void H23_a_lowered_limit_must_hold_from_now_on(void **state)
{
    struct house h;
    kp_lease lease[2];
    (void)state;
    with_limit(&h, 5, NULL);
    house_stock(&h, "a", 4);
    set_max_live(&h, "a", 2);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 2); /* what is now too many idle is destroyed */
    lease[0] = house_get(&h, "a");
    lease[1] = house_get(&h, "a");
    HOUSE_IS(&h, house_fails(&h, "a", 10), KP_ETIMEDOUT);
    house_release(&h, &lease[0]);
    house_release(&h, &lease[1]);
    house_close(&h);
}

/* H23 (e), B-CFG-35 */
static void H23_lowering_a_limit_while_creates_are_in_flight_must_settle_at_it(void **state)
{
    static kp_gate gate;
    static const kp_line lines[] = { { .takes_ms = 1, .gate = &gate, .times = 20 }, { 0 } };
    const kp_script script = { .create = lines };
    struct visitor v[20] = { { 0 } };
    struct house h;
    int i, served = 0;
    (void)state;
    gate = (kp_gate){ 0 };
    with_limit(&h, 20, &script);
    for (i = 0; i < 20; i++) {
        v[i].stay_ms = KP_NONE;
        visitor_send(&h, &v[i], "a", KP_OFF);
    }
    house_pass(&h, 5);
    HOUSE_IS(&h, house_stats(&h, "a").creating, 20);
    set_max_live(&h, "a", 1);
    kp_gate_open(h.sim, &gate);
    kp_sim_join(h.sim, 0);
    house_settle(&h);
    for (i = 0; i < 20; i++) served += v[i].rc == 0;
    HOUSE_IS(&h, served, 20);
    HOUSE_IS(&h, house_stats(&h, "a").live, 1);
    HOUSE_IS(&h, house_cast(&h).creates, 20);
    HOUSE_IS(&h, house_cast(&h).destroys, 19);
    house_close(&h);
}

/* H23 (f): of every key and those to come */
static void H23_raising_the_limit_of_every_key_must_serve_who_waits_for_any(void **state)
{
    static const char *const key[4] = { "a", "b", "c", "a" };
    struct visitor v[4] = { { 0 } };
    struct house h;
    kp_lease later[2];
    int i;
    (void)state;
    with_limit(&h, KP_NONE, NULL);
    for (i = 0; i < 4; i++) visitor_send(&h, &v[i], key[i], KP_OFF);
    set_max_live(&h, NULL, 2);
    house_settle(&h);
    for (i = 0; i < 4; i++) {
        HOUSE_HAS(&h, v[i].answered && v[i].rc == 0);
        house_release(&h, &v[i].lease);
    }
    later[0] = house_get(&h, "later");
    later[1] = house_get(&h, "later");
    house_release(&h, &later[0]);
    house_release(&h, &later[1]);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(H16_nobody_must_be_lent_what_is_evicted_and_no_more_must_go_than_needed),
        cmocka_unit_test(H17_a_deadline_behind_anothers_create_must_leave_no_room_taken),
        cmocka_unit_test(H18_retries_of_a_failing_get_in_one_scope_must_not_use_the_pool_up),
        cmocka_unit_test(H20_who_waits_among_those_who_barge_must_be_served_in_turn),
        cmocka_unit_test(H20_useless_ones_that_trickle_past_must_not_restart_the_deadline),
        cmocka_unit_test(H21_a_stale_lease_must_end_nothing_after_its_resource_was_lent_again),
        cmocka_unit_test(H21_a_stale_lease_must_end_nothing_after_its_resource_was_replaced),
        cmocka_unit_test(H23_raising_a_limit_must_serve_who_waits_at_once),
        cmocka_unit_test(H23_lowering_a_limit_must_take_from_what_comes_back_and_not_underflow),
        cmocka_unit_test(H23_a_lowered_limit_must_hold_for_who_waits_too),
        cmocka_unit_test(H23_a_lowered_limit_must_hold_from_now_on),
        cmocka_unit_test(H23_lowering_a_limit_while_creates_are_in_flight_must_settle_at_it),
        cmocka_unit_test(H23_raising_the_limit_of_every_key_must_serve_who_waits_for_any),
    };
    return cmocka_run_group_tests_name("hard cases H16 to H23", tests, NULL, NULL);
}
