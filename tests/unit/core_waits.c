/* SPDX-License-Identifier: MIT
 *
 * Tests of core/serve.c: queues, which request is served when something becomes free, and every way
 * out of a queue.
 */
#include "core_stage.h"

/* ---- when to look again ---------------------------------------------------------------------- */

/* It waited for a pause to end; now that something is under way for it, it waits for that alone. */
static void who_was_granted_something_must_not_look_again_at_an_old_time(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = stage_key(&s);
    kp__rare(&s.core, sub)->health.back_off = s.now + 50;
    assert_int_equal(stage_ask(&s, sub, &r, KP_FRESH), KP__GRANT_WAIT);
    assert_int_equal(kp__next_look(&r), s.now + 50);
    s.now += 50;
    kp__settle(&s.core, sub, s.now, &s.todo);
    assert_int_equal(r.grant.kind, KP__GRANT_PERMIT);
    struct kp__slot *slot = stage_spend(&s, sub);
    stage_pending(&s, &r, slot);
    assert_int_equal(r.grant.kind, KP__GRANT_WAIT);
    assert_int_equal(kp__next_look(&r), KP__NEVER);
    stage_made(&s, slot, NULL);
    assert_int_equal(r.grant.kind, KP__GRANT_SLOT);
    stage_close(&s);
}

/* ---- queues ---------------------------------------------------------------------------------- */

static void one_who_cannot_go_on_must_hide_nobody_who_can(void **state)
{
    struct stage s;
    struct kp__request r[3];

    (void)state;
    stage_open(&s);
    s.rules.max_live = 1;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slot = stage_lend(&s, sub);
    stage_ask(&s, sub, &r[0], KP_FRESH);
    stage_ask(&s, sub, &r[1], KP_DONT_CREATE);
    stage_ask(&s, sub, &r[2], 0);
    assert_int_equal(sub->waiting, 3);
    stage_give(&s, slot, 0, true);
    /* the fresh one came first: it pushes the returned one out */
    assert_int_equal(r[0].grant.kind, KP__GRANT_PERMIT);
    assert_ptr_equal(r[0].slot, slot);
    stage_victim_gone(&s, &r[0]);
    struct kp__slot *fresh = stage_spend(&s, sub);
    stage_made(&s, fresh, &r[0]);
    stage_give(&s, fresh, 0, true);
    assert_int_equal(r[1].grant.kind, KP__GRANT_SLOT); /* the taker before the either */
    assert_int_equal(r[2].grant.kind, KP__GRANT_WAIT);
    stage_close(&s);
}

static void heads_must_be_asked_by_arrival_and_with_lifo_the_other_way(void **state)
{
    struct stage s;
    struct kp__request r[4];

    (void)state;
    for (int lifo = 0; lifo < 2; lifo++) {
        stage_open(&s);
        s.rules.wait_lifo = lifo;
        s.core.can_create = false;
        struct kp__subpool *sub = stage_key(&s);
        struct kp__slot *slot = stage_idle(&s, sub);
        stage_lend(&s, sub);
        stage_ask(&s, sub, &r[0], 0);
        stage_ask(&s, sub, &r[1], KP_DONT_CREATE);
        stage_ask(&s, sub, &r[2], 0);
        stage_ask(&s, sub, &r[3], KP_DONT_CREATE);
        for (int i = 0; i < 4; i++) {
            struct kp__request *next = &r[lifo ? 3 - i : i];
            stage_give(&s, slot, 0, true);
            assert_int_equal(next->grant.kind, KP__GRANT_SLOT);
            assert_ptr_equal(next->slot, slot);
        }
        stage_close(&s);
    }
}

static void all_who_can_be_served_must_be_served_at_once(void **state)
{
    struct stage s;
    struct kp__request r[4];

    (void)state;
    stage_open(&s);
    s.rules.sharing = 3;
    s.rules.max_live = 1;
    s.core.can_create = false;
    struct kp__subpool *sub = stage_key(&s);
    for (int i = 0; i < 4; i++) stage_ask(&s, sub, &r[i], 0);
    stage_idle(&s, sub);
    for (int i = 0; i < 3; i++) assert_int_equal(r[i].grant.kind, KP__GRANT_SLOT);
    assert_int_equal(r[3].grant.kind, KP__GRANT_WAIT);
    stage_close(&s);
}

/* A key whose first request was served stands where its second came. */
static void two_that_come_free_at_once_must_go_to_the_two_who_came_first(void **state)
{
    struct stage s;
    struct kp__request r[3];

    (void)state;
    stage_open(&s);
    s.core.by_arrival = true;
    s.core.lent.cap = 0;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    stage_ask(&s, a, &r[0], 0);
    stage_ask(&s, b, &r[1], 0);
    stage_ask(&s, a, &r[2], 0);
    s.core.lent.cap = 2;
    kp__settle_budget(&s.core, &s.core.lent, s.now, &s.todo);
    stage_check(&s);
    assert_int_equal(r[0].grant.kind, KP__GRANT_PERMIT);
    assert_int_equal(r[1].grant.kind, KP__GRANT_PERMIT);
    assert_int_equal(r[2].grant.kind, KP__GRANT_WAIT);
    stage_close(&s);
}

static void one_who_waits_again_must_stand_at_its_old_place(void **state)
{
    struct stage s;
    struct kp__request r[2];

    (void)state;
    stage_open(&s);
    s.rules.max_live = 1;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slot = stage_lend(&s, sub);
    stage_ask(&s, sub, &r[0], 0);
    stage_ask(&s, sub, &r[1], 0);
    stage_give(&s, slot, 0, true);
    assert_int_equal(r[0].grant.kind, KP__GRANT_SLOT);
    /* it turned out bad: validate said no */
    kp__give(&s.core, slot, 0, KP_CAUSE_INVALID, s.now, &s.todo);
    kp__wait_again(&s.core, &r[0], NULL, s.now, &s.todo);
    stage_check(&s);
    assert_int_equal(r[0].grant.kind, KP__GRANT_WAIT);
    assert_int_equal(kp__queue_ahead(&r[1]), 1);
    assert_int_equal(sub->rare->seldom.waits, 2); /* once per request */
    assert_int_equal(s.core.seldom.waits, 2);
    stage_destroy(&s);
    assert_int_equal(r[0].grant.kind, KP__GRANT_PERMIT);
    assert_int_equal(sub->rare->seldom.invalid, 1);
    stage_close(&s);
}

/* Of one that waited and of one that did not; they are counted from different ends. */
static void those_who_are_ahead_must_be_counted_from_either_end(void **state)
{
    for (int lifo = 0; lifo < 2; lifo++) {
        struct stage s;
        struct kp__request r[6];

        (void)state;
        stage_open(&s);
        s.rules.max_live = 1;
        s.rules.wait_lifo = lifo;
        struct kp__subpool *sub = stage_key(&s);
        (void)stage_lend(&s, sub);
        for (int i = 0; i < 6; i++) stage_ask(&s, sub, &r[i], 0);
        assert_true(kp__withdraw(&s.core, &r[2], s.now, &s.todo));
        for (int waited = 0; waited < 2; waited++) {
            r[2].waited = waited;
            assert_int_equal(kp__queue_ahead(&r[2]), lifo ? 3 : 2);
        }
        stage_close(&s);
    }
}

static void who_waits_again_after_the_close_must_be_refused(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = stage_key(&s);
    stage_ask(&s, sub, &r, 0);
    struct kp__slot *slot = stage_spend(&s, sub);
    s.core.phase = KP__DRAINING;
    stage_pending(&s, &r, slot);
    assert_int_equal(r.grant.kind, KP__GRANT_WAIT);
    kp__queue_remove(&s.core, &r);
    s.core.phase = KP__CLOSED;
    kp__wait_again(&s.core, &r, NULL, s.now, &s.todo);
    STAGE_NO(&r, KP_ECLOSED, "");
    assert_null(kp__under_way(&r));
    assert_null(slot->errand->sponsor);
    assert_false(r.holds_lent);
    assert_int_equal(s.core.lent.used, 0);
    stage_check(&s);
    stage_close(&s);
}

static void a_withdrawal_must_come_too_late_after_an_answer(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.rules.max_live = 1;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slot = stage_lend(&s, sub);
    stage_ask(&s, sub, &r, 0);
    assert_int_equal(atomic_load(&r.state), KP__WAITING);
    stage_give(&s, slot, 0, true);
    assert_int_equal(atomic_load(&r.state), KP__ANSWERED);
    assert_false(kp__withdraw(&s.core, &r, s.now, &s.todo));
    assert_int_equal(r.grant.kind, KP__GRANT_SLOT);
    stage_close(&s);
}

static void a_withdrawal_must_say_what_bound_and_serve_those_behind(void **state)
{
    struct stage s;
    struct kp__request r[2];

    (void)state;
    stage_open(&s);
    s.rules.max_live = 2;
    struct kp__subpool *sub = stage_key(&s);
    stage_lend(&s, sub);
    stage_idle(&s, sub);
    s.core.phase = KP__OPEN;
    struct kp__rules *rules = sub->rules;
    sub->rules = NULL;
    kp__claim(&s.core, (r[0] = (struct kp__request){ .sub = sub }, &r[0]), s.now, &s.todo);
    sub->rules = rules;
    assert_int_equal(r[0].grant.kind, KP__GRANT_WAIT);
    kp__claim(&s.core, (r[1] = (struct kp__request){ .sub = sub }, &r[1]), s.now, &s.todo);
    assert_int_equal(r[0].grant.kind, KP__GRANT_SLOT);
    assert_int_equal(r[1].grant.kind, KP__GRANT_WAIT);
    assert_true(kp__withdraw(&s.core, &r[1], s.now, &s.todo));
    STAGE_NO(&r[1], KP_ETIMEDOUT, "max_live");
    assert_int_equal(atomic_load(&r[1].state), KP__ANSWERED);
    assert_true(stage_woken(&s, &r[1]));
    stage_check(&s);
    stage_close(&s);
}

/* Although another one is ahead of it among those that lack the same. */
static void who_left_the_queue_must_be_owed_nothing(void **state)
{
    struct stage s;
    struct kp__request r[2];

    (void)state;
    stage_open(&s);
    s.core.lent.cap = 0;
    struct kp__subpool *first = stage_key(&s), *sub = stage_key(&s);
    stage_ask(&s, first, &r[0], 0);
    stage_ask(&s, sub, &r[1], 0);
    assert_true(kp__withdraw(&s.core, &r[1], s.now, &s.todo));
    stage_check(&s);
    assert_null(sub->contest->lacks);
    assert_int_equal(s.core.starved, 1);
    stage_close(&s);
}

static void refusing_all_must_reach_every_queue_of_the_key_and_no_other(void **state)
{
    struct stage s;
    struct kp__request r[4], other, maker;

    (void)state;
    stage_open(&s);
    s.rules.max_live = 1;
    struct kp__subpool *sub = stage_key(&s), *neighbour = stage_key(&s);
    stage_ask(&s, sub, &maker, KP_FRESH);
    struct kp__slot *slot = stage_spend(&s, sub);
    stage_pending(&s, &maker, slot);
    assert_int_equal(maker.queue, KP__OWN);
    stage_ask(&s, sub, &r[0], 0);
    stage_ask(&s, sub, &r[1], 0);
    stage_ask(&s, sub, &r[2], KP_DONT_CREATE);
    stage_ask(&s, sub, &r[3], KP_FRESH);
    stage_lend(&s, neighbour);
    stage_ask(&s, neighbour, &other, 0);
    kp__refuse_all(&s.core, sub, KP_ENOTFOUND, &s.todo);
    for (int i = 0; i < 4; i++) STAGE_NO(&r[i], KP_ENOTFOUND, "");
    STAGE_NO(&maker, KP_ENOTFOUND, "");
    assert_int_equal(other.grant.kind, KP__GRANT_WAIT);
    assert_int_equal(sub->waiting, 0);
    stage_check(&s);
    stage_close(&s);
}

/* ---- to-dos ---------------------------------------------------------------------------------- */

static void wake_ups_must_wait_until_the_lock_is_given_back(void **state)
{
    struct stage s;
    struct kp__request r[3];

    (void)state;
    stage_open(&s);
    s.core.lent.cap = 0;
    struct kp__subpool *sub = stage_key(&s);
    for (int i = 0; i < 3; i++) stage_ask(&s, sub, &r[i], 0);
    kp__refuse_all(&s.core, sub, KP_ECLOSED, &s.todo);
    assert_int_equal(s.wakes, 0);
    kp__todo_run_wakes(&s.todo);
    assert_int_equal(s.wakes, 3);
    kp__note_lack(&s.core, sub, NULL);
    stage_close(&s);
}

static void more_wake_ups_than_a_todo_can_carry_must_not_be_lost(void **state)
{
    struct stage s;
    static _Atomic uint32_t words[2 * KP__WAKES + 1];

    (void)state;
    stage_open(&s);
    for (int i = 0; i < 2 * KP__WAKES + 1; i++) kp__todo_wake(&s.todo, &words[i]);
    assert_int_equal(s.wakes, 2 * KP__WAKES);
    kp__todo_run_wakes(&s.todo);
    kp__todo_run_wakes(&s.todo);
    assert_int_equal(s.wakes, 2 * KP__WAKES + 1);
    for (int i = 0; i < s.wakes; i++) assert_ptr_equal(s.woken[i], (uint32_t *)&words[i]);
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_was_granted_something_must_not_look_again_at_an_old_time),
        cmocka_unit_test(one_who_cannot_go_on_must_hide_nobody_who_can),
        cmocka_unit_test(heads_must_be_asked_by_arrival_and_with_lifo_the_other_way),
        cmocka_unit_test(all_who_can_be_served_must_be_served_at_once),
        cmocka_unit_test(two_that_come_free_at_once_must_go_to_the_two_who_came_first),
        cmocka_unit_test(one_who_waits_again_must_stand_at_its_old_place),
        cmocka_unit_test(those_who_are_ahead_must_be_counted_from_either_end),
        cmocka_unit_test(who_waits_again_after_the_close_must_be_refused),
        cmocka_unit_test(a_withdrawal_must_come_too_late_after_an_answer),
        cmocka_unit_test(a_withdrawal_must_say_what_bound_and_serve_those_behind),
        cmocka_unit_test(who_left_the_queue_must_be_owed_nothing),
        cmocka_unit_test(refusing_all_must_reach_every_queue_of_the_key_and_no_other),
        cmocka_unit_test(wake_ups_must_wait_until_the_lock_is_given_back),
        cmocka_unit_test(more_wake_ups_than_a_todo_can_carry_must_not_be_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
