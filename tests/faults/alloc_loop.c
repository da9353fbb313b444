/* SPDX-License-Identifier: MIT
 *
 * Memory that runs out in scenes of event loops and of closing (scenes.h plays them). A request
 * that was started is answered all the same, and closing needs no memory (L6).
 */
#include "faults/scenes.h"

static void one_idle(void)
{
    MUST(get(0, "a") == 0);
    give(0);
}

static void two_idle(void)
{
    stock("a", 2);
}

static void one_lent(void)
{
    MUST(get(1, "a") == 0);
}

static void get_one_more(void *arg)
{
    s.status = kp_get(s.pool, kp_str("a"), KP_IN_MS(200), arg);
}

static void one_waits(void)
{
    MUST(get(0, "a") == 0 && get(1, "a") == 0);
    MUST(kp_sim_spawn(s.sim, get_one_more, &s.lease[2]) > 0);
}

static void on_a_loop(kp_options *o)
{
    MUST(kp_loop_open(&s.loop) == 0);
    o->loop = s.loop;
}

/* ---- event loops ----------------------------------------------------------------------------- */

static void done(kp_request *request, int status, kp_lease lease)
{
    (void)request;
    s.answered++;
    s.status = status;
    kp_release(&lease);
}

static void a_loop(void)
{
    MUST(kp_loop_open(&s.loop) == 0);
}

static void a_loop_and_one_idle(void)
{
    a_loop();
    one_idle();
}

static void a_loop_and_two_lent(void)
{
    a_loop();
    MUST(get(1, "a") == 0 && get(2, "a") == 0);
}

static bool start(void)
{
    s.request = (kp_request){ .loop = s.loop, .done = done };
    return MAY(kp_get_start(s.pool, kp_str("a"), KP_IN_MS(500), &s.request));
}

static void dispatch(void)
{
    for (int i = 0; i < 200 && !s.answered; i++) {
        MUST(kp_loop_dispatch(s.loop) >= -1);
        if (!s.answered) pass(5);
    }
    MUST(s.answered == 1);
    if (s.status != KP_ETIMEDOUT) (void)MAY(s.status);
}

static void ask(void)
{
    if (start()) dispatch();
}

static void ask_and_be_served(void)
{
    bool started = start();

    MUST(kp_loop_dispatch(s.loop) >= -1);
    give(1);
    if (started) dispatch();
}

static void ask_and_cancel(void)
{
    if (start()) kp_cancel(&s.request);
    MUST(s.answered == 0);
}

static void ask_and_close(void)
{
    bool started = start();

    MUST(kp_loop_close(s.loop) == started);
    s.loop = NULL;
    MUST(s.answered == 0);
    give(1);
    give(2);
}

static void checked(kp_options *o)
{
    o->driver.validate = validate;
    o->driver.reset = reset;
}

static void ask_for_the_bad_one(void)
{
    s.fail_validates = 1;
    ask();
    s.fail_validates = 0;
}

static void create_later(void)
{
    a_loop();
    s.later = CREATE;
}

static void ask_and_answer(void)
{
    bool started = start();

    MUST(kp_loop_dispatch(s.loop) >= -1);
    s.later = AT_ONCE;
    answer(0);
    if (started) dispatch();
}

static void alone(kp_options *o)
{
    checked(o);
    on_a_loop(o);
}

static void two_made_by_the_loop(void)
{
    MUST(kp_get(s.pool, kp_str("a"), KP_ASK(.flags = KP_DONT_WAIT), &s.lease[0]) == KP_EAGAIN);
    ask();
    s.answered = 0;
}

static void discard_on_the_loop(void)
{
    MUST(kp_try_get(s.pool, kp_str("a"), &s.lease[0]) == KP_EAGAIN || s.lease[0].resource);
    if (s.lease[0].resource) kp_discard(&s.lease[0]);
    while (kp_loop_dispatch(s.loop) == 0) continue;
    MUST(numbers().live == 0);
}

/* ---- closing --------------------------------------------------------------------------------- */

static void close_now(void)
{
    MUST(kp_pool_close(s.pool, KP_CLOSE_NOW, 0) == 0 && s.unmade == 2);
}

static void close_late(void)
{
    MUST(kp_pool_close(s.pool, KP_CLOSE_WAIT, 5) == 1);
    give(1);
    MUST(!kp_is_pool(s.pool));
}

static void close_and_drain(void)
{
    MUST(kp_sim_settle(s.sim) >= 0);
    MUST(kp_pool_close(s.pool, KP_CLOSE_DRAIN, 5) >= 1);
    kp_sim_join(s.sim, 0);
    MUST(s.status == KP_ECLOSED);
    give(0);
    give(1);
}

static void pend(void)
{
    s.later = CREATE;
    MUST(kp_get(s.pool, kp_str("a"), KP_IN_MS(5), &s.lease[0]) == KP_ETIMEDOUT);
}

static void close_over_a_create(void)
{
    MUST(kp_pool_close(s.pool, KP_CLOSE_NOW, 0) == 1);
    answer(0);
    MUST(s.unmade == 1 && !kp_is_pool(s.pool));
}

static void close_with_failures(void)
{
    s.fail_destroys = 1;
    MUST(kp_pool_close(s.pool, KP_CLOSE_WAIT, 5) == 0 && s.unmade == 2);
}

static const scene scenes[] = {
    { "get_start, a new key", NULL, a_loop, ask, false },
    { "get_start, an idle one", NULL, a_loop_and_one_idle, ask, false },
    { "get_start, wait", NULL, a_loop_and_two_lent, ask_and_be_served, false },
    { "get_start, cancel", NULL, a_loop_and_two_lent, ask_and_cancel, false },
    { "get_start, close the loop", NULL, a_loop_and_two_lent, ask_and_close, false },
    { "get_start, validate", checked, a_loop_and_one_idle, ask, false },
    { "get_start, validate fails", checked, a_loop_and_one_idle, ask_for_the_bad_one, false },
    { "get_start, create later", NULL, create_later, ask_and_answer, false },
    { "loop alone, create", alone, NULL, ask, false },
    { "loop alone, validate", alone, two_made_by_the_loop, ask, false },
    { "loop alone, destroy", alone, two_made_by_the_loop, discard_on_the_loop, false },
    { "close NOW", NULL, two_idle, close_now, false },
    { "close WAIT", NULL, one_lent, close_late, false },
    { "close DRAIN", NULL, one_waits, close_and_drain, false },
    { "close, a create is pending", NULL, pend, close_over_a_create, false },
    { "close, destroy fails", NULL, two_idle, close_with_failures, false },
};

enum { SCENES = sizeof scenes / sizeof scenes[0] };

static void an_allocation_that_fails_alone_must_cost_one_request_at_most(void **state)
{
    (void)state;
    assert_true(play_all(scenes, SCENES, false) > 20);
}

static void without_memory_what_was_started_must_be_answered(void **state)
{
    (void)state;
    assert_true(play_all(scenes, SCENES, true) > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_allocation_that_fails_alone_must_cost_one_request_at_most),
        cmocka_unit_test(without_memory_what_was_started_must_be_answered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
