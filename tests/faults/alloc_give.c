/* SPDX-License-Identifier: MIT
 *
 * Memory that runs out in scenes of waiting and giving back (scenes.h plays them): neither needs
 * any (L6).
 */
#include "faults/scenes.h"

static void get_a(void)
{
    (void)MAY(get(0, "a"));
}

static void one_lent(void)
{
    MUST(get(1, "a") == 0);
}

static void two_lent(void)
{
    MUST(get(1, "a") == 0 && get(2, "a") == 0);
}

static void one_of_all(kp_options *o)
{
    o->limits.max_live = 1;
    o->budget.max_live = 1;
}

/* ---- waiting --------------------------------------------------------------------------------- */

static void release_soon(void *arg)
{
    pass(20);
    kp_release(arg);
}

static void served_soon(void)
{
    two_lent();
    MUST(kp_sim_spawn(s.sim, release_soon, &s.lease[1]) > 0);
}

/* Waiting allocates nothing, and a returned one needs no memory. */
static void wait_for_it(void)
{
    MUST(get(0, "a") == 0);
}

static void wait_in_vain(void)
{
    kp_why why;
    int rc = kp_get(s.pool, kp_str("a"), KP_ASK(.within_ms = 20, .why = &why), &s.lease[0]);

    MUST(rc == KP_ETIMEDOUT && why.code == rc && strstr(why.limit, "max_live"));
}

static void close_soon(void *arg)
{
    pass(20);
    (void)kp_pool_close(s.pool, KP_CLOSE_NOW, (int64_t)(intptr_t)arg);
}

static void closed_soon(void)
{
    two_lent();
    MUST(kp_sim_spawn(s.sim, close_soon, NULL) > 0);
}

static void wait_for_the_close(void)
{
    MUST(get(0, "a") == KP_ECLOSED);
    give(1);
    give(2);
}

static void reserved(kp_options *o)
{
    o->limits.reserve = 1;
    o->limits.reserve_after_ms = 10;
}

static void get_a_meanwhile(void)
{
    get_a();
    kp_sim_join(s.sim, 0);
}

static void other_waits_for_budget(void)
{
    MUST(get(1, "b") == 0);
    MUST(kp_sim_spawn(s.sim, release_soon, &s.lease[1]) > 0);
}

/* ---- giving back: none of it needs memory (L6) ----------------------------------------------- */

static void release_it(void)
{
    give(1);
    MUST(numbers().lent == 0);
}

static void discard_it(void)
{
    kp_discard(&s.lease[1]);
    MUST(numbers().lent == 0 && numbers().live == 0);
}

static void resets(kp_options *o)
{
    o->driver.reset = reset;
}

static void lent_and_reset_fails(void)
{
    one_lent();
    s.fail_resets = 1;
}

static void lent_and_destroy_fails(void)
{
    one_lent();
    s.fail_destroys = 1;
}

static void keeps_none(kp_options *o)
{
    o->limits.max_idle = KP_NONE;
}

static void decide_and_release(void)
{
    kp_lease_about about;
    kp_lease same;

    kp_lease_report(&s.lease[1], -1);
    MUST(kp_lease_read(&s.lease[1], &about) && about.lent_ms >= 0);
    MUST(kp_lease_of(s.pool, s.lease[1].resource, &same) == 0);
    kp_lease_reuse(&s.lease[1], false);
    give(1);
    MUST(numbers().live == 0);
}

static void breaks_by_use(kp_options *o)
{
    o->limits.breaker_failures = 1;
    o->limits.breaker_counts = KP_BREAK_USE;
    o->limits.breaker_open_ms = 100;
}

static const scene scenes[] = {
    { "wait and be served", NULL, served_soon, wait_for_it, false },
    { "wait in vain", NULL, two_lent, wait_in_vain, false },
    { "wait until closed", NULL, closed_soon, wait_for_the_close, false },
    { "wait for the reserve", reserved, two_lent, get_a, false },
    { "wait for another key's room", one_of_all, other_waits_for_budget, get_a_meanwhile,
      false },
    { "release", NULL, one_lent, release_it, false },
    { "release, reset", resets, one_lent, release_it, false },
    { "release, reset fails", resets, lent_and_reset_fails, release_it, false },
    { "release, not kept", keeps_none, one_lent, release_it, false },
    { "discard", NULL, one_lent, discard_it, false },
    { "discard, destroy fails", NULL, lent_and_destroy_fails, discard_it, false },
    { "read, decide and release", NULL, one_lent, decide_and_release, false },
    { "report, the circuit opens", breaks_by_use, one_lent, decide_and_release, false },
};

enum { SCENES = sizeof scenes / sizeof scenes[0] };

static void an_allocation_that_fails_alone_must_disturb_no_wait_and_no_return(void **state)
{
    (void)state;
    assert_true(play_all(scenes, SCENES, false) <= 4); /* in scenes that create at the end */
}

static void without_memory_waits_must_end_and_returns_must_work(void **state)
{
    (void)state;
    assert_true(play_all(scenes, SCENES, true) <= 4); /* in scenes that create at the end */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_allocation_that_fails_alone_must_disturb_no_wait_and_no_return),
        cmocka_unit_test(without_memory_waits_must_end_and_returns_must_work),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
