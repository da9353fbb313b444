/* SPDX-License-Identifier: MIT
 *
 * Tests of the ranks by which keys stand in the heap of a budget that they lack (core/budget.c), as
 * far as they follow scores (core_share.c) and time.
 */
#include "core_stage.h"

#define ONE KP__SHARE_ONE

/* The credit is for keys that come back. A key that stays and waits is owed all that it did not
 * get. */
static void who_stays_must_keep_its_score_however_far_the_time_moves_on(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    kp__note_lack(&s.core, a, &s.core.lent);
    kp__note_lack(&s.core, b, &s.core.lent);
    s.core.lent.virtual_time = 9 * ONE;
    kp__note_lack(&s.core, a, &s.core.lent);
    assert_int_equal(a->contest->rank.score, ONE);
    kp__note_lack(&s.core, b, NULL);
    kp__note_lack(&s.core, b, &s.core.lent);
    assert_int_equal(b->contest->rank.score, 8 * ONE);
    stage_close(&s);
}

static void whoever_comes_to_the_top_must_be_ranked_anew_as_time_goes_by(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    a->lent_permits = 1;
    b->lent_permits = 1;
    s.core.usual[KP__LEASED].hold = 10;
    kp__note_lack(&s.core, a, &s.core.lent);
    kp__note_lack(&s.core, b, &s.core.lent);
    kp__contest(&s.core, a)->rank.score -= 5; /* a hair before b */
    kp__heap_fix(&s.core.lent.starved, &kp__contest(&s.core, a)->starved);
    assert_ptr_equal(kp__starved_first(&s.core, &s.core.lent), a);
    /* b's is of now; a's has grown since */
    s.core.latest += 100;
    kp__contest(&s.core, b)->share.at = kp__contention(&s.core);
    assert_ptr_equal(kp__starved_first(&s.core, &s.core.lent), b);
    assert_true(a->contest->rank.score > b->contest->rank.score);
    assert_int_equal(s.core.lent.looks, 1);
    assert_int_equal(s.core.lent.looked_at, s.core.latest);
    a->lent_permits = b->lent_permits = 0;
    stage_close(&s);
}

static void after_a_few_looks_at_one_moment_the_order_must_be_taken_as_it_is(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = stage_key(&s);
    sub->lent_permits = 1;
    kp__note_lack(&s.core, sub, &s.core.lent);
    for (int round = 0; round < 2; round++) {
        s.core.latest += 10;
        for (uint32_t i = 1; i <= 9; i++) {
            kp__contest(&s.core, sub)->share.at = 1; /* as if it were another each time */
            kp__contest(&s.core, sub)->rank.score = 5;
            assert_ptr_equal(kp__starved_first(&s.core, &s.core.lent), sub);
            assert_int_equal(s.core.lent.looks, i < 8 ? i : 8);
            assert_int_equal(sub->contest->rank.score == 5, i > 8);
        }
    }
    /* one that holds nothing needs no look: its lag has not grown */
    s.core.latest += 10;
    sub->lent_permits = 0;
    kp__contest(&s.core, sub)->rank.score = 5;
    assert_ptr_equal(kp__starved_first(&s.core, &s.core.lent), sub);
    assert_int_equal(sub->contest->rank.score, 5);
    sub->lent_permits = 1;
    s.core.by_arrival = true;
    assert_ptr_equal(kp__starved_first(&s.core, &s.core.lent), sub);
    assert_int_equal(sub->contest->rank.score, 5);
    sub->lent_permits = 0;
    stage_close(&s);
}

static void scores_must_be_compared_across_the_end_of_their_numbers(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    s.core.lent.virtual_time = UINT64_MAX - ONE / 2;
    kp__note_lack(&s.core, a, &s.core.lent); /* its score wraps to ONE / 2 - 1 */
    kp__note_lack(&s.core, b, &s.core.lent);
    assert_int_equal(a->contest->rank.score, ONE / 2 - 1);
    /* before it, though the number is larger */
    kp__contest(&s.core, b)->rank.score = UINT64_MAX - 5;
    kp__heap_fix(&s.core.lent.starved, &kp__contest(&s.core, b)->starved);
    assert_ptr_equal(kp__starved_first(&s.core, &s.core.lent), b);
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_stays_must_keep_its_score_however_far_the_time_moves_on),
        cmocka_unit_test(whoever_comes_to_the_top_must_be_ranked_anew_as_time_goes_by),
        cmocka_unit_test(after_a_few_looks_at_one_moment_the_order_must_be_taken_as_it_is),
        cmocka_unit_test(scores_must_be_compared_across_the_end_of_their_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
