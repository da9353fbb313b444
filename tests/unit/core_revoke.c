/* SPDX-License-Identifier: MIT
 *
 * Tests of src/core/revoke.c: what may be revoked, and when; and the books after a revoke, after
 * one that failed, and when the lease ends meanwhile. core_revoke_shared.c has shared resources.
 */
#include "core_revokes.h"
#include "core/renew.h"

/* ---- may it be? ------------------------------------------------------------------------------ */

static void only_what_its_borrower_holds_may_be_revoked(struct stage *s)
{
    s->rules.sharing = 2;
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *idle = stage_idle(s, sub), *slot = held(s, sub);
    struct kp__seat *seat = kp__seat_at(slot, 0);
    struct kp__job *job = (struct kp__job *)(void *)s;

    assert_ptr_equal(idle, slot); /* it was taken */
    assert_true(kp__may_revoke(slot));
    seat->ending = true;
    assert_false(kp__may_revoke(slot));
    seat->ending = false;
    static const enum kp__hold no[] = { KP__GRANTED, KP__REVOKING, KP__REVOKE_TRIED };
    for (int i = 0; i < 3; i++) {
        seat->hold = (uint8_t)no[i];
        assert_false(kp__may_revoke(slot));
    }
    seat->hold = KP__HELD;
    kp__errand_of(slot)->job = job;
    assert_false(kp__may_revoke(slot));
    kp__errand_of(slot)->job = NULL;
    stage_give(s, slot, 0, true);
    assert_false(kp__may_revoke(slot));
}

static void it_must_be_due_by_its_age_and_its_own_alone(struct stage *s)
{
    s->rules.revoke_after = 50;
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = held(s, sub);

    assert_int_equal(slot->due.at, 1050);
    assert_false(kp__revoke_is_due(&s->core, slot, 1049));
    assert_true(kp__revoke_is_due(&s->core, slot, 1050));
    kp__errand_of(slot)->first.since = 0; /* nothing needed the clock */
    assert_false(kp__revoke_is_due(&s->core, slot, 9999));
    kp__errand_of(slot)->first.since = 1000;
    kp__errand_of(slot)->first.ending = true;
    assert_false(kp__revoke_is_due(&s->core, slot, 9999));
    kp__errand_of(slot)->first.ending = false;
    s->rules.sharing = 2; /* it was made before the rules changed */
    struct kp__request r;
    stage_ask(s, sub, &r, KP_FRESH);
    struct kp__slot *shared = stage_take(s, &r);
    kp__seat_at(shared, 0)->hold = KP__HELD;
    assert_false(kp__revoke_is_due(&s->core, shared, 9999));
}

static void no_more_may_be_due_than_may_be_live(struct stage *s)
{
    s->rules.revoke_after = 50;
    s->rules.max_live = 2;
    struct kp__subpool *sub = stage_key(s), *other = stage_key(s);
    struct kp__slot *a = held(s, sub), *b = held(s, sub), *c = held(s, other);

    (void)revoke(s, a, true);
    assert_true(kp__revoke_is_due(&s->core, b, 2000));
    kp__revoke_begin(&s->core, b);
    struct kp__slot *d = held(s, sub); /* in the place of the first */
    assert_false(kp__revoke_is_due(&s->core, d, 2000));
    assert_true(kp__revoke_is_due(&s->core, c, 2000));
    s->core.live.cap = 3;
    assert_true(kp__revoke_is_due(&s->core, c, 2000));
    s->core.live.cap = 2; /* one is out, and one about to be */
    assert_false(kp__revoke_is_due(&s->core, c, 2000));
    s->core.live.cap = KP__UNBOUND;
    assert_non_null(kp__revoke_end(&s->core, b, false, s->now, &s->todo));
    assert_true(kp__revoke_is_due(&s->core, d, 2000));
    assert_int_equal(s->core.revoking + sub->rare->revoking, 0);
}

/* What could not be revoked when it was time is looked at again, but not before. */
static void one_that_was_not_revoked_in_time_must_be_looked_at_again(struct stage *s)
{
    s->rules.revoke_after = 50;
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = stage_lend(s, sub);

    stage_due(s, 1050);
    assert_null(kp__look_at_slot(&s->core, slot, 1050, &s->todo));
    assert_int_equal(slot->due.at, 1050 + 1000000000);
    kp__unfile_slot(&s->core, slot);
    kp__errand_of(slot)->first.hold = KP__HELD;
    kp__revoke_begin(&s->core, slot);
    assert_null(kp__look_at_slot(&s->core, slot, 1060, &s->todo));
    assert_false(kp__timer_is_filed(&slot->due));
}

/* ---- the books ------------------------------------------------------------------------------- */

static void what_is_revoked_must_leave_all_books_but_one(struct stage *s)
{
    struct kp__request waits, lacks;

    s->core.live.cap = 1;
    s->core.lent.cap = 1;
    stage_group(s, 0, 0, 1);
    struct kp__subpool *sub = stage_key(s), *other = stage_key(s);
    stage_rule(s, sub, &s->rules, 0, -1);
    struct kp__slot *slot = held(s, sub);
    s->now = 1030;
    assert_int_equal(stage_ask(s, other, &lacks, 0), KP__GRANT_WAIT);
    assert_int_equal(stage_ask(s, sub, &waits, 0), KP__GRANT_WAIT);
    const struct kp__seat *out = revoke(s, slot, true);
    assert_ptr_equal(out, kp__seat_at(slot, 0));
    assert_int_equal(lacks.grant.kind, KP__GRANT_PERMIT); /* L1 */
    assert_int_equal(slot->state, KP__REVOKED);
    assert_true(slot->errand->doomed);
    assert_false(kp__timer_is_filed(&slot->due));
    assert_int_equal(s->groups[0].budget.used, 0);
    assert_int_equal(sub->tally.held_ns, 30);
    assert_int_equal(s->core.tally.held_ns, 30);
    assert_int_equal(sub->used_at, 1030);
    assert_int_equal(s->core.seldom.revokes, 1);
    assert_int_equal(sub->rare->seldom.revokes, 1);
    assert_ptr_equal(kp__slot_of(&s->core, slot->resource), slot);
    assert_null(kp__slot_of_live(&s->core, slot->resource));
    assert_false(kp__doom(&s->core, slot, KP_CAUSE_INVALIDATED, &s->todo));
    end(s, slot, 0, KP_CAUSE_SURPLUS);
    assert_int_equal(slot->state, KP__RECLAIMED);
    assert_null(kp__slot_of(&s->core, slot->resource));
    assert_int_equal(stage_destroy(s), 1);
    assert_int_equal(slot->state, KP__FREE);
    assert_int_equal(sub->tally.destroys, 1);
    assert_int_equal(s->core.tally.destroys, 1);
    stage_made(s, stage_spend(s, other), &lacks);
}

static void a_lease_without_a_beginning_must_count_no_time(struct stage *s)
{
    struct kp__slot *slot = held(s, stage_key(s));

    kp__errand_of(slot)->first.since = 0;
    (void)revoke(s, slot, true);
    assert_int_equal(s->core.tally.held_ns, 0);
    end(s, slot, 0, KP_CAUSE_SURPLUS);
    stage_destroy(s);
}

static void one_that_fails_must_stay_and_be_counted(struct stage *s)
{
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = held(s, sub);

    assert_ptr_equal(revoke(s, slot, false), kp__seat_at(slot, 0));
    assert_int_equal(slot->state, KP__LENT);
    assert_false(slot->errand->doomed);
    assert_false(kp__may_revoke(slot));
    assert_false(kp__is_revoked(slot, kp__seat_at(slot, 0)));
    assert_int_equal(s->core.seldom.revoke_failures, 1);
    assert_int_equal(sub->rare->seldom.revoke_failures, 1);
    assert_int_equal(s->core.seldom.revokes + sub->rare->seldom.revokes, 0);
    stage_give(s, slot, 0, true);
    assert_int_equal(slot->state, KP__IDLE);
}

static void whoever_ends_its_lease_meanwhile_must_leave_it_to_the_answer(struct stage *s)
{
    for (int done = 0; done < 2; done++) {
        struct kp__subpool *sub = stage_key(s);
        struct kp__slot *slot = held(s, sub);
        kp__revoke_begin(&s->core, slot);
        end(s, slot, 0, done ? KP_CAUSE_INVALID : KP_CAUSE_DISCARDED);
        stage_check(s);
        assert_int_equal(slot->state, KP__LENT);
        assert_true(kp__seat_at(slot, 0)->ending);
        assert_null(kp__revoke_end(&s->core, slot, done, s->now, &s->todo));
        assert_int_equal(slot->state, KP__CLOSING);
        assert_int_equal(stage_destroy(s), 1);
        assert_int_equal(sub->rare->seldom.invalidated, !done);
        assert_int_equal(sub->rare->seldom.invalid, done);
        assert_int_equal(sub->rare->seldom.revokes + sub->rare->seldom.revoke_failures, 0);
    }
}

/* Its cause stays the one that it was marked with first. */
static void one_that_was_invalidated_must_be_counted_so(struct stage *s)
{
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = held(s, sub);

    assert_true(kp__doom(&s->core, slot, KP_CAUSE_INVALID, &s->todo));
    (void)revoke(s, slot, true);
    end(s, slot, 0, KP_CAUSE_DISCARDED);
    stage_destroy(s);
    assert_int_equal(sub->rare->seldom.invalid, 1);
    assert_int_equal(sub->rare->seldom.invalidated, 0);
}

static void one_in_doubt_must_leave_its_key_in_none(struct stage *s)
{
    s->rules.on_gone = KP_GONE_TEST;
    s->core.validates = true;
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = held(s, sub), *other = held(s, sub);

    assert_true(kp__peer_gone(&s->core, other, s->now, &s->todo));
    assert_int_equal(sub->rare->doubts, 1);
    (void)revoke(s, slot, true);
    assert_int_equal(sub->rare->doubts, 0);
    end(s, slot, 0, KP_CAUSE_SURPLUS);
    assert_int_equal(stage_destroy(s), 1);
    (void)stage_idle(s, sub); /* in its place */
    assert_int_equal(sub->rare->doubts, 0);
}

/* A key's share counts the time until the revoke. */
static void a_share_must_count_up_to_the_end(struct stage *s)
{
    struct kp__request lacks;

    s->core.live.cap = 1;
    s->core.usual[KP__IN_USE].hold = 8;
    struct kp__subpool *sub = stage_key(s), *other = stage_key(s);
    struct kp__slot *slot = held(s, sub);
    assert_int_equal(stage_ask(s, other, &lacks, 0), KP__GRANT_WAIT);
    s->now += 1000;
    (void)revoke(s, slot, true);
    assert_int_equal(sub->contest->share.had[KP__IN_USE], 1000 / 8 * KP__SHARE_ONE / KP__SHARE_TAU);
    end(s, slot, 0, KP_CAUSE_SURPLUS);
    stage_destroy(s);
    stage_made(s, stage_spend(s, other), &lacks);
}

static void several_that_end_at_once_must_all_be_destroyed(struct stage *s)
{
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot[2];

    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 2; i++) slot[i] = held(s, sub);
        for (int i = 0; i < 2; i++) (void)revoke(s, slot[i], true);
        for (int i = 0; i < 2; i++) end(s, slot[i], 0, KP_CAUSE_SURPLUS);
        assert_int_equal(stage_destroy(s), 2);
    }
    assert_int_equal(s->core.slots.made, 2); /* what they lay in is used again */
    assert_int_equal(s->core.errands.made, 2);
}

/* ---- the key --------------------------------------------------------------------------------- */

static void what_is_wanted_ahead_must_be_made_in_its_place(struct stage *s)
{
    for (int eager = 0; eager < 3; eager++) { /* 2: and nothing is wanted */
        s->rules.eager = eager > 0;
        s->rules.min_live = eager < 2;
        struct kp__subpool *sub = stage_key(s);
        struct kp__slot *slot = held(s, sub);
        (void)revoke(s, slot, true);
        assert_int_equal(sub->refill, eager == 1);
        assert_int_equal(stage_due_at(s, sub) == s->now, eager == 1);
        end(s, slot, 0, KP_CAUSE_SURPLUS);
        stage_destroy(s);
    }
}

/* Of two places one is taken by one that ages, the other is free now for its replacement. */
static void what_is_to_be_replaced_must_be_replaced_in_its_place(struct stage *s)
{
    s->rules.renew_ahead = 10;
    s->rules.max_age = 1000;
    s->rules.age_check = KP_CHECK_KEEPER;
    s->rules.max_live = 2;
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = held(s, sub), *ages = held(s, sub);

    s->now = ages->age_end - 10;
    assert_false(kp__age(&s->core, ages, s->now, &s->todo));
    assert_false(kp__renew_permit(&s->core, sub, s->now));
    kp__unfile_sub(&s->core, sub); /* it was looked at */
    (void)revoke(s, slot, true);
    assert_int_equal(stage_due_at(s, sub), s->now);
    assert_true(kp__renew_permit(&s->core, sub, s->now));
    kp__permit_refund(&s->core, sub);
    kp__renewal_failed(&s->core, sub, s->now);
    end(s, slot, 0, KP_CAUSE_SURPLUS);
    stage_destroy(s);
}

static void one_that_ages_must_need_no_replacement_any_more(struct stage *s)
{
    s->rules.renew_ahead = 10;
    s->rules.max_age = 1000;
    s->rules.age_check = KP_CHECK_KEEPER;
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = held(s, sub);

    s->now = slot->age_end - 10;
    assert_false(kp__age(&s->core, slot, s->now, &s->todo));
    assert_true(kp__renewal_wanted(sub));
    (void)revoke(s, slot, true);
    assert_false(kp__renewal_wanted(sub));
    end(s, slot, 0, KP_CAUSE_SURPLUS);
    stage_destroy(s);
}

/* What is left may be its key's minimum, which must not be evicted. */
static void the_minimum_that_is_left_must_stay(struct stage *s)
{
    struct kp__rules minimum = stage_rules();
    struct kp__request r;

    minimum.min_live = 1;
    s->core.live.cap = 2;
    struct kp__subpool *sub = stage_key(s), *other = stage_key(s);
    stage_rule(s, sub, &minimum, -1, -1);
    struct kp__slot *slot = held(s, sub), *left = stage_idle(s, sub);
    (void)revoke(s, slot, true);
    (void)stage_lend(s, other);
    assert_int_equal(stage_ask(s, other, &r, 0), KP__GRANT_WAIT);
    assert_int_equal(left->state, KP__IDLE);
    end(s, slot, 0, KP_CAUSE_SURPLUS);
    stage_destroy(s);
}

/* By no decision: only the rank is looked at. */
static void the_rank_of_its_key_must_follow(struct stage *s)
{
    struct kp__request r[2];

    s->core.live.cap = 3;
    struct kp__subpool *a = stage_key(s), *b = stage_key(s);
    struct kp__slot *slot = held(s, a);
    (void)held(s, a);
    (void)held(s, b);
    assert_int_equal(stage_ask(s, a, &r[0], 0), KP__GRANT_WAIT);
    assert_int_equal(stage_ask(s, b, &r[1], 0), KP__GRANT_WAIT);
    assert_int_equal(a->contest->rank.score, 3 * KP__SHARE_ONE);
    assert_ptr_equal(kp__starved_first(&s->core, &s->core.live), b);
    kp__slot_revoke(&s->core, slot);
    assert_int_equal(a->contest->rank.score, 2 * KP__SHARE_ONE);
    assert_ptr_equal(kp__starved_first(&s->core, &s->core.live), a); /* it came first */
}

static void a_probe_by_use_must_end_with_it(struct stage *s)
{
    s->rules.breaker_failures = 1;
    s->rules.breaker_counts = KP_BREAK_USE;
    struct kp__subpool *sub = stage_key(s);
    bool none = false;

    kp__outcome(&s->core, sub, KP_BREAK_USE, false, &none, s->now);
    struct kp__slot *slot = held(s, sub); /* breaker_open is over at once */
    assert_int_equal(sub->rare->health.circuit->probes, 1);
    (void)revoke(s, slot, true);
    assert_int_equal(sub->rare->health.circuit->probes, 0);
    end(s, slot, 0, KP_CAUSE_SURPLUS);
    stage_destroy(s);
}

static void its_key_must_stay_until_it_is_gone(struct stage *s)
{
    s->core.forget_after = 10;
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = held(s, sub);

    s->now = 1500;
    (void)revoke(s, slot, true);
    assert_false(kp__subpool_unused(sub));
    assert_false(kp__may_forget(&s->core, sub, 5000));
    end(s, slot, 0, KP_CAUSE_SURPLUS);
    stage_destroy(s);
    assert_true(kp__subpool_unused(sub));
    assert_true(kp__may_forget(&s->core, sub, 5000));
    assert_int_equal(stage_due_at(s, sub), 1510);
}

/* ---- lanes ----------------------------------------------------------------------------------- */

static void one_that_is_being_revoked_must_be_on_no_lane(void **state)
{
    struct stage s;

    (void)state;
    lane_stage(&s);
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slot = held(&s, sub), *idle = stage_idle(&s, sub), *kept;
    assert_ptr_not_equal(slot, idle);
    assert_true(lane_open(&s, sub)); /* a slot without a cell when it is lent is not on the lane */
    kp__lane_shut(&s.core, sub, s.now);
    stage_give(&s, slot, 0, true);
    assert_true(lane_open(&s, sub)); /* now it has */
    kp__lane_shut(&s.core, sub, s.now);
    kept = held(&s, sub);
    assert_true(lane_open(&s, sub));
    assert_true(kept->on_lane);
    kp__lane_shut(&s.core, sub, s.now);
    kp__revoke_begin(&s.core, kept);
    assert_true(lane_open(&s, sub));
    assert_false(kept->on_lane);
    assert_non_null(kp__revoke_end(&s.core, kept, true, s.now, &s.todo)); /* shuts it */
    stage_check(&s);
    assert_false(sub->open);
    end(&s, kept, 0, KP_CAUSE_SURPLUS);
    assert_int_equal(stage_destroy(&s), 1);
    lane_close(&s); /* nor has it a cell any more */
}

static void a_term_must_be_a_part_of_what_a_lease_may_last(void **state)
{
    struct stage s;

    (void)state;
    lane_stage(&s);
    s.rules.revoke_after = 6400;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slot = stage_idle(&s, sub);
    assert_true(lane_open(&s, sub));
    assert_int_equal(sub->lane_books->until, s.now + 100);
    kp__lane_shut(&s.core, sub, s.now);
    assert_int_equal(slot->state, KP__IDLE);
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_TEST(only_what_its_borrower_holds_may_be_revoked),
        STAGE_TEST(it_must_be_due_by_its_age_and_its_own_alone),
        STAGE_TEST(no_more_may_be_due_than_may_be_live),
        STAGE_TEST(one_that_was_not_revoked_in_time_must_be_looked_at_again),
        STAGE_TEST(what_is_revoked_must_leave_all_books_but_one),
        STAGE_TEST(a_lease_without_a_beginning_must_count_no_time),
        STAGE_TEST(one_that_fails_must_stay_and_be_counted),
        STAGE_TEST(whoever_ends_its_lease_meanwhile_must_leave_it_to_the_answer),
        STAGE_TEST(one_that_was_invalidated_must_be_counted_so),
        STAGE_TEST(one_in_doubt_must_leave_its_key_in_none),
        STAGE_TEST(a_share_must_count_up_to_the_end),
        STAGE_TEST(several_that_end_at_once_must_all_be_destroyed),
        STAGE_TEST(what_is_wanted_ahead_must_be_made_in_its_place),
        STAGE_TEST(what_is_to_be_replaced_must_be_replaced_in_its_place),
        STAGE_TEST(one_that_ages_must_need_no_replacement_any_more),
        STAGE_TEST(the_minimum_that_is_left_must_stay),
        STAGE_TEST(the_rank_of_its_key_must_follow),
        STAGE_TEST(a_probe_by_use_must_end_with_it),
        STAGE_TEST(its_key_must_stay_until_it_is_gone),
        cmocka_unit_test(one_that_is_being_revoked_must_be_on_no_lane),
        cmocka_unit_test(a_term_must_be_a_part_of_what_a_lease_may_last),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
