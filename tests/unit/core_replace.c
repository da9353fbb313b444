/* SPDX-License-Identifier: MIT
 *
 * Tests of core/renew.c: replacements, which resource goes for them, and whose place they take.
 */
#include <stdlib.h>

#include "core_ages.h"

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
    kp__unfile_sub(&s->core, sub);
    stage_made(s, young, NULL);
    assert_int_equal(kp__timers_next(&s->core.keys_due), s->now); /* they are begun at once */
    assert_int_equal(slot[0]->state, KP__CLOSING); /* whose end is next */
    assert_int_equal(slot[0]->cause, KP_CAUSE_RENEWED);
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
    assert_ptr_equal(stage_lend(s, sub), young);
    stage_give(s, young, 0, true);
    assert_int_equal(young->state, KP__IDLE); /* that does not age */
    stage_give(s, slot, 0, true);
    assert_int_equal(slot->state, KP__CLOSING);
    assert_int_equal(slot->cause, KP_CAUSE_RENEWED);
    assert_int_equal(sub->rare->renewal.spare, 0);
    assert_int_equal(stage_destroy(s), 1);
    assert_int_equal(sub->rare->seldom.renewed, 1);
    assert_int_equal(s->core.seldom.renewed, 1);
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
    kp__doom(&s->core, slot[0], KP_CAUSE_INVALIDATED, &s->todo); /* which goes by itself */
    for (int i = 0; i < 3; i++) stage_give(s, slot[i], 1, true);
    stage_made(s, replace(s, sub), NULL);
    assert_int_equal(slot[0]->cause, KP_CAUSE_INVALIDATED);
    assert_true(slot[1]->errand->doomed); /* whose end is next */
    assert_int_equal(slot[1]->cause, KP_CAUSE_RENEWED);
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

/* It is there beside nothing: no request may create beside it. */
static void a_replacement_of_what_is_gone_must_count_towards_the_limit(struct stage *s)
{
    struct kp__request r;

    s->rules.max_live = 1;
    struct kp__subpool *sub = ageing_key(s);
    struct kp__slot *old = stage_lend(s, sub);
    s->now += AGE - AHEAD;
    assert_false(look(s, old));
    struct kp__slot *young = replace(s, sub);
    stage_give(s, old, 0, false);
    assert_int_equal(stage_destroy(s), 1);
    assert_int_equal(stage_ask(s, sub, &r, 0), KP__GRANT_WAIT);
    assert_int_equal(r.limit, KP__BY_MAX_LIVE);
    stage_made(s, young, NULL);
    assert_int_equal(r.grant.kind, KP__GRANT_SLOT);
    assert_ptr_equal(r.slot, young);
    assert_int_equal(kp__sub_live(sub), 1);
}

/* Two age, and there is no room beside them: when one is gone, there is. */
static void room_for_a_replacement_must_be_used_at_once(struct stage *s)
{
    struct kp__subpool *sub = ageing_key(s);
    struct kp__slot *slot[2] = { stage_lend(s, sub), stage_lend(s, sub) };

    s->now += AGE - AHEAD;
    for (int i = 0; i < 2; i++) assert_false(look(s, slot[i]));
    stage_give(s, slot[0], 0, false);
    kp__unfile_sub(&s->core, sub);
    assert_int_equal(stage_destroy(s), 1);
    assert_int_equal(kp__timers_next(&s->core.keys_due), s->now);
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
    assert_int_equal(stage_due_at(s, sub), s->now + KP__LOOK_AGAIN);
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

/* Replacements within the surplus do not count towards the limit. */
static void a_replacement_must_not_take_the_place_of_one_more(struct stage *s)
{
    s->rules.max_live = 2;
    struct kp__subpool *sub = ageing_key(s);
    struct kp__slot *slot = stage_lend(s, sub);
    struct kp__request r;
    s->now += AGE - AHEAD;
    assert_false(look(s, slot));
    stage_made(s, replace(s, sub), NULL);
    (void)stage_lend(s, sub);
    assert_int_equal(kp__sub_live(sub), 2);
    assert_int_equal(stage_ask(s, sub, &r, 0), KP__GRANT_PERMIT);
    assert_int_equal(stage_ask(s, sub, &r, 0), KP__GRANT_WAIT);
    assert_string_equal(kp__limit_name[r.limit], "max_live");
}

/* It comes back, its replacement is there, and a request waits. */
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
        assert_int_equal(kp__ageing_may_go(sub), !more);
        kp__withdraw(&s->core, &r, s->now, &s->todo);
        assert_true(kp__ageing_may_go(sub));
        s->rules.max_live = s->rules.max_lent = KP__UNBOUND;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_TEST(what_is_idle_must_go_when_its_replacement_is_there),
        STAGE_TEST(what_is_lent_must_go_when_it_comes_back),
        STAGE_TEST(what_does_not_age_must_not_go_instead),
        STAGE_TEST(each_must_have_one_replacement),
        STAGE_TEST(what_is_shared_must_get_no_more_borrowers),
        STAGE_TEST(a_replacement_of_what_is_gone_must_push_nothing_out),
        STAGE_TEST(a_replacement_of_what_is_gone_must_count_towards_the_limit),
        STAGE_TEST(room_for_a_replacement_must_be_used_at_once),
        STAGE_TEST(one_that_fails_must_be_tried_again_in_a_second),
        STAGE_TEST(where_it_is_off_by_now_none_must_be_wanted),
        STAGE_TEST(a_replacement_must_not_take_the_place_of_one_more),
        STAGE_TEST(who_waits_must_have_the_old_one_unless_there_are_too_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
