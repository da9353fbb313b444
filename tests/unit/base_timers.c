/* SPDX-License-Identifier: MIT
 *
 * Tests of base/timers.h, compared with an array that is searched.
 */
#include "base_kit.h"

#include "base/timers.h"

enum { MANY = 64, STEPS = 20000 };

static struct kp__timers timers;
static struct kp__timer timer[MANY];
static uint64_t wanted[MANY];           /* 0: not filed */

static void begin(void)
{
    kp__timers_init(&timers);
    memset(timer, 0, sizeof timer);
    memset(wanted, 0, sizeof wanted);
}

static void file(int i, uint64_t at)
{
    kp__timers_file(&timers, &timer[i], wanted[i] = at);
}

static void take_out(int i)
{
    wanted[i] = 0;
    kp__timers_remove(&timers, &timer[i]);
}

static void the_first_must_be_right(void)
{
    const struct kp__timer *any = kp__timers_any(&timers);
    uint64_t least = KP__TIMER_NEVER;
    bool nobody = true;

    for (int i = 0; i < MANY; i++) {
        assert_int_equal(kp__timer_is_filed(&timer[i]), wanted[i] != 0);
        if (!wanted[i]) continue;
        nobody = false;
        if (wanted[i] < least) least = wanted[i];
    }
    assert_int_equal(any == NULL, nobody);
    if (any) assert_int_equal(any->at, least);
    if (least == KP__TIMER_NEVER) assert_null(timers.first);
    else assert_ptr_equal(timers.first, any);
}

static bool all_stand_in_lines(void)
{
    return kp__heap_top(&timers.others) == NULL;
}

static void those_who_come_in_order_must_go_in_order(void **state)
{
    (void)state;
    begin();
    the_first_must_be_right();
    for (int i = 0; i < MANY; i++) file(i, 10 + (uint64_t)i / 2);
    for (int i = 0; i < MANY; i++) {
        assert_ptr_equal(timers.first, &timer[i]);
        assert_true(all_stand_in_lines());
        take_out(i);
        the_first_must_be_right();
    }
}

static void those_of_each_patience_must_stand_in_a_line_of_their_own(void **state)
{
    static const uint64_t patience[] = { 5000, 30, 700, 100000 };

    (void)state;
    begin();
    for (int i = 0; i < MANY; i++) {
        file(i, 1 + (uint64_t)i + patience[i % KP__TIMER_LINES]);
        the_first_must_be_right();
    }
    assert_true(all_stand_in_lines());
    for (int i = 0; i < KP__TIMER_LINES; i++) {
        take_out(i);
        file(i, 1 + MANY + patience[i]);
        the_first_must_be_right();
    }
    assert_true(all_stand_in_lines());
}

static void as_many_patiences_as_lines_must_need_no_heap(void **state)
{
    static const uint64_t patience[KP__TIMER_LINES] = { 5, 10, 20, 40 };

    (void)state;
    kit_seed();
    begin();
    for (int step = 0; step < STEPS; step++) {
        int i = (int)(kit_random() % MANY);
        if (kit_random() % 2) take_out(i);
        else file(i, (uint64_t)step + patience[kit_random() % KP__TIMER_LINES]);
        assert_true(all_stand_in_lines());
        the_first_must_be_right();
    }
}

static void those_who_fit_in_no_line_must_come_when_they_want(void **state)
{
    (void)state;
    begin();
    for (int i = 0; i < MANY; i++) { /* each in more of a hurry than all before */
        file(i, 1000 - (uint64_t)i);
        the_first_must_be_right();
    }
    assert_false(all_stand_in_lines());
    file(MANY - 1, 1000 - MANY + 1); /* as it was */
    the_first_must_be_right();
    file(MANY - 2, 2000);
    the_first_must_be_right();
    for (int i = 0; i < MANY; i += 2) {
        take_out(i);
        take_out(i); /* harmless */
        the_first_must_be_right();
    }
}

static void those_who_wait_for_ever_must_stand_in_nobodys_way(void **state)
{
    (void)state;
    begin();
    for (int i = 0; i < MANY / 2; i++) file(i, KP__TIMER_NEVER);
    the_first_must_be_right();
    for (int i = MANY / 2; i < MANY; i++) file(i, (uint64_t)i);
    assert_true(all_stand_in_lines());
    the_first_must_be_right();
    for (int i = MANY / 2; i < MANY; i++) {
        if (i % 2) file(i, KP__TIMER_NEVER);
        else take_out(i);
        the_first_must_be_right();
    }
    for (int i = 0; i < MANY; i++) take_out(i);
    the_first_must_be_right();
}

/* Muted, it counts as filed for ever, too, but is nowhere to be found. */
static void what_was_muted_must_be_found_when_it_is_filed_again(void **state)
{
    static const uint64_t times[] = { 5, KP__TIMER_NEVER, UINT64_MAX };

    (void)state;
    for (int i = 0; i < 3; i++) {
        begin();
        kp__timers_file(&timers, &timer[0], times[i]);
        kp__timers_mute(&timers, &timer[0]);
        assert_true(kp__timer_is_filed(&timer[0]));
        assert_null(kp__timers_any(&timers));
        kp__timers_file(&timers, &timer[0], times[i]);
        assert_ptr_equal(kp__timers_any(&timers), &timer[0]);
        kp__timers_remove(&timers, &timer[0]);
        assert_null(kp__timers_any(&timers));
    }
}

static void whatever_happens_the_first_must_be_right(void **state)
{
    uint64_t random = 1;

    (void)state;
    begin();
    for (int step = 0; step < STEPS; step++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        int i = (int)(random >> 33) % MANY;
        unsigned what = (unsigned)(random >> 60);
        if (what < 4) take_out(i);
        else if (what < 10) file(i, (uint64_t)step + 100); /* in order */
        else file(i, what == 10 ? KP__TIMER_NEVER : (uint64_t)step + (random >> 40) % 100 + 1);
        the_first_must_be_right();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(those_who_come_in_order_must_go_in_order),
        cmocka_unit_test(those_of_each_patience_must_stand_in_a_line_of_their_own),
        cmocka_unit_test(as_many_patiences_as_lines_must_need_no_heap),
        cmocka_unit_test(those_who_fit_in_no_line_must_come_when_they_want),
        cmocka_unit_test(those_who_wait_for_ever_must_stand_in_nobodys_way),
        cmocka_unit_test(what_was_muted_must_be_found_when_it_is_filed_again),
        cmocka_unit_test(whatever_happens_the_first_must_be_right),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
