/* SPDX-License-Identifier: MIT
 *
 * The addresses of a host, without waiting for them: getaddrinfo knows no deadline, so a thread
 * calls it, and a descriptor says when it has the answer.
 */
#ifndef KP_ADAPTERS_DIAL_NAME_H
#define KP_ADAPTERS_DIAL_NAME_H

#include "dial.h"

struct addrinfo;
struct kp__lookup;

/* The addresses of a numeric host, for freeaddrinfo. NULL: it is a name and has to be looked up. */
struct addrinfo *kp__numeric(const struct kp__place *place);

struct kp__lookup *kp__lookup_begin(const struct kp__place *place);     /* NULL: see errno */
int kp__lookup_fd(const struct kp__lookup *l);  /* readable when it has ended */

/* The addresses, if the lookup has ended; else it is left behind. NULL: *fault says why. */
struct addrinfo *kp__lookup_end(struct kp__lookup *l, bool ready, const struct kp__place *place,
                                struct kp__fault *fault);

#endif
