/* SPDX-License-Identifier: MIT
 *
 * Tests of the permits for replacements (core/background.c, and the counts in subpool.h): how many
 * are made at a time, what comes before them, and what happens to those that are too many.
 */
#include "core_stage.h"
#include "core/renew.h"

/* A key whose resources, as many as it may hold, are lent and near their end. */
static struct kp__subpool *aged(struct stage *s, int many, int64_t surplus, struct kp__slot **slot)
{
    s->rules.renew_ahead = 10;
    s->rules.max_age = 1000;
    s->rules.age_check = KP_CHECK_KEEPER;
    s->rules.max_live = many;
    s->rules.surplus = surplus;
    struct kp__subpool *sub = stage_key(s);

    for (int i = 0; i < many; i++) slot[i] = stage_lend(s, sub);
    s->now = slot[0]->age_end - 10;
    for (int i = 0; i < many; i++) assert_false(kp__age(&s->core, slot[i], s->now, &s->todo));
    assert_int_equal(sub->rare->renewal.ageing, many);
    return sub;
}

static bool renew(struct stage *s, struct kp__subpool *sub)
{
    return kp__renew_permit(&s->core, sub, s->now);
}

static void give_up(struct stage *s, struct kp__subpool *sub)
{
    kp__permit_refund(&s->core, sub);
    kp__renewal_failed(&s->core, sub, s->now);
    kp__settle(&s->core, sub, s->now, &s->todo);
    stage_check(s);
}

static void so_many_must_be_made_at_once_as_may_be_beside(struct stage *s)
{
    for (int surplus = 0; surplus <= 3; surplus++) {
        struct kp__slot *slot[3];
        struct kp__subpool *sub = aged(s, 3, surplus, slot);
        for (int i = 0; i < surplus; i++) assert_true(renew(s, sub));
        assert_false(renew(s, sub));
        assert_int_equal(sub->rare->renewal.making, surplus);
        stage_check(s);
        for (int i = 0; i < surplus; i++) give_up(s, sub);
    }
}

static void what_is_too_many_by_now_must_not_be_replaced(struct stage *s)
{
    struct kp__slot *slot[3];
    struct kp__subpool *sub = aged(s, 3, 3, slot);

    s->rules.max_live = 2;
    assert_false(renew(s, sub));
    assert_int_equal(sub->rare->renewal.making, 0);
}

/* Each of these alone is against it. */
static void nothing_must_be_replaced_where_nothing_may_be_made(struct stage *s)
{
    struct kp__slot *slot[1];
    struct kp__subpool *sub = aged(s, 1, 1, slot);

    s->core.can_create = false;
    assert_false(renew(s, sub));
    s->core.can_create = true;
    s->core.phase = KP__DRAINING;
    assert_false(renew(s, sub));
    s->core.phase = KP__OPEN;
    sub->leaving = KP__LEAVES;
    assert_false(renew(s, sub));
    sub->leaving = KP__STAYS;
    assert_int_equal(sub->rare->renewal.making, 0);
    assert_true(renew(s, sub));
    give_up(s, sub);
}

static void only_who_could_create_himself_must_come_before_it(struct stage *s)
{
    struct kp__slot *slot[2];
    struct kp__request r;
    struct kp__subpool *sub = aged(s, 2, 1, slot);

    assert_int_equal(stage_ask(s, sub, &r, KP_FRESH), KP__GRANT_WAIT); /* for room in the key */
    assert_true(renew(s, sub));
    give_up(s, sub);
    s->rules.max_live = 3; /* there is room, but no look so far */
    assert_false(renew(s, sub));
    s->rules.max_live = 2;
    kp__withdraw(&s->core, &r, s->now, &s->todo);
}

/* Its victim is being destroyed: then it is one more. */
static void what_is_promised_must_count_as_live(struct stage *s)
{
    struct kp__slot *slot[1];
    struct kp__request r;

    s->core.live.cap = 2;
    struct kp__subpool *sub = aged(s, 1, 0, slot), *other = stage_key(s);
    (void)stage_idle(s, other);
    s->rules.max_live = 2;
    assert_int_equal(stage_ask(s, sub, &r, 0), KP__GRANT_PERMIT);
    assert_int_equal(sub->contest->promised, 1);
    s->core.live.cap = 9;
    assert_false(renew(s, sub));
    s->core.live.cap = 2;
    kp__decline(&s->core, &r, s->now, &s->todo);
    stage_destroy(s);
}

/* That some are being made as surplus must not let others stay when the limit was lowered. */
static void what_comes_back_must_go_where_more_than_the_surplus_are_beside(struct stage *s)
{
    struct kp__slot *slot[3];
    struct kp__subpool *sub = aged(s, 3, 1, slot);

    s->rules.max_live = 5;
    for (int i = 0; i < 2; i++) assert_true(renew(s, sub));
    s->rules.max_live = 3; /* five, of which two are beside: one too many */
    stage_give(s, slot[0], 0, true);
    assert_int_equal(slot[0]->state, KP__CLOSING);
    stage_destroy(s);
    stage_give(s, slot[1], 0, true);
    assert_int_equal(slot[1]->state, KP__IDLE);
    for (int i = 0; i < 2; i++) give_up(s, sub);
}

/* Its key did not have it before. */
static void a_replacement_must_count_in_its_share_from_then_on(struct stage *s)
{
    struct kp__slot *slot[1];
    struct kp__request r;

    stage_group(s, 0, 0, 0);
    struct kp__subpool *sub = aged(s, 1, 1, slot), *poor = stage_key(s);
    stage_rule(s, poor, &s->rules, 0, -1);
    assert_int_equal(stage_ask(s, poor, &r, 0), KP__GRANT_WAIT);
    s->core.usual[KP__IN_USE].hold = 100;
    s->now += 100;
    assert_true(renew(s, sub));
    assert_int_equal(sub->contest->share.had[KP__IN_USE], KP__SHARE_ONE / KP__SHARE_TAU);
    give_up(s, sub);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_TEST(so_many_must_be_made_at_once_as_may_be_beside),
        STAGE_TEST(what_is_too_many_by_now_must_not_be_replaced),
        STAGE_TEST(nothing_must_be_replaced_where_nothing_may_be_made),
        STAGE_TEST(only_who_could_create_himself_must_come_before_it),
        STAGE_TEST(what_is_promised_must_count_as_live),
        STAGE_TEST(what_comes_back_must_go_where_more_than_the_surplus_are_beside),
        STAGE_TEST(a_replacement_must_count_in_its_share_from_then_on),
    };

    return cmocka_run_group_tests_name("permits for replacements", tests, NULL, NULL);
}
