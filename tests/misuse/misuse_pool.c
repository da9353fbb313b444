/* SPDX-License-Identifier: MIT
 *
 * L10, rows 9 and 10 of the ten misuses, and arguments that no call may be given: jobs answered
 * twice or never, and every call on a pool that was closed. Unchecked by contract, so not here:
 * ctx freed by hand after close (drop_ctx is for that). errors.c has children of fork that
 * are refused, faults/fork.c what is stale in others.
 */
#include "stage.h"

/* ---- 9: answering a job ---- */

static kp_job *pending;

static int create_later(kp_job *job, void **out)
{
    (void)out;
    pending = job;
    return KP_PENDING;
}

static int nothing_to_destroy(kp_job *job, void *resource)
{
    return (void)job, (void)resource, 0;
}

static void a_job_that_is_answered_twice_must_be_told(void **state)
{
    struct fixture *f = *state;
    static int      things[2];
    kp_lease        lease;
    kp_job         *job;

    open_pool(f,
              (kp_options){ .driver = { .create = create_later, .destroy = nothing_to_destroy } });
    assert_int_equal(kp_get(f->pool, kp_str("k"), KP_IN_MS(10), &lease), KP_ETIMEDOUT);
    job = pending;
    kp_job_done(job, 0, &things[0]);
    assert_int_equal(f->heard.misuses + f->heard.orphans, 0);
    assert_int_equal(stats(f).idle, 1);
    kp_job_done(job, 0, &things[1]);
    assert_int_equal(f->heard.misuses + f->heard.orphans, 1);
    if (!strstr(f->heard.text, "answered") && !strstr(f->heard.orphan_text, "answered"))
        fail_msg("\"%s%s\" does not say answered", f->heard.text, f->heard.orphan_text);
    assert_int_equal(stats(f).live, 1);
    assert_int_equal(kp_try_get(f->pool, kp_str("k"), &lease), 0);
    assert_ptr_equal(lease.resource, &things[0]);
    kp_release(&lease);
}

static int both[2];
static kp_job_kind doubles;             /* which function answers twice */

static int create_maybe_twice(kp_job *job, void **out)
{
    if (doubles == job->kind) kp_job_done(job, 0, &both[0]);
    *out = &both[doubles == job->kind];
    return 0;
}

static int use_maybe_twice(kp_job *job, void *resource)
{
    (void)resource;
    if (doubles == job->kind) kp_job_done(job, 0, NULL);
    return doubles == job->kind && job->kind != KP_JOB_DESTROY ? -1 : 0;
}

/* Once by kp_job_done and once by the result: the first one counts. */
static void a_function_that_answers_and_then_returns_an_answer_must_be_told(void **state)
{
    static const kp_job_kind kinds[] = { KP_JOB_CREATE, KP_JOB_VALIDATE, KP_JOB_RESET,
                                         KP_JOB_DESTROY };
    struct fixture *f = *state;
    kp_lease        lease;

    open_pool(f, (kp_options){ .driver = { .create = create_maybe_twice,
                                           .destroy = use_maybe_twice,
                                           .validate = use_maybe_twice,
                                           .reset = use_maybe_twice },
                               .limits = { .validate_after_ms = KP_NONE } });
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        doubles = KP_JOB_ABANDON;       /* none */
        if (kinds[i] != KP_JOB_CREATE) {
            assert_int_equal(kp_get(f->pool, kp_str("k"), KP_IN_MS(10), &lease), 0);
            kp_release(&lease);
        }
        doubles = kinds[i];
        assert_int_equal(kp_get(f->pool, kp_str("k"), KP_IN_MS(10), &lease), 0);
        if (doubles == KP_JOB_CREATE) assert_ptr_equal(lease.resource, &both[0]);
        kp_release(&lease);
        if (doubles == KP_JOB_VALIDATE || doubles == KP_JOB_RESET)
            assert_int_equal(stats(f).idle, 1);
        (void)kp_evict(f->pool, kp_str("k"), KP_NONE);
        assert_int_equal(f->heard.misuses, i + 1);
        assert_non_null(strstr(f->heard.text, "answered already"));
    }
    assert_int_equal(stats(f).live, 0);
}

static void a_job_that_is_never_answered_must_cost_its_requests_no_more_than_their_deadline(
    void **state)
{
    struct fixture *f = *state;
    static int      thing;
    kp_lease        lease;
    kp_why          why;

    open_pool(f, (kp_options){ .driver = { .create = create_later, .destroy = nothing_to_destroy },
                               .limits = { .max_live = 1 } });
    for (int i = 0; i < 3; i++) {
        assert_int_equal(kp_get(f->pool, kp_str("k"), KP_ASK(.within_ms = 50, .why = &why), &lease),
                         KP_ETIMEDOUT);
        assert_int_equal(why.waited_ms, 50);
        assert_int_equal(why.creating, 1);
    }
    assert_int_equal(stats(f).live, 1);
    kp_job_done(pending, 0, &thing);
}

/* ---- 10: after close ---- */

static void drop(void *ctx)
{
    ((struct heard *)ctx)->dropped++;
}

static void every_call_on_a_closed_pool_must_say_closed(void **state)
{
    struct fixture *f = *state;
    kp_pool        *pool;
    kp_lease        lease;
    kp_key          key = kp_str("k"), pinned;
    kp_limits       limits = { .max_live = 1 };
    kp_budget       budget = { .max_live = 1 };
    kp_stats        s;
    char            text[200];
    int             thing;

    open_small(f);
    pool = f->pool;
    f->pool = NULL;
    assert_true(kp_is_pool(pool));
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_NOW, KP_NONE), 0);
    assert_false(kp_is_pool(pool));
    assert_int_equal(kp_get(pool, key, NULL, &lease), KP_ECLOSED);
    assert_memory_equal(&lease, &(kp_lease){ 0 }, sizeof lease);
    assert_int_equal(kp_try_get(pool, key, &lease), KP_ECLOSED);
    assert_int_equal(kp_pin(pool, key, &pinned), KP_ECLOSED);
    assert_int_equal(kp_add(pool, key, &thing), KP_ECLOSED);
    assert_int_equal(kp_warm(pool, &key, 1, NULL), KP_ECLOSED);
    assert_int_equal(kp_lease_of(pool, &thing, &lease), KP_ECLOSED);
    assert_int_equal(kp_limits_set(pool, key, &(kp_limits){ .max_live = 1 }, NULL), KP_ECLOSED);
    assert_int_equal(kp_budget_set(pool, &(kp_budget){ .max_live = 1 }, NULL), KP_ECLOSED);
    assert_int_equal(kp_limits_read(pool, key, &limits), KP_ECLOSED);
    assert_memory_equal(&limits, &(kp_limits){ 0 }, sizeof limits);
    assert_int_equal(kp_budget_read(pool, &budget), KP_ECLOSED);
    assert_memory_equal(&budget, &(kp_budget){ 0 }, sizeof budget);
    assert_int_equal(kp_evict(pool, key, KP_NONE), KP_ECLOSED);
    assert_int_equal(kp_drop(pool, key, KP_NONE), KP_ECLOSED);
    assert_int_equal(kp_stats_read(pool, KP_EVERY_KEY, &s), KP_ECLOSED);
    assert_int_equal(kp_invalidate(pool, &thing), 0);
    assert_int_equal(kp_keep(pool), -1);
    assert_int_equal(kp_now_ns(pool), 0);
    assert_int_equal(kp_deadline_in(pool, 1).ns, 0);
    assert_true(kp_explain(pool, KP_EVERY_KEY, text, sizeof text) > 0);
    assert_non_null(strstr(text, "closed"));
    assert_int_equal(f->heard.misuses + f->heard.orphans, 0);
}

static void closing_again_must_answer_nothing_out(void **state)
{
    struct fixture *f = *state;

    open_small(f);
    assert_int_equal(kp_pool_close(f->pool, KP_CLOSE_WAIT, KP_SECONDS(1)), 0);
    assert_int_equal(kp_pool_close(f->pool, KP_CLOSE_WAIT, KP_SECONDS(1)), 0);
    assert_int_equal(kp_pool_close(f->pool, KP_CLOSE_NOW, KP_NONE), 0);
    assert_int_equal(f->heard.misuses + f->heard.orphans, 0);
    f->pool = NULL;
}

static void closing_again_must_wait_for_the_same_end_with_its_own_deadline(void **state)
{
    struct fixture *f = *state;
    kp_lease        lease;

    open_small(f);
    take(f, "k", &lease);
    assert_int_equal(kp_pool_close(f->pool, KP_CLOSE_NOW, KP_NONE), 1);
    assert_int_equal(kp_sim_now_ms(f->sim), 0);
    assert_int_equal(kp_pool_close(f->pool, KP_CLOSE_WAIT, 250), 1);
    assert_int_equal(kp_sim_now_ms(f->sim), 250);
    kp_release(&lease);
    assert_int_equal(kp_pool_close(f->pool, KP_CLOSE_WAIT, 250), 0);
    assert_int_equal(kp_sim_now_ms(f->sim), 250);
    f->pool = NULL;
}

static void closing_while_you_hold_a_lease_yourself_must_end_at_its_deadline(void **state)
{
    struct fixture *f = *state;
    kp_lease        lease;

    open_small(f);
    take(f, "k", &lease);
    assert_int_equal(kp_pool_close(f->pool, KP_CLOSE_WAIT, 100), 1);
    assert_int_equal(kp_sim_now_ms(f->sim), 100);
    kp_release(&lease);
    f->pool = NULL;
}

static void a_release_after_close_must_destroy_and_be_no_misuse(void **state)
{
    struct fixture *f = *state;
    kp_options      options = { .driver = kp_cast_driver(f->cast) };
    kp_lease        kept, thrown;

    options.driver.drop_ctx = NULL;
    open_pool(f, options);
    take(f, "a", &kept);
    take(f, "b", &thrown);
    assert_int_equal(kp_pool_close(f->pool, KP_CLOSE_NOW, KP_NONE), 2);
    assert_int_equal(kp_cast_read(f->cast).destroys, 0);
    kp_release(&kept);
    assert_int_equal(kp_cast_read(f->cast).destroys, 1);
    kp_discard(&thrown);
    assert_int_equal(kp_cast_read(f->cast).destroys, 2);
    assert_null(kept.resource);
    assert_int_equal(f->heard.misuses + f->heard.orphans, 0);
    f->pool = NULL;
}

static int create_any(kp_job *job, void **out)
{
    static int thing;

    (void)job;
    *out = &thing;
    return 0;
}

static void ctx_must_be_dropped_once_after_the_last_lease_and_not_before(void **state)
{
    struct fixture *f = *state;
    kp_lease        lease;

    open_pool(f, (kp_options){ .driver = { .create = create_any, .destroy = nothing_to_destroy,
                                           .ctx = &f->heard, .drop_ctx = drop } });
    take(f, "k", &lease);
    assert_int_equal(kp_pool_close(f->pool, KP_CLOSE_NOW, KP_NONE), 1);
    assert_int_equal(f->heard.dropped, 0);
    kp_release(&lease);
    kp_sim_settle(f->sim);
    assert_int_equal(f->heard.dropped, 1);
    kp_pool_close(f->pool, KP_CLOSE_WAIT, KP_SECONDS(1));
    assert_int_equal(f->heard.dropped, 1);
    f->pool = NULL;
}

static void something_that_is_no_pool_must_be_told(void **state)
{
    struct fixture *f = *state;
    uint64_t        words[16] = { 0 };
    kp_pool        *no_pool = (kp_pool *)(void *)words;
    kp_lease        lease;

    assert_false(kp_is_pool(no_pool));
    assert_false(kp_is_pool(NULL));
    assert_int_equal(kp_pool_close(no_pool, KP_CLOSE_WAIT, KP_NONE), KP_EMISUSE);
    assert_int_equal(f->heard.orphans, 1);
    assert_true(f->heard.orphan_text[0] != 0);
    assert_int_equal(kp_get(NULL, kp_str("k"), NULL, &lease), KP_EMISUSE);
    assert_int_equal(kp_budget_set(NULL, &(kp_budget){ .max_live = 1 }, NULL), KP_EMISUSE);
    assert_int_equal(kp_evict(NULL, kp_str("k"), 0), KP_EMISUSE);
    assert_int_equal(kp_drop(NULL, kp_str("k"), 0), KP_EMISUSE);
    assert_null(lease.resource);
    assert_int_equal(f->heard.orphans, 5);
}

/* ---- what a call may not be given ---- */

static void a_null_or_doubled_resource_must_not_be_added(void **state)
{
    struct fixture *f = *state;
    kp_prop         thing = { .alive = 1 };
    kp_options      options = { .driver = { .create = NULL } };

    options.world = kp_sim_world(f->sim);
    options.on_event = on_event;
    options.ctx = &f->heard;
    assert_int_equal(kp_pool_open(&options, &f->pool), 0);
    assert_int_equal(kp_add(f->pool, kp_str("k"), NULL), KP_EMISUSE);
    assert_int_equal(kp_add(f->pool, kp_str("k"), &thing), 0);
    assert_int_equal(kp_add(f->pool, kp_str("k"), &thing), KP_EMISUSE);
    assert_int_equal(f->heard.misuses, 2);
    assert_int_equal(stats(f).live, 1);
}

static void a_deadline_before_the_pool_was_opened_must_be_refused(void **state)
{
    struct fixture *f = *state;
    kp_lease        lease;
    kp_ask          ask = { .until = { 30 } };

    kp_sim_pass_ms(f->sim, 1);
    open_small(f);
    assert_int_equal(kp_get(f->pool, kp_str("k"), &ask, &lease), KP_EMISUSE);
    assert_int_equal(f->heard.misuses, 1);
}

static void reserved_words_of_an_ask_must_be_zero(void **state)
{
    struct fixture *f = *state;
    kp_lease        lease;
    kp_ask          ask = { .reserved = { 0, 1, 0 } };

    open_small(f);
    assert_int_equal(kp_get(f->pool, kp_str("k"), &ask, &lease), KP_EMISUSE);
    ask = (kp_ask){ .flags = 1u << 31 };
    assert_int_equal(kp_get(f->pool, kp_str("k"), &ask, &lease), KP_EMISUSE);
    assert_int_equal(f->heard.misuses, 2);
}

/* The pool is known though the call is refused: its counter and its on_event are told, and not
 * whoever listens for misuse that belongs to no pool. */
static void what_is_missing_must_be_told_to_the_pool_that_was_given(void **state)
{
    struct fixture *f = *state;
    kp_key          key = kp_str("k");
    kp_lease        lease;
    kp_scope        scope = { 0 };
    kp_why          why;

    open_small(f);
    take(f, "k", &lease);
    assert_int_equal(kp_pin(f->pool, key, NULL), KP_EMISUSE);
    assert_told(f, 1, "pinned is NULL");
    assert_int_equal(kp_lease_of(f->pool, lease.resource, NULL), KP_EMISUSE);
    assert_told(f, 2, "out is NULL");
    assert_int_equal(kp_scope_get(&scope, f->pool, key, KP_ASK(.why = &why), NULL), KP_EMISUSE);
    assert_told(f, 3, "scope or out is NULL");
    assert_string_equal(why.text, f->heard.text);
    assert_int_equal(kp_use(f->pool, key, NULL, NULL, NULL), KP_EMISUSE);
    assert_told(f, 4, "fn is NULL");
    assert_int_equal(kp_get_start(f->pool, key, NULL, NULL), KP_EMISUSE);
    assert_told(f, 5, "request.loop and request.done");
    assert_false(kp_lease_read(&lease, NULL));
    assert_told(f, 6, "kp_lease_read");
    kp_release(&lease);
}

static void a_finalizer_must_not_be_null(void **state)
{
    struct fixture *f = *state;
    kp_scope        scope = { 0 };

    open_small(f);
    assert_int_equal(kp_scope_defer(&scope, NULL, NULL), KP_EMISUSE);
    kp_scope_close(&scope);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_job_that_is_answered_twice_must_be_told),
        T(a_function_that_answers_and_then_returns_an_answer_must_be_told),
        T(a_job_that_is_never_answered_must_cost_its_requests_no_more_than_their_deadline),
        T(every_call_on_a_closed_pool_must_say_closed),
        T(closing_again_must_answer_nothing_out),
        T(closing_again_must_wait_for_the_same_end_with_its_own_deadline),
        T(closing_while_you_hold_a_lease_yourself_must_end_at_its_deadline),
        T(a_release_after_close_must_destroy_and_be_no_misuse),
        T(ctx_must_be_dropped_once_after_the_last_lease_and_not_before),
        T(something_that_is_no_pool_must_be_told),
        T(a_null_or_doubled_resource_must_not_be_added),
        T(a_deadline_before_the_pool_was_opened_must_be_refused),
        T(reserved_words_of_an_ask_must_be_zero),
        T(what_is_missing_must_be_told_to_the_pool_that_was_given),
        T(a_finalizer_must_not_be_null),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
