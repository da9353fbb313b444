/* SPDX-License-Identifier: MIT
 *
 * Tests of base/mail.h: in which order letters are read, those that others post and those that the
 * owner posts while it reads.
 */
#include "base_kit.h"

#include "base/mail.h"

/* Has an alarm, and is answered by a letter. */
struct asker {
    struct kp__list letter;
    int number;
    struct kp__timer alarm;
};

enum { ASKERS = 8, ANSWERS = 0, JOBS = 1 };

static struct kp__mailbox box;
static struct asker asker[ASKERS];
static struct kp__list job;

static void begin(void)
{
    assert_true(kp__mailbox_open(
        &box, offsetof(struct asker, alarm) - offsetof(struct asker, letter)));
    memset(asker, 0, sizeof asker);
    for (int i = 0; i < ASKERS; i++) {
        kp__list_init(&asker[i].letter);
        asker[i].number = i;
        kp__mail_set(&box, &asker[i].alarm, 10 + (uint64_t)i);
    }
    kp__list_init(&job);
}

static void end(void)
{
    for (int i = 0; i < ASKERS; i++) kp__mail_forget(&box, &asker[i].letter);
    assert_null(box.alarms.first);
    kp__mailbox_close(&box);
}

static bool answer(int i)
{
    return kp__mail_answer(&box, &asker[i].letter);
}

/* As another thread does it. */
static bool answer_from_outside(int i)
{
    struct kp__mailbox *mine = kp__mail_mine;

    kp__mail_mine = NULL;
    bool ring = answer(i);
    kp__mail_mine = mine;
    return ring;
}

/* Whose letter is next; -1: none; -2: a job. */
static int next(void)
{
    int tray;
    struct kp__list *letter = kp__mail_take(&box, &tray);

    if (!letter) return -1;
    return tray == JOBS ? -2 : KP__OF(letter, struct asker, letter)->number;
}

static void letters_must_be_read_in_the_order_of_the_answers_whoever_gave_them(void **state)
{
    (void)state;
    begin();
    assert_true(answer(0)); /* the owner does not look: it is to be rung */
    kp__mail_begin(&box);
    assert_false(answer(1));
    assert_false(answer_from_outside(2));
    assert_false(answer(3));
    assert_int_equal(next(), 0);
    assert_false(answer(4)); /* behind what was taken out meanwhile */
    assert_false(answer(5));
    assert_false(answer_from_outside(6));
    for (int i = 1; i < 7; i++) assert_int_equal(next(), i);
    assert_int_equal(next(), -1);
    assert_false(kp__mail_end(&box));
    end();
}

static void a_job_must_be_done_before_letters_that_lie_there(void **state)
{
    (void)state;
    begin();
    kp__mail_begin(&box);
    for (int i = 0; i < 3; i++) (void)answer_from_outside(i);
    assert_int_equal(next(), 0); /* and all three are out of the tray */
    assert_false(kp__mail_post(&box, JOBS, &job));
    assert_int_equal(next(), -2);
    (void)answer(3);
    assert_int_equal(next(), 1);
    (void)answer_from_outside(4);
    (void)kp__mail_post(&box, JOBS, &job);
    (void)answer(5);
    assert_int_equal(next(), -2);
    for (int i = 2; i < 6; i++) assert_int_equal(next(), i);
    assert_int_equal(next(), -1);
    assert_false(kp__mail_end(&box));
    end();
}

static void a_letter_must_be_taken_back_wherever_it_lies(void **state)
{
    (void)state;
    begin();
    kp__mail_begin(&box);
    for (int i = 0; i < 3; i++) (void)answer_from_outside(i);
    assert_int_equal(next(), 0);
    (void)answer(3);
    (void)answer_from_outside(4);
    (void)answer_from_outside(5);
    for (int i = 1; i < 5; i += 2) kp__mail_forget(&box, &asker[i].letter);
    kp__mail_remove(&box, &asker[4].letter);
    assert_int_equal(next(), 2);
    assert_int_equal(next(), 5);
    assert_int_equal(next(), -1);
    assert_false(kp__mail_end(&box));
    end();
}

/* The owner may stop before it has read them all. */
static void what_was_not_read_must_be_there_the_next_time(void **state)
{
    (void)state;
    for (int outside = 0; outside < 3; outside++) {
        begin();
        kp__mail_begin(&box);
        for (int i = 0; i < 2; i++) (void)(outside == 1 ? answer_from_outside(i) : answer(i));
        if (outside == 2) assert_int_equal(next(), 0);
        assert_true(kp__mail_end(&box));
        assert_true(box.rung);
        assert_false(answer(2)); /* the owner looks no more, but was rung */
        kp__mail_begin(&box);
        assert_false(answer(3));
        for (int i = outside == 2; i < 4; i++) assert_int_equal(next(), i);
        assert_int_equal(next(), -1);
        assert_false(kp__mail_end(&box));
        end();
    }
}

static void who_was_answered_must_not_be_due(void **state)
{
    (void)state;
    begin();
    kp__mail_begin(&box);
    (void)answer(0);
    (void)answer_from_outside(1);
    assert_ptr_equal(kp__mail_due(&box, 100), &asker[2].alarm);
    (void)answer(2);
    assert_ptr_equal(kp__mail_any(&box), &asker[3].alarm);
    for (int i = 0; i < 3; i++) {
        assert_true(kp__mail_is_set(&box, &asker[i].alarm)); /* it is not over */
        assert_int_equal(next(), i);
    }
    assert_false(kp__mail_end(&box));
    end();
}

/* Then the owner's own take the same way as those of others, in the same order. */
static void many_answers_of_his_own_must_be_read_in_their_order(void **state)
{
    static struct asker many[200];

    (void)state;
    begin();
    for (int i = 0; i < 200; i++) {
        kp__list_init(&many[i].letter);
        many[i].number = i;
        kp__mail_set(&box, &many[i].alarm, 5);
    }
    kp__mail_begin(&box);
    for (int i = 0; i < 150; i++) assert_false(kp__mail_answer(&box, &many[i].letter));
    for (int i = 0; i < 100; i++) assert_int_equal(next(), i);
    for (int i = 150; i < 200; i++) assert_false(kp__mail_answer(&box, &many[i].letter));
    assert_ptr_equal(kp__mail_due(&box, 100), &asker[0].alarm);
    for (int i = 100; i < 200; i++) assert_int_equal(next(), i);
    assert_false(kp__mail_end(&box));
    for (int i = 0; i < 200; i++) kp__mail_forget(&box, &many[i].letter);
    end();
}

/* A thread may have several, and look into one from inside another. */
static void answers_for_another_mailbox_must_not_come_into_this_one(void **state)
{
    struct kp__mailbox other = { 0 };

    (void)state;
    begin();
    assert_true(kp__mailbox_open(&other, box.to_alarm));
    kp__mail_begin(&box);
    (void)answer(0);
    kp__mail_begin(&other);
    (void)answer(1);
    assert_null(kp__mail_take(&other, &(int){ 0 }));
    assert_false(kp__mail_end(&other));
    (void)answer(2);
    for (int i = 0; i < 3; i++) assert_int_equal(next(), i);
    assert_false(kp__mail_end(&box));
    kp__mailbox_close(&other);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(letters_must_be_read_in_the_order_of_the_answers_whoever_gave_them),
        cmocka_unit_test(a_job_must_be_done_before_letters_that_lie_there),
        cmocka_unit_test(a_letter_must_be_taken_back_wherever_it_lies),
        cmocka_unit_test(what_was_not_read_must_be_there_the_next_time),
        cmocka_unit_test(who_was_answered_must_not_be_due),
        cmocka_unit_test(many_answers_of_his_own_must_be_read_in_their_order),
        cmocka_unit_test(answers_for_another_mailbox_must_not_come_into_this_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
