/* SPDX-License-Identifier: MIT
 *
 * The database files of a bench, and the two queries that are run on them.
 */
#ifndef CLI_FILES_H
#define CLI_FILES_H

#include "bench.h"

enum { BENCH_ROWS = 1000 };

/* Read or change one row, found by its number. A SQLite result code; nothing is left open. */
int bench_read(sqlite3 *db, int64_t row);
int bench_write(sqlite3 *db, int64_t row);

/* Name the files of b->plan->path, one per key, in b->key. Ends the program where it cannot. */
void bench_files_name(struct bench *b);
void bench_files_free(struct bench *b);

/* Make the files and the table keyedpool_bench that are missing. Ends the program where it cannot.
 * */
void bench_files_fill(const struct bench *b);

#endif
