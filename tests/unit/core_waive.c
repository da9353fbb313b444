/* SPDX-License-Identifier: MIT
 *
 * Tests of kp__waive (core/permit.c): a request goes that a victim was to make room for. Its permit
 * is free at once, for other keys too; the victim goes all the same, and the key that evicted it
 * takes it over rather than evict another. And of groups that their last key has left.
 */
#include "core_stage.h"

/* A request of `heir` waits for the end of its victim, as flow/victim.c has it. */
static struct kp__slot *await_victim(struct stage *s, struct kp__subpool *heir,
                                     struct kp__request *r)
{
    assert_int_equal(stage_ask(s, heir, r, 0), KP__GRANT_PERMIT);
    struct kp__slot *victim = r->slot;
    assert_non_null(victim);
    kp__errand(&s->core, victim)->victim.heir = heir;
    stage_sponsor(s, r, victim);
    stage_check(s);
    return victim;
}

static void gone(struct stage *s, struct kp__slot *victim)
{
    kp__victim_gone_late(&s->core, victim, s->now, &s->todo);
    stage_check(s);
}

static void give_up(struct stage *s, struct kp__request *r)
{
    assert_true(kp__withdraw(&s->core, r, s->now, &s->todo));
    stage_check(s);
}

/* ---- what was promised is free at once ------------------------------------------------------- */

enum way { TIMED_OUT, REFUSED, SERVED, WAYS };

static void a_request_that_goes_must_free_what_its_victim_was_to_bring(void **state)
{
    (void)state;
    for (int way = 0; way < WAYS; way++) {
        struct stage s;
        struct kp__request r, other;
        stage_open(&s);
        s.core.live.cap = 2;
        s.core.creating.cap = 1;
        struct kp__subpool *a = stage_key(&s), *b = stage_key(&s), *c = stage_key(&s);
        struct kp__slot *lent = stage_lend(&s, b);
        stage_idle(&s, a);
        struct kp__slot *victim = await_victim(&s, b, &r);
        s.core.live.cap = 4;
        assert_int_equal(stage_ask(&s, c, &other, 0), KP__GRANT_WAIT);
        assert_string_equal(kp__limit_name[other.limit], "budget.max_creating");
        if (way == TIMED_OUT) give_up(&s, &r);
        if (way == SERVED) stage_give(&s, lent, 0, true);
        if (way == REFUSED) {
            kp__refuse(&s.core, &r, KP_ECLOSED, &s.todo);
            kp__settle(&s.core, b, s.now, &s.todo);
        }
        stage_check(&s);
        assert_int_equal(r.grant.kind, way == SERVED ? KP__GRANT_SLOT : KP__GRANT_NO);
        assert_int_equal(b->contest->promised, 0);
        assert_int_equal(a->contest->ceded, 0);
        assert_int_equal(other.grant.kind, KP__GRANT_PERMIT);
        assert_null(other.slot);
        assert_true(kp__list_empty(&s.todo.doomed)); /* it is on its way already */
        gone(&s, victim);
        assert_true(kp__list_empty(&b->rare->waived));
        assert_int_equal(s.core.live.used, 2);
        assert_int_equal(a->rare->seldom.evicted, 1);
        stage_close(&s);
    }
}

/* Both go, and both places are for whoever is next. */
static void two_victims_must_both_be_waived(void **state)
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
    struct kp__slot *second = stage_idle(&s, a);
    stage_idle(&s, b);
    struct kp__slot *first = await_victim(&s, c, &r);
    assert_ptr_equal(first->errand->victim.next, second);
    (void)kp__probe_begin(&s.core, c, s.now);
    kp__errand_of(first)->probe = true;
    give_up(&s, &r);
    assert_int_equal(c->rare->health.circuit->probes, 0);
    assert_ptr_equal(kp__list_first(&s.todo.doomed), &second->link);
    assert_ptr_equal(kp__list_last(&s.todo.doomed), &second->link);
    gone(&s, first);
    kp__list_remove(&second->link);
    gone(&s, second);
    assert_int_equal(s.core.live.used, 0);
    assert_int_equal(s.groups[0].budget.used, 0);
    assert_int_equal(s.groups[1].budget.used, 0);
    stage_close(&s);
}

/* ---- it is taken over ------------------------------------------------------------------------ */

/* By a request that waits already, or by one that comes later. It hears of it before the victim is
 * gone, or after that. */
static void the_next_request_must_take_it_over_rather_than_evict_another(void **state)
{
    (void)state;
    for (int bits = 0; bits < 4; bits++) {
        bool waits = bits & 1, hears = bits & 2;
        struct stage s;
        struct kp__request r, next;
        stage_open(&s);
        s.core.live.cap = 2;
        s.rules.max_creating = 1;
        struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
        stage_idle(&s, a);
        stage_idle(&s, a);
        struct kp__slot *victim = await_victim(&s, b, &r);
        if (waits) assert_int_equal(stage_ask(&s, b, &next, 0), KP__GRANT_WAIT);
        give_up(&s, &r);
        if (!waits) (void)stage_ask(&s, b, &next, 0);
        stage_check(&s);
        assert_int_equal(next.grant.kind, KP__GRANT_PERMIT);
        assert_ptr_equal(next.slot, victim);
        assert_ptr_equal(victim->errand->sponsor, &next);
        assert_int_equal(b->contest->promised, 1);
        assert_int_equal(a->contest->ceded, 1);
        assert_int_equal(a->count[KP__IDLE], 1);
        assert_true(kp__list_empty(&b->rare->waived));
        (void)kp__probe_begin(&s.core, b, s.now); /* as if the circuit were open */
        next.grant.probe = true;
        if (hears) {
            kp__errand_of(victim)->probe = kp__probe_take(&next);
            stage_sponsor(&s, &next, victim);
        }
        gone(&s, victim);
        assert_int_equal(next.grant.kind, KP__GRANT_PERMIT);
        assert_null(next.slot);
        assert_true(next.grant.probe);
        stage_take(&s, &next);
        stage_close(&s);
    }
}

/* And if that one is cancelled before it hears of it, the next does. */
static void it_must_be_taken_over_again_and_again(void **state)
{
    struct stage s;
    struct kp__request r[3];

    (void)state;
    stage_open(&s);
    s.core.live.cap = 2;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    stage_idle(&s, a);
    stage_idle(&s, a);
    struct kp__slot *victim = await_victim(&s, b, &r[0]);
    give_up(&s, &r[0]);
    for (int i = 1; i < 3; i++) {
        assert_int_equal(stage_ask(&s, b, &r[i], 0), KP__GRANT_PERMIT);
        assert_ptr_equal(r[i].slot, victim);
        kp__decline(&s.core, &r[i], s.now, &s.todo);
        stage_check(&s);
        assert_null(victim->errand->sponsor);
        assert_int_equal(b->contest->promised, 0);
    }
    assert_true(kp__list_empty(&s.todo.doomed));
    gone(&s, victim);
    assert_int_equal(a->count[KP__IDLE], 1);
    stage_close(&s);
}

static void free_room_must_be_taken_rather_than_waited_for(void **state)
{
    struct stage s;
    struct kp__request r, next;

    (void)state;
    stage_open(&s);
    s.core.live.cap = 1;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    stage_idle(&s, a);
    struct kp__slot *victim = await_victim(&s, b, &r);
    give_up(&s, &r);
    s.core.live.cap = 2;
    assert_int_equal(stage_ask(&s, b, &next, 0), KP__GRANT_PERMIT);
    assert_null(next.slot);
    gone(&s, victim);
    stage_close(&s);
}

/* It is of use only if it makes room in each budget that is full. */
static void one_that_makes_no_room_in_a_full_group_must_not_be_taken_over(void **state)
{
    enum { NO_GROUP = -1 };
    static const struct {
        int victim, heir; /* their groups */
        bool fits;
    } line[] = { { NO_GROUP, NO_GROUP, true },
                 { 0, NO_GROUP, true },
                 { NO_GROUP, 0, false },
                 { 0, 0, true } };

    (void)state;
    for (size_t i = 0; i < sizeof line / sizeof *line; i++) {
        struct stage s;
        struct kp__request r, next;
        stage_open(&s);
        stage_group(&s, 0, 0, line[i].victim == 0 ? 2 : 1);
        s.core.live.cap = 2;
        struct kp__subpool *a = stage_key(&s), *b = stage_key(&s), *c = stage_key(&s);
        stage_rule(&s, a, &s.rules, line[i].victim, -1);
        stage_rule(&s, c, &s.rules, 0, -1);
        stage_idle(&s, a);
        struct kp__slot *other = stage_idle(&s, c);
        struct kp__slot *victim = await_victim(&s, b, &r);
        assert_ptr_equal(victim->sub, a);
        give_up(&s, &r);
        stage_rule(&s, b, &s.rules, line[i].heir, -1);
        assert_int_equal(stage_ask(&s, b, &next, 0), KP__GRANT_PERMIT);
        assert_ptr_equal(next.slot, line[i].fits ? victim : other);
        stage_close(&s);
    }
}

/* The group is full until its own one is gone, which will make the room. */
static void it_must_not_be_taken_over_for_a_group_that_it_is_not_in(void **state)
{
    struct stage s;
    struct kp__request r, next;

    (void)state;
    stage_open(&s);
    stage_group(&s, 0, 0, 1);
    s.core.live.cap = 2;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s), *c = stage_key(&s);
    stage_rule(&s, c, &s.rules, 0, -1);
    stage_idle(&s, a);
    struct kp__slot *other = stage_idle(&s, c);
    struct kp__slot *victim = await_victim(&s, b, &r);
    assert_ptr_equal(victim->sub, a);
    give_up(&s, &r);
    stage_rule(&s, b, &s.rules, 0, -1);
    kp__close_idle(&s.core, other, KP_CAUSE_INVALIDATED, &s.todo);
    assert_int_equal(stage_ask(&s, b, &next, 0), KP__GRANT_WAIT);
    give_up(&s, &next);
    stage_close(&s);
}

/* A victim is to make room for the last key of a group when that leaves: the promise goes along. */
static void a_group_must_go_with_its_last_key_whatever_was_promised_there(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct stage s;
        struct kp__request r;
        stage_open(&s);
        stage_group(&s, 0, 0, 2);
        s.core.live.cap = 1;
        struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
        stage_rule(&s, b, &s.rules, 0, -1);
        stage_idle(&s, a);
        struct kp__slot *victim = await_victim(&s, b, &r);
        stage_rule(&s, b, &s.rules, -1, -1);
        assert_null(kp__group_find(&s.core, 0, 100));
        assert_ptr_equal(kp__list_first(&s.core.spare_groups), &s.groups[0].link);
        if (i == 0) give_up(&s, &r);
        gone(&s, victim);
        assert_int_equal(s.groups[0].budget.used, 0);
        stage_close(&s);
    }
}

/* Else the numbers would come to an end, where groups come and go with their keys. */
static void a_group_that_is_made_of_a_spare_one_must_keep_its_serial_number(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s);
    stage_group(&s, 0, 0, 3);
    stage_group(&s, 1, 0, 3);
    struct kp__subpool *sub = stage_key(&s);
    stage_rule(&s, sub, &s.rules, 1, -1);
    stage_rule(&s, sub, &s.rules, -1, -1);
    assert_ptr_equal(kp__list_first(&s.core.spare_groups), &s.groups[1].link);
    kp__list_remove(&s.groups[1].link);
    stage_group(&s, 1, 1, 3);
    assert_int_equal(s.groups[1].serial, 2);
    assert_int_equal(s.core.group_serials, 2);
    stage_close(&s);
}

/* ---- its heir is forgotten ------------------------------------------------------------------- */

static void it_must_not_keep_its_heir_from_being_forgotten(void **state)
{
    struct stage s;
    struct kp__request r;

    (void)state;
    stage_open(&s);
    s.core.live.cap = 1;
    struct kp__subpool *a = stage_key(&s), *b = stage_key(&s);
    stage_idle(&s, a);
    struct kp__slot *victim = await_victim(&s, b, &r);
    assert_false(kp__subpool_unused(b));
    give_up(&s, &r);
    assert_true(kp__subpool_unused(b));
    kp__table_drop(&s.core, b);
    assert_null(victim->errand->victim.heir);
    kp__gone(&s.core, victim, s.now, &s.todo);
    stage_check(&s);
    assert_int_equal(s.core.live.used, 0);
    stage_close(&s);
}

/* L8: it may be one of a million, and there may be as many promises. Who looked at this one, which
 * is of nobody, would read where there is nothing. */
static void a_key_must_not_look_at_promises_that_it_has_no_part_in(void **state)
{
    struct stage s;
    struct kp__errand of_nobody = { .slot = NULL };

    (void)state;
    stage_open(&s);
    stage_group(&s, 0, 0, 9);
    struct kp__subpool *sub = stage_key(&s);
    (void)stage_idle(&s, sub);
    kp__list_init(&of_nobody.victims);
    kp__list_push_back(&s.core.promises, &of_nobody.victims);
    stage_rule(&s, sub, &s.rules, 0, -1);
    assert_int_equal(s.groups[0].budget.used, 1);
    kp__list_remove(&of_nobody.victims);
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_that_goes_must_free_what_its_victim_was_to_bring),
        cmocka_unit_test(two_victims_must_both_be_waived),
        cmocka_unit_test(the_next_request_must_take_it_over_rather_than_evict_another),
        cmocka_unit_test(it_must_be_taken_over_again_and_again),
        cmocka_unit_test(free_room_must_be_taken_rather_than_waited_for),
        cmocka_unit_test(one_that_makes_no_room_in_a_full_group_must_not_be_taken_over),
        cmocka_unit_test(it_must_not_be_taken_over_for_a_group_that_it_is_not_in),
        cmocka_unit_test(a_group_must_go_with_its_last_key_whatever_was_promised_there),
        cmocka_unit_test(a_group_that_is_made_of_a_spare_one_must_keep_its_serial_number),
        cmocka_unit_test(it_must_not_keep_its_heir_from_being_forgotten),
        cmocka_unit_test(a_key_must_not_look_at_promises_that_it_has_no_part_in),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
