/* SPDX-License-Identifier: MIT
 *
 * The hard cases H1, a cancel and a hand-off, in each order of the two; and H4, gets that race with
 * a close, in random orders.
 */
#include "house.h"
#include "loop.h"

/* ---- H1: cancel against hand-off ---- */

enum h1_order { CANCEL_FIRST, RELEASE_FIRST, ANSWERED_FIRST };

static void cancel_meets_hand_off(enum h1_order order, bool queue)
{
    const kp_options one = { .limits = { .max_live = 1 } };
    struct stage s;
    struct ask a, b, c;

    stage_open(&s, NULL, &one);
    stage_start(&s, &a, "k", KP_OFF);
    stage_pass(&s, 0);
    stage_start(&s, &b, "k", KP_OFF);
    if (queue) stage_start(&s, &c, "k", KP_OFF);
    if (order == CANCEL_FIRST) kp_cancel(&b.request);
    kp_release(&a.lease);
    if (order == ANSWERED_FIRST) stage_pass(&s, 0);
    kp_cancel(&b.request);
    stage_pass(&s, 0);
    /* too late for a cancel: the lease is ours; else the next one has it, or it is idle */
    assert_int_equal(b.answers, order == ANSWERED_FIRST);
    assert_int_equal(stage_stats(&s).lent, b.answers || queue);
    assert_int_equal(stage_stats(&s).refusals, 1 - b.answers);
    if (b.answers) {
        assert_int_equal(b.status, 0);
        kp_release(&b.lease);
    }
    stage_pass(&s, 0);
    if (queue) {
        assert_int_equal(c.status, 0);
        kp_release(&c.lease);
    }
    assert_int_equal(kp_try_get(s.pool, kp_str("k"), &a.lease), 0);
    kp_release(&a.lease);
    assert_int_equal(stage_stats(&s).creates, 1);
    assert_int_equal(kp_sim_now_ms(s.sim), 0);
    stage_close(&s);
}

/* H1 */
static void H1_a_cancel_that_meets_its_hand_off_must_lose_neither(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) cancel_meets_hand_off((enum h1_order)(i / 2), i % 2);
}

/* ---- H4: get racing close ---- */

struct runner {
    struct house *h;
    const char *key;
    unsigned served;
    int rc;
    int64_t longest_ms;
    const bool *closed;
    bool served_after_close;
};

static void gets_until_it_is_closed(void *arg)
{
    struct runner *r = arg;
    struct house *h = r->h;
    for (;;) {
        bool closed = *r->closed;
        kp_lease lease;
        int64_t began = kp_sim_now_ms(h->sim);
        r->rc = kp_get(h->pool, kp_str(r->key), KP_IN_MS(50), &lease);
        if (kp_sim_now_ms(h->sim) - began > r->longest_ms)
            r->longest_ms = kp_sim_now_ms(h->sim) - began;
        if (r->rc) return;
        r->served++;
        if (closed) r->served_after_close = true;
        house_enter(&lease);
        kp_sim_pass_ms(h->sim, 1);
        house_exit(&lease);
        kp_release(&lease);
    }
}

static void gets_race_close(uint64_t seed, kp_close_mode mode)
{
    struct runner r[8] = { { 0 } };
    struct house h;
    bool closed = false;
    unsigned served = 0;
    kp_options o = house_plan(&h, seed, "commons", NULL);
    o.limits.max_live = 2;
    o.budget.max_live = 3;
    house_open(&h, &o);
    house_shuffle(&h, true);
    for (int i = 0; i < 8; i++) {
        r[i] = (struct runner){ .h = &h, .key = i % 2 ? "a" : "b", .closed = &closed };
        assert_true(kp_sim_spawn(h.sim, gets_until_it_is_closed, &r[i]) > 0);
    }
    kp_sim_pass_ms(h.sim, (int64_t)seed % 7);
    (void)kp_pool_close(h.pool, mode, 1000);
    closed = true;
    h.ended = true;
    kp_sim_join(h.sim, 0);
    for (int i = 0; i < 8; i++) {
        HOUSE_IS(&h, r[i].rc, KP_ECLOSED);
        HOUSE_HAS(&h, r[i].longest_ms <= 50);
        HOUSE_HAS(&h, !r[i].served_after_close);
        served += r[i].served;
    }
    if (seed % 7) HOUSE_HAS(&h, served > 0);
    house_close(&h);
}

/* H4 (RP-1, E3-2) */
static void H4_each_get_that_meets_a_close_must_end_and_none_succeed_after_it(void **state)
{
    (void)state;
    print_message("seeds 1 to 20\n");
    for (uint64_t seed = 1; seed <= 20; seed++) {
        gets_race_close(seed, KP_CLOSE_NOW);
        gets_race_close(seed, KP_CLOSE_WAIT);
        gets_race_close(seed, KP_CLOSE_DRAIN);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(H1_a_cancel_that_meets_its_hand_off_must_lose_neither),
        cmocka_unit_test(H4_each_get_that_meets_a_close_must_end_and_none_succeed_after_it),
    };
    return cmocka_run_group_tests_name("hard cases H1 and H4", tests, NULL, NULL);
}
