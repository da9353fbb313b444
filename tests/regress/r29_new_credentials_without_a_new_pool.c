/* SPDX-License-Identifier: MIT
 *
 * Request 29, sqlx#445, #1500, postgres-nio#431, HikariCP#2299, #2298, asyncpg#291, lib/pq#1171:
 * tokens of 15 minutes: new credentials without a new pool; and a password that is refused should
 * not be tried again and again, until the account is locked. Here a create that answers KP_EREFUSED
 * stops all creations of its key, and whoever needs one is told the cause at once; kp_retry_now
 * says that there are new credentials, and kp_invalidate_key lets those of before go as they come
 * back. kp_rotate says both at once: each connection is made with the new ones before an old one
 * goes, over a period, and nobody waits.
 */
#include "contract/house.h"

enum { CALLERS = 10 };

static const kp_line refused_once[] = { { .takes_ms = 50, .status = KP_EREFUSED,
                                          .vendor_code = 28000, .text = "password refused" },
                                        { 0 } };
static const kp_script refusing = { .create = refused_once };

static void a_refused_password_must_be_tried_once(void **state)
{
    struct visitor v[CALLERS] = { { 0 } };
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, &refusing);

    (void)state;
    o.limits.max_creating = 1;
    o.limits.on_create_failure = KP_FAIL_RETRY;
    house_open(&h, &o);
    for (int i = 0; i < CALLERS; i++) visitor_send(&h, &v[i], "db", KP_SECONDS(30));
    kp_sim_join(h.sim, 0);
    for (int i = 0; i < CALLERS; i++) {
        HOUSE_IS(&h, v[i].rc, KP_EREFUSED);
        HOUSE_IS(&h, v[i].answered_ms, 50); /* also those who only waited */
        HOUSE_IS(&h, v[i].why.vendor_code, 28000);
        assert_non_null(strstr(v[i].why.text, "password refused"));
    }
    for (int i = 0; i < 60; i++) {
        HOUSE_IS(&h, house_fails(&h, "db", KP_SECONDS(30)), KP_EREFUSED);
        house_pass(&h, KP_SECONDS(1));
    }
    HOUSE_IS(&h, house_cast(&h).create_failures, 1);
    house_close(&h);
}

static void new_credentials_must_serve_who_comes_then(void **state)
{
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, &refusing);

    (void)state;
    house_open(&h, &o);
    HOUSE_IS(&h, house_fails(&h, "db", KP_SECONDS(30)), KP_EREFUSED);
    HOUSE_IS(&h, house_fails(&h, "db", KP_SECONDS(30)), KP_EREFUSED);
    assert_int_equal(kp_retry_now(h.pool, kp_str("db")), 0);
    kp_lease lease = house_get_within(&h, "db", KP_SECONDS(30));
    HOUSE_IS(&h, house_cast(&h).create_failures, 1);
    house_release(&h, &lease);
    house_close(&h);
}

static void those_of_before_must_go_as_they_come_back(void **state)
{
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    house_open(&h, &o);
    house_stock(&h, "db", 3);
    kp_lease old = house_get(&h, "db");
    HOUSE_IS(&h, kp_invalidate_key(h.pool, kp_str("db")), 3);
    kp_lease new_one = house_get_within(&h, "db", 1);
    HOUSE_HAS(&h, house_number(&new_one) > 3);
    HOUSE_IS(&h, ((const kp_prop *)old.resource)->alive, 1); /* it drains */
    house_release(&h, &old);
    HOUSE_IS(&h, house_cast(&h).destroys, 3);
    house_release(&h, &new_one);
    HOUSE_IS(&h, house_stats(&h, "db").idle, 1);
    house_close(&h);
}

/* What the driver connects with: the latest token that had been fetched when the epoch began. */
static kp_driver plain;
static const char *const token[] = { NULL, "token 1", "token 2", "token 3" };
static const char *used[64];
static unsigned connects;

static int connects_with_token(kp_job *job, void **resource)
{
    used[connects++ % 64] = token[job->epoch];
    return plain.create(job, resource);
}

static void a_token_of_a_quarter_must_be_renewed_in_one_call_and_nobody_wait(void **state)
{
    static const kp_line takes[] = { { .takes_ms = 50, .times = KP_OFF }, { 0 } };
    static const kp_script slow = { .create = takes };
    struct visitor v[4] = { { .stay_ms = KP_MINUTES(1) } };
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, &slow);

    (void)state;
    plain = o.driver;
    connects = 0;
    o.driver.create = connects_with_token;
    o.limits.max_live = 4;
    o.limits.renew_ahead_ms = 5000;
    o.limits.idle_ttl_ms = o.limits.max_age_ms = KP_OFF;
    house_open(&h, &o);
    house_stock(&h, "db", 4);
    uint64_t waits = house_stats(&h, "db").waits;
    for (unsigned epoch = 2; epoch <= 3; epoch++) {
        visitor_send(&h, &v[0], "db", 1); /* uses one throughout */
        HOUSE_IS(&h, kp_rotate(h.pool, kp_str("db"), KP_SECONDS(20)), 4);
        for (int s = 0; s < 30; s++) {
            for (int i = 1; i < 4; i++) {
                v[i] = (struct visitor){ .stay_ms = 500 };
                visitor_send(&h, &v[i], "db", 1);
            }
            house_pass(&h, 1000);
            for (int i = 1; i < 4; i++) HOUSE_IS(&h, v[i].rc, 0);
        }
        kp_sim_join(h.sim, 0);
        HOUSE_IS(&h, house_cast(&h).creates, 4 * epoch);
        for (unsigned i = 4 * (epoch - 1); i < 4 * epoch; i++)
            assert_string_equal(used[i], token[epoch]);
        house_pass(&h, KP_MINUTES(14));
        house_stock(&h, "db", 4);
    }
    HOUSE_IS(&h, house_stats(&h, "db").waits, waits);
    HOUSE_IS(&h, house_stats(&h, "db").renewed, 6);
    HOUSE_IS(&h, house_stats(&h, "db").expired, 2); /* in use throughout, longer than the period */
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refused_password_must_be_tried_once),
        cmocka_unit_test(new_credentials_must_serve_who_comes_then),
        cmocka_unit_test(those_of_before_must_go_as_they_come_back),
        cmocka_unit_test(a_token_of_a_quarter_must_be_renewed_in_one_call_and_nobody_wait),
    };
    return cmocka_run_group_tests_name("request 29", tests, NULL, NULL);
}
