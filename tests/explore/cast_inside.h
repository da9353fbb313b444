/* SPDX-License-Identifier: MIT
 *
 * What the files of the cast share.
 */
#ifndef KP_EXPLORE_CAST_INSIDE_H
#define KP_EXPLORE_CAST_INSIDE_H

#include "cast.h"

enum { SAYS = 12, BAD = 4 };

enum phase { NONE, MAKING, LIVE, DYING, GONE };

struct thing {
    uint32_t payload; /* written by whoever holds it: two at once are a data race */
    enum phase phase;
    int key, holders;
    bool known;       /* somebody was given it */
    uint32_t invalid; /* the number of the invalidation that it has ended by, or 0 */
    uint32_t doubted; /* the same, of a report that has it validated before it is lent */
    uint32_t asked;   /* how often, whether it is clean */
    uint32_t checks;
    bool revoked;     /* the driver counts it no more */
};

struct ghosts {
    kp_pool *pool;
    struct stage stage;
    int live[KEYS], all, lent, made, gone, failed;
    uint32_t invalidations, closed;
    uint32_t pending, job_taken; /* a create that was answered KP_PENDING; one at a time */
    kp_job *job;
    kp_lease main[LEASES];
    uint32_t main_ended[LEASES];
    kp_lease lease[EX_THREADS + 1][LEASES];
    kp_key pin[EX_THREADS + 1];
    int leases[EX_THREADS + 1], made_by[EX_THREADS + 1];
    /* what each thread's gets and requests were told, in turn, and why */
    int said[EX_THREADS + 1][SAYS], vendor[EX_THREADS + 1][SAYS], says[EX_THREADS + 1];
    int helped, says_when_helped; /* how often main gave back because nobody could go on */
    int warmed;                    /* made, and gone, before main took what it holds */
    int suspects[EX_THREADS + 1]; /* events that told it, by the thread that was told */
    int copies, again; /* ends of main's lease by a copy; of leases that had ended, by one's own */
    int misuses, out; /* out: what the last close said */
    int sized;        /* limits_for of key 0 */
    int begun;        /* creates, where they have a rate */
    uint64_t opened_ms;
    uint64_t late_ms;              /* the latest time-out was so late */
    uint32_t bad_creates[BAD], bad_checks[BAD], bad_destroys[BAD], called_back[3];
    uint32_t bad_revokes[BAD];
    bool calling[EX_THREADS + 1];
    struct thing thing[EX_THREADS + 1][EACH];
};

extern struct ghosts g;

kp_pool *cast_pool(void);
void cast_called(const char *what); /* a driver's function: without the lock, and where it may */
void cast_can_revoke(kp_options *o);
void cast_use(int many); /* main, in set-up: so many of key 0 at once, given back */
kp_key cast_key(int key);
void cast_unlocked(const char *what);                       /* I6 */
void cast_hear(uint32_t *closed, uint32_t *invalidations);  /* a get begins */
void cast_checks(const struct stage *stage, kp_limits *limits);
void cast_may_be_lent(const struct thing *t, uint32_t invalidations);
void cast_got(kp_lease lease, uint32_t closed, uint32_t invalidations);
bool cast_explained(int code, int64_t within_ms, uint32_t flags);
struct thing *cast_thing(int key); /* a new one */
void cast_counted(int key, int by);
void cast_begun(void); /* a create: no more of them than their line allows */
void cast_books(void);
void cast_said(int code, int vendor_code);
unsigned cast_concerned(int key, struct thing *list[]); /* by the end of all that a key has */
void cast_have_ended(struct thing *list[], unsigned n);
void loops_open(unsigned threads); /* a mask: who has a loop */
kp_loop *loops_of(int thread);
bool loops_kick(void); /* only the pool's own loop is left, asleep: it may end. False: not yet */

void cast_circuit(kp_limits *limits);

#endif
