/* SPDX-License-Identifier: MIT
 *
 * Tests of core/renew.c: when the keeper looks at a resource whose age ends, and whether it is
 * still needed then.
 */
#include "core_ages.h"

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

/* The get that takes it finds out; the keeper leaves it where it is. */
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
    kp__close_idle(&s->core, kept, KP_CAUSE_AGE, &s->todo);
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
        assert_int_equal(slot->due.at, s->now + 500 - AHEAD);
        s->now += 500 - AHEAD;
        assert_false(look(s, slot));
        assert_true(slot->ageing);
        assert_int_equal(slot->due.at, slot->age_end);
        s->now += AHEAD;
        assert_true(look(s, slot));
        assert_int_equal(slot->cause, KP_CAUSE_ROTATED);
        assert_int_equal(stage_destroy(s), 1);
        s->rules.age_check = KP_CHECK_KEEPER;
    }
}

/* And after its test, which may be sooner or later. */
static void what_is_being_tested_must_be_looked_at_in_time(struct stage *s)
{
    for (int ahead = 0; ahead < 2; ahead++) {
        s->rules.age_check = 0;
        s->rules.renew_ahead = ahead ? AHEAD : 0;
        struct kp__subpool *sub = stage_key(s);
        struct kp__slot *slot = used(s, sub);
        kp__retire(&s->core, slot, s->now + 500, s->now);
        uint64_t at = slot->due.at;
        kp__test_begin(&s->core, slot, s->now, s->now + 1000);
        assert_int_equal(slot->due.at, at);
        s->now += 10;
        kp__tested(&s->core, slot, true, s->now, &s->todo);
        stage_check(s);
        assert_int_equal(slot->due.at, at);
    }
}

static void limits_set_while_it_is_tested_must_hold_after_the_test(struct stage *s)
{
    struct kp__subpool *sub = ageing_key(s);
    struct kp__slot *slot = used(s, sub);
    struct kp__rules sooner = s->rules;

    kp__test_begin(&s->core, slot, s->now, KP__NEVER);
    sooner.renew_ahead = 2 * AHEAD;
    stage_rule(s, sub, &sooner, -1, -1);
    kp__tested(&s->core, slot, true, s->now, &s->todo);
    stage_check(s);
    assert_int_equal(slot->due.at, slot->age_end - 2 * AHEAD);
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
    assert_int_equal(slot->cause, KP_CAUSE_ROTATED);
}

/* ---- what is needed -------------------------------------------------------------------------- */

/* Made, and looked at before its end: is it replaced? `lends`: it was used. */
static bool is_replaced(struct stage *s, bool lends)
{
    struct kp__subpool *sub = ageing_key(s);
    struct kp__slot *slot = lends ? used(s, sub) : stage_idle(s, sub);

    s->now += AGE - AHEAD;
    bool closed = look(s, slot);
    assert_int_equal(slot->ageing, !closed);
    if (closed) assert_int_equal(slot->cause, KP_CAUSE_AGE);
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
    s->rules.idle_check = 0; /* no check of the idle time */
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

    assert_true(kp__doom(&s->core, slot, KP_CAUSE_INVALIDATED, &s->todo));
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
        STAGE_TEST(what_is_being_tested_must_be_looked_at_in_time),
        STAGE_TEST(limits_set_while_it_is_tested_must_hold_after_the_test),
        STAGE_TEST(a_borrower_of_what_is_old_must_have_it_until_he_gives_it_back),
        STAGE_TEST(what_nobody_used_must_go_instead),
        STAGE_TEST(what_would_go_unused_before_its_end_must_go_instead),
        STAGE_TEST(no_fewer_must_be_left_than_are_kept_ready),
        STAGE_TEST(what_is_lent_must_be_needed),
        STAGE_TEST(what_is_marked_must_not_be_replaced),
        STAGE_TEST(all_must_be_looked_at_from_the_least_recently_used_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
