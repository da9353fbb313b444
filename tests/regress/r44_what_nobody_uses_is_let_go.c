/* SPDX-License-Identifier: MIT
 *
 * Request 44, HikariCP#1460, c3p0#151, appsmith#39886, lrsql#302, kafka-connect-jdbc#1088: a server
 * that is paused, and not paid for, while nobody is connected never is, because the pool makes its
 * minimum again and again, also where nobody asks for anything, and also for a tenant whose server
 * is gone. Here a key that nobody uses is forgotten with its minimum, and what the background does
 * for it meanwhile is no use of it: neither the replacement of what has grown old, nor an attempt
 * that fails.
 */
#include "contract/house.h"

/* One use, then nobody comes: so long after it nothing is left, and nothing is done for a day. */
static void must_be_quiet_after(struct house *h, const kp_options *o, int64_t after_ms)
{
    house_open(h, o);
    kp_lease lease = house_get(h, "tenant");
    house_release(h, &lease);
    house_pass(h, after_ms - 1);
    HOUSE_IS(h, house_stats(h, NULL).keys, 1);
    house_pass(h, KP_SECONDS(31)); /* the longest pause after failures, and the create after it */
    HOUSE_IS(h, house_stats(h, NULL).keys, 0);
    HOUSE_IS(h, house_stats(h, NULL).live, 0);
    kp_cast_count before = house_cast(h);
    house_pass(h, KP_HOURS(24));
    HOUSE_IS(h, house_cast(h).creates, before.creates);
    HOUSE_IS(h, house_cast(h).create_failures, before.create_failures);
    house_close(h);
}

/* It reaches its age every two minutes, which is sooner than the key is forgotten. */
static kp_options growing_old(struct house *h, const kp_script *script)
{
    kp_options o = house_plan(h, 1, NULL, script);

    o.limits.min_live = 2;
    o.limits.refill = KP_REFILL_EAGER;
    o.limits.max_age_ms = KP_MINUTES(2);
    return o;
}

static void a_minimum_that_is_made_again_must_go_with_its_key(void **state)
{
    static const kp_line slow[] = { { .takes_ms = 50, .times = KP_OFF }, { 0 } };
    const kp_script script = { .create = slow };
    struct house h;
    kp_options o = growing_old(&h, &script);

    (void)state;
    must_be_quiet_after(&h, &o, KP_MINUTES(5));
    HOUSE_HAS(&h, h.causes.count[KP_CAUSE_AGE] >= 4); /* twice both */
}

static void what_is_replaced_ahead_must_go_with_its_key(void **state)
{
    struct house h;
    kp_options o = growing_old(&h, NULL);

    (void)state;
    o.limits.renew_ahead_ms = KP_SECONDS(10);
    must_be_quiet_after(&h, &o, KP_MINUTES(5));
    HOUSE_HAS(&h, h.causes.count[KP_CAUSE_RENEWED] >= 4);
}

/* The tenant's server is gone for ever, whether its driver blocks or answers later. */
static void a_server_that_is_gone_must_not_be_asked_for_ever(void **state)
{
    static const kp_line later[] = { { .takes_ms = 10, .times = 2 },
                                     { .takes_ms = 10, .status = -1, .times = KP_OFF }, { 0 } };
    static const kp_line blocks[] = { { .blocks_ms = 10, .times = 2 },
                                      { .blocks_ms = 10, .status = -1, .times = KP_OFF }, { 0 } };
    struct house h;

    (void)state;
    for (int i = 0; i < 4; i++) {
        const kp_script script = { .create = i & 1 ? later : blocks };
        kp_options o = growing_old(&h, &script);
        if (i & 2) {
            o.limits.min_live = KP_NONE;
            o.limits.min_idle = 2;
        }
        must_be_quiet_after(&h, &o, KP_MINUTES(5));
    }
}

/* What a request wanted is a use, also where it was in vain, and counts from when that ended. */
static void a_request_that_fails_must_be_a_use(void **state)
{
    static const kp_line later[] = { { .takes_ms = 20000, .status = -1, .times = KP_OFF }, { 0 } };
    static const kp_line blocks[] = { { .blocks_ms = 20000, .status = -1, .times = KP_OFF },
                                      { 0 } };
    struct house h;

    (void)state;
    for (int i = 0; i < 2; i++) {
        const kp_script script = { .create = i ? later : blocks };
        kp_options o = house_plan(&h, 1, NULL, &script);
        house_open(&h, &o);
        HOUSE_IS(&h, house_fails(&h, "tenant", KP_SECONDS(30)), KP_ECREATE);
        HOUSE_IS(&h, kp_sim_now_ms(h.sim), 20000);
        house_pass(&h, KP_MINUTES(5) - 1);
        HOUSE_IS(&h, house_stats(&h, NULL).keys, 1);
        house_pass(&h, 1);
        HOUSE_IS(&h, house_stats(&h, NULL).keys, 0);
        house_close(&h);
    }
}

/* And who comes again has one, as at the first time. */
static void who_comes_again_must_be_served(void **state)
{
    struct house h;
    kp_options o = growing_old(&h, NULL);

    (void)state;
    house_open(&h, &o);
    for (int day = 0; day < 7; day++) {
        kp_lease lease = house_get(&h, "tenant");
        house_release(&h, &lease);
        house_pass(&h, KP_HOURS(24));
        HOUSE_IS(&h, house_stats(&h, NULL).live, 0);
        HOUSE_IS(&h, house_stats(&h, NULL).keys_forgotten, day + 1);
    }
    HOUSE_HAS(&h, house_cast(&h).creates <= 7 * 2 * 4); /* two, at most each two minutes of five */
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_minimum_that_is_made_again_must_go_with_its_key),
        cmocka_unit_test(what_is_replaced_ahead_must_go_with_its_key),
        cmocka_unit_test(a_server_that_is_gone_must_not_be_asked_for_ever),
        cmocka_unit_test(a_request_that_fails_must_be_a_use),
        cmocka_unit_test(who_comes_again_must_be_served),
    };
    return cmocka_run_group_tests_name("request 44", tests, NULL, NULL);
}
