/* SPDX-License-Identifier: MIT
 *
 * A log-linear histogram of nanoseconds: 16 buckets per octave, so that any value from 1 ns to
 * centuries is known to 3 %, in 8 kB. One thread writes; any thread may read meanwhile.
 */
#ifndef CLI_HISTOGRAM_H
#define CLI_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

enum { HISTOGRAM_BUCKETS = 61 * 16 };

struct histogram {
    _Atomic uint64_t bucket[HISTOGRAM_BUCKETS];
    _Atomic uint64_t count, sum, max;
};

/* Record a value. One thread at a time per histogram. */
void histogram_add(struct histogram *h, uint64_t ns);

/* Add all that `from` has to `to`. One thread at a time per `to`. */
void histogram_merge(struct histogram *to, const struct histogram *from);

/* Take away what was there earlier: `h` becomes what came since. Its max is then as exact
 * as its buckets. */
void histogram_subtract(struct histogram *h, const struct histogram *earlier);

/* The value that `share` (0..1) of all values do not exceed; 0 if there are none. */
uint64_t histogram_percentile(const struct histogram *h, double share);

/* How many values are below `ns`, to the nearest bucket. */
uint64_t histogram_below(const struct histogram *h, uint64_t ns);

double histogram_mean(const struct histogram *h);

#endif
