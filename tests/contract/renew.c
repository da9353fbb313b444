/* SPDX-License-Identifier: MIT
 *
 * Make before break (limits.renew_ahead_ms, limits.surplus): what is needed is replaced before its
 * age ends, within the surplus, so that each get finds one; what is not needed goes.
 */
#include "renew.h"

static void nobody_must_wait_when_ages_end(void **state)
{
    struct worker w[N];
    struct house h;

    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        kp_options o = aging(&h, seed);
        o.limits.age_spread_pct = 50;
        o.limits.surplus = 3;
        o.limits.max_creating = 3;
        house_open(&h, &o);
        house_stock(&h, "db", N);
        uint64_t waits = house_stats(&h, "db").waits;
        works(&h, w, 40, 4000);
        watch(&h, N + 3, 150000);
        kp_stats s = house_stats(&h, "db");
        HOUSE_HAS(&h, s.renewed >= 2 * N);
        HOUSE_IS(&h, s.expired, 0);
        HOUSE_IS(&h, s.waits, waits);
        all_got(&h, w);
        house_pass(&h, CREATE_MS); /* one more may be being replaced */
        house_close(&h);
    }
}

/* ---- what is replaced ------------------------------------------------------------------------ */

/* One that was used a moment before it is looked at, and the time until then. */
static void uses_each(struct house *h, unsigned count)
{
    house_stock(h, "db", count);
    house_pass(h, KP_SECONDS(58));
    house_stock(h, "db", count);
}

static void the_old_one_must_be_lent_until_the_new_one_is_there(void **state)
{
    struct house h;
    kp_options o = aging(&h, 1);

    (void)state;
    house_open(&h, &o);
    uses_each(&h, 1);
    house_pass(&h, 1000); /* the new one is begun 1 s before the age of the old */
    HOUSE_IS(&h, house_stats(&h, "db").creating, 1);
    kp_lease lease = house_get_within(&h, "db", 1);
    HOUSE_IS(&h, house_number(&lease), 1);
    house_release(&h, &lease);
    house_pass(&h, CREATE_MS);
    HOUSE_IS(&h, house_stats(&h, "db").renewed, 1);
    lease = house_get_within(&h, "db", 1);
    HOUSE_IS(&h, house_number(&lease), 2);
    house_release(&h, &lease);
    house_close(&h);
}

static void one_that_is_lent_must_go_when_it_comes_back(void **state)
{
    struct house h;
    kp_options o = aging(&h, 1);

    (void)state;
    o.limits.max_live = 1;
    house_open(&h, &o);
    kp_lease lease = house_get(&h, "db");
    house_pass(&h, KP_SECONDS(60) - 500);
    HOUSE_IS(&h, house_stats(&h, "db").live, 2); /* the surplus */
    HOUSE_IS(&h, house_stats(&h, "db").idle, 1);
    house_release(&h, &lease);
    HOUSE_IS(&h, house_stats(&h, "db").live, 1);
    HOUSE_IS(&h, house_stats(&h, "db").renewed, 1);
    HOUSE_IS(&h, h.destroyed_number[0], 1);
    house_close(&h);
}

static void what_was_idle_for_too_long_must_go_unreplaced(void **state)
{
    struct house h;
    kp_options o = aging(&h, 1);

    (void)state;
    o.limits.idle_ttl_ms = KP_SECONDS(30);
    house_open(&h, &o);
    house_stock(&h, "db", 2);
    house_pass(&h, KP_SECONDS(29));
    house_stock(&h, "db", 2);
    house_pass(&h, KP_SECONDS(28));
    house_stock(&h, "db", 1);
    house_pass(&h, KP_SECONDS(5));
    HOUSE_IS(&h, house_stats(&h, "db").renewed, 1);
    HOUSE_IS(&h, house_stats(&h, "db").expired, 1);
    HOUSE_IS(&h, house_stats(&h, "db").live, 1);
    house_close(&h);
}

static void what_nobody_ever_used_must_not_be_replaced_for_ever(void **state)
{
    struct house h;
    kp_options o = aging(&h, 1);

    (void)state;
    house_open(&h, &o);
    house_stock(&h, "db", 3);
    house_pass(&h, KP_SECONDS(70));
    HOUSE_IS(&h, house_stats(&h, "db").renewed, 3); /* these were used, once */
    house_pass(&h, KP_SECONDS(70));
    HOUSE_IS(&h, house_stats(&h, "db").renewed, 3);
    HOUSE_IS(&h, house_stats(&h, "db").expired, 3);
    HOUSE_IS(&h, house_stats(&h, "db").live, 0);
    house_close(&h);
}

static void the_minimum_must_be_replaced_though_nobody_uses_it(void **state)
{
    kp_key key = kp_str("db");
    struct house h;
    kp_options o = aging(&h, 1);

    (void)state;
    o.limits.min_live = 2;
    o.limits.refill = KP_REFILL_EAGER;
    o.forget_key_after_ms = KP_OFF;
    house_open(&h, &o);
    HOUSE_IS(&h, kp_warm(h.pool, &key, 1, NULL), 0);
    house_pass(&h, KP_SECONDS(10));
    for (int s = 0; s < 600; s++) {
        HOUSE_HAS(&h, house_stats(&h, "db").idle >= 2);
        house_pass(&h, 1000);
    }
    HOUSE_HAS(&h, house_stats(&h, "db").renewed >= 18);
    HOUSE_IS(&h, house_stats(&h, "db").expired, 0);
    house_close(&h);
}

/* Each test comes at another time than the end of an age. */
static void what_is_tested_while_idle_must_be_replaced_in_time(void **state)
{
    static const kp_line good[] = { { .times = KP_OFF }, { 0 } };
    static const kp_script script = { .create = slow, .validate = good };
    kp_key key = kp_str("db");
    struct house h;
    kp_options o = aging_by(&h, 1, &script);

    (void)state;
    o.limits.min_live = 2;
    o.limits.refill = KP_REFILL_EAGER;
    o.limits.validate_on = KP_CHECK_KEEPER;
    o.limits.validate_every_ms = KP_SECONDS(25);
    o.forget_key_after_ms = KP_OFF;
    house_open(&h, &o);
    HOUSE_IS(&h, kp_warm(h.pool, &key, 1, NULL), 0);
    house_pass(&h, KP_SECONDS(10));
    house_pass(&h, KP_SECONDS(300));
    HOUSE_HAS(&h, house_cast(&h).validates > 10);
    HOUSE_IS(&h, house_stats(&h, "db").expired, 0);
    HOUSE_HAS(&h, house_stats(&h, "db").renewed >= 8);
    house_close(&h);
}

static void an_age_that_stops_at_the_minimum_must_replace_nothing(void **state)
{
    struct house h;
    kp_options o = aging(&h, 1);

    (void)state;
    o.limits.min_live = 1;
    o.limits.respects_min = KP_KIND_AGE;
    o.limits.prefill = KP_PREFILL_NONE;
    house_open(&h, &o);
    uses_each(&h, 1);
    house_pass(&h, KP_SECONDS(10));
    HOUSE_IS(&h, house_cast(&h).creates, 1);
    HOUSE_IS(&h, kp_rotate(h.pool, kp_str("db"), KP_SECONDS(10)), 1); /* but an epoch does not */
    house_pass(&h, KP_SECONDS(10));
    HOUSE_IS(&h, house_stats(&h, "db").renewed, 1);
    HOUSE_IS(&h, house_stats(&h, "db").live, 1);
    house_close(&h);
}

static void an_age_that_nobody_looks_at_must_replace_nothing(void **state)
{
    struct house h;
    kp_options o = aging(&h, 1);

    (void)state;
    o.limits.age_check = KP_NONE;
    house_open(&h, &o);
    uses_each(&h, 1);
    house_pass(&h, KP_SECONDS(10));
    HOUSE_IS(&h, house_cast(&h).creates, 1);
    house_close(&h);
}

/* ---- room ------------------------------------------------------------------------------------ */

static void without_a_surplus_a_full_key_must_be_replaced_after(void **state)
{
    struct house h;
    kp_options o = aging(&h, 1);

    (void)state;
    o.limits.max_live = 1;
    o.limits.surplus = KP_NONE;
    house_open(&h, &o);
    uses_each(&h, 1);
    house_pass(&h, 1999);
    HOUSE_IS(&h, house_stats(&h, "db").idle, 1);
    house_pass(&h, 1);
    HOUSE_IS(&h, house_cast(&h).creates, 1);
    HOUSE_IS(&h, house_stats(&h, "db").expired, 1);
    house_close(&h);
}

static void without_a_surplus_there_may_be_room_all_the_same(void **state)
{
    struct house h;
    kp_options o = aging(&h, 1);

    (void)state;
    o.limits.max_live = 2;
    o.limits.surplus = KP_NONE;
    house_open(&h, &o);
    uses_each(&h, 1);
    house_pass(&h, 2000);
    HOUSE_IS(&h, house_stats(&h, "db").renewed, 1);
    house_close(&h);
}

static void the_budget_of_all_keys_must_stay_hard(void **state)
{
    struct house h;
    kp_options o = aging(&h, 1);

    (void)state;
    o.budget.max_live = 3;
    house_open(&h, &o);
    kp_lease other = house_get(&h, "other");
    uses_each(&h, 2);
    for (int i = 0; i < 3000; i++) {
        HOUSE_HAS(&h, house_stats(&h, NULL).live <= 3);
        kp_sim_pass_ms(h.sim, 1);
    }
    HOUSE_IS(&h, house_stats(&h, "db").expired, 1); /* no room ahead; but then there is */
    HOUSE_IS(&h, house_stats(&h, "db").renewed, 1);
    house_release(&h, &other);
    house_close(&h);
}

static void a_replacement_must_not_take_the_room_of_who_asks(void **state)
{
    struct visitor v = { 0 };
    struct house h;
    kp_options o = aging(&h, 1);

    (void)state;
    o.limits.max_live = 2;
    house_open(&h, &o);
    kp_lease old = house_get(&h, "db");
    house_pass(&h, KP_SECONDS(59) - CREATE_MS); /* made at CREATE_MS */
    kp_lease young = house_get(&h, "db");
    house_pass(&h, 100); /* the replacement of the old one is under way */
    HOUSE_IS(&h, house_stats(&h, "db").live, 3);
    house_discard(&h, &young);
    visitor_send(&h, &v, "db", KP_SECONDS(30));
    HOUSE_IS(&h, house_stats(&h, "db").creating, 2);
    house_release(&h, &old);
    visitor_end(&v);
    house_release(&h, &v.lease);
    house_pass(&h, KP_SECONDS(5));
    HOUSE_HAS(&h, house_stats(&h, "db").live <= 2);
    house_close(&h);
}

static void no_more_must_be_lent_than_the_limit_when_the_old_one_went_by_itself(void **state)
{
    struct visitor v[2] = { { 0 } };
    struct house h;
    kp_options o = aging(&h, 1);

    (void)state;
    o.limits.max_live = 1;
    house_open(&h, &o);
    kp_lease old = house_get(&h, "db");
    house_pass(&h, KP_SECONDS(59));                  /* made at CREATE_MS */
    HOUSE_IS(&h, house_stats(&h, "db").creating, 1); /* its replacement */
    house_discard(&h, &old);
    for (int i = 0; i < 2; i++) visitor_send(&h, &v[i], "db", KP_SECONDS(30));
    watch(&h, 1, CREATE_MS);
    visitor_end(&v[0]);
    HOUSE_IS(&h, house_stats(&h, "db").lent, 1);
    house_release(&h, &v[0].lease);
    visitor_end(&v[1]);
    house_release(&h, &v[1].lease);
    HOUSE_IS(&h, house_stats(&h, "db").creates, 2);
    house_close(&h);
}

/* ---- while it runs --------------------------------------------------------------------------- */

static void limits_that_come_late_must_hold_for_what_there_is(void **state)
{
    const kp_limits on = { .renew_ahead_ms = KP_SECONDS(10) }, off = { .renew_ahead_ms = KP_OFF };
    struct house h;
    kp_options o = aging(&h, 1);

    (void)state;
    o.limits.renew_ahead_ms = KP_OFF;
    o.limits.idle_check = KP_NONE; /* no check of the idle time */
    house_open(&h, &o);
    house_stock(&h, "db", 1);
    kp_lease lent = house_get(&h, "db");
    kp_lease other = house_get(&h, "db");
    house_release(&h, &other);
    house_pass(&h, KP_SECONDS(55));
    HOUSE_IS(&h, house_cast(&h).creates, 2);
    assert_int_equal(kp_limits_set(h.pool, kp_str("db"), &on, NULL), 0);
    house_pass(&h, 2 * CREATE_MS);
    HOUSE_IS(&h, house_cast(&h).creates, 4); /* both are in their last ten seconds */
    HOUSE_IS(&h, house_stats(&h, "db").renewed, 1);
    house_release(&h, &lent);
    HOUSE_IS(&h, house_stats(&h, "db").renewed, 2);
    house_stock(&h, "db", 2);
    house_pass(&h, KP_SECONDS(20));
    lent = house_get(&h, "db");
    house_pass(&h, KP_SECONDS(29)); /* it ages, and its replacement is not there yet */
    assert_int_equal(kp_limits_set(h.pool, kp_str("db"), &off, NULL), 0);
    uint64_t creates = house_cast(&h).creates;
    house_pass(&h, KP_SECONDS(20));
    HOUSE_HAS(&h, house_cast(&h).creates <= creates + 2);
    house_release(&h, &lent);
    house_pass(&h, KP_MINUTES(2));
    HOUSE_IS(&h, house_stats(&h, "db").live, 0);
    house_close(&h);
}

static void what_is_too_many_by_now_must_not_be_replaced(void **state)
{
    const kp_limits shut = { .max_live = KP_NONE };
    struct house h;
    kp_options o = aging(&h, 1);

    (void)state;
    o.limits.surplus = 3;
    house_open(&h, &o);
    kp_lease lease = house_get(&h, "db");
    assert_int_equal(kp_limits_set(h.pool, kp_str("db"), &shut, NULL), 0);
    house_pass(&h, KP_MINUTES(2));
    HOUSE_IS(&h, house_cast(&h).creates, 1);
    house_release(&h, &lease);
    HOUSE_IS(&h, house_stats(&h, "db").live, 0);
    house_close(&h);
}

/* ---- trouble --------------------------------------------------------------------------------- */

static const kp_line fails_twice[] = { { .takes_ms = CREATE_MS },
                                       { .takes_ms = 10, .status = -5, .times = 2 },
                                       { .takes_ms = CREATE_MS, .times = KP_OFF },
                                       { 0 } };

static void a_replacement_that_fails_must_be_tried_again_in_time(void **state)
{
    static const kp_script script = { .create = fails_twice };
    struct house h;
    kp_options o = aging(&h, 1);

    (void)state;
    kp_cast_close(h.cast);
    h.script = script;
    h.script.sim = h.sim;
    assert_int_equal(kp_cast_open(&h.script, &h.cast), 0);
    o.driver = kp_cast_driver(h.cast);
    o.driver.validate = o.driver.reset = NULL;
    o.limits.renew_ahead_ms = 3000;
    for (int paced = 0; paced < 2; paced++) {
        o.limits.retry_first_ms = paced ? KP_NONE : 100;
        house_open(&h, &o);
        if (paced == 0) uses_each(&h, 1);
        else house_stock(&h, "db", 1);
        house_pass(&h, KP_SECONDS(2));
        HOUSE_IS(&h, house_stats(&h, "db").live, 1);
        if (paced == 0) HOUSE_IS(&h, house_stats(&h, "db").renewed, 1);
        assert_int_equal(kp_pool_close(h.pool, KP_CLOSE_NOW, 1000), 0);
    }
    h.ended = true;
    house_leave(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_must_wait_when_ages_end),
        cmocka_unit_test(the_old_one_must_be_lent_until_the_new_one_is_there),
        cmocka_unit_test(one_that_is_lent_must_go_when_it_comes_back),
        cmocka_unit_test(what_was_idle_for_too_long_must_go_unreplaced),
        cmocka_unit_test(what_nobody_ever_used_must_not_be_replaced_for_ever),
        cmocka_unit_test(the_minimum_must_be_replaced_though_nobody_uses_it),
        cmocka_unit_test(what_is_tested_while_idle_must_be_replaced_in_time),
        cmocka_unit_test(an_age_that_stops_at_the_minimum_must_replace_nothing),
        cmocka_unit_test(an_age_that_nobody_looks_at_must_replace_nothing),
        cmocka_unit_test(without_a_surplus_a_full_key_must_be_replaced_after),
        cmocka_unit_test(without_a_surplus_there_may_be_room_all_the_same),
        cmocka_unit_test(the_budget_of_all_keys_must_stay_hard),
        cmocka_unit_test(a_replacement_must_not_take_the_room_of_who_asks),
        cmocka_unit_test(no_more_must_be_lent_than_the_limit_when_the_old_one_went_by_itself),
        cmocka_unit_test(limits_that_come_late_must_hold_for_what_there_is),
        cmocka_unit_test(what_is_too_many_by_now_must_not_be_replaced),
        cmocka_unit_test(a_replacement_that_fails_must_be_tried_again_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
