/* SPDX-License-Identifier: MIT
 *
 * Request 23, golang/go#74663, #13801, taoensso/carmine#197: by default as many as you like are
 * opened and two are kept, so that under load thousands a minute are closed and opened again, until
 * the ports run out. Here, by default, at most ten exist per key, and all that exist are kept until
 * nobody needed them for ten minutes. Who sets `max_idle` far below what is lent at once is told:
 * in each event of an end, by a counter (`surplus`), and by kp_explain.
 */
#include "contract/house.h"

static const char *const db[] = { "db" };

static void bursts_must_reuse_what_the_first_one_opened(void **state)
{
    static struct worker w[40];
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    house_open(&h, &o);
    for (int burst = 0; burst < 20; burst++) {
        w[0] = (struct worker){ .keys = db, .key_count = 1, .rounds = 25, .hold_ms = 2 };
        workers_work(&h, w, 40);
        for (int i = 0; i < 40; i++) HOUSE_IS(&h, w[i].got, 25);
        house_pass(&h, KP_SECONDS(5));
    }
    HOUSE_IS(&h, house_cast(&h).creates, 10); /* for 20,000 uses */
    HOUSE_IS(&h, house_cast(&h).destroys, 0);
    HOUSE_IS(&h, house_stats(&h, "db").idle, 10);
    house_close(&h);
}

static void the_eleventh_must_wait_and_not_open_one_more(void **state)
{
    struct house h;
    kp_lease lease[10];
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    house_open(&h, &o);
    for (int i = 0; i < 10; i++) lease[i] = house_get(&h, "db");
    HOUSE_IS(&h, house_fails(&h, "db", 100), KP_ETIMEDOUT);
    assert_string_equal(h.why.limit, "max_live");
    HOUSE_IS(&h, house_fails(&h, "db", 0), KP_ETIMEDOUT); /* who says nothing waits 30 s */
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 30100);
    HOUSE_IS(&h, house_cast(&h).creates, 10);
    for (int i = 0; i < 10; i++) house_release(&h, &lease[i]);
    house_close(&h);
}

/* ---- where it is asked for ------------------------------------------------------------------- */

/* Two are kept, and ten are lent at once, in bursts. */
static void bursts_over_two(struct house *h, int64_t max_idle, int bursts)
{
    static struct worker w[10];
    kp_options o = house_plan(h, 1, NULL, NULL);

    o.limits.max_idle = max_idle;
    house_open(h, &o);
    for (int burst = 0; burst < bursts; burst++) {
        w[0] = (struct worker){ .keys = db, .key_count = 1, .rounds = 1, .hold_ms = 2 };
        workers_work(h, w, 10);
        house_pass(h, 100);
    }
}

static bool explains(struct house *h, kp_key key, const char *text)
{
    char buf[600];

    (void)kp_explain(h->pool, key, buf, sizeof buf);
    return strstr(buf, text) != NULL;
}

static void a_limit_that_makes_it_churn_must_be_told(void **state)
{
    struct house h;

    (void)state;
    bursts_over_two(&h, 2, 20);
    kp_stats s = house_stats(&h, "db");
    HOUSE_IS(&h, s.creates, 10 + 19 * 8);
    HOUSE_IS(&h, s.surplus, 20 * 8);
    HOUSE_IS(&h, h.causes.count[KP_CAUSE_SURPLUS], 20 * 8);
    HOUSE_HAS(&h, explains(&h, kp_str("db"), "churns: 160 of 162 made were destroyed as surplus"));
    HOUSE_HAS(&h, explains(&h, KP_EVERY_KEY, "db: "));
    house_close(&h);
}

static void what_does_not_churn_must_not_be_told(void **state)
{
    static const struct {
        int64_t max_idle;
        int bursts, surplus;
    } cases[] = { { 10, 20, 0 }, { 9, 20, 20 }, { 2, 1, 8 }, { 2, 2, 16 } };
    struct house h;

    (void)state;
    for (int i = 0; i < 4; i++) {
        bursts_over_two(&h, cases[i].max_idle, cases[i].bursts);
        HOUSE_IS(&h, house_stats(&h, "db").surplus, cases[i].surplus);
        HOUSE_IS(&h, explains(&h, kp_str("db"), "churns"), i == 3);
        house_close(&h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bursts_must_reuse_what_the_first_one_opened),
        cmocka_unit_test(the_eleventh_must_wait_and_not_open_one_more),
        cmocka_unit_test(a_limit_that_makes_it_churn_must_be_told),
        cmocka_unit_test(what_does_not_churn_must_not_be_told),
    };
    return cmocka_run_group_tests_name("request 23", tests, NULL, NULL);
}
