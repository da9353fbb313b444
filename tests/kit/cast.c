/* SPDX-License-Identifier: MIT
 *
 * Tests of the test kit itself: the scripted driver, where nothing takes time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dies.h"
#include "job.h"

#include <pthread.h>

/* ---- without time ---- */

static void without_a_script_all_must_succeed_and_be_counted(void **state)
{
    kp_prop *one, *two;

    (void)state;
    open_cast(NULL);
    assert_int_equal(make(&one), 0);
    assert_int_equal(make(&two), 0);
    assert_int_equal(one->number, 1);
    assert_int_equal(two->number, 2);
    assert_int_equal(one->alive, 1);
    assert_string_equal(one->key, "key");
    assert_int_equal(use(KP_JOB_VALIDATE, one), 0);
    assert_int_equal(use(KP_JOB_RESET, one), 0);
    assert_int_equal(use(KP_JOB_RESET, two), 0);
    assert_int_equal(use(KP_JOB_DESTROY, one), 0);
    assert_int_equal(one->alive, 0);

    kp_cast_count count = kp_cast_read(cast);

    assert_int_equal(count.creates, 2);
    assert_int_equal(count.create_failures, 0);
    assert_int_equal(count.validates, 1);
    assert_int_equal(count.resets, 2);
    assert_int_equal(count.destroys, 1);
    assert_int_equal(count.live, 1);
    assert_int_equal(count.most_live, 2);
    assert_int_equal(count.destroyed_twice, 0);
    assert_int_equal(count.used_after, 0);
    kp_cast_close(cast);
}

static void lines_must_be_followed_in_order_and_then_all_succeed(void **state)
{
    static const kp_line lines[] = { { .status = -1 }, { .status = -2, .times = 2 }, { .times = 1 },
                                     { .status = -3 }, { 0 } };
    static const int expected[] = { -1, -2, -2, 0, -3, 0, 0 };
    const kp_script script = { .create = lines };
    kp_prop *made;

    (void)state;
    open_cast(&script);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        assert_int_equal(make(&made), expected[i]);
        assert_int_equal(made != NULL, expected[i] == 0);
    }
    assert_int_equal(kp_cast_read(cast).creates, 3);
    assert_int_equal(kp_cast_read(cast).create_failures, 4);
    kp_cast_close(cast);
}

static void a_line_for_ever_must_never_end(void **state)
{
    static const kp_line lines[] = { { .times = 1 }, { .status = -1, .times = KP_OFF } };
    const kp_script script = { .validate = lines };
    kp_prop *made;

    (void)state;
    open_cast(&script);
    assert_int_equal(make(&made), 0);
    assert_int_equal(use(KP_JOB_VALIDATE, made), 0);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(use(KP_JOB_VALIDATE, made), -1);
    }
    kp_cast_close(cast);
}

static void a_failing_line_must_tell_its_reason_and_its_own_result(void **state)
{
    static const kp_line lines[] = { { .status = KP_EREFUSED, .vendor_code = 28, .text = "no" },
                                     { .status = -5, .text = "why" },
                                     { .status = -6 },
                                     { 0 } };
    const kp_script script = { .create = lines };
    tested_job job;
    void *made = NULL;

    (void)state;
    open_cast(&script);
    assert_int_equal(run(&job, KP_JOB_CREATE, NULL, &made), KP_EREFUSED);
    assert_int_equal(job.vendor_code, 28);
    assert_string_equal(job.text, "no");
    assert_int_equal(run(&job, KP_JOB_CREATE, NULL, &made), -5);
    assert_int_equal(job.vendor_code, -5);
    assert_string_equal(job.text, "why");
    assert_int_equal(run(&job, KP_JOB_CREATE, NULL, &made), -6);
    assert_null(job.text);
    assert_null(made);
    kp_cast_close(cast);
}

static void a_key_must_be_kept_as_text_cut_to_fit(void **state)
{
    char longest[100];
    tested_job job;
    void *made;

    (void)state;
    memset(longest, 'x', sizeof longest);
    open_cast(NULL);
    job = new_job(KP_JOB_CREATE, "");
    job.job.key = kp_bytes(longest, sizeof longest);
    assert_int_equal(driver.create(&job.job, &made), 0);
    assert_int_equal(strlen(((kp_prop *)made)->key), 63);
    job.job.key = kp_bytes("a\0\xff" "b", 4);
    assert_int_equal(driver.create(&job.job, &made), 0);
    assert_string_equal(((kp_prop *)made)->key, "a..b");
    job.job.key = kp_bytes(NULL, 0);
    assert_int_equal(driver.create(&job.job, &made), 0);
    assert_string_equal(((kp_prop *)made)->key, "");
    kp_cast_close(cast);
}

/* ---- the end of a prop ---- */

static void what_is_done_after_destroy_must_be_counted(void **state)
{
    kp_prop *made;

    (void)state;
    open_cast(NULL);
    assert_int_equal(make(&made), 0);
    assert_int_equal(use(KP_JOB_DESTROY, made), 0);
    assert_int_equal(use(KP_JOB_DESTROY, made), 0);
    assert_int_equal(use(KP_JOB_VALIDATE, made), 0);
    assert_int_equal(use(KP_JOB_RESET, made), 0);

    kp_cast_count count = kp_cast_read(cast);

    assert_int_equal(count.destroyed_twice, 1);
    assert_int_equal(count.used_after, 2);
    assert_int_equal(count.destroys, 1);
    assert_int_equal(count.live, 0);
    kp_cast_close(cast);
}

static void a_failing_destroy_must_end_the_prop_all_the_same(void **state)
{
    static const kp_line lines[] = { { .status = -9 }, { 0 } };
    const kp_script script = { .destroy = lines };
    kp_prop *made;

    (void)state;
    open_cast(&script);
    assert_int_equal(make(&made), 0);
    assert_int_equal(use(KP_JOB_DESTROY, made), -9);
    assert_int_equal(made->alive, 0);
    assert_int_equal(kp_cast_read(cast).destroys, 1);
    assert_int_equal(kp_cast_read(cast).destroy_failures, 1);
    assert_int_equal(kp_cast_read(cast).live, 0);
    kp_cast_close(cast);
}

static void a_resource_made_elsewhere_must_be_left_alone(void **state)
{
    int stranger = 4711;

    (void)state;
    open_cast(NULL);
    assert_int_equal(use(KP_JOB_VALIDATE, &stranger), 0);
    assert_int_equal(use(KP_JOB_DESTROY, &stranger), 0);
    assert_int_equal(stranger, 4711);
    assert_int_equal(kp_cast_read(cast).destroys, 1);
    assert_int_equal(kp_cast_read(cast).live, 0);
    kp_cast_close(cast);
}

/* ---- real threads ---- */

static void *make_and_destroy_many(void *arg)
{
    for (int i = 0; i < 500; i++) {
        kp_prop *made;

        if (make(&made) != 0 || use(KP_JOB_VALIDATE, made) != 0 ||
            use(KP_JOB_DESTROY, made) != 0) {
            return "failed";
        }
    }
    return arg;
}

static void a_cast_without_a_sim_must_serve_many_threads_at_once(void **state)
{
    pthread_t threads[4];

    (void)state;
    open_cast(NULL);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, make_and_destroy_many, NULL), 0);
    }
    for (int i = 0; i < 4; i++) {
        void *failed;

        pthread_join(threads[i], &failed);
        assert_null(failed);
    }

    kp_cast_count count = kp_cast_read(cast);

    assert_int_equal(count.creates, 2000);
    assert_int_equal(count.destroys, 2000);
    assert_int_equal(count.live, 0);
    assert_true(count.most_live >= 1 && count.most_live <= 4);
    assert_int_equal(count.destroyed_twice, 0);
    kp_cast_close(cast);
}

/* ---- what must not be done ---- */

static void open_with(const kp_line *reset)
{
    const kp_script script = { .reset = reset };

    open_cast(&script);
}

static void take_time_without_a_sim(void)
{
    static const kp_line lines[] = { { .times = 3 }, { .takes_ms = 1 }, { 0 } };

    open_with(lines);
}

static void answer_with_a_positive_status(void)
{
    static const kp_line lines[] = { { .status = 1 }, { 0 } };

    open_with(lines);
}

static void wrong_scripts_must_be_told(void **state)
{
    (void)state;
    must_die(take_time_without_a_sim, "line 2 of the script of reset takes time");
    must_die(answer_with_a_positive_status, "line 1 of the script of reset: times must not be");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_script_all_must_succeed_and_be_counted),
        cmocka_unit_test(lines_must_be_followed_in_order_and_then_all_succeed),
        cmocka_unit_test(a_line_for_ever_must_never_end),
        cmocka_unit_test(a_failing_line_must_tell_its_reason_and_its_own_result),
        cmocka_unit_test(a_key_must_be_kept_as_text_cut_to_fit),
        cmocka_unit_test(what_is_done_after_destroy_must_be_counted),
        cmocka_unit_test(a_failing_destroy_must_end_the_prop_all_the_same),
        cmocka_unit_test(a_resource_made_elsewhere_must_be_left_alone),
        cmocka_unit_test(a_cast_without_a_sim_must_serve_many_threads_at_once),
        cmocka_unit_test(wrong_scripts_must_be_told),
    };

    return cmocka_run_group_tests_name("the cast of the test kit", tests, NULL, NULL);
}
