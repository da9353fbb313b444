/* SPDX-License-Identifier: MIT
 *
 * Tests of core/request.c: answers that are declined, letters to event loops, the code that a
 * failure is reported as, and to-do lists.
 */
#include "core_stage.h"

#include <stddef.h>

/* ---- letters --------------------------------------------------------------------------------- */

static struct kp__mailbox boxes[2 + KP__BELLS];

static void open_boxes(void)
{
    for (size_t i = 0; i < sizeof boxes / sizeof boxes[0]; i++)
        assert_true(kp__mailbox_open(&boxes[i], KP__TO_ALARM));
}

static void close_boxes(void)
{
    for (size_t i = 0; i < sizeof boxes / sizeof boxes[0]; i++) kp__mailbox_close(&boxes[i]);
}

/* One that is not in any queue. */
struct ask {
    struct stage_face face;
    struct kp__request r;
};

static void ask_on(struct ask *a, struct kp__mailbox *box)
{
    a->r = (struct kp__request){ .of_loop = true };
    kp__list_init(&a->r.link);
    stage_on_loop(&a->face, &a->r, box);
}

static void a_loops_request_must_be_answered_by_a_letter_and_one_ring(void **state)
{
    struct stage s;
    struct ask a[4];

    (void)state;
    open_boxes();
    stage_open(&s);
    for (int i = 0; i < 3; i++) {
        ask_on(&a[i], &boxes[i == 2]);
        kp__rouse(&s.todo, &a[i].r);
    }
    assert_int_equal(s.todo.wakes, 0);
    assert_int_equal(s.todo.bells, 2);
    assert_ptr_equal(s.todo.bell[0], &boxes[0]);
    assert_ptr_equal(s.todo.bell[1], &boxes[1]);
    assert_false(boxes[0].rung); /* not under the lock */
    kp__todo_run_wakes(&s.todo);
    assert_true(boxes[0].rung);
    assert_true(boxes[1].rung);
    assert_int_equal(s.todo.bells, 0);
    ask_on(&a[3], &boxes[0]);
    kp__rouse(&s.todo, &a[3].r); /* it was rung: no need to again */
    assert_int_equal(s.todo.bells, 0);
    assert_ptr_equal(kp__mail_take(&boxes[0], &(int){ 0 }), &a[0].r.link);
    assert_ptr_equal(kp__mail_take(&boxes[0], &(int){ 0 }), &a[1].r.link);
    assert_ptr_equal(kp__mail_take(&boxes[0], &(int){ 0 }), &a[3].r.link);
    assert_null(kp__mail_take(&boxes[0], &(int){ 0 }));
    assert_ptr_equal(kp__mail_take(&boxes[1], &(int){ 0 }), &a[2].r.link);
    stage_close(&s);
    close_boxes();
}

static void more_bells_than_a_todo_can_carry_must_not_be_lost(void **state)
{
    struct stage s;
    struct ask a[KP__BELLS + 1];

    (void)state;
    open_boxes();
    stage_open(&s);
    for (int i = 0; i <= KP__BELLS; i++) {
        assert_int_equal(s.todo.bells, i);
        ask_on(&a[i], &boxes[i]);
        kp__rouse(&s.todo, &a[i].r);
    }
    assert_int_equal(s.todo.bells, 1);
    for (int i = 0; i <= KP__BELLS; i++) assert_int_equal(boxes[i].rung, i < KP__BELLS);
    kp__todo_run_wakes(&s.todo);
    for (int i = 0; i <= KP__BELLS; i++) {
        assert_true(boxes[i].rung);
        assert_non_null(kp__mail_take(&boxes[i], &(int){ 0 }));
    }
    stage_close(&s);
    close_boxes();
}

static void a_thread_must_be_woken_and_rung_for_nothing(void **state)
{
    struct stage s;
    struct kp__request r = { .of_loop = false };

    (void)state;
    stage_open(&s);
    kp__rouse(&s.todo, &r);
    assert_int_equal(s.todo.bells, 0);
    assert_true(stage_woken(&s, &r));
    stage_close(&s);
}

/* ---- told to look ---------------------------------------------------------------------------- */

static void a_loops_request_must_be_told_to_look_by_its_alarm_unless_that_is_sooner(void **state)
{
    struct kp__mailbox *box = &boxes[0];
    struct stage s;
    struct ask a, sooner;

    (void)state;
    open_boxes();
    stage_open(&s);
    ask_on(&a, box);
    ask_on(&sooner, box);
    kp__nudge(&s.todo, &a.r, 5); /* its start sets it, and asks then when to look */
    assert_false(kp__mail_is_set(box, &a.r.alarm));
    kp__mail_set(box, &a.r.alarm, 10);
    assert_true(kp__mail_is_set(box, &a.r.alarm));
    kp__nudge(&s.todo, &a.r, 10);
    assert_int_equal(s.todo.bells, 0);
    kp__nudge(&s.todo, &a.r, 9);
    assert_null(kp__mail_due(box, 8));
    assert_ptr_equal(kp__mail_due(box, 9), &a.r.alarm);
    assert_int_equal(s.todo.bells, 1); /* it may be asleep until 10 */
    kp__todo_run_wakes(&s.todo);
    assert_true(box->rung);
    kp__nudge(&s.todo, &a.r, 8);
    assert_int_equal(s.todo.bells, 0); /* it was rung already */
    box->rung = false;
    box->busy = true;
    kp__nudge(&s.todo, &a.r, 7);
    assert_int_equal(s.todo.bells, 0); /* it looks before it sleeps */
    box->busy = false;
    kp__mail_set(box, &sooner.r.alarm, 3);
    kp__nudge(&s.todo, &a.r, 4);
    assert_int_equal(s.todo.bells, 0); /* it looks before that anyway */
    assert_null(kp__mail_take(box, &(int){ 0 })); /* no letter: it still waits */
    kp__mail_forget(box, &sooner.r.link);
    assert_ptr_equal(kp__mail_any(box), &a.r.alarm);
    kp__mail_forget(box, &a.r.link);
    assert_null(kp__mail_due(box, KP__NEVER));
    assert_null(kp__mail_any(box));
    stage_close(&s);
    close_boxes();
}

/* Else its loop would ask again and again for it, and might tell it before those that were answered
 * sooner. */
static void who_was_answered_must_not_be_due_any_more(void **state)
{
    struct kp__mailbox *box = &boxes[0];
    struct stage s;
    struct ask a;

    (void)state;
    open_boxes();
    stage_open(&s);
    ask_on(&a, box);
    kp__mail_set(box, &a.r.alarm, 10);
    assert_ptr_equal(kp__mail_due(box, 10), &a.r.alarm);
    kp__rouse(&s.todo, &a.r);
    assert_null(kp__mail_due(box, KP__NEVER));
    assert_null(kp__mail_any(box));
    assert_true(kp__mail_is_set(box, &a.r.alarm)); /* it is not over */
    assert_ptr_equal(kp__mail_take(box, &(int){ 0 }), &a.r.link);
    kp__mail_forget(box, &a.r.link);
    stage_close(&s);
    close_boxes();
}

/* Its link is the queue's while it waits, and the letter's afterwards. */
static void who_waits_again_must_take_its_letter_back(void **state)
{
    struct stage s;
    struct ask a;

    (void)state;
    open_boxes();
    stage_open(&s);
    s.rules.max_live = 1;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slot = stage_lend(&s, sub);
    assert_int_equal(stage_ask(&s, sub, &a.r, 0), KP__GRANT_WAIT);
    stage_on_loop(&a.face, &a.r, &boxes[0]);
    stage_give(&s, slot, 0, true);
    assert_int_equal(a.r.grant.kind, KP__GRANT_SLOT);
    assert_false(kp__list_empty(&boxes[0].tray[0]));
    kp__give(&s.core, slot, 0, KP_CAUSE_INVALID, s.now, &s.todo);
    kp__wait_again(&s.core, &a.r, NULL, s.now, &s.todo);
    stage_check(&s);
    assert_int_equal(a.r.grant.kind, KP__GRANT_WAIT);
    assert_null(kp__mail_take(&boxes[0], &(int){ 0 }));
    stage_destroy(&s);
    assert_int_equal(a.r.grant.kind, KP__GRANT_PERMIT);
    assert_ptr_equal(kp__mail_take(&boxes[0], &(int){ 0 }), &a.r.link);
    kp__decline(&s.core, &a.r, s.now, &s.todo);
    stage_close(&s);
    close_boxes();
}

/* ---- who it is ------------------------------------------------------------------------------- */

static void done(kp_request *request, int status, kp_lease lease)
{
    (void)request, (void)status, (void)lease;
}

static void who_asked_must_be_the_caller_or_a_loops_done(void **state)
{
    struct kp__request thread;
    struct ask a;

    (void)state;
    ask_on(&a, &boxes[0]);
    kp__request_init(&thread, false, &a, NULL);
    assert_ptr_equal(kp__site_of(&thread), &a);
    ((kp_request *)(void *)&a)->done = done;
    assert_true((uintptr_t)kp__site_of(&a.r) == (uintptr_t)done);
}

static void who_came_in_the_same_moment_must_be_told_apart_for_ever(void **state)
{
    const struct kp__request first = { .arrived = 5, .stamp = UINT32_MAX },
                             second = { .arrived = 5, .stamp = 0 },
                             third = { .arrived = 6, .stamp = UINT32_MAX };

    (void)state;
    assert_true(kp__came_before(&first, &second));
    assert_false(kp__came_before(&second, &first));
    assert_true(kp__came_before(&second, &third));
    assert_false(kp__came_before(&third, &second));
    assert_false(kp__came_before(&first, &first));
}

/* ---- blame ----------------------------------------------------------------------------------- */

static void a_failure_must_be_told_in_its_own_words_or_in_those_of_its_code(void **state)
{
    struct kp__failure failure = { .code = KP_ECREATE, .vendor_code = 42, .text = "100%% lost" };
    kp_why why = { 0 };
    struct kp__request r = { .why = &why };

    (void)state;
    kp__blame(&r, &failure);
    assert_int_equal(why.code, KP_ECREATE);
    assert_int_equal(why.vendor_code, 42);
    assert_string_equal(why.text, "100%% lost");
    failure.text[0] = '\0';
    kp__blame(&r, &failure);
    assert_string_equal(why.text, kp_strerror(KP_ECREATE));
    r.why = NULL;
    kp__blame(&r, &failure); /* without a kp_why */
}

static void a_long_reason_must_be_told_as_far_as_there_is_room(void **state)
{
    struct kp__failure failure = { .code = KP_ECREATE };
    kp_why why = { 0 };
    struct kp__request r = { .why = &why };
    size_t most = sizeof why.text - 1;

    (void)state;
    memset(failure.text, 'x', sizeof failure.text - 1);
    if (most > sizeof failure.text - 1) most = sizeof failure.text - 1;
    kp__blame(&r, &failure);
    assert_int_equal(strlen(why.text), most);
}

/* ---- declined -------------------------------------------------------------------------------- */

static void a_declined_lease_must_go_back(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slot = stage_idle(&s, sub);
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_SLOT);
    kp__decline(&s.core, &r, s.now, &s.todo);
    stage_check(&s);
    STAGE_NO(&r, KP_ECANCELED, "");
    assert_int_equal(slot->state, KP__IDLE);
    /* one that was made for it */
    assert_int_equal(stage_ask(&s, sub, &r, KP_FRESH), KP__GRANT_PERMIT);
    stage_take(&s, &r);
    kp__decline(&s.core, &r, s.now, &s.todo);
    stage_check(&s);
    stage_close(&s);
}

/* It was not idle before, so it is as good as used until now. */
static void a_declined_lease_that_was_handed_over_must_be_idle_since_now(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.rules.max_live = 1;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slot = stage_lend(&s, sub);
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_WAIT);
    s.now += 10;
    stage_give(&s, slot, 0, true);
    assert_int_equal(r.grant.kind, KP__GRANT_SLOT);
    s.now += 10;
    kp__decline(&s.core, &r, s.now, &s.todo);
    stage_check(&s);
    assert_int_equal(slot->state, KP__IDLE);
    assert_int_equal(slot->since, s.now);
    stage_close(&s);
}

static void a_declined_permit_must_be_refunded_to_who_is_next(void **state)
{
    struct stage s;
    struct kp__request r[2];

    (void)state;
    stage_open(&s);
    s.rules.max_live = 1;
    struct kp__subpool *sub = stage_key(&s);
    assert_int_equal(stage_ask(&s, sub, &r[0], 0), KP__GRANT_PERMIT);
    assert_int_equal(stage_ask(&s, sub, &r[1], 0), KP__GRANT_WAIT);
    r[0].grant.probe = kp__probe_begin(&s.core, sub, s.now); /* as if it had been one */
    kp__decline(&s.core, &r[0], s.now, &s.todo);
    stage_check(&s);
    STAGE_NO(&r[0], KP_ECANCELED, "");
    assert_int_equal(sub->rare->health.circuit->probes, 1);
    assert_true(r[1].grant.probe);
    assert_false(r[0].holds_lent);
    assert_int_equal(r[1].grant.kind, KP__GRANT_PERMIT);
    assert_int_equal(s.core.lent.used, 1);
    assert_int_equal(s.core.live.used, 1);
    stage_close(&s);
}

static void the_victim_of_a_declined_permit_must_go_all_the_same(void **state)
{
    struct stage s;
    struct kp__request r[2];

    (void)state;
    stage_open(&s);
    s.core.live.cap = 1;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    struct kp__slot *victim = stage_idle(&s, a);
    assert_int_equal(stage_ask(&s, b, &r[0], 0), KP__GRANT_PERMIT);
    assert_ptr_equal(r[0].slot, victim);
    assert_int_equal(a->contest->ceded, 1);
    assert_int_equal(stage_ask(&s, b, &r[1], 0), KP__GRANT_WAIT);
    kp__decline(&s.core, &r[0], s.now, &s.todo);
    stage_check(&s);
    assert_int_equal(a->contest->ceded, 1); /* for the next one */
    assert_int_equal(b->contest->promised, 1);
    assert_int_equal(r[1].grant.kind, KP__GRANT_PERMIT);
    assert_ptr_equal(r[1].slot, victim);
    assert_int_equal(stage_destroy(&s), 1);
    assert_null(r[1].slot);
    stage_close(&s);
}

static void declining_a_no_must_change_nothing_but_the_reason(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = stage_key(&s);
    assert_int_equal(stage_ask(&s, sub, &r, KP_DONT_CREATE | KP_DONT_WAIT), KP__GRANT_NO);
    kp__decline(&s.core, &r, s.now, &s.todo);
    STAGE_NO(&r, KP_ECANCELED, "");
    stage_check(&s);
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loops_request_must_be_answered_by_a_letter_and_one_ring),
        cmocka_unit_test(more_bells_than_a_todo_can_carry_must_not_be_lost),
        cmocka_unit_test(a_thread_must_be_woken_and_rung_for_nothing),
        cmocka_unit_test(a_loops_request_must_be_told_to_look_by_its_alarm_unless_that_is_sooner),
        cmocka_unit_test(who_waits_again_must_take_its_letter_back),
        cmocka_unit_test(who_was_answered_must_not_be_due_any_more),
        cmocka_unit_test(who_asked_must_be_the_caller_or_a_loops_done),
        cmocka_unit_test(who_came_in_the_same_moment_must_be_told_apart_for_ever),
        cmocka_unit_test(a_failure_must_be_told_in_its_own_words_or_in_those_of_its_code),
        cmocka_unit_test(a_long_reason_must_be_told_as_far_as_there_is_room),
        cmocka_unit_test(a_declined_lease_must_go_back),
        cmocka_unit_test(a_declined_lease_that_was_handed_over_must_be_idle_since_now),
        cmocka_unit_test(a_declined_permit_must_be_refunded_to_who_is_next),
        cmocka_unit_test(the_victim_of_a_declined_permit_must_go_all_the_same),
        cmocka_unit_test(declining_a_no_must_change_nothing_but_the_reason),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
