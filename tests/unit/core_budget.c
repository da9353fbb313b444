/* SPDX-License-Identifier: MIT
 *
 * Tests of core/budget.c: who is next for a permit, and whose idle resource makes room for it.
 */
#include "core_stage.h"

/* ---- who is next ----------------------------------------------------------------------------- */

/* Keys that wait for budget.max_lent, with what decides their rank. */
struct contender {
    int64_t floor, weight;
    uint32_t held;
};

static struct kp__rules contender_rules[3];

static void line_up(struct stage *s, const struct contender *c, int n, struct kp__subpool *sub[],
                    struct kp__request r[])
{
    for (int i = 0; i < n; i++) {
        contender_rules[i] = stage_rules();
        contender_rules[i].floor = c[i].floor;
        contender_rules[i].weight = c[i].weight;
        sub[i] = stage_key(s);
        stage_rule(s, sub[i], &contender_rules[i], -1, -1);
        for (uint32_t k = 0; k < c[i].held; k++) kp__lent_take(&s->core, sub[i]);
    }
    s->core.lent.cap = s->core.lent.used;
    for (int i = 0; i < n; i++)
        assert_int_equal(stage_ask(s, sub[i], &r[i], 0), KP__GRANT_WAIT);
}

static void those_below_their_floor_must_come_first_then_by_share_then_by_arrival(void **state)
{
    static const struct {
        struct contender c[2];
        int first;
    } cases[] = {
        { { { 0, 1, 1 }, { 0, 1, 1 } }, 0 }, /* the same: the one that came first */
        { { { 0, 1, 2 }, { 0, 1, 1 } }, 1 }, /* the one that holds less */
        { { { 3, 1, 2 }, { 0, 1, 1 } }, 0 }, /* the one below its floor */
        { { { 2, 1, 2 }, { 0, 1, 1 } }, 1 }, /* at the floor is not below it */
        { { { 0, 3, 4 }, { 0, 1, 1 } }, 0 }, /* 5/3 < 2/1 */
        { { { 0, 3, 6 }, { 0, 1, 1 } }, 1 }, /* 7/3 > 2/1 */
        { { { 0, 2, 3 }, { 0, 1, 1 } }, 0 }, /* 4/2 = 2/1 */
        { { { 0, 1, 0 }, { 5, 1, 4 } }, 1 },
        { { { 9, 1, 3 }, { 5, 1, 1 } }, 1 }, /* both below: by share */
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct stage s;
        struct kp__subpool *sub[2];
        struct kp__request r[2];
        stage_open(&s);
        line_up(&s, cases[i].c, 2, sub, r);
        if (kp__starved_first(&s.core, &s.core.lent) != sub[cases[i].first])
            fail_msg("case %zu", i);
        stage_close(&s);
    }
}

static void by_arrival_must_look_at_nothing_else(void **state)
{
    static const struct contender c[3] = { { 0, 1, 9 }, { 5, 7, 0 }, { 0, 1, 0 } };
    struct stage s;
    struct kp__subpool *sub[3];
    struct kp__request r[3];

    (void)state;
    stage_open(&s);
    s.core.by_arrival = true;
    line_up(&s, c, 3, sub, r);
    assert_ptr_equal(kp__starved_first(&s.core, &s.core.lent), sub[0]);
    assert_int_equal(sub[1]->contest->rank.class, 0);
    assert_int_equal(sub[1]->contest->rank.score, 0);
    assert_int_equal(sub[1]->contest->rank.stamp, r[1].stamp);
    kp__withdraw(&s.core, &r[0], s.now, &s.todo);
    assert_ptr_equal(kp__starved_first(&s.core, &s.core.lent), sub[1]);
    stage_close(&s);
}

static void a_keys_stamp_must_be_that_of_its_first_request_in_any_queue(void **state)
{
    struct stage s;
    struct kp__request r[4];

    (void)state;
    stage_open(&s);
    s.core.lent.cap = 0;
    s.core.by_arrival = true;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    stage_ask(&s, a, &r[0], KP_FRESH);
    stage_ask(&s, b, &r[1], 0);
    stage_ask(&s, a, &r[2], 0);
    stage_ask(&s, a, &r[3], KP_DONT_CREATE);
    assert_int_equal(a->contest->rank.stamp, r[0].stamp);
    assert_ptr_equal(kp__starved_first(&s.core, &s.core.lent), a);
    kp__withdraw(&s.core, &r[0], s.now, &s.todo);
    assert_int_equal(a->contest->rank.stamp, r[2].stamp);
    assert_ptr_equal(kp__starved_first(&s.core, &s.core.lent), b);
    stage_close(&s);
}

static void who_waits_for_its_own_creation_must_not_lend_its_stamp_to_others(void **state)
{
    struct stage s;
    struct kp__request own, r[2];

    (void)state;
    stage_open(&s);
    s.core.by_arrival = true;
    s.core.lent.cap = 1;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    assert_int_equal(stage_ask(&s, a, &own, KP_FRESH), KP__GRANT_PERMIT);
    stage_pending(&s, &own, stage_spend(&s, a));
    assert_int_equal(own.queue, KP__OWN);
    assert_int_equal(stage_ask(&s, b, &r[0], 0), KP__GRANT_WAIT);
    assert_int_equal(stage_ask(&s, a, &r[1], 0), KP__GRANT_WAIT);
    assert_int_equal(a->contest->rank.stamp, r[1].stamp);
    assert_ptr_equal(kp__starved_first(&s.core, &s.core.lent), b);
    stage_close(&s);
}

static void with_wait_lifo_the_key_with_the_latest_request_must_rank_first(void **state)
{
    struct stage s;
    struct kp__request r[3];

    (void)state;
    stage_open(&s);
    s.core.lent.cap = 0;
    s.core.by_arrival = s.core.last_first = true;
    s.rules.wait_lifo = true;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    stage_ask(&s, a, &r[0], 0);
    stage_ask(&s, b, &r[1], 0);
    assert_ptr_equal(kp__starved_first(&s.core, &s.core.lent), b);
    assert_int_equal(a->contest->rank.stamp, ~r[0].stamp);
    stage_ask(&s, a, &r[2], 0);
    assert_ptr_equal(kp__starved_first(&s.core, &s.core.lent), a);
    stage_close(&s);
}

/* By arrival alone it is always the first key that comes first. */
static void where_a_key_was_served_must_count_if_it_is_lifo_and_the_pool_is_not(void **state)
{
    static const struct kp__rank later = { .arrived = UINT64_MAX };
    static const struct {
        bool pool, key;
        struct kp__rank served;
        int first;
    } cases[] = {
        { false, true, later, 1 },
        { false, true, { 0 }, 0 }, /* before it came: by arrival */
        { false, false, later, 0 }, /* it was LIFO then, and is not now */
        { true, true, later, 0 }, /* the order of the pool is enough */
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct stage s;
        struct kp__request r[2];
        stage_open(&s);
        s.core.lent.cap = 0;
        s.core.by_arrival = true;
        s.core.last_first = cases[i].pool;
        s.rules.wait_lifo = cases[i].key;
        struct kp__subpool *sub[] = { stage_key(&s), stage_key(&s) };
        kp__contest(&s.core, sub[0])->served = cases[i].served;
        stage_ask(&s, sub[cases[i].pool], &r[0], 0);
        stage_ask(&s, sub[!cases[i].pool], &r[1], 0);
        if (kp__starved_first(&s.core, &s.core.lent) != sub[cases[i].first])
            fail_msg("case %zu", i);
        stage_close(&s);
    }
}

/* budget.max_live counts what is live or promised, lent or not. */
static void a_share_of_the_live_budget_must_be_measured_in_resources(void **state)
{
    struct stage s;
    struct kp__request r[2];

    (void)state;
    stage_open(&s);
    s.core.live.cap = 3;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    stage_lend(&s, a);
    stage_lend(&s, a);
    stage_lend(&s, b);
    stage_ask(&s, a, &r[0], 0);
    stage_ask(&s, b, &r[1], 0);
    assert_int_equal(a->contest->rank.score, 3 * KP__SHARE_ONE);
    assert_int_equal(b->contest->rank.score, 2 * KP__SHARE_ONE);
    assert_ptr_equal(kp__starved_first(&s.core, &s.core.live), b);
    kp__contest(&s.core, a)->promised = 2;
    kp__note_lack(&s.core, a, &s.core.live);
    assert_int_equal(a->contest->rank.score, 5 * KP__SHARE_ONE);
    kp__contest(&s.core, a)->promised = 0;
    stage_close(&s);
}

static void nobody_must_take_before_one_who_ranks_higher_but_oneself(void **state)
{
    static const struct contender c[2] = { { 0, 1, 3 }, { 0, 1, 5 } };
    struct stage s;
    struct kp__subpool *sub[3];
    struct kp__request r[3];

    (void)state;
    stage_open(&s);
    sub[2] = stage_key(&s); /* holds nothing, so it ranks before both */
    line_up(&s, c, 2, sub, r);
    s.core.lent.cap = KP__UNBOUND;
    assert_true(kp__budget_may_take(&s.core, &s.core.lent, sub[0]));
    assert_false(kp__budget_outranked(&s.core, &s.core.lent, sub[0]));
    assert_false(kp__budget_may_take(&s.core, &s.core.lent, sub[1]));
    assert_true(kp__budget_outranked(&s.core, &s.core.lent, sub[1]));
    assert_true(kp__budget_may_take(&s.core, &s.core.lent, sub[2]));
    s.core.lent.cap = 8; /* all used */
    assert_false(kp__budget_may_take(&s.core, &s.core.lent, sub[0]));
    s.core.lent.cap = 9;
    assert_true(kp__budget_may_take(&s.core, &s.core.lent, sub[0]));
    s.core.lent.cap = 0;
    stage_close(&s);
}

static void a_key_must_stand_in_one_heap_at_a_time(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    assert_null(kp__starved_first(&s.core, &s.core.live));
    kp__note_lack(&s.core, a, NULL);
    kp__note_lack(&s.core, a, &s.core.live);
    kp__note_lack(&s.core, b, &s.core.live);
    kp__note_lack(&s.core, a, &s.core.live); /* only its rank anew */
    assert_int_equal(s.core.live.starved.count, 2);
    kp__note_lack(&s.core, a, &s.core.lent);
    assert_ptr_equal(a->contest->lacks, &s.core.lent);
    assert_ptr_equal(kp__starved_first(&s.core, &s.core.live), b);
    assert_ptr_equal(kp__starved_first(&s.core, &s.core.lent), a);
    kp__note_lack(&s.core, a, NULL);
    assert_null(a->contest->lacks);
    assert_int_equal(s.core.lent.starved.count, 0);
    kp__note_lack(&s.core, b, NULL);
    stage_check(&s);
    stage_close(&s);
}

/* ---- making room ----------------------------------------------------------------------------- */

static struct kp__slot *pick(struct stage *s)
{
    return kp__evict_pick(&s->core, &s->core.live);
}

static void the_least_recently_used_idle_one_must_make_room(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.core.live.cap = 9;
    assert_null(pick(&s));
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    struct kp__slot *a1 = stage_idle(&s, a), *b1 = stage_idle(&s, b), *a2 = stage_idle(&s, a);
    assert_ptr_equal(pick(&s), a1);
    /* a1 is used: what the heap knows of its key is too early by now */
    s.rules.idle_lifo = false;
    assert_ptr_equal(stage_lend(&s, a), a1);
    stage_give(&s, a1, 0, true);
    assert_ptr_equal(pick(&s), b1);
    s.rules.idle_lifo = true;
    assert_ptr_equal(stage_lend(&s, b), b1);
    assert_ptr_equal(pick(&s), a2);
    assert_int_equal(s.core.live.evictable.count, 1);
    stage_close(&s);
}

static void in_a_group_only_its_own_members_must_make_room(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    stage_group(&s, 0, 0, 9);
    stage_group(&s, 1, 1, 9);
    s.core.live.cap = 9;
    struct kp__subpool *sub[4];
    struct kp__slot *slot[4];
    for (int i = 0; i < 4; i++) {
        sub[i] = stage_key(&s);
        slot[i] = stage_idle(&s, sub[i]);
    }
    stage_rule(&s, sub[1], &s.rules, 0, -1);
    stage_rule(&s, sub[2], &s.rules, 0, 1);
    stage_rule(&s, sub[3], &s.rules, -1, 1);
    assert_ptr_equal(pick(&s), slot[0]);
    assert_ptr_equal(kp__evict_pick(&s.core, &s.groups[0].budget), slot[1]);
    assert_ptr_equal(kp__evict_pick(&s.core, &s.groups[1].budget), slot[2]);
    /* used meanwhile: its rank must change in every heap that it is in */
    assert_ptr_equal(stage_lend(&s, sub[2]), slot[2]);
    assert_int_equal(s.groups[1].budget.evictable.count, 1);
    stage_give(&s, slot[2], 0, true);
    assert_ptr_equal(kp__evict_pick(&s.core, &s.groups[1].budget), slot[3]);
    stage_close(&s);
}

/* One key in three heaps whose oldest was used: a stale rank in one of them would hide another. */
static void a_stale_rank_must_be_put_right_in_every_heap(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    stage_group(&s, 0, 0, 9);
    stage_group(&s, 1, 1, 9);
    s.core.live.cap = 9;
    s.rules.idle_lifo = false;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    stage_rule(&s, a, &s.rules, 0, 1);
    stage_rule(&s, b, &s.rules, 0, 1);
    struct kp__slot *a1 = stage_idle(&s, a), *b1 = stage_idle(&s, b);
    stage_idle(&s, a);
    assert_ptr_equal(stage_lend(&s, a), a1);
    stage_give(&s, a1, 0, true);
    assert_ptr_equal(kp__evict_pick(&s.core, &s.groups[0].budget), b1);
    assert_int_equal(a->contest->evict_rank, 3);
    assert_ptr_equal(kp__heap_top(&s.core.live.evictable), &b->contest->evict[KP__POOL].node);
    assert_ptr_equal(kp__heap_top(&s.groups[0].budget.evictable),
                     &b->contest->evict[KP__GROUP_0].node);
    assert_ptr_equal(kp__heap_top(&s.groups[1].budget.evictable),
                     &b->contest->evict[KP__GROUP_1].node);
    stage_close(&s);
}

/* A key that enters one heap while it is in another keeps its rank, which orders both. */
static void a_key_that_joins_a_group_must_keep_its_rank_elsewhere(void **state)
{
    (void)state;
    for (int which = 0; which < 2; which++) {
        struct stage s;
        stage_open(&s);
        stage_group(&s, 0, which, 9);
        s.core.live.cap = 9;
        s.rules.idle_lifo = false;
        struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
        struct kp__slot *a1 = stage_idle(&s, a), *b1 = stage_idle(&s, b);
        stage_idle(&s, a);
        assert_ptr_equal(stage_lend(&s, a), a1);
        stage_give(&s, a1, 0, true); /* a's rank in the pool's heap is still 1 */
        assert_int_equal(a->contest->evict_rank, 1);
        stage_rule(&s, a, &s.rules, which ? -1 : 0, which ? 0 : -1);
        assert_int_equal(a->contest->evict_rank, 1);
        assert_ptr_equal(pick(&s), b1); /* the second one of a was idle later */
        assert_ptr_equal(kp__evict_pick(&s.core, &s.groups[0].budget),
                         kp__oldest_idle(a));
        assert_int_equal(a->contest->evict_rank, 3);
        stage_close(&s);
    }
}

/* All keys may enter before one is asked for: none must need a correction of its rank then. */
static void a_key_that_enters_its_first_heap_must_have_its_rank_at_once(void **state)
{
    (void)state;
    for (int which = 0; which < 2; which++) {
        struct stage s;
        stage_open(&s);
        stage_group(&s, 0, which, 9);
        struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
        stage_rule(&s, a, &s.rules, which ? -1 : 0, which ? 0 : -1);
        stage_idle(&s, b);
        struct kp__slot *slot = stage_idle(&s, a);
        assert_int_equal(a->contest->evict_rank, 2);
        assert_ptr_equal(stage_lend(&s, a), slot);
        stage_give(&s, slot, 0, true);
        assert_int_equal(a->contest->evict_rank, 3);
        stage_close(&s);
    }
}

static void nobody_must_be_asked_for_room_where_there_is_no_limit_or_no_eviction(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = stage_key(&s);
    stage_idle(&s, sub);
    assert_int_equal(s.core.live.evictable.count, 0); /* no limit */
    stage_close(&s);

    stage_open(&s);
    s.core.live.cap = 9;
    s.core.evicts = false;
    sub = stage_key(&s);
    stage_idle(&s, sub);
    assert_null(pick(&s));
    stage_close(&s);
}

static void the_minimum_of_a_key_must_not_be_asked_for_room(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.core.live.cap = 9;
    s.rules.min_live = 2;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *one = stage_idle(&s, sub), *two = stage_idle(&s, sub);
    assert_null(pick(&s));
    struct kp__slot *three = stage_idle(&s, sub);
    assert_ptr_equal(pick(&s), one);
    kp__close_idle(&s.core, three, KP_CAUSE_SURPLUS, &s.todo); /* one that closes does not count */
    assert_null(pick(&s));
    stage_check(&s);
    (void)two;
    stage_close(&s);
}

static void a_key_whose_rules_are_not_known_must_not_be_asked_for_room(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.core.live.cap = 9;
    struct kp__subpool *sub = stage_key(&s);
    stage_idle(&s, sub);
    assert_int_equal(s.core.live.evictable.count, 1);
    sub->rules = NULL;
    kp__evictable_update(&s.core, sub);
    assert_int_equal(s.core.live.evictable.count, 0);
    sub->rules = &s.rules;
    kp__evictable_update(&s.core, sub);
    assert_int_equal(s.core.live.evictable.count, 1);
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(those_below_their_floor_must_come_first_then_by_share_then_by_arrival),
        cmocka_unit_test(by_arrival_must_look_at_nothing_else),
        cmocka_unit_test(a_keys_stamp_must_be_that_of_its_first_request_in_any_queue),
        cmocka_unit_test(who_waits_for_its_own_creation_must_not_lend_its_stamp_to_others),
        cmocka_unit_test(with_wait_lifo_the_key_with_the_latest_request_must_rank_first),
        cmocka_unit_test(where_a_key_was_served_must_count_if_it_is_lifo_and_the_pool_is_not),
        cmocka_unit_test(a_share_of_the_live_budget_must_be_measured_in_resources),
        cmocka_unit_test(nobody_must_take_before_one_who_ranks_higher_but_oneself),
        cmocka_unit_test(a_key_must_stand_in_one_heap_at_a_time),
        cmocka_unit_test(the_least_recently_used_idle_one_must_make_room),
        cmocka_unit_test(in_a_group_only_its_own_members_must_make_room),
        cmocka_unit_test(a_stale_rank_must_be_put_right_in_every_heap),
        cmocka_unit_test(a_key_that_joins_a_group_must_keep_its_rank_elsewhere),
        cmocka_unit_test(a_key_that_enters_its_first_heap_must_have_its_rank_at_once),
        cmocka_unit_test(nobody_must_be_asked_for_room_where_there_is_no_limit_or_no_eviction),
        cmocka_unit_test(the_minimum_of_a_key_must_not_be_asked_for_room),
        cmocka_unit_test(a_key_whose_rules_are_not_known_must_not_be_asked_for_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
