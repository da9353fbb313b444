/* SPDX-License-Identifier: MIT
 *
 * Small parts that the kit's files share: ending the process with a sentence, repeatable random
 * numbers, and a map from addresses to numbers. None of them locks; their owner does.
 */
#ifndef KEYEDPOOL_KIT_PARTS_H
#define KEYEDPOOL_KIT_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Print one line to standard error and abort: a test that misuses the kit proves nothing. */
_Noreturn void kp__kit_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Was this function given what it needs? Else the same. */
void kp__kit_need(const void *given, const char *function, const char *what);

/* xoshiro256**, seeded through splitmix64: the same seed, the same numbers, on every machine. */
typedef struct kp__kit_random {
    uint64_t state[4];
} kp__kit_random;

void kp__kit_random_seed(kp__kit_random *random, uint64_t seed);
uint64_t kp__kit_random_next(kp__kit_random *random);

/* Addresses that are known, each with a number. {0} is an empty map. NULL is no address. */
typedef struct kp__kit_pair {
    const void *address;                /* NULL: a free place */
    uint64_t    number;
} kp__kit_pair;

typedef struct kp__kit_map {
    kp__kit_pair *pairs;
    size_t        size, used;           /* size: a power of two, or 0 */
} kp__kit_map;

/* put: false if there is no memory. take: false if the address is not known. */
bool kp__kit_map_put(kp__kit_map *map, const void *address, uint64_t number);
bool kp__kit_map_has(const kp__kit_map *map, const void *address);
bool kp__kit_map_take(kp__kit_map *map, const void *address, uint64_t *number);
void kp__kit_map_drop(kp__kit_map *map);

#endif
