/* SPDX-License-Identifier: MIT
 *
 * "Calls" in the header names every function of the user's that may run before the call returns. A
 * caller relies on that: what may run must not need a lock that the caller holds. These are the
 * ones that are easily forgotten: driver.cancel where a call gives something up, driver.validate
 * after a reset that was answered, driver.destroy of what there turns out to be no place for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "keyedpool_test.h"

enum { CANCEL = 0 }; /* beside KP_JOB_CREATE and the others, which begin at 1 */

struct stage {
    kp_sim *sim;
    kp_loop *loop;
    kp_pool *pool;
    kp_options options;
    pthread_t caller;
    bool called[KP_JOB_REVOKE + 1]; /* on the caller's thread, since it was last cleared */
    kp_job_kind hangs;              /* these jobs stay pending */
    kp_job *pending;
    bool closes;                    /* create closes the pool */
    kp_lease lease;                 /* what a request of the loop got */
    int resource;
};

static void note(struct stage *s, int what)
{
    s->called[what] |= pthread_equal(pthread_self(), s->caller);
}

static int run(kp_job *job)
{
    struct stage *s = job->ctx;

    note(s, (int)job->kind);
    if (job->kind != s->hangs) return 0;
    s->pending = job;
    return KP_PENDING;
}

static int create(kp_job *job, void **resource)
{
    struct stage *s = job->ctx;

    *resource = &s->resource;
    if (s->closes) (void)kp_pool_close(s->pool, KP_CLOSE_NOW, KP_NONE);
    return run(job);
}

static int use(kp_job *job, void *resource)
{
    (void)resource;
    return run(job);
}

/* It fails soon, as its caller wants. */
static void cancel(kp_job *job)
{
    note(job->ctx, CANCEL);
    kp_job_done(job, -1, NULL);
}

static void open_stage(struct stage *s)
{
    memset(s, 0, sizeof *s);
    s->caller = pthread_self();
    assert_int_equal(kp_sim_open(11, &s->sim), 0);
    s->options.world = kp_sim_world(s->sim);
    s->options.driver = (kp_driver){ .create = create, .destroy = use, .cancel = cancel, .ctx = s };
}

static void open_pool(struct stage *s)
{
    assert_int_equal(kp_pool_open(&s->options, &s->pool), 0);
}

static void close_stage(struct stage *s)
{
    s->hangs = 0;
    assert_int_equal(kp_pool_close(s->pool, KP_CLOSE_WAIT, KP_SECONDS(1)), 0);
    assert_int_equal(kp_sim_close(s->sim), 0);
}

static void take(struct stage *s, kp_lease *lease)
{
    assert_int_equal(kp_get(s->pool, kp_str("k"), NULL, lease), 0);
}

static void a_get_that_gives_up_must_call_cancel(void **state)
{
    struct stage s;
    kp_lease lease;

    (void)state;
    open_stage(&s);
    open_pool(&s);
    s.hangs = KP_JOB_CREATE;
    assert_int_equal(kp_get(s.pool, kp_str("k"), KP_IN_MS(10), &lease), KP_ETIMEDOUT);
    assert_true(s.called[CANCEL]);
    close_stage(&s);
}

static void a_release_that_gives_a_validate_up_must_call_cancel(void **state)
{
    struct stage s;
    kp_lease lease;

    (void)state;
    open_stage(&s);
    s.options.driver.validate = use;
    s.options.limits.validate_on = KP_CHECK_RETURN;
    s.options.limits.validate_timeout_ms = 10;
    open_pool(&s);
    take(&s, &lease);
    s.hangs = KP_JOB_VALIDATE;
    kp_release(&lease);
    assert_true(s.called[CANCEL]);
    close_stage(&s);
}

static void upkeep_that_gives_a_test_up_must_call_cancel(void **state)
{
    struct stage s;
    kp_lease lease;

    (void)state;
    open_stage(&s);
    s.options.driver.validate = use;
    s.options.threads = KP_NONE;
    s.options.limits.validate_on = KP_CHECK_KEEPER;
    s.options.limits.validate_every_ms = 100;
    s.options.limits.validate_timeout_ms = 10;
    open_pool(&s);
    take(&s, &lease);
    kp_release(&lease);
    s.hangs = KP_JOB_VALIDATE;
    kp_sim_pass_ms(s.sim, 100);
    (void)kp_keep(s.pool);
    assert_non_null(s.pending);
    assert_false(s.called[CANCEL]);
    kp_sim_pass_ms(s.sim, 10);
    (void)kp_keep(s.pool);
    assert_true(s.called[CANCEL]);
    close_stage(&s);
}

static void done(kp_request *request, int status, kp_lease lease)
{
    struct stage *s = request->arg;

    assert_int_equal(status, 0);
    s->lease = lease;
}

static void the_answer_to_a_reset_must_call_validate(void **state)
{
    struct stage s;

    (void)state;
    open_stage(&s);
    assert_int_equal(kp_loop_open(&s.loop), 0);
    s.options.loop = s.loop;
    s.options.driver.flags = KP_NEVER_BLOCKS;
    s.options.driver.reset = use;
    s.options.driver.validate = use;
    s.options.limits.validate_on = KP_CHECK_RETURN;
    open_pool(&s);
    kp_request request = { .loop = s.loop, .done = done, .arg = &s };
    assert_int_equal(kp_get_start(s.pool, kp_str("k"), NULL, &request), 0);
    (void)kp_loop_dispatch(s.loop);
    assert_non_null(s.lease.resource);
    s.hangs = KP_JOB_RESET;
    kp_release(&s.lease);
    assert_non_null(s.pending);
    kp_job_done(s.pending, 0, NULL);
    assert_true(s.called[KP_JOB_VALIDATE]);
    s.hangs = 0;
    (void)kp_pool_close(s.pool, KP_CLOSE_NOW, KP_NONE);
    while (kp_pool_close(s.pool, KP_CLOSE_NOW, KP_NONE) > 0) (void)kp_loop_dispatch(s.loop);
    assert_int_equal(kp_loop_close(s.loop), 0);
    assert_int_equal(kp_sim_close(s.sim), 0);
}

static void want_one(void *arg)
{
    struct stage *s = arg;
    kp_lease lease;

    if (kp_get(s->pool, kp_str("k"), NULL, &lease) == 0) kp_release(&lease);
}

/* Somebody waits, so that it may be added; but what he lacks is a lease, so it finds no taker. */
static void an_added_one_that_nobody_may_take_or_keep_must_be_destroyed_by_the_call(void **state)
{
    struct stage s;
    kp_lease lease;
    int other;

    (void)state;
    open_stage(&s);
    s.options.limits = (kp_limits){ .max_live = 2, .max_lent = 1, .max_idle = KP_NONE };
    open_pool(&s);
    take(&s, &lease);
    assert_true(kp_sim_spawn(s.sim, want_one, &s) > 0);
    assert_int_equal(kp_sim_settle(s.sim), 1);
    assert_int_equal(kp_add(s.pool, kp_str("k"), &other), 0);
    assert_true(s.called[KP_JOB_DESTROY]);
    kp_release(&lease);
    kp_sim_join(s.sim, 0);
    close_stage(&s);
}

static void a_warm_up_whose_pool_closes_must_destroy_what_it_made(void **state)
{
    struct stage s;
    kp_key key = kp_str("k");

    (void)state;
    open_stage(&s);
    open_pool(&s);
    s.closes = true;
    assert_int_equal(kp_warm(s.pool, &key, 1, KP_IN_S(1)), 0);
    assert_true(s.called[KP_JOB_DESTROY]);
    close_stage(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_get_that_gives_up_must_call_cancel),
        cmocka_unit_test(a_release_that_gives_a_validate_up_must_call_cancel),
        cmocka_unit_test(upkeep_that_gives_a_test_up_must_call_cancel),
        cmocka_unit_test(the_answer_to_a_reset_must_call_validate),
        cmocka_unit_test(an_added_one_that_nobody_may_take_or_keep_must_be_destroyed_by_the_call),
        cmocka_unit_test(a_warm_up_whose_pool_closes_must_destroy_what_it_made),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
