/* SPDX-License-Identifier: MIT
 *
 * SipHash with one round per word and three at the end, after J.-P. Aumasson and D. J. Bernstein,
 * "SipHash: a fast short-input PRF", INDOCRYPT 2012, https://www.aumasson.jp/siphash/siphash.pdf.
 * The variant 1-3 is the one that hash tables use: the reference (2-4) is a MAC, and a table needs
 * less.
 */
#include "base/siphash.h"

struct sip {
    uint64_t v0, v1, v2, v3;
};

static uint64_t sip_rotl(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = sip_rotl(s->v1, 13) ^ s->v0;
    s->v3 = sip_rotl(s->v3, 16) ^ s->v2;
    s->v0 = sip_rotl(s->v0, 32) + s->v3;
    s->v2 += s->v1;
    s->v3 = sip_rotl(s->v3, 21) ^ s->v0;
    s->v1 = sip_rotl(s->v1, 17) ^ s->v2;
    s->v2 = sip_rotl(s->v2, 32);
}

static void sip_word(struct sip *s, uint64_t word)
{
    s->v3 ^= word;
    sip_round(s);
    s->v0 ^= word;
}

/* `size` <= 8 bytes as a little-endian number, whatever the machine; compilers make one load of a
 * whole word. */
static uint64_t sip_load(const unsigned char *p, size_t size)
{
    uint64_t word = 0;

    for (size_t i = 0; i < size; i++)
        word |= (uint64_t)p[i] << (8 * i);
    return word;
}

uint64_t kp__siphash13(const uint64_t key[2], const void *data, size_t size)
{
    const unsigned char *p = data;
    size_t left = size;
    struct sip s = {                    /* "somepseudorandomlygeneratedbytes" */
        key[0] ^ 0x736f6d6570736575u,
        key[1] ^ 0x646f72616e646f6du,
        key[0] ^ 0x6c7967656e657261u,
        key[1] ^ 0x7465646279746573u,
    };

    for (; left >= 8; left -= 8, p += 8)
        sip_word(&s, sip_load(p, 8));
    sip_word(&s, sip_load(p, left) | (uint64_t)size << 56);
    s.v2 ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
