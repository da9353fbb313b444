/* SPDX-License-Identifier: MIT
 *
 * Request 12, golang/go#31708 and PR #50358, blackbeam/mysql_async#212: those who wait are served
 * in a random order, so that the unlucky wait without bound. Here they are served as they came: who
 * has n before him waits for n uses, whoever comes after him and whoever before him gives up.
 */
#include "contract/house.h"

enum { QUEUE = 50, USE_MS = 10 };

static kp_options of_one(struct house *h)
{
    kp_options o = house_plan(h, 1, NULL, NULL);

    o.limits.max_live = 1;
    return o;
}

static void who_has_n_before_him_must_wait_for_n_uses(void **state)
{
    struct visitor v[QUEUE] = { { 0 } };
    struct house h;
    kp_options o = of_one(&h);
    kp_lease none;

    (void)state;
    house_open(&h, &o);
    for (int i = 0; i < QUEUE; i++) {
        v[i].stay_ms = USE_MS;
        visitor_send(&h, &v[i], "db", KP_MINUTES(1));
    }
    for (int i = 1; i < QUEUE; i++) {
        house_pass(&h, USE_MS / 2);
        HOUSE_IS(&h, house_try(&h, "db", &none), KP_EAGAIN); /* nobody slips in between */
        house_pass(&h, USE_MS / 2);
    }
    kp_sim_join(h.sim, 0);
    for (int i = 0; i < QUEUE; i++) {
        HOUSE_IS(&h, v[i].turn, i + 1);
        HOUSE_IS(&h, v[i].answered_ms, i * USE_MS);
    }
    house_close(&h);
}

static void who_gives_up_must_leave_the_order_of_the_others(void **state)
{
    struct visitor v[QUEUE] = { { 0 } };
    struct house h;
    kp_options o = of_one(&h);
    int served = 0;

    (void)state;
    house_open(&h, &o);
    kp_lease lease = house_get(&h, "db");
    for (int i = 0; i < QUEUE; i++) {
        v[i].stay_ms = USE_MS;
        visitor_send(&h, &v[i], "db", i % 3 ? KP_MINUTES(1) : 20); /* each third has no patience */
    }
    house_pass(&h, 30);
    house_release(&h, &lease);
    kp_sim_join(h.sim, 0);
    for (int i = 0; i < QUEUE; i++) {
        HOUSE_IS(&h, v[i].rc, i % 3 ? 0 : KP_ETIMEDOUT);
        if (i % 3 == 0) continue;
        HOUSE_IS(&h, v[i].turn, served + 1);
        HOUSE_IS(&h, v[i].answered_ms, 30 + served * USE_MS);
        served++;
    }
    house_close(&h);
}

static void a_new_one_in_place_of_a_broken_one_must_go_to_the_first(void **state)
{
    struct visitor v[3] = { { 0 } };
    struct house h;
    kp_options o = of_one(&h);

    (void)state;
    house_open(&h, &o);
    kp_lease lease = house_get(&h, "db");
    for (int i = 0; i < 3; i++) {
        v[i].stay_ms = USE_MS;
        v[i].discards = true;
        visitor_send(&h, &v[i], "db", KP_MINUTES(1));
    }
    house_discard(&h, &lease);
    kp_sim_join(h.sim, 0);
    for (int i = 0; i < 3; i++) HOUSE_IS(&h, v[i].turn, i + 1);
    HOUSE_IS(&h, house_cast(&h).creates, 4);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_has_n_before_him_must_wait_for_n_uses),
        cmocka_unit_test(who_gives_up_must_leave_the_order_of_the_others),
        cmocka_unit_test(a_new_one_in_place_of_a_broken_one_must_go_to_the_first),
    };
    return cmocka_run_group_tests_name("request 12", tests, NULL, NULL);
}
