/* SPDX-License-Identifier: MIT
 *
 * Close while leases are out that no lock saw, and what misuse of them is told: the short cut must
 * leave to the long way whatever is not a lease of this moment.
 */
#include "contract/hit.h"

#include <pthread.h>
#include <sched.h>

#define K kp_str("k")

/* ---- close ----------------------------------------------------------------------------------- */

/* n resources, of which `lent` are out by hits; the lane is open. */
static void stand(int n, int lent, kp_lease *lease)
{
    hit_open((kp_options){ .limits.max_live = n });
    hit_stock(K, n);
    HIT_SHORT(for (int i = 0; i < lent; i++) lease[i] = hit_take(K));
    assert_true(hit_is_open());
}

static void close_at_once(kp_close_mode mode)
{
    kp_lease lease[3], none;

    stand(5, 3, lease);
    assert_int_equal(kp_pool_close(hit.pool, mode, KP_NONE), 3);
    assert_int_equal(hit.gone, 2);
    assert_int_equal(kp_get(hit.pool, K, NULL, &none), KP_ECLOSED);
    assert_int_equal(kp_try_get(hit.pool, K, &none), KP_ECLOSED);
    for (int i = 0; i < 3; i++) {
        struct item *item = lease[i].resource;
        assert_int_equal(item->destroyed, 0);
        hit_give(&lease[i]);
        assert_int_equal(item->destroyed, 1);
    }
    assert_int_equal(hit.gone, 5);
    assert_int_equal(kp_pool_close(hit.pool, KP_CLOSE_WAIT, 0), 0);
    assert_int_equal(hit.misuses, 0);
}

static void close_now_must_find_what_no_lock_saw(void **state)
{
    (void)state;
    close_at_once(KP_CLOSE_NOW);
}

static void close_that_waits_no_longer_must_find_what_no_lock_saw(void **state)
{
    (void)state;
    close_at_once(KP_CLOSE_WAIT);
}

static void close_that_drains_must_find_what_no_lock_saw(void **state)
{
    (void)state;
    close_at_once(KP_CLOSE_DRAIN);
}

static void *give_all(void *arg)
{
    kp_lease *lease = arg;
    kp_stats s;

    while (kp_stats_read(hit.pool, K, &s) == 0) /* until the close has begun */
        if (kp_try_get(hit.pool, K, &lease[3]) == 0) kp_release(&lease[3]);
        else break;
    for (int i = 0; i < 3; i++) kp_release(&lease[i]);
    return NULL;
}

static void close_on_while_another_gives_back(kp_close_mode mode)
{
    kp_lease lease[4];
    pthread_t thread;

    stand(4, 3, lease);
    assert_int_equal(pthread_create(&thread, NULL, give_all, lease), 0);
    assert_int_equal(kp_pool_close(hit.pool, mode, KP_SECONDS(30)), 0);
    pthread_join(thread, NULL);
    assert_int_equal(hit.gone, 4);
    assert_int_equal(hit.misuses, 0);
}

static void close_must_wait_for_what_no_lock_saw(void **state)
{
    (void)state;
    close_on_while_another_gives_back(KP_CLOSE_WAIT);
}

static void close_must_drain_and_wait_for_what_no_lock_saw(void **state)
{
    (void)state;
    close_on_while_another_gives_back(KP_CLOSE_DRAIN);
}

static void a_pin_of_a_closed_pool_must_be_refused(void **state)
{
    kp_key pin;
    kp_lease lease;

    (void)state;
    kp_pool *first = hit_open((kp_options){ 0 });
    assert_int_equal(kp_pin(first, K, &pin), 0);
    hit_stock(K, 1);
    hit_warm(pin);
    assert_int_equal(kp_pool_close(first, KP_CLOSE_WAIT, 0), 0);
    assert_int_equal(kp_get(first, pin, NULL, &lease), KP_ECLOSED);
    hit_open((kp_options){ 0 }); /* whose lines the next pool has now */
    hit_stock(K, 1);
    assert_int_equal(kp_get(first, pin, NULL, &lease), KP_ECLOSED);
    assert_int_equal(kp_get(first, K, NULL, &lease), KP_ECLOSED);
    assert_int_equal(kp_get(hit.pool, pin, NULL, &lease), KP_EMISUSE);
    kp_unpin(first, &pin);
    hit.gets = hit_stats(K).gets;
}

/* ---- misuse ---------------------------------------------------------------------------------- */

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

static void a_lease_given_back_twice_must_be_told(void **state)
{
    kp_lease lease;

    (void)state;
    stand(1, 1, &lease);
    HIT_SHORT(hit_give(&lease));
    kp_release(&lease);
    hit_assert_told(1, "twice through the same variable");
    kp_discard(&lease);
    hit_assert_told(2, "twice through the same variable");
    assert_int_equal(hit.gone, 0);
    assert_unharmed(1);
}

static void a_copy_of_a_lease_that_has_ended_must_be_told(void **state)
{
    kp_lease lease, copy;

    (void)state;
    stand(2, 1, &lease);
    copy = lease;
    HIT_SHORT(hit_give(&lease));
    kp_release(&copy);
    hit_assert_told(1, "ended already");
    assert_null(copy.resource);
    assert_unharmed(2);
}

static void a_stale_lease_must_not_end_the_next_ones(void **state)
{
    kp_lease lease, copy, next;
    kp_lease_about about;

    (void)state;
    stand(1, 1, &lease);
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
static void a_lease_with_any_bit_wrong_must_be_told(void **state)
{
    kp_lease lease[3];

    (void)state;
    stand(4, 3, lease);
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
static void numbers_of_two_leases_must_not_make_a_third(void **state)
{
    kp_lease lease[2];

    (void)state;
    stand(3, 2, lease);
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

static void a_lease_of_a_closed_pool_must_be_told_while_another_has_its_lines(void **state)
{
    kp_lease old, copy, lease;

    (void)state;
    stand(1, 1, &old);
    copy = old;
    hit_give(&old);
    assert_int_equal(kp_pool_close(hit.pool, KP_CLOSE_WAIT, 0), 0);
    hit.gets = 0;
    stand(1, 1, &lease);
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
static void a_lease_of_a_resource_that_is_gone_must_be_told(void **state)
{
    kp_lease old, copy, lease;

    (void)state;
    stand(1, 1, &old);
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

static uint32_t lines(void)
{
    return atomic_load(&kp__cells.made) + atomic_load(&kp__lanes.made) +
           atomic_load(&kp__lists.made) + atomic_load(&kp__tops.made);
}

/* Resources, keys and pools come and go: their lines are the next ones'. */
static void lines_must_be_used_again(void **state)
{
    uint32_t before = 0;

    (void)state;
    for (int i = 0; i < 10; i++) {
        hit.gets = 0;
        hit_open((kp_options){ .limits.max_live = 20, .forget_key_after_ms = KP_NONE });
        for (uint32_t j = 0; j < 3; j++) {
            hit_stock(kp_bytes(&j, sizeof j), 20);
            (void)kp_invalidate_key(hit.pool, KP_EVERY_KEY);
            while (hit_stats(KP_EVERY_KEY).keys > 0) (void)kp_keep(hit.pool);
        }
        assert_int_equal(kp_pool_close(hit.pool, KP_CLOSE_WAIT, 0), 0);
        if (i == 0) before = lines();
    }
    assert_int_equal(lines(), before);
    hit.pool = NULL;
}

/* The one who returns it first, in whatever way, has ended it. */
static void each_way_to_end_a_lease_must_be_its_end_for_the_others(void **state)
{
    void (*const ways[])(kp_lease *) = { kp_release, kp_discard };

    (void)state;
    hit_open((kp_options){ .limits.max_live = 1 });
    for (int i = 0; i < 4; i++) {
        hit_stock(K, 1);
        kp_lease lease = hit_take(K), copy = lease;
        ((struct item *)lease.resource)->users--;
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

static void of_two_who_end_one_lease_at_once_one_must_win_and_the_other_be_told(void **state)
{
    pthread_t thread;

    (void)state;
    hit_open((kp_options){ .on_event = hear_duel, .limits.max_live = 1 });
    hit_stock(K, 1);
    atomic_store(&duel.round, 0);
    atomic_store(&duel.told, 0);
    assert_int_equal(pthread_create(&thread, NULL, second, NULL), 0);
    for (int i = 1; i <= DUELS; i++) {
        kp_lease lease = hit_take(K);
        ((struct item *)lease.resource)->users--;
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
        HIT_TEST(close_now_must_find_what_no_lock_saw),
        HIT_TEST(close_that_waits_no_longer_must_find_what_no_lock_saw),
        HIT_TEST(close_that_drains_must_find_what_no_lock_saw),
        HIT_TEST(close_must_wait_for_what_no_lock_saw),
        HIT_TEST(close_must_drain_and_wait_for_what_no_lock_saw),
        HIT_TEST(a_pin_of_a_closed_pool_must_be_refused),
        HIT_TEST(a_lease_given_back_twice_must_be_told),
        HIT_TEST(a_copy_of_a_lease_that_has_ended_must_be_told),
        HIT_TEST(a_stale_lease_must_not_end_the_next_ones),
        HIT_TEST(a_lease_with_any_bit_wrong_must_be_told),
        HIT_TEST(numbers_of_two_leases_must_not_make_a_third),
        HIT_TEST(a_lease_of_a_closed_pool_must_be_told_while_another_has_its_lines),
        HIT_TEST(a_lease_of_a_resource_that_is_gone_must_be_told),
        HIT_TEST(lines_must_be_used_again),
        HIT_TEST(each_way_to_end_a_lease_must_be_its_end_for_the_others),
        HIT_TEST(of_two_who_end_one_lease_at_once_one_must_win_and_the_other_be_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
