/* SPDX-License-Identifier: MIT
 *
 * fork, continued: a resource that the keeper is validating at the moment of the fork. It is the
 * parent's; the child abandons it like an idle one.
 */
#include "faults/child.h"

static kp_job *pending;

static int validate_later(kp_job *job, void *resource)
{
    (void)resource;
    pending = job;
    return KP_PENDING;
}

static void drop_it_and_go_on(void *pool)
{
    MUST(use_it_all(pool, "k") == 0);
    MUST(all_abandoned == 2); /* the one that is tested, and the idle one */
    TOLD(kp_job_done(pending, 0, NULL), "only the parent can answer it");
}

static void a_child_must_drop_what_is_being_tested(void **state)
{
    kp_options options = { .driver = thing_driver, .threads = KP_NONE };
    kp_stats stats;

    (void)state;
    options.driver.validate = validate_later;
    options.limits.validate_on = KP_CHECK_KEEPER;
    options.limits.validate_every_ms = 1;
    options.limits.max_creating = 1;
    kp_pool *pool = pool_of_things(options);
    stock(pool, "k", 2);
    do {
        (void)kp_keep(pool);
        assert_int_equal(kp_stats_read(pool, KP_EVERY_KEY, &stats), 0);
    } while (stats.testing == 0);
    kp_on_misuse(hear, NULL);
    child_run(drop_it_and_go_on, pool);
    kp_on_misuse(NULL, NULL);
    assert_int_equal(all_abandoned, 0);
    kp_job_done(pending, 0, NULL);
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(30)), 0);
    assert_int_equal(all_destroyed, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_child_must_drop_what_is_being_tested, things_begin),
    };
    return cmocka_run_group_tests_name("fork while one is tested", tests, NULL, NULL);
}
