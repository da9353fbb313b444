/* SPDX-License-Identifier: MIT
 *
 * Servers that tests start for themselves: in a folder of their own, as an ordinary user, and never
 * longer than the test lives.
 */
#ifndef TESTS_ADAPTERS_SERVER_H
#define TESTS_ADAPTERS_SERVER_H

#include <sys/types.h>

struct server {
    char  folder[64];           /* of whoever runs the server */
    pid_t pid;                  /* 0: it does not run */
    long  said;                 /* what folder/log had when it was started */
};

/* Make the folder. 0, or -1. */
int server_folder(struct server *server);

/* Run a program to its end, as the user of the folder; what it says goes to folder/log. Returns its
 * exit status. */
int server_run(const struct server *server, char *const *argv);

/* Run a program to its end as who we are, beside the servers; its exit status, or 127 and more. */
int server_beside(char **argv);

/* Start the server, as the user of the folder. It is ended when the thread that started it ends.
 * 0, or -1. */
int server_start(struct server *server, char *const *argv);

/* Wait until its log says these words. -1: it ended, or within_ms are over. */
int server_await(struct server *server, const char *words, int within_ms);

/* Tell it, and wait until it is gone: SIGKILL, or what makes it leave by itself. */
void server_end(struct server *server, int signal);

/* Has it ended by itself? Then pid is 0. */
int server_ended(struct server *server);

/* End it, if it runs, and remove the folder with all that is in it. */
void server_remove(struct server *server);

/* A port of 127.0.0.1 that nobody listens on just now; 0: none. */
int server_free_port(void);

#endif
