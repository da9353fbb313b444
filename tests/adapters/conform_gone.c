/* SPDX-License-Identifier: MIT
 *
 * What every adapter whose server may go must hold to: connections that the server ended are
 * dropped before anybody borrows them (driver.fd), and one that is gone says so (KP_EGONE), so that
 * a get meets a few of the dead ones, and not all of them in turn.
 */
#include "adapters/conform_stage.h"

#include <poll.h>

enum { MANY = 8, FEW = 3, LOOKS_EVERY_MS = 20 };

static kp_driver driver;               /* the adapter's own */

/* ---- the stage ------------------------------------------------------------------------------- */

static kp_options plan_with_driver(int64_t max_live)
{
    kp_options options = plan(max_live);

    driver = options.driver;
    return options;
}

/* So many that were lent at once, and are given back; of all of them the descriptors. */
static void stock(int many, int *fd)
{
    kp_lease lease[MANY];

    for (int i = 0; i < many; i++) {
        lease[i] = get(0);
        must_work(&lease[i]);
        fd[i] = driver.fd(lease[i].resource, driver.ctx);
        assert_true(fd[i] >= 0);
    }
    for (int i = 0; i < many; i++)
        kp_release(&lease[i]);
    all_must_be_back();
}

/* Killed is one thing, and that this machine has heard of it another. */
static void kill_server(const int *fd, int many)
{
    subject->kill();
    for (int i = 0; i < many; i++) {
        struct pollfd p = { .fd = fd[i], .events = POLLRDHUP };

        assert_int_equal(poll(&p, 1, WITHIN_MS), 1);
    }
}

static void must_be_served_again(void)
{
    kp_lease lease;

    assert_int_equal(subject->restart(), 0);
    lease = get(0);
    assert_false(reused(&lease));
    must_work(&lease);
    kp_release(&lease);
    close_pool();
}

/* ---- cases ----------------------------------------------------------------------------------- */

/* Nobody validates here: what is lent would be a dead one, if it had not been dropped. */
static void what_the_server_ended_must_go_before_anybody_borrows_it(void **state)
{
    kp_options options = plan_with_driver(FEW);
    kp_lease lease;
    int fd[FEW];

    (void)state;
    options.driver.validate = NULL;
    options.watch_every_ms = LOOKS_EVERY_MS;
    open_pool_as(&options);
    stock(FEW, fd);
    if (subject->hang_up)
        subject->hang_up();
    else
        subject->kill();
    await(&stage.gone, FEW);
    assert_int_equal(atomic_load(&stage.said_gone), FEW);
    assert_int_equal(atomic_load(&stage.suspect), 0);   /* servers end idle ones every day */
    if (!subject->hang_up) {
        must_be_served_again();
        return;
    }
    lease = get(0);
    assert_false(reused(&lease));
    must_work(&lease);
    kp_release(&lease);
    close_pool();
}

/* How many dead ones were met, by checks that failed, of MANY that were idle when the server was
 * killed. The others are dropped without a check, and without an event of their own but the end. */
static int dead_ones_met(int64_t on_gone)
{
    kp_options options = plan_with_driver(MANY);
    int fd[MANY], met;
    kp_lease lease;

    options.limits.on_gone = on_gone;
    open_pool_as(&options);
    stock(MANY, fd);
    kill_server(fd, MANY);
    assert_int_equal(try_get(subject->keys[0], WITHIN_MS, &lease), KP_ECREATE);
    await(&stage.gone, MANY);
    met = atomic_load(&stage.invalid);
    must_be_served_again();
    return met;
}

/* Two of the get's own, and two that upkeep tests meanwhile (max_creating). */
static void a_get_must_not_meet_each_dead_one_after_the_server_was_killed(void **state)
{
    (void)state;
    assert_in_range(dead_ones_met(0), 1, 4);
    assert_int_equal(atomic_load(&stage.suspect), 1);
}

/* To see that it is this which helps. */
static void where_it_is_off_a_get_meets_them_all(void **state)
{
    (void)state;
    assert_int_equal(dead_ones_met(KP_OFF), MANY);
    assert_int_equal(atomic_load(&stage.suspect), 0);
}

static void who_gives_a_dead_one_back_must_warn_the_others(void **state)
{
    kp_options options = plan_with_driver(FEW);
    kp_lease lease;
    int fd[FEW];

    (void)state;
    open_pool_as(&options);
    stock(FEW, fd);
    lease = get(0);
    kill_server(fd, FEW);
    assert_non_null(subject->use(lease.resource));
    kp_release(&lease);
    await(&stage.suspect, 1);
    await(&stage.gone, FEW);
    must_be_served_again();
}

int conform_gone(const struct conform *which)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_server_ended_must_go_before_anybody_borrows_it),
        cmocka_unit_test(a_get_must_not_meet_each_dead_one_after_the_server_was_killed),
        cmocka_unit_test(where_it_is_off_a_get_meets_them_all),
        cmocka_unit_test(who_gives_a_dead_one_back_must_warn_the_others),
    };
    char name[64];

    subject = which;
    (void)snprintf(name, sizeof name, "%s: servers that go", which->name);
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}
