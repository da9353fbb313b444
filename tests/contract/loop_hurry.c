/* SPDX-License-Identifier: MIT
 *
 * driver.cancel: a creation or check whose request is cancelled is hurried if no other request
 * waits; if it fails then, that does not count as a failure of the server. If others wait, it goes
 * on for them until its time is over. (loop_end.c has a hurried creation that succeeds all the
 * same.)
 */
#include "loop.h"

static struct {
    struct stage stage;
    kp_job *job;        /* under way, or NULL */
    int begun, hurried, failed, status;
    bool takes_its_time; /* what is hurried does not end at once */
} w;

static int begins(kp_job *job, void **out)
{
    (void)out;
    assert_null(w.job);
    w.job = job;
    w.begun++;
    return KP_PENDING;
}

static void answer(int status, void *resource)
{
    kp_job *job = w.job;

    w.job = NULL;
    kp_job_done(job, status, resource);
}

static void ends_at_once(kp_job *job)
{
    assert_ptr_equal(job, w.job);
    w.hurried++;
    if (!w.takes_its_time) answer(w.status, NULL);
}

static int destroy_nothing(kp_job *job, void *resource)
{
    (void)job, (void)resource;
    return 0;
}

static void count_failures(const kp_event *event, void *ctx)
{
    (void)ctx;
    w.failed += event->kind == KP_EVENT_CREATE_FAILED;
}

/* A pool of one, whose circuit opens at so many failures; what is hurried ends with this status. */
static struct stage *open_one(int failures, int status)
{
    const kp_options plan = { .limits = { .max_live = 1, .breaker_failures = failures,
                                          .breaker_open_ms = 20, .retry_first_ms = KP_NONE },
                              .on_event = count_failures };

    memset(&w, 0, sizeof w);
    w.status = status;
    stage_open(&w.stage, NULL, &plan);
    (void)kp_pool_close(w.stage.pool, KP_CLOSE_NOW, 0);
    w.stage.plan.driver = (kp_driver){ .create = begins, .destroy = destroy_nothing,
                                       .cancel = ends_at_once, .flags = KP_NEVER_BLOCKS };
    assert_int_equal(kp_pool_open(&w.stage.plan, &w.stage.pool), 0);
    return &w.stage;
}

static char thing;

static void serve(struct stage *s, struct ask *a)
{
    answer(0, &thing);
    stage_pass(s, 0);
    assert_int_equal(a->status, 0);
    assert_ptr_equal(a->lease.resource, &thing);
    kp_release(&a->lease);
}

static void a_creation_that_is_called_off_must_not_count_against_its_key(void **state)
{
    struct stage *s = open_one(1, -1);
    struct ask a;

    (void)state;
    for (int i = 0; i < 3; i++) {
        stage_start(s, &a, "k", 1000);
        stage_pass(s, 10);
        kp_cancel(&a.request);
        assert_int_equal(w.hurried, i + 1);
    }
    assert_int_equal(stage_stats(s).create_failures, 0);
    assert_int_equal(stage_stats(s).circuits_open, 0);
    assert_int_equal(w.failed, 0);
    stage_start(s, &a, "k", 1000);
    stage_pass(s, 0);
    serve(s, &a);
    assert_int_equal(w.begun, 4);
    stage_close(s);
}

/* It refused when no request waited for it any more: the refusal still counts. */
static void a_refusal_must_count_though_it_was_called_off(void **state)
{
    struct stage *s = open_one(1, KP_EREFUSED);
    struct ask a;

    (void)state;
    stage_start(s, &a, "k", 1000);
    stage_pass(s, 0);
    kp_cancel(&a.request);
    assert_int_equal(stage_stats(s).create_failures, 1);
    assert_int_equal(w.failed, 1);
    stage_close(s);
}

static void a_creation_whose_time_was_over_must_count(void **state)
{
    struct stage *s = open_one(1, -1);
    struct ask a;

    (void)state;
    stage_start(s, &a, "k", 10);
    stage_pass(s, 10);
    assert_int_equal(a.status, KP_ETIMEDOUT);
    assert_int_equal(w.hurried, 1);
    assert_int_equal(stage_stats(s).create_failures, 1);
    assert_int_equal(stage_stats(s).circuits_open, 1);
    stage_close(s);
}

static void a_probe_that_is_called_off_must_leave_its_place_to_the_next(void **state)
{
    struct stage *s = open_one(1, -1);
    struct ask a;

    (void)state;
    stage_start(s, &a, "k", 10);
    stage_pass(s, 30);
    stage_start(s, &a, "k", 1000); /* the probe */
    stage_pass(s, 0);
    kp_cancel(&a.request);
    assert_int_equal(w.hurried, 2);
    assert_int_equal(stage_stats(s).circuits_open, 1);
    stage_start(s, &a, "k", 1000);
    stage_pass(s, 0);
    serve(s, &a);
    assert_int_equal(stage_stats(s).circuits_open, 0);
    stage_close(s);
}

/* ---- a check --------------------------------------------------------------------------------- */

static int check(kp_job *job, void *resource)
{
    return begins(job, &resource);
}

static void count_invalid(const kp_event *event, void *ctx)
{
    (void)ctx;
    w.failed += event->kind == KP_EVENT_INVALID;
}

/* One is idle, and is checked at the next get; what is hurried ends with this status. */
static struct stage *open_checked(int status)
{
    struct stage *s = open_one(1, status);
    struct ask a;

    (void)kp_pool_close(s->pool, KP_CLOSE_NOW, 0);
    s->plan.driver.validate = check;
    s->plan.limits.validate_on = KP_CHECK_GET;
    s->plan.limits.validate_after_ms = 1;
    s->plan.on_event = count_invalid;
    assert_int_equal(kp_pool_open(&s->plan, &s->pool), 0);
    stage_start(s, &a, "k", 1000);
    stage_pass(s, 0);
    serve(s, &a);
    stage_pass(s, 1);
    return s;
}

/* What ends a check may leave the resource in any state, so that goes. But nobody found it bad. */
static void a_check_that_is_called_off_must_not_count_as_a_bad_one(void **state)
{
    static const struct {
        int status;
        bool cancelled;
        uint64_t invalid, invalidated;
    } ways[] = { { -1, true, 0, 1 }, { -1, false, 1, 0 }, { KP_EGONE, true, 1, 0 },
                 { 0, true, 0, 0 } };

    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct stage *s = open_checked(ways[i].status);
        struct ask a;
        stage_start(s, &a, "k", 10);
        stage_pass(s, 1);
        if (ways[i].cancelled) kp_cancel(&a.request);
        else stage_pass(s, 10);
        assert_int_equal(w.hurried, 1);
        stage_pass(s, 0);
        assert_int_equal(stage_stats(s).invalid, ways[i].invalid);
        assert_int_equal(stage_stats(s).invalidated, ways[i].invalidated);
        assert_int_equal(stage_stats(s).idle, ways[i].status == 0);
        assert_int_equal(w.failed, ways[i].invalid);
        stage_close(s);
    }
}

/* ---- others wait ----------------------------------------------------------------------------- */

/* For one creation: there is room for one. */
static void both_wait(struct stage *s, struct ask *a, struct ask *b)
{
    stage_start(s, a, "k", 1000);
    stage_start(s, b, "k", 1000);
    stage_pass(s, 0);
}

static void a_creation_that_others_wait_for_must_go_on_for_them(void **state)
{
    struct stage *s = open_one(1, -1);
    struct ask a, b;

    (void)state;
    both_wait(s, &a, &b);
    kp_cancel(&a.request);
    assert_int_equal(w.hurried, 0);
    stage_pass(s, 500);
    serve(s, &b);
    assert_int_equal(w.begun, 1);
    stage_close(s);
}

/* Else the resource would end, and they would wait for another one. */
static void a_check_that_others_wait_for_must_go_on_for_them(void **state)
{
    struct stage *s = open_checked(-1);
    struct ask a, b;

    (void)state;
    both_wait(s, &a, &b);
    kp_cancel(&a.request);
    assert_int_equal(w.hurried, 0);
    stage_pass(s, 500);
    serve(s, &b);
    assert_int_equal(w.begun, 2); /* a creation and a check */
    assert_int_equal(stage_stats(s).destroys, 0);
    stage_close(s);
}

/* It goes whatever the check says, and those who wait need its place. */
static void a_check_of_what_goes_anyway_must_not_go_on_for_others(void **state)
{
    struct stage *s = open_checked(-1);
    struct ask a, b;

    (void)state;
    both_wait(s, &a, &b);
    assert_int_equal(kp_invalidate(s->pool, &thing), 1);
    kp_cancel(&a.request);
    assert_int_equal(w.hurried, 1);
    stage_pass(s, 0);
    assert_int_equal(stage_stats(s).invalidated, 1);
    serve(s, &b);
    assert_int_equal(w.begun, 3); /* a creation, a check, and the next creation */
    stage_close(s);
}

/* Else it would be under way until its deadline, and the pool would be as well. */
static void a_creation_must_be_called_off_when_its_pool_closes(void **state)
{
    struct stage *s = open_one(1, -1);
    struct ask a, b;

    (void)state;
    both_wait(s, &a, &b);
    assert_int_equal(kp_pool_close(s->pool, KP_CLOSE_NOW, 0), 0);
    assert_int_equal(w.hurried, 1);
    assert_int_equal(w.failed, 0);
    stage_pass(s, 0);
    assert_int_equal(a.status, KP_ECLOSED);
    assert_int_equal(b.status, KP_ECLOSED);
    assert_int_equal(kp_loop_close(s->loop), 0);
    kp_cast_close(s->cast);
    assert_int_equal(kp_sim_close(s->sim), 0);
}

/* It failed because of its server, not because the pool closes. */
static void a_creation_whose_time_was_over_must_count_though_its_pool_closes(void **state)
{
    struct stage *s = open_one(1, -1);
    struct ask a;

    (void)state;
    w.takes_its_time = true;
    stage_start(s, &a, "k", 10);
    stage_pass(s, 10);
    assert_int_equal(a.status, KP_ETIMEDOUT);
    assert_int_equal(w.hurried, 1);
    assert_int_equal(kp_pool_close(s->pool, KP_CLOSE_NOW, 0), 1);
    assert_int_equal(w.hurried, 1);
    answer(-1, NULL);
    assert_int_equal(w.failed, 1);
    assert_int_equal(kp_loop_close(s->loop), 0);
    kp_cast_close(s->cast);
    assert_int_equal(kp_sim_close(s->sim), 0);
}

/* Its request was granted the permit, but the loop has not come to it yet. */
static void no_creation_must_begin_once_its_pool_is_closed(void **state)
{
    struct stage *s = open_one(1, -1);
    struct ask a;

    (void)state;
    stage_start(s, &a, "k", 1000);
    assert_int_equal(kp_pool_close(s->pool, KP_CLOSE_NOW, 0), 1);
    stage_pass(s, 0);
    assert_int_equal(w.begun, 0);
    assert_int_equal(a.status, KP_ECLOSED);
    assert_int_equal(kp_loop_close(s->loop), 0);
    kp_cast_close(s->cast);
    assert_int_equal(kp_sim_close(s->sim), 0);
}

/* ---- called off before it has begun ---------------------------------------------------------- */

/* The world of `stage`, in which one task stops twice: where it holds the pool's lock, and as soon
 * as it has given that back to who waited for it. */
static struct {
    kp_world world;
    const kp_world *own;
    int stops; /* 1: at the next look at the clock, 2: at the next wake-up */
    kp_gate holding, gave_back;
    int rc;
    int64_t out;
} slow;

static uint64_t now_and_stop(void *ctx)
{
    if (slow.stops == 1) {
        slow.stops = 2;
        kp_gate_pass(w.stage.sim, &slow.holding);
    }
    return slow.own->now_ns(ctx);
}

static void wake_and_stop(uint32_t *word, int how_many, void *ctx)
{
    slow.own->wake(word, how_many, ctx);
    if (slow.stops != 2) return;
    slow.stops = 0;
    kp_gate_pass(w.stage.sim, &slow.gave_back);
}

static void gets(void *arg)
{
    struct stage *s = arg;
    kp_lease lease;

    slow.stops = 1;
    slow.rc = kp_get(s->pool, kp_str("k"), KP_IN_S(1), &lease);
}

static void closes(void *arg)
{
    slow.out = kp_pool_close(((struct stage *)arg)->pool, KP_CLOSE_NOW, 0);
}

/* Its request had not sent it to the loop yet, only said that it would. */
static void one_called_off_before_it_has_begun_must_begin_once_and_then_be_hurried(void **state)
{
    struct stage *s = open_one(1, -1);
    struct ask a;

    (void)state;
    memset(&slow, 0, sizeof slow);
    (void)kp_pool_close(s->pool, KP_CLOSE_NOW, 0);
    slow.own = kp_sim_world(s->sim);
    slow.world = *slow.own;
    slow.world.now_ns = now_and_stop;
    slow.world.wake = wake_and_stop;
    s->plan.world = &slow.world;
    s->plan.loop = s->loop;
    s->plan.limits.max_live = 2;
    assert_int_equal(kp_pool_open(&s->plan, &s->pool), 0);
    stage_start(s, &a, "k", 1000); /* from now on there is memory for all that comes */
    stage_pass(s, 0);
    answer(0, &thing);
    stage_pass(s, 0);
    assert_true(kp_sim_spawn(s->sim, gets, s) > 0);
    (void)kp_sim_settle(s->sim);
    assert_int_equal(slow.holding.entered, 1);
    assert_true(kp_sim_spawn(s->sim, closes, s) > 0);
    (void)kp_sim_settle(s->sim);
    kp_gate_open(s->sim, &slow.holding);
    (void)kp_sim_settle(s->sim);
    assert_int_equal(slow.gave_back.entered, 1);
    assert_int_equal(slow.out, 2);
    assert_int_equal(w.begun, 1);
    assert_int_equal(w.hurried, 0);
    kp_gate_open(s->sim, &slow.gave_back);
    stage_pass(s, 0);
    assert_int_equal(slow.rc, KP_ECLOSED);
    assert_int_equal(w.begun, 2);
    assert_int_equal(w.hurried, 1);
    kp_release(&a.lease);
    stage_pass(s, 0);
    assert_int_equal(kp_loop_close(s->loop), 0);
    kp_cast_close(s->cast);
    assert_int_equal(kp_sim_close(s->sim), 0);
}

/* What was begun for a request of 100 ms goes on for another one when that is cancelled, and is
 * hurried at its time. */
static void cancel_and_be_late(struct stage *s, struct ask *other)
{
    struct ask first;

    stage_start(s, &first, "k", 100);
    stage_start(s, other, "k", 5000);
    stage_pass(s, 0);
    kp_cancel(&first.request);
    stage_pass(s, 99);
    assert_int_equal(w.hurried, 0);
    stage_pass(s, 5); /* upkeep may be that late */
    assert_int_equal(w.hurried, 1);
}

/* Its driver knows only the deadline of the request that began it. */
static void what_goes_on_for_others_must_be_hurried_when_its_time_is_over(void **state)
{
    struct stage *s = open_one(2, -1);
    struct ask b;

    (void)state;
    cancel_and_be_late(s, &b);
    assert_int_equal(stage_stats(s).create_failures, 1);
    stage_pass(s, 100);
    assert_int_equal(w.begun, 2);
    serve(s, &b);
    stage_close(s);
}

static void a_check_that_goes_on_for_others_must_be_hurried_when_its_time_is_over(void **state)
{
    struct stage *s = open_checked(-1);
    struct ask b;

    (void)state;
    cancel_and_be_late(s, &b);
    assert_int_equal(stage_stats(s).invalid, 1);
    serve(s, &b);
    assert_int_equal(w.begun, 3);
    stage_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_creation_that_is_called_off_must_not_count_against_its_key),
        cmocka_unit_test(a_refusal_must_count_though_it_was_called_off),
        cmocka_unit_test(a_creation_whose_time_was_over_must_count),
        cmocka_unit_test(a_probe_that_is_called_off_must_leave_its_place_to_the_next),
        cmocka_unit_test(a_check_that_is_called_off_must_not_count_as_a_bad_one),
        cmocka_unit_test(a_creation_that_others_wait_for_must_go_on_for_them),
        cmocka_unit_test(a_check_that_others_wait_for_must_go_on_for_them),
        cmocka_unit_test(a_check_of_what_goes_anyway_must_not_go_on_for_others),
        cmocka_unit_test(a_creation_must_be_called_off_when_its_pool_closes),
        cmocka_unit_test(a_creation_whose_time_was_over_must_count_though_its_pool_closes),
        cmocka_unit_test(no_creation_must_begin_once_its_pool_is_closed),
        cmocka_unit_test(one_called_off_before_it_has_begun_must_begin_once_and_then_be_hurried),
        cmocka_unit_test(what_goes_on_for_others_must_be_hurried_when_its_time_is_over),
        cmocka_unit_test(a_check_that_goes_on_for_others_must_be_hurried_when_its_time_is_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
