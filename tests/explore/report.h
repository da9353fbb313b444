/* SPDX-License-Identifier: MIT
 *
 * What a failure looks like: the reason, a command that replays it, the smallest schedule found
 * that fails the same way, and its story.
 */
#ifndef KP_EXPLORE_REPORT_H
#define KP_EXPLORE_REPORT_H

void report_failure(const char *name);

#endif
