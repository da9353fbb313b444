/* SPDX-License-Identifier: MIT
 *
 * The ways by which threads come to a connection: what servers.c compares.
 */
#ifndef BENCH_SERVERS_WAYS_H
#define BENCH_SERVERS_WAYS_H

#include <keyedpool_postgres.h>

#include "stage.h"

/* What a thread has borrowed. */
struct hold {
    PGconn  *conn;
    kp_lease lease;                     /* of keyedpool */
    int      thread;                    /* whose it is, of by_turns */
};

struct way {
    const char *name;
    int         threads;                /* that ask at once; they have 8 connections of the server
                                           between them */
    void      (*open)(struct way *way);
    void      (*close)(struct way *way);
    void      (*borrow)(struct way *way, int thread, struct hold *hold);
    void      (*give_back)(struct way *way, struct hold *hold);
    void      (*leave)(struct way *way, int thread);    /* at its end; or NULL */
    int32_t     wait_order;             /* of keyedpool */
    bool        by_bouncer;
    kp_pool    *pool;
    kp_pg_counts counts;
    struct stack *stack;                /* of those by hand */
    PGconn     *conn[CLIENTS];          /* of the ways that connect by themselves */
};

enum { WAYS_MOST = 9 };

/* All that can be gone here, dedicated connections first. Returns how many. */
int ways_open(struct way *ways);

/* Close them. What they lost or kept ends the program. */
void ways_close(struct way *ways, int count);

#endif
