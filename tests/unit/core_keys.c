/* SPDX-License-Identifier: MIT
 *
 * Tests of core/subpool.c and core/table.c: a key's queues, how it is made and dropped, its rules
 * and groups.
 */
#include "core_stage.h"

static bool same_serial(const struct kp__map_node *node, const void *ctx)
{
    return KP__OF(node, struct kp__subpool, node)->serial == *(const uint32_t *)ctx;
}

static void a_new_key_must_be_found_and_a_dropped_one_must_not(void **state)
{
    struct stage s;
    uint32_t serial = 2;

    (void)state;
    stage_open(&s);
    stage_room(&s);
    struct kp__subpool *a = kp__table_make(&s.core, 5), *b = kp__table_make(&s.core, 5);
    assert_int_equal(a->serial, 1);
    assert_int_equal(b->serial, 2);
    assert_true(a->in_use && b->in_use);
    assert_int_equal(s.core.keys_made, 2);
    assert_ptr_equal(kp__table_find(&s.core, 5, same_serial, &serial), b);
    assert_null(kp__table_find(&s.core, 6, same_serial, &serial));
    stage_check(&s);
    kp__file_sub(&s.core, b, 77);
    assert_true(kp__subpool_unused(b));
    kp__table_drop(&s.core, b);
    assert_false(b->in_use);
    assert_int_equal(s.core.key_count, 1);
    assert_int_equal(s.core.keys_forgotten, 1);
    assert_null(kp__table_find(&s.core, 5, same_serial, &serial));
    assert_int_equal(kp__due_next(&s.core), KP__NEVER);
    stage_check(&s);
    stage_close(&s);
}

static void keys_must_come_in_the_order_of_their_places(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    assert_null(kp__next_sub(&s.core, NULL));
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s), *c = stage_key(&s);
    assert_ptr_equal(kp__next_sub(&s.core, NULL), a);
    assert_ptr_equal(kp__next_sub(&s.core, a), b);
    assert_null(kp__next_sub(&s.core, c));
    for (struct kp__subpool *sub = a; sub; sub = sub == a ? b : NULL) {
        kp__table_drop(&s.core, sub);
        kp__slab_put(&s.core.subpools, sub);
    }
    assert_ptr_equal(kp__next_sub(&s.core, NULL), c);
    assert_ptr_equal(kp__next_sub(&s.core, a), c); /* it went meanwhile */
    assert_ptr_equal(stage_key(&s), b);            /* of the places, the one left last */
    assert_ptr_equal(kp__next_sub(&s.core, NULL), b);
    assert_ptr_equal(kp__next_sub(&s.core, b), c);
    stage_close(&s);
}

static void a_key_must_not_be_made_without_room_for_it(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    assert_null(kp__table_make(&s.core, 5)); /* no table, no memory */
    stage_grow(&s.core.keys);
    assert_null(kp__table_make(&s.core, 5)); /* no memory */
    assert_int_equal(s.core.key_count, 0);
    stage_room(&s);
    assert_non_null(kp__table_make(&s.core, 5));
    stage_close(&s);

    stage_open(&s);
    size_t bytes = kp__slab_wants(&s.core.subpools);
    assert_null(kp__slab_extend(&s.core.subpools, calloc(1, bytes), bytes));
    assert_null(kp__table_make(&s.core, 5)); /* memory, but no table */
    stage_close(&s);
}

static void a_key_must_be_unused_only_when_nothing_at_all_holds_it(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = stage_key(&s);
    uint32_t *holds[] = { &sub->interest, &sub->pins, &sub->waiting,
                          &kp__contest(&s.core, sub)->promised, &sub->count[KP__CREATING],
                          &sub->count[KP__IDLE], &sub->count[KP__LENT],
                          &sub->count[KP__CLOSING] };
    assert_true(kp__subpool_unused(sub));
    for (size_t i = 0; i < sizeof holds / sizeof holds[0]; i++) {
        *holds[i] = 1;
        assert_false(kp__subpool_unused(sub));
        *holds[i] = 0;
    }
    stage_close(&s);
}

static void a_queue_must_be_in_order_of_arrival_whoever_comes_back(void **state)
{
    struct stage s;
    struct kp__request r[5];

    (void)state;
    stage_open(&s);
    s.core.can_create = false;
    struct kp__subpool *sub = stage_key(&s);
    for (int i = 0; i < 5; i++) assert_int_equal(stage_ask(&s, sub, &r[i], 0), KP__GRANT_WAIT);
    assert_ptr_equal(kp__queue_first(sub, KP__EITHER), &r[0]);
    for (uint32_t i = 0; i < 5; i++) assert_int_equal(kp__queue_ahead(&r[i]), i);
    /* back in the middle, at the front and at the end */
    for (int i = 0; i < 5; i += 2) {
        kp__queue_remove(&s.core, &r[i]);
        assert_int_equal(sub->waiting, 4);
        kp__queue_insert(&s.core, &r[i]);
        stage_check(&s);
        for (uint32_t j = 0; j < 5; j++) assert_int_equal(kp__queue_ahead(&r[j]), j);
    }
    stage_close(&s);
}

static void the_last_one_must_be_first_with_wait_lifo_in_every_queue(void **state)
{
    struct stage s;
    struct kp__request r[3], taker;

    (void)state;
    stage_open(&s);
    s.core.can_create = false;
    s.rules.wait_lifo = true;
    struct kp__subpool *sub = stage_key(&s);
    for (int i = 0; i < 3; i++) stage_ask(&s, sub, &r[i], 0);
    stage_ask(&s, sub, &taker, KP_DONT_CREATE);
    assert_int_equal(taker.queue, KP__TAKERS);
    assert_ptr_equal(kp__queue_first(sub, KP__EITHER), &r[2]);
    assert_ptr_equal(kp__queue_first(sub, KP__TAKERS), &taker);
    assert_null(kp__queue_first(sub, KP__FRESH));
    for (uint32_t i = 0; i < 3; i++) {
        kp__queue_remove(&s.core, &r[i]);
        assert_int_equal(kp__queue_ahead(&r[i]), 3 - i);
        kp__queue_insert(&s.core, &r[i]);
    }
    kp__queue_remove(&s.core, &taker);
    assert_int_equal(kp__queue_ahead(&taker), 0);
    taker.waited = false; /* as if it were refused at once */
    assert_int_equal(kp__queue_ahead(&taker), 0);
    s.rules.wait_lifo = false;
    assert_int_equal(kp__queue_ahead(&taker), 3);
    stage_close(&s);
}

static void a_key_without_rules_must_queue_in_order_of_arrival(void **state)
{
    struct stage s;
    struct kp__request r[2];

    (void)state;
    stage_open(&s);
    stage_room(&s);
    struct kp__subpool *sub = kp__table_make(&s.core, 5);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(stage_ask(&s, sub, &r[i], i == 0 ? 0 : KP_FRESH), KP__GRANT_WAIT);
        assert_string_equal(kp__limit_name[r[i].limit], "limits_for");
        assert_int_equal(kp__queue_ahead(&r[i]), i);
    }
    assert_ptr_equal(kp__queue_first(sub, KP__EITHER), &r[0]);
    assert_ptr_equal(kp__queue_first(sub, KP__FRESH), &r[1]);
    /* when it gets its rules, it serves them */
    s.rules.max_live = 1;
    stage_rule(&s, sub, &s.rules, -1, -1);
    assert_int_equal(r[0].grant.kind, KP__GRANT_PERMIT);
    assert_int_equal(r[1].grant.kind, KP__GRANT_WAIT);
    assert_true(stage_woken(&s, &r[0]));
    stage_close(&s);
}

/* ---- rules ----------------------------------------------------------------------------------- */

static void rules_must_be_counted_by_the_keys_that_have_them(void **state)
{
    struct stage s;
    struct kp__group *none[KP__GROUPS_AND_PAIR] = { NULL };
    struct kp__rules other = stage_rules();

    (void)state;
    stage_open(&s);
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    assert_int_equal(s.rules.refs, 3); /* the pool's own is one */
    other.refs = 0;
    kp__table_rule(&s.core, a, &other, none);
    assert_int_equal(other.refs, 1);
    assert_int_equal(s.rules.refs, 2);
    kp__table_rule(&s.core, b, &other, none);
    assert_int_equal(s.rules.refs, 1);
    assert_ptr_equal(b->rules, &other);
    assert_int_equal(other.refs, 2);
    stage_close(&s);
}

static void the_pool_must_need_a_clock_once_a_rule_does(void **state)
{
    const struct {
        bool clocked;
        int64_t min_live;
        uint64_t forget;
        bool needs;
    } cases[] = {
        { false, 0, KP__NEVER, false }, { true, 0, KP__NEVER, true }, { false, 1, 50, true },
        { false, 0, 50, false },        { false, 1, KP__NEVER, false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct stage s;
        stage_open(&s);
        s.rules.clocked = cases[i].clocked;
        s.rules.min_live = cases[i].min_live;
        s.core.forget_after = cases[i].forget;
        stage_key(&s);
        assert_int_equal(s.core.clocked, cases[i].needs);
        stage_close(&s);
    }
}

static void what_the_keys_are_to_keep_must_be_added_up_over_those_there_are(void **state)
{
    struct stage s;
    struct kp__rules other = stage_rules();

    (void)state;
    stage_open(&s);
    s.rules.min_live = 3;
    s.rules.floor = 2;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    assert_int_equal(s.core.minima, 6);
    assert_int_equal(s.core.floors, 4);
    other.min_live = 10;
    stage_rule(&s, a, &other, -1, -1);
    assert_int_equal(s.core.minima, 13);
    assert_int_equal(s.core.floors, 2);
    kp__table_drop(&s.core, a);
    assert_int_equal(s.core.minima, 3);
    assert_int_equal(s.core.floors, 2);
    kp__table_drop(&s.core, b);
    assert_int_equal(s.core.minima, 0);
    assert_int_equal(s.core.floors, 0);
    stage_close(&s);
}

static void new_rules_must_take_a_key_out_of_the_heap_of_what_it_lacked(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.core.lent.cap = 1;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    stage_lend(&s, a);
    assert_int_equal(stage_ask(&s, b, &r, 0), KP__GRANT_WAIT);
    assert_ptr_equal(b->contest->lacks, &s.core.lent);
    struct kp__rules none_lent = stage_rules();
    none_lent.max_lent = 0;
    stage_rule(&s, b, &none_lent, -1, -1);
    assert_null(b->contest->lacks); /* its own limit is what it lacks now */
    assert_string_equal(kp__limit_name[r.limit], "max_lent");
    stage_close(&s);
}

static void new_rules_must_say_again_whether_a_key_has_one_to_spare(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.core.live.cap = 4;
    struct kp__subpool *sub = stage_key(&s);
    stage_idle(&s, sub);
    struct kp__rules keeps = stage_rules();
    keeps.min_live = 1;
    stage_rule(&s, sub, &keeps, -1, -1); /* stage_check compares */
    assert_int_equal(s.core.live.evictable.count, 0);
    stage_rule(&s, sub, &s.rules, -1, -1);
    assert_int_equal(s.core.live.evictable.count, 1);
    stage_close(&s);
}

/* ---- groups ---------------------------------------------------------------------------------- */

static void groups_must_be_found_by_kind_and_number(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    stage_group(&s, 0, 0, 3);
    stage_group(&s, 1, 1, 9);
    kp__group_enter(&s.core, &s.groups[2], 1, 100); /* the number of group 0, of the other kind */
    assert_ptr_equal(kp__group_find(&s.core, 0, 100), &s.groups[0]);
    assert_ptr_equal(kp__group_find(&s.core, 1, 100), &s.groups[2]);
    assert_ptr_equal(kp__group_find(&s.core, 1, 101), &s.groups[1]);
    assert_null(kp__group_find(&s.core, 0, 101));
    assert_null(kp__group_find(&s.core, 0, 7));
    assert_int_equal(s.groups[0].budget.cap, 3);
    assert_int_equal(s.groups[1].budget.cap, 9);
    assert_int_equal(s.groups[0].budget.place, KP__GROUP_0);
    assert_int_equal(s.groups[1].budget.place, KP__GROUP_1);
    assert_int_equal(s.groups[0].budget.limit, KP__BY_GROUP);
    stage_close(&s);
}

static void groups_with_one_hash_must_be_told_apart_by_both_kind_and_number(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    stage_room(&s);
    kp__group_enter(&s.core, &s.groups[0], 0, 7919);
    kp__group_enter(&s.core, &s.groups[1], 1, 0);   /* kind * 7919 + number: the same hash */
    assert_int_equal(s.core.groups.hash(&s.groups[0].node), s.core.groups.hash(&s.groups[1].node));
    assert_ptr_equal(kp__group_find(&s.core, 0, 7919), &s.groups[0]);
    assert_ptr_equal(kp__group_find(&s.core, 1, 0), &s.groups[1]);
    stage_close(&s);

    /* where the hash does not tell them apart, the kind alone or the number alone must not do */
    stage_open(&s);
    stage_room(&s);
    kp__group_enter(&s.core, &s.groups[0], 0, 7919);
    s.groups[0].id = 0; /* kind differs from (1, 0), number does not */
    assert_null(kp__group_find(&s.core, 1, 0));
    s.groups[0].id = 1;
    s.groups[0].budget.place = KP__GROUP_1; /* number differs, kind does not */
    assert_null(kp__group_find(&s.core, 1, 0));
    stage_close(&s);
}

static void a_key_must_take_what_it_has_from_group_to_group(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    stage_group(&s, 0, 0, 8);
    stage_group(&s, 1, 0, 8);
    stage_group(&s, 2, 1, 8);
    struct kp__subpool *sub = stage_key(&s);
    stage_rule(&s, sub, &s.rules, 0, 2);
    stage_idle(&s, sub);
    stage_idle(&s, sub);
    stage_lend(&s, sub);
    assert_int_equal(s.groups[0].budget.used, 2);
    assert_int_equal(s.groups[2].budget.used, 2);
    assert_int_equal(s.groups[0].budget.evictable.count, 1);
    stage_rule(&s, sub, &s.rules, 1, 2);
    assert_int_equal(s.groups[0].budget.used, 0);
    assert_int_equal(s.groups[0].budget.evictable.count, 0);
    assert_int_equal(s.groups[1].budget.used, 2);
    assert_int_equal(s.groups[1].budget.evictable.count, 1);
    assert_int_equal(s.groups[2].budget.used, 2);
    stage_rule(&s, sub, &s.rules, -1, -1);
    assert_int_equal(s.groups[1].budget.used, 0);
    assert_int_equal(s.groups[2].budget.used, 0);
    stage_close(&s);
}

/* What a key has had of one group is nothing to the other. */
static void a_key_that_changes_its_group_must_begin_there_as_one_who_never_competed(void **state)
{
    (void)state;
    for (int which = 0; which < 2; which++) {
        struct stage s;
        struct kp__request r[2];
        struct kp__rules rules = stage_rules();
        stage_open(&s);
        for (int i = 0; i < 2; i++) stage_group(&s, i, which, 0);
        s.groups[0].budget.virtual_time = 90 * KP__SHARE_ONE;
        struct kp__subpool *sub = stage_key(&s), *there = stage_key(&s);
        stage_rule(&s, sub, &rules, which ? -1 : 0, which ? 0 : -1);
        stage_rule(&s, there, &rules, which ? -1 : 1, which ? 1 : -1);
        assert_int_equal(stage_ask(&s, sub, &r[0], 0), KP__GRANT_WAIT);
        assert_int_equal(stage_ask(&s, there, &r[1], 0), KP__GRANT_WAIT);
        assert_int_equal(sub->contest->rank.score, 91 * KP__SHARE_ONE);
        stage_rule(&s, sub, &rules, which ? -1 : 1, which ? 1 : -1);
        assert_ptr_equal(sub->contest->lacks, &s.groups[1].budget);
        assert_int_equal(sub->contest->rank.score, there->contest->rank.score);
        assert_ptr_equal(kp__starved_first(&s.core, &s.groups[1].budget), sub);
        stage_close(&s);
    }
}

static void other_rules_in_the_same_group_must_not_be_a_new_beginning(void **state)
{
    struct stage s;
    struct kp__request r[2];

    (void)state;
    stage_open(&s);
    stage_group(&s, 0, 0, 0);
    s.groups[0].budget.virtual_time = 90 * KP__SHARE_ONE;
    struct kp__subpool *sub = stage_key(&s), *other = stage_key(&s);
    stage_rule(&s, sub, &s.rules, 0, -1);
    stage_rule(&s, other, &s.rules, 0, -1);
    assert_int_equal(stage_ask(&s, sub, &r[0], 0), KP__GRANT_WAIT);
    assert_int_equal(stage_ask(&s, other, &r[1], 0), KP__GRANT_WAIT);
    assert_int_equal(sub->contest->rank.score, 91 * KP__SHARE_ONE);
    s.groups[0].budget.virtual_time = 95 * KP__SHARE_ONE;
    stage_rule(&s, sub, &s.rules, 0, -1); /* out of the heap and back: the credit is two permits */
    assert_int_equal(sub->contest->rank.score, 94 * KP__SHARE_ONE);
    stage_close(&s);
}

static void groups_must_change_nothing_of_what_a_key_has_had_of_the_lent_permits(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    for (int i = 0; i < 2; i++) stage_group(&s, i, i, 8);
    s.core.lent.cap = 0;
    s.core.lent.virtual_time = 90 * KP__SHARE_ONE;
    struct kp__subpool *sub = stage_key(&s), *other = stage_key(&s);
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_WAIT);
    kp__note_lack(&s.core, other, &s.core.lent); /* so that the bout goes on */
    assert_int_equal(sub->contest->rank.score, 91 * KP__SHARE_ONE);
    s.core.lent.virtual_time = 95 * KP__SHARE_ONE;
    stage_rule(&s, sub, &s.rules, 0, 1); /* out of the heap and back: the credit is two permits */
    assert_int_equal(sub->contest->rank.score, 94 * KP__SHARE_ONE);
    stage_close(&s);
}

static void what_a_key_had_must_count_by_the_weight_that_it_had_then(void **state)
{
    struct stage s;
    struct kp__request r;
    struct kp__rules heavy = stage_rules();

    (void)state;
    stage_open(&s);
    heavy.weight = 4;
    struct kp__subpool *sub = stage_key(&s), *poor = stage_key(&s);
    stage_lend(&s, sub);
    s.core.usual[KP__LEASED].hold = 100;
    s.now += 100;
    s.core.latest = s.now;
    stage_rule(&s, sub, &s.rules, -1, -1);
    assert_int_equal(sub->contest->share.had[KP__LEASED], 0); /* nothing: no key is starved */
    s.core.lent.cap = 1;
    assert_int_equal(stage_ask(&s, poor, &r, 0), KP__GRANT_WAIT);
    s.now += 100;
    s.core.latest = s.now;
    stage_rule(&s, sub, &heavy, -1, -1);
    assert_int_equal(sub->contest->share.had[KP__LEASED], KP__SHARE_ONE / KP__SHARE_TAU);
    s.now += 100;
    s.core.latest = s.now;
    kp__account(&s.core, sub);
    assert_int_equal(sub->contest->share.had[KP__LEASED], 5 * (KP__SHARE_ONE / KP__SHARE_TAU / 4));
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_key_must_be_found_and_a_dropped_one_must_not),
        cmocka_unit_test(keys_must_come_in_the_order_of_their_places),
        cmocka_unit_test(a_key_must_not_be_made_without_room_for_it),
        cmocka_unit_test(a_key_must_be_unused_only_when_nothing_at_all_holds_it),
        cmocka_unit_test(a_queue_must_be_in_order_of_arrival_whoever_comes_back),
        cmocka_unit_test(the_last_one_must_be_first_with_wait_lifo_in_every_queue),
        cmocka_unit_test(a_key_without_rules_must_queue_in_order_of_arrival),
        cmocka_unit_test(rules_must_be_counted_by_the_keys_that_have_them),
        cmocka_unit_test(the_pool_must_need_a_clock_once_a_rule_does),
        cmocka_unit_test(what_the_keys_are_to_keep_must_be_added_up_over_those_there_are),
        cmocka_unit_test(new_rules_must_take_a_key_out_of_the_heap_of_what_it_lacked),
        cmocka_unit_test(new_rules_must_say_again_whether_a_key_has_one_to_spare),
        cmocka_unit_test(groups_must_be_found_by_kind_and_number),
        cmocka_unit_test(groups_with_one_hash_must_be_told_apart_by_both_kind_and_number),
        cmocka_unit_test(a_key_must_take_what_it_has_from_group_to_group),
        cmocka_unit_test(a_key_that_changes_its_group_must_begin_there_as_one_who_never_competed),
        cmocka_unit_test(other_rules_in_the_same_group_must_not_be_a_new_beginning),
        cmocka_unit_test(groups_must_change_nothing_of_what_a_key_has_had_of_the_lent_permits),
        cmocka_unit_test(what_a_key_had_must_count_by_the_weight_that_it_had_then),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
