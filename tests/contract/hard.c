/* SPDX-License-Identifier: MIT
 *
 * The hard cases, H2 to H8: a deadline that races with a hand-off, close while others borrow and
 * wait, creates that fail or hang. Races run in a shuffled world, once for each seed. hard_2.c to
 * hard_6.c have the others; H25 is in tests/faults/fork.c.
 */
#include "house.h"

/* ---- H2: a time-out against a hand-off ---- */

struct late_release {
    struct house *h;
    kp_lease lease;
};

/* Its own get times out at the same moment as the one that it then serves: either may be first. */
static void releases_at_100(void *arg)
{
    struct late_release *late = arg;
    kp_lease none;
    int rc = kp_get(late->h->pool, kp_str("shut"), KP_IN_MS(100), &none);
    if (rc != KP_ETIMEDOUT) late->h->overlaps++;
    house_exit(&late->lease);
    kp_release(&late->lease);
}

static void shut_one_key(kp_key key, kp_limits *limits, void *ctx)
{
    (void)ctx;
    limits->max_live = key.size == 4 && !memcmp(key.data, "shut", 4) ? 0 : 1;
}

static void deadline_meets_release(uint64_t seed, bool release_first, bool another_behind)
{
    struct visitor b = { 0 }, c = { 0 };
    struct late_release late;
    struct house h;
    kp_options o = house_plan(&h, seed, "commons", NULL);
    int task;
    o.limits_for = shut_one_key;
    house_open(&h, &o);
    late.h = &h;
    late.lease = house_get(&h, "a");
    house_shuffle(&h, seed > 2);
    if (!release_first) visitor_send(&h, &b, "a", 100);
    task = kp_sim_spawn(h.sim, releases_at_100, &late);
    house_settle(&h);
    if (release_first) visitor_send(&h, &b, "a", 100);
    if (another_behind) visitor_send(&h, &c, "a", 1000);
    kp_sim_join(h.sim, task);
    visitor_end(&b);
    if (another_behind && b.rc == 0) house_release(&h, &b.lease);
    if (another_behind) visitor_end(&c);
    house_shuffle(&h, false);
    house_check(&h);
    HOUSE_HAS(&h, b.rc == 0 || b.rc == KP_ETIMEDOUT);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 100);
    if (another_behind) {
        HOUSE_IS(&h, c.rc, 0);
        house_release(&h, &c.lease);
    } else if (b.rc == 0) {
        HOUSE_IS(&h, house_stats(&h, "a").lent, 1);
        house_release(&h, &b.lease);
    }
    HOUSE_IS(&h, house_stats(&h, "a").idle, 1);
    HOUSE_IS(&h, house_cast(&h).creates, 1);
    house_close(&h);
}

/* H2 */
static void H2_a_deadline_that_meets_its_hand_off_must_lose_neither(void **state)
{
    uint64_t seed;
    (void)state;
    print_message("seeds 1 to 60\n");
    for (seed = 1; seed <= 60; seed++) {
        deadline_meets_release(seed, seed % 2, false);
        deadline_meets_release(seed, seed % 2, true);
    }
}

/* H2: sweep the offset */
static void H2_a_release_just_before_the_deadline_must_serve_and_just_after_must_not(void **state)
{
    int64_t at;
    (void)state;
    for (at = 98; at <= 102; at++) {
        struct visitor b = { 0 };
        struct house h;
        kp_lease lease;
        kp_options o = house_plan(&h, 1, "commons", NULL);
        o.limits.max_live = 1;
        house_open(&h, &o);
        lease = house_get(&h, "a");
        visitor_send(&h, &b, "a", 100);
        house_pass(&h, at);
        house_release(&h, &lease);
        house_settle(&h);
        HOUSE_IS(&h, b.rc, at < 100 ? 0 : KP_ETIMEDOUT);
        HOUSE_IS(&h, b.answered_ms, at < 100 ? at : 100);
        if (b.rc == 0) house_release(&h, &b.lease);
        HOUSE_IS(&h, house_stats(&h, "a").idle, 1);
        house_close(&h);
    }
}

/* ---- H3: close with waiters and borrowers present ---- */

struct closing {
    struct house *h;
    kp_close_mode mode;
    int64_t within_ms, out, at_ms;
    bool done;
};

static void closes(void *arg)
{
    struct closing *c = arg;
    c->out = kp_pool_close(c->h->pool, c->mode, c->within_ms);
    c->at_ms = kp_sim_now_ms(c->h->sim);
    c->done = true;
}

struct crowd {
    struct house h;
    kp_lease lent[6];
    struct visitor waits[20];
    struct closing closing;
};

static void crowd_gathers(struct crowd *c, kp_close_mode mode)
{
    kp_options o = house_plan(&c->h, 1, "commons", NULL);
    int i;
    o.limits.max_live = 3;
    house_open(&c->h, &o);
    for (i = 0; i < 6; i++) c->lent[i] = house_get(&c->h, i % 2 ? "a" : "b");
    for (i = 0; i < 20; i++) {
        c->waits[i].stay_ms = KP_NONE;
        visitor_send(&c->h, &c->waits[i], i % 2 ? "a" : "b", i % 4 < 2 ? KP_OFF : 5000);
    }
    HOUSE_IS(&c->h, house_stats(&c->h, NULL).waiting, 20);
    c->closing.h = &c->h;
    c->closing.mode = mode;
    c->closing.within_ms = 10000;
    c->h.ended = true;
    (void)kp_sim_spawn(c->h.sim, closes, &c->closing);
    (void)kp_sim_settle(c->h.sim);
}

/* H3: wait_leases */
static void H3_close_that_waits_must_send_the_queue_away_and_end_with_the_last_lease(void **state)
{
    struct crowd c = { 0 };
    int i;
    (void)state;
    crowd_gathers(&c, KP_CLOSE_WAIT);
    for (i = 0; i < 20; i++) {
        HOUSE_IS(&c.h, c.waits[i].rc, KP_ECLOSED);
        HOUSE_IS(&c.h, c.waits[i].answered_ms, 0);
    }
    for (i = 0; i < 6; i++) {
        HOUSE_HAS(&c.h, !c.closing.done);
        kp_sim_pass_ms(c.h.sim, 10);
        house_release(&c.h, &c.lent[i]);
        HOUSE_IS(&c.h, house_cast(&c.h).destroys, i + 1);
        (void)kp_sim_settle(c.h.sim);
    }
    HOUSE_HAS(&c.h, c.closing.done);
    HOUSE_IS(&c.h, c.closing.out, 0);
    HOUSE_IS(&c.h, c.closing.at_ms, 60);
    house_close(&c.h);
}

/* H3: immediate */
static void H3_close_now_must_say_how_many_are_out_and_destroy_them_as_they_come_back(void **state)
{
    struct crowd c = { 0 };
    int i;
    (void)state;
    crowd_gathers(&c, KP_CLOSE_NOW);
    HOUSE_HAS(&c.h, c.closing.done);
    HOUSE_IS(&c.h, c.closing.out, 6);
    for (i = 0; i < 20; i++) HOUSE_IS(&c.h, c.waits[i].rc, KP_ECLOSED);
    for (i = 0; i < 6; i++) {
        house_release(&c.h, &c.lent[i]);
        HOUSE_IS(&c.h, house_cast(&c.h).destroys, i + 1);
    }
    house_close(&c.h);
}

/* H3: drain */
static void H3_close_that_drains_must_serve_the_queue_first_and_take_no_newcomer(void **state)
{
    struct crowd c = { 0 };
    kp_lease late;
    int i;
    (void)state;
    crowd_gathers(&c, KP_CLOSE_DRAIN);
    for (i = 0; i < 20; i++) HOUSE_HAS(&c.h, !c.waits[i].answered);
    HOUSE_IS(&c.h, kp_get(c.h.pool, kp_str("a"), NULL, &late), KP_ECLOSED);
    HOUSE_HAS(&c.h, !c.closing.done);
    for (i = 0; i < 6; i++) house_release(&c.h, &c.lent[i]);
    (void)kp_sim_settle(c.h.sim);
    for (i = 0; i < 20; i++) HOUSE_IS(&c.h, c.waits[i].rc, 0);
    HOUSE_HAS(&c.h, c.closing.done);
    HOUSE_IS(&c.h, c.closing.out, 0);
    HOUSE_IS(&c.h, house_cast(&c.h).creates, 6);
    house_close(&c.h);
}

/* H3 and D10: any mode becomes "now" at its deadline; B-MIS-09: a borrower that closes waits for
 * itself, until then */
static void H3_close_that_waits_must_end_at_its_deadline_and_say_what_is_out(void **state)
{
    struct house h;
    kp_lease lease;
    kp_options o = house_plan(&h, 1, "commons", NULL);
    (void)state;
    house_open(&h, &o);
    lease = house_get(&h, "a");
    HOUSE_IS(&h, kp_pool_close(h.pool, KP_CLOSE_WAIT, 100), 1);
    h.ended = true;
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 100);
    house_release(&h, &lease);
    house_close(&h);
}

/* ---- H5: a release, a close, and one who waits for another key ---- */

static void gives_back(void *arg)
{
    struct late_release *late = arg;
    house_exit(&late->lease);
    kp_release(&late->lease);
}

/* H5 (ACP-8) */
static void H5_nothing_made_while_the_pool_closes_must_be_left_behind(void **state)
{
    uint64_t seed;
    unsigned served = 0;
    (void)state;
    print_message("seeds 1 to 200\n");
    for (seed = 1; seed <= 200; seed++) {
        struct visitor w = { .stay_ms = KP_NONE };
        struct late_release late;
        struct closing c = { .mode = KP_CLOSE_NOW, .within_ms = 1000 };
        struct house h;
        kp_options o = house_plan(&h, seed, "commons", NULL);
        o.budget.max_live = 1;
        house_open(&h, &o);
        late.h = c.h = &h;
        late.lease = house_get(&h, "a");
        visitor_send(&h, &w, "b", KP_OFF);
        h.ended = true;
        house_shuffle(&h, true);
        (void)kp_sim_spawn(h.sim, gives_back, &late);
        (void)kp_sim_spawn(h.sim, closes, &c);
        kp_sim_join(h.sim, 0);
        house_shuffle(&h, false);
        HOUSE_HAS(&h, w.rc == 0 || w.rc == KP_ECLOSED);
        HOUSE_HAS(&h, house_cast(&h).most_live <= 1);
        served += w.rc == 0;
        house_close(&h);
    }
    print_message("%u of 200 were served before the close\n", served);
}

/* ---- H6: a create in flight when the pool closes ---- */

static void closes_during_create(int64_t takes_ms)
{
    static kp_gate gate;
    const kp_line lines[] = { { .takes_ms = takes_ms, .gate = &gate }, { 0 } };
    const kp_script script = { .create = lines };
    struct visitor b = { 0 };
    struct house h;
    kp_options o = house_plan(&h, 1, "commons", &script);
    gate = (kp_gate){ 0 };
    house_open(&h, &o);
    visitor_send(&h, &b, "a", KP_OFF);
    house_pass(&h, 5);
    HOUSE_IS(&h, gate.entered, 1);
    HOUSE_IS(&h, kp_pool_close(h.pool, KP_CLOSE_NOW, 100), 1);
    h.ended = true;
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 5);
    (void)kp_sim_settle(h.sim);
    HOUSE_IS(&h, b.answered, takes_ms > 0); /* a thread that runs create can't leave it */
    kp_gate_open(h.sim, &gate);
    kp_sim_join(h.sim, 0);
    (void)kp_sim_settle(h.sim);
    HOUSE_IS(&h, b.rc, KP_ECLOSED);
    HOUSE_IS(&h, house_cast(&h).creates, 1);
    HOUSE_IS(&h, house_cast(&h).destroys, 1);
    house_close(&h);
}

/* H6 */
static void H6_one_made_after_the_close_must_be_destroyed_once_and_lent_to_nobody(void **state)
{
    (void)state;
    closes_during_create(1);
    closes_during_create(0);
}

/* ---- H7: a failing create with several who wait ---- */

/* H7 (APR-1, R2D2-1) */
static void H7_each_who_waits_behind_a_failing_create_must_have_a_try_of_its_own(void **state)
{
    static kp_gate gate;
    static const kp_line lines[] = { { .gate = &gate, .status = -11 }, { .status = -12 }, { 0 } };
    const kp_script script = { .create = lines };
    struct visitor g[3] = { { 0 } };
    struct house h;
    kp_options o = house_plan(&h, 1, "commons", &script);
    int i;
    (void)state;
    gate = (kp_gate){ 0 };
    o.limits.max_live = 1;
    house_open(&h, &o);
    for (i = 0; i < 3; i++) visitor_send(&h, &g[i], "a", KP_OFF);
    HOUSE_IS(&h, house_stats(&h, "a").creating, 1);
    HOUSE_IS(&h, house_stats(&h, "a").waiting, 2);
    kp_gate_open(h.sim, &gate);
    house_settle(&h);
    HOUSE_IS(&h, g[0].rc, KP_ECREATE);
    HOUSE_IS(&h, g[0].why.vendor_code, -11);
    HOUSE_IS(&h, g[1].rc, KP_ECREATE);
    HOUSE_IS(&h, g[1].why.vendor_code, -12);
    HOUSE_IS(&h, g[2].rc, 0);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 0);
    house_release(&h, &g[2].lease);
    house_close(&h);
}

/* H7: max 2 and two failing creates at once */
static void H7_two_creates_that_fail_at_once_must_let_two_others_try(void **state)
{
    static kp_gate gate;
    static const kp_line lines[] = { { .gate = &gate, .status = -11, .times = 2 }, { 0 } };
    const kp_script script = { .create = lines };
    struct visitor g[4] = { { 0 } };
    struct house h;
    kp_options o = house_plan(&h, 1, "commons", &script);
    int i;
    (void)state;
    gate = (kp_gate){ 0 };
    o.limits.max_live = 2;
    house_open(&h, &o);
    for (i = 0; i < 4; i++) visitor_send(&h, &g[i], "a", KP_OFF);
    HOUSE_IS(&h, house_stats(&h, "a").creating, 2);
    kp_gate_open(h.sim, &gate);
    house_settle(&h);
    for (i = 0; i < 4; i++) HOUSE_IS(&h, g[i].rc, i < 2 ? KP_ECREATE : 0);
    house_release(&h, &g[2].lease);
    house_release(&h, &g[3].lease);
    house_close(&h);
}

/* H7: a failing destroy in place of a failing create */
static void H7_a_destroy_that_fails_must_make_room_for_who_waits_all_the_same(void **state)
{
    static const kp_line fails[] = { { .status = -1, .times = KP_OFF }, { 0 } };
    const kp_script script = { .destroy = fails };
    struct visitor g = { 0 };
    struct house h;
    kp_lease lease;
    kp_options o = house_plan(&h, 1, "commons", &script);
    (void)state;
    o.limits.max_live = 1;
    house_open(&h, &o);
    lease = house_get(&h, "a");
    visitor_send(&h, &g, "a", KP_OFF);
    house_discard(&h, &lease);
    visitor_end(&g);
    HOUSE_IS(&h, g.rc, 0);
    HOUSE_IS(&h, g.number, 2);
    house_release(&h, &g.lease);
    house_close(&h);
}

/* ---- H8: a create that hangs ---- */

/* H8 (ACP-6, E3-7, E3-11). Ours is stricter than the case: what the second create made goes to the
 * request that came first, although its own create hangs; the second one has what that one returns.
 */
static void H8_a_create_that_hangs_must_hold_up_nobody_and_count_as_one(void **state)
{
    static kp_gate gate;
    static const kp_line lines[] = { { .takes_ms = 1, .gate = &gate },
                                     { .takes_ms = 1, .times = KP_OFF },
                                     { 0 } };
    const kp_script script = { .create = lines };
    struct visitor g1 = { .stay_ms = 49 }, g2 = { 0 }, g3 = { 0 }, g4 = { 0 }, g5 = { 0 };
    struct house h;
    kp_options o = house_plan(&h, 1, "commons", &script);
    (void)state;
    gate = (kp_gate){ 0 };
    o.limits.max_live = 2;
    o.budget.max_live = 3;
    house_open(&h, &o);
    visitor_send(&h, &g1, "a", 300);
    visitor_send(&h, &g2, "a", 300);
    house_pass(&h, 10);
    HOUSE_HAS(&h, g1.answered && !g2.answered);
    HOUSE_IS(&h, g1.answered_ms, 1);
    visitor_end(&g2);
    HOUSE_IS(&h, g2.rc, 0);
    HOUSE_IS(&h, g2.answered_ms, 50);
    visitor_send(&h, &g4, "b", 100);
    house_pass(&h, 2);
    HOUSE_IS(&h, g4.rc, 0);
    visitor_send(&h, &g5, "c", 20); /* 2 of a, one of them hung, and 1 of b: that is 3 */
    visitor_send(&h, &g3, "a", 300);
    house_pass(&h, 28);
    HOUSE_IS(&h, g5.rc, KP_ETIMEDOUT);
    house_release(&h, &g2.lease);
    visitor_end(&g3);
    HOUSE_IS(&h, g3.answered_ms, 80);
    kp_gate_open(h.sim, &gate);
    house_settle(&h);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 1);
    HOUSE_IS(&h, house_cast(&h).most_live, 3);
    house_release(&h, &g3.lease);
    house_release(&h, &g4.lease);
    house_close(&h);
}

/* H8: at the latest at its deadline it fails */
static void H8_who_waits_for_a_create_that_hangs_must_fail_at_its_deadline(void **state)
{
    static kp_gate gate;
    static const kp_line lines[] = { { .takes_ms = 1, .gate = &gate }, { 0 } };
    const kp_script script = { .create = lines };
    struct house h;
    kp_lease lease;
    kp_options o = house_plan(&h, 1, "commons", &script);
    (void)state;
    gate = (kp_gate){ 0 };
    o.limits.max_live = 1;
    house_open(&h, &o);
    HOUSE_IS(&h, house_fails(&h, "a", 300), KP_ETIMEDOUT);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 300);
    HOUSE_IS(&h, h.why.creating, 1);
    kp_gate_open(h.sim, &gate);
    house_settle(&h);
    HOUSE_IS(&h, house_try(&h, "a", &lease), 0);
    house_release(&h, &lease);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(H2_a_deadline_that_meets_its_hand_off_must_lose_neither),
        cmocka_unit_test(H2_a_release_just_before_the_deadline_must_serve_and_just_after_must_not),
        cmocka_unit_test(H3_close_that_waits_must_send_the_queue_away_and_end_with_the_last_lease),
        cmocka_unit_test(H3_close_now_must_say_how_many_are_out_and_destroy_them_as_they_come_back),
        cmocka_unit_test(H3_close_that_drains_must_serve_the_queue_first_and_take_no_newcomer),
        cmocka_unit_test(H3_close_that_waits_must_end_at_its_deadline_and_say_what_is_out),
        cmocka_unit_test(H5_nothing_made_while_the_pool_closes_must_be_left_behind),
        cmocka_unit_test(
            H6_one_made_after_the_close_must_be_destroyed_once_and_lent_to_nobody),
        cmocka_unit_test(H7_each_who_waits_behind_a_failing_create_must_have_a_try_of_its_own),
        cmocka_unit_test(H7_two_creates_that_fail_at_once_must_let_two_others_try),
        cmocka_unit_test(H7_a_destroy_that_fails_must_make_room_for_who_waits_all_the_same),
        cmocka_unit_test(H8_a_create_that_hangs_must_hold_up_nobody_and_count_as_one),
        cmocka_unit_test(H8_who_waits_for_a_create_that_hangs_must_fail_at_its_deadline),
    };
    return cmocka_run_group_tests_name("hard cases H2 to H8", tests, NULL, NULL);
}
