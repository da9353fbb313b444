/* SPDX-License-Identifier: MIT
 *
 * Tests of what kp_why says: the driver's reason, in one line; and at the end of a get that had
 * failures on its way not those of creates that were tried again (KP_FAIL_RETRY), which are not its
 * own.
 */
#include "flow_stage.h"

#include <string.h>

/* Its first create fails, with a number and a sentence, and it waits to try again. */
static int fail_once(kp_job *job, void **resource)
{
    struct stage *s = job->ctx;

    if (s->create != 0) return kp_job_fail(job, 111, "connect: refused");
    return stage_create(job, resource);
}

static void set_stubborn(struct stage *s)
{
    stage_set(s);
    s->options.driver.create = fail_once;
    s->options.limits.on_create_failure = KP_FAIL_RETRY;
    s->create = -1;
}

static void mend(struct stage *s)
{
    s->create = 0;
}

static void a_get_that_succeeds_at_last_must_have_no_why(void **state)
{
    struct stage s;

    (void)state;
    set_stubborn(&s);
    stage_open(&s);
    s.meanwhile = mend;
    kp_lease lease = stage_get(&s, "a");
    assert_int_equal(stage_heard(&s, KP_EVENT_CREATE_FAILED), 1);
    assert_memory_equal(&s.why, &(kp_why){ .code = 0 }, sizeof s.why);
    kp_release(&lease);
    stage_fall(&s);
}

static int spoil(kp_lease *lease, void *arg)
{
    return (void)lease, (void)arg, -5;
}

/* Its own failure has no number of the driver's. */
static void a_use_that_fails_must_not_be_blamed_on_a_create(void **state)
{
    struct stage s;

    (void)state;
    set_stubborn(&s);
    stage_open(&s);
    s.meanwhile = mend;
    kp_plan plan = { .ask = { .why = &s.why } };
    assert_int_equal(kp_use(s.pool, kp_str("a"), &plan, spoil, NULL), -5);
    assert_int_equal(s.why.code, -5);
    assert_int_equal(s.why.vendor_code, 0);
    stage_fall(&s);
}

static void shut(struct stage *s)
{
    assert_int_equal(kp_pool_close(s->pool, KP_CLOSE_NOW, KP_NONE), 0);
}

static void a_get_of_a_pool_that_is_closed_must_say_so(void **state)
{
    struct stage s;
    kp_lease none;

    (void)state;
    set_stubborn(&s);
    stage_open(&s);
    s.meanwhile = shut;
    assert_int_equal(kp_get(s.pool, kp_str("a"), KP_ASK(.why = &s.why), &none), KP_ECLOSED);
    assert_int_equal(s.why.code, KP_ECLOSED);
    assert_string_equal(s.why.text, kp_strerror(KP_ECLOSED));
    assert_int_equal(s.why.vendor_code, 0);
}

/* As libpq does, for one. */
static int fail_in_lines(kp_job *job, void **resource)
{
    return (void)resource, kp_job_fail(job, 7, "FATAL: \xc3\xa4h\r\nDETAIL:\tno\x1b[2J \x7f\n");
}

static int fail_in_blanks(kp_job *job, void **resource)
{
    return (void)resource, kp_job_fail(job, 7, " \n");
}

static void a_reason_of_several_lines_must_be_told_in_one(void **state)
{
    static const struct {
        int (*create)(kp_job *, void **);
        const char *told;
    } cases[] = {
        { fail_in_lines, "FATAL: \xc3\xa4h  DETAIL: no [2J" },
        { fail_in_blanks, "driver.create failed with 7 and gave no reason (kp_job_fail)" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct stage s;
        kp_lease lease;

        stage_set(&s);
        s.options.driver.create = cases[i].create;
        stage_open(&s);
        assert_int_equal(kp_get(s.pool, kp_str("a"), KP_ASK(.why = &s.why), &lease), KP_ECREATE);
        assert_string_equal(s.why.text, cases[i].told);
        stage_fall(&s);
    }
}

static int reset_in_silence(kp_job *job, void *resource)
{
    return (void)resource, kp_job_fail(job, 9, NULL);
}

static void note_text(const kp_event *event, void *ctx)
{
    struct stage *s = ctx;

    if (event->kind == KP_EVENT_INVALID) s->why = *event->why;
}

/* Not by the sentence of KP_ECREATE, which kp_job_fail returns: nothing was to be created. */
static void a_reset_that_fails_without_a_reason_must_be_told_as_that(void **state)
{
    struct stage s;

    (void)state;
    stage_set(&s);
    s.options.driver.reset = reset_in_silence;
    s.options.on_event = note_text;
    stage_open(&s);
    kp_lease lease = stage_get(&s, "a");
    kp_release(&lease);
    assert_string_equal(s.why.text, "driver.reset failed with 9 and gave no reason (kp_job_fail)");
    stage_fall(&s);
}

/* Is each character of UTF-8 there to its last byte? */
static bool is_whole(const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        for (int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0; more > 0; more--)
            if ((*++text & 0xc0) != 0x80) return false;
    }
    return true;
}

static char reason[400];

static int fail_at_length(kp_job *job, void **resource)
{
    struct stage *s = job->ctx;

    return s->create ? kp_job_fail(job, 7, reason) : stage_create(job, resource);
}

/* Characters of two, three and four bytes, and each place in them where a text may have to end. */
static void a_text_that_is_too_long_must_end_with_a_whole_character(void **state)
{
    static const char *const characters[] = { "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x94\x91" };

    (void)state;
    for (int i = 0; i < 12; i++) {
        struct stage s;
        kp_lease lease, held;
        const char *character = characters[i / 4];
        memset(reason, '.', (size_t)(i % 4));
        reason[i % 4] = 0;
        while (strlen(reason) < sizeof reason - 5) strcat(reason, character);
        stage_set(&s);
        s.options.driver.create = fail_at_length;
        s.options.limits.max_live = 2;
        s.options.limits.retry_first_ms = s.options.limits.retry_max_ms = KP_HOURS(1);
        stage_open(&s);
        assert_int_equal(kp_get(s.pool, kp_str("a"), KP_ASK(.tag = reason), &held), 0);
        s.create = -1;
        kp_ask ask = { .within_ms = 10, .why = &s.why };
        assert_int_equal(kp_get(s.pool, kp_str("a"), &ask, &lease), KP_ECREATE);
        assert_true(is_whole(s.why.text));
        assert_true(strlen(s.why.text) >= sizeof s.why.text - 4);
        assert_int_equal(kp_get(s.pool, kp_str("a"), &ask, &lease), KP_ETIMEDOUT);
        assert_true(is_whole(s.why.text));
        assert_true(is_whole(s.why.oldest_tag));
        assert_true(strlen(s.why.oldest_tag) >= sizeof s.why.oldest_tag - 4);
        kp_release(&held);
        stage_fall(&s);
    }
}

/* What is no UTF-8 is cut where there is no room. */
static void a_text_of_other_bytes_must_be_as_long_as_there_is_room(void **state)
{
    struct stage s;
    kp_lease lease;

    (void)state;
    memset(reason, '\xa4', sizeof reason - 1);
    stage_set(&s);
    s.options.driver.create = fail_at_length;
    stage_open(&s);
    s.create = -1;
    assert_int_equal(kp_get(s.pool, kp_str("a"), KP_ASK(.why = &s.why), &lease), KP_ECREATE);
    assert_int_equal(strlen(s.why.text), sizeof s.why.text - 1);
    stage_fall(&s);
}

/* A create failed long before, and others went well since: all of them are lent. */
static void a_failure_that_is_over_must_not_be_told_by_a_time_out(void **state)
{
    struct stage s;
    kp_lease none;

    (void)state;
    stage_set(&s);
    s.options.limits.max_live = 1;
    s.options.limits.retry_first_ms = KP_NONE;
    stage_open(&s);
    s.create = -7;
    assert_int_equal(kp_get(s.pool, kp_str("a"), NULL, &none), KP_ECREATE);
    s.create = 0;
    kp_lease lease = stage_get(&s, "a");
    kp_ask ask = { .within_ms = 10, .why = &s.why };
    assert_int_equal(kp_get(s.pool, kp_str("a"), &ask, &none), KP_ETIMEDOUT);
    assert_string_equal(s.why.limit, "max_live");
    assert_null(strstr(s.why.text, "last create failed"));
    assert_int_equal(s.why.vendor_code, 0);
    kp_release(&lease);
    stage_fall(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_get_that_succeeds_at_last_must_have_no_why),
        cmocka_unit_test(a_use_that_fails_must_not_be_blamed_on_a_create),
        cmocka_unit_test(a_get_of_a_pool_that_is_closed_must_say_so),
        cmocka_unit_test(a_reason_of_several_lines_must_be_told_in_one),
        cmocka_unit_test(a_reset_that_fails_without_a_reason_must_be_told_as_that),
        cmocka_unit_test(a_text_that_is_too_long_must_end_with_a_whole_character),
        cmocka_unit_test(a_text_of_other_bytes_must_be_as_long_as_there_is_room),
        cmocka_unit_test(a_failure_that_is_over_must_not_be_told_by_a_time_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
