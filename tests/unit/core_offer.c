/* SPDX-License-Identifier: MIT
 *
 * Tests of what a key owes to others (core/budget.c): resources that it has and others lack.
 */
#include "core_stage.h"

#define ONE KP__SHARE_ONE

static void room_must_be_owed_to_who_is_a_whole_permit_behind(void **state)
{
    static const struct {
        int64_t weights[2];
        uint64_t behind; /* the starved one's score is so much smaller */
        bool owed;
    } cases[] = {
        { { 1, 1 }, ONE, true },       { { 1, 1 }, ONE - 1, false },
        { { 1, 4 }, ONE, true },       { { 1, 4 }, ONE - 1, false }, /* by the smaller weight */
        { { 4, 1 }, ONE - 1, false },  { { 4, 2 }, ONE / 2, true },
        { { 4, 2 }, ONE / 2 - 1, false }, { { 2, 4 }, ONE / 2, true },
        { { 2, 4 }, ONE / 2 - 1, false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct stage s;
        struct kp__rules rules[2] = { stage_rules(), stage_rules() };
        stage_open(&s);
        struct kp__subpool *mine = stage_key(&s), *poor = stage_key(&s);
        rules[0].weight = cases[i].weights[0];
        rules[1].weight = cases[i].weights[1];
        stage_rule(&s, mine, &rules[0], -1, -1);
        stage_rule(&s, poor, &rules[1], -1, -1);
        /* nobody is starved */
        assert_false(kp__budget_owed(&s.core, &s.core.live, mine, KP__IDLE));
        kp__note_lack(&s.core, poor, &s.core.live);
        assert_false(kp__budget_owed(&s.core, &s.core.live, poor, KP__IDLE)); /* not to oneself */
        kp__share_begin(&s.core, &s.core.live, mine);
        kp__contest(&s.core, poor)->rank.score =
            kp__share_score(&s.core.live, mine) - cases[i].behind;
        if (kp__budget_owed(&s.core, &s.core.live, mine, KP__IDLE) != cases[i].owed)
            fail_msg("case %zu", i);
        stage_close(&s);
    }
}

static void floors_and_arrival_must_owe_by_rank_alone(void **state)
{
    struct stage s;
    struct kp__rules below = stage_rules();

    (void)state;
    stage_open(&s);
    below.floor = 3;
    struct kp__subpool *mine = stage_key(&s), *poor = stage_key(&s);
    stage_rule(&s, poor, &below, -1, -1);
    kp__note_lack(&s.core, poor, &s.core.live);
    kp__contest(&s.core, poor)->rank.score += 100 * ONE;
    assert_true(kp__budget_owed(&s.core, &s.core.live, mine, KP__IDLE)); /* it is below its floor */
    stage_rule(&s, mine, &below, -1, -1); /* it settles: no request waits there */
    kp__note_lack(&s.core, poor, &s.core.live);
    kp__contest(&s.core, poor)->rank.score += 100 * ONE;
    assert_false(kp__budget_owed(&s.core, &s.core.live, mine, KP__IDLE)); /* both are: by score */
    kp__contest(&s.core, poor)->rank.score = kp__share_score(&s.core.live, mine) - 1;
    assert_true(kp__budget_owed(&s.core, &s.core.live, mine, KP__IDLE));
    stage_rule(&s, poor, &s.rules, -1, -1);
    kp__note_lack(&s.core, poor, &s.core.live);
    kp__contest(&s.core, poor)->rank.score -= 100 * ONE;
    assert_false(kp__budget_owed(&s.core, &s.core.live, mine, KP__IDLE)); /* only mine is below */
    s.core.by_arrival = true;
    stage_rule(&s, mine, &s.rules, -1, -1);
    kp__note_lack(&s.core, poor, &s.core.live);
    kp__contest(&s.core, poor)->rank.arrived = UINT64_MAX - 1; /* no request of mine waits: last */
    assert_true(kp__budget_owed(&s.core, &s.core.live, mine, KP__IDLE));
    kp__contest(&s.core, poor)->rank.arrived = UINT64_MAX;
    assert_false(kp__budget_owed(&s.core, &s.core.live, mine, KP__IDLE));
    stage_close(&s);
}

/* Stay ends a whole permit earlier where the two shares would be no further apart the other way
 * round. */
static void room_must_be_owed_by_one_above_its_share_to_one_below(void **state)
{
    static const struct {
        int64_t weights[2];
        uint32_t held[2];
        bool owed;
    } cases[] = {
        { { 1, 1 }, { 2, 1 }, true },  { { 1, 1 }, { 2, 2 }, false }, { { 1, 2 }, { 1, 1 }, true },
        { { 1, 2 }, { 1, 2 }, false }, { { 2, 1 }, { 2, 0 }, true },  { { 2, 1 }, { 3, 1 }, false },
        { { 2, 1 }, { 4, 1 }, true },  { { 2, 3 }, { 2, 2 }, true },  { { 2, 3 }, { 2, 3 }, false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct stage s;
        struct kp__rules rules[2] = { stage_rules(), stage_rules() };
        struct kp__subpool *sub[2];
        stage_open(&s);
        for (int k = 0; k < 2; k++) {
            sub[k] = stage_key(&s);
            rules[k].weight = cases[i].weights[k];
            stage_rule(&s, sub[k], &rules[k], -1, -1);
            for (uint32_t n = 0; n < cases[i].held[k]; n++) kp__lent_take(&s.core, sub[k]);
        }
        kp__note_lack(&s.core, sub[1], &s.core.lent);
        kp__share_begin(&s.core, &s.core.lent, sub[0]);
        kp__contest(&s.core, sub[1])->rank.score =
            kp__share_score(&s.core.lent, sub[0]) - 1;
        if (kp__budget_owed(&s.core, &s.core.lent, sub[0], KP__IDLE) != cases[i].owed)
            fail_msg("case %zu", i);
        kp__contest(&s.core, sub[1])->rank.score++; /* no better */
        assert_false(kp__budget_owed(&s.core, &s.core.lent, sub[0], KP__IDLE));
        stage_close(&s);
    }
}

/* Its rank may be of long ago: so many were looked at in this moment that it was not. */
static void nothing_must_be_owed_to_oneself_however_old_ones_rank_is(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = stage_key(&s);
    kp__lent_take(&s.core, sub);
    kp__note_lack(&s.core, sub, &s.core.lent);
    s.core.usual[KP__LEASED].hold = 10;
    s.core.lent.looked_at = s.core.latest += 1000;
    s.core.lent.looks = 8;
    assert_false(kp__budget_owed(&s.core, &s.core.lent, sub, KP__IDLE));
    kp__contest(&s.core, sub)->rank.score -= 9 * ONE;
    assert_false(kp__budget_owed(&s.core, &s.core.lent, sub, KP__LENT));
    assert_false(kp__budget_outranked(&s.core, &s.core.lent, sub));
    /* so it was not looked at */
    assert_int_equal(sub->contest->rank.score, UINT64_MAX - 7 * ONE + 1);
    stage_close(&s);
}

/* What is in use counts as held: the key that would keep it is compared as if it had one less. */
static void what_is_in_use_must_be_owed_by_what_the_key_has_without_it(void **state)
{
    static const struct {
        int64_t weight, floor;
        uint32_t held;
        uint64_t behind; /* the starved one's score is so much smaller than with it */
        bool owed;
    } cases[] = {
        { 1, 0, 1, 2 * ONE, true },     { 1, 0, 1, 2 * ONE - 1, false }, /* stay: a permit */
        { 1, 0, 2, ONE + 1, true },     { 1, 0, 2, ONE, false },         /* one above, one below */
        { 2, 0, 2, 3 * ONE / 2, true }, { 2, 0, 2, 3 * ONE / 2 - 1, false },
        { 1, 1, 2, ONE + 1, true },     { 1, 2, 2, 50 * ONE, false },    /* below its floor then */
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct stage s;
        struct kp__rules rules = stage_rules();
        stage_open(&s);
        struct kp__subpool *mine = stage_key(&s), *poor = stage_key(&s);
        rules.weight = cases[i].weight;
        rules.floor = cases[i].floor;
        stage_rule(&s, mine, &rules, -1, -1);
        for (uint32_t n = 0; n < cases[i].held; n++) kp__lent_take(&s.core, mine);
        /* nobody is starved */
        assert_false(kp__budget_owed(&s.core, &s.core.lent, mine, KP__LENT));
        kp__note_lack(&s.core, poor, &s.core.lent);
        kp__share_begin(&s.core, &s.core.lent, mine);
        kp__contest(&s.core, poor)->rank.score =
            kp__share_score(&s.core.lent, mine) - cases[i].behind;
        if (kp__budget_owed(&s.core, &s.core.lent, mine, KP__LENT) != cases[i].owed)
            fail_msg("case %zu", i);
        stage_close(&s);
    }
}

/* A free seat stays free for requests that came before: otherwise a key that keeps one seat busy
 * would keep other keys from its room for ever. */
static void by_arrival_a_seat_must_go_to_who_came_first(void **state)
{
    (void)state;
    for (int first = 0; first < 2; first++) {
        struct stage s;
        struct kp__request own, r[2];
        stage_open(&s);
        s.core.by_arrival = true;
        s.core.live.cap = 1;
        s.rules.sharing = 2;
        s.rules.max_live = 1;
        struct kp__subpool *sub[2] = { stage_key(&s), stage_key(&s) };
        struct kp__slot *slot = stage_lend(&s, sub[0]);
        assert_int_equal(stage_ask(&s, sub[0], &own, 0), KP__GRANT_SLOT);
        assert_int_equal(stage_ask(&s, sub[first], &r[first], 0), KP__GRANT_WAIT);
        assert_int_equal(stage_ask(&s, sub[!first], &r[!first], 0), KP__GRANT_WAIT);
        assert_int_equal(kp__budget_owed(&s.core, &s.core.live, sub[0], KP__LENT), first == 1);
        stage_give(&s, slot, 0, true);
        assert_int_equal(r[0].grant.kind, first == 0 ? KP__GRANT_SLOT : KP__GRANT_WAIT);
        stage_give(&s, slot, 1, true);
        if (first == 1) {
            assert_int_equal(r[1].grant.kind, KP__GRANT_PERMIT);
            assert_ptr_equal(r[1].slot, slot);
            stage_victim_gone(&s, &r[1]);
        }
        stage_close(&s);
    }
}

/* Another key lacks room in the pool, and is two permits behind this one. */
static void lacks_room(struct stage *s, struct kp__subpool *mine)
{
    struct kp__subpool *poor = stage_key(s);
    static struct kp__request r;

    assert_int_equal(stage_ask(s, poor, &r, 0), KP__GRANT_WAIT);
    kp__share_begin(&s->core, &s->core.live, mine);
    kp__contest(&s->core, poor)->rank.score = kp__share_score(&s->core.live, mine) - 2 * ONE;
    assert_true(kp__budget_owed(&s->core, &s->core.live, mine, KP__IDLE));
}

/* Its minimum, without what is being destroyed. */
static void what_a_key_keeps_must_be_its_own_whoever_is_behind(void **state)
{
    (void)state;
    for (int closing = 0; closing < 2; closing++) {
        struct stage s;
        struct kp__request r;
        stage_open(&s);
        s.core.live.cap = 1 + closing;
        s.rules.min_live = 1;
        struct kp__subpool *sub = stage_key(&s);
        struct kp__slot *slot = stage_idle(&s, sub);
        if (closing) {
            assert_ptr_equal(stage_lend(&s, sub), slot);
            (void)stage_idle(&s, sub);
            stage_give(&s, slot, 0, false);
        }
        lacks_room(&s, sub);
        assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_SLOT);
        stage_close(&s);
    }
}

static void without_eviction_a_key_must_lend_what_it_has(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.core.evicts = false;
    s.core.live.cap = 1;
    struct kp__subpool *sub = stage_key(&s);
    (void)stage_idle(&s, sub);
    lacks_room(&s, sub);
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_SLOT);
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(room_must_be_owed_to_who_is_a_whole_permit_behind),
        cmocka_unit_test(floors_and_arrival_must_owe_by_rank_alone),
        cmocka_unit_test(room_must_be_owed_by_one_above_its_share_to_one_below),
        cmocka_unit_test(nothing_must_be_owed_to_oneself_however_old_ones_rank_is),
        cmocka_unit_test(what_is_in_use_must_be_owed_by_what_the_key_has_without_it),
        cmocka_unit_test(what_a_key_keeps_must_be_its_own_whoever_is_behind),
        cmocka_unit_test(without_eviction_a_key_must_lend_what_it_has),
        cmocka_unit_test(by_arrival_a_seat_must_go_to_who_came_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
