/* SPDX-License-Identifier: MIT
 *
 * Tests of a key's health (core/create.c, core/serve.c): failed creations, the pauses between them,
 * and failures that are reported to later requests.
 */
#include "core_stage.h"

/* One creation of a request fails. */
static void fail_once(struct stage *s, struct kp__subpool *sub, struct kp__request *r, int code)
{
    assert_int_equal(stage_ask(s, sub, r, 0), KP__GRANT_PERMIT);
    stage_failed(s, stage_spend(s, sub), r, code);
}

/* ---- a creation that failed ------------------------------------------------------------------ */

static void a_failed_creation_must_refund_everything_and_tell_who_ran_it(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = stage_key(&s);
    fail_once(&s, sub, &r, -9);
    STAGE_NO(&r, -9, "");
    assert_false(r.holds_lent);
    assert_int_equal(s.core.lent.used, 0);
    assert_int_equal(s.core.live.used, 0);
    assert_int_equal(sub->rare->seldom.create_failures, 1);
    assert_int_equal(s.core.seldom.create_failures, 1);
    assert_int_equal(sub->rare->health.failures, 1);
    assert_int_equal(sub->rare->health.back_off, 0);
    assert_false(sub->rare->health.tripped);
    assert_int_equal(sub->rare->health.last->code, -9);
    assert_int_equal(sub->rare->health.last->until, 0);
    assert_int_equal(sub->rare->health.last->vendor_code, 7);
    assert_int_equal(stage_due_at(&s, sub), 0);
    free(sub->rare->health.last);
    stage_close(&s);
}

static void a_pending_creations_failure_must_be_told_its_sponsor(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = stage_key(&s);
    stage_ask(&s, sub, &r, 0);
    struct kp__slot *slot = stage_spend(&s, sub);
    stage_pending(&s, &r, slot);
    assert_int_equal(r.queue, KP__SPONSORS);
    stage_failed(&s, slot, NULL, -9);
    STAGE_NO(&r, -9, "");
    assert_int_equal(r.why->code, -9);
    assert_string_equal(r.why->text, "no");
    assert_true(stage_woken(&s, &r));
    assert_null(kp__under_way(&r));
    assert_int_equal(s.core.lent.used, 0);
    free(sub->rare->health.last);
    stage_close(&s);
}

static void with_retries_a_sponsor_must_wait_on_and_create_again(void **state)
{
    struct stage s;
    struct kp__request r[2];

    (void)state;
    stage_open(&s);
    s.rules.retry_requests = true;
    s.random = 4;
    s.rules.retry_max = 10;
    struct kp__subpool *sub = stage_key(&s);
    stage_ask(&s, sub, &r[0], 0);
    struct kp__slot *slot = stage_spend(&s, sub);
    stage_pending(&s, &r[0], slot);
    stage_failed(&s, slot, NULL, -9);
    assert_int_equal(r[0].grant.kind, KP__GRANT_WAIT);
    assert_int_equal(r[0].queue, KP__EITHER);
    assert_false(r[0].holds_lent);
    assert_int_equal(s.core.lent.used, 0);
    assert_int_equal(kp__next_look(&r[0]), s.now + 5);
    assert_string_equal(kp__limit_name[r[0].limit], "retry_first_ms");
    assert_true(stage_woken(&s, &r[0])); /* to look at the clock */
    assert_int_equal(stage_due_at(&s, sub), s.now + 5);
    s.now += 4;
    kp__settle(&s.core, sub, s.now, &s.todo);
    assert_int_equal(r[0].grant.kind, KP__GRANT_WAIT);
    s.now += 1;
    kp__settle(&s.core, sub, s.now, &s.todo);
    assert_int_equal(r[0].grant.kind, KP__GRANT_PERMIT);
    /* a final refusal is reported all the same */
    slot = stage_spend(&s, sub);
    stage_pending(&s, &r[0], slot);
    stage_failed(&s, slot, NULL, KP_EREFUSED);
    STAGE_NO(&r[0], KP_EREFUSED, "");
    free(sub->rare->health.last);
    stage_close(&s);
}

static void with_retries_a_fresh_sponsor_must_wait_on_among_the_fresh(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.rules.retry_requests = true;
    struct kp__subpool *sub = stage_key(&s);
    stage_ask(&s, sub, &r, KP_FRESH);
    struct kp__slot *slot = stage_spend(&s, sub);
    stage_pending(&s, &r, slot);
    assert_int_equal(r.queue, KP__OWN);
    stage_failed(&s, slot, NULL, -9);
    assert_int_equal(r.grant.kind, KP__GRANT_WAIT);
    assert_int_equal(r.queue, KP__FRESH);
    free(sub->rare->health.last);
    stage_close(&s);
}

static void without_memory_a_failure_must_count_all_the_same(void **state)
{
    struct stage s;
    struct kp__request r;
    struct kp__failure what = { .code = -9 }, *keep = NULL;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = stage_key(&s);
    stage_ask(&s, sub, &r, 0);
    kp__create_failed(&s.core, stage_spend(&s, sub), &r, &what, &keep, s.now, &s.todo);
    STAGE_NO(&r, -9, "");
    assert_null(sub->rare->health.last);
    assert_int_equal(sub->rare->health.failures, 1);
    stage_close(&s);
}

static void the_older_failure_must_come_back_to_be_freed(void **state)
{
    struct stage s;
    struct kp__request r;
    struct kp__failure memory[2], *keep = &memory[0], what = { .code = -8 };

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = stage_key(&s);
    stage_ask(&s, sub, &r, 0);
    kp__create_failed(&s.core, stage_spend(&s, sub), &r, &what, &keep, s.now, &s.todo);
    assert_null(keep);
    keep = &memory[1];
    what.code = -9;
    stage_ask(&s, sub, &r, 0);
    kp__create_failed(&s.core, stage_spend(&s, sub), &r, &what, &keep, s.now, &s.todo);
    assert_ptr_equal(keep, &memory[0]);
    assert_ptr_equal(sub->rare->health.last, &memory[1]);
    assert_int_equal(memory[1].code, -9);
    stage_close(&s);
}

/* ---- pauses ---------------------------------------------------------------------------------- */

static void the_pause_must_double_up_to_its_most_with_full_jitter(void **state)
{
    static const struct {
        uint64_t first, most, random;
        bool retries;
        uint64_t pause[4];
    } cases[] = {
        { 8, 100, 7, false, { 8, 8, 8, 8 } },
        { 8, 100, UINT64_MAX, false, { 8, 16, 32, 64 } }, /* 2^64 - 1 is the last of any 2^n */
        { 8, 20, 19, false, { 4, 4, 20, 20 } },
        { 8, 20, 0, false, { 1, 1, 1, 1 } },
        { 8, 5, 4, false, { 5, 5, 5, 5 } },
        { 0, 100, 7, false, { 0, 0, 0, 0 } },
        { 0, 40000000, 0, true, { 1, 1, 1, 1 } },
        { 0, 40000000, 9999999, true, { 10000000, 10000000, 10000000, 10000000 } },
        { 0, 40000000, 39999999, true, { 10000000, 20000000, 40000000, 40000000 } },
        { 8, 100, UINT64_MAX, true, { 8, 16, 32, 64 } },
        { 0, 0, 9999999, true, { 10000000, 10000000, 10000000, 10000000 } },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct stage s;
        struct kp__request r;
        stage_open(&s);
        s.rules.retry_first = cases[i].first;
        s.rules.retry_max = cases[i].most;
        s.rules.retry_requests = cases[i].retries;
        s.random = cases[i].random;
        struct kp__subpool *sub = stage_key(&s);
        for (int n = 0; n < 4; n++) {
            uint64_t pause = cases[i].pause[n];
            fail_once(&s, sub, &r, -9);
            if (sub->rare->health.back_off != (pause ? s.now + pause : 0))
                fail_msg("case %zu, failure %d: %llu", i, n + 1,
                         (unsigned long long)(sub->rare->health.back_off - s.now));
            if (pause) {
                assert_int_equal(stage_due_at(&s, sub), s.now + pause);
                assert_int_equal(stage_ask(&s, sub, &r, KP_DONT_CREATE), KP__GRANT_WAIT);
                kp__withdraw(&s.core, &r, s.now, &s.todo);
                s.now += pause;
                kp__unfile_sub(&s.core, sub);
            }
        }
        free(sub->rare->health.last);
        stage_close(&s);
    }
}

/* They fail all at once, so that each pause is counted from the same moment. */
static void a_pause_that_has_no_most_must_grow_to_the_end_of_time_and_stay(void **state)
{
    enum { MANY = 8 };
    const uint64_t first = UINT64_C(1) << 60;
    struct stage s;
    struct kp__request r[MANY];

    (void)state;
    stage_open(&s);
    s.rules.retry_first = first;
    s.rules.retry_max = KP__NEVER;
    s.random = UINT64_MAX - 1; /* the last but one of any 2^n, the last of those before NEVER */
    struct kp__subpool *sub = stage_key(&s);
    for (int i = 0; i < MANY; i++) assert_int_equal(stage_ask(&s, sub, &r[i], 0), KP__GRANT_PERMIT);
    for (int i = 0; i < MANY; i++) {
        uint64_t pause = i < 4 ? (first << i) - 1 : KP__NEVER;
        stage_failed(&s, stage_spend(&s, sub), &r[i], -9);
        assert_true(sub->rare->health.back_off == kp__later(s.now, pause));
    }
    free(sub->rare->health.last);
    stage_close(&s);
}

static void a_creation_that_comes_out_well_must_end_the_pause(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.rules.retry_first = s.rules.retry_max = 50;
    s.random = 49;
    s.rules.cache_failure = 20;
    s.rules.max_creating = 3;
    struct kp__subpool *sub = stage_key(&s);
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_PERMIT);
    struct kp__slot *other = stage_spend(&s, sub);
    struct kp__request second;
    fail_once(&s, sub, &second, -9);
    assert_int_equal(sub->rare->health.back_off, s.now + 50);
    assert_int_equal(sub->rare->health.last->until, s.now + 20);
    stage_made(&s, other, &r);
    assert_int_equal(sub->rare->health.failures, 0);
    assert_int_equal(sub->rare->health.back_off, 0);
    assert_int_equal(sub->rare->health.last->until, 0);
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_PERMIT);
    free(sub->rare->health.last);
    stage_close(&s);
}

/* After a failure one creation at a time, until one succeeds; with a pause configured. */
static void after_a_failure_creations_must_be_tried_one_at_a_time(void **state)
{
    struct stage s;
    struct kp__request r[3];

    (void)state;
    stage_open(&s);
    s.rules.max_creating = 3;
    struct kp__subpool *sub = stage_key(&s);
    kp__rare(&s.core, sub)->health.failures = 1;
    assert_int_equal(stage_ask(&s, sub, &r[0], 0), KP__GRANT_PERMIT);
    assert_int_equal(stage_ask(&s, sub, &r[1], 0), KP__GRANT_PERMIT); /* no pauses: no probing */
    s.rules.retry_first = 50;
    assert_int_equal(stage_ask(&s, sub, &r[2], 0), KP__GRANT_WAIT);
    assert_string_equal(kp__limit_name[r[2].limit], "max_creating");
    stage_take(&s, &r[0]);
    assert_int_equal(r[2].grant.kind, KP__GRANT_PERMIT);
    stage_close(&s);
}

/* ---- failures told again --------------------------------------------------------------------- */

static void a_failure_must_be_told_again_for_as_long_as_it_is_kept(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.rules.cache_failure = 20;
    struct kp__subpool *sub = stage_key(&s);
    fail_once(&s, sub, &r, -9);
    assert_int_equal(sub->rare->health.last->until, s.now + 20);
    s.now += 19;
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_NO);
    STAGE_NO(&r, -9, "cache_failure_ms");
    assert_int_equal(r.why->code, -9);
    assert_string_equal(r.why->text, "no");
    s.now += 1;
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_PERMIT);
    free(sub->rare->health.last);
    stage_close(&s);
}

static void a_background_failure_must_be_told_once_to_one_each(void **state)
{
    struct stage s;
    struct kp__request r[3];

    (void)state;
    stage_open(&s);
    s.rules.cache_once = true;
    s.rules.cache_failure = KP__NEVER; /* as flow/limits.c has it */
    s.rules.max_live = 2;
    struct kp__subpool *sub = stage_key(&s);
    for (int i = 1; i <= 3; i++) {
        kp__permit_take(&s.core, sub);
        stage_failed(&s, stage_spend(&s, sub), NULL, -i);
        /* no more than the key may hold are kept */
        assert_int_equal(sub->rare->health.kept_count, i < 2 ? i : 2);
    }
    assert_int_equal(sub->rare->health.last->code, -3);
    assert_int_equal(sub->rare->health.last->until, 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(stage_ask(&s, sub, &r[i], 0), KP__GRANT_NO);
        STAGE_NO(&r[i], -1 - i, "cache_failure_ms");
        assert_int_equal(r[i].why->code, -1 - i);
    }
    assert_int_equal(sub->rare->health.kept_count, 0);
    assert_int_equal(stage_ask(&s, sub, &r[2], 0), KP__GRANT_PERMIT);
    for (int i = 0; i < 2; i++) { /* they leave with the to-do */
        struct kp__list *spent = kp__list_first(&s.todo.spent);
        assert_non_null(spent);
        kp__list_remove(spent);
        free(KP__OF(spent, struct kp__failure, link));
    }
    assert_null(kp__list_first(&s.todo.spent));
    free(sub->rare->health.last);
    stage_close(&s);
}

static void a_failure_of_ones_own_must_not_be_kept_for_others(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.rules.cache_once = true;
    s.rules.cache_failure = KP__NEVER;
    struct kp__subpool *sub = stage_key(&s);
    fail_once(&s, sub, &r, -9);
    assert_int_equal(sub->rare->health.kept_count, 0);
    free(sub->rare->health.last);
    kp__rare(&s.core, sub)->health.last = NULL;
    stage_ask(&s, sub, &r, 0);
    struct kp__slot *slot = stage_spend(&s, sub);
    stage_pending(&s, &r, slot);
    stage_failed(&s, slot, NULL, -9); /* its sponsor's */
    assert_int_equal(sub->rare->health.kept_count, 0);
    assert_int_equal(sub->rare->health.last->until, 0);
    free(sub->rare->health.last);
    stage_close(&s);
}

/* Without a pause it would be tried again and again at once. */
static void a_failed_refill_must_be_tried_again_after_its_pause_if_there_is_one(void **state)
{
    struct stage s;

    (void)state;
    for (uint64_t pause = 0; pause <= 100; pause += 100) {
        stage_open(&s);
        s.rules.min_live = 1;
        s.rules.retry_first = s.rules.retry_max = pause;
        struct kp__subpool *sub = stage_key(&s);
        sub->refill = sub->warm = true;
        kp__permit_take(&s.core, sub);
        stage_failed(&s, stage_spend(&s, sub), NULL, -9);
        assert_int_equal(sub->refill, pause > 0);
        assert_int_equal(sub->warm, pause > 0);
        if (pause) assert_int_equal(stage_due_at(&s, sub), sub->rare->health.back_off);
        free(sub->rare->health.last);
        stage_close(&s);
    }
}

static void after_the_failure_of_a_request_a_refill_must_go_on(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.rules.min_live = 1;
    struct kp__subpool *sub = stage_key(&s);
    sub->refill = true;
    stage_ask(&s, sub, &r, 0);
    stage_failed(&s, stage_spend(&s, sub), &r, -9);
    assert_true(sub->refill);
    assert_int_equal(stage_due_at(&s, sub), s.now);
    free(sub->rare->health.last);
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_creation_must_refund_everything_and_tell_who_ran_it),
        cmocka_unit_test(a_pending_creations_failure_must_be_told_its_sponsor),
        cmocka_unit_test(with_retries_a_sponsor_must_wait_on_and_create_again),
        cmocka_unit_test(with_retries_a_fresh_sponsor_must_wait_on_among_the_fresh),
        cmocka_unit_test(without_memory_a_failure_must_count_all_the_same),
        cmocka_unit_test(the_older_failure_must_come_back_to_be_freed),
        cmocka_unit_test(the_pause_must_double_up_to_its_most_with_full_jitter),
        cmocka_unit_test(a_pause_that_has_no_most_must_grow_to_the_end_of_time_and_stay),
        cmocka_unit_test(a_creation_that_comes_out_well_must_end_the_pause),
        cmocka_unit_test(after_a_failure_creations_must_be_tried_one_at_a_time),
        cmocka_unit_test(a_failure_must_be_told_again_for_as_long_as_it_is_kept),
        cmocka_unit_test(a_background_failure_must_be_told_once_to_one_each),
        cmocka_unit_test(a_failure_of_ones_own_must_not_be_kept_for_others),
        cmocka_unit_test(a_failed_refill_must_be_tried_again_after_its_pause_if_there_is_one),
        cmocka_unit_test(after_the_failure_of_a_request_a_refill_must_go_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
