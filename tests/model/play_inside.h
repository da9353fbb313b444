/* SPDX-License-Identifier: MIT
 *
 * One play: its stage (stage.c: the world, the driver, gets that wait) and what was observed.
 */
#ifndef TESTS_MODEL_PLAY_INSIDE_H
#define TESTS_MODEL_PLAY_INSIDE_H

#include "play.h"

/* The model's choices in one kp_keep, where several things were due at the same time. */
enum { TIES = 64 };
struct ties {
    int n, choice[TIES], of[TIES];
    bool in_vain; /* the model ran a driver function that the library did not: stop choosing */
    int reject;   /* how many combinations that fitted were found to be wrong later */
    bool forked;  /* there was a choice */
};

enum { STACK = 64 * 1024, CALLS = 512, LEASES = 64 };

/* Runs of driver functions during one operation. */
struct calls {
    uint64_t state;
    int n;
    struct call {
        kp_job_kind kind;
        uint64_t serial;
        int key;
        int64_t attempt, left_ms; /* as it is told; 0 where that means nothing */
        uint64_t epoch;
    } call[CALLS];
};

struct getter {
    char *stack;
    bool active, boxed; /* boxed: an event loop's, with this request */
    kp_request request;
    int key, code;
    kp_key pin; /* or its name */
    kp_ask ask;
    kp_why why;
    kp_lease lease;
};

struct lease {
    bool held;
    kp_lease real;
    int slot, seat;
};

struct play {
    const struct setup *setup;
    kp_pool *pool;
    kp_world world;
    uint64_t now;
    int64_t blocks;
    struct calls calls[2]; /* of the library, of the model */
    kp_job *pending[MODEL_SLOTS];
    struct getter getter[MODEL_REQUESTS], *running;
    struct lease lease[LEASES];
    kp_key pin[MODEL_KEYS]; /* {0}: not pinned */
    kp_lease ended; /* the lease that ended last */
    struct model model;
    struct ties ties;
    kp_loop *loop;
    int done[2 * MODEL_REQUESTS], dones; /* requests whose done ran in this dispatch, in order */
    bool differs;
    char did[100]; /* the operation, in words */
    char *said;
    size_t size;
};

extern struct play the; /* there is one at a time */

kp_key name_of(int key);
uint64_t serial_of(const kp_lease *lease);
bool same_call(int i); /* of the library and of the model in this operation */
bool stage_open(const struct setup *setup, char *said, size_t size); /* false: refused, by both */

/* Does this system have <ucontext.h>, to switch stacks? If not, only gets of event loops wait. */
extern const bool stage_has_stacks;

/* Begins a get that may wait, or continues it. Returns when it waits (again) or is over. */
void getter_start(struct getter *g);
void getter_run(struct getter *g);

/* play_compare.c */
__attribute__((format(printf, 1, 2))) void differ(const char *format, ...); /* the first counts */
void compare_get(int r, bool over); /* over: is the library's get over? So must the model's be */
void compare_number(const char *what, int64_t real, int64_t model);
void compare_calls(void);
void compare_leases(void); /* what kp_lease_read says of them */
void compare_stats(int key); /* NOBODY: of the pool */
const char *other_why(const kp_why *real, const kp_why *model); /* how they differ, or NULL */
void print_calls(void);

void play_due(const struct op *op); /* play_due.c: kp_keep, kp_loop_dispatch */
void done(kp_request *request, int status, kp_lease lease); /* of event loops */

#endif
