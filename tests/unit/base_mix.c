/* SPDX-License-Identifier: MIT
 *
 * Tests of base/mix.h: short keys get different hashes, and every key is hashed whole, wherever it
 * lies, with nothing from around it.
 */
#include "base_kit.h"

#include "base/mix.h"

#include <stdbool.h>

enum { LONGEST = 64, AROUND = 8 };

/* Bytes of this length, as many copies as there are alignments, each between others. */
struct copies {
    unsigned char bytes[AROUND][AROUND + LONGEST + AROUND];
};

static void fill(struct copies *c, size_t size)
{
    unsigned char text[LONGEST];

    for (size_t i = 0; i < size; i++) text[i] = (unsigned char)kit_random();
    for (size_t a = 0; a < AROUND; a++) {
        for (size_t i = 0; i < sizeof c->bytes[a]; i++)
            c->bytes[a][i] = (unsigned char)kit_random();
        memcpy(c->bytes[a] + a, text, size);
    }
}

static bool same_brief(const void *one, const void *other, size_t size)
{
    struct kp__brief a = kp__brief_of(one, size), b = kp__brief_of(other, size);

    return a.first == b.first && a.last == b.last;
}

static void the_same_bytes_must_be_the_same_wherever_they_lie(void **state)
{
    struct copies c;

    (void)state;
    kit_seed();
    for (size_t size = 0; size <= KP__BRIEF; size++) {
        fill(&c, size);
        for (size_t a = 0; a < AROUND; a++)
            assert_true(same_brief(c.bytes[0], c.bytes[a] + a, size));
    }
}

static void bytes_must_differ_by_any_bit(void **state)
{
    struct copies c;

    (void)state;
    kit_seed();
    for (size_t size = 1; size <= KP__BRIEF; size++) {
        fill(&c, size);
        for (size_t bit = 0; bit < 8 * size; bit++) {
            unsigned char *other = c.bytes[bit % AROUND] + bit % AROUND;
            unsigned char *one = c.bytes[(bit + 1) % AROUND] + (bit + 1) % AROUND;
            other[bit / 8] ^= (unsigned char)(1 << bit % 8);
            assert_false(same_brief(one, other, size));
            assert_false(same_brief(other, one, size));
            other[bit / 8] ^= (unsigned char)(1 << bit % 8);
            assert_true(same_brief(one, other, size));
        }
    }
}

/* Two words that differ in the same bits do not make up for each other. */
static void bytes_must_differ_by_any_two_bits(void **state)
{
    struct copies c;

    (void)state;
    kit_seed();
    for (size_t size = 1; size <= KP__BRIEF; size++) {
        fill(&c, size);
        for (size_t i = 0; i < 8 * size; i++) {
            for (size_t k = 0; k < i; k++) {
                c.bytes[1][1 + i / 8] ^= (unsigned char)(1 << i % 8);
                c.bytes[1][1 + k / 8] ^= (unsigned char)(1 << k % 8);
                assert_false(same_brief(c.bytes[0], c.bytes[1] + 1, size));
                c.bytes[1][1 + i / 8] ^= (unsigned char)(1 << i % 8);
                c.bytes[1][1 + k / 8] ^= (unsigned char)(1 << k % 8);
            }
        }
    }
}

static void the_hash_must_be_the_same_wherever_the_bytes_lie(void **state)
{
    struct copies c;

    (void)state;
    kit_seed();
    for (size_t size = 0; size <= LONGEST; size++) {
        uint64_t seed = kit_random();
        fill(&c, size);
        for (size_t a = 1; a < AROUND; a++)
            assert_true(kp__quick_hash(seed, c.bytes[0], size) ==
                        kp__quick_hash(seed, c.bytes[a] + a, size));
    }
    assert_true(kp__quick_hash(5, NULL, 0) == kp__quick_hash(5, "x", 0));
}

static void the_hash_must_change_with_any_bit_the_length_and_the_seed(void **state)
{
    struct copies c;

    (void)state;
    kit_seed();
    for (size_t size = 1; size <= LONGEST; size++) {
        uint64_t seed = kit_random(), hash;
        fill(&c, size);
        unsigned char *bytes = c.bytes[3] + 3;
        hash = kp__quick_hash(seed, bytes, size);
        assert_false(kp__quick_hash(seed, bytes, size - 1) == hash);
        for (int bit = 0; bit < 64; bit++)
            assert_false(kp__quick_hash(seed ^ UINT64_C(1) << bit, bytes, size) == hash);
        for (size_t bit = 0; bit < 8 * size; bit++) {
            bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
            assert_false(kp__quick_hash(seed, bytes, size) == hash);
            bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        }
    }
}

static void zeros_of_different_lengths_must_have_different_hashes(void **state)
{
    static const unsigned char zeros[LONGEST];
    uint64_t seen[LONGEST + 1];

    (void)state;
    kit_seed();
    uint64_t seed = kit_random();
    for (size_t size = 0; size <= LONGEST; size++) {
        seen[size] = kp__quick_hash(seed, zeros, size);
        for (size_t i = 0; i < size; i++) assert_false(seen[i] == seen[size]);
    }
}

/* How unevenly do these hashes fall into 2^8 places by the 8 bits from `at` on? Chi squared over
 * its degrees of freedom: about 1 for random numbers, up to 1.6 with 255 degrees; 256 if one bit
 * never changes. Consecutive numbers are not random: with some seeds some of their order is
 * left. */
static double unevenness(const uint64_t *hashes, size_t n, int at)
{
    double expected = (double)n / 256, sum = 0;
    uint32_t count[256] = { 0 };

    for (size_t i = 0; i < n; i++) count[hashes[i] >> at & 255]++;
    for (int i = 0; i < 256; i++)
        sum += ((double)count[i] - expected) * ((double)count[i] - expected) / expected;
    return sum / 255;
}

/* Guides of up to 8,000 lines go by the lowest 16 bits, and all by the lower half; the upper one
 * tells keys from each other. */
static void assert_spread(const uint64_t *hashes, size_t n)
{
    for (int at = 0; at < 16; at += 8) assert_true(unevenness(hashes, n, at) < 5);
    for (int at = 16; at < 32; at += 8) assert_true(unevenness(hashes, n, at) < 200);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void keys_that_are_counted_up_must_be_spread_by_the_lower_bits_of_the_hash(void **state)
{
    static const char *const forms[] = { "%u", "k%u", "key-%06u", "host-%05u.example.org:5432",
                                         "a key of more than sixteen bytes %u" };
    static uint64_t hashes[1 << 16];
    char text[64];

    (void)state;
    kit_seed();
    for (size_t f = 0; f < sizeof forms / sizeof forms[0]; f++) {
        uint64_t seed = kit_random();
        for (unsigned i = 0; i < 1 << 16; i++) {
            int size = snprintf(text, sizeof text, forms[f], i);
            hashes[i] = kp__quick_hash(seed, text, (size_t)size);
        }
        assert_spread(hashes, 1 << 16);
        qsort(hashes, 1 << 16, sizeof hashes[0], by_value);
        for (int i = 1; i < 1 << 16; i++) assert_false(hashes[i] == hashes[i - 1]);
    }
}

/* A number in either byte order, at the beginning or at the end of `size` bytes. */
static void lay_out(uint64_t number, bool upper_first, size_t size, unsigned char *bytes)
{
    memset(bytes, 0, size);
    for (size_t i = 0; i < size && i < sizeof number; i++)
        bytes[upper_first ? size - 1 - i : i] = (unsigned char)(number >> 8 * i);
}

static void numbers_that_are_counted_up_must_be_spread_by_the_lower_bits_of_the_hash(void **state)
{
    static uint64_t hashes[1 << 16];
    unsigned char bytes[LONGEST];

    (void)state;
    kit_seed();
    for (size_t size = 4; size <= 20; size += 4) {
        for (int way = 0; way < 8; way++) {
            uint64_t seed = kit_random();
            for (uint64_t i = 0; i < 1 << 16; i++) {
                lay_out(i << way / 2 * 4, way % 2, size, bytes);
                hashes[i] = kp__quick_hash(seed, bytes, size);
            }
            assert_spread(hashes, 1 << 16);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_bytes_must_be_the_same_wherever_they_lie),
        cmocka_unit_test(bytes_must_differ_by_any_bit),
        cmocka_unit_test(bytes_must_differ_by_any_two_bits),
        cmocka_unit_test(the_hash_must_be_the_same_wherever_the_bytes_lie),
        cmocka_unit_test(the_hash_must_change_with_any_bit_the_length_and_the_seed),
        cmocka_unit_test(zeros_of_different_lengths_must_have_different_hashes),
        cmocka_unit_test(keys_that_are_counted_up_must_be_spread_by_the_lower_bits_of_the_hash),
        cmocka_unit_test(numbers_that_are_counted_up_must_be_spread_by_the_lower_bits_of_the_hash),
    };

    return cmocka_run_group_tests_name("base/mix", tests, NULL, NULL);
}
