/* SPDX-License-Identifier: MIT
 *
 * Files that were open when this process was forked, which SQLite cannot use here.
 */
#ifndef KP_ADAPTERS_SQLITE_FORK_H
#define KP_ADAPTERS_SQLITE_FORK_H

#include <sqlite3.h>
#include <stdbool.h>

/* Remember the file of a connection of the parent's. */
void kp__sqlite_inherit(sqlite3 *db);

/* Was the file of this connection open at the fork? */
bool kp__sqlite_is_inherited(sqlite3 *db);

#endif
