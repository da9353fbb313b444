/* SPDX-License-Identifier: MIT
 *
 * The histogram of the command, compared with the sorted values themselves: what it says of a
 * percentile is at most a sixteenth off.
 */
#include "../../cli/histogram.c"

#include "base_kit.h"

enum { MANY = 5000 };

static uint64_t value[MANY];

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* From 0 ns up to a few hours, all magnitudes alike. */
static struct histogram *of_random_values(void)
{
    struct histogram *h = calloc(1, sizeof *h);

    assert_non_null(h);
    for (int i = 0; i < MANY; i++) {
        value[i] = kit_random() >> (20 + kit_random() % 44);
        histogram_add(h, value[i]);
    }
    return h;
}

static void must_be_near(uint64_t said, uint64_t is)
{
    uint64_t apart = said > is ? said - is : is - said;

    if (apart > is / 16)
        fail_msg("%llu is said to be %llu", (unsigned long long)is, (unsigned long long)said);
}

static void percentiles_must_be_those_of_the_values(void **state)
{
    static const double shares[] = { 0.0002, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999 };
    struct histogram *h = of_random_values();
    double sum = 0, many = MANY;

    (void)state;
    qsort(value, MANY, sizeof value[0], ascending);
    for (int i = 0; i < MANY; i++) sum += (double)value[i];
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++)
        must_be_near(histogram_percentile(h, shares[i]), value[(int)(shares[i] * many + 0.5) - 1]);
    assert_true(histogram_percentile(h, 1) == value[MANY - 1]);
    assert_true(load(&h->max) == value[MANY - 1]);
    assert_true(load(&h->count) == MANY);
    assert_true(histogram_mean(h) > sum / many * (1 - 1e-9));
    assert_true(histogram_mean(h) < sum / many * (1 + 1e-9));
    free(h);
}

static void small_values_must_be_exact(void **state)
{
    struct histogram h = { 0 };

    (void)state;
    assert_true(histogram_percentile(&h, 0.5) == 0);
    assert_true(histogram_mean(&h) == 0);
    for (uint64_t ns = 1; ns <= 16; ns++) histogram_add(&h, ns);
    for (uint64_t ns = 1; ns <= 16; ns++) {
        assert_true(histogram_percentile(&h, (double)ns / 16) == ns);
        assert_true(histogram_below(&h, ns) == ns - 1);
    }
    assert_true(histogram_below(&h, 17) == 16);
    assert_true(histogram_percentile(&h, 0.51) == 9); /* more than eight of them */
}

/* Any value belongs into the bucket between whose ends it lies, and no bucket is missing. */
static void buckets_must_lie_side_by_side(void **state)
{
    (void)state;
    for (size_t i = 0; i + 1 < HISTOGRAM_BUCKETS; i++) {
        assert_true(first_of(i) + width_of(i) == first_of(i + 1));
        assert_int_equal(bucket_of(first_of(i)), i);
        assert_int_equal(bucket_of(first_of(i + 1) - 1), i);
    }
    assert_int_equal(bucket_of(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
}

static void what_came_since_must_be_the_whole_without_what_was_before(void **state)
{
    struct histogram *before = of_random_values(), *whole = calloc(1, sizeof *whole);

    (void)state;
    assert_non_null(whole);
    histogram_merge(whole, before);
    struct histogram *since = of_random_values();
    histogram_merge(whole, since);
    assert_true(load(&whole->count) == 2 * MANY);
    assert_true(load(&whole->sum) == load(&before->sum) + load(&since->sum));
    assert_true(load(&whole->max) >= load(&before->max) && load(&whole->max) >= load(&since->max));
    histogram_subtract(whole, before);
    assert_true(load(&whole->count) == MANY);
    assert_true(load(&whole->sum) == load(&since->sum));
    must_be_near(load(&whole->max), load(&since->max));
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        assert_true(load(&whole->bucket[i]) == load(&since->bucket[i]));
    free(before);
    free(since);
    free(whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentiles_must_be_those_of_the_values),
        cmocka_unit_test(small_values_must_be_exact),
        cmocka_unit_test(buckets_must_lie_side_by_side),
        cmocka_unit_test(what_came_since_must_be_the_whole_without_what_was_before),
    };

    kit_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
