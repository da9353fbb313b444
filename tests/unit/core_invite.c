/* SPDX-License-Identifier: MIT
 *
 * Tests of invitations (core/serve.c): what a key with less than its share gave back is offered;
 * the giver may have it back before the one who was invited takes it.
 */
#include "core_stage.h"

/* a has less than its share and gives back; b waits. */
static struct kp__slot *give_back(struct stage *s, struct kp__subpool *a, struct kp__subpool *b,
                                  struct kp__request *r)
{
    s->core.lent.cap = 3;
    struct kp__slot *slot = stage_lend(s, a);
    stage_lend(s, b);
    stage_lend(s, b);
    assert_int_equal(stage_ask(s, b, r, 0), KP__GRANT_WAIT);
    return slot;
}

static void what_a_poor_key_gave_back_must_be_offered_and_taken_when_heeded(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    struct kp__slot *slot = give_back(&s, a, b, &r);
    stage_give(&s, slot, 0, true);
    assert_int_equal(r.grant.kind, KP__GRANT_WAIT);
    assert_true(r.invited);
    assert_int_equal(atomic_load(&r.state), KP__NUDGED);
    assert_true(stage_woken(&s, &r));
    stage_heed(&s, &r);
    assert_false(r.invited);
    assert_int_equal(r.grant.kind, KP__GRANT_PERMIT);
    stage_heed(&s, &r); /* answered: nothing more */
    assert_int_equal(atomic_load(&r.state), KP__ANSWERED);
    stage_close(&s);
}

/* It creates what it was granted, which takes its time: it is back in the queue, for that alone. */
static void an_invitation_must_end_with_the_answer(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    struct kp__slot *slot = give_back(&s, a, b, &r);
    stage_give(&s, slot, 0, true);
    assert_true(r.invited);
    stage_heed(&s, &r);
    assert_int_equal(r.grant.kind, KP__GRANT_PERMIT);
    stage_pending(&s, &r, stage_spend(&s, b));
    assert_false(r.invited);
    assert_false(stage_invited(&s));
    stage_close(&s);
}

static void the_giver_must_get_back_what_it_comes_for_at_once(void **state)
{
    struct stage s;
    struct kp__request r, again;

    (void)state;
    stage_open(&s);
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    struct kp__slot *slot = give_back(&s, a, b, &r);
    stage_give(&s, slot, 0, true);
    assert_int_equal(stage_ask(&s, a, &again, 0), KP__GRANT_SLOT);
    stage_heed(&s, &r);
    assert_int_equal(r.grant.kind, KP__GRANT_WAIT);
    assert_false(r.invited);
    assert_int_equal(atomic_load(&r.state), KP__WAITING);
    stage_close(&s);
}

static void a_nudge_alone_must_not_serve(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    struct kp__slot *slot = give_back(&s, a, b, &r);
    stage_give(&s, slot, 0, true);
    r.invited = false;
    kp__heed(&s.core, &r, s.now, &s.todo);
    assert_int_equal(atomic_load(&r.state), KP__WAITING);
    assert_int_equal(r.grant.kind, KP__GRANT_WAIT);
    kp__heed(&s.core, &r, s.now, &s.todo); /* not even nudged */
    assert_int_equal(r.grant.kind, KP__GRANT_WAIT);
    stage_close(&s);
}

/* Another of its key came before it, who lacks something else. */
static void who_lacks_what_was_given_back_must_be_invited(void **state)
{
    struct stage s;
    struct kp__request r, taker;

    (void)state;
    stage_open(&s);
    s.core.live.cap = 3;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    struct kp__slot *slot = stage_lend(&s, a);
    stage_lend(&s, b);
    stage_lend(&s, b);
    assert_int_equal(stage_ask(&s, b, &taker, KP_DONT_CREATE), KP__GRANT_WAIT);
    assert_int_equal(stage_ask(&s, b, &r, 0), KP__GRANT_WAIT);
    stage_give(&s, slot, 0, true);
    assert_false(taker.invited);
    assert_true(r.invited);
    stage_heed(&s, &r);
    assert_ptr_equal(r.grant.victim, slot);
    stage_victim_gone(&s, &r);
    stage_close(&s);
}

/* b gives back too while its next one is on its way: that is for it; what a gave back is a's. */
static void what_the_taker_gives_back_must_leave_the_giver_what_was_offered(void **state)
{
    struct stage s;
    struct kp__request r, behind, again;

    (void)state;
    stage_open(&s);
    s.core.lent.cap = 3;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    struct kp__slot *of_a = stage_lend(&s, a), *of_b = stage_lend(&s, b);
    stage_lend(&s, b);
    assert_int_equal(stage_ask(&s, b, &r, 0), KP__GRANT_WAIT);
    assert_int_equal(stage_ask(&s, b, &behind, 0), KP__GRANT_WAIT);
    stage_give(&s, of_a, 0, true);
    assert_true(r.invited);
    stage_give(&s, of_b, 0, true);
    assert_int_equal(r.grant.kind, KP__GRANT_WAIT);
    assert_int_equal(behind.grant.kind, KP__GRANT_WAIT);
    assert_int_equal(stage_ask(&s, a, &again, 0), KP__GRANT_SLOT);
    assert_ptr_equal(again.grant.slot, of_a);
    stage_heed(&s, &r);
    assert_int_equal(r.grant.kind, KP__GRANT_SLOT);
    assert_ptr_equal(r.grant.slot, of_b);
    assert_int_equal(behind.grant.kind, KP__GRANT_WAIT);
    assert_false(behind.invited);
    stage_close(&s);
}

/* The giver does not come: all that is free goes to those who wait. */
static void who_comes_must_take_for_all_behind_it(void **state)
{
    struct stage s;
    struct kp__request r, behind;

    (void)state;
    stage_open(&s);
    s.core.lent.cap = 3;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    struct kp__slot *of_a = stage_lend(&s, a), *of_b = stage_lend(&s, b);
    stage_lend(&s, b);
    assert_int_equal(stage_ask(&s, b, &r, 0), KP__GRANT_WAIT);
    assert_int_equal(stage_ask(&s, b, &behind, 0), KP__GRANT_WAIT);
    stage_give(&s, of_a, 0, true);
    stage_give(&s, of_b, 0, true);
    stage_heed(&s, &r);
    assert_int_equal(r.grant.kind, KP__GRANT_SLOT);
    assert_int_equal(behind.grant.kind, KP__GRANT_PERMIT);
    stage_close(&s);
}

static void what_was_offered_must_not_be_taken_by_who_ranks_behind(void **state)
{
    struct stage s;
    struct kp__request r, late;

    (void)state;
    stage_open(&s);
    s.core.live.cap = 3;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s), *c = stage_key(&s);
    struct kp__slot *slot = stage_lend(&s, a);
    stage_lend(&s, b);
    stage_lend(&s, b);
    assert_int_equal(stage_ask(&s, b, &r, 0), KP__GRANT_WAIT);
    stage_give(&s, slot, 0, true);
    assert_true(r.invited);
    kp__share_begin(&s.core, &s.core.live, c);
    /* it has had more than its share */
    kp__contest(&s.core, c)->share.had[KP__IN_USE] += 9 * KP__SHARE_ONE;
    assert_int_equal(stage_ask(&s, c, &late, 0), KP__GRANT_WAIT);
    assert_int_equal(r.grant.kind, KP__GRANT_WAIT); /* it is on its way */
    stage_heed(&s, &r);
    assert_int_equal(late.grant.kind, KP__GRANT_WAIT);
    assert_int_equal(r.grant.kind, KP__GRANT_PERMIT);
    assert_ptr_equal(r.grant.victim, slot);
    stage_victim_gone(&s, &r);
    stage_close(&s);
}

static void a_rich_key_must_not_be_waited_for(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.core.lent.cap = 3;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    struct kp__slot *slot = stage_lend(&s, a);
    stage_lend(&s, a);
    stage_lend(&s, a);
    assert_int_equal(stage_ask(&s, b, &r, 0), KP__GRANT_WAIT);
    stage_give(&s, slot, 0, true);
    assert_int_equal(r.grant.kind, KP__GRANT_PERMIT);
    stage_close(&s);
}

static void by_arrival_and_for_a_loop_it_must_be_handed_over(void **state)
{
    (void)state;
    for (int loop = 0; loop < 2; loop++) {
        struct stage s;
        struct kp__request r;
        struct kp__mailbox box = { 0 };
        stage_open(&s);
        assert_true(kp__mailbox_open(&box));
        s.core.by_arrival = !loop;
        struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
        struct kp__slot *slot = give_back(&s, a, b, &r);
        kp__list_init(&r.mail);
        if (loop) r.box = &box;
        stage_give(&s, slot, 0, true);
        assert_int_equal(r.grant.kind, KP__GRANT_PERMIT);
        (void)kp__mail_take(&box, &(int){ 0 });
        kp__mailbox_close(&box);
        stage_close(&s);
    }
}

static void who_gives_back_with_others_waiting_must_have_no_claim(void **state)
{
    struct stage s;
    struct kp__request r, own;

    (void)state;
    stage_open(&s);
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    struct kp__slot *slot = give_back(&s, a, b, &r);
    s.core.can_create = false;
    stage_ask(&s, a, &own, KP_FRESH); /* waits for what cannot come */
    stage_give(&s, slot, 0, true);
    s.core.can_create = true;
    kp__settle(&s.core, a, s.now, &s.todo);
    assert_int_equal(own.grant.kind, KP__GRANT_PERMIT);
    stage_close(&s);
}

/* It comes for nothing again: whoever of it comes next stands behind the one who waits. */
static void who_gives_back_while_one_of_its_own_waits_must_have_no_claim(void **state)
{
    struct stage s;
    struct kp__request r, own;

    (void)state;
    stage_open(&s);
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    struct kp__slot *slot = give_back(&s, a, b, &r);
    kp__rare(&s.core, a)->health.back_off = s.now + 50;
    assert_int_equal(stage_ask(&s, a, &own, KP_FRESH), KP__GRANT_WAIT);
    stage_give(&s, slot, 0, true);
    assert_int_equal(own.grant.kind, KP__GRANT_WAIT);
    assert_int_equal(r.grant.kind, KP__GRANT_PERMIT);
    stage_close(&s);
}

static void a_key_without_rules_must_have_no_claim(void **state)
{
    struct stage s;
    struct kp__request r, own;

    (void)state;
    stage_open(&s);
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    stage_room(&s);
    struct kp__subpool *c = kp__table_make(&s.core, 5);
    give_back(&s, a, b, &r);
    assert_int_equal(stage_ask(&s, c, &own, 0), KP__GRANT_WAIT);
    s.core.lent.cap = 4;
    assert_true(kp__withdraw(&s.core, &own, s.now, &s.todo));
    assert_int_equal(r.grant.kind, KP__GRANT_PERMIT);
    stage_check(&s);
    stage_close(&s);
}

static void nobody_must_be_invited_twice_to_nothing(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    give_back(&s, a, b, &r);
    kp__settle(&s.core, a, s.now, &s.todo); /* nothing is free */
    assert_false(r.invited);
    assert_int_equal(atomic_load(&r.state), KP__WAITING);
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_poor_key_gave_back_must_be_offered_and_taken_when_heeded),
        cmocka_unit_test(an_invitation_must_end_with_the_answer),
        cmocka_unit_test(the_giver_must_get_back_what_it_comes_for_at_once),
        cmocka_unit_test(a_nudge_alone_must_not_serve),
        cmocka_unit_test(who_lacks_what_was_given_back_must_be_invited),
        cmocka_unit_test(what_the_taker_gives_back_must_leave_the_giver_what_was_offered),
        cmocka_unit_test(who_comes_must_take_for_all_behind_it),
        cmocka_unit_test(what_was_offered_must_not_be_taken_by_who_ranks_behind),
        cmocka_unit_test(a_rich_key_must_not_be_waited_for),
        cmocka_unit_test(by_arrival_and_for_a_loop_it_must_be_handed_over),
        cmocka_unit_test(who_gives_back_with_others_waiting_must_have_no_claim),
        cmocka_unit_test(who_gives_back_while_one_of_its_own_waits_must_have_no_claim),
        cmocka_unit_test(a_key_without_rules_must_have_no_claim),
        cmocka_unit_test(nobody_must_be_invited_twice_to_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
