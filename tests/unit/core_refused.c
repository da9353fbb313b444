/* SPDX-License-Identifier: MIT
 *
 * Tests of what requests of a key are told when its creations fail (core/decide_create.c,
 * core/create.c): fail_fast, refusals, and what kp__forgive resets.
 */
#include "core_stage.h"

#define SECOND UINT64_C(1000000000)

/* One creation of a request fails. */
static void fail_once(struct stage *s, struct kp__subpool *sub, struct kp__request *r, int code)
{
    assert_int_equal(stage_ask(s, sub, r, 0), KP__GRANT_PERMIT);
    stage_failed(s, stage_spend(s, sub), r, code);
}

/* ---- fail_fast ------------------------------------------------------------------------------- */

static void fast(struct stage *s)
{
    s->rules.fail_fast = true;
    s->rules.retry_first = s->rules.retry_max = 50;
    s->rules.max_creating = 3;
    s->random = 49;
}

static void with_fail_fast_all_who_need_a_creation_must_hear_the_cause(struct stage *s)
{
    struct kp__request r[3], probe;

    fast(s);
    struct kp__subpool *sub = stage_key(s);
    s->rules.max_creating = 1;
    assert_int_equal(stage_ask(s, sub, &probe, 0), KP__GRANT_PERMIT);
    assert_int_equal(stage_ask(s, sub, &r[0], 0), KP__GRANT_WAIT); /* nothing has failed so far */
    assert_int_equal(stage_ask(s, sub, &r[1], KP_DONT_CREATE), KP__GRANT_WAIT);
    stage_failed(s, stage_spend(s, sub), &probe, -9);
    STAGE_NO(&r[0], KP_ECREATE, "retry_first_ms");
    assert_int_equal(r[0].why->vendor_code, 7);
    assert_string_equal(r[0].why->text, "no");
    assert_true(stage_woken(s, &r[0]));
    assert_int_equal(r[1].grant.kind, KP__GRANT_WAIT); /* it wants no creation */
    kp__withdraw(&s->core, &r[1], s->now, &s->todo);
    s->now += 49;
    assert_int_equal(stage_ask(s, sub, &r[0], 0), KP__GRANT_NO);
    STAGE_NO(&r[0], KP_ECREATE, "retry_first_ms");
    s->now += 1;
    assert_int_equal(stage_ask(s, sub, &probe, 0), KP__GRANT_PERMIT);
    assert_int_equal(stage_ask(s, sub, &r[2], 0), KP__GRANT_NO); /* one is enough to find out */
    STAGE_NO(&r[2], KP_ECREATE, "max_creating");
    assert_string_equal(r[2].why->text, "no");
    stage_take(s, &probe);
    assert_int_equal(stage_ask(s, sub, &r[0], 0), KP__GRANT_PERMIT);
    assert_int_equal(stage_ask(s, sub, &r[1], 0), KP__GRANT_WAIT); /* no more than busy */
    assert_string_equal(kp__limit_name[r[1].limit], "max_creating");
    free(sub->rare->health.last);
}

static void without_fail_fast_they_must_wait(struct stage *s)
{
    struct kp__request r;

    fast(s);
    s->rules.fail_fast = false;
    struct kp__subpool *sub = stage_key(s);
    fail_once(s, sub, &r, -9);
    assert_int_equal(stage_ask(s, sub, &r, 0), KP__GRANT_WAIT);
    assert_string_equal(kp__limit_name[r.limit], "retry_first_ms");
    free(sub->rare->health.last);
}

static void who_may_have_what_comes_back_must_wait_for_it(struct stage *s)
{
    struct kp__request r[4];

    fast(s);
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot[2] = { stage_lend(s, sub), stage_lend(s, sub) };
    fail_once(s, sub, &r[0], -9);
    assert_int_equal(stage_ask(s, sub, &r[0], 0), KP__GRANT_WAIT);
    assert_string_equal(kp__limit_name[r[0].limit], "retry_first_ms");
    assert_int_equal(stage_ask(s, sub, &r[1], 0), KP__GRANT_WAIT);
    stage_ask(s, sub, &r[2], KP_FRESH);
    STAGE_NO(&r[2], KP_ECREATE, "retry_first_ms"); /* it takes nothing that comes back */
    stage_give(s, slot[0], 0, true);
    assert_int_equal(r[0].grant.kind, KP__GRANT_SLOT);
    (void)kp__doom(&s->core, slot[1], KP_CAUSE_INVALIDATED, &s->todo);
    assert_int_equal(stage_ask(s, sub, &r[3], 0), KP__GRANT_WAIT);
    (void)kp__doom(&s->core, slot[0], KP_CAUSE_INVALIDATED, &s->todo);
    kp__settle(&s->core, sub, s->now, &s->todo); /* neither comes back any more */
    STAGE_NO(&r[1], KP_ECREATE, "retry_first_ms");
    STAGE_NO(&r[3], KP_ECREATE, "retry_first_ms");
    free(sub->rare->health.last);
}

/* By the keeper: then it is idle again, unless it turned out to be bad. */
static void who_may_have_what_is_being_tested_must_wait_for_it(struct stage *s)
{
    for (int good = 0; good < 2; good++) {
        struct kp__request r, fresh;
        fast(s);
        struct kp__subpool *sub = stage_key(s);
        struct kp__slot *slot = stage_lend(s, sub);
        fail_once(s, sub, &r, -9);
        stage_give(s, slot, 0, true);
        kp__test_begin(&s->core, slot, s->now, KP__NEVER);
        assert_int_equal(stage_ask(s, sub, &r, 0), KP__GRANT_WAIT);
        assert_int_equal(stage_ask(s, sub, &fresh, KP_FRESH), KP__GRANT_NO);
        kp__tested(&s->core, slot, good, s->now, &s->todo);
        assert_int_equal(stage_destroy(s), !good);
        if (good) assert_ptr_equal(stage_take(s, &r), slot);
        else STAGE_NO(&r, KP_ECREATE, "retry_first_ms");
        free(sub->rare->health.last);
        kp__rare(&s->core, sub)->health.last = NULL;
    }
}

static void when_the_last_one_lent_is_gone_they_must_be_told(struct stage *s)
{
    struct kp__request r;

    fast(s);
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = stage_lend(s, sub);
    fail_once(s, sub, &r, -9);
    assert_int_equal(stage_ask(s, sub, &r, 0), KP__GRANT_WAIT);
    stage_give(s, slot, 0, false);
    assert_int_equal(stage_destroy(s), 1);
    STAGE_NO(&r, KP_ECREATE, "retry_first_ms");
    free(sub->rare->health.last);
}

static void without_a_remembered_cause_they_must_be_told_all_the_same(struct stage *s)
{
    struct kp__failure what = { .code = -9 }, *keep = NULL;
    struct kp__request r;

    fast(s);
    struct kp__subpool *sub = stage_key(s);
    assert_int_equal(stage_ask(s, sub, &r, 0), KP__GRANT_PERMIT);
    kp__create_failed(&s->core, stage_spend(s, sub), &r, &what, &keep, s->now, &s->todo);
    assert_int_equal(stage_ask(s, sub, &r, 0), KP__GRANT_NO);
    STAGE_NO(&r, KP_ECREATE, "retry_first_ms");
    assert_int_equal(r.why->code, 0);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void a_refusal_must_stop_all_creations_of_its_key(struct stage *s)
{
    struct kp__request r[3];

    s->rules.min_live = 1;
    s->rules.max_creating = 1;
    s->rules.cache_failure = 1000;
    struct kp__subpool *sub = stage_key(s), *other = stage_key(s);
    assert_int_equal(stage_ask(s, sub, &r[0], 0), KP__GRANT_PERMIT);
    assert_int_equal(stage_ask(s, sub, &r[1], 0), KP__GRANT_WAIT);
    stage_failed(s, stage_spend(s, sub), &r[0], KP_EREFUSED);
    STAGE_NO(&r[0], KP_EREFUSED, "");
    STAGE_NO(&r[1], KP_EREFUSED, "driver.create"); /* one that waited already */
    assert_string_equal(r[1].why->text, "no");
    assert_int_equal(sub->rare->health.last->until, 0); /* it is no failure kept for a time */
    s->now += 1000 * SECOND;
    assert_int_equal(stage_ask(s, sub, &r[2], 0), KP__GRANT_NO);
    STAGE_NO(&r[2], KP_EREFUSED, "driver.create");
    assert_int_equal(r[2].why->vendor_code, 7);
    assert_false(kp__refill_permit(&s->core, sub, true, s->now));
    assert_true(kp__refill_permit(&s->core, other, true, s->now)); /* of another key */
    free(sub->rare->health.last);
}

static void what_is_there_or_comes_back_must_be_lent_as_ever(struct stage *s)
{
    struct kp__request r[2];

    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = stage_lend(s, sub);
    fail_once(s, sub, &r[0], KP_EREFUSED);
    assert_int_equal(stage_ask(s, sub, &r[0], 0), KP__GRANT_WAIT);
    assert_string_equal(kp__limit_name[r[0].limit], "driver.create");
    assert_int_equal(kp__next_look(&r[0]), KP__NEVER);
    stage_give(s, slot, 0, true);
    assert_int_equal(r[0].grant.kind, KP__GRANT_SLOT);
    stage_give(s, slot, 0, true);
    assert_int_equal(stage_ask(s, sub, &r[1], 0), KP__GRANT_SLOT);
    free(sub->rare->health.last);
}

static void what_refused_must_stay_the_cause(struct stage *s)
{
    struct kp__failure last = { .code = KP_EREFUSED, .text = "password" }, *keep = &last;
    struct kp__request r[3];

    s->rules.cache_once = true;
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot[3];
    for (int i = 0; i < 3; i++) {
        assert_int_equal(stage_ask(s, sub, &r[i], 0), KP__GRANT_PERMIT);
        slot[i] = stage_spend(s, sub);
    }
    /* not kept for one request: every request is told */
    kp__create_failed(&s->core, slot[0], NULL, &last, &keep, s->now, &s->todo);
    assert_null(keep);
    assert_int_equal(sub->rare->health.kept_count, 0);
    stage_failed(s, slot[1], &r[1], -9); /* others were under way */
    stage_made(s, slot[2], &r[2]);
    assert_int_equal(sub->rare->health.failures, 0);
    assert_int_equal(stage_ask(s, sub, &r[0], KP_FRESH), KP__GRANT_NO);
    STAGE_NO(&r[0], KP_EREFUSED, "driver.create");
    assert_string_equal(r[0].why->text, "password");
}

static void a_later_refusal_must_be_the_cause(struct stage *s)
{
    struct kp__failure causes[2] = { { .code = KP_EREFUSED, .text = "first" },
                                     { .code = KP_EREFUSED, .text = "second" } };
    struct kp__request r[2];

    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot[2];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(stage_ask(s, sub, &r[i], 0), KP__GRANT_PERMIT);
        slot[i] = stage_spend(s, sub);
    }
    for (int i = 0; i < 2; i++) {
        struct kp__failure *keep = &causes[i];
        kp__create_failed(&s->core, slot[i], &r[i], &causes[i], &keep, s->now, &s->todo);
        assert_ptr_equal(keep, i ? &causes[0] : NULL);
    }
    assert_int_equal(stage_ask(s, sub, &r[0], 0), KP__GRANT_NO);
    assert_string_equal(r[0].why->text, "second");
}

static void a_refusal_without_memory_must_not_be_told_with_another_cause(struct stage *s)
{
    struct kp__failure what = { .code = KP_EREFUSED }, *keep = NULL;
    struct kp__request r;

    struct kp__subpool *sub = stage_key(s);
    fail_once(s, sub, &r, -9);
    assert_int_equal(stage_ask(s, sub, &r, 0), KP__GRANT_PERMIT);
    kp__create_failed(&s->core, stage_spend(s, sub), &r, &what, &keep, s->now, &s->todo);
    assert_non_null(keep); /* the older one, to be freed */
    free(keep);
    assert_null(sub->rare->health.last);
    assert_int_equal(stage_ask(s, sub, &r, 0), KP__GRANT_NO);
    STAGE_NO(&r, KP_EREFUSED, "driver.create");
    assert_int_equal(r.why->code, 0);
}

/* ---- forgiving ------------------------------------------------------------------------------- */

static void to_forgive_must_serve_who_waits_at_once(struct stage *s)
{
    struct kp__request r[2];

    s->rules.retry_first = s->rules.retry_max = 50;
    s->rules.cache_failure = 20;
    s->rules.breaker_failures = 2;
    s->rules.breaker_open = 1000;
    s->rules.breaker_counts = KP_BREAK_CREATE | KP_BREAK_USE;
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = stage_lend(s, sub);
    fail_once(s, sub, &r[0], KP_EREFUSED);
    assert_int_equal(stage_ask(s, sub, &r[0], 0), KP__GRANT_WAIT);
    kp__forgive(&s->core, sub, s->now, &s->todo);
    assert_int_equal(r[0].grant.kind, KP__GRANT_PERMIT);
    assert_true(stage_woken(s, &r[0]));
    assert_int_equal(stage_due_at(s, sub), s->now);
    assert_false(sub->refill);
    stage_failed(s, stage_spend(s, sub), &r[0], -9);
    assert_int_equal(sub->rare->health.failures, 1);
    assert_true(sub->rare->health.back_off > s->now);
    assert_true(sub->rare->health.last->until > s->now);
    (void)stage_report(s, sub, false);
    assert_int_equal(stage_report(s, sub, false), KP__OPENED);
    kp__forgive(&s->core, sub, s->now, &s->todo);
    const struct kp__health *h = &sub->rare->health;
    assert_false(h->tripped || h->circuit->probing || h->refused);
    assert_int_equal(h->failures + h->circuit->uses, 0);
    assert_int_equal(h->back_off, 0);
    assert_int_equal(h->last->until, 0);
    assert_int_equal(stage_ask(s, sub, &r[1], 0), KP__GRANT_PERMIT);
    stage_take(s, &r[1]);
    (void)slot;
    free(sub->rare->health.last);
}

static void to_forgive_must_forget_what_was_kept_to_be_told(struct stage *s)
{
    struct kp__request r;

    s->rules.cache_once = true;
    s->rules.eager = true;
    struct kp__subpool *sub = stage_key(s);
    for (int i = 0; i < 2; i++) {
        kp__permit_take(&s->core, sub);
        stage_failed(s, stage_spend(s, sub), NULL, -9);
    }
    kp__forgive(&s->core, sub, s->now, &s->todo);
    assert_int_equal(sub->rare->health.kept_count, 0);
    assert_true(sub->refill); /* as after a loss */
    struct kp__list *spent = kp__list_first(&s->todo.spent);
    assert_non_null(spent);
    kp__list_remove(spent);
    free(KP__OF(spent, struct kp__failure, link));
    assert_null(kp__list_first(&s->todo.spent)); /* the second is still the latest */
    assert_int_equal(stage_ask(s, sub, &r, 0), KP__GRANT_PERMIT);
    free(sub->rare->health.last);
}

static void to_forgive_a_key_without_failures_must_begin_nothing(struct stage *s)
{
    struct kp__subpool *sub = stage_key(s);

    kp__forgive(&s->core, sub, s->now, &s->todo);
    assert_false(kp__has_rare(sub));
    stage_room(s);
    struct kp__subpool *raw = kp__table_make(&s->core, 99); /* limits_for is being asked */
    kp__forgive(&s->core, raw, s->now, &s->todo);
    assert_int_equal(stage_due_at(s, raw), 0);
    kp__table_drop(&s->core, raw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_TEST(with_fail_fast_all_who_need_a_creation_must_hear_the_cause),
        STAGE_TEST(without_fail_fast_they_must_wait),
        STAGE_TEST(who_may_have_what_comes_back_must_wait_for_it),
        STAGE_TEST(who_may_have_what_is_being_tested_must_wait_for_it),
        STAGE_TEST(when_the_last_one_lent_is_gone_they_must_be_told),
        STAGE_TEST(without_a_remembered_cause_they_must_be_told_all_the_same),
        STAGE_TEST(a_refusal_must_stop_all_creations_of_its_key),
        STAGE_TEST(what_is_there_or_comes_back_must_be_lent_as_ever),
        STAGE_TEST(what_refused_must_stay_the_cause),
        STAGE_TEST(a_later_refusal_must_be_the_cause),
        STAGE_TEST(a_refusal_without_memory_must_not_be_told_with_another_cause),
        STAGE_TEST(to_forgive_must_serve_who_waits_at_once),
        STAGE_TEST(to_forgive_must_forget_what_was_kept_to_be_told),
        STAGE_TEST(to_forgive_a_key_without_failures_must_begin_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
