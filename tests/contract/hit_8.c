/* SPDX-License-Identifier: MIT
 *
 * The same pinned key again: a thread remembers where its last hit was, and what it remembers is a
 * guess like any other.
 */
#include "contract/hit.h"
#include "flow/hit.h"

#define K kp_str("key")

static kp_lease take(kp_key key) /* as plainly as can be: nothing is asked */
{
    kp_lease lease;

    assert_int_equal(kp_get(hit.pool, key, NULL, &lease), 0);
    struct item *item = lease.resource;
    assert_int_equal(item->users++, 0);
    assert_int_equal(item->destroyed, 0);
    hit.gets++;
    return lease;
}

static kp_key pinned(kp_key key, int n)
{
    kp_key pin;

    hit_stock(key, n);
    assert_int_equal(kp_pin(hit.pool, key, &pin), 0);
    hit_warm(pin);
    kp_lease lease = take(pin);
    hit_give(&lease);
    return pin;
}

static void the_same_key_again_must_take_the_short_cut(void **state)
{
    kp_lease lease;

    (void)state;
    hit_open((kp_options){ 0 });
    kp_key pin = pinned(K, 1);
    for (int i = 0; i < 1000; i++) {
        HIT_SHORT(lease = take(pin));
        HIT_SHORT(hit_give(&lease));
    }
    assert_int_equal(hit_stats(K).gets, hit.gets);
    kp_unpin(hit.pool, &pin);
}

static void two_leases_of_the_same_key_must_be_of_two_resources(void **state)
{
    kp_lease one, other;

    (void)state;
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

static void keys_in_turn_must_each_get_their_own(void **state)
{
    kp_key pin[2];

    (void)state;
    hit_open((kp_options){ 0 });
    pin[0] = pinned(kp_str("a"), 1);
    pin[1] = pinned(kp_str("b"), 1);
    for (int i = 0; i < 100; i++) {
        kp_lease lease = take(pin[i % 2]);
        assert_memory_equal(((struct item *)lease.resource)->key, i % 2 ? "b" : "a", 1);
        hit_give(&lease);
    }
    for (int i = 0; i < 2; i++) kp_unpin(hit.pool, &pin[i]);
}

/* Pins are numbers: that of another pool's key may differ in nothing but the pool's. */
static void the_same_key_of_another_pool_must_be_refused(void **state)
{
    kp_lease lease;

    (void)state;
    kp_pool *first = hit_open((kp_options){ 0 });
    kp_key pin = pinned(K, 1);
    hit_open((kp_options){ 0 });
    assert_int_equal(kp_get(hit.pool, pin, NULL, &lease), KP_EMISUSE);
    assert_int_equal(kp_get(NULL, pin, NULL, &lease), KP_EMISUSE);
    assert_int_equal(hit.misuses, 2);
    assert_int_equal(kp_pool_close(hit.pool, KP_CLOSE_NOW, 0), 0);
    hit.pool = first;
    kp_unpin(hit.pool, &pin);
}

/* The line of what was destroyed is the next key's: taken for a moment, and given back. */
static void a_resource_that_another_key_has_by_now_must_stay_with_it(void **state)
{
    kp_lease lease;

    (void)state;
    hit_open((kp_options){ 0 });
    kp_key pin = pinned(K, 1), key = kp_str("other");
    assert_int_equal(kp_invalidate_key(hit.pool, K), 1);
    hit_stock(key, 1);
    hit_warm(key);
    lease = take(pin);
    assert_memory_equal(((struct item *)lease.resource)->key, "key", 3);
    hit_give(&lease);
    lease = take(key);
    assert_memory_equal(((struct item *)lease.resource)->key, "other", 5);
    hit_give(&lease);
    assert_int_equal(hit_stats(KP_EVERY_KEY).gets, hit.gets);
    assert_int_equal(hit.misuses, 0);
    kp_unpin(hit.pool, &pin);
}

static void a_lease_that_has_ended_must_be_told_through_what_is_remembered(void **state)
{
    (void)state;
    hit_open((kp_options){ 0 });
    kp_key pin = pinned(K, 1);
    kp_lease lease = take(pin), copy = lease;
    hit_give(&lease);
    kp_release(&copy);
    hit_assert_told(1, "released twice");
    kp_release(&lease);
    hit_assert_told(2, "through the same variable");
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

static void a_lease_with_a_wrong_bit_must_be_told_through_what_is_remembered(void **state)
{
    (void)state;
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

static void a_pin_with_a_wrong_bit_must_be_told_through_what_is_remembered(void **state)
{
    kp_lease lease;

    (void)state;
    hit_open((kp_options){ 0 });
    kp_key pin = pinned(K, 1);
    for (int bit = 0; bit < (int)sizeof(void *) * 8; bit++) {
        kp_key wrong = pin;
        wrong.data = (const void *)((uintptr_t)pin.data ^ (uintptr_t)1 << bit);
        assert_int_equal(kp_get(hit.pool, wrong, NULL, &lease), KP_EMISUSE);
        lease = take(pin);
        hit_give(&lease);
    }
    assert_int_equal(hit.misuses, sizeof(void *) * 8);
    kp_unpin(hit.pool, &pin);
}

/* ---- too early at the lock ------------------------------------------------------------------- */

/* Who took the long way because the lane was shut, and finds it open when he has the lock, takes
 * the short one after all, and the lane stays as it is. Here the long ways are called directly. */
static int late(kp_key key, const kp_ask *ask, kp_lease *out)
{
    int code = kp__get(hit.pool, key, ask, NULL, out);

    hit.gets += code == 0;
    return code;
}

static void a_lane_that_opened_meanwhile_must_stay_open(void **state)
{
    kp_lease lease;
    kp_why why = { .code = 1 };

    (void)state;
    hit_open((kp_options){ 0 });
    kp_key pin = pinned(K, 1);
    HIT_SHORT(assert_int_equal(late(pin, NULL, &lease), 0));
    HIT_SHORT(kp__release(&lease));
    assert_null(lease.resource);
    HIT_SHORT(assert_int_equal(late(K, KP_ASK(.tag = "late", .why = &why), &lease), 0));
    assert_int_equal(why.code, 0);
    HIT_SHORT(kp__release(&lease));
    assert_true(hit_is_open());
    kp_release(&lease);
    hit_assert_told(1, "through the same variable");
    assert_int_equal(hit_stats(K).gets, hit.gets);
    kp_unpin(hit.pool, &pin);
}

static void what_a_lane_cannot_give_must_shut_it_though_it_opened_meanwhile(void **state)
{
    kp_lease lease, other;

    (void)state;
    hit_open((kp_options){ .limits.max_live = 1 });
    kp_key pin = pinned(K, 1), wrong = pin;
    assert_int_equal(late(K, KP_ASK(.flags = KP_FRESH), &lease), 0);
    hit.item[0].users = 0;
    kp__release(&lease);
    hit_warm(pin);
    lease = take(pin);
    assert_int_equal(late(K, KP_ASK(.flags = KP_DONT_WAIT, .within_ms = KP_NONE), &other),
                     KP_EAGAIN);
    hit_give(&lease);
    hit_warm(pin);
    assert_int_equal(late(kp_str("another"), NULL, &lease), 0);
    hit_warm(pin);
    kp__release(&lease);
    hit_warm(pin);
    wrong.data = NULL;
    assert_int_equal(late(wrong, NULL, &other), KP_EMISUSE);
    lease = take(pin);
    other = lease;
    hit_give(&lease);
    kp__release(&other);
    assert_int_equal(hit.misuses, 2);
    hit_warm(pin);
    lease = take(pin);
    kp_discard(&lease);
    assert_int_equal(hit_stats(K).idle, 0);
    kp_unpin(hit.pool, &pin);
}

static void what_is_no_key_must_be_told_though_a_lane_is_open(void **state)
{
    kp_lease lease;

    (void)state;
    hit_open((kp_options){ 0 });
    kp_key pin = pinned(K, 1);
    assert_int_equal(late(kp_bytes(NULL, 1), NULL, &lease), KP_EMISUSE);
    assert_int_equal(hit.misuses, 1);
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
        HIT_TEST(a_lease_with_a_wrong_bit_must_be_told_through_what_is_remembered),
        HIT_TEST(a_pin_with_a_wrong_bit_must_be_told_through_what_is_remembered),
        HIT_TEST(a_lane_that_opened_meanwhile_must_stay_open),
        HIT_TEST(what_a_lane_cannot_give_must_shut_it_though_it_opened_meanwhile),
        HIT_TEST(what_is_no_key_must_be_told_though_a_lane_is_open),
    };

    return cmocka_run_group_tests_name("the same key again", tests, NULL, NULL);
}
