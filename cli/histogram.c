/* SPDX-License-Identifier: MIT
 *
 * The histogram of histogram.h. Bucket numbers: values below 16 are their own; above, the octave
 * and the four bits after the leading one.
 */
#include "histogram.h"

#include <stddef.h>

/* All accesses are relaxed: each counter stands alone, and for a reader during the run it does not
 * matter if they are not all of the same instant. */
static uint64_t load(const _Atomic uint64_t *a)
{
    return atomic_load_explicit(a, memory_order_relaxed);
}

static void store(_Atomic uint64_t *a, uint64_t value)
{
    atomic_store_explicit(a, value, memory_order_relaxed);
}

static size_t bucket_of(uint64_t ns)
{
    unsigned octave;

    if (ns < 16)
        return (size_t)ns;
    octave = 63U - (unsigned)__builtin_clzll(ns);
    return (size_t)(octave - 3) * 16 + (size_t)((ns >> (octave - 4)) & 15);
}

/* The first value of a bucket. */
static uint64_t first_of(size_t bucket)
{
    if (bucket < 16)
        return bucket;
    return (UINT64_C(16) + bucket % 16) << (bucket / 16 - 1);
}

static uint64_t width_of(size_t bucket)
{
    return bucket < 16 ? 1 : UINT64_C(1) << (bucket / 16 - 1);
}

void histogram_add(struct histogram *h, uint64_t ns)
{
    _Atomic uint64_t *bucket = &h->bucket[bucket_of(ns)];

    store(bucket, load(bucket) + 1);
    store(&h->count, load(&h->count) + 1);
    store(&h->sum, load(&h->sum) + ns);
    if (ns > load(&h->max))
        store(&h->max, ns);
}

void histogram_merge(struct histogram *to, const struct histogram *from)
{
    uint64_t count = 0;

    /* Counted from the buckets: `count` may be a moment older. */
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        uint64_t n = load(&from->bucket[i]);

        store(&to->bucket[i], load(&to->bucket[i]) + n);
        count += n;
    }
    store(&to->count, load(&to->count) + count);
    store(&to->sum, load(&to->sum) + load(&from->sum));
    if (load(&from->max) > load(&to->max))
        store(&to->max, load(&from->max));
}

void histogram_subtract(struct histogram *h, const struct histogram *earlier)
{
    uint64_t most = 0;

    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        store(&h->bucket[i], load(&h->bucket[i]) - load(&earlier->bucket[i]));
        if (load(&h->bucket[i]) > 0)
            most = first_of(i) + width_of(i) - 1;
    }
    if (most < load(&h->max))
        store(&h->max, most);
    store(&h->count, load(&h->count) - load(&earlier->count));
    store(&h->sum, load(&h->sum) - load(&earlier->sum));
}

uint64_t histogram_percentile(const struct histogram *h, double share)
{
    uint64_t count = load(&h->count), max = load(&h->max), seen = 0, rank;

    if (count == 0)
        return 0;
    rank = (uint64_t)(share * (double)count + 0.999999);
    if (rank >= count)
        return max;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += load(&h->bucket[i]);
        if (seen >= rank && seen > 0) {
            uint64_t middle = first_of(i) + width_of(i) / 2;

            return middle < max ? middle : max;
        }
    }
    return max;
}

uint64_t histogram_below(const struct histogram *h, uint64_t ns)
{
    uint64_t seen = 0;

    for (size_t i = 0; i < HISTOGRAM_BUCKETS && first_of(i) + width_of(i) / 2 < ns; i++)
        seen += load(&h->bucket[i]);
    return seen;
}

double histogram_mean(const struct histogram *h)
{
    uint64_t count = load(&h->count);

    return count ? (double)load(&h->sum) / (double)count : 0;
}
