/* SPDX-License-Identifier: MIT
 *
 * Budgets that change while in use (core/resize.c): what goes and what stays, in the pool and in
 * each group; which request is next afterwards; and which parts get the new numbers.
 * tests/contract/budgets.c has what users see of it.
 */
#include "core_lanes.h"

#include "core/resize.h"

/* The numbers as they are now, to be changed. */
static struct kp__allowance as_it_is(const struct stage *s)
{
    const struct kp__core *core = &s->core;

    return (struct kp__allowance){
        .live = core->live.cap, .lent = core->lent.cap, .idle = core->max_idle,
        .creating = core->creating.cap, .waiting = core->max_waiting, .keys = core->max_keys,
        .group = { core->group_max_live[0], core->group_max_live[1] },
        .rate = KP__UNBOUND, .burst = KP__UNBOUND,
        .evicts = core->evicts, .by_arrival = core->by_arrival
    };
}

static void set(struct stage *s, const struct kp__allowance *may)
{
    kp__budgets_set(&s->core, may, s->now, &s->todo);
    stage_check(s);
}

static void set_live(struct stage *s, int64_t live)
{
    struct kp__allowance may = as_it_is(s);

    may.live = live;
    set(s, &may);
}

static void set_group(struct stage *s, int which, int64_t most)
{
    struct kp__allowance may = as_it_is(s);

    may.group[which] = most;
    set(s, &may);
}

/* A key in s->groups[which], so many of whose are lent. */
static struct kp__subpool *member(struct stage *s, int which, int64_t most, int lent,
                                  struct kp__slot *slot[])
{
    stage_group(s, which, which, most);
    struct kp__subpool *sub = stage_key(s);
    stage_rule(s, sub, &s->rules, which == 0 ? 0 : -1, which == 1 ? 1 : -1);
    for (int i = 0; i < lent; i++) slot[i] = stage_lend(s, sub);
    return sub;
}

/* ---- what comes back ------------------------------------------------------------------------- */

/* Of three that are lent two may stay. */
static void assert_one_goes(struct stage *s, struct kp__slot *slot[])
{
    for (int i = 0; i < 3; i++) {
        stage_give(s, slot[i], 0, true);
        assert_int_equal(slot[i]->state, i == 0 ? KP__CLOSING : KP__IDLE);
        assert_int_equal(stage_destroy(s), i == 0);
    }
}

static void what_comes_back_must_go_while_it_is_too_much_whatever_else_was_lowered(struct stage *s)
{
    struct kp__slot *slot[3];
    struct kp__subpool *sub = stage_key(s);
    struct kp__allowance may = as_it_is(s);

    for (int i = 0; i < 3; i++) slot[i] = stage_lend(s, sub);
    may.live = may.lent = may.creating = 2;
    set(s, &may);
    assert_one_goes(s, slot);
}

static void what_comes_back_must_go_while_its_group_has_too_much(struct stage *s)
{
    for (int which = 0; which < 2; which++) {
        struct kp__slot *slot[3];
        (void)member(s, which, 5, 3, slot);
        set_group(s, which, 2);
        assert_one_goes(s, slot);
    }
}

/* What came back first is being destroyed when the next comes back: it still counts in the group,
 * but must not count as too much again. */
static void who_comes_back_while_another_goes_must_not_go_for_it_too(struct stage *s)
{
    for (int which = 0; which < 2; which++) {
        struct kp__slot *slot[3];
        struct kp__subpool *sub = member(s, which, 5, 3, slot);
        set_group(s, which, 2);
        for (int i = 0; i < 3; i++) {
            stage_give(s, slot[i], 0, true);
            assert_int_equal(slot[i]->state, i == 0 ? KP__CLOSING : KP__IDLE);
        }
        assert_int_equal(stage_destroy(s), 1);
        assert_int_equal(sub->count[KP__IDLE], 2);
    }
}

static void what_one_group_has_too_much_must_go_though_the_other_has_room(struct stage *s)
{
    struct kp__slot *slot[3];

    stage_group(s, 0, 0, 5);
    stage_group(s, 1, 1, 5);
    struct kp__subpool *sub = stage_key(s);
    stage_rule(s, sub, &s->rules, 0, 1);
    for (int i = 0; i < 3; i++) slot[i] = stage_lend(s, sub);
    set_group(s, 0, 2);
    assert_one_goes(s, slot);
}

/* ---- what is idle ---------------------------------------------------------------------------- */

static void what_is_being_destroyed_must_count_as_gone(struct stage *s)
{
    struct kp__slot *slot[4];
    struct kp__subpool *sub = stage_key(s);

    for (int i = 0; i < 4; i++) slot[i] = stage_idle(s, sub);
    kp__close_idle(&s->core, slot[3], KP_CAUSE_AGE, &s->todo);
    set_live(s, 3);
    assert_int_equal(sub->count[KP__IDLE], 3);
    set_live(s, 2);
    assert_int_equal(sub->count[KP__IDLE], 2);
    set_live(s, 2);
    assert_int_equal(sub->count[KP__IDLE], 2);
    assert_int_equal(stage_destroy(s), 2);
}

/* It will be used again as soon as its resource is gone. */
static void a_place_that_is_promised_must_count(struct stage *s)
{
    struct kp__request r;

    s->core.live.cap = 2;
    struct kp__subpool *sub = stage_key(s), *other = stage_key(s);
    (void)stage_idle(s, sub);
    (void)stage_idle(s, sub);
    assert_int_equal(stage_ask(s, other, &r, 0), KP__GRANT_PERMIT);
    assert_ptr_equal(r.slot->sub, sub);
    set_live(s, 1);
    assert_int_equal(sub->count[KP__IDLE], 0);
    assert_int_equal(stage_destroy(s), 1);
    stage_give(s, stage_take(s, &r), 0, true);
    assert_int_equal(other->count[KP__IDLE], 1);
}

/* While they are being destroyed they count in the group, but are not too much once more. */
static void what_a_group_has_too_much_must_go_once(struct stage *s)
{
    for (int which = 0; which < 2; which++) {
        struct kp__subpool *sub = member(s, which, 5, 0, NULL);
        for (int i = 0; i < 5; i++) (void)stage_idle(s, sub);
        set_group(s, which, 3);
        assert_int_equal(sub->count[KP__IDLE], 3);
        set_group(s, which, 3);
        set_group(s, which, 4);
        assert_int_equal(sub->count[KP__IDLE], 3);
        assert_int_equal(stage_destroy(s), 2);
        set_group(s, which, 5);
        assert_int_equal(sub->count[KP__IDLE], 3);
    }
}

static void what_goes_already_must_count_as_gone_when_its_group_is_lowered_again(struct stage *s)
{
    for (int which = 0; which < 2; which++) {
        struct kp__subpool *sub = member(s, which, 6, 0, NULL);
        for (int i = 0; i < 6; i++) (void)stage_idle(s, sub);
        for (int64_t most = 5; most >= 0; most--) {
            set_group(s, which, most);
            assert_int_equal(sub->count[KP__IDLE], most);
        }
        assert_int_equal(stage_destroy(s), 6);
    }
}

/* Its place counts where its heir is, whatever becomes of its own key meanwhile. */
static void a_group_whose_promised_place_leaves_it_must_keep_its_limit(struct stage *s)
{
    struct kp__subpool *sub[3];
    struct kp__request heir, next;

    stage_group(s, 0, 0, 1);
    stage_group(s, 1, 0, 1);
    for (int i = 0; i < 3; i++) stage_rule(s, sub[i] = stage_key(s), &s->rules, 0, -1);
    (void)stage_idle(s, sub[0]);
    assert_int_equal(stage_ask(s, sub[1], &heir, 0), KP__GRANT_PERMIT);
    stage_rule(s, sub[0], &s->rules, 1, -1);
    assert_int_equal(s->groups[0].budget.used, 1);
    assert_int_equal(stage_ask(s, sub[2], &next, 0), KP__GRANT_WAIT);
    struct kp__slot *slot = stage_take(s, &heir);
    assert_int_equal(s->groups[0].budget.used, 1);
    assert_int_equal(s->groups[1].budget.used, 0);
    stage_give(s, slot, 0, false);
    (void)stage_destroy(s);
    assert_int_equal(next.grant.kind, KP__GRANT_PERMIT);
    stage_give(s, stage_take(s, &next), 0, true);
}

/* The first of two that make room is gone, or not yet, when one of the three leaves its group. */
static void play_two_that_make_room(struct stage *s, struct kp__subpool *sub[3], int who, int from,
                                    bool first_is_gone)
{
    static const int8_t in[3][2] = { { 0, -1 }, { -1, 1 }, { 0, 1 } };
    struct kp__request r;

    for (int i = 0; i < 3; i++) stage_rule(s, sub[i], &s->rules, in[i][0], in[i][1]);
    struct kp__slot *next = stage_idle(s, sub[0]), *first = stage_idle(s, sub[1]);
    assert_int_equal(stage_ask(s, sub[2], &r, 0), KP__GRANT_PERMIT);
    assert_ptr_equal(r.slot, first);
    assert_ptr_equal(first->errand->victim.next, next);
    for (int i = 0; i < 2; i++) {
        if (i == first_is_gone)
            stage_rule(s, sub[who], &s->rules, from == 0 ? -1 : in[who][0],
                       from == 1 ? -1 : in[who][1]);
        kp__victim_gone(&s->core, sub[2], i == 0 ? first : next, s->now, &s->todo);
        stage_check(s);
        if (i == 0) assert_int_equal(s->groups[0].budget.used, 1); /* the next is there */
    }
    for (int g = 0; g < 2; g++)
        assert_int_equal(s->groups[g].budget.used, who < 2 || from != g);
    r.slot = NULL;
    stage_give(s, stage_take(s, &r), 0, false);
    assert_int_equal(stage_destroy(s), 1);
}

static void groups_that_two_places_were_promised_in_must_keep_their_limits(struct stage *s)
{
    struct kp__subpool *sub[3];

    for (int i = 0; i < 2; i++) stage_group(s, i, i, 1);
    for (int i = 0; i < 3; i++) sub[i] = stage_key(s);
    for (int i = 0; i < 8; i++)
        play_two_that_make_room(s, sub, i % 4 < 2 ? i % 4 : 2, i % 2, i >= 4);
}

static void the_least_recently_used_must_go_also_where_only_idle_ones_are_bound(struct stage *s)
{
    struct kp__allowance may = as_it_is(s);
    struct kp__subpool *sub = stage_key(s), *other = stage_key(s);
    struct kp__slot *first = stage_idle(s, sub), *second = stage_idle(s, sub);
    struct kp__slot *third = stage_idle(s, other);

    assert_ptr_equal(stage_lend(s, sub), second);
    stage_give(s, second, 0, true);
    may.idle = 2;
    set(s, &may);
    assert_int_equal(first->state, KP__CLOSING);
    assert_int_equal(third->state, KP__IDLE);
    may.idle = 0;
    set(s, &may);
    assert_int_equal(stage_destroy(s), 3);
}

/* In a pool without a limit no key is asked to make room. */
static void a_bound_must_end_without_a_trace(struct stage *s)
{
    struct kp__subpool *sub = stage_key(s);

    (void)stage_idle(s, sub);
    set_live(s, 5);
    assert_int_equal(s->core.live.evictable.count, 1);
    set_live(s, KP__UNBOUND);
    assert_int_equal(s->core.live.evictable.count, 0);
    assert_int_equal(sub->count[KP__IDLE], 1);
}

/* ---- the numbers ----------------------------------------------------------------------------- */

static void a_group_that_comes_later_must_have_the_new_limit(struct stage *s)
{
    struct kp__request r[2];

    for (int which = 0; which < 2; which++) {
        struct kp__slot *slot[1];
        struct kp__subpool *before = member(s, which, 5, 1, slot);
        set_group(s, which, 1);
        stage_room(s);
        kp__group_enter(&s->core, &s->groups[2 + which], which, 7);
        struct kp__subpool *sub = stage_key(s);
        stage_rule(s, sub, &s->rules, which == 0 ? 2 : -1, which == 1 ? 3 : -1);
        (void)stage_lend(s, sub);
        assert_int_equal(stage_ask(s, sub, &r[which], 0), KP__GRANT_WAIT);
        assert_int_equal(r[which].limit, KP__BY_GROUP);
        assert_int_equal(before->count[KP__LENT], 1);
    }
}

/* Tokens that came at the old rate stay; from now on the new rate counts. */
static void a_rate_must_change_now(struct stage *s)
{
    const uint64_t second = 1000000000;
    struct kp__allowance may = as_it_is(s);
    struct kp__subpool *sub = stage_key(s);

    may.rate = may.burst = 4;
    set(s, &may);
    for (int i = 0; i < 4; i++) (void)stage_lend(s, sub);
    assert_int_equal(kp__token_at(&s->core.rate, s->now), s->now + second / 4);
    s->now += second;
    may.rate = 1;
    set(s, &may);
    for (int i = 0; i < 4; i++) (void)stage_lend(s, sub);
    assert_int_equal(kp__token_at(&s->core.rate, s->now), s->now + second);
}

/* A lane reserves a lent permit for each that it has; it must not do so by the old number. */
static void no_lane_must_be_open_afterwards(void **state)
{
    struct stage s;

    (void)state;
    lane_stage(&s);
    struct kp__subpool *sub = lane_key(&s, 2, 0);
    assert_true(lane_open_again(&s, sub));
    struct kp__allowance may = as_it_is(&s);
    may.lent = 1;
    set(&s, &may);
    assert_false(sub->open);
    assert_int_equal(s.core.lent.used, 0);
    lane_close(&s);
}

/* ---- who is next ----------------------------------------------------------------------------- */

/* `sub` has one of two lent permits and wants another, `other` the same; the first came first, but
 * had both for a long time, in which `other` waited. */
static void compete(struct stage *s, bool by_arrival, struct kp__subpool *sub,
                    struct kp__subpool *other, struct kp__request r[])
{
    s->core.by_arrival = by_arrival;
    s->core.usual[KP__LEASED].hold = 100;
    s->core.lent.cap = 2;
    struct kp__slot *first = stage_lend(s, sub);
    (void)stage_lend(s, sub);
    assert_int_equal(stage_ask(s, other, &r[0], 0), KP__GRANT_WAIT);
    s->now += 100000;
    stage_give(s, first, 0, true);
    stage_heed(s, &r[0]);
    (void)stage_take(s, &r[0]);
    assert_int_equal(stage_ask(s, sub, &r[1], 0), KP__GRANT_WAIT);
}

static struct kp__subpool *next(struct stage *s)
{
    return kp__starved_first(&s->core, &s->core.lent);
}

/* By arrival, what a key had does not count; nor does it when the order changes to shares. */
static void by_shares_all_must_begin_as_equals(struct stage *s)
{
    struct kp__allowance may = as_it_is(s);
    struct kp__subpool *sub = stage_key(s), *other = stage_key(s);
    struct kp__request r[3];

    compete(s, true, sub, other, r);
    assert_int_equal(stage_ask(s, other, &r[2], 0), KP__GRANT_WAIT);
    assert_ptr_equal(next(s), sub);
    may.lent = 2;
    set(s, &may);
    assert_ptr_equal(next(s), sub);
}

static void the_keys_of_a_group_must_begin_as_equals_too(struct stage *s)
{
    struct kp__allowance may = as_it_is(s);

    stage_group(s, 0, 0, 5);
    const struct kp__budget *budget = &s->groups[0].budget;
    uint32_t bout = budget->bout;
    set(s, &may);
    assert_int_equal(budget->bout, bout);
    may.by_arrival = !may.by_arrival;
    set(s, &may);
    assert_int_equal(budget->bout, bout + 1);
}

static uint64_t lead_of(struct stage *s, struct kp__subpool *sub, struct kp__subpool *other)
{
    kp__note_time(&s->core, s->now);
    kp__account_now(&s->core, sub);
    kp__account_now(&s->core, other);
    return kp__share_score(&s->core.lent, other) - kp__share_score(&s->core.lent, sub);
}

/* What a key had more, or less, than its share stays, however often the budget is set again. */
static void the_same_order_said_again_must_change_no_turn(struct stage *s)
{
    struct kp__subpool *sub = stage_key(s), *other = stage_key(s);
    struct kp__request r[3];

    compete(s, false, sub, other, r);
    struct kp__allowance may = as_it_is(s);
    may.lent = 3;
    set(s, &may);
    (void)stage_take(s, &r[1]); /* now it has two, and the other key one */
    assert_int_equal(stage_ask(s, other, &r[2], 0), KP__GRANT_WAIT);
    assert_true(lead_of(s, other, sub) == KP__SHARE_ONE);
    s->now += 100000;
    uint64_t lead = lead_of(s, other, sub);
    assert_true(lead > KP__SHARE_ONE);
    set(s, &may);
    assert_int_equal(lead_of(s, other, sub), lead);
}

/* ---- the background -------------------------------------------------------------------------- */

static void only_who_refills_at_once_must_be_looked_at(struct stage *s)
{
    struct kp__rules eager = stage_rules();
    struct kp__allowance may = as_it_is(s);
    struct kp__subpool *sub = stage_key(s), *other = stage_key(s);

    stage_room(s);
    struct kp__subpool *unruled = kp__table_make(&s->core, 1); /* limits_for is being asked */
    s->rules.min_live = eager.min_live = 2;
    eager.eager = true;
    stage_rule(s, other, &eager, -1, -1);
    s->now += 10;
    set(s, &may);
    assert_true(other->refill);
    assert_int_equal(stage_due_at(s, other), s->now);
    assert_false(sub->refill || unruled->refill);
    assert_int_equal(stage_due_at(s, sub), 0);
    sub->refill = true; /* it waited for room */
    set(s, &may);
    assert_int_equal(stage_due_at(s, sub), s->now);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_TEST(what_comes_back_must_go_while_it_is_too_much_whatever_else_was_lowered),
        STAGE_TEST(what_comes_back_must_go_while_its_group_has_too_much),
        STAGE_TEST(what_one_group_has_too_much_must_go_though_the_other_has_room),
        STAGE_TEST(who_comes_back_while_another_goes_must_not_go_for_it_too),
        STAGE_TEST(what_is_being_destroyed_must_count_as_gone),
        STAGE_TEST(a_place_that_is_promised_must_count),
        STAGE_TEST(what_a_group_has_too_much_must_go_once),
        STAGE_TEST(what_goes_already_must_count_as_gone_when_its_group_is_lowered_again),
        STAGE_TEST(a_group_whose_promised_place_leaves_it_must_keep_its_limit),
        STAGE_TEST(groups_that_two_places_were_promised_in_must_keep_their_limits),
        STAGE_TEST(the_least_recently_used_must_go_also_where_only_idle_ones_are_bound),
        STAGE_TEST(a_bound_must_end_without_a_trace),
        STAGE_TEST(a_group_that_comes_later_must_have_the_new_limit),
        STAGE_TEST(a_rate_must_change_now),
        cmocka_unit_test(no_lane_must_be_open_afterwards),
        STAGE_TEST(by_shares_all_must_begin_as_equals),
        STAGE_TEST(the_keys_of_a_group_must_begin_as_equals_too),
        STAGE_TEST(the_same_order_said_again_must_change_no_turn),
        STAGE_TEST(only_who_refills_at_once_must_be_looked_at),
    };

    return cmocka_run_group_tests_name("budgets while in use", tests, NULL, NULL);
}
