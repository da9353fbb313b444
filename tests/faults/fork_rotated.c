/* SPDX-License-Identifier: MIT
 *
 * fork, continued: in the middle of a rotation, while a replacement is being made. The child starts
 * empty, in the epoch of the parent, and rotates its own resources; the parent goes on, and
 * finishes its rotation.
 */
#include "faults/child.h"

enum { HELD = 3 };

static kp_job *pending;
static struct thing late;
static uint64_t epoch; /* that the latest create was told */

/* The parent's first replacement is made later; all else at once. */
static int create(kp_job *job, void **out)
{
    epoch = job->epoch;
    if (pending || job->epoch == 1) return thing_create(job, out);
    pending = job;
    return KP_PENDING;
}

static kp_stats stats_of(kp_pool *pool)
{
    kp_stats stats = { 0 };

    (void)kp_stats_read(pool, KP_EVERY_KEY, &stats);
    return stats;
}

static bool explains(kp_pool *pool, const char *text)
{
    char buf[600];

    (void)kp_explain(pool, kp_str("k"), buf, sizeof buf);
    return strstr(buf, text) != NULL;
}

static void keep_until_renewed(kp_pool *pool, uint64_t renewed)
{
    while (stats_of(pool).renewed < renewed) (void)kp_keep(pool);
}

static void start_empty_and_rotate(void *pool)
{
    MUST(stats_of(pool).live == 0);
    MUST(all_abandoned == HELD);
    for (int i = 0; i < HELD; i++) MUST(things[i].abandoned == 1 && things[i].destroyed == 0);
    MUST(use_it_all(pool, "k") == 0);
    MUST(epoch == 2);                      /* never with the old credentials */
    MUST(!explains(pool, "to be replaced")); /* what the parent has to do is the parent's */
    MUST(!explains(pool, "from before kp_rotate"));
    TOLD(kp_job_done(pending, 0, &late), "only the parent can answer it");
    stock(pool, "k", 2);
    MUST(kp_rotate(pool, kp_str("k"), KP_MINUTES(4)) == 2);
    keep_until_renewed(pool, 2);
    MUST(epoch == 3);
    MUST(stats_of(pool).live == 2);
    MUST(kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(30)) == 0);
    MUST(late.destroyed + late.abandoned == 0);
    for (int i = 0; i < HELD; i++) MUST(things[i].destroyed == 0);
}

static void a_child_must_start_empty_and_the_parent_go_on(void **state)
{
    kp_options options = { .driver = thing_driver, .threads = KP_NONE };

    (void)state;
    options.driver.create = create;
    options.limits.renew_ahead_ms = KP_MINUTES(5);
    options.limits.max_live = HELD; /* and a surplus of one: one after the other */
    options.limits.surplus = 1;
    pending = NULL;
    memset(&late, 0, sizeof late);
    kp_pool *pool = pool_of_things(options);
    stock(pool, "k", HELD);
    assert_int_equal(kp_rotate(pool, kp_str("k"), KP_MINUTES(4)), HELD);
    while (!pending) (void)kp_keep(pool);
    assert_true(explains(pool, "3 to be replaced"));
    kp_on_misuse(hear, NULL);
    child_run(start_empty_and_rotate, pool);
    kp_on_misuse(NULL, NULL);
    assert_int_equal(all_abandoned + all_destroyed, 0);
    late.made_in = getpid();
    kp_job_done(pending, 0, &late);
    keep_until_renewed(pool, HELD);
    assert_int_equal(stats_of(pool).live, HELD);
    for (int i = 0; i < HELD; i++) assert_int_equal(things[i].destroyed, 1);
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(30)), 0);
    assert_int_equal(late.destroyed, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_child_must_start_empty_and_the_parent_go_on, things_begin),
    };
    return cmocka_run_group_tests_name("fork while all is rotated", tests, NULL, NULL);
}
