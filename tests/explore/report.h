/* SPDX-License-Identifier: MIT
 *
 * What a failure looks like: the reason, a command that replays it, the smallest schedule found
 * that fails the same way, and its story.
 *
 * A schedule is text: the places where decisions were taken ("*": all; addresses are the same in
 * every run of one program), then what was chosen where it was not the plain choice (go on with the
 * same thread; the newest value; nothing fails): "10001290070,1000008fd30/3:1,7:2".
 */
#ifndef KP_EXPLORE_REPORT_H
#define KP_EXPLORE_REPORT_H

#include <stdbool.h>

/* Print it; false: it does not replay. */
bool report_failure(const char *program, const char *options, const char *name);

/* Play a schedule and print its story. False: the text is no schedule. */
bool report_replay(const char *text);

#endif
