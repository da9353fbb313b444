/* SPDX-License-Identifier: MIT
 *
 * Tests of the usual time for which a lease holds a permit (core/share.c), and of what counts as
 * held, and when (core/give.c, permit.c, serve.c). The rest of shares is in core_share.c.
 */
#include "core_stage.h"

static void the_usual_hold_must_be_the_mean_and_forget_in_time(void **state)
{
    struct stage s;
    struct kp__usual *u;

    (void)state;
    stage_open(&s);
    u = &s.core.usual[KP__LEASED];
    u->spent = 80;
    s.core.usual[KP__IN_USE].spent = 10;
    kp__usual_learn(&s.core, KP__LEASED);
    assert_int_equal(u->hold, 80);
    assert_int_equal(u->spent, 0);
    assert_int_equal(u->samples, 1);
    assert_int_equal(s.core.usual[KP__IN_USE].spent, 10);
    u->spent = 40;
    kp__usual_learn(&s.core, KP__LEASED);
    assert_int_equal(u->hold, 60);
    u->spent = 0;
    kp__usual_learn(&s.core, KP__LEASED);
    assert_int_equal(u->hold, 40);
    u->samples = 63;
    u->hold = 6400;
    u->spent = 12800;
    kp__usual_learn(&s.core, KP__LEASED);
    assert_int_equal(u->samples, 64);
    assert_int_equal(u->hold, 6500);
    u->spent = 0;
    kp__usual_learn(&s.core, KP__LEASED);
    assert_int_equal(u->samples, 64);
    assert_int_equal(u->hold, 6500 - 101);
    stage_close(&s);
}

/* What is tested holds no permit to create. */
static void a_test_must_say_nothing_of_how_long_a_creation_takes(void **state)
{
    struct stage s;
    struct kp__request r[2];

    (void)state;
    stage_open(&s);
    s.core.creating.cap = 1;
    s.core.validates = true;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s), *c = stage_key(&s);
    struct kp__slot *idle = stage_idle(&s, c);
    assert_int_equal(stage_ask(&s, a, &r[0], 0), KP__GRANT_PERMIT);
    assert_int_equal(stage_ask(&s, b, &r[1], 0), KP__GRANT_WAIT);
    s.now += 400;
    kp__test_begin(&s.core, idle, s.now, KP__NEVER);
    s.now += 100;
    kp__tested(&s.core, idle, true, s.now, &s.todo);
    assert_int_equal(s.core.usual[KP__BEING_MADE].samples, 0);
    stage_take(&s, &r[0]);
    assert_int_equal(s.core.usual[KP__BEING_MADE].hold, 500);
    s.now += 300;
    stage_failed(&s, stage_begin(&s, &r[1]), &r[1], -9); /* which is a creation, too; in calm */
    assert_int_equal(s.core.usual[KP__BEING_MADE].samples, 1);
    free(b->rare->health.last);
    stage_close(&s);
}

/* Each way to end a lease or to begin one counts what was held until then. */
static void what_was_held_must_count_until_the_moment_it_ends(void **state)
{
    (void)state;
    for (int failed = 0; failed < 2; failed++) {
        struct stage s;
        struct kp__request r[2];
        stage_open(&s);
        s.core.lent.cap = 1;
        struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
        assert_int_equal(stage_ask(&s, a, &r[0], 0), KP__GRANT_PERMIT);
        struct kp__slot *slot = stage_spend(&s, a);
        if (!failed) stage_made(&s, slot, &r[0]);
        assert_int_equal(stage_ask(&s, b, &r[1], 0), KP__GRANT_WAIT);
        if (!failed) stage_give(&s, slot, 0, false);
        s.now += 400;
        if (failed) stage_failed(&s, slot, &r[0], -9);
        else stage_destroy(&s); /* a lease lasts until then */
        assert_int_equal(s.core.usual[KP__LEASED].hold, 400);
        assert_int_equal(s.core.usual[KP__IN_USE].hold, 400);
        free(a->rare->health.last);
        stage_close(&s);
    }
}

/* For a moment nobody was starved, and what the key holds changes in it, or later. */
static void what_was_held_before_a_moment_of_calm_must_not_be_lost(void **state)
{
    (void)state;
    for (int in_calm = 0; in_calm < 2; in_calm++) {
        struct stage s;
        stage_open(&s);
        struct kp__subpool *sub = stage_key(&s), *other = stage_key(&s);
        sub->lent_permits = 2;
        s.core.usual[KP__LEASED].hold = 100;
        kp__note_lack(&s.core, other, &s.core.lent);
        kp__account(&s.core, sub); /* from now on it is one that competes */
        s.core.latest += 100;
        kp__note_lack(&s.core, other, NULL);
        if (in_calm) kp__account(&s.core, sub);
        s.core.latest += 500; /* not counted */
        if (in_calm) kp__account(&s.core, sub);
        else kp__note_lack(&s.core, other, &s.core.lent);
        kp__account(&s.core, sub);
        assert_int_equal(sub->contest->share.had[KP__LEASED], 2 * KP__SHARE_ONE / KP__SHARE_TAU);
        assert_int_equal(s.core.usual[KP__LEASED].spent, 200);
        sub->lent_permits = 0;
        stage_close(&s);
    }
}

static void a_lease_must_count_from_the_moment_it_begins(void **state)
{
    struct stage s;
    struct kp__request r[2];

    (void)state;
    stage_open(&s);
    s.core.live.cap = 1;
    s.rules.sharing = 2;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    struct kp__slot *slot = stage_lend(&s, a);
    assert_int_equal(stage_ask(&s, b, &r[0], 0), KP__GRANT_WAIT);
    s.now += 400;
    assert_int_equal(stage_ask(&s, a, &r[1], 0), KP__GRANT_SLOT);
    assert_ptr_equal(r[1].slot, slot);
    s.now += 100;
    stage_give(&s, slot, 0, true);
    assert_int_equal(s.core.usual[KP__LEASED].hold, 400 + 2 * 100);
    stage_close(&s);
}

static void what_is_made_for_nobody_must_count_until_it_is_ready(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.core.live.cap = 1;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    kp__permit_take(&s.core, a);
    struct kp__slot *slot = stage_spend(&s, a);
    assert_int_equal(stage_ask(&s, b, &r, 0), KP__GRANT_WAIT);
    s.now += 400;
    stage_made(&s, slot, NULL);
    assert_ptr_equal(r.slot, slot);
    assert_int_equal(s.core.usual[KP__IN_USE].spent, 400);
    stage_victim_gone(&s, &r);
    stage_close(&s);
}

/* The heir's creation is under way somewhere: it waits for the end of its victim. */
static void wait_for_victim(struct stage *s, struct kp__request *heir)
{
    struct kp__slot *victim = heir->slot;

    kp__errand(&s->core, victim)->victim.heir = heir->sub;
    stage_sponsor(s, heir, victim);
}

/* What is promised counts for its heir, and what goes for it no more for the loser. */
static void a_promise_must_count_until_its_end(void **state)
{
    enum { GONE, GONE_LATE, DECLINED, WITHDRAWN, WAYS };

    (void)state;
    for (int way = 0; way < WAYS; way++) {
        struct stage s;
        struct kp__request r[3];
        stage_open(&s);
        s.core.live.cap = 3;
        s.core.creating.cap = 1;
        struct kp__subpool *loser = stage_key(&s), *heir = stage_key(&s), *other = stage_key(&s);
        struct kp__slot *victim = stage_lend(&s, loser);
        stage_lend(&s, loser);
        stage_give(&s, victim, 0, true);
        assert_int_equal(stage_ask(&s, other, &r[0], 0), KP__GRANT_PERMIT);
        assert_int_equal(stage_ask(&s, heir, &r[1], 0), KP__GRANT_WAIT); /* one at a time */
        s.now += 400;
        stage_take(&s, &r[0]);
        assert_ptr_equal(r[1].slot, victim);
        assert_int_equal(s.core.usual[KP__IN_USE].spent, 2 * 400); /* the loser's, the other's */
        if (way == GONE_LATE || way == WITHDRAWN) wait_for_victim(&s, &r[1]);
        assert_int_equal(stage_ask(&s, other, &r[2], 0), KP__GRANT_WAIT);
        s.now += 100;
        uint64_t spent = 2 * 400 + 100, more = 2 * 100; /* the heir's; theirs again */
        switch (way) {
        case GONE: kp__victim_gone(&s.core, heir, victim, s.now, &s.todo); break;
        case GONE_LATE: kp__victim_gone_late(&s.core, victim, s.now, &s.todo); break;
        case DECLINED: kp__decline(&s.core, &r[1], s.now, &s.todo); break;
        default: kp__withdraw(&s.core, &r[1], s.now, &s.todo); break;
        }
        if (way == DECLINED || way == WITHDRAWN) /* that ended a lease */
            assert_int_equal(s.core.usual[KP__IN_USE].hold, spent);
        else
            assert_int_equal(s.core.usual[KP__IN_USE].spent, spent + more);
        stage_close(&s);
    }
}

static void a_permit_that_is_given_back_must_count_until_then(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.core.live.cap = 1;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    kp__permit_take(&s.core, a); /* for the background */
    assert_int_equal(stage_ask(&s, b, &r, 0), KP__GRANT_WAIT);
    s.core.latest = s.now += 400;
    kp__permit_refund(&s.core, a);
    kp__settle(&s.core, a, s.now, &s.todo);
    assert_int_equal(s.core.usual[KP__IN_USE].spent, 400);
    stage_close(&s);
}

/* A request that takes what it was invited to, or what a raised limit allows, begins now. */
static void a_lease_that_was_waited_for_must_count_from_the_moment_it_begins(void **state)
{
    (void)state;
    for (int raised = 0; raised < 2; raised++) {
        struct stage s;
        struct kp__request r;
        stage_open(&s);
        s.core.lent.cap = 3;
        struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
        struct kp__slot *slot = stage_lend(&s, a);
        stage_lend(&s, b);
        stage_lend(&s, b);
        assert_int_equal(stage_ask(&s, b, &r, 0), KP__GRANT_WAIT);
        if (!raised) stage_give(&s, slot, 0, true);
        assert_int_equal(r.grant.kind, KP__GRANT_WAIT);
        s.now += 400;
        s.core.lent.cap += raised;
        if (raised) kp__settle_budget(&s.core, &s.core.lent, s.now, &s.todo);
        else stage_heed(&s, &r);
        assert_int_equal(r.grant.kind, KP__GRANT_PERMIT);
        assert_int_equal(s.core.usual[KP__LEASED].spent, 2 * 400);
        stage_close(&s);
    }
}

/* How long a lease usually takes is learnt from leases that others wait for. */
static void what_was_held_in_calm_must_not_count_as_a_usual_hold(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.core.lent.cap = 2;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    stage_give(&s, stage_lend(&s, a), 0, true);
    struct kp__slot *slot = stage_lend(&s, a);
    s.now += 1000000;
    stage_lend(&s, a);
    s.now += 1000000;
    assert_int_equal(stage_ask(&s, b, &r, 0), KP__GRANT_WAIT);
    s.now += 400;
    stage_give(&s, slot, 0, true); /* two were held for so long */
    assert_int_equal(s.core.usual[KP__LEASED].hold, 800);
    stage_close(&s);
}

static void a_courtesy_must_be_a_quarter_of_the_usual_hold_and_short(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    assert_int_equal(kp__courtesy(&s.core), 0);
    s.core.usual[KP__LEASED].hold = 403;
    assert_int_equal(kp__courtesy(&s.core), 100);
    s.core.usual[KP__LEASED].hold = 199999;
    assert_int_equal(kp__courtesy(&s.core), 49999);
    s.core.usual[KP__LEASED].hold = UINT64_C(1) << 40;
    assert_int_equal(kp__courtesy(&s.core), 50000);
    stage_close(&s);
}

/* Nobody is starved for a moment whenever the only one that was is served. A token is held for no
 * time: it comes once in a while. */
static void a_bout_must_go_on_after_moments_of_calm(void **state)
{
    (void)state;
    for (int tokens = 0; tokens < 2; tokens++) {
        struct stage s;
        stage_open(&s);
        struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
        struct kp__budget *budget = tokens ? &s.core.rate.budget : &s.core.lent;
        if (tokens) kp__rate_init(&s.core.rate, 10 * 1000 * 1000, 1);
        else s.core.usual[KP__LEASED].hold = 100;
        s.core.latest = 50; /* even if it has not been calm for that long since the beginning */
        kp__note_lack(&s.core, a, budget);
        assert_int_equal(budget->bout, 1);
        s.core.latest = 7000;
        kp__note_lack(&s.core, a, NULL);
        s.core.latest = 7000 + KP__SHARE_TAU * 100 - 1;
        kp__note_lack(&s.core, b, budget);
        assert_int_equal(budget->bout, 1);
        kp__note_lack(&s.core, b, NULL);
        s.core.latest += KP__SHARE_TAU * 100;
        kp__note_lack(&s.core, b, budget);
        assert_int_equal(budget->bout, 2);
        stage_close(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_usual_hold_must_be_the_mean_and_forget_in_time),
        cmocka_unit_test(a_test_must_say_nothing_of_how_long_a_creation_takes),
        cmocka_unit_test(what_was_held_must_count_until_the_moment_it_ends),
        cmocka_unit_test(what_was_held_before_a_moment_of_calm_must_not_be_lost),
        cmocka_unit_test(a_lease_must_count_from_the_moment_it_begins),
        cmocka_unit_test(what_is_made_for_nobody_must_count_until_it_is_ready),
        cmocka_unit_test(a_promise_must_count_until_its_end),
        cmocka_unit_test(a_permit_that_is_given_back_must_count_until_then),
        cmocka_unit_test(a_lease_that_was_waited_for_must_count_from_the_moment_it_begins),
        cmocka_unit_test(what_was_held_in_calm_must_not_count_as_a_usual_hold),
        cmocka_unit_test(a_courtesy_must_be_a_quarter_of_the_usual_hold_and_short),
        cmocka_unit_test(a_bout_must_go_on_after_moments_of_calm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
