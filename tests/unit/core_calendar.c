/* SPDX-License-Identifier: MIT
 *
 * Tests of core/calendar.c: when a resource expires, and by which check; when the keeper looks
 * again; leaks; and when a key may be forgotten.
 */
#include "core_stage.h"

#define S UINT64_C(1000000000)
enum { ALL = KP_CHECK_GET | KP_CHECK_RETURN | KP_CHECK_KEEPER };

static void never_must_stay_never_when_times_are_added(void **state)
{
    (void)state;
    assert_int_equal(kp__later(3, 4), 7);
    assert_int_equal(kp__later(3, KP__NEVER), KP__NEVER);
    assert_int_equal(kp__later(KP__NEVER, 0), KP__NEVER);
    assert_int_equal(kp__later(10, KP__NEVER - 10), KP__NEVER);
    assert_int_equal(kp__later(10, KP__NEVER - 11), KP__NEVER - 1);
    assert_int_equal(kp__later(10, KP__NEVER - 9), KP__NEVER);
}

/* ---- the calendar ---------------------------------------------------------------------------- */

static void what_is_due_must_come_out_in_time_and_order(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s), *c = stage_key(&s);
    assert_int_equal(kp__due_next(&s.core), KP__NEVER);
    assert_null(stage_due(&s, KP__NEVER));
    kp__file_sub(&s.core, a, 30);
    kp__file_sub(&s.core, b, 10);
    kp__file_sub(&s.core, c, KP__NEVER); /* not filed */
    assert_int_equal(kp__due_next(&s.core), 10);
    kp__file_sub(&s.core, b, 20); /* a later look does not replace an earlier one */
    assert_int_equal(kp__due_next(&s.core), 10);
    kp__file_sub(&s.core, a, 5); /* an earlier one does */
    assert_int_equal(kp__due_next(&s.core), 5);
    assert_null(stage_due(&s, 4));
    assert_ptr_equal(KP__OF(stage_due(&s, 5), struct kp__key_due, due)->sub, a);
    assert_int_equal(stage_due_at(&s, a), 0);
    assert_null(stage_due(&s, 5));
    kp__unfile_sub(&s.core, a); /* harmless */
    kp__unfile_sub(&s.core, b);
    assert_int_equal(kp__due_next(&s.core), KP__NEVER);
    kp__file_sub(&s.core, c, 0); /* of a clock that begins there */
    assert_int_equal(kp__due_next(&s.core), 1);
    assert_ptr_equal(KP__OF(stage_due(&s, 1), struct kp__key_due, due)->sub, c);
    stage_close(&s);
}

/* ---- expiry ---------------------------------------------------------------------------------- */

/* One idle since 1000 in a key with the stage's rules and `live` in all. */
static struct kp__slot *aged(struct stage *s, int live)
{
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = stage_idle(s, sub);

    for (int i = 1; i < live; i++) stage_idle(s, sub);
    return slot;
}

static void each_kind_of_age_must_count_on_its_checks_only(void **state)
{
    struct stage s;

    (void)state;
    for (uint32_t check = 1; check <= KP_CHECK_KEEPER; check <<= 1) {
        if (!(ALL & check)) continue;
        stage_open(&s);
        s.rules.idle_ttl = 10;
        s.rules.idle_check = check;
        struct kp__slot *slot = aged(&s, 1);
        assert_int_equal(kp__expires_at(slot, check), 1010);
        assert_int_equal(kp__expires_at(slot, ALL & ~check), KP__NEVER);
        s.rules.idle_check = 0;
        s.rules.excess_ttl = 20;
        s.rules.excess_check = check;
        assert_int_equal(kp__expires_at(slot, check), 1020);
        assert_int_equal(kp__expires_at(slot, ALL & ~check), KP__NEVER);
        s.rules.excess_check = 0;
        slot->age_end = 1030;
        s.rules.age_check = check;
        assert_int_equal(kp__expires_at(slot, check), 1030);
        assert_int_equal(kp__expires_at(slot, ALL & ~check), KP__NEVER);
        stage_close(&s);
    }
}

static void the_soonest_of_the_ages_must_count(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.rules.idle_check = s.rules.excess_check = s.rules.age_check = ALL;
    s.rules.idle_ttl = 10;
    s.rules.excess_ttl = 20;
    struct kp__slot *slot = aged(&s, 1);
    slot->age_end = 1005;
    assert_int_equal(kp__expires_at(slot, KP_CHECK_GET), 1005);
    slot->age_end = 1015;
    assert_int_equal(kp__expires_at(slot, KP_CHECK_GET), 1010);
    s.rules.idle_ttl = 30;
    assert_int_equal(kp__expires_at(slot, KP_CHECK_GET), 1015);
    s.rules.excess_ttl = 12;
    assert_int_equal(kp__expires_at(slot, KP_CHECK_GET), 1012);
    stage_close(&s);
}

static void only_kinds_that_respect_the_minimum_must_stop_at_it(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.rules.idle_check = s.rules.excess_check = s.rules.age_check = ALL;
    s.rules.idle_ttl = 10;
    s.rules.excess_ttl = 20;
    s.rules.min_live = 2;
    s.rules.respects_min = KP_KIND_IDLE;
    struct kp__slot *slot = aged(&s, 2);
    slot->age_end = 1030;
    assert_int_equal(kp__expires_at(slot, KP_CHECK_GET), 1020);
    s.rules.respects_min = KP_KIND_IDLE | KP_KIND_EXCESS;
    assert_int_equal(kp__expires_at(slot, KP_CHECK_GET), 1030);
    s.rules.respects_min = KP_KIND_IDLE | KP_KIND_EXCESS | KP_KIND_AGE;
    assert_int_equal(kp__expires_at(slot, KP_CHECK_GET), KP__NEVER);
    s.rules.respects_min = KP_KIND_EXCESS | KP_KIND_AGE;
    assert_int_equal(kp__expires_at(slot, KP_CHECK_GET), 1010);
    /* above the minimum nothing is stopped; one that closes does not count */
    s.rules.respects_min = KP_KIND_IDLE | KP_KIND_EXCESS | KP_KIND_AGE;
    struct kp__slot *third = stage_idle(&s, slot->sub);
    assert_int_equal(kp__expires_at(slot, KP_CHECK_GET), 1010);
    kp__close_idle(&s.core, third, KP_CAUSE_SURPLUS, &s.todo);
    assert_int_equal(kp__expires_at(slot, KP_CHECK_GET), KP__NEVER);
    stage_close(&s);
}

static void the_excess_must_begin_above_its_number(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.rules.excess_check = ALL;
    s.rules.excess_ttl = 20;
    s.rules.excess_over = 2;
    struct kp__slot *slot = aged(&s, 2);
    assert_int_equal(kp__expires_at(slot, KP_CHECK_GET), KP__NEVER);
    stage_idle(&s, slot->sub);
    assert_int_equal(kp__expires_at(slot, KP_CHECK_GET), 1020);
    stage_close(&s);
}

/* ---- the keeper's looks ---------------------------------------------------------------------- */

static void an_idle_one_must_be_filed_for_the_soonest_that_the_keeper_checks(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.rules.idle_check = KP_CHECK_GET; /* not the keeper's business */
    s.rules.idle_ttl = 1;
    s.rules.excess_check = s.rules.age_check = KP_CHECK_KEEPER;
    s.rules.excess_ttl = 40;
    s.rules.max_age = 30;
    struct kp__slot *slot = aged(&s, 1);
    assert_int_equal(slot->due.at, 1030);
    stage_close(&s);

    stage_open(&s);
    s.rules.idle_check = s.rules.excess_check = KP_CHECK_KEEPER;
    s.rules.age_check = KP_CHECK_GET;
    s.rules.idle_ttl = 50;
    s.rules.excess_ttl = 40;
    s.rules.max_age = 1;
    slot = aged(&s, 1);
    assert_int_equal(slot->due.at, 1040);
    s.rules.idle_ttl = 20;
    assert_int_equal(aged(&s, 1)->due.at, 1020);
    s.rules.idle_ttl = 0; /* no longer than it is there */
    assert_int_equal(aged(&s, 1)->due.at, 1000);
    s.rules.excess_check = s.rules.idle_check = 0;
    assert_false(kp__timer_is_filed(&aged(&s, 1)->due));
    stage_close(&s);
}

static void what_the_minimum_stopped_must_be_looked_at_again_one_ttl_later(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.rules.idle_check = KP_CHECK_KEEPER;
    s.rules.idle_ttl = 10 * S;
    s.rules.min_live = 1;
    s.rules.respects_min = KP_KIND_IDLE;
    struct kp__slot *slot = aged(&s, 1);
    uint64_t t = slot->since;
    assert_ptr_equal(stage_due(&s, t + 10 * S), &slot->due);
    assert_null(kp__look_at_slot(&s.core, slot, t + 10 * S, &s.todo));
    assert_true(slot->state == KP__IDLE && slot->due.at == t + 20 * S);
    stage_due(&s, t + 20 * S);
    /* one that came early is filed for its time */
    slot->since = t + 15 * S;
    kp__look_at_slot(&s.core, slot, t + 20 * S, &s.todo);
    assert_int_equal(slot->due.at, t + 25 * S);
    /* a ttl of little or nothing is no reason to look without end */
    for (uint64_t ttl = 0; ttl < 2; ttl++) {
        stage_due(&s, t + 30 * S);
        s.rules.idle_ttl = ttl;
        kp__look_at_slot(&s.core, slot, t + 30 * S, &s.todo);
        assert_int_equal(slot->due.at, t + 31 * S);
    }
    stage_close(&s);

    stage_open(&s);
    s.rules.age_check = s.rules.excess_check = KP_CHECK_KEEPER;
    s.rules.max_age = 10 * S, s.rules.excess_ttl = 7 * S;
    s.rules.min_live = 1;
    s.rules.respects_min = KP_KIND_AGE | KP_KIND_EXCESS;
    slot = aged(&s, 1);
    t = slot->since;
    stage_due(&s, t + 10 * S);
    kp__look_at_slot(&s.core, slot, t + 10 * S, &s.todo);
    assert_int_equal(slot->due.at, t + 17 * S);
    s.rules.excess_check = 0;
    stage_due(&s, t + 17 * S);
    kp__look_at_slot(&s.core, slot, t + 17 * S, &s.todo);
    assert_int_equal(slot->due.at, t + 27 * S);
    stage_close(&s);
}

static void one_without_a_return_must_be_filed_from_the_beginning(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.now = 0; /* no clock */
    s.rules.idle_check = KP_CHECK_KEEPER;
    s.rules.idle_ttl = 10;
    assert_int_equal(aged(&s, 1)->due.at, 10);
    stage_close(&s);
}

/* It was lent for longer than it may live, and only upkeep is to end it: at once, or, where the
 * minimum keeps it, not before its age has passed once more. */
static void one_that_comes_back_past_its_age_must_be_looked_at_at_once(void **state)
{
    (void)state;
    for (int min = 0; min < 2; min++) {
        struct stage s;
        stage_open(&s);
        s.rules.age_check = KP_CHECK_KEEPER;
        s.rules.max_age = 10 * S;
        s.rules.min_live = min;
        s.rules.respects_min = KP_KIND_AGE;
        struct kp__slot *slot = stage_lend(&s, stage_key(&s));
        s.now = 25 * S;
        stage_give(&s, slot, 0, true);
        assert_int_equal(slot->state, KP__IDLE);
        assert_int_equal(slot->due.at, min ? 35 * S : 25 * S);
        stage_due(&s, 35 * S);
        kp__look_at_slot(&s.core, slot, s.now, &s.todo);
        assert_int_equal(slot->state, min ? KP__IDLE : KP__CLOSING);
        stage_close(&s);
    }
    struct stage s;
    stage_open(&s);
    s.rules.excess_check = KP_CHECK_KEEPER;
    s.rules.excess_ttl = 0; /* what is too many may not stay at all */
    struct kp__slot *slot = stage_lend(&s, stage_key(&s));
    s.now = 1025;
    stage_give(&s, slot, 0, true);
    assert_int_equal(slot->due.at, 1025);
    stage_close(&s);
}

static void an_expired_one_must_be_closed_by_the_look_and_not_before(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.rules.idle_check = KP_CHECK_KEEPER;
    s.rules.idle_ttl = 10;
    struct kp__slot *slot = aged(&s, 1);
    stage_due(&s, 1010);
    assert_null(kp__look_at_slot(&s.core, slot, 1009, &s.todo));
    assert_int_equal(slot->state, KP__IDLE);
    stage_due(&s, 1010);
    assert_null(kp__look_at_slot(&s.core, slot, 1010, &s.todo));
    assert_int_equal(slot->state, KP__CLOSING);
    assert_int_equal(slot->cause, KP_CAUSE_IDLE);
    assert_false(kp__timer_is_filed(&slot->due));
    assert_int_equal(stage_destroy(&s), 1);
    assert_int_equal(s.core.seldom.expired, 1);
    stage_close(&s);
}

/* ---- leaks ----------------------------------------------------------------------------------- */

static void a_leak_must_be_told_once_for_each_seat_and_in_time(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.core.leak_after = 50;
    s.rules.sharing = 2;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slot = stage_lend(&s, sub);
    assert_int_equal(slot->due.at, 1050);
    s.now = 1020;
    stage_ask(&s, sub, &r, 0);
    assert_int_equal(slot->due.at, 1050);
    stage_due(&s, 1050);
    assert_null(kp__look_at_slot(&s.core, slot, 1049, &s.todo));
    assert_int_equal(slot->due.at, 1050);
    stage_due(&s, 1050);
    assert_ptr_equal(kp__look_at_slot(&s.core, slot, 1050, &s.todo), kp__seat_at(slot, 0));
    assert_true(kp__seat_at(slot, 0)->warned);
    assert_int_equal(sub->rare->seldom.leaks, 1);
    assert_int_equal(s.core.seldom.leaks, 1);
    assert_int_equal(slot->due.at, 1070); /* the other seat's */
    stage_due(&s, 1070);
    assert_ptr_equal(kp__look_at_slot(&s.core, slot, 1070, &s.todo), kp__seat_at(slot, 1));
    assert_false(kp__timer_is_filed(&slot->due));
    assert_null(kp__look_at_slot(&s.core, slot, 2000, &s.todo));
    assert_int_equal(s.core.seldom.leaks, 2);
    stage_close(&s);
}

static void a_lease_without_a_beginning_must_not_leak(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.core.leak_after = 50;
    s.now = 0;
    struct kp__slot *slot = stage_lend(&s, stage_key(&s));
    assert_false(kp__timer_is_filed(&slot->due));
    assert_null(kp__look_at_slot(&s.core, slot, 5000, &s.todo));
    stage_close(&s);
}

static void only_a_seat_that_is_lent_must_leak(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.core.leak_after = 50;
    s.rules.sharing = 2;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slot = stage_lend(&s, sub);
    s.now = 1020;
    stage_ask(&s, sub, &r, 0);
    stage_give(&s, slot, 0, true);
    stage_due(&s, 1050);
    assert_null(kp__look_at_slot(&s.core, slot, 1060, &s.todo));
    assert_int_equal(slot->due.at, 1070);
    stage_close(&s);
}

static void one_that_is_neither_idle_nor_lent_must_not_be_looked_at(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.core.leak_after = 50;
    s.rules.idle_check = KP_CHECK_KEEPER;
    s.rules.idle_ttl = 10;
    struct kp__subpool *sub = stage_key(&s);
    kp__permit_take(&s.core, sub);
    struct kp__slot *slot = stage_spend(&s, sub);
    /* as if: the state must count */
    *kp__seat_at(slot, 0) = (struct kp__seat){ .lent = true, .since = 1 };
    kp__file_slot(&s.core, slot);
    assert_false(kp__timer_is_filed(&slot->due));
    assert_null(kp__look_at_slot(&s.core, slot, 5000, &s.todo));
    assert_int_equal(slot->state, KP__CREATING);
    stage_close(&s);
}

/* ---- forgetting ------------------------------------------------------------------------------ */

static void a_key_must_be_forgotten_when_unused_for_long_enough(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.core.forget_after = 100;
    struct kp__subpool *sub = stage_key(&s);
    sub->used_at = 1000;
    assert_false(kp__may_forget(&s.core, sub, 1099));
    assert_int_equal(stage_due_at(&s, sub), 1100);
    assert_true(kp__may_forget(&s.core, sub, 1100));
    kp__unfile_sub(&s.core, sub);
    s.core.forget_after = KP__NEVER;
    assert_false(kp__may_forget(&s.core, sub, KP__NEVER - 1));
    assert_int_equal(stage_due_at(&s, sub), 0);
    stage_close(&s);
}

static void a_key_must_be_forgotten_with_its_minimum_but_not_with_more(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.core.forget_after = 100;
    s.rules.min_live = 1;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slot = stage_idle(&s, sub);
    assert_true(kp__may_forget(&s.core, sub, 5000));
    s.now = 5000;
    assert_ptr_equal(stage_lend(&s, sub), slot);
    assert_false(kp__may_forget(&s.core, sub, 9000)); /* lent */
    assert_int_equal(stage_due_at(&s, sub), 0);
    stage_give(&s, slot, 0, true);
    assert_true(kp__may_forget(&s.core, sub, 9000));
    stage_idle(&s, sub);
    assert_false(kp__may_forget(&s.core, sub, 9000)); /* two */
    stage_close(&s);
}

static void anything_that_holds_a_key_must_keep_it_from_being_forgotten(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.core.forget_after = 100;
    struct kp__subpool *sub = stage_key(&s);
    uint32_t *holds[] = { &sub->interest, &sub->pins, &sub->waiting,
                          &kp__contest(&s.core, sub)->promised };
    for (size_t i = 0; i < sizeof holds / sizeof holds[0]; i++) {
        *holds[i] = 1;
        assert_false(kp__may_forget(&s.core, sub, 5000));
        *holds[i] = 0;
        assert_true(kp__may_forget(&s.core, sub, 5000));
    }
    sub->rules = NULL; /* limits_for is being asked */
    assert_false(kp__may_forget(&s.core, sub, 5000));
    stage_close(&s);
}

static void a_key_must_not_be_filed_to_be_forgotten_when_its_pool_goes(void **state)
{
    (void)state;
    for (int phase = KP__OPEN; phase <= KP__CLOSED; phase++) {
        struct stage s;
        stage_open(&s);
        struct kp__subpool *sub = stage_key(&s);
        s.core.forget_after = 50;
        s.core.phase = (enum kp__phase)phase;
        kp__file_forget(&s.core, sub);
        assert_int_equal(stage_due_at(&s, sub) != 0, phase == KP__OPEN);
        stage_close(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(never_must_stay_never_when_times_are_added),
        cmocka_unit_test(what_is_due_must_come_out_in_time_and_order),
        cmocka_unit_test(each_kind_of_age_must_count_on_its_checks_only),
        cmocka_unit_test(the_soonest_of_the_ages_must_count),
        cmocka_unit_test(only_kinds_that_respect_the_minimum_must_stop_at_it),
        cmocka_unit_test(the_excess_must_begin_above_its_number),
        cmocka_unit_test(an_idle_one_must_be_filed_for_the_soonest_that_the_keeper_checks),
        cmocka_unit_test(what_the_minimum_stopped_must_be_looked_at_again_one_ttl_later),
        cmocka_unit_test(one_without_a_return_must_be_filed_from_the_beginning),
        cmocka_unit_test(one_that_comes_back_past_its_age_must_be_looked_at_at_once),
        cmocka_unit_test(an_expired_one_must_be_closed_by_the_look_and_not_before),
        cmocka_unit_test(a_leak_must_be_told_once_for_each_seat_and_in_time),
        cmocka_unit_test(a_lease_without_a_beginning_must_not_leak),
        cmocka_unit_test(only_a_seat_that_is_lent_must_leak),
        cmocka_unit_test(one_that_is_neither_idle_nor_lent_must_not_be_looked_at),
        cmocka_unit_test(a_key_must_be_forgotten_when_unused_for_long_enough),
        cmocka_unit_test(a_key_must_be_forgotten_with_its_minimum_but_not_with_more),
        cmocka_unit_test(anything_that_holds_a_key_must_keep_it_from_being_forgotten),
        cmocka_unit_test(a_key_must_not_be_filed_to_be_forgotten_when_its_pool_goes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
