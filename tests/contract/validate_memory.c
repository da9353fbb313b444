/* SPDX-License-Identifier: MIT
 *
 * More checks by the keeper at the same time than there is memory for: nothing fails, and the rest
 * is checked later.
 */
#include "failover.h"

static struct house *const h = &failover.h;

enum { EVERY = 30000 };
enum { MANY = 70, JOBS = 64 }; /* a pool has memory for so many jobs at first */

static kp_job *held[MANY];
static int jobs_held;

static int validate_later(kp_job *job, void *resource)
{
    (void)resource;
    held[jobs_held++] = job;
    return KP_PENDING;
}

static void answer_all(void)
{
    while (jobs_held > 0) kp_job_done(held[--jobs_held], 0, NULL);
    house_check(h);
}

static kp_options plan_for_many(void)
{
    kp_options o = failover_plan(MANY, NULL);

    jobs_held = 0;
    o.driver.validate = validate_later;
    o.limits.validate_on = KP_CHECK_KEEPER;
    o.limits.validate_every_ms = EVERY;
    o.limits.max_creating = KP_UNLIMITED;
    o.threads = KP_NONE;
    return o;
}

/* Without memory, so many are tested, and no more; with it, the others as well. */
static void are_tested(int all)
{
    for (int ms = 0; jobs_held < all && ms < 4 * EVERY; ms += 100) {
        house_pass(h, 100);
        (void)kp_keep(h->pool);
        if (jobs_held == JOBS && ms < EVERY) ms = EVERY;
        if (ms >= EVERY + EVERY / 2) kp_sim_fail_alloc(h->sim, 0, false);
        else HOUSE_HAS(h, jobs_held <= JOBS);
    }
    HOUSE_IS(h, jobs_held, all);
    answer_all();
}

static void without_memory_for_a_test_it_must_be_made_later(void **state)
{
    kp_options o = plan_for_many();
    static kp_lease lease[MANY];

    (void)state;
    house_open(h, &o);
    for (int i = 0; i < MANY; i++) lease[i] = house_get(h, "db");
    for (int i = 1; i < MANY; i++) house_release(h, &lease[i]);
    kp_sim_fail_alloc(h->sim, 1, true);
    are_tested(MANY - 2); /* the last idle one is left for gets */
    house_release(h, &lease[0]);
    house_close(h);
}

static void without_memory_for_a_test_doubts_must_last(void **state)
{
    kp_options o = plan_for_many();
    static kp_lease lease[MANY];

    (void)state;
    o.limits.validate_on = KP_CHECK_GET;
    house_open(h, &o);
    for (int i = 0; i < MANY; i++) lease[i] = house_get(h, "db");
    for (int i = 1; i < MANY; i++) house_release(h, &lease[i]);
    kp_sim_fail_alloc(h->sim, 1, true);
    kp_lease_report(&lease[0], KP_EGONE);
    are_tested(MANY - 1);
    HOUSE_HAS(h, !failover_is_suspect());
    house_release(h, &lease[0]);
    house_close(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_memory_for_a_test_it_must_be_made_later),
        cmocka_unit_test(without_memory_for_a_test_doubts_must_last),
    };
    return cmocka_run_group_tests_name("tests without memory", tests, NULL, NULL);
}
