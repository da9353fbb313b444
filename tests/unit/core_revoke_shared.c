/* SPDX-License-Identifier: MIT
 *
 * Revoking a shared resource (core/revoke.c): that needs all its borrowers to have been told of
 * their leases; and every borrower that did not end its lease before or meanwhile loses it.
 */
#include "core_revokes.h"

/* One that three share. */
static struct kp__slot *shared(struct stage *s)
{
    struct kp__request r;

    s->rules.sharing = 3;
    s->rules.max_live = 1;
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = stage_lend(s, sub);
    for (int i = 1; i < 3; i++) assert_int_equal(stage_ask(s, sub, &r, 0), KP__GRANT_SLOT);
    for (uint32_t i = 0; i < 3; i++) kp__seat_at(slot, i)->hold = KP__HELD;
    return slot;
}

static void each_who_shares_it_must_hold_it(struct stage *s)
{
    struct kp__slot *slot = shared(s);

    for (uint32_t i = 0; i < 3; i++) {
        kp__seat_at(slot, i)->hold = KP__GRANTED;
        assert_false(kp__may_revoke(slot));
        kp__seat_at(slot, i)->hold = KP__HELD;
        assert_true(kp__may_revoke(slot));
    }
}

/* One ended before, and was reset; another ends meanwhile; the third loses it. */
static void all_who_share_it_must_lose_it(struct stage *s)
{
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t before = (i + 1) % 3, last = (i + 2) % 3;
        struct kp__slot *slot = shared(s);
        kp__seat_at(slot, before)->ending = true;
        stage_give(s, slot, before, true);
        assert_true(kp__may_revoke(slot));
        kp__revoke_begin(&s->core, slot);
        end(s, slot, i, KP_CAUSE_SURPLUS);
        const struct kp__seat *out = kp__revoke_end(&s->core, slot, true, s->now, &s->todo);
        stage_check(s);
        assert_ptr_equal(out, kp__seat_at(slot, last));
        assert_int_equal(slot->state, KP__REVOKED);
        assert_int_equal(slot->sub->lent_permits, 0);
        end(s, slot, last, KP_CAUSE_SURPLUS);
        assert_int_equal(stage_destroy(s), 1);
    }
}

/* The next get has another one. */
static void a_seat_that_was_free_must_be_nobodys_any_more(struct stage *s)
{
    struct kp__request r;

    s->rules.sharing = 3;
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = held(s, sub);
    (void)revoke(s, slot, true);
    assert_int_equal(stage_ask(s, sub, &r, 0), KP__GRANT_PERMIT);
    stage_take(s, &r);
    end(s, slot, 0, KP_CAUSE_SURPLUS);
    assert_int_equal(stage_destroy(s), 1);
}

static void where_all_ended_meanwhile_there_must_be_nothing_to_revoke(struct stage *s)
{
    struct kp__slot *slot = shared(s);

    stage_give(s, slot, 2, true);
    kp__revoke_begin(&s->core, slot);
    for (uint32_t i = 0; i < 2; i++) end(s, slot, i, KP_CAUSE_SURPLUS);
    assert_null(kp__revoke_end(&s->core, slot, true, s->now, &s->todo));
    stage_check(s);
    assert_int_equal(slot->state, KP__CLOSING);
    assert_int_equal(s->core.seldom.revokes, 0);
    assert_int_equal(stage_destroy(s), 1);
}

static void of_two_who_have_it_revoked_the_last_one_must_end_it(struct stage *s)
{
    struct kp__request r;

    s->rules.sharing = 2;
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *slot = stage_lend(s, sub);
    assert_int_equal(stage_ask(s, sub, &r, 0), KP__GRANT_SLOT);
    for (uint32_t i = 0; i < 2; i++) kp__seat_at(slot, i)->hold = KP__HELD;
    kp__drain_begin(&s->core, slot);
    (void)revoke(s, slot, true);
    assert_null(sub->rare->draining);
    end(s, slot, 1, KP_CAUSE_SURPLUS);
    stage_check(s);
    assert_int_equal(slot->state, KP__REVOKED);
    end(s, slot, 0, KP_CAUSE_DISCARDED);
    assert_int_equal(stage_destroy(s), 1);
    assert_int_equal(sub->rare->seldom.invalidated, 1);
}

static void another_of_its_key_must_go_on_draining(struct stage *s)
{
    struct kp__request r;

    s->rules.sharing = 2;
    struct kp__subpool *sub = stage_key(s);
    struct kp__slot *drains = stage_lend(s, sub);
    assert_int_equal(stage_ask(s, sub, &r, KP_FRESH), KP__GRANT_PERMIT);
    struct kp__slot *slot = stage_take(s, &r);
    kp__drain_begin(&s->core, drains);
    for (uint32_t i = 0; i < 2; i++) kp__seat_at(slot, i)->hold = KP__HELD;
    kp__revoke_begin(&s->core, slot);
    kp__revoke_end(&s->core, slot, true, s->now, &s->todo);
    assert_ptr_equal(sub->rare->draining, drains);
    assert_true(drains->errand->draining);
    stage_check(s);
    end(s, slot, 0, KP_CAUSE_SURPLUS);
    assert_int_equal(stage_destroy(s), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_TEST(each_who_shares_it_must_hold_it),
        STAGE_TEST(all_who_share_it_must_lose_it),
        STAGE_TEST(a_seat_that_was_free_must_be_nobodys_any_more),
        STAGE_TEST(where_all_ended_meanwhile_there_must_be_nothing_to_revoke),
        STAGE_TEST(of_two_who_have_it_revoked_the_last_one_must_end_it),
        STAGE_TEST(another_of_its_key_must_go_on_draining),
    };

    return cmocka_run_group_tests_name("revoking what is shared", tests, NULL, NULL);
}
