/* SPDX-License-Identifier: MIT
 *
 * Several resources of one key: all of them are lent without the lock, also those that come later.
 */
#include "hit_stage.h"

/* ---- as many as there are -------------------------------------------------------------------- */

/* All of a key's are lent once each, in whatever way its lane names its cells. */
static void lend_all(int n)
{
    kp_lease *lease = calloc((size_t)n, sizeof *lease);

    assert_non_null(lease);
    hit_stand(n, (kp_options){ .limits.max_live = n });
    for (int round = 0; round < 3; round++) {
        hit_warm(K);
        HIT_SHORT(for (int i = 0; i < n; i++) lease[i] = hit_take(K));
        HIT_SHORT(for (int i = n - 1; i >= 0; i--) hit_give(&lease[i]));
        kp_stats s = hit_stats(K);
        assert_int_equal(s.idle, n);
        assert_int_equal(s.gets, hit.gets);
    }
    assert_int_equal(hit.made, n);
    free(lease);
}

static void all_of_two_must_be_lent_without_the_lock(void)
{
    lend_all(2);
}

static void all_of_fifteen_must_be_lent_without_the_lock(void)
{
    lend_all(15);
}

static void all_of_sixteen_must_be_lent_without_the_lock(void)
{
    lend_all(16);
}

static void all_of_seventeen_must_be_lent_without_the_lock(void)
{
    lend_all(17);
}

static void all_of_two_hundred_must_be_lent_without_the_lock(void)
{
    lend_all(200);
}

/* More than a lane has room for: they are lent with the lock. */
static void all_of_three_hundred_must_be_lent(void)
{
    enum { N = 300 };
    static kp_lease lease[N];

    hit_open((kp_options){ .limits.max_live = N });
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < N; i++) lease[i] = hit_take(K);
        assert_int_equal(hit_stats(K).lent, N);
        for (int i = 0; i < N; i++) hit_give(&lease[i]);
        assert_int_equal(hit_stats(K).idle, N);
    }
    assert_int_equal(hit.made, N);
}

/* ---- more of them ---------------------------------------------------------------------------- */

static void what_is_added_must_be_lent_beside_what_was_there(void)
{
    kp_lease second;

    kp_lease lease = hit_only(2);
    struct item *item = &hit.item[hit.made];
    item->number = hit.made++;
    assert_int_equal(kp_add(hit.pool, K, item), 0);
    second = hit_take(K);
    assert_ptr_equal(second.resource, item);
    hit_give(&second);
    hit_give(&lease);
    hit_warm(K);
    HIT_SHORT(lease = hit_take(K); second = hit_take(K));
    hit_give(&lease);
    hit_give(&second);
    assert_int_equal(hit_stats(K).gets, hit.gets);
}

static void a_resource_that_is_there_must_not_be_added_again(void)
{
    kp_lease lease = hit_only(2);
    assert_int_equal(kp_add(hit.pool, K, lease.resource), KP_EMISUSE);
    hit_give(&lease);
    hit_warm(K);
    assert_int_equal(kp_add(hit.pool, K, &hit.item[0]), KP_EMISUSE);
    assert_int_equal(hit_stats(K).live, 1);
}

static void a_key_that_is_warmed_must_get_what_it_lacks(void)
{
    kp_key key = K;

    kp_lease lease = hit_only(3);
    hit_set((kp_limits){ .min_live = 3 });
    assert_int_equal(kp_warm(hit.pool, &key, 1, KP_IN_S(30)), 1);
    assert_int_equal(hit_stats(K).live, 3);
    hit_give(&lease);
    hit_warm(K);
    assert_int_equal(kp_warm(hit.pool, &key, 1, KP_IN_S(30)), 1);
    assert_int_equal(hit_stats(K).live, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HIT_TEST(all_of_two_must_be_lent_without_the_lock),
        HIT_TEST(all_of_fifteen_must_be_lent_without_the_lock),
        HIT_TEST(all_of_sixteen_must_be_lent_without_the_lock),
        HIT_TEST(all_of_seventeen_must_be_lent_without_the_lock),
        HIT_TEST(all_of_two_hundred_must_be_lent_without_the_lock),
        HIT_TEST(all_of_three_hundred_must_be_lent),
        HIT_TEST(what_is_added_must_be_lent_beside_what_was_there),
        HIT_TEST(a_resource_that_is_there_must_not_be_added_again),
        HIT_TEST(a_key_that_is_warmed_must_get_what_it_lacks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
