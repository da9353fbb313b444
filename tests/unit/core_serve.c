/* SPDX-License-Identifier: MIT
 *
 * Tests of core/serve.c: what a request is granted at once, or lacks. The queues are in
 * core_waits.c, room made by others in core_room.c, health in core_health.c.
 */
#include "core_stage.h"

/* ---- answers --------------------------------------------------------------------------------- */

static void a_request_must_be_refused_for_the_reason_that_binds_first(void **state)
{
    struct stage s;
    struct kp__request r[9];

    (void)state;
    stage_open(&s);
    s.rules.max_live = 1;
    s.rules.max_waiting = 2;
    s.core.max_waiting = 3;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    stage_lend(&s, a);
    stage_lend(&s, b);
    assert_int_equal(stage_ask(&s, a, &r[0], KP_DONT_WAIT), KP__GRANT_NO);
    STAGE_NO(&r[0], KP_EAGAIN, "max_live");
    assert_null(kp__head(a));
    assert_int_equal(stage_ask(&s, a, &r[1], 0), KP__GRANT_WAIT);
    assert_string_equal(kp__limit_name[r[1].limit], "max_live");
    assert_int_equal(stage_ask(&s, a, &r[2], KP_DONT_WAIT), KP__GRANT_NO);
    STAGE_NO(&r[2], KP_EAGAIN, "wait_order"); /* another is ahead */
    assert_int_equal(stage_ask(&s, a, &r[3], 0), KP__GRANT_WAIT);
    assert_ptr_equal(kp__head(a), &r[1]);
    assert_int_equal(stage_ask(&s, a, &r[4], 0), KP__GRANT_NO);
    STAGE_NO(&r[4], KP_EFULL, "max_waiting");
    assert_int_equal(stage_ask(&s, b, &r[5], 0), KP__GRANT_WAIT);
    assert_int_equal(stage_ask(&s, b, &r[6], 0), KP__GRANT_NO);
    STAGE_NO(&r[6], KP_EFULL, "budget.max_waiting");
    s.core.phase = KP__DRAINING;
    assert_int_equal(stage_ask(&s, b, &r[7], 0), KP__GRANT_NO);
    STAGE_NO(&r[7], KP_ECLOSED, "");
    assert_int_equal(a->rare->seldom.waits, 2);
    assert_int_equal(s.core.seldom.waits, 3);
    stage_close(&s);
}

static void a_use_must_be_noted_where_there_is_a_clock(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slot = stage_lend(&s, sub);
    assert_int_equal(sub->used_at, 1000);
    s.now = 0;
    stage_give(&s, slot, 0, true);
    assert_int_equal(sub->used_at, 1000);
    stage_lend(&s, sub);
    assert_int_equal(sub->used_at, 1000);
    stage_close(&s);
}

static void a_taker_must_wait_and_an_either_must_create_where_nothing_is_idle(void **state)
{
    struct stage s;
    struct kp__request r[3];

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = stage_key(&s);
    assert_int_equal(stage_ask(&s, sub, &r[0], KP_DONT_CREATE), KP__GRANT_WAIT);
    assert_int_equal(r[0].queue, KP__TAKERS);
    assert_int_equal(stage_ask(&s, sub, &r[1], 0), KP__GRANT_PERMIT);
    assert_true(stage_woken(&s, &r[1])); /* it was queued behind the taker, and answered there */
    stage_take(&s, &r[1]);
    stage_give(&s, r[1].slot, 0, true);
    assert_int_equal(r[0].grant.kind, KP__GRANT_SLOT);
    assert_true(stage_woken(&s, &r[0]));
    assert_int_equal(stage_ask(&s, sub, &r[2], KP_DONT_CREATE | KP_DONT_WAIT), KP__GRANT_NO);
    STAGE_NO(&r[2], KP_EAGAIN, "kp_ask.flags");
    s.rules.max_live = 1; /* its key is full */
    assert_int_equal(stage_ask(&s, sub, &r[2], KP_DONT_CREATE | KP_DONT_WAIT), KP__GRANT_NO);
    STAGE_NO(&r[2], KP_EAGAIN, "max_live");
    stage_close(&s);
}

static void a_lease_must_carry_what_was_asked_and_say_whether_it_was_a_hit(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = stage_key(&s);
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_PERMIT);
    assert_null(r.slot);
    struct kp__slot *slot = stage_take(&s, &r);
    assert_false(kp__seat_at(slot, 0)->hit);
    assert_string_equal(kp__seat_at(slot, 0)->tag, "tag");
    assert_ptr_equal(kp__seat_at(slot, 0)->site, sub);
    assert_int_equal(sub->tally.creates, 1);
    stage_give(&s, slot, 0, true);
    s.now += 30;
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_SLOT);
    assert_true(r.grant.was_idle);
    assert_int_equal(kp__seat_at(slot, 0)->since - slot->since, 30);
    assert_true(kp__seat_at(slot, 0)->hit);
    assert_string_equal(kp__seat_at(slot, 0)->tag, "tag");
    assert_ptr_equal(kp__seat_at(slot, 0)->site, sub);
    assert_false(r.holds_lent);
    stage_close(&s);
}

static void a_shared_one_must_not_count_as_idle_time(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.rules.sharing = 2;
    struct kp__subpool *sub = stage_key(&s);
    stage_lend(&s, sub);
    s.now += 30;
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_SLOT);
    assert_false(r.grant.was_idle);
    stage_close(&s);
}

static void the_idle_one_used_last_or_first_must_be_lent_as_configured(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *a = stage_idle(&s, sub), *b = stage_idle(&s, sub);
    assert_ptr_equal(stage_lend(&s, sub), b);
    stage_give(&s, b, 0, true);
    s.rules.idle_lifo = false;
    assert_ptr_equal(stage_lend(&s, sub), a);
    stage_close(&s);
}

static void one_past_its_time_must_not_be_lent(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.rules.idle_check = KP_CHECK_GET;
    s.rules.idle_ttl = 10;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *a = stage_idle(&s, sub);
    s.now += 9;
    struct kp__slot *b = stage_idle(&s, sub);
    s.now += 1;
    assert_ptr_equal(stage_lend(&s, sub), b);
    s.rules.idle_lifo = false;
    struct kp__request r;
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_PERMIT);
    stage_take(&s, &r);
    assert_int_equal(a->state, KP__CLOSING);
    assert_int_equal(a->cause, KP_CAUSE_IDLE);
    assert_int_equal(stage_destroy(&s), 1);
    assert_int_equal(sub->rare->seldom.expired, 1);
    stage_close(&s);
}

static void one_past_its_age_must_not_be_shared_any_more(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.rules.sharing = 3;
    s.rules.max_age = 10;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slot = stage_lend(&s, sub);
    s.now += 10;
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_SLOT); /* gets do not check ages */
    s.rules.age_check = KP_CHECK_GET;
    s.now -= 1;
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_SLOT);
    assert_ptr_equal(r.slot, slot);
    stage_give(&s, slot, 2, true);
    s.now += 1;
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_PERMIT);
    stage_take(&s, &r);
    assert_true(slot->errand->doomed);
    assert_int_equal(slot->cause, KP_CAUSE_AGE);
    stage_close(&s);
}

/* ---- lent permits ---------------------------------------------------------------------------- */

static void leases_must_stay_within_the_keys_and_the_pools_limit(void **state)
{
    struct stage s;
    struct kp__request r[3];

    (void)state;
    stage_open(&s);
    s.rules.max_lent = 2;
    s.core.lent.cap = 3;
    s.core.lent.limit = KP__BY_POOL_LENT;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    struct kp__slot *first = stage_lend(&s, a);
    stage_lend(&s, a);
    assert_int_equal(stage_ask(&s, a, &r[0], 0), KP__GRANT_WAIT);
    assert_string_equal(kp__limit_name[r[0].limit], "max_lent");
    assert_null(a->contest->lacks);
    stage_lend(&s, b);
    assert_int_equal(stage_ask(&s, b, &r[1], 0), KP__GRANT_WAIT);
    assert_string_equal(kp__limit_name[r[1].limit], "budget.max_lent");
    assert_ptr_equal(b->contest->lacks, &s.core.lent);
    stage_give(&s, first, 0, true); /* its own key's first, which waited longer */
    assert_int_equal(r[0].grant.kind, KP__GRANT_SLOT);
    assert_int_equal(r[1].grant.kind, KP__GRANT_WAIT);
    stage_give(&s, r[0].slot, 0, true);
    assert_int_equal(r[1].grant.kind, KP__GRANT_PERMIT);
    assert_true(r[1].holds_lent);
    assert_null(b->contest->lacks);
    stage_close(&s);
}

/* The next request of a is behind d's for the group: so the group is what is in its way, not the
 * pool, which is full, too. */
static void a_key_whose_first_request_goes_must_stand_where_the_next_one_came(void **state)
{
    struct stage s;
    struct kp__request a1, a2, d1, c1;

    (void)state;
    stage_open(&s);
    s.core.by_arrival = true;
    s.core.live.cap = 1;
    stage_group(&s, 0, 0, 1);
    struct kp__subpool *a = stage_key(&s), *c = stage_key(&s), *d = stage_key(&s);
    stage_rule(&s, a, &s.rules, 0, -1);
    stage_rule(&s, d, &s.rules, 0, -1);
    stage_lend(&s, d);
    assert_int_equal(stage_ask(&s, a, &a1, 0), KP__GRANT_WAIT);
    assert_int_equal(stage_ask(&s, d, &d1, 0), KP__GRANT_WAIT);
    assert_int_equal(stage_ask(&s, c, &c1, 0), KP__GRANT_WAIT);
    assert_int_equal(stage_ask(&s, a, &a2, 0), KP__GRANT_WAIT);
    assert_true(kp__withdraw(&s.core, &a1, s.now, &s.todo));
    stage_check(&s);
    assert_string_equal(kp__limit_name[a2.limit], "budget.group_max_live");
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_must_be_refused_for_the_reason_that_binds_first),
        cmocka_unit_test(a_use_must_be_noted_where_there_is_a_clock),
        cmocka_unit_test(a_taker_must_wait_and_an_either_must_create_where_nothing_is_idle),
        cmocka_unit_test(a_lease_must_carry_what_was_asked_and_say_whether_it_was_a_hit),
        cmocka_unit_test(a_shared_one_must_not_count_as_idle_time),
        cmocka_unit_test(the_idle_one_used_last_or_first_must_be_lent_as_configured),
        cmocka_unit_test(one_past_its_time_must_not_be_lent),
        cmocka_unit_test(one_past_its_age_must_not_be_shared_any_more),
        cmocka_unit_test(leases_must_stay_within_the_keys_and_the_pools_limit),
        cmocka_unit_test(a_key_whose_first_request_goes_must_stand_where_the_next_one_came),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
