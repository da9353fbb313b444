/* SPDX-License-Identifier: MIT
 *
 * More lanes than are shut together at a time (core/lane.h, KP__TOGETHER), in a pool as programs
 * have it: a look at all keys finds correct counters, and leases that began on the lanes end
 * normally.
 */
#include "hit_homes.h"

enum { MANY = 2 * KP__TOGETHER + 88, FEW = KP__TOGETHER + 44, PLACES = 9 * FEW, EACH = 10 };

static kp_lease lease[MANY];
static uint32_t name[PLACES];

static kp_key key_of(int i)
{
    name[i] = (uint32_t)i;
    return kp_bytes(&name[i], sizeof name[i]);
}

static bool is_at(int i, int a, int b)
{
    return i % EACH == a || i % EACH == b;
}

static bool is_lent(int i)
{
    return is_at(i, 3, 5);
}

static bool has_home(int i)
{
    return is_at(i, 0, 5);
}

static void bring_one_home(int i)
{
#if KP__SEQUENCES
    (void)bring_home_by(key_of(i), 0);
#else
    (void)i;
#endif
}

static uint32_t open_lanes(void)
{
    kp__lock_take(&hit.pool->lock, &kp__life);
    uint32_t open = (uint32_t)hit_core(hit.pool)->open_lanes.count;
    kp__lock_give(&hit.pool->lock, &kp__life);
    return open;
}

static void assert_all(int lanes, int lent)
{
    kp_stats s = hit_stats(KP_EVERY_KEY);

    assert_int_equal(s.gets, hit.gets);
    assert_int_equal(s.hits, hit.gets - (uint64_t)lanes);
    assert_int_equal(s.creates, lanes);
    assert_int_equal(s.idle, lanes - lent);
    assert_int_equal(s.lent, lent);
}

/* So many lanes are open, in a pool of so many keys; of some, the resource is lent. */
static int open_all(int lanes, int places, bool homes)
{
    int lent = 0;
    kp_key pin;

    hit_open((kp_options){ .limits.max_live = 1 });
    for (int i = 0; i < lanes; i++) {
        hit_warm(key_of(i));
        if (homes && has_home(i)) bring_one_home(i);
        if (!is_lent(i)) continue;
        HIT_SHORT(lease[i] = hit_take(key_of(i)));
        assert_int_equal((lease[i].opaque[1] & KP__HOMED) != 0, homes && has_home(i));
        lent++;
    }
    for (int i = lanes; i < places; i++) assert_int_equal(kp_pin(hit.pool, key_of(i), &pin), 0);
    assert_int_equal(open_lanes(), lanes);
    return lent;
}

/* Once; a copy has ended, too. */
static void assert_ends(kp_lease *of)
{
    int before = hit.misuses;
    kp_lease copy = *of;

    hit_give(of);
    kp_release(&copy);
    hit_assert_told(before + 1, "lease");
}

static void look_at_all(int lanes, int places, bool homes)
{
    int lent = open_all(lanes, places, homes);

    assert_all(lanes, lent);
    assert_int_equal(open_lanes(), 0);
    for (int i = 0; i < lanes; i++)
        if (is_lent(i)) assert_ends(&lease[i]);
    assert_all(lanes, 0);
    for (int i = 0; i < lanes; i++) hit_warm(key_of(i));
    assert_int_equal(open_lanes(), lanes);
    assert_all(lanes, 0);
}

static void all_must_be_shut_where_most_keys_have_one(void)
{
    look_at_all(MANY, MANY, false);
}

static void all_must_be_shut_where_few_keys_have_one(void)
{
    look_at_all(FEW, PLACES, false);
}

#if KP__SEQUENCES
/* So many homes were given, and taken so often. */
static void assert_homes(int given, int taken)
{
    assert_int_equal(lock()->home_credit, given - taken * KP__HOME_PRICE);
    unlock();
}

static void all_homes_must_be_taken_where_most_keys_have_one(void)
{
    look_at_all(MANY, MANY, true);
    assert_homes(2 * MANY / EACH, 3);
}

static void all_homes_must_be_taken_where_few_keys_have_one(void)
{
    look_at_all(FEW, PLACES, true);
    assert_homes(2 * FEW / EACH, 2);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        HIT_TEST(all_must_be_shut_where_most_keys_have_one),
        HIT_TEST(all_must_be_shut_where_few_keys_have_one),
#if KP__SEQUENCES
        HOME_TEST(all_homes_must_be_taken_where_most_keys_have_one),
        HOME_TEST(all_homes_must_be_taken_where_few_keys_have_one),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
