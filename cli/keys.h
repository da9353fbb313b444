/* SPDX-License-Identifier: MIT
 *
 * The names of the keys of a bench.
 */
#ifndef CLI_KEYS_H
#define CLI_KEYS_H

#include "bench.h"

/* End the program with what cannot be reached, and why. */
_Noreturn void bench_give_up(const char *what, const char *why);

/* "<head>-<number><tail>" with at least three digits, the same for all `keys`; of head, the first
 * `length` bytes are used. Yours to free. */
char *bench_numbered(const char *head, size_t length, int64_t i, int64_t keys, const char *tail);

/* Name the keys in b->key and check that they can be reached. If not, the program ends. */
void bench_keys_make(struct bench *b);
void bench_keys_free(struct bench *b);

#endif
