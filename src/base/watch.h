/* SPDX-License-Identifier: MIT
 *
 * Watching descriptors: a set of them, which reports each one once when its peer has closed. It
 * ignores data that comes or goes. Linux only: elsewhere there are no sets.
 */
#ifndef KP__BASE_WATCH_H
#define KP__BASE_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#if defined __linux__
#define KP__WATCHES 1
#else
#define KP__WATCHES 0
#endif

int kp__watch_open(void); /* -1: there are no sets, or no memory */
void kp__watch_close(int set);

/* Watch a descriptor until it is closed (false: it has no peer, as a file). It cannot be taken out:
 * who has its number then may be another one, which would be taken out instead. */
bool kp__watch_add(int set, int fd, uint64_t name);

/* The names of those whose peers have closed, at most `most`. Never waits. */
int kp__watch_look(int set, uint64_t *names, int most);

#endif
