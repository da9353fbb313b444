/* SPDX-License-Identifier: MIT
 *
 * A quick hash of bytes, for guesses: two words are multiplied and the halves of the product folded
 * together, as in wyhash and others (W. Yi, "Modern non-cryptographic hash function and
 * pseudorandom number generator", 2019). Not for tables that an attacker may fill; siphash.h is.
 */
#ifndef KP__BASE_MIX_H
#define KP__BASE_MIX_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t kp__mix(uint64_t a, uint64_t b)
{
#ifdef __SIZEOF_INT128__
    __extension__ typedef unsigned __int128 wide;

    /* in halves: a whole product, which is never needed, would take registers */
    return a * b ^ (uint64_t)((wide)a * b >> 64);
#else
    uint64_t low = UINT32_MAX, al = a & low, ah = a >> 32, bl = b & low, bh = b >> 32;
    uint64_t first = al * bl, second = ah * bl + (first >> 32), third = al * bh + (second & low);

    return (third << 32 | (first & low)) ^ (ah * bh + (second >> 32) + (third >> 32));
#endif
}

static inline uint64_t kp__load8(const unsigned char *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof word);
    return word;
}

/* Up to eight bytes as a number; bytes outside are not read. */
static inline uint64_t kp__load_few(const unsigned char *p, size_t size)
{
    uint32_t low, high;

    if (size >= 4) {
        memcpy(&low, p, 4);
        memcpy(&high, p + size - 4, 4);
        return (uint64_t)high << 32 | low;
    }
    return size ? (uint64_t)p[0] << 16 | (uint64_t)p[size / 2] << 8 | p[size - 1] : 0;
}

/* Two words and a length to a number whose lower bits depend on all of theirs. If the words are
 * consecutive numbers, folding leaves their differences in few bits; the multiplication gathers
 * these in the uppermost byte, which the swap makes the lowest. */
static inline uint64_t kp__blend(uint64_t seed, uint64_t first, uint64_t last, size_t size)
{
    uint64_t h = kp__mix(first + seed, last + (size - seed));

    return __builtin_bswap64(h * UINT64_C(0x9e3779b97f4a7c15));
}

/* Up to 16 bytes as two numbers. Of bytes of one length, only equal ones have the same numbers. */
enum { KP__BRIEF = 16 };
struct kp__brief {
    uint64_t first, last;
};

static inline struct kp__brief kp__brief_of(const void *data, size_t size)
{
    const unsigned char *p = data;

    if (size <= 8) return (struct kp__brief){ kp__load_few(p, size), 0 };
    return (struct kp__brief){ kp__load8(p), kp__load8(p + size - 8) };
}

static inline uint64_t kp__quick_hash(uint64_t seed, const void *data, size_t size)
{
    const unsigned char *p = data;
    size_t left = size;
    uint64_t h = seed;

    if (size <= KP__BRIEF) {
        struct kp__brief brief = kp__brief_of(data, size);
        return kp__blend(seed, brief.first, brief.last, size);
    }
    for (; left > 16; p += 16, left -= 16)
        h = kp__mix(h ^ kp__load8(p), UINT64_C(0xe7037ed1a0b428db) ^ kp__load8(p + 8));
    /* the last sixteen, some of which may have been hashed already */
    p += left;
    return kp__blend(h, kp__load8(p - 16), kp__load8(p - 8), size);
}

#endif
