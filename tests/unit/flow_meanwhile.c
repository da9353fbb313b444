/* SPDX-License-Identifier: MIT
 *
 * Tests of what other threads may do while a call has released the pool's lock: to allocate, for
 * limits_for, to wait. One thread plays all of them.
 */
#include "flow/door.h"
#include "flow_allocs.h"

#include <keyedpool/loop.h>
#include <string.h>

static char things[16];

/* ---- while memory is asked for --------------------------------------------------------------- */

static void close_it(struct stage *s)
{
    (void)kp_pool_close(s->pool, KP_CLOSE_NOW, KP_NONE);
}

/* At any allocation: the resource is taken, or it is not and says so. */
static void what_is_given_to_a_pool_that_closes_must_stay_the_givers(void **state)
{
    int code = KP_ECLOSED;

    (void)state;
    for (int n = 0; code != 0; n++) {
        struct stage s;
        assert_true(n < 50);
        stage_set(&s);
        s.world.alloc = busy_alloc;
        stage_open(&s);
        plan(&s, n, close_it, false);
        code = kp_add(s.pool, kp_str("a"), &things[0]);
        bool closed = in_alloc == NULL;
        in_alloc = NULL;
        if (closed) assert_true(code == KP_ECLOSED || code == 0);
        if (code == KP_ECLOSED) assert_int_equal(s.destroyed, 0);
        if (!closed) stage_fall(&s);
        if (code == 0) assert_int_equal(s.destroyed, 1);
    }
}

static void what_is_given_must_be_taken_or_refused_where_memory_runs_out(void **state)
{
    int code = KP_ENOMEM;

    (void)state;
    for (int64_t n = 0; code != 0; n++) {
        struct stage s;
        kp_stats stats;
        assert_true(n < 50);
        stage_set(&s);
        s.options.limits.sharing = 3;
        stage_open(&s);
        s.allocations = n;
        code = kp_add(s.pool, kp_str("a"), &things[0]);
        s.allocations = -1;
        assert_true(code == 0 || code == KP_ENOMEM);
        assert_int_equal(kp_stats_read(s.pool, KP_EVERY_KEY, &stats), 0);
        assert_int_equal(stats.idle, code == 0);
        stage_fall(&s);
    }
}

static void get_b(struct stage *s)
{
    kp_lease lease;

    assert_int_equal(kp_get(s->pool, kp_str("b"), NULL, &lease), 0);
    kp_release(&lease);
}

/* During any allocation of ours, another thread made a key with all that it needs, and then there
 * is no memory for us: we must use the room that the other one made. */
static void room_that_others_made_must_be_used_where_memory_runs_out(void **state)
{
    (void)state;
    for (int groups = 0; groups < 2; groups++) {
        bool happened = true;
        for (int n = 0; happened; n++) {
            struct stage s;
            kp_lease lease;
            stage_set(&s);
            s.world.alloc = busy_alloc;
            if (groups) s.options.limits.group[0] = 5;
            s.options.budget.group_max_live[0] = 9;
            stage_open(&s);
            plan(&s, n, get_b, n % 2);
            int code = kp_get(s.pool, kp_str("a"), NULL, &lease);
            happened = in_alloc == NULL;
            in_alloc = NULL;
            assert_true(code == 0 || (code == KP_ENOMEM && n % 2));
            if (code == 0) kp_release(&lease);
            stage_fall(&s);
            if (n % 2 == 0) continue;
            stage_set(&s); /* the same, with memory */
            s.world.alloc = busy_alloc;
            if (groups) s.options.limits.group[0] = 5;
            s.options.budget.group_max_live[0] = 9;
            stage_open(&s);
            plan(&s, n, get_b, false);
            assert_int_equal(kp_get(s.pool, kp_str("a"), NULL, &lease), 0);
            in_alloc = NULL;
            kp_release(&lease);
            stage_fall(&s);
        }
    }
}

static void set_limits_meanwhile(struct stage *s)
{
    const kp_key *key = s->with;

    assert_int_equal(kp_limits_set(s->pool, *key, &(kp_limits){ .max_live = 3 }, NULL), 0);
}

static void limits_set_by_two_at_once_must_both_count(void **state)
{
    struct stage s;
    kp_key key = kp_str("a");
    kp_limits limits = { .max_idle = 2 };
    kp_lease leases[4];

    (void)state;
    stage_set(&s);
    s.with = &key;
    s.world.alloc = busy_alloc;
    stage_open(&s);
    leases[0] = stage_get(&s, "a");
    plan(&s, 0, set_limits_meanwhile, false);
    assert_int_equal(kp_limits_set(s.pool, key, &limits, NULL), 0);
    for (int i = 1; i < 3; i++) leases[i] = stage_get(&s, "a");
    assert_int_equal(kp_get(s.pool, kp_str("a"), KP_IN_MS(5), &leases[3]), KP_ETIMEDOUT);
    for (int i = 0; i < 3; i++) kp_release(&leases[i]);
    assert_int_equal(s.destroyed, 1);
    stage_fall(&s);
}

static void limits_of_all_keys_set_by_two_at_once_must_both_count(void **state)
{
    kp_key all = KP_EVERY_KEY;
    int n = 0;

    (void)state;
    for (bool happened = true; happened; n++) {
        struct stage s;
        kp_limits limits = { .max_idle = 2 };
        stage_set(&s);
        s.with = &all;
        s.world.alloc = busy_alloc;
        stage_open(&s);
        plan(&s, n, set_limits_meanwhile, false);
        assert_int_equal(kp_limits_set(s.pool, all, &limits, NULL), 0);
        happened = in_alloc == NULL;
        in_alloc = NULL;
        assert_int_equal(kp_limits_read(s.pool, all, &limits), 0);
        assert_int_equal(limits.max_idle, 2);
        assert_int_equal(limits.max_live, happened ? 3 : 10);
        stage_fall(&s);
    }
    assert_true(n > 1);
}

/* ---- while limits_for is asked --------------------------------------------------------------- */

static int code_within;

static void add_within(kp_key key, kp_limits *limits, void *ctx)
{
    struct stage *s = ctx;

    (void)limits;
    code_within = kp_add(s->pool, key, &things[1]);
}

static void a_key_whose_limits_are_being_asked_must_take_nothing(void **state)
{
    struct stage s;

    (void)state;
    stage_set(&s);
    s.options.limits_for = add_within;
    stage_open(&s);
    kp_lease lease = stage_get(&s, "a");
    assert_int_equal(code_within, KP_EFULL);
    kp_release(&lease);
    stage_fall(&s);
}

static void close_within(kp_key key, kp_limits *limits, void *ctx)
{
    (void)key;
    (void)limits;
    close_it(ctx);
}

static void a_pool_closed_by_limits_for_must_take_and_lend_nothing(void **state)
{
    struct stage s;
    kp_lease lease;

    (void)state;
    for (int i = 0; i < 2; i++) {
        stage_set(&s);
        s.options.limits_for = close_within;
        stage_open(&s);
        if (i) assert_int_equal(kp_add(s.pool, kp_str("a"), &things[2]), KP_ECLOSED);
        else assert_int_equal(kp_get(s.pool, kp_str("a"), NULL, &lease), KP_ECLOSED);
        assert_int_equal(s.destroyed, 0);
    }
}

/* ---- while somebody waits -------------------------------------------------------------------- */

static void get_idle_of_b(struct stage *s)
{
    kp_lease lease;

    assert_int_equal(kp_get(s->pool, kp_str("b"), NULL, &lease), 0);
    kp_release(&lease);
}

static void a_hit_must_know_the_time_while_somebody_waits_elsewhere(void **state)
{
    struct stage s;
    kp_lease lease;

    (void)state;
    stage_set(&s);
    s.options.leak_after_ms = KP_OFF;
    s.options.limits.idle_ttl_ms = s.options.limits.max_age_ms = KP_OFF;
    s.options.limits.max_live = 1;
    stage_open(&s);
    get_b(&s);
    kp_lease held = stage_get(&s, "a");
    s.meanwhile = get_idle_of_b;
    assert_int_equal(kp_get(s.pool, kp_str("a"), KP_IN_MS(5), &lease), KP_ETIMEDOUT);
    kp_release(&held);
    stage_fall(&s);
}

static int64_t out;

static void close_again(struct stage *s)
{
    out = kp_pool_close(s->pool, KP_CLOSE_DRAIN, KP_NONE);
}

static void drain(struct stage *s)
{
    s->meanwhile = close_again;
    assert_int_equal(kp_pool_close(s->pool, KP_CLOSE_DRAIN, 10), 1);
}

/* One waits, one drains, one closes at once. */
static void a_close_while_it_drains_must_end_the_draining(void **state)
{
    struct stage s;
    kp_lease lease;

    (void)state;
    stage_set(&s);
    s.options.limits.max_live = 1;
    stage_open(&s);
    kp_lease held = stage_get(&s, "a");
    s.meanwhile = drain;
    assert_int_equal(kp_get(s.pool, kp_str("a"), NULL, &lease), KP_ECLOSED);
    assert_int_equal(out, 1);
    kp_release(&held);
}

/* A program that asks every ms comes that far in 50 days. */
static void a_lease_must_be_waited_for_though_eras_have_wrapped_around(void **state)
{
    struct stage s;
    struct kp__todo todo;
    int code;

    (void)state;
    stage_raise(&s);
    struct kp__pool *pool = kp__enter(s.pool, &todo, &code);
    pool->core.era = UINT32_MAX;
    kp__leave(pool, &todo);
    kp_lease lease = stage_get(&s, "a");
    for (int i = 0; i < 3; i++) assert_int_equal(kp_drain(s.pool, kp_str("a"), KP_NONE), 1);
    kp_release(&lease);
    assert_int_equal(kp_drain(s.pool, kp_str("a"), KP_NONE), 0);
    stage_fall(&s);
}

/* ---- everybody who waits --------------------------------------------------------------------- */

static void done(kp_request *request, int code, kp_lease lease)
{
    (void)request;
    (void)code;
    kp_release(&lease);
}

static void the_first_who_wait_must_be_explained_where_nobody_borrows(void **state)
{
    static char text[8192];
    struct stage s;
    kp_loop *loop;
    kp_request requests[10];
    int shown = 0;

    (void)state;
    stage_set(&s);
    s.options.driver.flags = KP_NEVER_BLOCKS;
    s.options.limits.max_live = KP_NONE;
    stage_open(&s);
    assert_int_equal(kp_loop_open(&loop), 0);
    for (int i = 0; i < 10; i++) {
        requests[i] = (kp_request){ .loop = loop, .done = done };
        assert_int_equal(kp_get_start(s.pool, kp_str("a"), KP_ASK(.tag = "job"), &requests[i]), 0);
    }
    kp_explain(s.pool, KP_EVERY_KEY, text, sizeof text);
    for (const char *at = text; (at = strstr(at, "waiting for")) != NULL; at++) shown++;
    assert_int_equal(shown, 8);
    assert_int_equal(kp_loop_close(loop), 10);
    stage_fall(&s);
}

static void a_get_on_a_pools_own_loop_must_take_what_is_idle_and_not_wait(void **state)
{
    struct stage s;
    kp_loop *loop;
    kp_lease lease;

    (void)state;
    stage_set(&s);
    assert_int_equal(kp_loop_open(&loop), 0);
    s.options.driver.flags = KP_NEVER_BLOCKS;
    s.options.loop = loop;
    s.options.threads = 0;
    stage_open(&s);
    assert_int_equal(kp_loop_dispatch(loop), -1); /* this thread's from now on */
    assert_int_equal(kp_add(s.pool, kp_str("a"), &things[3]), 0);
    const kp_ask now = { .flags = KP_DONT_WAIT, .within_ms = KP_NONE };
    assert_int_equal(kp_get(s.pool, kp_str("a"), &now, &lease), 0);
    kp_release(&lease);
    assert_int_equal(kp_get(s.pool, kp_str("a"), NULL, &lease), KP_EMISUSE);
    assert_int_equal(kp_get(s.pool, kp_str("a"), KP_ASK(.within_ms = KP_NONE), &lease),
                     KP_EMISUSE);
    assert_int_equal(kp_get(s.pool, kp_str("a"), KP_ASK(.flags = KP_DONT_WAIT), &lease),
                     KP_EMISUSE);
    assert_int_equal(kp_get(s.pool, kp_str("a"), KP_IN_MS(5), &lease), KP_EMISUSE);
    (void)kp_pool_close(s.pool, KP_CLOSE_NOW, KP_NONE);
    while (kp_loop_dispatch(loop) == 0) continue;
    assert_int_equal(kp_loop_close(loop), 0);
}

/* ---- on the way back, with answers that come late -------------------------------------------- */

static void answer(struct stage *s)
{
    kp_job_done(s->job, 0, NULL);
}

static void a_reset_and_a_validate_on_return_must_both_be_waited_for(void **state)
{
    struct stage s;
    kp_loop *loop;
    kp_stats stats;

    (void)state;
    for (int good = 0; good < 2; good++)
        for (int reset = 0; reset < 2; reset++) {
            stage_set(&s);
            assert_int_equal(kp_loop_open(&loop), 0);
            s.options.driver.flags = KP_NEVER_BLOCKS;
            if (reset) s.options.driver.reset = stage_reset;
            s.options.driver.validate = stage_validate;
            s.options.limits.validate_on = KP_CHECK_RETURN;
            s.options.loop = loop;
            s.options.threads = 0;
            stage_open(&s);
            s.reset = s.validate = KP_PENDING;
            assert_int_equal(kp_add(s.pool, kp_str("a"), &things[4]), 0);
            kp_lease lease;
            const kp_ask now = { .flags = KP_DONT_WAIT, .within_ms = KP_NONE };
            assert_int_equal(kp_get(s.pool, kp_str("a"), &now, &lease), 0);
            kp_release(&lease);
            for (int step = 0; step < 1 + reset; step++) {
                (void)kp_loop_dispatch(loop);
                assert_int_equal(s.pending, step + 1);
                assert_int_equal(kp_stats_read(s.pool, kp_str("a"), &stats), 0);
                assert_int_equal(stats.lent, 1); /* still, until it is done */
                if (step < reset || good) answer(&s);
                else kp_job_done(s.job, -1, NULL);
            }
            while (kp_loop_dispatch(loop) == 0) continue;
            assert_int_equal(kp_stats_read(s.pool, kp_str("a"), &stats), 0);
            assert_int_equal(stats.idle, good);
            assert_int_equal(stats.lent, 0);
            (void)kp_pool_close(s.pool, KP_CLOSE_NOW, KP_NONE);
            while (kp_loop_dispatch(loop) == 0) continue;
            assert_int_equal(kp_loop_close(loop), 0);
        }
}

/* ---- small ones ------------------------------------------------------------------------------ */

static int fail_without_words(kp_job *job, void **resource)
{
    (void)resource;
    return kp_job_fail(job, 5, NULL);
}

static int out_of_memory(kp_job *job, void **resource)
{
    (void)job;
    (void)resource;
    return KP_ENOMEM;
}

static void a_failure_must_reach_the_requester_as_it_was_told(void **state)
{
    struct stage s;
    kp_lease lease;

    (void)state;
    stage_set(&s);
    s.options.driver.create = fail_without_words;
    stage_open(&s);
    assert_int_equal(kp_get(s.pool, kp_str("a"), KP_ASK(.why = &s.why), &lease), KP_ECREATE);
    assert_int_equal(s.why.vendor_code, 5);
    assert_true(s.why.text[0] != 0);
    stage_fall(&s);

    stage_set(&s);
    s.options.driver.create = out_of_memory;
    stage_open(&s);
    assert_int_equal(kp_get(s.pool, kp_str("a"), KP_ASK(.why = &s.why), &lease), KP_ENOMEM);
    stage_fall(&s);
}

static void nobody_has_to_listen_to_events(void **state)
{
    struct stage s;
    kp_lease lease;

    (void)state;
    stage_set(&s);
    s.options.on_event = NULL;
    stage_open(&s);
    lease = stage_get(&s, "a");
    kp_release(&lease);
    stage_fall(&s);
    assert_int_equal(s.heard, 0);
}

static void times_beyond_the_clock_must_be_for_ever(void **state)
{
    struct stage s;
    kp_pool *closed;

    (void)state;
    stage_raise(&s);
    assert_int_equal(kp_deadline_in(s.pool, KP_NONE).ns, s.now);
    assert_int_equal(kp_deadline_in(s.pool, 0).ns, s.now + UINT64_C(30000000000)); /* deadline_ms */
    assert_int_equal(kp_deadline_in(s.pool, 1).ns, s.now + 1000000);
    assert_int_equal(kp_deadline_in(s.pool, INT64_MAX).ns, UINT64_MAX);
    assert_int_equal(kp_deadline_in(s.pool, KP_OFF).ns, UINT64_MAX);
    assert_int_equal(kp_now_ns(s.pool), s.now);
    assert_int_equal(kp_now_ns(NULL), 0);
    closed = s.pool;
    stage_fall(&s);
    assert_int_equal(kp_now_ns(closed), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_given_to_a_pool_that_closes_must_stay_the_givers),
        cmocka_unit_test(what_is_given_must_be_taken_or_refused_where_memory_runs_out),
        cmocka_unit_test(room_that_others_made_must_be_used_where_memory_runs_out),
        cmocka_unit_test(limits_set_by_two_at_once_must_both_count),
        cmocka_unit_test(limits_of_all_keys_set_by_two_at_once_must_both_count),
        cmocka_unit_test(a_key_whose_limits_are_being_asked_must_take_nothing),
        cmocka_unit_test(a_pool_closed_by_limits_for_must_take_and_lend_nothing),
        cmocka_unit_test(a_hit_must_know_the_time_while_somebody_waits_elsewhere),
        cmocka_unit_test(a_close_while_it_drains_must_end_the_draining),
        cmocka_unit_test(a_lease_must_be_waited_for_though_eras_have_wrapped_around),
        cmocka_unit_test(the_first_who_wait_must_be_explained_where_nobody_borrows),
        cmocka_unit_test(a_get_on_a_pools_own_loop_must_take_what_is_idle_and_not_wait),
        cmocka_unit_test(a_reset_and_a_validate_on_return_must_both_be_waited_for),
        cmocka_unit_test(a_failure_must_reach_the_requester_as_it_was_told),
        cmocka_unit_test(nobody_has_to_listen_to_events),
        cmocka_unit_test(times_beyond_the_clock_must_be_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
