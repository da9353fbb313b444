/* SPDX-License-Identifier: MIT
 *
 * Tests of core/give.c: creations that succeed, and what is closed together. core_return.c has what
 * is given back.
 */
#include "core_stage.h"

#include "core/resize.h"

/* ---- creations ------------------------------------------------------------------------------- */

static void a_new_resource_must_be_lent_to_the_request_that_made_it(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = stage_key(&s);
    stage_ask(&s, sub, &r, 0);
    assert_true(r.holds_lent);
    s.now += 5;
    struct kp__slot *slot = stage_take(&s, &r);
    assert_false(r.holds_lent);
    assert_int_equal(slot->state, KP__LENT);
    assert_int_equal(kp__seat_at(slot, 0)->since, s.now);
    assert_int_equal(slot->since, s.now);
    assert_ptr_equal(kp__seat_at(slot, 0)->site, sub);
    assert_int_equal(s.core.lent.used, 1);
    assert_int_equal(s.core.tally.creates, 1);
    stage_close(&s);
}

static void a_new_shared_resource_must_serve_others_who_wait(void **state)
{
    struct stage s;
    struct kp__request r[2];

    (void)state;
    stage_open(&s);
    s.rules.sharing = 2;
    s.rules.max_live = 1;
    struct kp__subpool *sub = stage_key(&s);
    stage_ask(&s, sub, &r[0], 0);
    struct kp__slot *slot = stage_spend(&s, sub);
    stage_ask(&s, sub, &r[1], 0);
    assert_int_equal(r[1].grant.kind, KP__GRANT_WAIT);
    stage_made(&s, slot, &r[0]);
    assert_int_equal(r[0].grant.seat, 0);
    assert_int_equal(r[1].grant.kind, KP__GRANT_SLOT);
    assert_int_equal(r[1].grant.seat, 1);
    stage_close(&s);
}

static void a_pending_creation_must_serve_its_sponsor_when_it_is_ready(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = stage_key(&s);
    stage_ask(&s, sub, &r, 0);
    struct kp__slot *slot = stage_spend(&s, sub);
    stage_pending(&s, &r, slot);
    assert_true(r.holds_lent);
    assert_string_equal(kp__limit_name[r.limit], "create");
    stage_made(&s, slot, NULL);
    assert_int_equal(r.grant.kind, KP__GRANT_SLOT);
    assert_ptr_equal(r.slot, slot);
    assert_false(r.holds_lent);
    assert_null(kp__under_way(&r));
    assert_null(slot->errand->sponsor);
    assert_false(kp__seat_at(slot, 0)->hit); /* its own */
    stage_close(&s);
}

static void a_pending_creation_must_serve_whoever_came_first(void **state)
{
    struct stage s;
    struct kp__request first, sponsor;

    (void)state;
    stage_open(&s);
    s.rules.max_live = 1;
    struct kp__subpool *sub = stage_key(&s);
    stage_ask(&s, sub, &first, KP_DONT_CREATE);
    stage_ask(&s, sub, &sponsor, 0);
    struct kp__slot *slot = stage_spend(&s, sub);
    stage_pending(&s, &sponsor, slot);
    stage_made(&s, slot, NULL);
    assert_int_equal(first.grant.kind, KP__GRANT_SLOT);
    assert_true(kp__seat_at(slot, 0)->hit);
    /* the sponsor waits on, with empty hands */
    assert_int_equal(sponsor.grant.kind, KP__GRANT_WAIT);
    assert_int_equal(sponsor.queue, KP__EITHER);
    assert_false(sponsor.holds_lent);
    assert_int_equal(s.core.lent.used, 1);
    stage_give(&s, slot, 0, true);
    assert_int_equal(sponsor.grant.kind, KP__GRANT_SLOT);
    stage_close(&s);
}

/* The permit that a sponsor drops may be what another key waits for. */
static void the_permit_a_sponsor_drops_must_go_to_who_is_next(void **state)
{
    struct stage s;
    struct kp__request first, sponsor, other;

    (void)state;
    stage_open(&s);
    s.rules.max_live = 1;
    s.core.lent.cap = 2;
    struct kp__subpool *sub = stage_key(&s), *neighbour = stage_key(&s);
    stage_ask(&s, sub, &first, KP_DONT_CREATE);
    stage_ask(&s, sub, &sponsor, 0);
    struct kp__slot *slot = stage_spend(&s, sub);
    stage_pending(&s, &sponsor, slot);
    stage_ask(&s, neighbour, &other, KP_DONT_WAIT);
    kp__lent_take(&s.core, neighbour); /* another lease there */
    stage_ask(&s, neighbour, &other, 0);
    assert_int_equal(other.grant.kind, KP__GRANT_WAIT);
    assert_int_equal(s.core.lent.used, 2);
    kp__lent_refund(&s.core, neighbour);
    s.core.lent.cap = 1; /* only the sponsor's is there now */
    kp__settle(&s.core, neighbour, s.now, &s.todo);
    assert_int_equal(other.grant.kind, KP__GRANT_WAIT);
    stage_made(&s, slot, NULL);
    /* the resource goes to its sponsor: the first one has no permit to be had */
    assert_int_equal(sponsor.grant.kind, KP__GRANT_SLOT);
    stage_give(&s, slot, 0, true);
    stage_close(&s);
}

static void a_sponsor_served_elsewhere_must_leave_its_creation_to_the_next(void **state)
{
    struct stage s;
    struct kp__request sponsor, next;

    (void)state;
    stage_open(&s);
    s.rules.max_live = 2;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *old = stage_lend(&s, sub);
    stage_ask(&s, sub, &sponsor, 0);
    struct kp__slot *slot = stage_spend(&s, sub);
    stage_pending(&s, &sponsor, slot);
    stage_ask(&s, sub, &next, 0);
    stage_give(&s, old, 0, true);
    assert_ptr_equal(sponsor.slot, old);
    assert_null(slot->errand->sponsor);
    assert_true(kp__seat_at(old, 0)->hit);
    stage_made(&s, slot, NULL);
    assert_ptr_equal(next.slot, slot);
    stage_close(&s);
}

static void a_fresh_sponsor_must_get_its_own_and_nothing_else(void **state)
{
    struct stage s;
    struct kp__request first, fresh;

    (void)state;
    stage_open(&s);
    s.rules.max_live = 1;
    struct kp__subpool *sub = stage_key(&s);
    stage_ask(&s, sub, &first, KP_DONT_CREATE);
    stage_ask(&s, sub, &fresh, KP_FRESH);
    struct kp__slot *slot = stage_spend(&s, sub);
    stage_pending(&s, &fresh, slot);
    stage_made(&s, slot, NULL);
    assert_int_equal(first.grant.kind, KP__GRANT_WAIT);
    assert_int_equal(fresh.grant.kind, KP__GRANT_SLOT);
    assert_ptr_equal(fresh.slot, slot);
    assert_string_equal(kp__seat_at(slot, 0)->tag, "tag");
    assert_false(kp__seat_at(slot, 0)->hit);
    assert_false(fresh.holds_lent);
    assert_true(stage_woken(&s, &fresh));
    stage_give(&s, slot, 0, true);
    assert_int_equal(first.grant.kind, KP__GRANT_SLOT);
    stage_close(&s);
}

static void a_fresh_sponsors_shared_resource_must_serve_others_too(void **state)
{
    struct stage s;
    struct kp__request first, fresh;

    (void)state;
    stage_open(&s);
    s.rules.max_live = 1;
    s.rules.sharing = 2;
    struct kp__subpool *sub = stage_key(&s);
    stage_ask(&s, sub, &first, KP_DONT_CREATE);
    stage_ask(&s, sub, &fresh, KP_FRESH);
    struct kp__slot *slot = stage_spend(&s, sub);
    stage_pending(&s, &fresh, slot);
    stage_made(&s, slot, NULL);
    assert_int_equal(fresh.grant.seat, 0);
    assert_int_equal(first.grant.seat, 1);
    stage_close(&s);
}

static void a_creation_after_the_close_must_be_destroyed(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = stage_key(&s);
    stage_ask(&s, sub, &r, 0);
    struct kp__slot *slot = stage_spend(&s, sub);
    kp__permit_take(&s.core, sub);
    struct kp__slot *other = stage_spend(&s, sub);
    s.core.phase = KP__CLOSED;
    stage_made(&s, slot, &r);
    STAGE_NO(&r, KP_ECLOSED, "");
    assert_false(r.holds_lent);
    assert_int_equal(s.core.lent.used, 0);
    assert_int_equal(slot->state, KP__CLOSING);
    assert_int_equal(slot->cause, KP_CAUSE_CLOSED);
    stage_made(&s, other, NULL);
    assert_int_equal(other->state, KP__CLOSING);
    assert_int_equal(stage_destroy(&s), 2);
    assert_int_equal(s.core.tally.destroys, 2);
    stage_close(&s);
}

static void a_refilled_key_must_be_looked_at_again(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = stage_key(&s);
    stage_idle(&s, sub);
    assert_int_equal(stage_due_at(&s, sub), 0);
    sub->refill = true;
    s.now += 3;
    stage_idle(&s, sub);
    assert_int_equal(stage_due_at(&s, sub), s.now);
    stage_close(&s);
}

static void a_new_idle_one_must_be_filed_and_counted_against_the_surplus(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.rules.idle_check = KP_CHECK_KEEPER;
    s.rules.idle_ttl = 50;
    s.rules.max_idle = 1;
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *a = stage_idle(&s, sub);
    assert_int_equal(a->due.at, s.now + 50);
    struct kp__slot *b = stage_idle(&s, sub);
    assert_int_equal(b->state, KP__CLOSING);
    assert_int_equal(b->cause, KP_CAUSE_SURPLUS);
    stage_close(&s);
}

static void those_that_go_together_must_all_be_free_again(void **state)
{
    struct kp__slot *gone[4];
    struct stage s;

    (void)state;
    stage_open(&s);
    struct kp__subpool *one = stage_key(&s), *other = stage_key(&s);
    for (int i = 0; i < 2; i++) stage_idle(&s, one), stage_idle(&s, other);
    assert_int_equal(kp__close_many(&s.core, one, KP_CAUSE_CLOSED, gone, 3), 2);
    assert_int_equal(kp__close_many(&s.core, other, KP_CAUSE_CLOSED, &gone[2], 1), 1);
    stage_check(&s);
    kp__gone_many(&s.core, gone, 3, s.now, &s.todo);
    stage_check(&s);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(gone[i]->state, KP__FREE);
        assert_null(gone[i]->resource);
        assert_ptr_equal(kp__slab_take(&s.core.slots), gone[2 - i]);
    }
    assert_int_equal(one->count[KP__IDLE] + one->count[KP__CLOSING], 0);
    assert_int_equal(other->count[KP__IDLE], 1);
    assert_int_equal(s.core.tally.destroys, 3);
    stage_close(&s);
}

/* A waiter of its key is not served with a resource that is above the budget. */
static void what_comes_back_above_a_lowered_budget_must_go_though_somebody_waits(void **state)
{
    static const struct kp__allowance may = {
        .live = 1, .lent = KP__UNBOUND, .idle = KP__UNBOUND, .creating = KP__UNBOUND,
        .waiting = KP__UNBOUND, .keys = KP__UNBOUND, .group = { KP__UNBOUND, KP__UNBOUND },
        .rate = KP__UNBOUND, .burst = KP__UNBOUND, .evicts = true,
    };
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    struct kp__subpool *sub = stage_key(&s);
    struct kp__slot *slot[2] = { stage_lend(&s, sub), stage_lend(&s, sub) };
    kp__budgets_set(&s.core, &may, s.now, &s.todo);
    assert_int_equal(stage_ask(&s, sub, &r, 0), KP__GRANT_WAIT);
    stage_give(&s, slot[0], 0, true);
    assert_int_equal(slot[0]->state, KP__CLOSING);
    assert_int_equal(slot[0]->cause, KP_CAUSE_SURPLUS);
    stage_give(&s, slot[1], 0, true);
    assert_int_equal(r.grant.kind, KP__GRANT_SLOT);
    stage_close(&s);
}

static void an_eager_key_without_a_minimum_must_refill_nothing(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    s.rules.eager = true;
    struct kp__subpool *sub = stage_key(&s);
    stage_give(&s, stage_lend(&s, sub), 0, false);
    assert_int_equal(stage_destroy(&s), 1);
    assert_false(sub->refill);
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_resource_must_be_lent_to_the_request_that_made_it),
        cmocka_unit_test(a_new_shared_resource_must_serve_others_who_wait),
        cmocka_unit_test(a_pending_creation_must_serve_its_sponsor_when_it_is_ready),
        cmocka_unit_test(a_pending_creation_must_serve_whoever_came_first),
        cmocka_unit_test(the_permit_a_sponsor_drops_must_go_to_who_is_next),
        cmocka_unit_test(a_sponsor_served_elsewhere_must_leave_its_creation_to_the_next),
        cmocka_unit_test(a_fresh_sponsor_must_get_its_own_and_nothing_else),
        cmocka_unit_test(a_fresh_sponsors_shared_resource_must_serve_others_too),
        cmocka_unit_test(a_creation_after_the_close_must_be_destroyed),
        cmocka_unit_test(a_refilled_key_must_be_looked_at_again),
        cmocka_unit_test(a_new_idle_one_must_be_filed_and_counted_against_the_surplus),
        cmocka_unit_test(those_that_go_together_must_all_be_free_again),
        cmocka_unit_test(what_comes_back_above_a_lowered_budget_must_go_though_somebody_waits),
        cmocka_unit_test(an_eager_key_without_a_minimum_must_refill_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
