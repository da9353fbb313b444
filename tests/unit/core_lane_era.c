/* SPDX-License-Identifier: MIT
 *
 * Tests of eras, by which kp_drain recognises older leases: a lease keeps the era in which it
 * began; one that began on an open lane has the era in which the lane opened, which is no later.
 */
#include "core_lanes.h"

static uint32_t era_of(const struct kp__slot *slot)
{
    return kp__seat_at(slot, 0)->era;
}

static void a_lease_must_begin_in_the_present_era(struct stage *s)
{
    struct kp__subpool *sub = stage_key(s);

    s->core.era = 7;
    assert_int_equal(era_of(stage_lend(s, sub)), 7);
    s->core.era = 8;
    assert_int_equal(era_of(stage_lend(s, sub)), 8);
}

static void a_lease_that_lasts_must_keep_its_era_over_an_open_lane(struct stage *s)
{
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = lane_lend(s, sub);

    stage_idle(s, sub); /* so that the lane may open */
    assert_int_equal(era_of(slot), 0);
    s->core.era = 7;
    assert_true(lane_open_again(s, sub));
    s->core.era = 8;
    lane_shut(s, sub);
    assert_int_equal(era_of(slot), 0);
}

static void a_lease_of_an_open_lane_must_not_be_younger_than_that(struct stage *s)
{
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = stage_idle(s, sub);

    s->core.era = 7;
    assert_true(lane_open(s, sub));
    assert_true(lane_take(slot, "tag", s));
    s->core.era = 8; /* an era never ends before all lanes are shut */
    lane_shut(s, sub);
    assert_int_equal(era_of(slot), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LANE_TEST(a_lease_must_begin_in_the_present_era),
        LANE_TEST(a_lease_that_lasts_must_keep_its_era_over_an_open_lane),
        LANE_TEST(a_lease_of_an_open_lane_must_not_be_younger_than_that),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
