/* SPDX-License-Identifier: MIT
 *
 * Tests of core/renew.c: when the end of an age is looked at, what is replaced before it, and what
 * goes for its replacement.
 */
#include <stdlib.h>

#include "core_stage.h"

enum { AGE = 1000, AHEAD = 100 };

/* Ages of 1,000 that the keeper looks at, each to be replaced 100 before its end. */
static struct kp__subpool *ageing_key(struct stage *s)
{
    s->rules.max_age = AGE;
    s->rules.age_check = KP_CHECK_KEEPER;
    s->rules.renew_ahead = AHEAD;
    s->rules.surplus = 1;
    return stage_key(s);
}

/* One that somebody used. */
static struct kp__slot *used(struct stage *s, struct kp__subpool *sub)
{
    struct kp__slot *slot = stage_lend(s, sub);

    stage_give(s, slot, 0, true);
    return slot;
}

/* As the keeper does when it came due, off the calendar. */
static bool look(struct stage *s, struct kp__slot *slot)
{
    kp__unfile_slot(&s->core, slot);
    bool closed = kp__age(&s->core, slot, s->now, &s->todo);

    assert_int_equal(closed, slot->state == KP__CLOSING);
    stage_check(s);
    return closed;
}

/* A replacement is begun. */
static struct kp__slot *replace(struct stage *s, struct kp__subpool *sub)
{
    assert_true(kp__renewal_wanted(sub));
    assert_true(kp__renew_permit(&s->core, sub, s->now));
    struct kp__slot *slot = stage_spend(s, sub);
    kp__errand_of(slot)->renews = true;
    return slot;
}

/* ---- when it is looked at -------------------------------------------------------------------- */

static void the_look_must_be_so_long_before_the_end(struct stage *s)
{
    struct kp__subpool *sub = ageing_key(s);
    struct kp__slot *slot = used(s, sub);

    assert_int_equal(kp__due_next(&s->core), slot->age_end - AHEAD);
    s->now = slot->age_end - AHEAD - 1;
    assert_false(look(s, slot));
    assert_false(slot->ageing);
    assert_int_equal(stage_due_at(s, sub), 0);
    assert_int_equal(kp__due_next(&s->core), slot->age_end - AHEAD); /* it is filed again */
    s->now++;
    assert_false(look(s, slot));
    assert_true(slot->ageing);
    assert_int_equal(sub->rare->renewal.ageing, 1);
    assert_int_equal(stage_due_at(s, sub), s->now); /* its replacement is begun at once */
    assert_true(kp__renewal_wanted(sub));
    assert_false(look(s, slot));
    assert_int_equal(sub->rare->renewal.ageing, 1); /* it is decided once */
    assert_true(kp__timers_next(&s->core.slots_due) == KP__NEVER);
}

static void an_end_that_is_nearer_than_that_must_be_looked_at_now(struct stage *s)
{
    s->rules.max_age = 500;
    s->rules.age_check = KP_CHECK_KEEPER;
    s->rules.renew_ahead = 5000; /* more than the clock shows */
    struct kp__slot *slot = used(s, stage_key(s));
    assert_int_equal(kp__due_next(&s->core), 1);
    assert_false(look(s, slot));
    assert_true(slot->ageing);
}

static void what_has_no_end_must_not_be_looked_at(struct stage *s)
{
    s->rules.age_check = KP_CHECK_KEEPER;
    s->rules.renew_ahead = AHEAD;
    struct kp__subpool *sub = stage_key(s);
    (void)used(s, sub);
    assert_true(kp__due_next(&s->core) == KP__NEVER);
    (void)stage_lend(s, sub);
    assert_true(kp__due_next(&s->core) == KP__NEVER);
}

/* Whoever takes it finds out: the keeper leaves it where it is. */
static void without_the_option_only_who_checks_the_age_must_end_it(struct stage *s)
{
    s->rules.max_age = AGE;
    s->rules.age_check = KP_CHECK_GET;
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot[2] = { stage_lend(s, sub), stage_idle(s, sub) };
    assert_true(kp__due_next(&s->core) == KP__NEVER);
    s->now += 5 * AGE;
    for (int i = 0; i < 2; i++) assert_false(look(s, slot[i]));
    assert_int_equal(sub->rare->renewal.ageing, 0);
    assert_true(kp__due_next(&s->core) == KP__NEVER);
}

static void an_age_that_nobody_checks_must_not_be_looked_at(struct stage *s)
{
    struct kp__subpool *sub = ageing_key(s);

    s->rules.age_check = 0;
    (void)used(s, sub);
    assert_true(kp__due_next(&s->core) == KP__NEVER);
    (void)stage_lend(s, sub);
    assert_true(kp__due_next(&s->core) == KP__NEVER);
}

static void the_age_that_the_minimum_outlives_must_not_be_looked_at(struct stage *s)
{
    s->rules.respects_min = KP_KIND_AGE;
    s->rules.min_live = 1;
    struct kp__subpool *sub = ageing_key(s);
    struct kp__slot *kept = used(s, sub), *more = stage_idle(s, sub);
    s->now += AGE - AHEAD;
    assert_true(look(s, more)); /* it is not needed */
    assert_false(look(s, kept));
    assert_false(kept->ageing);
    more = stage_idle(s, sub);
    assert_false(look(s, kept)); /* it is not the minimum any more */
    assert_true(kept->ageing);
    s->rules.respects_min = KP_KIND_IDLE;
    kp__close_idle(&s->core, kept, KP__EXPIRED, &s->todo);
    s->now += AGE;
    assert_false(look(s, more)); /* the minimum outlives its idle time, not its age */
    assert_true(more->ageing);
}

/* What kp_rotate retires goes, whatever the rules say of ages. */
static void what_is_of_an_epoch_before_must_be_looked_at_all_the_same(struct stage *s)
{
    for (int kept = 0; kept < 2; kept++) {
        s->rules.respects_min = kept ? KP_KIND_AGE : 0;
        s->rules.min_live = kept;
        struct kp__subpool *sub = ageing_key(s);
        if (!kept) s->rules.age_check = 0;
        struct kp__slot *slot = used(s, sub);
        kp__retire(&s->core, slot, s->now + 500, s->now);
        assert_int_equal(slot->due.timer.at, s->now + 500 - AHEAD);
        s->now += 500 - AHEAD;
        assert_false(look(s, slot));
        assert_true(slot->ageing);
        assert_int_equal(slot->due.timer.at, slot->age_end);
        s->now += AHEAD;
        assert_true(look(s, slot));
        assert_int_equal(slot->reason, KP__EXPIRED);
        assert_int_equal(stage_destroy(s), 1);
        s->rules.age_check = KP_CHECK_KEEPER;
    }
}

static void a_borrower_of_what_is_old_must_have_it_until_he_gives_it_back(struct stage *s)
{
    struct kp__subpool *sub = ageing_key(s);
    struct kp__slot *slot = stage_lend(s, sub);

    kp__retire(&s->core, slot, s->now + 500, s->now);
    s->now += 500;
    assert_false(look(s, slot));
    assert_true(slot->errand->doomed);
    stage_give(s, slot, 0, true);
    assert_int_equal(slot->reason, KP__EXPIRED);
}

/* ---- what is needed -------------------------------------------------------------------------- */

/* Made, and looked at ahead of its end: is it replaced? `lends`: somebody used it. */
static bool is_replaced(struct stage *s, bool lends)
{
    struct kp__subpool *sub = ageing_key(s);
    struct kp__slot *slot = lends ? used(s, sub) : stage_idle(s, sub);

    s->now += AGE - AHEAD;
    bool closed = look(s, slot);
    assert_int_equal(slot->ageing, !closed);
    if (closed) assert_int_equal(slot->reason, KP__EXPIRED);
    (void)stage_destroy(s);
    return !closed;
}

static void what_nobody_used_must_go_instead(struct stage *s)
{
    assert_false(is_replaced(s, false));
    assert_true(is_replaced(s, true));
    s->rules.min_live = 1;
    assert_true(is_replaced(s, false)); /* it is the minimum */
}

static void what_would_go_unused_before_its_end_must_go_instead(struct stage *s)
{
    s->rules.idle_check = KP_CHECK_GET;
    s->rules.idle_ttl = AGE + 1;
    assert_true(is_replaced(s, true));
    s->rules.idle_ttl = AGE;
    assert_false(is_replaced(s, true));
    s->rules.idle_check = 0; /* nobody looks whether it is used */
    assert_true(is_replaced(s, true));
}

/* Of three, two are to be kept ready: which they are does not matter. */
static void no_fewer_must_be_left_than_are_kept_ready(struct stage *s)
{
    s->rules.min_live = 2;
    struct kp__subpool *sub = ageing_key(s);
    struct kp__slot *slot[4];
    for (int i = 0; i < 4; i++) slot[i] = stage_idle(s, sub);
    s->now += AGE - AHEAD;
    assert_true(look(s, slot[0]));
    assert_true(look(s, slot[1])); /* what is being destroyed is not left */
    assert_false(look(s, slot[2]));
    assert_false(look(s, slot[3])); /* what ages is not left */
    assert_int_equal(sub->rare->renewal.ageing, 2);
}

static void what_is_lent_must_be_needed(struct stage *s)
{
    s->rules.idle_check = KP_CHECK_KEEPER; /* though it was idle for long before */
    s->rules.idle_ttl = 10;
    struct kp__subpool *sub = ageing_key(s);
    struct kp__slot *slot = stage_lend(s, sub);

    for (int i = 0; i < 3; i++) (void)stage_idle(s, sub);
    s->now += AGE - AHEAD;
    assert_false(look(s, slot));
    assert_true(slot->ageing);
}

static void what_is_marked_must_not_be_replaced(struct stage *s)
{
    struct kp__subpool *sub = ageing_key(s);
    struct kp__slot *slot = stage_lend(s, sub);

    assert_true(kp__doom(&s->core, slot, KP__INVALIDATED, &s->todo));
    s->now += AGE - AHEAD - 1;
    assert_false(look(s, slot));
    assert_true(kp__due_next(&s->core) == KP__NEVER); /* nor be looked at once more */
    s->now += 1;
    assert_false(look(s, slot));
    assert_false(slot->ageing);
}

/* The least recently used goes first, so that the others are what is kept. */
static void all_must_be_looked_at_from_the_least_recently_used_on(struct stage *s)
{
    s->rules.min_live = 1;
    struct kp__subpool *sub = ageing_key(s);
    struct kp__slot *slot[3];
    for (int i = 0; i < 3; i++) slot[i] = stage_idle(s, sub);
    struct kp__slot *lent = stage_lend(s, sub);
    assert_ptr_equal(lent, slot[2]);
    s->now += AGE - AHEAD;
    kp__age_all(&s->core, sub, s->now, &s->todo);
    stage_check(s);
    assert_int_equal(slot[0]->state, KP__CLOSING);
    assert_int_equal(slot[1]->state, KP__CLOSING);
    assert_true(lent->ageing);
}

/* ---- replacements ---------------------------------------------------------------------------- */

static void what_is_idle_must_go_when_its_replacement_is_there(struct stage *s)
{
    struct kp__subpool *sub = ageing_key(s);
    struct kp__slot *slot[3];

    for (int i = 0; i < 3; i++) {
        slot[i] = stage_lend(s, sub);
        s->now++;
    }
    stage_give(s, slot[1], 0, true);
    stage_give(s, slot[0], 0, true);
    stage_give(s, slot[2], 0, true);
    s->now = slot[2]->age_end - AHEAD;
    kp__age_all(&s->core, sub, s->now, &s->todo);
    assert_int_equal(sub->rare->renewal.ageing, 3);
    struct kp__slot *young = replace(s, sub);
    assert_int_equal(sub->rare->renewal.making, 1);
    assert_true(kp__renewal_wanted(sub)); /* of the others */
    stage_made(s, young, NULL);
    assert_int_equal(slot[0]->state, KP__CLOSING); /* whose end is next */
    assert_int_equal(slot[0]->reason, KP__RENEWED);
    assert_int_equal(slot[1]->state, KP__IDLE);
    assert_int_equal(slot[2]->state, KP__IDLE);
    assert_int_equal(young->state, KP__IDLE);
    assert_int_equal(sub->rare->renewal.making, 0);
    assert_int_equal(sub->rare->renewal.spare, 0);
    assert_int_equal(sub->rare->renewal.ageing, 2);
    assert_false(young->errand->renews);
}

static void what_is_lent_must_go_when_it_comes_back(struct stage *s)
{
    struct kp__subpool *sub = ageing_key(s);
    struct kp__slot *slot = stage_lend(s, sub);

    s->now += AGE - AHEAD;
    assert_false(look(s, slot));
    struct kp__slot *young = replace(s, sub);
    stage_give(s, slot, 0, true);
    assert_int_equal(slot->state, KP__IDLE); /* it is not there yet */
    assert_ptr_equal(stage_lend(s, sub), slot);
    stage_made(s, young, NULL);
    assert_int_equal(sub->rare->renewal.spare, 1);
    assert_false(kp__renewal_wanted(sub));
    assert_false(slot->errand->doomed); /* it is its borrower's */
    stage_give(s, slot, 0, true);
    assert_int_equal(slot->state, KP__CLOSING);
    assert_int_equal(slot->reason, KP__RENEWED);
    assert_int_equal(sub->rare->renewal.spare, 0);
}

/* With other limits by now, a younger one may end sooner. */
static void what_does_not_age_must_not_go_instead(struct stage *s)
{
    struct kp__subpool *sub = ageing_key(s);
    struct kp__slot *old = used(s, sub);

    s->now += AGE - AHEAD;
    assert_false(look(s, old));
    s->rules.max_age = 50;
    s->rules.renew_ahead = 5;
    struct kp__slot *young = stage_idle(s, sub);
    assert_true(young->age_end < old->age_end);
    stage_made(s, replace(s, sub), NULL);
    assert_int_equal(old->state, KP__CLOSING);
    assert_int_equal(young->state, KP__IDLE);
}

/* Whether it is there, or being made. */
static void each_must_have_one_replacement(struct stage *s)
{
    s->rules.surplus = 9;
    struct kp__subpool *sub = ageing_key(s);
    struct kp__slot *slot[3];
    for (int i = 0; i < 3; i++) slot[i] = stage_lend(s, sub);
    s->now += AGE - AHEAD;
    for (int i = 0; i < 3; i++) assert_false(look(s, slot[i]));
    stage_made(s, replace(s, sub), NULL);
    (void)replace(s, sub);
    (void)replace(s, sub);
    assert_int_equal(sub->rare->renewal.spare, 1);
    assert_int_equal(sub->rare->renewal.making, 2);
    assert_false(kp__renewal_wanted(sub));
}

/* With seats it may never come back: it gets no more borrowers. */
static void what_is_shared_must_get_no_more_borrowers(struct stage *s)
{
    s->rules.sharing = 2;
    struct kp__subpool *sub = ageing_key(s);
    struct kp__slot *slot[3];
    struct kp__request r;
    for (int i = 0; i < 3; i++) {
        slot[i] = stage_lend(s, sub);
        assert_ptr_equal(stage_lend(s, sub), slot[i]); /* both seats */
        s->now++;
    }
    s->now = slot[2]->age_end - AHEAD;
    kp__age_all(&s->core, sub, s->now, &s->todo);
    assert_int_equal(sub->rare->renewal.ageing, 3);
    kp__doom(&s->core, slot[0], KP__INVALIDATED, &s->todo); /* which goes by itself */
    for (int i = 0; i < 3; i++) stage_give(s, slot[i], 1, true);
    stage_made(s, replace(s, sub), NULL);
    assert_int_equal(slot[0]->reason, KP__INVALIDATED);
    assert_true(slot[1]->errand->doomed); /* whose end is next */
    assert_int_equal(slot[1]->reason, KP__RENEWED);
    assert_false(slot[2]->errand->doomed);
    assert_int_equal(stage_ask(s, sub, &r, 0), KP__GRANT_SLOT);
    assert_ptr_not_equal(r.slot, slot[1]);
}

static void a_replacement_of_what_is_gone_must_push_nothing_out(struct stage *s)
{
    struct kp__subpool *sub = ageing_key(s);
    struct kp__slot *old = used(s, sub), *other = stage_lend(s, sub);

    assert_ptr_equal(old, other);
    s->now += AGE - AHEAD;
    assert_false(look(s, old));
    struct kp__slot *young = replace(s, sub);
    stage_give(s, old, 0, false); /* it is discarded meanwhile */
    assert_int_equal(sub->rare->renewal.ageing, 0);
    stage_made(s, young, NULL);
    assert_int_equal(sub->rare->renewal.spare, 0);
    assert_int_equal(young->state, KP__IDLE);
}

static void one_that_fails_must_be_tried_again_in_a_second(struct stage *s)
{
    struct kp__subpool *sub = ageing_key(s);
    struct kp__slot *old = used(s, sub);

    s->now += AGE - AHEAD;
    assert_false(look(s, old));
    struct kp__slot *young = replace(s, sub);
    kp__unfile_sub(&s->core, sub);
    stage_failed(s, young, NULL, -9);
    assert_int_equal(sub->rare->renewal.making, 0);
    assert_int_equal(stage_due_at(s, sub), s->now + KP__ONCE_MORE);
    assert_true(kp__renewal_wanted(sub));
    free(sub->rare->health.last);
}

static void where_it_is_off_by_now_none_must_be_wanted(struct stage *s)
{
    struct kp__rules off;
    struct kp__subpool *sub = ageing_key(s);
    struct kp__slot *slot = used(s, sub);

    s->now += AGE - AHEAD;
    assert_false(look(s, slot));
    off = s->rules;
    off.renew_ahead = 0;
    stage_rule(s, sub, &off, -1, -1);
    assert_int_equal(sub->rare->renewal.ageing, 1);
    assert_false(kp__renewal_wanted(sub));
}

/* It comes back, its replacement is there, and somebody waits. */
static void who_waits_must_have_the_old_one_unless_there_are_too_many(struct stage *s)
{
    for (int more = 0; more < 2; more++) {
        struct kp__request r;
        s->rules.max_live = 2;
        s->rules.max_lent = 1;
        struct kp__subpool *sub = ageing_key(s);
        struct kp__slot *slot = stage_lend(s, sub);
        s->now += AGE - AHEAD;
        assert_false(look(s, slot));
        stage_made(s, replace(s, sub), NULL);
        assert_int_equal(stage_ask(s, sub, &r, 0), KP__GRANT_WAIT);
        s->rules.max_live = more ? 2 : 1;
        assert_int_equal(kp__has_spare(sub), !more);
        kp__withdraw(&s->core, &r, s->now, &s->todo);
        assert_true(kp__has_spare(sub));
        s->rules.max_live = s->rules.max_lent = KP__UNBOUND;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_TEST(the_look_must_be_so_long_before_the_end),
        STAGE_TEST(an_end_that_is_nearer_than_that_must_be_looked_at_now),
        STAGE_TEST(what_has_no_end_must_not_be_looked_at),
        STAGE_TEST(without_the_option_only_who_checks_the_age_must_end_it),
        STAGE_TEST(an_age_that_nobody_checks_must_not_be_looked_at),
        STAGE_TEST(the_age_that_the_minimum_outlives_must_not_be_looked_at),
        STAGE_TEST(what_is_of_an_epoch_before_must_be_looked_at_all_the_same),
        STAGE_TEST(a_borrower_of_what_is_old_must_have_it_until_he_gives_it_back),
        STAGE_TEST(what_nobody_used_must_go_instead),
        STAGE_TEST(what_would_go_unused_before_its_end_must_go_instead),
        STAGE_TEST(no_fewer_must_be_left_than_are_kept_ready),
        STAGE_TEST(what_is_lent_must_be_needed),
        STAGE_TEST(what_is_marked_must_not_be_replaced),
        STAGE_TEST(all_must_be_looked_at_from_the_least_recently_used_on),
        STAGE_TEST(what_is_idle_must_go_when_its_replacement_is_there),
        STAGE_TEST(what_is_lent_must_go_when_it_comes_back),
        STAGE_TEST(what_does_not_age_must_not_go_instead),
        STAGE_TEST(each_must_have_one_replacement),
        STAGE_TEST(what_is_shared_must_get_no_more_borrowers),
        STAGE_TEST(a_replacement_of_what_is_gone_must_push_nothing_out),
        STAGE_TEST(one_that_fails_must_be_tried_again_in_a_second),
        STAGE_TEST(where_it_is_off_by_now_none_must_be_wanted),
        STAGE_TEST(who_waits_must_have_the_old_one_unless_there_are_too_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
