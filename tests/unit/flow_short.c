/* SPDX-License-Identifier: MIT
 *
 * Tests of src/flow when something is scarce: memory that other threads use up meanwhile, and what
 * nobody else may have. One thread plays all of them.
 */
#include "flow_allocs.h"

#include <keyedpool/loop.h>

static char things[80];

/* ---- memory that others use up --------------------------------------------------------------- */

static void get_key(struct stage *s, int i)
{
    char key[16];

    snprintf(key, sizeof key, "key %d", i);
    (void)stage_get(s, key); /* held until the end */
}

/* So many keys, each with a resource lent, in tables that were refused to grow since they had to.
 */
static void crowd(struct stage *s, int keys)
{
    enum { FULL = 127 };

    for (int i = 0; i < keys; i++) {
        s->allocations = i < FULL ? -1 : 0;
        get_key(s, i);
        s->allocations = -1;
    }
}

static void pin_another(struct stage *s)
{
    kp_key pinned;

    assert_int_equal(kp_pin(s->pool, kp_str("key 1000"), &pinned), 0);
}

static void get_one_more(struct stage *s)
{
    get_key(s, 1);
}

static void end_with_leases(struct stage *s)
{
    (void)kp_pool_close(s->pool, KP_CLOSE_NOW, KP_NONE);
}

/* The table of keys cannot grow, and while it tried, others took the last place for a resource, or
 * for a key: KP_ENOMEM. With memory there is a place. */
static void the_last_place_that_others_took_must_be_missed_where_memory_runs_out(void **state)
{
    (void)state;
    for (int key = 0; key < 2; key++) {
        struct stage s;
        kp_lease lease;
        kp_stats stats;
        stage_set(&s);
        s.world.alloc = busy_alloc;
        stage_open(&s);
        crowd(&s, 191); /* of 192 places in two chunks */
        plan(&s, 0, key ? pin_another : get_one_more, true);
        kp_key wanted = kp_str(key ? "key 1001" : "key 0");
        assert_int_equal(kp_get(s.pool, wanted, KP_ASK(.why = &s.why), &lease), KP_ENOMEM);
        assert_null(in_alloc);
        assert_int_equal(kp_stats_read(s.pool, KP_EVERY_KEY, &stats), 0);
        assert_int_equal(stats.lent, key ? 191 : 192);
        assert_int_equal(stats.creating, 0);
        assert_int_equal(kp_get(s.pool, wanted, NULL, &lease), 0);
        kp_release(&lease);
        end_with_leases(&s);
    }
}

static void refilling_must_wait_for_memory_and_go_on(void **state)
{
    struct stage s;

    (void)state;
    stage_set(&s);
    s.options.limits.sharing = 3; /* seats are allocated */
    s.options.limits.min_live = 2;
    stage_open(&s);
    kp_lease lease = stage_get(&s, "a");
    s.allocations = 0;
    assert_int_equal(kp_keep(s.pool), 1000);
    assert_int_equal(s.made, 1);
    s.allocations = -1;
    s.now += 1000000000;
    (void)kp_keep(s.pool);
    assert_int_equal(s.made, 2);
    kp_release(&lease);
    stage_fall(&s);
}

/* ---- adding, while others add or close ------------------------------------------------------- */

static void add_it(struct stage *s)
{
    assert_int_equal(kp_add(s->pool, kp_str("a"), &things[1]), 0);
}

static void close_it(struct stage *s)
{
    assert_int_equal(kp_pool_close(s->pool, KP_CLOSE_NOW, KP_NONE), 0);
}

static void set_to_add(struct stage *s, bool never_blocks)
{
    stage_set(s);
    s->world.alloc = busy_alloc;
    s->options.limits.sharing = 3;
    if (never_blocks) s->options.driver.flags = KP_NEVER_BLOCKS;
    stage_open(s);
    assert_int_equal(kp_add(s->pool, kp_str("a"), &things[0]), 0);
}

static void what_others_added_meanwhile_must_be_in_the_pool_once(void **state)
{
    (void)state;
    for (int never_blocks = 0; never_blocks < 2; never_blocks++) {
        struct stage s;
        kp_stats stats;
        set_to_add(&s, never_blocks);
        plan(&s, 0, add_it, false); /* for its seats */
        assert_int_equal(kp_add(s.pool, kp_str("a"), &things[1]), KP_EMISUSE);
        assert_null(in_alloc);
        assert_int_equal(stage_heard(&s, KP_EVENT_MISUSE), 1);
        assert_int_equal(kp_stats_read(s.pool, kp_str("a"), &stats), 0);
        assert_int_equal(stats.idle, 2);
        assert_int_equal(kp_add(s.pool, kp_str("a"), &things[2]), 0); /* the place came back */
        stage_fall(&s);
        assert_int_equal(s.destroyed, 3);
    }
}

static void what_was_to_be_added_when_the_pool_closed_must_stay_the_givers(void **state)
{
    (void)state;
    for (int never_blocks = 0; never_blocks < 2; never_blocks++) {
        struct stage s;
        set_to_add(&s, never_blocks);
        plan(&s, 0, close_it, false);
        assert_int_equal(kp_add(s.pool, kp_str("a"), &things[1]), KP_ECLOSED);
        assert_null(in_alloc);
        assert_int_equal(s.destroyed, 1); /* the one that was in there */
        assert_false(kp_is_pool(s.pool));
    }
}

/* ---- nobody shares what is being reset ------------------------------------------------------- */

static int shared_within;
static kp_request request;

static void never_done(kp_request *r, int code, kp_lease lease)
{
    (void)code;
    (void)lease;
    fail_msg("%p is told, and was cancelled", (void *)r);
}

/* Its room is not owed to another key any more, and a request would share it. */
static int want_it_within_reset(kp_job *job, void *resource)
{
    struct stage *s = job->ctx;
    kp_lease lease;

    (void)resource;
    kp_cancel(&request);
    shared_within = kp_get(s->pool, kp_str("a"), KP_ASK(.flags = KP_DONT_WAIT), &lease);
    kp_release(&lease);
    return 0;
}

/* It was left to drain, as its room was owed to another key. */
static void a_drained_resource_must_not_be_shared_while_it_is_reset(void **state)
{
    struct stage s;
    kp_loop *loop;
    kp_lease first, second[2], more;

    (void)state;
    stage_set(&s);
    s.options.driver.flags = KP_NEVER_BLOCKS;
    s.options.driver.reset = want_it_within_reset;
    s.options.limits.sharing = 2;
    s.options.budget.max_live = 2;
    stage_open(&s);
    first = stage_get(&s, "a");
    assert_int_equal(kp_get(s.pool, kp_str("a"), KP_ASK(.flags = KP_FRESH), &second[0]), 0);
    second[1] = stage_get(&s, "a");
    assert_ptr_equal(second[1].resource, second[0].resource);
    kp_release(&second[0]);
    assert_int_equal(kp_loop_open(&loop), 0);
    request = (kp_request){ .loop = loop, .done = never_done };
    assert_int_equal(kp_get_start(s.pool, kp_str("b"), NULL, &request), 0);
    more = stage_get(&s, "a");
    assert_ptr_equal(more.resource, first.resource); /* the second drains */
    shared_within = 0;
    kp_release(&second[1]);
    assert_int_equal(shared_within, KP_EAGAIN);
    second[0] = stage_get(&s, "a"); /* now it may be had */
    kp_discard(&second[0]);
    kp_discard(&more);
    kp_discard(&first);
    assert_int_equal(kp_loop_close(loop), 0);
    stage_fall(&s);
}

/* ---- small ones ------------------------------------------------------------------------------ */

static void a_leak_that_nobody_listens_to_must_leave_the_lease_as_it_is(void **state)
{
    struct stage s;
    kp_lease_about about;

    (void)state;
    stage_set(&s);
    s.options.on_event = NULL;
    s.options.leak_after_ms = 50;
    stage_open(&s);
    kp_lease lease = stage_get(&s, "a");
    s.now += 51000000;
    (void)kp_keep(s.pool);
    assert_true(kp_lease_read(&lease, &about));
    assert_int_equal(about.lent_ms, 51);
    kp_release(&lease);
    stage_fall(&s);
}

static void a_pool_of_no_keys_must_take_limits_and_lend_nothing(void **state)
{
    struct stage s;
    kp_limits limits = { .min_live = 1 };
    kp_lease lease;

    (void)state;
    stage_set(&s);
    s.options.budget.max_keys = KP_NONE;
    s.options.budget.max_live = 1;
    stage_open(&s);
    assert_int_equal(kp_limits_set(s.pool, KP_EVERY_KEY, &limits, &s.why), 0);
    assert_int_equal(kp_get(s.pool, kp_str("a"), NULL, &lease), KP_EFULL);
    stage_fall(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_place_that_others_took_must_be_missed_where_memory_runs_out),
        cmocka_unit_test(refilling_must_wait_for_memory_and_go_on),
        cmocka_unit_test(what_others_added_meanwhile_must_be_in_the_pool_once),
        cmocka_unit_test(what_was_to_be_added_when_the_pool_closed_must_stay_the_givers),
        cmocka_unit_test(a_drained_resource_must_not_be_shared_while_it_is_reset),
        cmocka_unit_test(a_leak_that_nobody_listens_to_must_leave_the_lease_as_it_is),
        cmocka_unit_test(a_pool_of_no_keys_must_take_limits_and_lend_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
