/* SPDX-License-Identifier: MIT
 *
 * Pins of a key whose lane is open, and keys that only look like a pin.
 */
#include "hit_stage.h"

static void a_pin_must_be_stale_from_when_it_is_let_go(void)
{
    hit_stand(1, (kp_options){ 0 });
    kp_key pin = hit_pin(K), stale = pin;
    kp_unpin(hit.pool, &pin);
    assert_int_equal(pin.size, 0);
    hit_warm(K); /* the lane is open, and has no pin */
    hit_refused(hit.pool, stale, NULL, KP_EMISUSE);
    kp_unpin(hit.pool, &stale);
    assert_int_equal(hit.misuses, 2);
    assert_int_equal(hit_stats(K).gets, hit.gets);
}

static void the_last_of_two_pins_must_go_on_when_the_first_is_let_go(void)
{
    kp_key one, other;

    hit_stand(1, (kp_options){ 0 });
    assert_int_equal(kp_pin(hit.pool, K, &one), 0);
    assert_int_equal(kp_pin(hit.pool, K, &other), 0);
    hit_warm(one);
    kp_unpin(hit.pool, &one);
    hit_warm(other);
    kp_unpin(hit.pool, &other);
    assert_int_equal(hit.misuses, 0);
}

/* Each number of a pin with one wrong bit: it is reported, and never lends another key's
 * resource. */
static void a_pin_with_a_wrong_bit_must_be_refused(void)
{
    kp_key pin[3];

    hit_open((kp_options){ .limits.max_live = 1 });
    for (int i = 0; i < 3; i++) {
        char name[2] = { (char)('a' + i), 0 };
        hit_stock(kp_str(name), 1);
        assert_int_equal(kp_pin(hit.pool, kp_str(name), &pin[i]), 0);
    }
    for (int i = 0; i < 3; i++) hit_warm(pin[i]);
    /* Not the upper 3 bits of the size: without them it is bytes, a struct, or every key. */
    int of_number = 8 * (int)sizeof(uintptr_t), of_both = of_number + 8 * (int)sizeof(size_t) - 3;
    for (int bit = 0; bit < of_both; bit++) {
        uintptr_t number = (uintptr_t)pin[1].data;
        size_t size = pin[1].size;
        if (bit < of_number) number ^= (uintptr_t)1 << bit;
        else size ^= (size_t)1 << (bit - of_number);
        kp_key wrong = kp_bytes((const void *)number, size);
        hit_refused(hit.pool, wrong, KP_ASK(.within_ms = KP_NONE), KP_EMISUSE);
    }
    assert_int_equal(hit.misuses, of_both);
    assert_int_equal(hit_stats(KP_EVERY_KEY).gets, hit.gets);
    assert_int_equal(hit_stats(KP_EVERY_KEY).idle, 3);
}

static void a_pin_of_another_pool_must_be_refused(void)
{
    kp_pool *first = hit_stand(1, (kp_options){ 0 });
    kp_key pin = hit_pin(K);
    hit_stand(1, (kp_options){ 0 });
    hit_refused(hit.pool, pin, NULL, KP_EMISUSE);
    assert_int_equal(hit_stats(K).gets, hit_stats(K).creates + hit_stats(K).hits);
    hit_close(hit.pool);
    hit.pool = first;
}

static void a_pin_of_another_pool_must_be_told(void)
{
    kp_key pin;

    kp_pool *other = hit_open((kp_options){ 0 });
    assert_int_equal(kp_pin(other, K, &pin), 0);
    hit_open((kp_options){ 0 });
    hit_refused(hit.pool, pin, NULL, KP_EMISUSE); /* it has no key yet */
    hit_stock(K, 1);
    hit_refused(hit.pool, pin, NULL, KP_EMISUSE);
    hit_assert_told(2, "pinned key is not of this pool");
    kp_unpin(other, &pin);
    hit_close(other);
}

static void a_pin_of_a_closed_pool_must_be_refused(void)
{
    kp_pool *first = hit_stand(1, (kp_options){ 0 });
    kp_key pin = hit_pin(K);
    assert_int_equal(kp_pool_close(first, KP_CLOSE_WAIT, 0), 0);
    hit_refused(first, pin, NULL, KP_ECLOSED);
    hit_stand(1, (kp_options){ 0 }); /* which has its lines now */
    hit_refused(first, pin, NULL, KP_ECLOSED);
    hit_refused(first, K, NULL, KP_ECLOSED);
    hit_refused(hit.pool, pin, NULL, KP_EMISUSE);
    kp_unpin(first, &pin);
    hit.gets = hit_stats(K).gets;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HIT_TEST(a_pin_must_be_stale_from_when_it_is_let_go),
        HIT_TEST(the_last_of_two_pins_must_go_on_when_the_first_is_let_go),
        HIT_TEST(a_pin_with_a_wrong_bit_must_be_refused),
        HIT_TEST(a_pin_of_another_pool_must_be_refused),
        HIT_TEST(a_pin_of_another_pool_must_be_told),
        HIT_TEST(a_pin_of_a_closed_pool_must_be_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
