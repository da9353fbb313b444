/* SPDX-License-Identifier: MIT
 *
 * Tests of base/siphash.h: the values of the authors' reference program built with cROUNDS=1 and
 * dROUNDS=3 (https://github.com/veorq/SipHash), and a second implementation written straight from
 * the paper.
 */
#include "base_kit.h"

#include "base/siphash.h"

/* Key 00 01 .. 0f, message 00 01 .. of as many bytes as the place in this table. */
static const uint64_t reference[] = {
    0xabac0158050fc4dc, 0xc9f49bf37d57ca93, 0x82cb9b024dc7d44d, 0x8bf80ab8e7ddf7fb,
    0xcf75576088d38328, 0xdef9d52f49533b67, 0xc50d2b50c59f22a7, 0xd3927d989bb11140,
    0x369095118d299a8e, 0x25a48eb36c063de4, 0x79de85ee92ff097f, 0x70c118c1f94dc352,
    0x78a384b157b4d9a2, 0x306f760c1229ffa7, 0x605aa111c0f95d34, 0xd320d86d2a519956,
    0xcc4fdd1a7d908b66, 0x9cf2689063dbd80c, 0x8ffc389cb473e63e, 0xf21f9de58d297d1c,
    0xc0dc2f46a6cce040, 0xb992abfe2b45f844, 0x7ffe7b9ba320872e, 0x525a0e7fdae6c123,
};

static const uint64_t reference_key[2] = { 0x0706050403020100, 0x0f0e0d0c0b0a0908 };

static void hashes_must_equal_those_of_the_reference(void **state)
{
    unsigned char message[64];
    const uint64_t zero[2] = { 0, 0 };

    (void)state;
    for (unsigned i = 0; i < sizeof message; i++)
        message[i] = (unsigned char)i;
    for (size_t size = 0; size < sizeof reference / sizeof *reference; size++)
        assert_true(kp__siphash13(reference_key, message, size) == reference[size]);
    assert_true(kp__siphash13(reference_key, message, 60) == 0xf6f4e6bcf7a644ee);
    assert_true(kp__siphash13(zero, message, 0) == 0xd1fba762150c532c);
    assert_true(kp__siphash13(zero, message, 33) == 0x7fb71d24dfa4c9f6);
}

static void an_empty_message_may_have_no_address(void **state)
{
    (void)state;
    assert_true(kp__siphash13(reference_key, NULL, 0) == reference[0]);
}

/* ---- the paper, section 2.1 to 2.4, step by step --------------------------------------------- */

static void paper_add_rotate(uint64_t *v, int a, int b, int bits, int bits_a)
{
    v[a] += v[b];
    v[b] = v[b] << bits | v[b] >> (64 - bits);
    v[b] ^= v[a];
    if (bits_a != 0)
        v[a] = v[a] << bits_a | v[a] >> (64 - bits_a);
}

static void paper_rounds(uint64_t v[4], int times)
{
    while (times-- > 0) {
        paper_add_rotate(v, 0, 1, 13, 32);
        paper_add_rotate(v, 2, 3, 16, 0);
        paper_add_rotate(v, 0, 3, 21, 0);
        paper_add_rotate(v, 2, 1, 17, 32);
    }
}

static uint64_t paper_hash(const uint64_t key[2], const unsigned char *message, size_t size)
{
    static const char name[33] = "somepseudorandomlygeneratedbytes";
    uint64_t v[4] = { key[0], key[1], key[0], key[1] };
    unsigned char padded[1024 + 16] = { 0 };
    size_t words = size / 8 + 1;

    for (unsigned i = 0; i < 32; i++)           /* the name is read as big-endian words */
        v[i / 8] ^= (uint64_t)(unsigned char)name[i] << (56 - 8 * (i % 8));
    memcpy(padded, message, size);
    padded[8 * words - 1] = (unsigned char)size;
    for (size_t w = 0; w < words; w++) {
        uint64_t m = 0;

        for (size_t i = 8; i-- > 0;)
            m = m * 256 + padded[8 * w + i];
        v[3] ^= m;
        paper_rounds(v, 1);
        v[0] ^= m;
    }
    v[2] ^= 0xff;
    paper_rounds(v, 3);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static void hashes_must_equal_those_of_the_paper_at_any_length_and_address(void **state)
{
    static unsigned char message[1024 + 8];

    (void)state;
    kit_seed();
    for (size_t i = 0; i < sizeof message; i++)
        message[i] = (unsigned char)kit_random();
    for (size_t size = 0; size <= 1024; size++) {       /* beyond 255 the length byte wraps */
        const uint64_t key[2] = { kit_random(), kit_random() };
        const unsigned char *p = message + kit_below(8);

        assert_true(kp__siphash13(key, p, size) == paper_hash(key, p, size));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_must_equal_those_of_the_reference),
        cmocka_unit_test(an_empty_message_may_have_no_address),
        cmocka_unit_test(hashes_must_equal_those_of_the_paper_at_any_length_and_address),
    };

    return cmocka_run_group_tests_name("base/siphash", tests, NULL, NULL);
}
