/* SPDX-License-Identifier: MIT
 *
 * Tests of src/flow/use.c: when the functions of a plan are called, and how often. And of what is
 * told of a circuit that counts uses.
 */
#include "flow_stage.h"

struct attempt {
    kp_lease lease;
    int asked;
};

static int spoil(kp_lease *lease, void *arg)
{
    ((struct attempt *)arg)->lease = *lease;
    return -5;
}

/* It looks at the resource that fn had: that is still lent, and nobody else's. */
static bool look(int status, void *arg)
{
    struct attempt *a = arg;
    kp_lease_about about;

    a->asked++;
    assert_true(status != -5 || kp_lease_read(&a->lease, &about));
    return true;
}

static void whether_to_try_again_must_be_asked_once_and_while_the_resource_is_lent(void **state)
{
    struct stage s;
    struct attempt a = { .asked = 0 };
    kp_key other = kp_str("b");
    kp_plan plan = { .retry_if = look, .fallback = &other, .fallbacks = 1 };

    (void)state;
    stage_raise(&s);
    assert_int_equal(kp_use(s.pool, kp_str("a"), &plan, spoil, &a), -5);
    assert_int_equal(s.made, 2); /* each key had its attempt */
    assert_int_equal(a.asked, 2);
    stage_fall(&s);
}

/* ---- the circuit of a key -------------------------------------------------------------------- */

static int opened, closed, code;
static kp_why why;

static void note_circuit(const kp_event *event, void *ctx)
{
    (void)ctx;
    if (event->kind != KP_EVENT_BREAKER_OPENED && event->kind != KP_EVENT_BREAKER_CLOSED) return;
    opened += event->kind == KP_EVENT_BREAKER_OPENED;
    closed += event->kind == KP_EVENT_BREAKER_CLOSED;
    code = event->code;
    why = event->why ? *event->why : (kp_why){ .code = 0 };
}

/* Whether creates or uses move it, its events say the same. */
static void a_circuit_that_uses_move_must_be_told_like_one_that_creates_move(void **state)
{
    struct stage s;

    (void)state;
    stage_set(&s);
    s.options.limits.breaker_failures = 1;
    s.options.limits.breaker_open_ms = 10;
    s.options.limits.breaker_counts = KP_BREAK_USE;
    s.options.on_event = note_circuit;
    stage_open(&s);
    kp_lease lease = stage_get(&s, "a");
    kp_lease_report(&lease, -5);
    kp_release(&lease);
    assert_int_equal(opened, 1);
    assert_int_equal(code, KP_EBREAKER);
    assert_int_equal(why.code, KP_EBREAKER);
    assert_int_equal(why.vendor_code, -5);
    assert_non_null(strstr(why.text, "after repeated failures; last use failed with -5"));
    s.now += 20000000;
    lease = stage_get(&s, "a");
    kp_lease_report(&lease, 7);
    kp_release(&lease);
    assert_int_equal(closed, 1);
    assert_int_equal(code, 0);
    stage_fall(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whether_to_try_again_must_be_asked_once_and_while_the_resource_is_lent),
        cmocka_unit_test(a_circuit_that_uses_move_must_be_told_like_one_that_creates_move),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
