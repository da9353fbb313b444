/* SPDX-License-Identifier: MIT
 *
 * Tests of the test kit itself: tasks, the clock, gates, deadlocks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dies.h"
#include "keyedpool_test.h"

#include <pthread.h>

/* ---- a log of who did what ---- */

static kp_sim *sim;
static char log_text[4096];
static kp_gate gate;

static void note(const char *name)
{
    size_t used = strlen(log_text);

    snprintf(log_text + used, sizeof log_text - used, "%s@%d ", name, (int)kp_sim_now_ms(sim));
}

static void open_sim(uint64_t seed)
{
    log_text[0] = '\0';
    gate = (kp_gate){ 0, 0 };
    assert_int_equal(kp_sim_open(seed, &sim), 0);
}

static void close_sim(void)
{
    assert_int_equal(kp_sim_close(sim), 0);
    sim = NULL;
}

static int start(void (*fn)(void *), const char *name)
{
    int task = kp_sim_spawn(sim, fn, (void *)(uintptr_t)name);

    assert_true(task > 0);
    return task;
}

static void only_note(void *name)
{
    note(name);
}

static void pass_10(void *name)
{
    kp_sim_pass_ms(sim, 10);
    note(name);
}

static void pass_20(void *name)
{
    kp_sim_pass_ms(sim, 20);
    note(name);
}

static void pass_gate(void *name)
{
    kp_gate_pass(sim, &gate);
    note(name);
}

/* ---- tasks ---- */

static void tasks_must_run_first_come_first_served(void **state)
{
    (void)state;
    open_sim(1);
    for (const char *name = "a\0b\0c\0d\0"; *name; name += 2) {
        start(only_note, name);
    }
    kp_sim_join(sim, 0);
    assert_string_equal(log_text, "a@0 b@0 c@0 d@0 ");
    close_sim();
}

static void a_task_must_not_run_before_its_starter_gives_way(void **state)
{
    (void)state;
    open_sim(1);

    int task = start(only_note, "task");

    note("starter");
    assert_false(kp_sim_ended(sim, task));
    kp_sim_settle(sim);
    assert_true(kp_sim_ended(sim, task));
    assert_string_equal(log_text, "starter@0 task@0 ");
    close_sim();
}

static void join_must_wait_for_the_end_of_one_task(void **state)
{
    (void)state;
    open_sim(1);

    int longer = start(pass_20, "longer");
    int shorter = start(pass_10, "shorter");

    kp_sim_join(sim, shorter);
    assert_true(kp_sim_ended(sim, shorter));
    assert_false(kp_sim_ended(sim, longer));
    assert_int_equal(kp_sim_now_ms(sim), 10);
    kp_sim_join(sim, longer);
    assert_int_equal(kp_sim_now_ms(sim), 20);
    close_sim();
}

static void start_two_and_join_all(void *name)
{
    start(pass_10, "b");
    start(pass_20, "c");
    kp_sim_join(sim, 0);
    note(name);
}

static void join_of_all_must_wait_for_all_but_the_caller(void **state)
{
    (void)state;
    open_sim(1);
    start(start_two_and_join_all, "a");
    kp_sim_join(sim, 0);
    assert_string_equal(log_text, "b@10 c@20 a@20 ");
    assert_true(kp_sim_ended(sim, 0));
    close_sim();
}

static void close_must_join_all_tasks(void **state)
{
    (void)state;
    open_sim(1);
    start(pass_10, "a");

    close_sim();
    assert_string_equal(log_text, "a@10 ");
}

static void thousands_of_tasks_must_be_able_to_come_and_go(void **state)
{
    (void)state;
    open_sim(1);
    for (int i = 0; i < 3000; i++) {
        int task = start(pass_10, "");

        log_text[0] = '\0';
        kp_sim_join(sim, task);
    }
    assert_int_equal(kp_sim_now_ms(sim), 30000);
    close_sim();
}

static void two_sims_of_one_thread_must_not_mix(void **state)
{
    kp_sim *other;

    (void)state;
    open_sim(1);
    assert_int_equal(kp_sim_open(2, &other), 0);
    kp_sim_pass_ms(other, 70);
    kp_sim_pass_ms(sim, 5);
    assert_int_equal(kp_sim_now_ms(other), 70);
    assert_int_equal(kp_sim_now_ms(sim), 5);
    assert_int_equal(kp_sim_close(other), 0);
    close_sim();
}

/* ---- time ---- */

static void passing_time_must_stop_the_clock_exactly_there(void **state)
{
    (void)state;
    open_sim(1);
    assert_int_equal(kp_sim_now_ms(sim), 0);
    kp_sim_pass_ms(sim, 15);
    assert_int_equal(kp_sim_now_ms(sim), 15);
    kp_sim_pass_ms(sim, 0);
    assert_int_equal(kp_sim_now_ms(sim), 15);
    close_sim();
}

static void what_is_due_first_must_happen_first(void **state)
{
    (void)state;
    open_sim(1);
    start(pass_20, "later");
    start(pass_10, "earlier");
    kp_sim_pass_ms(sim, 15);
    assert_string_equal(log_text, "earlier@10 ");
    kp_sim_pass_ms(sim, 15);
    assert_string_equal(log_text, "earlier@10 later@20 ");
    close_sim();
}

static void the_first_task_must_see_what_was_due_at_the_same_moment(void **state)
{
    (void)state;
    open_sim(1);
    start(pass_10, "a");
    start(pass_10, "b");
    kp_sim_pass_ms(sim, 10);
    assert_string_equal(log_text, "a@10 b@10 ");
    close_sim();
}

static void settle_must_let_no_time_go_by_and_count_who_waits(void **state)
{
    (void)state;
    open_sim(1);
    start(pass_10, "time");
    start(pass_gate, "gate");
    start(only_note, "now");
    assert_int_equal(kp_sim_settle(sim), 2);
    assert_string_equal(log_text, "now@0 ");
    assert_int_equal(gate.entered, 1);
    kp_gate_open(sim, &gate);
    assert_int_equal(kp_sim_settle(sim), 1);
    assert_int_equal(kp_sim_now_ms(sim), 0);
    kp_sim_join(sim, 0);
    assert_int_equal(kp_sim_settle(sim), 0);
    close_sim();
}

static int settled_with;

static void settle_too(void *arg)
{
    (void)arg;
    settled_with = kp_sim_settle(sim);
}

static void two_that_settle_must_count_each_other(void **state)
{
    (void)state;
    open_sim(1);
    start(settle_too, "");
    assert_int_equal(kp_sim_settle(sim), 1);
    kp_sim_join(sim, 0);
    assert_int_equal(settled_with, 1);
    close_sim();
}

/* ---- gates ---- */

static void a_gate_must_hold_until_it_opens_and_then_hold_nobody(void **state)
{
    (void)state;
    open_sim(1);
    start(pass_gate, "a");
    start(pass_gate, "b");
    kp_sim_pass_ms(sim, 30);
    assert_int_equal(gate.entered, 2);
    assert_string_equal(log_text, "");
    kp_gate_open(sim, &gate);
    start(pass_gate, "c");
    kp_sim_join(sim, 0);
    assert_string_equal(log_text, "a@30 b@30 c@30 ");
    assert_int_equal(gate.entered, 3);
    close_sim();
}

/* ---- shuffle ---- */

static void shuffled_run(uint64_t seed, char *order)
{
    open_sim(seed);
    kp_sim_shuffle(sim, true);
    for (const char *name = "a\0b\0c\0d\0e\0f\0g\0h\0"; *name; name += 2) {
        start(only_note, name);
    }
    kp_sim_join(sim, 0);
    strcpy(order, log_text);
    close_sim();
}

static void the_same_seed_must_shuffle_the_same_way(void **state)
{
    char once[sizeof log_text], again[sizeof log_text], other[sizeof log_text];

    (void)state;
    shuffled_run(7, once);
    shuffled_run(7, again);
    shuffled_run(8, other);
    assert_string_equal(once, again);
    assert_string_not_equal(once, other);
    assert_int_equal(strlen(once), 8 * strlen("a@0 "));
}

static uint32_t word;

static void wake_and_note(void *name)
{
    const kp_world *world = kp_sim_world(sim);

    for (int i = 0; i < 8; i++) {
        world->wake(&word, 1, world->ctx);
        note(name);
    }
}

static void a_wake_must_give_way_only_when_shuffled(void **state)
{
    static const char in_order[] = "a@0 a@0 a@0 a@0 a@0 a@0 a@0 a@0 "
                                   "b@0 b@0 b@0 b@0 b@0 b@0 b@0 b@0 ";

    (void)state;
    for (int shuffled = 0; shuffled < 2; shuffled++) {
        open_sim(3);
        kp_sim_shuffle(sim, shuffled);
        start(wake_and_note, "a");
        start(wake_and_note, "b");
        kp_sim_join(sim, 0);
        assert_int_equal(strcmp(log_text, in_order) == 0, !shuffled);
        close_sim();
    }
}

/* ---- what must not be done ---- */

static void stand_at_the_gate_for_ever(void)
{
    assert_int_equal(kp_sim_open(1, &sim), 0);
    kp_sim_spawn(sim, pass_gate, "");
    kp_sim_pass_ms(sim, 40);
    kp_sim_join(sim, 1);
}

static void park_for_ever(void)
{
    const kp_world *world;

    word = 4711;
    assert_int_equal(kp_sim_open(1, &sim), 0);
    world = kp_sim_world(sim);
    world->park(&word, 4711, UINT64_MAX, world->ctx);
}

static void wait_for_oneself(void)
{
    kp_options options = { .deadline_ms = KP_OFF };
    kp_pool *pool;

    assert_int_equal(kp_sim_open(1, &sim), 0);
    options.world = kp_sim_world(sim);
    assert_int_equal(kp_pool_open(&options, &pool), 0);
    assert_int_equal(kp_add(pool, kp_str("a"), &word), 0);
    for (kp_lease lease;;)
        assert_int_equal(kp_get(pool, kp_str("a"), KP_ASK(.tag = "the one"), &lease), 0);
}

static void a_deadlock_must_name_who_waits_for_what(void **state)
{
    (void)state;
    gate = (kp_gate){ 0, 0 };
    must_die(stand_at_the_gate_for_ever, "deadlock at 40 ms");
    must_die(stand_at_the_gate_for_ever, "task 1 waits at the shut gate");
    must_die(stand_at_the_gate_for_ever, "the first task waits for task 1 to end");
    must_die(park_for_ever, "(now 4711)");
    must_die(wait_for_oneself, "waiting for 60000 ms: the one, limited by");
}

static void *come_from_outside(void *arg)
{
    (void)arg;
    kp_gate_pass(sim, &gate);
    return NULL;
}

static void send_a_thread_from_outside(void)
{
    pthread_t thread;

    assert_int_equal(kp_sim_open(1, &sim), 0);
    if (pthread_create(&thread, NULL, come_from_outside, NULL) == 0) {
        pthread_join(thread, NULL);
    }
}

static void a_thread_that_is_no_task_must_be_refused(void **state)
{
    (void)state;
    must_die(send_a_thread_from_outside, "kp_gate_pass was called by a thread that is not a task");
}

static void join_a_stranger(void)
{
    assert_int_equal(kp_sim_open(1, &sim), 0);
    kp_sim_join(sim, 3);
}

static void go_back_in_time(void)
{
    assert_int_equal(kp_sim_open(1, &sim), 0);
    kp_sim_pass_ms(sim, -5);
}

static void pass_a_gate_without_a_sim(void)
{
    kp_gate_pass(NULL, &gate);
}

/* ---- tasks whose threads end ---- */

static pthread_t its_thread;

static void note_the_end(void *name)
{
    kp_sim_pass_ms(sim, 10);
    note(name);
}

static void exit_early(void *name)
{
    pthread_cleanup_push(note_the_end, name);
    pthread_exit(NULL);
    pthread_cleanup_pop(1);
}

static void a_task_must_end_with_its_thread(void **state)
{
    (void)state;
    open_sim(1);
    kp_sim_join(sim, start(exit_early, "a"));
    assert_string_equal(log_text, "a@10 ");
    close_sim();
}

static void wait_and_go_on(void *name)
{
    its_thread = pthread_self();
    pass_gate(name);
    pthread_testcancel();
    note("not reached");
}

static void waiting_must_be_no_cancellation_point(void **state)
{
    (void)state;
    open_sim(1);
    int task = start(wait_and_go_on, "a");

    kp_sim_settle(sim);
    assert_int_equal(pthread_cancel(its_thread), 0);
    kp_sim_pass_ms(sim, 10);
    assert_false(kp_sim_ended(sim, task));
    kp_gate_open(sim, &gate);
    kp_sim_join(sim, task);
    assert_string_equal(log_text, "a@10 ");
    close_sim();
}

static void impossible_arguments_must_be_refused(void **state)
{
    (void)state;
    must_die(join_a_stranger, "kp_sim_join was given 3, which is no task of this sim");
    must_die(go_back_in_time, "kp_sim_pass_ms cannot go back by 5 ms");
    must_die(pass_a_gate_without_a_sim, "kp_gate_pass needs a sim");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tasks_must_run_first_come_first_served),
        cmocka_unit_test(a_task_must_not_run_before_its_starter_gives_way),
        cmocka_unit_test(join_must_wait_for_the_end_of_one_task),
        cmocka_unit_test(join_of_all_must_wait_for_all_but_the_caller),
        cmocka_unit_test(close_must_join_all_tasks),
        cmocka_unit_test(thousands_of_tasks_must_be_able_to_come_and_go),
        cmocka_unit_test(two_sims_of_one_thread_must_not_mix),
        cmocka_unit_test(passing_time_must_stop_the_clock_exactly_there),
        cmocka_unit_test(what_is_due_first_must_happen_first),
        cmocka_unit_test(the_first_task_must_see_what_was_due_at_the_same_moment),
        cmocka_unit_test(settle_must_let_no_time_go_by_and_count_who_waits),
        cmocka_unit_test(two_that_settle_must_count_each_other),
        cmocka_unit_test(a_gate_must_hold_until_it_opens_and_then_hold_nobody),
        cmocka_unit_test(the_same_seed_must_shuffle_the_same_way),
        cmocka_unit_test(a_wake_must_give_way_only_when_shuffled),
        cmocka_unit_test(a_deadlock_must_name_who_waits_for_what),
        cmocka_unit_test(a_thread_that_is_no_task_must_be_refused),
        cmocka_unit_test(a_task_must_end_with_its_thread),
        cmocka_unit_test(waiting_must_be_no_cancellation_point),
        cmocka_unit_test(impossible_arguments_must_be_refused),
    };

    return cmocka_run_group_tests_name("the sim of the test kit", tests, NULL, NULL);
}
