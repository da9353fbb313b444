/* SPDX-License-Identifier: MIT
 *
 * Make before break while the old one is in use: it is replaced while it is lent, shared, waited
 * for or checked, and goes when it comes back.
 */
#include "renew.h"

/* ---- who waits ------------------------------------------------------------------------------- */

static void who_waits_at_the_limit_must_have_the_replacement(void **state)
{
    struct visitor v = { .stay_ms = KP_NONE };
    struct house h;
    kp_options o = aging(&h, 1);

    (void)state;
    o.limits.max_live = 1;
    house_open(&h, &o);
    kp_lease old = house_get(&h, "db");
    visitor_send(&h, &v, "db", KP_MINUTES(10));
    visitor_end(&v);
    HOUSE_IS(&h, v.answered_ms, CREATE_MS + KP_SECONDS(59) + CREATE_MS);
    HOUSE_IS(&h, v.number, 2);
    house_release(&h, &old);
    HOUSE_IS(&h, house_stats(&h, "db").live, 1);
    house_close(&h);
}

static void who_waits_must_not_get_the_old_one_beyond_the_limit(void **state)
{
    struct visitor first = { .stay_ms = KP_SECONDS(5) }, second = { .stay_ms = KP_NONE };
    struct house h;
    kp_options o = aging(&h, 1);

    (void)state;
    o.limits.max_live = 1;
    house_open(&h, &o);
    kp_lease old = house_get(&h, "db");
    visitor_send(&h, &first, "db", KP_MINUTES(10)); /* gets the replacement */
    visitor_send(&h, &second, "db", KP_MINUTES(10));
    house_pass(&h, KP_SECONDS(59) + CREATE_MS);
    house_release(&h, &old);
    HOUSE_IS(&h, house_stats(&h, "db").renewed, 1);
    HOUSE_IS(&h, house_stats(&h, "db").waiting, 1);
    visitor_end(&second);
    HOUSE_IS(&h, second.number, 2);
    visitor_end(&first);
    house_close(&h);
}

/* ---- who has it ------------------------------------------------------------------------------ */

static void a_shared_one_must_get_no_more_borrowers_when_the_new_one_is_there(void **state)
{
    struct house h;
    kp_options o = aging(&h, 1);
    kp_lease other;

    (void)state;
    o.limits.max_live = 1;
    o.limits.sharing = 3;
    house_open(&h, &o);
    h.waits_by_choice = true;
    kp_lease old = house_get(&h, "db");
    assert_int_equal(kp_get(h.pool, kp_str("db"), NULL, &other), 0);
    HOUSE_HAS(&h, other.resource == old.resource);
    house_pass(&h, KP_SECONDS(59) + CREATE_MS);
    HOUSE_IS(&h, house_stats(&h, "db").live, 2);
    kp_lease young = house_get_within(&h, "db", 1);
    HOUSE_IS(&h, house_number(&young), 2);
    kp_release(&other);
    HOUSE_IS(&h, house_stats(&h, "db").live, 2);
    house_release(&h, &old);
    HOUSE_IS(&h, house_stats(&h, "db").renewed, 1);
    HOUSE_IS(&h, house_stats(&h, "db").live, 1);
    house_release(&h, &young);
    house_close(&h);
}

static void of_two_shared_ones_that_which_ends_first_must_go(void **state)
{
    struct house h;
    kp_options o = aging(&h, 1);
    kp_lease lease[4];

    (void)state;
    o.limits.max_live = 2;
    o.limits.sharing = 2;
    o.limits.surplus = 2;
    o.limits.max_creating = 1;
    house_open(&h, &o);
    h.waits_by_choice = true;
    for (int i = 0; i < 4; i++) assert_int_equal(kp_get(h.pool, kp_str("db"), NULL, &lease[i]), 0);
    HOUSE_IS(&h, house_number(&lease[3]), 2);
    house_pass(&h, KP_SECONDS(59)); /* both age, the one at 59,200 ms and the other at 59,400 */
    kp_release(&lease[2]);
    kp_release(&lease[0]);
    HOUSE_IS(&h, house_try(&h, "db", &lease[0]), 0);
    HOUSE_HAS(&h, house_number(&lease[0]) == 2 || house_number(&lease[0]) == 3); /* not the first */
    house_pass(&h, CREATE_MS);
    house_release(&h, &lease[0]);
    for (int i = 1; i < 4; i++) kp_release(&lease[i]);
    house_pass(&h, KP_SECONDS(2));
    HOUSE_IS(&h, house_stats(&h, "db").live, 2);
    HOUSE_IS(&h, house_stats(&h, "db").renewed, 2);
    house_close(&h);
}

static void a_shared_one_that_is_being_tested_must_go_after_the_test(void **state)
{
    static const kp_line at_last[] = { { .takes_ms = CREATE_MS, .times = 1 },
                                       { .takes_ms = KP_SECONDS(20), .times = KP_OFF },
                                       { 0 } };
    static const kp_line long_test[] = { { .takes_ms = KP_SECONDS(20), .times = KP_OFF }, { 0 } };
    static const kp_script script = { .create = at_last, .validate = long_test };
    struct house h;
    kp_options o = aging_by(&h, 1, &script);

    (void)state;
    o.limits.sharing = 2;
    o.limits.renew_ahead_ms = KP_SECONDS(30);
    o.limits.validate_on = KP_CHECK_KEEPER;
    o.limits.validate_every_ms = KP_SECONDS(48); /* begins between 36 and 48 s */
    house_open(&h, &o);
    house_stock(&h, "db", 1);
    house_pass(&h, KP_SECONDS(50) - 1);
    HOUSE_IS(&h, house_stats(&h, "db").testing, 1);
    HOUSE_IS(&h, house_stats(&h, "db").idle, 0);
    house_pass(&h, 1);
    HOUSE_IS(&h, house_stats(&h, "db").testing, 1);
    HOUSE_IS(&h, house_stats(&h, "db").idle, 1);
    house_pass(&h, KP_SECONDS(20));
    HOUSE_IS(&h, h.destroyed_number[0], 1);
    HOUSE_IS(&h, house_stats(&h, "db").live, 1);
    house_close(&h);
}

static void who_waits_must_have_the_old_one_while_there_is_room(void **state)
{
    struct visitor v = { .stay_ms = 5 };
    struct house h;
    kp_options o = aging(&h, 1);

    (void)state;
    o.limits.max_live = 4;
    house_open(&h, &o);
    kp_lease old = house_get(&h, "db");
    house_pass(&h, KP_SECONDS(59) + CREATE_MS);
    kp_lease young = house_get_within(&h, "db", 1);
    HOUSE_IS(&h, house_number(&young), 2);
    visitor_send(&h, &v, "db", KP_SECONDS(30)); /* creates a third */
    house_release(&h, &old);
    visitor_end(&v);
    HOUSE_IS(&h, v.number, 1);
    HOUSE_IS(&h, house_stats(&h, "db").renewed, 1); /* at the end of that */
    house_pass(&h, CREATE_MS);
    house_release(&h, &young);
    house_close(&h);
}

static void what_is_marked_already_must_not_be_replaced(void **state)
{
    struct house h;
    kp_options o = aging(&h, 1);

    (void)state;
    house_open(&h, &o);
    kp_lease old = house_get(&h, "db");
    HOUSE_IS(&h, kp_invalidate(h.pool, old.resource), 1);
    house_pass(&h, KP_MINUTES(2));
    HOUSE_IS(&h, house_cast(&h).creates, 1);
    house_release(&h, &old);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_waits_at_the_limit_must_have_the_replacement),
        cmocka_unit_test(who_waits_must_not_get_the_old_one_beyond_the_limit),
        cmocka_unit_test(a_shared_one_must_get_no_more_borrowers_when_the_new_one_is_there),
        cmocka_unit_test(of_two_shared_ones_that_which_ends_first_must_go),
        cmocka_unit_test(a_shared_one_that_is_being_tested_must_go_after_the_test),
        cmocka_unit_test(who_waits_must_have_the_old_one_while_there_is_room),
        cmocka_unit_test(what_is_marked_already_must_not_be_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
