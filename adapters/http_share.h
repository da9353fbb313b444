/* SPDX-License-Identifier: MIT
 *
 * What the handles of an HTTP pool share: names and TLS sessions, and never connections.
 */
#ifndef KP_ADAPTERS_HTTP_SHARE_H
#define KP_ADAPTERS_HTTP_SHARE_H

#include <curl/curl.h>

struct kp__share;

struct kp__share *kp__share_make(void); /* NULL: no memory */
void kp__share_drop(struct kp__share *s);

/* This process's; in a child of fork the parent's is left as it is, and there is a new one. NULL:
 * nothing is shared. */
CURLSH *kp__share_here(struct kp__share **share);

#endif
