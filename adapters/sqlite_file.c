/* SPDX-License-Identifier: MIT
 *
 * SQLite keeps the locks of a file once for the whole process, because to POSIX they are the
 * process's. A child of fork inherits what SQLite noted about them, but not the locks. A connection
 * of the child's own to such a file would find the locks taken and work without any: when the
 * parent closes its last connection, it removes the log to which the child goes on to commit.
 *
 * So this list of files is the process's, whichever pool they were of, and only grows.
 *
 * A pipe is no database, and to open one for reading waits for somebody who writes.
 */
#include "sqlite_file.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct file {
    const struct file *next;
    dev_t device;
    ino_t number;
};

static _Atomic(const struct file *) inherited;
static atomic_bool in_doubt;            /* one could not be remembered: it may be any */

/* The file as it is called now; if that is another one by now, SQLite will see it in the same way.
 * False: there is none, as in memory. */
static bool identify(sqlite3 *db, struct file *out)
{
    const char *path = sqlite3_db_filename(db, "main");
    struct stat is;

    if (!path || !*path || stat(path, &is) != 0)
        return false;
    out->device = is.st_dev;
    out->number = is.st_ino;
    return true;
}

static bool is_listed(const struct file *wanted)
{
    const struct file *f = atomic_load(&inherited);

    while (f && (f->device != wanted->device || f->number != wanted->number))
        f = f->next;
    return f != NULL;
}

const char *kp__sqlite_unfit(const char *file)
{
    struct stat is;

    return stat(file, &is) == 0 && S_ISFIFO(is.st_mode) ? "it is a pipe" : NULL;
}

const char *kp__sqlite_reason(sqlite3 *db, int code)
{
    bool kept = (code & 0xff) == SQLITE_CANTOPEN || (code & 0xff) == SQLITE_IOERR;
    int error = kept ? sqlite3_system_errno(db) : 0;

    return error > 0 ? strerror(error) : NULL;
}

void kp__sqlite_inherit(sqlite3 *db)
{
    struct file found, *kept;

    if (!identify(db, &found) || is_listed(&found))
        return;
    kept = malloc(sizeof *kept);
    if (!kept) {
        atomic_store(&in_doubt, true);
        return;
    }
    *kept = found;
    kept->next = atomic_load(&inherited);
    while (!atomic_compare_exchange_weak(&inherited, &kept->next, kept))
        continue;
}

bool kp__sqlite_is_inherited(sqlite3 *db)
{
    struct file found;

    return identify(db, &found) && (atomic_load(&in_doubt) || is_listed(&found));
}
