/* SPDX-License-Identifier: MIT
 *
 * Request 31, valkey-glide#6884, bb8#249, reactor-pool#148, styx#55, keypool#291, PR #293: a close
 * either cuts off those who still use something, or hangs on one that never comes back. Here it
 * waits for what is lent up to a deadline, has the driver revoke the rest if it can, says how many
 * are still out, and these are destroyed when they do come back.
 */
#include "contract/house.h"

static void a_close_that_waits_must_not_cut_off_a_borrower(void **state)
{
    struct visitor v = { .stay_ms = 3000 };
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    house_open(&h, &o);
    house_stock(&h, "db", 3);
    visitor_send(&h, &v, "db", 1000);
    HOUSE_IS(&h, kp_pool_close(h.pool, KP_CLOSE_WAIT, KP_SECONDS(10)), 0);
    h.ended = true;
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 3000); /* as soon as it came back, not later */
    HOUSE_IS(&h, house_cast(&h).destroys, 3);
    house_close(&h); /* asserts that nothing was used after its end */
}

static void a_close_must_not_hang_on_what_never_comes_back(void **state)
{
    struct house h;
    kp_lease lease[2];
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    house_open(&h, &o);
    for (int i = 0; i < 2; i++) lease[i] = house_get(&h, "db");
    HOUSE_IS(&h, kp_pool_close(h.pool, KP_CLOSE_WAIT, KP_SECONDS(10)), 2);
    h.ended = true;
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), KP_SECONDS(10));
    for (int i = 0; i < 2; i++) {
        HOUSE_IS(&h, ((const kp_prop *)lease[i].resource)->alive, 1);
        kp_release(&lease[i]);
        HOUSE_IS(&h, house_cast(&h).destroys, i + 1);
    }
    house_close(&h);
}

static void at_its_deadline_what_is_lent_must_be_of_no_use_any_more(void **state)
{
    static const kp_line shut_down[] = { { .times = KP_OFF }, { 0 } };
    const kp_script script = { .revoke = shut_down };
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, &script);

    (void)state;
    house_open(&h, &o);
    kp_lease lease = house_get(&h, "db");
    HOUSE_IS(&h, kp_pool_close(h.pool, KP_CLOSE_WAIT, KP_SECONDS(10)), 1);
    h.ended = true;
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), KP_SECONDS(10));
    HOUSE_IS(&h, h.seen[KP_EVENT_REVOKED], 1);
    HOUSE_IS(&h, ((const kp_prop *)lease.resource)->alive, 1); /* he may be using it */
    kp_release(&lease);
    HOUSE_IS(&h, house_cast(&h).destroys, 1);
    house_close(&h);
}

static void a_close_that_drains_must_serve_those_who_wait_and_nobody_else(void **state)
{
    struct visitor v[4] = { { 0 } };
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, NULL);
    kp_lease late;

    (void)state;
    o.limits.max_live = 1;
    house_open(&h, &o);
    for (int i = 0; i < 4; i++) {
        v[i].stay_ms = 100;
        visitor_send(&h, &v[i], "db", KP_SECONDS(30));
    }
    HOUSE_IS(&h, kp_pool_close(h.pool, KP_CLOSE_DRAIN, KP_SECONDS(10)), 0);
    h.ended = true;
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 400);
    for (int i = 0; i < 4; i++) HOUSE_IS(&h, v[i].rc, 0);
    HOUSE_IS(&h, kp_get(h.pool, kp_str("db"), NULL, &late), KP_ECLOSED);
    house_close(&h);
}

static void who_waits_must_be_told_at_once_where_nobody_is_to_be_served(void **state)
{
    struct visitor v = { 0 };
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    o.limits.max_live = 1;
    house_open(&h, &o);
    kp_lease lease = house_get(&h, "db");
    visitor_send(&h, &v, "db", KP_SECONDS(30));
    HOUSE_IS(&h, kp_pool_close(h.pool, KP_CLOSE_WAIT, KP_SECONDS(1)), 1);
    h.ended = true;
    HOUSE_IS(&h, v.rc, KP_ECLOSED);
    HOUSE_IS(&h, v.answered_ms, 0);
    kp_release(&lease);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_close_that_waits_must_not_cut_off_a_borrower),
        cmocka_unit_test(a_close_must_not_hang_on_what_never_comes_back),
        cmocka_unit_test(at_its_deadline_what_is_lent_must_be_of_no_use_any_more),
        cmocka_unit_test(a_close_that_drains_must_serve_those_who_wait_and_nobody_else),
        cmocka_unit_test(who_waits_must_be_told_at_once_where_nobody_is_to_be_served),
    };
    return cmocka_run_group_tests_name("request 31", tests, NULL, NULL);
}
