/* SPDX-License-Identifier: MIT
 *
 * What can be loaded and examined: a row for each kind of resource (backend.c), and what a URL of
 * the command line stands for. A backend is one file, on_NAME.c, the only one that uses its
 * adapter; it is linked if the adapter was built.
 */
#ifndef CLI_BACKEND_H
#define CLI_BACKEND_H

#include "args.h"

#include <keyedpool.h>

struct target {                 /* what a URL stands for */
    const char *name;           /* of its row: "postgres" */
    const struct backend *backend;
    int64_t within_ms;          /* how long an operation on a server may take */
    const char *url;            /* as given: never shown, since it may have a password */
    char shown[256];            /* the same without the password */
    char place[300];            /* "scheme://host:port", without the user; a host may have 253 */
};

/* One operation, where there is a choice. `row` ANY: on whatever is there. */
enum { ANY = -1 };
struct task { bool write; int64_t row; };

/* How it went. After BROKEN its connection must not be used again. */
enum outcome { DONE, FAILED, BROKEN };

union key_room { void *align; char bytes[64]; };

struct bench;
struct doctor;

struct backend {
    const char *library;        /* "libpq" */
    const char *operation, *writing;    /* "SELECT 1"; what --write does, or NULL */
    int   files, key_files;     /* how many files a connection has open; and its key, besides */
    int   place_files;          /* and those of a connection that stay open after it, for the next
                                   one of its key, until the key has none */
    bool  local;                /* files of this machine, not connections to a server */
    bool  one_key;              /* the key is the place: there cannot be several on one server */
    int   no_place;             /* kp_why.vendor_code when a key makes no sense as a place */
    const char *(*version)(void);       /* of the library */
    /* Open a pool of its adapter; the target must outlive it. */
    int   (*open)(const struct target *t, int64_t size, const kp_options *more, kp_pool **out);
    /* The key of this name, made in `room`. NULL: the key is the bytes of the name. */
    kp_key (*key)(const char *name, bool write, union key_room *room);
    /* One operation; and why it was not done. */
    enum outcome (*operate)(kp_lease *lease, const struct target *t, struct task task, char *why,
                            size_t size);
    /* Name the keys and make what they need, or end the program. NULL: nothing is needed. */
    void  (*prepare)(struct bench *b);
    /* For a place that is not itself a key (a folder): report what the doctor finds there, and put
     * the name of a key to look at into `name`. False: there is none. NULL: each place is a key. */
    bool  (*visit)(struct doctor *d, const struct target *t, char *name, size_t size);
    /* Report what the doctor finds at the server, through a lease that works. */
    void  (*examine)(struct doctor *d, const struct target *t, kp_lease *lease);
};

/* Read a URL; within_ms is the caller's to set. False: what is wrong with it is in `why`. */
bool target_read(struct target *t, const char *url, char *why, size_t size);

/* What its one key is called: the place, or the path of a file. */
const char *target_name(const struct target *t);

/* How many files a pool may have open, of so many connections: at most `size` for each key. */
int64_t target_files(const struct target *t, int64_t keys, int64_t size, int64_t connections);

/* The key of this name. */
kp_key target_key(const struct target *t, const char *name, bool write, union key_room *room);

struct contact {                /* a server, reached once */
    kp_pool *pool;
    kp_lease lease;
    uint64_t connect_ns, operate_ns;
    bool     no_place;          /* it failed because the URL makes no sense */
    char     why[400];
};

/* Connect within the target's time and do one operation, on a pool of its own. False: it failed,
 * and `why` has the cause. In both cases call contact_leave afterwards. */
bool contact_make(struct contact *c, const struct target *t, const char *name);
void contact_leave(struct contact *c);

/* Which kinds there are, with the version of their library or what they need: a line each, to
 * standard output. */
void backends_print(const char *indent);

/* The row with this number; NULL after the last. *backend NULL: it was not built. */
const char *backends_row(int i, const struct backend **backend);

/* Print into `buf` what it has room for. Returns buf. */
const char *text_of(char *buf, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
