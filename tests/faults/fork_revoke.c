/* SPDX-License-Identifier: MIT
 *
 * fork, continued: a resource that was revoked belongs to the parent like all others. The child
 * abandons it once, unless the parent is destroying it, and only the parent can end its lease.
 */
#include "faults/child.h"

static kp_job *pending;
static bool answers_later;

static int thing_revoke(kp_job *job, void *resource)
{
    (void)resource;
    pending = job;
    return answers_later ? KP_PENDING : 0;
}

static kp_pool *forked; /* in the middle of destroy */

static void find_nothing_to_abandon(void *arg)
{
    kp_stats s;

    MUST(kp_stats_read(arg, KP_EVERY_KEY, &s) == KP_ECLOSED);
    MUST(all_abandoned == 0);
}

static int thing_destroy_and_fork(kp_job *job, void *resource)
{
    if (forked) child_run(find_nothing_to_abandon, forked);
    return thing_destroy(job, resource);
}

/* One lease, which was revoked at the close, or (later) is about to be. */
static kp_pool *pool_with_one_out(kp_lease *lease, bool later)
{
    kp_options options = { .driver = thing_driver, .threads = KP_NONE };

    answers_later = later;
    options.driver.revoke = thing_revoke;
    options.driver.destroy = thing_destroy_and_fork;
    kp_pool *pool = pool_of_things(options);
    *lease = take(pool, "k");
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_WAIT, KP_NONE), 1);
    return pool;
}

static kp_lease of_the_parent;

static void drop_it_once(void *arg)
{
    kp_stats s;

    MUST(kp_stats_read(arg, KP_EVERY_KEY, &s) == KP_ECLOSED);
    MUST(all_abandoned == 1 && all_destroyed == 0);
    TOLD(kp_release(&of_the_parent), "lent before fork");
    MUST(all_abandoned == 1 && all_destroyed == 0);
}

static void what_is_revoked_must_be_dropped_by_the_child_once(void **state)
{
    (void)state;
    forked = NULL;
    kp_pool *pool = pool_with_one_out(&of_the_parent, false);
    kp_on_misuse(hear, NULL); /* the pool is gone, so not on_event */
    child_run(drop_it_once, pool);
    kp_on_misuse(NULL, NULL);
    kp_release(&of_the_parent);
    assert_int_equal(all_destroyed, 1);
}

static void what_the_parent_destroys_must_be_left_alone(void **state)
{
    kp_lease lease;

    (void)state;
    forked = pool_with_one_out(&lease, false);
    kp_release(&lease); /* and a child */
    assert_int_equal(all_destroyed, 1);
    assert_int_equal(all_abandoned, 0);
}

static void answer_it(void *arg)
{
    (void)arg;
    TOLD(kp_job_done(pending, 0, NULL), "before fork");
}

static void only_the_parent_must_answer_a_revoke(void **state)
{
    kp_lease lease;

    (void)state;
    forked = NULL;
    kp_pool *pool = pool_with_one_out(&lease, true);
    kp_on_misuse(hear, NULL);
    child_run(answer_it, pool);
    kp_job_done(pending, 0, NULL);
    kp_release(&lease);
    kp_on_misuse(NULL, NULL);
    assert_int_equal(all_destroyed, 1);
    assert_int_equal(told.count, 0);
}

#define T(test) cmocka_unit_test_setup(test, things_begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(what_is_revoked_must_be_dropped_by_the_child_once),
        T(what_the_parent_destroys_must_be_left_alone),
        T(only_the_parent_must_answer_a_revoke),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
