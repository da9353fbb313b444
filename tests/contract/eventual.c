/* SPDX-License-Identifier: MIT
 *
 * KP_EVENTUAL in virtual time: a borrower may get again before those that wait, but not for ever;
 * and nothing that was given back stays idle while a request waits for it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "keyedpool_test.h"

enum { MOST_MS = 20, TASKS = 16 };

struct stage {
    kp_sim *sim;
    kp_cast *cast;
    kp_pool *pool;
    int64_t until_ms, hold_ms;
    int64_t gets; /* of all */
};

struct task {
    struct stage *stage;
    int64_t within_ms;
    /* what came of it */
    int rc;
    int64_t gets, longest_ms, passed; /* gets of others during the longest wait */
};

static void open_with(struct stage *s, uint64_t seed, kp_limits limits)
{
    *s = (struct stage){ .hold_ms = 1 };
    assert_int_equal(kp_sim_open(seed, &s->sim), 0);
    assert_int_equal(kp_cast_open(&(const kp_script){ .sim = s->sim }, &s->cast), 0);
    kp_options options = { .driver = kp_cast_driver(s->cast),
                           .world = kp_sim_world(s->sim),
                           .limits = limits };
    assert_int_equal(kp_pool_open(&options, &s->pool), 0);
}

static void open_stage(struct stage *s, uint64_t seed, int64_t max_live, int32_t order)
{
    open_with(s, seed, (kp_limits){ .max_live = max_live, .wait_order = order });
}

static void close_stage(struct stage *s)
{
    assert_int_equal(kp_pool_close(s->pool, KP_CLOSE_WAIT, KP_SECONDS(60)), 0);
    kp_cast_close(s->cast);
    assert_int_equal(kp_sim_close(s->sim), 0);
}

/* Borrow without pause. */
static void trade(void *arg)
{
    struct task *t = arg;
    struct stage *s = t->stage;
    kp_lease lease;

    while (kp_sim_now_ms(s->sim) < s->until_ms) {
        int64_t asked = kp_sim_now_ms(s->sim), before = s->gets;
        t->rc = kp_get(s->pool, kp_str("a"), KP_ASK(.within_ms = KP_OFF), &lease);
        if (t->rc != 0) return;
        int64_t waited = kp_sim_now_ms(s->sim) - asked;
        if (waited > t->longest_ms) {
            t->longest_ms = waited;
            t->passed = s->gets - before;
        }
        s->gets++;
        t->gets++;
        kp_sim_pass_ms(s->sim, s->hold_ms);
        kp_release(&lease);
    }
}

static void get_once(void *arg)
{
    struct task *t = arg;
    kp_lease lease;
    int64_t asked = kp_sim_now_ms(t->stage->sim);

    t->rc = kp_get(t->stage->pool, kp_str("a"), KP_ASK(.within_ms = t->within_ms), &lease);
    t->longest_ms = kp_sim_now_ms(t->stage->sim) - asked;
    if (t->rc == 0) kp_release(&lease);
}

static void start(struct stage *s, void (*what)(void *), int64_t within_ms, struct task *task)
{
    *task = (struct task){ .stage = s, .within_ms = within_ms };
    assert_true(kp_sim_spawn(s->sim, what, task) > 0);
}

static void run(struct stage *s, struct task *tasks, int count)
{
    s->until_ms = kp_sim_now_ms(s->sim) + 2000;
    for (int i = 0; i < count; i++) start(s, trade, 0, &tasks[i]);
    kp_sim_join(s->sim, 0);
    for (int i = 0; i < count; i++) assert_int_equal(tasks[i].rc, 0);
}

/* ---- the bound ------------------------------------------------------------------------------- */

static void nobody_must_be_passed_for_longer_than_is_said(void **state)
{
    static const struct { int live, tasks; } cases[] = { { 1, 2 }, { 1, 4 }, { 2, 3 }, { 3, 9 } };

    (void)state;
    print_message("seeds 1 to 10\n");
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (uint64_t seed = 1; seed <= 10; seed++) {
            struct task tasks[TASKS];
            struct stage s;
            int64_t passed = 0, least = INT64_MAX, most = 0;
            open_stage(&s, seed, cases[c].live, KP_EVENTUAL);
            run(&s, tasks, cases[c].tasks);
            for (int i = 0; i < cases[c].tasks; i++) {
                /* then those before it, in order */
                assert_in_range(tasks[i].longest_ms, 0, MOST_MS + cases[c].tasks);
                if (tasks[i].passed > passed) passed = tasks[i].passed;
                if (tasks[i].gets < least) least = tasks[i].gets;
                if (tasks[i].gets > most) most = tasks[i].gets;
            }
            assert_true(passed > cases[c].tasks); /* they do get again before others */
            assert_true(least * 10 > most * 7);
            close_stage(&s);
        }
}

static void in_order_nobody_must_be_passed(void **state)
{
    struct task tasks[TASKS];
    struct stage s;

    (void)state;
    open_stage(&s, 1, 1, KP_FIFO);
    run(&s, tasks, 4);
    for (int i = 0; i < 4; i++) assert_in_range(tasks[i].passed, 0, 3);
    close_stage(&s);
}

/* With holds longer than a turn, each return is handed over in order. */
static void long_holds_must_be_served_in_order(void **state)
{
    struct task tasks[TASKS];
    struct stage s;

    (void)state;
    open_stage(&s, 1, 1, KP_EVENTUAL);
    s.hold_ms = MOST_MS;
    run(&s, tasks, 4);
    for (int i = 0; i < 4; i++) assert_in_range(tasks[i].longest_ms, 0, 3 * MOST_MS);
    close_stage(&s);
}

/* ---- nobody sleeps beside what is idle ------------------------------------------------------- */

/* The only one is lent, and one task waits for it. */
static void lend_and_wait(struct stage *s, int64_t ms, kp_lease *lease, struct task *waiter)
{
    assert_int_equal(kp_get(s->pool, kp_str("a"), NULL, lease), 0);
    start(s, get_once, 1000, waiter);
    kp_sim_pass_ms(s->sim, ms);
}

/* It comes back, and the task has it. */
static void end_wait(struct stage *s, kp_lease *lease, struct task *waiter)
{
    kp_release(lease);
    kp_sim_join(s->sim, 0);
    assert_int_equal(waiter->rc, 0);
}

static void who_waits_alone_must_have_what_came_back_at_once(void **state)
{
    struct task waiter;
    struct stage s;
    kp_lease lease;

    (void)state;
    open_stage(&s, 1, 1, KP_EVENTUAL);
    lend_and_wait(&s, 1, &lease, &waiter);
    end_wait(&s, &lease, &waiter);
    assert_int_equal(waiter.longest_ms, 1);
    close_stage(&s);
}

static void what_may_not_stay_idle_must_be_handed_over(void **state)
{
    struct task waiter;
    struct stage s;
    kp_lease lease;

    (void)state;
    open_with(&s, 1, (kp_limits){ .max_live = 1, .max_idle = KP_NONE, .wait_order = KP_EVENTUAL });
    lend_and_wait(&s, 1, &lease, &waiter);
    end_wait(&s, &lease, &waiter);
    assert_int_equal(kp_cast_read(s.cast).creates, 1);
    close_stage(&s);
}

/* What was left to it is taken before it runs, and given back a moment later. */
static void who_was_too_late_must_look_again(void **state)
{
    struct task waiter;
    struct stage s;
    kp_lease lease;

    (void)state;
    open_stage(&s, 1, 1, KP_EVENTUAL);
    lend_and_wait(&s, 0, &lease, &waiter);
    kp_release(&lease);
    assert_int_equal(kp_get(s.pool, kp_str("a"), NULL, &lease), 0);
    kp_sim_pass_ms(s.sim, 1);
    end_wait(&s, &lease, &waiter);
    assert_in_range(waiter.longest_ms, 1, 2);
    close_stage(&s);
}

static void a_deadline_must_hold_while_others_pass(void **state)
{
    (void)state;
    print_message("seeds 1 to 50\n");
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct task tasks[3];
        struct stage s;
        open_stage(&s, seed, 1, KP_EVENTUAL);
        s.until_ms = 50;
        for (int i = 0; i < 3; i++) start(&s, i == 0 ? trade : get_once, 2, &tasks[i]);
        kp_sim_join(s.sim, 0);
        for (int i = 1; i < 3; i++) {
            if (tasks[i].rc != 0) assert_int_equal(tasks[i].rc, KP_ETIMEDOUT);
            assert_in_range(tasks[i].longest_ms, 0, 2);
        }
        close_stage(&s);
    }
}

/* One task closes, each that waits is told, wherever it stands. */
static void a_close_must_find_who_was_offered_something(void **state)
{
    (void)state;
    print_message("seeds 1 to 50\n");
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct task tasks[4];
        struct stage s;
        open_stage(&s, seed, 1, KP_EVENTUAL);
        s.until_ms = 1000;
        for (int i = 0; i < 4; i++) start(&s, trade, 0, &tasks[i]);
        kp_sim_pass_ms(s.sim, (int64_t)(seed % 9));
        close_stage(&s);
        for (int i = 0; i < 4; i++) assert_int_equal(tasks[i].rc, KP_ECLOSED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_must_be_passed_for_longer_than_is_said),
        cmocka_unit_test(in_order_nobody_must_be_passed),
        cmocka_unit_test(long_holds_must_be_served_in_order),
        cmocka_unit_test(who_waits_alone_must_have_what_came_back_at_once),
        cmocka_unit_test(what_may_not_stay_idle_must_be_handed_over),
        cmocka_unit_test(who_was_too_late_must_look_again),
        cmocka_unit_test(a_deadline_must_hold_while_others_pass),
        cmocka_unit_test(a_close_must_find_who_was_offered_something),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
