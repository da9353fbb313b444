/* SPDX-License-Identifier: MIT
 *
 * Tests of the test kit itself: the scripted driver, where lines take time, block, or have a gate.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dies.h"
#include "job.h"

/* A cast whose create follows these lines, on a sim of its own. */
static void open_both(const kp_line *create)
{
    kp_script script = { .create = create };

    assert_int_equal(kp_sim_open(1, &sim), 0);
    script.sim = sim;
    open_cast(&script);
}

static void close_both(void)
{
    assert_int_equal(kp_sim_close(sim), 0);
    kp_cast_close(cast);
}

static void what_takes_time_must_be_answered_exactly_then(void **state)
{
    static const kp_line lines[] = { { .takes_ms = 30 }, { 0 } };
    tested_job job;
    void *made = NULL;

    (void)state;
    open_both(lines);
    assert_int_equal(run(&job, KP_JOB_CREATE, NULL, &made), KP_PENDING);
    assert_null(made);
    kp_sim_pass_ms(sim, 29);
    assert_int_equal(job.answers, 0);
    assert_int_equal(kp_cast_read(cast).live, 0);
    kp_sim_pass_ms(sim, 1);
    assert_int_equal(job.answers, 1);
    assert_int_equal(job.status, 0);
    assert_int_equal(((kp_prop *)job.resource)->number, 1);
    assert_int_equal(kp_cast_read(cast).live, 1);
    close_both();
}

static void a_late_failure_must_tell_its_reason_before_the_answer(void **state)
{
    static const kp_line lines[] = { { .takes_ms = 5, .status = -4, .text = "late" }, { 0 } };
    tested_job job;
    void *made = NULL;

    (void)state;
    open_both(lines);
    assert_int_equal(run(&job, KP_JOB_CREATE, NULL, &made), KP_PENDING);
    kp_sim_pass_ms(sim, 5);
    assert_int_equal(job.status, -4);
    assert_int_equal(job.vendor_code, -4);
    assert_string_equal(job.text, "late");
    assert_null(job.resource);
    close_both();
}

static void pending_answers_must_come_in_the_order_they_are_due(void **state)
{
    static const kp_line lines[] = { { .takes_ms = 30 }, { .takes_ms = 10 }, { .takes_ms = 20 },
                                     { .takes_ms = 5 }, { 0 } };
    tested_job jobs[4];
    void *made;

    (void)state;
    open_both(lines);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(run(&jobs[i], KP_JOB_CREATE, NULL, &made), KP_PENDING);
    }
    kp_sim_pass_ms(sim, 100);
    assert_ptr_equal(answers[0], &jobs[1]);
    assert_ptr_equal(answers[1], &jobs[2]);
    assert_ptr_equal(answers[2], &jobs[0]);
    assert_int_equal(run(&jobs[3], KP_JOB_CREATE, NULL, &made), KP_PENDING);
    kp_sim_pass_ms(sim, 100);
    assert_int_equal(jobs[3].answered_ms, 105);
    close_both();
}

static void an_answer_at_a_shut_gate_must_not_hold_up_another(void **state)
{
    static kp_gate gate;
    static const kp_line lines[] = { { .takes_ms = 10, .gate = &gate }, { .takes_ms = 20 }, { 0 } };
    tested_job first, second;
    void *made;

    (void)state;
    gate = (kp_gate){ 0, 0 };
    open_both(lines);
    assert_int_equal(run(&first, KP_JOB_CREATE, NULL, &made), KP_PENDING);
    assert_int_equal(run(&second, KP_JOB_CREATE, NULL, &made), KP_PENDING);
    kp_sim_pass_ms(sim, 30);
    assert_int_equal(gate.entered, 1);
    assert_int_equal(first.answers, 0);
    assert_int_equal(second.answered_ms, 20);
    assert_int_equal(kp_sim_settle(sim), 0);            /* stages are not counted */
    kp_gate_open(sim, &gate);
    kp_sim_settle(sim);
    assert_int_equal(first.answered_ms, 30);
    close_both();
}

static void what_blocks_must_hold_the_caller_in_virtual_time(void **state)
{
    static const kp_line lines[] = { { .blocks_ms = 25 }, { 0 } };
    kp_prop *made;

    (void)state;
    open_both(lines);
    assert_int_equal(make(&made), 0);
    assert_int_equal(kp_sim_now_ms(sim), 25);
    assert_non_null(made);
    close_both();
}

static kp_gate create_gate;

static void make_at_the_gate(void *arg)
{
    assert_int_equal(make(arg), 0);
}

static void a_gate_must_hold_the_caller_until_it_opens(void **state)
{
    static const kp_line lines[] = { { .gate = &create_gate }, { 0 } };
    kp_prop *made = NULL;

    (void)state;
    create_gate = (kp_gate){ 0, 0 };
    open_both(lines);
    kp_sim_spawn(sim, make_at_the_gate, &made);
    assert_int_equal(kp_sim_settle(sim), 1);
    assert_int_equal(create_gate.entered, 1);
    assert_null(made);
    kp_gate_open(sim, &create_gate);
    kp_sim_join(sim, 0);
    assert_non_null(made);
    close_both();
}

static void a_prop_must_be_live_until_its_destroy_has_taken_its_time(void **state)
{
    static const kp_line lines[] = { { .takes_ms = 10 }, { 0 } };
    kp_script script = { .destroy = lines };
    kp_prop *made;
    tested_job job;

    (void)state;
    assert_int_equal(kp_sim_open(1, &sim), 0);
    script.sim = sim;
    open_cast(&script);
    assert_int_equal(make(&made), 0);
    assert_int_equal(run(&job, KP_JOB_DESTROY, made, NULL), KP_PENDING);
    assert_int_equal(made->alive, 1);
    assert_int_equal(kp_cast_read(cast).live, 1);
    assert_int_equal(use(KP_JOB_VALIDATE, made), 0);    /* but not to be used */
    assert_int_equal(kp_cast_read(cast).used_after, 1);
    kp_sim_pass_ms(sim, 10);
    assert_int_equal(job.answers, 1);
    assert_int_equal(made->alive, 0);
    assert_int_equal(kp_cast_read(cast).live, 0);
    close_both();
}

static void a_destroy_during_validate_must_be_counted(void **state)
{
    static const kp_line lines[] = { { .takes_ms = 10 }, { 0 } };
    kp_script script = { .validate = lines };
    kp_prop *made;
    tested_job job;

    (void)state;
    assert_int_equal(kp_sim_open(1, &sim), 0);
    script.sim = sim;
    open_cast(&script);
    assert_int_equal(make(&made), 0);
    assert_int_equal(run(&job, KP_JOB_VALIDATE, made, NULL), KP_PENDING);
    assert_int_equal(use(KP_JOB_DESTROY, made), 0);
    assert_int_equal(kp_cast_read(cast).used_after, 0);
    kp_sim_pass_ms(sim, 10);
    assert_int_equal(kp_cast_read(cast).used_after, 1);
    close_both();
}

static void closing_the_sim_must_give_the_answers_that_are_still_to_come(void **state)
{
    static const kp_line lines[] = { { .takes_ms = 60000 }, { 0 } };
    tested_job job;
    void *made;

    (void)state;
    open_both(lines);
    assert_int_equal(run(&job, KP_JOB_CREATE, NULL, &made), KP_PENDING);
    close_both();
    assert_int_equal(job.answered_ms, 60000);
}

static void close_before_the_answer(void)
{
    static const kp_line lines[] = { { .takes_ms = 1 }, { 0 } };
    tested_job job;
    void *made;

    open_both(lines);
    (void)run(&job, KP_JOB_CREATE, NULL, &made);
    kp_cast_close(cast);
}

static void create_in_a_task(void *made)
{
    tested_job job;

    (void)run(&job, KP_JOB_CREATE, NULL, made);
}

static void close_while_create_blocks(void)
{
    static const kp_line lines[] = { { .blocks_ms = 1 }, { 0 } };
    void *made;

    open_both(lines);
    (void)kp_sim_spawn(sim, create_in_a_task, &made);
    (void)kp_sim_settle(sim);
    kp_cast_close(cast);
}

static void a_cast_must_not_be_closed_while_its_driver_runs(void **state)
{
    (void)state;
    must_die(close_before_the_answer, "1 runs of its driver are under way");
    must_die(close_while_create_blocks, "1 runs of its driver are under way");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_takes_time_must_be_answered_exactly_then),
        cmocka_unit_test(a_late_failure_must_tell_its_reason_before_the_answer),
        cmocka_unit_test(pending_answers_must_come_in_the_order_they_are_due),
        cmocka_unit_test(an_answer_at_a_shut_gate_must_not_hold_up_another),
        cmocka_unit_test(what_blocks_must_hold_the_caller_in_virtual_time),
        cmocka_unit_test(a_gate_must_hold_the_caller_until_it_opens),
        cmocka_unit_test(a_prop_must_be_live_until_its_destroy_has_taken_its_time),
        cmocka_unit_test(a_destroy_during_validate_must_be_counted),
        cmocka_unit_test(closing_the_sim_must_give_the_answers_that_are_still_to_come),
        cmocka_unit_test(a_cast_must_not_be_closed_while_its_driver_runs),
    };

    return cmocka_run_group_tests_name("the cast of the test kit, in time", tests, NULL, NULL);
}
