/* SPDX-License-Identifier: MIT
 *
 * What a hostile review of event loops found: each test is the smallest run in which something was
 * lost, lent unchecked, or used after its end.
 */
#include <pthread.h>

#include "loop.h"

static const kp_options one = { .limits = { .max_live = 1, .retry_first_ms = KP_NONE } };

/* A request that was given a resource, and has given it back: it is idle now. */
static void make_one(struct stage *s, const char *key)
{
    struct ask a;

    stage_start(s, &a, key, 1000);
    stage_pass(s, 0);
    assert_int_equal(a.status, 0);
    kp_release(&a.lease);
    stage_pass(s, 0);
}

static void what_a_cancelled_request_never_used_must_still_be_checked_for_the_next(void **state)
{
    const kp_options plan = { .limits = { .max_live = 1, .validate_after_ms = 500 } };
    struct stage s;
    struct ask a, b;

    (void)state;
    for (int queued = 0; queued < 2; queued++) {
        stage_open(&s, NULL, &plan);
        make_one(&s, "k");
        stage_pass(&s, 500);
        stage_start(&s, &a, "k", 1000); /* has it, and has not heard of it */
        if (queued) stage_start(&s, &b, "k", 1000);
        kp_cancel(&a.request);
        if (!queued) stage_start(&s, &b, "k", 1000);
        stage_pass(&s, 0);
        assert_int_equal(b.status, 0);
        assert_int_equal(kp_cast_read(s.cast).validates, 1);
        kp_release(&b.lease);
        stage_close(&s);
    }
}

static void what_nobody_used_must_expire_when_it_would_have(void **state)
{
    const kp_options plan = { .limits = { .max_live = 1, .idle_ttl_ms = 100 } };
    struct stage s;
    struct ask a;

    (void)state;
    stage_open_alone(&s, NULL, &plan);
    make_one(&s, "k");
    stage_pass(&s, 90);
    stage_start(&s, &a, "k", 1000);
    kp_cancel(&a.request);
    stage_pass(&s, 10);
    assert_int_equal(stage_stats(&s).expired, 1);
    stage_close(&s);
}

/* ---- upkeep ---------------------------------------------------------------------------------- */

static void a_key_must_be_forgotten_though_its_minimum_takes_time_to_end(void **state)
{
    static const kp_line slow[] = { { .takes_ms = 10, .times = KP_OFF } };
    const kp_script script = { .destroy = slow };
    const kp_options plan = { .limits = { .max_live = 2, .min_live = 1, .refill = KP_REFILL_EAGER },
                              .forget_key_after_ms = 100 };
    struct stage s;

    (void)state;
    stage_open_alone(&s, &script, &plan);
    make_one(&s, "k");
    stage_pass(&s, 111);
    assert_int_equal(stage_stats(&s).keys_forgotten, 1);
    assert_int_equal(stage_stats(&s).creates, 1);
    stage_close(&s);
}

static void a_key_that_is_used_while_it_is_being_forgotten_must_stay(void **state)
{
    static const kp_line slow[] = { { .takes_ms = 10, .times = KP_OFF } };
    const kp_script script = { .destroy = slow };
    const kp_options plan = { .limits = { .max_live = 2, .min_live = 2, .refill = KP_REFILL_EAGER },
                              .forget_key_after_ms = 100 };
    struct stage s;
    struct ask a;

    (void)state;
    stage_open_alone(&s, &script, &plan);
    make_one(&s, "k");
    stage_pass(&s, 105); /* two are ending */
    assert_int_equal(stage_stats(&s).closing, 2);
    stage_start(&s, &a, "k", 1000);
    stage_pass(&s, 20);
    assert_int_equal(a.status, 0);
    assert_int_equal(stage_stats(&s).keys_forgotten, 0);
    assert_int_equal(stage_stats(&s).live, 2);
    kp_release(&a.lease);
    stage_close(&s);
}

enum { MANY = 1500 };

static void count_it(kp_request *request, int status, kp_lease lease)
{
    struct ask *a = request->arg;

    assert_int_equal(status, 0);
    assert_int_equal(a->stage->done++, a->number);
    kp_release(&lease);
}

static void those_answered_long_ago_must_hear_of_it_in_that_order(void **state)
{
    static struct ask a[MANY];
    const kp_options plan = { .limits = { .max_live = 2000, .max_creating = KP_UNLIMITED } };
    struct stage s;

    (void)state;
    stage_open(&s, NULL, &plan);
    for (int i = 0; i < MANY; i++) {
        stage_start(&s, &a[i], "k", 10 + MANY - i);
        a[i].number = i;
        a[i].request.done = count_it;
    }
    kp_sim_pass_ms(s.sim, 2 * MANY); /* all are due, too: the last one longest */
    stage_pass(&s, 0);
    assert_int_equal(s.done, MANY);
    stage_close(&s);
}

static const kp_loop *told;

static int remember_loop(kp_job *job, void *resource)
{
    (void)resource;
    told = job->loop;
    return 0;
}

static void a_driver_must_be_told_of_the_loop_that_is_left(void **state)
{
    struct stage s;
    struct ask a;
    kp_loop *second;

    (void)state;
    stage_open(&s, NULL, &one);
    (void)kp_pool_close(s.pool, KP_CLOSE_NOW, 0);
    s.plan.driver.reset = remember_loop;
    assert_int_equal(kp_pool_open(&s.plan, &s.pool), 0);
    stage_start(&s, &a, "k", 1000);
    stage_pass(&s, 0);
    assert_int_equal(kp_loop_open(&second), 0);
    assert_int_equal(kp_loop_dispatch(second), -1);
    assert_int_equal(kp_loop_close(second), 0);
    kp_release(&a.lease);
    assert_ptr_equal(told, s.loop); /* this thread must not be blocked */
    stage_close(&s);
}

/* ---- driver.cancel --------------------------------------------------------------------------- */

static struct {
    kp_sim *sim;
    pthread_t loop;
    kp_job *job;
    int creates, cancels;
    bool elsewhere, early;
} film;

static int film_create(kp_job *job, void **resource)
{
    (void)resource;
    film.creates++;
    film.job = job;
    if (!pthread_equal(pthread_self(), film.loop)) film.elsewhere = true;
    return KP_PENDING;
}

static int film_destroy(kp_job *job, void *resource)
{
    (void)job;
    (void)resource;
    return 0;
}

static void film_cancel(kp_job *job)
{
    film.cancels++;
    if (film.job != job) film.early = true;
    if (!pthread_equal(pthread_self(), film.loop)) film.elsewhere = true;
    film.job = NULL;
    kp_job_done(job, -1, NULL);
}

static void get_for_50_ms(void *arg)
{
    struct stage *s = arg;
    kp_lease lease;

    assert_int_equal(kp_get(s->pool, kp_str("k"), KP_ASK(.within_ms = 50), &lease), KP_ETIMEDOUT);
}

static void a_loop_must_run_the_drivers_cancel_too(void **state)
{
    const kp_driver driver = { .create = film_create,
                               .destroy = film_destroy,
                               .cancel = film_cancel,
                               .flags = KP_NEVER_BLOCKS };
    struct stage s;

    (void)state;
    for (int begun = 0; begun < 2; begun++) {
        memset(&film, 0, sizeof film);
        film.loop = pthread_self();
        stage_open_alone(&s, NULL, &one);
        (void)kp_pool_close(s.pool, KP_CLOSE_NOW, 0);
        s.plan.driver = driver;
        assert_int_equal(kp_pool_open(&s.plan, &s.pool), 0);
        (void)kp_loop_dispatch(s.loop);
        assert_true(kp_sim_spawn(s.sim, get_for_50_ms, &s) > 0);
        if (begun) stage_pass(&s, 60);
        else kp_sim_pass_ms(s.sim, 60); /* the loop is late: the get is over before it looks */
        kp_sim_join(s.sim, 0);
        stage_pass(&s, 10);
        assert_int_equal(film.creates, 1);
        assert_int_equal(film.cancels, 1);
        assert_false(film.elsewhere);
        assert_false(film.early);
        stage_close(&s);
    }
}

static struct {
    void *made;
    bool blocked;
} slow;

static int slow_create(kp_job *job, void **resource)
{
    if (job->tag && strcmp(job->tag, "later") == 0) return KP_PENDING;
    *resource = test_malloc(1);
    return 0;
}

static int slow_destroy(kp_job *job, void *resource)
{
    test_free(resource);
    if (!job->loop) slow.blocked = true; /* somebody stands by, on a loop's thread */
    return 0;
}

static void slow_cancel(kp_job *job)
{
    kp_job_done(job, 0, slow.made = test_malloc(1)); /* it was nearly there */
}

static void ending_one_whose_creation_was_hurried_must_need_no_memory(void **state)
{
    enum { JOBS = 65 }; /* of the 64 that the library makes at first, none is left */
    const kp_driver driver = { .create = slow_create,
                               .destroy = slow_destroy,
                               .cancel = slow_cancel,
                               .flags = KP_NEVER_BLOCKS };
    const kp_options plan = { .limits = { .max_live = 200, .max_creating = KP_UNLIMITED } };
    struct stage s;
    struct ask a, b[JOBS];

    (void)state;
    memset(&slow, 0, sizeof slow);
    stage_open(&s, NULL, &plan);
    (void)kp_pool_close(s.pool, KP_CLOSE_NOW, 0);
    s.plan.driver = driver;
    assert_int_equal(kp_pool_open(&s.plan, &s.pool), 0);
    assert_int_equal(stage_start_with(&s, &a, "k", (kp_ask){ .tag = "later" }), 0);
    stage_pass(&s, 0);
    kp_cancel(&a.request); /* the resource is idle now */
    for (int i = 0; i < JOBS; i++) {
        stage_start(&s, &b[i], i ? "other" : "k", 1000);
        stage_pass(&s, 0);
        assert_int_equal(b[i].status, 0);
    }
    assert_ptr_equal(b[0].lease.resource, slow.made);
    for (int i = 0; i < JOBS; i++) kp_discard(&b[i].lease);
    assert_false(slow.blocked);
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_cancelled_request_never_used_must_still_be_checked_for_the_next),
        cmocka_unit_test(what_nobody_used_must_expire_when_it_would_have),
        cmocka_unit_test(a_key_must_be_forgotten_though_its_minimum_takes_time_to_end),
        cmocka_unit_test(a_key_that_is_used_while_it_is_being_forgotten_must_stay),
        cmocka_unit_test(those_answered_long_ago_must_hear_of_it_in_that_order),
        cmocka_unit_test(a_driver_must_be_told_of_the_loop_that_is_left),
        cmocka_unit_test(a_loop_must_run_the_drivers_cancel_too),
        cmocka_unit_test(ending_one_whose_creation_was_hurried_must_need_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
