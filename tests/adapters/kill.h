/* SPDX-License-Identifier: MIT
 *
 * kill -9 of a server in the middle of load, and a restart at the same place, again and again; told
 * by what is peculiar to each server. kill.c has the load and the bars.
 */
#ifndef TESTS_ADAPTERS_KILL_H
#define TESTS_ADAPTERS_KILL_H

#include <keyedpool.h>

enum kill_answer { KILL_GOOD, KILL_BROKEN, KILL_WRONG };

struct kill_counts { uint64_t opened, closed; };

struct kill {
    kp_key      key;
    int       (*start)(void);           /* the server, the first time; 0, or -1 */
    int       (*restart)(void);         /* at the same place */
    void      (*kill)(void);
    void      (*stop)(void);
    int       (*open)(const kp_options *more, kp_pool **out);
    /* Ask for a number that nobody else asks for. */
    enum kill_answer (*ask)(void *resource, unsigned long long number);
    void      (*leave)(void *resource); /* something that the next one must not see */
    struct kill_counts (*counts)(void); /* connections, as the adapter has counted them */
    long      (*seen)(void);            /* connections of the pool, as the server sees them now */
};

/* A program's main: [--rounds N] [--down-ms N] [--slack-ms N]. */
int kill_run(const struct kill *subject, int argc, char **argv);

#endif
