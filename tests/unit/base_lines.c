/* SPDX-License-Identifier: MIT
 *
 * Tests of base/lines.c: lines stay where they are, are used again, and are found by number.
 */
#include "base_kit.h"

#include "base/lines.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { FIRST = KP__LINES_FIRST };

static uint64_t *words(struct kp__lines *lines, uint32_t number)
{
    return kp__line(lines, number);
}

/* Gives memory and addresses back: only a test may do this. */
static void drop(struct kp__lines *lines)
{
    char *base = atomic_load(&lines->base);

    if (lines->most) assert_int_equal(munmap(base, (size_t)lines->most * KP__LINE), 0);
}

static void there_must_be_no_line_before_the_first_was_taken(void **state)
{
    static struct kp__lines lines;

    (void)state;
    assert_null(kp__line_at(&lines, 0));
    assert_null(kp__line_at(&lines, 1));
    assert_null(kp__line_at(&lines, UINT32_MAX));
}

static void numbers_must_begin_at_1_and_lead_to_lines_of_zeros_of_their_own(void **state)
{
    enum { MANY = 4 * FIRST + 1 }; /* there is room for twice as many by then */
    static char *seen[MANY + 1];
    static struct kp__lines lines;

    (void)state;
    for (uint32_t n = 1; n <= MANY; n++) {
        assert_null(kp__line_at(&lines, n));
        assert_int_equal(kp__lines_take(&lines), n);
        seen[n] = kp__line(&lines, n);
        assert_ptr_equal(kp__line_at(&lines, n), seen[n]);
        assert_int_equal((uintptr_t)seen[n] % KP__LINE, 0);
        for (int i = 0; i < KP__LINE; i++) assert_int_equal(seen[n][i], 0);
        memset(seen[n], (int)(n % 255) + 1, KP__LINE);
    }
    assert_null(kp__line_at(&lines, 0));
    assert_null(kp__line_at(&lines, MANY + 1));
    for (uint32_t n = 1; n <= MANY; n++) {
        assert_ptr_equal(kp__line(&lines, n), seen[n]); /* nothing moved */
        for (int i = 0; i < KP__LINE; i++)
            assert_int_equal((unsigned char)seen[n][i], n % 255 + 1);
    }
    drop(&lines);
}

static void assert_zeros(const void *line)
{
    for (int i = 0; i < KP__LINE; i++) assert_int_equal(((const char *)line)[i], 0);
}

/* A wrong guess may read number 0, which is never used, or one that will be a line later. */
static void the_first_lines_must_be_seen_as_zeros_before_they_are_made(void **state)
{
    static struct kp__lines lines;

    (void)state;
    for (uint32_t n = 0; n < FIRST; n++) {
        assert_ptr_equal(kp__line_seen(&lines, n), kp__line(&lines, n));
        assert_zeros(kp__line_seen(&lines, n));
    }
    kp__lines_give(&lines, kp__lines_take(&lines));
    assert_zeros(kp__line(&lines, 0));
}

static void other_lines_must_be_seen_as_zeros_from_when_there_is_room_for_them(void **state)
{
    static struct kp__lines lines;

    (void)state;
    while (kp__lines_take(&lines) < FIRST - 1) continue;
    for (uint64_t n = FIRST, room = FIRST; n < 4 * FIRST; n++) {
        if (n == room) {
            assert_null(kp__line_seen(&lines, n));
            room *= 2;
        }
        assert_int_equal(kp__lines_take(&lines), n);
        assert_ptr_equal(kp__line_seen(&lines, n), kp__line(&lines, (uint32_t)n));
        assert_null(kp__line_seen(&lines, n | UINT64_C(1) << 32));
        if (n + 1 < room) assert_zeros(kp__line_seen(&lines, room - 1)); /* not made yet */
        assert_null(kp__line_seen(&lines, room));
        memset(kp__line(&lines, (uint32_t)n), 1, KP__LINE);
    }
    assert_null(kp__line_seen(&lines, KP__LINES_MOST - 1));
    assert_null(kp__line_seen(&lines, KP__LINES_MOST));
    assert_null(kp__line_seen(&lines, UINT64_MAX));
    drop(&lines);
}

static void a_line_must_come_back_as_it_was_given_but_for_its_end_the_latest_first(void **state)
{
    static struct kp__lines lines;
    uint32_t number[3];

    (void)state;
    for (int i = 0; i < 3; i++) {
        number[i] = kp__lines_take(&lines);
        for (int w = 0; w < 8; w++) words(&lines, number[i])[w] = 100u * number[i] + (unsigned)w;
    }
    kp__lines_give(&lines, number[1]);
    kp__lines_give(&lines, number[0]);
    assert_non_null(kp__line_at(&lines, number[0])); /* it may be looked at, still */
    assert_int_equal(kp__lines_take(&lines), number[0]);
    assert_int_equal(kp__lines_take(&lines), number[1]);
    assert_int_equal(kp__lines_take(&lines), 4);
    for (int i = 0; i < 3; i++) {
        for (int w = 0; w < 7; w++)
            assert_int_equal(words(&lines, number[i])[w], 100u * number[i] + (unsigned)w);
    }
    drop(&lines);
}

static void numbers_must_end_where_the_addresses_do(void **state)
{
    static struct kp__lines lines;

    (void)state;
    while (kp__lines_take(&lines) < FIRST) continue;
    lines.most = 2 * FIRST; /* as where no more were to be had */
    while (kp__lines_take(&lines) < 2 * FIRST - 1) continue;
    errno = EDOM;
    assert_int_equal(kp__lines_take(&lines), 0);
    assert_int_equal(errno, EDOM);
    assert_int_equal(atomic_load(&lines.made), 2 * FIRST);
    kp__lines_give(&lines, 5); /* those that there are go on */
    assert_int_equal(kp__lines_take(&lines), 5);
    assert_int_equal(kp__lines_take(&lines), 0);
    lines.most = KP__LINES_MOST;
    assert_int_equal(kp__lines_take(&lines), 2 * FIRST);
    drop(&lines);
}

static void where_addresses_are_few_there_must_be_fewer_lines(void **state)
{
    static struct kp__lines lines;
    struct rlimit before, few;
    enum { ROOM = 512 << 20 }; /* beside what this program has already */

    (void)state;
    kit_memory_short(); /* or this test is skipped */
    kit_memory_again();
    FILE *file = fopen("/proc/self/statm", "r");
    long pages = 0;
    if (!file || fscanf(file, "%ld", &pages) != 1) skip();
    fclose(file);
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    few = (struct rlimit){ (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + ROOM, before.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_AS, &few), 0);
    while (atomic_load(&lines.made) < FIRST) kp__lines_take(&lines);
    uint32_t number = kp__lines_take(&lines);
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    assert_int_equal(number, FIRST);
    assert_true(lines.most > FIRST && lines.most * (uint64_t)KP__LINE <= ROOM);
    assert_int_equal(lines.most & (lines.most - 1), 0);
    drop(&lines);
}

static void without_memory_no_line_must_be_handed_out_until_there_is_some(void **state)
{
    static struct kp__lines lines; /* where the test is skipped */
    struct rlimit before, no_more = { .rlim_cur = 1 << 12 }; /* 0 means other things */

    (void)state;
    while (kp__lines_take(&lines) < FIRST - 1) continue;
    kit_memory_short();
    uint32_t none = kp__lines_take(&lines); /* no addresses */
    kit_memory_again();
    assert_int_equal(none, 0);
    assert_int_equal(lines.most, 0);
    assert_int_equal(getrlimit(RLIMIT_DATA, &before), 0);
    no_more.rlim_max = before.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_DATA, &no_more), 0);
    none = kp__lines_take(&lines); /* no memory behind them */
    kp__lines_give(&lines, 7);
    uint32_t again = kp__lines_take(&lines);
    assert_int_equal(setrlimit(RLIMIT_DATA, &before), 0);
    assert_int_equal(none, 0);
    assert_int_equal(again, 7);
    assert_null(kp__line_seen(&lines, FIRST));
    assert_int_equal(kp__lines_take(&lines), FIRST);
    drop(&lines);
}

static void in_a_child_the_lines_of_the_parent_must_be_none(void **state)
{
    static struct kp__lines lines;

    (void)state;
    kp__lines_in_child(&lines); /* before any was made */
    assert_int_equal(lines.floor, 0);
    for (int i = 0; i < 5; i++) kp__lines_take(&lines);
    kp__lines_give(&lines, 3);
    atomic_store(&lines.lock.word, 2); /* of a thread that is not here */
    char *old = kp__line(&lines, 5);
    kp__lines_in_child(&lines);
    for (uint32_t n = 0; n <= 6; n++) assert_null(kp__line_at(&lines, n));
    assert_int_equal(kp__lines_take(&lines), 6); /* not 3, which another may use there */
    assert_non_null(kp__line_at(&lines, 6));
    assert_null(kp__line_at(&lines, 5));
    assert_ptr_equal(kp__line(&lines, 6), old + KP__LINE);
    kp__lines_give(&lines, 6);
    assert_int_equal(kp__lines_take(&lines), 6);
    kp__lines_in_child(&lines); /* a child of the child */
    assert_null(kp__line_at(&lines, 6));
    drop(&lines);
}

/* ---- from several threads -------------------------------------------------------------------- */

enum { THREADS = 4, HELD = 16, ROUNDS = 3000 };
static struct kp__lines shared;

static void *take_and_give(void *arg)
{
    uint32_t mine[HELD] = { 0 };
    uint64_t mark = (uint64_t)(uintptr_t)arg, random = mark;

    for (int i = 0; i < ROUNDS; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        uint32_t *at = &mine[random >> 60];
        if (*at) {
            if (*words(&shared, *at) != (mark << 32 | *at)) return arg; /* another thread's, too */
            kp__lines_give(&shared, *at);
            *at = 0;
        } else if ((*at = kp__lines_take(&shared)) == 0 || !kp__line_at(&shared, *at)) {
            return arg;
        } else {
            *words(&shared, *at) = mark << 32 | *at;
        }
    }
    return NULL;
}

static void threads_that_take_and_give_must_never_have_the_same_line(void **state)
{
    pthread_t threads[THREADS];
    void *failed;

    (void)state;
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, (void *)(i + 1)), 0);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    assert_true(atomic_load(&shared.made) <= THREADS * HELD + 1);
    drop(&shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_must_be_no_line_before_the_first_was_taken),
        cmocka_unit_test(numbers_must_begin_at_1_and_lead_to_lines_of_zeros_of_their_own),
        cmocka_unit_test(the_first_lines_must_be_seen_as_zeros_before_they_are_made),
        cmocka_unit_test(other_lines_must_be_seen_as_zeros_from_when_there_is_room_for_them),
        cmocka_unit_test(a_line_must_come_back_as_it_was_given_but_for_its_end_the_latest_first),
        cmocka_unit_test(numbers_must_end_where_the_addresses_do),
        cmocka_unit_test(where_addresses_are_few_there_must_be_fewer_lines),
        cmocka_unit_test(without_memory_no_line_must_be_handed_out_until_there_is_some),
        cmocka_unit_test(in_a_child_the_lines_of_the_parent_must_be_none),
        cmocka_unit_test(threads_that_take_and_give_must_never_have_the_same_line),
    };

    return cmocka_run_group_tests_name("base/lines", tests, NULL, NULL);
}
