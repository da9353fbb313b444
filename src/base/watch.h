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

/* Begin to watch a descriptor (false: it has no peer, as a file), and stop. */
bool kp__watch_add(int set, int fd, uint64_t name);
void kp__watch_remove(int set, int fd);

/* The names of those whose peers have closed, at most `most`. Never waits. */
int kp__watch_look(int set, uint64_t *names, int most);

#endif
