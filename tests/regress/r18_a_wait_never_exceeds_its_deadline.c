/* SPDX-License-Identifier: MIT
 *
 * Request 18, POOL-347, 418, 420, 422 of commons-pool: the real wait is longer than `maxWait`,
 * because each turn of the loop (a check that failed, an object that another took, a create) gets
 * the whole of it again. Here the deadline is one point in time, fixed when the get begins, for
 * waiting, creating, checking and trying again.
 */
#include "contract/house.h"

enum { WITHIN_MS = 1000 };

static void ends_at_its_deadline(struct house *h)
{
    int64_t asked = kp_sim_now_ms(h->sim);

    HOUSE_IS(h, house_fails(h, "db", WITHIN_MS), KP_ETIMEDOUT);
    HOUSE_IS(h, kp_sim_now_ms(h->sim), asked + WITHIN_MS);
    HOUSE_IS(h, h->why.waited_ms, WITHIN_MS);
}

static void checks_that_fail_must_not_add_up(void **state)
{
    static const kp_line bad[] = { { .takes_ms = 300, .status = -1, .times = KP_OFF }, { 0 } };
    const kp_script script = { .validate = bad };
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, &script);

    (void)state;
    house_open(&h, &o);
    house_stock(&h, "db", 8);
    house_pass(&h, KP_SECONDS(10)); /* each is to be looked at now, at 300 ms */
    ends_at_its_deadline(&h);
    HOUSE_IS(&h, house_stats(&h, "db").invalid, 3);
    house_pass(&h, 1000);
    house_close(&h);
}

static void creates_that_are_tried_again_must_not_add_up(void **state)
{
    static const kp_line fails[] = { { .takes_ms = 90, .status = -1, .times = KP_OFF }, { 0 } };
    const kp_script script = { .create = fails };
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, &script);

    (void)state;
    o.limits.on_create_failure = KP_FAIL_RETRY;
    house_open(&h, &o);
    ends_at_its_deadline(&h);
    HOUSE_HAS(&h, house_cast(&h).create_failures >= 2);
    house_pass(&h, 1000);
    house_close(&h);
}

static void a_wait_and_a_create_must_share_it(void **state)
{
    static const kp_line lines[] = { { .takes_ms = 1 }, { .takes_ms = 600 }, { 0 } };
    const kp_script script = { .create = lines };
    struct visitor v = { 0 };
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, &script);

    (void)state;
    o.limits.max_live = 1;
    house_open(&h, &o);
    kp_lease lease = house_get(&h, "db");
    visitor_send(&h, &v, "db", WITHIN_MS);
    house_pass(&h, 600);
    house_discard(&h, &lease); /* its own create begins, of which 400 ms are left for it */
    visitor_end(&v);
    HOUSE_IS(&h, v.rc, KP_ETIMEDOUT);
    HOUSE_IS(&h, v.answered_ms, v.asked_ms + WITHIN_MS);
    house_pass(&h, 1000);
    HOUSE_IS(&h, house_stats(&h, "db").idle, 1);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checks_that_fail_must_not_add_up),
        cmocka_unit_test(creates_that_are_tried_again_must_not_add_up),
        cmocka_unit_test(a_wait_and_a_create_must_share_it),
    };
    return cmocka_run_group_tests_name("request 18", tests, NULL, NULL);
}
