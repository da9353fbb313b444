/* SPDX-License-Identifier: MIT
 *
 * Many requests that were answered before the loop looks, or by each other: its thread takes all
 * their letters at once. What one `done` does then must not harm the requests that come after it.
 */
#include "loop.h"

enum { MOST = 2000, ONE_DISPATCH = 1024 };

static struct stage stage;
static struct ask ask[MOST];
static kp_lease lease[MOST];
static void (*in_done)(int number);

static void done(kp_request *request, int status, kp_lease mine)
{
    int number = ((struct ask *)request->arg)->number;

    memset(request, 0xAA, sizeof *request); /* its memory is ours again */
    ask[number].answers++;
    ask[number].status = status;
    ask[number].lease = mine;
    stage.order[stage.done++ % STAGE_MOST] = number;
    if (in_done) in_done(number);
    if (ask[number].give_back) kp_release(&ask[number].lease);
}

static void start(int number)
{
    stage_start(&stage, &ask[number], "k", 1000);
    ask[number].number = number;
    ask[number].request.done = done;
}

/* So many leases, and as many requests that wait. */
static void begin(const kp_options *plan, int lent, int waiting)
{
    stage_open(&stage, NULL, plan);
    in_done = NULL;
    for (int i = 0; i < lent; i++)
        assert_int_equal(kp_get(stage.pool, kp_str("k"), NULL, &lease[i]), 0);
    for (int i = 0; i < waiting; i++) start(i);
}

static void end_leases(int many)
{
    for (int i = 0; i < many; i++) kp_release(&ask[i].lease); /* {0}: nothing */
}

static void must_be_the_order(const char *wanted)
{
    assert_int_equal(stage.done, strlen(wanted));
    for (int i = 0; wanted[i]; i++) assert_int_equal(stage.order[i], wanted[i] - '0');
}

/* ---- another of them is cancelled ------------------------------------------------------------ */

static void cancel_others(int number)
{
    int other = number == 0 ? 2 : 5;

    ask[number].give_back = true;
    if (number != 0 && number != 3) return;
    kp_cancel(&ask[other].request);
    memset(&ask[other].request, 0xAA, sizeof ask->request);
}

/* 0 cancels 2, whose letter was taken together with its own; 3 cancels 5, answered meanwhile. */
static void who_is_cancelled_by_another_must_not_hear_of_its_answer(void **state)
{
    const kp_options plan = { .limits = { .max_live = 4 } };

    (void)state;
    begin(&plan, 4, 7);
    for (int i = 0; i < 4; i++) kp_release(&lease[i]);
    in_done = cancel_others;
    stage_pass(&stage, 0);
    must_be_the_order("01346");
    for (int i = 0; i < 7; i++) assert_int_equal(ask[i].answers, i != 2 && i != 5);
    assert_int_equal(stage_stats(&stage).idle, 4);
    stage_close(&stage);
}

/* ---- something of them closes ---------------------------------------------------------------- */

static void close_pool(int number)
{
    if (number == 0) assert_int_equal(kp_pool_close(stage.pool, KP_CLOSE_NOW, 0), 3);
}

/* Those that were answered have their leases; those that wait are refused, after them. */
static void closing_the_pool_must_leave_the_others_their_answers(void **state)
{
    const kp_options plan = { .limits = { .max_live = 3 } };
    struct ask *a = ask;

    (void)state;
    begin(&plan, 3, 5);
    for (int i = 0; i < 3; i++) kp_release(&lease[i]);
    in_done = close_pool;
    stage_pass(&stage, 0);
    must_be_the_order("01234");
    for (int i = 0; i < 5; i++) assert_int_equal(a[i].status, i < 3 ? 0 : KP_ECLOSED);
    end_leases(3);
    stage_pass(&stage, 0);
    assert_int_equal(kp_cast_read(stage.cast).live, 0);
    assert_int_equal(kp_loop_close(stage.loop), 0);
    kp_cast_close(stage.cast);
    assert_int_equal(kp_sim_close(stage.sim), 0);
}

/* A dispatch reads no more than so many. */
static void closing_the_loop_must_cancel_those_whose_letters_were_not_read(void **state)
{
    const kp_options plan = { .limits = { .max_live = MOST, .max_creating = KP_UNLIMITED } };

    (void)state;
    begin(&plan, MOST, 0);
    for (int i = 0; i < MOST; i++) kp_release(&lease[i]);
    for (int i = 0; i < MOST; i++) start(i);
    assert_int_equal(kp_loop_dispatch(stage.loop), 0);
    assert_int_equal(stage.done, ONE_DISPATCH);
    assert_int_equal(kp_loop_close(stage.loop), MOST - ONE_DISPATCH);
    assert_int_equal(stage.done, ONE_DISPATCH);
    assert_int_equal(stage_stats(&stage).idle, MOST - ONE_DISPATCH);
    end_leases(ONE_DISPATCH);
    assert_int_equal(kp_loop_open(&stage.loop), 0);
    stage_close(&stage);
}

/* ---- a job comes ----------------------------------------------------------------------------- */

static void it_must_be_created(int number)
{
    if (number == 1) assert_int_equal(kp_cast_read(stage.cast).creates, 3);
}

/* 0 has a permit, and its step wants a create run. The letter of 1 lies there already. */
static void what_the_driver_is_to_do_must_come_before_other_letters(void **state)
{
    const kp_options plan = { .limits = { .max_live = 2 } };

    (void)state;
    begin(&plan, 2, 2);
    kp_discard(&lease[0]);
    kp_release(&lease[1]);
    in_done = it_must_be_created;
    stage_pass(&stage, 0);
    must_be_the_order("10");
    assert_int_equal(kp_cast_read(stage.cast).creates, 3);
    end_leases(2);
    stage_close(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_cancelled_by_another_must_not_hear_of_its_answer),
        cmocka_unit_test(closing_the_pool_must_leave_the_others_their_answers),
        cmocka_unit_test(closing_the_loop_must_cancel_those_whose_letters_were_not_read),
        cmocka_unit_test(what_the_driver_is_to_do_must_come_before_other_letters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
