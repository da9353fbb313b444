/* SPDX-License-Identifier: MIT
 *
 * Request 7, HikariCP#2254, pgbouncer#585, vapor/postgres-nio#561: the database is down, and every
 * caller waits out its whole timeout before it is told so. Here, with `breaker_failures`, that many
 * failures in a row open the key's circuit: whoever waits and whoever comes is told at once, with
 * the cause of the last failure and when to come back; then one probe decides for all.
 */
#include "contract/house.h"

enum { CALLERS = 10 };

static const kp_line down[] = { { .takes_ms = 100, .status = -1, .vendor_code = 111,
                                  .text = "connect: refused", .times = KP_OFF },
                                { 0 } };
static const kp_line down_for_three[] = { { .takes_ms = 100, .status = -1, .vendor_code = 111,
                                            .text = "connect: refused", .times = 3 },
                                          { .takes_ms = 100, .times = KP_OFF },
                                          { 0 } };

static kp_options three_open_it(struct house *h, const kp_line *create)
{
    const kp_script script = { .create = create };
    kp_options o = house_plan(h, 1, NULL, &script);

    o.limits.retry_first_ms = KP_NONE;
    o.limits.max_creating = 1;
    o.limits.breaker_failures = 3;
    o.limits.breaker_open_ms = KP_SECONDS(30);
    return o;
}

static void opens(struct house *h)
{
    for (int i = 0; i < 3; i++) HOUSE_IS(h, house_fails(h, "db", KP_SECONDS(30)), KP_ECREATE);
    HOUSE_IS(h, h->seen[KP_EVENT_BREAKER_OPENED], 1);
}

static void who_comes_while_it_is_down_must_be_told_the_cause_at_once(void **state)
{
    struct house h;
    kp_options o = three_open_it(&h, down);

    (void)state;
    house_open(&h, &o);
    opens(&h);
    int64_t opened = kp_sim_now_ms(h.sim);
    house_pass(&h, KP_SECONDS(10));
    for (int i = 0; i < CALLERS; i++) {
        HOUSE_IS(&h, house_fails(&h, "db", KP_SECONDS(30)), KP_EBREAKER);
        HOUSE_IS(&h, h.why.vendor_code, 111);
        assert_non_null(strstr(h.why.text, "connect: refused"));
        HOUSE_IS(&h, h.why.retry_after_ms, KP_SECONDS(20));
    }
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), opened + KP_SECONDS(10));
    HOUSE_IS(&h, house_cast(&h).create_failures, 3);
    house_close(&h);
}

static void who_waits_already_must_be_told_when_the_circuit_opens(void **state)
{
    struct visitor v[CALLERS] = { { 0 } };
    struct house h;
    kp_options o = three_open_it(&h, down);
    int told = 0;

    (void)state;
    house_open(&h, &o);
    for (int i = 0; i < CALLERS; i++) visitor_send(&h, &v[i], "db", KP_SECONDS(30));
    kp_sim_join(h.sim, 0);
    for (int i = 0; i < CALLERS; i++) {
        told += v[i].rc == KP_EBREAKER;
        HOUSE_HAS(&h, v[i].rc == KP_EBREAKER || v[i].rc == KP_ECREATE);
        HOUSE_HAS(&h, v[i].answered_ms <= 300); /* three connects, of 30 s that it would wait */
        HOUSE_IS(&h, v[i].why.vendor_code, 111);
    }
    HOUSE_IS(&h, told, CALLERS - 3);
    HOUSE_IS(&h, house_cast(&h).create_failures, 3);
    house_close(&h);
}

static void one_probe_must_find_out_for_all(void **state)
{
    struct visitor probe = { 0 };
    struct house h;
    kp_options o = three_open_it(&h, down_for_three);

    (void)state;
    house_open(&h, &o);
    opens(&h);
    house_pass(&h, KP_SECONDS(30));
    visitor_send(&h, &probe, "db", KP_SECONDS(30));
    for (int i = 0; i < CALLERS; i++)
        HOUSE_IS(&h, house_fails(&h, "db", KP_SECONDS(30)), KP_EBREAKER);
    HOUSE_IS(&h, house_stats(&h, "db").creating, 1);
    house_pass(&h, 100);
    HOUSE_IS(&h, probe.rc, 0);
    HOUSE_IS(&h, h.seen[KP_EVENT_BREAKER_CLOSED], 1);
    kp_lease lease = house_get_within(&h, "db", KP_SECONDS(1)); /* closed: for everybody */
    house_release(&h, &lease);
    house_release(&h, &probe.lease);
    house_close(&h);
}

/* Without a circuit: between one attempt and the next. */
static void with_fail_fast_the_first_failure_must_be_told_to_all(void **state)
{
    const kp_script script = { .create = down };
    struct visitor v[CALLERS] = { { 0 } };
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, &script);

    (void)state;
    o.limits.retry_first_ms = o.limits.retry_max_ms = KP_SECONDS(10);
    o.limits.max_creating = 1;
    o.limits.fail_fast = 1;
    house_open(&h, &o);
    for (int i = 0; i < CALLERS; i++) visitor_send(&h, &v[i], "db", KP_SECONDS(30));
    kp_sim_join(h.sim, 0);
    for (int i = 0; i < CALLERS; i++) {
        HOUSE_IS(&h, v[i].rc, KP_ECREATE);
        HOUSE_IS(&h, v[i].answered_ms, 100);
        HOUSE_IS(&h, v[i].why.vendor_code, 111);
    }
    HOUSE_IS(&h, house_fails(&h, "db", KP_SECONDS(30)), KP_ECREATE);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 100);
    HOUSE_IS(&h, house_cast(&h).create_failures, 1);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_comes_while_it_is_down_must_be_told_the_cause_at_once),
        cmocka_unit_test(who_waits_already_must_be_told_when_the_circuit_opens),
        cmocka_unit_test(one_probe_must_find_out_for_all),
        cmocka_unit_test(with_fail_fast_the_first_failure_must_be_told_to_all),
    };
    return cmocka_run_group_tests_name("request 7", tests, NULL, NULL);
}
