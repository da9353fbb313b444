/* SPDX-License-Identifier: MIT
 *
 * Tests of core/circuit.c: how many probes there are, and what happens to probes that never report
 * an outcome.
 */
#include <stdlib.h>

#include "core_circuits.h"

/* ---- probes that say nothing ----------------------------------------------------------------- */

static void a_creation_nobody_waits_for_must_end_the_probe(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = circuit(&s, KP_BREAK_USE);
    open_it(&s, sub);
    s.now += 100;
    stage_ask(&s, sub, &r, 0);
    struct kp__slot *slot = stage_begin(&s, &r);
    stage_pending(&s, &r, slot);
    kp__withdraw(&s.core, &r, s.now, &s.todo);
    assert_null(slot->errand->sponsor);
    assert_int_equal(sub->rare->health.circuit->probes, 1);
    stage_made(&s, slot, NULL);
    assert_int_equal(sub->rare->health.circuit->probes, 0);
    assert_true(sub->rare->health.tripped);
    stage_close(&s);
}

/* The lock is given back between the permit of one and its beginning. */
static void what_nobody_asked_for_must_be_no_probe_of_a_circuit_that_opened(void **state)
{
    struct stage s;
    bool mark = true;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = circuit(&s, KP_BREAK_CREATE);
    open_it(&s, sub);
    assert_false(kp__probe_unasked(&s.core, sub, &mark, s.now));
    assert_false(mark);
    s.now += 100;
    assert_true(kp__probe_unasked(&s.core, sub, &mark, s.now));
    assert_true(mark);
    kp__probe_end(&s.core, sub, &mark);
    stage_close(&s);
}

static void what_nobody_asked_for_must_be_one_of_so_many_probes(void **state)
{
    struct stage s;
    bool mark[3];

    (void)state;
    stage_open(&s);
    s.rules.breaker_probes = 2;
    struct kp__subpool *sub = circuit(&s, KP_BREAK_CREATE);
    open_it(&s, sub);
    s.now += 100;
    for (int i = 0; i < 3; i++) {
        bool first = kp__probe_unasked(&s.core, sub, &mark[i], s.now);
        assert_int_equal(first, i == 0);
        assert_int_equal(mark[i], i < 2);
    }
    for (int i = 0; i < 2; i++) kp__probe_end(&s.core, sub, &mark[i]);
    stage_close(&s);
}

/* Only a lease can tell whether uses go well again. */
static void what_nobody_asked_for_must_be_no_probe_where_uses_opened_the_circuit(void **state)
{
    struct stage s;
    bool mark = true;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = circuit(&s, KP_BREAK_USE | KP_BREAK_CREATE);
    open_it(&s, sub);
    s.now += 100;
    assert_false(kp__probe_unasked(&s.core, sub, &mark, s.now));
    assert_false(mark);
    stage_close(&s);
}

/* A create that failed long ago is no reason. */
static void where_uses_opened_the_circuit_only_creates_that_fail_now_must_be_told(void **state)
{
    struct kp__failure last = { .code = KP_ECREATE };
    struct stage s;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = circuit(&s, KP_BREAK_USE);
    open_it(&s, sub);
    struct kp__health *health = &kp__rare(&s.core, sub)->health;
    health->last = &last;
    assert_null(kp__circuit_cause(sub));
    health->failures = 1;
    assert_ptr_equal(kp__circuit_cause(sub), &last);
    health->failures = 0;
    health->last = NULL;
    stage_close(&s);
}

static void a_creation_that_comes_after_the_close_must_end_the_probe(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = circuit(&s, KP_BREAK_USE);
    open_it(&s, sub);
    s.now += 100;
    stage_ask(&s, sub, &r, 0);
    struct kp__slot *slot = stage_begin(&s, &r);
    s.core.phase = KP__CLOSED;
    stage_made(&s, slot, &r);
    assert_int_equal(sub->rare->health.circuit->probes, 0);
    stage_close(&s);
}

/* Its victims take long, and it gives up meanwhile; or does not. */
static void the_mark_of_a_probe_must_go_by_way_of_its_victims(void **state)
{
    for (int gives_up = 0; gives_up < 2; gives_up++) {
        struct stage s;
        struct kp__request r;

        (void)state;
        stage_open(&s);
        s.rules.max_live = 1;
        struct kp__subpool *sub = circuit(&s, KP_BREAK_USE);
        struct kp__slot *victim = stage_idle(&s, sub);
        open_it(&s, sub);
        s.now += 100;
        assert_int_equal(stage_ask(&s, sub, &r, KP_FRESH), KP__GRANT_PERMIT);
        assert_ptr_equal(r.slot, victim);
        struct kp__errand *errand = kp__errand(&s.core, victim); /* as flow/victim.c does */
        errand->victim.heir = sub;
        errand->probe = kp__probe_take(&r);
        kp__wait_again(&s.core, &r, victim, s.now, &s.todo);
        assert_int_equal(r.grant.kind, KP__GRANT_WAIT);
        if (gives_up) kp__withdraw(&s.core, &r, s.now, &s.todo);
        kp__victim_gone_late(&s.core, victim, s.now, &s.todo);
        stage_check(&s);
        assert_int_equal(sub->rare->health.circuit->probes, !gives_up);
        assert_int_equal(r.grant.kind, gives_up ? KP__GRANT_NO : KP__GRANT_PERMIT);
        assert_true(gives_up || r.grant.probe);
        stage_close(&s);
    }
}

/* A lease that is leaked, a create that hangs. */
static void a_probe_that_never_ends_must_not_hold_up_the_next_for_ever(void **state)
{
    struct stage s;
    struct kp__request r[3];
    const uint64_t second = 1000000000;

    (void)state;
    for (uint64_t open = 100; open <= 5 * second; open = open == 100 ? 5 * second : 6 * second) {
        uint64_t patience = open == 100 ? second : open;
        stage_open(&s);
        s.rules.breaker_failures = 1;
        s.rules.breaker_counts = KP_BREAK_USE;
        s.rules.breaker_open = open;
        struct kp__subpool *sub = stage_key(&s);
        stage_report(&s, sub, false);
        s.now += open;
        assert_int_equal(stage_ask(&s, sub, &r[0], 0), KP__GRANT_PERMIT);
        struct kp__slot *slot = stage_begin(&s, &r[0]);
        stage_made(&s, slot, &r[0]);
        s.now += patience - 1;
        assert_int_equal(stage_ask(&s, sub, &r[1], 0), KP__GRANT_NO);
        s.now += 1;
        assert_int_equal(stage_ask(&s, sub, &r[1], 0), KP__GRANT_PERMIT);
        assert_int_equal(sub->rare->health.circuit->probes, 2);
        assert_int_equal(stage_ask(&s, sub, &r[2], 0), KP__GRANT_NO); /* one more, not all */
        assert_int_equal(report(&s, slot, true), KP__CLOSED_AGAIN); /* better late than never */
        stage_close(&s);
    }
}

/* What is there says nothing of creations: its leases leave the places of probes to these. */
static void a_lease_must_be_no_probe_of_a_circuit_of_creations(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = circuit(&s, KP_BREAK_CREATE);
    struct kp__slot *slot = stage_idle(&s, sub);
    open_it(&s, sub);
    s.now += 100;
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_SLOT);
    assert_false(kp__seat_at(slot, 0)->probe);
    assert_int_equal(sub->rare->health.circuit->probes, 0);
    assert_int_equal(s.core.probing, 0);
    stage_close(&s);
}

static void while_it_is_closed_no_lease_must_be_a_probe(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = circuit(&s, KP_BREAK_USE);
    struct kp__slot *slot = stage_idle(&s, sub);
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_SLOT);
    assert_false(kp__seat_at(slot, 0)->probe);
    assert_false(r.grant.first);
    assert_int_equal(s.core.probing, 0);
    stage_close(&s);
}

/* What bore it is used for something else later, which is no probe. */
static void the_mark_of_a_probe_must_leave_what_it_came_from(void **state)
{
    (void)state;
    for (int fails = 0; fails < 2; fails++) {
        struct stage s;
        struct kp__request r;
        stage_open(&s);
        struct kp__subpool *sub = circuit(&s, KP_BREAK_USE);
        open_it(&s, sub);
        s.now += 100;
        assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_PERMIT);
        struct kp__slot *slot = stage_begin(&s, &r);
        const struct kp__errand *errand = slot->errand;
        assert_true(errand->probe);
        if (fails) stage_failed(&s, slot, &r, -9);
        else stage_made(&s, slot, &r);
        assert_false(errand->probe);
        assert_int_equal(sub->rare->health.circuit->probes, !fails);
        if (fails) free(sub->rare->health.last);
        stage_close(&s);
    }
}

static void a_creation_under_rules_without_a_circuit_must_end_the_probe(void **state)
{
    struct kp__rules plain = stage_rules();
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = circuit(&s, KP_BREAK_CREATE);
    open_it(&s, sub);
    s.now += 100;
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_PERMIT);
    struct kp__slot *slot = stage_begin(&s, &r);
    stage_rule(&s, sub, &plain, -1, -1);
    stage_made(&s, slot, &r);
    assert_int_equal(sub->rare->health.circuit->probes, 0);
    assert_false(kp__seat_at(slot, 0)->probe);
    stage_close(&s);
}

/* Something was under way for it before the circuit opened: it is served, and is no probe. */
static void who_was_served_before_must_not_be_a_probe(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = circuit(&s, KP_BREAK_USE);
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_PERMIT);
    struct kp__slot *slot = stage_begin(&s, &r);
    stage_pending(&s, &r, slot);
    open_it(&s, sub);
    stage_made(&s, slot, NULL);
    assert_int_equal(r.grant.kind, KP__GRANT_SLOT);
    assert_false(kp__seat_at(slot, 0)->probe);
    assert_int_equal(report(&s, slot, true), KP__AS_BEFORE);
    stage_close(&s);
}

static void a_key_that_is_forgotten_must_leave_the_totals(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = circuit(&s, KP_BREAK_CREATE), *other = stage_key(&s);
    open_it(&s, sub);
    open_it(&s, other);
    s.now += 100;
    stage_ask(&s, sub, &r, 0);
    assert_int_equal(s.core.tripped, 2);
    assert_int_equal(s.core.probing, 1);
    kp__decline(&s.core, &r, s.now, &s.todo);
    assert_int_equal(s.core.probing, 1); /* still half-open, and no request is let through */
    kp__table_drop(&s.core, sub);
    assert_int_equal(s.core.tripped, 1);
    assert_int_equal(s.core.probing, 0);
    stage_close(&s);
}

/* ---- several probes -------------------------------------------------------------------------- */

static struct kp__subpool *three_probes(struct stage *s, struct kp__request r[3])
{
    struct kp__subpool *sub;

    s->rules.breaker_probes = 3;
    sub = circuit(s, KP_BREAK_USE);
    for (int i = 0; i < 4; i++) stage_idle(s, sub);
    open_it(s, sub);
    s->now += 100;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(stage_ask(s, sub, &r[i], 0), KP__GRANT_SLOT);
        assert_int_equal(r[i].grant.first, i == 0);
    }
    return sub;
}

static void so_many_probes_in_a_row_must_close_it(void **state)
{
    struct stage s;
    struct kp__request r[3], other;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = three_probes(&s, r);
    assert_int_equal(stage_ask(&s, sub, &other, 0), KP__GRANT_NO); /* no more at once */
    assert_int_equal(report(&s, r[1].slot, true), KP__AS_BEFORE);
    assert_int_equal(stage_ask(&s, sub, &other, 0), KP__GRANT_SLOT); /* but another one now */
    assert_int_equal(report(&s, other.slot, true), KP__AS_BEFORE);
    assert_int_equal(sub->rare->health.circuit->passed, 2);
    assert_int_equal(report(&s, r[0].slot, true), KP__CLOSED_AGAIN);
    assert_int_equal(sub->rare->health.circuit->probes, 1);
    assert_int_equal(report(&s, r[2].slot, false), KP__AS_BEFORE); /* as any other */
    assert_int_equal(sub->rare->health.circuit->uses, 1);
    assert_int_equal(sub->rare->health.circuit->probes, 0);
    stage_close(&s);
}

static void one_probe_that_fails_must_open_it_again(void **state)
{
    struct stage s;
    struct kp__request r[3];

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = three_probes(&s, r);
    assert_int_equal(report(&s, r[0].slot, true), KP__AS_BEFORE);
    assert_int_equal(report(&s, r[1].slot, true), KP__AS_BEFORE);
    assert_int_equal(report(&s, r[2].slot, false), KP__OPENED);
    const struct kp__circuit *c = sub->rare->health.circuit;
    assert_int_equal(c->until, s.now + 100);
    assert_int_equal(c->passed, 0); /* they begin anew */
    for (int i = 0; i < 3; i++) stage_give(&s, r[i].slot, 0, true);
    s.now += 100;
    assert_int_equal(stage_ask(&s, sub, &r[0], 0), KP__GRANT_SLOT);
    assert_true(r[0].grant.first);
    assert_int_equal(report(&s, r[0].slot, true), KP__AS_BEFORE);
    stage_close(&s);
}

/* Probes of a round before hold their places in the next one. */
static void probes_that_are_late_must_count_among_those_at_once(void **state)
{
    struct stage s;
    struct kp__request r[3], other;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = three_probes(&s, r);
    assert_int_equal(report(&s, r[0].slot, false), KP__OPENED);
    assert_int_equal(report(&s, r[1].slot, true), KP__AS_BEFORE); /* it is open */
    s.now += 100;
    assert_int_equal(stage_ask(&s, sub, &other, 0), KP__GRANT_SLOT);
    assert_int_equal(sub->rare->health.circuit->probes, 2);
    assert_int_equal(report(&s, r[2].slot, true), KP__AS_BEFORE);
    assert_int_equal(sub->rare->health.circuit->passed, 1);
    stage_close(&s);
}

/* It was let through in a round that another probe ended: its outcome comes too late for that round
 * and too early for the next. */
static void a_probe_must_not_be_heard_while_it_is_open_again(void **state)
{
    (void)state;
    for (int ok = 0; ok < 2; ok++) {
        struct stage s;
        struct kp__request r[2];
        stage_open(&s);
        struct kp__subpool *sub = circuit(&s, KP_BREAK_USE);
        for (int i = 0; i < 2; i++) stage_idle(&s, sub);
        open_it(&s, sub);
        s.now += 100;
        assert_int_equal(stage_ask(&s, sub, &r[0], 0), KP__GRANT_SLOT);
        s.now += 1000000000; /* nothing is heard of it: one more */
        assert_int_equal(stage_ask(&s, sub, &r[1], 0), KP__GRANT_SLOT);
        assert_int_equal(report(&s, r[0].slot, false), KP__OPENED);
        uint64_t until = s.now + 100;
        s.now += 50;
        assert_int_equal(report(&s, r[1].slot, ok), KP__AS_BEFORE);
        assert_true(sub->rare->health.tripped);
        assert_int_equal(sub->rare->health.circuit->until, until); /* nor is it put off */
        assert_int_equal(sub->rare->health.circuit->probes, 0);
        stage_close(&s);
    }
}

static void each_key_must_have_a_circuit_of_its_own(void **state)
{
    enum { KEYS = 12 };
    struct kp__subpool *sub[KEYS];
    struct stage s;

    (void)state;
    stage_open(&s);
    for (int i = 0; i < KEYS; i++) {
        sub[i] = circuit(&s, KP_BREAK_USE);
        stage_report(&s, sub[i], false);
    }
    for (int i = 0; i < KEYS; i++) {
        s.now++;
        assert_int_equal(sub[i]->rare->health.circuit->uses, 1);
        assert_int_equal(stage_report(&s, sub[i], false), KP__OPENED);
        for (int j = 0; j <= i; j++)
            assert_int_equal(sub[j]->rare->health.circuit->until, s.now + 100 - (uint64_t)(i - j));
    }
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_creation_nobody_waits_for_must_end_the_probe),
        cmocka_unit_test(what_nobody_asked_for_must_be_no_probe_of_a_circuit_that_opened),
        cmocka_unit_test(what_nobody_asked_for_must_be_one_of_so_many_probes),
        cmocka_unit_test(what_nobody_asked_for_must_be_no_probe_where_uses_opened_the_circuit),
        cmocka_unit_test(where_uses_opened_the_circuit_only_creates_that_fail_now_must_be_told),
        cmocka_unit_test(a_creation_that_comes_after_the_close_must_end_the_probe),
        cmocka_unit_test(the_mark_of_a_probe_must_go_by_way_of_its_victims),
        cmocka_unit_test(a_probe_that_never_ends_must_not_hold_up_the_next_for_ever),
        cmocka_unit_test(a_lease_must_be_no_probe_of_a_circuit_of_creations),
        cmocka_unit_test(while_it_is_closed_no_lease_must_be_a_probe),
        cmocka_unit_test(the_mark_of_a_probe_must_leave_what_it_came_from),
        cmocka_unit_test(a_creation_under_rules_without_a_circuit_must_end_the_probe),
        cmocka_unit_test(who_was_served_before_must_not_be_a_probe),
        cmocka_unit_test(a_key_that_is_forgotten_must_leave_the_totals),
        cmocka_unit_test(so_many_probes_in_a_row_must_close_it),
        cmocka_unit_test(one_probe_that_fails_must_open_it_again),
        cmocka_unit_test(probes_that_are_late_must_count_among_those_at_once),
        cmocka_unit_test(a_probe_must_not_be_heard_while_it_is_open_again),
        cmocka_unit_test(each_key_must_have_a_circuit_of_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
