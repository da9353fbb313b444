/* SPDX-License-Identifier: MIT
 *
 * Children of fork: a pool starts anew at its first use in a child (fork.c), and each file that
 * has static variables puts them right there.
 */
#ifndef KP__FLOW_FORK_H
#define KP__FLOW_FORK_H

#include "flow/flow.h"

/* Have forks counted, from the first pool or loop on. False: that failed. */
bool kp__fork_watch(void);

/* The first use of a pool in a child: 0, it has started anew; or why not. Without the lock. */
int kp__fork_arrive(kp_pool *door);

/* Open a pool again behind its door, through which nobody can come meanwhile (open.c). */
int kp__pool_reopen(kp_pool *door, const struct kp__pool *old, struct kp__pool **out);
void kp__reopen_drop(const struct kp__world *world, struct kp__reopen *reopen); /* NULL is fine */

/* In a child that has one thread: put the static variables of door.c, life.c, event.c and loop.c
 * right. */
void kp__doors_in_child(void);
void kp__life_in_child(void);
void kp__listener_in_child(void);
void kp__loops_in_child(void);

#endif
