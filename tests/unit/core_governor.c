/* SPDX-License-Identifier: MIT
 *
 * Tests of the rate limit on creations: the token bucket (core/rate.c), which request gets a token,
 * and which is told when the next one comes (core/decide_create.c).
 */
#include "core_stage.h"

#define SECOND UINT64_C(1000000000)

/* ---- the bucket ------------------------------------------------------------------------------ */

static void a_bucket_must_be_full_at_first_and_hold_its_burst(struct stage *s)
{
    struct kp__rate *rate = &s->core.rate;

    kp__rate_init(rate, 3, 2);
    assert_string_equal(kp__limit_name[rate->budget.limit], "budget.create_rate");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(kp__token_at(rate, 1000), 1000);
        assert_false(kp__token_lacks(rate, 1000));
        kp__token_take(rate, 1000);
    }
    assert_int_equal(kp__token_at(rate, 1000), 1000 + 333333334);
    assert_true(kp__token_lacks(rate, 1000 + 333333333));
    assert_int_equal(kp__token_at(rate, 1000 + 333333333), 1000 + 333333334);
    assert_int_equal(kp__token_at(rate, 1000 + 333333334), 1000 + 333333334);
    /* a calm of any length brings two, and not a part more */
    uint64_t at = UINT64_MAX / 2;
    for (int i = 0; i < 2; i++) kp__token_take(rate, at);
    assert_int_equal(kp__token_at(rate, at), at + 333333334);
}

static void tokens_must_come_on_the_line_without_drift(struct stage *s)
{
    static const uint64_t rates[] = { 1, 3, 7, 999, 1000003, 999999999 };

    (void)s;
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        uint64_t r = rates[i], start = 12345;
        struct kp__rate rate;
        kp__rate_init(&rate, (int64_t)r, 1);
        kp__token_take(&rate, start);
        for (uint64_t n = 1; n <= 20000; n++) {
            uint64_t due = start + n * SECOND / r + (n * SECOND % r > 0);
            if (kp__token_at(&rate, due - 1) != due) fail_msg("rate %d: token %d", (int)r, (int)n);
            kp__token_take(&rate, due);
        }
    }
}

/* Less than a nanosecond's worth above the burst is kept, no more. */
static void only_what_came_in_the_same_nanosecond_must_be_kept_above_the_burst(struct stage *s)
{
    struct kp__rate rate;

    (void)s;
    kp__rate_init(&rate, 3, 1);
    kp__token_take(&rate, 1); /* it was full for one */
    assert_int_equal(rate.parts, 0);
    kp__token_take(&rate, 1 + 333333334);
    assert_int_equal(rate.parts, 2);
    kp__token_take(&rate, 1 + 333333334 + 333333333);
    assert_int_equal(rate.parts, 1);
    kp__token_take(&rate, 1 + 333333334 + 2 * 333333333);
    assert_int_equal(rate.parts, 0);
    kp__token_take(&rate, 1 + 333333334 + 2 * 333333333 + 333333335); /* one later than it might */
    assert_int_equal(rate.parts, 0);
}

static void the_largest_burst_must_not_overflow(struct stage *s)
{
    struct kp__rate rate;

    (void)s;
    kp__rate_init(&rate, 1, INT32_MAX - 1);
    for (int i = 0; i < 3; i++) kp__token_take(&rate, 7);
    assert_int_equal(kp__token_at(&rate, 7), 7);
    assert_true(rate.parts == (INT32_MAX - 4) * SECOND);
    kp__token_take(&rate, 7 + 2 * SECOND);
    assert_true(rate.parts == (INT32_MAX - 3) * SECOND);
    kp__token_take(&rate, UINT64_MAX);
    assert_true(rate.parts == (INT32_MAX - 2) * SECOND);
}

static void a_token_that_comes_back_must_fill_up_no_further_than_the_burst(struct stage *s)
{
    struct kp__rate rate;

    (void)s;
    kp__rate_init(&rate, 1, 2);
    kp__token_take(&rate, 10);
    kp__token_take(&rate, 10);
    kp__token_back(&rate);
    assert_int_equal(kp__token_at(&rate, 10), 10);
    kp__token_take(&rate, 10);
    assert_int_equal(kp__token_at(&rate, 10), 10 + SECOND);
    for (int i = 0; i < 3; i++) kp__token_back(&rate);
    assert_true(rate.parts == 2 * SECOND);
}

/* A call may know an older time than the latest look. */
static void an_older_time_must_find_what_the_latest_left(struct stage *s)
{
    struct kp__rate rate;

    (void)s;
    kp__rate_init(&rate, 1, 2);
    kp__token_take(&rate, 100);
    assert_int_equal(kp__token_at(&rate, 50), 50);
    kp__token_take(&rate, 50);
    assert_int_equal(rate.at, 100);
    assert_int_equal(kp__token_at(&rate, 50), 100 + SECOND);
}

static void another_rate_that_comes_by_an_older_time_must_bring_no_token_twice(struct stage *s)
{
    struct kp__rate rate;

    (void)s;
    kp__rate_init(&rate, 1, 1);
    kp__token_take(&rate, 100 + SECOND);
    kp__rate_set(&rate, 2, 1, 100);
    assert_int_equal(kp__token_at(&rate, 100 + SECOND), 100 + SECOND + SECOND / 2);
}

static void without_a_rate_nothing_must_be_counted(struct stage *s)
{
    struct kp__rate *rate = &s->core.rate;

    assert_false(kp__token_lacks(rate, 1));
    assert_int_equal(kp__token_period(rate), 0);
    assert_int_equal(rate->most + rate->parts, 0);
    for (int i = 0; i < 3; i++) kp__token_take(rate, 1);
    kp__token_back(rate);
    assert_int_equal(rate->parts, 0);
    assert_int_equal(rate->at, 0);
}

static void looks_of_the_background_must_be_a_token_apart(struct stage *s)
{
    struct kp__rate rate;

    (void)s;
    kp__rate_init(&rate, 3, 1);
    kp__token_take(&rate, 0);
    assert_int_equal(kp__token_look(&rate, 0), 333333334);
    assert_int_equal(kp__token_look(&rate, 0), 2 * 333333334);
    assert_int_equal(kp__token_look(&rate, 5), 3 * 333333334);
    kp__token_take(&rate, 10 * SECOND); /* after a long time without a look */
    assert_int_equal(kp__token_look(&rate, 10 * SECOND), 10 * SECOND + 333333334);
}

/* Looked at early, it comes at the time that it had. Another rate makes all times anew. */
static void a_key_must_keep_the_time_of_its_look(struct stage *s)
{
    struct kp__rate *rate = &s->core.rate;

    kp__rate_init(rate, 1, 1);
    kp__token_take(rate, s->now);
    struct kp__subpool *a = stage_key(s), *b = stage_key(s);
    for (int i = 0; i < 3; i++) {
        kp__unfile_sub(&s->core, a);
        kp__file_for_token(&s->core, a, s->now + (uint64_t)i);
        assert_int_equal(stage_due_at(s, a), s->now + SECOND);
    }
    kp__file_for_token(&s->core, b, s->now);
    assert_int_equal(stage_due_at(s, b), s->now + 2 * SECOND);
    kp__rate_set(rate, 2, 1, s->now);
    kp__file_for_token(&s->core, b, s->now);
    assert_int_equal(stage_due_at(s, b), s->now + SECOND / 2);
    s->now += SECOND / 2;
    kp__token_take(rate, s->now);
    kp__unfile_sub(&s->core, b);
    kp__file_for_token(&s->core, b, s->now); /* its time has come, in vain */
    assert_int_equal(stage_due_at(s, b), s->now + SECOND / 2);
}

/* ---- who gets a token ------------------------------------------------------------------------ */

static void a_creation_without_a_token_must_wait_until_it_comes(struct stage *s)
{
    struct kp__request r[2];

    kp__rate_init(&s->core.rate, 1, 1);
    struct kp__subpool *sub = stage_key(s);
    assert_int_equal(stage_ask(s, sub, &r[0], 0), KP__GRANT_PERMIT);
    assert_int_equal(stage_ask(s, sub, &r[1], 0), KP__GRANT_WAIT);
    assert_string_equal(kp__limit_name[r[1].limit], "budget.create_rate");
    assert_int_equal(kp__next_look(&r[1]), s->now + SECOND);
    assert_int_equal(stage_due_at(s, sub), s->now + SECOND); /* upkeep comes, too */
    struct kp__slot *slot = stage_take(s, &r[0]);
    s->now += SECOND - 1;
    kp__settle(&s->core, sub, s->now, &s->todo);
    assert_int_equal(r[1].grant.kind, KP__GRANT_WAIT);
    assert_false(stage_woken(s, &r[1])); /* it knows when */
    s->now += 1;
    kp__settle(&s->core, sub, s->now, &s->todo);
    assert_int_equal(r[1].grant.kind, KP__GRANT_PERMIT);
    assert_true(stage_woken(s, &r[1]));
    stage_take(s, &r[1]);
    /* what is there needs none */
    stage_give(s, slot, 0, true);
    assert_int_equal(stage_ask(s, sub, &r[0], 0), KP__GRANT_SLOT);
}

static void who_is_first_must_be_told_and_the_next_when_it_is(struct stage *s)
{
    struct kp__subpool *sub[3];
    struct kp__request r[3];

    kp__rate_init(&s->core.rate, 1, 1);
    s->core.by_arrival = true;
    kp__token_take(&s->core.rate, s->now);
    for (int i = 0; i < 3; i++) {
        sub[i] = stage_key(s);
        assert_int_equal(stage_ask(s, sub[i], &r[i], 0), KP__GRANT_WAIT);
        assert_string_equal(kp__limit_name[r[i].limit], "budget.create_rate");
        assert_int_equal(kp__next_look(&r[i]), i == 0 ? s->now + SECOND : KP__NEVER);
        assert_int_equal(stage_due_at(s, sub[i]), i == 0 ? s->now + SECOND : 0);
    }
    kp__withdraw(&s->core, &r[0], s->now, &s->todo);
    assert_int_equal(kp__next_look(&r[1]), s->now + SECOND);
    assert_true(stage_woken(s, &r[1]));
    assert_int_equal(kp__next_look(&r[2]), KP__NEVER);
    s->now += SECOND;
    kp__settle(&s->core, sub[2], s->now, &s->todo); /* another key */
    assert_int_equal(r[1].grant.kind, KP__GRANT_PERMIT);
    assert_int_equal(r[2].grant.kind, KP__GRANT_WAIT);
    assert_int_equal(kp__next_look(&r[2]), s->now + SECOND);
    assert_true(stage_woken(s, &r[2]));
    s->now += SECOND;
    kp__settle(&s->core, sub[0], s->now, &s->todo); /* a key that lacks nothing */
    assert_int_equal(r[2].grant.kind, KP__GRANT_PERMIT);
    assert_int_equal(s->core.starved, 0);
    for (int i = 1; i < 3; i++) stage_take(s, &r[i]);
}

/* A second later one of two requests has a token. Its creation ends as soon as it began, and the
 * same is asked for again. Returns which of them that was. */
static int next_token(struct stage *s, struct kp__request r[2])
{
    s->now += SECOND;
    kp__settle_budget(&s->core, &s->core.rate.budget, s->now, &s->todo);
    int i = r[0].grant.kind == KP__GRANT_PERMIT ? 0 : 1;
    assert_int_equal(r[i].grant.kind, KP__GRANT_PERMIT);
    assert_int_equal(r[!i].grant.kind, KP__GRANT_WAIT);
    stage_failed(s, stage_begin(s, &r[i]), &r[i], KP_ECANCELED);
    assert_int_equal(stage_ask(s, r[i].sub, &r[i], 0), KP__GRANT_WAIT);
    s->wakes = 0;
    return i;
}

/* What came while nobody waited is not held against a key. */
static void keys_must_have_tokens_in_turn_by_their_weights(struct stage *s)
{
    struct kp__rules heavy = s->rules;
    struct kp__request r[2];
    int of_heavy = 0;

    kp__rate_init(&s->core.rate, 1, 20);
    heavy.weight = 3;
    struct kp__subpool *sub[2] = { stage_key(s), stage_key(s) };
    stage_rule(s, sub[1], &heavy, -1, -1);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(stage_ask(s, sub[0], &r[0], 0), KP__GRANT_PERMIT);
        stage_failed(s, stage_begin(s, &r[0]), &r[0], KP_ECANCELED);
    }
    for (int k = 0; k < 2; k++) assert_int_equal(stage_ask(s, sub[k], &r[k], 0), KP__GRANT_WAIT);
    for (int i = 0; i < 8; i++) of_heavy += next_token(s, r);
    assert_int_equal(of_heavy, 6);
}

static void a_token_that_was_given_back_must_not_be_held_against_its_key(struct stage *s)
{
    struct kp__request r[2];

    kp__rate_init(&s->core.rate, 1, 1);
    struct kp__subpool *sub[2] = { stage_key(s), stage_key(s) };
    kp__token_take(&s->core.rate, s->now);
    for (int k = 0; k < 2; k++) assert_int_equal(stage_ask(s, sub[k], &r[k], 0), KP__GRANT_WAIT);
    s->now += SECOND;
    kp__settle_budget(&s->core, &s->core.rate.budget, s->now, &s->todo);
    assert_int_equal(r[0].grant.kind, KP__GRANT_PERMIT);
    kp__decline(&s->core, &r[0], s->now, &s->todo);
    assert_int_equal(r[1].grant.kind, KP__GRANT_PERMIT);
    stage_failed(s, stage_begin(s, &r[1]), &r[1], KP_ECANCELED);
    for (int k = 1; k >= 0; k--) assert_int_equal(stage_ask(s, sub[k], &r[k], 0), KP__GRANT_WAIT);
    assert_int_equal(next_token(s, r), 0);
}

/* A key that has less than its floor does without its share, and does not use it up; nor is it
 * ahead when one comes back. */
static void a_token_below_the_floor_must_cost_nothing(struct stage *s)
{
    struct kp__rules floored = s->rules;
    struct kp__request r[2], first[8];

    kp__rate_init(&s->core.rate, 1, 1);
    floored.floor = 8;
    struct kp__subpool *sub[2] = { stage_key(s), stage_key(s) };
    stage_rule(s, sub[1], &floored, -1, -1);
    kp__token_take(&s->core.rate, s->now);
    assert_int_equal(stage_ask(s, sub[0], &r[0], 0), KP__GRANT_WAIT);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(stage_ask(s, sub[1], &first[i], 0), KP__GRANT_WAIT);
        s->now += SECOND;
        kp__settle_budget(&s->core, &s->core.rate.budget, s->now, &s->todo);
        if (i < 7) kp__share_refunded(&s->core, &s->core.rate.budget, sub[1]);
        stage_take(s, &first[i]);
    }
    assert_int_equal(stage_ask(s, sub[1], &r[1], 0), KP__GRANT_WAIT);
    assert_int_equal(next_token(s, r), 0);
    assert_int_equal(next_token(s, r), 1);
}

/* By arrival: a new request, too, leaves it to those that wait. */
static void a_newcomer_must_leave_the_token_to_who_waits(struct stage *s)
{
    struct kp__request r[2];

    kp__rate_init(&s->core.rate, 1, 1);
    s->core.by_arrival = true;
    kp__token_take(&s->core.rate, s->now);
    struct kp__subpool *a = stage_key(s), *b = stage_key(s);
    assert_int_equal(stage_ask(s, a, &r[0], 0), KP__GRANT_WAIT);
    s->now += SECOND;
    assert_int_equal(stage_ask(s, b, &r[1], 0), KP__GRANT_WAIT);
    assert_int_equal(r[0].grant.kind, KP__GRANT_PERMIT);
    stage_take(s, &r[0]);
}

/* Its first request has left meanwhile: it takes no token before the key that is first now. */
static void a_key_must_be_ranked_by_who_is_its_first_by_now(struct stage *s)
{
    struct kp__request r[3];

    kp__rate_init(&s->core.rate, 1, 1);
    s->core.by_arrival = s->core.last_first = true;
    s->rules.wait_lifo = true;
    kp__token_take(&s->core.rate, s->now);
    struct kp__subpool *a = stage_key(s), *b = stage_key(s);
    stage_ask(s, a, &r[0], 0);
    stage_ask(s, b, &r[1], 0);
    stage_ask(s, a, &r[2], 0);
    assert_int_equal(kp__next_look(&r[2]), s->now + SECOND);
    s->now += SECOND;
    kp__withdraw(&s->core, &r[2], s->now, &s->todo);
    assert_int_equal(r[0].grant.kind, KP__GRANT_WAIT);
    assert_int_equal(r[1].grant.kind, KP__GRANT_PERMIT);
    stage_take(s, &r[1]);
}

/* Its key waits for another budget, which another of its requests lacks. */
static void who_wants_a_fresh_one_must_be_told_though_others_are_first(struct stage *s)
{
    struct kp__request r[2];

    kp__rate_init(&s->core.rate, 1, 1);
    s->core.by_arrival = true;
    kp__token_take(&s->core.rate, s->now);
    struct kp__subpool *a = stage_key(s), *b = stage_key(s);
    stage_ask(s, a, &r[0], 0);
    assert_int_equal(stage_ask(s, b, &r[1], KP_FRESH), KP__GRANT_WAIT);
    assert_int_equal(kp__next_look(&r[1]), s->now + SECOND);
    assert_int_equal(stage_due_at(s, b), 0);
}

/* ---- tokens that come back ------------------------------------------------------------------- */

/* The rate is lifted, and not everybody is served by then. */
static void who_stood_in_line_must_come_first_when_there_is_none(struct stage *s)
{
    struct kp__request r[3];

    kp__rate_init(&s->core.rate, 1, 1);
    s->core.rate.at = s->now;
    s->core.creating.cap = 1;
    s->core.by_arrival = true;
    struct kp__subpool *first = stage_key(s), *second = stage_key(s);
    assert_int_equal(stage_ask(s, first, &r[0], 0), KP__GRANT_PERMIT);
    stage_made(s, stage_begin(s, &r[0]), &r[0]);
    assert_int_equal(stage_ask(s, first, &r[1], 0), KP__GRANT_WAIT);
    kp__rate_set(&s->core.rate, KP__UNBOUND, KP__UNBOUND, s->now);
    r[2] = (struct kp__request){ .sub = second, .arrived = s->now, .deadline = KP__NEVER };
    kp__claim(&s->core, &r[2], s->now, &s->todo);
    assert_int_equal(r[2].grant.kind, KP__GRANT_WAIT);
    kp__settle(&s->core, first, s->now, &s->todo);
    assert_int_equal(r[1].grant.kind, KP__GRANT_PERMIT);
}

static void a_permit_that_is_declined_must_give_its_token_to_the_next(struct stage *s)
{
    struct kp__request r[2];

    kp__rate_init(&s->core.rate, 1, 1);
    struct kp__subpool *a = stage_key(s), *b = stage_key(s);
    assert_int_equal(stage_ask(s, a, &r[0], 0), KP__GRANT_PERMIT);
    assert_int_equal(stage_ask(s, b, &r[1], 0), KP__GRANT_WAIT);
    kp__decline(&s->core, &r[0], s->now, &s->todo);
    assert_int_equal(r[1].grant.kind, KP__GRANT_PERMIT);
    stage_failed(s, stage_spend(s, b), &r[1], -9); /* this one ran: it keeps it */
    assert_int_equal(stage_ask(s, a, &r[0], 0), KP__GRANT_WAIT);
    assert_string_equal(kp__limit_name[r[0].limit], "budget.create_rate");
    free(b->rare->health.last);
}

static void a_permit_that_waits_for_its_victim_must_give_it_back_too(struct stage *s)
{
    struct kp__request r;

    kp__rate_init(&s->core.rate, 1, 1);
    s->core.live.cap = 1;
    struct kp__subpool *a = stage_key(s), *b = stage_key(s);
    for (int late = 0; late < 2; late++) {
        stage_idle(s, a);
        assert_int_equal(stage_ask(s, b, &r, 0), KP__GRANT_PERMIT);
        struct kp__slot *victim = r.slot;
        assert_non_null(victim);
        assert_true(kp__token_lacks(&s->core.rate, s->now));
        if (late) {
            kp__errand(&s->core, victim)->victim.heir = b;
            kp__wait_again(&s->core, &r, victim, s->now, &s->todo);
            kp__withdraw(&s->core, &r, s->now, &s->todo);
            kp__victim_gone_late(&s->core, victim, s->now, &s->todo);
        } else {
            kp__decline(&s->core, &r, s->now, &s->todo);
            assert_int_equal(stage_destroy(s), 1);
        }
        assert_false(kp__token_lacks(&s->core.rate, s->now));
        stage_check(s);
    }
}

/* ---- the background -------------------------------------------------------------------------- */

static void the_background_must_take_tokens_after_requests(struct stage *s)
{
    struct kp__request r;

    kp__rate_init(&s->core.rate, 1, 1);
    s->rules.min_live = 2;
    struct kp__subpool *a = stage_key(s), *b = stage_key(s);
    assert_true(kp__refill_permit(&s->core, a, false, s->now));
    stage_made(s, stage_spend(s, a), NULL);
    assert_false(kp__refill_permit(&s->core, a, false, s->now));
    assert_int_equal(stage_ask(s, b, &r, 0), KP__GRANT_WAIT);
    s->now += SECOND;
    assert_false(kp__refill_permit(&s->core, a, false, s->now));
    kp__settle(&s->core, b, s->now, &s->todo);
    assert_int_equal(r.grant.kind, KP__GRANT_PERMIT);
    s->now += SECOND;
    assert_true(kp__refill_permit(&s->core, a, false, s->now));
    assert_true(kp__token_lacks(&s->core.rate, s->now));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_TEST(a_bucket_must_be_full_at_first_and_hold_its_burst),
        STAGE_TEST(tokens_must_come_on_the_line_without_drift),
        STAGE_TEST(only_what_came_in_the_same_nanosecond_must_be_kept_above_the_burst),
        STAGE_TEST(the_largest_burst_must_not_overflow),
        STAGE_TEST(a_token_that_comes_back_must_fill_up_no_further_than_the_burst),
        STAGE_TEST(an_older_time_must_find_what_the_latest_left),
        STAGE_TEST(another_rate_that_comes_by_an_older_time_must_bring_no_token_twice),
        STAGE_TEST(without_a_rate_nothing_must_be_counted),
        STAGE_TEST(looks_of_the_background_must_be_a_token_apart),
        STAGE_TEST(a_key_must_keep_the_time_of_its_look),
        STAGE_TEST(a_creation_without_a_token_must_wait_until_it_comes),
        STAGE_TEST(who_is_first_must_be_told_and_the_next_when_it_is),
        STAGE_TEST(keys_must_have_tokens_in_turn_by_their_weights),
        STAGE_TEST(a_token_that_was_given_back_must_not_be_held_against_its_key),
        STAGE_TEST(a_token_below_the_floor_must_cost_nothing),
        STAGE_TEST(a_newcomer_must_leave_the_token_to_who_waits),
        STAGE_TEST(a_key_must_be_ranked_by_who_is_its_first_by_now),
        STAGE_TEST(who_wants_a_fresh_one_must_be_told_though_others_are_first),
        STAGE_TEST(who_stood_in_line_must_come_first_when_there_is_none),
        STAGE_TEST(a_permit_that_is_declined_must_give_its_token_to_the_next),
        STAGE_TEST(a_permit_that_waits_for_its_victim_must_give_it_back_too),
        STAGE_TEST(the_background_must_take_tokens_after_requests),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
