/* SPDX-License-Identifier: MIT
 *
 * Requests that go while another key's resource is destroyed to make room for them: what was
 * promised to them is free at once, and what they leave behind is taken over (kp__waive).
 */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "loop.h"

static const kp_line slowly[] = { { .takes_ms = 1000 }, { 0 } };
static const kp_script slow = { .destroy = slowly };

/* Idle ones of `a`, as many as there is room for. */
static void fill(struct stage *s, int many)
{
    struct ask a[8];

    for (int i = 0; i < many; i++) stage_start(s, &a[i], "a", 1000);
    stage_pass(s, 0);
    for (int i = 0; i < many; i++) kp_release(&a[i].lease);
    assert_int_equal(stage_stats(s).idle, many);
}

enum way { TIMED_OUT, CANCELLED, SERVED, WAYS };

/* The first destroy takes a second. Nobody waits for it but the request that asked for it. */
static void what_was_promised_to_a_request_that_goes_must_be_free_at_once(void **state)
{
    const kp_options plan = { .limits = { .max_live = 4 },
                              .budget = { .max_live = 2, .max_creating = 1 } };
    struct stage s;
    struct ask b, c, own;

    (void)state;
    for (int way = 0; way < WAYS; way++) {
        stage_open_alone(&s, &slow, &plan);
        stage_start(&s, &own, "b", 1000);
        stage_pass(&s, 0);
        fill(&s, 1);
        stage_start(&s, &b, "b", way == TIMED_OUT ? 10 : 5000);
        stage_pass(&s, 1);
        assert_int_equal(stage_stats(&s).closing, 1);
        if (way == CANCELLED) kp_cancel(&b.request);
        if (way == SERVED) kp_release(&own.lease);
        stage_pass(&s, 19);
        assert_int_equal(b.answers, way != CANCELLED);
        assert_int_equal(kp_budget_set(s.pool, &(kp_budget){ .max_live = 8 }, NULL), 0);
        stage_start(&s, &c, "c", 5000);
        stage_pass(&s, 1);
        assert_int_equal(c.status, 0);
        assert_int_equal(stage_stats(&s).closing, 1);
        kp_release(&c.lease);
        kp_release(way == SERVED ? &b.lease : &own.lease);
        stage_pass(&s, 1000);
        stage_close(&s);
    }
}

static int hurried;

static void hurry(kp_job *job)
{
    (void)job;
    hurried++;
}

/* Its place is for whoever is next, and its resource may take leave of its peer. */
static void the_end_of_a_victim_must_not_be_cancelled_with_its_request(void **state)
{
    const kp_options plan = { .limits = { .max_live = 1 }, .budget = { .max_live = 1 } };
    struct stage s;
    struct ask b;

    (void)state;
    hurried = 0;
    for (int cancels = 0; cancels < 2; cancels++) {
        stage_open_alone(&s, &slow, &plan);
        (void)kp_pool_close(s.pool, KP_CLOSE_NOW, 0);
        s.plan.driver.cancel = hurry;
        assert_int_equal(kp_pool_open(&s.plan, &s.pool), 0);
        fill(&s, 1);
        stage_start(&s, &b, "b", 10);
        stage_pass(&s, 1);
        assert_int_equal(stage_stats(&s).closing, 1);
        if (cancels) kp_cancel(&b.request);
        stage_pass(&s, 10);
        assert_int_equal(hurried, 0);
        stage_pass(&s, 1000);
        stage_close(&s);
    }
}

/* However often a key's requests give up before the first victim is gone, no other one goes. */
static void requests_that_keep_timing_out_must_not_evict_one_each(void **state)
{
    const kp_options plan = { .limits = { .max_live = 8 }, .budget = { .max_live = 8 } };
    struct stage s;
    struct ask b;

    (void)state;
    stage_open_alone(&s, &slow, &plan);
    fill(&s, 8);
    for (int i = 0; i < 50; i++) {
        stage_start(&s, &b, "b", 10);
        stage_pass(&s, 11);
        assert_int_equal(b.status, KP_ETIMEDOUT);
        assert_string_equal(b.why.limit, "destroy");
    }
    assert_int_equal(stage_stats(&s).idle, 7);
    assert_int_equal(stage_stats(&s).closing, 1);
    stage_start(&s, &b, "b", 1000);
    stage_pass(&s, 500);
    assert_int_equal(b.status, 0);
    assert_int_equal(stage_stats(&s).evicted, 1);
    kp_release(&b.lease);
    stage_close(&s);
}

/* The first destroy takes a second, in which the limit is lowered by as much as is being destroyed;
 * so nothing else goes. Who would take that place over has to make room in the smaller budget. */
static void what_was_left_behind_must_not_be_taken_over_beyond_a_smaller_budget(void **state)
{
    kp_options plan = { .limits = { .max_live = 4, .group = { 1 } } };
    struct stage s;
    struct ask b;

    (void)state;
    for (int group = 0; group < 2; group++) {
        kp_budget smaller = { 0 };
        int64_t *most = group ? &smaller.group_max_live[0] : &smaller.max_live;
        *most = 3;
        plan.budget = smaller;
        *most = 2;
        stage_open_alone(&s, &slow, &plan);
        fill(&s, 3);
        stage_start(&s, &b, "b", 10);
        stage_pass(&s, 11);
        assert_int_equal(b.status, KP_ETIMEDOUT);
        assert_int_equal(kp_budget_set(s.pool, &smaller, NULL), 0);
        assert_int_equal(stage_stats(&s).idle, 2);
        assert_int_equal(stage_stats(&s).closing, 1);
        stage_start(&s, &b, "b", 5000);
        stage_pass(&s, 1000);
        assert_int_equal(b.status, 0);
        assert_int_equal(stage_stats(&s).live, 2);
        kp_release(&b.lease);
        stage_pass(&s, 1);
        stage_close(&s);
    }
}

/* ---- real threads ---------------------------------------------------------------------------- */

static struct {
    kp_pool *pool;
    kp_job *destroy;
    int destroys;
} real;

static int make(kp_job *job, void **resource)
{
    (void)job;
    *resource = malloc(1);
    return 0;
}

/* The first one is answered later. */
static int unmake(kp_job *job, void *resource)
{
    free(resource);
    if (real.destroys++ > 0) return 0;
    real.destroy = job;
    return KP_PENDING;
}

static void *get_b(void *rc)
{
    kp_lease lease;

    *(int *)rc = kp_get(real.pool, kp_str("b"), KP_IN_S(60), &lease);
    kp_release(&lease);
    return NULL;
}

static void never(kp_request *request, int status, kp_lease lease)
{
    (void)request, (void)status, (void)lease;
    fail();
}

/* A thread would run the destroy itself: this one is running already. */
static void a_thread_must_wait_for_what_a_loops_request_left_behind(void **state)
{
    const kp_options plan = { .driver = { .create = make, .destroy = unmake,
                                          .flags = KP_NEVER_BLOCKS },
                              .budget = { .max_live = 1 } };
    kp_request request = { .done = never };
    kp_stats stats;
    kp_lease lease;
    pthread_t thread;
    int rc = 1;

    (void)state;
    memset(&real, 0, sizeof real);
    assert_int_equal(kp_loop_open(&request.loop), 0);
    assert_int_equal(kp_pool_open(&plan, &real.pool), 0);
    assert_int_equal(kp_get(real.pool, kp_str("a"), NULL, &lease), 0);
    kp_release(&lease);
    assert_int_equal(kp_get_start(real.pool, kp_str("b"), KP_IN_S(60), &request), 0);
    while (!real.destroy) (void)kp_loop_dispatch(request.loop);
    kp_cancel(&request);
    assert_int_equal(pthread_create(&thread, NULL, get_b, &rc), 0);
    do {
        sched_yield();
        assert_int_equal(kp_stats_read(real.pool, kp_str("b"), &stats), 0);
    } while (stats.waiting == 0);
    assert_int_equal(real.destroys, 1);
    kp_job_done(real.destroy, 0, NULL);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(rc, 0);
    assert_int_equal(real.destroys, 1);
    assert_int_equal(kp_pool_close(real.pool, KP_CLOSE_NOW, 0), 0);
    assert_int_equal(kp_loop_close(request.loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_promised_to_a_request_that_goes_must_be_free_at_once),
        cmocka_unit_test(the_end_of_a_victim_must_not_be_cancelled_with_its_request),
        cmocka_unit_test(requests_that_keep_timing_out_must_not_evict_one_each),
        cmocka_unit_test(what_was_left_behind_must_not_be_taken_over_beyond_a_smaller_budget),
        cmocka_unit_test(a_thread_must_wait_for_what_a_loops_request_left_behind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
