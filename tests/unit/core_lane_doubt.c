/* SPDX-License-Identifier: MIT
 *
 * Lanes and doubts: a key that is suspect has no open lane, nor has one of whose resources one is
 * being checked, because what is in doubt must not be lent by just changing a word.
 */
#include "core_lanes.h"

/* One of two that are on an open lane says that its peer is gone. */
static void a_lane_must_be_shut_while_its_key_is_suspect(struct stage *s)
{
    s->core.validates = true;
    s->rules.on_gone = KP_GONE_TEST;
    s->rules.validate_after = KP__NEVER;
    s->rules.max_creating = 1;
    struct kp__subpool *sub = lane_key(s, 3, 1);
    struct kp__slot *lent = KP__OF(kp__list_first(KP__SLOTS(sub, KP__LENT)), struct kp__slot, link);

    assert_true(lane_open_again(s, sub));
    assert_true(kp__peer_gone(&s->core, lent, s->now, &s->todo));
    assert_false(sub->open);
    assert_int_equal(sub->rare->doubts, 2);
    assert_false(lane_open_again(s, sub));
    for (int i = 0; i < 2; i++) {
        struct kp__slot *next = kp__test_next(&s->core, sub);
        kp__test_begin(&s->core, next, s->now, KP__NEVER);
        assert_false(lane_open_again(s, sub));
        kp__tested(&s->core, next, true, s->now, &s->todo);
        assert_int_equal(lane_open_again(s, sub), i == 1);
    }
}

/* The one in doubt is lent, so that nothing else keeps the lane shut. */
static void a_lane_must_stay_shut_for_one_that_is_lent_and_in_doubt(struct stage *s)
{
    s->core.validates = true;
    s->rules.on_gone = KP_GONE_TEST;
    s->rules.validate_after = KP__NEVER;
    struct kp__subpool *sub = lane_key(s, 2, 2);
    const struct kp__list *all = KP__SLOTS(sub, KP__LENT);
    struct kp__slot *first = KP__OF(kp__list_first(all), struct kp__slot, link);
    struct kp__slot *other = KP__OF(kp__list_last(all), struct kp__slot, link);

    assert_true(kp__peer_gone(&s->core, first, s->now, &s->todo));
    stage_idle(s, sub);
    assert_false(lane_open_again(s, sub));
    kp__doubt_end(&s->core, other);
    assert_true(lane_open_again(s, sub));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LANE_TEST(a_lane_must_be_shut_while_its_key_is_suspect),
        LANE_TEST(a_lane_must_stay_shut_for_one_that_is_lent_and_in_doubt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
