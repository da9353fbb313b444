/* SPDX-License-Identifier: MIT
 *
 * Request 13, for requests that are cancelled (Effect #8390, keypool #708/#709, bb8#59, #67,
 * httpcore#1093, sqlx#3513, #3582): while one waits, in the moment between the hand-off and the
 * loop that hears of it, and while its own create is under way. When kp_cancel returns, what it was
 * given is back, and the next in the queue has it.
 */
#include "contract/loop.h"

enum { ALL = 2 };

static kp_options of_two(void)
{
    return (kp_options){ .limits = { .max_live = ALL } };
}

/* All that the key may have can be had at once. */
static void nothing_is_missing(struct stage *s)
{
    struct ask a[ALL];

    for (int i = 0; i < ALL; i++) stage_start(s, &a[i], "db", 50);
    stage_pass(s, 20);
    for (int i = 0; i < ALL; i++) {
        assert_int_equal(a[i].status, 0);
        kp_release(&a[i].lease);
    }
    assert_int_equal(stage_stats(s).live, ALL);
    stage_close(s);
}

static void borrow_all(struct stage *s, struct ask *a)
{
    for (int i = 0; i < ALL; i++) stage_start(s, &a[i], "db", 50);
    stage_pass(s, 20);
    for (int i = 0; i < ALL; i++) assert_int_equal(a[i].status, 0);
}

static void one_who_waits_must_leave_its_turn_to_the_next(void **state)
{
    kp_options plan = of_two();
    struct ask held[ALL], gone, next;
    struct stage s;

    (void)state;
    stage_open_alone(&s, NULL, &plan);
    borrow_all(&s, held);
    stage_start(&s, &gone, "db", 1000);
    stage_start(&s, &next, "db", 1000);
    kp_cancel(&gone.request);
    assert_int_equal(stage_stats(&s).waiting, 1);
    kp_release(&held[0].lease);
    stage_pass(&s, 1);
    assert_int_equal(next.status, 0);
    assert_int_equal(gone.answers, 0);
    kp_release(&next.lease);
    kp_release(&held[1].lease);
    nothing_is_missing(&s);
}

static void one_who_was_served_but_not_told_must_give_it_to_the_next(void **state)
{
    kp_options plan = of_two();
    struct ask held[ALL], gone, next;
    struct stage s;

    (void)state;
    stage_open_alone(&s, NULL, &plan);
    borrow_all(&s, held);
    stage_start(&s, &gone, "db", 1000);
    stage_start(&s, &next, "db", 1000);
    kp_release(&held[0].lease); /* it is the first one's now, but nobody dispatched */
    assert_int_equal(stage_stats(&s).waiting, 1);
    kp_cancel(&gone.request);
    stage_pass(&s, 1);
    assert_int_equal(gone.answers, 0);
    assert_int_equal(next.status, 0);
    kp_release(&next.lease);
    kp_release(&held[1].lease);
    nothing_is_missing(&s);
}

static void one_whose_create_is_under_way_must_leave_what_is_made_to_the_next(void **state)
{
    static const kp_line slow[] = { { .takes_ms = 10, .times = KP_OFF }, { 0 } };
    const kp_script script = { .create = slow };
    kp_options plan = of_two();
    struct ask gone[ALL], next;
    struct stage s;

    (void)state;
    stage_open_alone(&s, &script, &plan);
    for (int i = 0; i < ALL; i++) stage_start(&s, &gone[i], "db", 1000);
    stage_pass(&s, 5);
    for (int i = 0; i < ALL; i++) kp_cancel(&gone[i].request);
    stage_start(&s, &next, "db", 1000);
    stage_pass(&s, 5);
    assert_int_equal(next.status, 0);
    assert_int_equal(next.at_ms, 10); /* when the first one's was ready: no connect of its own */
    assert_int_equal(kp_cast_read(s.cast).creates, ALL);
    kp_release(&next.lease);
    nothing_is_missing(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_who_waits_must_leave_its_turn_to_the_next),
        cmocka_unit_test(one_who_was_served_but_not_told_must_give_it_to_the_next),
        cmocka_unit_test(one_whose_create_is_under_way_must_leave_what_is_made_to_the_next),
    };
    return cmocka_run_group_tests_name("request 13, cancelled", tests, NULL, NULL);
}
