/* SPDX-License-Identifier: MIT
 *
 * The report of a failure: the reason, a command that replays it, the smallest schedule found that
 * fails in the same way, and its trace.
 *
 * A schedule is text: the places where decisions were taken ("*": all; addresses are the same in
 * every run of one program), then the choices that were not the plain ones (the same thread goes
 * on, the newest value is read, nothing fails), each with its number:
 * "10001290070,1000008fd30/3:1,7:2".
 */
#ifndef KP_EXPLORE_REPORT_H
#define KP_EXPLORE_REPORT_H

#include <stdbool.h>

/* Print it; false: it does not replay. */
bool report_failure(const char *program, const char *options, const char *name);

/* Plays a schedule and prints its trace. False: the text is not a schedule. */
bool report_replay(const char *text);

#endif
