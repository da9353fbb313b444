/* SPDX-License-Identifier: MIT
 *
 * Doubts (core/doubt.c): which resources are in doubt after a peer is gone and which are not, which
 * of them are lent and when, and which are checked. core_tested.c has the keeper's checks of idle
 * ones.
 */
#include "core_doubts.h"

/* ---- who is in doubt ------------------------------------------------------------------------- */

static void all_others_of_its_key_must_be_in_doubt(struct stage *s)
{
    struct kp__slot *slot[MOST], *other[MOST], *lent[2];
    struct kp__request r[2];

    s->rules.on_gone = KP_GONE_TEST;
    struct kp__subpool *sub = key_of(s, 4, slot);
    (void)key_of(s, 1, other);
    for (int i = 0; i < 2; i++) lent[i] = lend(s, sub, &r[i]);
    begin(s, slot[0]);
    assert_true(gone(s, lent[0]));
    assert_int_equal(sub->rare->doubts, 3);
    assert_true(slot[0]->doubted && slot[1]->doubted && lent[1]->doubted);
    assert_false(lent[0]->doubted || other[0]->doubted);
    assert_true(lent[0]->errand->doomed);
    assert_int_equal(stage_due_at(s, sub), s->now); /* for the keeper */
    assert_false(gone(s, lent[0])); /* it is known */
    end(s, slot[0], true);
    assert_int_equal(sub->rare->doubts, 2);
    stage_give(s, lent[1], 0, true);
    stage_give(s, lent[0], 0, true);
    assert_int_equal(stage_destroy(s), 1);
    assert_int_equal(sub->rare->doubts, 2);
}

static void one_that_is_to_go_must_be_in_no_doubt(struct stage *s)
{
    struct kp__slot *slot[MOST], *lent[3];
    struct kp__request r[3];

    s->rules.on_gone = KP_GONE_TEST;
    struct kp__subpool *sub = key_of(s, 3, slot);
    for (int i = 0; i < 3; i++) lent[i] = lend(s, sub, &r[i]);
    assert_true(kp__doom(&s->core, lent[1], KP_CAUSE_INVALIDATED, &s->todo));
    assert_true(gone(s, lent[0]));
    assert_false(lent[1]->doubted);
    assert_true(lent[2]->doubted);
    /* nor when it is to go */
    assert_true(kp__doom(&s->core, lent[2], KP_CAUSE_INVALIDATED, &s->todo));
    assert_int_equal(sub->rare->doubts, 0);
}

static void one_alone_must_make_nothing_suspect(struct stage *s)
{
    struct kp__slot *slot[MOST];
    struct kp__request r;

    s->rules.on_gone = KP_GONE_TEST;
    struct kp__subpool *sub = key_of(s, 1, slot);
    assert_false(gone(s, lend(s, sub, &r)));
    assert_true(slot[0]->errand->doomed);
}

static void the_second_must_end_the_rest(struct stage *s)
{
    struct kp__slot *slot[MOST], *lent[3];
    struct kp__request r[3];

    s->rules.on_gone = KP_GONE_TEST;
    struct kp__subpool *sub = key_of(s, 5, slot);
    for (int i = 0; i < 3; i++) lent[i] = lend(s, sub, &r[i]);
    assert_true(gone(s, lent[0]));
    begin(s, slot[0]);
    kp__doubt_end(&s->core, lent[2]);
    kp__doubt_end(&s->core, lent[2]); /* again: nothing */
    assert_false(gone(s, lent[1]));
    assert_int_equal(sub->rare->doubts, 0);
    assert_true(slot[0]->errand->doomed); /* it is being tested */
    assert_int_equal(slot[1]->state, KP__FREE);
    assert_false(lent[2]->errand->doomed); /* it was proven */
    end(s, slot[0], true);
    assert_int_equal(slot[0]->state, KP__FREE);
    assert_int_equal(sub->rare->seldom.invalid, 2);
}

/* Of four; the second was found good before it reported that. */
static void the_second_must_end_also_the_last_one_in_doubt(struct stage *s)
{
    struct kp__slot *slot[MOST], *lent[2];
    struct kp__request r[2];

    s->rules.on_gone = KP_GONE_TEST;
    struct kp__subpool *sub = key_of(s, 3, slot);
    for (int i = 0; i < 2; i++) lent[i] = lend(s, sub, &r[i]);
    assert_true(gone(s, lent[0]));
    kp__doubt_end(&s->core, lent[1]);
    assert_int_equal(sub->rare->doubts, 1);
    assert_false(gone(s, lent[1]));
    assert_int_equal(sub->count[KP__IDLE], 0);
    assert_int_equal(sub->rare->doubts, 0);
}

static void without_a_validate_or_by_choice_all_must_go(struct stage *s)
{
    for (int i = 0; i < 2; i++) {
        struct kp__slot *slot[MOST];
        struct kp__request r;
        s->rules.on_gone = i ? KP_GONE_REPLACE : KP_GONE_TEST;
        struct kp__subpool *sub = key_of(s, 3, slot);
        s->core.validates = i;
        assert_true(gone(s, lend(s, sub, &r)));
        assert_int_equal(sub->count[KP__IDLE], 0);
        assert_int_equal(sub->rare->doubts, 0);
    }
}

static void where_it_is_off_nothing_must_come_of_it(struct stage *s)
{
    struct kp__slot *slot[MOST];
    struct kp__request r;

    s->rules.on_gone = KP_OFF;
    struct kp__subpool *sub = key_of(s, 2, slot);
    assert_false(gone(s, lend(s, sub, &r)));
    assert_false(r.slot->errand->doomed);
    assert_int_equal(sub->rare->doubts, 0);
}

/* ---- what a request gets --------------------------------------------------------------------- */

/* One is gone, of three; the others are idle and in doubt. */
static struct kp__subpool *suspect(struct stage *s, struct kp__slot *slot[])
{
    struct kp__request r;

    s->rules.on_gone = KP_GONE_TEST;
    s->rules.max_live = 3;
    struct kp__subpool *sub = key_of(s, 3, slot);
    struct kp__slot *first = lend(s, sub, &r);
    assert_true(gone(s, first));
    stage_give(s, first, 0, true);
    assert_int_equal(stage_destroy(s), 1);
    return sub;
}

static void one_in_no_doubt_must_be_lent_first(struct stage *s)
{
    for (int fifo = 0; fifo < 2; fifo++) {
        struct kp__slot *slot[MOST];
        struct kp__request r;
        s->rules.idle_lifo = !fifo;
        struct kp__subpool *sub = suspect(s, slot);
        struct kp__slot *proven = fifo ? slot[2] : slot[0];
        if (!proven->resource) proven = slot[1];
        kp__doubt_end(&s->core, proven);
        assert_ptr_equal(lend(s, sub, &r), proven);
    }
}

static void where_there_is_room_a_new_one_must_be_made_instead(struct stage *s)
{
    struct kp__slot *slot[MOST];
    struct kp__request r;
    struct kp__subpool *sub = suspect(s, slot);

    assert_int_equal(stage_ask(s, sub, &r, 0), KP__GRANT_PERMIT);
    (void)stage_take(s, &r);
    assert_int_equal(stage_ask(s, sub, &r, 0), KP__GRANT_SLOT); /* no more room */
    assert_true(r.slot->doubted);
}

/* Each of these alone has it look into one in doubt. */
static void where_none_may_be_made_one_in_doubt_must_be_taken(struct stage *s)
{
    enum { FLAGS, CREATE, FAILED, TRIPPED, KEPT, PROMISED, BUDGET, CASES };

    for (int i = 0; i < CASES; i++) {
        struct kp__slot *slot[MOST];
        struct kp__failure kept = { .code = KP_ECREATE };
        struct kp__request r;
        s->core.live.cap = 100;
        struct kp__subpool *sub = suspect(s, slot);
        struct kp__health *h = &kp__rare(&s->core, sub)->health;
        s->core.can_create = i != CREATE;
        h->failures = i == FAILED;
        s->core.tripped = h->tripped = i == TRIPPED;
        kp__list_init(&kept.link);
        if (i == KEPT) kp__list_push_back(&h->kept, &kept.link);
        kp__contest(&s->core, sub)->promised = i == PROMISED;
        if (i == BUDGET) s->core.live.cap = s->core.live.used;
        r = (struct kp__request){ .sub = sub, .flags = i == FLAGS ? KP_DONT_CREATE : 0,
                                  .arrived = s->now, .deadline = KP__NEVER };
        kp__claim(&s->core, &r, s->now, &s->todo);
        assert_int_equal(r.grant.kind, KP__GRANT_SLOT);
        assert_true(r.slot->doubted);
        kp__contest(&s->core, sub)->promised = 0;
        s->core.tripped = h->tripped = false;
        kp__list_remove(&kept.link);
        s->core.live.cap = 100;
        stage_check(s);
    }
    s->core.can_create = true;
}

static void who_has_one_made_must_leave_those_in_doubt(struct stage *s)
{
    struct kp__slot *slot[MOST];
    struct kp__request r;
    struct kp__subpool *sub = suspect(s, slot);

    assert_int_equal(stage_ask(s, sub, &r, 0), KP__GRANT_PERMIT);
    struct kp__slot *made = stage_spend(s, sub);
    stage_pending(s, &r, made);
    assert_int_equal(r.grant.kind, KP__GRANT_WAIT);
    struct kp__slot *first = kp__test_next(&s->core, sub);
    begin(s, first);
    end(s, first, true); /* and has the one that is proven first */
    assert_int_equal(r.grant.kind, KP__GRANT_SLOT);
    assert_ptr_equal(r.slot, first);
    stage_made(s, made, NULL);
}

/* ---- tests of those in doubt ----------------------------------------------------------------- */

static void those_in_doubt_must_be_tested_side_by_side_as_far_as_creations_may(struct stage *s)
{
    struct kp__slot *slot[MOST], *test[2];

    s->rules.max_creating = 2;
    s->rules.max_live = 4;
    struct kp__subpool *sub = suspect(s, slot);
    slot[3] = stage_idle(s, sub); /* in no doubt, and used last */
    for (int i = 0; i < 2; i++) {
        test[i] = kp__test_next(&s->core, sub);
        assert_non_null(test[i]);
        assert_ptr_not_equal(test[i], slot[3]);
        begin(s, test[i]);
    }
    assert_null(kp__test_next(&s->core, sub));
    assert_int_equal(sub->count[KP__CREATING], 2);
    assert_int_equal(s->core.creating.used, 0);
    end(s, test[0], false);
    assert_int_equal(sub->rare->seldom.invalid, 2);
    assert_null(kp__test_next(&s->core, sub)); /* the other one is being tested */
    end(s, test[1], true);
    assert_int_equal(sub->rare->doubts, 0);
    assert_null(kp__test_next(&s->core, sub));
}

static struct kp__slot *test_next(struct stage *s, struct kp__subpool *sub)
{
    struct kp__slot *next = kp__test_next(&s->core, sub);

    assert_non_null(next);
    begin(s, next);
    return next;
}

/* Upkeep does not come back by itself for those that max_creating held back. */
static void when_a_test_ends_the_key_must_be_looked_at_if_more_are_to_be_tested(struct stage *s)
{
    struct kp__slot *slot[MOST], *test;

    s->core.forget_after = 100;
    s->rules.max_creating = 1;
    struct kp__subpool *sub = suspect(s, slot);
    test = test_next(s, sub);
    kp__unfile_sub(&s->core, sub); /* it was looked at */
    end(s, test, false);
    assert_int_equal(sub->rare->doubts, 1);
    assert_int_equal(stage_due_at(s, sub), s->now);
    test = test_next(s, sub);
    kp__unfile_sub(&s->core, sub);
    kp__doubt_end(&s->core, test); /* as flow does by the answer */
    end(s, test, true);
    assert_int_equal(stage_due_at(s, sub), 0);
}

static void what_is_lent_must_not_be_tested(struct stage *s)
{
    struct kp__slot *slot[MOST], *lent[2];
    struct kp__request r[2];

    s->rules.on_gone = KP_GONE_TEST;
    struct kp__subpool *sub = key_of(s, 2, slot);
    for (int i = 0; i < 2; i++) lent[i] = lend(s, sub, &r[i]);
    assert_true(gone(s, lent[0]));
    assert_null(kp__test_next(&s->core, sub));
    stage_give(s, lent[1], 0, true);
    assert_ptr_equal(kp__test_next(&s->core, sub), lent[1]);
}

static void no_test_must_begin_while_it_closes(struct stage *s)
{
    struct kp__slot *slot[MOST];

    s->rules.max_creating = 1;
    struct kp__subpool *sub = suspect(s, slot);
    s->core.phase = KP__DRAINING;
    assert_null(kp__test_next(&s->core, sub));
    s->core.phase = KP__OPEN;
    struct kp__slot *tested = kp__test_next(&s->core, sub);
    begin(s, tested);
    assert_null(kp__test_next(&s->core, sub)); /* one at a time */
    s->core.phase = KP__CLOSED;
    kp__tested(&s->core, tested, true, s->now, &s->todo);
    assert_int_equal(tested->state, KP__CLOSING);
    assert_int_equal(tested->cause, KP_CAUSE_CLOSED);
    (void)stage_destroy(s);
}

/* ---- shares ---------------------------------------------------------------------------------- */

enum { SPAN = 1000, HOLD = 8 };

/* So many were in use for SPAN since the last call. */
static void assert_had(struct stage *s, const struct kp__subpool *sub, uint64_t many)
{
    uint64_t had = many * (SPAN / HOLD) * KP__SHARE_ONE / KP__SHARE_TAU;

    assert_int_equal(sub->contest->share.had[KP__IN_USE], had);
    s->now += SPAN;
}

/* What is tested is in use, as what is being destroyed is: from then on, and until then. */
static void a_share_must_count_up_to_each_change(struct stage *s)
{
    struct kp__slot *slot[MOST];
    struct kp__request r, waits;

    s->rules.on_gone = KP_GONE_REPLACE;
    s->core.lent.cap = 1;
    s->core.usual[KP__IN_USE].hold = s->core.usual[KP__BEING_MADE].hold = HOLD;
    struct kp__subpool *sub = key_of(s, 3, slot), *other = stage_key(s);
    struct kp__slot *lent = lend(s, sub, &r);
    assert_int_equal(stage_ask(s, other, &waits, 0), KP__GRANT_WAIT);
    assert_had(s, sub, 0);
    begin(s, slot[0]);
    assert_had(s, sub, 1);
    end(s, slot[0], true);
    assert_had(s, sub, 1 + 2);
    assert_true(gone(s, lent));
    assert_int_equal(sub->count[KP__IDLE], 0);
    assert_had(s, sub, 1 + 2 + 1);
    assert_int_equal(sub->contest->share.had[KP__BEING_MADE], 0); /* only tested */
}

/* Whose idle one is tested makes none meanwhile, and does not stand behind those who make none. */
static void a_test_must_not_change_whose_turn_it_is_to_create(struct stage *s)
{
    struct kp__slot *slot[MOST];
    struct kp__request r[3];

    s->core.creating.cap = 1;
    struct kp__subpool *sub = key_of(s, 1, slot), *other = stage_key(s), *busy = stage_key(s);
    assert_int_equal(stage_ask(s, busy, &r[0], 0), KP__GRANT_PERMIT);
    assert_int_equal(stage_ask(s, sub, &r[1], KP_FRESH), KP__GRANT_WAIT);
    assert_int_equal(stage_ask(s, other, &r[2], 0), KP__GRANT_WAIT);
    begin(s, slot[0]);
    assert_ptr_equal(kp__starved_first(&s->core, &s->core.creating), sub); /* it came first */
    end(s, slot[0], true);
    assert_ptr_equal(kp__starved_first(&s->core, &s->core.creating), sub);
    for (int i = 0; i < 3; i++) stage_take(s, &r[i]);
}

/* ---- seats ---------------------------------------------------------------------------------- */

static void seats_of_one_in_doubt_must_be_shut_until_it_is_proven(struct stage *s)
{
    struct kp__request r[4];

    s->rules.sharing = 2;
    s->rules.max_live = 2;
    s->rules.on_gone = KP_GONE_TEST;
    s->core.validates = true;
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *a = stage_lend(s, sub);
    struct kp__slot *b;
    (void)stage_ask(s, sub, &r[0], 0);
    assert_ptr_equal(stage_take(s, &r[0]), a);
    b = stage_lend(s, sub);
    assert_true(gone(s, a));
    assert_true(b->doubted);
    assert_int_equal(stage_ask(s, sub, &r[1], KP_DONT_WAIT), KP__GRANT_NO);
    stage_give(s, b, 0, true); /* idle, and in doubt */
    assert_int_not_equal(stage_due_at(s, sub), 0);
    assert_ptr_equal(kp__test_next(&s->core, sub), b);
    assert_ptr_equal(lend(s, sub, &r[2]), b); /* to be validated by its get */
    assert_int_equal(stage_ask(s, sub, &r[3], KP_DONT_WAIT), KP__GRANT_NO);
    kp__doubt_end(&s->core, b);
    kp__open_seats(&s->core, b);
    assert_ptr_equal(lend(s, sub, &r[3]), b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_TEST(all_others_of_its_key_must_be_in_doubt),
        STAGE_TEST(one_that_is_to_go_must_be_in_no_doubt),
        STAGE_TEST(one_alone_must_make_nothing_suspect),
        STAGE_TEST(the_second_must_end_the_rest),
        STAGE_TEST(the_second_must_end_also_the_last_one_in_doubt),
        STAGE_TEST(without_a_validate_or_by_choice_all_must_go),
        STAGE_TEST(where_it_is_off_nothing_must_come_of_it),
        STAGE_TEST(one_in_no_doubt_must_be_lent_first),
        STAGE_TEST(where_there_is_room_a_new_one_must_be_made_instead),
        STAGE_TEST(where_none_may_be_made_one_in_doubt_must_be_taken),
        STAGE_TEST(who_has_one_made_must_leave_those_in_doubt),
        STAGE_TEST(those_in_doubt_must_be_tested_side_by_side_as_far_as_creations_may),
        STAGE_TEST(when_a_test_ends_the_key_must_be_looked_at_if_more_are_to_be_tested),
        STAGE_TEST(what_is_lent_must_not_be_tested),
        STAGE_TEST(no_test_must_begin_while_it_closes),
        STAGE_TEST(a_share_must_count_up_to_each_change),
        STAGE_TEST(a_test_must_not_change_whose_turn_it_is_to_create),
        STAGE_TEST(seats_of_one_in_doubt_must_be_shut_until_it_is_proven),
    };

    return cmocka_run_group_tests_name("doubts", tests, NULL, NULL);
}
