/* SPDX-License-Identifier: MIT
 *
 * Files that SQLite cannot use: pipes, those that are not there, and those that were open when this
 * process was forked.
 */
#ifndef KP_ADAPTERS_SQLITE_FILE_H
#define KP_ADAPTERS_SQLITE_FILE_H

#include <sqlite3.h>
#include <stdbool.h>

/* Why SQLite must not even try to open this file; or NULL. */
const char *kp__sqlite_unfit(const char *file);

/* Is there no such file? Of a name that is a URI it is not known: yes. */
bool kp__sqlite_is_missing(const char *file);

/* Why the system would not: a permission, no such folder, no descriptors, ... SQLite keeps it for
 * these errors. NULL: it has none. */
const char *kp__sqlite_reason(sqlite3 *db, int code);

/* Note that the file of this connection is open, until it is closed. SQLITE_OK, or why not. */
int kp__sqlite_note(sqlite3 *db);

/* Was the file of this connection open at the fork? */
bool kp__sqlite_is_inherited(sqlite3 *db);

#endif
