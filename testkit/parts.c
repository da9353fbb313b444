/* SPDX-License-Identifier: MIT
 *
 * Small parts that the kit's files share; see parts.h.
 */
#include "parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

_Noreturn void kp__kit_die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fflush(stdout);
    fputs("keyedpool-testkit: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    fflush(stderr);
    va_end(args);
    abort();
}

void kp__kit_need(const void *given, const char *function, const char *what)
{
    if (!given) {
        kp__kit_die("%s needs %s, but was given NULL", function, what);
    }
}

/* ---- random numbers ---- */

static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

void kp__kit_random_seed(kp__kit_random *random, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        random->state[i] = splitmix64(&seed);
    }
}

static uint64_t rotate_left(uint64_t x, int by)
{
    return (x << by) | (x >> (64 - by));
}

uint64_t kp__kit_random_next(kp__kit_random *random)
{
    uint64_t *s = random->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

/* ---- the map: open addressing, linear probing, no tombstones ---- */

static size_t home_of(const kp__kit_map *map, const void *address)
{
    uint64_t x = (uint64_t)(uintptr_t)address;

    x = (x ^ (x >> 32)) * UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(x >> 20) & (map->size - 1);
}

/* Where the address is, or the free place where it would go. The map is never full. */
static size_t place_of(const kp__kit_map *map, const void *address)
{
    size_t i = home_of(map, address);

    while (map->pairs[i].address && map->pairs[i].address != address) {
        i = (i + 1) & (map->size - 1);
    }
    return i;
}

static bool grow(kp__kit_map *map)
{
    kp__kit_map larger = { NULL, map->size ? map->size * 2 : 64, map->used };

    larger.pairs = calloc(larger.size, sizeof *larger.pairs);
    if (!larger.pairs) {
        return false;
    }
    for (size_t i = 0; i < map->size; i++) {
        if (map->pairs[i].address) {
            larger.pairs[place_of(&larger, map->pairs[i].address)] = map->pairs[i];
        }
    }
    free(map->pairs);
    *map = larger;
    return true;
}

bool kp__kit_map_put(kp__kit_map *map, const void *address, uint64_t number)
{
    if (map->used * 2 >= map->size && !grow(map)) {
        return false;
    }

    kp__kit_pair *pair = &map->pairs[place_of(map, address)];

    if (!pair->address) {
        map->used++;
    }
    pair->address = address;
    pair->number = number;
    return true;
}

bool kp__kit_map_has(const kp__kit_map *map, const void *address)
{
    return address && map->size && map->pairs[place_of(map, address)].address == address;
}

bool kp__kit_map_take(kp__kit_map *map, const void *address, uint64_t *number)
{
    if (!kp__kit_map_has(map, address)) {
        return false;
    }

    size_t mask = map->size - 1;
    size_t hole = place_of(map, address);

    *number = map->pairs[hole].number;
    map->used--;
    /* Close the hole: a pair that follows and may stand there moves up, so that no search stops
     * too early. */
    for (size_t i = (hole + 1) & mask; map->pairs[i].address; i = (i + 1) & mask) {
        size_t home = home_of(map, map->pairs[i].address);

        if (((i - home) & mask) >= ((i - hole) & mask)) {
            map->pairs[hole] = map->pairs[i];
            hole = i;
        }
    }
    map->pairs[hole].address = NULL;
    return true;
}

void kp__kit_map_drop(kp__kit_map *map)
{
    free(map->pairs);
    *map = (kp__kit_map){ 0 };
}
