/* SPDX-License-Identifier: MIT
 *
 * The same pinned key again: a thread remembers where its last hit was, and that is a guess like
 * any other. hit_late.c has threads that find a lane shut and then open.
 */
#include "hit_stage.h"

/* The plainest get: without an ask. */
static kp_lease take(kp_key key)
{
    return hit_take_asking(key, NULL);
}

/* A pinned key with n resources, which this thread remembers. */
static kp_key pinned(kp_key key, int n)
{
    hit_stock(key, n);
    kp_key pin = hit_pin(key);
    kp_lease lease = take(pin);
    hit_give(&lease);
    return pin;
}

static void the_same_key_again_must_take_the_short_cut(void)
{
    kp_lease lease;

    hit_open((kp_options){ 0 });
    kp_key pin = pinned(K, 1);
    for (int i = 0; i < 1000; i++) {
        HIT_SHORT(lease = take(pin));
        HIT_SHORT(hit_give(&lease));
    }
    assert_int_equal(hit_stats(K).gets, hit.gets);
    kp_unpin(hit.pool, &pin);
}

static void two_leases_of_the_same_key_must_be_of_two_resources(void)
{
    kp_lease one, other;

    hit_open((kp_options){ 0 });
    kp_key pin = pinned(K, 2);
    for (int i = 0; i < 100; i++) {
        HIT_SHORT(one = take(pin));
        HIT_SHORT(other = take(pin));
        assert_ptr_not_equal(one.resource, other.resource);
        kp_lease *first = i & 1 ? &one : &other;
        HIT_SHORT(hit_give(first));
        HIT_SHORT(hit_give(first == &one ? &other : &one));
    }
    assert_int_equal(hit.misuses, 0);
    kp_unpin(hit.pool, &pin);
}

static void keys_in_turn_must_each_get_their_own(void)
{
    kp_key pin[2];

    hit_open((kp_options){ 0 });
    pin[0] = pinned(kp_str("a"), 1);
    pin[1] = pinned(kp_str("b"), 1);
    for (int i = 0; i < 100; i++) {
        kp_lease lease = take(pin[i % 2]);
        hit_assert_of(&lease, kp_str(i % 2 ? "b" : "a"));
        hit_give(&lease);
    }
    for (int i = 0; i < 2; i++) kp_unpin(hit.pool, &pin[i]);
}

/* Pins are numbers: that of another pool's key may differ in nothing but the pool's. */
static void the_same_key_of_another_pool_must_be_refused(void)
{
    kp_pool *first = hit_open((kp_options){ 0 });
    kp_key pin = pinned(K, 1);
    hit_open((kp_options){ 0 });
    hit_refused(hit.pool, pin, NULL, KP_EMISUSE);
    hit_refused(NULL, pin, NULL, KP_EMISUSE);
    assert_int_equal(hit.misuses, 2);
    hit_close(hit.pool);
    hit.pool = first;
    kp_unpin(hit.pool, &pin);
}

/* The line of what was destroyed is the next key's: taken for a moment, and given back. */
static void a_resource_that_another_key_has_by_now_must_stay_with_it(void)
{
    kp_lease lease;

    hit_open((kp_options){ 0 });
    kp_key pin = pinned(K, 1), key = kp_str("other");
    assert_int_equal(kp_invalidate_key(hit.pool, K), 1);
    hit_stock(key, 1);
    hit_warm(key);
    lease = take(pin);
    hit_assert_of(&lease, K);
    hit_give(&lease);
    lease = take(key);
    hit_assert_of(&lease, key);
    hit_give(&lease);
    assert_int_equal(hit_stats(KP_EVERY_KEY).gets, hit.gets);
    assert_int_equal(hit.misuses, 0);
    kp_unpin(hit.pool, &pin);
}

static void a_lease_that_has_ended_must_be_told_through_what_is_remembered(void)
{
    hit_open((kp_options){ 0 });
    kp_key pin = pinned(K, 1);
    kp_lease lease = take(pin), copy = lease;
    hit_give(&lease);
    kp_release(&copy);
    hit_assert_told(1, "released twice");
    kp_release(&lease);
    hit_assert_told(2, "through this variable: released twice");
    hit_assert_told(2, "(key ");
    hit_warm(pin);
    lease = take(pin);
    copy = lease;
    hit_give(&lease);
    lease = take(pin);
    kp_release(&copy);
    hit_assert_told(3, "stale lease");
    hit_give(&lease);
    kp_unpin(hit.pool, &pin);
}

/* The number of a slot goes on from that of the one that had its line before, so it does not say
 * whether, and how often, it was lent meanwhile. */
static void an_ended_lease_must_not_be_counted_by_what_another_slot_had(void)
{
    hit_open((kp_options){ 0 });
    kp_key pin = pinned(K, 1), key = kp_str("other");
    kp_lease lease, old = take(key), copy = old;
    for (int i = 0; i < 100; i++) {
        lease = take(pin);
        hit_give(&lease);
    }
    assert_int_equal(kp_invalidate_key(hit.pool, K), 1);
    hit_give(&old);
    hit_warm(key); /* lent once or twice */
    kp_release(&copy);
    hit_assert_told(1, "stale lease");
    assert_null(strstr(hit.text, "leases later"));
    kp_unpin(hit.pool, &pin);
}

static void a_lease_with_a_wrong_bit_must_be_told_through_what_is_remembered(void)
{
    hit_open((kp_options){ 0 });
    kp_key pin = pinned(K, 1);
    for (int number = 0; number < 3; number++)
        for (int bit = 0; bit < 64; bit++) {
            kp_lease lease = take(pin), wrong = lease;
            wrong.opaque[number] ^= UINT64_C(1) << bit;
            int told = hit.misuses;
            kp_release(&wrong);
            if (hit.misuses == told) print_error("number %d, bit %d\n", number, bit);
            assert_int_equal(hit.misuses, told + 1);
            hit_give(&lease);
        }
    kp_unpin(hit.pool, &pin);
}

static void a_pin_with_a_wrong_bit_must_be_told_through_what_is_remembered(void)
{
    kp_lease lease;

    hit_open((kp_options){ 0 });
    kp_key pin = pinned(K, 1);
    for (int bit = 0; bit < (int)sizeof(void *) * 8; bit++) {
        kp_key wrong = pin;
        wrong.data = (const void *)((uintptr_t)pin.data ^ (uintptr_t)1 << bit);
        hit_refused(hit.pool, wrong, NULL, KP_EMISUSE);
        lease = take(pin);
        hit_give(&lease);
    }
    assert_int_equal(hit.misuses, sizeof(void *) * 8);
    kp_unpin(hit.pool, &pin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HIT_TEST(the_same_key_again_must_take_the_short_cut),
        HIT_TEST(two_leases_of_the_same_key_must_be_of_two_resources),
        HIT_TEST(keys_in_turn_must_each_get_their_own),
        HIT_TEST(the_same_key_of_another_pool_must_be_refused),
        HIT_TEST(a_resource_that_another_key_has_by_now_must_stay_with_it),
        HIT_TEST(a_lease_that_has_ended_must_be_told_through_what_is_remembered),
        HIT_TEST(an_ended_lease_must_not_be_counted_by_what_another_slot_had),
        HIT_TEST(a_lease_with_a_wrong_bit_must_be_told_through_what_is_remembered),
        HIT_TEST(a_pin_with_a_wrong_bit_must_be_told_through_what_is_remembered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
