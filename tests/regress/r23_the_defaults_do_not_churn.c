/* SPDX-License-Identifier: MIT
 *
 * Request 23, golang/go#74663, #13801, taoensso/carmine#197: by default as many as you like are
 * opened and two are kept, so that under load thousands a minute are closed and opened again, until
 * the ports run out. Here, by default, at most ten exist per key, and all that exist are kept until
 * nobody needed them for ten minutes.
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bursts_must_reuse_what_the_first_one_opened),
        cmocka_unit_test(the_eleventh_must_wait_and_not_open_one_more),
    };
    return cmocka_run_group_tests_name("request 23", tests, NULL, NULL);
}
