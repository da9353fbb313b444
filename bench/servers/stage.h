/* SPDX-License-Identifier: MIT
 *
 * The servers that the ways of ways.h lead to: a PostgreSQL and, where Debian's is installed, a
 * PgBouncer before it, both on Unix sockets and this program's own.
 */
#ifndef BENCH_SERVERS_STAGE_H
#define BENCH_SERVERS_STAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CONNECTIONS = 8, CLIENTS = 64 };

/* Start both; what fails ends the program. They are stopped when it ends, however it does. */
void stage_open(void);
void stage_close(void);

bool stage_has_bouncer(void);

/* Where a way connects to, as it is to be called in the server's view of its connections. */
void stage_conninfo(bool bouncer, const char *name, char *buf, size_t size);

/* Run it as superuser: the first value of the last result, as a number. */
long stage_ask(const char *sql);

/* Time of processors, so far, of the server's processes and of PgBouncer; 0 where that cannot be
 * read. One thread at a time. */
uint64_t stage_server_ns(void);
uint64_t stage_bouncer_ns(void);

#endif
