/* SPDX-License-Identifier: MIT
 *
 * Tests of core/late.c: which requests are refused because they would be served too late.
 */
#include <stdlib.h>

#include "core_stage.h"

/* Asks, with so much time. */
static enum kp__grant_kind ask(struct stage *s, struct kp__subpool *sub, struct kp__request *r,
                               uint64_t left, uint32_t flags)
{
    static kp_why whys[64];
    static int next;

    *r = (struct kp__request){ .sub = sub, .flags = (uint8_t)flags, .arrived = s->now,
                               .deadline = left == KP__NEVER ? left : s->now + left,
                               .why = &whys[next++ % 64] };
    *r->why = (kp_why){ 0 };
    kp__claim(&s->core, r, s->now, &s->todo);
    assert_int_equal(kp__list_linked(&r->link), r->grant.kind == KP__GRANT_WAIT);
    return r->grant.kind;
}

static void forget_failure(struct kp__subpool *sub)
{
    free(sub->rare->health.last);
}

/* A key whose create has failed: for the next 51 none begins. */
static struct kp__subpool *failed(struct stage *s)
{
    struct kp__request r;

    s->rules.refuse_late = true;
    s->rules.retry_first = s->rules.retry_max = 100;
    s->random = 50;
    struct kp__subpool *sub = stage_key(s);
    assert_int_equal(ask(s, sub, &r, KP__NEVER, 0), KP__GRANT_PERMIT);
    stage_failed(s, stage_begin(s, &r), &r, -9);
    assert_int_equal(sub->rare->health.back_off, s->now + 51);
    return sub;
}

/* ---- for certain ----------------------------------------------------------------------------- */

static void who_has_less_time_than_the_pause_must_be_refused_at_once(struct stage *s)
{
    struct kp__request r[3];
    struct kp__subpool *sub = failed(s);

    assert_int_equal(ask(s, sub, &r[0], 51, 0), KP__GRANT_NO);
    STAGE_NO(&r[0], KP_EFULL, "refuse_late");
    assert_int_equal(r[0].hope, s->now + 51);
    assert_int_equal(r[0].why->code, -9); /* the cause */
    assert_int_equal(ask(s, sub, &r[1], 52, 0), KP__GRANT_WAIT);
    assert_int_equal(ask(s, sub, &r[2], 50, 0), KP__GRANT_NO); /* also behind another request */
    STAGE_NO(&r[2], KP_EFULL, "refuse_late");
    assert_int_equal(ask(s, sub, &r[2], KP__NEVER, 0), KP__GRANT_WAIT);
    forget_failure(sub);
}

static void who_waits_must_be_told_when_it_becomes_certain(struct stage *s)
{
    struct kp__request r[2], fails;

    s->rules.refuse_late = true;
    s->rules.retry_first = s->rules.retry_max = 100;
    s->rules.max_creating = 1;
    s->random = 50;
    struct kp__subpool *sub = stage_key(s);
    assert_int_equal(ask(s, sub, &fails, KP__NEVER, 0), KP__GRANT_PERMIT);
    struct kp__slot *slot = stage_begin(s, &fails);
    assert_int_equal(ask(s, sub, &r[0], 30, 0), KP__GRANT_WAIT); /* it may yet be served */
    assert_int_equal(ask(s, sub, &r[1], 70, 0), KP__GRANT_WAIT);
    stage_failed(s, slot, &fails, -9);
    STAGE_NO(&r[0], KP_EFULL, "refuse_late");
    assert_int_equal(r[1].grant.kind, KP__GRANT_WAIT);
    forget_failure(sub);
}

static void who_may_be_helped_otherwise_must_wait(struct stage *s)
{
    struct kp__request r;

    s->rules.max_live = 2;
    s->rules.refuse_late = true;
    s->rules.retry_first = s->rules.retry_max = 100;
    s->random = 50;
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = stage_lend(s, sub);
    assert_int_equal(ask(s, sub, &r, KP__NEVER, 0), KP__GRANT_PERMIT);
    stage_failed(s, stage_begin(s, &r), &r, -9);
    assert_int_equal(ask(s, sub, &r, 10, KP_FRESH), KP__GRANT_NO); /* takes nothing that returns */
    STAGE_NO(&r, KP_EFULL, "refuse_late");
    assert_int_equal(ask(s, sub, &r, 10, KP_DONT_CREATE), KP__GRANT_WAIT);
    stage_give(s, slot, 0, true);
    assert_int_equal(r.grant.kind, KP__GRANT_SLOT);
    assert_int_equal(ask(s, sub, &r, 10, 0), KP__GRANT_WAIT);
    stage_give(s, slot, 0, true);
    assert_int_equal(r.grant.kind, KP__GRANT_SLOT);
    forget_failure(sub);
}

/* One may be added (kp_add) in spite of the pause. */
static void who_does_not_create_must_wait_though_nothing_is_there(struct stage *s)
{
    struct kp__request r;
    struct kp__subpool *sub = failed(s);

    assert_int_equal(ask(s, sub, &r, 10, KP_DONT_CREATE), KP__GRANT_WAIT);
    assert_int_equal(ask(s, sub, &r, 10, 0), KP__GRANT_NO);
    forget_failure(sub);
}

/* There was no memory to remember it in. */
static void a_failure_that_nobody_remembers_must_refuse_without_a_cause(struct stage *s)
{
    const struct kp__failure what = { .code = -9 };
    struct kp__failure *keep = NULL;
    struct kp__request r;

    s->rules.refuse_late = true;
    s->rules.retry_first = s->rules.retry_max = 100;
    s->random = 50;
    struct kp__subpool *sub = stage_key(s);
    assert_int_equal(ask(s, sub, &r, KP__NEVER, 0), KP__GRANT_PERMIT);
    kp__create_failed(&s->core, stage_begin(s, &r), &r, &what, &keep, s->now, &s->todo);
    assert_int_equal(ask(s, sub, &r, 10, 0), KP__GRANT_NO);
    STAGE_NO(&r, KP_EFULL, "refuse_late");
    assert_int_equal(r.why->code, 0);
}

static void what_is_being_made_may_help(struct stage *s)
{
    struct kp__request r[2];

    s->rules.max_creating = 1;
    struct kp__subpool *sub = failed(s);
    kp__permit_take(&s->core, sub);
    assert_int_equal(ask(s, sub, &r[0], 10, 0), KP__GRANT_WAIT);
    kp__withdraw(&s->core, &r[0], s->now, &s->todo);
    kp__permit_refund(&s->core, sub);
    kp__contest(&s->core, sub)->promised = 1; /* a permit that waits for its victim */
    s->core.promised = 1;
    s->core.creating.used++;
    *(&r[1]) = (struct kp__request){ .sub = sub, .deadline = s->now + 10 };
    assert_false(kp__is_too_late(&s->core, &r[1], s->now));
    kp__contest(&s->core, sub)->promised = s->core.promised = 0;
    s->core.creating.used--;
    assert_true(kp__is_too_late(&s->core, &r[1], s->now));
    s->core.can_create = false;
    assert_false(kp__is_too_late(&s->core, &r[1], s->now)); /* then what is added */
    s->core.can_create = true;
    forget_failure(sub);
}

static void what_is_idle_but_may_not_be_lent_must_be_waited_for(struct stage *s)
{
    struct kp__request r;

    struct kp__subpool *sub = failed(s);
    s->rules.max_lent = 0;
    stage_idle(s, sub);
    kp__rare(&s->core, sub)->health.back_off = s->now + 51;
    assert_int_equal(ask(s, sub, &r, 10, 0), KP__GRANT_WAIT);
    forget_failure(sub);
}

static void who_does_not_wait_must_be_told_so(struct stage *s)
{
    struct kp__request r;
    struct kp__subpool *sub = failed(s);

    assert_int_equal(ask(s, sub, &r, 10, KP_DONT_WAIT), KP__GRANT_NO);
    STAGE_NO(&r, KP_EAGAIN, "kp_ask.flags");
    assert_int_equal(ask(s, sub, &r, 0, 0), KP__GRANT_WAIT); /* its time is over: it times out */
    forget_failure(sub);
}

static void without_the_option_nobody_must_be_refused(struct stage *s)
{
    struct kp__request r;
    struct kp__subpool *sub = failed(s);

    s->rules.refuse_late = false;
    assert_int_equal(ask(s, sub, &r, 10, 0), KP__GRANT_WAIT);
    forget_failure(sub);
}

static void the_line_of_creations_must_count_too(struct stage *s)
{
    struct kp__failure old = { .code = -9 };
    struct kp__request r;

    s->rules.refuse_late = true;
    kp__rate_init(&s->core.rate, 1000000, 1); /* one in a us */
    struct kp__subpool *sub = stage_key(s), *other = stage_key(s);
    s->core.rate.at = s->now;
    assert_int_equal(ask(s, sub, &r, KP__NEVER, 0), KP__GRANT_PERMIT);
    kp__rare(&s->core, other)->health.last = &old; /* it is well again: not the cause */
    assert_int_equal(ask(s, other, &r, 1000, 0), KP__GRANT_NO);
    STAGE_NO(&r, KP_EFULL, "refuse_late");
    assert_int_equal(r.hope, s->now + 1000);
    assert_int_equal(r.why->code, 0);
    assert_int_equal(ask(s, other, &r, 1001, 0), KP__GRANT_WAIT);
}

/* A probe does not wait for the end of a pause, so no request is refused because of it. */
static void the_pause_must_not_count_while_the_circuit_probes(struct stage *s)
{
    struct kp__request r;
    bool no_probe = false;

    s->rules.breaker_failures = 1;
    s->rules.breaker_counts = KP_BREAK_USE;
    struct kp__subpool *sub = failed(s);
    kp__outcome(&s->core, sub, KP_BREAK_USE, false, &no_probe, s->now);
    r = (struct kp__request){ .sub = sub, .deadline = s->now + 10 };
    assert_false(kp__is_too_late(&s->core, &r, s->now));
    forget_failure(sub);
}

/* ---- as an estimate -------------------------------------------------------------------------- */

/* One resource, which is lent, after so many grants that took 100 each. */
static struct kp__subpool *busy(struct stage *s, int grants, struct kp__slot **slot)
{
    struct kp__request r;

    s->rules.refuse_late = true;
    s->rules.max_live = 1;
    struct kp__subpool *sub = stage_key(s);
    *slot = stage_lend(s, sub);
    for (int i = 0; i < grants; i++) {
        assert_int_equal(ask(s, sub, &r, 1000, 0), KP__GRANT_WAIT);
        s->now += 100;
        stage_give(s, *slot, 0, true);
        assert_int_equal(r.grant.kind, KP__GRANT_SLOT);
    }
    return sub;
}

static void who_has_less_time_than_those_ahead_take_must_be_refused(struct stage *s)
{
    struct kp__request r[4];
    struct kp__slot *slot;
    struct kp__subpool *sub = busy(s, KP__LATE_LEAST, &slot);

    assert_int_equal(sub->rare->late.gap, 100);
    assert_int_equal(ask(s, sub, &r[0], 1, 0), KP__GRANT_WAIT); /* never the first */
    assert_int_equal(ask(s, sub, &r[1], 99, 0), KP__GRANT_NO);
    STAGE_NO(&r[1], KP_EFULL, "refuse_late");
    assert_int_equal(r[1].hope, s->now + 1);
    assert_int_equal(ask(s, sub, &r[1], 100, 0), KP__GRANT_WAIT);
    assert_int_equal(ask(s, sub, &r[2], 150, 0), KP__GRANT_NO);
    assert_int_equal(r[2].hope, s->now + 50);
    assert_int_equal(ask(s, sub, &r[2], 200, 0), KP__GRANT_WAIT);
    assert_int_equal(ask(s, sub, &r[3], 1, KP_DONT_WAIT), KP__GRANT_NO);
    STAGE_NO(&r[3], KP_EAGAIN, "wait_order");
}

/* As a time-out: "no time left" is not "too many ahead". */
static void whose_time_is_over_must_not_be_told_that_others_are_ahead(struct stage *s)
{
    struct kp__request r[2];
    struct kp__slot *slot;
    struct kp__subpool *sub = busy(s, KP__LATE_LEAST, &slot);

    assert_int_equal(ask(s, sub, &r[0], 1000, 0), KP__GRANT_WAIT);
    assert_int_equal(ask(s, sub, &r[1], 0, 0), KP__GRANT_WAIT);
}

static void without_an_estimate_nobody_must_be_refused(struct stage *s)
{
    struct kp__request r[2];
    struct kp__slot *slot;
    struct kp__subpool *sub = busy(s, KP__LATE_LEAST - 1, &slot);

    assert_int_equal(ask(s, sub, &r[0], 1000, 0), KP__GRANT_WAIT);
    assert_int_equal(ask(s, sub, &r[1], 1, 0), KP__GRANT_WAIT);
}

static void who_comes_last_and_is_first_must_not_be_refused(struct stage *s)
{
    struct kp__request r[2];
    struct kp__slot *slot;

    s->rules.wait_lifo = true;
    struct kp__subpool *sub = busy(s, KP__LATE_LEAST, &slot);
    assert_int_equal(ask(s, sub, &r[0], 1000, 0), KP__GRANT_WAIT);
    assert_int_equal(ask(s, sub, &r[1], 1, 0), KP__GRANT_WAIT);
}

/* A queue that ended long ago, by its own measure, says nothing of the next one. */
static void the_estimate_must_be_kept_for_sixteen_gaps(struct stage *s)
{
    struct kp__request r[2];
    struct kp__slot *slot;
    struct kp__subpool *sub = busy(s, KP__LATE_LEAST, &slot);

    s->now += 1615;
    assert_int_equal(ask(s, sub, &r[0], 10000, 0), KP__GRANT_WAIT);
    assert_int_equal(sub->rare->late.seen, KP__LATE_LEAST);
    assert_int_equal(sub->rare->late.since, s->now);
    stage_give(s, slot, 0, true);
    kp__rare(&s->core, sub)->late.gap = 100;
    s->now += 1616;
    assert_int_equal(ask(s, sub, &r[0], 10000, 0), KP__GRANT_WAIT);
    assert_int_equal(sub->rare->late.seen, 0);
}

static void it_must_be_smoothed_over_as_many_grants_as_there_are_resources(struct stage *s)
{
    struct kp__slot *slot;
    struct kp__subpool *sub = busy(s, 9, &slot); /* 8, and one resource */
    struct kp__request r;

    assert_int_equal(sub->rare->late.seen, 9);
    assert_int_equal(ask(s, sub, &r, 10000, 0), KP__GRANT_WAIT);
    s->now += 1000;
    stage_give(s, slot, 0, true);
    assert_int_equal(sub->rare->late.gap, 100 - 11 + 111);
    assert_int_equal(sub->rare->late.seen, 9);
}

static void those_for_whom_one_is_made_must_not_count_as_ahead(struct stage *s)
{
    struct kp__request r[3];
    struct kp__slot *slot;
    struct kp__subpool *sub = busy(s, KP__LATE_LEAST, &slot);

    s->rules.max_live = 2;
    assert_int_equal(ask(s, sub, &r[0], 1000, 0), KP__GRANT_PERMIT);
    struct kp__slot *made = stage_begin(s, &r[0]);
    stage_pending(s, &r[0], made);
    assert_int_equal(ask(s, sub, &r[1], 1, 0), KP__GRANT_WAIT);
    assert_int_equal(ask(s, sub, &r[2], 99, 0), KP__GRANT_NO); /* behind the second only */
    assert_int_equal(r[2].hope, s->now + 1);
}

/* A request that waits for the check of its own resource takes nothing from later ones. */
static void who_waits_for_his_own_must_not_count_as_ahead(struct stage *s)
{
    struct kp__request r[2];
    struct kp__slot *slot;
    struct kp__subpool *sub = busy(s, KP__LATE_LEAST, &slot);

    stage_give(s, slot, 0, true);
    assert_int_equal(ask(s, sub, &r[0], 1000, 0), KP__GRANT_SLOT);
    stage_sponsor(s, &r[0], slot);
    assert_int_equal(r[0].queue, KP__OWN);
    assert_int_equal(ask(s, sub, &r[1], 1, 0), KP__GRANT_WAIT);
}

/* Requests that were in the queue before, perhaps because limits_for was being asked, began to wait
 * then: the time since the machine was started must not count. */
static void a_key_that_refuses_from_now_on_must_know_since_when_they_wait(struct stage *s)
{
    struct kp__rules late = stage_rules();
    struct kp__request r[2 + KP__LATE_LEAST];

    s->now = UINT64_C(1) << 42;
    s->rules.max_live = late.max_live = 1;
    late.refuse_late = true;
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = stage_lend(s, sub);
    for (int i = 0; i < 1 + KP__LATE_LEAST; i++) assert_int_equal(ask(s, sub, &r[i], 5000, 0), 0);
    stage_rule(s, sub, &late, -1, -1);
    for (int i = 0; i < KP__LATE_LEAST; i++) {
        s->now += 100;
        stage_give(s, slot, 0, true);
    }
    assert_int_equal(sub->rare->late.gap, 100);
    assert_int_equal(ask(s, sub, &r[1 + KP__LATE_LEAST], 200, 0), KP__GRANT_WAIT);
}

static void before_it_has_rules_nobody_must_be_refused(struct stage *s)
{
    struct kp__request r;

    stage_room(s);
    struct kp__subpool *sub = kp__table_make(&s->core, 5);
    assert_int_equal(ask(s, sub, &r, 5, 0), KP__GRANT_WAIT);
}

/* Upkeep does, if it began before the request came. */
static void a_call_that_knows_an_older_time_must_not_spoil_the_estimate(struct stage *s)
{
    struct kp__request r;

    s->rules.refuse_late = true;
    s->rules.max_live = 1;
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = stage_lend(s, sub);
    s->now += 20;
    assert_int_equal(ask(s, sub, &r, KP__NEVER, 0), KP__GRANT_WAIT);
    s->now -= 10;
    stage_give(s, slot, 0, true);
    assert_int_equal(r.grant.kind, KP__GRANT_SLOT);
    assert_int_equal(sub->rare->late.gap, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_TEST(who_has_less_time_than_the_pause_must_be_refused_at_once),
        STAGE_TEST(who_waits_must_be_told_when_it_becomes_certain),
        STAGE_TEST(who_may_be_helped_otherwise_must_wait),
        STAGE_TEST(who_does_not_create_must_wait_though_nothing_is_there),
        STAGE_TEST(a_failure_that_nobody_remembers_must_refuse_without_a_cause),
        STAGE_TEST(what_is_being_made_may_help),
        STAGE_TEST(what_is_idle_but_may_not_be_lent_must_be_waited_for),
        STAGE_TEST(who_does_not_wait_must_be_told_so),
        STAGE_TEST(without_the_option_nobody_must_be_refused),
        STAGE_TEST(the_line_of_creations_must_count_too),
        STAGE_TEST(the_pause_must_not_count_while_the_circuit_probes),
        STAGE_TEST(who_has_less_time_than_those_ahead_take_must_be_refused),
        STAGE_TEST(whose_time_is_over_must_not_be_told_that_others_are_ahead),
        STAGE_TEST(without_an_estimate_nobody_must_be_refused),
        STAGE_TEST(who_comes_last_and_is_first_must_not_be_refused),
        STAGE_TEST(the_estimate_must_be_kept_for_sixteen_gaps),
        STAGE_TEST(it_must_be_smoothed_over_as_many_grants_as_there_are_resources),
        STAGE_TEST(those_for_whom_one_is_made_must_not_count_as_ahead),
        STAGE_TEST(who_waits_for_his_own_must_not_count_as_ahead),
        STAGE_TEST(a_key_that_refuses_from_now_on_must_know_since_when_they_wait),
        STAGE_TEST(before_it_has_rules_nobody_must_be_refused),
        STAGE_TEST(a_call_that_knows_an_older_time_must_not_spoil_the_estimate),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
