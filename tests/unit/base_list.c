/* SPDX-License-Identifier: MIT
 *
 * Tests of base/list.h: each operation by itself, then random ones against an array.
 */
#include "base_kit.h"

#include "base/list.h"

struct thing {
    int number;
    struct kp__list link;
};

static void an_initialised_list_must_be_empty(void **state)
{
    struct kp__list l;

    (void)state;
    kp__list_init(&l);
    assert_true(kp__list_empty(&l));
    assert_false(kp__list_linked(&l));
    assert_null(kp__list_first(&l));
    assert_null(kp__list_last(&l));
}

static void a_pushed_node_must_stand_at_the_end_it_was_pushed_to(void **state)
{
    struct kp__list l, a, b, c;

    (void)state;
    kp__list_init(&l);
    kp__list_init(&a);
    kp__list_init(&b);
    kp__list_init(&c);
    kp__list_push_back(&l, &b);
    kp__list_push_back(&l, &c);
    kp__list_push_front(&l, &a);
    assert_ptr_equal(kp__list_first(&l), &a);
    assert_ptr_equal(kp__list_next(&l, &a), &b);
    assert_ptr_equal(kp__list_next(&l, &b), &c);
    assert_null(kp__list_next(&l, &c));
    assert_ptr_equal(kp__list_last(&l), &c);
    assert_ptr_equal(kp__list_prev(&l, &c), &b);
    assert_null(kp__list_prev(&l, &a));
}

static void a_node_inserted_before_another_must_precede_it(void **state)
{
    struct kp__list l, a, b;

    (void)state;
    kp__list_init(&l);
    kp__list_init(&a);
    kp__list_init(&b);
    kp__list_push_back(&l, &b);
    kp__list_insert_before(&b, &a);
    assert_ptr_equal(kp__list_first(&l), &a);
    assert_ptr_equal(kp__list_next(&l, &a), &b);
}

static void a_removed_node_must_be_on_no_list_and_may_be_removed_again(void **state)
{
    struct kp__list l, a;

    (void)state;
    kp__list_init(&l);
    kp__list_init(&a);
    kp__list_push_back(&l, &a);
    assert_true(kp__list_linked(&a));
    kp__list_remove(&a);
    assert_false(kp__list_linked(&a));
    assert_true(kp__list_empty(&l));
    kp__list_remove(&a);
    assert_false(kp__list_linked(&a));
}

static void what_is_moved_must_stand_behind_what_was_there_in_its_order(void **state)
{
    (void)state;
    for (int there = 0; there < 3; there++)
        for (int moved = 0; moved < 3; moved++) {
            struct kp__list from, to, n[4];
            kp__list_init(&from);
            kp__list_init(&to);
            for (int i = 0; i < there + moved; i++) {
                kp__list_init(&n[i]);
                kp__list_push_back(i < there ? &to : &from, &n[i]);
            }
            kp__list_move(&from, &to);
            assert_true(kp__list_empty(&from));
            struct kp__list *at = kp__list_first(&to);
            for (int i = 0; i < there + moved; i++, at = kp__list_next(&to, at))
                assert_ptr_equal(at, &n[i]);
            assert_null(at);
            at = kp__list_last(&to);
            for (int i = there + moved; i-- > 0; at = kp__list_prev(&to, at))
                assert_ptr_equal(at, &n[i]);
            assert_null(at);
        }
}

static void a_member_must_lead_back_to_its_struct(void **state)
{
    struct thing t = { .number = 7 };
    struct kp__list *link = &t.link;

    (void)state;
    assert_ptr_equal(KP__OF(link, struct thing, link), &t);
    assert_int_equal(KP__OF(link, struct thing, link)->number, 7);
}

/* ---- random operations against an array ------------------------------------------------------ */

enum { THINGS = 24, STEPS = 20000 };

static int model[THINGS];               /* numbers of the things on the list, in order */
static int length;

static int model_find(int number)
{
    for (int i = 0; i < length; i++) {
        if (model[i] == number)
            return i;
    }
    return -1;
}

static void model_insert(int at, int number)
{
    memmove(&model[at + 1], &model[at], (size_t)(length - at) * sizeof *model);
    model[at] = number;
    length++;
}

static void model_remove(int at)
{
    length--;
    memmove(&model[at], &model[at + 1], (size_t)(length - at) * sizeof *model);
}

static void must_agree(const struct kp__list *l)
{
    const struct kp__list *n = kp__list_first(l);
    int i;

    for (i = 0; n != NULL; i++, n = kp__list_next(l, n)) {
        assert_in_range(i, 0, length - 1);
        assert_int_equal(KP__OF(n, struct thing, link)->number, model[i]);
    }
    assert_int_equal(i, length);
    for (n = kp__list_last(l); n != NULL; n = kp__list_prev(l, n))
        assert_int_equal(KP__OF(n, struct thing, link)->number, model[--i]);
    assert_int_equal(i, 0);
}

static void a_list_must_keep_the_order_of_an_array(void **state)
{
    struct thing things[THINGS];
    struct kp__list l;

    (void)state;
    kit_seed();
    length = 0;
    kp__list_init(&l);
    for (int i = 0; i < THINGS; i++) {
        things[i].number = i;
        kp__list_init(&things[i].link);
    }
    for (int step = 0; step < STEPS; step++) {
        struct thing *t = &things[kit_below(THINGS)];
        int at = model_find(t->number);

        assert_int_equal(kp__list_linked(&t->link), at >= 0);
        if (at >= 0) {
            kp__list_remove(&t->link);
            model_remove(at);
        } else if (length > 0 && kit_below(2) == 0) {
            at = (int)kit_below((unsigned)length);
            kp__list_insert_before(&things[model[at]].link, &t->link);
            model_insert(at, t->number);
        } else if (kit_below(2) == 0) {
            kp__list_push_front(&l, &t->link);
            model_insert(0, t->number);
        } else {
            kp__list_push_back(&l, &t->link);
            model_insert(length, t->number);
        }
        must_agree(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_initialised_list_must_be_empty),
        cmocka_unit_test(a_pushed_node_must_stand_at_the_end_it_was_pushed_to),
        cmocka_unit_test(a_node_inserted_before_another_must_precede_it),
        cmocka_unit_test(a_removed_node_must_be_on_no_list_and_may_be_removed_again),
        cmocka_unit_test(what_is_moved_must_stand_behind_what_was_there_in_its_order),
        cmocka_unit_test(a_member_must_lead_back_to_its_struct),
        cmocka_unit_test(a_list_must_keep_the_order_of_an_array),
    };

    return cmocka_run_group_tests_name("base/list", tests, NULL, NULL);
}
