/* SPDX-License-Identifier: MIT
 *
 * Command lines: a table of options from which both the parser and the help are made, and readers
 * for numbers with units. Any mistake ends the program with one line and exit status 2.
 */
#ifndef CLI_ARGS_H
#define CLI_ARGS_H

#include <stdbool.h>
#include <stdint.h>

struct args_option {
    int         id;             /* what args_next returns; a letter is also the short option */
    const char *name;           /* the long option, without dashes */
    const char *value;          /* what its argument is called in the help; NULL: takes none */
    const char *help;           /* '\n' begins a new line */
};

struct args_page {              /* one command, as its help shows it */
    const char *name;           /* "bench" */
    const char *summary;        /* one line */
    const char *usage;          /* what follows the name: "[options] sqlite:PATH" */
    const char *about;          /* paragraphs above the options, or NULL */
    const char *more;           /* paragraphs below them, or NULL */
    const struct args_option *options;  /* ends with id 0 */
};

enum { ARGS_LONG_ONLY = 256, ARGS_END = -1 };   /* ids from ARGS_LONG_ONLY on have no letter */

/* The next option's id, its argument in *value; ARGS_END when only operands are left (optind). -h
 * and --help print the page and end the program. */
int args_next(const struct args_page *page, int argc, char **argv, const char **value);

/* Print the page of a command to standard output. */
void args_help(const struct args_page *page);

/* The exit status, after all that was said on standard output: what could not be written counts as
 * failed, whatever it says. */
int args_told(int status);

/* Print one line to standard error and exit with status 2. `page` NULL: it is of no command. */
_Noreturn void args_fail(const struct args_page *page, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* What was typed, for a complaint. A URL is not shown: it may have a password. */
const char *args_shown(const char *text);

/* Readers of values; `what` names the option in the complaint. Counts take k and M, times take ms,
 * s, min and h (a bare number is seconds) and are returned in ns. */
int64_t args_count(const struct args_page *page, const char *what, const char *value, int64_t least,
                   int64_t most);
int64_t args_time_ns(const struct args_page *page, const char *what, const char *value);
double args_number(const struct args_page *page, const char *what, const char *value, double least,
                   double most);
/* One of the words, by its place; `words` ends with NULL. */
int args_word(const struct args_page *page, const char *what, const char *value,
              const char *const *words);

#endif
