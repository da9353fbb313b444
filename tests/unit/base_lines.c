/* SPDX-License-Identifier: MIT
 *
 * Tests of base/lines.c: lines that stay where they are, are used again, and are found by number.
 */
#include "base_kit.h"

#include "base/lines.h"

#include <pthread.h>

#define LIMIT ((uint32_t)KP__LINES_EACH * KP__LINE_CHUNKS)
#define CHUNK ((size_t)KP__LINES_EACH * KP__LINE)

static uint64_t *words(struct kp__lines *lines, uint32_t number)
{
    return kp__line(lines, number);
}

/* The chunks go back: nobody but a test may do this. They came by as many as there were. */
static void drop(struct kp__lines *lines)
{
    for (int k = 1; k < KP__LINE_CHUNKS; k *= 2) free(atomic_load(&lines->chunk[k]));
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
    enum { MANY = 5 * KP__LINES_EACH + 1 }; /* the last two chunks came at once */
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

/* Who guesses wrong may read number 0, which is nobody's, or one that will be a line. */
static void lines_of_the_first_chunk_must_be_seen_as_zeros_before_they_are_made(void **state)
{
    static struct kp__lines lines;

    (void)state;
    for (uint32_t n = 0; n < KP__LINES_EACH; n++) {
        const char *seen = kp__line_seen(&lines, n);
        assert_ptr_equal(seen, kp__line(&lines, n));
        for (int i = 0; i < KP__LINE; i++) assert_int_equal(seen[i], 0);
    }
    uint32_t number = kp__lines_take(&lines);
    kp__lines_give(&lines, number);
    for (int i = 0; i < 8; i++) assert_int_equal(words(&lines, 0)[i], 0);
    drop(&lines);
}

static void lines_of_other_chunks_must_be_seen_from_when_the_first_of_them_is_made(void **state)
{
    static struct kp__lines lines;

    (void)state;
    while (kp__lines_take(&lines) < KP__LINES_EACH - 1) continue;
    for (uint64_t n = KP__LINES_EACH; n < 5 * KP__LINES_EACH; n++) {
        if (n % KP__LINES_EACH == 0) assert_null(kp__line_seen(&lines, n));
        assert_null(kp__line_seen(&lines, (n / KP__LINES_EACH + 1) * KP__LINES_EACH));
        assert_int_equal(kp__lines_take(&lines), n);
        assert_ptr_equal(kp__line_seen(&lines, n), kp__line(&lines, (uint32_t)n));
        assert_null(kp__line_seen(&lines, n | UINT64_C(1) << 32));
        const char *last = kp__line_seen(&lines, n | (KP__LINES_EACH - 1)); /* not made yet */
        for (int i = 0; i < KP__LINE; i++) assert_int_equal(last[i], 0);
    }
    assert_null(kp__line_seen(&lines, LIMIT - 1));
    assert_null(kp__line_seen(&lines, LIMIT));
    assert_null(kp__line_seen(&lines, UINT64_MAX));
    drop(&lines);
}

/* Memory that comes may have been used before. */
static void lines_of_other_chunks_must_be_of_zeros(void **state)
{
    static struct kp__lines lines;

    (void)state;
    while (kp__lines_take(&lines) < 3 * KP__LINES_EACH - 1) continue;
    char *two = memset(aligned_alloc(64, 2 * CHUNK), 0xee, 2 * CHUNK);
    free(atomic_exchange(&lines.chunk[2], two));
    for (uint32_t n = 3 * KP__LINES_EACH; n < 4 * KP__LINES_EACH; n++) {
        assert_int_equal(kp__lines_take(&lines), n);
        assert_ptr_equal(words(&lines, n), two + (n - 2 * KP__LINES_EACH) * KP__LINE);
        for (int i = 0; i < 8; i++) assert_int_equal(words(&lines, n)[i], 0);
    }
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

static void numbers_must_end_before_they_wrap_around(void **state)
{
    static struct kp__lines lines;

    (void)state;
    uint32_t number = kp__lines_take(&lines);
    atomic_store(&lines.made, LIMIT);
    assert_int_equal(kp__lines_take(&lines), 0);
    assert_int_equal(atomic_load(&lines.made), LIMIT);
    kp__lines_give(&lines, number); /* those that there are go on */
    assert_int_equal(kp__lines_take(&lines), number);
    assert_int_equal(kp__lines_take(&lines), 0);
    drop(&lines);
}

static void without_memory_no_line_must_be_handed_out_until_there_is_some(void **state)
{
    static struct kp__lines lines; /* where the test is skipped */

    (void)state;
    uint32_t number = kp__lines_take(&lines), big = (uint32_t)KP__LINES_EACH << 10;
    atomic_store(&lines.made, big); /* the next chunk comes with 1023 others: 256 MiB */
    kit_memory_short();
    uint32_t none = kp__lines_take(&lines);
    kp__lines_give(&lines, number);
    uint32_t again = kp__lines_take(&lines);
    kit_memory_again();
    assert_int_equal(none, 0);
    assert_int_equal(again, number);
    assert_int_equal(atomic_load(&lines.made), big);
    assert_null(atomic_load(&lines.chunk[1024]));
    assert_int_equal(kp__lines_take(&lines), big); /* of which this one chunk is touched only */
    assert_non_null(atomic_load(&lines.chunk[1024]));
    assert_ptr_equal(kp__line(&lines, big), atomic_load(&lines.chunk[1024]));
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
    assert_int_equal(kp__lines_take(&lines), 6); /* not 3, which may be anybody's there */
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
            if (*words(&shared, *at) != (mark << 32 | *at)) return arg; /* somebody else's, too */
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
        cmocka_unit_test(lines_of_the_first_chunk_must_be_seen_as_zeros_before_they_are_made),
        cmocka_unit_test(lines_of_other_chunks_must_be_seen_from_when_the_first_of_them_is_made),
        cmocka_unit_test(lines_of_other_chunks_must_be_of_zeros),
        cmocka_unit_test(a_line_must_come_back_as_it_was_given_but_for_its_end_the_latest_first),
        cmocka_unit_test(numbers_must_end_before_they_wrap_around),
        cmocka_unit_test(without_memory_no_line_must_be_handed_out_until_there_is_some),
        cmocka_unit_test(in_a_child_the_lines_of_the_parent_must_be_none),
        cmocka_unit_test(threads_that_take_and_give_must_never_have_the_same_line),
    };

    return cmocka_run_group_tests_name("base/lines", tests, NULL, NULL);
}
