/* SPDX-License-Identifier: MIT
 *
 * Keys that may be forgotten to make room for others (core/table.c, kp__table_spare): which, and in
 * which order; and how they are entered as unused (core/calendar.c).
 */
#include "core_stage.h"

enum { KEYS = 3 };

/* Three keys that were used one after the other, and have nothing. */
static void open_with_three(struct stage *s, struct kp__subpool *sub[KEYS])
{
    stage_open(s);
    s->core.forget_after = 100;
    for (int i = 0; i < KEYS; i++) {
        sub[i] = stage_key(s);
        sub[i]->used_at = s->now + (uint64_t)i;
        assert_false(kp__may_forget(&s->core, sub[i], 0));
    }
}

/* It was used, and is not used any more. */
static void use(struct stage *s, struct kp__subpool *sub)
{
    sub->used_at = ++s->now;
    assert_false(kp__may_forget(&s->core, sub, 0));
}

static void the_longest_unused_must_be_spared_first(void **state)
{
    struct kp__subpool *sub[KEYS];
    struct stage s;

    (void)state;
    open_with_three(&s, sub);
    s.now += 10;
    assert_ptr_equal(kp__table_spare(&s.core), sub[0]);
    assert_ptr_equal(kp__table_spare(&s.core), sub[0]); /* to look is no use */
    assert_false(kp__may_forget(&s.core, sub[0], 0));   /* nor is upkeep */
    assert_ptr_equal(kp__table_spare(&s.core), sub[0]);
    use(&s, sub[0]);
    assert_ptr_equal(kp__table_spare(&s.core), sub[1]);
    use(&s, sub[1]);
    assert_ptr_equal(kp__table_spare(&s.core), sub[2]);
    use(&s, sub[2]);
    assert_ptr_equal(kp__table_spare(&s.core), sub[0]);
    stage_close(&s);
}

static void one_that_is_used_must_leave_and_come_back_when_it_is_not(void **state)
{
    struct kp__subpool *sub[KEYS];
    struct stage s;

    (void)state;
    open_with_three(&s, sub);
    s.now += 10;
    struct kp__slot *slot = stage_lend(&s, sub[0]);
    sub[1]->interest++;
    assert_ptr_equal(kp__table_spare(&s.core), sub[2]);
    stage_give(&s, slot, 0, false);
    assert_int_equal(stage_destroy(&s), 1); /* which files it */
    sub[1]->interest--;
    assert_ptr_equal(kp__table_spare(&s.core), sub[2]);
    sub[2]->pins++;
    assert_ptr_equal(kp__table_spare(&s.core), sub[0]);
    sub[0]->pins++;
    assert_null(kp__table_spare(&s.core));
    sub[0]->pins = sub[2]->pins = 0;
    assert_null(kp__table_spare(&s.core)); /* until it is reported as unused */
    for (int i = KEYS - 1; i >= 0; i--) assert_false(kp__may_forget(&s.core, sub[i], 0));
    assert_ptr_equal(kp__table_spare(&s.core), sub[2]);
    stage_close(&s);
}

static void one_that_is_to_have_something_must_not_be_spared(void **state)
{
    struct kp__rules kept[2];
    struct kp__subpool *sub[KEYS];
    struct stage s;

    (void)state;
    open_with_three(&s, sub);
    kept[0] = kept[1] = s.rules;
    kept[0].min_live = 1;
    kept[1].floor = 1;
    for (int i = 0; i < 2; i++) sub[i]->rules = &kept[i];
    sub[2]->refill = true;
    assert_null(kp__table_spare(&s.core));
    sub[2]->refill = false;
    for (int i = 0; i < KEYS; i++) {
        sub[i]->rules = &s.rules;
        assert_false(kp__may_forget(&s.core, sub[i], 0));
        assert_ptr_equal(kp__table_spare(&s.core), sub[0]);
    }
    stage_close(&s);
}

static void only_keys_that_nobody_uses_must_be_known_as_such(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = stage_key(&s);
    kp__file_sub(&s.core, sub, 5); /* for something else */
    kp__file_forget(&s.core, sub); /* which never is */
    assert_null(kp__table_spare(&s.core));
    s.core.forget_after = 100;
    s.rules.min_live = 1;
    stage_idle(&s, sub);
    kp__file_forget(&s.core, sub); /* it would go with its minimum */
    s.rules.min_live = 0;
    assert_null(kp__table_spare(&s.core));
    stage_close(&s);
}

/* A key that was taken out is on no list, and one that takes its place begins anew. */
static void one_that_went_must_not_be_found_again(void **state)
{
    struct kp__subpool *sub[KEYS];
    struct stage s;

    (void)state;
    open_with_three(&s, sub);
    struct kp__subpool *other = stage_key(&s); /* which was never unused */
    kp__table_drop(&s.core, sub[0]);
    assert_ptr_equal(kp__table_spare(&s.core), sub[1]);
    kp__table_drop(&s.core, sub[1]);
    kp__table_drop(&s.core, other);
    assert_ptr_equal(kp__table_spare(&s.core), sub[2]);
    kp__table_drop(&s.core, sub[2]);
    assert_null(kp__table_spare(&s.core));
    assert_true(kp__list_empty(&s.core.unused));
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_longest_unused_must_be_spared_first),
        cmocka_unit_test(one_that_is_used_must_leave_and_come_back_when_it_is_not),
        cmocka_unit_test(one_that_is_to_have_something_must_not_be_spared),
        cmocka_unit_test(only_keys_that_nobody_uses_must_be_known_as_such),
        cmocka_unit_test(one_that_went_must_not_be_found_again),
    };
    return cmocka_run_group_tests_name("core: keys that may go", tests, NULL, NULL);
}
