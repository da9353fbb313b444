/* SPDX-License-Identifier: MIT
 *
 * Circuits and requests of an event loop: a request that was let through as the first probe, and is
 * cancelled before its loop goes on with it, has made the circuit half-open all the same. That must
 * be reported, and the next request must be let through. And a probe that is lent what has to be
 * validated first (breaker_check.c: the same where a thread stands by).
 */
#include "loop.h"

static struct {
    struct stage stage;
    int probing, opened, closed;
    kp_request *cancels; /* from the event itself */
} c;

static void hear(const kp_event *event, void *ctx)
{
    (void)ctx;
    c.probing += event->kind == KP_EVENT_BREAKER_PROBING;
    c.opened += event->kind == KP_EVENT_BREAKER_OPENED;
    c.closed += event->kind == KP_EVENT_BREAKER_CLOSED;
    if (event->kind != KP_EVENT_BREAKER_PROBING) return;
    assert_string_equal(event->key.data, "a");
    kp_cancel(c.cancels);
}

/* A circuit of uses that is open, and whose time is over; what was used is idle, or was not kept.
 */
static void open_and_over(bool keeps, const kp_script *script)
{
    kp_options plan = { .limits = { .breaker_failures = 1,
                                    .breaker_open_ms = 5000,
                                    .breaker_counts = KP_BREAK_USE,
                                    .validate_after_ms = 1000,
                                    .validate_timeout_ms = 100,
                                    .on_return = keeps ? KP_REUSE : KP_DESTROY },
                        .on_event = hear };

    memset(&c, 0, sizeof c);
    stage_open_alone(&c.stage, script, &plan);
    stage_use(&c.stage, -1);
    assert_int_equal(c.opened, 1);
    stage_pass(&c.stage, 5000);
}

static void must_not_be_wedged(void)
{
    stage_use(&c.stage, 0);
    assert_int_equal(c.closed, 1);
    assert_int_equal(stage_stats(&c.stage).circuits_open, 0);
    stage_close(&c.stage);
}

static void a_probe_that_is_cancelled_before_its_step_must_be_told(void **state)
{
    struct ask ask;

    (void)state;
    for (int keeps = 0; keeps < 2; keeps++) {
        open_and_over(keeps, NULL);
        stage_start(&c.stage, &ask, "a", 1000);
        assert_int_equal(c.probing, 0);
        kp_cancel(&ask.request);
        assert_int_equal(c.probing, 1);
        assert_int_equal(stage_stats(&c.stage).circuits_probing, 1);
        must_not_be_wedged();
        assert_int_equal(c.probing, 1);
    }
}

static void one_that_was_told_must_not_be_told_again(void **state)
{
    static const kp_line slow[] = { { .times = 1 }, { .takes_ms = 100, .times = 1 },
                                    { .times = KP_OFF }, { 0 } };
    static const kp_script slowly = { .create = slow };
    struct ask ask;

    (void)state;
    open_and_over(false, &slowly);
    stage_start(&c.stage, &ask, "a", 1000);
    stage_pass(&c.stage, 1);
    assert_int_equal(c.probing, 1);
    kp_cancel(&ask.request);
    assert_int_equal(c.probing, 1);
    stage_pass(&c.stage, 6000); /* it was hurried, and failed */
    must_not_be_wedged();
}

/* A listener may cancel it once more: it is over by then. */
static void it_must_be_over_when_it_is_told(void **state)
{
    struct ask ask;

    (void)state;
    open_and_over(true, NULL);
    stage_start(&c.stage, &ask, "a", 1000);
    c.cancels = &ask.request;
    kp_cancel(&ask.request);
    c.cancels = NULL;
    assert_int_equal(c.probing, 1);
    assert_int_equal(ask.answers, 0);
    must_not_be_wedged();
}

static const kp_line hangs[] = { { .takes_ms = 9000, .times = 1 }, { .times = KP_OFF }, { 0 } };

/* Its own mark must not be in its way to another resource. */
static void a_probe_whose_check_takes_too_long_must_go_on_with_another(void **state)
{
    static const kp_script script = { .validate = hangs };
    struct ask ask;

    (void)state;
    open_and_over(true, &script);
    stage_start(&c.stage, &ask, "a", 1000);
    stage_pass(&c.stage, 100);
    assert_int_equal(ask.status, 0);
    assert_int_equal(stage_stats(&c.stage).live, 2);
    kp_lease_report(&ask.lease, 0);
    kp_release(&ask.lease);
    assert_int_equal(c.closed, 1);
    stage_pass(&c.stage, 9000); /* until the answer is there, too */
    stage_close(&c.stage);
}

static void a_probe_that_is_cancelled_in_its_check_must_make_way_for_the_next(void **state)
{
    static const kp_script script = { .validate = hangs };
    struct ask ask;

    (void)state;
    open_and_over(true, &script);
    stage_start(&c.stage, &ask, "a", 1000);
    stage_pass(&c.stage, 1);
    assert_int_equal(stage_stats(&c.stage).leases, 1);
    kp_cancel(&ask.request);
    stage_use(&c.stage, 0);
    assert_int_equal(c.closed, 1);
    stage_pass(&c.stage, 9000);
    stage_close(&c.stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_probe_that_is_cancelled_before_its_step_must_be_told),
        cmocka_unit_test(one_that_was_told_must_not_be_told_again),
        cmocka_unit_test(it_must_be_over_when_it_is_told),
        cmocka_unit_test(a_probe_whose_check_takes_too_long_must_go_on_with_another),
        cmocka_unit_test(a_probe_that_is_cancelled_in_its_check_must_make_way_for_the_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
