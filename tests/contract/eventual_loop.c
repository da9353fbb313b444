/* SPDX-License-Identifier: MIT
 *
 * KP_EVENTUAL and event loops: a loop's request has no thread that could come and take what was
 * left to it, so what comes back is handed to it, in its turn.
 */
#include "loop.h"

static const kp_options one = { .limits = { .max_live = 1, .wait_order = KP_EVENTUAL } };

static void a_loops_request_must_be_handed_what_comes_back(void **state)
{
    struct stage s;
    struct ask a[2];
    kp_lease lease, other;

    (void)state;
    stage_open(&s, NULL, &one);
    assert_int_equal(kp_get(s.pool, kp_str("k"), NULL, &lease), 0);
    for (int i = 0; i < 2; i++) {
        stage_start(&s, &a[i], "k", 1000);
        a[i].number = i;
        a[i].give_back = true;
    }
    kp_release(&lease);
    assert_int_equal(kp_try_get(s.pool, kp_str("k"), &other), KP_EAGAIN); /* nothing is idle */
    stage_pass(&s, 0);
    assert_int_equal(s.done, 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(a[i].status, 0);
        assert_int_equal(s.order[i], i);
        assert_int_equal(a[i].at_ms, 0);
    }
    stage_close(&s);
}

struct thread {
    struct stage *stage;
    int rc;
    int64_t at_ms;
};

static void get_and_release(void *arg)
{
    struct thread *t = arg;
    kp_lease lease;

    t->rc = kp_get(t->stage->pool, kp_str("k"), KP_IN_S(1), &lease);
    t->at_ms = kp_sim_now_ms(t->stage->sim);
    if (t->rc == 0) kp_release(&lease);
}

/* A thread is ahead of it: what comes back is left to that thread, or a faster one; not to it. */
static void threads_and_loops_must_both_be_served(void **state)
{
    struct stage s;
    struct ask a;
    struct thread before = { .stage = &s, .rc = 1 }, behind = before;
    kp_lease lease;

    (void)state;
    stage_open(&s, NULL, &one);
    assert_int_equal(kp_get(s.pool, kp_str("k"), NULL, &lease), 0);
    assert_true(kp_sim_spawn(s.sim, get_and_release, &before) > 0);
    kp_sim_pass_ms(s.sim, 1);
    stage_start(&s, &a, "k", 1000);
    a.give_back = true;
    assert_true(kp_sim_spawn(s.sim, get_and_release, &behind) > 0);
    kp_sim_pass_ms(s.sim, 1);
    assert_int_equal(stage_stats(&s).waiting, 3);
    kp_release(&lease);
    stage_pass(&s, 1);
    assert_int_equal(before.rc, 0);
    assert_int_equal(a.status, 0);
    assert_int_equal(behind.rc, 0);
    assert_int_equal(before.at_ms, 2);
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loops_request_must_be_handed_what_comes_back),
        cmocka_unit_test(threads_and_loops_must_both_be_served),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
