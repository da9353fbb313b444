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
    uint32_t payload; /* written by its holder: two holders at once are a data race */
    enum phase phase;
    int key, holders;
    bool known;       /* it was lent at least once */
    uint32_t invalid; /* the number of the invalidation that ended it, or 0 */
    uint32_t doubted; /* the number of the report after which it must be validated, or 0 */
    uint32_t asked;   /* how often is_clean was asked */
    uint32_t checks;
    bool revoked;     /* the driver no longer counts it */
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
    /* what each thread's gets and requests were answered, in turn, and why */
    int said[EX_THREADS + 1][SAYS], vendor[EX_THREADS + 1][SAYS], says[EX_THREADS + 1];
    int helped, says_when_helped; /* times that main gave back so that somebody could go on */
    int warmed;                    /* resources made, and destroyed, before main took its leases */
    int suspects[EX_THREADS + 1]; /* KP_EVENT_SUSPECT, by the thread on which it came */
    int copies, again; /* ends of main's leases by copies; second ends of a thread's own leases */
    int misuses, out; /* out: what the last close returned */
    int sized;        /* calls of limits_for for key 0 */
    int begun;        /* creates, where they have a rate */
    uint64_t opened_ms;
    uint64_t late_ms;              /* how late the last time-out came that was late */
    uint32_t bad_creates[BAD], bad_checks[BAD], bad_destroys[BAD], called_back[3];
    uint32_t bad_revokes[BAD];
    bool calling[EX_THREADS + 1];
    struct thing thing[EX_THREADS + 1][EACH];
};

extern struct ghosts g;

kp_pool *cast_pool(void);
void cast_called(const char *what); /* a driver function runs: no lock held, on a legal thread */
void cast_can_revoke(kp_options *o);
void cast_use(int many); /* set-up: get so many of key 0 at once, and give them back */
kp_key cast_key(int key);
void cast_unlocked(const char *what);                       /* I6 */
void cast_hear(uint32_t *closed, uint32_t *invalidations);  /* as known when a get begins */
void cast_checks(const struct stage *stage, kp_limits *limits);
void cast_budget(const struct stage *stage, kp_options *options); /* and the group of all keys */
void cast_may_be_lent(const struct thing *t, uint32_t invalidations);
void cast_got(kp_lease lease, uint32_t closed, uint32_t invalidations);
bool cast_explained(int code, int64_t within_ms, uint32_t flags);
struct thing *cast_thing(int key); /* a new one */
void cast_counted(int key, int by);
void cast_begun(void); /* a create begins: no more of them than the rate allows */
void cast_books(void);
void cast_said(int code, int vendor_code);
unsigned cast_concerned(int key, struct thing *list[]); /* by the end of all resources of a key */
void cast_have_ended(struct thing *list[], unsigned n);
void loops_open(unsigned threads); /* a mask: the threads that have a loop */
kp_loop *loops_of(int thread);
bool loops_kick(void); /* end the pool's own loop, if only it is left, asleep. False: not yet */

void cast_circuit(kp_limits *limits);

#endif
