/* SPDX-License-Identifier: MIT
 *
 * Request 22, npgsql#2813, #4818, r2dbc-pool#166, sqlalchemy PR 467: connections are reused in
 * turn, so that little traffic keeps every one of them warm, and pruning never finds one, or takes
 * the wrong one. Here the one returned last is lent first, and those that end are those that nobody
 * needed; in turn is an option, for who wants the load spread.
 */
#include "contract/house.h"

enum { PEAK = 10 };

static void those_nobody_needs_must_end_while_others_are_used(void **state)
{
    struct house h;
    kp_lease lease[2];
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    o.limits.idle_ttl_ms = KP_MINUTES(5);
    house_open(&h, &o);
    house_stock(&h, "db", PEAK);
    for (int s = 0; s < 300; s++) {
        for (int i = 0; i < 2; i++) lease[i] = house_get(&h, "db");
        HOUSE_HAS(&h, house_number(&lease[0]) >= PEAK - 1 && house_number(&lease[1]) >= PEAK - 1);
        for (int i = 0; i < 2; i++) house_release(&h, &lease[i]);
        house_pass(&h, KP_SECONDS(1));
    }
    HOUSE_IS(&h, house_stats(&h, "db").idle, 2);
    HOUSE_IS(&h, h.destroyed, PEAK - 2);
    for (unsigned i = 0; i < h.destroyed; i++) HOUSE_HAS(&h, h.destroyed_number[i] < PEAK - 1);
    HOUSE_IS(&h, house_cast(&h).creates, PEAK);
    house_close(&h);
}

static void a_limit_on_idle_ones_must_keep_those_in_use(void **state)
{
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    o.limits.max_idle = 2;
    house_open(&h, &o);
    for (int i = 0; i < 100; i++) house_stock(&h, "db", 2);
    HOUSE_IS(&h, house_cast(&h).creates, 2);
    house_stock(&h, "db", PEAK);
    HOUSE_IS(&h, house_stats(&h, "db").idle, 2);
    HOUSE_IS(&h, h.destroyed, PEAK - 2);
    house_close(&h);
}

static void in_turn_must_be_an_option(void **state)
{
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    o.limits.idle_order = KP_FIFO;
    house_open(&h, &o);
    house_stock(&h, "db", PEAK);
    for (unsigned i = 0; i < 3 * PEAK; i++) {
        kp_lease lease = house_get(&h, "db");
        HOUSE_IS(&h, house_number(&lease), i % PEAK + 1);
        house_release(&h, &lease);
    }
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(those_nobody_needs_must_end_while_others_are_used),
        cmocka_unit_test(a_limit_on_idle_ones_must_keep_those_in_use),
        cmocka_unit_test(in_turn_must_be_an_option),
    };
    return cmocka_run_group_tests_name("request 22", tests, NULL, NULL);
}
