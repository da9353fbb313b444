/* SPDX-License-Identifier: MIT
 *
 * Tests of KP_EVENTUAL (core/serve.c, is_left in core/decide.c): for a turn, what comes back is
 * left to whichever thread is faster; then it is handed over in order.
 */
#include "core_stage.h"

enum { MOST = 6 };

struct queue {
    struct stage s;
    struct kp__subpool *sub;
    struct kp__slot *slot[MOST];
    struct stage_face face;     /* of the first */
    struct kp__request r[MOST]; /* they wait, in this order */
};

/* All lent, and so many wait. */
static void queue_open(struct queue *q, int live, int waiting)
{
    stage_open(&q->s);
    q->s.rules.wait_eventual = true;
    q->s.rules.max_live = live;
    q->sub = stage_key(&q->s);
    for (int i = 0; i < live; i++) q->slot[i] = stage_lend(&q->s, q->sub);
    for (int i = 0; i < waiting; i++)
        assert_int_equal(stage_ask(&q->s, q->sub, &q->r[i], 0), KP__GRANT_WAIT);
}

static void queue_close(struct queue *q)
{
    stage_close(&q->s);
}

static bool waits(const struct kp__request *r)
{
    return r->grant.kind == KP__GRANT_WAIT;
}

/* ---- left to whoever is faster --------------------------------------------------------------- */

static void what_came_back_must_be_left_to_whoever_is_faster(void **state)
{
    struct queue q;
    struct kp__request again;

    (void)state;
    queue_open(&q, 1, 2);
    stage_give(&q.s, q.slot[0], 0, true);
    assert_true(waits(&q.r[0]) && q.r[0].offered && !q.r[1].offered);
    assert_string_equal(kp__limit_name[q.r[0].limit], "wait_order");
    assert_int_equal(atomic_load(&q.r[0].state), KP__NUDGED);
    assert_true(stage_woken(&q.s, &q.r[0]));
    assert_int_equal(stage_ask(&q.s, q.sub, &again, 0), KP__GRANT_SLOT);
    stage_heed(&q.s, &q.r[0]);
    assert_true(waits(&q.r[0]) && q.r[0].offered); /* it looks again by itself */
    assert_int_equal(atomic_load(&q.r[0].state), KP__WAITING);
    stage_give(&q.s, q.slot[0], 0, true);
    assert_int_equal(atomic_load(&q.r[0].state), KP__WAITING); /* woken only once in a turn */
    assert_int_equal(q.s.wakes, 0);
    queue_close(&q);
}

static void who_was_offered_must_take_what_is_there_when_it_looks(void **state)
{
    struct queue q;

    (void)state;
    queue_open(&q, 2, 2);
    stage_give(&q.s, q.slot[0], 0, true);
    stage_give(&q.s, q.slot[1], 0, true);
    stage_heed(&q.s, &q.r[0]);
    assert_int_equal(q.r[0].grant.kind, KP__GRANT_SLOT);
    assert_false(q.r[0].offered || q.r[0].looking);
    assert_int_equal(q.sub->rare->handed, 0); /* it took, and was not handed anything */
    assert_true(waits(&q.r[1]) && q.r[1].offered); /* the other one is for the next waiter */
    stage_heed(&q.s, &q.r[1]);
    assert_int_equal(q.r[1].grant.kind, KP__GRANT_SLOT);
    assert_int_equal(q.sub->rare->handed, 0);
    queue_close(&q);
}

static void who_leaves_must_leave_the_offer_to_the_next(void **state)
{
    struct queue q;

    (void)state;
    queue_open(&q, 1, 2);
    stage_give(&q.s, q.slot[0], 0, true);
    assert_true(kp__withdraw(&q.s.core, &q.r[0], q.s.now, &q.s.todo));
    stage_check(&q.s);
    assert_false(q.r[0].offered);
    assert_true(waits(&q.r[1]) && q.r[1].offered);
    queue_close(&q);
}

/* One waits, and what it was offered is gone: a newcomer was faster. */
static void queue_passed(struct queue *q, int live, struct kp__request *newcomer)
{
    queue_open(q, live, 1);
    stage_give(&q->s, q->slot[0], 0, true);
    assert_int_equal(stage_ask(&q->s, q->sub, newcomer, 0), KP__GRANT_SLOT);
}

static void who_was_offered_what_is_gone_must_get_the_right_to_create(void **state)
{
    struct queue q;
    struct kp__request again;

    (void)state;
    queue_passed(&q, 2, &again);
    assert_true(waits(&q.r[0]) && q.r[0].offered);
    stage_give(&q.s, q.slot[0], 0, false);
    stage_destroy(&q.s);
    assert_int_equal(q.r[0].grant.kind, KP__GRANT_PERMIT);
    assert_int_equal(q.sub->rare->handed, 0); /* it was not handed what others had */
    stage_made(&q.s, stage_spend(&q.s, q.sub), &q.r[0]);
    queue_close(&q);
}

static void what_just_may_stay_idle_must_be_left(void **state)
{
    struct queue q;

    (void)state;
    for (int over_all = 0; over_all < 2; over_all++) {
        queue_open(&q, 1, 1);
        *(over_all ? &q.s.core.max_idle : &q.s.rules.max_idle) = 1;
        stage_give(&q.s, q.slot[0], 0, true);
        assert_true(waits(&q.r[0]) && q.r[0].offered);
        queue_close(&q);
    }
}

static void a_seat_must_be_left_too(void **state)
{
    struct queue q;
    struct kp__request again;

    (void)state;
    queue_open(&q, 1, 0);
    struct kp__rules shared = q.s.rules;
    shared.sharing = 2;
    struct kp__subpool *sub = stage_key(&q.s);
    stage_rule(&q.s, sub, &shared, -1, -1);
    struct kp__slot *slot = stage_lend(&q.s, sub);
    stage_lend(&q.s, sub);
    assert_int_equal(stage_ask(&q.s, sub, &q.r[0], 0), KP__GRANT_WAIT);
    stage_give(&q.s, slot, 1, true);
    assert_true(waits(&q.r[0]) && q.r[0].offered);
    assert_int_equal(stage_ask(&q.s, sub, &again, 0), KP__GRANT_SLOT);
    stage_heed(&q.s, &q.r[0]);
    assert_true(waits(&q.r[0]));
    assert_true(stage_woken(&q.s, &q.r[0]));
    stage_give(&q.s, slot, 1, true);
    assert_true(waits(&q.r[0]) && q.r[0].offered);
    assert_false(stage_woken(&q.s, &q.r[0])); /* not twice in a turn */
    queue_close(&q);
}

/* ---- but not for ever ------------------------------------------------------------------------ */

static void a_turn_must_end_with_as_many_handed_over_as_there_are(void **state)
{
    struct queue q;
    struct kp__request again[2];

    (void)state;
    queue_open(&q, 2, 4);
    q.s.now += KP__ROUND * 2 / 6 - 1;
    stage_give(&q.s, q.slot[0], 0, true);
    assert_true(waits(&q.r[0]));
    assert_int_equal(stage_ask(&q.s, q.sub, &again[0], 0), KP__GRANT_SLOT);
    q.s.now++;
    stage_give(&q.s, q.slot[0], 0, true);
    assert_int_equal(q.r[0].grant.kind, KP__GRANT_SLOT);
    assert_int_equal(q.sub->rare->handed, 1);
    assert_int_equal(stage_ask(&q.s, q.sub, &again[0], 0), KP__GRANT_WAIT); /* behind them */
    stage_give(&q.s, q.slot[1], 0, true);
    assert_int_equal(q.r[1].grant.kind, KP__GRANT_SLOT);
    assert_int_equal(q.sub->rare->handed, 0);
    assert_true(q.sub->rare->turn_began == q.s.now); /* theirs */
    stage_give(&q.s, q.slot[0], 0, true);
    assert_true(waits(&q.r[2]) && q.r[2].offered);
    assert_int_equal(stage_ask(&q.s, q.sub, &again[1], 0), KP__GRANT_SLOT);
    queue_close(&q);
}

static void nobody_must_be_passed_for_longer_than_is_said(void **state)
{
    struct queue q;
    struct kp__request again;

    (void)state;
    queue_open(&q, 1, 1);
    q.s.now += KP__PASSED_MOST - 1;
    kp__rare(&q.s.core, q.sub)->turn_began = q.s.now; /* a new one */
    stage_give(&q.s, q.slot[0], 0, true);
    assert_true(waits(&q.r[0]));
    q.s.now++;
    assert_int_equal(stage_ask(&q.s, q.sub, &again, 0), KP__GRANT_WAIT);
    assert_int_equal(q.r[0].grant.kind, KP__GRANT_SLOT); /* it finds that it has it */
    queue_close(&q);
}

static void who_looked_in_vain_must_not_be_passed_for_longer_either(void **state)
{
    struct queue q;
    struct kp__request again;

    (void)state;
    queue_passed(&q, 1, &again);
    stage_heed(&q.s, &q.r[0]);
    stage_give(&q.s, q.slot[0], 0, true);
    assert_true(waits(&q.r[0]) && q.r[0].offered);
    q.s.now += KP__PASSED_MOST;
    assert_int_equal(stage_ask(&q.s, q.sub, &again, 0), KP__GRANT_WAIT);
    assert_int_equal(q.r[0].grant.kind, KP__GRANT_SLOT);
    queue_close(&q);
}

static void who_looks_in_vain_after_the_turn_must_be_handed_the_next(void **state)
{
    struct queue q;
    struct kp__request again;

    (void)state;
    queue_passed(&q, 1, &again);
    q.s.now += KP__ROUND / 2;
    stage_heed(&q.s, &q.r[0]);
    assert_true(waits(&q.r[0]));
    assert_false(q.r[0].offered); /* it need not look again */
    stage_give(&q.s, q.slot[0], 0, true);
    assert_int_equal(q.r[0].grant.kind, KP__GRANT_SLOT);
    queue_close(&q);
}

/* What was handed over before all had gone must not shorten the next queue's first turn. */
static void the_first_who_waits_must_begin_a_turn(void **state)
{
    struct queue q;

    (void)state;
    queue_open(&q, 2, 1);
    q.s.now += KP__ROUND;
    stage_give(&q.s, q.slot[0], 0, true);
    assert_int_equal(q.sub->rare->handed, 1);
    q.s.now += KP__ROUND;
    q.s.core.latest = q.s.now;
    assert_int_equal(stage_ask(&q.s, q.sub, &q.r[0], 0), KP__GRANT_WAIT);
    assert_int_equal(q.sub->rare->handed, 0);
    assert_true(q.sub->rare->turn_began == q.s.now);
    q.s.now++;
    assert_int_equal(stage_ask(&q.s, q.sub, &q.r[1], 0), KP__GRANT_WAIT);
    assert_true(q.sub->rare->turn_began < q.s.now);
    queue_close(&q);
}

/* ---- handed over at once --------------------------------------------------------------------- */

static void what_cannot_come_for_it_must_be_handed_what_came_back(void **state)
{
    enum { FIFO, A_LOOP, ITS_OWN, FULL_KEY, FULL_POOL, CASES };

    (void)state;
    for (int which = 0; which < CASES; which++) {
        struct queue q;
        struct kp__mailbox box = { 0 };
        queue_open(&q, 1, 1);
        assert_true(kp__mailbox_open(&box, KP__TO_ALARM));
        struct kp__rules fifo = q.s.rules;
        fifo.wait_eventual = false;
        if (which == FIFO) stage_rule(&q.s, q.sub, &fifo, -1, -1);
        if (which == A_LOOP) stage_on_loop(&q.face, &q.r[0], &box);
        if (which == FULL_KEY) q.s.rules.max_idle = 0;
        if (which == FULL_POOL) q.s.core.max_idle = 0;
        if (which == ITS_OWN) { /* of which it knows that it will come */
            kp__lent_take(&q.s.core, q.sub);
            q.r[0].holds_lent = true;
            q.sub->lent_permits--;
            q.s.core.lent.used--;
        }
        kp__give(&q.s.core, q.slot[0], 0, KP_CAUSE_NONE, q.s.now, &q.s.todo);
        if (q.r[0].grant.kind != KP__GRANT_SLOT) fail_msg("case %d", which);
        assert_false(q.r[0].offered);
        (void)kp__mail_take(&box, &(int){ 0 });
        kp__mailbox_close(&box);
        queue_close(&q);
    }
}

static void who_comes_must_pass_only_by_the_rules_and_to_what_is_there(void **state)
{
    struct queue q;
    struct kp__request again;

    (void)state;
    queue_open(&q, 1, 1);
    assert_int_equal(stage_ask(&q.s, q.sub, &again, 0), KP__GRANT_WAIT); /* nothing is there */
    stage_give(&q.s, q.slot[0], 0, true);
    struct kp__rules *rules = q.sub->rules;
    q.sub->rules = NULL; /* limits_for is being asked */
    assert_int_equal(stage_ask(&q.s, q.sub, &q.r[1], KP_DONT_WAIT), KP__GRANT_NO);
    q.sub->rules = rules;
    assert_int_equal(stage_ask(&q.s, q.sub, &q.r[1], KP_DONT_WAIT), KP__GRANT_SLOT);
    queue_close(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_came_back_must_be_left_to_whoever_is_faster),
        cmocka_unit_test(who_was_offered_must_take_what_is_there_when_it_looks),
        cmocka_unit_test(who_leaves_must_leave_the_offer_to_the_next),
        cmocka_unit_test(who_was_offered_what_is_gone_must_get_the_right_to_create),
        cmocka_unit_test(what_just_may_stay_idle_must_be_left),
        cmocka_unit_test(a_seat_must_be_left_too),
        cmocka_unit_test(a_turn_must_end_with_as_many_handed_over_as_there_are),
        cmocka_unit_test(nobody_must_be_passed_for_longer_than_is_said),
        cmocka_unit_test(who_looked_in_vain_must_not_be_passed_for_longer_either),
        cmocka_unit_test(who_looks_in_vain_after_the_turn_must_be_handed_the_next),
        cmocka_unit_test(the_first_who_waits_must_begin_a_turn),
        cmocka_unit_test(what_cannot_come_for_it_must_be_handed_what_came_back),
        cmocka_unit_test(who_comes_must_pass_only_by_the_rules_and_to_what_is_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
