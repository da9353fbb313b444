/* SPDX-License-Identifier: MIT
 *
 * Tests of base/timers.h, beside an array that is searched.
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
    const struct kp__timer *first = kp__timers_first(&timers);
    uint64_t least = 0;

    for (int i = 0; i < MANY; i++) {
        assert_int_equal(kp__timer_is_filed(&timer[i]), wanted[i] != 0);
        if (wanted[i] && (least == 0 || wanted[i] < least)) least = wanted[i];
    }
    if (least == 0) assert_null(first);
    else assert_true(first && first->at == least && wanted[first - timer] == least);
}

static void those_who_come_in_order_must_go_in_order(void **state)
{
    (void)state;
    begin();
    the_first_must_be_right();
    for (int i = 0; i < MANY; i++) file(i, 10 + (uint64_t)i / 2);
    for (int i = 0; i < MANY; i++) {
        assert_ptr_equal(kp__timers_first(&timers), &timer[i]);
        assert_null(kp__heap_top(&timers.others)); /* it costs nothing to be one of many */
        take_out(i);
    }
    the_first_must_be_right();
}

static void those_who_are_in_a_hurry_must_come_first(void **state)
{
    (void)state;
    begin();
    file(0, 100);
    file(1, 50);
    the_first_must_be_right();
    file(2, 70);
    take_out(1);
    the_first_must_be_right();
    file(2, 150);
    the_first_must_be_right();
    file(0, 100); /* as it was */
    the_first_must_be_right();
    take_out(0);
    take_out(2);
    take_out(2); /* harmless */
    the_first_must_be_right();
}

static void those_who_wait_for_ever_must_stand_in_nobodys_way(void **state)
{
    (void)state;
    begin();
    file(0, KP__TIMER_NEVER);
    the_first_must_be_right();
    file(1, 10);
    file(2, 20);
    assert_null(kp__heap_top(&timers.others));
    the_first_must_be_right();
    file(3, 15); /* out of order, and soon the only one with a time */
    take_out(1);
    take_out(2);
    the_first_must_be_right();
    file(3, KP__TIMER_NEVER);
    the_first_must_be_right();
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
        cmocka_unit_test(those_who_are_in_a_hurry_must_come_first),
        cmocka_unit_test(those_who_wait_for_ever_must_stand_in_nobodys_way),
        cmocka_unit_test(whatever_happens_the_first_must_be_right),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
