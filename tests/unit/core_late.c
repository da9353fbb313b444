/* SPDX-License-Identifier: MIT
 *
 * Tests of core/give.c: checks, and the destruction of victims, that end while no request waits for
 * them directly.
 */
#include "core_stage.h"

/* ---- checks that nobody stands by ------------------------------------------------------------ */

/* A resource that was lent to a request is being checked; the request waits for the end of it. */
static struct kp__slot *in_doubt_by(struct stage *s, struct kp__subpool *sub,
                                    struct kp__request *r, uint32_t flags)
{
    assert_int_equal(stage_ask(s, sub, r, flags), KP__GRANT_SLOT);
    struct kp__slot *slot = r->slot;
    kp__close_seats(slot);
    stage_sponsor(s, r, slot);
    assert_int_equal(r->queue, KP__OWN);
    return slot;
}

static struct kp__slot *in_doubt(struct stage *s, struct kp__subpool *sub, struct kp__request *r)
{
    return in_doubt_by(s, sub, r, 0);
}

static void a_good_check_must_answer_its_request_with_the_lease(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = stage_key(&s);
    stage_idle(&s, sub);
    struct kp__slot *slot = in_doubt(&s, sub, &r);
    kp__checked(&s.core, slot, 0, KP_CAUSE_NONE, s.now, &s.todo);
    stage_check(&s);
    assert_int_equal(r.grant.kind, KP__GRANT_SLOT);
    assert_true(r.grant.good);
    assert_ptr_equal(r.slot, slot);
    assert_null(slot->errand->sponsor);
    stage_close(&s);
}

/* The peer of another one is gone, so it was in doubt. */
static void a_good_check_must_end_the_doubt(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.core.validates = true;
    s.rules.on_gone = KP_GONE_TEST;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *other = stage_idle(&s, sub), *doubted = stage_idle(&s, sub);
    (void)kp__peer_gone(&s.core, other, s.now, &s.todo);
    assert_true(doubted->doubted);
    assert_ptr_equal(in_doubt_by(&s, sub, &r, KP_DONT_CREATE), doubted);
    kp__checked(&s.core, doubted, 0, KP_CAUSE_NONE, s.now, &s.todo);
    stage_check(&s);
    assert_int_equal(r.grant.kind, KP__GRANT_SLOT);
    assert_false(doubted->doubted);
    assert_int_equal(sub->rare->doubts, 0);
    stage_close(&s);
}

static void a_good_check_must_open_the_seats_to_others_who_wait(void **state)
{
    struct stage s;
    struct kp__request r[2];

    (void)state;
    stage_open(&s);
    s.rules.sharing = 2;
    s.rules.max_live = 1;
    struct kp__subpool *sub = stage_key(&s);
    stage_idle(&s, sub);
    struct kp__slot *slot = in_doubt(&s, sub, &r[0]);
    r[1] = (struct kp__request){ .sub = sub, .arrived = s.now };
    kp__claim(&s.core, &r[1], s.now, &s.todo);
    assert_int_equal(r[1].grant.kind, KP__GRANT_WAIT);
    kp__checked(&s.core, slot, 0, KP_CAUSE_NONE, s.now, &s.todo);
    stage_check(&s);
    assert_int_equal(r[0].grant.seat, 0);
    assert_int_equal(r[1].grant.kind, KP__GRANT_SLOT);
    assert_int_equal(r[1].grant.seat, 1);
    stage_close(&s);
}

static void a_bad_check_must_end_the_lease_and_let_its_request_wait_on(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.rules.max_live = 1;
    struct kp__subpool *sub = stage_key(&s);
    stage_idle(&s, sub);
    struct kp__slot *slot = in_doubt(&s, sub, &r);
    kp__checked(&s.core, slot, 0, KP_CAUSE_INVALID, s.now, &s.todo);
    stage_check(&s);
    assert_int_equal(slot->state, KP__CLOSING);
    assert_int_equal(slot->cause, KP_CAUSE_INVALID);
    assert_int_equal(r.grant.kind, KP__GRANT_WAIT);
    assert_int_equal(r.queue, KP__EITHER);
    assert_null(kp__under_way(&r));
    stage_destroy(&s);
    assert_int_equal(r.grant.kind, KP__GRANT_PERMIT);
    assert_int_equal(sub->rare->seldom.invalid, 1);
    stage_close(&s);
}

static void a_taker_whose_resource_was_bad_must_not_begin_to_create(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = stage_key(&s);
    stage_idle(&s, sub);
    struct kp__slot *slot = in_doubt_by(&s, sub, &r, KP_DONT_CREATE);
    kp__checked(&s.core, slot, 0, KP_CAUSE_INVALID, s.now, &s.todo);
    stage_check(&s);
    assert_int_equal(r.queue, KP__TAKERS);
    stage_destroy(&s);
    assert_int_equal(r.grant.kind, KP__GRANT_WAIT);
    stage_close(&s);
}

static void a_good_check_of_a_doomed_one_must_end_it_all_the_same(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.rules.max_live = 1;
    struct kp__subpool *sub = stage_key(&s);
    stage_idle(&s, sub);
    struct kp__slot *slot = in_doubt(&s, sub, &r);
    kp__doom(&s.core, slot, KP_CAUSE_INVALIDATED, &s.todo);
    kp__checked(&s.core, slot, 0, KP_CAUSE_NONE, s.now, &s.todo);
    stage_check(&s);
    assert_int_equal(slot->state, KP__CLOSING);
    assert_int_equal(slot->cause, KP_CAUSE_INVALIDATED);
    assert_int_equal(r.grant.kind, KP__GRANT_WAIT);
    stage_close(&s);
}

static void a_good_check_that_nobody_waits_for_must_give_the_resource_back(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = stage_key(&s);
    stage_idle(&s, sub);
    struct kp__slot *slot = in_doubt(&s, sub, &r);
    assert_true(kp__withdraw(&s.core, &r, s.now, &s.todo));
    assert_null(slot->errand->sponsor);
    kp__checked(&s.core, slot, 0, KP_CAUSE_NONE, s.now, &s.todo);
    stage_check(&s);
    assert_int_equal(slot->state, KP__IDLE);
    stage_close(&s);
}

/* ---- victims whose end nobody stands by ------------------------------------------------------ */

/* b's permit waits for the end of a's resource. */
static struct kp__slot *awaited_victim(struct stage *s, struct kp__subpool *a,
                                       struct kp__subpool *b, struct kp__request *r)
{
    struct kp__slot *victim = stage_idle(s, a);

    assert_int_equal(stage_ask(s, b, r, 0), KP__GRANT_PERMIT);
    assert_ptr_equal(r->slot, victim);
    kp__errand(&s->core, victim)->victim.heir = b;
    stage_sponsor(s, r, victim);
    kp__settle(&s->core, b, s->now, &s->todo);
    assert_int_equal(r->queue, KP__SPONSORS);
    assert_string_equal(kp__limit_name[r->limit], "destroy");
    return victim;
}

static void a_victims_end_must_answer_who_waits_for_its_place(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.core.live.cap = 1;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    struct kp__slot *victim = awaited_victim(&s, a, b, &r);
    kp__victim_gone_late(&s.core, victim, s.now, &s.todo);
    stage_check(&s);
    assert_int_equal(r.grant.kind, KP__GRANT_PERMIT);
    assert_null(r.slot);
    assert_true(r.holds_lent);
    assert_null(kp__under_way(&r));
    assert_int_equal(a->contest->ceded, 0);
    assert_int_equal(b->contest->promised, 0);
    assert_int_equal(b->count[KP__CREATING], 1);
    assert_int_equal(a->rare->seldom.evicted, 1);
    assert_true(stage_woken(&s, &r));
    stage_take(&s, &r);
    stage_close(&s);
}

static void a_victims_place_that_nobody_waits_for_must_go_to_who_is_next(void **state)
{
    struct stage s;
    struct kp__request r, next[2];

    (void)state;
    stage_open(&s);
    s.core.live.cap = 1;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    struct kp__slot *victim = awaited_victim(&s, a, b, &r);
    assert_int_equal(stage_ask(&s, a, &next[0], 0), KP__GRANT_WAIT);
    assert_true(kp__withdraw(&s.core, &r, s.now, &s.todo));
    assert_int_equal(s.core.lent.used, 0);
    kp__victim_gone_late(&s.core, victim, s.now, &s.todo);
    stage_check(&s);
    assert_int_equal(next[0].grant.kind, KP__GRANT_PERMIT);
    assert_int_equal(b->count[KP__CREATING], 0);
    stage_close(&s);
}

static void a_victims_end_must_serve_its_own_key_where_that_was_full(void **state)
{
    struct stage s;
    struct kp__request r, next;
    struct kp__rules one;

    (void)state;
    stage_open(&s);
    stage_group(&s, 0, 0, 2);
    s.core.live.cap = 9;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    one = stage_rules();
    one.max_live = 1;
    stage_rule(&s, a, &one, 0, -1);
    stage_rule(&s, b, &s.rules, 0, -1);
    stage_lend(&s, b);
    struct kp__slot *victim = awaited_victim(&s, a, b, &r);
    assert_int_equal(stage_ask(&s, a, &next, 0), KP__GRANT_WAIT);
    assert_string_equal(kp__limit_name[next.limit], "max_live");
    s.groups[0].budget.cap = 3; /* so that the key's own limit is all that is in the way */
    kp__victim_gone_late(&s.core, victim, s.now, &s.todo);
    stage_check(&s);
    assert_int_equal(next.grant.kind, KP__GRANT_PERMIT);
    stage_close(&s);
}

/* No resource is in both of the full groups: two go, one after the other. */
static void of_two_victims_the_second_must_answer_who_waits_for_their_places(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    stage_group(&s, 0, 0, 1);
    stage_group(&s, 1, 1, 1);
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s), *c = stage_key(&s);
    stage_rule(&s, a, &s.rules, 0, -1);
    stage_rule(&s, b, &s.rules, -1, 1);
    stage_rule(&s, c, &s.rules, 0, 1);
    struct kp__subpool *d = stage_key(&s); /* has one to be destroyed at the same time */
    stage_give(&s, stage_lend(&s, d), 0, false);
    struct kp__list *doomed = kp__list_first(&s.todo.doomed);
    struct kp__slot *second = stage_idle(&s, a), *first = awaited_victim(&s, b, c, &r);
    assert_ptr_equal(first->errand->victim.next, second);
    kp__victim_gone_late(&s.core, first, s.now, &s.todo);
    stage_check(&s);
    assert_ptr_equal(second->errand->victim.heir, c);
    assert_ptr_equal(second->errand->sponsor, &r);
    assert_ptr_equal(r.slot, second);
    assert_ptr_equal(kp__list_first(&s.todo.doomed), doomed);
    assert_ptr_equal(kp__list_last(&s.todo.doomed), &second->link);
    assert_ptr_equal(kp__list_next(&s.todo.doomed, doomed), &second->link);
    assert_int_equal(s.groups[0].budget.used, 1);
    assert_int_equal(s.groups[1].budget.used, 1); /* no other may take the first's place */
    assert_int_equal(b->contest->ceded, 0);
    assert_int_equal(a->contest->ceded, 1);
    kp__list_remove(&second->link);
    kp__victim_gone_late(&s.core, second, s.now, &s.todo);
    stage_check(&s);
    assert_int_equal(r.grant.kind, KP__GRANT_PERMIT);
    assert_int_equal(c->count[KP__CREATING], 1);
    assert_int_equal(c->contest->promised, 0);
    assert_int_equal(s.groups[0].budget.used, 1);
    assert_int_equal(s.groups[1].budget.used, 1);
    assert_int_equal(s.core.seldom.evicted, 2);
    stage_close(&s);
}

/* The mark goes to what is created in the end. */
static void the_mark_of_a_probe_must_go_from_the_first_victim_to_the_second(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    stage_group(&s, 0, 0, 1);
    stage_group(&s, 1, 1, 1);
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s), *c = stage_key(&s);
    stage_rule(&s, a, &s.rules, 0, -1);
    stage_rule(&s, b, &s.rules, -1, 1);
    stage_rule(&s, c, &s.rules, 0, 1);
    struct kp__slot *second = stage_idle(&s, a), *first = awaited_victim(&s, b, c, &r);
    (void)kp__probe_begin(&s.core, c, s.now);
    kp__errand_of(first)->probe = true;
    kp__victim_gone_late(&s.core, first, s.now, &s.todo);
    assert_true(second->errand->probe);
    assert_int_equal(c->rare->health.circuit->probes, 1);
    kp__list_remove(&second->link);
    kp__victim_gone_late(&s.core, second, s.now, &s.todo);
    stage_check(&s);
    assert_true(r.grant.probe);
    assert_int_equal(c->rare->health.circuit->probes, 1);
    stage_close(&s);
}

/* The books follow; both places are free for others, whatever groups the victims are in by then. */
static void a_key_that_leaves_its_groups_must_leave_them_its_victims_places(void **state)
{
    (void)state;
    for (int both = 0; both < 2; both++) {
        struct stage s;
        struct kp__request r, next[2];
        stage_open(&s);
        stage_group(&s, 0, 0, 1);
        stage_group(&s, 1, 1, 1);
        struct kp__subpool *a = stage_key(&s), *b = stage_key(&s), *c = stage_key(&s);
        stage_rule(&s, a, &s.rules, 0, -1);
        stage_rule(&s, b, &s.rules, -1, 1);
        stage_rule(&s, c, &s.rules, 0, 1);
        struct kp__slot *second = stage_idle(&s, a), *first = awaited_victim(&s, b, c, &r);
        assert_int_equal(stage_ask(&s, a, &next[0], 0), KP__GRANT_WAIT);
        assert_int_equal(stage_ask(&s, b, &next[1], 0), KP__GRANT_WAIT);
        stage_rule(&s, c, &s.rules, -1, -1);
        if (both) stage_rule(&s, a, &s.rules, 0, 1);
        kp__victim_gone_late(&s.core, first, s.now, &s.todo);
        stage_check(&s);
        assert_int_equal(next[0].grant.kind, KP__GRANT_WAIT);
        assert_int_equal(next[1].grant.kind, both ? KP__GRANT_WAIT : KP__GRANT_PERMIT);
        kp__list_remove(&second->link);
        kp__victim_gone_late(&s.core, second, s.now, &s.todo);
        stage_check(&s);
        assert_int_equal(next[0].grant.kind, KP__GRANT_PERMIT);
        assert_int_equal(next[1].grant.kind, both ? KP__GRANT_WAIT : KP__GRANT_PERMIT);
        assert_int_equal(r.grant.kind, KP__GRANT_PERMIT);
        stage_close(&s);
    }
}

/* a's victim is being destroyed for b; both are in a group that has room for one. */
static struct kp__slot *victim_in_a_group(struct stage *s, struct kp__subpool **a,
                                          struct kp__subpool **b, struct kp__request *r)
{
    stage_open(s);
    stage_group(s, 0, 0, 1);
    stage_group(s, 1, 0, 1);
    *a = stage_key(s);
    *b = stage_key(s);
    stage_rule(s, *a, &s->rules, 0, -1);
    stage_rule(s, *b, &s->rules, 0, -1);
    return awaited_victim(s, *a, *b, r);
}

/* What is being destroyed is live: the group that its key has joined has no more room. */
static void a_key_that_joins_a_group_must_bring_its_victims(void **state)
{
    struct stage s;
    struct kp__subpool *a, *b;
    struct kp__request r, next;

    (void)state;
    struct kp__slot *victim = victim_in_a_group(&s, &a, &b, &r);
    stage_rule(&s, a, &s.rules, 1, -1);
    assert_int_equal(s.groups[0].budget.used, 1); /* what b was promised */
    assert_int_equal(s.groups[1].budget.used, 1);
    assert_int_equal(stage_ask(&s, a, &next, 0), KP__GRANT_WAIT);
    kp__victim_gone_late(&s.core, victim, s.now, &s.todo);
    stage_check(&s);
    assert_int_equal(r.grant.kind, KP__GRANT_PERMIT);
    assert_int_equal(next.grant.kind, KP__GRANT_PERMIT);
    stage_close(&s);
}

/* No other takes its place there before the victim is gone. */
static void a_key_that_joins_a_group_must_bring_what_it_was_promised(void **state)
{
    struct stage s;
    struct kp__subpool *a, *b;
    struct kp__request r, next;

    (void)state;
    struct kp__slot *victim = victim_in_a_group(&s, &a, &b, &r);
    struct kp__subpool *c = stage_key(&s);
    stage_rule(&s, c, &s.rules, 1, -1);
    stage_rule(&s, b, &s.rules, 1, -1);
    assert_int_equal(s.groups[0].budget.used, 1); /* a's victim */
    assert_int_equal(s.groups[1].budget.used, 1);
    assert_int_equal(stage_ask(&s, c, &next, 0), KP__GRANT_WAIT);
    kp__victim_gone_late(&s.core, victim, s.now, &s.todo);
    stage_check(&s);
    assert_int_equal(r.grant.kind, KP__GRANT_PERMIT);
    assert_int_equal(next.grant.kind, KP__GRANT_WAIT);
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_check_must_answer_its_request_with_the_lease),
        cmocka_unit_test(a_good_check_must_end_the_doubt),
        cmocka_unit_test(a_good_check_must_open_the_seats_to_others_who_wait),
        cmocka_unit_test(a_bad_check_must_end_the_lease_and_let_its_request_wait_on),
        cmocka_unit_test(a_taker_whose_resource_was_bad_must_not_begin_to_create),
        cmocka_unit_test(a_good_check_of_a_doomed_one_must_end_it_all_the_same),
        cmocka_unit_test(a_good_check_that_nobody_waits_for_must_give_the_resource_back),
        cmocka_unit_test(a_victims_end_must_answer_who_waits_for_its_place),
        cmocka_unit_test(a_victims_place_that_nobody_waits_for_must_go_to_who_is_next),
        cmocka_unit_test(a_victims_end_must_serve_its_own_key_where_that_was_full),
        cmocka_unit_test(of_two_victims_the_second_must_answer_who_waits_for_their_places),
        cmocka_unit_test(the_mark_of_a_probe_must_go_from_the_first_victim_to_the_second),
        cmocka_unit_test(a_key_that_leaves_its_groups_must_leave_them_its_victims_places),
        cmocka_unit_test(a_key_that_joins_a_group_must_bring_its_victims),
        cmocka_unit_test(a_key_that_joins_a_group_must_bring_what_it_was_promised),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
