/* SPDX-License-Identifier: MIT
 *
 * Tests of the test kit itself: the world of a sim (L12). Its clock, its numbers, parking, memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dies.h"
#include "keyedpool_test.h"

#include <pthread.h>
#include <stdlib.h>

#define START_NS UINT64_C(1000000000)
#define MS UINT64_C(1000000)

static kp_sim *sim;
static const kp_world *world;
static uint32_t word;
static int woken[8], woken_count;

static void open_sim(uint64_t seed)
{
    word = 0;
    woken_count = 0;
    assert_int_equal(kp_sim_open(seed, &sim), 0);
    world = kp_sim_world(sim);
}

static void close_sim(void)
{
    assert_int_equal(kp_sim_close(sim), 0);
}

static void *take(size_t size, size_t align)
{
    return world->alloc(size, align, world->ctx);
}

static void drop(void *block, size_t size)
{
    world->free(block, size, world->ctx);
}

/* ---- clock and numbers ---- */

static void the_clock_must_begin_at_one_second_and_follow_virtual_time(void **state)
{
    (void)state;
    open_sim(1);
    assert_int_equal(world->now_ns(world->ctx), START_NS);
    kp_sim_pass_ms(sim, 7);
    assert_int_equal(world->now_ns(world->ctx), START_NS + 7 * MS);
    close_sim();
}

static void draw(uint64_t seed, bool shuffle, uint64_t numbers[4])
{
    open_sim(seed);
    kp_sim_shuffle(sim, shuffle);
    for (int i = 0; i < 4; i++) {
        world->wake(&word, 1, world->ctx);
        numbers[i] = world->random(world->ctx);
    }
    close_sim();
}

static void the_same_seed_must_draw_the_same_numbers_shuffled_or_not(void **state)
{
    uint64_t once[4], again[4], other[4];

    (void)state;
    draw(42, false, once);
    draw(42, true, again);
    draw(43, false, other);
    assert_memory_equal(once, again, sizeof once);
    assert_memory_not_equal(once, other, sizeof once);
}

/* ---- parking ---- */

static void park_once(void *which)
{
    world->park(&word, 0, UINT64_MAX, world->ctx);
    woken[woken_count++] = (int)(intptr_t)which;
}

static void start_parked(int how_many)
{
    for (int i = 1; i <= how_many; i++) {
        assert_int_equal(kp_sim_spawn(sim, park_once, (void *)(intptr_t)i), i);
    }
    assert_int_equal(kp_sim_settle(sim), how_many);
}

static void park_must_return_at_once_if_the_word_has_changed(void **state)
{
    (void)state;
    open_sim(1);
    word = 5;
    world->park(&word, 4, UINT64_MAX, world->ctx);
    assert_int_equal(kp_sim_now_ms(sim), 0);
    close_sim();
}

static void park_must_return_when_its_time_has_come(void **state)
{
    (void)state;
    open_sim(1);
    world->park(&word, 0, START_NS + 25 * MS, world->ctx);
    assert_int_equal(kp_sim_now_ms(sim), 25);
    close_sim();
}

static void park_must_not_give_way_if_its_time_has_come(void **state)
{
    (void)state;
    open_sim(1);
    word = 1;
    assert_int_equal(kp_sim_spawn(sim, park_once, NULL), 1);
    world->park(&word, 1, START_NS, world->ctx);
    world->park(&word, 1, 1, world->ctx);
    assert_int_equal(woken_count, 0);
    kp_sim_join(sim, 1);
    assert_int_equal(woken_count, 1);
    close_sim();
}

static void wake_must_wake_so_many_first_come_first_served(void **state)
{
    (void)state;
    open_sim(1);
    start_parked(4);
    world->wake(&word, 1, world->ctx);
    assert_int_equal(kp_sim_settle(sim), 3);
    assert_int_equal(woken[0], 1);
    world->wake(&word, 2, world->ctx);
    assert_int_equal(kp_sim_settle(sim), 1);
    assert_int_equal(woken[1], 2);
    assert_int_equal(woken[2], 3);
    world->wake(&word, INT32_MAX, world->ctx);
    kp_sim_join(sim, 0);
    assert_int_equal(woken[3], 4);
    close_sim();
}

static void wake_must_not_run_the_woken_before_the_caller_waits(void **state)
{
    (void)state;
    open_sim(1);
    start_parked(1);
    world->wake(&word, 1, world->ctx);
    assert_int_equal(woken_count, 0);
    kp_sim_join(sim, 1);
    assert_int_equal(woken_count, 1);
    close_sim();
}

static void wake_of_another_word_or_of_nobody_must_do_nothing(void **state)
{
    uint32_t other = 0;

    (void)state;
    open_sim(1);
    world->wake(&word, 1, world->ctx);          /* is not remembered */
    start_parked(1);
    world->wake(&other, 1, world->ctx);
    world->wake(&word, 0, world->ctx);
    assert_int_equal(kp_sim_settle(sim), 1);
    world->wake(&word, 1, world->ctx);
    close_sim();
}

/* ---- memory ---- */

static void memory_must_be_aligned_counted_and_never_zero(void **state)
{
    (void)state;
    open_sim(1);
    for (size_t align = 1; align <= 4096; align *= 2) {
        unsigned char *block = take(100, align);

        assert_non_null(block);
        assert_int_equal((uintptr_t)block % align, 0);
        for (int i = 0; i < 100; i++) {
            assert_int_not_equal(block[i], 0);
        }
        assert_int_equal(kp_sim_memory_read(sim).bytes, 100);
        assert_int_equal(kp_sim_memory_read(sim).blocks, 1);
        drop(block, 100);
    }
    assert_int_equal(kp_sim_memory_read(sim).bytes, 0);
    assert_int_equal(kp_sim_memory_read(sim).blocks, 0);
    assert_int_equal(kp_sim_memory_read(sim).allocations, 13);
    assert_int_equal(kp_sim_memory_read(sim).refused, 0);
    close_sim();
}

static void many_blocks_must_be_told_apart_in_any_order(void **state)
{
    enum { BLOCKS = 500 };
    static void *blocks[BLOCKS];

    (void)state;
    open_sim(1);
    for (int round = 0; round < 4; round++) {
        for (size_t i = 0; i < BLOCKS; i++) {
            blocks[i] = take(i, 8);
            assert_non_null(blocks[i]);
        }
        for (size_t i = 0; i < BLOCKS; i++) {           /* 7 and 500 have no common factor */
            size_t which = (i * 7 + (size_t)round) % BLOCKS;

            drop(blocks[which], which);
        }
        assert_int_equal(kp_sim_memory_read(sim).blocks, 0);
    }
    close_sim();
}

static void only_the_nth_allocation_must_fail(void **state)
{
    (void)state;
    open_sim(1);
    kp_sim_fail_alloc(sim, 2, false);

    void *first = take(8, 8), *second = take(8, 8), *third = take(8, 8);

    assert_non_null(first);
    assert_null(second);
    assert_non_null(third);
    assert_int_equal(kp_sim_memory_read(sim).refused, 1);
    drop(first, 8);
    drop(third, 8);
    close_sim();
}

static void all_allocations_after_the_nth_must_fail_until_told_otherwise(void **state)
{
    (void)state;
    open_sim(1);
    kp_sim_fail_alloc(sim, 1, true);
    for (int i = 0; i < 5; i++) {
        assert_null(take(8, 8));
    }
    assert_int_equal(kp_sim_memory_read(sim).refused, 5);
    kp_sim_fail_alloc(sim, 0, false);

    void *block = take(8, 8);

    assert_non_null(block);
    drop(block, 8);
    close_sim();
}

static void close_must_tell_how_many_blocks_were_left(void **state)
{
    static void *left[2];               /* reachable, so that only the sim complains */

    (void)state;
    open_sim(1);
    left[0] = take(8, 8);
    left[1] = take(80, 8);
    assert_int_equal(kp_sim_close(sim), 2);
    free(left[0]);                      /* the kit's blocks are malloc's */
    free(left[1]);
}

/* ---- what must not be done ---- */

static void free_twice(void)
{
    open_sim(1);

    void *block = take(32, 8);

    drop(block, 32);
    drop(block, 32);
}

static void free_with_another_size(void)
{
    open_sim(1);
    drop(take(32, 8), 31);
}

static void free_what_was_never_allocated(void)
{
    static int stranger;

    open_sim(1);
    drop(&stranger, sizeof stranger);
}

static void ask_for_an_odd_alignment(void)
{
    open_sim(1);
    (void)take(32, 24);
}

static void wrong_use_of_memory_must_be_told(void **state)
{
    (void)state;
    must_die(free_twice, "which was freed before");
    must_die(free_with_another_size, "has 31 bytes, but it was allocated with 32");
    must_die(free_what_was_never_allocated, "never allocated here");
    must_die(ask_for_an_odd_alignment, "alignment of 24");
}

static void *ask_the_time(void *arg)
{
    (void)world->now_ns(world->ctx);
    return arg;
}

static void ask_the_time_from_outside(void)
{
    pthread_t thread;

    open_sim(1);
    if (pthread_create(&thread, NULL, ask_the_time, NULL) == 0) {
        pthread_join(thread, NULL);
    }
}

static void a_thread_that_is_no_task_must_be_refused(void **state)
{
    (void)state;
    must_die(ask_the_time_from_outside, "world.now_ns was called by a thread that is not a task");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_clock_must_begin_at_one_second_and_follow_virtual_time),
        cmocka_unit_test(the_same_seed_must_draw_the_same_numbers_shuffled_or_not),
        cmocka_unit_test(park_must_return_at_once_if_the_word_has_changed),
        cmocka_unit_test(park_must_return_when_its_time_has_come),
        cmocka_unit_test(park_must_not_give_way_if_its_time_has_come),
        cmocka_unit_test(wake_must_wake_so_many_first_come_first_served),
        cmocka_unit_test(wake_must_not_run_the_woken_before_the_caller_waits),
        cmocka_unit_test(wake_of_another_word_or_of_nobody_must_do_nothing),
        cmocka_unit_test(memory_must_be_aligned_counted_and_never_zero),
        cmocka_unit_test(many_blocks_must_be_told_apart_in_any_order),
        cmocka_unit_test(only_the_nth_allocation_must_fail),
        cmocka_unit_test(all_allocations_after_the_nth_must_fail_until_told_otherwise),
        cmocka_unit_test(close_must_tell_how_many_blocks_were_left),
        cmocka_unit_test(wrong_use_of_memory_must_be_told),
        cmocka_unit_test(a_thread_that_is_no_task_must_be_refused),
    };

    return cmocka_run_group_tests_name("the world of the test kit", tests, NULL, NULL);
}
