/* SPDX-License-Identifier: MIT
 *
 * Tests of the line of keys that budget.max_creating holds up (core/background.c, I14): whoever is
 * first is looked at when there is room, and the next one when the first is gone.
 */
#include "core_stage.h"

static void the_next_must_be_looked_at_when_the_first_is_dropped(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.core.creating.cap = 1;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s), *c = stage_key(&s);
    assert_int_equal(stage_ask(&s, a, &r, 0), KP__GRANT_PERMIT);
    struct kp__slot *slot = stage_begin(&s, &r);
    kp__hold_up(&s.core, b);
    kp__hold_up(&s.core, c);
    stage_made(&s, slot, &r);
    assert_int_not_equal(stage_due_at(&s, b), 0);
    assert_int_equal(stage_due_at(&s, c), 0);
    kp__table_drop(&s.core, b);
    assert_int_not_equal(stage_due_at(&s, c), 0);
    stage_check(&s);
    stage_give(&s, slot, 0, true);
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_must_be_looked_at_when_the_first_is_dropped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
