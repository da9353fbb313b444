/* SPDX-License-Identifier: MIT
 *
 * Misuse of leases that began without the lock is reported: a release without the lock must leave
 * everything that is not a current lease to the one with the lock.
 */
#include "hit_stage.h"

#include <pthread.h>
#include <sched.h>

/* What a wrong call must not have done: the pool has its n resources, and all can be lent. */
static void assert_unharmed(int n)
{
    kp_lease lease[8];

    assert_true(n <= 8);
    assert_int_equal(hit_stats(KP_EVERY_KEY).gets, hit.gets);
    for (int i = 0; i < n; i++) lease[i] = hit_take(K);
    assert_int_equal(hit.made - hit.gone, n);
    for (int i = 0; i < n; i++) hit_give(&lease[i]);
}

static void a_lease_given_back_twice_must_be_told(void)
{
    kp_lease lease = hit_one_of(1);
    HIT_SHORT(hit_give(&lease));
    kp_release(&lease);
    hit_assert_told(1, "through this variable: released twice");
    kp_discard(&lease);
    hit_assert_told(2, "through this variable: released twice");
    assert_int_equal(hit.gone, 0);
    assert_unharmed(1);
}

static void a_copy_of_a_lease_that_has_ended_must_be_told(void)
{
    kp_lease lease, copy;

    lease = hit_one_of(2);
    copy = lease;
    HIT_SHORT(hit_give(&lease));
    kp_release(&copy);
    hit_assert_told(1, "ended already");
    assert_null(copy.resource);
    assert_unharmed(2);
}

static void a_stale_lease_must_not_end_the_next_ones(void)
{
    kp_lease lease, copy, next;
    kp_lease_about about;

    lease = hit_one_of(1);
    copy = lease;
    hit_give(&lease);
    for (int i = 0; i < 3; i++) {
        hit_warm(K);
        HIT_SHORT(next = hit_take(K));
        assert_ptr_equal(next.resource, copy.resource);
        kp_lease again = copy;
        kp_release(&again);
        assert_int_equal(hit.misuses, 2 * i + 1);
        again = copy;
        kp_discard(&again);
        assert_int_equal(hit.misuses, 2 * i + 2);
        assert_true(kp_lease_read(&next, &about));
        assert_int_equal(hit_stats(K).lent, 1);
        hit_give(&next);
    }
    assert_int_equal(hit.gone, 0);
    assert_unharmed(1);
}

/* A lease is three numbers of 64 bits. With any bit wrong it is no lease, and nothing happens. */
static void a_lease_with_any_bit_wrong_must_be_told(void)
{
    kp_lease lease[3];

    hit_some_of(4, 3, lease);
    for (int bit = 0; bit < 192; bit++) {
        kp_lease wrong = lease[1];
        wrong.opaque[bit / 64] ^= UINT64_C(1) << bit % 64;
        kp_release(&wrong);
        assert_int_equal(hit.misuses, bit + 1);
        assert_int_equal(hit_stats(K).lent, 3);
        if (bit % 16 == 0) hit_warm(K);
    }
    assert_int_equal(hit_stats(KP_EVERY_KEY).gets, hit.gets);
    for (int i = 0; i < 3; i++) hit_give(&lease[i]);
    assert_int_equal(hit.misuses, 192);
    assert_unharmed(4);
}

/* The numbers of two leases mixed: each is in order, together they are not. */
static void numbers_of_two_leases_must_not_make_a_third(void)
{
    kp_lease lease[2];

    hit_some_of(3, 2, lease);
    for (int mix = 1; mix < 7; mix++) {
        kp_lease wrong = lease[0];
        for (int i = 0; i < 3; i++)
            if (mix >> i & 1) wrong.opaque[i] = lease[1].opaque[i];
        bool same = !memcmp(wrong.opaque, lease[0].opaque, sizeof wrong.opaque) ||
                    !memcmp(wrong.opaque, lease[1].opaque, sizeof wrong.opaque);
        int before = hit.misuses;
        if (!same) kp_release(&wrong);
        if (!same) assert_int_equal(hit.misuses, before + 1);
        assert_int_equal(hit_stats(K).lent, 2);
        hit_warm(K);
    }
    for (int i = 0; i < 2; i++) hit_give(&lease[i]);
    assert_unharmed(3);
}

static void a_lease_of_a_closed_pool_must_be_told_while_another_has_its_lines(void)
{
    kp_lease old, copy, lease;

    old = hit_one_of(1);
    copy = old;
    hit_give(&old);
    assert_int_equal(kp_pool_close(hit.pool, KP_CLOSE_WAIT, 0), 0);
    hit.gets = 0;
    lease = hit_one_of(1);
    if ((uint32_t)lease.opaque[2] != (uint32_t)copy.opaque[2]) print_message("another line\n");
    for (int i = 0; i < 20; i++) {
        kp_lease again = copy;
        kp_release(&again);
        assert_int_equal(hit.misuses, i + 1);
        hit_give(&lease);
        lease = hit_take(K);
    }
    hit_assert_told(20, "closed");
    hit_give(&lease);
    assert_unharmed(1);
}

/* The same line, the same slot, another resource: it was destroyed and made again in between. */
static void a_lease_of_a_resource_that_is_gone_must_be_told(void)
{
    kp_lease old, copy, lease;

    old = hit_one_of(1);
    copy = old;
    kp_discard(&old);
    for (int i = 0; i < 50; i++) {
        lease = hit_take(K);
        kp_lease again = copy;
        kp_release(&again);
        assert_int_equal(hit.misuses, i + 1);
        hit_give(&lease);
    }
    assert_unharmed(1);
}

static void a_lease_of_a_place_that_was_never_used_must_be_told(void)
{
    hit_stand(1, (kp_options){ 0 });
    kp_lease lease = hit_take(K), forged = lease;
    struct kp__slab *slots = &hit_core(hit.pool)->slots;
    struct kp__slot *slot = kp__slab_take(slots);
    forged.opaque[0] = (lease.opaque[0] >> 32) << 32 | slot->item.index;
    kp__slab_put(slots, slot);
    kp_release(&forged);
    hit_assert_told(1, "not a lease");
    hit_give(&lease);
}

static void no_lease_at_all_must_be_ended_by_doing_nothing(void)
{
    hit_open((kp_options){ 0 });
    kp_release(NULL);
    kp_discard(NULL);
    assert_int_equal(hit.misuses, 0);
}

/* The first call that ends it, of whatever kind, has ended it. */
static void each_way_to_end_a_lease_must_be_its_end_for_the_others(void)
{
    void (*const ways[])(kp_lease *) = { kp_release, kp_discard };

    hit_open((kp_options){ .limits.max_live = 1 });
    for (int i = 0; i < 4; i++) {
        hit_stock(K, 1);
        kp_lease lease = hit_take(K), copy = lease;
        hit_item(&lease)->users--;
        ways[i & 1](&lease);
        ways[i >> 1](&copy);
        assert_int_equal(hit.misuses, 3 * i + 1);
        kp_lease_reuse(&copy, false);
        kp_lease_report(&copy, -1);
        assert_int_equal(hit.misuses, 3 * i + 3);
    }
    assert_unharmed(1);
}

/* ---- two at the same moment ------------------------------------------------------------------ */

enum { DUELS = 2000 };

static struct {
    atomic_int round, done;
    kp_lease copy;
    atomic_int told;
} duel;

static void hear_duel(const kp_event *event, void *ctx)
{
    (void)ctx;
    if (event->kind == KP_EVENT_MISUSE) atomic_fetch_add(&duel.told, 1);
}

static void *second(void *arg)
{
    for (int i = 1; i <= DUELS; i++) {
        while (atomic_load(&duel.round) < i) sched_yield();
        kp_release(&duel.copy);
        atomic_store(&duel.done, i);
    }
    return arg;
}

static void of_two_who_end_one_lease_at_once_one_must_win_and_the_other_be_told(void)
{
    pthread_t thread;

    hit_stand(1, (kp_options){ .on_event = hear_duel, .limits.max_live = 1 });
    atomic_store(&duel.round, 0);
    atomic_store(&duel.done, 0);
    atomic_store(&duel.told, 0);
    assert_int_equal(pthread_create(&thread, NULL, second, NULL), 0);
    for (int i = 1; i <= DUELS; i++) {
        kp_lease lease = hit_take(K);
        hit_item(&lease)->users--;
        duel.copy = lease;
        atomic_store(&duel.round, i);
        kp_release(&lease);
        while (atomic_load(&duel.done) < i) sched_yield();
        assert_int_equal(atomic_load(&duel.told), i);
    }
    pthread_join(thread, NULL);
    kp_stats s = hit_stats(KP_EVERY_KEY);
    assert_int_equal(s.misuses, DUELS);
    assert_int_equal(s.idle, 1);
    assert_unharmed(1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HIT_TEST(a_lease_given_back_twice_must_be_told),
        HIT_TEST(a_copy_of_a_lease_that_has_ended_must_be_told),
        HIT_TEST(a_stale_lease_must_not_end_the_next_ones),
        HIT_TEST(a_lease_with_any_bit_wrong_must_be_told),
        HIT_TEST(numbers_of_two_leases_must_not_make_a_third),
        HIT_TEST(a_lease_of_a_closed_pool_must_be_told_while_another_has_its_lines),
        HIT_TEST(a_lease_of_a_resource_that_is_gone_must_be_told),
        HIT_TEST(a_lease_of_a_place_that_was_never_used_must_be_told),
        HIT_TEST(no_lease_at_all_must_be_ended_by_doing_nothing),
        HIT_TEST(each_way_to_end_a_lease_must_be_its_end_for_the_others),
        HIT_TEST(of_two_who_end_one_lease_at_once_one_must_win_and_the_other_be_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
