/* SPDX-License-Identifier: MIT
 *
 * How a request of an event loop ends other than by its answer: a cancel at every step, the loop's
 * close, the pool's close; and what is refused at its start.
 */
#include <pthread.h>
#include <stdio.h>

#include "loop.h"

static char said[256];

static void hear(const kp_why *why, void *arg)
{
    (void)arg;
    snprintf(said, sizeof said, "%s", why->text);
}

static const kp_options one = { .limits = { .max_live = 1, .retry_first_ms = KP_NONE } };

/* Over: done does not run, nothing is held, the pool can serve the next at once or soon. */
static void must_be_over(struct stage *s, struct ask *a)
{
    struct ask next;

    kp_cancel(&a->request); /* it is over: nothing */
    stage_pass(s, 300);
    assert_int_equal(a->answers, 0);
    assert_int_equal(a->why.code, KP_ECANCELED);
    assert_int_equal(stage_stats(s).waiting, 0);
    assert_int_equal(stage_stats(s).leases, 0);
    stage_start(s, &next, "k", 1000);
    stage_pass(s, 300);
    assert_int_equal(next.status, 0);
    kp_release(&next.lease);
    stage_pass(s, 300);
}

static void a_cancelled_waiter_must_be_passed_over(void **state)
{
    struct stage s;
    struct ask a, b;
    kp_lease first;

    (void)state;
    stage_open(&s, NULL, &one);
    assert_int_equal(kp_get(s.pool, kp_str("k"), NULL, &first), 0);
    stage_start(&s, &a, "k", 1000);
    stage_start(&s, &b, "k", 1000);
    kp_cancel(&a.request);
    assert_int_equal(a.why.code, KP_ECANCELED);
    kp_release(&first);
    stage_pass(&s, 0);
    assert_int_equal(a.answers, 0);
    assert_int_equal(b.status, 0);
    kp_release(&b.lease);
    assert_int_equal(stage_stats(&s).refusals, 1);
    must_be_over(&s, &a);
    stage_close(&s);
}

static void H1_what_was_granted_to_a_cancelled_request_must_go_to_the_next(void **state)
{
    struct stage s;
    struct ask a, b;
    kp_lease first;

    (void)state;
    stage_open(&s, NULL, &one);
    assert_int_equal(kp_get(s.pool, kp_str("k"), NULL, &first), 0);
    stage_start(&s, &a, "k", 1000);
    kp_release(&first); /* assigned to a, which has not heard of it */
    stage_start(&s, &b, "k", 1000);
    kp_cancel(&a.request);
    stage_pass(&s, 0);
    assert_int_equal(a.answers, 0);
    assert_int_equal(b.status, 0);
    kp_release(&b.lease);
    assert_int_equal(kp_try_get(s.pool, kp_str("k"), &first), 0);
    kp_release(&first);
    assert_int_equal(stage_stats(&s).gets, 3);
    must_be_over(&s, &a);
    stage_close(&s);
}

static void a_permit_of_a_cancelled_request_must_be_given_back(void **state)
{
    struct stage s;
    struct ask a;

    (void)state;
    stage_open(&s, NULL, &one);
    stage_start(&s, &a, "k", 1000); /* may create, and has not begun to */
    kp_cancel(&a.request);
    assert_int_equal(stage_stats(&s).live, 0);
    must_be_over(&s, &a);
    stage_close(&s);
}

static void a_creation_of_a_cancelled_request_must_serve_the_next(void **state)
{
    static const kp_line slow[] = { { .takes_ms = 50 }, { 0 } };
    const kp_script script = { .create = slow };
    struct stage s;
    struct ask a, b;

    (void)state;
    stage_open(&s, &script, &one);
    stage_start(&s, &a, "k", 1000);
    stage_pass(&s, 10);
    stage_start(&s, &b, "k", 1000);
    kp_cancel(&a.request);
    stage_pass(&s, 40);
    assert_int_equal(b.status, 0);
    assert_int_equal(stage_stats(&s).creates, 1);
    kp_release(&b.lease);
    must_be_over(&s, &a);
    stage_close(&s);
}

static void a_check_for_a_cancelled_request_must_end_with_an_idle_resource(void **state)
{
    static const kp_line slow[] = { { .takes_ms = 50 }, { 0 } };
    const kp_script script = { .validate = slow };
    const kp_options plan = { .limits = { .max_live = 1, .validate_after_ms = KP_NONE } };
    struct stage s;
    struct ask a;

    (void)state;
    stage_open(&s, &script, &plan);
    stage_start(&s, &a, "k", 1000);
    stage_pass(&s, 0);
    kp_release(&a.lease);
    stage_start(&s, &a, "k", 1000);
    stage_pass(&s, 10);
    kp_cancel(&a.request);
    assert_int_equal(stage_stats(&s).lent, 1);
    stage_pass(&s, 40);
    assert_int_equal(stage_stats(&s).idle, 1);
    assert_int_equal(stage_stats(&s).hits, 0);
    must_be_over(&s, &a);
    stage_close(&s);
}

static void a_victim_of_a_cancelled_request_must_make_room_for_the_next(void **state)
{
    static const kp_line slow[] = { { .takes_ms = 50 }, { 0 } };
    const kp_script script = { .destroy = slow };
    const kp_options plan = { .budget = { .max_live = 1 } };
    struct stage s;
    struct ask a, b;

    (void)state;
    for (int begun = 0; begun < 2; begun++) {
        stage_open(&s, &script, &plan);
        stage_start(&s, &a, "other", 1000);
        stage_pass(&s, 0);
        kp_release(&a.lease);
        stage_start(&s, &a, "k", 1000); /* granted: the other's room */
        stage_pass(&s, begun ? 10 : 0);
        stage_start(&s, &b, "third", 1000);
        kp_cancel(&a.request);
        stage_pass(&s, 50);
        assert_int_equal(b.status, 0);
        assert_int_equal(kp_cast_read(s.cast).most_live, 1);
        kp_release(&b.lease);
        must_be_over(&s, &a);
        stage_close(&s);
    }
}

static void a_refused_request_may_be_cancelled_before_it_hears_of_it(void **state)
{
    struct stage s;
    struct ask a;
    kp_lease first;

    (void)state;
    stage_open(&s, NULL, &one);
    assert_int_equal(kp_get(s.pool, kp_str("k"), NULL, &first), 0);
    stage_start(&s, &a, "k", 1000);
    assert_int_equal(kp_pool_close(s.pool, KP_CLOSE_NOW, 0), 1);
    kp_cancel(&a.request);
    stage_pass(&s, 0);
    assert_int_equal(a.answers, 0);
    kp_release(&first);
    assert_false(kp_is_pool(s.pool));
    assert_int_equal(kp_loop_close(s.loop), 0);
    kp_cast_close(s.cast);
    assert_int_equal(kp_sim_close(s.sim), 0);
}

/* What one key gives up is not for another whose turn is still to come. */
static void a_pause_of_all_keys_must_begin_nothing(void **state)
{
    static const char *const key[] = { "a", "b" };
    const kp_limits pause = { .max_live = KP_NONE }, resume = { .max_live = 1 };
    const kp_options plan = { .limits = { .max_live = 1 },
                              .budget = { .max_live = 1, .evict_other_keys = KP_OFF } };
    struct stage s;
    struct ask first, next;
    kp_key pin[2]; /* so that both are there, a first */

    (void)state;
    for (int i = 0; i < 2; i++) {
        stage_open(&s, NULL, &plan);
        for (int k = 0; k < 2; k++) assert_int_equal(kp_pin(s.pool, kp_str(key[k]), &pin[k]), 0);
        stage_start(&s, &first, key[i], 1000);
        stage_pass(&s, 0);
        kp_release(&first.lease);
        stage_start(&s, &next, key[!i], 1000);
        assert_int_equal(kp_limits_set(s.pool, KP_EVERY_KEY, &pause, NULL), 0);
        stage_pass(&s, 10);
        assert_int_equal(next.answers, 0);
        assert_int_equal(stage_stats(&s).live, 0);
        assert_int_equal(kp_limits_set(s.pool, KP_EVERY_KEY, &resume, NULL), 0);
        stage_pass(&s, 0);
        assert_int_equal(next.status, 0);
        kp_release(&next.lease);
        for (int k = 0; k < 2; k++) kp_unpin(s.pool, &pin[k]);
        stage_close(&s);
    }
}

/* ---- the closes ------------------------------------------------------------------------------ */

static void closing_the_pool_must_refuse_its_requests(void **state)
{
    static const kp_line slow[] = { { .takes_ms = 50 }, { 0 } };
    const kp_script script = { .create = slow };
    struct stage s;
    struct ask a, b;

    (void)state;
    stage_open(&s, &script, &one);
    stage_start(&s, &a, "k", 1000);
    stage_start(&s, &b, "k", 1000);
    stage_pass(&s, 10);
    assert_int_equal(kp_pool_close(s.pool, KP_CLOSE_WAIT, 0), 1); /* does not wait on a loop */
    stage_pass(&s, 0);
    assert_int_equal(a.status, KP_ECLOSED);
    assert_int_equal(b.status, KP_ECLOSED);
    assert_int_equal(stage_start_with(&s, &a, "k", (kp_ask){ 0 }), KP_ECLOSED);
    stage_pass(&s, 50);
    assert_int_equal(kp_cast_read(s.cast).destroys, 1);
    assert_int_equal(kp_loop_close(s.loop), 0);
    kp_cast_close(s.cast);
    assert_int_equal(kp_sim_close(s.sim), 0);
}

static void closing_the_loop_must_cancel_its_requests(void **state)
{
    struct stage s;
    struct ask a[5];
    kp_lease first;

    (void)state;
    stage_open(&s, NULL, &one);
    assert_int_equal(kp_get(s.pool, kp_str("k"), NULL, &first), 0);
    for (int i = 0; i < 5; i++) stage_start(&s, &a[i], "k", 1000);
    kp_release(&first);
    assert_int_equal(kp_loop_close(s.loop), 5);
    assert_int_equal(s.done, 0);
    assert_int_equal(stage_stats(&s).waiting, 0);
    assert_int_equal(stage_stats(&s).idle, 1);
    assert_int_equal(kp_loop_open(&s.loop), 0);
    stage_close(&s);
}

/* Nothing makes it look by itself: it waits for ever, and its creation may take for ever. */
static void closing_the_loop_must_cancel_a_request_that_waits_for_ever(void **state)
{
    static const kp_line slow[] = { { .takes_ms = 50 }, { 0 } };
    const kp_script script = { .create = slow };
    struct stage s;
    struct ask a;

    (void)state;
    stage_open(&s, &script, &one);
    stage_start(&s, &a, "k", KP_OFF);
    stage_pass(&s, 10);
    assert_int_equal(stage_stats(&s).creating, 1);
    assert_int_equal(kp_loop_close(s.loop), 1);
    assert_int_equal(a.why.code, KP_ECANCELED);
    assert_int_equal(stage_stats(&s).waiting, 0);
    assert_int_equal(kp_loop_open(&s.loop), 0);
    stage_pass(&s, 50);
    assert_int_equal(stage_stats(&s).idle, 1);
    assert_int_equal(s.done, 0);
    stage_close(&s);
}

static void a_loop_that_a_pool_needs_must_not_close(void **state)
{
    struct stage s;
    struct ask a;

    (void)state;
    kp_on_misuse(hear, NULL);
    stage_open_alone(&s, NULL, &one);
    stage_start(&s, &a, "k", 1000);
    assert_int_equal(kp_loop_close(s.loop), KP_EMISUSE);
    assert_non_null(strstr(said, "a pool that names this loop is open"));
    kp_on_misuse(NULL, NULL);
    stage_pass(&s, 0);
    assert_int_equal(a.answers, 0); /* cancelled all the same */
    stage_close(&s);
}

/* ---- what is refused ------------------------------------------------------------------------- */

static void a_start_that_fails_must_never_run_done(void **state)
{
    const kp_options plan = { .limits = { .max_live = 1, .max_waiting = 1 } };
    struct stage s;
    struct ask a, b, c;

    (void)state;
    stage_open(&s, NULL, &plan);
    stage_start(&s, &a, "k", 1000);
    stage_start(&s, &b, "k", 1000);
    assert_int_equal(stage_start_with(&s, &c, "k", (kp_ask){ 0 }), KP_EFULL);
    assert_string_equal(c.why.limit, "max_waiting");
    assert_int_equal(stage_start_with(&s, &c, "k", (kp_ask){ .flags = KP_DONT_WAIT }), KP_EAGAIN);
    kp_cancel(&c.request); /* never begun: nothing */
    stage_pass(&s, 0);
    assert_int_equal(c.answers, 0);
    kp_release(&a.lease);
    stage_pass(&s, 0);
    kp_release(&b.lease);
    stage_close(&s);
}

/* It was never under way, so it may be cancelled, and be started again. */
static void a_request_that_was_started_without_a_pool_must_be_as_it_was(void **state)
{
    struct stage s;
    struct ask a;

    (void)state;
    kp_on_misuse(hear, NULL);
    stage_open(&s, NULL, &one);
    stage_start(&s, &a, "k", 1000);
    stage_pass(&s, 0);
    kp_release(&a.lease);
    assert_int_equal(kp_get_start(NULL, kp_str("k"), NULL, &a.request), KP_EMISUSE);
    assert_non_null(strstr(said, "pool is NULL"));
    assert_int_equal(kp_get_start(s.pool, kp_str("k"), NULL, &a.request), 0);
    kp_cancel(&a.request);
    stage_close(&s);
    kp_on_misuse(NULL, NULL);
}

static void a_driver_that_may_block_must_be_refused_on_a_loop(void **state)
{
    struct stage s;
    struct ask a;
    kp_why why;
    kp_pool *pool;

    (void)state;
    stage_open(&s, NULL, &one);
    (void)kp_pool_close(s.pool, KP_CLOSE_NOW, 0);
    s.plan.driver.flags = 0;
    assert_int_equal(kp_pool_open(&s.plan, &s.pool), 0);
    assert_int_equal(stage_start_with(&s, &a, "k", (kp_ask){ 0 }), KP_ECONFIG);
    assert_string_equal(a.why.field, "driver.flags");
    s.plan.loop = s.loop;
    s.plan.why = &why;
    assert_int_equal(kp_pool_open(&s.plan, &pool), KP_ECONFIG);
    assert_string_equal(why.field, "loop");
    s.plan.driver.flags = KP_NEVER_BLOCKS;
    s.plan.threads = 1;
    assert_int_equal(kp_pool_open(&s.plan, &pool), KP_ECONFIG);
    assert_string_equal(why.field, "threads");
    stage_close(&s);
}

static void *elsewhere(void *arg)
{
    struct ask *a = arg;

    kp_cancel(&a->request);
    assert_non_null(strstr(said, "kp_cancel"));
    assert_int_equal(kp_loop_dispatch(a->stage->loop), KP_EMISUSE);
    assert_int_equal(kp_loop_close(a->stage->loop), KP_EMISUSE);
    return NULL;
}

static void another_thread_must_be_told_that_the_loop_is_not_its_own(void **state)
{
    struct stage s;
    struct ask a, b;
    pthread_t thread;

    (void)state;
    kp_on_misuse(hear, NULL);
    stage_open(&s, NULL, &one);
    stage_start(&s, &a, "k", 1000);
    assert_int_equal(pthread_create(&thread, NULL, elsewhere, &a), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(stage_start_with(&s, &b, "k", (kp_ask){ 0 }), 0);
    b.request.loop = s.loop;
    assert_int_equal(kp_get_start(s.pool, kp_str("k"), NULL, &b.request), KP_EMISUSE);
    assert_non_null(strstr(said, "under way"));
    kp_cancel(&b.request);
    stage_pass(&s, 0);
    kp_release(&a.lease);
    stage_close(&s);
    kp_on_misuse(NULL, NULL);
}

static void a_get_that_waits_must_be_refused_on_the_thread_of_the_pools_own_loop(void **state)
{
    struct stage s;
    struct ask a;
    kp_lease lease;
    kp_why why;
    const kp_key key = kp_str("k");

    (void)state;
    kp_on_misuse(hear, NULL);
    stage_open_alone(&s, NULL, &one);
    stage_start(&s, &a, "k", 1000);
    stage_pass(&s, 0);
    assert_int_equal(kp_get(s.pool, key, KP_ASK(.why = &why), &lease), KP_EMISUSE);
    assert_non_null(strstr(why.text, "kp_get_start"));
    assert_int_equal(kp_warm(s.pool, &key, 1, KP_ASK(.why = &why)), KP_EMISUSE);
    assert_int_equal(kp_try_get(s.pool, key, &lease), KP_EAGAIN);
    kp_release(&a.lease);
    assert_int_equal(kp_try_get(s.pool, key, &lease), 0);
    kp_release(&lease);
    stage_close(&s);
    kp_on_misuse(NULL, NULL);
}

static void dispatch_again(kp_request *request, int status, kp_lease lease)
{
    struct ask *a = request->arg;

    a->status = status;
    a->lease = lease;
    assert_int_equal(kp_loop_dispatch(request->loop), KP_EMISUSE);
    assert_int_equal(kp_loop_close(request->loop), KP_EMISUSE);
}

static void dispatch_must_not_run_inside_itself(void **state)
{
    struct stage s;
    struct ask a;

    (void)state;
    kp_on_misuse(hear, NULL);
    stage_open(&s, NULL, &one);
    stage_start(&s, &a, "k", 1000);
    a.request.done = dispatch_again;
    stage_pass(&s, 0);
    assert_int_equal(a.status, 0);
    kp_release(&a.lease);
    stage_close(&s);
    assert_int_equal(kp_loop_dispatch(s.loop), KP_EMISUSE); /* closed */
    assert_int_equal(kp_loop_dispatch(NULL), KP_EMISUSE);
    assert_int_equal(kp_loop_close(NULL), 0);
    assert_int_equal(kp_loop_fd(NULL), -1);
    kp_on_misuse(NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cancelled_waiter_must_be_passed_over),
        cmocka_unit_test(H1_what_was_granted_to_a_cancelled_request_must_go_to_the_next),
        cmocka_unit_test(a_permit_of_a_cancelled_request_must_be_given_back),
        cmocka_unit_test(a_creation_of_a_cancelled_request_must_serve_the_next),
        cmocka_unit_test(a_check_for_a_cancelled_request_must_end_with_an_idle_resource),
        cmocka_unit_test(a_victim_of_a_cancelled_request_must_make_room_for_the_next),
        cmocka_unit_test(a_refused_request_may_be_cancelled_before_it_hears_of_it),
        cmocka_unit_test(a_pause_of_all_keys_must_begin_nothing),
        cmocka_unit_test(closing_the_pool_must_refuse_its_requests),
        cmocka_unit_test(closing_the_loop_must_cancel_its_requests),
        cmocka_unit_test(closing_the_loop_must_cancel_a_request_that_waits_for_ever),
        cmocka_unit_test(a_loop_that_a_pool_needs_must_not_close),
        cmocka_unit_test(a_start_that_fails_must_never_run_done),
        cmocka_unit_test(a_request_that_was_started_without_a_pool_must_be_as_it_was),
        cmocka_unit_test(a_driver_that_may_block_must_be_refused_on_a_loop),
        cmocka_unit_test(another_thread_must_be_told_that_the_loop_is_not_its_own),
        cmocka_unit_test(a_get_that_waits_must_be_refused_on_the_thread_of_the_pools_own_loop),
        cmocka_unit_test(dispatch_must_not_run_inside_itself),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
