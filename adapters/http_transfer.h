/* SPDX-License-Identifier: MIT
 *
 * The transfers of one easy handle on an event loop, one at a time and without blocking.
 *
 * Each handle has a multi handle of its own, as libcurl makes one for curl_easy_perform: its
 * connection stays there, and is nobody else's. What libcurl waits for goes to a watcher:
 *
 *     start -> told -> act -> told -> act -> ... -> done
 *
 * libcurl must not be told to end a transfer by a function that it calls itself. What is ended
 * there ends when libcurl has returned.
 *
 * All of it is for one thread: the one that opened it.
 */
#ifndef KP_ADAPTERS_HTTP_TRANSFER_H
#define KP_ADAPTERS_HTTP_TRANSFER_H

#include "keyedpool_http.h"

struct kp__transfer;

/* NULL: no memory. The handle stays its owner's. */
struct kp__transfer *kp__transfer_open(CURL *easy, kp_watcher *watcher);

/* When nothing is under way, and libcurl is not at it. Connections are closed. */
void kp__transfer_close(struct kp__transfer *t);

/* 0: done runs once, from the loop, unless it is stopped. KP_EMISUSE, KP_ENOMEM. `done` may close
 * it. */
int  kp__transfer_start(struct kp__transfer *t, kp_http_done_fn done, void *arg);

bool kp__transfer_runs(const struct kp__transfer *t);

/* End what is under way with this result: done runs in here, or when libcurl has returned. */
void kp__transfer_end(struct kp__transfer *t, CURLcode result);

/* The same without done. False: libcurl is at it, and calls whoever calls this; kp__transfer_after
 * says what to do when it has returned. */
bool kp__transfer_stop(struct kp__transfer *t);
void kp__transfer_after(struct kp__transfer *t, kp_http_done_fn then, void *arg);

#endif
