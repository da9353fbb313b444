/* SPDX-License-Identifier: MIT
 *
 * What a third hostile review found: hits and uses that were counted but were none, functions that
 * are called in the middle of a start or a step, the last answer of a pool, deadlines, requests
 * that must not wait, and what is created while all keys are rotated.
 */
#include <stdlib.h>

#include "contract.h"
#include "loop.h"

static contract c;

static struct {
    struct stage stage;
    int events, misuses, drops, done_after_drop;
    int64_t status;
    kp_lease lease;
} l;

/* ---- hits ------------------------------------------------------------------------------------ */

static const kp_line validate_fails_once[] = { { .status = -1 }, { 0 } };

/* The first one's peer is gone at the moment in which the second one is made. */
static void report_the_first(const kp_event *event, void *ctx)
{
    (void)ctx;
    if (event->kind == KP_EVENT_CREATED && ++l.events == 2) kp_lease_report(&l.lease, KP_EGONE);
}

static void what_was_made_and_is_in_doubt_must_not_be_counted_as_a_hit(void **state)
{
    kp_lease lease;
    kp_stats stats;

    (void)state;
    memset(&l, 0, sizeof l);
    contract_begin(&c, NULL);
    c.options.limits.max_live = 2;
    c.options.on_event = report_the_first;
    c.script.validate = validate_fails_once;
    contract_open(&c);
    assert_int_equal(kp_get(c.pool, kp_str("a"), NULL, &l.lease), 0);
    assert_int_equal(kp_get(c.pool, kp_str("a"), NULL, &lease), 0);
    assert_int_equal(kp_stats_read(c.pool, KP_EVERY_KEY, &stats), 0);
    assert_int_equal(stats.creates, 3);
    assert_int_equal(stats.hits, 0);
    kp_release(&lease);
    kp_release(&l.lease);
    contract_end(&c);
}

static void what_is_in_doubt_on_a_loop_must_be_no_hit_either(void **state)
{
    static const kp_line good[] = { { .takes_ms = 1, .times = KP_OFF }, { 0 } };

    (void)state;
    for (int bad = 0; bad < 2; bad++) {
        const kp_script script = { .validate = bad ? validate_fails_once : good };
        const kp_options plan = { .limits = { .max_live = 2 }, .on_event = report_the_first };
        struct ask first, second;

        memset(&l, 0, sizeof l);
        stage_open(&l.stage, &script, &plan);
        stage_start(&l.stage, &first, "a", 1000);
        stage_pass(&l.stage, 1);
        l.lease = first.lease;
        stage_start(&l.stage, &second, "a", 1000);
        stage_pass(&l.stage, 10);
        assert_int_equal(second.status, 0);
        assert_int_equal(stage_stats(&l.stage).hits, 0);
        kp_release(&second.lease);
        kp_release(&l.lease);
        stage_close(&l.stage);
    }
}

/* ---- uses ------------------------------------------------------------------------------------ */

static kp_request *cancels;

static void cancel_when_made(const kp_event *event, void *ctx)
{
    (void)ctx;
    if (event->kind == KP_EVENT_CREATED) kp_cancel(cancels);
}

static void a_lease_that_nobody_heard_of_must_be_no_use(void **state)
{
    const kp_options plan = { .limits = { .max_uses = 1 }, .on_event = cancel_when_made };
    struct ask a;

    (void)state;
    stage_open(&l.stage, NULL, &plan);
    cancels = &a.request;
    stage_start(&l.stage, &a, "a", 1000);
    stage_pass(&l.stage, 1);
    assert_int_equal(a.answers, 0);
    assert_int_equal(stage_stats(&l.stage).idle, 1);
    cancels = NULL;
    stage_start(&l.stage, &a, "a", 1000);
    stage_pass(&l.stage, 1);
    assert_int_equal(stage_stats(&l.stage).creates, 1);
    kp_release(&a.lease);
    stage_close(&l.stage);
}

static void nor_one_whose_check_took_too_long(void **state)
{
    static const kp_line slow[] = { { .takes_ms = 50 }, { 0 } };
    const kp_script script = { .validate = slow };
    const kp_options plan = { .limits = { .max_uses = 2, .validate_after_ms = KP_NONE } };
    struct ask a;

    (void)state;
    stage_open(&l.stage, &script, &plan);
    stage_start(&l.stage, &a, "a", 1000);
    stage_pass(&l.stage, 1);
    kp_release(&a.lease);
    stage_start(&l.stage, &a, "a", 10);
    stage_pass(&l.stage, 100);
    assert_int_equal(a.status, KP_ETIMEDOUT);
    assert_int_equal(stage_stats(&l.stage).idle, 1);
    stage_close(&l.stage);
}

/* ---- in the middle of a step, or of a start -------------------------------------------------- */

static void count_misuse(const kp_why *why, void *arg)
{
    (void)why, (void)arg;
    l.misuses++;
}

static void dispatch_at_the_second(const kp_event *event, void *ctx)
{
    (void)ctx;
    if (event->kind == KP_EVENT_DESTROYED && ++l.events == 2)
        l.status = kp_loop_dispatch(l.stage.loop);
}

static void a_loop_must_not_be_dispatched_inside_a_start(void **state)
{
    const kp_options plan = { .limits = { .max_live = 2, .idle_ttl_ms = 100,
                                          .idle_check = KP_CHECK_GET },
                              .on_event = dispatch_at_the_second };
    struct ask a, b;

    (void)state;
    memset(&l, 0, sizeof l);
    stage_open(&l.stage, NULL, &plan);
    kp_on_misuse(count_misuse, NULL);
    stage_start(&l.stage, &a, "a", 1000);
    stage_start(&l.stage, &b, "a", 1000);
    stage_pass(&l.stage, 1);
    kp_release(&a.lease);
    kp_release(&b.lease);
    stage_pass(&l.stage, 200);
    stage_start(&l.stage, &a, "a", 1000); /* both are too old, and the first one's end serves it */
    assert_int_equal(l.events, 2);
    assert_int_equal(a.answers, 0);
    assert_int_equal(l.status, KP_EMISUSE);
    assert_int_equal(l.misuses, 1);
    stage_pass(&l.stage, 1);
    assert_int_equal(a.status, 0);
    kp_release(&a.lease);
    stage_close(&l.stage);
}

/* ---- a victim for which there is no job ------------------------------------------------------ */

enum { JOBS = 64 }; /* of a pool, before it needs memory for more */

static struct {
    struct ask asks[JOBS];
    struct ask *late; /* is cancelled and freed while its victim is destroyed */
    kp_job *job[JOBS];
    int begun, destroyed;
} crowd;
static char things[1];

static int begins(kp_job *job, void **out)
{
    *out = things;
    if (strcmp(job->key.data, "v") == 0) return 0;
    crowd.job[crowd.begun++] = job;
    return KP_PENDING;
}

static int destroys(kp_job *job, void *resource)
{
    struct ask *late = crowd.late;

    (void)job, (void)resource;
    crowd.destroyed++;
    crowd.late = NULL;
    if (late) kp_cancel(&late->request);
    free(late);
    return 0;
}

/* While this runs the pool keeps the job, so that all it has memory for are in use. */
static void answers_and_goes_on(kp_job *job)
{
    struct stage *s = &l.stage;

    kp_job_done(job, -1, NULL);
    stage_start(s, &crowd.asks[0], "a", 1000);
    stage_pass(s, 0);
    crowd.late = malloc(sizeof *crowd.late);
    assert_non_null(crowd.late);
    stage_start(s, crowd.late, "b", 1000); /* v goes for it */
    kp_sim_fail_alloc(s->sim, 1, true);
    stage_pass(s, 0);
    kp_sim_fail_alloc(s->sim, 0, false);
}

static void a_request_may_be_ended_while_its_victim_is_destroyed(void **state)
{
    struct stage *s = &l.stage;
    struct ask v;
    kp_key b;

    (void)state;
    memset(&crowd, 0, sizeof crowd);
    stage_open(s, NULL, &(kp_options){ .limits = { .max_live = KP_UNLIMITED,
                                                   .max_creating = KP_UNLIMITED },
                                       .budget = { .max_live = JOBS } });
    (void)kp_pool_close(s->pool, KP_CLOSE_NOW, 0);
    s->plan.driver = (kp_driver){ .create = begins, .destroy = destroys,
                                  .cancel = answers_and_goes_on, .flags = KP_NEVER_BLOCKS };
    assert_int_equal(kp_pool_open(&s->plan, &s->pool), 0);
    assert_int_equal(kp_pin(s->pool, kp_str("b"), &b), 0);
    stage_start(s, &v, "v", 1000);
    stage_pass(s, 0);
    for (int i = 0; i < JOBS - 1; i++) stage_start(s, &crowd.asks[i], i ? "a" : "c", 1000);
    stage_pass(s, 0);
    kp_release(&v.lease);
    kp_cancel(&crowd.asks[0].request);
    assert_null(crowd.late);
    assert_int_equal(crowd.destroyed, 1);
    kp_unpin(s->pool, &b);
    for (int i = 1; i < crowd.begun; i++) kp_job_done(crowd.job[i], -1, NULL);
    stage_pass(s, 1);
    for (int i = 0; i < JOBS - 1; i++) assert_int_equal(crowd.asks[i].status, KP_ECREATE);
    stage_close(s);
}

/* ---- the last answer of a pool --------------------------------------------------------------- */

static void drop(void *ctx)
{
    (void)ctx;
    l.drops++;
}

static void note_when(kp_request *request, int status, kp_lease lease)
{
    (void)request, (void)lease;
    l.status = status;
    l.done_after_drop += l.drops;
}

static void done_must_not_run_after_drop_ctx(void **state)
{
    kp_request request = { .done = note_when };

    (void)state;
    memset(&l, 0, sizeof l);
    stage_open(&l.stage, NULL, &(kp_options){ .name = "first" });
    (void)kp_pool_close(l.stage.pool, KP_CLOSE_NOW, 0);
    l.stage.plan.driver = (kp_driver){ .drop_ctx = drop };
    assert_int_equal(kp_pool_open(&l.stage.plan, &l.stage.pool), 0);
    request.loop = l.stage.loop;
    assert_int_equal(kp_get_start(l.stage.pool, kp_str("a"), NULL, &request), 0);
    assert_int_equal(kp_pool_close(l.stage.pool, KP_CLOSE_NOW, 0), 0);
    stage_pass(&l.stage, 1);
    assert_int_equal(l.status, KP_ECLOSED);
    assert_int_equal(l.done_after_drop, 0);
    assert_int_equal(l.drops, 1);
    assert_int_equal(kp_loop_close(l.stage.loop), 0);
    kp_cast_close(l.stage.cast);
    assert_int_equal(kp_sim_close(l.stage.sim), 0);
}

/* ---- who said not to wait -------------------------------------------------------------------- */

static void who_does_not_wait_must_not_wait_behind_others_on_a_loop(void **state)
{
    static const kp_line slowly_no[] = { { .takes_ms = 50, .status = -1 }, { 0 } };
    static const kp_line slow[] = { { .takes_ms = 1000, .times = KP_OFF }, { 0 } };
    const kp_script script = { .validate = slowly_no, .destroy = slow };
    const kp_options plan = { .limits = { .max_live = 1, .wait_order = KP_LIFO,
                                          .validate_after_ms = KP_NONE } };
    struct ask a, b;

    (void)state;
    stage_open(&l.stage, &script, &plan);
    stage_start(&l.stage, &a, "k", 1000);
    stage_pass(&l.stage, 1);
    kp_release(&a.lease);
    assert_int_equal(stage_start_with(&l.stage, &a, "k", (kp_ask){ .flags = KP_DONT_WAIT }), 0);
    stage_pass(&l.stage, 1);
    stage_start(&l.stage, &b, "k", 5000);
    stage_pass(&l.stage, 100);
    assert_int_equal(a.status, KP_EAGAIN);
    stage_pass(&l.stage, 2000);
    assert_int_equal(b.status, 0);
    kp_release(&b.lease);
    (void)kp_pool_close(l.stage.pool, KP_CLOSE_NOW, 0);
    stage_pass(&l.stage, 2000);
    assert_int_equal(kp_loop_close(l.stage.loop), 0);
    kp_cast_close(l.stage.cast);
    assert_int_equal(kp_sim_close(l.stage.sim), 0);
}

static int64_t asked_ms;

static void ask_at_once(void *arg)
{
    kp_ask ask = { .flags = KP_DONT_WAIT };
    kp_lease lease;

    *(int *)arg = kp_get(c.pool, kp_str("k"), &ask, &lease);
    asked_ms = kp_sim_now_ms(c.sim);
}

static void ask_and_wait(void *arg)
{
    kp_lease lease;

    if ((*(int *)arg = kp_get(c.pool, kp_str("k"), NULL, &lease)) == 0) kp_release(&lease);
}

static void a_thread_that_does_not_wait_must_not_wait_behind_others(void **state)
{
    static const kp_line slow[] = { { .takes_ms = 5000 }, { 0 } };
    int at_once = 1, waits = 1;
    kp_lease lease;

    (void)state;
    contract_begin(&c, NULL);
    c.options.limits.max_live = 1;
    c.options.limits.wait_order = KP_LIFO;
    c.options.limits.validate_after_ms = KP_NONE;
    c.options.limits.validate_timeout_ms = 10;
    c.script.validate = slow;
    contract_open(&c);
    assert_int_equal(kp_get(c.pool, kp_str("k"), NULL, &lease), 0);
    kp_release(&lease);
    assert_true(kp_sim_spawn(c.sim, ask_at_once, &at_once) > 0);
    (void)kp_sim_settle(c.sim);
    assert_true(kp_sim_spawn(c.sim, ask_and_wait, &waits) > 0);
    kp_sim_pass_ms(c.sim, 100);
    assert_int_equal(at_once, KP_EAGAIN);
    assert_int_equal(asked_ms, 10);
    kp_sim_pass_ms(c.sim, 6000);
    assert_int_equal(waits, 0);
    contract_end(&c);
}

/* ---- the deadline ---------------------------------------------------------------------------- */

static void take_a_second(kp_key key, kp_limits *limits, void *ctx)
{
    (void)key, (void)limits, (void)ctx;
    kp_sim_pass_ms(c.sim, 1000);
}

static void what_limits_for_takes_must_count_towards_the_deadline(void **state)
{
    static const kp_line slow[] = { { .takes_ms = 5000 }, { 0 } };
    kp_ask ask = { .within_ms = 1500 };
    kp_lease lease;

    (void)state;
    contract_begin(&c, NULL);
    c.options.limits_for = take_a_second;
    c.script.create = slow;
    contract_open(&c);
    assert_int_equal(kp_get(c.pool, kp_str("k"), &ask, &lease), KP_ETIMEDOUT);
    assert_int_equal(kp_sim_now_ms(c.sim), 1500);
    kp_sim_pass_ms(c.sim, 6000);
    contract_end(&c);
}

/* ---- rotated, while others are made ---------------------------------------------------------- */

static kp_gate gate;

static void rotate(void *arg)
{
    *(int64_t *)arg = kp_rotate(c.pool, KP_EVERY_KEY, KP_NONE);
}

static void what_is_made_while_all_are_rotated_must_not_be_old(void **state)
{
    static const kp_line slow[] = { { .gate = &gate, .times = KP_OFF }, { 0 } };
    kp_lease_about about;
    kp_lease lease;
    int64_t many = -1;

    (void)state;
    memset(&gate, 0, sizeof gate);
    contract_begin(&c, NULL);
    c.script.destroy = slow;
    contract_open(&c);
    assert_int_equal(kp_get(c.pool, kp_str("a"), NULL, &lease), 0);
    kp_release(&lease);
    assert_true(kp_sim_spawn(c.sim, rotate, &many) > 0);
    (void)kp_sim_settle(c.sim);
    assert_int_equal(gate.entered, 1);
    assert_int_equal(kp_get(c.pool, kp_str("b"), NULL, &lease), 0); /* of the new epoch */
    kp_gate_open(c.sim, &gate);
    (void)kp_sim_settle(c.sim);
    assert_int_equal(many, 1);
    assert_true(kp_lease_read(&lease, &about));
    assert_false(about.old);
    assert_false(about.doomed);
    kp_release(&lease);
    contract_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_made_and_is_in_doubt_must_not_be_counted_as_a_hit),
        cmocka_unit_test(what_is_in_doubt_on_a_loop_must_be_no_hit_either),
        cmocka_unit_test(a_lease_that_nobody_heard_of_must_be_no_use),
        cmocka_unit_test(nor_one_whose_check_took_too_long),
        cmocka_unit_test(a_loop_must_not_be_dispatched_inside_a_start),
        cmocka_unit_test(a_request_may_be_ended_while_its_victim_is_destroyed),
        cmocka_unit_test(done_must_not_run_after_drop_ctx),
        cmocka_unit_test(what_limits_for_takes_must_count_towards_the_deadline),
        cmocka_unit_test(who_does_not_wait_must_not_wait_behind_others_on_a_loop),
        cmocka_unit_test(a_thread_that_does_not_wait_must_not_wait_behind_others),
        cmocka_unit_test(what_is_made_while_all_are_rotated_must_not_be_old),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
