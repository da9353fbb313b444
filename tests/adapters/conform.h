/* SPDX-License-Identifier: MIT
 *
 * What every adapter must hold to, told by what is peculiar to each. A program fills one struct
 * and calls conform_run; conform.c has the cases.
 */
#ifndef TESTS_ADAPTERS_CONFORM_H
#define TESTS_ADAPTERS_CONFORM_H

#include <keyedpool.h>

/* Something that a borrower leaves behind: a transaction, a result not read, a subscription. */
struct conform_left {
    const char *what;                   /* "a transaction" */
    void      (*leave)(void *resource);
    bool      (*seen)(void *resource);  /* is it there for the next one? */
};

/* A get that cannot be served, and what must be said of it. */
struct conform_wrong {
    const char *what;                   /* "a wrong password" */
    kp_key      key;
    int         code;                   /* of kp_get: KP_ECREATE, KP_EREFUSED, ...; 0: KP_ECREATE
                                           or KP_ETIMEDOUT, whichever deadline is first */
    int         vendor_code;            /* 0: any */
    const char *words[4];               /* all of them are in kp_why.text */
    void      (*begin)(void);           /* bring it about, and end it; or NULL */
    void      (*end)(void);
};

struct conform {
    const char *name;                   /* "postgres" */
    /* Once, before and after everything: the server. 0, or the program has failed. */
    int       (*start)(void);
    void      (*stop)(void);
    /* driver, key_type and whatever else the adapter's own kp_x_fill sets. */
    int       (*fill)(kp_options *options);
    const kp_key *keys;                 /* that can be served; at least two, and of the first
                                           eight resources at a time */
    size_t      keys_count;
    /* Use it once, to and fro: NULL, or what went wrong. */
    const char *(*use)(void *resource);
    /* Make it useless under its borrower's hands, as a peer that went away does; NULL: it cannot
     * be. */
    void      (*ruin)(void *resource);
    const struct conform_left *left;    /* end with {0}, as wrong does; NULL: none */
    const struct conform_wrong *wrong;
    const char *secret;                 /* no report may say it; NULL: there is none */
    /* kill -9 and start again at the same place; NULL: there is no server. */
    void      (*kill)(void);
    int       (*restart)(void);
    void      (*hang_up)(void);         /* the server ends all that is idle and goes on; NULL: kill
                                           does */
    int         in_a_child;             /* of fork: what a get is answered for a key that the parent
                                           uses; 0: it is served */
};

/* All cases as one cmocka group; the result is main's. */
int conform_run(const struct conform *subject);

#endif
