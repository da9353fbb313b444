/* SPDX-License-Identifier: MIT
 *
 * SQLite keeps the locks of a file once for the whole process, because to POSIX they are the
 * process's. A child of fork inherits what SQLite noted about them, but not the locks. A connection
 * of the child's own to such a file would find the locks taken and work without any: when the
 * parent closes its last connection, it removes the log to which the child goes on to commit.
 *
 * So the files that are open are listed, whichever pool they are of; in a child they are those that
 * were open at the fork. A collation that nobody uses tells when a connection is closed: SQLite
 * drops it then, be it late.
 *
 * A pipe is no database, and to open one for reading waits for somebody who writes.
 */
#include "sqlite_file.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct file {                           /* of a connection */
    struct file *next, **at;            /* at: what points to it */
    dev_t device;
    ino_t number;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct file *ours, *inherited;   /* open here; open at the fork, in a child */
static bool watched;                    /* forks are */

/* ---- forks ----------------------------------------------------------------------------------- */

static void before_fork(void)
{
    (void)pthread_mutex_lock(&lock);
}

static void in_parent(void)
{
    (void)pthread_mutex_unlock(&lock);
}

static void in_child(void)
{
    struct file **end = &inherited;

    while (*end)
        end = &(*end)->next;
    *end = ours;
    if (ours)
        ours->at = end;
    ours = NULL;
    (void)pthread_mutex_unlock(&lock);
}

/* ---- files ----------------------------------------------------------------------------------- */

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

const char *kp__sqlite_unfit(const char *file)
{
    struct stat is;

    return stat(file, &is) == 0 && S_ISFIFO(is.st_mode) ? "it is a pipe" : NULL;
}

bool kp__sqlite_is_missing(const char *file)
{
    struct stat is;

    return stat(file, &is) != 0;
}

const char *kp__sqlite_reason(sqlite3 *db, int code)
{
    bool kept = (code & 0xff) == SQLITE_CANTOPEN || (code & 0xff) == SQLITE_IOERR;
    int error = kept ? sqlite3_system_errno(db) : 0;

    return error > 0 ? strerror(error) : NULL;
}

static bool add(struct file *f)
{
    bool added;

    (void)pthread_mutex_lock(&lock);
    watched = watched || pthread_atfork(before_fork, in_parent, in_child) == 0;
    added = watched;
    if (added) {
        f->next = ours;
        f->at = &ours;
        if (ours)
            ours->at = &f->next;
        ours = f;
    }
    (void)pthread_mutex_unlock(&lock);
    return added;
}

static void closed(void *file)
{
    struct file *f = file;

    (void)pthread_mutex_lock(&lock);
    *f->at = f->next;
    if (f->next)
        f->next->at = f->at;
    (void)pthread_mutex_unlock(&lock);
    free(f);
}

static int compare(void *file, int size, const void *text, int other_size, const void *other)
{
    (void)file;
    (void)size;
    (void)text;
    (void)other_size;
    (void)other;
    return 0;
}

int kp__sqlite_note(sqlite3 *db)
{
    struct file found, *f;
    int rc;

    if (!identify(db, &found))
        return SQLITE_OK;
    f = malloc(sizeof *f);
    if (!f)
        return SQLITE_NOMEM;
    *f = found;
    if (!add(f)) {
        free(f);
        return SQLITE_NOMEM;
    }
    rc = sqlite3_create_collation_v2(db, "keyedpool", SQLITE_UTF8, f, compare, closed);
    if (rc != SQLITE_OK)
        closed(f);
    return rc;
}

bool kp__sqlite_is_inherited(sqlite3 *db)
{
    const struct file *f;
    struct file wanted;

    if (!identify(db, &wanted))
        return false;
    (void)pthread_mutex_lock(&lock);
    f = inherited;
    while (f && (f->device != wanted.device || f->number != wanted.number))
        f = f->next;
    (void)pthread_mutex_unlock(&lock);
    return f != NULL;
}
