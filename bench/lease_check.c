/* SPDX-License-Identifier: MIT
 *
 * What it costs that a lease is a number. A lease that held a pointer could not be checked after
 * its slot or pool was freed. So it holds a pool's number, a slot's index and a generation, which
 * are looked up and bounds-checked (L10). The first table has the check alone, by pointer and by
 * index, with few slots (all in the cache) and with many. The second has it as part of get and
 * release, and compares ways to pass a get's ask. Each line is the best of many batches.
 *
 * Usage: lease_check [seconds for each line, 0.3]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "keyedpool.h"

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static double seconds = 0.3;
static volatile uint64_t sink;          /* so that the compiler removes nothing */

/* ---- the check alone: the same look-up that the library does, in miniature ---- */

enum { FIRST = 64, CHUNKS = 26, LOOKS = 65536 };

struct slot {                           /* one cache line; a real slot has several */
    uint64_t generation;
    void    *resource;
    uint64_t rest[6];
};

struct pool {
    uint64_t     serial;
    uint32_t     made;
    struct slot *chunk[CHUNKS];         /* chunk k has FIRST << k slots: they never move */
};

static struct pool *pools[4];           /* by number */
static uint32_t     pool_count = 4;

struct number { uint32_t pool, slot; uint64_t serial, generation; struct slot *pointer; };

static struct slot *slot_at(const struct pool *p, uint32_t index)
{
    unsigned k = 31u - (unsigned)__builtin_clz(index / FIRST + 1);

    return index < p->made ? &p->chunk[k][index - FIRST * ((1u << k) - 1)] : NULL;
}

__attribute__((noinline)) static bool check_pointer(const struct number *n)
{
    return n->pointer->generation == n->generation;
}

__attribute__((noinline)) static bool check_index(const struct number *n)
{
    const struct pool *p = n->pool < pool_count ? pools[n->pool] : NULL;
    const struct slot *s;

    if (!p || p->serial != n->serial)
        return false;
    s = slot_at(p, n->slot);
    return s && s->generation == n->generation;
}

static void make_pool(uint32_t slots)
{
    struct pool *p = calloc(1, sizeof *p);

    if (!p)
        exit(1);
    p->serial = 7;
    p->made = slots;
    for (uint32_t k = 0, have = 0; have < slots; have += (uint32_t)FIRST << k, k++) {
        p->chunk[k] = calloc((size_t)FIRST << k, sizeof *p->chunk[k]);
        if (!p->chunk[k])
            exit(1);
    }
    for (uint32_t i = 0; i < slots; i++)
        slot_at(p, i)->generation = i * 3 + 1;
    pools[2] = p;
}

static void free_pool(void)
{
    for (uint32_t k = 0; k < CHUNKS; k++)
        free(pools[2]->chunk[k]);
    free(pools[2]);
}

static double time_check(bool (*check)(const struct number *), const struct number *numbers)
{
    uint64_t end = now_ns() + (uint64_t)(seconds * 1e9), now, best = UINT64_MAX;

    do {
        uint64_t before = now_ns(), ok = 0;

        for (uint32_t i = 0; i < LOOKS; i++)
            ok += check(&numbers[i]);
        now = now_ns();
        sink = ok;
        if (ok != LOOKS)
            exit(1);
        if (now - before < best)
            best = now - before;
    } while (now < end);
    return (double)best / (double)LOOKS;
}

static void check_alone(uint32_t slots)
{
    static struct number numbers[LOOKS];
    uint64_t             random = 42;
    double               pointer, index;

    make_pool(slots);
    for (uint32_t i = 0; i < LOOKS; i++) {
        struct slot *s;
        uint32_t     at;

        random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        at = (uint32_t)(random >> 33) % slots;
        s = slot_at(pools[2], at);
        numbers[i] = (struct number){ 2, at, 7, s->generation, s };
    }
    pointer = time_check(check_pointer, numbers);
    index = time_check(check_index, numbers);
    printf("%10" PRIu32 " %12.2f ns %12.2f ns %12.2f ns\n", slots, pointer, index, index - pointer);
    free_pool();
}

/* ---- where it is paid ---- */

static int create(kp_job *job, void **out)
{
    static char thing;

    (void)job;
    *out = &thing;
    return 0;
}

static int destroy(kp_job *job, void *resource)
{
    return (void)job, (void)resource, 0;
}

static void pair_without_ask(kp_pool *p, kp_key key)
{
    kp_lease lease;

    if (kp_get(p, key, NULL, &lease) != 0)
        exit(1);
    kp_release(&lease);
}

static void pair_with_literal(kp_pool *p, kp_key key)
{
    kp_lease lease;

    if (kp_get(p, key, KP_IN_S(5), &lease) != 0)
        exit(1);
    kp_release(&lease);
}

static void pair_with_static(kp_pool *p, kp_key key)
{
    static const kp_ask ask = { .within_ms = KP_SECONDS(5) };
    kp_lease            lease;

    if (kp_get(p, key, &ask, &lease) != 0)
        exit(1);
    kp_release(&lease);
}

static kp_lease held;

static void read_lease(kp_pool *p, kp_key key)
{
    kp_lease_about about;

    (void)p, (void)key;
    sink = kp_lease_read(&held, &about);
}

static void time_calls(const char *name, void (*call)(kp_pool *, kp_key), kp_pool *p, kp_key key)
{
    enum { BATCH = 256 };
    uint64_t end = now_ns() + (uint64_t)(seconds * 1e9), now, best = UINT64_MAX;

    do {
        uint64_t before = now_ns();

        for (int i = 0; i < BATCH; i++)
            call(p, key);
        now = now_ns();
        if (now - before < best)
            best = now - before;
    } while (now < end);
    printf("%-44s %8.1f ns\n", name, (double)best / (double)BATCH);
}

static void calls(void)
{
    kp_options options = { .driver = { .create = create, .destroy = destroy } };
    kp_key     key = kp_str("key"), pinned;
    kp_pool   *p;

    if (kp_pool_open(&options, &p) != 0 || kp_pin(p, key, &pinned) != 0)
        exit(1);
    time_calls("get, release: ask NULL", pair_without_ask, p, key);
    time_calls("get, release: ask a literal (KP_IN_S)", pair_with_literal, p, key);
    time_calls("get, release: ask a static const", pair_with_static, p, key);
    time_calls("get, release: ask NULL, a pinned key", pair_without_ask, p, pinned);
    if (kp_get(p, key, NULL, &held) != 0)
        exit(1);
    time_calls("kp_lease_read", read_lease, p, key);
    kp_release(&held);
    kp_unpin(p, &pinned);
    kp_pool_close(p, KP_CLOSE_WAIT, 0);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        seconds = strtod(argv[1], NULL);
    if (seconds <= 0) {
        fprintf(stderr, "usage: lease_check [seconds for each line]\n");
        return 2;
    }
    printf("%10s %15s %15s %15s\n", "slots", "by pointer", "by index", "the index costs");
    check_alone(8);
    check_alone(1000);
    check_alone(100000);
    check_alone(1000000);
    printf("\n");
    calls();
    return 0;
}
