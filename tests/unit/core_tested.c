/* SPDX-License-Identifier: MIT
 *
 * The keeper's checks of idle resources (core/doubt.c): when one is due and when it is put off,
 * where the resource goes afterwards, and that no request has to wait because of it.
 */
#include "core_doubts.h"

/* ---- tests of what is idle ------------------------------------------------------------------- */

#define STEP  UINT64_C(65536)
#define EVERY (4 * 65536 * STEP) /* a quarter is so many steps */

static void a_test_must_be_due_in_the_last_quarter(struct stage *s)
{
    struct kp__slot *slot[1];

    s->rules.validate_every = EVERY;
    (void)key_of(s, 1, slot);
    slot[0]->serial = 0;
    assert_int_equal(kp__test_at(&s->core, slot[0]), slot[0]->since + EVERY);
    slot[0]->serial = 1; /* 0x9e37 steps earlier */
    assert_int_equal(kp__test_at(&s->core, slot[0]), slot[0]->since + EVERY - 0x9e37 * STEP);
    uint64_t at = kp__test_at(&s->core, slot[0]);
    assert_false(kp__test_due(&s->core, slot[0], at - 1, true));
    assert_true(kp__test_due(&s->core, slot[0], at, true));
    s->rules.validate_every = KP__NEVER;
    assert_true(kp__test_at(&s->core, slot[0]) == KP__NEVER);
    s->rules.validate_every = EVERY;
    s->core.validates = false;
    assert_true(kp__test_at(&s->core, slot[0]) == KP__NEVER);
}

static void it_must_count_from_the_last_test_until_it_is_used(struct stage *s)
{
    struct kp__slot *slot[1];
    struct kp__request r;

    s->rules.validate_every = EVERY;
    struct kp__subpool *sub = key_of(s, 1, slot);
    uint64_t since = slot[0]->since;
    s->now += EVERY;
    assert_true(kp__test_due(&s->core, slot[0], s->now, true));
    begin(s, slot[0]);
    s->now += 10;
    end(s, slot[0], true);
    assert_int_equal(slot[0]->since, since);
    assert_int_equal(kp__proven_at(&s->core, slot[0]), s->now);
    assert_false(kp__test_due(&s->core, slot[0], s->now, true));
    s->now += 5;
    assert_ptr_equal(lend(s, sub, &r), slot[0]);
    assert_true(r.grant.was_idle);
    assert_int_equal(kp__seat_at(r.slot, 0)->since - kp__proven_at(&s->core, r.slot), 5);
    assert_false(kp__test_due(&s->core, slot[0], KP__NEVER - 1, true)); /* it is lent */
    s->now += 5;
    stage_give(s, slot[0], 0, true);
    assert_int_equal(kp__proven_at(&s->core, slot[0]), s->now);
}

static void each_must_have_a_time_of_its_own(struct stage *s)
{
    struct kp__slot *slot[2];

    s->rules.validate_every = EVERY;
    (void)key_of(s, 2, slot);
    for (int i = 0; i < 2; i++) {
        s->now += 10;
        begin(s, slot[i]);
        end(s, slot[i], true);
    }
    assert_int_equal(kp__proven_at(&s->core, slot[0]), s->now - 10);
    assert_int_equal(kp__proven_at(&s->core, slot[1]), s->now);
}

/* Each of these alone puts it off. */
static void a_test_that_may_keep_somebody_waiting_must_be_put_off(struct stage *s)
{
    enum { NONE, RUN, PHASE, STARVED, WAITING, LAST, KEY, POOL, BESIDE, CASES };

    s->rules.validate_every = EVERY;
    for (int i = 0; i < CASES; i++) {
        struct kp__slot *slot[3];
        s->rules.max_creating = i == KEY ? 1 : 2;
        struct kp__subpool *sub = key_of(s, i == LAST ? 2 : 3, slot);
        s->now += EVERY;
        if (i >= LAST) begin(s, slot[1]);
        s->core.phase = i == PHASE ? KP__DRAINING : KP__OPEN;
        s->core.starved = i == STARVED;
        sub->waiting = i == WAITING;
        s->core.creating.cap = i == POOL ? 1 : KP__UNBOUND;
        kp__unfile_slot(&s->core, slot[0]); /* it came due */
        assert_null(kp__look_at_slot(&s->core, slot[0], s->now, &s->todo));
        bool due = kp__test_due(&s->core, slot[0], s->now, i != RUN);
        s->core.phase = KP__OPEN;
        s->core.starved = sub->waiting = 0;
        s->core.creating.cap = KP__UNBOUND;
        assert_int_equal(due, i == NONE || i == BESIDE);
        if (!due) assert_int_equal(slot[0]->due.at, s->now + EVERY / 16);
        if (i >= LAST) end(s, slot[1], true);
    }
}

static void a_test_must_be_looked_at_when_its_time_is_over(struct stage *s)
{
    struct kp__slot *slot[1];
    bool is_slot;

    s->rules.validate_every = EVERY;
    (void)key_of(s, 1, slot);
    kp__test_begin(&s->core, slot[0], s->now, s->now + 7);
    assert_int_equal(slot[0]->due.at, s->now + 7);
    assert_ptr_equal(kp__due_pop(&s->core, s->now + 7, &is_slot), &slot[0]->due);
    assert_null(kp__look_at_slot(&s->core, slot[0], s->now + 7, &s->todo));
    end(s, slot[0], true);
    assert_true(slot[0]->due.at > s->now); /* for its next test */
}

/* What it was to be looked at for while it was idle has its time again afterwards. */
static void a_test_must_not_be_looked_at_before(struct stage *s)
{
    struct kp__slot *slot[1];

    s->rules.idle_ttl = 20;
    s->rules.idle_check = KP_CHECK_KEEPER;
    (void)key_of(s, 1, slot);
    assert_int_equal(slot[0]->due.at, slot[0]->since + 20);
    kp__test_begin(&s->core, slot[0], s->now, s->now + 50);
    assert_int_equal(slot[0]->due.at, s->now + 50);
    end(s, slot[0], true);
    assert_int_equal(slot[0]->due.at, slot[0]->since + 20);
}

static void the_minimum_of_a_key_must_be_forgotten_after_a_test(struct stage *s)
{
    struct kp__slot *slot[1];

    s->core.forget_after = 100;
    s->rules.min_live = 1;
    struct kp__subpool *sub = key_of(s, 1, slot);
    sub->interest = 1; /* so that it is not filed yet */
    begin(s, slot[0]);
    sub->interest = 0;
    s->now += 1000;
    end(s, slot[0], true);
    assert_int_not_equal(stage_due_at(s, sub), 0);
}

/* ---- back among the idle --------------------------------------------------------------------- */

static void each_must_go_back_to_its_place(struct stage *s)
{
    for (int i = 0; i < 4; i++) {
        struct kp__slot *slot[4];
        struct kp__subpool *sub = key_of(s, 4, slot);
        uint64_t order = slot[i]->order;
        begin(s, slot[i]);
        end(s, slot[i], true);
        assert_int_equal(slot[i]->order, order);
        int at = 3;
        for STAGE_EACH (l, KP__SLOTS(sub, KP__IDLE))
            assert_ptr_equal(KP__OF(l, struct kp__slot, link), slot[at--]);
        assert_int_equal(at, -1);
    }
}

/* The key with the older idle one makes room first, also if that was checked meanwhile. */
static void the_oldest_must_make_room_as_before(struct stage *s)
{
    for (int filed = 0; filed < 3; filed++) {
        struct kp__slot *old[2], *young[1];
        stage_close(s);
        stage_open(s);
        s->core.live.cap = 100;
        (void)key_of(s, 2, old);
        (void)key_of(s, 1, young);
        begin(s, old[0]);
        if (filed == 1) begin(s, old[1]); /* nothing of its key can be evicted meanwhile */
        if (filed == 2) (void)kp__evict_pick(&s->core, &s->core.live);
        if (filed == 1) end(s, old[1], true);
        end(s, old[0], true);
        assert_ptr_equal(kp__evict_pick(&s->core, &s->core.live), old[0]);
    }
}

/* One that was tested is not the oldest of its key for that. */
static void a_younger_one_that_was_tested_must_not_make_its_key_younger(struct stage *s)
{
    struct kp__slot *mine[2], *other[1];

    s->core.live.cap = 100;
    struct kp__subpool *sub = key_of(s, 1, &mine[0]);
    (void)key_of(s, 1, other);
    mine[1] = stage_idle(s, sub);
    begin(s, mine[1]);
    end(s, mine[1], true);
    assert_ptr_equal(kp__evict_pick(&s->core, &s->core.live), mine[0]);
    kp__close_idle(&s->core, mine[0], KP_CAUSE_SURPLUS, &s->todo);
    assert_ptr_equal(kp__evict_pick(&s->core, &s->core.live), other[0]);
}

/* Where no budget counts what may be evicted, nothing is filed for it. */
static void a_test_must_file_nothing_where_nothing_is_evicted(struct stage *s)
{
    struct kp__slot *slot[1];
    struct kp__subpool *sub = key_of(s, 1, slot);

    begin(s, slot[0]);
    end(s, slot[0], true);
    assert_int_equal(s->core.live.evictable.count, 0);
    assert_ptr_equal(sub->contest, &kp__no_contest);
}

/* Whichever of them is to go, that is the older one here. */
static void a_surplus_must_go_after_a_test(struct stage *s)
{
    for (int oldest = 0; oldest < 2; oldest++) {
        struct kp__slot *slot[2];
        s->rules.max_idle = 1;
        s->rules.drop_oldest = oldest;
        struct kp__subpool *sub = key_of(s, 1, slot);
        begin(s, slot[0]);
        slot[1] = stage_idle(s, sub);
        kp__tested(&s->core, slot[0], true, s->now, &s->todo);
        assert_int_equal(stage_destroy(s), 1);
        assert_int_equal(sub->count[KP__IDLE], 1);
        assert_int_equal(slot[0]->state, KP__FREE);
    }
}

static void a_test_must_take_nothing_from_creations(struct stage *s)
{
    struct kp__slot *slot[2];
    struct kp__request r;

    s->rules.max_creating = 1;
    s->rules.max_live = 3;
    s->rules.min_live = 3;
    struct kp__subpool *sub = key_of(s, 2, slot);
    for (int i = 0; i < 2; i++) begin(s, slot[i]);
    assert_int_equal(stage_ask(s, sub, &r, 0), KP__GRANT_PERMIT);
    kp__decline(&s->core, &r, s->now, &s->todo);
    assert_true(kp__refill_permit(&s->core, sub, false, s->now));
    assert_false(kp__may_create(&s->core, sub, s->now)); /* now one is under way */
    kp__permit_refund(&s->core, sub);
    for (int i = 0; i < 2; i++) end(s, slot[i], true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_TEST(a_test_must_be_due_in_the_last_quarter),
        STAGE_TEST(it_must_count_from_the_last_test_until_it_is_used),
        STAGE_TEST(each_must_have_a_time_of_its_own),
        STAGE_TEST(a_test_that_may_keep_somebody_waiting_must_be_put_off),
        STAGE_TEST(a_test_must_be_looked_at_when_its_time_is_over),
        STAGE_TEST(a_test_must_not_be_looked_at_before),
        STAGE_TEST(the_minimum_of_a_key_must_be_forgotten_after_a_test),
        STAGE_TEST(each_must_go_back_to_its_place),
        STAGE_TEST(the_oldest_must_make_room_as_before),
        STAGE_TEST(a_younger_one_that_was_tested_must_not_make_its_key_younger),
        STAGE_TEST(a_test_must_file_nothing_where_nothing_is_evicted),
        STAGE_TEST(a_surplus_must_go_after_a_test),
        STAGE_TEST(a_test_must_take_nothing_from_creations),
    };

    return cmocka_run_group_tests_name("tests by the keeper", tests, NULL, NULL);
}
