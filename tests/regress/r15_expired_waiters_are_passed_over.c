/* SPDX-License-Identifier: MIT
 *
 * Request 15, vitessio/vitess#20310 (PR #20308): in a storm of time-outs, connections are handed to
 * waiters whose time is up, come back from each, and go to the next dead one; 18,264 of them stand
 * at one mutex, and nothing moves. Here one whose time is up leaves the queue by itself, from
 * wherever it stands, and what comes back goes to one that is still there.
 */
#include "contract/house.h"

enum { STORM = 200, PATIENCE_MS = 100 };

static kp_options of_one(struct house *h, uint64_t seed)
{
    kp_options o = house_plan(h, seed, NULL, NULL);

    o.limits.max_live = 1;
    o.limits.max_waiting = KP_UNLIMITED;
    return o;
}

static void what_comes_back_must_go_to_the_one_who_is_left(void **state)
{
    static struct visitor dead[STORM];
    struct visitor left = { .stay_ms = KP_NONE };
    struct house h;
    kp_options o = of_one(&h, 1);

    (void)state;
    memset(dead, 0, sizeof dead);
    house_open(&h, &o);
    kp_lease lease = house_get(&h, "db");
    for (int i = 0; i < STORM; i++) {
        if (i == STORM / 2) visitor_send(&h, &left, "db", KP_SECONDS(30));
        visitor_send(&h, &dead[i], "db", PATIENCE_MS);
    }
    house_pass(&h, PATIENCE_MS + 1);
    HOUSE_IS(&h, house_stats(&h, "db").waiting, 1);
    house_release(&h, &lease);
    visitor_end(&left);
    HOUSE_IS(&h, left.rc, 0);
    HOUSE_IS(&h, left.answered_ms, PATIENCE_MS + 1);
    HOUSE_IS(&h, left.turn, 1); /* it went through no other hands */
    for (int i = 0; i < STORM; i++) {
        HOUSE_IS(&h, dead[i].rc, KP_ETIMEDOUT);
        HOUSE_IS(&h, dead[i].answered_ms, PATIENCE_MS);
    }
    HOUSE_IS(&h, house_stats(&h, "db").timeouts, STORM);
    house_close(&h);
}

/* Once for every 10 ms of a second, 20 come who wait for 25 ms; one use takes 10 ms. */
static void a_storm_must_not_keep_what_there_is_from_being_used(void **state)
{
    static struct visitor v[100 * 20];
    struct house h;
    kp_options o = of_one(&h, 1);
    unsigned served = 0;

    (void)state;
    memset(v, 0, sizeof v);
    house_open(&h, &o);
    for (int i = 0; i < 100 * 20; i++) {
        v[i].stay_ms = 10;
        visitor_send(&h, &v[i], "db", 25);
        if (i % 20 == 19) house_pass(&h, 10);
    }
    kp_sim_join(h.sim, 0);
    for (int i = 0; i < 100 * 20; i++) {
        served += v[i].rc == 0;
        HOUSE_HAS(&h, v[i].answered_ms - v[i].asked_ms <= 25);
    }
    HOUSE_HAS(&h, served >= 100); /* without a gap: a second of uses of 10 ms */
    HOUSE_IS(&h, house_stats(&h, "db").timeouts, 100 * 20 - served);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_back_must_go_to_the_one_who_is_left),
        cmocka_unit_test(a_storm_must_not_keep_what_there_is_from_being_used),
    };
    return cmocka_run_group_tests_name("request 15", tests, NULL, NULL);
}
