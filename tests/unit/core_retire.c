/* SPDX-License-Identifier: MIT
 *
 * Tests of core/renew.c: a new epoch (kp_rotate), and resources of an older one.
 */
#include "core_stage.h"
#include "core/renew.h"

enum { AGE = 1000 };

/* A key whose resources live for 1,000, with these checks of the age. */
static struct kp__subpool *key(struct stage *s, uint32_t age_check)
{
    s->rules.max_age = AGE;
    s->rules.age_check = age_check;
    s->core.validates = true;
    return stage_key(s);
}

static int64_t rotate(struct stage *s, struct kp__subpool *sub, uint64_t by)
{
    s->core.epoch++;
    int64_t many = kp__retire_all(&s->core, sub, by, s->now, &s->todo);
    stage_check(s);
    return many;
}

/* ---- each one's end -------------------------------------------------------------------------- */

static void an_end_must_come_sooner_and_never_later(struct stage *s)
{
    struct kp__subpool *sub = key(s, KP_CHECK_KEEPER);
    struct kp__slot *slot = stage_idle(s, sub);
    uint64_t age_end = slot->age_end;

    kp__retire(&s->core, slot, age_end + 1, s->now);
    assert_int_equal(slot->age_end, age_end);
    kp__retire(&s->core, slot, age_end - 1, s->now);
    assert_int_equal(slot->age_end, age_end - 1);
    assert_true(slot->old);
}

/* Its age was not checked, so it is over and the resource still there: it gets the same period as
 * the others. */
static void an_age_that_ended_nothing_must_not_end_it_now(struct stage *s)
{
    struct kp__subpool *sub = key(s, 0);
    struct kp__slot *slot = stage_idle(s, sub);

    s->now = slot->age_end;
    kp__retire(&s->core, slot, s->now + 50, s->now);
    assert_int_equal(slot->age_end, s->now + 50);
    struct kp__slot *lent = stage_lend(s, sub);
    assert_ptr_equal(lent, slot);
    s->now += 200;
    kp__retire(&s->core, lent, s->now + 50, s->now);
    assert_int_equal(lent->age_end, s->now - 150); /* no one may have it after its time: it goes */
    stage_give(s, lent, 0, true);
    assert_false(kp__age(&s->core, lent, s->now - 151, &s->todo));
    assert_true(kp__age(&s->core, lent, s->now, &s->todo));
}

/* The keeper may not have looked yet, or the get that takes it, or the release, is to find out. */
static void an_age_that_ends_it_must_not_be_put_off(struct stage *s)
{
    static const uint32_t checks[] = { KP_CHECK_GET, KP_CHECK_RETURN, KP_CHECK_KEEPER };

    for (int i = 0; i < 3; i++) {
        struct kp__slot *slot = stage_idle(s, key(s, checks[i]));
        for (int late = 0; late < 2; late++) {
            s->now = slot->age_end + (uint64_t)late;
            kp__retire(&s->core, slot, s->now + 50, s->now);
            assert_int_equal(slot->age_end, s->now - (uint64_t)late);
        }
    }
}

/* ---- all of a key ---------------------------------------------------------------------------- */

static void all_must_go_evenly_and_what_is_being_tested_too(struct stage *s)
{
    struct kp__subpool *sub = key(s, 0);
    struct kp__slot *slot[5];
    uint64_t ends = 0;

    for (int i = 0; i < 4; i++) slot[i] = stage_idle(s, sub);
    kp__test_begin(&s->core, slot[0], s->now, KP__NEVER);
    slot[4] = stage_lend(s, sub);
    assert_ptr_equal(slot[4], slot[3]);
    assert_int_equal(rotate(s, sub, s->now + 400), 4);
    for (int i = 0; i < 4; i++) {
        assert_true(slot[i]->old);
        assert_int_equal((slot[i]->age_end - s->now) % 100, 0);
        ends |= 1u << ((slot[i]->age_end - s->now) / 100);
    }
    assert_int_equal(ends, 0x1e); /* at 100, 200, 300 and 400 */
    assert_int_equal(slot[1]->age_end, s->now + 100); /* the least recently used */
    assert_int_equal(slot[2]->age_end, s->now + 200);
    s->now += 1000;
    kp__tested(&s->core, slot[0], true, s->now, &s->todo);
    stage_check(s);
    assert_true(kp__age(&s->core, slot[0], s->now, &s->todo)); /* after the test, it goes */
}

static void one_alone_must_have_all_of_the_period(struct stage *s)
{
    struct kp__subpool *sub = key(s, 0);
    struct kp__slot *slot = stage_idle(s, sub);

    assert_int_equal(rotate(s, sub, s->now + 400), 1);
    assert_int_equal(slot->age_end, s->now + 400);
    assert_int_equal(slot->state, KP__IDLE);
    assert_int_equal(rotate(s, sub, s->now), 1); /* none of it */
    assert_int_equal(slot->state, KP__CLOSING);
    assert_int_equal(slot->cause, KP_CAUSE_ROTATED);
}

static void what_is_marked_must_not_count(struct stage *s)
{
    struct kp__subpool *sub = key(s, 0);
    struct kp__slot *slot = stage_lend(s, sub);

    kp__doom(&s->core, slot, KP_CAUSE_INVALIDATED, &s->todo);
    assert_int_equal(rotate(s, sub, s->now + 400), 0);
    assert_false(slot->old);
}

/* With many keys that would be most of what they cost. */
static void a_key_that_makes_nothing_must_need_no_more_memory(struct stage *s)
{
    struct kp__subpool *sub = key(s, 0);

    (void)stage_idle(s, sub);
    assert_int_equal(rotate(s, sub, s->now + 400), 1);
    assert_false(kp__has_rare(sub));
    kp__permit_take(&s->core, sub);
    assert_int_equal(rotate(s, sub, s->now + 400), 1);
    assert_int_equal(sub->rare->renewal.epoch, s->core.epoch);
    kp__permit_refund(&s->core, sub);
}

static void a_period_without_an_end_must_leave_each_its_own(struct stage *s)
{
    struct kp__subpool *sub = key(s, 0);
    struct kp__slot *slot = stage_idle(s, sub);
    uint64_t age_end = slot->age_end;

    kp__permit_take(&s->core, sub);
    assert_int_equal(rotate(s, sub, KP__NEVER), 1);
    assert_int_equal(slot->age_end, age_end);
    assert_true(slot->old);
    assert_true(sub->rare->renewal.retire_by == KP__NEVER);
    kp__permit_refund(&s->core, sub);
}

/* What is still being made goes by then. */
static void once_more_must_not_put_off_what_is_being_made(struct stage *s)
{
    struct kp__subpool *sub = key(s, 0);
    uint64_t began = s->now;

    kp__permit_take(&s->core, sub);
    assert_int_equal(rotate(s, sub, began + 100), 0);
    s->now += 10;
    (void)rotate(s, sub, s->now + 1000);
    assert_int_equal(sub->rare->renewal.retire_by, began + 100);
    (void)rotate(s, sub, s->now + 50);
    assert_int_equal(sub->rare->renewal.retire_by, began + 60);
    s->now += 100; /* that period is over */
    (void)rotate(s, sub, s->now + 1000);
    assert_int_equal(sub->rare->renewal.retire_by, s->now + 1000);
    kp__permit_refund(&s->core, sub);
}

/* It is made at last, long after its turn; what was begun later has its own. */
static void once_more_must_not_put_off_what_is_made_after_its_turn(struct stage *s)
{
    struct kp__subpool *sub = key(s, 0);
    uint64_t first = s->core.epoch;

    kp__permit_take(&s->core, sub);
    assert_int_equal(rotate(s, sub, s->now + 100), 0);
    s->now += 200;
    assert_int_equal(rotate(s, sub, s->now + 500), 0);
    kp__permit_refund(&s->core, sub);
    for (uint64_t epoch = first; epoch <= first + 2; epoch++) {
        struct kp__slot *slot = stage_idle(s, sub);
        uint64_t age_end = slot->age_end;
        kp__retire_made(&s->core, slot, epoch, s->now);
        assert_int_equal(slot->old, epoch < first + 2);
        assert_int_equal(slot->age_end, epoch == first       ? s->now
                                        : epoch == first + 1 ? s->now + 500
                                                             : age_end);
    }
}

/* The minimum outlived its age, so it goes at its turn, as if it were idle. */
static void what_is_lent_and_outlived_its_age_must_wait_for_its_turn(struct stage *s)
{
    s->rules.respects_min = KP_KIND_AGE;
    s->rules.min_live = 2;
    struct kp__subpool *sub = key(s, KP_CHECK_GET | KP_CHECK_KEEPER);
    struct kp__slot *lent = stage_lend(s, sub), *idle = stage_idle(s, sub);
    s->now += 2 * AGE;
    assert_int_equal(rotate(s, sub, s->now + 10 * AGE), 2);
    assert_int_equal(idle->age_end, s->now + 5 * AGE);
    assert_int_equal(lent->age_end, s->now + 10 * AGE);
    assert_false(lent->errand->doomed);
}

/* Upkeep has not come so far. */
static void once_more_must_not_put_off_what_should_be_gone(struct stage *s)
{
    struct kp__slot *slot = stage_idle(s, key(s, 0));
    uint64_t turn = s->now + 50;

    kp__retire(&s->core, slot, turn, s->now);
    s->now += 100;
    kp__retire(&s->core, slot, s->now + 50, s->now);
    assert_int_equal(slot->age_end, turn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_TEST(an_end_must_come_sooner_and_never_later),
        STAGE_TEST(an_age_that_ended_nothing_must_not_end_it_now),
        STAGE_TEST(what_is_lent_and_outlived_its_age_must_wait_for_its_turn),
        STAGE_TEST(an_age_that_ends_it_must_not_be_put_off),
        STAGE_TEST(all_must_go_evenly_and_what_is_being_tested_too),
        STAGE_TEST(one_alone_must_have_all_of_the_period),
        STAGE_TEST(what_is_marked_must_not_count),
        STAGE_TEST(a_key_that_makes_nothing_must_need_no_more_memory),
        STAGE_TEST(a_period_without_an_end_must_leave_each_its_own),
        STAGE_TEST(once_more_must_not_put_off_what_is_being_made),
        STAGE_TEST(once_more_must_not_put_off_what_is_made_after_its_turn),
        STAGE_TEST(once_more_must_not_put_off_what_should_be_gone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
