/* SPDX-License-Identifier: MIT
 *
 * The memory that each key, resource and waiting request takes. To add a member is a decision: it
 * is recorded here, or the member goes into a separate part (base/slab.h). docs/decisions/0023 has
 * the sum.
 */
#include "core_stage.h"

#include "keyedpool/loop.h"

static void a_key_and_its_resource_must_take_no_more_than_they_did(void **state)
{
    (void)state;
    if (sizeof(void *) != 8) skip();
    assert_in_range(sizeof(struct kp__subpool), 1, 216);
    assert_in_range(sizeof(struct kp__slot), 1, 144);
}

static void a_request_must_take_no_more_than_it_did(void **state)
{
    (void)state;
    if (sizeof(void *) != 8) skip();
    assert_in_range(sizeof(struct kp__request), 1, 104);
    assert_in_range(sizeof(kp_request), 1, 128);
}

/* Nothing that a key needs only in trouble is there before the trouble. */
static void a_key_that_nobody_waits_for_must_have_no_parts(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = stage_key(&s), *other = stage_key(&s);
    struct kp__slot *slot = stage_lend(&s, sub);
    stage_give(&s, slot, 0, true);
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_SLOT);
    assert_false(kp__has_rare(sub));
    assert_ptr_equal(sub->contest, other->contest); /* the shared empty one */
    s.rules.max_live = 1;
    assert_int_equal(stage_ask(&s, sub, &(struct kp__request){ 0 }, 0), KP__GRANT_WAIT);
    assert_true(kp__has_rare(sub));
    assert_false(kp__has_rare(other));
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_and_its_resource_must_take_no_more_than_they_did),
        cmocka_unit_test(a_request_must_take_no_more_than_it_did),
        cmocka_unit_test(a_key_that_nobody_waits_for_must_have_no_parts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
