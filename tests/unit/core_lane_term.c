/* SPDX-License-Identifier: MIT
 *
 * Tests of core/term.c: for how long a lane may stay open, and that it is shut in time.
 */
#include "core_lanes.h"

/* ---- the term -------------------------------------------------------------------------------- */

#define MS UINT64_C(1000000)
#define SEC (1000 * MS)

/* One idle since `age` ns ago, its lane opened now. For how long? 0: it is shut. */
static uint64_t term(struct stage *s, uint64_t age)
{
    uint64_t end = 0;

    s->now = 1000 * SEC;
    struct kp__subpool *sub = stage_key(s);
    stage_idle(s, sub);
    sub->shut_for = 0; /* not the first time */
    s->now += age;
    if (lane_open(s, sub))
        end = sub->lane_books->until == KP__NEVER ? KP__NEVER : sub->lane_books->until - s->now;
    lane_bury(s, sub);
    return end;
}

static void a_lane_must_have_no_end_where_nothing_ever_ends(struct stage *s)
{
    assert_int_equal(term(s, 0), KP__NEVER);
    s->core.least_term = KP__NEVER;
    assert_int_equal(term(s, 0), KP__NEVER);
    s->core.least_term = 0;
    s->rules.idle_ttl = s->rules.excess_ttl = SEC; /* never looked at */
    s->rules.max_age = SEC;
    assert_int_equal(term(s, 0), KP__NEVER);
    s->rules.idle_ttl = s->rules.excess_ttl = s->rules.max_age = KP__NEVER;
    s->rules.idle_check = s->rules.excess_check = s->rules.age_check = KP_CHECK_GET;
    assert_int_equal(term(s, 0), KP__NEVER);
}

static void a_term_must_end_before_what_is_lent_counts_as_leaked(struct stage *s)
{
    s->core.leak_after = 77;
    assert_int_equal(term(s, 10), 77);
}

static void a_term_must_be_a_64th_of_an_idle_time_and_end_a_64th_before_it_does(struct stage *s)
{
    static const uint32_t checks[] = { KP_CHECK_GET, KP_CHECK_KEEPER };

    for (int i = 0; i < 2; i++) {
        s->rules.idle_ttl = 64 * SEC;
        s->rules.idle_check = checks[i];
        assert_int_equal(term(s, 0), SEC);
        assert_int_equal(term(s, 62 * SEC), SEC);
        assert_int_equal(term(s, 62 * SEC + 1), SEC - 1);
        assert_int_equal(term(s, 63 * SEC - 1), 1);
        assert_int_equal(term(s, 63 * SEC), 0);
        assert_int_equal(term(s, 65 * SEC), 0);
    }
    s->rules.idle_check = KP_CHECK_RETURN; /* each return looks for what has ended: no lane */
    assert_int_equal(term(s, 0), 0);
}

static void a_term_must_end_100_ms_before_a_short_time_to_live(struct stage *s)
{
    s->rules.idle_check = KP_CHECK_GET;
    s->rules.idle_ttl = 640 * MS;
    assert_int_equal(term(s, 0), 10 * MS);
    assert_int_equal(term(s, 530 * MS), 10 * MS);
    assert_int_equal(term(s, 530 * MS + 1), 10 * MS - 1);
    assert_int_equal(term(s, 540 * MS), 0);
    s->rules.idle_ttl = 7040 * MS; /* a 64th of it is more than that */
    assert_int_equal(term(s, 6820 * MS), 110 * MS);
    assert_int_equal(term(s, 6920 * MS), 10 * MS);
    s->rules.idle_ttl = 90 * MS; /* there is no such time */
    assert_int_equal(term(s, 0), 0);
}

static void a_term_that_would_have_ended_before_time_began_must_not_begin(struct stage *s)
{
    s->rules.idle_check = KP_CHECK_GET;
    s->rules.idle_ttl = 50 * MS;
    for (s->now = 0; s->now < 2; s->now++) {
        struct kp__subpool *sub = stage_key(s);
        stage_idle(s, sub);
        assert_false(lane_open(s, sub));
    }
}

static void a_term_must_be_a_64th_of_the_time_of_what_is_too_many(struct stage *s)
{
    static const uint32_t checks[] = { KP_CHECK_GET, KP_CHECK_KEEPER };

    for (int i = 0; i < 2; i++) {
        s->rules.excess_ttl = 64 * SEC;
        s->rules.excess_check = checks[i];
        s->rules.excess_over = 1;
        assert_int_equal(term(s, 64 * SEC), SEC); /* one is not too many */
        s->rules.excess_over = 0;
        assert_int_equal(term(s, 62 * SEC), SEC);
        assert_int_equal(term(s, 63 * SEC - 1), 1);
    }
}

static void a_term_must_end_before_what_is_idle_has_to_be_validated(struct stage *s)
{
    s->rules.validate_after = 64 * SEC;
    s->rules.validate_on = KP_CHECK_GET;
    assert_int_equal(term(s, 63 * SEC), KP__NEVER);
    s->core.validates = true;
    assert_int_equal(term(s, 0), SEC);
    assert_int_equal(term(s, 62 * SEC), SEC);
    assert_int_equal(term(s, 63 * SEC - 1), 1);
    assert_int_equal(term(s, 63 * SEC), 0);
    s->rules.validate_on = KP_CHECK_KEEPER;
    assert_int_equal(term(s, 63 * SEC), KP__NEVER);
    s->rules.validate_on = KP_CHECK_GET;
    s->rules.validate_after = 0;
    assert_int_equal(term(s, 0), 0);
    s->rules.validate_after = 1280 * MS;
    assert_int_equal(term(s, 0), 20 * MS);
    assert_int_equal(term(s, 1170 * MS), 10 * MS);
}

/* Only when a lane is shut is it known what came back over it. */
static void a_term_must_be_a_part_of_the_time_between_two_tests(struct stage *s)
{
    s->rules.validate_every = 64 * SEC;
    assert_int_equal(term(s, 0), KP__NEVER);
    s->core.validates = true;
    assert_int_equal(term(s, 0), SEC);
    assert_int_equal(term(s, 63 * SEC), SEC);
    s->rules.validate_every = KP__NEVER;
    assert_int_equal(term(s, 0), KP__NEVER);
}

static void a_term_must_end_before_the_first_that_grows_too_old(struct stage *s)
{
    s->rules.max_age = 640 * SEC;
    s->rules.age_check = KP_CHECK_RETURN;
    assert_int_equal(term(s, 30 * SEC), 600 * SEC);
    /* the one that is lent, or the older of two that are idle */
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *lent = stage_lend(s, sub), *idle = stage_idle(s, sub);
    struct kp__slot *other = stage_idle(s, sub);
    lent->age_end = s->now + 500 * SEC;
    idle->age_end = s->now + 400 * SEC;
    other->age_end = s->now + 600 * SEC;
    assert_true(lane_open(s, sub));
    assert_int_equal(sub->lane_books->until, s->now + 390 * SEC);
    lane_shut(s, sub);
    lent->age_end = s->now + 300 * SEC;
    assert_true(lane_open(s, sub));
    assert_int_equal(sub->lane_books->until, s->now + 290 * SEC);
    lane_shut(s, sub);
    s->rules.age_check = 0;
    assert_true(lane_open(s, sub));
    assert_int_equal(sub->lane_books->until, KP__NEVER);
}

/* Lent: as an idle one does. Without an age there is no telling how long before it has to end. */
static void what_is_retired_must_not_come_back_over_a_lane_whatever_is_said_of_ages(struct stage *s)
{
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *lent = stage_lend(s, sub);

    stage_idle(s, sub);
    lent->old = true;
    lent->age_end = s->now + 300 * SEC;
    assert_false(lane_open(s, sub));
    lent->age_end = KP__NEVER;
    assert_true(lane_open(s, sub));
    assert_int_equal(sub->lane_books->until, KP__NEVER);
}

static void the_sooner_of_two_ends_must_be_that_of_the_term(struct stage *s)
{
    s->core.leak_after = 15 * SEC;
    s->rules.idle_ttl = 640 * SEC;
    s->rules.idle_check = KP_CHECK_KEEPER;
    s->rules.excess_ttl = 1280 * SEC;
    s->rules.excess_check = KP_CHECK_KEEPER;
    s->rules.max_age = 640 * SEC;
    s->rules.age_check = KP_CHECK_GET;
    assert_int_equal(term(s, 0), 10 * SEC);
    s->rules.idle_ttl = 1280 * SEC;
    s->rules.excess_ttl = 704 * SEC;
    assert_int_equal(term(s, 0), 11 * SEC);
    s->rules.idle_ttl = 6400 * SEC;
    s->rules.excess_ttl = 6400 * SEC;
    assert_int_equal(term(s, 0), 15 * SEC);
    s->core.leak_after = KP__NEVER;
    assert_int_equal(term(s, 0), 100 * SEC);
    assert_int_equal(term(s, 600 * SEC), 30 * SEC);
    s->rules.max_age = KP__NEVER;
    s->rules.excess_check = 0;
    assert_int_equal(term(s, 6250 * SEC), 50 * SEC);
}

/* How long before the end of an idle time is given by the shortest of all times to live. */
static void an_age_must_count_among_the_times_to_live_that_a_term_ends_ahead_of(struct stage *s)
{
    s->rules.idle_ttl = 6400 * SEC;
    s->rules.idle_check = KP_CHECK_GET;
    s->rules.max_age = 640 * SEC;
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = stage_idle(s, sub);
    slot->age_end = KP__NEVER; /* it is kept from that, say by a minimum */
    s->now += 6350 * SEC;
    assert_false(lane_open(s, sub));
    s->rules.age_check = KP_CHECK_GET;
    assert_true(lane_open(s, sub));
    assert_int_equal(sub->lane_books->until, s->now + 40 * SEC);
}

/* A lent one has no idle time: only idle ones end a term, by how long they have been idle. */
static void a_term_must_not_look_at_how_long_a_lent_one_was_idle(struct stage *s)
{
    s->core.validates = true;
    s->rules.validate_on = KP_CHECK_GET;
    s->rules.validate_after = 64 * SEC;
    s->rules.idle_ttl = 64 * SEC;
    s->rules.idle_check = KP_CHECK_GET;
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *old = stage_idle(s, sub);
    old->since = 1;
    s->now = 63 * SEC;
    assert_ptr_equal(stage_lend(s, sub), old);
    stage_idle(s, sub);
    assert_true(lane_open(s, sub));
    assert_int_equal(sub->lane_books->until, 64 * SEC);
}

static void a_term_must_be_worth_it(struct stage *s)
{
    s->core.least_term = KP__LEAST_TERM;
    assert_int_equal(KP__LEAST_TERM, MS);
    s->core.leak_after = KP__LEAST_TERM;
    assert_int_equal(term(s, 0), 0);
    s->core.leak_after++;
    assert_int_equal(term(s, 0), KP__LEAST_TERM + 1);
}

/* As some tests want it: what is done at one moment may go without the lock, ages are exact. */
static void a_term_must_be_an_instant_where_that_is_asked_for(struct stage *s)
{
    s->core.clocked = true;
    assert_int_equal(term(s, 0), 1);
    s->core.least_term = 5;
    assert_int_equal(term(s, 0), KP__NEVER);
    s->core.clocked = false;
    s->core.least_term = 0;
    assert_int_equal(term(s, 0), KP__NEVER);
}

/* ---- in time --------------------------------------------------------------------------------- */

static void lanes_must_be_shut_as_their_terms_end(struct stage *s)
{
    static const uint64_t terms[] = { 30, 10, 20, 40, 20 };
    struct kp__subpool *subs[5];

    kp__lane_shut_due(&s->core, KP__NEVER, 100); /* there is none */
    assert_int_equal(kp__terms_next(&s->core), KP__NEVER);
    for (int i = 0; i < 5; i++) {
        s->core.leak_after = terms[i];
        subs[i] = stage_key(s);
        stage_idle(s, subs[i]);
        assert_true(lane_open(s, subs[i]));
    }
    uint64_t now = s->now;
    assert_int_equal(kp__terms_next(&s->core), now + 10);
    for (uint64_t t = 0; t < 45; t++) {
        kp__lane_shut_due(&s->core, now + t, 100);
        for (int i = 0; i < 5; i++) assert_int_equal(subs[i]->open, terms[i] > t);
        uint64_t next = t < 10 ? 10 : t < 20 ? 20 : t < 30 ? 30 : 40;
        assert_int_equal(kp__terms_next(&s->core), t < 40 ? now + next : KP__NEVER);
    }
    stage_check(s);
}

/* So that the next get finds it open; a lane that was not used gets no new term. */
static void a_lane_that_was_used_must_begin_another_term_when_one_ends(struct stage *s)
{
    s->core.leak_after = 100;
    struct kp__subpool *sub = stage_key(s), *unused = stage_key(s), *many = stage_key(s);
    s->core.least_term = 1; /* from now on, a new key's first release opens none */
    struct kp__slot *slot = stage_idle(s, sub);
    stage_idle(s, unused);
    for (int i = 0; i < 4; i++) stage_idle(s, many); /* pauses for one release */
    assert_true(lane_open(s, sub) && lane_open(s, unused) && lane_open(s, many));
    for (uint64_t lends = 1; lends < 5; lends++) {
        uint64_t opened = sub->lane_books->opened;
        lane_use(slot, 1);
        if (many->open) lane_use(kp__oldest_idle(many), 1);
        s->now += 100;
        kp__lane_shut_due(&s->core, s->now, 100);
        stage_check(s);
        assert_true(sub->open);
        assert_int_equal(sub->lane_books->opened, s->now);
        assert_int_equal(kp__terms_next(&s->core), s->now + 100);
        assert_int_equal(slot->lends, lends);
        assert_int_equal(slot->since, opened);
        assert_false(unused->open || many->open);
    }
    s->now += 100;
    kp__lane_shut_due(&s->core, s->now, 100);
    assert_false(sub->open);
}

static void all_that_were_used_must_begin_another_one_together(struct stage *s)
{
    struct kp__slot *slot[3];

    s->core.leak_after = 100;
    for (int i = 0; i < 3; i++) {
        slot[i] = stage_idle(s, stage_key(s));
        assert_true(lane_open(s, slot[i]->sub));
        lane_use(slot[i], 1);
    }
    s->now += 100;
    kp__lane_shut_due(&s->core, s->now, 100);
    for (int i = 0; i < 3; i++) {
        assert_true(slot[i]->sub->open);
        assert_int_equal(slot[i]->sub->lane_books->opened, s->now);
    }
}

static void no_more_terms_must_end_at_once_than_that_was_asked_for(struct stage *s)
{
    struct kp__subpool *subs[5];
    int open = 0;

    s->core.leak_after = 100;
    for (int i = 0; i < 5; i++) {
        stage_idle(s, subs[i] = stage_key(s));
        assert_true(lane_open(s, subs[i]));
    }
    kp__lane_shut_due(&s->core, s->now + 100, 0);
    kp__lane_shut_due(&s->core, s->now + 100, 3);
    for (int i = 0; i < 5; i++) open += subs[i]->open;
    assert_int_equal(open, 2);
}

static void what_was_lent_when_a_term_ended_must_count_as_lent_since_then(struct stage *s)
{
    s->core.leak_after = 100;
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = stage_idle(s, sub);
    assert_true(lane_open(s, sub));
    lane_take(slot, "t", NULL);
    kp__lane_shut_due(&s->core, s->now + 103, 100);
    assert_int_equal(kp__seat_at(slot, 0)->since, s->now + 103);
    s->now += 103;
}

/* A lane without an end is shut only by calls that look at its key. */
static void a_lane_without_an_end_must_not_be_shut_before_the_end_of_time(struct stage *s)
{
    struct kp__subpool *sub = stage_key(s);
    stage_idle(s, sub);
    assert_true(lane_open(s, sub));
    kp__lane_shut_due(&s->core, KP__NEVER - 1, 100);
    assert_true(sub->open);
    kp__lane_shut_due(&s->core, KP__NEVER, 100); /* all of them: close */
    assert_false(sub->open);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LANE_TEST(a_lane_must_have_no_end_where_nothing_ever_ends),
        LANE_TEST(a_term_must_end_before_what_is_lent_counts_as_leaked),
        LANE_TEST(a_term_must_be_a_64th_of_an_idle_time_and_end_a_64th_before_it_does),
        LANE_TEST(a_term_must_end_100_ms_before_a_short_time_to_live),
        LANE_TEST(a_term_that_would_have_ended_before_time_began_must_not_begin),
        LANE_TEST(a_term_must_be_a_64th_of_the_time_of_what_is_too_many),
        LANE_TEST(a_term_must_end_before_what_is_idle_has_to_be_validated),
        LANE_TEST(a_term_must_be_a_part_of_the_time_between_two_tests),
        LANE_TEST(a_term_must_end_before_the_first_that_grows_too_old),
        LANE_TEST(what_is_retired_must_not_come_back_over_a_lane_whatever_is_said_of_ages),
        LANE_TEST(the_sooner_of_two_ends_must_be_that_of_the_term),
        LANE_TEST(an_age_must_count_among_the_times_to_live_that_a_term_ends_ahead_of),
        LANE_TEST(a_term_must_not_look_at_how_long_a_lent_one_was_idle),
        LANE_TEST(a_term_must_be_worth_it),
        LANE_TEST(a_term_must_be_an_instant_where_that_is_asked_for),
        LANE_TEST(lanes_must_be_shut_as_their_terms_end),
        LANE_TEST(a_lane_that_was_used_must_begin_another_term_when_one_ends),
        LANE_TEST(all_that_were_used_must_begin_another_one_together),
        LANE_TEST(no_more_terms_must_end_at_once_than_that_was_asked_for),
        LANE_TEST(what_was_lent_when_a_term_ended_must_count_as_lent_since_then),
        LANE_TEST(a_lane_without_an_end_must_not_be_shut_before_the_end_of_time),
    };

    return cmocka_run_group_tests_name("core/lane term", tests, NULL, NULL);
}
