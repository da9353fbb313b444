/* SPDX-License-Identifier: MIT
 *
 * Request 33, golang/go#76784: while dialing is slow, each caller that comes starts one more dial,
 * without bound, and what its place in the queue took is never freed. Here the creations in flight
 * have a cap of their own, per key and over all keys, and a rate, apart from how many may exist;
 * and a request that is over leaves nothing behind.
 */
#include "contract/house.h"

enum { EACH_SECOND = 5, SECONDS = 40 };

static const kp_line ten_seconds[] = { { .takes_ms = 10000, .times = KP_OFF }, { 0 } };
static const kp_script slow = { .create = ten_seconds };

/* Callers with a second's patience, from each key as many. */
static void storm(struct house *h, struct visitor *v, const char *const *key, unsigned most)
{
    for (int i = 0; i < SECONDS * EACH_SECOND; i++) {
        v[i] = (struct visitor){ .stay_ms = 100 };
        visitor_send(h, &v[i], key[i % 2], 1000);
        HOUSE_HAS(h, house_stats(h, NULL).creating <= most);
        if (i % EACH_SECOND == EACH_SECOND - 1) house_pass(h, 1000);
    }
    house_pass(h, KP_SECONDS(20));
    HOUSE_IS(h, house_stats(h, NULL).waiting, 0);
    HOUSE_IS(h, house_stats(h, NULL).creating, 0);
}

static void no_more_dials_than_allowed_must_be_under_way(void **state)
{
    static const char *const same[] = { "db", "db" };
    static struct visitor v[SECONDS * EACH_SECOND];
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, &slow);

    (void)state;
    o.limits.max_live = 100;
    house_open(&h, &o);
    storm(&h, v, same, 2); /* by default, two */
    HOUSE_HAS(&h, house_cast(&h).creates <= 2 * (SECONDS + 20) / 10);
    HOUSE_HAS(&h, house_stats(&h, "db").gets > 0); /* they were not in vain */
    house_close(&h);
}

static void the_cap_over_all_keys_must_hold_too(void **state)
{
    static const char *const two[] = { "a", "b" };
    static struct visitor v[SECONDS * EACH_SECOND];
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, &slow);

    (void)state;
    o.limits.max_live = 100;
    o.limits.max_creating = KP_UNLIMITED;
    o.budget.max_creating = 3;
    house_open(&h, &o);
    storm(&h, v, two, 3);
    HOUSE_HAS(&h, house_stats(&h, "a").gets > 0 && house_stats(&h, "b").gets > 0);
    house_close(&h);
}

/* A failover: forty keys lose all they have in one moment, and dialing is fast. */
static void no_more_dials_than_the_rate_must_begin_in_a_second(void **state)
{
    enum { KEYS = 40, RATE = 5 };
    static struct visitor v[KEYS];
    static char key[KEYS][16];
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    memset(v, 0, sizeof v);
    o.budget.create_rate = RATE;
    house_open(&h, &o);
    for (int i = 0; i < KEYS; i++) {
        snprintf(key[i], sizeof key[i], "k%d", i);
        v[i].stay_ms = KP_NONE;
        visitor_send(&h, &v[i], key[i], KP_SECONDS(30));
    }
    for (uint64_t s = 0; s < KEYS / RATE; s++) {
        HOUSE_IS(&h, house_cast(&h).creates, (s + 1) * RATE);
        house_pass(&h, 1000);
    }
    kp_sim_join(h.sim, 0);
    for (int i = 0; i < KEYS; i++) HOUSE_IS(&h, v[i].rc, 0); /* late, but none in vain */
    HOUSE_IS(&h, house_cast(&h).creates, KEYS);
    house_close(&h);
}

static void a_second_storm_must_need_no_more_memory_than_the_first(void **state)
{
    static const kp_line never[] = { { .takes_ms = 1500, .status = -1, .times = KP_OFF }, { 0 } };
    const kp_script down = { .create = never };
    static const char *const same[] = { "db", "db" };
    static struct visitor v[SECONDS * EACH_SECOND];
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, &down);

    (void)state;
    house_open(&h, &o);
    storm(&h, v, same, 2);
    uint64_t bytes = kp_sim_memory_read(h.sim).bytes;
    storm(&h, v, same, 2);
    HOUSE_IS(&h, kp_sim_memory_read(h.sim).bytes, bytes);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_more_dials_than_allowed_must_be_under_way),
        cmocka_unit_test(the_cap_over_all_keys_must_hold_too),
        cmocka_unit_test(no_more_dials_than_the_rate_must_begin_in_a_second),
        cmocka_unit_test(a_second_storm_must_need_no_more_memory_than_the_first),
    };
    return cmocka_run_group_tests_name("request 33", tests, NULL, NULL);
}
