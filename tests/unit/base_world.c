/* SPDX-License-Identifier: MIT
 *
 * Tests of base/world.h: the promises of kp__life, with the futex and with the parking table
 * (-DKP_NO_FUTEX=1). cmocka's assertions are for the main thread only.
 */
#include "base_kit.h"

#include "base/world.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>

/* ---- time, memory, randomness ---------------------------------------------------------------- */

static void the_clock_must_never_go_back_nor_show_zero(void **state)
{
    uint64_t last = 1;

    (void)state;
    for (int i = 0; i < 10000; i++) {
        uint64_t now = kp__now(&kp__life);

        assert_true(now >= last);
        last = now;
    }
}

static void allocated_memory_must_be_zero_and_aligned(void **state)
{
    (void)state;
    for (size_t align = 1; align <= 4096; align *= 2) {
        for (size_t size = 1; size <= 300; size += 13) {
            unsigned char *p = kp__alloc(&kp__life, size, align);

            assert_non_null(p);
            assert_int_equal((uintptr_t)p % align, 0);
            for (size_t i = 0; i < size; i++) {
                assert_int_equal(p[i], 0);
                p[i] = 0xff;            /* for the next one to find */
            }
            kp__free(&kp__life, p, size);
        }
    }
    kp__free(&kp__life, NULL, 0);
}

static void what_is_hollow_must_give_its_memory_back_and_touch_nothing_beside_it(void **state)
{
    enum { SIZE = 1 << 20, BESIDE = 5, SOME = 1000 };
    unsigned char *p = kp__alloc_raw(&kp__life, SIZE, 64, SIZE);
    size_t zeros = 0;

    (void)state;
    assert_non_null(p);
    memset(p, 7, SIZE);
    kp__hollow(&kp__life, p, SOME); /* no whole page */
    for (size_t i = 0; i < SIZE; i++) assert_int_equal(p[i], 7);
    errno = 77;
    kp__hollow(&kp__life, p + BESIDE, SIZE - 2 * BESIDE);
    assert_int_equal(errno, 77);
    for (size_t i = 0; i < SIZE; i++) {
        assert_true(p[i] == 0 || p[i] == 7);
        zeros += p[i] == 0;
    }
    assert_true(p[BESIDE - 1] == 7 && p[SIZE - BESIDE] == 7);
#if defined __linux__
    assert_true(zeros > SIZE / 2);
#endif
    memset(p, 8, SIZE); /* the addresses are there */
    kp__free(&kp__life, p, SIZE);
    kp__hollow(&(struct kp__world){ .now_ns = NULL }, NULL, SIZE);
}

static void *no_memory(size_t size, size_t align, void *ctx)
{
    (void)size;
    (void)align;
    (void)ctx;
    return NULL;
}

static void a_refused_allocation_must_be_null(void **state)
{
    struct kp__world w = kp__life;

    (void)state;
    w.alloc = no_memory;
    assert_null(kp__alloc(&w, 64, 8));
}

static void *draw_two(void *arg)
{
    uint64_t *drawn = arg;

    drawn[0] = kp__life.random(NULL);
    drawn[1] = kp__life.random(NULL);
    return NULL;
}

static void threads_must_not_draw_the_same_numbers(void **state)
{
    uint64_t mine[2], theirs[2];
    pthread_t thread;

    (void)state;
    draw_two(mine);
    assert_int_equal(pthread_create(&thread, NULL, draw_two, theirs), 0);
    pthread_join(thread, NULL);
    assert_true(mine[0] != mine[1] && theirs[0] != theirs[1]);
    assert_true(mine[0] != theirs[0] && mine[1] != theirs[1]);
}

static void every_bit_of_a_random_number_must_vary(void **state)
{
    uint64_t ones = 0, zeros = 0;

    (void)state;
    for (int i = 0; i < 128; i++) {     /* one bit stays the same once in 2^127 runs */
        uint64_t drawn = kp__life.random(NULL);

        ones |= drawn;
        zeros |= ~drawn;
    }
    assert_true(ones == UINT64_MAX);
    assert_true(zeros == UINT64_MAX);
}

/* ---- parking --------------------------------------------------------------------------------- */

static void park_must_return_when_the_word_is_another(void **state)
{
    uint32_t word = 1;

    (void)state;
    kp__life.park(&word, 0, UINT64_MAX, NULL);
    assert_int_equal(word, 1);
}

static void park_must_return_when_its_time_has_come(void **state)
{
    uint32_t word = 0;
    uint64_t until = kp__now(&kp__life) + 2000000;

    (void)state;
    kp__life.park(&word, 0, 1, NULL);           /* long past */
    while (kp__now(&kp__life) < until)          /* it may also return early */
        kp__life.park(&word, 0, until, NULL);
}

static void park_and_wake_must_leave_errno_alone(void **state)
{
    uint32_t word = 0;

    (void)state;
    errno = EDOM;
    kp__life.park(&word, 1, UINT64_MAX, NULL);
    kp__life.park(&word, 0, 1, NULL);
    kp__life.wake(&word, 1, NULL);
    assert_int_equal(errno, EDOM);
}

static void wake_may_name_a_word_whose_memory_is_gone(void **state)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)state;
    assert_true(page != MAP_FAILED);
    assert_int_equal(munmap(page, 4096), 0);
    kp__life.wake(page, INT_MAX, NULL);
}

struct sleeper {
    _Atomic uint32_t word;
    atomic_int awake;
    bool cancelled;                     /* to be cancelled once park has returned */
};

static uint32_t *plain(_Atomic uint32_t *word)
{
    return (uint32_t *)(void *)word;
}

static void *sleep_until_one(void *arg)
{
    struct sleeper *s = arg;

    while (atomic_load(&s->word) == 0)
        kp__life.park(plain(&s->word), 0, UINT64_MAX, NULL);
    atomic_fetch_add(&s->awake, 1);
    if (s->cancelled)
        pthread_testcancel();
    return NULL;
}

static void one_wake_must_rouse_everybody_if_told_so(void **state)
{
    enum { SLEEPERS = 4 };

    (void)state;
    for (int round = 0; round < 50; round++) {
        struct sleeper s = { .cancelled = false };
        pthread_t thread[SLEEPERS];

        for (int i = 0; i < SLEEPERS; i++)
            assert_int_equal(pthread_create(&thread[i], NULL, sleep_until_one, &s), 0);
        if (round % 2 == 0)
            sched_yield();              /* some are asleep, some not yet: neither may be missed */
        atomic_store(&s.word, 1);
        kp__life.wake(plain(&s.word), INT_MAX, NULL);
        for (int i = 0; i < SLEEPERS; i++)
            pthread_join(thread[i], NULL);
        assert_int_equal(s.awake, SLEEPERS);
    }
}

static void park_must_not_be_a_cancellation_point(void **state)
{
    struct sleeper s = { .cancelled = true };
    pthread_t thread;
    void *result;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, sleep_until_one, &s), 0);
    assert_int_equal(pthread_cancel(thread), 0);        /* before it parks or while it is parked */
    atomic_store(&s.word, 1);
    kp__life.wake(plain(&s.word), 1, NULL);
    pthread_join(thread, &result);
    assert_int_equal(s.awake, 1);
    assert_ptr_equal(result, PTHREAD_CANCELED);
}

struct table_tennis {
    _Atomic uint32_t ball;              /* whose turn it is: even or odd */
    uint32_t end;
};

static void play(struct table_tennis *t, uint32_t side)
{
    for (;;) {
        uint32_t ball = atomic_load(&t->ball);

        if (ball >= t->end)
            return;
        if (ball % 2 == side) {
            atomic_store(&t->ball, ball + 1);
            kp__life.wake(plain(&t->ball), 1, NULL);
        } else {
            kp__life.park(plain(&t->ball), ball, UINT64_MAX, NULL);
        }
    }
}

static void *play_odd(void *arg)
{
    play(arg, 1);
    return NULL;
}

static void no_wake_may_be_lost(void **state)
{
    struct table_tennis t = { .end = 20000 };   /* a lost one would hang */
    pthread_t other;

    (void)state;
    assert_int_equal(pthread_create(&other, NULL, play_odd, &t), 0);
    play(&t, 0);
    pthread_join(other, NULL);
    assert_int_equal(t.ball, 20000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_clock_must_never_go_back_nor_show_zero),
        cmocka_unit_test(allocated_memory_must_be_zero_and_aligned),
        cmocka_unit_test(what_is_hollow_must_give_its_memory_back_and_touch_nothing_beside_it),
        cmocka_unit_test(a_refused_allocation_must_be_null),
        cmocka_unit_test(threads_must_not_draw_the_same_numbers),
        cmocka_unit_test(every_bit_of_a_random_number_must_vary),
        cmocka_unit_test(park_must_return_when_the_word_is_another),
        cmocka_unit_test(park_must_return_when_its_time_has_come),
        cmocka_unit_test(park_and_wake_must_leave_errno_alone),
        cmocka_unit_test(wake_may_name_a_word_whose_memory_is_gone),
        cmocka_unit_test(one_wake_must_rouse_everybody_if_told_so),
        cmocka_unit_test(park_must_not_be_a_cancellation_point),
        cmocka_unit_test(no_wake_may_be_lost),
    };

    return cmocka_run_group_tests_name("base/world", tests, NULL, NULL);
}
