/* SPDX-License-Identifier: MIT
 *
 * Tests of what the requests of a key are told whose limits are refused while they wait for them.
 */
#include "flow_stage.h"

#include <keyedpool/loop.h>

static struct {
    struct stage s;
    kp_request request, silent;
    kp_why why;
    int answered, code;
} scene;

static void done(kp_request *request, int code, kp_lease lease)
{
    (void)request;
    if (scene.answered++ > 0) assert_int_equal(code, scene.code);
    scene.code = code;
    kp_release(&lease);
}

/* Two requests come while it is asked, one without a why; what it writes then is refused. */
static void ask_meanwhile(kp_key key, kp_limits *limits, void *ctx)
{
    kp_ask ask = { .why = &scene.why };

    (void)ctx;
    assert_int_equal(kp_get_start(scene.s.pool, key, &ask, &scene.request), 0);
    assert_int_equal(kp_get_start(scene.s.pool, key, NULL, &scene.silent), 0);
    limits->min_live = limits->max_live + 1;
}

static void who_waits_for_limits_that_are_refused_must_be_told_the_field(void **state)
{
    kp_lease none;

    (void)state;
    stage_set(&scene.s);
    scene.s.options.limits_for = ask_meanwhile;
    scene.s.options.driver.flags = KP_NEVER_BLOCKS;
    stage_open(&scene.s);
    scene.request = (kp_request){ .done = done };
    assert_int_equal(kp_loop_open(&scene.request.loop), 0);
    scene.silent = scene.request;
    assert_int_equal(kp_get(scene.s.pool, kp_str("a"), NULL, &none), KP_ECONFIG);
    (void)kp_loop_dispatch(scene.request.loop);
    assert_int_equal(scene.answered, 2);
    assert_int_equal(scene.code, KP_ECONFIG);
    assert_int_equal(scene.why.code, KP_ECONFIG);
    assert_string_equal(scene.why.field, "limits.min_live");
    assert_string_equal(scene.why.text, "limits.min_live: is above limits.max_live");
    assert_int_equal(kp_loop_close(scene.request.loop), 0);
    stage_fall(&scene.s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_waits_for_limits_that_are_refused_must_be_told_the_field),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
