/* SPDX-License-Identifier: MIT
 *
 * A thread that goes to the lock because the lane is shut, and finds the lane open when it has the
 * lock, does without the lock after all, and the lane stays open. Here the functions that take the
 * lock are called directly.
 */
#include "hit_stage.h"
#include "flow/hit.h"

static int late(kp_key key, const kp_ask *ask, kp_lease *out)
{
    int code = kp__get(hit.pool, key, ask, NULL, out);

    hit.gets += code == 0;
    return code;
}

static void a_lane_that_opened_meanwhile_must_stay_open(void)
{
    kp_lease lease;
    kp_why why = { .code = 1 };

    hit_stand(1, (kp_options){ 0 });
    kp_key pin = hit_pin(K);
    HIT_SHORT(assert_int_equal(late(pin, NULL, &lease), 0));
    HIT_SHORT((void)kp__release(&lease, KP__RELEASED));
    assert_null(lease.resource);
    HIT_SHORT(assert_int_equal(late(K, KP_ASK(.tag = "late", .why = &why), &lease), 0));
    assert_int_equal(why.code, 0);
    HIT_SHORT((void)kp__release(&lease, KP__RELEASED));
    assert_true(hit_is_open());
    kp_release(&lease);
    hit_assert_told(1, "through this variable: released twice");
    assert_int_equal(hit_stats(K).gets, hit.gets);
    kp_unpin(hit.pool, &pin);
}

static void what_a_lane_cannot_give_must_shut_it_though_it_opened_meanwhile(void)
{
    kp_lease lease, other;

    hit_stand(1, (kp_options){ .limits.max_live = 1 });
    kp_key pin = hit_pin(K), wrong = pin;
    assert_int_equal(late(K, KP_ASK(.flags = KP_FRESH), &lease), 0);
    hit.item[0].users = 0;
    (void)kp__release(&lease, KP__RELEASED);
    hit_warm(pin);
    lease = hit_take(pin);
    assert_int_equal(late(K, KP_ASK(.flags = KP_DONT_WAIT, .within_ms = KP_NONE), &other),
                     KP_EAGAIN);
    hit_give(&lease);
    hit_warm(pin);
    assert_int_equal(late(kp_str("another"), NULL, &lease), 0);
    hit_warm(pin);
    (void)kp__release(&lease, KP__RELEASED);
    hit_warm(pin);
    wrong.data = NULL;
    assert_int_equal(late(wrong, NULL, &other), KP_EMISUSE);
    lease = hit_take(pin);
    other = lease;
    hit_give(&lease);
    (void)kp__release(&other, KP__RELEASED);
    assert_int_equal(hit.misuses, 2);
    hit_warm(pin);
    lease = hit_take(pin);
    kp_discard(&lease);
    assert_int_equal(hit_stats(K).idle, 0);
    kp_unpin(hit.pool, &pin);
}

static void what_is_no_key_must_be_told_though_a_lane_is_open(void)
{
    kp_lease lease;

    hit_stand(1, (kp_options){ 0 });
    kp_key pin = hit_pin(K);
    assert_int_equal(late(kp_bytes(NULL, 1), NULL, &lease), KP_EMISUSE);
    assert_int_equal(hit.misuses, 1);
    kp_unpin(hit.pool, &pin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HIT_TEST(a_lane_that_opened_meanwhile_must_stay_open),
        HIT_TEST(what_a_lane_cannot_give_must_shut_it_though_it_opened_meanwhile),
        HIT_TEST(what_is_no_key_must_be_told_though_a_lane_is_open),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
