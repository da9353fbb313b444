/* SPDX-License-Identifier: MIT
 *
 * Tests of core/serve.c: the permit to create one more, room in the key and in budgets over keys,
 * and which idle resource is evicted to make room.
 */
#include "core_stage.h"

/* ---- creations and room ---------------------------------------------------------------------- */

static void creations_must_stay_within_the_keys_and_the_pools_limit(void **state)
{
    struct stage s;
    struct kp__request r[6];

    (void)state;
    stage_open(&s);
    s.rules.max_creating = 2;
    s.core.creating.cap = 3;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    assert_int_equal(stage_ask(&s, a, &r[0], 0), KP__GRANT_PERMIT);
    assert_int_equal(stage_ask(&s, a, &r[1], 0), KP__GRANT_PERMIT);
    assert_int_equal(stage_ask(&s, a, &r[2], 0), KP__GRANT_WAIT);
    assert_string_equal(kp__limit_name[r[2].limit], "max_creating");
    assert_int_equal(stage_ask(&s, b, &r[3], 0), KP__GRANT_PERMIT);
    assert_int_equal(stage_ask(&s, b, &r[4], 0), KP__GRANT_WAIT);
    assert_string_equal(kp__limit_name[r[4].limit], "budget.max_creating");
    assert_ptr_equal(b->contest->lacks, &s.core.creating);
    stage_check(&s);
    stage_take(&s, &r[0]);
    assert_int_equal(r[2].grant.kind, KP__GRANT_PERMIT); /* both make one; a came first */
    assert_int_equal(r[4].grant.kind, KP__GRANT_WAIT);
    stage_take(&s, &r[1]);
    assert_int_equal(r[4].grant.kind, KP__GRANT_PERMIT);
    stage_close(&s);
}

static void a_pool_without_create_must_lend_what_was_added(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.core.can_create = false;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slot = stage_idle(&s, sub);
    assert_ptr_equal(stage_lend(&s, sub), slot);
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_WAIT);
    assert_string_equal(kp__limit_name[r.limit], "driver.create");
    stage_close(&s);
}

static void the_reserve_must_open_after_its_time_and_not_before(void **state)
{
    struct stage s;
    struct kp__request r[3];

    (void)state;
    stage_open(&s);
    s.rules.max_live = 1;
    s.rules.reserve = 1;
    s.rules.reserve_after = 50;
    struct kp__subpool *sub = stage_key(&s);
    stage_lend(&s, sub);
    assert_int_equal(stage_ask(&s, sub, &r[0], 0), KP__GRANT_WAIT);
    assert_int_equal(kp__next_look(&r[0]), 1050);
    assert_string_equal(kp__limit_name[r[0].limit], "max_live");
    s.now = 1010;
    assert_int_equal(stage_ask(&s, sub, &r[1], 0), KP__GRANT_WAIT);
    s.now = 1049;
    kp__settle(&s.core, sub, s.now, &s.todo);
    assert_int_equal(r[0].grant.kind, KP__GRANT_WAIT);
    assert_false(stage_woken(&s, &r[0])); /* it knows when to look */
    kp__next_look_set(&s.core, &r[0], 1051);
    kp__settle(&s.core, sub, s.now, &s.todo);
    assert_int_equal(atomic_load(&r[0].state), KP__NUDGED); /* sooner than it knew */
    assert_true(stage_woken(&s, &r[0]));
    kp__settle(&s.core, sub, s.now, &s.todo);
    assert_false(stage_woken(&s, &r[0])); /* it was told */
    s.now = 1050;
    kp__settle(&s.core, sub, s.now, &s.todo);
    assert_int_equal(r[0].grant.kind, KP__GRANT_PERMIT);
    assert_true(stage_woken(&s, &r[0]));
    stage_take(&s, &r[0]);
    s.now = 1060; /* the reserve is used up */
    kp__settle(&s.core, sub, s.now, &s.todo);
    assert_int_equal(r[1].grant.kind, KP__GRANT_WAIT);
    assert_int_equal(kp__next_look(&r[1]), KP__NEVER);
    stage_close(&s);
}

static void a_fresh_one_must_push_out_an_idle_one_where_there_is_no_room(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.rules.max_live = 2;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *old = stage_idle(&s, sub);
    assert_int_equal(stage_ask(&s, sub, &r, KP_FRESH), KP__GRANT_PERMIT); /* there is room */
    assert_null(r.slot);
    struct kp__slot *fresh = stage_take(&s, &r);
    assert_int_equal(old->state, KP__IDLE);
    assert_int_equal(stage_ask(&s, sub, &r, KP_FRESH), KP__GRANT_PERMIT);
    stage_check(&s);
    assert_ptr_equal(r.slot, old);
    assert_int_equal(old->cause, KP_CAUSE_FRESH);
    assert_int_equal(old->state, KP__CLOSING);
    stage_take(&s, &r);
    assert_int_equal(sub->tally.destroys, 1);
    assert_int_equal(sub->rare->seldom.evicted, 0);
    assert_int_equal(stage_ask(&s, sub, &r, KP_FRESH), KP__GRANT_WAIT); /* nothing idle */
    assert_int_equal(r.queue, KP__FRESH);
    (void)fresh;
    stage_close(&s);
}

static void a_fresh_one_must_push_out_the_oldest_where_a_budget_is_used_up(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.core.live.cap = 3;
    s.core.evicts = false;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    stage_lend(&s, b);
    struct kp__slot *old = stage_idle(&s, a);
    stage_idle(&s, a);
    assert_int_equal(stage_ask(&s, a, &r, KP_FRESH), KP__GRANT_PERMIT);
    stage_check(&s);
    assert_ptr_equal(r.slot, old);
    stage_take(&s, &r);
    stage_close(&s);
}

static void a_fresh_one_must_push_out_its_own_keys_though_anothers_is_older(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.core.live.cap = 2;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    stage_idle(&s, b);
    struct kp__slot *own = stage_idle(&s, a);
    assert_int_equal(stage_ask(&s, a, &r, KP_FRESH), KP__GRANT_PERMIT);
    assert_ptr_equal(r.slot, own);
    stage_victim_gone(&s, &r);
    stage_close(&s);
}

/* Else it would wait for one of the reserve while there is one that nobody else wants. */
static void a_fresh_one_must_push_out_an_idle_one_of_the_reserve(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.rules.max_live = 1;
    s.rules.reserve = 1;
    s.rules.reserve_after = 0;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *one = stage_lend(&s, sub);
    stage_lend(&s, sub);
    assert_int_equal(stage_ask(&s, sub, &r, KP_FRESH), KP__GRANT_WAIT);
    stage_give(&s, one, 0, true); /* kept, since somebody waits */
    assert_int_equal(r.grant.kind, KP__GRANT_PERMIT);
    assert_ptr_equal(r.slot, one);
    stage_take(&s, &r);
    stage_close(&s);
}

/* Over its limit, a key must not swap one for one: it has to shrink. */
static void a_fresh_one_must_not_push_out_an_idle_one_over_the_limit(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.rules.max_live = 2;
    struct kp__subpool *sub = stage_key(&s);
    stage_lend(&s, sub);
    stage_idle(&s, sub);
    s.rules.max_live = 1;
    kp__claim(&s.core, (r = (struct kp__request){ .sub = sub, .flags = KP_FRESH }, &r), s.now,
              &s.todo);
    assert_int_equal(r.grant.kind, KP__GRANT_WAIT);
    assert_string_equal(kp__limit_name[r.limit], "max_live");
    stage_close(&s);
}

/* ---- budgets over keys ----------------------------------------------------------------------- */

static void another_keys_oldest_idle_one_must_make_room(void **state)
{
    struct stage s;
    struct kp__request r[2];

    (void)state;
    stage_open(&s);
    s.core.live.cap = 2;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    struct kp__slot *a1 = stage_idle(&s, a);
    stage_lend(&s, b);
    assert_int_equal(stage_ask(&s, b, &r[0], 0), KP__GRANT_PERMIT);
    stage_check(&s);
    assert_ptr_equal(r[0].slot, a1);
    assert_int_equal(a1->cause, KP_CAUSE_EVICTED);
    stage_take(&s, &r[0]);
    assert_int_equal(stage_ask(&s, b, &r[1], 0), KP__GRANT_WAIT);
    assert_string_equal(kp__limit_name[r[1].limit], "budget.max_live");
    assert_ptr_equal(b->contest->lacks, &s.core.live);
    /* what is destroyed anywhere makes room */
    assert_true(kp__doom(&s.core, r[0].slot, KP_CAUSE_INVALIDATED, &s.todo));
    stage_give(&s, r[0].slot, 0, true);
    assert_int_equal(r[1].grant.kind, KP__GRANT_WAIT);
    assert_int_equal(stage_destroy(&s), 1);
    assert_int_equal(r[1].grant.kind, KP__GRANT_PERMIT);
    stage_close(&s);
}

static void one_victim_must_make_room_in_the_group_and_in_the_pool(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    stage_group(&s, 0, 0, 1);
    stage_group(&s, 1, 1, 9);
    s.core.live.cap = 2;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s), *other = stage_key(&s);
    stage_rule(&s, a, &s.rules, 0, -1);
    stage_rule(&s, b, &s.rules, 0, 1);
    struct kp__slot *elsewhere = stage_idle(&s, other); /* older, but not of the group */
    struct kp__slot *member = stage_idle(&s, a);
    assert_int_equal(stage_ask(&s, b, &r, 0), KP__GRANT_PERMIT);
    stage_check(&s);
    assert_ptr_equal(r.slot, member);
    assert_int_equal(elsewhere->state, KP__IDLE);
    stage_take(&s, &r);
    stage_close(&s);
}

/* c is in both groups, each of one; a has the one of group 0, b that of group 1. */
static void open_two_groups(struct stage *s, struct kp__subpool *key[3])
{
    stage_open(s);
    stage_group(s, 0, 0, 1);
    stage_group(s, 1, 1, 1);
    for (int i = 0; i < 3; i++) key[i] = stage_key(s);
    stage_rule(s, key[0], &s->rules, 0, -1);
    stage_rule(s, key[1], &s->rules, -1, 1);
    stage_rule(s, key[2], &s->rules, 0, 1);
}

static void where_no_victim_does_for_both_groups_one_of_each_must_go(void **state)
{
    struct stage s;
    struct kp__subpool *key[3];
    struct kp__request r;

    (void)state;
    open_two_groups(&s, key);
    struct kp__slot *a1 = stage_idle(&s, key[0]), *b1 = stage_idle(&s, key[1]);
    assert_int_equal(stage_ask(&s, key[2], &r, 0), KP__GRANT_PERMIT);
    stage_check(&s);
    assert_ptr_equal(r.slot, b1);
    assert_ptr_equal(b1->errand->victim.next, a1);
    assert_null(a1->errand->victim.next);
    kp__victim_gone(&s.core, key[2], b1, s.now, &s.todo);
    stage_check(&s);
    assert_int_equal(s.groups[1].budget.used, 1); /* its place is c's already */
    assert_int_equal(key[2]->contest->promised, 1);
    kp__victim_gone(&s.core, key[2], a1, s.now, &s.todo);
    r.slot = NULL;
    stage_check(&s);
    assert_int_equal(key[2]->contest->promised, 0);
    assert_int_equal(key[2]->count[KP__CREATING], 1);
    stage_take(&s, &r);
    stage_close(&s);
}

/* A member of one of the two, and of another group of the other kind, is in both of its own. */
static void a_member_of_another_pair_of_groups_must_not_do_for_both(void **state)
{
    (void)state;
    for (int which = 0; which < 2; which++) {
        struct stage s;
        struct kp__subpool *key[3];
        struct kp__request r;
        open_two_groups(&s, key);
        stage_group(&s, 2, which, 9);
        stage_rule(&s, key[!which], &s.rules, which == 0 ? 2 : 0, which == 1 ? 2 : 1);
        struct kp__slot *a1 = stage_idle(&s, key[0]), *b1 = stage_idle(&s, key[1]);
        assert_int_equal(stage_ask(&s, key[2], &r, 0), KP__GRANT_PERMIT);
        stage_check(&s);
        assert_ptr_equal(r.slot, b1);
        assert_ptr_equal(b1->errand->victim.next, a1);
        kp__decline(&s.core, &r, s.now, &s.todo);
        assert_int_equal(stage_destroy(&s), 2);
        stage_close(&s);
    }
}

static void two_victims_whose_end_nobody_stands_by_must_go_one_after_the_other(void **state)
{
    struct stage s;
    struct kp__subpool *key[3];
    struct kp__request r;

    (void)state;
    open_two_groups(&s, key);
    struct kp__slot *a1 = stage_idle(&s, key[0]), *b1 = stage_idle(&s, key[1]);
    assert_int_equal(stage_ask(&s, key[2], &r, 0), KP__GRANT_PERMIT);
    kp__errand(&s.core, b1)->victim.heir = key[2];
    kp__wait_again(&s.core, &r, b1, s.now, &s.todo);
    kp__victim_gone_late(&s.core, b1, s.now, &s.todo);
    stage_check(&s);
    assert_int_equal(r.grant.kind, KP__GRANT_WAIT);
    assert_ptr_equal(r.slot, a1);
    assert_ptr_equal(a1->errand->sponsor, &r);
    assert_ptr_equal(a1->errand->victim.heir, key[2]);
    kp__list_remove(&a1->link); /* it was handed out to be destroyed */
    kp__victim_gone_late(&s.core, a1, s.now, &s.todo);
    stage_check(&s);
    assert_int_equal(r.grant.kind, KP__GRANT_PERMIT);
    stage_take(&s, &r);
    stage_close(&s);
}

static void two_victims_of_a_permit_that_is_declined_must_both_go(void **state)
{
    struct stage s;
    struct kp__subpool *key[3];
    struct kp__request r;

    (void)state;
    open_two_groups(&s, key);
    stage_idle(&s, key[0]);
    stage_idle(&s, key[1]);
    assert_int_equal(stage_ask(&s, key[2], &r, 0), KP__GRANT_PERMIT);
    kp__decline(&s.core, &r, s.now, &s.todo);
    stage_check(&s);
    assert_int_equal(key[0]->contest->ceded + key[1]->contest->ceded, 0);
    assert_int_equal(key[2]->contest->promised, 0);
    assert_int_equal(stage_destroy(&s), 2);
    assert_int_equal(s.groups[0].budget.used + s.groups[1].budget.used, 0);
    stage_close(&s);
}

static void where_one_group_has_no_victim_the_other_must_lose_none(void **state)
{
    struct stage s;
    struct kp__subpool *key[3];
    struct kp__request r;

    (void)state;
    open_two_groups(&s, key);
    struct kp__slot *a1 = stage_lend(&s, key[0]), *b1 = stage_idle(&s, key[1]);
    assert_int_equal(stage_ask(&s, key[2], &r, 0), KP__GRANT_WAIT);
    assert_ptr_equal(key[2]->contest->lacks, &s.groups[0].budget);
    assert_int_equal(b1->state, KP__IDLE);
    /* with room in one, the other's victim is enough */
    stage_give(&s, a1, 0, false);
    assert_int_equal(stage_destroy(&s), 1);
    assert_int_equal(r.grant.kind, KP__GRANT_PERMIT);
    assert_ptr_equal(r.slot, b1);
    assert_null(b1->errand->victim.next);
    stage_victim_gone(&s, &r);
    stage_close(&s);
}

static void a_member_of_both_groups_must_make_room_in_both(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    stage_group(&s, 0, 0, 1);
    stage_group(&s, 1, 1, 1);
    struct kp__subpool *a = stage_key(&s), *c = stage_key(&s);
    stage_rule(&s, a, &s.rules, 0, 1);
    stage_rule(&s, c, &s.rules, 0, 1);
    struct kp__slot *a1 = stage_idle(&s, a);
    assert_int_equal(stage_ask(&s, c, &r, 0), KP__GRANT_PERMIT);
    stage_check(&s);
    assert_ptr_equal(r.slot, a1);
    stage_take(&s, &r);
    stage_close(&s);
}

/* Of several that would do, the one least recently used goes, whichever key was there first: in the
 * pool, in a group of either kind, in two groups. */
static void the_least_recently_used_must_make_room_whoever_came_first(void **state)
{
    static const int orders[][4] = { { 0, 1, 2, 3 }, { 3, 2, 1, 0 }, { 1, 3, 0, 2 } };

    (void)state;
    for (int o = 0; o < 3 * 4; o++) {
        struct stage s;
        struct kp__request r[4];
        struct kp__slot *slot[4];
        struct kp__subpool *sub[5];
        stage_open(&s);
        stage_group(&s, 0, 0, 4);
        stage_group(&s, 1, 1, 4);
        s.core.live.cap = 4;
        for (int i = 0; i < 5; i++) {
            sub[i] = stage_key(&s);
            stage_rule(&s, sub[i], &s.rules, o & 1 ? 0 : -1, o & 2 ? 1 : -1);
        }
        for (int i = 0; i < 4; i++) slot[i] = stage_idle(&s, sub[orders[o / 4][i]]);
        for (int i = 0; i < 4; i++) {
            assert_int_equal(stage_ask(&s, sub[4], &r[i], 0), KP__GRANT_PERMIT);
            assert_ptr_equal(r[i].slot, slot[i]);
            stage_take(&s, &r[i]);
        }
        stage_close(&s);
    }
}

static void what_is_free_must_go_to_the_key_that_ranks_first(void **state)
{
    struct stage s;
    struct kp__request r[3];

    (void)state;
    stage_open(&s);
    s.core.live.cap = 3;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s), *c = stage_key(&s);
    struct kp__slot *a1 = stage_lend(&s, a), *a2 = stage_lend(&s, a);
    stage_lend(&s, b);
    assert_int_equal(stage_ask(&s, a, &r[0], 0), KP__GRANT_WAIT);
    assert_int_equal(stage_ask(&s, b, &r[1], 0), KP__GRANT_WAIT);
    assert_int_equal(stage_ask(&s, c, &r[2], 0), KP__GRANT_WAIT);
    /* a's returned one would serve a, which holds most: its room is owed to c, which has nothing */
    stage_give(&s, a1, 0, true);
    assert_int_equal(r[0].grant.kind, KP__GRANT_WAIT);
    assert_int_equal(r[2].grant.kind, KP__GRANT_PERMIT);
    assert_ptr_equal(r[2].slot, a1);
    stage_take(&s, &r[2]);
    stage_give(&s, a2, 0, true); /* a has nothing now, and came before b's second */
    assert_int_equal(r[0].grant.kind, KP__GRANT_SLOT);
    stage_close(&s);
}

static void a_newcomer_must_not_take_what_is_owed_to_a_key_before_it(void **state)
{
    struct stage s;
    struct kp__request r[2];

    (void)state;
    stage_open(&s);
    s.core.lent.cap = 2;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    struct kp__slot *a1 = stage_lend(&s, a);
    stage_lend(&s, a);
    assert_int_equal(stage_ask(&s, b, &r[0], 0), KP__GRANT_WAIT);
    assert_int_equal(stage_ask(&s, a, &r[1], 0), KP__GRANT_WAIT);
    stage_give(&s, a1, 0, true);
    assert_int_equal(r[0].grant.kind, KP__GRANT_PERMIT);
    assert_int_equal(r[1].grant.kind, KP__GRANT_WAIT);
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(creations_must_stay_within_the_keys_and_the_pools_limit),
        cmocka_unit_test(a_pool_without_create_must_lend_what_was_added),
        cmocka_unit_test(the_reserve_must_open_after_its_time_and_not_before),
        cmocka_unit_test(a_fresh_one_must_push_out_an_idle_one_where_there_is_no_room),
        cmocka_unit_test(a_fresh_one_must_push_out_the_oldest_where_a_budget_is_used_up),
        cmocka_unit_test(a_fresh_one_must_push_out_its_own_keys_though_anothers_is_older),
        cmocka_unit_test(a_fresh_one_must_push_out_an_idle_one_of_the_reserve),
        cmocka_unit_test(a_fresh_one_must_not_push_out_an_idle_one_over_the_limit),
        cmocka_unit_test(another_keys_oldest_idle_one_must_make_room),
        cmocka_unit_test(one_victim_must_make_room_in_the_group_and_in_the_pool),
        cmocka_unit_test(where_no_victim_does_for_both_groups_one_of_each_must_go),
        cmocka_unit_test(a_member_of_another_pair_of_groups_must_not_do_for_both),
        cmocka_unit_test(two_victims_whose_end_nobody_stands_by_must_go_one_after_the_other),
        cmocka_unit_test(two_victims_of_a_permit_that_is_declined_must_both_go),
        cmocka_unit_test(where_one_group_has_no_victim_the_other_must_lose_none),
        cmocka_unit_test(a_member_of_both_groups_must_make_room_in_both),
        cmocka_unit_test(the_least_recently_used_must_make_room_whoever_came_first),
        cmocka_unit_test(what_is_free_must_go_to_the_key_that_ranks_first),
        cmocka_unit_test(a_newcomer_must_not_take_what_is_owed_to_a_key_before_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
