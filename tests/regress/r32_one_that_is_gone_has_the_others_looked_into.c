/* SPDX-License-Identifier: MIT
 *
 * Request 32, quarkus#47091, #47282: after a failover every pooled connection is dead, and a caller
 * tests one after another, each for as long as a socket waits. Here the first that is found gone
 * makes its key suspect: others are tested beside it, a new one is made beside the tests where
 * there is room, and the second that is gone has the rest dropped.
 */
#include "contract/failover.h"

enum { STALE = 10 };

/* How long one get takes after the failover. */
static int64_t a_get_takes(kp_options *o, unsigned stale)
{
    struct house *h = &failover.h;

    house_open(h, o);
    failover_happens(stale);
    int64_t before = kp_sim_now_ms(h->sim);
    kp_lease lease = house_get_within(h, "db", KP_MINUTES(2));
    int64_t took = kp_sim_now_ms(h->sim) - before;
    HOUSE_HAS(h, house_number(&lease) > stale);
    house_release(h, &lease);
    return took;
}

static void no_get_must_meet_more_than_two_timeouts(void **state)
{
    struct house *h = &failover.h;
    kp_options o = failover_plan(STALE, NULL);

    (void)state;
    int64_t took = a_get_takes(&o, STALE);
    HOUSE_HAS(h, took <= 2 * FAILOVER_TIMEOUT);
    house_pass(h, KP_MINUTES(1));
    HOUSE_HAS(h, failover.timeouts <= 3); /* the first, and those begun before the second ended */
    HOUSE_IS(h, house_stats(h, "db").invalid, STALE);
    HOUSE_IS(h, h->seen[KP_EVENT_SUSPECT], 1);
    house_close(h);
}

static void a_new_one_must_be_made_beside_the_tests(void **state)
{
    struct house *h = &failover.h;
    kp_options o = failover_plan(2 * STALE, NULL);

    (void)state;
    int64_t took = a_get_takes(&o, STALE);
    HOUSE_IS(h, took, FAILOVER_TIMEOUT); /* the one that found it out */
    house_pass(h, KP_MINUTES(1));
    HOUSE_IS(h, house_stats(h, "db").invalid, STALE);
    house_close(h);
}

static void many_callers_must_all_have_theirs_within_two_timeouts(void **state)
{
    struct house *h = &failover.h;
    struct visitor v[2 * STALE];
    kp_options o = failover_plan(STALE, NULL);

    (void)state;
    house_open(h, &o);
    failover_happens(STALE);
    memset(v, 0, sizeof v);
    for (int i = 0; i < 2 * STALE; i++) {
        v[i].stay_ms = KP_NONE;
        visitor_send(h, &v[i], "db", KP_SECONDS(30));
    }
    for (int i = 0; i < 2 * STALE; i++) visitor_end(&v[i]);
    for (int i = 0; i < 2 * STALE; i++) {
        HOUSE_IS(h, v[i].rc, 0);
        HOUSE_HAS(h, v[i].answered_ms - v[i].asked_ms <= 2 * FAILOVER_TIMEOUT);
    }
    house_close(h);
}

static void without_a_check_all_of_them_must_go_with_the_first(void **state)
{
    struct house *h = &failover.h;
    kp_options o = failover_plan(STALE, NULL);

    (void)state;
    o.driver.validate = NULL;
    house_open(h, &o);
    failover_happens(STALE);
    kp_lease lease = house_get(h, "db");
    kp_lease_report(&lease, KP_EGONE); /* its borrower met the timeout */
    house_release(h, &lease);
    lease = house_get(h, "db");
    HOUSE_IS(h, house_number(&lease), STALE + 1);
    house_release(h, &lease);
    HOUSE_IS(h, house_stats(h, "db").invalid, STALE);
    house_close(h);
}

/* What the trackers tell of: to see that it is this which helps. */
static void where_it_is_off_one_after_another_is_tested(void **state)
{
    struct house *h = &failover.h;
    kp_options o = failover_plan(STALE, NULL);

    (void)state;
    o.limits.on_gone = KP_OFF;
    int64_t took = a_get_takes(&o, STALE);
    HOUSE_IS(h, took, STALE * FAILOVER_TIMEOUT);
    house_close(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_get_must_meet_more_than_two_timeouts),
        cmocka_unit_test(a_new_one_must_be_made_beside_the_tests),
        cmocka_unit_test(many_callers_must_all_have_theirs_within_two_timeouts),
        cmocka_unit_test(without_a_check_all_of_them_must_go_with_the_first),
        cmocka_unit_test(where_it_is_off_one_after_another_is_tested),
    };
    return cmocka_run_group_tests_name("request 32", tests, NULL, NULL);
}
