/* SPDX-License-Identifier: MIT
 *
 * Tests of draining (core/decide.c): a shared resource whose room is owed to another key gets no
 * new borrowers.
 */
#include "core_stage.h"

/* There are two resources, which two may share: `a` lends both, and `b` waits for the room of one.
 * Returns the second; the first is *shared. */
static struct kp__slot *owe_one(struct stage *s, int floor, struct kp__subpool **a,
                                struct kp__slot **shared, struct kp__request *poor)
{
    struct kp__request r;

    stage_open(s);
    s->core.live.cap = 2;
    s->rules.sharing = 2;
    s->rules.max_live = 2;
    s->rules.floor = floor;
    *a = stage_key(s);
    struct kp__subpool *b = stage_key(s);
    *shared = stage_lend(s, *a);
    assert_int_equal(stage_ask(s, *a, &r, KP_FRESH), KP__GRANT_PERMIT);
    struct kp__slot *second = stage_take(s, &r);
    assert_int_equal(stage_ask(s, b, poor, 0), KP__GRANT_WAIT);
    return second;
}

static void of_two_shared_ones_one_must_be_left_to_drain_and_not_the_other(void **state)
{
    struct stage s;
    struct kp__request r[4], poor;
    struct kp__subpool *a;
    struct kp__slot *shared;

    (void)state;
    struct kp__slot *drains = owe_one(&s, 0, &a, &shared, &poor);
    assert_int_equal(stage_ask(&s, a, &r[1], 0), KP__GRANT_SLOT);
    assert_ptr_equal(r[1].slot, shared);
    assert_true(drains->errand->draining);
    assert_int_equal(stage_ask(&s, a, &r[2], 0), KP__GRANT_WAIT); /* for the other to be served */
    assert_string_equal(kp__limit_name[r[2].limit], "budget.max_live");
    stage_give(&s, shared, 0, true);
    assert_int_equal(r[2].grant.kind, KP__GRANT_SLOT);
    assert_ptr_equal(r[2].slot, shared);
    stage_give(&s, drains, 0, true);
    assert_int_equal(poor.grant.kind, KP__GRANT_PERMIT);
    assert_ptr_equal(poor.slot, drains);
    stage_victim_gone(&s, &poor);
    stage_close(&s);
}

/* The other was invited to what is idle, and is on its way. */
static void none_must_be_left_to_drain_where_an_idle_one_can_go_instead(void **state)
{
    struct stage s;
    struct kp__request r, other;

    (void)state;
    stage_open(&s);
    s.core.live.cap = 4;
    s.rules.sharing = 2;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    struct kp__slot *shared[2] = { stage_lend(&s, a) };
    assert_int_equal(stage_ask(&s, a, &r, KP_FRESH), KP__GRANT_PERMIT);
    shared[1] = stage_take(&s, &r);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(stage_ask(&s, b, &r, KP_FRESH), KP__GRANT_PERMIT);
        stage_take(&s, &r);
    }
    assert_int_equal(stage_ask(&s, b, &other, KP_FRESH), KP__GRANT_WAIT);
    stage_give(&s, shared[1], 0, true);
    assert_true(other.invited);
    /* by now it has had more than the other */
    kp__contest(&s.core, a)->share.had[KP__IN_USE] += 9 * KP__SHARE_ONE;
    assert_int_equal(stage_ask(&s, a, &r, 0), KP__GRANT_SLOT);
    assert_ptr_equal(r.slot, shared[0]);
    assert_false(r.waited);
    stage_heed(&s, &other);
    assert_ptr_equal(other.slot, shared[1]);
    stage_victim_gone(&s, &other);
    stage_close(&s);
}

/* A resource that drains is shared again as soon as its room is not owed to another key. */
static void one_left_to_drain_must_be_shared_again_when_nobody_is_owed_its_room(void **state)
{
    (void)state;
    for (int idle = 0; idle < 2; idle++) {
        struct stage s;
        struct kp__request r;
        stage_open(&s);
        s.rules.sharing = 2;
        struct kp__subpool *sub = stage_key(&s);
        struct kp__slot *slot = stage_lend(&s, sub), *other = NULL;
        if (idle) {
            assert_int_equal(stage_ask(&s, sub, &r, KP_FRESH), KP__GRANT_PERMIT);
            other = stage_take(&s, &r);
            stage_give(&s, other, 0, true);
        }
        kp__drain_begin(&s.core, slot);
        stage_check(&s);
        assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_SLOT);
        assert_ptr_equal(r.slot, idle ? other : slot);
        assert_false(slot->errand->draining);
        assert_null(sub->rare->draining);
        stage_close(&s);
    }
}

/* Its key holds no more than its floor from the moment on in which the other one is closed, however
 * long that one's destroy takes. */
static void one_left_to_drain_must_be_shared_again_when_only_the_floor_is_left(void **state)
{
    struct stage s;
    struct kp__request r[4], poor;
    struct kp__subpool *a;
    struct kp__slot *shared;

    (void)state;
    struct kp__slot *drains = owe_one(&s, 1, &a, &shared, &poor);
    assert_int_equal(stage_ask(&s, a, &r[1], 0), KP__GRANT_SLOT);
    assert_int_equal(stage_ask(&s, a, &r[2], 0), KP__GRANT_WAIT);
    assert_true(drains->errand->draining);
    stage_give(&s, shared, 0, false);
    assert_int_equal(r[2].grant.kind, KP__GRANT_WAIT);
    stage_give(&s, shared, 1, false);
    assert_int_equal(shared->state, KP__CLOSING);
    assert_int_equal(r[2].grant.kind, KP__GRANT_SLOT);
    assert_ptr_equal(r[2].slot, drains);
    stage_destroy(&s);
    assert_int_equal(poor.grant.kind, KP__GRANT_PERMIT);
    stage_take(&s, &poor);
    stage_close(&s);
}

static void the_same_must_hold_where_the_other_one_fails_its_test(void **state)
{
    struct stage s;
    struct kp__request r, poor;

    (void)state;
    stage_open(&s);
    s.core.live.cap = 2;
    s.rules.sharing = 2;
    s.rules.max_live = 2;
    s.rules.floor = 1;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    struct kp__slot *tested = stage_idle(&s, a);
    assert_int_equal(stage_ask(&s, a, &r, KP_FRESH), KP__GRANT_PERMIT);
    struct kp__slot *drains = stage_take(&s, &r);
    kp__test_begin(&s.core, tested, s.now, KP__NEVER);
    assert_int_equal(stage_ask(&s, b, &poor, 0), KP__GRANT_WAIT);
    assert_int_equal(stage_ask(&s, a, &r, 0), KP__GRANT_WAIT);
    assert_true(drains->errand->draining);
    kp__tested(&s.core, tested, false, s.now, &s.todo);
    stage_check(&s);
    assert_int_equal(r.grant.kind, KP__GRANT_SLOT);
    assert_ptr_equal(r.slot, drains);
    stage_destroy(&s);
    assert_int_equal(poor.grant.kind, KP__GRANT_PERMIT);
    stage_take(&s, &poor);
    stage_close(&s);
}

/* It is being reset for the lease in one seat or the other. */
static void one_left_to_drain_must_not_be_shared_while_its_last_lease_ends(void **state)
{
    (void)state;
    for (uint32_t seat = 0; seat < 2; seat++) {
        struct stage s;
        struct kp__request r;
        stage_open(&s);
        s.rules.sharing = 2;
        s.rules.max_live = 1;
        struct kp__subpool *sub = stage_key(&s);
        struct kp__slot *slot = stage_lend(&s, sub);
        if (seat) {
            assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_SLOT);
            stage_give(&s, slot, 0, true);
        }
        kp__drain_begin(&s.core, slot);
        kp__seat_at(slot, seat)->ending = true;
        assert_int_equal(stage_ask(&s, sub, &r, KP_DONT_WAIT), KP__GRANT_NO);
        assert_false(slot->errand->draining);
        kp__seat_at(slot, seat)->ending = false;
        kp__open_seats(&s.core, slot);
        assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_SLOT);
        assert_ptr_equal(r.slot, slot);
        stage_close(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_two_shared_ones_one_must_be_left_to_drain_and_not_the_other),
        cmocka_unit_test(none_must_be_left_to_drain_where_an_idle_one_can_go_instead),
        cmocka_unit_test(one_left_to_drain_must_be_shared_again_when_nobody_is_owed_its_room),
        cmocka_unit_test(one_left_to_drain_must_be_shared_again_when_only_the_floor_is_left),
        cmocka_unit_test(the_same_must_hold_where_the_other_one_fails_its_test),
        cmocka_unit_test(one_left_to_drain_must_not_be_shared_while_its_last_lease_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
