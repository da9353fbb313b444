/* SPDX-License-Identifier: MIT
 *
 * The catalogue: small programs of threads, each a string of verbs.
 */
#ifndef KP_EXPLORE_SCENARIOS_H
#define KP_EXPLORE_SCENARIOS_H

#include "cast.h"

/* Groups from MIXES on are only run when asked for, or in random searches. */
enum group {
    PAIRS, LONG_PAIRS, TRIPLES, EVENTUAL, FAULTS, LOCK, LITMUS, ASYNC, LOOPS, HARD, REVOKE,
    MIXES, HOMES, CANARY, GROUPS
};

struct scenario {
    char name[240];
    enum group group;
    struct stage stage;
    char body[EX_THREADS][24];
    int threads, daemons, faults;
    void (*after)(void);              /* checks the result (hard.c), or NULL */
    const struct ex_program *program; /* a program of its own (litmus.c), or NULL */
};

extern const struct ex_program litmus_programs[];
extern const int litmus_count; /* of programs; first those that must hold, ... */
extern const int litmus_lock;  /* ... from this index on with the library's own lock, ... */
extern const int litmus_bad;   /* ... from this index on those that must be caught */


/* bodies: one per thread, separated by blanks, one letter per verb. title: the name begins with
 * it. */
struct scenario *scenario_add(enum group group, const char *title, const char *where,
                              const struct stage *stage, const char *bodies);
void add_hard_cases(void); /* hard.c */
void add_asked(void);      /* asked.c */
void add_doubts(void);     /* doubts.c */
void add_homes(void);      /* homes.c */
void add_control(void);    /* control.c */
void add_rotated(void);    /* rotated.c */
void add_circuits(void);   /* circuits.c */
void add_revokes(void);    /* revoke.c */
void add_groups(void);     /* groups.c */

/* What one letter of a body does. */
struct verb {
    char letter;
    const char *name;
    void (*play)(void);
    unsigned may;
};
extern const struct verb control_verbs[]; /* ends with one that has no letter */

int scenario_count(void);
const struct scenario *scenario_at(int i);
const struct ex_program *scenario_play(const struct scenario *s); /* valid until the next call */

#endif
