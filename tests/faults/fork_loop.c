/* SPDX-License-Identifier: MIT
 *
 * fork, continued: event loops. The parent's belong to the parent; a child opens its own, for the
 * same pool.
 */
#include <poll.h>

#include "faults/child.h"

static struct {
    kp_pool *pool;
    kp_loop *loop;
    kp_request waiting, spare;
    int done, status;
    kp_lease lease;
} l;

static void answered(kp_request *request, int status, kp_lease lease)
{
    (void)request;
    l.done++;
    l.status = status;
    l.lease = lease;
}

static void dispatch_until_done(kp_loop *loop)
{
    struct pollfd p = { .fd = kp_loop_fd(loop), .events = POLLIN };
    int64_t ms;

    while (!l.done) {
        if ((ms = kp_loop_dispatch(loop)) < -1) return;
        if (!l.done) (void)poll(&p, 1, ms < 0 ? -1 : (int)ms);
    }
}

/* One is lent, and a request of the loop waits for it. */
static int begin_with_a_loop(void **state)
{
    kp_options options = { .driver = thing_driver, .threads = KP_NONE };

    (void)things_begin(state);
    memset(&l, 0, sizeof l);
    options.limits.max_live = 1;
    options.driver.flags = KP_NEVER_BLOCKS;
    l.pool = pool_of_things(options);
    assert_int_equal(kp_loop_open(&l.loop), 0);
    l.lease = take(l.pool, "k");
    l.waiting = l.spare = (kp_request){ .loop = l.loop, .done = answered };
    assert_int_equal(kp_get_start(l.pool, kp_str("k"), NULL, &l.waiting), 0);
    assert_int_equal(kp_loop_dispatch(l.loop) >= 0, 1);
    return 0;
}

static int end_with_a_loop(void **state)
{
    (void)state;
    kp_release(&l.lease);
    dispatch_until_done(l.loop);
    assert_int_equal(l.status, 0);
    assert_ptr_equal(l.lease.resource, &things[0]);
    kp_release(&l.lease);
    assert_int_equal(kp_loop_close(l.loop), 0);
    assert_int_equal(kp_pool_close(l.pool, KP_CLOSE_WAIT, KP_SECONDS(30)), 0);
    assert_int_equal(all_abandoned, 0);
    return 0;
}

static void meet_the_parents_loop(void *arg)
{
    kp_why why;
    kp_ask ask = { .why = &why };

    (void)arg;
    MUST(kp_loop_dispatch(l.loop) == KP_EFORKED);
    MUST(kp_get_start(l.pool, kp_str("k"), &ask, &l.spare) == KP_EFORKED);
    MUST(strstr(why.text, "loop")); /* the pool does serve the child */
    kp_cancel(&l.waiting);
    MUST(kp_loop_close(l.loop) == 0);
    MUST(told.count == 0 && l.done == 0);
    MUST(use_it_all(l.pool, "k") == 0);
}

static void the_parents_loop_must_be_let_go_in_a_child(void **state)
{
    (void)state;
    child_run(meet_the_parents_loop, NULL);
}

static void loop_on(void *arg)
{
    kp_loop *own;

    (void)arg;
    kp_cancel(&l.waiting);
    MUST(kp_loop_open(&own) == 0 && own != l.loop);
    l.waiting.loop = own;
    MUST(kp_get_start(l.pool, kp_str("k"), NULL, &l.waiting) == 0); /* here no request is ahead */
    dispatch_until_done(own);
    MUST(l.done == 1 && l.status == 0 && all_abandoned == 1);
    MUST(((struct thing *)l.lease.resource)->made_in == getpid());
    kp_release(&l.lease);
    MUST(kp_loop_close(own) == 0);
    MUST(kp_pool_close(l.pool, KP_CLOSE_WAIT, KP_SECONDS(30)) == 0);
    MUST(all_abandoned == 1 && all_destroyed == 1);
}

static void a_child_must_serve_the_requests_of_a_loop_of_its_own(void **state)
{
    (void)state;
    child_run(loop_on, NULL);
}

static void be_refused(void *arg)
{
    kp_lease lease;

    MUST(kp_get(arg, kp_str("k"), KP_IN_MS(10), &lease) == KP_EFORKED);
    MUST(kp_pool_close(arg, KP_CLOSE_NOW, 0) == KP_EFORKED);
    MUST(all_abandoned == 0);
}

static void a_pool_that_names_a_loop_must_refuse_children(void **state)
{
    kp_why why;
    kp_options options = { .driver = thing_driver, .loop = l.loop, .why = &why };
    kp_pool *pool;

    (void)state;
    options.driver.flags = KP_NEVER_BLOCKS;
    options.on_fork = KP_FORK_FRESH;
    assert_int_equal(kp_pool_open(&options, &pool), KP_ECONFIG);
    assert_string_equal(why.field, "on_fork");
    options.on_fork = 0;
    assert_int_equal(kp_pool_open(&options, &pool), 0);
    child_run(be_refused, pool);
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_NOW, 0), 0);
}

static void meet_an_old_loop(void *loop)
{
    kp_options options = { .driver = thing_driver, .loop = loop };
    kp_pool *pool;

    options.driver.flags = KP_NEVER_BLOCKS;
    MUST(kp_loop_dispatch(loop) == KP_EFORKED);
    MUST(kp_pool_open(&options, &pool) == KP_ECONFIG);
    MUST(kp_loop_close(loop) == 0);
}

/* The first test: no pool was opened before. */
static void a_loop_must_be_the_parents_even_before_the_first_pool(void **state)
{
    kp_loop *loop;

    (void)state;
    assert_int_equal(kp_loop_open(&loop), 0);
    child_run(meet_an_old_loop, loop);
    assert_int_equal(kp_loop_close(loop), 0);
}

#define T(test) cmocka_unit_test_setup_teardown(test, begin_with_a_loop, end_with_a_loop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loop_must_be_the_parents_even_before_the_first_pool),
        T(the_parents_loop_must_be_let_go_in_a_child),
        T(a_child_must_serve_the_requests_of_a_loop_of_its_own),
        T(a_pool_that_names_a_loop_must_refuse_children),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
