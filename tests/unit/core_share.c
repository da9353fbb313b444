/* SPDX-License-Identifier: MIT
 *
 * Tests of core/share.c: scores, lags, virtual time. The usual hold is in core_usual.c, the ranks
 * that are based on scores in core_rank.c, what is owed to other keys in core_offer.c, invitations
 * in core_invite.c.
 */
#include "core_stage.h"

#define ONE KP__SHARE_ONE

/* ---- what a key holds ------------------------------------------------------------------------ */

static void what_is_idle_or_ceded_must_not_be_held_and_what_is_promised_must(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = stage_key(&s);
    sub->count[KP__CREATING] = 1;
    sub->count[KP__IDLE] = 20;
    sub->count[KP__LENT] = 300;
    sub->count[KP__CLOSING] = 4000;
    kp__contest(&s.core, sub)->ceded = 3000;
    kp__contest(&s.core, sub)->promised = 50000;
    sub->lent_permits = 7;
    assert_int_equal(kp__held(sub, KP__IN_USE), 51301);
    assert_int_equal(kp__held(sub, KP__LEASED), 7);
    assert_int_equal(kp__held(sub, KP__BEING_MADE), 50001);
    assert_int_equal(kp__held(sub, KP__BEGUN), 0);
    stage_close(&s);
}

/* ---- lags ------------------------------------------------------------------------------------ */

/* A key that holds two of a budget of which another key is starved since `now`. */
static struct kp__subpool *holder(struct stage *s)
{
    struct kp__subpool *sub = stage_key(s);

    sub->lent_permits = 2;
    s->core.starved = 1;
    s->core.contended = s->core.latest;
    return sub;
}

static void nothing_must_be_counted_in_calm(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = holder(&s);
    s.core.usual[KP__LEASED].hold = 100;
    s.core.starved = 0;
    s.core.latest += 500;
    kp__account(&s.core, sub);
    assert_int_equal(sub->contest->share.had[KP__LEASED], 0);
    s.core.starved = 1;
    s.core.contended = s.core.latest - 100;
    kp__account(&s.core, sub); /* only since a key is starved */
    assert_int_equal(sub->contest->share.had[KP__LEASED], 2 * ONE / KP__SHARE_TAU);
    assert_int_equal(sub->contest->share.at, kp__contention(&s.core));
    assert_int_equal(s.core.usual[KP__LEASED].spent, 200);
    assert_int_equal(sub->contest->share.had[KP__IN_USE], 0);
    stage_close(&s);
}

static void a_lag_must_grow_by_time_held_in_usual_holds_over_the_weight(void **state)
{
    static const struct {
        uint64_t span, hold;
        uint32_t held;
        int64_t weight;
        uint64_t lag;
    } cases[] = {
        { 100, 100, 1, 1, ONE / 8 },          { 100, 100, 3, 1, 3 * ONE / 8 },
        { 100, 100, 3, 3, ONE / 8 },          { 50, 100, 1, 1, ONE / 16 },
        { 100, 0, 1, 1, 0 },                  { 0, 100, 1, 1, 0 },
        { 4096, 1, 1, 1, 4096 * (ONE / 8) },  { 4097, 1, 1, 1, 4096 * (ONE / 8) },
        { 4095, 1, 1, 1, 4095 * (ONE / 8) },  { 9999, 1, 1, 1, 4096 * (ONE / 8) },
        { 3, 7, 1, 1, 3 * ONE / 7 / 8 },
        /* long spans lose low bits, not their sense */
        { UINT64_C(1) << 40, UINT64_C(1) << 40, 1, 1, ONE / 8 },
        { UINT64_C(1) << 41, UINT64_C(1) << 40, 1, 1, 2 * ONE / 8 },
        { (UINT64_C(1) << 40) - 1, UINT64_C(1) << 39, 1, 1, (2 * ONE - 1) / 8 },
        { 1, UINT64_C(1) << 63, 1, 1, 0 },
        /* ... and none before they must */
        { (UINT64_C(1) << 40) - 1, (UINT64_C(1) << 28) + 1, 1, 1,
          (((UINT64_C(1) << 40) - 1) << 24) / ((UINT64_C(1) << 28) + 1) / 8 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct stage s;
        stage_open(&s);
        s.rules.weight = cases[i].weight;
        struct kp__subpool *sub = holder(&s);
        sub->lent_permits = cases[i].held;
        s.core.usual[KP__LEASED].hold = cases[i].hold;
        s.core.latest += cases[i].span;
        kp__account_now(&s.core, sub);
        if (sub->contest->share.had[KP__LEASED] != cases[i].lag)
            fail_msg("case %zu: %llu", i, (unsigned long long)sub->contest->share.had[KP__LEASED]);
        assert_int_equal(s.core.usual[KP__LEASED].spent, cases[i].held * cases[i].span);
        kp__account_now(&s.core, sub); /* once */
        assert_int_equal(sub->contest->share.had[KP__LEASED], cases[i].lag);
        sub->lent_permits = 0;
        s.core.starved = 0;
        stage_close(&s);
    }
}

static void a_million_permits_must_count_as_a_million(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = holder(&s);
    sub->lent_permits = (1 << 20) + 1;
    s.core.latest += 10;
    kp__account_now(&s.core, sub);
    assert_int_equal(s.core.usual[KP__LEASED].spent, 10 << 20);
    sub->lent_permits = (1 << 20) - 1;
    s.core.latest += 10;
    kp__account_now(&s.core, sub);
    assert_int_equal(s.core.usual[KP__LEASED].spent, (20 << 20) - 10);
    stage_close(&s);
}

/* Until then it held one less. */
static void what_a_key_is_given_must_count_from_then_on(void **state)
{
    struct stage s;
    struct kp__request r, making[3];

    (void)state;
    stage_open(&s);
    stage_group(&s, 0, 0, 0);
    struct kp__subpool *sub = stage_key(&s), *poor = stage_key(&s);
    stage_rule(&s, poor, &s.rules, 0, -1);
    assert_int_equal(stage_ask(&s, poor, &r, 0), KP__GRANT_WAIT);
    for (int m = 0; m < KP__MEASURES; m++) s.core.usual[m].hold = 100;
    for (uint64_t had = 0; had < 3; had++) {
        assert_int_equal(stage_ask(&s, sub, &making[had], 0), KP__GRANT_PERMIT);
        for (int m = 0; m < KP__BEGUN; m++)
            assert_int_equal(sub->contest->share.had[m], had * (had + 1) / 2 * ONE / KP__SHARE_TAU);
        s.now += 100;
    }
    for (int i = 0; i < 3; i++) stage_take(&s, &making[i]);
    assert_int_equal(sub->contest->share.had[KP__BEING_MADE], 6 * ONE / KP__SHARE_TAU);
    s.core.latest += 100;
    kp__account(&s.core, sub);
    assert_int_equal(sub->contest->share.had[KP__BEING_MADE], 6 * ONE / KP__SHARE_TAU);
    assert_int_equal(sub->contest->share.had[KP__IN_USE], 9 * ONE / KP__SHARE_TAU);
    stage_close(&s);
}

static void time_that_steps_back_must_count_nothing(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = holder(&s);
    s.core.usual[KP__LEASED].hold = 100;
    s.core.latest += 50;
    kp__account(&s.core, sub);
    uint64_t had = sub->contest->share.had[KP__LEASED];
    s.core.latest -= 20;
    kp__account(&s.core, sub);
    assert_int_equal(sub->contest->share.had[KP__LEASED], had);
    assert_int_equal(s.core.usual[KP__LEASED].spent, 100);
    sub->lent_permits = 0;
    stage_close(&s);
}

static void a_key_without_rules_must_only_be_given_the_time(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = holder(&s);
    sub->rules = NULL;
    s.core.latest += 10;
    kp__account_now(&s.core, sub);
    assert_int_equal(sub->contest->share.at, kp__contention(&s.core));
    assert_int_equal(s.core.usual[KP__LEASED].spent, 0);
    stage_close(&s);
}

/* ---- scores ---------------------------------------------------------------------------------- */

static void a_score_must_be_one_more_than_held_by_weight_and_the_lag(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.rules.weight = 3;
    struct kp__subpool *sub = stage_key(&s);
    sub->lent_permits = 2;
    sub->count[KP__CREATING] = 5;
    assert_int_equal(kp__share_score(&s.core.lent, sub), ONE);
    assert_int_equal(kp__share_score(&s.core.live, sub), 2 * ONE);
    kp__contest(&s.core, sub)->share.had[KP__LEASED] = 70;
    kp__contest(&s.core, sub)->share.had[KP__IN_USE] = 700;
    kp__contest(&s.core, sub)->share.had[KP__BEING_MADE] = 7000;
    kp__contest(&s.core, sub)->share.start[KP__LENDING].from = 1;
    kp__contest(&s.core, sub)->share.start[KP__MAKING].from = 2;
    assert_int_equal(kp__share_score(&s.core.lent, sub), ONE + 71);
    assert_int_equal(kp__share_score(&s.core.creating, sub), 2 * ONE + 7002);
    assert_int_equal(kp__share_score(&s.core.live, sub), 2 * ONE + 700);
    sub->count[KP__CREATING] = 0;
    stage_close(&s);
}

static void a_key_that_begins_to_compete_must_start_at_the_time_of_the_budget(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.rules.weight = 2;
    struct kp__subpool *sub = stage_key(&s);
    s.core.lent.virtual_time = 9 * ONE;
    s.core.lent.bout = 4;
    kp__contest(&s.core, sub)->share.had[KP__LEASED] = 5 * ONE;
    kp__share_begin(&s.core, &s.core.lent, sub);
    assert_int_equal(sub->contest->share.start[KP__LENDING].bout, 4);
    assert_int_equal(sub->contest->share.start[KP__LENDING].from, 4 * ONE);
    /* back in the same bout: at most a credit of two permits behind, if none is lighter */
    s.core.lent.virtual_time = 10 * ONE;
    kp__share_begin(&s.core, &s.core.lent, sub);
    assert_int_equal(sub->contest->share.start[KP__LENDING].from, 4 * ONE); /* exactly that far */
    s.core.lent.virtual_time = 10 * ONE + 1;
    kp__share_begin(&s.core, &s.core.lent, sub);
    assert_int_equal(sub->contest->share.start[KP__LENDING].from, 4 * ONE + 1);
    s.core.lent.virtual_time = 3 * ONE; /* ahead of it: stays there */
    kp__share_begin(&s.core, &s.core.lent, sub);
    assert_int_equal(sub->contest->share.start[KP__LENDING].from, 4 * ONE + 1);
    s.core.lent.virtual_time = 10 * ONE + 1; /* one permit of its own, and one of the lighter key */
    s.core.lent.lightest = 1;
    kp__share_begin(&s.core, &s.core.lent, sub);
    assert_int_equal(sub->contest->share.start[KP__LENDING].from, 4 * ONE + 1);
    s.core.lent.virtual_time += ONE / 2 + 1;
    kp__share_begin(&s.core, &s.core.lent, sub);
    assert_int_equal(sub->contest->share.start[KP__LENDING].from, 4 * ONE + 2);
    s.core.lent.virtual_time = 3 * ONE;
    s.core.lent.bout = 5; /* another bout: what was before is not held against it */
    kp__share_begin(&s.core, &s.core.lent, sub);
    assert_int_equal(sub->contest->share.start[KP__LENDING].from, 3 * ONE - 5 * ONE);
    assert_int_equal(s.core.lent.lightest, 1);
    assert_int_equal(sub->contest->share.start[KP__LENDING].bout, 5);
    stage_close(&s);
}

/* By a permit of its own, and by one of the lightest key; but not by more than all of its own. */
static void a_heavy_key_must_come_back_no_further_behind_than_if_it_held_all(void **state)
{
    static const struct {
        int64_t lightest, cap, held;
        uint64_t behind; /* in permits of weight 8 */
    } ways[] = { { 1, 20, 0, 9 }, { 1, 9, 0, 9 }, { 1, 8, 0, 9 }, { 1, 7, 0, 8 }, { 1, 1, 0, 2 },
                 { 2, 20, 0, 5 }, { 2, 5, 0, 5 }, { 2, 3, 0, 4 }, { 3, 2, 0, 3 },
                 /* it holds more than there may be of something else */
                 { 1, 2, 3, 5 }, { 1, 2, 7, 9 }, { 1, 2, 9, 9 } };
    struct stage s;

    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        stage_open(&s);
        s.rules.weight = 8;
        struct kp__subpool *sub = stage_key(&s);
        s.core.lent.bout = kp__contest(&s.core, sub)->share.start[KP__LENDING].bout = 4;
        s.core.lent.virtual_time = 10 * ONE;
        s.core.lent.lightest = ways[i].lightest;
        s.core.lent.cap = ways[i].cap;
        sub->lent_permits = (uint32_t)ways[i].held;
        kp__share_begin(&s.core, &s.core.lent, sub);
        assert_int_equal(sub->contest->share.start[KP__LENDING].from,
                         10 * ONE - ways[i].behind * ONE / 8);
        sub->lent_permits = 0;
        stage_close(&s);
    }
}

static void time_must_follow_who_was_served_and_never_go_back(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.rules.weight = 2;
    struct kp__subpool *sub = stage_key(&s);
    s.core.lent.bout = 1;
    kp__contest(&s.core, sub)->share.start[KP__LENDING].bout = 1;
    kp__contest(&s.core, sub)->share.had[KP__LEASED] = 3 * ONE;
    kp__share_served(&s.core, &s.core.lent, sub);
    assert_int_equal(s.core.lent.virtual_time, 3 * ONE + ONE / 16);
    kp__contest(&s.core, sub)->share.had[KP__LEASED] = ONE;
    kp__share_served(&s.core, &s.core.lent, sub);
    assert_int_equal(s.core.lent.virtual_time, 3 * ONE + ONE / 16);
    kp__contest(&s.core, sub)->share.had[KP__LEASED] = 3 * ONE + 1; /* as little as it may be */
    kp__share_served(&s.core, &s.core.lent, sub);
    assert_int_equal(s.core.lent.virtual_time, 3 * ONE + ONE / 16 + 1);
    s.core.lent.virtual_time = 3 * ONE + ONE / 16;
    s.core.lent.virtual_time = 99 * ONE; /* far ahead: a key that waited all the time may be as
                                            far */
    uint64_t from = sub->contest->share.start[KP__LENDING].from;
    kp__share_served(&s.core, &s.core.lent, sub);
    assert_int_equal(sub->contest->share.start[KP__LENDING].from, from);
    assert_int_equal(s.core.lent.virtual_time, 99 * ONE);
    s.core.lent.virtual_time = 3 * ONE + ONE / 16;
    /* one who never competed begins now */
    s.core.lent.bout = 2;
    kp__share_served(&s.core, &s.core.lent, sub);
    assert_int_equal(sub->contest->share.start[KP__LENDING].bout, 2);
    assert_int_equal(s.core.lent.virtual_time, 3 * ONE + 2 * (ONE / 16));
    /* one below its floor does not move the time */
    s.rules.floor = 1;
    kp__contest(&s.core, sub)->share.had[KP__LEASED] = 50 * ONE;
    kp__share_served(&s.core, &s.core.lent, sub);
    assert_int_equal(s.core.lent.virtual_time, 3 * ONE + 2 * (ONE / 16));
    sub->lent_permits = 1;
    kp__share_served(&s.core, &s.core.lent, sub);
    assert_true(s.core.lent.virtual_time > 49 * ONE);
    sub->lent_permits = 0;
    stage_close(&s);
}

static void only_budgets_that_somebody_lacks_must_note_who_was_served(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    stage_group(&s, 0, 0, 9);
    stage_group(&s, 1, 1, 9);
    struct kp__subpool *sub = stage_key(&s), *poor = stage_key(&s);
    stage_rule(&s, poor, &s.rules, 0, 1); /* so that no group loses its last key */
    struct kp__budget *all[] = { &s.core.live, &s.core.creating, &s.groups[0].budget,
                                 &s.groups[1].budget, &s.core.lent };
    for (int n = 0; n < 4 * 5 * KP__MEASURES; n++) {
        int in = n % 4, lacked = n / 4 % 5, m = n / 4 / 5;
        stage_rule(&s, sub, &s.rules, in & 1 ? 0 : -1, in & 2 ? 1 : -1);
        kp__note_lack(&s.core, poor, all[lacked]);
        for (int i = 0; i < 5; i++) all[i]->virtual_time = 0;
        kp__served(&s.core, sub, (enum kp__measure)m);
        bool concerned = m == (lacked == 4   ? KP__LEASED
                               : lacked == 1 ? KP__BEING_MADE
                                             : KP__IN_USE);
        if (lacked == 2 || lacked == 3) concerned = concerned && sub->contest->group[lacked - 2];
        for (int i = 0; i < 5; i++)
            assert_int_equal(all[i]->virtual_time > 0, i == lacked && concerned);
        kp__note_lack(&s.core, poor, NULL); /* no request waits for it, as the books expect */
    }
    stage_close(&s);
}

/* To lend, to create, and to create once a victim is gone. */
static void a_budgets_time_must_follow_who_was_given_a_permit(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        struct stage s;
        struct kp__request r;
        stage_open(&s);
        struct kp__budget *budget = kind == 0 ? &s.core.lent : &s.core.live;
        budget->cap = 2;
        struct kp__subpool *rich = stage_key(&s), *poor = stage_key(&s);
        struct kp__slot *slot = stage_lend(&s, rich);
        stage_lend(&s, rich);
        assert_int_equal(stage_ask(&s, poor, &r, 0), KP__GRANT_WAIT);
        assert_ptr_equal(poor->contest->lacks, budget);
        stage_give(&s, slot, 0, kind == 2);
        if (kind < 2) assert_int_equal(budget->virtual_time, 0);
        stage_destroy(&s);
        assert_int_equal(r.grant.kind, KP__GRANT_PERMIT);
        assert_int_equal(budget->virtual_time, ONE / 8);
        if (kind == 2) stage_victim_gone(&s, &r);
        stage_close(&s);
    }
}

static void a_new_bout_must_begin_when_the_first_is_starved(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    s.core.latest = 7000;
    kp__note_lack(&s.core, a, &s.core.lent);
    assert_int_equal(s.core.lent.bout, 1);
    assert_int_equal(s.core.starved, 1);
    assert_int_equal(s.core.contended, 7000);
    s.core.latest = 7100;
    kp__note_lack(&s.core, b, &s.core.lent);
    assert_int_equal(s.core.lent.bout, 1);
    assert_int_equal(s.core.contended, 7000);
    kp__note_lack(&s.core, a, NULL);
    kp__note_lack(&s.core, b, NULL);
    assert_int_equal(s.core.starved, 0);
    s.core.lent.lightest = 0;
    kp__note_lack(&s.core, b, &s.core.lent);
    assert_int_equal(s.core.lent.lightest, b->rules->weight);
    assert_int_equal(s.core.lent.bout, 2);
    assert_int_equal(s.core.contended, 7100);
    kp__note_lack(&s.core, b, &s.core.live);
    assert_int_equal(s.core.starved, 1);
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_idle_or_ceded_must_not_be_held_and_what_is_promised_must),
        cmocka_unit_test(nothing_must_be_counted_in_calm),
        cmocka_unit_test(a_lag_must_grow_by_time_held_in_usual_holds_over_the_weight),
        cmocka_unit_test(a_million_permits_must_count_as_a_million),
        cmocka_unit_test(what_a_key_is_given_must_count_from_then_on),
        cmocka_unit_test(time_that_steps_back_must_count_nothing),
        cmocka_unit_test(a_key_without_rules_must_only_be_given_the_time),
        cmocka_unit_test(a_score_must_be_one_more_than_held_by_weight_and_the_lag),
        cmocka_unit_test(a_key_that_begins_to_compete_must_start_at_the_time_of_the_budget),
        cmocka_unit_test(a_heavy_key_must_come_back_no_further_behind_than_if_it_held_all),
        cmocka_unit_test(time_must_follow_who_was_served_and_never_go_back),
        cmocka_unit_test(only_budgets_that_somebody_lacks_must_note_who_was_served),
        cmocka_unit_test(a_budgets_time_must_follow_who_was_given_a_permit),
        cmocka_unit_test(a_new_bout_must_begin_when_the_first_is_starved),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
