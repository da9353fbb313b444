/* SPDX-License-Identifier: MIT
 *
 * The servers that the ways of ways.h connect to: a PostgreSQL and, if Debian's is installed, a
 * PgBouncer in front of it, both on Unix sockets, started by this program.
 */
#ifndef BENCH_SERVERS_STAGE_H
#define BENCH_SERVERS_STAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CONNECTIONS = 8, CLIENTS = 64 };

/* Starts both; a failure ends the program. They are stopped when the program ends, in any way. */
void stage_open(void);
void stage_close(void);

bool stage_has_bouncer(void);

/* The connection string of a way; `name` is its application name in the server's statistics. */
void stage_conninfo(bool bouncer, const char *name, char *buf, size_t size);

/* Runs it as superuser. Returns the first value of the last result, as a number. */
long stage_ask(const char *sql);

/* CPU time, so far, of the server's processes and of PgBouncer; 0 if that cannot be read. To be
 * called by one thread at a time. */
uint64_t stage_server_ns(void);
uint64_t stage_bouncer_ns(void);

#endif
