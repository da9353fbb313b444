/* SPDX-License-Identifier: MIT
 *
 * fork, continued: watched descriptors (driver.fd). A child has a set of its own, and nothing that
 * it does touches the parent's.
 */
#include <sys/socket.h>

#include "faults/child.h"

static int end[4]; /* two pairs: the one that the parent uses first */

static int descriptor(void *resource, void *ctx)
{
    (void)ctx;
    return end[2 * ((struct thing *)resource - things)];
}

static void use_and_close(void *pool)
{
    MUST(use_it_all(pool, "k") == 0);
    MUST(all_abandoned == 1);
    MUST(kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(30)) == 0);
}

static void a_child_must_leave_the_set_of_its_parent_alone(void **state)
{
    kp_options options = { .driver = thing_driver, .threads = KP_NONE };
    kp_stats stats;

    (void)state;
    for (int i = 0; i < 2; i++)
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, &end[2 * i]), 0);
    options.driver.fd = descriptor;
    options.watch_every_ms = 1;
    kp_pool *pool = pool_of_things(options);
    stock(pool, "k", 1);
    child_run(use_and_close, pool);
    (void)kp_keep(pool);
    assert_int_equal(kp_stats_read(pool, KP_EVERY_KEY, &stats), 0);
    assert_int_equal(stats.idle, 1);
    close(end[1]);
    do {
        (void)kp_keep(pool);
        assert_int_equal(kp_stats_read(pool, KP_EVERY_KEY, &stats), 0);
    } while (stats.idle > 0);
    assert_int_equal(all_destroyed, 1);
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(30)), 0);
    close(end[0]), close(end[2]), close(end[3]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_child_must_leave_the_set_of_its_parent_alone, things_begin),
    };
    return cmocka_run_group_tests_name("fork, and what is watched", tests, NULL, NULL);
}
