/* SPDX-License-Identifier: MIT
 *
 * The simulated driver and the ghosts: what is known about each resource from outside the library;
 * and the library's calls, wrapped so that every answer is checked against that knowledge.
 *
 * "Main" in these files is the code that runs in set-up, in stuck and at the end, outside of the
 * threads; it may hold leases while they run.
 */
#ifndef KP_EXPLORE_CAST_H
#define KP_EXPLORE_CAST_H

#include "explore.h"

enum { KEYS = 3, LEASES = 4, EACH = 24 /* resources that one thread may make */ };

/* What may happen in a scenario: an answer that this does not explain is a failure. */
enum {
    MAY_CLOSE = 1,
    MAY_TIME_OUT = 2,
    MAY_INVALIDATE = 4,
    MAY_RESIZE = 8,
    MAY_PASS = 16, /* time passes */
    MAY_ONLY_TAKE = 32, /* a get waits for a returned resource only (KP_DONT_CREATE) */
    MAY_MISUSE = 64,
    MAY_CONTROL = 128 /* budgets change */
};

struct stage {
    int64_t max_live, budget, min_live, sharing, max_lent, max_idle; /* budget: its max_live;
                                                                  the last two: over all keys */
    int64_t group, creating; /* group_max_live of the group of all keys; budget.max_creating */
    bool validates, resets, pends;
    bool asks;           /* has reset, and driver.is_clean, which says yes, yes, no in turn */
    bool eventual;       /* wait_order is KP_EVENTUAL */
    bool reserve;        /* one more live, for a request that has waited for 5 ms */
    bool hangs;          /* one create of key 0 is answered only when all threads have ended */
    bool checks_returns; /* validates what comes back, not what is about to be lent */
    bool checks_idle;    /* the keeper validates idle ones; what is about to be lent is not */
    bool fails_over;     /* a failed validate says that the peer is gone */
    bool renewed;        /* set-up has all keys forgotten; calls of limits_for are counted */
    bool forgets;        /* keys are forgotten when they were unused for 5 s */
    bool calls_back, closes_back; /* create, destroy and on_event call the pool, once each */
    int bad_creates, bad_checks, bad_destroys; /* so many of the threads' calls, the first, fail */
    int idle, held;      /* key 0 at the start: resources idle, leases held by main */
    int held_b;          /* key 1 at the start: leases held by main */
    int faults;          /* that the search may choose in one execution */
    bool fresh;     /* the pool does not know the keys yet, and has no memory for them */
    bool known;     /* the pool knows the keys, but they never had a resource */
    unsigned may, loops; /* loops: a mask of threads that have an event loop */
    int keeper;          /* 1 + the thread whose loop is the pool's keeper; 0: none is */
    bool hurries;        /* has driver.cancel */
    int rate;            /* budget.create_rate, with a burst of one */
    bool refuses;        /* a bad create says KP_EREFUSED */
    bool nests;          /* a get by a thread that holds a lease: on_deadlock refuses it */
    int surplus;         /* limits.surplus: how many more may live to replace old ones early */
    int probes;          /* of the circuit, for uses and creates; half-opens at once; 0: none */
    int homes, moves;    /* cells have homes on one of so many processors; threads are moved */
    int uses;            /* how often set-up gets and returns all of key 0 before the threads run */
    int revokes;         /* 0: no driver.revoke; 1: also revoke_after_ms, 10 s; 2: at close only */
    int bad_revokes;     /* so many revokes, the first ones, fail */
};

void stage_set(const struct stage *stage); /* opens the pool */
/* Calls `after`, which checks the result; then closes the pool and checks the totals. */
void stage_clear(void (*after)(void));
bool stage_stuck(void);

/* One thread's calls; key: 0, 1, 2. */
void cast_get(int key, int64_t within_ms, uint32_t flags);
void cast_get_pinned(int key); /* each thread must always name the same key */
void cast_unpin(void);
void cast_release(void);
void cast_discard(void);
void cast_release_all(void);
void cast_release_copy(void); /* misuse, for a canary */
void cast_release_main(bool discard);
void cast_invalidate(void);
void cast_invalidate_key(int key); /* -1: every key */
void cast_pass(void); /* 11 s pass: what is idle expires at the next upkeep */
void cast_expire(void);
void cast_keep(void);
void cast_resize(int64_t max_live);
void cast_retry(void);
void cast_rotate(void); /* all of key 0, over 1 s */
void cast_close(kp_close_mode mode); /* 0: KP_CLOSE_WAIT with no time to wait */
void cast_warm(int key);
void cast_add(int key);
void cast_look(void);
void cast_pin(int key);
bool cast_answer(void); /* answer a pending create; false: there will be none */
void cast_start(int key, int64_t within_ms);
void cast_cancel(void);
int64_t cast_dispatch(void);
void cast_serve(void); /* poll and dispatch until no request is under way */
void cast_keep_loop(void); /* run the pool's own loop until all others ended; close the pool */
void cast_loop_close(void);
void cast_end(void);    /* the end of a thread: give back what it still holds */

/* End a lease that may have ended already: misuse. */
void cast_end_copy(int lease, bool discard); /* a copy of main's */
void cast_end_copies(bool upwards);          /* discard copies of all of main's */
void cast_end_again(bool discard);           /* end one's own; then release and discard copies */

void cast_mark_own(void); /* invalidate what this thread holds */
void cast_well(void);     /* kp_lease_report: the use of what it holds succeeded */
void cast_ill(void);      /* the use failed */
void cast_circuit_goes_on(void); /* at the end: the circuit can still be closed */
void cast_say_gone(void); /* report that the peer of what it holds is gone */

#endif
