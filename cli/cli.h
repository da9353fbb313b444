/* SPDX-License-Identifier: MIT
 *
 * The commands of `keyedpool`, and how they end.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "args.h"

enum {
    EXIT_FINE = 0,
    EXIT_FAILED = 1,            /* an operation failed, or what was looked at */
    EXIT_USAGE = 2,
    EXIT_UNREACHABLE = 3,       /* a file or server cannot be opened */
    EXIT_INTERRUPTED = 130
};

struct command {
    struct args_page page;
    int (*run)(int argc, char **argv);  /* argv[0] is the command's name */
};

extern const struct command demo_command, bench_command, doctor_command;

#endif
