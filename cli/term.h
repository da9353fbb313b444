/* SPDX-License-Identifier: MIT
 *
 * What the terminal can do, which of its signals are taken, and how texts and numbers look on it.
 */
#ifndef CLI_TERM_H
#define CLI_TERM_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum term_colour { TERM_PLAIN, TERM_BOLD, TERM_DIM, TERM_GREEN, TERM_YELLOW, TERM_RED, TERM_CYAN };

/* Look at standard output once: colours only on a terminal that has them and without NO_COLOR;
 * characters beyond ASCII only where the locale has UTF-8. Called before the others, by one
 * thread. */
void term_init(void);

/* Add to the signals that a command takes itself; but one that its caller has it ignore (nohup, a
 * shell's background) stays ignored. */
void term_take(sigset_t *signals, int number);

/* The sequence that starts a colour (TERM_PLAIN ends it), or "". */
const char *term_colour(enum term_colour colour);

/* `yes` where the locale has UTF-8, else `no`. */
const char *term_utf8(const char *yes, const char *no);

/* Let what others wrote, a server or a file's name, end no line and control no terminal. */
void term_tame(char *text);

/* Print it to standard error, as one line. */
void term_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A bar that is `width` columns long when full, `share` (0..1) of it. The rest is not padded. */
void term_bar(char *buf, size_t size, double share, int width);

/* How many columns a text takes; and print it with blanks up to `width` after it (negative: before
 * it). */
int term_columns(const char *text);
void term_pad(const char *text, int width);

/* A time in three digits with its unit; a count in groups of three digits; how many per second, in
 * three digits or more. All return buf. */
const char *term_time(char *buf, size_t size, double ns);
const char *term_count(char *buf, size_t size, uint64_t n);
const char *term_rate(char *buf, size_t size, double per_second);

#endif
