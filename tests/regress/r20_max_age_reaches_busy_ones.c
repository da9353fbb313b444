/* SPDX-License-Identifier: MIT
 *
 * Request 20, HikariCP#2014, #1441, pgx#2560: the maximum lifetime, and the soft eviction of all,
 * pass by connections that are busy whenever the sweep comes. Here the age is looked at when a
 * resource is about to be lent, also from hand to hand, and a mark waits for the one that is lent.
 * With `renew_ahead_ms` its replacement is there before, also where kp_rotate brought the end of
 * its age forward: then who is always busy does not wait for a create either.
 */
#include "contract/house.h"

enum { USE_MS = 1000 };

static kp_options half_an_hour(struct house *h)
{
    kp_options o = house_plan(h, 1, NULL, NULL);

    o.limits.max_live = 1;
    o.limits.max_age_ms = KP_MINUTES(30);
    o.limits.age_spread_pct = KP_NONE;
    return o;
}

static void one_that_is_always_lent_again_must_end_at_its_age(void **state)
{
    struct house h;
    kp_options o = half_an_hour(&h);
    kp_lease_about about;

    (void)state;
    house_open(&h, &o);
    for (int s = 0; s < 2 * 3600; s++) {
        kp_lease lease = house_get(&h, "db");
        HOUSE_HAS(&h, kp_lease_read(&lease, &about) && about.age_ms < KP_MINUTES(30));
        house_pass(&h, USE_MS);
        house_release(&h, &lease);
    }
    HOUSE_IS(&h, house_cast(&h).creates, 4);
    house_close(&h);
}

static void one_that_goes_from_hand_to_hand_must_end_at_its_age(void **state)
{
    static const char *const db[] = { "db" };
    struct worker w[3] = { { .keys = db, .key_count = 1, .rounds = 1000, .hold_ms = USE_MS,
                             .within_ms = KP_MINUTES(10) } };
    struct house h;
    kp_options o = half_an_hour(&h);

    (void)state;
    house_open(&h, &o);
    workers_work(&h, w, 3); /* 3,000 s: two always wait */
    HOUSE_IS(&h, w[0].got + w[1].got + w[2].got, 3000);
    HOUSE_IS(&h, house_cast(&h).creates, 2);
    HOUSE_IS(&h, house_stats(&h, "db").expired, 1);
    house_close(&h);
}

static void a_soft_eviction_must_reach_what_is_lent(void **state)
{
    struct visitor v = { 0 };
    struct house h;
    kp_options o = half_an_hour(&h);

    (void)state;
    house_open(&h, &o);
    kp_lease lease = house_get(&h, "db");
    HOUSE_IS(&h, kp_invalidate_key(h.pool, KP_EVERY_KEY), 1);
    visitor_send(&h, &v, "db", KP_SECONDS(30));
    house_pass(&h, USE_MS);
    HOUSE_IS(&h, ((const kp_prop *)lease.resource)->alive, 1);
    house_release(&h, &lease);
    visitor_end(&v);
    HOUSE_IS(&h, v.number, 2);
    HOUSE_IS(&h, v.answered_ms, USE_MS);
    house_release(&h, &v.lease);
    house_close(&h);
}

/* ---- replaced before ------------------------------------------------------------------------- */

enum { CREATE_MS = 200 };

/* The same, with creates that take a while and a replacement beside what it replaces. */
static kp_options renewed_ahead(struct house *h)
{
    static const kp_line slow[] = { { .takes_ms = CREATE_MS, .times = KP_OFF }, { 0 } };
    static const kp_script slowly = { .create = slow };
    kp_options o = house_plan(h, 1, NULL, &slowly);

    o.limits.max_live = 1;
    o.limits.surplus = 1;
    o.limits.max_age_ms = KP_MINUTES(30);
    o.limits.age_spread_pct = KP_NONE;
    o.limits.renew_ahead_ms = KP_SECONDS(10);
    return o;
}

/* Lent, and lent again at once, for so many seconds; nobody may wait. */
static void is_always_busy(struct house *h, int seconds)
{
    for (int s = 0; s < seconds; s++) {
        kp_lease lease = house_get_within(h, "db", 1);
        house_pass(h, USE_MS);
        house_release(h, &lease);
    }
}

static void one_that_is_always_busy_must_be_replaced_before_its_age_ends(void **state)
{
    struct house h;
    kp_options o = renewed_ahead(&h);

    (void)state;
    house_open(&h, &o);
    house_stock(&h, "db", 1);
    is_always_busy(&h, 2 * 3600);
    HOUSE_IS(&h, house_cast(&h).creates, 5);
    HOUSE_IS(&h, house_cast(&h).most_live, 2);
    HOUSE_IS(&h, house_stats(&h, "db").renewed, 4);
    HOUSE_IS(&h, house_stats(&h, "db").expired, 0);
    house_close(&h);
}

static void a_rotation_must_reach_what_is_always_busy(void **state)
{
    struct house h;
    kp_options o = renewed_ahead(&h);

    (void)state;
    house_open(&h, &o);
    house_stock(&h, "db", 1);
    is_always_busy(&h, 60);
    kp_lease old = house_get(&h, "db");
    uint64_t number = house_number(&old);
    HOUSE_IS(&h, kp_rotate(h.pool, kp_str("db"), KP_SECONDS(10)), 1);
    house_pass(&h, USE_MS);
    HOUSE_IS(&h, ((const kp_prop *)old.resource)->alive, 1); /* nothing is taken from a borrower */
    house_release(&h, &old);
    is_always_busy(&h, 60);
    kp_lease young = house_get_within(&h, "db", 1);
    HOUSE_IS(&h, house_number(&young), number + 1);
    house_release(&h, &young);
    HOUSE_IS(&h, house_stats(&h, "db").renewed, 1);
    house_close(&h);
}

/* It comes back after its time: then it goes, whoever has waited for it has a new one. */
static void a_rotation_must_reach_one_that_is_busy_throughout(void **state)
{
    struct visitor v = { .stay_ms = KP_SECONDS(60) };
    struct house h;
    kp_options o = renewed_ahead(&h);

    (void)state;
    house_open(&h, &o);
    visitor_send(&h, &v, "db", KP_SECONDS(1));
    house_pass(&h, USE_MS);
    HOUSE_IS(&h, kp_rotate(h.pool, kp_str("db"), KP_SECONDS(10)), 1);
    house_pass(&h, CREATE_MS);
    kp_lease young = house_get_within(&h, "db", 1); /* beside it */
    HOUSE_IS(&h, house_number(&young), 2);
    house_release(&h, &young);
    visitor_end(&v);
    HOUSE_IS(&h, house_stats(&h, "db").live, 1);
    HOUSE_IS(&h, h.destroyed_number[0], 1);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_is_always_lent_again_must_end_at_its_age),
        cmocka_unit_test(one_that_goes_from_hand_to_hand_must_end_at_its_age),
        cmocka_unit_test(a_soft_eviction_must_reach_what_is_lent),
        cmocka_unit_test(one_that_is_always_busy_must_be_replaced_before_its_age_ends),
        cmocka_unit_test(a_rotation_must_reach_what_is_always_busy),
        cmocka_unit_test(a_rotation_must_reach_one_that_is_busy_throughout),
    };
    return cmocka_run_group_tests_name("request 20", tests, NULL, NULL);
}
