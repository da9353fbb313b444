/* SPDX-License-Identifier: MIT
 *
 * The options of a get (kp_ask): which of them a hit without the lock serves, and which need the
 * lock.
 */
#include "hit_stage.h"

static void take_asking(const kp_ask *ask, kp_lease *lease)
{
    assert_int_equal(kp_get(hit.pool, K, ask, lease), 0);
    assert_non_null(lease->resource);
}

static void an_ask_that_a_hit_can_meet_must_need_no_lock(void)
{
    kp_why why;
    const kp_ask asks[] = { { 0 }, { .within_ms = 5 }, { .within_ms = KP_NONE },
                            { .within_ms = KP_OFF }, { .tag = "t" }, { .why = &why },
                            { .flags = KP_DONT_WAIT }, { .flags = KP_DONT_CREATE },
                            { .within_ms = KP_NONE, .flags = KP_DONT_WAIT },
                            { .within_ms = 1, .tag = "all", .why = &why,
                              .flags = KP_DONT_WAIT | KP_DONT_CREATE } };
    kp_lease lease;

    hit_stand(1, (kp_options){ 0 });
    for (size_t i = 0; i < sizeof asks / sizeof *asks; i++) {
        memset(&why, 0x5a, sizeof why);
        HIT_SHORT(take_asking(&asks[i], &lease));
        if (asks[i].why) assert_int_equal(why.code, 0);
        if (asks[i].why) assert_string_equal(why.text, "");
        HIT_SHORT(kp_release(&lease));
    }
    HIT_SHORT(take_asking(NULL, &lease); kp_release(&lease));
    HIT_SHORT(assert_int_equal(kp_try_get(hit.pool, K, &lease), 0); kp_release(&lease));
}

static void an_ask_with_a_deadline_in_it_must_be_met_all_the_same(void)
{
    kp_ask ask = { 0 };
    kp_lease lease;

    hit_stand(1, (kp_options){ 0 });
    ask.until = kp_deadline_in(hit.pool, KP_SECONDS(30));
    take_asking(&ask, &lease);
    kp_release(&lease);
    assert_int_equal(hit.made, 1);
}

static void an_ask_for_a_fresh_one_must_not_be_given_an_idle_one(void)
{
    kp_lease lease;

    hit_stand(1, (kp_options){ 0 });
    take_asking(&(kp_ask){ .flags = KP_FRESH }, &lease);
    assert_int_equal(hit_item(&lease)->number, 1);
    kp_release(&lease);
}

static void an_ask_out_of_order_must_be_refused_on_an_open_lane_too(void)
{
    kp_why why;
    const kp_ask asks[] = { { .within_ms = -5, .why = &why },
                            { .within_ms = KP_UNLIMITED, .why = &why },
                            { .flags = 8, .why = &why }, { .flags = 1u << 31, .why = &why },
                            { .until = { 1 }, .why = &why }, { .reserved0 = 1, .why = &why },
                            { .reserved = { 1 }, .why = &why },
                            { .reserved = { 0, 1 }, .why = &why },
                            { .reserved = { 0, 0, 1 }, .why = &why } };
    enum { ASKS = sizeof asks / sizeof *asks };

    hit_stand(1, (kp_options){ 0 });
    for (int i = 0; i < ASKS; i++) {
        hit_refused(hit.pool, K, &asks[i], KP_EMISUSE);
        assert_int_equal(why.code, KP_EMISUSE);
    }
    assert_int_equal(hit.misuses, ASKS);
    assert_int_equal(hit_stats(K).idle, 1);
}

static void an_ask_must_be_looked_at_whichever_key_it_is_for(void)
{
    kp_key pin, keys[] = { kp_str("brief"), kp_str("a key that is longer than brief"), { 0 } };

    hit_open((kp_options){ .limits.max_live = 1 });
    assert_int_equal(kp_pin(hit.pool, kp_str("pinned"), &pin), 0);
    keys[2] = pin;
    for (int i = 0; i < 3; i++) {
        kp_why why = { .code = 77 };
        kp_ask asks[] = { { .why = &why }, { .until = kp_deadline_in(hit.pool, 60000) } };
        kp_lease lease;
        hit_stock(keys[i], 1);
        HIT_SHORT(lease = hit_take_asking(keys[i], &asks[0]));
        assert_int_equal(why.code, 0);
        hit_refused(hit.pool, keys[i], KP_ASK(.flags = KP_DONT_WAIT), KP_EAGAIN);
        hit_give(&lease);
        hit_warm(keys[i]);
        HIT_LONG(lease = hit_take_asking(keys[i], &asks[1]));
        hit_give(&lease);
        hit_refused(NULL, keys[i], NULL, KP_EMISUSE);
        hit_refused(NULL, keys[i], &asks[0], KP_EMISUSE);
        assert_int_equal(why.code, KP_EMISUSE);
    }
    hit_assert_told(6, "pool is NULL");
    kp_unpin(hit.pool, &pin);
}

static void who_must_not_wait_must_be_told_that_the_only_one_is_lent(void)
{
    kp_lease lease;
    kp_why why;

    hit_stand(1, (kp_options){ .limits.max_live = 1 });
    HIT_SHORT(lease = hit_take(K));
    hit_try_refused(KP_EAGAIN);
    hit_refused(hit.pool, K, KP_ASK(.within_ms = 1, .why = &why), KP_ETIMEDOUT);
    assert_string_equal(why.limit, "max_live");
    assert_int_equal(why.lent, 1);
    assert_int_equal(why.idle, 0);
    hit_give(&lease);
    kp_stats s = hit_stats(K);
    assert_int_equal(s.gets, hit.gets);
    assert_int_equal(s.refusals, 1);
    assert_int_equal(s.timeouts, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HIT_TEST(an_ask_that_a_hit_can_meet_must_need_no_lock),
        HIT_TEST(an_ask_with_a_deadline_in_it_must_be_met_all_the_same),
        HIT_TEST(an_ask_for_a_fresh_one_must_not_be_given_an_idle_one),
        HIT_TEST(an_ask_out_of_order_must_be_refused_on_an_open_lane_too),
        HIT_TEST(an_ask_must_be_looked_at_whichever_key_it_is_for),
        HIT_TEST(who_must_not_wait_must_be_told_that_the_only_one_is_lent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
