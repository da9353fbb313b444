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

/* The share of this process: a child of fork leaves the parent's as it is and makes a new one.
 * NULL: nothing is shared. */
CURLSH *kp__share_here(struct kp__share **share);

#endif
