/* SPDX-License-Identifier: MIT
 *
 * The core's causes (kp_cause): which counter each raises, and which of several a resource ends by.
 */
#include <stddef.h>

#include "core_stage.h"

/* 1 + where the counter lies that the header names, or 0. */
#define AT(counter) (1 + offsetof(struct kp__seldom, counter))
static const size_t counter_of[] = {
    0,
#define destroys_at 0
#define invalidated_at AT(invalidated)
#define invalid_at AT(invalid)
#define expired_at AT(expired)
#define renewed_at AT(renewed)
#define evicted_at AT(evicted)
#define surplus_at AT(surplus)
#define X(name, counter, sentence) counter##_at,
    KP_CAUSE_MAP(X)
#undef X
};

static void each_cause_must_have_the_counter_that_the_header_says(void **state)
{
    struct counts {
        struct kp__seldom seldom;
        uint64_t destroys;
    } expected = { .destroys = 0 };
    struct stage s;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = stage_key(&s);
    for (kp_cause cause = KP_CAUSE_NONE + 1; cause <= KP_CAUSE_CLOSED; cause++) {
        struct kp__slot *slot = stage_idle(&s, sub);
        kp__close_idle(&s.core, slot, cause, &s.todo);
        stage_check(&s);
        assert_int_equal(stage_destroy(&s), 1);
        assert_null(slot->resource);
        expected.destroys++;
        if (counter_of[cause]) ++*(uint64_t *)((char *)&expected.seldom + counter_of[cause] - 1);
        assert_int_equal(s.core.tally.destroys, expected.destroys);
        assert_int_equal(sub->tally.destroys, expected.destroys);
        assert_memory_equal(&s.core.seldom, &expected.seldom, sizeof expected.seldom);
        assert_memory_equal(&sub->rare->seldom, &expected.seldom, sizeof expected.seldom);
    }
    stage_close(&s);
}

/* The check says that it is bad; if its peer is gone, that was reported before. */
static void one_whose_peer_is_gone_must_end_by_that_and_not_by_the_check(void **state)
{
    static const struct {
        kp_cause marked, found, ends;
    } cases[] = {
        { KP_CAUSE_GONE, KP_CAUSE_INVALID, KP_CAUSE_GONE },
        { KP_CAUSE_GONE, KP_CAUSE_RESET, KP_CAUSE_GONE },
        { KP_CAUSE_GONE, KP_CAUSE_DISCARDED, KP_CAUSE_DISCARDED },
        { KP_CAUSE_INVALIDATED, KP_CAUSE_INVALID, KP_CAUSE_INVALID },
        { KP_CAUSE_NONE, KP_CAUSE_RESET, KP_CAUSE_RESET },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct stage s;
        stage_open(&s);
        struct kp__slot *slot = stage_lend(&s, stage_key(&s));
        if (cases[i].marked) (void)kp__doom(&s.core, slot, cases[i].marked, &s.todo);
        else slot->cause = KP_CAUSE_GONE; /* from before: this one was not marked */
        kp__give(&s.core, slot, 0, cases[i].found, s.now, &s.todo);
        assert_int_equal(slot->cause, cases[i].ends);
        stage_close(&s);
    }
}

/* ---- by its time ----------------------------------------------------------------------------- */

static void the_soonest_of_the_ages_must_be_the_cause(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    struct kp__slot *slot = stage_idle(&s, stage_key(&s)); /* idle since 1000 */
    s.rules.idle_ttl = 20;
    s.rules.idle_check = KP_CHECK_GET;
    assert_int_equal(kp__expired(slot, KP_CHECK_GET), KP_CAUSE_IDLE);
    s.rules.excess_ttl = 10;
    s.rules.excess_check = KP_CHECK_GET;
    assert_int_equal(kp__expired(slot, KP_CHECK_GET), KP_CAUSE_EXCESS);
    s.rules.idle_check = 0;
    assert_int_equal(kp__expired(slot, KP_CHECK_GET), KP_CAUSE_EXCESS);
    slot->age_end = slot->since + 5;
    s.rules.age_check = KP_CHECK_KEEPER;
    assert_int_equal(kp__expired(slot, KP_CHECK_GET), KP_CAUSE_EXCESS); /* its age is no matter */
    assert_int_equal(kp__expired(slot, KP_CHECK_KEEPER), KP_CAUSE_AGE);
    s.rules.age_check = KP_CHECK_GET;
    assert_int_equal(kp__expired(slot, KP_CHECK_GET), KP_CAUSE_AGE);
    slot->old = true;
    assert_int_equal(kp__expired(slot, KP_CHECK_GET), KP_CAUSE_ROTATED);
    slot->age_end = slot->since + 15;
    assert_int_equal(kp__expired(slot, KP_CHECK_GET), KP_CAUSE_EXCESS);
    stage_close(&s);
}

/* Those that are found used up when they come back are in core_return.c. */
static void one_that_may_have_no_more_uses_must_end_by_them(void **state)
{
    struct kp__request r;
    struct stage s;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slot = stage_lend(&s, sub);
    stage_give(&s, slot, 0, true);
    s.rules.max_uses = 1; /* from now on */
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_PERMIT);
    stage_take(&s, &r);
    assert_int_equal(slot->state, KP__CLOSING);
    assert_int_equal(slot->cause, KP_CAUSE_USES);
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_cause_must_have_the_counter_that_the_header_says),
        cmocka_unit_test(one_whose_peer_is_gone_must_end_by_that_and_not_by_the_check),
        cmocka_unit_test(the_soonest_of_the_ages_must_be_the_cause),
        cmocka_unit_test(one_that_may_have_no_more_uses_must_end_by_them),
    };
    return cmocka_run_group_tests_name("core: causes", tests, NULL, NULL);
}
