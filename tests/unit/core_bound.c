/* SPDX-License-Identifier: MIT
 *
 * Tests of kp__refill_bound (core/background.c): what a warm-up that ran out of time is told, for
 * each thing that can be in its way.
 */
#include "core_stage.h"

static void assert_bound(struct stage *s, struct kp__subpool *sub, enum kp__limit limit)
{
    assert_int_equal(kp__refill_bound(&s->core, sub, s->now), limit);
}

static void what_the_key_itself_has_under_way_must_be_told(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.rules.max_live = 1;
    struct kp__subpool *sub = stage_key(&s);
    s.core.can_create = false;
    assert_bound(&s, sub, KP__BY_DRIVER_CREATE);
    s.core.can_create = true;
    sub->rules = NULL; /* limits_for is being asked */
    assert_bound(&s, sub, KP__BY_LIMITS_FOR);
    sub->rules = &s.rules;
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_PERMIT);
    struct kp__slot *slot = stage_begin(&s, &r);
    assert_bound(&s, sub, KP__BY_CREATION);
    stage_made(&s, slot, &r);
    assert_bound(&s, sub, KP__BY_MAX_LIVE);
    stage_give(&s, slot, 0, true);
    kp__close_idle(&s.core, slot, KP_CAUSE_SURPLUS, &s.todo);
    assert_bound(&s, sub, KP__BY_DESTRUCTION);
    stage_destroy(&s);
    kp__rare(&s.core, sub)->health.back_off = s.now + 1;
    assert_bound(&s, sub, KP__BY_RETRY);
    kp__rare(&s.core, sub)->health.back_off = 0;
    stage_close(&s);
}

static void what_others_use_up_must_be_told(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    stage_group(&s, 0, 0, 1);
    stage_group(&s, 1, 1, 1);
    struct kp__subpool *other = stage_key(&s), *sub = stage_key(&s), *alone = stage_key(&s);
    stage_rule(&s, other, &s.rules, 0, 1);
    stage_rule(&s, sub, &s.rules, -1, 1);
    assert_bound(&s, sub, KP__BY_WAIT_ORDER);
    assert_int_equal(stage_ask(&s, other, &r, 0), KP__GRANT_PERMIT);
    struct kp__slot *slot = stage_begin(&s, &r);
    s.core.creating.cap = 1;
    assert_bound(&s, sub, KP__BY_POOL_CREATING);
    s.core.creating.cap = KP__UNBOUND;
    assert_bound(&s, sub, KP__BY_GROUP);
    assert_bound(&s, alone, KP__BY_WAIT_ORDER);
    s.core.live.cap = 1;
    assert_bound(&s, alone, KP__BY_POOL_LIVE);
    s.core.live.cap = KP__UNBOUND;
    stage_made(&s, slot, &r);
    stage_give(&s, slot, 0, true);
    s.core.max_idle = 1;
    assert_bound(&s, alone, KP__BY_POOL_IDLE);
    stage_close(&s);
}

static void who_waits_before_it_must_be_told(void **state)
{
    struct stage s;
    struct kp__request first, r;

    (void)state;
    stage_open(&s);
    s.core.creating.cap = 1;
    struct kp__subpool *other = stage_key(&s), *sub = stage_key(&s);
    assert_int_equal(stage_ask(&s, other, &first, 0), KP__GRANT_PERMIT);
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_WAIT);
    assert_bound(&s, sub, KP__BY_WAIT_ORDER);
    stage_made(&s, stage_begin(&s, &first), &first);
    stage_made(&s, stage_begin(&s, &r), &r);
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_key_itself_has_under_way_must_be_told),
        cmocka_unit_test(what_others_use_up_must_be_told),
        cmocka_unit_test(who_waits_before_it_must_be_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
