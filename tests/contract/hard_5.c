/* SPDX-License-Identifier: MIT
 *
 * The hard case H24: lost wake-ups, when returns and requests race, in a long queue, and behind a
 * slow create.
 */
#include "house.h"

static void gives_back(void *arg)
{
    kp_lease *lease = arg;
    house_exit(lease);
    kp_release(lease);
}

/* H24, B-WAIT-31 (BB8-1): N returns and N requests race */
static void as_many_returns_as_requests_must_serve_all_of_them(void **state)
{
    uint64_t seed;
    int i;
    (void)state;
    print_message("seeds 1 to 100\n");
    for (seed = 1; seed <= 100; seed++) {
        kp_lease give[3];
        struct visitor v[3] = { { 0 } };
        struct house h;
        kp_options o = house_plan(&h, seed, "commons", NULL);
        o.limits.max_live = 3;
        house_open(&h, &o);
        for (i = 0; i < 3; i++) {
            give[i] = house_get(&h, "a");
        }
        house_shuffle(&h, true);
        for (i = 0; i < 3; i++) {
            visitor_send(&h, &v[i], "a", KP_OFF);
            (void)kp_sim_spawn(h.sim, gives_back, &give[i]);
        }
        kp_sim_join(h.sim, 0);
        house_shuffle(&h, false);
        for (i = 0; i < 3; i++) {
            HOUSE_IS(&h, v[i].rc, 0);
            house_release(&h, &v[i].lease);
        }
        HOUSE_IS(&h, house_cast(&h).creates, 3);
        house_close(&h);
    }
}

/* H24, B-WAIT-30 (25 000 elsewhere; here as many as a test may have threads) */
static void five_hundred_who_wait_for_three_must_all_be_served(void **state)
{
    static struct visitor v[500];
    struct house h;
    kp_options o = house_plan(&h, 1, "commons", NULL);
    int i;
    (void)state;
    memset(v, 0, sizeof v);
    o.limits.max_live = 3;
    house_open(&h, &o);
    for (i = 0; i < 500; i++) {
        v[i].stay_ms = KP_NONE;
        visitor_send(&h, &v[i], "a", 5000);
    }
    kp_sim_join(h.sim, 0);
    for (i = 0; i < 500; i++) HOUSE_IS(&h, v[i].rc, 0);
    HOUSE_HAS(&h, house_cast(&h).creates <= 3);
    house_close(&h);
}

/* H24, B-GET-16 (E3-11): a create that is not needed any more is not followed by another */
static void one_who_is_served_by_a_return_must_leave_one_create_and_start_no_other(void **state)
{
    static const kp_line slow[] = { { .times = 1 }, { .takes_ms = 1000, .times = KP_OFF }, { 0 } };
    const kp_script script = { .create = slow };
    struct visitor v = { 0 };
    struct house h;
    kp_lease lease, again;
    kp_options o = house_plan(&h, 1, "commons", &script);
    (void)state;
    o.limits.max_live = 10;
    house_open(&h, &o);
    lease = house_get(&h, "a");
    visitor_send(&h, &v, "a", KP_OFF);
    house_pass(&h, 51);
    house_release(&h, &lease);
    house_settle(&h);
    HOUSE_IS(&h, v.answered_ms, 51);
    house_pass(&h, 2000);
    HOUSE_IS(&h, house_cast(&h).creates, 2);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 1);
    again = house_get(&h, "a");
    HOUSE_IS(&h, house_number(&again), 2);
    house_release(&h, &again);
    house_release(&h, &v.lease);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_many_returns_as_requests_must_serve_all_of_them),
        cmocka_unit_test(five_hundred_who_wait_for_three_must_all_be_served),
        cmocka_unit_test(one_who_is_served_by_a_return_must_leave_one_create_and_start_no_other),
    };
    return cmocka_run_group_tests_name("hard case H24", tests, NULL, NULL);
}
