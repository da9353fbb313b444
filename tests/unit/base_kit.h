/* SPDX-License-Identifier: MIT
 *
 * What the tests of src/base share: the cmocka headers, and a repeatable source of random numbers
 * whose seed is printed (and taken from the environment variable KP_SEED, to see a failure again).
 */
#ifndef KP_TESTS_BASE_KIT_H
#define KP_TESTS_BASE_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sys/resource.h>

#include <cmocka.h>

static uint64_t kit_state;

/* Call it first in every test that uses random numbers: then a test that runs alone gets the same
 * numbers as among the others. */
static inline void kit_seed(void)
{
    static uint64_t seed;
    const char *given = getenv("KP_SEED");

    if (seed == 0) {
        seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) * 1000003u;
        printf("KP_SEED=%llu\n", (unsigned long long)seed);
        fflush(stdout);
    }
    kit_state = seed;
}

/* splitmix64 */
static inline uint64_t kit_random(void)
{
    uint64_t z = kit_state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* One of 0 .. n - 1. */
static inline unsigned kit_below(unsigned n)
{
    return (unsigned)(kit_random() % n);
}

/* From here on, large allocations fail, until kit_memory_again. Tests that need this are skipped
 * where it is not possible: under sanitizers, which need much memory themselves, and where limits
 * have no effect (on an emulated processor). */
static struct rlimit kit_memory;

static inline void kit_memory_again(void)
{
    assert_int_equal(setrlimit(RLIMIT_AS, &kit_memory), 0);
}

static inline void kit_memory_short(void)
{
    struct rlimit none = { 0 };
    void *p = NULL;

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
    skip();
#elif defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    skip();
#endif
#endif
    assert_int_equal(getrlimit(RLIMIT_AS, &kit_memory), 0);
    none = (struct rlimit){ .rlim_cur = 1 << 20, .rlim_max = kit_memory.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_AS, &none), 0);
    if (posix_memalign(&p, 64, 128 << 20) == 0) {
        free(p);
        kit_memory_again();
        skip();
    }
}

#endif
