/* SPDX-License-Identifier: MIT
 *
 * Request 19, zio#9306, #9329, #8820, #6834, zio-http#2610: what is invalidated leaks, or is handed
 * out again, and where all are invalid a get hangs. Here kp_invalidate marks by identity, in
 * constant time: an idle one is destroyed before it returns, a lent one when it comes back, each
 * exactly once, and its room is the next one's.
 */
#include "contract/house.h"

static kp_options of(struct house *h, int64_t size)
{
    kp_options o = house_plan(h, 1, NULL, NULL);

    o.limits.max_live = size;
    return o;
}

static void what_was_invalidated_must_be_destroyed_each_time(void **state)
{
    struct house h;
    kp_options o = of(&h, 1);

    (void)state;
    house_open(&h, &o);
    for (int i = 1; i <= 5; i++) {
        kp_lease lease = house_get_within(&h, "db", 1);
        HOUSE_IS(&h, house_number(&lease), i); /* and never an old one again */
        HOUSE_IS(&h, kp_invalidate(h.pool, lease.resource), 1);
        HOUSE_IS(&h, ((const kp_prop *)lease.resource)->alive, 1); /* while it is used */
        house_release(&h, &lease);
        HOUSE_IS(&h, house_cast(&h).live, 0);
    }
    HOUSE_IS(&h, house_cast(&h).most_live, 1);
    house_close(&h);
}

static void a_get_must_not_hang_where_all_are_invalid(void **state)
{
    struct visitor v[3] = { { 0 } };
    struct house h;
    kp_lease lease[3];
    kp_options o = of(&h, 3);

    (void)state;
    house_open(&h, &o);
    for (int i = 0; i < 3; i++) lease[i] = house_get(&h, "db");
    for (int i = 0; i < 3; i++) visitor_send(&h, &v[i], "db", KP_SECONDS(30));
    HOUSE_IS(&h, kp_invalidate_key(h.pool, kp_str("db")), 3);
    house_pass(&h, 10);
    for (int i = 0; i < 3; i++) house_release(&h, &lease[i]);
    kp_sim_join(h.sim, 0);
    for (int i = 0; i < 3; i++) {
        HOUSE_IS(&h, v[i].rc, 0);
        HOUSE_IS(&h, v[i].number, 4 + i);
        HOUSE_IS(&h, v[i].answered_ms, 10);
        house_release(&h, &v[i].lease);
    }
    house_close(&h);
}

static void the_answer_must_say_whether_there_was_one_to_mark(void **state)
{
    struct house h;
    kp_options o = of(&h, 2);

    (void)state;
    house_open(&h, &o);
    house_stock(&h, "db", 2);
    kp_lease lease = house_get(&h, "db");
    void *resource = lease.resource;
    HOUSE_IS(&h, kp_invalidate(h.pool, &h), 0); /* nobody's: and no later one's either */
    HOUSE_IS(&h, kp_invalidate(h.pool, resource), 1);
    HOUSE_IS(&h, kp_invalidate(h.pool, resource), 0);
    HOUSE_IS(&h, kp_invalidate_key(h.pool, KP_EVERY_KEY), 1); /* the idle one: gone at once */
    HOUSE_IS(&h, house_cast(&h).live, 1);
    house_release(&h, &lease);
    HOUSE_IS(&h, kp_invalidate(h.pool, resource), 0);
    HOUSE_IS(&h, house_cast(&h).destroys, 2);
    HOUSE_IS(&h, house_stats(&h, "db").invalidated, 2);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_invalidated_must_be_destroyed_each_time),
        cmocka_unit_test(a_get_must_not_hang_where_all_are_invalid),
        cmocka_unit_test(the_answer_must_say_whether_there_was_one_to_mark),
    };
    return cmocka_run_group_tests_name("request 19", tests, NULL, NULL);
}
