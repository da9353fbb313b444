/* SPDX-License-Identifier: MIT
 *
 * How a creation ended (create.c). What the key's health remembers of it, and who gets what was
 * made.
 */
#ifndef KP__CORE_CREATE_H
#define KP__CORE_CREATE_H

#include "core/core.h"

/* A creation succeeded: the slot is lent to `request`, or (NULL) goes to whoever is next.
 * Returns what that did to the key's circuit, as kp__create_failed does. */
enum kp__change kp__created(struct kp__core *core, struct kp__slot *slot,
                            struct kp__request *request, uint64_t now, struct kp__todo *todo);

/* A creation failed. The key's health remembers that, unless it was called off (KP_ECANCELED),
 * which says nothing about the server. The permits that `request`, which ran it, or its sponsor had
 * for it are refunded, and a sponsor is told. *keep is memory to remember the failure in, or NULL;
 * what is there afterwards is for the caller to free. */
enum kp__change kp__create_failed(struct kp__core *core, struct kp__slot *slot,
                                  struct kp__request *request, const struct kp__failure *what,
                                  struct kp__failure **keep, uint64_t now, struct kp__todo *todo);

/* Hold nothing against this key any more: no pause, no open circuit, no refusal, and no failure
 * that is kept to be told. Requests that wait are served. */
void kp__forgive(struct kp__core *core, struct kp__subpool *sub, uint64_t now,
                 struct kp__todo *todo);

#endif
