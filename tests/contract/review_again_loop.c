/* SPDX-License-Identifier: MIT
 *
 * What a second hostile review found about loops: functions that are called by a step, a start or a
 * close of a loop, and that themselves cancel, start or close; and a creation that outlives its
 * request.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "loop.h"

static struct {
    struct stage stage;
    int probing, opened, closed, misuses;
    int created, destroyed;
    kp_request *cancels; /* from the event itself */
    kp_event_kind when;  /* ... of this kind, what is in `then` */
    void (*then)(void);
    struct ask late;
    int64_t status;
    int fd;
} c;

static void hear(const kp_event *event, void *ctx)
{
    (void)ctx;
    c.probing += event->kind == KP_EVENT_BREAKER_PROBING;
    c.opened += event->kind == KP_EVENT_BREAKER_OPENED;
    c.closed += event->kind == KP_EVENT_BREAKER_CLOSED;
    c.created += event->kind == KP_EVENT_CREATED;
    c.destroyed += event->kind == KP_EVENT_DESTROYED;
    c.misuses += event->kind == KP_EVENT_MISUSE;
    assert_true(c.destroyed <= c.created);
    if (event->kind == KP_EVENT_BREAKER_PROBING) kp_cancel(c.cancels);
    if (event->kind != c.when || !c.then) return;
    void (*then)(void) = c.then;
    c.then = NULL;
    then();
}

/* Of no pool; those of the pool are events. */
static void count_misuse(const kp_why *why, void *arg)
{
    (void)why, (void)arg;
    c.misuses++;
}

static void open_it(kp_options plan, bool alone)
{
    memset(&c, 0, sizeof c);
    plan.on_event = hear;
    alone ? stage_open_alone(&c.stage, NULL, &plan) : stage_open(&c.stage, NULL, &plan);
    kp_on_misuse(count_misuse, NULL);
}

static void a_probe_may_be_cancelled_when_its_step_tells_of_it(void **state)
{
    (void)state;
    for (int keeps = 0; keeps < 2; keeps++) {
        struct ask *ask = malloc(sizeof *ask);
        assert_non_null(ask);
        open_it((kp_options){ .limits = { .breaker_failures = 1,
                                          .breaker_open_ms = 5000,
                                          .breaker_counts = KP_BREAK_USE,
                                          .on_return = keeps ? KP_REUSE : KP_DESTROY } },
                true);
        stage_use(&c.stage, -1);
        assert_int_equal(c.opened, 1);
        stage_pass(&c.stage, 5000);
        stage_start(&c.stage, ask, "a", 1000);
        c.cancels = &ask->request;
        stage_pass(&c.stage, 1);
        c.cancels = NULL;
        assert_int_equal(c.probing, 1);
        assert_int_equal(ask->answers, 0);
        free(ask);
        stage_use(&c.stage, 0);
        assert_int_equal(c.closed, 1);
        stage_close(&c.stage);
    }
}

/* ---- close ----------------------------------------------------------------------------------- */

static void start_another(void)
{
    c.status = stage_start_with(&c.stage, &c.late, "b", (kp_ask){ .within_ms = 1000 });
}

static void close_it(void)
{
    c.status = kp_loop_close(c.stage.loop);
    c.fd = open("/dev/null", O_RDONLY | O_CLOEXEC); /* gets the number of what was closed */
}

static void dispatch_it_and_close_it(void)
{
    assert_int_equal(kp_loop_dispatch(c.stage.loop), KP_EMISUSE);
    close_it();
}

static void discard(void *arg)
{
    kp_discard(arg);
}

static void a_job_that_a_close_runs_must_not_start_a_request(void **state)
{
    kp_lease lease;

    (void)state;
    open_it((kp_options){ .name = "k" }, true);
    stage_use(&c.stage, 0);
    assert_int_equal(kp_try_get(c.stage.pool, kp_str("a"), &lease), 0);
    assert_true(kp_sim_spawn(c.stage.sim, discard, &lease) > 0);
    (void)kp_sim_settle(c.stage.sim); /* the loop is to destroy it */
    c.when = KP_EVENT_DESTROYED;
    c.then = start_another;
    assert_int_equal(kp_loop_close(c.stage.loop), KP_EMISUSE); /* its pool is open */
    assert_int_equal(c.status, KP_EMISUSE);
    assert_int_equal(c.misuses, 2);
    stage_close(&c.stage);
}

static void a_loop_must_be_closed_once_and_not_dispatched_meanwhile(void **state)
{
    struct ask ask;

    (void)state;
    open_it((kp_options){ .limits = { .max_live = 1 } }, false);
    stage_use(&c.stage, 0);
    stage_start(&c.stage, &ask, "a", 1000);
    c.when = KP_EVENT_DESTROYED;
    c.then = dispatch_it_and_close_it;
    assert_int_equal(kp_invalidate_key(c.stage.pool, kp_str("a")), 1); /* goes with its request */
    assert_int_equal(kp_loop_close(c.stage.loop), 1);
    assert_int_equal(c.status, KP_EMISUSE);
    assert_int_equal(fcntl(c.fd, F_GETFD), FD_CLOEXEC); /* it is still ours */
    close(c.fd);
    (void)kp_pool_close(c.stage.pool, KP_CLOSE_NOW, 0);
    kp_cast_close(c.stage.cast);
    assert_int_equal(kp_sim_close(c.stage.sim), 0);
}

static void a_loop_must_not_be_closed_inside_a_start(void **state)
{
    struct ask ask;

    (void)state;
    open_it((kp_options){ .name = "k" }, false);
    c.when = KP_EVENT_KEY_MADE;
    c.then = close_it;
    stage_start(&c.stage, &ask, "a", 1000);
    assert_int_equal(c.status, KP_EMISUSE);
    close(c.fd);
    stage_pass(&c.stage, 1);
    assert_int_equal(ask.status, 0);
    kp_release(&ask.lease);
    stage_close(&c.stage);
}

/* ---- a creation that was called off ---------------------------------------------------------- */

static struct {
    kp_job *job[4];
    int begun, hurried;
} made;
static char things[4];

static int begins(kp_job *job, void **out)
{
    (void)out;
    assert_true(made.begun < 4);
    made.job[made.begun++] = job;
    return KP_PENDING;
}

static int destroy_nothing(kp_job *job, void *resource)
{
    (void)job, (void)resource;
    return 0;
}

static void count_hurried(kp_job *job)
{
    (void)job;
    made.hurried++;
}

/* Its place in the calendar is not its resource's: that has no age before it is there. */
static void a_creation_whose_time_is_over_must_not_age(void **state)
{
    kp_options plan = { .limits = { .min_live = 1, .max_live = 1, .prefill = KP_PREFILL_NONE,
                                    .max_age_ms = 1000000, .renew_ahead_ms = 1000,
                                    .retry_first_ms = KP_NONE } };
    struct stage *s = &c.stage;
    struct ask first, second;

    (void)state;
    memset(&made, 0, sizeof made);
    open_it(plan, false);
    (void)kp_pool_close(s->pool, KP_CLOSE_NOW, 0);
    s->plan.driver = (kp_driver){ .create = begins, .destroy = destroy_nothing,
                                  .cancel = count_hurried, .flags = KP_NEVER_BLOCKS };
    assert_int_equal(kp_pool_open(&s->plan, &s->pool), 0);
    stage_start(s, &first, "k", 100);
    stage_start(s, &second, "k", 100000);
    stage_pass(s, 1);
    assert_int_equal(made.begun, 1);
    kp_cancel(&first.request);
    stage_pass(s, 200);
    assert_int_equal(made.hurried, 1);
    kp_job_done(made.job[0], -1, NULL);
    stage_pass(s, 10);
    assert_int_equal(made.begun, 2);
    kp_job_done(made.job[1], 0, &things[1]);
    stage_pass(s, 10000);
    assert_int_equal(second.status, 0);
    assert_int_equal(made.begun, 2); /* nothing is to be replaced */
    kp_release(&second.lease);
    stage_close(s);
}

/* What no request wants any more is destroyed as it comes: first its creation is reported, then its
 * end. */
static void what_is_destroyed_as_it_comes_must_be_told_in_order(void **state)
{
    kp_options plan = { .limits = { .max_live = 1 } };
    struct stage *s = &c.stage;
    struct ask ask;

    (void)state;
    memset(&made, 0, sizeof made);
    open_it(plan, false);
    (void)kp_pool_close(s->pool, KP_CLOSE_NOW, 0);
    s->plan.driver = (kp_driver){ .create = begins, .destroy = destroy_nothing,
                                  .flags = KP_NEVER_BLOCKS };
    assert_int_equal(kp_pool_open(&s->plan, &s->pool), 0);
    stage_start(s, &ask, "k", 1000);
    stage_pass(s, 1);
    assert_int_equal(kp_pool_close(s->pool, KP_CLOSE_NOW, 0), 1);
    stage_pass(s, 1);
    assert_int_equal(ask.status, KP_ECLOSED);
    kp_job_done(made.job[0], 0, &things[0]);
    assert_int_equal(c.created, 1);
    assert_int_equal(c.destroyed, 1);
    assert_int_equal(kp_loop_close(s->loop), 0);
    kp_cast_close(s->cast);
    assert_int_equal(kp_sim_close(s->sim), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_probe_may_be_cancelled_when_its_step_tells_of_it),
        cmocka_unit_test(a_job_that_a_close_runs_must_not_start_a_request),
        cmocka_unit_test(a_loop_must_be_closed_once_and_not_dispatched_meanwhile),
        cmocka_unit_test(a_loop_must_not_be_closed_inside_a_start),
        cmocka_unit_test(a_creation_whose_time_is_over_must_not_age),
        cmocka_unit_test(what_is_destroyed_as_it_comes_must_be_told_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
