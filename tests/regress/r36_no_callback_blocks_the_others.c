/* SPDX-License-Identifier: MIT
 *
 * Request 36, redis-plus-plus#192, libzdb's list message IYRQJJ6F, hackney PR #931: connect or ping
 * under the pool's lock, and everybody waits for one slow peer. Here no lock is held while a
 * function of the driver's runs: each of them is made to block in turn, and meanwhile every other
 * call must come back in the same instant, for other keys and for the same one.
 */
#include "contract/house.h"

static kp_gate gate;
static const kp_line blocks[] = { { .blocks_ms = 1, .gate = &gate }, { 0 } };
static const kp_line first_then_blocks[] = { { .blocks_ms = 1 },
                                             { .blocks_ms = 1, .gate = &gate },
                                             { 0 } };

static int counts_keys(kp_key key, const kp_stats *s, void *arg)
{
    (void)key;
    (void)s;
    ++*(int *)arg;
    return 0;
}

/* Everything that the pool can be asked, while one stands in a function of the driver. */
static void all_else_goes_on(struct house *h)
{
    int64_t before = kp_sim_now_ms(h->sim);
    const kp_limits more = { .max_live = 20 };
    kp_key pinned;
    char text[2000];
    int keys = 0;

    kp_lease same = house_get_within(h, "slow", 1); /* another one of the same key */
    kp_lease other = house_get_within(h, "other", 1);
    assert_int_equal(kp_pin(h->pool, kp_str("third"), &pinned), 0);
    assert_int_equal(kp_limits_set(h->pool, kp_str("other"), &more, NULL), 0);
    HOUSE_HAS(h, kp_explain(h->pool, KP_EVERY_KEY, text, sizeof text) > 0);
    HOUSE_IS(h, kp_each_key(h->pool, counts_keys, &keys), 0);
    HOUSE_IS(h, keys, 3);
    HOUSE_IS(h, kp_invalidate(h->pool, other.resource), 1);
    house_release(h, &other);
    house_release(h, &same);
    HOUSE_IS(h, house_try(h, "slow", &same), 0);
    house_release(h, &same);
    HOUSE_IS(h, kp_invalidate_key(h->pool, kp_str("third")), 0);
    kp_unpin(h->pool, &pinned);
    HOUSE_IS(h, kp_sim_now_ms(h->sim), before);
}

static void begins(struct house *h, const kp_script *script)
{
    kp_options o = house_plan(h, 1, NULL, script);

    gate = (kp_gate){ 0 };
    o.limits.validate_after_ms = KP_MINUTES(1); /* those that are idle for so long only */
    house_open(h, &o);
}

static void ends(struct house *h, struct visitor *v)
{
    HOUSE_IS(h, gate.entered, 1);
    HOUSE_HAS(h, !kp_sim_ended(h->sim, v->task));
    kp_gate_open(h->sim, &gate);
    visitor_end(v);
    HOUSE_IS(h, v->rc, 0);
    house_close(h);
}

static void a_connect_that_blocks_must_delay_nobody_else(void **state)
{
    const kp_script script = { .create = first_then_blocks };
    struct visitor v = { .stay_ms = KP_NONE, .flags = KP_FRESH };
    struct house h;

    (void)state;
    begins(&h, &script);
    house_stock(&h, "slow", 1);
    visitor_send(&h, &v, "slow", KP_SECONDS(30));
    house_pass(&h, 1);
    all_else_goes_on(&h);
    ends(&h, &v);
}

static void a_ping_that_blocks_must_delay_nobody_else(void **state)
{
    const kp_script script = { .validate = blocks };
    struct visitor v = { .stay_ms = KP_NONE };
    struct house h;

    (void)state;
    begins(&h, &script);
    house_stock(&h, "slow", 1);
    house_pass(&h, KP_MINUTES(2));
    visitor_send(&h, &v, "slow", KP_SECONDS(30));
    house_pass(&h, 1);
    all_else_goes_on(&h);
    ends(&h, &v);
}

static void a_reset_that_blocks_must_delay_nobody_else(void **state)
{
    const kp_script script = { .reset = blocks };
    struct visitor v = { .stay_ms = KP_NONE };
    struct house h;

    (void)state;
    begins(&h, &script);
    visitor_send(&h, &v, "slow", KP_SECONDS(30));
    house_pass(&h, 1);
    all_else_goes_on(&h);
    ends(&h, &v);
}

static void a_good_bye_that_blocks_must_delay_nobody_else(void **state)
{
    const kp_script script = { .destroy = blocks };
    struct visitor v = { .stay_ms = KP_NONE, .discards = true };
    struct house h;

    (void)state;
    begins(&h, &script);
    visitor_send(&h, &v, "slow", KP_SECONDS(30));
    house_pass(&h, 1);
    all_else_goes_on(&h);
    ends(&h, &v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connect_that_blocks_must_delay_nobody_else),
        cmocka_unit_test(a_ping_that_blocks_must_delay_nobody_else),
        cmocka_unit_test(a_reset_that_blocks_must_delay_nobody_else),
        cmocka_unit_test(a_good_bye_that_blocks_must_delay_nobody_else),
    };
    return cmocka_run_group_tests_name("request 36", tests, NULL, NULL);
}
