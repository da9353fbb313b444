/* SPDX-License-Identifier: MIT
 *
 * The simulated driver and the ghosts: what is known about each resource from outside, and the
 * calls of the library wrapped so that every answer is checked against it.
 */
#ifndef KP_EXPLORE_CAST_H
#define KP_EXPLORE_CAST_H

#include "explore.h"

enum { KEYS = 3, LEASES = 4, EACH = 24 /* resources that one thread may make */ };

/* What a scenario may meet: an answer that it cannot explain is a failure. */
enum {
    MAY_CLOSE = 1,
    MAY_TIME_OUT = 2,
    MAY_INVALIDATE = 4,
    MAY_RESIZE = 8,
    MAY_PASS = 16, /* time passes */
    MAY_ONLY_TAKE = 32, /* somebody waits for a returned one only */
    MAY_MISUSE = 64,
    MAY_CONTROL = 128 /* budgets change */
};

struct stage {
    int64_t max_live, budget, min_live, sharing, max_lent, max_idle; /* budget: of max_live;
                                                                  the last two: over all keys */
    bool validates, resets, pends;
    bool asks;           /* it resets, and has driver.is_clean, which says yes, yes, no in turn */
    bool eventual;       /* its order: KP_EVENTUAL */
    bool reserve;        /* one more live, for who has waited for 5 ms */
    bool hangs;          /* one create of key 0 is answered when all is over */
    bool checks_returns; /* validates what comes back, and not what is lent */
    bool checks_idle;    /* it validates what is idle, and not what is lent */
    bool fails_over;     /* a bad check says that its peer is gone */
    bool renewed;        /* all keys are forgotten again; limits_for is counted */
    bool forgets;        /* keys, when they were unused for 5 s */
    bool calls_back, closes_back; /* create, destroy and on_event call the pool, once each */
    int bad_creates, bad_checks, bad_destroys; /* so many of the threads' fail, the first ones */
    int idle, held;      /* key 0 to begin with: resources idle, leases held by main */
    int held_b;          /* key 1: leases held by main */
    int faults;          /* of the search: so many in one execution */
    bool fresh;     /* not even the key is known, nor memory for it */
    bool known;     /* the key is, but it never had a resource */
    unsigned may, loops; /* loops: a mask of threads that have an event loop */
    int keeper;          /* 1 + the thread whose loop is the pool's keeper; 0: none is */
    bool hurries;        /* has driver.cancel */
    int rate;            /* so many creates may begin in a second, one at once */
    bool refuses;        /* a bad create says KP_EREFUSED */
    bool nests;          /* gets within gets: on_deadlock refuses them */
    int surplus;         /* what ends soon is replaced before, within so many more */
    int probes;          /* of a circuit of uses and creates, which half-opens at once; 0: none */
    int homes, moves;    /* cells have homes, on one of so many processors; threads are moved */
    int uses;            /* so often main has used what it then holds, or leaves idle */
    int revokes;         /* has driver.revoke; 1: for what is lent for 10 s, too */
    int bad_revokes;     /* so many fail, the first ones */
};

void stage_set(const struct stage *stage); /* opens the pool */
/* After has looked at what came of it: closes the pool, and looks at the sums. */
void stage_clear(void (*after)(void));
bool stage_stuck(void);

/* One thread's calls; key: 0, 1, 2. */
void cast_get(int key, int64_t within_ms, uint32_t flags);
void cast_get_pinned(int key); /* of each thread always the same one */
void cast_unpin(void);
void cast_release(void);
void cast_discard(void);
void cast_release_all(void);
void cast_release_copy(void); /* misuse, for a canary */
void cast_release_main(bool discard);
void cast_invalidate(void);
void cast_invalidate_key(int key); /* -1: every key */
void cast_pass(void); /* what is idle expires, if somebody looks */
void cast_expire(void);
void cast_keep(void);
void cast_resize(int64_t max_live);
void cast_retry(void);
void cast_rotate(void); /* all of key 0, over 1 s */
void cast_close(kp_close_mode mode); /* 0: WAIT, but not at all */
void cast_warm(int key);
void cast_add(int key);
void cast_look(void);
void cast_pin(int key);
bool cast_answer(void); /* a pending create; false: there will be none */
void cast_start(int key, int64_t within_ms);
void cast_cancel(void);
int64_t cast_dispatch(void);
void cast_serve(void); /* poll and dispatch until no request is under way */
void cast_keep_loop(void); /* the pool's own loop: until the others are over, then it is closed */
void cast_loop_close(void);
void cast_end(void);    /* the thread's: what it still holds goes back */

/* Ends of a lease that may have ended: misuse. */
void cast_end_copy(int lease, bool discard); /* of main's */
void cast_end_copies(bool upwards);          /* all of main's, discarded */
void cast_end_again(bool discard);           /* one's own: well, then a release and a discard */

void cast_mark_own(void); /* invalidate what this thread holds */
void cast_well(void);     /* kp_lease_report of what it holds */
void cast_ill(void);
void cast_circuit_goes_on(void); /* after all: it can be closed */
void cast_say_gone(void); /* report that the peer of what it holds is gone */

#endif
