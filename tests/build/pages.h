/* SPDX-License-Identifier: MIT
 *
 * What the programs on the pages of docs/coming-from take for granted: the reader's own.
 */
#ifndef TESTS_PAGES_H
#define TESTS_PAGES_H

#include <keyedpool.h>

struct connection;

extern const kp_driver driver;
bool is_primary(kp_key key);
bool ping(struct connection *connection);
int query(struct connection *connection, const char *sql);
void say(const char *text);

#endif
