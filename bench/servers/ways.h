/* SPDX-License-Identifier: MIT
 *
 * The ways in which threads get a connection: what servers.c compares.
 */
#ifndef BENCH_SERVERS_WAYS_H
#define BENCH_SERVERS_WAYS_H

#include <keyedpool_postgres.h>

#include "stage.h"

/* What a thread has borrowed. */
struct hold {
    PGconn  *conn;
    kp_lease lease;                     /* of keyedpool */
    int      thread;                    /* that has it; only of the way by turns */
};

struct way {
    const char *name;
    int         threads;                /* that ask at the same time; they share 8 connections of
                                           the server */
    void      (*open)(struct way *way);
    void      (*close)(struct way *way);
    void      (*borrow)(struct way *way, int thread, struct hold *hold);
    void      (*give_back)(struct way *way, struct hold *hold);
    void      (*leave)(struct way *way, int thread);    /* at its end; or NULL */
    int32_t     wait_order;             /* of keyedpool */
    bool        by_bouncer;
    kp_pool    *pool;
    kp_pg_counts counts;
    struct stack *stack;                /* of the hand-written ways */
    PGconn     *conn[CLIENTS];          /* of the ways that connect by themselves */
};

enum { WAYS_MOST = 9 };

/* Opens all ways that are possible here, dedicated connections first. Returns how many. */
int ways_open(struct way *ways);

/* Closes them. A connection that was lost or kept ends the program. */
void ways_close(struct way *ways, int count);

#endif
