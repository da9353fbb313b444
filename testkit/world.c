/* SPDX-License-Identifier: MIT
 *
 * The world of a sim as a table of functions (kp_world): virtual time, repeatable random numbers,
 * parking, and memory that is counted, fails on demand, and is filled so that a read of what was
 * never written, or is free already, shows.
 */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

static uint64_t world_now(void *ctx)
{
    kp_sim *sim = ctx;

    kp__sim_enter(sim, "world.now_ns");

    uint64_t now = sim->now_ns;

    kp__sim_leave(sim);
    return now;
}

static uint64_t world_random(void *ctx)
{
    kp_sim *sim = ctx;

    kp__sim_enter(sim, "world.random");

    uint64_t number = kp__kit_random_next(&sim->random);

    kp__sim_leave(sim);
    return number;
}

/* ---- parking ---- */

static void world_park(uint32_t *word, uint32_t while_it_is, uint64_t until_ns, void *ctx)
{
    kp_sim *sim = ctx;

    kp__sim_enter(sim, "world.park");
    if (__atomic_load_n(word, __ATOMIC_ACQUIRE) == while_it_is && until_ns > sim->now_ns) {
        kp__sim_wait(sim, KP__WAIT_PARK, word, until_ns, 0);
    }
    kp__sim_leave(sim);
}

static void world_wake(uint32_t *word, int how_many, void *ctx)
{
    kp_sim *sim = ctx;

    kp__sim_enter(sim, "world.wake");
    kp__sim_wake(sim, word, how_many);
    if (sim->shuffle) {
        kp__sim_yield(sim);
    }
    kp__sim_leave(sim);
}

static void world_upkeep(kp_pool *pool, uint64_t due_ns, void *ctx)
{
    kp_sim *sim = ctx;

    kp__sim_enter(sim, "world.upkeep");
    kp__sim_upkeep(sim, pool, due_ns);
    kp__sim_leave(sim);
}

/* ---- memory ---- */

#define NEVER_WRITTEN 0xa5
#define FREE_ALREADY  0xdd

static bool must_fail(kp_sim *sim)
{
    if (sim->fail_in > 0 && --sim->fail_in == 0) {
        sim->failing = sim->fail_after;
        return true;
    }
    return sim->failing;
}

/* Exactly as large as asked for, so that a sanitizer sees an access to the first byte after it. */
static void *new_block(kp_sim *sim, size_t size, size_t align)
{
    void *block = NULL;

    if (align < sizeof(void *)) {
        align = sizeof(void *);
    }
    if (posix_memalign(&block, align, size ? size : 1) != 0) {
        return NULL;
    }
    if (!kp__kit_map_put(&sim->blocks, block, size)) {
        free(block);
        return NULL;
    }
    memset(block, NEVER_WRITTEN, size);
    return block;
}

static void *world_alloc(size_t size, size_t align, void *ctx)
{
    kp_sim *sim = ctx;
    void *block;

    kp__sim_enter(sim, "world.alloc");
    if (align == 0 || (align & (align - 1)) != 0) {
        kp__kit_die("world.alloc was asked for an alignment of %zu: not a power of two", align);
    }
    block = must_fail(sim) ? NULL : new_block(sim, size, align);
    if (block) {
        sim->memory.blocks++;
        sim->memory.bytes += size;
        sim->memory.allocations++;
    } else {
        sim->memory.refused++;
    }
    kp__sim_leave(sim);
    return block;
}

static void world_free(void *block, size_t size, void *ctx)
{
    kp_sim *sim = ctx;
    uint64_t allocated;

    kp__sim_enter(sim, "world.free");
    if (block) {
        if (!kp__kit_map_take(&sim->blocks, block, &allocated)) {
            kp__kit_die("world.free was given %p (%zu bytes), which was freed before or never "
                        "allocated here", block, size);
        }
        if (allocated != size) {
            kp__kit_die("world.free was told that %p has %zu bytes, but it was allocated with %zu",
                        block, size, (size_t)allocated);
        }
        sim->memory.blocks--;
        sim->memory.bytes -= size;
        memset(block, FREE_ALREADY, size);
        free(block);
    }
    kp__sim_leave(sim);
}

void kp_sim_fail_alloc(kp_sim *sim, int64_t nth, bool and_all_after)
{
    kp__sim_enter(sim, "kp_sim_fail_alloc");
    if (nth < 0) {
        kp__kit_die("kp_sim_fail_alloc was given %lld: the next allocation is 1, none is 0",
                    (long long)nth);
    }
    sim->fail_in = nth;
    sim->fail_after = and_all_after;
    sim->failing = false;
    kp__sim_leave(sim);
}

kp_sim_memory kp_sim_memory_read(kp_sim *sim)
{
    kp__kit_need(sim, "kp_sim_memory_read", "a sim");
    pthread_mutex_lock(&sim->lock);

    kp_sim_memory memory = sim->memory;

    pthread_mutex_unlock(&sim->lock);
    return memory;
}

/* ---- the table ---- */

void kp__sim_fill_world(kp_sim *sim)
{
    sim->world = (kp_world){
        .now_ns = world_now,
        .alloc = world_alloc,
        .free = world_free,
        .random = world_random,
        .park = world_park,
        .wake = world_wake,
        .upkeep = world_upkeep,
        .ctx = sim,
    };
}
