/* SPDX-License-Identifier: MIT
 *
 * Limits that change while a lane is open hold from then on.
 */
#include "hit_stage.h"

static void what_is_too_many_after_a_limit_fell_must_go_as_it_comes_back(void)
{
    kp_lease lease = hit_one_of(3);
    kp_lease second;
    HIT_SHORT(second = hit_take(K));
    hit_set((kp_limits){ .max_live = 1 });
    assert_int_equal(hit.gone, 1); /* the idle one */
    hit_give(&lease);
    assert_int_equal(hit.gone, 2);
    hit_give(&second);
    assert_int_equal(hit.gone, 2);
    assert_int_equal(hit_stats(K).idle, 1);
    hit_warm(K);
}

static void a_limit_on_what_is_lent_must_hold_from_now_on(void)
{
    kp_lease lease = hit_one_of(3);
    hit_set((kp_limits){ .max_lent = 1 });
    hit_try_refused(KP_EAGAIN);
    for (int i = 0; i < 50; i++) { /* so that a lane would have opened */
        hit_give(&lease);
        lease = hit_take(K);
    }
    hit_try_refused(KP_EAGAIN);
    hit_give(&lease);
    hit_set((kp_limits){ .max_lent = KP_UNLIMITED });
    hit_warm(K);
    assert_int_equal(hit_stats(K).idle, 3);
}

static void a_limit_on_what_is_idle_must_hold_from_now_on(void)
{
    kp_lease lease = hit_one_of(3);
    hit_set((kp_limits){ .max_idle = 1 });
    assert_int_equal(hit.gone, 1);
    hit_give(&lease);
    assert_int_equal(hit.gone, 2);
    assert_int_equal(hit_stats(K).idle, 1);
    hit_warm(K);
}

static void of_two_that_come_back_one_must_go_if_one_may_be_idle(void)
{
    kp_lease second;

    hit_stand(2, (kp_options){ .limits = { .max_live = 2 } });
    for (int i = 0; i < 100; i++) { /* a lane that is much used opens again at once */
        second = hit_take(K);
        hit_give(&second);
    }
    kp_lease lease = hit_take(K);
    second = hit_take(K);
    hit_set((kp_limits){ .max_idle = 1 });
    hit_give(&lease);
    hit_give(&second);
    assert_int_equal(hit.gone, 1);
    assert_int_equal(hit_stats(K).idle, 1);
}

static void what_shall_not_be_used_again_must_be_destroyed_as_it_comes_back(void)
{
    kp_lease lease = hit_one_of(1);
    struct item *item = lease.resource;
    hit_set((kp_limits){ .on_return = KP_DESTROY });
    hit_give(&lease);
    assert_int_equal(item->destroyed, 1);
    hit_set((kp_limits){ .on_return = KP_REUSE });
    hit_warm(K);
}

static void a_look_for_excess_that_never_comes_must_keep_no_lane_shut(void)
{
    hit_stand(1, (kp_options){ .limits = { .excess_check = KP_CHECK_RETURN } });
    hit_set((kp_limits){ .excess_ttl_ms = KP_SECONDS(60) });
    for (int i = 0; i < 50; i++) {
        hit_use(K);
        assert_false(hit_is_open());
    }
    hit_set((kp_limits){ .excess_ttl_ms = KP_OFF });
    hit_warm(K);
}

static bool visit;

/* Another thread borrows and gives back while the call that changes limits has released the
 * lock. */
static void *alloc_and_visit(size_t size, size_t align, void *ctx)
{
    (void)ctx;
    if (visit) {
        visit = false;
        hit_use(K);
        assert_false(hit_is_open());
    }
    return aligned_alloc(align, (size + align - 1) / align * align);
}

static void free_it(void *p, size_t size, void *ctx)
{
    (void)size, (void)ctx;
    free(p);
}

static void no_lane_must_open_while_a_call_is_looking_at_its_key(void)
{
    static const kp_world world = { .alloc = alloc_and_visit, .free = free_it };
    kp_lease lease;

    visit = false;
    hit_stand(2, (kp_options){ .limits.max_live = 2, .world = &world });
    for (int i = 0; i < 100; i++) hit_use(K); /* a lane that is much used opens again at once */
    visit = true;
    hit_set((kp_limits){ .max_lent = 1 });
    assert_false(visit);
    lease = hit_take(K);
    hit_try_refused(KP_EAGAIN);
    hit_give(&lease);
}

/* Those that are there keep their one seat; what is made now has two, and is never on a lane. */
static void sharing_that_begins_must_share_what_is_made_from_now_on(void)
{
    kp_lease lease[3];

    lease[0] = hit_only(2);
    hit_set((kp_limits){ .sharing = 2 });
    for (int i = 1; i < 3; i++)
        assert_int_equal(kp_get(hit.pool, K, KP_IN_S(30), &lease[i]), 0);
    assert_ptr_equal(lease[1].resource, lease[2].resource);
    assert_ptr_not_equal(lease[0].resource, lease[1].resource);
    for (int i = 0; i < 3; i++) kp_release(&lease[i]);
    hit_set((kp_limits){ .sharing = 1 });
    for (int i = 0; i < 20; i++) {
        for (int j = 0; j < 2; j++)
            assert_int_equal(kp_get(hit.pool, K, KP_IN_S(30), &lease[j]), 0);
        for (int j = 0; j < 2; j++) kp_release(&lease[j]);
    }
    assert_int_equal(hit.misuses, 0);
    kp_stats s = hit_stats(K);
    assert_int_equal(s.gets, hit.gets + 2 + 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HIT_TEST(what_is_too_many_after_a_limit_fell_must_go_as_it_comes_back),
        HIT_TEST(a_limit_on_what_is_lent_must_hold_from_now_on),
        HIT_TEST(a_limit_on_what_is_idle_must_hold_from_now_on),
        HIT_TEST(of_two_that_come_back_one_must_go_if_one_may_be_idle),
        HIT_TEST(what_shall_not_be_used_again_must_be_destroyed_as_it_comes_back),
        HIT_TEST(a_look_for_excess_that_never_comes_must_keep_no_lane_shut),
        HIT_TEST(no_lane_must_open_while_a_call_is_looking_at_its_key),
        HIT_TEST(sharing_that_begins_must_share_what_is_made_from_now_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
