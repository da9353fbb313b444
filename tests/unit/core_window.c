/* SPDX-License-Identifier: MIT
 *
 * Tests of core/circuit.c: which outcomes count in a window (limits.breaker_rate_pct).
 */
#include <stdlib.h>

#include "core_stage.h"

static struct kp__subpool *rated(struct stage *s, uint64_t pct, uint64_t calls)
{
    s->rules.breaker_rate = pct;
    s->rules.breaker_calls = calls;
    s->rules.breaker_window = 800;
    s->rules.breaker_open = 1000;
    s->rules.breaker_counts = KP_BREAK_USE;
    return stage_key(s);
}

static void the_rate_must_open_it_at_so_many_outcomes_and_not_before(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = rated(&s, 50, 4);
    for (int i = 0; i < 3; i++) assert_int_equal(stage_report(&s, sub, i == 0), KP__AS_BEFORE);
    assert_int_equal(stage_report(&s, sub, true), KP__OPENED); /* two of four: what went well */
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_NO);
    STAGE_NO(&r, KP_EBREAKER, "breaker_rate_pct");
    kp__circuit_forgive(&s.core, sub);
    for (int i = 0; i < 3; i++) assert_int_equal(stage_report(&s, sub, false), KP__AS_BEFORE);
    assert_int_equal(stage_report(&s, sub, false), KP__OPENED); /* it began with none */
    stage_close(&s);
}

static void a_probe_that_fails_must_leave_the_rule_that_opened_it(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = rated(&s, 50, 2);
    struct kp__slot *slot = stage_idle(&s, sub);
    assert_int_equal(stage_report(&s, sub, true), KP__AS_BEFORE);
    assert_int_equal(stage_report(&s, sub, false), KP__OPENED);
    s.now += 1000;
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_SLOT);
    assert_int_equal(kp__reported(&s.core, slot, 0, -1, s.now, &s.todo), KP__OPENED);
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_NO);
    STAGE_NO(&r, KP_EBREAKER, "breaker_rate_pct");
    stage_close(&s);
}

static void a_rate_just_below_must_not_open_it(void **state)
{
    (void)state;
    for (int bad = 1; bad <= 2; bad++) { /* of three: 33.3 %, or 66.7 %, at most */
        struct stage s;
        stage_open(&s);
        struct kp__subpool *sub = rated(&s, bad == 1 ? 34 : 67, 3);
        for (int i = 0; i < 30; i++)
            assert_int_equal(stage_report(&s, sub, i % 3 < 3 - bad), KP__AS_BEFORE);
        stage_close(&s);
    }
}

static void both_rules_may_open_it(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.rules.breaker_failures = 3;
    struct kp__subpool *sub = rated(&s, 100, 1000);
    assert_int_equal(stage_report(&s, sub, false), KP__AS_BEFORE);
    assert_int_equal(stage_report(&s, sub, false), KP__AS_BEFORE);
    assert_int_equal(stage_report(&s, sub, false), KP__OPENED);
    stage_ask(&s, sub, &r, 0);
    STAGE_NO(&r, KP_EBREAKER, "breaker_failures");
    s.rules.breaker_calls = 5;
    kp__circuit_forgive(&s.core, sub);
    s.rules.breaker_failures = 9;
    for (int i = 0; i < 4; i++) stage_report(&s, sub, false);
    assert_int_equal(stage_report(&s, sub, false), KP__OPENED);
    stage_ask(&s, sub, &r, 0);
    STAGE_NO(&r, KP_EBREAKER, "breaker_rate_pct");
    stage_close(&s);
}

/* The window against a list of all that happened: it sees what fell into the part of time that has
 * begun and the seven before, no more and no less. */
static void the_window_must_see_the_last_eight_parts(void **state)
{
    enum { MANY = 3000 };
    static uint64_t when[MANY];
    static bool went_well[MANY];
    struct stage s;
    unsigned seed = 7;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = rated(&s, 100, 1000000);
    for (int i = 0; i < MANY; i++) {
        seed = seed * 1103515245 + 12345;
        s.now += (seed >> 16) % 3 == 0 ? (seed >> 8) % 300 : (seed >> 16) % 7 == 0 ? 5000 : 3;
        when[i] = s.now;
        went_well[i] = seed >> 30;
        stage_report(&s, sub, went_well[i]);
        uint64_t all = 0, failed = 0, seen = 0, bad = 0;
        for (int j = 0; j <= i; j++)
            if (when[j] / 100 + 8 > s.now / 100) all++, failed += !went_well[j];
        for (int p = 0; p < KP__WINDOW_PARTS; p++) {
            seen += sub->rare->health.circuit->window.parts[p].all;
            bad += sub->rare->health.circuit->window.parts[p].failed;
        }
        assert_int_equal(seen, all);
        assert_int_equal(bad, failed);
    }
    stage_close(&s);
}

static void an_older_time_must_count_in_the_latest_part(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = rated(&s, 100, 3);
    stage_report(&s, sub, false);
    s.now -= 150;
    stage_report(&s, sub, false);
    s.now += 150 + 700; /* the part in which both were counted is the eighth */
    assert_int_equal(stage_report(&s, sub, false), KP__OPENED);
    stage_close(&s);
}

/* Else the first outcome after it would take as long as there are parts in between. */
static void a_window_of_long_ago_must_be_passed_in_one_step(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = rated(&s, 100, 2);
    assert_int_equal(stage_report(&s, sub, false), KP__AS_BEFORE);
    s.now = UINT64_C(1) << 62;
    assert_int_equal(stage_report(&s, sub, false), KP__AS_BEFORE);
    assert_int_equal(stage_report(&s, sub, false), KP__OPENED);
    stage_close(&s);
}

static void another_width_must_begin_anew(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = rated(&s, 100, 3);
    stage_report(&s, sub, false);
    stage_report(&s, sub, false);
    s.rules.breaker_window = 8000;
    assert_int_equal(stage_report(&s, sub, false), KP__AS_BEFORE);
    assert_int_equal(stage_report(&s, sub, false), KP__AS_BEFORE);
    assert_int_equal(stage_report(&s, sub, false), KP__OPENED);
    stage_close(&s);
}

static void creations_must_count_in_the_window_too(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.rules.breaker_rate = 50;
    s.rules.breaker_calls = 2;
    s.rules.breaker_window = 800;
    s.rules.breaker_open = 1000;
    s.rules.breaker_counts = KP_BREAK_CREATE;
    struct kp__subpool *sub = stage_key(&s);
    (void)stage_lend(&s, sub);
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_PERMIT);
    stage_failed(&s, stage_begin(&s, &r), &r, -9);
    assert_true(sub->rare->health.tripped);
    free(sub->rare->health.last);
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rate_must_open_it_at_so_many_outcomes_and_not_before),
        cmocka_unit_test(a_probe_that_fails_must_leave_the_rule_that_opened_it),
        cmocka_unit_test(a_rate_just_below_must_not_open_it),
        cmocka_unit_test(both_rules_may_open_it),
        cmocka_unit_test(the_window_must_see_the_last_eight_parts),
        cmocka_unit_test(an_older_time_must_count_in_the_latest_part),
        cmocka_unit_test(a_window_of_long_ago_must_be_passed_in_one_step),
        cmocka_unit_test(another_width_must_begin_anew),
        cmocka_unit_test(creations_must_count_in_the_window_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
