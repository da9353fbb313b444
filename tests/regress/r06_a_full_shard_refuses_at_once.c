/* SPDX-License-Identifier: MIT
 *
 * Request 6, HikariCP#2258: a hundred shards with a pool each; one that is slow gathers all threads
 * of the program, and the others starve for threads. Asked for: fail at once when a shard is full.
 * Here as many may wait per key as `max_waiting` says, and over all keys as `budget.max_waiting`
 * says; the next is refused in the same instant, with the limit's name.
 */
#include "contract/house.h"

enum { SHARDS = 100 };

static const char *shard(int i)
{
    static char name[SHARDS][16];

    snprintf(name[i], sizeof name[i], "s%d", i);
    return name[i];
}

static void others_are_served(struct house *h, int first)
{
    for (int i = first; i < SHARDS; i++) {
        kp_lease lease = house_get_within(h, shard(i), 1);
        house_release(h, &lease);
    }
}

static void who_comes_to_a_full_shard_must_be_refused_in_the_same_instant(void **state)
{
    struct visitor v[3] = { { 0 } };
    struct house h;
    kp_lease lease[2];
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    o.limits.max_live = 2;
    o.limits.max_waiting = 3;
    house_open(&h, &o);
    for (int i = 0; i < 2; i++) lease[i] = house_get(&h, shard(0));
    for (int i = 0; i < 3; i++) visitor_send(&h, &v[i], shard(0), KP_SECONDS(30));
    for (int i = 0; i < 50; i++) {
        HOUSE_IS(&h, house_fails(&h, shard(0), KP_SECONDS(30)), KP_EFULL);
        assert_string_equal(h.why.limit, "max_waiting");
    }
    others_are_served(&h, 1);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 0);
    HOUSE_IS(&h, house_stats(&h, NULL).refusals, 50);
    for (int i = 0; i < 2; i++) house_release(&h, &lease[i]);
    house_settle(&h);
    for (int i = 0; i < 2; i++) house_release(&h, &v[i].lease);
    house_settle(&h);
    house_release(&h, &v[2].lease); /* who did wait was served */
    house_close(&h);
}

static void slow_shards_together_must_hold_no_more_threads_than_they_may(void **state)
{
    struct visitor v[5] = { { 0 } };
    struct house h;
    kp_lease lease[6];
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    o.limits.max_live = 1;
    o.budget.max_waiting = 5;
    house_open(&h, &o);
    for (int i = 0; i < 6; i++) lease[i] = house_get(&h, shard(i));
    for (int i = 0; i < 5; i++) visitor_send(&h, &v[i], shard(i), KP_SECONDS(30));
    HOUSE_IS(&h, house_fails(&h, shard(5), KP_SECONDS(30)), KP_EFULL);
    assert_string_equal(h.why.limit, "budget.max_waiting");
    others_are_served(&h, 6);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 0);
    for (int i = 0; i < 6; i++) house_release(&h, &lease[i]);
    house_settle(&h);
    for (int i = 0; i < 5; i++) house_release(&h, &v[i].lease);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_comes_to_a_full_shard_must_be_refused_in_the_same_instant),
        cmocka_unit_test(slow_shards_together_must_hold_no_more_threads_than_they_may),
    };
    return cmocka_run_group_tests_name("request 6", tests, NULL, NULL);
}
