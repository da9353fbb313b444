/* SPDX-License-Identifier: MIT
 *
 * The catalogue: small programs of threads, each a string of verbs.
 */
#ifndef KP_EXPLORE_SCENARIOS_H
#define KP_EXPLORE_SCENARIOS_H

#include "cast.h"

enum group { PAIRS, LONG_PAIRS, TRIPLES, FAULTS, LOCK, MIXES, GROUPS };

struct scenario {
    char name[120];
    enum group group;
    struct stage stage;
    char body[EX_THREADS][24];
    int threads, daemons;
};

int scenario_count(void);
const struct scenario *scenario_at(int i);
const struct ex_program *scenario_play(const struct scenario *s); /* valid until the next call */

#endif
