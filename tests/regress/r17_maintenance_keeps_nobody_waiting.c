/* SPDX-License-Identifier: MIT
 *
 * Request 17, vitess#20080: the refresh of idle connections closes and opens them again and holds
 * their slots meanwhile, so that callers wait although "Available" is positive. Here upkeep takes
 * an idle one out of the counts in the same step in which nobody can have it any more, never holds
 * one only to look at it, and what it makes belongs to whoever waits for it.
 */
#include "contract/house.h"

enum { KEPT = 4 };

/* A slow peer: a second to connect, five to say good-bye. */
static const kp_line slow_create[] = { { .blocks_ms = 1000, .times = KP_OFF }, { 0 } };
static const kp_line slow_destroy[] = { { .blocks_ms = 5000, .times = KP_OFF }, { 0 } };
static const kp_script slow = { .create = slow_create, .destroy = slow_destroy };

static kp_options always_four(struct house *h, const kp_script *script)
{
    kp_options o = house_plan(h, 1, NULL, script);

    o.limits.min_live = o.limits.max_live = KEPT;
    o.limits.refill = KP_REFILL_EAGER;
    o.limits.max_age_ms = KP_MINUTES(30);
    return o;
}

static void a_caller_each_second_must_never_wait_while_all_are_replaced(void **state)
{
    struct house h;
    kp_options o = always_four(&h, &slow);

    (void)state;
    house_open(&h, &o);
    kp_lease lease = house_get(&h, "db");
    house_release(&h, &lease);
    house_pass(&h, KP_MINUTES(1));
    uint64_t waits = house_stats(&h, "db").waits;
    for (int s = 0; s < 2 * 3600; s++) {
        lease = house_get_within(&h, "db", 1);
        house_release(&h, &lease);
        house_pass(&h, KP_SECONDS(1));
    }
    HOUSE_IS(&h, house_stats(&h, "db").waits, waits);
    HOUSE_HAS(&h, house_stats(&h, "db").expired >= 3 * KEPT); /* and they were replaced */
    house_pass(&h, KP_MINUTES(1));
    house_close(&h);
}

static void what_counts_as_idle_must_be_there_to_be_had(void **state)
{
    struct house h;
    kp_options o = always_four(&h, &slow);

    (void)state;
    house_open(&h, &o);
    kp_lease lease = house_get(&h, "db");
    house_release(&h, &lease);
    for (int s = 0; s < 3600; s++) {
        uint64_t idle = house_stats(&h, "db").idle;
        kp_lease all[KEPT];
        for (uint64_t i = 0; i < idle; i++) HOUSE_IS(&h, house_try(&h, "db", &all[i]), 0);
        for (uint64_t i = 0; i < idle; i++) house_release(&h, &all[i]);
        house_pass(&h, KP_SECONDS(1));
    }
    house_pass(&h, KP_MINUTES(1));
    house_close(&h);
}

static void who_waits_must_have_what_upkeep_makes(void **state)
{
    struct visitor v = { 0 };
    struct house h;
    kp_lease lease[KEPT];
    kp_options o = always_four(&h, &(const kp_script){ .create = slow_create });

    (void)state;
    house_open(&h, &o);
    for (int i = 0; i < KEPT; i++) lease[i] = house_get(&h, "db");
    int64_t at = kp_sim_now_ms(h.sim);
    house_discard(&h, &lease[0]);
    house_pass(&h, 500); /* the refill is half way */
    HOUSE_IS(&h, house_stats(&h, "db").creating, 1);
    visitor_send(&h, &v, "db", KP_SECONDS(30));
    visitor_end(&v);
    HOUSE_IS(&h, v.rc, 0);
    HOUSE_IS(&h, v.answered_ms, at + 1000);
    house_release(&h, &v.lease);
    for (int i = 1; i < KEPT; i++) house_release(&h, &lease[i]);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_caller_each_second_must_never_wait_while_all_are_replaced),
        cmocka_unit_test(what_counts_as_idle_must_be_there_to_be_had),
        cmocka_unit_test(who_waits_must_have_what_upkeep_makes),
    };
    return cmocka_run_group_tests_name("request 17", tests, NULL, NULL);
}
