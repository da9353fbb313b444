/* SPDX-License-Identifier: MIT
 *
 * Tests of circuits (core/create.c, core/serve.c), which failed creations or uses open, and of
 * shedding a slow queue.
 */
#include "core_circuits.h"

/* One creation of a request fails. */
static void fail_once(struct stage *s, struct kp__subpool *sub, struct kp__request *r, int code)
{
    assert_int_equal(stage_ask(s, sub, r, 0), KP__GRANT_PERMIT);
    stage_failed(s, stage_begin(s, r), r, code);
}

/* ---- the circuit of creations ---------------------------------------------------------------- */

static void the_circuit_must_open_after_so_many_failures_and_probe_one_at_a_time(void **state)
{
    struct stage s;
    struct kp__request r[3];

    (void)state;
    stage_open(&s);
    s.rules.breaker_failures = 2;
    s.rules.breaker_open = 100;
    s.rules.breaker_counts = KP_BREAK_CREATE;
    struct kp__subpool *sub = stage_key(&s);
    fail_once(&s, sub, &r[0], -9);
    assert_false(sub->rare->health.tripped);
    assert_ptr_equal(sub->rare->health.circuit, &kp__no_circuit);
    fail_once(&s, sub, &r[0], -8);
    assert_true(sub->rare->health.tripped);
    const struct kp__circuit *c = sub->rare->health.circuit;
    assert_int_equal(c->until, s.now + 100);
    assert_int_equal(s.core.tripped, 1);
    s.now += 99;
    assert_int_equal(stage_ask(&s, sub, &r[0], 0), KP__GRANT_NO);
    STAGE_NO(&r[0], KP_EBREAKER, "breaker_failures");
    assert_int_equal(r[0].why->code, -8);
    s.now += 1;
    assert_int_equal(s.core.probing, 0);
    assert_int_equal(stage_ask(&s, sub, &r[0], 0), KP__GRANT_PERMIT); /* the probe */
    assert_true(r[0].grant.probe);
    assert_true(r[0].grant.first);
    assert_int_equal(s.core.probing, 1);
    assert_int_equal(stage_ask(&s, sub, &r[1], 0), KP__GRANT_NO);
    STAGE_NO(&r[1], KP_EBREAKER, "breaker_failures");
    stage_failed(&s, stage_begin(&s, &r[0]), &r[0], -7);
    assert_int_equal(c->probes, 0);
    assert_int_equal(c->until, s.now + 100);
    assert_int_equal(s.core.probing, 0);
    s.now += 100;
    assert_int_equal(stage_ask(&s, sub, &r[2], 0), KP__GRANT_PERMIT);
    stage_made(&s, stage_begin(&s, &r[2]), &r[2]);
    assert_false(sub->rare->health.tripped);
    assert_int_equal(c->probes, 0);
    assert_int_equal(s.core.tripped, 0);
    free(sub->rare->health.last);
    stage_close(&s);
}

static void a_circuit_opened_without_a_remembered_failure_must_refuse_all_the_same(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = circuit(&s, KP_BREAK_CREATE);
    open_it(&s, sub);
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_NO);
    STAGE_NO(&r, KP_EBREAKER, "breaker_failures");
    assert_string_equal(r.why->text, kp_strerror(KP_EBREAKER)); /* it has no more to tell */
    s.now += 100; /* a pause does not hold the probe up */
    kp__rare(&s.core, sub)->health.back_off = s.now + 50;
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_PERMIT);
    stage_close(&s);
}

static void creations_must_not_count_for_a_circuit_of_uses(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.rules.breaker_failures = 1;
    s.rules.breaker_counts = KP_BREAK_USE;
    struct kp__subpool *sub = stage_key(&s);
    fail_once(&s, sub, &r, -9);
    assert_false(sub->rare->health.tripped);
    free(sub->rare->health.last);
    stage_close(&s);
}

static void an_open_circuit_must_lend_what_is_there(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = circuit(&s, KP_BREAK_CREATE);
    stage_idle(&s, sub);
    open_it(&s, sub);
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_SLOT);
    assert_false(kp__seat_at(r.slot, 0)->probe);
    stage_close(&s);
}

static void with_no_rule_nothing_must_be_counted(void **state)
{
    struct stage s;
    bool no_probe = false;

    (void)state;
    stage_open(&s);
    s.rules.breaker_counts = KP_BREAK_USE | KP_BREAK_CREATE;
    struct kp__subpool *sub = stage_key(&s);
    for (int i = 0; i < 9; i++) {
        stage_report(&s, sub, false);
        kp__outcome(&s.core, sub, KP_BREAK_CREATE, false, &no_probe, s.now);
    }
    assert_false(kp__has_rare(sub));
    s.rules.breaker_failures = 1; /* what went well needs no memory */
    stage_report(&s, sub, true);
    kp__outcome(&s.core, sub, KP_BREAK_CREATE, true, &no_probe, s.now);
    assert_false(kp__has_rare(sub));
    stage_close(&s);
}

/* ---- the circuit of uses --------------------------------------------------------------------- */

static void reports_must_open_the_circuit_of_uses_and_a_probes_close_it(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = circuit(&s, KP_BREAK_USE);
    struct kp__slot *slot = stage_idle(&s, sub);
    assert_int_equal(stage_report(&s, sub, false), KP__AS_BEFORE);
    assert_int_equal(stage_report(&s, sub, true), KP__AS_BEFORE); /* in a row */
    const struct kp__circuit *c = sub->rare->health.circuit;
    assert_int_equal(c->uses, 0);
    assert_int_equal(stage_report(&s, sub, false), KP__AS_BEFORE);
    assert_int_equal(stage_report(&s, sub, false), KP__OPENED);
    assert_int_equal(c->until, s.now + 100);
    s.now += 7; /* leases of before say nothing of now */
    assert_int_equal(stage_report(&s, sub, false), KP__AS_BEFORE);
    assert_int_equal(stage_report(&s, sub, true), KP__AS_BEFORE);
    assert_int_equal(c->until, s.now + 93);
    s.now += 93;
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_SLOT);
    assert_true(r.grant.first);
    assert_true(kp__seat_at(slot, 0)->probe);
    assert_int_equal(stage_report(&s, sub, true), KP__AS_BEFORE); /* of another one, of before */
    assert_int_equal(report(&s, slot, false), KP__OPENED);
    assert_false(kp__seat_at(slot, 0)->probe);
    assert_int_equal(c->probes, 0);
    assert_int_equal(report(&s, slot, true), KP__AS_BEFORE); /* a second word, too late */
    stage_give(&s, slot, 0, true);
    s.now += 100;
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_SLOT);
    assert_int_equal(report(&s, slot, true), KP__CLOSED_AGAIN);
    assert_int_equal(c->uses, 0);
    assert_int_equal(report(&s, slot, true), KP__AS_BEFORE);
    stage_close(&s);
}

static void an_open_circuit_of_uses_must_refuse_leases_but_for_one_probe(void **state)
{
    struct stage s;
    struct kp__request r[2];

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = circuit(&s, KP_BREAK_USE);
    stage_idle(&s, sub);
    stage_idle(&s, sub);
    open_it(&s, sub);
    s.now += 99;
    assert_int_equal(stage_ask(&s, sub, &r[0], 0), KP__GRANT_NO);
    STAGE_NO(&r[0], KP_EBREAKER, "breaker_failures");
    s.now += 1;
    assert_int_equal(stage_ask(&s, sub, &r[0], 0), KP__GRANT_SLOT);
    assert_int_equal(stage_ask(&s, sub, &r[1], 0), KP__GRANT_NO);
    STAGE_NO(&r[1], KP_EBREAKER, "breaker_failures");
    stage_give(&s, r[0].slot, 0, true); /* no report: the next one may probe */
    assert_int_equal(sub->rare->health.circuit->probes, 0);
    assert_int_equal(stage_ask(&s, sub, &r[1], 0), KP__GRANT_SLOT);
    assert_false(r[1].grant.first); /* it was half-open before */
    stage_close(&s);
}

/* A request that waits for a return is told at once, not at its deadline. */
static void who_waits_must_be_told_when_the_circuit_opens(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.rules.max_live = 1;
    struct kp__subpool *sub = circuit(&s, KP_BREAK_USE);
    struct kp__slot *slot = stage_lend(&s, sub);
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_WAIT);
    assert_int_equal(report(&s, slot, false), KP__AS_BEFORE);
    assert_int_equal(report(&s, slot, false), KP__OPENED);
    STAGE_NO(&r, KP_EBREAKER, "breaker_failures");
    stage_close(&s);
}

/* A creation ends the circuit of uses only as far as failed creations opened it. */
static void a_new_resource_must_not_close_a_circuit_that_uses_opened(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = circuit(&s, KP_BREAK_USE | KP_BREAK_CREATE);
    open_it(&s, sub);
    s.now += 100;
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_PERMIT);
    struct kp__slot *slot = stage_begin(&s, &r);
    stage_pending(&s, &r, slot); /* it holds its permit: it is the probe itself */
    assert_int_equal(r.grant.kind, KP__GRANT_WAIT);
    stage_made(&s, slot, NULL);
    assert_int_equal(r.grant.kind, KP__GRANT_SLOT);
    assert_true(sub->rare->health.tripped);
    assert_true(kp__seat_at(slot, 0)->probe);
    assert_int_equal(report(&s, slot, true), KP__CLOSED_AGAIN);
    stage_close(&s);
}

static void a_new_resource_must_close_a_circuit_that_creations_opened(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = circuit(&s, KP_BREAK_USE | KP_BREAK_CREATE);
    fail_once(&s, sub, &r, -9);
    fail_once(&s, sub, &r, -9);
    assert_true(sub->rare->health.tripped);
    s.now += 100;
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_PERMIT);
    struct kp__slot *slot = stage_begin(&s, &r);
    stage_made(&s, slot, &r);
    assert_false(sub->rare->health.tripped);
    assert_int_equal(sub->rare->health.circuit->probes, 1); /* what its use will say counts */
    assert_int_equal(report(&s, slot, false), KP__AS_BEFORE);
    assert_int_equal(sub->rare->health.circuit->probes, 0);
    assert_int_equal(sub->rare->health.circuit->uses, 1);
    free(sub->rare->health.last);
    stage_close(&s);
}

/* ---- rules ----------------------------------------------------------------------------------- */

static void rules_without_a_circuit_must_close_it(void **state)
{
    struct stage s;
    struct kp__rules plain = stage_rules();

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = circuit(&s, KP_BREAK_CREATE);
    open_it(&s, sub);
    struct kp__rules other = s.rules;
    stage_rule(&s, sub, &other, -1, -1);
    assert_true(sub->rare->health.tripped);
    stage_rule(&s, sub, &plain, -1, -1);
    assert_false(sub->rare->health.tripped);
    assert_int_equal(s.core.tripped, 0);
    stage_close(&s);
}

/* A use opened it, and uses count no more: what does closes it. */
static void a_creation_must_close_it_when_uses_count_no_more(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = circuit(&s, KP_BREAK_USE | KP_BREAK_CREATE);
    open_it(&s, sub);
    s.rules.breaker_counts = KP_BREAK_CREATE;
    s.now += 100;
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_PERMIT);
    stage_made(&s, stage_begin(&s, &r), &r);
    assert_false(sub->rare->health.tripped);
    stage_close(&s);
}

/* ---- shedding -------------------------------------------------------------------------------- */

/* Serve one request that waited so long. */
static void served_after(struct stage *s, struct kp__subpool *sub, struct kp__slot *slot,
                         uint64_t waited)
{
    struct kp__request r;

    assert_int_equal(stage_ask(s, sub, &r, 0), KP__GRANT_WAIT);
    s->now += waited;
    stage_give(s, slot, 0, true);
    assert_int_equal(r.grant.kind, KP__GRANT_SLOT);
}

static void a_queue_that_is_slow_for_an_interval_must_refuse_who_waited_twice(void **state)
{
    struct stage s;
    struct kp__request r[3];

    (void)state;
    stage_open(&s);
    s.rules.max_live = 1;
    s.rules.shed_target = 10;
    s.rules.shed_interval = 100;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slot = stage_lend(&s, sub);
    served_after(&s, sub, slot, 11); /* begins an interval */
    assert_false(sub->rare->shed.slow);
    assert_int_equal(sub->rare->shed.interval_end, 1111);
    assert_int_equal(sub->rare->shed.least_wait, KP__NEVER);
    served_after(&s, sub, slot, 50);
    served_after(&s, sub, slot, 11); /* now 1072 */
    assert_int_equal(sub->rare->shed.least_wait, 11);
    assert_false(sub->rare->shed.slow);
    for (int i = 0; i < 3; i++) stage_ask(&s, sub, &r[i], 0);
    s.now = 1111; /* the end of an interval in which every request waited longer than 10 */
    stage_give(&s, slot, 0, true);
    assert_int_equal(r[0].grant.kind, KP__GRANT_SLOT);
    assert_true(sub->rare->shed.slow);
    assert_int_equal(r[1].grant.kind, KP__GRANT_NO); /* 39 > 2 * 10 */
    STAGE_NO(&r[1], KP_EFULL, "shed_target_ms");
    assert_int_equal(r[2].grant.kind, KP__GRANT_WAIT); /* as long, but the last */
    stage_give(&s, slot, 0, true);
    assert_int_equal(r[2].grant.kind, KP__GRANT_SLOT);
    served_after(&s, sub, slot, 20); /* not more than twice */
    assert_true(sub->rare->shed.slow);
    served_after(&s, sub, slot, 10); /* not below the target */
    assert_true(sub->rare->shed.slow);
    served_after(&s, sub, slot, 9);
    assert_false(sub->rare->shed.slow);
    stage_close(&s);
}

static void a_slow_queue_that_is_gone_must_not_count_against_a_later_one(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.rules.max_live = 1;
    s.rules.shed_target = 10;
    s.rules.shed_interval = 100;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slot = stage_lend(&s, sub);
    served_after(&s, sub, slot, 11);
    served_after(&s, sub, slot, 100); /* at 1111, of a second interval */
    assert_true(sub->rare->shed.slow);
    assert_int_equal(sub->rare->shed.interval_end, 1211);
    s.now = 1190;
    served_after(&s, sub, slot, 20); /* it came before that was over */
    assert_true(sub->rare->shed.slow);
    assert_int_equal(sub->rare->shed.interval_end, 1211);
    s.now = 1211;
    served_after(&s, sub, slot, 50);
    assert_false(sub->rare->shed.slow);
    assert_int_equal(sub->rare->shed.interval_end, 1361);
    stage_close(&s);
}

static void an_interval_with_a_short_wait_must_not_be_slow(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.rules.max_live = 1;
    s.rules.shed_target = 10;
    s.rules.shed_interval = 100;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slot = stage_lend(&s, sub);
    served_after(&s, sub, slot, 11);
    served_after(&s, sub, slot, 10);
    assert_int_equal(sub->rare->shed.least_wait, 10);
    served_after(&s, sub, slot, 200);
    assert_false(sub->rare->shed.slow);
    stage_close(&s);
}

static void a_newcomer_must_not_be_shed(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.rules.shed_target = 0;
    struct kp__subpool *sub = stage_key(&s);
    kp__rare(&s.core, sub)->shed.slow = true;
    stage_idle(&s, sub);
    r = (struct kp__request){ .sub = sub, .arrived = s.now - 500 };
    kp__claim(&s.core, &r, s.now, &s.todo);
    assert_int_equal(r.grant.kind, KP__GRANT_SLOT);
    stage_close(&s);
}

/* The thread that gives it back read the time before they came. */
static void who_came_after_the_time_was_read_must_not_be_shed(void **state)
{
    struct stage s;
    struct kp__request r[2];

    (void)state;
    stage_open(&s);
    s.rules.max_live = 1;
    s.rules.shed_target = 10;
    s.rules.shed_interval = 100;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slot = stage_lend(&s, sub);
    for (int i = 0; i < 2; i++) assert_int_equal(stage_ask(&s, sub, &r[i], 0), KP__GRANT_WAIT);
    kp__rare(&s.core, sub)->shed = (struct kp__shed){ .slow = true, .interval_end = s.now + 100 };
    s.now -= 5;
    stage_give(&s, slot, 0, true);
    assert_int_equal(r[0].grant.kind, KP__GRANT_SLOT);
    assert_int_equal(r[1].grant.kind, KP__GRANT_WAIT);
    assert_false(sub->rare->shed.slow); /* one that did not wait at all was served */
    assert_int_equal(s.core.latest, s.now + 5); /* it does not go back */
    kp__withdraw(&s.core, &r[1], s.now, &s.todo);
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_circuit_must_open_after_so_many_failures_and_probe_one_at_a_time),
        cmocka_unit_test(a_circuit_opened_without_a_remembered_failure_must_refuse_all_the_same),
        cmocka_unit_test(creations_must_not_count_for_a_circuit_of_uses),
        cmocka_unit_test(an_open_circuit_must_lend_what_is_there),
        cmocka_unit_test(with_no_rule_nothing_must_be_counted),
        cmocka_unit_test(reports_must_open_the_circuit_of_uses_and_a_probes_close_it),
        cmocka_unit_test(an_open_circuit_of_uses_must_refuse_leases_but_for_one_probe),
        cmocka_unit_test(who_waits_must_be_told_when_the_circuit_opens),
        cmocka_unit_test(a_new_resource_must_not_close_a_circuit_that_uses_opened),
        cmocka_unit_test(a_new_resource_must_close_a_circuit_that_creations_opened),
        cmocka_unit_test(rules_without_a_circuit_must_close_it),
        cmocka_unit_test(a_creation_must_close_it_when_uses_count_no_more),
        cmocka_unit_test(a_queue_that_is_slow_for_an_interval_must_refuse_who_waited_twice),
        cmocka_unit_test(a_slow_queue_that_is_gone_must_not_count_against_a_later_one),
        cmocka_unit_test(an_interval_with_a_short_wait_must_not_be_slow),
        cmocka_unit_test(a_newcomer_must_not_be_shed),
        cmocka_unit_test(who_came_after_the_time_was_read_must_not_be_shed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
