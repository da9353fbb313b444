/* SPDX-License-Identifier: MIT
 *
 * `keyedpool doctor`: what was asked (doctor.c), what is looked at here (doctor_system.c) and at a
 * server (on_*.c), and how it is reported (doctor_report.c).
 */
#ifndef CLI_DOCTOR_H
#define CLI_DOCTOR_H

#include "backend.h"

#include <stdint.h>

enum mark { MARK_OK, MARK_WARN, MARK_FAIL };

struct number { const char *name; int64_t value; };

struct finding {                /* one line */
    enum mark mark;
    const char *about, *check;  /* "system" or a URL; a word for machines: "open_files" */
    char text[400];
    struct number number[3];    /* the numbers in the text; those that are not used have no name */
};

struct doctor {
    int64_t keys, size, max_live, processes, clients;   /* the command line */
    int64_t idle_ms, timeout_ms;
    bool    json;
    int64_t need;               /* connections that all pools together may have */
    const char *about;          /* what is looked at now */
    struct finding *finding;
    size_t  findings;
};

/* Connections that the pool of one process may have. */
int64_t doctor_budget(const struct doctor *d);

/* ---- doctor.c: what was found ---------------------------------------------------------------- */

void doctor_say(struct doctor *d, enum mark mark, const char *check, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Add a number to the latest finding. */
void doctor_number(struct doctor *d, const char *name, int64_t value);

/* Report whether the server lets in what the pools may open. Its limit is called `setting`; `used`
 * others are connected. */
void doctor_room(struct doctor *d, const char *check, const char *setting, int64_t limit,
                 int64_t used);

/* Report when the server ends idle connections (0: never), and whether the pool does so before. */
void doctor_idle(struct doctor *d, const char *setting, int64_t server_ms);

/* ---- doctor_system.c ------------------------------------------------------------------------- */

void doctor_installed(struct doctor *d);

/* `files`: how many the pool may have open. `servers`: are there some to connect to? */
void doctor_system(struct doctor *d, int64_t files, bool servers);

/* ---- doctor_report.c: to standard output ----------------------------------------------------- */

void doctor_report(const struct doctor *d);
void doctor_report_json(const struct doctor *d);

#endif
