/* SPDX-License-Identifier: MIT
 *
 * Tests of invitations (core/serve.c): what a key with less than its share gave back is offered to
 * a waiter; the thread that gave it back may get it again before the waiter takes it.
 */
#include "core_stage.h"

/* At a limit of three, a has one, less than its share, and b has two. */
struct two {
    struct kp__subpool *a, *b;
    struct kp__slot *of_a, *of_b[2];
    struct stage_face face;
    struct kp__request r; /* of b: it waits, for a third */
};

static void stand(struct stage *s, struct two *t, struct kp__budget *budget)
{
    budget->cap = 3;
    t->a = stage_key(s);
    t->b = stage_key(s);
    t->of_a = stage_lend(s, t->a);
    for (int i = 0; i < 2; i++) t->of_b[i] = stage_lend(s, t->b);
}

static void compete(struct stage *s, struct two *t, struct kp__budget *budget)
{
    stand(s, t, budget);
    assert_int_equal(stage_ask(s, t->b, &t->r, 0), KP__GRANT_WAIT);
}

/* a gives back what b lacks, and the request of b that waits is invited to take it. */
static void a_gives_back(struct stage *s, struct two *t)
{
    stage_give(s, t->of_a, 0, true);
    assert_int_equal(t->r.grant.kind, KP__GRANT_WAIT);
    assert_true(t->r.invited);
}

static void invite(struct stage *s, struct two *t, struct kp__budget *budget)
{
    compete(s, t, budget);
    a_gives_back(s, t);
}

/* ---- what was offered ------------------------------------------------------------------------ */

static void what_a_poor_key_gave_back_must_be_offered_and_taken_when_heeded(struct stage *s)
{
    struct two t;

    invite(s, &t, &s->core.lent);
    assert_int_equal(atomic_load(&t.r.state), KP__NUDGED);
    assert_true(stage_woken(s, &t.r));
    stage_heed(s, &t.r);
    assert_false(t.r.invited);
    assert_int_equal(t.r.grant.kind, KP__GRANT_PERMIT);
    stage_heed(s, &t.r); /* answered: nothing more */
    assert_int_equal(atomic_load(&t.r.state), KP__ANSWERED);
}

/* It creates what it was granted, which takes its time: it is back in the queue, for that alone. */
static void an_invitation_must_end_with_the_answer(struct stage *s)
{
    struct two t;

    invite(s, &t, &s->core.lent);
    stage_heed(s, &t.r);
    assert_int_equal(t.r.grant.kind, KP__GRANT_PERMIT);
    stage_pending(s, &t.r, stage_spend(s, t.b));
    assert_false(t.r.invited);
    assert_false(stage_invited(s));
}

static void the_giver_must_get_back_what_it_comes_for_at_once(struct stage *s)
{
    struct kp__request again;
    struct two t;

    invite(s, &t, &s->core.lent);
    assert_int_equal(stage_ask(s, t.a, &again, 0), KP__GRANT_SLOT);
    stage_heed(s, &t.r);
    assert_int_equal(t.r.grant.kind, KP__GRANT_WAIT);
    assert_false(t.r.invited);
    assert_int_equal(atomic_load(&t.r.state), KP__WAITING);
}

static void a_nudge_alone_must_not_serve(struct stage *s)
{
    struct two t;

    invite(s, &t, &s->core.lent);
    t.r.invited = false;
    kp__heed(&s->core, &t.r, s->now, &s->todo);
    assert_int_equal(atomic_load(&t.r.state), KP__WAITING);
    assert_int_equal(t.r.grant.kind, KP__GRANT_WAIT);
    kp__heed(&s->core, &t.r, s->now, &s->todo); /* not even nudged */
    assert_int_equal(t.r.grant.kind, KP__GRANT_WAIT);
}

/* Another request of its key came before it and lacks something else. */
static void who_lacks_what_was_given_back_must_be_invited(struct stage *s)
{
    struct kp__request taker;
    struct two t;

    stand(s, &t, &s->core.live);
    assert_int_equal(stage_ask(s, t.b, &taker, KP_DONT_CREATE), KP__GRANT_WAIT);
    assert_int_equal(stage_ask(s, t.b, &t.r, 0), KP__GRANT_WAIT);
    a_gives_back(s, &t);
    assert_false(taker.invited);
    stage_heed(s, &t.r);
    assert_ptr_equal(t.r.slot, t.of_a);
    stage_victim_gone(s, &t.r);
}

/* ---- others of the taker's key --------------------------------------------------------------- */

/* b gives back too while its next one is on its way: that is for it; what a gave back is a's. */
static void what_the_taker_gives_back_must_leave_the_giver_what_was_offered(struct stage *s)
{
    struct kp__request behind, again;
    struct two t;

    compete(s, &t, &s->core.lent);
    assert_int_equal(stage_ask(s, t.b, &behind, 0), KP__GRANT_WAIT);
    a_gives_back(s, &t);
    stage_give(s, t.of_b[0], 0, true);
    assert_int_equal(t.r.grant.kind, KP__GRANT_WAIT);
    assert_int_equal(behind.grant.kind, KP__GRANT_WAIT);
    assert_int_equal(stage_ask(s, t.a, &again, 0), KP__GRANT_SLOT);
    assert_ptr_equal(again.slot, t.of_a);
    stage_heed(s, &t.r);
    assert_int_equal(t.r.grant.kind, KP__GRANT_SLOT);
    assert_ptr_equal(t.r.slot, t.of_b[0]);
    assert_int_equal(behind.grant.kind, KP__GRANT_WAIT);
    assert_false(behind.invited);
}

/* The giver does not come again: all that is free goes to the waiters. */
static void who_comes_must_take_for_all_behind_it(struct stage *s)
{
    struct kp__request behind;
    struct two t;

    compete(s, &t, &s->core.lent);
    assert_int_equal(stage_ask(s, t.b, &behind, 0), KP__GRANT_WAIT);
    a_gives_back(s, &t);
    stage_give(s, t.of_b[0], 0, true);
    stage_heed(s, &t.r);
    assert_int_equal(t.r.grant.kind, KP__GRANT_SLOT);
    assert_int_equal(behind.grant.kind, KP__GRANT_PERMIT);
}

/* A request that came earlier has failed to create. It is back at its place, ahead of the one that
 * was invited, and has to pause: so what the key lacks is no longer a budget. What b gives back
 * then may stay idle beside the invited one, which is on its way all the same. */
static void who_was_invited_must_be_waited_for_though_another_stands_before_it(struct stage *s)
{
    struct kp__request old;
    struct two t;

    s->rules.retry_first = s->rules.retry_max = 50;
    stand(s, &t, &s->core.lent);
    s->core.lent.cap++;
    assert_int_equal(stage_ask(s, t.b, &old, 0), KP__GRANT_PERMIT);
    struct kp__slot *making = stage_spend(s, t.b);
    assert_int_equal(stage_ask(s, t.b, &t.r, 0), KP__GRANT_WAIT);
    assert_ptr_equal(t.b->contest->lacks, &s->core.lent);
    a_gives_back(s, &t);
    stage_failed(s, making, &old, -9);
    kp__wait_again(&s->core, &old, NULL, s->now, &s->todo);
    stage_check(s);
    assert_string_equal(kp__limit_name[old.limit], "retry_first_ms");
    assert_null(t.b->contest->lacks);
    stage_give(s, t.of_b[0], 0, true);
    assert_int_equal(old.grant.kind, KP__GRANT_SLOT);
    stage_give(s, t.of_b[1], 0, true);
    assert_null(t.b->contest->lacks);
    assert_int_equal(t.b->count[KP__IDLE], 1);
    assert_true(t.r.invited);
    assert_int_equal(t.r.grant.kind, KP__GRANT_WAIT);
    stage_heed(s, &t.r);
    assert_int_equal(t.r.grant.kind, KP__GRANT_SLOT);
    free(t.b->rare->health.last);
}

static void what_was_offered_must_not_be_taken_by_who_ranks_behind(struct stage *s)
{
    struct kp__request late;
    struct two t;

    struct kp__subpool *c = stage_key(s);
    invite(s, &t, &s->core.live);
    kp__share_begin(&s->core, &s->core.live, c);
    /* it has had more than its share */
    kp__contest(&s->core, c)->share.had[KP__IN_USE] += 9 * KP__SHARE_ONE;
    assert_int_equal(stage_ask(s, c, &late, 0), KP__GRANT_WAIT);
    assert_int_equal(t.r.grant.kind, KP__GRANT_WAIT); /* it is on its way */
    stage_heed(s, &t.r);
    assert_int_equal(late.grant.kind, KP__GRANT_WAIT);
    assert_int_equal(t.r.grant.kind, KP__GRANT_PERMIT);
    assert_ptr_equal(t.r.slot, t.of_a);
    stage_victim_gone(s, &t.r);
}

/* What a looks at first has expired. While that is destroyed, a holds more and ranks behind b, so
 * the rest belongs to b. */
static void who_ranks_behind_after_its_own_look_must_leave_the_rest_to_the_next(struct stage *s)
{
    struct kp__request of_a, of_b[2];
    struct kp__slot *slots_of_a[3], *others[2];

    s->core.live.cap = 6;
    s->rules.idle_ttl = 50;
    s->rules.idle_check = KP_CHECK_GET;
    struct kp__subpool *a = stage_key(s), *b = stage_key(s);
    for (int i = 0; i < 3; i++) slots_of_a[i] = stage_lend(s, a);
    stage_lend(s, b);
    for (int i = 0; i < 2; i++) others[i] = stage_lend(s, stage_key(s));
    assert_int_equal(stage_ask(s, b, &of_b[0], 0), KP__GRANT_WAIT);
    assert_int_equal(stage_ask(s, a, &of_a, 0), KP__GRANT_WAIT);
    assert_int_equal(stage_ask(s, b, &of_b[1], 0), KP__GRANT_WAIT);
    for (int i = 0; i < 2; i++) {
        stage_give(s, others[i], 0, false);
        stage_destroy(s);
    }
    assert_true(of_b[0].invited);
    stage_give(s, slots_of_a[0], 0, true); /* owed to b, which is on its way */
    assert_int_equal(of_a.grant.kind, KP__GRANT_WAIT);
    assert_int_equal(a->count[KP__IDLE], 1);
    s->now += 100;
    stage_heed(s, &of_b[0]);
    assert_int_equal(of_b[0].grant.kind, KP__GRANT_PERMIT);
    assert_int_equal(a->count[KP__CLOSING], 1);
    assert_int_equal(of_a.grant.kind, KP__GRANT_WAIT);
    assert_int_equal(of_b[1].grant.kind, KP__GRANT_PERMIT);
    stage_destroy(s);
    assert_int_equal(of_a.grant.kind, KP__GRANT_PERMIT);
}

/* ---- who has no claim ------------------------------------------------------------------------ */

static void a_rich_key_must_not_be_waited_for(struct stage *s)
{
    struct kp__request r;

    s->core.lent.cap = 3;
    struct kp__subpool *a = stage_key(s), *b = stage_key(s);
    struct kp__slot *slot = stage_lend(s, a);
    stage_lend(s, a);
    stage_lend(s, a);
    assert_int_equal(stage_ask(s, b, &r, 0), KP__GRANT_WAIT);
    stage_give(s, slot, 0, true);
    assert_int_equal(r.grant.kind, KP__GRANT_PERMIT);
}

static void by_arrival_and_for_a_loop_it_must_be_handed_over(void **state)
{
    (void)state;
    for (int loop = 0; loop < 2; loop++) {
        struct kp__mailbox box = { 0 };
        struct stage s;
        struct two t;
        stage_open(&s);
        assert_true(kp__mailbox_open(&box, KP__TO_ALARM));
        s.core.by_arrival = !loop;
        compete(&s, &t, &s.core.lent);
        if (loop) stage_on_loop(&t.face, &t.r, &box);
        stage_give(&s, t.of_a, 0, true);
        assert_int_equal(t.r.grant.kind, KP__GRANT_PERMIT);
        (void)kp__mail_take(&box, &(int){ 0 });
        kp__mailbox_close(&box);
        stage_close(&s);
    }
}

static void who_gives_back_with_others_waiting_must_have_no_claim(struct stage *s)
{
    struct kp__request own;
    struct two t;

    compete(s, &t, &s->core.lent);
    s->core.can_create = false;
    stage_ask(s, t.a, &own, KP_FRESH); /* waits for what cannot come */
    stage_give(s, t.of_a, 0, true);
    s->core.can_create = true;
    kp__settle(&s->core, t.a, s->now, &s->todo);
    assert_int_equal(own.grant.kind, KP__GRANT_PERMIT);
}

/* The giver has no claim then: the next request of its key stands behind the one that waits. */
static void who_gives_back_while_one_of_its_own_waits_must_have_no_claim(struct stage *s)
{
    struct kp__request own;
    struct two t;

    compete(s, &t, &s->core.lent);
    kp__rare(&s->core, t.a)->health.back_off = s->now + 50;
    assert_int_equal(stage_ask(s, t.a, &own, KP_FRESH), KP__GRANT_WAIT);
    stage_give(s, t.of_a, 0, true);
    assert_int_equal(own.grant.kind, KP__GRANT_WAIT);
    assert_int_equal(t.r.grant.kind, KP__GRANT_PERMIT);
}

static void a_key_without_rules_must_have_no_claim(struct stage *s)
{
    struct kp__request own;
    struct two t;

    compete(s, &t, &s->core.lent);
    stage_room(s);
    struct kp__subpool *c = kp__table_make(&s->core, 5);
    assert_int_equal(stage_ask(s, c, &own, 0), KP__GRANT_WAIT);
    s->core.lent.cap = 4;
    assert_true(kp__withdraw(&s->core, &own, s->now, &s->todo));
    assert_int_equal(t.r.grant.kind, KP__GRANT_PERMIT);
    stage_check(s);
}

static void nobody_must_be_invited_twice_to_nothing(struct stage *s)
{
    struct two t;

    compete(s, &t, &s->core.lent);
    kp__settle(&s->core, t.a, s->now, &s->todo); /* nothing is free */
    assert_false(t.r.invited);
    assert_int_equal(atomic_load(&t.r.state), KP__WAITING);
}

/* The latest request of a LIFO key lacks a token, and knows when it comes; then it goes. The one
 * before it was invited, and knows of no time; it is on its way. */
static void who_was_invited_must_find_out_when_a_token_comes(struct stage *s)
{
    struct kp__request later;
    struct two t;

    s->rules.wait_lifo = true;
    invite(s, &t, &s->core.lent);
    kp__rate_init(&s->core.rate, 3, 1);
    kp__token_take(&s->core.rate, s->now);
    assert_int_equal(stage_ask(s, t.b, &later, 0), KP__GRANT_WAIT);
    assert_int_equal(later.limit, KP__BY_CREATE_RATE);
    assert_true(kp__withdraw(&s->core, &later, s->now, &s->todo));
    stage_check(s);
    assert_true(t.r.invited);
    stage_heed(s, &t.r);
    assert_int_equal(kp__next_look(&t.r), kp__token_at(&s->core.rate, s->now));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_TEST(what_a_poor_key_gave_back_must_be_offered_and_taken_when_heeded),
        STAGE_TEST(an_invitation_must_end_with_the_answer),
        STAGE_TEST(the_giver_must_get_back_what_it_comes_for_at_once),
        STAGE_TEST(a_nudge_alone_must_not_serve),
        STAGE_TEST(who_lacks_what_was_given_back_must_be_invited),
        STAGE_TEST(what_the_taker_gives_back_must_leave_the_giver_what_was_offered),
        STAGE_TEST(who_comes_must_take_for_all_behind_it),
        STAGE_TEST(who_was_invited_must_be_waited_for_though_another_stands_before_it),
        STAGE_TEST(what_was_offered_must_not_be_taken_by_who_ranks_behind),
        STAGE_TEST(who_ranks_behind_after_its_own_look_must_leave_the_rest_to_the_next),
        STAGE_TEST(a_rich_key_must_not_be_waited_for),
        cmocka_unit_test(by_arrival_and_for_a_loop_it_must_be_handed_over),
        STAGE_TEST(who_gives_back_with_others_waiting_must_have_no_claim),
        STAGE_TEST(who_gives_back_while_one_of_its_own_waits_must_have_no_claim),
        STAGE_TEST(a_key_without_rules_must_have_no_claim),
        STAGE_TEST(nobody_must_be_invited_twice_to_nothing),
        STAGE_TEST(who_was_invited_must_find_out_when_a_token_comes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
