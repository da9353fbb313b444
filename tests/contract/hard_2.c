/* SPDX-License-Identifier: MIT
 *
 * The hard cases, H9 to H15: the keeper races with gets and close, leases are ended twice at once,
 * checks fail or block, requests of another key meet a limit over all keys.
 */
#include "house.h"

/* ---- H9: the reaper takes the one that a getter wanted ---- */

/* H9 (ACP-5) */
static void H9_who_wants_the_one_being_reaped_must_have_a_new_one_when_it_is_gone(void **state)
{
    static kp_gate gate;
    static const kp_line slow[] = { { .gate = &gate }, { 0 } };
    const kp_script script = { .destroy = slow };
    struct visitor v = { 0 };
    struct house h;
    kp_options o = house_plan(&h, 1, "commons", &script);
    (void)state;
    gate = (kp_gate){ 0 };
    o.limits.max_live = 1;
    o.limits.idle_ttl_ms = 100;
    house_open(&h, &o);
    house_stock(&h, "a", 1);
    house_pass(&h, 150);
    HOUSE_IS(&h, gate.entered, 1);
    HOUSE_IS(&h, house_stats(&h, "a").closing, 1);
    visitor_send(&h, &v, "a", KP_OFF);
    house_pass(&h, 1000);
    HOUSE_HAS(&h, !v.answered); /* what is being destroyed counts (D13) */
    kp_gate_open(h.sim, &gate);
    visitor_end(&v);
    HOUSE_IS(&h, v.rc, 0);
    HOUSE_IS(&h, v.number, 2);
    HOUSE_IS(&h, house_cast(&h).most_live, 1);
    house_release(&h, &v.lease);
    house_close(&h);
}

static void pauses(struct worker *w)
{
    kp_sim_pass_ms(w->house->sim, (int64_t)(worker_throws(w) % 5));
}

/* H9, B-TTL-20: the other way round, it must not be destroyed while lent */
static void H9_getters_and_the_keeper_must_never_both_have_the_same_one(void **state)
{
    static const char *const keys[] = { "a", "b" };
    uint64_t seed, expired = 0;
    (void)state;
    print_message("seeds 1 to 20\n");
    for (seed = 1; seed <= 20; seed++) {
        struct worker w[4] = { { .keys = keys,
                                 .key_count = 2,
                                 .rounds = 100,
                                 .hold_ms = 1,
                                 .within_ms = KP_OFF,
                                 .step = pauses } };
        struct house h;
        kp_options o = house_plan(&h, seed, "commons", NULL);
        o.limits.idle_ttl_ms = 3;
        o.limits.max_live = 2;
        house_open(&h, &o);
        house_shuffle(&h, true);
        workers_work(&h, w, 4);
        house_shuffle(&h, false);
        HOUSE_IS(&h, w[0].failed + w[1].failed + w[2].failed + w[3].failed, 0);
        expired += house_stats(&h, NULL).expired;
        house_close(&h);
    }
    assert_true(expired > 0);
}

/* ---- H10: the reaper interrupted between unlink and destroy ---- */

struct closing {
    struct house *h;
    kp_close_mode mode;
    int64_t out;
    bool done;
};

static void closes(void *arg)
{
    struct closing *c = arg;
    c->out = kp_pool_close(c->h->pool, c->mode, 10000);
    c->done = true;
}

static void closes_while_reaping(kp_close_mode mode)
{
    static kp_gate gate;
    static const kp_line lines[] = { { .times = 1 }, { .status = -2 }, { .gate = &gate }, { 0 } };
    const kp_script script = { .destroy = lines };
    struct closing c = { .mode = mode };
    struct house h;
    kp_stats s;
    kp_options o = house_plan(&h, 1, "commons", &script);
    gate = (kp_gate){ 0 };
    o.limits.idle_ttl_ms = 100;
    o.limits.max_live = 5;
    house_open(&h, &o);
    house_stock(&h, "a", 5);
    house_pass(&h, 150);
    HOUSE_IS(&h, gate.entered, 1);
    s = house_stats(&h, "a");
    HOUSE_IS(&h, s.idle + s.closing, 3);
    HOUSE_HAS(&h, s.closing >= 1);
    HOUSE_IS(&h, s.destroy_failures, 1);
    c.h = &h;
    h.ended = true;
    (void)kp_sim_spawn(h.sim, closes, &c);
    kp_sim_pass_ms(h.sim, 50);
    HOUSE_IS(&h, c.done, mode == KP_CLOSE_NOW);
    if (mode == KP_CLOSE_NOW) HOUSE_HAS(&h, c.out >= 1 && c.out <= 3);
    kp_gate_open(h.sim, &gate);
    (void)kp_sim_settle(h.sim);
    HOUSE_HAS(&h, c.done);
    if (mode == KP_CLOSE_WAIT) HOUSE_IS(&h, c.out, 0);
    HOUSE_IS(&h, house_cast(&h).destroys, 5);
    house_close(&h);
}

/* H10 (TK-3, TK-11) */
static void H10_a_close_in_the_middle_of_reaping_must_lose_none_of_them(void **state)
{
    (void)state;
    closes_while_reaping(KP_CLOSE_NOW);
    closes_while_reaping(KP_CLOSE_WAIT);
}

/* ---- H11: invalidate what I hold, then get again ---- */

/* H11 (E3-9), D18 */
static void H11_who_discards_the_only_one_must_get_another_at_once(void **state)
{
    struct house h;
    kp_scope scope = { { 0 } };
    kp_lease one, two;
    kp_options o = house_plan(&h, 1, "commons", NULL);
    (void)state;
    o.limits.max_live = 1;
    house_open(&h, &o);
    assert_int_equal(kp_scope_get(&scope, h.pool, kp_str("a"), KP_IN_MS(200), &one), 0);
    house_check(&h);
    kp_discard(&one);
    assert_int_equal(kp_scope_get(&scope, h.pool, kp_str("a"), KP_IN_MS(200), &two), 0);
    house_check(&h);
    HOUSE_IS(&h, house_number(&two), 2);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 0);
    kp_scope_close(&scope);
    house_check(&h);
    HOUSE_IS(&h, house_stats(&h, "a").live, 1);
    HOUSE_IS(&h, house_cast(&h).destroys, 1);
    HOUSE_IS(&h, house_stats(&h, NULL).misuses, 0);
    house_close(&h);
}

/* H11: an invalidated one counts until it comes back, so the deadline must end the wait */
static void H11_who_only_marks_the_only_one_must_be_answered_by_the_deadline(void **state)
{
    struct house h;
    kp_lease one, two;
    kp_options o = house_plan(&h, 1, "commons", NULL);
    (void)state;
    o.limits.max_live = 1;
    house_open(&h, &o);
    one = house_get(&h, "a");
    HOUSE_IS(&h, kp_invalidate(h.pool, one.resource), 1);
    HOUSE_IS(&h, house_fails(&h, "a", 200), KP_ETIMEDOUT);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 200);
    house_release(&h, &one);
    two = house_get(&h, "a");
    HOUSE_IS(&h, house_number(&two), 2);
    house_release(&h, &two);
    house_close(&h);
}

/* H11: size 2; B-INV-13, D18: ours counts the marked one, so live never exceeds the limit */
static void H11_of_two_a_marked_one_must_leave_room_for_one_other(void **state)
{
    struct house h;
    kp_lease one, two;
    kp_options o = house_plan(&h, 1, "commons", NULL);
    (void)state;
    o.limits.max_live = 2;
    house_open(&h, &o);
    one = house_get(&h, "a");
    HOUSE_IS(&h, kp_invalidate(h.pool, one.resource), 1);
    two = house_get(&h, "a");
    HOUSE_IS(&h, house_number(&two), 2);
    HOUSE_IS(&h, house_fails(&h, "a", 10), KP_ETIMEDOUT);
    house_release(&h, &one);
    house_release(&h, &two);
    HOUSE_IS(&h, house_stats(&h, "a").live, 1);
    HOUSE_IS(&h, house_cast(&h).destroys, 1);
    house_close(&h);
}

/* ---- H12: a release against a discard of one lease ---- */

struct ending {
    kp_lease lease;
    bool discards;
};

static void ends_it(void *arg)
{
    struct ending *e = arg;
    if (e->discards)
        kp_discard(&e->lease);
    else
        kp_release(&e->lease);
}

/* H12 */
static void H12_of_a_release_and_a_discard_of_one_lease_exactly_one_must_count(void **state)
{
    uint64_t seed, kept = 0;
    int round;
    (void)state;
    print_message("seeds 1 to 40\n");
    for (seed = 1; seed <= 40; seed++) {
        struct house h;
        kp_options o = house_plan(&h, seed, "commons", NULL);
        uint64_t destroyed = 0;
        house_open(&h, &o);
        for (round = 0; round < 25; round++) {
            struct ending e[2] = { { .discards = false }, { .discards = true } };
            kp_lease lease = house_get(&h, "a");
            house_exit(&lease);
            e[0].lease = e[1].lease = lease;
            house_shuffle(&h, true);
            (void)kp_sim_spawn(h.sim, ends_it, &e[0]);
            (void)kp_sim_spawn(h.sim, ends_it, &e[1]);
            kp_sim_join(h.sim, 0);
            house_shuffle(&h, false);
            house_check(&h);
            HOUSE_IS(&h, house_stats(&h, "a").idle + house_cast(&h).destroys - destroyed, 1);
            HOUSE_IS(&h, h.seen[KP_EVENT_MISUSE], round + 1);
            kept += house_stats(&h, "a").idle;
            destroyed = house_cast(&h).destroys;
        }
        house_close(&h);
    }
    print_message("%u of 1000 were kept\n", (unsigned)kept);
    assert_true(kept > 0 && kept < 1000);
}

/* ---- H13: twenty who end the same sixty ---- */

struct many {
    struct house *h;
    kp_lease lease[60];
    unsigned first;
};

static void discards_all(void *arg)
{
    struct many *m = arg;
    unsigned i;
    for (i = 0; i < 60; i++) {
        unsigned at =
            (m->first + i * 7) % 60; /* 7 and 60 share no factor: each once, in another order */
        if (i % 3 == 0) (void)kp_invalidate(m->h->pool, m->lease[at].resource);
        kp_discard(&m->lease[at]);
    }
}

/* H13, B-INV-16: testConcurrentInvalidate */
static void H13_twenty_who_discard_the_same_sixty_must_destroy_sixty(void **state)
{
    static const char *const key[] = { "a", "b", "c" };
    static struct many m[20];
    struct house h;
    kp_sim_memory before;
    kp_options o = house_plan(&h, 7, "commons", NULL);
    char unknown[1000];
    unsigned i, k;
    (void)state;
    o.limits.max_live = 20;
    house_open(&h, &o);
    for (i = 0; i < 60; i++) {
        m[0].lease[i] = house_get(&h, key[i % 3]);
        house_exit(&m[0].lease[i]);
    }
    before = kp_sim_memory_read(h.sim);
    house_shuffle(&h, true);
    for (k = 0; k < 20; k++) {
        if (k) m[k] = m[0];
        m[k].h = &h;
        m[k].first = k * 13;
    }
    for (k = 0; k < 20; k++) (void)kp_sim_spawn(h.sim, discards_all, &m[k]);
    kp_sim_join(h.sim, 0);
    house_shuffle(&h, false);
    house_check(&h);
    HOUSE_IS(&h, house_cast(&h).destroys, 60);
    HOUSE_IS(&h, house_stats(&h, NULL).live, 0);
    HOUSE_IS(&h, house_stats(&h, NULL).misuses, 1140);
    for (i = 0; i < 1000; i++) HOUSE_IS(&h, kp_invalidate(h.pool, &unknown[i]), 0);
    HOUSE_HAS(&h, kp_sim_memory_read(h.sim).bytes <= before.bytes);
    house_close(&h);
}

/* ---- H14: a return that fails its check, with one who waits at capacity ---- */

static void returns_a_broken_one(bool by_reset)
{
    static const kp_line bad[] = { { .status = -1 }, { 0 } };
    const kp_script script = { .reset = by_reset ? bad : NULL, .validate = by_reset ? NULL : bad };
    struct visitor v = { 0 };
    struct house h;
    kp_lease lease;
    kp_options o = house_plan(&h, 1, "commons", &script);
    o.limits.max_live = 1;
    if (!by_reset) o.limits.validate_on = KP_CHECK_RETURN;
    house_open(&h, &o);
    lease = house_get(&h, "a");
    visitor_send(&h, &v, "a", KP_OFF);
    house_release(&h, &lease);
    visitor_end(&v);
    HOUSE_IS(&h, v.rc, 0);
    HOUSE_IS(&h, v.number, 2);
    HOUSE_IS(&h, house_stats(&h, "a").invalid, 1);
    HOUSE_IS(&h, house_cast(&h).most_live, 1);
    house_release(&h, &v.lease);
    house_close(&h);
}

/* H14 (R2D2-1), B-CHK-03, B-CB-10 */
static void H14_a_return_that_fails_its_check_must_let_who_waits_make_a_new_one(void **state)
{
    (void)state;
    returns_a_broken_one(true);
    returns_a_broken_one(false);
}

/* H14: then the check itself blocks */
static void H14_a_check_that_blocks_must_hold_up_no_other_key_and_no_deadline(void **state)
{
    static kp_gate gate;
    static const kp_line slow[] = { { .gate = &gate }, { 0 } };
    const kp_script script = { .reset = slow };
    struct visitor ends = { .stay_ms = 10 }, waits = { 0 };
    struct house h;
    kp_lease b;
    kp_options o = house_plan(&h, 1, "commons", &script);
    (void)state;
    gate = (kp_gate){ 0 };
    o.limits.max_live = 1;
    house_open(&h, &o);
    visitor_send(&h, &ends, "a", 0);
    visitor_send(&h, &waits, "a", 100);
    house_pass(&h, 20);
    HOUSE_IS(&h, gate.entered, 1);
    b = house_get(&h, "b");
    house_discard(&h, &b);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 20);
    visitor_end(&waits);
    HOUSE_IS(&h, waits.rc, KP_ETIMEDOUT);
    HOUSE_IS(&h, waits.answered_ms, 100);
    kp_gate_open(h.sim, &gate);
    visitor_end(&ends);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 1);
    house_close(&h);
}

/* ---- H15: one who waits for another key at the limit over all keys ---- */

static void frees_for_another(int64_t max_live)
{
    struct visitor w = { 0 };
    struct house h;
    kp_lease a[2];
    kp_options o = house_plan(&h, 1, "commons", NULL);
    o.limits.max_live = max_live;
    o.budget.max_live = 2;
    house_open(&h, &o);
    a[0] = house_get(&h, "a");
    a[1] = house_get(&h, "a");
    visitor_send(&h, &w, "b", KP_OFF);
    house_release(&h, &a[0]);
    visitor_end(&w);
    HOUSE_IS(&h, w.rc, 0);
    HOUSE_IS(&h, house_stats(&h, NULL).evicted, 1);
    house_discard(&h, &a[1]);
    HOUSE_IS(&h, house_stats(&h, NULL).live, 1);
    house_release(&h, &w.lease);
    house_close(&h);
}

/* H15 (ACP-1: an unlimited key starves the other) */
static void H15_a_return_at_the_limit_of_all_keys_must_serve_who_waits_for_another(void **state)
{
    (void)state;
    frees_for_another(KP_UNLIMITED);
    frees_for_another(2);
}

static void arrival_decides(bool a_first)
{
    struct visitor a = { 0 }, b = { 0 };
    struct house h;
    kp_lease lease[2];
    kp_options o = house_plan(&h, 1, "commons", NULL);
    o.limits.max_live = 2;
    o.budget.max_live = 2;
    o.budget.across = KP_ACROSS_ARRIVAL;
    house_open(&h, &o);
    lease[0] = house_get(&h, "a");
    lease[1] = house_get(&h, "a");
    if (a_first) visitor_send(&h, &a, "a", KP_OFF);
    visitor_send(&h, &b, "b", KP_OFF);
    if (!a_first) visitor_send(&h, &a, "a", KP_OFF);
    house_release(&h, &lease[0]);
    house_settle(&h);
    HOUSE_IS(&h, a.answered, a_first);
    HOUSE_IS(&h, b.answered, !a_first);
    if (a_first) HOUSE_IS(&h, a.number, 1);
    house_discard(&h, &lease[1]);
    house_settle(&h);
    HOUSE_IS(&h, a.rc + b.rc, 0);
    HOUSE_HAS(&h, a.answered && b.answered);
    HOUSE_IS(&h, house_cast(&h).most_live, 2);
    house_release(&h, &a.lease);
    house_release(&h, &b.lease);
    house_close(&h);
}

/* H15: waiters on both */
static void H15_at_the_limit_of_all_keys_arrival_must_decide_between_keys_if_asked(void **state)
{
    (void)state;
    arrival_decides(true);
    arrival_decides(false);
}

/* H15: with a limit on what is lent instead, nothing has to go */
static void H15_at_a_limit_on_what_is_lent_nobody_must_be_evicted(void **state)
{
    struct visitor w = { 0 };
    struct house h;
    kp_lease a[2];
    kp_options o = house_plan(&h, 1, "commons", NULL);
    (void)state;
    o.budget.max_lent = 2;
    house_open(&h, &o);
    a[0] = house_get(&h, "a");
    a[1] = house_get(&h, "a");
    visitor_send(&h, &w, "b", KP_OFF);
    house_release(&h, &a[0]);
    visitor_end(&w);
    HOUSE_IS(&h, w.rc, 0);
    HOUSE_IS(&h, house_stats(&h, NULL).evicted, 0);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 1);
    house_release(&h, &a[1]);
    house_release(&h, &w.lease);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(H9_who_wants_the_one_being_reaped_must_have_a_new_one_when_it_is_gone),
        cmocka_unit_test(H9_getters_and_the_keeper_must_never_both_have_the_same_one),
        cmocka_unit_test(H10_a_close_in_the_middle_of_reaping_must_lose_none_of_them),
        cmocka_unit_test(H11_who_discards_the_only_one_must_get_another_at_once),
        cmocka_unit_test(H11_who_only_marks_the_only_one_must_be_answered_by_the_deadline),
        cmocka_unit_test(H11_of_two_a_marked_one_must_leave_room_for_one_other),
        cmocka_unit_test(H12_of_a_release_and_a_discard_of_one_lease_exactly_one_must_count),
        cmocka_unit_test(H13_twenty_who_discard_the_same_sixty_must_destroy_sixty),
        cmocka_unit_test(H14_a_return_that_fails_its_check_must_let_who_waits_make_a_new_one),
        cmocka_unit_test(H14_a_check_that_blocks_must_hold_up_no_other_key_and_no_deadline),
        cmocka_unit_test(H15_a_return_at_the_limit_of_all_keys_must_serve_who_waits_for_another),
        cmocka_unit_test(H15_at_the_limit_of_all_keys_arrival_must_decide_between_keys_if_asked),
        cmocka_unit_test(H15_at_a_limit_on_what_is_lent_nobody_must_be_evicted),
    };
    return cmocka_run_group_tests_name("hard cases H9 to H15", tests, NULL, NULL);
}
